//! Reading messages from the wire.

use super::{Cases, Operation};
use ringward::{
    buffer::{Chunk, Segments},
    http::{
        Framing, Method,
        h1::{BodyDecoder, Role, find_head_end, parse_request, parse_response},
    },
};
use std::hint::black_box;

pub const CASES: Cases = &[
    ("h1_request_small", || request(SMALL)),
    ("h1_request_sdk", || request(SDK)),
    ("h1_response", response),
    ("h1_body_length_64k", || body(Framing::Length(65_536), vec![b'x'; 65_536])),
    ("h1_body_chunked_64k", || body(Framing::Chunked, chunked())),
];

pub const SMALL: &str = "POST /v1/things?limit=10 HTTP/1.1\r\nhost: localhost:8080\r\naccept: */*\r\n\
    content-type: application/json\r\ncontent-length: 200\r\n\r\n";

/// As the SDK of a model's API sends it.
pub const SDK: &str = "POST /v1/messages?beta=true HTTP/1.1\r\nhost: gateway.example.com\r\n\
    accept: application/json\r\ncontent-type: application/json\r\nuser-agent: Anthropic/JS 0.60.0\r\n\
    x-stainless-retry-count: 0\r\nx-stainless-timeout: 600\r\nx-stainless-lang: js\r\n\
    x-stainless-package-version: 0.60.0\r\nx-stainless-os: Linux\r\nx-stainless-arch: x64\r\n\
    x-stainless-runtime: node\r\nx-stainless-runtime-version: v22.0.0\r\n\
    anthropic-dangerous-direct-browser-access: true\r\nanthropic-version: 2023-06-01\r\n\
    authorization: Bearer eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJodHRwczovL2lkcC5leGFtcGxlIn.sig\r\n\
    x-app: cli\r\nanthropic-beta: interleaved-thinking-2025-05-14\r\naccept-language: *\r\n\
    sec-fetch-mode: cors\r\naccept-encoding: gzip, deflate\r\ncontent-length: 102400\r\n\r\n";

const RESPONSE: &str = "HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\nserver: upstream\r\n\
    content-type: application/json\r\ncache-control: no-store\r\nx-request-id: 0123456789abcdef\r\n\
    content-length: 200\r\n\r\n";

fn request(text: &'static str) -> Operation {
    let head = Chunk::from_static(text.as_bytes());
    Box::new(move || {
        let end = find_head_end(&head, &mut 0, Role::Request).expect("well-formed").expect("complete");
        black_box(parse_request(head.slice(..end)).expect("well-formed"));
    })
}

fn response() -> Operation {
    let head = Chunk::from_static(RESPONSE.as_bytes());
    Box::new(move || {
        let end = find_head_end(&head, &mut 0, Role::Response).expect("well-formed").expect("complete");
        black_box(parse_response(head.slice(..end), &Method::Post).expect("well-formed"));
    })
}

fn chunked() -> Vec<u8> {
    let chunk = [b"4000\r\n".as_slice(), &[b'x'; 0x4000], b"\r\n"].concat();
    [chunk.repeat(4).as_slice(), b"0\r\n\r\n"].concat()
}

/// A body that arrives in four reads.
fn body(framing: Framing, bytes: Vec<u8>) -> Operation {
    let piece = bytes.len().div_ceil(4);
    let reads: Vec<Chunk> = bytes.chunks(piece).map(|read| read.to_vec().into()).collect();
    Box::new(move || {
        let mut decoder = BodyDecoder::new(framing);
        let mut out = Segments::new();
        for read in &reads {
            decoder.push(read.clone(), &mut out).expect("well-formed");
            black_box(out.drain().count());
        }
        assert!(decoder.is_done());
    })
}

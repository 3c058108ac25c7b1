//! Writing messages to the wire.

use super::{Cases, Operation, h1};
use ringward::{
    buffer::{Chunk, Segments},
    http::{
        Framing, Method,
        h1::{ChunkEncoder, encode_request, encode_response, parse_request, parse_response},
    },
};
use std::hint::black_box;

pub const CASES: Cases =
    &[("encode_request", request), ("encode_response", response), ("encode_chunks", chunks)];

fn request() -> Operation {
    let head = parse_request(Chunk::from_static(h1::SDK.as_bytes())).expect("well-formed");
    Box::new(move || {
        let mut out = Vec::new();
        encode_request(&head, &[("x-api-key", b"sk-upstream-0123456789abcdef")], &mut out);
        black_box(&out);
    })
}

fn response() -> Operation {
    let text = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nserver: upstream\r\n\
        content-length: 200\r\n\r\n";
    let head = parse_response(Chunk::from_static(text.as_bytes()), &Method::Post).expect("well-formed");
    assert_eq!(head.framing, Framing::Length(200));
    Box::new(move || {
        let mut out = Vec::new();
        encode_response(&head, true, &mut out);
        black_box(&out);
    })
}

/// The events of a stream, each a chunk of its own.
fn chunks() -> Operation {
    let event = Chunk::from(vec![b'x'; 120]);
    let mut encoder = ChunkEncoder::new();
    Box::new(move || {
        let mut out = Segments::new();
        encoder.wrap(event.clone().into(), &mut out);
        black_box(&out);
    })
}

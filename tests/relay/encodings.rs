//! Bodies in a content coding, where masks apply and where none do (SECURITY R22, R23, R25, R43).

use super::{
    harness::{Setup, Upstream},
    wire::{End, Whole},
};
use flate2::{Compression, write::GzEncoder, write::ZlibEncoder};
use std::io::Write;

const MASK: &str = "[[mask]]\nname = \"words\"\nkind = \"literals\"\nwords = [\"falcon\"]\nreplace = \"x\"";
const TEXT: &str = "{\"a\": \"the falcon flies\"}";
const MASKED: &str = "{\"a\": \"the x flies\"}";

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// `text` in each coding, by name.
fn encoded(text: &[u8]) -> [(&'static str, Vec<u8>); 4] {
    let mut deflate = ZlibEncoder::new(Vec::new(), Compression::default());
    deflate.write_all(text).unwrap();
    let mut br = Vec::new();
    brotli::CompressorWriter::new(&mut br, 4096, 5, 22).write_all(text).unwrap();
    let zstd = zstd::encode_all(text, 3).unwrap();
    [("gzip", gzip(text)), ("deflate", deflate.finish().unwrap()), ("br", br), ("zstd", zstd)]
}

fn answer(head: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\n{head}\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[test]
fn an_encoded_answer_is_masked_and_sent_plain() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).route("masks = [\"words\"]").tables(MASK).start();
    let mut client = gateway.connect();
    for (coding, body) in encoded(TEXT.as_bytes()) {
        for is_slow in [false, true] {
            client.send("GET / HTTP/1.1\r\nhost: a\r\naccept-encoding: gzip, br\r\n\r\n");
            let mut served = upstream.accept();
            assert_eq!(served.request().head.get("accept-encoding"), Some("identity"));
            let head =
                format!("content-encoding: {coding}\r\nvary: accept-encoding\r\netag: \"1\"\r\ndigest: x");
            match is_slow {
                true => drop(served.slowly(answer(&head, &body))),
                false => drop(served.send(answer(&head, &body))),
            }
            let answer = client.response();
            assert_eq!(answer.text(), MASKED, "{coding}");
            let field = |name: &str| answer.head.get(name);
            assert_eq!((field("content-encoding"), field("digest"), field("etag")), (None, None, None));
            assert_eq!(field("vary"), Some("accept-encoding"));
        }
    }
    drop(client);
    let log = gateway.stop(8, 0);
    let recorded = String::from_utf8_lossy(&log.bytes()).into_owned();
    assert!(
        recorded.contains(MASKED) && !recorded.contains("falcon flies"),
        "the record holds what the caller saw"
    );
    assert!(log.outcomes().all(|outcome| outcome.response.sent == MASKED.len() as u64));
}

#[test]
fn an_encoded_request_is_masked_and_sent_plain_and_policies_read_it() {
    let upstream = Upstream::bind();
    let block = "[[policy]]\nname = \"no\"\nwhen = { body = { contains_any = [\"DROP\"] } }\n\
                 action = \"block\"\nreason = \"No.\"";
    for route in ["masks = [\"words\"]", "masks = [\"words\"]\npolicies = [\"no\", \"default\"]"] {
        let gateway = Setup::to(upstream.address).route(route).tables(MASK).tables(block).start();
        for (coding, body) in encoded(TEXT.as_bytes()) {
            let head = format!(
                "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/json\r\n\
                 content-encoding: {coding}\r\ndigest: x\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            let mut client = gateway.ask(&head);
            client.slowly(&body);
            let mut served = upstream.accept();
            let request = served.request();
            assert_eq!(request.text(), MASKED, "{coding}");
            assert_eq!((request.head.get("content-encoding"), request.head.get("digest")), (None, None));
            served.send(answer("x-a: b", b"ok"));
            client.response();
        }
        drop(gateway.stop(4, 0));
    }
    let gateway = Setup::to(upstream.address).route("policies = [\"no\", \"default\"]").tables(block).start();
    let send = |coding: &str, body: &[u8]| {
        let head = format!(
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-type: text/plain\r\ncontent-encoding: {coding}\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        gateway.ask([head.as_bytes(), body].concat()).response()
    };
    send("gzip", &gzip(b"please DROP it")).is_refusal(403, "policy_denied", "No.");
    send("compress", b"xyz").is_refusal(415, "body_unreadable", "");
    send("gzip", b"xyz").is_refusal(415, "body_unreadable", "encoding_corrupt");
    send("gzip, gzip", &gzip(&gzip(b"hi"))).is_refusal(415, "body_unreadable", "");
    let cut = gzip(b"please keep it");
    send("gzip", &cut[..cut.len() - 4]).is_refusal(415, "body_unreadable", "encoding_truncated");
    send("gzip", &gzip(&[b'x'; 20 << 20])).is_refusal(415, "body_unreadable", "encoding_swells");
    upstream.is_left_alone();
    let log = gateway.stop(0, 6);
    assert!(
        log.bytes().windows(14).any(|window| window == b"please DROP it"),
        "it is recorded as it was read"
    );
}

#[test]
fn without_masks_an_encoded_body_passes_untouched() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    let mut client = gateway.connect();
    for (coding, body) in encoded(TEXT.as_bytes()).into_iter().chain([("x-own, gzip", b"xyz".to_vec())]) {
        let head = format!(
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-encoding: {coding}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        client.send([head.as_bytes(), &body].concat());
        let mut served = upstream.accept();
        let request = served.request();
        assert_eq!((&request.body, request.head.get("content-encoding")), (&body, Some(coding)));
        served.send(answer(&format!("content-encoding: {coding}\r\netag: \"1\""), &body));
        let answer = client.response();
        assert_eq!((&answer.body, answer.head.get("content-encoding")), (&body, Some(coding)));
        assert_eq!(answer.head.get("etag"), Some("\"1\""));
    }
    drop(client);
    gateway.stop(5, 0);
}

/// An event that came encoded leaves as soon as it can be decoded, and a bad end is never a clean one.
#[test]
fn events_of_an_encoded_stream_leave_at_once_and_damage_cuts_it() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).route("masks = [\"words\"]").tables(MASK).start();
    for damage in ["cut", "trailing", "none"] {
        let mut client = gateway.ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        let mut served = upstream.accept();
        served.request();
        served.send(concat!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-encoding: gzip\r\n",
            "transfer-encoding: chunked\r\n\r\n"
        ));
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        let mut sent = 0;
        let mut head = None;
        for number in 0..3 {
            encoder.write_all(format!("line {number}: falcon.\n").as_bytes()).unwrap();
            encoder.flush().unwrap();
            let fresh = encoder.get_ref()[sent..].to_vec();
            sent = encoder.get_ref().len();
            let framed = [format!("{:x}\r\n", fresh.len()).as_bytes(), &fresh, b"\r\n"].concat();
            served.send(framed);
            head.get_or_insert_with(|| client.head());
            assert_eq!(String::from_utf8(client.chunk().unwrap()).unwrap(), format!("line {number}: x.\n"));
        }
        let mut rest = encoder.finish().unwrap()[sent..].to_vec();
        match damage {
            "cut" => rest.truncate(rest.len() - 2),
            "trailing" => rest.push(b'x'),
            _ => {}
        }
        served.send([format!("{:x}\r\n", rest.len()).as_bytes(), &rest, b"\r\n0\r\n\r\n"].concat());
        let end = client.chunk();
        match damage {
            "none" => assert_eq!(end, Ok(Vec::new())),
            _ => assert_eq!(end, Err(End::Cut), "{damage}"),
        }
    }
    gateway.stop(3, 0);
}

/// SECURITY R43: a few kilobytes that swell to many megabytes are refused before they take memory.
#[test]
fn a_bomb_is_refused() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).route("masks = [\"words\"]").tables(MASK).start();
    for (coding, body) in encoded(&vec![b' '; 50 << 20]) {
        let mut client = gateway.ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        let mut served = upstream.accept();
        served.request();
        // The gateway hangs up when it has seen enough.
        let _ = served.try_send(answer(&format!("content-encoding: {coding}"), &body));
        let answer = client.response();
        match answer.whole {
            Whole::Yes => answer.is_refusal(502, "response_unmaskable", "encoding_swells"),
            Whole::No(end) => assert_eq!(end, End::Cut, "{coding}"),
        }
    }
    let log = gateway.stop(4, 0);
    assert!(log.reasons().iter().all(|(code, why)| *code == "response_unmaskable" && why.contains("swells")));
}

/// What comes in one read may decode to many of them: all of it arrives, both ways, whether or not a policy
/// reads it first.
#[test]
fn a_body_that_swells_within_its_bound_arrives_whole() {
    let upstream = Upstream::bind();
    let never = "[[policy]]\nname = \"no\"\nwhen = { body = { contains_any = [\"DROP\"] } }\n\
                 action = \"block\"\nreason = \"No.\"";
    let noise: String =
        (0..9000_u64).map(|n| format!("{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    let body = format!("{noise}{}falcon", " ".repeat(4 << 20));
    let masked = format!("{noise}{}x", " ".repeat(4 << 20));
    for policies in ["[\"default\"]", "[\"no\", \"default\"]"] {
        let route = format!("masks = [\"words\"]\npolicies = {policies}");
        let tables = if policies.contains("no") { never } else { "" };
        let gateway = Setup::to(upstream.address).route(&route).tables(MASK).tables(tables).start();
        for (coding, encoded) in encoded(body.as_bytes()) {
            let head = format!(
                "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: text/plain\r\n\
                 content-encoding: {coding}\r\ncontent-length: {}\r\n\r\n",
                encoded.len()
            );
            let mut client = gateway.ask([head.as_bytes(), &encoded].concat());
            let mut served = upstream.accept();
            assert!(served.request().body == masked.as_bytes(), "{coding}");
            let head = format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/plain\r\n\
                 content-encoding: {coding}\r\ncontent-length: {}\r\n\r\n",
                encoded.len()
            );
            served.send([head.as_bytes(), &encoded].concat());
            let got = client.response();
            assert!(got.body == masked.as_bytes() && got.whole == Whole::Yes, "{coding}");
        }
        gateway.stop(4, 0);
    }
}

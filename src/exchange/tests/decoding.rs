//! Bodies in a content coding that are much longer without it.

use super::*;
use crate::buffer::Segments;
use crate::limits::{DECODED_PIECE_BYTES, DECODED_STEP_BYTES, RECEIVE_BYTES_MAX};
use flate2::{Compression, write::GzEncoder};
use std::io::Write;

/// A body that has a little under a hundred times the length of its coding, and that.
fn swelling() -> (Vec<u8>, Chunk) {
    let mut seed = 1_u32;
    let next = |_| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        b"abcdefghijklmnop"[(seed >> 28) as usize]
    };
    let mut plain: Vec<u8> = (0..80_000).map(next).collect();
    plain.resize(3 << 20, b' ');
    plain.extend_from_slice(b" bob@example.com ");
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&plain).expect("memory takes it");
    let encoded = encoder.finish().expect("memory takes it");
    assert!(encoded.len() < RECEIVE_BYTES_MAX, "it comes in one read");
    (
        String::from_utf8(plain).expect("text").replace("bob@example.com", "[email]").into_bytes(),
        encoded.into(),
    )
}

/// Appends what leaves with these steps; says whether the body ends with it.
fn leave(steps: Vec<Step>, out: &mut Vec<u8>) -> bool {
    let mut ended = false;
    for step in steps {
        let (data, end) = match step {
            Step::Respond { data, end, .. } | Step::Send { data, end } | Step::ForwardBody { data, end } => {
                (data, end)
            }
            Step::Forward(forward) => (forward.data, forward.end),
            _ => continue,
        };
        assert!(data.len_bytes() < DECODED_STEP_BYTES + 2 * DECODED_PIECE_BYTES, "{}", data.len_bytes());
        out.extend(data.to_vec());
        ended |= end;
    }
    ended
}

#[test]
fn an_answer_that_decodes_to_much_leaves_in_steps() {
    let (plain, encoded) = swelling();
    let mut driven = World { masks: masks(), ..World::default() }.exchange();
    driven.open();
    let mut head = response_head("text/plain");
    head.headers.append("content-encoding", b"gzip");
    head.framing = Framing::Length(encoded.len() as u64);
    let event = Event::Response { head: Box::new(head), data: encoded.into(), end: true };
    let mut out = Vec::new();
    let mut ended = leave(driven.on(event), &mut out);
    while driven.exchange.is_decoding(Side::Upstream) {
        assert!(!ended);
        ended = leave(driven.on(Event::ResponseBody { data: Segments::new(), end: false }), &mut out);
    }
    assert!(ended && out == plain);
    let steps = driven.on(Event::Delivered);
    assert_eq!(outcome(&steps).response.sent, plain.len() as u64);
}

#[test]
fn a_request_that_decodes_to_much_leaves_in_steps() {
    let (plain, encoded) = swelling();
    let mut driven = World { masks: masks(), body_bytes_max: 4 << 20, ..World::default() }.exchange();
    let mut head = head(Method::Post, Framing::Length(encoded.len() as u64));
    head.headers.append("content-encoding", b"gzip");
    let mut steps =
        driven.on(Event::Request(Arrival { head: Box::new(head), data: encoded.into(), end: true }));
    let (mut out, mut ended) = (Vec::new(), false);
    while !ended {
        ended = match steps.iter().any(|step| matches!(step, Step::Ask(..))) {
            true => {
                let ticket = ticket(&steps);
                steps = driven.on(Event::Answer(ticket, Answer::Recorded(Ok(2))));
                continue;
            }
            false => leave(steps, &mut out),
        };
        assert_eq!(ended, !driven.exchange.is_decoding(Side::Client));
        steps = driven.on(Event::RequestBody { data: Segments::new(), end: false });
    }
    assert!(out == plain);
}

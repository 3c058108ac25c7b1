//! Answers as the load tester reads them, which shares no code with the gateway: its corpus is replayed by
//! `loadtest/tests/fuzz_corpus.rs`.

use loadtest::wire::{Decoder, Dialect, Error, Event, Events, Sort, Want};

/// What was read of an answer.
#[derive(Debug, PartialEq)]
struct Read {
    status: Option<u16>,
    body: Vec<u8>,
    is_over: bool,
    sorts: Vec<Sort>,
}

/// An answer, and the events in it, mean the same in one piece and in pieces of any length; the first byte
/// seeds those lengths and chooses method and dialect.
pub fn response(data: &[u8]) {
    let Some((&seed, wire)) = data.split_first() else { return };
    let whole = read(wire, seed, |_| usize::MAX);
    let split = read(wire, seed, |at| 1 + (at * 7 + usize::from(seed)) % 13);
    let single = read(wire, seed, |_| 1);
    assert_eq!(split, single);
    match (&whole, &split) {
        // Of several faults another one may be found first, and a fault behind what was read already.
        (Err(_), other) => assert!(other.is_err()),
        (one, other) => assert_eq!(one, other),
    }
    if let Ok(read) = whole {
        assert!(read.body.len() <= wire.len() && read.sorts.len() <= read.body.len());
        assert!(read.status.is_none_or(|status| (200..1000).contains(&status)));
    }
}

fn read(wire: &[u8], seed: u8, cut: impl Fn(usize) -> usize) -> Result<Read, Error> {
    let dialect = [Dialect::Anthropic, Dialect::OpenAi, Dialect::Any][usize::from(seed) % 3];
    let (mut decoder, mut events) = (Decoder::new(seed >= 200, Want { timing: true }), Events::new(dialect));
    let mut read = Read { status: None, body: vec![], is_over: false, sorts: vec![] };
    let (mut start, mut end) = (0, 0);
    while !read.is_over && end < wire.len() {
        end = end.saturating_add(cut(end)).min(wire.len());
        let mut input = &wire[start..end];
        while let Some(event) = decoder.next(&mut input)? {
            match event {
                Event::Head(head) => read.status = Some(head.status),
                Event::Data(data) => {
                    assert!(read.status.is_some() && !data.is_empty());
                    read.body.extend_from_slice(data);
                    events.push(data, |sort| read.sorts.push(sort));
                }
                Event::End => {
                    read.is_over = true;
                    break;
                }
            }
        }
        start = end - input.len();
    }
    assert!(!read.is_over || decoder.finish().is_ok());
    Ok(read)
}

//! What is owed to the record and to the lease, whatever happens.

use super::*;
use crate::secrets::SubjectTokenType;

#[test]
fn an_intent_is_the_last_of_the_records_that_open_an_exchange() {
    // A record before it that finds no room must not leave an INTENT without OUTCOME behind.
    for (framing, end) in [(Framing::Length(5), true), (Framing::Chunked, false)] {
        let steps = World::default().exchange().request(Method::Post, b"hello", framing, end);
        let Some(Step::Ask(_, Ask::Record(records, _))) = steps.last() else { panic!("{steps:?}") };
        let kinds: Vec<_> = records.iter().map(|record| record.kind().name()).collect();
        assert_eq!(kinds, ["CONTENT", "INTENT"]);
    }
}

#[test]
fn edits_that_nobody_records_are_not_gathered() {
    let mut driven = World { record: Recording::Off, masks: masks(), ..World::default() }.exchange();
    driven.request(Method::Post, b"a@example.com ", Framing::Chunked, false);
    driven.on(Event::RequestBody { data: Chunk::from_static(b"b@example.com ").into(), end: true });
    driven.response(&[], b"c@example.com ", false);
    driven.on(Event::ResponseBody { data: Chunk::from_static(b"d@example.com ").into(), end: true });
    let exchange = &mut driven.exchange;
    assert_eq!((exchange.request.take_edits(), exchange.response.take_edits()), (vec![], vec![]));
    assert_eq!((exchange.request.hits().len(), exchange.response.hits().len()), (1, 1));
}

#[test]
fn a_body_in_small_pieces_does_not_hold_on_to_their_buffers() {
    let rules = vec![no_drop(), rule("default", When::default(), Action::Allow)];
    let mut driven = World { rules, ..World::default() }.exchange();
    driven.request(Method::Post, b"", Framing::Chunked, false);
    for _ in 0..1_000 {
        let piece = Chunk::from(vec![b'x'; 64_000]).slice(..1);
        assert_eq!(words(&driven.on(Event::RequestBody { data: piece.into(), end: false })), ["read body"]);
    }
    let end = Event::RequestBody { data: Chunk::from(vec![b'y'; 8_000]).into(), end: true };
    let steps = driven.on(end);
    let Some(Step::Ask(_, Ask::Record(records, _))) = steps.last() else { panic!("{steps:?}") };
    let Record::Content(content) = &records[0] else { panic!("{records:?}") };
    assert_eq!((content.bytes.iter().count(), content.bytes.len_bytes()), (1, 9_000));
    // All of it was copied for the policy, and none of it counts as forwarded from where it was received.
    let tally = driven.exchange.request.counted();
    assert_eq!((tally.policy, tally.copied, tally.forwarded), (18_000, 0, 0));
    assert_eq!(driven.memory.used(), 9_000, "its memory is counted until the answer begins");
    let ticket = ticket(&steps);
    driven.on(Event::Answer(ticket, Answer::Recorded(Ok(1))));
    driven.response(&[], b"answer", true);
    assert_eq!(driven.memory.used(), 0);
}

#[test]
fn a_body_that_came_in_one_piece_is_not_copied() {
    let rules = vec![no_drop(), rule("default", When::default(), Action::Allow)];
    let mut driven = World { rules, ..World::default() }.exchange();
    driven.request(Method::Post, b"", Framing::Chunked, false);
    let piece = Chunk::from(vec![b'x'; 8_000]);
    let place = piece.as_ptr();
    let steps = driven.on(Event::RequestBody { data: piece.into(), end: true });
    let Some(Step::Ask(_, Ask::Record(records, _))) = steps.last() else { panic!("{steps:?}") };
    let Record::Content(content) = &records[0] else { panic!("{records:?}") };
    assert_eq!(content.bytes.iter().next().map(|chunk| chunk.as_ptr()), Some(place));
    assert_eq!(driven.exchange.request.counted().forwarded, 8_000);
}

#[test]
fn a_body_without_memory_is_refused_and_forgotten() {
    let rules = vec![no_drop(), rule("default", When::default(), Action::Allow)];
    for at_once in [true, false] {
        let rules = rules.clone();
        let mut driven = World { rules, body_bytes_max: 1 << 30, ..World::default() }.exchange();
        driven.memory.set_max(10_000);
        static BODY: [u8; 10_001] = [b'x'; 10_001];
        let (first, rest) = if at_once { (&BODY[..], &b""[..]) } else { BODY.split_at(6_000) };
        let mut steps = driven.request(Method::Post, first, Framing::Chunked, false);
        if !at_once {
            assert_eq!(words(&steps), ["read body"]);
            let rest = Chunk::from(rest.to_vec()).into();
            steps = driven.on(Event::RequestBody { data: rest, end: false });
        }
        let reply = reply(&steps);
        assert_eq!((reply.status, reply.headers.get_str("retry-after")), (503, Some("1")));
        let steps = driven.on(Event::Delivered);
        assert_eq!(refusal(&steps).code.as_ref(), "overloaded");
        let Some(Step::Finish(_, summary)) = steps.last() else { panic!("{steps:?}") };
        assert_eq!((summary.limit, driven.memory.used()), (Some(Limit::MemoryBody), 0));
    }
}

#[test]
fn a_chunked_body_of_tiny_chunks_is_joined_before_it_is_recorded() {
    let mut driven = World::default().exchange();
    let steps = driven.request(Method::Post, b"", Framing::Chunked, false);
    driven.on(Event::Answer(ticket(&steps), Answer::Recorded(Ok(1))));
    let received = Chunk::from(vec![b'x'; 60_000]);
    let mut data = crate::buffer::Segments::new();
    (0..10_000).for_each(|index| data.push(received.slice(index * 6..index * 6 + 1)));
    let steps = driven.on(Event::RequestBody { data, end: false });
    let Some(Step::Ask(_, Ask::Record(records, _))) = steps.last() else { panic!("{steps:?}") };
    assert_eq!(records[0].body_bytes(), 10_000 + crate::limits::SLICE_BYTES, "and not 330,000");
    assert_eq!(driven.exchange.request.counted().copied, 10_000);
    // An answer likewise.
    let mut data = crate::buffer::Segments::new();
    (0..10_000).for_each(|index| data.push(received.slice(index * 6..index * 6 + 1)));
    driven.response(&[], b"begun.", false);
    let steps = driven.on(Event::ResponseBody { data, end: true });
    let Some(Step::Send { data, .. }) = steps.last() else { panic!("{steps:?}") };
    assert_eq!((data.count(), data.len_bytes()), (1, 10_000));
}

#[test]
fn a_token_that_ends_before_it_is_exchanged_is_answered_401() {
    // Within the clock skew of the gateway, but not of the token endpoint: only a fresh token helps.
    let answered = |kind: LeaseKind, expires: u64| {
        let mut driven = World { lease: Some(kind), ..World::default() }.exchange();
        driven.exchange.principal = Some(principal("agent", expires));
        let ticket = ticket(&driven.open());
        let refused = Err("the token endpoint answered 400, invalid_grant".to_owned());
        let steps = driven.on(Event::Answer(ticket, Answer::Lease(refused)));
        (reply(&steps).status, reply(&steps).headers.get_str("www-authenticate").is_some())
    };
    let exchange = LeaseKind::TokenExchange { subject: SubjectTokenType::default() };
    assert_eq!(answered(exchange, 9), (401, true));
    assert_eq!(answered(exchange, 10), (503, false));
    assert_eq!(answered(LeaseKind::ClientCredentials, 9), (503, false), "its own credential was refused");
}

//! What is owed to the record and to the lease, whatever happens.

use super::*;

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
    assert_eq!((content.bytes.iter().count(), content.bytes.len_bytes()), (2, 9_000));
}

use super::*;
use crate::{
    audit::{Body, Cause, Commitment, Content, Direction, Kind},
    buffer::{Chunk, Segments},
    limits::{JOURNAL_QUEUE_RECORDS, RECORD_BYTES_MAX},
};

#[test]
fn acknowledged_records_are_in_the_log() {
    let house = House::new();
    let (journal, mut producer) = house.open();
    let content = |bytes| Record::Content(Box::new(samples::content(1, bytes, true)));
    submit(&mut producer, 1, Commit::Durable, samples::intent(1));
    submit(&mut producer, 2, Commit::Written, content(b"hello"));
    submit(&mut producer, 0, Commit::Written, content(b" world"));
    submit(&mut producer, 3, Commit::Durable, samples::outcome(1));
    submit(&mut producer, 4, Commit::Written, samples::refusal(2));
    // STATE is record 1.
    for (ticket, sequence) in [(1, 2), (2, 3), (3, 5), (4, 6)] {
        assert_eq!(house.acks.wait(ticket), Ok(sequence));
    }
    let config = journal.append_blocking(Commit::Durable, samples::every_kind().remove(1));
    assert_eq!(config, Ok(7));
    let health = journal.health();
    assert_eq!((health.failure, health.written, health.synced, health.segment), (None, 7, 7, 1));
    wait_until("the body bytes are given back", || producer.inflight_bytes() == 0);
    journal.close().unwrap();

    let report = house.verify();
    assert_eq!((report.records, report.exchanges_closed, report.refusals), (7, 1, 1));
    assert!(report.sealed);
    let kinds: Vec<_> = house.records().iter().map(|(_, record)| record.kind()).collect();
    let expected =
        [Kind::State, Kind::Intent, Kind::Content, Kind::Content, Kind::Outcome, Kind::Refusal, Kind::Config];
    assert_eq!(kinds, expected);
}

#[test]
fn commitments_open_with_the_stored_nonce_and_with_nothing_in_the_log() {
    let house = House::new();
    let (journal, mut producer) = house.open();
    let masked = Content {
        upstream: Some(Chunk::from_static(b"card 4242424242424242").into()),
        ..samples::content(1, b"card ....4242", true)
    };
    submit(&mut producer, 0, Commit::Written, samples::intent(1));
    submit(&mut producer, 0, Commit::Written, Record::Content(Box::new(masked.clone())));
    submit(&mut producer, 1, Commit::Durable, samples::outcome(1));
    house.acks.wait(1).unwrap();
    journal.close().unwrap();

    let openings = read_openings(&house.root.path().join("openings"), 1).unwrap();
    let [(id, Direction::Response, nonce)] = openings[..] else { panic!("one body, one nonce") };
    assert_eq!(id, samples::id(1));
    let mut body = Body::new(nonce);
    body.add(&masked);
    let (_, Record::Outcome(outcome)) = house.records().pop().unwrap() else { panic!("no outcome") };
    assert_eq!(outcome.commitments.response, Some(body.commitment()));
    assert_ne!(outcome.commitments.response, Some(Commitment([4; 32])), "what was submitted is replaced");

    let log = fs::read(&list(&house.log()).unwrap().0[0].path).unwrap();
    for secret in [&nonce[..], b"4242424242424242"] {
        assert_eq!(memchr::memmem::find(&log, secret), None);
    }
}

#[test]
fn segments_rotate_and_long_content_is_cut() {
    let house = House::new();
    let (journal, mut producer) = house.open();
    submit(&mut producer, 1, Commit::Durable, samples::intent(1));
    let body: Vec<u8> = (0..400_000u32).map(|n| (n % 251) as u8).collect();
    for part in body.chunks(100_000) {
        let mut content = samples::content(1, b"", true);
        content.bytes = Segments::from(Chunk::from(part.to_vec()));
        submit(&mut producer, 0, Commit::Written, Record::Content(Box::new(content)));
    }
    submit(&mut producer, 2, Commit::Durable, samples::outcome(1));
    house.acks.wait(2).unwrap();
    journal.close().unwrap();

    let report = house.verify();
    assert!(report.segments >= 2, "{report:?}");
    let mut stored = Vec::new();
    for (_, record) in house.records() {
        if let Record::Content(content) = record {
            stored.extend(content.bytes.to_vec());
        }
    }
    assert!(stored == body);
    let names: Vec<_> = fs::read_dir(house.log()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len() as u64, report.segments, "segments only: {names:?}");
}

#[test]
fn a_closed_log_goes_on_where_it_ended() {
    let house = House::new();
    for round in 0..5u64 {
        let (journal, mut producer) = house.open();
        let ticket = round * 2 + 1;
        submit(&mut producer, ticket, Commit::Durable, samples::intent(1));
        submit(&mut producer, ticket + 1, Commit::Durable, samples::outcome(1));
        assert_eq!(house.acks.wait(ticket + 1), Ok(round * 3 + 3));
        journal.close().unwrap();
        let report = house.verify();
        assert_eq!((report.segments, report.exchanges_closed), (round + 1, round + 1));
    }
    assert!(house.records().iter().all(|(_, record)| record.kind() != Kind::Recovery));
}

#[test]
fn exchanges_that_were_open_are_lost_at_the_next_start() {
    let house = House::new();
    let (journal, mut producer) = house.open();
    submit(&mut producer, 1, Commit::Durable, samples::intent(1));
    submit(&mut producer, 2, Commit::Durable, samples::intent(2));
    submit(&mut producer, 3, Commit::Durable, samples::outcome(1));
    house.acks.wait(3).unwrap();
    journal.close().unwrap();
    assert_eq!(house.verify().exchanges_open, 1);

    house.open().0.close().unwrap();
    let report = house.verify();
    assert_eq!((report.exchanges_open, report.exchanges_closed), (0, 2));
    let (_, Record::Outcome(outcome)) = house.records().pop().unwrap() else { panic!("no outcome") };
    assert_eq!((outcome.id, outcome.cause), (samples::id(2), Cause::Lost));
}

#[test]
fn records_out_of_place_are_refused_and_harm_nothing() {
    let house = House::new();
    let (journal, mut producer) = house.open();
    let huge = "x".repeat(RECORD_BYTES_MAX + 1);
    let Record::Refusal(mut refusal) = samples::refusal(9) else { unreachable!() };
    refusal.reason = huge.into();
    let cases = [
        (1, samples::outcome(1), Err(Failure::OutOfPlace)),
        (2, samples::intent(1), Ok(2)),
        (3, samples::intent(1), Err(Failure::OutOfPlace)),
        (4, samples::refusal(1), Err(Failure::OutOfPlace)),
        (5, Record::Refusal(refusal), Err(Failure::TooLarge)),
        (6, samples::outcome(1), Ok(3)),
        (7, samples::outcome(1), Err(Failure::OutOfPlace)),
    ];
    for (ticket, record, expected) in cases {
        submit(&mut producer, ticket, Commit::Durable, record);
        assert_eq!(house.acks.wait(ticket), expected, "ticket {ticket}");
    }
    journal.close().unwrap();
    assert_eq!(house.verify().records, 3);
}

#[test]
fn many_durable_records_share_a_sync() {
    let house = House::new();
    let (journal, mut producer) = house.open();
    for ticket in 1..=500 {
        submit(&mut producer, ticket, Commit::Durable, samples::refusal(1));
    }
    for ticket in 1..=500 {
        assert_eq!(house.acks.wait(ticket), Ok(ticket + 1));
    }
    let syncs: u64 = journal.health().syncs.buckets.iter().sum();
    assert!(syncs < 250, "{syncs} syncs for 500 records");
    journal.close().unwrap();
}

#[test]
fn written_records_are_synced_by_themselves() {
    let house = House::new();
    let (journal, mut producer) = house.open();
    submit(&mut producer, 1, Commit::Written, samples::refusal(1));
    house.acks.wait(1).unwrap();
    wait_until("the record is synced", || journal.health().synced == 2);
    journal.close().unwrap();
}

#[test]
fn a_full_ring_keeps_room_for_every_outcome() {
    let (mut producer, lane) = Producer::new(Arc::new(Bell::default()));
    let mut admitted = 0;
    while producer.submit(submission(0, Commit::Durable, samples::intent(1))).is_ok() {
        admitted += 1;
    }
    assert_eq!(admitted, JOURNAL_QUEUE_RECORDS / 2);
    let Full(back) = producer.submit(submission(7, Commit::Durable, samples::refusal(1))).unwrap_err();
    assert_eq!((back.ticket, back.record.kind()), (7, Kind::Refusal));
    for _ in 0..admitted {
        submit(&mut producer, 0, Commit::Durable, samples::outcome(1));
    }
    assert!(lane.queue.is_full());
    producer.submit(submission(0, Commit::Durable, samples::outcome(1))).unwrap_err();
    assert_eq!(producer.inflight_bytes(), 0);
}

#[test]
fn folders_that_cannot_be_a_log_are_refused() {
    let house = House::new();
    let (journal, _producer) = house.open();
    assert!(matches!(house.open_on(Arc::new(OsDisk)), Err(OpenError::Locked(_, Some(_)))));
    journal.close().unwrap();

    let nested = Options { openings_dir: house.log().join("openings"), ..house.options() };
    let result = Journal::open(nested, 1, Box::new(Collected::default()));
    assert!(matches!(result, Err(OpenError::Nested(_))));
    fs::remove_dir(house.log().join("openings")).unwrap();

    fs::copy(house.log().join("000000000001.segment"), house.log().join("copy.segment")).unwrap();
    assert!(matches!(house.open_on(Arc::new(OsDisk)), Err(OpenError::Recover(RecoverError::Stranger(_)))));
    assert!(matches!(verify_dir(&house.log(), |_, _| {}), Err(VerifyError::Stranger(_))));
    assert!(matches!(
        verify_dir(&house.root.path().join("openings"), |_, _| {}),
        Err(VerifyError::Stranger(_))
    ));
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(verify_dir(empty.path(), |_, _| {}), Err(VerifyError::Empty(_))));
}

#[test]
fn a_log_in_use_verifies_at_any_moment() {
    let house = House::new();
    let (journal, mut producer) = house.open();
    let mut ticket = 0;
    for _ in 0..40 {
        for _ in 0..20 {
            ticket += 1;
            submit(&mut producer, ticket, Commit::Written, samples::intent(ticket as u8));
            ticket += 1;
            submit(&mut producer, ticket, Commit::Written, samples::outcome((ticket - 1) as u8));
        }
        house.verify();
    }
    house.acks.wait(ticket).unwrap();
    journal.close().unwrap();
    assert_eq!(house.verify().exchanges_closed, 800);
}

#[test]
fn format_version_1_is_read_for_ever() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/audit/v1");
    let report = verify_dir(&folder, |_, _| {}).unwrap();
    assert_eq!((report.records, report.exchanges_closed, report.sealed), (13, 2, true));
    for (file, written) in list(&folder).unwrap().0.iter().zip(samples::Log::small().segments) {
        each_frame(file, |frame| drop(frame.decode().unwrap())).unwrap();
        let kept = fs::read(&file.path).unwrap();
        assert!(kept == written, "{}: version 1 is no longer written byte for byte", file.path.display());
    }
}

#[test]
fn signed_logs_of_version_1_are_read_for_ever() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/audit/v1-signed");
    let key = samples::signing_key(1, 1).public().clone();
    let trust = crate::audit::Trust { key: Some(key), ..Default::default() };
    let report = verify_dir_against(&folder, &Keys::default(), trust, |_, _| {}).unwrap();
    assert_eq!((report.records, report.signatures.signed_through), (19, 18));
    for (file, written) in list(&folder).unwrap().0.iter().zip(samples::Log::signed().segments) {
        let kept = fs::read(&file.path).unwrap();
        assert!(kept == written, "{}: version 1 is no longer written byte for byte", file.path.display());
    }
}

#[test]
#[ignore = "writes the golden files of a new format version"]
fn write_golden_files() {
    for (name, log) in [("v1", samples::Log::small()), ("v1-signed", samples::Log::signed())] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/audit").join(name);
        fs::create_dir_all(&folder).unwrap();
        for (index, segment) in log.segments.iter().enumerate() {
            fs::write(crate::segments::path(&folder, index as u64 + 1), segment).unwrap();
        }
        if let Some(Record::Checkpoint(last)) = log.last_checkpoint() {
            fs::write(folder.join("checkpoint"), last.note.as_bytes()).unwrap();
        }
    }
}

#[test]
fn a_body_longer_than_a_batch_is_recorded_in_several() {
    let house = House::new();
    let (journal, mut producer) = house.open();
    let body: Vec<u8> = (0..5 * 1024 * 1024_u32).map(|at| (at / 7) as u8).collect();
    let content = Content {
        bytes: Chunk::from(body.clone()).into(),
        direction: Direction::Request,
        ..samples::content(1, b"", true)
    };
    submit(&mut producer, 1, Commit::Durable, Record::Content(Box::new(content)));
    submit(&mut producer, 2, Commit::Durable, samples::intent(1));
    submit(&mut producer, 3, Commit::Durable, samples::outcome(1));
    for ticket in 1..=3 {
        house.acks.wait(ticket).unwrap();
    }
    wait_until("the body bytes are given back", || producer.inflight_bytes() == 0);
    journal.close().unwrap();
    assert!(house.verify().sealed);
    let mut recorded = Vec::new();
    for (_, record) in house.records() {
        if let Record::Content(content) = record {
            recorded.extend(content.bytes.to_vec());
        }
    }
    assert!(recorded == body, "{} bytes of {}", recorded.len(), body.len());
}

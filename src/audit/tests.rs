//! The whole of the format: every kind there and back, and every way of tampering found and named.

use super::{samples::*, *};
use proptest::prelude::*;

/// A segment with these records in one batch, closed.
fn segment_of(records: &[Record]) -> Vec<u8> {
    let mut log = Log::new();
    log.batch(records);
    log.seal(SealReason::Closed);
    log.segments.remove(0)
}

fn frames(segment: &[u8]) -> Vec<(u64, Record)> {
    let mut reader = SegmentReader::open(segment, 1, None).unwrap();
    let mut records = Vec::new();
    loop {
        match reader.next_item().unwrap() {
            Item::Batch(_) => {}
            Item::Frame(frame) => records.push((frame.sequence, frame.decode().unwrap())),
            Item::End(_) => return records,
        }
    }
}

#[test]
fn every_kind_comes_back_as_it_was() {
    let records = [every_kind(), later_kinds(), vec![erased(&[2, 7])], approvals(4)].concat();
    let segment = segment_of(&records);
    let read: Vec<_> = frames(&segment).into_iter().map(|(_, record)| record).collect();
    assert_eq!(segment_of(&read), segment, "what was read is written the same way");
    for (written, read) in records.iter().zip(&read) {
        assert_eq!(written.kind(), read.kind());
        assert_eq!(written.exchange(), read.exchange());
        match (written, read) {
            (Record::Config(a), Record::Config(b)) => assert_eq!(a, b),
            (Record::State(a), Record::State(b)) => assert_eq!(a, b),
            (Record::Admin(a), Record::Admin(b)) | (Record::Read(a), Record::Read(b)) => assert_eq!(a, b),
            (Record::Recovery(a), Record::Recovery(b)) => assert_eq!(a, b),
            (Record::Erased(a), Record::Erased(b)) => assert_eq!(a, b),
            (Record::Approval(a), Record::Approval(b)) => assert_eq!(a, b),
            (Record::Consume(a), Record::Consume(b)) => assert_eq!(a, b),
            (Record::Grant(a), Record::Grant(b)) => assert_eq!(a, b),
            (Record::Intent(a), Record::Intent(b)) => {
                assert_eq!((&a.subject, &a.decision, &a.secrets), (&b.subject, &b.decision, &b.secrets));
                assert_eq!((a.head.peer, &a.head.method), (b.head.peer, &b.head.method));
                let fields = |head: &Head| -> Vec<(String, Vec<u8>)> {
                    head.headers.iter().map(|(n, v)| (n.to_owned(), v.to_vec())).collect()
                };
                assert_eq!(fields(&a.head), fields(&b.head));
            }
            (Record::Content(a), Record::Content(b)) => {
                assert_eq!((&a.edits, a.leaves, a.keep), (&b.edits, b.leaves, b.keep));
                let stored = if a.keep { a.bytes.to_vec() } else { Vec::new() };
                assert_eq!(b.bytes.to_vec(), stored);
            }
            (Record::Outcome(a), Record::Outcome(b)) => assert_eq!(format!("{a:?}"), format!("{b:?}")),
            (Record::Refusal(a), Record::Refusal(b)) => assert_eq!((a.status, a.body), (b.status, b.body)),
            _ => unreachable!(),
        }
    }
}

#[test]
fn reading_goes_on_where_it_was_left() {
    let log = Log::small();
    for (index, segment) in log.segments.iter().enumerate() {
        let number = index as u64 + 1;
        let mut reader = SegmentReader::open(std::io::Cursor::new(segment), number, None).unwrap();
        let mut places = vec![(reader.offset(), reader.position())];
        while !matches!(reader.next_item().unwrap(), Item::End(_)) {
            if reader.is_between_batches() {
                places.push((reader.offset(), reader.position()));
            }
        }
        let end = (reader.offset(), reader.position());
        for (offset, Position { sequence, hash, .. }) in places {
            reader.resume(offset, sequence, hash).unwrap();
            while !matches!(reader.next_item().unwrap(), Item::End(_)) {}
            assert_eq!((reader.offset(), reader.position()), end);
            reader.resume(offset, sequence, [7; 32]).unwrap();
            // The next thing there names the hash before it, be it a record or the seal.
            let error = loop {
                match reader.next_item() {
                    Err(ReadError::Damage(damage)) => break damage.why,
                    other => drop(other.unwrap()),
                }
            };
            assert!(matches!(error, Why::Chain | Why::SealContents), "{error}");
        }
    }
}

#[test]
#[ignore = "writes a golden file"]
fn write_the_golden_file_of_later_kinds() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/audit/v1-access");
    std::fs::write(folder.join("000000000001.segment"), segment_of(&later_kinds())).unwrap();
}

#[test]
fn the_later_kinds_of_version_1_are_read_for_ever() {
    let golden = include_bytes!("../../tests/golden/audit/v1-access/000000000001.segment");
    let read: Vec<_> = frames(golden).into_iter().map(|(_, record)| record).collect();
    assert_eq!(segment_of(&read), golden, "version 1 is no longer written byte for byte");
    assert_eq!(format!("{read:?}"), format!("{:?}", later_kinds()));
    assert_eq!(verify(&[golden.to_vec()]).unwrap().records, 2);
}

/// Fields that were added to version 1 after it was first written.
fn later_fields() -> Vec<Record> {
    vec![samples::intent(1), samples::outcome_with_fields(1), samples::refusals(2)]
}

#[test]
#[ignore = "writes a golden file"]
fn write_the_golden_file_of_later_fields() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/audit/v1-fields");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("000000000001.segment"), segment_of(&later_fields())).unwrap();
}

#[test]
fn the_later_fields_of_version_1_are_read_for_ever() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/audit/v1-fields");
    let golden = std::fs::read(folder.join("000000000001.segment")).unwrap();
    let read: Vec<_> = frames(&golden).into_iter().map(|(_, record)| record).collect();
    assert_eq!(segment_of(&read), golden, "version 1 is no longer written byte for byte");
    assert_eq!(format!("{read:?}"), format!("{:?}", later_fields()));
    let (Record::Outcome(outcome), Record::Refusal(refusal)) = (&read[1], &read[2]) else {
        panic!("{read:?}")
    };
    assert_eq!(outcome.headers.get_str("set-cookie"), Some("sid=[redacted]; Path=/"));
    assert_eq!((refusal.folded.unwrap().more, refusal.head.scheme), (999, Some(Scheme::Https)));
    assert_eq!(verify(&[golden]).unwrap().refusals, 1);
}

/// An approved exchange, as it stands in a log.
fn approved() -> Vec<Record> {
    [approvals(1), vec![intent(1), outcome(1)]].concat()
}

#[test]
fn what_was_judged_of_a_conversation_before_is_read_back() {
    let Record::Intent(mut intent) = intent(1) else { unreachable!("a sample of that kind") };
    intent.decision.passed = 300;
    intent.decision.removed =
        [0, 7].map(|block| Removed { block, policy: "no-drop".into() }).into_iter().collect();
    let written = [Record::Intent(intent)];
    let read: Vec<_> = frames(&segment_of(&written)).into_iter().map(|(_, record)| record).collect();
    assert_eq!(format!("{read:?}"), format!("{written:?}"));
}

#[test]
#[ignore = "writes a golden file"]
fn write_the_golden_file_of_approvals() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/audit/v1-approvals");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("000000000001.segment"), segment_of(&approved())).unwrap();
}

#[test]
fn the_approvals_of_version_1_are_read_for_ever() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/audit/v1-approvals");
    let golden = std::fs::read(folder.join("000000000001.segment")).unwrap();
    let read: Vec<_> = frames(&golden).into_iter().map(|(_, record)| record).collect();
    assert_eq!(segment_of(&read), golden, "version 1 is no longer written byte for byte");
    assert_eq!(format!("{read:?}"), format!("{:?}", approved()));
    assert_eq!(verify(&[golden]).unwrap().exchanges_closed, 1);
}

/// A record of an erased body, with zeros for its salt and bytes.
fn with_zeros(segment: &[u8], of: &[u8]) -> Vec<u8> {
    let mut segment = segment.to_vec();
    let at = segment.windows(of.len()).position(|part| part == of).expect("it is in there");
    segment[at - 32..at + of.len()].fill(0);
    segment
}

#[test]
fn erased_bodies_verify_where_a_later_record_names_them() {
    let log = |last: Record| {
        let mut log = Log::new();
        let body = committed(content(1, b"a body to forget", true));
        log.batch(&[intent(1), body, outcome(1), last]);
        log.seal(SealReason::Closed);
        with_zeros(&log.segments[0], b"a body to forget")
    };
    let good = log(erased(&[1]));
    assert_eq!(verify(std::slice::from_ref(&good)).unwrap().erased, 1);
    let Record::Content(left) = &frames(&good)[1].1 else { panic!("no content") };
    assert!(left.bytes.is_empty() && left.leaves.is_some());
    // Nobody says so, or says it of another exchange.
    for last in [refusal(3), erased(&[2])] {
        let damage = verify(&[log(last)]).unwrap_err();
        assert_eq!((damage.why, damage.sequence), (Why::Erased, 2), "{damage}");
    }
    // What it says of bodies that come later does not count.
    let mut early = Log::new();
    early.batch(&[erased(&[1]), intent(1), committed(content(1, b"a body to forget", true)), outcome(1)]);
    early.seal(SealReason::Closed);
    let early = with_zeros(&early.segments[0], b"a body to forget");
    assert_eq!(verify(&[early]).unwrap_err().why, Why::Erased);
    // The bytes without their salt are damage of the old kind.
    let mut only_bytes = Log::new();
    only_bytes.batch(&[
        intent(1),
        committed(content(1, b"a body to forget", true)),
        outcome(1),
        erased(&[1]),
    ]);
    let mut segment = only_bytes.segments[0].clone();
    let at = segment.windows(16).position(|part| part == b"a body to forget").unwrap();
    segment[at..at + 16].fill(0);
    assert_eq!(verify(&[segment]).unwrap_err().why, Why::Content);
}

#[test]
fn a_good_log_is_counted() {
    let log = Log::small();
    let report = verify(&log.segments).unwrap();
    assert_eq!((report.segments, report.records), (3, log.position.sequence - 1));
    assert_eq!((report.exchanges_closed, report.exchanges_open, report.refusals), (2, 0, 1));
    assert_eq!(report.bytes, log.segments.iter().map(|s| s.len() as u64).sum::<u64>());
    assert!(report.sealed);
    assert_eq!(report.head, log.position.hash);
}

#[test]
fn an_unsealed_preallocated_segment_is_good_while_its_rest_is_zero() {
    let mut log = Log::new();
    log.batch(&every_kind());
    let end = log.segments[0].len();
    log.segments[0].resize(end + 200_000, 0);
    let report = verify(&log.segments).unwrap();
    assert_eq!((report.sealed, report.bytes, report.exchanges_open), (false, end as u64, 1));
    log.segments[0][end + 150_001] = 1;
    let damage = verify(&log.segments).unwrap_err();
    assert_eq!((damage.why, damage.offset, damage.sequence), (Why::Trailing, end as u64 + 150_001, 12));
}

#[test]
fn truncation_is_found_at_every_byte() {
    let log = Log::small();
    for (index, segment) in log.segments.iter().enumerate() {
        let boundaries = boundaries(segment);
        for end in 0..segment.len() {
            let mut segments = log.segments.clone();
            segments[index].truncate(end);
            let result = verify(&segments);
            let last = index + 1 == segments.len();
            if !boundaries.contains(&end) {
                let damage = result.unwrap_err();
                assert_eq!(damage.segment, index as u64 + 1, "cut at {end}");
            } else if last || end == segment.len() - SEAL_BYTES {
                // Only a checkpoint kept elsewhere tells this from a log whose writer died, but the seal is
                // gone.
                assert!(!last || !result.unwrap().sealed);
            } else {
                assert_eq!(result.unwrap_err().why, Why::Disconnected);
            }
        }
    }
}

/// Offsets behind the header and behind each batch.
fn boundaries(segment: &[u8]) -> Vec<usize> {
    let mut reader = SegmentReader::open(segment, u64::from(segment[32]), None).unwrap();
    let mut offsets = vec![reader.offset() as usize];
    loop {
        match reader.next_item().unwrap() {
            Item::End(_) => return offsets,
            Item::Batch(_) | Item::Frame(_) => offsets.push(reader.offset() as usize),
        }
    }
}

/// Where each record's frame lies in its segment: (segment index, start, length, sequence).
fn places(log: &Log) -> Vec<(usize, usize, usize, u64)> {
    let mut places = Vec::new();
    for (index, segment) in log.segments.iter().enumerate() {
        let mut reader = SegmentReader::open(&segment[..], index as u64 + 1, None).unwrap();
        let mut at = 0;
        loop {
            let offset = reader.offset() as usize;
            match reader.next_item().unwrap() {
                Item::Batch(_) => at = offset + BATCH_HEADER_BYTES,
                Item::Frame(frame) => {
                    places.push((index, at, frame.length, frame.sequence));
                    at += frame.length;
                }
                Item::End(_) => break,
            }
        }
    }
    places
}

#[test]
fn an_edited_record_is_named() {
    let log = Log::small();
    for (segment, start, length, sequence) in places(&log) {
        for at in start..start + length {
            let mut segments = log.segments.clone();
            segments[segment][at] ^= 0x20;
            let damage = verify(&segments).unwrap_err();
            assert_eq!((damage.segment, damage.sequence), (segment as u64 + 1, sequence), "{damage}");
            assert_eq!(damage.offset, start as u64);
        }
    }
}

#[test]
fn moved_records_are_named() {
    let log = Log::small();
    let places = places(&log);
    let check = |name: &str, segments: Vec<Vec<u8>>, sequence: u64| {
        let damage = verify(&segments).expect_err(name);
        assert_eq!(damage.sequence, sequence, "{name}: {damage}");
    };
    let (_, start, length, sequence) = places[1];
    let (_, next, next_length, _) = places[2];
    let record = log.segments[0][start..start + length].to_vec();

    let mut deleted = log.segments.clone();
    deleted[0].drain(start..start + length);
    check("delete", deleted, sequence);

    let mut repeated = log.segments.clone();
    repeated[0].splice(next..next, record.iter().copied());
    check("repeat", repeated, sequence + 1);

    let mut inserted = log.segments.clone();
    let foreign = segment_of(&[refusal(9)]);
    let frame = SEGMENT_HEADER_BYTES + BATCH_HEADER_BYTES;
    inserted[0].splice(start..start, foreign[frame..foreign.len() - SEAL_BYTES].iter().copied());
    check("insert", inserted, sequence);

    let mut reordered = log.segments.clone();
    let both = [&log.segments[0][next..next + next_length], &record[..]].concat();
    reordered[0].splice(start..next + next_length, both);
    check("reorder", reordered, sequence);
}

#[test]
fn moved_batches_and_segments_are_named() {
    let log = Log::small();
    let whole = boundaries(&log.segments[1]);
    let batch = {
        let mut unique = whole.clone();
        unique.dedup();
        unique[1]..unique[2]
    };
    let check = |name: &str, segments: Vec<Vec<u8>>, segment: u64, why: fn(&Why) -> bool| {
        let damage = verify(&segments).expect_err(name);
        assert!(damage.segment == segment && why(&damage.why), "{name}: {damage}");
    };
    let change = |segment: usize, change: &dyn Fn(&mut Vec<u8>)| {
        let mut segments = log.segments.clone();
        change(&mut segments[segment]);
        segments
    };
    let copy = log.segments[1][batch.clone()].to_vec();
    check("batch deleted", change(1, &|s| drop(s.drain(batch.clone()))), 2, |w| matches!(w, Why::Skipped(_)));
    check("batch repeated", change(1, &|s| drop(s.splice(batch.end..batch.end, copy.clone()))), 2, |w| {
        matches!(w, Why::Repeated(_))
    });
    // Its check was made with the other segment's salt.
    check("batch in another segment", change(0, &|s| drop(s.splice(128..128, copy.clone()))), 1, |w| {
        *w == Why::BatchHeader
    });
    check("bytes behind the seal", change(2, &|s| s.push(0)), 3, |w| *w == Why::Trailing);

    let mut swapped = log.segments.clone();
    swapped.swap(0, 1);
    check("swapped", swapped, 1, |w| *w == Why::SegmentNumber(2));
    let mut missing = log.segments.clone();
    missing.remove(1);
    check("removed", missing, 2, |w| *w == Why::SegmentNumber(3));
    let mut repeated = log.segments.clone();
    repeated.insert(1, repeated[0].clone());
    check("repeated", repeated, 2, |w| *w == Why::SegmentNumber(1));
    check("none", Vec::new(), 1, |w| *w == Why::MissingSegment);
    check("last one gone", log.segments[..1].to_vec(), 2, |w| *w == Why::MissingSegment);

    let mut other = Log::new();
    other.batch(&[refusal(1)]);
    other.seal(SealReason::Rotated);
    other.batch(&[refusal(2)]);
    other.seal(SealReason::Closed);
    check("of another log", vec![other.segments[0].clone(), log.segments[1].clone()], 2, |w| {
        *w == Why::Disconnected
    });
}

#[test]
fn outcomes_and_intents_come_in_pairs() {
    let cases: [(&str, Vec<Record>); 5] = [
        ("outcome alone", vec![outcome(1)]),
        ("two outcomes", vec![intent(1), outcome(1), outcome(1)]),
        ("two intents", vec![intent(1), intent(1)]),
        ("refused although admitted", vec![intent(1), refusal(1)]),
        ("state forgets an exchange", vec![intent(1), Record::State(State::default())]),
    ];
    for (name, records) in cases {
        assert_eq!(verify(&[segment_of(&records)]).expect_err(name).why, Why::OutOfPlace, "{name}");
    }
}

#[test]
fn every_single_bit_flip_is_found() {
    let mut open = Log::new();
    open.batch(&every_kind());
    open.batch(&[committed(content(2, &[b'x'; 4_000], true))]);
    let end = open.segments[0].len();
    open.segments[0].resize(end + 2_500, 0);
    let mut flips = 0;
    for log in [Log::small(), open] {
        for segment in 0..log.segments.len() {
            let mut segments = log.segments.clone();
            for bit in 0..segments[segment].len() * 8 {
                segments[segment][bit / 8] ^= 1 << (bit % 8);
                assert!(verify(&segments).is_err(), "segment {segment}, bit {bit}");
                segments[segment][bit / 8] ^= 1 << (bit % 8);
                flips += 1;
            }
        }
    }
    assert!(flips > 100_000, "{flips}");
}

#[test]
fn records_beyond_their_bounds_are_refused() {
    let config = |bytes: usize| {
        let text = "x".repeat(bytes);
        Record::Config(Config {
            at: Default::default(),
            generation: 1,
            author: "a".into(),
            text: text.into(),
        })
    };
    let mut batch = Batch::new(1, [0; 32], Vec::new());
    let empty = batch.len_bytes();
    let error = batch.push(&config(crate::limits::RECORD_BYTES_MAX)).unwrap_err();
    assert!(error.bytes > crate::limits::RECORD_BYTES_MAX);
    assert_eq!((batch.len_bytes(), batch.count()), (empty, 0));
    assert_eq!(batch.push(&config(10)), Ok(1));
    let long = committed(content(1, &vec![b'x'; crate::limits::CONTENT_BYTES_MAX + 1], true));
    assert!(batch.push(&long).is_err());
    assert_eq!(batch.count(), 1);
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = parse_segment(&bytes);
        let mut headed = Log::new().segments.remove(0);
        headed.extend_from_slice(&bytes);
        let _ = parse_segment(&headed);
    }

    #[test]
    fn any_payload_is_decoded_without_a_panic(
        kind in 1u8..=14,
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let kind = Kind::from_byte(kind).unwrap();
        let _ = payload::read(kind, &bytes, Some(&bytes));
    }

    #[test]
    fn a_cut_payload_is_never_taken_for_another(cut in 0usize..400) {
        for record in every_kind().into_iter().chain(later_kinds()) {
            let mut bytes = Vec::new();
            payload::write(&record, &mut bytes);
            let cut = cut.min(bytes.len());
            if let Ok(read) = payload::read(record.kind(), &bytes[..cut], None) {
                let mut again = Vec::new();
                payload::write(&read, &mut again);
                prop_assert_eq!(&again[..], &bytes[..cut]);
            }
        }
    }
}

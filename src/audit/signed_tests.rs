//! A signed log against somebody who can write every byte of it, and knows how, but has no key.

use super::{samples::*, *};

/// The records of a log by segment.
fn records(log: &Log) -> Vec<Vec<Record>> {
    let read = |(index, segment): (usize, &Vec<u8>)| {
        let mut reader = SegmentReader::open(&segment[..], index as u64 + 1, None).unwrap();
        let mut records = Vec::new();
        loop {
            match reader.next_item().unwrap() {
                Item::Batch(_) => {}
                Item::Frame(frame) => records.push(frame.decode().unwrap()),
                Item::End(_) => return records,
            }
        }
    };
    log.segments.iter().enumerate().map(read).collect()
}

/// A log of these records with everything right that needs no key: chain, tree, seals.
fn written(records: &[Vec<Record>]) -> Log {
    let mut log = Log::new();
    for (index, segment) in records.iter().enumerate() {
        for record in segment {
            let mut record = record.clone();
            if let Record::State(state) = &mut record {
                state.tree = Some(log.tree.clone());
            }
            log.batch(&[record]);
        }
        let is_last = index + 1 == records.len();
        log.seal(if is_last { SealReason::Closed } else { SealReason::Rotated });
    }
    log
}

fn key_of(log: u8, seed: u8) -> Trust {
    Trust { key: Some(signing_key(log, seed).public().clone()), ..Trust::default() }
}

fn kept(records: &[Record]) -> Trust {
    let note = |record: &Record| match record {
        Record::Checkpoint(signed) => signed.note.clone(),
        other => panic!("{other:?} is no checkpoint"),
    };
    Trust { checkpoints: records.iter().map(note).collect(), ..Trust::default() }
}

#[test]
fn a_signed_log_is_good_and_says_how_far_it_is_signed() {
    let log = Log::signed();
    for trust in [Trust::default(), key_of(1, 1), key_of(1, 2)] {
        let report = verify_against(&log.segments, &trust).unwrap();
        let found = &report.signatures;
        assert_eq!((report.records, found.checkpoints, found.signed_through), (19, 3, 18));
        assert_eq!(found.root, log.tree.root());
        assert_eq!(found.keys, [1, 2].map(|seed| signing_key(1, seed).public().clone()));
    }
    let again = written(&records(&log));
    assert_eq!(verify(&again.segments).unwrap().signatures.root, log.tree.root());
}

#[test]
#[ignore = "writes the corpus of the fuzz targets"]
fn write_the_corpus() {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let write = |target: &str, name: &str, text: &str| {
        let folder = corpus.join(target);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(name), text).unwrap();
    };
    let log = Log::signed();
    let Some(Record::Checkpoint(checkpoint)) = log.last_checkpoint() else { panic!("it has one") };
    let note = &*checkpoint.note;
    write("audit_note", "checkpoint", note);
    write("audit_note", "first_key", &log.keys[0].note);
    write("audit_note", "second_key", &log.keys[1].note);
    write("audit_note", "public_key", &signing_key(1, 1).public().to_string());
    write("audit_note", "empty", "");
    write("audit_note", "cut", &note[..note.len() / 2]);
    write("audit_note", "zeros_in_front", &note.replacen("\n1", "\n01", 1));
    for (index, proof) in super::proof::tests::proofs().iter().enumerate() {
        write("audit_proof", &format!("record_{}", index + 1), &proof.to_text());
    }
    let text = super::proof::tests::proofs()[4].to_text();
    write("audit_proof", "empty", "");
    write("audit_proof", "cut", &text[..text.len() / 2]);
    write("audit_proof", "other_index", &text.replacen("index 4", "index 5", 1));
}

#[test]
fn every_single_bit_flip_of_a_signed_log_is_found() {
    let log = Log::signed();
    for segment in 0..log.segments.len() {
        let mut segments = log.segments.clone();
        for bit in 0..segments[segment].len() * 8 {
            segments[segment][bit / 8] ^= 1 << (bit % 8);
            assert!(verify(&segments).is_err(), "segment {segment}, bit {bit}");
            segments[segment][bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn a_log_that_was_written_anew_without_the_key_is_found() {
    let original = records(&Log::signed());
    let check = |name: &str, change: &dyn Fn(&mut Vec<Vec<Record>>), sequence: u64, why: Why| {
        let mut changed = original.clone();
        change(&mut changed);
        let damage = verify(&written(&changed).segments).expect_err(name);
        assert_eq!((damage.sequence, damage.why), (sequence, why), "{name}: {damage}");
    };
    check("edit", &|all| all[0][2] = config("another"), 8, Why::Root(5));
    check("delete", &|all| drop(all[2].remove(1)), 18, Why::CheckpointSize(18));
    check("insert", &|all| all[2].insert(1, refusal(9)), 20, Why::Root(18));
    check("reorder", &|all| all[0].swap(5, 6), 13, Why::Root(12));
    check("repeat", &|all| all[2].insert(1, refusal(3)), 20, Why::Root(18));
    let unsigned = |seed| Why::Checkpoint(Distrust::Note(seed));
    check("checkpoint of another key", &|all| all[1][4] = forged(12, 3), 13, unsigned(NoteError::Unsigned));
    check("checkpoint of the old key", &|all| all[1][4] = forged(12, 1), 13, unsigned(NoteError::Unsigned));
    check("the key's record removed", &|all| drop(all[0].remove(1)), 7, Why::Checkpoint(Distrust::NoKey));
    check(
        "an older checkpoint again",
        &|all| all[1].push(original[0][7].clone()),
        15,
        Why::CheckpointSize(5),
    );
    let other = KeyStatement::sign_first(&signing_key(1, 3), [1; SALT_BYTES]);
    let other = Record::Key(Signed { at: Default::default(), note: other.into() });
    check("a key that nobody signed", &|all| all[1][3] = other.clone(), 12, Why::Key(Distrust::KeyNumber));
}

fn config(text: &str) -> Record {
    Record::Config(Config { at: Default::default(), generation: 1, author: "a".into(), text: text.into() })
}

/// A checkpoint over so many records of nothing.
fn forged(size: u64, seed: u8) -> Record {
    let key = signing_key(1, seed);
    let origin = key.public().name().to_owned();
    let note = Checkpoint { origin, size, root: [1; 32] }.sign(&key);
    Record::Checkpoint(Signed { at: Default::default(), note: note.into() })
}

#[test]
fn a_state_that_contradicts_the_tree_is_named() {
    let mut tree = Frontier::default();
    tree.push([1; 32]);
    let keys = vec![StatedKey { note: first_statement(1).into(), since: 1 }];
    for state in [State { tree: Some(tree), ..State::default() }, State { keys, ..State::default() }] {
        let mut log = Log::new();
        log.batch(&[refusal(1), Record::State(state)]);
        log.seal(SealReason::Closed);
        let damage = verify(&log.segments).unwrap_err();
        assert_eq!((damage.sequence, damage.why), (2, Why::Tree));
    }
}

#[test]
fn a_log_without_its_signatures_is_only_good_for_who_knows_no_key() {
    let is_bare = |record: &Record| !matches!(record.kind(), Kind::Checkpoint | Kind::Key);
    let bare: Vec<Vec<Record>> = records(&Log::signed())
        .into_iter()
        .map(|segment| {
            let mut segment: Vec<_> = segment.into_iter().filter(is_bare).collect();
            if let Record::State(state) = &mut segment[0] {
                state.keys.clear();
            }
            segment
        })
        .collect();
    let log = written(&bare);
    assert_eq!(verify(&log.segments).unwrap().signatures.signed_through, 0);
    let replaced = Why::Key(Distrust::OtherKey);
    assert_eq!(verify_against(&log.segments, &key_of(1, 1)).unwrap_err().why, replaced);
    // The whole log under a key of one's own.
    assert_eq!(verify_against(&Log::signed().segments, &key_of(2, 2)).unwrap_err().why, replaced);
}

#[test]
fn a_checkpoint_kept_elsewhere_finds_forks_and_cut_tails() {
    let log = Log::signed();
    let original = records(&log);
    let notes = [original[0][7].clone(), original[1][4].clone(), original[2][4].clone()];
    assert!(verify_against(&log.segments, &kept(&notes)).is_ok());

    // Rolled back to the end of the second segment, then to within it.
    let mut shorter = original[..2].to_vec();
    let cut = |all: &[Vec<Record>], last: &Record| {
        verify_against(&written(all).segments, &kept(&[notes[0].clone(), last.clone()])).unwrap_err()
    };
    let damage = cut(&shorter, &notes[2]);
    assert_eq!((damage.segment, damage.sequence, damage.why), (2, 15, Why::Cut(18)));
    shorter[1].truncate(2);
    assert_eq!(cut(&shorter, &notes[1]).why, Why::Cut(12));
    assert_eq!(cut(&shorter, &notes[2]).why, Why::Cut(18));

    // The same beginning, another end, signed with the real key: two histories.
    let mut fork = Log::new();
    original[0].iter().for_each(|record| {
        let mut record = record.clone();
        if let Record::State(state) = &mut record {
            state.tree = Some(fork.tree.clone());
        }
        fork.batch(&[record]);
    });
    for number in 20..30 {
        fork.batch(&[refusal(number)]);
    }
    let checkpoint = fork.checkpoint(1);
    fork.batch(&[checkpoint]);
    fork.seal(SealReason::Closed);
    assert!(verify_against(&fork.segments, &kept(&notes[..1])).is_ok());
    let damage = verify_against(&fork.segments, &kept(&notes[1..2])).unwrap_err();
    // The fork never had key 2.
    assert_eq!((damage.sequence, damage.why), (12, Why::Kept(Distrust::Note(NoteError::Unsigned))));
    let other = verify_against(&fork.segments, &kept(&[forged(10, 1)])).unwrap_err();
    assert_eq!((other.sequence, other.why), (10, Why::Fork(10)));
    assert!(Verifier::with_trust(&Trust { checkpoints: vec!["x".into()], ..Trust::default() }).is_err());
}

#[test]
fn checkpoints_may_lag_and_memory_stays_bounded() {
    let lag = crate::limits::CHECKPOINT_LAG_RECORDS_MAX;
    let statement = first_statement(1);
    let key = Record::Key(Signed { at: Default::default(), note: statement.into() });
    for (records, result) in [(1, Ok(())), (lag - 10, Ok(())), (lag + 10, Err(Why::CheckpointSize(2)))] {
        let mut log = Log::new();
        log.batch(&[refusal(1), key.clone()]);
        let checkpoint = log.checkpoint(1);
        let filler = vec![config(""); 1_000];
        for start in (0..records).step_by(1_000) {
            log.batch(&filler[..(records - start).min(1_000)]);
        }
        log.batch(&[checkpoint]);
        log.seal(SealReason::Closed);
        assert_eq!(verify(&log.segments).map(drop).map_err(|damage| damage.why), result, "{records}");
    }
}

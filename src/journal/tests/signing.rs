use super::*;
use crate::{
    audit::{Checkpoint, Kind, PublicKey, SealReason, Trust, Why},
    journal::faults::PowerDisk,
    limits::CHECKPOINT_RECORDS,
};
use std::os::unix::fs::PermissionsExt;

/// Submits so many refusals and waits until they are durable.
fn refuse(producer: &mut Producer, acks: &Collected, tickets: std::ops::Range<u64>) {
    let last = tickets.end - 1;
    for ticket in tickets {
        let mut record = Some(submission(ticket, Commit::Durable, samples::refusal(3)));
        wait_until("there is room", || match producer.submit(record.take().unwrap()) {
            Ok(()) => true,
            Err(Full(again)) => {
                record = Some(again);
                false
            }
        });
    }
    acks.wait(last).unwrap();
}

/// The newest checkpoint, once it covers that many records.
fn head(journal: &Journal, records: u64) -> Arc<str> {
    let mut note = None;
    wait_until("a checkpoint covers them", || {
        note = journal.handle().checkpoint();
        note.as_ref().is_some_and(|note| Checkpoint::parse(note).unwrap().0.size >= records)
    });
    note.unwrap()
}

fn check(house: &House, trust: Trust) -> crate::audit::Report {
    verify_dir_against(&house.log(), &Keys::default(), trust, |_, _| {}).unwrap()
}

fn key(house: &House) -> PublicKey {
    signing_keys(&house.log(), &Keys::default()).unwrap().pop().expect("the log has a key").1
}

fn trusting(key: &PublicKey) -> Trust {
    Trust { key: Some(key.clone()), ..Trust::default() }
}

#[test]
fn records_are_signed_while_they_come_and_at_the_end() {
    let house = House::signed();
    let (journal, mut producer) = house.open();
    refuse(&mut producer, &house.acks, 1..CHECKPOINT_RECORDS + 200);
    let early = head(&journal, CHECKPOINT_RECORDS);
    assert_eq!(journal.health().checkpoint_failure, None);
    journal.close().unwrap();

    let report = check(&house, trusting(&key(&house)));
    assert!(report.sealed && report.signatures.checkpoints >= 2, "{report:?}");
    // One may have been under way when the journal was closed: it stands in front of the last one.
    let unsigned = house.records().split_off(report.signatures.signed_through as usize);
    assert!((1..=2).contains(&unsigned.len()), "{} records", unsigned.len());
    assert!(unsigned.iter().all(|(_, record)| record.kind() == Kind::Checkpoint));
    let kept = Trust { checkpoints: vec![early], ..Trust::default() };
    assert_eq!(check(&house, kept).signatures, report.signatures);
    let records = house.records();
    let Some((_, Record::Checkpoint(last))) = records.last() else { panic!("no checkpoint at the end") };
    assert_eq!(newest_checkpoint(&house.log()).unwrap().as_deref(), Some(&*last.note));
    assert_eq!(records[1].1.kind(), Kind::Key, "behind STATE");

    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&house.key()), mode(house.key().parent().unwrap())), (0o600, 0o700));
}

#[test]
fn one_record_is_signed_within_its_time() {
    let house = House::signed();
    let (journal, mut producer) = house.open();
    refuse(&mut producer, &house.acks, 1..2);
    let written = journal.health().written;
    head(&journal, written);
    wait_until("it is recorded", || journal.health().written == written + 1);
    drop(journal);
    let report = check(&house, Trust::default());
    assert_eq!((report.records, report.signatures.signed_through), (written + 1, written));
}

#[test]
fn a_restart_goes_on_with_the_tree_and_the_key() {
    let house = House::signed();
    let mut first = None;
    for round in 0..4 {
        let (journal, mut producer) = house.open();
        refuse(&mut producer, &house.acks, round * 10 + 1..round * 10 + 10);
        journal.close().unwrap();
        let key = key(&house);
        let report = check(&house, trusting(first.get_or_insert(key)));
        assert_eq!((report.segments, report.signatures.keys.len()), (round + 1, 1));
        assert_eq!(report.signatures.signed_through, report.records - 1);
    }
}

#[test]
fn a_log_without_a_tree_gets_one() {
    let house = House::signed();
    fs::create_dir_all(house.log()).unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/audit/v1");
    copy_log(&golden, &house.log());
    for _ in 0..2 {
        house.open().0.close().unwrap();
        let report = check(&house, trusting(&key(&house)));
        assert_eq!(report.signatures.signed_through, report.records - 1, "the old records, too");
    }
}

#[test]
fn the_key_must_be_that_of_the_log() {
    let house = House::signed();
    house.open().0.close().unwrap();
    let refused = |why: fn(&KeyFileError) -> bool| match house.open_on(Arc::new(OsDisk)) {
        Err(OpenError::Key(error)) => assert!(why(&error), "{error}"),
        other => panic!("{other:?}"),
    };
    let (key, away) = (house.key(), house.root.path().join("away"));
    fs::rename(&key, &away).unwrap();
    refused(|error| matches!(error, KeyFileError::Missing(_)));
    let other = House::signed();
    other.open().0.close().unwrap();
    fs::copy(other.key(), &key).unwrap();
    refused(|error| matches!(error, KeyFileError::Foreign(_)));
    fs::write(&key, "no key").unwrap();
    refused(|error| matches!(error, KeyFileError::NotAKey(_)));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    refused(|error| matches!(error, KeyFileError::Readable(_)));
    fs::rename(&away, &key).unwrap();
    house.open().0.close().unwrap();
    check(&house, Trust::default());
}

#[test]
fn a_key_of_openssl_signs_as_well() {
    let house = House::signed();
    fs::create_dir_all(house.key().parent().unwrap()).unwrap();
    let made = std::process::Command::new("openssl")
        .args(["genpkey", "-algorithm", "ed25519", "-out"])
        .arg(house.key())
        .status();
    if !made.is_ok_and(|status| status.success()) {
        return eprintln!("skipped: no openssl that makes Ed25519 keys");
    }
    fs::set_permissions(house.key(), fs::Permissions::from_mode(0o600)).unwrap();
    house.open().0.close().unwrap();
    check(&house, trusting(&key(&house)));
}

#[test]
fn the_old_key_signs_the_new_one_and_verifiers_follow() {
    let house = House::signed();
    let (journal, mut producer) = house.open();
    refuse(&mut producer, &house.acks, 1..5);
    let mut all = vec![key(&house)];
    for round in 1..4u64 {
        all.push(journal.handle().rotate_key().unwrap());
        refuse(&mut producer, &house.acks, round * 10..round * 10 + 5);
        head(&journal, journal.health().written - 1);
    }
    journal.close().unwrap();
    for key in &all {
        let report = check(&house, trusting(key));
        assert_eq!(report.signatures.keys, all);
        assert_eq!(report.signatures.signed_through, report.records - 1);
    }
    let (journal, _) = house.open();
    journal.close().unwrap();
    assert_eq!(check(&house, Trust::default()).signatures.keys, all, "the next start has the last key");
    assert_eq!(prove(&house.log(), &Keys::default(), 3).unwrap().keys.len(), 4);
}

#[test]
fn a_rotation_that_a_crash_cut_short_ends_at_the_next_start() {
    let house = House::signed();
    house.open().0.close().unwrap();
    let old = fs::read(house.key()).unwrap();
    let (journal, _) = house.open();
    let second = journal.handle().rotate_key().unwrap();
    journal.close().unwrap();
    // The record was written, the file not yet renamed.
    let next = house.key().with_extension("key.next");
    fs::rename(house.key(), &next).unwrap();
    let write_old = || {
        fs::write(house.key(), &old).unwrap();
        fs::set_permissions(house.key(), fs::Permissions::from_mode(0o600)).unwrap();
    };
    write_old();
    house.open().0.close().unwrap();
    assert!(!next.exists());
    assert_eq!(key(&house), second);
    // The key was made, its record not yet written.
    fs::copy(house.key(), &next).unwrap();
    fs::write(&next, &old).unwrap();
    house.open().0.close().unwrap();
    assert!(!next.exists(), "it was never used");
    assert_eq!(check(&house, Trust::default()).signatures.keys.len(), 2);
}

#[test]
fn what_a_power_cut_leaves_goes_on_from_every_checkpoint() {
    let house = House::signed();
    let disk = PowerDisk::default();
    let (journal, mut producer) = house.open_on(Arc::new(disk.clone())).unwrap();
    refuse(&mut producer, &house.acks, 1..CHECKPOINT_RECORDS + 50);
    let note = head(&journal, CHECKPOINT_RECORDS);
    for number in 0..50 {
        submit(&mut producer, 0, Commit::Written, samples::refusal(number));
    }
    let after = House::signed();
    // Nothing survives that was not synced.
    disk.cut(&house.log(), &after.log(), || false);
    drop(journal);
    fs::create_dir_all(after.key().parent().unwrap()).unwrap();
    fs::copy(house.key(), after.key()).unwrap();
    after.open().0.close().unwrap();
    check(&after, Trust { checkpoints: vec![note], ..Trust::default() });
}

#[test]
fn proofs_come_out_of_a_log_that_is_in_use() {
    let house = House::signed();
    let (journal, mut producer) = house.open();
    let content = samples::content(1, b"what was said", true);
    submit(&mut producer, 0, Commit::Written, samples::intent(1));
    submit(&mut producer, 0, Commit::Written, Record::Content(Box::new(content)));
    submit(&mut producer, 0, Commit::Written, samples::outcome(1));
    refuse(&mut producer, &house.acks, 1..1_500);
    wait_until("the file is there", || newest_checkpoint(&house.log()).unwrap().is_some());
    let key = key(&house);
    let size = Checkpoint::parse(&newest_checkpoint(&house.log()).unwrap().unwrap()).unwrap().0.size;
    for sequence in [1, 2, 4, size / 2, size] {
        let proof = prove(&house.log(), &Keys::default(), sequence).unwrap();
        let proven = crate::audit::Proof::parse(&proof.to_text()).unwrap().check(Some(&key)).unwrap();
        assert_eq!(proven.sequence, sequence);
    }
    let late = prove(&house.log(), &Keys::default(), journal.health().written + 1_000).unwrap_err();
    assert!(matches!(late, ProveError::NotCovered { .. }), "{late}");
    for (from, to) in [(1, Some(2)), (3, Some(900)), (1_000, None), (5, Some(5))] {
        let found = consistency(&house.log(), &Keys::default(), None, from, to).unwrap();
        assert!(found.to == to.unwrap_or(found.to) && (found.path.is_empty() == (from == found.to)));
    }
    assert!(matches!(
        consistency(&house.log(), &Keys::default(), None, 0, None),
        Err(ProveError::Sizes { .. })
    ));
    assert!(matches!(
        consistency(&house.log(), &Keys::default(), None, 9, Some(8)),
        Err(ProveError::Sizes { .. })
    ));
    journal.close().unwrap();
}

#[test]
fn the_consistency_of_heads_follows_from_the_records() {
    let house = House::signed();
    let (journal, mut producer) = house.open();
    refuse(&mut producer, &house.acks, 1..1_300);
    let old = head(&journal, CHECKPOINT_RECORDS);
    refuse(&mut producer, &house.acks, 2_000..2_900);
    journal.close().unwrap();
    let old = Checkpoint::parse(&old).unwrap().0;
    let found = consistency(&house.log(), &Keys::default(), None, old.size, None).unwrap();
    let new = Checkpoint::parse(&found.checkpoint).unwrap().0;
    assert_eq!(new.size, found.to);
    assert!(crate::audit::is_consistent(old.size, &old.root, new.size, &new.root, &found.path));
}

#[test]
fn a_checkpoint_that_cannot_be_written_is_told_and_harms_nothing() {
    let house = House::signed();
    fs::create_dir_all(house.log().join("checkpoint")).unwrap();
    let (journal, mut producer) = house.open();
    refuse(&mut producer, &house.acks, 1..CHECKPOINT_RECORDS + 10);
    wait_until("it is told", || journal.health().checkpoint_failure.is_some());
    fs::remove_dir(house.log().join("checkpoint")).unwrap();
    journal.close().unwrap();
    assert!(check(&house, Trust::default()).signatures.checkpoints > 0);
    let last = list(&house.log()).unwrap().0.pop().unwrap();
    let end = each_frame(&last, |_| {}).unwrap();
    assert!(matches!(end, End::Sealed(seal) if seal.reason == SealReason::Closed));
}

#[test]
fn a_log_that_was_rolled_back_is_not_continued() {
    let house = House::signed();
    let (journal, mut producer) = house.open();
    refuse(&mut producer, &house.acks, 1..10);
    journal.close().unwrap();
    let early = house.root.path().join("early");
    copy_log(&house.log(), &early);
    let (journal, mut producer) = house.open();
    refuse(&mut producer, &house.acks, 10..20);
    journal.close().unwrap();
    let records = house.verify().records;
    for file in list(&house.log()).unwrap().0 {
        fs::remove_file(file.path).unwrap();
    }
    copy_log(&early, &house.log());
    let error = house.open_on(Arc::new(OsDisk)).unwrap_err();
    let OpenError::Recover(RecoverError::Damage(damage)) = error else { panic!("{error}") };
    assert_eq!(damage.why, Why::Cut(records - 1), "{damage}");
    // Nobody stops a start with a checkpoint that he cannot sign.
    fs::write(house.log().join("checkpoint"), "ringward-audit/x\n999\nAAAA\n\n— x AAAAAAAA\n").unwrap();
    house.open().0.close().unwrap();
}

#[test]
fn one_key_begins_two_logs_of_two_names() {
    let house = House::signed();
    house.open().0.close().unwrap();
    let first = key(&house);
    fs::rename(house.log(), house.root.path().join("away")).unwrap();
    house.open().0.close().unwrap();
    let second = key(&house);
    assert_eq!(first.bytes(), second.bytes());
    assert_ne!(first.name(), second.name(), "nobody can pass one off as the other");
    let verified = verify_dir_against(&house.log(), &Keys::default(), trusting(&first), |_, _| {});
    assert!(matches!(verified, Err(VerifyError::Damage(Damage { why: Why::Key(_), .. }))));
}

/// A process that was killed may have shown a newer checkpoint than it wrote down: after a restart the file's
/// looks like a rollback to whoever saw that.
#[test]
fn a_checkpoint_of_the_process_before_is_not_offered() {
    let house = House::signed();
    let (journal, mut producer) = house.open();
    refuse(&mut producer, &house.acks, 1..20);
    head(&journal, 19);
    journal.close().unwrap();
    let before = newest_checkpoint(&house.log()).unwrap().unwrap();
    let covered = Checkpoint::parse(&before).unwrap().0.size;

    let (journal, mut producer) = house.open();
    assert_eq!(journal.handle().checkpoint(), None);
    assert_eq!(journal.health().signed_through, covered);
    refuse(&mut producer, &house.acks, 20..21);
    let after = head(&journal, 0);
    assert!(Checkpoint::parse(&after).unwrap().0.size > covered);
    journal.close().unwrap();
}

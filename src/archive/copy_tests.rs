use super::*;
use crate::audit::{Checkpoint, KeyChain, Record, SealReason, StatedKey, samples};
use std::fs;

/// The sealed segments of a log with every kind of record.
fn segments() -> Vec<Vec<u8>> {
    samples::Log::signed().segments
}

fn part(number: u64) -> CopyPart {
    CopyPart { number, name: format!("{number:012}.segment"), tag: "t".into() }
}

/// Takes a segment as a download does.
fn take(copy: &mut FollowedCopy, number: u64, bytes: &[u8]) -> Result<CopyTaken, CopyRefused> {
    let mut file = copy.begin(&part(number), false).unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
    copy.take(&part(number))
}

fn open(dir: &Path) -> Result<FollowedCopy, CopyError> {
    FollowedCopy::open(dir, Keys::default(), None)
}

fn folder() -> (tempfile::TempDir, CopyHeads) {
    let folder = tempfile::tempdir().unwrap();
    let heads = CopyHeads::open(&folder.path().join("copy"), "https://source").unwrap();
    heads.keep_keys(&KeyChain::default()).unwrap();
    (folder, heads)
}

#[test]
fn segments_are_taken_one_after_the_other_also_by_the_next_process() {
    let (folder, _) = folder();
    let dir = folder.path().join("copy");
    let segments = segments();
    assert!(segments.len() >= 3);
    let mut records = 0;
    for (index, bytes) in segments.iter().enumerate() {
        let mut copy = open(&dir).unwrap();
        let number = index as u64 + 1;
        assert_eq!(copy.last(), index as u64);
        let Ok(CopyTaken::Verified(found)) = take(&mut copy, number, bytes) else { panic!("{number}") };
        assert!(found.records > records);
        records = found.records;
        assert_eq!(copy.proven().map(|proven| (proven.records, proven.root)), Some((records, found.root)));
    }
    let copy = open(&dir).unwrap();
    let log = samples::Log::signed();
    let proven = copy.proven().unwrap();
    assert_eq!((proven.records, proven.root), (log.tree.size(), log.tree.root()));
    assert!(matches!(open(&dir), Err(CopyError::Locked(_))));
}

#[test]
fn a_copy_begins_where_the_log_does_after_a_removal() {
    let (folder, _) = folder();
    let dir = folder.path().join("copy");
    let segments = segments();
    let mut copy = open(&dir).unwrap();
    for number in 2..=segments.len() {
        assert!(matches!(take(&mut copy, number as u64, &segments[number - 1]), Ok(CopyTaken::Verified(_))));
    }
    assert_eq!(copy.proven().unwrap().root, samples::Log::signed().tree.root());
}

/// Also those that no reader of the log would look at: a copy is kept byte for byte.
#[test]
fn a_flipped_bit_in_a_segment_is_found_and_gets_no_name() {
    let (folder, _) = folder();
    let dir = folder.path().join("copy");
    let segments = segments();
    let mut copy = open(&dir).unwrap();
    take(&mut copy, 1, &segments[0]).unwrap();
    let second = &segments[1];
    for at in (0..second.len()).step_by(61) {
        let mut changed = second.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(matches!(take(&mut copy, 2, &changed), Err(CopyRefused::Bad { number: 2, .. })), "byte {at}");
    }
    assert!(matches!(take(&mut copy, 2, &second[..second.len() - 1]), Err(CopyRefused::Bad { .. })));
    assert!(matches!(take(&mut copy, 2, &segments[2]), Err(CopyRefused::Bad { .. })), "a later one");
    assert_eq!((copy.last(), dir.join("000000000002.segment").exists()), (1, false));
    assert!(take(&mut copy, 2, second).is_ok());
}

#[test]
fn a_download_goes_on_where_it_was_broken_off() {
    let (folder, _) = folder();
    let dir = folder.path().join("copy");
    let bytes = segments().swap_remove(0);
    let copy = open(&dir).unwrap();
    assert_eq!(copy.resumable().unwrap(), None);
    std::io::Write::write_all(&mut copy.begin(&part(1), false).unwrap(), &bytes[..100]).unwrap();
    drop(copy);
    let mut copy = open(&dir).unwrap();
    assert_eq!(copy.resumable().unwrap(), Some((part(1), 100)));
    std::io::Write::write_all(&mut copy.begin(&part(1), true).unwrap(), &bytes[100..]).unwrap();
    assert!(matches!(copy.take(&part(1)), Ok(CopyTaken::Verified(_))));
    assert_eq!(fs::read(dir.join("000000000001.segment")).unwrap(), bytes);
    assert_eq!(copy.resumable().unwrap(), None);
}

#[test]
fn a_name_of_the_source_leads_nowhere_else() {
    let (folder, _) = folder();
    let copy = open(&folder.path().join("copy")).unwrap();
    for name in ["../000000000001.segment", "000000000002.segment", "head", "", "000000000001.segment/x"] {
        let part = CopyPart { name: name.into(), ..part(1) };
        assert!(matches!(copy.begin(&part, false), Err(CopyError::State { .. })), "{name}");
    }
}

#[test]
fn heads_keys_and_evidence_are_kept() {
    let (folder, heads) = folder();
    let dir = folder.path().join("copy");
    assert_eq!(heads.head().unwrap(), None);
    heads.keep("a head\n").unwrap();
    assert_eq!(heads.head().unwrap().as_deref(), Some("a head\n"));
    let stated = StatedKey { note: samples::first_statement(1).into(), since: 2 };
    let chain = KeyChain::of(&[stated]).unwrap();
    heads.keep_keys(&chain).unwrap();
    assert_eq!(CopyHeads::open(&dir, "https://source").unwrap().keys().unwrap(), chain);

    let copy = open(&dir).unwrap();
    drop(copy.begin(&part(7), false).unwrap());
    let texts = [("own-head", "a"), ("seen", "b")];
    let kept = heads.accuse("fork-1", &texts, Some(&copy.part_path(&part(7)))).unwrap();
    assert_eq!(kept, dir.join("evidence-fork-1"));
    assert_eq!(fs::read_to_string(kept.join("seen")).unwrap(), "b");
    assert!(kept.join("000000000007.segment").exists());
    assert_eq!(heads.accuse("fork-1", &texts, None).unwrap(), kept, "found again after a restart");
    let (listed, strangers) = crate::segments::list(&dir).unwrap();
    assert!(listed.is_empty() && strangers.is_empty(), "{strangers:?}");
}

#[test]
fn the_log_of_a_gateway_is_not_taken_for_a_copy() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("000000000001.segment"), &segments()[0]).unwrap();
    assert!(matches!(CopyHeads::open(folder.path(), "https://source"), Err(CopyError::NotACopy(_))));
}

#[test]
fn a_copy_that_was_changed_says_so() {
    let (folder, _) = folder();
    let dir = folder.path().join("copy");
    let segments = segments();
    let mut copy = open(&dir).unwrap();
    take(&mut copy, 1, &segments[0]).unwrap();
    drop(copy);
    let file = dir.join("000000000001.segment");
    let mut bytes = fs::read(&file).unwrap();
    bytes[300] ^= 1;
    fs::write(&file, bytes).unwrap();
    assert!(matches!(open(&dir), Err(CopyError::Damaged { .. })));
}

/// What cannot be proven to go on from the kept head is found while the segments are read.
#[test]
fn segments_are_held_against_a_head() {
    let segments = segments();
    for is_other in [false, true] {
        let (folder, _) = folder();
        let mut copy = open(&folder.path().join("copy")).unwrap();
        take(&mut copy, 1, &segments[0]).unwrap();
        let log = samples::Log::signed();
        let Some(Record::Checkpoint(last)) = log.last_checkpoint() else { panic!("a checkpoint") };
        let (mut head, _) =
            Checkpoint::parse(&last.note).map(|(head, note)| (head, note.signatures())).unwrap();
        if is_other {
            head.root = [7; 32];
        }
        let note = head.sign(&samples::signing_key(1, 2)).into();
        assert_eq!(copy.hold(&note), Ok(true));
        let mut rest =
            (2..=segments.len()).map(|number| take(&mut copy, number as u64, &segments[number - 1]));
        let is_found = rest.any(|taken| taken.is_err());
        assert_eq!(is_found, is_other);
    }
}

/// Two segments: a body, and the record that it was erased.
fn erased_log() -> samples::Log {
    let mut log = samples::Log::new();
    let body = samples::committed(samples::content(1, BODY, true));
    let other = samples::committed(samples::content(2, b"a body to keep", true));
    log.batch(&[samples::intent(1), samples::intent(2), body, other]);
    log.batch(&[samples::outcome(1), samples::outcome(2)]);
    log.seal(SealReason::Rotated);
    log.batch(&[samples::erased(&[1])]);
    log.seal(SealReason::Closed);
    log
}

const BODY: &[u8] = b"a body to forget";

fn holds(file: &Path, text: &[u8]) -> bool {
    fs::read(file).unwrap().windows(text.len()).any(|part| part == text)
}

/// Whoever erases at the source would otherwise erase evidence here.
#[test]
fn erased_bodies_stay_in_a_copy_until_it_is_pruned() {
    let (folder, _) = folder();
    let dir = folder.path().join("copy");
    let log = erased_log();
    let mut copy = open(&dir).unwrap();
    assert!(
        matches!(take(&mut copy, 1, &log.segments[0]), Ok(CopyTaken::Verified(found)) if found.erasures == 0)
    );
    assert!(
        matches!(take(&mut copy, 2, &log.segments[1]), Ok(CopyTaken::Verified(found)) if found.erasures == 1)
    );
    let first = dir.join("000000000001.segment");
    assert!(holds(&first, BODY) && copy.unexplained().is_none());

    let pruned = copy.prune(2).unwrap();
    let bytes = 32 + BODY.len() as u64;
    assert_eq!(pruned, Pruned { segments: 1, contents: 1, bytes, encrypted: 0 });
    assert!(!holds(&first, BODY) && holds(&first, b"a body to keep"));
    assert_eq!(copy.prune(2).unwrap(), Pruned::default(), "there is nothing left");
    // It still verifies, record by record.
    let erased = [fs::read(&first).unwrap(), log.segments[1].clone()];
    assert_eq!(samples::verify(&erased).unwrap().erased, 1);
}

#[test]
fn zeros_in_a_taken_segment_are_explained_by_a_later_one_or_not_at_all() {
    let (folder, _) = folder();
    let log = erased_log();
    let at = log.segments[0].windows(BODY.len()).position(|part| part == BODY).unwrap();
    let mut zeroed = log.segments[0].clone();
    zeroed[at - 32..at + BODY.len()].fill(0);
    let mut copy = open(&folder.path().join("copy")).unwrap();
    take(&mut copy, 1, &zeroed).unwrap();
    assert_eq!(copy.unexplained().map(|damage| damage.sequence), Some(3));
    take(&mut copy, 2, &log.segments[1]).unwrap();
    assert_eq!(copy.unexplained(), None);
}

/// A process that was killed before the head behind its segments was kept goes on from the head before them.
#[test]
fn what_is_here_is_held_against_the_kept_head_when_it_is_opened() {
    let segments = segments();
    let log = samples::Log::signed();
    let Some(Record::Checkpoint(last)) = log.last_checkpoint() else { panic!("a checkpoint") };
    let (head, _) = Checkpoint::parse(&last.note).unwrap();
    for (root, is_good) in [(head.root, true), ([7; 32], false)] {
        let (folder, _) = folder();
        let dir = folder.path().join("copy");
        let mut copy = open(&dir).unwrap();
        for number in 1..=segments.len() {
            take(&mut copy, number as u64, &segments[number - 1]).unwrap();
        }
        drop(copy);
        let note = Checkpoint { root, ..head.clone() }.sign(&samples::signing_key(1, 2)).into();
        let opened = FollowedCopy::open(&dir, Keys::default(), Some(&note));
        assert_eq!(opened.is_ok(), is_good, "{opened:?}");
    }
}

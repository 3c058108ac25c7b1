//! A whole life of a signed log, with rotation, checkpoints, packing, retention, erasure and an exchange of
//! keys, in which one operation fails, or all from one on.

use super::{
    super::faults::{FaultDisk, Faulty},
    erasing::{FORGET, KEEP, erasure, holds, intent},
    *,
};
use crate::buffer::Chunk;
use std::io::ErrorKind;

/// Exchanges before the key is exchanged, before the erasure, and in all.
const EXCHANGES: [u8; 3] = [5, 8, 12];
/// Every so many operations one is made to fail: beside each other they fail alike.
const STRIDE: usize = 3;

/// What a life could do.
#[derive(Debug, Default)]
struct Done {
    key: Option<crate::audit::PublicKey>,
    erased: bool,
    /// Why it was not.
    not_erased: Option<String>,
}

/// One exchange with a body that takes most of a segment; what is turned away is left out.
fn exchange(producer: &mut Producer, acks: &Collected, number: u8) {
    let ticket = u64::from(number) * 10;
    let (subject, words) =
        if number.is_multiple_of(2) && number <= EXCHANGES[1] { ("ada", FORGET) } else { ("bob", KEEP) };
    if producer.submit(submission(ticket, Commit::Durable, intent(number, subject))).is_err() {
        return;
    }
    if acks.wait(ticket).is_ok() {
        let mut content = samples::content(number, b"", true);
        content.bytes = Chunk::from([words, &noise(number)].concat()).into();
        // Turned away where the disk is dead: a shard would stop reading.
        let _ = producer.submit(submission(0, Commit::Written, Record::Content(Box::new(content))));
    }
    submit(producer, ticket + 1, Commit::Durable, samples::outcome(number));
    let _ = acks.wait(ticket + 1);
}

/// Bytes that do not become fewer when they are packed.
fn noise(seed: u8) -> Vec<u8> {
    let mut state = u64::from(seed) + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..40_000).map(|_| next()).collect()
}

fn live(journal: &Journal, producer: &mut Producer, acks: &Collected) -> Done {
    let mut done = Done::default();
    for number in 1..=EXCHANGES[2] {
        exchange(producer, acks, number);
        if number == EXCHANGES[0] {
            done.key = journal.handle().rotate_key().ok();
        }
        if number == EXCHANGES[1] {
            let erased = journal.handle().erase(&erasure("ada"));
            done.erased = erased.is_ok();
            done.not_erased = erased.err().map(|error| error.to_string());
        }
    }
    wait_until("the oldest segments are gone", || {
        let health = journal.health();
        health.removed > 0 || health.failure.is_some()
    });
    done
}

/// What was acknowledged is there, or retention says that it removed it; what was done is done.
fn check(house: &House, done: &Done, what: &str) {
    house.open().0.close().unwrap_or_else(|error| panic!("{what}: {error}"));
    let report = house.verify();
    assert_eq!(report.exchanges_open, 0, "{what}");
    let kept: BTreeMap<u64, Record> = house.records().into_iter().collect();
    for (ticket, sequence) in house.acks.committed() {
        let id = Some(samples::id((ticket / 10) as u8));
        let is_removed = sequence <= report.removed_through;
        let is_there = kept.get(&sequence).is_some_and(|record| record.exchange() == id);
        assert!(is_there || is_removed, "{what}: ticket {ticket}, record {sequence}");
    }
    if let Some(key) = &done.key {
        assert!(report.signatures.keys.contains(key), "{what}: {:?}", report.signatures.keys);
    }
}

fn fail_every_operation(kind: ErrorKind, lasting: bool) {
    for number in (1..).step_by(STRIDE) {
        let what = format!("operation {number}, {kind}, lasting: {lasting}");
        let mut house = House::signed();
        house.packing = Packing { compress: true, recipients: Vec::new() };
        let disk = if lasting { FaultDisk::from(number, kind) } else { FaultDisk::once(number, kind) };
        let max = Some(Bound::Bytes(250_000));
        let keep = Keep { max, reserve_bytes: 0, interval: Duration::from_millis(1), ..Keep::default() };
        let options = Options { keep, ..house.options() };
        let faulty = Arc::new(Faulty(Arc::clone(&disk)));
        let mut done = Done::default();
        match Journal::open_on(faulty, options, 1, Box::new(house.acks.clone())) {
            Err(OpenError::Io { .. } | OpenError::Recover(RecoverError::Io { .. })) => {}
            Err(error) => panic!("{what}: {error}"),
            Ok((journal, mut producers)) => {
                done = live(&journal, &mut producers[0], &house.acks);
                let _ = journal.close();
            }
        }
        let untouched = disk.count() < number;
        assert!(!done.erased || !holds(&house, FORGET), "{what}");
        check(&house, &done, &what);
        if untouched {
            assert!(done.key.is_some() && done.erased, "{done:?}");
            assert!(number > 100 && house.verify().removed_through > 0, "{number} operations");
            return;
        }
    }
}

#[test]
fn one_error_anywhere_in_a_life_loses_nothing_acknowledged() {
    fail_every_operation(ErrorKind::Other, false);
}

#[test]
fn a_disk_that_dies_anywhere_in_a_life_loses_nothing_acknowledged() {
    fail_every_operation(ErrorKind::Other, true);
}

#[test]
fn a_full_disk_anywhere_in_a_life_loses_nothing_acknowledged() {
    fail_every_operation(ErrorKind::StorageFull, false);
}

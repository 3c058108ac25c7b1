use super::{
    super::faults::{FaultDisk, Faulty},
    *,
};
use crate::{
    audit::Commit::{Durable, Written},
    limits::JOURNAL_QUEUE_RECORDS,
};
use std::{collections::BTreeSet, io::ErrorKind};

/// Exchanges of the scenario.
const EXCHANGES: u8 = 40;

/// Runs exchanges one after the other, as a shard would; what is turned away is left out.
fn run_exchanges(producer: &mut Producer, acks: &Collected) {
    for number in 1..=EXCHANGES {
        let ticket = u64::from(number) * 10;
        let commit = if number.is_multiple_of(2) { Durable } else { Written };
        if producer.submit(submission(ticket, commit, samples::intent(number))).is_err() {
            continue;
        }
        let admitted = acks.wait(ticket).is_ok();
        if admitted {
            // One is long enough to be written around the page cache.
            let body = vec![number; if number == EXCHANGES / 2 { 300_000 } else { 3_000 }];
            let mut content = samples::content(number, b"", true);
            content.bytes = crate::buffer::Chunk::from(body).into();
            let content = Record::Content(Box::new(content));
            // Turned away where the disk is dead: a shard would stop reading.
            let _ = producer.submit(submission(0, Written, content));
        }
        submit(producer, ticket + 1, commit, samples::outcome(number));
        let _ = acks.wait(ticket + 1);
    }
}

/// Every acknowledged record must be in the log under its number, and the log must verify, after one more
/// start.
fn check_nothing_acknowledged_is_lost(house: &House, what: &str) {
    house.open().0.close().unwrap();
    let report = house.verify();
    assert_eq!(report.exchanges_open, 0, "{what}");
    let kept: BTreeMap<u64, String> =
        house.records().iter().map(|(s, r)| (*s, format!("{:?} {:?}", r.kind(), r.exchange()))).collect();
    for (ticket, sequence) in house.acks.committed() {
        let number = (ticket / 10) as u8;
        let kind = if ticket.is_multiple_of(10) { "Intent" } else { "Outcome" };
        let expected = format!("{kind} {:?}", Some(samples::id(number)));
        assert_eq!(kept.get(&sequence), Some(&expected), "{what}: ticket {ticket}, record {sequence}");
    }
}

/// Fails each operation of the scenario in turn.
fn fail_every_operation(kind: ErrorKind, lasting: bool, make: fn() -> House) {
    let mut number = 0;
    loop {
        number += 1;
        let what = format!("operation {number}, {kind}, lasting: {lasting}");
        let disk = if lasting { FaultDisk::from(number, kind) } else { FaultDisk::once(number, kind) };
        let house = make();
        match house.open_on(Arc::new(Faulty(Arc::clone(&disk)))) {
            Err(OpenError::Io { .. } | OpenError::Recover(RecoverError::Io { .. })) => {}
            Err(error) => panic!("{what}: {error}"),
            Ok((journal, mut producer)) => {
                run_exchanges(&mut producer, &house.acks);
                let _ = journal.close();
            }
        }
        let untouched = disk.count() < number;
        check_nothing_acknowledged_is_lost(&house, &what);
        if untouched {
            assert_eq!(house.acks.committed().len(), usize::from(EXCHANGES) * 2);
            assert!(number > 30, "the scenario rotates and seals: {number}");
            return;
        }
    }
}

#[test]
fn one_input_output_error_anywhere_loses_nothing_acknowledged() {
    fail_every_operation(ErrorKind::Other, false, House::new);
}

#[test]
fn a_disk_that_dies_anywhere_loses_nothing_acknowledged() {
    fail_every_operation(ErrorKind::Other, true, House::new);
}

#[test]
fn one_full_disk_anywhere_loses_nothing_acknowledged() {
    fail_every_operation(ErrorKind::StorageFull, false, House::new);
}

#[test]
fn one_failure_anywhere_leaves_a_signed_log_whole() {
    fail_every_operation(ErrorKind::StorageFull, false, House::signed);
    fail_every_operation(ErrorKind::Other, false, House::signed);
}

#[test]
fn a_dead_disk_refuses_everything_at_once() {
    let house = House::new();
    let disk = FaultDisk::from(u64::MAX, ErrorKind::Other);
    let counted = disk.count();
    assert_eq!(counted, 0);
    // Found by a dry run: everything after the start fails.
    let (journal, _) = house.open_on(Arc::new(Faulty(Arc::clone(&disk)))).unwrap();
    let start = disk.count();
    drop(journal);

    let house = House::new();
    let disk = FaultDisk::from(start + 1, ErrorKind::Other);
    let (journal, mut producer) = house.open_on(Arc::new(Faulty(disk))).unwrap();
    submit(&mut producer, 1, Durable, samples::intent(1));
    assert_eq!(house.acks.wait(1), Err(Failure::Disk));
    wait_until("the failure is known", || producer.is_failed());
    for record in [samples::intent(2), samples::refusal(3)] {
        producer.submit(submission(9, Durable, record)).unwrap_err();
    }
    submit(&mut producer, 2, Durable, samples::outcome(1));
    assert_eq!(house.acks.wait(2), Err(Failure::Disk));
    assert_eq!(journal.append_blocking(Durable, samples::refusal(4)), Err(Failure::Disk));
    assert!(matches!(journal.health().failure, Some((Failure::Disk, _))));
    assert!(journal.health().turned_away >= 2);
    assert_eq!(journal.close(), Err(Failure::Disk));
}

#[test]
fn a_disk_that_stands_still_fills_the_ring_and_then_takes_everything() {
    let house = House::new();
    let disk = FaultDisk::from(u64::MAX, ErrorKind::Other);
    let (journal, mut producer) = house.open_on(Arc::new(Faulty(Arc::clone(&disk)))).unwrap();
    disk.hold();
    let commit = |ticket: u64| if ticket.is_multiple_of(2) { Durable } else { Written };
    let mut taken = 0;
    while producer.submit(submission(taken + 1, commit(taken), samples::refusal(1))).is_ok() {
        taken += 1;
        // Where the real disk has no room, records are refused for as long as they come.
        if taken >= 4 * JOURNAL_QUEUE_RECORDS as u64 {
            break;
        }
    }
    let (committed, health) = (house.acks.committed().len(), journal.health());
    // Before anything is asserted: a journal does not end while its disk stands still.
    disk.release();
    // What the commit thread has in its hands counts as well, so that it may be a few less than the ring has.
    let full = JOURNAL_QUEUE_RECORDS as u64 / 2..4 * JOURNAL_QUEUE_RECORDS as u64;
    assert!(full.contains(&taken) && !producer.is_failed(), "{taken} {:?}", health.failure);
    assert_eq!((committed, health.failure), (0, None));
    assert!(health.turned_away > 0);
    for ticket in 1..=taken {
        house.acks.wait(ticket).unwrap();
    }
    submit(&mut producer, taken + 1, Durable, samples::refusal(1));
    house.acks.wait(taken + 1).unwrap();
    journal.close().unwrap();
    assert_eq!(house.verify().refusals, taken + 1);
}

#[test]
fn after_a_full_disk_the_journal_goes_on_by_itself() {
    let house = House::new();
    let disk = FaultDisk::from(60, ErrorKind::StorageFull);
    let (journal, mut producer) = house.open_on(Arc::new(Faulty(Arc::clone(&disk)))).unwrap();
    let mut number = 0;
    let mut admitted = BTreeSet::new();
    while !producer.is_failed() {
        number += 1;
        let ticket = u64::from(number) * 10;
        if producer.submit(submission(ticket, Written, samples::intent(number))).is_ok() {
            if house.acks.wait(ticket).is_ok() {
                admitted.insert(number);
            } else {
                submit(&mut producer, ticket + 1, Written, samples::outcome(number));
            }
        }
        assert!(number < 200, "the disk never got full");
    }
    assert!(admitted.len() > 10);
    assert!(matches!(journal.health().failure, Some((Failure::NoSpace, _))));
    producer.submit(submission(5, Written, samples::intent(201))).unwrap_err();
    // What belongs to admitted exchanges is still taken.
    for number in &admitted {
        submit(&mut producer, 0, Written, samples::outcome(*number));
    }
    disk.heal();
    wait_until("there is room again", || !producer.is_failed());
    submit(&mut producer, 7, Durable, samples::intent(202));
    house.acks.wait(7).unwrap();
    submit(&mut producer, 8, Durable, samples::outcome(202));
    house.acks.wait(8).unwrap();
    assert_eq!(journal.health().failure, None);
    journal.close().unwrap();

    let report = house.verify();
    assert_eq!(report.exchanges_open, 0);
    let all: BTreeSet<_> = house.records().iter().filter_map(|(_, r)| r.exchange()).collect();
    assert!(admitted.iter().all(|number| all.contains(&samples::id(*number))));
    let causes: Vec<_> = house.records().into_iter().filter(|(_, r)| r.kind().name() == "RECOVERY").collect();
    assert!(causes.is_empty(), "no restart was needed");
}

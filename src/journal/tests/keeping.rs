use super::{
    super::faults::{FaultDisk, Faulty},
    *,
};
use crate::{
    audit::{Kind, Removal, Report, Why},
    segments,
};
use std::io::ErrorKind;

const PAUSE: Duration = Duration::from_millis(2);

impl House {
    fn open_keeping(&self, disk: Arc<dyn Disk>, keep: Keep) -> (Journal, Producer) {
        let options = Options { keep, ..self.options() };
        let (journal, mut producers) =
            Journal::open_on(disk, options, 1, Box::new(self.acks.clone())).unwrap();
        (journal, producers.remove(0))
    }

    fn numbers(&self) -> Vec<u64> {
        list(&self.log()).unwrap().0.iter().map(|file| file.number).collect()
    }

    fn bytes(&self) -> u64 {
        list(&self.log()).unwrap().0.iter().map(|file| file.bytes).sum()
    }
}

fn old() -> Keep {
    Keep { age: Some(Duration::from_nanos(1)), reserve_bytes: 0, interval: PAUSE, ..Keep::default() }
}

/// A body that fills a segment, and the end of its exchange.
fn run_exchange(house: &House, producer: &mut Producer, number: u8) {
    let ticket = u64::from(number) * 10;
    let mut content = samples::content(number, b"", true);
    content.bytes = crate::buffer::Chunk::from(vec![number; 100_000]).into();
    submit(producer, 0, Commit::Durable, samples::intent(number));
    submit(producer, 0, Commit::Written, Record::Content(Box::new(content)));
    submit(producer, ticket, Commit::Durable, samples::outcome(number));
    house.acks.wait(ticket).unwrap();
}

/// A signed log whose old segments were deleted, and what its verifier says.
fn shortened() -> (House, Report) {
    let house = House::signed();
    let (journal, mut producer) = house.open_keeping(Arc::new(OsDisk), old());
    (1..=6).for_each(|number| run_exchange(&house, &mut producer, number));
    wait_until("old segments are gone", || house.numbers()[0] > 4);
    journal.close().unwrap();
    let report = house.verify();
    (house, report)
}

#[test]
fn old_segments_are_deleted_with_their_nonces_and_the_rest_verifies() {
    let (house, report) = shortened();
    assert!(report.removed_through >= 4 * 3, "{report:?}");
    let first = house.numbers()[0];
    for entry in fs::read_dir(house.root.path().join("openings")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let number = name.strip_suffix(".openings").map(|number| number.parse::<u64>().unwrap());
        assert!(number.is_none_or(|number| number >= first), "{name}");
    }
    // The log goes on, and says itself what is missing.
    house.open().0.close().unwrap();
    assert_eq!(house.verify().removed_through, report.removed_through);
    let removals = house.records().into_iter().filter_map(|(_, record)| Removal::of(&record));
    assert!(removals.map(|removal| removal.segment + 1).max() >= Some(first));
}

#[test]
fn a_segment_that_nobody_recorded_as_removed_is_missed() {
    let house = House::new();
    let (journal, mut producer) = house.open();
    (1..=4).for_each(|number| run_exchange(&house, &mut producer, number));
    journal.close().unwrap();
    fs::remove_file(segments::path(&house.log(), 1)).unwrap();
    let Err(VerifyError::Damage(damage)) = verify_dir(&house.log(), |_, _| {}) else { panic!("missed") };
    assert_eq!((damage.segment, damage.why), (1, Why::MissingSegment));
}

#[test]
fn what_is_live_is_never_deleted() {
    let house = House::new();
    let (journal, mut producer) = house.open_keeping(Arc::new(OsDisk), old());
    run_exchange(&house, &mut producer, 1);
    submit(&mut producer, 1, Commit::Durable, samples::intent(200));
    house.acks.wait(1).unwrap();
    let began_in = journal.health().segment;
    (2..=6).for_each(|number| run_exchange(&house, &mut producer, number));
    if began_in > 1 {
        wait_until("what may go is gone", || house.numbers()[0] == began_in);
    }
    wait_until("more than that was written", || journal.health().segment > began_in + 2);
    assert!(house.numbers()[0] <= began_in, "its INTENT is in the log as long as it is open");
    submit(&mut producer, 2, Commit::Durable, samples::outcome(200));
    house.acks.wait(2).unwrap();
    (7..=9).for_each(|number| run_exchange(&house, &mut producer, number));
    wait_until("it ended, so it may go", || house.numbers()[0] > began_in);
    journal.close().unwrap();
    house.verify();
}

#[test]
fn the_log_stays_below_its_bound() {
    let house = House::new();
    let max = 450_000;
    let keep = Keep { age: None, max: Some(Bound::Bytes(max)), ..old() };
    let (journal, mut producer) = house.open_keeping(Arc::new(OsDisk), keep);
    for number in 1..=12 {
        run_exchange(&house, &mut producer, number);
        wait_until("the log is below its bound", || house.bytes() <= max);
    }
    assert!(house.bytes() > max / 3, "no more is deleted than must be: {}", house.bytes());
    journal.close().unwrap();
    house.verify();
}

#[test]
fn what_is_left_is_proven_without_what_was_removed() {
    let (house, report) = shortened();
    let (first, signed) = (report.removed_through + 1, report.signatures.signed_through);
    let key = report.signatures.keys.last().unwrap();
    for sequence in [first, first + 1, signed] {
        let proof = prove(&house.log(), &Keys::default(), sequence).unwrap();
        assert_eq!(proof.check(Some(key)).unwrap().sequence, sequence);
    }
    let gone = prove(&house.log(), &Keys::default(), first - 1).unwrap_err();
    assert!(gone.to_string().contains(&format!("the log begins with record {first}")), "{gone}");
    let found = consistency(&house.log(), &Keys::default(), None, first - 1, None).unwrap();
    assert_eq!(found.to, signed);
    let gone = consistency(&house.log(), &Keys::default(), None, first - 2, None).unwrap_err();
    assert!(matches!(gone, ProveError::Removed { .. }), "{gone}");
}

#[test]
fn the_bound_is_of_the_segments_and_their_nonces() {
    let house = House::new();
    let max = 10_000_000;
    let keep = Keep { age: None, max: Some(Bound::Bytes(max)), ..old() };
    let (journal, mut producer) = house.open_keeping(Arc::new(OsDisk), keep);
    (1..=3).for_each(|number| run_exchange(&house, &mut producer, number));
    assert_eq!(house.numbers()[0], 1, "there is room for all");
    let nonces = house.root.path().join("openings/000000000001.openings");
    fs::OpenOptions::new().write(true).open(nonces).unwrap().set_len(2 * max).unwrap();
    wait_until("the segment with so many nonces is gone", || house.numbers()[0] > 1);
    journal.close().unwrap();
    house.verify();
}

#[test]
fn what_an_erasure_left_half_done_is_gone_after_a_start() {
    let house = House::new();
    house.open().0.close().unwrap();
    let left = house.root.path().join("openings/.000000000001.openings.staged");
    fs::write(&left, "half").unwrap();
    house.open().0.close().unwrap();
    assert!(!left.exists());
}

#[test]
fn blocks_that_are_kept_for_others_are_not_taken_for_used_ones() {
    let room = Room::of_blocks(1_000, 600, 400, 4_096);
    assert_eq!(room, Room { total: 800 * 4_096, available: 400 * 4_096 });
    assert_eq!(room.used_percent(), 50);
    assert_eq!(Room::of_blocks(0, 0, 0, 4_096).used_percent(), 0);
}

#[test]
fn a_disk_that_is_nearly_full_takes_no_new_exchange_and_ends_the_open_ones() {
    let house = House::new();
    let disk = FaultDisk::from(u64::MAX, ErrorKind::Other);
    let keep = Keep { reserve_bytes: 1 << 20, interval: PAUSE, ..Keep::default() };
    let (journal, mut producer) = house.open_keeping(Arc::new(Faulty(Arc::clone(&disk))), keep);
    let becomes = |percent: u64, level| {
        let room = Room { total: 1_000 << 20, available: (1_000 - percent * 10) << 20 };
        *disk.room.lock().unwrap() = Some(room);
        wait_until("it is noticed", || (journal.health().room, journal.health().level) == (room, level));
    };
    becomes(50, Level::Fine);
    assert!(house.root.path().join("openings/.reserve").exists());
    submit(&mut producer, 1, Commit::Durable, samples::intent(1));
    house.acks.wait(1).unwrap();
    becomes(91, Level::Low);
    submit(&mut producer, 2, Commit::Durable, samples::intent(2));
    house.acks.wait(2).unwrap();
    becomes(96, Level::Full);
    assert!(producer.refuses_intents() && !producer.is_failed());
    producer.submit(submission(9, Commit::Durable, samples::intent(3))).unwrap_err();
    submit(&mut producer, 3, Commit::Durable, samples::outcome(1));
    submit(&mut producer, 4, Commit::Durable, samples::refusal(3));
    for ticket in [3, 4] {
        house.acks.wait(ticket).unwrap();
    }
    becomes(60, Level::Fine);
    submit(&mut producer, 5, Commit::Durable, samples::intent(4));
    house.acks.wait(5).unwrap();
    journal.close().unwrap();
}

#[test]
fn the_reserve_is_freed_for_the_records_of_open_exchanges() {
    let house = House::new();
    let disk = FaultDisk::from(u64::MAX, ErrorKind::StorageFull);
    let reserve = house.root.path().join("openings/.reserve");
    let keep = Keep { reserve_bytes: 1 << 20, interval: PAUSE, ..Keep::default() };
    let (journal, mut producer) = house.open_keeping(Arc::new(Faulty(Arc::clone(&disk))), keep);
    wait_until("the reserve is held", || fs::metadata(&reserve).is_ok_and(|file| file.len() == 1 << 20));
    submit(&mut producer, 1, Commit::Durable, samples::intent(1));
    house.acks.wait(1).unwrap();
    disk.fill_while(reserve.clone());
    submit(&mut producer, 2, Commit::Durable, samples::refusal(2));
    assert_eq!(house.acks.wait(2), Err(Failure::NoSpace));
    wait_until("the reserve makes room", || !reserve.exists() && !producer.is_failed());
    producer.submit(submission(9, Commit::Durable, samples::intent(3))).unwrap_err();
    submit(&mut producer, 3, Commit::Durable, samples::outcome(1));
    house.acks.wait(3).unwrap();
    disk.heal();
    wait_until("the reserve is held again", || !producer.refuses_intents());
    assert!(reserve.exists());
    journal.close().unwrap();
    let report = house.verify();
    assert_eq!((report.exchanges_closed, report.exchanges_open), (1, 0));
    assert!(
        house.records().iter().all(|(_, record)| record.kind() != Kind::Recovery),
        "no restart was needed"
    );
}

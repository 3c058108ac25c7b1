use super::{
    super::faults::{FaultDisk, Faulty, PowerDisk},
    *,
};
use crate::audit::{Cause, Kind, SEAL_BYTES, Why};
use proptest::prelude::*;
use std::{
    io::{BufRead, BufReader, Read, Seek, SeekFrom, Write},
    process::{Command, Stdio},
};

/// A log as a death of the process leaves it after five exchanges and one open one.
fn killed() -> House {
    let living = House::new();
    let (journal, mut producer) = living.open();
    for number in 1..=5 {
        submit(&mut producer, 0, Commit::Written, samples::intent(number));
        submit(&mut producer, u64::from(number), Commit::Written, samples::outcome(number));
        living.acks.wait(u64::from(number)).unwrap();
    }
    submit(&mut producer, 6, Commit::Written, samples::intent(6));
    living.acks.wait(6).unwrap();
    let dead = House::new();
    copy_log(&living.log(), &dead.log());
    drop(journal);
    dead
}

fn recovery(house: &House) -> crate::audit::Recovery {
    let found = house.records().into_iter().find_map(|(_, record)| match record {
        Record::Recovery(recovery) => Some(recovery),
        _ => None,
    });
    found.expect("a RECOVERY record")
}

#[test]
fn a_killed_process_loses_nothing_written() {
    let house = killed();
    house.open().0.close().unwrap();
    let report = house.verify();
    assert_eq!((report.exchanges_closed, report.exchanges_open), (6, 0));
    let found = recovery(&house);
    assert_eq!((found.segment, found.kept_through, found.lost, found.open), (1, 12, None, 1));
    assert_eq!(found.lost_bytes, 0);
    let lost: Vec<_> = house
        .records()
        .into_iter()
        .filter_map(|(_, record)| match record {
            Record::Outcome(outcome) if outcome.cause == Cause::Lost => Some(outcome.id),
            _ => None,
        })
        .collect();
    assert_eq!(lost, [samples::id(6)]);
}

fn change(house: &House, number: u64, change: impl FnOnce(&mut File)) {
    let path = crate::segments::path(&house.log(), number);
    change(&mut File::options().read(true).write(true).open(path).unwrap());
}

/// End of the records in an unsealed segment.
fn end_of_records(house: &House) -> u64 {
    let path = crate::segments::path(&house.log(), 1);
    let mut reader = SegmentReader::open(File::open(path).unwrap(), 1, None).unwrap();
    while !matches!(reader.next_item().unwrap(), Item::End(_)) {}
    reader.offset()
}

#[test]
fn a_torn_write_is_cut_and_named() {
    let house = killed();
    let end = end_of_records(&house);
    let mut lost = 0;
    change(&house, 1, |file| {
        let mut batch = vec![0; 200];
        let mut read = |offset| {
            file.seek(SeekFrom::Start(offset)).unwrap();
            file.read_exact(&mut batch).unwrap();
        };
        read(crate::audit::SEGMENT_HEADER_BYTES as u64);
        file.seek(SeekFrom::Start(end)).unwrap();
        file.write_all(&batch[..150]).unwrap();
        // Zeros at the end cannot be told from what was never written.
        lost = batch[..150].iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1;
    });
    assert!(matches!(verify_dir(&house.log(), |_, _| {}), Err(VerifyError::Damage(_))));
    house.open().0.close().unwrap();
    house.verify();
    let found = recovery(&house);
    assert_eq!((found.kept_through, found.lost_bytes), (12, lost));
}

/// The segment was sealed before RECOVERY was written: a start that died in between told nobody of what was
/// cut.
#[test]
fn a_recovery_that_dies_as_well_is_recorded_by_the_next_one() {
    for number in 1.. {
        let house = killed();
        let end = end_of_records(&house);
        change(&house, 1, |file| {
            file.seek(SeekFrom::Start(end)).unwrap();
            file.write_all(&[7; 100]).unwrap();
        });
        let disk = FaultDisk::from(number, io::ErrorKind::Other);
        let died = house.open_on(Arc::new(Faulty(Arc::clone(&disk))));
        let is_through = died.is_ok() && disk.count() < number;
        // What is still to be written at the end fails as well.
        died.ok().map(|(journal, _)| journal.close());
        house.open().0.close().unwrap();
        assert_eq!(house.verify().exchanges_open, 0);
        let found = recovery(&house);
        let said = (found.segment, found.kept_through, found.lost_bytes, found.open);
        assert_eq!(said, (1, 12, 100, 1), "operation {number}");
        if is_through {
            return assert!(number > 10, "{number} operations");
        }
    }
}

#[test]
fn damage_to_durable_records_stops_the_start() {
    let house = killed();
    // The second batch: the ones behind it say that it was durable, if its sync came in time; a seal says so.
    house.open().0.close().unwrap();
    let last = list(&house.log()).unwrap().0.pop().unwrap();
    change(&house, last.number, |file| {
        file.seek(SeekFrom::End(-(SEAL_BYTES as i64) - 60)).unwrap();
        file.write_all(b"changed").unwrap();
    });
    let error = house.open_on(Arc::new(OsDisk)).unwrap_err();
    let OpenError::Recover(RecoverError::Damage(damage)) = error else { panic!("{error}") };
    assert_eq!((damage.segment, damage.why), (last.number, Why::Chain));
    assert!(damage.to_string().contains(&format!("record {}", damage.sequence)));
    // A stop changes nothing: it is the same damage the next time.
    assert!(house.open_on(Arc::new(OsDisk)).is_err());
}

#[test]
fn a_removed_segment_stops_the_start() {
    let house = House::new();
    for _ in 0..3 {
        house.open().0.close().unwrap();
    }
    fs::remove_file(crate::segments::path(&house.log(), 2)).unwrap();
    let error = house.open_on(Arc::new(OsDisk)).unwrap_err();
    let OpenError::Recover(RecoverError::Damage(damage)) = error else { panic!("{error}") };
    assert_eq!((damage.segment, damage.why), (2, Why::MissingSegment));
}

#[test]
fn a_process_that_died_while_it_rotated_is_recovered() {
    let house = House::new();
    let (journal, mut producer) = house.open();
    submit(&mut producer, 1, Commit::Durable, samples::intent(1));
    house.acks.wait(1).unwrap();
    journal.close().unwrap();
    house.open().0.close().unwrap();
    // As if segment 1 had not been sealed before segment 2 was there.
    change(&house, 1, |file| {
        let end = file.seek(SeekFrom::End(0)).unwrap();
        file.set_len(end - SEAL_BYTES as u64).unwrap();
        file.set_len(end + 10_000).unwrap();
    });
    house.open().0.close().unwrap();
    let report = house.verify();
    assert_eq!((report.segments, report.exchanges_closed), (3, 1));
    let first = &list(&house.log()).unwrap().0[0];
    assert!(matches!(each_frame(first, |_| {}).unwrap(), End::Sealed(_)));
}

#[test]
fn every_cut_of_the_last_segment_is_recovered() {
    let whole = killed();
    let end = end_of_records(&whole);
    for cut in (crate::audit::SEGMENT_HEADER_BYTES as u64..end).step_by(37) {
        let house = House::new();
        copy_log(&whole.log(), &house.log());
        change(&house, 1, |file| file.set_len(cut).unwrap());
        house.open().0.close().unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        assert_eq!(house.verify().exchanges_open, 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_power_cut_loses_nothing_durable(survivors in any::<u64>(), exchanges in 1u8..30) {
        let living = House::new();
        let disk = PowerDisk::default();
        let (journal, mut producer) = living.open_on(Arc::new(disk.clone())).unwrap();
        for number in 1..=exchanges {
            let ticket = u64::from(number) * 10;
            let content = samples::content(number, &[number; 5_000], true);
            submit(&mut producer, ticket, Commit::Durable, samples::intent(number));
            submit(&mut producer, 0, Commit::Written, Record::Content(Box::new(content)));
            if number.is_multiple_of(3) {
                living.acks.wait(ticket).unwrap();
            }
            submit(&mut producer, ticket + 1, Commit::Durable, samples::outcome(number));
        }
        // Acknowledged before the cut: this must be there afterwards.
        let acknowledged = living.acks.committed();
        let dead = House::new();
        let mut bits = survivors;
        disk.cut(&living.log(), &dead.log(), || {
            bits = bits.rotate_left(1);
            bits & 1 == 1
        });
        drop(journal);
        dead.open().0.close().unwrap();
        let report = dead.verify();
        prop_assert_eq!(report.exchanges_open, 0);
        let kept: BTreeMap<u64, Record> = dead.records().into_iter().collect();
        for (ticket, sequence) in acknowledged {
            let record = kept.get(&sequence).expect("the record is there");
            prop_assert_eq!(record.exchange(), Some(samples::id((ticket / 10) as u8)));
            let kind = if ticket % 10 == 0 { Kind::Intent } else { Kind::Outcome };
            prop_assert_eq!(record.kind(), kind);
        }
    }
}

/// Set for the child of the kill loop: the folder of its log.
const CHILD: &str = "RINGWARD_TEST_JOURNAL_CHILD";

/// Not a test of its own: the process that the kill loop kills. It prints each acknowledged sequence number.
#[test]
#[ignore = "the child of killed_processes_lose_nothing_acknowledged"]
fn child_of_the_kill_loop() {
    let Ok(root) = std::env::var(CHILD) else { return };
    let root = PathBuf::from(root);
    let mut options = Options::new(root.join("audit"), root.join("openings"));
    options.segment_bytes = SEGMENT_BYTES_MIN;
    let acks = Collected::default();
    let (_journal, mut producers) = Journal::open(options, 1, Box::new(acks.clone())).unwrap();
    let mut printed = 0;
    for ticket in 1u64.. {
        let commit = if ticket.is_multiple_of(4) { Commit::Durable } else { Commit::Written };
        let content = samples::content(ticket as u8, &[7; 900], true);
        submit(&mut producers[0], 0, commit, samples::intent(ticket as u8));
        submit(&mut producers[0], 0, commit, Record::Content(Box::new(content)));
        submit(&mut producers[0], ticket, commit, samples::outcome(ticket as u8));
        if ticket.is_multiple_of(8) {
            for ticket in printed + 1..=ticket {
                println!("ack {ticket} {}", acks.wait(ticket).unwrap());
            }
            printed = ticket;
        }
    }
}

#[test]
fn killed_processes_lose_nothing_acknowledged() {
    let house = House::new();
    for cycle in 0..6u32 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "journal::tests::crash::child_of_the_kill_loop", "--ignored", "--nocapture"])
            .env(CHILD, house.root.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acknowledged = Vec::new();
        let parse = |line: String| line.strip_prefix("ack ")?.split_once(' ')?.1.parse::<u64>().ok();
        while acknowledged.len() < 40 + 70 * cycle as usize {
            let line = lines.next().expect("the child lives").unwrap();
            acknowledged.extend(parse(line));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        acknowledged.extend(lines.map_while(Result::ok).filter_map(parse));
        let kept: BTreeMap<u64, Kind> = house.records_of_dead();
        for sequence in acknowledged {
            assert_eq!(kept.get(&sequence), Some(&Kind::Outcome), "cycle {cycle}, record {sequence}");
        }
    }
    house.open().0.close().unwrap();
    let report = house.verify();
    assert_eq!(report.exchanges_open, 0);
    assert!(report.segments > 6);
}

impl House {
    /// The kinds of all records of a log that nobody recovered yet.
    fn records_of_dead(&self) -> BTreeMap<u64, Kind> {
        let mut kinds = BTreeMap::new();
        for file in list(&self.log()).unwrap().0 {
            // The last batch may be torn.
            let _ = each_frame(&file, |frame| {
                kinds.insert(frame.sequence, frame.kind);
            });
        }
        kinds
    }
}

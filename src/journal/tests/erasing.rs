use super::*;
use crate::{
    audit::{Content, Subject},
    journal::erase::{Erasure, exchanges_of},
};

pub(super) const FORGET: &[u8] = b"the words that one subject wants forgotten";
pub(super) const KEEP: &[u8] = b"the words that another subject wants kept";

fn body(number: u8, bytes: &[u8]) -> Record {
    Record::Content(Box::new(Content { offset: 0, ..samples::content(number, bytes, true) }))
}

/// An INTENT of `subject`.
pub(super) fn intent(number: u8, subject: &str) -> Record {
    let Record::Intent(mut intent) = samples::intent(number) else { panic!("an INTENT") };
    let of = Subject { subject: subject.into(), ..(*samples::subject()).clone() };
    intent.subject = Some(Arc::new(of));
    Record::Intent(intent)
}

fn exchange(producer: &mut Producer, house: &House, number: u8, subject: &str, bytes: &[u8]) {
    let ticket = u64::from(number);
    submit(producer, 0, Commit::Written, intent(number, subject));
    submit(producer, 0, Commit::Written, body(number, bytes));
    submit(producer, ticket, Commit::Durable, samples::outcome(number));
    house.acks.wait(ticket).unwrap();
}

pub(super) fn erasure(subject: &str) -> Erasure {
    Erasure { author: "local:1000".into(), issuer: None, subject: subject.into() }
}

pub(super) fn holds(house: &House, bytes: &[u8]) -> bool {
    insides(&house.log()).iter().any(|inside| memchr::memmem::find(inside, bytes).is_some())
}

#[test]
fn erased_bodies_are_gone_and_everything_else_stays() {
    let mut house = House::signed();
    house.packing = Packing { compress: true, recipients: Vec::new() };
    let (journal, mut producer) = house.open();
    exchange(&mut producer, &house, 1, "ada", FORGET);
    exchange(&mut producer, &house, 2, "bob", KEEP);
    // One of them lies in a packed segment, one in the segment in use.
    journal.handle().erase(&erasure("nobody")).unwrap();
    let before = list(&house.log()).unwrap().0.len();
    exchange(&mut producer, &house, 3, "ada", FORGET);
    submit(&mut producer, 39, Commit::Written, intent(4, "ada"));
    house.acks.wait(39).unwrap();
    let report = journal.handle().erase(&erasure("ada")).unwrap();
    assert_eq!((report.exchanges, report.contents, report.nonces), (3, 2, 2));
    assert_eq!((report.bytes, report.encrypted_segments), (2 * (FORGET.len() as u64 + 32), 0));
    assert!(list(&house.log()).unwrap().0.len() > before, "the segment in use was sealed");
    assert!(!holds(&house, FORGET) && holds(&house, KEEP));
    // Erasing again finds nothing more, and new bodies are recorded as ever.
    assert_eq!(journal.handle().erase(&erasure("ada")).unwrap().contents, 0);
    submit(&mut producer, 0, Commit::Written, body(4, FORGET));
    submit(&mut producer, 40, Commit::Durable, samples::outcome(4));
    house.acks.wait(40).unwrap();
    journal.close().unwrap();
    assert!(holds(&house, FORGET));
    let verified = house.verify();
    assert_eq!((verified.erased, verified.exchanges_closed), (2, 4));
    let openings = house.root.path().join("openings");
    let left: usize = (1..=verified.segments).map(|n| read_openings(&openings, n).unwrap().len()).sum();
    assert_eq!(left, 2, "the nonces of bob's body and of the last one");
    house.open().0.close().unwrap();
}

/// Retention removed a segment between its name and its bytes: the erasure ended with an error.
#[test]
fn a_segment_that_retention_removes_meanwhile_has_nothing_to_erase() {
    let mut house = House::signed();
    house.packing = Packing { compress: true, recipients: Vec::new() };
    let (journal, mut producer) = house.open();
    for number in [1, 2] {
        exchange(&mut producer, &house, number, "ada", FORGET);
        journal.handle().erase(&erasure("ada")).unwrap();
    }
    journal.close().unwrap();
    let (segments, _) = list(&house.log()).unwrap();
    assert_eq!(exchanges_of(&segments, &erasure("ada")).unwrap().len(), 2);
    std::fs::remove_file(&segments[0].path).unwrap();
    assert_eq!(exchanges_of(&segments, &erasure("ada")).unwrap().len(), 1);
}

#[test]
fn only_the_named_issuer_is_meant() {
    let house = House::new();
    let (journal, mut producer) = house.open();
    exchange(&mut producer, &house, 1, "ada", FORGET);
    let other = Erasure { issuer: Some("https://elsewhere.example".into()), ..erasure("ada") };
    assert_eq!(journal.handle().erase(&other).unwrap(), Default::default());
    let issuer = Some(samples::subject().issuer.clone());
    assert_eq!(journal.handle().erase(&Erasure { issuer, ..erasure("ada") }).unwrap().contents, 1);
    journal.close().unwrap();
    assert_eq!(house.verify().erased, 1);
}

/// A damaged segment was passed over, and what it held stayed.
#[test]
fn a_damaged_log_is_not_erased_in_part() {
    let house = House::new();
    {
        let (journal, mut producer) = house.open();
        exchange(&mut producer, &house, 1, "ada", FORGET);
        journal.close().unwrap();
    }
    let (journal, _producer) = house.open();
    let path = crate::segments::path(&house.log(), 1);
    let mut bytes = fs::read(&path).unwrap();
    let at = memchr::memmem::find(&bytes, FORGET).unwrap();
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    let error = journal.handle().erase(&erasure("ada")).unwrap_err().to_string();
    assert!(error.contains("segment 1") && error.contains("the stored body bytes were changed"), "{error}");
    journal.close().unwrap();
}

/// Erasing takes effect between two gateways' lives, too: what a crash interrupted is done by erasing again.
#[test]
fn any_operation_of_erasing_may_fail() {
    let mut number = 0;
    loop {
        number += 1;
        let house = House::new();
        {
            let (journal, mut producer) = house.open();
            exchange(&mut producer, &house, 1, "ada", FORGET);
            exchange(&mut producer, &house, 2, "bob", KEEP);
            journal.close().unwrap();
        }
        let faults = faults::FaultDisk::once(number, io::ErrorKind::Other);
        let disk: Arc<dyn Disk> = Arc::new(faults::Faulty(Arc::clone(&faults)));
        let Ok((journal, _producer)) = house.open_on(disk) else { continue };
        let erased = journal.handle().erase(&erasure("ada"));
        let count = faults.count();
        // It may fail, too.
        let _ = journal.close();
        let (journal, _producer) = house.open();
        house.verify();
        if erased.is_err() {
            journal.handle().erase(&erasure("ada")).unwrap();
        }
        journal.close().unwrap();
        assert!(!holds(&house, FORGET) && holds(&house, KEEP), "operation {number}");
        house.verify();
        if count < number {
            return assert!(erased.is_ok() && number > 15, "{number} operations");
        }
    }
}

//! The index against the log: the same rows however it was read, and never more than was written whole.

use super::*;
use crate::{
    audit::{
        Action, Decision, Direction, ExchangeId, Head, Intent, Lengths, Position, Record, Refusal,
        SealReason, Subject, samples,
    },
    http::{Headers, Method},
    time::Timestamp,
};
use proptest::prelude::*;
use samples::Log;
use std::{collections::BTreeMap, fs, io::Write, sync::Arc};

/// A log in memory and the folder that it is written to.
struct House {
    home: tempfile::TempDir,
    log: Log,
}

impl House {
    fn new() -> House {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("audit")).unwrap();
        House { home, log: Log::new() }
    }

    fn dir(&self) -> PathBuf {
        self.home.path().join("audit")
    }

    /// Writes the segments as they are now; the last one is preallocated.
    fn write(&self) {
        for (index, segment) in self.log.segments.iter().enumerate() {
            let mut bytes = segment.clone();
            if index + 1 == self.log.segments.len() {
                bytes.resize(segment.len() + 5_000, 0);
            }
            fs::write(folder::path(&self.dir(), index as u64 + 1), bytes).unwrap();
        }
    }

    fn archive(&self) -> Archive {
        Archive::open(&self.dir()).unwrap()
    }

    /// The rows of an index that reads everything in one go.
    fn full_scan(&self) -> Vec<String> {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("audit");
        fs::create_dir(&dir).unwrap();
        for segment in folder::list(&self.dir()).unwrap() {
            fs::copy(folder::path(&self.dir(), segment.number), folder::path(&dir, segment.number)).unwrap();
        }
        let archive = Archive::open(&dir).unwrap();
        archive.catch_up(0).unwrap();
        archive.index().dump()
    }
}

fn exchange_id(number: u16) -> ExchangeId {
    let mut random = [0; 10];
    random[..2].copy_from_slice(&number.to_be_bytes());
    ExchangeId::new(Timestamp(1_795_257_000_000_000 + u64::from(number) * 1_000), random)
}

fn subject(number: u8) -> Arc<Subject> {
    Arc::new(Subject { subject: format!("agent-{number}").into(), ..(*samples::subject()).clone() })
}

fn head(session: &str) -> Head {
    let mut headers = Headers::new();
    headers.append("x-session-id", session.as_bytes());
    headers.append("content-type", b"application/json");
    Head {
        listener: "agents".into(),
        route: Some("claude".into()),
        upstream: Some("anthropic".into()),
        method: Some(Method::Post),
        authority: "gw.example".into(),
        target: "/v1/messages?beta=true".into(),
        headers,
        ..Head::default()
    }
}

fn intent(number: u16, who: u8, session: &str) -> Record {
    Record::Intent(Box::new(Intent {
        id: exchange_id(number),
        at: Timestamp(1_795_257_000_000_000 + u64::from(number) * 1_000 + 300),
        generation: 1,
        session: session.into(),
        subject: Some(subject(who)),
        head: head(session),
        decision: Decision { action: Action::Allow, policy: Some("default".into()), ..Decision::default() },
        secrets: vec!["anthropic".into()],
        body: Default::default(),
    }))
}

fn refusal(number: u16, who: u8, session: &str) -> Record {
    Record::Refusal(Box::new(Refusal {
        id: exchange_id(number),
        at: Timestamp(1_795_257_000_000_000 + u64::from(number) * 1_000 + 700),
        generation: 1,
        session: Some(session.into()),
        subject: Some(subject(who)),
        head: head(session),
        decision: Some(Decision {
            action: Action::Block,
            policy: Some("no-drop".into()),
            ..Decision::default()
        }),
        status: 403,
        code: "policy_denied".into(),
        reason: "no".into(),
        body: None,
        folded: None,
    }))
}

fn content(number: u16, direction: Direction, offset: u64, bytes: &[u8]) -> Record {
    let mut content = samples::content(0, bytes, true);
    (content.id, content.direction, content.offset) = (exchange_id(number), direction, offset);
    content.elapsed_us = 1_000 + offset;
    samples::committed(content)
}

fn outcome(number: u16, sent: u64) -> Record {
    let Record::Outcome(mut outcome) = samples::outcome(0) else { unreachable!() };
    outcome.id = exchange_id(number);
    outcome.at = Timestamp(1_795_257_000_000_000 + u64::from(number) * 1_000 + 5_000);
    outcome.cause = crate::audit::Cause::Complete;
    outcome.request = Lengths::default();
    outcome.response = Lengths { received: sent, sent };
    Record::Outcome(outcome)
}

/// One step of a random log.
#[derive(Clone, Debug)]
enum Step {
    /// An exchange of this caller in this session: with so many pieces of a response, or refused.
    Exchange {
        who: u8,
        session: u8,
        pieces: u8,
        refused: bool,
        ends: bool,
    },
    /// Ends the exchange that was left open last.
    End,
    Rotate,
    /// A reader looks.
    Look,
    /// The index is taken away.
    Lose,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let exchange = (0u8..3, 0u8..3, 0u8..4, any::<bool>(), any::<bool>()).prop_map(
        |(who, session, pieces, refused, ends)| Step::Exchange { who, session, pieces, refused, ends },
    );
    let step = prop_oneof![
        6 => exchange,
        2 => Just(Step::End),
        1 => Just(Step::Rotate),
        2 => Just(Step::Look),
        1 => Just(Step::Lose),
    ];
    proptest::collection::vec(step, 1..40)
}

/// What a reader of the records alone would count: (subject, session) → requests, blocked.
type Expected = BTreeMap<(String, String), (u64, u64)>;

fn take(house: &mut House, number: u16, step: &Step, open: &mut Vec<u16>, expected: &mut Expected) {
    match step {
        Step::Exchange { who, session, pieces, refused, ends } => {
            let name = format!("s-{session}");
            let (requests, blocked) = expected.entry((format!("agent-{who}"), name.clone())).or_default();
            *requests += 1;
            house.log.batch(&[content(number, Direction::Request, 0, b"{\"a\":1}")]);
            if *refused {
                *blocked += 1;
                return house.log.batch(&[refusal(number, *who, &name)]);
            }
            house.log.batch(&[intent(number, *who, &name)]);
            for piece in 0..*pieces {
                house.log.batch(&[content(number, Direction::Response, u64::from(piece) * 5, b"hello")]);
            }
            if *ends {
                house.log.batch(&[outcome(number, u64::from(*pieces) * 5)]);
            } else {
                open.push(number);
            }
        }
        Step::End => {
            if let Some(number) = open.pop() {
                house.log.batch(&[outcome(number, 0)]);
            }
        }
        Step::Rotate => house.log.seal(SealReason::Rotated),
        Step::Look | Step::Lose => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn an_index_equals_a_full_scan_however_it_was_read(steps in steps()) {
        let mut house = House::new();
        let mut archive = None;
        let (mut open, mut expected) = (Vec::new(), Expected::new());
        for (number, step) in steps.iter().enumerate() {
            take(&mut house, number as u16, step, &mut open, &mut expected);
            house.write();
            match step {
                Step::Look => {
                    let archive = archive.get_or_insert_with(|| house.archive());
                    archive.catch_up(house.log.position.sequence - 1).unwrap();
                }
                Step::Lose => {
                    archive = None;
                    let _ = fs::remove_file(Archive::index_path(&house.dir()));
                }
                _ => {}
            }
        }
        let archive = archive.unwrap_or_else(|| house.archive());
        archive.catch_up(house.log.position.sequence - 1).unwrap();
        prop_assert_eq!(archive.index().dump(), house.full_scan());
        let listed = archive.sessions(&Filter::default()).unwrap().sessions;
        let listed: Expected = listed
            .into_iter()
            .map(|one| ((one.subject.unwrap(), one.name), (one.requests, one.decisions.block)))
            .collect();
        prop_assert_eq!(listed, expected);
    }
}

/// Two sessions: one with an answer in three pieces and a refusal, one that still runs.
fn small() -> House {
    let mut house = House::new();
    house.log.batch(&[content(1, Direction::Request, 0, b"{\"q\":\"\xc3\xa9\"}"), intent(1, 1, "s-1")]);
    house.log.batch(&[intent(2, 2, "s-1"), content(1, Direction::Response, 0, b"one ")]);
    house.log.seal(SealReason::Rotated);
    house.log.batch(&[content(1, Direction::Response, 4, b"t\xc3")]);
    house.log.batch(&[content(1, Direction::Response, 6, b"\xa9o"), outcome(1, 8), refusal(3, 1, "s-1")]);
    house.write();
    house
}

#[test]
fn a_recording_is_what_was_recorded() {
    let house = small();
    let archive = house.archive();
    assert_eq!(archive.catch_up(0).unwrap().sequence, house.log.position.sequence - 1);
    let session = archive.session(&exchange_id(1).to_string()).unwrap();
    assert_eq!((session.requests, session.decisions.allow, session.decisions.block), (2, 1, 1));
    assert_eq!((session.named_by.as_str(), session.subject.as_deref()), ("client", Some("agent-1")));
    let span = Span { session: Some(session.id.clone()), ..Span::default() };
    let exchanges = archive.exchanges(&span).unwrap();
    assert_eq!(archive.count(&span).unwrap(), 2);
    let recording = archive.recording(&exchanges[0]).unwrap();
    assert_eq!(recording.request.content(), "{\"q\":\"é\"}".as_bytes());
    assert_eq!(recording.response.content(), "one téo".as_bytes());
    assert!(recording.request.whole && recording.response.whole);
    let shapes: Vec<_> = recording
        .response
        .pieces
        .iter()
        .map(|piece| (piece.text.is_some(), piece.base64.is_some()))
        .collect();
    assert_eq!(shapes, [(true, false), (false, true), (false, true)], "bytes that are no text are base64");
    assert_eq!(recording.secrets, ["anthropic"]);
    assert_eq!(recording.masks.get("cards"), Some(&2));
    let line = serde_json::to_string(&recording).unwrap();
    assert_eq!(serde_json::from_str::<Recording>(&line).unwrap(), recording);
    let refused = archive.recording(&exchanges[1]).unwrap();
    assert_eq!(refused.exchange.reason.as_deref(), Some("policy_denied: no"));
    assert_eq!(refused.exchange.status, Some(403));
}

#[test]
fn sessions_are_found_by_what_they_are() {
    let house = small();
    let archive = house.archive();
    archive.catch_up(0).unwrap();
    let ids = |filter: Filter| -> Vec<String> {
        let sessions = archive.sessions(&filter).unwrap().sessions;
        sessions.into_iter().map(|one| one.subject.unwrap()).collect()
    };
    let text = |text: &str| Some(text.to_owned());
    let all = ["agent-1", "agent-2"];
    let cases: [(Filter, &[&str]); 9] = [
        (Filter::default(), &all),
        (Filter { subject: text("agent-2"), ..Filter::default() }, &all[1..]),
        (Filter { subject: text("agent"), ..Filter::default() }, &[]),
        (Filter { decision: text("block"), ..Filter::default() }, &all[..1]),
        (Filter { route: text("claude"), purpose: text("triage"), ..Filter::default() }, &all),
        (Filter { route: text("other"), ..Filter::default() }, &[]),
        (Filter { limit: Some(1), ..Filter::default() }, &all[..1]),
        (Filter { since: Some(Timestamp(u64::MAX / 4)), ..Filter::default() }, &[]),
        (Filter { until: Some(Timestamp(1_795_257_000_002_000)), ..Filter::default() }, &all[..1]),
    ];
    for (filter, expected) in cases {
        assert_eq!(ids(filter.clone()), expected, "{filter:?}");
    }
    let first = archive.sessions(&Filter { limit: Some(1), ..Filter::default() }).unwrap();
    let after = Filter { limit: Some(1), after: first.next, ..Filter::default() };
    assert_eq!(ids(after.clone()), ["agent-2"]);
    assert_eq!(archive.sessions(&after).unwrap().next, None);
    let id = first.sessions[0].id.clone();
    assert_eq!(archive.session(&id[..9].to_lowercase()).unwrap().id, id);
    assert!(matches!(archive.session("ses_"), Err(Error::Ambiguous(_))));
    for name in ["ses_!", "ses_ZZZZZZZZZZZZZZZZZ", "agent-1", "", "req_00000000000000000000000000"] {
        assert!(matches!(archive.session(name), Err(Error::NotFound(_))), "{name}");
    }
}

#[test]
fn half_a_batch_is_no_error_and_is_read_when_it_is_whole() {
    let mut house = small();
    let archive = house.archive();
    let known = archive.catch_up(0).unwrap().sequence;
    let before = house.log.segments[1].len();
    house.log.batch(&[outcome(2, 0)]);
    let whole = house.log.segments[1].clone();
    for cut in [before + 1, before + 30, before + 64, before + 100, whole.len() - 1] {
        let mut torn = whole[..cut].to_vec();
        torn.resize(whole.len() + 5_000, 0);
        fs::write(folder::path(&house.dir(), 2), torn).unwrap();
        let caught = archive.catch_up(0).unwrap();
        assert_eq!(caught.sequence, known, "cut at {cut}");
        assert!(caught.torn.is_some(), "cut at {cut}");
    }
    house.write();
    let caught = archive.catch_up(known + 1).unwrap();
    assert_eq!((caught.sequence, caught.torn), (known + 1, None));
}

#[test]
fn a_reader_waits_for_the_head_that_it_was_told() {
    let mut house = small();
    let archive = house.archive();
    let head = house.log.position.sequence;
    house.log.batch(&[outcome(2, 0)]);
    let (path, bytes) = (folder::path(&house.dir(), 2), house.log.segments[1].clone());
    let writer = std::thread::spawn(move || {
        let mut file = fs::OpenOptions::new().write(true).open(path).unwrap();
        file.write_all(&bytes).unwrap();
    });
    assert_eq!(archive.catch_up(head).unwrap().sequence, head);
    writer.join().unwrap();
}

#[test]
fn records_that_a_power_cut_took_are_forgotten() {
    let mut house = small();
    let archive = house.archive();
    archive.catch_up(0).unwrap();
    // The last batch is gone; recovery seals before it and goes on with other records.
    let kept = Log::new();
    let Log { segments, .. } = std::mem::replace(&mut house.log, kept);
    house.log.batch(&[content(1, Direction::Request, 0, b"{\"q\":\"\xc3\xa9\"}"), intent(1, 1, "s-1")]);
    house.log.batch(&[intent(2, 2, "s-1"), content(1, Direction::Response, 0, b"one ")]);
    house.log.seal(SealReason::Rotated);
    assert_eq!(house.log.segments[0], segments[0], "the samples are the same every time");
    house.log.seal(SealReason::Recovered);
    house.log.batch(&[outcome(1, 4), outcome(2, 0)]);
    house.write();
    let caught = archive.catch_up(house.log.position.sequence - 1).unwrap();
    assert_eq!(caught.sequence, house.log.position.sequence - 1);
    assert_eq!(archive.index().dump(), house.full_scan());
}

#[test]
fn another_log_in_the_same_folder_is_seen() {
    let house = small();
    let archive = house.archive();
    archive.catch_up(0).unwrap();
    let mut other = small();
    fs::remove_file(folder::path(&house.dir(), 2)).unwrap();
    other.log = Log::new();
    other.log.batch(&[refusal(9, 9, "other")]);
    fs::write(folder::path(&house.dir(), 1), &other.log.segments[0]).unwrap();
    archive.catch_up(1).unwrap();
    let sessions = archive.sessions(&Filter::default()).unwrap().sessions;
    assert_eq!(sessions.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["other"]);
}

#[test]
fn deleted_segments_are_forgotten() {
    let mut house = small();
    house.log.seal(SealReason::Rotated);
    house.log.batch(&[intent(4, 4, "s-4"), outcome(4, 0)]);
    house.write();
    let archive = house.archive();
    archive.catch_up(0).unwrap();
    fs::remove_file(folder::path(&house.dir(), 1)).unwrap();
    fs::remove_file(folder::path(&house.dir(), 2)).unwrap();
    archive.catch_up(0).unwrap();
    let left = |archive: &Archive| -> Vec<(String, u64)> {
        let sessions = archive.sessions(&Filter::default()).unwrap().sessions;
        sessions.into_iter().map(|one| (one.name, one.requests)).collect()
    };
    assert_eq!(left(&archive), [("s-4".to_owned(), 1)]);
    archive.rebuild(&mut |_| {}).unwrap();
    assert_eq!(left(&archive), [("s-4".to_owned(), 1)]);
}

#[test]
fn a_changed_byte_is_named() {
    let house = small();
    let path = folder::path(&house.dir(), 1);
    let good = fs::read(&path).unwrap();
    let archive = house.archive();
    archive.catch_up(0).unwrap();
    let mut bad = good.clone();
    let at = bad.windows(4).position(|part| part == b"one ").unwrap();
    bad[at] ^= 1;
    fs::write(&path, bad).unwrap();
    // What was indexed before is checked again when it is read.
    let exchange = &archive.exchanges(&Span::default()).unwrap()[0];
    let tail = folder::path(&house.dir(), 2);
    let whole = fs::read(&tail).unwrap();
    let Err(Error::Damage(damage)) = archive.recording(exchange) else { panic!("it was not seen") };
    assert_eq!((damage.segment, damage.sequence, damage.why), (1, 4, crate::audit::Why::Content));
    assert!(matches!(archive.rebuild(&mut |_| {}), Err(Error::Damage(_))));
    // In the last segment too, where something whole stands behind it.
    fs::write(&path, good).unwrap();
    let mut bad = whole.clone();
    bad[200] ^= 1;
    fs::write(&tail, bad).unwrap();
    assert!(matches!(archive.rebuild(&mut |_| {}), Err(Error::Damage(_))));
    fs::write(&tail, whole).unwrap();
    assert_eq!(archive.rebuild(&mut |_| {}).unwrap().sequence, house.log.position.sequence - 1);
}

#[test]
fn an_index_that_is_none_is_made_anew() {
    let house = small();
    let file = Archive::index_path(&house.dir());
    let rows = house.full_scan();
    for spoil in
        [&b"no database at all, but long enough to look like one, or so it may seem at first"[..], b""]
    {
        fs::write(&file, spoil).unwrap();
        let archive = house.archive();
        archive.catch_up(0).unwrap();
        assert_eq!(archive.index().dump(), rows);
    }
    {
        let archive = house.archive();
        archive.index().connection.pragma_update(None, "user_version", 99).unwrap();
    }
    let archive = house.archive();
    archive.catch_up(0).unwrap();
    assert_eq!(archive.index().dump(), rows);
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn two_readers_share_one_index() {
    let house = small();
    let (one, two) = (house.archive(), house.archive());
    one.catch_up(0).unwrap();
    assert_eq!(two.catch_up(0).unwrap().records, 0, "the other one has read it");
    assert_eq!(two.index().dump(), house.full_scan());
    let Position { sequence, .. } = house.log.position;
    assert_eq!(two.catch_up(0).unwrap().sequence, sequence - 1);
}

/// An age identity made of 0x42 and the recipient that belongs to it.
fn auditor() -> (&'static str, crate::segments::Recipient) {
    use aws_lc_rs::agreement::{PrivateKey, X25519};
    let public = PrivateKey::from_private_key(&X25519, &[0x42; 32]).unwrap().compute_public_key().unwrap();
    let recipient = bech32::encode::<bech32::Bech32>(bech32::Hrp::parse("age").unwrap(), public.as_ref());
    let identity = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";
    (identity, recipient.unwrap().parse().unwrap())
}

#[test]
fn packed_segments_are_read_and_encrypted_ones_by_auditors_alone() {
    let mut house = small();
    house.log.seal(SealReason::Rotated);
    house.log.batch(&[intent(4, 4, "s-4"), outcome(4, 0)]);
    house.write();
    let archive = house.archive();
    archive.catch_up(0).unwrap();
    let rows = archive.index().dump();
    let sessions = |archive: &Archive| {
        let found = archive.sessions(&Filter::default()).unwrap();
        (found.sessions.len(), found.encrypted_segments)
    };
    let plain = folder::path(&house.dir(), 1);
    let packed = zstd::encode_all(&house.log.segments[0][..], 1).unwrap();
    fs::write(plain.with_extension("segment.zst"), &packed).unwrap();
    fs::remove_file(&plain).unwrap();
    archive.catch_up(0).unwrap();
    assert_eq!(archive.index().dump(), rows);
    assert_eq!(sessions(&archive), (3, 0));
    let first = archive.exchanges(&Span::default()).unwrap().remove(0);
    assert_eq!(archive.recording(&first).unwrap().response.content(), "one téo".as_bytes());
    archive.rest();
    archive.rebuild(&mut |_| {}).unwrap();
    assert_eq!(archive.index().dump(), rows);

    let (identity, recipient) = auditor();
    let mut encryptor = crate::segments::Encryptor::new(Vec::new(), &[recipient]).unwrap();
    encryptor.write_all(&packed).unwrap();
    fs::write(plain.with_extension("segment.zst.age"), encryptor.finish().unwrap()).unwrap();
    fs::remove_file(plain.with_extension("segment.zst")).unwrap();
    assert!(matches!(archive.recording(&first), Err(Error::Encrypted(1))));
    // What it held is forgotten, also by an index that has read it before.
    for _ in 0..2 {
        archive.catch_up(0).unwrap();
        assert_eq!(sessions(&archive), (2, 1), "a refusal in segment 2, and the session of segment 3");
        assert!(!archive.index().dump().iter().any(|row| row.contains("agent-2")));
    }
    archive.rebuild(&mut |_| {}).unwrap();
    assert_eq!(sessions(&archive), (2, 1));

    let keys = house.home.path().join("auditor.key");
    fs::write(&keys, identity).unwrap();
    let opened = Archive::open_with(&house.dir(), crate::segments::Keys::read(&keys).unwrap()).unwrap();
    opened.catch_up(0).unwrap();
    assert_eq!(opened.index().dump(), rows);
    assert_eq!(opened.index_file(), None, "nothing of it is written down");
    assert_eq!(opened.recording(&first).unwrap().response.content(), "one téo".as_bytes());
}

/// Takes acknowledgements and forgets them.
struct Deaf;

impl crate::journal::AckSink for Deaf {
    fn deliver(&mut self, _: usize, acks: &mut Vec<crate::journal::Ack>) {
        acks.clear();
    }
}

#[test]
fn a_reader_follows_a_journal_at_work() {
    use crate::journal::{Journal, Options, Submission};
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("audit");
    let mut options = Options::new(&dir, home.path().join("openings"));
    options.segment_bytes = crate::limits::SEGMENT_BYTES_MIN;
    let (journal, mut producers) = Journal::open(options, 1, Box::new(Deaf)).unwrap();
    let handle = journal.handle();
    let archive = Archive::open(&dir).unwrap();
    let writer = std::thread::spawn(move || {
        let mut submit = |record: Record| {
            let mut submission =
                Submission { share: 0, ticket: 0, commit: crate::audit::Commit::Written, record };
            while let Err(full) = producers[0].submit(submission) {
                submission = full.0;
                std::thread::yield_now();
            }
        };
        for number in 0..1_500 {
            submit(intent(number, (number % 3) as u8, "live"));
            submit(content(number, Direction::Response, 0, &[b'x'; 300]));
            submit(outcome(number, 300));
        }
        producers
    });
    let mut looks = 0;
    while !writer.is_finished() {
        let head = handle.health().written;
        let caught = archive.catch_up(head).unwrap();
        assert!(caught.sequence >= head, "{caught:?}");
        looks += 1;
    }
    let producers = writer.join().unwrap();
    journal.close().unwrap();
    drop(producers);
    archive.catch_up(0).unwrap();
    assert!(looks > 0 && folder::list(&dir).unwrap().len() > 5, "it rotated meanwhile");
    let sessions = archive.sessions(&Filter::default()).unwrap().sessions;
    assert_eq!(sessions.iter().map(|one| one.requests).collect::<Vec<_>>(), [500, 500, 500]);
    let read = archive.index().dump();
    archive.rebuild(&mut |_| {}).unwrap();
    assert_eq!(archive.index().dump(), read);
    let last = archive.last_ended(1).unwrap().remove(0);
    assert_eq!(archive.recording(&last).unwrap().response.content(), [b'x'; 300]);
}

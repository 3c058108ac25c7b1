//! Records and small logs for tests.

use super::record::Erased;
use super::*;
use crate::{
    buffer::Chunk,
    http::{Headers, Method},
    time::Timestamp,
};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use std::sync::Arc;

pub fn id(number: u8) -> ExchangeId {
    ExchangeId::new(Timestamp(1_795_257_000_000_000), [number; 10])
}

pub fn subject() -> Arc<Subject> {
    Arc::new(Subject {
        issuer: "https://idp.example".into(),
        subject: "agent-7".into(),
        owner: Some("ada@example.com".into()),
        groups: vec!["agents".into(), "sre".into()],
        purpose: Some("triage".into()),
        token: Some("".into()),
        token_id: Some([9; 16]),
    })
}

pub fn head() -> Head {
    let mut headers = Headers::new();
    headers.append("user-agent", b"probe/1 \x1b[31m\xff");
    headers.append("accept", b"");
    headers.append("x-long", &[b'a'; 300]);
    Head {
        listener: "agents".into(),
        peer: Some("[2001:db8::1]:4431".parse().unwrap()),
        route: Some("claude".into()),
        upstream: Some("anthropic".into()),
        method: Some(Method::Post),
        authority: "gw.example:8443".into(),
        target: "/v1/messages?beta=true".into(),
        headers,
        scheme: None,
    }
}

pub fn decision() -> Decision {
    Decision {
        action: Action::Allow,
        policy: Some("default".into()),
        place: Some("ringward.toml:58".into()),
        reason: None,
        dry_runs: vec![DryRun { policy: "no-drop".into(), action: Action::Block }],
        predicates: vec![
            Predicate { policy: "no-drop".into(), name: "body.contains_any".into(), held: true },
            Predicate { policy: "default".into(), name: "".into(), held: false },
        ],
        ..Decision::default()
    }
}

pub fn intent(number: u8) -> Record {
    Record::Intent(Box::new(Intent {
        id: id(number),
        at: Timestamp(1_795_257_000_000_001),
        generation: 3,
        session: "s-1".into(),
        subject: Some(subject()),
        head: head(),
        decision: decision(),
        secrets: vec!["anthropic".into()],
        body: IntentBody::Streamed,
    }))
}

pub fn content(number: u8, bytes: &[u8], keep: bool) -> Content {
    Content {
        id: id(number),
        direction: Direction::Response,
        offset: 17,
        elapsed_us: 250,
        bytes: Chunk::from(bytes.to_vec()).into(),
        upstream: None,
        edits: Vec::new(),
        keep,
        leaves: None,
    }
}

/// A CONTENT as the journal completes it.
pub fn committed(mut content: Content) -> Record {
    content.leaves = Some(Body::new([5; 32]).add(&content));
    Record::Content(Box::new(content))
}

pub fn outcome(number: u8) -> Record {
    Record::Outcome(Box::new(Outcome {
        status: Some(200),
        cause: Cause::ClientGone,
        place: Place::ResponseBody,
        reason: Some("reset".into()),
        request: Lengths { received: 10, sent: 10 },
        response: Lengths { received: 90, sent: 0 },
        commitments: Commitments { request: None, response: Some(Commitment([4; 32])) },
        lease: Some(LeaseFacts {
            source: "customers".into(),
            id: "lease-1".into(),
            expires: Timestamp(1_795_257_060_000_000),
        }),
        masks: vec![MaskHits { mask: "cards".into(), count: 2 }],
        stages: Stages { head_us: 3, total_us: 900, ..Stages::default() },
        ..Outcome::lost(id(number), Timestamp(1_795_257_000_900_000))
    }))
}

/// An OUTCOME with the fields of a response.
pub fn outcome_with_fields(number: u8) -> Record {
    let Record::Outcome(mut outcome) = outcome(number) else { unreachable!("a sample of that kind") };
    outcome.headers.append("content-type", b"text/event-stream");
    outcome.headers.append("set-cookie", b"sid=[redacted]; Path=/");
    Record::Outcome(outcome)
}

/// A REFUSAL that stands for a flood.
pub fn refusals(number: u8) -> Record {
    let Record::Refusal(mut refusal) = refusal(number) else { unreachable!("a sample of that kind") };
    refusal.folded = Some(super::Folded { more: 999, since: Timestamp(3) });
    refusal.head.scheme = Some(super::Scheme::Https);
    refusal.body = None;
    Record::Refusal(refusal)
}

pub fn refusal(number: u8) -> Record {
    Record::Refusal(Box::new(Refusal {
        id: id(number),
        at: Timestamp(7),
        generation: 3,
        session: None,
        subject: None,
        head: Head { listener: "agents".into(), ..Head::default() },
        decision: None,
        status: 400,
        code: "malformed_request".into(),
        reason: "bare_line_feed".into(),
        body: Some(Commitment([6; 32])),
        folded: None,
    }))
}

/// Every kind of record that this version writes, in an order that makes sense.
pub fn every_kind() -> Vec<Record> {
    let masked = Content {
        upstream: Some(Chunk::from_static(b"4242424242424242").into()),
        edits: vec![Edit { offset: 0, len: 12, rule: 1 }, Edit { offset: 400, len: 3, rule: 0 }],
        ..content(1, b"[card \xe2\x80\xa64242]", true)
    };
    vec![
        Record::State(State { at: Timestamp(5), ..State::default() }),
        Record::Config(Config {
            at: Timestamp(6),
            generation: 1,
            author: "local:0".into(),
            text: "version = 1\n".into(),
        }),
        intent(1),
        committed(content(1, b"{\"hello\":\"world\"}", true)),
        committed(masked),
        committed(content(1, b"only committed", false)),
        committed(content(1, b"", true)),
        intent(2),
        outcome(1),
        refusal(3),
        Record::Recovery(Recovery {
            at: Timestamp(8),
            segment: 1,
            kept_through: 4,
            lost: Some((5, 9)),
            lost_bytes: 1_000,
            open: 2,
        }),
    ]
}

/// Kinds that came after the first golden files of version 1 were written.
pub fn later_kinds() -> Vec<Record> {
    let access = |action: &str, object: &str| Access {
        at: Timestamp(1_795_257_001_000_000),
        author: "local:1000".into(),
        action: action.into(),
        object: object.into(),
    };
    vec![Record::Admin(access("drain", "")), Record::Read(access("export jsonl", "ses_0123456789ABCDEF"))]
}

/// A held request: asked, approved, used, with a grant for more.
pub fn approvals(number: u8) -> Vec<Record> {
    let event = |event, author: Option<&str>, reason: Option<&str>| {
        Record::Approval(Box::new(super::Approval {
            exchange: id(number),
            at: Timestamp(1_795_257_000_500_000),
            approval: "apr_0123456789ABCDEF".into(),
            event,
            revision: 1,
            author: author.map(Into::into),
            reason: reason.map(Into::into),
            subject: Some(subject()),
            route: "claude".into(),
            policy: "big-spend".into(),
            place: "ringward.toml:58".into(),
            expires: Timestamp(1_795_257_780_000_000),
            ask: [1; 32],
            bind: [2; 32],
            approvals_min: 1,
        }))
    };
    vec![
        event(super::CardEvent::Asked, None, None),
        event(super::CardEvent::Approved, Some("local:1000"), Some("fine")),
        Record::Grant(Box::new(super::Grant {
            at: Timestamp(1_795_257_000_600_000),
            grant: "gra_0123456789ABCDEF".into(),
            event: super::GrantEvent::Opened,
            author: "local:1000".into(),
            approval: "apr_0123456789ABCDEF".into(),
            issuer: "https://idp.example".into(),
            subject: "agent-7".into(),
            group: "".into(),
            session: Some("s-1".into()),
            route: "claude".into(),
            policy: "big-spend".into(),
            expires: Timestamp(1_795_258_800_000_000),
            reason: None,
        })),
        Record::Consume(Box::new(super::Consume {
            exchange: id(number),
            at: Timestamp(1_795_257_000_700_000),
            approval: "apr_0123456789ABCDEF".into(),
            revision: 1,
            bind: [2; 32],
            authors: vec!["local:1000".into()],
            resends: 0,
        })),
    ]
}

/// ERASED came after those.
pub fn erased(exchanges: &[u8]) -> Record {
    Record::Erased(Box::new(Erased {
        at: Timestamp(1_795_257_002_000_000),
        author: "local:1000".into(),
        issuer: "https://issuer.example".into(),
        subject: "agent-7".into(),
        exchanges: exchanges.iter().map(|number| id(*number)).collect(),
    }))
}

/// A key of the log whose first key has seed `log`: its name comes from that one.
pub fn signing_key(log: u8, seed: u8) -> SigningKey {
    let pair = |seed: u8| Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let first: [u8; 32] = pair(log).public_key().as_ref().try_into().unwrap();
    SigningKey::new(&origin(&first, &[log; SALT_BYTES]), pair(seed)).unwrap()
}

/// The statement of the first key of that log.
pub fn first_statement(log: u8) -> String {
    KeyStatement::sign_first(&signing_key(log, log), [log; SALT_BYTES])
}

/// Writes segments in memory.
pub struct Log {
    pub segments: Vec<Vec<u8>>,
    pub position: Position,
    pub tree: Frontier,
    /// Its KEY records.
    pub keys: Vec<StatedKey>,
    salt: [u8; 16],
    first_sequence: u64,
}

impl Log {
    pub fn new() -> Log {
        let mut log = Log {
            segments: Vec::new(),
            position: Position::START,
            tree: Frontier::default(),
            keys: Vec::new(),
            salt: [0; 16],
            first_sequence: 1,
        };
        log.begin();
        log
    }

    fn begin(&mut self) {
        self.salt = [self.position.segment as u8; 16];
        self.first_sequence = self.position.sequence;
        let header = SegmentHeader {
            number: self.position.segment,
            created: Timestamp(4),
            first_sequence: self.first_sequence,
            previous: self.position.hash,
            salt: self.salt,
        };
        self.segments.push(header.to_bytes().to_vec());
    }

    pub fn batch(&mut self, records: &[Record]) {
        let segment = self.segments.last_mut().unwrap();
        let mut batch = Batch::new(self.position.sequence, self.position.hash, Vec::new());
        for record in records {
            batch.push(record).unwrap();
            self.tree.push(batch.leaf());
        }
        let durable_through = self.position.sequence - 1;
        let offset = segment.len() as u64;
        segment.extend_from_slice(batch.close(self.position.segment, offset, durable_through, &self.salt));
        self.position.sequence = batch.next_sequence();
        self.position.hash = batch.hash();
    }

    pub fn seal(&mut self, reason: SealReason) {
        let segment = self.segments.last_mut().unwrap();
        let seal = Seal {
            segment: self.position.segment,
            offset: segment.len() as u64,
            last_sequence: self.position.sequence - 1,
            records: self.position.sequence - self.first_sequence,
            at: Timestamp(9),
            reason,
            hash: self.position.hash,
        };
        segment.extend_from_slice(&seal.to_bytes(&self.salt));
        self.position.segment += 1;
        if reason != SealReason::Closed {
            self.begin();
        }
    }

    /// A CHECKPOINT of everything so far, signed by the key of log 1 with that seed.
    pub fn checkpoint(&self, seed: u8) -> Record {
        let key = signing_key(1, seed);
        let origin = key.public().name().to_owned();
        let note = Checkpoint { origin, size: self.tree.size(), root: self.tree.root() }.sign(&key);
        Record::Checkpoint(Signed { at: Timestamp(10), note: note.into() })
    }

    /// Records the key with that seed; the key before it has the seed below.
    fn key(&mut self, seed: u8) {
        let statement = match seed {
            1 => first_statement(1),
            _ => KeyStatement::sign(seed.into(), &signing_key(1, seed), &signing_key(1, seed - 1)),
        };
        self.batch(&[Record::Key(Signed { at: Timestamp(10), note: statement.as_str().into() })]);
        self.keys.push(StatedKey { note: statement.into(), since: self.position.sequence - 1 });
    }

    /// STATE as a journal writes it that keeps a tree.
    fn state(&mut self, open: Vec<ExchangeId>) {
        let (tree, keys) = (Some(self.tree.clone()), self.keys.clone());
        self.batch(&[Record::State(State { at: Timestamp(5), open, tree, keys })]);
    }

    /// Three segments with every kind, signed by two keys, and checkpoints between them.
    pub fn signed() -> Log {
        let mut log = Log::new();
        let records = every_kind();
        log.state(vec![]);
        log.key(1);
        log.batch(&records[1..4]);
        let checkpoint = log.checkpoint(1);
        log.batch(&records[4..6]);
        log.batch(&[checkpoint]);
        log.seal(SealReason::Rotated);
        log.state(vec![id(1)]);
        log.batch(&records[6..8]);
        log.key(2);
        let checkpoint = log.checkpoint(2);
        log.batch(&[checkpoint, records[8].clone()]);
        log.seal(SealReason::Rotated);
        log.state(vec![id(2)]);
        log.batch(&records[9..]);
        log.batch(&[outcome(2)]);
        log.batch(&[log.checkpoint(2)]);
        log.seal(SealReason::Closed);
        log
    }

    /// Its newest CHECKPOINT.
    pub fn last_checkpoint(&self) -> Option<Record> {
        let frames = self.frames();
        let last = frames.iter().rev().find(|frame| frame.bytes[1] == Kind::Checkpoint as u8)?;
        payload::read(Kind::Checkpoint, &last.bytes[20..], None).ok()
    }

    /// The records of all its segments, one by one.
    pub fn frames(&self) -> Vec<OwnFrame> {
        let mut frames = Vec::new();
        for (index, segment) in self.segments.iter().enumerate() {
            let mut reader = SegmentReader::open(&segment[..], index as u64 + 1, None).unwrap();
            loop {
                match reader.next_item().unwrap() {
                    Item::Batch(_) => {}
                    Item::Frame(frame) => frames.push(OwnFrame {
                        leaf: frame.leaf,
                        bytes: frame.leaf_bytes(),
                        kept: frame.kept.map(<[u8]>::to_vec),
                    }),
                    Item::End(_) => break,
                }
            }
        }
        frames
    }

    /// Three segments with every kind, the last one closed.
    pub fn small() -> Log {
        let mut log = Log::new();
        let records = every_kind();
        log.batch(&records[..3]);
        log.batch(&records[3..6]);
        log.seal(SealReason::Rotated);
        log.batch(&[Record::State(State { at: Timestamp(5), open: vec![id(1)], ..State::default() })]);
        log.batch(&records[6..8]);
        log.batch(&records[8..9]);
        log.seal(SealReason::Recovered);
        log.batch(&records[9..]);
        log.batch(&[outcome(2)]);
        log.seal(SealReason::Closed);
        log
    }
}

/// A record, taken out of its log.
pub struct OwnFrame {
    pub leaf: Hash,
    pub bytes: Vec<u8>,
    pub kept: Option<Vec<u8>>,
}

/// Verifies segments in memory.
pub fn verify(segments: &[Vec<u8>]) -> Result<Report, Damage> {
    verify_against(segments, &Trust::default())
}

/// Verifies segments in memory against what is known elsewhere.
pub fn verify_against(segments: &[Vec<u8>], trust: &Trust) -> Result<Report, Damage> {
    let mut verifier = Verifier::with_trust(trust).unwrap();
    for (index, segment) in segments.iter().enumerate() {
        match verifier.segment(index as u64 + 1, &segment[..], |_| {}) {
            Ok(()) => {}
            Err(ReadError::Damage(damage)) => return Err(damage),
            Err(ReadError::Io { source, .. }) => panic!("{source}"),
        }
    }
    verifier.finish()
}

use super::{
    Approval, Consume, ExchangeId, Grant,
    facts::Removed,
    merkle::Frontier,
    signed::{Signed, StatedKey},
};
use crate::{
    buffer::Segments,
    http::{Headers, Method},
    limits::RECEIVE_BYTES_MIN,
    time::Timestamp,
};
use std::{borrow::Cow, net::SocketAddr, sync::Arc};

/// One entry of the audit log. Plain owned fields: cheap to build on a shard, encoded on the journal's
/// thread.
#[derive(Clone, Debug)]
pub enum Record {
    /// A configuration came into force.
    Config(Config),
    /// An exchange was admitted and is about to be forwarded.
    Intent(Box<Intent>),
    /// Body bytes of an exchange.
    Content(Box<Content>),
    /// An admitted exchange ended.
    Outcome(Box<Outcome>),
    /// An exchange was refused before it was admitted.
    Refusal(Box<Refusal>),
    /// The journal was not closed cleanly before this start.
    Recovery(Recovery),
    /// What was live when this segment began.
    State(State),
    /// Something happened to a request that waits for people.
    Approval(Box<Approval>),
    /// An approval is used for one request.
    Consume(Box<Consume>),
    /// A standing permission was opened or ended.
    Grant(Box<Grant>),
    /// Somebody changed something through the admin interface.
    Admin(Access),
    /// Somebody read a recording.
    Read(Access),
    /// What was kept of a subject's bodies is taken out of the log.
    Erased(Box<Erased>),
    /// The tree's head was signed.
    Checkpoint(Signed),
    /// A key signs from here on.
    Key(Signed),
}

/// When a record is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// After `fdatasync`: survives a power cut.
    Durable,
    /// After the write: survives the death of the process; synced within 10 ms.
    Written,
}

/// Kind of a record as its byte in the log. Numbers are never used again for something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    Config = 1,
    Intent = 2,
    Content = 3,
    Outcome = 4,
    Refusal = 5,
    /// A held request and what people decided about it.
    Approval = 6,
    /// An approval is used.
    Consume = 7,
    /// A standing permission.
    Grant = 8,
    /// Somebody changed something through the admin interface.
    Admin = 9,
    /// Somebody read a recording.
    Read = 10,
    State = 11,
    Recovery = 12,
    /// A signed tree head.
    Checkpoint = 13,
    /// Bodies were erased.
    Erased = 14,
    /// The key that signs from here on.
    Key = 15,
}

/// CONFIG: the full text in force, without secrets, and who brought it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub at: Timestamp,
    /// Counts the configurations of this process, from 1; decisions cite it.
    pub generation: u64,
    /// `local:UID`, a subject, or the signal that caused the reload.
    pub author: Arc<str>,
    /// The text as loaded. Whoever submits it has removed every secret.
    pub text: Arc<str>,
}

/// Who calls, as proven by a verified token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    pub issuer: Arc<str>,
    pub subject: Arc<str>,
    /// The human behind, where the issuer says so.
    pub owner: Option<Arc<str>>,
    pub groups: Vec<Arc<str>>,
    pub purpose: Option<Arc<str>>,
    /// The token's `jti`.
    pub token: Option<Arc<str>>,
    /// HMAC of the token under a key of this gateway; never the token nor a plain digest of it.
    pub token_id: Option<[u8; 16]>,
}

/// The request's head and where it came in. What was not known yet is empty.
#[derive(Clone, Debug, Default)]
pub struct Head {
    pub listener: Arc<str>,
    pub peer: Option<SocketAddr>,
    pub route: Option<Arc<str>>,
    pub upstream: Option<Arc<str>>,
    pub method: Option<Method>,
    pub authority: String,
    /// Canonical path and query.
    pub target: String,
    /// The caller's fields. Whoever submits them has removed every credential.
    pub headers: Headers,
    /// How the caller's connection was protected; `None` where its writer did not say.
    pub scheme: Option<Scheme>,
}

/// The scheme of the URL that the caller used (RFC 9110 section 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Scheme {
    Http = 1,
    Https = 2,
}

impl Scheme {
    /// As URLs write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

/// What policy said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Action {
    Allow = 1,
    #[default]
    Block = 2,
    Approve = 3,
}

/// The decision, and everything that led to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    pub action: Action,
    /// The policy that decided.
    pub policy: Option<Arc<str>>,
    /// Where it stands: `ringward.toml:58`.
    pub place: Option<Arc<str>>,
    pub reason: Option<Arc<str>>,
    /// Policies that would have decided if they were not on trial.
    pub dry_runs: Vec<DryRun>,
    /// Every predicate that was evaluated, in order.
    pub predicates: Vec<Predicate>,
    /// How many blocks of the conversation, from the first one, were judged in former turns and not again.
    pub passed: u64,
    /// Blocks that were taken out because a policy had blocked them in a former turn.
    pub removed: Vec<Removed>,
}

/// What a policy on trial would have done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DryRun {
    pub policy: Arc<str>,
    pub action: Action,
}

/// One evaluated condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Predicate {
    pub policy: Arc<str>,
    pub name: Arc<str>,
    pub held: bool,
}

/// INTENT: an exchange is about to go upstream.
#[derive(Clone, Debug)]
pub struct Intent {
    pub id: ExchangeId,
    pub at: Timestamp,
    /// Generation of the configuration it runs on.
    pub generation: u64,
    pub session: Arc<str>,
    pub subject: Option<Arc<Subject>>,
    pub head: Head,
    pub decision: Decision,
    /// Names of the secrets that will be injected, never their values.
    pub secrets: Vec<Arc<str>>,
    pub body: IntentBody,
}

/// What is known of the request body at INTENT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IntentBody {
    /// It follows, or there is none.
    #[default]
    Streamed,
    /// It was read whole: all of its CONTENT was submitted before this INTENT. The journal puts the
    /// commitment in here and turns this into `Committed`.
    Buffered,
    /// Commitment to the whole body.
    Committed(Commitment),
}

/// A hiding and binding commitment to a body; `FORMAT.md` says how it is made. The nonce that opens it is
/// kept apart from the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commitment(pub [u8; 32]);

/// Which way a body goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Direction {
    Request = 1,
    Response = 2,
}

/// A span of a body that a mask replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Offset in the body as it was received, in bytes.
    pub offset: u64,
    /// Bytes replaced.
    pub len: u64,
    /// Index of the mask in the configuration of the exchange, or [`Edit::REMOVED`].
    pub rule: u16,
}

impl Edit {
    /// Stands for a mask where a policy had a block of a conversation taken out: [`Decision::removed`] says
    /// which.
    pub const REMOVED: u16 = u16::MAX;
}

/// CONTENT: body bytes in the order in which they passed. The journal cuts what is longer than
/// [`crate::limits::CONTENT_BYTES_MAX`] into several records.
#[derive(Clone, Debug)]
pub struct Content {
    pub id: ExchangeId,
    pub direction: Direction,
    /// Offset of `bytes` in the body as the caller sees it.
    pub offset: u64,
    /// Microseconds since the exchange began.
    pub elapsed_us: u64,
    /// The bytes as the caller sees them: what it sent, or what it is sent (masked). A model's thinking goes
    /// on as it is, and is masked here.
    pub bytes: Segments,
    /// What went to or came from upstream for the same span, where that differs: committed, never stored.
    pub upstream: Option<Segments>,
    pub edits: Vec<Edit>,
    /// Whether `bytes` are stored; otherwise they are only committed.
    pub keep: bool,
    /// Filled in by the journal; `None` when submitted.
    pub leaves: Option<Leaves>,
}

/// Commitments to one CONTENT record's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaves {
    /// Length of the caller's view, in bytes.
    pub len: u64,
    /// `SHA-256(salt ‖ bytes)` of the caller's view.
    pub leaf: [u8; 32],
    /// Length and leaf of the upstream's view, where it differs.
    pub upstream: Option<(u64, [u8; 32])>,
    /// Salt of `leaf`, stored beside kept bytes; zero when they are not kept.
    pub salt: [u8; 32],
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Cause {
    /// The whole answer was sent.
    Complete = 1,
    /// The caller went away.
    ClientGone = 2,
    /// The upstream went away or could not be reached.
    UpstreamGone = 3,
    Timeout = 4,
    /// The gateway died meanwhile; written by recovery.
    Lost = 5,
    /// The gateway refused after INTENT: a secret or a lease was not there, an approval was denied.
    Refused = 6,
    /// The caller broke the protocol after its head.
    ClientFault = 7,
    /// The upstream broke the protocol.
    UpstreamFault = 8,
    /// The answer could not be masked.
    Unmaskable = 9,
    /// CONTENT could not be recorded.
    Unrecorded = 10,
    /// Cut by a drain that timed out, or by a freeze.
    Cut = 11,
    /// A fault of the gateway itself.
    Internal = 12,
}

/// Where in its trip an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Place {
    RequestBody = 1,
    Hold = 2,
    Secret = 3,
    Connect = 4,
    Send = 5,
    FirstByte = 6,
    ResponseHead = 7,
    ResponseBody = 8,
    End = 9,
    Unknown = 10,
}

/// Body bytes that came in and that went out, in bytes; they differ where masks changed the body. What went
/// out is counted as CONTENT has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lengths {
    pub received: u64,
    pub sent: u64,
}

/// Commitments to both bodies as the upstream had them; `None` where there was no CONTENT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Commitments {
    pub request: Option<Commitment>,
    pub response: Option<Commitment>,
}

/// A just-in-time credential of the exchange: its name, never its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseFacts {
    pub source: Arc<str>,
    pub id: Arc<str>,
    pub expires: Timestamp,
}

/// Matches of one mask in one exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskHits {
    pub mask: Arc<str>,
    pub count: u64,
}

/// Microseconds of each stage; zero where it did not happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stages {
    pub head_us: u64,
    pub body_us: u64,
    pub record_us: u64,
    pub hold_us: u64,
    pub connect_us: u64,
    pub first_byte_us: u64,
    pub response_us: u64,
    pub total_us: u64,
}

/// OUTCOME: how an admitted exchange ended. An INTENT has exactly one.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub id: ExchangeId,
    pub at: Timestamp,
    /// Status that the caller got; `None` if it got none.
    pub status: Option<u16>,
    pub cause: Cause,
    pub place: Place,
    /// A code of the reply table, or what the failing side said in one word.
    pub reason: Option<Cow<'static, str>>,
    pub request: Lengths,
    pub response: Lengths,
    /// Filled in by the journal; leave it empty.
    pub commitments: Commitments,
    pub lease: Option<LeaseFacts>,
    pub masks: Vec<MaskHits>,
    pub stages: Stages,
    /// The fields that the caller got from upstream. Whoever submits them has redacted every credential, and
    /// left out what is too much.
    pub headers: Headers,
}

/// REFUSAL: an exchange that was not admitted. It has no INTENT and no OUTCOME.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub id: ExchangeId,
    pub at: Timestamp,
    pub generation: u64,
    pub session: Option<Arc<str>>,
    pub subject: Option<Arc<Subject>>,
    pub head: Head,
    /// Where policy refused.
    pub decision: Option<Decision>,
    /// Status of the reply.
    pub status: u16,
    /// Code of the reply table.
    pub code: Cow<'static, str>,
    pub reason: Cow<'static, str>,
    /// Filled in by the journal from CONTENT that was submitted before.
    pub body: Option<Commitment>,
    /// Of a flood: the refusals before it that have no record of their own.
    pub folded: Option<Folded>,
}

/// Further refusals of the same caller with the same code, which one REFUSAL stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folded {
    /// How many, without the one that is recorded; never zero.
    pub more: u64,
    /// When the first of them was.
    pub since: Timestamp,
}

/// RECOVERY: what a start found after an unclean end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    pub at: Timestamp,
    /// The segment that had no seal.
    pub segment: u64,
    /// Last sequence that was kept; zero for none.
    pub kept_through: u64,
    /// First and last sequence that were cut, as far as their batches could still be read.
    pub lost: Option<(u64, u64)>,
    /// Bytes that were cut.
    pub lost_bytes: u64,
    /// Exchanges that were open; each gets `OUTCOME cause=lost`.
    pub open: u64,
}

/// STATE: what a start needs from before this segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub at: Timestamp,
    /// Exchanges with INTENT but no OUTCOME, sorted.
    pub open: Vec<ExchangeId>,
    /// The tree of all records before this one; `None` where its writer kept none.
    pub tree: Option<Frontier>,
    /// All keys of the log before this record, in their order.
    pub keys: Vec<StatedKey>,
}

/// ADMIN and READ: what an operator did, and to what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    pub at: Timestamp,
    /// `local:UID`, or the subject that logged in.
    pub author: Arc<str>,
    /// What was done, in one word or two: `show`, `export jsonl`.
    pub action: Arc<str>,
    /// To what: a session, a request, a span of time; empty where the action says it all.
    pub object: Arc<str>,
}

/// ERASED: whose bodies were taken out of the log, and of which exchanges. Their records stay, with zeros
/// where salt and bytes were; so do their commitments, whose nonces are gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erased {
    pub at: Timestamp,
    /// `local:UID`, or the subject that logged in.
    pub author: Arc<str>,
    /// Empty: whoever issued the token.
    pub issuer: Arc<str>,
    pub subject: Arc<str>,
    /// Sorted; more than a record holds are named in several.
    pub exchanges: Vec<ExchangeId>,
}

impl Record {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Record::Config(_) => Kind::Config,
            Record::Intent(_) => Kind::Intent,
            Record::Content(_) => Kind::Content,
            Record::Outcome(_) => Kind::Outcome,
            Record::Refusal(_) => Kind::Refusal,
            Record::Recovery(_) => Kind::Recovery,
            Record::State(_) => Kind::State,
            Record::Approval(_) => Kind::Approval,
            Record::Consume(_) => Kind::Consume,
            Record::Grant(_) => Kind::Grant,
            Record::Admin(_) => Kind::Admin,
            Record::Read(_) => Kind::Read,
            Record::Erased(_) => Kind::Erased,
            Record::Checkpoint(_) => Kind::Checkpoint,
            Record::Key(_) => Kind::Key,
        }
    }

    /// The exchange that it belongs to.
    pub fn exchange(&self) -> Option<ExchangeId> {
        match self {
            Record::Intent(intent) => Some(intent.id),
            Record::Content(content) => Some(content.id),
            Record::Outcome(outcome) => Some(outcome.id),
            Record::Refusal(refusal) => Some(refusal.id),
            Record::Approval(approval) => Some(approval.exchange),
            Record::Consume(consume) => Some(consume.exchange),
            _ => None,
        }
    }

    /// Memory of the body bytes that it keeps alive, for back-pressure: with the entries of their slices, and
    /// at least the smallest buffer that they can lie in.
    pub fn body_bytes(&self) -> usize {
        match self {
            Record::Content(content) => {
                let upstream = content.upstream.as_ref().map_or(0, Segments::footprint);
                (content.bytes.footprint() + upstream).max(RECEIVE_BYTES_MIN)
            }
            _ => 0,
        }
    }
}

impl Outcome {
    /// The outcome of an exchange that was open when the gateway died.
    pub fn lost(id: ExchangeId, at: Timestamp) -> Outcome {
        Outcome {
            id,
            at,
            status: None,
            cause: Cause::Lost,
            place: Place::Unknown,
            reason: None,
            request: Lengths::default(),
            response: Lengths::default(),
            commitments: Commitments::default(),
            lease: None,
            masks: Vec::new(),
            stages: Stages::default(),
            headers: Headers::new(),
        }
    }
}

impl Kind {
    const ALL: [Kind; 15] = [
        Kind::Config,
        Kind::Intent,
        Kind::Content,
        Kind::Outcome,
        Kind::Refusal,
        Kind::Approval,
        Kind::Consume,
        Kind::Grant,
        Kind::Admin,
        Kind::Read,
        Kind::State,
        Kind::Recovery,
        Kind::Checkpoint,
        Kind::Erased,
        Kind::Key,
    ];

    /// The kind of a byte in the log; `None` for a number that was never given.
    pub fn from_byte(byte: u8) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }

    /// `INTENT`, as the documents write it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Config => "CONFIG",
            Kind::Intent => "INTENT",
            Kind::Content => "CONTENT",
            Kind::Outcome => "OUTCOME",
            Kind::Refusal => "REFUSAL",
            Kind::Approval => "APPROVAL",
            Kind::Consume => "CONSUME",
            Kind::Grant => "GRANT",
            Kind::Admin => "ADMIN",
            Kind::Read => "READ",
            Kind::State => "STATE",
            Kind::Recovery => "RECOVERY",
            Kind::Checkpoint => "CHECKPOINT",
            Kind::Erased => "ERASED",
            Kind::Key => "KEY",
        }
    }
}

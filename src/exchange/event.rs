//! The only hand-over between the relay, which moves bytes, and the exchange, which decides: two closed
//! enums.

use crate::{
    approval::{Question, Settlement, Verdict},
    audit::{Commit, ExchangeId, Record},
    buffer::Segments,
    http::{RequestHead, ResponseHead},
    identity::Issuer,
    metrics::Limit,
    protocol::Reply,
    secrets::{Lease, LeaseSource, SecretValue},
};
use std::{collections::VecDeque, net::SocketAddr, sync::Arc};

/// Names one question of an exchange; the answer carries it back.
pub type Ticket = u32;

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// A request head arrived, and perhaps some of its body with it.
    Request(Arrival),
    /// More of the request's body; `end` with the last of it.
    RequestBody { data: Segments, end: bool },
    /// Upstream sent an informational response (1xx).
    Inform(Box<ResponseHead>),
    /// Upstream's final response head arrived, and perhaps some of its body with it.
    Response { head: Box<ResponseHead>, data: Segments, end: bool },
    /// More of the response's body; `end` with the last of it.
    ResponseBody { data: Segments, end: bool },
    /// The answer to a question.
    Answer(Ticket, Answer),
    /// The reply left whole, whoever made it.
    Delivered,
    /// One side is gone, or cannot be used.
    Gone(Side, Cause),
    /// Operators have stopped some callers; this one may be among them.
    Stopped,
}

/// A request as it arrived.
#[derive(Debug)]
pub struct Arrival {
    pub head: Box<RequestHead>,
    /// Body bytes that arrived together with the head.
    pub data: Segments,
    /// Whether the body is complete with them.
    pub end: bool,
}

/// Where a request came from.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Name of the exchange: time-ordered and random, made by the shard.
    pub id: ExchangeId,
    /// Index of the listener in the plan.
    pub listener: usize,
    /// Where it calls from: the peer of the connection, or the one that a trusted proxy named.
    pub peer: SocketAddr,
    /// The proxy that named `peer`; `None` where that connected itself.
    pub via: Option<SocketAddr>,
    /// Our end of the connection.
    pub local: SocketAddr,
    /// The address of `peer` as text, without a port.
    pub address: Arc<str>,
    /// Names the connection: the session of callers that name none.
    pub connection: Arc<str>,
    /// Whether the caller's side is encrypted.
    pub secure: bool,
    /// The name that the caller's TLS handshake asked for (RFC 6066 section 3), in lower case.
    pub server_name: Option<Arc<str>>,
}

/// Which peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Upstream,
}

impl Cause {
    /// One word for records.
    pub fn word(&self) -> &'static str {
        match self {
            Cause::Unreachable(_) => "unreachable",
            Cause::Tls(_) => "tls",
            Cause::Busy => "busy",
            Cause::Closed => "closed",
            Cause::Timeout(limit) | Cause::Overloaded(limit) => limit.as_str(),
            Cause::Malformed { reason, .. } => reason,
            Cause::Shutdown => "shutdown",
            Cause::Unrecorded => "unrecorded",
            Cause::Internal => "internal",
        }
    }
}

/// Why a side cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No connection could be made.
    Unreachable(Reason),
    /// The upstream's certificate or handshake was refused.
    Tls(Reason),
    /// The upstream has as many connections as it may have, and too many requests wait for one.
    Busy,
    /// The peer closed or reset the connection in the middle.
    Closed,
    /// The peer was silent for too long, or too slow: which bound it met.
    Timeout(Limit),
    /// There is no memory for what the peer sends: which bound was met.
    Overloaded(Limit),
    /// The peer broke the protocol: a reason code, and the status that the sender of a request gets.
    Malformed { reason: &'static str, status: u16 },
    /// The gateway itself stops: a drain ran out of time.
    Shutdown,
    /// The journal took a record of the body neither at once nor later.
    Unrecorded,
    /// The gateway is at fault.
    Internal,
}

/// Why no connection could be made, in two voices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reason {
    /// For callers, as the end of a sentence: names no host and no address of the inside.
    pub said: String,
    /// For records and logs; empty where there is no more to say.
    pub detail: String,
}

impl Reason {
    /// Both voices.
    pub fn new(said: impl Into<String>, detail: impl Into<String>) -> Reason {
        Reason { said: said.into(), detail: detail.into() }
    }

    /// Nothing that callers may not know.
    pub fn said(said: impl Into<String>) -> Reason {
        Reason::new(said, "")
    }
}

/// Answers to [`Ask`].
#[derive(Debug)]
pub enum Answer {
    /// The journal's sequence number, or that it could not record.
    Recorded(Result<u64, Unavailable>),
    /// Fresh keys were fetched, or fetching is not possible now; either way the token is looked at again.
    Keys,
    /// A lease, or why there is none. The text holds no secret.
    Lease(Result<Lease, String>),
    /// What people say of the request, with its body unless it is to be sent again.
    Verdict(Verdict, Segments),
}

/// The audit journal does not record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// The record was turned away: it will never be in the log.
    TurnedAway,
    /// It was taken, but not acknowledged: it may be in the log.
    Failed,
    /// The caller has as many records on their way as it may have: the record was turned away.
    Backpressure,
}

/// What to do next.
#[derive(Debug)]
pub enum Step {
    /// Ask, then hand the answer back; nothing else happens until then.
    Ask(Ticket, Ask),
    /// Tell the caller to send its body (`100 Continue`).
    Continue,
    /// Read the request's body and hand it over, before anything goes upstream.
    ReadBody,
    /// Send the request upstream; further body bytes follow as `ForwardBody` unless `end`.
    Forward(Box<Forward>),
    /// Send body bytes upstream; `end` with the last of them.
    ForwardBody { data: Segments, end: bool },
    /// Answer the caller: this reply is the gateway's own.
    Reply(Box<Reply>),
    /// Pass an informational response on.
    Inform(Box<ResponseHead>),
    /// Send the response head and the first bytes to the caller.
    Respond { head: Box<ResponseHead>, data: Segments, end: bool },
    /// Send body bytes to the caller; `end` with the last of them.
    Send { data: Segments, end: bool },
    /// Hand a record to the journal without waiting for it.
    Note(Record),
    /// The last record and the log line of this exchange.
    Finish(Option<Record>, Box<super::Summary>),
    /// A lease is no longer needed: revoke it.
    Release(Lease),
    /// Tell the approval that let it through how it ended.
    Settle(Settlement),
    /// Cut a side off so that it sees an incomplete message, never a clean end.
    Abort(Side),
}

/// Questions that are answered outside of the shard's own thread.
#[derive(Debug)]
pub enum Ask {
    /// Record these, in this order; the answer tells of the last one, and of a failure of any.
    Record(Vec<Record>, Commit),
    /// Fetch the issuer's keys, at most as often as its rules allow.
    Keys(Arc<Issuer>),
    /// Get a short-lived credential for this exchange.
    Lease { source: Arc<LeaseSource>, subject_token: Option<SecretValue> },
    /// Have people decide, but answer the caller within its slice.
    Verdict(Box<Question>),
}

/// A request that may go upstream.
#[derive(Debug)]
pub struct Forward {
    /// Index of the upstream in the plan.
    pub upstream: usize,
    /// What upstream will see, without credentials.
    pub head: Box<RequestHead>,
    /// Credential headers. They exist from here to the socket and nowhere else.
    pub injected: Vec<(Box<str>, SecretValue)>,
    pub data: Segments,
    pub end: bool,
    /// Whether a human approved this very request: it is never sent twice.
    pub approved: bool,
}

/// A small queue of steps, drained before the next event.
///
/// Most events give one step: it lies in place, so that nothing is allocated for it.
#[derive(Debug, Default)]
pub struct Steps {
    first: Option<Step>,
    rest: VecDeque<Step>,
}

impl Steps {
    /// Appends a step.
    pub fn push(&mut self, step: Step) {
        if self.is_empty() {
            self.first = Some(step);
        } else {
            self.rest.push_back(step);
        }
    }

    /// Takes the next step.
    pub fn next_step(&mut self) -> Option<Step> {
        self.first.take().or_else(|| self.rest.pop_front())
    }

    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.first.is_none() && self.rest.is_empty()
    }

    /// Forgets what is meant for the client, which is gone. Records and leases are not.
    pub fn forget_client(&mut self) {
        let is_kept = |step: &Step| match step {
            Step::Note(_) | Step::Finish(..) | Step::Release(_) => true,
            Step::Settle(_) | Step::Abort(_) => true,
            Step::Ask(..) | Step::Continue | Step::ReadBody | Step::Forward(_) => false,
            Step::ForwardBody { .. } | Step::Reply(_) | Step::Inform(_) => false,
            Step::Respond { .. } | Step::Send { .. } => false,
        };
        self.first = self.first.take().filter(is_kept);
        self.rest.retain(is_kept);
    }
}

//! **The heart**: one request and its response as a state machine without sockets, clocks or threads.
//!
//! The relay of a shard feeds [`Event`]s and carries out the [`Step`]s they give; every decision is taken
//! here: who calls, what the policy says, what is recorded before a credential is touched, what is masked.
//! It does not parse HTTP text (`http`), hold connections (`shard`) or write records (`journal`).
//!
//! ```text
//!            Request                    Answer(Keys)
//!  Fresh ──────────────► identify ◄──────────────────── Keys
//!    │ malformed             │ principal
//!    │                    route's policies ── needs the body ──► Body ── RequestBody… ──┐
//!    │       refused         │ allow    ◄────────────────────────────────────────────────┘
//!    │  ◄────────────────────┤ approve ──► Held ── Answer(Verdict) ──┐ (with its whole body)
//!    │                       │ ◄─────────────────────────────────────┘
//!    ▼  ◄────────────────────┤
//!  Replying                Intent ── Answer(Recorded) ──► Lease ── Answer(Lease) ──► Open
//!    ▲  ◄────────────────────┴─ journal or secret unavailable ─────┘                  │ bodies, both ways
//!    │  ◄──────── upstream failed before its head came ───────────────────────────────┤
//!    │ Delivered                                                                      │ Delivered | Gone
//!    └─────────────────────────────────────► Ended ◄──────────────────────────────────┘
//! ```
//!
//! Start reading at [`Exchange::on`], then `admit.rs`, `forward.rs`, `request.rs`, `response.rs`.

mod account;
mod admit;
mod conversation;
mod event;
mod excerpt;
mod flow;
pub mod fold;
mod forward;
pub mod handover;
mod hold;
pub mod plan;
mod received;
mod refuse;
pub mod replay;
mod request;
mod response;
pub mod share;
mod summary;

pub use account::Subjects;
pub use event::{
    Answer, Arrival, Ask, Caller, Cause, Event, Forward, Reason, Side, Step, Steps, Ticket, Unavailable,
};
pub use summary::{Summary, Times};

/// Tokens that a shard has verified: it keeps them for its exchanges and never looks inside.
pub use crate::identity::TokenCache;

use crate::{
    approval::{Settlement, Verdict},
    buffer::Budget,
    http::{Headers, Method},
    identity::Principal,
    metrics::Limit,
    policy::{Decision, Needs},
    protocol::ClientHint,
    secrets::{Echoes, Lease, SecretValue},
    time::Now,
};
use flow::Flow;
use plan::{Plan, Route, Upstream};
use request::Gathered;
use std::sync::Arc;

/// What a shard lends to an exchange for the time of one event.
pub struct Surroundings<'a> {
    pub now: Now,
    /// Tokens that this shard has verified.
    pub tokens: &'a mut TokenCache,
    /// What the audit log calls their holders.
    pub subjects: &'a mut Subjects,
    /// The memory of this shard.
    pub memory: &'a Budget,
}

/// One request and its response. Created when a head arrives, fed until it is [`Exchange::has_ended`].
pub struct Exchange {
    plan: Arc<Plan>,
    caller: Caller,
    started: Now,
    stage: Stage,
    ticket: Ticket,
    asked_for_keys: bool,
    facts: Facts,
    route: Option<Arc<Route>>,
    principal: Option<Arc<Principal>>,
    /// What the audit log calls it, where that is known already.
    subject: Option<Arc<crate::audit::Subject>>,
    decision: Option<Decision>,
    /// What was said, and what is known of it; boxed: most exchanges have none.
    said: Option<Box<conversation::Said>>,
    /// A request from the record: nothing is remembered of it, and this was known then.
    then: Option<conversation::Then>,
    /// How the policy must read the body.
    needs: Needs,
    request: Flow,
    response: Flow,
    /// A body that the policy waits for, joined: its pieces would hold on to whole buffers.
    gathered: Gathered,
    /// Request body bytes whose record is on its way to the journal.
    unrecorded: Option<(crate::buffer::Segments, bool)>,
    /// A whole request that a policy refused for its body: the body is recorded before the REFUSAL.
    refused: Option<Box<Arrival>>,
    /// Whether the response is a stream of server-sent events.
    is_event_stream: bool,
    lease: Option<Lease>,
    /// What upstream was given and may not come back.
    echoes: Echoes,
    /// The caller's token, kept only on routes whose upstream exchanges it (RFC 8693).
    subject_token: Option<SecretValue>,
    /// Whether an approval was used that is to learn how this ends, and whether it went upstream.
    settles: bool,
    was_forwarded: bool,
    ending: Ending,
}

/// How far the exchange is; see the diagram of this module.
enum Stage {
    Fresh,
    Keys(Arrival),
    Body(Arrival),
    /// People decide about it; its body is with them.
    Held(Arrival),
    Intent(Box<Forward>),
    Lease(Box<Forward>),
    Open,
    Replying,
    Ended,
}

/// What records, log lines and replies say of the request, kept when its head has moved on.
#[derive(Default)]
struct Facts {
    method: Option<Method>,
    /// As they came, for a record; boxed: without one there are none.
    headers: Option<Box<Headers>>,
    /// Of the response, as they will be recorded.
    response_headers: Option<Box<Headers>>,
    authority: String,
    target: String,
    session: Arc<str>,
    /// Whether the client named the session itself.
    is_session_claimed: bool,
    client: ClientHint,
    /// Id of an MCP tool call: its refusal is a result.
    rpc_id: Option<Arc<str>>,
    /// The approval that it waits for, or was let through by.
    approval: Option<Arc<str>>,
}

/// How the exchange ends, as far as it is known.
#[derive(Default)]
struct Ending {
    /// Status that the caller got.
    status: Option<u16>,
    /// Whether the INTENT is recorded: then an OUTCOME is owed.
    intent: bool,
    /// Whether the response head went to the caller.
    responded: bool,
    /// The bound that it had to refuse for.
    limit: Option<Limit>,
    /// The refusal that the gateway answered with.
    refusal: Option<refuse::Refused>,
    cause: Option<(Side, Cause)>,
    /// Why the token was refused.
    token_failure: Option<&'static str>,
    audit_sequence: Option<u64>,
    /// The last record was made.
    finished: bool,
}

impl Exchange {
    /// An exchange of `caller`'s connection that began at `now`, to run on `plan`.
    #[inline]
    pub fn new(plan: Arc<Plan>, caller: Caller, now: Now) -> Exchange {
        // A caller that names no session, or nothing at all, has that of its connection.
        let facts = Facts { session: caller.connection.clone(), ..Facts::default() };
        Exchange {
            plan,
            caller,
            started: now,
            stage: Stage::Fresh,
            ticket: 0,
            asked_for_keys: false,
            facts,
            route: None,
            principal: None,
            subject: None,
            decision: None,
            said: None,
            then: None,
            needs: Needs::default(),
            request: Flow::default(),
            response: Flow::default(),
            gathered: Gathered::default(),
            unrecorded: None,
            refused: None,
            is_event_stream: false,
            lease: None,
            echoes: Echoes::new(),
            subject_token: None,
            settles: false,
            was_forwarded: false,
            ending: Ending::default(),
        }
    }

    /// Takes one event in and says what to do. All steps are carried out before the next event, but for the
    /// two directions of an open exchange, which go on independently of each other.
    pub fn on(&mut self, around: &mut Surroundings<'_>, event: Event, steps: &mut Steps) {
        match event {
            Event::Request(arrival) => self.admit(around, arrival, steps),
            Event::RequestBody { data, end } => self.request_body(around, data, end, steps),
            Event::Inform(head) => self.inform(head, steps),
            Event::Response { head, data, end } => self.respond(around.now, head, data, end, steps),
            Event::ResponseBody { data, end } => self.response_body(around.now, data, end, steps),
            Event::Answer(ticket, answer) => self.answer(around, ticket, answer, steps),
            Event::Delivered => self.finish(around.now, steps),
            Event::Gone(side, cause) => self.gone(around.now, side, cause, steps),
            Event::Stopped => drop(self.stop(around.now, steps)),
        }
    }

    /// Whether everything is over: no further event has an effect.
    pub fn has_ended(&self) -> bool {
        self.ending.finished
    }

    /// Whether the exchange still wants the request's body.
    pub fn wants_body(&self) -> bool {
        matches!(self.stage, Stage::Body(_) | Stage::Open) && !self.request.ended
    }

    /// Whether more comes of what this side has sent already: an event of its body without bytes brings it.
    pub fn is_decoding(&self, side: Side) -> bool {
        match side {
            Side::Client => self.request.is_decoding(),
            Side::Upstream => self.response.is_decoding(),
        }
    }

    /// Whether the request is HEAD.
    pub fn is_head(&self) -> bool {
        self.facts.method == Some(Method::Head)
    }

    /// The plan that this exchange keeps to its end.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Name of this exchange in records and replies.
    pub fn id(&self) -> crate::audit::ExchangeId {
        self.caller.id
    }

    /// Who is held to a share of the journal for this exchange: what is known by now.
    pub fn party(&self) -> share::Party {
        match &self.principal {
            Some(principal) => share::Party::Subject(principal.clone()),
            None => share::Party::address(self.caller.peer.ip()),
        }
    }

    fn answer(&mut self, around: &mut Surroundings<'_>, ticket: Ticket, answer: Answer, steps: &mut Steps) {
        if ticket != self.ticket && !matches!(answer, Answer::Recorded(_)) {
            return self.drop_answer(answer, steps);
        }
        match (std::mem::replace(&mut self.stage, Stage::Ended), answer) {
            (Stage::Keys(arrival), Answer::Keys) => {
                self.stage = Stage::Fresh;
                self.identify(around, arrival, steps);
            }
            (Stage::Held(arrival), Answer::Verdict(verdict, body)) => {
                self.judged(around.now, Arrival { data: body, ..arrival }, verdict, steps);
            }
            (Stage::Intent(forward), Answer::Recorded(result)) => self.recorded(forward, result, steps),
            (Stage::Lease(forward), Answer::Lease(result)) => self.leased(around.now, forward, result, steps),
            (Stage::Open, Answer::Recorded(result)) => {
                self.stage = Stage::Open;
                self.request_recorded(around.now, result, steps);
            }
            (stage, answer) => {
                self.stage = stage;
                self.drop_answer(answer, steps);
            }
        }
    }

    /// An answer that comes too late: a lease and an approval are given back, the rest is worth nothing.
    fn drop_answer(&mut self, answer: Answer, steps: &mut Steps) {
        match answer {
            Answer::Lease(Ok(lease)) => steps.push(Step::Release(lease)),
            Answer::Verdict(Verdict::Approved { .. }, _) => steps.push(Step::Settle(Settlement::Unsent)),
            _ => {}
        }
    }

    fn ask(&mut self, ask: Ask, steps: &mut Steps) {
        self.ticket += 1;
        steps.push(Step::Ask(self.ticket, ask));
    }

    fn upstream(&self) -> Option<&Arc<Upstream>> {
        self.route.as_ref().and_then(|route| self.plan.upstreams.get(route.upstream))
    }
}

#[cfg(test)]
mod tests;

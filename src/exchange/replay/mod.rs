//! A recorded exchange under another plan: what would have been decided, and what would have been masked.
//!
//! The request goes through the very states that a live one goes through ([`Exchange`]); only its caller is
//! taken from the record instead of from a token, and nothing is asked, forwarded or recorded. What the
//! record does not hold is [`Unknown`], never guessed. This does not read the log (`archive`) and words
//! nothing for people (`cli`). Start at [`Replayer::replay`]; `recorded` reads records, `masks` compares
//! spans.

mod masks;
mod recorded;

pub use masks::{Change, Span};
pub use recorded::Recorded;

use super::{
    Arrival, Caller, Exchange, Stage, Steps, Subjects, Surroundings, TokenCache,
    plan::{Plan, Route},
};
use crate::{
    audit::{self, Action},
    buffer::{Budget, Segments},
    http::{Framing, Method, RequestHead, Version, target},
    identity::{Issuer, Principal, TokenId},
    inspect::Rule,
    policy::Ruling,
    protocol::Code,
    time::{Now, Timestamp},
};
use recorded::Opening;
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// It goes upstream.
    Allow,
    /// A policy blocks it.
    Deny,
    /// A person is asked.
    Approve,
    /// It comes to no policy: no route takes it, or its body is one that the route cannot take.
    Refuse,
}

impl Answer {
    /// One word, as differences are written.
    pub fn as_str(self) -> &'static str {
        match self {
            Answer::Allow => "ALLOW",
            Answer::Deny => "DENY",
            Answer::Approve => "APPROVE",
            Answer::Refuse => "REFUSE",
        }
    }
}

/// An answer and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub answer: Answer,
    /// The policy that decided, or the code of a refusal, such as `no_route`.
    pub policy: Arc<str>,
    /// Where that policy stands, such as `ringward.toml:58`; empty for a refusal.
    pub place: Arc<str>,
    /// What a caller is told; empty where it is allowed.
    pub reason: Arc<str>,
}

impl Verdict {
    /// Whether both mean the same. A policy that only stands elsewhere, or says it in other words, is the
    /// same.
    pub fn agrees(&self, other: &Verdict) -> bool {
        (self.answer, &self.policy) == (other.answer, &other.policy)
    }

    fn of_record(decision: &audit::Decision) -> Verdict {
        let text = |value: &Option<Arc<str>>| value.clone().unwrap_or_default();
        Verdict {
            answer: match decision.action {
                Action::Allow => Answer::Allow,
                Action::Block => Answer::Deny,
                Action::Approve => Answer::Approve,
            },
            policy: text(&decision.policy),
            place: text(&decision.place),
            reason: text(&decision.reason),
        }
    }

    fn refusal(code: &str, reason: &str) -> Verdict {
        Verdict { answer: Answer::Refuse, policy: code.into(), place: "".into(), reason: reason.into() }
    }
}

/// Why nothing can be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unknown {
    /// It was refused before a decision was due: malformed, without a good token, too large.
    Undecided,
    /// It came to no issuer then, and the plan wants one now.
    Identity,
    /// A policy reads the body, and no byte of it was recorded.
    BodyNotRecorded,
    /// Only a part of the body was recorded.
    BodyTruncated,
    /// A policy or a mask reads bytes that a mask replaced before they were recorded.
    Masked,
    /// A policy reads a part of the head that was left out of the record: a credential in a query, a digest
    /// of a body that was masked.
    Redacted,
    /// The configuration that was in force is not in the log, so that its masks are not known.
    MasksNotRecorded,
    /// Masks cannot read the body: live it would have been refused or cut off.
    Unmaskable,
}

impl Unknown {
    /// One word, for machines.
    pub fn as_str(self) -> &'static str {
        match self {
            Unknown::Undecided => "undecided",
            Unknown::Identity => "identity",
            Unknown::BodyNotRecorded => "body_not_recorded",
            Unknown::BodyTruncated => "body_truncated",
            Unknown::Masked => "masked",
            Unknown::Redacted => "redacted",
            Unknown::MasksNotRecorded => "masks_not_recorded",
            Unknown::Unmaskable => "unmaskable",
        }
    }
}

/// What the plan makes of one exchange.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// What would be decided.
    pub verdict: Result<Verdict, Unknown>,
    /// Spans that only one of both configurations masks.
    pub spans: Vec<Span>,
    /// Why not all of them are known.
    pub spans_unknown: Option<Unknown>,
}

/// What the plan makes of a request that nobody made.
#[derive(Clone, Debug)]
pub struct Tried {
    /// The route that it takes.
    pub route: Option<Arc<str>>,
    /// What would be decided.
    pub verdict: Result<Verdict, Unknown>,
    /// What the policies say, with every condition; nothing where it comes to none.
    pub decision: Option<audit::Decision>,
}

/// Runs recorded exchanges on one plan.
pub struct Replayer {
    plan: Arc<Plan>,
    /// Whether each of the plan's listeners is encrypted.
    secure: Vec<bool>,
    tokens: TokenCache,
    memory: Budget,
}

impl Replayer {
    /// A replayer of `plan`; `secure` says of each of its listeners whether it is encrypted.
    pub fn new(plan: Arc<Plan>, secure: Vec<bool>) -> Replayer {
        // Nobody's token is looked at.
        let tokens = TokenCache::with_capacity(&[0; 32], 1);
        Replayer { plan, secure, tokens, memory: Budget::new(usize::MAX) }
    }

    /// Decides a recorded exchange again and finds what would be masked otherwise. `masks` are the masks of
    /// its route then, in their order; `None` where they are not known.
    pub fn replay(&mut self, recorded: &Recorded<'_>, masks: Option<&[Rule]>) -> Replayed {
        let (verdict, exchange) = match self.decide(recorded) {
            Ok((verdict, exchange)) => (verdict, Some(exchange)),
            Err(unknown) => (Err(unknown), None),
        };
        let passed = recorded.verdict.as_ref().is_some_and(|then| then.answer == Answer::Allow);
        let passes = verdict.as_ref().map_or(true, |now| now.answer == Answer::Allow);
        let (spans, spans_unknown) = match exchange {
            Some(exchange) if passed && passes => masks::compare(recorded, &exchange, masks),
            _ => (Vec::new(), None),
        };
        Replayed { verdict, spans, spans_unknown }
    }

    /// Decides a request that nobody made.
    pub fn try_out(&mut self, imagined: &Recorded<'_>) -> Tried {
        match self.decide(imagined) {
            Ok((verdict, exchange)) => Tried {
                route: exchange.route.as_ref().map(|route| route.name.clone()),
                decision: exchange.decision.as_ref().map(|decision| exchange.decision_record(decision)),
                verdict,
            },
            Err(unknown) => Tried { route: None, decision: None, verdict: Err(unknown) },
        }
    }

    /// Runs the request up to its decision, or as far as the record goes.
    fn decide(&mut self, recorded: &Recorded<'_>) -> Result<(Result<Verdict, Unknown>, Exchange), Unknown> {
        let (Some(method), Some(_)) = (&recorded.head.method, &recorded.verdict) else {
            return Err(Unknown::Undecided);
        };
        let mut exchange = Exchange::new(self.plan.clone(), self.caller(recorded), Now::default());
        let mut arrival = arrival(recorded, method);
        let mut steps = Steps::default();
        let (tokens, subjects) = (&mut self.tokens, &mut Subjects::default());
        let mut around = Surroundings { now: Now::default(), tokens, subjects, memory: &self.memory };
        exchange.request.ended = arrival.end;
        exchange.then = Some(recorded.then.clone());
        exchange.learn(&arrival.head);
        if !exchange.find_route(&arrival.head, &mut steps) {
            return Ok((conclusion(&exchange), exchange));
        }
        let route = exchange.route.clone().ok_or(Unknown::Undecided)?;
        match principal(recorded, &route) {
            Ok(principal) => exchange.principal = principal,
            Err(verdict) => return verdict.map(|verdict| (Ok(verdict), exchange)),
        }
        if recorded.lacks_what(&route.rules) {
            return Ok((Err(Unknown::Redacted), exchange));
        }
        match recorded.opening {
            // What INTENT holds are the fields as the policy saw them.
            Opening::Admitted => {
                exchange.suit(&mut arrival.head, &route);
                exchange.decide_head(&mut around, arrival, &route, &mut steps);
            }
            Opening::Refused => exchange.strip(&mut around, arrival, &route, &mut steps),
        }
        if matches!(exchange.stage, Stage::Body(_)) {
            let body = match &recorded.request.bytes {
                Ok(bytes) => bytes.clone(),
                Err(_) if !exchange.needs.decides => Segments::new(),
                Err(unknown) => return Ok((Err(*unknown), exchange)),
            };
            exchange.request_body(&mut around, body, true, &mut steps);
        }
        Ok((conclusion(&exchange), exchange))
    }

    fn caller(&self, recorded: &Recorded<'_>) -> Caller {
        let listeners = &self.plan.listeners;
        let listener = listeners.iter().position(|name| *name == recorded.head.listener);
        let peer = recorded.head.peer.unwrap_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        Caller {
            id: recorded.id,
            // A listener that the plan does not have any more takes what every listener takes.
            listener: listener.unwrap_or(listeners.len()),
            peer,
            via: None,
            local: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            address: peer.ip().to_canonical().to_string().into(),
            connection: recorded.session.into(),
            secure: listener.and_then(|index| self.secure.get(index)).is_some_and(|secure| *secure),
            server_name: None,
        }
    }
}

/// The request as it arrived, without its body unless there was none.
fn arrival(recorded: &Recorded<'_>, method: &Method) -> Arrival {
    let head = recorded.head;
    let query = target::query_of(&head.target);
    let path = match query {
        Some(query) => &head.target[..head.target.len() - query.len() - 1],
        None => &head.target,
    };
    let is_empty = matches!(&recorded.request.bytes, Ok(bytes) if bytes.is_empty());
    let head = RequestHead {
        method: method.clone(),
        path: path.to_owned(),
        query: query.map(str::to_owned),
        authority: head.authority.clone(),
        version: Version::Http11,
        headers: head.headers.clone(),
        framing: match recorded.request.len {
            _ if is_empty => Framing::None,
            Some(len) => Framing::Length(len),
            None => Framing::Chunked,
        },
        keep_alive: true,
        expect_continue: false,
    };
    Arrival { head: Box::new(head), data: Segments::new(), end: is_empty }
}

/// The caller that policies see on `route`; otherwise what is said of it without them.
fn principal(
    recorded: &Recorded<'_>,
    route: &Route,
) -> Result<Option<Arc<Principal>>, Result<Verdict, Unknown>> {
    if route.issuers.is_empty() {
        return Ok(None);
    }
    let Some(subject) = recorded.subject else { return Err(Err(Unknown::Identity)) };
    let is_of = |issuer: &&Arc<Issuer>| subject.issuer.is_empty() || *issuer.url() == subject.issuer;
    let Some(issuer) = route.issuers.iter().find(is_of) else {
        let reason = format!("The route accepts no token of the issuer {}.", subject.issuer);
        return Err(Ok(Verdict::refusal(Code::TokenInvalid.as_str(), &reason)));
    };
    let text = |value: &Option<Arc<str>>| value.as_deref().map(str::to_owned);
    Ok(Some(Arc::new(Principal {
        identity: issuer.name().clone(),
        issuer: issuer.url().clone(),
        subject: subject.subject.to_string(),
        owner: text(&subject.owner),
        groups: subject.groups.iter().map(ToString::to_string).collect(),
        purpose: text(&subject.purpose),
        jti: text(&subject.token),
        client: None,
        expires: Timestamp::default(),
        token_id: TokenId(subject.token_id.unwrap_or_default()),
    })))
}

/// What an exchange came to.
fn conclusion(exchange: &Exchange) -> Result<Verdict, Unknown> {
    let refused = exchange.ending.refusal.as_ref();
    let unreadable = refused.filter(|refused| refused.code == Code::BodyUnreadable);
    let refusal = |refused: &super::refuse::Refused| Verdict::refusal(refused.code.as_str(), &refused.detail);
    match (&exchange.decision, unreadable, refused) {
        // What comes behind an allowance, such as a secret that is not there, is no decision; but a body that
        // cannot be masked goes nowhere.
        (Some(decision), Some(refused), _) if decision.ruling == Ruling::Allow => Ok(refusal(refused)),
        (Some(decision), ..) => Ok(Verdict::of_record(&exchange.decision_record(decision))),
        (None, _, Some(refused)) => Ok(refusal(refused)),
        (None, _, None) => Err(Unknown::Undecided),
    }
}

//! How an exchange ends otherwise than with upstream's whole answer.

use super::{Cause, Exchange, Reason, Side, Stage, Step, Steps};
use crate::{
    buffer::Chunk,
    identity::{TokenClass, TokenError},
    policy::Ruling,
    protocol::{self, Code, Protocol, Refusal},
    time::Now,
};

/// What the caller was told, kept for the record and the log.
pub struct Refused {
    pub code: Code,
    pub detail: String,
    /// What else is known and stays inside: addresses of upstreams.
    pub inside: String,
}

impl Refused {
    /// With what stays inside.
    pub fn in_full(&self) -> String {
        let Refused { detail, inside, .. } = self;
        if inside.is_empty() { detail.clone() } else { format!("{detail} ({inside})") }
    }
}

impl Exchange {
    /// Answers with the gateway's own reply. Nothing went to the caller before.
    pub(super) fn refuse(&mut self, code: Code, detail: impl Into<String>, steps: &mut Steps) {
        self.reply(self.refusal(code, detail), steps);
    }

    /// Answers 401 and says what is wrong with the token.
    pub(super) fn refuse_token(&mut self, error: &TokenError, steps: &mut Steps) {
        let code = match error.class() {
            TokenClass::Missing => Code::TokenMissing,
            TokenClass::Invalid => Code::TokenInvalid,
            TokenClass::Expired => Code::TokenExpired,
            TokenClass::Unavailable => Code::KeysUnavailable,
        };
        self.ending.token_failure = Some(error.reason());
        let refusal = Refusal { authenticate: error.challenge(), ..self.refusal(code, error.to_string()) };
        self.reply(refusal, steps);
    }

    /// Answers 401: the token has ended while the request was under way.
    pub(super) fn refuse_ended_token(&mut self, now: Now, steps: &mut Steps) {
        let at = self.principal.as_deref().map_or(now.wall, |principal| principal.expires);
        let ago_s = now.wall.unix_seconds().saturating_sub(at.unix_seconds());
        self.refuse_token(&TokenError::Expired { at, ago_s }, steps);
    }

    fn refusal(&self, code: Code, detail: impl Into<String>) -> Refusal {
        let by_policy = matches!(
            code,
            Code::PolicyDenied
                | Code::ApprovalPending
                | Code::ApprovalDenied
                | Code::ApprovalExpired
                | Code::ApprovalConsumed
        );
        let decision = self.decision.as_ref().filter(|_| by_policy);
        let next = match decision.map(|decision| &decision.ruling) {
            Some(Ruling::Block { next, .. }) => next.clone(),
            _ => None,
        };
        Refusal {
            policy: decision.map(|decision| decision.policy.clone()),
            rule: decision.map(|decision| decision.place.clone()),
            next,
            rpc_id: self.facts.rpc_id.clone(),
            approval: self.facts.approval.clone(),
            ..Refusal::new(code, detail)
        }
    }

    fn reply(&mut self, refusal: Refusal, steps: &mut Steps) {
        let id = self.caller.id.to_string();
        let reply =
            protocol::render(self.protocol(), &refusal, &id, self.facts.client, self.plan.deny_status);
        self.ending.status = Some(reply.status);
        self.ending.refusal =
            Some(Refused { code: refusal.code, detail: refusal.detail, inside: String::new() });
        self.stage = Stage::Replying;
        steps.push(Step::Reply(Box::new(reply)));
    }

    /// Ends a response whose head is gone: an SSE stream gets an error event, every other message is left
    /// incomplete. The caller never sees a clean end.
    pub(super) fn break_off(&mut self, now: Now, code: Code, detail: &str, steps: &mut Steps) {
        if self.is_event_stream {
            let refusal = self.refusal(code, detail);
            let event = protocol::stream_error(self.protocol(), &refusal, &self.caller.id.to_string());
            steps.push(Step::Send { data: Chunk::from(event).into(), end: false });
        }
        self.ending.refusal = Some(Refused { code, detail: detail.to_owned(), inside: String::new() });
        steps.push(Step::Abort(Side::Client));
        self.finish(now, steps);
    }

    /// Ends an open exchange that an operator has stopped; says whether one has. A stream of events that can
    /// say why ends whole, so that its reader takes the reason for the end of it and not for a fault on the
    /// way.
    pub(super) fn stop(&mut self, now: Now, steps: &mut Steps) -> bool {
        if !matches!(self.stage, Stage::Open) {
            return false;
        }
        let Some(reason) = self.frozen() else { return false };
        steps.push(Step::Abort(Side::Upstream));
        if !self.ending.responded {
            self.refuse(Code::Frozen, reason, steps);
            return true;
        }
        let refusal = self.refusal(Code::Frozen, reason.as_str());
        let event = protocol::stream_error(self.protocol(), &refusal, &self.caller.id.to_string());
        if !self.is_event_stream || event.is_empty() {
            self.break_off(now, Code::Frozen, &reason, steps);
            return true;
        }
        self.ending.refusal = Some(Refused { code: Code::Frozen, detail: reason, inside: String::new() });
        self.stage = Stage::Replying;
        steps.push(Step::Send { data: Chunk::from(event).into(), end: true });
        true
    }

    /// One side is gone: the other is cut at once, and the record says who and where.
    pub(super) fn gone(&mut self, now: Now, side: Side, cause: Cause, steps: &mut Steps) {
        match side {
            Side::Client => self.client_gone(now, cause, steps),
            Side::Upstream => self.upstream_gone(now, cause, steps),
        }
    }

    fn client_gone(&mut self, now: Now, cause: Cause, steps: &mut Steps) {
        if self.ending.finished {
            return;
        }
        if matches!(self.stage, Stage::Open) {
            steps.push(Step::Abort(Side::Upstream));
        }
        // A caller that is at fault is still there to be told why, unless it is in the middle of an answer.
        let may_answer = match self.stage {
            Stage::Fresh | Stage::Body(_) => true,
            Stage::Open => !self.ending.responded,
            _ => false,
        };
        let fault = fault(&cause).filter(|_| may_answer);
        if let Cause::Overloaded(limit) = cause {
            self.ending.limit = Some(limit);
        }
        self.ending.cause = Some((Side::Client, cause));
        match fault {
            Some((code, detail)) => self.refuse(code, detail, steps),
            None => {
                steps.push(Step::Abort(Side::Client));
                self.finish(now, steps);
            }
        }
    }

    fn upstream_gone(&mut self, now: Now, cause: Cause, steps: &mut Steps) {
        if !matches!(self.stage, Stage::Open) {
            return;
        }
        let name = self.upstream().map_or_else(String::new, |upstream| upstream.name.to_string());
        let (code, what) = match &cause {
            Cause::Unreachable(Reason { said, .. }) => {
                (Code::UpstreamUnreachable, format!("cannot be reached: {said}"))
            }
            Cause::Tls(Reason { said, .. }) => {
                (Code::UpstreamTls, format!("cannot be spoken to over TLS: {said}"))
            }
            Cause::Busy => {
                (Code::Overloaded, "has as many connections as it may have, and none became free".to_owned())
            }
            Cause::Timeout(limit) => (Code::UpstreamTimeout, format!("did not answer in time: {limit}")),
            Cause::Overloaded(limit) => (Code::Overloaded, format!("was cut off: {limit}")),
            Cause::Closed => (Code::UpstreamUnreachable, "closed the connection in the middle".to_owned()),
            Cause::Malformed { reason, .. } => {
                (Code::UpstreamInvalid, format!("sent a malformed response: {reason}"))
            }
            Cause::Shutdown => (Code::Overloaded, "was cut off by the gateway, which shuts down".to_owned()),
            Cause::Unrecorded => {
                (Code::AuditUnavailable, "was cut off: the audit journal takes no records".to_owned())
            }
            Cause::Internal => (Code::InternalError, "was cut off by a fault of the gateway".to_owned()),
        };
        let inside = match &cause {
            Cause::Unreachable(reason) | Cause::Tls(reason) => reason.detail.clone(),
            _ => String::new(),
        };
        self.ending.cause = Some((Side::Upstream, cause));
        steps.push(Step::Abort(Side::Upstream));
        let detail = format!("Upstream \"{name}\" {what}.");
        if self.ending.responded {
            self.break_off(now, code, &detail, steps);
        } else {
            self.refuse(code, detail, steps);
        }
        if let Some(refused) = &mut self.ending.refusal {
            refused.inside = inside;
        }
    }

    /// Writes the last record, the log line and gives the lease back. Happens once.
    pub(super) fn finish(&mut self, now: Now, steps: &mut Steps) {
        if std::mem::replace(&mut self.ending.finished, true) {
            return;
        }
        self.stage = Stage::Ended;
        if let Some(record) = self.refused_body(now) {
            steps.push(Step::Note(record));
        }
        self.gathered.release();
        self.note_rest(now, steps);
        let lease = self.lease.take();
        let record = self.last_record(now, lease.as_ref());
        let summary = Box::new(self.summary(now));
        if let Some(settlement) = self.settlement() {
            steps.push(Step::Settle(settlement));
        }
        if let Some(lease) = lease {
            steps.push(Step::Release(lease));
        }
        steps.push(Step::Finish(record, summary));
    }

    pub(super) fn protocol(&self) -> Protocol {
        self.upstream().map_or(Protocol::Http, |upstream| upstream.protocol)
    }
}

/// What a caller is told that broke the protocol or was too slow.
fn fault(cause: &Cause) -> Option<(Code, String)> {
    match cause {
        Cause::Malformed { reason, status } => {
            let code = match status {
                414 => Code::UriTooLong,
                417 => Code::ExpectationFailed,
                431 => Code::HeadersTooLarge,
                501 => Code::NotImplemented,
                _ => Code::MalformedRequest,
            };
            Some((code, format!("The request is malformed: {reason}.")))
        }
        Cause::Timeout(limit) => {
            Some((Code::RequestTimeout, format!("The request did not arrive in time: {limit}.")))
        }
        Cause::Overloaded(limit) => {
            Some((Code::Overloaded, format!("The gateway has no memory for this request: {limit}.")))
        }
        _ => None,
    }
}

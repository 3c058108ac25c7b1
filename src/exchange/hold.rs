//! A request that a policy holds: the whole of it is handed over to be decided by people, and comes back with
//! their verdict.

use super::{Arrival, Ask, Exchange, Stage, Steps, Surroundings, plan::Route};
use crate::{
    approval::{Question, Settlement, Verdict},
    buffer::Segments,
    http::{Headers, RequestHead},
    limits::{HOLD_SLICE_HTTP, HOLD_SLICE_LLM_MAX, HOLD_SLICE_MARGIN, HOLD_SLICE_MCP, HOLD_SLICE_MIN},
    policy::{ApprovalTerms, Needs},
    protocol::{Code, Protocol},
    time::{Now, Timestamp},
};
use std::{sync::Arc, time::Duration};

impl Exchange {
    /// People decide: they see a request whose body is whole.
    pub(super) fn hold(
        &mut self,
        around: &mut Surroundings<'_>,
        arrival: Arrival,
        reason: Arc<str>,
        terms: Arc<ApprovalTerms>,
        steps: &mut Steps,
    ) {
        if !self.request.ended {
            // The head alone decided; once the body is whole it decides the same way again.
            return self.gather_body(around, arrival, Needs::default(), steps);
        }
        let Some(route) = self.route.clone() else { return };
        let Arrival { head, data, .. } = arrival;
        let question = self.question(&head, data, &route, reason, terms);
        self.gathered.release();
        self.stage = Stage::Held(Arrival { head, data: Segments::new(), end: true });
        self.ask(Ask::Verdict(Box::new(question)), steps);
    }

    fn question(
        &self,
        head: &RequestHead,
        body: Segments,
        route: &Route,
        reason: Arc<str>,
        terms: Arc<ApprovalTerms>,
    ) -> Question {
        let upstream = &self.plan.upstreams[route.upstream];
        let decision = self.decision.as_ref();
        let named = |name: fn(&crate::policy::Decision) -> &Arc<str>| {
            decision.map_or_else(|| "".into(), |decision| name(decision).clone())
        };
        Question {
            exchange: self.caller.id,
            generation: self.plan.generation,
            subject: self.principal.as_deref().map(super::account::subject),
            token_ends: self.token_ends(route),
            peer: self.caller.peer,
            local: self.caller.via.is_none().then_some(self.caller.local),
            address: self.caller.address.clone(),
            session: self.facts.session.clone(),
            is_session_claimed: self.facts.is_session_claimed,
            route: route.name.clone(),
            upstream: upstream.name.clone(),
            protocol: upstream.protocol,
            method: head.method.as_str().to_owned(),
            target: head.target(),
            headers: head.headers.clone(),
            secrets: upstream.secret_names(),
            policy: named(|decision| &decision.policy),
            place: named(|decision| &decision.place),
            reason,
            terms,
            route_digest: route.digest,
            slice: self.slice(&head.headers),
            asked: self.said.as_ref().and_then(|said| said.asked),
            excerpt: self.excerpt(&head.headers, &body, route),
            body,
        }
    }

    /// When the caller's token is not good any more.
    fn token_ends(&self, route: &Route) -> Option<Timestamp> {
        let principal = self.principal.as_deref()?;
        let issuer = route.issuers.iter().find(|issuer| *issuer.name() == principal.identity);
        let skew = issuer.map_or(0, |issuer| issuer.settings().clock_skew.as_micros() as u64);
        Some(Timestamp(principal.expires.0.saturating_add(skew)))
    }

    /// How long the caller is kept waiting at most: shorter than it has patience (PROTOCOLS).
    fn slice(&self, headers: &Headers) -> Duration {
        let slice = match self.protocol() {
            Protocol::Anthropic | Protocol::OpenAi => llm_slice(headers.get_str("x-stainless-timeout")),
            Protocol::Mcp => HOLD_SLICE_MCP,
            Protocol::Http => HOLD_SLICE_HTTP,
        };
        slice.min(self.plan.hold_slice)
    }

    /// The verdict is there, and the body is back.
    pub(super) fn judged(&mut self, now: Now, arrival: Arrival, verdict: Verdict, steps: &mut Steps) {
        let (code, approval, detail) = match verdict {
            Verdict::Approved { approval } => {
                self.facts.approval = Some(approval);
                self.settles = true;
                return self.prepare(now, arrival, steps);
            }
            Verdict::Pending { approval } => {
                let which = if approval.is_empty() { "approval" } else { &*approval };
                let detail = format!("{which} waits for a person; send the same request again.");
                (Code::ApprovalPending, Some(approval), detail)
            }
            Verdict::Denied { approval, reason } => {
                self.remember_refusal();
                (Code::ApprovalDenied, Some(approval), reason.to_string())
            }
            Verdict::Expired { approval } => {
                (Code::ApprovalExpired, Some(approval), "Nobody decided in time.".to_owned())
            }
            Verdict::Consumed { approval, outcome } => {
                let detail = format!("{approval} was used for this request already: {outcome}.");
                (Code::ApprovalConsumed, Some(approval), detail)
            }
            Verdict::Frozen { reason } => (Code::Frozen, None, reason.to_string()),
            Verdict::Overflow { detail } => (Code::ApprovalDenied, None, detail.to_string()),
            Verdict::TokenExpired => return self.refuse_ended_token(now, steps),
            Verdict::Unavailable { detail } => (Code::AuditUnavailable, None, detail.to_string()),
        };
        self.facts.approval = approval.filter(|id| !id.is_empty());
        self.keep_refused(arrival);
        self.refuse(code, detail, steps);
    }

    /// How the request that an approval let through ended; nothing where there was none.
    pub(super) fn settlement(&mut self) -> Option<Settlement> {
        use super::{Cause, Side};
        if !std::mem::take(&mut self.settles) {
            return None;
        }
        Some(match &self.ending.cause {
            _ if !self.was_forwarded => Settlement::Unsent,
            Some((Side::Upstream, Cause::Unreachable(_) | Cause::Tls(_) | Cause::Busy)) => Settlement::Unsent,
            None if self.ending.responded && self.ending.refusal.is_none() => Settlement::Complete,
            _ => Settlement::Incomplete,
        })
    }

    /// Why this exchange is stopped by an operator, if it is. Costs one look at a flag while nothing is.
    pub(super) fn frozen(&self) -> Option<String> {
        if !self.plan.freezer.is_any() {
            return None;
        }
        let route = self.route.as_ref()?;
        let subject = self.principal.as_deref().map(|principal| principal.subject.as_str());
        self.plan.freezer.reason(subject, &self.facts.session, &route.name)
    }
}

/// `x-stainless-timeout` is what the client waits for an answer, in seconds, where it says a number.
fn llm_slice(timeout: Option<&str>) -> Duration {
    let seconds = timeout.and_then(|text| text.trim().parse::<f64>().ok());
    let patience = seconds.filter(|seconds| (1.0..=86_400.0).contains(seconds)).map(Duration::from_secs_f64);
    let patience = patience.unwrap_or(HOLD_SLICE_LLM_MAX).min(HOLD_SLICE_LLM_MAX);
    patience.saturating_sub(HOLD_SLICE_MARGIN).max(patience / 2).max(HOLD_SLICE_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_is_shorter_than_the_patience_of_the_client() {
        let cases = [
            (None, 280),
            (Some("NOT_GIVEN"), 280),
            (Some("600"), 280),
            (Some("100.0"), 80),
            (Some("30"), 15),
            (Some("2"), 1),
            (Some("nan"), 280),
            (Some("-5"), 280),
        ];
        for (timeout, seconds) in cases {
            assert_eq!(llm_slice(timeout), Duration::from_secs(seconds), "{timeout:?}");
        }
    }
}

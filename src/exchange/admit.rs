//! From a request head to a decision: route, identity, policy.

use super::{
    Arrival, Ask, Exchange, Stage, Step, Steps, Surroundings,
    conversation::Judged,
    plan::{Recording, Route},
};
use crate::{
    buffer::Segments,
    http::{Method, Rejection, RequestHead},
    identity::{self, Failure, TokenError},
    inspect::encoding::Coding,
    policy::{BodyFacts, Decision, HeadFacts, HeadVerdict, Needs, Routing, Ruling},
    protocol::{self, Code, Protocol},
};
use std::{borrow::Cow, sync::Arc};

impl Exchange {
    pub(super) fn admit(&mut self, around: &mut Surroundings<'_>, arrival: Arrival, steps: &mut Steps) {
        if !matches!(self.stage, Stage::Fresh) {
            return;
        }
        self.request.ended = arrival.end;
        self.locate(&arrival.head);
        self.learn(&arrival.head);
        let head = &arrival.head;
        if is_traced(&head.method) {
            let detail = format!("{} is not forwarded: it would show the gateway's credential.", head.method);
            self.keep_head(head);
            return self.refuse(Code::MalformedRequest, detail, steps);
        }
        if let Some(name) = self.caller.server_name.as_deref().filter(|name| !is_for(&head.authority, name)) {
            let detail = format!("The connection was opened to \"{name}\", this request names another host.");
            self.keep_head(head);
            return self.refuse(Code::Misdirected, detail, steps);
        }
        if self.find_route(head, steps) {
            self.identify(around, arrival, steps);
        }
    }

    /// Finds the route; where there is none the request is refused.
    pub(super) fn find_route(&mut self, head: &RequestHead, steps: &mut Steps) -> bool {
        let listener = self.plan.listeners.get(self.caller.listener).map_or("", |name| name);
        let found = self.plan.router.route(listener, &head.authority, &head.method, &head.path);
        let (code, why) = match found {
            Routing::Route(index) => {
                self.route = self.plan.routes.get(index).cloned();
                if self.recording() != Recording::Off {
                    self.keep_head(head);
                }
                return true;
            }
            Routing::Misdirected => (Code::Misdirected, "for this host"),
            Routing::NoRoute => (Code::NoRoute, "on this listener"),
        };
        self.keep_head(head);
        let detail = format!("No route takes {} {} {why}.", head.method, head.path);
        self.refuse(code, detail, steps);
        false
    }

    /// Finds out where the caller is.
    fn locate(&mut self, head: &RequestHead) {
        let rule = self.plan.client_addresses.get(self.caller.listener);
        let client = rule.and_then(|rule| rule.of_request(self.caller.peer.ip(), &head.headers));
        if let Some(client) = client {
            self.caller.via = Some(std::mem::replace(&mut self.caller.peer, client));
            self.caller.address = client.ip().to_canonical().to_string().into();
        }
    }

    /// Keeps what records, log lines and replies will say of the request.
    pub(super) fn learn(&mut self, head: &RequestHead) {
        self.facts.method = Some(head.method.clone());
        self.facts.target = head.target();
        self.facts.client = protocol::client_hint(&head.headers);
        if let Some(claimed) = protocol::session_id(&head.headers) {
            self.facts.is_session_claimed = true;
            self.facts.session = claimed.into();
        }
    }

    /// Keeps the authority and the fields as they came, for a record.
    fn keep_head(&mut self, head: &RequestHead) {
        self.facts.authority = head.authority.clone();
        self.facts.headers = Some(Box::new(head.headers.clone()));
    }

    /// Finds out who calls. Keys that are missing are asked for once.
    pub(super) fn identify(&mut self, around: &mut Surroundings<'_>, arrival: Arrival, steps: &mut Steps) {
        let Some(route) = self.route.clone() else { return };
        if route.issuers.is_empty() {
            return self.strip(around, arrival, &route, steps);
        }
        match identity::authenticate(around.now, &arrival.head.headers, &route.issuers, around.tokens) {
            Ok(principal) => {
                if let (false, Some(jti)) = (self.facts.is_session_claimed, &principal.jti) {
                    self.facts.session = jti.as_str().into();
                }
                if self.recording() != Recording::Off {
                    self.subject = Some(around.subjects.of(&principal));
                }
                self.principal = Some(principal);
                self.strip(around, arrival, &route, steps);
            }
            // Probes of clients that have no token yet: not an authentication failure (UX section 3).
            Err(Failure::Refused(TokenError::Missing)) if is_probe(&arrival.head) => {
                self.refuse(Code::NoRoute, "There is nothing at / on this listener.", steps);
            }
            Err(Failure::Refused(error)) => self.refuse_token(&error, steps),
            Err(Failure::NeedKeys { issuer, .. }) if !self.asked_for_keys => {
                self.asked_for_keys = true;
                let issuer = route.issuers[issuer].clone();
                self.stage = Stage::Keys(arrival);
                self.ask(Ask::Keys(issuer), steps);
            }
            Err(failure) => self.refuse_token(&failure.into_refusal(), steps),
        }
    }

    /// Takes off what never goes upstream, so that the policy sees the fields that are forwarded and no
    /// others (SECURITY R13).
    pub(super) fn strip(
        &mut self,
        around: &mut Surroundings<'_>,
        mut arrival: Arrival,
        route: &Arc<Route>,
        steps: &mut Steps,
    ) {
        if let Some(reason) = self.frozen() {
            return self.refuse(Code::Frozen, reason, steps);
        }
        match self.strip_head(&mut arrival.head, route) {
            Ok(()) => self.decide_head(around, arrival, route, steps),
            Err(rejection) => {
                let code = match rejection {
                    Rejection::Loop => Code::LoopDetected,
                    _ => Code::MalformedRequest,
                };
                self.refuse(code, rejection.to_string(), steps)
            }
        }
    }

    pub(super) fn decide_head(
        &mut self,
        around: &mut Surroundings<'_>,
        mut arrival: Arrival,
        route: &Arc<Route>,
        steps: &mut Steps,
    ) {
        let declared = match arrival.head.framing {
            crate::http::Framing::Length(bytes) => bytes,
            _ => 0,
        };
        if self.is_too_large(declared.max(arrival.data.len_bytes() as u64)) {
            return self.refuse_too_large(steps);
        }
        let speaks = self.plan.upstreams[route.upstream].protocol;
        let path = route.stripped(&arrival.head.path);
        if !route.all_paths && !protocol::allows_by_default(speaks, &arrival.head.method, &path) {
            let detail = format!(
                "{} {} is not one of the inference paths that this route forwards; the operator can set \
                 `all_paths = true` on route \"{}\".",
                arrival.head.method, arrival.head.path, route.name
            );
            return self.refuse(Code::PolicyDenied, detail, steps);
        }
        let verdict = route.rules.decide_head(&self.head_facts(&arrival));
        match verdict {
            HeadVerdict::Decided(decision) => self.decided(around, arrival, decision, steps),
            HeadVerdict::NeedsBody(needs) => {
                // A coding that is not known is refused where the policy reads the body.
                let has_body = arrival.head.framing != crate::http::Framing::None;
                let Arrival { head, data, end } = &mut arrival;
                let is_known = Coding::of(head.headers.get_all("content-encoding")).is_ok();
                if has_body
                    && needs.decides
                    && is_known
                    && let Err(detail) = self.decode_request(head, data, end)
                {
                    return self.refuse(Code::BodyUnreadable, detail, steps);
                }
                if self.is_too_large(self.request.decoded_bytes()) {
                    return self.refuse_too_large(steps);
                }
                if arrival.end {
                    return self.decide_body(around, arrival, needs, steps);
                }
                self.gather_body(around, arrival, needs, steps);
            }
        }
    }

    /// Reads the rest of the body before anything else.
    pub(super) fn gather_body(
        &mut self,
        around: &mut Surroundings<'_>,
        mut arrival: Arrival,
        needs: Needs,
        steps: &mut Steps,
    ) {
        self.needs = needs;
        let data = std::mem::take(&mut arrival.data);
        if !self.gather(around.memory, &data) {
            return self.refuse_unmemorable(steps);
        }
        if arrival.head.expect_continue {
            steps.push(Step::Continue);
        }
        self.stage = Stage::Body(arrival);
        steps.push(Step::ReadBody);
    }

    /// The policy needed the body, and here it is, whole.
    pub(super) fn decide_body(
        &mut self,
        around: &mut Surroundings<'_>,
        mut arrival: Arrival,
        needs: Needs,
        steps: &mut Steps,
    ) {
        let Some(route) = self.route.clone() else { return };
        self.request.ended = true;
        let body = contiguous(&arrival.data);
        self.request.tally.policy += body.len() as u64;
        if self.upstream().is_some_and(|upstream| upstream.protocol == Protocol::Mcp) {
            self.facts.rpc_id = protocol::tools_call_id(&body).map(Into::into);
        }
        let judged = match self.judge(&arrival, &body, needs, &route) {
            Ok(judged) => judged,
            Err(_) if !needs.decides => {
                let decision = route.rules.decide(&self.head_facts(&arrival), &BodyFacts::none());
                Judged { decision, replaced: None }
            }
            Err(error) => return self.refuse(Code::BodyUnreadable, error.to_string(), steps),
        };
        if let Some(replaced) = judged.replaced {
            self.put(replaced, &mut arrival);
        }
        self.decided(around, arrival, judged.decision, steps);
    }

    fn decided(
        &mut self,
        around: &mut Surroundings<'_>,
        arrival: Arrival,
        decision: Decision,
        steps: &mut Steps,
    ) {
        let ruling = decision.ruling.clone();
        self.decision = Some(decision);
        match ruling {
            Ruling::Allow => self.prepare(around.now, arrival, steps),
            Ruling::Block { reason, .. } => {
                self.remember_refusal();
                self.keep_refused(arrival);
                self.refuse(Code::PolicyDenied, &*reason, steps);
            }
            Ruling::Approve { reason, terms } => self.hold(around, arrival, reason, terms, steps),
        }
    }

    pub(super) fn head_facts<'a>(&'a self, arrival: &'a Arrival) -> HeadFacts<'a> {
        let principal = self.principal.as_deref();
        HeadFacts {
            method: &arrival.head.method,
            path: &arrival.head.path,
            query: arrival.head.query.as_deref(),
            headers: &arrival.head.headers,
            subject: principal.map(|principal| principal.subject.as_str()),
            groups: principal.map_or(&[], |principal| principal.groups.as_slice()),
            purpose: principal.and_then(|principal| principal.purpose.as_deref()),
        }
    }
}

/// Methods whose answer repeats the request, with the credential in it (RFC 9110 section 9.3.8).
fn is_traced(method: &Method) -> bool {
    *method == Method::Trace || method.as_str().eq_ignore_ascii_case("TRACK")
}

/// Whether a request for `authority` belongs on a connection that was opened to `name` (SECURITY R24). Both
/// are in lower case; a caller that names no host says nothing else.
fn is_for(authority: &str, name: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    host.is_empty() || host.trim_end_matches('.') == name.trim_end_matches('.')
}

/// Whether it is `GET /` or `HEAD /`.
fn is_probe(head: &RequestHead) -> bool {
    head.path == "/" && matches!(head.method, Method::Get | Method::Head)
}

/// All bytes in one slice; copied only when they arrived in pieces.
fn contiguous(data: &Segments) -> Cow<'_, [u8]> {
    let mut chunks = data.iter();
    match (chunks.next(), chunks.next()) {
        (None, _) => Cow::Borrowed(&[]),
        (Some(only), None) => Cow::Borrowed(only),
        _ => Cow::Owned(data.to_vec()),
    }
}

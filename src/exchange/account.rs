//! What an exchange says of itself: its records.

use super::{Cause, Ending, Exchange, Side};
use crate::{
    audit::{self, Content, Direction, Head, Intent, IntentBody, Lengths, MaskHits, Outcome, Record},
    buffer::Segments,
    http::{Headers, RequestHead, rules, target},
    identity::Principal,
    limits::RESPONSE_FIELDS_BYTES_MAX,
    policy::{self, Ruling},
    protocol::Code,
    secrets::{self, Lease},
    time::Now,
};
use std::{borrow::Cow, sync::Arc};

/// What stands for a mask's name where an echo of a credential was masked; no mask can have this name.
const ECHO: &str = "ringward:credential";
/// The same for matches in a model's thinking, which passed; they are counted by their masks as well.
const THINKING: &str = "ringward:thinking";

impl Exchange {
    /// INTENT: what will go upstream, before a credential is in it.
    pub(super) fn intent(&self, now: Now, head: &RequestHead, body: IntentBody) -> Record {
        let secrets = self.upstream().map(|upstream| upstream.secret_names()).unwrap_or_default();
        Record::Intent(Box::new(Intent {
            id: self.caller.id,
            at: now.wall,
            generation: self.plan.generation,
            session: self.facts.session.clone(),
            subject: self.subject(),
            head: self.head_facts_of_record(head.headers.clone()),
            decision: self
                .decision
                .as_ref()
                .map(|decision| self.decision_record(decision))
                .unwrap_or_default(),
            secrets,
            body,
        }))
    }

    /// CONTENT: bytes of one direction. Of a request that is what upstream gets, of a response what the
    /// caller gets; `upstream` is what a masked response was before, which is committed to and never stored.
    /// Thinking is masked in what is stored, though it goes on as it is.
    pub(super) fn content(
        &mut self,
        now: Now,
        direction: Direction,
        data: &Segments,
        upstream: Option<Segments>,
    ) -> Record {
        let body_bytes_max = self.recorded_bytes_max();
        let flow = match direction {
            Direction::Request => &mut self.request,
            Direction::Response => &mut self.response,
        };
        let (bytes, upstream) = match (flow.take_apart(), direction) {
            (Some(apart), Direction::Request) => (apart, Some(data.clone())),
            (apart, _) => (apart.unwrap_or_else(|| data.clone()), upstream),
        };
        let offset = flow.recorded;
        flow.recorded += bytes.len_bytes() as u64;
        let edits = flow.take_edits().into_iter();
        let edits = edits.map(|edit| audit::Edit { offset: edit.offset, len: edit.len, rule: edit.rule });
        Record::Content(Box::new(Content {
            id: self.caller.id,
            direction,
            offset,
            elapsed_us: now.instant.since(self.started.instant).as_micros() as u64,
            bytes,
            upstream,
            edits: edits.collect(),
            keep: flow.recorded <= body_bytes_max,
            leaves: None,
        }))
    }

    /// Keeps what the record will say of the response's fields. Their buffer is not kept, for it may hold
    /// much of the body: they are copied, without credentials (SECURITY R40).
    pub(super) fn keep_response_headers(&mut self, headers: &Headers) {
        if self.recording() == super::plan::Recording::Off {
            return;
        }
        self.facts.response_headers = Some(Box::new(recorded_response_headers(headers)));
    }

    /// OUTCOME of an admitted exchange, REFUSAL of another one; nothing where the operator switched it off.
    pub(super) fn last_record(&mut self, now: Now, lease: Option<&Lease>) -> Option<Record> {
        if self.route.is_some() && self.recording() == super::plan::Recording::Off {
            return None;
        }
        if self.ending.intent {
            return Some(Record::Outcome(Box::new(self.outcome(now, lease))));
        }
        let (code, reason) = self.ending.code_and_reason();
        Some(Record::Refusal(Box::new(audit::Refusal {
            id: self.caller.id,
            at: now.wall,
            generation: self.plan.generation,
            session: Some(self.facts.session.clone()),
            subject: self.subject(),
            head: self.head_facts_of_record(self.recorded_headers()),
            decision: self.decision.as_ref().map(|decision| self.decision_record(decision)),
            status: self.ending.status.unwrap_or(0),
            code,
            reason,
            body: None,
            folded: None,
        })))
    }

    /// The caller as the audit log names it.
    fn subject(&self) -> Option<Arc<audit::Subject>> {
        self.subject.clone().or_else(|| self.principal.as_deref().map(subject))
    }

    /// The caller's fields as it sent them, without its credentials (SECURITY R40).
    fn recorded_headers(&self) -> Headers {
        let mut headers = self.facts.headers.as_deref().cloned().unwrap_or_default();
        let injected = self.upstream().map_or(&[][..], |upstream| &upstream.inject);
        secrets::strip_credentials(&mut headers, injected);
        headers
    }

    fn outcome(&mut self, now: Now, lease: Option<&Lease>) -> Outcome {
        let (cause, place) = self.ending.cause_and_place(self.request.ended);
        let is_complete = cause == audit::Cause::Complete;
        Outcome {
            id: self.caller.id,
            at: now.wall,
            status: self.ending.status,
            cause,
            place,
            reason: (!is_complete).then(|| self.ending.code_and_reason().1),
            request: Lengths { received: self.request.received, sent: self.request.sent() },
            response: Lengths { received: self.response.received, sent: self.response.sent() },
            commitments: audit::Commitments::default(),
            lease: lease.map(|lease| {
                let facts = lease.facts();
                audit::LeaseFacts { source: facts.source, id: facts.id, expires: facts.expires }
            }),
            masks: self.mask_hits().into_iter().map(|(mask, count)| MaskHits { mask, count }).collect(),
            stages: audit::Stages {
                total_us: now.instant.since(self.started.instant).as_micros() as u64,
                ..audit::Stages::default()
            },
            headers: self.facts.response_headers.take().map(|headers| *headers).unwrap_or_default(),
        }
    }

    /// How often each mask matched, both directions together.
    pub(super) fn mask_hits(&self) -> Vec<(Arc<str>, u64)> {
        let Some(route) = &self.route else { return Vec::new() };
        let mut named: Vec<(Arc<str>, u64)> = Vec::new();
        for (masks, flow) in [(&route.request_masks, &self.request), (&route.response_masks, &self.response)]
        {
            let Some(masks) = masks else { continue };
            for (rule, count) in flow.hits() {
                let Some(name) = masks.rule_names().nth(rule) else { continue };
                match named.iter_mut().find(|(known, _)| known == name) {
                    Some((_, sum)) => *sum += count,
                    None => named.push((name.clone(), count)),
                }
            }
        }
        let others =
            [(ECHO, self.response.echoes()), (THINKING, self.request.shown() + self.response.shown())];
        named.extend(others.into_iter().filter(|(_, count)| *count > 0).map(|(name, n)| (name.into(), n)));
        named
    }

    /// The head with `headers`, which hold no credential of the caller any more, and without those in a query
    /// (SECURITY R40).
    fn head_facts_of_record(&self, mut headers: Headers) -> Head {
        redact_referrers(&mut headers);
        Head {
            listener: self.plan.listeners.get(self.caller.listener).cloned().unwrap_or_default(),
            peer: Some(self.caller.peer),
            route: self.route.as_ref().map(|route| route.name.clone()),
            upstream: self.upstream().map(|upstream| upstream.name.clone()),
            method: self.facts.method.clone(),
            authority: self.facts.authority.clone(),
            target: target::without_credentials(&self.facts.target).into_owned(),
            headers,
            scheme: Some(if self.caller.secure { audit::Scheme::Https } else { audit::Scheme::Http }),
        }
    }

    pub(super) fn decision_record(&self, decision: &policy::Decision) -> audit::Decision {
        let reason = match &decision.ruling {
            Ruling::Allow => None,
            Ruling::Block { reason, .. } | Ruling::Approve { reason, .. } => Some(reason.clone()),
        };
        let rules = self.route.as_ref().map(|route| &route.rules);
        let predicates = decision.evaluated.iter().filter_map(|evaluated| {
            let (policy, name) = rules?.condition(*evaluated)?;
            Some(audit::Predicate { policy: policy.clone(), name: name.clone(), held: evaluated.held })
        });
        let dry_runs = decision.dry_runs.iter().map(|run| {
            let action = match run.action {
                "allow" => audit::Action::Allow,
                "approve" => audit::Action::Approve,
                _ => audit::Action::Block,
            };
            audit::DryRun { policy: run.policy.clone(), action }
        });
        audit::Decision {
            action: match decision.ruling {
                Ruling::Allow => audit::Action::Allow,
                Ruling::Block { .. } => audit::Action::Block,
                Ruling::Approve { .. } => audit::Action::Approve,
            },
            policy: Some(decision.policy.clone()),
            place: Some(decision.place.clone()),
            reason,
            dry_runs: dry_runs.collect(),
            predicates: predicates.collect(),
            passed: self.said.as_ref().map_or(0, |said| said.passed as u64),
            removed: self.said.iter().flat_map(|said| said.removed()).collect(),
        }
    }

    fn recorded_bytes_max(&self) -> u64 {
        match self.recording() {
            super::plan::Recording::On { body_bytes_max, .. } => body_bytes_max,
            super::plan::Recording::Off => 0,
        }
    }
}

impl Ending {
    /// Reply code and detail, as far as there are any.
    fn code_and_reason(&self) -> (Cow<'static, str>, Cow<'static, str>) {
        match (&self.refusal, &self.cause) {
            (Some(refused), _) => (refused.code.as_str().into(), refused.in_full().into()),
            (None, Some((Side::Client, cause))) => ("client_gone".into(), cause.word().into()),
            (None, Some((Side::Upstream, cause))) => ("upstream_gone".into(), cause.word().into()),
            (None, None) => ("".into(), "".into()),
        }
    }

    /// `received`: whether the whole request was.
    fn cause_and_place(&self, received: bool) -> (audit::Cause, audit::Place) {
        use audit::{Cause as End, Place};
        let place = match (self.responded, received, &self.cause) {
            (true, ..) => Place::ResponseBody,
            (false, true, _) => Place::FirstByte,
            (false, false, Some((Side::Upstream, _))) => Place::Send,
            (false, false, _) => Place::RequestBody,
        };
        match (&self.cause, &self.refusal) {
            (Some((_, Cause::Timeout(_))), _) => (End::Timeout, place),
            (Some((_, Cause::Overloaded(_))), _) => (End::Refused, place),
            (Some((_, Cause::Shutdown)), _) => (End::Cut, place),
            (Some((_, Cause::Unrecorded)), _) => (End::Unrecorded, place),
            (Some((_, Cause::Internal)), _) => (End::Internal, place),
            (Some((Side::Client, Cause::Malformed { .. })), _) => (End::ClientFault, Place::RequestBody),
            (Some((Side::Client, _)), _) => (End::ClientGone, place),
            (Some((Side::Upstream, Cause::Malformed { .. })), _) => (End::UpstreamFault, place),
            (Some((Side::Upstream, Cause::Unreachable(_) | Cause::Tls(_))), _) => {
                (End::UpstreamGone, Place::Connect)
            }
            (Some((Side::Upstream, Cause::Closed)), _) => (End::UpstreamGone, place),
            (Some((Side::Upstream, Cause::Busy)), _) => (End::Refused, Place::Connect),
            (None, Some(refused)) => match refused.code {
                Code::ResponseUnmaskable => (End::Unmaskable, place),
                Code::AuditUnavailable | Code::AuditBackpressure => (End::Unrecorded, Place::RequestBody),
                Code::SecretUnavailable => (End::Refused, Place::Secret),
                Code::Frozen => (End::Cut, place),
                _ => (End::Refused, Place::RequestBody),
            },
            (None, None) => (End::Complete, Place::End),
        }
    }
}

/// Takes credentials out of the query of the page that the caller comes from.
fn redact_referrers(headers: &mut Headers) {
    if !headers.get_all("referer").any(|value| value.contains(&b'?')) {
        return;
    }
    let shown = |value: &[u8]| target::without_credentials(&String::from_utf8_lossy(value)).into_owned();
    let referrers: Vec<String> = headers.get_all("referer").map(shown).collect();
    headers.remove("referer");
    referrers.iter().for_each(|referrer| headers.append("referer", referrer.as_bytes()));
}

/// The fields of a response as they are recorded: bounded, and without credentials.
fn recorded_response_headers(headers: &Headers) -> Headers {
    let (mut kept, mut left, mut omitted) = (Headers::new(), RESPONSE_FIELDS_BYTES_MAX, 0);
    for (name, value) in headers.iter() {
        match left.checked_sub(name.len() + value.len()) {
            Some(rest) => (left, _) = (rest, kept.append(name, &rules::without_credential(name, value))),
            None => omitted += 1,
        }
    }
    if omitted > 0 {
        kept.append("x-ringward-omitted", omitted.to_string().as_bytes());
    }
    kept
}

/// What the audit log calls the callers that came last, so that it need not be put together for each request.
#[derive(Default)]
pub struct Subjects(Vec<Option<(Arc<Principal>, Arc<audit::Subject>)>>);

/// Callers whose names are kept.
const SUBJECTS: usize = 64;

impl Subjects {
    /// What the log calls `principal`.
    pub(super) fn of(&mut self, principal: &Arc<Principal>) -> Arc<audit::Subject> {
        if self.0.is_empty() {
            self.0.resize_with(SUBJECTS, || None);
        }
        // The digest of its token: evenly spread.
        let kept = &mut self.0[usize::from(principal.token_id.0[0]) % SUBJECTS];
        match kept {
            Some((known, subject)) if Arc::ptr_eq(known, principal) => subject.clone(),
            _ => kept.insert((principal.clone(), subject(principal))).1.clone(),
        }
    }
}

/// The caller as the audit log names it.
pub(super) fn subject(principal: &Principal) -> Arc<audit::Subject> {
    Arc::new(audit::Subject {
        issuer: principal.issuer.clone(),
        subject: principal.subject.as_str().into(),
        owner: principal.owner.as_deref().map(Into::into),
        groups: principal.groups.iter().map(|group| group.as_str().into()).collect(),
        purpose: principal.purpose.as_deref().map(Into::into),
        token: principal.jti.as_deref().map(Into::into),
        token_id: Some(principal.token_id.0),
    })
}

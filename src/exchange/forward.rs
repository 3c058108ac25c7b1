//! From an allowed request to one that may go upstream: credentials off, masks on, INTENT recorded, then the
//! real credential in.

use super::{
    Arrival, Ask, Exchange, Forward, Stage, Step, Steps, Unavailable,
    plan::{Recording, Route, Upstream},
    response::content_type,
};
use crate::{
    audit::{Direction, IntentBody, Record},
    buffer::Segments,
    http::{
        Framing, Headers, Rejection, RequestHead, Version,
        rules::{self, Forwarded},
    },
    identity::{self, Accept},
    inspect::{
        self, Inspector,
        encoding::{Coding, Decoder},
    },
    metrics::Limit,
    protocol::Code,
    secrets::{self, Echoes, Lease, LeaseKind, Scrub, SecretValue},
    time::{Now, Timestamp},
};
use std::sync::Arc;

impl Exchange {
    /// The policy allows it: makes what upstream will see, and has the intent recorded first.
    pub(super) fn prepare(&mut self, now: Now, arrival: Arrival, steps: &mut Steps) {
        let Some(route) = &self.route else { return };
        let Arrival { mut head, mut data, mut end } = arrival;
        address(&mut head, route, &self.plan.upstreams[route.upstream]);
        let (upstream, record) = (route.upstream, route.record);
        if head.framing != Framing::None
            && route.request_masks.is_some()
            && let route = route.clone()
            && let Err(detail) = self.inspect_request(&mut head, &mut data, &mut end, &route)
        {
            return self.refuse(Code::BodyUnreadable, detail, steps);
        }
        if self.is_too_large(self.request.decoded_bytes()) {
            return self.refuse_too_large(steps);
        }
        let data = match self.request.push(data, end) {
            Ok(data) => data,
            Err(error) => return self.refuse(Code::BodyUnreadable, error.to_string(), steps),
        };
        if end && head.framing != Framing::None {
            head.framing = Framing::Length(data.len_bytes() as u64);
        }
        if head.expect_continue && !end {
            steps.push(Step::Continue);
        }
        let forward =
            Box::new(Forward { upstream, head, injected: Vec::new(), data, end, approved: self.settles });
        match record {
            Recording::Off => {
                self.request.take_edits();
                self.credential(forward, steps);
            }
            Recording::On { commit, .. } => {
                let records = self.opening_records(now, &forward);
                self.stage = Stage::Intent(forward);
                self.ask(Ask::Record(records, commit), steps);
            }
        }
    }

    /// What is there of the body, then INTENT: it can commit to a body that is whole, and it is never in the
    /// log if something before it found no room.
    fn opening_records(&mut self, now: Now, forward: &Forward) -> Vec<Record> {
        let has_data = !forward.data.is_empty();
        let is_whole = has_data && forward.end;
        let body = if is_whole { IntentBody::Buffered } else { IntentBody::Streamed };
        let intent = self.intent(now, &forward.head, body);
        let content = has_data.then(|| self.content(now, Direction::Request, &forward.data, None));
        content.into_iter().chain([intent]).collect()
    }

    /// Makes the caller's fields those that upstream gets; the credential is put in later.
    pub(super) fn strip_head(&mut self, head: &mut RequestHead, route: &Route) -> Result<(), Rejection> {
        let lease = self.plan.upstreams[route.upstream].lease.as_ref();
        if lease.is_some_and(|lease| matches!(lease.kind, LeaseKind::TokenExchange { .. })) {
            self.subject_token = caller_token(&head.headers);
        }
        let forwarded = Forwarded {
            address: &self.caller.address,
            proto: if self.caller.secure { "https" } else { "http" },
            host: &head.authority,
            version: head.version,
            pseudonym: &self.plan.pseudonym,
        };
        rules::strip_request(&mut head.headers, Some(&forwarded))?;
        self.suit(head, route);
        Ok(())
    }

    /// Takes off what this route puts in itself, and what would bring an answer that cannot be masked.
    pub(super) fn suit(&self, head: &mut RequestHead, route: &Route) {
        let upstream = &self.plan.upstreams[route.upstream];
        secrets::strip_credentials(&mut head.headers, &upstream.inject);
        if route.response_masks.is_some() || upstream.is_scrubbed(&self.plan.secrets) {
            head.headers.set("accept-encoding", b"identity");
            // Of what is asked for in pieces, none may be long enough to be found (SECURITY R22).
            head.headers.remove("range");
            head.headers.remove("if-range");
        }
    }

    /// The tokens of this session, in the hour in which the exchange began. What a client claims to be its
    /// session is one of its own: nobody gets at tokens of another's values by naming their session.
    pub(super) fn tokens(&self) -> inspect::token::SessionTokens {
        let session = &self.facts.session;
        let owner = match self.principal.as_deref() {
            // Claims hold no control characters.
            Some(principal) => format!("{}\n{}\n{session}", principal.issuer, principal.subject),
            None => format!("{}\n{session}", self.caller.address),
        };
        self.plan.tokens.session(&owner, self.started.wall.unix_seconds())
    }

    /// Takes the content coding off a request: its head, what is there of its body, and what follows.
    /// Upstream gets what policies and masks see. `end` becomes whether the body ends with what `data` is
    /// then.
    pub(super) fn decode_request(
        &mut self,
        head: &mut RequestHead,
        data: &mut Segments,
        end: &mut bool,
    ) -> Result<(), String> {
        let coding = Coding::of(head.headers.get_all("content-encoding")).map_err(|codings| {
            format!(
                "A body with content-encoding {codings:?} cannot be masked: \
                 send it plain, or in one of gzip, deflate, br, zstd."
            )
        })?;
        let Some(coding) = coding else { return Ok(()) };
        for headers in [&mut head.headers].into_iter().chain(self.facts.headers.as_deref_mut()) {
            ["content-encoding", "content-md5", "digest", "content-digest", "repr-digest"].iter().for_each(
                |name| {
                    headers.remove(name);
                },
            );
        }
        self.request.decode_with(Decoder::new(coding));
        let decoded = self.request.decode(std::mem::take(data), *end);
        (*data, *end) = decoded.map_err(|error| error.to_string())?;
        if !*end {
            head.framing = Framing::Chunked;
        }
        Ok(())
    }

    /// Prepares the masks of this request, or says why its body cannot be masked and so is refused.
    pub(super) fn inspect_request(
        &mut self,
        head: &mut RequestHead,
        data: &mut Segments,
        end: &mut bool,
        route: &Route,
    ) -> Result<(), String> {
        let Some(masks) = route.request_masks.clone() else { return Ok(()) };
        self.decode_request(head, data, end)?;
        let context = match content_type(&head.headers) {
            Ok(content_type) => inspect::Context::of(content_type, self.dialect())
                .ok_or_else(|| format!("A body of type {:?} cannot be masked.", content_type.unwrap_or(""))),
            Err(why) => Err(format!("The body cannot be masked: {why}.")),
        }?;
        if !masks.keeps_length(inspect::Direction::Request) {
            head.framing = Framing::Chunked;
        }
        for name in ["content-md5", "digest", "content-digest", "repr-digest"] {
            head.headers.remove(name);
        }
        let inspector = Inspector::new(masks, inspect::Direction::Request, context);
        let inspector = self.prepared(inspector);
        self.request.inspect_with(inspector);
        Ok(())
    }

    /// An inspector of this exchange, with all that it needs besides its masks.
    pub(super) fn prepared(&self, inspector: Inspector) -> Inspector {
        let thinking = self.route.as_ref().map(|route| route.thinking).unwrap_or_default();
        let inspector = inspector.with_tokens(|| self.tokens()).with_thinking(self.dialect(), thinking);
        if self.recording() == Recording::Off { inspector } else { inspector.with_record() }
    }

    /// The intent is recorded, or it is not and nothing goes upstream (fail closed).
    pub(super) fn recorded(
        &mut self,
        forward: Box<Forward>,
        result: Result<u64, Unavailable>,
        steps: &mut Steps,
    ) {
        match result {
            Ok(sequence) => {
                self.ending.intent = true;
                self.ending.audit_sequence = Some(sequence);
                self.credential(forward, steps);
            }
            Err(unavailable) => {
                // An INTENT that was taken may be in the log: then it must have its OUTCOME.
                self.ending.intent = unavailable == Unavailable::Failed;
                if unavailable == Unavailable::Backpressure {
                    self.ending.limit = Some(Limit::AuditBackpressure);
                    let detail = "This caller has too many requests that are not recorded yet: \
                                  audit_backpressure.";
                    return self.refuse(Code::AuditBackpressure, detail, steps);
                }
                let detail = "The audit journal takes no records, so nothing is forwarded.";
                self.refuse(Code::AuditUnavailable, detail, steps);
            }
        }
    }

    /// Gets the credential: a lease is asked for, stored secrets are rendered at once.
    fn credential(&mut self, forward: Box<Forward>, steps: &mut Steps) {
        let lease = self.upstream().and_then(|upstream| upstream.lease.clone());
        match lease {
            None => self.open(forward, None, steps),
            Some(source) => {
                self.stage = Stage::Lease(forward);
                let subject_token = self.subject_token.take();
                self.ask(Ask::Lease { source, subject_token }, steps);
            }
        }
    }

    pub(super) fn leased(
        &mut self,
        now: Now,
        forward: Box<Forward>,
        result: Result<Lease, String>,
        steps: &mut Steps,
    ) {
        match result {
            Ok(lease) => self.open(forward, Some(lease), steps),
            // A token endpoint allows less clock skew than this gateway, or none: a fresh token helps.
            Err(_) if self.exchanged_token_ends().is_some_and(|at| at <= now.wall) => {
                self.refuse_ended_token(now, steps);
            }
            Err(reason) => {
                let detail = format!("No short-lived credential could be had for the upstream: {reason}.");
                self.refuse(Code::SecretUnavailable, detail, steps);
            }
        }
    }

    /// When the caller's token ends, where it is exchanged for the upstream's.
    fn exchanged_token_ends(&self) -> Option<Timestamp> {
        let lease = self.upstream()?.lease.as_ref()?;
        let is_exchanged = matches!(lease.kind, LeaseKind::TokenExchange { .. });
        is_exchanged.then_some(self.principal.as_deref()?.expires)
    }

    /// Puts the credential in and lets the request go.
    fn open(&mut self, mut forward: Box<Forward>, lease: Option<Lease>, steps: &mut Steps) {
        self.lease = lease;
        // While it was recorded or got its credential, an operator may have stopped it.
        if let Some(reason) = self.frozen() {
            return self.refuse(Code::Frozen, reason, steps);
        }
        let rendered = self.render_credentials();
        match rendered {
            Ok(injected) => {
                forward.injected = injected;
                self.stage = Stage::Open;
                self.was_forwarded = true;
                self.remember_passage();
                steps.push(Step::Forward(forward));
            }
            Err(name) => {
                let detail = format!("The secret \"{name}\" is not available.");
                self.refuse(Code::SecretUnavailable, detail, steps);
            }
        }
    }

    fn render_credentials(&mut self) -> Result<Vec<(Box<str>, SecretValue)>, Arc<str>> {
        let injects = self.upstream().filter(|upstream| !upstream.inject.is_empty());
        let Some(upstream) = injects.cloned() else {
            self.echoes = Echoes::new();
            return Ok(Vec::new());
        };
        let (secrets, leases) = (&self.plan.secrets, self.lease.as_slice());
        let mut echoes = Echoes::new();
        let rendered = upstream.inject.iter().map(|injection| {
            let value = injection.value().render_to_scrub(secrets, leases, &mut echoes);
            Ok((injection.header().into(), value.map_err(|error| error.name)?))
        });
        let rendered = rendered.collect();
        self.echoes = echoes;
        rendered
    }
}

/// Addresses the head to the upstream. Policy has seen the path before its prefixes were changed.
fn address(head: &mut RequestHead, route: &Route, upstream: &Upstream) {
    if route.strip_prefix.is_some() {
        head.path = route.stripped(&head.path).into_owned();
    }
    // `*` asks about a whole server (RFC 9110 section 9.3.7): it has no path to put a prefix in front of.
    if !upstream.path_prefix.is_empty() && head.path != "*" {
        head.path.insert_str(0, &upstream.path_prefix);
    }
    head.authority.clone_from(&upstream.authority);
    head.version = Version::Http11;
}

/// The caller's own token, to be exchanged for one of the upstream's (RFC 8693).
fn caller_token(headers: &Headers) -> Option<SecretValue> {
    let presented = identity::extract(headers, Accept::BOTH).ok().flatten()?;
    SecretValue::new(presented.token.as_bytes().to_vec(), Scrub::Off).ok()
}

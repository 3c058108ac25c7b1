use super::{Cause, Exchange, Side};
use crate::{
    audit::{self, ExchangeId},
    buffer::Tally,
    http::Method,
    identity::Principal,
    metrics::{Figures, Labels, Limit},
    time::{Now, Timestamp},
};
use std::{net::SocketAddr, sync::Arc, time::Duration};

/// One ended exchange for the access log and the metrics. It holds no body and no credential.
#[derive(Clone, Debug)]
pub struct Summary {
    pub at: Timestamp,
    pub id: ExchangeId,
    pub session: Arc<str>,
    pub principal: Option<Arc<Principal>>,
    pub peer: SocketAddr,
    /// The proxy that named `peer`.
    pub via: Option<SocketAddr>,
    pub listener: Arc<str>,
    pub route: Option<Arc<str>>,
    pub upstream: Option<Arc<str>>,
    pub method: Option<Method>,
    /// Canonical path, without the query.
    pub path: String,
    /// Status that the caller got.
    pub status: Option<u16>,
    /// `allow`, `block`, `approve`, or `refuse` where it never came to a policy.
    pub decision: &'static str,
    /// Code of the gateway's own reply.
    pub code: Option<&'static str>,
    /// Why no connection to the upstream could be made, with its addresses.
    pub upstream_error: Option<String>,
    pub policy: Option<Arc<str>>,
    /// Policies under trial that would have decided.
    pub dry_runs: Vec<Arc<str>>,
    /// Why the token was refused.
    pub token_failure: Option<&'static str>,
    /// Mask and count.
    pub masks: Vec<(Arc<str>, u64)>,
    /// Body bytes received from the caller.
    pub bytes_in: u64,
    /// Body bytes sent to the caller.
    pub bytes_out: u64,
    pub tally: Tally,
    pub duration: Duration,
    /// Filled in by the relay.
    pub times: Times,
    /// Whether the caller went away before the end.
    pub client_closed: bool,
    /// The bound that the gateway had to refuse for.
    pub limit: Option<Limit>,
    pub audit_sequence: Option<u64>,
    /// Index of the shard; filled in by it.
    pub shard: usize,
}

/// Stage times, taken by the relay around its calls; zero where a stage did not happen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// From the request's head to the decision to forward it, without the waits below.
    pub decide: Duration,
    /// Waiting for the journal.
    pub record: Duration,
    /// Waiting for keys and leases.
    pub credential: Duration,
    /// Waiting for people.
    pub hold: Duration,
    /// Until the upstream connection stood.
    pub connect: Duration,
    /// From the forwarded head to the response's.
    pub first_byte: Duration,
    /// From the response's head to its end.
    pub response: Duration,
}

impl Times {
    /// Says them in a record, which has the whole time already.
    pub fn tell(&self, stages: &mut audit::Stages) {
        let micros = |duration: Duration| duration.as_micros() as u64;
        stages.record_us = micros(self.record);
        stages.hold_us = micros(self.hold);
        stages.connect_us = micros(self.connect);
        stages.first_byte_us = micros(self.first_byte);
        stages.response_us = micros(self.response);
    }
}

impl Summary {
    /// The gateway's own part of the time: all but upstream's, and what people took.
    pub fn overhead(&self) -> Duration {
        let others = self.times.connect + self.times.first_byte + self.times.response + self.times.hold;
        self.duration.saturating_sub(others)
    }

    /// The labels of this exchange.
    pub fn labels(&self) -> Labels<'_> {
        Labels {
            route: self.route.as_ref(),
            upstream: self.upstream.as_ref(),
            decision: self.decision,
            code: self.status.unwrap_or(0),
            policy: self.policy.as_ref(),
        }
    }

    /// The figures of this exchange.
    pub fn figures(&self) -> Figures<'_> {
        Figures {
            forwarded: self.code.is_none() && self.upstream.is_some(),
            duration: self.duration,
            overhead: self.overhead(),
            first_byte: self.times.first_byte,
            // In the order of `metrics::STAGES`.
            stages: [self.times.record, self.times.credential, self.times.connect, self.times.response],
            forwarded_bytes: self.tally.forwarded,
            copied_bytes: self.tally.copied,
            coalesced_bytes: self.tally.coalesced,
            policy_bytes: self.tally.policy,
            masks: &self.masks,
            token_failure: self.token_failure,
        }
    }
}

impl Exchange {
    /// Takes what no later record needs; this is the last that is said of the exchange.
    pub(super) fn summary(&mut self, now: Now) -> Summary {
        let path_bytes = self.path().len();
        let mut path = std::mem::take(&mut self.facts.target);
        path.truncate(path_bytes);
        let mut tally = self.request.counted();
        tally.add(self.response.counted());
        let decision = self.decision.as_ref();
        Summary {
            at: self.started.wall,
            id: self.caller.id,
            session: self.facts.session.clone(),
            principal: self.principal.clone(),
            peer: self.caller.peer,
            via: self.caller.via,
            listener: self.plan.listeners.get(self.caller.listener).cloned().unwrap_or_default(),
            route: self.route.as_ref().map(|route| route.name.clone()),
            upstream: self.upstream().map(|upstream| upstream.name.clone()),
            method: self.facts.method.clone(),
            path,
            status: self.ending.status,
            decision: decision.map_or("refuse", |decision| decision.ruling.as_str()),
            code: self.ending.refusal.as_ref().map(|refused| refused.code.as_str()),
            upstream_error: self
                .ending
                .refusal
                .as_ref()
                .and_then(|refused| (!refused.inside.is_empty()).then(|| refused.inside.clone())),
            policy: decision.map(|decision| decision.policy.clone()),
            dry_runs: decision
                .map(|decision| decision.dry_runs.iter().map(|run| run.policy.clone()).collect())
                .unwrap_or_default(),
            token_failure: self.ending.token_failure,
            masks: self.mask_hits(),
            bytes_in: self.request.received,
            bytes_out: self.response.passed,
            tally,
            duration: now.instant.since(self.started.instant),
            times: Times::default(),
            client_closed: matches!(self.ending.cause, Some((Side::Client, Cause::Closed))),
            limit: self.ending.limit,
            audit_sequence: self.ending.audit_sequence,
            shard: 0,
        }
    }
}

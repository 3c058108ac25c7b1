use super::{Cause, Exchange, Side};
use crate::{
    audit::ExchangeId,
    buffer::Tally,
    identity::Principal,
    metrics::{Figures, RequestLabels},
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
    pub method: String,
    /// Canonical path, without the query.
    pub path: String,
    /// Status that the caller got.
    pub status: Option<u16>,
    /// `allow`, `block`, `approve`, or `refuse` where it never came to a policy.
    pub decision: &'static str,
    /// Code of the gateway's own reply.
    pub code: Option<&'static str>,
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
    /// Until the upstream connection stood.
    pub connect: Duration,
    /// From the forwarded head to the response's.
    pub first_byte: Duration,
    /// From the response's head to its end.
    pub response: Duration,
}

impl Summary {
    /// The gateway's own part of the time: all but upstream's.
    pub fn overhead(&self) -> Duration {
        let upstream = self.times.connect + self.times.first_byte + self.times.response;
        self.duration.saturating_sub(upstream)
    }

    /// The labels of this exchange.
    pub fn labels(&self) -> RequestLabels {
        let name = |name: &Option<Arc<str>>| name.as_deref().unwrap_or_default().to_owned();
        RequestLabels {
            route: name(&self.route),
            upstream: name(&self.upstream),
            decision: self.decision.to_owned(),
            code: self.status.unwrap_or(0),
        }
    }

    /// The figures of this exchange.
    pub fn figures(&self) -> Figures {
        let stages = [
            ("record", self.times.record),
            ("credential", self.times.credential),
            ("connect", self.times.connect),
            ("response", self.times.response),
        ];
        Figures {
            forwarded: self.code.is_none() && self.upstream.is_some(),
            duration: self.duration,
            overhead: self.overhead(),
            first_byte: (!self.times.first_byte.is_zero()).then_some(self.times.first_byte),
            stages: stages.into_iter().filter(|(_, time)| !time.is_zero()).collect(),
            forwarded_bytes: self.tally.forwarded,
            copied_bytes: self.tally.copied,
            coalesced_bytes: self.tally.coalesced,
            policy_bytes: self.tally.policy,
            masks: self.masks.iter().map(|(name, count)| (name.to_string(), *count)).collect(),
            policy: self.policy.as_ref().map(|policy| (policy.to_string(), self.decision.to_owned())),
            token_failure: self.token_failure.map(str::to_owned),
        }
    }
}

impl Exchange {
    pub(super) fn summary(&self, now: Now) -> Summary {
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
            method: self.facts.method.as_ref().map_or("", |method| method.as_str()).to_owned(),
            path: self.path().to_owned(),
            status: self.ending.status,
            decision: decision.map_or("refuse", |decision| decision.ruling.as_str()),
            code: self.ending.refusal.as_ref().map(|refused| refused.code.as_str()),
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
            audit_sequence: self.ending.audit_sequence,
            shard: 0,
        }
    }
}

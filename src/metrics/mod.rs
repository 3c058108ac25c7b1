//! Counters, gauges and histograms. They take plain names and numbers and know none of our types.
//!
//! Names follow Prometheus: base units, `_total` on counters, bounded labels: never a subject, a session or a
//! path. What every exchange counts has a part in each shard ([`ShardMetrics`]); the parts are added up when
//! somebody scrapes. This is not the access log.

mod shard;
mod sharded;
mod upstream;

pub use shard::{Figures, Labels, STAGES, ShardMetrics};
pub use upstream::UpstreamMetrics;

mod limit;

pub use limit::Limit;

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use sharded::{Count, Latency, Sharded};
use std::sync::atomic::AtomicU64;

/// One ended exchange, as labels.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    upstream: String,
    decision: &'static str,
    /// Status code of the reply; `0` if there was none.
    code: u16,
}

/// One label with a bounded set of values.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stage {
    stage: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Path {
    path: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Mask {
    mask: String,
}

/// What a policy can decide, as the label says it.
const DECISIONS: [&str; 3] = ["allow", "block", "approve"];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Policy {
    policy: String,
    decision: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

/// What became of a notice; targets are those of the configuration, so that there are few.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Notice {
    target: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failure {
    reason: &'static str,
}

/// Which certificate: those of the configuration in force, so that there are few.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CertificateLabels {
    pub listener: String,
    /// The first of its names.
    pub name: String,
    pub serial: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildInfo {
    version: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Shard {
    shard: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Named {
    name: String,
}

/// Exchanges since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Ended ones that went upstream.
    pub forwarded: u64,
    /// Ended ones that the gateway answered by itself.
    pub refused: u64,
    /// Those that have not ended.
    pub in_flight: u64,
}

/// Values that only exist elsewhere and are read when somebody scrapes.
#[derive(Clone, Debug, Default)]
pub struct Scrape {
    /// Issuer and age of its keys in seconds.
    pub jwks_age: Vec<(String, f64)>,
    /// Secret and age of its value in seconds.
    pub secret_age: Vec<(String, f64)>,
    pub audit_sequence: u64,
    pub audit_signed_sequence: u64,
    pub audit_queue_depth: u64,
    pub audit_disk_bytes: u64,
    pub audit_disk_available_bytes: u64,
    pub audit_removed_segment: u64,
    /// Certificate and seconds until it expires.
    pub certificate_expiry: Vec<(CertificateLabels, i64)>,
}

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Sharded<Count>>,
    duration: Sharded<Latency>,
    overhead: Sharded<Latency>,
    first_byte: Sharded<Latency>,
    stages: Family<Stage, Sharded<Latency>>,
    body_bytes: Family<Path, Sharded<Count>>,
    mask_hits: Family<Mask, Counter>,
    policy_decisions: Family<Policy, Sharded<Count>>,
    auth_failures: Family<Reason, Counter>,
    limit_hits: Family<Reason, Counter>,
    /// The counters of `limit_hits`, by the number of the limit.
    limits: Vec<Counter>,
    memory: Family<Shard, Gauge>,
    memory_max: Family<Shard, Gauge>,
    jwks_age: Family<Named, Gauge<f64, AtomicU64>>,
    secret_age: Family<Named, Gauge<f64, AtomicU64>>,
    audit_sequence: Gauge,
    audit_signed: Gauge,
    audit_queue_depth: Gauge,
    /// Size of the audit disk, what is available there, and the last segment that retention deleted.
    audit_disk: [Gauge; 3],
    connections: Family<Shard, Gauge>,
    handshakes: Family<Kind, Counter>,
    handshakes_failed: Family<Failure, Counter>,
    certificate_expiry: Family<CertificateLabels, Gauge>,
    in_flight: Gauge,
    begun: Sharded<Count>,
    forwarded: Sharded<Count>,
    refused: Sharded<Count>,
    /// Accepted connections.
    pub connections_accepted: Counter,
    /// Connections without an acceptable PROXY header where one is demanded.
    pub proxy_headers_refused: Counter,
    upstreams: upstream::Upstreams,
    /// Tasks that panicked; each is a bug.
    pub panics: Counter,
    /// Leases that could not be revoked.
    pub leases_unrevoked: Counter,
    /// Answers to shards that found no room.
    pub answers_dropped: Counter,
    /// Refusals that have no record of their own, but are counted in that of another one.
    pub audit_refusals_folded: Counter,
    /// Access log lines that a slow output dropped.
    pub log_lines_dropped: Counter,
    /// 1 after a good reload, 0 after a refused one.
    pub reload_successful: Gauge,
    /// 1 where the epoll driver runs because io_uring is not available.
    pub epoll_fallback: Gauge,
    /// Requests that wait for people.
    pub approvals_pending: Gauge,
    notices: Family<Notice, Counter>,
    notices_waiting: Family<Named, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Metrics {
            registry: Registry::with_prefix("ringward"),
            requests: Family::default(),
            duration: Sharded::default(),
            overhead: Sharded::default(),
            first_byte: Sharded::default(),
            stages: Family::default(),
            body_bytes: Family::default(),
            mask_hits: Family::default(),
            policy_decisions: Family::default(),
            auth_failures: Family::default(),
            limit_hits: Family::default(),
            limits: Vec::new(),
            memory: Family::default(),
            memory_max: Family::default(),
            jwks_age: Family::default(),
            secret_age: Family::default(),
            audit_sequence: Gauge::default(),
            audit_signed: Gauge::default(),
            audit_queue_depth: Gauge::default(),
            audit_disk: Default::default(),
            connections: Family::default(),
            in_flight: Gauge::default(),
            begun: Sharded::default(),
            forwarded: Sharded::default(),
            refused: Sharded::default(),
            connections_accepted: Counter::default(),
            proxy_headers_refused: Counter::default(),
            handshakes: Family::default(),
            handshakes_failed: Family::default(),
            certificate_expiry: Family::default(),
            upstreams: upstream::Upstreams::default(),
            panics: Counter::default(),
            leases_unrevoked: Counter::default(),
            answers_dropped: Counter::default(),
            audit_refusals_folded: Counter::default(),
            log_lines_dropped: Counter::default(),
            reload_successful: Gauge::default(),
            epoll_fallback: Gauge::default(),
            approvals_pending: Gauge::default(),
            notices: Family::default(),
            notices_waiting: Family::default(),
        };
        metrics.register_exchanges();
        metrics.register_process();
        metrics.register_limits();
        metrics
    }
}

impl Metrics {
    fn register_exchanges(&mut self) {
        let registry = &mut self.registry;
        registry.register("requests", "Ended exchanges", self.requests.clone());
        registry.register("request_duration_seconds", "Whole exchange", self.duration.clone());
        registry.register("overhead_seconds", "Exchange without upstream and holds", self.overhead.clone());
        registry.register("ttft_seconds", "Until upstream's first byte", self.first_byte.clone());
        registry.register("stage_duration_seconds", "Time in one stage", self.stages.clone());
        registry.register("body_bytes", "Body bytes by the way they went", self.body_bytes.clone());
        registry.register("mask_hits", "Matches of masks", self.mask_hits.clone());
        registry.register("policy_decisions", "Decisions by policy", self.policy_decisions.clone());
        registry.register("auth_failures", "Refused tokens by reason", self.auth_failures.clone());
    }

    fn register_process(&mut self) {
        let registry = &mut self.registry;
        registry.register("jwks_age_seconds", "Age of an issuer's keys", self.jwks_age.clone());
        registry.register("secret_age_seconds", "Age of a secret's value", self.secret_age.clone());
        registry.register("audit_sequence", "Last record written", self.audit_sequence.clone());
        registry.register("audit_queue_depth", "Records on their way", self.audit_queue_depth.clone());
        registry.register(
            "audit_refusals_folded",
            "Refusals that are counted in the record of another one",
            self.audit_refusals_folded.clone(),
        );
        registry.register(
            "audit_signed_sequence",
            "Last record that a checkpoint covers",
            self.audit_signed.clone(),
        );
        let [size, available, removed] = self.audit_disk.clone();
        registry.register("audit_disk_bytes", "Size of the disk of the log", size);
        registry.register("audit_disk_available_bytes", "What is available there", available);
        registry.register("audit_removed_segment", "Last segment that retention deleted", removed);
        registry.register("connections", "Open connections of callers", self.connections.clone());
        registry.register("requests_in_flight", "Exchanges that have not ended", self.in_flight.clone());
        registry.register("connections_accepted", "Accepted connections", self.connections_accepted.clone());
        registry.register("handshakes", "TLS handshakes of callers", self.handshakes.clone());
        registry.register("handshakes_failed", "Failed TLS handshakes", self.handshakes_failed.clone());
        registry.register(
            "proxy_headers_refused",
            "Connections without an acceptable PROXY header",
            self.proxy_headers_refused.clone(),
        );
        registry.register(
            "certificate_expiry_seconds",
            "Time until a listener's certificate expires; below zero it has",
            self.certificate_expiry.clone(),
        );
        self.upstreams.register(registry);
        registry.register("panics", "Tasks that panicked", self.panics.clone());
        registry.register("leases_unrevoked", "Leases left to expire", self.leases_unrevoked.clone());
        registry.register("log_lines_dropped", "Dropped access log lines", self.log_lines_dropped.clone());
        registry.register(
            "config_last_reload_successful",
            "Whether the last reload was taken",
            self.reload_successful.clone(),
        );
        registry.register(
            "approvals_pending",
            "Requests that wait for people",
            self.approvals_pending.clone(),
        );
        registry.register(
            "notifications",
            "Tries to tell somebody, and how they ended",
            self.notices.clone(),
        );
        let waiting = self.notices_waiting.clone();
        registry.register("notifications_waiting", "Notices that have not arrived yet", waiting);
        registry.register("epoll_fallback", "Whether epoll stands in", self.epoll_fallback.clone());
        let build = Family::<BuildInfo, Gauge>::default();
        build.get_or_create(&BuildInfo { version: env!("CARGO_PKG_VERSION") }).set(1);
        registry.register("build_info", "Version of this process", build);
    }

    fn register_limits(&mut self) {
        let registry = &mut self.registry;
        registry.register("limit_hits", "Bounds that were met", self.limit_hits.clone());
        registry.register("memory_bytes", "Memory of connections and bodies", self.memory.clone());
        registry.register("memory_max_bytes", "What they may have", self.memory_max.clone());
        registry.register("answers_dropped", "Answers to shards without room", self.answers_dropped.clone());
        let counter =
            |limit: Limit| self.limit_hits.get_or_create_owned(&Reason { reason: limit.as_str().to_owned() });
        self.limits = Limit::ALL.into_iter().map(counter).collect();
    }

    /// Requests that the policy of this name decided.
    pub fn policy_decisions(&self, policy: &str) -> u64 {
        let of = |decision| {
            let labels = Policy { policy: policy.to_owned(), decision };
            self.policy_decisions.get(&labels).map_or(0, |count| count.sum())
        };
        DECISIONS.into_iter().map(of).sum()
    }

    /// Somebody met a limit.
    pub fn limit(&self, limit: Limit) {
        if let Some(counter) = self.limits.get(limit as usize) {
            counter.inc();
        }
    }

    /// How often a limit was met.
    pub fn limit_hits(&self, limit: Limit) -> u64 {
        self.limits.get(limit as usize).map_or(0, Counter::get)
    }

    /// The gauges of the memory that a shard uses and may use.
    pub fn memory(&self, shard: usize) -> (Gauge, Gauge) {
        let labels = Shard { shard: shard as u32 };
        (self.memory.get_or_create_owned(&labels), self.memory_max.get_or_create_owned(&labels))
    }

    /// The gauge of a shard's open connections.
    pub fn connections(&self, shard: usize) -> Gauge {
        self.connections.get_or_create_owned(&Shard { shard: shard as u32 })
    }

    /// Counts what became of a notice, or of one try: `delivered`, `failed`, `given_up` or `dropped`.
    pub fn notice(&self, target: &str, outcome: &'static str) {
        self.notices.get_or_create_owned(&Notice { target: target.to_owned(), outcome }).inc();
    }

    /// The gauge of what waits for one target.
    pub fn notices_waiting(&self, target: &str) -> Gauge {
        self.notices_waiting.get_or_create_owned(&Named { name: target.to_owned() })
    }

    /// The metrics of one upstream; `reasons` are the words for why a connection was closed.
    pub fn upstream(&self, name: &str, reasons: &[&'static str]) -> UpstreamMetrics {
        self.upstreams.of(name, reasons)
    }

    /// A caller's TLS handshake is done: a whole one, or one that resumed a session.
    pub fn handshake(&self, resumed: bool) {
        self.handshakes.get_or_create(&Kind { kind: if resumed { "resumed" } else { "full" } }).inc();
    }

    /// A caller's TLS handshake has failed; `reason` is one of few words.
    pub fn handshake_failed(&self, reason: &'static str) {
        self.handshakes_failed.get_or_create(&Failure { reason }).inc();
    }

    /// Exchanges so far.
    pub fn totals(&self) -> Totals {
        // Those that ended are read first: none can end before it began.
        let (forwarded, refused) = (self.forwarded.sum(), self.refused.sum());
        let in_flight = self.begun.sum().saturating_sub(forwarded + refused);
        Totals { forwarded, refused, in_flight }
    }

    fn stage(&self, stage: &'static str) -> Sharded<Latency> {
        self.stages.get_or_create_owned(&Stage { stage })
    }

    fn body_bytes(&self, path: &'static str) -> Sharded<Count> {
        self.body_bytes.get_or_create_owned(&Path { path })
    }

    fn count_mask(&self, mask: &str, count: u64) {
        self.mask_hits.get_or_create(&Mask { mask: mask.to_owned() }).inc_by(count);
    }

    fn count_token_failure(&self, reason: &str) {
        self.auth_failures.get_or_create(&Reason { reason: reason.to_owned() }).inc();
    }

    /// All metrics in the OpenMetrics text format, which Prometheus reads.
    pub fn render(&self, scrape: &Scrape) -> String {
        for (name, age) in &scrape.jwks_age {
            self.jwks_age.get_or_create(&Named { name: name.clone() }).set(*age);
        }
        for (name, age) in &scrape.secret_age {
            self.secret_age.get_or_create(&Named { name: name.clone() }).set(*age);
        }
        // A reload may have replaced some.
        self.certificate_expiry.clear();
        for (labels, seconds) in &scrape.certificate_expiry {
            self.certificate_expiry.get_or_create(labels).set(*seconds);
        }
        self.in_flight.set(self.totals().in_flight as i64);
        self.audit_sequence.set(scrape.audit_sequence as i64);
        self.audit_signed.set(scrape.audit_signed_sequence as i64);
        self.audit_queue_depth.set(scrape.audit_queue_depth as i64);
        let audit =
            [scrape.audit_disk_bytes, scrape.audit_disk_available_bytes, scrape.audit_removed_segment];
        for (gauge, value) in self.audit_disk.iter().zip(audit) {
            gauge.set(value as i64);
        }
        let mut text = String::new();
        // Writing into a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn an_exchange_shows_up_under_its_labels() {
        let metrics = Arc::new(Metrics::default());
        let (route, upstream, policy) = ("r".into(), "u".into(), "p".into());
        let labels = Labels {
            route: Some(&route),
            upstream: Some(&upstream),
            decision: "allow",
            code: 200,
            policy: Some(&policy),
        };
        let masks = [("cards".into(), 2)];
        let figures = Figures { copied_bytes: 3, masks: &masks, forwarded: true, ..Figures::default() };
        let (one, other) = (ShardMetrics::new(metrics.clone()), ShardMetrics::new(metrics.clone()));
        for shard in [&one, &other] {
            shard.begin();
            shard.count(labels, &figures);
        }
        one.begin();
        assert_eq!((metrics.policy_decisions("p"), metrics.policy_decisions("q")), (2, 0));
        let text = metrics.render(&Scrape { audit_sequence: 9, ..Scrape::default() });
        for line in [
            "ringward_requests_total{route=\"r\",upstream=\"u\",decision=\"allow\",code=\"200\"} 2",
            "ringward_policy_decisions_total{policy=\"p\",decision=\"allow\"} 2",
            "ringward_request_duration_seconds_count 2",
            "ringward_request_duration_seconds_bucket{le=\"+Inf\"} 2",
            "ringward_body_bytes_total{path=\"copied\"} 6",
            "ringward_mask_hits_total{mask=\"cards\"} 4",
            "ringward_requests_in_flight 1",
            "ringward_audit_sequence 9",
        ] {
            assert!(text.lines().any(|l| l == line), "no line {line:?} in:\n{text}");
        }
        assert_eq!(metrics.totals(), Totals { forwarded: 2, refused: 0, in_flight: 1 });
    }
}

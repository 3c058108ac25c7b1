//! Counters, gauges and histograms. They take plain names and numbers and know none of our types.
//!
//! Names follow Prometheus: base units, `_total` on counters, bounded labels: never a subject, a session or a
//! path. This is not the access log.

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// One ended exchange, as labels.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    pub route: String,
    pub upstream: String,
    pub decision: String,
    /// Status code of the reply; `0` if there was none.
    pub code: u16,
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

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Policy {
    policy: String,
    decision: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
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

/// Figures of one ended exchange.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Whether it went upstream.
    pub forwarded: bool,
    pub duration: Duration,
    /// Without upstream and without waiting for a human: the gateway's own part.
    pub overhead: Duration,
    pub first_byte: Option<Duration>,
    /// Stage and time spent in it.
    pub stages: Vec<(&'static str, Duration)>,
    pub forwarded_bytes: u64,
    pub copied_bytes: u64,
    pub coalesced_bytes: u64,
    pub policy_bytes: u64,
    /// Mask and count.
    pub masks: Vec<(String, u64)>,
    /// Policy that decided and its decision.
    pub policy: Option<(String, String)>,
    /// Why a token was refused.
    pub token_failure: Option<String>,
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
    pub audit_queue_depth: u64,
    /// Certificate and seconds until it expires.
    pub certificate_expiry: Vec<(CertificateLabels, i64)>,
}

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    duration: Histogram,
    overhead: Histogram,
    first_byte: Histogram,
    stages: Family<Stage, Histogram>,
    body_bytes: Family<Path, Counter>,
    mask_hits: Family<Mask, Counter>,
    policy_decisions: Family<Policy, Counter>,
    auth_failures: Family<Reason, Counter>,
    jwks_age: Family<Named, Gauge<f64, AtomicU64>>,
    secret_age: Family<Named, Gauge<f64, AtomicU64>>,
    audit_sequence: Gauge,
    audit_queue_depth: Gauge,
    connections: Family<Shard, Gauge>,
    handshakes: Family<Kind, Counter>,
    handshakes_failed: Family<Failure, Counter>,
    certificate_expiry: Family<CertificateLabels, Gauge>,
    in_flight: Gauge,
    forwarded: AtomicU64,
    refused: AtomicU64,
    /// Accepted connections.
    pub connections_accepted: Counter,
    /// Connections without an acceptable PROXY header where one is demanded.
    pub proxy_headers_refused: Counter,
    /// Fresh connections to upstreams.
    pub upstream_connected: Counter,
    /// Upstream connections taken from a pool.
    pub upstream_reused: Counter,
    /// Tasks that panicked; each is a bug.
    pub panics: Counter,
    /// Leases that could not be revoked.
    pub leases_unrevoked: Counter,
    /// Access log lines that a slow output dropped.
    pub log_lines_dropped: Counter,
    /// 1 after a good reload, 0 after a refused one.
    pub reload_successful: Gauge,
    /// 1 where the epoll driver runs because io_uring is not available.
    pub epoll_fallback: Gauge,
}

/// Bounds of the latency histograms in seconds: 50 µs to 5 minutes.
const LATENCY_BOUNDS: [f64; 18] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
    30.0, 120.0, 300.0,
];

fn latency() -> Histogram {
    Histogram::new(LATENCY_BOUNDS)
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Metrics {
            registry: Registry::with_prefix("ringward"),
            requests: Family::default(),
            duration: latency(),
            overhead: latency(),
            first_byte: latency(),
            stages: Family::new_with_constructor(latency),
            body_bytes: Family::default(),
            mask_hits: Family::default(),
            policy_decisions: Family::default(),
            auth_failures: Family::default(),
            jwks_age: Family::default(),
            secret_age: Family::default(),
            audit_sequence: Gauge::default(),
            audit_queue_depth: Gauge::default(),
            connections: Family::default(),
            in_flight: Gauge::default(),
            forwarded: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            connections_accepted: Counter::default(),
            proxy_headers_refused: Counter::default(),
            handshakes: Family::default(),
            handshakes_failed: Family::default(),
            certificate_expiry: Family::default(),
            upstream_connected: Counter::default(),
            upstream_reused: Counter::default(),
            panics: Counter::default(),
            leases_unrevoked: Counter::default(),
            log_lines_dropped: Counter::default(),
            reload_successful: Gauge::default(),
            epoll_fallback: Gauge::default(),
        };
        metrics.register_exchanges();
        metrics.register_process();
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
        registry.register(
            "upstream_connected",
            "Fresh upstream connections",
            self.upstream_connected.clone(),
        );
        registry.register("upstream_reused", "Pooled upstream connections", self.upstream_reused.clone());
        registry.register("panics", "Tasks that panicked", self.panics.clone());
        registry.register("leases_unrevoked", "Leases left to expire", self.leases_unrevoked.clone());
        registry.register("log_lines_dropped", "Dropped access log lines", self.log_lines_dropped.clone());
        registry.register(
            "config_last_reload_successful",
            "Whether the last reload was taken",
            self.reload_successful.clone(),
        );
        registry.register("epoll_fallback", "Whether epoll stands in", self.epoll_fallback.clone());
        let build = Family::<BuildInfo, Gauge>::default();
        build.get_or_create(&BuildInfo { version: env!("CARGO_PKG_VERSION") }).set(1);
        registry.register("build_info", "Version of this process", build);
    }

    /// The gauge of a shard's open connections.
    pub fn connections(&self, shard: usize) -> Gauge {
        self.connections.get_or_create_owned(&Shard { shard: shard as u32 })
    }

    /// Bytes that a connection has joined for TLS, and those that TLS has copied, once for each copy.
    pub fn add_transport(&self, coalesced: u64, tls_read: u64, tls_written: u64) {
        for (path, bytes) in [("coalesced", coalesced), ("tls_read", tls_read), ("tls_written", tls_written)]
        {
            if bytes > 0 {
                self.body_bytes.get_or_create(&Path { path }).inc_by(bytes);
            }
        }
    }

    /// A caller's TLS handshake is done: a whole one, or one that resumed a session.
    pub fn handshake(&self, resumed: bool) {
        self.handshakes.get_or_create(&Kind { kind: if resumed { "resumed" } else { "full" } }).inc();
    }

    /// A caller's TLS handshake has failed; `reason` is one of few words.
    pub fn handshake_failed(&self, reason: &'static str) {
        self.handshakes_failed.get_or_create(&Failure { reason }).inc();
    }

    /// An exchange has begun.
    pub fn begin(&self) {
        self.in_flight.inc();
    }

    /// Exchanges so far.
    pub fn totals(&self) -> Totals {
        Totals {
            forwarded: self.forwarded.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            in_flight: self.in_flight.get().max(0) as u64,
        }
    }

    /// Counts one ended exchange.
    pub fn count(&self, labels: &RequestLabels, figures: &Figures) {
        self.in_flight.dec();
        let total = if figures.forwarded { &self.forwarded } else { &self.refused };
        total.fetch_add(1, Ordering::Relaxed);
        self.requests.get_or_create(labels).inc();
        self.duration.observe(figures.duration.as_secs_f64());
        self.overhead.observe(figures.overhead.as_secs_f64());
        if let Some(first_byte) = figures.first_byte {
            self.first_byte.observe(first_byte.as_secs_f64());
        }
        for (stage, time) in &figures.stages {
            self.stages.get_or_create(&Stage { stage }).observe(time.as_secs_f64());
        }
        let paths = [
            ("forwarded", figures.forwarded_bytes),
            ("copied", figures.copied_bytes),
            ("coalesced", figures.coalesced_bytes),
            ("policy", figures.policy_bytes),
        ];
        for (path, bytes) in paths.into_iter().filter(|(_, bytes)| *bytes > 0) {
            self.body_bytes.get_or_create(&Path { path }).inc_by(bytes);
        }
        for (mask, count) in &figures.masks {
            self.mask_hits.get_or_create(&Mask { mask: mask.clone() }).inc_by(*count);
        }
        if let Some((policy, decision)) = &figures.policy {
            let labels = Policy { policy: policy.clone(), decision: decision.clone() };
            self.policy_decisions.get_or_create(&labels).inc();
        }
        if let Some(reason) = &figures.token_failure {
            self.auth_failures.get_or_create(&Reason { reason: reason.clone() }).inc();
        }
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
        self.audit_sequence.set(scrape.audit_sequence as i64);
        self.audit_queue_depth.set(scrape.audit_queue_depth as i64);
        let mut text = String::new();
        // Writing into a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exchange_shows_up_under_its_labels() {
        let metrics = Metrics::default();
        let labels = RequestLabels {
            route: "r".to_owned(),
            upstream: "u".to_owned(),
            decision: "allow".to_owned(),
            code: 200,
        };
        let figures = Figures { copied_bytes: 3, masks: vec![("cards".to_owned(), 2)], ..Figures::default() };
        metrics.count(&labels, &figures);
        let text = metrics.render(&Scrape { audit_sequence: 9, ..Scrape::default() });
        for line in [
            "ringward_requests_total{route=\"r\",upstream=\"u\",decision=\"allow\",code=\"200\"} 1",
            "ringward_body_bytes_total{path=\"copied\"} 3",
            "ringward_mask_hits_total{mask=\"cards\"} 2",
            "ringward_audit_sequence 9",
        ] {
            assert!(text.lines().any(|l| l == line), "no line {line:?} in:\n{text}");
        }
    }
}

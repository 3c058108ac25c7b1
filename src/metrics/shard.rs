use super::{
    Metrics, Policy, RequestLabels,
    sharded::{Count, Latency},
};
use std::{cell::RefCell, sync::Arc, time::Duration};

/// Combinations of labels that a shard keeps at hand; after that it begins anew.
const KNOWN_MAX: usize = 256;

/// Stages of an exchange that are timed one by one.
pub const STAGES: [&str; 4] = ["record", "credential", "connect", "response"];
/// Ways that body bytes go.
pub(super) const PATHS: [&str; 6] = ["forwarded", "copied", "coalesced", "policy", "tls_read", "tls_written"];

/// What one ended exchange is counted under. Names are compared by their place in memory first: those of
/// one configuration are the same objects.
#[derive(Clone, Copy, Debug, Default)]
pub struct Labels<'a> {
    pub route: Option<&'a Arc<str>>,
    pub upstream: Option<&'a Arc<str>>,
    pub decision: &'static str,
    /// Status code of the reply; `0` if there was none.
    pub code: u16,
    /// Policy that decided.
    pub policy: Option<&'a Arc<str>>,
}

/// Figures of one ended exchange.
#[derive(Clone, Debug, Default)]
pub struct Figures<'a> {
    /// Whether it went upstream.
    pub forwarded: bool,
    pub duration: Duration,
    /// Without upstream and without waiting for a human: the gateway's own part.
    pub overhead: Duration,
    pub first_byte: Duration,
    /// Time spent in each of [`STAGES`]; zero where a stage did not happen.
    pub stages: [Duration; STAGES.len()],
    pub forwarded_bytes: u64,
    pub copied_bytes: u64,
    pub coalesced_bytes: u64,
    pub policy_bytes: u64,
    /// Mask and count.
    pub masks: &'a [(Arc<str>, u64)],
    /// Why a token was refused.
    pub token_failure: Option<&'static str>,
}

/// The part of the metrics that one shard writes: no lock, no look-up by name, no memory that another shard
/// writes to.
pub struct ShardMetrics {
    all: Arc<Metrics>,
    begun: Arc<Count>,
    forwarded: Arc<Count>,
    refused: Arc<Count>,
    duration: Arc<Latency>,
    overhead: Arc<Latency>,
    first_byte: Arc<Latency>,
    stages: [Arc<Latency>; STAGES.len()],
    body_bytes: [Arc<Count>; PATHS.len()],
    known: RefCell<Vec<Known>>,
}

/// The counters of one combination of labels.
struct Known {
    route: Option<Arc<str>>,
    upstream: Option<Arc<str>>,
    policy: Option<Arc<str>>,
    decision: &'static str,
    code: u16,
    requests: Arc<Count>,
    decisions: Option<Arc<Count>>,
}

impl ShardMetrics {
    /// The part of one shard.
    pub fn new(all: Arc<Metrics>) -> ShardMetrics {
        ShardMetrics {
            begun: all.begun.part(),
            forwarded: all.forwarded.part(),
            refused: all.refused.part(),
            duration: all.duration.part(),
            overhead: all.overhead.part(),
            first_byte: all.first_byte.part(),
            stages: STAGES.map(|stage| all.stage(stage).part()),
            body_bytes: PATHS.map(|path| all.body_bytes(path).part()),
            known: RefCell::default(),
            all,
        }
    }

    /// An exchange has begun.
    pub fn begin(&self) {
        self.begun.add(1);
    }

    /// Bytes that a connection has joined for TLS, and those that TLS has copied, once for each copy.
    pub fn add_transport(&self, coalesced: u64, tls_read: u64, tls_written: u64) {
        let [_, _, joined, _, read, written] = &self.body_bytes;
        for (path, bytes) in [(joined, coalesced), (read, tls_read), (written, tls_written)] {
            if bytes > 0 {
                path.add(bytes);
            }
        }
    }

    /// Counts one ended exchange.
    pub fn count(&self, labels: Labels<'_>, figures: &Figures<'_>) {
        let total = if figures.forwarded { &self.forwarded } else { &self.refused };
        total.add(1);
        self.count_labels(labels);
        self.duration.observe(figures.duration);
        self.overhead.observe(figures.overhead);
        if !figures.first_byte.is_zero() {
            self.first_byte.observe(figures.first_byte);
        }
        for (stage, time) in self.stages.iter().zip(figures.stages) {
            if !time.is_zero() {
                stage.observe(time);
            }
        }
        let bytes =
            [figures.forwarded_bytes, figures.copied_bytes, figures.coalesced_bytes, figures.policy_bytes];
        for (path, bytes) in self.body_bytes.iter().zip(bytes) {
            path.add(bytes);
        }
        for (mask, count) in figures.masks {
            self.all.count_mask(mask, *count);
        }
        if let Some(reason) = figures.token_failure {
            self.all.count_token_failure(reason);
        }
    }

    fn count_labels(&self, labels: Labels<'_>) {
        let mut known = self.known.borrow_mut();
        let at = match known.iter().position(|known| known.is_for(&labels)) {
            Some(at) => at,
            None => {
                if known.len() >= KNOWN_MAX {
                    known.clear();
                }
                known.push(self.look_up(labels));
                known.len() - 1
            }
        };
        known[at].requests.add(1);
        if let Some(decisions) = &known[at].decisions {
            decisions.add(1);
        }
    }

    fn look_up(&self, labels: Labels<'_>) -> Known {
        let name = |name: Option<&Arc<str>>| name.map_or_else(String::new, |name| name.to_string());
        let requests = RequestLabels {
            route: name(labels.route),
            upstream: name(labels.upstream),
            decision: labels.decision,
            code: labels.code,
        };
        let decisions = labels.policy.map(|policy| {
            let policy = Policy { policy: policy.to_string(), decision: labels.decision };
            self.all.policy_decisions.get_or_create_owned(&policy).part()
        });
        let requests = self.all.requests.get_or_create_owned(&requests).part();
        Known {
            route: labels.route.cloned(),
            upstream: labels.upstream.cloned(),
            policy: labels.policy.cloned(),
            decision: labels.decision,
            code: labels.code,
            requests,
            decisions,
        }
    }
}

impl Known {
    /// Whether these are the same names of the same configuration.
    fn is_for(&self, labels: &Labels<'_>) -> bool {
        let same = |one: &Option<Arc<str>>, other: Option<&Arc<str>>| match (one, other) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        };
        self.code == labels.code
            && same(&self.route, labels.route)
            && same(&self.upstream, labels.upstream)
            && same(&self.policy, labels.policy)
            && self.decision == labels.decision
    }
}

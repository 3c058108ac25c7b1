//! What happens between the gateway and its upstreams.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Upstream {
    upstream: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    upstream: String,
    reason: &'static str,
}

/// The families, by upstream.
#[derive(Default)]
pub(super) struct Upstreams {
    connected: Family<Upstream, Counter>,
    reused: Family<Upstream, Counter>,
    failed: Family<Upstream, Counter>,
    ejections: Family<Upstream, Counter>,
    overloaded: Family<Upstream, Counter>,
    retired: Family<Ended, Counter>,
    open: Family<Upstream, Gauge>,
    idle: Family<Upstream, Gauge>,
    waiting: Family<Upstream, Gauge>,
    ejected: Family<Upstream, Gauge>,
}

/// The metrics of one upstream, all shards together. Clones count alike.
#[derive(Clone, Debug)]
pub struct UpstreamMetrics {
    /// Connections that were made.
    pub connected: Counter,
    /// Requests that went out on a connection of an earlier one.
    pub reused: Counter,
    /// Connections that could not be made, by address.
    pub failed: Counter,
    /// How often an address was set aside.
    pub ejections: Counter,
    /// Requests that got no connection, because there were too many.
    pub overloaded: Counter,
    /// Closed connections, in the order of the reasons.
    pub retired: Vec<Counter>,
    /// Connections, idle ones included.
    pub open: Gauge,
    pub idle: Gauge,
    /// Requests that wait for a connection.
    pub waiting: Gauge,
    /// Addresses that are set aside; each shard counts its own.
    pub ejected: Gauge,
}

impl Upstreams {
    pub fn register(&self, registry: &mut Registry) {
        let counters = [
            ("upstream_connected", "Fresh upstream connections", &self.connected),
            ("upstream_reused", "Pooled upstream connections", &self.reused),
            ("upstream_connect_failures", "Connections that could not be made", &self.failed),
            ("upstream_ejections", "Addresses set aside", &self.ejections),
            ("upstream_overloaded", "Requests that got no connection", &self.overloaded),
        ];
        for (name, help, family) in counters {
            registry.register(name, help, family.clone());
        }
        let help = "Closed upstream connections by reason";
        registry.register("upstream_retired", help, self.retired.clone());
        let gauges = [
            ("upstream_connections", "Open upstream connections", &self.open),
            ("upstream_idle", "Idle upstream connections", &self.idle),
            ("upstream_waiting", "Requests that wait for a connection", &self.waiting),
            ("upstream_ejected", "Addresses that are set aside, by shard and address", &self.ejected),
        ];
        for (name, help, family) in gauges {
            registry.register(name, help, family.clone());
        }
    }

    pub fn of(&self, name: &str, reasons: &[&'static str]) -> UpstreamMetrics {
        let labels = Upstream { upstream: name.to_owned() };
        let ended = |reason: &&'static str| Ended { upstream: name.to_owned(), reason };
        UpstreamMetrics {
            connected: self.connected.get_or_create_owned(&labels),
            reused: self.reused.get_or_create_owned(&labels),
            failed: self.failed.get_or_create_owned(&labels),
            ejections: self.ejections.get_or_create_owned(&labels),
            overloaded: self.overloaded.get_or_create_owned(&labels),
            retired: reasons.iter().map(|one| self.retired.get_or_create_owned(&ended(one))).collect(),
            open: self.open.get_or_create_owned(&labels),
            idle: self.idle.get_or_create_owned(&labels),
            waiting: self.waiting.get_or_create_owned(&labels),
            ejected: self.ejected.get_or_create_owned(&labels),
        }
    }
}

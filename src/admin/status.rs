//! What the process says about itself: plain values, and the verdict on readiness that follows from them.

use crate::metrics::{CertificateLabels, Scrape};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The whole process at one moment: `GET /api/v1/status`. Times are RFC 3339 in UTC, ages whole or fractional
/// seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Status {
    pub version: String,
    pub pid: u32,
    pub started: String,
    pub uptime_s: u64,
    /// No new connections are taken; the process ends when the open ones are through.
    pub draining: bool,
    pub config: ConfigStatus,
    pub requests: RequestStatus,
    pub limits: LimitStatus,
    pub audit: AuditStatus,
    pub shards: Vec<ShardStatus>,
    pub listeners: Vec<ListenerStatus>,
    pub issuers: Vec<IssuerStatus>,
    pub secrets: Vec<SecretStatus>,
    pub upstreams: Vec<UpstreamStatus>,
}

/// The configuration in force.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ConfigStatus {
    /// File it came from; `None` where it was built in.
    pub path: Option<String>,
    /// 1 at the start; each reload adds 1.
    pub generation: u64,
    pub loaded_at: String,
    /// Why the last reload was refused; `None` if it was not.
    pub last_reload_error: Option<String>,
}

/// Exchanges since the start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RequestStatus {
    pub forwarded: u64,
    pub refused: u64,
    pub in_flight: u64,
}

/// What callers take of what they may.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LimitStatus {
    /// Open connections of callers.
    pub connections: u64,
    pub connections_max: u64,
    /// Memory of connections and bodies, all shards together.
    pub memory_bytes: u64,
    pub memory_max_bytes: u64,
    /// Reason and count of each bound that was met since the start.
    pub hits: Vec<(String, u64)>,
}

/// One thread of the data plane.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ShardStatus {
    pub index: usize,
    /// Core that the thread is pinned to; `None` where it is not.
    pub cpu: Option<usize>,
    /// `io_uring` or `epoll`.
    pub driver: String,
    /// Open connections of callers.
    pub connections: u64,
    /// Memory of its connections and bodies.
    pub memory_bytes: u64,
}

/// One listener of the data plane.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ListenerStatus {
    pub name: String,
    /// Address and port it is bound to.
    pub addr: String,
    pub tls: bool,
    pub certificates: Vec<CertificateStatus>,
}

/// One certificate of a listener.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CertificateStatus {
    /// DNS names and IP addresses that it is valid for.
    pub names: Vec<String>,
    /// In hexadecimal, as OpenSSL shows it.
    pub serial: String,
    pub not_after: String,
    /// Seconds until then; below zero it has expired.
    pub expires_s: i64,
}

/// One issuer of tokens and its keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct IssuerStatus {
    pub name: String,
    /// Issuer identifier, a URL.
    pub issuer: String,
    /// Whether its tokens can be verified.
    pub ready: bool,
    /// Usable keys.
    pub keys: usize,
    /// Since its keys were fetched; `None` before.
    pub age_s: Option<f64>,
    /// Why the last fetch failed; `None` if it did not.
    pub last_error: Option<String>,
}

/// One secret: its name and age, never its value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SecretStatus {
    pub name: String,
    /// Where it comes from, such as `file /etc/ringward/anthropic`.
    pub source: String,
    /// Since the value was read; `None` while there is none.
    pub age_s: Option<f64>,
    /// Why the last attempt failed; `None` if it did not.
    pub last_error: Option<String>,
}

/// One upstream.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct UpstreamStatus {
    pub name: String,
    pub host: String,
    /// Addresses that connections lead to; empty while they are unknown.
    pub addresses: Vec<String>,
    /// The egress proxy that they lead through.
    pub via: Option<String>,
    pub connections: UpstreamConnections,
    /// Why it could not be resolved or reached; `None` if it could.
    pub last_error: Option<String>,
}

/// Connections of all shards to one upstream, as they were a moment ago.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct UpstreamConnections {
    /// Idle ones included.
    pub open: u64,
    pub idle: u64,
    /// Requests that wait for one.
    pub waiting: u64,
    /// Made since the start.
    pub connected: u64,
    /// Requests since the start that went out on a connection of an earlier one.
    pub reused: u64,
    /// Attempts since the start that failed.
    pub failed: u64,
    /// Addresses that are set aside because connections to them failed, counted by each shard.
    pub ejected: u64,
    /// Closed since the start, by reason.
    pub retired: BTreeMap<String, u64>,
}

/// The audit journal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AuditStatus {
    pub dir: String,
    /// Last record written.
    pub sequence: u64,
    /// Last record that survives a power cut.
    pub durable_sequence: u64,
    /// Records that the newest checkpoint covers.
    pub signed_through: u64,
    /// Why the file of the newest checkpoint could not be written.
    pub checkpoint_error: Option<String>,
    /// Records on their way.
    pub queue_depth: u64,
    pub state: AuditState,
    pub last_error: Option<String>,
    /// The disk of the log, in bytes; 0 before the first look.
    pub disk_bytes: u64,
    pub disk_available_bytes: u64,
    /// Used as far as the configuration allows: requests are refused until there is room.
    pub disk_full: bool,
    /// The last segment that retention deleted since the start; 0 for none.
    pub removed_segment: u64,
}

/// Whether the journal takes records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuditState {
    /// It opens its segments or recovers them.
    #[default]
    Starting,
    Recording,
    /// A write or sync failed: nothing is forwarded (SECURITY "Audit").
    Failed,
}

/// Whether requests would be served now: `GET /readyz`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    pub ready: bool,
    /// What was looked at. Shown to local operators only.
    pub checks: Vec<Check>,
}

/// One thing that must be there before requests can be served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// Kind and name, such as `issuer corp`.
    pub name: String,
    pub ok: bool,
    /// What is known about it; says the cause where it is not ok.
    pub detail: String,
}

impl ListenerStatus {
    /// Each certificate and the seconds until it expires.
    fn expiry(&self) -> impl Iterator<Item = (CertificateLabels, i64)> {
        self.certificates.iter().map(|one| {
            let name = one.names.first().cloned().unwrap_or_default();
            let labels = CertificateLabels { listener: self.name.clone(), name, serial: one.serial.clone() };
            (labels, one.expires_s)
        })
    }
}

impl Readiness {
    /// Ready if every check is ok.
    pub fn of(checks: Vec<Check>) -> Readiness {
        Readiness { ready: checks.iter().all(|check| check.ok), checks }
    }

    /// One line that names what is missing, or says that nothing is.
    pub fn summary(&self) -> String {
        let missing = self.checks.iter().filter(|check| !check.ok);
        let missing: Vec<_> = missing.map(|check| format!("{}: {}", check.name, check.detail)).collect();
        match (self.ready, missing.is_empty()) {
            (true, _) => "ready".to_owned(),
            (false, true) => "not ready".to_owned(),
            (false, false) => format!("not ready: {}", missing.join("; ")),
        }
    }
}

impl Status {
    /// The verdict: every issuer has keys, every secret a value, every upstream an address,
    /// the journal records, and nothing drains.
    pub fn readiness(&self) -> Readiness {
        let mut checks = Vec::new();
        let mut check =
            |kind: &str, name: &str, ok: bool, good: String, error: &Option<String>, bad: &str| {
                let name = if name.is_empty() { kind.to_owned() } else { format!("{kind} {name}") };
                let why = || error.clone().unwrap_or_else(|| bad.to_owned());
                checks.push(Check { name, ok, detail: if ok { good } else { why() } });
            };
        let audit = &self.audit;
        let records = audit.state == AuditState::Recording;
        let state = match audit.state {
            AuditState::Failed => "failed",
            AuditState::Recording => "the disk is full: make room, or keep less of the log",
            AuditState::Starting => "starting",
        };
        check("audit", "", records && !audit.disk_full, "recording".to_owned(), &audit.last_error, state);
        for one in &self.issuers {
            let good = format!("{} keys of {}", one.keys, one.issuer);
            let bad = format!("no keys of {} yet", one.issuer);
            check("issuer", &one.name, one.ready, good, &one.last_error, &bad);
        }
        for one in &self.secrets {
            let good = format!("from {}", one.source);
            check("secret", &one.name, one.age_s.is_some(), good, &one.last_error, "not read yet");
        }
        for one in &self.upstreams {
            // Addresses that cannot be looked up again at the moment still work.
            let ok = !one.addresses.is_empty();
            let bad = format!("{} is not resolved yet", one.host);
            check("upstream", &one.name, ok, one.addresses.join(" "), &one.last_error, &bad);
        }
        if self.draining {
            check("process", "", false, String::new(), &None, "draining");
        }
        Readiness::of(checks)
    }

    /// The part of a scrape that this shows too.
    pub fn scrape(&self) -> Scrape {
        let age = |name: &str, age_s: Option<f64>| age_s.map(|age| (name.to_owned(), age));
        Scrape {
            jwks_age: self.issuers.iter().filter_map(|one| age(&one.name, one.age_s)).collect(),
            secret_age: self.secrets.iter().filter_map(|one| age(&one.name, one.age_s)).collect(),
            certificate_expiry: self.listeners.iter().flat_map(ListenerStatus::expiry).collect(),
            audit_sequence: self.audit.sequence,
            audit_signed_sequence: self.audit.signed_through,
            audit_queue_depth: self.audit.queue_depth,
            audit_disk_bytes: self.audit.disk_bytes,
            audit_disk_available_bytes: self.audit.disk_available_bytes,
            audit_removed_segment: self.audit.removed_segment,
        }
    }
}

//! A document that was checked → the [`Snapshot`] that runs. Reads certificates and keys; secrets are read by
//! `background` into the slots that are made here.

mod files;
mod listeners;
mod notify;
mod policies;
mod routes;
mod tuning;
mod upstreams;

pub use routes::{mask_rule, mask_rules};

use super::snapshot::{AccessLog, AuditPlan, CapacityPlan, LogPlan, Snapshot};
use super::tree::{Path, at};
use super::{Diagnostic, Document, Host, Loaded, Severity, Text, diagnostic};
use crate::exchange::plan::{CallerLimits, Plan};
use crate::identity::Issuer;
use crate::inspect::token::TokenBook;
use crate::journal::Packing;
use crate::protocol;
use std::sync::Arc;

/// Makes a snapshot of a document. What `previous` has already (resolved addresses, keys of connection pools)
/// is taken over where it still fits.
///
/// # Errors
/// Everything that is wrong, and the warnings; the operator is at fault.
pub fn compile(
    loaded: &Loaded,
    text: &Text,
    host: &Host,
    previous: Option<&Snapshot>,
) -> Result<Snapshot, Vec<Diagnostic>> {
    let (document, tree) = (&loaded.document, &loaded.tree);
    let mut compiler = Compiler {
        document,
        loaded,
        base: &text.base,
        host,
        previous,
        found: Vec::new(),
        warnings: Vec::new(),
    };
    let snapshot = if loaded.has_errors() { None } else { compiler.snapshot(tree.clone()) };
    if let Some(snapshot) = snapshot {
        return Ok(Snapshot { warnings: compiler.warnings, ..snapshot });
    }
    let mut found = loaded.diagnostics.clone();
    found.extend(compiler.found);
    found.extend(compiler.warnings);
    diagnostic::sort(&mut found);
    Err(found)
}

struct Compiler<'a> {
    document: &'a Document,
    loaded: &'a Loaded,
    base: &'a std::path::Path,
    host: &'a Host,
    previous: Option<&'a Snapshot>,
    /// Errors.
    found: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
}

impl Compiler<'_> {
    /// Notes an error about the value at `path`.
    fn error(&mut self, path: &Path, code: &'static str, message: impl Into<String>, help: &str) {
        let diagnostic = self.loaded.tree.value(path, Severity::Error, code, message);
        self.found.push(if help.is_empty() { diagnostic } else { diagnostic.help(help) });
    }

    /// Notes a warning about the value at `path`.
    fn warning(&mut self, path: &Path, code: &'static str, message: impl Into<String>, help: &str) {
        let diagnostic = self.loaded.tree.value(path, Severity::Warning, code, message);
        self.warnings.push(diagnostic.help(help));
    }

    /// Tokens outlive a configuration, but not the process.
    fn tokens(&self) -> Arc<TokenBook> {
        self.previous.map_or_else(token_book, |previous| previous.plan.tokens.clone())
    }

    /// What all configurations of this process have in common.
    fn kept<T>(&self, of: fn(&Plan) -> Arc<T>) -> Arc<T>
    where
        Arc<T>: Default,
    {
        self.previous.map_or_else(Arc::default, |previous| of(&previous.plan))
    }

    /// `None` where something was noted on the way.
    fn snapshot(&mut self, tree: super::Tree) -> Option<Snapshot> {
        let document = self.document;
        let issuers = self.issuers();
        let (slots, leases) = self.secrets();
        let (upstreams, trust) = self.upstreams(&leases);
        let routes = self.routes(&issuers, &upstreams);
        let router = self.router();
        let listeners = self.listeners();
        let client_addresses = self.client_addresses();
        let admin = self.admin(slots.as_ref());
        let notify = self.notify(slots.as_ref());
        let issuer_roots = self.issuer_roots();
        self.check_certificates(&listeners);
        let (access, packing, dir) = (self.access_log(), self.packing(), self.audit_dir());
        let key = self.audit_key(&dir);
        let runtime = self.runtime();
        if !self.found.is_empty() {
            return None;
        }
        let plan = Plan {
            generation: self.previous.map_or(1, |previous| previous.plan.generation + 1),
            pseudonym: self.previous.map_or_else(pseudonym, |previous| previous.plan.pseudonym.clone()),
            listeners: listeners.iter().map(|listener| listener.name.clone()).collect(),
            client_addresses,
            router: router?,
            routes,
            upstreams,
            issuers,
            secrets: slots?,
            tokens: self.tokens(),
            limits: caller_limits(&document.limits),
            deny_status: deny_status(document.deny.status),
            conversations: self.kept(|plan| plan.conversations.clone()),
            freezer: self.kept(|plan| plan.freezer.clone()),
            hold_slice: document.hold.slice_max.0,
        };
        Some(Snapshot {
            plan: Arc::new(plan),
            listeners,
            upstream_tls: trust,
            leases,
            issuer_roots,
            warnings: Vec::new(),
            admin: admin?,
            notify: notify?,
            audit: audit_plan(&document.audit, dir, key, packing),
            log: LogPlan { access, level: document.log.level },
            runtime,
            capacity: CapacityPlan {
                connections_max: document.limits.connections_max.map(|count| count as usize),
                memory_bytes: document.limits.memory.map(|size| size.0),
                agent_share_percent: document.audit.agent_share_percent,
                refusals_per_second: document.audit.refusals_per_second,
            },
            dev: document.identity.iter().any(|identity| identity.dev),
            document: Arc::new(document.clone()),
            tree,
        })
    }

    fn issuers(&mut self) -> Vec<Arc<Issuer>> {
        let mut issuers = Vec::new();
        for (index, identity) in self.document.identity.iter().enumerate() {
            match Issuer::new(identity.settings()) {
                Ok(issuer) => issuers.push(Arc::new(issuer)),
                Err(error) => self.error(&at!["identity", index], "identity", error.to_string(), ""),
            }
        }
        issuers
    }

    fn access_log(&mut self) -> AccessLog {
        match self.document.log.access.as_str() {
            "stdout" => AccessLog::Stdout,
            "off" => AccessLog::Off,
            file => {
                let file = self.base.join(file);
                if file.is_dir()
                    || !file.parent().is_some_and(|dir| dir.as_os_str().is_empty() || dir.is_dir())
                {
                    let message = format!("{} cannot be a file: its directory is not there", file.display());
                    let help = "write \"stdout\", \"off\", or a file in a directory that exists";
                    self.error(&at!["log", "access"], "log", message, help);
                }
                AccessLog::File(file)
            }
        }
    }

    /// The directory of the segments, which the journal creates.
    /// What becomes of sealed segments.
    fn packing(&mut self) -> Packing {
        let audit = &self.document.audit;
        let mut recipients = Vec::new();
        for (index, text) in audit.recipients.iter().enumerate() {
            match text.parse() {
                Ok(recipient) => recipients.push(recipient),
                Err(error) => {
                    let path = at!["audit", "recipients", index];
                    self.error(
                        &path,
                        "recipient",
                        format!("`{text}` {error}"),
                        "make a pair with `age-keygen`",
                    );
                }
            }
        }
        Packing { compress: audit.compress, recipients }
    }

    fn audit_dir(&mut self) -> std::path::PathBuf {
        let dir = self.base.join(&self.document.audit.dir);
        let there = dir.ancestors().find(|one| one.exists());
        if let Some(there) = there.filter(|there| !there.is_dir()) {
            let message = format!("{} is not a directory", there.display());
            self.error(&at!["audit", "dir"], "audit", message, "name a directory for the segments alone");
        }
        dir
    }

    /// The file of the key that signs the log.
    fn audit_key(&mut self, dir: &std::path::Path) -> std::path::PathBuf {
        let key = self.document.audit.key_in(self.base);
        if key.starts_with(dir) {
            let message = format!("{} lies in the folder of the log", key.display());
            self.error(
                &at!["audit", "key"],
                "audit",
                message,
                "keep the key apart: the log is handed out whole",
            );
        }
        key
    }
}

fn audit_plan(
    audit: &super::Audit,
    dir: std::path::PathBuf,
    key: std::path::PathBuf,
    packing: Packing,
) -> AuditPlan {
    AuditPlan {
        dir,
        key,
        commit: audit.commit.into(),
        segment_bytes: audit.segment_bytes.0,
        packing,
        keep: audit.keep.map(|keep| keep.0),
        max: audit.max,
        disk_warn_percent: audit.disk_warn_percent,
        disk_refuse_percent: audit.disk_refuse_percent,
    }
}

/// A name in Via: random, so that gateways behind one another are told apart and nobody learns a host's name.
fn pseudonym() -> Box<str> {
    use std::hash::{BuildHasher, RandomState};
    // Each has keys of its own, taken from the system's randomness.
    format!("ringward-{:08x}", RandomState::new().hash_one(()) as u32).into()
}

fn deny_status(status: super::DenyStatus) -> protocol::DenyStatus {
    match status {
        super::DenyStatus::Auto => protocol::DenyStatus::Auto,
        super::DenyStatus::Fixed(status) => protocol::DenyStatus::Fixed(status),
    }
}

/// The tokens of this process: they differ in the next.
fn token_book() -> Arc<TokenBook> {
    let mut key = [0; 32];
    // Without the system's randomness nothing here works: TLS keys come from it, too.
    aws_lc_rs::rand::fill(&mut key).expect("the system gives randomness");
    Arc::new(TokenBook::new(key))
}

/// What the shards hold callers to.
fn caller_limits(limits: &super::Limits) -> CallerLimits {
    CallerLimits {
        header: limits.header_timeout.0,
        body_idle: limits.body_idle.0,
        body_rate_min: limits.body_rate_min.0,
        body_rate_grace: limits.body_rate_grace.0,
        keep_alive: limits.keep_alive.0,
        handshake: limits.tls_handshake.0,
        write: limits.write_timeout.0,
        connections_per_address: limits.connections_per_address,
    }
}

/// The finding that a secret cannot be read, in its place. `why` says it without the value.
pub fn unreadable_secret(tree: &super::Tree, name: &str, why: &str) -> Diagnostic {
    let message = format!("the secret `{name}` cannot be read: {why}");
    tree.value(&at!["secrets", name, "source"], Severity::Error, "unreadable-secret", message)
}

/// The finding that nothing can be sent to a target, in its place. `why` holds no secret.
pub fn unusable_notify(tree: &super::Tree, index: usize, why: &str) -> Diagnostic {
    tree.value(&at!["notify", index, "name"], Severity::Error, "unreadable-secret", why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::plan::Recording;
    use crate::secrets::LeaseKind;

    const SOURCE: &str = r#"
version = 1
[[listen]]
name = "plain"
addr = "127.0.0.1:0"
[[listen]]
name = "passed"
addr = "fd:agents"
[admin]
socket = "run/admin.sock"
metrics = "127.0.0.1:0"
roles.approver = "local:0"
[[identity]]
name = "corp"
issuer = "http://127.0.0.1:1"
audience = "gw"
claims.owner = "email"
[secrets.key]
source = { file = "key" }
[secrets.client]
source = { env = "CLIENT" }
[secrets.lease.source]
exchange = "rfc8693"
token_endpoint = "http://127.0.0.1:1/token"
client_id = "gw"
client_secret = "client"
audience = "customers"
[upstreams.llm]
url = "http://127.0.0.1:2/base/"
protocol = "anthropic"
inject = [{ header = "x-api-key", value = "${secret:key}" }]
[upstreams.api]
url = "http://localhost:3"
inject = { header = "authorization", value = "Bearer ${secret:lease}" }
[[route]]
name = "llm"
match = { listen = "plain", path = "/llm/**", strip_prefix = "/llm/" }
identity = ["corp"]
upstream = "llm"
policies = ["big", "default"]
masks = ["in", "out"]
record = { max_bytes = "1KiB" }
commit = "written"
max_body = "2KiB"
[[route]]
name = "api"
match = { listen = "passed" }
identity = ["corp"]
upstream = "api"
policies = ["default"]
masks = ["in"]
record = { bodies = "none" }
[[policy]]
name = "big"
when = { json = { path = "/max_tokens", gt = 40000 } }
action = "approve"
[[policy]]
name = "default"
action = "allow"
[[mask]]
name = "in"
kind = "email"
direction = "request"
[[mask]]
name = "out"
kind = "literals"
words = ["Project Falcon"]
direction = "response"
[log]
access = "off"
"#;

    fn compiled(previous: Option<&Snapshot>) -> Result<Snapshot, Vec<Diagnostic>> {
        let text = Text::new("dir/ringward.toml", "dir", SOURCE);
        let loaded = super::super::load(&text).unwrap();
        compile(&loaded, &text, &Host::default(), previous)
    }

    #[test]
    fn a_document_becomes_what_runs() {
        let snapshot = compiled(None).unwrap();
        let plan = &snapshot.plan;
        assert_eq!(plan.generation, 1);
        assert_eq!(plan.listeners, ["plain".into(), "passed".into()]);
        assert_eq!(snapshot.listeners[1].addr.to_string(), "fd:agents");
        assert_eq!(snapshot.admin.socket, std::path::Path::new("dir/run/admin.sock"));
        assert_eq!(snapshot.audit.dir, std::path::Path::new("dir/audit"));
        assert_eq!(snapshot.log.access, AccessLog::Off);
        let [api, llm] = &*plan.upstreams else { panic!("two upstreams") };
        assert_eq!((&*llm.authority, &*llm.path_prefix), ("127.0.0.1:2", "/base"));
        assert_eq!(llm.addresses.load().len(), 1);
        assert!(api.addresses.load().is_empty(), "names are resolved in the background");
        assert!(matches!(api.lease.as_ref().unwrap().kind, LeaseKind::TokenExchange { .. }));
        assert!(llm.lease.is_none() && plan.secrets.find("key").is_some());
        let [llm, api] = &*plan.routes else { panic!("two routes") };
        assert_eq!((llm.upstream, api.upstream), (1, 0));
        assert_eq!(llm.strip_prefix.as_deref(), Some("/llm"));
        assert_eq!(llm.body_bytes_max, 2_048);
        assert!(llm.request_masks.is_some() && llm.response_masks.is_some());
        assert!(api.request_masks.is_some() && api.response_masks.is_none());
        let written = Recording::On { commit: crate::audit::Commit::Written, body_bytes_max: 1_024 };
        let durable = Recording::On { commit: crate::audit::Commit::Durable, body_bytes_max: 0 };
        assert_eq!((llm.record, api.record), (written, durable));
    }

    #[test]
    fn a_reload_keeps_the_connections_of_unchanged_upstreams() {
        let first = compiled(None).unwrap();
        let second = compiled(Some(&first)).unwrap();
        assert_eq!(second.plan.generation, 2);
        assert_eq!(
            first.plan.pseudonym, second.plan.pseudonym,
            "requests that come back are known after a reload too"
        );
        for (old, new) in first.plan.upstreams.iter().zip(&second.plan.upstreams) {
            assert_eq!(old.key, new.key);
            assert!(Arc::ptr_eq(&old.addresses, &new.addresses));
        }
        let apart = compiled(None).unwrap();
        assert_ne!(first.plan.upstreams[0].key, apart.plan.upstreams[0].key);
        assert_ne!(first.plan.pseudonym, apart.plan.pseudonym);
    }
}

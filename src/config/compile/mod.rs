//! A document that was checked → the [`Snapshot`] that runs. Reads certificates and keys; secrets are read by
//! `background` into the slots that are made here.

mod files;
mod listeners;
mod policies;
mod routes;
mod upstreams;

use super::snapshot::{AccessLog, AuditPlan, LogPlan, RuntimePlan, Snapshot};
use super::tree::{Path, at};
use super::{Diagnostic, Document, Host, Loaded, Severity, Text, diagnostic};
use crate::exchange::plan::Plan;
use crate::identity::Issuer;
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
    let mut compiler = Compiler { document, loaded, base: &text.base, host, previous, found: Vec::new() };
    let snapshot = if loaded.has_errors() { None } else { compiler.snapshot(tree.clone()) };
    if let (Some(snapshot), true) = (snapshot, compiler.found.is_empty()) {
        return Ok(snapshot);
    }
    let mut found = loaded.diagnostics.clone();
    found.extend(compiler.found);
    diagnostic::sort(&mut found);
    Err(found)
}

struct Compiler<'a> {
    document: &'a Document,
    loaded: &'a Loaded,
    base: &'a std::path::Path,
    host: &'a Host,
    previous: Option<&'a Snapshot>,
    found: Vec<Diagnostic>,
}

impl Compiler<'_> {
    /// Notes an error about the value at `path`.
    fn error(&mut self, path: &Path, code: &'static str, message: impl Into<String>, help: &str) {
        let diagnostic = self.loaded.tree.value(path, Severity::Error, code, message);
        self.found.push(if help.is_empty() { diagnostic } else { diagnostic.help(help) });
    }

    /// `None` where something was noted on the way.
    fn snapshot(&mut self, tree: super::Tree) -> Option<Snapshot> {
        let document = self.document;
        let issuers = self.issuers();
        let (slots, leases) = self.secrets();
        let (upstreams, upstream_tls) = self.upstreams(&leases);
        let routes = self.routes(&issuers, &upstreams);
        let router = self.router();
        let listeners = self.listeners();
        let admin = self.admin();
        let roots = self.roots();
        let access = self.access_log();
        let dir = self.audit_dir();
        if !self.found.is_empty() {
            return None;
        }
        let plan = Plan {
            generation: self.previous.map_or(1, |previous| previous.plan.generation + 1),
            listeners: listeners.iter().map(|listener| listener.name.clone()).collect(),
            router: router?,
            routes,
            upstreams,
            issuers,
            secrets: slots?,
            deny_status: match document.deny.status {
                super::DenyStatus::Auto => protocol::DenyStatus::Auto,
                super::DenyStatus::Fixed(status) => protocol::DenyStatus::Fixed(status),
            },
        };
        Some(Snapshot {
            plan: Arc::new(plan),
            listeners,
            upstream_tls,
            leases,
            roots,
            admin: admin?,
            audit: AuditPlan {
                dir,
                commit: document.audit.commit,
                segment_bytes: document.audit.segment_bytes.0,
            },
            log: LogPlan { access, level: document.log.level },
            runtime: RuntimePlan {
                cores: document.runtime.cores.clone(),
                driver: document.runtime.driver,
                drain: document.runtime.drain.0,
            },
            dev: document.identity.iter().any(|identity| identity.dev),
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
    fn audit_dir(&mut self) -> std::path::PathBuf {
        let dir = self.base.join(&self.document.audit.dir);
        let there = dir.ancestors().find(|one| one.exists());
        if let Some(there) = there.filter(|there| !there.is_dir()) {
            let message = format!("{} is not a directory", there.display());
            self.error(&at!["audit", "dir"], "audit", message, "name a directory for the segments alone");
        }
        dir
    }
}

/// The finding that a secret cannot be read, in its place. `why` says it without the value.
pub fn unreadable_secret(tree: &super::Tree, name: &str, why: &str) -> Diagnostic {
    let message = format!("the secret `{name}` cannot be read: {why}");
    tree.value(&at!["secrets", name, "source"], Severity::Error, "unreadable-secret", message)
}

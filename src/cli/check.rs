//! `ringward check`.

use super::admin_client::cause;
use super::config::read;
use super::{ConfigFile, block_on, exit, output::Output};
use crate::background;
use crate::background::oidc::{Oidc, Timing};
use crate::background::secrets::{Failure, Surroundings, provision as provision_secrets};
use crate::config::{self, Diagnostic, Format, Host, Path, Severity, Snapshot, diagnostic};
use clap::{Args, ValueEnum};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use std::time::Duration;

/// Whoever does not answer within this time does not answer.
const ONLINE_TIMEOUT: Duration = Duration::from_secs(10);

/// Check a configuration: everything that `run` would do but binding sockets
///
/// Exit code 0: good. 3: it has errors. 4: it has warnings, with --strict.
#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(flatten)]
    file: ConfigFile,
    /// Also ask the issuers for their keys and connect to the upstreams
    #[arg(long)]
    online: bool,
    /// Treat warnings as failures
    #[arg(long)]
    strict: bool,
    /// How findings are written
    #[arg(long, value_enum, default_value = "text")]
    format: Shape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shape {
    /// For people, on standard error
    Text,
    /// One JSON document on standard output
    Json,
    /// SARIF 2.1.0 on standard output
    Sarif,
}

impl Command {
    pub(super) fn run(self, output: &mut Output) -> u8 {
        let Some(text) = read(&self.file, output) else { return exit::FAILED };
        let found = match config::load(&text) {
            Ok(loaded) => provision(&loaded, &text, self.online),
            Err(found) => found,
        };
        match self.format {
            Shape::Text => output.diagnostics(&found),
            Shape::Json => output.result(&diagnostic::render_all(&found, Format::Json, false)),
            Shape::Sarif => output.result(&diagnostic::render_all(&found, Format::Sarif, false)),
        }
        let count = |severity| found.iter().filter(|one| one.severity == severity).count();
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        if self.format == Shape::Text {
            output.note(&summary(&text.name, errors, warnings));
        }
        match (errors, warnings) {
            (0, 0) => exit::OK,
            (0, _) if !self.strict => exit::OK,
            (0, _) => exit::WARNINGS,
            _ => exit::CONFIG,
        }
    }
}

fn summary(file: &str, errors: usize, warnings: usize) -> String {
    let counted = |count: usize, what: &str| match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    };
    match (errors, warnings) {
        (0, 0) => format!("{file}: good"),
        (0, _) => format!("{file}: good, with {}", counted(warnings, "warning")),
        (_, 0) => format!("{file}: {}", counted(errors, "error")),
        _ => format!("{file}: {} and {}", counted(errors, "error"), counted(warnings, "warning")),
    }
}

/// What is found when everything is read that `run` would read.
fn provision(loaded: &config::Loaded, text: &config::Text, online: bool) -> Vec<Diagnostic> {
    let snapshot = match config::compile(loaded, text, &Host::of_process(), None) {
        Ok(snapshot) => snapshot,
        Err(found) => return found,
    };
    let mut found = loaded.diagnostics.clone();
    let dev = loaded.document.identity.iter().position(|identity| identity.dev);
    found.extend(dev.map(|index| {
        let path = Path::from(["identity".into(), index.into(), "dev".into()]);
        let message = "this issuer is the demo's: it ends with the demo, and `run` refuses it";
        let diagnostic = snapshot.tree.value(&path, Severity::Error, "dev-issuer", message);
        diagnostic.help("name your own issuer, and remove `dev`")
    }));
    found.extend(block_on(async {
        let mut found = secrets(&snapshot).await;
        if online {
            found.extend(issuers(&snapshot, loaded).await);
            found.extend(upstreams(&snapshot, loaded, text).await);
        }
        found
    }));
    diagnostic::sort(&mut found);
    found
}

async fn secrets(snapshot: &Snapshot) -> Vec<Diagnostic> {
    let failures = provision_secrets(&snapshot.plan.secrets, &Surroundings::of_process()).await.err();
    let failures = failures.into_iter().flatten();
    let place = |failure: Failure| {
        config::unreadable_secret(&snapshot.tree, &failure.name, &failure.error.to_string())
    };
    failures.map(place).collect()
}

/// Issuers whose keys cannot be had.
async fn issuers(snapshot: &Snapshot, loaded: &config::Loaded) -> Vec<Diagnostic> {
    let http = match background::client::client(&snapshot.roots) {
        Ok(http) => http,
        Err(error) => return vec![at_start(snapshot, &error.to_string())],
    };
    let oidc = Oidc::spawn(&snapshot.plan.issuers, &http, Timing::default(), None);
    // Whoever has not answered by then is named below.
    let _ = tokio::time::timeout(ONLINE_TIMEOUT, oidc.ready()).await;
    let mut found = Vec::new();
    for status in oidc.status().into_iter().filter(|status| !status.is_ready) {
        let why = status.last_error.unwrap_or_else(|| "no answer".into());
        for (index, identity) in loaded.document.identity.iter().enumerate() {
            if *identity.issuer == *status.url {
                let message = format!("the issuer's keys cannot be fetched: {why}");
                let path = Path::from(["identity".into(), index.into(), "issuer".into()]);
                found.push(snapshot.tree.value(&path, Severity::Error, "issuer-unreachable", message));
            }
        }
    }
    found
}

/// Upstreams that do not answer. Any answer will do: no credential is sent.
async fn upstreams(snapshot: &Snapshot, loaded: &config::Loaded, text: &config::Text) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (name, upstream) in &loaded.document.upstreams {
        let roots = upstream.tls.as_ref().map(|tls| std::fs::read(text.base.join(&tls.ca.file)));
        let roots = roots.and_then(Result::ok).unwrap_or_default();
        let roots: Vec<_> = CertificateDer::pem_slice_iter(&roots).filter_map(Result::ok).collect();
        let answer = match background::client::client(&roots) {
            Ok(http) => http.head(&upstream.url).timeout(ONLINE_TIMEOUT).send().await,
            Err(error) => return vec![at_start(snapshot, &error.to_string())],
        };
        if let Err(error) = answer {
            let message = format!("the upstream does not answer: {}", cause(&error));
            let path = Path::from(["upstreams".into(), name.into(), "url".into()]);
            found.push(snapshot.tree.value(&path, Severity::Error, "upstream-unreachable", message));
        }
    }
    found
}

/// A finding that has no place.
fn at_start(snapshot: &Snapshot, message: &str) -> Diagnostic {
    snapshot.tree.diagnostic_at(0..0, Severity::Error, "online", message)
}

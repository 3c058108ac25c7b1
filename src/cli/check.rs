//! `ringward check`.

use super::admin_client::cause;
use super::config::read;
use super::{ConfigFile, block_on, exit, output::Output, sessions::lines::counted};
use crate::background;
use crate::background::client::Clients;
use crate::background::oidc::{LoginClient, Oidc, Timing};
use crate::background::secrets::{Failure, Surroundings, provision as provision_secrets};
use crate::config::{self, Diagnostic, Format, Host, Origin, Path, Severity, Snapshot, diagnostic};
use clap::{Args, ValueEnum};
use rustix::fs::Access;
use std::io;
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
    let counted = |count: usize, what| counted(count as u64, what);
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
    found.extend(snapshot.warnings.iter().cloned());
    let dev = loaded.document.identity.iter().position(|identity| identity.dev);
    found.extend(dev.map(|index| {
        let path = Path::from(["identity".into(), index.into(), "dev".into()]);
        let message = "this issuer is the demo's: it ends with the demo, and `run` refuses it";
        let diagnostic = snapshot.tree.value(&path, Severity::Error, "dev-issuer", message);
        diagnostic.help("name your own issuer, and remove `dev`")
    }));
    found.extend(audit_folder(&snapshot));
    found.extend(block_on(async {
        let mut found = secrets(&snapshot).await;
        if online {
            found.extend(issuers(&snapshot, loaded).await);
            found.extend(login(&snapshot).await);
            found.extend(upstreams(&snapshot, loaded, text).await);
        }
        found
    }));
    diagnostic::sort(&mut found);
    found
}

/// A folder of the log in which nothing could be written, or made. That it is one was looked at before.
fn audit_folder(snapshot: &Snapshot) -> Option<Diagnostic> {
    let (plan, start) = (&snapshot.audit, std::path::Path::new("."));
    let named = |found: &&std::path::Path| !found.as_os_str().is_empty();
    let there = plan.dir.ancestors().filter(named).find(|folder| folder.exists()).unwrap_or(start);
    let error = rustix::fs::access(there, Access::WRITE_OK | Access::EXEC_OK).err()?;
    let error = io::Error::from(error);
    let message = format!("the log cannot be written: {}: {error}", there.display());
    let path = Path::from(["audit".into(), "dir".into()]);
    let diagnostic = snapshot.tree.value(&path, Severity::Error, "audit-folder", message);
    Some(diagnostic.help("name a folder that the user who runs the gateway may write"))
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
    let clients = match Clients::default().of_issuers(&snapshot.plan.issuers, &snapshot.issuer_roots) {
        Ok(clients) => clients,
        Err(error) => return vec![at_start(snapshot, &error.to_string())],
    };
    let oidc = Oidc::spawn(&snapshot.plan.issuers, clients, Timing::default(), None);
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

/// The issuer of logins, if its endpoints cannot be had.
async fn login(snapshot: &Snapshot) -> Option<Diagnostic> {
    let login = snapshot.admin.login.as_ref()?;
    let http = match Clients::default().trusting(login.roots.as_ref()) {
        Ok(http) => http,
        Err(error) => return Some(at_start(snapshot, &error.to_string())),
    };
    let client = LoginClient::new(http, login.issuer.clone(), login.secret.clone());
    let error = client.endpoints().await.err()?;
    let message = format!("nobody could log in: {error}");
    let path = Path::from(["admin".into(), "login".into(), "issuer".into()]);
    Some(snapshot.tree.value(&path, Severity::Error, "issuer-unreachable", message))
}

/// Upstreams that do not answer. Any answer will do: no credential is sent.
async fn upstreams(snapshot: &Snapshot, loaded: &config::Loaded, text: &config::Text) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    // Others are reached on ways that only a shard goes.
    let direct = |(_, upstream): &(&String, &config::Upstream)| {
        upstream.via.is_none() && upstream.addresses.is_empty()
    };
    for (name, upstream) in loaded.document.upstreams.iter().filter(direct) {
        let ca = upstream.tls.as_ref().and_then(|tls| tls.ca.as_ref());
        let roots = ca.and_then(|ca| std::fs::read(text.base.join(&ca.file)).ok());
        let server_name = upstream.tls.as_ref().and_then(|tls| tls.server_name.as_deref());
        let answer = match asked_as(&upstream.url, server_name, roots.as_deref()).await {
            Ok((http, url)) => http.head(url).timeout(ONLINE_TIMEOUT).send().await,
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

/// A client, and the URL under which it asks for `server_name` at the addresses of the host in `url`.
async fn asked_as(
    url: &str,
    server_name: Option<&str>,
    roots: Option<&[u8]>,
) -> Result<(reqwest::Client, String), background::client::Error> {
    let builder = background::client::builder(roots)?;
    let (builder, url) = match (server_name, Origin::parse(url)) {
        (Some(name), Ok(origin)) => {
            let found = tokio::net::lookup_host((origin.host.as_str(), origin.port)).await;
            let addresses: Vec<_> = found.into_iter().flatten().collect();
            let named = Origin { host: name.to_ascii_lowercase(), ..origin };
            (builder.resolve_to_addrs(&named.host, &addresses), named.to_string())
        }
        _ => (builder, url.to_owned()),
    };
    Ok((builder.build().map_err(|_| background::client::Error::Build)?, url))
}

/// A finding that has no place.
fn at_start(snapshot: &Snapshot, message: &str) -> Diagnostic {
    snapshot.tree.diagnostic_at(0..0, Severity::Error, "online", message)
}

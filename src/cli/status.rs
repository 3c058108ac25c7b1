//! `ringward status`.

use super::admin_client::{Failure, Target, exit_code, report};
use super::{approvals::other_version, block_on, exit, inert, output::Output, sessions::lines::counted};
use crate::admin::{AuditState, AuditStatus, Status, UpstreamConnections};
use clap::Args;
use serde::Deserialize;
use serde_json::Value;
use std::{io::IsTerminal, time::Duration};

/// Show what the running gateway is doing
#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(flatten)]
    target: Target,
    /// As JSON, as the gateway says it
    #[arg(long)]
    json: bool,
    /// Show it anew each second until Ctrl-C: on a terminal in place, elsewhere as one line each time
    #[arg(short, long)]
    watch: bool,
}

/// How often it is shown anew.
const PAUSE: Duration = Duration::from_secs(1);

impl Command {
    pub(super) fn run(self, output: &mut Output) -> u8 {
        if self.watch {
            return exit_code(block_on(self.watch(output)), output);
        }
        let status = match block_on(self.ask()) {
            Ok(status) => status,
            Err(failure) => return report(&failure, output),
        };
        match self.json {
            true => output.json(&status.0),
            false => output.result(&shown(&status.1)),
        }
        exit::OK
    }

    /// What the gateway says, as it says it and as it is meant.
    async fn ask(&self) -> Result<(Value, Status), Failure> {
        let answer = self.target.ask(reqwest::Method::GET, "/api/v1/status").await?;
        if answer.status != 200 {
            let (status, detail) = (answer.status, answer.body.trim_end());
            let message = format!("the gateway answers with status {status}: {}", inert::line(detail));
            return Err(Failure { message, code: exit::FAILED });
        }
        let status = serde_json::from_str::<Value>(&answer.body).ok();
        let parsed = status.as_ref().and_then(|value| Status::deserialize(value).ok());
        status.zip(parsed).ok_or_else(other_version)
    }

    /// Shows it again and again, until Ctrl-C or until nobody reads. A gateway that goes away is waited for.
    async fn watch(&self, output: &mut Output) -> Result<(), Failure> {
        let is_terminal = std::io::stdout().is_terminal() && !self.json;
        let mut before = self.ask().await.map(Some)?;
        loop {
            let text = match (&before, self.json) {
                (Some((value, _)), true) => format!("{value}\n"),
                (Some((_, status)), false) if is_terminal => redrawn(&shown(status)),
                (Some((_, status)), false) => line(status),
                (None, true) => "null\n".to_owned(),
                (None, false) if is_terminal => redrawn("no gateway answers\n"),
                (None, false) => "no gateway answers\n".to_owned(),
            };
            if !output.piece(&text) {
                return Ok(());
            }
            tokio::select! {
                _ = tokio::signal::ctrl_c() => return Ok(()),
                () = tokio::time::sleep(PAUSE) => {}
            }
            before = match self.ask().await {
                Ok(status) => Some(status),
                Err(failure) if failure.code == exit::UNREACHABLE => None,
                Err(failure) => return Err(failure),
            };
        }
    }
}

/// A text in place of what stood on the terminal before: each line is cleared behind its end, and all below.
fn redrawn(text: &str) -> String {
    format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n"))
}

/// The few figures that change, for logs and pipes.
fn line(status: &Status) -> String {
    let requests = &status.requests;
    format!(
        "up {} s, {}: {} forwarded, {} refused, {} in flight, {} connections, record {}\n",
        status.uptime_s,
        state(status),
        requests.forwarded,
        requests.refused,
        requests.in_flight,
        status.limits.connections,
        status.audit.sequence
    )
}

fn state(status: &Status) -> &'static str {
    match (status.draining, status.readiness().ready) {
        (true, _) => "draining",
        (false, true) => "ready",
        (false, false) => "not ready",
    }
}

/// For people: one thing a line, what is wrong beside what it is about.
fn shown(status: &Status) -> String {
    let mut lines = Lines(String::new());
    let state = state(status);
    lines.add(
        "gateway",
        format!("{state}, version {}, pid {}, up {} s", status.version, status.pid, status.uptime_s),
    );
    let config = &status.config;
    let path = config.path.as_deref().unwrap_or("built in");
    let refused = failed(&config.last_reload_error);
    lines.add(
        "config",
        format!("{path}, generation {}, loaded {}{refused}", config.generation, config.loaded_at),
    );
    let requests = &status.requests;
    lines.add(
        "requests",
        format!(
            "{} forwarded, {} refused, {} in flight",
            requests.forwarded, requests.refused, requests.in_flight
        ),
    );
    let limits = &status.limits;
    let hits: Vec<_> = limits.hits.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    let met = if hits.is_empty() { String::new() } else { format!("; met: {}", hits.join(", ")) };
    lines.add(
        "limits",
        format!(
            "{} of {} connections, {} of {} MiB{met}",
            limits.connections,
            limits.connections_max,
            limits.memory_bytes >> 20,
            limits.memory_max_bytes >> 20
        ),
    );
    let audit = &status.audit;
    let state = match audit.state {
        AuditState::Starting => "starting",
        AuditState::Recording => "recording",
        AuditState::Failed => "failed",
    };
    lines.add(
        "audit",
        format!(
            "{state}, record {} (durable {}, signed {}), {} queued, {}, disk {}{}{}",
            audit.sequence,
            audit.durable_sequence,
            audit.signed_through,
            audit.queue_depth,
            audit.dir,
            disk(audit),
            failed(&audit.last_error),
            failed(&audit.checkpoint_error)
        ),
    );
    parts(status, &mut lines);
    lines.0
}

/// How full the disk of the log is.
fn disk(audit: &AuditStatus) -> String {
    let used = audit.disk_bytes.saturating_sub(audit.disk_available_bytes);
    let percent = (u128::from(used) * 100).checked_div(u128::from(audit.disk_bytes)).unwrap_or(0);
    let full = if audit.disk_full { " (full: requests are refused)" } else { "" };
    format!("{percent} % used, {} MiB left{full}", audit.disk_available_bytes >> 20)
}

/// What there are several of.
fn parts(status: &Status, lines: &mut Lines) {
    for one in &status.listeners {
        let tls = if one.tls { "TLS" } else { "clear text" };
        lines.add("listener", format!("{} {} ({tls})", one.name, one.addr));
        for certificate in &one.certificates {
            let (names, days) = (certificate.names.join(" "), certificate.expires_s / 86_400);
            let until =
                if certificate.expires_s < 0 { "EXPIRED".to_owned() } else { format!("{days} days left") };
            let serial = &certificate.serial;
            let text = format!("{names}, serial {serial}, until {} ({until})", certificate.not_after);
            lines.add("", text);
        }
    }
    for one in &status.shards {
        let cpu = one.cpu.map_or_else(|| "not pinned".into(), |cpu| format!("core {cpu}"));
        lines.add(
            "shard",
            format!("{} {cpu}, {}, {}", one.index, one.driver, counted(one.connections, "connection")),
        );
    }
    for one in &status.issuers {
        let age = age(one.age_s);
        lines.add(
            "issuer",
            format!(
                "{} {} {}, {age}{}",
                one.name,
                one.issuer,
                counted(one.keys as u64, "key"),
                failed(&one.last_error)
            ),
        );
    }
    for one in &status.secrets {
        lines.add(
            "secret",
            format!("{} ({}) {}{}", one.name, one.source, age(one.age_s), failed(&one.last_error)),
        );
    }
    for one in &status.upstreams {
        let addresses =
            if one.addresses.is_empty() { "not resolved".into() } else { one.addresses.join(" ") };
        let via = one.via.as_ref().map_or_else(String::new, |via| format!(" via {via}"));
        let failed = failed(&one.last_error);
        lines.add("upstream", format!("{} {}{via} {addresses}{failed}", one.name, one.host));
        lines.add("", connections(&one.connections));
    }
}

fn connections(of: &UpstreamConnections) -> String {
    let mut text =
        format!("{} open ({} idle), {} made, {} reused", of.open, of.idle, of.connected, of.reused);
    for (count, what) in [(of.waiting, "waiting"), (of.failed, "failed"), (of.ejected, "set aside")] {
        if count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    let closed: Vec<_> = of.retired.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    if closed.is_empty() { text } else { format!("{text}; closed: {}", closed.join(", ")) }
}

struct Lines(String);

impl Lines {
    /// What the gateway repeats of others is shown, not obeyed.
    fn add(&mut self, name: &str, text: String) {
        let text = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c });
        self.0.push_str(&format!("{name:10} {}\n", text.collect::<String>()));
    }
}

fn age(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "never read".into(), |seconds| format!("{seconds:.0} s old"))
}

fn failed(error: &Option<String>) -> String {
    error.as_ref().map_or_else(String::new, |error| format!(" — {error}"))
}

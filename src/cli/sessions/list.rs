//! `ringward sessions list` and `show`.

use super::{
    lines,
    source::Place,
    when::{self, EXAMPLE},
};
use crate::{
    archive::{Filter, Session},
    cli::{admin_client::Failure, output::Output},
    time::Timestamp,
};
use clap::Args;

/// List sessions, the one that was active last first
#[derive(Debug, Args)]
pub(super) struct List {
    /// Only this subject
    #[arg(long)]
    subject: Option<String>,
    /// Only with a request for this purpose
    #[arg(long)]
    purpose: Option<String>,
    /// Only with a request on this route
    #[arg(long)]
    route: Option<String>,
    /// Only with a request that was decided so
    #[arg(long, value_parser = ["allow", "block", "approve", "refuse"])]
    decision: Option<String>,
    /// Only active since then: a time in UTC such as 2026-11-21T09:30:00Z, or how long ago, such as 2h
    #[arg(long, value_name = EXAMPLE, value_parser = when::parse)]
    since: Option<Timestamp>,
    /// Only begun before then
    #[arg(long, value_name = EXAMPLE, value_parser = when::parse)]
    until: Option<Timestamp>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = Filter::LIMIT_DEFAULT)]
    limit: usize,
    /// As a JSON list
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// Show a session and its requests
#[derive(Debug, Args)]
pub(super) struct Show {
    /// Session (ses_…, or the beginning of it), or one of its requests (req_…)
    id: String,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

impl List {
    pub(super) async fn run(self, output: &mut Output) -> Result<(), Failure> {
        let filter = Filter {
            subject: self.subject,
            purpose: self.purpose,
            route: self.route,
            decision: self.decision,
            since: self.since,
            until: self.until,
            limit: Some(self.limit),
            after: None,
        };
        let (sessions, closed) = self.place.open()?.sessions(&filter).await?;
        if closed > 0 {
            let what = "encrypted segments are not shown: --dir with --identity FILE opens them";
            output.note(&format!("{closed} {what}"));
        }
        if self.json {
            output.json(&sessions);
        } else if sessions.is_empty() {
            output.note("no session fits; each request through a recorded route belongs to one");
        } else {
            let rows = std::iter::once(lines::session_heading()).chain(sessions.iter().map(lines::session));
            output.result(&lines::table(&rows.collect::<Vec<_>>()));
        }
        Ok(())
    }
}

impl Show {
    pub(super) async fn run(self, output: &mut Output) -> Result<(), Failure> {
        let source = self.place.open()?;
        let session = source.session(&self.id).await?;
        let mut exchanges = Vec::new();
        source.exchanges(&session.id, |page| exchanges.extend(page)).await?;
        if self.json {
            let mut shown = serde_json::to_value(&session).unwrap_or_default();
            shown["exchanges"] = serde_json::to_value(&exchanges).unwrap_or_default();
            output.json(&shown);
            return Ok(());
        }
        let rows = std::iter::once(lines::exchange_heading()).chain(exchanges.iter().map(lines::exchange));
        let mut text = format!("{}\n{}", head(&session), lines::table(&rows.collect::<Vec<_>>()));
        let decided: Vec<_> = exchanges.iter().flat_map(lines::approvals).collect();
        if !decided.is_empty() {
            let rows = std::iter::once(lines::approval_heading()).chain(decided);
            text += &format!("\n{}", lines::table(&rows.collect::<Vec<_>>()));
        }
        output.result(&text);
        Ok(())
    }
}

/// What is known of a session as a whole.
fn head(session: &Session) -> String {
    let named = match session.named_by.as_str() {
        "client" => "claimed by the client",
        "token" => "the token's jti",
        _ => "its connection",
    };
    let rows = [
        ("session", session.id.clone()),
        ("subject", lines::shown(&session.subject)),
        ("issuer", lines::shown(&session.issuer)),
        ("owner", lines::shown(&session.owner)),
        ("purpose", lines::shown(&session.purpose)),
        ("route", lines::shown(&session.route)),
        ("name", format!("{} ({named})", lines::shown(&Some(session.name.clone())))),
        ("started", lines::clock(&session.started)),
        ("last", lines::clock(&session.last)),
        ("requests", format!("{}: {}", session.requests, lines::decisions(session))),
    ];
    rows.iter().map(|(name, value)| format!("{name:9} {value}\n")).collect()
}

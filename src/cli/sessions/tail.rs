//! `ringward sessions tail`.

use super::{lines, source::Place};
use crate::{
    archive::Exchange,
    cli::{admin_client::Failure, inert, output::Output},
};
use clap::Args;
use std::time::Duration;

/// How often it looks for more.
const PAUSE: Duration = Duration::from_millis(250);
/// Exchanges that one look gives at most.
const PAGE: usize = 500;

/// Show the last requests, of all sessions
#[derive(Debug, Args)]
pub(super) struct Tail {
    /// Go on showing requests as they end
    #[arg(short, long)]
    follow: bool,
    /// So many of the last ones first
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    lines: usize,
    /// Only of this subject
    #[arg(long)]
    subject: Option<String>,
    /// Only on this route
    #[arg(long)]
    route: Option<String>,
    /// Only those that were decided so
    #[arg(long, value_parser = ["allow", "block", "approve", "refuse"])]
    decision: Option<String>,
    /// As JSON, one object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

impl Tail {
    pub(super) async fn run(self, output: &mut Output) -> Result<(), Failure> {
        let source = self.place.clone().open()?;
        // One at least: it says where following begins.
        let last = source.ended(None, self.lines.clamp(1, PAGE)).await?;
        let mut after = last.last().and_then(|last| last.ended_sequence).unwrap_or(0);
        let mut is_read = self.lines == 0 || self.show(&last, output);
        while self.follow && is_read {
            let more = source.ended(Some(after), PAGE).await?;
            is_read = self.show(&more, output);
            after = more.last().and_then(|last| last.ended_sequence).unwrap_or(after);
            if more.len() < PAGE {
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok(())
    }

    /// Shows what fits; `false` where nobody reads any more.
    fn show(&self, exchanges: &[Exchange], output: &mut Output) -> bool {
        let is = |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
        for exchange in exchanges {
            let fits = is(&self.subject, &exchange.subject)
                && is(&self.route, &exchange.route)
                && is(&self.decision, &exchange.decision);
            if fits && !output.piece(&(if self.json { json(exchange) } else { text(exchange) } + "\n")) {
                return false;
            }
        }
        true
    }
}

fn json(exchange: &Exchange) -> String {
    // Text keys only: it always serialises.
    serde_json::to_string(exchange).unwrap_or_default()
}

fn text(exchange: &Exchange) -> String {
    let status = exchange.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
    let decision = exchange.decision.as_deref().unwrap_or("-");
    format!(
        "{}  {}  {:3}  {:7}  {:>7}  {}  {}",
        lines::clock(&exchange.started),
        exchange.session,
        status,
        inert::line(decision),
        exchange.duration_us.map_or_else(String::new, lines::duration),
        lines::shown(&exchange.subject),
        inert::line(&lines::what(exchange)),
    )
}

//! `ringward reload`.

use super::admin_client::{Target, report};
use super::{block_on, exit, output::Output};
use clap::Args;
use serde_json::Value;

/// Make the running gateway read its configuration again
///
/// A bad file keeps the old configuration and says what is wrong (exit code 3).
#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(flatten)]
    target: Target,
    /// Only let the gateway check the file
    #[arg(long)]
    dry_run: bool,
    /// The answer as JSON
    #[arg(long)]
    json: bool,
}

impl Command {
    pub(super) fn run(self, output: &mut Output) -> u8 {
        let path = if self.dry_run { "/api/v1/config:check" } else { "/api/v1/config:reload" };
        let answer = match block_on(self.target.ask(reqwest::Method::POST, path)) {
            Ok(answer) => answer,
            Err(failure) => return report(&failure, output),
        };
        let body: Value = serde_json::from_str(&answer.body).unwrap_or(Value::Null);
        if self.json {
            output.json(&body);
        }
        let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or("").trim_end();
        match answer.status {
            200..=299 => {
                if !self.json {
                    let done = if self.dry_run { "the file is good" } else { "reloaded" };
                    let generation = body.get("generation").map(|one| format!(" (generation {one})"));
                    output.result(&format!("{done}{}\n", generation.unwrap_or_default()));
                }
                exit::OK
            }
            status @ (400 | 409 | 422) => {
                let why = if text("text").is_empty() { text("detail") } else { text("text") };
                let why = if why.is_empty() { format!("status {status}") } else { why.to_owned() };
                output.error("nothing was changed: the old configuration stays");
                output.note(&why);
                exit::CONFIG
            }
            status => {
                let detail = if text("detail").is_empty() { answer.body.trim_end() } else { text("detail") };
                output.error(&format!("the gateway answers with status {status}: {detail}"));
                exit::FAILED
            }
        }
    }
}

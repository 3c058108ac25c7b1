//! `ringward healthcheck`.

use super::admin_client::{Target, report};
use super::{block_on, exit, output::Output};
use clap::Args;

/// Ask whether the gateway is ready; for containers and load balancers
///
/// Exit code 0: ready. 1: running, but not ready. 5: no gateway answers.
#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(flatten)]
    target: Target,
}

impl Command {
    pub(super) fn run(self, output: &mut Output) -> u8 {
        match block_on(self.target.ask(reqwest::Method::GET, "/readyz?verbose")) {
            Ok(answer) if answer.status == 200 => {
                output.detail(answer.body.trim_end());
                exit::OK
            }
            Ok(answer) => {
                let body = serde_json::from_str::<serde_json::Value>(&answer.body).unwrap_or_default();
                let why = body.get("message").and_then(|message| message.as_str()).unwrap_or("not ready");
                output.error(&why.escape_debug().to_string());
                exit::FAILED
            }
            Err(failure) => report(&failure, output),
        }
    }
}

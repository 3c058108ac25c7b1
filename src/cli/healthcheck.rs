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
                output.error("the gateway is not ready");
                output.note(answer.body.trim_end());
                exit::FAILED
            }
            Err(failure) => report(&failure, output),
        }
    }
}

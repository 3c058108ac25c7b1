//! `ringward version`.

use super::{exit, output::Output};
use clap::Args;

/// Print the version
#[derive(Debug, Args)]
pub(super) struct Command {
    /// As JSON, with target and features
    #[arg(long)]
    json: bool,
}

impl Command {
    pub(super) fn run(self, output: &mut Output) -> u8 {
        let version = env!("CARGO_PKG_VERSION");
        if self.json {
            output.json(&serde_json::json!({
                "name": "ringward",
                "version": version,
                "os": std::env::consts::OS,
                "arch": std::env::consts::ARCH,
                "debug": cfg!(debug_assertions),
            }));
        } else {
            output.result(&format!("ringward {version}\n"));
        }
        exit::OK
    }
}

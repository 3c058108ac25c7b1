//! `ringward policy`: what policies do, before they do it.

mod replay;
mod report;

use super::{admin_client, output::Output};
use clap::{Args, Subcommand};

/// Try policies and masks before they are in force
#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Replay(replay::Replay),
}

impl Command {
    pub(super) fn run(self, output: &mut Output) -> u8 {
        let result = match self.what {
            What::Replay(replay) => replay.run(output),
        };
        result.unwrap_or_else(|failure| match failure {
            replay::Stop::Said(code) => code,
            replay::Stop::Failure(failure) => admin_client::report(&failure, output),
        })
    }
}

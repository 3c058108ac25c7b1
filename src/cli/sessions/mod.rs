//! `ringward sessions`: what agents did, as it was recorded.

mod export;
pub(super) mod lines;
mod list;
mod replay;
pub(super) mod source;
mod tail;
pub(super) mod when;

use super::output::Output;
use clap::{Args, Subcommand};

/// See what agents did: sessions, their requests, and what was said
#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    List(list::List),
    Show(list::Show),
    Tail(tail::Tail),
    Replay(replay::Replay),
    Export(export::Export),
}

impl Command {
    pub(super) fn run(self, output: &mut Output) -> u8 {
        let result = super::block_on(async {
            match self.what {
                What::List(list) => list.run(output).await,
                What::Show(show) => show.run(output).await,
                What::Tail(tail) => tail.run(output).await,
                What::Replay(replay) => replay.run(output).await,
                What::Export(export) => export.run(output).await,
            }
        });
        super::admin_client::exit_code(result, output)
    }
}

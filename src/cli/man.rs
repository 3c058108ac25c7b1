//! `ringward man`.

use super::{Cli, exit, output::Output};
use clap::{Args, CommandFactory};
use std::path::PathBuf;

/// Write the man pages, one a command
#[derive(Debug, Args)]
pub(super) struct Command {
    /// Directory to write them into; it is created
    dir: PathBuf,
}

impl Command {
    pub(super) fn run(self, output: &mut Output) -> u8 {
        let written = std::fs::create_dir_all(&self.dir)
            .and_then(|()| clap_mangen::generate_to(Cli::command(), &self.dir));
        match written {
            Ok(_) => {
                output.note(&format!("wrote the man pages into {}", self.dir.display()));
                exit::OK
            }
            Err(error) => {
                output.error(&format!("cannot write into {}: {error}", self.dir.display()));
                exit::FAILED
            }
        }
    }
}

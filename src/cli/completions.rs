//! `ringward completions`.

use super::{Cli, exit, output::Output};
use clap::{Args, CommandFactory};
use clap_complete::Shell;

/// Print completions for a shell
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ringward completions bash > /etc/bash_completion.d/ringward\n  \
                        ringward completions zsh > \"${fpath[1]}/_ringward\"")]
pub(super) struct Command {
    /// Which shell
    shell: Shell,
}

impl Command {
    pub(super) fn run(self, output: &mut Output) -> u8 {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "ringward", &mut script);
        output.result(&String::from_utf8_lossy(&script));
        exit::OK
    }
}

//! The `loadtest` binary: arguments in, exit code out.

use clap::{Parser, Subcommand};
use loadtest::mock;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Load tester for ringward
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Mock(mock::Options),
}

fn main() -> ExitCode {
    let Command::Mock(options) = Arguments::parse().command;
    match mock::run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}: {error}", options.addr);
            ExitCode::FAILURE
        }
    }
}

//! The `loadtest` binary: arguments in, exit code out.

use clap::{Args, Parser, Subcommand, ValueEnum};
use loadtest::{
    compare,
    exit::Failure,
    mock, options,
    report::{self, Run},
    run,
};
use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Load tester for ringward
#[derive(Debug, Parser)]
#[command(version, max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(Box<options::Options>),
    Compare(compare::Options),
    Report(ReportOptions),
    Mock(mock::Options),
}

/// Show what `run --out` wrote
#[derive(Args, Debug)]
struct ReportOptions {
    /// The file
    file: PathBuf,
    /// As text, as a page with curves, or as percentiles for HdrHistogram's plotter
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Write here instead of to standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    Html,
    Hgrm,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Run(options) => run::run(&options),
        Command::Compare(options) => compare::run(&options),
        Command::Report(options) => show(&options),
        Command::Mock(options) => mock::run(&options)
            .map(|()| (String::new(), 0))
            .map_err(|error| Failure::failed(format!("{}: {error}", options.addr))),
    };
    let (text, code) = match result {
        Ok((text, code)) => (text, code),
        Err(failure) => {
            eprintln!("error: {failure}");
            return ExitCode::from(failure.code);
        }
    };
    // Who has stopped reading knows enough.
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::from(code),
    }
}

fn show(options: &ReportOptions) -> Result<(String, u8), Failure> {
    let run = Run::read(&options.file)?;
    let text = match options.format {
        Format::Text => report::text(&run),
        Format::Html => report::page(&run),
        Format::Hgrm => report::hgrm(&run.target.response),
    };
    match &options.output {
        Some(path) => report::write(path, &text).map(|()| (String::new(), 0)),
        None => Ok((text, 0)),
    }
}

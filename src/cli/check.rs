//! `ringward check`.

use super::config::read;
use super::{ConfigFile, exit, output::Output};
use crate::config::{self, Diagnostic, Format, Severity, diagnostic};
use clap::{Args, ValueEnum};

/// Check a configuration: everything that `run` would do but binding sockets
///
/// Exit code 0: good. 3: it has errors. 4: it has warnings, with --strict.
#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(flatten)]
    file: ConfigFile,
    /// Also ask the issuers for their keys and connect to the upstreams
    #[arg(long)]
    online: bool,
    /// Treat warnings as failures
    #[arg(long)]
    strict: bool,
    /// How findings are written
    #[arg(long, value_enum, default_value = "text")]
    format: Shape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shape {
    /// For people, on standard error
    Text,
    /// One JSON document on standard output
    Json,
    /// SARIF 2.1.0 on standard output
    Sarif,
}

impl Command {
    pub(super) fn run(self, output: &mut Output) -> u8 {
        let Some(text) = read(&self.file, output) else { return exit::FAILED };
        let found = match config::load(&text) {
            Ok(loaded) => provision(&loaded, &text, self.online),
            Err(found) => found,
        };
        match self.format {
            Shape::Text => output.diagnostics(&found),
            Shape::Json => output.result(&diagnostic::render_all(&found, Format::Json, false)),
            Shape::Sarif => output.result(&diagnostic::render_all(&found, Format::Sarif, false)),
        }
        let count = |severity| found.iter().filter(|one| one.severity == severity).count();
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        if self.format == Shape::Text {
            output.note(&summary(&text.name, errors, warnings));
        }
        match (errors, warnings) {
            (0, 0) => exit::OK,
            (0, _) if !self.strict => exit::OK,
            (0, _) => exit::WARNINGS,
            _ => exit::CONFIG,
        }
    }
}

fn summary(file: &str, errors: usize, warnings: usize) -> String {
    let counted = |count: usize, what: &str| match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    };
    match (errors, warnings) {
        (0, 0) => format!("{file}: good"),
        (0, _) => format!("{file}: good, with {}", counted(warnings, "warning")),
        (_, 0) => format!("{file}: {}", counted(errors, "error")),
        _ => format!("{file}: {} and {}", counted(errors, "error"), counted(warnings, "warning")),
    }
}

fn provision(loaded: &config::Loaded, _text: &config::Text, _online: bool) -> Vec<Diagnostic> {
    loaded.diagnostics.clone()
}

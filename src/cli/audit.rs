//! `ringward audit`.

use super::output::{Output, hex};
use super::{ConfigFile, exit};
use crate::audit::Report;
use crate::config;
use crate::journal::{self, VerifyError};
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};

/// Look at the record of what happened
#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Verify(Verify),
}

/// Check the whole log: its chain, its order, and that every exchange makes sense
///
/// Exit code 6 names the first bad record.
#[derive(Debug, Args)]
struct Verify {
    /// Directory of the segments [default: that of the configuration]
    path: Option<PathBuf>,
    #[command(flatten)]
    file: ConfigFile,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Command {
    pub(super) fn run(self, output: &mut Output) -> u8 {
        match self.what {
            What::Verify(verify) => verify.run(output),
        }
    }
}

impl Verify {
    fn run(self, output: &mut Output) -> u8 {
        let Some(dir) = self.directory(output) else { return exit::FAILED };
        match journal::verify_dir(&dir, |_, _| {}) {
            Ok(report) => {
                self.good(&dir, &report, output);
                exit::OK
            }
            Err(error @ VerifyError::Io { .. }) => {
                output.error(&error.to_string());
                exit::FAILED
            }
            Err(error) => {
                if self.json {
                    output.json(&bad(&error));
                }
                output.error(&format!("{}: {error}", dir.display()));
                exit::AUDIT
            }
        }
    }

    fn directory(&self, output: &mut Output) -> Option<PathBuf> {
        if let Some(path) = &self.path {
            return Some(path.clone());
        }
        let text = super::config::read(&self.file, output)?;
        match config::load(&text) {
            Ok(loaded) => Some(text.base.join(loaded.document.audit.dir)),
            Err(found) => {
                output.diagnostics(&found);
                None
            }
        }
    }

    fn good(&self, dir: &Path, report: &Report, output: &mut Output) {
        if self.json {
            output.json(&serde_json::json!({
                "valid": true,
                "segments": report.segments,
                "records": report.records,
                "exchanges_closed": report.exchanges_closed,
                "exchanges_open": report.exchanges_open,
                "refusals": report.refusals,
                "bytes": report.bytes,
                "sealed": report.sealed,
                "head": hex(&report.head),
            }));
            return;
        }
        let mut text = format!(
            "{}: good\n  {} records in {} segments ({} bytes)\n  \
             {} exchanges, {} of them open; {} refusals\n",
            dir.display(),
            report.records,
            report.segments,
            report.bytes,
            report.exchanges_closed + report.exchanges_open,
            report.exchanges_open,
            report.refusals,
        );
        text.push_str(&format!("  head {}\n", hex(&report.head)));
        output.result(&text);
    }
}

/// What is wrong, with the first bad record where there is one.
fn bad(error: &VerifyError) -> serde_json::Value {
    let mut value = serde_json::json!({ "valid": false, "error": error.to_string() });
    if let VerifyError::Damage(damage) = error {
        value["segment"] = damage.segment.into();
        value["record"] = damage.sequence.into();
        value["offset"] = damage.offset.into();
    }
    value
}

//! `ringward audit reindex`.

use super::{
    ConfigFile,
    audit_proof::folder,
    exit, inert,
    output::{BYTES_BAR, Output},
};
use crate::{
    archive::{Archive, Error},
    segments::Keys,
};
use clap::Args;
use std::path::{Path, PathBuf};

/// Make the index of sessions anew, from the whole log
///
/// The index is made by itself where it is missing; the log is the truth. A gateway may run meanwhile.
#[derive(Debug, Args)]
pub(super) struct Reindex {
    /// Directory of the segments [default: that of the configuration]
    #[arg(conflicts_with = "dir")]
    path: Option<PathBuf>,
    /// The same
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Only read the log, and say what the index would hold
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    file: ConfigFile,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Reindex {
    pub(super) fn run(self, output: &mut Output) -> u8 {
        let dir = match folder(self.path.or(self.dir), &self.file, output) {
            Ok(dir) => dir,
            Err(code) => return code,
        };
        match rebuild(&dir, self.dry_run, output) {
            Ok(Some(made)) => {
                if self.json {
                    output.json(&made);
                } else {
                    let done = if self.dry_run { "; nothing was done" } else { "" };
                    output.result(&format!("{}{done}\n", made.text()));
                }
                exit::OK
            }
            Ok(None) => {
                let dir = dir.display();
                output.error(&format!(
                    "{dir} is another user's: run this as that user, or as the gateway does"
                ));
                exit::FAILED
            }
            Err(error) => {
                output.error(&inert::line(&error.to_string()));
                if matches!(error, Error::Damage(_)) { exit::AUDIT } else { exit::FAILED }
            }
        }
    }
}

/// What was made.
#[derive(serde::Serialize)]
struct Made {
    index: PathBuf,
    records: u64,
    sessions: u64,
    exchanges: u64,
}

impl Made {
    fn text(&self) -> String {
        let Made { index, records, sessions, exchanges } = self;
        format!("{}: {sessions} sessions, {exchanges} requests, from {records} records", index.display())
    }
}

/// Nothing, where the index may not be kept.
fn rebuild(dir: &Path, dry_run: bool, output: &Output) -> Result<Option<Made>, Error> {
    // Whoever brings keys has an index in memory, and leaves the file alone.
    let archive = if dry_run { Archive::open_with(dir, Keys::default())? } else { Archive::open(dir)? };
    let index = if dry_run { Some(Archive::index_path(dir)) } else { archive.index_file() };
    let Some(index) = index else { return Ok(None) };
    let bar = output.progress(BYTES_BAR);
    bar.set_length(archive.bytes()?);
    let caught = archive.rebuild(&mut |done| bar.set_position(done));
    bar.finish_and_clear();
    let caught = caught?;
    let (sessions, exchanges) = archive.counts()?;
    Ok(Some(Made { index, records: caught.records, sessions, exchanges }))
}

//! `ringward audit reindex`.

use super::{
    ConfigFile,
    audit_proof::folder,
    exit, inert,
    output::{BYTES_BAR, Output},
};
use crate::archive::{Archive, Error};
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
        match rebuild(&dir, output) {
            Ok(Some(made)) => {
                if self.json {
                    output.json(&made);
                } else {
                    output.result(&made.text());
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
        format!("{}: {sessions} sessions, {exchanges} requests, from {records} records\n", index.display())
    }
}

/// Nothing, where the index may not be kept.
fn rebuild(dir: &Path, output: &Output) -> Result<Option<Made>, Error> {
    let archive = Archive::open(dir)?;
    let Some(index) = archive.index_file() else { return Ok(None) };
    let bar = output.progress(BYTES_BAR);
    bar.set_length(archive.bytes()?);
    let caught = archive.rebuild(&mut |done| bar.set_position(done));
    bar.finish_and_clear();
    let caught = caught?;
    let (sessions, exchanges) = archive.counts()?;
    Ok(Some(Made { index, records: caught.records, sessions, exchanges }))
}

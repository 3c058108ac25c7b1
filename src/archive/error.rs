use crate::audit::Damage;
use std::{io, path::PathBuf};

/// Why the archive has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no log; whoever named the folder is at fault.
    #[error("{0} holds no audit log: name its folder with --dir, or set `audit.dir`")]
    Empty(PathBuf),
    /// The log is not what was written.
    #[error("the log is damaged: {0}; `ringward audit verify` checks all of it")]
    Damage(#[from] Damage),
    /// A file cannot be read; the system is at fault.
    #[error("cannot read {path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    /// The index cannot be used.
    #[error("the session index cannot be used: {0}; `ringward audit reindex` makes it anew")]
    Index(#[from] rusqlite::Error),
    /// What was asked for lies in a segment that is encrypted.
    #[error("segment {0} is encrypted: read the folder itself, with the age identity of an auditor")]
    Encrypted(u64),
    /// Nothing has this name.
    #[error("nothing is recorded as {0:?}; `ringward sessions list` shows what there is")]
    NotFound(String),
    /// Several sessions begin like this.
    #[error("several sessions begin with {0:?}: give more of the id")]
    Ambiguous(String),
    /// The log does not reach the record that was asked for.
    #[error("the log ends at record {found}, although record {wanted} is said to be written")]
    Behind { wanted: u64, found: u64 },
}

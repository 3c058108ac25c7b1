//! `[audit]`: the record of everything that happened.

use super::Size;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The record of everything that happened.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[serde(default)]
pub struct Audit {
    /// Directory of the segments and checkpoints. Created with mode 0700.
    pub dir: PathBuf,
    /// When a record counts as kept.
    pub commit: Commit,
    /// Size of one segment file.
    pub segment_bytes: Size,
}

impl Default for Audit {
    fn default() -> Audit {
        Audit { dir: PathBuf::from("audit"), commit: Commit::Durable, segment_bytes: Size(64 << 20) }
    }
}

/// When a record counts as kept, so that the request may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Commit {
    /// When it is on the disk: survives a power cut.
    Durable,
    /// When the kernel has it: survives the death of the process.
    Written,
}

impl From<Commit> for crate::audit::Commit {
    fn from(written: Commit) -> crate::audit::Commit {
        match written {
            Commit::Durable => crate::audit::Commit::Durable,
            Commit::Written => crate::audit::Commit::Written,
        }
    }
}

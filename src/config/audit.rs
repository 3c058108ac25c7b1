//! `[audit]`: the record of everything that happened.

use super::{Period, Share, Size};
use crate::limits;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The record of everything that happened.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[serde(default)]
pub struct Audit {
    /// Directory of the segments and checkpoints. Created with mode 0700.
    pub dir: PathBuf,
    /// File of the key that signs the log, made at the first start. Default: `log.key` in a folder beside
    /// `dir` that is called like it with `-keys` behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// When a record counts as kept.
    pub commit: Commit,
    /// Size of one segment file.
    pub segment_bytes: Size,
    /// Whether sealed segments are compressed, while the machine has nothing better to do.
    pub compress: bool,
    /// age recipients (`age1…`) to whom sealed segments are encrypted: then the gateway itself cannot read
    /// them any more, only who has the identity of one of them.
    pub recipients: Vec<String>,
    /// Sealed segments older than this are deleted. Default: none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<Period>,
    /// The oldest sealed segments are deleted while the log takes more than this of its disk. Default: none
    /// is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<Share>,
    /// Used part of the disk, in percent, from which on a warning is logged.
    pub disk_warn_percent: u8,
    /// Used part of the disk, in percent, from which on requests are refused: what is open can still be
    /// recorded.
    pub disk_refuse_percent: u8,
    /// How much of the queue into the log one agent may fill, in percent: a subject, or an address that
    /// proves nothing (IPv6: a /64 network). Beyond it nothing more is read of its bodies, and its further
    /// requests are answered 503 `audit_backpressure` after a second. From 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    pub agent_share_percent: u8,
    /// Refusals of one such address that are recorded one by one, a second, after ten times as many at once.
    /// Further ones with the same code become one record a second that says how many they were.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub refusals_per_second: u32,
}

impl Audit {
    /// The directory of the segments, for a configuration that stands in `base`.
    pub fn dir_in(&self, base: &Path) -> PathBuf {
        base.join(&self.dir)
    }

    /// The file of the key that signs them: where none is named, beside the segments and never among them.
    pub fn key_in(&self, base: &Path) -> PathBuf {
        if let Some(key) = &self.key {
            return base.join(key);
        }
        let dir = self.dir_in(base);
        let mut name = dir.file_name().unwrap_or_default().to_owned();
        name.push("-keys");
        dir.with_file_name(name).join("log.key")
    }
}

impl Default for Audit {
    fn default() -> Audit {
        Audit {
            dir: PathBuf::from("audit"),
            key: None,
            commit: Commit::Durable,
            segment_bytes: Size(64 << 20),
            compress: true,
            recipients: Vec::new(),
            keep: None,
            max: None,
            disk_warn_percent: 90,
            disk_refuse_percent: 95,
            agent_share_percent: limits::AGENT_SHARE_PERCENT,
            refusals_per_second: limits::REFUSALS_PER_SECOND,
        }
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

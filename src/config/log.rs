//! `[log]`: the access log and the gateway's own messages.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Access log and messages.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[serde(default)]
pub struct Log {
    /// Where the access log goes, one JSON line a request: "stdout", "off", or a file.
    pub access: String,
    /// Which of the gateway's own messages are written to standard error.
    pub level: Level,
}

impl Default for Log {
    fn default() -> Log {
        Log { access: "stdout".into(), level: Level::Info }
    }
}

/// How much the gateway says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Level {
    /// Its name in the file, which is also that of `tracing`.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        }
    }
}

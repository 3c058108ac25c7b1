//! `[hold]`: requests that wait for people.

use super::Period;
use crate::limits::HOLD_SLICE_LLM_MAX;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Requests that wait for people.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[serde(default)]
pub struct Hold {
    /// Longest that one request is kept without an answer. Then it gets 429 with `retry-after: 1`, and finds
    /// its approval again when it is sent again. Less where the client, or the protocol, has less patience.
    /// From "100ms" to "10m".
    pub slice_max: Period,
}

impl Default for Hold {
    fn default() -> Hold {
        Hold { slice_max: Period(HOLD_SLICE_LLM_MAX) }
    }
}

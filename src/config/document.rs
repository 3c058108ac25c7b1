//! The file as it was written: one field a table. Plain data without places; [`Tree`](super::Tree) knows
//! those. Doc comments here and in the tables are what `config explain` and the JSON Schema show.

use super::{
    Admin, Audit, Deny, Hold, Identity, Limits, Listen, Log, Mask, Notify, Policy, Route, Runtime, Secret,
    Upstream,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Configuration of the gateway. Relative paths start from the directory of the file.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, title = "ringward.toml")]
pub struct Document {
    /// Version of this format. Always 1.
    #[schemars(extend("const" = 1))]
    pub version: u32,
    /// Cores, driver, drain.
    #[serde(default)]
    pub runtime: Runtime,
    /// Where callers connect. At least one.
    #[serde(default)]
    pub listen: Vec<Listen>,
    /// Time, connections and memory that callers may take.
    #[serde(default)]
    pub limits: Limits,
    /// The port and socket for operators, and metrics.
    #[serde(default)]
    pub admin: Admin,
    /// Who may call: OpenID Connect issuers whose tokens are accepted.
    #[serde(default)]
    pub identity: Vec<Identity>,
    /// Credentials by name: where each comes from, never the value itself.
    #[serde(default)]
    pub secrets: BTreeMap<String, Secret>,
    /// Servers by name: where requests go, with which credential.
    #[serde(default)]
    pub upstreams: BTreeMap<String, Upstream>,
    /// Which request goes where, under which policies and masks.
    #[serde(default)]
    pub route: Vec<Route>,
    /// Rules that allow, block or hold a request. A route names those that apply, in order.
    #[serde(default)]
    pub policy: Vec<Policy>,
    /// What is masked while it streams through. A route names those that apply.
    #[serde(default)]
    pub mask: Vec<Mask>,
    /// Requests that wait for people.
    #[serde(default)]
    pub hold: Hold,
    /// Who is told when a request waits for people, and of what becomes of it.
    #[serde(default)]
    pub notify: Vec<Notify>,
    /// How refusals look.
    #[serde(default)]
    pub deny: Deny,
    /// The record of everything that happened.
    #[serde(default)]
    pub audit: Audit,
    /// Access log and messages.
    #[serde(default)]
    pub log: Log,
}

//! What is configured, for people and programs that look at it: `/api/v1/config`, `policies`, `identity` and
//! `secrets`. Never a secret's value.

use super::{
    endpoint::{Endpoint, get},
    problem::answer,
    routes::Desked,
};
use axum::{extract::State, http::StatusCode, response::Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The configuration in force.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Configured {
    /// The main file.
    pub path: String,
    /// 1 at the start; each reload adds 1.
    pub generation: u64,
    /// RFC 3339, in UTC.
    pub loaded_at: String,
    /// The main file, then those of the include folders, in the order in which they are read.
    pub files: Vec<ConfiguredFile>,
    /// Every key with its value, defaults included. Secrets are their sources; what a mask looks for, the
    /// arguments of commands and the hashes of tokens are not shown.
    pub config: Value,
    /// Where each value was written, such as `ringward.toml:58`, by its JSON pointer in `config` (RFC 6901).
    /// What is not here is a default.
    pub places: BTreeMap<String, String>,
    pub routes: Vec<ConfiguredRoute>,
}

/// A file of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct ConfiguredFile {
    /// Below the directory of the main file, such as `policies.d/no-drop.toml`.
    pub name: String,
    pub bytes: usize,
    /// SHA-256 of its text, in hexadecimal digits.
    pub digest: String,
}

/// One way through the gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct ConfiguredRoute {
    pub name: String,
    /// Where it was written.
    pub place: String,
    pub listen: Option<String>,
    pub host: Option<String>,
    /// Empty: all.
    pub methods: Vec<String>,
    pub path: Option<String>,
    pub strip_prefix: Option<String>,
    /// Issuers whose tokens it takes; empty: anyone.
    pub identity: Vec<String>,
    pub upstream: String,
    /// Where the upstream is.
    pub url: String,
    /// What it speaks, such as `anthropic`.
    pub protocol: String,
    /// Names of the secrets that requests get there.
    pub secrets: Vec<String>,
    /// In the order in which they are tried.
    pub policies: Vec<String>,
    pub masks: Vec<String>,
    /// Whether exchanges are recorded at all.
    pub recorded: bool,
    pub max_body_bytes: u64,
}

/// All policies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct ConfiguredPolicies {
    /// Of the configuration that they are part of.
    pub generation: u64,
    /// In the order in which they were written; each route names those that it tries, in its own order.
    pub policies: Vec<ConfiguredPolicy>,
}

/// One policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct ConfiguredPolicy {
    pub name: String,
    /// Where it was written, such as `ringward.toml:58`.
    pub place: String,
    /// The file of that, below the directory of the main file.
    pub file: String,
    pub line: usize,
    /// `allow`, `block` or `approve`.
    pub action: String,
    pub reason: Option<String>,
    pub next: Option<String>,
    /// Only records what it would have done.
    pub dry_run: bool,
    /// Its conditions as they were written; `null` where it always holds.
    pub when: Value,
    /// Who approves, for `approve`.
    pub approval: Value,
    /// The routes that name it, and at which place in their list, from 0.
    pub routes: Vec<PolicyUse>,
    /// Requests that it decided since the start.
    pub decisions: u64,
}

/// A route that tries a policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct PolicyUse {
    pub route: String,
    pub position: usize,
}

/// Who may call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct ConfiguredIdentities {
    pub issuers: Vec<ConfiguredIssuer>,
}

/// One issuer of tokens.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct ConfiguredIssuer {
    pub name: String,
    /// Where it was written.
    pub place: String,
    /// Its identifier, a URL.
    pub issuer: String,
    pub audience: Vec<String>,
    pub algorithms: Vec<String>,
    /// Whether its tokens can be verified now.
    pub ready: bool,
    /// Usable keys.
    pub keys: usize,
    /// Seconds since they were fetched; `null` before.
    pub age_s: Option<f64>,
    /// Why the last fetch failed; `null` if it did not.
    pub last_error: Option<String>,
    /// Routes that take its tokens.
    pub routes: Vec<String>,
}

/// All credentials by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct ConfiguredSecrets {
    pub secrets: Vec<ConfiguredSecret>,
}

/// One credential; never its value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct ConfiguredSecret {
    pub name: String,
    /// Where its table was written.
    pub place: String,
    /// `env`, `file`, `credential`, `exec`, or `exchange` for a token that is fetched just in time.
    pub kind: String,
    /// Where it comes from, such as `file secrets/anthropic.key`; of a command only its path.
    pub source: String,
    /// Seconds since the value was read; `null` while there is none, and for `exchange`.
    pub age_s: Option<f64>,
    /// Whether it can be used: there is a value. A token that is fetched just in time
    /// can always be asked for.
    pub healthy: bool,
    /// Why the last attempt failed; `null` if it did not.
    pub last_error: Option<String>,
    /// Upstreams whose requests get it.
    pub upstreams: Vec<String>,
}

/// What is served here.
pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        get("/api/v1/config", config)
            .says("The configuration in force, and where each value was written")
            .json::<Configured>(),
        get("/api/v1/policies", policies).says("The policies in force").json::<ConfiguredPolicies>(),
        get("/api/v1/identity", identity).says("The issuers of tokens").json::<ConfiguredIdentities>(),
        get("/api/v1/secrets", secrets)
            .says("The credentials: names, sources and ages, never values")
            .json::<ConfiguredSecrets>(),
    ]
}

async fn config(State(desk): Desked) -> Response {
    answer(StatusCode::OK, &desk.control.editor().configured())
}

async fn policies(State(desk): Desked) -> Response {
    answer(StatusCode::OK, &desk.control.editor().policies())
}

async fn identity(State(desk): Desked) -> Response {
    answer(StatusCode::OK, &desk.control.editor().identities())
}

async fn secrets(State(desk): Desked) -> Response {
    answer(StatusCode::OK, &desk.control.editor().secrets())
}

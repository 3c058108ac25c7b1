//! The configuration as operators see, change and try it: the second door between this module and the rest.

use super::{
    Rejected, Work,
    configured::{Configured, ConfiguredIdentities, ConfiguredPolicies, ConfiguredSecrets},
    trials::{Candidate, ReplayFault, Replayed, Trial, Tried},
};
use crate::archive::{Archive, Exchange};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The configuration of the running gateway. `app` implements it.
///
/// The plain methods read what is published and never block. Whoever is named as `author` is recorded.
pub trait Editor: Send + Sync {
    /// Everything that is in force, without secrets.
    fn configured(&self) -> Configured;

    /// The policies in force.
    fn policies(&self) -> ConfiguredPolicies;

    /// The issuers of tokens.
    fn identities(&self) -> ConfiguredIdentities;

    /// The credentials: names, sources and ages.
    fn secrets(&self) -> ConfiguredSecrets;

    /// The files of a folder, by name.
    ///
    /// # Errors
    /// [`EditFault::Failed`].
    fn files(&self, folder: Folder) -> Work<'_, Result<Vec<ConfigFile>, EditFault>>;

    /// One of them.
    ///
    /// # Errors
    /// [`EditFault::Name`], [`EditFault::NotFound`], [`EditFault::Failed`].
    fn file(&self, folder: Folder, name: String) -> Work<'_, Result<ConfigFile, EditFault>>;

    /// Changes a file if the whole configuration is good with the change, and puts it in force. Changes come
    /// one after the other, and none meets a reload.
    ///
    /// # Errors
    /// [`EditFault`]; whatever it is, files and configuration are as they were.
    fn edit(&self, author: String, edit: Edit) -> Work<'_, Result<Edited, EditFault>>;

    /// The text of a file that connects to one upstream.
    ///
    /// # Errors
    /// [`EditFault::Invalid`].
    fn connection(&self, connection: &Connection) -> Result<String, EditFault>;

    /// What would become of a request. Blocks: it may read files.
    ///
    /// # Errors
    /// [`EditFault::Invalid`], [`EditFault::Rejected`].
    fn try_out(&self, trial: &Trial) -> Result<Tried, EditFault>;

    /// What another configuration would make of recorded requests, for as long as `goes_on`. Blocks.
    ///
    /// # Errors
    /// [`ReplayFault`].
    fn replay(
        &self,
        candidate: &Candidate,
        archive: &Archive,
        exchanges: &[Exchange],
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Replayed, ReplayFault>;
}

/// A folder whose files may be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Folder {
    /// `policies.d`.
    Policies,
    /// `connections.d`.
    Connections,
}

/// A file of such a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ConfigFile {
    /// Without `.toml`.
    pub name: String,
    /// Below the directory of the main file, such as `policies.d/no-drop.toml`.
    pub file: String,
    /// Its text as it was sent, comments included.
    pub toml: String,
    /// SHA-256 of the text, in hexadecimal digits; in quotes it is the entity tag.
    pub digest: String,
}

/// A change of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    pub folder: Folder,
    /// Without `.toml`.
    pub name: String,
    /// Its new text; `None` removes the file.
    pub text: Option<String>,
    /// What the file must be for that.
    pub expected: Expected,
    /// Only checks.
    pub dry_run: bool,
}

/// What a file must be before it is changed (RFC 9110 section 13.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Nothing was said: good for a file that is new, and where nothing is changed.
    Unsaid,
    /// There is none: `If-None-Match: *`.
    Absent,
    /// There is one: `If-Match: *`.
    Present,
    /// Its digest is one of these: `If-Match`.
    OneOf(Vec<String>),
}

/// What a change did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Edited {
    /// Without `.toml`.
    pub name: String,
    /// Below the directory of the main file, such as `policies.d/no-drop.toml`.
    pub file: String,
    /// Whether it was only checked.
    pub dry_run: bool,
    /// Whether the file is new.
    pub created: bool,
    /// What differs, as a unified diff; empty where nothing does.
    pub diff: String,
    /// The new text; `null` where the file was removed.
    pub toml: Option<String>,
    /// SHA-256 of the new text, in hexadecimal digits; `null` where the file was removed.
    pub digest: Option<String>,
    /// Generation of the configuration in force.
    pub generation: u64,
    /// What should be looked at, as `ringward check --format json` lists it.
    pub warnings: Vec<serde_json::Value>,
}

/// Why a file is not changed, or not shown; in words, without anything secret.
#[derive(Clone, Debug, PartialEq)]
pub enum EditFault {
    /// It cannot be the name of a file (caller).
    Name(String),
    /// There is no such file (caller).
    NotFound(String),
    /// What was asked for makes no sense (caller).
    Invalid(String),
    /// A file is changed by those who have seen it: they say which one that was (caller).
    Unconditional(String),
    /// The file is another one by now (caller).
    Changed(String),
    /// The configuration would be bad (caller); `diff` shows the change.
    Rejected { rejected: Rejected, diff: String },
    /// The file cannot be read or written (operator).
    Failed(String),
}

/// A way to an upstream, as a form asks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    /// Of the upstream, the route and the file: 1 to 64 lower-case letters, digits or `-`.
    #[schemars(regex(pattern = r"^[a-z0-9-]{1,64}$"))]
    pub name: String,
    /// Where the upstream is, such as `https://api.example.com`.
    pub url: String,
    /// `anthropic`, `openai`, `mcp` or `http`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// The credential that requests get: `${secret:NAME}` of a secret in the main file, never a value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The header that carries it; default: `x-api-key` for `anthropic`, else `authorization` with `Bearer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// Name of the listener; default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// Host of the requests that go there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Their path; default, where no host is given: `/NAME/**`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Start of the path that is cut off; default, where neither host nor path are given: `/NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strip_prefix: Option<String>,
    /// Names of the issuers whose tokens are taken. An empty list lets anyone in who reaches the listener.
    pub identity: Vec<String>,
    /// Names of the policies, in the order in which they are tried.
    pub policies: Vec<String>,
    /// Names of the masks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub masks: Vec<String>,
}

//! Profiles: where `ringward token` gets tokens, and as which client. From the environment, from
//! `~/.config/ringward/profiles.toml`, or from the file that a running demo leaves.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::env::{self, VarError};
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// How tokens are fetched: `client_credentials` (RFC 6749 section 4.4).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Issuer whose discovery document names the token endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The token endpoint itself, instead of `issuer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_endpoint: Option<String>,
    pub client_id: String,
    pub client_secret: ClientSecret,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
}

/// Where the client's password is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ClientSecret {
    /// A variable of the environment.
    Env(String),
    /// A file that others cannot read.
    File(PathBuf),
    /// In the profile itself: only in a file that others cannot read.
    Value(String),
}

/// Why there is no profile or no password. The operator is at fault.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {}: {error}", path.display())]
    Io { path: PathBuf, error: std::io::Error },
    #[error("{}: {error}", path.display())]
    Syntax { path: PathBuf, error: Box<toml::de::Error> },
    #[error("every user of this host can read {}: run chmod 600 on it", .0.display())]
    Exposed(PathBuf),
    #[error("{} belongs to another user of this host", .0.display())]
    Foreign(PathBuf),
    #[error("the environment variable {0} is not set")]
    NotSet(String),
    #[error("there is no profile `{name}` in {searched}; it needs `issuer`, `client_id` and `client_secret`")]
    Unknown { name: String, searched: String },
}

/// Where the profiles of a running demo are: a directory of this user that a restart empties.
pub fn runtime_profiles() -> PathBuf {
    let runtime = env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let own = || env::temp_dir().join(format!("ringward-{}", user_id()));
    runtime.map_or_else(own, |dir| dir.join("ringward")).join("profiles.toml")
}

/// Directory of this user's own files below `variable`, else below `fallback` of the home directory.
pub(super) fn user_dir(variable: &str, fallback: &str) -> Option<PathBuf> {
    let given = env::var_os(variable).filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let home =
        || env::var_os("HOME").filter(|dir| !dir.is_empty()).map(|home| Path::new(&home).join(fallback));
    Some(given.or_else(home)?.join("ringward"))
}

fn user_id() -> u32 {
    fs::metadata("/proc/self").map_or(0, |metadata| metadata.uid())
}

impl Profile {
    /// The profile called `name`; without a name that of the environment, else the one called `default`.
    ///
    /// # Errors
    /// See [`Error`].
    pub(super) fn find(name: Option<&str>) -> Result<Profile, Error> {
        if name.is_none()
            && let Some(profile) = Profile::of_environment()?
        {
            return Ok(profile);
        }
        let name = name.unwrap_or("default");
        let files: Vec<PathBuf> = user_dir("XDG_CONFIG_HOME", ".config")
            .map(|dir| dir.join("profiles.toml"))
            .into_iter()
            .chain([runtime_profiles()])
            .collect();
        for file in files.iter().filter(|file| file.exists()) {
            let profiles = read(file)?;
            if let Some(profile) = profiles.into_iter().find(|(known, _)| known == name) {
                return Ok(profile.1);
            }
        }
        let searched = files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(" or ");
        Err(Error::Unknown { name: name.into(), searched })
    }

    /// `RINGWARD_TOKEN_ISSUER` or `RINGWARD_TOKEN_ENDPOINT` with `_CLIENT_ID` and the rest.
    fn of_environment() -> Result<Option<Profile>, Error> {
        let variable = |name: &str| match env::var(format!("RINGWARD_TOKEN_{name}")) {
            Ok(value) if !value.is_empty() => Some(value),
            Ok(_) | Err(VarError::NotPresent | VarError::NotUnicode(_)) => None,
        };
        let (issuer, token_endpoint) = (variable("ISSUER"), variable("ENDPOINT"));
        if issuer.is_none() && token_endpoint.is_none() {
            return Ok(None);
        }
        let client_id =
            variable("CLIENT_ID").ok_or_else(|| Error::NotSet("RINGWARD_TOKEN_CLIENT_ID".into()))?;
        let client_secret = match variable("CLIENT_SECRET_FILE") {
            Some(file) => ClientSecret::File(file.into()),
            None => ClientSecret::Env("RINGWARD_TOKEN_CLIENT_SECRET".into()),
        };
        Ok(Some(Profile {
            issuer,
            token_endpoint,
            client_id,
            client_secret,
            audience: variable("AUDIENCE"),
            resource: variable("RESOURCE"),
            scope: variable("SCOPE"),
        }))
    }

    /// The client's password.
    ///
    /// # Errors
    /// See [`Error`].
    pub(super) fn secret(&self) -> Result<Zeroizing<String>, Error> {
        match &self.client_secret {
            ClientSecret::Value(value) => Ok(Zeroizing::new(value.clone())),
            ClientSecret::Env(name) => {
                env::var(name).map(Zeroizing::new).map_err(|_| Error::NotSet(name.clone()))
            }
            ClientSecret::File(path) => {
                let text = private(path)?;
                Ok(Zeroizing::new(text.trim_end_matches(['\n', '\r']).to_owned()))
            }
        }
    }
}

fn read(path: &Path) -> Result<BTreeMap<String, Profile>, Error> {
    let text = private(path)?;
    toml::from_str(&text).map_err(|error| Error::Syntax { path: path.into(), error: Box::new(error) })
}

/// Reads a file that others cannot.
fn private(path: &Path) -> Result<Zeroizing<String>, Error> {
    let io = |error| Error::Io { path: path.into(), error };
    let metadata = fs::metadata(path).map_err(io)?;
    if metadata.permissions().mode() & 0o007 != 0 {
        return Err(Error::Exposed(path.into()));
    }
    if metadata.uid() != user_id() && metadata.uid() != 0 {
        return Err(Error::Foreign(path.into()));
    }
    fs::read_to_string(path).map(Zeroizing::new).map_err(io)
}
/// Writes a file that only this user reads: beside it first, then renamed, so that nobody reads half of it.
///
/// # Errors
/// As the file system says.
pub(super) fn write_private(file: &Path, text: &[u8]) -> io::Result<()> {
    if let Some(dir) = file.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let beside = file.with_extension(format!("{}.tmp", std::process::id()));
    let mut opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    opened.set_permissions(Permissions::from_mode(0o600))?;
    opened.write_all(text)?;
    fs::rename(&beside, file)
}

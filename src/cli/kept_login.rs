//! What `ringward login` keeps: the tokens of sessions, by gateway, in a file that only this user reads.

use super::profile::{user_dir, write_private};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// One login.
#[derive(Clone, Deserialize, Serialize, Zeroize, ZeroizeOnDrop)]
pub(super) struct Kept {
    pub token: String,
    /// Under which name it is recorded there.
    pub principal: String,
    /// RFC 3339.
    pub ends: String,
    /// File with the authorities of the gateway's certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[zeroize(skip)]
    pub ca: Option<PathBuf>,
}

/// The file: below `$XDG_STATE_HOME`, else in `~/.local/state`.
pub(super) fn file() -> Option<PathBuf> {
    Some(user_dir("XDG_STATE_HOME", ".local/state")?.join("logins.json"))
}

/// The login at a gateway.
///
/// # Errors
/// In words: the file is there and cannot be used.
pub(super) fn find(url: &str) -> Result<Option<Kept>, String> {
    let Some(file) = file() else { return Ok(None) };
    Ok(read(&file)?.remove(url))
}

/// Keeps the login at a gateway, or forgets it.
///
/// # Errors
/// In words: the file cannot be written.
pub(super) fn keep(url: &str, kept: Option<Kept>) -> Result<(), String> {
    let file = file().ok_or("there is no place to keep it: set HOME or XDG_STATE_HOME")?;
    let mut all = read(&file)?;
    match kept {
        Some(kept) => drop(all.insert(url.to_owned(), kept)),
        None => drop(all.remove(url)),
    }
    write(&file, &all).map_err(|error| format!("cannot write {}: {error}", file.display()))
}

fn read(file: &Path) -> Result<BTreeMap<String, Kept>, String> {
    let failed = |error: &dyn std::fmt::Display| format!("cannot read {}: {error}", file.display());
    let metadata = match fs::metadata(file) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(failed(&error)),
    };
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(format!("others can read {}: run chmod 600 on it", file.display()));
    }
    if metadata.uid() != crate::runtime::sys::user_id() {
        return Err(format!("{} belongs to another user", file.display()));
    }
    let text = Zeroizing::new(fs::read(file).map_err(|error| failed(&error))?);
    serde_json::from_slice(&text)
        .map_err(|_| format!("{} is damaged: remove it and log in again", file.display()))
}

fn write(file: &Path, all: &BTreeMap<String, Kept>) -> io::Result<()> {
    write_private(file, &Zeroizing::new(serde_json::to_vec_pretty(all)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_user_reads_what_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ringward/logins.json");
        assert!(read(&file).unwrap().is_empty());
        let kept = Kept {
            token: "canary".into(),
            principal: "user:sam".into(),
            ends: "2026-11-22T00:00:00Z".into(),
            ca: None,
        };
        write(&file, &BTreeMap::from([("https://gw".to_owned(), kept)])).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(file.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
        assert_eq!(read(&file).unwrap()["https://gw"].token, "canary");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(read(&file).err().unwrap().contains("chmod 600"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&file, "{\"https://gw\": canary").unwrap();
        let error = read(&file).err().unwrap();
        assert!(error.contains("damaged") && !error.contains("canary"), "{error}");
    }
}

//! The profile of a demo, in the file that `ringward token` reads.

use crate::cli::profile::{ClientSecret, Profile, write_private};
use crate::demo::Ready;
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Name of the profile of the only demo that runs; another one's has a number behind it.
pub const PROFILE: &str = "demo";

/// For the issuer of another demo, on this host, to take a connection.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(200);

/// A profile of its own for each demo that runs. Removed when dropped.
pub struct PublishedProfile {
    file: PathBuf,
    pub name: String,
    profile: Profile,
}

impl PublishedProfile {
    /// Adds it, under the first name that no other running demo has. What one left that was killed goes.
    ///
    /// # Errors
    /// The directory is not this user's alone, or cannot be written.
    pub fn write(file: &Path, ready: &Ready) -> io::Result<PublishedProfile> {
        let profile = Profile {
            issuer: Some(ready.issuer.clone()),
            token_endpoint: None,
            client_id: ready.client_id.to_owned(),
            client_secret: ClientSecret::File(ready.client_secret_file.clone()),
            audience: Some(ready.audience.to_owned()),
            resource: None,
            scope: None,
        };
        let directory = file.parent().unwrap_or(Path::new("."));
        own_directory(directory)?;
        let _turn = turn(directory)?;
        let mut profiles = read(file);
        profiles.retain(|_, other| answers(other));
        let numbered = (2..).map(|number| format!("{PROFILE}-{number}"));
        let name = [PROFILE.to_owned()].into_iter().chain(numbered).find(|name| !profiles.contains_key(name));
        let name = name.unwrap_or_else(|| PROFILE.to_owned());
        profiles.insert(name.clone(), profile.clone());
        save(file, &profiles)?;
        Ok(PublishedProfile { file: file.to_owned(), name, profile })
    }
}

impl Drop for PublishedProfile {
    fn drop(&mut self) {
        let Ok(_turn) = turn(self.file.parent().unwrap_or(Path::new("."))) else { return };
        let mut profiles = read(&self.file);
        if profiles.get(&self.name).is_some_and(|profile| *profile == self.profile) {
            profiles.remove(&self.name);
            // It is gone already, or it is the system's to remove at its next start.
            let _ =
                if profiles.is_empty() { fs::remove_file(&self.file) } else { save(&self.file, &profiles) };
        }
    }
}

/// Demos change the file one after the other.
fn turn(directory: &Path) -> io::Result<File> {
    let directory = File::open(directory)?;
    directory.lock()?;
    Ok(directory)
}

fn read(file: &Path) -> BTreeMap<String, Profile> {
    fs::read_to_string(file).ok().and_then(|text| toml::from_str(&text).ok()).unwrap_or_default()
}

fn save(file: &Path, profiles: &BTreeMap<String, Profile>) -> io::Result<()> {
    write_private(file, toml::to_string(profiles).map_err(io::Error::other)?.as_bytes())
}

/// Whether the demo of a profile runs: its issuer is on this host.
fn answers(profile: &Profile) -> bool {
    let address = profile.issuer.as_deref().and_then(|issuer| issuer.strip_prefix("http://"));
    let address = address.and_then(|address| address.parse::<SocketAddr>().ok());
    address.is_some_and(|address| TcpStream::connect_timeout(&address, ANSWER_TIMEOUT).is_ok())
}

/// A directory of this user: where others may write, they could lay a profile of theirs.
fn own_directory(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let metadata = fs::symlink_metadata(directory)?;
    let foreign = metadata.uid() != crate::runtime::sys::user_id() || metadata.mode() & 0o022 != 0;
    if foreign || !metadata.is_dir() {
        return Err(io::Error::other("its directory belongs to others, or others may write to it"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn each_running_demo_has_a_profile_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ringward/profiles.toml");
        let demo = || {
            let issuer = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("http://{}", issuer.local_addr().unwrap());
            let ready = Ready { issuer: url.clone(), ..super::super::tests::ready() };
            (issuer, url, PublishedProfile::write(&file, &ready).unwrap())
        };
        let issuers =
            || Vec::from_iter(read(&file).into_iter().map(|(name, one)| (name, one.issuer.unwrap())));
        let (issuer, one, first) = demo();
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        let (_running, other, second) = demo();
        assert_eq!(issuers(), [("demo".to_owned(), one), ("demo-2".to_owned(), other.clone())]);
        // The first one was killed: it has not taken its profile with it.
        drop(issuer);
        std::mem::forget(first);
        let (_running, next, third) = demo();
        assert_eq!(issuers(), [("demo".to_owned(), next.clone()), ("demo-2".to_owned(), other)]);
        drop(second);
        assert_eq!(issuers(), [("demo".to_owned(), next)]);
        drop(third);
        assert!(!file.exists());
    }
}

//! The private key that signs the log: a file of its own, for the gateway's user alone.
//!
//! A rotation writes the next key beside the one in force, then its KEY record, then renames: whichever of
//! them a crash leaves, the log says which key is in force, and the next start takes that one.

use crate::audit::{PublicKey, SALT_BYTES, SigningKey, origin};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::STANDARD};
use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// Nobody else reads or writes a key.
const FILE_MODE: u32 = 0o600;
/// Nobody else looks into the folder that is made for it.
const FOLDER_MODE: u32 = 0o700;
/// Permissions that a key file may not have.
const OTHERS: u32 = 0o077;
/// A PKCS#8 document of an Ed25519 key has 48 to 85 bytes; in PEM a little more.
const FILE_BYTES_MAX: u64 = 4_096;
const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";

/// Why there is no key to sign with; the operator has to act.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    #[error("cannot use the audit key {path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "{0} holds no Ed25519 key: want PKCS#8 in PEM, as `openssl genpkey -algorithm ed25519` writes it"
    )]
    NotAKey(PathBuf),
    #[error("the audit key {0} may be read by others: chmod 600 it")]
    Readable(PathBuf),
    #[error(
        "{0} is not the key that signs this log: restore that key, or move the audit folder away to begin a \
         new log"
    )]
    Foreign(PathBuf),
    #[error(
        "the audit key {0} is missing, and this log is signed with it: restore it, or move the audit folder \
         away to begin a new log"
    )]
    Missing(PathBuf),
    #[error("the system gives no random bytes")]
    Random,
}

/// Where the private key lies.
#[derive(Clone, Debug)]
pub(super) struct KeyFile(pub(super) PathBuf);

impl KeyFile {
    /// The key that signs a log whose key in force is `in_force`. Without one the log is new to signing: then
    /// a key is made, if there is none.
    ///
    /// `salt` goes into the name of such a log.
    ///
    /// # Errors
    /// [`KeyFileError`]: there is no such key.
    pub(super) fn open(
        &self,
        in_force: Option<&PublicKey>,
        salt: &[u8; SALT_BYTES],
    ) -> Result<SigningKey, KeyFileError> {
        let next = self.next();
        let Some(in_force) = in_force else {
            discard(&next)?;
            let pair = match load(&self.0)? {
                Some(pair) => pair,
                None => create(&self.0)?,
            };
            let name = origin(&public(&pair).ok_or_else(|| self.not_a_key())?, salt);
            return SigningKey::new(&name, pair).map_err(|_| self.not_a_key());
        };
        let is_in_force = |pair: &Ed25519KeyPair| public(pair).as_ref() == Some(in_force.bytes());
        let found = load(&self.0)?;
        let pair = match found {
            Some(pair) if is_in_force(&pair) => {
                discard(&next)?;
                pair
            }
            // A rotation ended after its record was written.
            other => match load(&next)? {
                Some(pair) if is_in_force(&pair) => {
                    self.take_next()?;
                    pair
                }
                _ if other.is_none() => return Err(KeyFileError::Missing(self.0.clone())),
                _ => return Err(KeyFileError::Foreign(self.0.clone())),
            },
        };
        SigningKey::new(in_force.name(), pair).map_err(|_| self.not_a_key())
    }

    /// Makes the next key of the log called `name`, beside the one in force.
    ///
    /// # Errors
    /// [`KeyFileError`]: it cannot be made.
    pub(super) fn prepare_next(&self, name: &str) -> Result<SigningKey, KeyFileError> {
        discard(&self.next())?;
        SigningKey::new(name, create(&self.next())?).map_err(|_| self.not_a_key())
    }

    /// Puts the next key into the place of the one in force, which is gone then.
    ///
    /// # Errors
    /// The file system refuses.
    pub(super) fn take_next(&self) -> Result<(), KeyFileError> {
        let renamed = fs::rename(self.next(), &self.0).and_then(|()| sync_folder(&self.0));
        renamed.map_err(|source| KeyFileError::Io { path: self.0.clone(), source })
    }

    fn next(&self) -> PathBuf {
        let mut name = OsString::from(&self.0);
        name.push(".next");
        name.into()
    }

    fn not_a_key(&self) -> KeyFileError {
        KeyFileError::NotAKey(self.0.clone())
    }
}

fn public(pair: &Ed25519KeyPair) -> Option<[u8; 32]> {
    pair.public_key().as_ref().try_into().ok()
}

/// The key in a file; `None` if there is no file.
fn load(path: &Path) -> Result<Option<Ed25519KeyPair>, KeyFileError> {
    let io_error = |source| KeyFileError::Io { path: path.to_owned(), source };
    let metadata = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata.map_err(io_error)?,
    };
    if metadata.permissions().mode() & OTHERS != 0 {
        return Err(KeyFileError::Readable(path.to_owned()));
    }
    let not_a_key = || KeyFileError::NotAKey(path.to_owned());
    if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX {
        return Err(not_a_key());
    }
    let text = Zeroizing::new(fs::read(path).map_err(io_error)?);
    let der = str::from_utf8(&text).ok().and_then(from_pem).ok_or_else(not_a_key)?;
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map(Some).map_err(|_| not_a_key())
}

fn from_pem(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let (_, rest) = text.split_once(BEGIN)?;
    let (body, _) = rest.split_once(END)?;
    let digits: Zeroizing<String> = Zeroizing::new(body.split_ascii_whitespace().collect());
    STANDARD.decode(digits.as_bytes()).ok().map(Zeroizing::new)
}

/// Makes a key in a new file, durable when this returns.
fn create(path: &Path) -> Result<Ed25519KeyPair, KeyFileError> {
    let pair = Ed25519KeyPair::generate().map_err(|_| KeyFileError::Random)?;
    // Version 1 of PKCS#8 is what every tool reads.
    let der = pair.to_pkcs8v1().map_err(|_| KeyFileError::Random)?;
    let pem = Zeroizing::new(format!("{BEGIN}\n{}\n{END}\n", STANDARD.encode(der.as_ref())));
    let write = || -> io::Result<()> {
        if let Some(folder) = folder(path).filter(|folder| !folder.exists()) {
            DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)?;
        file.write_all(pem.as_bytes())?;
        file.sync_all()?;
        sync_folder(path)
    };
    write().map_err(|source| KeyFileError::Io { path: path.to_owned(), source })?;
    Ok(pair)
}

fn discard(path: &Path) -> Result<(), KeyFileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(KeyFileError::Io { path: path.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}

/// The folder of a file, if its name says one.
fn folder(path: &Path) -> Option<&Path> {
    path.parent().filter(|folder| !folder.as_os_str().is_empty())
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder(path).unwrap_or(Path::new(".")))?.sync_all()
}

use serde::{Deserialize, Serialize};
use std::{
    fs,
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

/// What was before: enough to undo all that was applied. Written before each change, so that whatever a crash
/// left half done can be taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    pub changes: Vec<Saved>,
    /// The file of sysctl.d that was written, where one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persisted: Option<PathBuf>,
}

/// One setting as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    pub id: String,
    pub file: PathBuf,
    pub old: String,
    pub new: String,
}

/// The state cannot be kept: then nothing is changed.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is not a state file of `ringward tune`: {source}")]
    Broken { path: PathBuf, source: serde_json::Error },
    #[error("{path} says that {file} is to be removed, which `ringward tune` never writes")]
    Foreign { path: PathBuf, file: PathBuf },
    #[error("cannot write {path}, so that nothing could be undone: {source}")]
    Write { path: PathBuf, source: io::Error },
}

impl State {
    /// Reads the state; an empty one where there is no file.
    ///
    /// # Errors
    /// The file is unreadable, or none of ours.
    pub fn load(path: &Path) -> Result<State, StateError> {
        match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|source| StateError::Broken { path: path.to_owned(), source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(State::default()),
            Err(source) => Err(StateError::Read { path: path.to_owned(), source }),
        }
    }

    /// Writes it as a whole, or removes the file where there is nothing to undo.
    ///
    /// # Errors
    /// [`StateError::Write`].
    pub fn store(&self, path: &Path) -> Result<(), StateError> {
        let failed = |source| StateError::Write { path: path.to_owned(), source };
        if *self == State::default() {
            return match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
                _ => Ok(()),
            };
        }
        // A value of texts always serialises.
        let text = serde_json::to_string_pretty(self).expect("texts serialise") + "\n";
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        fs::DirBuilder::new().recursive(true).mode(0o755).create(folder).map_err(failed)?;
        replace(path, folder, text.as_bytes()).map_err(failed)
    }
}

/// Replaces a file as a whole, on disk when this returns.
pub(super) fn replace(path: &Path, folder: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(mode)?;
    file.persist(path)?;
    fs::File::open(folder)?.sync_all()
}

//! The directory that a demo lives in.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Longest path of a unix socket (unix(7)), without its final zero.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// A directory of this user alone. Removed with all that is in it when dropped, unless it is kept.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    keep: bool,
}

impl Directory {
    /// A new one below the system's directory for temporary files, `suffix` at the end of its name.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn create(suffix: &str, keep: bool) -> io::Result<Directory> {
        let name = format!("ringward-demo-{suffix}");
        let mut path = std::env::temp_dir().join(&name);
        if path.join("admin.sock").as_os_str().len() > SOCKET_PATH_BYTES_MAX {
            path = Path::new("/tmp").join(&name);
        }
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Directory { path, keep })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file that nobody else can read; directories on its way are made.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn write(&self, name: &str, content: &str) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        if let Some(parent) = path.parent() {
            DirBuilder::new().mode(0o700).recursive(true).create(parent)?;
        }
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        file.write_all(content.as_bytes())?;
        Ok(path)
    }

    /// Removes a directory or a file inside. What is not there is removed already.
    pub(super) fn remove(&self, name: &str) {
        let path = self.path.join(name);
        let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if !self.keep {
            // What cannot be removed now is the system's to remove: it is below its temporary directory.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

//! What stands around the process: directories that the environment names.

use std::path::PathBuf;

/// What the process finds around itself, so that a test can bring its own.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// `$CREDENTIALS_DIRECTORY`, which systemd sets.
    pub credentials: Option<PathBuf>,
    /// `$XDG_RUNTIME_DIR`.
    pub runtime: Option<PathBuf>,
}

impl Host {
    /// That of this process.
    pub fn of_process() -> Host {
        let path = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Host { credentials: path("CREDENTIALS_DIRECTORY"), runtime: path("XDG_RUNTIME_DIR") }
    }

    /// Where the admin socket is unless the configuration says otherwise.
    pub fn admin_socket(&self) -> PathBuf {
        self.runtime.clone().unwrap_or_else(|| PathBuf::from("/run")).join("ringward/admin.sock")
    }
}

//! Reads secrets from where they are, at start and while the gateway runs, and publishes them in their slots.

use super::exec;
use crate::limits::{SECRET_BYTES_MAX, SECRET_EXEC_TIMEOUT, SECRET_FILE_POLL};
use crate::secrets::{Error, SecretSlot, SecretSpec, SecretValue, Slots, Source};
use crate::time::{Instant, Now, Timestamp};
use std::ffi::OsString;
use std::fs::File;
use std::future::Future;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::task::JoinSet;
use zeroize::Zeroizing;

/// Why a secret could not be read. Never holds what was read, nor an argument of a command.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The operator is at fault.
    #[error("the environment variable is not set")]
    NotSet,
    /// Not started by systemd, or its unit loads no credential.
    #[error("$CREDENTIALS_DIRECTORY is not set: add `LoadCredential=` to the unit, or use `file`")]
    NoCredentials,
    /// The file system said no.
    #[error("cannot {action} {}: {kind}", path.display())]
    Io { action: &'static str, path: PathBuf, kind: io::ErrorKind },
    /// A secret that every user of the host has already.
    #[error("every user can read or write {path} (mode {mode:04o}): run `chmod 600 {path}`")]
    Exposed { path: String, mode: u32 },
    /// A directory, device or pipe.
    #[error("{} is not a regular file", path.display())]
    NotAFile { path: PathBuf },
    /// A command without an absolute path.
    #[error("the program needs an absolute path")]
    NotAbsolute,
    /// A command that somebody else could exchange.
    #[error("{} {why}", path.display())]
    Untrusted { path: PathBuf, why: &'static str },
    /// A command that did not end; it was killed.
    #[error("the command did not end within {seconds} s")]
    Timeout { seconds: u64 },
    /// A command that ended badly.
    #[error("the command failed, {}", match code {
        Some(code) => format!("exit code {code}"),
        None => "killed by a signal".to_owned(),
    })]
    Failed { code: Option<i32> },
    /// A file or command that gives too much.
    #[error("there are more than {SECRET_BYTES_MAX} bytes")]
    Oversize,
    /// The reading was given up, such as at the end of the process.
    #[error("the reading was interrupted")]
    Interrupted,
    /// What was read cannot be a secret.
    #[error(transparent)]
    Value(#[from] Error),
}

/// A secret without a value, for `check` and for a start that cannot be.
#[derive(Debug, thiserror::Error)]
#[error("secret `{name}` ({source_shown}): {error}")]
pub struct Failure {
    /// Which one; `config` finds its line by it.
    pub name: Arc<str>,
    /// Where it should have come from.
    pub source_shown: String,
    pub error: SourceError,
}

/// Looks an environment variable up.
type Variable = dyn Fn(&str) -> Option<OsString> + Send + Sync;

/// What a process finds around itself, so that a test can bring its own.
#[derive(Clone)]
pub struct Surroundings {
    variable: Arc<Variable>,
    exec_timeout: Duration,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process() -> Surroundings {
        Surroundings::with(|name| std::env::var_os(name))
    }

    /// With `variable` in place of the environment.
    pub fn with(variable: impl Fn(&str) -> Option<OsString> + Send + Sync + 'static) -> Surroundings {
        Surroundings { variable: Arc::new(variable), exec_timeout: SECRET_EXEC_TIMEOUT }
    }

    fn path(&self, source: &Source) -> Result<Option<PathBuf>, SourceError> {
        match source {
            Source::File { path } => Ok(Some(path.clone())),
            Source::Credential { name } => {
                let directory = (self.variable)("CREDENTIALS_DIRECTORY").ok_or(SourceError::NoCredentials)?;
                Ok(Some(PathBuf::from(directory).join(&**name)))
            }
            Source::Env { .. } | Source::Exec { .. } => Ok(None),
        }
    }
}

/// Reads every secret of `slots` once, side by side. A secret that cannot be read but has a value already
/// (see [`Slots::inherit`]) keeps it, and its slot says so.
///
/// # Errors
/// All secrets without a value, by name; the operator is at fault.
pub async fn provision(slots: &Slots, surroundings: &Surroundings) -> Result<(), Vec<Failure>> {
    let mut failures = Vec::new();
    for (slot, outcome) in read_all(slots.iter().cloned().collect(), surroundings).await {
        if let Err(error) = publish(&slot, outcome, wall_clock())
            && slot.value().is_none()
        {
            let source_shown = slot.spec().source.to_string();
            failures.push(Failure { name: slot.name().clone(), source_shown, error });
        }
    }
    failures.sort_by(|a, b| a.name.cmp(&b.name));
    if failures.is_empty() { Ok(()) } else { Err(failures) }
}

/// The bytes of a source as they are, at most 64 KiB; for what is no header value, such as a private key.
///
/// # Errors
/// See [`SourceError`]; the operator or the source is at fault.
pub async fn read(source: &Source, surroundings: &Surroundings) -> Result<Zeroizing<Vec<u8>>, SourceError> {
    match source {
        Source::Env { name } => {
            let value = (surroundings.variable)(name).ok_or(SourceError::NotSet)?;
            Ok(Zeroizing::new(value.into_encoded_bytes()))
        }
        Source::Exec { argv } => exec::run(argv, surroundings.exec_timeout).await,
        Source::File { .. } | Source::Credential { .. } => {
            // Both have a path; the other two were handled above.
            let path = surroundings.path(source)?.ok_or(SourceError::Interrupted)?;
            let reading = tokio::task::spawn_blocking(move || read_file(&path));
            reading.await.map_err(|_| SourceError::Interrupted)?
        }
    }
}

/// The value of a secret: its source without the newline at its end.
async fn fetch(spec: &SecretSpec, surroundings: &Surroundings) -> Result<SecretValue, SourceError> {
    let mut bytes = read(&spec.source, surroundings).await?;
    if !matches!(spec.source, Source::Env { .. }) {
        for end in [b'\n', b'\r'] {
            if bytes.last() == Some(&end) {
                bytes.pop();
            }
        }
    }
    let value = SecretValue::new(bytes, spec.scrub)?;
    // Made here, so that no request has to wait for it.
    value.echo();
    Ok(value)
}

type Outcome = (Arc<SecretSlot>, Result<SecretValue, SourceError>);

async fn read_all(slots: Vec<Arc<SecretSlot>>, surroundings: &Surroundings) -> Vec<Outcome> {
    let mut readings = JoinSet::new();
    for slot in slots {
        let surroundings = surroundings.clone();
        readings.spawn(async move {
            let outcome = fetch(slot.spec(), &surroundings).await;
            (slot, outcome)
        });
    }
    readings.join_all().await
}

/// Puts an outcome into its slot; the error, if there is one, is noted there and handed back.
fn publish(
    slot: &SecretSlot,
    outcome: Result<SecretValue, SourceError>,
    at: Timestamp,
) -> Result<(), SourceError> {
    match outcome {
        Ok(value) => {
            if slot.publish(value, at) {
                tracing::info!(secret = %slot.name(), "secret read");
            }
            Ok(())
        }
        Err(error) => {
            tracing::warn!(secret = %slot.name(), source = %slot.spec().source, %error, "secret not read");
            slot.fail(&error, at);
            Err(error)
        }
    }
}

/// Keeps the secrets of one configuration fresh: each is read at its interval, a file as soon as it changes.
pub struct Keeper {
    surroundings: Surroundings,
    entries: Vec<Entry>,
}

struct Entry {
    slot: Arc<SecretSlot>,
    interval: Duration,
    due: Instant,
    stamp: Option<Stamp>,
}

/// What tells one version of a file from another: device, inode, size, and time of the last change.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp(u64, u64, u64, i64, i64);

impl Keeper {
    /// A keeper for those of `slots` that have a refresh interval, counted from [`Instant`] zero.
    pub fn new(slots: &Slots, surroundings: Surroundings) -> Keeper {
        let entry = |slot: &Arc<SecretSlot>| {
            let interval = slot.spec().refresh?;
            // Without a stamp, a file that changed since it was provisioned is read at the first look.
            Some(Entry { slot: slot.clone(), interval, due: Instant(0) + interval, stamp: None })
        };
        Keeper { entries: slots.iter().filter_map(entry).collect(), surroundings }
    }

    /// Reads what is due or has changed at `now`; returns how long there is nothing to do, `None` for ever.
    pub async fn tick(&mut self, now: Now) -> Option<Duration> {
        let mut due = Vec::new();
        for entry in &mut self.entries {
            let stamp = stamp(&entry.slot.spec().source, &self.surroundings);
            if entry.due <= now.instant || stamp != entry.stamp {
                entry.due = now.instant + entry.interval;
                entry.stamp = stamp;
                due.push(entry.slot.clone());
            }
        }
        for (slot, outcome) in read_all(due, &self.surroundings).await {
            // The slot keeps the error; the old value stays in use.
            let _ = publish(&slot, outcome, now.wall);
        }
        let next = self.entries.iter().map(|entry| entry.due.since(now.instant)).min()?;
        let file = |entry: &Entry| is_file(&entry.slot.spec().source);
        Some(if self.entries.iter().any(file) { next.min(SECRET_FILE_POLL) } else { next })
    }

    /// Ticks until `stop` is ready, such as when a reload has replaced the configuration.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let origin = std::time::Instant::now();
        let ticking = async {
            loop {
                let now = Now { instant: Instant(0) + origin.elapsed(), wall: wall_clock() };
                match self.tick(now).await {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => std::future::pending().await,
                }
            }
        };
        tokio::select! {
            () = ticking => {}
            () = stop => {}
        }
    }
}

fn is_file(source: &Source) -> bool {
    matches!(source, Source::File { .. } | Source::Credential { .. })
}

fn stamp(source: &Source, surroundings: &Surroundings) -> Option<Stamp> {
    let found = std::fs::metadata(surroundings.path(source).ok()??).ok()?;
    Some(Stamp(found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
}

fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, SourceError> {
    let io_error =
        |action| move |error: io::Error| SourceError::Io { action, path: path.into(), kind: error.kind() };
    // Opening a pipe must not wait for its other end. What counts is the file that a link leads to.
    let mut options = File::options();
    let file = options.read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(io_error("open"))?;
    let found = file.metadata().map_err(io_error("look at"))?;
    if !found.is_file() {
        return Err(SourceError::NotAFile { path: path.into() });
    }
    let mode = found.permissions().mode() & 0o7777;
    if mode & 0o006 != 0 {
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.into());
        return Err(SourceError::Exposed { path: path.display().to_string(), mode });
    }
    // Room for one byte too many, once: growing would leave unwiped copies behind.
    let mut bytes = Zeroizing::new(vec![0; SECRET_BYTES_MAX + 1]);
    let mut len = 0;
    loop {
        let read = (&file).read(&mut bytes[len..]).map_err(io_error("read"))?;
        len += read;
        if len > SECRET_BYTES_MAX {
            return Err(SourceError::Oversize);
        }
        if read == 0 {
            bytes.truncate(len);
            return Ok(bytes);
        }
    }
}

/// Wall-clock time now.
pub(super) fn wall_clock() -> Timestamp {
    // A clock before 1970 counts as 1970.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;

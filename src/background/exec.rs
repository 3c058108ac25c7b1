//! Commands that give a secret (SECURITY "Credentials"): whose file, what it inherits, how long, how much.

use super::secrets::SourceError;
use super::sys;
use crate::limits::{SECRET_BYTES_MAX, SECRET_SYMLINK_COUNT_MAX};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use zeroize::Zeroizing;

/// Standard output of `argv`, run without a shell in `/`, with an empty environment, descriptors 0 to 2, and
/// no standard error. It and its children are killed after `timeout`.
///
/// # Errors
/// See [`SourceError`]; the operator or the command is at fault.
pub(super) async fn run(argv: &[Box<str>], timeout: Duration) -> Result<Zeroizing<Vec<u8>>, SourceError> {
    let (program, arguments) = argv.split_first().ok_or(SourceError::NotAbsolute)?;
    let program = PathBuf::from(&**program);
    let walk = move || trusted(&program);
    let program = tokio::task::spawn_blocking(walk).await.map_err(|_| SourceError::Interrupted)??;
    let mut command = Command::new(&program);
    command.args(arguments.iter().map(|argument| &**argument));
    command.env_clear().current_dir("/").process_group(0).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    sys::inherit_no_descriptors(&mut command);
    let child = command.spawn().map_err(|error| SourceError::Io {
        action: "run",
        path: program,
        kind: error.kind(),
    })?;
    let mut running = Running(child);
    match tokio::time::timeout(timeout, running.output()).await {
        Ok(output) => output,
        Err(_) => Err(SourceError::Timeout { seconds: timeout.as_secs() }),
    }
}

/// A command that leads a process group. The group is killed when this is dropped before the command was
/// waited for: at the time limit, beyond the size limit, and when the caller gives up.
struct Running(Child);

impl Running {
    async fn output(&mut self) -> Result<Zeroizing<Vec<u8>>, SourceError> {
        let mut stdout = self.0.stdout.take().ok_or(SourceError::Interrupted)?;
        // Room for one byte too many, once: growing would leave unwiped copies behind.
        let mut output = Zeroizing::new(vec![0; SECRET_BYTES_MAX + 1]);
        let mut len = 0;
        loop {
            let read = stdout.read(&mut output[len..]).await.map_err(|_| SourceError::Interrupted)?;
            len += read;
            if len > SECRET_BYTES_MAX {
                return Err(SourceError::Oversize);
            }
            if read == 0 {
                break;
            }
        }
        let status = self.0.wait().await.map_err(|_| SourceError::Interrupted)?;
        if !status.success() {
            return Err(SourceError::Failed { code: status.code() });
        }
        output.truncate(len);
        Ok(output)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // There is a number only until somebody waited for the process.
        if let Some(leader) = self.0.id() {
            sys::kill_group(leader);
        }
    }
}

/// The file that `path` leads to, if nobody but root and this user can exchange it: each directory on the
/// way, each symbolic link and the file itself belong to one of the two, and are not writable by group or
/// others. A sticky directory may be: there, only the owner of an entry replaces it.
fn trusted(path: &Path) -> Result<PathBuf, SourceError> {
    if !path.is_absolute() {
        return Err(SourceError::NotAbsolute);
    }
    let mut current = PathBuf::from("/");
    check_owner(&current, &metadata(&current)?)?;
    let mut ahead: Vec<PathBuf> = Vec::new();
    push_components(path, &mut ahead);
    let mut link_count = 0;
    while let Some(component) = ahead.pop() {
        if component == Path::new("..") {
            current.pop();
            continue;
        }
        let next = if component.is_absolute() { component } else { current.join(component) };
        let found = metadata(&next)?;
        check_owner(&next, &found)?;
        if found.is_symlink() {
            link_count += 1;
            if link_count > SECRET_SYMLINK_COUNT_MAX {
                return Err(SourceError::Untrusted { path: next, why: "is behind too many symbolic links" });
            }
            push_components(&std::fs::read_link(&next).map_err(io_error("read", &next))?, &mut ahead);
            continue;
        }
        let sticky = found.is_dir() && found.mode() & 0o1000 != 0;
        if found.mode() & 0o022 != 0 && !sticky {
            return Err(SourceError::Untrusted { path: next, why: "is writable by others" });
        }
        current = next;
    }
    let found = metadata(&current)?;
    if !found.is_file() {
        return Err(SourceError::Untrusted { path: current, why: "is not a regular file" });
    }
    Ok(current)
}

/// Puts the components of `path` on the stack, the first on top; an absolute path begins with its root.
fn push_components(path: &Path, ahead: &mut Vec<PathBuf>) {
    let kept = path.components().filter(|component| *component != Component::CurDir);
    let kept: Vec<PathBuf> = kept.map(|component| PathBuf::from(component.as_os_str())).collect();
    ahead.extend(kept.into_iter().rev());
}

fn metadata(path: &Path) -> Result<Metadata, SourceError> {
    std::fs::symlink_metadata(path).map_err(io_error("look at", path))
}

fn check_owner(path: &Path, found: &Metadata) -> Result<(), SourceError> {
    if found.uid() == 0 || found.uid() == sys::effective_user() {
        return Ok(());
    }
    Err(SourceError::Untrusted { path: path.into(), why: "belongs to another user" })
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SourceError {
    let path = path.to_owned();
    move |error| SourceError::Io { action, path, kind: error.kind() }
}

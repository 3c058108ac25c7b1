//! The unix socket in the file system: made with its permissions, taken over from a dead process only,
//! removed at the end.

use super::Error;
use crate::limits;
use socket2::{Domain, SockAddr, Socket, Type};
use std::{
    fs::{self, DirBuilder, File, Permissions},
    io,
    os::{
        fd::OwnedFd,
        unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt},
        unix::net::UnixListener,
    },
    path::{Path, PathBuf},
};

/// Owner and group may talk, nobody else.
const MODE: u32 = 0o660;
/// Mode of a directory that is made for the socket.
const DIRECTORY_MODE: u32 = 0o750;

/// Removes the socket when dropped, unless another process has put its own there.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl Drop for Place {
    fn drop(&mut self) {
        let now = fs::symlink_metadata(&self.path).map(|found| (found.dev(), found.ino()));
        if now.is_ok_and(|now| now == self.identity) {
            // If it cannot be removed, the next start finds it stale and replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens at `path`.
///
/// # Errors
/// Somebody listens there, or something else is there, or the system refuses (operator).
pub(super) fn bind(path: &Path) -> Result<(UnixListener, Place), Error> {
    let failed = |source| Error::Socket { path: path.to_owned(), source };
    make_directory(path).map_err(failed)?;
    clear_stale(path)?;
    listen(path).map_err(failed)
}

fn make_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() && !directory.exists() => {
            DirBuilder::new().mode(DIRECTORY_MODE).create(directory)
        }
        _ => Ok(()),
    }
}

/// Removes a socket that nobody listens on.
fn clear_stale(path: &Path) -> Result<(), Error> {
    let failed = |source| Error::Socket { path: path.to_owned(), source };
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if !found.file_type().is_socket() {
        return Err(Error::NotASocket(path.to_owned()));
    }
    match knock(path) {
        // Either somebody answers, or so many wait that the queue is full.
        Ok(()) => Err(Error::SocketInUse(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(Error::SocketInUse(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

fn knock(path: &Path) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)
}

fn listen(path: &Path) -> io::Result<(UnixListener, Place)> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Linux gives the file the mode of the unbound socket, less the umask: there is no moment in which
    // somebody else could connect.
    let file = File::from(OwnedFd::from(socket));
    file.set_permissions(Permissions::from_mode(MODE))?;
    let socket = Socket::from(OwnedFd::from(file));
    socket.bind(&SockAddr::unix(path)?)?;
    let made = fs::symlink_metadata(path)?;
    let place = Place { path: path.to_owned(), identity: (made.dev(), made.ino()) };
    if made.mode() & 0o777 != MODE {
        // The umask took the group's bits.
        fs::set_permissions(path, Permissions::from_mode(MODE))?;
    }
    socket.listen(limits::ADMIN_BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok((UnixListener::from(OwnedFd::from(socket)), place))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_socket_is_open_to_owner_and_group_and_goes_away() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run").join("admin.sock");
        let (listener, place) = bind(&path).unwrap();
        assert_eq!(fs::symlink_metadata(&path).unwrap().mode() & 0o7777, MODE);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o007, 0);
        UnixStream::connect(&path).unwrap();
        drop((listener, place));
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_of_a_dead_process_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let (_listener, _place) = bind(&path).unwrap();
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_socket_in_use_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        let _theirs = UnixListener::bind(&path).unwrap();
        assert!(matches!(bind(&path), Err(Error::SocketInUse(_))));
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_file_in_the_way_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        fs::write(&path, "theirs").unwrap();
        let error = bind(&path).unwrap_err();
        assert!(error.to_string().contains("is not a socket"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"theirs");
    }

    #[test]
    fn a_path_that_cannot_be_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let long = directory.path().join("x".repeat(200));
        let missing = directory.path().join("no").join("such").join("admin.sock");
        for path in [long, missing] {
            let error = bind(&path).unwrap_err();
            assert!(error.to_string().starts_with(&path.display().to_string()), "{error}");
        }
    }

    #[test]
    fn a_successor_keeps_its_socket() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        let (_listener, place) = bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let _successor = UnixListener::bind(&path).unwrap();
        drop(place);
        UnixStream::connect(&path).unwrap();
    }
}

//! What the end-to-end tests stand on: the gateway as a process, raw HTTP clients, scripted upstreams.
//!
//! Nothing here sleeps to wait: everything waits for its event and fails at a deadline.

pub mod browser;
pub mod clients;
pub mod gateway;
pub mod http;
pub mod relay;
pub mod upstream;

use std::{
    fs, io,
    path::Path,
    time::{Duration, Instant},
};

/// How long anything may take here. Generous: these tests run beside others on small machines.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Looks again and again until `look` finds something.
///
/// Panics with `what` at the deadline.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "never came: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Everything below a folder, as bytes; packed segments unpacked.
pub fn all_bytes(folder: &Path) -> Vec<u8> {
    // A file that is packed meanwhile has gone when it is read: then all is read again.
    eventually("a folder that nobody changes", || match bytes_below(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        read => Some(read.unwrap()),
    })
}

fn bytes_below(folder: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = vec![];
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        bytes.extend(match path.extension().and_then(|extension| extension.to_str()) {
            _ if path.is_dir() => bytes_below(&path)?,
            Some("zst") => zstd::decode_all(fs::File::open(&path)?)?,
            _ => fs::read(&path)?,
        });
    }
    Ok(bytes)
}

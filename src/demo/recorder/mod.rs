//! An upstream that keeps the raw bytes of every connection it gets, so that a test sees what a gateway
//! really sent. `GET /recorded` gives them as a JSON list of base64 texts, one a connection;
//! `DELETE /recorded` forgets them. These two are not recorded themselves.
//!
//! It is no strict server: it reads just enough of HTTP/1.1 to find where a request ends, answers each with
//! 200, and records what it does not understand all the same. Start at `connection`.

mod connection;
#[cfg(test)]
mod tests;

use crate::limits::{ACCEPT_BACKOFF, RECORDER_BYTES_MAX};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::TcpListener;

/// Records on `listener` until the runtime ends; returns its address.
///
/// # Errors
/// The listener has no address.
pub(super) fn serve(listener: TcpListener) -> io::Result<SocketAddr> {
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        let recording = Recording::default();
        for number in 0_u64.. {
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(connection::run(stream, number, recording.clone()))),
                Err(_) => tokio::time::sleep(ACCEPT_BACKOFF).await,
            }
        }
    });
    Ok(address)
}

/// What was received, by connection in the order of their coming. Clones share it.
#[derive(Clone, Default)]
struct Recording(Arc<Mutex<Recorded>>);

#[derive(Default)]
struct Recorded {
    connections: BTreeMap<u64, Vec<u8>>,
    bytes: usize,
    /// Whether something came when there was no more room.
    overflowed: bool,
}

impl Recording {
    fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, connection: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut recorded = self.lock();
        if recorded.bytes + bytes.len() > RECORDER_BYTES_MAX {
            recorded.overflowed = true;
            return;
        }
        recorded.bytes += bytes.len();
        recorded.connections.entry(connection).or_default().extend_from_slice(bytes);
    }

    fn forget(&self) {
        *self.lock() = Recorded::default();
    }

    /// The JSON list; `None` if something did not fit.
    fn json(&self) -> Option<String> {
        let recorded = self.lock();
        if recorded.overflowed {
            return None;
        }
        let list: Vec<String> = recorded.connections.values().map(|bytes| STANDARD.encode(bytes)).collect();
        Some(serde_json::Value::from(list).to_string())
    }
}

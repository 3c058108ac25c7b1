//! What the end-to-end tests stand on: the gateway as a process, raw HTTP clients, scripted upstreams.
//!
//! Nothing here sleeps to wait: everything waits for its event and fails at a deadline.

pub mod clients;
pub mod gateway;
pub mod http;
pub mod upstream;

use std::time::{Duration, Instant};

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

//! What a service manager is told (sd_notify(3)): ready, reloading, stopping, and, as long as no shard hangs,
//! that the process is alive.

use super::{Core, Error};
use crate::runtime;
use std::{
    env,
    ffi::{OsStr, OsString},
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

/// Of the watchdog's time a shard may hang this part: the rest is for the message, and for a busy machine.
const HANG_PART: u32 = 2;
/// Messages in the watchdog's time.
const BEATS: u32 = 4;

/// The way to the service manager that started this process; it does nothing where none did.
#[derive(Debug, Default)]
pub struct Notifier {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// The one that the environment names.
    ///
    /// # Errors
    /// What it names is no socket: whoever set it is at fault.
    pub fn of_process() -> Result<Notifier, Error> {
        let value = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
        let Some(name) = value("NOTIFY_SOCKET") else { return Ok(Notifier::default()) };
        let failed = |source| Error::Host { what: "NOTIFY_SOCKET cannot be used", source };
        let socket = UnixDatagram::unbound().map_err(failed)?;
        // A manager that is stuck must not hold the gateway up.
        socket.set_nonblocking(true).map_err(failed)?;
        let address = address(&name).map_err(failed)?;
        let watchdog = watchdog(value("WATCHDOG_USEC"), value("WATCHDOG_PID"), std::process::id());
        Ok(Notifier { socket: Some((socket, address)), watchdog })
    }

    /// The process serves.
    pub fn ready(&self, status: &str) {
        self.say(&format!("READY=1\nSTATUS={status}"));
    }

    /// It reads its configuration again, until [`Notifier::ready`].
    pub fn reloading(&self) {
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={}\nSTATUS=reloading", monotonic_us()));
    }

    /// It takes no more requests.
    pub fn stopping(&self) {
        self.say("STOPPING=1\nSTATUS=draining");
    }

    fn say(&self, message: &str) {
        let Some((socket, address)) = &self.socket else { return };
        if let Err(error) = socket.send_to_addr(message.as_bytes(), address) {
            tracing::debug!(%error, "the service manager was not told");
        }
    }
}

/// Microseconds of CLOCK_MONOTONIC, by which the manager knows which reload is meant.
fn monotonic_us() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec.saturating_mul(1_000_000).saturating_add(time.tv_nsec / 1_000)
}

/// A path, or `@` and the name of an abstract socket.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(name),
        _ => Err(io::Error::other("it is neither an absolute path nor @NAME")),
    }
}

/// How often the manager wants to hear of us; `None` where it does not, or another process is meant.
fn watchdog(time: Option<OsString>, pid: Option<OsString>, own: u32) -> Option<Duration> {
    let number = |text: OsString| text.to_str()?.parse::<u64>().ok();
    if pid.is_some_and(|pid| number(pid) != Some(u64::from(own))) {
        return None;
    }
    Some(Duration::from_micros(number(time?)?)).filter(|time| !time.is_zero())
}

/// Tells the manager that the process is alive while every shard is, on the thread that serves operators: if
/// that one hangs nothing is said either. Ends with the process.
pub(super) async fn watch(core: Arc<Core>, notifier: Arc<Notifier>) {
    let Some(time) = notifier.watchdog else { return };
    let mut turns = tokio::time::interval(time / BEATS);
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut said = false;
    loop {
        turns.tick().await;
        let now = runtime::now().instant;
        let hung = |at: &usize| core.heartbeats[*at].age(now) > time / HANG_PART;
        // Shards that are drained have nothing to beat for; the manager waits for the end.
        let is_draining = core.draining.load(Ordering::Relaxed);
        match (0..core.heartbeats.len()).find(hung).filter(|_| !is_draining) {
            None => {
                notifier.say("WATCHDOG=1");
                said = false;
            }
            Some(shard) => {
                if !std::mem::replace(&mut said, true) {
                    let age_ms = core.heartbeats[shard].age(now).as_millis();
                    tracing::error!(
                        shard,
                        age_ms,
                        "a shard hangs: the watchdog is not told that all is well"
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_for_the_process_that_it_names() {
        let check = |time: Option<&str>, pid: Option<&str>, expected: Option<u64>| {
            let found = watchdog(time.map(Into::into), pid.map(Into::into), 7);
            assert_eq!(found, expected.map(Duration::from_micros), "{time:?} {pid:?}");
        };
        check(None, None, None);
        check(Some("10000000"), None, Some(10_000_000));
        check(Some("10000000"), Some("7"), Some(10_000_000));
        check(Some("10000000"), Some("8"), None);
        check(Some("0"), None, None);
        check(Some("soon"), None, None);
        check(Some("10"), Some("x"), None);
    }

    #[test]
    fn a_socket_has_a_path_or_an_abstract_name() {
        assert_eq!(address(OsStr::new("@a")).unwrap().as_abstract_name(), Some(&b"a"[..]));
        assert_eq!(address(OsStr::new("/run/a")).unwrap().as_pathname(), Some("/run/a".as_ref()));
        assert!(address(OsStr::new("run/a")).is_err());
    }
}

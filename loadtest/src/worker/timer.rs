//! A timer that is exact to some microseconds: the executor's own ones know milliseconds.

use monoio::net::TcpStream;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use std::{
    io,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

/// One timer of the kernel (timerfd_create(2)).
pub struct Timer {
    fd: OwnedFd,
    /// The same timer, as something of which the executor says when it can be read. It is no TCP stream, and
    /// nothing else is ever asked of it.
    watched: TcpStream,
}

impl Timer {
    /// A timer that is not set.
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn new() -> io::Result<Timer> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let watched = TcpStream::from_std(std::net::TcpStream::from(fd.try_clone()?))?;
        Ok(Timer { fd, watched })
    }

    /// Waits until then. An earlier deadline, set by [`Timer::set`] meanwhile, ends it as well.
    pub async fn until(&self, at: Instant) {
        let left = at.saturating_duration_since(Instant::now());
        if left.is_zero() || self.set(left).is_err() {
            return;
        }
        // It fails only if the descriptor is none.
        drop(self.watched.readable(false).await);
    }

    /// Sets it to go off after so long, at least a nanosecond.
    ///
    /// # Errors
    /// None that a valid descriptor could have.
    pub fn set(&self, left: Duration) -> io::Result<()> {
        let left = left.max(Duration::from_nanos(1));
        let value = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        let once = Itimerspec { it_interval: Timespec::default(), it_value: value };
        timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }
}

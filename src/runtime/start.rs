use super::{operation, sys};
use crate::{
    limits,
    time::{Instant, Now, Timestamp},
};
use monoio::{
    IoUringDriver, LegacyDriver, RuntimeBuilder,
    time::{TimeDriver, sleep},
};
use std::{
    cell::Cell,
    io,
    sync::OnceLock,
    time::{Duration, Instant as StdInstant, SystemTime, UNIX_EPOCH},
};

/// How a shard talks to the kernel. Both run the same code and measure alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// Linux io_uring: few system calls.
    IoUring,
    /// epoll, where io_uring is forbidden (many containers).
    Epoll,
}

/// What [`start`] needs to know.
#[derive(Clone, Copy, Debug)]
pub struct StartOptions {
    /// The driver, as [`super::probe`] found it usable.
    pub driver: Driver,
    /// Entries of the submission queue (io_uring) or events a poll (epoll); at least 256 are taken.
    pub entries: u32,
    /// The logical CPU to which the thread is bound.
    pub cpu: Option<usize>,
}

thread_local! {
    static SHARD: Cell<Option<Driver>> = const { Cell::new(None) };
}

/// The driver of the executor that runs on this thread.
pub(super) fn shard() -> Option<Driver> {
    // The variable may be gone while the thread ends.
    SHARD.try_with(Cell::get).ok().flatten()
}

/// Marks the thread as running an executor, also when the main future panics.
struct Running;

impl Running {
    fn new(driver: Driver) -> Running {
        SHARD.set(Some(driver));
        Running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = SHARD.try_with(|shard| shard.set(None));
    }
}

/// Runs the future that `make` gives on a new executor on this thread, until it ends. Tasks that it has
/// spawned and that have not ended then are given up.
///
/// # Errors
/// The kernel refuses the driver (see [`super::probe`]) or the CPU: the operator's fault.
///
/// # Panics
/// When the future itself panics; tasks of [`super::spawn_guarded`] are caught.
pub fn start<F: Future>(options: StartOptions, make: impl FnOnce() -> F) -> io::Result<F::Output> {
    if let Some(cpu) = options.cpu {
        sys::pin_thread(cpu)?;
    }
    origin();
    let main = async move {
        let output = make().await;
        settle().await;
        output
    };
    match options.driver {
        Driver::IoUring => {
            let mut runtime = build_uring(options.entries)?;
            let _running = Running::new(Driver::IoUring);
            Ok(runtime.block_on(main))
        }
        Driver::Epoll => {
            let builder = RuntimeBuilder::<LegacyDriver>::new().with_entries(options.entries);
            let mut runtime = builder.enable_timer().build()?;
            let _running = Running::new(Driver::Epoll);
            Ok(runtime.block_on(main))
        }
    }
}

/// `coop_taskrun` (Linux 5.19) spares interrupts, `single_issuer` (Linux 6.0) locks; without them everything
/// works as well.
fn build_uring(entries: u32) -> io::Result<monoio::Runtime<TimeDriver<IoUringDriver>>> {
    let build = |is_recent: bool| {
        let mut uring = io_uring::IoUring::builder();
        if is_recent {
            uring.setup_coop_taskrun().setup_single_issuer();
        }
        let builder = RuntimeBuilder::<IoUringDriver>::new().uring_builder(uring).with_entries(entries);
        builder.enable_timer().build()
    };
    match build(true) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => build(false),
        result => result,
    }
}

/// Gives operations of dropped connections the time to end: the kernel owns their buffers until then.
async fn settle() {
    let deadline = now().instant + limits::SETTLE_TIMEOUT;
    while operation::detached() > 0 && now().instant < deadline {
        sleep(limits::SETTLE_INTERVAL).await;
    }
}

fn origin() -> StdInstant {
    static ORIGIN: OnceLock<StdInstant> = OnceLock::new();
    *ORIGIN.get_or_init(StdInstant::now)
}

/// What a thread last saw of the clocks.
#[derive(Clone, Copy)]
struct Seen {
    now: Now,
    /// Both clocks when the wall clock was last read.
    wall_read: Now,
}

/// The wall clock is read this often; in between it goes as the monotonic one does.
const WALL_READ_INTERVAL: Duration = Duration::from_millis(50);

thread_local! {
    static SEEN: Cell<Option<Seen>> = const { Cell::new(None) };
}

/// Both clocks. The monotonic one counts from the first call in this process. Callable from any thread.
pub fn now() -> Now {
    let instant = Instant(u64::try_from(origin().elapsed().as_nanos()).unwrap_or(u64::MAX));
    let seen = SEEN.get();
    let wall_read =
        seen.map(|seen| seen.wall_read).filter(|read| instant.since(read.instant) < WALL_READ_INTERVAL);
    let wall_read = wall_read.unwrap_or_else(|| {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { instant, wall: Timestamp(u64::try_from(wall.as_micros()).unwrap_or(u64::MAX)) }
    });
    let passed_us = (instant.0 - wall_read.instant.0) / 1_000;
    let now = Now { instant, wall: Timestamp(wall_read.wall.0.saturating_add(passed_us)) };
    SEEN.set(Some(Seen { now, wall_read }));
    now
}

/// What [`now`] last gave on this thread, for deadlines: on a shard not older than
/// [`limits::SWEEP_INTERVAL`], since the sweeper looks at the clock that often.
pub fn recent() -> Now {
    SEEN.get().map_or_else(now, |seen| seen.now)
}

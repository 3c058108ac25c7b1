//! One thread that sends and measures: an executor on io_uring (epoll where that is forbidden), a task a
//! connection, nothing shared with other threads but counters at the end of a second. Start at [`run`].
//!
//! What has to be known of the executor: an operation that the kernel may hold is never dropped, so that no
//! future here is ever given up. What lasts too long is ended by shutting its socket down.

mod connection;
mod deadline;
mod exchange;
mod lane;
mod timer;

pub use connection::Address;
pub use lane::{Lane, LaneOptions};

use crate::{
    auth::Credential,
    limits,
    tally::{Interval, Tally},
};
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder, time::sleep};
use std::{
    io,
    rc::Rc,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{SyncSender, TrySendError},
    },
    time::{Duration, Instant},
};

/// What all workers of a run share.
#[derive(Debug, Default)]
pub struct Signals {
    /// Workers whose connections have been opened.
    pub ready: AtomicUsize,
    /// When the run begins; unset until all workers are ready.
    pub start: OnceLock<Instant>,
    /// The run is to end now.
    pub stop: AtomicBool,
}

/// What one worker needs.
pub struct Options {
    /// Processor to run on.
    pub cpu: Option<usize>,
    pub lanes: Vec<LaneOptions>,
    pub credential: Arc<Credential>,
    pub signals: Arc<Signals>,
    /// Takes what was counted in each second.
    pub intervals: SyncSender<(usize, Interval)>,
}

/// Which way to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    IoUring,
    Epoll,
}

/// What the kernel allows here.
pub fn driver() -> Driver {
    // A ring that cannot be set up says so here; LOADTEST_DRIVER=epoll is for comparison.
    let is_epoll = std::env::var_os("LOADTEST_DRIVER").is_some_and(|driver| driver == "epoll");
    if !is_epoll && io_uring::IoUring::new(8).is_ok() { Driver::IoUring } else { Driver::Epoll }
}

/// Sends until the end of the run; gives what was counted, one for each lane.
///
/// # Errors
/// The executor or a timer cannot be set up: the system's fault.
pub fn run(options: Options) -> io::Result<Vec<Tally>> {
    if let Some(cpu) = options.cpu {
        pin(cpu)?;
    }
    let driver = driver();
    match driver {
        Driver::IoUring => build_uring()?.block_on(main(options, driver)),
        Driver::Epoll => {
            let mut runtime = RuntimeBuilder::<LegacyDriver>::new().enable_timer().build()?;
            runtime.block_on(main(options, driver))
        }
    }
}

fn pin(cpu: usize) -> io::Result<()> {
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpu);
    Ok(rustix::thread::sched_setaffinity(None, &set)?)
}

/// Processors that this process may use.
pub fn cpus() -> Vec<usize> {
    let set = rustix::thread::sched_getaffinity(None).unwrap_or_default();
    (0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect()
}

type Ring = monoio::Runtime<monoio::time::TimeDriver<IoUringDriver>>;

/// `coop_taskrun` (Linux 5.19) spares interrupts, `single_issuer` (Linux 6.0) locks.
fn build_uring() -> io::Result<Ring> {
    let build = |is_recent: bool| {
        let mut uring = io_uring::IoUring::builder();
        if is_recent {
            uring.setup_coop_taskrun().setup_single_issuer();
        }
        let builder = RuntimeBuilder::<IoUringDriver>::new().uring_builder(uring);
        builder.with_entries(1024).enable_timer().build()
    };
    match build(true) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => build(false),
        result => result,
    }
}

async fn main(options: Options, driver: Driver) -> io::Result<Vec<Tally>> {
    let mut lanes = vec![];
    for lane in options.lanes {
        lanes.push(Lane::new(lane, driver, options.credential.clone())?);
    }
    let tasks: Vec<_> = lanes.iter().flat_map(lane::spawn).collect();
    let opened = Instant::now();
    while lanes.iter().any(|lane| !lane.is_warm()) && opened.elapsed() < limits::WARM_CONNECT {
        lanes.iter().for_each(|lane| lane.sweep(Instant::now()));
        sleep(Duration::from_millis(1)).await;
    }
    options.signals.ready.fetch_add(1, Ordering::AcqRel);
    let start = loop {
        if let Some(start) = options.signals.start.get() {
            break *start;
        }
        sleep(Duration::from_millis(1)).await;
    };
    lanes.iter().for_each(|lane| lane.start(start));
    sweep(&lanes, &options.signals, &options.intervals).await;
    for task in tasks {
        task.await;
    }
    for (index, lane) in lanes.iter().enumerate() {
        // The collector is gone only if the run is given up.
        drop(options.intervals.send((index, lane.take_interval())));
    }
    Ok(lanes.iter().map(|lane| lane.take_tally()).collect())
}

/// Looks at deadlines, seconds and the end, until all connections are done.
async fn sweep(lanes: &[Rc<Lane>], signals: &Signals, intervals: &SyncSender<(usize, Interval)>) {
    let mut stopped: Option<Instant> = None;
    while lanes.iter().any(|lane| lane.is_busy()) {
        sleep(limits::SWEEP_INTERVAL).await;
        let now = Instant::now();
        if stopped.is_none() && signals.stop.load(Ordering::Acquire) {
            stopped = Some(now);
            lanes.iter().for_each(|lane| lane.stop(now));
        }
        for (index, lane) in lanes.iter().enumerate() {
            lane.sweep(now);
            if stopped.is_some_and(|stopped| now > stopped + limits::STOP_GRACE) {
                lane.give_up();
            }
            lane.flush(now, |interval| match intervals.try_send((index, interval)) {
                Err(TrySendError::Full((_, interval))) => Some(interval),
                _ => None,
            });
        }
    }
}

//! Which shards there are, and their threads.

use super::Error;
use crate::{
    config::{self, CpuList, ShardTuning},
    runtime::{self, Driver, Probe, StartOptions, probe, sys},
    shard::{self, Parts},
};
use std::thread::{self, JoinHandle};

/// One shard and its core.
#[derive(Clone, Copy, Debug)]
pub struct Placed {
    pub index: usize,
    pub cpu: Option<usize>,
    pub driver: Driver,
    pub tuning: ShardTuning,
}

/// Decides where the shards run, and where whatever is not bound to a CPU may. The calling thread, and what
/// it starts, is one of the operators' side from then on.
///
/// # Errors
/// io_uring is asked for by name, but the kernel or the container forbids it; or a CPU is.
pub fn place(runtime: &config::RuntimePlan) -> Result<(Vec<Placed>, Vec<usize>), Error> {
    let probed = probe();
    let driver = match (runtime.driver, probed.driver()) {
        (config::Driver::Epoll, _) => Driver::Epoll,
        (config::Driver::IoUring, Driver::Epoll) => {
            return Err(Error::Driver(why_not(&probed)));
        }
        (config::Driver::Auto, Driver::Epoll) => {
            tracing::warn!(reason = why_not(&probed), "io_uring is not available: shards run on epoll");
            Driver::Epoll
        }
        (config::Driver::Auto | config::Driver::IoUring, Driver::IoUring) => Driver::IoUring,
    };
    let allowed = sys::allowed_cpus();
    let cpus: Vec<Option<usize>> = match runtime.cores.clone() {
        config::Cores::Auto => allowed.iter().copied().map(Some).collect(),
        config::Cores::Count(count) => {
            let pinned = allowed.iter().copied().map(Some).chain(std::iter::repeat(None));
            pinned.take(usize::from(count).max(1)).collect()
        }
        config::Cores::List(list) => {
            let list: Vec<_> = list.into_iter().map(usize::from).collect();
            check_cpus("a shard", &list)?;
            list.into_iter().map(Some).collect()
        }
    };
    let cpus = if cpus.is_empty() { vec![None] } else { cpus };
    let placed = |(index, cpu)| Placed { index, cpu, driver, tuning: runtime.tuning.of(cpu) };
    let placed = cpus.into_iter().enumerate().map(placed).collect();
    move_to("threads.admin", runtime.tuning.threads.admin.as_ref())?;
    Ok((placed, allowed))
}

/// Tries each of the CPUs; the calling thread is where it was before.
fn check_cpus(what: &'static str, cpus: &[usize]) -> Result<(), Error> {
    let allowed = sys::allowed_cpus();
    let refused = cpus.iter().find(|cpu| sys::pin_thread(**cpu).is_err());
    let back = sys::set_affinity(&allowed);
    match refused {
        Some(cpu) => Err(Error::Cpu { what, cpu: *cpu, allowed }),
        None => back.map_err(|source| Error::Host { what: "cannot use every CPU again", source }),
    }
}

/// Moves the calling thread, and those that it starts from now on, to `cpus`, if there is such a list.
///
/// # Errors
/// One of them is none, or forbidden.
fn move_to(what: &'static str, cpus: Option<&CpuList>) -> Result<(), Error> {
    let Some(cpus) = cpus else { return Ok(()) };
    let cpus = cpus.numbers();
    check_cpus(what, &cpus)?;
    sys::set_affinity(&cpus).map_err(|source| Error::Host { what, source })
}

/// Runs `start` on `cpus`, where the threads that it starts stay.
///
/// # Errors
/// As [`move_to`].
pub fn on<T>(what: &'static str, cpus: Option<&CpuList>, start: impl FnOnce() -> T) -> Result<T, Error> {
    let before = sys::allowed_cpus();
    move_to(what, cpus)?;
    let started = start();
    if cpus.is_some() {
        sys::set_affinity(&before).map_err(|source| Error::Host { what, source })?;
    }
    Ok(started)
}

/// Starts a shard's thread, on its CPU or else `everywhere`. `make` runs on that thread and gives the shard's
/// parts.
///
/// # Errors
/// The host gives no thread.
pub fn spawn(
    placed: Placed,
    everywhere: Vec<usize>,
    make: impl FnOnce() -> std::io::Result<Parts> + Send + 'static,
) -> Result<JoinHandle<()>, Error> {
    let run = move || {
        if placed.cpu.is_none() {
            // It starts where the thread is that starts it, which may be bound to a few.
            let _ = sys::set_affinity(&everywhere);
        }
        let entries = placed.tuning.ring_entries;
        let options = StartOptions { driver: placed.driver, entries, cpu: placed.cpu };
        let ended = runtime::start(options, || async move {
            match make() {
                Ok(parts) => shard::run(parts).await,
                Err(error) => tracing::error!(shard = placed.index, %error, "the shard does not start"),
            }
        });
        if let Err(error) = ended {
            tracing::error!(shard = placed.index, %error, "the shard's executor does not start");
        }
    };
    let thread = thread::Builder::new().name(format!("shard-{}", placed.index)).spawn(run);
    thread.map_err(|source| Error::Host { what: "no thread for a shard", source })
}

fn why_not(probed: &Probe) -> String {
    probed.io_uring.as_ref().err().cloned().unwrap_or_default()
}

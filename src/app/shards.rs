//! Which shards there are, and their threads.

use super::Error;
use crate::{
    config,
    runtime::{self, Driver, Probe, StartOptions, probe, sys},
    shard::{self, Parts},
};
use std::thread::{self, JoinHandle};

/// Entries of a shard's ring.
const RING_ENTRIES: u32 = 4096;

/// One shard and its core.
#[derive(Clone, Copy, Debug)]
pub struct Placed {
    pub index: usize,
    pub cpu: Option<usize>,
    pub driver: Driver,
}

/// Decides where the shards run.
///
/// # Errors
/// io_uring is asked for by name, but the kernel or the container forbids it.
pub fn place(runtime: &config::RuntimePlan) -> Result<Vec<Placed>, Error> {
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
        config::Cores::Auto => allowed.into_iter().map(Some).collect(),
        config::Cores::Count(count) => {
            let pinned = allowed.into_iter().map(Some).chain(std::iter::repeat(None));
            pinned.take(usize::from(count).max(1)).collect()
        }
        config::Cores::List(list) => list.into_iter().map(|cpu| Some(usize::from(cpu))).collect(),
    };
    let cpus = if cpus.is_empty() { vec![None] } else { cpus };
    Ok(cpus.into_iter().enumerate().map(|(index, cpu)| Placed { index, cpu, driver }).collect())
}

/// Starts a shard's thread. `make` runs on that thread and gives the shard's parts.
///
/// # Errors
/// The host gives no thread.
pub fn spawn(
    placed: Placed,
    make: impl FnOnce() -> std::io::Result<Parts> + Send + 'static,
) -> Result<JoinHandle<()>, Error> {
    let run = move || {
        let options = StartOptions { driver: placed.driver, entries: RING_ENTRIES, cpu: placed.cpu };
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

//! What callers may take where the configuration does not say: as much as the host has to give.

use crate::{
    config::CapacityPlan,
    limits::{CONNECTIONS_MAX, DESCRIPTORS_RESERVED, MEMORY_BYTES_MIN, MEMORY_BYTES_UNKNOWN, MEMORY_SHARE},
    runtime::sys,
    shard::Capacity,
};
use std::{fs, io};

/// What the host gives to this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Descriptors that the process may open.
    descriptors: u64,
    /// Bytes of memory, of the host or of the control group.
    memory_bytes: u64,
    shards: usize,
}

impl Room {
    /// Takes as many descriptors as the host gives, and looks what else there is.
    ///
    /// # Errors
    /// The limit of descriptors can be neither read nor raised.
    pub fn take(shards: usize) -> io::Result<Room> {
        Ok(Room::of_host(sys::raise_descriptor_limit()?, shards))
    }

    /// What there is for a process with so many descriptors and shards.
    fn of_host(descriptors: u64, shards: usize) -> Room {
        let read = |path: &str| fs::read_to_string(path).ok();
        let host = read("/proc/meminfo").as_deref().and_then(total_bytes);
        let group = read("/proc/self/cgroup").as_deref().and_then(group_path);
        let group = group.and_then(|path| group_bytes(path, read));
        let memory_bytes = host.into_iter().chain(group).min().unwrap_or(MEMORY_BYTES_UNKNOWN);
        Room { descriptors, memory_bytes, shards: shards.max(1) }
    }

    /// What shards hold callers to.
    pub fn capacity(&self, plan: &CapacityPlan) -> Capacity {
        // One descriptor for the caller and one for an upstream.
        let pairs = self.descriptors.saturating_sub(DESCRIPTORS_RESERVED) / 2;
        let allowed = usize::try_from(pairs).unwrap_or(usize::MAX).max(1);
        let memory = plan.memory_bytes.unwrap_or((self.memory_bytes / MEMORY_SHARE).max(MEMORY_BYTES_MIN));
        Capacity {
            connections_max: plan.connections_max.unwrap_or(CONNECTIONS_MAX).min(allowed),
            memory_bytes: usize::try_from(memory).unwrap_or(usize::MAX) / self.shards,
            agent_share_percent: plan.agent_share_percent,
            refusals_per_second: plan.refusals_per_second,
        }
    }
}

/// The host's memory (proc_meminfo(5)).
fn total_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// The process's own group (cgroups(7), version 2).
fn group_path(cgroup: &str) -> Option<String> {
    cgroup.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

/// The least that the group, or one around it, may have.
fn group_bytes(path: String, read: impl Fn(&str) -> Option<String>) -> Option<u64> {
    let mut path = path.trim_end_matches('/');
    let mut least = None;
    loop {
        let max = read(&format!("/sys/fs/cgroup{path}/memory.max"));
        // "max" is no number: no limit.
        let max = max.and_then(|text| text.trim().parse::<u64>().ok());
        least = least.into_iter().chain(max).min();
        let Some((around, _)) = path.rsplit_once('/') else { return least };
        path = around;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn the_tightest_group_counts() {
        let read = |path: &str| match path {
            "/sys/fs/cgroup/system.slice/ringward.service/memory.max" => Some("max\n".to_owned()),
            "/sys/fs/cgroup/system.slice/memory.max" => Some("1073741824\n".to_owned()),
            "/sys/fs/cgroup/memory.max" => Some("4294967296\n".to_owned()),
            _ => None,
        };
        let path = group_path("1:name=x:/y\n0::/system.slice/ringward.service\n").unwrap();
        assert_eq!(group_bytes(path, read), Some(GIB));
        assert_eq!(group_bytes("/".to_owned(), |_| None), None);
        assert_eq!(total_bytes("MemFree: 1 kB\nMemTotal:       16384 kB\n"), Some(16 << 20));
    }

    #[test]
    fn descriptors_and_memory_are_shared_out() {
        let room = Room { descriptors: 20_000, memory_bytes: 16 * GIB, shards: 4 };
        let none = CapacityPlan {
            connections_max: None,
            memory_bytes: None,
            agent_share_percent: 25,
            refusals_per_second: 20,
        };
        let capacity = room.capacity(&none);
        assert_eq!((capacity.connections_max, capacity.memory_bytes), (9_744, 1 << 30));
        let written = CapacityPlan { connections_max: Some(50), memory_bytes: Some(GIB), ..none };
        let expected = Capacity { connections_max: 50, memory_bytes: 1 << 28, ..capacity };
        assert_eq!(room.capacity(&written), expected);
        let more = CapacityPlan { connections_max: Some(100_000), ..none };
        assert_eq!(room.capacity(&more).connections_max, 9_744, "more than there are descriptors for");
        let rich = Room { descriptors: 1 << 30, ..room };
        assert_eq!(rich.capacity(&none).connections_max, CONNECTIONS_MAX);
    }
}

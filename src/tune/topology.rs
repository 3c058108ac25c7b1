use super::Host;
use crate::runtime::sys;
use std::collections::BTreeMap;

/// What there is to run on.
#[derive(Clone, Debug, PartialEq)]
pub struct Topology {
    /// In ascending order of their numbers.
    pub cpus: Vec<Cpu>,
    /// CPUs that the control group may use at a time; `None`: all.
    pub quota: Option<f64>,
    pub is_container: bool,
}

/// One logical CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    pub number: usize,
    /// Package and core: two threads of one core have the same.
    pub core: (u32, u32),
    /// NUMA node.
    pub node: u32,
}

impl Topology {
    /// That of the machine, as far as this process may use it.
    pub fn of(host: &Host) -> Topology {
        Topology::among(host, &sys::allowed_cpus())
    }

    /// That of so many CPUs.
    pub(super) fn among(host: &Host, allowed: &[usize]) -> Topology {
        let nodes = nodes(host);
        let cpu = |number: &usize| {
            let folder = format!("/sys/devices/system/cpu/cpu{number}/topology");
            let id = |name: &str| host.text(format!("{folder}/{name}")).ok()?.parse::<u32>().ok();
            // Without a word about it, each is a core of its own.
            let core = (
                id("physical_package_id").unwrap_or(0),
                id("core_id").unwrap_or(u32::try_from(*number).unwrap_or(u32::MAX)),
            );
            Cpu { number: *number, core, node: nodes.get(number).copied().unwrap_or(0) }
        };
        let cpus = allowed.iter().map(cpu).collect();
        Topology { cpus, quota: quota(host), is_container: host.is_container() }
    }

    /// Cores, each with the numbers of its threads, in the order of their first ones.
    pub fn cores(&self) -> Vec<(Cpu, Vec<usize>)> {
        let mut cores: Vec<(Cpu, Vec<usize>)> = Vec::new();
        for cpu in &self.cpus {
            match cores.iter_mut().find(|(first, _)| first.core == cpu.core) {
                Some((_, threads)) => threads.push(cpu.number),
                None => cores.push((*cpu, vec![cpu.number])),
            }
        }
        cores
    }

    /// NUMA nodes that have CPUs.
    pub fn nodes(&self) -> usize {
        let mut nodes: Vec<u32> = self.cpus.iter().map(|cpu| cpu.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes.len().max(1)
    }
}

/// The node of each CPU.
fn nodes(host: &Host) -> BTreeMap<usize, u32> {
    let mut found = BTreeMap::new();
    let online = host.text("/sys/devices/system/node/online").unwrap_or_default();
    for node in numbers(&online) {
        let list = host.text(format!("/sys/devices/system/node/node{node}/cpulist")).unwrap_or_default();
        let node = u32::try_from(node).unwrap_or(u32::MAX);
        found.extend(numbers(&list).into_iter().map(|cpu| (cpu, node)));
    }
    found
}

/// Numbers of a list such as `0-3,8`; what is none is left out.
fn numbers(list: &str) -> Vec<usize> {
    // Beyond what Linux can be built for, a range is nonsense.
    const CPUS_MAX: usize = 8192;
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.trim().parse::<usize>().ok()?, last.trim().parse::<usize>().ok()?);
        (last < CPUS_MAX).then_some(first..=last)
    };
    list.split(',').filter_map(range).flatten().collect()
}

/// `0-3,8` of numbers in ascending order.
pub(super) fn list(numbers: &[usize]) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    let range = |(first, last): &(usize, usize)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    ranges.iter().map(range).collect::<Vec<_>>().join(",")
}

/// The tightest quota of the control groups around this process, in CPUs (cgroups(7): cpu.max, and
/// cpu.cfs_quota_us of version 1).
fn quota(host: &Host) -> Option<f64> {
    let text = host.text("/proc/self/cgroup").unwrap_or_default();
    let mut least: Option<f64> = None;
    for line in text.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let is_cpu = controllers.split(',').any(|one| one == "cpu");
        if !controllers.is_empty() && !is_cpu {
            continue;
        }
        let mut path = path.trim_end_matches('/');
        loop {
            let found = if is_cpu { quota_v1(host, controllers, path) } else { quota_v2(host, path) };
            least = [least, found].into_iter().flatten().reduce(f64::min);
            let Some((around, _)) = path.rsplit_once('/') else { break };
            path = around;
        }
    }
    least
}

/// `50000 100000`, or `max 100000`.
fn quota_v2(host: &Host, path: &str) -> Option<f64> {
    let text = host.text(format!("/sys/fs/cgroup{path}/cpu.max")).ok()?;
    let (quota, period) = text.split_once(' ')?;
    share(quota, period)
}

fn quota_v1(host: &Host, controllers: &str, path: &str) -> Option<f64> {
    let folder = format!("/sys/fs/cgroup/{controllers}{path}");
    let text = |name: &str| host.text(format!("{folder}/{name}")).ok();
    share(&text("cpu.cfs_quota_us")?, &text("cpu.cfs_period_us")?)
}

/// `None` where there is none: `max`, or -1.
fn share(quota: &str, period: &str) -> Option<f64> {
    let (quota, period) = (quota.parse::<u64>().ok()?, period.trim().parse::<u64>().ok()?);
    (period > 0).then(|| quota as f64 / period as f64)
}

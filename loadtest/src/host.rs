//! What is known of the machine on which a run was measured: numbers without it mean little.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fs, process::Command};

/// The machine and the sources.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Host {
    pub kernel: String,
    pub cpu: String,
    /// Processors that the load tester may use.
    pub cpus: usize,
    pub memory_mib: u64,
    /// Settings that move numbers.
    pub settings: BTreeMap<String, String>,
    /// Of the folder in which it ran, `-dirty` with changes; empty outside of a repository.
    pub commit: String,
    /// Share of processor time that the host took away during the run.
    pub steal: f64,
    /// Share of its processor that the busiest thread of the load tester used.
    pub load_busy: f64,
}

/// Settings of the kernel that belong to a result.
const SETTINGS: [(&str, &str); 6] = [
    ("somaxconn", "/proc/sys/net/core/somaxconn"),
    ("tcp_tw_reuse", "/proc/sys/net/ipv4/tcp_tw_reuse"),
    ("ip_local_port_range", "/proc/sys/net/ipv4/ip_local_port_range"),
    ("io_uring_disabled", "/proc/sys/kernel/io_uring_disabled"),
    ("governor", "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
    ("clocksource", "/sys/devices/system/clocksource/clocksource0/current_clocksource"),
];

/// Reads what there is.
pub fn read(cpus: usize) -> Host {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let uname = rustix::system::uname();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
        line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let memory = field(&text("/proc/meminfo"), "MemTotal");
    let kib = memory.split(' ').next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default();
    let setting = |(name, path): (&str, &str)| {
        let value = text(path).split_whitespace().collect::<Vec<_>>().join(" ");
        (!value.is_empty()).then(|| (name.to_owned(), value))
    };
    Host {
        kernel: format!("{} {}", uname.sysname().to_string_lossy(), uname.release().to_string_lossy()),
        cpu: field(&text("/proc/cpuinfo"), "model name"),
        cpus,
        memory_mib: kib >> 10,
        settings: SETTINGS.into_iter().filter_map(setting).collect(),
        commit: commit().unwrap_or_default(),
        ..Host::default()
    }
}

fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let is_dirty =
        git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|text| !text.is_empty());
    Some(if is_dirty { format!("{commit}-dirty") } else { commit })
}

/// Ticks that were stolen, and all ticks, of all processors.
pub fn ticks() -> (u64, u64) {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().skip(1).take(8).flat_map(str::parse).collect();
    (ticks.get(7).copied().unwrap_or_default(), ticks.iter().sum())
}

/// Processor time that the calling thread has used, in seconds.
pub fn thread_cpu_seconds() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or_default() as f64 / 1e9
}

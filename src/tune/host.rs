use super::definition::{Limit, Probe, Read};
use crate::runtime;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The machine that is looked at.
#[derive(Clone, Debug)]
pub struct Host {
    root: PathBuf,
    /// Process whose limits count; `None`: this one.
    pid: Option<u32>,
}

/// Files that container engines leave.
const CONTAINER_FILES: [&str; 2] = [".dockerenv", "run/.containerenv"];
/// Words in the path of a container's control group.
const CONTAINER_GROUPS: [&str; 5] = ["/docker", "/kubepods", "/lxc", "/libpod", "containerd"];

impl Host {
    /// The machine whose `/proc` and `/sys` are below `root`.
    pub fn new(root: impl Into<PathBuf>, pid: Option<u32>) -> Host {
        Host { root: root.into(), pid }
    }

    /// Where an absolute path of the machine is.
    pub(super) fn place(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Text of a file of the machine, without white space around.
    pub(super) fn text(&self, path: impl AsRef<Path>) -> io::Result<String> {
        Ok(fs::read_to_string(self.place(path.as_ref()))?.trim().to_owned())
    }

    /// Whether this is a container: what is not its own cannot be set from inside.
    pub fn is_container(&self) -> bool {
        let group = self.text("/proc/self/cgroup").unwrap_or_default();
        CONTAINER_FILES.iter().any(|file| self.root.join(file).exists())
            || CONTAINER_GROUPS.iter().any(|word| group.contains(word))
    }

    /// The value of a setting; `NotFound` where this machine has none such.
    pub(super) fn value(&self, read: &Read) -> io::Result<String> {
        match read {
            Read::Sysctl(name) => self.text(sysctl_path(name)).map(|text| spaced(&text)),
            Read::File(path) => self.text(path).map(|text| chosen(&text)),
            Read::Limit(Limit::Nofile) => self.limit("Max open files"),
            Read::Probe(Probe::Kernel) => self.text("/proc/sys/kernel/osrelease"),
            Read::Probe(Probe::IoUring) => {
                Ok(runtime::probe().io_uring.err().unwrap_or_else(|| "works".to_owned()))
            }
        }
    }

    /// A hard limit of the process (proc_pid_limits(5)).
    fn limit(&self, name: &str) -> io::Result<String> {
        let process = self.pid.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
        let text = self.text(format!("/proc/{process}/limits"))?;
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let hard = line.and_then(|line| line.split_whitespace().nth(1));
        hard.map(str::to_owned).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// The file that holds a setting, where it is one that can be written.
    pub(super) fn file(&self, read: &Read) -> Option<PathBuf> {
        match read {
            Read::Sysctl(name) => Some(sysctl_path(name)),
            Read::File(path) => Some(path.clone()),
            Read::Limit(_) | Read::Probe(_) => None,
        }
    }
}

/// `/proc/sys/net/core/somaxconn` of `net.core.somaxconn`.
pub(super) fn sysctl_path(name: &str) -> PathBuf {
    Path::new("/proc/sys").join(name.replace('.', "/"))
}

/// One space between values.
pub(super) fn spaced(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Of `always [madvise] never` the one in brackets.
fn chosen(text: &str) -> String {
    let inner = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    inner.map_or_else(|| spaced(text), |(inner, _)| inner.to_owned())
}

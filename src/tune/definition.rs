use serde::Deserialize;
use std::path::PathBuf;

/// One setting of the machine, as `tuning/checks.toml` describes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Its name on the command line.
    pub id: String,
    pub severity: Severity,
    pub(super) read: Read,
    pub(super) wanted: Wanted,
    /// What is written where `wanted` does not say it.
    pub(super) write: Option<String>,
    /// It has a file, but nobody should write it without looking.
    #[serde(default)]
    manual: bool,
    pub(super) unless: Option<Unless>,
    /// In a few words, for the table.
    pub why: String,
    /// What was measured.
    pub evidence: String,
    pub fix: String,
    pub undo: String,
    pub source: String,
}

/// How bad it is where a setting is not as wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Warning,
    Failure,
}

/// Where the value is.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Read {
    /// By its name with dots.
    Sysctl(String),
    /// Of `/sys`; of several words the one in brackets.
    File(PathBuf),
    /// Of the process: the hard one.
    Limit(Limit),
    /// What has to be tried.
    Probe(Probe),
}

/// A limit of getrlimit(2).
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Limit {
    Nofile,
}

/// What is no file.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Probe {
    /// Version of the kernel.
    Kernel,
    /// Whether a ring can be set up: "works", or why not.
    IoUring,
}

/// What the value should be.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Wanted {
    AtLeast(u64),
    Equals(String),
    /// The first is what would be written.
    OneOf(Vec<String>),
    /// Of a range of two numbers: how many it holds.
    WidthAtLeast(u64),
    VersionAtLeast(String),
}

/// Another setting whose value makes this one irrelevant.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Unless {
    pub sysctl: String,
    pub equals: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    check: Vec<Definition>,
}

/// All settings, in their order.
pub fn definitions() -> Vec<Definition> {
    let text = include_str!("../../tuning/checks.toml");
    // The file is part of the program, and a test reads it.
    toml::from_str::<File>(text).expect("tuning/checks.toml is good").check
}

impl Definition {
    /// What it is called where it is: the name of a sysctl, of a file.
    pub fn setting(&self) -> String {
        match &self.read {
            Read::Sysctl(name) => name.clone(),
            Read::File(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            Read::Limit(Limit::Nofile) => "limit of open files".to_owned(),
            Read::Probe(Probe::Kernel) => "kernel".to_owned(),
            Read::Probe(Probe::IoUring) => "io_uring".to_owned(),
        }
    }

    /// What it should be, in words.
    pub fn wanted(&self) -> String {
        match &self.wanted {
            Wanted::AtLeast(least) => format!(">= {least}"),
            Wanted::Equals(value) => value.clone(),
            Wanted::OneOf(values) => values.join("|"),
            Wanted::WidthAtLeast(least) => format!(">= {least} ports"),
            Wanted::VersionAtLeast(version) => format!(">= {version}"),
        }
    }

    /// What `tune apply` writes, where it writes anything.
    pub(super) fn target(&self) -> Option<String> {
        let written = match (&self.read, &self.wanted) {
            (Read::Limit(_) | Read::Probe(_), _) => return None,
            _ if self.manual => return None,
            (_, Wanted::AtLeast(least)) => least.to_string(),
            (_, Wanted::Equals(value)) => value.clone(),
            (_, Wanted::OneOf(values)) => values.first()?.clone(),
            (_, Wanted::WidthAtLeast(_) | Wanted::VersionAtLeast(_)) => return self.write.clone(),
        };
        Some(self.write.clone().unwrap_or(written))
    }

    /// Whether `value` is as it should be.
    pub(super) fn accepts(&self, value: &str) -> bool {
        match &self.wanted {
            Wanted::AtLeast(least) => {
                value == "unlimited" || value.parse::<u64>().is_ok_and(|value| value >= *least)
            }
            Wanted::Equals(wanted) => value == wanted,
            Wanted::OneOf(values) => values.iter().any(|one| one == value),
            Wanted::WidthAtLeast(least) => width(value).is_some_and(|width| width >= *least),
            Wanted::VersionAtLeast(version) => numbers(value) >= numbers(version),
        }
    }
}

/// Numbers in a range such as `32768 60999`.
fn width(range: &str) -> Option<u64> {
    let (first, last) = range.split_once(' ')?;
    let (first, last) = (first.parse::<u64>().ok()?, last.trim().parse::<u64>().ok()?);
    last.checked_sub(first)?.checked_add(1)
}

/// The leading numbers of a version such as `6.1.0-18-amd64`.
fn numbers(version: &str) -> (u64, u64) {
    let mut parts = version.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

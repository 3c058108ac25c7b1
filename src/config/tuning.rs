//! The file that `[runtime] tuning` names: what a gateway takes of the machine, a core.

use super::value::Size;
use super::{Cores, Diagnostic, Severity, Text, Tree, diagnostic, structure, tree::at};
use crate::limits::{LISTEN_BACKLOG, RING_ENTRIES};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::borrow::Cow;

/// What a gateway takes of the machine. Without a file, and for each key that it leaves out, the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, title = "cores.toml")]
pub struct Tuning {
    /// Version of this format. Always 1.
    #[schemars(extend("const" = 1))]
    pub version: u32,
    /// Which CPUs run a shard, as `[runtime] cores` says it: "auto", a number, or a list such as "0-3,8-11".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shards: Option<Cores>,
    /// Where the threads beside the shards run.
    #[serde(default)]
    pub threads: Threads,
    /// The io_uring of each shard.
    #[serde(default)]
    pub ring: Ring,
    /// The listening sockets of each shard.
    #[serde(default)]
    pub listener: ListenerTuning,
    /// What is different on some CPUs.
    #[serde(default)]
    pub cpu: Vec<CpuTuning>,
}

/// Where the threads beside the shards run. Without a list on every CPU that the process may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Threads {
    /// CPUs of the threads that write, sync and pack the audit log, such as "3" or "2-3".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal: Option<CpuList>,
    /// CPUs of the threads that serve operators, keep held requests, and fetch keys, secrets and names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<CpuList>,
}

/// The io_uring of a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Ring {
    /// Operations that are handed to the kernel at a time; the kernel rounds up to a power of two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 256, max = 32_768))]
    pub entries: Option<u32>,
}

/// A listening socket, and the connections that it accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ListenerTuning {
    /// Connections that wait to be accepted. The sysctl net.core.somaxconn cuts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 16, max = 65_535))]
    pub backlog: Option<u32>,
    /// What the kernel keeps of an answer that a caller does not take, instead of as much as
    /// net.ipv4.tcp_wmem allows. From "16KiB" to "16MiB".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_buffer: Option<Size>,
}

/// What is different on some CPUs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CpuTuning {
    /// Which, such as "8-11".
    pub cpus: CpuList,
    /// The io_uring of shards there.
    #[serde(default)]
    pub ring: Ring,
    /// The listening sockets of shards there.
    #[serde(default)]
    pub listener: ListenerTuning,
}

/// Numbers of CPUs, ascending, without repetition, never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuList(pub Vec<u16>);

impl CpuList {
    /// Parses a list such as `0-3,8`; `None` if it is none.
    pub fn parse(text: &str) -> Option<CpuList> {
        match Cores::parse(text)? {
            Cores::List(list) => Some(CpuList(list)),
            _ => None,
        }
    }

    /// As the kernel's calls take them.
    pub fn numbers(&self) -> Vec<usize> {
        self.0.iter().map(|cpu| usize::from(*cpu)).collect()
    }
}

impl<'de> Deserialize<'de> for CpuList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<CpuList, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        let unexpected = || de::Error::invalid_value(de::Unexpected::Str(&text), &"a list such as \"0-3,8\"");
        CpuList::parse(&text).ok_or_else(unexpected)
    }
}

impl Serialize for CpuList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Cores::List(self.0.clone()))
    }
}

impl JsonSchema for CpuList {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "CpuList".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "x-unit": "cpus" })
    }
}

/// What one shard takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardTuning {
    pub ring_entries: u32,
    pub backlog: u32,
    /// Bytes; `None`: as the kernel sees fit.
    pub send_buffer: Option<usize>,
}

impl Tuning {
    /// For the shard on this CPU. Of several tables that name it the last one that says something counts.
    pub fn of(&self, cpu: Option<usize>) -> ShardTuning {
        let (mut ring, mut listener) = (self.ring, self.listener);
        let here = |one: &&CpuTuning| cpu.is_some_and(|cpu| one.cpus.numbers().contains(&cpu));
        for one in self.cpu.iter().filter(here) {
            ring.entries = one.ring.entries.or(ring.entries);
            listener.backlog = one.listener.backlog.or(listener.backlog);
            listener.send_buffer = one.listener.send_buffer.or(listener.send_buffer);
        }
        ShardTuning {
            ring_entries: ring.entries.unwrap_or(RING_ENTRIES),
            backlog: listener.backlog.unwrap_or(LISTEN_BACKLOG.unsigned_abs()),
            send_buffer: listener.send_buffer.and_then(|size| usize::try_from(size.0).ok()),
        }
    }
}

/// What `send_buffer` may be.
const SEND_BUFFER: std::ops::RangeInclusive<u64> = 16 << 10..=16 << 20;

/// Reads the text of such a file.
///
/// # Errors
/// Everything that is wrong with it, in its place: the operator's fault.
pub fn load_tuning(text: &Text) -> Result<Tuning, Vec<Diagnostic>> {
    let (tree, mut found) = Tree::parse(text);
    if found.is_empty() {
        found = structure::check_against(&schemars::schema_for!(Tuning).to_value(), &tree);
    }
    if !found.is_empty() {
        diagnostic::sort(&mut found);
        return Err(found);
    }
    let tuning = toml::from_str::<Tuning>(&text.source).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        vec![tree.diagnostic_at(span, Severity::Error, "config-type", error.message())]
    })?;
    let found = faults(&tuning, &tree);
    if found.is_empty() { Ok(tuning) } else { Err(found) }
}

/// What keys and types do not say.
fn faults(tuning: &Tuning, tree: &Tree) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let tables = tuning.cpu.iter().enumerate();
    let tables = tables.map(|(index, one)| (at!["cpu", index, "listener", "send_buffer"], one.listener));
    for (path, listener) in std::iter::once((at!["listener", "send_buffer"], tuning.listener)).chain(tables) {
        if let Some(size) = listener.send_buffer.filter(|size| !SEND_BUFFER.contains(&size.0)) {
            let message = format!("{size} is not from 16KiB to 16MiB");
            found.push(tree.value(&path, Severity::Error, "wrong-value", message));
        }
    }
    if let Some(Cores::List(shards)) = &tuning.shards {
        for (index, one) in tuning.cpu.iter().enumerate() {
            if let Some(cpu) = one.cpus.0.iter().find(|cpu| !shards.contains(cpu)) {
                let message = format!("no shard runs on CPU {cpu}");
                let finding = tree.value(&at!["cpu", index, "cpus"], Severity::Error, "cores", message);
                found.push(finding.help(format!("shards = \"{}\"", Cores::List(shards.clone()))));
            }
        }
    }
    diagnostic::sort(&mut found);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(source: &str) -> Result<Tuning, String> {
        load_tuning(&Text::new("cores.toml", ".", source))
            .map_err(|found| diagnostic::render_all(&found, super::super::Format::Text, false))
    }

    #[test]
    fn a_cpu_has_what_is_said_of_it_and_else_what_is_said_of_all() {
        let tuning = load(
            "version = 1\nshards = \"0-3\"\nring.entries = 1024\nlistener.backlog = 100\n\
             [[cpu]]\ncpus = \"2-3\"\nring.entries = 512\n\
             [[cpu]]\ncpus = \"3\"\nlistener.send_buffer = \"64KiB\"\n",
        );
        let tuning = tuning.unwrap();
        let of = |cpu| {
            let ShardTuning { ring_entries, backlog, send_buffer } = tuning.of(cpu);
            (ring_entries, backlog, send_buffer)
        };
        assert_eq!(of(None), (1024, 100, None));
        assert_eq!(of(Some(1)), (1024, 100, None));
        assert_eq!(of(Some(2)), (512, 100, None));
        assert_eq!(of(Some(3)), (512, 100, Some(65_536)));
        let default = load("version = 1").unwrap().of(Some(0));
        assert_eq!(default, ShardTuning { ring_entries: 4096, backlog: 4096, send_buffer: None });
    }

    #[test]
    fn what_is_wrong_is_placed() {
        let check = |source: &str, parts: &[&str]| {
            let shown = load(source).expect_err(source);
            parts.iter().for_each(|part| assert!(shown.contains(part), "{part}: {shown}"));
        };
        check("", &["missing key `version`"]);
        check("version = 1\n[rng]\nentries = 256", &["cores.toml:2:2", "did you mean `ring`?"]);
        check("version = 1\n[ring]\nentries = 8", &["cores.toml:3:11", "from 256 to 32768, found 8"]);
        check("version = 1\nthreads.journal = \"x\"", &["cores.toml:2:19", "a list such as \"0-3,8-11\""]);
        check("version = 1\nthreads.journal = \"auto\"", &["cores.toml:2:19"]);
        check("version = 1\nlistener.send_buffer = \"1KiB\"", &["cores.toml:2:24", "16KiB to 16MiB"]);
        let apart = "version = 1\nshards = \"0-1\"\n[[cpu]]\ncpus = \"1-2\"\nring.entries = 256";
        check(apart, &["cores.toml:4:8", "no shard runs on CPU 2", "shards = \"0,1\""]);
    }

    #[test]
    fn the_files_that_are_shipped_load() {
        let files = [
            include_str!("../../tuning/cores.toml"),
            include_str!("../../tuning/profiles/laptop.toml"),
            include_str!("../../tuning/profiles/vm-2c.toml"),
            include_str!("../../tuning/profiles/server-8c.toml"),
            include_str!("../../tuning/profiles/server-numa.toml"),
        ];
        files.iter().for_each(|source| drop(load(source).unwrap()));
        let all = load(files[0]).unwrap();
        let shown = [all.shards.is_some(), all.threads.journal.is_some(), all.cpu.len() == 1];
        assert_eq!(
            (shown, all.of(None)),
            ([true; 3], Tuning::default().of(None)),
            "defaults, and an example"
        );
    }
}

//! `[runtime]`: shards and their driver.

use super::Period;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{borrow::Cow, fmt, path::PathBuf, time::Duration};

/// Cores, driver, drain.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[serde(default)]
pub struct Runtime {
    /// Which cores run a shard: "auto" (all that this process may use), a number, or a list such as
    /// "0-3,8-11".
    pub cores: Cores,
    /// How the shards talk to the kernel. "auto" takes io_uring where it is permitted, else epoll.
    pub driver: Driver,
    /// How long a stop waits for exchanges in flight.
    pub drain: Period,
    /// File that says more of what is taken of the machine: threads, rings and sockets a core. `ringward tune
    /// suggest` writes one that fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tuning: Option<PathBuf>,
}

impl Default for Runtime {
    fn default() -> Runtime {
        Runtime {
            cores: Cores::Auto,
            driver: Driver::Auto,
            drain: Period(Duration::from_secs(600)),
            tuning: None,
        }
    }
}

/// How the shards talk to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Driver {
    /// io_uring where it is permitted, else epoll with a line in the log.
    Auto,
    /// io_uring, or no start.
    IoUring,
    /// epoll, as containers need it.
    Epoll,
}

/// Cores that run a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cores {
    /// All that this process may run on.
    Auto,
    /// The first so many of those.
    Count(u16),
    /// These, ascending, without repetition.
    List(Vec<u16>),
}

impl Cores {
    /// Parses `auto` or a list of numbers and ranges; `None` if it is neither.
    pub fn parse(text: &str) -> Option<Cores> {
        if text == "auto" {
            return Some(Cores::Auto);
        }
        let mut list = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if first > last || last >= CORES_MAX {
                return None;
            }
            list.extend(first..=last);
        }
        list.sort_unstable();
        list.dedup();
        Some(Cores::List(list))
    }
}

/// Highest core number plus one that a list may name: what Linux builds with the most support.
const CORES_MAX: u16 = 8192;

fn number(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cores::Auto => f.write_str("auto"),
            Cores::Count(count) => write!(f, "{count}"),
            Cores::List(list) => {
                let list: Vec<String> = list.iter().map(u16::to_string).collect();
                f.write_str(&list.join(","))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Cores {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Cores, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Cores;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"auto\", a number of cores, or a list such as \"0-3,8-11\"")
            }

            fn visit_i64<E: de::Error>(self, count: i64) -> Result<Cores, E> {
                let invalid = || E::invalid_value(de::Unexpected::Signed(count), &self);
                let count = u16::try_from(count).ok().filter(|count| *count > 0).ok_or_else(invalid)?;
                Ok(Cores::Count(count))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Cores, E> {
                Cores::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl Serialize for Cores {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Cores::Count(count) => serializer.serialize_u16(*count),
            other => serializer.collect_str(other),
        }
    }
}

impl JsonSchema for Cores {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Cores".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "string", "x-unit": "cores" },
            { "type": "integer", "minimum": 1, "maximum": CORES_MAX },
        ] })
    }
}

//! `[[route]]`: which request goes where, under which rules.

use super::value::{OneOrMany, one_or_many};
use super::{Commit, Size};
use crate::limits;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::borrow::Cow;

/// One way through the gateway.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Route {
    /// Name in records, metrics and messages.
    pub name: String,
    /// Which requests take it. The most specific route wins.
    #[serde(rename = "match", default)]
    pub matching: Match,
    /// Names of the issuers whose tokens are accepted. An empty list lets anyone in who reaches the listener.
    pub identity: Vec<String>,
    /// Name of the upstream.
    pub upstream: String,
    /// Whether an LLM route also forwards what is not inference: files, batches, stored objects, which one
    /// credential would share between all callers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all_paths: bool,
    /// Names of the policies, tried in order: the first that matches decides. The last must match always.
    pub policies: Vec<String>,
    /// Whether content that was allowed or approved in a turn of a conversation is not judged again in later
    /// ones, and what was blocked is replaced there. Only callers with an identity of a language model's
    /// route are remembered.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub remember: bool,
    /// Names of the masks that apply.
    #[serde(default)]
    pub masks: Vec<String>,
    /// What becomes of an answer in whose thinking a mask finds something. Thinking is signed: it reaches the
    /// caller unchanged or not at all, and is masked in the record.
    #[serde(default, skip_serializing_if = "Thinking::is_flag")]
    pub thinking: Thinking,
    /// What is recorded of the bodies; "off" records nothing of this route at all.
    #[serde(default)]
    pub record: Record,
    /// When a record counts as kept; default is `audit.commit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<Commit>,
    /// Largest request body.
    #[serde(default = "max_body")]
    pub max_body: Size,
}

fn yes() -> bool {
    true
}

fn is_yes(value: &bool) -> bool {
    *value
}

fn max_body() -> Size {
    Size(limits::BODY_BYTES_DEFAULT as u64)
}

/// Which requests take a route. An absent key matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[serde(default)]
pub struct Match {
    /// Name of a listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// Host of the request, without port; `*.example.com` matches every name below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Methods.
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "OneOrMany<String>")]
    pub method: Vec<String>,
    /// Path: exact, with `*` for one segment, or ending in `/**` for everything below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Start of the path that is cut off before the request is forwarded, such as "/openai".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strip_prefix: Option<String>,
}

/// What becomes of an answer in whose thinking a mask finds something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Thinking {
    /// It passes; the matches are counted as `ringward:thinking`.
    #[default]
    Flag,
    /// It ends in front of the match, with an error.
    End,
}

impl Thinking {
    fn is_flag(&self) -> bool {
        *self == Thinking::Flag
    }
}

/// What is recorded of an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Nothing at all. `check` warns.
    Off,
    /// Everything, bodies as the table says.
    On(RecordTable),
}

/// How bodies are recorded.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[serde(default)]
pub struct RecordTable {
    /// Whether the bodies are kept, masked, or only their commitments.
    pub bodies: Bodies,
    /// Most that is kept of one body.
    pub max_bytes: Size,
}

/// Whether bodies are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Bodies {
    /// As they went over the wire, masked.
    Full,
    /// Only lengths and commitments.
    None,
}

impl Default for RecordTable {
    fn default() -> RecordTable {
        RecordTable { bodies: Bodies::Full, max_bytes: Size(16 << 20) }
    }
}

impl Default for Record {
    fn default() -> Record {
        Record::On(RecordTable::default())
    }
}

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Record, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Word(String),
            Table(RecordTable),
        }
        match Written::deserialize(deserializer)? {
            Written::Word(word) if word == "off" => Ok(Record::Off),
            Written::Word(word) => Err(de::Error::unknown_variant(&word, &["off"])),
            Written::Table(table) => Ok(Record::On(table)),
        }
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Record::Off => serializer.serialize_str("off"),
            Record::On(table) => table.serialize(serializer),
        }
    }
}

impl JsonSchema for Record {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Record".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<RecordTable>();
        json_schema!({ "anyOf": [{ "type": "string", "const": "off" }, table] })
    }
}

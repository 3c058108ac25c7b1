//! `[deny]`: how refusals look.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{borrow::Cow, fmt};

/// How refusals look.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[serde(default)]
pub struct Deny {
    /// Status of a request that a policy blocked: 400, 403, 451, or "auto", which is 451 for clients that
    /// hide the reason of a 403 and repeat what got 400 (Claude Code), and 403 for all others.
    pub status: DenyStatus,
}

/// Status of a blocked request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DenyStatus {
    /// 451 for clients that hide the reason of a 403, else 403.
    #[default]
    Auto,
    /// 400, 403 or 451.
    Fixed(u16),
}

impl<'de> Deserialize<'de> for DenyStatus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<DenyStatus, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = DenyStatus;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"auto\", 400, 403 or 451")
            }

            fn visit_i64<E: de::Error>(self, status: i64) -> Result<DenyStatus, E> {
                match status {
                    400 | 403 | 451 => Ok(DenyStatus::Fixed(status as u16)),
                    other => Err(E::invalid_value(de::Unexpected::Signed(other), &self)),
                }
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<DenyStatus, E> {
                let invalid = || E::invalid_value(de::Unexpected::Str(word), &self);
                (word == "auto").then_some(DenyStatus::Auto).ok_or_else(invalid)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl Serialize for DenyStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            DenyStatus::Auto => serializer.serialize_str("auto"),
            DenyStatus::Fixed(status) => serializer.serialize_u16(*status),
        }
    }
}

impl JsonSchema for DenyStatus {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "DenyStatus".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "string", "const": "auto" },
            { "type": "integer", "enum": [400, 403, 451] },
        ] })
    }
}

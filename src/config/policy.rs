//! `[[policy]]`: when a request is allowed, blocked or held for a human.

use super::Period;
use super::value::{OneOrMany, one_or_many};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// A rule. A route names those that apply; the first whose conditions all hold decides.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Policy {
    /// Name that routes, records and refusals use.
    pub name: String,
    /// Conditions, all of which must hold. Absent: matches always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<When>,
    /// What happens then.
    pub action: Action,
    /// Told to the caller word for word when the request is blocked or held: say what to do instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the caller can do next. Default: the last sentence of `reason`, if it has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Only records what it would have done, and lets the next policy decide.
    #[serde(default)]
    pub dry_run: bool,
    /// Who approves, for `action = "approve"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
}

/// What a policy does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Forwards the request.
    Allow,
    /// Refuses it with the reason.
    Block,
    /// Holds it until a human decides.
    Approve,
}

/// Conditions of a policy; all that are given must hold.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[serde(default)]
pub struct When {
    /// The method is one of these.
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "OneOrMany<String>")]
    pub method: Vec<String>,
    /// The path matches one of these: exact, with `*` for one segment, or ending in `/**`.
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "OneOrMany<String>")]
    pub path: Vec<String>,
    /// All of these headers match: name = "value", or a table with `contains` or `exists`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, FieldCondition>,
    /// All of these query parameters match, in any of their occurrences.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub query: BTreeMap<String, FieldCondition>,
    /// The caller is in one of these groups.
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "OneOrMany<String>")]
    pub groups_any: Vec<String>,
    /// The caller is in all of these groups.
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "OneOrMany<String>")]
    pub groups_all: Vec<String>,
    /// The caller's subject is one of these.
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "OneOrMany<String>")]
    pub subject: Vec<String>,
    /// The caller's purpose is one of these.
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "OneOrMany<String>")]
    pub purpose: Vec<String>,
    /// What the request body contains.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<BodyCondition>,
    /// A value in a JSON request body, or several, all of which must hold.
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "OneOrMany<JsonCondition>")]
    pub json: Vec<JsonCondition>,
    /// What the SQL in the request does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sql: Option<SqlCondition>,
}

impl When {
    /// Whether it says nothing, so that it always holds.
    pub fn is_empty(&self) -> bool {
        *self == When::default()
    }
}

/// A condition on the values of one header or query parameter.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum FieldCondition {
    /// The value is exactly this.
    Equals(String),
    /// A table.
    Table(FieldTable),
}

/// A condition on the values of one header or query parameter. Exactly one key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct FieldTable {
    /// The value is exactly this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equals: Option<String>,
    /// The value contains this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// It is there, or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exists: Option<bool>,
}

/// A condition on the text of the request body: on its bytes and on the strings in it, decoded, with white
/// space folded.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct BodyCondition {
    /// It contains one of these.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<String>")]
    pub contains_any: Vec<String>,
    /// Whether ASCII letters match in both cases.
    #[serde(default)]
    pub ignore_case: bool,
}

/// A condition on one value of a JSON request body. A value of another type than compared with counts as a
/// match, so that `"64000"` does not slip past `gt = 40000`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct JsonCondition {
    /// JSON pointer of the value (RFC 6901), such as "/max_tokens".
    pub path: String,
    /// It is greater than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gt: Option<f64>,
    /// It is greater than or equal to this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ge: Option<f64>,
    /// It is less than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lt: Option<f64>,
    /// It is less than or equal to this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub le: Option<f64>,
    /// It equals this text, number or truth value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equals: Option<Scalar>,
    /// It is there and differs from this text, number or truth value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub differs: Option<Scalar>,
    /// It equals one of these texts, numbers or truth values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub any_of: Vec<Scalar>,
    /// It is a text, or holds a text somewhere below, that contains this; white space is folded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// It is there, or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exists: Option<bool>,
}

/// A text, a number or a truth value.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Scalar {
    /// true or false.
    Boolean(bool),
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
}

/// A condition on SQL, parsed, not searched as text. What cannot be parsed counts as a match.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SqlCondition {
    /// JSON pointer of the text, such as "/sql". Absent: the whole body is SQL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// One of the statements does one of these: `select`, `insert`, `update`, `update_without_where`,
    /// `delete`, `delete_without_where`, `merge`, `truncate`, `drop`, `create`, `alter`, `grant`, `copy`,
    /// `call`, `execute`, `transaction`, `set`, `show`, `other`. Empty: anything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub any_of: Vec<String>,
    /// One of the statements touches one of these tables: `name`, `schema.name` or `catalog.schema.name`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<String>,
    /// Whose SQL it is, such as "postgres". Absent: whatever parses counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialect: Option<String>,
}

/// Who approves a held request, and what happens if nobody does.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Approval {
    /// Who may: `local:UID`, `token:NAME`, `group:NAME` or `user:SUBJECT`. Default: the role `approver`.
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "OneOrMany<String>")]
    pub by: Vec<String>,
    /// How many must.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 16))]
    pub min: u8,
    /// Whether the owner of the caller may approve.
    #[serde(default, rename = "self")]
    pub own: bool,
    /// How long to wait. At most 15 min.
    #[serde(default = "timeout")]
    pub timeout: Period,
    /// What happens then.
    #[serde(default)]
    pub on_timeout: Timeout,
}

fn one() -> u8 {
    1
}

fn timeout() -> Period {
    Period(Duration::from_secs(13 * 60))
}

/// What happens when nobody decided in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Timeout {
    /// The request is refused.
    #[default]
    Deny,
}

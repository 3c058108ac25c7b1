//! `[[mask]]`: what is masked while it streams through.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A kind of value that is replaced in bodies.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Mask {
    /// Name that routes, records and metrics use.
    pub name: String,
    /// What is looked for.
    pub kind: MaskKind,
    /// The words, for `kind = "literals"`: without regard to ASCII case, at word boundaries. At most 5,000.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<String>,
    /// The expression, for `kind = "regex"`: linear in time, with ASCII classes, at most 256 bytes long
    /// matches, which begin with at least 3 fixed characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// The names of JSON members, for `kind = "key"`: their values are masked, whatever they are,
    /// also in the arguments of tool calls.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// Paths into JSON documents, for `kind = "path"`: `$.customers[*].ssn`; steps are
    /// `.name`, `["any name"]`, `[0]`, `[*]` and `.*`. The arguments of a tool call are a document of
    /// their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// For `kind = "key"` and `kind = "path"`: the value becomes `null` instead of a mask.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drop: bool,
    /// What stands there instead; `{last4}`, `{token}` (the same for the same value in a
    /// session), `{name}`, `{kind}` and `{length}` are filled in,
    /// and "*" gives as many asterisks as the value has bytes. Default: "[{name}]".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace: Option<String>,
    /// Which bodies.
    #[serde(default)]
    pub direction: Direction,
    /// Only counts what it would have masked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// What a mask looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MaskKind {
    /// Payment card numbers: 14 to 19 digits that pass the Luhn check and an issuer's rule.
    CreditCard,
    /// E-mail addresses.
    Email,
    /// United States social security numbers; without separators only behind a key word.
    Ssn,
    /// Phone numbers: international, North American, and national ones behind a key word.
    Phone,
    /// International bank account numbers, by the length of their country and their check digits.
    Iban,
    /// IPv4 addresses.
    Ipv4,
    /// IPv6 addresses.
    Ipv6,
    /// JSON web tokens.
    Jwt,
    /// Private keys in PEM.
    PrivateKey,
    /// Keys of providers (AWS, GitHub, OpenAI and some fifty more) by prefix, shape and entropy.
    ApiKey,
    /// Random strings behind a word such as `password` or `token` and an assignment.
    GenericSecret,
    /// The words of `words`.
    Literals,
    /// What the expression of `pattern` matches.
    Regex,
    /// The values of the JSON members that `keys` names.
    Key,
    /// The values that `paths` lead to.
    Path,
}

/// Which bodies a mask applies to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// What the caller sends.
    Request,
    /// What the upstream answers.
    Response,
    /// Both.
    #[default]
    Both,
}

//! `[[notify]]`: who is told when a request waits for people, and of what becomes of it.

use super::EndpointTls;
use super::value::{OneOrMany, one_or_many};
use crate::approval::NoticeKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A place that is told what waits, what was decided, granted and stopped. Nothing that a caller wrote goes
/// there. What does not arrive is sent again for three days, also after a restart.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Notify {
    /// Its name in `ringward notify`, in metrics and in records.
    pub name: String,
    /// What it understands.
    pub kind: NotifyKind,
    /// Where it is: an https address, or "${secret:NAME}" where whoever knows the address may send there, as
    /// for Slack.
    pub url: String,
    /// What signs for it, as "${secret:NAME}": `whsec_` and base64. Two while one replaces the other: then
    /// both sign. For webhooks only.
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "OneOrMany<String>")]
    pub secret: Vec<String>,
    /// Of what it is told. Absent: of everything.
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "OneOrMany<NoticeKind>")]
    pub events: Vec<NoticeKind>,
    /// Of which routes. What concerns all of them is told, too. Absent: of all.
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "OneOrMany<String>")]
    pub routes: Vec<String>,
    /// Certificate authority of `url`, where it is not one of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<EndpointTls>,
}

/// What a place understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NotifyKind {
    /// Signed JSON, as Standard Webhooks defines it.
    Webhook,
    /// An incoming webhook of Slack's.
    Slack,
}

impl Notify {
    /// The names of the secrets that it needs.
    pub fn secret_names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.url).chain(&self.secret).filter_map(|text| secret_name(text))
    }
}

/// The name in a text; `None` where it is not of the form `${secret:NAME}`.
pub fn secret_name(text: &str) -> Option<&str> {
    text.strip_prefix("${secret:")?.strip_suffix('}')
}

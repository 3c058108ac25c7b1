//! `[[identity]]`: whose tokens are accepted, and what their claims mean.

use super::value::{OneOrMany, one_or_many};
use super::{EndpointTls, Period};
use crate::identity;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// An OpenID Connect issuer whose tokens are accepted.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Identity {
    /// Name that routes use.
    pub name: String,
    /// The `iss` claim, compared exactly. Keys are discovered at `/.well-known/openid-configuration` below
    /// it. Must be https, but on loopback.
    pub issuer: String,
    /// The `aud` claim must hold one of these, compared exactly.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<String>")]
    pub audience: Vec<String>,
    /// Signature algorithms that are accepted. Never none, never HS*.
    #[serde(default = "algorithms")]
    pub algorithms: Vec<String>,
    /// How far clocks may differ. At most 60 s.
    #[serde(default = "clock_skew")]
    pub clock_skew: Period,
    /// A token older than this, by its `iat`, is refused even if its `exp` lies in the future.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_token_age: Option<Period>,
    /// Headers that a token may come in.
    #[serde(default = "accept")]
    pub accept: Vec<Accept>,
    /// Values of the header `typ` that are accepted. A token without it counts as "JWT".
    #[serde(default = "types")]
    pub types: Vec<String>,
    /// Which claim holds what.
    #[serde(default)]
    pub claims: Claims,
    /// Whether a token without a purpose is refused.
    #[serde(default)]
    pub require_purpose: bool,
    /// Groups and purpose for tokens whose issuer cannot put them into claims.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub map: Vec<IdentityMap>,
    /// Certificate authority of the issuer, where it is not one of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<EndpointTls>,
    /// Marks the issuer that the demo brings along. `run` refuses it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dev: bool,
}

impl Identity {
    /// The table as `identity` takes it.
    pub fn settings(&self) -> identity::Settings {
        let map = |rule: &IdentityMap| identity::MapRule {
            azp: rule.when.azp.clone(),
            sub: rule.when.sub.clone(),
            groups: rule.groups.clone(),
            purpose: rule.purpose.clone(),
        };
        identity::Settings {
            name: self.name.clone(),
            issuer: self.issuer.clone(),
            audience: self.audience.clone(),
            algorithms: self.algorithms.clone(),
            clock_skew: self.clock_skew.0,
            max_token_age: self.max_token_age.map(|age| age.0),
            accept: identity::Accept {
                bearer: self.accept.contains(&Accept::Bearer),
                x_api_key: self.accept.contains(&Accept::XApiKey),
            },
            claims: identity::ClaimNames {
                subject: self.claims.subject.clone(),
                groups: self.claims.groups.clone(),
                purpose: self.claims.purpose.clone(),
                owner: self.claims.owner.clone(),
            },
            require_purpose: self.require_purpose,
            types: self.types.clone(),
            map: self.map.iter().map(map).collect(),
        }
    }
}

/// A header that a token may come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Accept {
    /// `Authorization: Bearer TOKEN`.
    Bearer,
    /// `x-api-key: TOKEN`, as Anthropic clients send it.
    XApiKey,
}

/// Which claim holds what. A name that begins with `/` is a JSON pointer, such as "/realm_access/roles".
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[serde(default)]
pub struct Claims {
    /// Who calls.
    pub subject: String,
    /// Groups of the caller.
    pub groups: String,
    /// What the call is for.
    pub purpose: String,
    /// The human behind the caller, compared when someone approves. Of several the first that is there.
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "OneOrMany<String>")]
    pub owner: Vec<String>,
}

impl Default for Claims {
    fn default() -> Claims {
        Claims {
            subject: "sub".into(),
            groups: "groups".into(),
            purpose: "purpose".into(),
            owner: Vec::new(),
        }
    }
}

/// Sets groups and purpose of the tokens that it matches.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct IdentityMap {
    /// Which tokens: all that is given must equal.
    pub when: MapCondition,
    /// Groups that such a token gets instead of those of its claims.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Purpose that such a token gets instead of that of its claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
}

/// Which tokens get groups and purpose from the configuration.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct MapCondition {
    /// The OAuth client that the token was given to (`azp`, `client_id`, `appid`, `cid`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub azp: Option<String>,
    /// The subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
}

fn algorithms() -> Vec<String> {
    ["ES256", "RS256"].map(String::from).to_vec()
}

fn clock_skew() -> Period {
    Period(Duration::from_secs(30))
}

fn accept() -> Vec<Accept> {
    vec![Accept::Bearer, Accept::XApiKey]
}

fn types() -> Vec<String> {
    ["JWT", "at+jwt"].map(String::from).to_vec()
}

//! `[admin.login]`: how people log in to the admin interface, and `[admin.roles]`: what they may do there.

use super::value::{OneOrMany, one_or_many};
use super::{EndpointTls, Period};
use crate::identity;
use crate::limits;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// An OpenID Connect issuer that people log in with: authorization code with PKCE in their browser. What they
/// may do then is said by `admin.roles`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Login {
    /// The issuer, exactly as its tokens name it. Endpoints and keys are discovered below it. Must be https,
    /// but on loopback.
    pub issuer: String,
    /// The client that this gateway is at the issuer. Its redirect address there is that of the admin
    /// interface with `/auth/callback`, such as "https://gw.example.com:8444/auth/callback".
    pub client_id: String,
    /// Its password, as "${secret:NAME}". Absent: a public client, which proves itself by PKCE alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<String>,
    /// What is asked for, beside `openid`: often "groups" is needed for groups.
    #[serde(default = "scopes", deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<String>")]
    pub scopes: Vec<String>,
    /// Signature algorithms of its ID tokens that are accepted. Never none, never HS*.
    #[serde(default = "algorithms")]
    pub algorithms: Vec<String>,
    /// How far clocks may differ. At most 60 s.
    #[serde(default = "clock_skew")]
    pub clock_skew: Period,
    /// Which claim of the ID token holds what.
    #[serde(default)]
    pub claims: LoginClaims,
    /// Address of the admin interface as browsers know it, such as "https://gw.example.com", where a proxy
    /// stands before it. Absent: the host that a browser asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Somebody who does nothing for this long has to log in again. From "1m".
    #[serde(default = "idle")]
    pub idle: Period,
    /// Everybody has to log in again after this time. At most "24h".
    #[serde(default = "lifetime")]
    pub lifetime: Period,
    /// Certificate authority of the issuer, where it is not one of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<EndpointTls>,
}

/// Which claim of an ID token holds what. A name that begins with `/` is a JSON pointer.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[serde(default)]
pub struct LoginClaims {
    /// Who has logged in: `user:SUBJECT` in `admin.roles`, in policies and in records.
    pub subject: String,
    /// Their groups: `group:NAME` there.
    pub groups: String,
    /// The human, named as the `owner` claim of callers names them: who owns a caller does not approve its
    /// requests. Of several the first that is there. Where it is given, nobody logs in without it.
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "OneOrMany<String>")]
    pub owner: Vec<String>,
}

impl Default for LoginClaims {
    fn default() -> LoginClaims {
        LoginClaims { subject: "sub".into(), groups: "groups".into(), owner: Vec::new() }
    }
}

impl Login {
    /// The rules of its ID tokens, as `identity` takes them.
    pub fn settings(&self) -> identity::Settings {
        identity::Settings {
            name: "admin.login".to_owned(),
            issuer: self.issuer.clone(),
            audience: vec![self.client_id.clone()],
            algorithms: self.algorithms.clone(),
            clock_skew: self.clock_skew.0,
            // It was made for the login that it ends.
            max_token_age: Some(limits::LOGIN_TIMEOUT),
            accept: identity::Accept::BOTH,
            claims: identity::ClaimNames {
                subject: self.claims.subject.clone(),
                groups: self.claims.groups.clone(),
                owner: self.claims.owner.clone(),
                ..identity::ClaimNames::default()
            },
            require_purpose: false,
            types: vec!["JWT".to_owned()],
            map: Vec::new(),
        }
    }

    /// The name in `client_secret`; `None` where it is not of the form `${secret:NAME}`.
    pub fn secret_name(&self) -> Option<&str> {
        self.client_secret.as_deref()?.strip_prefix("${secret:")?.strip_suffix('}')
    }

    /// The scopes as they are asked for: `openid` first, the rest in their order.
    pub fn scope(&self) -> String {
        let rest = self.scopes.iter().map(String::as_str).filter(|scope| *scope != "openid");
        std::iter::once("openid").chain(rest).collect::<Vec<_>>().join(" ")
    }
}

/// Who may do what: `group:NAME` or `user:SUBJECT` of somebody who has logged in. Whoever may open the unix
/// socket may do everything, and the role of a token stands in its table.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[serde(default)]
pub struct Roles {
    /// Who sees how the gateway is: status, version, metrics.
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "OneOrMany<String>")]
    pub viewer: Vec<String>,
    /// Who may approve or deny what is held, also `local:UID` (over the socket) and `token:NAME`; tokens with
    /// the role `approver` may anyway. `{ who = "group:payments", routes = ["payments"] }` gives it for some
    /// routes only: the others' requests, grants and stops are then not even seen.
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "OneOrMany<ApproverRole>")]
    pub approver: Vec<ApproverRole>,
    /// Who reads recordings and the audit log.
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "OneOrMany<String>")]
    pub auditor: Vec<String>,
    /// Who may do everything.
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "OneOrMany<String>")]
    pub admin: Vec<String>,
}

/// An approver, of all routes or of some.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum ApproverRole {
    /// Of all routes.
    All(String),
    /// Of some.
    Some(ApproverTable),
}

/// Approvers of some routes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ApproverTable {
    /// Who.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<String>")]
    pub who: Vec<String>,
    /// Names of the routes.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<String>")]
    pub routes: Vec<String>,
}

impl ApproverRole {
    /// Whom it names.
    pub fn who(&self) -> &[String] {
        match self {
            ApproverRole::All(who) => std::slice::from_ref(who),
            ApproverRole::Some(table) => &table.who,
        }
    }

    /// The routes that it is bound to; `None`: all.
    pub fn routes(&self) -> Option<&[String]> {
        match self {
            ApproverRole::All(_) => None,
            ApproverRole::Some(table) => Some(&table.routes),
        }
    }

    /// Whether it holds for a route.
    pub fn covers(&self, route: &str) -> bool {
        self.routes().is_none_or(|routes| routes.iter().any(|one| one == route))
    }
}

fn scopes() -> Vec<String> {
    ["openid", "profile", "email"].map(String::from).to_vec()
}

fn algorithms() -> Vec<String> {
    ["ES256", "RS256"].map(String::from).to_vec()
}

fn clock_skew() -> Period {
    Period(Duration::from_secs(30))
}

fn idle() -> Period {
    Period(Duration::from_secs(3_600))
}

fn lifetime() -> Period {
    Period(Duration::from_secs(8 * 3_600))
}

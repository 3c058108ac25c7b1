//! What a token says.

use super::form::{Fields, Refusal};
use super::{AGENT_CLIENT, CUSTOMERS_AUDIENCE, GATEWAY_AUDIENCE};
use crate::identity::Principal;
use serde_json::{Value, json};

/// Life of a caller's token, unless it asks for another.
pub(in crate::demo) const LIFETIME_S: i64 = 3_600;
/// Life of an exchanged token.
pub(in crate::demo) const EXCHANGED_LIFETIME_S: i64 = 60;
/// Longest life that may be asked for, and how long ago a token may have ended.
const LIFETIME_MAX_S: i64 = 86_400;

/// The claims of a token to be.
#[derive(Clone, Debug)]
pub(in crate::demo) struct Grant {
    pub client: String,
    pub audience: String,
    pub subject: String,
    pub groups: Vec<String>,
    /// Empty: the token says none.
    pub purpose: String,
    /// Empty: the token says none.
    pub owner: String,
    /// Not above zero: the token has ended when it is given.
    pub lifetime_s: i64,
    /// Who acts for the subject (RFC 8693 section 4.1).
    pub actor: Option<String>,
}

impl Grant {
    /// The agent of the demo.
    pub(in crate::demo) fn agent() -> Grant {
        Grant {
            client: AGENT_CLIENT.to_owned(),
            audience: GATEWAY_AUDIENCE.to_owned(),
            subject: "agent-7".to_owned(),
            groups: vec!["agents".to_owned()],
            purpose: "demo".to_owned(),
            owner: "grace.hopper@example.com".to_owned(),
            lifetime_s: LIFETIME_S,
            actor: None,
        }
    }

    /// What the customers API gets for a caller's token.
    pub(super) fn exchanged(caller: &Principal, actor: &str) -> Grant {
        Grant {
            client: actor.to_owned(),
            audience: CUSTOMERS_AUDIENCE.to_owned(),
            subject: caller.subject.clone(),
            groups: caller.groups.clone(),
            purpose: caller.purpose.clone().unwrap_or_default(),
            owner: caller.owner.clone().unwrap_or_default(),
            lifetime_s: EXCHANGED_LIFETIME_S,
            actor: Some(actor.to_owned()),
        }
    }

    /// Changed as the request asks: `lifetime` in seconds (also below zero, for a token that has ended),
    /// `subject`, `groups` (between spaces), `purpose`, `owner`. An empty one leaves the claim out.
    pub(super) fn with(mut self, fields: &Fields) -> Result<Grant, Refusal> {
        if fields.find("audience").is_some_and(|audience| audience != GATEWAY_AUDIENCE)
            || fields.find("resource").is_some()
        {
            return Err(Refusal::InvalidTarget);
        }
        if let Some(seconds) = fields.find("lifetime") {
            let seconds = seconds.parse().ok().filter(|s: &i64| s.abs() <= LIFETIME_MAX_S);
            self.lifetime_s =
                seconds.ok_or(Refusal::InvalidRequest("lifetime is not a number of seconds within a day"))?;
        }
        if let Some(subject) = fields.find("subject") {
            self.subject = subject.to_owned();
        }
        if let Some(groups) = fields.given("groups") {
            self.groups = groups.split_whitespace().map(str::to_owned).collect();
        }
        if let Some(purpose) = fields.given("purpose") {
            self.purpose = purpose.to_owned();
        }
        if let Some(owner) = fields.given("owner") {
            self.owner = owner.to_owned();
        }
        Ok(self)
    }

    /// The claims of RFC 7519 section 4 and RFC 9068 section 2.2, and ours.
    pub(super) fn claims(&self, issuer: &str, now_s: u64, jti: &str) -> Value {
        let expires_s = now_s.saturating_add_signed(self.lifetime_s);
        // One that has ended was issued an hour before its end.
        let issued_s = if self.lifetime_s > 0 { now_s } else { expires_s.saturating_add_signed(-LIFETIME_S) };
        let mut claims = json!({
            "iss": issuer, "aud": self.audience, "sub": self.subject, "azp": self.client,
            "iat": issued_s, "exp": expires_s, "jti": jti, "groups": self.groups,
        });
        for (name, value) in [("purpose", &self.purpose), ("owner", &self.owner)] {
            if !value.is_empty() {
                claims[name] = value.as_str().into();
            }
        }
        if let Some(actor) = &self.actor {
            claims["act"] = json!({ "sub": actor });
        }
        claims
    }
}

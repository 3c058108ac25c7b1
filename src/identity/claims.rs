use super::{
    error::{Shown, TokenError},
    issuer::{Issuer, MapRule},
    json::Json,
    principal::{Principal, TokenId},
};
use crate::{
    limits,
    time::{Now, Timestamp},
};
use std::time::Duration;

/// The claims of a token (RFC 7519 section 4), parsed, not yet believed.
pub struct Claims<'a>(Json<'a>);

/// Names under which issuers put the OAuth client: RFC 9068, OpenID Connect, Entra ID (v1), Okta.
const CLIENT_CLAIMS: [&str; 4] = ["azp", "client_id", "appid", "cid"];

/// Largest date: the last second of the year 9999.
const DATE_MAX: f64 = 253_402_300_799.0;

fn claim(name: &str, problem: &'static str) -> TokenError {
    TokenError::Claim { name: Shown::new(name), problem }
}

impl<'a> Claims<'a> {
    /// Reads the payload of a JWT: a strict JSON object.
    ///
    /// # Errors
    /// [`TokenError::Malformed`] for anything else, duplicate claims included; the caller is at fault.
    pub fn parse(payload: &'a [u8]) -> Result<Claims<'a>, TokenError> {
        match Json::parse(payload) {
            Some(json @ Json::Object(_)) => Ok(Claims(json)),
            _ => Err(TokenError::Malformed { problem: "its claims are not a strict JSON object" }),
        }
    }

    /// The issuer it names.
    ///
    /// # Errors
    /// [`TokenError::Claim`] if there is none.
    pub fn issuer(&self) -> Result<&str, TokenError> {
        self.0.member("iss").and_then(Json::text).ok_or_else(|| claim("iss", "is missing or not a text"))
    }

    /// Checks that one of the audiences is exactly one of `issuer`'s (RFC 7519 section 4.1.3).
    ///
    /// # Errors
    /// [`TokenError::Audience`], or [`TokenError::Claim`] if it is missing or malformed.
    pub fn check_audience(&self, issuer: &Issuer) -> Result<(), TokenError> {
        let malformed = || claim("aud", "is missing, empty, or not a text or list of texts");
        let audiences = match self.0.member("aud") {
            Some(Json::Array(items)) => items.iter().map(Json::text).collect::<Option<Vec<_>>>(),
            Some(value) => value.text().map(|audience| vec![audience]),
            None => None,
        };
        let audiences = audiences.filter(|list| !list.is_empty()).ok_or_else(malformed)?;
        let accepted = &issuer.settings().audience;
        if audiences.iter().any(|audience| accepted.iter().any(|known| known == audience)) {
            return Ok(());
        }
        Err(TokenError::Audience { found: Shown::new(&audiences.join(" ")) })
    }

    /// Checks everything that the claims have to satisfy and says who they are about. Issuer and audience
    /// were checked before; the signature has to be checked all the same.
    ///
    /// # Errors
    /// What is wrong; the caller is at fault, or its issuer.
    pub fn principal(&self, now: Now, issuer: &Issuer, token_id: TokenId) -> Result<Principal, TokenError> {
        let settings = issuer.settings();
        let expires = self.check_dates(now, settings.clock_skew, settings.max_token_age)?;
        let subject = self.required(&settings.claims.subject)?;
        let client = self.first(CLIENT_CLAIMS.iter().copied())?;
        let rule = settings.map.iter().find(|rule| applies(rule, &subject, client.as_deref()));
        let groups = match rule {
            Some(rule) if !rule.groups.is_empty() => rule.groups.clone(),
            _ => self.groups(&settings.claims.groups)?,
        };
        let purpose = match rule.and_then(|rule| rule.purpose.clone()) {
            Some(purpose) => Some(purpose),
            None => self.optional(&settings.claims.purpose)?,
        };
        if settings.require_purpose && purpose.is_none() {
            return Err(TokenError::PurposeMissing);
        }
        Ok(Principal {
            identity: issuer.name().clone(),
            issuer: issuer.url().clone(),
            subject,
            owner: self.first(settings.claims.owner.iter().map(String::as_str))?,
            groups,
            purpose,
            jti: self.optional("jti")?,
            client,
            expires,
            token_id,
        })
    }

    /// Checks that an ID token was made for `client` and for the login of this nonce (OpenID Connect Core 1.0
    /// section 3.1.3.7). The audience holds the client already.
    ///
    /// # Errors
    /// [`TokenError::Claim`].
    pub fn check_login(&self, client: &str, nonce: Option<&str>) -> Result<(), TokenError> {
        let several = matches!(self.0.member("aud"), Some(Json::Array(items)) if items.len() > 1);
        match self.optional("azp")? {
            None if several => return Err(claim("azp", "is missing, and there are several audiences")),
            Some(party) if party != client => return Err(claim("azp", "is not this gateway's client")),
            _ => {}
        }
        match nonce {
            Some(nonce) if self.optional("nonce")?.as_deref() != Some(nonce) => {
                Err(claim("nonce", "is not that of this login"))
            }
            _ => Ok(()),
        }
    }

    /// What people call the subject: the first of the usual claims that can be shown.
    pub fn display_name(&self) -> Option<String> {
        let mut names = ["name", "preferred_username", "email"].iter();
        names.find_map(|name| self.optional(name).ok().flatten())
    }

    /// Checks `exp`, `nbf` and `iat`; returns when the token ends, by `exp` or by its age.
    fn check_dates(&self, now: Now, skew: Duration, age: Option<Duration>) -> Result<Timestamp, TokenError> {
        let now = now.wall;
        let exp = self.date("exp")?.ok_or_else(|| claim("exp", "is missing"))?;
        if now >= later(exp, skew) {
            return Err(TokenError::Expired { at: exp, ago_s: seconds(exp, now) });
        }
        if let Some(at) = self.date("nbf")?.filter(|nbf| later(now, skew) < *nbf) {
            return Err(TokenError::NotYetValid { at, in_s: seconds(now, at) });
        }
        let iat = self.date("iat")?;
        if let Some(at) = iat.filter(|iat| later(now, skew) < *iat) {
            return Err(TokenError::IssuedInFuture { at, in_s: seconds(now, at) });
        }
        let Some(age) = age else {
            return Ok(exp);
        };
        let iat = iat.ok_or_else(|| claim("iat", "is missing, and this gateway limits the age of tokens"))?;
        let end = later(iat, age);
        if now >= later(end, skew) {
            return Err(TokenError::TooOld { age_s: seconds(iat, now), max_s: age.as_secs() });
        }
        Ok(exp.min(end))
    }

    /// A NumericDate: seconds since the epoch, fractions allowed (RFC 7519 section 2).
    fn date(&self, name: &str) -> Result<Option<Timestamp>, TokenError> {
        match self.0.member(name) {
            None => Ok(None),
            Some(Json::Number(seconds)) if (0.0..=DATE_MAX).contains(seconds) => {
                Ok(Some(Timestamp((seconds * 1e6) as u64)))
            }
            Some(_) => Err(claim(name, "is not a date in seconds since 1970")),
        }
    }

    fn required(&self, name: &str) -> Result<String, TokenError> {
        self.optional(name)?.ok_or_else(|| claim(name, "is missing"))
    }

    /// The text of a claim; `null` counts as absent.
    fn optional(&self, name: &str) -> Result<Option<String>, TokenError> {
        match self.0.find(name) {
            None | Some(Json::Null) => Ok(None),
            Some(value) => Ok(Some(text(name, value)?)),
        }
    }

    fn first<'n>(&self, names: impl Iterator<Item = &'n str>) -> Result<Option<String>, TokenError> {
        for name in names {
            if let Some(text) = self.optional(name)? {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }

    fn groups(&self, name: &str) -> Result<Vec<String>, TokenError> {
        match self.0.find(name) {
            None | Some(Json::Null) if self.has_group_overage(name) => Err(TokenError::GroupsOverage),
            None | Some(Json::Null) => Ok(Vec::new()),
            Some(Json::Array(items)) if items.len() > limits::GROUPS_MAX => {
                Err(claim(name, "lists too many groups"))
            }
            Some(Json::Array(items)) => items.iter().map(|item| text(name, item)).collect(),
            Some(value) => Ok(vec![text(name, value)?]),
        }
    }

    /// Entra ID leaves the groups out when there are more than 200 and says so in `_claim_names` (a link to
    /// them) or `hasgroups` (implicit flow). Taking them for an empty list would let deny rules slip.
    fn has_group_overage(&self, name: &str) -> bool {
        let linked = self.0.member("_claim_names");
        let linked = linked.is_some_and(|names| names.member(name).or(names.member("groups")).is_some());
        let flagged = match self.0.member("hasgroups") {
            Some(Json::Bool(flag)) => *flag,
            Some(Json::Text(flag)) => flag == "true",
            _ => false,
        };
        linked || flagged
    }
}

fn applies(rule: &MapRule, subject: &str, client: Option<&str>) -> bool {
    rule.sub.as_deref().is_none_or(|sub| sub == subject)
        && rule.azp.as_deref().is_none_or(|azp| Some(azp) == client)
}

fn text(name: &str, value: &Json<'_>) -> Result<String, TokenError> {
    let text = value.text().ok_or_else(|| claim(name, "is not a text"))?;
    if text.is_empty() {
        return Err(claim(name, "is empty"));
    }
    if text.len() > limits::CLAIM_BYTES_MAX {
        return Err(claim(name, "is too long"));
    }
    if text.chars().any(char::is_control) {
        return Err(claim(name, "has control characters"));
    }
    Ok(text.to_owned())
}

fn later(at: Timestamp, by: Duration) -> Timestamp {
    Timestamp(at.0.saturating_add(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
}

fn seconds(from: Timestamp, to: Timestamp) -> u64 {
    to.0.saturating_sub(from.0) / 1_000_000
}

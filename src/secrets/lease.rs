use super::{Error, Scrub, SecretSlot, SecretValue};
use crate::time::Timestamp;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

/// A source that gives a fresh, short-lived token for each exchange: the secret called [`LeaseSource::name`]
/// exists from the moment an exchange was permitted until it ends.
#[derive(Clone, Debug)]
pub struct LeaseSource {
    /// What templates call it; shares the name space of the secrets.
    pub name: Arc<str>,
    /// The grant that gives the token.
    pub kind: LeaseKind,
    /// Where the token is asked for.
    pub token_endpoint: Endpoint,
    /// Where the token is revoked at the end of the exchange (RFC 7009); without it, it just expires.
    pub revoke_endpoint: Option<Endpoint>,
    /// Who the gateway is there; no secret.
    pub client_id: Box<str>,
    /// The gateway's own secret at the token endpoint.
    pub client_secret: Arc<SecretSlot>,
    /// How it proves that.
    pub auth_method: ClientAuth,
    /// For whom the token is (RFC 8693 section 2.1).
    pub audience: Option<Box<str>>,
    /// For which resource, as a URI (RFC 8707).
    pub resource: Option<Box<str>>,
    /// What it may do, separated by spaces (RFC 6749 section 3.3).
    pub scope: Option<Box<str>>,
    /// Life of a token whose answer has no `expires_in`; without it such an answer is refused.
    pub lifetime_default: Option<Duration>,
    /// Whether an echo of the token is masked.
    pub scrub: Scrub,
    /// Authorities in PEM that may sign the certificates of its endpoints, and nobody else; `None`: the
    /// system's.
    pub roots: Option<Arc<[u8]>>,
}

/// The grant that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseKind {
    /// The gateway's own identity (RFC 6749 section 4.4).
    ClientCredentials,
    /// The caller's verified token is exchanged, so that the upstream sees on whose behalf (RFC 8693).
    TokenExchange {
        /// What kind of token the caller's is said to be.
        subject: SubjectTokenType,
    },
}

/// `subject_token_type` of an exchange (RFC 8693 section 3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SubjectTokenType {
    /// An OAuth access token.
    #[default]
    AccessToken,
    /// An OpenID Connect ID token.
    IdToken,
    /// Any JWT.
    Jwt,
}

impl SubjectTokenType {
    /// The identifier on the wire.
    pub fn urn(self) -> &'static str {
        match self {
            SubjectTokenType::AccessToken => "urn:ietf:params:oauth:token-type:access_token",
            SubjectTokenType::IdToken => "urn:ietf:params:oauth:token-type:id_token",
            SubjectTokenType::Jwt => "urn:ietf:params:oauth:token-type:jwt",
        }
    }
}

/// How the gateway proves who it is to the token endpoint (RFC 6749 section 2.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// `Authorization: Basic`; every server must support it.
    #[default]
    Basic,
    /// `client_id` and `client_secret` in the body.
    Post,
}

/// URL of a token or revocation endpoint: `https`, or `http` on loopback; no user, no fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(Box<str>);

impl Endpoint {
    /// Takes a URL (RFC 3986; RFC 6749 section 3.2 forbids a fragment and asks for TLS).
    ///
    /// # Errors
    /// [`Error::Endpoint`]; the operator is at fault.
    pub fn parse(url: &str) -> Result<Endpoint, Error> {
        if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::Endpoint("holds white space or characters beyond ASCII"));
        }
        if url.contains(['#', '\\', '"', '<', '>']) {
            return Err(Error::Endpoint("holds a fragment or a character that a URL may not hold"));
        }
        let (rest, tls) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (rest, true),
            (_, Some(rest)) => (rest, false),
            _ => return Err(Error::Endpoint("does not begin with `https://`")),
        };
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err(Error::Endpoint("holds a user"));
        }
        let host = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((inside, _)) => inside,
            None => authority.split(':').next().unwrap_or_default(),
        };
        if host.is_empty() {
            return Err(Error::Endpoint("has no host"));
        }
        if !tls && !is_loopback(host) {
            return Err(Error::Endpoint("is not `https`, which is needed off loopback"));
        }
        Ok(Endpoint(url.into()))
    }

    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        || host.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback())
}

/// A token that one exchange holds. Not `Clone`: who holds it gives it back, once.
#[derive(Debug)]
pub struct Lease {
    /// Random, made by `background`; says nothing about the value, so it is recorded.
    pub id: Arc<str>,
    /// Where it came from and where it is revoked.
    pub source: Arc<LeaseSource>,
    /// The token.
    pub value: Arc<SecretValue>,
    /// When the issuer ends it.
    pub expires: Timestamp,
}

impl Lease {
    /// What may be recorded about it.
    pub fn facts(&self) -> LeaseFacts {
        LeaseFacts { source: self.source.name.clone(), id: self.id.clone(), expires: self.expires }
    }

    /// Whether the issuer has ended it by `now`.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires <= now
    }
}

/// What a record says about a lease: never the value (SECURITY R40).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseFacts {
    /// Name of the lease source.
    pub source: Arc<str>,
    /// [`Lease::id`].
    pub id: Arc<str>,
    /// When the issuer ends it.
    pub expires: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, allowed: bool) {
        assert_eq!(Endpoint::parse(url).is_ok(), allowed, "{url}");
    }

    // RFC 6749 sections 3.1 and 3.2.
    #[test]
    fn endpoints_are_https_or_loopback() {
        for url in [
            "https://idp.example.com/token",
            "https://idp.example.com:8443/token?tenant=a",
            "http://127.0.0.1:9/token",
            "http://127.8.9.1/token",
            "http://[::1]:9/token",
            "http://LocalHost:1/token",
        ] {
            check(url, true);
        }
        for url in [
            "",
            "idp.example.com/token",
            "ftp://idp.example.com",
            "http://idp.example.com/token",
            "http://127.0.0.1.example.com/token",
            "http://localhost@evil.example/token",
            "http://[2001:db8::1]/token",
            "https://user:password@idp.example.com/token",
            "https://idp.example.com/token#fragment",
            "https:///token",
            "https://idp.example.com/to ken",
            "https://idp.example.com/\ntoken",
            "https://[::1",
        ] {
            check(url, url == "https://[::1");
        }
    }
}

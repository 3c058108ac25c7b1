//! People log in with their browser: OpenID Connect authorization code with PKCE (RFC 7636), the state bound
//! to the browser, a session on this side.
//!
//! ```text
//!  browser                 admin port                                  issuer
//!    │ GET /auth/login ───────►│ transaction: state, nonce, verifier      │
//!    │◄── 302, Lax cookie ─────┤                                          │
//!    │ ── sign in ────────────────────────────────────────────────────────►│
//!    │◄── 302 /auth/callback?code&state&iss ────────────────────────────── │
//!    │ GET /auth/callback ────►│ state ∧ cookie ∧ iss; code + verifier ──►│
//!    │                         │◄──────────────── ID token: nonce, aud ── │
//!    │◄── 200, Strict cookie ──┤ session                                  │
//!    │    a page that goes on to where the login began                    │
//! ```
//!
//! The way back from the issuer is a navigation from another site: the cookie of the transaction has to be
//! `Lax` to come along, and a `Strict` one that is set on it would not be sent to the target of a redirect.
//! So the answer is a page of ours that goes on by itself. (Seen with Chromium 156: behind a redirect the
//! next request lacks the `Strict` cookie, behind the page it has it.) The `__Host-` prefix and `Secure` hold
//! on clear text, too: Chromium and Firefox take `http://127.0.0.1` and `http://localhost` for secure
//! contexts. Safari does not, so that it needs TLS here. Cookies know no ports: on loopback the name holds
//! the port, and every server of this host that the browser visits under the same name gets them.
//!
//! It speaks to no issuer itself: [`super::Control`] does. Start at `routes`.

mod browser;
mod handover;
mod page;
mod routes;
mod sessions;
mod transactions;

pub(super) use browser::{STREAMS, check_origin, cookie_of, session_cookie};
pub(super) use handover::Handovers;
pub(super) use routes::{endpoints, own_origins};
pub(super) use sessions::{By, Sessions, Visit};
pub(super) use transactions::Transactions;

use super::access::Role;
use crate::approval::Reach;
use std::{sync::Arc, time::Duration};

/// How the token of a session begins, which the command line has: so that it is known wherever it turns up.
pub(super) const TOKEN_PREFIX: &str = "rws_";

/// What the configuration says of logins. Read for each request: a role that was taken away is gone at once.
#[derive(Clone, Debug)]
pub struct LoginRules {
    pub issuer: Arc<str>,
    pub client_id: Arc<str>,
    /// Scopes, with spaces between.
    pub scope: Arc<str>,
    /// Scheme, host and port for browsers, where that is not the host they ask for.
    pub url: Option<Arc<str>>,
    /// A session ends after this time without a request, and after this time in any case.
    pub idle: Duration,
    pub lifetime: Duration,
    pub roles: Vec<RoleRule>,
}

/// Who has a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleRule {
    pub role: Role,
    /// `group:NAME` or `user:SUBJECT`.
    pub who: Arc<str>,
    pub reach: Reach,
}

/// Somebody who has logged in, as a verified ID token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    pub issuer: Arc<str>,
    /// The client that the token was made for.
    pub client_id: Arc<str>,
    pub subject: Arc<str>,
    /// For people to read.
    pub name: Arc<str>,
    /// The human, as callers' tokens name the one behind them.
    pub owner: Option<Arc<str>>,
    pub groups: Vec<Arc<str>>,
}

/// Where the issuer takes people, and what it promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignInPlace {
    /// The authorization endpoint.
    pub url: String,
    /// Whether every answer names the issuer (RFC 9207).
    pub names_issuer: bool,
}

/// What a browser brought back, with what the login began with.
#[derive(Clone, Debug)]
pub struct Redemption {
    pub code: String,
    pub verifier: String,
    pub redirect_uri: String,
    pub nonce: String,
}

/// A login on another device (RFC 8628 section 3.2).
#[derive(Clone, Debug)]
pub struct DeviceLogin {
    /// What the issuer is asked about it with.
    pub device_code: String,
    pub user_code: String,
    pub verification_uri: String,
    pub verification_uri_complete: Option<String>,
    pub expires: Duration,
    pub interval: Duration,
}

/// Why nobody is logged in, in words without anything secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotLoggedIn {
    /// The issuer cannot be asked.
    Unavailable(String),
    /// It says no, or its token is not good.
    Refused(String),
    /// It wants to be asked less often (RFC 8628 section 3.5).
    TooFast,
}

impl Person {
    /// Under which name they are recorded.
    pub(super) fn principal(&self) -> String {
        format!("user:{}", self.subject)
    }

    fn is(&self, who: &str) -> bool {
        match who.split_once(':') {
            Some(("group", name)) => self.groups.iter().any(|group| **group == *name),
            Some(("user", name)) => *self.subject == *name,
            _ => false,
        }
    }
}

impl LoginRules {
    /// What somebody may do: each role once.
    pub(super) fn roles_of(&self, person: &Person) -> Vec<(Role, Reach)> {
        let mut roles: Vec<(Role, Reach)> = Vec::new();
        for rule in self.roles.iter().filter(|rule| person.is(&rule.who)) {
            match roles.iter_mut().find(|(role, _)| *role == rule.role) {
                Some((_, reach)) => *reach = std::mem::take(reach).and(rule.reach.clone()),
                None => roles.push((rule.role, rule.reach.clone())),
            }
        }
        roles
    }

    /// Whether a session of this person still belongs to this login.
    fn vouches_for(&self, person: &Person) -> bool {
        self.issuer == person.issuer && self.client_id == person.client_id
    }
}

/// Random text of 256 bits.
///
/// # Errors
/// The system has no random bytes.
fn random() -> Result<String, aws_lc_rs::error::Unspecified> {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// SHA-256: what is kept of what only its bearer has to know.
fn digest(text: &str) -> [u8; 32] {
    use aws_lc_rs::digest::{SHA256, digest};
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_come_from_groups_and_names_and_add_up() {
        let rule = |role, who: &str, reach| RoleRule { role, who: who.into(), reach };
        let some = |route: &str| Reach::Routes(vec![route.into()]);
        let rules = LoginRules {
            issuer: "i".into(),
            client_id: "c".into(),
            scope: "openid".into(),
            url: None,
            idle: Duration::ZERO,
            lifetime: Duration::ZERO,
            roles: vec![
                rule(Role::Viewer, "group:staff", Reach::All),
                rule(Role::Approver, "group:sre", some("b")),
                rule(Role::Approver, "user:sam", some("a")),
                rule(Role::Admin, "user:group:sre", Reach::All),
            ],
        };
        let person = |subject: &str, groups: &[&str]| Person {
            issuer: "i".into(),
            client_id: "c".into(),
            subject: subject.into(),
            name: subject.into(),
            owner: None,
            groups: groups.iter().map(|group| (*group).into()).collect(),
        };
        let both = Reach::Routes(vec!["a".into(), "b".into()]);
        let sam = rules.roles_of(&person("sam", &["sre", "staff"]));
        assert_eq!(sam, [(Role::Viewer, Reach::All), (Role::Approver, both)]);
        assert_eq!(rules.roles_of(&person("kim", &["sre"])), [(Role::Approver, some("b"))]);
        assert!(rules.roles_of(&person("x", &["user:sam"])).is_empty());
        assert!(!rules.vouches_for(&Person { issuer: "j".into(), ..person("sam", &[]) }));
    }
}

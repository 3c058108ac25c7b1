use crate::{
    audit::{Head, Subject},
    protocol,
};
use aws_lc_rs::digest;
use std::fmt;

/// Crockford's base 32, as in request ids.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// What every printed id begins with.
pub(super) const PREFIX: &str = "ses_";
/// Digits behind it: 80 bits.
const DIGITS: usize = 16;

/// The name of a session: made of issuer, subject and what the session calls itself, so that an agent cannot
/// write into another's, and so that every index of the same log gives the same names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(String);

impl SessionId {
    /// The session `name` of this caller; without an identity, of whoever names it so.
    pub fn new(subject: Option<&Subject>, name: &str) -> SessionId {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"ringward session 1");
        let (issuer, who) = subject.map_or(("", ""), |subject| (&*subject.issuer, &*subject.subject));
        for part in [issuer, who, name] {
            // Lengths stand before texts, so that no text can pass for two.
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part.as_bytes());
        }
        let bytes = context.finish();
        let mut bits = bytes.as_ref().iter().take(10).fold(0u128, |bits, byte| bits << 8 | u128::from(*byte));
        let mut text = [0; DIGITS];
        for digit in text.iter_mut().rev() {
            *digit = ALPHABET[(bits & 31) as usize];
            bits >>= 5;
        }
        SessionId(PREFIX.to_owned() + &String::from_utf8_lossy(&text))
    }

    /// `ses_` and 16 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where the name of a session is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedBy {
    /// A header of the client: a claim, good within one subject only.
    Client,
    /// The `jti` of the token.
    Token,
    /// The connection: there was nothing else.
    Connection,
}

impl NamedBy {
    /// Where the session `name` of this exchange has its name from.
    pub fn of(name: &str, subject: Option<&Subject>, head: &Head) -> NamedBy {
        if protocol::session_id(&head.headers) == Some(name) {
            NamedBy::Client
        } else if subject.and_then(|subject| subject.token.as_deref()) == Some(name) {
            NamedBy::Token
        } else {
            NamedBy::Connection
        }
    }

    /// `client`, `token` or `connection`.
    pub fn as_str(self) -> &'static str {
        match self {
            NamedBy::Client => "client",
            NamedBy::Token => "token",
            NamedBy::Connection => "connection",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{audit::samples, http::Headers};

    #[test]
    fn a_session_belongs_to_its_caller() {
        let subject = samples::subject();
        let other = Subject { subject: "agent-8".into(), ..(*subject).clone() };
        let id = SessionId::new(Some(&subject), "s-1");
        assert_eq!(id, SessionId::new(Some(&subject), "s-1"));
        assert_eq!(id.as_str().len(), PREFIX.len() + DIGITS);
        let others = [
            SessionId::new(Some(&other), "s-1"),
            SessionId::new(Some(&subject), "s-2"),
            SessionId::new(None, "s-1"),
            // The same texts, cut elsewhere.
            SessionId::new(Some(&Subject { subject: "agent-7s".into(), ..(*subject).clone() }), "-1"),
        ];
        assert!(others.iter().all(|other| *other != id), "{others:?}");
    }

    #[test]
    fn where_a_name_is_from_is_told_from_the_record() {
        let subject = Subject { token: Some("jti-1".into()), ..(*samples::subject()).clone() };
        let mut headers = Headers::new();
        headers.append("x-session-id", b"mine");
        let head = Head { headers, ..Head::default() };
        let by = |name| NamedBy::of(name, Some(&subject), &head).as_str();
        assert_eq!(["mine", "jti-1", "connection:req_0"].map(by), ["client", "token", "connection"]);
    }
}

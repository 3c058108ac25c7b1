//! Keyed tokens: the same value gives the same token within a session, and nobody who lacks the key can tell
//! which value it was, nor whether two sessions met the same.
//!
//! A token is the first 96 bits of HMAC-SHA-256 (RFC 2104) under a key of the session, which comes from a key
//! of the process. A session gets so many different tokens an hour: whoever could ask for any number could
//! try out all values of a small set (card numbers, say) and compare.

use crate::limits::{MASK_TOKEN_SESSIONS_MAX, MASK_TOKENS_MAX};
use aws_lc_rs::hmac;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of a token: 96 bits.
const TOKEN_BYTES: usize = 12;

/// What all sessions were given.
pub struct TokenBook {
    master: hmac::Key,
    sessions: Mutex<BTreeMap<Box<str>, Arc<Mutex<Issued>>>>,
}

/// The tokens of one session in one hour, by their first bytes.
#[derive(Debug, Default)]
struct Issued {
    hour: u64,
    tokens: BTreeSet<u64>,
}

impl fmt::Debug for TokenBook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenBook")
    }
}

impl TokenBook {
    /// A book under a key that is drawn for this process.
    pub fn new(key: [u8; 32]) -> TokenBook {
        TokenBook { master: hmac::Key::new(hmac::HMAC_SHA256, &key), sessions: Mutex::default() }
    }

    /// The tokens of a session, in the hour of `unix_seconds`.
    pub fn session(&self, session: &str, unix_seconds: u64) -> SessionTokens {
        let key = hmac::sign(&self.master, session.as_bytes());
        let hour = unix_seconds / 3600;
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.len() >= MASK_TOKEN_SESSIONS_MAX && !sessions.contains_key(session) {
            sessions.retain(|_, issued| issued.lock().is_ok_and(|issued| issued.hour >= hour));
            if sessions.len() >= MASK_TOKEN_SESSIONS_MAX {
                sessions.pop_first();
            }
        }
        let issued = sessions.entry(session.into()).or_default().clone();
        SessionTokens { key: hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()), issued, hour }
    }
}

/// What one exchange needs to write tokens.
#[derive(Clone)]
pub struct SessionTokens {
    key: hmac::Key,
    issued: Arc<Mutex<Issued>>,
    hour: u64,
}

impl fmt::Debug for SessionTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionTokens")
    }
}

impl SessionTokens {
    /// Begins a token.
    pub fn begin(&self) -> Token {
        Token { digest: hmac::Context::with_key(&self.key), of: self.clone() }
    }

    /// Whether the session may have this token: it has it already, or not yet too many.
    fn admits(&self, token: u64) -> bool {
        let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        if issued.hour < self.hour {
            *issued = Issued { hour: self.hour, tokens: BTreeSet::new() };
        }
        issued.tokens.contains(&token)
            || (issued.tokens.len() < MASK_TOKENS_MAX && issued.tokens.insert(token))
    }
}

/// A token that is being made, of a value that comes in pieces.
#[derive(Clone)]
pub struct Token {
    digest: hmac::Context,
    of: SessionTokens,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// Adds a piece of the value.
    pub fn add(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
    }

    /// The token in hexadecimal digits; `None` if the session has had too many different ones.
    pub fn finish(&self) -> Option<String> {
        let tag = self.digest.clone().sign();
        let token = tag.as_ref().get(..TOKEN_BYTES)?;
        let first = token.first_chunk().map(|first| u64::from_be_bytes(*first))?;
        let hex =
            |byte: &u8| [byte >> 4, byte & 15].map(|digit| char::from(b"0123456789abcdef"[digit as usize]));
        self.of.admits(first).then(|| token.iter().flat_map(hex).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(tokens: &SessionTokens, value: &str) -> Option<String> {
        let mut token = tokens.begin();
        value.as_bytes().chunks(3).for_each(|piece| token.add(piece));
        token.finish()
    }

    #[test]
    fn a_value_has_one_token_in_a_session_and_another_in_the_next() {
        let book = TokenBook::new([7; 32]);
        let (one, again, other) = (book.session("a", 0), book.session("a", 3599), book.session("b", 0));
        let of_one = token(&one, "bob@example.com");
        assert_eq!(of_one.as_ref().map(String::len), Some(24));
        assert_eq!(of_one, token(&again, "bob@example.com"));
        assert_ne!(of_one, token(&one, "eve@example.com"));
        assert_ne!(of_one, token(&other, "bob@example.com"));
        assert_ne!(of_one, token(&TokenBook::new([8; 32]).session("a", 0), "bob@example.com"));
    }

    #[test]
    fn a_session_gets_so_many_tokens_an_hour() {
        let book = TokenBook::new([7; 32]);
        let session = book.session("a", 0);
        let given =
            (0..MASK_TOKENS_MAX + 5).filter(|one| token(&session, &one.to_string()).is_some()).count();
        assert_eq!(given, MASK_TOKENS_MAX);
        assert!(token(&session, "0").is_some(), "what it has it keeps");
        assert!(token(&session, "new").is_none());
        assert!(token(&book.session("a", 3600), "new").is_some(), "in the next hour");
    }

    #[test]
    fn sessions_are_bounded() {
        let book = TokenBook::new([7; 32]);
        (0..MASK_TOKEN_SESSIONS_MAX + 50).for_each(|one| drop(book.session(&one.to_string(), one as u64)));
        assert!(book.sessions.lock().unwrap().len() <= MASK_TOKEN_SESSIONS_MAX);
    }
}

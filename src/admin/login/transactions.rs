//! Logins under way: what was sent with a browser to the issuer, until it comes back.

use super::{digest, random};
use crate::{
    limits::{LOGIN_TIMEOUT, LOGINS_MAX, LOGINS_PER_ADDRESS},
    time::Timestamp,
};
use aws_lc_rs::error::Unspecified;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use std::{
    collections::VecDeque,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};
use subtle::ConstantTimeEq;

/// All of them, the oldest first.
#[derive(Debug, Default)]
pub(in crate::admin) struct Transactions(Mutex<VecDeque<Transaction>>);

/// One login.
#[derive(Debug)]
pub(super) struct Transaction {
    state: String,
    /// Digest of what only the browser has that began.
    binding: [u8; 32],
    began: Timestamp,
    from: Option<IpAddr>,
    pub nonce: String,
    /// RFC 7636 section 4.1.
    pub verifier: String,
    pub redirect_uri: String,
    /// Where it goes on: a path of ours.
    pub then: String,
    /// The session that the browser had when it began, which ends with the login.
    pub former: Option<[u8; 32]>,
}

/// What goes to the issuer, and what stays in the browser.
#[derive(Debug)]
pub(super) struct Begun {
    pub state: String,
    pub nonce: String,
    /// RFC 7636 section 4.2, method S256.
    pub challenge: String,
    pub binding: String,
}

/// Where a login begins.
#[derive(Debug)]
pub(super) struct Start {
    pub from: Option<IpAddr>,
    pub redirect_uri: String,
    pub then: String,
    pub former: Option<[u8; 32]>,
}

impl Transactions {
    /// Begins a login. There are so many at once of one address, and of all: then the oldest of them ends.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub(super) fn begin(&self, now: Timestamp, start: Start) -> Result<Begun, Unspecified> {
        let (state, nonce, verifier, binding) = (random()?, random()?, random()?, random()?);
        let challenge = URL_SAFE_NO_PAD.encode(digest(&verifier));
        let begun = Begun { state: state.clone(), nonce: nonce.clone(), challenge, binding };
        let mut all = self.lock();
        all.retain(|one| !one.is_over(now));
        let own = |one: &Transaction| one.from == start.from;
        if all.iter().filter(|one| own(one)).count() >= LOGINS_PER_ADDRESS
            && let Some(oldest) = all.iter().position(own)
        {
            all.remove(oldest);
        }
        if all.len() >= LOGINS_MAX {
            all.pop_front();
        }
        let Start { from, redirect_uri, then, former } = start;
        let binding = digest(&begun.binding);
        all.push_back(Transaction {
            state,
            binding,
            began: now,
            from,
            nonce,
            verifier,
            redirect_uri,
            then,
            former,
        });
        Ok(begun)
    }

    /// Takes the login of this state out, once, for the browser that began it. Whoever has only one of both
    /// does not end it either.
    pub(super) fn take(&self, now: Timestamp, state: &str, binding: &str) -> Option<Transaction> {
        let binding = digest(binding);
        let mut all = self.lock();
        all.retain(|one| !one.is_over(now));
        let is_it = |one: &Transaction| {
            bool::from(one.state.as_bytes().ct_eq(state.as_bytes()) & one.binding.ct_eq(&binding))
        };
        let index = all.iter().position(is_it)?;
        all.remove(index)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Transaction>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transaction {
    fn is_over(&self, now: Timestamp) -> bool {
        now.0.saturating_sub(self.began.0) >= LOGIN_TIMEOUT.as_micros() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(from: u8, then: &str) -> Start {
        let from = Some(IpAddr::from([192, 0, 2, from]));
        Start { from, redirect_uri: "https://gw/auth/callback".into(), then: then.into(), former: None }
    }

    #[test]
    fn a_login_ends_once_in_the_browser_where_it_began() {
        let all = Transactions::default();
        let first = all.begin(Timestamp(0), start(1, "/a")).unwrap();
        let second = all.begin(Timestamp(0), start(1, "/b")).unwrap();
        let now = Timestamp(LOGIN_TIMEOUT.as_micros() as u64 - 1);
        assert!(all.take(now, &first.state, &second.binding).is_none(), "another browser");
        assert!(all.take(now, "guessed", &first.binding).is_none());
        let taken = all.take(now, &first.state, &first.binding).unwrap();
        assert_eq!((taken.then.as_str(), &taken.nonce), ("/a", &first.nonce));
        // RFC 7636 section 4.6.
        assert_eq!(URL_SAFE_NO_PAD.encode(digest(&taken.verifier)), first.challenge);
        assert!(all.take(now, &first.state, &first.binding).is_none(), "replayed");
        assert!(all.take(Timestamp(now.0 + 1), &second.state, &second.binding).is_none(), "too late");
        let texts = [&first.state, &first.nonce, &first.challenge, &first.binding, &taken.verifier];
        assert!(texts.iter().all(|text| text.len() == 43), "256 bits each");
    }

    #[test]
    fn nobody_ends_the_logins_of_others_by_beginning_many() {
        let all = Transactions::default();
        let victim = all.begin(Timestamp(0), start(1, "/")).unwrap();
        for _ in 0..2 * LOGINS_PER_ADDRESS {
            all.begin(Timestamp(1), start(2, "/")).unwrap();
        }
        assert_eq!(all.lock().len(), LOGINS_PER_ADDRESS + 1);
        assert!(all.take(Timestamp(1), &victim.state, &victim.binding).is_some());
        for index in 0..LOGINS_MAX {
            all.begin(Timestamp(1), start((index % 250) as u8, "/")).unwrap();
        }
        assert_eq!(all.lock().len(), LOGINS_MAX);
    }
}

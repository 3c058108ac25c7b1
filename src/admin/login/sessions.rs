//! Who is logged in.

use super::{LoginRules, Person, digest};
use crate::{
    limits::{LOGIN_SESSIONS_MAX, LOGIN_SESSIONS_PER_PERSON},
    time::Timestamp,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// All sessions of this process. What opens one is kept nowhere, only its digest: 256 random bits.
#[derive(Debug, Default)]
pub(in crate::admin) struct Sessions(Mutex<BTreeMap<[u8; 32], Session>>);

#[derive(Debug)]
struct Session {
    person: Arc<Person>,
    ends: Timestamp,
    seen: Timestamp,
    /// What may open it.
    by: By,
}

/// How a session is opened: a cookie is no bearer token, and the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::admin) enum By {
    Cookie,
    Bearer,
}

/// A session as a request uses it.
#[derive(Clone, Debug)]
pub(in crate::admin) struct Visit {
    pub person: Arc<Person>,
    /// When it ends at the latest.
    pub ends: Timestamp,
    pub digest: [u8; 32],
}

impl Sessions {
    /// Opens a session for whoever has `secret`, which nobody had before; gives when it ends: `until`, where
    /// another one has let it in, for nobody has proven more than that one.
    pub(super) fn open(
        &self,
        now: Timestamp,
        rules: &LoginRules,
        (person, until): (Arc<Person>, Option<Timestamp>),
        by: By,
        secret: &str,
    ) -> Timestamp {
        let mut sessions = self.lock();
        sessions.retain(|_, session| session.is_open(now, rules));
        let is_own = |session: &Session| {
            (&session.person.issuer, &session.person.subject) == (&person.issuer, &person.subject)
        };
        if sessions.values().filter(|session| is_own(session)).count() >= LOGIN_SESSIONS_PER_PERSON {
            drop_idlest(&mut sessions, is_own);
        }
        if sessions.len() >= LOGIN_SESSIONS_MAX {
            drop_idlest(&mut sessions, |_| true);
        }
        let whole = later(now, rules.lifetime);
        let ends = until.map_or(whole, |until| until.min(whole));
        sessions.insert(digest(secret), Session { person, ends, seen: now, by });
        ends
    }

    /// The session of `secret`; `None` where there is none, or it has ended. `is_use` puts its idle end off.
    pub(in crate::admin) fn find(
        &self,
        now: Timestamp,
        rules: &LoginRules,
        by: By,
        secret: &str,
        is_use: bool,
    ) -> Option<Visit> {
        let digest = digest(secret);
        let mut sessions = self.lock();
        let session = sessions.get_mut(&digest)?;
        if !session.is_open(now, rules) {
            sessions.remove(&digest);
            return None;
        }
        if session.by != by {
            return None;
        }
        if is_use {
            session.seen = now;
        }
        Some(Visit { person: session.person.clone(), ends: session.ends, digest })
    }

    /// Whether a session is still open.
    pub(in crate::admin) fn is_open(&self, now: Timestamp, rules: &LoginRules, digest: &[u8; 32]) -> bool {
        self.lock().get(digest).is_some_and(|session| session.is_open(now, rules))
    }

    /// Ends a session.
    pub(super) fn close(&self, digest: &[u8; 32]) {
        self.lock().remove(digest);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<[u8; 32], Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn is_open(&self, now: Timestamp, rules: &LoginRules) -> bool {
        // A shorter time that was configured meanwhile is not looked at for the end: it was promised.
        now < self.ends && now < later(self.seen, rules.idle) && rules.vouches_for(&self.person)
    }
}

/// Ends the one of these that was used the longest time ago.
fn drop_idlest(sessions: &mut BTreeMap<[u8; 32], Session>, is_meant: impl Fn(&Session) -> bool) {
    let meant = sessions.iter().filter(|(_, session)| is_meant(session));
    let idlest = meant.min_by_key(|(_, session)| session.seen).map(|(digest, _)| *digest);
    if let Some(idlest) = idlest {
        sessions.remove(&idlest);
    }
}

fn later(at: Timestamp, by: Duration) -> Timestamp {
    Timestamp(at.0.saturating_add(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: u64 = 60_000_000;

    fn rules() -> LoginRules {
        LoginRules {
            issuer: "i".into(),
            client_id: "c".into(),
            scope: "openid".into(),
            url: None,
            idle: Duration::from_micros(IDLE),
            lifetime: Duration::from_micros(10 * IDLE),
            roles: Vec::new(),
        }
    }

    fn person(subject: &str) -> Arc<Person> {
        Arc::new(Person {
            issuer: "i".into(),
            client_id: "c".into(),
            subject: subject.into(),
            name: subject.into(),
            owner: None,
            groups: Vec::new(),
        })
    }

    fn find(sessions: &Sessions, at: u64, secret: &str, is_use: bool) -> bool {
        sessions.find(Timestamp(at), &rules(), By::Cookie, secret, is_use).is_some()
    }

    #[test]
    fn a_session_ends_when_it_is_idle_and_in_any_case() {
        let sessions = Sessions::default();
        sessions.open(Timestamp(0), &rules(), (person("sam"), None), By::Cookie, "s");
        assert!(!find(&sessions, 1, "t", true), "another secret");
        assert!(
            sessions.find(Timestamp(1), &rules(), By::Bearer, "s", true).is_none(),
            "a cookie is no token"
        );
        for at in [IDLE - 1, 2 * IDLE - 2, 3 * IDLE - 3] {
            assert!(find(&sessions, at, "s", true), "{at}");
        }
        assert!(find(&sessions, 4 * IDLE - 4, "s", false), "looked at");
        assert!(!find(&sessions, 4 * IDLE - 3, "s", true), "that was no use");
        sessions.open(Timestamp(0), &rules(), (person("sam"), None), By::Cookie, "u");
        for step in 1..20 {
            let at = step * IDLE / 2;
            assert_eq!(find(&sessions, at, "u", true), at < 10 * IDLE, "{at}");
        }
        assert!(!find(&sessions, 10 * IDLE, "u", true));
    }

    #[test]
    fn a_login_with_another_issuer_or_client_opens_nothing() {
        let sessions = Sessions::default();
        sessions.open(Timestamp(0), &rules(), (person("sam"), None), By::Cookie, "s");
        let other = LoginRules { client_id: "d".into(), ..rules() };
        assert!(sessions.find(Timestamp(1), &other, By::Cookie, "s", true).is_none());
        assert!(!find(&sessions, 1, "s", true), "it has ended by that");
    }

    #[test]
    fn the_number_of_sessions_is_bounded() {
        let sessions = Sessions::default();
        for index in 0..=LOGIN_SESSIONS_PER_PERSON as u64 {
            sessions.open(
                Timestamp(index),
                &rules(),
                (person("sam"), None),
                By::Cookie,
                &format!("s{index}"),
            );
        }
        assert!(!find(&sessions, 99, "s0", true) && find(&sessions, 99, "s1", true));
        for index in 0..LOGIN_SESSIONS_MAX as u64 {
            sessions.open(
                Timestamp(100 + index),
                &rules(),
                (person(&index.to_string()), None),
                By::Cookie,
                &format!("t{index}"),
            );
        }
        assert_eq!(sessions.lock().len(), LOGIN_SESSIONS_MAX);
        assert!(!find(&sessions, 9_999, "s2", true), "the idlest went");
        assert!(find(&sessions, 9_999, "t1", true));
        let digest = digest("t1");
        sessions.close(&digest);
        assert!(
            !find(&sessions, 9_999, "t1", true) && !sessions.is_open(Timestamp(9_999), &rules(), &digest)
        );
    }
}

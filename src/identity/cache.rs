use super::{
    issuer::Issuer,
    keys::Key,
    principal::{Principal, TokenId},
};
use crate::{
    limits,
    time::{Instant, Now, Timestamp},
};
use aws_lc_rs::hmac;
use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hash, Hasher},
    sync::Arc,
};

/// HMAC-SHA-256 of a token's bytes under the journal's key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// The half of it that names the token in records.
    pub fn token_id(&self) -> TokenId {
        let mut half = [0; 16];
        half.copy_from_slice(&self.0[..16]);
        TokenId(half)
    }
}

/// Tokens that were verified, so that a signature is checked once and not per request (SECURITY R32).
///
/// One a shard. An entry is found by the digest of the whole token and the issuer's settings, so that the
/// audience and every other rule of the route's issuer hold again after a reload and on every route. It ends
/// with the token, after 5 minutes, or when the key that verified it is no longer published, whichever comes
/// first. When the cache is full the entry goes that was not used for the longest time, approximately (second
/// chance). Nothing is ever learnt about tokens that failed.
pub struct TokenCache {
    key: hmac::Key,
    index: HashMap<EntryKey, usize, BuildHasherDefault<Passed>>,
    entries: Vec<Entry>,
    /// Where the search for a victim goes on.
    hand: usize,
    capacity: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct EntryKey {
    digest: TokenDigest,
    issuer: u64,
}

struct Entry {
    key: EntryKey,
    principal: Arc<Principal>,
    /// End of the token, clock skew included.
    until: Timestamp,
    /// End of the trust in the signature.
    trusted_until: Instant,
    /// The key that verified it.
    thumbprint: [u8; 16],
    /// The key set in which that key was last seen.
    generation: u64,
    used: bool,
}

impl Hash for EntryKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut first = [0; 8];
        first.copy_from_slice(&self.digest.0[..8]);
        state.write_u64(u64::from_le_bytes(first) ^ self.issuer);
    }
}

/// Hands on what is a keyed hash already: callers cannot choose it.
#[derive(Default)]
struct Passed(u64);

impl Hasher for Passed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |sum, byte| sum.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

impl TokenCache {
    /// A cache of `TOKEN_CACHE_ENTRIES`. `key` names tokens in records, so it should be the journal's and
    /// outlive a restart.
    pub fn new(key: &[u8; 32]) -> TokenCache {
        TokenCache::with_capacity(key, limits::TOKEN_CACHE_ENTRIES)
    }

    /// A cache of `capacity` entries, at least one.
    pub fn with_capacity(key: &[u8; 32], capacity: usize) -> TokenCache {
        TokenCache {
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
            index: HashMap::default(),
            entries: Vec::new(),
            hand: 0,
            capacity: capacity.max(1),
        }
    }

    /// Number of tokens it remembers.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it remembers none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The digest of `token`.
    pub fn digest(&self, token: &str) -> TokenDigest {
        let tag = hmac::sign(&self.key, token.as_bytes());
        let mut digest = [0; 32];
        digest.copy_from_slice(tag.as_ref());
        TokenDigest(digest)
    }

    /// Whom the token was verified to be by `issuer`'s rules, if that still holds. Allocates nothing.
    pub(super) fn get(&mut self, now: Now, issuer: &Issuer, digest: &TokenDigest) -> Option<Arc<Principal>> {
        let key = EntryKey { digest: *digest, issuer: issuer.fingerprint() };
        let position = *self.index.get(&key)?;
        let entry = &mut self.entries[position];
        let keys = issuer.keys().load();
        let is_published = entry.generation == keys.generation() || keys.holds(&entry.thumbprint);
        if now.wall >= entry.until || now.instant >= entry.trusted_until || !is_published {
            self.remove(position);
            return None;
        }
        entry.generation = keys.generation();
        entry.used = true;
        Some(entry.principal.clone())
    }

    /// Remembers that `principal`'s token was verified with `key` of a key set of that `generation`.
    pub(super) fn insert(
        &mut self,
        now: Now,
        issuer: &Issuer,
        digest: TokenDigest,
        principal: Arc<Principal>,
        (key, generation): (&Key, u64),
    ) {
        let skew = issuer.settings().clock_skew.as_micros() as u64;
        let entry = Entry {
            key: EntryKey { digest, issuer: issuer.fingerprint() },
            until: Timestamp(principal.expires.0.saturating_add(skew)),
            trusted_until: now.instant + limits::TOKEN_CACHE_LIFE,
            principal,
            thumbprint: *key.thumbprint(),
            generation,
            used: false,
        };
        if let Some(position) = self.index.get(&entry.key) {
            self.entries[*position] = entry;
        } else if self.entries.len() < self.capacity {
            self.index.insert(entry.key, self.entries.len());
            self.entries.push(entry);
        } else {
            let position = self.victim();
            self.index.remove(&self.entries[position].key);
            self.index.insert(entry.key, position);
            self.entries[position] = entry;
        }
    }

    /// Position of the next entry that was not used since the hand last passed it.
    fn victim(&mut self) -> usize {
        loop {
            self.hand = (self.hand + 1) % self.entries.len();
            let entry = &mut self.entries[self.hand];
            if !std::mem::take(&mut entry.used) {
                return self.hand;
            }
        }
    }

    fn remove(&mut self, position: usize) {
        let removed = self.entries.swap_remove(position);
        self.index.remove(&removed.key);
        if let Some(moved) = self.entries.get(position) {
            self.index.insert(moved.key, position);
        }
    }
}

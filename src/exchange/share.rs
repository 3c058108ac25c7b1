//! Whose records wait for the journal: each agent may fill only its share of a shard's queue, so that one
//! that floods it makes nobody else wait (SECURITY R44).

use crate::{
    audit::{Kind, Record},
    identity::Principal,
    limits::{REFUSAL_BURST, SHARE_RECORDS_MIN, SHARES_MAX},
    time::Instant,
};
use std::{
    cmp::Ordering,
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

/// Who is held to one share: a proven subject of one issuer, whatever its tokens; else an address.
#[derive(Clone, Debug)]
pub enum Party {
    Subject(Arc<Principal>),
    Address(IpAddr),
}

impl Party {
    /// Whoever calls from `peer` and proved nothing.
    pub fn address(peer: IpAddr) -> Party {
        Party::Address(network(peer))
    }

    fn key(&self) -> (Option<IpAddr>, &str, &str) {
        match self {
            Party::Subject(principal) => (None, &principal.subject, &principal.issuer),
            Party::Address(address) => (Some(*address), "", ""),
        }
    }
}

impl PartialEq for Party {
    fn eq(&self, other: &Party) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Party {}

impl PartialOrd for Party {
    fn partial_cmp(&self, other: &Party) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Party {
    fn cmp(&self, other: &Party) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// What counts as one address: with IPv6 a host may choose within its /64 (RFC 4291 section 2.5.4).
pub fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            let bits = address.to_bits() >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from_bits(bits))
        }
        address => address,
    }
}

/// Names a share of one shard: an index below [`SHARES_MAX`]. The default one is common to all who found no
/// share of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShareId(pub u32);

/// What one party has in a shard's queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Records that are not written yet.
    pub queued: usize,
    /// Exchanges whose OUTCOME has its room promised.
    pub open: usize,
    /// Memory of the bodies in those records.
    pub bytes: usize,
}

impl Held {
    /// Whether it has nothing there.
    pub fn is_empty(&self) -> bool {
        *self == Held::default()
    }
}

/// What records want of the queue, all together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    records: usize,
    has_body: bool,
    /// One is an INTENT, which promises room to its OUTCOME.
    admits: bool,
    /// It is an OUTCOME, whose room was promised.
    ends: bool,
}

impl Demand {
    /// What `records` want.
    pub fn of<'a>(records: impl IntoIterator<Item = &'a Record>) -> Demand {
        let mut demand = Demand { records: 0, has_body: false, admits: false, ends: false };
        for record in records {
            demand.records += 1;
            match record.kind() {
                Kind::Content => demand.has_body = true,
                Kind::Intent => demand.admits = true,
                Kind::Outcome => demand.ends = true,
                _ => {}
            }
        }
        demand
    }

    /// Whether an exchange begins with them.
    pub fn admits(&self) -> bool {
        self.admits
    }

    /// Whether there are bodies among them.
    pub fn has_body(&self) -> bool {
        self.has_body
    }
}

/// How much of a shard's queue one party may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Records and promised places together.
    records: usize,
    /// Memory of bodies: more is taken only from who is below.
    bytes: usize,
}

impl Share {
    /// `percent` of a queue of so many records and bytes.
    pub fn of(percent: u8, records: usize, bytes: usize) -> Share {
        let part =
            |whole: usize| whole / 100 * usize::from(percent) + whole % 100 * usize::from(percent) / 100;
        Share { records: part(records).max(SHARE_RECORDS_MIN), bytes: part(bytes).max(1) }
    }

    /// Whether a party that has `held` may have `demand` too. What its open exchanges still have to say finds
    /// a quarter of the share even when all of it is promised.
    pub fn takes(&self, held: &Held, demand: &Demand) -> bool {
        if demand.ends {
            return true;
        }
        if demand.has_body && held.bytes >= self.bytes {
            return false;
        }
        let room = if demand.admits {
            self.records.saturating_sub(held.open + 1)
        } else {
            self.records.saturating_sub(held.open).max(self.records / 4)
        };
        held.queued + demand.records <= room
    }
}

/// The shares of one shard, by whose they are. They are few; one that nobody uses is given to the next.
#[derive(Debug)]
pub struct Shares {
    ids: BTreeMap<Party, ShareId>,
    entries: Vec<Entry>,
    /// Where the search for an unused one goes on.
    hand: usize,
}

#[derive(Debug)]
struct Entry {
    party: Option<Party>,
    /// Exchanges, and what else refers to it.
    users: usize,
    /// REFUSALs that may be recorded one by one, in thousandths, and when that was so.
    refusals: u64,
    counted: Instant,
}

impl Entry {
    fn of(party: Option<Party>) -> Entry {
        Entry { party, users: 1, refusals: u64::MAX, counted: Instant::default() }
    }
}

/// Shares that are looked at for one that nobody uses.
const LOOKS_MAX: usize = 64;

impl Default for Shares {
    fn default() -> Shares {
        Shares { ids: BTreeMap::new(), entries: vec![Entry::of(None)], hand: 0 }
    }
}

impl Shares {
    /// The share of `party`, until [`Shares::leave`]. `is_idle` says whether a share has nothing in the
    /// queue: one that is used by nobody is taken over then.
    pub fn enter(&mut self, party: &Party, is_idle: impl Fn(ShareId) -> bool) -> ShareId {
        if let Some(id) = self.ids.get(party) {
            let id = *id;
            self.hold(id);
            return id;
        }
        let entry = Entry::of(Some(party.clone()));
        if self.entries.len() < SHARES_MAX {
            let id = ShareId(self.entries.len() as u32);
            self.entries.push(entry);
            self.ids.insert(party.clone(), id);
            return id;
        }
        for _ in 0..LOOKS_MAX {
            // The first one is common to all.
            self.hand = self.hand % (SHARES_MAX - 1) + 1;
            let id = ShareId(self.hand as u32);
            let old = &mut self.entries[self.hand];
            if old.users == 0 && is_idle(id) {
                let old = std::mem::replace(old, entry);
                old.party.map(|party| self.ids.remove(&party));
                self.ids.insert(party.clone(), id);
                return id;
            }
        }
        self.hold(ShareId::default());
        ShareId::default()
    }

    /// Something more refers to a share.
    pub fn hold(&mut self, id: ShareId) {
        if let Some(entry) = self.entries.get_mut(id.0 as usize) {
            entry.users += 1;
        }
    }

    /// Something refers to it no more.
    pub fn leave(&mut self, id: ShareId) {
        if let Some(entry) = self.entries.get_mut(id.0 as usize) {
            entry.users = entry.users.saturating_sub(1);
        }
    }

    /// Whether one more REFUSAL may be recorded by itself: `rate` a second, and [`REFUSAL_BURST`] times as
    /// many at once.
    pub fn may_refuse(&mut self, id: ShareId, now: Instant, rate: u32) -> bool {
        let Some(entry) = self.entries.get_mut(id.0 as usize) else { return false };
        let passed_ms = u64::try_from(now.since(entry.counted).as_millis()).unwrap_or(u64::MAX);
        let most = u64::from(rate) * 1_000 * REFUSAL_BURST;
        entry.refusals = entry.refusals.saturating_add(passed_ms.saturating_mul(u64::from(rate))).min(most);
        // What is less than a millisecond is counted the next time.
        if passed_ms > 0 {
            entry.counted = now;
        }
        let left = entry.refusals.checked_sub(1_000);
        entry.refusals = left.unwrap_or(entry.refusals);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn address(last: u32) -> Party {
        Party::address(IpAddr::V4((0xC000_0200 + last).into()))
    }

    fn demand(records: usize, has_body: bool, admits: bool) -> Demand {
        Demand { records, has_body, admits, ends: false }
    }

    #[test]
    fn a_party_has_its_share_and_no_more() {
        let share = Share::of(25, 8_000, 4_000);
        assert_eq!(share, Share { records: 2_000, bytes: 1_000 });
        let (intent, both, content) = (demand(1, false, true), demand(2, true, true), demand(1, true, false));
        let check = |queued, open, bytes, demand: &Demand, expected: bool| {
            let held = Held { queued, open, bytes };
            assert_eq!(share.takes(&held, demand), expected, "{held:?} {demand:?}");
        };
        check(0, 0, 0, &intent, true);
        check(1_000, 998, 0, &intent, true);
        check(1_000, 999, 0, &intent, false);
        check(998, 998, 999, &both, true);
        check(999, 999, 999, &both, false);
        check(0, 0, 1_000, &both, false);
        // Bodies are not looked at where there is none.
        check(0, 0, 1_000, &intent, true);
        check(0, 0, 1_000, &demand(1, false, false), true);
        check(999, 1_000, 999, &content, true);
        check(1_000, 1_000, 999, &content, false);
        // All is promised: what is open may still speak.
        check(499, 2_000, 0, &content, true);
        check(500, 2_000, 0, &content, false);
        check(9_999, 9_999, 9_999, &Demand { ends: true, ..content }, true);
    }

    #[test]
    fn the_smallest_share_still_admits_one_exchange_with_a_body() {
        let share = Share::of(1, 100, 10);
        assert!(share.takes(&Held::default(), &demand(2, true, true)));
        assert!(share.takes(&Held { open: SHARE_RECORDS_MIN, ..Held::default() }, &demand(1, true, false)));
    }

    #[test]
    fn an_ipv6_host_is_one_party_and_a_subject_another_one_than_its_address() {
        let address = |text: &str| Party::address(text.parse().unwrap());
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff:1"));
        assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
        assert_eq!(address("::ffff:192.0.2.1"), address("192.0.2.1"));
    }

    #[test]
    fn a_share_that_nobody_uses_is_given_away_and_who_finds_none_shares_the_common_one() {
        let mut shares = Shares::default();
        let all = SHARES_MAX as u32 - 1;
        let ids: Vec<_> = (0..all).map(|one| shares.enter(&address(one), |_| true)).collect();
        assert_eq!(ids, (1..=all).map(ShareId).collect::<Vec<_>>());
        assert_eq!(shares.enter(&address(67), |_| true), ids[67], "it has one");
        assert_eq!(shares.enter(&address(all), |_| true), ShareId::default(), "all are used");
        [67, 69, 80].iter().for_each(|one| shares.leave(ids[*one]));
        // Of the first one another exchange is open; of the next one records are under way.
        assert_eq!(shares.enter(&address(all), |id| id != ids[69]), ids[80]);
        assert_eq!(shares.enter(&address(all), |_| true), ids[80]);
        assert_eq!(shares.enter(&address(80), |_| true), ShareId::default(), "it lost its own");
    }

    #[test]
    fn refusals_have_a_rate_and_a_burst() {
        let mut shares = Shares::default();
        let id = shares.enter(&address(1), |_| true);
        let mut now = Instant(0) + Duration::from_secs(5);
        let burst = 2 * REFUSAL_BURST;
        for _ in 0..burst {
            assert!(shares.may_refuse(id, now, 2));
        }
        assert!(!shares.may_refuse(id, now, 2));
        for _ in 0..4 {
            now = now + Duration::from_millis(500);
            assert!(shares.may_refuse(id, now, 2));
            assert!(!shares.may_refuse(id, now, 2));
        }
        // Many looks within one millisecond add up to that millisecond.
        let before = now;
        let mut taken = 0;
        while now.since(before) < Duration::from_secs(1) {
            now = now + Duration::from_micros(100);
            taken += usize::from(shares.may_refuse(id, now, 2));
        }
        assert_eq!(taken, 2);
        assert!(!shares.may_refuse(id, now, 0), "none at all");
    }
}

//! Refusals in floods: those that are alike become one record that says how many it stands for, so that
//! nobody fills the log with them and none is lost silently (SECURITY R44).

use super::share::ShareId;
use crate::{
    audit::{Folded, Refusal},
    limits::{FOLD_INTERVAL, FOLDS_MAX},
    protocol::Code,
    time::Instant,
};
use std::{borrow::Cow, collections::BTreeMap};

/// Whether a refusal is recorded only together with others. `within_rate` is asked last: it counts.
///
/// What a proven subject was refused, and what a policy refused, is recorded by itself as long as the queue
/// takes it; that this queue did not take an exchange is never worth a record of its own.
pub fn is_folded(refusal: &Refusal, within_rate: impl FnOnce() -> bool) -> bool {
    if refusal.code == Code::AuditBackpressure.as_str() {
        return true;
    }
    refusal.subject.is_none() && refusal.decision.is_none() && !within_rate()
}

/// Refusals that wait to be recorded together, by share and code.
#[derive(Debug, Default)]
pub struct Folds(BTreeMap<(ShareId, Cow<'static, str>), Fold>);

#[derive(Debug)]
struct Fold {
    /// The last one, which also stands for those before it.
    last: Box<Refusal>,
    due: Instant,
}

impl Folds {
    /// Takes one in, which may itself stand for several. Returns the share that it is kept under: the common
    /// one where there are too many; `None` if something of that share and code is kept already.
    pub fn add(&mut self, share: ShareId, refusal: Box<Refusal>, now: Instant) -> Option<ShareId> {
        let mut key = (share, refusal.code.clone());
        if self.0.len() >= FOLDS_MAX && !self.0.contains_key(&key) {
            key.0 = ShareId::default();
        }
        if let Some(fold) = self.0.get_mut(&key) {
            merge(&mut fold.last, refusal);
            return None;
        }
        let share = key.0;
        self.0.insert(key, Fold { last: refusal, due: now + FOLD_INTERVAL });
        Some(share)
    }

    /// Takes out what has gathered for long enough at `now`.
    pub fn take_due(&mut self, now: Instant) -> Vec<(ShareId, Box<Refusal>)> {
        let due = self.0.extract_if(.., |_, fold| fold.due <= now);
        due.map(|((share, _), fold)| (share, fold.last)).collect()
    }

    /// How many refusals wait.
    pub fn refusals(&self) -> u64 {
        self.0.values().map(|fold| 1 + fold.last.folded.map_or(0, |folded| folded.more)).sum()
    }
}

/// `last` becomes `newer`, which stands for both. What they differ in is said of neither.
fn merge(last: &mut Refusal, mut newer: Box<Refusal>) {
    let before = last.folded.unwrap_or(Folded { more: 0, since: last.at });
    let more = before.more + 1 + newer.folded.map_or(0, |folded| folded.more);
    newer.folded = Some(Folded { more, since: before.since });
    let peer = |refusal: &Refusal| refusal.head.peer.map(|peer| peer.ip());
    if peer(last) != peer(&newer) {
        newer.head.peer = None;
    }
    let is_same = match (&last.subject, &newer.subject) {
        (Some(one), Some(other)) => (&one.issuer, &one.subject) == (&other.issuer, &other.subject),
        (one, other) => one.is_none() && other.is_none(),
    };
    if !is_same {
        newer.subject = None;
    }
    *last = *newer;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audit::{Decision, Record, samples},
        time::Timestamp,
    };

    fn refusal(at: u64, peer: &str, code: &'static str) -> Box<Refusal> {
        let Record::Refusal(mut refusal) = samples::refusal(1) else { unreachable!("a sample of that kind") };
        (refusal.at, refusal.code) = (Timestamp(at), code.into());
        refusal.head.peer = Some(peer.parse().unwrap());
        refusal
    }

    #[test]
    fn only_floods_of_the_unproven_and_of_back_pressure_are_folded() {
        let check = |change: fn(&mut Refusal), within_rate: bool, expected: bool| {
            let mut one = refusal(1, "192.0.2.1:1", "token_missing");
            change(&mut one);
            assert_eq!(is_folded(&one, || within_rate), expected, "{one:?}");
        };
        check(|_| {}, true, false);
        check(|_| {}, false, true);
        check(|one| one.subject = Some(samples::subject()), false, false);
        check(|one| one.decision = Some(Decision::default()), false, false);
        check(|one| one.code = "audit_backpressure".into(), true, true);
    }

    #[test]
    fn refusals_that_are_alike_become_one_that_says_how_many() {
        let mut folds = Folds::default();
        let (one, other) = (ShareId(1), ShareId(2));
        let start = Instant(0);
        assert_eq!(folds.add(one, refusal(10, "192.0.2.1:1", "a"), start), Some(one));
        assert_eq!(folds.add(one, refusal(11, "192.0.2.1:2", "a"), start), None);
        assert_eq!(folds.add(one, refusal(12, "192.0.2.1:3", "b"), start), Some(one));
        assert_eq!(folds.add(other, refusal(13, "192.0.2.2:1", "a"), start), Some(other));
        assert_eq!(folds.add(one, refusal(14, "192.0.2.1:4", "a"), start), None);
        assert_eq!(folds.refusals(), 5);
        assert!(folds.take_due(start).is_empty(), "they gather for a while");
        let due = folds.take_due(start + FOLD_INTERVAL);
        let folded = |at: u64, more, since| (Timestamp(at), Some(Folded { more, since: Timestamp(since) }));
        let found: Vec<_> =
            due.iter().map(|(share, one)| (*share, &*one.code, (one.at, one.folded))).collect();
        let alone = |at| (Timestamp(at), None);
        assert_eq!(found, [(one, "a", folded(14, 2, 10)), (one, "b", alone(12)), (other, "a", alone(13))]);
        assert_eq!(due[0].1.head.peer, Some("192.0.2.1:4".parse().unwrap()));
        // What could not be recorded comes back and goes on counting.
        let (share, back) = due.into_iter().next().unwrap();
        folds.add(share, back, start);
        folds.add(share, refusal(20, "192.0.2.1:9", "a"), start);
        let due = folds.take_due(start + FOLD_INTERVAL);
        assert_eq!((due[0].1.at, due[0].1.folded), folded(20, 3, 10));
    }

    #[test]
    fn too_many_kinds_share_one_and_what_they_differ_in_is_not_said() {
        let mut folds = Folds::default();
        let start = Instant(0);
        for share in 1..=FOLDS_MAX as u32 {
            assert!(folds.add(ShareId(share), refusal(1, "192.0.2.1:1", "a"), start).is_some());
        }
        let mut named = refusal(2, "192.0.2.2:1", "a");
        named.subject = Some(samples::subject());
        assert_eq!(folds.add(ShareId(9_000), named, start), Some(ShareId::default()));
        assert_eq!(folds.add(ShareId(9_001), refusal(3, "192.0.2.3:1", "a"), start), None);
        let due = folds.take_due(start + FOLD_INTERVAL);
        let (share, common) = &due[0];
        assert_eq!((*share, common.head.peer, &common.subject), (ShareId::default(), None, &None));
        assert_eq!(common.folded, Some(Folded { more: 1, since: Timestamp(2) }));
    }
}

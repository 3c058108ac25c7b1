//! What somebody who keeps the head of a log elsewhere makes of the next one: the same, further, or evidence
//! that the log was rolled back or forked.
//!
//! ```text
//!  next head ── signed by a key of the log? ── smaller ──► rolled back
//!                     │                        same size, another root ──► forked
//!                     └── larger ── proof of consistency (RFC 9162 section 2.1.4) ──► new head, or forked
//! ```

use super::{
    checkpoint::{Checkpoint, Distrust, KeyChain},
    hash::Hash,
    merkle::is_consistent,
    note::PublicKey,
    signed::StatedKey,
};
use std::sync::Arc;

/// Why a source is not to be believed any more. Whoever writes or keeps its log is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Suspicion {
    #[error("its head cannot be believed: {0}")]
    Untrusted(Distrust),
    #[error("its keys are not those that it had before: {0}")]
    Keys(Distrust),
    #[error("the log was rolled back: its head covers {seen} records, and it had signed {own}")]
    RolledBack { own: u64, seen: u64 },
    #[error("the log was forked: it had signed another tree of {0} records")]
    Forked(u64),
    #[error("the log was forked: its {seen} records do not begin with the {own} that it had signed")]
    Inconsistent { own: u64, seen: u64 },
    #[error("the {records} records of its segments are not those that it signed: a segment was changed")]
    NotInTree { records: u64 },
}

impl Suspicion {
    /// One word for it, for names of files and for programs.
    pub fn word(&self) -> &'static str {
        match self {
            Suspicion::Untrusted(_) | Suspicion::Keys(_) => "key",
            Suspicion::RolledBack { .. } => "rollback",
            Suspicion::Forked(_) | Suspicion::Inconsistent { .. } => "fork",
            Suspicion::NotInTree { .. } => "segment",
        }
    }
}

/// What a head is, compared with the one that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// The same.
    Same,
    /// The first one: it is taken as it is.
    First(Checkpoint),
    /// It covers more. That the log goes on from the kept one has to be proven.
    Further { from: u64, seen: Checkpoint },
}

/// The keys and the head of a log, as somebody keeps them who does not trust its writer.
#[derive(Clone, Debug, Default)]
pub struct Witness {
    keys: KeyChain,
    own: Option<(Checkpoint, Arc<str>)>,
}

impl Witness {
    /// Goes on from what was kept: the keys, and the head if there was one.
    ///
    /// # Errors
    /// [`Distrust`]: the head is none of these keys; who kept it is at fault.
    pub fn new(keys: KeyChain, head: Option<Arc<str>>) -> Result<Witness, Distrust> {
        let own = head.map(|note| keys.check(&note).map(|checkpoint| (checkpoint, note))).transpose()?;
        Ok(Witness { keys, own })
    }

    /// The keys of the log, as far as they are known.
    pub fn keys(&self) -> &KeyChain {
        &self.keys
    }

    /// The kept head, and its note.
    pub fn own(&self) -> Option<(&Checkpoint, &Arc<str>)> {
        self.own.as_ref().map(|(checkpoint, note)| (checkpoint, note))
    }

    /// Takes the keys that the log states now, and gives those that are new. They are the known ones and
    /// what these have signed; `pinned` is among them.
    ///
    /// # Errors
    /// [`Suspicion::Keys`]: they are others; nothing was taken.
    pub fn learn(
        &mut self,
        stated: &[StatedKey],
        pinned: Option<&PublicKey>,
    ) -> Result<Vec<PublicKey>, Suspicion> {
        let chain = KeyChain::of(stated).map_err(Suspicion::Keys)?;
        let known = self.keys.keys().count();
        let is_longer = chain.keys().count() >= known;
        let is_kept = self.keys.keys().zip(chain.keys()).all(|(known, stated)| known == stated);
        if !is_longer || !is_kept || pinned.is_some_and(|key| !chain.contains(key)) {
            return Err(Suspicion::Keys(Distrust::OtherKey));
        }
        let new = chain.keys().skip(known).map(|(_, key)| key.clone()).collect();
        self.keys = chain;
        Ok(new)
    }

    /// What the next head is.
    ///
    /// # Errors
    /// [`Suspicion`]: it contradicts the kept one, or no known key has signed it.
    pub fn look(&self, note: &str) -> Result<Sight, Suspicion> {
        let seen = self.keys.check(note).map_err(Suspicion::Untrusted)?;
        let Some((own, _)) = &self.own else { return Ok(Sight::First(seen)) };
        if seen.size < own.size {
            return Err(Suspicion::RolledBack { own: own.size, seen: seen.size });
        }
        if seen.size > own.size {
            return Ok(Sight::Further { from: own.size, seen });
        }
        if seen.root == own.root { Ok(Sight::Same) } else { Err(Suspicion::Forked(own.size)) }
    }

    /// Keeps the next head. `path` proves that it goes on from the kept one; nothing for the first one.
    ///
    /// # Errors
    /// [`Suspicion`]: it does not; the kept head stays.
    pub fn accept(&mut self, note: &str, path: &[Hash]) -> Result<(), Suspicion> {
        match self.look(note)? {
            Sight::Same => Ok(()),
            Sight::First(seen) => {
                self.own = Some((seen, note.into()));
                Ok(())
            }
            Sight::Further { from, seen } => {
                let own = self.own.as_ref().map(|(own, _)| own.root).unwrap_or_default();
                if !is_consistent(from, &own, seen.size, &seen.root, path) {
                    return Err(Suspicion::Inconsistent { own: from, seen: seen.size });
                }
                self.own = Some((seen, note.into()));
                Ok(())
            }
        }
    }

    /// Keeps the next head where the source cannot prove it from the kept one: `size` records with this root
    /// were read and hold the kept head, and `path` proves that the next one goes on from them.
    ///
    /// # Errors
    /// As [`Witness::accept`].
    pub fn accept_from(
        &mut self,
        note: &str,
        size: u64,
        root: &Hash,
        path: &[Hash],
    ) -> Result<(), Suspicion> {
        if let Sight::Further { from, seen } = self.look(note)? {
            if size < from || !is_consistent(size, root, seen.size, &seen.root, path) {
                return Err(Suspicion::Inconsistent { own: size, seen: seen.size });
            }
            self.own = Some((seen, note.into()));
        }
        Ok(())
    }

    /// Keeps the next head although nobody can prove it: its segments are encrypted to others. It is signed,
    /// and covers more than the kept one.
    ///
    /// # Errors
    /// As [`Witness::look`].
    pub fn accept_unproven(&mut self, note: &str) -> Result<(), Suspicion> {
        if let Sight::First(seen) | Sight::Further { seen, .. } = self.look(note)? {
            self.own = Some((seen, note.into()));
        }
        Ok(())
    }

    /// Whether the first `size` records with this root are the beginning of what the kept head covers.
    ///
    /// # Errors
    /// [`Suspicion::NotInTree`].
    pub fn holds(&self, size: u64, root: &Hash, path: &[Hash]) -> Result<(), Suspicion> {
        let proves = |own: &Checkpoint| is_consistent(size, root, own.size, &own.root, path);
        match &self.own {
            Some((own, _)) if proves(own) => Ok(()),
            _ => Err(Suspicion::NotInTree { records: size }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{
        KeyStatement, NoteError,
        merkle::{Frontier, Prover},
        samples::{first_statement, signing_key},
    };

    /// A log of records that are nothing but numbers; from `fork` on they are others.
    struct Tree {
        leaves: Vec<Hash>,
    }

    impl Tree {
        fn new(records: u64, fork: u64) -> Tree {
            let leaf = |number: u64| {
                let mut leaf = [0; 32];
                leaf[..8].copy_from_slice(&number.to_be_bytes());
                leaf[8] = u8::from(number >= fork);
                leaf
            };
            Tree { leaves: (0..records).map(leaf).collect() }
        }

        fn root(&self, size: u64) -> Hash {
            let mut tree = Frontier::default();
            self.leaves.iter().take(size as usize).for_each(|leaf| tree.push(*leaf));
            tree.root()
        }

        /// The head of the first `size` records, signed by the key of that number.
        fn head(&self, size: u64, key: u8) -> String {
            let key = signing_key(1, key);
            let origin = key.public().name().to_owned();
            Checkpoint { origin, size, root: self.root(size) }.sign(&key)
        }

        fn proof(&self, from: u64, to: u64) -> Vec<Hash> {
            let mut prover = Prover::consistency(from, to).unwrap();
            self.leaves.iter().take(to as usize).for_each(|leaf| prover.push(*leaf));
            prover.finish().unwrap()
        }
    }

    fn stated(keys: u8) -> Vec<StatedKey> {
        let statement = |number: u8| match number {
            1 => first_statement(1),
            _ => KeyStatement::sign(number.into(), &signing_key(1, number), &signing_key(1, number - 1)),
        };
        (1..=keys)
            .map(|number| StatedKey { note: statement(number).into(), since: u64::from(number - 1) * 50 + 2 })
            .collect()
    }

    /// Whoever keeps the head of the first `size` records.
    fn witness(tree: &Tree, size: u64) -> Witness {
        let keys = KeyChain::of(&stated(1)).unwrap();
        Witness::new(keys, Some(tree.head(size, 1).into())).unwrap()
    }

    #[test]
    fn a_log_that_goes_on_is_followed_and_one_that_does_not_is_found() {
        let tree = Tree::new(40, u64::MAX);
        for (size, fork, expected) in [
            (20, u64::MAX, Ok(())),
            (21, u64::MAX, Ok(())),
            (40, u64::MAX, Ok(())),
            (40, 20, Ok(())),
            (19, u64::MAX, Err(Suspicion::RolledBack { own: 20, seen: 19 })),
            (3, u64::MAX, Err(Suspicion::RolledBack { own: 20, seen: 3 })),
            (20, 19, Err(Suspicion::Forked(20))),
            (21, 19, Err(Suspicion::Inconsistent { own: 20, seen: 21 })),
            (40, 0, Err(Suspicion::Inconsistent { own: 20, seen: 40 })),
        ] {
            let mut witness = witness(&tree, 20);
            let before = witness.own().unwrap().1.clone();
            let other = Tree::new(40, fork);
            let path = if size > 20 { other.proof(20, size) } else { Vec::new() };
            let note = other.head(size, 1);
            assert_eq!(witness.accept(&note, &path), expected, "{size} {fork}");
            let kept = witness.own().unwrap().1;
            assert_eq!(**kept, if expected.is_ok() { note } else { before.to_string() });
        }
    }

    #[test]
    fn without_its_proof_no_head_is_kept() {
        let tree = Tree::new(40, u64::MAX);
        let mut witness = witness(&tree, 20);
        let inconsistent = Err(Suspicion::Inconsistent { own: 20, seen: 40 });
        assert_eq!(witness.accept(&tree.head(40, 1), &[]), inconsistent);
        assert_eq!(witness.accept(&tree.head(40, 1), &tree.proof(21, 40)), inconsistent);
        assert_eq!(witness.accept(&tree.head(40, 1), &tree.proof(20, 40)), Ok(()));
    }

    #[test]
    fn what_the_source_cannot_prove_is_proven_from_what_was_read() {
        let tree = Tree::new(40, u64::MAX);
        let note = tree.head(40, 1);
        let inconsistent = |own| Err(Suspicion::Inconsistent { own, seen: 40 });
        for (size, fork, expected) in [
            (30, u64::MAX, Ok(())),
            (20, u64::MAX, Ok(())),
            (19, u64::MAX, inconsistent(19)),
            (30, 25, inconsistent(30)),
        ] {
            let read = Tree::new(40, fork);
            let found = witness(&tree, 20).accept_from(&note, size, &read.root(size), &tree.proof(size, 40));
            assert_eq!(found, expected, "{size} {fork}");
        }
        let mut blind = witness(&tree, 20);
        assert_eq!(blind.accept_unproven(&note), Ok(()));
        let smaller = blind.accept_unproven(&tree.head(39, 1));
        assert_eq!(smaller, Err(Suspicion::RolledBack { own: 40, seen: 39 }));
    }

    #[test]
    fn segments_are_those_that_were_signed_or_not() {
        let tree = Tree::new(40, u64::MAX);
        let witness = witness(&tree, 20);
        assert_eq!(witness.holds(13, &tree.root(13), &tree.proof(13, 20)), Ok(()));
        assert_eq!(witness.holds(20, &tree.root(20), &[]), Ok(()));
        let other = Tree::new(40, 5).root(13);
        let changed = witness.holds(13, &other, &tree.proof(13, 20));
        assert_eq!(changed, Err(Suspicion::NotInTree { records: 13 }));
        assert!(Witness::default().holds(1, &other, &[]).is_err());
    }

    #[test]
    fn a_new_key_is_learned_from_the_old_one_only() {
        let tree = Tree::new(60, u64::MAX);
        let mut witness = witness(&tree, 20);
        let note = tree.head(60, 2);
        let unsigned = Suspicion::Untrusted(Distrust::Note(NoteError::Unsigned));
        assert_eq!(witness.look(&note), Err(unsigned));
        assert_eq!(witness.learn(&stated(2), None), Ok(vec![signing_key(1, 2).public().clone()]));
        assert_eq!(witness.accept(&note, &tree.proof(20, 60)), Ok(()));

        let others = Err(Suspicion::Keys(Distrust::OtherKey));
        assert_eq!(witness.learn(&stated(1), None), others, "one is missing");
        let forged = KeyStatement::sign(2, &signing_key(1, 7), &signing_key(1, 1)).into();
        let forged = [stated(1), vec![StatedKey { note: forged, since: 52 }]].concat();
        assert_eq!(witness.learn(&forged, None), others, "another second key, signed by the first one");
        let foreign = [StatedKey { note: first_statement(2).into(), since: 2 }];
        assert_eq!(witness.learn(&foreign, None), others, "another log");
        assert!(matches!(witness.learn(&stated(2)[1..], None), Err(Suspicion::Keys(_))));
        assert_eq!(witness.learn(&stated(3), Some(signing_key(1, 9).public())), others, "not the pinned one");
        let pinned = signing_key(1, 1);
        assert_eq!(witness.learn(&stated(3), Some(pinned.public())).map(|new| new.len()), Ok(1));
    }

    #[test]
    fn a_kept_head_that_no_known_key_has_signed_is_refused() {
        let tree = Tree::new(60, u64::MAX);
        let keys = KeyChain::of(&stated(1)).unwrap();
        assert!(Witness::new(keys.clone(), Some(tree.head(20, 2).into())).is_err());
        assert!(Witness::new(KeyChain::default(), Some(tree.head(20, 1).into())).is_err());
        assert!(Witness::new(keys, None).unwrap().own().is_none());
    }
}

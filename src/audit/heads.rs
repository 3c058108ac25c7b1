//! The tree of a log while its records stream by, and everything that was signed, held against it.

use super::{
    checkpoint::{Checkpoint, Distrust, KeyChain},
    hash::Hash,
    merkle::Frontier,
    note::PublicKey,
    reader::Why,
    record::{Record, State},
};
use crate::limits::CHECKPOINT_LAG_RECORDS_MAX;
use std::{collections::VecDeque, sync::Arc};

/// What a log is held against beside itself. The default is nothing: then a log that was written anew from
/// its beginning, with a new key, is as good as any.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// One of the log's keys, learned elsewhere. It must be among those of the log.
    pub key: Option<PublicKey>,
    /// Checkpoints of this log that were kept elsewhere, each as a signed note. The log must go on from them.
    pub checkpoints: Vec<Arc<str>>,
    /// That these are the segments of a follower, which takes only those that are sealed.
    pub copied: Option<Copied>,
}

/// What a follower has beside its segments.
#[derive(Clone, Debug, Default)]
pub struct Copied {
    /// The newest head of its source. It may cover more than is here: that is in the segment that was being
    /// written.
    pub head: Option<Arc<str>>,
}

/// What was found of signatures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignatureReport {
    /// CHECKPOINT records.
    pub checkpoints: u64,
    /// Records, from the first one on, that the newest CHECKPOINT covers; 0 without one.
    pub signed_through: u64,
    /// The log's keys in their order.
    pub keys: Vec<PublicKey>,
    /// Root of the tree over all records.
    pub root: Hash,
    /// Records that the source of a copy had signed, where that is more than are here; else 0.
    pub source_size: u64,
}

/// The tree and the signatures up to some record.
#[derive(Clone, Debug, Default)]
pub(super) struct Heads {
    /// The tree as far as no later checkpoint looks back.
    anchor: Frontier,
    /// The leaves behind it.
    recent: VecDeque<Hash>,
    chain: KeyChain,
    /// Checkpoints kept elsewhere that were not met yet, by their size.
    kept: VecDeque<(u64, Arc<str>)>,
    trusted: Option<PublicKey>,
    /// The head of a copy's source, which may be ahead.
    source: Option<Arc<str>>,
    checkpoints: u64,
    signed_through: u64,
    /// Records in front of the first one that is here: retention took them away.
    removed: u64,
}

impl Heads {
    /// # Errors
    /// [`Distrust`]: one of the checkpoints is none.
    pub(super) fn new(trust: &Trust) -> Result<Heads, Distrust> {
        let mut kept = Vec::new();
        let source = trust.copied.as_ref().and_then(|copied| copied.head.clone());
        for note in trust.checkpoints.iter().chain(&source) {
            kept.push((Checkpoint::parse(note)?.0.size, Arc::clone(note)));
        }
        kept.sort_by_key(|(size, _)| *size);
        Ok(Heads { kept: kept.into(), trusted: trust.key.clone(), source, ..Heads::default() })
    }

    /// Goes on from the tree and the keys that a STATE names: what is before it was removed. Checkpoints kept
    /// elsewhere that cover no more than that cannot be checked any more, and are left out.
    pub(super) fn resume(&mut self, tree: &Frontier, state: &State) {
        self.anchor = tree.clone();
        self.removed = tree.size();
        self.signed_through = tree.size();
        self.kept.retain(|(size, _)| *size > tree.size());
        for key in &state.keys {
            // One that does not follow is found when the STATE is checked: then the keys are not these.
            let _ = self.chain.push(&key.note, key.since);
        }
    }

    /// Number of records so far.
    fn size(&self) -> u64 {
        self.anchor.size() + self.recent.len() as u64
    }

    /// Takes the next record's leaf hash.
    pub(super) fn push(&mut self, leaf: Hash) {
        self.recent.push_back(leaf);
        if self.recent.len() > CHECKPOINT_LAG_RECORDS_MAX
            && let Some(oldest) = self.recent.pop_front()
        {
            self.anchor.push(oldest);
        }
    }

    /// Checks what that record says of the tree, and all records against what was kept elsewhere.
    pub(super) fn check(&mut self, record: &Record) -> Result<(), Why> {
        match record {
            Record::Key(signed) => {
                self.chain.push(&signed.note, self.size()).map_err(Why::Key)?;
            }
            Record::Checkpoint(signed) => self.checkpoint(&signed.note)?,
            Record::State(state) => self.state(state)?,
            _ => {}
        }
        self.check_kept()
    }

    /// Checkpoints that cover the records so far and nothing more.
    pub(super) fn check_kept(&mut self) -> Result<(), Why> {
        while let Some((size, note)) = self.kept.front()
            && *size <= self.size()
        {
            let checkpoint = self.chain.check(note).map_err(Why::Kept)?;
            if self.root_at(*size) != Some(checkpoint.root) {
                return Err(Why::Fork(*size));
            }
            self.kept.pop_front();
        }
        Ok(())
    }

    fn checkpoint(&mut self, note: &str) -> Result<(), Why> {
        let checkpoint = self.chain.check(note).map_err(Why::Checkpoint)?;
        if self.removed > 0 && checkpoint.size <= self.removed {
            // It was signed before a segment began and recorded in that.
            return Ok(());
        }
        let is_newer = checkpoint.size > self.signed_through && checkpoint.size < self.size();
        if !is_newer || checkpoint.size < self.anchor.size() {
            return Err(Why::CheckpointSize(checkpoint.size));
        }
        while self.anchor.size() < checkpoint.size
            && let Some(leaf) = self.recent.pop_front()
        {
            self.anchor.push(leaf);
        }
        if self.anchor.root() != checkpoint.root {
            return Err(Why::Root(checkpoint.size));
        }
        self.signed_through = checkpoint.size;
        self.checkpoints += 1;
        Ok(())
    }

    fn state(&self, state: &State) -> Result<(), Why> {
        let before = self.size() - 1;
        let is_tree = state.tree.as_ref().is_none_or(|tree| self.tree_at(before).as_ref() == Some(tree));
        // Logs of before there were signatures have neither.
        let is_bare = state.tree.is_none() && state.keys.is_empty();
        if is_tree && (is_bare || self.chain.stated().eq(&state.keys)) { Ok(()) } else { Err(Why::Tree) }
    }

    fn root_at(&self, size: u64) -> Option<Hash> {
        self.tree_at(size).map(|tree| tree.root())
    }

    /// The tree of the first `size` records, as far back as the anchor.
    fn tree_at(&self, size: u64) -> Option<Frontier> {
        let leaves = usize::try_from(size.checked_sub(self.anchor.size())?).ok()?;
        let mut tree = self.anchor.clone();
        self.recent.iter().take(leaves).for_each(|leaf| tree.push(*leaf));
        (tree.size() == size).then_some(tree)
    }

    /// What is known at the end of the log.
    ///
    /// # Errors
    /// [`Why`]: it is not what it is held against.
    pub(super) fn finish(&self) -> Result<SignatureReport, Why> {
        let is_ahead = |note: &Arc<str>| self.source.as_ref() == Some(note);
        if let Some((size, _)) = self.kept.iter().rev().find(|(_, note)| !is_ahead(note)) {
            return Err(Why::Cut(*size));
        }
        if self.trusted.as_ref().is_some_and(|key| !self.chain.contains(key)) {
            return Err(Why::Key(Distrust::OtherKey));
        }
        // A log signs at least this often: what a forger appends under a key that he does not have stays
        // bare.
        let bare = self.size() - self.signed_through;
        if self.trusted.is_some() && bare > CHECKPOINT_LAG_RECORDS_MAX as u64 {
            return Err(Why::Unsigned(self.signed_through));
        }
        Ok(SignatureReport {
            checkpoints: self.checkpoints,
            signed_through: self.signed_through,
            keys: self.chain.keys().map(|(_, key)| key.clone()).collect(),
            root: self.root().1,
            source_size: self.kept.back().map_or(0, |(size, _)| *size),
        })
    }

    /// Number of records so far, and the root of their tree.
    pub(super) fn root(&self) -> (u64, Hash) {
        (self.size(), self.root_at(self.size()).unwrap_or_default())
    }

    /// Holds what comes against one more checkpoint that was kept elsewhere; one that covers less than the
    /// tree's anchor cannot be checked any more, and is left out. Returns whether it will be.
    ///
    /// # Errors
    /// [`Distrust`]: it is no checkpoint.
    pub(super) fn hold(&mut self, note: &Arc<str>) -> Result<bool, Distrust> {
        let size = Checkpoint::parse(note)?.0.size;
        if size < self.anchor.size() {
            return Ok(false);
        }
        let at = self.kept.partition_point(|(kept, _)| *kept <= size);
        self.kept.insert(at, (size, Arc::clone(note)));
        Ok(true)
    }
}

//! What was judged of conversations, so that nobody is asked again for what an agent sends again with every
//! turn, and nothing that was blocked ends a conversation.
//!
//! ```text
//!   root   = HMAC(owner, route, rules, circumstances)
//!   head 1 = HMAC(root, block 1)     head 2 = HMAC(head 1, block 2)     …
//! ```
//!
//! A head stands for a block **behind all that came before it**, said by one subject on one route under one
//! set of rules. What is kept is one head a turn that passed (its last; what is in front of it passed, too),
//! and one for each block that was blocked. What is not known has not passed: to forget costs a question,
//! never a judgement. Heads are HMACs: whoever reads the store learns nothing of what was said.
//!
//! What a caller could try:
//! - Another order, other neighbours, another speaker: other heads, all is looked at.
//! - A rule that looks at a block only under some circumstances (a header, `/max_tokens`): those are part of
//!   the root, so that what passed without being looked at has not passed where it is.
//! - The conditions of one rule, met turn by turn: where something new meets one of several, all that is
//!   said counts for the others.
//! - A value in a form that a rule's pointer does not lead to, and then in the one that it does: other heads.
//! - Changed rules, masks or upstream: their digests are part of the root.
//! - Something hidden in what heads leave out (`cache_control`): that is looked at every turn.
//! - A blocked block: it has a head of its own, and the head of every later turn names it, so that it is
//!   replaced for as long as that turn is known, and judged again when it is not.

use super::digest::{Hasher, Key};
use crate::limits::{
    CONVERSATION_CHANGES_MAX, CONVERSATION_REMOVED_MAX, CONVERSATION_TURNS_MAX,
    CONVERSATION_TURNS_PER_SUBJECT,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Mutex, OnceLock, PoisonError},
};

/// An HMAC that stands for a block and all that came before it.
pub type Head = [u8; 32];

/// What was judged of all conversations of a gateway; one for all configurations of a process.
#[derive(Debug, Default)]
pub struct Conversations {
    /// Until it is there nothing is known.
    key: OnceLock<Key>,
    known: Mutex<Known>,
}

/// Who says something, and what it is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    pub issuer: &'a str,
    pub subject: &'a str,
    /// Digests of the route and of its policies, as they are configured.
    pub route: &'a [u8; 32],
    pub rules: &'a [u8; 32],
    /// Which policies hold as far as no conversation is concerned.
    pub circumstances: &'a [u8],
}

/// One turn of a conversation, and what is known of it.
#[derive(Clone, Debug)]
pub struct Turn {
    owner: Head,
    heads: Vec<Head>,
    /// How many blocks, from the first one, have passed.
    pub passed: usize,
    /// Blocks to be replaced, and the policies that blocked them.
    pub removed: Vec<(usize, String)>,
}

/// What is known of a head.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Judged {
    /// The block and all before it passed, but for those that were replaced.
    Passed(Vec<(usize, String)>),
    /// This policy blocked the block.
    Blocked(String),
    /// A turn that ended here was refused.
    Refused,
}

/// A head with what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    pub head: Head,
    pub owner: Head,
    /// Orders them: the one that was met last has the highest.
    pub tick: u64,
    pub judged: Judged,
}

/// What is to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Keep(Remembered),
    Forget(Head),
}

#[derive(Debug, Default)]
struct Known {
    heads: BTreeMap<Head, Remembered>,
    /// Of each owner, the one that was met longest ago first.
    owners: BTreeMap<Head, BTreeSet<(u64, Head)>>,
    order: BTreeMap<u64, Head>,
    ticks: u64,
    changes: VecDeque<Change>,
}

/// Writes a block's bytes.
pub trait WriteBlock: Fn(usize, &mut dyn FnMut(&[u8])) {}

impl<T: Fn(usize, &mut dyn FnMut(&[u8]))> WriteBlock for T {}

impl Conversations {
    /// Takes up what a former process knew. Only the first call has an effect.
    pub fn open(&self, key: Key, mut remembered: Vec<Remembered>) {
        if self.key.set(key).is_err() {
            return;
        }
        remembered.sort_unstable_by_key(|one| one.tick);
        let last = remembered.last().map_or(0, |one| one.tick);
        let mut known = self.known();
        remembered.into_iter().for_each(|one| known.keep(one.owner, one.head, one.judged));
        // What is met from now on is newer than all that the store holds, by the store's own count.
        known.ticks = known.ticks.max(last);
        // What stands in the store already; but what it holds in excess is to be forgotten there.
        known.changes.retain(|change| matches!(change, Change::Forget(_)));
    }

    /// Whether anything can be remembered.
    pub fn is_open(&self) -> bool {
        self.key.get().is_some()
    }

    /// The turn of `count` blocks that `write` writes, and what is known of it; `None` while nothing can be
    /// known.
    pub fn turn(&self, setting: Setting<'_>, count: usize, write: &impl WriteBlock) -> Option<Turn> {
        let key = self.key.get()?;
        let mut owner = Hasher::new(key, "owner");
        owner.texts([setting.issuer, setting.subject]);
        let owner = owner.finish();
        let mut root = Hasher::new(key, "conversation");
        root.add(&owner);
        [&setting.route[..], setting.rules, setting.circumstances].iter().for_each(|part| root.add(part));
        let mut head = root.finish();
        let chain = |index| {
            let mut next = Hasher::new(key, "block");
            next.add(&head);
            write(index, &mut |bytes| next.update(bytes));
            head = next.finish();
            head
        };
        let mut turn = Turn { owner, heads: (0..count).map(chain).collect(), passed: 0, removed: Vec::new() };
        self.recall(key, &mut turn);
        Some(turn)
    }

    fn recall(&self, key: &Key, turn: &mut Turn) {
        let Some(last) = turn.heads.last() else { return };
        let mut known = self.known();
        let is_again = known.heads.contains_key(&refused(key, last));
        for (index, head) in turn.heads.iter().enumerate().rev() {
            if let Some(Judged::Passed(removed)) = known.meet(head) {
                (turn.passed, turn.removed) = (index + 1, removed.clone());
                break;
            }
        }
        // What was refused just so is refused again: there is nothing new to go on with.
        let behind =
            turn.heads.iter().enumerate().skip(if is_again { turn.heads.len() } else { turn.passed });
        for (index, head) in behind {
            if let Some(Judged::Blocked(policy)) = known.meet(head) {
                turn.removed.push((index, policy.clone()));
            }
        }
        if turn.removed.len() > CONVERSATION_REMOVED_MAX {
            (turn.passed, turn.removed) = (0, Vec::new());
        }
    }

    /// What is asked for in a turn: what has not passed, behind what has.
    pub fn asked(&self, turn: &Turn, write: &impl WriteBlock) -> Option<[u8; 32]> {
        let mut asked = Hasher::new(self.key.get()?, "asked");
        asked.add(turn.passed.checked_sub(1).map_or(&[][..], |last| &turn.heads[last]));
        for index in turn.passed..turn.heads.len() {
            asked.text(".");
            write(index, &mut |bytes| asked.update(bytes));
        }
        Some(asked.finish())
    }

    /// The turn was let through.
    pub fn pass(&self, turn: &Turn) {
        if let Some(last) = turn.heads.last() {
            self.known().keep(turn.owner, *last, Judged::Passed(turn.removed.clone()));
        }
    }

    /// The turn was refused by `policy` for these blocks, which can be replaced.
    pub fn refuse(&self, turn: &Turn, blocks: &[usize], policy: &str) {
        let (Some(key), Some(last)) = (self.key.get(), turn.heads.last()) else { return };
        if blocks.is_empty() || blocks.len() + turn.removed.len() > CONVERSATION_REMOVED_MAX {
            return;
        }
        let mut known = self.known();
        for head in blocks.iter().filter_map(|block| turn.heads.get(*block)) {
            known.keep(turn.owner, *head, Judged::Blocked(policy.to_owned()));
        }
        known.keep(turn.owner, refused(key, last), Judged::Refused);
    }

    /// What is to be stored since the last call.
    pub fn take_changes(&self) -> Vec<Change> {
        self.known().changes.drain(..).collect()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stands for a turn that ended at `head` and was refused.
fn refused(key: &Key, head: &Head) -> Head {
    let mut hasher = Hasher::new(key, "refused");
    hasher.add(head);
    hasher.finish()
}

impl Known {
    /// What is known of a head, which is forgotten last from now on.
    fn meet(&mut self, head: &Head) -> Option<&Judged> {
        let one = self.heads.get_mut(head)?;
        self.ticks += 1;
        let before = std::mem::replace(&mut one.tick, self.ticks);
        self.order.remove(&before);
        self.order.insert(self.ticks, *head);
        if let Some(of_owner) = self.owners.get_mut(&one.owner) {
            of_owner.remove(&(before, *head));
            of_owner.insert((self.ticks, *head));
        }
        Some(&one.judged)
    }

    fn keep(&mut self, owner: Head, head: Head, judged: Judged) {
        if self.meet(&head) == Some(&judged) {
            return;
        }
        self.ticks += 1;
        self.drop_head(&head);
        let one = Remembered { head, owner, tick: self.ticks, judged };
        self.order.insert(one.tick, head);
        let of_owner = self.owners.entry(owner).or_default();
        of_owner.insert((one.tick, head));
        let excess = if of_owner.len() > CONVERSATION_TURNS_PER_SUBJECT { of_owner.first() } else { None };
        let excess = excess.map(|(_, head)| *head);
        self.heads.insert(head, one.clone());
        self.note(Change::Keep(one));
        let of_all = || self.order.first_key_value().map(|(_, head)| *head);
        let excess =
            excess.or_else(|| if self.heads.len() > CONVERSATION_TURNS_MAX { of_all() } else { None });
        if let Some(oldest) = excess {
            self.drop_head(&oldest);
            self.note(Change::Forget(oldest));
        }
    }

    fn drop_head(&mut self, head: &Head) {
        let Some(one) = self.heads.remove(head) else { return };
        self.order.remove(&one.tick);
        if let Some(of_owner) = self.owners.get_mut(&one.owner) {
            of_owner.remove(&(one.tick, *head));
            if of_owner.is_empty() {
                self.owners.remove(&one.owner);
            }
        }
    }

    fn note(&mut self, change: Change) {
        if self.changes.len() >= CONVERSATION_CHANGES_MAX {
            self.changes.pop_front();
        }
        self.changes.push_back(change);
    }
}

#[cfg(test)]
mod tests;

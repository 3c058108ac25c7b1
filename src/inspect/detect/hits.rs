//! Stage A: where in a text a match of each family may be.
//!
//! Each predicate is a necessary condition of the family's matches, told from bitmaps of 64 bytes, at the
//! byte that completes it (the hit). What it says no to is not looked at again. Where it says yes, the starts
//! that the hit may belong to are given to the detectors, which decide. All bytes that a predicate needs
//! belong to the match, or may be missing, so that a scan may begin wherever a match may. Where more of the
//! text may come, every start is given whose predicate still lacks bytes.
//!
//! [`super::predicates`] holds them.

use super::block;
use super::class::{Class, Fingerprints};
use super::vectors::Vectors;

/// What detectors share one predicate and one order of looking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Card numbers, social security numbers, phone numbers.
    Number,
    /// IPv4 addresses.
    Ipv4,
    /// IPv6 addresses.
    Ipv6,
    /// Bank account numbers.
    Iban,
    /// E-mail addresses.
    Email,
    /// Keys with a known prefix.
    Prefix,
    /// Random strings that may be a secret beside a key word.
    Random,
    /// Custom expressions.
    Expression,
    /// Members of JSON objects by their key.
    Member,
    /// Literals, where there are few.
    Literal,
}

impl Family {
    /// All of them.
    pub const ALL: [Family; 10] = [
        Family::Number,
        Family::Ipv4,
        Family::Ipv6,
        Family::Iban,
        Family::Email,
        Family::Prefix,
        Family::Random,
        Family::Expression,
        Family::Member,
        Family::Literal,
    ];
}

/// A set of families.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Families(u16);

impl Families {
    /// With `family`.
    pub fn insert(&mut self, family: Family) {
        self.0 |= 1 << family as u8;
    }

    /// Whether `family` is one of them.
    #[inline]
    pub const fn has(self, family: Family) -> bool {
        self.0 >> family as u8 & 1 != 0
    }

    /// Whether one of them asks for the classes of bytes: others are told by bytes of their own.
    #[inline]
    pub const fn need_classes(self) -> bool {
        let others = 1 << Family::Email as u8 | 1 << Family::Expression as u8 | 1 << Family::Member as u8;
        self.0 & !others != 0
    }

    /// Each of them.
    #[inline]
    pub fn iter(self) -> impl Iterator<Item = Family> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let family = Family::ALL.get(rest.trailing_zeros() as usize)?;
            rest &= rest - 1;
            Some(*family)
        })
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// Shortest random string that is looked at.
pub const RANDOM_BYTES_MIN: usize = 12;

/// What to look for.
#[derive(Debug, Default)]
pub struct Scan {
    /// The families.
    pub families: Families,
    /// What of [`Family::Number`].
    pub numbers: Numbers,
    /// The literals that custom expressions begin with, which begin anywhere.
    pub expressions: Fingerprints,
    /// What the keys of members begin with, quote included.
    pub members: Fingerprints,
    /// What the literals of [`Family::Literal`] begin with.
    pub literals: Fingerprints,
    /// What the machine has to look with.
    pub vectors: Vectors,
}

/// Which numbers to look for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Numbers {
    /// Payment cards.
    pub card: bool,
    /// Social security numbers.
    pub ssn: bool,
    /// Phone numbers.
    pub phone: bool,
}

/// Where matches may start, ascending, by family; of addresses the places of their `@`.
#[derive(Debug, Default)]
pub struct Hits {
    lists: [Vec<u32>; Family::ALL.len()],
}

impl Hits {
    /// The starts of a family.
    #[inline]
    pub fn of(&self, family: Family) -> &[u32] {
        &self.lists[family as usize]
    }

    /// Bytes of memory that they hold.
    pub fn held_bytes(&self) -> usize {
        self.lists.iter().map(|list| list.capacity() * size_of::<u32>()).sum()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.lists.iter_mut().for_each(Vec::clear);
    }

    /// Adds the places of a bitmap that begins at byte `base`.
    #[inline]
    pub fn push(&mut self, family: Family, base: usize, mut bits: u64) {
        let list = &mut self.lists[family as usize];
        while bits != 0 {
            // Windows are far below 4 GiB.
            list.push(base as u32 + bits.trailing_zeros());
            bits &= bits - 1;
        }
    }
}

impl Scan {
    /// Replaces `hits` by those of `text` from position `from` on; `last`: no more of the text comes.
    pub fn run(&self, text: &[u8], from: usize, last: bool, hits: &mut Hits) {
        hits.clear();
        if !self.families.is_empty() && from < text.len() {
            block::scan(self, &text[from..], last, self.vectors, hits);
            if from > 0 {
                let all = hits.lists.iter_mut().flatten();
                all.for_each(|position| *position += from as u32);
            }
        }
    }
}

/// What a random string consists of; see [`super::random`].
pub const RANDOM: Class =
    Class::of(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_+/.~!@#$%^&*?-");

//! Stage A: where in a text a match of each family may be.
//!
//! Each predicate is a necessary condition of the family's matches, told from bitmaps of 64 bytes, at the
//! byte that completes it. What it says no to is not looked at again; what it says yes to, the detectors
//! decide. All bytes that a predicate needs belong to the match, or may be missing, so that a scan may begin
//! wherever a match may.
//!
//! Predicates need only the block in front: bitmaps of both are joined to 128 bits.

use super::block::{self, BLOCK_BYTES, Block, Class, Fingerprints, WINDOW_BYTES};

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
}

impl Family {
    /// All of them.
    pub const ALL: [Family; 9] = [
        Family::Number,
        Family::Ipv4,
        Family::Ipv6,
        Family::Iban,
        Family::Email,
        Family::Prefix,
        Family::Random,
        Family::Expression,
        Family::Member,
    ];

    /// How far in front of a hit the match may start.
    pub const fn reach(self) -> usize {
        match self {
            Family::Number => 16,
            Family::Ipv4 => 8,
            Family::Ipv6 => 14,
            Family::Iban => 3,
            Family::Random => RANDOM_BYTES_MIN - 1,
            Family::Email | Family::Prefix | Family::Expression | Family::Member => 0,
        }
    }

    /// How many bytes behind the start (or behind its hit, for addresses) the predicate needs.
    pub const fn tail(self) -> usize {
        match self {
            Family::Prefix | Family::Expression => block::FINGERPRINT_BYTES - 1,
            Family::Email | Family::Member => 0,
            other => other.reach(),
        }
    }
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
    /// The prefixes of [`Family::Prefix`], which begin words.
    pub prefixes: Fingerprints,
    /// The literals that custom expressions begin with, which begin anywhere.
    pub expressions: Fingerprints,
    /// What the keys of members begin with, quote included.
    pub members: Fingerprints,
    /// Whether the machine has vectors.
    pub vectors: bool,
}

/// Positions of hits, ascending, by family.
#[derive(Debug, Default)]
pub struct Hits {
    lists: [Vec<u32>; Family::ALL.len()],
}

impl Hits {
    /// The hits of a family.
    #[inline]
    pub fn of(&self, family: Family) -> &[u32] {
        &self.lists[family as usize]
    }

    /// Forgets all hits.
    pub fn clear(&mut self) {
        self.lists.iter_mut().for_each(Vec::clear);
    }

    #[inline]
    fn push(&mut self, family: Family, base: usize, mut bits: u64) {
        let list = &mut self.lists[family as usize];
        while bits != 0 {
            // Windows are far below 4 GiB.
            list.push(base as u32 + bits.trailing_zeros());
            bits &= bits - 1;
        }
    }
}

impl Scan {
    /// Replaces `hits` by those of `text` from position `from` on.
    pub fn run(&self, text: &[u8], from: usize, hits: &mut Hits) {
        hits.clear();
        if !self.families.is_empty() && from < text.len() {
            block::scan(self, &text[from..], self.vectors, hits);
            if from > 0 {
                let all = hits.lists.iter_mut().flatten();
                all.for_each(|position| *position += from as u32);
            }
        }
    }
}

const DIGITS: Class = Class::of(b"0123456789");
const UPPER: Class = Class::of(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ");
const ALPHANUMERIC: Class = Class::of(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");
/// What stands between the groups of numbers.
const SEPARATORS: Class = Class::of(b" -.)");
/// What stands in front of a zero that begins no number of its own.
const JOINED: Class = Class::of(b"-.ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");
/// What a random string consists of; see [`super::random`].
pub const RANDOM: Class =
    Class::of(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_+/.~!@#$%^&*?-");

/// A bitmap with that of the block in front: bit 64 is the first byte of the block at hand.
type Pair = u128;

/// The bitmaps of the block in front.
#[derive(Clone, Copy, Default)]
struct Before {
    digits: u64,
    separators: u64,
    plus: u64,
    zero: u64,
    dots: u64,
    colons: u64,
    upper: u64,
    alphanumeric: u64,
    escapes: u64,
    random: u64,
}

/// An escape in front of a text ends within its first bytes at most, and may be anywhere in these.
const ESCAPES_IN_FRONT: u64 = 0b11_1111 << (BLOCK_BYTES - 6);

/// Runs over a text block by block. Inlined into a function for each kind of block.
#[inline(always)]
pub fn blocks<B: Block>(scan: &Scan, text: &[u8], hits: &mut Hits) {
    let mut before = Before { escapes: ESCAPES_IN_FRONT, ..Before::default() };
    let mut padded;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let window = match rest.first_chunk() {
            Some(window) => window,
            None => {
                padded = [0; WINDOW_BYTES];
                padded[..rest.len()].copy_from_slice(rest);
                &padded
            }
        };
        // Bytes behind the end hit nothing.
        let valid = if rest.len() < BLOCK_BYTES { (1 << rest.len()) - 1 } else { u64::MAX };
        one_block::<B>(scan, window, valid, at, &mut before, hits);
        at += BLOCK_BYTES;
    }
}

#[inline(always)]
fn pair(before: u64, bits: u64) -> Pair {
    Pair::from(bits) << BLOCK_BYTES | Pair::from(before)
}

#[inline(always)]
fn upper_half(pair: Pair) -> u64 {
    (pair >> BLOCK_BYTES) as u64
}

#[inline(always)]
fn one_block<B: Block>(
    scan: &Scan,
    window: &[u8; WINDOW_BYTES],
    valid: u64,
    base: usize,
    before: &mut Before,
    hits: &mut Hits,
) {
    let block = B::load(window);
    let families = scan.families;
    let digits = block.of_class(&DIGITS);
    if digits | before.digits != 0 {
        if families.has(Family::Number) {
            hits.push(Family::Number, base, numbers(block, digits, before) & valid);
        }
        if families.has(Family::Ipv4) {
            hits.push(Family::Ipv4, base, dotted(block, digits, before) & valid);
        }
    } else {
        // Nothing that these begin with can still be completed.
        (before.separators, before.zero, before.dots) = (0, 0, 0);
        before.plus = if families.has(Family::Number) { block.equal(b'+') } else { 0 };
    }
    if families.has(Family::Ipv6) {
        hits.push(Family::Ipv6, base, colons(block, before) & valid);
    }
    if families.has(Family::Iban) || families.has(Family::Prefix) {
        let starts = word_starts(block, before);
        if families.has(Family::Iban) {
            hits.push(Family::Iban, base, account(block, digits, starts, before) & valid);
        }
        if families.has(Family::Prefix) {
            let found = block.fingerprints(window, &scan.prefixes) & upper_half(starts);
            hits.push(Family::Prefix, base, found & valid);
        }
    }
    if families.has(Family::Email) {
        hits.push(Family::Email, base, block.equal(b'@') & valid);
    }
    if families.has(Family::Random) {
        hits.push(Family::Random, base, random(block, before) & valid);
    }
    if families.has(Family::Expression) {
        hits.push(Family::Expression, base, block.fingerprints(window, &scan.expressions) & valid);
    }
    if families.has(Family::Member) {
        hits.push(Family::Member, base, block.fingerprints(window, &scan.members) & valid);
    }
    before.digits = digits;
}

/// Where the digits of a number are so many, or so grouped, that it may be one.
#[inline(always)]
fn numbers<B: Block>(block: B, digits: u64, before: &mut Before) -> u64 {
    let separators = block.of_class(&SEPARATORS);
    let plus = block.equal(b'+');
    let one = pair(before.digits, digits);
    let between = pair(before.separators, separators);
    let two = one & one << 1;
    let four = two & two << 2;
    let mut found: Pair = 0;
    if upper_half(four) != 0 {
        let three = two & one << 2;
        let last_four = four & between << 4;
        if upper_half(last_four) != 0 {
            // 123-45-6789, 234-5678 behind an area code, 1234-1234-1234, 1234-123456-1234.
            let six = four & two << 4;
            found |= last_four & two << 5 & between << 7 & three << 8;
            found |= last_four & three << 5 & between << 8;
            found |= last_four & four << 5 & between << 9 & four << 10;
            found |= last_four & six << 5 & between << 11 & four << 12;
        }
        let nine = four & four << 4 & one << 8;
        found |= nine & !(nine << 1);
    }
    // +4 and 03, the beginnings of international and national phone numbers.
    found |= one & pair(before.plus, plus) << 1;
    let zero = block.equal(b'0');
    let zeros = one & (pair(before.zero, zero) & !(one << 1)) << 1;
    if upper_half(zeros) != 0 {
        // Not the month, the minute or the decimals of something else.
        let joined = pair(0, block.of_class(&JOINED)) | pair(0, block.equal(b':')) & one << 1;
        found |= zeros & !(joined << 2);
    }
    (before.separators, before.plus, before.zero) = (separators, plus, zero);
    upper_half(found)
}

/// Where two neighbouring dots stand between digits, in the distance of an octet.
#[inline(always)]
fn dotted<B: Block>(block: B, digits: u64, before: &mut Before) -> u64 {
    let dots = block.equal(b'.');
    let one = pair(before.digits, digits);
    let between = one & pair(before.dots, dots) << 1 & one << 2;
    before.dots = dots;
    if upper_half(between) == 0 {
        return 0;
    }
    upper_half(between & (between << 2 | between << 3 | between << 4))
}

/// Where two colons stand together, or three in the distances of groups of digits.
#[inline(always)]
fn colons<B: Block>(block: B, before: &mut Before) -> u64 {
    let colons = block.equal(b':');
    let one = pair(before.colons, colons);
    before.colons = colons;
    if colons == 0 {
        return 0;
    }
    let apart = |bits: Pair| bits << 2 | bits << 3 | bits << 4 | bits << 5;
    let second = one & apart(one);
    upper_half(one & one << 1 | second & apart(second))
}

/// Where no alphanumeric character stands in front, or one that may belong to an escape.
#[inline(always)]
fn word_starts<B: Block>(block: B, before: &mut Before) -> Pair {
    let alphanumeric = block.of_class(&ALPHANUMERIC);
    let escapes = block.equal(b'\\');
    let inside = pair(before.alphanumeric, alphanumeric) << 1;
    let escape = pair(before.escapes, escapes);
    (before.alphanumeric, before.escapes) = (alphanumeric, escapes);
    !inside | escape << 2 | escape << 6
}

/// Where the country and the check digits of a bank account number are complete.
#[inline(always)]
fn account<B: Block>(block: B, digits: u64, starts: Pair, before: &mut Before) -> u64 {
    let upper = block.of_class(&UPPER);
    let letters = pair(before.upper, upper);
    before.upper = upper;
    let one = pair(before.digits, digits);
    // The bit of the start may lie in the block in front, of which `starts` knows the upper half only so far
    // as that block's own bitmaps tell: bit 0 is a start, which is the lenient answer.
    upper_half(one & one << 1 & letters << 2 & (letters & starts) << 3)
}

/// Where a run of characters of random strings has its twelfth.
#[inline(always)]
fn random<B: Block>(block: B, before: &mut Before) -> u64 {
    let random = block.of_class(&RANDOM);
    let one = pair(before.random, random);
    before.random = random;
    let two = one & one << 1;
    let four = two & two << 2;
    let twelve = four & four << 4 & four << 8;
    upper_half(twelve & !(twelve << 1))
}

const _: () = assert!(RANDOM_BYTES_MIN == 12, "the predicate above counts to twelve");

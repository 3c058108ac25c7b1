//! Stage A: where in a text a match of each family may be.
//!
//! Each predicate is a necessary condition of the family's matches, told from bitmaps of 64 bytes, at the
//! byte that completes it (the hit). What it says no to is not looked at again. Where it says yes, the starts
//! that the hit may belong to are given to the detectors, which decide. All bytes that a predicate needs belong
//! to the match, or may be missing, so that a scan may begin wherever a match may. Where more of the text may
//! come, every start is given whose predicate still lacks bytes.
//!
//! Predicates need only the block in front: bitmaps of both are joined to 128 bits.

use super::block::{self, BLOCK_BYTES, Block, Class, FINGERPRINT_BYTES, Fingerprints, WINDOW_BYTES};
use super::key;

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

    /// Whether some of them start where words do.
    #[inline]
    const fn start_words(self) -> bool {
        const WORDS: u16 = 1 << Family::Number as u8
            | 1 << Family::Ipv4 as u8
            | 1 << Family::Ipv6 as u8
            | 1 << Family::Iban as u8
            | 1 << Family::Prefix as u8
            | 1 << Family::Literal as u8;
        self.0 & WORDS != 0
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
    /// The prefixes of [`Family::Prefix`], which begin words.
    pub prefixes: Fingerprints,
    /// The literals that custom expressions begin with, which begin anywhere.
    pub expressions: Fingerprints,
    /// What the keys of members begin with, quote included.
    pub members: Fingerprints,
    /// What the literals of [`Family::Literal`] begin with.
    pub literals: Fingerprints,
    /// Whether the machine has vectors.
    pub vectors: bool,
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

    /// Forgets all.
    pub fn clear(&mut self) {
        self.lists.iter_mut().for_each(Vec::clear);
    }

    #[inline]
    fn push(&mut self, family: Family, base: usize, mut bits: u64) {
        let list = &mut self.lists[family as usize];
        while bits != 0 {
            // Windows are far below 4 GiB; the block in front of the first has no bits.
            list.push((base as u32).wrapping_add(bits.trailing_zeros()));
            bits &= bits - 1;
        }
    }

    /// Adds those bytes whose first `FINGERPRINT_BYTES`, as far as they are there, are what `is_one` says.
    #[inline]
    fn push_if(
        &mut self,
        family: Family,
        place: &Place,
        mut bits: u64,
        is_one: impl Fn(&[u8; FINGERPRINT_BYTES]) -> bool,
    ) {
        while bits != 0 {
            let bit = bits & bits.wrapping_neg();
            let head = place.window[bit.trailing_zeros() as usize..].first_chunk();
            if bit & place.open_prefixes != 0 || head.is_some_and(&is_one) {
                self.push(family, place.base, bit);
            }
            bits ^= bit;
        }
    }

    /// Adds those of `starts` that stand at most `REACH` bytes in front of a bit of `found`, but for those of
    /// the block in front that were added with it.
    #[inline(always)]
    fn push_starts<const REACH: u32>(
        &mut self,
        family: Family,
        base: usize,
        starts: Pair,
        found: u64,
        added: &mut u64,
    ) {
        if found == 0 {
            *added = 0;
            return;
        }
        let starts = starts & spread::<REACH>(Pair::from(found) << BLOCK_BYTES);
        self.push(family, base.wrapping_sub(BLOCK_BYTES), starts as u64 & !*added);
        *added = upper_half(starts);
        self.push(family, base, *added);
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

const DIGITS: Class = Class::of(b"0123456789");
const UPPER: Class = Class::of(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ");
const ALPHANUMERIC: Class = Class::of(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");
const HEX_LETTERS: Class = Class::of(b"ABCDEFabcdef");
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
    braces: u64,
    zero: u64,
    dots: u64,
    colons: u64,
    upper: u64,
    alphanumeric: u64,
    escapes: u64,
    random: u64,
    /// What groups of IPv6 addresses consist of; anything, where nobody looked.
    groups: u64,
    /// The starts of its words.
    words: u64,
    /// The starts that were added with it.
    added: Added,
}

/// By family.
#[derive(Clone, Copy, Default)]
struct Added {
    numbers: u64,
    v4: u64,
    v6: u64,
    accounts: u64,
    random: u64,
}

/// An escape in front of a text ends within its first bytes at most, and may be anywhere in these.
const ESCAPES_IN_FRONT: u64 = 0b11_1111 << (BLOCK_BYTES - 6);

/// How far in front of its hit a match may start: six digits, a separator and 13 digits; four octets; an
/// address up to its third colon; the country of an account.
const NUMBER_REACH: u32 = 19;
const V4_REACH: u32 = 8;
const V6_REACH: u32 = 14;
const ACCOUNT_REACH: u32 = 3;
const RANDOM_REACH: u32 = RANDOM_BYTES_MIN as u32 - 1;
/// Bytes behind its start that a fingerprint needs.
const PREFIX_REACH: u32 = FINGERPRINT_BYTES as u32 - 1;

/// What one block is, and where it stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    window: &'a [u8; WINDOW_BYTES],
    base: usize,
    /// The bytes of the text.
    valid: u64,
    /// Its last byte, if more may follow: whatever predicate lacks bytes may be completed behind it.
    open_end: u64,
    /// The bytes at which a fingerprint lacks bytes that may follow.
    open_prefixes: u64,
}

/// Runs over a text block by block. Inlined into a function for each kind of block.
#[inline(always)]
pub fn blocks<B: Block>(scan: &Scan, text: &[u8], last: bool, hits: &mut Hits) {
    let mut before = Before { escapes: ESCAPES_IN_FRONT, ..Before::default() };
    let mut padded;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let (window, valid, open_prefixes) = match rest.first_chunk() {
            Some(window) => (window, u64::MAX, 0),
            None => {
                padded = [0; WINDOW_BYTES];
                padded[..rest.len()].copy_from_slice(rest);
                let lacking = u64::MAX.checked_shl((rest.len() as u32).saturating_sub(PREFIX_REACH));
                let valid = !u64::MAX.checked_shl(rest.len() as u32).unwrap_or(0);
                (&padded, valid, if last { 0 } else { lacking.unwrap_or(0) & valid })
            }
        };
        let open_end = if last || rest.len() > BLOCK_BYTES { 0 } else { 1 << (rest.len() - 1) };
        let place = Place { window, base: at, valid, open_end, open_prefixes };
        one_block::<B>(scan, &place, &mut before, hits);
        at += BLOCK_BYTES;
    }
}

/// Each bit, and the `REACH` places in front of it.
#[inline(always)]
fn spread<const REACH: u32>(bits: Pair) -> Pair {
    let (mut all, mut width) = (bits, 1);
    while 2 * width <= REACH + 1 {
        all |= all >> width;
        width *= 2;
    }
    all | all >> (REACH + 1 - width)
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
fn one_block<B: Block>(scan: &Scan, place: &Place, before: &mut Before, hits: &mut Hits) {
    let block = B::load(place.window);
    let families = scan.families;
    let Place { base, valid, open_end, .. } = *place;
    let digits = block.of_class(&DIGITS);
    let words = if families.start_words() { pair(before.words, word_starts(block, before)) } else { 0 };
    let one = pair(before.digits, digits);
    if digits | before.digits | open_end != 0 {
        if families.has(Family::Number) {
            let (starts, found) = numbers(block, scan.numbers, one, words, before);
            let found = found & valid | open_end;
            hits.push_starts::<NUMBER_REACH>(Family::Number, base, starts, found, &mut before.added.numbers);
        }
        if families.has(Family::Ipv4) {
            let (starts, found) = dotted(block, one, words, before);
            let found = found & valid | open_end;
            hits.push_starts::<V4_REACH>(Family::Ipv4, base, starts, found, &mut before.added.v4);
        }
    } else {
        // Nothing that these begin with can still be completed.
        (before.separators, before.zero, before.dots) = (0, 0, 0);
        (before.added.numbers, before.added.v4) = (0, 0);
        (before.plus, before.braces) = openings(block, scan.numbers);
    }
    if families.has(Family::Ipv6) {
        let (starts, found) = colons(block, one, words, open_end, before);
        let found = found & valid | open_end;
        hits.push_starts::<V6_REACH>(Family::Ipv6, base, starts, found, &mut before.added.v6);
    }
    if families.has(Family::Iban) {
        let (starts, found) = account(block, one, words, before);
        let found = found & valid | open_end;
        hits.push_starts::<ACCOUNT_REACH>(Family::Iban, base, starts, found, &mut before.added.accounts);
    }
    if families.has(Family::Random) {
        let (starts, found) = random(block, before);
        let found = found & valid | open_end;
        hits.push_starts::<RANDOM_REACH>(Family::Random, base, starts, found, &mut before.added.random);
    }
    if families.has(Family::Prefix) {
        let found = block.fingerprints(place.window, &scan.prefixes) | place.open_prefixes;
        hits.push_if(Family::Prefix, place, found & upper_half(words) & valid, key::may_begin);
    }
    if families.has(Family::Email) {
        hits.push(Family::Email, base, block.equal(b'@') & valid);
    }
    if families.has(Family::Expression) {
        let found = block.fingerprints(place.window, &scan.expressions) | place.open_prefixes;
        hits.push(Family::Expression, base, found & valid);
    }
    if families.has(Family::Member) {
        hits.push(Family::Member, base, block.fingerprints(place.window, &scan.members) & valid);
    }
    if families.has(Family::Literal) {
        let found = block.fingerprints(place.window, &scan.literals) | place.open_prefixes;
        hits.push(Family::Literal, base, found & upper_half(words) & valid);
    }
    before.digits = digits;
    before.words = upper_half(words);
}

/// What phone numbers may begin with besides digits: plus signs and braces.
#[inline(always)]
fn openings<B: Block>(block: B, kinds: Numbers) -> (u64, u64) {
    if kinds.phone { (block.equal(b'+'), block.equal(b'(')) } else { (0, 0) }
}

/// Where a number may start, and where its digits are so many, or so grouped, that it may be one.
#[inline(always)]
fn numbers<B: Block>(block: B, kinds: Numbers, one: Pair, words: Pair, before: &mut Before) -> (Pair, u64) {
    let separators = block.of_class(&SEPARATORS);
    let between = pair(before.separators, separators);
    let two = one & one << 1;
    let four = two & two << 2;
    let mut found: Pair = 0;
    if upper_half(four) != 0 {
        let three = two & one << 2;
        let last_four = four & between << 4;
        if upper_half(last_four) != 0 {
            // 123-45-6789, 234-5678 behind an area code, 1234-1234-1234, 1234-123456-1234.
            if kinds.ssn {
                found |= last_four & two << 5 & between << 7 & three << 8;
            }
            if kinds.phone {
                found |= last_four & three << 5 & between << 8;
            }
            if kinds.card {
                let six = four & two << 4;
                found |= last_four & four << 5 & between << 9 & four << 10;
                found |= last_four & six << 5 & between << 11 & four << 12;
            }
        }
        let eight = four & four << 4;
        if upper_half(eight) != 0 {
            if kinds.card {
                // 14 digits, or 123456-1234567890123.
                let thirteen = eight & four << 8 & one << 12;
                found |= thirteen & one << 13 & !(thirteen << 2);
                found |= thirteen & between << 13 & four << 14 & two << 18;
            }
            if kinds.ssn || kinds.phone {
                let nine = eight & one << 8;
                found |= nine & !(nine << 1);
            }
        }
    }
    let (plus, braces) = openings(block, kinds);
    let mut starts = one & words;
    if kinds.phone {
        let signs = pair(before.plus, plus);
        starts |= signs | pair(before.braces, braces);
        // +4 and 03, the beginnings of international and national phone numbers.
        found |= one & signs << 1;
        let zero = block.equal(b'0');
        let zeros = one & (pair(before.zero, zero) & !(one << 1)) << 1;
        if upper_half(zeros) != 0 {
            // Not the month, the minute or the decimals of something else.
            let joined = pair(0, block.of_class(&JOINED)) | pair(0, block.equal(b':')) & one << 1;
            found |= zeros & !(joined << 2);
        }
        before.zero = zero;
    }
    (before.separators, before.plus, before.braces) = (separators, plus, braces);
    (starts, upper_half(found))
}

/// Where an octet may start, and where two neighbouring dots stand between digits, in its distance.
#[inline(always)]
fn dotted<B: Block>(block: B, one: Pair, words: Pair, before: &mut Before) -> (Pair, u64) {
    let dots = block.equal(b'.');
    let dotted = pair(before.dots, dots) << 1;
    let between = one & dotted & one << 2;
    before.dots = dots;
    let starts = one & words & !dotted;
    (starts, upper_half(between & (between << 2 | between << 3 | between << 4)))
}

/// Where a group may start, and where two colons stand together, or three in the distances of groups of
/// digits.
#[inline(always)]
fn colons<B: Block>(block: B, digits: Pair, words: Pair, open_end: u64, before: &mut Before) -> (Pair, u64) {
    let colons = block.equal(b':');
    let one = pair(before.colons, colons);
    before.colons = colons;
    if colons | open_end == 0 {
        before.groups = u64::MAX;
        return (0, 0);
    }
    let apart = |bits: Pair| bits << 2 | bits << 3 | bits << 4 | bits << 5;
    let second = one & apart(one);
    let found = upper_half(one & one << 1 | second & apart(second));
    let groups = block.of_class(&HEX_LETTERS) | upper_half(digits) | colons;
    let starts = pair(before.groups, groups) & words & !(one << 1);
    before.groups = groups;
    (starts, found)
}

/// Where no alphanumeric character stands in front, or one that may belong to an escape.
#[inline(always)]
fn word_starts<B: Block>(block: B, before: &mut Before) -> u64 {
    let alphanumeric = block.of_class(&ALPHANUMERIC);
    let escapes = block.equal(b'\\');
    let inside = pair(before.alphanumeric, alphanumeric) << 1;
    let escape = pair(before.escapes, escapes);
    (before.alphanumeric, before.escapes) = (alphanumeric, escapes);
    upper_half(!inside | escape << 2 | escape << 6)
}

/// Where a bank account number may start, and where its country and its check digits are complete.
#[inline(always)]
fn account<B: Block>(block: B, one: Pair, words: Pair, before: &mut Before) -> (Pair, u64) {
    let upper = block.of_class(&UPPER);
    let letters = pair(before.upper, upper);
    before.upper = upper;
    let starts = letters & words;
    (starts, upper_half(one & one << 1 & letters << 2 & starts << 3))
}

/// Where a run of characters of random strings starts, and where it has its twelfth.
#[inline(always)]
fn random<B: Block>(block: B, before: &mut Before) -> (Pair, u64) {
    let random = block.of_class(&RANDOM);
    let one = pair(before.random, random);
    before.random = random;
    let two = one & one << 1;
    let four = two & two << 2;
    let twelve = four & four << 4 & four << 8;
    (one & !(one << 1), upper_half(twelve & !(twelve << 1)))
}

const _: () = assert!(RANDOM_BYTES_MIN == 12, "the predicate above counts to twelve");

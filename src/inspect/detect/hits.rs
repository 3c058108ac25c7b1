//! Stage A: where in a text a match of each family may be.
//!
//! Each predicate is a necessary condition of the family's matches, told from bitmaps of 64 bytes, at the
//! byte that completes it (the hit). What it says no to is not looked at again. Where it says yes, the starts
//! that the hit may belong to are given to the detectors, which decide. All bytes that a predicate needs
//! belong to the match, or may be missing, so that a scan may begin wherever a match may. Where more of the
//! text may come, every start is given whose predicate still lacks bytes.
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

    /// Bytes of memory that they hold.
    pub fn held_bytes(&self) -> usize {
        self.lists.iter().map(|list| list.capacity() * size_of::<u32>()).sum()
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
        starts: &mut Starts,
        found: u64,
    ) {
        if found == 0 {
            starts.added = 0;
            return;
        }
        let [before, now] = spread::<REACH>(found);
        self.push(family, base.wrapping_sub(BLOCK_BYTES), starts.bits.before & before & !starts.added);
        starts.added = starts.bits.now & now;
        self.push(family, base, starts.added);
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

const UPPER: Class = Class::of(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ");
const HEX_LETTERS: Class = Class::of(b"ABCDEFabcdef");
/// What stands between the groups of numbers.
const SEPARATORS: Class = Class::of(b" -.)");
/// What stands in front of a zero that begins no number of its own.
const JOINED: Class = Class::of(b"-.ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");
/// What a random string consists of; see [`super::random`].
pub const RANDOM: Class =
    Class::of(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_+/.~!@#$%^&*?-");

/// A bitmap with that of the block in front.
#[derive(Clone, Copy, Default)]
struct Pair {
    now: u64,
    before: u64,
}

impl Pair {
    /// The bytes that have such a byte `places` in front of them; 1 to 63.
    #[inline(always)]
    fn back(self, places: u32) -> u64 {
        self.now << places | self.before >> (BLOCK_BYTES as u32 - places)
    }

    /// Goes on to the next block.
    #[inline(always)]
    fn next(&mut self, bits: u64) {
        *self = Pair { now: bits, before: self.now };
    }
}

/// The bitmaps of the block at hand, with those of the block in front.
#[derive(Clone, Copy, Default)]
struct Maps {
    digits: Pair,
    alphanumeric: Pair,
    escapes: Pair,
    /// The starts of words.
    words: Pair,
    numbers: Numbering,
    dots: Pair,
    octets: Starts,
    colons: Pair,
    groups: Starts,
    upper: Pair,
    accounts: Starts,
    random: Pair,
    random_fours: Pair,
    strings: Starts,
}

/// Those of numbers.
#[derive(Clone, Copy, Default)]
struct Numbering {
    twos: Pair,
    fours: Pair,
    separators: Pair,
    plus: Pair,
    braces: Pair,
    zeros: Pair,
    starts: Starts,
}

/// Where matches of a family may start.
#[derive(Clone, Copy, Default)]
struct Starts {
    bits: Pair,
    /// Those of the block in front that were added with it.
    added: u64,
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
    let mut maps = Maps::default();
    maps.escapes.now = ESCAPES_IN_FRONT;
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
        one_block::<B>(scan, &place, &mut maps, hits);
        at += BLOCK_BYTES;
    }
}

/// The bits, and the `REACH` places in front of each: of the block in front, and of this one.
#[inline(always)]
fn spread<const REACH: u32>(bits: u64) -> [u64; 2] {
    let (mut all, mut width) = (u128::from(bits) << BLOCK_BYTES, 1);
    while 2 * width <= REACH + 1 {
        all |= all >> width;
        width *= 2;
    }
    all |= all >> (REACH + 1 - width);
    [all as u64, (all >> BLOCK_BYTES) as u64]
}

#[inline(always)]
fn one_block<B: Block>(scan: &Scan, place: &Place, maps: &mut Maps, hits: &mut Hits) {
    let block = B::load(place.window);
    let families = scan.families;
    let Place { base, valid, open_end, .. } = *place;
    let classes = block.classes();
    maps.digits.next(classes.digits);
    if families.start_words() {
        maps.alphanumeric.next(classes.alphanumeric);
        maps.escapes.next(classes.escapes);
        // Where no alphanumeric character stands in front, or one that may belong to an escape.
        let starts = !maps.alphanumeric.back(1) | maps.escapes.back(2) | maps.escapes.back(6);
        maps.words.next(starts);
    }
    if maps.digits.now | maps.digits.before | open_end != 0 {
        if families.has(Family::Number) {
            let found = numbers(block, scan.numbers, maps) & valid | open_end;
            hits.push_starts::<NUMBER_REACH>(Family::Number, base, &mut maps.numbers.starts, found);
        }
        if families.has(Family::Ipv4) {
            let found = dotted(block, maps) & valid | open_end;
            hits.push_starts::<V4_REACH>(Family::Ipv4, base, &mut maps.octets, found);
        }
    } else {
        // Nothing that these begin with can still be completed, but for what stands in front of digits.
        (maps.numbers, maps.octets, maps.dots) = (Numbering::default(), Starts::default(), Pair::default());
        if scan.numbers.phone {
            (maps.numbers.plus.now, maps.numbers.braces.now) = (block.equal(b'+'), block.equal(b'('));
            maps.numbers.starts.bits.now = maps.numbers.plus.now | maps.numbers.braces.now;
        }
    }
    if families.has(Family::Ipv6) {
        let found = colons(block, open_end, maps) & valid | open_end;
        hits.push_starts::<V6_REACH>(Family::Ipv6, base, &mut maps.groups, found);
    }
    if families.has(Family::Iban) {
        let found = account(block, maps) & valid | open_end;
        hits.push_starts::<ACCOUNT_REACH>(Family::Iban, base, &mut maps.accounts, found);
    }
    if families.has(Family::Random) {
        let found = random(classes.random, maps) & valid | open_end;
        hits.push_starts::<RANDOM_REACH>(Family::Random, base, &mut maps.strings, found);
    }
    if families.has(Family::Prefix) {
        let found = block.fingerprints(place.window, &scan.prefixes) | place.open_prefixes;
        hits.push_if(Family::Prefix, place, found & maps.words.now & valid, key::may_begin);
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
        hits.push(Family::Literal, base, found & maps.words.now & valid);
    }
}

/// Where the digits of a number are so many, or so grouped, that it may be one.
#[inline(always)]
fn numbers<B: Block>(block: B, kinds: Numbers, maps: &mut Maps) -> u64 {
    let (one, of) = (maps.digits, &mut maps.numbers);
    of.separators.next(block.of_class(&SEPARATORS));
    of.twos.next(one.now & one.back(1));
    of.fours.next(of.twos.now & of.twos.back(2));
    let (two, four, between) = (of.twos, of.fours, of.separators);
    let mut found = 0;
    if four.now != 0 {
        let last_four = four.now & between.back(4);
        if last_four != 0 {
            // 123-45-6789, 234-5678 behind an area code, 1234-1234-1234, 1234-123456-1234.
            if kinds.ssn {
                found |= last_four & two.back(5) & between.back(7) & two.back(8) & one.back(10);
            }
            if kinds.phone {
                found |= last_four & two.back(5) & one.back(7) & between.back(8);
            }
            if kinds.card {
                let after_four = last_four & four.back(5);
                found |= after_four & between.back(9) & four.back(10);
                found |= after_four & two.back(9) & between.back(11) & four.back(12);
            }
        }
        let eight = four.now & four.back(4);
        if eight != 0 {
            if kinds.card {
                // The last of 14 digits, or 123456-1234567890123.
                let thirteen = eight & four.back(8) & one.back(12);
                found |= thirteen & one.back(13) & !one.back(14);
                found |= thirteen & between.back(13) & four.back(14) & two.back(18);
            }
            if kinds.ssn || kinds.phone {
                found |= eight & one.back(8) & !one.back(9);
            }
        }
    }
    let mut starts = one.now & maps.words.now;
    if kinds.phone {
        of.plus.next(block.equal(b'+'));
        of.braces.next(block.equal(b'('));
        starts |= of.plus.now | of.braces.now;
        // +4 and 03, the beginnings of international and national phone numbers.
        found |= one.now & of.plus.back(1);
        of.zeros.next(block.equal(b'0') & !one.back(1));
        let zeros = one.now & of.zeros.back(1);
        if zeros != 0 {
            // Not the month, the minute or the decimals of something else.
            let colons = block.equal(b':') & one.back(1);
            found |= zeros & !((block.of_class(&JOINED) | colons) << 2);
        }
    }
    of.starts.bits.next(starts);
    found
}

/// Where two neighbouring dots stand between digits, in the distance of an octet.
#[inline(always)]
fn dotted<B: Block>(block: B, maps: &mut Maps) -> u64 {
    let one = maps.digits;
    maps.dots.next(block.equal(b'.'));
    let behind_dot = maps.dots.back(1);
    maps.octets.bits.next(one.now & maps.words.now & !behind_dot);
    let between = one.now & behind_dot & one.back(2);
    if between == 0 {
        return 0;
    }
    // The same in the block in front, of which the second dot's may be the last.
    let front = one.before & maps.dots.before << 1 & one.before << 2;
    let between = Pair { now: between, before: front };
    between.now & (between.back(2) | between.back(3) | between.back(4))
}

/// Where two colons stand together, or three in the distances of groups of digits.
#[inline(always)]
fn colons<B: Block>(block: B, open_end: u64, maps: &mut Maps) -> u64 {
    maps.colons.next(block.equal(b':'));
    let one = maps.colons;
    if one.now | open_end == 0 {
        // Nobody looked: all of it may be groups.
        maps.groups.bits.next(maps.words.now);
        return 0;
    }
    let groups = block.of_class(&HEX_LETTERS) | maps.digits.now | one.now;
    maps.groups.bits.next(groups & maps.words.now & !one.back(1));
    let apart = |bits: Pair| bits.back(2) | bits.back(3) | bits.back(4) | bits.back(5);
    // Of the block in front only the last few matter, which need nothing from in front of it.
    let front = Pair { now: one.before, before: 0 };
    let second = Pair { now: one.now & apart(one), before: one.before & apart(front) };
    one.now & one.back(1) | second.now & apart(second)
}

/// Where the country and the check digits of a bank account number are complete.
#[inline(always)]
fn account<B: Block>(block: B, maps: &mut Maps) -> u64 {
    let upper = block.of_class(&UPPER);
    maps.upper.next(upper);
    maps.accounts.bits.next(upper & maps.words.now);
    maps.accounts.bits.back(3) & maps.upper.back(2) & maps.digits.back(1) & maps.digits.now
}

/// Where a run of characters of random strings has its twelfth.
#[inline(always)]
fn random(random: u64, maps: &mut Maps) -> u64 {
    maps.random.next(random);
    let one = maps.random;
    maps.strings.bits.next(random & !one.back(1));
    let two = random & one.back(1);
    // A run of four that began in the block in front is counted from its bits there.
    let front = one.before & (one.before << 1);
    let two = Pair { now: two, before: front };
    maps.random_fours.next(two.now & two.back(2));
    let four = maps.random_fours;
    four.now & four.back(4) & four.back(8) & !one.back(12)
}

const _: () = assert!(RANDOM_BYTES_MIN == 12, "the predicate above counts to twelve");

//! The predicates of stage A, a stride of blocks at a time: first the bitmaps that most of them need, then
//! one family after the other, each only where a stride has what its matches cannot do without.
//!
//! Nothing here takes a closure: all of it is inlined into a function that is compiled for vectors.

use super::class::{Class, FINGERPRINT_BYTES, Few};
use super::hits::{Family, Hits, Numbers, RANDOM_BYTES_MIN, Scan};
use super::rows::Row;
use super::scalar::{BLOCK_BYTES, Block, Classes, WINDOW_BYTES};
use super::{key, phone, random, ssn};

const CAPITALS: Class = Class::of(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ");
const HEX_LETTERS: Class = Class::of(b"ABCDEFabcdef");
/// What stands between the groups of numbers.
const SEPARATORS: Few = Few::of(b" -.)");
/// What stands in front of the digits of a phone number.
const OPENERS: Few = Few::of(b"+(");

/// An escape in front of a text ends within its first bytes at most, and may be anywhere in these.
const ESCAPES_IN_FRONT: u64 = 0b11_1111 << (BLOCK_BYTES - 6);

/// How far in front of its hit a match may start: six digits, a separator and 13 digits; four octets; an
/// address up to its third colon; the country of an account and its check digits; a random string.
const NUMBER_REACH: u32 = 19;
const V4_REACH: u32 = 8;
const V6_REACH: u32 = 14;
const ACCOUNT_REACH: u32 = 3;
const RANDOM_REACH: u32 = RANDOM_BYTES_MIN as u32 - 1;
/// Bytes that each key begins with and that are all of those of random strings, as in `-----BEGIN`.
pub const KEY_RUN_BYTES: usize = 10;
const KEY_REACH: u32 = KEY_RUN_BYTES as u32 - 1;
/// Bytes behind its start that a fingerprint needs.
const PREFIX_REACH: u32 = FINGERPRINT_BYTES as u32 - 1;

/// Finds the hits of `text`. Inlined into a function for each kind of block. Looks at `LONG` blocks at once,
/// with the one in front and the one behind, or at `SHORT` of them in a text of a few words.
#[inline(always)]
pub fn scan<B: Block, const SHORT: usize, const LONG: usize>(
    scan: &Scan,
    text: &[u8],
    last: bool,
    hits: &mut Hits,
) {
    if text.len() <= (SHORT - 2) * BLOCK_BYTES {
        strides::<B, SHORT>(scan, text, last, hits);
    } else {
        strides::<B, LONG>(scan, text, last, hits);
    }
}

/// The bitmaps that most predicates need.
struct Maps<B, const N: usize> {
    digits: Row<B, N>,
    alphanumeric: Row<B, N>,
    random: Row<B, N>,
    escapes: Row<B, N>,
    colons: Row<B, N>,
    ats: Row<B, N>,
    expressions: Row<B, N>,
    members: Row<B, N>,
    literals: Row<B, N>,
}

/// What stands between and in front of digits; only where a stride has some.
struct Marks<B, const N: usize> {
    separators: Row<B, N>,
    dots: Row<B, N>,
    hyphens: Row<B, N>,
    plus: Row<B, N>,
    braces: Row<B, N>,
    zeros: Row<B, N>,
}

/// Where a stride stands in a text.
#[derive(Clone, Copy)]
struct Place<'a, const N: usize> {
    text: &'a [u8],
    /// The first byte of its first block, which is number 1.
    base: usize,
    /// Whether more of the text may follow, and within reach: what predicates lack may be there.
    open: bool,
}

#[inline(always)]
fn strides<B: Block, const N: usize>(scan: &Scan, text: &[u8], last: bool, hits: &mut Hits) {
    let mut maps = Maps::<B, N>::in_front();
    let mut padded = [0; WINDOW_BYTES];
    let (mut base, mut filled) = (0, 1);
    while base < text.len() {
        let mut index = filled;
        while index < N {
            maps.read(scan, text, base + (index - 1) * BLOCK_BYTES, index, &mut padded);
            index += 1;
        }
        let open = !last && text.len() - base <= N * BLOCK_BYTES;
        stride::<B, N>(scan, &maps, Place { text, base, open }, hits);
        maps.carry();
        filled = 2;
        base += (N - 2) * BLOCK_BYTES;
    }
}

/// The bytes from `at` on, with zeros behind the end; `padded` is memory for these.
#[inline(always)]
fn window<'a>(text: &'a [u8], at: usize, padded: &'a mut [u8; WINDOW_BYTES]) -> &'a [u8; WINDOW_BYTES] {
    let rest = &text[at..];
    match rest.first_chunk() {
        Some(window) => window,
        None => {
            *padded = [0; WINDOW_BYTES];
            padded[..rest.len()].copy_from_slice(rest);
            padded
        }
    }
}

impl<B: Block, const N: usize> Maps<B, N> {
    /// Those in front of a text.
    #[inline(always)]
    fn in_front() -> Maps<B, N> {
        let empty = Row::EMPTY;
        let mut escapes = empty;
        escapes.set(0, ESCAPES_IN_FRONT);
        Maps {
            digits: empty,
            alphanumeric: empty,
            random: empty,
            escapes,
            colons: empty,
            ats: empty,
            expressions: empty,
            members: empty,
            literals: empty,
        }
    }

    /// Reads block number `index`, which begins at byte `at`; `padded` as for [`window`].
    #[inline(always)]
    fn read(&mut self, scan: &Scan, text: &[u8], at: usize, index: usize, padded: &mut [u8; WINDOW_BYTES]) {
        if at >= text.len() {
            self.digits.set(index, 0);
            self.alphanumeric.set(index, 0);
            self.random.set(index, 0);
            self.escapes.set(index, 0);
            self.colons.set(index, 0);
            self.ats.set(index, 0);
            self.expressions.set(index, 0);
            self.members.set(index, 0);
            self.literals.set(index, 0);
            return;
        }
        let window = window(text, at, padded);
        let block = B::load(window);
        let families = scan.families;
        if families.need_classes() {
            let Classes { digits, alphanumeric, random, escapes } = block.classes();
            self.digits.set(index, digits);
            self.alphanumeric.set(index, alphanumeric);
            self.random.set(index, random);
            self.escapes.set(index, escapes);
        }
        if families.has(Family::Ipv6) || scan.numbers.phone {
            self.colons.set(index, block.equal(b':'));
        }
        if families.has(Family::Email) {
            self.ats.set(index, block.equal(b'@'));
        }
        if families.has(Family::Expression) {
            self.expressions.set(index, block.fingerprints(window, &scan.expressions));
        }
        if families.has(Family::Member) {
            self.members.set(index, block.fingerprints(window, &scan.members));
        }
        if families.has(Family::Literal) {
            self.literals.set(index, block.fingerprints(window, &scan.literals));
        }
    }

    /// Goes on to the next stride.
    #[inline(always)]
    fn carry(&mut self) {
        self.digits.carry();
        self.alphanumeric.carry();
        self.random.carry();
        self.escapes.carry();
        self.colons.carry();
        self.ats.carry();
        self.expressions.carry();
        self.members.carry();
        self.literals.carry();
    }
}

impl<const N: usize> Place<'_, N> {
    /// The first byte of a block; that in front of a text has none.
    #[inline(always)]
    fn at(&self, index: usize) -> usize {
        self.base + index * BLOCK_BYTES - BLOCK_BYTES
    }

    /// The bytes of a block that belong to the text.
    #[inline(always)]
    fn valid(&self, index: usize) -> u64 {
        match self.text.len().saturating_sub(self.at(index)) {
            0 => 0,
            there @ 1..BLOCK_BYTES => (1 << there) - 1,
            _ => u64::MAX,
        }
    }

    /// The last byte of an open text, and the `reach` in front of it.
    #[inline(always)]
    fn tail<B: Block>(&self, reach: u32) -> Row<B, N> {
        let mut row = Row::EMPTY;
        if !self.open {
            return row;
        }
        let mut index = 1;
        while index < N - 1 {
            let from = self.text.len().saturating_sub(1 + reach as usize).saturating_sub(self.at(index));
            if from < BLOCK_BYTES {
                row.set(index, self.valid(index) & u64::MAX << from);
            }
            index += 1;
        }
        row
    }

    /// A row, and in an open text the last byte of that, and the `reach` in front of it.
    #[inline(always)]
    fn or_tail<B: Block>(&self, row: Row<B, N>, reach: u32) -> Row<B, N> {
        if self.open { row | self.tail(reach) } else { row }
    }

    /// One block of the text; `padded` as for [`window`].
    #[inline(always)]
    fn load<B: Block>(&self, index: usize, padded: &mut [u8; WINDOW_BYTES]) -> B {
        B::load(window(self.text, self.at(index).min(self.text.len()), padded))
    }

    /// What stands between and in front of digits.
    #[inline(always)]
    fn marks<B: Block>(&self) -> Marks<B, N> {
        let (mut separators, mut dots, mut hyphens) = (Row::EMPTY, Row::EMPTY, Row::EMPTY);
        let (mut plus, mut braces, mut zeros) = (Row::EMPTY, Row::EMPTY, Row::EMPTY);
        let mut padded = [0; WINDOW_BYTES];
        // Nothing stands in front of the text.
        let mut index = if self.base > 0 { 0 } else { 1 };
        while index < N && self.at(index) < self.text.len() {
            let block: B = self.load(index, &mut padded);
            separators.set(index, block.any_of(&SEPARATORS));
            dots.set(index, block.equal(b'.'));
            hyphens.set(index, block.equal(b'-'));
            plus.set(index, block.equal(b'+'));
            braces.set(index, block.equal(b'('));
            zeros.set(index, block.equal(b'0'));
            index += 1;
        }
        Marks { separators, dots, hyphens, plus, braces, zeros }
    }

    /// What stands in front of the digits of phone numbers.
    #[inline(always)]
    fn openers<B: Block>(&self) -> Row<B, N> {
        let mut openers = Row::EMPTY;
        let mut padded = [0; WINDOW_BYTES];
        let mut index = 1;
        while index < N && self.at(index) < self.text.len() {
            openers.set(index, self.load::<B>(index, &mut padded).any_of(&OPENERS));
            index += 1;
        }
        openers
    }

    /// Adds the bytes of a row.
    #[inline(always)]
    fn push<B: Block>(&self, family: Family, row: Row<B, N>, hits: &mut Hits) {
        let mut blocks = row.blocks();
        while blocks != 0 {
            let index = blocks.trailing_zeros() as usize;
            hits.push(family, self.at(index), row.bits(index) & self.valid(index));
            blocks &= blocks - 1;
        }
    }
}

#[inline(always)]
fn stride<B: Block, const N: usize>(scan: &Scan, maps: &Maps<B, N>, place: Place<N>, hits: &mut Hits) {
    let families = scan.families;
    if families.need_classes() {
        classed(scan, maps, &place, hits);
    }
    if families.has(Family::Email) {
        place.push(Family::Email, maps.ats, hits);
    }
    if families.has(Family::Expression) {
        place.push(Family::Expression, place.or_tail(maps.expressions, PREFIX_REACH - 1), hits);
    }
    if families.has(Family::Member) {
        place.push(Family::Member, maps.members, hits);
    }
}

/// What asks for the classes of bytes.
#[inline(always)]
fn classed<B: Block, const N: usize>(scan: &Scan, maps: &Maps<B, N>, place: &Place<N>, hits: &mut Hits) {
    let families = scan.families;
    // Where no alphanumeric character stands in front, or one that may belong to an escape.
    let mut words = !maps.alphanumeric.back::<1>();
    if !maps.escapes.is_empty() {
        words = words | maps.escapes.back::<2>() | maps.escapes.back::<6>();
    }
    if (families.has(Family::Number) || families.has(Family::Ipv4)) && !maps.digits.is_empty() {
        let marks = place.marks();
        if families.has(Family::Number) {
            numbers(scan.numbers, maps, &marks, &words, place, hits);
        }
        if families.has(Family::Ipv4) {
            dotted(maps, &marks, &words, place, hits);
        }
    } else if place.open && scan.numbers.phone {
        // Digits may follow.
        place.push(Family::Number, place.openers::<B>() & place.tail(NUMBER_REACH), hits);
    }
    if families.has(Family::Iban) && (!maps.digits.is_empty() || place.open) {
        accounts(maps, &words, place, hits);
    }
    if families.has(Family::Ipv6) && (!maps.colons.is_empty() || place.open) {
        colons::<B, N>(maps, &words, place, hits);
    }
    if families.has(Family::Random) || families.has(Family::Prefix) {
        runs(scan, maps, &words, place, hits);
    }
    if families.has(Family::Literal) {
        place.push(Family::Literal, place.or_tail(maps.literals, PREFIX_REACH - 1) & words, hits);
    }
}

/// Where the digits of a number are so many, or so grouped, that it may be one.
#[inline(always)]
fn numbers<B: Block, const N: usize>(
    kinds: Numbers,
    maps: &Maps<B, N>,
    marks: &Marks<B, N>,
    words: &Row<B, N>,
    place: &Place<N>,
    hits: &mut Hits,
) {
    let one = maps.digits;
    let mut found = Row::EMPTY;
    if kinds.phone {
        let Marks { plus, zeros, .. } = *marks;
        // +4 and 03, the beginnings of international and national phone numbers.
        found = found | one & plus.back::<1>();
        let zeros = one & (zeros & !one.back::<1>()).back::<1>();
        if !zeros.is_empty() {
            found = found | national(&zeros, maps, marks);
        }
    }
    let two = one & one.back::<1>();
    let four = two & two.back::<2>();
    if !four.is_empty() {
        found = found | grouped(kinds, &one, &two, &four, &marks.separators);
        let eight = four & four.back::<4>();
        if !eight.is_empty() && (kinds.ssn || kinds.phone) {
            found = found | bare(maps, &(eight & one.back::<8>() & !one.back::<9>()));
        }
        if !eight.is_empty() && kinds.card {
            // The last of 14 digits.
            found = found | eight & four.back::<8>() & two.back::<12>() & !one.back::<14>();
        }
    }
    if found.is_empty() && !place.open {
        return;
    }
    let starts = one & *words;
    let starts = if kinds.phone { starts | marks.plus | marks.braces } else { starts };
    let reached = place.or_tail(found.reach::<NUMBER_REACH>(), NUMBER_REACH);
    place.push(Family::Number, starts & reached, hits);
}

/// Of the ninth digits of rows, those that have no more than two digits behind them; but a digit of an escape
/// in front may be the first.
#[inline(always)]
fn bare<B: Block, const N: usize>(maps: &Maps<B, N>, ninth: &Row<B, N>) -> Row<B, N> {
    let one = maps.digits;
    if !maps.escapes.is_empty() {
        return *ninth;
    }
    *ninth & !(one.ahead::<1>() & one.ahead::<2>() & one.ahead::<3>())
}

/// Zeros with a digit behind them that are not those of the month, the minute or the decimals of something
/// else; `zeros`: these digits.
#[inline(always)]
fn national<B: Block, const N: usize>(
    zeros: &Row<B, N>,
    maps: &Maps<B, N>,
    marks: &Marks<B, N>,
) -> Row<B, N> {
    // What stands in front of a zero that begins no number of its own.
    let joined = maps.alphanumeric & !maps.digits | marks.dots | marks.hyphens;
    *zeros & !(joined | maps.colons & maps.digits.back::<1>()).back::<2>()
}

/// Groups of digits, by their ends.
#[inline(always)]
fn grouped<B: Block, const N: usize>(
    kinds: Numbers,
    one: &Row<B, N>,
    two: &Row<B, N>,
    four: &Row<B, N>,
    between: &Row<B, N>,
) -> Row<B, N> {
    let mut found = Row::EMPTY;
    // 123-45-6789, 234-5678 behind an area code, 1234-1234-1234, 1234-123456-1234.
    let last_four = *four & between.back::<4>();
    if !last_four.is_empty() {
        if kinds.ssn {
            let groups = two.back::<5>() & between.back::<7>() & two.back::<8>() & one.back::<10>();
            found = found | last_four & groups;
        }
        if kinds.phone {
            found = found | last_four & two.back::<5>() & one.back::<7>() & between.back::<8>();
        }
        let after_four = last_four & four.back::<5>();
        if kinds.card && !after_four.is_empty() {
            found = found | after_four & between.back::<9>() & four.back::<10>();
            found = found | after_four & two.back::<9>() & between.back::<11>() & four.back::<12>();
        }
    }
    if kinds.card {
        // 123456-1234567890123.
        let six = four.back::<14>() & two.back::<18>() & between.back::<13>();
        if !six.is_empty() {
            found = found | six & *four & four.back::<4>() & four.back::<8>() & one.back::<12>();
        }
    }
    found
}

/// Where two neighbouring dots stand between digits, in the distance of an octet.
#[inline(always)]
fn dotted<B: Block, const N: usize>(
    maps: &Maps<B, N>,
    marks: &Marks<B, N>,
    words: &Row<B, N>,
    place: &Place<N>,
    hits: &mut Hits,
) {
    let one = maps.digits;
    let behind_dot = marks.dots.back::<1>();
    let between = one & behind_dot & one.back::<2>();
    if between.is_empty() && !place.open {
        return;
    }
    let found = between & (between.back::<2>() | between.back::<3>() | between.back::<4>());
    if found.is_empty() && !place.open {
        return;
    }
    let starts = one & *words & !behind_dot;
    place.push(Family::Ipv4, starts & place.or_tail(found.reach::<V4_REACH>(), V4_REACH), hits);
}

/// Where the country and the check digits of a bank account number stand.
#[inline(always)]
fn accounts<B: Block, const N: usize>(
    maps: &Maps<B, N>,
    words: &Row<B, N>,
    place: &Place<N>,
    hits: &mut Hits,
) {
    let letters = maps.alphanumeric & !maps.digits;
    let found = letters.ahead::<1>() & maps.digits.ahead::<2>() & maps.digits.ahead::<3>();
    let starts = letters & *words & place.or_tail(found, ACCOUNT_REACH);
    let mut padded = [0; WINDOW_BYTES];
    let mut blocks = starts.blocks();
    while blocks != 0 {
        let index = blocks.trailing_zeros() as usize;
        let capitals = place.load::<B>(index, &mut padded).of_class(&CAPITALS);
        let mut bits = starts.bits(index) & place.valid(index) & capitals;
        while bits != 0 {
            let bit = bits & bits.wrapping_neg();
            let country = &place.text[place.at(index) + bit.trailing_zeros() as usize..];
            if country.get(1).is_none_or(u8::is_ascii_uppercase) {
                hits.push(Family::Iban, place.at(index), bit);
            }
            bits ^= bit;
        }
        blocks &= blocks - 1;
    }
}

/// Where two colons stand together, or three in the distances of groups of digits.
#[inline(always)]
fn colons<B: Block, const N: usize>(maps: &Maps<B, N>, words: &Row<B, N>, place: &Place<N>, hits: &mut Hits) {
    let one = maps.colons;
    let second = one & (one.back::<2>() | one.back::<3>() | one.back::<4>() | one.back::<5>());
    let third = second.back::<2>() | second.back::<3>() | second.back::<4>() | second.back::<5>();
    let found = one & one.back::<1>() | second & third;
    if found.is_empty() && !place.open {
        return;
    }
    let mut padded = [0; WINDOW_BYTES];
    let reached = place.or_tail(found.reach::<V6_REACH>(), V6_REACH);
    let starts = *words & !one.back::<1>() & reached;
    let mut blocks = starts.blocks();
    while blocks != 0 {
        let index = blocks.trailing_zeros() as usize;
        let bits = starts.bits(index) & place.valid(index);
        let groups = place.load::<B>(index, &mut padded).of_class(&HEX_LETTERS)
            | maps.digits.bits(index)
            | one.bits(index);
        hits.push(Family::Ipv6, place.at(index), bits & groups);
        blocks &= blocks - 1;
    }
}

/// Where runs of the characters of random strings begin that are long enough, and where within them a key
/// may.
#[inline(always)]
fn runs<B: Block, const N: usize>(
    scan: &Scan,
    maps: &Maps<B, N>,
    words: &Row<B, N>,
    place: &Place<N>,
    hits: &mut Hits,
) {
    let one = maps.random;
    let two = one & one.ahead::<1>();
    let four = two & two.ahead::<2>();
    let eight = four & four.ahead::<4>();
    if scan.families.has(Family::Random) {
        let found = place.or_tail(eight & four.ahead::<8>(), RANDOM_REACH);
        let starts = found & one & !one.back::<1>();
        let mut blocks = starts.blocks();
        while blocks != 0 {
            let index = blocks.trailing_zeros() as usize;
            let mut bits = starts.bits(index);
            while bits != 0 {
                let bit = bits & bits.wrapping_neg();
                if random::may_be_assigned(place.text, place.at(index) + bit.trailing_zeros() as usize) {
                    hits.push(Family::Random, place.at(index), bit);
                }
                bits ^= bit;
            }
            blocks &= blocks - 1;
        }
    }
    if scan.families.has(Family::Prefix) {
        // No key begins with a digit.
        let found = place.or_tail(eight & two.ahead::<8>(), KEY_REACH);
        let starts = found & *words & one & !maps.digits;
        let mut blocks = starts.blocks();
        while blocks != 0 {
            let index = blocks.trailing_zeros() as usize;
            let mut bits = starts.bits(index);
            while bits != 0 {
                let bit = bits & bits.wrapping_neg();
                if key::may_begin(&place.text[place.at(index) + bit.trailing_zeros() as usize..]) {
                    hits.push(Family::Prefix, place.at(index), bit);
                }
                bits ^= bit;
            }
            blocks &= blocks - 1;
        }
    }
}

const _: () = assert!((ssn::FIRST_RUNS | phone::FIRST_RUNS) >> 12 == 0, "what bare numbers are at most");
const _: () = assert!(RANDOM_BYTES_MIN == 12 && KEY_RUN_BYTES == 10, "what the predicates above count to");

//! The predicates of stage A, a stride of blocks at a time: first the bitmaps that most of them need, then
//! one family after the other, each only where a stride has what its matches cannot do without.
//!
//! Nothing here takes a closure: all of it is inlined into a function that is compiled for vectors.

use super::block::{BLOCK_BYTES, Block, Class, Classes, FINGERPRINT_BYTES, Few, WINDOW_BYTES};
use super::hits::{Family, Hits, Numbers, RANDOM_BYTES_MIN, Scan};
use super::key;
use super::rows::Row;

const HEX_LETTERS: Class = Class::of(b"ABCDEFabcdef");
/// What stands between the groups of numbers.
const SEPARATORS: Few = Few::of(b" -.)");
/// What stands in front of a zero that begins no number of its own.
const JOINED: Class = Class::of(b"-.ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");

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

/// Blocks at once, with the one in front and the one behind: of a long text, and of one of a few words.
const LONG: usize = 16;
const SHORT: usize = 4;

/// Finds the hits of `text`. Inlined into a function for each kind of block.
#[inline(always)]
pub fn scan<B: Block>(scan: &Scan, text: &[u8], last: bool, hits: &mut Hits) {
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
    let (mut base, mut filled) = (0, 1);
    while base < text.len() {
        let mut index = filled;
        while index < N {
            maps.read(scan, text, base + (index - 1) * BLOCK_BYTES, index);
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

    /// Reads block number `index`, which begins at byte `at`.
    #[inline(always)]
    fn read(&mut self, scan: &Scan, text: &[u8], at: usize, index: usize) {
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
        let mut padded = [0; WINDOW_BYTES];
        let window = window(text, at, &mut padded);
        let block = B::load(window);
        let Classes { digits, alphanumeric, random, escapes } = block.classes();
        self.digits.set(index, digits);
        self.alphanumeric.set(index, alphanumeric);
        self.random.set(index, random);
        self.escapes.set(index, escapes);
        let families = scan.families;
        if families.has(Family::Ipv6) {
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

    /// One block of the text.
    #[inline(always)]
    fn load<B: Block>(&self, index: usize) -> B {
        let mut padded = [0; WINDOW_BYTES];
        B::load(window(self.text, self.at(index).min(self.text.len()), &mut padded))
    }

    /// What stands between and in front of digits.
    #[inline(always)]
    fn marks<B: Block>(&self) -> Marks<B, N> {
        let (mut separators, mut dots, mut plus) = (Row::EMPTY, Row::EMPTY, Row::EMPTY);
        let (mut braces, mut zeros) = (Row::EMPTY, Row::EMPTY);
        // Nothing stands in front of the text.
        let mut index = if self.base > 0 { 0 } else { 1 };
        while index < N && self.at(index) < self.text.len() {
            let block: B = self.load(index);
            separators.set(index, block.any_of(&SEPARATORS));
            dots.set(index, block.equal(b'.'));
            plus.set(index, block.equal(b'+'));
            braces.set(index, block.equal(b'('));
            zeros.set(index, block.equal(b'0'));
            index += 1;
        }
        Marks { separators, dots, plus, braces, zeros }
    }

    /// Adds the bytes of a row.
    #[inline(always)]
    fn push<B: Block>(&self, family: Family, row: Row<B, N>, hits: &mut Hits) {
        let mut index = 1;
        while index < N - 1 {
            let bits = row.bits(index);
            if bits != 0 {
                hits.push(family, self.at(index), bits & self.valid(index));
            }
            index += 1;
        }
    }
}

#[inline(always)]
fn stride<B: Block, const N: usize>(scan: &Scan, maps: &Maps<B, N>, place: Place<N>, hits: &mut Hits) {
    let families = scan.families;
    // Where no alphanumeric character stands in front, or one that may belong to an escape.
    let words = !maps.alphanumeric.back::<1>() | maps.escapes.back::<2>() | maps.escapes.back::<6>();
    if !maps.digits.is_empty() {
        let marks = place.marks();
        if families.has(Family::Number) {
            numbers(scan.numbers, maps, &marks, &words, &place, hits);
        }
        if families.has(Family::Ipv4) {
            dotted(maps, &marks, &words, &place, hits);
        }
    } else if place.open && scan.numbers.phone {
        // Digits may follow.
        let Marks { plus, braces, .. } = place.marks::<B>();
        place.push(Family::Number, (plus | braces) & place.tail(NUMBER_REACH), hits);
    }
    if families.has(Family::Iban) && (!maps.digits.is_empty() || place.open) {
        accounts(maps, &words, &place, hits);
    }
    if families.has(Family::Ipv6) && (!maps.colons.is_empty() || place.open) {
        colons::<B, N>(maps, &words, &place, hits);
    }
    if families.has(Family::Random) || families.has(Family::Prefix) {
        runs(scan, maps, &words, &place, hits);
    }
    if families.has(Family::Email) {
        place.push(Family::Email, maps.ats, hits);
    }
    if families.has(Family::Expression) {
        place.push(Family::Expression, maps.expressions | place.tail(PREFIX_REACH - 1), hits);
    }
    if families.has(Family::Member) {
        place.push(Family::Member, maps.members, hits);
    }
    if families.has(Family::Literal) {
        place.push(Family::Literal, (maps.literals | place.tail(PREFIX_REACH - 1)) & words, hits);
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
    let mut starts = one & *words;
    if kinds.phone {
        let Marks { plus, braces, zeros, .. } = *marks;
        starts = starts | plus | braces;
        // +4 and 03, the beginnings of international and national phone numbers.
        found = found | one & plus.back::<1>();
        let zeros = one & (zeros & !one.back::<1>()).back::<1>();
        if !zeros.is_empty() {
            found = found | national::<B, N>(zeros, maps, place);
        }
    }
    let two = one & one.back::<1>();
    let four = two & two.back::<2>();
    if !four.is_empty() {
        found = found | grouped(kinds, &one, &two, &four, &marks.separators);
        let eight = four & four.back::<4>();
        if !eight.is_empty() && (kinds.ssn || kinds.phone) {
            found = found | eight & one.back::<8>() & !one.back::<9>();
        }
        if !eight.is_empty() && kinds.card {
            // The last of 14 digits.
            found = found | eight & four.back::<8>() & two.back::<12>() & !one.back::<14>();
        }
    }
    let reached = if found.is_empty() { found } else { found.reach::<NUMBER_REACH>() };
    place.push(Family::Number, starts & (reached | place.tail(NUMBER_REACH)), hits);
}

/// Zeros with a digit behind them that are not those of the month, the minute or the decimals of something
/// else; `zeros`: these digits.
#[inline(always)]
fn national<B: Block, const N: usize>(zeros: Row<B, N>, maps: &Maps<B, N>, place: &Place<N>) -> Row<B, N> {
    let (mut joined, mut colons) = (Row::EMPTY, Row::EMPTY);
    let mut index = 0;
    while index < N {
        if index > 0 || place.base > 0 {
            let block: B = place.load(index);
            joined.set(index, block.of_class(&JOINED));
            colons.set(index, block.equal(b':'));
        }
        index += 1;
    }
    zeros & !(joined | colons & maps.digits.back::<1>()).back::<2>()
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
    let starts = one & *words & !behind_dot;
    place.push(Family::Ipv4, starts & (found.reach::<V4_REACH>() | place.tail(V4_REACH)), hits);
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
    let starts = letters & *words & (found | place.tail(ACCOUNT_REACH));
    let mut index = 1;
    while index < N - 1 {
        let mut bits = starts.bits(index) & place.valid(index);
        while bits != 0 {
            let bit = bits & bits.wrapping_neg();
            let country = &place.text[place.at(index) + bit.trailing_zeros() as usize..];
            if country[0].is_ascii_uppercase() && country.get(1).is_none_or(u8::is_ascii_uppercase) {
                hits.push(Family::Iban, place.at(index), bit);
            }
            bits ^= bit;
        }
        index += 1;
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
    let reached = found.reach::<V6_REACH>() | place.tail(V6_REACH);
    let starts = *words & !one.back::<1>() & reached;
    let mut index = 1;
    while index < N - 1 {
        let bits = starts.bits(index) & place.valid(index);
        if bits != 0 {
            let groups =
                place.load::<B>(index).of_class(&HEX_LETTERS) | maps.digits.bits(index) | one.bits(index);
            hits.push(Family::Ipv6, place.at(index), bits & groups);
        }
        index += 1;
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
        let found = eight & four.ahead::<8>() | place.tail(RANDOM_REACH);
        place.push(Family::Random, one & !one.back::<1>() & found, hits);
    }
    if !scan.families.has(Family::Prefix) {
        return;
    }
    let found = eight & two.ahead::<8>() | place.tail(KEY_REACH);
    let starts = found & *words & one;
    let mut index = 1;
    while index < N - 1 {
        let mut bits = starts.bits(index);
        while bits != 0 {
            let bit = bits & bits.wrapping_neg();
            if key::may_begin(&place.text[place.at(index) + bit.trailing_zeros() as usize..]) {
                hits.push(Family::Prefix, place.at(index), bit);
            }
            bits ^= bit;
        }
        index += 1;
    }
}

const _: () = assert!(RANDOM_BYTES_MIN == 12 && KEY_RUN_BYTES == 10, "what the predicates above count to");

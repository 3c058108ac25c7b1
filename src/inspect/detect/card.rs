//! Payment card numbers (ISO/IEC 7812): digits in a known grouping, of a known issuer and length, with a
//! right check digit.

use super::{Outcome, Text, is_word};

/// Shortest and longest number, in digits.
const DIGITS_MIN: usize = 14;
const DIGITS_MAX: usize = 19;
/// Groups of the longest grouping.
const GROUPS_MAX: usize = 5;

/// Known groupings, as lowest and highest length of each group.
const SHAPES: &[&[(u8, u8)]] = &[
    &[(14, 19)],
    &[(4, 4), (6, 6), (4, 5)],
    &[(4, 4), (4, 4), (4, 4), (2, 7)],
    &[(4, 4), (4, 4), (4, 4), (4, 4), (1, 3)],
    &[(6, 6), (13, 13)],
];

/// Shapes as a bit set: those whose group `group` may have `length` digits.
const fn fitting(group: usize, length: usize) -> u8 {
    let mut set = 0;
    let mut shape = 0;
    while shape < SHAPES.len() {
        if group < SHAPES[shape].len() {
            let (low, high) = SHAPES[shape][group];
            if low as usize <= length && length <= high as usize {
                set |= 1 << shape;
            }
        }
        shape += 1;
    }
    set
}

/// By group and its length: the shapes that fit when the group is whole, and when it may still grow.
const FITTING: [[(u8, u8); DIGITS_MAX + 1]; GROUPS_MAX] = {
    let mut table = [[(0, 0); DIGITS_MAX + 1]; GROUPS_MAX];
    let mut group = 0;
    while group < GROUPS_MAX {
        let mut length = DIGITS_MAX + 1;
        let mut growing = 0;
        while length > 0 {
            length -= 1;
            growing |= fitting(group, length);
            table[group][length] = (fitting(group, length), growing);
        }
        group += 1;
    }
    table
};

/// How many digits the first group may have, as bits.
pub const FIRST_RUNS: u32 = {
    let (mut runs, mut length) = (0, 0);
    while length <= DIGITS_MAX {
        runs |= ((fitting(0, length) != 0) as u32) << length;
        length += 1;
    }
    runs
};

/// By group: the shapes that end with it.
const ENDING: [u8; GROUPS_MAX] = {
    let mut table = [0; GROUPS_MAX];
    let mut shape = 0;
    while shape < SHAPES.len() {
        table[SHAPES[shape].len() - 1] |= 1 << shape;
        shape += 1;
    }
    table
};

/// Issuers: lowest and highest prefix (of equal length), and the lengths of their numbers in digits.
/// From the public list of issuer identification numbers; the ranges of Maestro and RuPay overlap others.
const ISSUERS: &[(u32, u32, &[std::ops::RangeInclusive<usize>])] = &[
    (4, 4, &[16..=16, 19..=19]),     // Visa
    (51, 55, &[16..=16]),            // Mastercard
    (2221, 2720, &[16..=16]),        // Mastercard
    (34, 34, &[15..=15]),            // American Express
    (37, 37, &[15..=15]),            // American Express
    (300, 305, &[14..=14, 16..=19]), // Diners Club
    (309, 309, &[14..=14, 16..=19]), // Diners Club
    (36, 36, &[14..=19]),            // Diners Club
    (38, 39, &[14..=14, 16..=19]),   // Diners Club
    (6011, 6011, &[16..=19]),        // Discover
    (644, 649, &[16..=19]),          // Discover
    (65, 65, &[16..=19]),            // Discover, RuPay
    (35, 35, &[16..=19]),            // JCB, RuPay
    (1800, 1800, &[15..=15]),        // JCB
    (2131, 2131, &[15..=15]),        // JCB
    (62, 62, &[16..=19]),            // UnionPay
    (81, 82, &[16..=19]),            // UnionPay, RuPay
    (2200, 2205, &[16..=19]),        // Mir, Borica
    (50, 50, &[14..=19]),            // Maestro, RuPay, Verve
    (56, 58, &[14..=19]),            // Maestro
    (63, 63, &[14..=19]),            // Maestro, InterPayment, InstaPayment
    (67, 67, &[14..=19]),            // Maestro
    (60, 60, &[16..=16]),            // RuPay, Hipercard
    (9792, 9792, &[16..=16]),        // Troy
    (8600, 8600, &[16..=16]),        // UzCard
    (9860, 9860, &[16..=16]),        // Humo
];

/// What begins at `at`, a digit at which a number may start.
#[inline]
pub fn at(text: &Text, at: usize, rule: u16) -> Option<Outcome> {
    match number(text, at) {
        Number::No => None,
        Number::Live => Some(Outcome::Live),
        Number::End(end) => Some(Outcome::Match { end, rule }),
    }
}

#[inline]
fn is_separator(byte: u8) -> bool {
    matches!(byte, b' ' | b'-' | b'.')
}

/// Whether a number may start at `at`: not inside of a word, not the fraction of a decimal, not behind a
/// group with `-`.
#[inline]
pub fn may_start(text: &Text, at: usize) -> bool {
    let left = text.before(at, 1);
    if left.is_ascii_digit() {
        // The usual case, decided early: only the last digit of an escape may stand there.
        return text.before(at, 5) == b'u' && text.word_may_start(at);
    }
    let joins = matches!(left, b'.' | b'-') && text.before(at, 2).is_ascii_digit();
    !joins && text.word_may_start(at)
}

enum Number {
    No,
    Live,
    End(usize),
}

/// Reads groups from `start`; remembers the longest valid end.
fn number(text: &Text, start: usize) -> Number {
    let mut best = Number::No;
    let mut digits = Digits::new();
    // The shapes that fit the whole groups so far.
    let mut shapes = u8::MAX;
    let mut separator = None;
    let mut at = start;
    for group in 0..GROUPS_MAX {
        let Some(length) = digits.read(&text.bytes[at..]) else { return best };
        at += length;
        let known = digits.known();
        if group == 0 && known.len() >= PREFIX_DIGITS && lengths_of(known) == 0 {
            return Number::No;
        }
        let (fitting, growing) = FITTING[group][length];
        let Some(byte) = text.at(at) else {
            return if shapes & growing != 0 && issuer_may_match(known) { Number::Live } else { best };
        };
        shapes &= fitting;
        if shapes & ENDING[group] != 0 && !is_word(byte) && digits.are_valid() {
            best = Number::End(at);
        }
        shapes &= !ENDING[group];
        if shapes == 0 || !is_separator(byte) || separator.is_some_and(|one| one != byte) {
            return best;
        }
        match text.at(at + 1) {
            None if issuer_may_match(digits.known()) => return Number::Live,
            Some(next) if next.is_ascii_digit() => {}
            _ => return best,
        }
        separator = Some(byte);
        at += 1;
    }
    best
}

/// Bytes that are read at once.
const WORD_BYTES: usize = size_of::<u64>();
/// Zeros in front of the digits, so that the words that end with the last digit may begin there.
const FRONT_BYTES: usize = 2 * WORD_BYTES;

/// The digits of a number, as numbers.
struct Digits {
    bytes: [u8; FRONT_BYTES + DIGITS_MAX + WORD_BYTES],
    count: usize,
}

impl Digits {
    fn new() -> Digits {
        Digits { bytes: [0; FRONT_BYTES + DIGITS_MAX + WORD_BYTES], count: 0 }
    }

    fn known(&self) -> &[u8] {
        &self.bytes[FRONT_BYTES..FRONT_BYTES + self.count]
    }

    /// Adds the digits at the beginning of `bytes`, and says how many these are; `None` if there are more
    /// than any number has.
    #[inline]
    fn read(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut length = 0;
        while let Some(word) = bytes[length..].first_chunk() {
            let numbers = u64::from_le_bytes(*word) ^ 0x3030_3030_3030_3030;
            // The highest bit of each byte that is no digit: a sum above 127, or the bit itself.
            let others = ((numbers & 0x7f7f_7f7f_7f7f_7f7f) + 0x7676_7676_7676_7676) | numbers;
            let run = (others & 0x8080_8080_8080_8080).trailing_zeros() as usize / WORD_BYTES;
            let at = FRONT_BYTES + self.count;
            self.bytes[at..at + WORD_BYTES].copy_from_slice(&numbers.to_le_bytes());
            self.add(run)?;
            length += run;
            if run < WORD_BYTES {
                return Some(length);
            }
        }
        for byte in bytes[length..].iter().take_while(|byte| byte.is_ascii_digit()) {
            self.bytes[FRONT_BYTES + self.count] = byte - b'0';
            self.add(1)?;
            length += 1;
        }
        Some(length)
    }

    fn add(&mut self, digits: usize) -> Option<()> {
        self.count += digits;
        (self.count <= DIGITS_MAX).then_some(())
    }

    #[inline]
    fn are_valid(&self) -> bool {
        self.count >= DIGITS_MIN && is_known(self.known()) && self.check_digit_is_right()
    }

    /// ISO/IEC 7812-1 annex B, "Luhn": eight digits at a time, from the last one.
    #[inline]
    fn check_digit_is_right(&self) -> bool {
        // Every second one, of which the last digit is none.
        const DOUBLED: u64 = 0x00ff_00ff_00ff_00ff;
        let end = FRONT_BYTES + self.count;
        let mut sums = 0;
        for back in [WORD_BYTES, 2 * WORD_BYTES, 3 * WORD_BYTES] {
            let word = self.bytes[end - back..].first_chunk().copied();
            let digits = u64::from_le_bytes(word.unwrap_or_default());
            let doubled = (digits & DOUBLED) * 2;
            // Those of two digits become the sum of these: nine less.
            let long = ((doubled + 0x7676_7676_7676_7676) & 0x8080_8080_8080_8080) >> 7;
            // At most nine a byte, three times.
            sums += (digits & !DOUBLED) + doubled - long * 9;
        }
        // At most 27 times eight.
        let sum = sums.wrapping_mul(0x0101_0101_0101_0101) >> 56;
        sum.is_multiple_of(10)
    }
}

fn is_known(digits: &[u8]) -> bool {
    lengths_of(digits) >> digits.len() & 1 != 0 && digits.iter().any(|digit| *digit != digits[0])
}

/// Digits that tell the issuer.
const PREFIX_DIGITS: usize = 4;

/// By the first four digits of a number: the lengths that it may have, as bits.
static LENGTHS: [u32; 10_000] = {
    let mut lengths = [0; 10_000];
    let mut row = 0;
    while row < ISSUERS.len() {
        let (low, high, known) = &ISSUERS[row];
        let mut bits = 0;
        let mut index = 0;
        while index < known.len() {
            let mut length = *known[index].start();
            while length <= *known[index].end() {
                bits |= 1 << length;
                length += 1;
            }
            index += 1;
        }
        let width = 10usize.pow(PREFIX_DIGITS as u32 - 1 - low.ilog10());
        let mut prefix = *low as usize * width;
        while prefix < (*high as usize + 1) * width {
            lengths[prefix] |= bits;
            prefix += 1;
        }
        row += 1;
    }
    lengths
};

/// The lengths, as bits, that a number may have which begins with these digits; at least four.
#[inline]
fn lengths_of(digits: &[u8]) -> u32 {
    LENGTHS[value(&digits[..PREFIX_DIGITS]) as usize]
}

/// Whether a number that begins with these digits may be of a known issuer.
fn issuer_may_match(digits: &[u8]) -> bool {
    ISSUERS.iter().any(|(low, high, _)| {
        let length = low.ilog10() as usize + 1;
        let known = digits.len().min(length);
        let missing = 10u32.pow((length - known) as u32);
        let prefix = value(&digits[..known]);
        (low / missing..=high / missing).contains(&prefix)
    })
}

fn value(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |value, digit| value * 10 + u32::from(*digit))
}

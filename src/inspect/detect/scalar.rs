//! 64 bytes of text as bitmaps: which of them are of a class, and where a prefix may begin; and blocks that
//! are looked at byte by byte, which every machine can do and the vector code is held to.
//!
//! Bit `n` of a bitmap stands for byte `n`. Classes hold ASCII bytes only.

use super::class::{Class, FINGERPRINT_BYTES, Few, Fingerprints};
use super::rows::Bitmaps;

/// Bytes of a block.
pub const BLOCK_BYTES: usize = 64;
/// A block and the bytes behind it that complete a fingerprint which begins in it.
pub const WINDOW_BYTES: usize = BLOCK_BYTES + FINGERPRINT_BYTES - 1;
/// Kinds of bytes: by low nibble and by high nibble, the kinds that it may belong to. A byte is of those
/// kinds that both name.
pub const KINDS: [[u8; 16]; 2] = {
    const fn rows(kinds: [&[u8]; 8]) -> [u8; 16] {
        let mut rows = [0; 16];
        let mut kind = 0;
        while kind < 8 {
            let mut index = 0;
            while index < kinds[kind].len() {
                rows[kinds[kind][index] as usize] |= 1 << kind;
                index += 1;
            }
            kind += 1;
        }
        rows
    }
    const LETTERS: &[u8] = &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
    let low = rows([
        &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        LETTERS,
        &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
        // !#$%&*+-./
        &[1, 3, 4, 5, 6, 10, 11, 13, 14, 15],
        // ^_~ (and DEL, in front of which nothing starts)
        &[14, 15],
        // @
        &[0],
        // ?
        &[15],
        // \
        &[12],
    ]);
    [low, rows([&[3], &[4, 6], &[5, 7], &[2], &[5, 7], &[4], &[3], &[5]])]
};
/// The kind of digits.
pub const KIND_DIGIT: u8 = 1;
/// The kinds of letters and digits.
pub const KINDS_ALPHANUMERIC: u8 = 0b111;
/// The kinds of the characters of random strings.
pub const KINDS_RANDOM: u8 = 0x7f;
/// The kind of backslashes.
pub const KIND_ESCAPE: u8 = 0x80;

/// The classes of bytes that most predicates ask for, as bitmaps.
#[derive(Clone, Copy, Debug, Default)]
pub struct Classes {
    /// ASCII digits.
    pub digits: u64,
    /// ASCII letters and digits.
    pub alphanumeric: u64,
    /// What random strings consist of; DEL, too.
    pub random: u64,
    /// Backslashes.
    pub escapes: u64,
}

/// One block of text.
pub trait Block: Copy {
    /// The block at the beginning of `window`.
    fn load(window: &[u8; WINDOW_BYTES]) -> Self;
    /// Which bytes are of the common classes.
    fn classes(self) -> Classes;
    /// The bytes that equal `byte`.
    fn equal(self, byte: u8) -> u64;
    /// The bytes of a class.
    fn of_class(self, class: &Class) -> u64;
    /// The bytes that are one of a few.
    fn any_of(self, few: &Few) -> u64;
    /// The bytes at which a prefix may begin; `window`: the block with what follows it.
    fn fingerprints(self, window: &[u8; WINDOW_BYTES], prefixes: &Fingerprints) -> u64;

    /// The bytes that have one of `maps` so many places in front of them; 1 to 63.
    fn back<const N: usize>(maps: &Bitmaps<N>, places: u32) -> Bitmaps<N>;
    /// The bytes that have one of `maps` so many places behind them; 1 to 63.
    fn ahead<const N: usize>(maps: &Bitmaps<N>, places: u32) -> Bitmaps<N>;
    /// Those of both.
    fn and<const N: usize>(one: &Bitmaps<N>, other: &Bitmaps<N>) -> Bitmaps<N>;
    /// Those of either.
    fn or<const N: usize>(one: &Bitmaps<N>, other: &Bitmaps<N>) -> Bitmaps<N>;
    /// Those that are none.
    fn not<const N: usize>(maps: &Bitmaps<N>) -> Bitmaps<N>;
    /// Whether there are none.
    #[inline(always)]
    fn is_empty<const N: usize>(maps: &Bitmaps<N>) -> bool {
        Self::blocks(maps) == 0
    }
    /// The blocks that have any, one bit each.
    fn blocks<const N: usize>(maps: &Bitmaps<N>) -> u32;
}

/// A block that is looked at byte by byte.
#[derive(Clone, Copy, Debug)]
pub struct Scalar([u8; BLOCK_BYTES]);

#[inline]
fn bitmap(bit: impl Fn(usize) -> bool) -> u64 {
    (0..BLOCK_BYTES).fold(0, |bits, index| bits | u64::from(bit(index)) << index)
}

impl Block for Scalar {
    fn load(window: &[u8; WINDOW_BYTES]) -> Scalar {
        Scalar(std::array::from_fn(|index| window[index]))
    }

    fn classes(self) -> Classes {
        let kinds = self.0.map(|byte| KINDS[0][usize::from(byte & 15)] & KINDS[1][usize::from(byte >> 4)]);
        let any = |of: u8| bitmap(|index| kinds[index] & of != 0);
        Classes {
            digits: any(KIND_DIGIT),
            alphanumeric: any(KINDS_ALPHANUMERIC),
            random: any(KINDS_RANDOM),
            escapes: any(KIND_ESCAPE),
        }
    }

    fn equal(self, byte: u8) -> u64 {
        bitmap(|index| self.0[index] == byte)
    }

    fn of_class(self, class: &Class) -> u64 {
        bitmap(|index| class.has(self.0[index]))
    }

    fn any_of(self, few: &Few) -> u64 {
        bitmap(|index| self.0[index] < 0x80 && few.0[usize::from(self.0[index] & 15)] == self.0[index])
    }

    fn fingerprints(self, window: &[u8; WINDOW_BYTES], prefixes: &Fingerprints) -> u64 {
        bitmap(|index| window[index..].first_chunk().is_some_and(|head| prefixes.may_begin(head)))
    }

    fn back<const N: usize>(maps: &Bitmaps<N>, places: u32) -> Bitmaps<N> {
        let mut before = 0;
        each(maps, |bits| {
            let moved = bits << places | before >> (u64::BITS - places);
            before = bits;
            moved
        })
    }

    fn ahead<const N: usize>(maps: &Bitmaps<N>, places: u32) -> Bitmaps<N> {
        let mut next = maps.bits.iter().skip(1).copied().chain([0]);
        each(maps, |bits| bits >> places | next.next().unwrap_or(0) << (u64::BITS - places))
    }

    fn and<const N: usize>(one: &Bitmaps<N>, other: &Bitmaps<N>) -> Bitmaps<N> {
        let mut others = other.bits.iter();
        each(one, |bits| bits & others.next().unwrap_or(&0))
    }

    fn or<const N: usize>(one: &Bitmaps<N>, other: &Bitmaps<N>) -> Bitmaps<N> {
        let mut others = other.bits.iter();
        each(one, |bits| bits | others.next().unwrap_or(&0))
    }

    fn not<const N: usize>(maps: &Bitmaps<N>) -> Bitmaps<N> {
        each(maps, |bits| !bits)
    }

    fn blocks<const N: usize>(maps: &Bitmaps<N>) -> u32 {
        (0..N).fold(0, |blocks, index| blocks | u32::from(maps.bits[index] != 0) << index)
    }
}

/// The bitmaps that `change` makes of each of `maps`, in order.
fn each<const N: usize>(maps: &Bitmaps<N>, change: impl FnMut(u64) -> u64) -> Bitmaps<N> {
    Bitmaps::of(maps.bits.map(change))
}

#[cfg(test)]
mod tests {
    use super::Fingerprints;
    use crate::inspect::detect::block::scan;
    use crate::inspect::detect::hits::{Family, Hits, Numbers, Scan};
    use crate::inspect::detect::vectors::Vectors;
    use proptest::prelude::*;

    fn scan_for(vectors: Vectors) -> Scan {
        let prefixes = [&b"eyJ"[..], b"-----BEGIN ", b"AKIA", b"sk-ant-", b"ghp_", b"\xc3\xa9x"];
        let fingerprints = Fingerprints::new(prefixes.into_iter());
        let mut all = Scan { expressions: fingerprints, ..Scan::default() };
        all.members = all.expressions.clone();
        all.vectors = vectors;
        all.numbers = Numbers { card: true, ssn: true, phone: true };
        Family::ALL.into_iter().for_each(|family| all.families.insert(family));
        all
    }

    fn check(text: &[u8], from: usize, last: bool) {
        let mut plain = Hits::default();
        scan_for(Vectors::None).run(text, from, last, &mut plain);
        for vectors in available().iter().copied() {
            let mut found = Hits::default();
            scan_for(vectors).run(text, from, last, &mut found);
            for family in Family::ALL {
                let (plain, found) = (plain.of(family), found.of(family));
                assert_eq!(plain, found, "{vectors:?}, {family:?} of {:?}", String::from_utf8_lossy(text));
                let is_inside = |hit: &u32| (from..text.len()).contains(&(*hit as usize));
                assert!(plain.is_sorted() && plain.iter().all(is_inside));
            }
        }
    }

    /// What this machine can be asked for.
    fn available() -> &'static [Vectors] {
        match Vectors::of_machine() {
            Vectors::None => &[],
            Vectors::Avx2 => &[Vectors::Avx2],
            Vectors::Avx512 => &[Vectors::Avx2, Vectors::Avx512],
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

        #[test]
        fn vectors_find_what_plain_code_finds(
            text in prop_oneof![
                "[0-9 .:+@()A-Zeyk\\\\-]{0,1200}",
                "(?s:.){0,400}",
                "([0-9]{1,4}[ .:-]){0,240}",
            ],
            from in 0usize..70,
            last: bool,
        ) {
            check(text.as_bytes(), from.min(text.len()), last);
        }
    }

    #[test]
    fn nothing_behind_the_end_of_a_text_is_hit() {
        let mut hits = Hits::default();
        for length in 0..200 {
            let vectors = Vectors::of_machine();
            scan(&scan_for(vectors), &b"1".repeat(length), true, vectors, &mut hits);
            // What stands in front may be an escape, whose last digits these are.
            let starts = hits.of(Family::Number);
            assert_eq!(starts.first(), (length >= 9).then_some(&0), "{length}");
            assert!(starts.iter().all(|start| *start < 6), "{starts:?}");
            hits.clear();
        }
    }
}

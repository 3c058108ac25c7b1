//! 64 bytes of text as bitmaps: which of them are of a class, and where a prefix may begin. With AVX2 where
//! the machine has it, else byte by byte; both say the same, which a test holds.
//!
//! Bit `n` of a bitmap stands for byte `n`. Classes hold ASCII bytes only.
#![allow(unsafe_code)]

pub use super::class::{Class, FINGERPRINT_BYTES, Few, Fingerprints};
use super::hits::{Hits, Scan};
use super::predicates;
use super::rows::Bitmaps;

/// Bytes of a block.
pub const BLOCK_BYTES: usize = 64;
/// A block and the bytes behind it that complete a fingerprint which begins in it.
pub const WINDOW_BYTES: usize = BLOCK_BYTES + FINGERPRINT_BYTES - 1;
/// Kinds of bytes: by low nibble and by high nibble, the kinds that it may belong to. A byte is of those
/// kinds that both name.
const KINDS: [[u8; 16]; 2] = {
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
/// The kinds of digits, of letters and digits, of the characters of random strings, and of backslashes.
const KIND_DIGIT: u8 = 1;
const KINDS_ALPHANUMERIC: u8 = 0b111;
const KINDS_RANDOM: u8 = 0x7f;
const KIND_ESCAPE: u8 = 0x80;

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
    fn is_empty<const N: usize>(maps: &Bitmaps<N>) -> bool;
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

    fn is_empty<const N: usize>(maps: &Bitmaps<N>) -> bool {
        maps.bits.iter().all(|bits| *bits == 0)
    }
}

/// The bitmaps that `change` makes of each of `maps`, in order.
fn each<const N: usize>(maps: &Bitmaps<N>, change: impl FnMut(u64) -> u64) -> Bitmaps<N> {
    Bitmaps::of(maps.bits.map(change))
}

/// Whether this machine has what the vector code needs.
pub fn has_vectors() -> bool {
    #[cfg(target_arch = "x86_64")]
    return ["avx2", "bmi1", "bmi2", "lzcnt", "popcnt"].len() == 5
        && is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("lzcnt")
        && is_x86_feature_detected!("popcnt");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// Finds the hits of `text`; `last`: no more of it comes; `vectors`: what [`has_vectors`] said.
pub fn scan(scan: &Scan, text: &[u8], last: bool, vectors: bool, hits: &mut Hits) {
    #[cfg(target_arch = "x86_64")]
    if vectors {
        // SAFETY: the caller gives `vectors` from `has_vectors`, which asked for each feature that the
        // function is compiled for.
        unsafe { avx2::scan(scan, text, last, hits) };
        return;
    }
    debug_assert!(!vectors, "only x86-64 has them");
    predicates::scan::<Scalar>(scan, text, last, hits);
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::super::hits::{Hits, Scan};
    use super::super::predicates;
    use super::super::rows::Bitmaps;
    use super::{
        Block, Class, Classes, FINGERPRINT_BYTES, Few, Fingerprints, KINDS, KINDS_ALPHANUMERIC, KINDS_RANDOM,
        WINDOW_BYTES,
    };
    use std::arch::x86_64::{
        __m128i, __m256i, _mm_cvtsi32_si128, _mm_loadu_si128, _mm256_and_si256, _mm256_broadcastsi128_si256,
        _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8,
        _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_sll_epi64, _mm256_slli_epi16, _mm256_srl_epi64,
        _mm256_srli_epi16, _mm256_storeu_si256, _mm256_testz_si256, _mm256_xor_si256,
    };

    /// A block in two vector registers.
    #[derive(Clone, Copy)]
    struct Vectors([__m256i; 2]);

    /// High nibble to bit, for classes.
    const HIGH_BITS: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 0, 0, 0, 0, 0, 0, 0, 0];

    /// As [`super::scan`].
    ///
    /// # Safety
    /// The machine has AVX2, BMI1, BMI2, LZCNT and POPCNT.
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    // SAFETY: the caller holds what the section above asks for.
    pub unsafe fn scan(scan: &Scan, text: &[u8], last: bool, hits: &mut Hits) {
        predicates::scan::<Vectors>(scan, text, last, hits);
    }

    // SAFETY, for all blocks below: `Vectors` is private to this module and only `scan` uses it, so that
    // every call runs on a machine with AVX2. Pointers come from references to arrays that are as long as
    // what is loaded; loads are unaligned ones.
    //
    // Each helper is inlined into `scan`, whatever the optimiser thinks of it, and none takes a closure:
    // that would be a function of its own, compiled without AVX2, whose intrinsics would be calls.

    #[inline(always)]
    fn table(rows: &[u8; 16]) -> __m256i {
        // SAFETY: as above; 16 bytes of 16.
        unsafe { _mm256_broadcastsi128_si256(_mm_loadu_si128(rows.as_ptr().cast::<__m128i>())) }
    }

    /// Row of a low nibble and row of a high nibble, joined.
    #[inline(always)]
    fn look_up(bytes: __m256i, low: __m256i, high: __m256i) -> __m256i {
        // SAFETY: as above; no memory is touched.
        unsafe {
            let nibbles = _mm256_and_si256(bytes, _mm256_set1_epi8(15));
            let upper_nibbles = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), _mm256_set1_epi8(15));
            both(_mm256_shuffle_epi8(low, nibbles), _mm256_shuffle_epi8(high, upper_nibbles))
        }
    }

    /// One bit for each byte that is zero.
    #[inline(always)]
    fn zero_bits(bytes: __m256i) -> u64 {
        // SAFETY: as above; no memory is touched.
        unsafe { u64::from(_mm256_movemask_epi8(_mm256_cmpeq_epi8(bytes, _mm256_setzero_si256())) as u32) }
    }

    /// One bit for each byte that is not zero.
    #[inline(always)]
    fn non_zero(vectors: [__m256i; 2]) -> u64 {
        !(zero_bits(vectors[0]) | zero_bits(vectors[1]) << 32)
    }

    #[inline(always)]
    fn equal_bits(bytes: __m256i, byte: u8) -> u64 {
        // SAFETY: as above; no memory is touched.
        unsafe {
            u64::from(_mm256_movemask_epi8(_mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(byte as i8))) as u32)
        }
    }

    /// One bit for each byte that is what stands in the row of its low nibble; those that are not ASCII are
    /// looked up as zero.
    #[inline(always)]
    fn same_bits(bytes: __m256i, rows: __m256i) -> u64 {
        // SAFETY: as above; no memory is touched.
        unsafe {
            let same = _mm256_cmpeq_epi8(bytes, _mm256_shuffle_epi8(rows, bytes));
            u64::from(_mm256_movemask_epi8(same) as u32)
        }
    }

    /// The highest bit of each byte.
    #[inline(always)]
    fn signs(one: __m256i, other: __m256i) -> u64 {
        // SAFETY: as above; no memory is touched.
        unsafe {
            u64::from(_mm256_movemask_epi8(one) as u32) | u64::from(_mm256_movemask_epi8(other) as u32) << 32
        }
    }

    /// The bits of each byte moved up; what comes in below belongs to its neighbour.
    #[inline(always)]
    fn shifted<const PLACES: i32>(bytes: __m256i) -> __m256i {
        // SAFETY: as above; no memory is touched.
        unsafe { _mm256_slli_epi16::<PLACES>(bytes) }
    }

    #[inline(always)]
    fn of(bytes: __m256i, bits: u8) -> __m256i {
        // SAFETY: as above; no memory is touched.
        unsafe { _mm256_and_si256(bytes, _mm256_set1_epi8(bits as i8)) }
    }

    /// The 32 bytes that begin `OFFSET` bytes behind the start of a window.
    #[inline(always)]
    fn bytes_at<const OFFSET: usize>(window: &[u8; WINDOW_BYTES]) -> __m256i {
        const { assert!(OFFSET + 32 <= WINDOW_BYTES) };
        // SAFETY: as above; they lie within the window.
        unsafe { _mm256_loadu_si256(window.as_ptr().add(OFFSET).cast::<__m256i>()) }
    }

    #[inline(always)]
    fn both(one: __m256i, other: __m256i) -> __m256i {
        // SAFETY: as above; no memory is touched.
        unsafe { _mm256_and_si256(one, other) }
    }

    /// Bitmaps of a vector.
    const LANES: usize = 4;

    /// The bitmaps from number `index` on; from the one in front of or behind these with `shift` -1 or 1.
    #[inline(always)]
    fn lanes<const N: usize>(maps: &Bitmaps<N>, index: usize, shift: isize) -> __m256i {
        const { assert!(N.is_multiple_of(LANES)) };
        debug_assert!(index + LANES <= N && (-1..=1).contains(&shift));
        // SAFETY: as above; `Bitmaps` has one bitmap in front of its `N` and one behind, in the order of its
        // fields, and the pointer is one to all of it.
        unsafe {
            let first = std::ptr::from_ref(maps).cast::<u64>().add(1);
            _mm256_loadu_si256(first.offset(index as isize + shift).cast::<__m256i>())
        }
    }

    #[inline(always)]
    fn put<const N: usize>(maps: &mut Bitmaps<N>, index: usize, lanes: __m256i) {
        debug_assert!(index + LANES <= N);
        // SAFETY: as above; the lanes lie within the array.
        unsafe { _mm256_storeu_si256(maps.bits.as_mut_ptr().add(index).cast::<__m256i>(), lanes) }
    }

    #[inline(always)]
    fn up(lanes: __m256i, places: u32) -> __m256i {
        // SAFETY: as above; no memory is touched.
        unsafe { _mm256_sll_epi64(lanes, _mm_cvtsi32_si128(places as i32)) }
    }

    #[inline(always)]
    fn down(lanes: __m256i, places: u32) -> __m256i {
        // SAFETY: as above; no memory is touched.
        unsafe { _mm256_srl_epi64(lanes, _mm_cvtsi32_si128(places as i32)) }
    }

    #[inline(always)]
    fn either(one: __m256i, other: __m256i) -> __m256i {
        // SAFETY: as above; no memory is touched.
        unsafe { _mm256_or_si256(one, other) }
    }

    impl Block for Vectors {
        #[inline(always)]
        fn load(window: &[u8; WINDOW_BYTES]) -> Vectors {
            Vectors([bytes_at::<0>(window), bytes_at::<32>(window)])
        }

        #[inline(always)]
        fn classes(self) -> Classes {
            let (low, high) = (table(&KINDS[0]), table(&KINDS[1]));
            let kinds = [look_up(self.0[0], low, high), look_up(self.0[1], low, high)];
            Classes {
                digits: signs(shifted::<7>(kinds[0]), shifted::<7>(kinds[1])),
                alphanumeric: non_zero([of(kinds[0], KINDS_ALPHANUMERIC), of(kinds[1], KINDS_ALPHANUMERIC)]),
                random: non_zero([of(kinds[0], KINDS_RANDOM), of(kinds[1], KINDS_RANDOM)]),
                escapes: signs(kinds[0], kinds[1]),
            }
        }

        #[inline(always)]
        fn equal(self, byte: u8) -> u64 {
            equal_bits(self.0[0], byte) | equal_bits(self.0[1], byte) << 32
        }

        #[inline(always)]
        fn of_class(self, class: &Class) -> u64 {
            let (low, high) = (table(&class.0), table(&HIGH_BITS));
            non_zero([look_up(self.0[0], low, high), look_up(self.0[1], low, high)])
        }

        #[inline(always)]
        fn any_of(self, few: &Few) -> u64 {
            let rows = table(&few.0);
            same_bits(self.0[0], rows) | same_bits(self.0[1], rows) << 32
        }

        #[inline(always)]
        fn fingerprints(self, window: &[u8; WINDOW_BYTES], prefixes: &Fingerprints) -> u64 {
            let [low, high] = [&prefixes.low, &prefixes.high];
            let rows = [
                [table(&low[0]), table(&high[0])],
                [table(&low[1]), table(&high[1])],
                [table(&low[2]), table(&high[2])],
            ];
            let next = [
                [bytes_at::<1>(window), bytes_at::<2>(window)],
                [bytes_at::<33>(window), bytes_at::<34>(window)],
            ];
            non_zero([head(self.0[0], next[0], rows), head(self.0[1], next[1], rows)])
        }

        #[inline(always)]
        fn back<const N: usize>(maps: &Bitmaps<N>, places: u32) -> Bitmaps<N> {
            let mut out = Bitmaps::EMPTY;
            let mut index = 0;
            while index < N {
                let moved = up(lanes(maps, index, 0), places);
                put(&mut out, index, either(moved, down(lanes(maps, index, -1), u64::BITS - places)));
                index += LANES;
            }
            out
        }

        #[inline(always)]
        fn ahead<const N: usize>(maps: &Bitmaps<N>, places: u32) -> Bitmaps<N> {
            let mut out = Bitmaps::EMPTY;
            let mut index = 0;
            while index < N {
                let moved = down(lanes(maps, index, 0), places);
                put(&mut out, index, either(moved, up(lanes(maps, index, 1), u64::BITS - places)));
                index += LANES;
            }
            out
        }

        #[inline(always)]
        fn and<const N: usize>(one: &Bitmaps<N>, other: &Bitmaps<N>) -> Bitmaps<N> {
            let mut out = Bitmaps::EMPTY;
            let mut index = 0;
            while index < N {
                put(&mut out, index, both(lanes(one, index, 0), lanes(other, index, 0)));
                index += LANES;
            }
            out
        }

        #[inline(always)]
        fn or<const N: usize>(one: &Bitmaps<N>, other: &Bitmaps<N>) -> Bitmaps<N> {
            let mut out = Bitmaps::EMPTY;
            let mut index = 0;
            while index < N {
                put(&mut out, index, either(lanes(one, index, 0), lanes(other, index, 0)));
                index += LANES;
            }
            out
        }

        #[inline(always)]
        fn not<const N: usize>(maps: &Bitmaps<N>) -> Bitmaps<N> {
            let mut out = Bitmaps::EMPTY;
            let mut index = 0;
            while index < N {
                // SAFETY: as above; no memory is touched.
                let inverted = unsafe { _mm256_xor_si256(lanes(maps, index, 0), _mm256_set1_epi8(-1)) };
                put(&mut out, index, inverted);
                index += LANES;
            }
            out
        }

        #[inline(always)]
        fn is_empty<const N: usize>(maps: &Bitmaps<N>) -> bool {
            let mut any = lanes(maps, 0, 0);
            let mut index = LANES;
            while index < N {
                any = either(any, lanes(maps, index, 0));
                index += LANES;
            }
            // SAFETY: as above; no memory is touched.
            unsafe { _mm256_testz_si256(any, any) != 0 }
        }
    }

    /// The buckets whose prefixes may begin at each byte; `next`: the same bytes, one and two places on.
    #[inline(always)]
    fn head(
        first: __m256i,
        next: [__m256i; FINGERPRINT_BYTES - 1],
        rows: [[__m256i; 2]; FINGERPRINT_BYTES],
    ) -> __m256i {
        let one = look_up(first, rows[0][0], rows[0][1]);
        let two = look_up(next[0], rows[1][0], rows[1][1]);
        both(both(one, two), look_up(next[1], rows[2][0], rows[2][1]))
    }
}

#[cfg(test)]
mod tests {
    use super::{Fingerprints, Hits, Scan, has_vectors, scan};
    use crate::inspect::detect::hits::{Family, Numbers};
    use proptest::prelude::*;

    fn scan_for(vectors: bool) -> Scan {
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
        let (mut plain, mut vectors) = (Hits::default(), Hits::default());
        scan_for(false).run(text, from, last, &mut plain);
        scan_for(true).run(text, from, last, &mut vectors);
        for family in Family::ALL {
            let (plain, vectors) = (plain.of(family), vectors.of(family));
            assert_eq!(plain, vectors, "{family:?} of {:?}", String::from_utf8_lossy(text));
            assert!(
                plain.is_sorted() && plain.iter().all(|hit| (from..text.len()).contains(&(*hit as usize)))
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

        #[test]
        fn vectors_find_what_plain_code_finds(
            text in prop_oneof![
                "[0-9 .:+@()A-Zeyk\\\\-]{0,300}",
                "(?s:.){0,200}",
                "([0-9]{1,4}[ .:-]){0,60}",
            ],
            from in 0usize..70,
            last: bool,
        ) {
            if has_vectors() {
                check(text.as_bytes(), from.min(text.len()), last);
            }
        }
    }

    #[test]
    fn nothing_behind_the_end_of_a_text_is_hit() {
        let mut hits = Hits::default();
        for length in 0..200 {
            scan(&scan_for(has_vectors()), &b"1".repeat(length), true, has_vectors(), &mut hits);
            // What stands in front may be an escape, whose last digits these are.
            let starts = hits.of(Family::Number);
            assert_eq!(starts.first(), (length >= 9).then_some(&0), "{length}");
            assert!(starts.iter().all(|start| *start < 6), "{starts:?}");
            hits.clear();
        }
    }
}

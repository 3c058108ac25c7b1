//! Looking at 64 bytes of text at once: with AVX-512 or AVX2 where the machine has it, else byte by byte. All
//! say the same, which a test holds.
#![allow(unsafe_code)]

use super::hits::{Hits, Scan};
use super::predicates;
use super::scalar::Scalar;
use super::vectors::Vectors;

/// High nibble to bit, for classes.
#[cfg(target_arch = "x86_64")]
const HIGH_BITS: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 0, 0, 0, 0, 0, 0, 0, 0];

/// Texts for which AVX-512 gains nothing: their blocks do not fill its registers.
#[cfg(target_arch = "x86_64")]
const SHORT_BYTES: usize = 128;

/// Finds the hits of `text`; `last`: no more of it comes; `vectors`: [`Vectors::of_machine`], or fewer.
pub fn scan(scan: &Scan, text: &[u8], last: bool, vectors: Vectors, hits: &mut Hits) {
    match vectors {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the caller gives `vectors` from `of_machine`, which asked for each feature that this is
        // compiled for.
        Vectors::Avx512 if text.len() > SHORT_BYTES => unsafe { avx512::scan(scan, text, last, hits) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above; where there is AVX-512, there is AVX2.
        Vectors::Avx2 | Vectors::Avx512 => unsafe { avx2::scan(scan, text, last, hits) },
        _ => predicates::scan::<Scalar, 4, 16>(scan, text, last, hits),
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::super::class::{Class, FINGERPRINT_BYTES, Few, Fingerprints};
    use super::super::hits::{Hits, Scan};
    use super::super::predicates;
    use super::super::rows::Bitmaps;
    use super::super::scalar::{Block, Classes, KINDS, KINDS_ALPHANUMERIC, KINDS_RANDOM, WINDOW_BYTES};
    use super::HIGH_BITS;
    use std::arch::x86_64::{
        __m128i, __m256i, _mm_cvtsi32_si128, _mm_loadu_si128, _mm256_and_si256, _mm256_broadcastsi128_si256,
        _mm256_castsi256_pd, _mm256_cmpeq_epi8, _mm256_cmpeq_epi64, _mm256_loadu_si256, _mm256_movemask_epi8,
        _mm256_movemask_pd, _mm256_or_si256, _mm256_set1_epi8, _mm256_setzero_si256, _mm256_shuffle_epi8,
        _mm256_sll_epi64, _mm256_slli_epi16, _mm256_srl_epi64, _mm256_srli_epi16, _mm256_storeu_si256,
        _mm256_testz_si256, _mm256_xor_si256,
    };

    /// A block in two vector registers.
    #[derive(Clone, Copy)]
    struct Vectors([__m256i; 2]);

    /// As [`super::scan`].
    ///
    /// # Safety
    /// The machine has AVX2, BMI1, BMI2, LZCNT and POPCNT.
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    // SAFETY: the caller holds what the section above asks for.
    pub unsafe fn scan(scan: &Scan, text: &[u8], last: bool, hits: &mut Hits) {
        predicates::scan::<Vectors, 4, 16>(scan, text, last, hits);
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

        #[inline(always)]
        fn blocks<const N: usize>(maps: &Bitmaps<N>) -> u32 {
            let mut blocks = 0;
            let mut index = 0;
            while index < N {
                // SAFETY: as above; no memory is touched.
                let empty = unsafe {
                    let empty = _mm256_cmpeq_epi64(lanes(maps, index, 0), _mm256_setzero_si256());
                    _mm256_movemask_pd(_mm256_castsi256_pd(empty)) as u32
                };
                blocks |= (empty ^ 0xf) << index;
                index += LANES;
            }
            blocks
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

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use super::super::class::{Class, Few, Fingerprints};
    use super::super::hits::{Hits, Scan};
    use super::super::predicates;
    use super::super::rows::Bitmaps;
    use super::super::scalar::{
        BLOCK_BYTES, Block, Classes, KIND_DIGIT, KIND_ESCAPE, KINDS, KINDS_ALPHANUMERIC, KINDS_RANDOM,
        WINDOW_BYTES,
    };
    use super::HIGH_BITS;
    use std::arch::x86_64::{
        __m128i, __m512i, _mm_loadu_si128, _mm512_alignr_epi64, _mm512_and_si512, _mm512_broadcast_i32x4,
        _mm512_cmpeq_epi8_mask, _mm512_loadu_si512, _mm512_maskz_permutex2var_epi8, _mm512_movepi8_mask,
        _mm512_or_si512, _mm512_set1_epi8, _mm512_set1_epi64, _mm512_setzero_si512, _mm512_shldv_epi64,
        _mm512_shrdv_epi64, _mm512_shuffle_epi8, _mm512_srli_epi16, _mm512_storeu_si512,
        _mm512_test_epi8_mask, _mm512_test_epi64_mask, _mm512_xor_si512,
    };

    /// A block in one vector register.
    #[derive(Clone, Copy)]
    struct Vector(__m512i);

    /// By ASCII byte: its kinds.
    const KINDS_OF: [[u8; BLOCK_BYTES]; 2] = {
        let mut kinds = [[0; BLOCK_BYTES]; 2];
        let mut byte = 0;
        while byte < 2 * BLOCK_BYTES {
            kinds[byte / BLOCK_BYTES][byte % BLOCK_BYTES] = KINDS[0][byte & 15] & KINDS[1][byte >> 4];
            byte += 1;
        }
        kinds
    };

    /// As [`super::scan`].
    ///
    /// # Safety
    /// The machine has AVX2, BMI1, BMI2, LZCNT and POPCNT, and of AVX-512 F, BW, VBMI and VBMI2.
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512vbmi,avx512vbmi2")]
    // SAFETY: the caller holds what the section above asks for.
    pub unsafe fn scan(scan: &Scan, text: &[u8], last: bool, hits: &mut Hits) {
        predicates::scan::<Vector, 8, 16>(scan, text, last, hits);
    }

    // SAFETY, for all blocks below: as in `avx2`, with the features of this `scan`.

    #[inline(always)]
    fn table(rows: &[u8; 16]) -> __m512i {
        // SAFETY: as above; 16 bytes of 16.
        unsafe { _mm512_broadcast_i32x4(_mm_loadu_si128(rows.as_ptr().cast::<__m128i>())) }
    }

    #[inline(always)]
    fn bytes(of: &[u8; BLOCK_BYTES]) -> __m512i {
        // SAFETY: as above; 64 bytes of 64.
        unsafe { _mm512_loadu_si512(of.as_ptr().cast::<__m512i>()) }
    }

    /// The 64 bytes that begin `OFFSET` bytes behind the start of a window.
    #[inline(always)]
    fn bytes_at<const OFFSET: usize>(window: &[u8; WINDOW_BYTES]) -> __m512i {
        const { assert!(OFFSET + BLOCK_BYTES <= WINDOW_BYTES) };
        // SAFETY: as above; they lie within the window.
        unsafe { _mm512_loadu_si512(window.as_ptr().add(OFFSET).cast::<__m512i>()) }
    }

    /// What stands in the row of each low nibble, and in that of each high nibble.
    #[inline(always)]
    fn look_up(bytes: __m512i, low: &[u8; 16], high: &[u8; 16]) -> [__m512i; 2] {
        // SAFETY: as above; no memory is touched.
        unsafe {
            let nibble = _mm512_set1_epi8(15);
            let upper = _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), nibble);
            let lower = _mm512_and_si512(bytes, nibble);
            [_mm512_shuffle_epi8(table(low), lower), _mm512_shuffle_epi8(table(high), upper)]
        }
    }

    #[inline(always)]
    fn both([one, other]: [__m512i; 2]) -> __m512i {
        // SAFETY: as above; no memory is touched.
        unsafe { _mm512_and_si512(one, other) }
    }

    /// The bytes of which both have a bit in common.
    #[inline(always)]
    fn in_common([one, other]: [__m512i; 2]) -> u64 {
        // SAFETY: as above; no memory is touched.
        unsafe { _mm512_test_epi8_mask(one, other) }
    }

    #[inline(always)]
    fn of(kinds: __m512i, any: u8) -> u64 {
        // SAFETY: as above; no memory is touched.
        unsafe { _mm512_test_epi8_mask(kinds, _mm512_set1_epi8(any as i8)) }
    }

    /// Bitmaps of a vector.
    const LANES: usize = 8;

    #[inline(always)]
    fn lanes<const N: usize>(maps: &Bitmaps<N>, index: usize) -> __m512i {
        const { assert!(N.is_multiple_of(LANES)) };
        debug_assert!(index + LANES <= N);
        // SAFETY: as above; the lanes lie within the array.
        unsafe { _mm512_loadu_si512(maps.bits.as_ptr().add(index).cast::<__m512i>()) }
    }

    #[inline(always)]
    fn put<const N: usize>(maps: &mut Bitmaps<N>, index: usize, lanes: __m512i) {
        debug_assert!(index + LANES <= N);
        // SAFETY: as above; the lanes lie within the array.
        unsafe { _mm512_storeu_si512(maps.bits.as_mut_ptr().add(index).cast::<__m512i>(), lanes) }
    }

    #[inline(always)]
    fn none() -> __m512i {
        // SAFETY: as above; no memory is touched.
        unsafe { _mm512_setzero_si512() }
    }

    impl Block for Vector {
        #[inline(always)]
        fn load(window: &[u8; WINDOW_BYTES]) -> Vector {
            Vector(bytes_at::<0>(window))
        }

        #[inline(always)]
        fn classes(self) -> Classes {
            // SAFETY: as above; no memory is touched.
            let kinds = unsafe {
                let ascii = !_mm512_movepi8_mask(self.0);
                _mm512_maskz_permutex2var_epi8(ascii, bytes(&KINDS_OF[0]), self.0, bytes(&KINDS_OF[1]))
            };
            Classes {
                digits: of(kinds, KIND_DIGIT),
                alphanumeric: of(kinds, KINDS_ALPHANUMERIC),
                random: of(kinds, KINDS_RANDOM),
                escapes: of(kinds, KIND_ESCAPE),
            }
        }

        #[inline(always)]
        fn equal(self, byte: u8) -> u64 {
            // SAFETY: as above; no memory is touched.
            unsafe { _mm512_cmpeq_epi8_mask(self.0, _mm512_set1_epi8(byte as i8)) }
        }

        #[inline(always)]
        fn of_class(self, class: &Class) -> u64 {
            in_common(look_up(self.0, &class.0, &HIGH_BITS))
        }

        #[inline(always)]
        fn any_of(self, few: &Few) -> u64 {
            // SAFETY: as above; no memory is touched.
            unsafe { _mm512_cmpeq_epi8_mask(self.0, _mm512_shuffle_epi8(table(&few.0), self.0)) }
        }

        #[inline(always)]
        fn fingerprints(self, window: &[u8; WINDOW_BYTES], prefixes: &Fingerprints) -> u64 {
            let [low, high] = [&prefixes.low, &prefixes.high];
            let one = both(look_up(self.0, &low[0], &high[0]));
            let two = both(look_up(bytes_at::<1>(window), &low[1], &high[1]));
            in_common([both([one, two]), both(look_up(bytes_at::<2>(window), &low[2], &high[2]))])
        }

        #[inline(always)]
        fn back<const N: usize>(maps: &Bitmaps<N>, places: u32) -> Bitmaps<N> {
            let (mut out, mut before) = (Bitmaps::EMPTY, none());
            let mut index = 0;
            while index < N {
                let here = lanes(maps, index);
                // SAFETY: as above; no memory is touched.
                let moved = unsafe {
                    let by = _mm512_set1_epi64(i64::from(places));
                    _mm512_shldv_epi64(here, _mm512_alignr_epi64::<7>(here, before), by)
                };
                put(&mut out, index, moved);
                before = here;
                index += LANES;
            }
            out
        }

        #[inline(always)]
        fn ahead<const N: usize>(maps: &Bitmaps<N>, places: u32) -> Bitmaps<N> {
            let mut out = Bitmaps::EMPTY;
            let mut index = 0;
            while index < N {
                let here = lanes(maps, index);
                let behind = if index + LANES < N { lanes(maps, index + LANES) } else { none() };
                // SAFETY: as above; no memory is touched.
                let moved = unsafe {
                    let by = _mm512_set1_epi64(i64::from(places));
                    _mm512_shrdv_epi64(here, _mm512_alignr_epi64::<1>(behind, here), by)
                };
                put(&mut out, index, moved);
                index += LANES;
            }
            out
        }

        #[inline(always)]
        fn and<const N: usize>(one: &Bitmaps<N>, other: &Bitmaps<N>) -> Bitmaps<N> {
            let mut out = Bitmaps::EMPTY;
            let mut index = 0;
            while index < N {
                put(&mut out, index, both([lanes(one, index), lanes(other, index)]));
                index += LANES;
            }
            out
        }

        #[inline(always)]
        fn or<const N: usize>(one: &Bitmaps<N>, other: &Bitmaps<N>) -> Bitmaps<N> {
            let mut out = Bitmaps::EMPTY;
            let mut index = 0;
            while index < N {
                // SAFETY: as above; no memory is touched.
                let either = unsafe { _mm512_or_si512(lanes(one, index), lanes(other, index)) };
                put(&mut out, index, either);
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
                let inverted = unsafe { _mm512_xor_si512(lanes(maps, index), _mm512_set1_epi8(-1)) };
                put(&mut out, index, inverted);
                index += LANES;
            }
            out
        }

        #[inline(always)]
        fn blocks<const N: usize>(maps: &Bitmaps<N>) -> u32 {
            let (mut blocks, mut index) = (0, 0);
            while index < N {
                // SAFETY: as above; no memory is touched.
                let any = unsafe { _mm512_test_epi64_mask(lanes(maps, index), lanes(maps, index)) };
                blocks |= u32::from(any) << index;
                index += LANES;
            }
            blocks
        }
    }
}

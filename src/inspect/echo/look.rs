//! Which places of a text may begin a gram of a spelling: a bit for each hash, asked at every multiple of
//! [`STRIDE`]. Eight places at once with AVX-512 where the machine has it, else four; both say the same,
//! which a test holds.
#![allow(unsafe_code)]

use super::{GRAM_BYTES, STRIDE};

/// Grams that are looked up together, and the bytes that takes: the gram at the last place is loaded with
/// eight bytes.
const LOOKS: usize = 4;
pub(super) const WINDOW_BYTES: usize = (LOOKS - 1) * STRIDE + 8;
/// The same with AVX-512: one register of bytes, and eight words.
#[cfg(target_arch = "x86_64")]
const WIDE: (usize, usize) = (8, 64);

/// The hashes that occur.
pub(super) struct Seen {
    /// One bit each: as many as a hash has values.
    words: Box<[u64]>,
    /// Bits of a hash.
    bits: u32,
}

/// Places that may begin a gram: bit `n` stands for `at + n * STRIDE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hits {
    pub at: usize,
    pub looks: u8,
}

impl Seen {
    /// No hash of `bits` bits occurs.
    pub fn new(bits: u32) -> Seen {
        assert!((6..32).contains(&bits), "whole words, and few of them");
        Seen { words: vec![0; 1 << (bits - 6)].into(), bits }
    }

    /// Says that `hash` occurs.
    pub fn add(&mut self, hash: usize) {
        self.words[hash / 64] |= 1 << (hash % 64);
    }

    /// Whether `hash` occurs.
    #[inline]
    pub fn holds(&self, hash: usize) -> bool {
        self.words[hash / 64] >> (hash % 64) & 1 != 0
    }

    /// The hash of a gram. Fibonacci hashing: the high bits of a product depend on all bytes.
    #[inline]
    pub fn hash(&self, gram: u64) -> usize {
        (gram.wrapping_mul(MULTIPLIER) >> (64 - self.bits)) as usize
    }

    /// The next places from `*at` on, a multiple of [`STRIDE`], that may begin a gram; `*at` goes behind all
    /// that was looked at. `None`: there is nothing more but in the last bytes, less than [`WINDOW_BYTES`].
    #[inline]
    pub fn next(&self, text: &[u8], at: &mut usize) -> Option<Hits> {
        #[cfg(target_arch = "x86_64")]
        if text.len() - *at >= WIDE.1 && wide::is_there() {
            // SAFETY: the machine has what the function needs.
            let found = unsafe { wide::next(self, text, at) };
            if found.is_some() {
                return found;
            }
        }
        self.next_narrow(text, at)
    }

    fn next_narrow(&self, text: &[u8], at: &mut usize) -> Option<Hits> {
        // Several looks without a branch between them.
        while let Some(window) = text.get(*at..).and_then(<[u8]>::first_chunk::<WINDOW_BYTES>) {
            let looks = (0..LOOKS).fold(0, |looks, look| {
                let hash = self.hash(gram_of_eight(window, look * STRIDE));
                looks | u8::from(self.holds(hash)) << look
            });
            let here = *at;
            *at += LOOKS * STRIDE;
            if looks != 0 {
                return Some(Hits { at: here, looks });
            }
        }
        None
    }
}

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// The gram at `at`, behind which there is at least as much as eight bytes take.
#[inline]
pub(super) fn gram_of_eight(text: &[u8], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&text[at..at + 8]);
    u64::from_le_bytes(bytes) & GRAM_MASK
}

const GRAM_MASK: u64 = (1 << (8 * GRAM_BYTES)) - 1;

#[cfg(target_arch = "x86_64")]
mod wide {
    use super::{GRAM_MASK, Hits, MULTIPLIER, STRIDE, Seen, WIDE};
    use std::arch::x86_64::{
        _mm_cvtsi32_si128, _mm512_and_si512, _mm512_i64gather_epi64, _mm512_loadu_si512, _mm512_mullo_epi64,
        _mm512_permutexvar_epi8, _mm512_set1_epi64, _mm512_sllv_epi64, _mm512_srl_epi64, _mm512_srli_epi64,
        _mm512_test_epi64_mask,
    };

    const _: () = assert!((WIDE.0 - 1) * STRIDE + 8 <= WIDE.1);

    /// Where in 64 bytes the bytes of the grams stand.
    static PLACES: [u8; WIDE.1] = {
        let mut places = [0; WIDE.1];
        let mut at = 0;
        while at < places.len() {
            places[at] = (at / 8 * STRIDE + at % 8) as u8;
            at += 1;
        }
        places
    };

    pub fn is_there() -> bool {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vbmi")
    }

    #[target_feature(enable = "avx512f,avx512dq,avx512vbmi")]
    pub fn next(seen: &Seen, text: &[u8], at: &mut usize) -> Option<Hits> {
        // SAFETY: there are as many bytes as a register has.
        let places = unsafe { _mm512_loadu_si512(PLACES.as_ptr().cast()) };
        let (mask, multiplier) = (_mm512_set1_epi64(GRAM_MASK as i64), _mm512_set1_epi64(MULTIPLIER as i64));
        let shift = _mm_cvtsi32_si128(64 - seen.bits as i32);
        let (one, low) = (_mm512_set1_epi64(1), _mm512_set1_epi64(63));
        while let Some(window) = text.get(*at..).and_then(<[u8]>::first_chunk::<{ WIDE.1 }>) {
            // SAFETY: there are as many bytes as a register has.
            let bytes = unsafe { _mm512_loadu_si512(window.as_ptr().cast()) };
            let grams = _mm512_and_si512(_mm512_permutexvar_epi8(places, bytes), mask);
            let hashes = _mm512_srl_epi64(_mm512_mullo_epi64(grams, multiplier), shift);
            // SAFETY: a hash has `bits` bits, and there are as many bits in the words as it has values.
            let words = unsafe {
                _mm512_i64gather_epi64::<8>(_mm512_srli_epi64::<6>(hashes), seen.words.as_ptr().cast())
            };
            let bits = _mm512_sllv_epi64(one, _mm512_and_si512(hashes, low));
            let looks = _mm512_test_epi64_mask(words, bits);
            let here = *at;
            *at += WIDE.0 * STRIDE;
            if looks != 0 {
                return Some(Hits { at: here, looks });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All places that may begin a gram, and where the looks ended.
    fn all(text: &[u8], next: impl Fn(&[u8], &mut usize) -> Option<Hits>) -> (Vec<usize>, usize) {
        let (mut at, mut places) = (0, Vec::new());
        while let Some(Hits { at, looks }) = next(text, &mut at) {
            places.extend((0..8).filter(|look| looks >> look & 1 == 1).map(|look| at + look * STRIDE));
        }
        (places, at)
    }

    proptest! {
        #[test]
        fn wide_and_narrow_looks_find_the_same_places(
            text in prop::collection::vec(b'a'..b'd', 0..400),
            bits in 12u32..20,
            known in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let mut seen = Seen::new(bits);
            for place in known {
                if let Some(last) = text.len().checked_sub(8) {
                    let hash = seen.hash(gram_of_eight(&text, place.index(last + 1)));
                    seen.add(hash);
                }
            }
            let (places, end) = all(&text, |text, at| seen.next(text, at));
            prop_assert_eq!(&all(&text, |text, at| seen.next_narrow(text, at)), &(places.clone(), end));
            let is_known = |at: &usize| seen.holds(seen.hash(gram_of_eight(&text, *at)));
            let expected: Vec<_> = (0..end).step_by(STRIDE).filter(is_known).collect();
            prop_assert_eq!(places, expected);
            prop_assert!(text.len() < end + WINDOW_BYTES && end % STRIDE == 0);
        }
    }
}

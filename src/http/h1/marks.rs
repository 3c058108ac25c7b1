//! 64 bytes of a head as bitmaps: bit `n` stands for byte `n`. With AVX2 where the machine has it, else byte
//! by byte; both say the same, which a test holds.
#![allow(unsafe_code)]

/// Bytes of a block.
pub(super) const BLOCK_BYTES: usize = 64;

/// Which bytes of a block are what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    pub cr: u64,
    pub lf: u64,
    pub colon: u64,
    /// Control characters other than HTAB, CR and LF: no line of a head may hold them (RFC 9110 section 5.5).
    pub control: u64,
    /// ASCII letters and digits.
    pub word: u64,
    pub dash: u64,
}

impl Marks {
    /// The marks of the first [`BLOCK_BYTES`] of `bytes`; where there are fewer, the rest is nothing.
    #[inline]
    pub fn of(bytes: &[u8]) -> Marks {
        match bytes.first_chunk() {
            Some(block) => Marks::of_block(block),
            None => {
                // A space is nothing of all that.
                let mut block = [b' '; BLOCK_BYTES];
                block[..bytes.len()].copy_from_slice(bytes);
                Marks::of_block(&block)
            }
        }
    }

    #[inline]
    fn of_block(block: &[u8; BLOCK_BYTES]) -> Marks {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the machine has what the function needs.
            return unsafe { avx2::marks(block) };
        }
        byte_by_byte(block)
    }

    /// Whether the bytes from `start` to `end`, places in the block, are written as names of fields are: what
    /// [`crate::http::class::is_plain`] says.
    #[inline]
    pub fn is_plain(&self, start: usize, end: usize) -> bool {
        debug_assert!(start < end && end < BLOCK_BYTES);
        let name = (1 << end) - (1 << start);
        let is_one_of_them = (self.word | self.dash) & name == name;
        let begins_and_ends = self.word >> start & self.word >> (end - 1) & 1 == 1;
        is_one_of_them && begins_and_ends && self.dash & self.dash << 1 & name == 0
    }

    /// [`Marks::is_plain`] for a name that begins at `start` in the block `before` this one, and ends here.
    pub fn is_plain_behind(&self, before: &Marks, start: usize, end: usize) -> bool {
        debug_assert!(start < BLOCK_BYTES && end < BLOCK_BYTES);
        let both = |before: u64, own: u64| u128::from(before) | u128::from(own) << BLOCK_BYTES;
        let (word, dash) = (both(before.word, self.word), both(before.dash, self.dash));
        let end = end + BLOCK_BYTES;
        let name = (1 << end) - (1 << start);
        let is_one_of_them = (word | dash) & name == name;
        let begins_and_ends = word >> start & word >> (end - 1) & 1 == 1;
        is_one_of_them && begins_and_ends && dash & dash << 1 & name == 0
    }

    /// Line ends that are not CRLF, and control characters. `before` is the block in front of this one.
    #[inline]
    pub fn faults(&self, before: &Marks) -> u64 {
        let behind_cr = self.cr << 1 | before.cr >> (BLOCK_BYTES - 1);
        (behind_cr ^ self.lf) | self.control
    }

    /// LFs of lines with nothing but their CRLF, where [`Marks::faults`] finds none.
    #[inline]
    pub fn blank_lines(&self, before: &Marks) -> u64 {
        self.lf & (self.lf << 2 | before.lf >> (BLOCK_BYTES - 2))
    }
}

/// Bits of a byte in [`MARKS`], in the order of the fields of [`Marks`].
const FIELDS: usize = 6;

/// What each byte is.
static MARKS: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let one = byte as u8;
        let is_control = one.is_ascii_control() && !matches!(one, b'\t' | b'\r' | b'\n');
        table[byte] = (one == b'\r') as u8
            | ((one == b'\n') as u8) << 1
            | ((one == b':') as u8) << 2
            | (is_control as u8) << 3
            | (one.is_ascii_alphanumeric() as u8) << 4
            | ((one == b'-') as u8) << 5;
        byte += 1;
    }
    table
};

fn byte_by_byte(block: &[u8; BLOCK_BYTES]) -> Marks {
    let mut bitmaps = [0; FIELDS];
    for (place, byte) in block.iter().enumerate() {
        let marks = MARKS[usize::from(*byte)];
        for (field, bitmap) in bitmaps.iter_mut().enumerate() {
            *bitmap |= u64::from(marks >> field & 1) << place;
        }
    }
    let [cr, lf, colon, control, word, dash] = bitmaps;
    Marks { cr, lf, colon, control, word, dash }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{BLOCK_BYTES, Marks};
    use std::arch::x86_64::{
        __m256i, _mm256_andnot_si256, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_min_epu8,
        _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8, _mm256_sub_epi8,
    };

    const LANE_BYTES: usize = 32;

    #[target_feature(enable = "avx2")]
    pub(super) fn marks(block: &[u8; BLOCK_BYTES]) -> Marks {
        let at = block.as_ptr();
        // SAFETY: both lanes lie inside the block; the loads need no alignment.
        let lanes = unsafe { [_mm256_loadu_si256(at.cast()), _mm256_loadu_si256(at.add(LANE_BYTES).cast())] };
        let equal = |byte: u8| lanes.map(|lane| _mm256_cmpeq_epi8(lane, _mm256_set1_epi8(byte as i8)));
        let (cr, lf, tab) = (equal(b'\r'), equal(b'\n'), equal(b'\t'));
        let (low, delete) = (lanes.map(|lane| within(lane, 0, b' ')), equal(0x7f));
        let lower_case = lanes.map(|lane| _mm256_or_si256(lane, _mm256_set1_epi8(0x20)));
        let (letter, digit) =
            (lower_case.map(|lane| within(lane, b'a', 26)), lanes.map(|lane| within(lane, b'0', 10)));
        let control = [0, 1].map(|index| {
            let spared = _mm256_or_si256(_mm256_or_si256(cr[index], lf[index]), tab[index]);
            _mm256_andnot_si256(spared, _mm256_or_si256(low[index], delete[index]))
        });
        let word = [0, 1].map(|index| _mm256_or_si256(letter[index], digit[index]));
        Marks {
            cr: bits(cr),
            lf: bits(lf),
            colon: bits(equal(b':')),
            control: bits(control),
            word: bits(word),
            dash: bits(equal(b'-')),
        }
    }

    /// The bytes from `low` on that are less than `count` above it.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn within(lane: __m256i, low: u8, count: u8) -> __m256i {
        let above = _mm256_sub_epi8(lane, _mm256_set1_epi8(low as i8));
        _mm256_cmpeq_epi8(_mm256_min_epu8(above, _mm256_set1_epi8((count - 1) as i8)), above)
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn bits([low, high]: [__m256i; 2]) -> u64 {
        let of = |lane| u64::from(_mm256_movemask_epi8(lane) as u32);
        of(low) | of(high) << LANE_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::class::is_plain;
    use proptest::prelude::*;

    #[test]
    fn every_byte_is_marked_alike_at_every_place() {
        for byte in 0..=u8::MAX {
            for place in 0..BLOCK_BYTES {
                let mut block = [b' '; BLOCK_BYTES];
                block[place] = byte;
                assert_eq!(Marks::of(&block), byte_by_byte(&block), "{byte:#x} at {place}");
            }
        }
    }

    proptest! {
        #[test]
        fn blocks_are_marked_alike(block: [u8; 32], length in 0..BLOCK_BYTES) {
            let twice = [block, block.map(|byte| byte.rotate_left(1))].concat();
            let block: [u8; BLOCK_BYTES] = std::array::from_fn(|index| twice[index]);
            prop_assert_eq!(Marks::of(&block), byte_by_byte(&block));
            let mut cut = [b' '; BLOCK_BYTES];
            cut[..length].copy_from_slice(&block[..length]);
            prop_assert_eq!(Marks::of(&block[..length]), byte_by_byte(&cut));
        }

        #[test]
        fn names_are_plain_as_their_bytes_are(name in "[a-z0-9A-Z_-]{1,40}", start in 0usize..20) {
            let mut block = [b':'; BLOCK_BYTES];
            block[start..start + name.len()].copy_from_slice(name.as_bytes());
            let found = Marks::of(&block).is_plain(start, start + name.len());
            prop_assert_eq!(found, is_plain(name.as_bytes()), "{}", name);
            let mut blocks = [b':'; 2 * BLOCK_BYTES];
            let start = BLOCK_BYTES - 1 - start;
            let end = (start + name.len()).max(BLOCK_BYTES);
            let name = [name.as_bytes(), &[b'a'; 20]].concat();
            blocks[start..end].copy_from_slice(&name[..end - start]);
            let (before, own) = (Marks::of(&blocks), Marks::of(&blocks[BLOCK_BYTES..]));
            let found = own.is_plain_behind(&before, start, end - BLOCK_BYTES);
            prop_assert_eq!(found, is_plain(&name[..end - start]));
        }
    }
}

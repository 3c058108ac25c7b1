//! Sets of bytes, and of beginnings, in tables by nibbles: what vector code looks up.

/// Leading bytes that fingerprints compare.
pub const FINGERPRINT_BYTES: usize = 3;
const BUCKETS: usize = 8;

/// A set of ASCII bytes: by low nibble, the high nibbles (0 to 7) as bits.
#[derive(Clone, Copy, Debug)]
pub struct Class(pub(super) [u8; 16]);

impl Class {
    /// The class of these bytes.
    pub const fn of(bytes: &[u8]) -> Class {
        let mut rows = [0; 16];
        let mut index = 0;
        while index < bytes.len() {
            assert!(bytes[index] < 0x80, "classes hold ASCII bytes");
            rows[(bytes[index] & 15) as usize] |= 1 << (bytes[index] >> 4);
            index += 1;
        }
        Class(rows)
    }

    /// Whether `byte` belongs to it.
    #[inline]
    pub const fn has(&self, byte: u8) -> bool {
        byte < 0x80 && self.0[(byte & 15) as usize] >> (byte >> 4) & 1 != 0
    }
}

/// A few ASCII bytes, no two of which have the same low nibble: by that.
#[derive(Clone, Copy, Debug)]
pub struct Few(pub(super) [u8; 16]);

impl Few {
    /// These bytes, none of them zero.
    pub const fn of(bytes: &[u8]) -> Few {
        // No byte below 0x80 equals what stands where there is none, and others are not looked up.
        let mut rows = [0xff; 16];
        let mut index = 0;
        while index < bytes.len() {
            assert!(bytes[index] != 0 && bytes[index] < 0x80, "a few ASCII bytes");
            let row = (bytes[index] & 15) as usize;
            assert!(rows[row] == 0xff, "no two have the same low nibble");
            rows[row] = bytes[index];
            index += 1;
        }
        Few(rows)
    }
}

/// Where one of many prefixes may begin, by the nibbles of its first three bytes ("Teddy", as in Hyperscan
/// and the `aho-corasick` crate): prefixes share eight buckets, one bit each.
#[derive(Clone, Debug, Default)]
pub struct Fingerprints {
    pub(super) low: [[u8; 16]; FINGERPRINT_BYTES],
    pub(super) high: [[u8; 16]; FINGERPRINT_BYTES],
    is_folded: bool,
}

impl Fingerprints {
    /// The fingerprints of `prefixes`, each of at least three bytes.
    pub fn new<'a>(prefixes: impl Iterator<Item = &'a [u8]>) -> Fingerprints {
        Fingerprints::default().with_all(prefixes)
    }

    /// The fingerprints of `prefixes`, which are in lower case and begin in any case of ASCII letters.
    pub fn folded<'a>(prefixes: impl Iterator<Item = &'a [u8]>) -> Fingerprints {
        Fingerprints { is_folded: true, ..Fingerprints::default() }.with_all(prefixes)
    }

    fn with_all<'a>(self, prefixes: impl Iterator<Item = &'a [u8]>) -> Fingerprints {
        let mut heads: Vec<[u8; FINGERPRINT_BYTES]> =
            prefixes.filter_map(|prefix| prefix.first_chunk().copied()).collect();
        heads.sort_unstable();
        heads.dedup();
        let mut all = self;
        for head in heads {
            let bucket = (0..BUCKETS)
                .min_by_key(|bucket| all.with(head, *bucket).weight(*bucket) - all.weight(*bucket));
            all = all.with(head, bucket.unwrap_or(0));
        }
        all
    }

    fn with(&self, head: [u8; FINGERPRINT_BYTES], bucket: usize) -> Fingerprints {
        let mut with = self.clone();
        for (index, byte) in head.into_iter().enumerate() {
            let cases = [byte, if self.is_folded { byte.to_ascii_uppercase() } else { byte }];
            for byte in cases {
                with.low[index][usize::from(byte & 15)] |= 1 << bucket;
                with.high[index][usize::from(byte >> 4)] |= 1 << bucket;
            }
        }
        with
    }

    /// How many three-byte strings a bucket lets pass.
    fn weight(&self, bucket: usize) -> u32 {
        let count = |table: &[u8; 16]| table.iter().filter(|row| **row >> bucket & 1 != 0).count() as u32;
        (0..FINGERPRINT_BYTES).map(|index| count(&self.low[index]) * count(&self.high[index])).product()
    }

    /// Whether one of the prefixes may begin with these bytes.
    #[inline]
    pub fn may_begin(&self, bytes: &[u8; FINGERPRINT_BYTES]) -> bool {
        let rows = (0..FINGERPRINT_BYTES).map(|index| {
            self.low[index][usize::from(bytes[index] & 15)] & self.high[index][usize::from(bytes[index] >> 4)]
        });
        rows.fold(u8::MAX, |all, row| all & row) != 0
    }
}

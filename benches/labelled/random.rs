/// A generator of even bits (splitmix64).
pub struct Random(pub u64);

impl Random {
    /// A number below `below`.
    pub fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % below as u64) as usize
    }

    pub fn pick<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.next(all.len())]
    }

    /// `length` characters of `alphabet`.
    pub fn string(&mut self, alphabet: &str, length: usize) -> String {
        let alphabet = alphabet.as_bytes();
        (0..length).map(|_| char::from(alphabet[self.next(alphabet.len())])).collect()
    }

    pub fn digits(&mut self, length: usize) -> String {
        self.string("0123456789", length)
    }

    pub fn hex(&mut self, length: usize) -> String {
        self.string("0123456789abcdef", length)
    }

    /// `pattern` with a digit for each `#`, a digit from 2 to 9 for each `N`, a hexadecimal one for each `~`.
    pub fn fill(&mut self, pattern: &str) -> String {
        let mut fill = |char| match char {
            '#' => self.digits(1),
            'N' => self.string("23456789", 1),
            '~' => self.hex(1),
            char => char.to_string(),
        };
        pattern.chars().map(&mut fill).collect()
    }
}

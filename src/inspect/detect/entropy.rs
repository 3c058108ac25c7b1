//! How random a string looks.

/// Its entropy (Shannon) in tenths of a bit a character, rounded down.
pub fn tenths(string: &[u8]) -> u32 {
    let mut counts = [0u16; 256];
    string.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let length = string.len() as f32;
    let mut sum = 0.0;
    for byte in string {
        // Each character adds the surprise of its own share once.
        sum += (length / f32::from(counts[usize::from(*byte)])).log2();
    }
    // A hair more, so that a whole number is not missed by rounding.
    (sum * 10.0 / length.max(1.0) + 0.001) as u32
}

#[cfg(test)]
mod tests {
    use super::tenths;

    #[test]
    fn entropy_is_that_of_the_characters() {
        for (string, expected) in [
            ("", 0),
            ("aaaaaaaa", 0),
            ("abababab", 10),
            ("abcdabcd", 20),
            ("abcdefgh", 30),
            ("aabbccdd", 20),
            ("aaab", 8),
        ] {
            assert_eq!(tenths(string.as_bytes()), expected, "{string}");
        }
    }
}

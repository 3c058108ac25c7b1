//! Character classes of RFC 9110 section 5.6.

/// `tchar` (RFC 9110 section 5.6.2).
static TOKEN: [bool; 256] = table(b"!#$%&'*+-.^_`|~", true);

/// A table of ASCII letters and digits (where `alphanumeric` says so) and of `others`.
pub(super) const fn table(others: &[u8], alphanumeric: bool) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = alphanumeric && (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
}

/// Whether `byte` may be part of a token.
pub(super) fn is_token_byte(byte: u8) -> bool {
    TOKEN[byte as usize]
}

/// Whether `bytes` is a token: at least one byte, all of them `tchar`.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_byte(byte))
}

/// Whether `byte` may be part of a field value: HTAB, SP, VCHAR, obs-text (RFC 9110 section 5.5).
pub(super) fn is_value_byte(byte: u8) -> bool {
    (byte >= b' ' && byte != 0x7f) || byte == b'\t'
}

/// Whether all of `bytes` may be part of a field value. Without an early exit, so that it is vectorised.
pub(super) fn is_value(bytes: &[u8]) -> bool {
    !bytes.iter().fold(false, |bad, &byte| bad | ((byte < b' ') & (byte != b'\t')) | (byte == 0x7f))
}

/// Whether any byte is below the space, as all that could end a line are. For short values: a call of
/// `memchr` costs more than they do.
pub(super) fn has_low(value: &[u8]) -> bool {
    const SPACES: u64 = u64::from_ne_bytes([b' '; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let (words, rest) = value.as_chunks::<8>();
    // A byte below the space borrows into its highest bit, which was not set. Borrows that go on from there
    // mark others, but not without it.
    let low = |word: &[u8; 8]| {
        let word = u64::from_ne_bytes(*word);
        word.wrapping_sub(SPACES) & !word & HIGH
    };
    words.iter().fold(0, |found, word| found | low(word)) != 0 || rest.iter().any(|byte| *byte < b' ')
}

/// `value` without the optional white space around it (RFC 9110 section 5.6.3).
pub(super) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Members of a comma-separated list; empty ones are skipped (RFC 9110 section 5.6.1.2).
pub(super) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim).filter(|member| !member.is_empty())
}

/// Value of a hexadecimal digit.
pub(super) fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// The byte that two hexadecimal digits at the start of `digits` stand for.
pub(super) fn hex_byte(digits: &[u8]) -> Option<u8> {
    match digits {
        [high, low, ..] => Some(hex(*high)? << 4 | hex(*low)?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn low_bytes_are_found_wherever_they_are(value: Vec<u8>, low in 0u8..0x40, at: usize) {
            prop_assert_eq!(has_low(&value), value.iter().any(|byte| *byte < b' '));
            let mut value: Vec<u8> = value.iter().map(|byte| byte | 0x20).collect();
            prop_assert!(!has_low(&value));
            if !value.is_empty() {
                let at = at % value.len();
                value[at] = low;
                prop_assert_eq!(has_low(&value), low < b' ');
            }
        }
    }
}

//! Strict base64url (RFC 4648 section 5, without padding as RFC 7515 section 2 asks): one text for one value.

/// Value of each byte as a digit; 255 where it is none.
const DIGITS: [u8; 256] = digits();

const fn digits() -> [u8; 256] {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut table = [255; 256];
    let mut value = 0;
    while value < alphabet.len() {
        table[alphabet[value] as usize] = value as u8;
        value += 1;
    }
    table
}

/// Decodes `text`; `None` if it has a character outside of the alphabet (padding and white space are), a
/// length that no value has, or unused bits that are not zero.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let mut quads = text.chunks_exact(4);
    for quad in &mut quads {
        let bits = join(quad)?;
        out.extend_from_slice(&[(bits >> 16) as u8, (bits >> 8) as u8, bits as u8]);
    }
    let rest = quads.remainder();
    match (rest.len(), join(rest)?) {
        (0, _) => {}
        (2, bits) if bits & 0xf == 0 => out.push((bits >> 4) as u8),
        (3, bits) if bits & 0x3 == 0 => out.extend_from_slice(&[(bits >> 10) as u8, (bits >> 2) as u8]),
        _ => return None,
    }
    Some(out)
}

fn join(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |bits, digit| match DIGITS[usize::from(*digit)] {
        255 => None,
        value => Some(bits << 6 | u32::from(value)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    #[test]
    fn only_the_canonical_text_is_decoded() {
        let good: [(&str, &[u8]); 5] =
            [("", b""), ("Zg", b"f"), ("Zm8", b"fo"), ("Zm9v", b"foo"), ("-_-_", &[0xfb, 0xff, 0xbf])];
        for (text, bytes) in good {
            assert_eq!(decode(text.as_bytes()).as_deref(), Some(bytes), "{text:?}");
        }
        let bad =
            ["Z", "Zg==", "Zg=", "Zh", "Zm9", "Zm9v\n", " Zm9v", "Zm+v", "Zm/v", "Zm9vA", "Zm\09", "Zmé"];
        for text in bad {
            assert_eq!(decode(text.as_bytes()), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_decodes_encodes_to_the_same_text(text in "[-_A-Za-z0-9=+/ ]{0,12}") {
            if let Some(bytes) = decode(text.as_bytes()) {
                prop_assert_eq!(URL_SAFE_NO_PAD.encode(bytes), text);
            }
        }

        #[test]
        fn every_value_has_its_text(bytes in proptest::collection::vec(any::<u8>(), 0..70)) {
            let text = URL_SAFE_NO_PAD.encode(&bytes);
            prop_assert_eq!(decode(text.as_bytes()), Some(bytes));
        }
    }
}

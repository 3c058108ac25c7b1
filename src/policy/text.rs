//! Text as a content rule sees it: white space folded, invisible characters gone, escapes decoded.

use super::pattern::form_decoded;

/// Ends every text in a buffer of folded texts. It is never part of UTF-8, so no pattern spans two texts.
pub(super) const END: u8 = 0xff;

/// Appends `text` with every run of white space or control characters as one space.
pub(super) fn fold_into(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let mut index = 0;
    let mut after_space = false;
    while index < bytes.len() {
        let plain = bytes[index..].iter().take_while(|b| b.is_ascii_graphic()).count();
        if plain > 0 {
            out.extend_from_slice(&bytes[index..index + plain]);
            index += plain;
            after_space = false;
            continue;
        }
        // `index` is always at the start of a character: graphic ASCII and whole characters were passed.
        let Some(character) = text[index..].chars().next() else { break };
        index += character.len_utf8();
        match character {
            _ if is_invisible(character) => {}
            _ if character.is_whitespace() || character.is_control() => {
                if !after_space {
                    out.push(b' ');
                }
                after_space = true;
            }
            _ => {
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                after_space = false;
            }
        }
    }
    out.push(END);
}

/// One text folded, without [`END`].
pub(super) fn folded(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 1);
    fold_into(text, &mut out);
    out.pop();
    out
}

/// Appends `text` as it reads when JSON escapes are decoded wherever they stand, if there are any.
///
/// It serves bodies that are not said to be JSON, or not quite JSON, but may be read as such by a server.
pub(super) fn fold_unescaped_into(text: &str, out: &mut Vec<u8>) {
    if !text.contains('\\') {
        return;
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        plain.push_str(&rest[..at]);
        let (character, length) = escape(&rest[at..]);
        plain.push(character);
        rest = &rest[at + length..];
    }
    plain.push_str(rest);
    fold_into(&plain, out);
}

/// A part of a JSON document folded as its strings are once they are decoded, and the place in `text` of each
/// byte of that.
pub(super) fn folded_with_places(text: &str) -> (Vec<u8>, Vec<usize>) {
    let (mut out, mut places, mut index) = (Vec::with_capacity(text.len()), Vec::new(), 0);
    while let Some(next) = text[index..].chars().next() {
        let (character, length) = if next == '\\' { escape(&text[index..]) } else { (next, next.len_utf8()) };
        match character {
            _ if is_invisible(character) => {}
            _ if character.is_whitespace() || character.is_control() => {
                if out.last() != Some(&b' ') {
                    out.push(b' ');
                }
            }
            _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
        places.resize(out.len(), index);
        index += length;
    }
    (out, places)
}

/// Appends a form with `%XX` and `+` decoded. Bytes that are not UTF-8 then read as U+FFFD.
pub(super) fn fold_form_into(text: &str, out: &mut Vec<u8>) {
    let decoded: Vec<u8> = form_decoded(text.as_bytes()).collect();
    fold_into(&String::from_utf8_lossy(&decoded), out);
}

/// The character of a JSON escape and its length; what is none stands for its backslash.
fn escape(text: &str) -> (char, usize) {
    match text.as_bytes().get(1) {
        Some(b'n' | b'r' | b't' | b'b' | b'f') => (' ', 2),
        Some(b'"') => ('"', 2),
        Some(b'/') => ('/', 2),
        Some(b'u') => {
            let digits = text.get(2..6).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
            let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
            code.map_or(('\\', 1), |code| (char::from_u32(code).unwrap_or('\u{fffd}'), 6))
        }
        _ => ('\\', 1),
    }
}

/// Characters without width that only serve to break a word.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn as_text(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).replace('\u{fffd}', "|")
    }

    #[test]
    fn white_space_is_folded_and_invisible_characters_are_gone() {
        let check = |text, expected: &str| assert_eq!(as_text(&folded(text)), expected, "{text:?}");
        check("DROP \n\t TABLE", "DROP TABLE");
        check("DROP\u{a0}\u{2003}TABLE", "DROP TABLE");
        check("DR\u{200b}OP\u{feff} TABLE", "DROP TABLE");
        check("DROP\0TABLE", "DROP TABLE");
        check("  a  ", " a ");
        check("größe\u{3000}x", "größe x");
        check("", "");
    }

    #[test]
    fn escapes_are_decoded_wherever_they_stand() {
        let check = |text, expected: &str| {
            let mut out = Vec::new();
            fold_unescaped_into(text, &mut out);
            assert_eq!(as_text(&out), expected, "{text:?}");
        };
        check("plain", "");
        check(r"DROP\u0020TABLE", "DROP TABLE|");
        check(r"{'a': 'DROP\n\tTABLE',}", "{'a': 'DROP TABLE',}|");
        check(r"\u00", r"\u00|");
        check("\\", "\\|");
        check(r"\ud800x", "|x|");
        check(r"\uüüüü", r"\uüüüü|");
    }

    #[test]
    fn places_are_those_of_what_was_folded() {
        let text = r#""ä DROP\n \u0020TABLE""#;
        let (folded, places) = folded_with_places(text);
        assert_eq!(as_text(&folded), "\"ä DROP TABLE\"");
        assert_eq!(places.len(), folded.len());
        let at = |word: &str| places[memchr::memmem::find(&folded, word.as_bytes()).unwrap()];
        assert_eq!(
            (at("DROP TABLE"), at("TABLE")),
            (text.find("DROP").unwrap(), text.find("TABLE").unwrap())
        );
        assert!(folded_with_places("").0.is_empty() && folded_with_places("\\").0 == b"\\");
    }

    #[test]
    fn forms_are_decoded() {
        let mut out = Vec::new();
        fold_form_into("q=DROP+%54ABLE%0Ax&p=%ff", &mut out);
        assert_eq!(as_text(&out), "q=DROP TABLE x&p=||");
    }
}

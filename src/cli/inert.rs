//! Text from elsewhere, made harmless for a terminal: it is shown, and never obeyed.

/// One line: every control and direction character as an escape.
pub(super) fn line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    text.chars().for_each(|c| push(&mut shown, c));
    shown
}

/// Text of several lines: line ends and tabs stay.
pub(super) fn block(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let text = text.replace("\r\n", "\n");
    text.chars().for_each(|c| if matches!(c, '\n' | '\t') { shown.push(c) } else { push(&mut shown, c) });
    shown
}

/// As [`block`], of bytes: those that are no UTF-8 as `\xNN`.
pub(super) fn bytes(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        shown.push_str(&block(chunk.valid()));
        chunk.invalid().iter().for_each(|byte| shown.push_str(&format!("\\x{byte:02x}")));
    }
    shown
}

fn push(shown: &mut String, c: char) {
    match c {
        c if (c as u32) < 0x80 && c.is_control() => shown.push_str(&format!("\\x{:02x}", c as u32)),
        c if c.is_control() || is_invisible(c) => shown.push_str(&format!("\\u{{{:x}}}", c as u32)),
        c => shown.push(c),
    }
}

/// Whether a character changes what stands around it, or hides: direction marks (UAX 9), zero-width and
/// format characters, line and paragraph separators, variation selectors of no use in plain text, tags.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_that_it_obeys() {
        let cases = [
            ("plain é 日本", "plain é 日本"),
            ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("a\u{202e}b\u{2066}c", "a\\u{202e}b\\u{2066}c"),
            ("\r\x08\x7f", "\\x0d\\x08\\x7f"),
            ("\u{200b}\u{feff}\u{e0041}", "\\u{200b}\\u{feff}\\u{e0041}"),
        ];
        for (text, expected) in cases {
            assert_eq!((line(text).as_str(), block(text).as_str()), (expected, expected));
        }
        assert_eq!(line("a\nb\tc"), "a\\x0ab\\x09c");
        assert_eq!(block("a\r\nb\tc\r"), "a\nb\tc\\x0d");
        assert_eq!(bytes(b"a\xff\x1b\xc3\xa9\xc3"), "a\\xff\\x1bé\\xc3");
        for number in 0..=0x11_ffff_u32 {
            let Some(c) = char::from_u32(number) else { continue };
            let shown = line(&c.to_string());
            assert!(!shown.chars().any(|c| c.is_control() || is_invisible(c)), "{number:x}");
        }
    }
}

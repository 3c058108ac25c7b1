//! The strings of a JSON body that is whole in memory, decoded: what a policy's `contains_any` looks at.
//!
//! Lenient on purpose: it reads what lies between unescaped quotes, wherever that is, so that a body that a
//! strict parser refuses and a sloppy one accepts shows the same strings to the policy.

use super::codec;
use std::borrow::Cow;

/// The strings of `body` (keys and values, in order), escapes decoded. An unterminated last string counts.
/// Bytes that are not UTF-8 become U+FFFD.
pub fn decoded_strings(body: &[u8]) -> impl Iterator<Item = Cow<'_, str>> {
    let mut rest = body;
    std::iter::from_fn(move || {
        let start = memchr::memchr(b'"', rest)? + 1;
        let length = string_length(&rest[start..]);
        let string = &rest[start..start + length];
        rest = rest.get(start + length + 1..).unwrap_or_default();
        Some(decoded(string))
    })
}

/// Folds every run of white space (Unicode, so NBSP and thin spaces too) into one space.
pub fn fold_space(text: Cow<'_, str>) -> Cow<'_, str> {
    let mut after_space = false;
    let folded = |char: char| {
        let irregular = char.is_whitespace() && (char != ' ' || after_space);
        after_space = char.is_whitespace();
        !irregular
    };
    if text.chars().all(folded) {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char.is_whitespace() {
            false => out.push(char),
            true if out.ends_with(' ') => {}
            true => out.push(' '),
        }
    }
    Cow::Owned(out)
}

/// Bytes up to the closing quote, or to the end.
fn string_length(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        if bytes[at + found] == b'"' {
            return at + found;
        }
        at += found + 2;
    }
    bytes.len()
}

fn decoded(string: &[u8]) -> Cow<'_, str> {
    if memchr::memchr(b'\\', string).is_none() {
        return String::from_utf8_lossy(string);
    }
    Cow::Owned(String::from_utf8_lossy(&codec::unescaped(string)).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expected: &[&str]) {
        let found: Vec<String> =
            decoded_strings(body.as_bytes()).map(|string| fold_space(string).into_owned()).collect();
        assert_eq!(found, expected, "{body}");
    }

    #[test]
    fn strings_are_decoded_and_white_space_is_folded() {
        check(r#"{"a":"b","c":[1,"d"]}"#, &["a", "b", "c", "d"]);
        check(r#"{"q":"DROP\n\t  \u0054ABLE"}"#, &["q", "DROP TABLE"]);
        check(
            r#"["\"x\\", "\ud83d\ude00", "\ud83d", "\u00a0a\u2009b"]"#,
            &["\"x\\", "😀", "\u{fffd}", " a b"],
        );
        check(r#"["open \u00"#, &["open \\u00"]);
        check(r#"["ends in a backslash\"#, &["ends in a backslash\\"]);
        check("no strings", &[]);
        check("\"\"\"\"", &["", ""]);
    }
}

//! A third reading, of one kind at a time: regular expressions over a text that others decoded. What the
//! oracle reads by hand (cards, addresses, words) is an expression here; the rest are those of `definitions`.

use crate::bodies::run;
use crate::definitions::{self, compile, compiled};
use crate::folded::{folded, is_invisible};
use crate::generate::{self, chunks, escape};
use proptest::prelude::*;
use regex_automata::meta::Regex;
use ringward::inspect::{Context, Kind};
use std::ops::Range;
use std::sync::LazyLock;

/// What `kind` finds in `text`, from left to right.
fn matches(kind: &Kind, text: &[u8]) -> Vec<Range<usize>> {
    let padded = definitions::padded(text.iter().copied());
    let first = |from: usize| match kind {
        Kind::CreditCard => (from..text.len()).find_map(|start| card(text, start)),
        Kind::Email => (from..text.len()).find_map(|sign| email(text, from, sign)),
        Kind::Literals(words) => (from..text.len()).find_map(|start| word(text, start, words)),
        kind => (from..text.len()).find_map(|start| {
            let found = definitions::at(kind, &padded, start, &|at| word_starts(text, at))?;
            Some(start..found.end)
        }),
    };
    let mut found: Vec<Range<usize>> = Vec::new();
    while let Some(next) = first(found.last().map_or(0, |last| last.end)) {
        found.push(next);
    }
    found
}

/// `text` with `[x]` in the place of what `kind` finds.
fn mask(kind: &Kind, text: &str) -> String {
    let (mut out, mut at) = (Vec::new(), 0);
    for found in matches(kind, text.as_bytes()) {
        out.extend_from_slice(&text.as_bytes()[at..found.start]);
        out.extend_from_slice(b"[x]");
        at = found.end;
    }
    out.extend_from_slice(&text.as_bytes()[at..]);
    String::from_utf8(out).expect("matches end between characters")
}

/// An expression that is compiled once.
macro_rules! regex {
    ($pattern:expr) => {{
        static REGEX: LazyLock<Regex> = LazyLock::new(|| compile(&$pattern));
        &*REGEX
    }};
}

/// The last bytes of what stands in front of `at`.
fn left(text: &[u8], at: usize) -> &[u8] {
    &text[at.saturating_sub(8)..at]
}

/// Nothing, no word, or an escape as it stands in source code.
fn word_starts(text: &[u8], at: usize) -> bool {
    regex!(r"(?s-u:^|[^0-9A-Za-z_]|\\[ntrbf]|\\u[0-9A-Fa-f]{4})$").is_match(left(text, at))
}

/// Groups as they are printed, with one separator; each ends with the word.
fn card_shapes() -> Vec<Regex> {
    let shapes =
        ["N{4}SN{6}SN{4,5}", "N{4}SN{4}SN{4}SN{2,7}", "N{4}SN{4}SN{4}SN{4}SN{1,3}", "N{6}SN{13}"].iter();
    let grouped = shapes.flat_map(|shape| [" ", "-", r"\."].map(|one| shape.replace('S', one)));
    let all = grouped.chain(["N{14,19}".to_owned()]);
    all.map(|shape| compile(&format!("^(?:{})(?:[^0-9A-Za-z_]|$)", shape.replace('N', "[0-9]")))).collect()
}

/// Prefix and length of each scheme, as one expression over the digits.
const SCHEMES: &str = concat!(
    "^(?:4[0-9]{15}(?:[0-9]{3})?",
    "|(?:5[1-5]|60)[0-9]{14}",
    "|(?:222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720|9792|8600|9860)[0-9]{12}",
    "|3[47][0-9]{13}|(?:1800|2131)[0-9]{11}",
    "|(?:30[0-5]|309)(?:[0-9]{11}|[0-9]{13,16})|3[89](?:[0-9]{12}|[0-9]{14,17})",
    "|(?:36|50|5[678]|63|67)[0-9]{12,17}",
    "|(?:6011|220[0-5])[0-9]{12,15}|64[4-9][0-9]{13,16}|(?:65|35|62|8[12])[0-9]{14,17})$",
);

fn card(text: &[u8], start: usize) -> Option<Range<usize>> {
    static SHAPES: LazyLock<Vec<Regex>> = LazyLock::new(card_shapes);
    if !text[start].is_ascii_digit()
        || !word_starts(text, start)
        || regex!(r"[0-9][.-]$").is_match(left(text, start))
    {
        return None;
    }
    let rest = &text[start..];
    let ends = SHAPES.iter().filter_map(|shape| shape.find(rest)).map(|found| match rest[found.end() - 1] {
        b'0'..=b'9' => found.end(),
        _ => found.end() - 1,
    });
    let is_number = |end: &usize| {
        let digits: Vec<u8> = rest[..*end].iter().copied().filter(u8::is_ascii_digit).collect();
        let same = digits.iter().all(|digit| *digit == digits[0]);
        !same && regex!(SCHEMES).is_match(&digits) && checks(&digits)
    };
    ends.filter(is_number).max().map(|end| start..start + end)
}

/// Every second digit from the right counts twice, its own digits added up; the sum is a multiple of ten.
fn checks(digits: &[u8]) -> bool {
    let value = |(place, digit): (usize, &u8)| (u32::from(digit - b'0') * (1 + place as u32 % 2)).to_string();
    let spelled: String = digits.iter().rev().enumerate().map(value).collect();
    spelled.bytes().map(|digit| u32::from(digit - b'0')).sum::<u32>() % 10 == 0
}

const LABEL: &str = "[0-9A-Za-z](?:[0-9A-Za-z-]{0,61}[0-9A-Za-z])?";

/// A domain of so many labels in front of the last, which is `top`, with hyphens that do not belong to it.
fn domains() -> Vec<Regex> {
    let top = "(?:[A-Za-z]{2,24}|[Xx][Nn]--[0-9A-Za-z-]*[0-9A-Za-z])";
    let behind = "(?:[^0-9A-Za-z-]|$)";
    let domain = |labels| format!(r"^(?:{LABEL}\.){{{labels}}}({top})(-*){behind}");
    (1..=24).map(|labels| compile(&domain(labels))).collect()
}

fn email(text: &[u8], from: usize, sign: usize) -> Option<Range<usize>> {
    static DOMAINS: LazyLock<Vec<Regex>> = LazyLock::new(domains);
    if text[sign] != b'@' {
        return None;
    }
    let earliest = from.max(sign.saturating_sub(64));
    let mut start = earliest + regex!("[0-9A-Za-z._%+-]+$").find(&text[earliest..sign])?.start();
    // An escape that the run begins within is not a part of it.
    let within = |end: &usize| {
        let escape =
            if *end == start + 1 { r"\\(?:[ntrbf]|u[0-9A-Fa-f]{4})$" } else { r"\\u[0-9A-Fa-f]{4}$" };
        *end <= sign && compiled(escape, |regex| regex.is_match(left(text, *end)))
    };
    if regex!(r"\\[0-9A-Za-z]{0,5}$").is_match(left(text, start)) {
        start = (start + 1..start + 6).find(within).unwrap_or(start);
    }
    start += regex!(r"^\.*").find(&text[start..sign])?.end();
    let rest = &text[sign + 1..];
    let end_of = |domain: &Regex| {
        let mut found = domain.create_captures();
        domain.captures(rest, &mut found);
        let (top, hyphens) = (found.get_group(1)?, found.get_group(2)?);
        let format = regex!("^(?i:png|jpe?g|gif|svg|webp|avif)$").is_match(&rest[top.start..top.end]);
        (!format && hyphens.end - top.start <= 63 && hyphens.end <= 254).then_some(top.end)
    };
    let end = DOMAINS.iter().filter_map(end_of).max().filter(|_| start < sign)?;
    Some(start..sign + 1 + end)
}

/// The longest of `words` that stands there and is not a part of a longer one.
fn word(text: &[u8], start: usize, words: &[String]) -> Option<Range<usize>> {
    let ends = words.iter().filter_map(|word| {
        let escaped: String = word.bytes().map(|byte| format!(r"\x{byte:02x}")).collect();
        let edge = if regex!("[0-9A-Za-z_]$").is_match(word) { "(?:[^0-9A-Za-z_]|$)" } else { "" };
        let stands = compiled(&format!("^(?i:{escaped}){edge}"), |regex| regex.is_match(&text[start..]));
        let inside = regex!("^[0-9A-Za-z_]").is_match(word) && !word_starts(text, start);
        (stands && !inside).then_some(start + word.len())
    });
    ends.max().map(|end| start..end)
}

/// Whether characters of `text` stand for ASCII ones or are not seen, of which expressions know nothing.
fn stands_for_others(text: &str) -> bool {
    text.chars().any(|char| folded(char) != char || is_invisible(char))
}

proptest! {
    #![proptest_config(generate::config())]

    #[test]
    fn each_kind_finds_in_text_what_its_expressions_do(
        (kind, text) in generate::kind_and_text(), cuts in generate::cuts(),
    ) {
        if stands_for_others(&text) {
            return Ok(());
        }
        // The x keeps it from looking like JSON.
        let text = format!("x {text}");
        let expected = mask(&kind, &text);
        let masked = run(&[generate::rule("x", kind, "[x]")], Context::Text, &chunks(text.as_bytes(), &cuts));
        let masked = masked.expect("a body that can be masked").body;
        prop_assert_eq!(String::from_utf8_lossy(&masked), expected);
    }

    /// Who decodes here is another parser.
    #[test]
    fn each_kind_finds_in_strings_what_its_expressions_do(
        (kind, text) in generate::kind_and_text(), seed in any::<u64>(), cuts in generate::cuts(),
    ) {
        if stands_for_others(&text) {
            return Ok(());
        }
        let expected = mask(&kind, &text);
        let document = format!("[\"{}\"]", escape(&text, 15, seed));
        let rules = [generate::rule("x", kind, "[x]")];
        let masked = run(&rules, Context::Json, &chunks(document.as_bytes(), &cuts));
        let masked = masked.expect("a body that can be masked").body;
        let [read]: [String; 1] = serde_json::from_slice(&masked).expect("a document");
        prop_assert_eq!(read, expected, "{}", document);
    }
}

//! The second definition of everything: decodes the whole body, tries every detector at every position, and
//! shares no code with the engine.

use crate::definitions;
use crate::folded::folded;
use crate::symbols::{NOTHING, SEPARATOR, Symbol, decode_json, fold, plain};
use ringward::inspect::{Direction, Kind, Part, Replacement, Rule};
use std::ops::Range;

/// How the oracle reads a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    Plain,
    /// Text whose same-length masks count decoded bytes.
    PlainInEvents,
    Json,
    /// JSON whose same-length masks count decoded bytes.
    JsonInEvents,
}

impl Reading {
    fn is_plain(self) -> bool {
        matches!(self, Reading::Plain | Reading::PlainInEvents)
    }
}

/// The masked body, with the number of masks.
pub fn mask(rules: &[Rule], way: Direction, reading: Reading, body: &[u8]) -> (Vec<u8>, usize) {
    let text = match reading {
        Reading::Plain | Reading::PlainInEvents => fold(plain(body)),
        Reading::Json | Reading::JsonInEvents => fold(decode_json(body)),
    };
    mask_text(rules, way, reading, &text, body, |mask| mask)
}

/// The same for a document that is the inside of a string, as it is spelled there.
pub fn mask_arguments(rules: &[Rule], way: Direction, string: &[u8]) -> (Vec<u8>, usize) {
    let outer = decode_json(string);
    let bytes: Vec<u8> =
        outer.iter().map(|symbol| u8::try_from(symbol.value).expect("a string ends at its quote")).collect();
    let inner = decode_json(&bytes).into_iter().map(|symbol| Symbol {
        start: outer[symbol.start].start,
        end: outer[symbol.end - 1].end,
        ..symbol
    });
    let quote = |mask: Vec<u8>| {
        let escaped = |byte: u8| if b"\"\\".contains(&byte) { vec![b'\\', byte] } else { vec![byte] };
        mask.into_iter().flat_map(escaped).collect()
    };
    mask_text(rules, way, Reading::Json, &fold(inner.collect()), string, quote)
}

fn mask_text(
    rules: &[Rule],
    way: Direction,
    reading: Reading,
    text: &[Symbol],
    body: &[u8],
    quoted: impl Fn(Vec<u8>) -> Vec<u8>,
) -> (Vec<u8>, usize) {
    let mut out = Vec::new();
    let (mut at, mut raw, mut count) = (0, 0, 0);
    let mut search = Search::new(rules, way, reading, text);
    while let Some(Match { start, end, rule, open, value, .. }) = search.first(at) {
        let found = raw_range(text, start..end, value, body.len());
        out.extend_from_slice(&body[raw..found.start]);
        raw = found.end;
        out.extend(quoted(spell(&rules[rule], reading, text, start..end, found.len(), open)));
        at = end;
        count += 1;
    }
    out.extend_from_slice(&body[raw..]);
    (out, count)
}

/// The received bytes of what was found: in a `value` that is a string all between the quotes.
fn raw_range(text: &[Symbol], found: Range<usize>, value: bool, length: usize) -> Range<usize> {
    let Range { start, end } = found;
    let is_quote = |at: Option<usize>| at.is_some_and(|at| text[at].value == SEPARATOR);
    if value && text[start].value != SEPARATOR && is_quote(start.checked_sub(1)) {
        return text[start - 1].end..text.get(end).map_or(length, |quote| quote.start);
    }
    text[start].start..text[end - 1].end
}

/// What was found.
#[derive(Clone, Copy)]
struct Match {
    /// Where it begins as far as other matches are concerned.
    order: usize,
    start: usize,
    end: usize,
    rule: usize,
    open: bool,
    value: bool,
}

impl Match {
    /// Leftmost; then JSON values; then what has no bound, of the first rule; then longest; then the first
    /// rule.
    fn rank(&self) -> (usize, bool, bool, usize, usize) {
        let length = if self.open { 0 } else { usize::MAX - self.end };
        (self.order, !self.value, !self.open, length, self.rule)
    }
}

/// A body, and what each rule found in it first.
struct Search<'a> {
    rules: &'a [Rule],
    reading: Reading,
    text: &'a [Symbol],
    bytes: definitions::Padded,
    /// `None`: not looked for yet, or too far left by now.
    next: Vec<Option<Option<Match>>>,
}

impl<'a> Search<'a> {
    fn new(rules: &'a [Rule], way: Direction, reading: Reading, text: &'a [Symbol]) -> Search<'a> {
        let bytes = definitions::padded(text.iter().map(|symbol| u8::try_from(symbol.value).unwrap_or(b'"')));
        let idle = |rule: &Rule| rule.dry_run || !rule.direction.covers(way);
        let next = rules.iter().map(|rule| idle(rule).then_some(None)).collect();
        Search { rules, reading, text, bytes, next }
    }

    /// The best match from `from` on.
    fn first(&mut self, from: usize) -> Option<Match> {
        for index in 0..self.rules.len() {
            // How much of a local part is left depends on where the last match ended.
            let stale = match self.next[index] {
                None => true,
                Some(None) => false,
                Some(Some(found)) => found.order < from || self.rules[index].kind == Kind::Email,
            };
            if stale {
                self.next[index] = Some(self.first_of(index, from));
            }
        }
        self.next.iter().flatten().flatten().copied().min_by_key(Match::rank)
    }

    fn first_of(&self, index: usize, from: usize) -> Option<Match> {
        let (rule, text) = (&self.rules[index], self.text);
        let mut starts = from..text.len();
        let bounded = |start, end| Match { order: start, start, end, rule: index, open: false, value: false };
        match &rule.kind {
            Kind::CreditCard => starts.find_map(|start| card(text, start).map(|end| bounded(start, end))),
            Kind::Email => starts
                .filter(|sign| byte(text, *sign as isize) == u16::from(b'@'))
                .find_map(|sign| email(text, from, sign).map(|(start, end)| bounded(start, end))),
            Kind::Literals(words) => starts.find_map(|start| {
                let words = words.iter().map(|word| word.chars().map(folded).collect::<String>());
                let words = words.filter(|word| literal(self.reading, text, start, word));
                words.map(|word| bounded(start, start + word.len())).max_by_key(|found| found.end)
            }),
            Kind::Key(keys) => starts.find_map(|start| {
                let whole = rule.replace == Replacement::Null;
                let (order, end) = member(self.reading, text, start, keys, whole)?;
                let found = Match { order, open: true, value: true, ..bounded(start, end) };
                (order >= from).then_some(found)
            }),
            Kind::Path(paths) if !self.reading.is_plain() => {
                let whole = rule.replace == Replacement::Null;
                let named = paths.iter().map(|path| steps(path)).collect::<Vec<_>>();
                values(text).into_iter().filter(|one| one.start >= from).find_map(|value| {
                    named.iter().any(|steps| leads_to(steps, &value.path)).then_some(())?;
                    let is_string = byte(text, value.start as isize) == SEPARATOR && !whole;
                    let inside = usize::from(is_string);
                    let (start, end) = (value.start + inside, value.end - inside);
                    let order = value.start;
                    (start < end).then_some(Match { order, open: true, value: true, ..bounded(start, end) })
                })
            }
            Kind::Path(_) => None,
            kind => starts.find_map(|start| {
                let found = definitions::at(kind, &self.bytes, start, &|at| word_start(text, at))?;
                Some(Match { open: found.open, ..bounded(start, found.end) })
            }),
        }
    }
}

fn byte(text: &[Symbol], at: isize) -> u16 {
    usize::try_from(at).ok().and_then(|at| text.get(at)).map_or(NOTHING, |symbol| symbol.value)
}

fn is(value: u16, test: impl Fn(char) -> bool) -> bool {
    u8::try_from(value).is_ok_and(|byte| byte.is_ascii() && test(byte as char))
}

fn is_word(value: u16) -> bool {
    is(value, |char| char.is_ascii_alphanumeric() || char == '_')
}

fn string(text: &[Symbol], start: usize, end: usize) -> Vec<u8> {
    // Separators become a byte that nothing matches.
    text[start..end].iter().map(|symbol| u8::try_from(symbol.value).unwrap_or(0)).collect()
}

/// Whether the text left of `at` ends in an escape as it stands in source code.
fn behind_escape(text: &[Symbol], at: usize) -> bool {
    ends_short_escape(text, at) || ends_long_escape(text, at)
}

fn ends_short_escape(text: &[Symbol], at: usize) -> bool {
    matches!(string(text, at.saturating_sub(2), at).as_slice(), [b'\\', letter] if b"ntrbf".contains(letter))
}

fn ends_long_escape(text: &[Symbol], at: usize) -> bool {
    let left = string(text, at.saturating_sub(6), at);
    left.len() == 6 && left.starts_with(b"\\u") && left[2..].iter().all(u8::is_ascii_hexdigit)
}

fn word_start(text: &[Symbol], at: usize) -> bool {
    !is_word(byte(text, at as isize - 1)) || behind_escape(text, at)
}

fn card(text: &[Symbol], start: usize) -> Option<usize> {
    let left = (byte(text, start as isize - 1), byte(text, start as isize - 2));
    let joined =
        (left.0 == u16::from(b'-') || left.0 == u16::from(b'.')) && is(left.1, |c| c.is_ascii_digit());
    if joined || !word_start(text, start) {
        return None;
    }
    let ends = (start + 14..=start + 23).filter(|end| *end <= text.len());
    ends.filter(|end| !is_word(byte(text, *end as isize)) && is_card(&string(text, start, *end))).max()
}

fn is_card(number: &[u8]) -> bool {
    let Ok(number) = std::str::from_utf8(number) else { return false };
    let groupings =
        [' ', '-', '.'].map(|separator| number.split(separator).map(str::len).collect::<Vec<_>>());
    let kinds = [' ', '-', '.'].iter().filter(|separator| number.contains(**separator)).count();
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    let separators = number.len() - digits.len();
    if kinds > 1 || number.chars().any(|char| !char.is_ascii_digit() && !" -.".contains(char)) {
        return false;
    }
    let grouping = groupings.into_iter().max_by_key(Vec::len).unwrap_or_default();
    let shape_is_known = matches!(
        grouping.as_slice(),
        [14..=19] | [4, 6, 4 | 5] | [4, 4, 4, 2..=7] | [4, 4, 4, 4, 1..=3] | [6, 13]
    );
    shape_is_known
        && grouping.len() == separators + 1
        && digits.chars().any(|digit| !digits.starts_with(digit))
        && luhn(&digits)
        && issuer(&digits)
}

fn luhn(digits: &str) -> bool {
    let doubled = [0, 2, 4, 6, 8, 1, 3, 5, 7, 9];
    let mut sum = 0;
    for (place, digit) in digits.bytes().rev().enumerate() {
        let digit = usize::from(digit - b'0');
        sum += if place % 2 == 0 { digit } else { doubled[digit] };
    }
    sum % 10 == 0
}

/// Prefixes in plain words: `a-b` is a range of prefixes of one length.
const ISSUERS: &[(&str, &[usize])] = &[
    ("4", &[16, 19]),
    ("51-55 2221-2720 60 9792 8600 9860", &[16]),
    ("34 37 1800 2131", &[15]),
    ("300-305 309 38-39", &[14, 16, 17, 18, 19]),
    ("36 50 56-58 63 67", &[14, 15, 16, 17, 18, 19]),
    ("6011 644-649 65 35 62 81-82 2200-2205", &[16, 17, 18, 19]),
];

fn issuer(digits: &str) -> bool {
    ISSUERS.iter().any(|(prefixes, lengths)| {
        lengths.contains(&digits.len())
            && prefixes.split(' ').any(|range| {
                let (low, high) = range.split_once('-').unwrap_or((range, range));
                (low..=high).contains(&&digits[..low.len()])
            })
    })
}

fn email(text: &[Symbol], from: usize, sign: usize) -> Option<(usize, usize)> {
    let is_local =
        |at: usize| is(byte(text, at as isize), |c| c.is_ascii_alphanumeric() || "._%+-".contains(c));
    let earliest = from.max(sign.saturating_sub(64));
    let mut start = (earliest..=sign).find(|start| (*start..sign).all(is_local))?;
    // Not within an escape as it stands in source code.
    let long = (start + 1..=start + 5).find(|end| *end <= sign && *end >= 6 && ends_long_escape(text, *end));
    let short = (start < sign && ends_short_escape(text, start + 1)).then_some(start + 1);
    start = short.or(long).unwrap_or(start);
    while start < sign && byte(text, start as isize) == u16::from(b'.') {
        start += 1;
    }
    if start == sign {
        return None;
    }
    let end =
        (sign + 4..=(sign + 255).min(text.len())).filter(|end| is_domain(text, sign + 1, *end)).max()?;
    Some((start, end))
}

/// Whether a domain may end at `end`: behind it stand no letters or digits, hyphens only if they end there.
fn is_domain(text: &[Symbol], start: usize, end: usize) -> bool {
    let domain = string(text, start, end);
    let hyphens = (end..text.len()).take_while(|at| byte(text, *at as isize) == u16::from(b'-')).count();
    let behind = byte(text, (end + hyphens) as isize);
    if is(behind, |c| c.is_ascii_alphanumeric()) || end + hyphens - start > 254 {
        return false;
    }
    let labels: Vec<&[u8]> = domain.split(|byte| *byte == b'.').collect();
    let Some((top, rest)) = labels.split_last() else { return false };
    let is_label = |label: &&[u8]| {
        (1..=63).contains(&label.len())
            && label.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
            && !label.starts_with(b"-")
            && !label.ends_with(b"-")
    };
    let format = ["png", "jpg", "jpeg", "gif", "svg", "webp", "avif"];
    let format = format.iter().any(|format| top.eq_ignore_ascii_case(format.as_bytes()));
    let letters = (2..=24).contains(&top.len()) && top.iter().all(u8::is_ascii_alphabetic) && !format;
    let punycode = top.len() > 4 && top.to_ascii_lowercase().starts_with(b"xn--") && is_label(top);
    !rest.is_empty() && rest.iter().all(is_label) && (letters || punycode) && top.len() + hyphens <= 63
}

fn literal(reading: Reading, text: &[Symbol], start: usize, word: &str) -> bool {
    let end = start + word.len();
    if end > text.len() || !string(text, start, end).eq_ignore_ascii_case(word.as_bytes()) {
        return false;
    }
    let (first, last) = (word.as_bytes()[0], word.as_bytes()[word.len() - 1]);
    if is_word(u16::from(first)) && !word_start(text, start) {
        return false;
    }
    if is_word(u16::from(last)) && is_word(byte(text, end as isize)) {
        return false;
    }
    let structure = !reading.is_plain() && word.contains(['{', '}', '[', ']', ':', ',']);
    !structure || in_string(text, start)
}

fn in_string(text: &[Symbol], at: usize) -> bool {
    text[..at].iter().filter(|symbol| symbol.value == SEPARATOR).count() % 2 == 1
}

fn is_space(value: u16) -> bool {
    is(value, |c| " \t\n\r".contains(c))
}

/// Where the key ends, and where the value does that starts at `start`, of a member with one of `keys`;
/// `whole`: quotes belong to it.
fn member(
    reading: Reading,
    text: &[Symbol],
    start: usize,
    keys: &[String],
    whole: bool,
) -> Option<(usize, usize)> {
    let at = |at: usize| byte(text, at as isize);
    let inside = !whole && start > 0 && at(start - 1) == SEPARATOR;
    let value = if inside { start - 1 } else { start };
    if reading.is_plain() || (!inside && !whole && at(start) == SEPARATOR) {
        return None;
    }
    let gap = text[..value]
        .iter()
        .rev()
        .take_while(|one| is_space(one.value) || one.value == u16::from(b':'))
        .count();
    let colons = text[value - gap..value].iter().filter(|one| one.value == u16::from(b':')).count();
    let behind_key = value - gap;
    if colons != 1 || gap > 64 || behind_key == 0 || at(behind_key - 1) != SEPARATOR {
        return None;
    }
    let close = behind_key - 1;
    let is_key = |key: &&String| {
        let Some(open) = close.checked_sub(key.len() + 1) else { return false };
        let spaces = text[..open].iter().rev().take_while(|one| is_space(one.value)).count();
        // A string with a colon in front is a value.
        let is_value = spaces < 64 && open > spaces && at(open - spaces - 1) == u16::from(b':');
        at(open) == SEPARATOR
            && !is_value
            && string(text, open + 1, close).eq_ignore_ascii_case(key.as_bytes())
    };
    keys.iter().find(is_key)?;
    let end_at = |from: usize, is_end: &dyn Fn(u16) -> bool| {
        (from..text.len()).find(|at| is_end(text[*at].value)).unwrap_or(text.len())
    };
    if inside {
        let end = end_at(start, &|value| value == SEPARATOR);
        return (end > start).then_some((behind_key, end));
    }
    let end = match at(start) {
        SEPARATOR => (end_at(start + 1, &|value| value == SEPARATOR) + 1).min(text.len()),
        first if is(first, |c| "{[".contains(c)) => {
            let (mut depth, mut in_string) = (0, false);
            for (index, symbol) in text.iter().enumerate().skip(start) {
                in_string ^= symbol.value == SEPARATOR;
                if !in_string {
                    depth += i64::from(is(symbol.value, |c| "{[".contains(c)));
                    depth -= i64::from(is(symbol.value, |c| "}]".contains(c)));
                }
                if depth == 0 && !in_string {
                    return Some((behind_key, index + 1));
                }
            }
            text.len()
        }
        first if first == 0 || first == NOTHING || is(first, |c| ",}]:".contains(c)) => return None,
        first if is_space(first) => return None,
        _ => end_at(start + 1, &|value| {
            value == SEPARATOR || is_space(value) || is(value, |c| ",]}".contains(c))
        }),
    };
    Some((behind_key, end))
}

/// One step to a value: the key of a member, or the number of an element.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Key(Vec<u8>),
    Element(usize),
    Any,
}

/// A value of a document with the way to it.
struct Placed {
    path: Vec<Step>,
    start: usize,
    end: usize,
}

fn steps(path: &str) -> Vec<Step> {
    let separated = path.replace('[', ".[");
    let read = |step: &str| match step.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        _ if matches!(step, "*" | "[*]") => Step::Any,
        Some(inside) => match inside.parse() {
            Ok(number) => Step::Element(number),
            Err(_) => Step::Key(inside.trim_matches('"').as_bytes().to_vec()),
        },
        None => Step::Key(step.as_bytes().to_vec()),
    };
    separated.split('.').skip(1).filter(|step| !step.is_empty()).map(read).collect()
}

fn leads_to(steps: &[Step], path: &[Step]) -> bool {
    steps.len() == path.len() && steps.iter().zip(path).all(|(step, at)| *step == Step::Any || step == at)
}

/// All values of a document, outer ones first.
fn values(text: &[Symbol]) -> Vec<Placed> {
    let mut values = Vec::new();
    read_value(text, 0, &mut Vec::new(), &mut values);
    values.sort_by_key(|value| (value.start, value.path.len()));
    values
}

/// Reads the value at `at` or behind; gives its end.
fn read_value(text: &[Symbol], at: usize, path: &mut Vec<Step>, values: &mut Vec<Placed>) -> usize {
    let next = |at: usize, is: &dyn Fn(u16) -> bool| {
        (at..text.len()).find(|at| is(text[*at].value)).unwrap_or(text.len())
    };
    let behind_space = |at: usize| next(at, &|value| !is_space(value));
    let is_one_of = |value: u16, set: &str| is(value, |char| set.contains(char));
    let start = behind_space(at);
    let end = match byte(text, start as isize) {
        NOTHING => return text.len(),
        SEPARATOR => next(start + 1, &|value| value == SEPARATOR) + 1,
        first if is_one_of(first, "{[") => {
            let mut at = behind_space(start + 1);
            let mut count = 0;
            while at < text.len() && !is_one_of(text[at].value, "]}") {
                let step = if is_one_of(first, "{") {
                    let close = next(at + 1, &|value| value == SEPARATOR);
                    let key = string(text, at + 1, close);
                    at = next(close, &|value| value == u16::from(b':')) + 1;
                    Step::Key(key)
                } else {
                    Step::Element(count)
                };
                count += 1;
                path.push(step);
                at = behind_space(read_value(text, at, path, values));
                path.pop();
                if byte(text, at as isize) == u16::from(b',') {
                    at = behind_space(at + 1);
                }
            }
            at + 1
        }
        _ => next(start, &|value| is_space(value) || is_one_of(value, ",]}")),
    };
    let end = end.min(text.len());
    values.push(Placed { path: path.clone(), start, end });
    end
}

fn spell(
    rule: &Rule,
    reading: Reading,
    text: &[Symbol],
    range: Range<usize>,
    raw_length: usize,
    open: bool,
) -> Vec<u8> {
    let Range { start, end } = range;
    let found = string(text, start, end);
    let raw_length = match reading {
        Reading::PlainInEvents | Reading::JsonInEvents => found.len(),
        _ => raw_length,
    };
    let is_value = matches!(rule.kind, Kind::Key(_) | Kind::Path(_));
    if rule.replace == Replacement::Null {
        return b"null".to_vec();
    }
    let plain = render(rule, &found, raw_length);
    if reading.is_plain() {
        return plain;
    }
    let escaped: Vec<u8> = String::from_utf8(plain)
        .expect("templates are text")
        .chars()
        .flat_map(|char| if "\"\\".contains(char) { vec!['\\', char] } else { vec![char] })
        .collect::<String>()
        .into_bytes();
    if in_string(text, start) {
        return escaped;
    }
    let is_edge = |value: u16| value > 255 || value == 0 || is(value, |c| " \t\n\r{}[]:,".contains(c));
    let edges = is_edge(byte(text, start as isize - 1)) && is_edge(byte(text, end as isize));
    let token = is_value || (!open && edges);
    // What has no bound shows it by the bytes without which it is none.
    let shown = if open { found.len().min(12) } else { found.len() };
    let number = found[..shown].iter().all(|byte| b"0123456789+-.eE".contains(byte));
    match (token, rule.replace == Replacement::Asterisks) {
        (true, true) => vec![b'9'; raw_length],
        (true, false) => [b"\"", escaped.as_slice(), b"\""].concat(),
        (false, _) if number => vec![b'9'; raw_length],
        (false, _) => escaped,
    }
}

fn render(rule: &Rule, found: &[u8], raw_length: usize) -> Vec<u8> {
    let Replacement::Template(parts) = &rule.replace else { return vec![b'*'; raw_length] };
    let digits: Vec<u8> = found.iter().copied().filter(u8::is_ascii_digit).collect();
    let graphic: Vec<u8> = found.iter().copied().filter(u8::is_ascii_graphic).collect();
    let last4 = if digits.len() >= 4 { digits } else { graphic };
    let render_part = |part: &Part| match part {
        Part::Text(text) => text.as_bytes().to_vec(),
        Part::Name => rule.name.as_bytes().to_vec(),
        Part::Kind => rule.kind.name().as_bytes().to_vec(),
        Part::Length => found.len().to_string().into_bytes(),
        Part::Token => Vec::new(),
        Part::Last4 if found.len() < 8 => Vec::new(),
        Part::Last4 => last4[last4.len().saturating_sub(4)..].to_vec(),
    };
    parts.iter().flat_map(render_part).collect()
}

//! Keys with a known beginning: those of providers, JSON web tokens (RFC 7519), private keys in PEM
//! (RFC 7468).

use super::class::{Class, FINGERPRINT_BYTES};
use super::provider::{Body, SHAPES, Shape};
use super::swallow::{PEM, PemEnd};
use super::{Outcome, Swallow, Text, entropy, is_word};

/// The rules that keys belong to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// Keys of providers.
    pub provider: Option<u16>,
    /// JSON web tokens.
    pub jwt: Option<u16>,
    /// Private keys.
    pub pem: Option<u16>,
}

const JWT: &str = "eyJ";
const PEM_BEGIN: &str = "-----BEGIN ";

impl Rules {
    /// Whether there is one.
    pub fn any(&self) -> bool {
        self.provider.or(self.jwt).or(self.pem).is_some()
    }

    /// What begins at `start`.
    pub fn at(&self, text: &Text, start: usize) -> Option<Outcome> {
        let rest = &text.bytes[start..];
        if !text.key_may_start(start) {
            return None;
        }
        let mut best: Option<Outcome> = None;
        let mut note = |found: Option<Outcome>| {
            best = best.into_iter().chain(found).reduce(Outcome::better);
        };
        match rest[0] {
            b'e' => note(self.jwt.and_then(|rule| jwt(text, start, rule))),
            b'-' => note(self.pem.and_then(|rule| pem(text, start, rule))),
            _ => {}
        }
        if let Some(rule) = self.provider {
            let mut rows = FIRSTS.get(usize::from(rest[0])).map_or(0, |first| first & !OTHERS);
            while rows != 0 {
                let shape = &SHAPES[rows.trailing_zeros() as usize];
                for prefix in shape.prefixes.iter().filter(|prefix| prefix.as_bytes()[0] == rest[0]) {
                    note(provider(text, start, prefix, shape, rule));
                }
                rows &= rows - 1;
            }
        }
        best
    }
}

/// The first bytes of prefixes that are compared.
type Head = [u8; FINGERPRINT_BYTES];

/// Whether a prefix may begin with these bytes, as far as they are there: few others do, by their hash.
#[inline]
pub fn may_begin(bytes: &[u8]) -> bool {
    let Some(head) = bytes.first_chunk() else {
        return bytes
            .first()
            .and_then(|first| FIRSTS.get(usize::from(*first)))
            .is_some_and(|rows| *rows != 0);
    };
    let hash = hash(head);
    HEADS[hash / 64] >> (hash % 64) & 1 != 0
}

/// Whether a prefix that is none of a provider's begins with a byte.
const OTHERS: u64 = 1 << 63;

/// By first byte, the rows of [`SHAPES`] of which a prefix begins with it.
static FIRSTS: [u64; 128] = {
    let mut firsts = [0; 128];
    firsts[JWT.as_bytes()[0] as usize] |= OTHERS;
    firsts[PEM_BEGIN.as_bytes()[0] as usize] |= OTHERS;
    let mut row = 0;
    while row < SHAPES.len() {
        assert!(row < 63, "rows fit in front of the mark of the others");
        let mut index = 0;
        while index < SHAPES[row].prefixes.len() {
            firsts[SHAPES[row].prefixes[index].as_bytes()[0] as usize] |= 1 << row;
            index += 1;
        }
        row += 1;
    }
    firsts
};

const HASH_BITS: u32 = 12;

const fn hash(head: &Head) -> usize {
    let head = u32::from_le_bytes([head[0], head[1], head[2], 0]);
    (head.wrapping_mul(0x9e37_79b1) >> (u32::BITS - HASH_BITS)) as usize
}

/// The hashes of the first bytes of all prefixes, as bits.
static HEADS: [u64; (1 << HASH_BITS) / 64] = {
    let mut heads = add_head([0; (1 << HASH_BITS) / 64], JWT);
    heads = add_head(heads, PEM_BEGIN);
    let mut row = 0;
    while row < SHAPES.len() {
        let mut index = 0;
        while index < SHAPES[row].prefixes.len() {
            heads = add_head(heads, SHAPES[row].prefixes[index]);
            index += 1;
        }
        row += 1;
    }
    heads
};

const fn add_head(mut heads: [u64; (1 << HASH_BITS) / 64], prefix: &str) -> [u64; (1 << HASH_BITS) / 64] {
    let Some(head) = prefix.as_bytes().first_chunk() else { panic!("prefixes have three bytes") };
    let hash = hash(head);
    heads[hash / 64] |= 1 << (hash % 64);
    heads
}

/// Whether `literal` stands at `at`; `None`: the text ended before it could tell.
fn begins(text: &Text, at: usize, literal: &str) -> Option<bool> {
    let rest = &text.bytes[at.min(text.bytes.len())..];
    let length = rest.len().min(literal.len());
    if rest[..length] != literal.as_bytes()[..length] {
        return Some(false);
    }
    if length == literal.len() || text.last { Some(length == literal.len()) } else { None }
}

fn provider(text: &Text, start: usize, prefix: &str, shape: &Shape, rule: u16) -> Option<Outcome> {
    if !begins(text, start, prefix).unwrap_or(true) {
        return None;
    }
    let body = start + prefix.len();
    if body > text.bytes.len() {
        return Some(Outcome::Live);
    }
    match shape.body {
        Body::Exactly(length) => {
            let run = run(text, body, length + 1, shape.class);
            match text.at(body + run) {
                None if run <= length => Some(Outcome::Live),
                Some(next) if run == length && !is_word(next) => {
                    let end = body + length;
                    is_random(&text.bytes[body..end], shape).then_some(Outcome::Match { end, rule })
                }
                _ => None,
            }
        }
        Body::AtLeast(length) => {
            let run = run(text, body, length, shape.class);
            if run < length {
                return text.at(body + run).is_none().then_some(Outcome::Live);
            }
            let end = body + length;
            let open = Outcome::Open { end, rule, swallow: Swallow::Key };
            is_random(&text.bytes[body..end], shape).then_some(open)
        }
        Body::Marked { mark, limit } => marked(text, body, mark, limit, rule),
    }
}

/// Characters behind the mark of a marked key.
const BEHIND_MARK_MIN: usize = 20;

fn marked(text: &Text, body: usize, mark: &str, limit: usize, rule: u16) -> Option<Outcome> {
    let run_end = text.url_run_end(body);
    let open = run_end == text.bytes.len() && !text.last;
    let searched = &text.bytes[body..run_end.min(body + limit)];
    match memchr::memmem::find(searched, mark.as_bytes()) {
        None if open && searched.len() < limit => Some(Outcome::Live),
        None => None,
        Some(at) => {
            let end = body + at + mark.len() + BEHIND_MARK_MIN;
            match (end <= run_end, open) {
                (true, _) => Some(Outcome::Open { end, rule, swallow: Swallow::Key }),
                (false, true) => Some(Outcome::Live),
                (false, false) => None,
            }
        }
    }
}

/// How many bytes of `class` stand at `at`, at most `limit`.
fn run(text: &Text, at: usize, limit: usize, class: &Class) -> usize {
    text.bytes[at..].iter().take(limit).take_while(|byte| class.has(**byte)).count()
}

fn is_random(body: &[u8], shape: &Shape) -> bool {
    entropy::tenths(body) >= shape.entropy
}

/// Characters of a header (RFC 7515 section 4) that are waited for.
const HEADER_BYTES_MAX: usize = 512;

/// A header that decodes to JSON with an algorithm, and the beginning of a payload that is an object.
fn jwt(text: &Text, start: usize, rule: u16) -> Option<Outcome> {
    if !begins(text, start, JWT).unwrap_or(true) {
        return None;
    }
    let dot = text.url_run_end(start);
    if dot - start > HEADER_BYTES_MAX {
        return None;
    }
    match begins(text, dot, ".eyJ") {
        None => Some(Outcome::Live),
        Some(true) if has_algorithm(&text.bytes[start..dot]) => {
            Some(Outcome::Open { end: dot + 4, rule, swallow: Swallow::Token })
        }
        _ => None,
    }
}

/// Whether base64 for URLs holds a member `alg`.
fn has_algorithm(header: &[u8]) -> bool {
    let mut decoded = Vec::with_capacity(header.len() * 3 / 4 + 3);
    for four in header.chunks(4) {
        let mut bits = four.iter().fold(0u32, |bits, byte| bits << 6 | sextet(*byte));
        bits <<= 6 * (4 - four.len());
        decoded.extend_from_slice(&bits.to_be_bytes()[1..]);
    }
    memchr::memmem::find(&decoded, b"\"alg\"").is_some()
}

fn sextet(byte: u8) -> u32 {
    u32::from(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'-' => 62,
        _ => 63,
    })
}

/// Longest label, and the bytes of content that show that it is not only talked about.
const LABEL_BYTES_MAX: usize = 48;
const CONTENT_BYTES_MIN: usize = 24;

fn pem(text: &Text, start: usize, rule: u16) -> Option<Outcome> {
    match begins(text, start, PEM_BEGIN) {
        None => return Some(Outcome::Live),
        Some(false) => return None,
        Some(true) => {}
    }
    let label = start + PEM_BEGIN.len();
    let length = text.bytes[label..]
        .iter()
        .take(LABEL_BYTES_MAX + 1)
        .take_while(|byte| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b' '))
        .count();
    let name = &text.bytes[label..label + length];
    if length > LABEL_BYTES_MAX {
        return None;
    }
    match begins(text, label + length, "-----") {
        None => return Some(Outcome::Live),
        Some(true) if name.ends_with(b"PRIVATE KEY") || name.ends_with(b"PRIVATE KEY BLOCK") => {}
        Some(_) => return None,
    }
    let content = label + length + 5;
    let run = run(text, content, CONTENT_BYTES_MIN, &PEM);
    if run < CONTENT_BYTES_MIN {
        return text.at(content + run).is_none().then_some(Outcome::Live);
    }
    Some(Outcome::Open { end: content, rule, swallow: Swallow::Pem(PemEnd::Mark(0)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::detect::hits::RANDOM;
    use crate::inspect::detect::predicates::KEY_RUN_BYTES;

    #[test]
    fn every_key_begins_with_the_run_that_is_looked_for() {
        let check = |begin: &str| {
            let length = begin.len().min(KEY_RUN_BYTES);
            assert!(begin.bytes().take(length).all(|byte| RANDOM.has(byte)), "{begin}");
        };
        [JWT, PEM_BEGIN].into_iter().for_each(check);
        for shape in SHAPES {
            let body = match shape.body {
                Body::Exactly(length) | Body::AtLeast(length) => length,
                Body::Marked { mark, .. } => mark.len() + 20,
            };
            for prefix in shape.prefixes {
                check(prefix);
                assert!(prefix.len() + body >= KEY_RUN_BYTES, "{prefix}");
                assert!(may_begin(prefix.as_bytes()) && may_begin(&prefix.as_bytes()[..1]), "{prefix}");
            }
            let of_class = (0..=u8::MAX).filter(|byte| shape.class.has(*byte));
            assert!(of_class.clone().all(|byte| RANDOM.has(byte)), "{:?}", shape.prefixes);
        }
    }
}

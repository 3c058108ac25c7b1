//! Random strings that are a secret because of what stands in front of them: `password = "…"`,
//! `"api_key":"…"`, `Authorization: Bearer …`.
//!
//! At least twelve characters of [`RANDOM`], among them a digit or a special character, with an entropy of
//! at least 3.5 bits in the first 128 (3 for hexadecimal digits, which have four at most, and for what has a
//! letter, a digit and one of [`PASSWORD_MARKS`]); a key word in front, and an assignment between. Where a
//! program finds its secret (`$DB_PASSWORD`, `process.env.KEY`) is none.
//! The words are those that gitleaks (`generic-api-key`) and detect-secrets look for, without those that name
//! pages of results.

use super::hits::{RANDOM, RANDOM_BYTES_MIN};
use super::keyword::{self, KeyWords};
use super::{NEAR_BYTES, Outcome, Swallow, Text, entropy};
use crate::inspect::codec::ESCAPED_QUOTE;

static KEY_WORDS: KeyWords = KeyWords::new(&[
    "password",
    "passwd",
    "passphrase",
    "passwort",
    "pwd",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "secretkey",
    "privatekey",
    "authkey",
    "encryptionkey",
    "signingkey",
    "accountkey",
    "credential",
    "credentials",
]);
/// Words that need no assignment.
static SCHEMES: KeyWords = KeyWords::new(&["bearer"]);
/// Ends of words that are no secrets: where to go on in a list.
static NOT_SECRET: KeyWords =
    KeyWords::new(&["pagetoken", "nexttoken", "continuationtoken", "paginationtoken", "synctoken"]);
/// Characters that are looked at.
const LOOKED_AT_BYTES: usize = 128;
const ENTROPY_TENTHS_MIN: u32 = 35;
/// That of hexadecimal digits, and of what looks like a password.
const LOWER_ENTROPY_TENTHS_MIN: u32 = 30;
/// Characters of passwords that stand in hardly anything else: not in paths, addresses or queries.
const PASSWORD_MARKS: &[u8] = b"!@#$^*";
/// What the names of variables of an environment follow.
const ENVIRONMENTS: &[&str] = &["process.env.", "import.meta.env.", "os.environ.", "os.getenv"];

/// What begins at `start`.
pub fn at(text: &Text, start: usize, rule: u16) -> Option<Outcome> {
    if !RANDOM.has(text.bytes[start]) || !is_assigned(text, start) {
        return None;
    }
    let rest = &text.bytes[start..];
    let length = rest.iter().take(LOOKED_AT_BYTES).take_while(|byte| RANDOM.has(**byte)).count();
    let string = &rest[..length];
    if length == LOOKED_AT_BYTES {
        let open = Outcome::Open { end: start + length, rule, swallow: Swallow::Random };
        return is_secret(string).then_some(open);
    }
    match text.at(start + length) {
        None => Some(Outcome::Live),
        Some(_) if length < RANDOM_BYTES_MIN || !is_secret(string) => None,
        Some(_) => Some(Outcome::Match { end: start + length, rule }),
    }
}

fn is_secret(string: &[u8]) -> bool {
    let is_special = |byte: &u8| !byte.is_ascii_alphabetic() && !matches!(byte, b'_' | b'-' | b'.');
    let is_hexadecimal =
        string.iter().all(u8::is_ascii_hexdigit) && string.iter().any(u8::is_ascii_alphabetic);
    let has = |is_one: fn(&u8) -> bool| string.iter().any(is_one);
    let is_password =
        has(|byte| PASSWORD_MARKS.contains(byte)) && has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic);
    let least = if is_hexadecimal || is_password { LOWER_ENTROPY_TENTHS_MIN } else { ENTROPY_TENTHS_MIN };
    string.iter().any(is_special) && !is_reference(string) && entropy::tenths(string) >= least
}

/// Whether it is the name of a variable that holds the value.
fn is_reference(string: &[u8]) -> bool {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let is_variable = |name: &[u8]| {
        name.first().is_some_and(u8::is_ascii_uppercase) && name.iter().all(is_name) && name.contains(&b'_')
    };
    string.strip_prefix(b"$").is_some_and(is_variable)
        || ENVIRONMENTS.iter().any(|environment| string.starts_with(environment.as_bytes()))
}

/// Whether a key word may stand in front of what begins at `at`: says no to most. Stage A asks it.
///
/// What stands there cannot be predicted: there are no branches. A gap of [`keyword::GAP_BYTES_MAX`] bytes
/// passes, for what is near holds no three letters in front of it.
#[inline(always)]
pub fn may_be_assigned(bytes: &[u8], at: usize) -> bool {
    let Some(near) = bytes[..at].last_chunk::<NEAR_BYTES>() else { return true };
    const LONGEST: usize = keyword::GAP_BYTES_MAX - 1;
    const { assert!(LONGEST + 3 == NEAR_BYTES) };
    let mut marks = 0;
    let mut back = 0;
    while back <= LONGEST {
        marks |= BETWEEN_MARKS[usize::from(near[NEAR_BYTES - 1 - back])] << back;
        back += 1;
    }
    let gap = (marks | 1 << (LONGEST + 1)).trailing_zeros() as usize;
    let assigns = marks >> ASSIGNS_SHIFT & ((1 << gap) - 1) != 0;
    let end = NEAR_BYTES - gap.min(LONGEST);
    let ends = ENDINGS[usize::from(assigns)].has([near[end - 3], near[end - 2], near[end - 1]]);
    (gap > LONGEST) | (gap > 0) & ends
}

/// The endings of schemes, and of key words.
static ENDINGS: [keyword::Endings; 2] = [SCHEMES.endings(), KEY_WORDS.endings()];

/// By byte: the lowest bit for what may not stand between, that at [`ASSIGNS_SHIFT`] for what assigns.
static BETWEEN_MARKS: [u32; 256] = {
    let mut marks = [0; 256];
    let mut byte = 0;
    while byte < marks.len() {
        marks[byte] = match BETWEEN[byte] {
            NONE => 1,
            ASSIGNS => 1 << ASSIGNS_SHIFT,
            _ => 0,
        };
        byte += 1;
    }
    marks
};
const ASSIGNS_SHIFT: u32 = 16;

/// Whether a key word stands in front, and between them what assigns a value.
fn is_assigned(text: &Text, start: usize) -> bool {
    let near = text.near(start);
    let (mut gap, mut assigns) = (0, false);
    while gap < keyword::GAP_BYTES_MAX {
        match BETWEEN[usize::from(near[NEAR_BYTES - 1 - gap])] {
            NONE => break,
            QUOTE_IN_JSON if !text.json => break,
            kind => assigns |= kind == ASSIGNS,
        }
        gap += 1;
    }
    let words = if assigns { &KEY_WORDS } else { &SCHEMES };
    let ending = [near[NEAR_BYTES - 2 - gap], near[NEAR_BYTES - 1 - gap]];
    if gap == 0 || !words.may_end(ending, true) {
        return false;
    }
    let Some(word) = keyword::word(text, start, 1 + gap, true) else { return false };
    word.ends_in(words) && !(assigns && word.ends_in(&NOT_SECRET))
}

const _: () = assert!(keyword::GAP_BYTES_MAX + 2 <= NEAR_BYTES, "what is near holds the end of a word");

/// White space, quotes (escaped or not), brackets and what assigns: no part of a random string.
static BETWEEN: [u8; 256] = {
    let mut kinds = [NONE; 256];
    let mut index = 0;
    let gaps = b" \t\n\"'`\\([>";
    while index < gaps.len() {
        kinds[gaps[index] as usize] = GAP;
        index += 1;
    }
    kinds[b':' as usize] = ASSIGNS;
    kinds[b'=' as usize] = ASSIGNS;
    kinds[ESCAPED_QUOTE as usize] = QUOTE_IN_JSON;
    kinds
};
const NONE: u8 = 0;
const GAP: u8 = 1;
const ASSIGNS: u8 = 2;
const QUOTE_IN_JSON: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::detect::LEFT_BYTES;

    #[test]
    fn stage_a_asks_for_no_more_than_the_detector() {
        let gaps = [
            " ",
            "=",
            ": ",
            "\":\"",
            "\\\": \\\"",
            " = ( \"",
            "\u{1f}:\u{1f}",
            "  =   ",
            "      ",
            ":\"[(<>>",
        ];
        let words = KEY_WORDS_TESTED.iter().chain(&["server", "uuid", "id", "a", "--", "k-e-y", "x_"]);
        for word in words {
            for cut in 0..=word.len() {
                let joined = format!("{}_{}", &word[..cut], &word[cut..]);
                for word in [word.to_string(), word.to_uppercase(), joined] {
                    for gap in gaps {
                        let bytes = format!("{{\"the {word}{gap}");
                        let text = Text::new(bytes.as_bytes(), &[0; LEFT_BYTES], true, true, false);
                        let asked = may_be_assigned(bytes.as_bytes(), bytes.len());
                        assert!(asked || !is_assigned(&text, bytes.len()), "{bytes}");
                    }
                }
            }
        }
        assert!(!may_be_assigned(br#"{"uuid":"x"#, 9) && may_be_assigned(br#"{"api-key":"x"#, 12));
    }

    const KEY_WORDS_TESTED: &[&str] =
        &["password", "passphrase", "passwort", "pwd", "secret", "token", "apikey", "credentials", "bearer"];
}

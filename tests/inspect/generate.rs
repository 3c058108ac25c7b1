//! Random rules, texts and documents, dense in what matches and in what nearly matches.

use crate::folded;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use ringward::inspect::{Direction, Kind, Replacement, Rule};
use std::sync::Arc;

/// Cases of each property; `RINGWARD_CASES` asks for another number. Unoptimised code is twenty times slower.
const CASES: u32 = if cfg!(debug_assertions) { 500 } else { 20_000 };

/// The configuration of every property.
pub fn config() -> ProptestConfig {
    let asked = std::env::var("RINGWARD_CASES").ok().and_then(|cases| cases.parse().ok());
    let cases = asked.unwrap_or(CASES);
    let failure_persistence = None;
    ProptestConfig { cases, max_shrink_iters: 4000, failure_persistence, ..ProptestConfig::default() }
}

/// Texts that `pattern` matches. A pattern as a strategy of its own is parsed again for each text.
fn shaped(pattern: &str) -> impl Strategy<Value = String> + use<> {
    prop::string::string_regex(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"))
}

pub fn rule(name: &str, kind: Kind, replace: &str) -> Rule {
    let replace = Replacement::parse(replace).expect("a good template");
    Rule { name: Arc::from(name), kind, replace, direction: Direction::Both, dry_run: false }
}

const WORDS: &[&str] = &[
    "Project Falcon",
    "falcon",
    "Falcon Heavy",
    "Müller",
    "Ünit\u{2011}7",
    "a\"b",
    "O'Neil",
    "4111",
    "ab",
    "{x",
    "x, y",
    "-1",
];

const EXPRESSIONS: [&str; 4] =
    [r"\bEMP-\d{4,6}\b", "(?i)tick[0-9a-f]{2,8}", r"(?:Müller|4111)[ .]?[a-z]{0,40}", r"sk-[a-z]{3}\b"];

/// Sets of rules that a test draws from: to compile one takes longer than to run it over a text.
const SETS: usize = 300;

/// A few rules in random order; every kind in most sets.
pub fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let (strategy, mut runner) = (any_rules(), TestRunner::default());
    let sets = (0..SETS).map(|_| strategy.new_tree(&mut runner).expect("nothing is filtered").current());
    prop::sample::select(sets.collect::<Vec<_>>())
}

fn any_rules() -> impl Strategy<Value = Vec<Rule>> {
    let replace = prop_oneof![
        4 => Just("[{name}]"),
        2 => Just("[card …{last4}]"),
        1 => Just("\"{kind}\\{length}"),
        1 => Just(""),
        2 => Just("*"),
        1 => Just("{{null}}"),
    ];
    let words = prop::sample::subsequence(WORDS, 1..WORDS.len());
    let literals = words.prop_map(|words| Kind::Literals(words.into_iter().map(str::to_owned).collect()));
    let shaped = Kind::BUILT_IN.into_iter().filter(|kind| !matches!(kind, Kind::CreditCard | Kind::Email));
    let keys = [&["ssn"][..], &["Name", "a", "ssn"], &["é"]];
    let keys = keys.map(|keys| Kind::Key(keys.iter().map(|key| (*key).to_owned()).collect()));
    let shaped = shaped.chain(keys.clone()).chain(keys);
    let shaped = shaped.chain(EXPRESSIONS.map(|pattern| Kind::Regex(pattern.to_owned())));
    let shaped = prop::sample::select(shaped.collect::<Vec<_>>());
    let kind = prop_oneof![3 => Just(Kind::CreditCard), 3 => Just(Kind::Email), 3 => literals, 9 => shaped];
    let one = (kind, replace, prop::bool::weighted(0.1));
    prop::collection::vec(one, 1..7).prop_map(|rules| {
        let rules = rules.into_iter().enumerate();
        rules
            .map(|(index, (kind, replace, dry_run))| {
                let drops = replace == "{{null}}" && matches!(kind, Kind::Key(_));
                let mut rule = Rule { dry_run, ..rule(&format!("r{index}"), kind, replace) };
                if drops {
                    rule.replace = Replacement::Null;
                }
                rule
            })
            .collect()
    })
}

/// Rules as [`rules`] gives them, and some that paths lead to.
pub fn rules_with_paths() -> impl Strategy<Value = Vec<Rule>> {
    const PATHS: &[&str] = &[
        "$.ssn",
        "$.*",
        "$[*]",
        "$.a",
        "$[0].ssn",
        "$.*.ssn",
        "$[*][1]",
        "$.name[*]",
        "$.é",
        "$.a.a",
        "$[1].*",
        "$.*.*.*",
        "$.password",
        "$[\"ssn \"][0]",
    ];
    let paths = prop::sample::subsequence(PATHS, 1..4);
    let replace = prop::sample::select(vec!["[{name}]", "[…{last4}]", "*", "\"{length}", "{{null}}"]);
    let added = prop::collection::vec((paths, replace, any::<prop::sample::Index>()), 1..3);
    (rules(), added).prop_map(|(mut rules, added)| {
        for (number, (paths, replace, place)) in added.into_iter().enumerate() {
            let kind = Kind::Path(paths.into_iter().map(str::to_owned).collect());
            let mut rule = rule(&format!("p{number}"), kind, replace);
            if replace == "{{null}}" {
                rule.replace = Replacement::Null;
            }
            let place = place.index(rules.len() + 1);
            rules.insert(place, rule);
        }
        rules
    })
}

/// A valid card number: digits of `seed` behind an issuer's prefix, and the check digit.
pub fn card_number(prefix: &str, length: usize, mut seed: u64) -> String {
    let mut digits: Vec<u8> = prefix.bytes().map(|byte| byte - b'0').collect();
    while digits.len() < length - 1 {
        digits.push((seed % 10) as u8);
        seed = seed / 10 + seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 97;
    }
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, u32::from(*digit)) {
            (1, digit) => digit,
            (_, digit) => digit * 2 / 10 + digit * 2 % 10,
        })
        .sum();
    digits.push(((10 - sum % 10) % 10) as u8);
    digits.iter().map(|digit| char::from(b'0' + digit)).collect()
}

fn card() -> impl Strategy<Value = String> {
    let kinds = [
        ("4", 16, &[4, 4, 4][..]),
        ("51", 16, &[4, 4, 4]),
        ("37", 15, &[4, 6]),
        ("36", 14, &[4, 6]),
        ("62", 19, &[4, 4, 4, 4]),
        ("6011", 19, &[6]),
        ("4", 19, &[4, 4, 4]),
        ("9", 16, &[4, 4, 4]),
    ];
    (prop::sample::select(kinds.to_vec()), any::<u64>(), prop::sample::select(vec!["", "", " ", "-", "."]))
        .prop_map(|((prefix, length, groups), seed, separator)| {
            let number = card_number(prefix, length, seed);
            let mut rest = number.as_str();
            let mut out = String::new();
            for group in groups {
                out.push_str(&rest[..*group]);
                out.push_str(separator);
                rest = &rest[*group..];
            }
            out + rest
        })
}

fn punctuation(marks: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(marks).prop_map(str::to_owned)
}

/// An account number with right check digits, in one piece or in groups.
fn iban() -> impl Strategy<Value = String> {
    let countries = [("DE", 18), ("NO", 11), ("GB", 18), ("MT", 27), ("XX", 18), ("NL", 14)];
    let country = prop::sample::select(countries.to_vec());
    (country, shaped("[A-Z0-9]{27}"), any::<bool>(), 0u32..8).prop_map(
        |((country, length), body, grouped, wrong)| {
            let body = &body[..length];
            let places = format!("{body}{country}00");
            let decimal: String = places
                .chars()
                .map(|char| char.to_digit(36).expect("a digit or letter").to_string())
                .collect();
            let remainder = decimal.bytes().fold(0, |rest, digit| (rest * 10 + u32::from(digit - b'0')) % 97);
            let check = 98 - remainder + u32::from(wrong == 0);
            let whole = format!("{country}{check:02}{body}");
            let groups: Vec<&str> =
                whole.as_bytes().chunks(4).map(|group| std::str::from_utf8(group).expect("ASCII")).collect();
            if grouped { groups.join(" ") } else { whole }
        },
    )
}

/// Social security numbers, and what nearly is one.
fn ssn() -> impl Strategy<Value = String> {
    shaped("(ssn|SSN is|tel)?[ :]?[0-9]{3}[- ]?[0-9]{2}[- ]?[0-9]{4}")
}

/// Phone numbers, and what nearly is one.
fn phone() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => shaped("(1[ .-])?(\\([2-9][0-9]{2}\\) ?|[2-9][0-9]{2}[ .-])[2-9][0-9]{2}[ .-][0-9]{4}"),
        2 => shaped("\\+[1-9][0-9]{0,2}([ .()-]{0,2}[0-9]{1,4}){2,5}"),
        2 => shaped(concat!(
            "(phone|Tel|call me at|customerPhone|fax no)[ :.\"]{0,7}",
            "\\(?0[0-9]{1,3}(\\) |[ ./-])?[0-9]{3,9}",
        )),
        1 => shaped("(phone|Tel) 0[0-9]{1,3}([ .-][0-9]{2,4}){2,4}"),
        1 => shaped("(02[0-9]|01[0-9]{2}|0[35789]0?)[ -][0-9]{3,4}[ -][0-9]{4}([ .-][0-9])?"),
        1 => shaped("([0-9] )?07[0-9]{3} [0-9]{5,7}"),
        2 => shaped("(phone|mobile number is|x)[ :]{1,2}1?[2-9][0-9]{9}"),
    ]
}

fn ipv4() -> impl Strategy<Value = String> {
    shaped("[0-9]{1,3}(\\.[0-9]{1,3}){3}[.:]?")
}

fn ipv6() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => shaped("[0-9a-f]{1,4}(:[0-9a-f]{1,4}){7}[.:]?"),
        3 => shaped("([0-9a-f]{1,4}:){0,6}:([0-9a-f]{1,4}:){0,5}[0-9a-f]{0,4}"),
        1 => shaped("(([0-9a-f]{1,4}:){6}|::ffff:)[0-9]{1,3}(\\.[0-9]{1,3}){3}"),
    ]
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => ssn(),
        10 => phone(),
        3 => ipv4(),
        6 => ipv6(),
        3 => iban(),
        1 => shaped("2026-0[1-9]-1[0-9]T0[0-9]:00:0[0-9]Z"),
    ]
}

/// JSON web tokens, and what nearly is one.
fn jwt() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcDEF_123-xyz".to_owned()),
        shaped("eyJ[a-zA-Z0-9_-]{1,30}\\.eyJ[a-z]{1,9}"),
        shaped("eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9\\.eyJ[a-zA-Z0-9_.=-]{1,700}"),
        shaped("eyJ[a-z]{500,520}\\.eyJ"),
    ]
}

/// Private keys, and what nearly is one.
fn pem() -> impl Strategy<Value = String> {
    shaped(concat!(
        "-----BEGIN (RSA |EC )?(PRIVATE|PUBLIC) KEY-----\n[A-Za-z0-9+/\n]{10,99}\n",
        "(-----END RSA PRIVATE KEY-----|-{1,9}END -)?",
    ))
}

/// Keys of providers, and what nearly is one.
fn api_key() -> impl Strategy<Value = String> {
    prop_oneof![
        shaped("A(KIA|SIA)[A-Z2-7]{15,17}"),
        shaped("gh[pos]_[0-9A-Za-z]{35,37}"),
        shaped("github_pat_[0-9A-Za-z_]{82}"),
        shaped("sk-(ant-|proj-)?[0-9A-Za-z_-]{18,40}(T3BlbkFJ[0-9A-Za-z]{18,22})?"),
        shaped("sk-[0-9A-Za-z_-]{150,190}T3BlbkFJ[0-9A-Za-z]{30}"),
        shaped("(sk|rk)_(live|test)_[0-9A-Za-z]{10,40}"),
        shaped("xox[bpe][.-][0-9A-Za-z-]{5,30}"),
        shaped("AIza[0-9A-Za-z_-]{34,36}"),
        shaped("(npm_|hf_|glpat-|SG\\.|SK|key-|dapi|r8_|hvs\\.)[0-9a-f]{30,37}"),
        shaped("SG\\.[0-9A-Za-z_.-]{66}"),
    ]
}

/// What is assigned to key words and others.
fn assigned() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => shaped(concat!(
            "(password|api_key|client-secret|myToken|next_page_token|Bearer|key)",
            "( ?[:=] ?\"?|\":\"| )[0-9A-Za-z_+/.~!@#$%^&*?-]{8,40}",
        )),
        1 => shaped("(secret: ?|password=\")[0-9a-f]{12,40}"),
        1 => shaped("(secret: ?|password=\")([a-d]{2,4}[!@#$^*%&?-][0-9]?){3,5}"),
        1 => shaped("token=(\\$[A-Z]|\\$|process\\.env\\.|os\\.getenv|env\\.)[A-Z_]{5,20}[0-9]?"),
        1 => shaped("secret=[0-9A-Za-z_+/.-]{120,300}"),
    ]
}

/// What the expressions of [`EXPRESSIONS`] match, or nearly.
fn expressible() -> impl Strategy<Value = String> {
    shaped("(EMP-[0-9]{3,7}|TICK[0-9a-g]{1,9}|sk-abc|Müller.[0-9a-z]{0,50})")
}

/// Keys and secrets, and what nearly is one.
fn secret() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => jwt(),
        2 => pem(),
        10 => api_key(),
        2 => expressible(),
        5 => assigned(),
        2 => punctuation(&["eyJ", "ghp_", "AKIA", "sk-", "-----BEGIN ", "-----", "password=", "::", "tel "]),
    ]
}

/// E-mail addresses, and what nearly is one.
fn email() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => shaped("[a-z.+-]{1,6}@[a-z]{1,5}\\.(com|org|x|co\\.uk|xn--p1ai|c0m|com\\.png|JPEG)"),
        1 => shaped("[a-z0-9.]{50,80}@[a-z.-]{1,20}\\.de"),
        1 => shaped("[a-z]{1,3}@([a-z]{20}\\.){10,14}com"),
    ]
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        5 => prop::sample::select(WORDS).prop_map(str::to_owned),
        2 => prop::sample::select(WORDS).prop_map(str::to_uppercase),
    ]
}

/// Characters that separate, or join, what they stand between.
fn mark() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => punctuation(&[" ", " ", "@", "+", ".", "-", "--", "_", "/", "\\", "\"", "'", ",", ":"]),
        2 => punctuation(&["\n", "\\n", "\\u00e9", "\\\\", "é", "日", "😀", "\u{1f}", "{", "]", "“"]),
    ]
}

/// A piece of text.
fn fragment() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => card(),
        8 => number(),
        7 => secret(),
        6 => email(),
        7 => word(),
        3 => shaped("[a-z]{1,8}"),
        2 => shaped("[0-9]{1,20}"),
        1 => shaped("[0-9 .-]{1,30}"),
        1 => shaped("[a-zA-Z0-9._@+-]{1,80}"),
        8 => mark(),
    ]
}

/// A kind, and a text that is dense in what it finds or nearly finds.
pub fn kind_and_text() -> impl Strategy<Value = (Kind, String)> {
    let about = |kind: Kind, strategy: BoxedStrategy<String>| {
        let piece = prop_oneof![5 => strategy, 4 => mark(), 1 => fragment()];
        let text = prop::collection::vec(piece, 0..10).prop_map(|pieces| pieces.concat());
        text.prop_map(move |text| (kind.clone(), text)).boxed()
    };
    let expressions = EXPRESSIONS.map(|one| about(Kind::Regex(one.to_owned()), expressible().boxed()));
    let words = Kind::Literals(WORDS.iter().map(|word| (*word).to_owned()).collect());
    let built_in = Kind::BUILT_IN.map(|kind| {
        let strategy = match kind {
            Kind::CreditCard => card().boxed(),
            Kind::Email => email().boxed(),
            Kind::Ssn => ssn().boxed(),
            Kind::Phone => phone().boxed(),
            Kind::Iban => iban().boxed(),
            Kind::Ipv4 => ipv4().boxed(),
            Kind::Ipv6 => ipv6().boxed(),
            Kind::Jwt => jwt().boxed(),
            Kind::PrivateKey => pem().boxed(),
            Kind::ApiKey => api_key().boxed(),
            _ => assigned().boxed(),
        };
        about(kind, strategy)
    });
    let all = built_in.into_iter().chain(expressions).chain([about(words, word().boxed())]);
    prop::strategy::Union::new(all)
}

/// A text of fragments.
pub fn text(fragments: std::ops::Range<usize>) -> impl Strategy<Value = String> {
    let percent = prop_oneof![4 => Just(0), 1 => 1u64..60];
    (prop::collection::vec(fragment(), fragments), percent, any::<u64>())
        .prop_map(|(fragments, percent, seed)| sprinkle(&widen(&fragments.concat(), percent, seed), seed))
}

/// One text in four gets invisible characters in front of some of its own; one in a hundred of these more
/// than are left out.
fn sprinkle(text: &str, mut seed: u64) -> String {
    let mut next = move || {
        seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        seed >> 16
    };
    if next() % 4 > 0 {
        return text.to_owned();
    }
    let (percent, run_max) = if next() % 100 == 0 { (1 + next() % 3, 300) } else { (1 + next() % 60, 3) };
    let mut out = String::new();
    for char in text.chars() {
        if next() % 100 < percent {
            out.extend((0..1 + next() % run_max).map(|_| folded::invisible(next())));
        }
        out.push(char);
    }
    out
}

/// `text` with `percent` in a hundred characters as others that stand for them.
fn widen(text: &str, percent: u64, mut seed: u64) -> String {
    let widened = text.chars().map(|char| {
        seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let others = folded::unfolded(char);
        match (seed >> 33) % 100 < percent {
            true if !others.is_empty() => others[(seed >> 50) as usize % others.len()],
            _ => char,
        }
    });
    widened.collect()
}

/// `text` as the inside of a JSON string; of the characters that need no escape `percent` in a hundred get
/// one.
pub fn escape(text: &str, percent: u64, mut seed: u64) -> String {
    let mut out = String::new();
    for char in text.chars() {
        seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        match char {
            _ if (seed >> 33) % 100 < percent => {
                let mut units = [0; 2];
                for unit in char.encode_utf16(&mut units) {
                    out.push_str(&match (seed >> 50) % 2 {
                        0 => format!("\\u{unit:04x}"),
                        _ => format!("\\u{unit:04X}"),
                    });
                }
            }
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '/' if seed >> 63 == 0 => out.push_str("\\/"),
            char if (char as u32) < 0x20 => out.push_str(&format!("\\u{:04x}", char as u32)),
            char => out.push(char),
        }
    }
    out
}

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (text(0..5), any::<u64>()).prop_map(|(text, seed)| format!("\"{}\"", escape(&text, 15, seed))),
        1 => text(0..5).prop_map(|text| format!("\"{}\"", escape(&text, 0, 0))),
        1 => any::<u64>().prop_map(|seed| card_number("4", 16, seed)),
        1 => any::<u64>().prop_map(|seed| format!("-{}", card_number("51", 16, seed))),
        1 => any::<u64>().prop_map(|seed| format!("{}.5e+3", card_number("4", 16, seed))),
        1 => any::<f64>().prop_map(|one| if one.is_finite() { format!("{one:?}") } else { "0".to_owned() }),
        1 => prop::sample::select(vec!["4111", "-1", "true", "null", "0.4111111111111111"])
            .prop_map(str::to_owned),
    ]
}

/// A JSON document.
pub fn document() -> impl Strategy<Value = String> {
    let space = prop::sample::select(vec!["", "", " ", "\n\t"]);
    // Made once: what is below is made again for each document.
    let name = text(0..3).boxed();
    scalar().prop_recursive(4, 24, 4, move |inner| {
        let named = prop::sample::select(vec!["ssn", "SSN", "name", "a", "é", "ssn ", "password"]);
        let key = prop_oneof![2 => name.clone(), 1 => named.prop_map(str::to_owned)];
        let key = (key, any::<u64>()).prop_map(|(text, seed)| escape(&text, 15, seed));
        prop_oneof![
            (prop::collection::vec(inner.clone(), 0..4), space.clone())
                .prop_map(|(items, space)| format!("[{space}{}{space}]", items.join(&format!("{space},")))),
            (prop::collection::vec((key, inner), 0..4), space.clone()).prop_map(|(members, space)| {
                let members: Vec<String> =
                    members.iter().map(|(key, value)| format!("\"{key}\"{space}:{space}{value}")).collect();
                format!("{{{space}{}{space}}}", members.join(","))
            }),
        ]
    })
}

/// Lengths of the chunks a body is cut into.
pub fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        2 => prop::collection::vec(1usize..40, 0..40),
        1 => Just(vec![1]),
        1 => prop::collection::vec(1usize..4, 1..4),
        1 => prop::collection::vec(0usize..400, 0..6),
        1 => Just(vec![]),
    ]
}

/// Cuts `body` by repeating `lengths`; whole if there are none.
pub fn chunks<'a>(body: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let mut chunks = Vec::new();
    let mut rest = body;
    let mut lengths = lengths.iter().copied().filter(|length| *length > 0).cycle();
    while !rest.is_empty() {
        let length = lengths.next().unwrap_or(rest.len()).min(rest.len());
        chunks.push(&rest[..length]);
        rest = &rest[length..];
    }
    chunks
}

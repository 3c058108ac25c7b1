//! The second definition of each detector: regular expressions over the whole decoded text, one start at a
//! time. It shares no code and no table with the engine.

use base64::Engine as _;
use regex_automata::meta::Regex;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};
use ringward::inspect::Kind;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// A match: where it ends, and whether it has no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    pub end: usize,
    pub open: bool,
}

/// A text with a zero in front of it and some behind, so that every position has neighbours. What
/// separates in JSON is a quote.
pub struct Padded(Vec<u8>);

const FRONT: usize = 80;

pub fn padded(text: impl Iterator<Item = u8>) -> Padded {
    let mut bytes = vec![0; FRONT];
    bytes.extend(text);
    bytes.extend([0; 2]);
    Padded(bytes)
}

impl Padded {
    fn left(&self, start: usize) -> &[u8] {
        &self.0[start + FRONT - 72..start + FRONT]
    }

    fn rest(&self, start: usize) -> &[u8] {
        &self.0[start + FRONT..]
    }
}

pub fn compile(pattern: &str) -> Regex {
    let syntax = syntax::Config::new().unicode(false).utf8(false);
    // Else a match may not begin within a character, which bytes of it may.
    let config = Regex::config().utf8_empty(false);
    Regex::builder()
        .configure(config)
        .syntax(syntax)
        .build(pattern)
        .unwrap_or_else(|error| panic!("{pattern}: {error}"))
}

/// Uses the expression `pattern`, which is compiled when it is first used.
pub fn compiled<T>(pattern: &str, using: impl FnOnce(&Regex) -> T) -> T {
    thread_local! {
        static COMPILED: RefCell<BTreeMap<String, Regex>> = RefCell::default();
    }
    COMPILED.with_borrow_mut(|compiled| {
        if !compiled.contains_key(pattern) {
            compiled.insert(pattern.to_owned(), compile(pattern));
        }
        using(&compiled[pattern])
    })
}

/// An expression that is compiled once.
macro_rules! regex {
    ($pattern:expr) => {{
        static REGEX: LazyLock<Regex> = LazyLock::new(|| compile(&$pattern));
        &*REGEX
    }};
}

/// What `kind` says of `start`; `word_start`: whether no word reaches over the left edge of a position.
pub fn at(kind: &Kind, text: &Padded, start: usize, word_start: &dyn Fn(usize) -> bool) -> Option<Found> {
    let key_start = || text.left(start).ends_with(b"_") || word_start(start);
    match kind {
        Kind::Ssn => bounded(word_start(start).then(|| ssn(text, start))?),
        Kind::Phone => bounded(phone(text, start, word_start(start))),
        Kind::Iban => bounded(key_start().then(|| iban(text, start))?),
        Kind::Ipv4 => bounded(word_start(start).then(|| v4(text, start))?),
        Kind::Ipv6 => bounded(word_start(start).then(|| v6(text, start))?),
        Kind::Jwt => open(key_start().then(|| jwt(text, start))?),
        Kind::PrivateKey => open(key_start().then(|| pem(text, start))?),
        Kind::ApiKey => key_start().then(|| api_key(text, start))?,
        Kind::GenericSecret => secret(text, start),
        Kind::Regex(pattern) => expression(pattern, text, start),
        _ => None,
    }
    .map(|found| Found { end: found.end + start, ..found })
}

fn bounded(end: Option<usize>) -> Option<Found> {
    end.map(|end| Found { end, open: false })
}

fn open(end: Option<usize>) -> Option<Found> {
    end.map(|end| Found { end, open: true })
}

/// Where `regex`, which is anchored, ends.
fn prefix(regex: &Regex, rest: &[u8]) -> Option<usize> {
    let found = regex.find(rest)?;
    assert_eq!(found.start(), 0, "the expression is anchored");
    Some(found.end())
}

/// Not followed by a word, nor by a separator with a digit behind it.
fn ends_number(behind: &[u8]) -> bool {
    !regex!("^(?:[0-9A-Za-z_]|[-.][0-9])").is_match(behind)
}

/// Not the continuation of digits.
fn begins_number(left: &[u8]) -> bool {
    !regex!("[0-9][-.]$").is_match(left)
}

/// One of `words` in front, with a filler or two between.
fn beside(words: &str) -> String {
    const FILLERS: &str = "is|no|nr|num|number|nummer|numero|at|on|me|us|the|my";
    let gap = r"[^0-9A-Za-z\x00]";
    format!("(?i)(?:{words})(?:{gap}{{1,6}}(?:{FILLERS})){{0,2}}{gap}{{0,6}}$")
}

fn expression(pattern: &str, text: &Padded, start: usize) -> Option<Found> {
    let all = &text.0[..text.0.len() - 2];
    let input = Input::new(all).range(start + FRONT..).anchored(Anchored::Yes);
    let found = compiled(pattern, |regex| regex.find(input));
    bounded(found.map(|found| found.end() - start - FRONT))
}

fn ssn(text: &Padded, start: usize) -> Option<usize> {
    let rest = text.rest(start);
    let shape = regex!("^(?:[0-9]{3}(?:-[0-9]{2}-| [0-9]{2} )[0-9]{4}|[0-9]{9})");
    let end = prefix(shape, rest)?;
    let never = regex!("^(?:000|666|9)|^[0-9]{3}[- ]?00|0000$");
    let words = regex!(beside("ssn|security|socialsecurity|socialsecuritynumber"));
    let known = end == 11 || words.is_match(text.left(start));
    (known && !never.is_match(&rest[..end]) && begins_number(text.left(start)) && ends_number(&rest[end..]))
        .then_some(end)
}

const PHONE_WORDS: &str = "phone|tel|telephone|telefon|telefono|mobile|mobil|cell|handy|fax|call|sms|\
    whatsapp|rufnummer|telefonnummer|handynummer|portable|dial";

/// British and Japanese numbers, in the groups that they are printed in.
const PHONE_GROUPINGS: &str = "^(?:02[0-9](?: [2-9][0-9]{3} |-[2-9][0-9]{3}-)[0-9]{4}|\
    01[0-9]{2} [2-9][0-9]{2} [0-9]{4}|07[0-9]{3} [0-9]{6}|0(?:3|[5789]0)-[0-9]{4}-[0-9]{4})";

fn phone(text: &Padded, start: usize, word_start: bool) -> Option<usize> {
    let (left, rest) = (text.left(start), text.rest(start));
    let joined = regex!(r"\+$|[0-9A-Za-z][-./]$").is_match(left);
    let begins = word_start && !joined;
    let digits = |end: usize| rest[..end].iter().filter(|byte| byte.is_ascii_digit()).count();
    let ends_word = |end: usize| !regex!("^[0-9A-Za-z_]").is_match(&rest[end..]);
    if let Some(end) = prefix(regex!(r"^\+[1-9](?:[ .()-]{0,2}[0-9])*"), rest) {
        return (begins && (8..=15).contains(&digits(end)) && ends_word(end)).then_some(end);
    }
    let braced = rest.starts_with(b"(");
    if braced && regex!("[0-9A-Za-z_]$").is_match(left) {
        return None;
    }
    if let Some(end) = prefix(regex!(r"^\(?0(?:(?:\) |[ ./)-])?[0-9])*"), rest) {
        let apart = !regex!("[0-9A-Za-z_.-]$|[0-9]:$").is_match(left);
        if !apart || !(begins || braced) {
            return None;
        }
        if regex!(beside(PHONE_WORDS)).is_match(left) {
            return ((9..=12).contains(&digits(end)) && ends_word(end)).then_some(end);
        }
        let end = prefix(regex!(PHONE_GROUPINGS), rest)?;
        let alone = !regex!("[0-9] $").is_match(left) && !regex!("^ [0-9]").is_match(&rest[end..]);
        return (alone && ends_number(&rest[end..])).then_some(end);
    }
    if !(begins || braced) {
        return None;
    }
    let grouped = regex!(r"^(?:1[ .-])?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[ .-])[2-9][0-9]{2}[ .-][0-9]{4}");
    if let Some(end) = prefix(grouped, rest) {
        return ends_number(&rest[end..]).then_some(end);
    }
    let end = prefix(regex!("^1?[2-9][0-9]{2}[2-9][0-9]{6}"), rest)?;
    (regex!(beside(PHONE_WORDS)).is_match(left) && ends_number(&rest[end..])).then_some(end)
}

/// Lengths by country, as the registry of SWIFT lists them.
const IBAN_LENGTHS: &str = "AD24 AE23 AL28 AT20 AX18 AZ28 BA20 BE16 BG22 BH22 BI27 BL27 BR29 BY28 CH21 CR22 \
    CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GF27 GG22 GI23 GL18 GP27 GR27 \
    GT28 HN28 HR21 HU28 IE22 IL23 IM22 IQ23 IS26 IT27 JE22 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 \
    MC27 MD24 ME22 MF27 MK19 MN20 MQ27 MR27 MT31 MU30 NC27 NI28 NL18 NO15 OM23 PF27 PK24 PL28 PM27 PS29 PT25 \
    QA29 RE27 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TF27 TL23 TN24 TR26 UA29 VA22 \
    VG24 WF27 XK20 YE30 YT27";

fn iban(text: &Padded, start: usize) -> Option<usize> {
    let rest = text.rest(start);
    prefix(regex!("^[A-Z]{2}[0-9]{2}"), rest)?;
    let country = std::str::from_utf8(&rest[..2]).expect("letters");
    let known = IBAN_LENGTHS.split(' ').find_map(|entry| entry.strip_prefix(country))?;
    let length: usize = known.parse().expect("a length");
    let groups = (length - 4) / 4;
    let last = (length - 4) % 4;
    let tail = if last > 0 { format!(" ?[0-9A-Z]{{{last}}}") } else { String::new() };
    let pattern = format!("^[A-Z]{{2}}[0-9]{{2}}(?: ?[0-9A-Z]{{4}}){{{groups}}}{tail}");
    let end = compiled(&pattern, |regex| prefix(regex, rest))?;
    let number: Vec<u8> = rest[..end].iter().copied().filter(|byte| *byte != b' ').collect();
    let moved = number[4..].iter().chain(&number[..4]);
    let decimal: String =
        moved.map(|byte| char::from(*byte).to_digit(36).expect("a digit or letter").to_string()).collect();
    let remainder =
        decimal.bytes().fold(0, |remainder, digit| (remainder * 10 + u32::from(digit - b'0')) % 97);
    (remainder == 1 && !rest[end].is_ascii_alphanumeric()).then_some(end)
}

const OCTET: &str = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";

fn v4(text: &Padded, start: usize) -> Option<usize> {
    let rest = text.rest(start);
    let end = prefix(regex!(format!(r"^{OCTET}(?:\.{OCTET}){{3}}")), rest)?;
    let part = regex!(r"^\.?[0-9A-Za-z_]").is_match(&rest[end..]) || text.left(start).ends_with(b".");
    (!part).then_some(end)
}

/// All text forms of RFC 4291, by how many groups stand in front of `::` and behind it.
fn v6_pattern() -> String {
    let group = "[0-9A-Fa-f]{1,4}";
    let groups = |count: usize| vec![group; count].join(":");
    let v4 = format!(r"{OCTET}(?:\.{OCTET}){{3}}");
    let mut forms = vec![groups(8), format!("{}:{v4}", groups(6))];
    for front in 0..8 {
        for back in 0..8 - front {
            forms.push(format!("{}::{}", groups(front), groups(back)));
            if back >= 2 {
                let colon = if back > 2 { ":" } else { "" };
                forms.push(format!("{}::{}{colon}{v4}", groups(front), groups(back - 2)));
            }
        }
    }
    format!("^(?:{})$", forms.join("|"))
}

fn v6(text: &Padded, start: usize) -> Option<usize> {
    let rest = text.rest(start);
    if regex!("[:.]$").is_match(text.left(start)) {
        return None;
    }
    let run = prefix(regex!("^[0-9A-Fa-f:][0-9A-Fa-f:.]*"), rest)?;
    let trimmed = match &rest[..run] {
        [front @ .., b'.'] => front.len(),
        [front @ .., b':'] if front.last() != Some(&b':') => front.len(),
        _ => run,
    };
    let address = &rest[..trimmed];
    let whole = trimmed < run || !regex!("^[0-9A-Za-z_]").is_match(&rest[run..]);
    let digit = regex!("[0-9]").is_match(address);
    (run <= 46 && whole && digit && regex!(v6_pattern()).is_match(address)).then_some(trimmed)
}

fn jwt(text: &Padded, start: usize) -> Option<usize> {
    let rest = text.rest(start);
    let end = prefix(regex!(r"^eyJ[A-Za-z0-9_-]*\.eyJ[A-Za-z0-9_.=-]*"), rest)?;
    let header: Vec<u8> = rest.iter().copied().take_while(|byte| *byte != b'.').collect();
    let whole = header.len() - usize::from(header.len() % 4 == 1);
    let lenient = base64::engine::GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_encode_padding(false)
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::RequireNone);
    let engine = base64::engine::GeneralPurpose::new(&base64::alphabet::URL_SAFE, lenient);
    let decoded = engine.decode(&header[..whole]).expect("the alphabet was checked");
    (header.len() <= 512 && regex!("\"alg\"").is_match(&decoded)).then_some(end)
}

fn pem(text: &Padded, start: usize) -> Option<usize> {
    let rest = text.rest(start);
    let label = prefix(regex!("^-----BEGIN [0-9A-Z ]{0,48}-----"), rest)?;
    regex!("PRIVATE KEY(?: BLOCK)?-----$").is_match(&rest[..label]).then_some(())?;
    let content = prefix(regex!(r"^[0-9A-Za-z+/=:,.\\ \t\r\n-]{24,}"), &rest[label..])?;
    let end = regex!("(?s)-----END .*?-----").find(&rest[label..label + content]);
    Some(label + end.map_or(content, |end| end.end()))
}

fn entropy(string: &[u8]) -> f64 {
    let mut counts: BTreeMap<u8, f64> = BTreeMap::new();
    string.iter().for_each(|byte| *counts.entry(*byte).or_default() += 1.0);
    let length = string.len() as f64;
    counts.values().map(|count| -(count / length) * (count / length).log2()).sum()
}

/// Prefix, characters behind it that are looked at (`+`: or more), least entropy.
const API_KEYS: &[(&str, &str, f64)] = &[
    ("A(?:KIA|SIA|BIA|CCA)", "[A-Z2-7]{16}", 2.5),
    ("gh[pousr]_", "[0-9A-Za-z]{36}", 3.0),
    ("github_pat_", r"\w{82}", 3.0),
    ("gl(?:pat|dt|rt|ptt|ft|agent|cbt|imt|soat|oas)-", r"[\w-]{20}+", 3.0),
    ("sk-ant-", r"[\w-]{20}+", 3.0),
    ("hf_", "[0-9A-Za-z]{34}", 3.0),
    ("gsk_", "[0-9A-Za-z]{52}", 3.0),
    ("pplx-", "[0-9A-Za-z]{48}", 3.5),
    ("xai-", "[0-9A-Za-z]{80}", 3.5),
    ("r8_", "[0-9A-Za-z]{37}", 3.0),
    ("(?:sk|rk)_(?:live|test|prod)_", "[0-9A-Za-z]{16}+", 2.5),
    ("whsec_", "[0-9A-Za-z]{24}+", 3.0),
    ("sq0(?:atp|csp)-", r"[\w-]{22}+", 2.5),
    ("shp(?:at|ca|pa|ss)_", "[0-9A-Fa-f]{32}", 2.5),
    (r"xox(?:[bpaorse]-|e\.xox)|xapp-", r"[\w-]{10}+", 1.5),
    ("AIza", r"[\w-]{35}", 3.0),
    ("GOCSPX-", r"[\w-]{28}", 3.0),
    (r"ya29\.", r"[\w-]{40}+", 3.0),
    ("npm_", "[0-9A-Za-z]{36}", 3.0),
    ("pypi-AgEIcHlwaS5vcmc", r"[\w-]{50}+", 3.0),
    ("rubygems_", "[0-9A-Fa-f]{48}", 2.5),
    ("oy2", "[0-9A-Za-z]{43}", 3.5),
    ("cio", "[0-9A-Za-z]{32}", 4.0),
    (r"SG\.", r"[\w.-]{66}", 3.5),
    ("SK[0-9a-f]", "[0-9A-Fa-f]{31}", 3.0),
    ("key-", "[0-9A-Fa-f]{32}", 3.0),
    ("xkeysib-", r"[\w-]{64}+", 2.5),
    ("do[opr]_v1_", "[0-9A-Fa-f]{64}", 3.0),
    ("LTAI", "[0-9A-Za-z]{20}", 3.0),
    ("dapi", "[0-9A-Fa-f]{32}", 3.0),
    (r"hv[sb]\.", r"[\w-]{24}+", 3.5),
    ("pul-", "[0-9A-Fa-f]{40}", 3.0),
    ("lin_api_", "[0-9A-Za-z]{40}", 3.0),
    ("ntn_", "[0-9A-Za-z]{46}", 3.5),
    ("figd_", r"[\w-]{36}+", 3.0),
    ("gl(?:sa|c)_", r"\w{32}+", 3.0),
    ("NRAK-", "[0-9A-Za-z]{27}", 3.0),
    ("PMAK-", r"[\w-]{59}", 3.0),
    (r"dp\.[psc]t\.", "[0-9A-Za-z]{40}+", 3.0),
    ("pscale_(?:tkn|pw|oauth)_", r"[\w.-]{32}+", 3.0),
    ("sntryu_", "[0-9A-Fa-f]{64}", 3.0),
    ("ATATT3", r"[\w-]{180}+", 3.5),
    ("fo1_", r"[\w-]{43}+", 3.0),
    ("AGE-SECRET-KEY-1", "[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}", 3.0),
];

struct ApiKey {
    prefix: Regex,
    body: Regex,
    /// What may not stand behind a key with a length; of others, the rest.
    behind: Regex,
    has_length: bool,
    entropy: f64,
}

static COMPILED_KEYS: LazyLock<Vec<ApiKey>> = LazyLock::new(|| {
    let compiled = API_KEYS.iter().map(|(prefix, body, entropy)| {
        let (body, has_length) = body.strip_suffix('+').map_or((*body, true), |body| (body, false));
        let class = &body[..body.find('{').expect("a count")];
        let behind = if has_length { format!(r"^(?:{class}|\w)") } else { r"^[\w-]*".to_owned() };
        let prefix = compile(&format!("^(?:{prefix})"));
        ApiKey {
            prefix,
            body: compile(&format!("^{body}")),
            behind: compile(&behind),
            has_length,
            entropy: *entropy,
        }
    });
    compiled.collect()
});

fn api_key(text: &Padded, start: usize) -> Option<Found> {
    let rest = text.rest(start);
    let mut found: Vec<Found> = Vec::new();
    for key in COMPILED_KEYS.iter() {
        let Some(begin) = prefix(&key.prefix, rest) else { continue };
        let Some(length) = prefix(&key.body, &rest[begin..]) else { continue };
        let end = begin + length;
        if entropy(&rest[begin..end]) + 1e-4 < key.entropy {
            continue;
        }
        match (key.has_length, prefix(&key.behind, &rest[end..])) {
            (true, None) => found.push(Found { end, open: false }),
            (false, Some(more)) => found.push(Found { end: end + more, open: true }),
            _ => {}
        }
    }
    let openai = regex!(r"^sk-[\w-]{0,172}?T3BlbkFJ[\w-]{20,}");
    found.extend(open(prefix(openai, rest)));
    found.into_iter().max_by_key(|found| (found.open, found.end))
}

fn secret(text: &Padded, start: usize) -> Option<Found> {
    let (left, rest) = (text.left(start), text.rest(start));
    let between = regex!("[ \\t\\n\"'`\\\\:=(\\[>]{1,6}$");
    let gap = between.find(left).map(|found| &left[found.range()])?;
    // The gap is as long as it may be; the name ends in front of it.
    let front = &left[..left.len() - gap.len()];
    let name = regex!("[0-9A-Za-z_-]{0,32}$").find(front).map(|found| &front[found.range()])?;
    let name: String =
        name.iter().filter(|byte| byte.is_ascii_alphanumeric()).map(|byte| char::from(*byte)).collect();
    let assigned = gap.contains(&b':') || gap.contains(&b'=');
    let known = regex!(
        "(?i)(?:passw(?:or)?d|passphrase|passwort|pwd|secret|token|(?:api|access|secret|private|auth|\
         encryption|signing|account)key|credentials?)$"
    );
    let page = regex!("(?i)(?:page|next|continuation|pagination|sync)token$");
    let named = match assigned {
        true => known.is_match(name.as_bytes()) && !page.is_match(name.as_bytes()),
        false => regex!("(?i)bearer$").is_match(name.as_bytes()),
    };
    let run = prefix(regex!(r"^[0-9A-Za-z_+/.~!@#$%^&*?-]{12,}"), rest)?;
    let looked_at = &rest[..run.min(128)];
    let hexadecimal = regex!("^[0-9A-Fa-f]*[A-Fa-f][0-9A-Fa-f]*$").is_match(looked_at);
    let password = ["[A-Za-z]", "[0-9]", "[!@#$^*]"];
    let password = password.iter().all(|class| compiled(class, |regex| regex.is_match(looked_at)));
    let least = if hexadecimal || password { 3.0 } else { 3.5 };
    let reference = regex!(r"^\$[A-Z]\w*_\w*$|^(?:process|import\.meta)\.env\.|^os\.(?:environ\.|getenv)");
    let random = regex!(r"[0-9+/~!@#$%^&*?]").is_match(looked_at) && entropy(looked_at) + 1e-4 >= least;
    (named && random && !reference.is_match(looked_at)).then_some(Found { end: run, open: run >= 128 })
}

//! Values of each kind, as their issuers and standards write them.

use super::random::Random;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ringward::inspect::Kind;

pub const ALPHANUMERIC: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const URL: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
const BASE32: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// A value of `kind`.
pub fn of(kind: &Kind, random: &mut Random) -> String {
    match kind {
        Kind::CreditCard => card(random),
        Kind::Email => email(random),
        Kind::Ssn => ssn(random, "-"),
        Kind::Phone => phone(random),
        Kind::Iban => iban(random),
        Kind::Ipv4 => ipv4(random),
        Kind::Ipv6 => ipv6(random),
        Kind::Jwt => jwt(random),
        Kind::PrivateKey => private_key(random),
        Kind::ApiKey => api_key(random),
        _ => password(random),
    }
}

/// The digit that makes `digits` right (ISO/IEC 7812-1 annex B).
pub fn check_digit(digits: &str) -> u32 {
    let value = |(place, digit): (usize, u8)| match (place % 2, u32::from(digit - b'0')) {
        (0, digit) if digit > 4 => digit * 2 - 9,
        (0, digit) => digit * 2,
        (_, digit) => digit,
    };
    (10 - digits.bytes().rev().enumerate().map(value).sum::<u32>() % 10) % 10
}

fn card(random: &mut Random) -> String {
    let (prefix, length, groups) = [
        ("4", 16, &[4, 4, 4, 4][..]),
        ("4", 16, &[4, 4, 4, 4]),
        ("5#", 16, &[4, 4, 4, 4]),
        ("2[", 16, &[4, 4, 4, 4]),
        ("37", 15, &[4, 6, 5]),
        ("6011", 16, &[4, 4, 4, 4]),
        ("35N", 16, &[4, 4, 4, 4]),
        ("36", 14, &[4, 6, 4]),
        ("62", 16, &[4, 4, 4, 4]),
    ][random.next(9)];
    let prefix = match prefix {
        "5#" => format!("5{}", 1 + random.next(5)),
        "2[" => format!("2{}", 221 + random.next(500)),
        other => random.fill(other),
    };
    let body = format!("{prefix}{}", random.digits(length - 1 - prefix.len()));
    let number = format!("{body}{}", check_digit(&body));
    let separator = random.pick(&["", "", "", " ", " ", "-"]);
    let mut rest = number.as_str();
    let mut parts = Vec::new();
    for group in groups {
        let (part, others) = rest.split_at(*group);
        parts.push(part);
        rest = others;
    }
    parts.join(separator)
}

const FIRST: &[&str] = &[
    "anna", "bob", "carlos", "dmitri", "emma", "fatima", "george", "hiro", "ines", "jürgen", "maria", "wei",
];
const LAST: &[&str] =
    &["smith", "garcia", "müller", "tanaka", "rossi", "o'brien", "kowalski", "nguyen", "silva", "jones"];
const DOMAINS: &[&str] = &[
    "example.com",
    "mail.example.org",
    "gmail.com",
    "acme-corp.co.uk",
    "uni-heidelberg.de",
    "startup.io",
    "example.technology",
    "xn--bcher-kva.example",
    "city.gov",
];

pub fn first_name(random: &mut Random) -> &'static str {
    random.pick(FIRST)
}

fn email(random: &mut Random) -> String {
    let ascii = |name: &str| name.replace('ü', "ue");
    // Apostrophes are rare, but allowed (RFC 5322 section 3.2.3).
    let last = match random.next(20) {
        0 => random.pick(LAST).to_owned(),
        _ => random.pick(LAST).replace('\'', ""),
    };
    let (first, last) = (ascii(random.pick(FIRST)), ascii(&last));
    let domain = random.pick(DOMAINS);
    match random.next(6) {
        0 => format!("{first}@{domain}"),
        1 => format!("{}{last}{}@{domain}", &first[..1], random.next(99)),
        2 => format!("{first}+{}@{domain}", random.pick(&["news", "shop", "2026"])),
        3 => format!("{}_{last}@{domain}", first.to_uppercase()),
        _ => format!("{first}.{last}@{domain}"),
    }
}

pub fn ssn(random: &mut Random, separator: &str) -> String {
    let area = [1 + random.next(665), 667 + random.next(233)][random.next(2)];
    format!("{area:03}{separator}{:02}{separator}{:04}", 1 + random.next(99), 1 + random.next(9999))
}

fn phone(random: &mut Random) -> String {
    let pattern = random.pick(&[
        "(N##) N##-####",
        "N##-N##-####",
        "N##.N##.####",
        "+1 N##-N##-####",
        "+1 (N##) N##-####",
        "+1N##N######",
        "1-N##-N##-####",
        "+44 20 7946 0###",
        "+44 7700 900###",
        "+49 30 901820##",
        "+49 (0)30 901820##",
        "+33 1 N# ## ## ##",
        "+81-3-N###-####",
        "+86 138 #### ####",
        "+91 98### #####",
        "+55 11 9####-####",
    ]);
    random.fill(pattern)
}

/// Countries with the shape of what stands behind the check digits: `#` a digit, `A` a letter.
const ACCOUNTS: &[(&str, &str)] = &[
    ("DE", "##################"),
    ("GB", "AAAA##############"),
    ("FR", "#######################"),
    ("ES", "####################"),
    ("IT", "A######################"),
    ("NL", "AAAA##########"),
    ("CH", "#################"),
    ("AT", "################"),
    ("BE", "############"),
    ("PL", "########################"),
    ("NO", "###########"),
];

/// What remains of an account number's decimal digits modulo 97 (ISO 13616).
fn remainder(rearranged: &str) -> u32 {
    let decimal = rearranged.chars().filter_map(|char| char.to_digit(36)).map(|digit| digit.to_string());
    decimal.collect::<String>().bytes().fold(0, |rest, digit| (rest * 10 + u32::from(digit - b'0')) % 97)
}

pub fn iban(random: &mut Random) -> String {
    let (country, shape) = ACCOUNTS[random.next(ACCOUNTS.len())];
    let mut one = |char| if char == 'A' { random.string("ABCDEFGHKLMNPRSTUV", 1) } else { random.digits(1) };
    let account: String = shape.chars().map(&mut one).collect();
    let check = 98 - remainder(&format!("{account}{country}00"));
    let number = format!("{country}{check:02}{account}");
    match random.next(2) {
        0 => number,
        _ => {
            let chars: Vec<char> = number.chars().collect();
            chars.chunks(4).map(|four| four.iter().collect::<String>()).collect::<Vec<_>>().join(" ")
        }
    }
}

fn ipv4(random: &mut Random) -> String {
    let first = [10, 172, 192, 8, 34, 52, 104, 203][random.next(8)];
    format!("{first}.{}.{}.{}", random.next(256), random.next(256), 1 + random.next(254))
}

fn ipv6(random: &mut Random) -> String {
    match random.next(5) {
        0 => random.fill("2001:db8:~~~:~~~::~~~1").replace(":0", ":1"),
        1 => random.fill("fe80::~~~~:~~~~:~~~~:~~1~"),
        2 => random.fill("2a01:4f8:1~~~:2~~~:3~~~:4~~~:5~~~:6~~~"),
        3 => format!("::ffff:{}", ipv4(random)),
        _ => random.fill("2606:4700:4700::#111"),
    }
}

fn jwt(random: &mut Random) -> String {
    let header = random.pick(&[
        r#"{"alg":"RS256","typ":"JWT"}"#,
        r#"{"typ":"JWT","alg":"HS256"}"#,
        r#"{"alg":"ES256","kid":"2026-01","typ":"at+jwt"}"#,
    ]);
    let payload = format!(r#"{{"sub":"{}","exp":17{}}}"#, random.pick(FIRST), random.digits(8));
    let (header, payload) = (URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    format!("{header}.{payload}.{}", random.string(URL, 86))
}

fn private_key(random: &mut Random) -> String {
    let label = random.pick(&["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "OPENSSH PRIVATE KEY"]);
    let bytes: Vec<u8> = (0..300 + random.next(800)).map(|_| random.next(256) as u8).collect();
    let encoded = STANDARD.encode(bytes);
    let lines: Vec<&str> =
        encoded.as_bytes().chunks(64).filter_map(|line| str::from_utf8(line).ok()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----", lines.join("\n"))
}

fn api_key(random: &mut Random) -> String {
    let body = |random: &mut Random, prefix: &str, alphabet, length| {
        format!("{prefix}{}", random.string(alphabet, length))
    };
    match random.next(13) {
        0 => body(random, "AKIA", BASE32, 16),
        1 => body(random, "ghp_", ALPHANUMERIC, 36),
        2 => body(random, "github_pat_11", ALPHANUMERIC, 20) + "_" + &random.string(ALPHANUMERIC, 59),
        3 => body(random, "sk-ant-api03-", URL, 93) + "AA",
        4 => body(random, "sk-proj-", URL, 74) + "T3BlbkFJ" + &random.string(URL, 74),
        5 => body(random, "sk_live_51", ALPHANUMERIC, 97),
        6 => random.fill("xoxb-############-#############-") + &random.string(ALPHANUMERIC, 24),
        7 => body(random, "AIza", URL, 35),
        8 => body(random, "npm_", ALPHANUMERIC, 36),
        9 => body(random, "SG.", URL, 22) + "." + &random.string(URL, 43),
        10 => body(random, "glpat-", URL, 20),
        11 => body(random, "hf_", &ALPHANUMERIC[10..], 34),
        _ => body(random, "dop_v1_", "0123456789abcdef", 64),
    }
}

/// What a person or a generator of passwords makes: at least a digit or a special character.
pub fn password(random: &mut Random) -> String {
    match random.next(5) {
        0 => random.hex(32),
        1 => random.string(ALPHANUMERIC, 40) + "7",
        2 => {
            let words = ["Correct", "horse", "Battery", "staple", "Violet", "river", "Sunset"];
            format!(
                "{}-{}-{}{}!",
                random.pick(&words),
                random.pick(&words),
                random.pick(&words),
                random.next(999)
            )
        }
        3 => random.string("abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789!@#$%^&*", 16) + "8",
        _ => STANDARD.encode((0..30).map(|_| random.next(256) as u8).collect::<Vec<_>>()),
    }
}

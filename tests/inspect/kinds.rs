//! What each kind finds and what it leaves, in plain examples; each also in every cutting, and as JSON.

use crate::bodies::run;
use crate::generate::{self, chunks, escape};
use ringward::inspect::{Context, Kind};

/// `text` with the parts to be masked in `«»`.
fn check(kind: Kind, text: &str) {
    let rules = [generate::rule("x", kind, "[x]")];
    let whole = text.replace(['«', '»'], "");
    let mut expected = String::new();
    for (index, part) in text.split(['«', '»']).enumerate() {
        expected.push_str(if index % 2 == 1 { "[x]" } else { part });
    }
    for length in [1, 2, 3, 7, 16, 64, whole.len()] {
        let masked = run(&rules, Context::Text, &chunks(whole.as_bytes(), &[length])).expect("masked");
        assert_eq!(String::from_utf8_lossy(&masked.body), expected, "by {length}");
        for percent in [0, 15] {
            let document = format!("[\"{}\"]", escape(&whole, percent, length as u64));
            let masked = run(&rules, Context::Json, &chunks(document.as_bytes(), &[length])).expect("masked");
            let read: [String; 1] = serde_json::from_slice(&masked.body).expect("a document");
            assert_eq!(read[0], expected, "{document} by {length}");
        }
    }
}

#[test]
fn social_security_numbers() {
    check(Kind::Ssn, "His number is «123-45-6789», hers «123 45 6789».");
    check(Kind::Ssn, "SSN: «123456789», my social security number is «123456789»");
    check(Kind::Ssn, "order 123456789, 000-12-3456, 666-12-3456, 900-12-3456, 123-00-4567, 123-45-0000");
    check(Kind::Ssn, "123-45 6789 1123-45-6789 123-45-67890 123-45-6789-0 x123-45-6789 12-123-45-6789");
}

#[test]
fn phone_numbers() {
    check(Kind::Phone, "«(212) 555-0123» is «1-(212)555-0123»");
    check(Kind::Phone, "«212-555-0123», «212.555.0123», «1 212 555 0123», «+49 30 901820», «+12125550123»");
    check(Kind::Phone, "phone: «2125550123», Tel. «030 901820», mobile number is «0171/2345678»");
    check(
        Kind::Phone,
        "2125550123, 030 901820, 112-555-0123, 212-155-0123, 212-555-01234, +0123456789, +1234",
    );
    check(Kind::Phone, "2026-01-05 10:00:00, 1700000000000, 3.141-592-6535");
}

#[test]
fn account_numbers() {
    check(Kind::Iban, "«DE89370400440532013000», «DE89 3704 0044 0532 0130 00», «NO9386011117947».");
    check(Kind::Iban, "«MT84MALT011000012345MTLCAST001S»");
    check(
        Kind::Iban,
        "DE88370400440532013000 XX89370400440532013000 DE8937040044053201300 xDE89370400440532013000",
    );
}

#[test]
fn addresses() {
    check(Kind::Ipv4, "from «10.0.0.1», «255.255.255.255»:80, «192.168.1.10».");
    check(Kind::Ipv4, "256.1.1.1 1.2.3 1.2.3.4.5 01.2.3.4 1.2.3.400 v1.2.3.4");
    check(Kind::Ipv6, "at «2001:db8::1», [«fe80::1»]:443, «::ffff:10.0.0.1» «1:2:3:4:5:6:7:8».");
    check(Kind::Ipv6, "10:00:00 std::vec de::Error 00:1b:44:11:3a:b7 1:2:3:4:5:6:7:8:9 12345::1");
}

#[test]
fn tokens_and_keys() {
    check(
        Kind::Jwt,
        "Bearer «eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcDEF_12-x», eyJ0eXAi.eyJ, eyJhbGciOiJ9",
    );
    let long = format!("«eyJhbGciOiJIUzI1NiJ9.eyJ{}»!", "abcd".repeat(1000));
    check(Kind::Jwt, &long);
    let content = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n".repeat(40);
    let pem = format!("a «-----BEGIN RSA PRIVATE KEY-----\n{content}-----END RSA PRIVATE KEY-----»\nb");
    check(Kind::PrivateKey, &pem);
    check(
        Kind::PrivateKey,
        "-----BEGIN PUBLIC KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END PUBLIC KEY-----",
    );
    check(Kind::PrivateKey, "It starts with -----BEGIN PRIVATE KEY----- (always).");
}

#[test]
fn keys_of_providers() {
    // Put together here, so that no scanner takes this file for a leak.
    let body = "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3fG5hJ7kL9mN1pQ3sT5vW7yZ9bC1dE3fG5hJ7kL9mN1pQ3sT5vW7yZ";
    let hex = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let cases = [
        ("AKIA", "Q3EGRIZ7PSEMXL2K"),
        ("ghp_", &body[..36]),
        ("github_pat_", &body[..82]),
        ("glpat-", &body[..20]),
        ("sk-ant-api03-", &body[..80]),
        ("sk-proj-", &format!("{}T3BlbkFJ{}", &body[..40], &body[..40])),
        ("hf_", &body[..34]),
        ("sk_live_", &body[..24]),
        ("xoxb-", "123456789012-123456789012-abcdefghij"),
        ("AIza", &body[..35]),
        ("npm_", &body[..36]),
        ("pypi-AgEIcHlwaS5vcmc", &body[..60]),
        ("SG.", &body[..66]),
        ("SK", &hex[..32]),
        ("dop_v1_", hex),
    ];
    for (prefix, rest) in cases {
        check(Kind::ApiKey, &format!("key=«{prefix}{rest}», MY_«{prefix}{rest}» x{prefix}{rest}"));
        check(Kind::ApiKey, &format!("{prefix}{} {prefix}", "a".repeat(rest.len())));
    }
}

#[test]
fn secrets_beside_key_words() {
    check(Kind::GenericSecret, "password = '«s3cr3t-Pa55w0rd!x»', \"api_key\":\"«q8Zr3LmX0vTn5Ks2»\"");
    check(
        Kind::GenericSecret,
        "Authorization: Bearer «q8Zr3LmX0vTn5Ks2Yw7», clientSecret=«q8Zr3LmX0vTn5Ks2»",
    );
    check(
        Kind::GenericSecret,
        "id = q8Zr3LmX0vTn5Ks2, next_page_token: q8Zr3LmX0vTn5Ks2, max_tokens: 12345678901234",
    );
    check(
        Kind::GenericSecret,
        "password: correct-horse-battery, secret = aaaaaaaaaaaaaaaa1, password q8Zr3LmX0vTn5Ks2",
    );
}

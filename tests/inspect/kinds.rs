//! What each kind finds and what it leaves, in plain examples; each also in every cutting, and as JSON.

use crate::bodies::run;
use crate::generate::{self, chunks, escape};
use proptest::prelude::*;
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

/// Two paths led to the same value, the first found nothing in an empty string, and the second was not asked.
#[test]
fn a_path_behind_one_that_finds_nothing_is_followed() {
    let first = generate::rule("first", Kind::Path(vec!["$.*".to_owned()]), "[x]");
    let mut second = generate::rule("second", Kind::Path(vec!["$[*]".to_owned()]), "x");
    second.replace = ringward::inspect::Replacement::Null;
    let masked = run(&[first, second], Context::Json, &[b"[\"\",\"a\"]"]).expect("masked");
    assert_eq!(String::from_utf8_lossy(&masked.body), "[null,\"[x]\"]");
}

/// What people and models write for ASCII characters.
#[test]
fn other_spellings_of_digits_and_separators() {
    check(
        Kind::CreditCard,
        "卡号«４１１１　１１１１　１１１１　１１１１»、«4111\u{a0}1111\u{202f}1111\u{2009}1111».",
    );
    check(Kind::CreditCard, "«4111‑1111‑1111‑1111» «٤١١١١١١١١١١١١١١١» «۴۱۱۱۱۱۱۱۱۱۱۱۱۱۱۱»");
    check(Kind::CreditCard, "４１１１１１１１１１１１１１１２ is none, nor is 4111 1111-1111 1111.");
    check(Kind::Ssn, "«１２３－４５－６７８９», «123–45–6789» and «123\u{a0}45\u{a0}6789»");
    check(
        Kind::Phone,
        "«（２１２） ５５５‑０１２３», «+49\u{a0}30\u{202f}901820», «＋１２１２５５５０１２３»",
    );
    check(
        Kind::Iban,
        "«DE89\u{a0}3704\u{a0}0044\u{a0}0532\u{a0}0130\u{a0}00», «ＤＥ８９３７０４００４４０５３２０１３０００»",
    );
    check(Kind::Email, "mail «ａｎｎ＠example．com»。");
    check(
        Kind::Literals(vec!["Team\u{a0}７".to_owned()]),
        "«team 7» and «ＴＥＡＭ\u{3000}7», not team\u{200b}7",
    );
    check(Kind::Regex("EMP–[0-9]{4}".to_owned()), "«EMP-1234», «EMP–１２３４»");
    check(Kind::Email, "Größe “5 €” – naïve, 日本語のテキスト、０１２ «a@b.de» العربية ٣");
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

/// A file for screens of twice the resolution was taken for somebody's address.
#[test]
fn pictures_are_no_addresses() {
    check(Kind::Email, "src=icon-30@2x.png, logo@3x.JPG; but «a@x.com».png and «b@svg.com»");
}

/// The number of a workspace has few different digits; the rest of the token was not looked at.
#[test]
fn keys_that_begin_with_a_dull_number_are_keys() {
    let rest = "7515888286399-1hgYBhkP8f2fp2ZGwwafcDAU";
    check(Kind::ApiKey, &format!("Client(\"«xoxb-122543222102-{rest}»\"), xoxb-xxxxxxxxxxxx-xxxxxx"));
}

/// Sixteen digits carry at most four bits each, and often less than three and a half.
#[test]
fn hexadecimal_secrets_are_random_enough() {
    check(Kind::GenericSecret, "DB_PASSWORD=«95c2ecb0c219359ae3dfc9c636b6eb91», token: 170000000000012");
}

#[test]
fn passwords_of_words_that_repeat_are_secrets() {
    check(Kind::GenericSecret, "password = «horse-river-horse184!», secret: «8v@Xs89C9Q4M9LtL8»\n");
    check(
        Kind::GenericSecret,
        "password = horse-river-horse184, secret: aaaa-aaaa-aaaa1!, token=a/b/a/b/a/b/1\n",
    );
}

#[test]
fn numbers_in_the_groups_of_their_country_need_no_key_word() {
    check(
        Kind::Phone,
        "it is «020 7946 0123», «0161 496 0000», «07700 900123» or «03-1234-5678» (or «090-1234-5678»).",
    );
    check(
        Kind::Phone,
        "20 020 7946 0123, 020 7946 0123 4, 020 1946 0123, 0161-496-0000, 07700-900123, 03 1234 5678",
    );
}

/// Where to find a secret was masked, as if it were one.
#[test]
fn names_of_variables_are_no_secrets() {
    check(
        Kind::GenericSecret,
        "password=$DB_PASSWORD_PRODUCTION_2 api_key = process.env.OPENAI_API_KEY_2; token=«$aB3!kLm9_Qx2z»",
    );
}

#[test]
fn expressions() {
    check(
        Kind::Regex(r"\bEMP-\d{4,6}\b".to_owned()),
        "«EMP-1234», xEMP-1234, EMP-123, «EMP-123456», EMP-1234567.",
    );
    check(Kind::Regex("(?i)falcon.{0,3}!".to_owned()), "«Falcon!», «FALCON ab!», falcon abcd!");
}

fn check_members(rules: &[ringward::inspect::Rule], body: &str, expected: &str) {
    for length in [1, 2, 3, 5, 8, body.len()] {
        let masked = run(rules, Context::Json, &chunks(body.as_bytes(), &[length])).expect("masked");
        assert_eq!(String::from_utf8_lossy(&masked.body), expected, "{body} by {length}");
        assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&masked.body).is_ok());
    }
}

#[test]
fn members_are_masked_whatever_their_value_is() {
    let keys = || Kind::Key(vec!["ssn".to_owned(), "Card".to_owned()]);
    let masks = [generate::rule("x", keys(), "[x]")];
    check_members(&masks, r#"{"ssn":"123","b":"ssn","ssn":""}"#, r#"{"ssn":"[x]","b":"ssn","ssn":""}"#);
    check_members(&masks, r#"{"a":{"SSN" : 123456789 }}"#, r#"{"a":{"SSN" : "[x]" }}"#);
    check_members(&masks, r#"[{"ssn":null},{"card":true}]"#, r#"[{"ssn":"[x]"},{"card":"[x]"}]"#);
    check_members(&masks, r#"{"card":{"n":"4\"}","m":[1,{"ssn":2}]},"z":1}"#, r#"{"card":"[x]","z":1}"#);
    check_members(&masks, r#"{"s\u0073n":"a\"b\u0041"}"#, r#"{"s\u0073n":"[x]"}"#);
    let large = format!(r#"{{"ssn":["{}"],"b":1}}"#, "a, ]} ".repeat(2000));
    check_members(&masks, &large, r#"{"ssn":"[x]","b":1}"#);
    let paths = Kind::Path(vec!["$.a[*].b".to_owned(), "$[0]['c d']".to_owned(), "$.x.*".to_owned()]);
    let masks = [generate::rule("x", paths, "[x]")];
    check_members(
        &masks,
        r#"{"a":[{"b":1,"c":2},{"c":{"b":3},"b":{"z":"]"}},[4]],"b":5,"x":{"y":"\"6","z":[]}}"#,
        r#"{"a":[{"b":"[x]","c":2},{"c":{"b":3},"b":"[x]"},[4]],"b":5,"x":{"y":"[x]","z":"[x]"}}"#,
    );
    check_members(&masks, r#"[ {"c d" : "7"}, {"c d":8}]"#, r#"[ {"c d" : "[x]"}, {"c d":8}]"#);
    let mut drops = generate::rule("x", keys(), "");
    drops.replace = ringward::inspect::Replacement::Null;
    check_members(
        &[drops],
        r#"{"ssn":"1","card":[1,2],"b":{"ssn":3}}"#,
        r#"{"ssn":null,"card":null,"b":{"ssn":null}}"#,
    );
}

/// The value with what `steps` lead to masked, but for empty strings.
fn mask_path(value: &mut serde_json::Value, steps: &[&str]) {
    use serde_json::Value;
    let Some((step, rest)) = steps.split_first() else {
        if value != "" {
            *value = Value::from("[x]");
        }
        return;
    };
    let fits = |key: &str| *step == "*" || *step == key;
    match value {
        Value::Array(items) => {
            let items = items.iter_mut().enumerate().filter(|(index, _)| fits(&format!("#{index}")));
            items.for_each(|(_, item)| mask_path(item, rest));
        }
        Value::Object(members) => {
            members.iter_mut().filter(|(key, _)| fits(key)).for_each(|(_, member)| mask_path(member, rest));
        }
        _ => {}
    }
}

const STEPS: &[&str] = &["ssn", "a", "name", "*", "#0", "#1", "é"];

proptest! {
    #![proptest_config(generate::config())]

    #[test]
    fn paths_mask_what_they_lead_to(
        document in generate::document(), cuts in generate::cuts(), text in any::<bool>(),
        steps in prop::collection::vec(prop::sample::select(STEPS), 1..4),
    ) {
        let Ok(mut expected) = serde_json::from_str::<serde_json::Value>(&document) else { return Ok(()) };
        let path: String = steps.iter().map(|step| match (*step, step.strip_prefix('#')) {
            (_, Some(index)) => format!("[{index}]"),
            ("*", _) => "[*]".to_owned(),
            (name, _) => format!("['{name}']"),
        }).collect();
        mask_path(&mut expected, &steps);
        let rules = [generate::rule("x", Kind::Path(vec![format!("${path}")]), "[x]")];
        let context = if text { Context::Text } else { Context::Json };
        let masked = run(&rules, context, &chunks(document.as_bytes(), &cuts)).expect("masked");
        // What does not begin as a document does is not read as one in text.
        if !text || document.trim_start().starts_with("{\"") {
            let masked: serde_json::Value = serde_json::from_slice(&masked.body).expect("a document");
            prop_assert_eq!(masked, expected, "{} in {}", path, document);
        }
    }
}

/// An address may begin where the value does: it must not be waited for in the place of the value, because
/// then the key was forgotten.
#[test]
fn a_value_that_may_be_something_else_is_still_the_value_of_its_key() {
    let rules = [
        generate::rule("mail", Kind::Email, "[mail]"),
        generate::rule("word", Kind::Literals(vec![": 4".to_owned()]), "[word]"),
        generate::rule("x", Kind::Key(vec!["ssn".to_owned()]), "[x]"),
    ];
    let body = r#"[{"\u0073sn":"\u0034000002"},{"ssn": 40}]"#;
    check_members(&rules, body, r#"[{"\u0073sn":"[x]"},{"ssn": "[x]"}]"#);
}

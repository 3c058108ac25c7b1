//! SECURITY R13: the policy is evaluated on exactly what is forwarded. Whatever a caller writes, the verdict
//! on its target is that on the canonical form, and that on what the origin makes of the bytes it receives.

use super::*;
use crate::{
    http::h1::{encode_request, parse_request},
    policy::{FieldOp, FieldTest},
};
use proptest::prelude::*;

/// What a request came to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// It is no request at all.
    Malformed,
    /// The reply's status: no route, or a policy.
    Refused(u16),
    /// The target on the wire.
    Sent(String),
}

/// Everything below `/api` is allowed but for what an operator would want to be closed.
fn rules() -> Vec<Rule> {
    let paths = ["/api/admin/**", "/api/v1/files", "/api/a%20b/*"].map(str::to_owned).to_vec();
    let block = |name: &str, when| rule(name, when, Action::Block { reason: "No.".into(), next: None });
    let test = FieldTest { name: "admin".to_owned(), op: FieldOp::Equals("1".to_owned()) };
    vec![
        block("paths", When { paths, ..When::default() }),
        block("query", When { query: vec![test], ..When::default() }),
        rule("default", When::default(), Action::Allow),
    ]
}

/// Parser, route, policy and encoder, as a shard calls them one after the other.
fn verdict(target: &[u8]) -> Verdict {
    let bytes = [b"GET ", target, b" HTTP/1.1\r\nHost: gw.test\r\n\r\n"].concat();
    let Ok(head) = parse_request(Chunk::from(bytes)) else { return Verdict::Malformed };
    let mut driven = World { rules: rules(), record: Recording::Off, ..World::default() }.exchange();
    let arrival = Arrival { head: Box::new(head), data: crate::buffer::Segments::new(), end: true };
    let steps = driven.on(Event::Request(arrival));
    match steps.last() {
        Some(Step::Forward(forward)) => {
            let mut wire = Vec::new();
            encode_request(&forward.head, &[], &mut wire);
            let line = wire.split(|byte| *byte == b'\r').next().unwrap_or_default();
            let line = String::from_utf8(line.to_vec()).expect("a request line is ASCII");
            Verdict::Sent(line.split(' ').nth(1).expect("a target").to_owned())
        }
        Some(Step::Reply(reply)) => Verdict::Refused(reply.status),
        other => panic!("neither forwarded nor refused: {other:?}"),
    }
}

/// What an origin may make of a path: everything decoded (as often as it likes), `\` taken for `/`,
/// parameters cut off, dot segments resolved, empty segments dropped. Shares no code with the gateway.
fn resolved(path: &str, rounds: usize) -> Vec<Vec<u8>> {
    let mut bytes = path.as_bytes().to_vec();
    for _ in 0..rounds {
        let mut decoded = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let digits = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
            let is_hex = |digits: &&str| digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            match digits.filter(is_hex).filter(|_| bytes[at] == b'%') {
                Some(digits) => {
                    decoded.push(u8::from_str_radix(digits, 16).expect("two digits"));
                    at += 3;
                }
                None => {
                    decoded.push(bytes[at]);
                    at += 1;
                }
            }
        }
        bytes = decoded;
    }
    let mut segments: Vec<Vec<u8>> = Vec::new();
    for segment in bytes.split(|byte| matches!(byte, b'/' | b'\\')) {
        let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
        match name {
            b"" | b"." => {}
            b".." => drop(segments.pop()),
            name => segments.push(name.to_ascii_lowercase()),
        }
    }
    segments
}

/// Whether an origin below `/base` would serve what the rules close.
fn is_closed(segments: &[Vec<u8>]) -> bool {
    let names: Vec<&[u8]> = segments.iter().map(Vec::as_slice).collect();
    match *names.as_slice() {
        [b"base", b"admin", ..] | [b"base", b"v1", b"files"] => true,
        [b"base", b"a b", _] => true,
        // Outside of its prefix.
        [b"base", ..] => false,
        _ => true,
    }
}

/// Targets made of what matters: names that rules close, in every disguise.
fn target() -> impl Strategy<Value = Vec<u8>> {
    let disguised = |name: &'static str| {
        prop::collection::vec(0..5u8, name.len()).prop_map(move |how| {
            let letter = |(byte, how): (u8, &u8)| match how {
                0 => format!("%{byte:02x}"),
                1 => format!("%{byte:02X}"),
                2 => format!("%25{byte:02x}"),
                _ => (byte as char).to_string(),
            };
            name.bytes().zip(&how).map(letter).collect::<String>().into_bytes()
        })
    };
    let name = prop::sample::select(vec!["admin", "Admin", "v1", "files", "base", "api"]);
    let other = prop::sample::select(vec![
        "..",
        ".",
        "%2e%2e",
        "%2E.",
        ".%2e",
        "%252e%252e",
        "..;",
        "..;x",
        "x",
        "",
        "a%20b",
        "a+b",
        "%2f",
        "%5c",
        "\\",
        "%c0%ae",
        "admin;x=1",
        "admin%3bx",
        "%00",
        "files/",
        "*",
        "\u{e9}",
    ]);
    let segment = prop_oneof![
        2 => name.clone().prop_map(|name| name.as_bytes().to_vec()),
        2 => name.prop_flat_map(disguised),
        3 => other.prop_map(|other| other.as_bytes().to_vec()),
    ];
    let separator = prop::sample::select(vec!["/", "/", "/", "//", "/./", "%2f", "\\", "/../"]);
    let path = prop::collection::vec((separator, segment), 0..6);
    let query = prop::sample::select(vec![
        "",
        "",
        "?",
        "?admin=1",
        "?admin=0&admin=1",
        "?a%64min=%31",
        "?x=1&ADMIN=1",
        "?admin=0",
        "?%61dmin=0",
    ]);
    let prefix =
        prop::sample::select(vec!["/api", "/api", "/api", "/%61pi", "//api", "http://gw.test/api", ""]);
    (prefix, path, query).prop_map(|(prefix, path, query)| {
        let mut target = prefix.as_bytes().to_vec();
        for (separator, segment) in path {
            target.extend(separator.as_bytes());
            target.extend(segment);
        }
        target.extend(query.as_bytes());
        target
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn the_verdict_is_that_on_what_the_origin_sees(raw in target()) {
        let first = verdict(&raw);
        let shown = String::from_utf8_lossy(&raw).into_owned();
        let head = [&b"GET "[..], &raw, b" HTTP/1.1\r\nHost: gw.test\r\n\r\n"].concat();
        if let Ok(head) = parse_request(Chunk::from(head)) {
            let canonical = head.target();
            prop_assert_eq!(&first, &verdict(canonical.as_bytes()), "{} is {}", shown, canonical);
        }
        if let Verdict::Sent(target) = first {
            let (path, query) = target.split_once('?').unwrap_or((&target, ""));
            // The origin reads it as the caller would have had to write it without disguise.
            let below = path.strip_prefix("/base").expect("the upstream's prefix");
            let query = if query.is_empty() { String::new() } else { format!("?{query}") };
            let again = verdict(format!("/api{below}{query}").as_bytes());
            prop_assert_eq!(again, Verdict::Sent(target.trim_end_matches('?').to_owned()));
            for rounds in 0..4 {
                prop_assert!(!is_closed(&resolved(path, rounds)), "{} was sent as {}", shown, target);
            }
            let query = query.trim_start_matches('?').to_ascii_lowercase();
            prop_assert!(!query.split('&').any(|pair| pair == "admin=1"), "{}", target);
        }
    }
}

#[test]
fn the_rules_of_the_property_close_what_they_name() {
    for target in ["/api/admin", "/api/admin/x", "/api/v1/files", "/api/a%20b/c", "/api/x?admin=1"] {
        assert_eq!(verdict(target.as_bytes()), Verdict::Refused(403), "{target}");
    }
    assert_eq!(verdict(b"/api/%2e%2e/admin"), Verdict::Refused(404));
    assert_eq!(verdict(b"/api/%252e%252e/admin"), Verdict::Malformed);
    assert_eq!(verdict(b"/api//v1/./x?y"), Verdict::Sent("/base/v1/x?y".to_owned()));
}

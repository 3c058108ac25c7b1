//! What upstreams send is read as strictly as what callers send (SECURITY R2 to R6, R9): a response that two
//! recipients could read differently is a 502, or a cut where its head was sent already, and its connection
//! is never used again. What the caller gets instead is judged by the oracle of `tests/oracle`.

use super::{
    harness::{Gateway, Setup, Upstream},
    oracle::{self, Rest},
    wire::{End, Whole, Wire},
};
use ringward::audit::Cause;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Sends one request on a connection of its own, which ends with its answer.
fn ask(gateway: &Gateway, method: &str) -> Wire {
    gateway.ask(format!("{method} / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"))
}

/// What the caller was sent, which is canonical, and how its connection ended.
#[track_caller]
fn answered(client: &mut Wire, method: &str, sent: &str) -> (oracle::Messages<oracle::Response>, End) {
    let (bytes, end) = client.rest();
    let messages = oracle::responses(&bytes, &[method], end == End::Clean);
    (messages.unwrap_or_else(|fault| panic!("{fault} in the answer to {sent:?}")), end)
}

/// Has `gateway` refuse each answer for its reason.
#[track_caller]
fn are_refused(cases: &[(impl AsRef<[u8]>, &str)]) {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    for (answer, reason) in cases {
        let answer = answer.as_ref();
        let shown = String::from_utf8_lossy(&answer[..answer.len().min(300)]).into_owned();
        let mut client = ask(&gateway, "GET");
        let mut served = upstream.accept();
        served.request();
        let _ = served.try_send(answer);
        let (messages, end) = answered(&mut client, "GET", &shown);
        let [refusal] = &*messages.whole else { panic!("{messages:?} for {shown:?}") };
        let json: serde_json::Value = serde_json::from_slice(&refusal.body).unwrap();
        let detail = json["detail"].as_str().unwrap_or_default();
        assert_eq!((refusal.status, end, &messages.rest), (502, End::Clean, &Rest::Nothing), "{shown:?}");
        assert_eq!(json["code"], "upstream_invalid", "{shown:?}");
        assert!(detail.ends_with(&format!(": {reason}.")), "{detail} for {shown:?}");
        assert_eq!(served.rest().1, End::Cut, "{shown:?}");
    }
    let log = gateway.stop(cases.len() as u64, 0);
    assert!(log.outcomes().all(|outcome| outcome.cause == Cause::UpstreamFault));
}

/// An answer with these fields and a body of five bytes.
fn with(fields: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\nhello")
}

// SECURITY R2.
#[test]
fn an_answer_with_more_or_less_than_one_length_is_refused() {
    let lengths = ["5, 5", "5 5", "+5", "-5", "0x5", "5;", "", "5.0", "18446744073709551621", "\u{ff15}"];
    let codings = [
        "gzip",
        "identity",
        "chunked, chunked",
        "chunked, identity",
        "chunked;q=1",
        "\"chunked\"",
        "xchunked",
        "chunked,",
        "",
    ];
    let mut cases: Vec<(String, &str)> = Vec::new();
    for length in lengths {
        cases.push((with(&format!("content-length: {length}")), "content_length_invalid"));
    }
    for coding in codings {
        cases.push((with(&format!("transfer-encoding: {coding}")), "transfer_encoding_invalid"));
    }
    for (fields, reason) in [
        ("content-length: 5\r\ncontent-length: 5", "content_length_repeated"),
        ("content-length: 5\r\nContent-Length: 6", "content_length_repeated"),
        ("content-length: 5\r\ntransfer-encoding: chunked", "length_conflict"),
        ("transfer-encoding: chunked\r\ncontent-length: 5", "length_conflict"),
        ("transfer-encoding: chunked\r\ntransfer-encoding: chunked", "transfer_encoding_invalid"),
        ("transfer-encoding: gzip, chunked", "transfer_encoding_unknown"),
        ("transfer-encoding:\u{b}chunked", "control_character"),
        ("transfer-encoding : chunked", "field_name_invalid"),
        ("connection: content-length\r\ncontent-length: 5", "connection_nominates"),
        ("connection: close, transfer-encoding\r\ntransfer-encoding: chunked", "connection_nominates"),
    ] {
        cases.push((with(fields), reason));
    }
    let old = "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".to_owned();
    cases.push((old, "transfer_encoding_version"));
    are_refused(&cases);
}

// SECURITY R3.
#[test]
fn an_answer_with_a_malformed_head_is_refused() {
    let starts = [
        ("http/1.1 200 OK", "start_line_invalid"),
        (" HTTP/1.1 200 OK", "start_line_invalid"),
        ("\r\nHTTP/1.1 200 OK", "start_line_invalid"),
        ("<html>hello", "start_line_invalid"),
        ("HTTP/1.1", "start_line_invalid"),
        ("HTTP/1.1\t200 OK", "start_line_invalid"),
        ("Http/1.1 200 OK", "version_unsupported"),
        ("HTTP/0.9 200 OK", "version_unsupported"),
        ("HTTP/1.2 200 OK", "version_unsupported"),
        ("HTTP/2.0 200 OK", "version_unsupported"),
        ("HTTP/2 200 OK.", "version_unsupported"),
        ("HTTP/01.1 200 OK", "version_unsupported"),
        ("HTTPS/1.1 200 OK", "version_unsupported"),
        ("HTTP/1.1.1 200 OK", "start_line_invalid"),
        ("HTTP/1.1  200 OK", "status_invalid"),
        ("HTTP/1.1 200OK", "status_invalid"),
        ("HTTP/1.1 200\tOK", "status_invalid"),
        ("HTTP/1.1 20", "status_invalid"),
        ("HTTP/1.1 2000 OK", "status_invalid"),
        ("HTTP/1.1 099 OK", "status_invalid"),
        ("HTTP/1.1 +20 OK", "status_invalid"),
        ("HTTP/1.1 2 0 OK", "status_invalid"),
        ("HTTP/1.1 200 O\u{1}K", "control_character"),
        ("HTTP/1.1 200 O\0K", "control_character"),
        ("HTTP/1.1 200 O\rK", "bare_cr"),
        ("HTTP/1.1 200 OK\ncontent-length: 0", "bare_lf"),
    ];
    let fields = [
        ("a: b\n", "bare_lf"),
        ("a: b\nc: d", "bare_lf"),
        ("a: b\rc: d", "bare_cr"),
        ("a: b\r\r", "bare_cr"),
        ("a: b\r\n c", "field_folded"),
        ("a: b\r\n\tc", "field_folded"),
        (" a: b", "field_folded"),
        ("a : b", "field_name_invalid"),
        ("a\t: b", "field_name_invalid"),
        (": b", "field_name_invalid"),
        ("a", "field_name_invalid"),
        ("a b: c", "field_name_invalid"),
        ("a(b): c", "field_name_invalid"),
        ("\u{e9}: c", "field_name_invalid"),
        ("a: b\0c", "control_character"),
        ("a: b\u{1}", "control_character"),
        ("a: \u{1b}[31m", "control_character"),
        ("a: b\u{7f}c", "control_character"),
        ("connection: a b", "connection_invalid"),
    ];
    let line = |(start, reason)| (format!("{start}\r\ncontent-length: 0\r\n\r\n"), reason);
    let mut cases: Vec<(String, &str)> = starts.into_iter().map(line).collect();
    cases.extend(fields.map(|(field, reason)| (with(&format!("content-length: 5\r\n{field}")), reason)));
    cases.push((with(&"a: b\r\n".repeat(101)), "fields_too_many"));
    cases.push((with(&format!("a: {}", "b".repeat(41_000))), "head_too_long"));
    cases.push((format!("HTTP/1.1 200 {}\r\n\r\n", "b".repeat(9_000)), "start_line_too_long"));
    are_refused(&cases);
}

/// 1xx, 204: no body, and no protocol but this one (SECURITY R7).
#[test]
fn an_answer_that_must_not_have_a_body_and_announces_one_is_refused() {
    let flood = |status| format!("HTTP/1.1 {status} X\r\n\r\n").repeat(9);
    are_refused(&[
        ("HTTP/1.1 204 X\r\ncontent-length: 5\r\n\r\nhello".to_owned(), "body_forbidden"),
        ("HTTP/1.1 204 X\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(), "body_forbidden"),
        (format!("HTTP/1.1 103 X\r\ncontent-length: 5\r\n\r\nhello{OK}"), "body_forbidden"),
        (format!("HTTP/1.1 100 X\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{OK}"), "body_forbidden"),
        (format!("HTTP/1.1 103 X\r\na: b\r\n c\r\n\r\n{OK}"), "field_folded"),
        ("HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n".to_owned(), "upgrade_unasked"),
        (format!("HTTP/1.1 101 X\r\n\r\n{OK}"), "upgrade_unasked"),
        (flood(100) + OK, "informational_flood"),
    ]);
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

/// Chunked bodies that are malformed, and why.
const MALFORMED_CHUNKS: [(&str, &str); 24] = [
    ("0x5\r\nhello\r\n0\r\n\r\n", "chunk_size_invalid"),
    ("+5\r\nhello\r\n0\r\n\r\n", "chunk_size_invalid"),
    ("-5\r\nhello\r\n0\r\n\r\n", "chunk_size_invalid"),
    (" 5\r\nhello\r\n0\r\n\r\n", "chunk_size_invalid"),
    ("5 \r\nhello\r\n0\r\n\r\n", "chunk_size_invalid"),
    ("0_5\r\nhello\r\n0\r\n\r\n", "chunk_size_invalid"),
    ("\r\nhello\r\n0\r\n\r\n", "chunk_size_invalid"),
    ("00000000000000005\r\nhello\r\n0\r\n\r\n", "chunk_size_invalid"),
    ("10000000000000005\r\nhello\r\n0\r\n\r\n", "chunk_size_invalid"),
    ("5\nhello\r\n0\r\n\r\n", "bare_lf"),
    ("5\rhello\r\n0\r\n\r\n", "bare_cr"),
    ("5;\r\nhello\r\n0\r\n\r\n", "chunk_extension_invalid"),
    ("5; a\r\nhello\r\n0\r\n\r\n", "chunk_extension_invalid"),
    ("5;a\nhello\r\n0\r\n\r\n", "bare_lf"),
    ("5\r\nhello!\r\n0\r\n\r\n", "chunk_end_invalid"),
    ("5\r\nhello\n0\r\n\r\n", "chunk_end_invalid"),
    ("0\r\ncontent-length: 5\r\n\r\n", "trailer_forbidden"),
    ("0\r\nTransfer-Encoding: chunked\r\n\r\n", "trailer_forbidden"),
    ("0\r\na: b\r\nhost: c\r\n\r\n", "trailer_forbidden"),
    ("0\r\nauthorization: c\r\n\r\n", "trailer_forbidden"),
    ("0\r\na : b\r\n\r\n", "trailer_invalid"),
    ("0\r\na: b\r\n c\r\n\r\n", "trailer_invalid"),
    ("0\r\na: b\n\r\n", "bare_lf"),
    ("0\r\n\n", "bare_lf"),
];

// SECURITY R4 and R5.
#[test]
fn an_answer_with_malformed_chunks_is_refused() {
    are_refused(&MALFORMED_CHUNKS.map(|(chunks, reason)| (format!("{CHUNKED}{chunks}"), reason)));
}

/// The same when the head and some of the body went to the caller before: nothing else is left than a cut.
#[test]
fn an_answer_that_turns_out_to_be_malformed_is_cut() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    for (chunks, _) in MALFORMED_CHUNKS {
        let mut client = ask(&gateway, "GET");
        let mut served = upstream.accept();
        served.request();
        served.send(format!("{CHUNKED}4\r\nhalf\r\n"));
        let head = client.head();
        let _ = served.try_send(chunks);
        let response = client.body(head, true);
        assert_eq!(response.whole, Whole::No(End::Cut), "{chunks:?}");
        assert!(response.text().starts_with("half"), "{chunks:?} {response:?}");
        assert_eq!(served.rest().1, End::Cut, "{chunks:?}");
    }
    let log = gateway.stop(MALFORMED_CHUNKS.len() as u64, 0);
    assert!(log.outcomes().all(|outcome| outcome.cause == Cause::UpstreamFault));
}

#[test]
fn an_answer_that_ends_too_early_is_cut() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    let parts = ["", "5", "5\r\nhel", "5\r\nhello", "5\r\nhello\r\n", "5\r\nhello\r\n0\r\n", "0\r\na: b\r\n"];
    let chunked = parts.map(|part| format!("{CHUNKED}{part}"));
    let counted =
        ["", "hel", "hell"].map(|part| format!("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n{part}"));
    let answers: Vec<String> = chunked.into_iter().chain(counted).collect();
    for answer in &answers {
        let mut client = ask(&gateway, "GET");
        let mut served = upstream.accept();
        served.request();
        served.send(answer);
        let head = client.head();
        served.finish();
        assert_eq!(client.body(head, true).whole, Whole::No(End::Cut), "{answer:?}");
        assert_eq!(served.rest().1, End::Cut, "{answer:?}");
    }
    let log = gateway.stop(answers.len() as u64, 0);
    assert!(log.outcomes().all(|outcome| outcome.cause == Cause::UpstreamGone));
}

/// Whether an upstream connection carries another request.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    Reused,
    Closed,
}
use Then::{Closed, Reused};

/// Answers to GET: status and fields, what follows them, the body as the caller gets it, and the connection.
const READ: [(&str, &str, &str, Then); 16] = [
    ("200\r\ncontent-length: 5", "hello", "hello", Reused),
    ("200 \r\ncontent-length: 5", "hello", "hello", Reused),
    ("299 \u{e9}!\r\ncontent-length: 005\r\nA:\u{e9}", "hello", "hello", Reused),
    ("200 X\r\nTRANSFER-ENCODING: CHUNKED", "05;a=\"b\"\r\nhello\r\n0;c\r\nSum: 1\r\n\r\n", "hello", Reused),
    ("100 X\r\n\r\nHTTP/1.1 200 X\r\ncontent-length: 0", "", "", Reused),
    ("204 X\r\ncontent-length: 0", "", "", Reused),
    ("304 X\r\ncontent-length: 5", "", "", Reused),
    (
        "200 X\r\nTransfer_Encoding: chunked\r\ncontent.length: 9\r\ncontent-length: 5",
        "hello",
        "hello",
        Reused,
    ),
    ("200 X\r\nconnection: x-a\r\nx-a: 1\r\nupgrade: h2c\r\ncontent-length: 5", "hello", "hello", Reused),
    ("200 X\r\nkeep-alive: a\r\ntrailer: b\r\nalt-svc: h3=\":1\"\r\ncontent-length: 0", "", "", Reused),
    ("200 X\r\ncontent-length: 5", "helloHTTP/1.1 200 X\r\n\r\n", "hello", Closed),
    ("200 X\r\ntransfer-encoding: chunked", "5\r\nhello\r\n0\r\n\r\nx", "hello", Closed),
    ("204 X", "hello", "", Closed),
    ("304 X\r\ncontent-length: 5", "hello", "", Closed),
    ("200 X\r\nConnection: Close\r\ncontent-length: 5", "hello", "hello", Closed),
    ("200 X\r\nserver: old\r\nconnection: x, close\r\ncontent-length: 5", "hello", "hello", Closed),
];

/// The same for HEAD.
const READ_WITHOUT_BODY: [(&str, &str, &str, Then); 4] = [
    ("200 X\r\ntransfer-encoding: chunked", "", "", Reused),
    ("200 X\r\ncontent-length: 5", "", "", Reused),
    ("200 X\r\ncontent-length: 5", "hello", "", Closed),
    ("200 X\r\ntransfer-encoding: chunked", "0\r\n\r\n", "", Closed),
];

/// What is read, and what becomes of the connection (SECURITY R5, R6 and R9).
#[test]
fn what_an_answer_is_made_of_arrives_canonically() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    let cases = READ.map(|case| ("GET", case)).into_iter();
    let mut count = 0;
    for (method, (head, rest, body, then)) in cases.chain(READ_WITHOUT_BODY.map(|case| ("HEAD", case))) {
        let mut client = ask(&gateway, method);
        let mut served = upstream.accept();
        served.request();
        served.send(format!("HTTP/1.1 {head}\r\n\r\n{rest}"));
        let (messages, end) = answered(&mut client, method, head);
        let [response] = &*messages.whole else { panic!("{messages:?} for {head:?}") };
        assert_eq!(String::from_utf8_lossy(&response.body), body, "{head:?}");
        assert_eq!((end, messages.rest), (End::Clean, Rest::Nothing), "{head:?}");
        for gone in ["x-a", "sum", "transfer_encoding", "content.length"] {
            assert!(response.fields.all(gone).is_empty(), "{gone} came through in {head:?}");
        }
        count += 1;
        if then == Reused {
            let mut next = ask(&gateway, "GET");
            served.request();
            served.send("HTTP/1.1 204 X\r\nconnection: close\r\n\r\n");
            assert_eq!(next.response().status(), 204, "{head:?}");
            count += 1;
        }
        assert_eq!(served.rest().0, b"", "nothing more comes on it");
    }
    gateway.stop(count, 0);
}

/// An answer before the request is whole: it is passed on, or refused, but neither connection goes on.
#[test]
fn an_early_answer_ends_both_connections() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    let post = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nbegin";
    for (answer, status) in [
        (OK.to_owned(), 200),
        ("HTTP/1.1 204 X\r\n\r\n".to_owned(), 204),
        (format!("{CHUNKED}2\r\nok\r\n0\r\n\r\n"), 200),
        (with("content-length: 5\r\ncontent-length: 5"), 502),
        (format!("{CHUNKED}0x2\r\nok\r\n0\r\n\r\n"), 502),
    ] {
        let mut client = gateway.ask(post);
        let mut served = upstream.accept();
        served.head();
        assert_eq!(served.exactly(5), b"begin");
        served.send(&answer);
        let response = client.response();
        assert_eq!((response.status(), response.whole), (status, Whole::Yes), "{answer:?}");
        assert_eq!(served.rest().1, End::Cut, "{answer:?}");
        // The rest of the body is not taken for a request.
        let _ = client.try_send("GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(client.end(), End::Clean, "{answer:?}");
    }
    upstream.is_left_alone();
    gateway.stop(5, 0);
}

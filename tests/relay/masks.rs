//! Masks and records of whole exchanges.

use super::{
    harness::{Setup, Upstream},
    wire::End,
};
use ringward::audit::{Cause, Direction, IntentBody, Record};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const MASK: &str = "[[mask]]\nname = \"words\"\nkind = \"literals\"\nwords = [\"falcon\"]\nreplace = \"x\"";

/// As many words as no single record can name: the body is recorded all the same before it goes upstream.
#[test]
fn a_body_with_more_edits_than_a_record_holds_is_recorded_whole() {
    const WORDS: usize = 40_000;
    let upstream = Upstream::bind();
    let read =
        "[[policy]]\nname = \"read\"\nwhen = { body = { contains_any = [\"DROP\"] } }\naction = \"block\"";
    let setup = Setup::to(upstream.address).route("policies = [\"read\", \"default\"]\nmasks = [\"words\"]");
    let gateway = setup.tables(read).tables(MASK).start();
    let body = "falcon ".repeat(WORDS);
    let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", body.len());
    let mut client = gateway.ask(head + &body);
    let mut served = upstream.accept();
    assert!(served.request().text() == "x ".repeat(WORDS));
    served.send(OK);
    assert_eq!(client.response().text(), "ok");
    drop(client);
    let log = gateway.stop(1, 0);
    let sent = log.records.iter().filter_map(|record| match record {
        Record::Content(content) if content.direction == Direction::Request => Some(content),
        _ => None,
    });
    let (bytes, edits) = sent.fold((0, 0), |(bytes, edits), content| {
        (bytes + content.bytes.len_bytes(), edits + content.edits.len())
    });
    assert_eq!((bytes, edits), (2 * WORDS, WORDS));
    let is_committed = |record: &Record| match record {
        Record::Intent(intent) => matches!(intent.body, IntentBody::Committed(_)),
        _ => false,
    };
    assert!(log.records.iter().any(is_committed));
}

/// Its bytes were all there, but the connection was cut: the next request must not find it in the pool.
#[test]
fn a_connection_that_was_cut_with_its_answer_is_not_used_again() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).route("masks = [\"words\"]").tables(MASK).start();
    let post = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi";
    for _ in 0..4 {
        let mut client = gateway.ask(post);
        let mut served = upstream.accept();
        served.request();
        served.send("HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: 3\r\n\r\npng");
        client.response().is_refusal(502, "response_unmaskable", "image/png");
        client.send(post);
        assert_eq!(served.end(), End::Cut);
        let mut fresh = upstream.accept();
        fresh.request();
        fresh.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok");
        assert_eq!(client.response().text(), "ok");
    }
    let log = gateway.stop(8, 0);
    let ends: Vec<_> = log.ends().into_iter().map(|(cause, _)| cause).collect();
    assert_eq!(ends, [Cause::Unmaskable, Cause::Complete].repeat(4));
}

#[test]
fn an_answer_without_its_body_says_nothing_of_the_unmasked_one() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).route("masks = [\"words\"]").tables(MASK).start();
    const STALE: [&str; 6] =
        ["etag", "digest", "content-digest", "content-length", "content-encoding", "accept-ranges"];
    for (method, status) in [("HEAD", "200 OK"), ("GET", "304 Not Modified")] {
        for coding in ["", "content-encoding: gzip\r\n"] {
            let mut client = gateway.ask(format!("{method} / HTTP/1.1\r\nhost: a\r\n\r\n"));
            let mut served = upstream.accept();
            assert_eq!(served.request().head.get("accept-encoding"), Some("identity"));
            served.send(format!(
                "HTTP/1.1 {status}\r\nconnection: close\r\netag: \"1\"\r\ndigest: sha-256=x\r\n\
                 content-digest: x\r\naccept-ranges: bytes\r\n{coding}content-length: 700\r\n\
                 x-kept: a\r\n\r\n"
            ));
            let head = client.head();
            assert_eq!(STALE.map(|name| head.get(name)), [None; 6], "{method} {coding}");
            assert_eq!(head.get("x-kept"), Some("a"));
        }
    }
    gateway.stop(4, 0);
}

/// SECURITY R40: what a caller shows to be let in is in no record, though it was not let in.
#[test]
fn a_refused_request_leaves_its_credentials_in_no_record() {
    let upstream = Upstream::bind();
    let block = "[[policy]]\nname = \"no\"\nwhen = { path = \"/no\" }\naction = \"block\"\nreason = \"No.\"";
    let gateway = Setup::to(upstream.address).route("policies = [\"no\", \"default\"]").tables(block).start();
    let mut client = gateway.ask(concat!(
        "POST /no HTTP/1.1\r\nhost: a\r\nauthorization: Bearer canary-token\r\nx-api-key: canary-key\r\n",
        "X_Api_Key: canary-lookalike\r\ncookie: session=canary-cookie\r\nx-vault-token: canary-vault\r\n",
        "x-kept: kept-as-it-is\r\ncontent-length: 2\r\n\r\nhi"
    ));
    client.response().is_refusal(403, "policy_denied", "No.");
    drop(client);
    let log = gateway.stop(0, 1);
    let bytes = String::from_utf8_lossy(&log.bytes()).into_owned();
    assert!(bytes.contains("kept-as-it-is") && !bytes.contains("canary"), "{bytes}");
}

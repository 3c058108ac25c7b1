//! Messages: persistence, pipelining, lengths, bodiless answers, expectations, versions, malformed input.

use super::{
    harness::{Setup, Upstream},
    wire::{End, Whole},
};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[test]
fn a_connection_carries_request_after_request() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    let mut client = gateway.connect();
    client.send("GET /0 HTTP/1.1\r\nhost: a\r\n\r\n");
    let mut served = upstream.accept();
    for turn in 0..5 {
        if turn > 0 {
            client.send(format!("GET /{turn} HTTP/1.1\r\nhost: a\r\n\r\n"));
        }
        let request = served.request();
        assert_eq!(request.head.start, format!("GET /{turn} HTTP/1.1"));
        assert_eq!(request.head.get("host"), Some(&*upstream.address.to_string()));
        served.send(OK);
        let response = client.response();
        assert_eq!((response.status(), &*response.text()), (200, "ok"));
        assert!(response.head.get("x-ringward-request-id").is_some());
        assert_eq!(response.head.get("connection"), None);
    }
    drop(client);
    upstream.is_left_alone();
    gateway.stop(5, 0);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    let mut client = gateway.connect();
    client.send(concat!(
        "POST /0 HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nzero",
        "POST /1 HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n",
        "GET /2 HTTP/1.1\r\nhost: a\r\n\r\nGET /3 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
    ));
    let mut served = upstream.accept();
    for (turn, body) in ["zero", "one", "", ""].into_iter().enumerate() {
        let request = served.request();
        assert!(request.head.start.ends_with(&format!("/{turn} HTTP/1.1")), "{request:?}");
        assert_eq!((&*request.text(), request.whole), (body, Whole::Yes));
        served.send(format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{turn}"));
    }
    for turn in 0..4 {
        let response = client.response();
        assert_eq!(response.text(), turn.to_string());
        assert_eq!(response.head.get("connection"), (turn == 3).then_some("close"));
    }
    assert_eq!(client.end(), End::Clean);
    gateway.stop(4, 0);
}

#[test]
fn bodies_of_either_framing_pass_a_byte_at_a_time() {
    let length = "content-length: 11\r\n\r\nhello world";
    let chunked = "transfer-encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nx-sum: 1\r\n\r\n";
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    let mut client = gateway.connect();
    let mut served = None;
    for sent in [length, chunked] {
        for answered in [length, chunked] {
            client.slowly(format!("POST / HTTP/1.1\r\nhost: a\r\n{sent}"));
            let served = served.get_or_insert_with(|| upstream.accept());
            let request = served.request();
            assert_eq!((&*request.text(), request.whole), ("hello world", Whole::Yes));
            assert_eq!(request.head.get("x-sum"), None);
            served.slowly(format!("HTTP/1.1 200 OK\r\n{answered}"));
            let response = client.response();
            assert_eq!((&*response.text(), response.whole), ("hello world", Whole::Yes));
            let framing = if answered == length { "content-length" } else { "transfer-encoding" };
            assert!(response.head.get(framing).is_some(), "{response:?}");
        }
    }
    upstream.is_left_alone();
    drop(client);
    gateway.stop(4, 0);
}

#[test]
fn answers_without_a_body_end_with_their_head() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    let mut client = gateway.connect();
    client.send("HEAD /h HTTP/1.1\r\nhost: a\r\n\r\n");
    let mut served = upstream.accept();
    served.request();
    served.send("HTTP/1.1 200 OK\r\ncontent-length: 12345\r\n\r\n");
    let response = client.response_to_head();
    assert_eq!(response.head.get("content-length"), Some("12345"));
    for (answer, length) in [
        ("204 No Content\r\n\r\n", None),
        ("304 Not Modified\r\ncontent-length: 99\r\netag: \"x\"\r\n\r\n", Some("99")),
        ("200 OK\r\ncontent-length: 0\r\n\r\n", Some("0")),
    ] {
        client.send("GET /g HTTP/1.1\r\nhost: a\r\n\r\n");
        served.request();
        served.send(format!("HTTP/1.1 {answer}"));
        let response = client.response();
        assert_eq!(response.head.get("content-length"), length, "{answer}");
        assert_eq!((response.body.len(), response.whole), (0, Whole::Yes));
        assert_eq!(response.head.get("transfer-encoding"), None);
    }
    drop(client);
    upstream.is_left_alone();
    gateway.stop(4, 0);
}

#[test]
fn informational_answers_are_passed_on_but_for_100() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    let mut client = gateway.ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let mut served = upstream.accept();
    served.request();
    served.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n");
    let hints = client.response();
    assert_eq!((hints.status(), hints.head.get("link")), (103, Some("</a>")));
    served.send(OK);
    assert_eq!(client.response().status(), 200);

    // HTTP/1.0 knows no informational answers (RFC 9110 section 15.2).
    let mut old = gateway.ask("GET / HTTP/1.0\r\n\r\n");
    served.request();
    served.send(format!("HTTP/1.1 103 Early Hints\r\n\r\n{OK}"));
    assert_eq!(old.response().status(), 200);

    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    served.request();
    served.send("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(9));
    for _ in 0..8 {
        assert_eq!(client.response().status(), 103);
    }
    client.response().is_refusal(502, "upstream_invalid", "informational_flood");
    drop(client);
    gateway.stop(3, 0);
}

#[test]
fn the_body_is_asked_for_once_the_policy_has_decided() {
    let upstream = Upstream::bind();
    let blocked =
        "[[policy]]\nname = \"no\"\nwhen = { path = \"/no\" }\naction = \"block\"\nreason = \"Never.\"";
    let read =
        "[[policy]]\nname = \"read\"\nwhen = { path = \"/read\", body = { contains_any = [\"DROP\"] } }
        action = \"block\"\nreason = \"No.\"";
    let setup = Setup::to(upstream.address).route("policies = [\"no\", \"read\", \"default\"]");
    let gateway = setup.tables(blocked).tables(read).start();
    let post = |path: &str| {
        format!("POST {path} HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n")
    };
    // Allowed by its head: the request goes upstream, without the expectation, when the body comes.
    let mut client = gateway.ask(post("/yes"));
    assert_eq!(client.response().status(), 100);
    client.send("body");
    let mut served = upstream.accept();
    let request = served.request();
    assert_eq!((&*request.text(), request.head.get("expect")), ("body", None));
    served.send(OK);
    assert_eq!(client.response().status(), 200);
    // The policy reads the body: it is asked for, and nothing goes upstream before.
    let mut client = gateway.ask(post("/read"));
    assert_eq!(client.response().status(), 100);
    client.send("DROP");
    client.response().is_refusal(403, "policy_denied", "No.");
    gateway.stop(1, 1);
}

/// The client will not send its body after a final answer; its next request must not be taken for that body.
#[test]
fn a_refused_expectation_closes_the_connection() {
    let upstream = Upstream::bind();
    let blocked =
        "[[policy]]\nname = \"no\"\nwhen = { path = \"/no\" }\naction = \"block\"\nreason = \"Never.\"";
    let gateway =
        Setup::to(upstream.address).route("policies = [\"no\", \"default\"]").tables(blocked).start();
    let mut client =
        gateway.ask("POST /no HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 34\r\n\r\n");
    let response = client.response();
    response.is_refusal(403, "policy_denied", "Never.");
    assert_eq!(response.head.get("connection"), Some("close"));
    let _ = client.try_send("GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.end(), End::Clean);
    drop(client);

    let mut client =
        gateway.ask("POST / HTTP/1.1\r\nhost: a\r\nexpect: 200-maybe\r\ncontent-length: 4\r\n\r\nbody");
    client.response().is_refusal(417, "expectation_failed", "expectation_unknown");
    assert_eq!(client.end(), End::Clean);
    upstream.is_left_alone();
    let log = gateway.stop(0, 2);
    assert_eq!(log.reasons()[1].0, "expectation_failed");
}

#[test]
fn http_1_0_callers_get_a_body_that_ends_with_the_connection() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    let mut client = gateway.ask("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n");
    let mut served = upstream.accept();
    let request = served.request();
    assert_eq!(request.head.start, "GET / HTTP/1.1");
    served.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
    let response = client.response();
    assert_eq!(response.head.get("transfer-encoding"), None);
    assert_eq!((response.head.get("connection"), &*response.text()), (Some("close"), "ok"));
    assert_eq!(response.whole, Whole::Yes);

    let mut client = gateway.ask("POST / HTTP/1.0\r\ncontent-length: 2\r\n\r\nhi");
    assert_eq!(served.request().text(), "hi");
    served.send(OK);
    let response = client.response();
    assert_eq!((response.head.get("content-length"), &*response.text()), (Some("2"), "ok"));
    assert_eq!(client.end(), End::Clean);
    gateway.stop(2, 0);
}

#[test]
fn an_http_1_0_upstream_is_understood() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    let mut client = gateway.ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let mut served = upstream.accept();
    served.request();
    served.send("HTTP/1.0 200 OK\r\n\r\nto the end");
    drop(served);
    let response = client.response();
    assert_eq!((&*response.text(), response.whole), ("to the end", Whole::Yes));
    drop(client);
    gateway.stop(1, 0);
}

#[test]
fn malformed_requests_are_refused_and_never_forwarded() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    let long = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(9_000));
    let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "b: c\r\n".repeat(101));
    let large = format!("GET / HTTP/1.1\r\nhost: a\r\nb: {}\r\n\r\n", "c".repeat(41_000));
    let cases = [
        (
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\nx",
            400,
            "content_length",
        ),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
            400,
            "length",
        ),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0x1\r\n",
            400,
            "chunk_size_invalid",
        ),
        ("GET / HTTP/1.1\nhost: a\n\n", 400, "bare_lf"),
        ("GET / HTTP/1.1\r\nhost: a\r\nb: c\r\n d\r\n\r\n", 400, "field_folded"),
        ("GET / HTTP/1.1\r\n\r\n", 400, "host_missing"),
        ("GET / HTTP/3.0\r\nhost: a\r\n\r\n", 400, "version_unsupported"),
        ("GET /%2e%2e/%00 HTTP/1.1\r\nhost: a\r\n\r\n", 400, "target_"),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n", 400, ""),
        ("CONNECT a:443 HTTP/1.1\r\nhost: a\r\n\r\n", 501, "connect_unsupported"),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
            501,
            "transfer_encoding_unknown",
        ),
        ("GET / HTTP/1.1\r\nhost: a\r\nconnection: host\r\n\r\n", 400, ""),
        (&*long, 414, "start_line_too_long"),
        (&*many, 431, "fields_too_many"),
        (&*large, 431, "head_too_long"),
    ];
    for (request, status, reason) in cases {
        let mut client = gateway.ask(request);
        let code = match status {
            414 => "uri_too_long",
            431 => "headers_too_large",
            501 => "not_implemented",
            _ => "malformed_request",
        };
        let response = client.response();
        response.is_refusal(status, code, reason);
        assert_eq!(response.head.get("connection"), Some("close"), "{request}");
        assert_eq!(client.end(), End::Clean, "{request}");
    }
    upstream.is_left_alone();
    let log = gateway.stop(0, cases.len() as u64);
    assert!(log.refusals().all(|refusal| refusal.status >= 400));
}

/// Framing that turns out to be malformed behind the head, when the first bytes went upstream already.
#[test]
fn a_body_that_breaks_its_framing_is_refused_and_cut_upstream() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    let mut client =
        gateway.ask("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n");
    let mut served = upstream.accept();
    let head = served.head();
    assert_eq!(head.get("transfer-encoding"), Some("chunked"));
    assert_eq!(served.chunk().unwrap(), b"ok");
    client.send("-1\r\nGET / HTTP/1.1\r\n");
    assert_eq!(served.chunk(), Err(End::Cut));
    let response = client.response();
    response.is_refusal(400, "malformed_request", "chunk_size_invalid");
    assert_eq!(response.head.get("connection"), Some("close"));
    assert_eq!(client.end(), End::Clean);
    let log = gateway.stop(1, 0);
    use ringward::audit::{Cause, Place};
    assert_eq!(log.ends(), [(Cause::ClientFault, Place::RequestBody)]);
}

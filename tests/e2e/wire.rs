//! HTTP/1.1 as it goes through: pipelining, streaming, and either side vanishing in the middle.

use super::support::{
    eventually,
    gateway::{Gateway, open_route},
    http::Client,
    upstream::Upstream,
};
use std::sync::mpsc;

#[test]
fn pipelined_requests_are_answered_in_order() {
    let upstream = Upstream::start(|mut connection| {
        let mut count = 0;
        while connection.read_request() {
            count += 1;
            connection.answer(&format!("answer {count}"));
        }
    });
    let gateway = Gateway::start(&open_route("up", upstream.address));
    let mut client = Client::connect(&gateway.address());
    let one = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: a.test\r\n\r\n");
    client.send(
        one("/1")
            + &one("/2")
            + "POST /3 HTTP/1.1\r\nhost: a.test\r\ncontent-length: 3\r\n\r\nabc"
            + &one("/4"),
    );
    for number in 1..=4 {
        let response = client.response(false).expect("an answer");
        assert_eq!((response.status, response.text()), (200, format!("answer {number}")));
    }
    let seen = upstream.received();
    let order: Vec<_> = ["GET /1 ", "GET /2 ", "POST /3 ", "GET /4 "].map(|line| seen.find(line)).into();
    assert!(order.iter().all(Option::is_some) && order.is_sorted(), "{seen}");
}

#[test]
fn bodies_stream_both_ways_at_once() {
    let upstream = Upstream::start(|mut connection| {
        let mut seen = vec![];
        while !seen.ends_with(b"first") {
            let Some(bytes) = connection.read() else { return };
            seen.extend(bytes);
        }
        // Answers before the request is whole.
        connection.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 9\r\n\r\nhalf,");
        while !seen.ends_with(b"second") {
            let Some(bytes) = connection.read() else { return };
            seen.extend(bytes);
        }
        connection.write(b"rest");
    });
    let gateway = Gateway::start(&open_route("up", upstream.address));
    let mut client = Client::connect(&gateway.address());
    client.send("POST /a HTTP/1.1\r\nhost: a.test\r\ncontent-length: 11\r\n\r\nfirst");
    client.wait_for(b"half,");
    client.send("second");
    let response = client.response(false).unwrap();
    assert_eq!((response.status, response.text().as_str(), response.is_whole), (200, "half,rest", true));
}

#[test]
fn a_client_that_vanishes_mid_body_cuts_the_upstream() {
    let (ended, end) = mpsc::channel();
    let upstream = Upstream::start(move |mut connection| {
        let mut seen = vec![];
        while let Some(bytes) = connection.read() {
            seen.extend(bytes);
        }
        let _ = ended.send(seen);
    });
    let gateway = Gateway::start(&open_route("up", upstream.address));
    let mut client = Client::connect(&gateway.address());
    client.send("POST /up HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n");
    eventually("the first chunk upstream", || upstream.received().contains("hello").then_some(()));
    drop(client);
    let seen = end.recv_timeout(super::support::DEADLINE).expect("the upstream's connection ends");
    assert!(!seen.ends_with(b"0\r\n\r\n"), "the cut body was given a clean end");
    let line = eventually("a line in the access log", || gateway.access_log().pop());
    assert_eq!(line["client_closed"], true, "{line}");
}

#[test]
fn a_client_that_leaves_during_the_answer_cuts_the_upstream() {
    let (ended, end) = mpsc::channel();
    let upstream = Upstream::start(move |mut connection| {
        connection.read_request();
        connection.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n");
        connection.write(b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n");
        // Says nothing more: only the client's end can end this.
        let _ = ended.send(connection.read().is_none());
    });
    let gateway = Gateway::start(&open_route("up", upstream.address));
    let mut client = Client::connect(&gateway.address());
    client.request("GET", "/slow", &[], "");
    client.wait_for(b"hello");
    drop(client);
    assert!(end.recv_timeout(super::support::DEADLINE).expect("the upstream's connection ends"));
}

#[test]
fn an_upstream_that_vanishes_mid_body_never_ends_the_answer_cleanly() {
    let check = |framing: &'static str, body: &'static str| {
        let upstream = Upstream::start(move |mut connection| {
            connection.read_request();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n{framing}\r\n\r\n{body}");
            connection.write(head.as_bytes());
        });
        let gateway = Gateway::start(&open_route("up", upstream.address));
        let mut client = Client::connect(&gateway.address());
        client.request("GET", "/cut", &[], "");
        let response = client.response(false).expect("the head came");
        assert_eq!((response.status, response.is_whole), (200, false), "{framing}");
        assert!(client.is_ended(), "{framing}");
    };
    check("content-length: 10", "hello");
    check("transfer-encoding: chunked", "5\r\nhello\r\n");
    check("transfer-encoding: chunked", "5\r\nhel");
    check("transfer-encoding: chunked", "5\r\nhello\r\n0\r\n");
}

#[test]
fn an_upstream_that_is_not_there_is_a_502_with_a_reason() {
    let upstream = Upstream::start(drop);
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let check = |address, code: &str| {
        let gateway = Gateway::start(&open_route("up", address));
        let response = Client::connect(&gateway.address()).ask("POST", "/", &[], "a");
        assert_eq!(response.status, 502, "{}", response.text());
        assert!(response.text().contains(code), "{}", response.text());
        assert_eq!(response.header("x-ringward-response"), Some("gateway"));
        assert_eq!(response.header("x-should-retry"), None);
    };
    check(gone, "upstream_unreachable");
    // It accepts and says nothing at all.
    check(upstream.address, "upstream_");
}

#[test]
fn ambiguous_requests_are_refused_and_never_reach_the_upstream() {
    let upstream = Upstream::answering("no");
    let gateway = Gateway::start(&open_route("up", upstream.address));
    let check = |request: &str, status: u16| {
        let mut client = Client::connect(&gateway.address());
        client.send(request);
        let response = client.response(false).unwrap_or_else(|| panic!("no answer to {request:?}"));
        assert_eq!(response.status, status, "{request:?}: {}", response.text());
        assert_eq!(response.header("x-ringward-response"), Some("gateway"), "{request:?}");
        assert!(client.is_ended(), "{request:?}: the connection stays open");
    };
    check("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400);
    check("GET / HTTP/1.1\r\n\r\n", 400);
    check("GET / HTTP/1.1\nhost: a\n\n", 400);
    check("GET / HTTP/1.1\r\nhost: a\r\n folded: b\r\n\r\n", 400);
    check(
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    );
    check("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +1\r\n\r\na", 400);
    check("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501);
    check("GET /%2e%2e%2f HTTP/1.1\r\nhost: a\r\n\r\n", 400);
    check("GET / HTTP/1.1\r\nhost: a\r\nexpect: 200-ok\r\n\r\n", 417);
    assert_eq!(upstream.received(), "");
}

#[test]
fn the_gateway_says_100_continue_itself() {
    let upstream = Upstream::answering("done");
    let gateway = Gateway::start(&open_route("up", upstream.address));
    let mut client = Client::connect(&gateway.address());
    client.send("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n");
    client.wait_for(b"HTTP/1.1 100 ");
    client.send("body");
    assert_eq!(client.response(false).unwrap().text(), "done");
}

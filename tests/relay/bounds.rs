//! How long callers and upstreams may take, each bound with a short time of its own. Every one that is met is
//! counted under its name, and recorded where a request had begun (SECURITY R41).

use super::{
    harness::{Gateway, Setup, Upstream},
    tls::{Authority, listen_with_tls},
    wire::{End, Whole, Wire},
};
use ringward::audit::{Cause, Place};
use std::net::TcpStream;

/// A policy that reads the body, so that all of it must come before anything is sent.
pub const READ: &str =
    "[[policy]]\nname = \"read\"\nwhen = { body = { contains_any = [\"DROP\"] } }\naction = \"block\"";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn with(upstream: &Upstream, limits: &str) -> Setup {
    Setup::to(upstream.address).tables(&format!("[limits]\n{limits}"))
}

pub fn hits(gateway: &Gateway, reason: &str) -> f64 {
    gateway.metric(&format!("ringward_limit_hits_total{{reason=\"{reason}\"}}"))
}

#[test]
fn a_head_that_does_not_end_is_counted_and_recorded() {
    let upstream = Upstream::bind();
    let gateway = with(&upstream, "header_timeout = \"300ms\"").start();
    let mut client = gateway.ask("GET / HTTP/1.1\r\nhost: a\r\n");
    client.response().is_refusal(408, "request_timeout", "in time: header_timeout");
    assert_eq!(client.end(), End::Clean);
    // Whoever says nothing at all is not answered, and nothing is recorded.
    assert_eq!(gateway.connect().end(), End::Clean);
    assert_eq!(hits(&gateway, "header_timeout"), 2.0);
    upstream.is_left_alone();
    let log = gateway.stop(0, 1);
    assert!(log.reasons()[0].1.contains("header_timeout"), "{:?}", log.reasons());
}

#[test]
fn silence_within_a_body_ends_the_request() {
    let upstream = Upstream::bind();
    let limits = "body_idle = \"300ms\"\nbody_rate_min = \"0B\"";
    let gateway = with(&upstream, limits).route("policies = [\"read\", \"default\"]").tables(READ).start();
    let mut client = gateway.ask("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf");
    client.response().is_refusal(408, "request_timeout", "in time: body_idle");
    assert_eq!((client.end(), hits(&gateway, "body_idle")), (End::Clean, 1.0));
    upstream.is_left_alone();
    let log = gateway.stop(0, 1);
    assert!(log.reasons()[0].1.contains("body_idle"), "{:?}", log.reasons());
}

/// The same where the beginning is upstream already: it is cut, and the OUTCOME says why.
#[test]
fn silence_within_a_forwarded_body_cuts_upstream() {
    let upstream = Upstream::bind();
    let gateway = with(&upstream, "body_idle = \"300ms\"\nbody_rate_min = \"0B\"").start();
    let mut client = gateway.ask("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf");
    let mut served = upstream.accept();
    served.head();
    assert_eq!((served.exactly(4), served.end()), (b"half".to_vec(), End::Cut));
    client.response().is_refusal(408, "request_timeout", "in time: body_idle");
    assert_eq!(hits(&gateway, "body_idle"), 1.0);
    drop(client);
    let log = gateway.stop(1, 0);
    assert_eq!(log.ends(), [(Cause::Timeout, Place::RequestBody)]);
    let reason = log.outcomes().next().unwrap().reason.clone().unwrap();
    assert!(reason.contains("body_idle"), "{reason}");
}

#[test]
fn a_body_that_trickles_is_too_slow() {
    let upstream = Upstream::bind();
    let gateway = with(&upstream, "body_rate_grace = \"400ms\"").start();
    let mut client = gateway.ask("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n");
    let mut served = upstream.accept();
    served.head();
    // Never silent for long, and far below 1 KiB/s.
    while client.try_send("x").is_ok() && !client.is_readable() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    client.response().is_refusal(408, "request_timeout", "in time: body_rate");
    assert_eq!((served.rest().1, hits(&gateway, "body_rate")), (End::Cut, 1.0));
    drop(client);
    let log = gateway.stop(1, 0);
    assert_eq!(log.ends(), [(Cause::Timeout, Place::RequestBody)]);
}

/// An upstream that does not take the body makes its sender wait: that is not the sender's slowness.
#[test]
fn a_body_that_upstream_does_not_take_is_not_too_slow() {
    let upstream = Upstream::bind();
    let limits = "body_rate_grace = \"300ms\"\nbody_idle = \"1s\"";
    let gateway = with(&upstream, limits).start();
    const BODY: usize = 24 << 20;
    let client = gateway.ask(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {BODY}\r\n\r\n"));
    let sender = std::thread::spawn(move || {
        let mut client = client;
        for _ in 0..24 {
            client.send(vec![b'x'; 1 << 20]);
        }
        client
    });
    let mut served = upstream.accept();
    served.head();
    // Longer than all bounds of the caller together; another connection tells when that is.
    let mut other = gateway.ask("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n");
    let mut cut = upstream.accept();
    cut.head();
    other.response().is_refusal(408, "request_timeout", "body_rate");
    let mut other = gateway.ask("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n");
    other.response().is_refusal(408, "request_timeout", "body_rate");
    served.exactly(BODY);
    served.send(OK);
    assert_eq!(sender.join().unwrap().response().text(), "ok");
    drop((other, cut));
    let log = gateway.stop(3, 0);
    assert_eq!(log.ends().iter().filter(|end| end.0 == Cause::Complete).count(), 1);
}

#[test]
fn a_connection_that_idles_is_closed() {
    let upstream = Upstream::bind();
    let gateway = with(&upstream, "keep_alive = \"300ms\"").start();
    let mut client = gateway.ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let mut served = upstream.accept();
    served.request();
    served.send(OK);
    assert_eq!(client.response().text(), "ok");
    assert_eq!((client.end(), hits(&gateway, "keep_alive")), (End::Clean, 1.0));
    gateway.stop(1, 0);
}

#[test]
fn an_idle_connection_without_a_buffer_still_serves() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    let mut client = gateway.ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let mut served = upstream.accept();
    served.request();
    served.send(OK);
    assert_eq!(client.response().text(), "ok");
    drop(served);
    let memory = "ringward_memory_bytes{shard=\"0\"}";
    // The connection itself, without its buffer.
    gateway.until(memory, 4096.0);
    client.slowly("GET /late HTTP/1.1\r\nhost: a\r\n\r\n");
    let mut served = upstream.accept();
    assert_eq!(served.request().head.start, "GET /late HTTP/1.1");
    served.send(OK);
    assert_eq!(client.response().text(), "ok");
    drop(served);
    gateway.until(memory, 4096.0);
    drop(client);
    gateway.until(memory, 0.0);
    gateway.stop(2, 0);
}

#[test]
fn a_handshake_that_does_not_end_is_counted() {
    let upstream = Upstream::bind();
    let (setup, dir) = listen_with_tls(Setup::to(upstream.address), &Authority::new());
    let gateway = setup.tables("[limits]\ntls_handshake = \"200ms\"").start_in(dir);
    let mut silent = Wire::new(TcpStream::connect(gateway.address).unwrap());
    silent.rest();
    // It is counted behind the end of the connection, which the caller sees first.
    gateway.until("ringward_limit_hits_total{reason=\"tls_handshake\"}", 1.0);
    gateway.stop(0, 0);
}

#[test]
fn silence_of_upstream_is_counted_under_its_name() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address)
        .upstream("timeout = { first_byte = \"200ms\", idle = \"200ms\" }")
        .start();
    let mut client = gateway.ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let mut served = upstream.accept();
    served.request();
    client.response().is_refusal(504, "upstream_timeout", "in time: first_byte");
    let mut client = gateway.ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let mut served = upstream.accept();
    served.request();
    served.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
    assert_eq!(client.response().whole, Whole::No(End::Cut));
    assert_eq!((hits(&gateway, "first_byte"), hits(&gateway, "response_idle")), (1.0, 1.0));
    let log = gateway.stop(2, 0);
    let reasons: Vec<_> = log.outcomes().map(|outcome| outcome.reason.clone().unwrap()).collect();
    assert!(reasons[0].contains("first_byte") && reasons[1].contains("response_idle"), "{reasons:?}");
}

#[test]
fn a_caller_that_takes_nothing_is_cut() {
    let upstream = Upstream::bind();
    let gateway = with(&upstream, "write_timeout = \"500ms\"").start();
    let mut client = gateway.ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let mut served = upstream.accept();
    served.request();
    served.send("HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n");
    while served.try_send(vec![b'x'; 1 << 20]).is_ok() {}
    let head = client.head();
    assert_ne!(client.body(head, true).whole, Whole::Yes);
    assert_eq!(hits(&gateway, "write_timeout"), 1.0);
    let log = gateway.stop(1, 0);
    assert_eq!(log.ends(), [(Cause::Timeout, Place::ResponseBody)]);
    assert_eq!(log.outcomes().next().unwrap().reason.as_deref(), Some("write_timeout"));
}

/// SECURITY R41, R43: what is too long is refused as soon as that is known, and counted.
#[test]
fn heads_that_are_too_long_are_refused() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    let line = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(8 << 10));
    let fields = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(100));
    let bytes = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(40 << 10));
    let cases = [
        (line, 414, "start_line_too_long", "request_line"),
        (fields, 431, "fields_too_many", "header_count"),
        (bytes, 431, "head_too_long", "header_bytes"),
    ];
    for (request, status, reason, limit) in &cases {
        let mut client = gateway.connect();
        let _ = client.try_send(request);
        let response = client.response();
        assert_eq!((response.status(), response.head.get("connection")), (*status, Some("close")));
        assert!(response.text().contains(reason), "{}", response.text());
        assert_eq!(hits(&gateway, limit), 1.0, "{limit}");
    }
    upstream.is_left_alone();
    let log = gateway.stop(0, 3);
    for ((_, _, reason, _), (_, recorded)) in cases.iter().zip(log.reasons()) {
        assert!(recorded.contains(reason), "{recorded}");
    }
}

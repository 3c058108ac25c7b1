//! Upstreams that cannot be reached, are silent, break off, or talk nonsense.

use super::{
    harness::{Setup, Upstream},
    wire::{End, Whole, Wire},
};
use ringward::audit::{Cause, Place};
use std::net::{SocketAddr, TcpListener};

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

#[test]
fn malformed_answers_are_refused() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    let cases = [
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\nx", "content_length_repeated"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\nx", "length_conflict"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\nx", "transfer_encoding_unknown"),
        ("HTTP/1.1 200 OK\ncontent-length: 1\n\nx", "bare_lf"),
        ("HTTP/1.1 200 OK\r\nb: c\r\n d\r\n\r\n", "field_folded"),
        ("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n", "upgrade_unasked"),
        ("HTTP/1.1 204 No Content\r\ncontent-length: 3\r\n\r\nabc", "body_forbidden"),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", ""),
        (
            "HTTP/1.1 200 OK\r\nconnection: content-length\r\ncontent-length: 1\r\n\r\nx",
            "connection_nominates",
        ),
    ];
    for (answer, reason) in cases {
        let mut client = gateway.ask(GET);
        let mut served = upstream.accept();
        served.request();
        served.send(answer);
        client.response().is_refusal(502, "upstream_invalid", reason);
        assert_eq!(served.end(), End::Cut, "{answer}");
    }
    let log = gateway.stop(cases.len() as u64, 0);
    assert!(
        log.outcomes().all(|outcome| outcome.cause == Cause::UpstreamFault && outcome.status == Some(502))
    );
}

#[test]
fn an_upstream_that_breaks_off_leaves_an_incomplete_answer() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    let answers = [
        ("GET / HTTP/1.1\r\nhost: a\r\n\r\n", "content-length: 10\r\n\r\nhalf"),
        ("GET / HTTP/1.1\r\nhost: a\r\n\r\n", "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
        ("GET / HTTP/1.0\r\n\r\n", "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
        ("GET / HTTP/1.0\r\n\r\n", "content-length: 10\r\n\r\nhalf"),
    ];
    for (request, answer) in answers {
        for is_reset in [false, true] {
            let mut client = gateway.ask(request);
            let mut served = upstream.accept();
            served.request();
            served.send(format!("HTTP/1.1 200 OK\r\n{answer}"));
            let head = client.head();
            // What comes after the first bytes is read when they have arrived, so that RST overtakes nothing.
            if is_reset {
                served.reset()
            } else {
                drop(served)
            }
            let response = client.body(head, true);
            assert_eq!(response.whole, Whole::No(End::Cut), "{request} {answer}");
        }
    }
    let log = gateway.stop(8, 0);
    for outcome in log.outcomes() {
        assert_eq!((outcome.cause, outcome.place), (Cause::UpstreamGone, Place::ResponseBody));
        assert_eq!((outcome.status, outcome.reason.as_deref()), (Some(200), log_reason(outcome)));
        assert_eq!(outcome.response.received, 4);
    }
}

fn log_reason(outcome: &ringward::audit::Outcome) -> Option<&str> {
    outcome.reason.as_deref().filter(|reason| reason.contains("closed the connection"))
}

#[test]
fn a_broken_event_stream_ends_with_an_error_event() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).upstream("protocol = \"anthropic\"").start();
    let mut client = gateway.ask("POST /v1/messages HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}");
    let mut served = upstream.accept();
    served.request();
    served.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
    served.send("10\r\nevent: ping\ndata\r\n");
    let head = client.head();
    assert_eq!(client.chunk().unwrap(), b"event: ping\ndata");
    drop(served);
    let response = client.body(head, true);
    assert!(response.text().contains("event: error\n"), "{response:?}");
    assert_eq!(response.whole, Whole::No(End::Cut));
    gateway.stop(1, 0);
}

#[test]
fn an_upstream_that_closes_without_an_answer_is_a_502() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    for part in ["", "HTTP/1.1 200 OK\r\ncontent-le"] {
        let mut client = gateway.ask(GET);
        let mut served = upstream.accept();
        served.request();
        served.send(part);
        drop(served);
        client.response().is_refusal(502, "upstream_unreachable", "closed the connection");
        // The caller's connection is as good as before.
        client.send(GET);
        let mut served = upstream.accept();
        served.request();
        served.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
        assert_eq!(client.response().text(), "ok");
    }
    let log = gateway.stop(4, 0);
    assert_eq!(log.ends()[0], (Cause::UpstreamGone, Place::FirstByte));
}

#[test]
fn an_upstream_that_takes_no_connection_is_a_502() {
    // A port that nobody listens on: it was free a moment ago.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = Setup::to(nobody).start();
    let mut client = gateway.ask(GET);
    client.response().is_refusal(502, "upstream_unreachable", "refused");
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi");
    client.response().is_refusal(502, "upstream_unreachable", "refused");
    drop(client);
    let log = gateway.stop(2, 0);
    assert_eq!(log.ends(), [(Cause::UpstreamGone, Place::Connect); 2]);
}

/// A listener whose queue is full: the kernel drops what knocks, as a firewall would.
pub fn black_hole() -> (SocketAddr, impl Drop) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    for _ in 0..2 {
        let knock = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        knock.set_nonblocking(true).unwrap();
        let _ = knock.connect(&address.into());
        queued.push(knock);
    }
    (address, Box::new((listener, queued)))
}

#[test]
fn a_connection_that_nobody_answers_is_given_up() {
    let (address, _hole) = black_hole();
    let gateway = Setup::to(address).upstream("timeout = { connect = \"200ms\" }").start();
    let mut client = gateway.ask(GET);
    client.response().is_refusal(502, "upstream_unreachable", "200 ms");
    drop(client);
    let log = gateway.stop(1, 0);
    assert_eq!(log.ends(), [(Cause::UpstreamGone, Place::Connect)]);
}

#[test]
fn silence_is_a_504_before_the_answer_and_a_cut_within_it() {
    let upstream = Upstream::bind();
    let timeout = "timeout = { first_byte = \"200ms\", idle = \"200ms\" }";
    let gateway = Setup::to(upstream.address).upstream(timeout).start();
    for request in [GET, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi"] {
        let mut client = gateway.ask(request);
        let mut served = upstream.accept();
        served.request();
        client.response().is_refusal(504, "upstream_timeout", "in time");
        assert_eq!(served.end(), End::Cut);
    }
    // The body of this one follows its head: its last byte is where the time begins.
    let mut client = gateway.ask("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n");
    let mut served = upstream.accept();
    served.head();
    client.send("hi");
    assert_eq!(served.exactly(2), b"hi");
    client.response().is_refusal(504, "upstream_timeout", "in time");

    let mut client = gateway.ask(GET);
    let mut served = upstream.accept();
    served.request();
    served.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
    let response = client.response();
    assert_eq!((&*response.text(), response.whole), ("half", Whole::No(End::Cut)));
    let log = gateway.stop(4, 0);
    let (early, late) = ((Cause::Timeout, Place::FirstByte), (Cause::Timeout, Place::ResponseBody));
    assert_eq!(log.ends(), [early, early, early, late]);
}

/// An upstream that takes no more of the request than its socket does.
#[test]
fn an_upstream_that_resets_while_the_request_is_sent_is_a_502() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    let mut client = gateway.ask("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nbegin");
    let mut served = upstream.accept();
    served.head();
    served.exactly(5);
    served.reset();
    client.response().is_refusal(502, "upstream_unreachable", "closed the connection");
    assert_eq!(client.end(), End::Clean);
    let log = gateway.stop(1, 0);
    assert_eq!(log.ends(), [(Cause::UpstreamGone, Place::Send)]);
}

/// A name that does not resolve: nobody is asked, and the record names it.
#[test]
fn a_name_without_an_address_is_a_502() {
    let gateway = Setup::to_url("http://no-such-host.invalid").start();
    let mut client: Wire = gateway.ask(GET);
    client.response().is_refusal(502, "upstream_unreachable", "does not resolve");
    drop(client);
    let log = gateway.stop(1, 0);
    let reason = log.outcomes().next().and_then(|outcome| outcome.reason.clone()).unwrap();
    assert!(reason.contains("no-such-host.invalid"), "{reason}");
}

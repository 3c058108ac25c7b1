//! Which upstream connection carries which request.

use super::{
    harness::{Gateway, Setup, Upstream},
    wire::{End, Wire},
};
use ringward::audit::{Cause, Place};

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
pub const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A gateway, its upstream, and an upstream connection that idles in the pool.
fn pooled() -> (Gateway, Upstream, Wire) {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    let mut client = gateway.ask(GET);
    let mut served = upstream.accept();
    served.request();
    served.send(OK);
    client.response();
    (gateway, upstream, served)
}

#[test]
fn callers_share_upstream_connections() {
    let (gateway, upstream, mut served) = pooled();
    for turn in 0..3 {
        let mut client =
            gateway.ask(format!("POST /{turn} HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi"));
        assert_eq!(served.request().text(), "hi");
        served.send(OK);
        client.response();
    }
    upstream.is_left_alone();
    gateway.until("ringward_upstream_reused_total{upstream=\"up\"}", 3.0);
    gateway.until("ringward_upstream_connected_total{upstream=\"up\"}", 1.0);
    gateway.until("ringward_upstream_idle{upstream=\"up\"}", 1.0);
    gateway.stop(4, 0);
}

#[test]
fn a_connection_that_died_while_a_request_was_on_it_is_replaced_once() {
    let (gateway, upstream, mut stale) = pooled();
    let mut client = gateway.ask(GET);
    stale.request();
    drop(stale);
    let mut served = upstream.accept();
    served.request();
    served.send(OK);
    assert_eq!(client.response().text(), "ok");

    // Twice: the second attempt was on a fresh connection, so that upstream itself is at fault.
    let mut client = gateway.ask(GET);
    served.request();
    drop(served);
    let mut served = upstream.accept();
    served.request();
    drop(served);
    client.response().is_refusal(502, "upstream_unreachable", "closed");
    upstream.is_left_alone();
    gateway.stop(3, 0);
}

#[test]
fn what_is_not_idempotent_is_never_sent_twice() {
    let (gateway, upstream, mut stale) = pooled();
    let mut client = gateway.ask("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi");
    stale.request();
    drop(stale);
    client.response().is_refusal(502, "upstream_unreachable", "closed");
    upstream.is_left_alone();
    let log = gateway.stop(2, 0);
    assert_eq!(log.ends()[1], (Cause::UpstreamGone, Place::FirstByte));
}

/// The request has a body that was not whole when it was sent: it cannot be sent again.
#[test]
fn what_was_streamed_is_never_sent_twice() {
    let (gateway, upstream, mut stale) = pooled();
    let mut client = gateway.ask("PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nhi");
    stale.head();
    assert_eq!(stale.exactly(2), b"hi");
    drop(stale);
    client.response().is_refusal(502, "upstream_unreachable", "closed");
    upstream.is_left_alone();
    gateway.stop(2, 0);
}

#[test]
fn a_connection_that_closed_while_it_idled_is_not_used() {
    let (gateway, upstream, served) = pooled();
    drop(served);
    // POST would not be retried: that it comes through shows that the dead connection was not tried.
    let mut client = gateway.ask("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi");
    let mut served = upstream.accept();
    assert_eq!(served.request().text(), "hi");
    served.send(OK);
    assert_eq!(client.response().status(), 200);
    gateway.stop(2, 0);
}

/// Bytes that nobody asked for would be the answer to the next request (SECURITY R6).
#[test]
fn a_connection_with_surplus_bytes_is_not_used_again() {
    let surplus = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    for answer in [
        format!("{OK}{surplus}"),
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n{surplus}"),
        format!("HTTP/1.1 204 No Content\r\n\r\n{surplus}"),
        format!("HTTP/1.1 304 Not Modified\r\ncontent-length: 6\r\n\r\n{surplus}"),
    ] {
        let mut client = gateway.ask(GET);
        let mut served = upstream.accept();
        served.request();
        served.send(answer);
        assert_ne!(client.response().text(), "poison");
        served.rest();
    }
    // Surplus that comes later, while the connection idles.
    let mut client = gateway.ask(GET);
    let mut served = upstream.accept();
    served.request();
    served.send(OK);
    client.response();
    served.send(surplus);
    client.send(GET);
    let mut fresh = upstream.accept();
    fresh.request();
    fresh.send(OK);
    assert_eq!(client.response().text(), "ok");
    drop(client);
    gateway.stop(6, 0);
}

#[test]
fn an_upstream_that_wants_to_close_is_let_go() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    let mut client = gateway.connect();
    for answer in [
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ] {
        client.send(GET);
        let mut served = upstream.accept();
        served.request();
        served.send(answer);
        let response = client.response();
        assert_eq!((response.head.get("connection"), &*response.text()), (None, "ok"));
        assert_eq!(served.end(), End::Clean);
    }
    drop(client);
    gateway.stop(2, 0);
}

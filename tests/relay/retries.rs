//! What is sent again on a fresh connection when a pooled one turns out to be dead, and what never is
//! (SECURITY "Framing", RFC 9110 section 9.2.2).

use super::{
    harness::{Gateway, Setup, Upstream},
    wire::Wire,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A gateway, its upstream, and a connection that idles in the pool.
fn pooled() -> (Gateway, Upstream, Wire) {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    let mut client = gateway.ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let mut served = upstream.accept();
    served.request();
    served.send(OK);
    client.response();
    (gateway, upstream, served)
}

fn request(method: &str, body: &str) -> String {
    format!("{method} / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// The pooled connection dies with the whole request on it and not a byte of an answer.
#[test]
fn idempotent_methods_are_sent_again_once_with_their_body() {
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
        let (gateway, upstream, mut stale) = pooled();
        let mut client = gateway.ask(request(method, "body"));
        assert_eq!(stale.request().text(), "body");
        drop(stale);
        let mut served = upstream.accept();
        let again = served.request();
        assert_eq!((again.head.start, again.body), (format!("{method} / HTTP/1.1"), b"body".to_vec()));
        served.send("HTTP/1.1 204 No Content\r\n\r\n");
        assert_eq!(client.response().status(), 204, "{method}");
        upstream.is_left_alone();
        drop(client);
        gateway.stop(2, 0);
    }
}

#[test]
fn what_is_not_idempotent_is_not_sent_again_once_a_byte_was_written() {
    for method in ["POST", "PATCH", "PROPFINDX"] {
        let (gateway, upstream, mut stale) = pooled();
        let mut client = gateway.ask(request(method, "body"));
        stale.request();
        drop(stale);
        client.response().is_refusal(502, "upstream_unreachable", "closed");
        upstream.is_left_alone();
        drop(client);
        gateway.stop(2, 0);
    }
}

/// Upstream has begun to act on it.
#[test]
fn what_was_answered_in_part_is_not_sent_again() {
    for part in ["H", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 100 Continue\r\n\r\n"] {
        let (gateway, upstream, mut stale) = pooled();
        let mut client = gateway.ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        stale.request();
        stale.send(part);
        drop(stale);
        let mut head = client.head();
        while head.status() == 100 {
            head = client.head();
        }
        client.body(head, true).is_refusal(502, "upstream_unreachable", "closed");
        upstream.is_left_alone();
        drop(client);
        gateway.stop(2, 0);
    }
}

/// Only a pooled connection may have been closed before the request was there.
#[test]
fn what_failed_on_a_fresh_connection_is_not_sent_again() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    let mut client = gateway.ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let mut served = upstream.accept();
    served.request();
    drop(served);
    client.response().is_refusal(502, "upstream_unreachable", "closed");
    upstream.is_left_alone();
    drop(client);
    gateway.stop(1, 0);
}

/// An upstream that resets every connection a moment after its answer: requests meet connections in all
/// stages of dying. A POST that is answered was acted on exactly once, one that is not at most once.
#[test]
fn no_post_is_acted_on_twice_whenever_connections_die() {
    let acted = Arc::new(AtomicU64::new(0));
    let count = acted.clone();
    let address = Upstream::bind().serve(move |mut wire: Wire| {
        for _ in 0..2 {
            let Ok(head) = wire.try_head() else { return };
            wire.body(head, false);
            count.fetch_add(1, Ordering::SeqCst);
            if wire.try_send(OK).is_err() {
                return;
            }
        }
        wire.reset();
    });
    let gateway = Setup::to(address).start();
    let callers = (0..4).map(|_| {
        let mut client = gateway.connect();
        thread::spawn(move || {
            let mut answered = 0;
            for _ in 0..100 {
                client.send(request("POST", "x"));
                match client.response().status() {
                    200 => answered += 1,
                    status => assert_eq!(status, 502),
                }
            }
            answered
        })
    });
    let callers: Vec<_> = callers.collect();
    let answered: u64 = callers.into_iter().map(|caller| caller.join().unwrap()).sum();
    let acted = acted.load(Ordering::SeqCst);
    assert!((answered..=400).contains(&acted), "{answered} answered, {acted} acted on");
    assert!(answered > 0);
    gateway.stop(400, 0);
}

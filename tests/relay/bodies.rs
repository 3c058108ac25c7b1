//! Both directions at once, early answers, and what the bytes of a body went through.

use super::{
    harness::{Setup, Upstream},
    wire::{End, Whole},
};

#[test]
fn an_answer_may_come_while_the_request_is_still_sent() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    let mut client = gateway.ask("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\nfirst");
    let mut served = upstream.accept();
    served.head();
    assert_eq!(served.exactly(5), b"first");
    served.send("HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\n\r\nno!");
    let response = client.response();
    assert_eq!((response.status(), &*response.text()), (413, "no!"));
    // Neither connection can be used again: the request was never whole.
    assert_ne!(served.rest().1, End::Clean, "never a clean end of half a request");
    let _ = client.try_send("rest");
    assert_eq!(client.end(), End::Clean);
    let log = gateway.stop(1, 0);
    let outcome = log.outcomes().next().unwrap();
    assert_eq!((outcome.status, outcome.request.received, outcome.response.sent), (Some(413), 5, 3));
}

#[test]
fn both_directions_flow_at_once() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    let mut client = gateway.ask("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
    let mut served = upstream.accept();
    served.head();
    served.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    assert_eq!(client.head().status(), 200);
    for turn in 0..20 {
        let line = format!("line {turn}");
        let chunk = format!("{:x}\r\n{line}\r\n", line.len());
        client.send(&chunk);
        assert_eq!(served.chunk().unwrap(), line.as_bytes());
        served.send(&chunk);
        assert_eq!(client.chunk().unwrap(), line.as_bytes());
    }
    client.send("0\r\n\r\n");
    assert_eq!(served.chunk().unwrap(), b"");
    served.send("0\r\n\r\n");
    assert_eq!(client.chunk().unwrap(), b"");
    // Both messages were whole: both connections live on.
    client.send("GET /again HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(served.request().head.start, "GET /again HTTP/1.1");
    served.send("HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(client.response().status(), 204);
    drop(client);
    upstream.is_left_alone();
    gateway.stop(2, 0);
}

#[test]
fn a_long_wait_for_the_rest_of_the_request_is_not_upstreams_silence() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).upstream("timeout = { first_byte = \"100ms\" }").start();
    let mut client = gateway.ask("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
    let mut served = upstream.accept();
    served.head();
    served.send("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    assert_eq!(client.response().status(), 103);
    assert_eq!(client.head().status(), 200);
    client.send("1\r\nx\r\n0\r\n\r\n");
    assert_eq!(served.chunk().unwrap(), b"x");
    assert_eq!(served.chunk().unwrap(), b"");
    // The answer had begun before the request ended: `idle` counts from there, not `first_byte`. Another
    // upstream connection that does time out tells when that would have shown.
    let mut other = gateway.ask("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n");
    let mut silent = upstream.accept();
    silent.request();
    other.response().is_refusal(504, "upstream_timeout", "in time");
    served.send("2\r\nok\r\n0\r\n\r\n");
    assert_eq!(client.chunk().unwrap(), b"ok");
    assert_eq!(client.chunk().unwrap(), b"");
    drop((client, other));
    gateway.stop(2, 0);
}

#[test]
fn untouched_bodies_are_not_copied() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    let body = "x".repeat(100_000);
    let mut client = gateway.connect();
    let head = "POST / HTTP/1.1\r\nhost: a\r\n";
    // Not tiny: those would be joined, and counted.
    let many = format!("1f4\r\n{}\r\n", &body[..500]).repeat(200);
    let requests = [
        format!("{head}content-length: 100000\r\n\r\n{body}"),
        format!("{head}transfer-encoding: chunked\r\n\r\n186a0\r\n{body}\r\n0\r\n\r\n"),
        format!("{head}transfer-encoding: chunked\r\n\r\n{many}0\r\n\r\n"),
    ];
    let mut served = None;
    for request in requests {
        client.send(&request);
        let served = served.get_or_insert_with(|| upstream.accept());
        assert_eq!(served.request().body.len(), body.len());
        served.send(request.replace("POST / HTTP/1.1\r\nhost: a", "HTTP/1.1 200 OK"));
        assert_eq!(client.response().text(), body);
    }
    drop(client);
    gateway.until("ringward_connections{shard=\"0\"}", 0.0);
    assert_eq!(gateway.metric("ringward_body_bytes_total{path=\"forwarded\"}"), 600_000.0);
    for path in ["copied", "coalesced", "policy"] {
        assert_eq!(gateway.metric(&format!("ringward_body_bytes_total{{path=\"{path}\"}}")), 0.0, "{path}");
    }
    gateway.stop(3, 0);
}

#[test]
fn masks_hold_over_chunks_and_reads() {
    let upstream = Upstream::bind();
    let mask =
        "[[mask]]\nname = \"falcon\"\nkind = \"literals\"\nwords = [\"Project Falcon\"]\nreplace = \"[p]\"";
    let gateway = Setup::to(upstream.address).route("masks = [\"falcon\"]").tables(mask).start();
    let mut client = gateway.connect();
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-type: text/plain\r\ncontent-length: 19\r\n\r\n";
    client.send(head).slowly("to Project Falcon.!");
    let mut served = upstream.accept();
    assert_eq!(served.request().text(), "to [p].!");
    served.send(concat!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\netag: \"x\"\r\ntransfer-encoding: chunked\r\n\r\n",
        "9\r\nof Projec\r\n"
    ));
    served.send("8\r\nt Falcon\r\n0\r\n\r\n");
    let response = client.response();
    assert_eq!((&*response.text(), response.whole), ("of [p]", Whole::Yes));
    assert_eq!(response.head.get("etag"), None);
    // The length of what is masked is not known from its head alone.
    client.send("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n");
    served.request();
    served.send("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\netag: \"x\"\r\ncontent-length: 17\r\n\r\n");
    let head = client.response_to_head().head;
    assert_eq!((head.get("content-length"), head.get("etag")), (None, None));
    drop(client);
    let log = gateway.stop(2, 0);
    let masks: Vec<_> = log.outcomes().flat_map(|outcome| &outcome.masks).map(|hits| hits.count).collect();
    assert_eq!(masks, [2]);
    assert!(!String::from_utf8_lossy(&log.bytes()).contains("Falcon."), "what was masked is not recorded");
}

/// An answer that cannot be masked is never sent, and the caller learns why.
#[test]
fn an_answer_that_cannot_be_masked_is_blocked() {
    let upstream = Upstream::bind();
    let mask = "[[mask]]\nname = \"cards\"\nkind = \"credit_card\"";
    let gateway = Setup::to(upstream.address).route("masks = [\"cards\"]").tables(mask).start();
    for (answer, why) in [
        (
            "200 OK\r\ncontent-type: text/plain\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nok",
            "gzip",
        ),
        ("206 Partial Content\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok", "206"),
    ] {
        let mut client =
            gateway.ask("GET / HTTP/1.1\r\nhost: a\r\naccept-encoding: gzip\r\nrange: bytes=0-1\r\n\r\n");
        let mut served = upstream.accept();
        let request = served.request();
        assert_eq!(request.head.get("accept-encoding"), Some("identity"));
        assert_eq!(request.head.get("range"), None);
        served.send(format!("HTTP/1.1 {answer}"));
        client.response().is_refusal(502, "response_unmaskable", why);
    }
    gateway.stop(2, 0);
}

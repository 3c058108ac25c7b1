//! Bounds that callers meet, as they are without a word in the configuration. Those of time are in `bounds`.

use super::{
    harness::{Setup, Upstream},
    wire::End,
};
use ringward::audit::{Cause, Place};

#[test]
fn a_body_above_the_limit_is_refused() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).route("max_body = \"1KiB\"").start();
    let body = "x".repeat(1025);
    // Said in the head: nothing goes upstream, and the connection lives on where the rest is short.
    let mut client = gateway.ask("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1025\r\n\r\n");
    client.response().is_refusal(413, "body_too_large", "1024");
    client.send(&body).send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let mut served = upstream.accept();
    served.request();
    served.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    assert_eq!(client.response().text(), "ok");
    // Too much to read only to throw it away.
    let mut client = gateway.ask("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999\r\n\r\n");
    let response = client.response();
    response.is_refusal(413, "body_too_large", "1024");
    assert_eq!((response.head.get("connection"), client.end()), (Some("close"), End::Clean));
    // Found out on the way: upstream has the beginning, and is cut.
    let mut client =
        gateway.ask("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n");
    served.head();
    assert_eq!(served.chunk().unwrap(), b"ok");
    client.send(format!("401\r\n{body}\r\n"));
    client.response().is_refusal(413, "body_too_large", "1024 bytes that this route accepts");
    assert_eq!(served.rest().1, End::Cut);
    drop(client);
    let log = gateway.stop(2, 2);
    assert_eq!(log.ends()[1], (Cause::Refused, Place::RequestBody));
}

#[test]
fn a_body_that_the_policy_reads_is_bounded_too() {
    let upstream = Upstream::bind();
    let read =
        "[[policy]]\nname = \"read\"\nwhen = { body = { contains_any = [\"DROP\"] } }\naction = \"block\"";
    let setup = Setup::to(upstream.address).route("policies = [\"read\", \"default\"]\nmax_body = \"1KiB\"");
    let gateway = setup.tables(read).start();
    let mut client = gateway.ask("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
    client.send(format!("401\r\n{}\r\n", "x".repeat(1025)));
    client.response().is_refusal(413, "body_too_large", "1024");
    upstream.is_left_alone();
    drop(client);
    gateway.stop(0, 1);
}

#[test]
fn a_head_that_does_not_end_is_a_408() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    let mut client = gateway.ask("GET / HTTP/1.1\r\nhost: a\r\n");
    let response = client.response();
    response.is_refusal(408, "request_timeout", "in time");
    assert_eq!((response.head.get("connection"), client.end()), (Some("close"), End::Clean));
    upstream.is_left_alone();
    let log = gateway.stop(0, 1);
    assert_eq!(log.refusals().next().unwrap().status, 408);
}

//! Callers that go away: upstream is cut at once, and the record says who and where.

use super::{
    harness::{Setup, Upstream},
    upstreams::black_hole,
    wire::{End, Whole},
};
use ringward::audit::{Cause, Place};

#[test]
fn a_caller_that_vanishes_within_its_body_cuts_upstream() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    for framing in ["content-length: 100\r\n\r\nhello", "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"] {
        for is_reset in [false, true] {
            let client = gateway.ask(format!("POST / HTTP/1.1\r\nhost: a\r\n{framing}"));
            let mut served = upstream.accept();
            let head = served.head();
            if head.get("content-length").is_some() {
                assert_eq!(served.exactly(5), b"hello");
            } else {
                assert_eq!(served.chunk().unwrap(), b"hello");
            }
            if is_reset {
                client.reset()
            } else {
                drop(client)
            }
            assert_eq!(served.end(), End::Cut);
        }
    }
    let log = gateway.stop(4, 0);
    assert_eq!(log.ends(), [(Cause::ClientGone, Place::RequestBody); 4]);
    assert!(log.outcomes().all(|outcome| outcome.request.received == 5 && outcome.status.is_none()));
}

#[test]
fn a_caller_that_vanishes_while_it_waits_cuts_upstream() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    for request in
        ["GET / HTTP/1.1\r\nhost: a\r\n\r\n", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi"]
    {
        let client = gateway.ask(request);
        let mut served = upstream.accept();
        served.request();
        drop(client);
        assert_eq!(served.end(), End::Cut);
    }
    // The request's body came behind its head: the same, on the other path.
    let mut client = gateway.ask("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n");
    let mut served = upstream.accept();
    served.head();
    client.send("hi");
    served.exactly(2);
    drop(client);
    assert_eq!(served.end(), End::Cut);
    let log = gateway.stop(3, 0);
    assert_eq!(log.ends(), [(Cause::ClientGone, Place::FirstByte); 3]);
}

#[test]
fn a_caller_that_vanishes_within_the_answer_cuts_upstream() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    for is_reset in [false, true] {
        let mut client = gateway.ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        let mut served = upstream.accept();
        served.request();
        served.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n");
        client.head();
        assert_eq!(client.chunk().unwrap(), b"half");
        if is_reset {
            client.reset()
        } else {
            drop(client)
        }
        assert_eq!(served.end(), End::Cut);
    }
    let log = gateway.stop(2, 0);
    assert_eq!(log.ends(), [(Cause::ClientGone, Place::ResponseBody); 2]);
    assert!(log.outcomes().all(|outcome| outcome.status == Some(200) && outcome.response.sent == 4));
}

/// The caller reads nothing, so that the gateway is stuck in a write when the caller goes.
#[test]
fn a_caller_that_stopped_reading_and_goes_cuts_upstream() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    let mut client = gateway.ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let mut served = upstream.accept();
    served.request();
    served.send("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n");
    client.head();
    served.socket().set_write_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
    while served.try_send(vec![0; 1 << 20]).is_ok() {}
    client.finish();
    assert_eq!(served.rest().1, End::Cut);
    drop(client);
    let log = gateway.stop(1, 0);
    assert_eq!(log.ends(), [(Cause::ClientGone, Place::ResponseBody)]);
}

/// Nobody is connected yet: what ends is the attempt, and nothing is sent on behalf of one who has left.
#[test]
fn a_caller_that_vanishes_while_upstream_is_connected_ends_the_attempt() {
    let (address, _hole) = black_hole();
    let gateway = Setup::to(address).upstream("timeout = { connect = \"60s\" }").start();
    let client = gateway.ask("GET /in-vain HTTP/1.1\r\nhost: a\r\n\r\n");
    gateway.until("ringward_requests_in_flight", 1.0);
    gateway.until_recorded("/in-vain");
    drop(client);
    gateway.until("ringward_requests_in_flight", 0.0);
    let log = gateway.stop(1, 0);
    assert_eq!(log.ends(), [(Cause::ClientGone, Place::FirstByte)]);
}

/// The retry went over another connection than the first attempt: that one is cut.
#[test]
fn a_caller_that_vanishes_after_a_retry_cuts_the_new_connection() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    let mut client = gateway.ask("GET /first HTTP/1.1\r\nhost: a\r\n\r\n");
    let mut stale = upstream.accept();
    stale.request();
    stale.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    client.response();
    client.send("GET /second HTTP/1.1\r\nhost: a\r\n\r\n");
    stale.request();
    drop(stale);
    let mut served = upstream.accept();
    assert_eq!(served.request().head.start, "GET /second HTTP/1.1");
    drop(client);
    assert_eq!(served.end(), End::Cut);
    let log = gateway.stop(2, 0);
    assert_eq!(log.ends()[1], (Cause::ClientGone, Place::FirstByte));
}

/// It never became a request: nothing is recorded.
#[test]
fn a_caller_that_vanishes_within_its_head_leaves_no_trace() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    drop(gateway.connect());
    drop(gateway.ask("GET / HT"));
    gateway.ask("GET / HTTP/1.1\r\nhost: a\r\n").reset();
    upstream.is_left_alone();
    gateway.stop(0, 0);
}

/// While the policy waits for the body nothing was recorded: it ends as a refusal.
#[test]
fn a_caller_that_vanishes_before_the_policy_decided_is_refused() {
    let upstream = Upstream::bind();
    let read =
        "[[policy]]\nname = \"read\"\nwhen = { body = { contains_any = [\"DROP\"] } }\naction = \"block\"";
    let gateway =
        Setup::to(upstream.address).route("policies = [\"read\", \"default\"]").tables(read).start();
    let client = gateway.ask("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nhello");
    gateway.until("ringward_requests_in_flight", 1.0);
    drop(client);
    gateway.until("ringward_requests_in_flight", 0.0);
    upstream.is_left_alone();
    let log = gateway.stop(0, 1);
    assert_eq!(log.reasons(), [("client_gone", "closed")]);
}

/// A pipelined request is not yet looked at; its caller is still noticed when the answer is written.
#[test]
fn a_caller_that_pipelines_and_vanishes_is_noticed_when_it_is_written_to() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    let client = gateway.ask("GET /1 HTTP/1.1\r\nhost: a\r\n\r\nGET /2 HTTP/1.1\r\nhost: a\r\n\r\n");
    let mut served = upstream.accept();
    served.request();
    client.reset();
    served.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    while served.try_send("5\r\nhello\r\n").is_ok() {
        std::thread::yield_now();
    }
    let log = gateway.stop(1, 0);
    assert_eq!(log.ends()[0].0, Cause::ClientGone);
}

/// The reply that the gateway makes itself is still written to a caller that has only ended its own side.
#[test]
fn a_refusal_reaches_a_caller_that_sends_nothing_more() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).route("max_body = \"1KiB\"").start();
    let mut client = gateway.ask("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2000\r\n\r\n");
    client.finish();
    let response = client.response();
    response.is_refusal(413, "body_too_large", "1024");
    assert_eq!(response.whole, Whole::Yes);
    upstream.is_left_alone();
    gateway.stop(0, 1);
}

/// The error event for a broken stream finds nobody, which must not swallow the last record.
#[test]
fn a_stream_that_breaks_when_the_caller_has_gone_is_recorded_once() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).upstream("protocol = \"anthropic\"").start();
    // The pipelined request keeps the gateway from noticing the caller before it writes.
    let client = gateway.ask("GET /v1/models HTTP/1.1\r\nhost: a\r\n\r\n".repeat(2));
    let mut served = upstream.accept();
    served.request();
    served
        .send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 100\r\n\r\ndata: 1\n\n");
    let mut client = client;
    client.head();
    client.exactly(9);
    client.reset();
    drop(served);
    gateway.until("ringward_requests_in_flight", 0.0);
    let log = gateway.stop(1, 0);
    assert_eq!(log.ends(), [(Cause::UpstreamGone, Place::ResponseBody)]);
}

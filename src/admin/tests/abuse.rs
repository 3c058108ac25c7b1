//! Clients that are slow, large, many or malformed: each costs its own connection and nobody else's.

use super::*;
use crate::limits;

/// Short enough for a test; nothing asserts how long it took.
const SOON: Duration = Duration::from_millis(20);

#[test]
fn oversized_bodies_are_refused() {
    let world = World::new();
    let most = limits::ADMIN_BODY_BYTES_MAX;
    for line in ["POST /api/v1/drain", "POST /api/v1/config:reload", "PUT /api/v1/log-level"] {
        let declared = format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", most + 1);
        let chunked = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunked = format!("{chunked}{:x}\r\n{}\r\n0\r\n\r\n", most + 1, " ".repeat(most + 1));
        for more in [declared, chunked] {
            let answer = world.local(line, &more);
            assert_eq!((answer.status, answer.problem().as_str()), (413, "body_too_large"), "{line}");
        }
    }
    assert!(world.process.calls.lock().unwrap().is_empty());
    // The longest that is allowed is read.
    let longest = format!("{{\"level\":\"warn\"{}}}", " ".repeat(most - 16));
    assert_eq!(longest.len(), most);
    assert_eq!(world.local("PUT /api/v1/log-level", &json(&longest)).status, 200);
}

#[test]
fn oversized_and_malformed_heads_are_refused() {
    let world = World::new();
    let long = format!("X-Long: {}\r\n\r\n", "x".repeat(limits::HEAD_BYTES_MAX));
    let many = "X-Many: 1\r\n".repeat(limits::HEADER_COUNT_MAX + 1) + "\r\n";
    for more in [&long, &many] {
        let answer = world.local("GET /livez", more);
        assert_eq!(answer.status, 431);
    }
    let path = format!("GET /{}", "x".repeat(limits::HEAD_BYTES_MAX));
    assert!(matches!(world.local(&path, "\r\n").status, 414 | 431));
    for text in [
        "\u{0}\u{0}\r\n\r\n",
        "GET\r\n\r\n",
        "GET /livez HTTP/9.9\r\n\r\n",
        "GET /livez HTTP/1.1\r\nHost : x\r\n\r\n",
        "PUT /api/v1/log-level HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "PUT /api/v1/log-level HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let bytes = {
            let mut stream = world.socket();
            stream.write_all(text.as_bytes()).unwrap();
            everything(stream)
        };
        assert!(bytes.is_empty() || bytes.starts_with(b"HTTP/1.1 4"), "{text:?}: {bytes:?}");
    }
    assert_eq!(world.local("GET /livez", "\r\n").status, 200);
}

#[test]
fn slow_heads_end() {
    let world = World::with(Bounds { head: SOON, ..Bounds::default() }, None);
    for start in ["", "G", "GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Slow: "] {
        let (mut local, mut network) = (world.socket(), connect(world.tcp));
        // The connection may be closed already: an idle one is as slow.
        let _ = local.write_all(start.as_bytes());
        let _ = network.write_all(start.as_bytes());
        assert!(!everything(local).starts_with(b"HTTP/1.1 2"), "{start:?}");
        assert!(!everything(network).starts_with(b"HTTP/1.1 2"), "{start:?}");
    }
}

#[test]
fn slow_bodies_end() {
    let world = World::with(Bounds { body: SOON, ..Bounds::default() }, None);
    let more = "Content-Type: application/json\r\nContent-Length: 20\r\n\r\n{\"level\"";
    let answer = world.local("PUT /api/v1/log-level", more);
    assert_eq!((answer.status, answer.problem().as_str()), (408, "request_timeout"));
    assert!(world.process.calls.lock().unwrap().is_empty());
}

#[test]
fn a_body_that_is_cut_changes_nothing() {
    let world = World::new();
    let mut client = world.socket();
    let more = "Content-Type: application/json\r\nContent-Length: 17\r\n\r\n{\"level\":";
    client.write_all(request("PUT /api/v1/log-level", "localhost", more).as_bytes()).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(!everything(client).starts_with(b"HTTP/1.1 2"));
    assert!(world.process.calls.lock().unwrap().is_empty());
}

#[test]
fn a_connection_does_not_live_for_ever() {
    let world = World::with(Bounds { life: SOON, ..Bounds::default() }, None);
    let mut client = world.socket();
    // The connection may be closed already.
    let _ = client.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
    everything(client);
}

#[test]
fn a_request_that_does_not_end_is_cut_after_the_grace() {
    let mut world = World::with(Bounds { grace: SOON, ..Bounds::default() }, None);
    let mut client = world.socket();
    client.write_all(b"POST /api/v1/config:reload HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert_eq!(world.progressed(), "begun");
    world.stop();
    assert!(everything(client).is_empty());
}

#[test]
fn a_crowd_at_one_door_leaves_the_others_open() {
    let world = World::with(Bounds { connections: 1, ..Bounds::default() }, None);
    let mut first = connect(world.tcp);
    let ask = request("GET /livez", &world.tcp.to_string(), "\r\n");
    let ask = ask.replace("Connection: close\r\n", "");
    first.write_all(ask.as_bytes()).unwrap();
    first.read_exact(&mut [0; 15]).unwrap();
    // The place is taken: this one waits in the kernel's queue until the first has gone.
    let mut second = connect(world.tcp);
    second.write_all(request("GET /livez", &world.tcp.to_string(), "\r\n").as_bytes()).unwrap();
    assert_eq!(world.local("GET /livez", "\r\n").status, 200);
    assert_eq!(world.network(world.metrics, "GET /metrics").status, 200);
    drop(first);
    assert_eq!(answer(second).status, 200);
}

#[test]
fn a_bug_behind_one_request_costs_that_connection() {
    let world = World::new();
    world.process.status.lock().unwrap().version = "panic".to_owned();
    let mut client = world.socket();
    client.write_all(request("GET /api/v1/status", "localhost", "\r\n").as_bytes()).unwrap();
    assert!(everything(client).is_empty());
    assert_eq!(world.local("GET /livez", "\r\n").status, 200);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let world = World::new();
    let text =
        "GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let mut client = world.socket();
    client.write_all(text.as_bytes()).unwrap();
    let text = String::from_utf8(everything(client)).unwrap();
    let first = text.find("HTTP/1.1 200").unwrap();
    assert!(text[first..].contains("HTTP/1.1 404"), "{text}");
}

#[test]
fn only_loopback_may_be_plain() {
    let cases = [
        ("127.0.0.1:1", true),
        ("127.9.9.9:1", true),
        ("[::1]:1", true),
        ("[::ffff:127.0.0.1]:1", true),
        ("0.0.0.0:1", false),
        ("[::]:1", false),
        ("192.0.2.1:1", false),
        ("[fe80::1]:1", false),
    ];
    for (addr, expected) in cases {
        assert_eq!(crate::admin::server::is_loopback(addr.parse().unwrap()), expected, "{addr}");
    }
}

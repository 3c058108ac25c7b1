//! Where a caller is when a proxy stands in front of the gateway (SECURITY R17).

use super::{
    harness::{Gateway, Log, Setup, Upstream},
    wire::{End, Wire},
};
use ringward::audit::Record;
use std::time::Instant;

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const V2: &str = "client_address = { proxy_protocol = \"v2\", from = \"127.0.0.0/8\" }";

/// A header of version 2 with a block that begins with an IPv4 source.
fn header(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = (block.len() as u16).to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, block].concat()
}

/// From 203.0.113.9 port 4711, with a value behind the addresses.
fn from_afar() -> Vec<u8> {
    header(0x21, 0x11, &[203, 0, 113, 9, 127, 0, 0, 1, 0x12, 0x67, 0x01, 0xbb, 0x04, 0, 1, 0])
}

/// The address that the next request is said to come from.
#[track_caller]
fn forwarded_for(upstream: &Upstream, client: &mut Wire) -> String {
    let mut served = upstream.accept();
    let request = served.request();
    served.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
    assert_eq!(client.response().text(), "ok");
    request.head.get("x-forwarded-for").expect("the gateway sets it").to_owned()
}

/// The peers of all INTENTs.
fn peers(log: &Log) -> Vec<String> {
    let heads = log.records.iter().filter_map(|record| match record {
        Record::Intent(intent) => intent.head.peer,
        _ => None,
    });
    heads.map(|peer| peer.to_string()).collect()
}

#[track_caller]
fn refused(gateway: &Gateway, bytes: &[u8]) {
    let before = gateway.metric("ringward_proxy_headers_refused_total");
    let mut client = gateway.connect();
    client.send(bytes);
    // Bytes that nobody reads any more make it a reset.
    let (rest, _) = client.rest();
    assert_eq!(rest, b"", "nothing is answered");
    gateway.until("ringward_proxy_headers_refused_total", before + 1.0);
}

#[test]
fn a_proxy_header_says_whose_connection_it_is() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).listen(V2).start();
    // In one piece with the request, twice on the same connection.
    let mut client = gateway.ask([&from_afar()[..], GET.as_bytes()].concat());
    assert_eq!(forwarded_for(&upstream, &mut client), "203.0.113.9");
    client.send(GET);
    assert_eq!(forwarded_for(&upstream, &mut client), "203.0.113.9");
    // A byte at a time; and what a caller says of itself counts for nothing.
    let mut client = gateway.connect();
    client.slowly(from_afar()).send("GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 8.8.8.8\r\n\r\n");
    assert_eq!(forwarded_for(&upstream, &mut client), "203.0.113.9");
    // The proxy for itself, and a client whose address it does not know.
    for own in [header(0x20, 0, b""), header(0x21, 0, b""), header(0x21, 0x31, &[0; 216])] {
        let mut client = gateway.ask([&own[..], GET.as_bytes()].concat());
        assert_eq!(forwarded_for(&upstream, &mut client), "127.0.0.1");
    }
    drop(client);
    let log = gateway.stop(6, 0);
    let peers = peers(&log);
    assert_eq!(peers[..3], ["203.0.113.9:4711"; 3]);
    assert!(peers[3..].iter().all(|peer| peer.starts_with("127.0.0.1:")), "{peers:?}");
}

#[test]
fn a_connection_without_its_proxy_header_is_refused() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).listen(V2).start();
    refused(&gateway, GET.as_bytes());
    refused(&gateway, b"PROXY TCP4 203.0.113.9 127.0.0.1 4711 443\r\n");
    refused(&gateway, &header(0x22, 0x11, &[0; 12]));
    refused(&gateway, &header(0x21, 0x11, &[0; 11]));
    refused(&gateway, &header(0x20, 0x11, &[0; 5_000]));
    // An end in its middle.
    let mut client = gateway.connect();
    client.send(&from_afar()[..20]).finish();
    assert_eq!(client.end(), End::Clean);
    upstream.is_left_alone();
    gateway.stop(0, 0);
}

#[test]
fn a_peer_that_is_no_proxy_may_not_speak_for_others() {
    let upstream = Upstream::bind();
    let other = V2.replace("127.0.0.0/8", "10.0.0.0/8");
    let gateway = Setup::to(upstream.address).listen(&other).start();
    refused(&gateway, &[&from_afar()[..], GET.as_bytes()].concat());
    upstream.is_left_alone();
    gateway.stop(0, 0);
}

#[test]
fn version_1_is_a_line() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).listen(&V2.replace("v2", "v1")).start();
    let mut client = gateway.connect();
    client.slowly("PROXY TCP6 2001:db8::7 ::1 4711 443\r\n").send(GET);
    assert_eq!(forwarded_for(&upstream, &mut client), "2001:db8::7");
    let mut client = gateway.ask(format!("PROXY UNKNOWN\r\n{GET}"));
    assert_eq!(forwarded_for(&upstream, &mut client), "127.0.0.1");
    refused(&gateway, &from_afar());
    drop(client);
    gateway.stop(2, 0);
}

#[test]
fn a_field_of_a_trusted_proxy_says_whose_request_it_is() {
    let upstream = Upstream::bind();
    let dir = tempfile::tempdir().unwrap();
    let rule = "client_address = { header = \"X-Forwarded-For\", from = [\"127.0.0.1\", \"10.0.0.0/8\"] }";
    let gateway = Setup { log: "access.log", ..Setup::to(upstream.address).listen(rule) }.start_in(dir);
    let mut client = gateway.connect();
    for (fields, expected) in [
        ("x-forwarded-for: 8.8.8.8, 203.0.113.9, 10.1.2.3\r\n", "203.0.113.9"),
        ("x-forwarded-for: 8.8.8.8\r\nX-Forwarded-For: [2001:db8::7]:99\r\n", "2001:db8::7"),
        ("x-forwarded-for: 8.8.8.8, unknown\r\n", "127.0.0.1"),
        ("x_forwarded_for: 8.8.8.8\r\nx-real-ip: 8.8.8.8\r\nforwarded: for=8.8.8.8\r\n", "127.0.0.1"),
        ("", "127.0.0.1"),
    ] {
        client.send(format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n"));
        assert_eq!(forwarded_for(&upstream, &mut client), expected, "{fields}");
    }
    drop(client);
    let began = Instant::now();
    let lines = loop {
        let text = std::fs::read_to_string(gateway.dir.path().join("access.log")).unwrap_or_default();
        if text.lines().count() == 5 {
            break text;
        }
        assert!(began.elapsed() < super::wire::PATIENCE, "{text}");
        std::thread::yield_now();
    };
    let first: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(first["peer"], "203.0.113.9:0");
    assert!(first["via"].as_str().unwrap().starts_with("127.0.0.1:"), "{first}");
    let log = gateway.stop(5, 0);
    assert_eq!(peers(&log)[..2], ["203.0.113.9:0", "[2001:db8::7]:99"]);
}

#[test]
fn a_field_of_anybody_else_says_nothing() {
    let upstream = Upstream::bind();
    let rule = "client_address = { header = \"x-forwarded-for\", from = \"10.0.0.0/8\" }";
    let gateway = Setup::to(upstream.address).listen(rule).start();
    let mut client = gateway.ask("GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 10.9.9.9\r\n\r\n");
    let mut served = upstream.accept();
    assert_eq!(served.request().head.get("x-forwarded-for"), Some("127.0.0.1"));
    served.send(OK);
    client.response();
    drop(client);
    gateway.stop(1, 0);
}

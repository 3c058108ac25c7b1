//! How many callers there is room for, and how much of their bodies.

use super::{
    bounds::{READ, hits},
    harness::{Gateway, Setup, Upstream},
    tls::{Authority, listen_with_tls},
    wire::{End, PATIENCE, Wire},
};
use std::time::Instant;

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const MIB: usize = 1 << 20;

/// An upstream that answers everything.
fn answering() -> std::net::SocketAddr {
    Upstream::bind().serve(|mut served: Wire| {
        while let Ok(head) = served.try_head() {
            served.body(head, false);
            served.send(OK);
        }
    })
}

/// A connection that was answered and waits for its next request.
#[track_caller]
fn idle(gateway: &Gateway) -> Wire {
    let mut client = gateway.ask(GET);
    assert_eq!(client.response().text(), "ok");
    client
}

#[track_caller]
fn is_turned_away(mut client: Wire, limit: &str) {
    let response = client.response();
    response.is_refusal(503, "overloaded", limit);
    assert_eq!(response.head.get("retry-after"), Some("1"));
    assert_eq!((response.head.get("connection"), client.end()), (Some("close"), End::Clean));
}

/// Asks until there is room again.
#[track_caller]
fn until_served(gateway: &Gateway) {
    let began = Instant::now();
    while gateway.ask(GET).response().status() != 200 {
        assert!(began.elapsed() < PATIENCE, "there is no room again");
    }
}

#[test]
fn an_address_has_so_many_connections() {
    let setup = Setup::to(answering()).tables("[limits]\nconnections_per_address = 3");
    let gateway = setup.start();
    let mut clients: Vec<_> = (0..3).map(|_| idle(&gateway)).collect();
    is_turned_away(gateway.connect(), "address_connections");
    is_turned_away(gateway.ask(GET), "address_connections");
    assert_eq!(hits(&gateway, "address_connections"), 2.0);
    // Those that are there go on, and one that leaves makes room.
    clients[0].send(GET);
    assert_eq!(clients[0].response().text(), "ok");
    clients.pop();
    gateway.until("ringward_connections{shard=\"0\"}", 2.0);
    drop(idle(&gateway));
    drop(clients);
    gateway.stop(5, 0);
}

#[test]
fn all_callers_together_have_so_many_connections_and_the_operators_their_own() {
    let mut setup = Setup::to(answering()).tables("[limits]\nconnections_max = 3");
    setup.cores = 2;
    let gateway = setup.start();
    let clients: Vec<_> = (0..3).map(|_| idle(&gateway)).collect();
    is_turned_away(gateway.ask(GET), "connections");
    let status: serde_json::Value = serde_json::from_str(&gateway.admin("/api/v1/status")).unwrap();
    let limits = &status["limits"];
    assert_eq!((&limits["connections"], &limits["connections_max"]), (&3.into(), &3.into()));
    assert_eq!(limits["hits"], serde_json::json!([["connections", 1]]));
    drop(clients);
    until_served(&gateway);
    let log = gateway.stop(4, 0);
    assert_eq!(log.refusals().count(), 0, "no request had begun");
}

#[test]
fn who_is_turned_away_learns_it_within_tls() {
    let authority = Authority::new();
    let (setup, dir) = listen_with_tls(Setup::to(answering()), &authority);
    let gateway = setup.tables("[limits]\nconnections_max = 1").start_in(dir);
    let mut first = authority.client(gateway.address);
    first.send(GET.replace("host: a", "host: localhost"));
    assert_eq!(first.response().text(), "ok");
    let mut second = authority.client(gateway.address);
    second.response().is_refusal(503, "overloaded", "connections");
    assert_eq!(second.end(), End::Clean);
    drop((first, second));
    gateway.stop(1, 0);
}

/// A bound that a reload changes holds for the next connection.
#[test]
fn a_reload_changes_the_bounds() {
    let setup = Setup::to(answering());
    let gateway = setup.clone().start();
    let first = idle(&gateway);
    gateway.reload(&setup.clone().tables("[limits]\nconnections_max = 1")).unwrap();
    is_turned_away(gateway.ask(GET), "connections");
    gateway.reload(&setup).unwrap();
    drop((idle(&gateway), first));
    gateway.stop(2, 0);
}

fn small_memory() -> Setup {
    let setup = Setup::to(answering()).tables("[limits]\nmemory = \"16MiB\"").tables(READ);
    setup.route("policies = [\"read\", \"default\"]\nmax_body = \"64MiB\"")
}

fn post(bytes: usize) -> String {
    format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {bytes}\r\n\r\n")
}

#[test]
fn a_body_that_does_not_fit_into_memory_is_refused() {
    let gateway = small_memory().start();
    let mut client = gateway.ask(post(20 * MIB));
    // The rest may find nobody who reads it.
    for _ in 0..20 {
        if client.is_readable() || client.try_send(vec![b'x'; MIB]).is_err() {
            break;
        }
    }
    client.response().is_refusal(503, "overloaded", "memory_body");
    gateway.until("ringward_limit_hits_total{reason=\"memory_body\"}", 1.0);
    gateway.until("ringward_memory_bytes{shard=\"0\"}", 0.0);
    // One that fits is served.
    let mut client = gateway.ask(post(4 * MIB));
    client.send(vec![b'x'; 4 * MIB]);
    assert_eq!(client.response().text(), "ok");
    drop(client);
    let log = gateway.stop(1, 1);
    assert_eq!(log.reasons()[0].0, "overloaded");
}

#[test]
fn short_memory_closes_idle_connections_and_turns_new_ones_away() {
    let gateway = small_memory().start();
    let mut idlers: Vec<_> = (0..40).map(|_| idle(&gateway)).collect();
    let mut large = gateway.ask(post(13 * MIB));
    large.send(vec![b'x'; 13 * MIB - 1]);
    // The first that began to idle are the first that are closed, 16 at one look.
    for client in &mut idlers {
        assert_eq!(client.end(), End::Clean);
    }
    // They are counted right after they are closed.
    gateway.until("ringward_limit_hits_total{reason=\"memory_idle\"}", 40.0);
    is_turned_away(gateway.ask(GET), "memory_connection");
    let status: serde_json::Value = serde_json::from_str(&gateway.admin("/api/v1/status")).unwrap();
    assert!(status["limits"]["memory_bytes"].as_u64().unwrap() > 12 << 20, "{status}");
    assert_eq!(status["limits"]["memory_max_bytes"], 16 << 20);
    // What is under way goes on, and then there is room again.
    large.send("x");
    assert_eq!(large.response().text(), "ok");
    drop(large);
    until_served(&gateway);
    let forwarded = gateway.metric("ringward_body_bytes_total{path=\"policy\"}");
    assert!(forwarded >= (13 * MIB) as f64, "{forwarded}");
    gateway.stop(42, 0);
}

//! How many upstream connections there are, how long they live, and who waits for one.

use super::{
    harness::{Gateway, Setup, Upstream},
    wire::{End, Wire},
};
use ringward::audit::{Cause, Place};

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn gateway(upstream: &Upstream, pool: &str) -> Gateway {
    Setup::to(upstream.address).upstream(&format!("pool = {{ {pool} }}")).start()
}

/// How often connections were closed for this reason.
fn retired(gateway: &Gateway, reason: &str, count: f64) {
    gateway.until(&format!("ringward_upstream_retired_total{{upstream=\"up\",reason=\"{reason}\"}}"), count);
}

/// One whole exchange on a connection that `served` may be.
#[track_caller]
fn exchange(gateway: &Gateway, served: &mut Wire) {
    let mut client = gateway.ask(GET);
    served.request();
    served.send(OK);
    assert_eq!(client.response().text(), "ok");
}

#[test]
fn an_idle_connection_is_closed_in_time() {
    let upstream = Upstream::bind();
    let gateway = gateway(&upstream, "idle = \"50ms\"");
    let mut client = gateway.ask(GET);
    let mut served = upstream.accept();
    served.request();
    served.send(OK);
    client.response();
    assert_eq!(served.end(), End::Clean);
    retired(&gateway, "idle", 1.0);
    gateway.until("ringward_upstream_connections{upstream=\"up\"}", 0.0);
    drop(client);
    gateway.stop(1, 0);
}

#[test]
fn an_old_connection_carries_no_further_request() {
    let upstream = Upstream::bind();
    let gateway = gateway(&upstream, "max_age = \"1ms\"");
    let mut client = gateway.connect();
    for _ in 0..2 {
        client.send(GET);
        let mut served = upstream.accept();
        served.request();
        served.send(OK);
        client.response();
        assert_eq!(served.end(), End::Clean);
    }
    retired(&gateway, "age", 2.0);
    drop(client);
    gateway.stop(2, 0);
}

#[test]
fn only_so_many_idle_connections_are_kept() {
    let upstream = Upstream::bind();
    let gateway = gateway(&upstream, "max_idle = 1");
    let mut clients = [gateway.ask(GET), gateway.ask(GET)];
    let mut served = [upstream.accept(), upstream.accept()];
    for one in &mut served {
        one.request();
        one.send(OK);
    }
    clients.iter_mut().for_each(|client| drop(client.response()));
    retired(&gateway, "overflow", 1.0);
    gateway.until("ringward_upstream_idle{upstream=\"up\"}", 1.0);
    drop(clients);
    gateway.stop(2, 0);
}

#[test]
fn why_connections_end_is_counted_and_shown() {
    let upstream = Upstream::bind();
    let gateway = gateway(&upstream, "max_idle = 4");
    // Its peer closes it while it idles.
    let mut client = gateway.ask(GET);
    let mut served = upstream.accept();
    served.request();
    served.send(OK);
    client.response();
    drop(served);
    retired(&gateway, "closed", 1.0);
    // Its peer wants it closed.
    client.send(GET);
    let mut served = upstream.accept();
    served.request();
    served.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok");
    client.response();
    retired(&gateway, "unfit", 1.0);
    let status: serde_json::Value = serde_json::from_str(&gateway.admin("/api/v1/status")).unwrap();
    let shown = &status["upstreams"][0]["connections"];
    assert_eq!(shown["retired"], serde_json::json!({ "closed": 1, "unfit": 1 }), "{status}");
    assert_eq!((&shown["connected"], &shown["open"]), (&2.into(), &0.into()), "{status}");
    drop(client);
    gateway.stop(2, 0);
}

#[test]
fn requests_wait_for_a_connection_in_turn() {
    let upstream = Upstream::bind();
    let gateway = gateway(&upstream, "max_connections = 1, max_waiting = 2");
    let mut first = gateway.ask("GET /1 HTTP/1.1\r\nhost: a\r\n\r\n");
    let mut served = upstream.accept();
    served.request();
    let mut second = gateway.ask("GET /2 HTTP/1.1\r\nhost: a\r\n\r\n");
    gateway.until("ringward_upstream_waiting{upstream=\"up\"}", 1.0);
    let mut third = gateway.ask("GET /3 HTTP/1.1\r\nhost: a\r\n\r\n");
    gateway.until("ringward_upstream_waiting{upstream=\"up\"}", 2.0);
    // One more is too many; it is told at once.
    let mut fourth = gateway.ask(GET);
    let refused = fourth.response();
    refused.is_refusal(503, "overloaded", "as many connections");
    assert_eq!(refused.head.get("retry-after"), Some("1"));
    // The connection goes from one to the next.
    served.send(OK);
    first.response();
    assert_eq!(served.request().head.start, "GET /2 HTTP/1.1");
    // When it ends the next one gets its place.
    served.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok");
    second.response();
    let mut served = upstream.accept();
    assert_eq!(served.request().head.start, "GET /3 HTTP/1.1");
    served.send(OK);
    third.response();
    upstream.is_left_alone();
    exchange(&gateway, &mut served);
    gateway.until("ringward_upstream_overloaded_total{upstream=\"up\"}", 1.0);
    drop((first, second, third, fourth));
    let log = gateway.stop(5, 0);
    assert!(log.ends().contains(&(Cause::Refused, Place::Connect)), "{:?}", log.ends());
}

#[test]
fn who_waits_for_too_long_is_told() {
    let upstream = Upstream::bind();
    let gateway = gateway(&upstream, "max_connections = 1, wait = \"100ms\"");
    let mut first = gateway.ask(GET);
    let mut served = upstream.accept();
    served.request();
    gateway.ask(POST).response().is_refusal(503, "overloaded", "none became free");
    served.send(OK);
    first.response();
    upstream.is_left_alone();
    drop(first);
    gateway.stop(2, 0);
}

#[test]
fn who_goes_away_while_waiting_is_forgotten() {
    let upstream = Upstream::bind();
    let gateway = gateway(&upstream, "max_connections = 1, wait = \"1h\"");
    let mut first = gateway.ask(GET);
    let mut served = upstream.accept();
    served.request();
    let gone = gateway.ask(GET);
    gateway.until("ringward_upstream_waiting{upstream=\"up\"}", 1.0);
    drop(gone);
    gateway.until("ringward_requests_in_flight", 1.0);
    gateway.until("ringward_upstream_waiting{upstream=\"up\"}", 0.0);
    served.send(OK);
    first.response();
    exchange(&gateway, &mut served);
    upstream.is_left_alone();
    drop(first);
    gateway.stop(3, 0);
}

/// A request that ends in whatever way gives its place back.
#[test]
fn no_place_is_lost() {
    let upstream = Upstream::bind();
    let gateway = gateway(&upstream, "max_connections = 1");
    for turn in 0..3 {
        // The caller goes away.
        let client = gateway.ask(GET);
        let mut served = upstream.accept();
        served.request();
        drop(client);
        assert_eq!(served.end(), End::Cut, "{turn}");
        // Upstream does.
        let mut client = gateway.ask(GET);
        let mut served = upstream.accept();
        served.request();
        drop(served);
        client.response().is_refusal(502, "upstream_unreachable", "closed");
    }
    let mut client = gateway.ask(GET);
    let mut served = upstream.accept();
    served.request();
    served.send(OK);
    client.response();
    drop(client);
    gateway.stop(7, 0);
}

#[test]
fn a_reload_applies_new_bounds_and_closes_what_no_longer_belongs() {
    let upstream = Upstream::bind();
    let other = Upstream::bind();
    let setup = Setup::to(upstream.address);
    let gateway = setup.clone().start();
    let mut client = gateway.ask(GET);
    let mut served = upstream.accept();
    served.request();
    served.send(OK);
    client.response();
    gateway.reload(&setup.clone().upstream("pool = { max_connections = 1, max_waiting = 0 }")).unwrap();
    client.send(GET);
    served.request();
    gateway.ask(GET).response().is_refusal(503, "overloaded", "");
    served.send(OK);
    client.response();
    gateway.reload(&Setup::to(other.address)).unwrap();
    assert_eq!(served.end(), End::Clean);
    retired(&gateway, "reload", 1.0);
    drop(client);
    gateway.stop(3, 0);
}

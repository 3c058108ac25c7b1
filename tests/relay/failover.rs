//! Upstreams with several addresses, some of which are dead.

use super::{
    harness::{Gateway, Setup, Upstream},
    upstreams::black_hole,
    wire::Wire,
};
use ringward::audit::{Cause, Place};
use std::net::{SocketAddr, TcpListener};

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";

/// An upstream with these addresses.
fn several(addresses: &[SocketAddr], more: &str) -> Setup {
    let addresses: Vec<String> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
    let addresses = format!("addresses = [{}]\n{more}", addresses.join(", "));
    Setup::to_url("http://up.test").upstream(&addresses)
}

/// A port that nobody listens on: it was free a moment ago.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Answers every request on every connection with its own name.
fn named(name: &'static str) -> SocketAddr {
    Upstream::bind().serve(move |mut wire: Wire| {
        while wire.try_head().is_ok() {
            let answer = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\n{name}");
            if wire.try_send(answer).is_err() {
                return;
            }
        }
    })
}

#[track_caller]
fn answer(gateway: &Gateway) -> String {
    gateway.ask(GET).response().text()
}

#[test]
fn connections_take_turns_over_the_addresses() {
    let gateway = several(&[named("a"), named("b"), named("c")], "").start();
    let answers: Vec<_> = (0..6).map(|_| answer(&gateway)).collect();
    assert_eq!(answers.concat(), "bcabca");
    gateway.stop(6, 0);
}

#[test]
fn the_host_stays_that_of_the_url() {
    let upstream = Upstream::bind();
    let gateway = several(&[upstream.address], "").start();
    let mut client = gateway.ask(GET);
    let mut served = upstream.accept();
    assert_eq!(served.request().head.get("host"), Some("up.test"));
    served.send(OK);
    client.response();
    drop(client);
    gateway.stop(1, 0);
}

#[test]
fn a_dead_address_is_passed_over_and_then_set_aside() {
    let gateway = several(&[nobody(), named("a")], "").start();
    for _ in 0..8 {
        assert_eq!(answer(&gateway), "a");
    }
    gateway.until("ringward_upstream_ejections_total{upstream=\"up\"}", 1.0);
    gateway.until("ringward_upstream_ejected{upstream=\"up\"}", 1.0);
    gateway.stop(8, 0);
}

#[test]
fn an_address_that_comes_back_is_used_again() {
    let free = nobody();
    let gateway = several(&[free, named("a")], "").start();
    (0..4).for_each(|_| assert_eq!(answer(&gateway), "a"));
    gateway.until("ringward_upstream_ejected{upstream=\"up\"}", 1.0);
    let back = TcpListener::bind(free).unwrap();
    let thread = std::thread::spawn(move || {
        let (socket, _) = back.accept().unwrap();
        let mut wire = Wire::new(socket);
        wire.request();
        wire.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\nb");
    });
    let mut asked = 4;
    while answer(&gateway) != "b" {
        asked += 1;
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    thread.join().unwrap();
    gateway.until("ringward_upstream_ejected{upstream=\"up\"}", 0.0);
    gateway.stop(asked + 1, 0);
}

/// The silent address would cost the whole time; the next one is tried meanwhile.
#[test]
fn an_address_that_says_nothing_does_not_cost_the_whole_time() {
    let (silent, _hole) = black_hole();
    let gateway = several(&[silent, named("a")], "timeout = { connect = \"60s\" }").start();
    for _ in 0..6 {
        assert_eq!(answer(&gateway), "a");
    }
    gateway.until("ringward_upstream_ejected{upstream=\"up\"}", 1.0);
    gateway.stop(6, 0);
}

/// It accepts, and then the handshake hangs.
#[test]
fn the_time_to_connect_holds_for_all_addresses_with_tls() {
    let mute = [Upstream::bind(), Upstream::bind()];
    let addresses = mute.each_ref().map(|one| one.address);
    let setup = Setup { upstream: String::new(), ..several(&addresses, "") };
    let urls: Vec<String> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
    let lines = format!(
        "url = \"https://up.test\"\naddresses = [{}]\ntimeout = {{ connect = \"300ms\" }}",
        urls.join(", ")
    );
    let gateway = setup.upstream(&lines).start();
    let began = std::time::Instant::now();
    let mut client = gateway.ask(GET);
    client.response().is_refusal(502, "upstream_tls", "took too long");
    assert!(began.elapsed() < super::wire::PATIENCE);
    drop(client);
    let log = gateway.stop(1, 0);
    let reason = log.outcomes().next().and_then(|outcome| outcome.reason.clone()).unwrap();
    assert!(addresses.iter().all(|address| reason.contains(&address.to_string())), "{reason}");
}

#[test]
fn what_is_wrong_with_each_address_is_recorded_and_not_told() {
    let dead = [nobody(), nobody()];
    let dir = tempfile::tempdir().unwrap();
    let gateway = Setup { log: "access.log", ..several(&dead, "") }.start_in(dir);
    let mut client = gateway.ask(GET);
    let response = client.response();
    response.is_refusal(502, "upstream_unreachable", "refused");
    for inside in dead.iter().map(ToString::to_string).chain(["127.0.0.1".into(), "up.test".into()]) {
        assert!(!format!("{response:?}").contains(&inside), "{inside} in {response:?}");
    }
    drop(client);
    let path = gateway.dir.path().join("access.log");
    let began = std::time::Instant::now();
    let line = loop {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        if text.ends_with('\n') {
            break text;
        }
        assert!(began.elapsed() < super::wire::PATIENCE);
        std::thread::yield_now();
    };
    let log = gateway.stop(1, 0);
    assert_eq!(log.ends(), [(Cause::UpstreamGone, Place::Connect)]);
    let reason = log.outcomes().next().and_then(|outcome| outcome.reason.clone()).unwrap();
    for address in dead {
        assert!(
            reason.contains(&format!("{address}: ")) && line.contains(&format!("{address}: ")),
            "{reason}"
        );
    }
}

#[test]
fn names_and_addresses_may_stand_side_by_side() {
    let upstream = named("a");
    let lines = format!("addresses = [\"localhost:{}\", \"{upstream}\"]", upstream.port());
    let gateway = Setup::to_url("http://up.test").upstream(&lines).start();
    assert_eq!(answer(&gateway), "a");
    gateway.stop(1, 0);
}

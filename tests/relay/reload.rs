//! Configurations that are swapped while requests go on.

use super::{
    harness::{Setup, Upstream, explain},
    wire::{PATIENCE, Wire},
};
use ringward::{app, audit::Record};
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Answers everything.
fn obliging(mut served: Wire) {
    while let Ok(head) = served.try_head() {
        served.body(head, false);
        if served.try_send(OK).is_err() {
            return;
        }
    }
}

#[test]
fn no_request_fails_while_the_configuration_is_swapped() {
    const CALLERS: usize = 4;
    const RELOADS: u64 = 20;
    let mut setup = Setup::to(Upstream::bind().serve(obliging));
    setup.cores = 2;
    let gateway = setup.clone().start();
    let (over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (over, answered, address) = (over.clone(), answered.clone(), gateway.address);
            thread::spawn(move || {
                let mut client = Wire::connect(address);
                while !over.load(Ordering::Relaxed) {
                    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi");
                    let response = client.response();
                    assert_eq!((response.status(), &*response.text()), (200, "ok"), "{response:?}");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let other = "[upstreams.before]\nurl = \"http://127.0.0.1:9\"
        [[route]]\nname = \"before\"\nmatch = { listen = \"in\", path = \"/before\" }\nidentity = []
        upstream = \"before\"\npolicies = [\"default\"]";
    for turn in 1..=RELOADS {
        let text = if turn % 2 == 0 { setup.clone() } else { setup.clone().tables(other) };
        assert_eq!(gateway.reload(&text).map_err(|error| explain(&error)), Ok(turn + 1));
        // Some requests must have run on this one before the next comes.
        let before = answered.load(Ordering::Relaxed);
        while answered.load(Ordering::Relaxed) < before + 2 * CALLERS as u64
            && !callers.iter().any(thread::JoinHandle::is_finished)
        {
            thread::yield_now();
        }
    }
    over.store(true, Ordering::Relaxed);
    callers.into_iter().for_each(|caller| caller.join().expect("no request failed"));
    // Upstream kept its connections: one for each caller and shard at most.
    let total = |name: &str| gateway.metric(&format!("ringward_upstream_{name}_total{{upstream=\"up\"}}"));
    let began = Instant::now();
    while total("connected") + total("reused") < answered.load(Ordering::Relaxed) as f64 {
        assert!(began.elapsed() < PATIENCE, "shards report what they count");
        thread::yield_now();
    }
    assert!(total("connected") <= (2 * CALLERS) as f64);
    let log = gateway.stop(answered.load(Ordering::Relaxed), 0);
    // Every generation is in the log before the first exchange that cites it.
    let mut known = BTreeSet::new();
    for record in &log.records {
        match record {
            Record::Config(config) => drop(known.insert(config.generation)),
            Record::Intent(intent) => assert!(known.contains(&intent.generation)),
            _ => {}
        }
    }
    assert_eq!(known.len() as u64, RELOADS + 1);
}

#[test]
fn a_broken_file_keeps_the_old_configuration_and_says_where() {
    let upstream = Upstream::bind();
    let setup = Setup::to(upstream.address);
    let gateway = setup.clone().start();
    let text = setup.text();
    let line = text.lines().position(|line| line == "upstream = \"up\"").unwrap() + 1;
    let error = gateway.reload_text(&text.replace("upstream = \"up\"", "upstream = \"upp\"")).unwrap_err();
    let said = explain(&error);
    assert!(
        said.contains("unknown upstream `upp`") && said.contains(&format!("ringward.toml:{line}:12")),
        "{said}"
    );
    assert!(said.contains("did you mean `up`?"), "{said}");
    let status = gateway.admin("/api/v1/status");
    assert!(status.contains(&format!("line {line}: unknown upstream `upp`")), "{status}");
    assert_eq!(gateway.metric("ringward_config_last_reload_successful"), 0.0);
    // What only a restart can change is refused too.
    let error =
        gateway.reload_text(&text.replace("name = \"in\"", "name = \"in\"\n")).map_err(|e| e.to_string());
    assert_eq!(error, Ok(2), "a blank line changes nothing");
    let error = gateway.reload_text(&text.replace("127.0.0.1:0", "127.0.0.1:1")).unwrap_err();
    assert!(matches!(error, app::Error::NeedsRestart("listeners")), "{error}");
    let mut client = gateway.ask(GET);
    let mut served = upstream.accept();
    served.request();
    served.send(OK);
    assert_eq!(client.response().text(), "ok");
    drop(client);
    gateway.stop(1, 0);
}

/// A kept-alive connection: the next request runs on the new rules, the one under way on its own.
#[test]
fn an_exchange_keeps_the_rules_it_began_with() {
    let upstream = Upstream::bind();
    let setup = Setup::to(upstream.address);
    let gateway = setup.clone().start();
    let mut client = gateway.ask("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nhi");
    let mut served = upstream.accept();
    served.head();
    let text = setup.text().replace("action = \"allow\"", "action = \"block\"\nreason = \"Closed.\"");
    assert_eq!(gateway.reload_text(&text).map_err(|error| explain(&error)), Ok(2));
    client.send("ho");
    assert_eq!(served.exactly(4), b"hiho");
    served.send(OK);
    assert_eq!(client.response().text(), "ok");
    client.send(GET);
    client.response().is_refusal(403, "policy_denied", "Closed.");
    drop(client);
    let log = gateway.stop(1, 1);
    assert_eq!(log.refusals().next().unwrap().generation, 2);
}

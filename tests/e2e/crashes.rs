//! The gateway dies between the use of an approval and the answer: nothing is sent twice, and the log says
//! that nobody knows.

use super::support::{
    eventually,
    gateway::Gateway,
    upstream::{Connection, Upstream},
};
use serde_json::Value;
use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
};

/// A gateway whose POSTs wait for whoever runs this test.
fn holding(url: &str) -> String {
    let me = ringward::runtime::sys::user_id();
    format!(
        "[upstreams.up]\nurl = \"{url}\"\ntimeout = {{ connect = \"1m\" }}\n\
         [[route]]\nname = \"up\"\nmatch = {{ listen = \"main\", path = \"/**\" }}\nidentity = []\n\
         upstream = \"up\"\npolicies = [\"ask\", \"default\"]\n\
         [[policy]]\nname = \"ask\"\nwhen = {{ method = \"POST\" }}\naction = \"approve\"\n\
         reason = \"Somebody must look.\"\napproval = {{ by = [\"local:{me}\"], self = true }}\n"
    )
}

fn run(gateway: &Gateway, arguments: &[&str]) -> String {
    let output = gateway.command(arguments);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// The request that is approved, byte for byte, and what comes of it.
fn post(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = "POST /once HTTP/1.1\r\nhost: gw\r\nconnection: close\r\ncontent-length: 5\r\n\r\n";
    let (_, mut answer) = (stream.write_all(format!("{head}hello").as_bytes()), vec![]);
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// Approves a request, kills the gateway once `upstream` has heard of it, starts it again, and asks again.
fn check(routes: &str, upstream: &Upstream, has_heard: impl Fn() -> bool) {
    let mut gateway = Gateway::start_in(tempfile::tempdir().unwrap(), routes);
    let address = gateway.address();
    thread::scope(|scope| {
        // It ends with the gateway.
        scope.spawn(|| post(&address));
        let id = eventually("a card", || {
            let listed = run(&gateway, &["approvals", "list", "--state", "pending", "--json"]);
            let cards: Vec<Value> = serde_json::from_str(&listed).unwrap();
            Some(cards.first()?["id"].as_str()?.to_owned())
        });
        run(&gateway, &["approvals", "approve", &id]);
        eventually("the upstream's connection", || has_heard().then_some(()));
        gateway.process.signal("KILL");
        gateway.process.wait();
    });
    let Gateway { folder, process } = gateway;
    drop(process);
    let connections = upstream.connections();
    let gateway = Gateway::start_in(folder, routes);
    let again = post(&gateway.address());
    assert!(again.starts_with("HTTP/1.1 409 ") && again.contains("approval_consumed"), "{again}");
    assert!(again.contains("the gateway ended meanwhile"), "{again}");
    let exported = run(&gateway, &["sessions", "list", "--json"]);
    let sessions: Vec<Value> = serde_json::from_str(&exported).unwrap();
    let causes = sessions.iter().map(|session| {
        run(&gateway, &["sessions", "export", session["id"].as_str().unwrap(), "--format", "jsonl"])
    });
    let causes: String = causes.collect();
    assert!(causes.contains("\"lost\""), "{causes}");
    run(&gateway, &["audit", "verify", gateway.folder.path().join("audit").to_str().unwrap()]);
    assert_eq!(upstream.connections(), connections, "nothing went there again");
}

#[test]
fn what_was_approved_and_not_yet_sent_at_a_crash_is_never_sent() {
    // It takes the connection and never says a word of TLS: the use is recorded, and no byte of the request
    // can have left.
    let upstream = Upstream::start(|mut connection| while connection.read().is_some() {});
    let routes = holding(&format!("https://localhost:{}", upstream.address.port()));
    check(&routes, &upstream, || !upstream.received().is_empty());
    assert!(!upstream.received().contains("/once"));
}

#[test]
fn what_was_approved_and_sent_at_a_crash_is_not_sent_again() {
    let upstream = Upstream::start(|mut connection: Connection| while connection.read_request() {});
    let routes = holding(&format!("http://{}", upstream.address));
    check(&routes, &upstream, || upstream.received().contains("hello"));
    assert_eq!(upstream.received().matches("/once").count(), 1);
}

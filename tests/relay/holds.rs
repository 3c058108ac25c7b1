//! Requests that a policy holds: what people decide, and that nothing goes upstream without it or twice.

use super::{
    harness::{Gateway, Setup, Upstream},
    wire::{PATIENCE, Wire},
};
use ringward::audit::{CardEvent, Cause, Place, Record};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    time::Instant,
};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Who runs this test, over the admin socket.
fn me() -> String {
    format!("local:{}", ringward::runtime::sys::user_id())
}

/// A gateway that holds every POST.
fn holding(upstream: &Upstream, approval: &str) -> Setup {
    let setup = Setup::to(upstream.address).route("policies = [\"ask\", \"default\"]");
    let mut setup = setup.tables(&format!(
        "[[policy]]\nname = \"ask\"\nwhen = {{ method = \"POST\" }}\naction = \"approve\"\n\
         reason = \"Somebody must look.\"\napproval = {{ by = [\"{}\"], self = true{approval} }}",
        me()
    ));
    setup.upstream += "inject = { header = \"x-key\", value = \"${secret:key}\" }\n";
    setup.tables("[secrets.key]\nsource = { file = \"key\" }")
}

fn start(setup: Setup) -> Gateway {
    let dir = tempfile::tempdir().unwrap();
    super::harness::write_private(&dir.path().join("key"), "canary-secret-of-upstream");
    setup.start_in(dir)
}

/// Status and JSON of one order on the admin socket.
fn admin(gateway: &Gateway, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
    let mut stream = UnixStream::connect(gateway.dir.path().join("admin.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let text = body.map(|body| body.to_string()).unwrap_or_default();
    let kind = if text.is_empty() { "" } else { "content-type: application/json\r\n" };
    let length = text.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{kind}content-length: \
         {length}\r\n\r\n{text}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap_or_default())
}

fn cards(gateway: &Gateway) -> Vec<Value> {
    let (status, list) = admin(gateway, "GET", "/api/v1/approvals", None);
    assert_eq!(status, 200, "{list}");
    list["approvals"].as_array().unwrap().clone()
}

/// Waits until so many cards are in a state, and gives them.
#[track_caller]
fn until(gateway: &Gateway, state: &str, count: usize) -> Vec<Value> {
    let began = Instant::now();
    loop {
        let all = cards(gateway);
        let found: Vec<_> = all.iter().filter(|card| card["state"] == state).cloned().collect();
        if found.len() == count {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "no {count} cards are {state}: {all:#?}");
        std::thread::yield_now();
    }
}

fn decide(gateway: &Gateway, card: &Value, decision: Value) -> (u16, Value) {
    let mut decision = decision;
    decision["revision"] = card["revision"].clone();
    let path = format!("/api/v1/approvals/{}/decision", card["id"].as_str().unwrap());
    admin(gateway, "POST", &path, Some(decision))
}

fn approve(gateway: &Gateway, card: &Value) {
    let (status, answer) = decide(gateway, card, json!({ "decision": "approve" }));
    assert_eq!(status, 200, "{answer}");
}

fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nhost: gw\r\nx-mode: plain\r\ncontent-length: {length}\r\n\r\n{body}")
}

fn events(records: &[Record]) -> Vec<CardEvent> {
    let event = |record: &Record| match record {
        Record::Approval(approval) => Some(approval.event),
        _ => None,
    };
    records.iter().filter_map(event).collect()
}

fn uses(records: &[Record]) -> usize {
    records.iter().filter(|record| matches!(record, Record::Consume(_))).count()
}

/// Reads one answer and checks its status; its body.
#[track_caller]
fn answered(client: &mut Wire, status: u16) -> Value {
    let answer = client.response();
    assert_eq!(answer.status(), status, "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap_or_default()
}

#[test]
fn an_approved_request_goes_upstream_once_with_its_bytes() {
    let upstream = Upstream::bind();
    let gateway = start(holding(&upstream, ""));
    let mut client = gateway.ask(post("/x?a=1", "{\"n\":1}"));
    let card = until(&gateway, "pending", 1).remove(0);
    assert_eq!((&card["method"], &card["target"]), (&json!("POST"), &json!("/x?a=1")));
    assert_eq!((&card["excerpt"], &card["reason"]), (&json!("{\"n\":1}"), &json!("Somebody must look.")));
    assert_eq!((&card["client"], &card["secrets"]), (&json!("waiting"), &json!(["key"])));
    upstream.is_left_alone();
    approve(&gateway, &card);
    let mut origin = upstream.accept();
    let request = origin.request();
    assert_eq!(request.head.get("x-key"), Some("canary-secret-of-upstream"));
    assert_eq!(request.body, b"{\"n\":1}");
    origin.send(OK);
    assert_eq!(client.response().body, b"ok");
    until(&gateway, "consumed", 1);
    // The same request again is another one.
    client.send(post("/x?a=1", "{\"n\":1}"));
    let again = until(&gateway, "pending", 1).remove(0);
    assert_ne!(again["id"], card["id"]);
    decide(&gateway, &again, json!({ "decision": "deny", "reason": "Once is enough." }));
    let refused = answered(&mut client, 403);
    assert_eq!(refused["code"], "approval_denied");
    assert_eq!(refused["detail"], "Once is enough.");
    assert_eq!(refused["ringward"]["approval"], again["id"]);
    let log = gateway.stop(1, 1);
    let expected = [CardEvent::Asked, CardEvent::Approved, CardEvent::Asked, CardEvent::Denied];
    assert_eq!((events(&log.records), uses(&log.records)), (expected.to_vec(), 1));
    // Its use stands in the log before its INTENT.
    let place = |fits: fn(&Record) -> bool| log.records.iter().position(fits).unwrap();
    assert!(place(|r| matches!(r, Record::Consume(_))) < place(|r| matches!(r, Record::Intent(_))));
    assert!(!log.bytes().windows(6).any(|part| part == b"canary"));
}

#[test]
fn a_body_that_comes_late_is_whole_before_anybody_sees_it() {
    let upstream = Upstream::bind();
    let gateway = start(holding(&upstream, ""));
    let mut client =
        gateway.ask("POST /x HTTP/1.1\r\nhost: gw\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n");
    assert!(cards(&gateway).is_empty());
    client.send("6\r\n world\r\n0\r\n\r\n");
    let card = until(&gateway, "pending", 1).remove(0);
    assert_eq!((&card["excerpt"], &card["body_bytes"]), (&json!("hello world"), &json!(11)));
    approve(&gateway, &card);
    let mut origin = upstream.accept();
    assert_eq!(origin.request().body, b"hello world");
    origin.send(OK);
    assert_eq!(client.response().body, b"ok");
    gateway.stop(1, 0);
}

#[test]
fn a_denial_is_remembered_and_needs_a_reason() {
    let upstream = Upstream::bind();
    let gateway = start(holding(&upstream, ""));
    let mut client = gateway.ask(post("/x", "a"));
    let card = until(&gateway, "pending", 1).remove(0);
    let (status, answer) = decide(&gateway, &card, json!({ "decision": "deny" }));
    assert_eq!((status, &answer["code"]), (422, &json!("decision_invalid")));
    decide(&gateway, &card, json!({ "decision": "deny", "reason": "No." }));
    assert_eq!(answered(&mut client, 403)["detail"], "No.");
    client.send(post("/x", "a"));
    assert_eq!(answered(&mut client, 403)["detail"], "No.");
    // A card that has its verdict gets no other.
    let (status, answer) = decide(&gateway, &card, json!({ "decision": "approve" }));
    assert_eq!((status, &answer["code"]), (409, &json!("conflict")));
    upstream.is_left_alone();
    gateway.stop(0, 2);
}

#[test]
fn nobody_decides_and_the_request_expires() {
    let upstream = Upstream::bind();
    let gateway = start(holding(&upstream, ", timeout = \"300ms\""));
    let mut client = gateway.ask(post("/x", "a"));
    assert_eq!(answered(&mut client, 403)["code"], "approval_expired");
    until(&gateway, "expired", 1);
    let log = gateway.stop(0, 1);
    assert_eq!(events(&log.records), [CardEvent::Asked, CardEvent::Expired]);
}

#[test]
fn a_slice_that_is_over_is_asked_again_and_finds_its_card() {
    let upstream = Upstream::bind();
    let gateway = start(holding(&upstream, "").tables("[hold]\nslice_max = \"100ms\""));
    let mut client = gateway.ask(post("/x", "a"));
    let answer = client.response();
    assert_eq!((answer.status(), answer.head.get("retry-after")), (429, Some("1")), "{}", answer.text());
    assert_eq!(answer.head.get("x-should-retry"), Some("true"));
    let card = cards(&gateway).remove(0);
    assert!(answer.text().contains(card["id"].as_str().unwrap()));
    // Approved while nobody waits: the next one goes through.
    approve(&gateway, &card);
    client.send(post("/x", "a"));
    let mut origin = upstream.accept();
    assert_eq!(origin.request().body, b"a");
    origin.send(OK);
    assert_eq!(client.response().body, b"ok");
    let log = gateway.stop(1, 1);
    assert_eq!((events(&log.records), uses(&log.records)), (vec![CardEvent::Asked, CardEvent::Approved], 1));
}

#[test]
fn a_caller_that_goes_away_leaves_its_card() {
    let upstream = Upstream::bind();
    let gateway = start(holding(&upstream, ""));
    let client = gateway.ask(post("/x", "a"));
    let card = until(&gateway, "pending", 1).remove(0);
    assert_eq!(card["client"], "waiting");
    drop(client);
    let began = Instant::now();
    while cards(&gateway)[0]["client"] != "away" {
        assert!(began.elapsed() < PATIENCE, "the card does not notice");
    }
    // It comes back in time.
    let mut client = gateway.ask(post("/x", "a"));
    let began = Instant::now();
    while cards(&gateway)[0]["client"] != "waiting" {
        assert!(began.elapsed() < PATIENCE, "the card is not found again");
    }
    assert_eq!(cards(&gateway).len(), 1);
    approve(&gateway, &card);
    let mut origin = upstream.accept();
    origin.request();
    origin.send(OK);
    assert_eq!(client.response().body, b"ok");
    let log = gateway.stop(1, 1);
    assert_eq!(log.reasons()[0].0, "client_gone");
}

#[test]
fn one_changed_bit_is_another_revision() {
    let upstream = Upstream::bind();
    let gateway = start(holding(&upstream, "").tables("[hold]\nslice_max = \"100ms\""));
    let mut client = gateway.ask(post("/x", "a"));
    client.response();
    let card = cards(&gateway).remove(0);
    approve(&gateway, &card);
    // Another field than the one that was approved.
    client.send(post("/x", "a").replace("plain", "wild!"));
    assert_eq!(client.response().status(), 429);
    let revised = cards(&gateway).remove(0);
    assert_eq!((&revised["id"], &revised["revision"]), (&card["id"], &json!(2)));
    assert_eq!(revised["state"], "pending");
    let changed = json!([{ "what": "header x-mode", "before": "plain", "after": "wild!" }]);
    assert_eq!(revised["changes"], changed);
    // Who saw the former one says nothing about this one.
    let (status, answer) = decide(&gateway, &card, json!({ "decision": "approve" }));
    assert_eq!((status, &answer["code"]), (409, &json!("conflict")), "{answer}");
    // What differs between two sendings by itself is no change.
    client.send(post("/x", "a").replace("plain", "wild!\r\nx-stainless-retry-count: 2\r\nuser-agent: b"));
    client.response();
    assert_eq!(cards(&gateway)[0]["revision"], 2);
    // Another body is another question.
    client.send(post("/x", "b"));
    client.response();
    assert_eq!(cards(&gateway).len(), 2);
    upstream.is_left_alone();
    gateway.stop(0, 4);
}

#[test]
fn who_may_not_approve_is_refused() {
    let upstream = Upstream::bind();
    let mut setup = holding(&upstream, "");
    setup.tables = setup.tables.replace(&format!("by = [\"{}\"]", me()), "by = [\"local:4000000\"]");
    let gateway = start(setup);
    let client = gateway.ask(post("/x", "a"));
    let card = until(&gateway, "pending", 1).remove(0);
    let (status, answer) = decide(&gateway, &card, json!({ "decision": "approve" }));
    assert_eq!((status, &answer["code"]), (403, &json!("not_an_approver")));
    drop(client);
    upstream.is_left_alone();
    gateway.stop(0, 1);
}

#[test]
fn a_waiting_card_outlives_the_process_and_is_used_once() {
    let upstream = Upstream::bind();
    let setup = holding(&upstream, "").tables("[hold]\nslice_max = \"100ms\"");
    let gateway = start(setup.clone());
    let mut client = gateway.ask(post("/x", "a"));
    client.response();
    let card = cards(&gateway).remove(0);
    let Gateway { dir, running, .. } = gateway;
    running.stop(PATIENCE);
    // The next process knows it, and it can be approved before its request comes back.
    let gateway = setup.clone().start_in(dir);
    assert_eq!(cards(&gateway)[0]["id"], card["id"]);
    approve(&gateway, &card);
    let Gateway { dir, running, .. } = gateway;
    running.stop(PATIENCE);
    let gateway = setup.start_in(dir);
    assert_eq!(cards(&gateway)[0]["state"], "approved");
    let mut client = gateway.ask(post("/x", "a"));
    let mut origin = upstream.accept();
    assert_eq!(origin.request().body, b"a");
    origin.send(OK);
    assert_eq!(client.response().body, b"ok");
    gateway.stop(1, 1);
}

#[test]
fn what_was_sent_and_broke_off_is_not_sent_again() {
    let upstream = Upstream::bind();
    let gateway = start(holding(&upstream, ""));
    let mut client = gateway.ask(post("/x", "a"));
    let card = until(&gateway, "pending", 1).remove(0);
    approve(&gateway, &card);
    let mut origin = upstream.accept();
    origin.request();
    drop(origin);
    answered(&mut client, 502);
    let began = Instant::now();
    while cards(&gateway)[0]["outcome"] == "it is being sent" {
        assert!(began.elapsed() < PATIENCE, "nobody says how it ended");
    }
    let mut client = gateway.ask(post("/x", "a"));
    let refused = answered(&mut client, 409);
    assert_eq!(refused["code"], "approval_consumed", "{refused}");
    upstream.is_left_alone();
    gateway.stop(1, 1);
}

#[test]
fn an_approval_whose_request_could_not_be_sent_is_restored() {
    let upstream = Upstream::bind();
    let gateway = start(holding(&upstream, ""));
    let address = upstream.address;
    drop(upstream);
    let mut client = gateway.ask(post("/x", "a"));
    let card = until(&gateway, "pending", 1).remove(0);
    approve(&gateway, &card);
    answered(&mut client, 502);
    until(&gateway, "approved", 1);
    let listener = std::net::TcpListener::bind(address).unwrap();
    let mut client = gateway.ask(post("/x", "a"));
    let (socket, _) = listener.accept().unwrap();
    let mut origin = Wire::new(socket);
    origin.request();
    origin.send(OK);
    assert_eq!(client.response().body, b"ok");
    let log = gateway.stop(2, 0);
    assert_eq!(events(&log.records), [CardEvent::Asked, CardEvent::Approved, CardEvent::Restored]);
    assert_eq!(uses(&log.records), 2);
}

#[test]
fn too_many_that_wait_are_refused_with_their_reason() {
    let upstream = Upstream::bind();
    let gateway = start(holding(&upstream, ""));
    let clients: Vec<_> = (0..100).map(|n| gateway.ask(post("/x", &n.to_string()))).collect();
    until(&gateway, "pending", 100);
    let mut one_more = gateway.ask(post("/x", "more"));
    let refused = answered(&mut one_more, 403);
    assert_eq!(refused["code"], "approval_denied");
    assert!(refused["detail"].as_str().unwrap().contains("100 requests of this caller wait"), "{refused}");
    drop(clients);
    gateway.stop(0, 101);
}

#[test]
fn a_grant_lets_the_next_ones_through_until_it_is_revoked() {
    let upstream = Upstream::bind();
    let gateway = start(holding(&upstream, ""));
    let mut client = gateway.ask(post("/x", "1"));
    let card = until(&gateway, "pending", 1).remove(0);
    let decision = json!({ "decision": "approve", "scope": "period", "period_s": 1_800 });
    assert_eq!(decide(&gateway, &card, decision).0, 200);
    let mut origin = upstream.accept();
    let mut answer = |client: &mut Wire, body: &[u8]| {
        assert_eq!(origin.request().body, body);
        origin.send(OK);
        assert_eq!(client.response().body, b"ok");
    };
    answer(&mut client, b"1");
    client.send(post("/x", "2"));
    answer(&mut client, b"2");
    let (_, list) = admin(&gateway, "GET", "/api/v1/grants", None);
    let grant = &list["grants"][0];
    assert_eq!((&grant["uses"], &grant["approval"]), (&json!(1), &card["id"]));
    let path = format!("/api/v1/grants/{}", grant["id"].as_str().unwrap());
    assert_eq!(admin(&gateway, "DELETE", &path, None).0, 200);
    client.send(post("/x", "3"));
    let card = until(&gateway, "pending", 1).remove(0);
    decide(&gateway, &card, json!({ "decision": "deny", "reason": "No more." }));
    answered(&mut client, 403);
    let log = gateway.stop(2, 1);
    let grants = log.records.iter().filter(|record| matches!(record, Record::Grant(_))).count();
    assert_eq!((uses(&log.records), grants), (2, 2));
}

#[test]
fn a_freeze_stops_what_waits_what_comes_and_what_streams() {
    let upstream = Upstream::bind();
    let gateway = start(holding(&upstream, ""));
    let mut held = gateway.ask(post("/x", "1"));
    until(&gateway, "pending", 1);
    let mut streaming = gateway.ask("GET /s HTTP/1.1\r\nhost: gw\r\n\r\n");
    let mut origin = upstream.accept();
    origin.request();
    origin.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n");
    streaming.head();
    assert!(!streaming.chunk().unwrap().is_empty());
    let stop = json!({ "route": "all", "reason": "Looking into it." });
    let (status, answer) = admin(&gateway, "POST", "/api/v1/freezes", Some(stop));
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answered(&mut held, 403)["code"], "frozen");
    let mut next = gateway.ask("GET /y HTTP/1.1\r\nhost: gw\r\n\r\n");
    assert_eq!(answered(&mut next, 403)["detail"], "Looking into it.");
    // Not a byte more comes from upstream: the silent stream is cut all the same.
    assert!(streaming.chunk().is_err(), "it is cut");
    let id = answer["freezes"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(admin(&gateway, "DELETE", &format!("/api/v1/freezes/{id}"), None).0, 200);
    let mut last = gateway.ask("GET /z HTTP/1.1\r\nhost: gw\r\n\r\n");
    let mut origin = upstream.accept();
    origin.request();
    origin.send(OK);
    assert_eq!(last.response().body, b"ok");
    gateway.stop(2, 2);
}

/// What streams meanwhile, for each protocol whose stream can say why it ends.
#[test]
fn a_freeze_ends_a_silent_stream_of_events_whole_and_says_why() {
    for (protocol, path, said) in [
        ("anthropic", "/v1/messages", "\n\nevent: error\ndata: "),
        ("openai", "/v1/chat/completions", "\n\ndata: [DONE]\n\n"),
    ] {
        let post = post(path, "{}").replace("\r\n\r\n", "\r\ncontent-type: application/json\r\n\r\n");
        let upstream = Upstream::bind();
        let setup = Setup::to(upstream.address).upstream(&format!("protocol = \"{protocol}\""));
        let gateway = setup.start();
        let mut streaming = gateway.ask(&post);
        let mut origin = upstream.accept();
        origin.request();
        origin.send(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n\
             8\r\ndata: a\n\r\n",
        );
        streaming.head();
        let mut body = streaming.chunk().unwrap();
        let stop = json!({ "all": true, "reason": "Looking into it." });
        assert_eq!(admin(&gateway, "POST", "/api/v1/freezes", Some(stop)).0, 200);
        loop {
            let chunk = streaming.chunk().expect("it ends whole");
            if chunk.is_empty() {
                break;
            }
            body.extend(chunk);
        }
        let body = String::from_utf8(body).unwrap();
        assert!(body.starts_with("data: a\n\n\n") && body.contains(said), "{body}");
        assert!(body.contains("\"code\":\"frozen\"") && body.contains("Looking into it."), "{body}");
        // Its connection is as good as before.
        streaming.send(&post);
        assert_eq!(streaming.response().status(), 403);
        let log = gateway.stop(1, 1);
        assert_eq!(log.ends(), [(Cause::Cut, Place::ResponseBody)]);
    }
}

#[test]
fn a_freeze_ends_the_wait_for_an_answer() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    let mut waiting = gateway.ask("GET /w HTTP/1.1\r\nhost: gw\r\n\r\n");
    let mut origin = upstream.accept();
    origin.request();
    let mut sending = gateway.ask("POST /u HTTP/1.1\r\nhost: gw\r\ncontent-length: 9\r\n\r\nhalf");
    let mut other = upstream.accept();
    other.head();
    let stop = json!({ "route": "all", "reason": "Looking into it." });
    assert_eq!(admin(&gateway, "POST", "/api/v1/freezes", Some(stop)).0, 200);
    assert_eq!(answered(&mut waiting, 403)["code"], "frozen");
    assert_eq!(answered(&mut sending, 403)["code"], "frozen");
    let mut ends = gateway.stop(2, 0).ends();
    ends.sort();
    assert_eq!(ends, [(Cause::Cut, Place::RequestBody), (Cause::Cut, Place::FirstByte)]);
}

#[test]
fn a_reload_sends_who_waits_back_to_be_decided_anew() {
    let upstream = Upstream::bind();
    let setup = holding(&upstream, "");
    let gateway = start(setup.clone());
    let mut client = gateway.ask(post("/x", "a"));
    let card = until(&gateway, "pending", 1).remove(0);
    let mut blocking = setup;
    blocking.tables = blocking.tables.replace("action = \"approve\"", "action = \"block\"");
    let from = blocking.tables.find("approval = ").unwrap();
    let to = from + blocking.tables[from..].find('\n').unwrap();
    blocking.tables.replace_range(from..to, "");
    gateway.reload(&blocking).unwrap();
    assert_eq!(answered(&mut client, 429)["code"], "approval_pending");
    approve(&gateway, &card);
    client.send(post("/x", "a"));
    assert_eq!(answered(&mut client, 403)["code"], "policy_denied");
    upstream.is_left_alone();
    gateway.stop(0, 2);
}

#[test]
fn nothing_starts_where_nobody_could_approve() {
    let upstream = Upstream::bind();
    let mut setup = holding(&upstream, "");
    setup.tables = setup.tables.replace(&format!("by = [\"{}\"]", me()), "by = [\"group:sre\"]");
    let dir = tempfile::tempdir().unwrap();
    super::harness::write_private(&dir.path().join("key"), "canary-secret-of-upstream");
    let error = setup.try_start_in(dir.path()).err().expect("no start");
    let said = super::harness::explain(&error);
    assert!(said.contains("nobody can log in to approve what the policy `ask` holds"), "{said}");
}

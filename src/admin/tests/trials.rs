//! Policies on trial.

use super::{sessions::recorded, *};

#[test]
fn a_replay_ends_when_its_client_goes_and_is_recorded_as_a_reading() {
    let world = recorded();
    let mut socket = world.socket();
    let body = json(r#"{"limit": 5}"#);
    let line = "POST /api/v1/policies:replay HTTP/1.1\r\nHost: localhost\r\n";
    socket.write_all(format!("{line}{body}").as_bytes()).unwrap();
    assert_eq!(world.progressed(), "begun");
    drop(socket);
    assert_eq!(world.progressed(), "ended");
    let calls = world.process.calls.lock().unwrap().join("\n");
    assert!(calls.contains("replay policies of 5 requests by local:"), "{calls}");
}

#[test]
fn what_is_no_trial_says_so() {
    let world = World::new();
    let good = world.local("POST /api/v1/policies:test", &json(r#"{"request": {"route": "up"}}"#));
    assert_eq!((good.status, good.json()["route"].as_str()), (200, Some("up")), "{}", good.body);
    let cases = [
        ("POST /api/v1/policies:test", r#"{"request": {"root": "up"}}"#),
        ("POST /api/v1/policies:test", "{}"),
        ("POST /api/v1/policies:replay", r#"{"limit": 0}"#),
        ("POST /api/v1/policies:replay", r#"{"limit": 10001}"#),
        ("POST /api/v1/policies:replay", r#"{"toml": ""}"#),
    ];
    for (line, body) in cases {
        let answer = world.local(line, &json(body));
        assert_eq!((answer.status, answer.problem().as_str()), (400, "malformed_request"), "{line} {body}");
    }
}

//! The files that may be changed: what is asked for, and what comes back.

use super::*;

fn sent(world: &World, line: &str, fields: &str, body: &str) -> Answer {
    world.local(line, &format!("{fields}{}", json(body)))
}

#[test]
fn a_file_is_shown_with_the_tag_that_its_change_names() {
    let world = World::new();
    let shown = world.local("GET /api/v1/policies.d/here", "\r\n");
    assert_eq!((shown.status, shown.json()["digest"].as_str()), (200, Some("d1")));
    assert!(shown.head.contains("etag: \"d1\"\r\n"), "{}", shown.head);
    let listed = world.local("GET /api/v1/policies.d", "\r\n").json();
    assert_eq!(listed["files"][0]["name"], "here");
    assert_eq!(world.local("GET /api/v1/connections.d", "\r\n").json()["files"], serde_json::json!([]));
    assert_eq!(world.local("GET /api/v1/connections.d/here", "\r\n").problem(), "not_found");

    let changed = sent(&world, "PUT /api/v1/policies.d/here", "If-Match: \"d1\"\r\n", r#"{"toml": "new"}"#);
    assert_eq!((changed.status, changed.json()["toml"].as_str()), (200, Some("new")));
    assert!(changed.head.contains("etag: \"d2\"\r\n"), "{}", changed.head);
    let created = sent(&world, "PUT /api/v1/connections.d/n", "If-None-Match: *\r\n", r#"{"toml": "new"}"#);
    assert_eq!(created.status, 201);
    assert!(created.head.contains("location: /api/v1/connections.d/n\r\n"), "{}", created.head);
    let removed = world.local("DELETE /api/v1/policies.d/here", "If-Match: \"d1\"\r\n\r\n");
    assert_eq!((removed.status, removed.json()["digest"].is_null()), (200, true));
    let calls = world.process.calls.lock().unwrap().join("\n");
    for part in [r#"OneOf(["d1"]), dry_run: false } by local:"#, "expected: Absent", "text: None"] {
        assert!(calls.contains(part), "{part}: {calls}");
    }
}

#[test]
fn a_dry_run_names_no_new_file() {
    let world = World::new();
    let line = "PUT /api/v1/policies.d/new?dry_run=true";
    let checked = sent(&world, line, "If-None-Match: *\r\n", r#"{"toml": "new"}"#);
    assert_eq!((checked.status, checked.json()["created"].as_bool()), (200, Some(true)));
    assert!(!checked.head.contains("etag:") && !checked.head.contains("location:"), "{}", checked.head);
    assert!(world.process.calls.lock().unwrap()[0].contains("dry_run: true"));
}

#[test]
fn what_cannot_be_taken_says_why() {
    let world = World::new();
    let bad = sent(&world, "PUT /api/v1/policies.d/here", "If-Match: *\r\n", r#"{"toml": "bad"}"#);
    assert_eq!((bad.status, bad.problem().as_str()), (422, "config_invalid"));
    assert_eq!(bad.json()["diff"], "+bad");
    let cases = [
        ("PUT /api/v1/policies.d/here", "If-Match: d1\r\n", r#"{"toml": ""}"#, 400),
        ("PUT /api/v1/policies.d/here", "", r#"{"tomb": ""}"#, 400),
        ("PUT /api/v1/policies.d/here?dry=1", "", r#"{"toml": ""}"#, 400),
        ("DELETE /api/v1/policies.d/here", "", r#"{"toml": ""}"#, 400),
        ("POST /api/v1/policies.d", "", r#"{"toml": ""}"#, 405),
        ("POST /api/v1/connections", "", r#"{"name": "new"}"#, 400),
    ];
    for (line, fields, body, status) in cases {
        let answer = sent(&world, line, fields, body);
        assert_eq!(answer.status, status, "{line}: {}", answer.body);
        answer.problem();
    }
    let made = world.process.calls.lock().unwrap().len();
    assert_eq!(made, 1, "only the bad text came as far as the editor");
}

#[test]
fn a_connection_goes_the_way_of_its_file() {
    let world = World::new();
    let body = r#"{"name": "api", "url": "https://x", "identity": [], "policies": ["default"]}"#;
    let answer = sent(&world, "POST /api/v1/connections", "", body);
    assert_eq!((answer.status, answer.json()["toml"].as_str()), (201, Some("# https://x")));
    assert!(answer.head.contains("location: /api/v1/connections.d/api\r\n"), "{}", answer.head);
    assert!(world.process.calls.lock().unwrap()[0].contains("expected: Absent"));
}

//! The unix socket: everything, for whoever may open it.

use super::*;
use std::os::unix::fs::MetadataExt;

/// The user that runs the tests: the owner of the socket that they made.
fn author(world: &World) -> String {
    format!("local:{}", std::fs::metadata(world.path()).unwrap().uid())
}

#[test]
fn every_path_answers() {
    let world = World::new();
    world.process.gate.add_permits(1);
    let cases = [
        ("GET /livez", 200, r#""live": true"#),
        ("GET /readyz", 200, r#""ready": true"#),
        ("GET /readyz?verbose", 200, r#""name": "issuer corp""#),
        ("GET /metrics", 200, "ringward_jwks_age_seconds{name=\"corp\"} 1.5"),
        ("GET /api/v1/me", 200, r#""login": "socket""#),
        ("GET /api/v1/status", 200, r#""driver": "io_uring""#),
        ("GET /api/v1/version", 200, r#""name": "ringward""#),
        ("GET /api/v1/shards", 200, r#""connections": 3"#),
        ("GET /api/v1/config", 200, r#""generation": 7"#),
        ("GET /api/v1/policies", 200, r#""policies": []"#),
        ("GET /api/v1/identity", 200, r#""issuers": []"#),
        ("GET /api/v1/secrets", 200, r#""secrets": []"#),
        ("POST /api/v1/config:check", 200, r#""valid": true"#),
        ("POST /api/v1/config:reload", 200, r#""generation": 7"#),
        ("POST /api/v1/drain", 202, r#""draining": true"#),
    ];
    for (line, status, part) in cases {
        let answer = world.local(line, "\r\n");
        assert_eq!(answer.status, status, "{line}: {}", answer.body);
        assert!(answer.body.contains(part), "{line}: {}", answer.body);
        assert!(answer.body.ends_with('\n'), "{line}");
        let kind = if line == "GET /metrics" { "application/openmetrics-text" } else { "application/json" };
        assert!(answer.head.contains(&format!("content-type: {kind}")), "{line}: {}", answer.head);
    }
    let shown: Status = serde_json::from_str(&world.local("GET /api/v1/status", "\r\n").body).unwrap();
    assert_eq!(shown, well());
}

#[test]
fn the_signed_log_is_offered_to_witnesses() {
    let world = World::new();
    let head = world.local("GET /api/v1/audit/head", "\r\n");
    assert_eq!((head.status, head.body.as_str()), (200, "log\n9\nroot\n\n— log sig\n"));
    assert!(head.head.contains("content-type: text/plain"), "{}", head.head);
    let cases = [
        ("GET /api/v1/audit/prove?record=3", 200, "proof of 3"),
        ("GET /api/v1/audit/prove?record=10", 404, "record 10 is not covered"),
        ("GET /api/v1/audit/prove?record=0", 500, "the disk"),
        ("GET /api/v1/audit/prove", 400, "want ?record=N"),
        ("GET /api/v1/audit/prove?record=x", 400, "want ?record=N"),
        ("GET /api/v1/audit/prove?record=1&more=2", 400, "want ?record=N"),
        ("GET /api/v1/audit/consistency?from=2&to=5", 200, r#""to": 5"#),
        ("GET /api/v1/audit/consistency?from=2", 200, r#""to": 9"#),
        ("GET /api/v1/audit/consistency?to=2", 400, "want ?from=N"),
        ("POST /api/v1/audit/key:rotate", 200, "log+00000000+AQ=="),
        ("GET /api/v1/audit/key:rotate", 405, "method"),
    ];
    for (line, status, part) in cases {
        let answer = world.local(line, "\r\n");
        assert_eq!(answer.status, status, "{line}: {}", answer.body);
        assert!(answer.body.contains(part), "{line}: {}", answer.body);
    }
    let author = author(&world);
    let expected = [format!("prove of record 3 by {author}"), format!("key rotated by {author}")];
    assert_eq!(*world.process.calls.lock().unwrap(), expected);
    *world.process.checkpoint.lock().unwrap() = None;
    let missing = world.local("GET /api/v1/audit/head", "\r\n");
    assert!(missing.status == 404 && missing.body.contains("no_checkpoint"), "{}", missing.body);
}

#[test]
fn curl_can_talk_to_it() {
    let world = World::new();
    world.process.gate.add_permits(1);
    let level = ["-X", "PUT", "--json", r#"{"level": "debug"}"#].as_slice();
    for (path, more, status) in [
        ("/api/v1/status", [].as_slice(), "200"),
        ("/api/v1/config:reload", ["-X", "POST"].as_slice(), "200"),
        ("/api/v1/log-level", level, "200"),
        ("/nothing", [].as_slice(), "404"),
    ] {
        let mut curl = std::process::Command::new("curl");
        curl.args(["-sS", "-o", "/dev/null", "-w", "%{http_code}", "--unix-socket"]).arg(world.path());
        match curl.args(more).arg(format!("http://localhost{path}")).output() {
            Ok(output) => assert_eq!(String::from_utf8_lossy(&output.stdout), status, "{path}: {output:?}"),
            Err(error) => return eprintln!("skipped: no curl: {error}"),
        }
    }
}

#[test]
fn head_has_no_body() {
    let answer = World::new().local("HEAD /api/v1/status", "\r\n");
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
}

#[test]
fn the_kernel_says_who_asks() {
    let world = World::new();
    world.process.gate.add_permits(1);
    // A name in the request changes nothing.
    let more = "X-Forwarded-User: root\r\nAuthorization: Bearer x\r\n\r\n";
    assert_eq!(world.local("POST /api/v1/config:reload", more).status, 200);
    assert_eq!(world.local("POST /api/v1/drain", "\r\n").status, 202);
    assert_eq!(world.local("PUT /api/v1/log-level", &json(r#"{"level": "debug"}"#)).status, 200);
    let who = author(&world);
    let expected =
        [format!("reload by {who}"), format!("drain by {who}"), format!("log level debug by {who}")];
    assert_eq!(*world.process.calls.lock().unwrap(), expected);
}

#[test]
fn a_bad_configuration_comes_back_with_its_findings() {
    let world = World::new();
    world.process.gate.add_permits(1);
    *world.process.reload.lock().unwrap() = Err(Rejected {
        message: "ringward.toml has 1 error".to_owned(),
        text: "error: unknown key `adr`".to_owned(),
        diagnostics: vec![serde_json::json!({ "line": 3, "code": "unknown-key" })],
    });
    for line in ["POST /api/v1/config:reload", "POST /api/v1/config:check"] {
        let answer = world.local(line, "\r\n");
        assert_eq!((answer.status, answer.problem().as_str()), (422, "config_invalid"), "{line}");
        let body = answer.json();
        assert_eq!(body["message"], "ringward.toml has 1 error");
        assert_eq!(body["text"], "error: unknown key `adr`");
        assert_eq!(body["diagnostics"][0]["line"], 3);
    }
}

#[test]
fn a_reload_ends_even_if_its_client_goes() {
    let world = World::new();
    let mut client = world.socket();
    client.write_all(request("POST /api/v1/config:reload", "localhost", "\r\n").as_bytes()).unwrap();
    assert_eq!(world.progressed(), "begun");
    drop(client);
    // By the time this is answered the server has seen the client go.
    assert_eq!(world.local("GET /livez", "\r\n").status, 200);
    world.process.gate.add_permits(1);
    assert_eq!(world.progressed(), "ended");
}

#[test]
fn a_request_under_way_is_answered_before_the_end() {
    let mut world = World::new();
    let mut client = world.socket();
    let text = "POST /api/v1/config:reload HTTP/1.1\r\nHost: localhost\r\n\r\n";
    client.write_all(text.as_bytes()).unwrap();
    assert_eq!(world.progressed(), "begun");
    world.stop();
    world.process.gate.add_permits(1);
    assert_eq!(answer(client).status, 200);
    world.thread.take().unwrap().join().unwrap();
    assert!(!world.path().exists(), "the socket is gone");
    world.thread = Some(std::thread::spawn(|| ()));
}

#[test]
fn an_idle_connection_does_not_hold_up_the_end() {
    let mut world = World::new();
    let mut client = world.socket();
    client.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    client.read_exact(&mut [0; 15]).unwrap();
    world.stop();
    everything(client);
}

#[test]
fn what_is_missing_is_said_to_local_operators() {
    let world = World::new();
    world.process.status.lock().unwrap().issuers[0].ready = false;
    let bare = world.local("GET /readyz", "\r\n");
    assert_eq!((bare.status, bare.problem().as_str()), (503, "not_ready"));
    assert!(!bare.body.contains("corp"), "{}", bare.body);
    let verbose = world.local("GET /readyz?verbose", "\r\n");
    assert_eq!((verbose.status, verbose.problem().as_str()), (503, "not_ready"));
    let body = verbose.json();
    assert_eq!(body["message"], "not ready: issuer corp: no keys of https://idp.example.com yet");
    assert_eq!(body["checks"].as_array().unwrap().iter().filter(|check| check["ok"] == false).count(), 1);
    // A process that is not ready lives.
    assert_eq!(world.local("GET /livez", "\r\n").status, 200);
}

#[test]
fn what_is_not_served_says_so() {
    let world = World::new();
    let cases = [
        ("GET /", 404, "not_found"),
        ("GET /api/v1/nothing", 404, "not_found"),
        ("GET /api/v1/status/", 404, "not_found"),
        ("GET //livez", 404, "not_found"),
        ("GET /api/v1/%73tatus/../x", 404, "not_found"),
        ("GET /api/v1/configs", 404, "not_found"),
        ("POST /livez", 405, "method_not_allowed"),
        ("GET /api/v1/drain", 405, "method_not_allowed"),
        ("GET /api/v1/config:reload", 405, "method_not_allowed"),
        ("BREW /api/v1/status", 405, "method_not_allowed"),
    ];
    for (line, status, code) in cases {
        let answer = world.local(line, "\r\n");
        assert_eq!((answer.status, answer.problem().as_str()), (status, code), "{line}");
        assert_eq!(answer.head.contains("\r\nallow: "), status == 405, "{line}: {}", answer.head);
    }
    assert!(world.process.calls.lock().unwrap().is_empty());
}

#[test]
fn bodies_that_make_no_sense_change_nothing() {
    let world = World::new();
    let level = "PUT /api/v1/log-level";
    let text = |kind: &str, body: &str| {
        format!("Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    let good = r#"{"level": "info"}"#;
    let cases = [
        (level, "\r\n".to_owned(), 415, "body_unreadable"),
        (level, text("text/plain", good), 415, "body_unreadable"),
        (level, text("application/x-www-form-urlencoded", good), 415, "body_unreadable"),
        (level, json(""), 400, "malformed_request"),
        (level, json("{}"), 400, "malformed_request"),
        (level, json("[\"info\"]x"), 400, "malformed_request"),
        (level, json(r#"{"level": 3}"#), 400, "malformed_request"),
        (level, json(r#"{"level": "info", "also": 1}"#), 400, "malformed_request"),
        (level, json(&"[".repeat(10_000)), 400, "malformed_request"),
        (level, json("{\"level\": \"\u{0}\"}"), 400, "malformed_request"),
        ("POST /api/v1/drain", json(r#"{"now": true}"#), 400, "malformed_request"),
        ("POST /api/v1/config:reload", json("x"), 400, "malformed_request"),
    ];
    for (line, more, status, code) in cases {
        let answer = world.local(line, &more);
        assert_eq!((answer.status, answer.problem().as_str()), (status, code), "{line} {more:?}");
    }
    assert!(world.process.calls.lock().unwrap().is_empty());
    let answer = world.local(level, &json(r#"{"level": "loud"}"#));
    assert_eq!((answer.status, answer.problem().as_str()), (422, "log_level_invalid"));
    assert_eq!(answer.json()["message"], "no such level: loud");
    let kind = "application/json; charset=utf-8";
    assert_eq!(world.local(level, &text(kind, good)).status, 200);
    assert_eq!(world.local("POST /api/v1/drain", &json("{}")).status, 202);
}

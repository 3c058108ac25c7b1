//! Recordings over the socket; what is in them is tested where they are read.

use super::*;
use crate::audit::{SealReason, samples::Log};

/// A world with the log of the samples: one session of two exchanges, and a refusal without one.
pub(super) fn recorded() -> World {
    let world = World::new();
    record_samples(&world);
    world
}

pub(super) fn record_samples(world: &World) {
    std::fs::create_dir(&world.process.log).unwrap();
    let mut log = Log::new();
    log.batch(&crate::audit::samples::every_kind()[1..]);
    log.seal(SealReason::Closed);
    std::fs::write(world.process.log.join("000000000001.segment"), &log.segments[0]).unwrap();
}

#[test]
fn recordings_are_listed_shown_and_exported_and_whoever_reads_is_recorded() {
    let world = recorded();
    let get = |path: &str| world.local(&format!("GET {path}"), "\r\n");
    let listed = get("/api/v1/sessions?subject=agent-7&since=1970-01-01T00:00:00Z").json();
    assert_eq!(listed["sessions"].as_array().unwrap().len(), 1, "{listed}");
    let id = listed["sessions"][0]["id"].as_str().unwrap().to_owned();
    assert!(get("/api/v1/exchanges?limit=5").json()["exchanges"].as_array().unwrap().len() == 2);
    assert!(world.process.calls.lock().unwrap().is_empty(), "a list is no recording");

    let shown = get(&format!("/api/v1/sessions/{id}")).json();
    assert_eq!(shown["exchanges"].as_array().unwrap().len(), 2, "{shown}");
    let jsonl = get(&format!("/api/v1/sessions/{id}/export"));
    assert!(jsonl.head.contains("x-ringward-exchanges: 2\r\n"), "{}", jsonl.head);
    assert!(jsonl.head.contains("content-type: application/x-ndjson\r\n"), "{}", jsonl.head);
    assert!(jsonl.body.contains("card …4242"), "{}", jsonl.body);
    let har = get("/api/v1/export?format=har&until=2027-01-01");
    assert!(har.head.contains("filename=\"export.har\""), "{}", har.head);
    assert!(har.body.contains("\"entries\":["), "{}", har.body);
    let replay = get(&format!("/api/v1/sessions/{id}/export?purpose=replay&limit=1"));
    assert!(replay.body.contains("req_"), "{}", replay.body);

    let who =
        format!("local:{}", std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(world.path()).unwrap()));
    let calls = world.process.calls.lock().unwrap().clone();
    let expected = [
        format!("show of {id} by {who}"),
        format!("export jsonl of {id} by {who}"),
        format!("export har of ../2027-01-01T00:00:00.000000Z by {who}"),
        format!("replay of {id} by {who}"),
    ];
    assert_eq!(calls, expected);
}

#[test]
fn what_cannot_be_recorded_is_not_read() {
    let world = recorded();
    std::fs::write(world.process.log.join("full"), "").unwrap();
    let sessions = world.local("GET /api/v1/sessions", "\r\n").json();
    let id = sessions["sessions"][0]["id"].as_str().unwrap();
    for path in [
        format!("/api/v1/sessions/{id}"),
        format!("/api/v1/sessions/{id}/export"),
        format!("/api/v1/sessions/{id}/events"),
        "/api/v1/export".to_owned(),
    ] {
        let answer = world.local(&format!("GET {path}"), "\r\n");
        assert_eq!((answer.status, answer.problem().as_str()), (503, "audit_unavailable"), "{path}");
        assert!(answer.body.contains("the audit disk is full"), "{}", answer.body);
    }
}

#[test]
fn what_is_not_there_or_asked_wrongly_is_said() {
    let world = recorded();
    let cases = [
        ("/api/v1/sessions/ses_0", 404, "not_found"),
        ("/api/v1/sessions/ses_", 409, "ambiguous"),
        ("/api/v1/sessions/..%2f..%2fetc", 404, "not_found"),
        ("/api/v1/sessions?limit=many", 400, "malformed_request"),
        ("/api/v1/sessions?since=today", 400, "malformed_request"),
        ("/api/v1/sessions?colour=red", 400, "malformed_request"),
        ("/api/v1/export?format=pdf", 400, "malformed_request"),
        ("/api/v1/export?until=2026-02-30", 400, "malformed_request"),
    ];
    for (path, status, code) in cases {
        let answer = world.local(&format!("GET {path}"), "\r\n");
        assert_eq!((answer.status, answer.problem().as_str()), (status, code), "{path}: {}", answer.body);
    }
    let answer = World::new().local("GET /api/v1/sessions", "\r\n");
    assert_eq!((answer.status, answer.problem().as_str()), (503, "audit_unavailable"));
    let network = world.network(world.tcp, "GET /api/v1/sessions");
    assert_eq!(network.status, 404, "the admin port serves none of it without a login");
}

#[test]
fn a_session_is_followed_as_events() {
    let world = recorded();
    let sessions = world.local("GET /api/v1/sessions?subject=agent-7", "\r\n").json();
    let id = sessions["sessions"][0]["id"].as_str().unwrap();
    let mut socket = world.socket();
    socket
        .write_all(request(&format!("GET /api/v1/sessions/{id}/events"), "localhost", "\r\n").as_bytes())
        .unwrap();
    let mut seen = Vec::new();
    let mut piece = [0; 4096];
    while !String::from_utf8_lossy(&seen).contains("event: exchange\ndata: {") {
        let count = socket.read(&mut piece).unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&piece[..count]);
    }
    let text = String::from_utf8_lossy(&seen).into_owned();
    assert!(text.contains("text/event-stream") && text.contains("id: "), "{text}");
}

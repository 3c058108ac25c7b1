//! Tokens over TLS: who gets what, and the log as auditors take it.

use super::{super::Role, network::certificate, *};
use std::fs;

const AUDITOR: &str = "an auditor's token";
const VIEWER: &str = "a viewer's token";
const ENDED: &str = "a token of last year";

/// A served admin port with three tokens.
struct Port {
    world: World,
    dial: Dial,
}

/// Who trusts its certificate.
#[derive(Clone)]
struct Dial {
    tcp: SocketAddr,
    client: Arc<rustls::ClientConfig>,
}

impl Dial {
    fn open(&self) -> rustls::StreamOwned<rustls::ClientConnection, TcpStream> {
        let name = "gw.example.com".try_into().unwrap();
        let session = rustls::ClientConnection::new(self.client.clone(), name).unwrap();
        rustls::StreamOwned::new(session, connect(self.tcp))
    }

    fn ask(&self, line: &str, token: Option<&str>, more: &str) -> Answer {
        exchange(self.open(), &self.text(line, token, more))
    }

    fn text(&self, line: &str, token: Option<&str>, more: &str) -> String {
        let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let host = format!("gw.example.com:{}", self.tcp.port());
        request(line, &host, &format!("{token}{more}\r\n"))
    }
}

impl Port {
    fn new() -> Port {
        let (server, roots) = certificate();
        let world = World::with(Bounds::default(), Some(server));
        let credential = |name: &str, role, token: &str, expires: Option<u64>| Credential {
            name: name.into(),
            role,
            owner: None,
            digest: Credential::digest_of(token),
            expires: expires.map(Timestamp),
        };
        *world.process.credentials.lock().unwrap() = vec![
            credential("berlin", Role::Auditor, AUDITOR, Some(2_000)),
            credential("wall", Role::Viewer, VIEWER, None),
            credential("old", Role::Auditor, ENDED, Some(1_000)),
        ];
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let dial = Dial { tcp: world.tcp, client: Arc::new(client) };
        Port { world, dial }
    }

    fn ask(&self, line: &str, token: Option<&str>, more: &str) -> Answer {
        self.dial.ask(line, token, more)
    }

    fn calls(&self) -> Vec<String> {
        self.world.process.calls.lock().unwrap().clone()
    }

    /// Makes files of a log folder; the last segment is the one in use.
    fn segments(&self, names: &[&str]) {
        fs::create_dir_all(&self.world.process.log).unwrap();
        for name in names {
            fs::write(self.world.process.log.join(name), format!("bytes of {name}")).unwrap();
        }
    }
}

#[test]
fn each_role_gets_its_own_and_nobody_changes_anything() {
    let port = Port::new();
    port.segments(&["000000000001.segment", "000000000002.segment"]);
    let cases = [
        ("GET /livez", [200, 200, 200, 200]),
        ("GET /readyz", [200, 200, 200, 200]),
        ("GET /api/v1/me", [401, 200, 200, 401]),
        ("GET /auth/login", [404, 404, 404, 404]),
        ("GET /api/v1/status", [401, 403, 200, 401]),
        ("GET /api/v1/version", [401, 403, 200, 401]),
        ("GET /metrics", [401, 403, 200, 401]),
        ("GET /api/v1/audit/head", [401, 200, 403, 401]),
        ("HEAD /api/v1/audit/head", [401, 200, 403, 401]),
        ("GET /api/v1/audit/keys", [401, 200, 403, 401]),
        ("GET /api/v1/audit/prove?record=3", [401, 200, 403, 401]),
        ("GET /api/v1/audit/consistency?from=2", [401, 200, 403, 401]),
        ("GET /api/v1/audit/segments", [401, 200, 403, 401]),
        ("GET /api/v1/audit/segments/1", [401, 200, 403, 401]),
        ("GET /api/v1/audit/segments/2", [401, 404, 403, 401]),
        ("GET /api/v1/audit/segments/x", [401, 400, 403, 401]),
        ("GET /api/v1/approvals", [401, 403, 403, 401]),
        ("POST /api/v1/drain", [401, 403, 403, 401]),
        ("POST /api/v1/config:reload", [401, 403, 403, 401]),
        ("POST /api/v1/audit/key:rotate", [401, 403, 403, 401]),
        ("POST /api/v1/audit/erase?subject=s", [401, 403, 403, 401]),
        ("POST /livez", [405, 405, 405, 405]),
        ("GET /nothing", [404, 404, 404, 404]),
    ];
    for (line, expected) in cases {
        let tokens = [None, Some(AUDITOR), Some(VIEWER), Some(ENDED)];
        let found = tokens.map(|token| port.ask(line, token, "").status);
        assert_eq!(found, expected, "{line}");
    }
    let missing = port.ask("GET /api/v1/audit/head", None, "");
    assert_eq!(missing.problem(), "token_missing");
    assert!(
        missing.head.contains("www-authenticate: bearer realm=\"ringward-admin\"\r\n"),
        "{}",
        missing.head
    );
    let wrong = port.ask("GET /api/v1/audit/head", Some("guessed"), "");
    assert_eq!((wrong.status, wrong.problem().as_str()), (401, "token_invalid"));
    assert!(wrong.head.contains("error=\"invalid_token\""), "{}", wrong.head);
    assert_eq!(port.ask("GET /api/v1/audit/head", Some(ENDED), "").problem(), "token_expired");
    assert_eq!(port.ask("GET /api/v1/status", Some(AUDITOR), "").problem(), "role_required");
    let expected = ["prove of record 3 by token:berlin", "pull of segment 1 by token:berlin"];
    assert_eq!(port.calls(), expected, "nothing else was done or read");
}

#[test]
fn what_is_missing_is_told_to_those_who_may_see_it() {
    let port = Port::new();
    port.world.process.status.lock().unwrap().issuers[0].ready = false;
    for (token, is_told) in [(None, false), (Some(AUDITOR), false), (Some(VIEWER), true)] {
        let answer = port.ask("GET /readyz?verbose", token, "");
        assert_eq!((answer.status, answer.body.contains("corp")), (503, is_told), "{token:?}");
    }
}

#[test]
fn a_token_that_was_taken_away_opens_nothing_any_more() {
    let port = Port::new();
    assert_eq!(port.ask("GET /api/v1/audit/head", Some(AUDITOR), "").status, 200);
    port.world.process.credentials.lock().unwrap().remove(0);
    assert_eq!(port.ask("GET /api/v1/audit/head", Some(AUDITOR), "").problem(), "token_invalid");
    port.world.process.credentials.lock().unwrap().clear();
    assert_eq!(port.ask("GET /api/v1/audit/head", Some(AUDITOR), "").status, 404);
    assert_eq!(port.ask("GET /livez", None, "").status, 200);
}

#[test]
fn a_stream_ends_when_the_token_that_opened_it_is_taken_away() {
    let port = Port::new();
    super::sessions::record_samples(&port.world);
    let sessions = port.ask("GET /api/v1/sessions?subject=agent-7", Some(AUDITOR), "").json();
    let line = format!("GET /api/v1/sessions/{}/events", sessions["sessions"][0]["id"].as_str().unwrap());
    let mut stream = port.dial.open();
    stream.write_all(port.dial.text(&line, Some(AUDITOR), "").as_bytes()).unwrap();
    let (mut seen, mut piece, mut is_taken) = (String::new(), [0; 4096], false);
    while !seen.ends_with("\r\n0\r\n\r\n") {
        let count = stream.read(&mut piece).unwrap();
        seen += &String::from_utf8_lossy(&piece[..count]);
        assert!(count > 0 && !seen.contains(": nothing new"), "it goes on: {seen}");
        if !is_taken && seen.contains("event: exchange\ndata: {") {
            is_taken = true;
            port.world.process.credentials.lock().unwrap().remove(0);
        }
    }
    assert!(is_taken, "{seen}");
}

/// Whoever listens on the way would have the token: it is not even asked for.
#[test]
fn a_token_in_clear_text_opens_nothing() {
    let world = World::new();
    *world.process.credentials.lock().unwrap() = vec![Credential {
        name: "berlin".into(),
        role: Role::Auditor,
        owner: None,
        digest: Credential::digest_of(AUDITOR),
        expires: None,
    }];
    let more = format!("Authorization: Bearer {AUDITOR}\r\n\r\n");
    for path in ["/api/v1/audit/head", "/api/v1/status"] {
        let text = request(&format!("GET {path}"), &world.tcp.to_string(), &more);
        assert_eq!(exchange(connect(world.tcp), &text).problem(), "not_found");
    }
}

#[test]
fn a_head_is_answered_when_it_is_another_one() {
    let port = Port::new();
    let first = port.ask("GET /api/v1/audit/head", Some(AUDITOR), "");
    let tag = first.head.split("etag: ").nth(1).unwrap().lines().next().unwrap().to_owned();
    let known = format!("If-None-Match: {tag}\r\n");
    let same = port.ask("GET /api/v1/audit/head", Some(AUDITOR), &known);
    assert_eq!((same.status, same.body.as_str()), (304, ""));
    let waits = |known: &str| {
        let (dial, known) = (port.dial.clone(), known.to_owned());
        let ask = move || dial.ask("GET /api/v1/audit/head?wait=25", Some(AUDITOR), &known);
        std::thread::spawn(ask)
    };
    let waiting = waits(&known);
    *port.world.process.checkpoint.lock().unwrap() = Some("another head\n".into());
    let waiting = waiting.join().unwrap();
    assert_eq!((waiting.status, waiting.body.as_str()), (200, "another head\n"));
    assert_eq!(port.ask("GET /api/v1/audit/head?wait=x", Some(AUDITOR), "").status, 400);
}

#[test]
fn sealed_segments_are_listed_and_given_as_they_are_stored() {
    let port = Port::new();
    let empty = port.ask("GET /api/v1/audit/segments", Some(AUDITOR), "");
    assert_eq!(empty.status, 500, "there is no folder");
    port.segments(&[
        "000000000003.segment.zst",
        "000000000004.segment",
        "000000000005.segment",
        "checkpoint",
    ]);
    let list = port.ask("GET /api/v1/audit/segments", Some(AUDITOR), "").json();
    assert_eq!(list["oldest"], 3);
    let names: Vec<_> = list["segments"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["000000000003.segment.zst", "000000000004.segment"]);
    let behind = port.ask("GET /api/v1/audit/segments?after=3", Some(AUDITOR), "").json();
    assert_eq!(behind["segments"][0]["number"], 4);

    let whole = port.ask("GET /api/v1/audit/segments/3", Some(AUDITOR), "");
    assert_eq!(whole.body, "bytes of 000000000003.segment.zst");
    assert!(whole.head.contains("x-ringward-segment: 000000000003.segment.zst\r\n"), "{}", whole.head);
    let tag = whole.head.split("etag: ").nth(1).unwrap().lines().next().unwrap();
    let part = port.ask(
        "GET /api/v1/audit/segments/3",
        Some(AUDITOR),
        &format!("Range: bytes=9-\r\nIf-Range: {tag}\r\n"),
    );
    assert_eq!((part.status, part.body.as_str()), (206, "000000000003.segment.zst"));
    assert!(part.head.contains("content-range: bytes 9-32/33\r\n"), "{}", part.head);
    let other = "Range: bytes=9-\r\nIf-Range: \"other\"\r\n";
    assert_eq!(port.ask("GET /api/v1/audit/segments/3", Some(AUDITOR), other).body, whole.body);
    let behind = port.ask("GET /api/v1/audit/segments/3", Some(AUDITOR), "Range: bytes=33-\r\n");
    assert_eq!(behind.status, 416);
    for (number, why) in [(1, "was removed"), (5, "not sealed yet"), (6, "not sealed yet")] {
        let answer = port.ask(&format!("GET /api/v1/audit/segments/{number}"), Some(AUDITOR), "");
        assert!(answer.status == 404 && answer.body.contains(why), "{number}: {}", answer.body);
    }
    assert_eq!(port.calls(), ["pull of segment 3 by token:berlin"], "once, however often it is resumed");

    fs::write(port.world.process.log.join("full"), "").unwrap();
    let unrecorded = port.ask("GET /api/v1/audit/segments/4", Some(AUDITOR), "");
    assert_eq!((unrecorded.status, unrecorded.problem().as_str()), (503, "audit_unavailable"));
    assert!(!unrecorded.body.contains("bytes of"));
}

#[test]
fn what_is_to_be_encrypted_is_given_only_then() {
    let port = Port::new();
    port.segments(&[
        "000000000001.segment.zst.age",
        "000000000002.segment",
        "000000000003.segment.zst.age",
        "000000000004.segment",
        ".only-encrypted",
    ]);
    let list = port.ask("GET /api/v1/audit/segments", Some(AUDITOR), "").json();
    assert_eq!(list["segments"].as_array().unwrap().len(), 1, "a list has no holes: {list}");
    assert_eq!(port.ask("GET /api/v1/audit/segments/2", Some(AUDITOR), "").status, 404);
}

#[test]
fn the_keys_are_told_with_their_statements() {
    let port = Port::new();
    let keys = port.ask("GET /api/v1/audit/keys", Some(AUDITOR), "").json();
    assert_eq!((&keys["keys"][0]["number"], &keys["keys"][0]["since"]), (&1.into(), &2.into()));
    let statement = keys["keys"][0]["statement"].as_str().unwrap();
    assert_eq!(statement, crate::audit::samples::first_statement(1));
}

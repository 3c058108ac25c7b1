//! Sessions as operators see them: listed, shown, replayed and exported, from a running gateway and from the
//! folder of its log.

use super::support::{
    clients, eventually,
    gateway::{Gateway, open_route, ringward},
    http::{Client, ask},
    upstream::Upstream,
};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Output, Stdio},
    time::Duration,
};

/// What no terminal may get: it would clear the screen, set its title, and turn text around.
const HOSTILE: &str = "evil \\u001b[2J\\u001b]0;owned\\u0007 \\u202egnp.exe";

/// A stream of the Anthropic API that says `Hello`, then something hostile, then calls a tool.
fn stream() -> String {
    let delta = |member: &str, text: &str| {
        format!(
            "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\
             \"delta\":{{\"{member}\":\"{text}\"}}}}\n\n"
        )
    };
    let call = "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":1,\
                \"content_block\":{\"type\":\"tool_use\",\"name\":\"run_sql\",\"input\":{}}}\n\n";
    [&delta("text", "Hello "), &*delta("text", HOSTILE), call, &delta("partial_json", "{\\\"sql\\\":1}")]
        .concat()
}

/// A gateway with a recorded conversation of two turns, a plain page, and a request that was refused.
fn world() -> (Gateway, Upstream) {
    let upstream = Upstream::start(|mut connection| {
        while connection.read_request() {
            let body = stream();
            let head =
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
            connection.write(head.as_bytes());
            for piece in body.as_bytes().chunks(40) {
                connection.write(format!("{:x}\r\n", piece.len()).as_bytes());
                connection.write(piece);
                connection.write(b"\r\n");
            }
            connection.write(b"0\r\n\r\n");
        }
    });
    let gateway = Gateway::start(&open_route("up", upstream.address));
    let mut client = Client::connect(&gateway.address());
    let json = ("content-type", "application/json");
    let session = ("x-session-id", "agent-42");
    for turn in ["first question", "second \\u001b[31mquestion"] {
        let before = "{\"role\":\"user\",\"content\":\"old\"},{\"role\":\"assistant\",\"content\":\"a\"}";
        let now = format!("{{\"role\":\"user\",\"content\":\"{turn}\"}}");
        let body = format!("{{\"messages\":[{before},{now}]}}");
        assert_eq!(client.ask("POST", "/v1/messages?beta=true", &[json, session], &body).status, 200);
    }
    assert_eq!(ask(&gateway.address(), "GET", "/alone", &[], "").status, 200);
    let malformed = ask(&gateway.address(), "GET", "/x", &[("content-length", "-1")], "");
    assert_eq!(malformed.status, 400);
    (gateway, upstream)
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let obeyed = |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{202a}'..='\u{202e}');
    assert!(!text.contains(obeyed), "{text:?}");
    text
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Everything that can be read, through `command`, which adds where to read it.
fn check_all(command: &dyn Fn(&[&str]) -> Output) {
    let sessions = eventually("the end of every exchange", || {
        let sessions = json(&command(&["sessions", "list", "--json"]));
        (sessions.as_array().unwrap().len() == 3).then_some(sessions)
    });
    let claimed = sessions.as_array().unwrap().iter().find(|one| one["name"] == "agent-42").unwrap();
    assert_eq!((&claimed["requests"], &claimed["decisions"]["allow"]), (&2.into(), &2.into()), "{claimed}");
    assert_eq!((&claimed["named_by"], &claimed["route"]), (&"client".into(), &"up".into()));
    let id = claimed["id"].as_str().unwrap();

    let filtered = json(&command(&["sessions", "list", "--json", "--decision", "refuse", "--since", "1h"]));
    assert_eq!(filtered.as_array().unwrap().len(), 1);
    assert_eq!(filtered[0]["decisions"]["refuse"], 1);
    assert_eq!(json(&command(&["sessions", "list", "--json", "--subject", "nobody"])), Value::Array(vec![]));
    let listed = text(&command(&["sessions", "list", "--limit", "1"]));
    assert_eq!(listed.lines().count(), 2, "{listed}");

    let shown = json(&command(&["sessions", "show", &id[..12], "--json"]));
    let exchanges = shown["exchanges"].as_array().unwrap();
    assert_eq!((shown["id"].as_str(), exchanges.len()), (Some(id), 2));
    assert_eq!(exchanges[0]["target"], "/v1/messages?beta=true");
    let request = exchanges[1]["id"].as_str().unwrap();
    assert!(text(&command(&["sessions", "show", request])).contains("claimed by the client"));

    let tail = text(&command(&["sessions", "tail", "-n", "2"]));
    assert_eq!(tail.lines().count(), 2, "{tail}");

    let replay = text(&command(&["sessions", "replay", id, "--speed", "1000"]));
    for expected in [
        "  > first question\n",
        "  > second \\x1b[31mquestion\n",
        "  | Hello evil \\x1b[2J\\x1b]0;owned\\x07 \\u{202e}gnp.exe\n",
        "  | [calls] run_sql {\"sql\":1}\n",
    ] {
        assert!(replay.contains(expected), "{expected:?} is not in {replay}");
    }
    assert!(!replay.contains("old"), "{replay}");
    let raw = text(&command(&["sessions", "replay", request, "--raw", "--speed", "1000"]));
    assert!(raw.contains("  | event: content_block_delta\n"), "{raw}");

    let jsonl = command(&["sessions", "export", id]);
    let lines = String::from_utf8(jsonl.stdout).unwrap();
    let recordings: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(recordings.len(), 2);
    let pieces = recordings[0]["response"]["pieces"].as_array().unwrap();
    let body: String = pieces.iter().map(|piece| piece["text"].as_str().unwrap()).collect();
    assert_eq!(body, stream());
    let all = command(&["sessions", "export", "--since", "1h"]);
    assert_eq!(String::from_utf8(all.stdout).unwrap().lines().count(), 4);

    let har = json(&command(&["sessions", "export", "--since", "1h", "--format", "har"]));
    assert_eq!(har["log"]["entries"].as_array().unwrap().len(), 4);
    check_har(&har);

    let unknown = command(&["sessions", "show", "ses_0000000000000000"]);
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert_eq!(unknown.status.code(), Some(1), "{said}");
    assert!(said.contains("sessions list"), "{said}");
    assert_eq!(command(&["sessions", "export"]).status.code(), Some(2));
}

/// What others who read HAR say of it.
fn check_har(har: &Value) {
    let Some(mut validator) = clients::har_validator() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sessions.har");
    fs::write(&file, har.to_string()).unwrap();
    let output = clients::run(validator.arg(&file), Duration::from_secs(60));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.trim() == "valid",
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_log_folder_tells_what_happened() {
    let (mut gateway, _upstream) = world();
    gateway.process.signal("TERM");
    gateway.process.wait();
    let dir = gateway.folder.path().join("audit");
    let command = |arguments: &[&str]| {
        let place = ["--dir", dir.to_str().unwrap()];
        ringward(&[arguments, &place].concat(), &[])
    };
    check_all(&command);
    assert!(gateway.folder.path().join("audit-index.sqlite").exists());
}

#[test]
fn a_running_gateway_tells_what_happens_and_records_who_asks() {
    let (mut gateway, _upstream) = world();
    check_all(&|arguments| gateway.command(arguments));
    gateway.process.signal("TERM");
    gateway.process.wait();
    let dir = gateway.folder.path().join("audit");
    let verified = ringward(&["audit", "verify", dir.to_str().unwrap()], &[]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    let log = fs::read(dir.join("000000000001.segment")).unwrap();
    let has = |text: &str| log.windows(text.len()).any(|part| part == text.as_bytes());
    let uid = std::os::unix::fs::MetadataExt::uid(&fs::metadata(&dir).unwrap());
    for text in ["show", "replay", "export jsonl", &format!("local:{uid}")] {
        assert!(has(text), "{text}");
    }
}

#[test]
fn an_index_is_made_anew() {
    let (mut gateway, _upstream) = world();
    gateway.process.signal("TERM");
    gateway.process.wait();
    let folder = gateway.folder.path();
    let (config, dir) = (folder.join("ringward.toml"), folder.join("audit"));
    // A folder that is named counts more than what the environment says.
    let elsewhere = [("RINGWARD_ADMIN", "unix:/nonexistent/admin.sock")];
    let list = || text(&ringward(&["sessions", "list", "--dir", dir.to_str().unwrap()], &elsewhere));
    let before = list();
    let index = folder.join("audit-index.sqlite");
    fs::write(&index, "spoilt").unwrap();
    let planned = ringward(&["audit", "reindex", "--dry-run", "-c", config.to_str().unwrap()], &[]);
    let said = String::from_utf8_lossy(&planned.stdout).into_owned();
    assert!(said.contains("3 sessions") && said.contains("nothing was done"), "{said}");
    assert_eq!(fs::read_to_string(&index).unwrap(), "spoilt");
    let again = ringward(&["audit", "reindex", "-c", config.to_str().unwrap()], &[]);
    let said = String::from_utf8_lossy(&again.stdout).into_owned();
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    assert!(said.contains("audit-index.sqlite") && said.contains("3 sessions"), "{said}");
    assert_eq!(list(), before);
    fs::remove_file(&index).unwrap();
    assert_eq!(list(), before);
    let nowhere = ringward(&["audit", "reindex", folder.join("none").to_str().unwrap()], &[]);
    assert_eq!(nowhere.status.code(), Some(1));
    let none = ringward(&["sessions", "list"], &elsewhere);
    let said = String::from_utf8_lossy(&none.stderr).into_owned();
    assert!(none.status.code() == Some(5) && said.contains("--dir"), "{said}");
}

#[test]
fn an_export_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let (gateway, _upstream) = world();
    let dir = gateway.folder.path().join("audit");
    let file = gateway.folder.path().join("out.har");
    let (dir, name) = (dir.to_str().unwrap(), file.to_str().unwrap());
    let export = ["sessions", "export", "--since", "1h", "--format", "har", "--dir", dir, "-o", name];
    assert!(ringward(&export, &[]).status.success());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let again = ringward(&export, &[]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("is there already"));
}

#[test]
fn a_folder_without_a_log_and_a_damaged_one_are_named() {
    let empty = tempfile::tempdir().unwrap();
    let list = |dir: &str| ringward(&["sessions", "list", "--dir", dir], &[]);
    for dir in [empty.path().to_str().unwrap(), "/nonexistent"] {
        let output = list(dir);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("holds no audit log") && said.contains("--dir"), "{said}");
    }
    let (mut gateway, _upstream) = world();
    gateway.process.signal("TERM");
    gateway.process.wait();
    let dir = gateway.folder.path().join("audit");
    let segment = dir.join("000000000001.segment");
    let mut bytes = fs::read(&segment).unwrap();
    let at = bytes.windows(8).position(|part| part == b"agent-42").expect("it is recorded");
    bytes[at] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let output = list(dir.to_str().unwrap());
    assert_eq!(output.status.code(), Some(6), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn following_shows_requests_as_they_end() {
    let (gateway, _upstream) = world();
    let dir = gateway.folder.path().join("audit");
    let mut child = Command::new(env!("CARGO_BIN_EXE_ringward"))
        .args(["sessions", "tail", "-f", "-n", "0", "--json", "--dir", dir.to_str().unwrap()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let (sender, receiver) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || drop(lines.next().map(|line| sender.send(line.unwrap()))));
    // It may begin to follow a little later: requests go on until one is seen.
    let line = eventually("a line", || {
        assert_eq!(ask(&gateway.address(), "GET", "/followed", &[], "").status, 200);
        receiver.recv_timeout(Duration::from_millis(300)).ok()
    });
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["target"], "/followed", "{line}");
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
}

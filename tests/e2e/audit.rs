//! The audit log as operators use it: it verifies, it shows what was changed, and without it
//! nothing is forwarded.

use super::support::{
    all_bytes, eventually,
    gateway::{Demo, Gateway, open_route, rewrite, ringward},
    http::{Client, Response, ask, ask_admin},
    upstream::Upstream,
};
use serde_json::{Value, json};
use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

/// A log with some exchanges in it, of a gateway that has ended.
fn recorded(requests: usize) -> tempfile::TempDir {
    let upstream = Upstream::answering("recorded");
    let mut gateway = Gateway::start(&open_route("up", upstream.address));
    let mut client = Client::connect(&gateway.address());
    for number in 0..requests {
        assert_eq!(client.ask("POST", &format!("/request/{number}"), &[], "a body").status, 200);
    }
    gateway.process.signal("TERM");
    assert_eq!(gateway.process.wait().code(), Some(0), "{}", gateway.log());
    let Gateway { folder, .. } = gateway;
    folder
}

fn verify(folder: &Path) -> (Option<i32>, String) {
    let output = ringward(&["audit", "verify", folder.join("audit").to_str().unwrap()], &[]);
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), said)
}

/// The segment files, in order.
fn segments(folder: &Path) -> Vec<PathBuf> {
    files(&folder.join("audit"))
}

fn files(log: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(log).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.is_file()).collect();
    files.sort();
    files
}

#[test]
fn a_log_verifies_and_a_changed_byte_is_found() {
    let folder = recorded(20);
    let (code, said) = verify(folder.path());
    assert_eq!(code, Some(0), "{said}");
    let holding = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap();
        let at = bytes.windows(11).position(|part| part == b"/request/10")?;
        Some((path.clone(), bytes, at))
    };
    let (path, bytes, at) = segments(folder.path()).iter().find_map(holding).expect("the path is recorded");
    for change in [at, at + 10, at + 40] {
        let mut changed = bytes.clone();
        changed[change] ^= 1;
        fs::write(&path, changed).unwrap();
        let (code, said) = verify(folder.path());
        assert_eq!(code, Some(6), "byte {change}: {said}");
        assert!(said.contains("record") || said.contains("batch"), "{said}");
    }
    fs::write(&path, bytes).unwrap();
    assert_eq!(verify(folder.path()).0, Some(0));
}

#[test]
fn a_restart_goes_on_with_the_same_log() {
    let folder = recorded(3);
    let upstream = Upstream::answering("again");
    let mut gateway = Gateway::start_in(folder, &open_route("up", upstream.address));
    assert_eq!(ask(&gateway.address(), "GET", "/second-life", &[], "").status, 200);
    // A sudden death: what was answered is in the log nevertheless.
    gateway.process.signal("KILL");
    gateway.process.wait();
    let Gateway { folder, .. } = gateway;
    let mut gateway = Gateway::start_in(folder, &open_route("up", upstream.address));
    assert_eq!(ask(&gateway.address(), "GET", "/third-life", &[], "").status, 200);
    gateway.process.signal("TERM");
    gateway.process.wait();
    let (code, said) = verify(gateway.folder.path());
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn what_a_subject_sent_is_erased_and_the_log_verifies() {
    let demo = Demo::start();
    let bearer = demo.bearer();
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let body = r#"{"sql":"select forget_me from words"}"#;
    assert_eq!(ask(demo.get("gateway"), "POST", "/warehouse/query", &headers, body).status, 200);
    let log = demo.path("audit_dir");
    let holds = || all_bytes(&log).windows(9).any(|part| part == b"forget_me");
    assert!(holds());
    let admin = format!("unix:{}", demo.get("admin_socket"));
    let erase = |subject: &str| {
        let erased =
            ringward(&["audit", "erase", "--subject", subject, "--json"], &[("RINGWARD_ADMIN", &admin)]);
        assert!(erased.status.success(), "{}", String::from_utf8_lossy(&erased.stderr));
        serde_json::from_slice::<serde_json::Value>(&erased.stdout).unwrap()
    };
    assert_eq!(erase("somebody & else")["exchanges"], 0);
    assert!(holds());
    let erased = erase("agent-7");
    assert!(erased["contents"].as_u64() >= Some(2) && erased["nonces"].as_u64() >= Some(2), "{erased}");
    assert!(!holds());
    let verified = ringward(&["audit", "verify", log.to_str().unwrap()], &[]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}

/// What a command prints; `None` where it is not installed.
fn printed(command: &mut Command) -> Option<Vec<u8>> {
    let output = command.stderr(Stdio::inherit()).output().ok()?;
    assert!(output.status.success(), "{command:?}");
    Some(output.stdout)
}

#[test]
fn sealed_segments_are_encrypted_to_auditors_and_open_with_age_and_zstd() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("auditor.txt");
    let Some(_) = printed(Command::new("age-keygen").arg("-o").arg(&key)) else {
        return eprintln!("skipped: age is not installed, so nobody else read what is encrypted");
    };
    let key_text = fs::read_to_string(&key).unwrap();
    let recipient = key_text.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    let upstream = Upstream::answering("recorded");
    Gateway::prepare(folder.path(), &open_route("up", upstream.address));
    let file = folder.path().join("ringward.toml");
    let table = format!("[audit]\nrecipients = [\"{recipient}\"]\n");
    rewrite(&file, |text| text.replace("[audit]\n", &table));
    let start = |folder: tempfile::TempDir| {
        let command = Gateway::run_in(folder.path());
        Gateway::spawn(folder, command)
    };
    let gateway = start(folder);
    let mut client = Client::connect(&gateway.address());
    for _ in 0..2 {
        assert_eq!(client.ask("POST", "/long", &[], &"A long body. ".repeat(60_000)).status, 200);
    }
    let sealed = eventually("an encrypted segment", || {
        segments(gateway.folder.path()).into_iter().find(|path| path.to_string_lossy().ends_with(".zst.age"))
    });
    let mut age = Command::new("age");
    let mut age = age.arg("-d").arg("-i").arg(&key).arg(&sealed).stdout(Stdio::piped()).spawn().unwrap();
    let inside = printed(Command::new("zstd").arg("-dc").stdin(age.stdout.take().unwrap())).unwrap();
    assert!(age.wait().unwrap().success());
    assert!(inside.starts_with(b"RINGWARD"), "the segment as it was sealed");
    assert!(inside.windows(26).any(|part| part == b"A long body. A long body. "), "with its bodies");

    let (code, said) = verify(gateway.folder.path());
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("--identity FILE"), "{said}");
    let log = gateway.folder.path().join("audit");
    let arguments = ["audit", "verify", log.to_str().unwrap(), "--identity", key.to_str().unwrap()];
    let opened = ringward(&arguments, &[]);
    assert!(opened.status.success(), "{}", String::from_utf8_lossy(&opened.stderr));
}

/// Starts a gateway whose audit folder is a small file system of its own; none where that is not
/// allowed.
fn on_a_small_disk(routes: &str) -> Option<Gateway> {
    let mut probe = Command::new("unshare");
    let allowed = probe.args(["-rm", "mount", "-t", "tmpfs", "none", "/mnt"]).stderr(Stdio::null()).status();
    if !allowed.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no file system can be mounted here, so the full disk was not tested");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("audit")).unwrap();
    Gateway::prepare(folder.path(), routes);
    let script = "mount -t tmpfs -o size=8m none audit && exec \"$0\" run -c ringward.toml";
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", script, env!("CARGO_BIN_EXE_ringward")]).current_dir(folder.path());
    Some(Gateway::spawn(folder, command))
}

/// Takes all room of the small disk, until a request is refused. Returns the file that takes it.
fn fill(gateway: &Gateway, upstream: &Upstream) -> (PathBuf, Response) {
    // The folder as the gateway sees it.
    let root = PathBuf::from(format!("/proc/{}/root", gateway.process.id()));
    let audit = root.join(gateway.folder.path().join("audit").strip_prefix("/").unwrap());
    let filler = audit.join("filler");
    let mut file = OpenOptions::new().create(true).append(true).open(&filler).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    drop(file);
    // The segment in use has room of its own; the next one has none.
    let mut client = Client::connect(&gateway.address());
    let mut refused = |length: usize| {
        let query = "x".repeat(length);
        eventually("a refusal", || {
            let forwarded = upstream.received().matches("POST /fill").count();
            let reply = client.ask("POST", &format!("/fill?{query}"), &[], "");
            if reply.status == 200 {
                return None;
            }
            assert_eq!(upstream.received().matches("POST /fill").count(), forwarded, "it was forwarded");
            Some(reply)
        })
    };
    refused(6000);
    let refused = refused(0);
    (filler, refused)
}

#[test]
fn a_full_disk_refuses_and_forwards_nothing_until_there_is_room() {
    let upstream = Upstream::answering("done");
    let Some(gateway) = on_a_small_disk(&open_route("up", upstream.address)) else { return };
    let address = gateway.address();
    assert_eq!(ask(&address, "POST", "/before", &[], "").status, 200);
    let (filler, refused) = fill(&gateway, &upstream);
    assert_eq!((refused.status, refused.header("x-should-retry")), (503, Some("true")), "{}", refused.text());
    assert!(refused.text().contains("audit_unavailable"), "{}", refused.text());
    assert_eq!(refused.header("retry-after"), Some("5"));
    let ready = gateway.command(&["healthcheck"]);
    assert!(!ready.status.success(), "it calls itself healthy");
    fs::remove_file(&filler).unwrap();
    eventually("room again", || (ask(&address, "POST", "/after", &[], "").status == 200).then_some(()));
}

#[test]
fn a_decision_that_cannot_be_recorded_was_not_made() {
    let upstream = Upstream::answering("done");
    let mut routes = open_route("up", upstream.address).replace("[\"default\"]", "[\"ask\", \"default\"]");
    routes += "[[policy]]\nname = \"ask\"\naction = \"approve\"\nreason = \"It asks.\"\n\
               when = { method = \"PUT\" }\napproval = { by = \"local:0\", self = true }\n";
    let Some(gateway) = on_a_small_disk(&routes) else { return };
    let address = gateway.address();
    let held = |state: &str| -> Vec<Value> {
        let listed = gateway.command(&["approvals", "list", "--state", state, "--json"]);
        serde_json::from_slice(&listed.stdout).unwrap_or_default()
    };
    let waiting = || {
        eventually("a caller who waits", || {
            held("pending").into_iter().find(|card| card["client"] == "waiting")
        })
    };
    let admin = gateway.folder.path().join("admin.sock");
    let decide = |card: &Value, decision: &str| {
        let path = format!("/api/v1/approvals/{}/decision", card["id"].as_str().unwrap());
        ask_admin(&admin, "POST", &path, &[], decision)
    };
    // Longer than what is left of the segment in use.
    let reason = "x".repeat(900);
    let granted = json!({"decision": "approve", "revision": 1, "scope": "period", "period_s": 1800,
                         "reason": reason})
    .to_string();
    let denied = json!({"decision": "deny", "revision": 1, "reason": reason}).to_string();
    thread::scope(|scope| {
        let asked = scope.spawn(|| ask(&address, "PUT", "/held", &[], ""));
        let card = waiting();
        let (filler, _) = fill(&gateway, &upstream);
        let failed = decide(&card, &granted);
        assert_eq!(failed.status, 503, "{}", failed.text());
        assert!(failed.text().contains("audit journal"), "{}", failed.text());
        assert_eq!(asked.join().unwrap().status, 503);
        assert_eq!(decide(&card, &denied).status, 503);
        fs::remove_file(&filler).unwrap();
        eventually("room again", || (ask(&address, "POST", "/after", &[], "").status == 200).then_some(()));
        // As if nobody had said anything: it waits for its caller, and nothing was granted.
        let still = held("pending");
        assert_eq!((still.len(), &still[0]["id"]), (1, &card["id"]), "{still:?}");
        assert_eq!(gateway.command(&["grants", "list", "--json"]).stdout, b"[]\n");
        assert!(!upstream.received().contains("PUT /held"), "it was forwarded");
        let again = scope.spawn(|| ask(&address, "PUT", "/held", &[], ""));
        let approved = decide(&waiting(), r#"{"decision": "approve", "revision": 1}"#);
        assert_eq!(approved.status, 200, "{}", approved.text());
        assert_eq!(again.join().unwrap().status, 200);
    });
    assert_eq!(upstream.received().matches("PUT /held").count(), 1);
}

//! The signed log from outside: with the binary, with the operators' interface, and with openssl, which knows
//! nothing of it.

use super::support::{
    eventually,
    gateway::{Gateway, open_route, ringward},
    http::Client,
    upstream::Upstream,
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// A gateway that has forwarded some requests, and whose newest checkpoint covers them.
fn recorded(folder: Option<tempfile::TempDir>, requests: usize) -> Gateway {
    let upstream = Upstream::answering("recorded");
    let folder = folder.unwrap_or_else(|| tempfile::tempdir().unwrap());
    let gateway = Gateway::start_in(folder, &open_route("up", upstream.address));
    let mut client = Client::connect(&gateway.address());
    for number in 0..requests {
        assert_eq!(client.ask("POST", &format!("/request/{number}"), &[], "a body").status, 200);
    }
    let sequence = status(&gateway)["audit"]["durable_sequence"].as_u64().unwrap();
    eventually("a checkpoint of all that", || (size(&head(&gateway)?) >= sequence).then_some(()));
    gateway
}

fn status(gateway: &Gateway) -> serde_json::Value {
    let output = gateway.command(&["status", "--json"]);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// The newest checkpoint that the gateway offers to witnesses.
fn head(gateway: &Gateway) -> Option<String> {
    let output = gateway.command(&["audit", "head"]);
    output.status.success().then(|| text(&output))
}

fn size(note: &str) -> u64 {
    note.lines().nth(1).unwrap().parse().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn said(output: &Output) -> String {
    text(output) + &String::from_utf8_lossy(&output.stderr)
}

/// Runs `ringward audit` with these arguments in the folder of a log.
fn audit(folder: &Path, arguments: &[&str]) -> Output {
    let dir = folder.join("audit");
    let all = [&["audit"], arguments, &["--dir", dir.to_str().unwrap()]].concat();
    ringward(&all, &[])
}

fn succeed(output: Output) -> String {
    assert!(output.status.success(), "{}", said(&output));
    text(&output)
}

fn stop(mut gateway: Gateway) -> tempfile::TempDir {
    gateway.process.signal("TERM");
    assert_eq!(gateway.process.wait().code(), Some(0), "{}", gateway.log());
    let Gateway { folder, .. } = gateway;
    folder
}

fn write(folder: &Path, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// An outsider needs a public key, a checkpoint and a tool that has never heard of this gateway.
#[test]
fn openssl_verifies_a_checkpoint() {
    let gateway = recorded(None, 5);
    let note = head(&gateway).unwrap();
    let folder = gateway.folder.path();
    let pem = write(folder, "log.pem", succeed(audit(folder, &["key", "--pem"])));
    let (body, lines) = note.rsplit_once("\n\n").unwrap();
    let signature = lines.trim_end().rsplit_once(' ').unwrap().1;
    let decoded = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, signature).unwrap();
    let signature = write(folder, "signature", &decoded[4..]);
    for (signed, expected) in [(format!("{body}\n"), true), (format!("{body} \n"), false)] {
        let signed = write(folder, "signed", signed);
        let mut openssl = Command::new("openssl");
        openssl.args(["pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", path(&pem)]);
        openssl.args(["-in", path(&signed), "-sigfile", path(&signature)]);
        match openssl.output() {
            Ok(output) => assert_eq!(output.status.success(), expected, "{}", said(&output)),
            Err(error) => return eprintln!("skipped: no openssl: {error}"),
        }
    }
}

#[test]
fn a_checkpoint_kept_elsewhere_finds_a_log_that_was_rolled_back() {
    let gateway = recorded(None, 3);
    let early = head(&gateway).unwrap();
    // The log as it is now, put aside by whoever wants to roll it back later.
    let aside = tempfile::tempdir().unwrap();
    let copied =
        Command::new("cp").arg("-r").arg(gateway.folder.path().join("audit")).arg(aside.path()).status();
    assert!(copied.unwrap().success());
    let gateway = recorded(Some(stop(gateway)), 30);
    let late = head(&gateway).unwrap();
    let folder = stop(gateway);
    let key = succeed(audit(folder.path(), &["key"]));
    let key = write(folder.path(), "key", key);
    let (early, late) = (write(folder.path(), "early", early), write(folder.path(), "late", late));

    let all =
        ["verify", "--key", path(&key), "--checkpoint", path(&early), "--checkpoint", path(&late), "--json"];
    let report: serde_json::Value = serde_json::from_str(&succeed(audit(folder.path(), &all))).unwrap();
    let records = report["records"].as_u64().unwrap();
    assert_eq!(report["signed_through"], records - 1, "{report}");
    assert_eq!(report["key_trusted"], true);

    let old = aside.path();
    assert!(audit(old, &["verify", "--checkpoint", path(&early)]).status.success());
    let rolled_back = audit(old, &["verify", "--checkpoint", path(&late)]);
    assert_eq!(rolled_back.status.code(), Some(6), "{}", said(&rolled_back));
    assert!(said(&rolled_back).contains("cut or rolled back"), "{}", said(&rolled_back));

    // The folder's own checkpoint tells of a tail that was cut without it.
    let last = fs::read_dir(folder.path().join("audit")).unwrap().map(|entry| entry.unwrap().path());
    let last = last.filter(|file| file.extension().is_some_and(|end| end == "segment")).max().unwrap();
    fs::remove_file(last).unwrap();
    let cut = audit(folder.path(), &["verify"]);
    assert_eq!(cut.status.code(), Some(6), "{}", said(&cut));

    // Somebody else's key.
    let other = recorded(None, 1);
    let other_key = succeed(audit(other.folder.path(), &["key"]));
    let foreign = audit(old, &["verify", "--key", other_key.trim()]);
    assert_eq!(foreign.status.code(), Some(6), "{}", said(&foreign));
    assert!(said(&foreign).contains("the key was replaced"), "{}", said(&foreign));
    let nonsense = audit(old, &["verify", "--key", "a+b+c"]);
    assert_eq!(nonsense.status.code(), Some(2), "{}", said(&nonsense));
}

#[test]
fn a_proof_is_checked_without_the_log() {
    let gateway = recorded(None, 4);
    let folder = gateway.folder.path();
    let key = succeed(audit(folder, &["key"]));
    let bundle = succeed(audit(folder, &["prove", "3"]));
    assert!(bundle.starts_with("c2sp.org/tlog-proof@v1\nextra "), "{bundle}");
    let offered = succeed(gateway.command(&["audit", "prove", "3"]));
    assert!(offered.starts_with("c2sp.org/tlog-proof@v1\nextra "), "{offered}");
    let too_late = audit(folder, &["prove", "100000"]);
    assert_eq!(too_late.status.code(), Some(1));
    assert!(said(&too_late).contains("not covered by a checkpoint yet"), "{}", said(&too_late));

    let elsewhere = tempfile::tempdir().unwrap();
    let check = |bundle: &str, key: &str| {
        let file = write(elsewhere.path(), "proof", bundle);
        ringward(&["audit", "check-proof", path(&file), "--key", key, "--json"], &[])
    };
    let proven: serde_json::Value = serde_json::from_str(&succeed(check(&bundle, key.trim()))).unwrap();
    assert_eq!((&proven["record"], &proven["key_trusted"]), (&3.into(), &true.into()));
    for at in (0..bundle.len()).step_by(7) {
        let mut changed = bundle.clone().into_bytes();
        changed[at] ^= 1;
        let changed = String::from_utf8_lossy(&changed).into_owned();
        let output = check(&changed, key.trim());
        assert_eq!(output.status.code(), Some(6), "byte {at}: {}", said(&output));
    }
    let other = recorded(None, 1);
    let other = succeed(audit(other.folder.path(), &["key"]));
    assert_eq!(check(&bundle, other.trim()).status.code(), Some(6));
    let missing = ringward(&["audit", "check-proof", "/nowhere"], &[]);
    assert_eq!(missing.status.code(), Some(1), "{}", said(&missing));
}

#[test]
fn the_key_is_exchanged_while_the_gateway_runs_and_while_it_does_not() {
    let gateway = recorded(None, 3);
    let first = succeed(audit(gateway.folder.path(), &["key"]));
    let planned = succeed(gateway.command(&["audit", "rotate-key", "--dry-run"]));
    assert!(planned.contains("a new key would sign from record"), "{planned}");
    assert_eq!(first, succeed(audit(gateway.folder.path(), &["key"])), "nothing was done");
    let second = succeed(gateway.command(&["audit", "rotate-key"]));
    assert_ne!(first, second);
    let gateway = recorded(Some(stop(gateway)), 3);
    let in_use = rotate_offline(&gateway);
    assert_eq!(in_use.status.code(), Some(1));
    assert!(said(&in_use).contains("in use by another gateway"), "{}", said(&in_use));
    let folder = stop(gateway);
    let config = folder.path().join("ringward.toml");
    let dry = ["audit", "rotate-key", "--offline", "--dry-run", "-c", path(&config)];
    let planned = succeed(ringward(&dry, &[]));
    assert!(planned.contains("a new key would sign from record"), "{planned}");
    assert_eq!(second, succeed(audit(folder.path(), &["key"])), "nothing was done");
    let third = succeed(ringward(&["audit", "rotate-key", "--offline", "-c", path(&config)], &[]));
    let gateway = recorded(Some(folder), 3);
    let bundle = succeed(audit(gateway.folder.path(), &["prove", "2"]));
    let folder = stop(gateway);
    let all = succeed(audit(folder.path(), &["key", "--all"]));
    assert_eq!(all, format!("1 {first}2 {second}3 {third}"));
    let proof = write(folder.path(), "proof", bundle);
    for key in [first, second, third] {
        succeed(audit(folder.path(), &["verify", "--key", key.trim()]));
        succeed(ringward(&["audit", "check-proof", path(&proof), "--key", key.trim()], &[]));
    }
}

fn rotate_offline(gateway: &Gateway) -> Output {
    let config = gateway.folder.path().join("ringward.toml");
    ringward(&["audit", "rotate-key", "--offline", "-c", path(&config)], &[])
}

#[test]
fn witnesses_get_heads_and_their_consistency() {
    let gateway = recorded(None, 3);
    let socket = gateway.folder.path().join("admin.sock");
    let ask = |target: &str| {
        let url = format!("http://localhost{target}");
        let output = Command::new("curl").args(["-sS", "--unix-socket", path(&socket), &url]).output();
        output.ok().map(|output| text(&output))
    };
    let Some(old) = ask("/api/v1/audit/head") else { return eprintln!("skipped: no curl") };
    let mut client = Client::connect(&gateway.address());
    assert_eq!(client.ask("POST", "/more", &[], "").status, 200);
    let new = eventually("a newer head", || head(&gateway).filter(|new| size(new) > size(&old)));
    // The file beside the segments, which proofs are made of, comes a moment later.
    let shown: serde_json::Value = eventually("a proof of it", || {
        let target = format!("/api/v1/audit/consistency?from={}&to={}", size(&old), size(&new));
        let shown: serde_json::Value = serde_json::from_str(&ask(&target)?).unwrap();
        shown["proof"].is_array().then_some(shown)
    });
    let hash = |text: &str| -> [u8; 32] {
        let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).unwrap();
        bytes.try_into().unwrap()
    };
    let path: Vec<_> =
        shown["proof"].as_array().unwrap().iter().map(|one| hash(one.as_str().unwrap())).collect();
    let root = |note: &str| hash(note.lines().nth(2).unwrap());
    assert!(ringward::audit::is_consistent(size(&old), &root(&old), size(&new), &root(&new), &path));
}

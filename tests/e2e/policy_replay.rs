//! Recorded requests through another configuration: the same one changes nothing, another one shows what it
//! would change, and what no record holds is counted apart.

use super::support::{
    eventually,
    gateway::{Demo, Gateway, rewrite, ringward},
    http::{Client, ask},
    upstream::Upstream,
};
use serde_json::Value;
use std::{fs, path::Path, process::Output};

/// Status and document of a replay.
fn replay(dir: &Path, against: &Path, more: &[&str]) -> (i32, Value) {
    let place = ["--dir", dir.to_str().unwrap(), "--against", against.to_str().unwrap(), "--json"];
    let output = ringward(&[&["policy", "replay"], &place[..], more].concat(), &[]);
    let document = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().unwrap(), document)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The policies and masks of the gateway's route.
const ROUTE: &str = r#"
[[mask]]
name = "mails"
kind = "email"
replace = "[mail]"
[[policy]]
name = "no-drop"
when = { body = { contains_any = ["DROP TABLE"], ignore_case = true } }
action = "block"
reason = "No drops."
[[policy]]
name = "no-delete"
when = { method = ["DELETE"] }
action = "block"
reason = "Nothing is deleted."
"#;

/// Routes: `up` with policies and a mask, `bare` whose bodies are not recorded, `open` without masks.
fn routes(address: impl std::fmt::Display) -> String {
    let route = |name: &str, more: &str| {
        format!(
            "[[route]]\nname = \"{name}\"\nmatch = {{ listen = \"main\", path = \"/{name}/**\" }}\n\
             identity = []\nupstream = \"up\"\npolicies = [\"no-drop\", \"no-delete\", \"default\"]\n{more}\n"
        )
    };
    let up = format!("[upstreams.up]\nurl = \"http://{address}\"\n");
    let bare = "record = { bodies = \"none\" }";
    [ROUTE, &up, &*route("up", "masks = [\"mails\"]"), &*route("bare", bare), &*route("open", "")].concat()
}

/// A gateway that has seen one request of each kind, and has ended.
fn world() -> (Gateway, Upstream) {
    let upstream = Upstream::start(|mut connection| {
        while connection.read_request() {
            let body = "{\"to\":\"b@example.com\"}";
            let head = format!("content-type: application/json\r\ncontent-length: {}", body.len());
            connection.write(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}").as_bytes());
        }
    });
    let mut gateway = Gateway::start(&routes(upstream.address));
    let mut client = Client::connect(&gateway.address());
    let json = ("content-type", "application/json");
    let mut check = |method: &str, path: &str, body: &str, status: u16| {
        assert_eq!(client.ask(method, path, &[json], body).status, status, "{method} {path} {body}");
    };
    check("POST", "/up/plain", "{\"text\":\"hello\"}", 200);
    check("POST", "/up/mail", "{\"text\":\"a@example.com\"}", 200);
    check("POST", "/up/drop", "{\"text\":\"drop table x\"}", 403);
    check("POST", "/bare/plain", "{\"text\":\"hello\"}", 200);
    check("POST", "/open/mail", "{\"text\":\"c@example.com\"}", 200);
    check("GET", "/nowhere", "", 404);
    assert_eq!(ask(&gateway.address(), "DELETE", "/up/thing", &[], "").status, 403);
    assert_eq!(ask(&gateway.address(), "GET", "/open/x?\u{202e}", &[], "").status, 400);
    assert_eq!(ask(&gateway.address(), "GET", "/up", &[("content-length", "-1")], "").status, 400);
    eventually("the end of every exchange", || (gateway.access_log().len() == 9).then_some(()));
    gateway.process.signal("TERM");
    gateway.process.wait();
    (gateway, upstream)
}

/// What changed, with the method and path of each.
fn changes(document: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let differences = document["differences"].as_array().unwrap().iter();
    differences.map(|one| (text(&one["change"]), text(&one["path"]))).collect()
}

/// An auditor's age identity, and the recipient that belongs to it.
fn auditor() -> (String, String) {
    let encode = |hrp: &str, bytes: &[u8]| {
        bech32::encode::<bech32::Bech32>(bech32::Hrp::parse(hrp).unwrap(), bytes).unwrap()
    };
    let algorithm = &aws_lc_rs::agreement::X25519;
    let secret = aws_lc_rs::agreement::PrivateKey::from_private_key(algorithm, &[7; 32]).unwrap();
    let public = secret.compute_public_key().unwrap();
    (encode("age-secret-key-", &[7; 32]).to_uppercase(), encode("age", public.as_ref()))
}

#[test]
fn what_only_auditors_read_is_replayed_with_their_key() {
    let (gateway, _upstream) = world();
    let Gateway { folder, .. } = gateway;
    let (identity, recipient) = auditor();
    let (key, file) = (folder.path().join("auditor.txt"), folder.path().join("ringward.toml"));
    fs::write(&key, identity).unwrap();
    let table = format!("[audit]\nrecipients = [\"{recipient}\"]\n");
    rewrite(&file, |text| text.replace("[audit]\n", &table));
    let command = Gateway::run_in(folder.path());
    let mut gateway = Gateway::spawn(folder, command);
    let dir = gateway.folder.path().join("audit");
    eventually("an encrypted segment", || {
        let mut files = fs::read_dir(&dir).unwrap().map(|file| file.unwrap().file_name());
        files.any(|name| name.to_string_lossy().ends_with(".zst.age")).then_some(())
    });
    gateway.process.signal("TERM");
    gateway.process.wait();
    let (code, document) = replay(&dir, &file, &[]);
    assert_eq!((code, &document["summary"]["exchanges"]), (0, &0.into()), "{document}");
    let (code, document) = replay(&dir, &file, &["--identity", key.to_str().unwrap()]);
    assert_eq!((code, &document["summary"]["exchanges"]), (0, &9.into()), "{document}");
    assert_eq!(document["summary"]["different"], 0, "{document}");
}

#[test]
fn the_same_configuration_changes_nothing_and_another_one_what_it_says() {
    let (gateway, _upstream) = world();
    let (dir, same) = (gateway.folder.path().join("audit"), gateway.folder.path().join("ringward.toml"));
    let (code, document) = replay(&dir, &same, &[]);
    assert_eq!((code, document["differences"].as_array().unwrap().len()), (0, 0), "{document}");
    let summary = &document["summary"];
    assert_eq!((&summary["exchanges"], &summary["different"]), (&9.into(), &0.into()), "{summary}");
    assert_eq!(summary["unknown_reasons"]["undecided"], 2, "{summary}");
    assert_eq!(summary["unknown_reasons"]["masked"], 1, "{summary}");
    assert_eq!(summary["unknown_reasons"]["body_not_recorded"], 1, "{summary}");
    assert_eq!(document["unknown"].as_array().unwrap().len(), 4, "{document}");

    let text = fs::read_to_string(&same).unwrap();
    let other = |from: &str, to: &str| {
        assert!(text.contains(from), "{from} is not in {text}");
        let file = gateway.folder.path().join("other.toml");
        fs::write(&file, text.replace(from, to)).unwrap();
        let (code, document) = replay(&dir, &file, &[]);
        assert_eq!(code, 7, "{document}");
        document
    };
    let one = |change: &str, path: &str| vec![(change.to_owned(), path.to_owned())];
    assert_eq!(changes(&other("DROP TABLE", "DROP INDEX")), one("DENY→ALLOW", "/up/drop"));
    let document = other("DROP TABLE", "drop table\", \"HELLO");
    assert_eq!(changes(&document), one("ALLOW→DENY", "/up/plain"));
    let (old, new) = (&document["differences"][0]["old"], &document["differences"][0]["new"]);
    assert_eq!((&old["decision"], &old["policy"]), (&"allow".into(), &"default".into()), "{document}");
    assert_eq!((&new["decision"], &new["policy"]), (&"block".into(), &"no-drop".into()), "{document}");
    assert_eq!(new["reason"], "No drops.", "{document}");
    assert!(new["place"].as_str().unwrap().starts_with("other.toml:"), "{document}");
    let renamed = [text.replace("no-delete", "keep")].concat();
    fs::write(gateway.folder.path().join("renamed.toml"), renamed).unwrap();
    let (code, document) = replay(&dir, &gateway.folder.path().join("renamed.toml"), &[]);
    assert_eq!((code, changes(&document)), (7, one("POLICY", "/up/thing")));

    let masks = |document: &Value| document["summary"]["masks"].clone();
    let unmasked = other("masks = [\"mails\"]", "");
    assert_eq!(masks(&unmasked)["removed"], 3, "{unmasked}");
    let masked = other("name = \"open\"", "masks = [\"mails\"]\nname = \"open\"");
    assert_eq!(changes(&masked), one("MASKS", "/open/mail"));
    let spans = masked["differences"][0]["masks"].as_array().unwrap();
    let (to, back) = (&spans[0], &spans[1]);
    assert_eq!((&to["direction"], &to["offset"], &to["length"]), (&"request".into(), &9.into(), &13.into()));
    assert_eq!((&back["direction"], &back["offset"]), (&"response".into(), &7.into()));
    assert_eq!((&to["change"], &to["mask"]), (&"added".into(), &"mails".into()));
}

#[test]
fn people_read_a_summary_and_only_what_they_asked_for() {
    let (gateway, _upstream) = world();
    let (dir, same) = (gateway.folder.path().join("audit"), gateway.folder.path().join("ringward.toml"));
    let strict = gateway.folder.path().join("strict.toml");
    let text = fs::read_to_string(&same).unwrap();
    fs::write(&strict, text.replace("\"DELETE\"", "\"POST\"")).unwrap();
    let place = ["--dir", dir.to_str().unwrap(), "--against", strict.to_str().unwrap()];
    let run = |more: &[&str]| ringward(&[&["policy", "replay"], &place[..], more].concat(), &[]);
    let all = run(&[]);
    let shown = said(&all);
    assert_eq!(all.status.code(), Some(7), "{shown}");
    assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
    for expected in [
        "POST /up/plain\n  was allow by \"default\" (ringward.toml:",
        "\n  now block by \"no-delete\" (strict.toml:",
        "9 requests: ",
        "ALLOW→DENY",
        "DENY→ALLOW",
        "UNKNOWN undecided",
    ] {
        assert!(shown.contains(expected), "{expected:?} is not in {shown}");
    }
    // Which of two policies would block it lies in the body.
    let bare = run(&["--route", "bare"]);
    let text = "1 request: 0 the same, 0 different, 1 unknown\n  UNKNOWN body_not_recorded ";
    assert_eq!(bare.status.code(), Some(0), "{}", said(&bare));
    assert!(said(&bare).starts_with(text), "{}", said(&bare));
    let none = run(&["--until", "2001-01-01"]);
    assert_eq!(
        (none.status.code(), &*said(&none)),
        (Some(0), "0 requests: 0 the same, 0 different, 0 unknown\n")
    );

    fs::write(&strict, "version = 1\n[[policy]]\nname = 3\n").unwrap();
    let broken = run(&[]);
    assert_eq!(broken.status.code(), Some(3), "{}", said(&broken));
    assert!(said(&broken).contains("strict.toml:3"), "{}", said(&broken));
    let configured = ["policy", "replay", "--against", same.to_str().unwrap(), "-c", same.to_str().unwrap()];
    assert_eq!(ringward(&configured, &[]).status.code(), Some(0));
    assert_eq!(ringward(&["policy", "replay"], &[]).status.code(), Some(2));

    // One byte of the middle of the log.
    let segment = dir.join("000000000001.segment");
    let mut bytes = fs::read(&segment).unwrap();
    let at = bytes.windows(7).position(|part| part == b"/up/mai").unwrap();
    bytes[at] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let _ = fs::remove_file(gateway.folder.path().join("audit-index.sqlite"));
    let damaged = ringward(&configured, &[]);
    assert_eq!(damaged.status.code(), Some(6), "{}", said(&damaged));
}

#[test]
fn the_demos_own_configuration_decides_its_traffic_as_it_did() {
    let demo = Demo::start();
    let bearer = demo.bearer();
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let send = |method: &str, url: &str, body: &str| {
        let url = url.strip_prefix("http://").unwrap_or(url);
        let (address, path) = url.split_once('/').unwrap();
        ask(address, method, &format!("/{path}"), &headers, body).status
    };
    let (messages, warehouse) =
        (demo.route("anthropic") + "/v1/messages", demo.route("warehouse") + "/query");
    let prompt = |text: &str, tokens: u32| {
        format!(r#"{{"model":"m","max_tokens":{tokens},"messages":[{{"role":"user","content":"{text}"}}]}}"#)
    };
    assert_eq!(send("POST", &messages, &prompt("hi", 9)), 200);
    assert_eq!(send("POST", &messages, &prompt("run DROP TABLE a", 9)), 403);
    demo.denying(|| assert_eq!(send("POST", &messages, &prompt("hi", 64_000)), 403));
    assert_eq!(send("POST", &warehouse, r#"{"sql":"DELETE FROM a"}"#), 403);
    assert_eq!(send("POST", &warehouse, r#"{"sql":"SELECT 1"}"#), 200);
    demo.denying(|| assert_eq!(send("DELETE", &(demo.route("customers") + "/1"), ""), 403));
    assert_eq!(send("GET", &(demo.route("customers") + "/1"), ""), 404);
    let (dir, config) = (demo.path("audit_dir"), demo.path("config"));
    let (code, document) = eventually("the end of every exchange", || {
        let found = replay(&dir, &config, &[]);
        (found.1["summary"]["exchanges"] == 7).then_some(found)
    });
    assert_eq!((code, &document["summary"]["different"]), (0, &0.into()), "{document}");
    assert_eq!(document["summary"]["unknown"], 0, "{document}");

    let text = fs::read_to_string(&config).unwrap();
    let lax = config.with_file_name("lax.toml");
    fs::write(&lax, text.replace("\"big-spend\", ", "")).unwrap();
    let (code, document) = replay(&dir, &lax, &[]);
    assert_eq!(code, 7, "{document}");
    assert_eq!(document["summary"]["changes"], serde_json::json!({ "APPROVE→ALLOW": 1 }), "{document}");
}

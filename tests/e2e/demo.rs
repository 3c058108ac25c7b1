//! The demo with curl, as its printed commands do it, and what the gateway says to those it refuses.

use super::support::{
    gateway::Demo,
    http::{Client, Response, ask},
};
use serde_json::Value;
use std::process::Command;

/// Runs curl and splits what it prints into status, head and body.
fn curl(arguments: &[&str]) -> Response {
    let mut command = Command::new("curl");
    let output = command.args(["--silent", "--show-error", "--include", "--max-time", "60"]).args(arguments);
    let output = output.output().expect("curl is installed");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    Response { status, head: head.to_owned(), body: body.as_bytes().to_vec(), is_whole: true }
}

#[test]
fn customers_come_masked_in_clear_text_and_over_tls() {
    let demo = Demo::start();
    let (header, authority) = (format!("authorization: {}", demo.bearer()), demo.path("ca"));
    let tls = format!("{}/customers", demo.get("gateway_tls"));
    let authority = authority.to_str().unwrap();
    let check = |arguments: &[&str]| {
        let reply = curl(arguments);
        assert_eq!(reply.status, 200, "{}", reply.text());
        let text = reply.text();
        for masked in ["[email]", "[card …", "[project]"] {
            assert!(text.contains(masked), "{masked}: {text}");
        }
        for sensitive in ["@example.", "Project Falcon"] {
            assert!(!text.contains(sensitive), "{sensitive}: {text}");
        }
        assert!(reply.json().is_object() || reply.json().is_array(), "{text}");
        let id = reply.header("x-ringward-request-id").expect("an id");
        assert!(id.starts_with("req_"), "{id}");
    };
    check(&["-H", &header, &demo.route("customers")]);
    check(&["-H", &header, "--cacert", authority, &tls]);
    check(&["-H", &header, "--compressed", &demo.route("customers")]);
    // Nobody who knows only the system's authorities believes the demo's certificate.
    let output = Command::new("curl").args(["--silent", "--max-time", "60", &tls]).output().unwrap();
    assert_eq!(output.status.code(), Some(60));
    let address = demo.get("gateway_tls").trim_start_matches("https://").to_owned();
    let openssl = ["s_client", "-connect", &address, "-CAfile", authority, "-verify_return_error", "-brief"];
    let mut command = Command::new("openssl");
    let output = command.args(openssl).stdin(std::process::Stdio::null()).output().expect("openssl is there");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("Verification: OK"), "{said}");
}

#[test]
fn the_commands_that_the_demo_prints_work_as_pasted() {
    let home = tempfile::tempdir().unwrap();
    let (_process, commands) = Demo::printed(home.path());
    let check = |command: &String, expected: &[&str]| {
        let mut shell = Command::new("bash");
        let output = shell.args(["-c", command]).env("HOME", home.path()).env("XDG_RUNTIME_DIR", home.path());
        let output = output.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {text}{errors}");
        expected.iter().for_each(|word| assert!(text.contains(word), "{command}: {text}{errors}"));
    };
    assert_eq!(commands.len(), 4, "{commands:?}");
    check(&commands[0], &["[email]", "[card …", "[project]"]);
    check(&commands[1], &["Blocked by policy", "no-destructive-sql", "#db-oncall"]);
}

/// Calls the demo as its agent.
fn post(demo: &Demo, url: &str, body: &str) -> Response {
    let (header, json) = (format!("authorization: {}", demo.bearer()), "content-type: application/json");
    curl(&["-H", &header, "-H", json, "-d", body, url])
}

#[test]
fn what_a_rule_refuses_comes_with_its_reason() {
    let demo = Demo::start();
    let check = |url: &str, body: &str, status: u16, policy: &str, decision: &str, said: &str| {
        let reply = post(&demo, url, body);
        let text = reply.text();
        assert_eq!(reply.status, status, "{url}: {text}");
        assert_eq!(reply.header("x-ringward-response"), Some("gateway"), "{url}");
        assert_eq!(reply.header("x-ringward-decision"), Some(decision), "{url}");
        assert_eq!(reply.header("x-should-retry"), Some("false"), "{url}");
        let body = reply.json();
        assert!(body["message"].as_str().unwrap().contains(said), "{url}: {text}");
        assert_eq!(body["ringward"]["policy"], policy, "{url}: {text}");
        assert!(body["ringward"]["rule"].as_str().unwrap().starts_with("ringward.toml:"), "{url}: {text}");
        assert_eq!(body["status"], status, "{url}: {text}");
    };
    let (messages, chat) =
        (demo.route("anthropic") + "/v1/messages", demo.route("openai") + "/chat/completions");
    let warehouse = demo.route("warehouse") + "/query";
    let prompt = |text: &str, tokens: u32| {
        format!(r#"{{"model":"m","max_tokens":{tokens},"messages":[{{"role":"user","content":"{text}"}}]}}"#)
    };
    let runbook = "Ask #db-oncall for a runbook.";
    check(&messages, &prompt("run DROP TABLE a", 9), 403, "no-drop", "block", runbook);
    check(&messages, &prompt(r"run drop\u0020table a", 9), 403, "no-drop", "block", runbook);
    check(&chat, &prompt("run DROP TABLE a", 9), 403, "no-drop", "block", runbook);
    let sql = |text: &str| format!(r#"{{"sql":"{text}"}}"#);
    check(&warehouse, &sql("DELETE FROM a"), 403, "no-destructive-sql", "block", "runbook");
    check(&warehouse, &sql("select 1; drop/**/table a"), 403, "no-destructive-sql", "block", "runbook");
    assert_eq!(post(&demo, &warehouse, &sql("SELECT 1")).status, 200);
    assert_eq!(post(&demo, &messages, &prompt("hi", 9)).status, 200);
}

#[test]
fn who_brings_no_good_token_gets_a_401_that_says_why() {
    let demo = Demo::start();
    let challenge = |headers: &[(&str, &str)], code: &str| {
        let reply = ask(demo.get("gateway"), "GET", "/customers", headers, "");
        assert_eq!(reply.status, 401, "{code}: {}", reply.text());
        assert_eq!(reply.header("x-should-retry"), None, "{code}");
        assert!(reply.text().contains(code), "{code}: {}", reply.text());
        let challenge = reply.header("www-authenticate").expect("a challenge").to_owned();
        assert!(challenge.starts_with("Bearer"), "{challenge}");
        challenge
    };
    let bearer = |token: String| format!("Bearer {token}");
    assert!(!challenge(&[], "token_missing").contains("error="));
    let invalid = |token: String, code: &str| {
        let challenge = challenge(&[("authorization", &bearer(token))], code);
        assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    };
    let good = demo.get("token").to_owned();
    invalid("abc".to_owned(), "token_invalid");
    invalid(good.clone() + "A", "token_invalid");
    invalid(good[..good.rfind('.').unwrap() + 1].to_owned(), "token_invalid");
    invalid(demo.token("lifetime=-5"), "token_expired");
    invalid(demo.token("purpose="), "token_invalid");
    let (own, other) = (demo.bearer(), demo.token("subject=another"));
    challenge(&[("authorization", &own), ("x-api-key", &other)], "token_invalid");
    let status = |headers: &[(&str, &str)]| ask(demo.get("gateway"), "GET", "/customers", headers, "").status;
    assert_eq!(status(&[("x-api-key", &good)]), 200);
    assert_eq!(status(&[("authorization", &own), ("x-api-key", &good)]), 200);
}

#[test]
fn a_token_is_checked_on_every_request_of_a_connection() {
    let demo = Demo::start();
    let mut client = Client::connect(demo.get("gateway"));
    // On a machine that does much else, a token may end on its way here: the next one lives longer.
    let mut lifetime_s = 2;
    let short = super::support::eventually("a token that is used in time", || {
        lifetime_s += 1;
        let token = format!("Bearer {}", demo.token(&format!("lifetime={lifetime_s}")));
        let reply = client.ask("GET", "/customers", &[("authorization", &token)], "");
        assert!(reply.status == 200 || reply.text().contains("token_expired"), "{}", reply.text());
        (reply.status == 200).then_some(token)
    });
    super::support::eventually("the end of the token", || {
        let reply = client.ask("GET", "/customers", &[("authorization", &short)], "");
        assert!(reply.status == 200 || reply.text().contains("token_expired"), "{}", reply.text());
        (reply.status == 401).then_some(())
    });
}

#[test]
fn probes_and_malformed_requests_are_no_failed_logins() {
    let demo = Demo::start();
    let gateway = demo.get("gateway");
    assert_eq!(curl(&["--head", gateway]).status, 404);
    assert_eq!(curl(&[gateway]).status, 404);
    assert_eq!(ask(gateway, "GET", "/nowhere", &[], "").status, 404);
    let mut client = Client::connect(gateway);
    client.send("GET /customers HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n");
    let reply = client.response(false).expect("a reply");
    assert_eq!(reply.status, 400);
    assert!(reply.text().contains("malformed_request"), "{}", reply.text());
    assert_eq!(reply.header("x-ringward-response"), Some("gateway"));
}

/// What the demo's recorder got over the `open` listener, all connections together.
fn recorded(demo: &Demo) -> String {
    let list = ask(demo.get("open"), "GET", "/recorded", &[], "").json();
    let Value::Array(list) = list else { panic!("{list}") };
    let decode = |text: &Value| {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.decode(text.as_str().unwrap()).unwrap()
    };
    String::from_utf8_lossy(&list.iter().flat_map(decode).collect::<Vec<u8>>()).into_owned()
}

#[test]
fn a_callers_credentials_never_go_upstream() {
    let demo = Demo::start();
    let credentials = [
        ("authorization", "Bearer canary-authorization"),
        ("x-api-key", "canary-key"),
        ("cookie", "session=canary-cookie"),
        ("proxy-authorization", "Basic canary-proxy"),
        ("x-forwarded-for", "canary-forwarded"),
        ("x-http-method-override", "canary-method"),
        ("x-kept", "kept"),
    ];
    let reply = ask(demo.get("open"), "POST", "/any/path?a=b", &credentials, "a body");
    assert_eq!(reply.status, 200, "{}", reply.text());
    let seen = recorded(&demo);
    assert!(seen.starts_with("POST /any/path?a=b HTTP/1.1\r\n"), "{seen}");
    assert!(seen.contains("x-kept: kept") && seen.contains("a body"), "{seen}");
    assert!(!seen.contains("canary"), "{seen}");
    assert_eq!(ask(demo.get("open"), "DELETE", "/recorded", &[], "").status / 100, 2);
    assert_eq!(recorded(&demo), "");
}

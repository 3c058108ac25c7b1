//! The real credentials are searched for wherever a caller or a reader of logs could find them.

use super::support::{
    all_bytes, eventually,
    gateway::{Demo, Gateway},
    http::{Client, ask},
    upstream::Upstream,
};
use std::{fs, os::unix::fs::PermissionsExt};

fn contains(haystack: &[u8], needle: &str) -> bool {
    haystack.windows(needle.len()).any(|part| part == needle.as_bytes())
}

#[test]
fn no_reply_log_or_record_of_the_demo_holds_a_credential() {
    let demo = Demo::start();
    let bearer = demo.bearer();
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let calls = [
        ("GET", "/customers", ""),
        ("POST", "/warehouse/query", r#"{"sql":"select 1"}"#),
        ("POST", "/warehouse/query", r#"{"sql":"drop table a"}"#),
        (
            "POST",
            "/anthropic/v1/messages",
            r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#,
        ),
        (
            "POST",
            "/openai/v1/chat/completions",
            r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#,
        ),
        ("GET", "/nowhere", ""),
    ];
    let mut seen = vec![];
    for (method, path, body) in calls {
        let reply = ask(demo.get("gateway"), method, path, &headers, body);
        seen.extend(reply.head.into_bytes());
        seen.extend(reply.body);
    }
    let metrics = demo.get("metrics").trim_end_matches("/metrics").to_owned();
    seen.extend(ask(&metrics, "GET", "/metrics", &[], "").body);
    eventually("the access log", || {
        let log = fs::read(demo.path("log")).unwrap();
        contains(&log, "/nowhere").then(|| seen.extend(log))
    });
    let records = all_bytes(&demo.path("audit_dir"));
    assert!(contains(&records, "agent-7"), "the records are not where they are searched");
    seen.extend(records);
    let secrets = demo.secrets();
    assert!(secrets.len() >= 4, "{secrets:?}");
    for (name, secret) in secrets {
        assert!(!contains(&seen, &secret), "{name} was found");
    }
    assert!(!contains(&seen, demo.get("token")), "the caller's token was found");
}

#[test]
fn an_injected_credential_goes_upstream_and_nowhere_else() {
    const SECRET: &str = "real-credential-0123456789";
    let upstream = Upstream::answering("thanks");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("up.key");
    fs::write(&file, SECRET).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let routes = format!(
        "[secrets.up]\nsource = {{ file = \"up.key\" }}\n\
         [upstreams.up]\nurl = \"http://{}\"\n\
         inject = {{ header = \"x-key\", value = \"Key ${{secret:up}}\" }}\n\
         [[route]]\nname = \"up\"\nmatch = {{ listen = \"main\", path = \"/**\" }}\nidentity = []\n\
         upstream = \"up\"\npolicies = [\"default\"]\n",
        upstream.address
    );
    let gateway = Gateway::start_in(folder, &routes);
    let mut client = Client::connect(&gateway.address());
    for _ in 0..3 {
        // A caller cannot name the secret, nor bring a header of that name.
        let reply = client.ask("GET", "/?a=${secret:up}", &[("x-key", "mine"), ("x-a", "${secret:up}")], "");
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert!(!(reply.head.clone() + &reply.text()).contains(SECRET), "{}", reply.head);
    }
    let seen = upstream.received();
    assert!(seen.contains(&format!("x-key: Key {SECRET}\r\n")), "{seen}");
    assert!(!seen.contains("mine"), "{seen}");
    assert_eq!(seen.matches(SECRET).count(), 3, "{seen}");
    let logged = fs::read(gateway.folder.path().join("access.log")).unwrap();
    let kept = [all_bytes(&gateway.folder.path().join("audit")), logged, gateway.log().into_bytes()].concat();
    assert!(!contains(&kept, SECRET), "the secret was recorded");
}

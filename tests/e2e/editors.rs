//! The configuration over the admin interface: seen without secrets, changed in its include folders alone,
//! and never left half changed.

use super::support::{
    eventually,
    gateway::{Demo, Gateway, open_route, ringward},
    http::{Response, ask, ask_admin},
    upstream::Upstream,
};
use serde_json::{Value, json};
use std::{fs, os::unix::fs::PermissionsExt};

/// A gateway whose route `up` tries the policies `guard`, of `policies.d`, and `default`.
fn world() -> (Gateway, Upstream) {
    let upstream = Upstream::start(|mut connection| {
        while connection.read_request() {
            connection.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    });
    let routes = open_route("up", upstream.address).replace("[\"default\"]", "[\"guard\", \"default\"]");
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("policies.d")).unwrap();
    fs::write(folder.path().join("policies.d/guard.toml"), guard("/a")).unwrap();
    (Gateway::start_in(folder, &routes), upstream)
}

/// The file of a policy that blocks a path.
fn guard(path: &str) -> String {
    format!(
        "# Nobody needs this.\n[[policy]]\nname = \"guard\"\nwhen = {{ path = \"{path}\" }}\n\
         action = \"block\"\nreason = \"Closed.\"\n"
    )
}

fn admin(gateway: &Gateway, method: &str, path: &str, fields: &[(&str, &str)], body: &Value) -> Response {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    ask_admin(&gateway.folder.path().join("admin.sock"), method, path, fields, &body)
}

fn get(gateway: &Gateway, path: &str) -> Value {
    let answer = admin(gateway, "GET", path, &[], &Value::Null);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

/// Statuses of `/a` and `/b`.
fn statuses(gateway: &Gateway) -> [u16; 2] {
    ["/a", "/b"].map(|path| ask(&gateway.address(), "GET", path, &[], "").status)
}

#[test]
fn an_included_policy_is_part_of_everything() {
    let (gateway, _upstream) = world();
    assert_eq!(statuses(&gateway), [403, 200]);
    let policies = get(&gateway, "/api/v1/policies");
    let guard = &policies["policies"].as_array().unwrap().iter().find(|one| one["name"] == "guard").unwrap();
    assert_eq!(guard["place"], "policies.d/guard.toml:3");
    assert_eq!(guard["routes"], json!([{ "route": "up", "position": 0 }]));
    eventually("the decision in the metrics", || {
        let policies = get(&gateway, "/api/v1/policies");
        policies["policies"]
            .as_array()?
            .iter()
            .find(|one| one["name"] == "guard" && one["decisions"] == 1)?;
        Some(())
    });
    let config = get(&gateway, "/api/v1/config");
    let files: Vec<_> = config["files"].as_array().unwrap().iter().map(|file| &file["name"]).collect();
    assert_eq!(files, ["ringward.toml", "policies.d/guard.toml"]);
    assert_eq!(config["places"]["/policy/1/reason"], "policies.d/guard.toml:6");
    assert_eq!(config["routes"][0]["policies"], json!(["guard", "default"]));
    let main = gateway.folder.path().join("ringward.toml");
    let checked = ringward(&["check", "-c", main.to_str().unwrap()], &[]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    fs::write(gateway.folder.path().join("policies.d/guard.toml"), "[admin]\n").unwrap();
    let checked = ringward(&["check", "-c", main.to_str().unwrap()], &[]);
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(checked.status.code() == Some(3) && said.contains("policies.d/guard.toml:1:2"), "{said}");
}

#[test]
fn a_policy_is_changed_by_those_who_have_seen_it() {
    let (gateway, _upstream) = world();
    let path = "/api/v1/policies.d/guard";
    let shown = admin(&gateway, "GET", path, &[], &Value::Null);
    assert_eq!(shown.json()["toml"], guard("/a"));
    let tag = shown.header("etag").unwrap().to_owned();
    let new = json!({ "toml": guard("/b") });
    let put = |fields: &[(&str, &str)], query: &str| {
        admin(&gateway, "PUT", &format!("{path}{query}"), fields, &new)
    };

    assert_eq!(put(&[], "").status, 428);
    assert_eq!(put(&[("if-match", "\"0\"")], "").status, 412);
    assert_eq!(put(&[("if-none-match", "*")], "").status, 412);
    let tried = put(&[], "?dry_run=true");
    assert_eq!((tried.status, tried.json()["generation"].as_u64()), (200, Some(1)));
    assert_eq!(statuses(&gateway), [403, 200], "nothing is changed yet");

    let changed = put(&[("if-match", &tag)], "");
    assert_eq!((changed.status, changed.json()["generation"].as_u64()), (200, Some(2)), "{}", changed.text());
    let diff = changed.json()["diff"].as_str().unwrap().to_owned();
    assert!(diff.starts_with("--- a/policies.d/guard.toml\n+++ b/policies.d/guard.toml\n@@ "), "{diff}");
    assert!(diff.contains("\n-when = { path = \"/a\" }\n+when = { path = \"/b\" }\n"), "{diff}");
    assert_eq!(statuses(&gateway), [200, 403]);
    let file = gateway.folder.path().join("policies.d/guard.toml");
    assert_eq!(fs::read_to_string(&file).unwrap(), guard("/b"), "comments stay");
    assert_eq!(put(&[("if-match", &tag)], "").status, 412, "the tag is that of the old one");
    // Nothing else is left behind.
    assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
    let sessions =
        gateway.command(&["audit", "verify", gateway.folder.path().join("audit").to_str().unwrap()]);
    assert!(sessions.status.success());
}

#[test]
fn a_change_that_is_wrong_changes_nothing() {
    let (gateway, _upstream) = world();
    let path = "/api/v1/policies.d/guard";
    let file = gateway.folder.path().join("policies.d/guard.toml");
    let tag = admin(&gateway, "GET", path, &[], &Value::Null).header("etag").unwrap().to_owned();
    let tag = [("if-match", &*tag)];
    let cases = [
        (
            "[[policy]]\nname = \"guard\"\nwhen = { path = \"/a\" }\naction = \"block\"\nreasom = \"x\"\n",
            5,
            "unknown-key",
        ),
        ("\n[secrets.x]\nsource = { env = \"X\" }\n", 2, "not-included"),
        ("[[policy]]\nname = \"other\"\naction = \"allow\"\n", 0, "unknown-name"),
        ("[[policy\n", 1, "syntax"),
    ];
    for (text, line, code) in cases {
        for query in ["", "?dry_run=true"] {
            let answer = admin(&gateway, "PUT", &format!("{path}{query}"), &tag, &json!({ "toml": text }));
            assert_eq!(answer.status, 422, "{text}: {}", answer.text());
            let body = answer.json();
            let found = body["diagnostics"].as_array().unwrap();
            let here = |one: &&Value| {
                one["code"] == code
                    && (line == 0 || one["line"] == line)
                    && (line == 0 || one["file"].as_str().unwrap().ends_with("policies.d/guard.toml"))
            };
            assert!(found.iter().any(|one| here(&one)), "{code}: {body:#}");
            assert!(body["diff"].as_str().unwrap().contains("+++ b/policies.d/guard.toml"), "{body:#}");
        }
    }
    assert_eq!(admin(&gateway, "DELETE", path, &tag, &Value::Null).status, 422, "a route names its policy");
    assert_eq!(fs::read_to_string(&file).unwrap(), guard("/a"));
    assert_eq!(get(&gateway, "/api/v1/status")["config"]["generation"], 1);
    assert_eq!(statuses(&gateway), [403, 200]);
    for name in ["..%2fringward", "UPPER", "a.b", "ringward.toml"] {
        let answer =
            admin(&gateway, "PUT", &format!("/api/v1/policies.d/{name}"), &[], &json!({ "toml": "" }));
        assert_eq!(answer.status, 400, "{name}: {}", answer.text());
    }
}

#[test]
fn a_reload_that_fails_puts_the_old_file_back() {
    let (gateway, _upstream) = world();
    let folder = gateway.folder.path();
    // A secret that can be read when the change is checked, and not any more when it is put in force, cannot
    // be timed; one that is missing all along is found by the reload alone.
    let main = folder.join("ringward.toml");
    let text = fs::read_to_string(&main).unwrap();
    fs::write(&main, format!("{text}[secrets.late]\nsource = {{ file = \"late\" }}\n")).unwrap();
    let path = "/api/v1/policies.d/guard";
    let tag = admin(&gateway, "GET", path, &[], &Value::Null).header("etag").unwrap().to_owned();
    let new = json!({ "toml": guard("/b") });
    let refused = admin(&gateway, "PUT", path, &[("if-match", &tag)], &new);
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert!(refused.text().contains("the secret `late` cannot be read"), "{}", refused.text());
    assert_eq!(fs::read_to_string(folder.join("policies.d/guard.toml")).unwrap(), guard("/a"));
    let created = admin(&gateway, "PUT", "/api/v1/connections.d/new", &[], &json!({ "toml": "# empty\n" }));
    assert_eq!(created.status, 422, "{}", created.text());
    assert!(!folder.join("connections.d/new.toml").exists());
    fs::write(folder.join("late"), "a-value-that-is-long-enough").unwrap();
    fs::set_permissions(folder.join("late"), fs::Permissions::from_mode(0o600)).unwrap();
    let taken = admin(&gateway, "PUT", path, &[("if-match", &tag)], &new);
    assert_eq!(taken.status, 200, "{}", taken.text());
    assert_eq!(statuses(&gateway), [200, 403]);
}

#[test]
fn a_connection_is_made_and_taken_away() {
    let demo = Demo::start();
    let socket = demo.path("admin_socket");
    let admin = |method: &str, path: &str, fields: &[(&str, &str)], body: &str| {
        ask_admin(&socket, method, path, fields, body)
    };
    let config = admin("GET", "/api/v1/config", &[], "").json();
    let model =
        config["routes"].as_array().unwrap().iter().find(|one| one["protocol"] == "anthropic").unwrap();
    let mut wanted = json!({
        "name": "llm-2", "url": model["url"], "protocol": "anthropic", "secret": "${secret:anthropic}",
        "listen": "agents", "identity": ["people"], "policies": ["default"],
    });
    let made = admin("POST", "/api/v1/connections", &[], &wanted.to_string());
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(made.header("location"), Some("/api/v1/connections.d/llm-2"));
    assert_eq!(admin("POST", "/api/v1/connections", &[], &wanted.to_string()).status, 412);
    let bearer = demo.bearer();
    let body = "{\"model\":\"m\",\"max_tokens\":8,\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}";
    let fields = [("authorization", &*bearer), ("content-type", "application/json")];
    let answer = ask(demo.get("gateway"), "POST", "/llm-2/v1/messages", &fields, body);
    assert_eq!(answer.status, 200, "{}", answer.text());

    wanted["secret"] = "sk-ant-in-clear".into();
    wanted["name"] = "llm-3".into();
    let refused = admin("POST", "/api/v1/connections", &[], &wanted.to_string());
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert!(!refused.text().contains("sk-ant-in-clear"), "{}", refused.text());

    let id = answer.header("x-ringward-request-id").unwrap();
    let explained = eventually("the end of the request", || {
        let explained = admin("GET", &format!("/api/v1/requests/{id}/explain"), &[], "");
        assert_eq!(explained.status, 200, "{}", explained.text());
        Some(explained.json()).filter(|explained| !explained["stages"].is_null())
    });
    assert_eq!(explained["request"]["route"], "llm-2");
    assert_eq!(explained["decision"]["action"], "allow");
    assert_eq!(explained["secrets"], json!(["anthropic"]));
    for stage in ["total_us", "record_us", "connect_us", "first_byte_us"] {
        assert!(explained["stages"][stage].as_u64().unwrap() > 0, "{stage}: {explained}");
    }
    assert_eq!(explained["generation"], 2);
    assert!(!explained["config_record"].is_null() && !explained["caller"]["subject"].is_null());

    let secrets = admin("GET", "/api/v1/secrets", &[], "").text();
    let everything = [secrets, admin("GET", "/api/v1/config", &[], "").text()].concat();
    for (name, value) in demo.secrets() {
        assert!(!everything.contains(&value), "{name} is shown");
    }
    let identities = admin("GET", "/api/v1/identity", &[], "").json();
    let issuer = &identities["issuers"][0];
    assert_eq!((&issuer["ready"], &issuer["name"]), (&true.into(), &"people".into()), "{identities}");

    let removed = admin("DELETE", "/api/v1/connections.d/llm-2", &[("if-match", "*")], "");
    assert_eq!(removed.status, 200, "{}", removed.text());
    let answer = ask(demo.get("gateway"), "POST", "/llm-2/v1/messages", &fields, body);
    assert_eq!(answer.status, 404, "{}", answer.text());
}

#[test]
fn policies_are_tried_before_they_are_in_force() {
    let (gateway, _upstream) = world();
    let test = |body: Value| {
        let answer = admin(&gateway, "POST", "/api/v1/policies:test", &[], &body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    let blocked = test(json!({ "request": { "path": "/./a" } }));
    assert_eq!((&blocked["answer"], &blocked["route"]), (&"block".into(), &"up".into()), "{blocked:#}");
    let decision = &blocked["decision"];
    assert_eq!(
        (&decision["policy"], &decision["place"]),
        (&"guard".into(), &"policies.d/guard.toml:3".into())
    );
    assert_eq!(decision["predicates"][0]["held"], true, "{blocked:#}");
    assert_eq!(test(json!({ "request": { "route": "up" } }))["answer"], "allow");
    let candidate = json!({ "name": "guard", "toml": guard("/b") });
    let now = test(json!({ "candidate": candidate, "request": { "path": "/a" } }));
    assert_eq!(now["decision"]["policy"], "default", "{now:#}");
    let text = fs::read_to_string(gateway.folder.path().join("ringward.toml")).unwrap();
    let whole = text.replace("[\"guard\", \"default\"]", "[\"default\"]");
    let now = test(json!({ "candidate": { "toml": whole }, "request": { "path": "/a" } }));
    assert_eq!(now["answer"], "allow", "{now:#}");
    assert!(now["warnings"].to_string().contains("`guard` is not used"), "{now:#}");
    for (request, code) in [
        (json!({ "path": "/%2f" }), 422),
        (json!({ "path": "/a\r\nx: y" }), 422),
        (json!({ "path": "/a", "headers": { "bad name": "x" } }), 422),
        (json!({ "path": "/a", "listen": "none" }), 422),
        (json!({}), 422),
    ] {
        let answer = admin(&gateway, "POST", "/api/v1/policies:test", &[], &json!({ "request": request }));
        assert_eq!(answer.status, code, "{request}: {}", answer.text());
    }
    assert_eq!(statuses(&gateway), [403, 200], "nothing is changed");

    let replay = |body: Value| {
        let answer = admin(&gateway, "POST", "/api/v1/policies:replay", &[], &body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    // An answer is there before the record that says how it ended.
    let same = eventually("the recordings of both", || {
        Some(replay(json!({}))).filter(|same| same["exchanges"] == 2)
    });
    assert_eq!(same["different"], 0, "{same:#}");
    let other = replay(json!({ "candidate": candidate }));
    assert_eq!(other["changes"], json!({ "ALLOW→DENY": 1, "DENY→ALLOW": 1 }), "{other:#}");
    let difference = &other["differences"][0];
    assert_eq!(
        (&difference["path"], &difference["new"]["policy"]),
        (&"/b".into(), &"guard".into()),
        "{other:#}"
    );
    assert_eq!(replay(json!({ "candidate": candidate, "limit": 1 }))["exchanges"], 1);
    let bad = json!({ "candidate": { "name": "guard", "toml": "[[policy]]\n" } });
    assert_eq!(admin(&gateway, "POST", "/api/v1/policies:replay", &[], &bad).status, 422);
}

#[test]
fn a_trial_has_the_caller_that_it_names() {
    let demo = Demo::start();
    let test = |request: Value| {
        let body = json!({ "request": request }).to_string();
        let answer = ask_admin(&demo.path("admin_socket"), "POST", "/api/v1/policies:test", &[], &body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    let body = json!({ "model": "m", "max_tokens": 64_000, "messages": [] });
    let nobody = test(json!({ "route": "anthropic", "path": "/anthropic/v1/messages", "body": body }));
    assert_eq!(
        (&nobody["answer"], &nobody["code"]),
        (&"refuse".into(), &"token_missing".into()),
        "{nobody:#}"
    );
    let identity = json!({ "subject": "agent-7", "groups": ["agents"] });
    let someone = test(
        json!({ "route": "anthropic", "path": "/anthropic/v1/messages", "body": body, "identity": identity }),
    );
    assert_eq!(
        (&someone["answer"], &someone["decision"]["policy"]),
        (&"approve".into(), &"big-spend".into())
    );
    // Without a path it is one that the route forwards.
    let somewhere = test(json!({ "route": "anthropic", "body": body, "identity": identity }));
    assert_eq!(somewhere["decision"], someone["decision"], "{somewhere:#}");
    let nowhere = test(json!({ "path": "/nowhere", "listen": "agents" }));
    assert_eq!((&nowhere["answer"], &nowhere["code"]), (&"refuse".into(), &"no_route".into()), "{nowhere:#}");
}

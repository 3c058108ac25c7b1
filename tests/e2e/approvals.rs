//! Held requests through the demo, with curl, the command line and the SDKs.

use super::support::{
    DEADLINE, clients, eventually,
    gateway::{Demo, Follower},
    http::{ask, ask_admin},
};
use serde_json::Value;
use std::{process::Command, thread, time::Duration};

const PROMPT: &str =
    r#"{"model":"m","max_tokens":50000,"messages":[{"role":"user","content":"mail a@b.example"}]}"#;

/// Sends [`PROMPT`] and gives status and body.
fn send(demo: &Demo) -> (u16, Value) {
    let bearer = demo.bearer();
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let reply = ask(demo.get("gateway"), "POST", "/anthropic/v1/messages", &headers, PROMPT);
    (reply.status, reply.json())
}

fn text(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_person_lets_the_demos_large_request_through_or_not() {
    let demo = Demo::start();
    thread::scope(|scope| {
        let asked = scope.spawn(|| send(&demo));
        let card = demo.held();
        assert_eq!((&card["state"], &card["policy"]), (&"pending".into(), &"big-spend".into()));
        assert!(card["excerpt"].as_str().unwrap().contains("[email]"), "masked for people, too: {card}");
        let id = card["id"].as_str().unwrap();
        let shown = text(&demo.approvals(&["show", id]));
        for word in ["model     m\n", " left\n", "client    waits\n"] {
            assert!(shown.contains(word), "{word}: {shown}");
        }
        assert!(shown.contains("agent-7") && shown.contains("big-spend at ringward.toml:"), "{shown}");
        let approved = demo.approvals(&["approve", id]);
        assert_eq!(
            (approved.status.code(), text(&approved)),
            (Some(0), format!("{id}  approved, and sent\n"))
        );
        assert_eq!(asked.join().unwrap().0, 200);
        let again = demo.approvals(&["approve", id]);
        assert_eq!(again.status.code(), Some(1));
        assert!(text(&again).contains("is consumed already"), "{}", text(&again));
    });
    demo.denying(|| {
        let (status, body) = send(&demo);
        assert_eq!((status, &body["code"]), (403, &"approval_denied".into()), "{body}");
        assert!(body["error"]["message"].as_str().unwrap().contains("Not today."), "{body}");
        assert_eq!(body["ringward"]["policy"], "big-spend");
    });
    for (arguments, code, said) in [
        (&["approve", "apr_0000"][..], 1, "there is no approval apr_0000"),
        (&["show", "../status"][..], 2, "is no id"),
        (&["deny", "apr_0000"][..], 2, "--reason"),
        (&["list", "--state", "lost"][..], 2, "pending"),
    ] {
        let output = demo.approvals(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output));
        assert!(text(&output).contains(said), "{arguments:?}: {}", text(&output));
    }
    // What was decided is in the log, beside the request.
    let sessions: Vec<Value> = serde_json::from_str(&demo.run(&["sessions", "list", "--json"])).unwrap();
    let session = sessions.iter().find(|one| one["decisions"]["approve"] == 2).expect("a session");
    let shown = demo.run(&["sessions", "show", session["id"].as_str().unwrap()]);
    for word in ["asked", "approved", "consumed", "denied", "Not today."] {
        assert!(shown.contains(word), "{word}: {shown}");
    }
    let exported = demo.run(&["sessions", "export", session["id"].as_str().unwrap()]);
    assert!(exported.contains("\"event\":\"consumed\""), "{exported}");
    demo.run(&["audit", "verify", demo.get("audit_dir")]);
}

#[test]
fn grants_and_freezes_are_ordered_on_the_command_line() {
    let demo = Demo::start();
    thread::scope(|scope| {
        let asked = scope.spawn(|| send(&demo));
        let id = demo.held()["id"].as_str().unwrap().to_owned();
        demo.run(&["approvals", "approve", &id, "--for", "30m"]);
        assert_eq!(asked.join().unwrap().0, 200);
    });
    assert_eq!(send(&demo).0, 200, "the grant lets it through");
    let grants: Vec<Value> = serde_json::from_str(&demo.run(&["grants", "list", "--json"])).unwrap();
    assert_eq!((grants.len(), &grants[0]["uses"]), (1, &1.into()), "{grants:?}");
    demo.run(&["grants", "revoke", grants[0]["id"].as_str().unwrap()]);
    demo.denying(|| assert_eq!(send(&demo).0, 403));
    demo.run(&["freeze", "--subject", "agent-7", "-m", "Looking into it."]);
    let (status, body) = send(&demo);
    assert_eq!((status, &body["code"]), (403, &"frozen".into()), "{body}");
    let frozen: Vec<Value> = serde_json::from_str(&demo.run(&["freeze", "--json"])).unwrap();
    let id = frozen[0]["id"].as_str().unwrap();
    assert!(demo.run(&["thaw", id]).contains(&format!("{id} is thawed")));
    assert_eq!(send(&demo).1["code"], "approval_denied", "the refusal is remembered");
}

#[test]
fn a_grant_lets_through_what_queues_behind_its_card() {
    let demo = Demo::start();
    let ask = |body: &str| {
        let bearer = demo.bearer();
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        ask(demo.get("gateway"), "POST", "/anthropic/v1/messages", &headers, body).status
    };
    let pending = || {
        let listed = demo.approvals(&["list", "--state", "pending", "--json"]);
        serde_json::from_slice::<Vec<Value>>(&listed.stdout).unwrap()
    };
    let admin = format!("unix:{}", demo.get("admin_socket"));
    let watch = || Follower::start(&["approvals", "watch", "--admin", &admin].map(str::to_owned));
    let is_row = |line: &Value, id: &str, end: &str| {
        line.as_str().is_some_and(|line| line.starts_with(id) && line.ends_with(end))
    };
    let mut watching = watch();
    thread::scope(|scope| {
        let asked = ["one", "two", "three"].map(|text| {
            let body = PROMPT.replace("mail", text);
            scope.spawn(move || ask(&body))
        });
        let cards = eventually("three that wait", || Some(pending()).filter(|cards| cards.len() == 3));
        // They are one line, the oldest; and each has its own where that is asked for.
        let (listed, each) = (text(&demo.approvals(&["list"])), text(&demo.approvals(&["list", "--each"])));
        let rows: Vec<&str> = listed.lines().skip(1).collect();
        let oldest = cards[0]["id"].as_str().unwrap();
        assert!(
            rows.len() == 1 && rows[0].starts_with(oldest) && rows[0].ends_with("and 2 more"),
            "{listed}"
        );
        assert!(each.lines().count() == 4 && !each.contains("more"), "{each}");
        // In pages, too, behind a place that stays one when its card is gone.
        let page = |query: &str| {
            let path = format!("/api/v1/approvals?state=pending&{query}");
            let answer = ask_admin(&demo.path("admin_socket"), "GET", &path, &[], "");
            (answer.status, answer.json())
        };
        let ids = |page: &Value| {
            let cards = page["approvals"].as_array().unwrap().iter();
            cards.map(|card| card["id"].clone()).collect::<Vec<_>>()
        };
        let all: Vec<Value> = cards.iter().map(|card| card["id"].clone()).collect();
        let (_, first) = page("limit=2");
        let (_, rest) = page(&format!("limit=2&after={}", first["next"].as_str().unwrap()));
        assert_eq!([ids(&first), ids(&rest)].concat(), all);
        assert_eq!((ids(&first).len(), &rest["next"]), (2, &Value::Null));
        assert_eq!(page("after=1.gone").1["approvals"].as_array().unwrap().len(), 3);
        for (query, why) in
            [("limit=0", "1 or more"), ("after=apr_1", "no place"), ("limit=-1", "limit=COUNT")]
        {
            let (status, problem) = page(query);
            assert_eq!(status, 400, "{query}");
            assert!(problem.to_string().contains(why), "{query}: {problem}");
        }
        watching.event("the third of them", |line| is_row(line, "apr_", "and 2 more"));
        let mut late = watch();
        late.event("all as one line", |line| {
            assert!(is_row(line, oldest, "and 2 more"), "{line}");
            true
        });
        let approved = demo.approvals(&["approve", cards[1]["id"].as_str().unwrap(), "--for", "30m"]);
        assert!(approved.status.success(), "{}", text(&approved));
        // Within their slices: nobody sends anything again.
        assert_eq!(asked.map(|one| one.join().unwrap()), [200, 200, 200]);
    });
    assert!(pending().is_empty());
}

#[test]
fn the_demo_says_where_a_request_that_waits_is_decided() {
    let home = tempfile::tempdir().unwrap();
    let (_process, lines) = Demo::lines(home.path());
    let next = |what: &str| loop {
        let line = lines.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("never came: {what}"));
        if line.contains(what) {
            return line;
        }
    };
    next("More than 40,000 tokens wait");
    let command = [next("curl"), next("-d")].join("\n");
    let admin = next("approvals list --admin unix:");
    let admin = admin.split("--admin ").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap();
    thread::scope(|scope| {
        let asked = scope.spawn(|| {
            let mut shell = Command::new("bash");
            shell.args(["-c", &command]).env("XDG_RUNTIME_DIR", home.path());
            clients::run(&mut shell, DEADLINE)
        });
        let line = next("waits for you");
        let (id, url) = line.split_once(" waits for you: ").unwrap();
        assert!(url.ends_with(&format!("/ui/approvals/{id}")), "{url}");
        let mut curl = Command::new("curl");
        curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code} %{content_type}", url]);
        assert_eq!(text(&clients::run(&mut curl, DEADLINE)), "200 text/html; charset=utf-8");
        let approved =
            super::support::gateway::ringward(&["approvals", "approve", id], &[("RINGWARD_ADMIN", admin)]);
        assert!(approved.status.success(), "{}", text(&approved));
        let answer = asked.join().unwrap();
        assert!(text(&answer).contains("\"content\""), "{}", text(&answer));
    });
}

#[test]
fn a_dry_run_says_what_would_happen_and_does_nothing() {
    let demo = Demo::start();
    thread::scope(|scope| {
        let asked = scope.spawn(|| send(&demo));
        let id = demo.held()["id"].as_str().unwrap().to_owned();
        let cases: [(&[&str], &str); 4] = [
            (&["approvals", "approve", &id, "--dry-run"], "pending, then consumed"),
            (&["approvals", "approve", &id, "--for", "30m", "--dry-run"], "policy big-spend opens until"),
            (&["approvals", "deny", &id, "-m", "No.", "--dry-run"], "pending, then denied"),
            (&["freeze", "--subject", "agent-7", "-m", "No.", "--dry-run"], "subject agent-7 is stopped"),
        ];
        for (arguments, said) in cases {
            let shown = demo.run(arguments);
            assert!(shown.starts_with("nothing was done") && shown.contains(said), "{arguments:?}: {shown}");
            assert!(shown.contains("a request that waits is answered"), "{arguments:?}: {shown}");
        }
        let refused = demo.approvals(&["approve", &id, "--revision", "7", "--dry-run"]);
        assert!(text(&refused).contains("the request has changed"), "{}", text(&refused));
        assert_eq!(demo.held()["state"], "pending", "nothing has happened");
        demo.run(&["approvals", "approve", &id, "--for", "30m"]);
        assert_eq!(asked.join().unwrap().0, 200);
    });
    let grants: Vec<Value> = serde_json::from_str(&demo.run(&["grants", "list", "--json"])).unwrap();
    let id = grants[0]["id"].as_str().unwrap();
    assert!(demo.run(&["grants", "revoke", id, "--dry-run"]).contains("policy big-spend ends"));
    assert_eq!(send(&demo).0, 200, "the grant is there");
    demo.run(&["freeze", "--all", "-m", "No."]);
    let frozen: Vec<Value> = serde_json::from_str(&demo.run(&["freeze", "--json"])).unwrap();
    let id = frozen[0]["id"].as_str().unwrap();
    assert!(demo.run(&["thaw", id, "--dry-run"]).contains("all goes on"));
    assert_eq!(send(&demo).0, 403, "it is still stopped");
    let erased = demo.run(&["audit", "erase", "--subject", "agent-7", "--dry-run"]);
    assert!(erased.contains("exchanges would go; nothing was erased"), "{erased}");
}

/// One call of an SDK that is held, and what it printed.
fn call(demo: &Demo, sdk: fn() -> Option<Command>, vendor: &str, how: &str) -> Value {
    let mut command = sdk().expect("it was there a moment ago");
    command.args([vendor, &demo.route(vendor), demo.get("token"), how, how, "50000"]);
    command.env_remove("HTTP_PROXY").env_remove("http_proxy").env("NO_PROXY", "*");
    let output = clients::run(&mut command, Duration::from_secs(120));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output)))
}

/// Slices that a test has time for, and none that a busy machine misses.
fn short_slices(demo: &Demo) {
    demo.reconfigure(|text| format!("{text}\n[hold]\nslice_max = \"3s\"\n"));
}

/// A call that is sent again, until its request is approved.
fn waits_through_slices(sdk: fn() -> Option<Command>, vendor: &'static str) {
    if sdk().is_none() {
        return;
    }
    let demo = Demo::start();
    short_slices(&demo);
    let counter = clients::Counter::start(demo.get("gateway"), "/");
    thread::scope(|scope| {
        let asked = scope.spawn(|| {
            let mut command = sdk().expect("it was there a moment ago");
            let url = counter.url.clone() + &demo.route(vendor).replace(demo.get("gateway"), "");
            command.args([vendor, &url, demo.get("token"), "Say hello", "whole", "50000"]);
            command.env_remove("HTTP_PROXY").env_remove("http_proxy").env("NO_PROXY", "*");
            clients::run(&mut command, Duration::from_secs(120))
        });
        eventually("a request that is sent again", || (counter.seen() >= 2).then_some(()));
        let card = demo.held();
        assert_eq!(card["revision"], 1, "the same request: {card}");
        let approved = demo.approvals(&["approve", card["id"].as_str().unwrap()]);
        assert!(approved.status.success(), "{}", text(&approved));
        let output = asked.join().unwrap();
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(answer["text"].as_str().is_some_and(|text| !text.is_empty()), "{vendor}: {answer}");
        assert!((2..=3).contains(&counter.take()), "{vendor}");
    });
    let cards = demo.approvals(&["list", "--state", "consumed", "--json"]);
    let cards: Vec<Value> = serde_json::from_slice(&cards.stdout).unwrap();
    assert_eq!(cards.len(), 1, "{vendor}: one card for all sendings: {cards:?}");
}

#[test]
fn both_sdks_for_python_wait_through_slices() {
    waits_through_slices(clients::python_sdk, "anthropic");
    waits_through_slices(clients::python_sdk, "openai");
}

#[test]
fn both_sdks_for_node_wait_through_slices() {
    waits_through_slices(clients::node_sdk, "anthropic");
    waits_through_slices(clients::node_sdk, "openai");
}

#[test]
fn the_same_question_without_a_stream_finds_its_card() {
    let demo = Demo::start();
    short_slices(&demo);
    let ask = |body: &str| {
        let bearer = demo.bearer();
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let reply = ask(demo.get("gateway"), "POST", "/anthropic/v1/messages", &headers, body);
        (reply.status, reply.header("retry-after").map(str::to_owned), reply.json()["code"].clone())
    };
    let pending = (429, Some("1".to_owned()), Value::from("approval_pending"));
    assert_eq!(ask(&PROMPT.replacen('{', "{\"stream\":true,", 1)), pending);
    let first = demo.held();
    assert_eq!(ask(PROMPT), pending);
    let second = demo.held();
    assert_eq!((&second["id"], &second["revision"]), (&first["id"], &Value::from(1)));
    let all = demo.approvals(&["list", "--json"]);
    assert_eq!(serde_json::from_slice::<Vec<Value>>(&all.stdout).unwrap().len(), 1);
    assert!(demo.approvals(&["approve", first["id"].as_str().unwrap()]).status.success());
    assert_eq!(ask(PROMPT).0, 200);
}

fn check(sdk: fn() -> Option<Command>, vendor: &'static str) {
    if sdk().is_none() {
        return;
    }
    let demo = Demo::start();
    for how in ["whole", "stream"] {
        thread::scope(|scope| {
            let asked = scope.spawn(|| call(&demo, sdk, vendor, how));
            let id = demo.held()["id"].as_str().unwrap().to_owned();
            let approved = demo.approvals(&["approve", &id]);
            assert!(approved.status.success(), "{}", text(&approved));
            let answer = asked.join().unwrap();
            assert!(answer["text"].as_str().is_some_and(|text| !text.is_empty()), "{vendor} {how}: {answer}");
        });
        demo.denying(|| {
            let answer = call(&demo, sdk, vendor, how);
            assert_eq!(answer["error"], "PermissionDeniedError", "{vendor} {how}: {answer}");
            let message = answer["message"].as_str().unwrap();
            assert!(message.contains("Not today."), "{vendor} {how}: {message}");
        });
    }
}

#[test]
fn anthropic_for_python_waits_and_shows_the_reason() {
    check(clients::python_sdk, "anthropic");
}

#[test]
fn openai_for_python_waits_and_shows_the_reason() {
    check(clients::python_sdk, "openai");
}

#[test]
fn anthropic_for_node_waits_and_shows_the_reason() {
    check(clients::node_sdk, "anthropic");
}

#[test]
fn openai_for_node_waits_and_shows_the_reason() {
    check(clients::node_sdk, "openai");
}

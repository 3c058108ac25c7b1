//! Who is told of what waits for people: signed webhooks that arrive at least once, also over a restart.

use super::support::{clients, eventually, gateway::Gateway, http::ask};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex},
    thread,
};

const OLD_KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW_KEY: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const WRONG_KEY: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// One request that came to a receiver.
#[derive(Clone, Debug)]
struct Received {
    path: String,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Received {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// Somebody who is told. It lives as long as the test's process.
struct Receiver {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Receiver {
    /// Answers each request with the status that `status` gives for it.
    fn start(status: impl Fn(usize) -> &'static str + Send + 'static) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::<Mutex<Vec<Received>>>::default();
        let kept = received.clone();
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let Some(request) = read(&mut stream) else { continue };
                let number = {
                    let mut kept = kept.lock().unwrap();
                    kept.push(request);
                    kept.len()
                };
                let answer = status(number);
                let text = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                let _ = stream.write_all(text.as_bytes());
            }
        });
        Receiver { address, received }
    }

    /// Waits for a request that fits.
    fn event(&self, what: &str, fits: impl Fn(&Received) -> bool) -> Received {
        eventually(what, || self.received.lock().unwrap().iter().find(|one| fits(one)).cloned())
    }

    fn all(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

fn read(stream: &mut std::net::TcpStream) -> Option<Received> {
    let mut bytes = vec![];
    let end = loop {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        bytes.extend(&buffer[..count]);
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let mut lines = head.lines();
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let mut body = bytes.split_off(end + 4);
    let length: usize = headers.get("content-length")?.parse().ok()?;
    while body.len() < length {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        body.extend(&buffer[..count]);
    }
    Some(Received { path, headers, body: String::from_utf8(body).ok()? })
}

fn secret(folder: &Path, name: &str, value: &str) {
    let file =
        fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(folder.join(name));
    file.unwrap().write_all(value.as_bytes()).unwrap();
}

/// A gateway whose POSTs wait for whoever runs this test.
fn holding(upstream: SocketAddr, tables: &str) -> String {
    let me = ringward::runtime::sys::user_id();
    format!(
        "[upstreams.up]\nurl = \"http://{upstream}\"\n\
         [[route]]\nname = \"up\"\nmatch = {{ listen = \"main\", path = \"/**\" }}\nidentity = []\n\
         upstream = \"up\"\npolicies = [\"ask\", \"default\"]\n\
         [[policy]]\nname = \"ask\"\nwhen = {{ method = \"POST\" }}\naction = \"approve\"\n\
         reason = \"Somebody must look.\"\napproval = {{ by = [\"local:{me}\"], self = true }}\n{tables}"
    )
}

fn webhook(name: &str, receiver: &Receiver, more: &str) -> String {
    format!(
        "[[notify]]\nname = \"{name}\"\nkind = \"webhook\"\nurl = \"http://{}/hook\"\n\
         secret = [\"${{secret:old-key}}\", \"${{secret:new-key}}\"]\n{more}\n",
        receiver.address
    )
}

const KEYS: &str = "[secrets.old-key]\nsource = { file = \"old-key\" }\n\
                    [secrets.new-key]\nsource = { file = \"new-key\" }\n";

/// A folder with what the configurations here name.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    secret(folder.path(), "old-key", OLD_KEY);
    secret(folder.path(), "new-key", NEW_KEY);
    folder
}

/// What the library of Standard Webhooks says of it.
fn verified(message: &Received, secret: &str) -> Option<Value> {
    let mut child =
        clients::webhook_verifier()?.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let line = json!({ "secret": secret, "headers": message.headers, "body": message.body });
    writeln!(child.stdin.take().expect("piped"), "{line}").unwrap();
    let output = child.wait_with_output().unwrap();
    Some(serde_json::from_slice(&output.stdout).expect("a line of JSON"))
}

fn said(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn run(gateway: &Gateway, arguments: &[&str]) -> String {
    let output = gateway.command(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", said(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn what_a_receiver_did_not_take_arrives_after_a_crash_with_the_same_id() {
    let upstream = super::support::upstream::Upstream::answering("done");
    let receiver = Receiver::start(|number| if number == 1 { "503 Busy" } else { "200 OK" });
    let routes = holding(upstream.address, &(webhook("pager", &receiver, "") + KEYS));
    let mut gateway = Gateway::start_in(folder(), &routes);
    let address = gateway.address();
    thread::scope(|scope| {
        scope.spawn(|| {
            // It ends with the gateway.
            let mut stream = std::net::TcpStream::connect(&address).unwrap();
            let _ = stream.write_all(
                b"POST /canary-path HTTP/1.1\r\nhost: gw\r\ncontent-length: 13\r\n\r\ncanary-prompt",
            );
            let _ = stream.read_to_end(&mut vec![]);
        });
        let first = receiver.event("the first try", |_| true);
        gateway.process.signal("KILL");
        gateway.process.wait();
        assert_eq!(first.path, "/hook");
    });
    let Gateway { folder, process } = gateway;
    drop(process);
    let gateway = Gateway::start_in(folder, &routes);
    let again = eventually("the second try", || receiver.all().get(1).cloned());
    let first = receiver.all().remove(0);
    assert_eq!(first.headers["webhook-id"], again.headers["webhook-id"]);
    assert_eq!(first.body, again.body, "the same message");
    assert!(!again.body.contains("canary"), "nothing of the caller's: {}", again.body);
    let told = again.json();
    assert_eq!(
        (&told["type"], &told["data"]["route"]),
        (&"approval.requested".into(), &"up".into()),
        "{told}"
    );
    assert_eq!(told["data"]["reason"], "Somebody must look.");
    let id = told["data"]["approval"].as_str().unwrap();
    assert!(told["data"]["link"].as_str().unwrap().ends_with(&format!("/ui/approvals/{id}")), "{told}");
    for (key, is_good) in [(OLD_KEY, true), (NEW_KEY, true), (WRONG_KEY, false)] {
        let Some(answer) = verified(&again, key) else { return };
        assert_eq!(answer["verified"] == told, is_good, "{key}: {answer}");
    }
    eventually("a receipt", || {
        let listed: Value = serde_json::from_str(&run(&gateway, &["notify", "list", "--json"])).unwrap();
        (listed[0]["delivered"] == 1 && listed[0]["waiting"] == 0).then_some(())
    });
    assert_eq!(receiver.all().len(), 2, "what has arrived is not sent again");
}

#[test]
fn each_is_told_what_it_asks_for_and_a_test_says_whether_it_arrives() {
    let upstream = super::support::upstream::Upstream::answering("done");
    let (all, some, slack) = (
        Receiver::start(|_| "204 No Content"),
        Receiver::start(|_| "200 OK"),
        Receiver::start(|number| if number == 1 { "404 no_service" } else { "200 OK" }),
    );
    let folder = folder();
    secret(folder.path(), "slack", &format!("http://{}/services/T/B/canary-slack", slack.address));
    let tables = webhook("all", &all, "")
        + &webhook("some", &some, "events = [\"approval.decided\", \"freeze.created\"]\nroutes = [\"up\"]")
        + "[[notify]]\nname = \"slack\"\nkind = \"slack\"\nurl = \"${secret:slack}\"\n\
           events = \"approval.requested\"\n[secrets.slack]\nsource = { file = \"slack\" }\n"
        + KEYS;
    let gateway = Gateway::start_in(folder, &holding(upstream.address, &tables));
    let tried = gateway.command(&["notify", "test", "slack"]);
    assert_eq!(tried.status.code(), Some(1));
    assert!(
        said(&tried).contains("no test has arrived at ${secret:slack}: it answered 404"),
        "{}",
        said(&tried)
    );
    assert!(run(&gateway, &["notify", "test", "slack"]).contains("a test has arrived"));
    assert!(run(&gateway, &["notify", "test", "some", "--dry-run"]).contains("would go to http://127.0.0.1"));
    assert_eq!(gateway.command(&["notify", "test", "nobody"]).status.code(), Some(1));
    thread::scope(|scope| {
        let asked = scope.spawn(|| ask(&gateway.address(), "POST", "/work", &[], "hello"));
        let told = slack.event("a message", |one| one.body.contains("waits for approval"));
        assert!(told.json()["blocks"][1]["text"]["text"].as_str().unwrap().contains("/ui/approvals/apr_"));
        let id = all.event("a request", |_| true).json()["data"]["approval"].as_str().unwrap().to_owned();
        run(&gateway, &["approvals", "approve", &id, "--for", "session", "-m", "Go on."]);
        assert_eq!(asked.join().unwrap().status, 200);
    });
    run(&gateway, &["freeze", "--all", "-m", "Looking into it."]);
    let frozen: Value = serde_json::from_str(&run(&gateway, &["freeze", "--json"])).unwrap();
    run(&gateway, &["thaw", frozen[0]["id"].as_str().unwrap()]);
    all.event("the end of the stop", |one| one.json()["type"] == "freeze.removed");
    let types = |of: &Receiver| -> Vec<String> {
        of.all().iter().map(|one| one.json()["type"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        types(&all),
        [
            "approval.requested",
            "approval.decided",
            "grant.created",
            "grant.revoked",
            "freeze.created",
            "freeze.removed"
        ]
    );
    some.event("a stop", |one| one.json()["type"] == "freeze.created");
    assert_eq!(types(&some), ["approval.decided", "freeze.created"]);
    let decided = some.all()[0].json();
    assert_eq!(
        (&decided["data"]["state"], &decided["data"]["reason"]),
        (&"approved".into(), &"Go on.".into())
    );
    let metrics = gateway.find_address("metrics");
    let shown = run(&gateway, &["notify", "list"]);
    assert!(shown.contains("6 delivered, 0 waiting") && !shown.contains("canary-slack"), "{shown}");
    assert!(!gateway.log().contains("canary-slack"), "the address stays a secret");
    if let Some(metrics) = metrics {
        let text = ask(&metrics, "GET", "/metrics", &[], "").text();
        assert!(
            text.contains("ringward_notifications_total{target=\"all\",outcome=\"delivered\"} 6"),
            "{text}"
        );
    }
}

#[test]
fn a_key_that_is_none_is_said_in_its_place_without_it() {
    let folder = folder();
    secret(folder.path(), "new-key", "canary-no-key-at-all");
    let receiver = Receiver::start(|_| "200 OK");
    let tables = webhook("pager", &receiver, "") + KEYS;
    let routes = holding(receiver.address, "") + &tables;
    let gateway = Gateway::start_in(self::folder(), &routes);
    fs::copy(folder.path().join("new-key"), gateway.folder.path().join("new-key")).unwrap();
    let reload = gateway.command(&["reload"]);
    assert_eq!(reload.status.code(), Some(3), "{}", said(&reload));
    let text = said(&reload);
    assert!(text.contains("ringward.toml:") && text.contains("`new-key` is no signing key"), "{text}");
    assert!(!text.contains("canary"), "{text}");
}

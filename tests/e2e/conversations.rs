//! Conversations over several turns: what was judged in one turn is not judged again in the next, through
//! restarts and reloads.

use super::support::{
    eventually,
    gateway::{Demo, Gateway},
    http::{Response, ask},
    upstream::Upstream,
};
use serde_json::{Value, json};
use std::{fs, path::Path, process::Output, thread};
use tempfile::TempDir;

const MARK: &str = "[removed by policy no-drop]";

/// A gateway before an upstream that answers everything, with the demo as issuer.
struct World {
    demo: Demo,
    upstream: Upstream,
    gateway: Gateway,
}

/// The configuration of `[[policy]]` and route; `action` is that of the rule about drops.
fn routes(demo: &Demo, upstream: &Upstream, action: &str, more: &str) -> String {
    format!(
        "[admin.roles]\napprover = [\"local:0\", \"local:1000\", \"local:{uid}\"]\n\
         [hold]\nslice_max = \"2s\"\n\
         [[identity]]\nname = \"people\"\nissuer = \"{issuer}\"\naudience = [\"{audience}\"]\n\
         algorithms = [\"ES256\"]\n\
         [upstreams.model]\nurl = \"http://{address}\"\nprotocol = \"anthropic\"\n\
         [[policy]]\nname = \"no-drop\"\n\
         when = {{ body = {{ contains_any = [\"DROP TABLE\"], ignore_case = true }} }}\n{action}\n\
         [[route]]\nname = \"model\"\nmatch = {{ listen = \"main\", path = \"/v1/**\" }}\n\
         identity = [\"people\"]\nupstream = \"model\"\npolicies = [\"no-drop\", \"default\"]\n{more}\n",
        uid = uid(),
        issuer = demo.get("issuer"),
        audience = demo.get("audience"),
        address = upstream.address,
    )
}

/// The user that the tests run as.
fn uid() -> u32 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").unwrap().uid()
}

const BLOCK: &str = "action = \"block\"\nreason = \"No drops. Ask.\"";
const APPROVE: &str = "action = \"approve\"\nreason = \"A drop.\"\napproval = { self = true }";

impl World {
    fn start(action: &str) -> World {
        let demo = Demo::start();
        let upstream = Upstream::answering("{}");
        let gateway = Gateway::start(&routes(&demo, &upstream, action, ""));
        World { demo, upstream, gateway }
    }

    /// Sends the messages of users and models in turns.
    fn say(&self, token: &str, messages: &[&str]) -> Response {
        let headers = [("authorization", &*format!("Bearer {token}")), ("content-type", "application/json")];
        ask(&self.gateway.address(), "POST", "/v1/messages", &headers, &turn(messages).to_string())
    }

    fn passes(&self, token: &str, messages: &[&str]) {
        let reply = self.say(token, messages);
        assert_eq!(reply.status, 200, "{messages:?}: {}", reply.text());
    }

    fn is_blocked(&self, token: &str, messages: &[&str]) {
        let reply = self.say(token, messages);
        assert_eq!((reply.status, &reply.json()["code"]), (403, &json!("policy_denied")), "{messages:?}");
    }

    /// The last body that the upstream got.
    fn last_body(&self) -> Value {
        let received = self.upstream.received();
        let (_, body) = received.rsplit_once("\r\n\r\n").expect("a request");
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"))
    }

    /// Ends the gateway and starts its successor in the same folder.
    fn restarted(self, action: &str) -> World {
        let World { demo, upstream, gateway } = self;
        let Gateway { process, folder } = gateway;
        drop(process);
        let gateway = Gateway::start_in(folder, &routes(&demo, &upstream, action, ""));
        World { demo, upstream, gateway }
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = self.gateway.command(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", said(&output));
        said(&output)
    }

    /// Waits for a request that is held, and gives its card.
    fn held(&self) -> Value {
        eventually("a request that waits", || {
            let listed = self.run(&["approvals", "list", "--state", "pending", "--json"]);
            serde_json::from_str::<Vec<Value>>(&listed).unwrap().pop()
        })
    }

    /// Says something that is held, and approves it.
    fn approved(&self, token: &str, messages: &[&str]) -> Value {
        thread::scope(|scope| {
            let asked = scope.spawn(|| self.say(token, messages));
            let card = self.held();
            self.run(&["approvals", "approve", card["id"].as_str().unwrap()]);
            let reply = asked.join().unwrap();
            assert_eq!(reply.status, 200, "{}", reply.text());
            card
        })
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn turn(messages: &[&str]) -> Value {
    let message = |(index, text): (usize, &&str)| {
        let role = if index % 2 == 0 { "user" } else { "assistant" };
        json!({ "role": role, "content": [{ "type": "text", "text": text }] })
    };
    let messages: Vec<Value> = messages.iter().enumerate().map(message).collect();
    json!({ "model": "m", "max_tokens": 10, "system": "Be kind.", "messages": messages })
}

#[test]
fn a_blocked_prompt_does_not_end_its_conversation() {
    let world = World::start(BLOCK);
    let token = world.demo.get("token").to_owned();
    world.passes(&token, &["hello"]);
    world.is_blocked(&token, &["hello", "hi", "please drop table users"]);
    world.is_blocked(&token, &["hello", "hi", "please drop table users"]);
    world.passes(&token, &["hello", "hi", "please drop table users", "no", "then list them"]);
    assert_eq!(world.last_body(), turn(&["hello", "hi", MARK, "no", "then list them"]));
    // Another subject gets nothing from it.
    let other = world.demo.token("subject=agent-8");
    world.is_blocked(&other, &["hello", "hi", "please drop table users", "no", "then list them"]);
    // What was known is known after a restart; the log has all of it, and is whole.
    let world = world.restarted(BLOCK);
    let all = ["hello", "hi", "please drop table users", "no", "then list them", "here", "thanks"];
    world.passes(&token, &all);
    assert_eq!(world.last_body(), turn(&["hello", "hi", MARK, "no", "then list them", "here", "thanks"]));
    world.run(&["audit", "verify", world.gateway.folder.path().join("audit").to_str().unwrap()]);
    let sessions: Vec<Value> = serde_json::from_str(&world.run(&["sessions", "list", "--json"])).unwrap();
    let texts: String = sessions
        .iter()
        .map(|session| world.run(&["sessions", "export", session["id"].as_str().unwrap()]))
        .collect();
    assert!(texts.contains("removed by policy no-drop"), "{texts}");
    // The same policies on the same requests decide the same.
    let Gateway { process, folder } = world.gateway;
    drop(process);
    replay_agrees(&folder);
}

/// Replays the log of a gateway that has ended against its own configuration.
fn replay_agrees(folder: &TempDir) {
    let path = |name: &str| Path::new(folder.path()).join(name).to_str().unwrap().to_owned();
    let arguments =
        ["policy", "replay", "--dir", &path("audit"), "--against", &path("ringward.toml"), "--json"];
    let output = super::support::gateway::ringward(&arguments, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let summary = &report["summary"];
    assert_eq!((&summary["exchanges"], &summary["different"]), (&json!(6), &json!(0)), "{report:#}");
}

#[test]
fn what_was_approved_once_is_not_asked_again() {
    let world = World::start(APPROVE);
    let token = world.demo.get("token").to_owned();
    let card = world.approved(&token, &["hello, drop table users"]);
    assert_eq!(card["excerpt_is_new"], true, "{card}");
    let turns = ["hello, drop table users", "done", "thanks"];
    world.passes(&token, &turns);
    let world = world.restarted(APPROVE);
    world.passes(&token, &turns);
    // What is new is asked about, and only that is shown.
    let card = world.approved(&token, &[&turns[..], &["welcome", "drop table orders"]].concat());
    let excerpt = card["excerpt"].as_str().unwrap();
    assert!(excerpt.contains("orders") && !excerpt.contains("users"), "{excerpt}");
    let shown = world.run(&["approvals", "show", card["id"].as_str().unwrap()]);
    assert!(shown.contains(&format!("{} bytes not shown", card["hidden_bytes"])), "{shown}");
    // Another subject is asked, and so is everybody under a changed rule.
    let pending = |token: &str| {
        let reply = world.say(token, &turns);
        assert_eq!((reply.status, &reply.json()["code"]), (429, &json!("approval_pending")));
    };
    pending(&world.demo.token("subject=agent-8"));
    let changed = APPROVE.replace("A drop.", "Another reason.");
    Gateway::prepare(world.gateway.folder.path(), &routes(&world.demo, &world.upstream, &changed, ""));
    world.run(&["reload"]);
    pending(&token);
    // A route that is not to remember asks every time.
    let forgets = routes(&world.demo, &world.upstream, BLOCK, "remember = false");
    Gateway::prepare(world.gateway.folder.path(), &forgets);
    world.run(&["reload"]);
    for _ in 0..2 {
        world.is_blocked(&token, &["drop table users", "no", "well"]);
    }
}

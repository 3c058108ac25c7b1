//! Real clients that wait longer than any one request may last. It takes minutes: `RINGWARD_LONG=1` asks for
//! it, as in `RINGWARD_LONG=1 cargo nextest run --test claude_code long`.

use super::support::{clients, gateway::Demo};
use serde_json::Value;
use std::{
    fs,
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// How long people take: more than a slice, more than Claude Code and the SDKs wait in silence.
const PATIENCE: Duration = Duration::from_secs(360);
/// How long a client may take in all.
const LIMIT: Duration = Duration::from_secs(800);

/// One client with its question.
struct Client {
    name: String,
    is_approved: bool,
    command: Command,
}

/// Every client twice: with a question that is approved, and one that is denied.
fn clients(demo: &Demo) -> Vec<Client> {
    let mut all = Vec::new();
    for is_approved in [true, false] {
        let prompt = format!("Say hello, {}", if is_approved { "please" } else { "never" });
        let mut add = |name: &str, command: Option<Command>| {
            let name = name.to_owned();
            all.extend(command.map(|command| Client { name, is_approved, command }));
        };
        for vendor in ["anthropic", "openai"] {
            let sdk = |command: Option<Command>| {
                let mut command = command?;
                let is_node = command.get_program().to_string_lossy().ends_with("node");
                let prompt = format!("{prompt}, {}", if is_node { "node" } else { "python" });
                command.args([
                    vendor,
                    &demo.route(vendor),
                    demo.get("token"),
                    &prompt,
                    "stream",
                    "50000",
                    "600",
                ]);
                Some(command)
            };
            add(&format!("{vendor} for python"), sdk(clients::python_sdk()));
            add(&format!("{vendor} for node"), sdk(clients::node_sdk()));
        }
        add("claude code", clients::claude_code().map(|binary| claude_code(demo, binary, &prompt)));
    }
    all
}

fn claude_code(demo: &Demo, binary: PathBuf, prompt: &str) -> Command {
    let home = demo.home.path().join(prompt.replace([' ', ','], "-"));
    fs::create_dir_all(home.join("work")).unwrap();
    let mut command = Command::new(binary);
    command.args(["-p", prompt]).current_dir(home.join("work")).env_clear().env("HOME", home);
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("DISABLE_AUTOUPDATER", "1");
    command.env("ANTHROPIC_BASE_URL", demo.route("anthropic"));
    command.env("ANTHROPIC_AUTH_TOKEN", demo.get("token"));
    command.env("CLAUDE_CODE_MAX_OUTPUT_TOKENS", "50000");
    command.env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1");
    command
}

/// The cards that wait, and how many there ever were.
fn cards(demo: &Demo) -> (Vec<Value>, usize) {
    let listed = demo.approvals(&["list", "--json"]);
    let all: Vec<Value> = serde_json::from_slice(&listed.stdout).expect("a list");
    let count = all.len();
    (all.into_iter().filter(|card| card["state"] == "pending").collect(), count)
}

#[test]
fn long_waits_end_with_an_answer_or_a_reason() {
    if std::env::var_os("RINGWARD_LONG").is_none() {
        return eprintln!("skipped: it takes seven minutes; RINGWARD_LONG=1 asks for it");
    }
    let demo = Demo::start();
    let clients = clients(&demo);
    let (count, began) = (clients.len(), Instant::now());
    thread::scope(|scope| {
        let running: Vec<_> = clients
            .into_iter()
            .map(|mut client| {
                client.command.env_remove("HTTP_PROXY").env_remove("http_proxy").env("NO_PROXY", "*");
                scope.spawn(move || {
                    let output = clients::run(&mut client.command, LIMIT);
                    (client.name, client.is_approved, began.elapsed(), output)
                })
            })
            .collect();
        while began.elapsed() < PATIENCE {
            thread::park_timeout(Duration::from_secs(1));
        }
        let (waiting, ever) = cards(&demo);
        assert_eq!((waiting.len(), ever), (count, count), "one card for each question: {waiting:#?}");
        for card in waiting {
            let id = card["id"].as_str().expect("an id");
            assert_eq!(card["revision"], 1, "{card:#}");
            let is_approved = card["excerpt"].as_str().expect("a text").contains("please");
            let decided = match is_approved {
                true => demo.approvals(&["approve", id]),
                false => demo.approvals(&["deny", id, "--reason", "Not today."]),
            };
            assert!(decided.status.success(), "{}", String::from_utf8_lossy(&decided.stderr));
        }
        for client in running {
            let (name, is_approved, took, output) = client.join().expect("a client that ends");
            let said = String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr);
            let verdict = if is_approved { "approved" } else { "denied" };
            let begin: String = said.trim().chars().take(300).collect();
            println!("{name}, {verdict} after {} s: {begin}", took.as_secs());
            assert!(took >= PATIENCE, "{name} gave up: {said}");
            if is_approved {
                assert!(output.status.success() && said.contains("Ada Lovelace"), "{name}: {said}");
            } else {
                assert!(said.contains("Not today."), "{name}: {said}");
            }
        }
    });
}

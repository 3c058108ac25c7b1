//! Claude Code, headless, through the demo. A binary of its own, for it starts a large client many times.

#[path = "../e2e/support/mod.rs"]
#[allow(dead_code, reason = "shared with the end-to-end tests, which use all of it")]
mod support;

mod long;

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command, time::Duration};
use support::{
    clients::{self, Counter},
    gateway::Demo,
};

/// One headless call takes seconds; on a machine that is busy with something else, minutes.
const LIMIT: Duration = Duration::from_secs(200);

/// What a call printed on both streams, whether it succeeded, and the requests it made.
struct Said {
    text: String,
    success: bool,
    requests: usize,
}

/// A demo with Claude Code before it; `None` where Claude Code is not installed.
struct World {
    demo: Demo,
    counter: Counter,
    binary: std::path::PathBuf,
}

impl World {
    fn start() -> Option<World> {
        let binary = clients::claude_code()?;
        let demo = Demo::start();
        let counter = Counter::start(demo.get("gateway"), "/anthropic/v1/messages");
        Some(World { demo, counter, binary })
    }

    /// `claude -p PROMPT` in an empty home, with the environment that `ringward env claude-code` prints.
    fn ask(&self, prompt: &str, credentials: &[(&str, &str)]) -> Said {
        self.run(&["-p", prompt], credentials)
    }

    /// Goes on with the conversation of the call before.
    fn go_on(&self, prompt: &str, credentials: &[(&str, &str)]) -> Said {
        self.run(&["-c", "-p", prompt], credentials)
    }

    fn run(&self, arguments: &[&str], credentials: &[(&str, &str)]) -> Said {
        let home = self.demo.home.path();
        let work = home.join("work");
        fs::create_dir_all(&work).unwrap();
        let mut command = Command::new(&self.binary);
        command.args(arguments).current_dir(work).env_clear().env("HOME", home);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(self.environment()).env("DISABLE_AUTOUPDATER", "1");
        command.envs(credentials.iter().copied());
        self.counter.take();
        let output = clients::run(&mut command, LIMIT);
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        Said { text, success: output.status.success(), requests: self.counter.take() }
    }

    /// What `ringward env` exports.
    fn environment(&self) -> Vec<(String, String)> {
        let url = format!("{}/anthropic", self.counter.url);
        let printed = support::gateway::ringward(&["env", "claude-code", "--json", "--url", &url], &[]);
        assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
        let exports: serde_json::Value = serde_json::from_slice(&printed.stdout).unwrap();
        let exports = exports.as_object().expect("an object").iter();
        exports.map(|(name, value)| (name.clone(), value.as_str().expect("a text").to_owned())).collect()
    }
}

fn script(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn an_answer_comes_masked() {
    let Some(world) = World::start() else { return };
    let token = world.demo.get("token").to_owned();
    let said =
        world.ask("Say hello to ada@example.com of Project Falcon", &[("ANTHROPIC_AUTH_TOKEN", &token)]);
    assert!(said.success, "{}", said.text);
    assert!(said.text.contains("[email]"), "{}", said.text);
    assert!(!said.text.contains("@example.com") && !said.text.contains("Project Falcon"), "{}", said.text);
    assert_eq!(said.requests, 1, "{}", said.text);
}

#[test]
fn a_block_shows_its_reason_and_is_asked_once() {
    let Some(world) = World::start() else { return };
    let token = world.demo.get("token").to_owned();
    let said = world.ask("please DROP TABLE users", &[("ANTHROPIC_AUTH_TOKEN", &token)]);
    assert!(!said.success, "{}", said.text);
    assert!(said.text.contains("no-drop") && said.text.contains("Ask #db-oncall"), "{}", said.text);
    assert!(!said.text.contains("Failed to authenticate"), "{}", said.text);
    assert_eq!(said.requests, 1, "{}", said.text);
}

#[test]
fn a_blocked_prompt_does_not_end_its_conversation() {
    let Some(world) = World::start() else { return };
    let token = world.demo.get("token").to_owned();
    let credentials = [("ANTHROPIC_AUTH_TOKEN", token.as_str())];
    assert!(!world.ask("please DROP TABLE users", &credentials).success);
    for prompt in ["Then say hello to ada@example.com", "And once more"] {
        let said = world.go_on(prompt, &credentials);
        assert!(said.success, "{}", said.text);
        assert_eq!(said.requests, 1, "{}", said.text);
    }
    // What upstream got is in the log: the prompt without what was blocked.
    let admin = format!("unix:{}", world.demo.get("admin_socket"));
    let run = |arguments: &[&str]| {
        let output = support::gateway::ringward(arguments, &[("RINGWARD_ADMIN", &admin)]);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let sessions: Vec<serde_json::Value> =
        serde_json::from_str(&run(&["sessions", "list", "--json"])).unwrap();
    let ids = sessions.iter().filter_map(|session| session["id"].as_str());
    let exported: String = ids.map(|id| run(&["sessions", "export", id])).collect();
    assert!(exported.contains("[removed by policy no-drop]"), "{exported}");
    // What is blocked again is blocked.
    let said = world.go_on("now DROP TABLE orders", &credentials);
    assert!(!said.success && said.text.contains("no-drop"), "{}", said.text);
    let said = world.go_on("Then say goodbye", &credentials);
    assert!(said.success, "{}", said.text);
}

#[test]
fn an_expired_token_is_recovered_by_the_helper() {
    let Some(world) = World::start() else { return };
    // The first answer of the helper is a token that has ended; from then on it is `ringward token` itself.
    let home = world.demo.home.path();
    let expired = world.demo.token("lifetime=-5");
    let (helper, marker) = (home.join("helper"), home.join("asked"));
    let text = format!(
        "#!/bin/sh\nif [ -e {marker} ]; then exec {binary} token --profile demo; fi\n\
         touch {marker}\necho {expired}\n",
        marker = marker.display(),
        binary = env!("CARGO_BIN_EXE_ringward"),
    );
    script(&helper, &text);
    fs::create_dir_all(home.join(".claude")).unwrap();
    let settings = serde_json::json!({ "apiKeyHelper": helper }).to_string();
    fs::write(home.join(".claude/settings.json"), settings).unwrap();
    let runtime = home.to_str().expect("UTF-8");
    let said = world.ask("Say hello", &[("XDG_RUNTIME_DIR", runtime)]);
    assert!(said.success, "{}", said.text);
    assert!(marker.exists() && said.text.contains("[email]"), "{}", said.text);
    assert_eq!(said.requests, 2, "one refused, one answered: {}", said.text);
}

#[test]
fn the_command_that_the_demo_prints_works_as_pasted() {
    let Some(binary) = clients::claude_code() else { return };
    let home = tempfile::tempdir().unwrap();
    let (_process, commands) = Demo::printed(home.path());
    let command = commands.last().expect("three commands");
    let path = format!("{}:{}", binary.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("bash");
    shell.args(["-c", command]).current_dir(home.path()).env_clear();
    shell.env("HOME", home.path()).env("XDG_RUNTIME_DIR", home.path()).env("PATH", path);
    // Nothing but what is pasted, and no word to anybody off this machine.
    shell.env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1").env("DISABLE_AUTOUPDATER", "1");
    let output = clients::run(&mut shell, LIMIT);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{command}: {text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("[email]"), "{command}: {text}");
}

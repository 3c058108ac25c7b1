//! The SDKs of Anthropic and OpenAI, Python and Node, through the demo: what their users see, and how often
//! they ask.

use super::support::{
    clients::{self, Counter},
    gateway::Demo,
};
use serde_json::Value;
use std::{process::Command, time::Duration};

const LIMIT: Duration = Duration::from_secs(120);

/// One call of an SDK through the counter: what it printed, and how many requests it made.
struct Call<'a> {
    demo: &'a Demo,
    counter: Counter,
    sdk: fn() -> Option<Command>,
    vendor: &'static str,
}

impl Call<'_> {
    fn ask(&self, token: &str, prompt: &str, how: &str) -> (Value, usize) {
        let mut command = (self.sdk)().expect("it was there a moment ago");
        let path = self.demo.route(self.vendor).replace(self.demo.get("gateway"), "");
        let base = self.counter.url.clone() + &path;
        command.args([self.vendor, &base, token, prompt, how]);
        command.env_remove("HTTP_PROXY").env_remove("http_proxy").env("NO_PROXY", "*");
        let output = clients::run(&mut command, LIMIT);
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        let answer = serde_json::from_str(&printed).unwrap_or_else(|_| panic!("{printed}{errors}"));
        (answer, self.counter.take())
    }
}

fn check(sdk: fn() -> Option<Command>, vendor: &'static str) {
    if sdk().is_none() {
        return;
    }
    let demo = Demo::start();
    let call = Call { counter: Counter::start(demo.get("gateway"), "/"), demo: &demo, sdk, vendor };
    let token = demo.get("token");
    for how in ["whole", "stream"] {
        let prompt = "Write to ada@example.com about Project Falcon";
        let (answer, requests) = call.ask(token, prompt, how);
        let text = answer["text"].as_str().unwrap_or_else(|| panic!("{vendor} {how}: {answer}"));
        assert!(!text.is_empty(), "{vendor} {how}: {answer}");
        assert!(!text.contains("ada@example.com") && !text.contains("Project Falcon"), "{how}: {text}");
        assert!(text.contains("[email]") || text.contains("[project]"), "{vendor} {how}: {text}");
        assert_eq!(requests, 1, "{vendor} {how}");

        let (answer, requests) = call.ask(token, "please DROP TABLE users", how);
        assert_eq!((&answer["status"], requests), (&403.into(), 1), "{vendor} {how}: {answer}");
        assert_eq!(answer["error"], "PermissionDeniedError", "{vendor} {how}: {answer}");
        let message = answer["message"].as_str().unwrap();
        assert!(message.contains("no-drop") && message.contains("#db-oncall"), "{vendor} {how}: {message}");
    }
    let (answer, requests) = call.ask(&demo.token("lifetime=-5"), "hello", "whole");
    assert_eq!((&answer["status"], requests), (&401.into(), 1), "{vendor}: {answer}");
    assert_eq!(answer["error"], "AuthenticationError", "{vendor}: {answer}");
    assert!(answer["message"].as_str().unwrap().contains("expired"), "{vendor}: {answer}");
}

#[test]
fn anthropic_for_python_shows_answers_and_reasons() {
    check(clients::python_sdk, "anthropic");
}

#[test]
fn openai_for_python_shows_answers_and_reasons() {
    check(clients::python_sdk, "openai");
}

#[test]
fn anthropic_for_node_shows_answers_and_reasons() {
    check(clients::node_sdk, "anthropic");
}

#[test]
fn openai_for_node_shows_answers_and_reasons() {
    check(clients::node_sdk, "openai");
}

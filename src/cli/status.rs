//! `ringward status`.

use super::admin_client::{Target, report};
use super::{block_on, exit, output::Output};
use clap::Args;
use serde_json::Value;

/// Show what the running gateway is doing
#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(flatten)]
    target: Target,
    /// As JSON, as the gateway says it
    #[arg(long)]
    json: bool,
}

impl Command {
    pub(super) fn run(self, output: &mut Output) -> u8 {
        let answer = match block_on(self.target.ask(reqwest::Method::GET, "/api/v1/status")) {
            Ok(answer) => answer,
            Err(failure) => return report(&failure, output),
        };
        if answer.status != 200 {
            output.error(&format!("the gateway answers with status {}", answer.status));
            output.note(answer.body.trim_end());
            return exit::FAILED;
        }
        match serde_json::from_str::<Value>(&answer.body) {
            Ok(status) if self.json => output.json(&status),
            Ok(status) => {
                let mut text = String::new();
                lines(&mut text, "", &status);
                output.result(&text);
            }
            Err(_) => {
                output.error("the gateway's answer is not JSON");
                return exit::FAILED;
            }
        }
        exit::OK
    }
}

/// `name  value`, nested values with their path; lists of tables one entry a line.
fn lines(text: &mut String, path: &str, value: &Value) {
    let join = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Object(members) => members.iter().for_each(|(key, inner)| lines(text, &join(key), inner)),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                match item {
                    Value::Object(members) => {
                        let shown = members.iter().map(|(key, value)| format!("{key}={}", scalar(value)));
                        let shown = shown.collect::<Vec<_>>().join(" ");
                        text.push_str(&format!("{:28} {shown}\n", format!("{path}[{index}]")));
                    }
                    other => text.push_str(&format!("{:28} {}\n", format!("{path}[{index}]"), scalar(other))),
                }
            }
        }
        other => text.push_str(&format!("{path:28} {}\n", scalar(other))),
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.escape_debug().to_string(),
        Value::Null => "-".into(),
        other => other.to_string(),
    }
}

//! `ringward demo`.

mod published;

use super::profile::runtime_profiles;
use super::{exit, output::Output, run};
use crate::admin::Events;
use crate::app::{self, Ended, service::Notifier};
use crate::approval::CardView;
use crate::demo::{self, Demo, Options, Ready};
use clap::Args;
use published::{PROFILE, PublishedProfile};
use std::collections::BTreeSet;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Instant;

/// Start a gateway with everything around it, on loopback: no configuration, no network
///
/// An issuer, mock language models, a customers API and a warehouse are embedded. Ends with SIGINT or
/// SIGTERM.
#[derive(Debug, Args)]
pub(super) struct Command {
    /// Open the web interface of the gateway in a browser
    #[arg(long)]
    open: bool,
    /// Leave the configuration and the audit log behind
    #[arg(long)]
    keep: bool,
    /// Print one JSON line when ready, and nothing else
    #[arg(long)]
    json: bool,
}

impl Command {
    pub(super) fn run(self, output: &mut Output) -> u8 {
        let began = Instant::now();
        let profiles = runtime_profiles();
        let options = Options { keep: self.keep, log_level: output.log_level() };
        let demo = match demo::start(&options) {
            Ok(demo) => demo,
            Err(error) => return refused(&error, output),
        };
        let profile = PublishedProfile::write(&profiles, &demo.ready);
        if let Err(error) = &profile {
            let path = profiles.display();
            output.note(&format!(
                "warning: {path} cannot be written, so `token` does not know the demo: {error}"
            ));
        }
        let drain = demo.gateway.drain_time();
        let served = run::serve(&demo.gateway, &Notifier::default(), || {
            let name = profile.as_ref().map_or(PROFILE, |published| &published.name);
            self.announce(&demo, name, began, output);
        });
        if let Err(error) = served {
            output.error(&format!("signals cannot be watched: {error}"));
        }
        drop(profile);
        let directory = demo.directory().to_owned();
        let ended = match demo.stop(drain) {
            Ok(ended) => ended,
            Err(error) => {
                output.error(&error.to_string());
                return exit::FAILED;
            }
        };
        if self.keep && !self.json {
            let directory = directory.display();
            output.note(&format!("Kept: {directory}/ringward.toml (edit it first), {directory}/audit"));
        }
        match ended {
            Ended::Drained => exit::OK,
            Ended::TimedOut => exit::DRAIN,
        }
    }

    fn announce(&self, demo: &Demo, profile: &str, began: Instant, output: &mut Output) {
        if self.json {
            // Values with text keys always serialise.
            let line = serde_json::to_string(&demo.ready).expect("text keys");
            output.result(&(line + "\n"));
        } else {
            let ms = began.elapsed().as_millis();
            let screen = Screen { ready: &demo.ready, profile, program: &program(), ink: Ink::of_stdout() };
            output.result(&screen.text(ms, self.keep.then(|| demo.directory())));
            let cards = Cards { ui: format!("{}/ui", demo.ready.admin), shown: BTreeSet::new() };
            demo.gateway.background().spawn(cards.print(demo.gateway.approvals()));
        }
        if self.open {
            let page = &demo.ready.ui;
            let opened = std::process::Command::new("xdg-open")
                .arg(page)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn();
            if let Err(error) = opened {
                output.note(&format!("no browser could be opened ({error}); see {page}"));
            }
        }
    }
}

fn refused(error: &demo::Error, output: &mut Output) -> u8 {
    if let demo::Error::Gateway(app::Error::Config(found)) = error {
        output.diagnostics(found);
    }
    output.error(&error.to_string());
    exit::FAILED
}

/// This program as it can be called again: by its name where the shell finds it, else by its path.
fn program() -> String {
    let called = std::env::args().next().unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/".contains(&byte);
    if !called.is_empty() && called.bytes().all(plain) { called } else { "ringward".to_owned() }
}

/// Says where each request that waits is to be decided.
struct Cards {
    ui: String,
    /// Those that were said and wait.
    shown: BTreeSet<String>,
}

impl Cards {
    async fn print(mut self, events: Arc<Events>) {
        let (mut last, mut seen) = (events.last(), 0);
        while last.changed().await.is_ok() {
            for event in events.after(seen) {
                seen = event.id;
                if let Some(line) = self.line(&event.card) {
                    // Nobody may read it any more.
                    let _ = io::stdout().write_all(line.as_bytes());
                }
            }
        }
    }

    /// What is said of a card, once.
    fn line(&mut self, card: &CardView) -> Option<String> {
        let Cards { ui, shown } = self;
        if card.state != "pending" {
            shown.remove(&card.id);
            return None;
        }
        let is_new = shown.insert(card.id.clone());
        is_new.then(|| format!("\n{} waits for you: {ui}/approvals/{}\n", card.id, card.id))
    }
}

/// Colours, or none.
#[derive(Clone, Copy)]
struct Ink(bool);

impl Ink {
    /// Colour is used on a terminal unless `NO_COLOR` is set (no-color.org).
    fn of_stdout() -> Ink {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Ink(!no_color && io::stdout().is_terminal())
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn title(self, text: &str) -> String {
        self.paint("1", text)
    }

    fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }
}

/// What a person reads.
struct Screen<'a> {
    ready: &'a Ready,
    /// That `ringward token` takes.
    profile: &'a str,
    program: &'a str,
    ink: Ink,
}

impl Screen<'_> {
    fn text(&self, ms: u128, kept: Option<&Path>) -> String {
        let Ready { gateway, gateway_tls, ca, issuer, admin, admin_socket, metrics, audit_dir, log, .. } =
            self.ready;
        let (ink, program) = (self.ink, self.program);
        let mut text = format!("{} in {ms} ms, all on loopback:\n\n", ink.title("The demo is ready"));
        let mut row = |name: &str, value: String| text.push_str(&format!("  {name:10} {value}\n"));
        row("gateway", format!("{gateway}  {}", ink.dim("identity, policy, masks, record")));
        row("over TLS", format!("{gateway_tls}  {}", ink.dim(&format!("signed by {}", ca.display()))));
        row("upstreams", "Anthropic and OpenAI models, a customers API, a warehouse (embedded)".to_owned());
        row("issuer", format!("{issuer}  {}", ink.dim("fresh key, OIDC discovery")));
        row("admin", format!("{admin}, unix:{}", admin_socket.display()));
        let people = ink.dim("as Sam, Kim, Riley or others; no passwords");
        row("log in", format!("{admin}/auth/login  {people}"));
        row("metrics", metrics.clone());
        row("audit", audit_dir.display().to_string());
        row("log", log.display().to_string());
        if let Some(kept) = kept {
            row("kept", format!("{}  {}", kept.display(), ink.dim("configuration and audit log stay")));
        }
        text.push_str("\nPaste one of these into another terminal:\n");
        for (title, command) in self.commands() {
            text.push_str(&format!("\n  {}\n{}\n", ink.paint("36", &format!("# {title}")), command));
        }
        let verify = format!("{program} audit verify {}", audit_dir.display());
        let socket = admin_socket.display();
        let sessions = format!("{program} sessions list --admin unix:{socket}");
        let approvals = format!("{program} approvals list --admin unix:{socket}");
        text.push_str(&format!(
            "\nThen see what waits for you: {approvals}  (then approve ID, or deny ID -m WHY)\n\
             what was recorded: {verify}\nand who did what: {sessions}\n{}\n",
            ink.dim("Ctrl-C ends the demo.")
        ));
        text
    }

    fn commands(&self) -> [(&'static str, String); 4] {
        let Ready { gateway, routes, .. } = self.ready;
        let token = format!("$({} token --profile {})", self.program, self.profile);
        let curl = format!("  curl -s -H \"Authorization: Bearer {token}\"");
        let json = "-H 'content-type: application/json'";
        let sql = "{\"sql\":\"DROP TABLE orders\"}";
        let large =
            "{\"model\":\"m\",\"max_tokens\":50000,\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}";
        [
            (
                "Personal data comes back masked; the API saw a token that lives 60 s",
                format!("{curl} {gateway}{}", routes.customers),
            ),
            (
                "Destructive SQL is blocked, with its reason",
                format!("{curl} {gateway}{}/query \\\n       {json} -d '{sql}'", routes.warehouse),
            ),
            (
                "More than 40,000 tokens wait for a person: you, in a third terminal",
                format!("{curl} {gateway}{}/v1/messages \\\n       {json} -d '{large}'", routes.anthropic),
            ),
            (
                "Claude Code, or any SDK, through the gateway: it never holds the real key",
                // Some models are asked for more by default, which `big-spend` holds for a human.
                format!(
                    "  ANTHROPIC_BASE_URL={gateway}{} ANTHROPIC_AUTH_TOKEN=\"{token}\" \\\n       \
                     CLAUDE_CODE_MAX_OUTPUT_TOKENS=32000 claude -p 'Who pays?'",
                    routes.anthropic
                ),
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::Routes;

    pub fn ready() -> Ready {
        Ready {
            gateway: "http://127.0.0.1:1".into(),
            gateway_tls: "https://127.0.0.1:2".into(),
            ca: "/x/ca.pem".into(),
            open: "http://127.0.0.1:3".into(),
            admin: "http://127.0.0.1:4".into(),
            ui: "http://127.0.0.1:4/".into(),
            admin_socket: "/x/admin.sock".into(),
            metrics: "http://127.0.0.1:5/metrics".into(),
            issuer: "http://127.0.0.1:6".into(),
            token: "canary-token".into(),
            client_id: "demo-agent",
            client_secret_file: "/x/agent.key".into(),
            audience: "urn:x",
            audit_dir: "/x/audit".into(),
            config: "/x/ringward.toml".into(),
            routes: Routes::ALL,
            log: "/x/ringward.log".into(),
        }
    }

    #[test]
    fn a_person_gets_four_commands_and_no_token() {
        let screen = |color| {
            let screen = Screen { ready: &ready(), profile: "demo-2", program: "ringward", ink: Ink(color) };
            screen.text(120, None)
        };
        let text = screen(false);
        assert!(!text.contains('\x1b') && screen(true).contains('\x1b'));
        assert!(!text.contains("canary"));
        assert_eq!(text.matches("$(ringward token --profile demo-2)").count(), 4);
        assert!(text.contains("ringward approvals list --admin unix:/x/admin.sock"));
        assert!(text.contains("http://127.0.0.1:1/customers") && text.contains("DROP TABLE"));
        assert!(text.contains("ANTHROPIC_BASE_URL=http://127.0.0.1:1/anthropic "));
    }
}

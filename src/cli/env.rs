//! `ringward env`.

use super::{ConfigFile, exit, output::Output};
use crate::config::{self, Document, Listen, Protocol, Route, origin::ListenAddr};
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};

/// Print the exports that point a client at the gateway
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  eval \"$(ringward env claude-code)\" && claude")]
pub(super) struct Command {
    /// Which client
    client: Client,
    /// Address of the gateway, with the path of the route [default: from the configuration]
    #[arg(long, env = "RINGWARD_URL")]
    url: Option<String>,
    /// Profile that tokens are fetched with
    #[arg(long, env = "RINGWARD_PROFILE")]
    profile: Option<String>,
    /// Certificate in PEM that the client has to trust besides the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    #[command(flatten)]
    file: ConfigFile,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Client {
    /// Claude Code: also its apiKeyHelper
    ClaudeCode,
    /// The Anthropic SDKs
    Anthropic,
    /// The OpenAI SDKs
    Openai,
}

/// One variable: its name and value. A value that is a command is run by the shell.
struct Export {
    name: &'static str,
    value: String,
    command: bool,
}

impl Command {
    pub(super) fn run(self, output: &mut Output) -> u8 {
        let Some(url) = self.url(output) else { return exit::FAILED };
        if !is_plain(&url) || self.profile.as_deref().is_some_and(|name| !is_plain(name)) {
            output.error("the address or the profile holds characters that a shell would read");
            return exit::USAGE;
        }
        let profile = self.profile.as_ref().map(|name| format!(" --profile {name}")).unwrap_or_default();
        let helper = format!("ringward token{profile}");
        let mut exports = exports(self.client, &url, &helper);
        if let Some(ca) = &self.ca {
            let Some(ca) = std::path::absolute(ca).ok().and_then(|path| path.to_str().map(str::to_owned))
            else {
                output.error("the name of the certificate file cannot be used");
                return exit::USAGE;
            };
            if !is_plain(&ca) || !Path::new(&ca).is_file() {
                output.error(&format!("{ca} is not a file with a plain name"));
                return exit::FAILED;
            }
            // Node adds it to its own; Python takes it instead of its own.
            let variables = ["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"];
            exports.extend(variables.map(|name| Export { name, value: ca.clone(), command: false }));
        }
        if self.json {
            let members = exports.iter().map(|one| (one.name.to_owned(), one.value.clone().into()));
            output.json(&members.collect::<serde_json::Map<String, serde_json::Value>>());
            return exit::OK;
        }
        let mut text = String::new();
        for Export { name, value, command } in &exports {
            let value = if *command { format!("\"$({value})\"") } else { format!("'{value}'") };
            text.push_str(&format!("export {name}={value}\n"));
        }
        if self.client == Client::ClaudeCode {
            // Claude Code runs it again when the gateway answers 401, so an expired token repairs itself.
            text.push_str("unset ANTHROPIC_API_KEY ANTHROPIC_AUTH_TOKEN\n");
            text.push_str(&format!(
                "claude() {{ command claude --settings '{{\"apiKeyHelper\":\"{helper}\"}}' \"$@\"; }}\n"
            ));
        }
        output.result(&text);
        exit::OK
    }

    /// The address that was given, else that of the first route which speaks the client's protocol.
    fn url(&self, output: &mut Output) -> Option<String> {
        if let Some(url) = &self.url {
            return Some(url.trim_end_matches('/').to_owned());
        }
        let text = super::config::read(&self.file, output)?;
        let document = match config::load(&text) {
            Ok(loaded) => loaded.document,
            Err(found) => {
                output.diagnostics(&found);
                return None;
            }
        };
        let protocol = if self.client == Client::Openai { Protocol::Openai } else { Protocol::Anthropic };
        let url = address(&document, protocol);
        if url.is_none() {
            output.error(
                "no route of the configuration leads to such an upstream; name the address with --url",
            );
        }
        url
    }
}

fn address(document: &Document, protocol: Protocol) -> Option<String> {
    let speaks = |route: &&Route| {
        document.upstreams.get(&route.upstream).is_some_and(|upstream| upstream.protocol == protocol)
    };
    let route = document.route.iter().find(speaks)?;
    let named = |listener: &&Listen| route.matching.listen.as_ref().is_none_or(|name| *name == listener.name);
    let listener = document.listen.iter().find(named)?;
    let ListenAddr::Socket(addr) = ListenAddr::parse(&listener.addr)? else { return None };
    let scheme = if listener.tls.is_some() { "https" } else { "http" };
    let host = match (&route.matching.host, addr.ip().is_unspecified()) {
        (Some(host), _) if !host.starts_with('*') => format!("{host}:{}", addr.port()),
        (_, true) => format!("127.0.0.1:{}", addr.port()),
        _ => addr.to_string(),
    };
    let prefix = route.matching.strip_prefix.as_deref().unwrap_or("").trim_end_matches('/');
    Some(format!("{scheme}://{host}{prefix}"))
}

fn exports(client: Client, url: &str, helper: &str) -> Vec<Export> {
    let text = |name, value: String| Export { name, value, command: false };
    let command = |name| Export { name, value: helper.to_owned(), command: true };
    match client {
        Client::ClaudeCode => vec![
            text("ANTHROPIC_BASE_URL", url.into()),
            text("CLAUDE_CODE_API_KEY_HELPER_TTL_MS", "240000".into()),
            text("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1".into()),
            // Without it some models are asked for 128,000, more than spending rules let pass unasked.
            text("CLAUDE_CODE_MAX_OUTPUT_TOKENS", "32000".into()),
        ],
        Client::Anthropic => {
            vec![text("ANTHROPIC_BASE_URL", url.into()), command("ANTHROPIC_API_KEY")]
        }
        Client::Openai => {
            let url = if url.ends_with("/v1") { url.to_owned() } else { format!("{url}/v1") };
            vec![text("OPENAI_BASE_URL", url), command("OPENAI_API_KEY")]
        }
    }
}

/// Whether a shell reads the text as itself, also within quotes.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:/[]%".contains(&byte))
}

//! The file of a connection, from what a form asked for.

use crate::{
    admin::{Connection, EditFault},
    config::{Document, diagnostic::suggestion},
};
use serde::Serialize;
use std::collections::BTreeMap;

/// The file, in the order in which it is written.
#[derive(Serialize)]
struct File<'a> {
    upstreams: BTreeMap<&'a str, Upstream<'a>>,
    route: [Route<'a>; 1],
}

#[derive(Serialize)]
struct Upstream<'a> {
    url: &'a str,
    protocol: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    inject: Option<Inject<'a>>,
}

#[derive(Serialize)]
struct Inject<'a> {
    header: &'a str,
    value: String,
}

#[derive(Serialize)]
struct Route<'a> {
    name: &'a str,
    identity: &'a [String],
    upstream: &'a str,
    policies: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    masks: &'a [String],
    r#match: Match<'a>,
}

#[derive(Serialize)]
struct Match<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    listen: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strip_prefix: Option<String>,
}

/// The text of the file that connects as `connection` says, in the configuration `document`. What it names is
/// checked with the whole configuration; only a credential in clear must not come as far as that.
pub(super) fn render(connection: &Connection, document: &Document) -> Result<String, EditFault> {
    let name = connection.name.as_str();
    super::write::name(name)?;
    let protocol = connection.protocol.as_deref().unwrap_or("http");
    let secret = connection.secret.as_deref().map(|secret| known(secret, document)).transpose()?;
    let inject = secret.map(|secret| {
        let usual = if protocol == "anthropic" { "x-api-key" } else { "authorization" };
        let header = connection.header.as_deref().unwrap_or(usual);
        let scheme = if header.eq_ignore_ascii_case("authorization") { "Bearer " } else { "" };
        Inject { header, value: format!("{scheme}${{secret:{secret}}}") }
    });
    let below_name = connection.host.is_none() && connection.path.is_none();
    let path = connection.path.clone().or_else(|| below_name.then(|| format!("/{name}/**")));
    let strip = connection.strip_prefix.clone().or_else(|| below_name.then(|| format!("/{name}")));
    let file = File {
        upstreams: BTreeMap::from([(name, Upstream { url: &connection.url, protocol, inject })]),
        route: [Route {
            name,
            identity: &connection.identity,
            upstream: name,
            policies: &connection.policies,
            masks: &connection.masks,
            r#match: Match {
                listen: connection.listen.as_deref(),
                host: connection.host.as_deref(),
                path,
                strip_prefix: strip,
            },
        }],
    };
    toml::to_string(&file).map_err(|error| EditFault::Invalid(error.to_string()))
}

/// The name of a secret of the configuration. Whatever else was sent may be a credential, and is not
/// repeated.
fn known<'a>(written: &'a str, document: &Document) -> Result<&'a str, EditFault> {
    let inner = written.strip_prefix("${secret:").and_then(|rest| rest.strip_suffix('}'));
    let defined: Vec<&str> = document.secrets.keys().map(String::as_str).collect();
    let help = || suggestion("", &defined, "defined");
    match inner {
        Some(name) if defined.contains(&name) => Ok(name),
        Some(_) => Err(EditFault::Invalid(format!("`secret` names none of the configuration; {}", help()))),
        None => {
            Err(EditFault::Invalid(format!("`secret` takes \"${{secret:NAME}}\", never a value; {}", help())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Change, Folder, Severity, Text};

    const MAIN: &str = r#"version = 1
[[listen]]
name = "main"
addr = "127.0.0.1:0"
[[identity]]
name = "corp"
issuer = "https://idp.example.com"
audience = "gw"
[secrets.key]
source = { env = "KEY" }
[upstreams.old]
url = "https://old.example.com"
inject = { header = "x-api-key", value = "${secret:key}" }
[[route]]
name = "old"
match = { listen = "main", path = "/old/**" }
identity = ["corp"]
upstream = "old"
policies = ["default"]
[[policy]]
name = "default"
action = "allow"
"#;

    fn asked(changes: &str) -> Connection {
        let text = r#"{"name": "new", "url": "https://api.example.com", "secret": "${secret:key}",
            "identity": ["corp"], "policies": ["default"]}"#;
        let mut value: serde_json::Value = serde_json::from_str(text).unwrap();
        let changes: serde_json::Value = serde_json::from_str(changes).unwrap();
        value.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        serde_json::from_value(value).unwrap()
    }

    fn document() -> Document {
        config::load(&Text::new("ringward.toml", ".", MAIN)).unwrap().document
    }

    #[test]
    fn a_form_becomes_a_file_that_the_configuration_takes() {
        let dir = tempfile::tempdir().unwrap();
        let main = dir.path().join("ringward.toml");
        std::fs::write(&main, MAIN).unwrap();
        let cases = [
            ("{}", "Bearer ${secret:key}", Some("/new/**"), Some("/new")),
            (r#"{"protocol": "anthropic"}"#, "${secret:key}", Some("/new/**"), Some("/new")),
            (r#"{"header": "x-token"}"#, "${secret:key}", Some("/new/**"), Some("/new")),
            (r#"{"path": "/v1/*"}"#, "Bearer ${secret:key}", Some("/v1/*"), None),
            (r#"{"host": "new.example.com"}"#, "Bearer ${secret:key}", None, None),
        ];
        for (changes, value, path, strip) in cases {
            let text = render(&asked(changes), &document()).unwrap();
            let name = "new".parse().unwrap();
            let change = Change { folder: Folder::Connections, name, text: Some(text.clone()) };
            let loaded = config::load(&Text::read_with(&main, Some(&change)).unwrap())
                .unwrap_or_else(|found| panic!("{text}\n{found:?}"));
            let is_error = |one: &config::Diagnostic| one.severity == Severity::Error;
            assert!(!loaded.diagnostics.iter().any(is_error), "{text}\n{:?}", loaded.diagnostics);
            let route = &loaded.document.route[1];
            assert_eq!(loaded.document.upstreams["new"].inject[0].value, value, "{text}");
            assert_eq!(route.matching.path.as_deref(), path, "{text}");
            assert_eq!(route.matching.strip_prefix.as_deref(), strip, "{text}");
        }
    }

    #[test]
    fn a_credential_in_clear_is_refused_and_not_repeated() {
        for secret in ["sk-live-123", "${secret:other}", "Bearer ${secret:key}", "${secret:key", ""] {
            let changes = serde_json::json!({ "secret": secret }).to_string();
            let fault = render(&asked(&changes), &document()).unwrap_err();
            let EditFault::Invalid(message) = fault else { panic!("{fault:?}") };
            assert!(message.contains("`key`") && !message.contains("sk-live"), "{message}");
        }
        let fault = render(&asked(r#"{"name": "../x"}"#), &document()).unwrap_err();
        assert!(matches!(fault, EditFault::Name(_)), "{fault:?}");
    }
}

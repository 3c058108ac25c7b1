//! Issuers, secrets and what upstreams get injected.

use super::Lint;
use crate::config::tree::{Path, at};
use crate::config::{ExchangeKind, Identity, Source};
use crate::limits;
use crate::secrets::{self, Endpoint, Injection, Template};

pub(super) fn check(lint: &mut Lint<'_>) {
    let document = lint.document;
    for (index, identity) in document.identity.iter().enumerate() {
        issuer(lint, index, identity);
    }
    for (name, secret) in &document.secrets {
        let path = at!["secrets", name, "source"];
        source(lint, name, &path, &secret.source);
        if secret.refresh.is_some_and(|period| period.0 < limits::SECRET_REFRESH_MIN) {
            let path = at!["secrets", name, "refresh"];
            lint.error(&path, "duration", "a secret is refreshed at most once a second")
                .remedy("write \"5m\"");
        }
    }
    for (name, upstream) in &document.upstreams {
        for (index, inject) in upstream.inject.iter().enumerate() {
            let table = at!["upstreams", name, "inject"];
            let indexed = [table.clone(), at![index]].concat();
            injection(lint, if lint.tree.has(&indexed) { &indexed } else { &table }, inject);
        }
        two_of_a_header(lint, name);
    }
}

fn issuer(lint: &mut Lint<'_>, index: usize, identity: &Identity) {
    for (position, name) in identity.algorithms.iter().enumerate() {
        let path = at!["identity", index, "algorithms", position];
        if name.to_ascii_uppercase().starts_with("HS") {
            let message = format!("`{name}` signs with a shared secret, but this issuer publishes its keys");
            let help = "a public key would then serve as the secret; use the issuer's own, such as \"ES256\"";
            lint.error(&path, "algorithm", message).remedy(help);
        } else if name.eq_ignore_ascii_case("none") {
            let message = "`none` accepts tokens that nobody signed";
            lint.error(&path, "algorithm", message)
                .remedy("name what the issuer signs with, such as \"ES256\"");
        }
    }
    if let Some(uri) = &identity.jwks_uri
        && let Err(error) = Endpoint::parse(uri)
    {
        lint.error(&at!["identity", index, "jwks_uri"], "address", error.to_string()).remedy("use https");
    }
    let urls = lint.document.identity[..index].iter();
    if let Some(first) = urls.clone().position(|earlier| earlier.issuer == identity.issuer) {
        let line = lint.tree.line(&at!["identity", first, "issuer"]);
        let message = format!("this issuer has a table already, in line {line}");
        lint.error(&at!["identity", index, "issuer"], "duplicate-name", message)
            .remedy("a token says only its issuer, so one table must hold its rules");
    }
}

fn source(lint: &mut Lint<'_>, name: &str, path: &Path, source: &Source) {
    let built = match source {
        Source::Env { env } => secrets::Source::env(env),
        Source::File { file } => secrets::Source::file(file),
        Source::Credential { credential } => secrets::Source::credential(credential),
        Source::Exec { exec } => secrets::Source::exec(exec),
        Source::Exchange(exchange) => return lease(lint, name, path, exchange),
    };
    if let Err(error) = built {
        lint.error(path, "secret-source", error.to_string());
    }
}

fn lease(lint: &mut Lint<'_>, name: &str, path: &Path, exchange: &crate::config::ExchangeSource) {
    let endpoints = [
        ("token_endpoint", Some(&exchange.token_endpoint)),
        ("revoke_endpoint", exchange.revoke_endpoint.as_ref()),
    ];
    for (key, url) in endpoints {
        if let Some(Err(error)) = url.map(|url| Endpoint::parse(url)) {
            let path = [path.clone(), at![key]].concat();
            lint.error(&path, "address", error.to_string()).remedy("write \"https://idp.example.com/token\"");
        }
    }
    let path = [path.clone(), at!["client_secret"]].concat();
    match lint.document.secrets.get(&exchange.client_secret).map(|secret| &secret.source) {
        None => {
            let defined = lint.document.secrets.iter();
            let defined = defined
                .filter(|(other, one)| other.as_str() != name && !matches!(one.source, Source::Exchange(_)));
            let names: Vec<&str> = defined.map(|(name, _)| name.as_str()).collect();
            lint.unknown(&path, "secret", &exchange.client_secret, &names);
        }
        Some(Source::Exchange(_)) => {
            let message = "the client's password cannot itself be a token that is fetched just in time";
            lint.error(&path, "secret-source", message)
                .remedy("name a secret from env, file, credential or exec");
        }
        Some(_) => {}
    }
}

fn injection(lint: &mut Lint<'_>, path: &Path, inject: &crate::config::Inject) {
    let value_path = [path.clone(), at!["value"]].concat();
    let template = match &inject.basic_user {
        Some(user) => Template::basic(user, &inject.value),
        None => Template::parse(&inject.value),
    };
    let template = match template {
        Ok(template) => template,
        Err(secrets::Error::NoSecret) => {
            // What stands there may be a credential in clear: it is not repeated in the message.
            let message = "the value names no secret: a credential must not stand in this file";
            let mut diagnostic = lint.tree.value(&value_path, super::Severity::Error, "inject", message);
            diagnostic.source = "(not shown: it may hold a credential)".into();
            (diagnostic.column, diagnostic.length) = (1, 1);
            let help = "put it into a [secrets.NAME] and write \"${secret:NAME}\"";
            lint.push(diagnostic.help(help));
            return;
        }
        Err(error) => {
            lint.error(&value_path, "inject", error.to_string()).remedy("write \"Bearer ${secret:NAME}\"");
            return;
        }
    };
    let defined: Vec<&str> = lint.document.secrets.keys().map(String::as_str).collect();
    for name in template.names() {
        if !defined.contains(&&**name) {
            lint.unknown(&value_path, "secret", name, &defined);
        }
    }
    if let Err(error) = Injection::new(&inject.header, template) {
        let path = [path.clone(), at!["header"]].concat();
        lint.error(&path, "inject", error.to_string()).remedy("write \"authorization\" or \"x-api-key\"");
    }
}

fn two_of_a_header(lint: &mut Lint<'_>, name: &str) {
    let injects = &lint.document.upstreams[name].inject;
    for (index, inject) in injects.iter().enumerate() {
        let same = |earlier: &&crate::config::Inject| earlier.header.eq_ignore_ascii_case(&inject.header);
        if injects[..index].iter().any(|earlier| same(&earlier)) {
            let message = format!("the header `{}` is injected twice", inject.header);
            let path = at!["upstreams", name, "inject", index, "header"];
            lint.error(&path, "inject", message).remedy("remove one");
        }
    }
}

/// Whether the upstream's credential is exchanged from the caller's token, so that a caller must have one.
pub(super) fn needs_caller(document: &crate::config::Document, upstream: &str) -> bool {
    let Some(upstream) = document.upstreams.get(upstream) else { return false };
    let templates = upstream.inject.iter().filter_map(|inject| Template::parse(&inject.value).ok());
    let mut names = templates.flat_map(|one| one.names().map(|name| name.to_string()).collect::<Vec<_>>());
    names.any(|name| {
        let source = document.secrets.get(&name).map(|secret| &secret.source);
        matches!(source, Some(Source::Exchange(exchange)) if exchange.exchange == ExchangeKind::Rfc8693)
    })
}

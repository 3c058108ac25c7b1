//! Issuers, secrets and what upstreams get injected.

use super::Lint;
use crate::config::tree::{Path, at};
use crate::config::{ExchangeKind, Identity, Source};
use crate::identity::{Algorithm, Issuer, IssuerError};
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
        } else if Algorithm::from_config(name).is_err() {
            let help = super::suggestion(name, &Algorithm::NAMES, "known");
            lint.error(&path, "algorithm", format!("unknown algorithm `{name}`")).remedy(help);
        }
    }
    // The algorithms were looked at one by one above.
    let mut settings = identity.settings();
    settings.algorithms.retain(|name| Algorithm::from_config(name).is_ok());
    if settings.algorithms.is_empty() && !identity.algorithms.is_empty() {
        settings.algorithms.push("ES256".into());
    }
    if let Err(error) = Issuer::new(settings) {
        let path = [at!["identity", index], issuer_key(&error)].concat();
        let help = issuer_help(&error);
        lint.error(&path, "identity", error.to_string()).remedy(help);
    }
}

/// The key that an error is about.
pub(super) fn issuer_key(error: &IssuerError) -> Path {
    match error {
        IssuerError::Url { .. } | IssuerError::PlainHttp { .. } => at!["issuer"],
        IssuerError::AudienceEmpty => at!["audience"],
        IssuerError::AlgorithmsEmpty | IssuerError::Algorithm(_) => at!["algorithms"],
        IssuerError::ClockSkew { .. } => at!["clock_skew"],
        IssuerError::TokenAge => at!["max_token_age"],
        IssuerError::AcceptEmpty => at!["accept"],
        IssuerError::ClaimName { field } => at!["claims", *field],
        IssuerError::Type => at!["types"],
        IssuerError::MapUnconditional { index } => at!["map", *index, "when"],
        IssuerError::MapEmpty { index } => at!["map", *index],
    }
}

pub(super) fn issuer_help(error: &IssuerError) -> &'static str {
    match error {
        IssuerError::Url { .. } | IssuerError::PlainHttp { .. } => "write \"https://idp.example.com\"",
        IssuerError::AudienceEmpty => "write the address of this gateway, as the issuer puts it into `aud`",
        IssuerError::AlgorithmsEmpty | IssuerError::Algorithm(_) => "write [\"ES256\", \"RS256\"]",
        IssuerError::ClockSkew { .. } => "write \"30s\"",
        IssuerError::TokenAge => "write \"1h\"",
        IssuerError::AcceptEmpty => "write [\"bearer\", \"x-api-key\"]",
        IssuerError::ClaimName { .. } => "name a claim, such as \"sub\"",
        IssuerError::Type => "write [\"JWT\", \"at+jwt\"]",
        IssuerError::MapUnconditional { .. } => "write when = { azp = \"CLIENT\" }",
        IssuerError::MapEmpty { .. } => "add `groups` or `purpose`",
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
    let Some(template) = self::template(lint, &value_path, template) else { return };
    if let Err(error) = Injection::new(&inject.header, template) {
        let path = [path.clone(), at!["header"]].concat();
        lint.error(&path, "inject", error.to_string()).remedy("write \"authorization\" or \"x-api-key\"");
    }
}

/// A template whose secrets are defined; else what is wrong with it was noted, at `path`.
pub(super) fn template(
    lint: &mut Lint<'_>,
    path: &Path,
    template: Result<Template, secrets::Error>,
) -> Option<Template> {
    let template = match template {
        Ok(template) => template,
        Err(secrets::Error::NoSecret) => {
            // What stands there may be a credential in clear: it is not repeated in the message.
            let message = "the value names no secret: a credential must not stand in this file";
            let mut diagnostic = lint.tree.value(path, super::Severity::Error, "inject", message);
            diagnostic.source = "(not shown: it may hold a credential)".into();
            (diagnostic.column, diagnostic.length) = (1, 1);
            let help = "put it into a [secrets.NAME] and write \"${secret:NAME}\"";
            lint.push(diagnostic.help(help));
            return None;
        }
        Err(error) => {
            lint.error(path, "inject", error.to_string()).remedy("write \"Bearer ${secret:NAME}\"");
            return None;
        }
    };
    let defined: Vec<&str> = lint.document.secrets.keys().map(String::as_str).collect();
    for name in template.names() {
        if !defined.contains(&&**name) {
            lint.unknown(path, "secret", name, &defined);
        }
    }
    Some(template)
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

//! Who is told: addresses, keys, and the routes that they are told of.

use super::Lint;
use crate::config::notify::secret_name;
use crate::config::tree::{Path, at};
use crate::config::{Notify, NotifyKind, Source};
use crate::secrets::Endpoint;

pub(super) fn check(lint: &mut Lint<'_>) {
    let document = lint.document;
    for (index, notify) in document.notify.iter().enumerate() {
        url(lint, &at!["notify", index, "url"], notify);
        keys(lint, index, notify);
        let routes: Vec<&str> = document.route.iter().map(|route| route.name.as_str()).collect();
        for (position, name) in notify.routes.iter().enumerate() {
            if !routes.contains(&name.as_str()) {
                let path = listed(lint, at!["notify", index, "routes"], position);
                lint.unknown(&path, "route", name, &routes);
            }
        }
    }
    let has_page = document.admin.addr.is_some();
    if !document.notify.is_empty() && !has_page {
        let message = "what is told has no link: there is no admin interface to decide in";
        lint.warning(&at!["notify", 0, "url"], "no-listener", message)
            .remedy("add `admin.addr = \"127.0.0.1:8444\"` and `admin.login`");
    }
}

fn url(lint: &mut Lint<'_>, path: &Path, notify: &Notify) {
    if let Some(name) = secret_name(&notify.url) {
        return secret(lint, path, name);
    }
    if notify.kind == NotifyKind::Slack {
        let message = "whoever knows the address of an incoming webhook may write there: it is a secret";
        lint.error(path, "secret", message)
            .remedy("write \"${secret:NAME}\", and a table [secrets.NAME] that says where it is");
    } else if let Err(error) = Endpoint::parse(&notify.url) {
        lint.error(path, "address", error.to_string()).remedy("write \"https://hooks.example.com/ringward\"");
    }
}

fn keys(lint: &mut Lint<'_>, index: usize, notify: &Notify) {
    let path = at!["notify", index, "secret"];
    match (notify.kind, notify.secret.is_empty()) {
        (NotifyKind::Webhook, true) => {
            let message = format!("nothing signs for `{}`: it could not tell who sends", notify.name);
            lint.error(&at!["notify", index], "secret", message).remedy(
                "add `secret = \"${secret:NAME}\"`; its value is `whsec_` and base64 of 24 bytes or more",
            );
        }
        (NotifyKind::Slack, false) => {
            let message = "Slack takes no signature: its address is the secret";
            lint.error(&path, "secret", message).remedy("remove the key");
            return;
        }
        _ => {}
    }
    for (position, text) in notify.secret.iter().enumerate() {
        let path = listed(lint, path.clone(), position);
        match secret_name(text) {
            Some(name) => secret(lint, &path, name),
            None => {
                lint.error(&path, "secret", "a signing key is never written here")
                    .remedy("write \"${secret:NAME}\", and a table [secrets.NAME] that says where it is");
            }
        }
    }
}

/// A secret that is defined, and that has a value of its own.
fn secret(lint: &mut Lint<'_>, path: &Path, name: &str) {
    let secrets = &lint.document.secrets;
    match secrets.get(name).map(|secret| &secret.source) {
        None => {
            let known: Vec<&str> = secrets.keys().map(String::as_str).collect();
            lint.unknown(path, "secret", name, &known);
        }
        Some(Source::Exchange(_)) => {
            let message = format!("`{name}` is a token that is fetched for one request");
            lint.error(path, "secret-source", message)
                .remedy("name a secret from env, file, credential or exec");
        }
        Some(_) => {}
    }
}

/// The place of an entry of a list, which may also be written without the list.
fn listed(lint: &Lint<'_>, list: Path, position: usize) -> Path {
    let indexed = [list.clone(), at![position]].concat();
    if lint.tree.has(&indexed) { indexed } else { list }
}

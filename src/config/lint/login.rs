//! How people log in to the admin interface, and what they may do there.

use super::Lint;
use super::credentials::{issuer_help, issuer_key};
use crate::config::origin::Origin;
use crate::config::tree::{Path, at};
use crate::config::{Login, Period, Source};
use crate::identity::Issuer;
use crate::limits::{LOGIN_IDLE_MIN, LOGIN_LIFETIME_MAX};

pub(super) fn check(lint: &mut Lint<'_>) {
    let document = lint.document;
    roles(lint);
    let Some(login) = &document.admin.login else { return };
    let key = |key: &str| at!["admin", "login", key];
    if document.admin.addr.is_none() {
        let message = "people log in over the admin interface, and it has no address";
        lint.error(&at!["admin", "login"], "no-listener", message)
            .remedy("add `admin.addr = \"127.0.0.1:8444\"`");
    }
    if let Err(error) = Issuer::new(login.settings()) {
        let inner = issuer_key(&error);
        let path = match inner == at!["audience"] {
            true => key("client_id"),
            false => [at!["admin", "login"], inner].concat(),
        };
        let (message, help) = match path == key("client_id") {
            true => ("client_id is empty".to_owned(), "write the client's name at the issuer"),
            false => (error.to_string(), issuer_help(&error)),
        };
        lint.error(&path, "identity", message).remedy(help);
    }
    secret(lint, login);
    for (position, scope) in login.scopes.iter().enumerate() {
        // RFC 6749 section 3.3.
        let valid = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
        if scope.is_empty() || !scope.bytes().all(valid) {
            let message = format!("`{}` is no scope", scope.escape_debug());
            let path = listed(lint, key("scopes"), position);
            lint.error(&path, "scope", message).remedy("write [\"openid\", \"profile\", \"groups\"]");
        }
    }
    if let Some(url) = &login.url {
        let sound = |url: &Origin| (url.tls || url.is_loopback()) && url.path_prefix.is_empty();
        if !Origin::parse(url).is_ok_and(|url| sound(&url)) {
            let message = format!("`{}` is no address of a login", url.escape_debug());
            lint.error(&key("url"), "address", message).remedy("write \"https://gw.example.com\"");
        }
    }
    if login.idle.0 < LOGIN_IDLE_MIN || login.idle > login.lifetime {
        let message = format!("nobody can be idle for {} of {}", login.idle, login.lifetime);
        lint.error(&key("idle"), "duration", message).remedy("from 1m to the `lifetime`; the default is 1h");
    }
    if login.lifetime.0 > LOGIN_LIFETIME_MAX {
        let message = format!("a login of {} is too long", login.lifetime);
        let help = format!("at most {}; the default is 8h", Period(LOGIN_LIFETIME_MAX));
        lint.error(&key("lifetime"), "duration", message).remedy(help);
    }
    let roles = &document.admin.roles;
    let all = roles.viewer.iter().chain(&roles.auditor).chain(&roles.admin);
    let mut all = all.chain(roles.approver.iter().flat_map(|one| one.who()));
    if !all.any(|who| who.starts_with("group:") || who.starts_with("user:")) {
        let message = "nobody who logs in may do anything";
        lint.warning(&at!["admin", "login"], "no-role", message)
            .remedy("add `roles.viewer = [\"group:staff\"]` and others under [admin]");
    }
}

/// The place of an entry of a list, which may also be written without the list.
fn listed(lint: &Lint<'_>, list: Path, position: usize) -> Path {
    let indexed = [list.clone(), at![position]].concat();
    if lint.tree.has(&indexed) { indexed } else { list }
}

fn secret(lint: &mut Lint<'_>, login: &Login) {
    if login.client_secret.is_none() {
        return;
    }
    let path = at!["admin", "login", "client_secret"];
    let Some(name) = login.secret_name() else {
        let message = "a client's password is never written here";
        lint.error(&path, "secret", message)
            .remedy("write \"${secret:NAME}\", and a table [secrets.NAME] that says where it is");
        return;
    };
    let secrets = &lint.document.secrets;
    match secrets.get(name) {
        None => {
            let known: Vec<&str> = secrets.keys().map(String::as_str).collect();
            lint.unknown(&path, "secret", name, &known);
        }
        Some(secret) if matches!(secret.source, Source::Exchange(_)) => {
            let message = format!("`{name}` is a token that is fetched for one request, and no password");
            lint.error(&path, "secret", message).remedy("name a secret with a source of its own");
        }
        Some(_) => {}
    }
}

/// Each entry names somebody who can have the role, and routes that are there.
fn roles(lint: &mut Lint<'_>) {
    let roles = &lint.document.admin.roles;
    for (key, all) in [("viewer", &roles.viewer), ("auditor", &roles.auditor), ("admin", &roles.admin)] {
        for (position, who) in all.iter().enumerate() {
            let path = listed(lint, at!["admin", "roles", key], position);
            if !matches!(who.split_once(':'), Some(("group" | "user", name)) if !name.is_empty()) {
                let message = format!("`{}` cannot be given the role {key} here", who.escape_debug());
                lint.error(&path, "principal", message).remedy(
                    "write \"group:NAME\" or \"user:SUBJECT\"; over the socket everything is allowed, \
                     and the role of a token stands in its table",
                );
            }
        }
    }
    let routes: Vec<&str> = lint.document.route.iter().map(|route| route.name.as_str()).collect();
    for (position, role) in roles.approver.iter().enumerate() {
        let path = listed(lint, at!["admin", "roles", "approver"], position);
        if role.routes().is_some() {
            let within = |key: &str| [path.clone(), at![key]].concat();
            for (index, who) in role.who().iter().enumerate() {
                let place = listed(lint, within("who"), index);
                super::policies::principal(lint, &place, who);
                bound(lint, &place, who);
            }
            for (index, name) in role.routes().into_iter().flatten().enumerate() {
                if !routes.contains(&name.as_str()) {
                    let place = listed(lint, within("routes"), index);
                    lint.unknown(&place, "route", name, &routes);
                }
            }
        } else {
            role.who().iter().for_each(|who| super::policies::principal(lint, &path, who));
        }
    }
}

/// Only a login can be bound to routes: the socket opens everything, and a token has one role.
fn bound(lint: &mut Lint<'_>, path: &Path, who: &str) {
    if who.starts_with("local:") || who.starts_with("token:") {
        let message = format!("`{}` cannot be bound to routes", who.escape_debug());
        lint.error(path, "principal", message).remedy("write \"group:NAME\" or \"user:SUBJECT\"");
    }
}

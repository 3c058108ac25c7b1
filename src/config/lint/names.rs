//! Names: given once, spelt as allowed, known where they are used, used where they are defined.

use super::Lint;
use crate::config::tree::{Path, at};
use crate::secrets::{Template, check_name};

pub(super) fn check(lint: &mut Lint<'_>) {
    unique(lint);
    known(lint);
    // A name that is unknown is probably the one that would be unused.
    if lint.found.is_empty() {
        unused(lint);
    }
}

/// `name` of each entry of a list of tables.
fn listed<'a, T>(entries: &'a [T], name: impl Fn(&'a T) -> &'a str) -> Vec<&'a str> {
    entries.iter().map(name).collect()
}

fn unique(lint: &mut Lint<'_>) {
    let document = lint.document;
    let lists = [
        ("listen", listed(&document.listen, |one| &one.name)),
        ("identity", listed(&document.identity, |one| &one.name)),
        ("route", listed(&document.route, |one| &one.name)),
        ("policy", listed(&document.policy, |one| &one.name)),
        ("mask", listed(&document.mask, |one| &one.name)),
        ("notify", listed(&document.notify, |one| &one.name)),
    ];
    for (table, names) in lists {
        own_names(lint, &at![table], table, &names);
    }
    let tokens = listed(&document.admin.token, |one| &one.name);
    own_names(lint, &at!["admin", "token"], "token", &tokens);
    let maps = [
        ("secrets", document.secrets.keys().collect::<Vec<_>>()),
        ("upstreams", document.upstreams.keys().collect::<Vec<_>>()),
    ];
    for (table, names) in maps {
        names.into_iter().for_each(|name| spelling(lint, &at![table, name], name));
    }
}

/// Each entry of the list at `table` has a name of its own.
fn own_names(lint: &mut Lint<'_>, table: &Path, what: &str, names: &[&str]) {
    let name_of = |index: usize| [table.clone(), at![index, "name"]].concat();
    for (index, name) in names.iter().enumerate() {
        if let Some(first) = names[..index].iter().position(|earlier| earlier == name) {
            let place = lint.tree.line_from(&name_of(first), &name_of(index));
            let message = format!("the {what} `{name}` is defined twice, first in {place}");
            lint.error(&name_of(index), "duplicate-name", message).remedy("give each its own name");
        }
        spelling(lint, &name_of(index), name);
    }
}

fn spelling(lint: &mut Lint<'_>, path: &Path, name: &str) {
    if check_name(name).is_err() {
        let message = format!("`{}` cannot be a name", name.escape_debug());
        let help = "a name has 1 to 64 letters, digits, `_`, `-` or `.`";
        lint.error(path, "name", message).remedy(help);
    }
}

fn known(lint: &mut Lint<'_>) {
    let document = lint.document;
    let listeners = listed(&document.listen, |one| &one.name);
    let identities = listed(&document.identity, |one| &one.name);
    let policies = listed(&document.policy, |one| &one.name);
    let masks = listed(&document.mask, |one| &one.name);
    let upstreams: Vec<&str> = document.upstreams.keys().map(String::as_str).collect();
    for (index, route) in document.route.iter().enumerate() {
        if let Some(listen) = route.matching.listen.as_deref().filter(|name| !listeners.contains(name)) {
            lint.unknown(&at!["route", index, "match", "listen"], "listener", listen, &listeners);
        }
        if !upstreams.contains(&route.upstream.as_str()) {
            lint.unknown(&at!["route", index, "upstream"], "upstream", &route.upstream, &upstreams);
        }
        let lists = [
            ("identity", "identity", &route.identity, &identities),
            ("policies", "policy", &route.policies, &policies),
            ("masks", "mask", &route.masks, &masks),
        ];
        for (key, what, written, defined) in lists {
            for (position, name) in written.iter().enumerate() {
                let path = at!["route", index, key, position];
                if !defined.contains(&name.as_str()) {
                    lint.unknown(&path, what, name, defined);
                } else if written[..position].contains(name) {
                    let message = format!("the {what} `{name}` is listed twice");
                    lint.error(&path, "duplicate-name", message).remedy("remove one");
                }
            }
        }
    }
}

fn unused(lint: &mut Lint<'_>) {
    let document = lint.document;
    let used = |names: fn(&crate::config::Route) -> &[String]| {
        document
            .route
            .iter()
            .flat_map(move |route| names(route).iter().map(String::as_str))
            .collect::<Vec<_>>()
    };
    let lists = [
        ("identity", listed(&document.identity, |one| &one.name), used(|route| &route.identity)),
        ("policy", listed(&document.policy, |one| &one.name), used(|route| &route.policies)),
        ("mask", listed(&document.mask, |one| &one.name), used(|route| &route.masks)),
    ];
    for (table, names, used) in lists {
        for (index, name) in names.iter().enumerate() {
            if !used.contains(name) {
                warn_unused(lint, &at![table, index, "name"], table, name);
            }
        }
    }
    for name in document.upstreams.keys() {
        if document.route.iter().all(|route| route.upstream != *name) {
            warn_unused(lint, &at!["upstreams", name], "upstream", name);
        }
    }
    let secrets = secrets_used(document);
    for name in document.secrets.keys().filter(|name| !secrets.contains(name)) {
        warn_unused(lint, &at!["secrets", name], "secret", name);
    }
    listeners_without_route(lint);
}

fn warn_unused(lint: &mut Lint<'_>, path: &Path, what: &str, name: &str) {
    let message = format!("the {what} `{name}` is not used");
    let span = if what == "upstream" || what == "secret" {
        lint.tree.key_span(path)
    } else {
        lint.tree.value_span(path)
    };
    let diagnostic = lint.tree.diagnostic_at(span, crate::config::Severity::Warning, "unused", message);
    let by = if what == "secret" { "an upstream's `inject`" } else { "a route" };
    lint.push(diagnostic.help(format!("name it in {by}, or remove it")));
}

/// Names of the secrets that something needs.
fn secrets_used(document: &crate::config::Document) -> Vec<String> {
    let templates = document.upstreams.values().flat_map(|upstream| &upstream.inject);
    let templates = templates.filter_map(|inject| Template::parse(&inject.value).ok());
    let mut used: Vec<String> = templates
        .flat_map(|template| template.names().map(|name| name.to_string()).collect::<Vec<_>>())
        .collect();
    let proxies = document.upstreams.values().filter_map(|upstream| upstream.via_authorization.as_ref());
    for template in proxies.filter_map(|one| one.template().ok()) {
        used.extend(template.names().map(|name| name.to_string()));
    }
    used.extend(document.secrets.values().filter_map(|secret| match &secret.source {
        crate::config::Source::Exchange(exchange) => Some(exchange.client_secret.clone()),
        _ => None,
    }));
    let login = document.admin.login.as_ref().and_then(|login| login.secret_name());
    used.extend(login.map(str::to_owned));
    used.extend(document.notify.iter().flat_map(|notify| notify.secret_names().map(str::to_owned)));
    used
}

fn listeners_without_route(lint: &mut Lint<'_>) {
    let document = lint.document;
    for (index, listener) in document.listen.iter().enumerate() {
        let serves = |route: &crate::config::Route| {
            route.matching.listen.as_ref().is_none_or(|name| *name == listener.name)
        };
        if !document.route.iter().any(serves) {
            let message = format!("no route leads away from the listener `{}`", listener.name);
            let help = "add a [[route]] for it: until then every request there gets 404";
            lint.warning(&at!["listen", index, "name"], "unused", message).remedy(help);
        }
    }
}

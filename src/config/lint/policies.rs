//! Policies: what each says by itself, and what their order in a route makes of them.

use super::Lint;
use crate::config::diagnostic::suggestion;
use crate::config::tree::{Path, at};
use crate::config::{
    Action, AdminRole, ApproverRole, Document, FieldCondition, JsonCondition, Policy, Route, When,
};
use crate::policy::{PathPattern, SqlDialect, SqlKind};
use std::time::Duration;

/// Longest that a request waits for people (SECURITY R37).
const APPROVAL_TIMEOUT_MAX: Duration = Duration::from_secs(15 * 60);

pub(super) fn check(lint: &mut Lint<'_>) {
    let document = lint.document;
    for (index, policy) in document.policy.iter().enumerate() {
        alone(lint, index, policy);
        if let Some(when) = &policy.when {
            conditions(lint, &at!["policy", index, "when"], when);
        }
    }
    for (index, route) in document.route.iter().enumerate() {
        order(lint, index, route);
        owners(lint, index, route);
    }
}

fn alone(lint: &mut Lint<'_>, index: usize, policy: &Policy) {
    let path = at!["policy", index, "action"];
    let name = &policy.name;
    if policy.action == Action::Block && policy.reason.as_deref().is_none_or(|text| text.trim().is_empty()) {
        let message = format!("the policy `{name}` blocks without a reason");
        let help = "add `reason = \"…\"`: it reaches the caller word for word, and says what to do instead";
        lint.warning(&path, "no-reason", message).remedy(help);
    }
    if policy.action != Action::Approve && policy.approval.is_some() {
        let message = format!("`approval` without `action = \"approve\"` in the policy `{name}`");
        lint.error(&at!["policy", index, "approval"], "approval", message)
            .remedy("remove it, or write action = \"approve\"");
    }
    if policy.action == Action::Approve {
        approval(lint, index, policy);
    }
}

fn approval(lint: &mut Lint<'_>, index: usize, policy: &Policy) {
    if let Some(terms) = &policy.approval {
        let path = at!["policy", index, "approval", "timeout"];
        if terms.timeout.0 > APPROVAL_TIMEOUT_MAX || terms.timeout.0.is_zero() {
            let message = format!("an approval cannot wait for {}", terms.timeout);
            lint.error(&path, "duration", message).remedy("more than 0s, at most 15m; the default is 13m");
        }
        for (position, role) in terms.by.iter().enumerate() {
            principal(lint, &at!["policy", index, "approval", "by", position], role);
        }
    }
    for route in routes_of(lint.document, policy) {
        if !can_be_decided(lint, index, policy, route) {
            return;
        }
    }
}

/// The routes that use a policy; none stands for what any route would be.
fn routes_of<'a>(document: &'a Document, policy: &Policy) -> Vec<Option<&'a str>> {
    let using = document.route.iter().filter(|route| route.policies.contains(&policy.name));
    let routes: Vec<_> = using.map(|route| Some(route.name.as_str())).collect();
    if routes.is_empty() { vec![None] } else { routes }
}

/// Whether as many as must can log in and decide about what the policy holds on a route.
fn can_be_decided(lint: &mut Lint<'_>, index: usize, policy: &Policy, route: Option<&str>) -> bool {
    let min = policy.approval.as_ref().map_or(1, |terms| usize::from(terms.min));
    let able = approvers(lint.document, policy);
    let able = able.iter().map(|who| able_by(lint.document, who, route)).fold(0, usize::saturating_add);
    if able >= min {
        return true;
    }
    let of = route.map(|route| format!(" on the route `{route}`")).unwrap_or_default();
    let scoped = lint.document.admin.roles.approver.iter().any(|role| role.routes().is_some());
    let of = if scoped { of } else { String::new() };
    let message = match able {
        0 => format!("nobody can log in to approve what the policy `{}` holds{of}", policy.name),
        _ => format!("the policy `{}` wants {min} approvers{of}, and only {able} can log in", policy.name),
    };
    let help = "add `roles.approver = [\"local:UID\"]` under [admin] (`id -u` prints yours), an \
                [admin.login] with `roles.approver = [\"group:NAME\"]`, or a [[admin.token]] with \
                role = \"approver\"";
    lint.error(&at!["policy", index, "action"], "no-approver", message).remedy(help);
    false
}

/// Who may decide about what a policy holds: whom it names, else the role and its tokens.
pub(in crate::config) fn approvers(document: &Document, policy: &Policy) -> Vec<String> {
    if let Some(terms) = policy.approval.as_ref().filter(|terms| !terms.by.is_empty()) {
        return terms.by.clone();
    }
    let tokens = document.admin.token.iter().filter(|token| token.role == AdminRole::Approver);
    let roles = &document.admin.roles;
    let mut all: Vec<String> = roles.approver.iter().flat_map(|role| role.who()).cloned().collect();
    all.extend(roles.admin.iter().cloned());
    all.extend(tokens.map(|token| format!("token:{}", token.name)));
    all.sort_unstable();
    all.dedup();
    all
}

/// How many people can log in as `who` and decide on a route: over the socket, with a token, or with a login
/// whose role is good for it. How many are in a group is known to the issuer alone.
fn able_by(document: &Document, who: &str, route: Option<&str>) -> usize {
    let roles = &document.admin.roles;
    let has_role = |fits: &dyn Fn(&str) -> bool| {
        let covers = |role: &&ApproverRole| route.is_none_or(|route| role.covers(route));
        let mut approvers = roles.approver.iter().filter(covers).flat_map(|role| role.who());
        document.admin.login.is_some()
            && (approvers.any(|one| fits(one)) || roles.admin.iter().any(|one| fits(one)))
    };
    let of_login = |one: &str| one.starts_with("group:") || one.starts_with("user:");
    match who.split_once(':') {
        Some(("local", _)) => 1,
        Some(("token", name)) => {
            let mut tokens = document.admin.token.iter();
            usize::from(tokens.any(|token| token.name == name && token.role == AdminRole::Approver))
        }
        // Somebody in this group may have the role by another one.
        Some(("group", _)) if has_role(&of_login) => usize::MAX,
        Some(("user", _)) => usize::from(has_role(&|one| one == who || one.starts_with("group:"))),
        _ => 0,
    }
}

/// Who may approve: a kind and a name.
pub(super) fn principal(lint: &mut Lint<'_>, path: &Path, text: &str) {
    let valid = match text.split_once(':') {
        Some(("group" | "user" | "token", name)) => !name.is_empty(),
        Some(("local", uid)) => uid.parse::<u32>().is_ok(),
        _ => false,
    };
    if !valid {
        let message = format!("`{text}` names nobody");
        lint.error(path, "principal", message)
            .remedy("write \"local:UID\", \"token:NAME\", \"group:NAME\" or \"user:SUBJECT\"");
    }
}

fn conditions(lint: &mut Lint<'_>, path: &Path, when: &When) {
    let inside = |key: &str| [path.clone(), at![key]].concat();
    for (position, pattern) in when.path.iter().enumerate() {
        if let Err(error) = PathPattern::parse(pattern) {
            let listed = [inside("path"), at![position]].concat();
            lint.error(&listed, "pattern", error.to_string()).remedy("write \"/v1/messages\" or \"/v1/**\"");
        }
    }
    for (key, fields) in [("headers", &when.headers), ("query", &when.query)] {
        for (name, field) in fields {
            let FieldCondition::Table(table) = field else { continue };
            let given = [table.equals.is_some(), table.contains.is_some(), table.exists.is_some()];
            one_operator(
                lint,
                &[inside(key), at![name]].concat(),
                &given,
                "`equals`, `contains` or `exists`",
            );
        }
    }
    if let Some(body) = &when.body
        && (body.contains_any.is_empty() || body.contains_any.iter().any(|text| text.trim().is_empty()))
    {
        let path = [inside("body"), at!["contains_any"]].concat();
        let message = "an empty text is contained in every body";
        lint.error(&path, "condition", message).remedy("name at least one text");
    }
    for (position, json) in when.json.iter().enumerate() {
        let (table, indexed) = (inside("json"), [inside("json"), at![position]].concat());
        json_condition(lint, if lint.tree.has(&indexed) { &indexed } else { &table }, json);
    }
    if let Some(sql) = &when.sql {
        if let Some(pointer) = &sql.path {
            json_pointer(lint, &[inside("sql"), at!["path"]].concat(), pointer);
        }
        for (position, kind) in sql.any_of.iter().enumerate() {
            let path = [inside("sql"), at!["any_of", position]].concat();
            one_of(lint, &path, kind, SqlKind::NAMES, "kind of statement");
        }
        if let Some(dialect) = &sql.dialect {
            one_of(lint, &[inside("sql"), at!["dialect"]].concat(), dialect, SqlDialect::NAMES, "dialect");
        }
    }
}

fn json_condition(lint: &mut Lint<'_>, path: &Path, json: &JsonCondition) {
    json_pointer(lint, &[path.clone(), at!["path"]].concat(), &json.path);
    let comparisons = [json.gt, json.ge, json.lt, json.le].iter().flatten().count();
    let others = [
        json.equals.is_some(),
        json.differs.is_some(),
        !json.any_of.is_empty(),
        json.contains.is_some(),
        json.exists.is_some(),
    ];
    if comparisons == 0 {
        one_operator(
            lint,
            path,
            &others,
            "`gt`, `ge`, `lt`, `le`, `equals`, `differs`, `any_of`, `contains` or `exists`",
        );
    } else if others.contains(&true) {
        let message = "a comparison with a number stands beside another condition on the same value";
        lint.error(path, "condition", message).remedy("write json = [{ … }, { … }]");
    }
}

fn one_operator(lint: &mut Lint<'_>, path: &Path, given: &[bool], operators: &str) {
    if given.iter().filter(|yes| **yes).count() != 1 {
        let message = "the condition does not say exactly one thing about the value";
        lint.error(path, "condition", message).remedy(format!("give exactly one of {operators}"));
    }
}

fn json_pointer(lint: &mut Lint<'_>, path: &Path, pointer: &str) {
    if !pointer.is_empty() && !pointer.starts_with('/') {
        let message = format!("`{pointer}` is not a JSON pointer");
        let guess = pointer.trim_start_matches("$.").replace('.', "/");
        lint.error(path, "pointer", message).remedy(format!("write \"/{guess}\" (RFC 6901)"));
    }
}

fn one_of(lint: &mut Lint<'_>, path: &Path, written: &str, allowed: &[&str], what: &str) {
    if !allowed.contains(&written) {
        let help = suggestion(written, allowed, "known");
        lint.error(path, "wrong-value", format!("unknown {what} `{written}`")).remedy(help);
    }
}

/// The route's policies that are defined, with their place in its list.
fn of_route<'a>(lint: &Lint<'a>, route: &Route) -> Vec<(usize, usize, &'a Policy)> {
    let all = &lint.document.policy;
    let find = |(position, name): (usize, &String)| {
        let index = all.iter().position(|policy| policy.name == *name)?;
        Some((position, index, &all[index]))
    };
    route.policies.iter().enumerate().filter_map(find).collect()
}

fn order(lint: &mut Lint<'_>, index: usize, route: &Route) {
    let policies = of_route(lint, route);
    // An unknown name was reported; what it would have decided is not guessed.
    if policies.len() < route.policies.len() {
        return;
    }
    let deciding: Vec<_> = policies.iter().filter(|(_, _, policy)| !policy.dry_run).collect();
    for (position, _, policy) in &policies {
        let mut before = deciding.iter().take_while(|(earlier, ..)| earlier < position);
        let Some((_, _, earlier)) = before.find(|(_, _, earlier)| covers(earlier, policy)) else { continue };
        let path = at!["route", index, "policies", *position];
        let shadowed = policy.action == Action::Block && earlier.action != Action::Block;
        let message = if shadowed {
            format!(
                "the block `{}` never decides: `{}` before it matches all of it",
                policy.name, earlier.name
            )
        } else {
            format!(
                "the policy `{}` is never reached: `{}` before it matches all of it",
                policy.name, earlier.name
            )
        };
        let code = if shadowed { "shadowed-block" } else { "unreachable-policy" };
        lint.error(&path, code, message).remedy(format!("put it before `{}`, or remove it", earlier.name));
    }
    if !deciding.iter().any(|(_, _, policy)| always(policy)) {
        let message = format!("the route `{}` can fall through: no policy of it matches always", route.name);
        let help = "end the list with a policy without `when`, with action = \"block\" or \"allow\"";
        lint.error(&at!["route", index, "policies"], "fall-through", message).remedy(help);
    }
}

fn always(policy: &Policy) -> bool {
    policy.when.as_ref().is_none_or(When::is_empty)
}

/// Whether `earlier` matches every request that `later` matches, as far as the conditions show.
fn covers(earlier: &Policy, later: &Policy) -> bool {
    let none = When::default();
    let (a, b) = (earlier.when.as_ref().unwrap_or(&none), later.when.as_ref().unwrap_or(&none));
    // An `allow` that cannot decide a content condition does not hold, while a `block` does: they are not the
    // same set, so content conditions cover each other only between policies that read them alike.
    let lenient = (earlier.action == Action::Allow) != (later.action == Action::Allow);
    let same_content = a.body == b.body && a.json == b.json && a.sql == b.sql;
    let no_content = a.body.is_none() && a.json.is_empty() && a.sql.is_none();
    any_of(&a.method, &b.method)
        && paths(&a.path, &b.path)
        && a.headers.iter().all(|(name, field)| b.headers.get(name) == Some(field))
        && a.query.iter().all(|(name, field)| b.query.get(name) == Some(field))
        && any_of(&a.groups_any, &b.groups_any)
        && a.groups_all.iter().all(|group| b.groups_all.contains(group))
        && any_of(&a.subject, &b.subject)
        && any_of(&a.purpose, &b.purpose)
        && (no_content || (same_content && !lenient))
}

/// "One of `a`" holds whenever "one of `b`" does. An empty list is no condition.
fn any_of(a: &[String], b: &[String]) -> bool {
    a.is_empty() || (!b.is_empty() && b.iter().all(|one| a.contains(one)))
}

fn paths(a: &[String], b: &[String]) -> bool {
    let parse = |one: &String| PathPattern::parse(one).ok();
    let covered = |one: &String| {
        let Some(one) = parse(one) else { return false };
        a.iter().filter_map(parse).any(|pattern| pattern.covers(&one))
    };
    a.is_empty() || (!b.is_empty() && b.iter().all(covered))
}

/// SECURITY R36: without the human behind the caller, nobody can tell a self-approval.
fn owners(lint: &mut Lint<'_>, index: usize, route: &Route) {
    let holds = of_route(lint, route);
    let holding = holds.iter().find(|(_, _, policy)| {
        policy.action == Action::Approve && !policy.approval.as_ref().is_some_and(|terms| terms.own)
    });
    let Some((position, _, policy)) = holding else { return };
    if let Some(login) = lint.document.admin.login.as_ref().filter(|login| login.claims.owner.is_empty()) {
        let message = format!(
            "`{}` forbids self-approval, but the login with {} has no owner claim",
            policy.name, login.issuer
        );
        let help = "set `claims.owner` of the login to the claim that names the human, as callers' tokens do";
        if !lint.found.iter().any(|one| one.code == "no-owner" && one.message == message) {
            lint.error(&at!["admin", "login"], "no-owner", message).remedy(help);
        }
    }
    let identities = &lint.document.identity;
    let without =
        identities.iter().find(|one| route.identity.contains(&one.name) && one.claims.owner.is_empty());
    let path = at!["route", index, "policies", *position];
    let message = if let Some(identity) = without {
        format!(
            "`{}` forbids self-approval, but the identity `{}` has no owner claim",
            policy.name, identity.name
        )
    } else if route.identity.is_empty() {
        format!("`{}` forbids self-approval, but this route takes callers without identity", policy.name)
    } else {
        return;
    };
    let help = "set `claims.owner` to the claim that names the human behind, or `approval.self = true`";
    lint.error(&path, "no-owner", message).remedy(help);
}

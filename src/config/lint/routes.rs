//! Routes and masks.

use super::Lint;
use super::credentials::needs_caller;
use crate::config::tree::at;
use crate::config::{Mask, MaskKind, Match, Protocol, Record, Route, Thinking};
use crate::http::{Method, target};
use crate::inspect::{Expression, Path};
use crate::limits::MASK_LITERALS_MAX;
use crate::policy::{HostPattern, PathPattern, RouteMatch, Router};
use std::time::Duration;

/// Smallest segment: one group of records must fit.
const SEGMENT_BYTES_MIN: u64 = 1 << 20;
/// Largest segment, so that a start reads one in reasonable time.
const SEGMENT_BYTES_MAX: u64 = 4 << 30;
/// Largest body that may be buffered or recorded.
const BODY_BYTES_MAX: u64 = 1 << 30;

pub(super) fn check(lint: &mut Lint<'_>) {
    let document = lint.document;
    for (index, route) in document.route.iter().enumerate() {
        one(lint, index, route);
    }
    overlaps(lint);
    for (index, mask) in document.mask.iter().enumerate() {
        words(lint, index, mask);
        pattern(lint, index, mask);
        members(lint, index, mask);
    }
    let segment = document.audit.segment_bytes.0;
    if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&segment) {
        let message = format!("a segment of {} is out of bounds", document.audit.segment_bytes);
        lint.error(&at!["audit", "segment_bytes"], "size", message)
            .remedy("from 1MiB to 4GiB; the default is 64MiB");
    }
    let audit = &document.audit;
    if !(1..=audit.disk_refuse_percent).contains(&audit.disk_warn_percent) || audit.disk_refuse_percent > 100
    {
        let message = "a disk cannot be warned of at or refused at this percentage";
        lint.error(&at!["audit", "disk_refuse_percent"], "audit", message)
            .remedy("from 1 to 100, the warning first; the defaults are 90 and 95");
    }
    if audit.keep.is_some_and(|keep| keep.0.is_zero()) {
        lint.error(&at!["audit", "keep"], "duration", "a log that keeps nothing is no log")
            .remedy("write \"90d\", or remove the key to keep all of it");
    }
    let slice = document.hold.slice_max;
    if !(Duration::from_millis(100)..=Duration::from_secs(600)).contains(&slice.0) {
        let message = format!("a request cannot be kept waiting for {slice} at once");
        lint.error(&at!["hold", "slice_max"], "duration", message).remedy("from 100ms to 10m");
    }
}

fn one(lint: &mut Lint<'_>, index: usize, route: &Route) {
    let name = &route.name;
    if route.record == Record::Off {
        let message = format!("nothing of the route `{name}` is recorded");
        let help = "`record = { bodies = \"none\" }` keeps who did what, without the bodies";
        lint.warning(&at!["route", index, "record"], "record-off", message).remedy(help);
    }
    if let Record::On(table) = &route.record
        && table.max_bytes.0 > BODY_BYTES_MAX
    {
        let message = "more than 1GiB of one body is not recorded";
        lint.error(&at!["route", index, "record", "max_bytes"], "size", message)
            .remedy("the default is 16MiB");
    }
    if route.max_body.0 > BODY_BYTES_MAX {
        let message = "request bodies over 1GiB are not taken";
        lint.error(&at!["route", index, "max_body"], "size", message).remedy("the default is 32MiB");
    }
    open(lint, index, route);
    thinking(lint, index, route);
    prefix(lint, index, &route.matching);
}

fn open(lint: &mut Lint<'_>, index: usize, route: &Route) {
    if !route.identity.is_empty() {
        return;
    }
    let path = at!["route", index, "identity"];
    let upstream = &route.upstream;
    if needs_caller(lint.document, upstream) {
        let message =
            format!("`{upstream}` exchanges the caller's token, but this route takes callers without one");
        lint.error(&path, "no-identity", message).remedy("name an [[identity]]");
        return;
    }
    let injects = lint.document.upstreams.get(upstream).is_some_and(|one| !one.inject.is_empty());
    let message = if injects {
        format!("the route `{}` gives the credential of `{upstream}` to callers without identity", route.name)
    } else {
        format!("the route `{}` takes callers without identity", route.name)
    };
    lint.warning(&path, "no-identity", message).remedy("name an [[identity]], unless that is meant");
}

/// `thinking = "end"` that never ends anything.
fn thinking(lint: &mut Lint<'_>, index: usize, route: &Route) {
    let upstream = lint.document.upstreams.get(&route.upstream);
    let thinks = upstream.is_none_or(|upstream| upstream.protocol == Protocol::Anthropic);
    if route.thinking == Thinking::End && (route.masks.is_empty() || !thinks) {
        let message = format!("`thinking` changes nothing on the route `{}`", route.name);
        lint.warning(&at!["route", index, "thinking"], "thinking", message)
            .remedy("it needs `masks`, and an upstream with protocol = \"anthropic\"");
    }
}

fn prefix(lint: &mut Lint<'_>, index: usize, matching: &Match) {
    let Some(prefix) = &matching.strip_prefix else { return };
    let path = at!["route", index, "match", "strip_prefix"];
    let bare = canonical_prefix(prefix).filter(|bare| PathPattern::parse(bare).is_ok());
    let Some(bare) = bare.filter(|bare| !bare.is_empty() && !bare.contains('*')) else {
        let message = format!("`{prefix}` is not the start of a path");
        lint.error(&path, "pattern", message).remedy("write \"/openai\"");
        return;
    };
    let below = matching.path.as_deref().and_then(canonical_prefix).is_some_and(|pattern| {
        pattern == bare || pattern.strip_prefix(&*bare).is_some_and(|rest| rest.starts_with('/'))
    });
    if !below {
        let message = format!("this route also takes paths that do not begin with `{bare}`");
        lint.error(&path, "pattern", message).remedy(format!("write path = \"{bare}/**\""));
    }
}

/// The start of a path in the form that paths have when they are matched, without a slash at its end; `None`
/// if it is none.
pub fn canonical_prefix(prefix: &str) -> Option<String> {
    match target::canonicalise(prefix.as_bytes()) {
        Ok((mut path, None)) => {
            path.truncate(path.trim_end_matches('/').len());
            Some(path)
        }
        _ => None,
    }
}

/// The matcher of a route, as [`Router`] takes it.
///
/// # Errors
/// The key that is wrong, and why.
pub fn matcher(matching: &Match) -> Result<RouteMatch, (&'static str, crate::policy::PatternError)> {
    let host = match &matching.host {
        Some(host) => HostPattern::parse(host).map_err(|error| ("host", error))?,
        None => HostPattern::Any,
    };
    let path =
        PathPattern::parse(matching.path.as_deref().unwrap_or("/**")).map_err(|error| ("path", error))?;
    let methods = matching.method.iter().map(|method| Method::from_token(method)).collect();
    Ok(RouteMatch { listen: matching.listen.as_deref().map(Into::into), host, path, methods })
}

fn overlaps(lint: &mut Lint<'_>) {
    let mut matchers = Vec::new();
    let mut indices = Vec::new();
    for (index, route) in lint.document.route.iter().enumerate() {
        match matcher(&route.matching) {
            Ok(matcher) => {
                matchers.push(matcher);
                indices.push(index);
            }
            Err((key, error)) => {
                let example = if key == "host" { "api.example.com" } else { "/v1/**" };
                lint.error(&at!["route", index, "match", key], "pattern", error.to_string())
                    .remedy(format!("write \"{example}\""));
            }
        }
    }
    // The router names one pair; without its later route it names the next.
    while let Err(overlap) = Router::new(matchers.clone()) {
        let (first, second) = (indices[overlap.first], indices[overlap.second]);
        let routes = &lint.document.route;
        let place = lint.tree.line_from(&at!["route", first], &at!["route", second]);
        let message = format!(
            "the routes `{}` and `{}` overlap: a request could take either",
            routes[first].name, routes[second].name
        );
        let path = at!["route", second, "match"];
        lint.error(&path, "overlap", message)
            .remedy(format!("tell them apart by listen, host, path or method (the other is in {place})"));
        matchers.remove(overlap.second);
        indices.remove(overlap.second);
    }
}

fn pattern(lint: &mut Lint<'_>, index: usize, mask: &Mask) {
    let name = &mask.name;
    match (&mask.pattern, mask.kind) {
        (None, MaskKind::Regex) => {
            let message = format!("the mask `{name}` looks for an expression, but has none");
            lint.error(&at!["mask", index, "kind"], "pattern", message).remedy("add pattern = '…'");
        }
        (Some(pattern), MaskKind::Regex) => {
            if let Err(error) = Expression::compile(name, pattern) {
                lint.error(&at!["mask", index, "pattern"], "pattern", error.to_string());
            }
        }
        (Some(_), _) => {
            let message = format!("the mask `{name}` has a pattern, but does not look for an expression");
            lint.error(&at!["mask", index, "pattern"], "pattern", message)
                .remedy("write kind = \"regex\", or remove the pattern");
        }
        (None, _) => {}
    }
}

fn members(lint: &mut Lint<'_>, index: usize, mask: &Mask) {
    let name = &mask.name;
    let lists = [("keys", &mask.keys, MaskKind::Key), ("paths", &mask.paths, MaskKind::Path)];
    for (key, list, kind) in lists {
        if mask.kind == kind && list.is_empty() {
            let message = format!("the mask `{name}` looks for {key}, but names none");
            let remedy = format!("add {key} = [\"…\"]");
            lint.error(&at!["mask", index, "kind"], key, message).remedy(remedy);
        } else if mask.kind != kind && !list.is_empty() {
            let message = format!("the mask `{name}` has {key}, but does not look for them");
            let word = key.trim_end_matches('s');
            let remedy = format!("write kind = \"{word}\", or remove the {key}");
            lint.error(&at!["mask", index, key], key, message).remedy(remedy);
        }
    }
    for (position, path) in mask.paths.iter().enumerate() {
        if let Err(error) = Path::parse(name, path) {
            lint.error(&at!["mask", index, "paths", position], "paths", error.to_string());
        }
    }
    if mask.drop && !matches!(mask.kind, MaskKind::Key | MaskKind::Path) {
        let message = format!("the mask `{name}` drops values, but finds no JSON values");
        let remedy = "write kind = \"key\" or \"path\", or remove drop";
        lint.error(&at!["mask", index, "drop"], "drop", message).remedy(remedy);
    }
}

fn words(lint: &mut Lint<'_>, index: usize, mask: &Mask) {
    let path = at!["mask", index, "words"];
    let name = &mask.name;
    if mask.kind != MaskKind::Literals {
        if !mask.words.is_empty() {
            let message = format!("the mask `{name}` has words, but does not look for literals");
            lint.error(&path, "words", message).remedy("write kind = \"literals\", or remove the words");
        }
        return;
    }
    if mask.words.is_empty() {
        let message = format!("the mask `{name}` looks for literals, but has no words");
        lint.error(&at!["mask", index, "kind"], "words", message).remedy("add words = [\"…\"]");
    }
    if let Some(position) = mask.words.iter().position(|word| word.trim().is_empty()) {
        let path = at!["mask", index, "words", position];
        lint.error(&path, "words", "an empty word would be found everywhere").remedy("remove it");
    }
    if mask.words.len() > MASK_LITERALS_MAX {
        let message = format!("{} words are more than {}", mask.words.len(), MASK_LITERALS_MAX);
        lint.error(&path, "words", message).remedy("split them over several masks");
    }
}

//! What another configuration would make of requests.

use super::super::{
    Core, Error, control, reload,
    replay::{Counts, Finding, Replay},
};
use super::write::name;
use crate::{
    admin::{
        Candidate, Decided, Difference, EditFault, ImaginedCaller, ImaginedRequest, ReplayFault, Replayed,
        Side, Trial, Tried,
    },
    archive::{Archive, Exchange},
    audit::{Head, Subject},
    buffer::Segments,
    config::{Change, Diagnostic, Folder, Route, Snapshot, Text},
    exchange::replay::{Answer, Change as SpanChange, Recorded, Replayer, Unknown, Verdict},
    http::{Method, h1::parse_request},
    protocol::{self, Code, Protocol},
};
use serde_json::Value;
use std::sync::Arc;

/// Differences that are listed.
const DIFFERENCES: usize = 200;

/// The candidate, compiled, and what there is to say about it.
fn compiled(core: &Core, candidate: &Candidate) -> Result<(Arc<Snapshot>, Vec<Value>), EditFault> {
    let previous = core.snapshot.load_full();
    let found = match (&candidate.toml, &candidate.name) {
        (None, None) => return Ok((previous, Vec::new())),
        (None, Some(_)) => return Err(EditFault::Invalid("`name` goes with `toml`".to_owned())),
        (Some(text), Some(file)) => {
            let change = Change { folder: Folder::Policies, name: name(file)?, text: Some(text.clone()) };
            reload::candidate(core, Some(&change))
        }
        (Some(text), None) => Text::read_as(&core.path, text.clone())
            .map_err(|source| Error::Read { path: core.path.clone(), source })
            .and_then(|text| reload::compile_text(&text, Some(&previous), &core.options)),
    };
    let (snapshot, warnings) = found.map_err(|error| EditFault::Rejected {
        rejected: control::rejected(&core.path.display().to_string(), &error),
        diff: String::new(),
    })?;
    let warning = |one: &Diagnostic| serde_json::to_value(one).ok();
    Ok((Arc::new(snapshot), warnings.iter().filter_map(warning).collect()))
}

fn replayer(snapshot: &Snapshot) -> Replayer {
    let secure = snapshot.listeners.iter().map(|listener| listener.tls.is_some()).collect();
    Replayer::new(snapshot.plan.clone(), secure)
}

/// Decides a request that nobody made. It goes the way of a real one: its head is parsed as it would be
/// received.
pub(super) fn try_out(core: &Core, trial: &Trial) -> Result<Tried, EditFault> {
    let (snapshot, warnings) = compiled(core, &trial.candidate)?;
    let request = &trial.request;
    let (head, body) = imagined(&snapshot, request)?;
    let caller = request.identity.as_ref().map(|caller| subject(&snapshot, caller)).transpose()?;
    let tried = replayer(&snapshot).try_out(&Recorded::imagined(&head, caller.as_ref(), body));
    let (answer, code, reason) = match &tried.verdict {
        Ok(verdict) => {
            let code = (verdict.answer == Answer::Refuse).then(|| verdict.policy.to_string());
            (word(verdict.answer), code, text(&verdict.reason))
        }
        Err(Unknown::Identity) => {
            let reason = "The route takes no request without a token: name an `identity`.".to_owned();
            ("refuse", Some(Code::TokenMissing.as_str().to_owned()), Some(reason))
        }
        Err(unknown) => ("refuse", Some(unknown.as_str().to_owned()), None),
    };
    Ok(Tried {
        route: tried.route.as_deref().map(str::to_owned),
        answer: answer.to_owned(),
        code,
        reason,
        decision: tried.decision.as_ref().map(Decided::of),
        warnings,
    })
}

/// Head and body of a request.
fn imagined(snapshot: &Snapshot, request: &ImaginedRequest) -> Result<(Head, Segments), EditFault> {
    let document = &snapshot.document;
    let invalid = |why: String| EditFault::Invalid(why);
    let route = request.route.as_ref().map(|name| {
        let found = document.route.iter().find(|route| route.name == *name);
        found.ok_or_else(|| invalid("`route` names none of the configuration".to_owned()))
    });
    let route = route.transpose()?;
    let taken = route.map(|route| &route.matching);
    let listen = request.listen.as_ref().or(taken.and_then(|taken| taken.listen.as_ref()));
    let listen = match listen {
        Some(name) if document.listen.iter().all(|listener| listener.name != *name) => {
            return Err(invalid("`listen` names none of the configuration".to_owned()));
        }
        Some(name) => name.clone(),
        None => document.listen.first().map(|listener| listener.name.clone()).unwrap_or_default(),
    };
    let (body, kind) = match &request.body {
        None => (Vec::new(), None),
        Some(Value::String(text)) => (text.clone().into_bytes(), None),
        // A JSON value always serialises.
        Some(json) => (serde_json::to_vec(json).unwrap_or_default(), Some("application/json")),
    };
    let method = request.method.as_deref().unwrap_or(if body.is_empty() { "GET" } else { "POST" });
    let host = request.host.clone().or_else(|| taken?.host.as_ref().map(|host| host.replacen('*', "any", 1)));
    let path = request.path.clone().or_else(|| Some(some_path(snapshot, route?, method)));
    let path = path.ok_or_else(|| invalid("`path` or `route` says where the request goes".to_owned()))?;
    let has = |wanted: &str| request.headers.keys().any(|name| name.eq_ignore_ascii_case(wanted));
    let mut lines = vec![format!("{method} {path} HTTP/1.1")];
    if !has("host") {
        lines.push(format!("host: {}", host.as_deref().unwrap_or("localhost")));
    }
    if let Some(kind) = kind.filter(|_| !has("content-type")) {
        lines.push(format!("content-type: {kind}"));
    }
    if !body.is_empty() && !has("content-length") {
        lines.push(format!("content-length: {}", body.len()));
    }
    lines.extend(request.headers.iter().map(|(name, value)| format!("{name}: {value}")));
    if lines.iter().any(|line| line.contains(['\r', '\n'])) {
        return Err(invalid("no part of a head holds a line break".to_owned()));
    }
    let raw = lines.join("\r\n") + "\r\n\r\n";
    let head =
        parse_request(raw.into_bytes().into()).map_err(|why| invalid(format!("malformed_request: {why}")))?;
    let target = match &head.query {
        Some(query) => format!("{}?{query}", head.path),
        None => head.path,
    };
    let head = Head {
        listener: listen.into(),
        method: Some(head.method),
        authority: head.authority,
        target,
        headers: head.headers,
        ..Head::default()
    };
    let mut segments = Segments::new();
    if !body.is_empty() {
        segments.push(body.into());
    }
    Ok((head, segments))
}

/// A path that a route takes; where language models are behind it, one that it forwards.
fn some_path(snapshot: &Snapshot, route: &Route, method: &str) -> String {
    let pattern = route.matching.path.as_deref().unwrap_or("/**");
    let base = pattern.trim_end_matches("**").replace('*', "any");
    let upstream = snapshot.plan.upstreams.iter().find(|upstream| *upstream.name == *route.upstream);
    let protocol = upstream.map_or(Protocol::Http, |upstream| upstream.protocol);
    match protocol::usual_path(protocol, &Method::from_token(method)).filter(|_| pattern.ends_with("**")) {
        None => base,
        Some(usual) if route.matching.strip_prefix.is_none() && usual.starts_with(&base) => usual.to_owned(),
        Some(usual) => format!("{}{usual}", base.trim_end_matches('/')),
    }
}

fn subject(snapshot: &Snapshot, caller: &ImaginedCaller) -> Result<Subject, EditFault> {
    let issuer = match &caller.issuer {
        None => "",
        Some(named) => {
            let known = snapshot.document.identity.iter();
            let found = known.into_iter().find(|one| one.name == *named || one.issuer == *named);
            let found = found.ok_or_else(|| {
                EditFault::Invalid("`identity.issuer` names none of the configuration".to_owned())
            })?;
            &found.issuer
        }
    };
    Ok(Subject {
        issuer: issuer.into(),
        subject: caller.subject.as_str().into(),
        owner: caller.owner.as_deref().map(Into::into),
        groups: caller.groups.iter().map(|group| group.as_str().into()).collect(),
        purpose: caller.purpose.as_deref().map(Into::into),
        token: None,
        token_id: None,
    })
}

/// Decides recorded requests again.
pub(super) fn replay(
    core: &Core,
    candidate: &Candidate,
    archive: &Archive,
    exchanges: &[Exchange],
    goes_on: &dyn Fn() -> bool,
) -> Result<Replayed, ReplayFault> {
    let (snapshot, warnings) = compiled(core, candidate).map_err(ReplayFault::Candidate)?;
    let mut replay = Replay::new(archive, &snapshot);
    let mut counts = Counts::default();
    let mut differences = Vec::new();
    for exchange in exchanges.iter().take_while(|_| goes_on()) {
        let Some(finding) = replay.one(exchange).map_err(ReplayFault::Log)? else { continue };
        counts.count(&finding);
        if let Some(change) = finding.change().filter(|_| differences.len() < DIFFERENCES) {
            differences.push(difference(exchange, &finding, change));
        }
    }
    let reasons = counts.reasons.iter().map(|(reason, count)| ((*reason).to_owned(), *count));
    Ok(Replayed {
        exchanges: counts.exchanges,
        same: counts.same(),
        different: counts.different,
        unknown: counts.unknown,
        unknown_reasons: reasons.collect(),
        spans_added: counts.spans_added,
        spans_removed: counts.spans_removed,
        differences_left_off: counts.different - differences.len() as u64,
        changes: counts.changes,
        differences,
        warnings,
    })
}

fn difference(exchange: &Exchange, finding: &Finding, change: String) -> Difference {
    let spans = &finding.now.spans;
    let added = spans.iter().filter(|span| span.change == SpanChange::Added).count();
    Difference {
        id: exchange.id.clone(),
        time: exchange.started.clone(),
        session: exchange.session.clone(),
        subject: exchange.subject.clone(),
        route: exchange.route.clone(),
        method: exchange.method.clone(),
        path: exchange.target.clone(),
        change,
        old: finding.then.as_ref().map(side),
        new: finding.now.verdict.as_ref().ok().map(side),
        spans_added: added,
        spans_removed: spans.len() - added,
    }
}

fn side(verdict: &Verdict) -> Side {
    let (policy, code) = match verdict.answer {
        Answer::Refuse => (None, text(&verdict.policy)),
        _ => (text(&verdict.policy), None),
    };
    let (place, reason) = (text(&verdict.place), text(&verdict.reason));
    Side { decision: word(verdict.answer).to_owned(), policy, code, place, reason }
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

/// The word of records, logs and metrics.
fn word(answer: Answer) -> &'static str {
    match answer {
        Answer::Allow => "allow",
        Answer::Deny => "block",
        Answer::Approve => "approve",
        Answer::Refuse => "refuse",
    }
}

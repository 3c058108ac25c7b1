//! `ringward approvals`: the requests that wait for people.

use super::{
    admin_client::{Answer, Failure, Target, exit_code},
    audit_proof::detail,
    block_on, exit,
    grants::id_path,
    inert,
    output::Output,
    sessions::lines::{clock, listing, size},
};
use crate::{
    approval::{CardView, Client},
    config::Period,
    runtime,
    time::Timestamp,
};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Decide about requests that wait for a person
#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    List(List),
    Show(Show),
    Approve(Approve),
    Deny(Deny),
    Watch(Watch),
}

/// List them, the oldest first
///
/// What waits of one caller under one policy is one line: the oldest, with how many more there are.
#[derive(Debug, Args)]
struct List {
    /// Only in this state
    #[arg(long, value_parser = crate::approval::State::NAMES)]
    state: Option<String>,
    /// A line for each, also for those that queue behind another one
    #[arg(long)]
    each: bool,
    #[command(flatten)]
    shown: Shown,
}

/// Show one: who asks, what for, and what would be sent
#[derive(Debug, Args)]
struct Show {
    /// Approval (apr_…, or the beginning of it)
    id: String,
    #[command(flatten)]
    shown: Shown,
}

/// Let one through, once
///
/// What is approved is what `show` shows: if the request has changed meanwhile, nothing is decided.
#[derive(Debug, Args)]
struct Approve {
    /// Approval (apr_…, or the beginning of it)
    id: String,
    /// A note for the record
    #[arg(short = 'm', long, alias = "message", value_name = "TEXT")]
    reason: Option<String>,
    /// What else is let through: nothing, what the same policy holds of this session, or of this caller for
    /// so long (at most 8h)
    #[arg(long = "for", value_name = "once|session|30m", default_value = "once", value_parser = span)]
    span: Span,
    /// With a time: for everybody in this group of the caller's
    #[arg(long)]
    group: Option<String>,
    #[command(flatten)]
    seen: Seen,
}

/// Refuse one; the reason reaches the caller word for word
#[derive(Debug, Args)]
struct Deny {
    /// Approval (apr_…, or the beginning of it)
    id: String,
    /// Why, and what to do instead
    #[arg(short = 'm', long, alias = "message", value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    seen: Seen,
}

/// Show changes as they happen, until the gateway ends
#[derive(Debug, Args)]
struct Watch {
    #[command(flatten)]
    shown: Shown,
}

/// Which gateway, and in what form.
#[derive(Debug, Args)]
pub(super) struct Shown {
    /// As JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) target: Target,
}

#[derive(Debug, Args)]
struct Seen {
    /// The revision that was seen [default: the one of now]
    #[arg(long, value_name = "N")]
    revision: Option<u64>,
    /// Only say what would happen
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    shown: Shown,
}

/// For how long.
#[derive(Clone, Debug)]
enum Span {
    Once,
    Session,
    Seconds(u64),
}

fn span(text: &str) -> Result<Span, String> {
    match text {
        "once" => Ok(Span::Once),
        "session" => Ok(Span::Session),
        other => match other.parse::<Period>() {
            Ok(Period(period)) => Ok(Span::Seconds(period.as_secs())),
            Err(_) => Err("want once, session, or a time such as 30m".to_owned()),
        },
    }
}

impl Command {
    pub(super) fn run(self, output: &mut Output) -> u8 {
        let result = block_on(async {
            match self.what {
                What::List(list) => list.run(output).await,
                What::Show(show) => show.run(output).await,
                What::Approve(approve) => approve.run(output).await,
                What::Deny(deny) => deny.run(output).await,
                What::Watch(watch) => watch.run(output).await,
            }
        });
        exit_code(result, output)
    }
}

impl List {
    async fn run(self, output: &mut Output) -> Result<(), Failure> {
        let cards = cards(&self.shown.target, self.state.as_deref()).await?;
        if self.shown.json {
            output.json(&cards);
        } else if cards.is_empty() {
            output.note("no request waits, and none was decided in the last minutes");
        } else {
            let heading = ["APPROVAL", "STATE", "ASKED", "WHO", "WHAT", "POLICY", ""];
            let rows =
                if self.each { cards.iter().map(|card| row(card, 0)).collect() } else { grouped(&cards) };
            output.result(&listing(&heading, rows.into_iter()));
        }
        Ok(())
    }
}

impl Show {
    async fn run(self, output: &mut Output) -> Result<(), Failure> {
        let card: CardView = card(&self.shown.target, &self.id).await?;
        say(&card, self.shown.json, output);
        Ok(())
    }
}

impl Approve {
    async fn run(self, output: &mut Output) -> Result<(), Failure> {
        let (scope, period_s) = match self.span {
            Span::Once => ("once", 0),
            Span::Session => ("session", 0),
            Span::Seconds(seconds) => ("period", seconds),
        };
        let decision = json!({
            "decision": "approve", "reason": self.reason, "scope": scope, "period_s": period_s,
            "group": self.group,
        });
        decide(self.seen, &self.id, decision, output).await
    }
}

impl Deny {
    async fn run(self, output: &mut Output) -> Result<(), Failure> {
        decide(self.seen, &self.id, json!({ "decision": "deny", "reason": self.reason }), output).await
    }
}

impl Watch {
    async fn run(self, output: &mut Output) -> Result<(), Failure> {
        let target = &self.shown.target;
        let mut after: Option<u64> = None;
        let mut queues = Queues::default();
        loop {
            // Where the last stream ended; the first one begins with what waits now.
            let path = match after {
                Some(after) => format!("/api/v1/events?after={after}"),
                None => "/api/v1/events".to_owned(),
            };
            let mut stream = target.open(&path).await?;
            if stream.status() != 200 {
                let status = stream.status().as_u16();
                let body = stream.text().await.unwrap_or_default();
                return Err(refused(&Answer { status, body }));
            }
            if after.is_none() {
                let cards = cards(target, Some("pending")).await?;
                cards.iter().for_each(|card| _ = queues.note(card));
                let is_read = match self.shown.json {
                    true => cards.iter().all(|card| self.line(card, 0, output)),
                    false => grouped(&cards).iter().all(|row| output.piece(&(row.join("  ") + "\n"))),
                };
                if !is_read {
                    return Ok(());
                }
            }
            let mut text = String::new();
            while let Ok(Some(piece)) = stream.chunk().await {
                text.push_str(&String::from_utf8_lossy(&piece));
                while let Some((event, rest)) = text.split_once("\n\n") {
                    let (id, card) = parsed(event);
                    after = id.or(after);
                    let is_read = card.is_none_or(|card| self.line(&card, queues.note(&card), output));
                    text = rest.to_owned();
                    if !is_read {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// `false` where nobody reads any more. `more` wait of the same caller under the same policy.
    fn line(&self, card: &CardView, more: usize, output: &mut Output) -> bool {
        // Text keys only: it always serialises.
        let json = || serde_json::to_string(card).unwrap_or_default();
        let line = if self.shown.json { json() } else { row(card, more).join("  ").trim_end().to_owned() };
        output.piece(&(line + "\n"))
    }
}

/// Number and card of one event.
fn parsed(event: &str) -> (Option<u64>, Option<CardView>) {
    let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
    let id = field("id: ").and_then(|digits| digits.parse().ok());
    (id, field("data: ").and_then(|data| serde_json::from_str(data).ok()))
}

async fn cards(target: &Target, state: Option<&str>) -> Result<Vec<CardView>, Failure> {
    let query = state.map(|state| format!("?state={state}")).unwrap_or_default();
    let answer = target.ask(Method::GET, &format!("/api/v1/approvals{query}")).await?;
    read(&answer, "approvals")
}

async fn card(target: &Target, id: &str) -> Result<CardView, Failure> {
    let answer = target.ask(Method::GET, &path(id)?).await?;
    if answer.status != 200 {
        return Err(refused(&answer));
    }
    serde_json::from_str(&answer.body).map_err(|_| other_version())
}

/// The list under `name` in an answer.
pub(super) fn read<T: DeserializeOwned>(answer: &Answer, name: &str) -> Result<Vec<T>, Failure> {
    if answer.status != 200 {
        return Err(refused(answer));
    }
    let mut body: Value = serde_json::from_str(&answer.body).map_err(|_| other_version())?;
    serde_json::from_value(body[name].take()).map_err(|_| other_version())
}

fn path(id: &str) -> Result<String, Failure> {
    id_path("approvals", id)
}

async fn decide(seen: Seen, id: &str, mut decision: Value, output: &mut Output) -> Result<(), Failure> {
    let target = &seen.shown.target;
    let before = card(target, id).await?;
    decision["revision"] = seen.revision.unwrap_or(before.revision).into();
    if seen.dry_run {
        let planned = json!({ "decide": { "id": before.id, "decision": decision } });
        return foresee(&seen.shown, &planned, output).await;
    }
    let path = path(&before.id)? + "/decision";
    let answer = target.ask_with(Method::POST, &path, &decision).await?;
    if answer.status != 200 {
        return Err(refused(&answer));
    }
    let card: CardView = serde_json::from_str(&answer.body).map_err(|_| other_version())?;
    if seen.shown.json {
        output.json(&card);
        return Ok(());
    }
    let more = card.approvals_min as usize - card.approvals.len().min(card.approvals_min as usize);
    let so = match card.state.as_str() {
        "pending" => format!("approved, {more} more must"),
        "consumed" => "approved, and sent".to_owned(),
        "approved" => "approved; it is sent when its caller asks again".to_owned(),
        other => other.to_owned(),
    };
    output.result(&format!("{}  {so}\n", card.id));
    Ok(())
}

/// Asks what an order would do, and says it.
pub(super) async fn foresee(shown: &Shown, planned: &Value, output: &mut Output) -> Result<(), Failure> {
    let answer = shown.target.ask_with(Method::POST, "/api/v1/approvals:foresee", planned).await?;
    let lines: Vec<String> = read(&answer, "foreseen")?;
    if shown.json {
        output.json(&lines);
        return Ok(());
    }
    output.result("nothing was done; this would happen:\n");
    lines.iter().for_each(|line| output.result(&format!("  {}\n", inert::line(line))));
    Ok(())
}

pub(super) fn refused(answer: &Answer) -> Failure {
    let message = match answer.status {
        404 | 409 | 403 | 400 | 422 => detail(&answer.body),
        status => format!("the gateway answers with status {status}: {}", detail(&answer.body)),
    };
    Failure { message, code: exit::FAILED }
}

pub(super) fn other_version() -> Failure {
    let message = "the gateway's answer is not that of a gateway of this version".to_owned();
    Failure { message, code: exit::FAILED }
}

/// Caller and policy: what waits of one is one line, and the oldest stands for the others.
type Queue = [Option<String>; 4];

fn queue(card: &CardView) -> Queue {
    [card.issuer.clone(), card.subject.clone(), card.address.clone(), Some(card.policy.clone())]
}

/// A row for each queue that waits, and for each card that does not; `cards` are the oldest first.
fn grouped(cards: &[CardView]) -> Vec<Vec<String>> {
    let mut waiting: BTreeMap<Queue, usize> = BTreeMap::new();
    let is_pending = |card: &&CardView| card.state == "pending";
    for card in cards.iter().filter(is_pending) {
        *waiting.entry(queue(card)).or_default() += 1;
    }
    let head = |card| match is_pending(&card) {
        // Whoever comes first takes the count, and stands for all.
        true => waiting.remove(&queue(card)).map(|count| row(card, count - 1)),
        false => Some(row(card, 0)),
    };
    cards.iter().filter_map(head).collect()
}

/// The cards that wait, as far as they were heard of, and which queue they are in.
#[derive(Debug, Default)]
struct Queues(BTreeMap<String, Queue>);

impl Queues {
    /// How many others wait in the queue of a card that waits.
    fn note(&mut self, card: &CardView) -> usize {
        if card.state != "pending" {
            self.0.remove(&card.id);
            return 0;
        }
        let queue = queue(card);
        self.0.insert(card.id.clone(), queue.clone());
        self.0.values().filter(|one| **one == queue).count() - 1
    }
}

/// One card in a list; `more` queue behind it.
fn row(card: &CardView, more: usize) -> Vec<String> {
    let who = card.subject.as_deref().or(card.address.as_deref()).unwrap_or("-");
    let what = format!("{} {} ({})", card.method, card.target, card.route);
    vec![
        card.id.clone(),
        card.state.clone(),
        clock(&card.asked),
        inert::line(who),
        inert::line(&what),
        inert::line(&card.policy),
        if more > 0 { format!("and {more} more") } else { String::new() },
    ]
}

/// How long there is to decide about what waits.
fn left(card: &CardView) -> String {
    let expires = card.expires.parse::<Timestamp>().ok().filter(|_| card.state == "pending");
    let left = expires.map(|at| at.0.saturating_sub(runtime::now().wall.0) / 1_000_000);
    left.map_or_else(String::new, |seconds| format!(", {}:{:02} left", seconds / 60, seconds % 60))
}

fn say(card: &CardView, as_json: bool, output: &mut Output) {
    if as_json {
        return output.json(card);
    }
    let line = |text: &str| inert::line(text);
    let optional = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), inert::line);
    let claimed = if card.session_claimed { " (claimed by the client)" } else { "" };
    let client = match card.client {
        Client::Waiting => "waits",
        Client::Away => "is away and may come back",
    };
    let mut rows = vec![
        ("approval", format!("{}, revision {}, {}", card.id, card.revision, card.state)),
        ("subject", optional(&card.subject)),
        ("owner", optional(&card.owner)),
        ("groups", line(&card.groups.join(", "))),
        ("purpose", optional(&card.purpose)),
        ("session", line(&card.session) + claimed),
        ("request", format!("{} {}", line(&card.method), line(&card.target))),
        ("route", format!("{} to {}", line(&card.route), line(&card.upstream))),
        ("model", optional(&card.model)),
        ("policy", format!("{} at {}: {}", line(&card.policy), line(&card.place), line(&card.reason))),
        ("secrets", line(&card.secrets.join(", "))),
        ("asked", format!("{}, expires {}{}", clock(&card.asked), clock(&card.expires), left(card))),
        ("client", client.to_owned()),
        ("approvers", format!("{} of {}", card.approvals_min, line(&card.by.join(", ")))),
    ];
    for voice in &card.approvals {
        rows.push(("approved", format!("by {} at {}", line(&voice.by), clock(&voice.at))));
    }
    if let (Some(by), Some(reason)) = (&card.denied_by, &card.denied_reason) {
        rows.push(("denied", format!("by {}: {}", line(by), line(reason))));
    }
    if let (Some(request), Some(outcome)) = (&card.used_by, &card.outcome) {
        rows.push(("used", format!("by {}: {}", line(request), line(outcome))));
    }
    for changed in &card.changes {
        let (before, after) = (optional(&changed.before), optional(&changed.after));
        rows.push(("changed", format!("{}: {before} -> {after}", line(&changed.what))));
    }
    let mut text: String = rows.iter().map(|(name, value)| format!("{name:9} {value}\n")).collect();
    let what = if card.excerpt_is_new { ", what is new first" } else { "" };
    let hidden = card.hidden_bytes;
    text += &format!("body      {}{what}, {hidden} bytes not shown\n", size(card.body_bytes));
    if !card.excerpt.is_empty() {
        text += &format!("\n{}\n", inert::block(&card.excerpt));
    }
    output.result(&text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_ids_are_read() {
        assert!(matches!(span("once"), Ok(Span::Once)));
        assert!(matches!(span("30m"), Ok(Span::Seconds(1_800))));
        assert!(span("for ever").is_err());
        assert!(path("apr_01").is_ok());
        for id in ["", "../status", "a b"] {
            assert!(path(id).is_err(), "{id}");
        }
    }
}

//! What a replay found, for people and for machines. Nothing is kept but counts: a log may be large.

use crate::{
    app::replay::{Counts, Finding},
    archive::Exchange,
    cli::{admin_client::Failure, exit, inert, output::Output},
    exchange::replay::{Answer, Change, Span, Unknown, Verdict},
    inspect::Direction,
};
use indicatif::ProgressBar;
use serde_json::{Value, json};
use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, BufWriter, Seek, Write},
    os::unix::fs::OpenOptionsExt,
};

/// Spans of one request that people are shown.
const SPANS_SHOWN: usize = 5;

/// How it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Text,
    Json,
}

/// Counts, and writes as it goes on.
pub(super) struct Report {
    shape: Shape,
    bar: ProgressBar,
    spool: Option<BufWriter<File>>,
    counts: Counts,
}

impl Report {
    pub(super) fn new(shape: Shape, bar: ProgressBar) -> Report {
        Report { shape, bar, spool: None, counts: Counts::default() }
    }

    /// What stands before the first finding.
    pub(super) fn begin(&mut self, output: &mut Output) -> Result<(), Failure> {
        if self.shape == Shape::Json {
            output.piece("{\n\"differences\": [");
        }
        Ok(())
    }

    /// Takes one exchange in. False where nobody reads any more.
    pub(super) fn take(
        &mut self,
        exchange: &Exchange,
        finding: &Finding,
        output: &mut Output,
    ) -> Result<bool, Failure> {
        let (change, unknown) = (finding.change(), finding.unknown());
        let comma = if self.counts.different == 0 { "\n" } else { ",\n" };
        self.counts.count(finding);
        if let (Some((what, reason)), Shape::Json) = (unknown, self.shape) {
            self.keep(&doubt(exchange, finding, what, reason))?;
        }
        let Some(change) = change else { return Ok(true) };
        let text = match self.shape {
            Shape::Json => format!("{comma}{}", difference(exchange, finding, &change)),
            Shape::Text => shown(exchange, finding, &change),
        };
        let bar = self.bar.clone();
        Ok(bar.suspend(|| output.piece(&text)))
    }

    /// Writes what stands behind the last finding, and says how it ended.
    pub(super) fn end(mut self, output: &mut Output) -> Result<u8, Failure> {
        let code = if self.counts.different > 0 { exit::THRESHOLD } else { exit::OK };
        match self.shape {
            Shape::Text => output.result(&summary(&self.counts)),
            Shape::Json => {
                output.piece("\n],\n\"unknown\": [");
                self.copy_kept(output)?;
                // Text keys only: it always serialises.
                let summary = serde_json::to_string(&counted(&self.counts)).unwrap_or_default();
                output.piece(&format!("\n],\n\"summary\": {summary}\n}}\n"));
            }
        }
        Ok(code)
    }

    /// Puts one value aside: it is written behind the differences.
    fn keep(&mut self, value: &Value) -> Result<(), Failure> {
        let failed = |error: io::Error| Failure {
            message: format!("cannot write a file in {}: {error}", std::env::temp_dir().display()),
            code: exit::FAILED,
        };
        let spool = match &mut self.spool {
            Some(spool) => spool,
            none => none.insert(BufWriter::new(nameless().map_err(failed)?)),
        };
        writeln!(spool, "{value}").map_err(failed)
    }

    fn copy_kept(&mut self, output: &mut Output) -> Result<(), Failure> {
        let Some(spool) = self.spool.take() else { return Ok(()) };
        let failed = |error: io::Error| Failure { message: error.to_string(), code: exit::FAILED };
        let mut file = spool.into_inner().map_err(|error| failed(error.into_error()))?;
        file.rewind().map_err(failed)?;
        let mut comma = "\n";
        for line in BufReader::new(file).lines() {
            if !output.piece(&format!("{comma}{}", line.map_err(failed)?)) {
                return Ok(());
            }
            comma = ",\n";
        }
        Ok(())
    }
}

/// A file for this process only, without a name.
fn nameless() -> io::Result<File> {
    let name = format!("ringward-replay-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}

/// The counts for machines.
fn counted(counts: &Counts) -> Value {
    json!({
        "exchanges": counts.exchanges,
        "same": counts.same(),
        "different": counts.different,
        "unknown": counts.unknown,
        "changes": counts.changes,
        "masks": {
            "exchanges": counts.spans_exchanges,
            "added": counts.spans_added,
            "removed": counts.spans_removed,
        },
        "unknown_reasons": counts.reasons,
    })
}

/// The counts for people.
fn summary(counts: &Counts) -> String {
    let same = counts.same();
    let mut text = format!(
        "{} request{}: {same} the same, {} different, {} unknown\n",
        counts.exchanges,
        if counts.exchanges == 1 { "" } else { "s" },
        counts.different,
        counts.unknown
    );
    for (change, count) in &counts.changes {
        text += &format!("  {:<22}{count:>8}  {}\n", change, meaning(change));
    }
    if counts.spans_exchanges > 0 {
        let (added, removed) = (counts.spans_added, counts.spans_removed);
        let requests = counts.spans_exchanges;
        text += &format!("  mask spans: {added} added, {removed} removed, in {requests} requests\n");
    }
    for (reason, count) in &counts.reasons {
        text += &format!("  {:<22}{count:>8}  {}\n", format!("UNKNOWN {reason}"), why(reason));
    }
    text
}

fn meaning(change: &str) -> &'static str {
    match change {
        "POLICY" => "the same, decided by another policy",
        "MASKS" => "the same decision, other spans are masked",
        _ => "",
    }
}

fn why(reason: &str) -> &'static str {
    match reason {
        "undecided" => "refused before a policy was asked: malformed, no good token, too large",
        "identity" => "no token was verified then, and FILE wants one",
        "body_not_recorded" => "a policy or a mask reads the body, which was not recorded",
        "body_truncated" => "a policy or a mask reads the body, of which only a part was recorded",
        "masked" => "a policy or a mask reads bytes that were masked before they were recorded",
        "redacted" => "a policy reads a part of the head that no record holds",
        "masks_not_recorded" => "the configuration of that time is not in the log, nor are its masks",
        "unmaskable" => "masks cannot read the body",
        _ => "",
    }
}

fn side(verdict: &Verdict) -> Value {
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let (policy, code) = match verdict.answer {
        Answer::Refuse => (None, text(&verdict.policy)),
        _ => (text(&verdict.policy), None),
    };
    json!({
        "decision": word(verdict.answer),
        "policy": policy,
        "code": code,
        "place": text(&verdict.place),
        "reason": text(&verdict.reason),
    })
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

fn identified(exchange: &Exchange) -> Value {
    json!({
        "id": exchange.id,
        "sequence": exchange.sequence,
        "time": exchange.started,
        "session": exchange.session,
        "subject": exchange.subject,
        "route": exchange.route,
        "method": exchange.method,
        "path": exchange.target,
    })
}

fn difference(exchange: &Exchange, finding: &Finding, change: &str) -> Value {
    let Finding { then, now, .. } = finding;
    let mut value = identified(exchange);
    value["change"] = change.into();
    value["old"] = then.as_ref().map(side).into();
    value["new"] = now.verdict.as_ref().ok().map(side).into();
    value["masks"] = now.spans.iter().map(span).collect();
    value
}

fn span(span: &Span) -> Value {
    json!({
        "change": change_word(span.change),
        "mask": &*span.rule,
        "direction": direction(span.direction),
        "offset": span.offset,
        "length": span.len,
    })
}

fn doubt(exchange: &Exchange, finding: &Finding, what: &str, reason: Unknown) -> Value {
    let mut value = identified(exchange);
    value["about"] = what.into();
    value["reason"] = reason.as_str().into();
    value["old"] = finding.then.as_ref().map(side).into();
    value["code"] = finding.code.clone().into();
    value
}

fn change_word(change: Change) -> &'static str {
    match change {
        Change::Added => "added",
        Change::Removed => "removed",
    }
}

fn direction(direction: Direction) -> &'static str {
    if direction == Direction::Request { "request" } else { "response" }
}

/// One difference for people; whatever callers wrote is inert.
fn shown(exchange: &Exchange, finding: &Finding, change: &str) -> String {
    let or_dash = |text: &Option<String>| inert::line(text.as_deref().unwrap_or("-"));
    let (subject, method) = (or_dash(&exchange.subject), or_dash(&exchange.method));
    let path = or_dash(&exchange.target);
    let mut text = format!("{} {} {change}\n", exchange.started, exchange.id);
    text += &format!("  {subject}: {method} {path}\n");
    if let (Some(then), Ok(now)) = (&finding.then, &finding.now.verdict)
        && !then.agrees(now)
    {
        text += &format!("  was {}\n  now {}\n", said(then), said(now));
    }
    let spans = &finding.now.spans;
    for span in spans.iter().take(SPANS_SHOWN) {
        let sign = if span.change == Change::Added { '+' } else { '-' };
        let (way, rule) = (direction(span.direction), inert::line(&span.rule));
        text += &format!("  {sign} mask {rule}: {way} bytes {}, {} long\n", span.offset, span.len);
    }
    if spans.len() > SPANS_SHOWN {
        text += &format!("  and {} more spans; --json has all of them\n", spans.len() - SPANS_SHOWN);
    }
    text + "\n"
}

fn said(verdict: &Verdict) -> String {
    let by = match verdict.answer {
        Answer::Refuse => format!("refuse {}", verdict.policy),
        answer => format!("{} by \"{}\" ({})", word(answer), verdict.policy, verdict.place),
    };
    let reason = if verdict.reason.is_empty() { String::new() } else { format!(": {}", verdict.reason) };
    inert::line(&(by + &reason))
}

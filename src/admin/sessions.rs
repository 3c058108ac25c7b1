//! Recordings over the admin interface: who did what, and all of it.
//!
//! What is listed says that something happened, as the access log does. Whoever reads what was said in it,
//! is recorded before the first byte is given.

use super::{
    access::{Need, Principal},
    endpoint::{Endpoint, get},
    problem::{Problem, answer},
    routes::Desk,
    stream::{self, Pieces},
};
use crate::{
    archive::{Archive, Error, Exchange, Filter, Har, Recording, Session, Sessions, Span},
    time::Timestamp,
};
use axum::{
    body::Bytes,
    extract::{Extension, Path, Query, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

/// Exchanges of one answer unless the question says otherwise, and the most that it may say.
const PAGE: usize = 500;
const PAGE_MAX: usize = 10_000;
/// How often a followed session is looked at.
const LOOK: Duration = Duration::from_millis(250);

type Desked = State<Arc<Desk>>;
type Asked<T> = Result<Query<T>, QueryRejection>;
type Answered = Result<axum::response::Response, Problem>;

/// What is served here.
pub(super) fn endpoints() -> Vec<Endpoint> {
    let exported = |endpoint: Endpoint| {
        endpoint.query::<Export>().media("application/x-ndjson").also("application/json")
    };
    vec![
        get("/api/v1/sessions", list).says("Recorded sessions").query::<Filter>().json::<Sessions>(),
        get("/api/v1/sessions/{id}", show)
            .says("A session and its requests; who reads it is recorded")
            .query::<Page>()
            .json::<Shown>(),
        get("/api/v1/sessions/{id}/events", events)
            .says("A session as it goes on: server-sent events")
            .field("Last-Event-ID", "The last record that was seen.")
            .media("text/event-stream"),
        exported(
            get("/api/v1/sessions/{id}/export", export_session).says("All that was recorded of a session"),
        ),
        get("/api/v1/exchanges", ended)
            .says("Requests in the order in which they ended")
            .query::<Page>()
            .json::<Exchanges>(),
        exported(get("/api/v1/export", export_span).says("All that was recorded in a span of time")),
    ]
}

/// A session and its requests.
#[derive(Debug, Serialize, JsonSchema)]
struct Shown {
    session: Session,
    exchanges: Vec<Exchange>,
}

/// Requests.
#[derive(Debug, Serialize, JsonSchema)]
struct Exchanges {
    exchanges: Vec<Exchange>,
}

/// Which exchanges.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Page {
    /// Behind this record.
    after: Option<u64>,
    limit: Option<usize>,
}

/// What is exported.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Export {
    format: Format,
    purpose: Purpose,
    since: Option<String>,
    until: Option<String>,
    /// Behind this record.
    after: Option<u64>,
    limit: Option<usize>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Jsonl,
    Har,
}

/// What it is read for, as the READ record says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Purpose {
    #[default]
    Export,
    Replay,
}

async fn list(State(desk): Desked, query: Asked<Filter>) -> Answered {
    let filter = asked(query)?;
    let sessions = at_work(desk, move |desk| Ok(caught_up(desk)?.sessions(&filter)?)).await?;
    Ok(answer(StatusCode::OK, &sessions))
}

async fn show(
    State(desk): Desked,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
    query: Asked<Page>,
) -> Answered {
    let page = asked(query)?;
    let author = principal.name().to_owned();
    let shown = at_work(desk, move |desk| {
        let archive = caught_up(desk)?;
        let session = archive.session(&id)?;
        // Without its requests it is a line of the list.
        let limit = page.limit.unwrap_or(PAGE).min(PAGE_MAX);
        if limit > 0 {
            record(desk, &author, "show", &session.id)?;
        }
        let session_id = Some(session.id.clone());
        let span = Span { session: session_id, after: page.after, limit: Some(limit), ..Span::default() };
        Ok((session, archive.exchanges(&span)?))
    });
    let (session, exchanges): (Session, Vec<Exchange>) = shown.await?;
    Ok(answer(StatusCode::OK, &Shown { session, exchanges }))
}

/// Exchanges in the order in which they ended: behind a record, or the last ones.
async fn ended(State(desk): Desked, query: Asked<Page>) -> Answered {
    let page = asked(query)?;
    let exchanges = at_work(desk, move |desk| {
        let archive = caught_up(desk)?;
        let limit = page.limit.unwrap_or(PAGE).min(PAGE_MAX);
        Ok(match page.after {
            Some(after) => archive.ended(after, limit)?,
            None => archive.last_ended(limit)?,
        })
    });
    Ok(answer(StatusCode::OK, &Exchanges { exchanges: exchanges.await? }))
}

async fn export_session(
    State(desk): Desked,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
    query: Asked<Export>,
) -> Answered {
    export(desk, principal, Some(id), asked(query)?).await
}

async fn export_span(
    State(desk): Desked,
    Extension(principal): Extension<Principal>,
    query: Asked<Export>,
) -> Answered {
    export(desk, principal, None, asked(query)?).await
}

async fn export(desk: Arc<Desk>, principal: Principal, id: Option<String>, asked: Export) -> Answered {
    let author = principal.name().to_owned();
    let mut span = asked.span()?;
    let (pieces, body) = stream::channel();
    let opened = at_work(desk, move |desk| {
        let archive = caught_up(desk)?;
        if let Some(id) = id {
            span.session = Some(archive.session(&id)?.id);
        }
        record(desk, &author, asked.action(), &object(&span))?;
        let count = archive.count(&span)?;
        let name = span.session.clone().unwrap_or_else(|| "export".to_owned());
        let mut exporter = Exporter { archive, span, asked, pieces, har: Har::default(), page: Vec::new() };
        // What fails at once is a plain answer.
        let first = exporter.next()?;
        Ok((exporter, first, count, name))
    });
    let (exporter, first, count, name) = opened.await?;
    let (kind, suffix) = exporter.asked.kind();
    // The client may leave at any time; the work then ends with the next piece.
    drop(tokio::task::spawn_blocking(move || exporter.run(first)));
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert("x-ringward-exchanges", HeaderValue::from(count));
    // A session's id is letters, digits and `_`: always a header's value.
    let file = format!("attachment; filename=\"{name}.{suffix}\"");
    if let Ok(file) = HeaderValue::try_from(file) {
        headers.insert(header::CONTENT_DISPOSITION, file);
    }
    Ok(response)
}

impl Export {
    fn span(&self) -> Result<Span, Problem> {
        let time = |name: &str, text: &Option<String>| -> Result<Option<Timestamp>, Problem> {
            let parsed = text.as_deref().map(str::parse).transpose();
            parsed.map_err(|error| Problem::malformed(format!("`{name}`: {error}")))
        };
        let (since, until) = (time("since", &self.since)?, time("until", &self.until)?);
        Ok(Span { session: None, since, until, after: self.after, limit: self.limit })
    }

    fn action(&self) -> &'static str {
        match (self.purpose, self.format) {
            (Purpose::Replay, _) => "replay",
            (Purpose::Export, Format::Jsonl) => "export jsonl",
            (Purpose::Export, Format::Har) => "export har",
        }
    }

    /// Content type and file suffix.
    fn kind(&self) -> (&'static str, &'static str) {
        match self.format {
            Format::Jsonl => ("application/x-ndjson", "jsonl"),
            Format::Har => ("application/json", "har"),
        }
    }
}

/// What a span is called in the READ record: a session, or two times.
fn object(span: &Span) -> String {
    let time = |time: Option<Timestamp>| time.map_or_else(|| "..".to_owned(), |time| time.to_string());
    match &span.session {
        Some(session) => session.clone(),
        None => format!("{}/{}", time(span.since), time(span.until)),
    }
}

/// Reads recordings one by one and sends them.
struct Exporter {
    archive: Arc<Archive>,
    span: Span,
    asked: Export,
    pieces: Pieces,
    har: Har,
    /// Exchanges that are known and not yet read, the next one last.
    page: Vec<Exchange>,
}

impl Exporter {
    fn run(self, first: Option<Recording>) {
        let archive = self.archive.clone();
        self.give(first);
        archive.rest();
    }

    fn give(mut self, first: Option<Recording>) {
        if self.asked.format == Format::Har && !self.send(Har::begin()) {
            return;
        }
        let mut next = Ok(first);
        while let Ok(Some(recording)) = next {
            let text = match self.asked.format {
                // Text keys only: it always serialises.
                Format::Jsonl => serde_json::to_string(&recording).unwrap_or_default() + "\n",
                Format::Har => self.har.entry(&recording),
            };
            if !self.send(text) {
                return;
            }
            next = self.next();
        }
        match next {
            Err(error) => {
                tracing::error!(%error, "an export was cut");
                // The client sees an incomplete message, or has gone.
                let _ = self.pieces.blocking_send(Err(io::Error::other(error)));
            }
            Ok(_) if self.asked.format == Format::Har => drop(self.send(Har::end().to_owned())),
            Ok(_) => {}
        }
    }

    fn next(&mut self) -> Result<Option<Recording>, Error> {
        if self.page.is_empty() {
            let left = self.span.limit.unwrap_or(usize::MAX);
            let page = Span { limit: Some(left.min(PAGE)), ..self.span.clone() };
            self.page = self.archive.exchanges(&page)?;
            self.span.limit = self.span.limit.map(|limit| limit.saturating_sub(self.page.len()));
            self.span.after = self.page.last().map(|last| last.sequence).or(self.span.after);
            self.page.reverse();
        }
        self.page.pop().map(|exchange| self.archive.recording(&exchange)).transpose()
    }

    /// Whether the client is still there.
    fn send(&self, text: String) -> bool {
        self.pieces.blocking_send(Ok(Bytes::from(text))).is_ok()
    }
}

/// A session as it goes on: an event for each exchange that ended, with the record as its id.
async fn events(
    State(desk): Desked,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answered {
    let author = principal.name().to_owned();
    let still = desk.clone();
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let mut after = last.and_then(|digits| digits.parse::<u64>().ok()).unwrap_or(0);
    let session = at_work(desk.clone(), move |desk| {
        let session = caught_up(desk)?.session(&id)?.id;
        record(desk, &author, "follow", &session)?;
        Ok(session)
    });
    let session = session.await?;
    let (pieces, body) = stream::channel();
    tokio::spawn(async move {
        let mut said = Instant::now();
        loop {
            let wanted = session.clone();
            let more = at_work(desk.clone(), move |desk| Ok(caught_up(desk)?.ended(after, PAGE)?)).await;
            let Ok(more) = more else { break };
            if principal.still(&still, Need::Audit).is_none() {
                break;
            }
            after = more.last().and_then(|last| last.ended_sequence).unwrap_or(after);
            let is_all = more.len() < PAGE;
            let mut text: String = more.iter().filter(|one| one.session == wanted).map(event).collect();
            if text.is_empty() && said.elapsed() >= stream::PING {
                text = stream::NOTHING_NEW.to_owned();
            }
            if !text.is_empty() {
                said = Instant::now();
                if pieces.send(Ok(Bytes::from(text))).await.is_err() {
                    break;
                }
            }
            tokio::select! {
                () = pieces.closed() => break,
                () = tokio::time::sleep(if is_all { LOOK } else { Duration::ZERO }) => {}
            }
        }
    });
    Ok(stream::events(body))
}

fn event(exchange: &Exchange) -> String {
    // Text keys only: it always serialises, and on one line.
    let data = serde_json::to_string(exchange).unwrap_or_default();
    format!("id: {}\nevent: exchange\ndata: {data}\n\n", exchange.ended_sequence.unwrap_or(0))
}

fn asked<T>(query: Asked<T>) -> Result<T, Problem> {
    // Only names and types of parameters are repeated, in words of ours.
    query.map(|Query(asked)| asked).map_err(|rejection| Problem::malformed(rejection.body_text()))
}

/// The recordings, with everything that the journal has written by now.
pub(super) fn caught_up(desk: &Desk) -> Result<Arc<Archive>, Problem> {
    let (archive, head) = desk.control.archive()?;
    archive.catch_up(head)?;
    Ok(archive)
}

pub(super) fn record(desk: &Desk, author: &str, action: &str, object: &str) -> Result<(), Problem> {
    desk.control.record_read(author, action, object).map_err(|why| {
        let message = format!("nothing is shown, because who reads it cannot be recorded: {why}");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "audit_unavailable", message)
    })
}

/// Runs what reads files on a thread where that disturbs nobody.
pub(super) async fn at_work<T: Send + 'static>(
    desk: Arc<Desk>,
    work: impl FnOnce(&Desk) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(move || work(&desk)).await;
    let failed =
        |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the gateway failed at this");
    done.map_err(failed)?
}

impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        let (status, code) = match error {
            Error::NotFound(_) => (StatusCode::NOT_FOUND, "not_found"),
            Error::Ambiguous(_) => (StatusCode::CONFLICT, "ambiguous"),
            Error::Encrypted(_) => (StatusCode::CONFLICT, "encrypted"),
            Error::Damage(_) => (StatusCode::INTERNAL_SERVER_ERROR, "audit_damaged"),
            Error::Empty(_) | Error::Behind { .. } => (StatusCode::SERVICE_UNAVAILABLE, "audit_unavailable"),
            Error::Io { .. } | Error::Index(_) => (StatusCode::INTERNAL_SERVER_ERROR, "audit_unreadable"),
        };
        Problem::new(status, code, error.to_string())
    }
}

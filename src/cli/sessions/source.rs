//! Where recordings are read: over the admin interface of a gateway, or straight from the folder of a log.

use crate::{
    archive::{Archive, Error, Exchange, Filter, Recording, Session, Sessions, Span},
    cli::{
        admin_client::{Answer, Failure, Target, with_query},
        exit, inert,
    },
    segments::Keys,
};
use clap::Args;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::path::{Path, PathBuf};

/// Exchanges that one question gives.
const PAGE: usize = 500;

/// Which log.
#[derive(Clone, Debug, Args)]
pub(super) struct Place {
    /// Read this log folder itself instead of asking a gateway, whatever else says where one is
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// File with the age identity of an auditor, for segments that are encrypted
    #[arg(long, value_name = "FILE", requires = "dir")]
    identity: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
}

/// An open source of recordings.
pub(super) enum Source {
    Folder(Box<Archive>),
    Gateway(Box<Target>),
}

/// Whether the taker wants more.
pub(super) enum Go {
    On,
    Stop,
}

/// Why recordings are read: a gateway records that.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    Replay,
    Export,
}

/// A page of exchanges, as the gateway gives it.
#[derive(Deserialize)]
struct Page {
    exchanges: Vec<Exchange>,
}

/// A session with its exchanges, as the gateway gives it.
#[derive(Deserialize)]
struct Shown {
    session: Session,
    exchanges: Vec<Exchange>,
}

impl Place {
    /// Opens the source; a folder is read up to its end.
    ///
    /// # Errors
    /// There is no log in the folder, or it is damaged.
    pub(super) fn open(self) -> Result<Source, Failure> {
        let Some(dir) = self.dir else { return Ok(Source::Gateway(Box::new(self.target))) };
        let archive = open_folder(&dir, self.identity.as_deref())?;
        Ok(Source::Folder(Box::new(archive)))
    }
}

/// The log in `dir`, read up to its end; `identity` opens its encrypted segments.
///
/// # Errors
/// There is no log in the folder, or it is damaged; the identity cannot be read.
pub(in crate::cli) fn open_folder(dir: &Path, identity: Option<&Path>) -> Result<Archive, Failure> {
    let archive = match identity {
        None => Archive::open(dir).map_err(failure)?,
        Some(file) => {
            let unreadable = |error| Failure {
                message: format!("--identity {}: {error}", file.display()),
                code: exit::USAGE,
            };
            Archive::open_with(dir, Keys::read(file).map_err(unreadable)?).map_err(failure)?
        }
    };
    archive.catch_up(0).map_err(failure)?;
    Ok(archive)
}

impl Source {
    /// Sessions that fit, all pages up to the filter's limit; and how many segments are closed to the reader.
    pub(super) async fn sessions(&self, filter: &Filter) -> Result<(Vec<Session>, u64), Failure> {
        let wanted = filter.limit.unwrap_or(Filter::LIMIT_DEFAULT);
        let mut found: Vec<Session> = Vec::new();
        let mut filter = filter.clone();
        let mut closed = 0;
        while found.len() < wanted {
            filter.limit = Some((wanted - found.len()).min(Filter::LIMIT_MAX));
            let Sessions { sessions, next, encrypted_segments } = match self {
                Source::Folder(archive) => archive.sessions(&filter).map_err(failure)?,
                Source::Gateway(target) => ask(target, "/api/v1/sessions", &filter).await?,
            };
            found.extend(sessions);
            filter.after = next;
            closed = encrypted_segments;
            if filter.after.is_none() {
                break;
            }
        }
        Ok((found, closed))
    }

    /// The session of an id, the beginning of one, or one of its requests.
    pub(super) async fn session(&self, name: &str) -> Result<Session, Failure> {
        match self {
            Source::Folder(archive) => archive.session(name).map_err(failure),
            Source::Gateway(target) => {
                let path = format!("/api/v1/sessions/{}", segment(name));
                let shown: Shown = ask(target, &path, &Span { limit: Some(0), ..Span::default() }).await?;
                Ok(shown.session)
            }
        }
    }

    /// All exchanges of a session, page by page.
    pub(super) async fn exchanges(
        &self,
        session: &str,
        mut take: impl FnMut(Vec<Exchange>),
    ) -> Result<(), Failure> {
        let mut span = Span { limit: Some(PAGE), ..Span::default() };
        loop {
            let page = match self {
                Source::Folder(archive) => {
                    let span = Span { session: Some(session.to_owned()), ..span.clone() };
                    archive.exchanges(&span).map_err(failure)?
                }
                Source::Gateway(target) => {
                    let path = format!("/api/v1/sessions/{}", segment(session));
                    ask::<Shown>(target, &path, &span).await?.exchanges
                }
            };
            let Some(last) = page.last().filter(|_| page.len() == PAGE).map(|last| last.sequence) else {
                take(page);
                return Ok(());
            };
            take(page);
            span.after = Some(last);
        }
    }

    /// Exchanges that ended behind record `after`; without, the last ones. The oldest comes first.
    pub(super) async fn ended(&self, after: Option<u64>, limit: usize) -> Result<Vec<Exchange>, Failure> {
        match self {
            Source::Folder(archive) => {
                archive.catch_up(0).map_err(failure)?;
                let found = match after {
                    Some(after) => archive.ended(after, limit),
                    None => archive.last_ended(limit),
                };
                found.map_err(failure)
            }
            Source::Gateway(target) => {
                let span = Span { after, limit: Some(limit), ..Span::default() };
                Ok(ask::<Page>(target, "/api/v1/exchanges", &span).await?.exchanges)
            }
        }
    }

    /// Gives the recordings of a span in order until the taker wants no more. `total` is told their number
    /// first.
    pub(super) async fn recordings(
        &self,
        span: &Span,
        purpose: Purpose,
        total: impl FnMut(u64),
        take: impl AsyncFnMut(Recording) -> Result<Go, Failure>,
    ) -> Result<(), Failure> {
        match self {
            Source::Folder(archive) => from_folder(archive, span, total, take).await,
            Source::Gateway(target) => from_gateway(target, span, purpose, total, take).await,
        }
    }
}

async fn from_folder(
    archive: &Archive,
    span: &Span,
    mut total: impl FnMut(u64),
    mut take: impl AsyncFnMut(Recording) -> Result<Go, Failure>,
) -> Result<(), Failure> {
    total(archive.count(span).map_err(failure)?);
    let mut span = Span { limit: Some(PAGE), ..span.clone() };
    loop {
        let page = archive.exchanges(&span).map_err(failure)?;
        for exchange in &page {
            let recording = archive.recording(exchange).map_err(failure)?;
            if let Go::Stop = take(recording).await? {
                return Ok(());
            }
        }
        match page.last() {
            Some(last) if page.len() == PAGE => span.after = Some(last.sequence),
            _ => return Ok(()),
        }
    }
}

/// A gateway ends connections that last long: what is missing is asked for again, behind the last whole
/// recording.
async fn from_gateway(
    target: &Target,
    span: &Span,
    purpose: Purpose,
    mut total: impl FnMut(u64),
    mut take: impl AsyncFnMut(Recording) -> Result<Go, Failure>,
) -> Result<(), Failure> {
    let path = match &span.session {
        Some(session) => format!("/api/v1/sessions/{}/export", segment(session)),
        None => "/api/v1/export".to_owned(),
    };
    let mut span = Span { session: None, ..span.clone() };
    let mut is_first = true;
    loop {
        let question = Question { span: span.clone(), format: "jsonl", purpose: purpose.as_str() };
        let mut answer = target.open(&with_query(&path, &question)?).await.map_err(or_folder)?;
        if answer.status() != 200 {
            let status = answer.status().as_u16();
            return Err(refused(&Answer { status, body: answer.text().await.unwrap_or_default() }));
        }
        let counted = answer.headers().get("x-ringward-exchanges").and_then(|value| value.to_str().ok());
        if let (true, Some(count)) = (is_first, counted.and_then(|digits| digits.parse().ok())) {
            total(count);
        }
        is_first = false;
        let before = span.after;
        let mut pending = Vec::new();
        let error = loop {
            match answer.chunk().await {
                Ok(Some(bytes)) => pending.extend_from_slice(&bytes),
                Ok(None) if pending.is_empty() => return Ok(()),
                Ok(None) => break "the answer ends in the middle of a line".to_owned(),
                Err(error) => break crate::cli::admin_client::cause(&error),
            }
            while let Some(end) = memchr::memchr(b'\n', &pending) {
                let line: Vec<u8> = pending.drain(..=end).collect();
                let recording: Recording = read(&line)?;
                span.after = Some(recording.exchange.sequence);
                if let Go::Stop = take(recording).await? {
                    return Ok(());
                }
            }
        };
        if span.after == before {
            let message = format!("the gateway's answer was cut: {error}");
            return Err(Failure { message, code: exit::UNREACHABLE });
        }
    }
}

impl Purpose {
    fn as_str(self) -> &'static str {
        match self {
            Purpose::Replay => "replay",
            Purpose::Export => "export",
        }
    }
}

#[derive(Serialize)]
struct Question<'a> {
    #[serde(flatten)]
    span: Span,
    format: &'a str,
    purpose: &'a str,
}

async fn ask<T: DeserializeOwned>(
    target: &Target,
    path: &str,
    question: &impl Serialize,
) -> Result<T, Failure> {
    let answer = target.ask(reqwest::Method::GET, &with_query(path, question)?).await.map_err(or_folder)?;
    if answer.status != 200 {
        return Err(refused(&answer));
    }
    read(answer.body.as_bytes())
}

fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(json).map_err(|error| Failure {
        message: format!("the gateway's answer is not that of a gateway of this version: {error}"),
        code: exit::FAILED,
    })
}

/// Without a gateway there is still its log.
fn or_folder(failure: Failure) -> Failure {
    if failure.code != exit::UNREACHABLE {
        return failure;
    }
    Failure { message: format!("{}; --dir DIR reads the folder of a log itself", failure.message), ..failure }
}

/// What a gateway says when it does not give what was asked for.
fn refused(answer: &Answer) -> Failure {
    let body = serde_json::from_str::<serde_json::Value>(&answer.body).unwrap_or_default();
    let said = body["message"].as_str().map_or_else(String::new, |message| format!(": {message}"));
    let code = if body["code"] == "audit_damaged" { exit::AUDIT } else { exit::FAILED };
    let message = match answer.status {
        404 | 409 | 422 | 500 | 503 if !said.is_empty() => said[2..].to_owned(),
        status => format!("the gateway answers with status {status}{said}"),
    };
    Failure { message: inert::line(&message), code }
}

/// A name as one segment of a path: what no id holds cannot leave it.
fn segment(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// What went wrong with a folder.
pub(in crate::cli) fn failure(error: Error) -> Failure {
    let code = if matches!(error, Error::Damage(_)) { exit::AUDIT } else { exit::FAILED };
    Failure { message: inert::line(&error.to_string()), code }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{BufRead, BufReader, Write},
        os::unix::net::UnixListener,
    };

    fn line(sequence: u64) -> String {
        let exchange = Exchange { sequence, id: "req_1".into(), ..Exchange::default() };
        serde_json::to_string(&Recording { exchange, ..Recording::default() }).unwrap() + "\n"
    }

    /// Answers each request with the next body, cut before its end where it says so; gives what was asked.
    fn serve(listener: UnixListener, bodies: Vec<(String, bool)>) -> Vec<String> {
        let answer = |(body, is_cut): (String, bool)| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let asked = lines.next().unwrap();
            lines.find(|line| line.is_empty()).unwrap();
            let end = if is_cut { "" } else { "0\r\n\r\n" };
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx-ringward-exchanges: 3\r\n\r\n";
            let text = format!("{head}{:x}\r\n{body}\r\n{end}", body.len());
            stream.write_all(text.as_bytes()).unwrap();
            asked
        };
        bodies.into_iter().map(answer).collect()
    }

    fn read(bodies: Vec<(String, bool)>) -> (Result<(), Failure>, Vec<u64>, Vec<String>) {
        // As `main` does.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("admin.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let server = std::thread::spawn(move || serve(listener, bodies));
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            place: Place,
        }
        let admin = format!("unix:{}", socket.display());
        let line = <Line as clap::Parser>::parse_from(["", "--admin", &admin]);
        let Ok(source) = line.place.open() else { panic!("a gateway needs no opening") };
        let mut taken = Vec::new();
        let span = Span { session: Some("ses_1".into()), ..Span::default() };
        let read = source.recordings(
            &span,
            Purpose::Export,
            |_| {},
            async |recording| {
                taken.push(recording.exchange.sequence);
                Ok(Go::On)
            },
        );
        let result = crate::cli::block_on(read);
        (result, taken, server.join().unwrap())
    }

    #[test]
    fn an_answer_that_is_cut_is_asked_for_again_behind_its_last_whole_line() {
        let half = line(3)[..20].to_owned();
        let (result, taken, asked) = read(vec![(line(1) + &line(2) + &half, true), (line(3), false)]);
        assert!(result.is_ok());
        assert_eq!(taken, [1, 2, 3]);
        assert!(asked[0].starts_with("GET /api/v1/sessions/ses_1/export?"), "{asked:?}");
        assert!(!asked[0].contains("after=") && asked[1].contains("after=2"), "{asked:?}");
    }

    #[test]
    fn an_answer_that_brings_nothing_is_an_error() {
        let (result, taken, _) = read(vec![(line(1)[..9].to_owned(), true)]);
        let Err(failure) = result else { panic!("half a line is no recording") };
        assert_eq!((failure.code, taken.len()), (exit::UNREACHABLE, 0));
        assert!(failure.message.contains("cut"), "{}", failure.message);
    }

    #[test]
    fn names_stay_within_their_segment_of_a_path() {
        assert_eq!(segment("ses_4P9M"), "ses_4P9M");
        assert_eq!(segment("../x?y#é"), "%2E%2E%2Fx%3Fy%23%C3%A9");
    }
}

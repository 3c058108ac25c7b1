//! An upstream that answers at once and always the same: language models, bodies of a given size, an echo.
//!
//! | request | answer |
//! | --- | --- |
//! | `POST /v1/messages` | Anthropic message; events if the body says `"stream": true` |
//! | `POST /v1/chat/completions` | OpenAI completion; events likewise, usage if it is asked for |
//! | any method `/bytes/N`, `/chunked/N` | N bytes, with `Content-Length` or chunked |
//! | any method `/echo` | the request's body, with its type |
//! | anything else | a JSON object of `--body-bytes` bytes |
//!
//! Everything that can be is made before the first request. Start at [`run`].

mod body;
mod models;
#[cfg(test)]
mod tests;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use axum::serve::ListenerExt;
use body::{Paced, Repeated};
use models::{Dialect, Model};
use serde::Deserialize;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Largest request body that is taken, and largest that is made.
const BODY_BYTES_MAX: u64 = 1 << 30;
/// Events of one stream.
const TOKENS_MAX: u32 = 1_000_000;

/// Run a mock upstream until SIGTERM; prints one JSON line with its address when it is ready
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:0")]
    pub addr: SocketAddr,
    /// Always stream, whatever the request says
    #[arg(long)]
    pub sse: bool,
    /// Tokens of an answer, each an event of its own in a stream
    #[arg(long, default_value_t = 50)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(TOKENS_MAX)))]
    pub tokens: u32,
    /// Pause before each token but the first, such as 5ms
    #[arg(long, value_name = "TIME", default_value = "0ms", value_parser = milliseconds)]
    pub itl: Duration,
    /// Pause before the first byte of an answer, such as 30ms
    #[arg(long, value_name = "TIME", default_value = "0ms", value_parser = milliseconds)]
    pub ttft: Duration,
    /// Stop all of the mock once, when so many requests have come, for so long: 500/300ms
    #[arg(long, value_name = "N/TIME", value_parser = Stall::parse)]
    pub stall: Option<Stall>,
    /// Bytes of the answer to everything else
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub body_bytes: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            addr: SocketAddr::from(([127, 0, 0, 1], 0)),
            sse: false,
            tokens: 50,
            itl: Duration::ZERO,
            ttft: Duration::ZERO,
            stall: None,
            body_bytes: 200,
        }
    }
}

/// Once, nothing is answered: as when a collector of garbage stops the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    /// The request with which it begins, counted from 1.
    pub at: u64,
    pub time: Duration,
}

impl Stall {
    fn parse(text: &str) -> Result<Stall, String> {
        const FORM: &str = "write 500/300ms: at the 500th request, for 300 ms";
        let (at, time) = text.split_once('/').ok_or(FORM)?;
        let at = at.parse().ok().filter(|at| *at > 0).ok_or(FORM)?;
        Ok(Stall { at, time: milliseconds(time)? })
    }
}

/// `5ms`, `2s`, or a bare number of milliseconds.
fn milliseconds(text: &str) -> Result<Duration, String> {
    let (digits, unit) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(digits), _) => (digits, 1),
        (None, Some(digits)) => (digits, 1_000),
        (None, None) => (text, 1),
    };
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    number.map(Duration::from_millis).ok_or_else(|| "write 5ms or 2s".to_owned())
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// The address is taken or not ours; the caller is at fault.
pub fn run(options: &Options) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let address = start(options).await?;
        let line = serde_json::json!({ "addr": address.to_string(), "url": format!("http://{address}") });
        writeln!(io::stdout(), "{line}")?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    })
}

/// Begins to serve on the current runtime; returns the address.
///
/// # Errors
/// The address is taken or not ours; the caller is at fault.
pub async fn start(options: &Options) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(options.addr).await?;
    let address = listener.local_addr()?;
    // A connection whose option cannot be set is gone already.
    let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
    let router = router(options);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}

/// What all requests share.
struct Mock {
    options: Options,
    requests: AtomicU64,
    anthropic: Model,
    openai: Model,
    other: Bytes,
}

fn router(options: &Options) -> Router {
    let mock = Mock {
        options: options.clone(),
        requests: AtomicU64::new(0),
        anthropic: Model::new(Dialect::Anthropic, options.tokens),
        openai: Model::new(Dialect::OpenAi, options.tokens),
        other: object(options.body_bytes),
    };
    Router::new()
        .route("/v1/messages", post(anthropic))
        .route("/v1/chat/completions", post(openai))
        .route("/bytes/{count}", any(counted))
        .route("/chunked/{count}", any(chunked))
        .route("/echo", any(echo))
        .fallback(other)
        .layer(DefaultBodyLimit::max(usize::try_from(BODY_BYTES_MAX).unwrap_or(usize::MAX)))
        .with_state(Arc::new(mock))
}

/// A JSON object of exactly so many bytes, if there is room for one.
fn object(bytes: usize) -> Bytes {
    let frame = r#"{"text":""}"#.len();
    if bytes < frame {
        "x".repeat(bytes).into()
    } else {
        format!(r#"{{"text":"{}"}}"#, "x".repeat(bytes - frame)).into()
    }
}

/// What matters of a request to a model.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    stream: bool,
    stream_options: StreamOptions,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StreamOptions {
    include_usage: bool,
}

async fn anthropic(State(mock): State<Arc<Mock>>, body: Bytes) -> Response {
    mock.answer(&mock.anthropic, &body).await
}

async fn openai(State(mock): State<Arc<Mock>>, body: Bytes) -> Response {
    mock.answer(&mock.openai, &body).await
}

impl Mock {
    async fn answer(&self, model: &Model, body: &[u8]) -> Response {
        let Ok(asked) = serde_json::from_slice::<Asked>(body) else {
            return (StatusCode::BAD_REQUEST, "the body is no JSON object\n").into_response();
        };
        self.wait().await;
        if self.options.sse || asked.stream {
            let events = model.events(asked.stream_options.include_usage);
            let kind = [("content-type", "text/event-stream"), ("cache-control", "no-cache")];
            return (kind, Body::new(Paced::new(events, self.options.itl))).into_response();
        }
        ([("content-type", "application/json")], model.whole.clone()).into_response()
    }

    async fn wait(&self) {
        let count = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(stall) = self.options.stall.filter(|stall| stall.at == count) {
            // All of it has to stop, other connections as well: this thread is the mock's only one.
            std::thread::sleep(stall.time);
        }
        if !self.options.ttft.is_zero() {
            tokio::time::sleep(self.options.ttft).await;
        }
    }
}

async fn counted(State(mock): State<Arc<Mock>>, Path(count): Path<u64>, _body: Bytes) -> Response {
    mock.wait().await;
    repeated(count, true)
}

async fn chunked(State(mock): State<Arc<Mock>>, Path(count): Path<u64>, _body: Bytes) -> Response {
    mock.wait().await;
    repeated(count, false)
}

fn repeated(count: u64, declared: bool) -> Response {
    if count > BODY_BYTES_MAX {
        return (StatusCode::BAD_REQUEST, "at most 1 GiB\n").into_response();
    }
    let body = Body::new(Repeated::new(count, declared));
    ([("content-type", "application/octet-stream")], body).into_response()
}

async fn echo(State(mock): State<Arc<Mock>>, headers: HeaderMap, body: Bytes) -> Response {
    mock.wait().await;
    let octets = HeaderValue::from_static("application/octet-stream");
    let kind = headers.get(CONTENT_TYPE).cloned().unwrap_or(octets);
    ([(CONTENT_TYPE, kind), (CONTENT_LENGTH, HeaderValue::from(body.len()))], body).into_response()
}

async fn other(State(mock): State<Arc<Mock>>, _body: Bytes) -> Response {
    mock.wait().await;
    ([("content-type", "application/json")], mock.other.clone()).into_response()
}

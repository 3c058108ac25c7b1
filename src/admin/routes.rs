//! What is served where. The table of each door is one function.

use super::{
    Check, Control, Reloaded, ShardStatus, Status,
    access::{self, Principal},
    approvals, audit, configured,
    endpoint::{self, Endpoint, get, post, put},
    explain, files,
    host::{self, Hosts},
    login::{self, Handovers, Sessions, Transactions},
    notify, openapi,
    problem::{Problem, answer, secure},
    segments, sessions, trials, ui,
};
use crate::{limits, metrics::Metrics};
use axum::{
    Router,
    extract::{DefaultBodyLimit, Extension, FromRequest, RawQuery, Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// What the handlers work with.
pub(super) struct Desk {
    pub control: Arc<dyn Control>,
    pub metrics: Arc<Metrics>,
    /// A request body must be complete within this time.
    pub body_timeout: Duration,
    /// Becomes true when the process ends: whoever waits for something is answered then.
    pub closing: watch::Receiver<bool>,
    /// Who has read which segment.
    pub pulls: segments::Pulls,
    /// Who is logged in, and who is about to be.
    pub sessions: Sessions,
    pub transactions: Transactions,
    pub handovers: Handovers,
}

pub(super) type Desked = State<Arc<Desk>>;

/// The unix socket: everything, for whoever may open it.
pub(super) fn local(desk: Arc<Desk>) -> Router {
    finish(everything(&desk), desk).layer(middleware::map_response(secure))
}

/// The admin port: what `access` lets through. Without a login that is alive or not, ready or not.
pub(super) fn network(desk: Arc<Desk>, hosts: Arc<Hosts>) -> Router {
    // Browsers come here alone.
    let pages = behind_guard(ui::routes(), &desk);
    guarded(everything(&desk).merge(pages), desk, hosts)
}

/// The metrics port.
pub(super) fn scraped(desk: Arc<Desk>, hosts: Arc<Hosts>) -> Router {
    guarded(Router::new().route("/metrics", axum::routing::get(metrics)), desk, hosts)
}

/// All that is served, behind the one guard that knows who may have it.
fn everything(desk: &Arc<Desk>) -> Router<Arc<Desk>> {
    behind_guard(endpoint::router(endpoints()), desk)
}

fn behind_guard(router: Router<Arc<Desk>>, desk: &Arc<Desk>) -> Router<Arc<Desk>> {
    router.layer(middleware::from_fn_with_state(desk.clone(), access::guard))
}

/// The table of everything that is served, which the description of the API is made of, too.
pub(super) fn endpoints() -> Vec<Endpoint> {
    let mut all = vec![
        get("/livez", livez).says("Whether the process lives").json::<Live>(),
        get("/readyz", readyz)
            .says("Whether requests would be served; ?verbose names what is missing")
            .query::<Verbose>()
            .json::<Ready>(),
        get("/metrics", metrics).says("Metrics for Prometheus").media("application/openmetrics-text"),
        get("/api/v1/openapi.json", openapi::openapi).says("This description").json::<serde_json::Value>(),
        get("/api/v1/status", status).says("The whole process at one moment").json::<Status>(),
        get("/api/v1/version", version).says("What runs").json::<Version>(),
        get("/api/v1/shards", shards).says("The threads of the data plane").json::<Shards>(),
        post("/api/v1/config:check", check).says("Checks the files of the configuration").json::<Valid>(),
        post("/api/v1/config:reload", reload)
            .says("Reads the configuration again and puts it in force")
            .json::<Reloaded>(),
        post("/api/v1/drain", drain)
            .says("Takes no new connections; the process ends when the open ones are through")
            .json_with::<Draining>(202),
        put("/api/v1/log-level", set_log_level)
            .says("Sets what is logged")
            .body::<LogLevel>()
            .json::<LogLevel>(),
    ];
    all.extend(login::endpoints());
    all.extend(configured::endpoints());
    all.extend(files::endpoints());
    all.extend(trials::endpoints());
    all.extend(approvals::endpoints());
    all.extend(notify::endpoints());
    all.extend(sessions::endpoints());
    all.extend(explain::endpoints());
    all.extend(audit::endpoints());
    all.extend(segments::endpoints());
    all
}

/// The process lives.
#[derive(Serialize, JsonSchema)]
struct Live {
    live: bool,
}

/// Requests would be served.
#[derive(Serialize, JsonSchema)]
struct Ready {
    ready: bool,
    /// What was looked at, for those who ask for it and may see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<Vec<Check>>,
}

/// Whether everything that was looked at is listed.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "the handler reads the query by hand: the bare name counts, too")]
struct Verbose {
    /// `true` or `1`.
    verbose: Option<String>,
}

/// What runs.
#[derive(Serialize, JsonSchema)]
struct Version {
    name: &'static str,
    version: &'static str,
}

/// The threads of the data plane.
#[derive(Serialize, JsonSchema)]
struct Shards {
    shards: Vec<ShardStatus>,
}

/// The configuration is good.
#[derive(Serialize, JsonSchema)]
struct Valid {
    valid: bool,
}

/// The process will end.
#[derive(Serialize, JsonSchema)]
struct Draining {
    draining: bool,
}

fn guarded(router: Router<Arc<Desk>>, desk: Arc<Desk>, hosts: Arc<Hosts>) -> Router {
    finish(router, desk)
        .layer(middleware::from_fn_with_state(hosts, host::guard))
        .layer(middleware::map_response(secure))
}

fn finish(router: Router<Arc<Desk>>, desk: Arc<Desk>) -> Router {
    router
        .fallback(async || Problem::not_found())
        .method_not_allowed_fallback(async || {
            let message = "this path does not take that method";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
        })
        .layer(DefaultBodyLimit::max(limits::ADMIN_BODY_BYTES_MAX))
        .with_state(desk)
}

async fn livez() -> Response {
    answer(StatusCode::OK, &Live { live: true })
}

/// What is missing is for those who may see it; everybody may know whether anything is.
async fn readyz(
    State(desk): Desked,
    principal: Option<Extension<Principal>>,
    RawQuery(query): RawQuery,
) -> Response {
    let asked = query
        .as_deref()
        .unwrap_or("")
        .split('&')
        .any(|one| matches!(one, "verbose" | "verbose=1" | "verbose=true"));
    ready(&desk, asked && principal.is_some_and(|Extension(principal)| principal.may_view()))
}

fn ready(desk: &Desk, verbose: bool) -> Response {
    let readiness = desk.control.readiness();
    match (readiness.ready, verbose) {
        (true, true) => answer(StatusCode::OK, &Ready { ready: true, checks: Some(readiness.checks) }),
        (true, false) => answer(StatusCode::OK, &Ready { ready: true, checks: None }),
        (false, _) => Problem::not_ready(&readiness, verbose).into_response(),
    }
}

/// OpenMetrics text 1.0.0, which Prometheus reads.
async fn metrics(State(desk): Desked) -> Response {
    let text = desk.metrics.render(&desk.control.scrape());
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

async fn status(State(desk): Desked) -> Response {
    answer(StatusCode::OK, &desk.control.status())
}

async fn version() -> Response {
    let (name, version) = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    answer(StatusCode::OK, &Version { name, version })
}

async fn shards(State(desk): Desked) -> Response {
    answer(StatusCode::OK, &Shards { shards: desk.control.status().shards })
}

async fn check(State(desk): Desked, request: Request) -> Result<Response, Problem> {
    no_body(&desk, request).await?;
    finished(async move { desk.control.check().await }).await?.map_err(Problem::rejected)?;
    Ok(answer(StatusCode::OK, &Valid { valid: true }))
}

async fn reload(
    State(desk): Desked,
    Extension(principal): Extension<Principal>,
    request: Request,
) -> Result<Response, Problem> {
    no_body(&desk, request).await?;
    let author = principal.name().to_owned();
    let reloaded = finished(async move { desk.control.reload(author).await }).await?;
    Ok(answer(StatusCode::OK, &reloaded.map_err(Problem::rejected)?))
}

async fn drain(
    State(desk): Desked,
    Extension(principal): Extension<Principal>,
    request: Request,
) -> Result<Response, Problem> {
    no_body(&desk, request).await?;
    desk.control.drain(principal.name());
    Ok(answer(StatusCode::ACCEPTED, &Draining { draining: true }))
}

/// A level such as `debug`, or a filter such as `info,ringward::shard=trace`.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LogLevel {
    level: String,
}

async fn set_log_level(
    State(desk): Desked,
    Extension(principal): Extension<Principal>,
    request: Request,
) -> Result<Response, Problem> {
    let LogLevel { level } = json_body(&desk, request, "{\"level\": \"debug\"}").await?;
    desk.control
        .set_log_level(principal.name(), &level)
        .map_err(|why| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "log_level_invalid", why))?;
    Ok(answer(StatusCode::OK, &LogLevel { level }))
}

/// Reads a JSON body that looks like `example`.
pub(super) async fn json_body<T: DeserializeOwned>(
    desk: &Desk,
    request: Request,
    example: &str,
) -> Result<T, Problem> {
    if !is_json(request.headers()) {
        let message = format!("the body must be application/json, such as {example}");
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "body_unreadable", message));
    }
    let body = body(desk, request).await?;
    serde_json::from_slice(&body)
        .map_err(|error| Problem::malformed(format!("the body must be {example}: {error}")))
}

/// Drives `work` to its end even if the client goes and this handler is dropped with its connection.
pub(super) async fn finished<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Problem> {
    let failed =
        |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the gateway failed at this");
    tokio::spawn(work).await.map_err(failed)
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    kind.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("application/json")
}

/// The whole body, bounded in size and time.
async fn body(desk: &Desk, request: Request) -> Result<axum::body::Bytes, Problem> {
    let too_large = || {
        let message = format!("the body is longer than {} bytes", limits::ADMIN_BODY_BYTES_MAX);
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
    };
    let declared = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if declared
        .and_then(|digits| digits.parse().ok())
        .is_some_and(|bytes: usize| bytes > limits::ADMIN_BODY_BYTES_MAX)
    {
        return Err(too_large());
    }
    match tokio::time::timeout(desk.body_timeout, axum::body::Bytes::from_request(request, &())).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(too_large()),
        Ok(Err(_)) => Err(Problem::malformed("the body is cut or malformed")),
        Err(_) => {
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", "the body came too slowly"))
        }
    }
}

/// Reads the body of a request that needs none; an empty JSON object is as good as nothing.
pub(super) async fn no_body(desk: &Desk, request: Request) -> Result<(), Problem> {
    let body = body(desk, request).await?;
    match body.trim_ascii() {
        b"" | b"{}" => Ok(()),
        _ => Err(Problem::malformed("this request takes no body")),
    }
}

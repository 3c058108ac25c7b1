//! Who is told of what waits for people: `/api/v1/notify`, and whether it arrives there.

use super::{
    access::Principal,
    endpoint::{Endpoint, get, post},
    problem::{Problem, answer},
    routes::{Desked, finished, no_body},
};
use axum::{
    extract::{Extension, Path, Request, State},
    http::StatusCode,
    response::Response,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is served here.
pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        get("/api/v1/notify", list).says("Who is told of what waits for people").json::<NotifyTargets>(),
        post("/api/v1/notify/{name}/test", test)
            .says("Sends a notice that says it is a test")
            .json::<NotifyTried>(),
    ]
}

/// All who are told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NotifyTargets {
    pub targets: Vec<NotifyTarget>,
}

/// One who is told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NotifyTarget {
    pub name: String,
    /// `webhook` or `slack`.
    pub kind: String,
    /// Scheme, host and port; of a secret address its name.
    pub place: String,
    /// Of what it is told; empty: of everything.
    pub events: Vec<String>,
    /// Of which routes; empty: of all.
    pub routes: Vec<String>,
    /// What has not arrived yet.
    pub waiting: u64,
    /// Since the start of the process.
    pub delivered: u64,
    /// Tries in vain, since the start.
    pub failed: u64,
    /// When the last notice arrived: RFC 3339, in UTC.
    pub delivered_at: Option<String>,
    /// Why the last try was in vain, if nothing has arrived since.
    pub last_error: Option<String>,
    /// Since when it wants nothing any more.
    pub gone_since: Option<String>,
}

/// How a test ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NotifyTried {
    pub delivered: bool,
    /// Why not.
    pub error: Option<String>,
}

async fn list(State(desk): Desked) -> Response {
    answer(StatusCode::OK, &NotifyTargets { targets: desk.control.notify_targets() })
}

async fn test(
    State(desk): Desked,
    Extension(principal): Extension<Principal>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    no_body(&desk, request).await?;
    let author = principal.name().to_owned();
    let wanted = name.clone();
    let tried = finished(async move { desk.control.test_notify(author, wanted).await }).await?;
    let Some(tried) = tried else {
        let message = format!("there is no [[notify]] of the name `{}`", name.escape_debug());
        return Err(Problem::new(StatusCode::NOT_FOUND, "not_found", message));
    };
    Ok(answer(StatusCode::OK, &tried))
}

//! The signed log, for witnesses and auditors: `/api/v1/audit/…`.

use super::{
    door::Caller,
    problem::{Problem, answer},
    routes::{Desked, finished, no_body},
};
use axum::{
    Router,
    extract::{Extension, Query, Request, State, rejection::QueryRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Proofs that are made at once: each reads through the log.
static PROOFS: Semaphore = Semaphore::const_new(2);

/// That the first `from` records are the beginning of the first `to` (RFC 9162 section 2.1.4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consistency {
    pub from: u64,
    pub to: u64,
    /// Hashes of the path in base64, in their order.
    pub proof: Vec<String>,
    /// The newest checkpoint, as a signed note.
    pub checkpoint: String,
}

/// What was erased of a subject's bodies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasedBodies {
    /// Exchanges of the subject that the log holds.
    pub exchanges: u64,
    /// Records whose bytes were replaced by zeros now, and those bytes with their salts.
    pub contents: u64,
    pub bytes: u64,
    /// Nonces that were removed now.
    pub nonces: u64,
    /// Segments that are encrypted to auditors: their bytes stay, with nothing that opens their commitments.
    pub encrypted_segments: u64,
}

/// Why there is no proof, or no other key; in words, without anything secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unproven {
    /// What was asked for is not there, or not yet (caller).
    NotCovered(String),
    /// The log cannot be read, or contradicts itself (operator).
    Failed(String),
}

impl From<Unproven> for Problem {
    fn from(unproven: Unproven) -> Problem {
        match unproven {
            Unproven::NotCovered(why) => Problem::new(StatusCode::NOT_FOUND, "not_covered", why),
            Unproven::Failed(why) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "audit_failed", why),
        }
    }
}

/// The routes of this file.
pub(super) fn routes() -> Router<Arc<super::routes::Desk>> {
    Router::new()
        .route("/api/v1/audit/head", get(head))
        .route("/api/v1/audit/prove", get(prove))
        .route("/api/v1/audit/consistency", get(consistency))
        .route("/api/v1/audit/key:rotate", post(rotate))
        .route("/api/v1/audit/erase", post(erase))
}

fn plain(text: String) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

/// The newest checkpoint, byte for byte (c2sp.org/tlog-checkpoint).
async fn head(State(desk): Desked) -> Result<Response, Problem> {
    let missing = || {
        let message = "there is no checkpoint yet: one is signed a second after the first record";
        Problem::new(StatusCode::NOT_FOUND, "no_checkpoint", message)
    };
    Ok(plain(desk.control.checkpoint().ok_or_else(missing)?.to_string()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Prove {
    record: u64,
}

/// The proof of one record (c2sp.org/tlog-proof).
async fn prove(
    State(desk): Desked,
    query: Result<Query<Prove>, QueryRejection>,
) -> Result<Response, Problem> {
    let asked = query.map_err(|_| Problem::malformed("want ?record=N, the record's sequence number"))?;
    let record = asked.record;
    let proof = finished(async move {
        // Never closed: it stands for as long as the process.
        let _turn = PROOFS.acquire().await;
        desk.control.prove(record).await
    });
    Ok(plain(proof.await??))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sizes {
    from: u64,
    to: Option<u64>,
}

async fn consistency(
    State(desk): Desked,
    query: Result<Query<Sizes>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(Sizes { from, to }) =
        query.map_err(|_| Problem::malformed("want ?from=N, and &to=M with M from N on"))?;
    let proof = finished(async move {
        let _turn = PROOFS.acquire().await;
        desk.control.consistency(from, to).await
    });
    Ok(answer(StatusCode::OK, &proof.await??))
}

/// Whose bodies are erased.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Whose {
    subject: String,
    issuer: Option<String>,
}

async fn erase(
    State(desk): Desked,
    Extension(caller): Extension<Caller>,
    query: Result<Query<Whose>, QueryRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let Query(Whose { subject, issuer }) =
        query.map_err(|_| Problem::malformed("want ?subject=S, and &issuer=I for one issuer's alone"))?;
    no_body(&desk, request).await?;
    let author = caller.author()?.to_owned();
    let erased = finished(async move { desk.control.erase(author, subject, issuer).await });
    Ok(answer(StatusCode::OK, &erased.await??))
}

async fn rotate(
    State(desk): Desked,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, Problem> {
    no_body(&desk, request).await?;
    let author = caller.author()?.to_owned();
    let key = finished(async move { desk.control.rotate_key(author).await }).await??;
    Ok(answer(StatusCode::OK, &json!({ "key": key })))
}

//! The signed log, for witnesses and auditors: `/api/v1/audit/…`.

use super::{
    access::Principal,
    endpoint::{Endpoint, get, post},
    problem::{Problem, answer},
    routes::{Desk, Desked, finished, no_body},
    sessions,
};
use aws_lc_rs::digest::{SHA256, digest};
use axum::{
    extract::{Extension, Query, Request, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// How long a head is waited for at most: less than what connections on the way allow.
const HEAD_WAIT_MAX: Duration = Duration::from_secs(25);
/// How often it is looked for meanwhile. That takes a lock and a comparison.
const HEAD_LOOK: Duration = Duration::from_millis(50);

/// Proofs that are made at once: each reads through the log.
static PROOFS: Semaphore = Semaphore::const_new(2);

/// That the first `from` records are the beginning of the first `to` (RFC 9162 section 2.1.4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Consistency {
    pub from: u64,
    pub to: u64,
    /// Hashes of the path in base64, in their order.
    pub proof: Vec<String>,
    /// The newest checkpoint, as a signed note.
    pub checkpoint: String,
}

/// What was erased of a subject's bodies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// It takes records that retention has removed.
    Removed(String),
    /// It takes records of segments that are encrypted to auditors: the gateway cannot read them any more.
    Encrypted(String),
    /// The log cannot be read, or contradicts itself (operator).
    Failed(String),
}

impl From<Unproven> for Problem {
    fn from(unproven: Unproven) -> Problem {
        match unproven {
            Unproven::NotCovered(why) => Problem::new(StatusCode::NOT_FOUND, "not_covered", why),
            Unproven::Removed(why) => Problem::new(StatusCode::GONE, "removed", why),
            Unproven::Encrypted(why) => Problem::new(StatusCode::CONFLICT, "encrypted", why),
            Unproven::Failed(why) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "audit_failed", why),
        }
    }
}

/// What is served here.
pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        get("/api/v1/audit/head", head)
            .says("The newest checkpoint, byte for byte")
            .query::<Wait>()
            .field("If-None-Match", "The ETag of the one that is known.")
            .media("text/plain")
            .empty(304),
        get("/api/v1/audit/prove", prove)
            .says("The proof that a record is in the log")
            .query::<Prove>()
            .media("text/plain"),
        get("/api/v1/audit/consistency", consistency)
            .says("That the log at one size is the beginning of it at another")
            .query::<Sizes>()
            .json::<Consistency>(),
        post("/api/v1/audit/key:rotate", rotate).says("Signs with a new key from now on").json::<NewKey>(),
        post("/api/v1/audit/erase", erase)
            .says("Takes the bodies of a subject out of the log")
            .query::<Whose>()
            .json::<ErasedBodies>(),
    ]
}

/// The public half of the key that signs from now on.
#[derive(Debug, Serialize, JsonSchema)]
struct NewKey {
    key: String,
}

fn plain(text: String) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

/// How long a head may be waited for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wait {
    /// Seconds.
    #[serde(default)]
    wait: u64,
}

/// The newest checkpoint, byte for byte (c2sp.org/tlog-checkpoint). Whoever names the one that it has in
/// `If-None-Match` gets 304, with `wait` only after that time: another head is answered at once.
async fn head(
    State(desk): Desked,
    query: Result<Query<Wait>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = query.map_err(|_| Problem::malformed("want ?wait=SECONDS, or nothing"))?;
    let wait = Duration::from_secs(query.wait).min(HEAD_WAIT_MAX);
    let known = headers.get(header::IF_NONE_MATCH);
    let newest = newer(&desk, known, wait).await;
    let missing = || {
        let message = "there is no checkpoint yet: one is signed a second after the first record";
        Problem::new(StatusCode::NOT_FOUND, "no_checkpoint", message)
    };
    let note = newest.ok_or_else(missing)?;
    let tag = entity_tag(&note);
    let mut response = match known {
        Some(known) if *known == tag => StatusCode::NOT_MODIFIED.into_response(),
        _ => plain(note.to_string()),
    };
    response.headers_mut().insert(header::ETAG, tag);
    Ok(response)
}

/// The newest checkpoint, once it is another one than `known` or the time is over.
async fn newer(desk: &Desk, known: Option<&HeaderValue>, wait: Duration) -> Option<Arc<str>> {
    let mut closing = desk.closing.clone();
    let end = tokio::time::Instant::now() + wait;
    loop {
        let newest = desk.control.checkpoint();
        let is_other = newest.as_ref().is_some_and(|note| known != Some(&entity_tag(note)));
        if is_other || tokio::time::Instant::now() >= end {
            return newest;
        }
        tokio::select! {
            _ = closing.wait_for(|closing| *closing) => return newest,
            () = tokio::time::sleep(HEAD_LOOK) => {}
        }
    }
}

/// What stands for a head: the same note has the same.
fn entity_tag(note: &str) -> HeaderValue {
    let digest = digest(&SHA256, note.as_bytes());
    let digits: String = digest.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    // Hexadecimal digits in quotes are always a header's value.
    HeaderValue::try_from(format!("\"{digits}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Prove {
    record: u64,
}

/// The proof of one record (c2sp.org/tlog-proof). It holds the record, so who reads it is recorded.
async fn prove(
    State(desk): Desked,
    Extension(principal): Extension<Principal>,
    query: Result<Query<Prove>, QueryRejection>,
) -> Result<Response, Problem> {
    let asked = query.map_err(|_| Problem::malformed("want ?record=N, the record's sequence number"))?;
    let record = asked.record;
    let asked = desk.clone();
    let proof = finished(async move {
        // Never closed: it stands for as long as the process.
        let _turn = PROOFS.acquire().await;
        asked.control.prove(record).await
    });
    let proof = proof.await??;
    let recorded = sessions::at_work(desk, move |desk| {
        sessions::record(desk, principal.name(), "prove", &format!("record {record}"))
    });
    recorded.await?;
    Ok(plain(proof))
}

#[derive(Deserialize, JsonSchema)]
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
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Whose {
    subject: String,
    issuer: Option<String>,
    /// Only count the exchanges whose bodies would go.
    #[serde(default)]
    dry_run: bool,
}

async fn erase(
    State(desk): Desked,
    Extension(principal): Extension<Principal>,
    query: Result<Query<Whose>, QueryRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let Query(Whose { subject, issuer, dry_run }) =
        query.map_err(|_| Problem::malformed("want ?subject=S, and &issuer=I for one issuer's alone"))?;
    no_body(&desk, request).await?;
    let author = principal.name().to_owned();
    let erased = finished(async move { desk.control.erase(author, subject, issuer, dry_run).await });
    Ok(answer(StatusCode::OK, &erased.await??))
}

async fn rotate(
    State(desk): Desked,
    Extension(principal): Extension<Principal>,
    request: Request,
) -> Result<Response, Problem> {
    no_body(&desk, request).await?;
    let author = principal.name().to_owned();
    let key = finished(async move { desk.control.rotate_key(author).await }).await??;
    Ok(answer(StatusCode::OK, &NewKey { key }))
}

//! What policies would do, before they do it: `/api/v1/policies:test` and `policies:replay`.

use super::{
    access::Principal,
    editor::EditFault,
    endpoint::{Endpoint, post},
    explain::Decided,
    problem::{Problem, answer},
    routes::{Desked, json_body},
    sessions::{self, at_work},
};
use axum::{
    extract::{Extension, Request, State},
    http::StatusCode,
    response::Response,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::Semaphore;

/// Recorded requests of one replay unless the question says otherwise, and the most that it may say.
const REPLAYED: usize = 1_000;
const REPLAYED_MAX: usize = 10_000;

/// Replays at once: each reads through the log.
static REPLAYS: Semaphore = Semaphore::const_new(1);

/// Another configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Candidate {
    /// Its text: a file of `policies.d` where `name` is given, else the whole main file. Without it the
    /// configuration in force is meant.
    pub toml: Option<String>,
    /// The file of `policies.d`, without `.toml`, in whose place `toml` stands.
    pub name: Option<String>,
}

/// A request that nobody made.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    #[serde(default)]
    pub candidate: Candidate,
    pub request: ImaginedRequest,
}

/// What is asked for, and by whom.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ImaginedRequest {
    /// A route whose listener, host and path stand in for those that are not given.
    pub route: Option<String>,
    /// Name of the listener; default: that of the route, else the first.
    pub listen: Option<String>,
    /// Default: `POST` with a body, else `GET`.
    pub method: Option<String>,
    pub host: Option<String>,
    /// Path and query, as they are sent.
    pub path: Option<String>,
    /// Header fields.
    pub headers: BTreeMap<String, String>,
    /// The body as text, or as JSON.
    pub body: Option<serde_json::Value>,
    /// The caller, as a token would prove it; without it there is no token.
    pub identity: Option<ImaginedCaller>,
}

/// A caller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ImaginedCaller {
    /// Name or identifier of the issuer; default: one that the route takes.
    pub issuer: Option<String>,
    pub subject: String,
    pub owner: Option<String>,
    pub groups: Vec<String>,
    pub purpose: Option<String>,
}

/// What would become of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Tried {
    /// The route that it takes; `null` where none does.
    pub route: Option<String>,
    /// `allow`, `block`, `approve`, or `refuse` where it comes to no policy.
    pub answer: String,
    /// The code of a refusal, such as `no_route`.
    pub code: Option<String>,
    /// What the caller is told; `null` where it is allowed.
    pub reason: Option<String>,
    /// What the policies say, with every condition; `null` where it comes to none.
    pub decision: Option<Decided>,
    /// What should be looked at about the configuration, as `ringward check --format json` lists it.
    pub warnings: Vec<serde_json::Value>,
}

/// Which recorded requests go through another configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Replay {
    pub candidate: Candidate,
    /// The last so many that ended; default 1,000, at most 10,000.
    #[schemars(range(min = 1, max = 10_000))]
    pub limit: Option<usize>,
    /// Only those that this route took.
    pub route: Option<String>,
    /// Only those of this session, by its id.
    pub session: Option<String>,
}

/// What would have been otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Replayed {
    pub exchanges: u64,
    pub same: u64,
    pub different: u64,
    /// Nothing of them differs, and not all of them is known.
    pub unknown: u64,
    /// How many of each change, such as `ALLOW→DENY`, `POLICY` (the same, by another policy) or `MASKS`.
    pub changes: BTreeMap<String, u64>,
    /// How many of each reason why something is not known.
    pub unknown_reasons: BTreeMap<String, u64>,
    /// Masked spans that there would be more, and fewer.
    pub spans_added: u64,
    pub spans_removed: u64,
    /// The first differences, the newest request first.
    pub differences: Vec<Difference>,
    /// How many more there are.
    pub differences_left_off: u64,
    /// What should be looked at about the configuration.
    pub warnings: Vec<serde_json::Value>,
}

/// One request that would have gone otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Difference {
    /// `req_…`
    pub id: String,
    /// RFC 3339.
    pub time: String,
    pub session: String,
    pub subject: Option<String>,
    pub route: Option<String>,
    pub method: Option<String>,
    pub path: Option<String>,
    /// In a word, as in `changes`.
    pub change: String,
    pub old: Option<Side>,
    pub new: Option<Side>,
    pub spans_added: usize,
    pub spans_removed: usize,
}

/// A decision, then or now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Side {
    /// `allow`, `block`, `approve` or `refuse`.
    pub decision: String,
    pub policy: Option<String>,
    /// The code of a refusal.
    pub code: Option<String>,
    pub place: Option<String>,
    pub reason: Option<String>,
}

/// What is served here.
pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        post("/api/v1/policies:test", test)
            .says("What would become of a request that nobody made")
            .body::<Trial>()
            .json::<Tried>(),
        post("/api/v1/policies:replay", replay)
            .says("What another configuration would have made of recorded requests")
            .body::<Replay>()
            .json::<Replayed>(),
    ]
}

async fn test(State(desk): Desked, request: Request) -> Result<Response, Problem> {
    let example =
        "{\"request\": {\"path\": \"/v1/messages\", \"body\": {…}, \"identity\": {\"subject\": \"…\"}}}";
    let trial: Trial = json_body(&desk, request, example).await?;
    let tried = at_work(desk, move |desk| Ok(desk.control.editor().try_out(&trial)?));
    Ok(answer(StatusCode::OK, &tried.await?))
}

/// It says what callers asked for, so who reads it is recorded.
async fn replay(
    State(desk): Desked,
    Extension(principal): Extension<Principal>,
    request: Request,
) -> Result<Response, Problem> {
    let example = "{\"candidate\": {\"name\": \"…\", \"toml\": \"[[policy]]…\"}, \"limit\": 1000}";
    let replay: Replay = json_body(&desk, request, example).await?;
    let limit = replay.limit.unwrap_or(REPLAYED);
    if limit == 0 || limit > REPLAYED_MAX {
        return Err(Problem::malformed(format!("`limit` is at least 1 and at most {REPLAYED_MAX}")));
    }
    // Never closed: it stands for as long as the process.
    let _turn = REPLAYS.acquire().await;
    // With this future the client has gone.
    let gone = Gone::default();
    let is_gone = gone.0.clone();
    let replayed = at_work(desk, move |desk| {
        let archive = sessions::caught_up(desk)?;
        sessions::record(desk, principal.name(), "replay policies", &format!("{limit} requests"))?;
        let mut exchanges = archive.last_ended(limit)?;
        exchanges.retain(|exchange| {
            let fits =
                |wanted: &Option<String>, is: Option<&String>| wanted.is_none() || wanted.as_ref() == is;
            fits(&replay.route, exchange.route.as_ref()) && fits(&replay.session, Some(&exchange.session))
        });
        exchanges.reverse();
        let goes_on = || !is_gone.load(Ordering::Relaxed);
        let editor = desk.control.editor();
        let replayed = editor.replay(&replay.candidate, &archive, &exchanges, &goes_on);
        archive.rest();
        Ok(replayed?)
    });
    Ok(answer(StatusCode::OK, &replayed.await?))
}

/// Says that nobody waits any more, once it is dropped.
#[derive(Debug, Default)]
struct Gone(Arc<AtomicBool>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Why recorded requests were not decided again.
#[derive(Debug)]
pub enum ReplayFault {
    /// The candidate is bad.
    Candidate(EditFault),
    /// The log cannot be read.
    Log(crate::archive::Error),
}

impl From<ReplayFault> for Problem {
    fn from(fault: ReplayFault) -> Problem {
        match fault {
            ReplayFault::Candidate(fault) => fault.into(),
            ReplayFault::Log(error) => error.into(),
        }
    }
}

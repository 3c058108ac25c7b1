//! Held requests for those who decide about them: `/api/v1/approvals`, `grants`, `freezes` and `events`.

use super::{
    access::{Need, Principal},
    endpoint::{Endpoint, delete, get, post},
    problem::{Problem, answer},
    routes::{Desk, Desked, finished, json_body, no_body},
    sessions, stream,
};
use crate::approval::{
    Answered, CardView, Decision, Fault, Freeze, Given, GrantView, Order, Page as CardPage, Place, Scope,
    State as CardState, Whom,
};
use axum::{
    body::Bytes,
    extract::{Extension, Path, Query, Request, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};

/// Longest reason, in bytes.
const REASON_BYTES_MAX: usize = 1_024;

type Answer = Result<Response, Problem>;

/// What is served here.
pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        get("/api/v1/approvals", list).says("Held requests").query::<Which>().json::<Cards>(),
        get("/api/v1/approvals/{id}", show)
            .says("One held request; who reads it is recorded")
            .json::<CardView>(),
        post("/api/v1/approvals/{id}/decision", decide)
            .says("Approves or denies a held request")
            .body::<Written>()
            .json::<CardView>(),
        get("/api/v1/grants", grants).says("What lets requests pass without a question").json::<Grants>(),
        delete("/api/v1/grants/{id}", revoke).says("Takes a grant away").json::<Grants>(),
        get("/api/v1/freezes", freezes).says("Who is stopped").json::<Freezes>(),
        post("/api/v1/freezes", freeze).says("Stops callers at once").body::<Stop>().json::<Freezes>(),
        delete("/api/v1/freezes/{id}", thaw).says("Lets them call again").json::<Freezes>(),
        post("/api/v1/approvals:foresee", foresee)
            .says("What a decision, a revocation, a freeze or a thaw would do; nothing is done")
            .body::<Planned>()
            .json::<Foreseen>(),
        get("/api/v1/events", events)
            .says("Held requests as they change: server-sent events")
            .query::<Behind>()
            .field("Last-Event-ID", "The last event that was seen.")
            .media("text/event-stream"),
    ]
}

/// Held requests.
#[derive(Debug, Serialize, JsonSchema)]
struct Cards {
    approvals: Vec<CardView>,
    /// To be said as `after` for those that follow, where there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Grants in force.
#[derive(Debug, Serialize, JsonSchema)]
struct Grants {
    grants: Vec<GrantView>,
}

/// Stops in force.
#[derive(Debug, Serialize, JsonSchema)]
struct Freezes {
    freezes: Vec<Freeze>,
}

/// Which cards.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Which {
    state: Option<String>,
    /// Behind this one: the `next` of the answer before.
    after: Option<String>,
    /// At most so many; without it all.
    #[schemars(range(min = 1))]
    limit: Option<usize>,
}

/// What somebody decides.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Written {
    decision: Said,
    /// The revision that they saw.
    revision: u64,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    scope: Span,
    /// Seconds, for `period`.
    #[serde(default)]
    period_s: u64,
    /// For everybody in this group of the caller's, for `period`.
    #[serde(default)]
    group: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Said {
    Approve,
    Deny,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Span {
    #[default]
    Once,
    Session,
    Period,
}

/// Whom to stop: exactly one of the first four.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Stop {
    subject: Option<String>,
    session: Option<String>,
    route: Option<String>,
    #[serde(default)]
    all: bool,
    reason: String,
}

/// What is to be foreseen: exactly one.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Planned {
    decide: Option<PlannedDecision>,
    /// A grant.
    revoke: Option<String>,
    freeze: Option<Stop>,
    /// A freeze.
    thaw: Option<String>,
}

/// A decision about one held request.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PlannedDecision {
    id: String,
    decision: Written,
}

/// What would happen, in words.
#[derive(Debug, Serialize, JsonSchema)]
struct Foreseen {
    foreseen: Vec<String>,
}

async fn list(
    State(desk): Desked,
    Extension(principal): Extension<Principal>,
    query: Result<Query<Which>, QueryRejection>,
) -> Answer {
    let Query(which) =
        query.map_err(|_| Problem::malformed("want ?state=STATE&after=NEXT&limit=COUNT, or less"))?;
    if let Some(state) = which.state.as_deref().filter(|state| !CardState::NAMES.contains(state)) {
        let message = format!("`{state}` is no state: {}", CardState::NAMES.join(", "));
        return Err(Problem::malformed(message));
    }
    let after = which.after.map(|next| next.parse::<Place>());
    let after = after.transpose().map_err(|()| {
        Problem::malformed("`after` is no place in the list: want the `next` of the answer before")
    })?;
    if which.limit == Some(0) {
        return Err(Problem::malformed("`limit` is 0: want 1 or more"));
    }
    let page = CardPage { state: which.state, after, limit: which.limit };
    order(desk, Order::List(page, principal.approver())).await
}

/// It shows what a caller wrote, so who reads it is recorded.
async fn show(
    State(desk): Desked,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Answer {
    let shown = order(desk.clone(), Order::Show(id.clone(), principal.approver())).await?;
    let object = id.chars().take(30).collect::<String>();
    let recorded = sessions::at_work(desk, move |desk| {
        sessions::record(desk, principal.name(), "show approval", &object)
    });
    recorded.await?;
    Ok(shown)
}

async fn decide(
    State(desk): Desked,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
    request: Request,
) -> Answer {
    let example = "{\"decision\": \"approve\", \"revision\": 1}";
    let written: Written = json_body(&desk, request, example).await?;
    order(desk, Order::Decide(id, decision(written, &principal)?)).await
}

fn decision(written: Written, principal: &Principal) -> Result<Decision, Problem> {
    let reason = written.reason.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    if reason.as_ref().is_some_and(|text| text.len() > REASON_BYTES_MAX) {
        return Err(Problem::malformed(format!("a reason has at most {REASON_BYTES_MAX} bytes")));
    }
    let given = match (written.decision, written.scope) {
        (Said::Deny, _) => Given::No { reason: reason.unwrap_or_default() },
        (Said::Approve, Span::Once) => Given::Yes { scope: Scope::Once, reason },
        (Said::Approve, Span::Session) => Given::Yes { scope: Scope::Session, reason },
        (Said::Approve, Span::Period) => {
            let scope = Scope::Period(Duration::from_secs(written.period_s), written.group);
            Given::Yes { scope, reason }
        }
    };
    Ok(Decision { approver: principal.approver(), revision: written.revision, given })
}

/// What an order would do.
async fn foresee(
    State(desk): Desked,
    Extension(principal): Extension<Principal>,
    request: Request,
) -> Answer {
    let planned: Planned = json_body(&desk, request, "{\"thaw\": \"frz_…\"}").await?;
    let approver = principal.approver();
    let planned = match (planned.decide, planned.revoke, planned.freeze, planned.thaw) {
        (Some(one), None, None, None) => Order::Decide(one.id, decision(one.decision, &principal)?),
        (None, Some(id), None, None) => Order::Revoke(id, approver),
        (None, None, Some(stop), None) => {
            let (whom, reason) = stopped(stop)?;
            Order::Freeze(whom, approver, reason)
        }
        (None, None, None, Some(id)) => Order::Thaw(id, approver),
        _ => return Err(Problem::malformed("name one of `decide`, `revoke`, `freeze`, `thaw`")),
    };
    order(desk, Order::Foresee(Box::new(planned))).await
}

async fn grants(State(desk): Desked, Extension(principal): Extension<Principal>) -> Answer {
    order(desk, Order::Grants(principal.approver())).await
}

async fn revoke(
    State(desk): Desked,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
    request: Request,
) -> Answer {
    no_body(&desk, request).await?;
    order(desk, Order::Revoke(id, principal.approver())).await
}

async fn freezes(State(desk): Desked, Extension(principal): Extension<Principal>) -> Answer {
    order(desk, Order::Freezes(principal.approver())).await
}

async fn freeze(State(desk): Desked, Extension(principal): Extension<Principal>, request: Request) -> Answer {
    let stop: Stop = json_body(&desk, request, "{\"subject\": \"…\", \"reason\": \"…\"}").await?;
    let (whom, reason) = stopped(stop)?;
    order(desk, Order::Freeze(whom, principal.approver(), reason)).await
}

/// Whom to stop, and what they are told.
fn stopped(stop: Stop) -> Result<(Whom, String), Problem> {
    let reason = stop.reason.trim().to_owned();
    if reason.is_empty() || reason.len() > REASON_BYTES_MAX {
        let message = format!("a stop needs a reason of at most {REASON_BYTES_MAX} bytes: callers read it");
        return Err(Problem::malformed(message));
    }
    let whom = match (stop.subject, stop.session, stop.route, stop.all) {
        (Some(name), None, None, false) => Whom::Subject(name),
        (None, Some(name), None, false) => Whom::Session(name),
        (None, None, Some(name), false) => Whom::Route(name),
        (None, None, None, true) => Whom::All,
        _ => return Err(Problem::malformed("name one of `subject`, `session`, `route`, `all`")),
    };
    Ok((whom, reason))
}

async fn thaw(
    State(desk): Desked,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
    request: Request,
) -> Answer {
    no_body(&desk, request).await?;
    order(desk, Order::Thaw(id, principal.approver())).await
}

async fn order(desk: Arc<Desk>, order: Order) -> Answer {
    let answered = finished(async move { desk.control.approvals(order).await }).await??;
    Ok(match answered {
        Answered::Cards(approvals, next) => {
            answer(StatusCode::OK, &Cards { approvals, next: next.map(|place| place.to_string()) })
        }
        Answered::Card(card) => answer(StatusCode::OK, &card),
        Answered::Grants(grants) => answer(StatusCode::OK, &Grants { grants }),
        Answered::Freezes(freezes) => answer(StatusCode::OK, &Freezes { freezes }),
        Answered::Foreseen(foreseen) => answer(StatusCode::OK, &Foreseen { foreseen }),
    })
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Problem {
        let (status, code) = match fault {
            Fault::NotFound(_) => (StatusCode::NOT_FOUND, "not_found"),
            Fault::Conflict(_) => (StatusCode::CONFLICT, "conflict"),
            Fault::Forbidden(_) => (StatusCode::FORBIDDEN, "not_an_approver"),
            Fault::Malformed(_) => (StatusCode::UNPROCESSABLE_ENTITY, "decision_invalid"),
            Fault::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "approvals_unavailable"),
        };
        Problem::new(status, code, fault.to_string())
    }
}

/// Behind which event.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Behind {
    after: Option<u64>,
}

/// Held requests as they change: an event for each change of a card. `Last-Event-ID` or `?after=` goes on
/// where another stream ended. Whoever decides about some routes hears of their cards alone.
async fn events(
    State(desk): Desked,
    Extension(principal): Extension<Principal>,
    query: Result<Query<Behind>, QueryRejection>,
    headers: HeaderMap,
) -> Answer {
    let Query(behind) = query.map_err(|_| Problem::malformed("want ?after=EVENT, or nothing"))?;
    let events = desk.control.events();
    let mut last = events.last();
    let seen = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let seen = seen.and_then(|digits| digits.parse::<u64>().ok()).or(behind.after);
    let newest = *last.borrow();
    // Numbers begin anew with each process.
    let mut after = seen.filter(|seen| *seen <= newest).unwrap_or(newest);
    let mut closing = desk.closing.clone();
    let mut reach = principal.approver().reach;
    let (pieces, body) = stream::channel();
    tokio::spawn(async move {
        // Whoever comes back says this number, even if nothing happened meanwhile.
        let mut text = format!(": open\nid: {after}\n\n");
        loop {
            for event in events.after(after) {
                after = event.id;
                if !reach.covers(&event.card.route) {
                    continue;
                }
                // Text keys only: it always serialises, and on one line.
                let data = serde_json::to_string(&event.card).unwrap_or_default();
                text += &format!("id: {}\nevent: approval\ndata: {data}\n\n", event.id);
            }
            if !text.is_empty() && pieces.send(Ok(Bytes::from(std::mem::take(&mut text)))).await.is_err() {
                return;
            }
            tokio::select! {
                () = pieces.closed() => return,
                _ = closing.wait_for(|closing| *closing) => return,
                changed = last.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(stream::PING) => text = stream::NOTHING_NEW.to_owned(),
            }
            let Some(still) = principal.still(&desk, Need::Approve) else { return };
            reach = still.approver().reach;
        }
    });
    Ok(stream::events(body))
}

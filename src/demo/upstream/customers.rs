//! `GET /customers`, `GET` and `DELETE /customers/ID`, for exchanged tokens only.

use super::people::{PEOPLE, Person};
use crate::demo::issuer::DevIssuer;
use axum::extract::{Path, Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Who is not there any more.
type Deleted = Arc<Mutex<BTreeSet<String>>>;

/// The customers API; `issuer` says whose token one is.
pub(in crate::demo) fn customers(issuer: Arc<DevIssuer>) -> Router {
    Router::new()
        .route("/customers", get(list))
        .route("/customers/{id}", get(one).delete(delete))
        .with_state(Deleted::default())
        .layer(from_fn_with_state(issuer, authorize))
}

async fn authorize(State(issuer): State<Arc<DevIssuer>>, request: Request, next: Next) -> Response {
    let wrong = match bearer(request.headers()) {
        Some(token) => issuer.verify_customers_token(token).err(),
        None => Some("there is no bearer token".to_owned()),
    };
    match wrong {
        None => next.run(request).await,
        Some(why) => {
            let challenge = [(WWW_AUTHENTICATE, "Bearer realm=\"customers\"")];
            (challenge, problem(StatusCode::UNAUTHORIZED, &why)).into_response()
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let (scheme, token) = fields.next()?.to_str().ok()?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && fields.next().is_none()).then_some(token)
}

fn is_there(deleted: &Deleted, id: &str) -> bool {
    !deleted.lock().unwrap_or_else(PoisonError::into_inner).contains(id)
}

fn find(deleted: &Deleted, id: &str) -> Option<&'static Person> {
    PEOPLE.iter().find(|person| person.id == id && is_there(deleted, id))
}

async fn list(State(deleted): State<Deleted>) -> Response {
    let there = PEOPLE.iter().filter(|person| is_there(&deleted, person.id));
    Json(json!({ "customers": there.map(Person::json).collect::<Vec<_>>() })).into_response()
}

async fn one(State(deleted): State<Deleted>, Path(id): Path<String>) -> Response {
    match find(&deleted, &id) {
        Some(person) => Json(person.json()).into_response(),
        None => problem(StatusCode::NOT_FOUND, "there is no such customer"),
    }
}

async fn delete(State(deleted): State<Deleted>, Path(id): Path<String>) -> Response {
    if find(&deleted, &id).is_none() {
        return problem(StatusCode::NOT_FOUND, "there is no such customer");
    }
    deleted.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
    StatusCode::NO_CONTENT.into_response()
}

/// RFC 9457.
fn problem(status: StatusCode, detail: &str) -> Response {
    let title = status.canonical_reason();
    let body = json!({ "title": title, "status": status.as_u16(), "detail": detail });
    (status, [("content-type", "application/problem+json")], body.to_string()).into_response()
}

//! `POST /warehouse/query {"sql": …}`: a warehouse that answers every query with the same rows.

use super::people::PEOPLE;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Query {
    sql: String,
}

/// The API without its credential.
pub(super) fn router() -> Router {
    Router::new().route("/warehouse", post(query)).route("/warehouse/query", post(query))
}

async fn query(query: Result<Json<Query>, JsonRejection>) -> Response {
    let Ok(Json(query)) = query else {
        return refusal(StatusCode::BAD_REQUEST, "send {\"sql\": \"SELECT …\"} as application/json");
    };
    let row = |(index, person): (usize, &super::people::Person)| -> Value {
        json!([index + 1, person.id, person.email, 1_250 * (index + 1)])
    };
    let rows: Vec<Value> = PEOPLE.iter().enumerate().map(row).collect();
    Json(json!({
        "sql": query.sql, "columns": ["order", "customer", "email", "cents"],
        "row_count": rows.len(), "rows": rows,
    }))
    .into_response()
}

/// Without the injected key.
pub(super) fn unauthorized() -> Response {
    refusal(StatusCode::UNAUTHORIZED, "the warehouse takes its own key only")
}

fn refusal(status: StatusCode, error: &str) -> Response {
    (status, Json(json!({ "error": error }))).into_response()
}

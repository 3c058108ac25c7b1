//! What stands behind the gateway in the demo: language models, a customers API, a warehouse. Each is a
//! server of its own and takes the injected credential only, so that an answer proves the injection.
//!
//! The models are none: they say the same text each time and what they were asked last. Start at `reply`.

mod anthropic;
mod customers;
mod openai;
mod people;
mod reply;
mod responses;
#[cfg(test)]
mod tests;
mod warehouse;

pub(super) use customers::customers;

use axum::Router;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use std::time::Duration;
use subtle::ConstantTimeEq;

/// Pause between two events of a stream.
const PACE: Duration = Duration::from_millis(4);

/// The Anthropic Messages API behind `x-api-key: KEY`.
pub(super) fn anthropic(key: &str) -> Router {
    guarded(anthropic::router(), "x-api-key", key.to_owned(), anthropic::unauthorized)
}

/// The OpenAI API behind `Authorization: Bearer KEY`.
pub(super) fn openai(key: &str) -> Router {
    guarded(openai::router(), "authorization", format!("Bearer {key}"), openai::unauthorized)
}

/// The warehouse behind `Authorization: Bearer KEY`.
pub(super) fn warehouse(key: &str) -> Router {
    guarded(warehouse::router(), "authorization", format!("Bearer {key}"), warehouse::unauthorized)
}

/// Lets nobody through whose `header` is not exactly `value`.
fn guarded(router: Router, header: &'static str, value: String, refuse: fn() -> Response) -> Router {
    let value: Arc<str> = value.into();
    router.layer(from_fn(move |request: Request, next: Next| {
        let value = value.clone();
        async move {
            match holds(request.headers(), header, &value) {
                true => next.run(request).await.into_response(),
                false => refuse(),
            }
        }
    }))
}

/// Exactly one field of this name, with this value.
fn holds(headers: &HeaderMap, name: &str, value: &str) -> bool {
    let mut found = headers.get_all(name).iter();
    let first = found.next().is_some_and(|first| bool::from(first.as_bytes().ct_eq(value.as_bytes())));
    first && found.next().is_none()
}

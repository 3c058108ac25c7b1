//! Answers: JSON, or what is wrong as `application/problem+json` (RFC 9457) with a `message` beside `detail`,
//! and the headers that every answer carries.

use super::{Readiness, Rejected};
use axum::{
    Json,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Why a request gets no answer other than this. Written by us: nothing of the request is repeated in it.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    /// Snake case, as in the table of UX section 3.
    code: &'static str,
    message: String,
    /// Further members.
    more: Map<String, Value>,
    /// `WWW-Authenticate`.
    challenge: Option<&'static str>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Problem {
        Problem { status, code, message: message.into(), more: Map::new(), challenge: None }
    }

    /// Nothing is served there, or nothing that this door shows.
    pub(super) fn not_found() -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "not_found", "nothing is served at this path")
    }

    /// Says how to log in (RFC 9110 section 11.6.1).
    pub(super) fn challenging(self, challenge: &'static str) -> Problem {
        Problem { challenge: Some(challenge), ..self }
    }

    pub(super) fn malformed(message: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "malformed_request", message)
    }

    /// A configuration that was not taken (UX section 2: a bad file keeps the old one and says so).
    pub(super) fn rejected(rejected: Rejected) -> Problem {
        let Rejected { message, text, diagnostics } = rejected;
        let mut problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "config_invalid", message);
        problem.more.insert("text".to_owned(), text.into());
        problem.more.insert("diagnostics".to_owned(), diagnostics.into());
        problem
    }

    /// With a further member.
    pub(super) fn with(mut self, name: &str, value: Value) -> Problem {
        self.more.insert(name.to_owned(), value);
        self
    }

    /// Not ready. Only `verbose` names what is missing.
    pub(super) fn not_ready(readiness: &Readiness, verbose: bool) -> Problem {
        let message = if verbose { readiness.summary() } else { "not ready".to_owned() };
        let mut problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", message);
        problem.more.insert("ready".to_owned(), false.into());
        if verbose {
            problem.more.insert("checks".to_owned(), json!(readiness.checks));
        }
        problem
    }
}

/// A problem document (RFC 9457), as the API's description names it. Further members are possible.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct ProblemDocument {
    /// Always `about:blank`: `code` says what it is.
    pub r#type: String,
    pub title: String,
    pub status: u16,
    /// In snake case, for programs.
    pub code: String,
    /// For people.
    pub message: String,
    /// The same as `message`.
    pub detail: String,
    /// Findings about a configuration, as `ringward check --format json` lists them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diagnostics: Option<Vec<Value>>,
    /// The findings as `ringward check` prints them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The change that was refused, as a unified diff.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = Map::new();
        body.insert("type".to_owned(), "about:blank".into());
        body.insert("title".to_owned(), self.status.canonical_reason().unwrap_or("Error").into());
        body.insert("status".to_owned(), self.status.as_u16().into());
        body.insert("code".to_owned(), self.code.into());
        body.insert("message".to_owned(), self.message.clone().into());
        body.insert("detail".to_owned(), self.message.into());
        body.extend(self.more);
        let mut response = answer(self.status, &Value::Object(body));
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if let Some(challenge) = self.challenge {
            let challenge = HeaderValue::from_static(challenge);
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// JSON that people can read too: indented, with a final newline.
pub(super) fn answer(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_string_pretty(body) {
        Ok(text) => {
            let kind = HeaderValue::from_static("application/json");
            (status, [(header::CONTENT_TYPE, kind)], text + "\n").into_response()
        }
        // Our own values have string keys and finite numbers; if one ever does not, nothing panics.
        Err(_) => {
            (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({ "message": "internal error" }))).into_response()
        }
    }
}

/// Headers of every answer: nothing here may be framed, sniffed, cached, or read by another origin.
const SECURITY_HEADERS: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// Sets [`SECURITY_HEADERS`]; a page of ours says itself what it may load.
pub(super) async fn secure(mut response: Response) -> Response {
    for (name, value) in SECURITY_HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

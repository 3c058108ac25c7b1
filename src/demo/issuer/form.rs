//! What a client sends to the token and revocation endpoints, and how it is refused.

use super::Client;
use axum::Json;
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use std::collections::BTreeMap;
use subtle::ConstantTimeEq;

/// Why a client got no token (RFC 6749 section 5.2). The client is at fault, but for `ServerError`.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("{0}")]
    InvalidRequest(&'static str),
    #[error("no such client, or not its secret")]
    InvalidClient,
    #[error("{0}")]
    InvalidGrant(String),
    #[error("this client may not use this grant")]
    UnauthorizedClient,
    #[error("authorization_code, client_credentials and token exchange are all there is")]
    UnsupportedGrantType,
    #[error("no token for this audience is given here")]
    InvalidTarget,
    #[error("no random bytes")]
    ServerError,
}

impl Refusal {
    fn code(&self) -> &'static str {
        match self {
            Refusal::InvalidRequest(_) => "invalid_request",
            Refusal::InvalidClient => "invalid_client",
            Refusal::InvalidGrant(_) => "invalid_grant",
            Refusal::UnauthorizedClient => "unauthorized_client",
            Refusal::UnsupportedGrantType => "unsupported_grant_type",
            Refusal::InvalidTarget => "invalid_target",
            Refusal::ServerError => "server_error",
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = Json(json!({ "error": self.code(), "error_description": self.to_string() }));
        let headers = [(CACHE_CONTROL, "no-store")];
        match self {
            Refusal::InvalidClient => {
                let challenge = [(WWW_AUTHENTICATE, "Basic realm=\"dev issuer\"")];
                (StatusCode::UNAUTHORIZED, headers, challenge, body).into_response()
            }
            Refusal::ServerError => (StatusCode::INTERNAL_SERVER_ERROR, headers, body).into_response(),
            _ => (StatusCode::BAD_REQUEST, headers, body).into_response(),
        }
    }
}

/// The parameters of a request, each at most once (RFC 6749 section 3.2).
pub(super) struct Fields(BTreeMap<String, String>);

impl Fields {
    pub(super) fn new(pairs: Vec<(String, String)>) -> Result<Fields, Refusal> {
        let mut fields = BTreeMap::new();
        for (name, value) in pairs {
            if fields.insert(name, value).is_some() {
                return Err(Refusal::InvalidRequest("a parameter is there twice"));
            }
        }
        Ok(Fields(fields))
    }

    /// A parameter; one without a value counts as left out.
    pub(super) fn find(&self, name: &str) -> Option<&str> {
        self.given(name).filter(|value| !value.is_empty())
    }

    /// A parameter, which may be empty.
    pub(super) fn given(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(super) fn require(&self, name: &str, missing: &'static str) -> Result<&str, Refusal> {
        self.find(name).ok_or(Refusal::InvalidRequest(missing))
    }

    /// The client, by `Authorization: Basic` or by parameters (RFC 6749 section 2.3.1).
    pub(super) fn client<'a>(
        &self,
        headers: &HeaderMap,
        clients: &'a [Client],
    ) -> Result<&'a Client, Refusal> {
        let header = headers.get(AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
        let (id, secret) = match header {
            Some(header) => basic(header).ok_or(Refusal::InvalidClient)?,
            None => {
                let part = |name| self.find(name).map(str::to_owned).ok_or(Refusal::InvalidClient);
                (part("client_id")?, part("client_secret")?)
            }
        };
        // Names and secrets here are letters, digits and dashes, which form encoding leaves as they are.
        let known = clients.iter().find(|client| client.id == id);
        known
            .filter(|client| bool::from(client.secret.as_bytes().ct_eq(secret.as_bytes())))
            .ok_or(Refusal::InvalidClient)
    }
}

fn basic(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}

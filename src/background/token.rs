//! How a token or revocation endpoint is spoken to: form out, strict JSON in.

use super::secrets::wall_clock;
use crate::limits::LEASE_ANSWER_BYTES_MAX;
use crate::secrets::{ClientAuth, Endpoint, Lease, LeaseKind, LeaseSource, SecretValue, Unavailable, basic};
use crate::time::Timestamp;
use bytes::Bytes;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// Why there is no lease, or why one could not be revoked. Holds no secret and nothing of an answer's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// The gateway's own secret has no value; the operator or its source is at fault.
    #[error(transparent)]
    ClientSecret(#[from] Unavailable),
    /// A token exchange for a caller without a token.
    #[error("there is no caller's token to exchange")]
    NoSubjectToken,
    /// The endpoint could not be connected to, or its certificate is wrong.
    #[error("the token endpoint cannot be reached")]
    Unreachable,
    /// The endpoint took too long.
    #[error("the token endpoint did not answer in time")]
    Timeout,
    /// The connection ended within the answer, or the answer is not HTTP.
    #[error("the connection to the token endpoint broke off")]
    Broken,
    /// The endpoint said no. `code` is one that a standard defines, or nothing.
    #[error("the token endpoint answered {status}{}{}", if code.is_empty() { "" } else { ", " }, code)]
    Refused { status: u16, code: &'static str },
    /// An answer beyond [`LEASE_ANSWER_BYTES_MAX`].
    #[error("the answer of the token endpoint is too long")]
    Oversize,
    /// An answer that is not what the standard says; the part that is wrong.
    #[error("the answer of the token endpoint has no valid {0}")]
    Malformed(&'static str),
    /// No random bytes for an id.
    #[error("no random bytes")]
    Random,
}

impl LeaseError {
    /// A reason code for records and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            LeaseError::ClientSecret(_) => "lease_client_secret",
            LeaseError::NoSubjectToken => "lease_no_subject_token",
            LeaseError::Unreachable => "lease_unreachable",
            LeaseError::Timeout => "lease_timeout",
            LeaseError::Broken => "lease_broken",
            LeaseError::Refused { .. } => "lease_refused",
            LeaseError::Oversize => "lease_oversize",
            LeaseError::Malformed(_) => "lease_malformed",
            LeaseError::Random => "lease_random",
        }
    }

    /// Whether the endpoint said no for good.
    pub fn is_refusal(&self) -> bool {
        matches!(self, LeaseError::Refused { status, .. } if (400..500).contains(status) && *status != 429)
    }

    /// Whether the same request may succeed soon.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            LeaseError::Unreachable | LeaseError::Timeout | LeaseError::Broken => true,
            LeaseError::Refused { status, .. } => *status >= 500 || *status == 429,
            _ => false,
        }
    }
}

/// What is asked for.
#[derive(Debug)]
pub struct LeaseRequest {
    /// Where.
    pub source: Arc<LeaseSource>,
    /// The caller's token, verified; needed for [`LeaseKind::TokenExchange`], unused otherwise.
    pub subject_token: Option<SecretValue>,
}

/// Asks the token endpoint of the source for one token.
pub(super) async fn fetch(http: &reqwest::Client, request: &LeaseRequest) -> Result<Lease, LeaseError> {
    let source = &request.source;
    let mut form = Form::new();
    match source.kind {
        LeaseKind::ClientCredentials => form.pair("grant_type", b"client_credentials"),
        LeaseKind::TokenExchange { subject } => {
            let token = request.subject_token.as_ref().ok_or(LeaseError::NoSubjectToken)?;
            form.pair("grant_type", b"urn:ietf:params:oauth:grant-type:token-exchange");
            form.pair("subject_token", token.expose());
            form.pair("subject_token_type", subject.urn().as_bytes());
        }
    }
    let optional = [("audience", &source.audience), ("resource", &source.resource), ("scope", &source.scope)];
    for (name, value) in optional {
        if let Some(value) = value {
            form.pair(name, value.as_bytes());
        }
    }
    let asked = wall_clock();
    let response = post(http, &source.token_endpoint, source, form).await?;
    let status = response.status();
    let json = is_json(&response);
    let body = read_body(response).await?;
    if status != StatusCode::OK {
        return Err(LeaseError::Refused { status: status.as_u16(), code: error_code(&body) });
    }
    if !json {
        return Err(LeaseError::Malformed("Content-Type"));
    }
    let (value, lifetime) = parse_answer(&body, source)?;
    let micros = u64::try_from(lifetime.as_micros()).unwrap_or(u64::MAX);
    let expires = Timestamp(asked.0.saturating_add(micros));
    Ok(Lease { id: random_id()?, source: source.clone(), value: Arc::new(value), expires })
}

/// Asks `endpoint` once to end the token of `lease`.
pub(super) async fn revoke(
    http: &reqwest::Client,
    endpoint: &Endpoint,
    lease: &Lease,
) -> Result<(), LeaseError> {
    let mut form = Form::new();
    form.pair("token", lease.value.expose());
    form.pair("token_type_hint", b"access_token");
    let response = post(http, endpoint, &lease.source, form).await?;
    let status = response.status();
    // RFC 7009 section 2.2: 200, also for a token that the server does not know; the body says nothing.
    if status == StatusCode::OK {
        return Ok(());
    }
    let body = read_body(response).await?;
    Err(LeaseError::Refused { status: status.as_u16(), code: error_code(&body) })
}

/// A token answer (RFC 6749 section 5.1, RFC 8693 section 2.2.1). Unknown members are ignored, as the
/// standard says; a member that is there twice is an error.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    access_token: Cow<'a, str>,
    #[serde(borrow)]
    token_type: Cow<'a, str>,
    expires_in: Option<u64>,
    issued_token_type: Option<String>,
}

fn parse_answer(body: &[u8], source: &LeaseSource) -> Result<(SecretValue, Duration), LeaseError> {
    let answer: Answer = serde_json::from_slice(body).map_err(|_| LeaseError::Malformed("JSON members"))?;
    let token = Zeroizing::new(answer.access_token.into_owned().into_bytes());
    if !answer.token_type.eq_ignore_ascii_case("Bearer") {
        return Err(LeaseError::Malformed("token_type"));
    }
    if let LeaseKind::TokenExchange { .. } = source.kind {
        let usable =
            ["urn:ietf:params:oauth:token-type:access_token", "urn:ietf:params:oauth:token-type:jwt"];
        let issued = answer.issued_token_type.as_deref().unwrap_or_default();
        if !usable.contains(&issued) {
            return Err(LeaseError::Malformed("issued_token_type"));
        }
    }
    let lifetime = match answer.expires_in {
        Some(0) => return Err(LeaseError::Malformed("expires_in")),
        Some(seconds) => Duration::from_secs(seconds),
        None => source.lifetime_default.ok_or(LeaseError::Malformed("expires_in"))?,
    };
    // RFC 6749 appendix A.12: visible characters; RFC 6750 section 2.1 allows no space.
    if !token.iter().all(u8::is_ascii_graphic) {
        return Err(LeaseError::Malformed("access_token"));
    }
    let value = SecretValue::new(token, source.scrub).map_err(|_| LeaseError::Malformed("access_token"))?;
    // Made here, so that the shard does not have to.
    value.echo();
    Ok((value, lifetime))
}

async fn post(
    http: &reqwest::Client,
    endpoint: &Endpoint,
    source: &LeaseSource,
    mut form: Form,
) -> Result<Response, LeaseError> {
    let slot = &source.client_secret;
    let secret = slot.value().ok_or_else(|| Unavailable { name: slot.name().clone() })?;
    let mut request = http.post(endpoint.as_str()).header(ACCEPT, "application/json");
    match source.auth_method {
        ClientAuth::Basic => {
            request = request.header(AUTHORIZATION, basic_header(&source.client_id, &secret)?)
        }
        ClientAuth::Post => {
            form.pair("client_id", source.client_id.as_bytes());
            form.pair("client_secret", secret.expose());
        }
    }
    request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    // The owner wipes the bytes when the client lets go of them.
    request = request.body(Bytes::from_owner(form.0));
    request.send().await.map_err(|error| http_error(&error))
}

/// RFC 6749 section 2.3.1: both parts are form-encoded first.
pub(super) fn basic_header(client_id: &str, secret: &SecretValue) -> Result<HeaderValue, LeaseError> {
    let mut credentials = Form::new();
    credentials.encode(client_id.as_bytes());
    credentials.put(b':');
    credentials.encode(secret.expose());
    let value = Bytes::from_owner(basic(&credentials.0));
    // Base64 always is a header value.
    let mut value = HeaderValue::from_maybe_shared(value).map_err(|_| LeaseError::Random)?;
    value.set_sensitive(true);
    Ok(value)
}

pub(super) fn is_json(response: &Response) -> bool {
    let value = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.unwrap_or_default().split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

pub(super) async fn read_body(mut response: Response) -> Result<Zeroizing<Vec<u8>>, LeaseError> {
    // Allocated once: growing would leave unwiped copies behind.
    let mut body = Zeroizing::new(Vec::with_capacity(LEASE_ANSWER_BYTES_MAX));
    while let Some(chunk) = response.chunk().await.map_err(|error| http_error(&error))? {
        if body.len() + chunk.len() > LEASE_ANSWER_BYTES_MAX {
            return Err(LeaseError::Oversize);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Keeps the kind of an error only: its text may name what was sent.
pub(super) fn http_error(error: &reqwest::Error) -> LeaseError {
    if error.is_timeout() {
        LeaseError::Timeout
    } else if error.is_connect() {
        LeaseError::Unreachable
    } else {
        LeaseError::Broken
    }
}

/// The `error` of an answer, if a standard defines it: any other text may hold whatever was sent.
pub(super) fn error_code(body: &[u8]) -> &'static str {
    #[derive(Deserialize)]
    struct Refusal<'a> {
        #[serde(borrow)]
        error: Cow<'a, str>,
    }
    const CODES: [&str; 13] = [
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
        "invalid_target",
        "unsupported_token_type",
        "temporarily_unavailable",
        "authorization_pending",
        "slow_down",
        "access_denied",
        "expired_token",
    ];
    let refusal: Option<Refusal> = serde_json::from_slice(body).ok();
    let code = refusal.and_then(|refusal| CODES.into_iter().find(|code| *code == refusal.error));
    code.unwrap_or_default()
}

fn random_id() -> Result<Arc<str>, LeaseError> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| LeaseError::Random)?;
    let mut id = String::from("lease-");
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(id, "{byte:02x}");
    }
    Ok(id.into())
}

/// `application/x-www-form-urlencoded`, in a buffer that leaves no unwiped copy behind when it grows.
pub(super) struct Form(pub(super) Zeroizing<Vec<u8>>);

impl Form {
    pub(super) fn new() -> Form {
        Form(Zeroizing::new(Vec::with_capacity(4 << 10)))
    }

    pub(super) fn pair(&mut self, name: &str, value: &[u8]) {
        if !self.0.is_empty() {
            self.put(b'&');
        }
        self.encode(name.as_bytes());
        self.put(b'=');
        self.encode(value);
    }

    /// URL Standard, "application/x-www-form-urlencoded percent-encode set".
    fn encode(&mut self, bytes: &[u8]) {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        for &byte in bytes {
            match byte {
                b' ' => self.put(b'+'),
                b'*' | b'-' | b'.' | b'_' => self.put(byte),
                _ if byte.is_ascii_alphanumeric() => self.put(byte),
                _ => {
                    self.put(b'%');
                    self.put(DIGITS[usize::from(byte >> 4)]);
                    self.put(DIGITS[usize::from(byte & 15)]);
                }
            }
        }
    }

    fn put(&mut self, byte: u8) {
        if self.0.len() == self.0.capacity() {
            let mut wider = Zeroizing::new(Vec::with_capacity(self.0.capacity() * 2));
            wider.extend_from_slice(&self.0);
            self.0 = wider;
        }
        self.0.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_encoded_whatever_they_hold() {
        let all: Vec<u8> = (0..=255).collect();
        let token = |len: usize| all.iter().copied().cycle().take(len).collect::<Vec<u8>>();
        for len in [0, 1, 5_000] {
            let mut form = Form::new();
            form.pair("name", &token(len));
            let text = String::from_utf8(form.0.to_vec()).unwrap();
            let decoded = text.strip_prefix("name=").map(percent_decoded);
            assert_eq!(decoded, Some(token(len)));
        }
    }

    fn percent_decoded(text: &str) -> Vec<u8> {
        let mut bytes = text.bytes();
        let mut decoded = Vec::new();
        while let Some(byte) = bytes.next() {
            decoded.push(match byte {
                b'+' => b' ',
                b'%' => {
                    let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                other => other,
            });
        }
        decoded
    }
}

//! Tokens for one exchange: fetched when it was permitted, revoked when it ends.

use super::secrets::wall_clock;
use crate::limits::{
    LEASE_ANSWER_BYTES_MAX, LEASE_INFLIGHT_MAX, LEASE_TIMEOUT, REVOKE_ATTEMPTS_MAX, REVOKE_BACKOFF,
    REVOKE_INFLIGHT_MAX, REVOKE_QUEUE_LEASES,
};
use crate::secrets::{
    ClientAuth, Endpoint, Lease, LeaseFacts, LeaseKind, LeaseSource, SecretValue, Unavailable, basic,
};
use crate::time::Timestamp;
use bytes::Bytes;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
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

    /// Whether the same request may succeed soon.
    fn is_transient(&self) -> bool {
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
    pub source: Arc<LeaseSource>,
    /// The caller's token, verified; needed for [`LeaseKind::TokenExchange`], unused otherwise.
    pub subject_token: Option<SecretValue>,
}

/// How a lease ended, for the record and the metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseEnd {
    pub facts: LeaseFacts,
    pub outcome: LeaseOutcome,
}

/// What became of a token after its exchange. In each case the gateway has forgotten it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseOutcome {
    /// The issuer confirmed (RFC 7009 section 2.2).
    Revoked { attempts: u32 },
    /// It had expired by itself.
    Expired,
    /// The source has no revocation endpoint: the token lives until it expires.
    NotRevocable,
    /// The issuer did not confirm: the token lives until it expires.
    Failed { attempts: u32, error: LeaseError },
    /// Too many were waiting: the token lives until it expires.
    Dropped,
}

impl LeaseOutcome {
    /// A word for labels and records.
    pub fn as_str(&self) -> &'static str {
        match self {
            LeaseOutcome::Revoked { .. } => "revoked",
            LeaseOutcome::Expired => "expired",
            LeaseOutcome::NotRevocable => "not_revocable",
            LeaseOutcome::Failed { .. } => "failed",
            LeaseOutcome::Dropped => "dropped",
        }
    }
}

/// How often what happened, since the client was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaseCounts {
    pub acquired: u64,
    /// Requests that gave no lease.
    pub failed: u64,
    pub revoked: u64,
    pub expired: u64,
    pub not_revocable: u64,
    pub revoke_failed: u64,
    pub revoke_dropped: u64,
}

/// Fetches and gives back leases. Cheap to clone; clones share connections, bounds and counts.
#[derive(Clone)]
pub struct LeaseClient {
    shared: Arc<Shared>,
    ended: mpsc::Sender<Lease>,
}

/// The task that revokes; it ends when all clients are gone and all leases are dealt with.
pub struct Revoker {
    shared: Arc<Shared>,
    ended: mpsc::Receiver<Lease>,
}

struct Shared {
    http: reqwest::Client,
    timing: Timing,
    inflight: Semaphore,
    counters: Counters,
    report: Box<dyn Fn(&LeaseEnd) + Send + Sync>,
}

/// Times that a test makes short.
struct Timing {
    answer: Duration,
    backoff: Duration,
    queue: usize,
}

#[derive(Default)]
struct Counters {
    acquired: AtomicU64,
    failed: AtomicU64,
    revoked: AtomicU64,
    expired: AtomicU64,
    not_revocable: AtomicU64,
    revoke_failed: AtomicU64,
    revoke_dropped: AtomicU64,
}

impl LeaseClient {
    /// A client that speaks through `http`, which must not follow redirects (see
    /// [`client`](super::client::client)), and the task to spawn beside it. `report` is told of each end.
    pub fn new(
        http: reqwest::Client,
        report: impl Fn(&LeaseEnd) + Send + Sync + 'static,
    ) -> (LeaseClient, Revoker) {
        let timing = Timing { answer: LEASE_TIMEOUT, backoff: REVOKE_BACKOFF, queue: REVOKE_QUEUE_LEASES };
        LeaseClient::with_timing(http, timing, report)
    }

    fn with_timing(
        http: reqwest::Client,
        timing: Timing,
        report: impl Fn(&LeaseEnd) + Send + Sync + 'static,
    ) -> (LeaseClient, Revoker) {
        let (sender, receiver) = mpsc::channel(timing.queue);
        let inflight = Semaphore::new(LEASE_INFLIGHT_MAX);
        let counters = Counters::default();
        let shared = Arc::new(Shared { http, timing, inflight, counters, report: Box::new(report) });
        (LeaseClient { shared: shared.clone(), ended: sender }, Revoker { shared, ended: receiver })
    }

    /// Fetches a token. Whoever gets it gives it to [`LeaseClient::release`], also when its exchange is gone.
    ///
    /// # Errors
    /// See [`LeaseError`]; within 5 s, without a second attempt: the exchange answers 503.
    pub async fn acquire(&self, request: LeaseRequest) -> Result<Lease, LeaseError> {
        let fetching = async {
            // The semaphore is never closed.
            let _permit = self.shared.inflight.acquire().await.map_err(|_| LeaseError::Timeout)?;
            fetch(&self.shared.http, &request).await
        };
        let fetched = tokio::time::timeout(self.shared.timing.answer, fetching).await;
        let lease = fetched.unwrap_or(Err(LeaseError::Timeout));
        let counters = &self.shared.counters;
        let counter = if lease.is_ok() { &counters.acquired } else { &counters.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        lease
    }

    /// Takes a lease back. Returns at once; the revocation follows, and its outcome is reported.
    pub fn release(&self, lease: Lease) {
        if lease.source.revoke_endpoint.is_none() {
            self.shared.end(&lease, LeaseOutcome::NotRevocable);
            return;
        }
        match self.ended.try_send(lease) {
            Ok(()) => {}
            Err(TrySendError::Full(lease) | TrySendError::Closed(lease)) => {
                self.shared.end(&lease, LeaseOutcome::Dropped);
            }
        }
    }

    /// The counts so far.
    pub fn counts(&self) -> LeaseCounts {
        let counters = &self.shared.counters;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LeaseCounts {
            acquired: count(&counters.acquired),
            failed: count(&counters.failed),
            revoked: count(&counters.revoked),
            expired: count(&counters.expired),
            not_revocable: count(&counters.not_revocable),
            revoke_failed: count(&counters.revoke_failed),
            revoke_dropped: count(&counters.revoke_dropped),
        }
    }
}

impl Revoker {
    /// Revokes what is released, a few at once, until no client is left.
    pub async fn run(mut self) {
        let mut revoking = JoinSet::new();
        loop {
            tokio::select! {
                Some(_) = revoking.join_next(), if !revoking.is_empty() => {}
                released = self.ended.recv(), if revoking.len() < REVOKE_INFLIGHT_MAX => match released {
                    Some(lease) => {
                        let shared = self.shared.clone();
                        revoking.spawn(async move {
                            let outcome = shared.revoke(&lease).await;
                            shared.end(&lease, outcome);
                        });
                    }
                    None => break,
                },
            }
        }
        revoking.join_all().await;
    }
}

impl Shared {
    /// Asks the issuer to end a token, again if it may help (RFC 7009 section 2).
    async fn revoke(&self, lease: &Lease) -> LeaseOutcome {
        let Some(endpoint) = &lease.source.revoke_endpoint else { return LeaseOutcome::NotRevocable };
        let mut pause = self.timing.backoff;
        let mut attempts = 0;
        loop {
            if lease.is_expired(wall_clock()) {
                return LeaseOutcome::Expired;
            }
            attempts += 1;
            let asking = revoke(&self.http, endpoint, lease);
            let asked = tokio::time::timeout(self.timing.answer, asking).await;
            match asked.unwrap_or(Err(LeaseError::Timeout)) {
                Ok(()) => return LeaseOutcome::Revoked { attempts },
                Err(error) if attempts >= REVOKE_ATTEMPTS_MAX || !error.is_transient() => {
                    return LeaseOutcome::Failed { attempts, error };
                }
                Err(_) => {}
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    fn end(&self, lease: &Lease, outcome: LeaseOutcome) {
        let counter = match &outcome {
            LeaseOutcome::Revoked { .. } => &self.counters.revoked,
            LeaseOutcome::Expired => &self.counters.expired,
            LeaseOutcome::NotRevocable => &self.counters.not_revocable,
            LeaseOutcome::Failed { .. } => &self.counters.revoke_failed,
            LeaseOutcome::Dropped => &self.counters.revoke_dropped,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if let LeaseOutcome::Failed { error, .. } = &outcome {
            tracing::warn!(lease = %lease.id, source = %lease.source.name, %error, "lease not revoked");
        }
        (self.report)(&LeaseEnd { facts: lease.facts(), outcome });
    }
}

async fn fetch(http: &reqwest::Client, request: &LeaseRequest) -> Result<Lease, LeaseError> {
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

/// A token answer (RFC 6749 section 5.1, RFC 8693 section 2.2.1). Unknown members are ignored, as the standard
/// says; a member that is there twice is an error.
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
    Ok((value, lifetime))
}

async fn revoke(http: &reqwest::Client, endpoint: &Endpoint, lease: &Lease) -> Result<(), LeaseError> {
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
        ClientAuth::Basic => request = request.header(AUTHORIZATION, basic_header(source, &secret)?),
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
fn basic_header(source: &LeaseSource, secret: &SecretValue) -> Result<HeaderValue, LeaseError> {
    let mut credentials = Form::new();
    credentials.encode(source.client_id.as_bytes());
    credentials.put(b':');
    credentials.encode(secret.expose());
    let value = Bytes::from_owner(basic(&credentials.0));
    // Base64 always is a header value.
    let mut value = HeaderValue::from_maybe_shared(value).map_err(|_| LeaseError::Random)?;
    value.set_sensitive(true);
    Ok(value)
}

fn is_json(response: &Response) -> bool {
    let value = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.unwrap_or_default().split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

async fn read_body(mut response: Response) -> Result<Zeroizing<Vec<u8>>, LeaseError> {
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
fn http_error(error: &reqwest::Error) -> LeaseError {
    if error.is_timeout() {
        LeaseError::Timeout
    } else if error.is_connect() {
        LeaseError::Unreachable
    } else {
        LeaseError::Broken
    }
}

/// The `error` of an answer, if a standard defines it: any other text may hold whatever was sent.
fn error_code(body: &[u8]) -> &'static str {
    #[derive(Deserialize)]
    struct Refusal<'a> {
        #[serde(borrow)]
        error: Cow<'a, str>,
    }
    const CODES: [&str; 9] = [
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
        "invalid_target",
        "unsupported_token_type",
        "temporarily_unavailable",
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
struct Form(Zeroizing<Vec<u8>>);

impl Form {
    fn new() -> Form {
        Form(Zeroizing::new(Vec::with_capacity(4 << 10)))
    }

    fn pair(&mut self, name: &str, value: &[u8]) {
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

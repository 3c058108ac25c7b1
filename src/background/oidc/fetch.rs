use crate::{
    identity::{Issuer, IssuerError, KeySet, KeySetError, Shown},
    limits,
};
use reqwest::{StatusCode, header};
use serde::Deserialize;
use std::{error::Error as _, time::Duration};

/// Why keys could not be fetched. The issuer or the network is at fault, or the operator's `issuer`.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("{what} cannot be reached: {cause}")]
    Unreachable { what: &'static str, cause: String },
    #[error("{what} did not answer within {seconds} s")]
    Timeout { what: &'static str, seconds: u64 },
    #[error("{what} answered {status}; redirects are not followed")]
    Status { what: &'static str, status: StatusCode },
    #[error("{what} is longer than {} bytes", limits::JWKS_BYTES_MAX)]
    TooLarge { what: &'static str },
    #[error("the discovery document is not JSON with issuer and jwks_uri")]
    Malformed,
    #[error("the discovery document is not JSON with authorization_endpoint and token_endpoint")]
    NoEndpoints,
    #[error("the discovery document is of another issuer, '{found}'")]
    OtherIssuer { found: Shown },
    #[error("the discovery document's jwks_uri is refused: {0}")]
    KeysUrl(IssuerError),
    #[error(transparent)]
    Keys(#[from] KeySetError),
}

/// The members of the discovery document that matter (OpenID Connect Discovery 1.0 section 3).
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

const DISCOVERY: &str = "the discovery document";
const KEYS: &str = "the key set";

/// Where `issuer` publishes its keys, by its discovery document.
///
/// # Errors
/// [`FetchError`]; above all when the document is of another issuer (section 4.3 of the specification).
pub async fn keys_url(http: &reqwest::Client, issuer: &Issuer, time: Duration) -> Result<String, FetchError> {
    let body = document(http, issuer, time).await?;
    let document: Discovery = serde_json::from_slice(&body).map_err(|_| FetchError::Malformed)?;
    if document.issuer != **issuer.url() {
        return Err(FetchError::OtherIssuer { found: Shown::new(&document.issuer) });
    }
    issuer.check_keys_url(&document.jwks_uri).map_err(FetchError::KeysUrl)?;
    Ok(document.jwks_uri)
}

/// The discovery document of `issuer`.
///
/// # Errors
/// [`FetchError`].
pub async fn document(
    http: &reqwest::Client,
    issuer: &Issuer,
    time: Duration,
) -> Result<Vec<u8>, FetchError> {
    get(http, &issuer.discovery_url(), DISCOVERY, time).await
}

/// The keys at `url`.
///
/// # Errors
/// [`FetchError`].
pub async fn key_set(http: &reqwest::Client, url: &str, time: Duration) -> Result<KeySet, FetchError> {
    Ok(KeySet::parse(&get(http, url, KEYS, time).await?)?)
}

async fn get(
    http: &reqwest::Client,
    url: &str,
    what: &'static str,
    time: Duration,
) -> Result<Vec<u8>, FetchError> {
    let reading = tokio::time::timeout(time, read(http, url, what));
    reading.await.unwrap_or(Err(FetchError::Timeout { what, seconds: time.as_secs() }))
}

/// Reads a body of at most `JWKS_BYTES_MAX`, whatever its length claims to be.
async fn read(http: &reqwest::Client, url: &str, what: &'static str) -> Result<Vec<u8>, FetchError> {
    let unreachable = |error: reqwest::Error| FetchError::Unreachable { what, cause: cause(error) };
    let request = http.get(url).header(header::ACCEPT, "application/json");
    let mut response = request.send().await.map_err(unreachable)?;
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status { what, status: response.status() });
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > limits::JWKS_BYTES_MAX {
            return Err(FetchError::TooLarge { what });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The innermost cause: the outer ones say only that a request failed.
fn cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause = error.source();
    let mut text = error.to_string();
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    text
}

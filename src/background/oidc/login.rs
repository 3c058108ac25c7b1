//! The requests of a login: where the issuer's endpoints are, and an ID token for a code (OpenID Connect Core
//! 1.0 section 3.1.3). What comes of them is verified by `identity`.

use super::fetch::{self, FetchError};
use crate::{
    background::{
        secrets::wall_clock,
        token::{Form, LeaseError, basic_header, error_code, http_error, is_json, read_body},
    },
    identity::{Failure, IdToken, Issuer, IssuerError, TokenError, verify_id_token},
    limits::{JWKS_FETCH_TIMEOUT, LOGIN_DISCOVERY_AGE},
    secrets::{SecretSlot, Unavailable},
    time::{Instant, Now},
};
use bytes::Bytes;
use reqwest::{
    StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
};
use serde::Deserialize;
use std::{
    borrow::Cow,
    sync::{Arc, Mutex, PoisonError},
};
use zeroize::Zeroizing;

/// Why nobody can be logged in. Holds no secret and nothing of an answer's text.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    #[error(transparent)]
    Discovery(#[from] FetchError),
    #[error("the discovery document's {what} is refused: {error}")]
    Endpoint { what: &'static str, error: IssuerError },
    /// The issuer does not know this way of logging in.
    #[error("the issuer has no device_authorization_endpoint")]
    NoDevice,
    #[error(transparent)]
    Request(#[from] LeaseError),
    /// The ID token does not say who has logged in.
    #[error("{0}")]
    Token(TokenError),
}

/// Where a login is led.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    pub authorization: String,
    pub token: String,
    pub device: Option<String>,
    /// Whether every answer names the issuer (RFC 9207).
    pub names_issuer: bool,
    /// Whether the client's password goes into the form, because nothing else is taken.
    post_only: bool,
}

/// The members of the discovery document that matter (OpenID Connect Discovery 1.0 section 3, RFC 8414, RFC
/// 8628 section 4, RFC 9207 section 3).
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    device_authorization_endpoint: Option<String>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Vec<String>,
}

/// The client that this gateway is at an issuer that people log in with.
#[derive(Debug)]
pub struct LoginClient {
    http: reqwest::Client,
    issuer: Arc<Issuer>,
    /// `None` for a public client.
    secret: Option<Arc<SecretSlot>>,
    known: Mutex<Option<(tokio::time::Instant, Arc<Endpoints>)>>,
}

/// What a login is proven with.
#[derive(Clone, Copy, Debug)]
pub struct Proof<'a> {
    pub code: &'a str,
    /// RFC 7636 section 4.1.
    pub verifier: &'a str,
    pub redirect_uri: &'a str,
}

/// A login on another device (RFC 8628 section 3.2).
#[derive(Debug, Deserialize)]
pub struct Device {
    pub device_code: String,
    pub user_code: String,
    pub verification_uri: String,
    pub verification_uri_complete: Option<String>,
    /// Seconds.
    pub expires_in: u64,
    #[serde(default = "interval")]
    pub interval: u64,
}

fn interval() -> u64 {
    5
}

/// The member of the answer that matters (OpenID Connect Core 1.0 section 3.1.3.3).
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    id_token: Cow<'a, str>,
}

impl LoginClient {
    /// A client of `issuer`, whose only audience is the client's name.
    pub fn new(http: reqwest::Client, issuer: Arc<Issuer>, secret: Option<Arc<SecretSlot>>) -> LoginClient {
        LoginClient { http, issuer, secret, known: Mutex::default() }
    }

    /// The issuer.
    pub fn issuer(&self) -> &Arc<Issuer> {
        &self.issuer
    }

    /// Where the issuer's endpoints are, as it said at most [`LOGIN_DISCOVERY_AGE`] ago.
    ///
    /// # Errors
    /// [`LoginError::Discovery`] and [`LoginError::Endpoint`]; the issuer is at fault, or the network.
    pub async fn endpoints(&self) -> Result<Arc<Endpoints>, LoginError> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((at, known)) = known.filter(|(at, _)| at.elapsed() < LOGIN_DISCOVERY_AGE) {
            tracing::trace!(age = ?at.elapsed(), "the issuer's endpoints are known");
            return Ok(known);
        }
        let found = Arc::new(self.discover().await?);
        let entry = (tokio::time::Instant::now(), found.clone());
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(entry);
        Ok(found)
    }

    async fn discover(&self) -> Result<Endpoints, LoginError> {
        let issuer = &self.issuer;
        let body = fetch::document(&self.http, issuer, JWKS_FETCH_TIMEOUT).await?;
        let found: Discovery = serde_json::from_slice(&body).map_err(|_| FetchError::NoEndpoints)?;
        if found.issuer != **issuer.url() {
            return Err(FetchError::OtherIssuer { found: crate::identity::Shown::new(&found.issuer) }.into());
        }
        let checked = |what, url: String| match issuer.check_keys_url(&url) {
            Ok(()) => Ok(url),
            Err(error) => Err(LoginError::Endpoint { what, error }),
        };
        let methods = &found.token_endpoint_auth_methods_supported;
        let takes = |method: &str| methods.iter().any(|one| one == method);
        Ok(Endpoints {
            post_only: !takes("client_secret_basic") && takes("client_secret_post"),
            authorization: checked("authorization_endpoint", found.authorization_endpoint)?,
            token: checked("token_endpoint", found.token_endpoint)?,
            device: found
                .device_authorization_endpoint
                .map(|url| checked("device_authorization_endpoint", url))
                .transpose()?,
            names_issuer: found.authorization_response_iss_parameter_supported,
        })
    }

    /// The ID token for a code.
    ///
    /// # Errors
    /// [`LoginError`]; above all the issuer's refusal of a code that was used or is of another login.
    pub async fn redeem(&self, proof: Proof<'_>) -> Result<Zeroizing<String>, LoginError> {
        let mut form = Form::new();
        form.pair("grant_type", b"authorization_code");
        form.pair("code", proof.code.as_bytes());
        form.pair("redirect_uri", proof.redirect_uri.as_bytes());
        form.pair("code_verifier", proof.verifier.as_bytes());
        self.token(form).await
    }

    /// The ID token that the token endpoint gives for a form.
    async fn token(&self, form: Form) -> Result<Zeroizing<String>, LoginError> {
        let endpoints = self.endpoints().await?;
        let (status, body) = self.post(&endpoints.token, &endpoints, form).await?;
        if status != StatusCode::OK {
            let (status, code) = (status.as_u16(), error_code(&body));
            return Err(LeaseError::Refused { status, code }.into());
        }
        let answer: Answer<'_> =
            serde_json::from_slice(&body).map_err(|_| LeaseError::Malformed("id_token"))?;
        Ok(Zeroizing::new(answer.id_token.into_owned()))
    }

    /// Begins a login on another device (RFC 8628 section 3.1).
    ///
    /// # Errors
    /// [`LoginError::NoDevice`] above all.
    pub async fn begin_device(&self, scope: &str) -> Result<Device, LoginError> {
        let endpoints = self.endpoints().await?;
        let url = endpoints.device.as_deref().ok_or(LoginError::NoDevice)?;
        let mut form = Form::new();
        form.pair("scope", scope.as_bytes());
        let (status, body) = self.post(url, &endpoints, form).await?;
        if status != StatusCode::OK {
            let (status, code) = (status.as_u16(), error_code(&body));
            return Err(LeaseError::Refused { status, code }.into());
        }
        let device: Device =
            serde_json::from_slice(&body).map_err(|_| LeaseError::Malformed("device_code"))?;
        self.issuer
            .check_keys_url(&device.verification_uri)
            .map_err(|error| LoginError::Endpoint { what: "verification_uri", error })?;
        Ok(device)
    }

    /// The ID token for a device on which somebody has logged in (RFC 8628 section 3.4).
    ///
    /// # Errors
    /// [`LoginError`]: `authorization_pending` while nobody has.
    pub async fn ask_device(&self, device_code: &str) -> Result<Zeroizing<String>, LoginError> {
        let mut form = Form::new();
        form.pair("grant_type", b"urn:ietf:params:oauth:grant-type:device_code");
        form.pair("device_code", device_code.as_bytes());
        self.token(form).await
    }

    /// Who has logged in, by a token that came from the issuer's own endpoint. `Ok(None)`: its keys should be
    /// fetched first, unless they just were.
    ///
    /// # Errors
    /// [`LoginError::Token`].
    pub fn verify(
        &self,
        token: &str,
        nonce: Option<&str>,
        may_fetch: bool,
    ) -> Result<Option<IdToken>, LoginError> {
        let now = Now { wall: wall_clock(), instant: Instant::default() };
        match verify_id_token(now, token, &self.issuer, nonce) {
            Ok(token) => Ok(Some(token)),
            Err(Failure::NeedKeys { .. }) if may_fetch => Ok(None),
            Err(failure) => Err(LoginError::Token(failure.into_refusal())),
        }
    }

    /// Sends a form in the client's name.
    async fn post(
        &self,
        url: &str,
        endpoints: &Endpoints,
        mut form: Form,
    ) -> Result<(StatusCode, Zeroizing<Vec<u8>>), LoginError> {
        let client = self.issuer.settings().audience.first().map_or("", String::as_str);
        let mut request = self.http.post(url).header(ACCEPT, "application/json").timeout(JWKS_FETCH_TIMEOUT);
        match &self.secret {
            None => form.pair("client_id", client.as_bytes()),
            Some(slot) => {
                let unavailable = || LeaseError::from(Unavailable { name: slot.name().clone() });
                let secret = slot.value().ok_or_else(unavailable)?;
                if endpoints.post_only {
                    form.pair("client_id", client.as_bytes());
                    form.pair("client_secret", secret.expose());
                } else {
                    request = request.header(AUTHORIZATION, basic_header(client, &secret)?);
                }
            }
        }
        request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let answer = request.body(Bytes::from_owner(form.0)).send().await;
        let answer = answer.map_err(|error| http_error(&error))?;
        let (status, json) = (answer.status(), is_json(&answer));
        let body = read_body(answer).await?;
        if status == StatusCode::OK && !json {
            return Err(LeaseError::Malformed("Content-Type").into());
        }
        Ok((status, body))
    }
}

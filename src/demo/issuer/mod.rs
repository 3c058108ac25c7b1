//! An OpenID Connect issuer for the demo: discovery, keys, `client_credentials` (RFC 6749 section 4.4), token
//! exchange (RFC 8693), revocation (RFC 7009), and a page on which people sign in to the admin interface.
//!
//! It is no identity provider: its clients and secrets are made at start, its key is fresh each time, and it
//! says whatever a dev client asks it to say. Start at [`DevIssuer::router`]; the claims are in `grant`,
//! people in `sign_in`.

mod form;
mod grant;
pub(super) mod key;
mod sign_in;
#[cfg(test)]
mod tests;

use crate::http::Headers;
use crate::identity::{self, KeySet, Principal, TokenCache};
use crate::time::{Instant, Now, Timestamp};
use aws_lc_rs::error::Unspecified;
use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use form::{Fields, Refusal};
use key::{SigningKey, random_text};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use grant::Grant;
pub use sign_in::CONSOLE_CLIENT;

/// Audience of the tokens that the gateway takes.
pub const GATEWAY_AUDIENCE: &str = "urn:ringward:demo:gateway";
/// Audience of the tokens that the customers API takes; only an exchange gives them.
pub const CUSTOMERS_AUDIENCE: &str = "customers";
/// Client that plays the agent.
pub const AGENT_CLIENT: &str = "demo-agent";
/// Client that the gateway is at the token endpoint.
pub const GATEWAY_CLIENT: &str = "ringward";

/// Who may ask for tokens.
pub(super) struct Client {
    pub id: &'static str,
    pub secret: String,
    /// Whether it exchanges the tokens of others; otherwise it gets its own.
    pub exchanges: bool,
}

/// The issuer. Shared by its handlers and by whoever verifies its tokens.
pub struct DevIssuer {
    url: String,
    key: SigningKey,
    clients: [Client; 2],
    for_gateway: Arc<identity::Issuer>,
    for_customers: Arc<identity::Issuer>,
    /// `jti` of revoked tokens, with the second at which they would have ended anyway.
    revoked: Mutex<BTreeMap<String, u64>>,
    codes: sign_in::Codes,
}

/// Why a dev issuer cannot be made; the system is at fault.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the system gives no random bytes")]
    Random(#[from] Unspecified),
    #[error(transparent)]
    Rules(#[from] identity::IssuerError),
    #[error(transparent)]
    Keys(#[from] identity::KeySetError),
}

impl DevIssuer {
    /// An issuer with a fresh key and fresh secrets. `url` is where its router will be served.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn new(url: String) -> Result<DevIssuer, Error> {
        let key = SigningKey::generate()?;
        let published = Arc::new(KeySet::parse(key.key_set().to_string().as_bytes())?);
        let rules = |audience: &str| -> Result<Arc<identity::Issuer>, Error> {
            let mut settings = identity::Settings::new("dev", &url, &[audience], &["ES256"]);
            settings.claims.owner = vec!["owner".to_owned()];
            // All clocks here are the same one.
            settings.clock_skew = std::time::Duration::ZERO;
            let issuer = identity::Issuer::new(settings)?;
            issuer.keys().publish(published.clone());
            Ok(Arc::new(issuer))
        };
        let (for_gateway, for_customers) = (rules(GATEWAY_AUDIENCE)?, rules(CUSTOMERS_AUDIENCE)?);
        let client = |id, exchanges| Ok::<_, Unspecified>(Client { id, secret: random_text()?, exchanges });
        let clients = [client(AGENT_CLIENT, false)?, client(GATEWAY_CLIENT, true)?];
        let (revoked, codes) = (Mutex::default(), sign_in::Codes::default());
        Ok(DevIssuer { url, key, clients, for_gateway, for_customers, revoked, codes })
    }

    /// Its identifier.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The password of a client; `None` for a client that is not there.
    pub fn client_secret(&self, id: &str) -> Option<&str> {
        self.clients.iter().find(|client| client.id == id).map(|client| client.secret.as_str())
    }

    /// A token as the agent's client gets it when it asks for nothing special.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub fn agent_token(&self) -> Result<String, Unspecified> {
        self.issue(&Grant::agent())
    }

    /// Everything that it serves.
    pub fn router(self: Arc<DevIssuer>) -> Router {
        Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/jwks", get(keys))
            .route("/authorize", get(sign_in::page).post(sign_in::chosen))
            .route("/token", post(token))
            .route("/revoke", post(revoke))
            .with_state(self)
    }

    /// Says whose exchanged token the customers API was given.
    ///
    /// # Errors
    /// What is wrong with it, in words; the caller is at fault.
    pub(super) fn verify_customers_token(&self, token: &str) -> Result<Arc<Principal>, String> {
        self.verify(&self.for_customers, token)
    }

    fn verify(&self, rules: &Arc<identity::Issuer>, token: &str) -> Result<Arc<Principal>, String> {
        let mut headers = Headers::new();
        headers.append("authorization", format!("Bearer {token}").as_bytes());
        // Nothing is remembered: a token that was revoked must not be found.
        let mut cache = TokenCache::with_capacity(&[0; 32], 1);
        let verified = identity::authenticate(now(), &headers, std::slice::from_ref(rules), &mut cache);
        let principal = verified.map_err(|failure| failure.into_refusal().to_string())?;
        let revoked = self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
        match &principal.jti {
            Some(jti) if revoked.contains_key(jti) => Err("the token was revoked".to_owned()),
            _ => Ok(principal),
        }
    }

    fn issue(&self, grant: &Grant) -> Result<String, Unspecified> {
        let now_s = now().wall.unix_seconds();
        self.key.sign(&grant.claims(&self.url, now_s, &random_text()?))
    }

    /// A token in the client's own name (RFC 6749 section 4.4).
    fn client_credentials(&self, client: &Client, fields: &Fields) -> Result<Value, Refusal> {
        if client.exchanges {
            return Err(Refusal::UnauthorizedClient);
        }
        let grant = Grant::agent().with(fields)?;
        let token = self.issue(&grant).map_err(|_| Refusal::ServerError)?;
        Ok(json!({ "access_token": token, "token_type": "Bearer", "expires_in": grant.lifetime_s.max(0) }))
    }

    /// A token for the customers API in exchange for a caller's (RFC 8693 section 2).
    fn exchange(&self, client: &Client, fields: &Fields) -> Result<Value, Refusal> {
        const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
        const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
        if !client.exchanges {
            return Err(Refusal::UnauthorizedClient);
        }
        let subject_token = fields.require("subject_token", "subject_token is missing")?;
        let kind = fields.require("subject_token_type", "subject_token_type is missing")?;
        if ![ACCESS_TOKEN, JWT].contains(&kind) {
            return Err(Refusal::InvalidRequest("this subject_token_type is not taken"));
        }
        if fields.find("actor_token").is_some() {
            return Err(Refusal::InvalidRequest("actor_token is not taken"));
        }
        let issued = fields.find("requested_token_type").unwrap_or(ACCESS_TOKEN);
        if ![ACCESS_TOKEN, JWT].contains(&issued) {
            return Err(Refusal::InvalidRequest("this requested_token_type is not given"));
        }
        if fields.find("audience") != Some(CUSTOMERS_AUDIENCE) || fields.find("resource").is_some() {
            return Err(Refusal::InvalidTarget);
        }
        let caller = self.verify(&self.for_gateway, subject_token).map_err(Refusal::InvalidGrant)?;
        let grant = Grant::exchanged(&caller, client.id);
        let token = self.issue(&grant).map_err(|_| Refusal::ServerError)?;
        Ok(json!({
            "access_token": token, "issued_token_type": issued, "token_type": "Bearer",
            "expires_in": grant.lifetime_s,
        }))
    }

    /// Ends a token if it is one of ours and was exchanged by `client` (RFC 7009 section 2.1).
    fn end(&self, client: &Client, token: &str) {
        let Ok(principal) = self.verify_customers_token(token) else { return };
        if principal.client.as_deref() != Some(client.id) {
            return;
        }
        let now_s = now().wall.unix_seconds();
        let mut revoked = self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
        revoked.retain(|_, ends_s| *ends_s >= now_s);
        if let Some(jti) = &principal.jti {
            revoked.insert(jti.clone(), principal.expires.unix_seconds());
        }
    }
}

/// OpenID Connect Discovery 1.0 section 3.
async fn discovery(State(issuer): State<Arc<DevIssuer>>) -> Json<Value> {
    let url = &issuer.url;
    let grants =
        ["authorization_code", "client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange"];
    Json(json!({
        "issuer": url, "jwks_uri": format!("{url}/jwks"), "token_endpoint": format!("{url}/token"),
        "revocation_endpoint": format!("{url}/revoke"), "grant_types_supported": grants,
        "authorization_endpoint": format!("{url}/authorize"), "response_types_supported": ["code"],
        "authorization_response_iss_parameter_supported": true, "subject_types_supported": ["public"],
        "code_challenge_methods_supported": ["S256"], "scopes_supported": ["openid", "profile", "email"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
    }))
}

async fn keys(State(issuer): State<Arc<DevIssuer>>) -> Json<Value> {
    Json(issuer.key.key_set())
}

async fn token(
    State(issuer): State<Arc<DevIssuer>>,
    headers: HeaderMap,
    Form(pairs): Form<Vec<(String, String)>>,
) -> Result<Response, Refusal> {
    let fields = Fields::new(pairs)?;
    let kind = fields.require("grant_type", "grant_type is missing");
    if let Ok("authorization_code") = kind {
        let answer = issuer.code_grant(&fields)?;
        return Ok(([("cache-control", "no-store")], Json(answer)).into_response());
    }
    let client = fields.client(&headers, &issuer.clients)?;
    let answer = match kind? {
        "client_credentials" => issuer.client_credentials(client, &fields)?,
        "urn:ietf:params:oauth:grant-type:token-exchange" => issuer.exchange(client, &fields)?,
        _ => return Err(Refusal::UnsupportedGrantType),
    };
    Ok(([("cache-control", "no-store")], Json(answer)).into_response())
}

async fn revoke(
    State(issuer): State<Arc<DevIssuer>>,
    headers: HeaderMap,
    Form(pairs): Form<Vec<(String, String)>>,
) -> Result<StatusCode, Refusal> {
    let fields = Fields::new(pairs)?;
    let client = fields.client(&headers, &issuer.clients)?;
    issuer.end(client, fields.require("token", "token is missing")?);
    // RFC 7009 section 2.2: 200, also for a token that is unknown.
    Ok(StatusCode::OK)
}

/// This moment; only the wall clock matters here.
fn now() -> Now {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let wall = Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX));
    Now { wall, instant: Instant(wall.0.saturating_mul(1000)) }
}

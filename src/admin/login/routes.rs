//! `/auth/login`, `/auth/callback`, `/auth/logout` and `/api/v1/me`.

use super::{
    LoginRules, NotLoggedIn, Person, Redemption,
    browser::{cookie_of, is_own_path, login_cookie, session_cookie, set_cookie},
    page::{Page, escaped},
    random,
    sessions::By,
    transactions::{Start, Transaction},
};
use crate::{
    admin::{
        access::{Principal, Role},
        door::Caller,
        endpoint::{Endpoint, get, post},
        problem::{Problem, answer},
        routes::{Desk, Desked, no_body},
    },
    approval::Reach,
    limits::{LOGIN_CODE_BYTES_MAX, LOGIN_REQUESTS_MAX, LOGIN_TIMEOUT},
};
use axum::{
    extract::{Extension, Query, Request, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, sync::Arc};
use tokio::sync::Semaphore;

/// What the issuer is asked about at once.
static REQUESTS: Semaphore = Semaphore::const_new(LOGIN_REQUESTS_MAX);

/// The errors that an issuer may send a browser back with (RFC 6749 section 4.1.2.1, OpenID Connect Core 1.0
/// section 3.1.2.6): any other text stays there.
const ERRORS: [&str; 11] = [
    "access_denied",
    "invalid_request",
    "unauthorized_client",
    "unsupported_response_type",
    "invalid_scope",
    "server_error",
    "temporarily_unavailable",
    "interaction_required",
    "login_required",
    "account_selection_required",
    "consent_required",
];

/// What is served here.
pub(in crate::admin) fn endpoints() -> Vec<Endpoint> {
    let page = |endpoint: Endpoint| endpoint.media("text/html").empty(302).empty(303);
    let mut all = super::handover::endpoints();
    all.extend([
        page(get("/auth/login", login).says("Sends a browser to the issuer").query::<Then>()),
        page(get("/auth/callback", callback).says("Takes a browser back from the issuer")),
        post("/auth/logout", logout).says("Ends the session of a login").json::<LoggedOut>(),
        get("/api/v1/me", me).says("Who asks, and what they may do").json::<Me>(),
    ]);
    all
}

/// The session has ended.
#[derive(Debug, Serialize, JsonSchema)]
struct LoggedOut {
    logged_out: bool,
}

/// Who asks.
#[derive(Debug, Serialize, JsonSchema)]
struct Me<'a> {
    /// For people.
    name: &'a str,
    /// As records call them: `local:UID`, `token:NAME` or `user:SUBJECT`.
    principal: &'a str,
    subject: Option<&'a str>,
    owner: Option<&'a str>,
    groups: Vec<&'a str>,
    roles: Vec<Granted<'a>>,
    /// How they are known: `socket`, `token` or `oidc`.
    login: &'a str,
    /// When their session ends: RFC 3339.
    ends: Option<String>,
}

/// What somebody may do.
#[derive(Debug, Serialize, JsonSchema)]
struct Granted<'a> {
    role: &'a str,
    /// On these routes; `null`: on all.
    routes: Option<Vec<&'a str>>,
}

/// Our side of a connection that people may log in over.
pub(super) struct Here {
    pub rules: Arc<LoginRules>,
    pub is_tls: bool,
    pub local: SocketAddr,
    pub from: std::net::IpAddr,
    /// Scheme, host and port as the browser knows them.
    pub base: String,
}

impl Here {
    /// # Errors
    /// 404 where nobody logs in.
    pub(super) fn of(desk: &Desk, caller: &Caller, headers: &HeaderMap) -> Result<Here, Problem> {
        let Caller::Network { local, peer, is_tls } = caller else { return Err(Problem::not_found()) };
        let rules = desk.control.login().ok_or_else(Problem::not_found)?;
        let base = own_origins(&rules, *is_tls, headers).swap_remove(0);
        Ok(Here { base, rules, is_tls: *is_tls, local: *local, from: *peer })
    }

    pub(super) fn cookie(&self) -> String {
        session_cookie(self.is_tls, self.local)
    }
}

/// Origins that are this port's: the configured one, and what the browser asked for, which the list of hosts
/// has allowed. The first is the one that the issuer knows.
pub(in crate::admin) fn own_origins(rules: &LoginRules, is_tls: bool, headers: &HeaderMap) -> Vec<String> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let asked = format!("{}://{}", if is_tls { "https" } else { "http" }, host.to_ascii_lowercase());
    rules.url.as_deref().map(str::to_owned).into_iter().chain([asked]).collect()
}

/// Where to go on afterwards.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Then {
    #[serde(default)]
    then: Option<String>,
}

/// Sends a browser to the issuer.
async fn login(
    State(desk): Desked,
    Extension(caller): Extension<Caller>,
    query: Result<Query<Then>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let here = Here::of(&desk, &caller, &headers)?;
    let wanted = || Problem::malformed("want ?then=/PATH of this host, or nothing");
    let Query(Then { then }) = query.map_err(|_| wanted())?;
    let then = then.unwrap_or_else(|| "/".to_owned());
    if !is_own_path(&then) {
        return Err(wanted());
    }
    let place = {
        let Ok(_turn) = REQUESTS.try_acquire() else { return Ok(busy().into_response()) };
        desk.control.sign_in_place().await
    };
    let place = match place {
        Ok(place) => place,
        Err(why) => return Ok(unavailable(&why).into_response()),
    };
    let former = cookie_of(&headers, &here.cookie()).map(super::digest);
    let redirect_uri = format!("{}/auth/callback", here.base);
    let start = Start { from: Some(here.from), redirect_uri: redirect_uri.clone(), then, former };
    let begun = desk.transactions.begin(desk.control.now(), start).map_err(|_| no_random())?;
    let failed =
        |_| Problem::new(StatusCode::BAD_GATEWAY, "login_unavailable", "the issuer has no usable address");
    let mut target = reqwest::Url::parse(&place.url).map_err(failed)?;
    target.query_pairs_mut().extend_pairs([
        ("response_type", "code"),
        ("client_id", &here.rules.client_id),
        ("redirect_uri", &redirect_uri),
        ("scope", &here.rules.scope),
        ("state", &begun.state),
        ("nonce", &begun.nonce),
        ("code_challenge", &begun.challenge),
        ("code_challenge_method", "S256"),
    ]);
    let cookie =
        set_cookie(&login_cookie(&begun.state), &begun.binding, "Lax", Some(LOGIN_TIMEOUT.as_secs()));
    let mut response = StatusCode::FOUND.into_response();
    set(&mut response, header::LOCATION, target.as_str());
    set(&mut response, header::SET_COOKIE, &cookie);
    Ok(response)
}

/// What an issuer sends a browser back with.
#[derive(Debug, Deserialize)]
struct Returned {
    state: Option<String>,
    code: Option<String>,
    error: Option<String>,
    /// RFC 9207.
    iss: Option<String>,
}

/// Takes a browser back from the issuer.
async fn callback(
    State(desk): Desked,
    Extension(caller): Extension<Caller>,
    query: Result<Query<Returned>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let here = Here::of(&desk, &caller, &headers)?;
    let unknown = || {
        let why = "This login was not begun in this browser, has taken too long, or was used already.";
        Page::failed(StatusCode::BAD_REQUEST, "Not logged in", why)
    };
    let Ok(Query(returned)) = query else { return Ok(unknown().into_response()) };
    let Some(state) = returned.state.as_deref().filter(|state| state.is_ascii()) else {
        return Ok(unknown().into_response());
    };
    let name = login_cookie(state);
    let binding = cookie_of(&headers, &name).unwrap_or_default();
    let Some(begun) = desk.transactions.take(desk.control.now(), state, binding) else {
        return Ok(unknown().into_response());
    };
    let mut response = match finish(&desk, &here, returned, begun).await {
        Ok(response) => response,
        Err(page) => page.into_response(),
    };
    let gone = set_cookie(&name, "", "Lax", Some(0));
    if let Ok(gone) = HeaderValue::try_from(gone) {
        response.headers_mut().append(header::SET_COOKIE, gone);
    }
    Ok(response)
}

/// Proves who it is, and opens the session. The browser is the one that began.
async fn finish(desk: &Desk, here: &Here, returned: Returned, begun: Transaction) -> Result<Response, Page> {
    let Ok(_turn) = REQUESTS.try_acquire() else { return Err(busy()) };
    let place = desk.control.sign_in_place().await.map_err(|why| unavailable(&why))?;
    // RFC 9207 section 2.4: an answer of another issuer is no answer.
    let names_other = returned.iss.as_deref().is_some_and(|issuer| *issuer != *here.rules.issuer);
    if names_other || (returned.iss.is_none() && place.names_issuer) {
        return Err(Page::failed(
            StatusCode::BAD_REQUEST,
            "Not logged in",
            "The answer does not come from the issuer that was asked.",
        ));
    }
    let code = match (returned.error, returned.code) {
        (None, Some(code)) if !code.is_empty() && code.len() <= LOGIN_CODE_BYTES_MAX => code,
        (error, _) => {
            let error = error.unwrap_or_default();
            let known = ERRORS.into_iter().find(|known| *known == error).unwrap_or("no code");
            let why = format!("The issuer did not say who you are ({known}).");
            return Err(Page::failed(StatusCode::FORBIDDEN, "Not logged in", &why));
        }
    };
    let Transaction { nonce, verifier, redirect_uri, then, former, .. } = begun;
    let proven = desk.control.redeem(Redemption { code, verifier, redirect_uri, nonce }).await;
    let person = proven.map_err(|why| match why {
        NotLoggedIn::Unavailable(_) | NotLoggedIn::TooFast => unavailable(&why),
        NotLoggedIn::Refused(why) => {
            tracing::warn!(why, "a login was refused");
            Page::failed(StatusCode::FORBIDDEN, "Not logged in", &why)
        }
    })?;
    let person = admitted(desk, &here.rules, person)?;
    // Another id with each login: one that somebody knew before is worth nothing.
    let id = random()
        .map_err(|_| Page::failed(StatusCode::INTERNAL_SERVER_ERROR, "Not logged in", "No random bytes."))?;
    if let Some(former) = former {
        desk.sessions.close(&former);
    }
    desk.sessions.open(desk.control.now(), &here.rules, (person.clone(), None), By::Cookie, &id);
    desk.control.record_action(&person.principal(), "login", "browser");
    let body = format!("<p>You are {}. <a href=\"{}\">Go on</a></p>", escaped(&person.name), escaped(&then));
    let page = Page { status: StatusCode::OK, title: "Logged in", body, then: Some(then) };
    let mut response = page.into_response();
    let seconds = here.rules.lifetime.as_secs();
    set(&mut response, header::SET_COOKIE, &set_cookie(&here.cookie(), &id, "Strict", Some(seconds)));
    Ok(response)
}

/// Whoever has a role may come in; the others are told what is known of them, so that somebody can help.
pub(super) fn admitted(desk: &Desk, rules: &LoginRules, person: Person) -> Result<Arc<Person>, Page> {
    if !rules.roles_of(&person).is_empty() {
        return Ok(Arc::new(person));
    }
    let name = person.principal();
    desk.control.record_action(&name, "login", "refused: no role");
    let groups = match &person.groups[..] {
        [] => "in no group".to_owned(),
        groups => format!("in {}", groups.join(", ")),
    };
    let why = format!("{name}, {groups}, has no role here. An operator gives one in [admin.roles].");
    Err(Page::failed(StatusCode::FORBIDDEN, "No role", &why))
}

/// Ends the session of whoever asks.
async fn logout(
    State(desk): Desked,
    Extension(caller): Extension<Caller>,
    Extension(principal): Extension<Principal>,
    request: Request,
) -> Result<Response, Problem> {
    let headers = request.headers().clone();
    no_body(&desk, request).await?;
    let Some(visit) = principal.visit() else {
        let message = "there is no session to end: this caller is known by the socket, or by a token";
        return Err(Problem::new(StatusCode::CONFLICT, "no_session", message));
    };
    desk.sessions.close(&visit.digest);
    desk.control.record_action(principal.name(), "logout", "");
    let mut response = answer(StatusCode::OK, &LoggedOut { logged_out: true });
    if let Ok(here) = Here::of(&desk, &caller, &headers) {
        set(&mut response, header::SET_COOKIE, &set_cookie(&here.cookie(), "", "Strict", Some(0)));
    }
    Ok(response)
}

/// Who asks, and what they may do: `routes` is `null` for all of them.
async fn me(Extension(principal): Extension<Principal>) -> Response {
    let visit = principal.visit();
    let person = visit.map(|visit| &*visit.person);
    let roles = principal.roles().iter().map(|(role, reach): &(Role, Reach)| {
        let routes = match reach {
            Reach::All => None,
            Reach::Routes(routes) => Some(routes.iter().map(|route| &**route).collect::<Vec<_>>()),
        };
        Granted { role: role.as_str(), routes }
    });
    let groups = person.map(|person| person.groups.iter().map(|group| &**group).collect::<Vec<_>>());
    let body = Me {
        name: person.map_or(principal.name(), |person| &*person.name),
        principal: principal.name(),
        subject: person.map(|person| &*person.subject),
        owner: principal.owner(),
        groups: groups.unwrap_or_default(),
        roles: roles.collect::<Vec<_>>(),
        login: principal.login(),
        ends: visit.map(|visit| visit.ends.to_string()),
    };
    answer(StatusCode::OK, &body)
}

/// Sets a field whose value is made of visible ASCII.
pub(super) fn set(response: &mut Response, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        response.headers_mut().insert(name, value);
    }
}

pub(super) fn busy() -> Page {
    let why = "Too many people log in at once. Try again in a moment.";
    Page::failed(StatusCode::SERVICE_UNAVAILABLE, "Not logged in", why)
}

fn unavailable(why: &NotLoggedIn) -> Page {
    let why = match why {
        NotLoggedIn::Unavailable(why) | NotLoggedIn::Refused(why) => why,
        NotLoggedIn::TooFast => "it is asked too often",
    };
    tracing::warn!(why, "nobody can log in");
    let why = format!("The issuer cannot be asked who you are: {why}");
    Page::failed(StatusCode::BAD_GATEWAY, "Not logged in", &why)
}

pub(super) fn no_random() -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the system gives no random bytes")
}

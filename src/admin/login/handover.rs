//! The command line logs in: with a person's browser (RFC 8252, PKCE), or on another device (RFC 8628).
//!
//! ```text
//!  ringward login            browser                                     admin port
//!    │ listens on 127.0.0.1     │ GET /auth/cli?port&state&challenge ──────►│ logged in? else /auth/login
//!    │                          │◄── "Let the command line in?" ────────────┤
//!    │                          │ POST /auth/cli ──────────────────────────►│ code, for a minute
//!    │◄── /?code&state ─────────┤ a page that goes on to 127.0.0.1:port     │
//!    │ POST /auth/token {code, code_verifier} ─────────────────────────────►│ a session of its own
//! ```
//!
//! Somebody has to press the button: a page of another site that sends a browser here gets nothing by itself.
//! The gateway is the issuer's only client: the command line needs none, and no password of one.

use super::{
    Person, digest,
    page::{Page, escaped},
    random,
    routes::{Here, admitted, busy, no_random},
    sessions::By,
};
use crate::{
    admin::{
        access::Principal,
        door::Caller,
        endpoint::{Endpoint, get, post},
        login::{NotLoggedIn, TOKEN_PREFIX},
        problem::{Problem, answer},
        routes::{Desk, Desked, json_body},
    },
    limits::{LOGIN_HANDOVER_TIMEOUT, LOGIN_REQUESTS_MAX, LOGINS_MAX, LOGINS_PER_ADDRESS},
    time::Timestamp,
};
use axum::{
    Form,
    extract::{
        Extension, Query, Request, State,
        rejection::{FormRejection, QueryRejection},
    },
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::Semaphore;

/// Text of a challenge, a verifier or a state, at most.
const TEXT_BYTES_MAX: usize = 128;
/// What the issuer is asked about devices at once.
static REQUESTS: Semaphore = Semaphore::const_new(LOGIN_REQUESTS_MAX);

/// What is served here.
pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        get("/auth/cli", ask)
            .says("Asks somebody whether the command line may come in")
            .query::<Asked>()
            .media("text/html")
            .empty(302),
        post("/auth/cli", agree).says("Lets the command line in").form::<Asked>().media("text/html"),
        post("/auth/token", token)
            .says("Opens the session of a command line that was let in")
            .body::<Brought>()
            .json::<Opened>(),
        post("/auth/device", device)
            .says("Begins a login on another device; takes an empty object")
            .body::<Nothing>()
            .json::<Begun>(),
        post("/auth/device/token", device_token)
            .says("Whether somebody has entered the code meanwhile")
            .body::<Handle>()
            .json::<Opened>()
            .json_with::<Pending>(202),
    ]
}

/// An empty object.
#[derive(JsonSchema)]
struct Nothing {}

/// A session.
#[derive(Serialize, JsonSchema)]
struct Opened {
    /// What is sent as `authorization: Bearer …`.
    token: String,
    principal: String,
    name: String,
    /// RFC 3339.
    ends: String,
}

/// A login on another device.
#[derive(Serialize, JsonSchema)]
struct Begun {
    handle: String,
    /// What somebody enters at `verification_uri`.
    user_code: String,
    verification_uri: String,
    verification_uri_complete: Option<String>,
    /// How often is asked.
    interval_s: u64,
    expires_s: u64,
}

/// Nobody has yet.
#[derive(Serialize, JsonSchema)]
struct Pending {
    pending: bool,
    interval_s: u64,
}

/// What the command line and devices wait for, by the digest of what they show.
#[derive(Debug, Default)]
pub(in crate::admin) struct Handovers(Mutex<BTreeMap<[u8; 32], Waiting>>);

#[derive(Debug)]
struct Waiting {
    ends: Timestamp,
    from: IpAddr,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    /// Somebody has let the bearer of the verifier in, until their own session ends.
    Code { person: Arc<Person>, until: Timestamp, challenge: String },
    /// The issuer waits for somebody to enter a code; it is asked at most so often.
    Device { device_code: String, next: Timestamp, interval: Duration },
}

impl Handovers {
    fn put(&self, now: Timestamp, secret: &str, waiting: Waiting) {
        let mut all = self.lock();
        all.retain(|_, one| now < one.ends);
        let own = all.values().filter(|one| one.from == waiting.from).count();
        if own >= LOGINS_PER_ADDRESS || all.len() >= LOGINS_MAX {
            let is_meant = |one: &Waiting| own < LOGINS_PER_ADDRESS || one.from == waiting.from;
            let oldest = all.iter().filter(|(_, one)| is_meant(one)).min_by_key(|(_, one)| one.ends);
            if let Some(oldest) = oldest.map(|(digest, _)| *digest) {
                all.remove(&oldest);
            }
        }
        all.insert(digest(secret), waiting);
    }

    /// Takes out what waits for `secret`: it is good once.
    fn take(&self, now: Timestamp, secret: &str) -> Option<Waiting> {
        self.lock().remove(&digest(secret)).filter(|one| now < one.ends)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<[u8; 32], Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who wants to be let in.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// Where it listens on this person's own machine.
    port: u16,
    state: String,
    /// RFC 7636 section 4.2, method S256.
    code_challenge: String,
}

impl Asked {
    fn is_sound(&self) -> bool {
        let text = |text: &str| {
            (1..=TEXT_BYTES_MAX).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        self.port > 0 && text(&self.state) && self.code_challenge.len() == 43 && text(&self.code_challenge)
    }

    fn query(&self) -> String {
        let Asked { port, state, code_challenge } = self;
        format!("port={port}&state={state}&code_challenge={code_challenge}")
    }
}

fn wrong() -> Problem {
    Problem::malformed("want port, state and code_challenge, as `ringward login` sends them")
}

/// Asks whether the command line may come in.
async fn ask(
    State(desk): Desked,
    Extension(caller): Extension<Caller>,
    principal: Option<Extension<Principal>>,
    query: Result<Query<Asked>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    Here::of(&desk, &caller, &headers)?;
    let asked = query.map(|Query(asked)| asked).ok().filter(Asked::is_sound).ok_or_else(wrong)?;
    let visit = principal.as_ref().and_then(|Extension(principal)| principal.visit());
    let Some(visit) = visit else {
        let then = format!("/auth/cli?{}", asked.query());
        let mut target = reqwest::Url::parse("http://localhost/auth/login").map_err(|_| wrong())?;
        target.query_pairs_mut().append_pair("then", &then);
        let target = format!("/auth/login?{}", target.query().unwrap_or_default());
        let mut response = StatusCode::FOUND.into_response();
        super::routes::set(&mut response, header::LOCATION, &target);
        return Ok(response);
    };
    let Asked { port, state, code_challenge } = &asked;
    let body = format!(
        "<p><code>ringward login</code> on this computer wants to act as {}. Let it in if you have \
         started it a moment ago.</p><form method=\"post\" action=\"/auth/cli\">\
         <input type=\"hidden\" name=\"port\" value=\"{port}\">\
         <input type=\"hidden\" name=\"state\" value=\"{state}\">\
         <input type=\"hidden\" name=\"code_challenge\" value=\"{code_challenge}\">\
         <button>Let it in</button></form>",
        escaped(&visit.person.name)
    );
    Ok(Page { status: StatusCode::OK, title: "Let the command line in?", body, then: None }.into_response())
}

/// Somebody has pressed the button.
async fn agree(
    State(desk): Desked,
    Extension(caller): Extension<Caller>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    form: Result<Form<Asked>, FormRejection>,
) -> Result<Response, Problem> {
    let here = Here::of(&desk, &caller, &headers)?;
    let asked = form.map(|Form(asked)| asked).ok().filter(Asked::is_sound).ok_or_else(wrong)?;
    let Some(visit) = principal.visit() else { return Err(wrong()) };
    let code = random().map_err(|_| no_random())?;
    let now = desk.control.now();
    let ends = Timestamp(now.0 + LOGIN_HANDOVER_TIMEOUT.as_micros() as u64);
    let (person, challenge) = (visit.person.clone(), asked.code_challenge);
    let what = What::Code { person, until: visit.ends, challenge };
    desk.handovers.put(now, &code, Waiting { ends, from: here.from, what });
    let then = format!("http://127.0.0.1:{}/?code={code}&state={}", asked.port, asked.state);
    let body = format!("<p><a href=\"{}\">Go on to the command line</a></p>", escaped(&then));
    Ok(Page { status: StatusCode::OK, title: "Logged in", body, then: Some(then) }.into_response())
}

/// What the command line was brought, and what only it has.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Brought {
    code: String,
    code_verifier: String,
}

/// Opens a session for the command line.
async fn token(
    State(desk): Desked,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, Problem> {
    let here = Here::of(&desk, &caller, request.headers())?;
    let brought: Brought = json_body(&desk, request, "{\"code\": \"…\", \"code_verifier\": \"…\"}").await?;
    let waiting = desk.handovers.take(desk.control.now(), &brought.code);
    match waiting.map(|waiting| waiting.what) {
        Some(What::Code { person, until, challenge })
            if URL_SAFE_NO_PAD.encode(digest(&brought.code_verifier)) == challenge =>
        {
            open(&desk, &here, (person, Some(until)), "command line")
        }
        _ => {
            let message = "this code is unknown, was used, has ended, or is of another login: begin again";
            Err(Problem::new(StatusCode::FORBIDDEN, "login_refused", message))
        }
    }
}

fn open(
    desk: &Desk,
    here: &Here,
    (person, until): (Arc<Person>, Option<Timestamp>),
    how: &str,
) -> Result<Response, Problem> {
    let secret = format!("{TOKEN_PREFIX}{}", random().map_err(|_| no_random())?);
    let now = desk.control.now();
    let ends = desk.sessions.open(now, &here.rules, (person.clone(), until), By::Bearer, &secret);
    desk.control.record_action(&person.principal(), "login", how);
    let (principal, name) = (person.principal(), person.name.to_string());
    Ok(answer(StatusCode::OK, &Opened { token: secret, principal, name, ends: ends.to_string() }))
}

/// Begins a login on another device.
async fn device(
    State(desk): Desked,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, Problem> {
    let here = Here::of(&desk, &caller, request.headers())?;
    let _: BTreeMap<String, String> = json_body(&desk, request, "{}").await?;
    let begun = {
        let Ok(_turn) = REQUESTS.try_acquire() else { return Ok(busy().into_response()) };
        desk.control.begin_device().await.map_err(problem)?
    };
    let handle = random().map_err(|_| no_random())?;
    let now = desk.control.now();
    let interval = begun.interval.max(Duration::from_secs(1));
    let what = What::Device { device_code: begun.device_code, next: now, interval };
    let life = begun.expires.min(crate::limits::LOGIN_TIMEOUT);
    let ends = Timestamp(now.0 + life.as_micros() as u64);
    desk.handovers.put(now, &handle, Waiting { ends, from: here.from, what });
    let body = Begun {
        handle,
        user_code: begun.user_code,
        verification_uri: begun.verification_uri,
        verification_uri_complete: begun.verification_uri_complete,
        interval_s: interval.as_secs(),
        expires_s: life.as_secs(),
    };
    Ok(answer(StatusCode::OK, &body))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Handle {
    handle: String,
}

/// Whether somebody has entered the code meanwhile: 202 until then.
async fn device_token(
    State(desk): Desked,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, Problem> {
    let here = Here::of(&desk, &caller, request.headers())?;
    let Handle { handle } = json_body(&desk, request, "{\"handle\": \"…\"}").await?;
    let now = desk.control.now();
    // It is out of the table while the issuer is asked: nobody asks twice at once.
    let Some(Waiting { ends, from, what: What::Device { device_code, next, mut interval } }) =
        desk.handovers.take(now, &handle)
    else {
        let message = "this login is unknown or has ended: begin again";
        return Err(Problem::new(StatusCode::FORBIDDEN, "login_refused", message));
    };
    let mut asked = Ok(None);
    if now >= next
        && let Ok(_turn) = REQUESTS.try_acquire()
    {
        asked = desk.control.ask_device(device_code.clone()).await;
    }
    match asked {
        Ok(Some(person)) => {
            let refused = |_| {
                let message = "there is no role for you here: an operator gives one in [admin.roles]";
                Problem::new(StatusCode::FORBIDDEN, "role_required", message)
            };
            let person = admitted(&desk, &here.rules, person).map_err(refused)?;
            return open(&desk, &here, (person, None), "device");
        }
        Ok(None) => {}
        // RFC 8628 section 3.5: from then on at least 5 s more.
        Err(NotLoggedIn::TooFast) => interval += Duration::from_secs(5),
        Err(why @ NotLoggedIn::Refused(_)) => return Err(problem(why)),
        // It may be back soon.
        Err(NotLoggedIn::Unavailable(why)) => tracing::warn!(why, "the issuer of logins does not answer"),
    }
    let next = if now >= next { Timestamp(now.0 + interval.as_micros() as u64) } else { next };
    let what = What::Device { device_code, next, interval };
    desk.handovers.put(now, &handle, Waiting { ends, from, what });
    Ok(answer(StatusCode::ACCEPTED, &Pending { pending: true, interval_s: interval.as_secs() }))
}

fn problem(why: NotLoggedIn) -> Problem {
    match why {
        NotLoggedIn::Refused(why) => {
            Problem::new(StatusCode::FORBIDDEN, "login_refused", format!("the issuer refuses it: {why}"))
        }
        NotLoggedIn::Unavailable(why) => {
            let message = format!("the issuer cannot be asked: {why}");
            Problem::new(StatusCode::BAD_GATEWAY, "login_unavailable", message)
        }
        NotLoggedIn::TooFast => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "login_unavailable", "try again in a moment")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_good_once_and_for_a_minute() {
        let all = Handovers::default();
        let waiting = |ends, from: u8| Waiting {
            ends: Timestamp(ends),
            from: IpAddr::from([192, 0, 2, from]),
            what: What::Device { device_code: "d".into(), next: Timestamp(0), interval: Duration::ZERO },
        };
        all.put(Timestamp(0), "a", waiting(10, 1));
        assert!(all.take(Timestamp(9), "b").is_none());
        assert!(all.take(Timestamp(9), "a").is_some());
        assert!(all.take(Timestamp(9), "a").is_none(), "used");
        all.put(Timestamp(0), "a", waiting(10, 1));
        assert!(all.take(Timestamp(10), "a").is_none(), "too late");
        all.put(Timestamp(0), "a", waiting(10, 1));
        for index in 0..2 * LOGINS_PER_ADDRESS {
            all.put(Timestamp(0), &index.to_string(), waiting(20 + index as u64, 2));
        }
        assert_eq!(all.lock().len(), LOGINS_PER_ADDRESS + 1);
        assert!(all.take(Timestamp(0), "a").is_some(), "not pushed out by others");
    }

    #[test]
    fn only_what_the_command_line_sends_is_taken() {
        let asked = |port, state: &str, challenge: &str| {
            Asked { port, state: state.into(), code_challenge: challenge.into() }.is_sound()
        };
        let challenge = "c".repeat(43);
        assert!(asked(1, "s-_9", &challenge));
        for (port, state) in [(0, "s"), (1, ""), (1, "a b"), (1, "\"><b>"), (1, &"x".repeat(129))] {
            assert!(!asked(port, state, &challenge), "{port} {state}");
        }
        assert!(!asked(1, "s", "short"));
    }
}

//! People sign in: authorization code with PKCE (RFC 6749 section 4.1, RFC 7636, OpenID Connect Core 1.0
//! section 3.1), with a page on which they say who they are. Nobody proves it: it is a demo.

use super::form::{Fields, Refusal};
use super::{DevIssuer, key::random_text, now};
use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::{Form, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Client that the admin interface of the gateway is: a public one.
pub const CONSOLE_CLIENT: &str = "ringward-console";
/// How long a code and an ID token are good.
const CODE_LIFETIME_S: u64 = 60;
const TOKEN_LIFETIME_S: u64 = 300;
/// Codes that wait to be used.
const CODES_MAX: usize = 1_000;

/// Somebody who may sign in.
#[derive(Debug)]
pub(super) struct Person {
    pub id: &'static str,
    pub name: &'static str,
    pub groups: &'static [&'static str],
    pub owner: &'static str,
    /// What the demo lets them do, for the page.
    pub may: &'static str,
}

/// All of them; `settings.toml` gives their groups roles.
pub(super) const PEOPLE: [Person; 6] = [
    Person {
        id: "sam",
        name: "Sam Okafor",
        groups: &["sre"],
        owner: "sam.okafor@example.com",
        may: "sees the gateway and decides about every held request",
    },
    Person {
        id: "grace",
        name: "Grace Hopper",
        groups: &["sre"],
        owner: "grace.hopper@example.com",
        may: "the same, and owns the demo's agent",
    },
    Person {
        id: "kim",
        name: "Kim Park",
        groups: &["payments"],
        owner: "kim.park@example.com",
        may: "decides about requests for customers alone",
    },
    Person {
        id: "riley",
        name: "Riley Chen",
        groups: &["staff"],
        owner: "riley.chen@example.com",
        may: "sees how the gateway is",
    },
    Person {
        id: "robin",
        name: "Robin Silva",
        groups: &["audit"],
        owner: "robin.silva@example.com",
        may: "reads recordings and the audit log",
    },
    Person {
        id: "alex",
        name: "Alex Novak",
        groups: &["operators"],
        owner: "alex.novak@example.com",
        may: "does everything",
    },
];

/// Codes that were given and not used.
#[derive(Debug, Default)]
pub(super) struct Codes(Mutex<BTreeMap<String, Code>>);

#[derive(Debug)]
struct Code {
    person: &'static Person,
    redirect_uri: String,
    challenge: String,
    nonce: Option<String>,
    ends_s: u64,
}

/// What a client asks for, checked.
struct Request {
    redirect_uri: String,
    state: Option<String>,
    challenge: String,
    nonce: Option<String>,
}

impl Request {
    fn of(fields: &Fields) -> Result<Request, Refusal> {
        let invalid = Refusal::InvalidRequest;
        if fields.find("client_id") != Some(CONSOLE_CLIENT) {
            return Err(Refusal::InvalidClient);
        }
        // Until here nobody is sent back: the address might be anybody's.
        let redirect_uri = fields.require("redirect_uri", "redirect_uri is missing")?;
        if !is_console(redirect_uri) {
            return Err(invalid("redirect_uri is not the demo's: /auth/callback on loopback"));
        }
        if fields.find("response_type") != Some("code") {
            return Err(invalid("response_type is not code"));
        }
        let mut scopes = fields.find("scope").unwrap_or_default().split(' ');
        if !scopes.any(|scope| scope == "openid") {
            return Err(invalid("scope lacks openid"));
        }
        if fields.find("code_challenge_method") != Some("S256") {
            return Err(invalid("code_challenge_method is not S256"));
        }
        let text = |name| fields.find(name).map(str::to_owned);
        Ok(Request {
            redirect_uri: redirect_uri.to_owned(),
            state: text("state"),
            challenge: fields.require("code_challenge", "code_challenge is missing")?.to_owned(),
            nonce: text("nonce"),
        })
    }
}

/// Whether an address is that of a gateway's admin interface on this host.
fn is_console(url: &str) -> bool {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let Some((authority, "auth/callback")) = rest.and_then(|rest| rest.split_once('/')) else { return false };
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    ["127.0.0.1", "localhost", "[::1]"].contains(&host)
}

/// The page on which people say who they are.
pub(super) async fn page(Query(pairs): Query<Vec<(String, String)>>) -> Result<Response, Refusal> {
    let hidden: String = pairs
        .iter()
        .map(|(name, value)| {
            format!("<input type=\"hidden\" name=\"{}\" value=\"{}\">", escaped(name), escaped(value))
        })
        .collect();
    Request::of(&Fields::new(pairs)?)?;
    let buttons: String = PEOPLE.iter().map(button).collect();
    let text = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Sign in to the demo</title>\
         <style>{STYLE}</style></head>\n<body><h1>Sign in to the demo</h1>\
         <p>This is the issuer that <code>ringward demo</code> brings along. There are no passwords: it is a \
         demo, and whoever you choose, you are.</p>\n\
         <form method=\"post\" action=\"/authorize\">{hidden}{buttons}</form></body></html>\n"
    );
    Ok(([("cache-control", "no-store")], Html(text)).into_response())
}

const STYLE: &str = include_str!("sign_in.css");

fn button(person: &Person) -> String {
    let Person { id, name, groups, may, .. } = person;
    let groups = groups.join(", ");
    format!(
        "<button name=\"person\" value=\"{id}\"><strong>{name}</strong> <small>({id}, {groups})</small><br>\
         <small>{may}</small></button>"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Somebody has chosen: sends them back with a code.
pub(super) async fn chosen(
    State(issuer): State<Arc<DevIssuer>>,
    Form(pairs): Form<Vec<(String, String)>>,
) -> Result<Response, Refusal> {
    let fields = Fields::new(pairs)?;
    let request = Request::of(&fields)?;
    let id = fields.require("person", "person is missing")?;
    let person = PEOPLE.iter().find(|person| person.id == id);
    let person = person.ok_or(Refusal::InvalidRequest("there is no such person"))?;
    let code = random_text().map_err(|_| Refusal::ServerError)?;
    let mut target = reqwest::Url::parse(&request.redirect_uri)
        .map_err(|_| Refusal::InvalidRequest("redirect_uri is no URL"))?;
    target.query_pairs_mut().append_pair("code", &code).append_pair("iss", issuer.url());
    if let Some(state) = &request.state {
        target.query_pairs_mut().append_pair("state", state);
    }
    issuer.codes.keep(code, person, request)?;
    // A URL holds visible ASCII only.
    let target = HeaderValue::try_from(target.as_str()).map_err(|_| Refusal::ServerError)?;
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, target)]).into_response())
}

impl Codes {
    fn keep(&self, code: String, person: &'static Person, request: Request) -> Result<(), Refusal> {
        let now_s = now().wall.unix_seconds();
        let Request { redirect_uri, challenge, nonce, .. } = request;
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        codes.retain(|_, code| code.ends_s > now_s);
        if codes.len() >= CODES_MAX {
            return Err(Refusal::ServerError);
        }
        let ends_s = now_s + CODE_LIFETIME_S;
        codes.insert(code, Code { person, redirect_uri, challenge, nonce, ends_s });
        Ok(())
    }

    /// A code is used once, also by whoever does not know its verifier (RFC 6749 section 4.1.2).
    fn take(&self, code: &str) -> Option<Code> {
        let now_s = now().wall.unix_seconds();
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        codes.remove(code).filter(|code| code.ends_s > now_s)
    }
}

impl DevIssuer {
    /// Tokens for a code (OpenID Connect Core 1.0 section 3.1.3).
    pub(super) fn code_grant(&self, fields: &Fields) -> Result<Value, Refusal> {
        if fields.find("client_id") != Some(CONSOLE_CLIENT) {
            return Err(Refusal::InvalidClient);
        }
        let wrong = |why: &str| Refusal::InvalidGrant(why.to_owned());
        let code = self.codes.take(fields.require("code", "code is missing")?);
        let code = code.ok_or_else(|| wrong("the code is unknown, was used, or has ended"))?;
        if fields.find("redirect_uri") != Some(&code.redirect_uri) {
            return Err(wrong("the code was given for another redirect_uri"));
        }
        let verifier = fields.require("code_verifier", "code_verifier is missing")?;
        if URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes())) != code.challenge {
            return Err(wrong("the code_verifier is not that of the code_challenge"));
        }
        self.id_token(code.person, code.nonce.as_deref())
    }

    /// The answer for somebody who has signed in.
    pub(super) fn id_token(&self, person: &Person, nonce: Option<&str>) -> Result<Value, Refusal> {
        let now_s = now().wall.unix_seconds();
        let mut claims = json!({
            "iss": self.url(), "aud": CONSOLE_CLIENT, "sub": person.id, "iat": now_s,
            "exp": now_s + TOKEN_LIFETIME_S, "name": person.name, "groups": person.groups,
            "owner": person.owner,
        });
        if let Some(nonce) = nonce {
            claims["nonce"] = nonce.into();
        }
        let failed = |_| Refusal::ServerError;
        let id_token = self.key.sign(&claims).map_err(failed)?;
        let access_token = random_text().map_err(failed)?;
        Ok(json!({
            "access_token": access_token, "token_type": "Bearer", "expires_in": TOKEN_LIFETIME_S,
            "id_token": id_token, "scope": "openid",
        }))
    }
}

//! Who may do what on the operators' side: credentials, roles, and the role that each route needs.
//!
//! All doors ask here, and nowhere else. Whoever came over the unix socket may do everything: the kernel says
//! who it is. Over TCP it takes a login, or a token and TLS, so that nobody reads the token on its way.
//! Without either the port serves what needs none, and nothing else is there.

use super::{
    door::Caller,
    login::{self, By, LoginRules, Visit, check_origin, cookie_of, own_origins, session_cookie},
    problem::Problem,
    routes::Desk,
    ui,
};
use crate::{
    approval::{Approver, Reach},
    time::Timestamp,
};
use aws_lc_rs::digest::{SHA256, digest};
use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::Next,
    response::Response,
};
use std::{net::SocketAddr, sync::Arc};
use subtle::ConstantTimeEq;

/// What somebody is here to do. A role grants what is listed in [`Role::grants`], and nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Sees how the gateway is.
    Viewer,
    /// Reads recordings and the audit log.
    Auditor,
    /// Decides about requests that wait, of all routes or of some.
    Approver,
    /// Does everything: an operator of this host.
    Admin,
}

/// What a route needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Nobody has to be known.
    Nothing,
    /// Anybody who is known.
    Known,
    /// Nobody has to be known, where there is a login at all.
    Page,
    View,
    Audit,
    Approve,
    Operate,
}

impl Role {
    fn grants(self, need: Need) -> bool {
        match need {
            Need::Nothing | Need::Page | Need::Known => true,
            Need::View => matches!(self, Role::Viewer | Role::Admin),
            Need::Audit => matches!(self, Role::Auditor | Role::Admin),
            Need::Approve => matches!(self, Role::Approver | Role::Admin),
            Need::Operate => self == Role::Admin,
        }
    }

    /// As it is written.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Auditor => "auditor",
            Role::Approver => "approver",
            Role::Admin => "admin",
        }
    }
}

impl Need {
    /// The role that people ask for to get it.
    fn role(self) -> &'static str {
        match self {
            Need::Nothing | Need::Page | Need::Known | Need::View => "viewer",
            Need::Audit => "auditor",
            Need::Approve => "approver",
            Need::Operate => "admin (a login, or the socket)",
        }
    }
}

/// A token that opens the admin port; the token itself is nowhere kept.
#[derive(Clone, Debug)]
pub struct Credential {
    pub name: Arc<str>,
    pub role: Role,
    /// The human who bears it, as issuers name them.
    pub owner: Option<Arc<str>>,
    /// SHA-256 of the token. It is random and long: nobody finds it from this.
    pub digest: [u8; 32],
    /// When it ends; `None`: never.
    pub expires: Option<Timestamp>,
}

impl Credential {
    /// What is kept of `token`, as it is sent.
    pub fn digest_of(token: &str) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        bytes
    }

    fn is_in_force(&self, now: Timestamp) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}

/// Who asks.
#[derive(Clone, Debug)]
pub(super) struct Principal {
    /// `local:UID`, `token:NAME` or `user:SUBJECT`.
    name: Arc<str>,
    /// Each once.
    roles: Vec<(Role, Reach)>,
    owner: Option<Arc<str>>,
    /// The session of somebody who has logged in.
    visit: Option<Visit>,
    /// Digest of the token of somebody who bears one.
    token: Option<[u8; 32]>,
}

impl Principal {
    fn local(name: Arc<str>) -> Principal {
        Principal { name, roles: vec![(Role::Admin, Reach::All)], owner: None, visit: None, token: None }
    }

    fn bearing(credential: &Credential) -> Principal {
        let Credential { name, role, owner, digest, .. } = credential;
        let (name, roles) = (format!("token:{name}").into(), vec![(*role, Reach::All)]);
        Principal { name, roles, owner: owner.clone(), visit: None, token: Some(*digest) }
    }

    /// The same caller as they are by now, if they may still have what `need` says: a session may have ended
    /// meanwhile, a token or a role been taken away.
    pub(super) fn still(&self, desk: &Desk, need: Need) -> Option<Principal> {
        let now = desk.control.now();
        let principal = match (&self.visit, &self.token) {
            (Some(visit), _) => {
                let rules = desk.control.login()?;
                let is_open = desk.sessions.is_open(now, &rules, &visit.digest);
                is_open.then(|| Principal::visiting(visit.clone(), &rules))?
            }
            (None, Some(token)) => {
                let known = desk.control.credentials();
                let found = known.iter().find(|credential| credential.digest == *token)?;
                found.is_in_force(now).then(|| Principal::bearing(found))?
            }
            (None, None) => self.clone(),
        };
        principal.may(need).then_some(principal)
    }

    fn visiting(visit: Visit, rules: &LoginRules) -> Principal {
        let person = &visit.person;
        let (name, owner) = (person.principal().into(), person.owner.clone());
        Principal { name, roles: rules.roles_of(person), owner, visit: Some(visit), token: None }
    }

    /// Under which name it is recorded.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What they may do.
    pub(super) fn roles(&self) -> &[(Role, Reach)] {
        &self.roles
    }

    /// The human, as issuers name them.
    pub(super) fn owner(&self) -> Option<&str> {
        self.owner.as_deref()
    }

    /// Their session, if they have logged in.
    pub(super) fn visit(&self) -> Option<&Visit> {
        self.visit.as_ref()
    }

    /// How they are known: `socket`, `token` or `oidc`.
    pub(super) fn login(&self) -> &'static str {
        match (&self.visit, self.name.starts_with("local:")) {
            (Some(_), _) => "oidc",
            (None, true) => "socket",
            (None, false) => "token",
        }
    }

    fn may(&self, need: Need) -> bool {
        self.roles.iter().any(|(role, _)| role.grants(need))
    }

    /// As approvals know them, with the routes that are theirs to decide about.
    pub(super) fn approver(&self) -> Approver {
        let uid = self.name.strip_prefix("local:").and_then(|uid| uid.parse().ok());
        let reaches = self.roles.iter().filter(|(role, _)| role.grants(Need::Approve));
        let nothing = Reach::Routes(Vec::new());
        let reach = reaches.fold(nothing, |all, (_, reach)| all.and(reach.clone()));
        let person = self.visit.as_ref().map(|visit| &visit.person);
        Approver {
            name: self.name.clone(),
            uid,
            owner: self.owner.clone(),
            subject: person.map(|person| (person.issuer.clone(), person.subject.clone())),
            groups: person.map(|person| person.groups.clone()).unwrap_or_default(),
            reach,
        }
    }

    /// Whether details of the gateway's state are for them.
    pub(super) fn may_view(&self) -> bool {
        self.may(Need::View)
    }
}

/// What each route needs, by method and path. A route that is not here needs [`Need::Operate`].
const NEEDS: &[(&str, &str, Need)] = &[
    ("GET", "/livez", Need::Nothing),
    ("GET", "/readyz", Need::Nothing),
    ("GET", "/auth/login", Need::Nothing),
    ("GET", "/auth/callback", Need::Nothing),
    ("POST", "/auth/logout", Need::Known),
    ("GET", "/auth/cli", Need::Nothing),
    ("POST", "/auth/cli", Need::Known),
    ("POST", "/auth/token", Need::Nothing),
    ("POST", "/auth/device", Need::Nothing),
    ("POST", "/auth/device/token", Need::Nothing),
    ("GET", "/api/v1/me", Need::Known),
    ("GET", "/metrics", Need::View),
    ("GET", "/api/v1/status", Need::View),
    ("GET", "/api/v1/version", Need::View),
    ("GET", "/api/v1/shards", Need::View),
    ("GET", "/api/v1/config", Need::View),
    ("GET", "/api/v1/policies", Need::View),
    ("GET", "/api/v1/policies.d", Need::View),
    ("GET", "/api/v1/policies.d/{name}", Need::View),
    ("GET", "/api/v1/connections.d", Need::View),
    ("GET", "/api/v1/connections.d/{name}", Need::View),
    ("GET", "/api/v1/identity", Need::View),
    ("GET", "/api/v1/secrets", Need::View),
    ("GET", "/api/v1/notify", Need::View),
    ("GET", "/api/v1/requests/{id}/explain", Need::Audit),
    ("GET", "/api/v1/audit/head", Need::Audit),
    ("GET", "/api/v1/audit/keys", Need::Audit),
    ("GET", "/api/v1/audit/prove", Need::Audit),
    ("GET", "/api/v1/audit/consistency", Need::Audit),
    ("GET", "/api/v1/audit/segments", Need::Audit),
    ("GET", "/api/v1/audit/segments/{number}", Need::Audit),
    ("GET", "/api/v1/sessions", Need::Audit),
    ("GET", "/api/v1/sessions/{id}", Need::Audit),
    ("GET", "/api/v1/sessions/{id}/events", Need::Audit),
    ("GET", "/api/v1/sessions/{id}/export", Need::Audit),
    ("GET", "/api/v1/exchanges", Need::Audit),
    ("GET", "/api/v1/export", Need::Audit),
    ("GET", "/api/v1/approvals", Need::Approve),
    ("GET", "/api/v1/approvals/{id}", Need::Approve),
    ("POST", "/api/v1/approvals/{id}/decision", Need::Approve),
    ("GET", "/api/v1/grants", Need::Approve),
    ("DELETE", "/api/v1/grants/{id}", Need::Approve),
    ("GET", "/api/v1/freezes", Need::Approve),
    ("POST", "/api/v1/freezes", Need::Approve),
    ("DELETE", "/api/v1/freezes/{id}", Need::Approve),
    ("POST", "/api/v1/approvals:foresee", Need::Approve),
    ("GET", "/api/v1/events", Need::Approve),
];

/// Methods and paths that have a need of their own.
#[cfg(test)]
pub(super) fn listed() -> impl Iterator<Item = (&'static str, &'static str)> {
    NEEDS.iter().map(|(method, path, _)| (*method, *path))
}

/// The role that people ask for to be served there; nothing where nobody has to be known, and an empty one
/// where anybody who is known will do.
pub(super) fn role_of(method: &Method, path: &str) -> Option<&'static str> {
    match need(method, path) {
        Need::Nothing => None,
        need => Some(need.role()),
    }
}

fn need(method: &Method, path: &str) -> Need {
    if ui::PLACES.contains(&path) {
        return Need::Page;
    }
    // A HEAD is answered as its GET (RFC 9110 section 9.3.2).
    let method = if *method == Method::HEAD { "GET" } else { method.as_str() };
    let on_path = || NEEDS.iter().filter(|(_, known, _)| *known == path);
    match on_path().find(|(known, ..)| *known == method) {
        Some((.., need)) => *need,
        // What is public says that it does not take the method.
        None if on_path().any(|(.., need)| *need == Need::Nothing) => Need::Nothing,
        None => Need::Operate,
    }
}

/// The field with which an open page says that nobody has asked for this but its clock.
const BACKGROUND: &str = "x-ringward-background";

/// Why somebody is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unknown {
    Missing,
    Malformed,
    Invalid,
    Expired,
    /// A session that has ended.
    Ended,
}

impl Unknown {
    /// The answer; whoever can log in is told where.
    fn problem(self, may_log_in: bool) -> Problem {
        let (code, message) = match self {
            Unknown::Missing if may_log_in => ("login_required", "log in first: GET /auth/login"),
            Unknown::Missing => ("token_missing", "log in with a token: authorization: Bearer …"),
            Unknown::Malformed => ("token_invalid", "want one header: authorization: Bearer …"),
            Unknown::Invalid => ("token_invalid", "this token opens nothing here"),
            Unknown::Expired => ("token_expired", "this token has ended: ask for a new one"),
            Unknown::Ended => ("session_ended", "this session has ended: log in again"),
        };
        // No `error` where no token came (RFC 6750 section 3.1).
        let challenge = match self {
            Unknown::Missing | Unknown::Ended => "Bearer realm=\"ringward-admin\"",
            _ => "Bearer realm=\"ringward-admin\", error=\"invalid_token\"",
        };
        let problem = Problem::new(StatusCode::UNAUTHORIZED, code, message).challenging(challenge);
        if may_log_in { problem.with("login", "/auth/login".into()) } else { problem }
    }
}

/// The token in the header `Authorization`; `None` without that header.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Unknown> {
    let mut fields = headers.get_all(header::AUTHORIZATION).iter();
    let field = match (fields.next(), fields.next()) {
        (None, _) => return Ok(None),
        (Some(field), None) => field.to_str().map_err(|_| Unknown::Malformed)?,
        (Some(_), Some(_)) => return Err(Unknown::Malformed),
    };
    let (scheme, token) = field.split_once(' ').ok_or(Unknown::Malformed)?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(Unknown::Malformed);
    }
    Ok(Some(token.trim()))
}

/// Who bears a token of the configuration.
fn known_bearer(token: &str, known: &[Credential], now: Timestamp) -> Result<Principal, Unknown> {
    let digest = Credential::digest_of(token);
    // All are looked at: how long this takes says nothing about any of them (SECURITY R45).
    let mut found = None;
    for credential in known {
        if bool::from(credential.digest.ct_eq(&digest)) {
            found = Some(credential);
        }
    }
    let found = found.ok_or(Unknown::Invalid)?;
    if found.is_in_force(now) { Ok(Principal::bearing(found)) } else { Err(Unknown::Expired) }
}

/// What a request over TCP is looked at with.
struct Entry<'a> {
    desk: &'a Desk,
    rules: Option<&'a LoginRules>,
    is_tls: bool,
    local: SocketAddr,
    method: &'a Method,
    path: &'a str,
}

impl Entry<'_> {
    /// Who has sent this: the bearer of a token, or of a session.
    ///
    /// # Errors
    /// A cookie whose request comes from another site, or nobody who is known.
    fn authenticate(&self, headers: &HeaderMap) -> Result<Result<Principal, Unknown>, Problem> {
        let now = self.desk.control.now();
        // What goes on by itself is no use of a session: nobody needs to sit in front of it.
        let is_use = !login::STREAMS.contains(&self.path) && !headers.contains_key(BACKGROUND);
        let open = |rules: &LoginRules, by, secret: &str| {
            let visit = self.desk.sessions.find(now, rules, by, secret, is_use);
            visit.map(|visit| Principal::visiting(visit, rules)).ok_or(Unknown::Ended)
        };
        let token = match bearer(headers) {
            Ok(token) => token,
            Err(unknown) => return Ok(Err(unknown)),
        };
        match (token, self.rules) {
            (Some(token), Some(rules)) if token.starts_with(login::TOKEN_PREFIX) => {
                return Ok(open(rules, By::Bearer, token));
            }
            // Nobody's token is looked at where others could have read it.
            (Some(_), _) if !self.is_tls => return Ok(Err(Unknown::Invalid)),
            (Some(token), _) => return Ok(known_bearer(token, &self.desk.control.credentials(), now)),
            (None, _) => {}
        }
        let Some(rules) = self.rules else { return Ok(Err(Unknown::Missing)) };
        let Some(id) = cookie_of(headers, &session_cookie(self.is_tls, self.local)) else {
            return Ok(Err(Unknown::Missing));
        };
        let found = open(rules, By::Cookie, id);
        if found.is_ok() {
            check_origin(self.method, self.path, headers, &own_origins(rules, self.is_tls, headers))?;
        }
        Ok(found)
    }
}

/// Lets a request pass whose sender may do what it asks for, and says to the handler who that is.
///
/// # Errors
/// 401 without a good token or session, 403 where its role is another or another site has sent it, 404 where
/// nobody logs in.
pub(super) async fn guard(
    State(desk): State<Arc<Desk>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    // Without it nothing is served at the path, which is what the answer says.
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let Some(path) = path else { return Ok(next.run(request).await) };
    let need = need(request.method(), &path);
    let rules = desk.control.login();
    let principal = match request.extensions().get::<Caller>() {
        Some(Caller::Local(name)) => Ok(Principal::local(name.clone())),
        Some(Caller::Network { local, is_tls, .. }) => {
            // Nobody is asked for a token where others could read it; on loopback people log in.
            let has_tokens = *is_tls && !desk.control.credentials().is_empty();
            if rules.is_none() && !has_tokens && need != Need::Nothing {
                return Err(Problem::not_found());
            }
            let (rules, method) = (rules.as_deref(), request.method());
            let entry = Entry { desk: &desk, rules, is_tls: *is_tls, local: *local, method, path: &path };
            match entry.authenticate(request.headers()) {
                Err(_) if need == Need::Nothing => Err(Unknown::Missing),
                found => found?,
            }
        }
        None if need != Need::Nothing => return Err(Problem::not_found()),
        None => Err(Unknown::Missing),
    };
    match principal {
        Ok(principal) if principal.may(need) => {
            request.extensions_mut().insert(principal);
        }
        Ok(_) => {
            let message = format!("this caller may not do that: it takes the role {}", need.role());
            return Err(Problem::new(StatusCode::FORBIDDEN, "role_required", message));
        }
        Err(_) if matches!(need, Need::Nothing | Need::Page) => {}
        Err(unknown) => return Err(unknown.problem(rules.is_some())),
    }
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(name: &str, role: Role, token: &str, expires: Option<u64>) -> Credential {
        Credential {
            name: name.into(),
            role,
            owner: None,
            digest: Credential::digest_of(token),
            expires: expires.map(Timestamp),
        }
    }

    #[test]
    fn a_token_is_known_by_its_digest_until_it_ends() {
        let known = [
            credential("a", Role::Auditor, "token-a", None),
            credential("b", Role::Viewer, "token-b", Some(10)),
        ];
        let cases: [(&[&str], u64, Result<&str, Unknown>); 11] = [
            (&[], 0, Err(Unknown::Missing)),
            (&["Bearer token-a"], 99, Ok("token:a")),
            (&["bEARER token-a"], 99, Ok("token:a")),
            (&["Bearer token-b"], 9, Ok("token:b")),
            (&["Bearer token-b"], 10, Err(Unknown::Expired)),
            (&["Bearer token-c"], 0, Err(Unknown::Invalid)),
            (&["Bearer "], 0, Err(Unknown::Malformed)),
            (&["Basic token-a"], 0, Err(Unknown::Malformed)),
            (&["token-a"], 0, Err(Unknown::Malformed)),
            (&["Bearer token-a", "Bearer token-a"], 0, Err(Unknown::Malformed)),
            (&["Bearer tökën"], 0, Err(Unknown::Malformed)),
        ];
        for (fields, now, expected) in cases {
            let mut headers = HeaderMap::new();
            for field in fields {
                let field = axum::http::HeaderValue::from_bytes(field.as_bytes()).unwrap();
                headers.append(header::AUTHORIZATION, field);
            }
            let found = bearer(&headers).and_then(|token| {
                token.map_or(Err(Unknown::Missing), |token| known_bearer(token, &known, Timestamp(now)))
            });
            assert_eq!(found.as_ref().map(Principal::name), expected.as_ref().copied(), "{fields:?}");
        }
    }

    #[test]
    fn a_route_that_nobody_listed_is_for_operators() {
        let cases = [
            (Method::GET, "/livez", Need::Nothing),
            (Method::POST, "/livez", Need::Nothing),
            (Method::HEAD, "/api/v1/status", Need::View),
            (Method::GET, "/api/v1/audit/segments/{number}", Need::Audit),
            (Method::POST, "/api/v1/audit/head", Need::Operate),
            (Method::POST, "/api/v1/drain", Need::Operate),
            (Method::GET, "/api/v1/policies.d/{name}", Need::View),
            (Method::PUT, "/api/v1/policies.d/{name}", Need::Operate),
            (Method::DELETE, "/api/v1/connections.d/{name}", Need::Operate),
            (Method::POST, "/api/v1/connections", Need::Operate),
            (Method::POST, "/api/v1/policies:replay", Need::Operate),
            (Method::GET, "/api/v1/sessions/{id}", Need::Audit),
            (Method::POST, "/auth/logout", Need::Known),
            (Method::GET, "/something/new", Need::Operate),
        ];
        for (method, path, expected) in cases {
            assert_eq!(need(&method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn a_role_grants_its_own_and_nothing_more() {
        let needs = [Need::Nothing, Need::View, Need::Audit, Need::Approve, Need::Operate];
        for (role, granted) in [
            (Role::Viewer, [true, true, false, false, false]),
            (Role::Auditor, [true, false, true, false, false]),
            (Role::Approver, [true, false, false, true, false]),
            (Role::Admin, [true, true, true, true, true]),
        ] {
            assert_eq!(needs.map(|need| role.grants(need)), granted, "{role:?}");
        }
    }
}

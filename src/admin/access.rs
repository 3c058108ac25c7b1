//! Who may do what on the operators' side: credentials, roles, and the role that each route needs.
//!
//! All doors ask here, and nowhere else. Whoever came over the unix socket may do everything: the kernel says
//! who it is. Over TCP it takes a token, and TLS, so that nobody reads the token on its way. Without a
//! configured token the port has no login: then it serves what needs none, and nothing else is there.

use super::{door::Caller, problem::Problem, routes::Desk};
use crate::{approval::Approver, time::Timestamp};
use aws_lc_rs::digest::{SHA256, digest};
use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::Next,
    response::Response,
};
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// What somebody is here to do. A role grants what is listed in [`Role::grants`], and nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Sees how the gateway is.
    Viewer,
    /// Reads the audit log.
    Auditor,
    /// Decides about requests that wait.
    Approver,
    /// Does everything: an operator of this host.
    Admin,
}

/// What a route needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Nobody has to be known.
    Nothing,
    View,
    Audit,
    Approve,
    Operate,
}

impl Role {
    fn grants(self, need: Need) -> bool {
        match need {
            Need::Nothing => true,
            Need::View => matches!(self, Role::Viewer | Role::Admin),
            Need::Audit => matches!(self, Role::Auditor | Role::Admin),
            Need::Approve => matches!(self, Role::Approver | Role::Admin),
            Need::Operate => self == Role::Admin,
        }
    }
}

impl Need {
    /// The role that people ask for to get it.
    fn role(self) -> &'static str {
        match self {
            Need::Nothing | Need::View => "viewer",
            Need::Audit => "auditor",
            Need::Approve => "approver",
            Need::Operate => "admin (over the socket)",
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
}

/// Who asks.
#[derive(Clone, Debug)]
pub(super) struct Principal {
    /// `local:UID` or `token:NAME`.
    name: Arc<str>,
    role: Role,
    owner: Option<Arc<str>>,
}

impl Principal {
    /// Under which name it is recorded.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// As approvals know them.
    pub(super) fn approver(&self) -> Approver {
        let uid = self.name.strip_prefix("local:").and_then(|uid| uid.parse().ok());
        Approver { name: self.name.clone(), uid, owner: self.owner.clone() }
    }

    /// Whether details of the gateway's state are for them.
    pub(super) fn may_view(&self) -> bool {
        self.role.grants(Need::View)
    }
}

/// What each route needs, by method and path. A route that is not here needs [`Need::Operate`].
const NEEDS: &[(&str, &str, Need)] = &[
    ("GET", "/livez", Need::Nothing),
    ("GET", "/readyz", Need::Nothing),
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
    ("GET", "/api/v1/requests/{id}/explain", Need::Audit),
    ("GET", "/api/v1/audit/head", Need::Audit),
    ("GET", "/api/v1/audit/keys", Need::Audit),
    ("GET", "/api/v1/audit/prove", Need::Audit),
    ("GET", "/api/v1/audit/consistency", Need::Audit),
    ("GET", "/api/v1/audit/segments", Need::Audit),
    ("GET", "/api/v1/audit/segments/{number}", Need::Audit),
    ("GET", "/api/v1/approvals", Need::Approve),
    ("GET", "/api/v1/approvals/{id}", Need::Approve),
    ("POST", "/api/v1/approvals/{id}/decision", Need::Approve),
    ("GET", "/api/v1/grants", Need::Approve),
    ("DELETE", "/api/v1/grants/{id}", Need::Approve),
    ("GET", "/api/v1/events", Need::Approve),
];

fn need(method: &Method, path: &str) -> Need {
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

/// Why a token opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unknown {
    Missing,
    Malformed,
    Invalid,
    Expired,
}

impl From<Unknown> for Problem {
    fn from(unknown: Unknown) -> Problem {
        let (code, message) = match unknown {
            Unknown::Missing => ("token_missing", "log in with a token: authorization: Bearer …"),
            Unknown::Malformed => ("token_invalid", "want one header: authorization: Bearer …"),
            Unknown::Invalid => ("token_invalid", "this token opens nothing here"),
            Unknown::Expired => ("token_expired", "this token has ended: ask for a new one"),
        };
        // No `error` where no token came (RFC 6750 section 3.1).
        let challenge = match unknown {
            Unknown::Missing => "Bearer realm=\"ringward-admin\"",
            _ => "Bearer realm=\"ringward-admin\", error=\"invalid_token\"",
        };
        Problem::new(StatusCode::UNAUTHORIZED, code, message).challenging(challenge)
    }
}

/// Who has sent the token in these fields.
fn authenticate(headers: &HeaderMap, known: &[Credential], now: Timestamp) -> Result<Principal, Unknown> {
    let mut fields = headers.get_all(header::AUTHORIZATION).iter();
    let field = match (fields.next(), fields.next()) {
        (None, _) => return Err(Unknown::Missing),
        (Some(field), None) => field.to_str().map_err(|_| Unknown::Malformed)?,
        (Some(_), Some(_)) => return Err(Unknown::Malformed),
    };
    let (scheme, token) = field.split_once(' ').ok_or(Unknown::Malformed)?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(Unknown::Malformed);
    }
    let digest = Credential::digest_of(token.trim());
    // All are looked at: how long this takes says nothing about any of them (SECURITY R45).
    let mut found = None;
    for credential in known {
        if bool::from(credential.digest.ct_eq(&digest)) {
            found = Some(credential);
        }
    }
    let Credential { name, role, owner, expires, .. } = found.ok_or(Unknown::Invalid)?;
    if expires.is_some_and(|expires| expires <= now) {
        return Err(Unknown::Expired);
    }
    Ok(Principal { name: format!("token:{name}").into(), role: *role, owner: owner.clone() })
}

/// Lets a request pass whose sender may do what it asks for, and says to the handler who that is.
///
/// # Errors
/// 401 without a good token, 403 where its role is another, 404 where there is no login.
pub(super) async fn guard(
    State(desk): State<Arc<Desk>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    // Without it nothing is served at the path, which is what the answer says.
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let Some(path) = path else { return Ok(next.run(request).await) };
    let need = need(request.method(), &path);
    let principal = match request.extensions().get::<Caller>() {
        Some(Caller::Local(name)) => Ok(Principal { name: name.clone(), role: Role::Admin, owner: None }),
        Some(Caller::Network { is_tls: true, .. }) => {
            let known = desk.control.credentials();
            if known.is_empty() && need != Need::Nothing {
                return Err(Problem::not_found());
            }
            authenticate(request.headers(), &known, desk.control.now())
        }
        // Nobody is asked for a token where others could read it.
        _ if need != Need::Nothing => return Err(Problem::not_found()),
        _ => Err(Unknown::Missing),
    };
    match principal {
        Ok(principal) if principal.role.grants(need) => {
            request.extensions_mut().insert(principal);
        }
        Ok(_) => {
            let message = format!("this credential may not do that: it takes the role {}", need.role());
            return Err(Problem::new(StatusCode::FORBIDDEN, "role_required", message));
        }
        Err(_) if need == Need::Nothing => {}
        Err(unknown) => return Err(unknown.into()),
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
            let found = authenticate(&headers, &known, Timestamp(now));
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
            (Method::GET, "/api/v1/sessions", Need::Operate),
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

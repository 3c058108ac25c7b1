//! What browsers send along: cookies, and where a request comes from.

use crate::{admin::problem::Problem, limits::LOGIN_PATH_BYTES_MAX};
use axum::http::{HeaderMap, Method, StatusCode, header};
use std::net::SocketAddr;

/// Streams of events.
pub(in crate::admin) const STREAMS: [&str; 2] = ["/api/v1/events", "/api/v1/sessions/{id}/events"];

/// Name of the session's cookie at an address of ours. Cookies know no ports: on loopback, where there may be
/// several gateways, the name does.
pub(in crate::admin) fn session_cookie(is_tls: bool, local: SocketAddr) -> String {
    if is_tls {
        "__Host-ringward-session".to_owned()
    } else {
        format!("__Host-ringward-session-{}", local.port())
    }
}

/// Name of the cookie that binds a login to the browser that began it: several may be under way in one.
pub(super) fn login_cookie(state: &str) -> String {
    format!("__Host-ringward-login-{}", state.get(..12).unwrap_or(""))
}

/// A cookie that only comes back to this host, over TLS or on loopback, and that no script sees.
pub(super) fn set_cookie(name: &str, value: &str, same_site: &str, seconds: Option<u64>) -> String {
    let age = seconds.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
    format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite={same_site}{age}")
}

/// The value of a cookie (RFC 6265 section 5.4). One that came twice is none: somebody has put theirs beside
/// ours.
pub(in crate::admin) fn cookie_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let fields = headers.get_all(header::COOKIE).iter().filter_map(|field| field.to_str().ok());
    let pairs = fields.flat_map(|field| field.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut values = pairs.filter(|(own, _)| *own == name).map(|(_, value)| value);
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

/// Whether a path may be gone to after a login: one of ours, and nothing that a browser would take for
/// another host.
pub(super) fn is_own_path(path: &str) -> bool {
    let visible = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let inside = path.starts_with('/') && !path.starts_with("//");
    inside && visible && path.len() <= LOGIN_PATH_BYTES_MAX
}

/// Lets a request with a cookie pass that comes from a page of ours: whatever changes something, and whatever
/// goes on for long, has to say so (`Sec-Fetch-Site` or `Origin`), and nothing of the API is for other sites.
///
/// # Errors
/// 403: another site has sent the browser here.
pub(in crate::admin) fn check_origin(
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    own: &[String],
) -> Result<(), Problem> {
    let needs_proof = !matches!(*method, Method::GET | Method::HEAD) || STREAMS.contains(&path);
    let site = headers.get("sec-fetch-site").map(|value| value.as_bytes());
    let origin = headers.get(header::ORIGIN).map(|value| value.as_bytes());
    let is_own_site = match site {
        Some(b"same-origin") => true,
        // Typed in, or opened from a bookmark: no page has done that.
        Some(b"none") => !needs_proof,
        Some(_) => !path.starts_with("/api/") && !needs_proof,
        None => true,
    };
    let is_own_origin = origin.is_none_or(|origin| own.iter().any(|one| one.as_bytes() == origin));
    let is_proven = site.is_some() || origin.is_some() || !needs_proof;
    if is_own_site && is_own_origin && is_proven {
        return Ok(());
    }
    let message = "this comes from another site, or does not say where it comes from";
    Err(Problem::new(StatusCode::FORBIDDEN, "cross_origin", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Fields<'a> = &'a [(&'static str, &'a str)];

    fn headers(fields: Fields<'_>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name_and_only_once() {
        let cases: [(Fields<'_>, Option<&str>); 6] = [
            (&[("cookie", "a=1; session=x; b=2")], Some("x")),
            (&[("cookie", "a=1"), ("cookie", "session=x=y")], Some("x=y")),
            (&[("cookie", "xsession=x; session-2=y")], None),
            (&[("cookie", "session=x; session=y")], None),
            (&[("cookie", "session")], None),
            (&[], None),
        ];
        for (fields, expected) in cases {
            assert_eq!(cookie_of(&headers(fields), "session"), expected, "{fields:?}");
        }
    }

    #[test]
    fn only_paths_of_ours_are_gone_to() {
        for path in ["/", "/approvals?state=pending#top", "/a//b", "/auth/cli?x=https://evil.example"] {
            assert!(is_own_path(path), "{path}");
        }
        let long = format!("/{}", "x".repeat(LOGIN_PATH_BYTES_MAX));
        for path in [
            "",
            "//evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "https://evil.example",
            "evil",
            "/a b",
            "/\t/evil",
            "/é",
            "/a\r\nset-cookie: x=y",
            &long,
        ] {
            assert!(!is_own_path(path), "{path:?}");
        }
    }

    #[test]
    fn other_sites_change_nothing_and_read_nothing() {
        let own = ["https://gw.example.com".to_owned()];
        let (get, post) = (Method::GET, Method::POST);
        let (same, other) = ("https://gw.example.com", "https://evil.example");
        type Case<'a> = (&'a Method, &'a str, Fields<'a>, bool);
        let cases: [Case<'_>; 19] = [
            (&post, "/api/v1/drain", &[("sec-fetch-site", "same-origin"), ("origin", same)], true),
            (&post, "/api/v1/drain", &[("origin", same)], true),
            (&post, "/api/v1/drain", &[("sec-fetch-site", "same-origin")], true),
            (&post, "/api/v1/drain", &[], false),
            (&post, "/api/v1/drain", &[("origin", other)], false),
            (&post, "/api/v1/drain", &[("origin", "null")], false),
            (&post, "/api/v1/drain", &[("sec-fetch-site", "same-origin"), ("origin", other)], false),
            (&post, "/api/v1/drain", &[("sec-fetch-site", "cross-site"), ("origin", same)], false),
            (&post, "/api/v1/drain", &[("sec-fetch-site", "same-site")], false),
            (&post, "/api/v1/drain", &[("sec-fetch-site", "none")], false),
            (&Method::DELETE, "/api/v1/grants/{id}", &[("sec-fetch-site", "cross-site")], false),
            (&get, "/api/v1/events", &[("sec-fetch-site", "same-origin")], true),
            (&get, "/api/v1/events", &[("sec-fetch-site", "same-site")], false),
            (&get, "/api/v1/events", &[], false),
            (&get, "/api/v1/status", &[], true),
            (&get, "/api/v1/status", &[("sec-fetch-site", "none")], true),
            (&get, "/api/v1/status", &[("sec-fetch-site", "cross-site")], false),
            (&get, "/", &[("sec-fetch-site", "cross-site")], true),
            (&get, "/api/v1/status", &[("origin", other)], false),
        ];
        for (method, path, fields, expected) in cases {
            let found = check_origin(method, path, &headers(fields), &own).is_ok();
            assert_eq!(found, expected, "{method} {path} {fields:?}");
        }
    }
}

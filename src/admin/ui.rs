//! The web interface: the files of `ui/dist`, built into the program.
//!
//! They are the same for everybody and hold nothing of this gateway, so that nobody has to be known; where no
//! login exists the port has no page either. What runs in the page is bound to this origin, and to scripts
//! and styles that come from here as files: nothing inline, nothing made from text (Trusted Types).

use super::{problem::Problem, routes::Desk};
use axum::{
    Router,
    extract::Path,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use std::sync::Arc;

/// Name, entity tag, bytes.
type File = (&'static str, &'static str, &'static [u8]);

/// What `npm run build` in `ui` has written; `tests/run` holds it to the sources.
const FILES: &[File] = include!("../../ui/dist/files.rs");
/// The page that all others are parts of.
const PAGE: &str = "index.html";
/// Files below it have their digest in their names and never change.
const ASSETS: &str = "assets/";

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'";

/// Where it is served, as `access` knows it.
pub(super) const PLACES: [&str; 4] = ["/", "/ui", "/ui/", "/ui/{*path}"];

/// What is served here.
pub(super) fn routes() -> Router<Arc<Desk>> {
    Router::new()
        .route(PLACES[0], get(async || Redirect::to("/ui/")))
        .route(PLACES[1], get(async || Redirect::to("/ui/")))
        .route(PLACES[2], get(async |headers: HeaderMap| file(PAGE, &headers)))
        .route(PLACES[3], get(async |Path(path): Path<String>, headers: HeaderMap| file(&path, &headers)))
}

/// The file at `path`; places within the page are the page itself.
fn file(path: &str, headers: &HeaderMap) -> Result<Response, Problem> {
    let is_asset = path.starts_with(ASSETS);
    let wanted = if is_asset { path } else { PAGE };
    let (name, tag, bytes) =
        FILES.iter().find(|(name, ..)| *name == wanted).ok_or_else(Problem::not_found)?;
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let is_known = known.flat_map(|list| list.split(',')).any(|one| {
        let one = one.trim();
        one == "*" || one.strip_prefix("W/").unwrap_or(one) == *tag
    });
    let mut response =
        if is_known { StatusCode::NOT_MODIFIED.into_response() } else { bytes.into_response() };
    let fields = response.headers_mut();
    let caching = if is_asset { "public, max-age=31536000, immutable" } else { "no-cache" };
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind(name)));
    fields.insert(header::ETAG, HeaderValue::from_static(tag));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    fields.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    Ok(response)
}

fn kind(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, suffix)| suffix) {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str, tag: Option<&str>) -> Response {
        let mut headers = HeaderMap::new();
        tag.map(|tag| headers.insert(header::IF_NONE_MATCH, tag.parse().unwrap()));
        file(path, &headers).into_response()
    }

    fn field(response: &Response, name: header::HeaderName) -> String {
        response.headers()[name].to_str().unwrap().to_owned()
    }

    #[test]
    fn places_within_the_page_are_the_page() {
        for path in ["", "approvals/apr_1", "sessions/../../etc/passwd", "index.html"] {
            let response = get(path, None);
            assert_eq!(response.status(), 200, "{path}");
            assert_eq!(field(&response, header::CONTENT_TYPE), "text/html; charset=utf-8", "{path}");
            assert_eq!(field(&response, header::CACHE_CONTROL), "no-cache", "{path}");
        }
        for path in ["assets/", "assets/none.js", "assets/../index.html", "assets/../../Cargo.toml"] {
            assert_eq!(get(path, None).status(), 404, "{path}");
        }
    }

    #[test]
    fn what_the_page_names_is_there_and_never_changes() {
        let page = FILES.iter().find(|(name, ..)| *name == PAGE).expect("the page is built in").2;
        let page = std::str::from_utf8(page).unwrap();
        let named: Vec<_> = page.split('"').filter_map(|part| part.strip_prefix("/ui/")).collect();
        assert!(named.len() >= 3, "{page}");
        for path in named {
            let response = get(path, None);
            assert_eq!(response.status(), 200, "{path}");
            assert!(field(&response, header::CACHE_CONTROL).contains("immutable"), "{path}");
            assert_ne!(field(&response, header::CONTENT_TYPE), "application/octet-stream", "{path}");
        }
        assert!(!page.contains("<style") && !page.contains("javascript:") && !page.contains(" on"), "{page}");
        assert!(page.split("<script").skip(1).all(|script| script.contains("src=\"/ui/")), "{page}");
    }

    #[test]
    fn a_file_that_the_browser_has_is_not_sent_again() {
        for (name, tag, _) in FILES {
            let others = [format!("\"0\", {tag}"), format!("W/{tag}"), "*".to_owned()];
            for known in others.iter().map(String::as_str).chain([*tag]) {
                let response = get(name, Some(known));
                assert_eq!(response.status(), 304, "{name} {known}");
                assert_eq!(field(&response, header::ETAG), *tag);
            }
            assert_eq!(get(name, Some("\"0\"")).status(), 200, "{name}");
        }
    }

    #[test]
    fn nothing_in_the_page_may_come_from_elsewhere_or_be_inline() {
        let policy = field(&get("", None), header::CONTENT_SECURITY_POLICY);
        for part in ["default-src 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"] {
            assert!(policy.contains(part), "{policy}");
        }
        for part in ["unsafe", "http", "data:", "blob:", "*"] {
            assert!(!policy.contains(part), "{policy}");
        }
    }
}

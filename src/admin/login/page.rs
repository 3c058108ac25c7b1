//! Pages that a login shows: text, no script, nothing from elsewhere.

use aws_lc_rs::digest::{SHA256, digest};
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};

/// All of the looks.
const STYLE: &str = include_str!("page.css");

/// A page to be shown.
#[derive(Debug)]
pub(super) struct Page {
    pub status: StatusCode,
    pub title: &'static str,
    /// HTML: whatever is not ours goes through [`escaped`] first.
    pub body: String,
    /// Where it goes on by itself.
    pub then: Option<String>,
}

impl Page {
    /// A page that says why it did not work, with a way to begin again.
    pub(super) fn failed(status: StatusCode, title: &'static str, why: &str) -> Page {
        let body = format!("<p>{}</p><p><a href=\"/auth/login\">Log in again</a></p>", escaped(why));
        Page { status, title, body, then: None }
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let Page { status, title, body, then } = self;
        let refresh =
            then.map(|then| format!("<meta http-equiv=\"refresh\" content=\"0; url={}\">", escaped(&then)));
        let html = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\">{}<title>{title} – ringward</title>\
             <style>{STYLE}</style></head>\n<body><h1>{title}</h1>{body}</body></html>\n",
            refresh.unwrap_or_default(),
        );
        let style = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'; frame-ancestors 'none'; \
             base-uri 'none'"
        );
        let mut response = (status, html).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        // With `no-referrer` a browser would send the form of a page with `Origin: null` (Fetch standard,
        // section 3.2).
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        // Base64 and text of ours: always a header's value.
        if let Ok(policy) = HeaderValue::try_from(policy) {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        response
    }
}

/// Text that stays text in HTML, also within quotes.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // What would turn the direction of text around is shown and not obeyed.
            control
                if control.is_control()
                    || ('\u{202a}'..='\u{202e}').contains(&control)
                    || ('\u{2066}'..='\u{2069}').contains(&control) =>
            {
                escaped.push('\u{fffd}')
            }
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_of_ours_says_that_it_comes_from_here() {
        let page = Page { status: StatusCode::OK, title: "x", body: String::new(), then: None };
        let headers = page.into_response().headers().clone();
        assert_eq!(headers[header::REFERRER_POLICY], "same-origin", "else it comes with `Origin: null`");
        assert!(headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap().contains("form-action 'self'"));
    }

    #[test]
    fn what_is_not_ours_stays_text() {
        assert_eq!(escaped("<b a=\"'&\u{202e}\n"), "&lt;b a=&quot;&#39;&amp;\u{fffd}\u{fffd}");
        assert_eq!(escaped("Zoë (sre)"), "Zoë (sre)");
    }
}

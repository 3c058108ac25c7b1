use super::head::{Fields, Role, line, version};
use crate::buffer::Chunk;
use crate::http::syntax::is_token;
use crate::http::target::{authority, canonicalise};
use crate::http::{Framing, Method, Rejection, RequestHead, Version};
use crate::limits::{HEAD_BYTES_MAX, REQUEST_LINE_BYTES_MAX};
use memchr::{memchr, memchr3, memmem, memrchr};

/// Parses a request's head with its blank line, as [`super::find_head_end`] delimited it.
///
/// Nothing is copied but method, path, query and authority; the header fields share the memory of `head`.
///
/// # Errors
/// The caller's fault. Whatever RFC 9112 calls invalid and whatever two recipients could read differently.
pub fn parse_request(head: Chunk) -> Result<RequestHead, Rejection> {
    let (start_line, fields_start) = line(&head, 0)?;
    if start_line.len() > REQUEST_LINE_BYTES_MAX {
        return Err(Rejection::StartLineTooLong);
    }
    if head.len() > HEAD_BYTES_MAX {
        return Err(Rejection::HeadTooLong);
    }
    let (method, target, version) = request_line(&head[start_line])?;
    let fields = Fields::parse(&head, fields_start, Role::Request)?;
    let target = Target::parse(&method, target)?;
    let host = match &fields.host {
        Some(range) => Some(authority(&head[range.clone()])?),
        None => None,
    };
    let framing = framing(&fields, version)?;
    Ok(RequestHead {
        method,
        authority: one_authority(version, host, target.authority)?,
        path: target.path,
        query: target.query,
        version,
        headers: fields.headers,
        framing,
        // A proxy must not keep a connection to an HTTP/1.0 client (RFC 9112 section 9.3).
        keep_alive: version == Version::Http11 && !fields.close,
        // HTTP/1.0 knows no expectation; it is ignored there (RFC 9110 section 10.1.1).
        expect_continue: fields.expect_continue
            && version == Version::Http11
            && !matches!(framing, Framing::None | Framing::Length(0)),
    })
}

/// `method SP request-target SP HTTP-version` (RFC 9112 section 3), with exactly these two spaces.
fn request_line(line: &[u8]) -> Result<(Method, &[u8], Version), Rejection> {
    let first = memchr(b' ', line).ok_or(Rejection::StartLineInvalid)?;
    let last = memrchr(b' ', line).ok_or(Rejection::StartLineInvalid)?;
    if last <= first + 1 {
        return Err(Rejection::StartLineInvalid);
    }
    Ok((method(&line[..first])?, &line[first + 1..last], version(&line[last + 1..])?))
}

/// A token that is not a known method in the wrong case: `delete` would pass a rule on `DELETE`, but some
/// servers take it for the same (methods are case-sensitive: RFC 9110 section 9.1).
fn method(token: &[u8]) -> Result<Method, Rejection> {
    if !is_token(token) {
        return Err(Rejection::MethodInvalid);
    }
    // A token is ASCII.
    let token = std::str::from_utf8(token).map_err(|_| Rejection::MethodInvalid)?;
    let method = Method::from_token(token);
    match &method {
        Method::Connect => Err(Rejection::ConnectUnsupported),
        Method::Other(token) => match Method::from_token(&token.to_ascii_uppercase()) {
            Method::Other(_) => Ok(method),
            _ => Err(Rejection::MethodInvalid),
        },
        _ => Ok(method),
    }
}

struct Target {
    path: String,
    query: Option<String>,
    /// Of an absolute-form target.
    authority: Option<String>,
}

impl Target {
    /// One of the four forms of RFC 9112 section 3.2; the authority-form belongs to CONNECT alone.
    fn parse(method: &Method, raw: &[u8]) -> Result<Target, Rejection> {
        match raw {
            [b'/', ..] => {
                let (path, query) = canonicalise(raw)?;
                Ok(Target { path, query, authority: None })
            }
            b"*" if *method == Method::Options => {
                Ok(Target { path: "*".to_owned(), query: None, authority: None })
            }
            _ => Target::parse_absolute(method, raw),
        }
    }

    fn parse_absolute(method: &Method, raw: &[u8]) -> Result<Target, Rejection> {
        let scheme = memmem::find(raw, b"://").ok_or(Rejection::TargetFormInvalid)?;
        let known =
            raw[..scheme].eq_ignore_ascii_case(b"http") || raw[..scheme].eq_ignore_ascii_case(b"https");
        if !known {
            return Err(Rejection::TargetFormInvalid);
        }
        let rest = &raw[scheme + 3..];
        let end = memchr3(b'/', b'?', b'#', rest).unwrap_or(rest.len());
        let authority = Some(authority(&rest[..end])?);
        let (path, query) = match &rest[end..] {
            // RFC 9112 section 3.2.4: OPTIONS without a path asks about the server.
            [] if *method == Method::Options => ("*".to_owned(), None),
            [] => ("/".to_owned(), None),
            path @ [b'/', ..] => canonicalise(path)?,
            behind => canonicalise(&[b"/", behind].concat())?,
        };
        Ok(Target { path, query, authority })
    }
}

/// The one authority of the request: HTTP/1.1 requires exactly one Host (RFC 9112 section 3.2), and an
/// absolute-form target must say the same.
fn one_authority(
    version: Version,
    host: Option<String>,
    absolute: Option<String>,
) -> Result<String, Rejection> {
    match (host, absolute) {
        (None, _) if version == Version::Http11 => Err(Rejection::HostMissing),
        (Some(host), Some(absolute)) if host != absolute => Err(Rejection::HostMismatch),
        (Some(authority), _) | (None, Some(authority)) => Ok(authority),
        (None, None) => Ok(String::new()),
    }
}

/// RFC 9112 section 6.3, cases 4 to 7.
fn framing(fields: &Fields, version: Version) -> Result<Framing, Rejection> {
    match (fields.chunked, fields.content_length) {
        (true, _) if version == Version::Http10 => Err(Rejection::TransferEncodingVersion),
        (true, _) => Ok(Framing::Chunked),
        (false, Some(length)) => Ok(Framing::Length(length)),
        (false, None) => Ok(Framing::None),
    }
}

use super::Headers;
use std::fmt;

/// Request method (RFC 9110 section 9). Names are case-sensitive; an unknown token is kept as it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
    Connect,
    Trace,
    Other(Box<str>),
}

impl Method {
    /// The method of a token. The parser has checked that it is one.
    pub fn from_token(token: &str) -> Method {
        Method::known(token.as_bytes()).unwrap_or_else(|| Method::Other(token.into()))
    }

    /// The method of a token that is one of the standard's.
    pub(super) fn known(token: &[u8]) -> Option<Method> {
        Some(match token {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"POST" => Method::Post,
            b"PUT" => Method::Put,
            b"PATCH" => Method::Patch,
            b"DELETE" => Method::Delete,
            b"OPTIONS" => Method::Options,
            b"CONNECT" => Method::Connect,
            b"TRACE" => Method::Trace,
            _ => return None,
        })
    }

    /// The token on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
            Method::Options => "OPTIONS",
            Method::Connect => "CONNECT",
            Method::Trace => "TRACE",
            Method::Other(token) => token,
        }
    }

    /// Whether a repetition has the effect of one request (RFC 9110 section 9.2.2).
    pub fn is_idempotent(&self) -> bool {
        !matches!(self, Method::Post | Method::Patch | Method::Connect | Method::Other(_))
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Protocol version of a received message. Others are refused by the parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    Http10,
    Http11,
}

/// How long a body is (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body at all.
    None,
    /// Exactly this many bytes; zero is possible.
    Length(u64),
    /// Chunked transfer coding.
    Chunked,
    /// Until the connection closes; responses only.
    Close,
}

/// A request without its body.
#[derive(Clone, Debug)]
pub struct RequestHead {
    pub method: Method,
    /// Canonical path, always beginning with `/`, or `*` for OPTIONS. Policy sees it, upstream gets it.
    pub path: String,
    /// Query without the `?`; `None` when there is no `?`.
    pub query: Option<String>,
    /// Host and optional port as the caller named them, lower case; empty on HTTP/1.0 without Host.
    pub authority: String,
    pub version: Version,
    /// Without Host, Content-Length and Transfer-Encoding: `authority` and `framing` hold them.
    pub headers: Headers,
    pub framing: Framing,
    /// Whether the caller allows another request on this connection.
    pub keep_alive: bool,
    /// Whether the caller waits for `100 Continue` before it sends the body.
    pub expect_continue: bool,
}

/// A response without its body.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// 100 to 999.
    pub status: u16,
    pub version: Version,
    /// Without Content-Length and Transfer-Encoding: `framing` holds them.
    pub headers: Headers,
    pub framing: Framing,
    /// Content-Length of a response that has no body by its status or its request's method (HEAD, 304): it is
    /// forwarded, but nothing of that length follows (RFC 9110 section 8.6). `None` elsewhere.
    pub declared_length: Option<u64>,
    /// Whether the connection may be used for another exchange.
    pub keep_alive: bool,
}

impl RequestHead {
    /// Path and query as they go on the request line.
    pub fn target(&self) -> String {
        match &self.query {
            Some(query) => [&self.path, "?", query].concat(),
            None => self.path.clone(),
        }
    }
}

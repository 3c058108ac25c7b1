use super::head::{Fields, Role, version};
use super::lines::first_line;
use crate::buffer::Chunk;
use crate::http::syntax::is_token;
use crate::http::target::{authority, canonicalise};
use crate::http::{Framing, Headers, Method, Rejection, RequestHead, Version};
use crate::limits::{HEAD_BYTES_MAX, REQUEST_LINE_BYTES_MAX};
use memchr::{memchr3, memmem};

/// Parses a request's head with its blank line, as [`super::find_head_end`] delimited it.
///
/// Nothing is copied but method, path, query and authority; the header fields share the memory of `head`.
///
/// # Errors
/// The caller's fault. Whatever RFC 9112 calls invalid and whatever two recipients could read differently.
pub fn parse_request(head: Chunk) -> Result<RequestHead, Rejection> {
    let start_line = first_line(&head)?;
    let fields_start = start_line.end + 2;
    if start_line.len() > REQUEST_LINE_BYTES_MAX {
        return Err(Rejection::StartLineTooLong);
    }
    if head.len() > HEAD_BYTES_MAX {
        return Err(Rejection::HeadTooLong);
    }
    let (method, target, version) = request_line(&head[start_line])?;
    let mut headers = Headers::new();
    let fields = Fields::parse(&head, fields_start, Role::Request, &mut headers)?;
    let target = Target::parse(&method, target)?;
    let host = match &fields.host {
        Some(range) => Some(authority(&head[range.clone()])?),
        None => None,
    };
    let framing = framing(&fields, version)?;
    headers.lie_in(head);
    Ok(RequestHead {
        method,
        authority: one_authority(version, host, target.authority)?,
        path: target.path,
        query: target.query,
        version,
        framing,
        // A proxy must not keep a connection to an HTTP/1.0 client (RFC 9112 section 9.3).
        keep_alive: version == Version::Http11 && !fields.close,
        // HTTP/1.0 knows no expectation; it is ignored there (RFC 9110 section 10.1.1).
        expect_continue: fields.expect_continue
            && version == Version::Http11
            && !matches!(framing, Framing::None | Framing::Length(0)),
        headers,
    })
}

/// `method SP request-target SP HTTP-version` (RFC 9112 section 3), with exactly these two spaces.
fn request_line(line: &[u8]) -> Result<(Method, &[u8], Version), Rejection> {
    // Both are near the ends of the line.
    let is_space = |byte: &u8| *byte == b' ';
    let first = line.iter().position(is_space).ok_or(Rejection::StartLineInvalid)?;
    let last = line.iter().rposition(is_space).ok_or(Rejection::StartLineInvalid)?;
    if last <= first + 1 {
        return Err(Rejection::StartLineInvalid);
    }
    Ok((method(&line[..first])?, &line[first + 1..last], version(&line[last + 1..])?))
}

/// A token that is not a known method in the wrong case: `delete` would pass a rule on `DELETE`, but some
/// servers take it for the same (methods are case-sensitive: RFC 9110 section 9.1).
fn method(token: &[u8]) -> Result<Method, Rejection> {
    if let Some(method) = Method::known(token) {
        return if method == Method::Connect { Err(Rejection::ConnectUnsupported) } else { Ok(method) };
    }
    if !is_token(token) || Method::known(&token.to_ascii_uppercase()).is_some() {
        return Err(Rejection::MethodInvalid);
    }
    // A token is ASCII.
    let token = std::str::from_utf8(token).map_err(|_| Rejection::MethodInvalid)?;
    Ok(Method::Other(token.into()))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::h1::{encode_request, find_head_end};
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<RequestHead, Rejection> {
        parse_request(Chunk::from(text.as_bytes().to_vec()))
    }

    /// Parses a GET of `/` with these field lines and a Host.
    fn with(fields: &str) -> Result<RequestHead, Rejection> {
        parse(&format!("POST / HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n\r\n"))
    }

    #[test]
    fn a_request_becomes_its_parts() {
        let text = "POST /v1/%6dessages?beta=true HTTP/1.1\r\nHost: API.example:443\r\ncontent-length: 12\r\n\
                    X-A: \t one two \t\r\nX-B:\r\nx-a:3\r\n\r\n";
        let head = parse(text).unwrap();
        assert_eq!((&head.method, head.version), (&Method::Post, Version::Http11));
        assert_eq!((head.path.as_str(), head.query.as_deref()), ("/v1/messages", Some("beta=true")));
        assert_eq!((head.authority.as_str(), head.framing), ("api.example:443", Framing::Length(12)));
        let fields: Vec<_> = head.headers.iter().collect();
        assert_eq!(fields, [("X-A", &b"one two"[..]), ("X-B", b""), ("x-a", b"3")]);
        assert!(head.keep_alive && !head.expect_continue);
    }

    #[test]
    fn malformed_start_lines_are_refused() {
        // RFC 9112 section 3; SECURITY R3.
        for (line, rejection) in [
            ("GET /", Rejection::StartLineInvalid),
            ("GET", Rejection::StartLineInvalid),
            ("GET  HTTP/1.1", Rejection::StartLineInvalid),
            (" GET / HTTP/1.1", Rejection::MethodInvalid),
            ("G@T / HTTP/1.1", Rejection::MethodInvalid),
            ("G\u{e9}T / HTTP/1.1", Rejection::MethodInvalid),
            ("get / HTTP/1.1", Rejection::MethodInvalid),
            ("DeLETE / HTTP/1.1", Rejection::MethodInvalid),
            ("GET\t/ HTTP/1.1", Rejection::StartLineInvalid),
            ("GET / HTTP/1.1 ", Rejection::VersionUnsupported),
            ("GET  / HTTP/1.1", Rejection::TargetFormInvalid),
            ("GET /  HTTP/1.1", Rejection::TargetCharacterInvalid),
            ("GET /a b HTTP/1.1", Rejection::TargetCharacterInvalid),
            ("GET / http/1.1", Rejection::VersionUnsupported),
            ("GET / HTTP/1.2", Rejection::VersionUnsupported),
            ("GET / HTTP/2.0", Rejection::VersionUnsupported),
            ("GET / HTTP/0.9", Rejection::VersionUnsupported),
            ("GET / HTTP/1.10", Rejection::VersionUnsupported),
            ("GET / HTTP/11", Rejection::VersionUnsupported),
            ("PRI * HTTP/2.0", Rejection::VersionUnsupported),
            ("CONNECT a.test:443 HTTP/1.1", Rejection::ConnectUnsupported),
            ("GET a.test:443 HTTP/1.1", Rejection::TargetFormInvalid),
            ("GET * HTTP/1.1", Rejection::TargetFormInvalid),
            ("OPTIONS ** HTTP/1.1", Rejection::TargetFormInvalid),
            ("GET ftp://a.test/ HTTP/1.1", Rejection::TargetFormInvalid),
            ("GET http://u:p@a.test/ HTTP/1.1", Rejection::TargetUserinfo),
            ("GET http:///x HTTP/1.1", Rejection::HostInvalid),
            ("GET http://b.test/ HTTP/1.1", Rejection::HostMismatch),
            ("GET http://a.test:80/ HTTP/1.1", Rejection::HostMismatch),
            ("GET http://a.test#x HTTP/1.1", Rejection::TargetCharacterInvalid),
        ] {
            let text = format!("{line}\r\nHost: a.test\r\n\r\n");
            assert_eq!(parse(&text).map(|head| head.path), Err(rejection), "{line:?}");
        }
    }

    #[test]
    fn targets_have_the_form_of_their_method() {
        // RFC 9112 section 3.2.
        for (line, path, query) in [
            ("GET / HTTP/1.1", "/", None),
            ("OPTIONS * HTTP/1.1", "*", None),
            ("OPTIONS http://a.test HTTP/1.1", "*", None),
            ("GET http://A.test HTTP/1.1", "/", None),
            ("GET HTTPS://a.test/x/../y?z HTTP/1.1", "/y", Some("z")),
            ("GET http://a.test?z=/ HTTP/1.1", "/", Some("z=/")),
            ("PURGE /a HTTP/1.1", "/a", None),
        ] {
            let head = parse(&format!("{line}\r\nHost: a.TEST\r\n\r\n")).unwrap();
            assert_eq!((head.path.as_str(), head.query.as_deref()), (path, query), "{line:?}");
            assert_eq!(head.authority, "a.test");
        }
    }

    #[test]
    fn malformed_fields_are_refused() {
        // RFC 9112 section 5; SECURITY R2 and R3.
        for (fields, rejection) in [
            (" folded: 1", Rejection::FieldFolded),
            ("A: 1\r\n folded", Rejection::FieldFolded),
            ("A: 1\r\n\tfolded", Rejection::FieldFolded),
            ("A : 1", Rejection::FieldNameInvalid),
            ("A\t: 1", Rejection::FieldNameInvalid),
            (": 1", Rejection::FieldNameInvalid),
            ("A", Rejection::FieldNameInvalid),
            ("A(b): 1", Rejection::FieldNameInvalid),
            ("\u{e9}: 1", Rejection::FieldNameInvalid),
            ("A\u{1}: 1", Rejection::FieldNameInvalid),
            ("A: \u{1}", Rejection::ControlCharacter),
            ("A: b\u{7f}", Rejection::ControlCharacter),
            ("A: b\0", Rejection::ControlCharacter),
            ("A: b\rc", Rejection::BareCr),
            ("A: b\nC: d", Rejection::BareLf),
            ("Host: a.test", Rejection::HostRepeated),
            ("hOST: b.test", Rejection::HostRepeated),
            ("Connection: host", Rejection::ConnectionNominates),
            ("Connection: clo se", Rejection::ConnectionInvalid),
            ("Expect: 200-ok\r\nContent-Length: 1", Rejection::ExpectationUnknown),
            ("Expect: 100-continue, x", Rejection::ExpectationUnknown),
            ("Expect:", Rejection::ExpectationUnknown),
            ("Expect: 100-continue\r\nExpect: 100-continue", Rejection::ExpectationUnknown),
        ] {
            assert_eq!(with(fields).map(|head| head.path), Err(rejection), "{fields:?}");
        }
        let many = |count: usize| with(&vec!["A: b"; count - 1].join("\r\n")).map(|head| head.headers.len());
        assert_eq!(many(100), Ok(99));
        assert_eq!(many(101), Err(Rejection::FieldsTooMany));
    }

    #[test]
    fn the_length_is_said_once_and_plainly() {
        // RFC 9112 sections 6.1 to 6.3; SECURITY R2.
        for (fields, framing) in [
            ("A: b", Ok(Framing::None)),
            ("Content-Length: 0", Ok(Framing::Length(0))),
            ("Content-Length:\t007 ", Ok(Framing::Length(7))),
            ("CONTENT-LENGTH: 999999999999999999", Ok(Framing::Length(999_999_999_999_999_999))),
            ("Transfer-Encoding: chunked", Ok(Framing::Chunked)),
            ("transfer-encoding:Chunked\t", Ok(Framing::Chunked)),
            ("Content-Length: 1000000000000000000", Err(Rejection::ContentLengthInvalid)),
            ("Content-Length:", Err(Rejection::ContentLengthInvalid)),
            ("Content-Length: +1", Err(Rejection::ContentLengthInvalid)),
            ("Content-Length: -1", Err(Rejection::ContentLengthInvalid)),
            ("Content-Length: 0x1", Err(Rejection::ContentLengthInvalid)),
            ("Content-Length: 1_0", Err(Rejection::ContentLengthInvalid)),
            ("Content-Length: 1 0", Err(Rejection::ContentLengthInvalid)),
            ("Content-Length: 1, 1", Err(Rejection::ContentLengthInvalid)),
            ("Content-Length: 1;a", Err(Rejection::ContentLengthInvalid)),
            ("Content-Length: 1\r\nContent-Length: 1", Err(Rejection::ContentLengthRepeated)),
            ("Content-Length: 1\r\nTransfer-Encoding: chunked", Err(Rejection::LengthConflict)),
            ("Transfer-Encoding: chunked\r\nContent-Length: 0", Err(Rejection::LengthConflict)),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
                Err(Rejection::TransferEncodingInvalid),
            ),
            ("Transfer-Encoding: gzip, chunked", Err(Rejection::TransferEncodingUnknown)),
            ("Transfer-Encoding: deflate,gzip ,\tChunked", Err(Rejection::TransferEncodingUnknown)),
            ("Transfer-Encoding: chunked, gzip", Err(Rejection::TransferEncodingInvalid)),
            ("Transfer-Encoding: chunked, gzip, chunked", Err(Rejection::TransferEncodingInvalid)),
            ("Transfer-Encoding: gzip;q=1, chunked", Err(Rejection::TransferEncodingInvalid)),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip, chunked",
                Err(Rejection::TransferEncodingInvalid),
            ),
            ("Transfer-Encoding: chunked, chunked", Err(Rejection::TransferEncodingInvalid)),
            ("Transfer-Encoding: identity", Err(Rejection::TransferEncodingInvalid)),
            ("Transfer-Encoding: \"chunked\"", Err(Rejection::TransferEncodingInvalid)),
            ("Transfer-Encoding: chunked;a=b", Err(Rejection::TransferEncodingInvalid)),
            ("Transfer-Encoding: ,chunked", Err(Rejection::TransferEncodingInvalid)),
            ("Transfer-Encoding: xchunked", Err(Rejection::TransferEncodingInvalid)),
            ("Transfer-Encoding:", Err(Rejection::TransferEncodingInvalid)),
            ("Transfer-Encoding: \u{b}chunked", Err(Rejection::ControlCharacter)),
        ] {
            assert_eq!(with(fields).map(|head| head.framing), framing, "{fields:?}");
        }
    }

    #[test]
    fn http_1_1_has_one_host_and_http_1_0_may_have_none() {
        // RFC 9112 section 3.2.
        let authority = |text: &str| parse(text).map(|head| head.authority);
        assert_eq!(authority("GET / HTTP/1.1\r\n\r\n"), Err(Rejection::HostMissing));
        assert_eq!(authority("GET http://a/ HTTP/1.1\r\n\r\n"), Err(Rejection::HostMissing));
        assert_eq!(authority("GET / HTTP/1.1\r\nHost:\r\n\r\n"), Err(Rejection::HostInvalid));
        assert_eq!(authority("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"), Err(Rejection::HostInvalid));
        assert_eq!(authority("GET / HTTP/1.0\r\n\r\n"), Ok(String::new()));
        assert_eq!(authority("GET http://a/ HTTP/1.0\r\n\r\n"), Ok("a".to_owned()));
        assert_eq!(authority("GET / HTTP/1.0\r\nHost: A\r\n\r\n"), Ok("a".to_owned()));
    }

    #[test]
    fn persistence_and_expectations_follow_the_version() {
        // RFC 9112 section 9.3, RFC 9110 section 10.1.1.
        let flags = |version: &str, fields: &str| {
            let text = format!("POST / HTTP/{version}\r\nHost: a\r\nContent-Length: 2\r\n{fields}\r\n\r\n");
            parse(&text).map(|head| (head.keep_alive, head.expect_continue))
        };
        assert_eq!(flags("1.1", "A: b"), Ok((true, false)));
        assert_eq!(flags("1.1", "Connection: x, Close"), Ok((false, false)));
        assert_eq!(flags("1.1", "Connection: keep-alive\r\nConnection: close"), Ok((false, false)));
        assert_eq!(flags("1.1", "Expect: 100-Continue"), Ok((true, true)));
        assert_eq!(flags("1.0", "Connection: keep-alive"), Ok((false, false)));
        assert_eq!(flags("1.0", "Expect: 100-continue"), Ok((false, false)));
        let bodiless = with("Expect: 100-continue").map(|head| head.expect_continue);
        assert_eq!(bodiless, Ok(false), "nothing to wait for");
        let chunked = parse("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n").map(|head| head.framing);
        assert_eq!(chunked, Err(Rejection::TransferEncodingVersion));
    }

    #[test]
    fn a_head_is_refused_at_every_truncation() {
        let text = "GET /a?b HTTP/1.1\r\nHost: a.test\r\nX-A: b\r\n\r\n";
        assert!(parse(text).is_ok());
        for end in 0..text.len() {
            assert!(parse(&text[..end]).is_err(), "{end}");
        }
        assert_eq!(parse(&format!("{text}x")).map(|head| head.path), Err(Rejection::HeadIncomplete));
    }

    /// Heads near the edge of the grammar: well-formed lines with some bytes exchanged.
    fn head() -> impl Strategy<Value = Vec<u8>> {
        let lines = prop::sample::subsequence(
            vec![
                "Host: a.test\r\n",
                "Content-Length: 5\r\n",
                "Transfer-Encoding: chunked\r\n",
                "Connection: close, x-a\r\n",
                "X-A: one two\r\n",
                "x-utf: \u{e9}\r\n",
                "Accept:*/*\r\n",
                "Host: b\r\n",
            ],
            0..8,
        );
        let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
        (lines, changes).prop_map(|(lines, changes)| {
            let mut head = format!("POST /a/./b?c=d HTTP/1.1\r\n{}\r\n", lines.concat()).into_bytes();
            for (at, byte) in changes {
                let at = at.index(head.len());
                head[at] = byte;
            }
            head
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        /// `httparse` reads more than this parser does, so that what this one accepts it must accept, alike.
        #[test]
        fn accepted_heads_mean_the_same_to_another_parser(bytes in head()) {
            let Ok(head) = parse_request(Chunk::from(bytes.clone())) else { return Ok(()) };
            prop_assert_eq!(find_head_end(&bytes, &mut 0, Role::Request), Ok(Some(bytes.len())));
            let mut fields = [httparse::EMPTY_HEADER; 128];
            let mut other = httparse::Request::new(&mut fields);
            prop_assert_eq!(other.parse(&bytes), Ok(httparse::Status::Complete(bytes.len())));
            prop_assert_eq!(other.method, Some(head.method.as_str()));
            let framing = ["host", "content-length", "transfer-encoding"];
            let others: Vec<_> = other.headers.iter()
                .filter(|field| !framing.iter().any(|name| field.name.eq_ignore_ascii_case(name)))
                .map(|field| (field.name, field.value))
                .collect();
            prop_assert_eq!(head.headers.iter().collect::<Vec<_>>(), others);
        }

        /// What is written is read again as the same.
        #[test]
        fn encoded_heads_come_back(bytes in head()) {
            let Ok(mut head) = parse_request(Chunk::from(bytes)) else { return Ok(()) };
            if head.authority.is_empty() {
                // HTTP/1.0 without Host; whoever forwards it names the upstream's.
                head.authority = "up.test".to_owned();
            }
            let mut wire = Vec::new();
            encode_request(&head, &[], &mut wire);
            let again = parse_request(Chunk::from(wire)).unwrap();
            prop_assert_eq!((again.method, again.path, again.query), (head.method, head.path, head.query));
            prop_assert_eq!((again.authority, again.framing), (head.authority, head.framing));
            let one: Vec<_> = again.headers.iter().collect();
            let other: Vec<_> = head.headers.iter().collect();
            prop_assert_eq!(one, other);
        }
    }
}

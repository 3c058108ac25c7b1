use super::head::{Fields, Role, version};
use super::lines::first_line;
use crate::buffer::Chunk;
use crate::http::syntax::is_value;
use crate::http::{Framing, Headers, Method, Rejection, ResponseHead, Version};
use crate::limits::{HEAD_BYTES_MAX, REQUEST_LINE_BYTES_MAX};

/// Parses a response's head with its blank line, as [`super::find_head_end`] delimited it; `to` is the
/// method of the request that it answers. The reason phrase is dropped: it means nothing (RFC 9112 section
/// 4).
///
/// # Errors
/// The upstream's fault: the same strictness as for requests; besides 101, since the gateway never asks for
/// another protocol, and a body announced where there is none (1xx, 204).
pub fn parse_response(head: Chunk, to: &Method) -> Result<ResponseHead, Rejection> {
    let start_line = first_line(&head)?;
    let fields_start = start_line.end + 2;
    if start_line.len() > REQUEST_LINE_BYTES_MAX {
        return Err(Rejection::StartLineTooLong);
    }
    if head.len() > HEAD_BYTES_MAX {
        return Err(Rejection::HeadTooLong);
    }
    let (version, status) = status_line(&head[start_line])?;
    let mut headers = Headers::new();
    let fields = Fields::parse(&head, fields_start, Role::Response, &mut headers)?;
    if fields.chunked && version == Version::Http10 {
        return Err(Rejection::TransferEncodingVersion);
    }
    let (framing, declared_length) = framing(status, to, &fields)?;
    let persistent = match version {
        Version::Http11 => !fields.close,
        Version::Http10 => fields.keep_alive && !fields.close,
    };
    headers.lie_in(head);
    Ok(ResponseHead {
        status,
        version,
        headers,
        framing,
        declared_length,
        keep_alive: persistent && framing != Framing::Close,
    })
}

/// `HTTP-version SP status-code SP [ reason-phrase ]` (RFC 9112 section 4). Some servers leave the last
/// space out with the phrase; that is read, since it cannot mean anything else.
fn status_line(line: &[u8]) -> Result<(Version, u16), Rejection> {
    let (start, rest) = line.split_at_checked(8).ok_or(Rejection::StartLineInvalid)?;
    let version = version(start)?;
    let [b' ', code @ ..] = rest else { return Err(Rejection::StartLineInvalid) };
    let (digits, phrase) = code.split_at_checked(3).ok_or(Rejection::StatusInvalid)?;
    let status = digits.iter().try_fold(0u16, |status, digit| {
        digit.is_ascii_digit().then(|| status * 10 + u16::from(digit - b'0'))
    });
    let status = status.filter(|status| *status >= 100).ok_or(Rejection::StatusInvalid)?;
    match phrase {
        [] => Ok((version, status)),
        [b' ', text @ ..] if is_value(text) => Ok((version, status)),
        [b' ', ..] => Err(Rejection::ControlCharacter),
        _ => Err(Rejection::StatusInvalid),
    }
}

/// RFC 9112 section 6.3, and the length that a response without a body may declare (RFC 9110 section 8.6).
fn framing(status: u16, to: &Method, fields: &Fields) -> Result<(Framing, Option<u64>), Rejection> {
    match status {
        101 => Err(Rejection::UpgradeUnasked),
        // Neither length nor coding may be there (RFC 9110 section 8.6, RFC 9112 section 6.1); some servers
        // send `Content-Length: 0`, which no reader can take for a body.
        100..200 | 204 => match (fields.chunked, fields.content_length) {
            (false, None | Some(0)) => Ok((Framing::None, None)),
            _ => Err(Rejection::BodyForbidden),
        },
        304 => Ok((Framing::None, fields.content_length)),
        _ if *to == Method::Head => Ok((Framing::None, fields.content_length)),
        _ if fields.chunked => Ok((Framing::Chunked, None)),
        _ => Ok((fields.content_length.map_or(Framing::Close, Framing::Length), None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ResponseHead, Rejection> {
        parse_response(Chunk::from(text.as_bytes().to_vec()), &Method::Get)
    }

    /// Framing and declared length of an answer to `to`.
    fn framing_of(to: &Method, status: u16, fields: &str) -> Result<(Framing, Option<u64>), Rejection> {
        let text = format!("HTTP/1.1 {status} X\r\n{fields}A: b\r\n\r\n");
        let head = parse_response(Chunk::from(text.into_bytes()), to)?;
        Ok((head.framing, head.declared_length))
    }

    #[test]
    fn status_lines_are_read_strictly() {
        // RFC 9112 section 4.
        for (line, expected) in [
            ("HTTP/1.1 200 OK", Ok(200)),
            ("HTTP/1.0 404 Not Found, \u{e9}!", Ok(404)),
            ("HTTP/1.1 999 ", Ok(999)),
            ("HTTP/1.1 200", Ok(200)),
            ("HTTP/1.1 099 X", Err(Rejection::StatusInvalid)),
            ("HTTP/1.1 20 X", Err(Rejection::StatusInvalid)),
            ("HTTP/1.1 2000 X", Err(Rejection::StatusInvalid)),
            ("HTTP/1.1 +20 X", Err(Rejection::StatusInvalid)),
            ("HTTP/1.1 ", Err(Rejection::StatusInvalid)),
            ("HTTP/1.1  200 X", Err(Rejection::StatusInvalid)),
            ("HTTP/1.1\t200 X", Err(Rejection::StartLineInvalid)),
            ("HTTP/1.1", Err(Rejection::StartLineInvalid)),
            ("ICY 200 OK", Err(Rejection::VersionUnsupported)),
            ("HTTP/2.0 200 OK", Err(Rejection::VersionUnsupported)),
            ("HTTP/1.1 200 O\u{1}K", Err(Rejection::ControlCharacter)),
            ("HTTP/1.1 101 Switching Protocols", Err(Rejection::UpgradeUnasked)),
        ] {
            let text = format!("{line}\r\nA: b\r\n\r\n");
            assert_eq!(parse(&text).map(|head| head.status), expected, "{line:?}");
        }
    }

    #[test]
    fn the_body_follows_status_method_and_fields() {
        // RFC 9112 section 6.3, RFC 9110 section 8.6.
        let (get, head) = (Method::Get, Method::Head);
        let (length, chunked) = ("Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n");
        for (to, status, fields, expected) in [
            (&get, 200, "", Ok((Framing::Close, None))),
            (&get, 200, length, Ok((Framing::Length(5), None))),
            (&get, 200, chunked, Ok((Framing::Chunked, None))),
            (&head, 200, "", Ok((Framing::None, None))),
            (&head, 200, length, Ok((Framing::None, Some(5)))),
            (&head, 200, chunked, Ok((Framing::None, None))),
            (&get, 304, length, Ok((Framing::None, Some(5)))),
            (&get, 304, "", Ok((Framing::None, None))),
            (&get, 204, "", Ok((Framing::None, None))),
            (&get, 204, "Content-Length: 0\r\n", Ok((Framing::None, None))),
            (&get, 204, length, Err(Rejection::BodyForbidden)),
            (&get, 204, chunked, Err(Rejection::BodyForbidden)),
            (&get, 100, "", Ok((Framing::None, None))),
            (&get, 103, "Link: x\r\n", Ok((Framing::None, None))),
            (&get, 100, chunked, Err(Rejection::BodyForbidden)),
            (&get, 200, "Content-Length: 5\r\nContent-Length: 5\r\n", Err(Rejection::ContentLengthRepeated)),
            (
                &get,
                200,
                "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                Err(Rejection::LengthConflict),
            ),
            (&get, 200, "Content-Length: 5, 5\r\n", Err(Rejection::ContentLengthInvalid)),
            (&get, 200, "Transfer-Encoding: gzip\r\n", Err(Rejection::TransferEncodingInvalid)),
            (&get, 200, "B: c\r\n d\r\n", Err(Rejection::FieldFolded)),
            (&get, 200, "B: c\n", Err(Rejection::BareLf)),
            (&get, 200, "B : c\r\n", Err(Rejection::FieldNameInvalid)),
            (&get, 200, "Connection: content-length\r\n", Err(Rejection::ConnectionNominates)),
        ] {
            assert_eq!(framing_of(to, status, fields), expected, "{to} {status} {fields:?}");
        }
    }

    #[test]
    fn connections_persist_by_version_option_and_framing() {
        // RFC 9112 section 9.3.
        for (text, expected) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\n\r\n", false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n", true),
            ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", false),
        ] {
            assert_eq!(parse(text).map(|head| head.keep_alive), Ok(expected), "{text:?}");
        }
        let chunked = parse("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").map(|head| head.framing);
        assert_eq!(chunked, Err(Rejection::TransferEncodingVersion));
    }

    #[test]
    fn a_head_is_refused_at_every_truncation() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        for end in 0..text.len() {
            assert!(parse(&text[..end]).is_err(), "{end}");
        }
    }
}

use super::head::{Fields, Role, line, version};
use crate::buffer::Chunk;
use crate::http::syntax::is_value;
use crate::http::{Framing, Method, Rejection, ResponseHead, Version};
use crate::limits::{HEAD_BYTES_MAX, REQUEST_LINE_BYTES_MAX};

/// Parses a response's head with its blank line, as [`super::find_head_end`] delimited it; `to` is the
/// method of the request that it answers. The reason phrase is dropped: it means nothing (RFC 9112 section
/// 4).
///
/// # Errors
/// The upstream's fault: the same strictness as for requests; besides 101, since the gateway never asks for
/// another protocol, and a body announced where there is none (1xx, 204).
pub fn parse_response(head: Chunk, to: &Method) -> Result<ResponseHead, Rejection> {
    let (start_line, fields_start) = line(&head, 0)?;
    if start_line.len() > REQUEST_LINE_BYTES_MAX {
        return Err(Rejection::StartLineTooLong);
    }
    if head.len() > HEAD_BYTES_MAX {
        return Err(Rejection::HeadTooLong);
    }
    let (version, status) = status_line(&head[start_line])?;
    let fields = Fields::parse(&head, fields_start, Role::Response)?;
    if fields.chunked && version == Version::Http10 {
        return Err(Rejection::TransferEncodingVersion);
    }
    let (framing, declared_length) = framing(status, to, &fields)?;
    let persistent = match version {
        Version::Http11 => !fields.close,
        Version::Http10 => fields.keep_alive && !fields.close,
    };
    Ok(ResponseHead {
        status,
        version,
        headers: fields.headers,
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

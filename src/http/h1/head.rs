use super::lines::{Line, Lines, clean_end};
use crate::http::class::{class, class_of_plain};
use crate::http::rules::check_connection;
use crate::http::syntax::{is_token, is_token_byte, is_value, list, trim};
use crate::http::{Headers, Rejection, Version};
use crate::limits::{HEAD_BYTES_MAX, HEADER_COUNT_MAX, REQUEST_LINE_BYTES_MAX};
use memchr::{memchr, memchr3_iter};
use std::ops::Range;

/// Which kind of message is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// From a caller.
    Request,
    /// From an upstream.
    Response,
}

/// Length of the head at the start of `bytes` with its blank line, or `None` while it is incomplete.
///
/// `bytes` holds the message from its first byte on; `searched` is 0 at first and afterwards what the last
/// call left there, so that no byte is looked at twice.
///
/// # Errors
/// The peer's fault, as soon as it is seen: a first byte that no message begins with, a line that ends with
/// LF alone, a CR without LF, NUL (RFC 9112 section 2.2), a start line or a head longer than `limits` allows.
pub fn find_head_end(bytes: &[u8], searched: &mut usize, role: Role) -> Result<Option<usize>, Rejection> {
    match (role, bytes.first()) {
        (_, None) => return Ok(None),
        (Role::Request, Some(&first)) if is_token_byte(first) => {}
        (Role::Response, Some(b'H')) => {}
        _ => return Err(Rejection::StartLineInvalid),
    }
    let end = search(bytes, searched)?;
    let known = end.unwrap_or(bytes.len());
    if known > REQUEST_LINE_BYTES_MAX + 1 && memchr(b'\n', &bytes[..REQUEST_LINE_BYTES_MAX + 2]).is_none() {
        return Err(Rejection::StartLineTooLong);
    }
    if known > HEAD_BYTES_MAX || (end.is_none() && known == HEAD_BYTES_MAX) {
        return Err(Rejection::HeadTooLong);
    }
    Ok(end)
}

fn search(bytes: &[u8], searched: &mut usize) -> Result<Option<usize>, Rejection> {
    let from = *searched;
    if from == 0
        && let Some(end) = clean_end(bytes)
    {
        *searched = end;
        return Ok(Some(end));
    }
    for at in memchr3_iter(b'\r', b'\n', 0, &bytes[from..]).map(|at| at + from) {
        match bytes[at] {
            0 => return Err(Rejection::ControlCharacter),
            // The LF of a pair whose CR was seen in the call before comes first; any other LF is bare.
            b'\n' if at == 0 || bytes[at - 1] != b'\r' => return Err(Rejection::BareLf),
            b'\n' if bytes[..at - 1].ends_with(b"\r\n") => {
                *searched = at + 1;
                return Ok(Some(at + 1));
            }
            b'\r' if bytes.get(at + 1).is_some_and(|&next| next != b'\n') => return Err(Rejection::BareCr),
            // At the end of the bytes the next one decides.
            b'\r' if at + 1 == bytes.len() => {
                *searched = at;
                return Ok(None);
            }
            _ => {}
        }
    }
    *searched = bytes.len();
    Ok(None)
}

/// A version of the start line, exactly as RFC 9112 section 2.3 writes it.
pub(super) fn version(bytes: &[u8]) -> Result<Version, Rejection> {
    match bytes {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        _ => Err(Rejection::VersionUnsupported),
    }
}

/// What the fields of one head say of its framing, its route and its connection.
#[derive(Default)]
pub(super) struct Fields {
    /// Where Host's value is; requests only.
    pub host: Option<Range<usize>>,
    pub content_length: Option<u64>,
    pub chunked: bool,
    /// Connection options.
    pub close: bool,
    pub keep_alive: bool,
    /// Expect is there once, and it is `100-continue`.
    pub expect_continue: bool,
}

impl Fields {
    /// Parses the field lines of `head` from `start` to the blank line that ends it. All but Content-Length,
    /// Transfer-Encoding and, in requests, Host are added to `headers`, as ranges of `head`, which those do
    /// not hold yet: [`Headers::lie_in`].
    pub fn parse(head: &[u8], start: usize, role: Role, headers: &mut Headers) -> Result<Fields, Rejection> {
        let mut fields = Fields::default();
        let mut lines = Lines::new(head, start);
        let mut count = 0;
        loop {
            let line = lines.next()?;
            if line.range.is_empty() {
                break;
            }
            count += 1;
            if count > HEADER_COUNT_MAX {
                return Err(Rejection::FieldsTooMany);
            }
            let field = Field::parse(head, line, lines.is_faulty())?;
            let name = &head[field.name.clone()];
            if let Some(value) = fields.take(head, name, field.value, role)? {
                let class = if field.is_plain { class_of_plain(name) } else { class(name) };
                headers.push_received(field.name, value, class);
            }
        }
        if lines.position() != head.len() {
            return Err(Rejection::HeadIncomplete);
        }
        if fields.chunked && fields.content_length.is_some() {
            // RFC 9112 section 6.1: it ought to be handled as an error.
            return Err(Rejection::LengthConflict);
        }
        Ok(fields)
    }

    /// Notes what one field says of the message. Gives its value back unless that is all it is for.
    fn take(
        &mut self,
        head: &[u8],
        name: &[u8],
        value: Range<usize>,
        role: Role,
    ) -> Result<Option<Range<usize>>, Rejection> {
        let text = &head[value.clone()];
        match name.len() {
            4 if role == Role::Request && is_called(name, b"host") => {
                return match self.host.replace(value) {
                    None => Ok(None),
                    Some(_) => Err(Rejection::HostRepeated),
                };
            }
            14 if is_called(name, b"content-length") => {
                return match self.content_length.replace(content_length(text)?) {
                    None => Ok(None),
                    Some(_) => Err(Rejection::ContentLengthRepeated),
                };
            }
            17 if is_called(name, b"transfer-encoding") => {
                // Coding names are case-insensitive (RFC 9112 section 7); another coding in front of
                // chunked, or a second field, is refused.
                return match text.eq_ignore_ascii_case(b"chunked") && !self.chunked {
                    true => {
                        self.chunked = true;
                        Ok(None)
                    }
                    false => Err(other_coding(text, self.chunked)),
                };
            }
            10 if is_called(name, b"connection") => {
                check_connection(text)?;
                self.close |= list(text).any(|option| option.eq_ignore_ascii_case(b"close"));
                self.keep_alive |= list(text).any(|option| option.eq_ignore_ascii_case(b"keep-alive"));
            }
            6 if role == Role::Request && is_called(name, b"expect") => {
                if self.expect_continue || !text.eq_ignore_ascii_case(b"100-continue") {
                    return Err(Rejection::ExpectationUnknown);
                }
                self.expect_continue = true;
            }
            _ => {}
        }
        Ok(Some(value))
    }
}

/// Whether a name, which is a token, is `known`: letters in lower case and dashes. All its bytes at once: no
/// byte of a token but an upper-case letter becomes one of those when the bit is set that tells cases apart.
fn is_called<const BYTES: usize>(name: &[u8], known: &[u8; BYTES]) -> bool {
    let Ok(name) = <&[u8; BYTES]>::try_from(name) else { return false };
    name.iter().zip(known).fold(0, |other, (byte, known)| other | ((byte | 0x20) ^ known)) == 0
}

/// Why a Transfer-Encoding other than chunked is refused. Where chunked comes last, once, the body has a
/// clear end, and only the codings before it are not known here; anything else has none (RFC 9112 sections
/// 6.1 and 6.3).
fn other_coding(text: &[u8], is_chunked_before: bool) -> Rejection {
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let mut codings = text.rsplit(|&byte| byte == b',').map(trim);
    let is_framed = codings.next().is_some_and(is_chunked)
        && codings.all(|coding| is_token(coding) && !is_chunked(coding));
    match is_framed && !is_chunked_before {
        true => Rejection::TransferEncodingUnknown,
        false => Rejection::TransferEncodingInvalid,
    }
}

/// A field line (RFC 9112 section 5).
struct Field {
    name: Range<usize>,
    /// Without the white space around it.
    value: Range<usize>,
    /// Whether the name is certainly plain ([`crate::http::class::is_plain`]).
    is_plain: bool,
}

impl Field {
    /// `is_faulty`: what [`Lines::is_faulty`] says behind this line.
    fn parse(head: &[u8], line: Line, is_faulty: bool) -> Result<Field, Rejection> {
        let Line { range, colon, is_plain } = line;
        if matches!(head[range.start], b' ' | b'\t') {
            return Err(Rejection::FieldFolded);
        }
        let colon = colon.ok_or(Rejection::FieldNameInvalid)?;
        let name = range.start..colon;
        if !is_plain && !is_token(&head[name.clone()]) {
            return Err(Rejection::FieldNameInvalid);
        }
        let raw = &head[colon + 1..range.end];
        if is_faulty && !is_value(raw) {
            return Err(if memchr(b'\r', raw).is_some() {
                Rejection::BareCr
            } else {
                Rejection::ControlCharacter
            });
        }
        let is_space = |at: usize| matches!(head[at], b' ' | b'\t');
        let (mut start, mut end) = (colon + 1, range.end);
        while start < end && is_space(end - 1) {
            end -= 1;
        }
        while start < end && is_space(start) {
            start += 1;
        }
        Ok(Field { name, value: start..end, is_plain })
    }
}

/// One number of 1 to 18 digits: no sign, no list, no padding (RFC 9110 section 8.6).
fn content_length(value: &[u8]) -> Result<u64, Rejection> {
    if !(1..=18).contains(&value.len()) || !value.iter().all(u8::is_ascii_digit) {
        return Err(Rejection::ContentLengthInvalid);
    }
    // 18 digits fit into 64 bits.
    Ok(value.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(bytes: &[u8]) -> Result<Option<usize>, Rejection> {
        find_head_end(bytes, &mut 0, Role::Request)
    }

    #[test]
    fn the_end_is_found_whatever_the_reads_were() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\nX-Empty:\r\n\r\n";
        let bytes = [&head[..], b"body\r\n\r\n"].concat();
        for first in 0..=head.len() {
            for second in first..=bytes.len() {
                let mut searched = 0;
                let early = find_head_end(&bytes[..first], &mut searched, Role::Request);
                assert_eq!(early, Ok((first == head.len()).then_some(head.len())), "{first}");
                if first == head.len() {
                    continue;
                }
                let expected = (second >= head.len()).then_some(head.len());
                let found = find_head_end(&bytes[..second], &mut searched, Role::Request);
                assert_eq!(found, Ok(expected), "{first} then {second}");
            }
        }
    }

    #[test]
    fn names_are_known_whatever_their_case() {
        for known in [b"content-length", b"CONTENT-LENGTH", b"Content-Length"] {
            assert!(is_called(known, b"content-length"));
        }
        assert!(!is_called(b"content-lengt", b"content-length"));
        for at in 0..14 {
            for byte in (0..=u8::MAX).filter(|&byte| is_token_byte(byte)) {
                let mut name = *b"content-length";
                let same = name[at].eq_ignore_ascii_case(&byte);
                name[at] = byte;
                assert_eq!(is_called(&name, b"content-length"), same, "{byte:#x} at {at}");
            }
        }
    }

    #[test]
    fn what_no_head_begins_with_is_refused_at_once() {
        // RFC 9112 section 2.2; SECURITY R3.
        for (bytes, rejection) in [
            (&b"\r\nGET"[..], Rejection::StartLineInvalid),
            (b" GET", Rejection::StartLineInvalid),
            (b"\x16\x03\x01", Rejection::StartLineInvalid),
            (b"GET / HTTP/1.1\n", Rejection::BareLf),
            (b"GET / HTTP/1.1\r\nA: b\n", Rejection::BareLf),
            (b"GET / HTTP/1.1\r\nA: b\r\n\n", Rejection::BareLf),
            (b"GET / HTTP/1.1\r\nA: b\rc", Rejection::BareCr),
            (b"GET / HTTP/1.1\r\r\n", Rejection::BareCr),
            (b"GET / HTTP/1.1\r\nA: \0", Rejection::ControlCharacter),
        ] {
            assert_eq!(end(bytes), Err(rejection), "{:?}", String::from_utf8_lossy(bytes));
            let mut searched = 0;
            let split = (1..=bytes.len())
                .map(|len| find_head_end(&bytes[..len], &mut searched, Role::Request))
                .find(Result::is_err);
            assert_eq!(split, Some(Err(rejection)), "byte by byte");
        }
        assert_eq!(find_head_end(b"GET", &mut 0, Role::Response), Err(Rejection::StartLineInvalid));
    }

    #[test]
    fn long_heads_are_refused_before_they_end() {
        // SECURITY R41.
        let line = |length: usize| [b"GET /".to_vec(), vec![b'a'; length - 5]].concat();
        assert_eq!(end(&line(REQUEST_LINE_BYTES_MAX)), Ok(None));
        assert_eq!(end(&[line(REQUEST_LINE_BYTES_MAX), b"\r\n".to_vec()].concat()), Ok(None));
        assert_eq!(end(&line(REQUEST_LINE_BYTES_MAX + 2)), Err(Rejection::StartLineTooLong));
        let head = |length: usize| [b"GET / HTTP/1.1\r\nA: ".to_vec(), vec![b'a'; length - 23]].concat();
        assert_eq!(end(&head(HEAD_BYTES_MAX)), Ok(None));
        let whole = [head(HEAD_BYTES_MAX), b"\r\n\r\n".to_vec()].concat();
        assert_eq!(end(&whole), Ok(Some(HEAD_BYTES_MAX)));
        let longer = [head(HEAD_BYTES_MAX + 1), b"\r\n\r\n".to_vec()].concat();
        assert_eq!(end(&longer), Err(Rejection::HeadTooLong));
        assert_eq!(end(&longer[..HEAD_BYTES_MAX]), Err(Rejection::HeadTooLong));
    }
}

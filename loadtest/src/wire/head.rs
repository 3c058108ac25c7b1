//! The head of an answer: what of it matters here.

use super::Error;
use crate::limits;
use memchr::memchr;

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// Which fields are kept beside those that frame the message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Want {
    /// `Server-Timing`.
    pub timing: bool,
}

/// The head of a final answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub status: u16,
    /// Whether the connection may be used again after the body.
    pub keep_alive: bool,
    /// Whether the body is a stream of events.
    pub is_stream: bool,
    /// `x-ringward-decision`, where the answer is the gateway's own.
    pub decision: Option<Box<str>>,
    /// Where it was wanted: `Server-Timing`, several joined by commas.
    pub timing: Option<String>,
    pub(super) framing: Framing,
}

/// What the field lines say of the length.
#[derive(Default)]
struct Lengths {
    declared: Option<u64>,
    chunked: bool,
    /// A coding behind `chunked`, or without it: the body ends with the connection.
    other_coding: bool,
}

/// Parses a whole head, its empty line included.
pub(super) fn parse(bytes: &[u8], is_head: bool, want: Want) -> Result<Head, Error> {
    let (line, mut rest) = line(bytes).ok_or(Error::StatusLine)?;
    let (minor, status) = status_line(line)?;
    let mut head = Head {
        status,
        keep_alive: minor >= 1,
        is_stream: false,
        decision: None,
        timing: None,
        framing: Framing::UntilClose,
    };
    let mut lengths = Lengths::default();
    for count in 0.. {
        let (line, behind) = self::line(rest).ok_or(Error::FieldLine)?;
        rest = behind;
        if line.is_empty() {
            break;
        }
        if count == limits::FIELDS_MAX {
            return Err(Error::HeadTooLong);
        }
        field(line, want, &mut head, &mut lengths)?;
    }
    head.framing = framing(&lengths, status, is_head)?;
    if head.framing == Framing::UntilClose {
        head.keep_alive = false;
    }
    Ok(head)
}

/// The bytes before the next CRLF, and those behind it.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr(b'\n', bytes)?;
    let line = bytes[..end].strip_suffix(b"\r")?;
    Some((line, &bytes[end + 1..]))
}

/// RFC 9112 section 4: the minor version and the status.
fn status_line(line: &[u8]) -> Result<(u8, u16), Error> {
    let rest = line.strip_prefix(b"HTTP/1.").ok_or(Error::StatusLine)?;
    let [minor @ b'0'..=b'9', b' ', a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', behind @ ..] = rest
    else {
        return Err(Error::StatusLine);
    };
    if !matches!(behind, [] | [b' ', ..]) {
        return Err(Error::StatusLine);
    }
    let digit = |byte: &u8| u16::from(byte - b'0');
    Ok((minor - b'0', digit(a) * 100 + digit(b) * 10 + digit(c)))
}

fn field(line: &[u8], want: Want, head: &mut Head, lengths: &mut Lengths) -> Result<(), Error> {
    let colon = memchr(b':', line).filter(|at| *at > 0).ok_or(Error::FieldLine)?;
    let name = &line[..colon];
    if name.iter().any(|byte| !byte.is_ascii_graphic()) {
        return Err(Error::FieldLine);
    }
    let value = line[colon + 1..].trim_ascii();
    let is = |wanted: &[u8]| name.eq_ignore_ascii_case(wanted);
    match name.len() {
        14 if is(b"content-length") => {
            let length = decimal(value).ok_or(Error::Framing)?;
            if lengths.declared.is_some_and(|other| other != length) {
                return Err(Error::Framing);
            }
            lengths.declared = Some(length);
        }
        17 if is(b"transfer-encoding") => {
            for coding in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                let chunked = coding.eq_ignore_ascii_case(b"chunked");
                if lengths.chunked {
                    return Err(Error::Framing);
                }
                lengths.chunked = chunked;
                lengths.other_coding |= !chunked;
            }
        }
        10 if is(b"connection") => {
            let says = |wanted: &[u8]| {
                value.split(|byte| *byte == b',').any(|one| one.trim_ascii().eq_ignore_ascii_case(wanted))
            };
            // HTTP/1.0 keeps a connection only where it says so, and `close` wins over everything.
            head.keep_alive = (head.keep_alive || says(b"keep-alive")) && !says(b"close");
        }
        12 if is(b"content-type") => {
            let kind = b"text/event-stream";
            head.is_stream = value.len() >= kind.len() && value[..kind.len()].eq_ignore_ascii_case(kind);
        }
        13 if want.timing && is(b"server-timing") => {
            let text = String::from_utf8_lossy(value);
            match &mut head.timing {
                Some(timing) => timing.extend([",", &text]),
                None => head.timing = Some(text.into_owned()),
            }
        }
        19 if is(b"x-ringward-decision") => {
            head.decision = Some(String::from_utf8_lossy(value).into_owned().into_boxed_str());
        }
        _ => {}
    }
    Ok(())
}

/// RFC 9112 section 6.3, for a client.
fn framing(lengths: &Lengths, status: u16, is_head: bool) -> Result<Framing, Error> {
    if lengths.declared.is_some() && (lengths.chunked || lengths.other_coding) {
        return Err(Error::Framing);
    }
    if is_head || status < 200 || status == 204 || status == 304 {
        return Ok(Framing::Length(0));
    }
    Ok(match lengths.declared {
        Some(length) => Framing::Length(length),
        None if lengths.chunked => Framing::Chunked,
        None => Framing::UntilClose,
    })
}

/// Digits and nothing else.
fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0u64, |number, byte| {
        let digit = byte.is_ascii_digit().then_some(u64::from(byte.wrapping_sub(b'0')))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

//! Canonical targets (RFC 3986): what policy is evaluated on is what goes upstream, byte for byte.

use super::Rejection;
use super::syntax::{hex_byte, table};
use core::net::Ipv6Addr;
use memchr::{memchr, memmem, memrchr};
use std::borrow::Cow;

/// `pchar` without `%` (RFC 3986 section 3.3): what stands for itself in a path segment.
static SEGMENT: [bool; 256] = table(b"-._~!$&'()*+,;=:@", true);
/// `unreserved` (RFC 3986 section 2.3): an escape of one of these is the same character.
static UNRESERVED: [bool; 256] = table(b"-._~", true);
/// Printable characters that RFC 3986 does not allow raw but that URL libraries send: they become escapes.
static ESCAPED: [bool; 256] = table(b"\"<>[]^`{|}", false);
/// Bytes of a registered name: letters, digits, `-`, `.`, `_`. Escapes are refused.
static NAME: [bool; 256] = table(b"-._", true);
/// Longest host with its port: 253 characters of DNS and `:65535`.
const AUTHORITY_BYTES_MAX: usize = 259;

/// Path and query of an origin-form target (`/path?query`) in their one canonical form.
///
/// The path: escapes of unreserved characters decoded, other escapes in upper case, `.` and `..` resolved,
/// `//` collapsed, printable characters that RFC 3986 does not allow escaped. The query stays as it is; it
/// holds visible ASCII only. Canonical targets come back unchanged. Reserved characters and their escapes
/// are different paths (RFC 3986 section 2.2): `%3A` stays, so that a rule must name both if it means both.
///
/// Errors, all the sender's: a path that does not begin with `/`; controls, spaces, `\`, `#`, non-ASCII;
/// escapes that are malformed, hide a delimiter (`%2f`, `%5c`), a control or ill-formed UTF-8, or are
/// encoded twice (`%252e`); `..` above the root; a dot segment with parameters (`/..;/`), which some
/// servers resolve.
pub fn canonicalise(raw: &[u8]) -> Result<(String, Option<String>), Rejection> {
    let (path, query) = match memchr(b'?', raw) {
        Some(at) => (&raw[..at], Some(&raw[at + 1..])),
        None => (raw, None),
    };
    let path = if is_canonical(path) { path.to_vec() } else { canonical_path(path)? };
    let query = query.map(|query| {
        let valid = query.iter().all(|&byte| byte.is_ascii_graphic() && byte != b'#');
        if valid { string(query.to_vec()) } else { Err(Rejection::TargetCharacterInvalid) }
    });
    Ok((string(path)?, query.transpose()?))
}

/// Name and value of each `name=value` of a query, decoded (`+` is a space), in order, repetitions included.
///
/// A piece without `=` has an empty value. A malformed escape stands for itself; bytes that are not UTF-8
/// become U+FFFD.
pub fn query_pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    })
}

/// Host and optional port (RFC 3986 section 3.2), checked and in lower case.
///
/// Errors: `HostInvalid` for anything but a name of letters, digits, `-`, `.` and `_` or a bracketed IPv6
/// address, with a port of 1 to 65535 if there is a colon; `TargetUserinfo` if there is an `@`.
pub fn authority(raw: &[u8]) -> Result<String, Rejection> {
    if memchr(b'@', raw).is_some() {
        return Err(Rejection::TargetUserinfo);
    }
    let (host, port) = split_port(raw)?;
    let valid = match host {
        [b'[', address @ .., b']'] => {
            std::str::from_utf8(address).is_ok_and(|address| address.parse::<Ipv6Addr>().is_ok())
        }
        name => is_name(name),
    };
    if !valid || !port.is_none_or(is_port) || raw.len() > AUTHORITY_BYTES_MAX {
        return Err(Rejection::HostInvalid);
    }
    string(raw.to_ascii_lowercase())
}

fn split_port(raw: &[u8]) -> Result<(&[u8], Option<&[u8]>), Rejection> {
    let host_end = match raw.first() {
        Some(b'[') => memchr(b']', raw).ok_or(Rejection::HostInvalid)? + 1,
        _ => memchr(b':', raw).unwrap_or(raw.len()),
    };
    match &raw[host_end..] {
        [] => Ok((raw, None)),
        [b':', port @ ..] => Ok((&raw[..host_end], Some(port))),
        _ => Err(Rejection::HostInvalid),
    }
}

/// Labels of letters, digits, `-` and `_`, none of them empty but a last one (`example.com.`).
fn is_name(name: &[u8]) -> bool {
    let rooted = name.strip_suffix(b".").unwrap_or(name);
    rooted.iter().all(|&byte| NAME[byte as usize])
        && rooted.split(|&byte| byte == b'.').all(|label| !label.is_empty())
}

fn is_port(port: &[u8]) -> bool {
    let digits = (1..=5).contains(&port.len()) && port.iter().all(u8::is_ascii_digit);
    let number = port.iter().fold(0u32, |number, digit| number * 10 + u32::from(digit.wrapping_sub(b'0')));
    digits && (1..=65_535).contains(&number)
}

/// Whether a path is certainly canonical: it has neither an escape nor a `//` nor a segment beginning with
/// a dot.
fn is_canonical(path: &[u8]) -> bool {
    path.first() == Some(&b'/')
        && path.iter().all(|&byte| SEGMENT[byte as usize] || byte == b'/')
        && !path.windows(2).any(|pair| pair[0] == b'/' && matches!(pair[1], b'/' | b'.'))
}

fn canonical_path(path: &[u8]) -> Result<Vec<u8>, Rejection> {
    if path.first() != Some(&b'/') {
        return Err(Rejection::TargetFormInvalid);
    }
    let mut out = Vec::with_capacity(path.len());
    let mut at = 0;
    while at < path.len() {
        match path[at] {
            b'/' => {
                end_segment(&mut out)?;
                if out.last() != Some(&b'/') {
                    out.push(b'/');
                }
                at += 1;
            }
            b'%' => at += canonical_escape(&path[at..], &mut out)?,
            byte if SEGMENT[byte as usize] => {
                out.push(byte);
                at += 1;
            }
            byte if ESCAPED[byte as usize] => {
                push_escape(&mut out, byte);
                at += 1;
            }
            _ => return Err(Rejection::TargetCharacterInvalid),
        }
    }
    end_segment(&mut out)?;
    if is_encoded_twice(&out) {
        return Err(Rejection::TargetEscapeInvalid);
    }
    Ok(out)
}

/// Resolves the last segment of `out` if it is a dot segment (RFC 3986 section 5.2.4).
fn end_segment(out: &mut Vec<u8>) -> Result<(), Rejection> {
    let Some(slash) = memrchr(b'/', out) else { return Ok(()) };
    match &out[slash + 1..] {
        b"." => out.truncate(slash + 1),
        b".." => {
            let parent = memrchr(b'/', &out[..slash]).ok_or(Rejection::TargetTraversal)?;
            out.truncate(parent + 1);
        }
        segment => {
            let behind = segment.strip_prefix(b"..").or(segment.strip_prefix(b"."));
            if behind.is_some_and(|rest| rest.starts_with(b";") || rest.starts_with(b"%3B")) {
                return Err(Rejection::TargetTraversal);
            }
        }
    }
    Ok(())
}

/// Writes the escape at the start of `path` (the whole character if it is not ASCII) in its canonical form.
/// Returns its length.
fn canonical_escape(path: &[u8], out: &mut Vec<u8>) -> Result<usize, Rejection> {
    let byte = escaped_byte(path)?;
    match byte {
        b'/' | b'\\' | 0..b' ' | 0x7f => return Err(Rejection::TargetEscapeInvalid),
        byte if UNRESERVED[byte as usize] => out.push(byte),
        byte if byte.is_ascii() => push_escape(out, byte),
        lead => {
            let length = match lead {
                0xc2..=0xdf => 2,
                0xe0..=0xef => 3,
                0xf0..=0xf4 => 4,
                _ => return Err(Rejection::TargetEscapeInvalid),
            };
            let mut character = [lead, 0, 0, 0];
            for (index, byte) in character.iter_mut().enumerate().take(length) {
                *byte = escaped_byte(path.get(3 * index..).unwrap_or_default())?;
                push_escape(out, *byte);
            }
            // Overlong forms and surrogates are refused here.
            std::str::from_utf8(&character[..length]).map_err(|_| Rejection::TargetEscapeInvalid)?;
            return Ok(3 * length);
        }
    }
    Ok(3)
}

fn escaped_byte(path: &[u8]) -> Result<u8, Rejection> {
    match path {
        [b'%', digits @ ..] => hex_byte(digits).ok_or(Rejection::TargetEscapeInvalid),
        _ => Err(Rejection::TargetEscapeInvalid),
    }
}

fn push_escape(out: &mut Vec<u8>, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend([b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}

/// Whether decoding once more, or several times more, would yield a dot, a delimiter or a control.
fn is_encoded_twice(path: &[u8]) -> bool {
    memmem::find_iter(path, b"%25").any(|at| {
        let mut rest = &path[at + 3..];
        while let Some(inner) = rest.strip_prefix(b"25") {
            rest = inner;
        }
        matches!(hex_byte(rest), Some(b'.' | b'/' | b'\\' | 0..b' ' | 0x7f))
    })
}

fn decode(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    if !bytes.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], hex_byte(&bytes[at + 1..])) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        at += 1;
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

/// The bytes are ASCII by the checks before, so that this never fails.
fn string(bytes: Vec<u8>) -> Result<String, Rejection> {
    String::from_utf8(bytes).map_err(|_| Rejection::TargetCharacterInvalid)
}

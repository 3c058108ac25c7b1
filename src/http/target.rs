//! Canonical targets (RFC 3986): what policy is evaluated on is what goes upstream, byte for byte.

mod redact;

pub use redact::{REDACTED, without_credentials};

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
        // Without an early exit, so that it is vectorised.
        let valid = query.iter().fold(true, |valid, &byte| valid & byte.is_ascii_graphic() & (byte != b'#'));
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
    let (is_valid, port) = match named_host(raw) {
        Some((host, port)) => (!host.is_empty(), port),
        None if memchr(b'@', raw).is_some() => return Err(Rejection::TargetUserinfo),
        None => match split_port(raw)? {
            ([b'[', address @ .., b']'], port) => {
                let address = std::str::from_utf8(address);
                (address.is_ok_and(|address| address.parse::<Ipv6Addr>().is_ok()), port)
            }
            (name, port) => (is_name(name), port),
        },
    };
    if !is_valid || !port.is_none_or(is_port) || raw.len() > AUTHORITY_BYTES_MAX {
        return Err(Rejection::HostInvalid);
    }
    string(raw.to_ascii_lowercase())
}

/// Host and port of an authority whose host is nothing or a name ([`is_name`]).
fn named_host(raw: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let mut before = b'.';
    let ends_name = |&byte: &u8| {
        let is_empty_label = byte == b'.' && before == b'.';
        before = byte;
        !NAME[byte as usize] || is_empty_label
    };
    match raw.iter().position(ends_name) {
        None => Some((raw, None)),
        Some(end) if raw[end] == b':' && raw[end + 1..].iter().all(u8::is_ascii_digit) => {
            Some((&raw[..end], Some(&raw[end + 1..])))
        }
        Some(_) => None,
    }
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
    let mut before = b'.';
    let is_named = name.iter().all(|&byte| {
        let is_empty_label = byte == b'.' && before == b'.';
        before = byte;
        NAME[byte as usize] && !is_empty_label
    });
    is_named && !name.is_empty()
}

fn is_port(port: &[u8]) -> bool {
    if !(1..=5).contains(&port.len()) || !port.iter().all(u8::is_ascii_digit) {
        return false;
    }
    // Five digits fit into 32 bits.
    let number = port.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
    (1..=65_535).contains(&number)
}

/// Whether a path is certainly canonical: it has neither an escape nor a `//` nor a segment beginning with
/// a dot.
fn is_canonical(path: &[u8]) -> bool {
    let mut before = 0;
    let is_plain = path.iter().all(|&byte| {
        let is_special = before == b'/' && matches!(byte, b'/' | b'.');
        before = byte;
        !is_special && (SEGMENT[byte as usize] || byte == b'/')
    });
    is_plain && path.first() == Some(&b'/')
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

/// The query of a target or of a URL: what is behind the first `?`.
pub fn query_of(target: &str) -> Option<&str> {
    target.split_once('?').map(|(_, query)| query)
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(raw: &str) -> Result<String, Rejection> {
        canonicalise(raw.as_bytes()).map(|(path, _)| path)
    }

    #[test]
    fn equivalent_paths_have_one_form() {
        // RFC 3986 section 6.2.2: case, percent-encoding and path segment normalisation.
        let cases = [
            ("/", "/"),
            ("/v1/messages", "/v1/messages"),
            ("/%7euser/%41%2d%5F", "/~user/A-_"),
            ("/a/./b/../c", "/a/c"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/.%2e/b", "/b"),
            ("//a///b//", "/a/b/"),
            ("//", "/"),
            ("/./", "/"),
            ("/a//../b", "/b"),
            ("/...", "/..."),
            ("/.well-known/x", "/.well-known/x"),
            ("/a..b/.c/d.", "/a..b/.c/d."),
            ("/caf%c3%a9/%F0%9f%92%a9", "/caf%C3%A9/%F0%9F%92%A9"),
            ("/a%3ab:c@d!e;f=g,h", "/a%3Ab:c@d!e;f=g,h"),
            ("/a%20b%25c%253a", "/a%20b%25c%253a"),
            ("/[x]{y}|\"<>^`", "/%5Bx%5D%7By%7D%7C%22%3C%3E%5E%60"),
        ];
        for (raw, canonical) in cases {
            assert_eq!(path(raw).as_deref(), Ok(canonical), "{raw}");
            assert_eq!(path(canonical).as_deref(), Ok(canonical), "{raw} twice");
        }
    }

    #[test]
    fn paths_that_servers_read_differently_are_refused() {
        let cases = [
            (Rejection::TargetFormInvalid, &["", "a", "*", "http:"][..]),
            (Rejection::TargetTraversal, &["/..", "/../", "/a/../..", "/%2e%2e/x", "/a/../%2e./b", "//.."]),
            (Rejection::TargetTraversal, &["/a/..;/b", "/.;x=1/b", "/..%3bx/", "/a/%2e%2e;"]),
            (Rejection::TargetCharacterInvalid, &["/a b", "/a\tb", "/a\\b", "/a#b", "/é", "/\u{7f}", "/a\0"]),
            (Rejection::TargetEscapeInvalid, &["/%", "/%2", "/%zz", "/%%41", "/%+1", "/a%2", "/%2%66"]),
            (
                Rejection::TargetEscapeInvalid,
                &["/a%2fb", "/a%2Fb", "/a%5cb", "/%00", "/%0d%0a", "/%7f", "/%09"],
            ),
            // Overlong forms of `.` and `/`, surrogates, lone and missing continuations, beyond U+10FFFF.
            (Rejection::TargetEscapeInvalid, &["/%c0%ae", "/%c0%af", "/%e0%80%af", "/%f0%80%80%af"]),
            (
                Rejection::TargetEscapeInvalid,
                &["/%ed%a0%80", "/%80", "/%c3", "/%c3a", "/%c3%41", "/%f4%90%80%80"],
            ),
            (Rejection::TargetEscapeInvalid, &["/%252e", "/%252E%252e/", "/%252f", "/%255c", "/%2500"]),
            (Rejection::TargetEscapeInvalid, &["/%25252e", "/%25%32%65", "/%25%32%35%32e", "/%250a"]),
        ];
        for (rejection, raws) in cases {
            for raw in raws {
                assert_eq!(path(raw), Err(rejection), "{raw:?}");
            }
        }
    }

    #[test]
    fn queries_stay_as_they_are() {
        let query = |raw: &str| canonicalise(raw.as_bytes()).map(|(_, query)| query);
        for (raw, expected) in [
            ("/a", None),
            ("/a?", Some("")),
            ("/a?b=%2e%2f../x?y&c=%", Some("b=%2e%2f../x?y&c=%")),
            ("/?%00", Some("%00")),
        ] {
            assert_eq!(query(raw), Ok(expected.map(str::to_owned)), "{raw}");
        }
        for raw in ["/?a b", "/?a#b", "/?\u{e9}", "/?\r", "/?\0", "/?\t", "/?\u{7f}"] {
            assert_eq!(query(raw), Err(Rejection::TargetCharacterInvalid), "{raw:?}");
        }
    }

    #[test]
    fn every_occurrence_of_a_parameter_is_seen() {
        let pairs: Vec<_> = query_pairs("a=1&&b&a=%32+x&%61=&c=%zz%&d=%ff&e==").collect();
        let expected =
            [("a", "1"), ("b", ""), ("a", "2 x"), ("a", ""), ("c", "%zz%"), ("d", "\u{fffd}"), ("e", "=")];
        assert_eq!(pairs, expected.map(|(name, value)| (name.into(), value.into())));
    }

    #[test]
    fn hosts_are_checked_and_lowered() {
        for (raw, host) in [
            ("Example.COM", "example.com"),
            ("a_b.c-d.", "a_b.c-d."),
            ("localhost:8080", "localhost:8080"),
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("[::1]", "[::1]"),
            ("[2001:DB8::1]:65535", "[2001:db8::1]:65535"),
        ] {
            assert_eq!(authority(raw.as_bytes()).as_deref(), Ok(host), "{raw}");
        }
        let long = format!("{}a", "a.".repeat(140));
        let invalid = [
            "",
            ".",
            "a..b",
            ".a",
            ":80",
            "a:",
            "a:0",
            "a:65536",
            "a:000001",
            "a:+1",
            "a:8a",
            "a:1:2",
            "a b",
            "a/b",
            "a,b",
            "a%41",
            "a\tb",
            "é",
            "[::1",
            "::1",
            "[::1]x",
            "[::1%25eth0]",
            "[v1.x]",
            "[]",
            "a\\b",
            "a?b",
            "a#b",
            "a;b",
            "a=b",
            "*",
            "[127.0.0.1]",
            &long,
        ];
        for raw in invalid {
            assert_eq!(authority(raw.as_bytes()), Err(Rejection::HostInvalid), "{raw:?}");
        }
        assert_eq!(authority(b"user:pass@a"), Err(Rejection::TargetUserinfo));
    }

    #[test]
    fn a_port_of_many_digits_does_not_overflow() {
        for port in ["99999999999999999999", "zzzzzzzzzzzzzzzz", "00000000000000000080"] {
            assert_eq!(authority(format!("a:{port}").as_bytes()), Err(Rejection::HostInvalid));
        }
    }

    /// Targets made of what matters to canonicalisation.
    fn raw_target() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            4 => Just("/".as_bytes().to_vec()),
            3 => prop::sample::select(vec![".", "..", "%2e", "%2E", "%25", "2e", "25", ";", "%3b", "?", "//"])
                .prop_map(|piece| piece.as_bytes().to_vec()),
            2 => prop::sample::select(vec!["a", "Z", "9", "%41", "%7e", "%c3%a9", "%3A", ":", "[", "%"])
                .prop_map(|piece| piece.as_bytes().to_vec()),
            1 => any::<u8>().prop_map(|byte| format!("%{byte:02x}").into_bytes()),
            1 => any::<u8>().prop_map(|byte| vec![byte]),
        ];
        prop::collection::vec(piece, 0..16).prop_map(|pieces| [b"/".to_vec(), pieces.concat()].concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn canonical_targets_come_back_unchanged(raw in raw_target()) {
            if let Ok((path, query)) = canonicalise(&raw) {
                let target = query.as_ref().map_or(path.clone(), |query| format!("{path}?{query}"));
                prop_assert_eq!(canonicalise(target.as_bytes()), Ok((path.clone(), query)));
                prop_assert!(!path.contains("//") && path.starts_with('/'));
                prop_assert!(path.split('/').all(|segment| segment != "." && segment != ".."));
                prop_assert!(path.bytes().all(|byte| byte.is_ascii_graphic() && !b"#?\\[]".contains(&byte)));
            }
        }
    }
}

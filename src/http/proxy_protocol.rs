//! The header that a load balancer puts in front of a connection to say whose it is: the PROXY protocol,
//! versions 1 and 2 (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>).
//!
//! ```text
//!  version 1   PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n          at most 107 bytes
//!  version 2   0d 0a 0d 0a 00 0d 0a 51 55 49 54 0a | 2c | fp | length, big-endian | address block | TLVs
//!              c: 0 LOCAL, 1 PROXY;  f: 0 unspecified, 1 IPv4, 2 IPv6, 3 Unix;  p: 1 stream
//! ```
//!
//! Whoever sends it is believed, so that the caller of this asks only peers that the operator has named.

use crate::limits::PROXY_HEADER_BYTES_MAX;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The versions, which a listener is told: the two are never guessed from what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// One line of text.
    V1,
    /// Binary.
    V2,
}

/// A header that is there whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Where the connection comes from; `None` where the proxy speaks for itself (LOCAL: a health check) or
    /// does not know (UNKNOWN, unspecified, Unix sockets): then it is the proxy's own address that counts.
    pub source: Option<SocketAddr>,
    /// Bytes of the header; what follows belongs to the connection.
    pub length: usize,
}

/// Why bytes are no header of the expected version. The peer, or whoever configured it, is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("the connection does not begin with a PROXY header of this version")]
    Signature,
    #[error("unknown version or command")]
    Command,
    #[error("unknown address family, or not a stream")]
    Family,
    #[error("an address that is none of its family, or a port that is no number")]
    Address,
    #[error("lengths that contradict each other")]
    Length,
    #[error("longer than allowed")]
    TooLong,
}

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, command, family and length.
const FIXED_BYTES: usize = 16;
/// Longest line of version 1, with CR and LF.
const LINE_BYTES_MAX: usize = 107;

/// Reads the header at the start of `bytes`; `None` while more of it must come.
///
/// # Errors
/// See [`Error`]; found as early as the bytes allow.
pub fn parse(version: Version, bytes: &[u8]) -> Result<Option<Header>, Error> {
    match version {
        Version::V1 => line(bytes),
        Version::V2 => binary(bytes),
    }
}

// ------------------------------------------------------------------------------------------------ version 1

fn line(bytes: &[u8]) -> Result<Option<Header>, Error> {
    const PREFIX: &[u8] = b"PROXY ";
    let common = bytes.len().min(PREFIX.len());
    if bytes[..common] != PREFIX[..common] {
        return Err(Error::Signature);
    }
    let Some(end) = bytes.iter().take(LINE_BYTES_MAX).position(|byte| *byte == b'\n') else {
        return if bytes.len() < LINE_BYTES_MAX { Ok(None) } else { Err(Error::TooLong) };
    };
    // The line feed is behind the prefix, which has none.
    let text = bytes[PREFIX.len()..end].strip_suffix(b"\r").ok_or(Error::Length)?;
    let text = std::str::from_utf8(text).map_err(|_| Error::Address)?;
    let length = end + 1;
    if text == "UNKNOWN" || text.starts_with("UNKNOWN ") {
        return Ok(Some(Header { source: None, length }));
    }
    let mut words = text.split(' ');
    let family = words.next();
    let [Some(source), Some(target), Some(source_port), Some(target_port), None] =
        std::array::from_fn(|_| words.next())
    else {
        return Err(Error::Length);
    };
    let parsed = |address: &str| match family {
        Some("TCP4") => address.parse().map(IpAddr::V4).map_err(|_| Error::Address),
        Some("TCP6") => address.parse().map(IpAddr::V6).map_err(|_| Error::Address),
        _ => Err(Error::Family),
    };
    let (source, _) = (parsed(source)?, parsed(target)?);
    let (source_port, _) = (port(source_port)?, port(target_port)?);
    Ok(Some(Header { source: Some(SocketAddr::new(source.to_canonical(), source_port)), length }))
}

/// Decimal, without signs and leading zeros.
fn port(text: &str) -> Result<u16, Error> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain).ok_or(Error::Address)
}

// ------------------------------------------------------------------------------------------------ version 2

fn binary(bytes: &[u8]) -> Result<Option<Header>, Error> {
    let common = bytes.len().min(SIGNATURE.len());
    if bytes[..common] != SIGNATURE[..common] {
        return Err(Error::Signature);
    }
    let is_local = match bytes.get(12) {
        None => return Ok(None),
        Some(0x20) => true,
        Some(0x21) => false,
        Some(_) => return Err(Error::Command),
    };
    let Some([family, high, low]) = bytes.get(13..FIXED_BYTES).and_then(|three| three.first_chunk()) else {
        return Ok(None);
    };
    let length = FIXED_BYTES + usize::from(u16::from_be_bytes([*high, *low]));
    if length > PROXY_HEADER_BYTES_MAX {
        return Err(Error::TooLong);
    }
    let Some(block) = bytes.get(FIXED_BYTES..length) else { return Ok(None) };
    // The block of a LOCAL header is skipped, whatever it holds.
    let source = if is_local { None } else { source(*family, block)? };
    Ok(Some(Header { source, length }))
}

/// The source address of an address block: source, target, their ports; then type-length-value triples.
fn source(family: u8, block: &[u8]) -> Result<Option<SocketAddr>, Error> {
    let (address, rest) = match family {
        0x00 => (None, &[][..]),
        0x11 => {
            let (addresses, rest) = block.split_first_chunk::<12>().ok_or(Error::Length)?;
            let [a, b, c, d, _, _, _, _, high, low, _, _] = *addresses;
            let port = u16::from_be_bytes([high, low]);
            (Some(SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), port)), rest)
        }
        0x21 => {
            let (source, rest) = block.split_first_chunk::<16>().ok_or(Error::Length)?;
            let (tail, rest) = rest.split_first_chunk::<20>().ok_or(Error::Length)?;
            let ip = IpAddr::V6(Ipv6Addr::from(*source)).to_canonical();
            (Some(SocketAddr::new(ip, u16::from_be_bytes([tail[16], tail[17]]))), rest)
        }
        0x31 => (None, block.get(216..).ok_or(Error::Length)?),
        _ => return Err(Error::Family),
    };
    skip_values(rest)?;
    Ok(address)
}

/// Type-length-value triples fill the rest exactly. None of them is looked at.
fn skip_values(mut rest: &[u8]) -> Result<(), Error> {
    while !rest.is_empty() {
        let (head, behind) = rest.split_first_chunk::<3>().ok_or(Error::Length)?;
        let length = usize::from(u16::from_be_bytes([head[1], head[2]]));
        rest = behind.get(length..).ok_or(Error::Length)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of version 2.
    fn header(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let length = (block.len() as u16).to_be_bytes();
        [SIGNATURE, &[command, family][..], &length, block].concat()
    }

    const IPV4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 0x04, 0x01, 0xbb];

    fn ipv6(source: &str) -> Vec<u8> {
        let source: Ipv6Addr = source.parse().unwrap();
        [&source.octets()[..], &[0; 16], &[0xdc, 0x04, 0x01, 0xbb]].concat()
    }

    fn check(version: Version, bytes: &[u8], expected: Result<Option<&str>, Error>) {
        let found = parse(version, &[bytes, b"GET / HTTP/1.1\r\n"].concat());
        let length = bytes.len();
        let expected = expected
            .map(|source| Some(Header { source: source.map(|source| source.parse().unwrap()), length }));
        assert_eq!(found, expected, "{}", bytes.escape_ascii());
    }

    #[test]
    fn version_2_names_the_source() {
        let check = |bytes: &[u8], expected| check(Version::V2, bytes, expected);
        let tlv = [0x04, 0, 3, 1, 2, 3, 0x20, 0, 0];
        check(&header(0x21, 0x11, &IPV4), Ok(Some("192.0.2.1:56324")));
        check(&header(0x21, 0x11, &[&IPV4[..], &tlv].concat()), Ok(Some("192.0.2.1:56324")));
        check(&header(0x21, 0x21, &ipv6("2001:db8::1")), Ok(Some("[2001:db8::1]:56324")));
        check(&header(0x21, 0x21, &ipv6("::ffff:192.0.2.1")), Ok(Some("192.0.2.1:56324")));
        check(&header(0x21, 0x31, &[b'/'; 216]), Ok(None));
        check(&header(0x21, 0x00, b"whatever"), Ok(None));
        check(&header(0x20, 0x00, b""), Ok(None));
        check(&header(0x20, 0x11, b"skipped"), Ok(None));
        check(&header(0x21, 0x11, &IPV4[..11]), Err(Error::Length));
        check(&header(0x21, 0x21, &ipv6("::1")[..35]), Err(Error::Length));
        check(&header(0x21, 0x31, &[0; 215]), Err(Error::Length));
        check(&header(0x21, 0x11, &[&IPV4[..], &tlv[..2]].concat()), Err(Error::Length));
        check(&header(0x21, 0x11, &[&IPV4[..], &tlv[..5]].concat()), Err(Error::Length));
        for family in [0x10, 0x12, 0x22, 0x32, 0x41, 0x01, 0xff] {
            check(&header(0x21, family, &IPV4), Err(Error::Family));
        }
        for command in [0x22, 0x11, 0x31, 0x01, 0x2f] {
            check(&header(command, 0x11, &IPV4), Err(Error::Command));
        }
        check(&header(0x20, 0, &[0; PROXY_HEADER_BYTES_MAX]), Err(Error::TooLong));
        check(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", Err(Error::Signature));
    }

    #[test]
    fn version_1_names_the_source() {
        let check = |text: &str, expected| check(Version::V1, text.as_bytes(), expected);
        check("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n", Ok(Some("192.0.2.1:56324")));
        check("PROXY TCP6 2001:db8::1 ::1 0 65535\r\n", Ok(Some("[2001:db8::1]:0")));
        check("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", Ok(Some("192.0.2.1:1")));
        check("PROXY UNKNOWN\r\n", Ok(None));
        check("PROXY UNKNOWN ffff::1 and whatever\r\n", Ok(None));
        for (text, error) in [
            ("PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n", Error::Length),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443 1\r\n", Error::Length),
            ("PROXY TCP4  192.0.2.1 198.51.100.1 56324 443\r\n", Error::Length),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\n", Error::Length),
            ("PROXY TCP4 ::1 ::1 1 2\r\n", Error::Address),
            ("PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n", Error::Address),
            ("PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n", Error::Address),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", Error::Address),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", Error::Address),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n", Error::Address),
            ("PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", Error::Family),
            ("PROXY UNKNOWNS x y 1 2\r\n", Error::Family),
            ("proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n", Error::Signature),
            ("GET / HTTP/1.1\r\n", Error::Signature),
        ] {
            check(text, Err(error));
        }
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LINE_BYTES_MAX));
        check(&long, Err(Error::TooLong));
    }

    #[test]
    fn a_header_that_is_cut_anywhere_is_not_complete() {
        let line = b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n".to_vec();
        let long = [&IPV4[..], &[4, 0, 2, 0, 0]].concat();
        for (version, bytes) in [
            (Version::V1, line),
            (Version::V2, header(0x21, 0x11, &long)),
            (Version::V2, header(0x21, 0x21, &ipv6("::1"))),
            (Version::V2, header(0x20, 0, &[])),
        ] {
            for length in 0..bytes.len() {
                assert_eq!(parse(version, &bytes[..length]), Ok(None), "{length} of {bytes:?}");
            }
            assert_eq!(parse(version, &bytes).unwrap().unwrap().length, bytes.len());
        }
    }
}

//! Where a request comes from when a trusted proxy stands in front (SECURITY R17).

use super::{Headers, proxy_protocol, syntax::trim};
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

/// A block of addresses, such as `10.0.0.0/8` or `2001:db8::/32`; an address alone is a block of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Bits behind the prefix are zero.
    address: IpAddr,
    prefix: u8,
}

/// Why a text is no block of addresses. The operator's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    #[error("is not an address or a block of addresses")]
    Syntax,
    #[error("has a prefix longer than the address")]
    Prefix,
    #[error("has bits behind its prefix: the block is {0}")]
    HostBits(Network),
}

impl Network {
    /// Whether `address` lies in the block. An IPv4 address that is written as IPv6 (`::ffff:10.0.0.1`) is
    /// the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && masked(address, self.prefix) == self.address
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Network, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Syntax)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => most,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().map_err(|_| NetworkError::Syntax)?
            }
            Some(_) => return Err(NetworkError::Syntax),
        };
        if prefix > most {
            return Err(NetworkError::Prefix);
        }
        let network = Network { address: masked(address, prefix), prefix };
        if network.address != address {
            return Err(NetworkError::HostBits(network));
        }
        Ok(network)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// `address` with zeros behind the first `prefix` bits.
fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V4((u32::from(v4) & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V6((u128::from(v6) & mask).into())
        }
    }
}

/// How a listener learns where its callers are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClientAddress {
    /// From the connection itself.
    #[default]
    Peer,
    /// Every connection begins with a PROXY header, and only these peers may connect.
    Proxy { version: proxy_protocol::Version, from: Vec<Network> },
    /// Requests of these peers carry it in a field that lists the hops, as `X-Forwarded-For` does.
    Header { name: Box<str>, from: Vec<Network> },
}

impl ClientAddress {
    /// Whether `peer` is a proxy that speaks for its callers: limits that are meant for one caller do not
    /// fit its connections.
    pub fn is_proxy(&self, peer: IpAddr) -> bool {
        match self {
            ClientAddress::Peer => false,
            ClientAddress::Proxy { from, .. } | ClientAddress::Header { from, .. } => {
                from.iter().any(|network| network.contains(peer))
            }
        }
    }

    /// The caller's address as a field of its request says it; `None` where the peer is the caller, or the
    /// field is missing or names no address.
    pub fn of_request(&self, peer: IpAddr, headers: &Headers) -> Option<SocketAddr> {
        let ClientAddress::Header { name, from } = self else { return None };
        self.is_proxy(peer).then(|| last_untrusted(headers, name, from)).flatten()
    }
}

/// The right-most hop that is not one of `trusted`: each proxy appends the peer that it saw, so that
/// whatever stands left of the first stranger is that stranger's claim. A hop that is no address ends the
/// search at the one before it. Where all hops are trusted it is the first of them.
fn last_untrusted(headers: &Headers, name: &str, trusted: &[Network]) -> Option<SocketAddr> {
    let values: Vec<&[u8]> = headers.get_all(name).collect();
    let mut found = None;
    for hop in values.iter().rev().flat_map(|value| value.rsplit(|byte| *byte == b',')) {
        let Some(address) = hop_address(trim(hop)) else { return found };
        found = Some(address);
        if !trusted.iter().any(|network| network.contains(address.ip())) {
            return found;
        }
    }
    found
}

/// An address, perhaps with a port or in brackets; without a port it is 0.
fn hop_address(hop: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(hop).ok()?;
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = match bare.parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, 0),
        Err(_) => text.parse().ok()?,
    };
    Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Vec<Network> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn blocks_hold_the_addresses_of_their_prefix() {
        for (network, address, is_in) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("0.0.0.0/0", "203.0.113.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/33", "2001:db8:7fff::1", true),
            ("2001:db8::/33", "2001:db8:8000::1", false),
            ("::1", "::1", true),
        ] {
            let parsed: Network = network.parse().unwrap();
            assert_eq!(parsed.contains(address.parse().unwrap()), is_in, "{network} {address}");
        }
        for (text, error) in [
            ("", "is not an address or a block of addresses"),
            ("10.0.0.0/", "is not an address or a block of addresses"),
            ("10.0.0.0/+8", "is not an address or a block of addresses"),
            ("example.com", "is not an address or a block of addresses"),
            ("10.0.0.0/33", "has a prefix longer than the address"),
            ("::/129", "has a prefix longer than the address"),
            ("10.0.0.1/8", "has bits behind its prefix: the block is 10.0.0.0/8"),
        ] {
            assert_eq!(text.parse::<Network>().unwrap_err().to_string(), error, "{text}");
        }
    }

    #[test]
    fn the_right_most_stranger_is_the_caller() {
        let from = networks(&["10.0.0.0/8", "2001:db8::/32"]);
        let client = ClientAddress::Header { name: "x-forwarded-for".into(), from };
        let check = |peer: &str, fields: &[&str], expected: Option<&str>| {
            let mut headers = Headers::new();
            fields.iter().for_each(|value| headers.append("X-Forwarded-For", value.as_bytes()));
            let found = client.of_request(peer.parse().unwrap(), &headers);
            assert_eq!(found, expected.map(|text| text.parse().unwrap()), "{peer} {fields:?}");
        };
        check("10.0.0.1", &["203.0.113.9"], Some("203.0.113.9:0"));
        check("10.0.0.1", &["1.1.1.1, 203.0.113.9"], Some("203.0.113.9:0"));
        check("10.0.0.1", &["1.1.1.1, 203.0.113.9 ,\t10.9.9.9"], Some("203.0.113.9:0"));
        check("10.0.0.1", &["1.1.1.1", "203.0.113.9, 10.9.9.9"], Some("203.0.113.9:0"));
        check("10.0.0.1", &["203.0.113.9, 10.9.9.9", "10.8.8.8"], Some("203.0.113.9:0"));
        check("10.0.0.1", &["203.0.113.9:4711"], Some("203.0.113.9:4711"));
        check("10.0.0.1", &["[2001:dead::1]:4711, [2001:db8::1]"], Some("[2001:dead::1]:4711"));
        check("10.0.0.1", &["2001:dead::1"], Some("[2001:dead::1]:0"));
        check("2001:db8::9", &["::ffff:203.0.113.9"], Some("203.0.113.9:0"));
        check("10.0.0.1", &["10.1.1.1, 10.2.2.2"], Some("10.1.1.1:0"));
        // What cannot be read ends the search: nothing left of it is to be believed.
        check("10.0.0.1", &["203.0.113.9, unknown, 10.2.2.2"], Some("10.2.2.2:0"));
        check("10.0.0.1", &["203.0.113.9, unknown"], None);
        check("10.0.0.1", &["203.0.113.9,"], None);
        check("10.0.0.1", &["\"203.0.113.9\""], None);
        check("10.0.0.1", &[], None);
        check("203.0.113.1", &["1.1.1.1"], None);
        assert_eq!(ClientAddress::Peer.of_request("10.0.0.1".parse().unwrap(), &Headers::new()), None);
    }

    #[test]
    fn a_proxy_is_known_by_its_address() {
        let from = networks(&["127.0.0.0/8"]);
        let proxy = ClientAddress::Proxy { version: proxy_protocol::Version::V2, from };
        assert!(proxy.is_proxy("127.0.0.1".parse().unwrap()));
        assert!(!proxy.is_proxy("192.0.2.1".parse().unwrap()));
        assert!(!ClientAddress::Peer.is_proxy("127.0.0.1".parse().unwrap()));
    }
}

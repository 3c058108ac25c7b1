//! Who a caller is when a proxy says so.

use ringward::http::Headers;
use ringward::http::client_address::{ClientAddress, Network};
use ringward::http::proxy_protocol::{Header, Version, parse};

/// A header is found alike for every split, and nothing behind it changes what it says.
pub fn header(data: &[u8]) {
    for version in [Version::V1, Version::V2] {
        let whole = parse(version, data);
        let stepwise = (0..=data.len())
            .map(|length| parse(version, &data[..length]))
            .find(|result| !matches!(result, Ok(None)))
            .unwrap_or(Ok(None));
        match whole {
            Ok(_) => assert_eq!(whole, stepwise),
            // Which of several faults is named first may depend on the split, that there is one may not.
            Err(_) => assert!(stepwise.is_err()),
        }
        if let Ok(Some(Header { source, length })) = whole {
            assert!(length <= data.len());
            assert_eq!(parse(version, &data[..length]), whole);
            assert!(source.is_none_or(|source| source.ip() == source.ip().to_canonical()));
        }
    }
}

/// The hop that is found is not trusted, unless all that were looked at are.
pub fn hops(data: &[u8]) {
    let from: Vec<Network> =
        ["10.0.0.0/8", "2001:db8::/32"].map(|text| text.parse().expect("a block")).into();
    let rule = ClientAddress::Header { name: "x-forwarded-for".into(), from };
    let mut headers = Headers::new();
    for line in data.split(|byte| *byte == b'\n').take(100) {
        headers.append("x-forwarded-for", line);
    }
    let proxy = "10.0.0.1".parse().expect("an address");
    let Some(found) = rule.of_request(proxy, &headers) else { return };
    let untrusted = !rule.is_proxy(found.ip());
    // Nothing left of an untrusted hop has a say.
    if untrusted {
        let mut more = Headers::new();
        more.append("x-forwarded-for", b"192.0.2.99");
        headers.iter().for_each(|(name, value)| more.append(name, value));
        assert_eq!(rule.of_request(proxy, &more), Some(found));
    }
    let stranger = "192.0.2.1".parse().expect("an address");
    assert_eq!(rule.of_request(stranger, &headers), None);
}

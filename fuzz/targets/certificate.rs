use ringward::runtime::tls::Certificate;

/// Whatever is read as a certificate has sensible facts, covers each of its own names, and says nothing that
/// a terminal would obey.
pub fn facts(data: &[u8]) {
    let Some(certificate) = Certificate::parse(data) else { return };
    assert!(certificate.serial.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert!(!certificate.name_shown().chars().any(char::is_control));
    for name in &certificate.dns_names {
        assert_eq!(*name, name.to_ascii_lowercase());
        let is_address = name.parse::<std::net::IpAddr>().is_ok();
        assert!(is_address || certificate.covers(name), "{name}");
    }
    assert!(certificate.addresses.iter().all(|address| certificate.covers(&address.to_string())));
    // A certificate that is cut off is none.
    assert_eq!(Certificate::parse(&data[..data.len() - 1]).filter(|_| is_whole(data)), None);
}

/// Whether nothing stands behind the certificate.
fn is_whole(data: &[u8]) -> bool {
    match data {
        [0x30, 0x82, high, low, rest @ ..] => rest.len() == usize::from(*high) << 8 | usize::from(*low),
        [0x30, length @ 0..=0x7f, rest @ ..] => rest.len() == usize::from(*length),
        _ => false,
    }
}

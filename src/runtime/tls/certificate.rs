//! What an operator wants to know of a certificate: names, dates, serial number, who issued it.
//!
//! This checks nothing: whether a certificate is believed is decided by rustls alone. It reads as much of the
//! DER (X.690) of RFC 5280 section 4.1 as that takes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Certificates name no more than this; the rest is not shown and not chosen by.
const NAMES_MAX: usize = 1024;
/// Characters of an issuer's name that a message repeats.
const SHOWN_CHARS_MAX: usize = 64;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0]` and `[3]`, constructed: version and extensions.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// `[2]` and `[7]` of a GeneralName (RFC 5280 section 4.2.1.6).
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;
/// 2.5.29.17
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
/// 2.5.4.3
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// The facts of one certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificate {
    /// Serial number in hexadecimal, as OpenSSL shows it.
    pub serial: String,
    /// Seconds since 1970 in UTC from which and until which it is valid, both included.
    pub not_before: i64,
    pub not_after: i64,
    /// DNS names in lower case, wildcards among them (RFC 9525 section 6.3). The common name is none.
    pub dns_names: Vec<String>,
    pub addresses: Vec<IpAddr>,
    /// The distinguished names, undecoded.
    pub(super) issuer: Vec<u8>,
    pub(super) subject: Vec<u8>,
}

impl Certificate {
    /// Reads a certificate in DER; `None` if it is not of the form of RFC 5280.
    pub fn parse(der: &[u8]) -> Option<Certificate> {
        let mut fields = Reader(Reader(Reader(der).expect(SEQUENCE)?).expect(SEQUENCE)?);
        let mut certificate = Certificate::default();
        fields.optional(VERSION);
        certificate.serial = hexadecimal(fields.expect(INTEGER)?);
        fields.expect(SEQUENCE)?;
        certificate.issuer = fields.expect(SEQUENCE)?.to_vec();
        let mut validity = Reader(fields.expect(SEQUENCE)?);
        certificate.not_before = time(validity.next()?)?;
        certificate.not_after = time(validity.next()?)?;
        certificate.subject = fields.expect(SEQUENCE)?.to_vec();
        fields.expect(SEQUENCE)?;
        while let Some((tag, content)) = fields.next() {
            if tag == EXTENSIONS {
                certificate.extensions(content)?;
            }
        }
        Some(certificate)
    }

    fn extensions(&mut self, content: &[u8]) -> Option<()> {
        let mut extensions = Reader(Reader(content).expect(SEQUENCE)?);
        while !extensions.0.is_empty() {
            let mut extension = Reader(extensions.expect(SEQUENCE)?);
            if extension.expect(OID)? != SUBJECT_ALT_NAME {
                continue;
            }
            // Between them may stand whether it is critical.
            let value = std::iter::from_fn(|| extension.next()).find(|(tag, _)| *tag == OCTET_STRING)?.1;
            let mut names = Reader(Reader(value).expect(SEQUENCE)?);
            while let Some((tag, name)) = names.next() {
                self.name(tag, name);
            }
        }
        Some(())
    }

    fn name(&mut self, tag: u8, name: &[u8]) {
        if self.dns_names.len() + self.addresses.len() >= NAMES_MAX {
            return;
        }
        match (tag, name.len()) {
            (DNS_NAME, _) if name.iter().all(u8::is_ascii_graphic) => {
                self.dns_names.push(String::from_utf8_lossy(name).to_ascii_lowercase());
            }
            (IP_ADDRESS, 4) => {
                let octets: [u8; 4] = name.try_into().unwrap_or_default();
                self.addresses.push(Ipv4Addr::from(octets).into());
            }
            (IP_ADDRESS, 16) => {
                let octets: [u8; 16] = name.try_into().unwrap_or_default();
                self.addresses.push(Ipv6Addr::from(octets).into());
            }
            _ => {}
        }
    }

    /// Whether it names `host`, a DNS name in lower case or an IP address: exactly, or by a wildcard that
    /// stands for exactly the first label (RFC 9525 section 6.3) of three or more: clients accept no other.
    pub fn covers(&self, host: &str) -> bool {
        if let Ok(address) = host.parse::<IpAddr>() {
            return self.addresses.contains(&address);
        }
        let below = host.split_once('.').map(|(_, below)| below);
        self.dns_names
            .iter()
            .any(|name| *name == host || wildcard(name).is_some_and(|suffix| below == Some(suffix)))
    }

    /// The first of its names, for people; the serial number where it has none.
    pub fn name_shown(&self) -> String {
        match (self.dns_names.first(), self.addresses.first()) {
            (Some(name), _) => name.clone(),
            (None, Some(address)) => address.to_string(),
            (None, None) => format!("serial {}", self.serial),
        }
    }

    /// Whether it says that it has issued itself.
    pub fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }
}

/// What stands behind the `*.` of a name.
pub(super) fn wildcard(name: &str) -> Option<&str> {
    name.strip_prefix("*.").filter(|suffix| suffix.contains('.'))
}

/// The common name in a distinguished name, as far as it can be repeated in a message.
pub(super) fn common_name(name: &[u8]) -> Option<String> {
    let mut sets = Reader(name);
    while let Some((SET, set)) = sets.next() {
        let mut attribute = Reader(Reader(set).expect(SEQUENCE)?);
        if attribute.expect(OID)? == COMMON_NAME {
            let (_, text) = attribute.next()?;
            let text = String::from_utf8_lossy(text);
            let shown = |c: char| if c.is_control() || c == '"' { '\u{fffd}' } else { c };
            return Some(text.chars().map(shown).take(SHOWN_CHARS_MAX).collect());
        }
    }
    None
}

/// Elements of DER, one after the other.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Tag and content of the next element; `None` at the end, and where it is cut off.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        if tag & 0x1f == 0x1f {
            return None;
        }
        let length = match first {
            0..=0x7f => usize::from(first),
            0x81..=0x84 => {
                let (bytes, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
                rest = after;
                bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte))
            }
            _ => return None,
        };
        let (content, after) = rest.split_at_checked(length)?;
        self.0 = after;
        Some((tag, content))
    }

    fn expect(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.next().filter(|(tag, _)| *tag == wanted).map(|(_, content)| content)
    }

    fn optional(&mut self, wanted: u8) {
        if self.0.first() == Some(&wanted) {
            self.next();
        }
    }
}

fn hexadecimal(number: &[u8]) -> String {
    let number = number.strip_prefix(&[0]).filter(|rest| !rest.is_empty()).unwrap_or(number);
    number.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// Seconds since 1970 (RFC 5280 section 4.1.2.5: in UTC, with seconds, without fractions).
fn time((tag, text): (u8, &[u8])) -> Option<i64> {
    let year_digits = match tag {
        UTC_TIME => 2,
        GENERALIZED_TIME => 4,
        _ => return None,
    };
    let digits = text.strip_suffix(b"Z")?;
    if digits.len() != year_digits + 10 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number * 10 + i64::from(byte - b'0'));
    let (year, rest) = digits.split_at(year_digits);
    let year = match (tag, number(year)) {
        (UTC_TIME, short @ 50..) => 1900 + short,
        (UTC_TIME, short) => 2000 + short,
        (_, year) => year,
    };
    let field = |index: usize| number(&rest[2 * index..2 * index + 2]);
    let (month, day) = (field(0), field(1));
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || field(2) > 23 || field(3) > 59 {
        return None;
    }
    Some(days_since_1970(year, month, day) * 86_400 + field(2) * 3_600 + field(3) * 60 + field(4))
}

/// Days of the proleptic Gregorian calendar; a year is thought to begin in March, so that the leap day is its
/// last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType, SerialNumber, date_time_ymd};

    fn issued(names: &[&str]) -> Vec<u8> {
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        params.serial_number = Some(SerialNumber::from_slice(&[0, 0xab, 0x0c]));
        params.distinguished_name.push(DnType::CommonName, "a \"name\"\n");
        params.subject_alt_names.push(SanType::IpAddress("2001:db8::1".parse().unwrap()));
        (params.not_before, params.not_after) = (date_time_ymd(2024, 2, 29), date_time_ymd(2050, 1, 1));
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn names_dates_and_serial_are_read() {
        let found = Certificate::parse(&issued(&["A.example", "*.b.example", "127.0.0.1"])).unwrap();
        assert_eq!(found.serial, "AB0C");
        assert_eq!((found.not_before, found.not_after), (1_709_164_800, 2_524_608_000));
        assert_eq!(found.dns_names, ["a.example", "*.b.example"]);
        assert_eq!(found.addresses, ["127.0.0.1".parse::<IpAddr>().unwrap(), "2001:db8::1".parse().unwrap()]);
        assert!(found.is_self_issued());
        assert_eq!(common_name(&found.issuer).as_deref(), Some("a \u{fffd}name\u{fffd}\u{fffd}"));
    }

    /// RFC 9525 section 6.3: a wildcard is the whole first label and stands for one.
    #[test]
    fn a_wildcard_stands_for_one_label() {
        let found =
            Certificate::parse(&issued(&["a.example", "*.b.example", "127.0.0.1", "*.internal"])).unwrap();
        for host in ["a.example", "x.b.example", "127.0.0.1", "2001:db8:0::1"] {
            assert!(found.covers(host), "{host}");
        }
        for host in
            ["b.example", "x.y.b.example", "x.a.example", "127.0.0.2", "", ".", "xb.example", "a.internal"]
        {
            assert!(!found.covers(host), "{host}");
        }
    }

    #[test]
    fn what_is_cut_off_is_no_certificate() {
        let whole = issued(&["a.example"]);
        for length in 0..whole.len() {
            assert_eq!(Certificate::parse(&whole[..length]), None, "{length}");
        }
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        let check = |tag: u8, text: &str, seconds: Option<i64>| {
            assert_eq!(time((tag, text.as_bytes())), seconds, "{text}");
        };
        check(UTC_TIME, "700101000000Z", Some(0));
        check(UTC_TIME, "491231235959Z", Some(2_524_607_999));
        check(UTC_TIME, "500101000000Z", Some(-631_152_000));
        check(GENERALIZED_TIME, "20000229120000Z", Some(951_825_600));
        check(GENERALIZED_TIME, "99991231235959Z", Some(253_402_300_799));
        for text in ["", "Z", "7001010000Z", "700101000000", "701301000000Z", "70010100000xZ"] {
            check(UTC_TIME, text, None);
        }
        check(INTEGER, "700101000000Z", None);
    }
}

use super::{Error, Scrub};
use crate::inspect::echo::Echo;
use crate::limits::{SECRET_BYTES_MAX, SECRET_BYTES_MIN};
use std::fmt;
use std::sync::{Arc, OnceLock};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The bytes of a secret, wiped when dropped, compared in constant time, never printed (SECURITY R45, R46).
///
/// Holds no control character but HTAB, so that it may stand in a header value (RFC 9110 section 5.5).
pub struct SecretValue {
    bytes: Zeroizing<Vec<u8>>,
    scrub: Scrub,
    echo: OnceLock<Arc<Echo>>,
}

impl SecretValue {
    /// Takes `bytes` as a secret; refused bytes are wiped as well.
    ///
    /// # Errors
    /// [`Error::TooShort`] under 12 bytes unless `scrub` is off, [`Error::TooLong`] beyond 64 KiB,
    /// [`Error::ControlCharacter`]; the source of the value is at fault. An empty value is always too short.
    pub fn new(bytes: impl Into<Zeroizing<Vec<u8>>>, scrub: Scrub) -> Result<SecretValue, Error> {
        let bytes = bytes.into();
        let floor = if scrub == Scrub::On { SECRET_BYTES_MIN } else { 1 };
        if bytes.len() < floor {
            return Err(Error::TooShort { len: bytes.len() });
        }
        if bytes.len() > SECRET_BYTES_MAX {
            return Err(Error::TooLong);
        }
        match bytes.iter().position(|byte| byte.is_ascii_control() && *byte != b'\t') {
            Some(offset) => Err(Error::ControlCharacter { offset }),
            None => Ok(SecretValue { bytes, scrub, echo: OnceLock::new() }),
        }
    }

    /// A value composed of checked parts, such as a rendered template.
    pub(super) fn composed(bytes: Zeroizing<Vec<u8>>) -> SecretValue {
        debug_assert!(!bytes.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t'));
        SecretValue { bytes, scrub: Scrub::Off, echo: OnceLock::new() }
    }

    /// All spellings in which it must not come back (SECURITY R19); `None` where `scrub` is off. The first
    /// call makes them: whoever loads a value calls it before the value is used.
    pub fn echo(&self) -> Option<&Arc<Echo>> {
        let made = || Arc::new(Echo::new(&[&self.bytes]));
        (self.scrub == Scrub::On).then(|| self.echo.get_or_init(made))
    }

    /// The secret itself. Goes to the upstream or to a token endpoint, nowhere else.
    pub fn expose(&self) -> &[u8] {
        &self.bytes
    }

    /// Number of bytes; at least one.
    #[expect(clippy::len_without_is_empty, reason = "a secret is never empty")]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// In constant time for values of one length; the length itself is no secret.
impl PartialEq for SecretValue {
    fn eq(&self, other: &SecretValue) -> bool {
        self.bytes.ct_eq(&other.bytes).into()
    }
}

impl Eq for SecretValue {}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], scrub: Scrub, expected: Result<(), Error>) {
        let value = SecretValue::new(bytes.to_vec(), scrub);
        assert_eq!(value.as_ref().map(|_| ()).map_err(Clone::clone), expected, "{bytes:?}");
        if let Ok(value) = value {
            assert_eq!(value.expose(), bytes);
            assert_eq!(value.len(), bytes.len());
        }
    }

    // SECURITY R18, R19.
    #[test]
    fn what_cannot_be_a_secret_is_refused_at_load() {
        check(b"0123456789ab", Scrub::On, Ok(()));
        check(b"0123456789a", Scrub::On, Err(Error::TooShort { len: 11 }));
        check(b"0123456789a", Scrub::Off, Ok(()));
        check(b"", Scrub::Off, Err(Error::TooShort { len: 0 }));
        check(&[b'a'; SECRET_BYTES_MAX], Scrub::On, Ok(()));
        check(&[b'a'; SECRET_BYTES_MAX + 1], Scrub::Off, Err(Error::TooLong));
        for byte in [b'\r', b'\n', 0, 0x1b, 0x7f] {
            let mut bytes = b"a long enough secret".to_vec();
            bytes[5] = byte;
            check(&bytes, Scrub::On, Err(Error::ControlCharacter { offset: 5 }));
        }
        check("tab\tand öbs-text".as_bytes(), Scrub::On, Ok(()));
    }

    // SECURITY R45, R46.
    #[test]
    fn values_compare_and_print_nothing() {
        let value = |text: &str| SecretValue::new(text.as_bytes().to_vec(), Scrub::Off).unwrap();
        assert_eq!(value("canary-one"), value("canary-one"));
        assert_ne!(value("canary-one"), value("canary-two"));
        assert_ne!(value("canary-one"), value("canary-on"));
        assert_eq!(format!("{:?}", value("canary-one")), "SecretValue(…)");
    }
}

//! Signatures of webhooks as Standard Webhooks defines them (standardwebhooks.com), version 1.

use aws_lc_rs::hmac;
use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use zeroize::Zeroizing;

/// What a signing secret begins with.
const PREFIX: &[u8] = b"whsec_";
/// Keys are handed out with and without the padding of base64.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// Length of a key, in bytes.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A key that signs webhooks.
pub struct SigningKey(hmac::Key);

/// The text is no key; the operator is at fault. Holds nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no `whsec_` with the base64 of 24 to 64 bytes")]
pub struct MalformedKey;

impl SigningKey {
    /// Reads a key as it is handed out: `whsec_` and base64.
    ///
    /// # Errors
    /// [`MalformedKey`].
    pub fn parse(text: &[u8]) -> Result<SigningKey, MalformedKey> {
        let encoded = text.strip_prefix(PREFIX).ok_or(MalformedKey)?;
        let bytes = Zeroizing::new(LENIENT.decode(encoded).map_err(|_| MalformedKey)?);
        if !KEY_BYTES.contains(&bytes.len()) {
            return Err(MalformedKey);
        }
        Ok(SigningKey(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// The signature of a message that is sent `at`, in seconds since 1970: `v1,` and base64.
    pub fn sign(&self, id: &str, at: u64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("{id}.{at}.").as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's libraries.
    #[test]
    fn the_known_message_has_the_known_signature() {
        let key = SigningKey::parse(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_key_is_the_same_without_its_padding() {
        let text = format!("whsec_{}", STANDARD.encode([7; 25]));
        let sign = |text: &str| SigningKey::parse(text.as_bytes()).unwrap().sign("msg_1", 1, b"{}");
        assert!(text.ends_with('='));
        assert_eq!(sign(&text), sign(text.trim_end_matches('=')));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let short = format!("whsec_{}", STANDARD.encode([7; 23]));
        let long = format!("whsec_{}", STANDARD.encode([7; 65]));
        for text in ["", "whsec_", "whsec_?", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", &short, &long] {
            assert!(matches!(SigningKey::parse(text.as_bytes()), Err(MalformedKey)), "{text}");
        }
    }
}

//! The key that the dev issuer signs with, fresh at each start.

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// An ES256 key (RFC 7518 section 3.4) that never leaves this process.
pub(super) struct SigningKey {
    pair: EcdsaKeyPair,
    kid: String,
    random: SystemRandom,
}

impl SigningKey {
    /// A new one.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub(super) fn generate() -> Result<SigningKey, Unspecified> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
        Ok(SigningKey { pair, kid: format!("dev-{}", random_text()?), random: SystemRandom::new() })
    }

    /// The public half as a JWK Set (RFC 7517 section 5).
    pub(super) fn key_set(&self) -> Value {
        // An uncompressed point (SEC 1 section 2.3.3): 4, x, y.
        let point = self.pair.public_key().as_ref();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
        let key = json!({
            "kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": self.kid, "use": "sig", "alg": "ES256",
        });
        json!({ "keys": [key] })
    }

    /// A JWT of these claims (RFC 7519).
    ///
    /// # Errors
    /// The system has no random bytes.
    pub(super) fn sign(&self, claims: &Value) -> Result<String, Unspecified> {
        let header = json!({ "alg": "ES256", "typ": "JWT", "kid": self.kid }).to_string();
        let signed =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = self.pair.sign(&self.random, signed.as_bytes())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// 128 random bits as 32 hexadecimal digits.
///
/// # Errors
/// The system has no random bytes.
pub(in crate::demo) fn random_text() -> Result<String, Unspecified> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

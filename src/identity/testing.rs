//! Issuers, keys and tokens for tests. Everything is made at run time; nothing here is a fixed key.

use super::*;
use crate::time::{Instant, Timestamp};
use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeySize,
    signature::{self as sig, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

pub const ISSUER: &str = "https://idp.example.com";
pub const AUDIENCE: &str = "https://gw.example.com";
/// 2026-11-21T11:10:00Z.
pub const NOW_S: u64 = 1_795_259_400;

/// The moment `seconds` after [`NOW_S`].
pub fn at(seconds: i64) -> Now {
    let wall = Timestamp(NOW_S.checked_add_signed(seconds).expect("after 1970") * 1_000_000);
    Now { wall, instant: Instant(wall.0 * 1000) }
}

pub fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Signs tokens.
pub enum Signer {
    Es256(EcdsaKeyPair),
    Es384(EcdsaKeyPair),
    Rsa(RsaKeyPair, &'static str),
    Ed(Ed25519KeyPair),
}

impl Signer {
    pub fn es256() -> Signer {
        let pair = EcdsaKeyPair::generate(&sig::ECDSA_P256_SHA256_FIXED_SIGNING);
        Signer::Es256(pair.expect("randomness"))
    }

    pub fn es384() -> Signer {
        let pair = EcdsaKeyPair::generate(&sig::ECDSA_P384_SHA384_FIXED_SIGNING);
        Signer::Es384(pair.expect("randomness"))
    }

    pub fn rsa(algorithm: &'static str) -> Signer {
        Signer::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("randomness"), algorithm)
    }

    pub fn ed25519() -> Signer {
        Signer::Ed(Ed25519KeyPair::generate().expect("randomness"))
    }

    pub fn algorithm(&self) -> &'static str {
        match self {
            Signer::Es256(_) => "ES256",
            Signer::Es384(_) => "ES384",
            Signer::Rsa(_, algorithm) => algorithm,
            Signer::Ed(_) => "EdDSA",
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Signer::Es256(pair) | Signer::Es384(pair) => {
                pair.sign(&random, message).expect("randomness").as_ref().to_vec()
            }
            Signer::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Signer::Rsa(pair, algorithm) => {
                let encoding: &'static dyn sig::RsaEncoding = match *algorithm {
                    "RS256" => &sig::RSA_PKCS1_SHA256,
                    "RS384" => &sig::RSA_PKCS1_SHA384,
                    "RS512" => &sig::RSA_PKCS1_SHA512,
                    "PS256" => &sig::RSA_PSS_SHA256,
                    "PS384" => &sig::RSA_PSS_SHA384,
                    _ => &sig::RSA_PSS_SHA512,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, message, &mut signature).expect("randomness");
                signature
            }
        }
    }

    /// The public key as a JWK without `alg`, so that a test may say more.
    pub fn jwk(&self, kid: &str) -> serde_json::Value {
        let mut jwk = match self {
            Signer::Es256(pair) | Signer::Es384(pair) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let curve = if x.len() == 32 { "P-256" } else { "P-384" };
                serde_json::json!({"kty": "EC", "crv": curve, "x": base64(x), "y": base64(y)})
            }
            Signer::Ed(pair) => {
                serde_json::json!({"kty": "OKP", "crv": "Ed25519", "x": base64(pair.public_key())})
            }
            Signer::Rsa(pair, _) => {
                let key = pair.public_key();
                let n = key.modulus().big_endian_without_leading_zero().to_vec();
                let e = key.exponent().big_endian_without_leading_zero().to_vec();
                serde_json::json!({"kty": "RSA", "n": base64(n), "e": base64(e)})
            }
        };
        jwk["kid"] = kid.into();
        jwk
    }

    /// A token with exactly this header and payload.
    pub fn raw(&self, header: &str, payload: &str) -> String {
        let signed = format!("{}.{}", base64(header), base64(payload));
        let signature = self.sign(signed.as_bytes());
        format!("{signed}.{}", base64(signature))
    }

    /// A token of key `kid` with `claims`.
    pub fn token(&self, kid: &str, claims: &serde_json::Value) -> String {
        let header = format!(r#"{{"alg":"{}","typ":"JWT","kid":"{kid}"}}"#, self.algorithm());
        self.raw(&header, &claims.to_string())
    }
}

/// Sound claims; a test changes what it is about.
pub fn claims() -> serde_json::Value {
    serde_json::json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "agent-7", "exp": NOW_S + 600, "iat": NOW_S - 10,
        "groups": ["agents", "blue"], "purpose": "nightly report", "jti": "t-1", "azp": "client-3",
    })
}

/// Sound claims with `changes` in their place; `null` removes one.
pub fn claims_with(changes: serde_json::Value) -> serde_json::Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().expect("an object") {
        if value.is_null() {
            claims.as_object_mut().expect("an object").remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

pub fn settings() -> Settings {
    Settings::new("corp", ISSUER, &[AUDIENCE], &["ES256", "ES384", "RS256", "PS384", "EdDSA"])
}

/// An issuer with these rules that publishes `keys`.
pub fn issuer(settings: Settings, keys: &[serde_json::Value]) -> Arc<Issuer> {
    let issuer = Issuer::new(settings).expect("sound settings");
    publish(&issuer, keys);
    Arc::new(issuer)
}

pub fn publish(issuer: &Issuer, keys: &[serde_json::Value]) {
    let document = serde_json::json!({ "keys": keys }).to_string();
    issuer.keys().publish(Arc::new(KeySet::parse(document.as_bytes()).expect("sound keys")));
}

pub fn bearer(token: &str) -> Headers {
    let mut headers = Headers::new();
    headers.append("authorization", format!("Bearer {token}").as_bytes());
    headers
}

pub fn cache() -> TokenCache {
    TokenCache::new(&[7; 32])
}

/// One call with a fresh cache.
pub fn once(now: Now, token: &str, issuers: &[Arc<Issuer>]) -> Result<Arc<Principal>, Failure> {
    authenticate(now, &bearer(token), issuers, &mut cache())
}

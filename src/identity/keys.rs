use super::{algorithm::Algorithm, base64url, json::Json, weak};
use crate::{limits, time::Timestamp};
use arc_swap::{ArcSwap, Guard};
use aws_lc_rs::{
    digest,
    signature::{self, ParsedPublicKey, RsaPublicKeyComponents},
};
use jsonwebtoken::{DecodingKey, crypto::aws_lc};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Where the keys of an issuer stand: read by every shard without a lock, published by `background`.
#[derive(Debug, Default)]
pub struct KeySlot {
    keys: ArcSwap<KeySet>,
    /// Wall-clock microseconds of the last finished fetch; zero: never.
    attempted: AtomicU64,
}

impl KeySlot {
    /// The keys of this moment.
    pub fn load(&self) -> Guard<Arc<KeySet>> {
        self.keys.load()
    }

    /// The keys of this moment, to be kept.
    pub fn load_full(&self) -> Arc<KeySet> {
        self.keys.load_full()
    }

    /// Replaces the keys.
    pub fn publish(&self, keys: Arc<KeySet>) {
        self.keys.store(keys);
    }

    /// Notes that a fetch ended at `at`, whether it brought keys or not.
    pub fn note_attempt(&self, at: Timestamp) {
        self.attempted.store(at.0, Ordering::Relaxed);
    }

    /// Whether it makes sense to ask for a fetch: the last one ended at least 30 s ago (SECURITY R30). It
    /// spares the hop to `background`, which holds the limit again. A clock that was set back counts as
    /// time that passed.
    pub fn may_refetch(&self, now: Timestamp) -> bool {
        let attempted = self.attempted.load(Ordering::Relaxed);
        attempted == 0 || now.0.abs_diff(attempted) >= limits::JWKS_REFETCH_INTERVAL.as_micros() as u64
    }
}

/// The keys that an issuer publishes (RFC 7517), those that can be used. Immutable.
#[derive(Debug, Default)]
pub struct KeySet {
    generation: u64,
    keys: Vec<Key>,
    skipped: Vec<Skipped>,
}

/// Why a whole document is refused. The issuer is at fault; the keys of before stay in use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    #[error("the key set is {found} bytes long; the limit is {max}", max = limits::JWKS_BYTES_MAX)]
    TooLarge { found: usize },
    #[error("the key set is not a JSON object with an array \"keys\", or it has duplicate members")]
    Malformed,
    #[error("the key set has {found} keys; the limit is {max}", max = limits::JWKS_KEYS_MAX)]
    TooMany { found: usize },
    #[error("the key set has two signature keys of the same kid, or the same one twice")]
    Duplicate,
    #[error("the key set has no usable signature key{}", first(.skipped))]
    NoUsableKey { skipped: Vec<Skipped> },
}

fn first(skipped: &[Skipped]) -> String {
    skipped.first().map(|key| format!(": {key}")).unwrap_or_default()
}

/// A key that was left out, for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("key {index} was left out: {reason}")]
pub struct Skipped {
    /// Position in the document, from zero.
    pub index: usize,
    pub reason: KeyProblem,
}

/// Why one key of a set cannot be used. The issuer is at fault, or the key is for something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    #[error("it is not an object with a kty")]
    Malformed,
    #[error("its kid is not a text")]
    Kid,
    #[error("its use or key_ops is not signature verification")]
    Use,
    #[error("its type, curve or algorithm is not supported")]
    Unsupported,
    #[error("its algorithm does not fit its type or curve")]
    Mismatch,
    #[error("it is symmetric, and it was published")]
    Symmetric,
    #[error("its private part was published")]
    Private,
    #[error("RSA below 2048 bits, or above 8192")]
    RsaSize,
    #[error("its RSA exponent is not an odd number from 3 to 33 bits")]
    RsaExponent,
    #[error("it was made by a generator with a known flaw (CVE-2017-15361)")]
    RsaWeak,
    #[error("its parameters are not a valid public key")]
    Invalid,
}

/// One public key for signatures.
pub struct Key {
    kid: Option<Box<str>>,
    algorithms: Vec<Algorithm>,
    thumbprint: [u8; 16],
    decoding: DecodingKey,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("kid", &self.kid).field("algorithms", &self.algorithms).finish()
    }
}

/// What [`KeySet::select`] found for a token's header.
#[derive(Debug)]
pub enum Selection<'a> {
    Found(&'a Key),
    /// No key of that kid, or none at all for a token without kid.
    Unknown,
    /// The token has no kid and several keys could be meant.
    Ambiguous,
    /// The key of that kid is for other algorithms.
    WrongAlgorithm,
}

impl KeySet {
    /// Reads a JWK Set document (RFC 7517 section 5).
    ///
    /// A key that cannot be used is left out and reported, not the whole set: sets also hold encryption
    /// keys and new types, and RFC 7517 section 5 asks to ignore what is not understood. So symmetric keys,
    /// published private keys, wrong `use`, RSA below 2048 bits and points off their curve never verify
    /// anything. Two usable keys of one kid make the set ambiguous: it is refused whole, as is a set without
    /// any usable key.
    ///
    /// # Errors
    /// [`KeySetError`]; the issuer is at fault.
    pub fn parse(document: &[u8]) -> Result<KeySet, KeySetError> {
        if document.len() > limits::JWKS_BYTES_MAX {
            return Err(KeySetError::TooLarge { found: document.len() });
        }
        let json = Json::parse(document).ok_or(KeySetError::Malformed)?;
        let Some(Json::Array(entries)) = json.member("keys") else {
            return Err(KeySetError::Malformed);
        };
        if entries.len() > limits::JWKS_KEYS_MAX {
            return Err(KeySetError::TooMany { found: entries.len() });
        }
        let (mut keys, mut skipped) = (Vec::new(), Vec::new());
        for (index, entry) in entries.iter().enumerate() {
            match Key::parse(entry) {
                Ok(key) => keys.push(key),
                Err(reason) => skipped.push(Skipped { index, reason }),
            }
        }
        if keys.is_empty() {
            return Err(KeySetError::NoUsableKey { skipped });
        }
        if has_duplicates(&keys) {
            return Err(KeySetError::Duplicate);
        }
        let digest = digest::digest(&digest::SHA256, document);
        let generation = digest.as_ref().iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        Ok(KeySet { generation, keys, skipped })
    }

    /// Equal for equal documents, different for different ones; zero for no keys at all.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether there is no key: none was ever fetched, or they became too old.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Number of usable keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// The keys that were left out, for the log.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// The key for a token that names `kid` and `algorithm`. The kid is compared as it is and means nothing
    /// else (SECURITY R28). Without a kid the one key that fits is meant, if it is the only one.
    pub fn select(&self, kid: Option<&str>, algorithm: Algorithm) -> Selection<'_> {
        let fits = |key: &&Key| key.algorithms.contains(&algorithm);
        let Some(kid) = kid else {
            let mut fitting = self.keys.iter().filter(fits);
            return match (fitting.next(), fitting.next()) {
                (Some(key), None) => Selection::Found(key),
                (None, _) => Selection::Unknown,
                (Some(_), Some(_)) => Selection::Ambiguous,
            };
        };
        match self.keys.iter().find(|key| key.kid.as_deref() == Some(kid)) {
            Some(key) if fits(&key) => Selection::Found(key),
            Some(_) => Selection::WrongAlgorithm,
            None => Selection::Unknown,
        }
    }

    /// Whether a key of this thumbprint is (still) published.
    pub fn holds(&self, thumbprint: &[u8; 16]) -> bool {
        self.keys.iter().any(|key| key.thumbprint == *thumbprint)
    }
}

fn has_duplicates(keys: &[Key]) -> bool {
    keys.iter().enumerate().any(|(index, key)| {
        keys[..index].iter().any(|other| match &key.kid {
            Some(_) => other.kid == key.kid,
            None => other.kid.is_none() && other.thumbprint == key.thumbprint,
        })
    })
}

impl Key {
    /// Names kid and key: a cached token is bound to it.
    pub fn thumbprint(&self) -> &[u8; 16] {
        &self.thumbprint
    }

    /// Whether `signature` over `message` was made with this key. The key must fit `algorithm`: see
    /// [`KeySet::select`].
    pub fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &Vec<u8>) -> bool {
        debug_assert!(self.algorithms.contains(&algorithm));
        let verifier = (aws_lc::DEFAULT_PROVIDER.verifier_factory)(&algorithm.backend(), &self.decoding);
        verifier.is_ok_and(|verifier| verifier.verify(message, signature).is_ok())
    }

    fn parse(entry: &Json<'_>) -> Result<Key, KeyProblem> {
        let kty = text(entry, "kty")?.ok_or(KeyProblem::Malformed)?;
        let kid = match entry.member("kid") {
            None => None,
            Some(kid) => Some(kid.text().ok_or(KeyProblem::Kid)?),
        };
        if kty == "oct" || entry.member("k").is_some() {
            return Err(KeyProblem::Symmetric);
        }
        if entry.member("d").is_some() {
            return Err(KeyProblem::Private);
        }
        check_use(entry)?;
        let named = match text(entry, "alg")? {
            None => None,
            Some(name) => Some(Algorithm::from_name(name).ok_or(KeyProblem::Unsupported)?),
        };
        let (possible, decoding, bytes) = match kty {
            "RSA" => rsa(entry)?,
            "EC" => elliptic(entry)?,
            "OKP" => edwards(entry)?,
            _ => return Err(KeyProblem::Unsupported),
        };
        let algorithms = match named {
            None => possible.to_vec(),
            Some(algorithm) if possible.contains(&algorithm) => vec![algorithm],
            Some(_) => return Err(KeyProblem::Mismatch),
        };
        let thumbprint = thumbprint(kid, &bytes);
        Ok(Key { kid: kid.map(Into::into), algorithms, thumbprint, decoding })
    }
}

fn thumbprint(kid: Option<&str>, key: &[u8]) -> [u8; 16] {
    let mut context = digest::Context::new(&digest::SHA256);
    let kid = kid.map_or(&b"-"[..], str::as_bytes);
    context.update(&(kid.len() as u64).to_le_bytes());
    context.update(kid);
    context.update(key);
    let mut half = [0; 16];
    half.copy_from_slice(&context.finish().as_ref()[..16]);
    half
}

fn text<'j>(entry: &'j Json<'_>, name: &str) -> Result<Option<&'j str>, KeyProblem> {
    match entry.member(name) {
        None => Ok(None),
        Some(value) => Ok(Some(value.text().ok_or(KeyProblem::Malformed)?)),
    }
}

/// `use` and `key_ops` allow verification, where they are present (RFC 7517 sections 4.2 and 4.3).
fn check_use(entry: &Json<'_>) -> Result<(), KeyProblem> {
    if text(entry, "use")?.is_some_and(|purpose| purpose != "sig") {
        return Err(KeyProblem::Use);
    }
    match entry.member("key_ops") {
        None => Ok(()),
        Some(Json::Array(operations)) if operations.iter().any(|op| op.text() == Some("verify")) => Ok(()),
        Some(_) => Err(KeyProblem::Use),
    }
}

fn bytes(entry: &Json<'_>, name: &str) -> Result<Vec<u8>, KeyProblem> {
    let text = text(entry, name)?.ok_or(KeyProblem::Invalid)?;
    base64url::decode(text.as_bytes()).ok_or(KeyProblem::Invalid)
}

/// The algorithms a key can do, the key itself, and its bytes for the thumbprint.
type Parsed = (&'static [Algorithm], DecodingKey, Vec<u8>);

fn rsa(entry: &Json<'_>) -> Result<Parsed, KeyProblem> {
    const ALGORITHMS: &[Algorithm] = &[
        Algorithm::Rs256,
        Algorithm::Rs384,
        Algorithm::Rs512,
        Algorithm::Ps256,
        Algorithm::Ps384,
        Algorithm::Ps512,
    ];
    let (n, e) = (bytes(entry, "n")?, bytes(entry, "e")?);
    // Some issuers write the sign byte of ASN.1 in front of the number.
    let (n, e) = (without_zeros(&n), without_zeros(&e));
    let bits = (n.len() * 8).saturating_sub(n.first().map_or(0, |byte| byte.leading_zeros() as usize));
    if !(limits::RSA_BITS_MIN..=limits::RSA_BITS_MAX).contains(&bits) {
        return Err(KeyProblem::RsaSize);
    }
    let odd = |number: &[u8]| number.last().is_some_and(|byte| byte & 1 == 1);
    if !odd(e) || e == [1] || e.len() > 5 || (e.len() == 5 && e[0] > 1) {
        return Err(KeyProblem::RsaExponent);
    }
    if !odd(n) {
        return Err(KeyProblem::Invalid);
    }
    if weak::is_roca(n) {
        return Err(KeyProblem::RsaWeak);
    }
    let components = RsaPublicKeyComponents { n, e };
    components
        .to_parsed_public_key(&signature::RSA_PKCS1_2048_8192_SHA256)
        .map_err(|_| KeyProblem::Invalid)?;
    Ok((ALGORITHMS, DecodingKey::from_rsa_raw_components(n, e), [n, e].concat()))
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

fn elliptic(entry: &Json<'_>) -> Result<Parsed, KeyProblem> {
    let curve = text(entry, "crv")?.ok_or(KeyProblem::Invalid)?;
    let (algorithms, verification, size): (&'static [Algorithm], _, _) = match curve {
        "P-256" => (&[Algorithm::Es256], &signature::ECDSA_P256_SHA256_FIXED, 32),
        "P-384" => (&[Algorithm::Es384], &signature::ECDSA_P384_SHA384_FIXED, 48),
        _ => return Err(KeyProblem::Unsupported),
    };
    let (x, y) = (bytes(entry, "x")?, bytes(entry, "y")?);
    // Full size, leading zeros included (RFC 7518 section 6.2.1.2).
    if x.len() != size || y.len() != size {
        return Err(KeyProblem::Invalid);
    }
    let point = [&[4][..], &x, &y].concat();
    ParsedPublicKey::new(verification, &point).map_err(|_| KeyProblem::Invalid)?;
    Ok((algorithms, DecodingKey::from_ec_der(&point), point))
}

fn edwards(entry: &Json<'_>) -> Result<Parsed, KeyProblem> {
    if text(entry, "crv")? != Some("Ed25519") {
        return Err(KeyProblem::Unsupported);
    }
    let point = bytes(entry, "x")?;
    if point.len() != 32 || ParsedPublicKey::new(&signature::ED25519, &point).is_err() {
        return Err(KeyProblem::Invalid);
    }
    Ok((&[Algorithm::EdDsa], DecodingKey::from_ed_der(&point), point))
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{Signer, base64},
        *,
    };
    use serde_json::{Value, json};

    fn parse(keys: &[Value]) -> Result<KeySet, KeySetError> {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    /// A key with `changes` is left out for `reason`, and a sound one beside it stays.
    fn check(mut key: Value, changes: Value, reason: KeyProblem) {
        for (name, value) in changes.as_object().expect("an object") {
            key[name] = value.clone();
        }
        let set = parse(&[Signer::ed25519().jwk("sound"), key]).expect("one sound key");
        assert_eq!((set.len(), set.skipped()), (1, &[Skipped { index: 1, reason }][..]), "{changes}");
    }

    /// SECURITY R28.
    #[test]
    fn keys_that_must_not_verify_are_left_out() {
        let ec = || Signer::es256().jwk("k");
        let number = |size: usize, last: u8| {
            let mut bytes = vec![0xa7; size];
            bytes[size - 1] = last;
            base64(bytes)
        };
        let rsa = |n: String, e: &str| json!({"kty": "RSA", "kid": "k", "n": n, "e": e});
        check(ec(), json!({"use": "enc"}), KeyProblem::Use);
        check(ec(), json!({"use": "SIG"}), KeyProblem::Use);
        check(ec(), json!({"key_ops": ["sign"]}), KeyProblem::Use);
        check(ec(), json!({"key_ops": "verify"}), KeyProblem::Use);
        check(ec(), json!({"kty": "oct", "k": "AAAA"}), KeyProblem::Symmetric);
        check(ec(), json!({"k": "AAAA"}), KeyProblem::Symmetric);
        check(ec(), json!({"d": "AAAA"}), KeyProblem::Private);
        check(ec(), json!({"alg": "HS256"}), KeyProblem::Unsupported);
        check(ec(), json!({"alg": "RS256"}), KeyProblem::Mismatch);
        check(ec(), json!({"alg": "ES384"}), KeyProblem::Mismatch);
        check(ec(), json!({"alg": 7}), KeyProblem::Malformed);
        check(ec(), json!({"kty": null}), KeyProblem::Malformed);
        check(ec(), json!({"kty": "AKP"}), KeyProblem::Unsupported);
        check(ec(), json!({"kid": 7}), KeyProblem::Kid);
        check(ec(), json!({"crv": "secp256k1"}), KeyProblem::Unsupported);
        check(ec(), json!({"crv": "P-384"}), KeyProblem::Invalid);
        check(ec(), json!({"x": Signer::es256().jwk("")["x"]}), KeyProblem::Invalid);
        check(ec(), json!({"y": "AAAA="}), KeyProblem::Invalid);
        check(Signer::ed25519().jwk("k"), json!({"crv": "X25519"}), KeyProblem::Unsupported);
        check(Signer::ed25519().jwk("k"), json!({"x": "AAAA"}), KeyProblem::Invalid);
        check(rsa(number(128, 1), "AQAB"), json!({}), KeyProblem::RsaSize);
        check(rsa(number(255, 1), "AQAB"), json!({}), KeyProblem::RsaSize);
        check(rsa(number(1025, 1), "AQAB"), json!({}), KeyProblem::RsaSize);
        check(rsa(number(256, 2), "AQAB"), json!({}), KeyProblem::Invalid);
        check(rsa(number(256, 1), "AQ"), json!({}), KeyProblem::RsaExponent);
        check(rsa(number(256, 1), "AQAA"), json!({}), KeyProblem::RsaExponent);
        check(rsa(number(256, 1), "AAAA"), json!({}), KeyProblem::RsaExponent);
        check(rsa(number(256, 1), "AgAAAAE"), json!({}), KeyProblem::RsaExponent);
    }

    #[test]
    fn documents_outside_of_the_bounds_are_refused() {
        let key = Signer::ed25519().jwk("k");
        let many: Vec<_> = (0..65).map(|n| json!({"kty": "x", "kid": n.to_string()})).collect();
        assert_eq!(parse(&many).expect_err("too many"), KeySetError::TooMany { found: 65 });
        let mut large = json!({ "keys": [key] }).to_string();
        large.push_str(&" ".repeat(limits::JWKS_BYTES_MAX));
        assert!(matches!(KeySet::parse(large.as_bytes()), Err(KeySetError::TooLarge { .. })));
        for document in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#, "<html>"] {
            assert_eq!(KeySet::parse(document.as_bytes()).expect_err(document), KeySetError::Malformed);
        }
        let private = json!({"kty": "EC", "d": "AAAA"});
        let message = parse(&[private]).expect_err("no usable key").to_string();
        assert!(
            message.ends_with("no usable signature key: key 0 was left out: its private part was published")
        );
        assert!(matches!(parse(&[]), Err(KeySetError::NoUsableKey { .. })));
    }

    #[test]
    fn two_keys_of_one_kid_make_the_set_ambiguous() {
        let (first, second) = (Signer::es256(), Signer::ed25519());
        assert_eq!(parse(&[first.jwk("k"), second.jwk("k")]).expect_err("twice"), KeySetError::Duplicate);
        let mut encryption = second.jwk("k");
        encryption["use"] = "enc".into();
        assert_eq!(parse(&[first.jwk("k"), encryption]).expect("one for signatures").len(), 1);
    }

    #[test]
    fn a_kid_is_compared_and_nothing_else() {
        let odd = "../../x\0'; DROP TABLE keys;--".repeat(100);
        let set = parse(&[Signer::es256().jwk(&odd), Signer::es256().jwk("")]).expect("sound");
        let found = |kid: Option<&str>| matches!(set.select(kid, Algorithm::Es256), Selection::Found(_));
        assert!(found(Some(&odd)) && found(Some("")));
        assert!(!found(Some("../../x")) && !found(None));
        assert!(matches!(set.select(Some(&odd), Algorithm::Rs256), Selection::WrongAlgorithm));
    }
}

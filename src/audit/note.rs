//! Signed notes and their keys, as C2SP writes them down (c2sp.org/signed-note, Ed25519 signatures).
//!
//! ```text
//! text, one or more lines
//!
//! — NAME base64(key id, 4 bytes ‖ signature, 64 bytes)
//! ```
//! The signature is over the text with its last newline. The key id is the first four bytes of
//! `SHA-256(NAME ‖ 0x0a ‖ 0x01 ‖ public key)`.

use super::hash::sha256;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::{Engine, engine::general_purpose::STANDARD};
use std::{fmt, str::FromStr};

/// Signature type of plain Ed25519 in key ids and in texts of keys.
const TYPE_ED25519: u8 = 1;
/// Bytes of an Ed25519 public key.
pub const PUBLIC_KEY_BYTES: usize = 32;
/// Bytes of an Ed25519 signature.
const SIGNATURE_BYTES: usize = 64;
/// Bytes in front of the signature.
const KEY_ID_BYTES: usize = 4;
/// What a signature line begins with.
const SIGNATURE_LINE: &str = "— ";
/// Signatures of one note; a log signs with two at most, witnesses add theirs.
const SIGNATURES_MAX: usize = 64;
/// Bytes of one note.
pub const NOTE_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a key's name.
const NAME_BYTES_MAX: usize = 256;
/// DER in front of an Ed25519 key: `SubjectPublicKeyInfo` of RFC 8410 section 4.
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Why a text is no signed note, or does not have the signature that it needs. Its writer is at fault, or
/// somebody changed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    #[error("it is no signed note: {0}")]
    Shape(&'static str),
    #[error("it bears no signature of the key")]
    Unsigned,
    #[error("the signature does not match the text")]
    Signature,
}

/// A text that is no public key; whoever typed it is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a public key: want NAME+ID+KEY in one line, as `ringward audit key` prints it")]
pub struct KeyError;

/// A named Ed25519 key that verifies.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PublicKey {
    name: Box<str>,
    bytes: [u8; PUBLIC_KEY_BYTES],
}

impl PublicKey {
    /// A key called `name`.
    ///
    /// # Errors
    /// [`KeyError`]: the name is empty or longer than 256 bytes, or has white space, a control character or
    /// `+` in it.
    pub fn new(name: &str, bytes: [u8; PUBLIC_KEY_BYTES]) -> Result<PublicKey, KeyError> {
        let is_bad = |c: char| c.is_whitespace() || c.is_control() || c == '+';
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains(is_bad) {
            return Err(KeyError);
        }
        Ok(PublicKey { name: name.into(), bytes })
    }

    /// Its name, which is the log's origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key as RFC 8032 encodes it.
    pub fn bytes(&self) -> &[u8; PUBLIC_KEY_BYTES] {
        &self.bytes
    }

    /// What signature lines call the key beside its name.
    pub fn id(&self) -> [u8; KEY_ID_BYTES] {
        let hash = sha256(&[self.name.as_bytes(), b"\n", &self.typed()].concat());
        [hash[0], hash[1], hash[2], hash[3]]
    }

    fn typed(&self) -> [u8; 1 + PUBLIC_KEY_BYTES] {
        let mut typed = [TYPE_ED25519; 1 + PUBLIC_KEY_BYTES];
        typed[1..].copy_from_slice(&self.bytes);
        typed
    }

    /// The key for other tools, such as `openssl pkeyutl -verify`: PEM of its `SubjectPublicKeyInfo`.
    pub fn to_pem(&self) -> String {
        let der = STANDARD.encode([&SPKI_PREFIX[..], &self.bytes].concat());
        format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n")
    }
}

/// `NAME+ID+KEY`: the id in hexadecimal, the key as base64 of its type and its bytes.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = u32::from_be_bytes(self.id());
        write!(f, "{}+{id:08x}+{}", self.name, STANDARD.encode(self.typed()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads what [`fmt::Display`] writes, in that one form only.
impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<PublicKey, KeyError> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(_), Some(typed)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyError);
        };
        let typed = STANDARD.decode(typed).map_err(|_| KeyError)?;
        let bytes = typed.strip_prefix(&[TYPE_ED25519]).ok_or(KeyError)?;
        let key = PublicKey::new(name, bytes.try_into().map_err(|_| KeyError)?)?;
        // The id says so if a letter of the name or of the key was lost on the way.
        if key.to_string() == text { Ok(key) } else { Err(KeyError) }
    }
}

/// A named Ed25519 key that signs.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

impl fmt::Debug for SigningKey {
    /// The public half.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey").field(&self.public).finish()
    }
}

impl SigningKey {
    /// A key called `name`.
    ///
    /// # Errors
    /// [`KeyError`] as for [`PublicKey::new`].
    pub fn new(name: &str, pair: Ed25519KeyPair) -> Result<SigningKey, KeyError> {
        let bytes = pair.public_key().as_ref().try_into().map_err(|_| KeyError)?;
        Ok(SigningKey { public: PublicKey::new(name, bytes)?, pair })
    }

    /// The half that verifies.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The signature line under `text`, with its newline.
    fn line(&self, text: &str) -> String {
        let signature = self.pair.sign(text.as_bytes());
        let bytes = [&self.public.id()[..], signature.as_ref()].concat();
        format!("{SIGNATURE_LINE}{} {}\n", self.public.name, STANDARD.encode(bytes))
    }
}

/// The signed note of `text`, which ends with a newline, with a signature of each of `keys` in their order.
pub fn sign(text: &str, keys: &[&SigningKey]) -> String {
    let lines = keys.iter().map(|key| key.line(text));
    std::iter::once(format!("{text}\n")).chain(lines).collect()
}

/// A note, taken apart. Nothing in it is to be believed before [`Note::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note<'a> {
    /// What was signed, with its last newline.
    pub text: &'a str,
    /// Name, key id and signature bytes, in the order of the lines.
    signatures: Vec<(&'a str, [u8; KEY_ID_BYTES], Vec<u8>)>,
}

impl<'a> Note<'a> {
    /// Takes a note apart, strictly: one form for one meaning.
    ///
    /// # Errors
    /// [`NoteError::Shape`]: it is something else.
    pub fn parse(note: &'a str) -> Result<Note<'a>, NoteError> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(NoteError::Shape("it is too long"));
        }
        if note.contains(|c: char| c < ' ' && c != '\n') {
            return Err(NoteError::Shape("it has control characters"));
        }
        let end = note.rfind("\n\n").ok_or(NoteError::Shape("no empty line"))?;
        let (text, lines) = (&note[..=end], &note[end + 2..]);
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Shape("its last line has no end"))?;
        if text == "\n" {
            return Err(NoteError::Shape("it has no text"));
        }
        let signatures: Result<Vec<_>, _> = lines.split('\n').map(signature).collect();
        let signatures = signatures.ok().filter(|all| all.len() <= SIGNATURES_MAX);
        Ok(Note { text, signatures: signatures.ok_or(NoteError::Shape("its signature lines"))? })
    }

    /// Checks the signature of `key`. Lines of other keys are left out.
    ///
    /// # Errors
    /// [`NoteError::Unsigned`] without a line of that key, [`NoteError::Signature`] if it does not match.
    pub fn verify(&self, key: &PublicKey) -> Result<(), NoteError> {
        let id = key.id();
        let own = self.signatures.iter().find(|(name, found, _)| *name == &*key.name && *found == id);
        let (.., signature) = own.ok_or(NoteError::Unsigned)?;
        let verifier = UnparsedPublicKey::new(&ED25519, key.bytes);
        verifier.verify(self.text.as_bytes(), signature).map_err(|_| NoteError::Signature)
    }

    /// Number of signature lines.
    pub fn signatures(&self) -> usize {
        self.signatures.len()
    }
}

/// Name, key id and signature of one line.
fn signature(line: &str) -> Result<(&str, [u8; KEY_ID_BYTES], Vec<u8>), NoteError> {
    let shape = NoteError::Shape("a signature line");
    let (name, text) =
        line.strip_prefix(SIGNATURE_LINE).and_then(|line| line.split_once(' ')).ok_or(shape)?;
    let bytes = STANDARD.decode(text).map_err(|_| shape)?;
    let (id, signature) = bytes.split_first_chunk::<KEY_ID_BYTES>().ok_or(shape)?;
    // Only plain Ed25519 is read here; signatures of witnesses may have any length.
    if name.is_empty() || signature.is_empty() {
        return Err(shape);
    }
    Ok((name, *id, signature.to_vec()))
}

const _: () = assert!(SIGNATURE_BYTES + KEY_ID_BYTES < NOTE_BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, seed: u8) -> SigningKey {
        SigningKey::new(name, Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()).unwrap()
    }

    /// The example of the specification of signed notes, and the one of RFC 8032 section 7.1, test 1.
    #[test]
    fn known_vectors_hold() {
        // Key and note of the documentation of golang.org/x/mod/sumdb/note.
        let key: PublicKey =
            "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW".parse().unwrap();
        let note = "If you think cryptography is the answer to your problem,\n\
                    then you don't know what your problem is.\n\n\
                    — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqd\
                    ngotpRZb6KE6RyyBwJnAM=\n";
        assert_eq!(Note::parse(note).unwrap().verify(&key), Ok(()));
        let seed: Vec<u8> = (0..32)
            .map(|at| {
                let text = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
                u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).unwrap()
            })
            .collect();
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
        assert_eq!(pair.public_key().as_ref()[..4], [0xd7, 0x5a, 0x98, 0x01]);
    }

    #[test]
    fn keys_print_and_parse_in_one_form() {
        let key = key("log.example/1", 7);
        let text = key.public().to_string();
        assert_eq!(text.parse(), Ok(key.public().clone()));
        assert!(text.starts_with("log.example/1+"));
        assert!(!format!("{key:?}").contains(&"07".repeat(8)));
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] ^= 1;
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(changed.parse::<PublicKey>(), Err(KeyError), "{changed}");
        }
        let spaced = format!("{text} ");
        for bad in ["", "a+b", "a+00000000+AQ==", spaced.as_str()] {
            assert_eq!(bad.parse::<PublicKey>(), Err(KeyError), "{bad}");
        }
        for name in ["", "a b", "a+b", "a\nb", &"x".repeat(257)] {
            assert_eq!(PublicKey::new(name, [0; 32]), Err(KeyError));
        }
    }

    #[test]
    fn a_note_bears_the_signatures_of_its_keys() {
        let (own, other) = (key("log", 1), key("log", 2));
        let text = sign("first\n\nsecond\n", &[&own, &other]);
        let note = Note::parse(&text).unwrap();
        assert_eq!((note.text, note.signatures()), ("first\n\nsecond\n", 2));
        assert_eq!((note.verify(own.public()), note.verify(other.public())), (Ok(()), Ok(())));
        assert_eq!(note.verify(key("log", 3).public()), Err(NoteError::Unsigned));
        assert_eq!(note.verify(key("gol", 1).public()), Err(NoteError::Unsigned));
        let changed = text.replace("second", "secund");
        assert_eq!(Note::parse(&changed).unwrap().verify(own.public()), Err(NoteError::Signature));
    }

    #[test]
    fn every_changed_byte_of_a_note_is_found() {
        let own = key("log", 1);
        let text = sign("origin\n5\nroot\n", &[&own]);
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut changed = text.clone().into_bytes();
                changed[at] ^= 1 << bit;
                let Ok(changed) = String::from_utf8(changed) else { continue };
                let verified = Note::parse(&changed).map(|note| note.verify(own.public()));
                assert!(!matches!(verified, Ok(Ok(()))), "byte {at}, bit {bit}: {changed}");
            }
        }
    }

    #[test]
    fn other_texts_are_no_notes() {
        let good = sign("text\n", &[&key("log", 1)]);
        let long = "x".repeat(NOTE_BYTES_MAX);
        let cases = [
            "",
            "\n\n",
            "text\n",
            "text\n\n",
            "\n\n— log AAAAAAA=\n",
            "text\n\n— log\n",
            "text\n\n- log AAAAAAA=\n",
            "text\n\n—  AAAAAAA=\n",
            "text\n\n— log AAAA\n",
            "text\n\n— log AAAAAAB=\n",
            "te\txt\n\n— log AAAAAAA=\n",
            good.trim_end(),
            &format!("{good}\n"),
            &format!("{long}{good}"),
        ];
        for case in cases {
            assert!(matches!(Note::parse(case), Err(NoteError::Shape(_))), "{case:?}");
        }
    }
}

//! Files that only auditors can read: the age format, version 1, with X25519 recipients.
//!
//! What is written here is decrypted by `age -d -i KEY`, and what `age -r RECIPIENT` writes is read here.
//! Specification: <https://c2sp.org/age>. Written on the crypto library that everything else here uses: the
//! format is small, and another library would bring a second one.

use super::random;
use aws_lc_rs::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey},
    agreement::{self, PrivateKey, UnparsedPublicKey, X25519},
    constant_time,
    hkdf::{HKDF_SHA256, KeyType, Salt},
    hmac,
};
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use bech32::{Bech32, Hrp, primitives::decode::CheckedHrpstring};
use std::{
    fmt,
    io::{self, BufRead, Read, Write},
    str::FromStr,
};
use zeroize::{Zeroize, Zeroizing};

/// First line of every file.
const INTRO: &str = "age-encryption.org/v1\n";
/// Plain bytes of a chunk of the payload; only the last may have fewer.
const CHUNK_BYTES: usize = 64 * 1024;
const TAG_BYTES: usize = 16;
const FILE_KEY_BYTES: usize = 16;
/// A header of one stanza has about 200 bytes; each further recipient adds 110.
const HEADER_BYTES_MAX: usize = 64 * 1024;

/// Whoever may read: the public half of an age key, `age1…`.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipient([u8; 32]);

/// The secret half of an age key, `AGE-SECRET-KEY-1…`.
pub struct Identity(Zeroizing<[u8; 32]>);

/// Not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("is no age recipient: it begins with `age1` and has 62 characters, as `age-keygen` prints it")]
    Recipient,
    #[error("is no age identity: its line begins with `AGE-SECRET-KEY-1`, as `age-keygen` writes it")]
    Identity,
}

impl FromStr for Recipient {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Recipient, KeyError> {
        decode(text, "age").map(|bytes| Recipient(*bytes)).ok_or(KeyError::Recipient)
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hrp = Hrp::parse("age").map_err(|_| fmt::Error)?;
        f.write_str(&bech32::encode::<Bech32>(hrp, &self.0).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Identity {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Identity, KeyError> {
        decode(text, "age-secret-key-").map(Identity).ok_or(KeyError::Identity)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity")
    }
}

/// The 32 bytes of a Bech32 text (BIP 173) whose prefix is `hrp`.
fn decode(text: &str, hrp: &str) -> Option<Zeroizing<[u8; 32]>> {
    let checked = CheckedHrpstring::new::<Bech32>(text.trim()).ok()?;
    if !checked.hrp().as_str().eq_ignore_ascii_case(hrp) {
        return None;
    }
    let mut bytes: Vec<u8> = checked.byte_iter().collect();
    let key = <[u8; 32]>::try_from(&bytes[..]).ok().map(Zeroizing::new);
    bytes.zeroize();
    key
}

fn broken(_: impl fmt::Debug) -> io::Error {
    io::Error::other("the crypto library refused an operation")
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Length of a key that is derived.
struct Key32;

impl KeyType for Key32 {
    fn len(&self) -> usize {
        32
    }
}

/// HKDF-SHA-256 (RFC 5869) to 32 bytes.
fn derive(secret: &[u8], salt: &[u8], info: &str) -> io::Result<Zeroizing<[u8; 32]>> {
    let mut key = Zeroizing::new([0; 32]);
    let extracted = Salt::new(HKDF_SHA256, salt).extract(secret);
    extracted.expand(&[info.as_bytes()], Key32).and_then(|okm| okm.fill(&mut *key)).map_err(broken)?;
    Ok(key)
}

fn cipher(key: &[u8; 32]) -> io::Result<LessSafeKey> {
    UnboundKey::new(&CHACHA20_POLY1305, key).map(LessSafeKey::new).map_err(broken)
}

/// The key that wraps the file key for `recipient`, by either half of the agreement.
fn wrapping_key(
    secret: &PrivateKey,
    peer: &[u8; 32],
    share: &[u8; 32],
    recipient: &[u8; 32],
) -> io::Result<Zeroizing<[u8; 32]>> {
    let salt = [*share, *recipient].concat();
    // Points of low order give zeros, which the library refuses.
    agreement::agree(secret, UnparsedPublicKey::new(&X25519, peer), invalid("a key of low order"), |shared| {
        derive(shared, &salt, "age-encryption.org/v1/X25519")
    })
}

fn public(secret: &PrivateKey) -> io::Result<[u8; 32]> {
    let key = secret.compute_public_key().map_err(broken)?;
    key.as_ref().try_into().map_err(broken)
}

fn header_tag(file_key: &[u8], header: &str) -> io::Result<hmac::Tag> {
    let key = derive(file_key, &[], "header")?;
    Ok(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &*key), header.as_bytes()))
}

/// The nonce of chunk `index`: a counter of 11 bytes, and whether it is the last one.
fn nonce(index: u64, is_last: bool) -> Nonce {
    let mut bytes = [0; 12];
    bytes[3..11].copy_from_slice(&index.to_be_bytes());
    bytes[11] = u8::from(is_last);
    Nonce::assume_unique_for_key(bytes)
}

// --------------------------------------------------------------------------------------------- encryption

/// Encrypts what is written to it. Without [`Encryptor::finish`] the file is recognised as cut.
pub struct Encryptor<W> {
    output: W,
    key: LessSafeKey,
    chunk: Vec<u8>,
    index: u64,
}

impl<W: Write> Encryptor<W> {
    /// Writes the header for `recipients`, of whom there is at least one.
    ///
    /// # Errors
    /// `output` failed, a recipient's key is of low order, or the system gives no random bytes.
    pub fn new(mut output: W, recipients: &[Recipient]) -> io::Result<Encryptor<W>> {
        let file_key: Zeroizing<[u8; FILE_KEY_BYTES]> = Zeroizing::new(random()?);
        let mut header = INTRO.to_owned();
        for Recipient(recipient) in recipients {
            let secret = PrivateKey::generate(&X25519).map_err(broken)?;
            let share = public(&secret)?;
            let key = cipher(&*wrapping_key(&secret, recipient, &share, recipient)?)?;
            let mut wrapped = file_key.to_vec();
            key.seal_in_place_append_tag(nonce(0, false), Aad::empty(), &mut wrapped).map_err(broken)?;
            let (share, wrapped) = (STANDARD_NO_PAD.encode(share), STANDARD_NO_PAD.encode(&wrapped));
            header.push_str(&format!("-> X25519 {share}\n{wrapped}\n"));
        }
        header.push_str("---");
        let tag = STANDARD_NO_PAD.encode(header_tag(&*file_key, &header)?);
        let payload_nonce: [u8; 16] = random()?;
        output.write_all(format!("{header} {tag}\n").as_bytes())?;
        output.write_all(&payload_nonce)?;
        let key = cipher(&*derive(&*file_key, &payload_nonce, "payload")?)?;
        Ok(Encryptor { output, key, chunk: Vec::with_capacity(CHUNK_BYTES + TAG_BYTES), index: 0 })
    }

    /// Writes the last chunk and gives the output back.
    ///
    /// # Errors
    /// The output failed.
    pub fn finish(mut self) -> io::Result<W> {
        self.seal(true)?;
        Ok(self.output)
    }

    fn seal(&mut self, is_last: bool) -> io::Result<()> {
        let nonce = nonce(self.index, is_last);
        self.key.seal_in_place_append_tag(nonce, Aad::empty(), &mut self.chunk).map_err(broken)?;
        self.output.write_all(&self.chunk)?;
        self.chunk.clear();
        self.index += 1;
        Ok(())
    }
}

impl<W: Write> Write for Encryptor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full chunk may be the last one: it is kept until more comes.
        if self.chunk.len() == CHUNK_BYTES && !bytes.is_empty() {
            self.seal(false)?;
        }
        let taken = bytes.len().min(CHUNK_BYTES - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

// --------------------------------------------------------------------------------------------- decryption

/// Decrypts what it reads.
pub struct Decryptor<R> {
    input: R,
    key: LessSafeKey,
    /// The chunk that is being read, and how far.
    chunk: Vec<u8>,
    read: usize,
    /// The first byte of the next chunk: whether there is one decides how this one is read.
    ahead: Option<u8>,
    index: u64,
    is_over: bool,
}

impl<R: BufRead> Decryptor<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// `PermissionDenied`: none of `identities` is among the recipients. `InvalidData`: this is no age file,
    /// or its header was changed.
    pub fn new(mut input: R, identities: &[Identity]) -> io::Result<Decryptor<R>> {
        let (header, tag) = read_header(&mut input)?;
        let file_key = unwrap(&header, identities)?;
        let made = header_tag(&*file_key, &header)?;
        constant_time::verify_slices_are_equal(made.as_ref(), &tag)
            .map_err(|_| invalid("the header of the encrypted file was changed"))?;
        let mut payload_nonce = [0; 16];
        input.read_exact(&mut payload_nonce)?;
        let key = cipher(&*derive(&*file_key, &payload_nonce, "payload")?)?;
        let mut decryptor =
            Decryptor { input, key, chunk: Vec::new(), read: 0, ahead: None, index: 0, is_over: false };
        decryptor.ahead = decryptor.next_byte()?;
        Ok(decryptor)
    }

    fn next_byte(&mut self) -> io::Result<Option<u8>> {
        let mut byte = [0];
        let mut one = (&mut self.input).take(1);
        Ok((one.read(&mut byte)? == 1).then_some(byte[0]))
    }

    /// Reads the next chunk; an empty file has one that is empty.
    fn open(&mut self) -> io::Result<()> {
        let changed = || invalid("the encrypted file was changed or cut");
        self.chunk.clear();
        self.chunk.extend(self.ahead.take());
        let limit = (CHUNK_BYTES + TAG_BYTES - self.chunk.len()) as u64;
        (&mut self.input).take(limit).read_to_end(&mut self.chunk)?;
        self.ahead = self.next_byte()?;
        self.is_over = self.ahead.is_none();
        let nonce = nonce(self.index, self.is_over);
        let plain = self.key.open_in_place(nonce, Aad::empty(), &mut self.chunk).map_err(|_| changed())?;
        let len = plain.len();
        if len == 0 && self.index > 0 {
            return Err(changed());
        }
        self.chunk.truncate(len);
        (self.read, self.index) = (0, self.index + 1);
        Ok(())
    }
}

impl<R: BufRead> Read for Decryptor<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.read == self.chunk.len() {
            if self.is_over {
                return Ok(0);
            }
            self.open()?;
        }
        let rest = &self.chunk[self.read..];
        let taken = rest.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&rest[..taken]);
        self.read += taken;
        Ok(taken)
    }
}

/// The header up to its `---`, and the tag behind that.
fn read_header(input: &mut impl BufRead) -> io::Result<(String, Vec<u8>)> {
    let no_age = || invalid("this is no age file");
    let mut header = String::new();
    let mut input = input.take(HEADER_BYTES_MAX as u64);
    loop {
        let start = header.len();
        if input.read_line(&mut header)? == 0 || !header.starts_with(INTRO) {
            return Err(no_age());
        }
        if let Some(tag) = header[start..].strip_prefix("--- ") {
            let tag = STANDARD_NO_PAD.decode(tag.trim_end_matches('\n')).map_err(|_| no_age())?;
            header.truncate(start + 3);
            return Ok((header, tag));
        }
    }
}

/// The file key out of the first stanza that one of `identities` opens.
fn unwrap(header: &str, identities: &[Identity]) -> io::Result<Zeroizing<[u8; FILE_KEY_BYTES]>> {
    let mut lines = header.lines();
    while let Some(line) = lines.next() {
        let Some(share) = line.strip_prefix("-> X25519 ") else { continue };
        let Ok(share) = STANDARD_NO_PAD.decode(share) else { continue };
        let Ok(wrapped) = STANDARD_NO_PAD.decode(lines.next().unwrap_or_default()) else { continue };
        let Ok(share) = <[u8; 32]>::try_from(share) else { continue };
        if wrapped.len() != FILE_KEY_BYTES + TAG_BYTES {
            continue;
        }
        for identity in identities {
            let secret = PrivateKey::from_private_key(&X25519, &*identity.0).map_err(broken)?;
            let Ok(key) = wrapping_key(&secret, &share, &share, &public(&secret)?) else { continue };
            let mut wrapped = Zeroizing::new(wrapped.clone());
            let opened = cipher(&key)?.open_in_place(nonce(0, false), Aad::empty(), &mut wrapped);
            if let Ok(Ok(key)) = opened.map(|key| <[u8; FILE_KEY_BYTES]>::try_from(&*key)) {
                return Ok(Zeroizing::new(key));
            }
        }
    }
    let message = match identities {
        [] => "the segment is encrypted: give the age identity of an auditor with --identity FILE",
        _ => "the segment is encrypted to other auditors than these identities",
    };
    Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
}

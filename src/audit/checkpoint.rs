//! What a log signs: its tree head (c2sp.org/tlog-checkpoint), and the key that signs from then on.
//!
//! ```text
//! ringward-audit/5f8c…        origin                ringward-audit-key/v1
//! 20852163                    records covered       2                       number of the key, from 1
//! CsUYapGGPo4d…               base64 of the root    ringward-audit/5f8c…+7a31c2d4+ASm…
//!
//! — ringward-audit/5f8c… …                          — ringward-audit/5f8c… …   by the key before it
//!                                                   — ringward-audit/5f8c… …   by the key itself
//! ```
//! The origin is made of the first key and of a salt that its statement tells in a further line, so that
//! nobody can begin another log of that name, and one key begins no two logs of one name.

use super::{
    hash::{Hash, sha256},
    note::{Note, NoteError, PUBLIC_KEY_BYTES, PublicKey, SigningKey, sign},
    signed::StatedKey,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use std::fmt;

/// What every origin begins with.
const ORIGIN_PREFIX: &str = "ringward-audit/";
/// Bytes of the first key's digest that the origin shows: nobody finds a second key for it.
const ORIGIN_DIGEST_BYTES: usize = 16;
/// First line of a key statement: no checkpoint begins so.
const STATEMENT: &str = "ringward-audit-key/v1";

/// Bytes of the salt in a log's name.
pub const SALT_BYTES: usize = 16;

/// The name of the log whose first key is `key`: `ringward-audit/` and 32 hexadecimal digits. `salt` is
/// random, one a log.
pub fn origin(key: &[u8; PUBLIC_KEY_BYTES], salt: &[u8; SALT_BYTES]) -> String {
    let digest = sha256(&[&key[..], salt].concat());
    let digits = digest[..ORIGIN_DIGEST_BYTES].iter().map(|byte| format!("{byte:02x}"));
    std::iter::once(ORIGIN_PREFIX.to_owned()).chain(digits).collect()
}

/// Why a signed text of a log is not to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    #[error(transparent)]
    Note(#[from] NoteError),
    #[error("it is no checkpoint")]
    NoCheckpoint,
    #[error("it is no statement of a key")]
    NoStatement,
    #[error("it is of another log: the origin differs")]
    Origin,
    #[error("its key is not the next one")]
    KeyNumber,
    #[error("no key of this log was in force there")]
    NoKey,
    #[error("none of its keys is the trusted one: the key was replaced")]
    OtherKey,
}

/// The head of a log's tree, as it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Name of the log.
    pub origin: String,
    /// Number of records, from the first one on, that it covers.
    pub size: u64,
    /// Root of their tree.
    pub root: Hash,
}

/// The text that is signed.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, STANDARD.encode(self.root))
    }
}

impl Checkpoint {
    /// The signed note.
    pub fn sign(&self, key: &SigningKey) -> String {
        sign(&self.to_string(), &[key])
    }

    /// Takes a note apart. Whoever calls this believes it only once its signature has been checked.
    ///
    /// # Errors
    /// [`Distrust`]: it is no note, or no checkpoint without extension lines, which this log never writes.
    pub fn parse(note: &str) -> Result<(Checkpoint, Note<'_>), Distrust> {
        let note = Note::parse(note)?;
        let mut lines = note.text.lines();
        let (Some(origin), Some(size), Some(root), None) =
            (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(Distrust::NoCheckpoint);
        };
        let size: u64 = size.parse().map_err(|_| Distrust::NoCheckpoint)?;
        let root = STANDARD.decode(root).ok().and_then(|root| root.try_into().ok());
        let root = root.ok_or(Distrust::NoCheckpoint)?;
        let checkpoint = Checkpoint { origin: origin.to_owned(), size, root };
        // One form for one meaning: no signs, no zeros in front.
        let is_plain = checkpoint.to_string() == note.text && !origin.is_empty();
        if is_plain { Ok((checkpoint, note)) } else { Err(Distrust::NoCheckpoint) }
    }
}

/// A key and its number, as the log states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyStatement {
    /// Counts the keys of the log, from 1.
    pub number: u64,
    pub key: PublicKey,
    /// The salt in the log's name; of the first key alone.
    pub salt: Option<[u8; SALT_BYTES]>,
}

impl KeyStatement {
    /// The signed statement that `key` is number `number` and follows `before`.
    pub fn sign(number: u64, key: &SigningKey, before: &SigningKey) -> String {
        let stated = KeyStatement { number, key: key.public().clone(), salt: None };
        sign(&stated.text(), &[before, key])
    }

    /// The statement of a log's first key, whose name was made with `salt`. Nobody but itself signs it.
    pub fn sign_first(key: &SigningKey, salt: [u8; SALT_BYTES]) -> String {
        let stated = KeyStatement { number: 1, key: key.public().clone(), salt: Some(salt) };
        sign(&stated.text(), &[key])
    }

    fn text(&self) -> String {
        let salt = self.salt.map(|salt| STANDARD.encode(salt) + "\n").unwrap_or_default();
        format!("{STATEMENT}\n{}\n{}\n{salt}", self.number, self.key)
    }

    /// What a statement says, without a look at who signed it: for statements that were checked before.
    ///
    /// # Errors
    /// [`Distrust`]: it is none.
    pub fn read(note: &str) -> Result<KeyStatement, Distrust> {
        KeyStatement::parse(note).map(|(statement, _)| statement)
    }

    fn parse(note: &str) -> Result<(KeyStatement, Note<'_>), Distrust> {
        let note = Note::parse(note)?;
        let mut lines = note.text.lines();
        let (Some(STATEMENT), Some(number), Some(key), salt, None) =
            (lines.next(), lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(Distrust::NoStatement);
        };
        let salt = salt.map(|salt| STANDARD.decode(salt).ok()?.try_into().ok());
        let stated = KeyStatement {
            number: number.parse().map_err(|_| Distrust::NoStatement)?,
            key: key.parse().map_err(|_| Distrust::NoStatement)?,
            salt: salt.map(|salt| salt.ok_or(Distrust::NoStatement)).transpose()?,
        };
        if stated.text() == note.text { Ok((stated, note)) } else { Err(Distrust::NoStatement) }
    }
}

/// The keys of one log in their order, each signed by the one before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyChain {
    links: Vec<Link>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Link {
    key: PublicKey,
    number: u64,
    /// Its KEY record: it signs every checkpoint that covers this one.
    stated: StatedKey,
}

impl KeyChain {
    /// The chain of these keys.
    ///
    /// # Errors
    /// [`Distrust`]: they do not come from one another.
    pub fn of(stated: &[StatedKey]) -> Result<KeyChain, Distrust> {
        let mut chain = KeyChain::default();
        for StatedKey { note, since } in stated {
            chain.push(note, *since)?;
        }
        Ok(chain)
    }

    /// Its keys, as STATE repeats them.
    pub fn stated(&self) -> impl Iterator<Item = &StatedKey> {
        self.links.iter().map(|link| &link.stated)
    }

    /// Takes the next statement, which stands in record `since`.
    ///
    /// # Errors
    /// [`Distrust`]: it is not signed as it must be, or is not the next one; the chain is as it was.
    pub fn push(&mut self, statement: &str, since: u64) -> Result<&PublicKey, Distrust> {
        let (KeyStatement { number, key, salt }, note) = KeyStatement::parse(statement)?;
        let last = self.links.last();
        if number != last.map_or(1, |last| last.number + 1) {
            return Err(Distrust::KeyNumber);
        }
        let origin = match (last, salt) {
            (None, Some(salt)) => origin(key.bytes(), &salt),
            (Some(last), None) => last.key.name().to_owned(),
            _ => return Err(Distrust::NoStatement),
        };
        if key.name() != origin {
            return Err(Distrust::Origin);
        }
        if note.signatures() != 1 + usize::from(last.is_some()) {
            return Err(Distrust::NoStatement);
        }
        // The key before says who follows, and the new one that it is at hand.
        last.map_or(Ok(()), |last| note.verify(&last.key))?;
        note.verify(&key)?;
        let at = self.links.len();
        self.links.push(Link { key, number, stated: StatedKey { note: statement.into(), since } });
        Ok(&self.links[at].key)
    }

    /// The key that signs now, and its number.
    pub fn current(&self) -> Option<(u64, &PublicKey)> {
        self.links.last().map(|link| (link.number, &link.key))
    }

    /// Name of the log.
    pub fn origin(&self) -> Option<&str> {
        self.links.last().map(|link| link.key.name())
    }

    /// All keys that are known, in their order.
    pub fn keys(&self) -> impl Iterator<Item = (u64, &PublicKey)> {
        self.links.iter().map(|link| (link.number, &link.key))
    }

    /// Whether `key` is one of them.
    pub fn contains(&self, key: &PublicKey) -> bool {
        self.links.iter().any(|link| link.key == *key)
    }

    /// Checks a checkpoint's origin and signature: by the newest key among the records that it covers.
    ///
    /// # Errors
    /// [`Distrust`]: it is not to be believed.
    pub fn check(&self, checkpoint: &str) -> Result<Checkpoint, Distrust> {
        let (checkpoint, note) = Checkpoint::parse(checkpoint)?;
        let link = self.links.iter().rev().find(|link| link.stated.since <= checkpoint.size);
        let key = &link.ok_or(Distrust::NoKey)?.key;
        if checkpoint.origin != key.name() {
            return Err(Distrust::Origin);
        }
        note.verify(key)?;
        Ok(checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::samples::{first_statement, signing_key};

    fn statement_text(number: u64, key: &PublicKey) -> String {
        KeyStatement { number, key: key.clone(), salt: None }.text()
    }

    #[test]
    fn checkpoints_have_the_form_of_the_specification() {
        let root = STANDARD.decode("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=").unwrap();
        let checkpoint = Checkpoint {
            origin: "example.com/behind-the-sofa".into(),
            size: 20_852_163,
            root: root.try_into().unwrap(),
        };
        // The example of c2sp.org/tlog-checkpoint.
        let note = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
                    — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/\
                    Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";
        let (parsed, parsed_note) = Checkpoint::parse(note).unwrap();
        assert_eq!((&parsed, parsed_note.signatures()), (&checkpoint, 1));
        for (from, to) in [
            ("20852163", "020852163"),
            ("20852163", "+20852163"),
            ("20852163", "-1"),
            ("20852163", ""),
            ("20852163", "99999999999999999999"),
            ("q2I=\n\n", "q2I=\nmore\n\n"),
            ("jxq2I=", "jxq2J="),
            ("jxq2I=", "jxq2I"),
            ("example.com/behind-the-sofa\n", "\n"),
        ] {
            let changed = note.replacen(from, to, 1);
            assert!(Checkpoint::parse(&changed).is_err(), "{changed}");
        }
    }

    #[test]
    fn each_key_is_signed_by_the_one_before_it() {
        let (first, second, third) = (signing_key(1, 1), signing_key(1, 2), signing_key(1, 3));
        let statements = [first_statement(1), KeyStatement::sign(2, &second, &first)];
        let mut chain = KeyChain::default();
        assert_eq!(chain.push(&statements[1], 2), Err(Distrust::KeyNumber));
        assert_eq!(chain.push(&statements[0], 2), Ok(first.public()));
        assert_eq!(chain.clone().push(&statements[0], 3), Err(Distrust::KeyNumber));
        let forged = [
            (super::super::note::sign(&statement_text(2, third.public()), &[&third]), Distrust::NoStatement),
            (KeyStatement::sign(2, &third, &second), NoteError::Unsigned.into()),
            (KeyStatement::sign(3, &third, &first), Distrust::KeyNumber),
            (KeyStatement::sign(2, &signing_key(9, 2), &first), Distrust::Origin),
        ];
        for (statement, why) in forged {
            assert_eq!(chain.clone().push(&statement, 9), Err(why));
        }
        assert_eq!(chain.push(&statements[1], 50), Ok(second.public()));
        assert_eq!(chain.current(), Some((2, second.public())));

        let head = |size| Checkpoint { origin: first.public().name().into(), size, root: [7; 32] };
        // Key 1 signs what covers records 2 to 49, key 2 what covers more.
        for (size, key, result) in [
            (1, &first, Err(Distrust::NoKey)),
            (2, &first, Ok(())),
            (49, &first, Ok(())),
            (49, &second, Err(NoteError::Unsigned.into())),
            (50, &first, Err(NoteError::Unsigned.into())),
            (50, &second, Ok(())),
        ] {
            assert_eq!(chain.check(&head(size).sign(key)).map(drop), result, "{size}");
        }
        let mut other = head(50);
        other.origin = "ringward-audit/other".into();
        assert_eq!(chain.check(&other.sign(&second)), Err(Distrust::Origin));
    }

    #[test]
    fn a_log_of_another_first_key_has_another_name() {
        let (first, second) = (signing_key(1, 1), signing_key(2, 2));
        assert_ne!(first.public().name(), second.public().name());
        let mut chain = KeyChain::default();
        let taken = KeyStatement::sign_first(&signing_key(1, 2), [1; SALT_BYTES]);
        assert_eq!(chain.push(&taken, 2), Err(Distrust::Origin));
    }

    #[test]
    fn every_changed_byte_of_a_statement_is_found() {
        let (first, second) = (signing_key(1, 1), signing_key(1, 2));
        let mut chain = KeyChain::default();
        chain.push(&first_statement(1), 2).unwrap();
        let statement = KeyStatement::sign(2, &second, &first);
        for at in 0..statement.len() {
            for bit in 0..8 {
                let mut changed = statement.clone().into_bytes();
                changed[at] ^= 1 << bit;
                let Ok(changed) = String::from_utf8(changed) else { continue };
                assert!(chain.clone().push(&changed, 3).is_err(), "{changed}");
            }
        }
    }
}

//! The proof that one record is in a log, for somebody who has nothing but a key: a text in the form of
//! c2sp.org/tlog-proof.
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra base64(1! frame up to the leaf's end · 2 stored salt and bytes · 3* statement of a key)
//! index sequence − 1
//! base64 hash, from the leaf's sibling up to the root's child, one a line
//!
//! the checkpoint, as a signed note
//! ```
//! Each proof has one text: whatever is changed in it is found.

use super::{
    checkpoint::{Checkpoint, Distrust, KeyChain},
    frame::LoneFrame,
    hash::Hash,
    merkle::is_included,
    note::PublicKey,
    record::Record,
    wire::{DecodeError, Reader, Writer, text},
};
use base64::{Engine, engine::general_purpose::STANDARD};

/// First line.
const MAGIC: &str = "c2sp.org/tlog-proof@v1";
/// Bytes of a whole proof: the largest record, its bytes and some keys, in base64.
pub const PROOF_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Hashes of one path: more than any tree has levels.
const PATH_MAX: usize = 64;

/// Why a proof proves nothing. Somebody changed it, or made it of another log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    #[error("it is no proof: {0}")]
    Shape(&'static str),
    #[error("its record was changed: {0}")]
    Record(&'static str),
    #[error("its record cannot be read: {0}")]
    Payload(DecodeError),
    #[error("its keys cannot be believed: {0}")]
    Key(Distrust),
    #[error("its checkpoint cannot be believed: {0}")]
    Checkpoint(Distrust),
    #[error("its record is not in the tree of its checkpoint: one of them was changed")]
    NotIncluded,
}

/// A proof, taken apart; nothing in it is to be believed before [`Proof::check`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Sequence number of the record, from 1.
    pub sequence: u64,
    /// Its frame header and payload: what the leaf hash is over.
    pub frame: Vec<u8>,
    /// Salt and body bytes of a CONTENT record that stores them.
    pub kept: Option<Vec<u8>>,
    /// Statements of the log's keys, from the first one to the one that signed the checkpoint.
    pub keys: Vec<String>,
    /// Hashes from the leaf's sibling up.
    pub path: Vec<Hash>,
    /// A checkpoint that covers the record.
    pub checkpoint: String,
}

/// What a good proof proves.
#[derive(Clone, Debug)]
pub struct Proven {
    pub sequence: u64,
    pub record: Record,
    /// The head of the tree that the record is in.
    pub checkpoint: Checkpoint,
    /// The key that signed it.
    pub key: PublicKey,
    /// The first key of the log, which the others come from.
    pub first_key: PublicKey,
}

impl Proof {
    /// The text of the proof.
    pub fn to_text(&self) -> String {
        let mut extra = Vec::new();
        let mut fields = Writer(&mut extra);
        fields.bytes(1, &self.frame);
        self.kept.iter().for_each(|kept| fields.bytes(2, kept));
        self.keys.iter().for_each(|key| fields.bytes(3, key.as_bytes()));
        let index = self.sequence.wrapping_sub(1);
        let mut text = format!("{MAGIC}\nextra {}\nindex {index}\n", STANDARD.encode(extra));
        for hash in &self.path {
            text.push_str(&STANDARD.encode(hash));
            text.push('\n');
        }
        text + "\n" + &self.checkpoint
    }

    /// Takes a text apart, strictly.
    ///
    /// # Errors
    /// [`ProofError::Shape`]: it is something else, or not in the one form of a proof.
    pub fn parse(written: &str) -> Result<Proof, ProofError> {
        let shape = ProofError::Shape;
        if written.len() > PROOF_BYTES_MAX {
            return Err(shape("it is too long"));
        }
        let (head, checkpoint) =
            written.split_once("\n\n").ok_or(shape("no empty line before a checkpoint"))?;
        let mut lines = head.split('\n');
        if lines.next() != Some(MAGIC) {
            return Err(shape("its first line is not c2sp.org/tlog-proof@v1"));
        }
        let extra = lines.next().and_then(|line| line.strip_prefix("extra "));
        let extra = extra.and_then(|extra| STANDARD.decode(extra).ok()).ok_or(shape("no record in it"))?;
        let index = lines.next().and_then(|line| line.strip_prefix("index "));
        let index: u64 = index.and_then(|index| index.parse().ok()).ok_or(shape("no index"))?;
        let hash = |line: &str| -> Option<Hash> { STANDARD.decode(line).ok()?.try_into().ok() };
        let path: Option<Vec<Hash>> = lines.map(hash).take(PATH_MAX + 1).collect();
        let path = path.filter(|path| path.len() <= PATH_MAX).ok_or(shape("its path of hashes"))?;
        let mut proof = Proof {
            sequence: index.checked_add(1).ok_or(shape("no index"))?,
            frame: Vec::new(),
            kept: None,
            keys: Vec::new(),
            path,
            checkpoint: checkpoint.to_owned(),
        };
        proof.read_extra(&extra).map_err(|_| shape("its record or its keys"))?;
        if proof.to_text() == written { Ok(proof) } else { Err(shape("it is not in its one form")) }
    }

    fn read_extra(&mut self, extra: &[u8]) -> Result<(), DecodeError> {
        let mut fields = Reader::new(extra, &[3]);
        while let Some((tag, value)) = fields.next()? {
            match tag {
                1 => self.frame = value.to_vec(),
                2 => self.kept = Some(value.to_vec()),
                3 => self.keys.push(text(tag, value)?.to_owned()),
                _ => return Err(DecodeError::Unknown(tag)),
            }
        }
        Ok(())
    }

    /// Checks everything: the record's bytes, the path to the root, the signature of that root, and that the
    /// keys come from one another. With `trusted`, a key of the log that was learned elsewhere, nobody else
    /// can have made it; without, it agrees with itself.
    ///
    /// # Errors
    /// [`ProofError`]: the first thing that is wrong.
    pub fn check(&self, trusted: Option<&PublicKey>) -> Result<Proven, ProofError> {
        let frame = LoneFrame::parse(&self.frame, self.kept.as_deref()).map_err(ProofError::Record)?;
        if frame.sequence != self.sequence {
            return Err(ProofError::Record("its sequence number is not that of the proof"));
        }
        let mut chain = KeyChain::default();
        for statement in &self.keys {
            chain.push(statement, 0).map_err(ProofError::Key)?;
        }
        if trusted.is_some_and(|key| !chain.contains(key)) {
            return Err(ProofError::Key(Distrust::OtherKey));
        }
        let checkpoint = chain.check(&self.checkpoint).map_err(ProofError::Checkpoint)?;
        let index = self.sequence - 1;
        if !is_included(&frame.leaf, index, checkpoint.size, &self.path, &checkpoint.root) {
            return Err(ProofError::NotIncluded);
        }
        let mut keys = chain.keys().map(|(_, key)| key);
        let first_key = keys.next().ok_or(ProofError::Key(Distrust::NoKey))?.clone();
        let key = keys.last().unwrap_or(&first_key).clone();
        let record = frame.decode().map_err(ProofError::Payload)?;
        Ok(Proven { sequence: self.sequence, record, checkpoint, key, first_key })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::audit::{Frontier, Kind, Prover, samples};

    /// Proofs of all records of a small log with two keys.
    pub(in crate::audit) fn proofs() -> Vec<Proof> {
        let log = samples::Log::signed();
        let frames = log.frames();
        let mut tree = Frontier::default();
        frames.iter().for_each(|frame| tree.push(frame.leaf));
        let size = tree.size();
        let origin = samples::signing_key(1, 1).public().name().to_owned();
        let checkpoint = Checkpoint { origin, size, root: tree.root() }.sign(&samples::signing_key(1, 2));
        let prove = |index: u64| {
            let mut prover = Prover::inclusion(index, size).unwrap();
            frames.iter().for_each(|frame| prover.push(frame.leaf));
            let frame = &frames[index as usize];
            Proof {
                sequence: index + 1,
                frame: frame.bytes.clone(),
                kept: frame.kept.clone(),
                keys: log.keys.iter().map(|key| key.note.to_string()).collect(),
                path: prover.finish().unwrap(),
                checkpoint: checkpoint.clone(),
            }
        };
        (0..size).map(prove).collect()
    }

    #[test]
    fn every_record_is_proven_by_its_text_alone() {
        let (first, second) = (samples::signing_key(1, 1), samples::signing_key(1, 2));
        for (index, proof) in proofs().iter().enumerate() {
            let parsed = Proof::parse(&proof.to_text()).unwrap();
            assert_eq!(parsed, *proof);
            for trusted in [None, Some(first.public()), Some(second.public())] {
                let proven = parsed.check(trusted).unwrap();
                assert_eq!(proven.sequence, index as u64 + 1);
                assert_eq!((&proven.first_key, &proven.key), (first.public(), second.public()));
            }
            let other = samples::signing_key(2, 2);
            let foreign = parsed.check(Some(other.public())).unwrap_err();
            assert_eq!(foreign, ProofError::Key(Distrust::OtherKey));
        }
    }

    #[test]
    fn every_changed_bit_is_found() {
        let proofs = proofs();
        let kept = proofs.iter().position(|proof| proof.kept.is_some()).expect("content with bytes");
        for proof in [&proofs[0], &proofs[kept]] {
            let good = proof.to_text();
            for at in 0..good.len() {
                for bit in 0..8 {
                    let mut changed = good.clone().into_bytes();
                    changed[at] ^= 1 << bit;
                    let Ok(changed) = String::from_utf8(changed) else { continue };
                    let checked = Proof::parse(&changed).and_then(|proof| proof.check(None));
                    assert!(checked.is_err(), "byte {at}, bit {bit}");
                }
            }
            for end in 0..good.len() {
                let Some(cut) = good.get(..end) else { continue };
                assert!(Proof::parse(cut).and_then(|proof| proof.check(None)).is_err(), "cut at {end}");
            }
        }
    }

    #[test]
    fn parts_of_different_proofs_do_not_go_together() {
        let proofs = proofs();
        let (one, other) = (&proofs[3], &proofs[4]);
        let cases = [
            Proof { frame: other.frame.clone(), kept: other.kept.clone(), ..one.clone() },
            Proof { sequence: 5, ..one.clone() },
            Proof { path: other.path.clone(), ..one.clone() },
            Proof { keys: Vec::new(), ..one.clone() },
            Proof { keys: one.keys[..1].to_vec(), ..one.clone() },
            Proof { keys: one.keys[1..].to_vec(), ..one.clone() },
            Proof { kept: Some(vec![0; 40]), ..one.clone() },
        ];
        for case in cases {
            assert!(case.check(None).is_err(), "{case:?}");
            assert!(Proof::parse(&case.to_text()).is_ok(), "it is well formed all the same");
        }
        let content = proofs.iter().find(|proof| proof.kept.is_some()).unwrap();
        assert_eq!(content.check(None).unwrap().record.kind(), Kind::Content);
        assert!(Proof { kept: None, ..content.clone() }.check(None).is_err(), "its bytes are missing");
    }
}

//! Proofs out of a log folder: one pass over the records that a checkpoint covers.

use super::read::{VerifyError, newest_checkpoint};
use crate::audit::{
    Checkpoint, Damage, Frame, Hash, Item, KeyChain, Kind, Position, Proof, ProofError, Prover, PublicKey,
    ReadError, Record, SegmentReader, Why,
};
use crate::segments::{self, Keys, SegmentFile};
use std::{path::Path, sync::Arc};

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// The log cannot be read, or is damaged.
    #[error(transparent)]
    Log(#[from] VerifyError),
    /// Nothing in the log is signed.
    #[error("the log has no checkpoint yet: one is signed a second after the first record")]
    NoCheckpoint,
    /// Whoever asked is too early, or mistyped.
    #[error(
        "record {record} is not covered by a checkpoint yet: the newest one covers records 1 to {covered}"
    )]
    NotCovered { record: u64, covered: u64 },
    /// Whoever asked mistyped.
    #[error(
        "there is no consistency from {from} to {to} records: want 1 to {covered}, the smaller one first"
    )]
    Sizes { from: u64, to: u64, covered: u64 },
    /// The log contradicts its checkpoint.
    #[error("the log does not hold what its checkpoint says ({0}): `ringward audit verify` names the place")]
    Contradiction(ProofError),
}

/// That the first `from` records of a log are the beginning of its first `to` records (RFC 9162 section
/// 2.1.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consistency {
    pub from: u64,
    pub to: u64,
    pub path: Vec<Hash>,
    /// The newest checkpoint, as a signed note.
    pub checkpoint: String,
}

/// The proof that record `sequence` is in the log in `folder`, under its newest checkpoint.
///
/// # Errors
/// [`ProveError`].
pub fn prove(folder: &Path, sequence: u64) -> Result<Proof, ProveError> {
    let (checkpoint, size) = covering(folder)?;
    let index = sequence.checked_sub(1);
    let prover = index.and_then(|index| Prover::inclusion(index, size));
    let mut prover = prover.ok_or(ProveError::NotCovered { record: sequence, covered: size })?;
    let (mut frame, mut kept, mut keys) = (Vec::new(), None, Vec::new());
    each_record(folder, size, |found| {
        prover.push(found.leaf);
        if found.sequence == sequence {
            frame = found.leaf_bytes();
            kept = found.kept.map(<[u8]>::to_vec);
        }
        if let Some(statement) = statement(found)? {
            keys.push(statement.to_string());
        }
        Ok(())
    })?;
    let path = prover.finish().ok_or(ProveError::Contradiction(ProofError::NotIncluded))?;
    let proof = Proof { sequence, frame, kept, keys, path, checkpoint };
    proof.check(None).map_err(ProveError::Contradiction)?;
    Ok(proof)
}

/// The proof that the first `from` records are the beginning of the first `to`; without `to`, of the newest
/// checkpoint.
///
/// # Errors
/// [`ProveError`].
pub fn consistency(folder: &Path, from: u64, to: Option<u64>) -> Result<Consistency, ProveError> {
    let (checkpoint, covered) = covering(folder)?;
    let to = to.unwrap_or(covered);
    let sizes = || ProveError::Sizes { from, to, covered };
    if from == 0 || to > covered {
        return Err(sizes());
    }
    let mut prover = Prover::consistency(from, to).ok_or_else(sizes)?;
    each_record(folder, to, |found| {
        prover.push(found.leaf);
        Ok(())
    })?;
    let path = prover.finish().ok_or(ProveError::Contradiction(ProofError::NotIncluded))?;
    Ok(Consistency { from, to, path, checkpoint })
}

/// The keys of the log in `folder`, each with its number, as far as its records are whole.
///
/// # Errors
/// [`ProveError`].
pub fn keys(folder: &Path) -> Result<Vec<(u64, PublicKey)>, ProveError> {
    let mut chain = KeyChain::default();
    let (mut place, mut distrust) = (None, None);
    each_record(folder, u64::MAX, |found| {
        if let Some(statement) = statement(found)?
            && let Err(why) = chain.push(&statement, found.sequence)
        {
            (place, distrust) = (Some(found.sequence), distrust.or(Some(why)));
        }
        Ok(())
    })?;
    match (place, distrust) {
        (Some(sequence), Some(why)) => {
            Err(damage(Damage { segment: 0, sequence, offset: 0, why: Why::Key(why) }))
        }
        _ => Ok(chain.keys().map(|(number, key)| (number, key.clone())).collect()),
    }
}

/// The newest checkpoint and what it covers.
fn covering(folder: &Path) -> Result<(String, u64), ProveError> {
    let note = newest_checkpoint(folder)?.ok_or(ProveError::NoCheckpoint)?;
    let parsed = Checkpoint::parse(&note).map(|(checkpoint, _)| checkpoint.size);
    let size = parsed.map_err(VerifyError::Checkpoint)?;
    Ok((note, size))
}

/// The statement of a key in a KEY record.
fn statement(frame: &Frame<'_>) -> Result<Option<Arc<str>>, ProveError> {
    if frame.kind != Kind::Key {
        return Ok(None);
    }
    match frame.decode() {
        Ok(Record::Key(signed)) => Ok(Some(signed.note)),
        Ok(_) => Ok(None),
        Err(error) => {
            let (sequence, why) = (frame.sequence, Why::Payload(error));
            Err(damage(Damage { segment: 0, sequence, offset: 0, why }))
        }
    }
}

fn damage(damage: Damage) -> ProveError {
    ProveError::Log(VerifyError::Damage(damage))
}

/// Calls `each` for the first `count` records of a log, which may be in use: what a checkpoint covers is
/// whole. With more than there are, reading ends at the first record that is not whole in the last segment.
fn each_record(
    folder: &Path,
    count: u64,
    mut each: impl FnMut(&Frame<'_>) -> Result<(), ProveError>,
) -> Result<(), ProveError> {
    let io_error = |path: &Path, source| VerifyError::Io { path: path.to_owned(), source };
    let (segments, _) = segments::list(folder).map_err(|source| io_error(folder, source))?;
    if segments.is_empty() {
        return Err(VerifyError::Empty(folder.to_owned()).into());
    }
    let mut position = Position::START;
    for (index, segment) in segments.iter().enumerate() {
        let is_last = index + 1 == segments.len();
        match one_segment(segment, position, count, &mut each) {
            Ok(Some(next)) => position = next,
            Ok(None) => return Ok(()),
            Err(ProveError::Log(VerifyError::Damage(_))) if is_last && count == u64::MAX => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    if count == u64::MAX { Ok(()) } else { Err(ProveError::Contradiction(ProofError::NotIncluded)) }
}

/// Where the next segment begins; `None` once `count` records were given.
fn one_segment(
    segment: &SegmentFile,
    position: Position,
    count: u64,
    each: &mut impl FnMut(&Frame<'_>) -> Result<(), ProveError>,
) -> Result<Option<Position>, ProveError> {
    let io_error = |source| VerifyError::Io { path: segment.path.clone(), source };
    let read_error = |error| match error {
        ReadError::Damage(found) => VerifyError::Damage(found),
        ReadError::Io { source, .. } => io_error(source),
    };
    let input = segment.open(&Keys::default()).map_err(io_error)?;
    let opened = SegmentReader::open(input, segment.number, Some(&position));
    let mut reader = opened.map_err(read_error)?;
    loop {
        match reader.next_item().map_err(read_error)? {
            Item::Batch(_) => {}
            Item::Frame(frame) => {
                each(&frame)?;
                if frame.sequence >= count {
                    return Ok(None);
                }
            }
            Item::End(_) => break,
        }
    }
    Ok(Some(Position { segment: segment.number + 1, ..reader.position() }))
}

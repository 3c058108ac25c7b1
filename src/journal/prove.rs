//! Proofs out of a log folder: one pass over the records from the nearest STATE to the end of a checkpoint.

use super::read::{VerifyError, newest_checkpoint};
use crate::audit::{
    Checkpoint, Damage, Frame, Frontier, Hash, Item, KeyChain, Kind, Position, Proof, ProofError, Prover,
    PublicKey, ReadError, Record, SegmentReader, State, StatedKey, Why,
};
use crate::segments::{self, Form, Keys, SegmentFile};
use std::{
    io::{self, Read},
    path::Path,
};

/// The log ends before its checkpoint, or what STATE says does not fit.
const NOT_INCLUDED: ProveError = ProveError::Contradiction(ProofError::NotIncluded);

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
    /// Retention took it away.
    #[error("record {record} was removed by retention: the log begins with record {first}")]
    Removed { record: u64, first: u64 },
    /// The gateway has no key to what it has encrypted.
    #[error(
        "segment {0} is encrypted to auditors: ask its folder, with `--dir DIR --identity FILE`, and not the \
         gateway"
    )]
    Encrypted(u64),
    /// What the record holds was taken out of the log.
    #[error("the bytes of record {0} were erased: nobody can prove any more what they were")]
    Erased(u64),
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

/// The proof that record `sequence` is in the log in `folder`, under its newest checkpoint; `keys` open
/// segments that are encrypted.
///
/// # Errors
/// [`ProveError`].
pub fn prove(folder: &Path, keys: &Keys, sequence: u64) -> Result<Proof, ProveError> {
    let (checkpoint, size) = covering(folder)?;
    let index = sequence.checked_sub(1);
    let prover = index.and_then(|index| Prover::inclusion(index, size));
    let prover = prover.ok_or(ProveError::NotCovered { record: sequence, covered: size })?;
    let start = Start::before(folder, keys, sequence)?;
    let mut prover = prover.start_behind(&start.tree).ok_or(NOT_INCLUDED)?;
    let (mut frame, mut kept, mut stated) = (Vec::new(), None, start.keys.clone());
    start.each_record(size, |found| {
        prover.push(found.leaf);
        if found.sequence == sequence {
            frame = found.leaf_bytes();
            if found.erased {
                return Err(ProveError::Erased(sequence));
            }
            kept = found.kept.map(<[u8]>::to_vec);
        }
        stated.extend(stated_key(found)?);
        Ok(())
    })?;
    let path = prover.finish().ok_or(NOT_INCLUDED)?;
    let keys = stated.into_iter().map(|key| key.note.to_string()).collect();
    let proof = Proof { sequence, frame, kept, keys, path, checkpoint };
    proof.check(None).map_err(ProveError::Contradiction)?;
    Ok(proof)
}

/// The proof that the first `from` records are the beginning of the first `to`; without `to`, of the newest
/// checkpoint: `newest`, where it is known before its file is written, else that beside the segments.
///
/// # Errors
/// [`ProveError`].
pub fn consistency(
    folder: &Path,
    keys: &Keys,
    newest: Option<&str>,
    from: u64,
    to: Option<u64>,
) -> Result<Consistency, ProveError> {
    let (checkpoint, covered) = newest.map_or_else(|| covering(folder), |note| covered(note.to_owned()))?;
    let to = to.unwrap_or(covered);
    let sizes = || ProveError::Sizes { from, to, covered };
    if from == 0 || to > covered {
        return Err(sizes());
    }
    let prover = Prover::consistency(from, to).ok_or_else(sizes)?;
    let start = Start::before(folder, keys, from + 1)?;
    let mut prover = prover.start_behind(&start.tree).ok_or(NOT_INCLUDED)?;
    start.each_record(to, |found| {
        prover.push(found.leaf);
        Ok(())
    })?;
    Ok(Consistency { from, to, path: prover.finish().ok_or(NOT_INCLUDED)?, checkpoint })
}

/// The keys of the log in `folder`, each with its number, as far as its records are whole.
///
/// # Errors
/// [`ProveError`].
pub fn signing_keys(folder: &Path, keys: &Keys) -> Result<Vec<(u64, PublicKey)>, ProveError> {
    let stated = stated_keys(folder, keys)?;
    let distrusted = |why| {
        let sequence = stated.last().map_or(0, |key| key.since);
        damage(Damage { segment: 0, sequence, offset: 0, why: Why::Key(why) })
    };
    let chain = KeyChain::of(&stated).map_err(distrusted)?;
    Ok(chain.keys().map(|(number, key)| (number, key.clone())).collect())
}

/// The statements of these keys, in their order.
///
/// # Errors
/// [`ProveError`].
pub fn stated_keys(folder: &Path, keys: &Keys) -> Result<Vec<StatedKey>, ProveError> {
    let start = Start::before(folder, keys, u64::MAX)?;
    let mut stated = start.keys.clone();
    start.each_record(u64::MAX, |found| {
        stated.extend(stated_key(found)?);
        Ok(())
    })?;
    Ok(stated)
}

/// A place in a log from which one can go on, and what a STATE says there of everything before it. It is
/// believed only as far as a signature holds what comes of it.
struct Start<'a> {
    /// What opens its segments.
    opener: &'a Keys,
    /// The segments from there on.
    segments: Vec<SegmentFile>,
    position: Position,
    tree: Frontier,
    keys: Vec<StatedKey>,
}

impl<'a> Start<'a> {
    /// The last one that is not behind record `sequence`.
    fn before(folder: &Path, keys: &'a Keys, sequence: u64) -> Result<Start<'a>, ProveError> {
        let io_error = |source| VerifyError::Io { path: folder.to_owned(), source };
        let (mut segments, _) = segments::list(folder).map_err(io_error)?;
        let mut first = None;
        for index in (0..segments.len()).rev() {
            // A segment that is being made is not yet needed by anybody who asks.
            let Some((position, state)) = opening(&segments[index], keys)? else { continue };
            let stated = state.and_then(|state| state.tree.map(|tree| (tree, state.keys)));
            let (tree, stated) = match stated {
                Some((tree, stated)) if tree.size() + 1 == position.sequence => (tree, stated),
                _ if position == Position::START => Default::default(),
                _ => continue,
            };
            first = Some(position.sequence);
            if position.sequence <= sequence {
                let segments = segments.split_off(index);
                return Ok(Start { opener: keys, segments, position, tree, keys: stated });
            }
        }
        Err(match first {
            Some(first) => ProveError::Removed { record: sequence, first },
            None => VerifyError::Empty(folder.to_owned()).into(),
        })
    }

    /// Calls `each` for the records from here up to record `last`. The log may be in use: what a checkpoint
    /// covers is whole. With more than there are, reading ends at the first record of the last segment that
    /// is not whole.
    fn each_record(
        &self,
        last: u64,
        mut each: impl FnMut(&Frame<'_>) -> Result<(), ProveError>,
    ) -> Result<(), ProveError> {
        let mut position = self.position;
        for (index, segment) in self.segments.iter().enumerate() {
            if position.sequence > last {
                return Ok(());
            }
            let is_newest = index + 1 == self.segments.len();
            match one_segment(segment, self.opener, position, last, &mut each) {
                Ok(next) => position = next,
                Err(ProveError::Log(VerifyError::Damage(_))) if is_newest && last == u64::MAX => {
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        if position.sequence > last || last == u64::MAX { Ok(()) } else { Err(NOT_INCLUDED) }
    }
}

/// The bytes of a segment, in whatever form it is.
fn open(segment: &SegmentFile, keys: &Keys) -> Result<Box<dyn Read>, ProveError> {
    segment.open(keys).map_err(|source| match source.kind() {
        // By the file's own rights this is the system's refusal, which names no form.
        io::ErrorKind::PermissionDenied if segment.form == Form::Encrypted => {
            ProveError::Encrypted(segment.number)
        }
        _ => VerifyError::Io { path: segment.path.clone(), source }.into(),
    })
}

/// Where a segment begins, and the STATE that it begins with; `None` if it has no whole header.
fn opening(segment: &SegmentFile, keys: &Keys) -> Result<Option<(Position, Option<State>)>, ProveError> {
    let input = open(segment, keys)?;
    let Ok(mut reader) = SegmentReader::open(input, segment.number, None) else {
        return Ok(None);
    };
    let position = reader.position();
    let _ = reader.next_item();
    let state = match reader.next_item() {
        Ok(Item::Frame(frame)) if frame.kind == Kind::State => frame.decode().ok(),
        _ => None,
    };
    let state = state.and_then(|record| if let Record::State(state) = record { Some(state) } else { None });
    Ok(Some((position, state)))
}

/// The newest checkpoint and what it covers.
fn covering(folder: &Path) -> Result<(String, u64), ProveError> {
    covered(newest_checkpoint(folder)?.ok_or(ProveError::NoCheckpoint)?)
}

/// A checkpoint, and what it covers.
fn covered(note: String) -> Result<(String, u64), ProveError> {
    let parsed = Checkpoint::parse(&note).map(|(checkpoint, _)| checkpoint.size);
    let size = parsed.map_err(VerifyError::Checkpoint)?;
    Ok((note, size))
}

/// The key in a KEY record.
fn stated_key(frame: &Frame<'_>) -> Result<Option<StatedKey>, ProveError> {
    if frame.kind != Kind::Key {
        return Ok(None);
    }
    match frame.decode() {
        Ok(Record::Key(signed)) => Ok(Some(StatedKey { note: signed.note, since: frame.sequence })),
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

/// Gives the records of one segment up to record `last`, and where the next one comes.
fn one_segment(
    segment: &SegmentFile,
    keys: &Keys,
    position: Position,
    last: u64,
    each: &mut impl FnMut(&Frame<'_>) -> Result<(), ProveError>,
) -> Result<Position, ProveError> {
    let io_error = |source| VerifyError::Io { path: segment.path.clone(), source };
    let read_error = |error| match error {
        ReadError::Damage(found) => VerifyError::Damage(found),
        ReadError::Io { source, .. } => io_error(source),
    };
    let input = open(segment, keys)?;
    let opened = SegmentReader::open(input, segment.number, Some(&position));
    let mut reader = opened.map_err(read_error)?;
    loop {
        match reader.next_item().map_err(read_error)? {
            Item::Batch(_) => {}
            Item::Frame(frame) => each(&frame)?,
            Item::End(_) => break,
        }
        if reader.position().sequence > last {
            break;
        }
    }
    Ok(Position { segment: segment.number + 1, ..reader.position() })
}

//! Reading a log folder: its segments in order, and their verification.

use super::checkpoint;
use crate::audit::{
    Copied, Damage, Distrust, Item, NOTE_BYTES_MAX, Piece, Pieces, ReadError, Record, Report, SegmentHeader,
    SegmentReader, State, Trust, Verifier,
};
use crate::segments::{self, Form, Keys, SegmentFile};
use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

/// A segment that is being written may show half a batch: it is read again this often before it counts as
/// damaged.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(20);

/// Why a log did not verify.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The log is not what was written.
    #[error(transparent)]
    Damage(#[from] Damage),
    /// A file lies in the folder that is no part of a log: a copied, renamed or foreign segment.
    #[error("{0} does not belong into an audit folder")]
    Stranger(PathBuf),
    /// There is no segment.
    #[error("{0} holds no audit log")]
    Empty(PathBuf),
    /// What the log is to be held against is no checkpoint.
    #[error("the checkpoint beside the log, or one that was given: {0}")]
    Checkpoint(Distrust),
    /// The system could not read it.
    #[error("cannot read {path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

/// Verifies the log in `folder`, which may be in use and is not encrypted. `progress` is told the bytes done
/// and the bytes there are.
///
/// # Errors
/// [`VerifyError`]: the first bad record, or why the log cannot be read.
pub fn verify_dir(folder: &Path, progress: impl FnMut(u64, u64)) -> Result<Report, VerifyError> {
    verify_dir_against(folder, &Keys::default(), Trust::default(), progress)
}

/// [`verify_dir`], and the log is held against `trust` and against the checkpoint beside it; `keys` open
/// segments that are encrypted.
///
/// # Errors
/// [`VerifyError`] as there.
pub fn verify_dir_against(
    folder: &Path,
    keys: &Keys,
    mut trust: Trust,
    mut progress: impl FnMut(u64, u64),
) -> Result<Report, VerifyError> {
    // Read first: whatever it covers is in the segments by now.
    trust.checkpoints.extend(newest_checkpoint(folder)?.map(Into::into));
    if segments::is_copy(folder) {
        let head = checkpoint_in(&folder.join(segments::COPY_HEAD))?.map(Into::into);
        trust.copied = Some(Copied { head });
    }
    let io_error = |path: &Path, source| VerifyError::Io { path: path.to_owned(), source };
    let (segments, strangers) = segments::list(folder).map_err(|source| io_error(folder, source))?;
    if let Some(stranger) = strangers.into_iter().next() {
        return Err(VerifyError::Stranger(stranger));
    }
    if segments.is_empty() {
        return Err(VerifyError::Empty(folder.to_owned()));
    }
    let mut total = segments.iter().map(|segment| segment.bytes).sum();
    let mut verifier = Verifier::with_trust(&trust).map_err(VerifyError::Checkpoint)?;
    if segments[0].number > 1
        && let Some((header, state)) = beginning(&segments[0], keys)?
    {
        verifier.begin_at(&header, &state);
    }
    let mut before = 0;
    for (index, segment) in segments.iter().enumerate() {
        let attempts = if index + 1 == segments.len() { ATTEMPTS } else { 1 };
        let counted = |done: u64| progress(before + done.min(segment.bytes), total);
        verify_one(&mut verifier, segment, keys, attempts, counted)?;
        before += segment.bytes;
        progress(before, total);
    }
    // A segment that was sealed while it was read has followers that the list does not know yet.
    while verifier.expects_more() {
        let number = verifier.next_segment();
        let path = segments::path(folder, number);
        let Ok(bytes) = fs::metadata(&path).map(|metadata| metadata.len()) else { break };
        let segment = SegmentFile { number, path, bytes, form: Form::Raw };
        verify_one(&mut verifier, &segment, keys, ATTEMPTS, |_| {})?;
        (before, total) = (before + bytes, total + bytes);
        progress(before, total);
    }
    verifier.finish().map_err(VerifyError::Damage)
}

/// Header and STATE of a segment; `None` if it does not begin so.
fn beginning(segment: &SegmentFile, keys: &Keys) -> Result<Option<(SegmentHeader, State)>, VerifyError> {
    let io_error = |source| VerifyError::Io { path: segment.path.clone(), source };
    let input = segment.open(keys).map_err(io_error)?;
    let first = || -> Result<_, ReadError> {
        let mut reader = SegmentReader::open(input, segment.number, None)?;
        let header = *reader.header();
        reader.next_item()?;
        let record = match reader.next_item()? {
            Item::Frame(frame) => frame.decode().ok(),
            _ => None,
        };
        Ok((header, record))
    };
    match first() {
        Ok((header, Some(Record::State(state)))) => Ok(Some((header, state))),
        Ok(_) => Ok(None),
        Err(ReadError::Damage(damage)) => Err(damage.into()),
        Err(ReadError::Io { source, .. }) => Err(io_error(source)),
    }
}

/// The checkpoint beside the segments of `folder`, as it is there; `None` without one.
///
/// # Errors
/// [`VerifyError`]: it cannot be read, or is no text.
pub fn newest_checkpoint(folder: &Path) -> Result<Option<String>, VerifyError> {
    checkpoint_in(&folder.join(checkpoint::FILE_NAME))
}

fn checkpoint_in(path: &Path) -> Result<Option<String>, VerifyError> {
    let io_error = |source| VerifyError::Io { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.and_then(|file| file.take(NOTE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)),
    }
    .map_err(io_error)?;
    let no_text = |_| VerifyError::Checkpoint(Distrust::NoCheckpoint);
    String::from_utf8(bytes).map(Some).map_err(no_text)
}

fn verify_one(
    verifier: &mut Verifier,
    segment: &SegmentFile,
    keys: &Keys,
    attempts: u32,
    mut progress: impl FnMut(u64),
) -> Result<(), VerifyError> {
    let io_error = |source| VerifyError::Io { path: segment.path.clone(), source };
    let mut attempt = 1;
    loop {
        let mut done = 0;
        let result = in_two(verifier, segment, keys, |bytes| {
            done += bytes;
            progress(done);
        });
        match result {
            Ok(()) => return Ok(()),
            Err(ReadError::Damage(_)) if attempt < attempts => {
                attempt += 1;
                thread::sleep(PAUSE);
            }
            Err(ReadError::Damage(damage)) => return Err(damage.into()),
            Err(ReadError::Io { source, .. }) => return Err(io_error(source)),
        }
    }
}

/// Batches that one thread may be ahead of the other.
const PIECES_AHEAD: usize = 16;

/// Verifies one segment in two threads: one reads it and checks its hashes, the other one what the records
/// say.
fn in_two(
    verifier: &mut Verifier,
    segment: &SegmentFile,
    keys: &Keys,
    progress: impl FnMut(u64),
) -> Result<(), ReadError> {
    let number = segment.number;
    let position = verifier.expect(number)?;
    let failed = |source| ReadError::Io { segment: number, source };
    thread::scope(|scope| {
        let (sender, pieces) = mpsc::sync_channel(PIECES_AHEAD);
        scope.spawn(move || {
            let opened = segment.open(keys).map_err(failed);
            let mut reader = match opened.and_then(|input| Pieces::open(input, number, &position)) {
                Ok(reader) => reader,
                Err(error) => return drop(sender.send(Piece::failed(error))),
            };
            loop {
                let piece = reader.next_piece();
                let is_last = piece.is_last();
                // Nobody takes it where the other thread has found damage.
                if sender.send(piece).is_err() || is_last {
                    return;
                }
            }
        });
        let ended = || Piece::failed(failed(io::Error::other("the thread that reads it ended")));
        verifier.pieces(number, || pieces.recv().unwrap_or_else(|_| ended()), progress)
    })
}

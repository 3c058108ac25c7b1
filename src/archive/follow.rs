//! Reads segments in order and follows the one that is being written.
//!
//! A batch is handed on only when it is whole and checked. What stands behind the last whole batch of the
//! last segment may be half of one that is just being written: it is looked at again for a while, and it is
//! no error. A start of the gateway decides what it was (`FORMAT.md`, RECOVERY).

use super::{Error, folder};
use crate::audit::{
    BATCH_HEADER_BYTES, BATCH_MAGIC, BatchHeader, Damage, Hash, Item, Position, ReadError, Record,
    SEAL_BYTES, Seal, SegmentReader,
};
use crate::segments::{Input, Keys};
use std::{
    io::{self, ErrorKind, Read},
    path::Path,
    thread,
    time::Duration,
};

/// A half batch is looked at again this often
const ATTEMPTS: u32 = 25;
/// with this pause before.
const PAUSE: Duration = Duration::from_millis(4);

/// Where reading goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub segment: u64,
    /// The next batch or seal begins here; 0 for the segment's own header.
    pub offset: u64,
    /// The next record, and the chain hash before it; nothing where the log begins behind what was deleted.
    pub next: Option<(u64, Hash)>,
    /// The segment's salt, once its header was read: another log in the same place has another one.
    pub salt: Option<[u8; 16]>,
    /// The last batch that was read: it is read again before anything behind it is believed.
    pub last: Option<Place>,
}

/// Where a batch lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub segment: u64,
    pub offset: u64,
    /// The first record of the batch, and the chain hash before it.
    pub sequence: u64,
    pub previous: Hash,
}

/// One whole batch.
pub(super) struct Batch {
    pub place: Place,
    /// Its records without body bytes, by their sequence numbers.
    pub records: Vec<(u64, Record)>,
}

/// How far reading came.
#[derive(Debug)]
pub(super) enum Stop {
    /// All that is there was read; behind it may stand the half of a batch.
    Tail(Option<Damage>),
    /// The taker wanted no more for now.
    Enough,
    /// The mark is of another log, or of records that were cut since: read it all again.
    Stale,
}

/// What reading meets.
pub(super) enum Met {
    Batch(Batch),
    /// A segment that is encrypted, and no key opens it.
    Closed(u64),
}

/// What is done with it; `false` stops.
pub(super) type Take<'a> = dyn FnMut(&Mark, Met) -> Result<bool, Error> + 'a;

/// A log folder, and what opens its encrypted segments.
#[derive(Clone, Copy)]
pub(super) struct Log<'a> {
    pub dir: &'a Path,
    pub keys: &'a Keys,
}

impl Mark {
    /// The beginning of a segment whose header is believed.
    pub(super) fn begin(segment: u64) -> Mark {
        Mark { segment, offset: 0, next: None, salt: None, last: None }
    }

    fn following(&self) -> Mark {
        Mark { next: self.next, ..Mark::begin(self.segment + 1) }
    }
}

/// Reads on from `mark` and moves it.
pub(super) fn follow(log: Log<'_>, mark: &mut Mark, take: &mut Take<'_>) -> Result<Stop, Error> {
    let Log { dir, .. } = log;
    let mut attempt = 0;
    loop {
        let damage = match segment(log, mark, take)? {
            Part::Stop(stop) => return Ok(stop),
            Part::Read => {
                attempt = 0;
                continue;
            }
            Part::Damaged(damage) => damage,
        };
        // Whatever stands in front of another segment is finished.
        if folder::exists(dir, mark.segment + 1) {
            return Err(damage.into());
        }
        if attempt == ATTEMPTS {
            return if goes_on(log, mark)? { Err(damage.into()) } else { Ok(Stop::Tail(Some(damage))) };
        }
        attempt += 1;
        thread::sleep(PAUSE);
    }
}

/// Whether something whole stands behind the place that cannot be read: then that is not the half of a last
/// batch, but damage.
fn goes_on(Log { dir, keys }: Log<'_>, mark: &Mark) -> Result<bool, Error> {
    let path = folder::path(dir, mark.segment);
    let mut bytes = Vec::new();
    let failed = |source| Error::Io { path: path.clone(), source };
    let Some(mut input) = folder::open(dir, mark.segment, keys).map_err(failed)? else { return Ok(true) };
    input.read_to_end(&mut bytes).map_err(failed)?;
    // A segment gets its name with its header whole.
    let Some(salt) = mark.salt else { return Ok(true) };
    if bytes.last_chunk::<SEAL_BYTES>().is_some_and(|seal| Seal::from_bytes(seal, &salt).is_some()) {
        return Ok(true);
    }
    let start = usize::try_from(mark.offset + 1).unwrap_or(usize::MAX).min(bytes.len());
    let is_batch = |at: usize| {
        let header = bytes[start + at..].first_chunk::<BATCH_HEADER_BYTES>();
        let batch = header.and_then(|header| BatchHeader::from_bytes(header, &salt));
        batch.is_some_and(|batch| batch.offset == (start + at) as u64)
    };
    Ok(memchr::memmem::find_iter(&bytes[start..], BATCH_MAGIC).any(is_batch))
}

enum Part {
    /// The segment was read; the mark stands at the next one.
    Read,
    Stop(Stop),
    Damaged(Damage),
}

/// Reads one segment from the mark to its end.
fn segment(Log { dir, keys }: Log<'_>, mark: &mut Mark, take: &mut Take<'_>) -> Result<Part, Error> {
    let path = folder::path(dir, mark.segment);
    let failed = |source| Error::Io { path: path.clone(), source };
    let file = match folder::open(dir, mark.segment, keys) {
        Ok(Some(file)) => file,
        Ok(None) => {
            let closed = mark.segment;
            *mark = Mark::begin(closed + 1);
            let goes_on = take(mark, Met::Closed(closed))?;
            return Ok(if goes_on { Part::Read } else { Part::Stop(Stop::Enough) });
        }
        Err(error) if error.kind() == ErrorKind::NotFound => return beyond(dir, mark),
        Err(error) => return Err(failed(error)),
    };
    let expected = mark.next.filter(|_| mark.offset == 0);
    let expected = expected.map(|(sequence, hash)| Position { segment: mark.segment, sequence, hash });
    let input = file.try_clone().map_err(failed)?;
    let mut reader = match SegmentReader::open(input, mark.segment, expected.as_ref()) {
        Ok(reader) => reader,
        Err(ReadError::Damage(damage)) => return Ok(Part::Damaged(damage)),
        Err(ReadError::Io { source, .. }) => return Err(failed(source)),
    };
    let header = *reader.header();
    match (mark.salt, mark.next) {
        (Some(salt), Some((sequence, hash))) => {
            if salt != header.salt || !is_there(&mut reader, mark).map_err(failed)? {
                return Ok(Part::Stop(Stop::Stale));
            }
            reader.resume(mark.offset, sequence, hash).map_err(failed)?;
        }
        _ => {
            mark.salt = Some(header.salt);
            mark.offset = reader.offset();
            mark.next = Some((header.first_sequence, header.previous));
        }
    }
    loop {
        if is_blank(&file, mark.offset).map_err(failed)? {
            // The seal is written when the next segment is there: look again before believing that it is not.
            let followed = folder::exists(dir, mark.segment + 1);
            if !followed {
                return Ok(Part::Stop(Stop::Tail(None)));
            }
            if is_blank(&file, mark.offset).map_err(failed)? {
                *mark = mark.following();
                return Ok(Part::Read);
            }
        }
        match batch(&mut reader) {
            Ok(Some(batch)) => {
                let Position { sequence, hash, .. } = reader.position();
                (mark.offset, mark.next) = (reader.offset(), Some((sequence, hash)));
                mark.last = Some(batch.place);
                if !take(mark, Met::Batch(batch))? {
                    return Ok(Part::Stop(Stop::Enough));
                }
            }
            Ok(None) if folder::exists(dir, mark.segment + 1) => {
                *mark = mark.following();
                return Ok(Part::Read);
            }
            Ok(None) => return Ok(Part::Stop(Stop::Tail(None))),
            Err(ReadError::Damage(damage)) => return Ok(Part::Damaged(damage)),
            Err(ReadError::Io { source, .. }) => return Err(failed(source)),
        }
    }
}

/// The mark's segment is not there: it was not begun, or it was deleted and a later one comes next.
fn beyond(dir: &Path, mark: &mut Mark) -> Result<Part, Error> {
    let segments = folder::list(dir)?;
    let Some(next) = segments.iter().find(|segment| segment.number > mark.segment) else {
        // Segments only ever go at the front: without any behind it, this is another log.
        let stop = if segments.is_empty() || mark.offset == 0 { Stop::Tail(None) } else { Stop::Stale };
        return Ok(Part::Stop(stop));
    };
    *mark = if next.number == mark.segment + 1 && mark.offset > 0 {
        mark.following()
    } else {
        Mark::begin(next.number)
    };
    Ok(Part::Read)
}

/// Whether the last batch before the mark still stands where it did and ends at the mark.
fn is_there(reader: &mut SegmentReader<Input>, mark: &Mark) -> io::Result<bool> {
    let Some(place) = mark.last.filter(|place| place.segment == mark.segment) else {
        // Nothing of this segment was read but its header.
        let next = (reader.header().first_sequence, reader.header().previous);
        return Ok(mark.next == Some(next) && mark.offset == reader.offset());
    };
    reader.resume(place.offset, place.sequence, place.previous)?;
    match batch(reader) {
        Ok(Some(_)) => {
            let Position { sequence, hash, .. } = reader.position();
            Ok(mark.next == Some((sequence, hash)) && mark.offset == reader.offset())
        }
        Ok(None) | Err(ReadError::Damage(_)) => Ok(false),
        Err(ReadError::Io { source, .. }) => Err(source),
    }
}

/// The next whole batch; nothing at the end of the segment.
fn batch(reader: &mut SegmentReader<Input>) -> Result<Option<Batch>, ReadError> {
    let Position { segment, sequence, hash } = reader.position();
    let place = match reader.next_item()? {
        Item::Batch(batch) => Place { segment, offset: batch.offset, sequence, previous: hash },
        // It stands between batches: a record does not come without one.
        Item::End(_) | Item::Frame(_) => return Ok(None),
    };
    let mut records = Vec::new();
    while !reader.is_between_batches() {
        let offset = reader.offset();
        let Item::Frame(frame) = reader.next_item()? else { break };
        let sequence = frame.sequence;
        // Bodies stay where they are: the index does not know them.
        let record = crate::audit::Frame { kept: None, ..frame }.decode().map_err(|error| {
            ReadError::Damage(Damage { segment, sequence, offset, why: crate::audit::Why::Payload(error) })
        })?;
        records.push((sequence, record));
    }
    Ok(Some(Batch { place, records }))
}

/// Whether nothing was written at `offset` yet.
fn is_blank(file: &Input, offset: u64) -> io::Result<bool> {
    let mut head = [0; BATCH_HEADER_BYTES];
    let mut read = 0;
    while read < head.len() {
        match file.read_at(&mut head[read..], offset + read as u64) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(head.iter().all(|byte| *byte == 0))
}

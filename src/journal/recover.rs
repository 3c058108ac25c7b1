//! What a start finds: where the log ends, what a crash left damaged, which exchanges were open.

use super::{disk::Disk, segment};
use crate::audit::{
    BATCH_HEADER_BYTES, BATCH_MAGIC, BatchHeader, Damage, End, ExchangeId, Frontier, Hash, Item, KeyChain,
    Kind, Position, ReadError, Record, Recovery, SEAL_BYTES, SEGMENT_HEADER_BYTES, Seal, SealReason,
    SegmentHeader, SegmentReader, Why,
};
use crate::segments::{self, Form, SegmentFile};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

/// Why a log cannot be continued.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// Records that were durable are damaged: somebody changed them, or the disk lost them.
    #[error("the audit log is damaged: {0}; move the folder away, or restore it, before starting again")]
    Damage(#[from] Damage),
    /// A file that is no part of a log.
    #[error("{0} does not belong into an audit folder")]
    Stranger(PathBuf),
    #[error("cannot read {path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

/// Where the log goes on.
#[derive(Debug)]
pub(super) struct Recovered {
    /// The new segment, its first record, and the chain hash before that.
    pub(super) position: Position,
    /// Exchanges that have an INTENT and no OUTCOME.
    pub(super) open: BTreeSet<ExchangeId>,
    /// The tree of all records.
    pub(super) tree: Frontier,
    /// The keys that sign it.
    pub(super) keys: KeyChain,
    /// Set when the log was not closed cleanly: what RECOVERY says, and the segment that has no seal.
    pub(super) unclean: Option<(Recovery, Unsealed)>,
}

/// The last segment of a log that was not closed cleanly. It is sealed once the segment that says so is
/// there: a start that dies in between finds it as it was.
#[derive(Debug)]
pub(super) struct Unsealed {
    path: PathBuf,
    header: SegmentHeader,
    /// Behind its last whole batch.
    end: Position,
    offset: u64,
}

impl Unsealed {
    fn new(file: &SegmentFile, scan: &Scan) -> Unsealed {
        let &Scan { header, end, offset, .. } = scan;
        Unsealed { path: file.path.clone(), header, end, offset }
    }

    /// Cuts off what is behind the last whole batch, and seals it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn seal(&self, disk: &dyn Disk, reason: SealReason) -> io::Result<()> {
        let file = disk.open(&self.path)?;
        segment::seal(&*file, &self.header, &self.end, self.offset, reason)
    }
}

/// What runs through the log, up to some record.
#[derive(Clone, Debug, Default)]
struct Live {
    /// Exchanges that are open.
    open: BTreeSet<ExchangeId>,
    /// `None` until a STATE says it.
    tree: Option<Frontier>,
    keys: KeyChain,
}

/// One record of a batch that is not known to be whole: sequence, leaf hash, and what it says but for
/// CONTENT.
type Entry = (u64, Hash, Option<Record>);

/// One segment, read to its end or to its first damage.
struct Scan {
    header: SegmentHeader,
    /// Behind the last whole batch.
    end: Position,
    offset: u64,
    /// What is live there, from what was live before.
    live: Live,
    durable_through: u64,
    /// Whether it begins with STATE, so that nothing before it is needed.
    has_state: bool,
    result: Result<End, Damage>,
}

/// Finds the end of the log in `folder`, and what an unclean end left damaged behind it.
///
/// # Errors
/// [`RecoverError`]: durable records are damaged, or the folder cannot be read or written.
pub(super) fn recover(disk: &dyn Disk, folder: &Path) -> Result<Recovered, RecoverError> {
    let io_error = |path: &Path| {
        let path = path.to_owned();
        move |source| RecoverError::Io { path, source }
    };
    let (files, strangers) = segments::list(folder).map_err(io_error(folder))?;
    if let Some(stranger) = strangers.into_iter().next() {
        return Err(RecoverError::Stranger(stranger));
    }
    if let Some(gap) = files.windows(2).find(|pair| pair[0].number + 1 != pair[1].number) {
        let why = Why::MissingSegment;
        return Err(Damage { segment: gap[0].number + 1, sequence: 0, offset: 0, why }.into());
    }
    let Some(last) = files.last() else {
        let (open, tree, keys) = Default::default();
        return Ok(Recovered { position: Position::START, open, tree, keys, unclean: None });
    };
    let scan = scan_from_state(disk, &files)?;
    let next = Position { segment: last.number + 1, ..scan.end };
    let unclean = match scan.result {
        Ok(End::Sealed(_)) => None,
        _ => Some((recovery(last, &scan)?, Unsealed::new(last, &scan))),
    };
    let Live { open, tree, keys } = scan.live;
    let (tree, keys) = match tree {
        Some(tree) => (tree, keys),
        None => whole_tree(&files)?,
    };
    Ok(Recovered { position: next, open, tree, keys, unclean })
}

/// The tree of a log whose STATE records do not tell it: they were written before there was one.
fn whole_tree(files: &[SegmentFile]) -> Result<(Frontier, KeyChain), RecoverError> {
    let mut live = Live { tree: Some(Frontier::default()), ..Live::default() };
    for file in files {
        live = scan(file, live, None)?.live;
    }
    Ok((live.tree.unwrap_or_default(), live.keys))
}

/// Scans the segments from the last one that begins with STATE, and seals those before the last that have
/// none: the process died while it rotated.
fn scan_from_state(disk: &dyn Disk, files: &[SegmentFile]) -> Result<Scan, RecoverError> {
    let mut from = files.len() - 1;
    let mut last = scan(&files[from], Live::default(), None)?;
    let mut headers = vec![last.header];
    while !last.has_state && from > 0 {
        from -= 1;
        let found = scan(&files[from], Live::default(), headers.first())?;
        headers.insert(0, found.header);
        last.has_state = found.has_state;
    }
    if from > 0 && !is_sealed_before(&files[from - 1], &headers[0])? {
        let before = scan(&files[from - 1], Live::default(), headers.first())?;
        check_follows(disk, &files[from - 1], &before, &headers[0])?;
    }
    // Open exchanges run through all of them: read again, each from what the one before left open.
    for index in 0..headers.len() - 1 {
        let next = headers[index + 1];
        let found = scan(&files[from + index], std::mem::take(&mut last.live), Some(&next))?;
        check_follows(disk, &files[from + index], &found, &next)?;
        last.live = found.live;
    }
    if headers.len() > 1 {
        last = scan(&files[files.len() - 1], last.live, None)?;
    }
    Ok(last)
}

/// Whether a segment ends with a good seal that `next` follows from: the usual case, told without reading it
/// all.
fn is_sealed_before(file: &SegmentFile, next: &SegmentHeader) -> Result<bool, RecoverError> {
    if file.form != Form::Raw {
        // Only what is sealed is packed.
        return Ok(true);
    }
    let seal = seal_of(file).map_err(|source| RecoverError::Io { path: file.path.clone(), source })?;
    Ok(seal.is_some_and(|seal| seal.hash == next.previous && seal.last_sequence + 1 == next.first_sequence))
}

/// The seal at the end of a segment that is not packed, if it is a good one.
///
/// # Errors
/// The file cannot be read.
pub(super) fn seal_of(file: &SegmentFile) -> io::Result<Option<Seal>> {
    let mut input = File::open(&file.path)?;
    let Ok(reader) = SegmentReader::open(&input, file.number, None) else { return Ok(None) };
    let salt = reader.header().salt;
    let mut bytes = [0; SEAL_BYTES];
    if input.seek(SeekFrom::End(-(SEAL_BYTES as i64))).is_err() {
        return Ok(None);
    }
    input.read_exact(&mut bytes)?;
    Ok(Seal::from_bytes(&bytes, &salt))
}

/// A segment that another one follows must end exactly where that one begins.
fn check_follows(
    disk: &dyn Disk,
    file: &SegmentFile,
    scan: &Scan,
    next: &SegmentHeader,
) -> Result<(), RecoverError> {
    let Position { segment, sequence, hash } = scan.end;
    if sequence != next.first_sequence || hash != next.previous {
        let why = match scan.result {
            Err(damage) => return Err(damage.into()),
            Ok(_) => Why::Disconnected,
        };
        return Err(Damage { segment: segment + 1, sequence, offset: 0, why }.into());
    }
    if matches!(scan.result, Ok(End::Sealed(_))) {
        return Ok(());
    }
    let sealed = Unsealed::new(file, scan).seal(disk, SealReason::Rotated);
    sealed.map_err(|source| RecoverError::Io { path: file.path.clone(), source })
}

/// What is cut off behind the last whole batch, if none of it was durable.
fn recovery(file: &SegmentFile, scan: &Scan) -> Result<Recovery, RecoverError> {
    let bytes =
        fs::read(&file.path).map_err(|source| RecoverError::Io { path: file.path.clone(), source })?;
    let start = (scan.offset as usize).min(bytes.len());
    let later = later_batches(&bytes, start, &scan.header);
    let durable = later.iter().map(|batch| batch.durable_through).max().unwrap_or(0);
    let sealed = sealed_through(&bytes, &scan.header).unwrap_or(0);
    let durable = durable.max(scan.durable_through).max(sealed);
    if let Err(damage) = scan.result
        && durable >= scan.end.sequence
    {
        return Err(damage.into());
    }
    let last_lost = later.iter().map(|batch| batch.first_sequence + u64::from(batch.count) - 1).max();
    let lost_bytes = bytes[start..].iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
    Ok(Recovery {
        at: segment::now(),
        segment: file.number,
        kept_through: scan.end.sequence - 1,
        lost: last_lost.filter(|last| *last >= scan.end.sequence).map(|last| (scan.end.sequence, last)),
        lost_bytes,
        open: scan.live.open.len() as u64,
    })
}

/// What the seal at the very end says was in the segment: all of it was durable.
fn sealed_through(bytes: &[u8], header: &SegmentHeader) -> Option<u64> {
    let seal = Seal::from_bytes(bytes.last_chunk::<SEAL_BYTES>()?, &header.salt)?;
    (seal.offset == (bytes.len() - SEAL_BYTES) as u64).then_some(seal.last_sequence)
}

/// Batch headers that lie behind damage: they tell what was durable, and how far the log went.
fn later_batches(bytes: &[u8], start: usize, header: &SegmentHeader) -> Vec<BatchHeader> {
    memchr::memmem::find_iter(&bytes[start..], BATCH_MAGIC)
        .filter_map(|at| {
            let found = bytes[start + at..].first_chunk::<BATCH_HEADER_BYTES>()?;
            let batch = BatchHeader::from_bytes(found, &header.salt)?;
            let in_place = batch.segment == header.number && batch.offset == (start + at) as u64;
            in_place.then_some(batch)
        })
        .collect()
}

/// Reads a segment, with `live` live before it. With `until`, reading ends where that segment begins: what
/// lies behind was written again there.
fn scan(file: &SegmentFile, live: Live, until: Option<&SegmentHeader>) -> Result<Scan, RecoverError> {
    let io_error = |source| RecoverError::Io { path: file.path.clone(), source };
    let input = BufReader::new(File::open(&file.path).map_err(io_error)?);
    let mut reader = SegmentReader::open(input, file.number, None).map_err(|error| match error {
        ReadError::Damage(damage) => RecoverError::Damage(damage),
        ReadError::Io { source, .. } => io_error(source),
    })?;
    let mut scan = Scan {
        header: *reader.header(),
        end: reader.position(),
        offset: SEGMENT_HEADER_BYTES as u64,
        live,
        durable_through: 0,
        has_state: file.number == 1,
        result: Ok(End::Open),
    };
    if file.number == 1 {
        scan.live.tree = Some(Frontier::default());
    }
    let mut batch = Vec::new();
    loop {
        let (position, offset) = (reader.position(), reader.offset());
        if reader.is_between_batches() {
            scan.enter(&mut batch);
            (scan.end, scan.offset) = (position, offset);
        }
        let item = match reader.next_item() {
            Ok(item) => item,
            Err(ReadError::Damage(damage)) => {
                scan.result = Err(damage);
                return Ok(scan);
            }
            Err(ReadError::Io { source, .. }) => return Err(io_error(source)),
        };
        let is_end = until.is_some_and(|next| scan.end.sequence == next.first_sequence);
        if is_end && matches!(item, Item::Batch(_)) {
            return Ok(scan);
        }
        match item {
            Item::Batch(header) => scan.durable_through = header.durable_through,
            Item::Frame(frame) => {
                let damage = |error| Damage {
                    segment: file.number,
                    sequence: position.sequence,
                    offset,
                    why: Why::Payload(error),
                };
                let is_content = frame.kind == Kind::Content;
                let record = (!is_content).then(|| frame.decode()).transpose().map_err(damage)?;
                batch.push((frame.sequence, frame.leaf, record));
            }
            Item::End(end) => {
                scan.result = Ok(end);
                return Ok(scan);
            }
        }
    }
}

impl Scan {
    /// Enters the records of a whole batch.
    fn enter(&mut self, batch: &mut Vec<Entry>) {
        let Scan { live: Live { open, tree, keys }, has_state, .. } = self;
        for (sequence, leaf, record) in batch.drain(..) {
            match record {
                Some(Record::State(state)) => {
                    *has_state = true;
                    *open = state.open.into_iter().collect();
                    if let Some(stated) = state.tree {
                        *tree = Some(stated);
                        // What contradicts itself here is named by every verifier.
                        *keys = KeyChain::of(&state.keys).unwrap_or_default();
                    }
                }
                Some(Record::Intent(intent)) => drop(open.insert(intent.id)),
                Some(Record::Outcome(outcome)) => drop(open.remove(&outcome.id)),
                Some(Record::Key(signed)) => drop(keys.push(&signed.note, sequence)),
                _ => {}
            }
            tree.iter_mut().for_each(|tree| tree.push(leaf));
        }
    }
}

use super::{
    checkpoint::Distrust,
    frame::{Frame, FrameError},
    hash::Hash,
    segment::{
        BATCH_HEADER_BYTES, BATCH_MAGIC, BatchHeader, HeaderError, SEAL_BYTES, SEGMENT_HEADER_BYTES, Seal,
        SegmentHeader,
    },
    wire::DecodeError,
};
use std::{
    fmt,
    io::{self, Read, Seek, SeekFrom},
};

/// Bytes read at once behind the last batch of an unsealed segment, where only zeros may be.
const ZEROS_BYTES: usize = 64 * 1024;

/// The first place where a log is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Number of the segment, by its place in the log.
    pub segment: u64,
    /// The record that is bad, or that should have begun here.
    pub sequence: u64,
    /// Bytes from the start of the segment.
    pub offset: u64,
    pub why: Why,
}

/// What is wrong there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    #[error("the segment is missing")]
    MissingSegment,
    #[error("this is not an audit segment")]
    NotASegment,
    #[error("format version {0} is newer than this program: read it with the ringward that wrote it")]
    Version(u16),
    #[error("its hash algorithm is not known")]
    Algorithm,
    #[error("the segment's header was changed")]
    SegmentHeader,
    #[error("this is segment {0}: segments were swapped, renamed or repeated")]
    SegmentNumber(u64),
    #[error("the segment does not follow from the one before it")]
    Disconnected,
    #[error("the segment ends in the middle of something")]
    Truncated,
    #[error("neither a batch nor a seal begins here")]
    NoBatch,
    #[error("a batch header was changed")]
    BatchHeader,
    #[error("a batch was moved here from segment {segment}, offset {offset}")]
    BatchMoved { segment: u64, offset: u64 },
    #[error("a batch header contradicts its records")]
    BatchContents,
    #[error("record {0} comes here: records before it were removed or moved")]
    Skipped(u64),
    #[error("record {0} comes here again: records were repeated or moved")]
    Repeated(u64),
    #[error("the record's frame was changed")]
    Frame,
    #[error("the record does not follow from the one before it: it was changed")]
    Chain,
    #[error("the stored body bytes were changed")]
    Content,
    #[error("stored body bytes were removed, and no ERASED record says so")]
    Erased,
    #[error("record kind {0} is newer than this program: read it with the ringward that wrote it")]
    Kind(u8),
    #[error("the record cannot be read: {0}")]
    Payload(DecodeError),
    #[error("the record does not fit the state of its exchange")]
    OutOfPlace,
    #[error("the signing key cannot be believed: {0}")]
    Key(Distrust),
    #[error("the checkpoint cannot be believed: {0}")]
    Checkpoint(Distrust),
    #[error("the checkpoint covers {0} records, which does not fit its place")]
    CheckpointSize(u64),
    #[error("the first {0} records are not those that the checkpoint signs: one of them was changed")]
    Root(u64),
    #[error("what STATE says of the tree or of the key does not follow from the records")]
    Tree,
    #[error("the checkpoint kept elsewhere cannot be believed: {0}")]
    Kept(Distrust),
    #[error("the first {0} records are not those of the checkpoint kept elsewhere: the log was forked")]
    Fork(u64),
    #[error("the log ends here, and its checkpoint covers {0} records: it was cut or rolled back")]
    Cut(u64),
    #[error("nothing behind record {0} is signed, and the log signs far more often")]
    Unsigned(u64),
    #[error("the seal was changed")]
    Seal,
    #[error("the seal contradicts the segment")]
    SealContents,
    #[error("bytes follow behind the end of the segment")]
    Trailing,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Damage { segment, sequence, offset, why } = self;
        write!(f, "record {sequence}, in segment {segment} at byte {offset}: {why}")
    }
}

impl std::error::Error for Damage {}

/// Why a segment could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The log is not what was written.
    #[error(transparent)]
    Damage(#[from] Damage),
    /// The file could not be read; the system is at fault.
    #[error("cannot read segment {segment}: {source}")]
    Io { segment: u64, source: io::Error },
}

/// Where a segment has to go on: its number, its first record, and the chain hash before that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub segment: u64,
    pub sequence: u64,
    pub hash: Hash,
}

impl Position {
    /// Where every log begins.
    pub const START: Position = Position { segment: 1, sequence: 1, hash: [0; 32] };
}

/// What a segment is made of, in order.
#[derive(Debug)]
pub enum Item<'a> {
    /// A batch begins.
    Batch(BatchHeader),
    /// A record.
    Frame(Frame<'a>),
    /// The segment ends here.
    End(End),
}

/// How a segment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Sealed(Seal),
    /// No seal, and only zeros behind the last batch: it is being written, or its writer died.
    Open,
}

/// Reads one segment strictly and in order, one batch in memory at a time.
#[derive(Debug)]
pub struct SegmentReader<R> {
    input: R,
    header: SegmentHeader,
    /// The next record and the chain hash before it.
    position: Position,
    /// Offset of the next byte to read from `input`.
    offset: u64,
    /// The records of the current batch, and how many bytes and records of them were handed out.
    records: Vec<u8>,
    taken: usize,
    left: u32,
    durable_through: u64,
}

impl<R: Read> SegmentReader<R> {
    /// Reads the header. With `expected`, the segment must go on exactly there; without, it is believed.
    /// `number` names the segment in errors.
    ///
    /// # Errors
    /// [`ReadError`]: not a segment, not this one, or not readable.
    pub fn open(
        mut input: R,
        number: u64,
        expected: Option<&Position>,
    ) -> Result<SegmentReader<R>, ReadError> {
        let sequence = expected.map_or(0, |position| position.sequence);
        let damage = |why| Damage { segment: number, sequence, offset: 0, why };
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        let read =
            fill(&mut input, &mut bytes).map_err(|source| ReadError::Io { segment: number, source })?;
        if read < bytes.len() {
            return Err(damage(Why::Truncated).into());
        }
        let header = SegmentHeader::from_bytes(&bytes).map_err(|error| {
            damage(match error {
                HeaderError::Magic => Why::NotASegment,
                HeaderError::Version(version) => Why::Version(version),
                HeaderError::Algorithm => Why::Algorithm,
                HeaderError::Check => Why::SegmentHeader,
            })
        })?;
        if header.number != number {
            return Err(damage(Why::SegmentNumber(header.number)).into());
        }
        if expected.is_some_and(|p| p.sequence != header.first_sequence || p.hash != header.previous) {
            return Err(damage(Why::Disconnected).into());
        }
        Ok(SegmentReader {
            input,
            header,
            position: Position { segment: number, sequence: header.first_sequence, hash: header.previous },
            offset: SEGMENT_HEADER_BYTES as u64,
            records: Vec::new(),
            taken: 0,
            left: 0,
            durable_through: 0,
        })
    }

    /// The segment's header.
    pub fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// The record that comes next, and the chain hash before it.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Whether the current batch was read to its end, so that position and offset are a place where a segment
    /// may end.
    pub fn is_between_batches(&self) -> bool {
        self.left == 0
    }

    /// Bytes read of the segment, with the current batch.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next part; after [`Item::End`] the reader has nothing more to give.
    ///
    /// # Errors
    /// [`ReadError`]: the first thing that is wrong. Reading on makes no sense then.
    pub fn next_item(&mut self) -> Result<Item<'_>, ReadError> {
        if self.left == 0 {
            return self.next_part();
        }
        let at = self.offset - (self.records.len() - self.taken) as u64;
        let damage =
            |why| Damage { segment: self.header.number, sequence: self.position.sequence, offset: at, why };
        let bytes = &self.records[self.taken..];
        let frame = Frame::parse(bytes, self.position.sequence, &self.position.hash).map_err(|error| {
            damage(match error {
                FrameError::Truncated => Why::BatchContents,
                FrameError::Shape => Why::Frame,
                FrameError::Kind(kind) => Why::Kind(kind),
                FrameError::Sequence(found) if found > self.position.sequence => Why::Skipped(found),
                FrameError::Sequence(found) => Why::Repeated(found),
                FrameError::Chain => Why::Chain,
                FrameError::Content => Why::Content,
                FrameError::Payload(error) => Why::Payload(error),
            })
        })?;
        self.left -= 1;
        if (self.left == 0) != (frame.length == bytes.len()) {
            return Err(damage(Why::BatchContents).into());
        }
        self.taken += frame.length;
        self.position.sequence += 1;
        self.position.hash = frame.hash;
        Ok(Item::Frame(frame))
    }

    fn next_part(&mut self) -> Result<Item<'_>, ReadError> {
        let start = self.offset;
        let mut bytes = [0; BATCH_HEADER_BYTES];
        let read = self.fill(&mut bytes)?;
        if bytes[..read].iter().all(|byte| *byte == 0) {
            return self.zeros(start).map(Item::End);
        }
        if Seal::is_magic(&bytes[..read]) {
            return self.seal(start, &bytes[..read]).map(|seal| Item::End(End::Sealed(seal)));
        }
        let magic = &bytes[..read.min(8)];
        if !BATCH_MAGIC.starts_with(magic) {
            return Err(self.damage(start, Why::NoBatch));
        }
        if read < bytes.len() {
            return Err(self.damage(start, Why::Truncated));
        }
        let batch = BatchHeader::from_bytes(&bytes, &self.header.salt)
            .ok_or_else(|| self.damage(start, Why::BatchHeader))?;
        self.check_batch(start, &batch)?;
        let mut records = std::mem::take(&mut self.records);
        records.resize(batch.length as usize, 0);
        let read = self.fill(&mut records)?;
        self.records = records;
        if read < batch.length as usize {
            return Err(self.damage(start, Why::Truncated));
        }
        (self.taken, self.left) = (0, batch.count);
        self.durable_through = batch.durable_through;
        Ok(Item::Batch(batch))
    }

    fn check_batch(&self, start: u64, batch: &BatchHeader) -> Result<(), ReadError> {
        let next = self.position.sequence;
        let why = if batch.first_sequence > next {
            Why::Skipped(batch.first_sequence)
        } else if batch.first_sequence < next {
            Why::Repeated(batch.first_sequence)
        } else if batch.segment != self.header.number || batch.offset != start {
            Why::BatchMoved { segment: batch.segment, offset: batch.offset }
        } else if batch.durable_through >= next || batch.durable_through < self.durable_through {
            Why::BatchContents
        } else {
            return Ok(());
        };
        Err(self.damage(start, why))
    }

    /// Reads the rest of an unsealed segment, which may be preallocated.
    fn zeros(&mut self, start: u64) -> Result<End, ReadError> {
        let mut bytes = vec![0; ZEROS_BYTES];
        loop {
            let at = self.offset;
            let read = self.fill(&mut bytes)?;
            if let Some(index) = bytes[..read].iter().position(|byte| *byte != 0) {
                return Err(self.damage(at + index as u64, Why::Trailing));
            }
            if read < bytes.len() {
                // The end of the log is behind its last batch, not behind the zeros.
                self.offset = start;
                return Ok(End::Open);
            }
        }
    }

    fn seal(&mut self, start: u64, head: &[u8]) -> Result<Seal, ReadError> {
        let mut bytes = [0; SEAL_BYTES];
        bytes[..head.len()].copy_from_slice(head);
        let read = head.len() + self.fill(&mut bytes[head.len()..])?;
        if read < bytes.len() {
            return Err(self.damage(start, Why::Truncated));
        }
        let seal =
            Seal::from_bytes(&bytes, &self.header.salt).ok_or_else(|| self.damage(start, Why::Seal))?;
        let last = self.position.sequence - 1;
        let records = self.position.sequence - self.header.first_sequence;
        let holds = seal.segment == self.header.number
            && seal.offset == start
            && seal.last_sequence == last
            && seal.records == records
            && seal.hash == self.position.hash;
        if !holds {
            return Err(self.damage(start, Why::SealContents));
        }
        let end = self.offset;
        if self.fill(&mut [0])? > 0 {
            return Err(self.damage(end, Why::Trailing));
        }
        self.offset = end;
        Ok(seal)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<usize, ReadError> {
        let segment = self.header.number;
        let read = fill(&mut self.input, bytes).map_err(|source| ReadError::Io { segment, source })?;
        self.offset += read as u64;
        Ok(read)
    }

    fn damage(&self, offset: u64, why: Why) -> ReadError {
        let (segment, sequence) = (self.header.number, self.position.sequence);
        ReadError::Damage(Damage { segment, sequence, offset, why })
    }
}

impl<R: Read + Seek> SegmentReader<R> {
    /// Goes on at the batch or the seal that begins at `offset`, where record `sequence` comes behind `hash`:
    /// what a reader that came this far before has kept. Everything from there on is checked as ever.
    ///
    /// # Errors
    /// The input cannot be moved.
    pub fn resume(&mut self, offset: u64, sequence: u64, hash: Hash) -> io::Result<()> {
        self.input.seek(SeekFrom::Start(offset))?;
        (self.offset, self.taken, self.left) = (offset, 0, 0);
        // What batches before it said is not known here.
        self.durable_through = 0;
        self.records.clear();
        (self.position.sequence, self.position.hash) = (sequence, hash);
        Ok(())
    }
}

/// Reads until `bytes` is full or the input ends; returns how many bytes came.
fn fill(input: &mut impl Read, bytes: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < bytes.len() {
        match input.read(&mut bytes[read..]) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

/// What one segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    pub header: SegmentHeader,
    pub records: u64,
    pub end: End,
}

/// Parses one segment from memory, reading every record; its header is believed. For tests and fuzzing: it
/// takes any bytes and never panics.
///
/// # Errors
/// [`Damage`]: the first thing that is wrong.
pub fn parse_segment(bytes: &[u8]) -> Result<Summary, Damage> {
    let number = bytes.get(32..40).map_or(0, |number| super::segment::read_u64(number, 0));
    let parse = || -> Result<Summary, ReadError> {
        let mut reader = SegmentReader::open(bytes, number, None)?;
        loop {
            let position = reader.position();
            let at = reader.offset();
            match reader.next_item()? {
                Item::Batch(_) => {}
                Item::Frame(frame) => {
                    let (segment, sequence) = (number, position.sequence);
                    frame.decode().map_err(|error| Damage {
                        segment,
                        sequence,
                        offset: at,
                        why: Why::Payload(error),
                    })?;
                }
                Item::End(end) => {
                    let header = *reader.header();
                    return Ok(Summary { header, records: position.sequence - header.first_sequence, end });
                }
            }
        }
    };
    parse().map_err(|error| match error {
        ReadError::Damage(damage) => damage,
        // Memory cannot fail to be read; if it did, it would be for want of bytes.
        ReadError::Io { segment, .. } => Damage { segment, sequence: 0, offset: 0, why: Why::Truncated },
    })
}

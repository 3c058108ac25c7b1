use super::{
    frame::{TooLarge, encode},
    hash::Hash,
    record::Record,
    segment::{BATCH_HEADER_BYTES, BatchHeader},
};
use crate::limits::PAGE_BYTES;

/// Records that go into a segment with one write. The chain runs through the records alone, so that a batch
/// can be written again at another place of another segment.
#[derive(Debug)]
pub struct Batch {
    /// Bytes of no meaning, room for the header, then the frames; then zeros, once it was closed up to a
    /// page.
    bytes: Vec<u8>,
    /// Those bytes of no meaning, and those zeros.
    lead: usize,
    padding: usize,
    first_sequence: u64,
    count: u32,
    previous: Hash,
    hash: Hash,
    leaf: Hash,
}

impl Batch {
    /// An empty batch whose first record will be `sequence`, behind the chain hash `previous`. It takes the
    /// memory of `buffer` over.
    pub fn new(sequence: u64, previous: Hash, mut buffer: Vec<u8>) -> Batch {
        buffer.clear();
        buffer.resize(BATCH_HEADER_BYTES, 0);
        Batch {
            bytes: buffer,
            lead: 0,
            padding: 0,
            first_sequence: sequence,
            count: 0,
            previous,
            hash: previous,
            leaf: [0; 32],
        }
    }

    /// Lays an empty batch so that a page of the segment, if it is written at `offset`, is a page of memory
    /// too: direct output wants that. It holds while the batch does not outgrow its buffer.
    pub fn place(&mut self, offset: u64) {
        debug_assert!(self.is_empty());
        let page = PAGE_BYTES as u64;
        self.lead = ((offset % page + page - self.bytes.as_ptr() as u64 % page) % page) as usize;
        self.bytes.resize(self.lead + BATCH_HEADER_BYTES, 0);
    }

    /// Appends a record and returns its sequence number.
    ///
    /// # Errors
    /// [`TooLarge`]; the batch is as it was.
    pub fn push(&mut self, record: &Record) -> Result<u64, TooLarge> {
        let sequence = self.next_sequence();
        let hashes = encode(record, sequence, &self.hash, &mut self.bytes)?;
        (self.hash, self.leaf) = (hashes.chain, hashes.leaf);
        self.count += 1;
        Ok(sequence)
    }

    /// Sequence number of the record that would be pushed next.
    pub fn next_sequence(&self) -> u64 {
        self.first_sequence + u64::from(self.count)
    }

    /// Sequence number of the last record; the one before the first while the batch is empty.
    pub fn last_sequence(&self) -> u64 {
        self.next_sequence() - 1
    }

    /// Sequence number of the first record.
    pub fn first_sequence(&self) -> u64 {
        self.first_sequence
    }

    /// Chain hash before the first record.
    pub fn previous(&self) -> Hash {
        self.previous
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Chain hash of the last record.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// Leaf hash of the record that was pushed last; zeros before the first.
    pub fn leaf(&self) -> Hash {
        self.leaf
    }

    /// Number of records.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Bytes with the header.
    pub fn len_bytes(&self) -> usize {
        self.bytes.len() - self.lead - self.padding
    }

    /// Writes the header for that place and returns the bytes to write there.
    pub fn close(&mut self, segment: u64, offset: u64, durable_through: u64, salt: &[u8; 16]) -> &[u8] {
        self.bytes.truncate(self.lead + self.len_bytes());
        self.padding = 0;
        let header = BatchHeader {
            segment,
            offset,
            first_sequence: self.first_sequence,
            durable_through,
            // A batch is closed long before 4 GiB: see `limits::BATCH_BYTES_MAX`.
            length: (self.len_bytes() - BATCH_HEADER_BYTES) as u32,
            count: self.count,
        };
        let bytes = &mut self.bytes[self.lead..];
        bytes[..BATCH_HEADER_BYTES].copy_from_slice(&header.to_bytes(salt));
        bytes
    }

    /// [`Batch::close`], with the zeros up to the next page of the segment behind it. They stand there
    /// already; a page that is written to its end need not be read first.
    pub fn close_page(&mut self, segment: u64, offset: u64, durable_through: u64, salt: &[u8; 16]) -> &[u8] {
        let end = offset + self.close(segment, offset, durable_through, salt).len() as u64;
        self.padding = (end.next_multiple_of(PAGE_BYTES as u64) - end) as usize;
        self.bytes.resize(self.bytes.len() + self.padding, 0);
        &self.bytes[self.lead..]
    }

    /// Gives the memory back for the next batch.
    pub fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }
}

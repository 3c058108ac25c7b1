use super::{Chunk, Tally};
use crate::limits::{SLICE_BYTES, SLICE_BYTES_MIN, SLICES_MAX};
use smallvec::SmallVec;

/// Chunks in their order. Mostly there is one: with more of them in place every step and event that holds a
/// queue would be as large as they, and is moved several times a request.
pub type Chunks = SmallVec<[Chunk; 1]>;

/// An ordered queue of chunks: the body bytes of one step, in the order in which they are sent.
/// Empty chunks are never kept.
#[derive(Clone, Debug, Default)]
pub struct Segments {
    chunks: Chunks,
    bytes: usize,
}

impl Segments {
    /// An empty queue; allocates nothing.
    pub fn new() -> Segments {
        Segments::default()
    }

    /// An empty queue with room for `count` chunks.
    pub fn with_capacity(count: usize) -> Segments {
        Segments { chunks: SmallVec::with_capacity(count), bytes: 0 }
    }

    /// Appends `chunk`; an empty one is dropped.
    pub fn push(&mut self, chunk: Chunk) {
        if !chunk.is_empty() {
            self.bytes += chunk.len();
            self.chunks.push(chunk);
        }
    }

    /// Appends all chunks of `other`.
    pub fn append(&mut self, other: Segments) {
        self.bytes += other.bytes;
        self.chunks.extend(other.chunks);
    }

    /// Cuts off the first `bytes` bytes and gives them; all there are, if they are fewer.
    pub fn split_to(&mut self, bytes: usize) -> Segments {
        if bytes >= self.bytes {
            return std::mem::take(self);
        }
        let (mut first, mut behind) = (Segments::new(), Segments::new());
        for mut chunk in std::mem::take(self) {
            let room = bytes - first.len_bytes();
            first.push(chunk.split_to(room.min(chunk.len())));
            behind.push(chunk);
        }
        *self = behind;
        first
    }

    /// Length of all chunks together, in bytes.
    pub fn len_bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there is no byte.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// The chunks in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Chunk> {
        self.chunks.iter()
    }

    /// Chunks in the queue.
    pub fn count(&self) -> usize {
        self.chunks.len()
    }

    /// Bytes of memory that these slices take: theirs, and their entries in this queue.
    pub fn footprint(&self) -> usize {
        self.bytes + self.chunks.len() * SLICE_BYTES
    }

    /// Joins the slices if they are many and tiny, such as the data of a chunked body in chunks of one byte:
    /// each would cost more than its bytes wherever it goes. The copied bytes are counted.
    pub fn join_tiny(&mut self, tally: &mut Tally) {
        if self.chunks.len() <= SLICES_MAX || self.bytes / self.chunks.len() >= SLICE_BYTES_MIN {
            return;
        }
        let mut joined = Vec::with_capacity(self.bytes);
        self.chunks.drain(..).for_each(|chunk| tally.copy(&mut joined, &chunk));
        // Allocates nothing: what the slices took is given back.
        self.chunks = SmallVec::from_iter([Chunk::from(joined)]);
    }

    /// Empties the queue, chunk by chunk.
    pub fn drain(&mut self) -> impl Iterator<Item = Chunk> + '_ {
        self.bytes = 0;
        self.chunks.drain(..)
    }

    /// The chunks by themselves.
    pub fn into_chunks(self) -> Chunks {
        self.chunks
    }

    /// All bytes in one vector: a copy, for tests and for replies, never for bodies in flight.
    pub fn to_vec(&self) -> Vec<u8> {
        self.chunks.iter().flat_map(|chunk| chunk.iter().copied()).collect()
    }
}

impl From<Chunk> for Segments {
    fn from(chunk: Chunk) -> Segments {
        let mut segments = Segments::new();
        segments.push(chunk);
        segments
    }
}

impl IntoIterator for Segments {
    type Item = Chunk;
    type IntoIter = smallvec::IntoIter<[Chunk; 1]>;

    fn into_iter(self) -> Self::IntoIter {
        self.chunks.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_tiny_slices_are_joined_and_counted() {
        let check = |count: usize, length: usize, joined: bool| {
            let (mut segments, mut tally) = (Segments::new(), Tally::default());
            (0..count).for_each(|index| segments.push(Chunk::from(vec![index as u8; length])));
            let before = segments.to_vec();
            segments.join_tiny(&mut tally);
            assert_eq!((segments.to_vec(), segments.len_bytes()), (before, count * length));
            assert_eq!(segments.count(), if joined { 1 } else { count }, "{count} of {length}");
            assert_eq!(tally.copied, if joined { (count * length) as u64 } else { 0 });
        };
        check(10_000, 1, true);
        check(SLICES_MAX + 1, SLICE_BYTES_MIN - 1, true);
        check(SLICES_MAX + 1, SLICE_BYTES_MIN, false);
        check(SLICES_MAX, 1, false);
        check(0, 0, false);
    }

    #[test]
    fn a_split_at_any_place_keeps_every_byte() {
        let mut segments = Segments::new();
        ["ab", "c", "defg"].iter().for_each(|part| segments.push(Chunk::from_static(part.as_bytes())));
        for at in 0..10 {
            let mut rest = segments.clone();
            let first = rest.split_to(at);
            assert_eq!((first.len_bytes(), first.len_bytes() + rest.len_bytes()), (at.min(7), 7));
            assert_eq!([first.to_vec(), rest.to_vec()].concat(), b"abcdefg");
            assert!(first.iter().chain(rest.iter()).all(|chunk| !chunk.is_empty()));
        }
    }

    #[test]
    fn length_follows_pushes_and_drains() {
        let mut segments = Segments::new();
        segments.push(Chunk::from_static(b"ab"));
        segments.push(Chunk::from_static(b""));
        segments.push(Chunk::from_static(b"cde"));
        assert_eq!((segments.len_bytes(), segments.iter().count()), (5, 2));
        assert_eq!(segments.to_vec(), b"abcde");
        assert_eq!(segments.drain().count(), 2);
        assert!(segments.is_empty() && segments.len_bytes() == 0);
    }
}

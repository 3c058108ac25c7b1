use super::Chunk;
use smallvec::SmallVec;

/// An ordered queue of chunks: the body bytes of one step, in the order in which they are sent.
/// Empty chunks are never kept.
#[derive(Clone, Debug, Default)]
pub struct Segments {
    chunks: SmallVec<[Chunk; 4]>,
    bytes: usize,
}

impl Segments {
    /// An empty queue; allocates nothing.
    pub fn new() -> Segments {
        Segments::default()
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

    /// Empties the queue, chunk by chunk.
    pub fn drain(&mut self) -> impl Iterator<Item = Chunk> + '_ {
        self.bytes = 0;
        self.chunks.drain(..)
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
    type IntoIter = smallvec::IntoIter<[Chunk; 4]>;

    fn into_iter(self) -> Self::IntoIter {
        self.chunks.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

//! Received bytes and their slices.
//!
//! A [`ChunkMut`] is filled by one read and owned by one place; frozen it becomes a [`Chunk`], which any
//! number of holders may slice and send to other threads: the client's writer and the audit journal hold the
//! same memory. [`Segments`] is an ordered queue of such slices. What is copied all the same goes through
//! [`Tally::copy`], so that every copied byte is counted.
//!
//! This is not a pool: mimalloc serves these sizes from free lists of its own.

mod budget;
mod chunk;
mod segments;

pub use budget::{Budget, Held};
pub use chunk::{Chunk, ChunkMut};
pub use segments::{Chunks, Segments};

/// Body bytes by the way they went, for `ringward_body_bytes_total{path=…}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Bytes sent from the buffer they were received in.
    pub forwarded: u64,
    /// Bytes copied: held back by a mask, moved in front of the next read.
    pub copied: u64,
    /// Bytes of small slices joined for TLS.
    pub coalesced: u64,
    /// Bytes copied so that a policy could parse them.
    pub policy: u64,
    /// Bytes copied while TLS was decrypted and encrypted, once for each copy, heads included.
    pub tls_read: u64,
    pub tls_written: u64,
}

/// Copies larger than this are made in pieces: by alignment alone a 64 KiB `memcpy` took 1.5 or 28 µs.
const COPY_PIECE_BYTES: usize = 2048;

impl Tally {
    /// Appends `source` to `target` and counts the bytes as copied.
    pub fn copy(&mut self, target: &mut Vec<u8>, source: &[u8]) {
        self.copied += source.len() as u64;
        append(target, source);
    }

    /// Appends `source` to `target` and counts the bytes as copied for a policy.
    pub fn copy_for_policy(&mut self, target: &mut Vec<u8>, source: &[u8]) {
        self.policy += source.len() as u64;
        append(target, source);
    }

    /// Adds the counts of `other`.
    pub fn add(&mut self, other: Tally) {
        self.forwarded += other.forwarded;
        self.copied += other.copied;
        self.coalesced += other.coalesced;
        self.policy += other.policy;
        self.tls_read += other.tls_read;
        self.tls_written += other.tls_written;
    }
}

/// Appends `source` to `target` in pieces that copy at full speed whatever the alignment.
pub fn append(target: &mut Vec<u8>, source: &[u8]) {
    target.reserve(source.len());
    for piece in source.chunks(COPY_PIECE_BYTES) {
        target.extend_from_slice(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_counted_and_whole() {
        let source: Vec<u8> = (0..10_000u32).map(|n| n as u8).collect();
        let mut tally = Tally::default();
        let mut target = vec![7];
        tally.copy(&mut target, &source);
        assert_eq!(&target[1..], &source[..]);
        assert_eq!(tally.copied, 10_000);
    }
}

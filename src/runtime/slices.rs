//! Owned slices in the form of a vectored write.
#![allow(unsafe_code)]

use crate::{
    buffer::{Chunk, Chunks, Segments},
    limits,
};
use monoio::buf::{IoBuf, IoVecBuf};
use zeroize::Zeroize;

/// What is left of one write: an optional head of our own making and the slices behind it. Boxed where it
/// travels: it goes into an operation and back several times a request.
#[derive(Default)]
pub(super) struct Slices {
    head: Vec<u8>,
    head_sent: usize,
    /// The head may hold a credential: its bytes are wiped when they are sent.
    secret: bool,
    chunks: Chunks,
    /// How many of the chunks are sent; they are gone already.
    chunks_sent: usize,
    /// Points into `head` and `chunks`; filled by [`Slices::prepare`] right before each system call.
    vectors: Vec<libc::iovec>,
}

impl Slices {
    /// Loads the next write. What was loaded before must have been sent.
    pub fn load(&mut self, head: Vec<u8>, secret: bool, body: Segments) {
        debug_assert!(self.is_empty());
        self.head = head;
        self.head_sent = 0;
        self.secret = secret;
        self.chunks = body.into_chunks();
    }

    /// Whether nothing is left to send.
    pub fn is_empty(&self) -> bool {
        self.head_sent == self.head.len() && self.chunks_sent == self.chunks.len()
    }

    /// Slices that the next write covers, at most [`limits::WRITE_SLICES_MAX`].
    pub fn prepare(&mut self) -> usize {
        self.vectors.clear();
        if self.head_sent < self.head.len() {
            self.vectors.push(vector(&self.head[self.head_sent..]));
        }
        let room = limits::WRITE_SLICES_MAX - self.vectors.len();
        self.vectors.extend(self.chunks[self.chunks_sent..].iter().take(room).map(|chunk| vector(chunk)));
        self.vectors.len()
    }

    /// Takes `sent` bytes off the front.
    pub fn advance(&mut self, mut sent: usize) {
        let of_head = sent.min(self.head.len() - self.head_sent);
        self.head_sent += of_head;
        sent -= of_head;
        while let Some(front) = self.chunks.get_mut(self.chunks_sent) {
            if sent < front.len() {
                front.split_to(sent);
                return;
            }
            sent -= front.len();
            *front = Chunk::default();
            self.chunks_sent += 1;
        }
        self.clear_chunks();
    }

    fn clear_chunks(&mut self) {
        self.chunks.clear();
        self.chunks_sent = 0;
    }

    /// The head's vector, empty and, if it was secret, wiped, for the next one.
    pub fn take_head(&mut self) -> Vec<u8> {
        self.wipe();
        self.head_sent = 0;
        std::mem::take(&mut self.head)
    }

    fn wipe(&mut self) {
        wipe(&mut self.head, self.secret);
    }

    /// Forgets what is left, after a failed write.
    pub fn clear(&mut self) {
        self.clear_chunks();
        self.vectors.clear();
        self.head_sent = self.head.len();
    }
}

impl Drop for Slices {
    fn drop(&mut self) {
        self.wipe();
    }
}

/// Empties a head, and wipes it if it is `secret`. Only the filled part: wiping is slow, and the rest never
/// held anything.
pub(super) fn wipe(head: &mut Vec<u8>, secret: bool) {
    if secret {
        head.as_mut_slice().zeroize();
    }
    head.clear();
}

fn vector(slice: &[u8]) -> libc::iovec {
    libc::iovec { iov_base: slice.as_ptr().cast_mut().cast(), iov_len: slice.len() }
}

// SAFETY: while the runtime owns the value nobody can call `&mut self` methods, so that `vectors` and what
// it points to stay as `prepare` left them. The vectors, the head and the chunks lie on the heap (a chunk may
// also be static), so that moving the box moves none of them.
unsafe impl IoVecBuf for Box<Slices> {
    fn read_iovec_ptr(&self) -> *const libc::iovec {
        self.vectors.as_ptr()
    }

    fn read_iovec_len(&self) -> usize {
        self.vectors.len()
    }
}

/// [`Slices`] whose next write is one slice: a plain `send` is cheaper than a vectored write.
pub(super) struct Single(pub Box<Slices>);

// SAFETY: as above; with no prepared slice the length is zero and the pointer is never read.
unsafe impl IoBuf for Single {
    fn read_ptr(&self) -> *const u8 {
        self.0.vectors.first().map_or(std::ptr::NonNull::dangling().as_ptr(), |vector| vector.iov_base.cast())
    }

    fn bytes_init(&self) -> usize {
        self.0.vectors.first().map_or(0, |vector| vector.iov_len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(slices: &mut Box<Slices>) -> Vec<u8> {
        let mut bytes = Vec::new();
        while !slices.is_empty() {
            slices.prepare();
            let single = Single(std::mem::take(slices));
            let length = single.bytes_init().min(3);
            // SAFETY: the pointer and length of the first prepared slice, which `single` still owns.
            bytes.extend_from_slice(unsafe { std::slice::from_raw_parts(single.read_ptr(), length) });
            *slices = single.0;
            slices.advance(length);
        }
        bytes
    }

    #[test]
    fn partial_writes_go_on_where_they_stopped() {
        let mut slices = Box::<Slices>::default();
        let mut body = Segments::new();
        for text in [&b"one"[..], b"twenty", b"3"] {
            body.push(Chunk::from(text.to_vec()));
        }
        slices.load(b"head".to_vec(), true, body);
        assert_eq!(slices.prepare(), 4);
        assert_eq!(collect(&mut slices), b"headonetwenty3");
        assert!(slices.take_head().is_empty());
    }

    #[test]
    fn one_write_covers_at_most_the_limit() {
        let mut slices = Slices::default();
        let mut body = Segments::new();
        (0..200u8).for_each(|byte| body.push(Chunk::from(vec![byte])));
        slices.load(vec![1], false, body);
        assert_eq!(slices.prepare(), limits::WRITE_SLICES_MAX);
        slices.advance(limits::WRITE_SLICES_MAX);
        assert_eq!(slices.prepare(), limits::WRITE_SLICES_MAX);
    }
}

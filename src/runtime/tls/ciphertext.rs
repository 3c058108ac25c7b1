//! Ciphertext that waits to be sent, in memory that is cleared once and not for every write.
#![allow(unsafe_code)]

use crate::limits;
use std::{cell::RefCell, mem, ptr};

/// An append-only buffer that is sent as a whole.
#[derive(Debug, Default)]
pub(super) struct Ciphertext {
    bytes: Vec<u8>,
    /// Bytes of the allocation that have ever been written: at least the length.
    initialized: usize,
}

/// The allocation that [`Ciphertext::take`] has given away, to recognise it when it comes back.
pub(super) struct Origin {
    memory: *const u8,
    capacity: usize,
    initialized: usize,
}

thread_local! {
    /// Large buffers between two writes: connections come and go idle, the memory stays with the shard.
    static SPARES: RefCell<Vec<Ciphertext>> = const { RefCell::new(Vec::new()) };
}

impl Ciphertext {
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Lets `fill` write up to `room` bytes behind what is there; it says how many it has written. What it is
    /// given holds bytes of earlier writes.
    ///
    /// # Errors
    /// Those of `fill`; nothing is appended.
    pub fn append<E>(
        &mut self,
        room: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<(), E> {
        let (start, end) = (self.bytes.len(), self.bytes.len() + room);
        self.reserve(end);
        if end <= self.initialized {
            // SAFETY: the first `initialized` bytes of this allocation have been written, it has not been
            // exchanged since (see `reserve` and `Origin`), and `initialized` is within the capacity.
            unsafe { self.bytes.set_len(end) };
        } else {
            // SAFETY: as above. Then only what was never written is cleared.
            unsafe { self.bytes.set_len(self.initialized.max(start)) };
            self.bytes.resize(end, 0);
            self.initialized = end;
        }
        let filled = fill(&mut self.bytes[start..]);
        let length = filled.as_ref().copied().unwrap_or(0).min(room);
        self.bytes.truncate(start + length);
        filled.map(drop)
    }

    fn reserve(&mut self, end: usize) {
        if end <= self.bytes.capacity() {
            return;
        }
        let is_large = end > limits::TLS_RECORD_BYTES;
        if is_large && let Some(mut spare) = SPARES.with_borrow_mut(Vec::pop) {
            // What is there already is a head, or the little that a read made us say.
            let capacity = spare.bytes.capacity();
            spare.bytes.extend_from_slice(&self.bytes);
            let known = if spare.bytes.capacity() == capacity { spare.initialized } else { 0 };
            spare.initialized = known.max(spare.bytes.len());
            *self = spare;
        }
        if end > self.bytes.capacity() {
            // What a new allocation holds beyond the length is not known.
            self.initialized = self.bytes.len();
            let whole = if is_large { end.max(limits::TLS_OUTPUT_BYTES) } else { end };
            self.bytes.reserve_exact(whole - self.bytes.len());
        }
    }

    /// The bytes, to be sent; their memory comes back through [`Ciphertext::give_back`].
    pub fn take(&mut self) -> (Vec<u8>, Origin) {
        let Ciphertext { bytes, initialized } = mem::take(self);
        let origin = Origin { memory: bytes.as_ptr(), capacity: bytes.capacity(), initialized };
        (bytes, origin)
    }

    /// Takes back the memory of bytes that were sent. A connection keeps no more than one record's: it may be
    /// idle from now on. What is larger goes to the next write of this thread.
    pub fn give_back(&mut self, mut bytes: Vec<u8>, origin: &Origin) {
        bytes.clear();
        let same = ptr::eq(bytes.as_ptr(), origin.memory) && bytes.capacity() == origin.capacity;
        let spare = Ciphertext { initialized: if same { origin.initialized } else { 0 }, bytes };
        if spare.bytes.capacity() > limits::TLS_RECORD_BYTES {
            SPARES.with_borrow_mut(|spares| {
                if spares.len() < limits::TLS_SPARE_BUFFERS
                    && spare.bytes.capacity() <= limits::TLS_SPARE_BYTES
                {
                    spares.push(spare);
                }
            });
        } else if self.bytes.capacity() == 0 {
            *self = spare;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(ciphertext: &mut Ciphertext, room: usize, bytes: &[u8]) {
        let filled = ciphertext.append(room, |target| {
            assert_eq!(target.len(), room);
            target[..bytes.len()].copy_from_slice(bytes);
            Ok::<_, ()>(bytes.len())
        });
        assert_eq!(filled, Ok(()));
    }

    #[test]
    fn what_is_appended_is_what_is_sent_whatever_room_there_was() {
        let mut ciphertext = Ciphertext::default();
        let mut expected = Vec::new();
        for room in [1, 10, 5_000, 3, 20_000, 70_000, 2, 90_000] {
            let bytes = vec![room as u8; room / 2 + 1];
            put(&mut ciphertext, room, &bytes);
            expected.extend_from_slice(&bytes);
            assert_eq!(ciphertext.append(room, |_| Err(7)), Err(7), "nothing is left of a failure");
            assert_eq!(ciphertext.len(), expected.len());
        }
        assert_eq!(ciphertext.take().0, expected);
    }

    #[test]
    fn memory_comes_back_and_another_allocation_is_not_taken_for_it() {
        let mut ciphertext = Ciphertext::default();
        put(&mut ciphertext, 100, &[1; 100]);
        let (bytes, origin) = ciphertext.take();
        let memory = bytes.as_ptr();
        ciphertext.give_back(bytes, &origin);
        put(&mut ciphertext, 100, b"x");
        let (bytes, origin) = ciphertext.take();
        assert_eq!((bytes.as_ptr(), &bytes[..]), (memory, &b"x"[..]), "the same memory, cleared of its past");
        drop(bytes);
        let mut stranger = Vec::with_capacity(100);
        stranger.push(9);
        ciphertext.give_back(stranger, &origin);
        put(&mut ciphertext, 90, b"yz");
        assert_eq!(ciphertext.take().0, b"yz");
    }

    #[test]
    fn large_memory_goes_to_the_next_write_of_the_thread() {
        let (mut one, mut other) = (Ciphertext::default(), Ciphertext::default());
        put(&mut one, 70_000, &[1; 60_000]);
        let (bytes, origin) = one.take();
        let memory = bytes.as_ptr();
        one.give_back(bytes, &origin);
        assert_eq!(one.bytes.capacity(), 0, "an idle connection holds none of it");
        put(&mut other, 100, b"head");
        put(&mut other, 66_000, b"z");
        assert!(other.initialized >= 70_000, "nothing is cleared again");
        assert_eq!((other.bytes.as_ptr(), &other.take().0[..]), (memory, &b"headz"[..]));
    }
}

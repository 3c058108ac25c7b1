use super::{Echo, MASK, Marks, PIECE_BYTES_MAX, join};
use crate::buffer::{Chunk, Segments};
use smallvec::SmallVec;
use std::sync::Arc;

/// Masked bytes that are sent at once.
static MASKED: [u8; 64] = [MASK; 64];

/// Takes the echoes out of one body, chunk by chunk. Untouched bytes leave as slices of their chunks.
///
/// ```text
///   … sent ──┐ held: may become part of a piece, at most 35 bytes ┐ next chunk ──
///    └ tail: the last 35 bytes, sent or held, for windows that reach into the next chunk ┘
/// ```
#[derive(Debug)]
pub struct Scrub {
    echo: Arc<Echo>,
    tail: SmallVec<[u8; PIECE_BYTES_MAX]>,
    held: Segments,
    /// Which of the held bytes lie in a piece; the lowest bit is the first byte.
    held_marks: u64,
    /// Whether the last byte in front of the held ones was masked.
    follows_mask: bool,
    masks: u64,
}

impl Scrub {
    /// A scrub of one body.
    pub fn new(echo: Arc<Echo>) -> Scrub {
        Scrub {
            echo,
            tail: SmallVec::new(),
            held: Segments::new(),
            held_marks: 0,
            follows_mask: false,
            masks: 0,
        }
    }

    /// Takes the next bytes, the `last` ones or not, and appends to `out` what is decided.
    pub fn push(&mut self, chunk: Chunk, last: bool, out: &mut Segments) {
        let mut marks = self.marks(&chunk);
        self.remember(&chunk);
        let live = if last { 0 } else { self.echo.live_bytes(&self.tail) };
        let known = self.held.len_bytes() + chunk.len();
        let decided = known - live.min(known);
        self.held.push(chunk);
        self.release(decided, &mut marks, out);
    }

    /// The body has ended, and no byte of it was said to be the last: releases what was held back.
    pub fn finish(&mut self, out: &mut Segments) {
        let mut marks = self.held_marks();
        self.release(self.held.len_bytes(), &mut marks, out);
    }

    /// How many echoes were masked.
    pub fn masks(&self) -> u64 {
        self.masks
    }

    /// Bytes that are held back.
    pub fn held_bytes(&self) -> usize {
        self.held.len_bytes()
    }

    /// What lies in a piece, of the held bytes and the chunk behind them.
    fn marks(&self, chunk: &[u8]) -> Marks {
        let mut marks = self.held_marks();
        let held = self.held.len_bytes();
        if !self.tail.is_empty() {
            // Windows that begin in front of the chunk.
            let mut seam: SmallVec<[u8; 2 * PIECE_BYTES_MAX]> = SmallVec::from_slice(&self.tail);
            seam.extend_from_slice(&chunk[..chunk.len().min(self.echo.reach())]);
            let sent = self.tail.len() - held;
            self.echo.find(&seam, |mark| {
                if mark.end > sent {
                    marks.push(mark.start.saturating_sub(sent)..mark.end - sent);
                }
            });
        }
        self.echo.find(chunk, |mark| marks.push(mark.start + held..mark.end + held));
        marks
    }

    fn held_marks(&self) -> Marks {
        let mut left = self.held_marks;
        let mut marks = Marks::new();
        while left != 0 {
            let at = left.trailing_zeros() as usize;
            left &= left - 1;
            marks.push(at..at + 1);
        }
        marks
    }

    /// Keeps the last bytes in mind.
    fn remember(&mut self, chunk: &[u8]) {
        let reach = self.echo.reach();
        let fresh = &chunk[chunk.len().saturating_sub(reach)..];
        let old = self.tail.len().min(reach - fresh.len());
        self.tail.drain(..self.tail.len() - old);
        self.tail.extend_from_slice(fresh);
    }

    /// Sends the first `decided` held bytes, masked; the others stay, with their marks.
    fn release(&mut self, decided: usize, marks: &mut Marks, out: &mut Segments) {
        self.held_marks = 0;
        if marks.is_empty() {
            if decided > 0 {
                out.append(self.held.split_to(decided));
                self.follows_mask = false;
            }
            return;
        }
        join(marks);
        let mut at = 0;
        for mark in marks.iter() {
            let (start, end) = (mark.start.min(decided), mark.end.min(decided));
            if start > at {
                out.append(self.held.split_to(start - at));
                self.follows_mask = false;
            }
            if end > start {
                self.masks += u64::from(!self.follows_mask);
                self.follows_mask = true;
                drop(self.held.split_to(end - start));
                mask(end - start, out);
            }
            at = at.max(end);
            (mark.start.max(decided)..mark.end).for_each(|at| self.held_marks |= 1 << (at - decided));
        }
        if decided > at {
            out.append(self.held.split_to(decided - at));
            self.follows_mask = false;
        }
    }
}

/// Sends `count` masked bytes.
fn mask(count: usize, out: &mut Segments) {
    let mut left = count;
    while left > 0 {
        let part = left.min(MASKED.len());
        out.push(Chunk::from_static(&MASKED[..part]));
        left -= part;
    }
}

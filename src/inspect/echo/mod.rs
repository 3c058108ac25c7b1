//! Echo scrub (SECURITY R19): what must never come back is found in every usual spelling, however the bytes
//! are cut, and each byte of it replaced by [`MASK`]: a body keeps its length.
//!
//! Not a whole secret is looked for but any piece of it that has [`ECHO_PIECE_BYTES`] bytes, in each spelling
//! of `spell.rs`: so an echo is found that is cut, quoted in parts, or encoded together with its neighbours.
//! The definition knows no chunks: *a byte is masked if it lies in a window that is a piece of a
//! spelling*. Nothing else is changed.
//!
//! Looking costs one load and one bit test for every [`STRIDE`] bytes, whatever the number of spellings: each
//! window of the shortest piece holds a whole gram at a multiple of that stride, so only there it is asked
//! whether the gram occurs in a spelling.
//!
//! This knows no HTTP and no secrets' names. Start at [`Echo`], then [`Scrub`].

mod look;
mod scrub;
mod spell;

pub use scrub::Scrub;

use crate::limits::ECHO_PIECE_BYTES;
use look::{Hits, Seen, gram_of_eight};
use smallvec::SmallVec;
use spell::Spellings;
use std::fmt;
use std::ops::Range;
use zeroize::Zeroizing;

/// What each byte of an echo becomes: a body keeps its length, and so its Content-Length.
pub const MASK: u8 = b'*';

/// Bytes that are looked up together.
const GRAM_BYTES: usize = 6;
/// Distance of the places that are looked at.
const STRIDE: usize = ECHO_PIECE_BYTES - GRAM_BYTES + 1;
/// Bytes of the longest piece: of those in which each byte takes three characters.
const PIECE_BYTES_MAX: usize = 3 * ECHO_PIECE_BYTES;
/// Ends each spelling; no body that is text holds it.
const SEPARATOR: u8 = 1;

// Marks of what is held back lie in one word.
const _: () = assert!(PIECE_BYTES_MAX <= 64);

/// One or several values in all their spellings, ready to be looked for. Built when a value is loaded; wiped
/// when dropped, never printed.
pub struct Echo {
    /// All spellings, each with a [`SEPARATOR`] behind it.
    text: Zeroizing<Vec<u8>>,
    /// Where each lies, in order.
    forms: Vec<Form>,
    /// By hash: whether a gram of a spelling has it.
    seen: Seen,
    /// By hash: one more than the last place in the text whose gram has it; zero for none.
    last: Box<[u32]>,
    /// By place in the text: one more than the place before it with the same hash.
    before: Box<[u32]>,
    /// The bytes that occur.
    bytes: [bool; 256],
    piece_max: usize,
}

/// One spelling.
#[derive(Clone, Copy)]
struct Form {
    start: u32,
    end: u32,
    /// Bytes that a piece of it must have.
    piece: u8,
}

impl Echo {
    /// Spells `values` out. Those under [`ECHO_PIECE_BYTES`] bytes could not be told from ordinary text and
    /// are not looked for.
    pub fn new(values: &[&[u8]]) -> Echo {
        let mut spellings = Spellings::default();
        values.iter().for_each(|value| spellings.add(value));
        let Spellings { text, forms } = spellings;
        let bits = (text.len() * 32).max(1).ilog2().clamp(12, 20);
        let mut echo = Echo {
            seen: Seen::new(bits),
            last: vec![0; 1 << bits].into(),
            before: vec![0; text.len()].into(),
            bytes: [false; 256],
            piece_max: forms.iter().map(|form| usize::from(form.piece)).max().unwrap_or(1),
            text,
            forms,
        };
        for form in &echo.forms {
            let (start, end) = (form.start as usize, form.end as usize);
            echo.text[start..end].iter().for_each(|byte| echo.bytes[usize::from(*byte)] = true);
            for at in start..=end - GRAM_BYTES {
                let hash = echo.seen.hash(gram(&echo.text, at));
                echo.seen.add(hash);
                echo.before[at] = std::mem::replace(&mut echo.last[hash], at as u32 + 1);
            }
        }
        echo
    }

    /// Whether there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.forms.is_empty()
    }

    /// `value` with its echoes replaced; `None` if it has none.
    pub fn scrub(&self, value: &[u8]) -> Option<Vec<u8>> {
        let mut marks = Marks::new();
        self.find(value, |mark| marks.push(mark));
        if marks.is_empty() {
            return None;
        }
        let mut out = value.to_vec();
        marks.into_iter().for_each(|mark| out[mark].fill(MASK));
        Some(out)
    }

    /// Bytes that a piece has at most, less one: what an undecided window may reach back.
    fn reach(&self) -> usize {
        self.piece_max - 1
    }

    /// Gives the parts of `text` that lie in pieces, in no order, some of them several times.
    fn find(&self, text: &[u8], mut mark: impl FnMut(Range<usize>)) {
        let mut at = 0;
        while let Some(Hits { at, looks }) = self.seen.next(text, &mut at) {
            let mut left = looks;
            while left != 0 {
                let at = at + left.trailing_zeros() as usize * STRIDE;
                left &= left - 1;
                self.pieces_at(text, at, self.seen.hash(gram_of_eight(text, at)), &mut mark);
            }
        }
        // The last gram of a text has no eight bytes to be loaded at once.
        while at + 8 <= text.len() {
            let hash = self.seen.hash(gram_of_eight(text, at));
            if self.seen.holds(hash) {
                self.pieces_at(text, at, hash, &mut mark);
            }
            at += STRIDE;
        }
        while at + GRAM_BYTES <= text.len() {
            let hash = self.seen.hash(gram(text, at));
            self.pieces_at(text, at, hash, &mut mark);
            at += STRIDE;
        }
    }

    /// Gives the pieces that hold the gram at `at`.
    fn pieces_at(&self, text: &[u8], at: usize, hash: usize, mark: &mut impl FnMut(Range<usize>)) {
        let mut next = self.last[hash];
        while next != 0 {
            let place = next as usize - 1;
            next = self.before[place];
            if self.text[place..place + GRAM_BYTES] != text[at..at + GRAM_BYTES] {
                continue;
            }
            let form = self.form_at(place);
            let piece = usize::from(form.piece);
            // Whatever lies farther off is found from another gram.
            let most = piece - GRAM_BYTES;
            let before = &self.text[form.start as usize..place];
            let left = same(before.iter().rev(), text[..at].iter().rev(), most);
            let behind = &self.text[place + GRAM_BYTES..form.end as usize];
            let right = same(behind.iter(), text[at + GRAM_BYTES..].iter(), most);
            if left + GRAM_BYTES + right >= piece {
                mark(at - left..at + GRAM_BYTES + right);
            }
        }
    }

    fn form_at(&self, place: usize) -> Form {
        let behind = self.forms.partition_point(|form| form.start as usize <= place);
        self.forms[behind - 1]
    }

    /// Length of the longest end of `text` that also stands in a spelling, so that a piece may begin there.
    fn live_bytes(&self, text: &[u8]) -> usize {
        let Some(at) = text.len().checked_sub(GRAM_BYTES) else { return self.live_bytes_short(text) };
        let mut live = 0;
        let mut next = self.last[self.seen.hash(gram(text, at))];
        while next != 0 {
            let place = next as usize - 1;
            next = self.before[place];
            if self.text[place..place + GRAM_BYTES] == text[at..] {
                let before = &self.text[self.form_at(place).start as usize..place];
                let left = same(before.iter().rev(), text[..at].iter().rev(), self.reach() - GRAM_BYTES);
                live = live.max(left + GRAM_BYTES);
            }
        }
        if live > 0 { live } else { self.live_bytes_short(&text[at + 1..]) }
    }

    /// The same of less bytes than a gram.
    fn live_bytes_short(&self, text: &[u8]) -> usize {
        let Some(last) = text.last() else { return 0 };
        if !self.bytes[usize::from(*last)] {
            return 0;
        }
        let occurs = |bytes: &usize| memchr::memmem::find(&self.text, &text[text.len() - bytes..]).is_some();
        (2..=text.len()).take_while(occurs).last().unwrap_or(1)
    }
}

/// Nothing of a value.
impl fmt::Debug for Echo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Echo").field("spellings", &self.forms.len()).finish_non_exhaustive()
    }
}

/// Parts of a text; mostly there are none.
type Marks = SmallVec<[Range<usize>; 4]>;

/// Puts marks in order; those that overlap or touch become one.
fn join(marks: &mut Marks) {
    marks.sort_unstable_by_key(|mark| mark.start);
    marks.dedup_by(|next, last| {
        let touches = next.start <= last.end;
        if touches {
            last.end = last.end.max(next.end);
        }
        touches
    });
}

/// How many bytes both have in common, up to `most`.
fn same<'a>(one: impl Iterator<Item = &'a u8>, other: impl Iterator<Item = &'a u8>, most: usize) -> usize {
    one.zip(other).take(most).take_while(|(one, other)| one == other).count()
}

/// The gram at `at`, which is within the text.
fn gram(text: &[u8], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes[..GRAM_BYTES].copy_from_slice(&text[at..at + GRAM_BYTES]);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests;

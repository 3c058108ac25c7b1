use super::marks::{BLOCK_BYTES, Marks};
use crate::http::Rejection;
use memchr::memchr;
use std::ops::Range;

/// The end of a head that came whole and is as it should be: each line ends with CRLF, and none holds a
/// control character.
pub(super) fn clean_end(bytes: &[u8]) -> Option<usize> {
    let mut before = Marks::default();
    for (index, block) in bytes.chunks(BLOCK_BYTES).enumerate() {
        let marks = Marks::of(block);
        let blank = marks.blank_lines(&before);
        // What follows the first blank line is none of the head.
        let head = blank ^ blank.wrapping_sub(1);
        if marks.faults(&before) & head != 0 {
            return None;
        }
        if blank != 0 {
            return Some(index * BLOCK_BYTES + blank.trailing_zeros() as usize + 1);
        }
        before = marks;
    }
    None
}

/// Range of the line at the start of `head`, without its CRLF.
pub(super) fn first_line(head: &[u8]) -> Result<Range<usize>, Rejection> {
    let end = memchr(b'\n', head).ok_or(Rejection::HeadIncomplete)?;
    match head[..end].last() {
        Some(b'\r') => Ok(0..end - 1),
        _ => Err(Rejection::BareLf),
    }
}

/// One line of a head.
pub(super) struct Line {
    /// Where it is, without its CRLF.
    pub range: Range<usize>,
    /// Where its first colon is.
    pub colon: Option<usize>,
    /// Whether what is in front of the colon is certainly plain ([`crate::http::class::is_plain`]).
    pub is_plain: bool,
}

/// Walks over the lines of a head, in blocks.
pub(super) struct Lines<'a> {
    head: &'a [u8],
    /// Where the block begins.
    block: usize,
    marks: Marks,
    /// Those of the block in front of it.
    before: Marks,
    /// LFs and colons of the block that no line was made of yet.
    lf: u64,
    colon: u64,
    /// Where the next line begins.
    next: usize,
    /// Whether the blocks so far hold anything that [`clean_end`] does not take.
    is_faulty: bool,
}

impl<'a> Lines<'a> {
    /// The lines from `start` on, where one begins.
    pub fn new(head: &'a [u8], start: usize) -> Lines<'a> {
        let marks = Marks::of(head.get(start..).unwrap_or_default());
        let is_faulty = marks.faults(&Marks::default()) != 0;
        let (lf, colon) = (marks.lf, marks.colon);
        Lines { head, block: start, marks, before: Marks::default(), lf, colon, next: start, is_faulty }
    }

    /// Where the next line begins.
    pub fn position(&self) -> usize {
        self.next
    }

    /// Whether the lines so far, and perhaps what follows them, hold a character that no line may.
    pub fn is_faulty(&self) -> bool {
        self.is_faulty
    }

    /// The next line.
    ///
    /// # Errors
    /// It does not end, or with LF alone.
    pub fn next(&mut self) -> Result<Line, Rejection> {
        let start = self.next;
        let (mut colon, mut is_plain) = (None, false);
        let end = loop {
            // Those behind the LF are of other lines.
            let own = self.colon & (self.lf ^ self.lf.wrapping_sub(1));
            if colon.is_none() && own != 0 {
                let at = own.trailing_zeros() as usize;
                colon = Some(self.block + at);
                is_plain = match start.checked_sub(self.block) {
                    Some(start) => start < at && self.marks.is_plain(start, at),
                    None => {
                        let start = (start + BLOCK_BYTES).checked_sub(self.block);
                        start.is_some_and(|start| self.marks.is_plain_behind(&self.before, start, at))
                    }
                };
            }
            if self.lf != 0 {
                let at = self.lf.trailing_zeros();
                let behind = !1 << at;
                (self.lf, self.colon) = (self.lf & behind, self.colon & behind);
                break self.block + at as usize;
            }
            self.load()?;
        };
        self.next = end + 1;
        match self.head[start..end].last() {
            Some(b'\r') => Ok(Line { range: start..end - 1, colon, is_plain }),
            _ => Err(Rejection::BareLf),
        }
    }

    fn load(&mut self) -> Result<(), Rejection> {
        self.block += BLOCK_BYTES;
        let block = self.head.get(self.block..).filter(|rest| !rest.is_empty());
        let marks = Marks::of(block.ok_or(Rejection::HeadIncomplete)?);
        self.is_faulty |= marks.faults(&self.marks) != 0;
        self.before = std::mem::replace(&mut self.marks, marks);
        (self.lf, self.colon) = (marks.lf, marks.colon);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Where a line is, and its first colon.
    type Found = (Range<usize>, Option<usize>);

    /// What [`Lines`] says, byte by byte.
    fn lines(head: &[u8]) -> Vec<Result<Found, Rejection>> {
        let (mut start, mut found) = (0, Vec::new());
        loop {
            let Some(length) = head[start..].iter().position(|&byte| byte == b'\n') else {
                found.push(Err(Rejection::HeadIncomplete));
                return found;
            };
            let line = &head[start..start + length];
            let Some(text) = line.strip_suffix(b"\r") else {
                found.push(Err(Rejection::BareLf));
                return found;
            };
            let colon = text.iter().position(|&byte| byte == b':').map(|at| start + at);
            found.push(Ok((start..start + text.len(), colon)));
            start += length + 1;
        }
    }

    proptest! {
        #[test]
        fn lines_are_found_wherever_blocks_end(
            head in "(([a-zA-Z0-9_-]{0,40}:?[ -~:]{0,60})(\r\n|\r\n\r\n|\r|\n)){0,6}",
        ) {
            let head = head.as_bytes();
            let mut walked = Lines::new(head, 0);
            for expected in lines(head) {
                let found = walked.next();
                if let Ok(Line { range, colon: Some(colon), is_plain: true }) = &found {
                    prop_assert!(crate::http::class::is_plain(&head[range.start..*colon]));
                }
                prop_assert_eq!(found.map(|line| (line.range, line.colon)), expected);
            }
        }

        #[test]
        fn a_clean_head_ends_at_its_blank_line(
            lines in proptest::collection::vec("[ -~\t\u{80}-\u{ff}]{1,80}", 1..6),
            fault in proptest::option::of((0usize..400, "[\0\r\n\x01\x7f]")),
            behind in "[\0-\x7f]{0,80}",
        ) {
            let lines = lines.iter().map(|line| [line.as_bytes(), b"\r\n"].concat());
            let mut text: Vec<u8> = lines.flatten().collect();
            text.extend_from_slice(b"\r\n");
            let end = text.len();
            let mut is_clean = true;
            if let Some((at, fault)) = &fault && *at < end {
                is_clean = text[*at] == fault.as_bytes()[0];
                text[*at] = fault.as_bytes()[0];
            }
            text.extend_from_slice(behind.as_bytes());
            let found = clean_end(&text);
            if is_clean {
                prop_assert_eq!(found, Some(end));
            }
            // A fault may make the head end elsewhere, but never with a fault in it.
            if let Some(found) = found {
                let head = &text[..found];
                prop_assert!(head.ends_with(b"\r\n\r\n"));
                let bare = head.iter().filter(|byte| **byte == b'\r').count() as i64
                    - head.windows(2).filter(|pair| pair == b"\r\n").count() as i64;
                prop_assert_eq!(bare, 0);
                prop_assert!(!head.iter().any(|byte| byte.is_ascii_control() && !b"\t\r\n".contains(byte)));
            }
        }
    }
}

use super::received::Received;
use crate::{
    buffer::{Segments, Tally},
    inspect::{Edit, Error, Inspector},
};

/// One direction of an exchange: what was received, what became of it.
#[derive(Default)]
pub struct Flow {
    /// Body bytes received from the peer.
    pub received: u64,
    /// Body bytes passed on, after masks.
    pub passed: u64,
    /// Offset of the next recorded byte, in what was passed on.
    pub recorded: u64,
    /// Of an inspected response: what is in no record yet.
    pub unrecorded: Received,
    /// Whether the last byte was received.
    pub ended: bool,
    /// Bytes that were joined for a policy: they are not forwarded from where they were received.
    pub gathered: u64,
    pub tally: Tally,
    /// Boxed: most exchanges have none, and it is large.
    inspector: Option<Box<Inspector>>,
    edits: Vec<Edit>,
}

impl Flow {
    /// Puts an inspector into the way of all further bytes.
    pub fn inspect_with(&mut self, inspector: Inspector) {
        self.inspector = Some(Box::new(inspector));
    }

    /// Whether bytes are inspected.
    pub fn is_inspected(&self) -> bool {
        self.inspector.is_some()
    }

    /// Takes received bytes in and gives what may be passed on now. What may still become part of a match
    /// stays inside until more bytes, or the end, decide.
    ///
    /// # Errors
    /// The body cannot be masked: its sender is at fault, and nothing of it may go on.
    pub fn push(&mut self, mut data: Segments, end: bool) -> Result<Segments, Error> {
        self.received += data.len_bytes() as u64;
        self.ended |= end;
        data.join_tiny(&mut self.tally);
        let out = match &mut self.inspector {
            None => data,
            Some(inspector) => {
                let mut out = Segments::new();
                for chunk in data {
                    inspector.push(chunk, &mut out, &mut self.edits, &mut self.tally)?;
                }
                if end {
                    inspector.finish(&mut out, &mut self.edits, &mut self.tally)?;
                }
                out
            }
        };
        self.passed += out.len_bytes() as u64;
        Ok(out)
    }

    /// Received bytes that masks hold back.
    pub fn held_bytes(&self) -> usize {
        self.inspector.as_ref().map_or(0, |inspector| inspector.held_bytes())
    }

    /// Takes the edits made since the last call.
    pub fn take_edits(&mut self) -> Vec<Edit> {
        std::mem::take(&mut self.edits)
    }

    /// How often each rule matched: (index of the rule, count), without rules that never did.
    pub fn hits(&self) -> Vec<(usize, u64)> {
        let hits = self.inspector.iter().flat_map(|inspector| inspector.hits());
        hits.filter(|(_, count)| *count > 0).collect()
    }

    /// The counted bytes of this direction. What was passed on and not copied was forwarded by reference.
    pub fn counted(&self) -> Tally {
        let forwarded = self.passed.saturating_sub(self.tally.copied + self.gathered);
        Tally { forwarded, ..self.tally }
    }
}

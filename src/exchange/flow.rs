use super::received::Received;
use crate::{
    audit,
    buffer::{Segments, Tally},
    inspect::{
        self, Edit, Inspector,
        echo::Scrub,
        encoding::{self, Decoder},
    },
    policy::Removal,
};
use smallvec::SmallVec;

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
    /// Boxed: most exchanges have none, and they are large.
    filters: Option<Box<Filters>>,
    edits: Vec<Edit>,
    /// What a policy had taken out before the masks saw it.
    removals: Vec<Removal>,
    /// Whether the record says so already.
    removals_recorded: bool,
    /// What the record gets instead of what was passed on last.
    apart: Option<Segments>,
    /// Whether it ever got something else.
    is_apart: bool,
}

/// What a body passes through, in this order.
#[derive(Default)]
struct Filters {
    decoder: Option<Decoder>,
    /// Whether the last byte is in the decoder.
    ended: bool,
    scrubs: SmallVec<[Scrub; 1]>,
    inspector: Option<Inspector>,
}

/// A body that cannot be decoded, or not be masked: its sender is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{reason}: {0}", reason = .0.reason())]
    Encoding(#[from] encoding::Error),
    #[error("{reason}: {0}", reason = .0.reason())]
    Mask(#[from] inspect::Error),
}

impl Flow {
    /// Takes the content coding off all further bytes that go through [`Flow::decode`].
    pub fn decode_with(&mut self, decoder: Decoder) {
        self.filters().decoder = Some(decoder);
    }

    /// Takes echoes out of all further bytes.
    pub fn scrub_with(&mut self, scrub: Scrub) {
        self.filters().scrubs.push(scrub);
    }

    /// Puts an inspector into the way of all further bytes.
    pub fn inspect_with(&mut self, inspector: Inspector) {
        self.filters().inspector = Some(inspector);
    }

    fn filters(&mut self) -> &mut Filters {
        self.filters.get_or_insert_default()
    }

    /// Whether bytes may be changed on their way.
    pub fn is_inspected(&self) -> bool {
        self.filters.is_some()
    }

    /// Takes the content coding off received bytes, if they have one. Gives what came of it, and whether the
    /// body ends with that. Much that decodes from little comes in steps: while [`Flow::is_decoding`] this is
    /// to be called again, without more bytes.
    ///
    /// # Errors
    /// They are not valid in it, or swell beyond its bounds: nothing of them may go on.
    pub fn decode(&mut self, data: Segments, end: bool) -> Result<(Segments, bool), Error> {
        let Some(filters) = self.filters.as_mut() else { return Ok((data, end)) };
        let Some(decoder) = &mut filters.decoder else { return Ok((data, end)) };
        self.received += data.len_bytes() as u64;
        filters.ended |= end;
        data.into_iter().for_each(|chunk| decoder.push(chunk));
        let mut decoded = Segments::new();
        decoder.pull(&mut decoded)?;
        let ends = filters.ended && !decoder.has_more();
        if ends {
            decoder.finish()?;
        }
        // They lie in memory of their own: nothing of them is forwarded from where it was received.
        self.tally.copied += decoded.len_bytes() as u64;
        Ok((decoded, ends))
    }

    /// Whether more comes of bytes that were received already.
    pub fn is_decoding(&self) -> bool {
        let decoder = self.filters.as_ref().and_then(|filters| filters.decoder.as_ref());
        decoder.is_some_and(Decoder::has_more)
    }

    /// Bytes that were decoded.
    pub fn decoded_bytes(&self) -> u64 {
        let decoder = self.filters.as_ref().and_then(|filters| filters.decoder.as_ref());
        decoder.map_or(0, |decoder| decoder.decoded_bytes())
    }

    /// Takes bytes in, decoded ones where [`Flow::decode_with`] was called, and gives what may be passed on
    /// now. What may still become part of a match stays inside until more bytes, or the end, decide.
    ///
    /// # Errors
    /// The body cannot be masked: its sender is at fault, and nothing of it may go on.
    pub fn push(&mut self, mut data: Segments, end: bool) -> Result<Segments, Error> {
        self.ended |= end;
        data.join_tiny(&mut self.tally);
        let out = match &mut self.filters {
            None => {
                self.received = self.received.wrapping_add(data.len_bytes() as u64);
                data
            }
            Some(filters) => {
                if filters.decoder.is_none() {
                    self.received = self.received.wrapping_add(data.len_bytes() as u64);
                }
                let data = scrub(&mut filters.scrubs, data, end);
                match &mut filters.inspector {
                    None => data,
                    Some(inspector) => {
                        let mut out = Segments::new();
                        for chunk in data {
                            inspector.push(chunk, &mut out, &mut self.edits, &mut self.tally)?;
                        }
                        if end {
                            inspector.finish(&mut out, &mut self.edits, &mut self.tally)?;
                        }
                        if let Some(recorded) = inspector.take_recorded() {
                            // Nothing was passed on since the last time, if that was not taken.
                            self.apart.get_or_insert_default().append(recorded);
                            self.is_apart = true;
                        }
                        out
                    }
                }
            }
        };
        self.passed += out.len_bytes() as u64;
        Ok(out)
    }

    /// Received bytes that masks hold back. Of an encoded body that cannot be told.
    pub fn held_bytes(&self) -> usize {
        let Some(filters) = self.filters.as_deref().filter(|filters| filters.decoder.is_none()) else {
            return 0;
        };
        let inspector = filters.inspector.as_ref().map_or(0, |inspector| inspector.held_bytes());
        filters.scrubs.iter().map(Scrub::held_bytes).sum::<usize>() + inspector
    }

    /// What the record gets of `passed`, which [`Flow::push`] gave last.
    pub fn recorded_of<'a>(&'a self, passed: &'a Segments) -> &'a Segments {
        self.apart.as_ref().unwrap_or(passed)
    }

    /// Takes what the record gets instead of what [`Flow::push`] gave last, if that differs.
    pub fn take_apart(&mut self) -> Option<Segments> {
        self.apart.take()
    }

    /// Bytes passed on, as the record has them.
    pub fn sent(&self) -> u64 {
        if self.is_apart { self.recorded } else { self.passed }
    }

    /// Matches that went on in a model's thinking.
    pub fn shown(&self) -> u64 {
        let inspector = self.filters.as_ref().and_then(|filters| filters.inspector.as_ref());
        inspector.map_or(0, Inspector::shown)
    }

    /// What is pushed from now on is what the peer sent but for these: its offsets are those of what it sent.
    pub fn removed(&mut self, removals: &[Removal]) {
        let (gone, put) = removals.iter().fold((0, 0), |(gone, put), one| (gone + one.len, put + one.put));
        let is_decoded = self.filters.as_ref().is_some_and(|filters| filters.decoder.is_some());
        if !is_decoded {
            // What is put in is counted when it is pushed, and was not received: until then the count may
            // lie below zero.
            self.received = self.received.wrapping_add(gone).wrapping_sub(put);
        }
        self.removals = removals.to_vec();
    }

    /// What [`Flow::removed`] was told.
    pub fn removals(&self) -> &[Removal] {
        &self.removals
    }

    /// Takes the edits made since the last call.
    pub fn take_edits(&mut self) -> Vec<Edit> {
        let mut edits = std::mem::take(&mut self.edits);
        if !self.removals.is_empty() {
            edits.iter_mut().for_each(|edit| edit.offset = offset_before(&self.removals, edit.offset));
            if !std::mem::replace(&mut self.removals_recorded, true) {
                let rule = audit::Edit::REMOVED;
                let removed = |one: &Removal| Edit { offset: one.offset, len: one.len, rule };
                edits.extend(self.removals.iter().map(removed));
                edits.sort_by_key(|edit| edit.offset);
            }
        }
        edits
    }

    /// How often each rule matched: (index of the rule, count), without rules that never did.
    pub fn hits(&self) -> Vec<(usize, u64)> {
        let inspector = self.filters.iter().filter_map(|filters| filters.inspector.as_ref());
        inspector.flat_map(|inspector| inspector.hits()).filter(|(_, count)| *count > 0).collect()
    }

    /// How many echoes of a credential were masked.
    pub fn echoes(&self) -> u64 {
        self.filters.iter().flat_map(|filters| &filters.scrubs).map(Scrub::masks).sum()
    }

    /// The counted bytes of this direction. What was passed on and not copied was forwarded by reference.
    pub fn counted(&self) -> Tally {
        let forwarded = self.passed.saturating_sub(self.tally.copied + self.gathered);
        Tally { forwarded, ..self.tally }
    }
}

/// The offset, in what was received, of a byte that is at `offset` now.
fn offset_before(removals: &[Removal], offset: u64) -> u64 {
    let (mut gone, mut put) = (0, 0);
    for one in removals {
        if offset + gone < one.offset + put {
            break;
        }
        if offset + gone < one.offset + put + one.put {
            return one.offset;
        }
        (gone, put) = (gone + one.len, put + one.put);
    }
    offset + gone - put
}

fn scrub(scrubs: &mut [Scrub], mut data: Segments, end: bool) -> Segments {
    for scrub in scrubs {
        let mut out = Segments::new();
        let mut left = data.count();
        data.drain().for_each(|chunk| {
            left -= 1;
            scrub.push(chunk, end && left == 0, &mut out);
        });
        if end {
            scrub.finish(&mut out);
        }
        data = out;
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::Chunk;

    #[test]
    fn what_was_taken_out_is_recorded_where_it_stood() {
        // "0123456789" became "0[x]45[long]9".
        let removals = [Removal { offset: 1, len: 3, put: 3 }, Removal { offset: 6, len: 3, put: 6 }];
        let now = b"0[x]45[long]9";
        let expected = [0, 1, 1, 1, 4, 5, 6, 6, 6, 6, 6, 6, 9];
        let found: Vec<u64> = (0..now.len() as u64).map(|at| offset_before(&removals, at)).collect();
        assert_eq!(found, expected);
        let mut flow = Flow::default();
        flow.removed(&removals);
        flow.push(Chunk::from(now.to_vec()).into(), true).unwrap();
        assert_eq!((flow.received, flow.passed), (10, 13));
        let edits: Vec<_> = flow.take_edits().iter().map(|edit| (edit.offset, edit.len, edit.rule)).collect();
        assert_eq!(edits, [(1, 3, audit::Edit::REMOVED), (6, 3, audit::Edit::REMOVED)]);
        assert!(flow.take_edits().is_empty());
    }
}

use super::producer::Failure;
use crate::{
    audit::{Body, ByExchange, Content, Direction, ExchangeId, Hash, Intent, IntentBody, Record},
    buffer::Segments,
    limits::{CONTENT_BYTES_MAX, CONTENT_EDITS_MAX, OPEN_EXCHANGES_MAX},
};
use std::collections::BTreeSet;

/// The nonce that opens the commitment to one body; it goes to the openings store and nowhere else.
#[derive(Clone, Copy)]
pub(super) struct Opening {
    pub(super) id: ExchangeId,
    pub(super) direction: Direction,
    pub(super) nonce: Hash,
}

impl std::fmt::Debug for Opening {
    /// Without the nonce.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opening").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The exchanges that are open, and the running commitments to their bodies.
#[derive(Debug, Default)]
pub(super) struct Book {
    exchanges: ByExchange<Entry>,
    /// Number of the segment that is being written.
    segment: u64,
    /// Counts what was asked of this book: its clock.
    ticks: u64,
    /// When exchanges that were left behind are looked for again.
    next_sweep: u64,
}

/// Without an INTENT or a REFUSAL for so many ticks, an exchange that has only CONTENT was left behind: its
/// REFUSAL found no room.
const ABANDONED_TICKS: u64 = OPEN_EXCHANGES_MAX as u64 / 2;
/// Ticks between two looks for such exchanges.
const SWEEP_TICKS: u64 = 1_024;

#[derive(Debug, Default)]
struct Entry {
    /// INTENT was recorded, and in which segment.
    admitted: bool,
    segment: u64,
    /// Tick of its last CONTENT.
    touched: u64,
    request: Option<Body>,
    response: Option<Body>,
}

impl Book {
    /// A book of exchanges that a former process left open.
    pub(super) fn with_open(open: &BTreeSet<ExchangeId>) -> Book {
        let entry = |id: &ExchangeId| (*id, Entry { admitted: true, ..Entry::default() });
        Book { exchanges: open.iter().map(entry).collect(), ..Book::default() }
    }

    /// Exchanges with INTENT and no OUTCOME, sorted.
    pub(super) fn open(&self) -> Vec<ExchangeId> {
        let admitted = self.exchanges.iter().filter(|(_, entry)| entry.admitted);
        let mut open: Vec<_> = admitted.map(|(id, _)| *id).collect();
        open.sort_unstable();
        open
    }

    /// Goes on in segment `number`. Returns the first one in which an open exchange has its INTENT.
    pub(super) fn begin_segment(&mut self, number: u64) -> u64 {
        self.segment = number;
        let admitted = self.exchanges.values().filter(|entry| entry.admitted);
        admitted.map(|entry| entry.segment).min().unwrap_or(number)
    }

    /// Whether the exchange has its INTENT.
    pub(super) fn is_admitted(&self, id: ExchangeId) -> bool {
        self.exchanges.get(&id).is_some_and(|entry| entry.admitted)
    }

    /// Checks that `record` fits its exchange, and fills in the commitments that the journal makes. CONTENT
    /// goes through [`Book::commit_content`].
    ///
    /// # Errors
    /// [`Failure::OutOfPlace`]: its submitter is at fault.
    pub(super) fn complete(&mut self, record: &mut Record) -> Result<(), Failure> {
        match record {
            Record::Intent(intent) => self.complete_intent(intent),
            Record::Outcome(outcome) => {
                let entry = self.exchanges.get(&outcome.id).filter(|entry| entry.admitted);
                let entry = entry.ok_or(Failure::OutOfPlace)?;
                outcome.commitments.request = entry.request.as_ref().map(Body::commitment);
                outcome.commitments.response = entry.response.as_ref().map(Body::commitment);
                Ok(())
            }
            Record::Refusal(refusal) => {
                let entry = self.exchanges.get(&refusal.id);
                if entry.is_some_and(|entry| entry.admitted) {
                    return Err(Failure::OutOfPlace);
                }
                refusal.body = entry.and_then(|entry| entry.request.as_ref()).map(Body::commitment);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn complete_intent(&mut self, intent: &mut Intent) -> Result<(), Failure> {
        let has_room = self.has_room_for(intent.id);
        let entry = self.exchanges.get(&intent.id);
        if entry.is_some_and(|entry| entry.admitted) {
            return Err(Failure::OutOfPlace);
        }
        if !has_room {
            return Err(Failure::Overloaded);
        }
        let request = entry.and_then(|entry| entry.request.as_ref());
        if let (IntentBody::Buffered, Some(body)) = (&intent.body, request) {
            intent.body = IntentBody::Committed(body.commitment());
        }
        Ok(())
    }

    /// Whether the exchange is known or may still begin. Forgets exchanges that were left behind.
    fn has_room_for(&mut self, id: ExchangeId) -> bool {
        self.ticks += 1;
        if self.exchanges.len() >= OPEN_EXCHANGES_MAX && self.ticks >= self.next_sweep {
            self.next_sweep = self.ticks + SWEEP_TICKS;
            let horizon = self.ticks.saturating_sub(ABANDONED_TICKS);
            self.exchanges.retain(|_, entry| entry.admitted || entry.touched >= horizon);
        }
        self.exchanges.len() < OPEN_EXCHANGES_MAX || self.exchanges.contains_key(&id)
    }

    /// `record` is in the log: opens or closes its exchange.
    pub(super) fn enter(&mut self, record: &Record) {
        match record {
            Record::Intent(intent) => {
                let entry = self.exchanges.entry(intent.id).or_default();
                (entry.admitted, entry.segment) = (true, self.segment);
            }
            Record::Outcome(outcome) => drop(self.exchanges.remove(&outcome.id)),
            Record::Refusal(refusal) => drop(self.exchanges.remove(&refusal.id)),
            _ => {}
        }
    }

    /// Forgets an exchange whose last record cannot be written.
    pub(super) fn forget(&mut self, record: &Record) {
        if let (Record::Outcome(_) | Record::Refusal(_), Some(id)) = (record, record.exchange()) {
            self.exchanges.remove(&id);
        }
    }

    /// Fills in the leaves of a CONTENT. `nonce` is asked for at the first bytes of a body.
    ///
    /// # Errors
    /// [`Failure`]: too many edits, or too many exchanges; nothing has changed then.
    pub(super) fn commit_content(
        &mut self,
        content: &mut Content,
        nonce: impl FnOnce() -> Result<Hash, Failure>,
        openings: &mut Vec<Opening>,
    ) -> Result<(), Failure> {
        if content.edits.len() > CONTENT_EDITS_MAX {
            return Err(Failure::TooLarge);
        }
        if !self.has_room_for(content.id) {
            return Err(Failure::Overloaded);
        }
        let entry = self.exchanges.entry(content.id).or_default();
        entry.touched = self.ticks;
        let body = match content.direction {
            Direction::Request => &mut entry.request,
            Direction::Response => &mut entry.response,
        };
        if body.is_none() {
            let opening = Opening { id: content.id, direction: content.direction, nonce: nonce()? };
            openings.push(opening);
            *body = Some(Body::new(opening.nonce));
        }
        content.leaves = body.as_mut().map(|body| body.add(content));
        Ok(())
    }
}

/// Cuts a CONTENT into pieces that fit into records, by its bytes and by its edits. The first carries the
/// upstream's view.
pub(super) fn pieces(content: Content) -> impl Iterator<Item = Content> {
    let mut rest = Some(content);
    std::iter::from_fn(move || {
        let mut piece = rest.take()?;
        let len = piece.bytes.len_bytes();
        if len > CONTENT_BYTES_MAX || piece.edits.len() > CONTENT_EDITS_MAX {
            let mut behind = std::mem::take(&mut piece.bytes);
            piece.bytes = behind.split_to(CONTENT_BYTES_MAX.min(len));
            let edits = piece.edits.split_off(CONTENT_EDITS_MAX.min(piece.edits.len()));
            rest = Some(Content {
                offset: piece.offset + piece.bytes.len_bytes() as u64,
                bytes: behind,
                // What upstream had for these bytes is committed with the first piece.
                upstream: piece.upstream.is_some().then(Segments::new),
                edits,
                leaves: None,
                ..piece
            });
        }
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{audit::samples, buffer::Chunk};

    #[test]
    fn long_content_is_cut_without_losing_a_byte() {
        let bytes: Vec<u8> = (0..CONTENT_BYTES_MAX * 2 + 1_000).map(|n| n as u8).collect();
        let mut content = samples::content(1, b"", true);
        for part in bytes.chunks(40_000) {
            content.bytes.push(Chunk::from(part.to_vec()));
        }
        let pieces: Vec<_> = pieces(content).collect();
        assert_eq!(pieces.len(), 3);
        let mut offset = 17;
        let mut whole = Vec::new();
        for piece in &pieces {
            assert!(piece.bytes.len_bytes() <= CONTENT_BYTES_MAX);
            assert_eq!(piece.offset, offset);
            offset += piece.bytes.len_bytes() as u64;
            whole.extend(piece.bytes.to_vec());
        }
        assert_eq!(whole, bytes);
    }

    #[test]
    fn content_with_many_edits_is_cut_and_not_refused() {
        let edit = |offset| crate::audit::Edit { offset, len: 1, rule: 0 };
        for bytes in [&b"short"[..], b""] {
            let mut content = samples::content(1, b"", true);
            content.bytes.push(Chunk::from(bytes.to_vec()));
            content.edits = (0..CONTENT_EDITS_MAX as u64 * 2 + 1).map(edit).collect();
            let expected = content.edits.clone();
            let pieces: Vec<_> = pieces(content).collect();
            assert_eq!(pieces.len(), 3);
            assert!(pieces.iter().all(|piece| piece.edits.len() <= CONTENT_EDITS_MAX));
            assert_eq!(pieces.iter().flat_map(|piece| piece.edits.clone()).collect::<Vec<_>>(), expected);
            assert_eq!(pieces.iter().flat_map(|piece| piece.bytes.to_vec()).collect::<Vec<_>>(), bytes);
        }
    }

    #[test]
    fn exchanges_that_were_left_behind_do_not_fill_the_book() {
        let mut book = Book::default();
        let mut openings = Vec::new();
        let mut turned_away = 0;
        for number in 0..OPEN_EXCHANGES_MAX * 3 {
            let mut content = samples::content(1, b"x", false);
            content.id.0[..8].copy_from_slice(&number.to_be_bytes());
            match book.commit_content(&mut content, || Ok([3; 32]), &mut openings) {
                Ok(()) => {}
                Err(failure) => {
                    assert_eq!(failure, Failure::Overloaded);
                    turned_away += 1;
                }
            }
        }
        assert!(book.exchanges.len() <= OPEN_EXCHANGES_MAX);
        assert!(turned_away <= SWEEP_TICKS, "{turned_away}");
    }

    #[test]
    fn a_buffered_body_is_committed_to_in_its_intent() {
        let mut book = Book::default();
        let mut openings = Vec::new();
        let mut content = samples::content(1, b"whole body", true);
        content.direction = Direction::Request;
        book.commit_content(&mut content, || Ok([3; 32]), &mut openings).unwrap();
        let Record::Intent(mut intent) = samples::intent(1) else { unreachable!() };
        intent.body = IntentBody::Buffered;
        let mut record = Record::Intent(intent);
        book.complete(&mut record).unwrap();
        book.enter(&record);
        let mut body = Body::new([3; 32]);
        body.add(&content);
        let Record::Intent(intent) = record else { unreachable!() };
        assert_eq!(intent.body, IntentBody::Committed(body.commitment()));
        assert_eq!(openings.len(), 1);
        assert_eq!(book.open(), [samples::id(1)]);
    }
}

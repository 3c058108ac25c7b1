use super::{
    ExchangeId,
    checkpoint::Distrust,
    hash::Hash,
    heads::{Heads, SignatureReport, Trust},
    payload,
    pieces::{Checked, Piece, Pieces, Rest},
    reader::{Damage, End, Position, ReadError, Why},
    record::{Record, State},
    removal::Removal,
    segment::{SealReason, SegmentHeader},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
};

/// What a log holds, as far as it was verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub segments: u64,
    pub records: u64,
    /// Exchanges with INTENT and OUTCOME.
    pub exchanges_closed: u64,
    /// Exchanges with INTENT and no OUTCOME: they were running when the log was read, or when its writer
    /// died.
    pub exchanges_open: u64,
    pub refusals: u64,
    /// CONTENT records whose bytes were erased.
    pub erased: u64,
    /// Segments without their preallocated rest, in bytes.
    pub bytes: u64,
    /// Whether the last segment was closed cleanly.
    pub sealed: bool,
    /// The last record that retention removed, as the log itself says; 0 if it begins at its beginning.
    pub removed_through: u64,
    /// Chain hash of the last record.
    pub head: Hash,
    pub signatures: SignatureReport,
}

/// Verifies a log, segment by segment: the chain, the order, that every exchange makes sense, the tree and
/// what was signed. Give it all segments from the first on, then ask for the report.
///
/// Without a checkpoint kept elsewhere ([`Trust`]) nobody can tell a log from a shorter one that ends at a
/// batch.
#[derive(Clone, Debug)]
pub struct Verifier {
    position: Position,
    book: Book,
    end: Option<End>,
    /// The first segment and record that are here, if they are not the first of the log.
    begins: Option<(u64, u64)>,
    /// These are the sealed segments of a longer log.
    is_copy: bool,
}

impl Default for Verifier {
    fn default() -> Verifier {
        Verifier { position: Position::START, book: Book::default(), end: None, begins: None, is_copy: false }
    }
}

impl Verifier {
    /// A verifier that wants segment 1.
    pub fn new() -> Verifier {
        Verifier::default()
    }

    /// One that holds the log against what is known of it elsewhere, too.
    ///
    /// # Errors
    /// [`Distrust`]: one of the checkpoints is none; whoever gave it is at fault.
    pub fn with_trust(trust: &Trust) -> Result<Verifier, Distrust> {
        let mut verifier = Verifier::new();
        verifier.book.heads = Heads::new(trust)?;
        verifier.is_copy = trust.copied.is_some();
        Ok(verifier)
    }

    /// Begins with the segment of `header`, whose first record is `state`: what is before it was removed.
    /// That somewhere in the log stands that this was retention is checked at the end. A `state` without a
    /// tree changes nothing: then segment 1 is wanted.
    pub fn begin_at(&mut self, header: &SegmentHeader, state: &State) {
        let Some(tree) = &state.tree else { return };
        self.position =
            Position { segment: header.number, sequence: header.first_sequence, hash: header.previous };
        self.begins = Some((header.number, header.first_sequence));
        self.book.open = state.open.iter().copied().collect();
        self.book.heads.resume(tree, state);
    }

    /// Number of the segment that has to come next.
    pub fn next_segment(&self) -> u64 {
        self.position.segment
    }

    /// Whether the last segment said that another one follows.
    pub fn expects_more(&self) -> bool {
        match self.end {
            None => true,
            Some(End::Sealed(seal)) => matches!(seal.reason, SealReason::Rotated | SealReason::Poisoned),
            Some(End::Open) => false,
        }
    }

    /// Verifies the next segment, whose name says `number`. `progress` is told the bytes of each batch.
    /// After an error the verifier is as it was before, so that a segment which is being written can be tried
    /// again.
    ///
    /// # Errors
    /// [`ReadError`]: the first bad record, or the file could not be read.
    pub fn segment(
        &mut self,
        number: u64,
        input: impl Read,
        progress: impl FnMut(u64),
    ) -> Result<(), ReadError> {
        let position = self.expect(number)?;
        let mut pieces = Pieces::open(input, number, &position)?;
        self.pieces(number, || pieces.next_piece(), progress)
    }

    /// Where segment `number` has to go on.
    ///
    /// # Errors
    /// Another segment has to come next.
    pub fn expect(&self, number: u64) -> Result<Position, ReadError> {
        if number != self.position.segment {
            return Err(self.missing().into());
        }
        Ok(self.position)
    }

    /// [`Verifier::segment`] of pieces that somebody else reads from where [`Verifier::expect`] said.
    ///
    /// # Errors
    /// As there.
    pub fn pieces(
        &mut self,
        number: u64,
        mut next: impl FnMut() -> Piece,
        mut progress: impl FnMut(u64),
    ) -> Result<(), ReadError> {
        let mut book = self.book.clone();
        let Rest { end, last, offset } = loop {
            let piece = next();
            progress(piece.bytes);
            for record in &piece.records {
                let Checked { sequence, offset, .. } = *record;
                let place = Damage { segment: number, sequence, offset, why: Why::Erased };
                book.enter(record, piece.payload(record), place).map_err(|why| Damage { why, ..place })?;
            }
            if let Some(then) = piece.then {
                break then?;
            }
        };
        self.book = book;
        self.book.report.segments += 1;
        self.book.report.bytes += offset;
        self.position = Position { segment: number + 1, ..last };
        self.end = Some(end);
        Ok(())
    }

    /// The report over everything that was given.
    ///
    /// # Errors
    /// [`Damage`]: the last segment says that another one follows.
    pub fn finish(self) -> Result<Report, Damage> {
        if self.expects_more() && !self.is_copy {
            return Err(self.missing());
        }
        let removed_through = self.begins.map_or(0, |(_, first)| first - 1);
        // The record of the removal may stand in the segment that a copy lacks.
        if let Some((first, sequence)) = self.begins.filter(|_| !self.is_copy)
            && self.book.recorded.is_none_or(|recorded| recorded.segment + 1 < first)
        {
            let segment = first - 1;
            return Err(Damage { segment, sequence, offset: 0, why: Why::MissingSegment });
        }
        let Position { segment, sequence, .. } = self.position;
        let damage = |why| Damage { segment: segment - 1, sequence, offset: 0, why };
        let signatures = self.book.heads.finish().map_err(damage)?;
        if let Some(first) = self.book.erased.values().min_by_key(|place| place.sequence) {
            return Err(*first);
        }
        Ok(Report {
            exchanges_open: self.book.open.len() as u64,
            records: self.position.sequence - 1 - removed_through,
            removed_through,
            sealed: matches!(self.end, Some(End::Sealed(_))),
            head: self.position.hash,
            signatures,
            ..self.book.report
        })
    }

    /// Where the next segment has to go on.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Number of records up to here, from the first one of the log on, and the root of their tree.
    pub fn tree(&self) -> (u64, Hash) {
        self.book.heads.root()
    }

    /// Holds the next segments against one more checkpoint that was kept elsewhere. `false`: it covers too
    /// little to be checked any more.
    ///
    /// # Errors
    /// [`Distrust`]: it is no checkpoint; whoever gave it is at fault.
    pub fn hold(&mut self, note: &std::sync::Arc<str>) -> Result<bool, Distrust> {
        self.book.heads.hold(note)
    }

    /// ERASED records so far.
    pub fn erasures(&self) -> u64 {
        self.book.erasures
    }

    /// The first erased bytes that no ERASED record has named yet.
    pub fn unexplained(&self) -> Option<Damage> {
        self.book.erased.values().min_by_key(|place| place.sequence).copied()
    }

    /// Exchanges that are open at this point.
    pub fn open(&self) -> &BTreeSet<ExchangeId> {
        &self.book.open
    }

    fn missing(&self) -> Damage {
        let Position { segment, sequence, .. } = self.position;
        Damage { segment, sequence, offset: 0, why: Why::MissingSegment }
    }
}

/// Which exchanges are open, the counts, and the tree.
#[derive(Clone, Debug, Default)]
struct Book {
    open: BTreeSet<ExchangeId>,
    report: Report,
    heads: Heads,
    /// What the newest record of a removal says.
    recorded: Option<Removal>,
    /// Where the first erased body of each exchange is, until a record says that it was erased.
    erased: BTreeMap<ExchangeId, Damage>,
    /// ERASED records.
    erasures: u64,
}

impl Book {
    fn enter(&mut self, checked: &Checked, payload: &[u8], place: Damage) -> Result<(), Why> {
        self.heads.push(checked.leaf);
        // Without the body, which is not looked at here.
        let record = payload::read(checked.kind, payload, None).map_err(Why::Payload)?;
        let fits = match &record {
            Record::Intent(intent) => self.open.insert(intent.id),
            Record::Outcome(outcome) => {
                self.report.exchanges_closed += 1;
                self.open.remove(&outcome.id)
            }
            Record::Refusal(refusal) => {
                self.report.refusals += 1;
                !self.open.contains(&refusal.id)
            }
            Record::State(state) => self.open.iter().eq(&state.open),
            Record::Admin(_) => {
                self.recorded = Removal::of(&record).or(self.recorded);
                true
            }
            Record::Content(content) if checked.erased => {
                self.report.erased += 1;
                self.erased.entry(content.id).or_insert(place);
                true
            }
            Record::Erased(erased) => {
                self.erasures += 1;
                // It stands behind what it names.
                for id in &erased.exchanges {
                    self.erased.remove(id);
                }
                true
            }
            _ => true,
        };
        if !fits {
            return Err(Why::OutOfPlace);
        }
        self.heads.check(&record)
    }
}

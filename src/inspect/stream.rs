use super::codec::{self, Codec};
use super::detect::{Extent, Found, LEFT_BYTES, Part, Scanned, Swallow, Text, Walk};
use super::emit::Reader;
use super::fold::Allowance;
use super::nested::Nested;
use super::seal::{Seal, Thinking};
use super::spell::{self, Place};
use super::sse::dialect::Step;
use super::value::Value;
use super::work::{ACTIVE, LANES, Plan, Scratch, Work};
use super::{Edit, Error};
use crate::buffer::Chunk;
use crate::limits::{INSPECT_BLOCK_BYTES, MASK_HOLD_BYTES_MAX, MASK_HOLD_RAW_BYTES_MAX};
use smallvec::SmallVec;
use std::ops::Range;

/// Received bytes that are first joined with what was held back; more are taken as needed.
const STITCH_BYTES: usize = 64;

/// One value that comes in pieces: a body, or a text that is streamed over many events.
///
/// ```text
///   decided ──────────────┐ carry ────────────────────┐ piece ──────────────
///   … left (8 text bytes) │ held back, at most 4 KiB  │ slice of a chunk …
///                         └ start of the next window
/// ```
#[derive(Debug)]
pub struct Stream {
    codec: Codec,
    /// Received bytes that a lane has not decided.
    carry: Vec<u8>,
    /// Where the carry's bytes stood in the body.
    runs: SmallVec<[Run; 2]>,
    /// Text in front of the carry.
    left: [u8; LEFT_BYTES],
    /// Whether the carry begins inside of a JSON string.
    in_string: bool,
    /// How many invisible characters may be left out at the beginning of the carry.
    allowance: Allowance,
    /// Where each lane goes on, and up to where bytes were emitted, as positions in the carry.
    resume: [usize; LANES],
    emitted: usize,
    /// By lane, the rule and the state of a match without a bound that goes on.
    swallow: [Option<(u16, Swallow)>; LANES],
    /// What is known of the one that is masked.
    open: Open,
    /// Where paths into documents lead: nowhere in a part of a document, and not yet before it has begun.
    walks: Walks,
    /// Whether no value is a whole document.
    is_part: bool,
    /// What of it must stay as it is.
    seal: Seal,
    /// The documents in its strings.
    nested: Option<Box<Nested>>,
}

/// Walks over the documents of a value.
#[derive(Clone, Debug)]
enum Walks {
    /// In front of the first document, or behind its first byte.
    Before(Option<u8>),
    /// By lane; positions are those of the carry.
    At([Option<Walk>; LANES]),
}

/// Bytes that stood together in the body.
#[derive(Clone, Copy, Debug)]
struct Run {
    offset: u64,
    length: usize,
}

/// A match that is masked in parts.
#[derive(Clone, Debug)]
struct Open {
    codec: Codec,
    place: Place,
    value: Value,
    /// Whether it lies in thinking.
    sealed: bool,
}

impl Default for Open {
    fn default() -> Open {
        Open { codec: Codec::Plain, place: Place::Text, value: Value::default(), sealed: false }
    }
}

impl Walks {
    fn lane(&mut self, lane: usize) -> Option<&mut Walk> {
        match self {
            Walks::At(walks) => walks[lane].as_mut(),
            _ => None,
        }
    }
}

/// Received bytes under decision: the carry, then bytes of the source from `source_at` on.
struct Window<'a> {
    raw: &'a [u8],
    carried: usize,
    source_at: usize,
    last: bool,
}

/// Up to where each lane decided a window, and what none of them needs any more.
struct Decided {
    hold: [usize; LANES],
    swallow: [Option<(u16, Swallow)>; LANES],
    walks: Walks,
    start: usize,
}

impl Stream {
    /// A stream at the beginning of a value; `in_string`: it begins inside of a JSON string.
    pub fn new(codec: Codec, in_string: bool) -> Stream {
        Stream {
            codec,
            carry: Vec::new(),
            runs: SmallVec::new(),
            left: [0; LEFT_BYTES],
            in_string,
            allowance: Allowance::default(),
            resume: [0; LANES],
            emitted: 0,
            swallow: [None; LANES],
            open: Open::default(),
            walks: Walks::Before(None),
            is_part: false,
            seal: Seal::Nothing,
            nested: None,
        }
    }

    /// Says which strings of its values hold documents, if these are JSON, and which it must not have.
    pub fn documents_at(&mut self, documents: &[&'static [Step]], refused: &[&'static [Step]]) {
        self.nested = Nested::new(documents, refused);
    }

    /// Says what of the value must stay as it is, until the stream is restarted.
    pub fn seal(&mut self, seal: Seal) {
        self.seal = seal;
    }

    /// Says that all of the value that begins now is thinking.
    pub fn seal_thinking(&mut self) {
        self.seal = Seal::Thinking;
    }

    /// This stream, of which no value is a whole document.
    pub fn of_parts(self) -> Stream {
        Stream { is_part: true, ..self }
    }

    /// Begins another value; nothing may be held.
    pub fn restart(&mut self, codec: Codec, in_string: bool) {
        debug_assert!(self.is_idle());
        self.codec = codec;
        self.left = [0; LEFT_BYTES];
        self.in_string = in_string;
        self.allowance = Allowance::default();
        self.seal = Seal::Nothing;
        if let Some(nested) = &mut self.nested {
            nested.restart();
        }
        self.walks = Walks::Before(None);
    }

    /// Reads the value on as a JSON document, whose first byte was `opened`; what is held is spelled alike.
    pub fn go_on_as_json(&mut self, opened: u8) {
        self.codec = Codec::Json;
        // What is held is walked over with what follows.
        let held = self.carry.contains(&opened);
        self.walks = Walks::Before(Some(opened).filter(|_| !held));
        if !held {
            self.seal.begin(opened);
        }
        if let Some(nested) = &mut self.nested {
            nested.begin(opened, self.carry.len());
        }
    }

    /// Received bytes that have not been emitted.
    pub fn held_bytes(&self) -> usize {
        self.carry.len() - self.emitted
    }

    /// Whether nothing is held, not even for counting, and no match goes on.
    pub fn is_idle(&self) -> bool {
        self.carry.is_empty() && self.swallow == [None; LANES]
    }

    /// Whether what follows is read as well without what is known of the value: nothing is held, and no
    /// document goes on.
    pub fn may_be_forgotten(&self) -> bool {
        let in_document = match &self.walks {
            Walks::At(walks) => walks.iter().flatten().any(|walk| walk.walker.is_inside()),
            _ => false,
        };
        self.is_idle() && !(self.codec.is_json() && (self.in_string || in_document))
    }

    /// Whether something is left to be written when the value ends: held bytes, or the mask of a match that
    /// goes on.
    pub fn owes_output(&self) -> bool {
        self.held_bytes() > 0 || self.swallow[ACTIVE].is_some()
    }

    /// Takes `range` of `source` (the emitter's source), the next piece of the value; `last`: it ends there.
    ///
    /// # Errors
    /// [`Error::HoldTooLong`]; [`Error::EventTooLong`] where a value has a string that it must not have.
    pub fn push(
        &mut self,
        work: &mut Work,
        source: &Chunk,
        range: Range<usize>,
        last: bool,
    ) -> Result<(), Error> {
        let mut at = range.start;
        if !self.carry.is_empty() {
            at = self.stitch(work, source, range.clone(), last)?;
        }
        // A match that goes on ends with the value, even if no byte is left.
        let mut owes_end = last && !self.is_idle();
        while at < range.end || std::mem::take(&mut owes_end) {
            let end = range.end.min(at + INSPECT_BLOCK_BYTES);
            let ends = end == range.end;
            let window = Window { raw: &source[at..end], carried: 0, source_at: at, last: last && ends };
            self.read_nested(window.raw)?;
            let decided = self.decide(work, &window);
            let start = decided.start;
            self.commit(work, &window, decided);
            let held = window.raw.len() - start;
            if held > MASK_HOLD_RAW_BYTES_MAX {
                return Err(Error::HoldTooLong);
            }
            at += start;
            if ends {
                self.hold(work, &source[at..end], at);
                break;
            }
        }
        debug_assert!(!last || self.is_idle(), "an ended value holds nothing");
        Ok(())
    }

    /// Decides what is carried together with as much of the piece as that takes. Returns where in the source
    /// to go on without a carry, or the end of `range`.
    fn stitch(
        &mut self,
        work: &mut Work,
        source: &Chunk,
        range: Range<usize>,
        last: bool,
    ) -> Result<usize, Error> {
        let carried = self.carry.len();
        let mut taken = range.len().min(STITCH_BYTES);
        let mut raw = std::mem::take(&mut work.scratch.window);
        loop {
            raw.clear();
            raw.extend_from_slice(&self.carry);
            raw.extend_from_slice(&source[range.start..range.start + taken]);
            let whole = taken == range.len();
            let window = Window { raw: &raw, carried, source_at: range.start, last: last && whole };
            self.read_nested(&raw)?;
            let decided = self.decide(work, &window);
            if decided.start < carried && !whole {
                taken = range.len().min(taken * 4);
                continue;
            }
            let start = decided.start;
            self.commit(work, &window, decided);
            if start >= carried {
                self.carry.clear();
                self.runs.clear();
                work.scratch.window = raw;
                return Ok(range.start + start - carried);
            }
            self.carry.drain(..start);
            self.forget_runs(start);
            work.scratch.window = raw;
            if self.carry.len() + taken > MASK_HOLD_RAW_BYTES_MAX {
                return Err(Error::HoldTooLong);
            }
            self.hold(work, &source[range.clone()], range.start);
            return Ok(range.end);
        }
    }

    /// Finds the documents in strings of a window.
    fn read_nested(&mut self, raw: &[u8]) -> Result<(), Error> {
        match self.nested.as_mut().filter(|_| self.codec == Codec::Json) {
            Some(nested) => nested.read(raw),
            None => Ok(()),
        }
    }

    /// The documents in strings, if there may be any.
    fn documents(&self) -> Option<&Nested> {
        self.nested.as_deref().filter(|_| self.codec == Codec::Json)
    }

    /// Appends the undecided end of a piece to the carry.
    fn hold(&mut self, work: &mut Work, bytes: &[u8], source_at: usize) {
        if bytes.is_empty() {
            return;
        }
        work.emit.tally.copy(&mut self.carry, bytes);
        let offset = work.emit.offset(source_at);
        match self.runs.last_mut() {
            Some(run) if run.offset + run.length as u64 == offset => run.length += bytes.len(),
            _ => self.runs.push(Run { offset, length: bytes.len() }),
        }
    }

    fn forget_runs(&mut self, mut bytes: usize) {
        while let Some(run) = self.runs.first_mut() {
            if run.length > bytes {
                run.offset += bytes as u64;
                run.length -= bytes;
                return;
            }
            bytes -= run.length;
            self.runs.remove(0);
        }
    }

    /// Runs the lanes over a window; leaves their matches and the text in the scratch memory.
    fn decide(&self, work: &mut Work, window: &Window) -> Decided {
        let scratch = &mut *work.scratch;
        let mut decoded_end = window.raw.len();
        let nested = self.documents();
        scratch.decoded = match nested {
            Some(nested) => nested.has_escapes(window.raw),
            None => self.codec.has_escapes(window.raw),
        };
        if scratch.decoded {
            let (text, map) = (&mut scratch.text, &mut scratch.map);
            text.clear();
            map.begin(self.allowance);
            decoded_end = match nested {
                Some(nested) => nested.decode(window.raw, window.last, text, map),
                None => codec::decode(self.codec, window.raw, window.last, text, map),
            };
        }
        let mut decided = Decided {
            hold: [decoded_end; LANES],
            swallow: [None; LANES],
            walks: self.walks(work.plan),
            start: window.raw.len(),
        };
        let resume = self.resume.map(|raw| scratch.to_text(raw));
        let text = self.text(&scratch.text, scratch.decoded, window);
        let first = (0..LANES).filter(|lane| work.plan.lanes[*lane].is_some()).map(|lane| resume[lane]).min();
        work.plan.scan.run(text.bytes, first.unwrap_or(0), window.last, &mut scratch.hits);
        for (index, lane) in work.plan.lanes.iter().enumerate() {
            let found = &mut scratch.found[index];
            found.clear();
            let Some(lane) = lane else { continue };
            let swallow = self.swallow[index];
            let to_text = |raw| if scratch.decoded { scratch.map.to_text(raw) } else { raw };
            let to_raw = |text| if scratch.decoded { scratch.map.to_raw(text) } else { text };
            let mut walk = decided.walks.lane(index);
            if let Some(walk) = &mut walk {
                walk.at = to_text(walk.at);
            }
            let Scanned { end, swallow } =
                lane.scan(&text, resume[index], &scratch.hits, swallow, walk.as_deref_mut(), |one| {
                    found.push(one)
                });
            if let Some(walk) = walk {
                walk.at = to_raw(walk.at);
            }
            debug_assert!(text.bytes.len() - end <= MASK_HOLD_BYTES_MAX, "a hold beyond its bound");
            // What goes on behind invisible characters takes them in; whether it does is not known yet.
            let goes_on = swallow.is_some() && scratch.decoded;
            decided.hold[index] = if goes_on { scratch.map.to_raw_end(end) } else { to_raw(end) };
            decided.swallow[index] = swallow;
            decided.start = decided.start.min(decided.hold[index]);
        }
        decided
    }

    fn text<'a>(&'a self, decoded: &'a [u8], is_decoded: bool, window: &'a Window) -> Text<'a> {
        let bytes = if is_decoded { decoded } else { window.raw };
        Text::new(bytes, &self.left, window.last, self.codec.is_json(), self.in_string)
            .with_documents(self.documents().is_some())
    }

    /// The walks to go on with. They begin with the first text of a JSON document.
    fn walks(&self, plan: &Plan) -> Walks {
        match &self.walks {
            Walks::Before(opened)
                if self.codec.is_json() && (!self.is_part || self.documents().is_some()) =>
            {
                let part = if self.is_part { Part::Documents } else { Part::All };
                let walk = |lane: usize| Some(plan.lanes[lane].as_ref()?.walk(*opened)?.of(part));
                Walks::At(std::array::from_fn(walk))
            }
            walks => walks.clone(),
        }
    }

    /// Emits what was decided and moves the state to `decided.start`.
    fn commit(&mut self, work: &mut Work, window: &Window, decided: Decided) {
        self.read_seals(work.scratch, window);
        let end = match work.plan.lanes[ACTIVE] {
            Some(_) => self.emit_active(work, window, decided.hold[ACTIVE]),
            None => {
                keep(work, window, self.emitted..window.raw.len());
                window.raw.len()
            }
        };
        let scratch = &*work.scratch;
        for (lane, found) in scratch.found.iter().enumerate() {
            for one in found.iter().filter(|one| one.begins) {
                work.emit.hits[usize::from(one.rule)] += 1;
            }
            self.resume[lane] = decided.hold[lane].saturating_sub(decided.start);
        }
        self.swallow = decided.swallow;
        self.walks = decided.walks;
        for lane in 0..LANES {
            if let Some(walk) = self.walks.lane(lane) {
                walk.at -= decided.start;
            }
        }
        if let Seal::Members(members) = &mut self.seal
            && self.codec.is_json()
        {
            members.forget(decided.start);
        }
        self.emitted = end - decided.start;
        let text = self.text(&scratch.text, scratch.decoded, window);
        let text_start = scratch.to_text(decided.start);
        let in_string = self.codec.is_json() && text.in_string(text_start);
        let left = text.left_of(text_start);
        let allowance = match scratch.decoded {
            true => scratch.map.allowance(text_start, decided.start),
            false => self.allowance.on(text_start),
        };
        (self.in_string, self.left, self.allowance) = (in_string, left, allowance.rebased());
        if let Some(nested) = &mut self.nested {
            nested.forget(decided.start);
        }
    }

    /// Finds the strings that must stay as they are, and forgets matches where nothing is looked for.
    fn read_seals(&mut self, scratch: &mut Scratch, window: &Window) {
        let mut seal = std::mem::take(&mut self.seal);
        if let Seal::Members(members) = &mut seal
            && self.codec.is_json()
        {
            let text = self.text(&scratch.text, scratch.decoded, window);
            members.read(&text, |raw| scratch.to_text(raw), |text| scratch.to_raw(text));
            let mut found = std::mem::take(&mut scratch.found);
            for (lane, found) in found.iter_mut().enumerate() {
                found.retain(|one| !members.ignores(lane, one, scratch.to_raw(one.start)));
            }
            scratch.found = found;
        }
        self.seal = seal;
    }

    /// Emits a window up to `hold`, with its masks.
    fn emit_active(&mut self, work: &mut Work, window: &Window, hold: usize) -> usize {
        let mut at = self.emitted;
        // One text for all of them: it counts quotes once.
        let (decoded, left) = (std::mem::take(&mut work.scratch.text), self.left);
        let bytes = if work.scratch.decoded { &decoded[..] } else { window.raw };
        let text = Text::new(bytes, &left, window.last, self.codec.is_json(), self.in_string)
            .with_documents(self.documents().is_some());
        for index in 0..work.scratch.found[ACTIVE].len() {
            let found = work.scratch.found[ACTIVE][index];
            let Range { start, end } = work.scratch.raw_range(found);
            keep(work, window, at..start);
            let is_sealed = if found.begins { self.seal.is_thinking(start) } else { self.open.sealed };
            if is_sealed && found.begins {
                work.emit.record.shown += 1;
                work.emit.record.ends |= work.thinking == Thinking::End;
            }
            let is_apart = is_sealed && work.thinking == Thinking::Flag && work.emit.reader() == Reader::All;
            if is_apart {
                work.emit.only(Reader::Peer);
                keep(work, window, start..end);
                work.emit.only(Reader::Record);
            }
            self.write_mask(work, &text, found, start..end);
            self.open.sealed = is_sealed;
            if is_apart {
                work.emit.only(Reader::All);
            }
            self.note(work, window, start..end, found);
            at = end;
        }
        keep(work, window, at..hold);
        work.scratch.text = decoded;
        hold
    }

    /// Writes the mask of a match, or what a part of one gives, which has the received bytes `raw`.
    fn write_mask(&mut self, work: &mut Work, text: &Text, found: Found, raw: Range<usize>) {
        let mut mask = std::mem::take(&mut work.scratch.mask);
        mask.clear();
        let mut open = std::mem::take(&mut self.open);
        if found.begins {
            let replace = &work.rules[usize::from(found.rule)].replace;
            let tokens = work.tokens.filter(|_| replace.has_token());
            let place = Place::of(self.codec, text, found);
            let is_inside = found.extent != Extent::Document
                && self.documents().is_some_and(|nested| nested.holds(raw.start));
            let codec = if is_inside { Codec::QuotedJson } else { self.codec };
            open = Open { codec, place, value: Value::new(tokens, replace.has_last4()), sealed: false };
        }
        let bytes = &text.bytes[found.start..found.end];
        open.value.add(open.codec, bytes);
        let length = if work.keeps_length { raw.len() } else { bytes.len() };
        let rule = &work.rules[usize::from(found.rule)];
        spell::mask(open.codec, open.place, &open.value, length, found.ends, rule, &mut mask);
        self.open = open;
        work.emit.own(&mask);
        work.scratch.mask = mask;
    }

    /// Notes the edits of a masked range, by where its bytes stood in the body.
    fn note(&self, work: &mut Work, window: &Window, range: Range<usize>, found: Found) {
        let mut run_start = 0;
        let mut joins_last = !found.begins;
        let rest =
            Run { offset: work.emit.offset(window.source_at), length: window.raw.len() - window.carried };
        for run in self.runs.iter().copied().filter(|_| window.carried > 0).chain([rest]) {
            let (start, end) = (range.start.max(run_start), range.end.min(run_start + run.length));
            if start < end {
                let offset = run.offset + (start - run_start) as u64;
                work.emit.edit(Edit { offset, len: (end - start) as u64, rule: found.rule }, joins_last);
                joins_last = true;
            }
            run_start += run.length;
        }
    }
}

/// Emits untouched bytes of a window: carried ones as a copy, the others by reference.
fn keep(work: &mut Work, window: &Window, range: Range<usize>) {
    let carried = range.start.min(window.carried)..range.end.min(window.carried);
    work.emit.own(&window.raw[carried]);
    let start = range.start.max(window.carried) - window.carried;
    let end = range.end.max(window.carried) - window.carried;
    work.emit.keep(window.source_at + start..window.source_at + end);
}

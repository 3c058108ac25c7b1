//! Find and mask in a byte stream: what is sensitive is replaced while a body passes through.
//!
//! The streamed result equals the result over the whole body, however the body was cut. Bytes are held back
//! only while they may still match, at most `MASK_HOLD_BYTES_MAX` decoded bytes a value (an event of a
//! stream is also held until it is whole, for its reader can do nothing with a part of it). What is not
//! masked leaves as slices of the chunks it came in.
//!
//! This is not a policy (it refuses nothing for its content). The [`Inspector`] takes bodies without content
//! coding; `encoding/` takes that off. It knows no HTTP; `exchange` tells it the direction and the types.
//!
//! Start at [`Inspector`]. From the outside in: `sse/` frames events and tells the streamed values apart,
//! `stream` joins the pieces of one value, `codec` reads escapes, `detect/` finds, `spell` and `emit` write.
//!
//! ```text
//!   Chunk ─► Inspector ─► [sse: event ─► value] ─► Stream ─► codec ─► detect ─► spell ─► emit ─► Segments
//! ```

mod codec;
mod context;
mod detect;
pub mod echo;
mod emit;
pub mod encoding;
mod error;
mod fold;
mod nested;
mod rule;
mod seal;
mod set;
mod spell;
mod sse;
mod stream;
pub mod text;
pub mod token;
mod value;
mod work;

pub use context::Context;
pub use detect::{Expression, Path};
pub use error::Error;
pub use rule::{Direction, Kind, Part, Replacement, Rule};
pub use seal::Thinking;
pub use set::MaskSet;
pub use sse::{dialect, events};

use crate::buffer::{Chunk, Segments, Tally};
use codec::Codec;
use dialect::Dialect;
use emit::{Emit, Record};
use seal::Seal;
use sse::Sse;
use std::sync::Arc;
use stream::Stream;
use token::SessionTokens;
use work::{Scratch, Work};

/// Received bytes that were masked: `len` bytes at `offset` of the body as it came, by rule number `rule`.
///
/// A match whose bytes did not stand together (a value split over events) gives several edits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edit {
    /// First masked byte, counted from the start of the received body.
    pub offset: u64,
    /// Masked bytes.
    pub len: u64,
    /// Index of the rule in its [`MaskSet`].
    pub rule: u16,
}

/// Masks one body: chunks in, slices out. Small, because it is handed on before it works: what is large lies
/// on the heap.
#[derive(Debug)]
pub struct Inspector {
    set: Arc<MaskSet>,
    way: Direction,
    body: Body,
    scratch: Scratch,
    tokens: Option<Box<SessionTokens>>,
    thinking: Thinking,
    record: Record,
    hits: Vec<u64>,
    /// Bytes received so far.
    received: u64,
}

/// How the body is read.
#[derive(Debug)]
enum Body {
    /// No rule looks at it.
    Pass,
    /// One value from its first byte to its last.
    Whole(Box<Stream>, Sniff),
    /// Server-sent events.
    Events(Box<Sse>),
}

impl Inspector {
    /// An inspector for one body that goes `way`.
    pub fn new(set: Arc<MaskSet>, way: Direction, context: Context) -> Inspector {
        let whole = |codec, sniff| Body::Whole(Box::new(Stream::new(codec, false)), sniff);
        let body = match context {
            _ if set.plan(way).is_empty() => Body::Pass,
            Context::Json => whole(Codec::Json, Sniff::Decided),
            Context::Text => whole(Codec::Plain, Sniff::Start),
            Context::Form => whole(Codec::Form, Sniff::Decided),
            Context::Sse(dialect) => Body::Events(Box::new(Sse::new(dialect))),
        };
        let hits = vec![0; set.rules().len()];
        let (scratch, thinking, record) = Default::default();
        Inspector { set, way, body, scratch, tokens: None, thinking, record, hits, received: 0 }
    }

    /// With what becomes of a match in a model's thinking. In a document of `dialect`, thinking and
    /// signatures stay as they are, and the arguments of tool calls are read as the documents they are, as in
    /// its event streams.
    pub fn with_thinking(mut self, dialect: &'static Dialect, thinking: Thinking) -> Inspector {
        if let Body::Whole(stream, _) = &mut self.body {
            stream.seal(Seal::of(dialect.sealed));
        }
        self.thinking = thinking;
        self.with_documents(dialect)
    }

    /// Which reads the arguments of tool calls in a document of `dialect` as the documents they are.
    pub fn with_documents(mut self, dialect: &'static Dialect) -> Inspector {
        if let Body::Whole(stream, _) = &mut self.body {
            stream.documents_at(dialect.documents, &[]);
        }
        self
    }

    /// With a record, which [`Inspector::take_recorded`] gives.
    pub fn with_record(mut self) -> Inspector {
        self.record.is_kept = true;
        self
    }

    /// What the record gets instead of all that was appended to `out` since the last call, if that differs:
    /// thinking is masked there, and only there. It is to be taken whenever `out` is.
    pub fn take_recorded(&mut self) -> Option<Segments> {
        self.record.other.take()
    }

    /// Matches in thinking, which went on as they were.
    pub fn shown(&self) -> u64 {
        self.record.shown
    }

    /// With the tokens of the session that the body belongs to, which are asked for where a rule shows some;
    /// without them `{token}` gives the mask that a rule has without a template.
    pub fn with_tokens(mut self, tokens: impl FnOnce() -> SessionTokens) -> Inspector {
        if self.set.rules().iter().any(|rule| rule.replace.has_token()) {
            self.tokens = Some(Box::new(tokens()));
        }
        self
    }

    /// Takes the next received bytes; appends to `out` what is decided, and to `edits` what was masked.
    /// Bytes that leave as a copy are counted in `tally.copied`.
    ///
    /// # Errors
    /// The body cannot be masked (the sender's fault): not text, or a bound is reached, see [`Error`]. The
    /// inspector must not be used again; what `out` has by then is masked and may be sent.
    pub fn push(
        &mut self,
        chunk: Chunk,
        out: &mut Segments,
        edits: &mut Vec<Edit>,
        tally: &mut Tally,
    ) -> Result<(), Error> {
        let offset = self.received;
        self.received += chunk.len() as u64;
        if !matches!(self.body, Body::Pass) {
            check_encoding(offset, &chunk)?;
        }
        let (mut work, body) = self.work(out, edits, tally);
        work.emit.source(chunk.clone(), offset);
        let done = match body {
            Body::Pass => {
                work.emit.keep(0..chunk.len());
                Ok(())
            }
            Body::Whole(stream, sniff) => whole(stream, sniff, &mut work, &chunk),
            Body::Events(events) => events.push(&mut work, &chunk, offset),
        };
        let beside = if let Body::Events(events) = body { events.pending_bytes() } else { 0 };
        work.scratch.trim(beside);
        end(&mut work, done)
    }

    /// The body has ended as it should: decides and releases what was held back. Not called for a body that
    /// was cut off.
    ///
    /// # Errors
    /// As for [`Inspector::push`].
    pub fn finish(
        &mut self,
        out: &mut Segments,
        edits: &mut Vec<Edit>,
        tally: &mut Tally,
    ) -> Result<(), Error> {
        let (mut work, body) = self.work(out, edits, tally);
        let done = match body {
            Body::Pass => Ok(()),
            Body::Whole(stream, _) => stream.push(&mut work, &Chunk::default(), 0..0, true),
            Body::Events(events) => events.finish(&mut work),
        };
        end(&mut work, done)
    }

    /// What works on the body, and how that is read.
    fn work<'a>(
        &'a mut self,
        out: &'a mut Segments,
        edits: &'a mut Vec<Edit>,
        tally: &'a mut Tally,
    ) -> (Work<'a>, &'a mut Body) {
        let work = Work {
            plan: self.set.plan(self.way),
            rules: self.set.rules(),
            keeps_length: !matches!(self.body, Body::Events(_)),
            thinking: self.thinking,
            tokens: self.tokens.as_deref(),
            scratch: &mut self.scratch,
            emit: Emit::new(out, edits, tally, &mut self.hits, &mut self.record),
        };
        (work, &mut self.body)
    }

    /// The rules that matched, dry runs too, by their index, with their number of matches.
    pub fn hits(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        self.hits.iter().copied().enumerate().filter(|(_, count)| *count > 0)
    }

    /// The compiled rules.
    pub fn set(&self) -> &Arc<MaskSet> {
        &self.set
    }

    /// Received bytes that have not been sent yet, or are not in the record yet: what may still match, and
    /// the part of an event that is not whole.
    pub fn held_bytes(&self) -> usize {
        match &self.body {
            Body::Pass => 0,
            Body::Whole(stream, _) => stream.held_bytes(),
            Body::Events(events) => events.held_bytes(),
        }
    }
}

/// Ends a step of work.
fn end(work: &mut Work, done: Result<(), Error>) -> Result<(), Error> {
    work.emit.flush();
    match work.emit.record.ends {
        true => Err(Error::Thinking),
        false => done,
    }
}

/// Masks a header value (Location, Set-Cookie) that goes `way`; `None` if nothing was found.
pub fn mask_value(set: &MaskSet, way: Direction, value: &[u8]) -> Option<Vec<u8>> {
    if set.plan(way).is_empty() {
        return None;
    }
    let (mut out, mut edits, mut tally) = (Segments::new(), Vec::new(), Tally::default());
    let (mut scratch, mut record, mut hits) =
        (Scratch::default(), Record::default(), vec![0; set.rules().len()]);
    let source = Chunk::from(value.to_vec());
    let mut work = Work {
        plan: set.plan(way),
        rules: set.rules(),
        keeps_length: true,
        thinking: Thinking::Flag,
        tokens: None,
        scratch: &mut scratch,
        emit: Emit::new(&mut out, &mut edits, &mut tally, &mut hits, &mut record),
    };
    work.emit.source(source.clone(), 0);
    // Values that hold text of a URL escape what a URL may not hold.
    let codec = if value.contains(&b'%') { Codec::Form } else { Codec::Plain };
    Stream::new(codec, false).push(&mut work, &source, 0..source.len(), true).ok()?;
    work.emit.flush();
    (!edits.is_empty()).then(|| out.to_vec())
}

/// Refuses what begins like UTF-16, UTF-32 or binary data: its ASCII characters would not be found.
fn check_encoding(offset: u64, chunk: &[u8]) -> Result<(), Error> {
    let start = chunk.iter().take(2usize.saturating_sub(offset.min(2) as usize));
    if start.into_iter().any(|byte| matches!(byte, 0 | 0xfe | 0xff)) {
        return Err(Error::NotText);
    }
    Ok(())
}

/// Whether a body of unknown or plain type is JSON, by its first two significant bytes.
#[derive(Clone, Copy, Debug)]
enum Sniff {
    Start,
    Opened(u8),
    Decided,
}

fn whole(stream: &mut Stream, sniff: &mut Sniff, work: &mut Work, chunk: &Chunk) -> Result<(), Error> {
    let mut plain = 0;
    if let Some(opened) = sniff_json(sniff, chunk, &mut plain) {
        stream.push(work, chunk, 0..plain, false)?;
        stream.go_on_as_json(opened);
        return stream.push(work, chunk, plain..chunk.len(), false);
    }
    stream.push(work, chunk, 0..chunk.len(), false)
}

/// The first byte of the document, if the body turns out to be JSON at byte `at` of this chunk. White space
/// and a byte order mark are not significant.
fn sniff_json(sniff: &mut Sniff, chunk: &[u8], at: &mut usize) -> Option<u8> {
    for byte in chunk {
        match (*sniff, byte) {
            (Sniff::Decided, _) => return None,
            (_, b' ' | b'\t' | b'\r' | b'\n') | (Sniff::Start, 0xef | 0xbb | 0xbf) => {}
            (Sniff::Start, b'{' | b'[') => *sniff = Sniff::Opened(*byte),
            (Sniff::Opened(opened @ b'{'), b'"' | b'}')
            | (Sniff::Opened(opened @ b'['), b'"' | b'[' | b'{') => {
                *sniff = Sniff::Decided;
                return Some(opened);
            }
            _ => *sniff = Sniff::Decided,
        }
        *at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn emails() -> MaskSet {
        let replace = Replacement::parse("[{kind}]").expect("a template");
        let (name, direction) = ("emails".into(), Direction::Both);
        let rule = Rule { name, kind: Kind::Email, replace, direction, dry_run: false };
        MaskSet::compile(vec![rule]).expect("one rule")
    }

    #[test]
    fn values_of_forms_and_urls_are_masked_and_stay_what_they_are() {
        let form = "mail=ann%40example.com&x=a+b%20c&n=%zz";
        let masked = "mail=%5Bemail%5D&x=a+b%20c&n=%zz";
        for length in 1..=form.len() {
            let mut inspector = Inspector::new(Arc::new(emails()), Direction::Request, Context::Form);
            let (mut out, mut edits, mut tally) = (Segments::new(), Vec::new(), Tally::default());
            for piece in form.as_bytes().chunks(length) {
                inspector.push(Chunk::from(piece.to_vec()), &mut out, &mut edits, &mut tally).unwrap();
            }
            inspector.finish(&mut out, &mut edits, &mut tally).unwrap();
            assert_eq!(String::from_utf8(out.to_vec()).unwrap(), masked, "{length}");
            assert_eq!((edits[0].offset, edits[0].len), (5, 17));
        }
        let value = |text: &str| {
            mask_value(&emails(), Direction::Response, text.as_bytes())
                .map(|masked| String::from_utf8(masked).unwrap())
        };
        assert_eq!(value("/login?user=ann%40example.com").as_deref(), Some("/login?user=%5Bemail%5D"));
        assert_eq!(value("mailto:ann@example.com").as_deref(), Some("mailto:[email]"));
        assert_eq!(value("/a%20b"), None);
    }
}

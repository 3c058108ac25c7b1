//! All that was recorded of one exchange, read again from the log and checked against the chain.

use super::{
    Error, folder,
    follow::{Log, Place},
    query::{Exchange, cause_name},
    session::NamedBy,
};
use crate::audit::{
    Content, Damage, Decision, DecodeError, Direction, ExchangeId, Frame, Head, Item, MaskHits, Outcome,
    ReadError, Record, SegmentReader, Subject, Why,
};
use crate::{
    http::Headers,
    segments::{Input, Keys},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, collections::BTreeMap, path::Path, sync::Arc};

/// One exchange as it was recorded: one line of an export.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recording {
    #[serde(flatten)]
    pub exchange: Exchange,
    pub who: Option<Who>,
    /// What the session calls itself, and where it has that from: `client` (a claim), `token`, `connection`.
    pub session_name: String,
    pub session_named_by: String,
    pub listener: String,
    /// Address and port of the caller.
    pub peer: Option<String>,
    /// Host that the caller named.
    pub authority: String,
    /// The caller's fields without credentials. Bytes that are not UTF-8 are shown as U+FFFD.
    pub headers: Vec<(String, String)>,
    /// `http` or `https`, where that was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// The fields that the caller got, the same way; empty where they were not recorded.
    #[serde(default)]
    pub response_headers: Vec<(String, String)>,
    /// Of a flood of refusals: how many more this one stands for, and since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folded: Option<Flood>,
    pub ruling: Option<Ruling>,
    /// Names of the secrets that were injected.
    pub secrets: Vec<String>,
    pub request: Body,
    pub response: Body,
    /// Mask and count.
    pub masks: BTreeMap<String, u64>,
}

/// The caller, as a verified token said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    pub issuer: String,
    pub subject: String,
    pub owner: Option<String>,
    pub groups: Vec<String>,
    pub purpose: Option<String>,
    /// The token's `jti`.
    pub token: Option<String>,
}

/// Refusals that have no record of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flood {
    /// How many, without the recorded one.
    pub more: u64,
    /// When the first of them was.
    pub since: String,
}

/// What the policy said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ruling {
    pub policy: Option<String>,
    /// Where it stands, such as `ringward.toml:58`.
    pub place: Option<String>,
    pub reason: Option<String>,
    /// Policies on trial that would have decided.
    pub dry_runs: Vec<String>,
    /// Every evaluated condition: policy, name, whether it held.
    pub predicates: Vec<(String, String, bool)>,
}

/// One direction's body as the caller saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    /// Its length in bytes, whether it was kept or not.
    pub bytes: u64,
    /// Whether all of it was kept.
    pub whole: bool,
    pub pieces: Vec<Piece>,
}

/// Bytes that passed together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// Microseconds since the exchange began.
    pub at_us: u64,
    /// Place in the body, in bytes.
    pub offset: u64,
    pub bytes: u64,
    /// The bytes where they are UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The bytes where they are not; without either they were not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
}

impl Piece {
    /// The bytes, empty where they were not kept or are not base64 (a changed export).
    pub fn content(&self) -> Cow<'_, [u8]> {
        match (&self.text, &self.base64) {
            (Some(text), _) => Cow::Borrowed(text.as_bytes()),
            (None, Some(coded)) => Cow::Owned(STANDARD.decode(coded).unwrap_or_default()),
            (None, None) => Cow::Borrowed(&[]),
        }
    }
}

impl Body {
    /// All kept bytes, joined.
    pub fn content(&self) -> Vec<u8> {
        let pieces: Vec<_> = self.pieces.iter().map(Piece::content).collect();
        pieces.concat()
    }

    fn add(&mut self, content: &Content) {
        let length = content.leaves.as_ref().map_or(0, |leaves| leaves.len);
        let mut piece = Piece {
            at_us: content.elapsed_us,
            offset: content.offset,
            bytes: length,
            text: None,
            base64: None,
        };
        if content.keep {
            match String::from_utf8(content.bytes.to_vec()) {
                Ok(text) => piece.text = Some(text),
                Err(error) => piece.base64 = Some(STANDARD.encode(error.as_bytes())),
            }
        }
        self.bytes += length;
        self.whole &= content.keep || length == 0;
        self.pieces.push(piece);
    }
}

/// The packed segment that was unpacked last: exchanges that follow each other lie in the same one.
#[derive(Debug, Default)]
pub(super) struct Cache(Option<(u64, Input)>);

impl Cache {
    fn open(&mut self, dir: &Path, segment: u64, keys: &Keys) -> Result<Input, Error> {
        let path = || folder::path(dir, segment);
        let failed = |source| Error::Io { path: path(), source };
        if let Some((known, input)) = &self.0
            && *known == segment
        {
            return input.try_clone().map_err(failed);
        }
        let Some(input) = folder::open(dir, segment, keys).map_err(failed)? else {
            return Err(Error::Encrypted(segment));
        };
        // A file is opened as quickly as it is kept.
        if matches!(input, Input::Memory(_)) {
            self.0 = Some((segment, input.try_clone().map_err(failed)?));
        }
        Ok(input)
    }
}

/// Where recordings are read from.
pub(super) struct Source<'a> {
    pub log: Log<'a>,
    pub cache: &'a mut Cache,
}

/// Reads what was recorded of `exchange` at `places`.
pub(super) fn read(
    source: &mut Source<'_>,
    exchange: &Exchange,
    places: &[Place],
) -> Result<Recording, Error> {
    let body = Body { whole: true, ..Body::default() };
    let mut recording = Recording {
        exchange: exchange.clone(),
        request: body.clone(),
        response: body,
        ..Recording::default()
    };
    visit(source, exchange, places, &mut |record| recording.add(&record))?;
    Ok(recording)
}

/// Reads the records of `exchange` at `places`, in their order.
pub(super) fn records(
    source: &mut Source<'_>,
    exchange: &Exchange,
    places: &[Place],
) -> Result<Vec<Record>, Error> {
    let mut records = Vec::new();
    visit(source, exchange, places, &mut |record| records.push(record))?;
    Ok(records)
}

/// The text of the CONFIG record `sequence`, which stands in the batch at `place`.
pub(super) fn config(
    source: &mut Source<'_>,
    place: &Place,
    sequence: u64,
) -> Result<Option<Arc<str>>, Error> {
    let mut text = None;
    let is_wanted = |frame: &Frame<'_>| Ok(frame.sequence == sequence);
    at(source, std::slice::from_ref(place), &is_wanted, &mut |record| {
        if let Record::Config(config) = record {
            text = Some(config.text);
        }
    })?;
    Ok(text)
}

fn visit(
    source: &mut Source<'_>,
    exchange: &Exchange,
    places: &[Place],
    take: &mut dyn FnMut(Record),
) -> Result<(), Error> {
    let id: ExchangeId = exchange.id.parse().map_err(|_| Error::NotFound(exchange.id.clone()))?;
    at(source, places, &|frame| Ok(frame.exchange()? == Some(id)), take)
}

/// Whether a record is wanted.
type Wanted<'a> = dyn Fn(&Frame<'_>) -> Result<bool, DecodeError> + 'a;

/// Reads the wanted records of the batches at `places`.
fn at(
    Source { log: Log { dir, keys }, cache }: &mut Source<'_>,
    places: &[Place],
    wanted: &Wanted<'_>,
    take: &mut dyn FnMut(Record),
) -> Result<(), Error> {
    let mut open: Option<(u64, SegmentReader<Input>)> = None;
    for place in places {
        if open.as_ref().is_none_or(|(segment, _)| *segment != place.segment) {
            let reader = SegmentReader::open(cache.open(dir, place.segment, keys)?, place.segment, None);
            open = Some((place.segment, reader.map_err(|error| unread(dir, place, error))?));
        }
        let Some((_, reader)) = &mut open else { continue };
        let resumed = reader.resume(place.offset, place.sequence, place.previous);
        let failed = |source| ReadError::Io { segment: place.segment, source };
        let read = resumed.map_err(failed).and_then(|()| batch(reader, wanted, take));
        read.map_err(|error| unread(dir, place, error))?;
    }
    Ok(())
}

fn unread(dir: &Path, place: &Place, error: ReadError) -> Error {
    match error {
        ReadError::Damage(damage) => Error::Damage(damage),
        ReadError::Io { source, .. } => Error::Io { path: folder::path(dir, place.segment), source },
    }
}

/// Takes the wanted records of one batch.
fn batch(
    reader: &mut SegmentReader<Input>,
    wanted: &Wanted<'_>,
    take: &mut dyn FnMut(Record),
) -> Result<(), ReadError> {
    // The header; what follows are its records.
    reader.next_item()?;
    while !reader.is_between_batches() {
        let (segment, offset) = (reader.position().segment, reader.offset());
        let Item::Frame(frame) = reader.next_item()? else { break };
        let damage = |error| Damage { segment, sequence: frame.sequence, offset, why: Why::Payload(error) };
        if wanted(&frame).map_err(damage)? {
            take(frame.decode().map_err(damage)?);
        }
    }
    Ok(())
}

impl Recording {
    fn add(&mut self, record: &Record) {
        match record {
            Record::Intent(intent) => {
                self.opening(&intent.head, intent.subject.as_deref(), &intent.session);
                self.ruling = Some(ruling(&intent.decision));
                self.secrets = intent.secrets.iter().map(ToString::to_string).collect();
            }
            Record::Refusal(refusal) => {
                let session = refusal.session.as_deref().unwrap_or("");
                self.opening(&refusal.head, refusal.subject.as_deref(), session);
                self.ruling = refusal.decision.as_ref().map(ruling);
                self.exchange.reason = Some(format!("{}: {}", refusal.code, refusal.reason));
                self.folded =
                    refusal.folded.map(|folded| Flood { more: folded.more, since: folded.since.to_string() });
            }
            Record::Content(content) => match content.direction {
                Direction::Request => self.request.add(content),
                Direction::Response => self.response.add(content),
            },
            Record::Outcome(outcome) => self.end(outcome),
            _ => {}
        }
    }

    fn opening(&mut self, head: &Head, subject: Option<&Subject>, session: &str) {
        self.who = subject.map(who);
        self.session_name = session.to_owned();
        self.session_named_by = NamedBy::of(session, subject, head).as_str().to_owned();
        self.listener = head.listener.to_string();
        self.peer = head.peer.map(|peer| peer.to_string());
        self.authority = head.authority.clone();
        self.headers = fields(&head.headers);
        self.scheme = head.scheme.map(|scheme| scheme.as_str().to_owned());
    }

    fn end(&mut self, outcome: &Outcome) {
        let hits = outcome.masks.iter().map(|MaskHits { mask, count }| (mask.to_string(), *count));
        self.masks = hits.collect();
        self.response_headers = fields(&outcome.headers);
        self.exchange.cause = Some(cause_name(outcome.cause).to_owned());
        // Where bodies were not recorded their lengths are.
        self.request.whole &= self.request.bytes >= outcome.request.sent.min(outcome.request.received);
        self.response.whole &= self.response.bytes >= outcome.response.sent;
        self.request.bytes = self.request.bytes.max(outcome.request.sent);
        self.response.bytes = self.response.bytes.max(outcome.response.sent);
    }
}

fn fields(headers: &Headers) -> Vec<(String, String)> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    headers.iter().map(|(name, value)| (name.to_owned(), text(value))).collect()
}

fn who(subject: &Subject) -> Who {
    let text = |value: &Option<std::sync::Arc<str>>| value.as_deref().map(str::to_owned);
    Who {
        issuer: subject.issuer.to_string(),
        subject: subject.subject.to_string(),
        owner: text(&subject.owner),
        groups: subject.groups.iter().map(ToString::to_string).collect(),
        purpose: text(&subject.purpose),
        token: text(&subject.token),
    }
}

fn ruling(decision: &Decision) -> Ruling {
    let text = |value: &Option<std::sync::Arc<str>>| value.as_deref().map(str::to_owned);
    let predicates = decision.predicates.iter();
    Ruling {
        policy: text(&decision.policy),
        place: text(&decision.place),
        reason: text(&decision.reason),
        dry_runs: decision.dry_runs.iter().map(|run| run.policy.to_string()).collect(),
        predicates: predicates.map(|one| (one.policy.to_string(), one.name.to_string(), one.held)).collect(),
    }
}

//! One exchange as its records tell it.

use super::super::conversation::Then;
use super::{Answer, Unknown, Verdict};
use crate::{
    audit::{
        Content, Decision, Direction, Edit, ExchangeId, Head, Intent, IntentBody, Outcome, Place, Record,
        Refusal, Subject,
    },
    buffer::Segments,
    http::target::REDACTED,
    policy::{self, RuleSet},
    protocol::Code,
};

/// Fields that a record may lack: the masks of a request take digests of its body away.
const DIGESTS: [&str; 3] = ["content-md5", "digest", "content-digest"];

/// What is known of one exchange.
#[derive(Debug)]
pub struct Recorded<'a> {
    pub id: ExchangeId,
    /// Counts the configurations of the process that took it, from 1.
    pub generation: u64,
    /// What was decided; `None` where that was not due.
    pub verdict: Option<Verdict>,
    /// The code of a refusal.
    pub code: Option<&'a str>,
    pub subject: Option<&'a Subject>,
    pub head: &'a Head,
    pub(super) session: &'a str,
    pub(super) opening: Opening,
    pub(super) request: Kept,
    pub(super) response: Kept,
    pub(super) then: Then,
}

/// How the exchange began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// With an INTENT: its fields are those that go upstream.
    Admitted,
    /// With a REFUSAL: its fields are those that came.
    Refused,
}

/// What is known of one body.
#[derive(Debug)]
pub(super) struct Kept {
    /// The body as it was received, or why that is not known.
    pub bytes: Result<Segments, Unknown>,
    /// All bytes that were kept, masked as they were.
    pub masked: Segments,
    /// Whether those are all that passed.
    pub whole: bool,
    /// Bytes received, where that was recorded.
    pub len: Option<u64>,
    pub edits: Vec<Edit>,
}

impl<'a> Recorded<'a> {
    /// Puts the records of one exchange together; `None` without INTENT or REFUSAL, with which no exchange is
    /// listed.
    pub fn new(records: &'a [Record]) -> Option<Recorded<'a>> {
        let outcome = records.iter().find_map(|record| match record {
            Record::Outcome(outcome) => Some(&**outcome),
            _ => None,
        });
        records.iter().find_map(|record| match record {
            Record::Intent(intent) => Some(admitted(intent, outcome, records)),
            Record::Refusal(refusal) => Some(refused(refusal, records)),
            _ => None,
        })
    }

    /// A request that nobody made: what would become of it? A subject without an issuer has a token of
    /// whatever issuer its route takes.
    pub fn imagined(head: &'a Head, subject: Option<&'a Subject>, body: Segments) -> Recorded<'a> {
        let len = Some(body.len_bytes() as u64);
        let request = Kept { bytes: Ok(body), masked: Segments::new(), whole: true, len, edits: Vec::new() };
        Recorded {
            id: ExchangeId([0; 16]),
            generation: 0,
            verdict: Some(Verdict::refusal("", "")),
            code: None,
            subject,
            head,
            session: "",
            opening: Opening::Refused,
            request,
            response: kept(&[], Direction::Response, true, Some(0)),
            then: Then::default(),
        }
    }

    /// Whether `rules` look at a part of the head that the record does not hold as it came.
    pub(super) fn lacks_what(&self, rules: &RuleSet) -> bool {
        let is_redacted = |text: &[u8]| memchr::memmem::find(text, REDACTED.as_bytes()).is_some();
        let referrer = || self.head.headers.get_all("referer").any(is_redacted);
        let had_body = self.opening == Opening::Admitted && self.request.len != Some(0);
        let is_gone = |name: &str| rules.reads_header(name) && !self.head.headers.contains(name);
        rules.reads_query() && is_redacted(self.head.target.as_bytes())
            || rules.reads_header("referer") && referrer()
            || had_body && DIGESTS.into_iter().any(is_gone)
    }
}

fn admitted<'a>(intent: &'a Intent, outcome: Option<&'a Outcome>, records: &'a [Record]) -> Recorded<'a> {
    // A body that a policy read stands whole before its INTENT; others are whole when the exchange got past
    // them.
    let was_read = !matches!(intent.body, IntentBody::Streamed);
    let past = outcome.is_some_and(|outcome| !matches!(outcome.place, Place::RequestBody | Place::Send));
    let received = outcome.map(|outcome| outcome.request.received);
    let answered = outcome.is_some_and(|outcome| outcome.place == Place::End);
    let response = outcome.map(|outcome| outcome.response.received);
    Recorded {
        id: intent.id,
        generation: intent.generation,
        verdict: Some(Verdict::of_record(&intent.decision)),
        code: None,
        subject: intent.subject.as_deref(),
        head: &intent.head,
        session: &intent.session,
        opening: Opening::Admitted,
        request: kept(records, Direction::Request, was_read || past, received),
        response: kept(records, Direction::Response, answered, response),
        then: Then::of(Some(&intent.decision)),
    }
}

fn refused<'a>(refusal: &'a Refusal, records: &'a [Record]) -> Recorded<'a> {
    let mut request = kept(records, Direction::Request, true, None);
    let predicates = refusal.decision.iter().flat_map(|decision| &decision.predicates);
    let was_read = predicates.into_iter().any(|predicate| policy::reads_body(&predicate.name));
    // A body that no policy read was not waited for; one that a policy read is recorded unless it was empty.
    let is_empty = was_read && !refusal.head.headers.contains("content-type");
    if request.masked.is_empty() && request.bytes.is_ok() && !is_empty {
        request.bytes = Err(Unknown::BodyNotRecorded);
    }
    Recorded {
        id: refusal.id,
        generation: refusal.generation,
        verdict: verdict(&refusal.code, &refusal.reason, refusal.decision.as_ref()),
        code: Some(&refusal.code),
        subject: refusal.subject.as_deref(),
        head: &refusal.head,
        session: refusal.session.as_deref().unwrap_or_default(),
        opening: Opening::Refused,
        request,
        response: kept(&[], Direction::Response, true, Some(0)),
        then: Then::of(refusal.decision.as_ref()),
    }
}

/// What a refusal says of policies: nothing, where it was for another reason.
fn verdict(code: &str, reason: &str, decision: Option<&Decision>) -> Option<Verdict> {
    match decision.map(Verdict::of_record) {
        Some(verdict) => Some(verdict).filter(|verdict| verdict.answer != Answer::Allow),
        None => [Code::NoRoute, Code::PolicyDenied]
            .iter()
            .any(|one| one.as_str() == code)
            .then(|| Verdict::refusal(code, reason)),
    }
}

/// `past`: all of the body was received. `received`: bytes of it.
fn kept(records: &[Record], direction: Direction, past: bool, received: Option<u64>) -> Kept {
    let contents = records.iter().filter_map(|record| match record {
        Record::Content(content) if content.direction == direction => Some(&**content),
        _ => None,
    });
    let mut masked = Segments::new();
    let (mut edits, mut is_all, mut bytes_kept, mut passed) = (Vec::new(), true, 0u64, 0u64);
    for content in contents {
        let len = passed_bytes(content);
        passed += len;
        is_all &= content.keep || len == 0;
        edits.extend(content.edits.iter().copied());
        // What follows a gap stands for nothing.
        if is_all {
            bytes_kept += len;
            masked.append(content.bytes.clone());
        }
    }
    // Bytes that were received and are in no record, because a limit was reached or they were not recorded.
    let is_lacking = edits.is_empty() && received.is_some_and(|received| received > passed);
    let whole = past && is_all && !is_lacking;
    // What was taken out was taken out before policies saw it.
    let is_masked = edits.iter().any(|edit| edit.rule != Edit::REMOVED);
    let bytes = match whole {
        _ if is_masked => Err(Unknown::Masked),
        true => Ok(masked.clone()),
        false if bytes_kept == 0 && (passed > 0 || is_lacking) => Err(Unknown::BodyNotRecorded),
        false => Err(Unknown::BodyTruncated),
    };
    Kept { bytes, masked, whole, len: received.or((passed > 0).then_some(passed)), edits }
}

fn passed_bytes(content: &Content) -> u64 {
    content.leaves.as_ref().map_or(content.bytes.len_bytes() as u64, |leaves| leaves.len)
}

//! The log itself for auditors: its sealed segments as they are stored, and the keys that signed it.
//!
//! Segments hold what was said, so who takes one is recorded before its first byte is given: once for each
//! segment and credential while the process runs. A follower that goes on for years adds one small record to
//! each segment that it takes, and none while nothing else happens; one that resumes a download adds none.

use super::{
    access::Principal,
    endpoint::{Endpoint, get},
    problem::{Problem, answer},
    routes::{Desk, Desked, finished},
    sessions::{at_work, record},
    stream::{self, Pieces},
};
use crate::{
    audit::KeyStatement,
    segments::{self, Form, SegmentFile},
};
use axum::{
    body::Bytes,
    extract::{Extension, Path, Query, State, rejection::PathRejection, rejection::QueryRejection},
    http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    collections::HashSet,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

/// Names the file of the segment that is given: its form may have changed since it was listed.
pub const SEGMENT_NAME: HeaderName = HeaderName::from_static("x-ringward-segment");
/// Segments of one list.
const LIST_MAX: usize = 10_000;
/// Read and sent at once.
const PIECE_BYTES: usize = 256 * 1024;
/// Remembered pulls; where there are more, some are recorded again.
const PULLS_MAX: usize = 64 * 1024;

/// Where the segments of the log are.
#[derive(Clone, Debug)]
pub struct LogFolder {
    pub dir: PathBuf,
    /// Sealed segments are encrypted to auditors; until they are, nobody gets them.
    pub only_encrypted: bool,
}

/// What an auditor may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Offers {
    /// Sealed segments in their order, from the one that was asked for on; at most 10,000.
    pub segments: Vec<OfferedSegment>,
    /// Number of the oldest segment that is there; those before it were removed. 0 for none.
    pub oldest: u64,
}

/// One sealed segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OfferedSegment {
    pub number: u64,
    /// Its file name, which says how its bytes lie in it.
    pub name: String,
    pub bytes: u64,
}

/// The statements of the log's keys, from the first one on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatedKeys {
    pub keys: Vec<StatedKeyText>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatedKeyText {
    /// Number of the key, from 1.
    pub number: u64,
    /// `NAME+ID+KEY`.
    pub key: String,
    /// The record that states it.
    pub since: u64,
    /// The statement, as a signed note.
    pub statement: String,
}

/// Which segments each credential has taken.
#[derive(Debug, Default)]
pub(super) struct Pulls(Mutex<HashSet<(String, u64)>>);

impl Pulls {
    fn is_known(&self, name: &str, number: u64) -> bool {
        let pulls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pulls.contains(&(name.to_owned(), number))
    }

    fn remember(&self, name: &str, number: u64) {
        let mut pulls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pulls.len() >= PULLS_MAX {
            pulls.clear();
        }
        pulls.insert((name.to_owned(), number));
    }
}

type Answered = Result<axum::response::Response, Problem>;

/// What is served here.
pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        get("/api/v1/audit/keys", keys).says("The statements of the log's keys").json::<StatedKeys>(),
        get("/api/v1/audit/segments", list).says("The sealed segments").query::<Which>().json::<Offers>(),
        get("/api/v1/audit/segments/{number}", segment)
            .says("A sealed segment as it lies on the disk")
            .field("Range", "Bytes from a place on: `bytes=N-`.")
            .media("application/octet-stream")
            .partial(),
    ]
}

async fn keys(State(desk): Desked) -> Answered {
    let stated = finished(async move { desk.control.stated_keys().await }).await??;
    let text = |stated: crate::audit::StatedKey| {
        let statement = KeyStatement::read(&stated.note).map_err(|error| {
            let why = format!("a KEY record holds no statement: {error}");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "audit_damaged", why)
        })?;
        let KeyStatement { number, key, .. } = statement;
        let (key, statement) = (key.to_string(), stated.note.to_string());
        Ok::<_, Problem>(StatedKeyText { number, key, since: stated.since, statement })
    };
    let keys = stated.into_iter().map(text).collect::<Result<_, _>>()?;
    Ok(answer(StatusCode::OK, &StatedKeys { keys }))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Which {
    /// Behind this segment.
    #[serde(default)]
    after: u64,
}

async fn list(State(desk): Desked, query: Result<Query<Which>, QueryRejection>) -> Answered {
    let Query(Which { after }) =
        query.map_err(|_| Problem::malformed("want ?after=N, the number of a segment, or nothing"))?;
    let offers = at_work(desk, move |desk| {
        let (oldest, sealed) = sealed(desk)?;
        let wanted = sealed.into_iter().filter(|segment| segment.number > after).take(LIST_MAX);
        Ok(Offers { segments: wanted.map(|segment| offered(&segment)).collect(), oldest })
    });
    Ok(answer(StatusCode::OK, &offers.await?))
}

fn offered(segment: &SegmentFile) -> OfferedSegment {
    let name = segment.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    OfferedSegment { number: segment.number, name, bytes: segment.bytes }
}

/// The oldest segment that is there, and the sealed ones that auditors may have. The newest is being written.
fn sealed(desk: &Desk) -> Result<(u64, Vec<SegmentFile>), Problem> {
    let LogFolder { dir, only_encrypted } = desk.control.log();
    let (mut segments, _) = segments::list(&dir).map_err(|error| unreadable(&error))?;
    let oldest = segments.first().map_or(0, |first| first.number);
    segments.pop();
    if only_encrypted {
        // A list has no holes: what is not encrypted yet comes with the next one.
        let waiting = segments.iter().position(|segment| segment.form == Form::Raw);
        segments.truncate(waiting.unwrap_or(segments.len()));
    }
    Ok((oldest, segments))
}

fn unreadable(error: &io::Error) -> Problem {
    let why = format!("the log folder cannot be read: {error}");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "audit_unreadable", why)
}

/// A segment's file, opened.
struct Opened {
    file: File,
    name: String,
    bytes: u64,
    tag: HeaderValue,
}

async fn segment(
    State(desk): Desked,
    Extension(principal): Extension<Principal>,
    number: Result<Path<u64>, PathRejection>,
    headers: HeaderMap,
) -> Answered {
    let Path(number) = number.map_err(|_| Problem::malformed("want the number of a segment"))?;
    let opened = at_work(desk, move |desk| {
        let opened = open(desk, number)?;
        if !desk.pulls.is_known(principal.name(), number) {
            record(desk, principal.name(), "pull", &format!("segment {number}"))?;
            desk.pulls.remember(principal.name(), number);
        }
        Ok(opened)
    });
    let Opened { file, name, bytes, tag } = opened.await?;
    let range = Range::asked(&headers, &tag, bytes);
    let mut response = Response::new(axum::body::Body::empty());
    let fields = response.headers_mut();
    fields.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    fields.insert(header::ETAG, tag);
    // A segment's name is digits, letters and dots: always a header's value.
    let given = (HeaderValue::try_from(&*name), format!("attachment; filename=\"{name}\"").try_into());
    if let (Ok(name), Ok(attachment)) = given {
        fields.insert(SEGMENT_NAME, name);
        fields.insert(header::CONTENT_DISPOSITION, attachment);
    }
    let (start, end) = match range {
        Range::All => (0, bytes),
        Range::Part(start, end) => {
            fields.insert(header::CONTENT_RANGE, text(format!("bytes {start}-{}/{bytes}", end - 1)));
            (start, end)
        }
        Range::Outside => {
            fields.insert(header::CONTENT_RANGE, text(format!("bytes */{bytes}")));
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            return Ok(response);
        }
    };
    fields.insert(header::CONTENT_LENGTH, HeaderValue::from(end - start));
    if range != Range::All {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    let (pieces, body) = stream::channel();
    *response.body_mut() = body;
    // The client may leave at any time; the work then ends with the next piece.
    drop(tokio::task::spawn_blocking(move || give(file, start, end, &pieces)));
    Ok(response)
}

/// Digits and a few signs are always a header's value.
fn text(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

fn open(desk: &Desk, number: u64) -> Result<Opened, Problem> {
    let (oldest, segments) = sealed(desk)?;
    let Some(segment) = segments.iter().find(|segment| segment.number == number) else {
        let why = match number < oldest {
            true => format!("segment {number} was removed: the log begins with segment {oldest}"),
            false => format!("segment {number} is not sealed yet"),
        };
        return Err(Problem::new(StatusCode::NOT_FOUND, "no_segment", why));
    };
    // Packed since it was listed: asked for again, it is there.
    let gone = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => {
            let why = format!("segment {number} is just being packed: ask again");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "segment_moving", why)
        }
        _ => unreadable(&error),
    };
    let file = File::open(&segment.path).map_err(gone)?;
    let facts = file.metadata().map_err(|error| unreadable(&error))?;
    // Exchanged files are other files (packing, erasure): nothing is resumed across that.
    let tag = text(format!("\"{:x}-{:x}-{:x}\"", facts.ino(), facts.mtime_nsec(), facts.len()));
    Ok(Opened { file, name: offered(segment).name, bytes: facts.len(), tag })
}

/// Which bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Range {
    All,
    /// From the first up to the second, which is left out.
    Part(u64, u64),
    Outside,
}

impl Range {
    /// What the fields ask for: one range from a first byte on; anything else is all (RFC 9110 section 14.2).
    fn asked(headers: &HeaderMap, tag: &HeaderValue, bytes: u64) -> Range {
        let is_same = headers.get(header::IF_RANGE).is_none_or(|own| own == tag);
        let field = headers.get(header::RANGE).and_then(|value| value.to_str().ok()).filter(|_| is_same);
        let Some((first, last)) = field.and_then(|field| field.strip_prefix("bytes=")?.split_once('-'))
        else {
            return Range::All;
        };
        // Several ranges, or something else, are answered as if nothing was asked.
        let last = if last.is_empty() { Some(None) } else { last.parse::<u64>().ok().map(Some) };
        let (Ok(first), Some(last)) = (first.parse::<u64>(), last) else { return Range::All };
        let end = last.map_or(bytes, |last| last.saturating_add(1).min(bytes));
        match first < end {
            true => Range::Part(first, end),
            false if last.is_some_and(|last| last < first) => Range::All,
            false => Range::Outside,
        }
    }
}

/// Sends the bytes from `start` to `end`. A file that ends before is an error, which cuts the connection.
fn give(mut file: File, start: u64, end: u64, pieces: &Pieces) {
    let mut read = |at: u64| -> io::Result<Bytes> {
        if at == start {
            file.seek(SeekFrom::Start(start))?;
        }
        let mut piece = vec![0; PIECE_BYTES.min(usize::try_from(end - at).unwrap_or(PIECE_BYTES))];
        file.read_exact(&mut piece)?;
        Ok(piece.into())
    };
    let mut at = start;
    while at < end {
        let piece = read(at);
        let is_good = piece.is_ok();
        at += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        if pieces.blocking_send(piece).is_err() || !is_good {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_given_only_of_the_same_file() {
        let tag = HeaderValue::from_static("\"a\"");
        let cases = [
            (None, None, Range::All),
            (Some("bytes=0-"), None, Range::Part(0, 10)),
            (Some("bytes=3-"), Some("\"a\""), Range::Part(3, 10)),
            (Some("bytes=3-"), Some("\"b\""), Range::All),
            (Some("bytes=3-3"), None, Range::Part(3, 4)),
            (Some("bytes=3-99"), None, Range::Part(3, 10)),
            (Some("bytes=9-18446744073709551615"), None, Range::Part(9, 10)),
            (Some("bytes=10-"), None, Range::Outside),
            (Some("bytes=5-4"), None, Range::All),
            (Some("bytes=-3"), None, Range::All),
            (Some("bytes=0-1,3-4"), None, Range::All),
            (Some("bytes=x-"), None, Range::All),
            (Some("lines=1-"), None, Range::All),
        ];
        for (range, condition, expected) in cases {
            let mut headers = HeaderMap::new();
            range.map(|value| headers.insert(header::RANGE, HeaderValue::from_static(value)));
            condition.map(|value| headers.insert(header::IF_RANGE, HeaderValue::from_static(value)));
            assert_eq!(Range::asked(&headers, &tag, 10), expected, "{range:?} {condition:?}");
        }
    }
}

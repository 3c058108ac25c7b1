//! Questions to the index.

use super::{Error, approvals, approvals::ApprovalEvent, follow::Place, index::Index, session};
use crate::{
    audit::{Cause, ExchangeId},
    time::Timestamp,
};
use rusqlite::{OptionalExtension, Row, params_from_iter, types::Value};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which sessions are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// Exactly this subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// With a request for this purpose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// With a request on this route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// With a request that was decided so: `allow`, `block`, `approve` or `refuse`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// Active at or after this time.
    #[serde(with = "rfc3339", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub since: Option<Timestamp>,
    /// Begun before this time.
    #[serde(with = "rfc3339", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub until: Option<Timestamp>,
    /// At most so many; nothing for [`Filter::LIMIT_DEFAULT`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Where the page before ended: [`Sessions::next`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl Filter {
    /// Sessions of one page unless the limit says otherwise.
    pub const LIMIT_DEFAULT: usize = 50;
    /// The most that one page holds.
    pub const LIMIT_MAX: usize = 10_000;
}

/// One page of sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sessions {
    pub sessions: Vec<Session>,
    /// For [`Filter::after`]; nothing on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Segments that are encrypted: what they hold is not known here.
    #[serde(default)]
    pub encrypted_segments: u64,
}

/// One session: what one caller did under one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Session {
    /// `ses_…`
    pub id: String,
    pub subject: Option<String>,
    pub issuer: Option<String>,
    /// The human behind, where the issuer says so.
    pub owner: Option<String>,
    /// Of its newest request that had one.
    pub purpose: Option<String>,
    /// Of its newest request that had one.
    pub route: Option<String>,
    /// What the session calls itself.
    pub name: String,
    /// `client` (a claim), `token` or `connection`.
    pub named_by: String,
    /// RFC 3339.
    pub started: String,
    /// The end of its last exchange so far.
    pub last: String,
    pub requests: u64,
    pub decisions: Decisions,
}

/// How often each was decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Decisions {
    pub allow: u64,
    pub block: u64,
    pub approve: u64,
    /// It never came to a policy.
    pub refuse: u64,
}

/// One exchange, in one line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Exchange {
    /// `req_…`
    pub id: String,
    /// Its session's id.
    pub session: String,
    pub subject: Option<String>,
    /// Sequence number of its INTENT or REFUSAL.
    pub sequence: u64,
    /// Sequence number of its OUTCOME or REFUSAL; nothing while it runs.
    pub ended_sequence: Option<u64>,
    /// RFC 3339, to the millisecond.
    pub started: String,
    pub started_us: u64,
    pub duration_us: Option<u64>,
    pub method: Option<String>,
    pub target: Option<String>,
    pub route: Option<String>,
    pub upstream: Option<String>,
    pub purpose: Option<String>,
    pub decision: Option<String>,
    pub policy: Option<String>,
    /// Status that the caller got.
    pub status: Option<u16>,
    /// How it ended: `complete`, `client_gone`, …
    pub cause: Option<String>,
    /// Why, where it did not end well.
    pub reason: Option<String>,
    pub request_bytes: u64,
    pub response_bytes: u64,
    /// What people decided, where a policy held it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<ApprovalEvent>,
}

/// A stretch of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Span {
    /// Of this session only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Begun at or after this time.
    #[serde(with = "rfc3339", skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Begun before this time.
    #[serde(with = "rfc3339", skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Behind this record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// The columns of [`Exchange`], of an exchange `e` in its session `s`.
const EXCHANGE: &str = "SELECT e.id, s.id, s.subject, e.head_sequence, e.end_sequence, e.started_us, \
     e.ended_us, e.method, e.target, e.route, e.upstream, e.purpose, e.decision, e.policy, e.status, \
     e.cause, e.reason, e.request_bytes, e.response_bytes \
     FROM exchange e JOIN session s ON s.key = e.session";
const SESSION: &str = "SELECT s.id, s.subject, s.issuer, s.owner, s.purpose, s.route, s.name, s.named_by, \
     s.started_us, s.last_us, s.requests, s.allow, s.block, s.approve, s.refuse, s.key FROM session s";

impl Index {
    pub(super) fn sessions(&self, filter: &Filter) -> Result<Sessions, Error> {
        let limit = filter.limit.unwrap_or(Filter::LIMIT_DEFAULT).clamp(1, Filter::LIMIT_MAX);
        let mut conditions = Conditions::default();
        conditions.equal("s.subject", &filter.subject);
        for (column, value) in
            [("purpose", &filter.purpose), ("route", &filter.route), ("decision", &filter.decision)]
        {
            if let Some(value) = value {
                let any =
                    format!("EXISTS (SELECT 1 FROM exchange e WHERE e.session = s.key AND e.{column} = ?)");
                conditions.add(any, value.clone());
            }
        }
        conditions.number("s.last_us >= ?", filter.since.map(|since| since.0));
        conditions.number("s.started_us < ?", filter.until.map(|until| until.0));
        if let Some(after) = &filter.after {
            let (last, key) = cursor(after).ok_or_else(|| Error::NotFound(after.clone()))?;
            conditions.add("(s.last_us, s.key) < (?, ?)".to_owned(), last);
            conditions.values.push(key.into());
        }
        let text =
            format!("{SESSION}{} ORDER BY s.last_us DESC, s.key DESC LIMIT {}", conditions.text(), limit + 1);
        let mut statement = self.connection.prepare(&text)?;
        let rows = statement.query_map(params_from_iter(conditions.values), |row| {
            Ok((session_of(row)?, format!("{}-{}", row.get::<_, i64>(9)?, row.get::<_, i64>(15)?)))
        })?;
        let mut rows = rows.collect::<Result<Vec<_>, _>>()?;
        let next = (rows.len() > limit).then(|| {
            rows.truncate(limit);
            rows.last().map(|(_, cursor)| cursor.clone())
        });
        let count = "SELECT COUNT(*) FROM closed";
        Ok(Sessions {
            sessions: rows.into_iter().map(|(session, _)| session).collect(),
            next: next.flatten(),
            encrypted_segments: self.connection.query_row(count, [], |row| row.get(0))?,
        })
    }

    pub(super) fn session(&self, name: &str) -> Result<Session, Error> {
        if let Ok(id) = name.parse::<ExchangeId>() {
            let text = format!("{SESSION} JOIN exchange e ON e.session = s.key WHERE e.id = ?");
            let found = self.connection.query_row(&text, [id.0], session_of).optional()?;
            return found.ok_or_else(|| Error::NotFound(name.to_owned()));
        }
        let upper = name.strip_prefix(session::PREFIX).map(str::to_ascii_uppercase);
        let digits = upper.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        let digits = digits.ok_or_else(|| Error::NotFound(name.to_owned()))?;
        let start = session::PREFIX.to_owned() + &digits;
        let text = format!("{SESSION} WHERE s.id >= ? AND s.id < ? ORDER BY s.id LIMIT 2");
        let mut statement = self.connection.prepare(&text)?;
        let found = statement.query_map([start.clone(), start + "~"], session_of)?;
        let mut found = found.collect::<Result<Vec<_>, _>>()?;
        match found.len() {
            0 => Err(Error::NotFound(name.to_owned())),
            1 => Ok(found.remove(0)),
            _ => Err(Error::Ambiguous(name.to_owned())),
        }
    }

    pub(super) fn exchanges(&self, span: &Span) -> Result<Vec<Exchange>, Error> {
        let conditions = span.conditions();
        let limit = span.limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
        let text = format!("{EXCHANGE}{} ORDER BY e.head_sequence LIMIT {limit}", conditions.text());
        self.list(&text, conditions.values)
    }

    pub(super) fn exchange(&self, name: &str) -> Result<Exchange, Error> {
        let not_found = || Error::NotFound(name.to_owned());
        let id = name.parse::<ExchangeId>().map_err(|_| not_found())?;
        let text = format!("{EXCHANGE} WHERE e.id = ? AND e.head_sequence IS NOT NULL");
        self.list(&text, vec![Value::Blob(id.0.to_vec())])?.pop().ok_or_else(not_found)
    }

    pub(super) fn count(&self, span: &Span) -> Result<u64, Error> {
        let conditions = span.conditions();
        let text = format!(
            "SELECT COUNT(*) FROM exchange e JOIN session s ON s.key = e.session{}",
            conditions.text()
        );
        Ok(self.connection.query_row(&text, params_from_iter(conditions.values), |row| row.get(0))?)
    }

    pub(super) fn counts(&self) -> Result<(u64, u64), Error> {
        let count = |text| self.connection.query_row(text, [], |row| row.get(0));
        Ok((
            count("SELECT COUNT(*) FROM session")?,
            count("SELECT COUNT(*) FROM exchange WHERE head_sequence IS NOT NULL")?,
        ))
    }

    pub(super) fn ended(&self, after: u64, limit: usize) -> Result<Vec<Exchange>, Error> {
        let text = format!("{EXCHANGE} WHERE e.end_sequence > ? ORDER BY e.end_sequence LIMIT {limit}");
        self.list(&text, vec![number(after)])
    }

    pub(super) fn last_ended(&self, limit: usize) -> Result<Vec<Exchange>, Error> {
        let text =
            format!("{EXCHANGE} WHERE e.end_sequence IS NOT NULL ORDER BY e.end_sequence DESC LIMIT {limit}");
        let mut last = self.list(&text, Vec::new())?;
        last.reverse();
        Ok(last)
    }

    /// Where the records of an exchange lie.
    pub(super) fn parts(&self, exchange: &Exchange) -> Result<Vec<Place>, Error> {
        let id: ExchangeId = exchange.id.parse().map_err(|_| Error::NotFound(exchange.id.clone()))?;
        let mut statement = self.connection.prepare_cached(
            "SELECT b.segment, b.offset, b.sequence, b.previous FROM exchange e \
             JOIN part p ON p.exchange = e.key JOIN batch b ON b.sequence = p.batch \
             WHERE e.id = ? ORDER BY b.sequence",
        )?;
        let places = statement.query_map([id.0], place_of)?;
        Ok(places.collect::<Result<_, _>>()?)
    }

    /// The newest configuration of this generation before record `sequence`. Each process counts its
    /// generations from 1.
    pub(super) fn configured_by(&self, generation: u64, sequence: u64) -> Result<Option<u64>, Error> {
        let mut statement = self.connection.prepare_cached(
            "SELECT sequence FROM config WHERE generation = ? AND sequence < ? \
             ORDER BY sequence DESC LIMIT 1",
        )?;
        Ok(statement.query_row([generation, sequence], |row| row.get(0)).optional()?)
    }

    /// Where the batch with the configuration of record `sequence` lies.
    pub(super) fn configuration(&self, sequence: u64) -> Result<Option<Place>, Error> {
        let mut statement = self.connection.prepare_cached(
            "SELECT b.segment, b.offset, b.sequence, b.previous FROM config c \
             JOIN batch b ON b.sequence = c.batch WHERE c.sequence = ?",
        )?;
        Ok(statement.query_row([sequence], place_of).optional()?)
    }

    fn list(&self, text: &str, values: Vec<Value>) -> Result<Vec<Exchange>, Error> {
        let mut statement = self.connection.prepare_cached(text)?;
        let rows = statement.query_map(params_from_iter(values), exchange_of)?;
        let mut exchanges = rows.collect::<Result<Vec<_>, _>>()?;
        approvals::add(&self.connection, &mut exchanges)?;
        Ok(exchanges)
    }

    /// Every row of every table as text, for tests.
    #[cfg(test)]
    pub(super) fn dump(&self) -> Vec<String> {
        let tables = ["closed", "batch", "session", "exchange", "part", "approval"];
        let mut lines = Vec::new();
        for table in tables {
            let mut statement = self.connection.prepare(&format!("SELECT * FROM {table}")).unwrap();
            let columns = statement.column_count();
            let rows = statement.query_map([], |row| {
                let values: Vec<Value> = (0..columns).map(|column| row.get(column).unwrap()).collect();
                Ok(format!("{table} {values:?}"))
            });
            lines.extend(rows.unwrap().map(Result::unwrap));
        }
        lines
    }
}

impl Span {
    fn conditions(&self) -> Conditions {
        let mut conditions = Conditions::default();
        conditions.equal("s.id", &self.session);
        conditions.number("e.started_us >= ?", self.since.map(|since| since.0));
        conditions.number("e.started_us < ?", self.until.map(|until| until.0));
        conditions.number("e.head_sequence > ?", self.after);
        conditions
    }
}

/// Conditions that all hold, and their values.
#[derive(Default)]
struct Conditions {
    parts: Vec<String>,
    values: Vec<Value>,
}

impl Conditions {
    fn add(&mut self, part: String, value: impl Into<Value>) {
        self.parts.push(part);
        self.values.push(value.into());
    }

    fn equal(&mut self, column: &str, value: &Option<String>) {
        if let Some(value) = value {
            self.add(format!("{column} = ?"), value.clone());
        }
    }

    fn number(&mut self, part: &str, value: Option<u64>) {
        if let Some(value) = value {
            self.parts.push(part.to_owned());
            self.values.push(number(value));
        }
    }

    fn text(&self) -> String {
        if self.parts.is_empty() { String::new() } else { format!(" WHERE {}", self.parts.join(" AND ")) }
    }
}

/// SQLite's integers have a sign; nothing here comes near it.
fn number(value: u64) -> Value {
    Value::Integer(i64::try_from(value).unwrap_or(i64::MAX))
}

fn cursor(text: &str) -> Option<(i64, i64)> {
    let (last, key) = text.split_once('-')?;
    Some((last.parse().ok()?, key.parse().ok()?))
}

fn place_of(row: &Row<'_>) -> rusqlite::Result<Place> {
    Ok(Place { segment: row.get(0)?, offset: row.get(1)?, sequence: row.get(2)?, previous: row.get(3)? })
}

fn session_of(row: &Row<'_>) -> rusqlite::Result<Session> {
    Ok(Session {
        id: row.get(0)?,
        subject: row.get(1)?,
        issuer: row.get(2)?,
        owner: row.get(3)?,
        purpose: row.get(4)?,
        route: row.get(5)?,
        name: row.get(6)?,
        named_by: row.get(7)?,
        started: Timestamp(row.get(8)?).to_string(),
        last: Timestamp(row.get(9)?).to_string(),
        requests: row.get(10)?,
        decisions: Decisions {
            allow: row.get(11)?,
            block: row.get(12)?,
            approve: row.get(13)?,
            refuse: row.get(14)?,
        },
    })
}

fn exchange_of(row: &Row<'_>) -> rusqlite::Result<Exchange> {
    let started_us: u64 = row.get(5)?;
    let ended_us: Option<u64> = row.get(6)?;
    Ok(Exchange {
        id: ExchangeId(row.get(0)?).to_string(),
        session: row.get(1)?,
        subject: row.get(2)?,
        sequence: row.get(3)?,
        ended_sequence: row.get(4)?,
        started: Timestamp(started_us).to_string(),
        started_us,
        duration_us: ended_us.map(|ended| ended.saturating_sub(started_us)),
        method: row.get(7)?,
        target: row.get(8)?,
        route: row.get(9)?,
        upstream: row.get(10)?,
        purpose: row.get(11)?,
        decision: row.get(12)?,
        policy: row.get(13)?,
        status: row.get(14)?,
        cause: row.get(15)?,
        reason: row.get(16)?,
        request_bytes: row.get(17)?,
        response_bytes: row.get(18)?,
        approvals: Vec::new(),
    })
}

/// Times in questions, as RFC 3339 writes them.
mod rfc3339 {
    use crate::time::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(time: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => to.collect_str(time),
            None => to.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}

/// How an exchange ended, in one word.
pub(super) fn cause_name(cause: Cause) -> &'static str {
    match cause {
        Cause::Complete => "complete",
        Cause::ClientGone => "client_gone",
        Cause::UpstreamGone => "upstream_gone",
        Cause::Timeout => "timeout",
        Cause::Lost => "lost",
        Cause::Refused => "refused",
        Cause::ClientFault => "client_fault",
        Cause::UpstreamFault => "upstream_fault",
        Cause::Unmaskable => "unmaskable",
        Cause::Unrecorded => "unrecorded",
        Cause::Cut => "cut",
        Cause::Internal => "internal",
    }
}

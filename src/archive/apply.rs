//! Records become rows. The same records give the same rows, whenever and in however many goes they are read.

use super::{
    Error, approvals,
    follow::Batch,
    query::cause_name,
    session::{NamedBy, SessionId},
};
use crate::{
    audit::{Action, Decision, ExchangeId, Head, Intent, Outcome, Record, Refusal, Subject},
    http::Method,
};
use rusqlite::{Connection, OptionalExtension, params};

/// Enters one whole batch.
pub(super) fn batch(connection: &Connection, batch: &Batch) -> Result<(), Error> {
    let place = &batch.place;
    let mut is_listed = false;
    for (sequence, record) in &batch.records {
        let id = record.exchange();
        if id.is_none() && !matches!(record, Record::Config(_)) {
            continue;
        }
        if !is_listed {
            connection
                .prepare_cached(
                    "INSERT INTO batch (sequence, segment, offset, previous) VALUES (?, ?, ?, ?)",
                )?
                .execute(params![place.sequence, place.segment, place.offset, place.previous])?;
            is_listed = true;
        }
        if let Record::Config(config) = record {
            connection.execute(
                "INSERT INTO config (sequence, generation, batch) VALUES (?, ?, ?)",
                params![sequence, config.generation, place.sequence],
            )?;
        }
        let Some(id) = id else { continue };
        let exchange = exchange(connection, id)?;
        connection
            .prepare_cached("INSERT OR IGNORE INTO part (exchange, batch) VALUES (?, ?)")?
            .execute(params![exchange, place.sequence])?;
        match record {
            Record::Intent(intent) => admitted(connection, exchange, *sequence, intent)?,
            Record::Refusal(refusal) => refused(connection, exchange, *sequence, refusal)?,
            Record::Outcome(outcome) => ended(connection, exchange, *sequence, outcome)?,
            Record::Approval(_) | Record::Consume(_) => {
                approvals::enter(connection, exchange, *sequence, place.sequence, record)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Forgets what lay in segments before `oldest`, which were deleted.
pub(super) fn forget(connection: &Connection, oldest: u64) -> Result<(), Error> {
    connection.prepare_cached("DELETE FROM closed WHERE segment < ?")?.execute([oldest])?;
    remove(connection, "segment < ?", oldest)
}

/// Forgets what a segment holds that is encrypted, and remembers that there is more than is known.
pub(super) fn close(connection: &Connection, segment: u64) -> Result<(), Error> {
    let insert = "INSERT OR IGNORE INTO closed (segment) VALUES (?)";
    if connection.prepare_cached(insert)?.execute([segment])? > 0 {
        remove(connection, "segment = ?", segment)?;
    }
    Ok(())
}

/// Removes the batches that fit, and what is left without any.
fn remove(connection: &Connection, which: &str, segment: u64) -> Result<(), Error> {
    let batches = format!("SELECT sequence FROM batch WHERE {which}");
    let is_known = connection.prepare_cached(&format!("{batches} LIMIT 1"))?.exists([segment])?;
    if !is_known {
        return Ok(());
    }
    connection.execute(&format!("DELETE FROM part WHERE batch IN ({batches})"), [segment])?;
    connection.execute(&format!("DELETE FROM batch WHERE {which}"), [segment])?;
    connection.execute("DELETE FROM config WHERE batch NOT IN (SELECT sequence FROM batch)", [])?;
    connection.execute("DELETE FROM approval WHERE batch NOT IN (SELECT sequence FROM batch)", [])?;
    connection.execute(
        "DELETE FROM exchange WHERE NOT EXISTS (SELECT 1 FROM part WHERE part.exchange = exchange.key)",
        [],
    )?;
    connection.execute(
        "DELETE FROM session WHERE NOT EXISTS (SELECT 1 FROM exchange WHERE exchange.session = session.key)",
        [],
    )?;
    for (column, condition) in [
        ("requests", "1"),
        ("allow", "decision = 'allow'"),
        ("block", "decision = 'block'"),
        ("approve", "decision = 'approve'"),
        ("refuse", "decision = 'refuse'"),
    ] {
        let count = format!(
            "UPDATE session SET {column} = \
             (SELECT COUNT(*) FROM exchange WHERE exchange.session = session.key AND {condition})"
        );
        connection.execute(&count, [])?;
    }
    Ok(())
}

/// The row of an exchange, made where it is the first time that it is met.
fn exchange(connection: &Connection, id: ExchangeId) -> Result<i64, Error> {
    let known: Option<i64> = connection
        .prepare_cached("SELECT key FROM exchange WHERE id = ?")?
        .query_row([id.0], |row| row.get(0))
        .optional()?;
    if let Some(key) = known {
        return Ok(key);
    }
    connection
        .prepare_cached(
            "INSERT INTO exchange (id, started_us, request_bytes, response_bytes) VALUES (?, ?, 0, 0)",
        )?
        .execute(params![id.0, begun_us(id)])?;
    Ok(connection.last_insert_rowid())
}

/// When an exchange began: its id says so, to the millisecond.
pub(super) fn begun_us(id: ExchangeId) -> u64 {
    let milliseconds = id.0[..6].iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    milliseconds * 1_000
}

/// What INTENT and REFUSAL have in common.
struct Opening<'a> {
    sequence: u64,
    subject: Option<&'a Subject>,
    head: &'a Head,
    session: &'a str,
    decision: &'static str,
    policy: Option<&'a str>,
}

fn admitted(connection: &Connection, exchange: i64, sequence: u64, intent: &Intent) -> Result<(), Error> {
    let opening = Opening {
        sequence,
        subject: intent.subject.as_deref(),
        head: &intent.head,
        session: &intent.session,
        decision: action_name(intent.decision.action),
        policy: intent.decision.policy.as_deref(),
    };
    opened(connection, exchange, &opening)
}

fn refused(connection: &Connection, exchange: i64, sequence: u64, refusal: &Refusal) -> Result<(), Error> {
    let opening = Opening {
        sequence,
        subject: refusal.subject.as_deref(),
        head: &refusal.head,
        session: refusal.session.as_deref().unwrap_or(""),
        decision: decision_name(refusal.decision.as_ref()),
        policy: refusal.decision.as_ref().and_then(|decision| decision.policy.as_deref()),
    };
    opened(connection, exchange, &opening)?;
    let ended_us = refusal.at.0;
    connection
        .prepare_cached(
            "UPDATE exchange SET end_sequence = ?2, ended_us = ?3, status = ?4, cause = 'refused', \
             reason = ?5 WHERE key = ?1",
        )?
        .execute(params![exchange, sequence, ended_us, refusal.status, refusal.code])?;
    seen(connection, exchange, ended_us)
}

fn ended(connection: &Connection, exchange: i64, sequence: u64, outcome: &Outcome) -> Result<(), Error> {
    connection
        .prepare_cached(
            "UPDATE exchange SET end_sequence = ?2, ended_us = ?3, status = ?4, cause = ?5, reason = ?6, \
             request_bytes = ?7, response_bytes = ?8 WHERE key = ?1",
        )?
        .execute(params![
            exchange,
            sequence,
            outcome.at.0,
            outcome.status,
            cause_name(outcome.cause),
            outcome.reason.as_deref(),
            outcome.request.received,
            outcome.response.sent,
        ])?;
    seen(connection, exchange, outcome.at.0)
}

/// The session was active at that time.
fn seen(connection: &Connection, exchange: i64, at_us: u64) -> Result<(), Error> {
    connection
        .prepare_cached(
            "UPDATE session SET last_us = MAX(last_us, ?2) \
             WHERE key = (SELECT session FROM exchange WHERE key = ?1)",
        )?
        .execute(params![exchange, at_us])?;
    Ok(())
}

fn opened(connection: &Connection, exchange: i64, opening: &Opening<'_>) -> Result<(), Error> {
    let Opening { sequence, subject, head, session, decision, policy } = opening;
    let started_us: u64 = connection
        .prepare_cached("SELECT started_us FROM exchange WHERE key = ?")?
        .query_row([exchange], |row| row.get(0))?;
    let purpose = subject.and_then(|subject| subject.purpose.as_deref());
    let column = |name: &str| u8::from(name == *decision);
    let named_by = NamedBy::of(session, *subject, head);
    let session: i64 = connection
        .prepare_cached(
            "INSERT INTO session (id, issuer, subject, owner, purpose, name, named_by, route, started_us, \
             last_us, requests, allow, block, approve, refuse) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, 1, ?10, ?11, ?12, ?13) \
             ON CONFLICT (id) DO UPDATE SET \
             owner = COALESCE(excluded.owner, owner), purpose = COALESCE(excluded.purpose, purpose), \
             route = COALESCE(excluded.route, route), started_us = MIN(started_us, excluded.started_us), \
             last_us = MAX(last_us, excluded.last_us), requests = requests + 1, \
             allow = allow + excluded.allow, block = block + excluded.block, \
             approve = approve + excluded.approve, refuse = refuse + excluded.refuse \
             RETURNING key",
        )?
        .query_row(
            params![
                SessionId::new(*subject, session).as_str(),
                subject.map(|subject| &*subject.issuer),
                subject.map(|subject| &*subject.subject),
                subject.and_then(|subject| subject.owner.as_deref()),
                purpose,
                session,
                named_by.as_str(),
                head.route.as_deref(),
                started_us,
                column("allow"),
                column("block"),
                column("approve"),
                column("refuse"),
            ],
            |row| row.get(0),
        )?;
    connection
        .prepare_cached(
            "UPDATE exchange SET session = ?2, head_sequence = ?3, purpose = ?4, route = ?5, upstream = ?6, \
             method = ?7, target = ?8, decision = ?9, policy = ?10 WHERE key = ?1",
        )?
        .execute(params![
            exchange,
            session,
            sequence,
            purpose,
            head.route.as_deref(),
            head.upstream.as_deref(),
            head.method.as_ref().map(Method::as_str),
            head.target,
            decision,
            policy,
        ])?;
    Ok(())
}

fn action_name(action: Action) -> &'static str {
    match action {
        Action::Allow => "allow",
        Action::Block => "block",
        Action::Approve => "approve",
    }
}

/// The word of the access log: `refuse` where it never came to a policy.
fn decision_name(decision: Option<&Decision>) -> &'static str {
    decision.map_or("refuse", |decision| action_name(decision.action))
}

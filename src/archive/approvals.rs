//! What people decided about an exchange.

use super::{Error, query::Exchange};
use crate::{
    audit::{ExchangeId, Record},
    time::Timestamp,
};
use rusqlite::{Connection, params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One event of an approval that an exchange asked for or used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApprovalEvent {
    /// RFC 3339.
    pub at: String,
    /// `apr_…`, or `gra_…` of the grant that was used.
    pub approval: String,
    /// `asked`, `revised`, `approved`, `denied`, `expired`, `abandoned`, `restored` or `consumed`.
    pub event: String,
    /// Who decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Enters a record of an approval of `exchange`.
pub(super) fn enter(
    connection: &Connection,
    exchange: i64,
    sequence: u64,
    batch: u64,
    record: &Record,
) -> Result<(), Error> {
    let (at, approval, event, by, reason) = match record {
        Record::Approval(one) => {
            (one.at, &one.approval, one.event.as_str(), one.author.clone(), one.reason.as_deref())
        }
        Record::Consume(one) => (one.at, &one.approval, "consumed", None, None),
        _ => return Ok(()),
    };
    connection
        .prepare_cached(
            "INSERT INTO approval (sequence, batch, exchange, at_us, approval, event, author, reason) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![sequence, batch, exchange, at.0, &**approval, event, by.as_deref(), reason])?;
    Ok(())
}

/// Adds to each exchange what people decided about it.
pub(super) fn add(connection: &Connection, exchanges: &mut [Exchange]) -> Result<(), Error> {
    let held = exchanges.iter_mut().filter(|exchange| exchange.decision.as_deref() == Some("approve"));
    for exchange in held {
        let Ok(id) = exchange.id.parse::<ExchangeId>() else { continue };
        let mut query = connection.prepare_cached(
            "SELECT a.at_us, a.approval, a.event, a.author, a.reason FROM approval a \
             JOIN exchange e ON e.key = a.exchange WHERE e.id = ? ORDER BY a.sequence",
        )?;
        let rows = query.query_map([id.0], |row| {
            Ok(ApprovalEvent {
                at: Timestamp(row.get(0)?).to_string(),
                approval: row.get(1)?,
                event: row.get(2)?,
                by: row.get(3)?,
                reason: row.get(4)?,
            })
        })?;
        exchange.approvals = rows.collect::<Result<_, _>>()?;
    }
    Ok(())
}

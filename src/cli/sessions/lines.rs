//! Sessions and exchanges as lines for people. What comes from outside is shown, never obeyed.

use crate::{
    archive::{Exchange, Session},
    cli::inert,
};

/// A [`table`] of rows below a heading.
pub(in crate::cli) fn listing(heading: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let heading = heading.iter().map(|cell| (*cell).to_owned()).collect();
    table(&std::iter::once(heading).chain(rows).collect::<Vec<_>>())
}

/// A table: columns as wide as their widest cell, two spaces between, nothing behind the last.
pub(in crate::cli) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The heading of [`session`]s.
pub(super) fn session_heading() -> Vec<String> {
    ["SESSION", "STARTED", "REQUESTS", "SUBJECT", "PURPOSE", "ROUTE", "DECISIONS"].map(str::to_owned).to_vec()
}

/// One session as a row.
pub(super) fn session(session: &Session) -> Vec<String> {
    vec![
        session.id.clone(),
        clock(&session.started),
        session.requests.to_string(),
        shown(&session.subject),
        shown(&session.purpose),
        shown(&session.route),
        decisions(session),
    ]
}

/// `3 allow, 1 block`.
pub(super) fn decisions(session: &Session) -> String {
    let counts = &session.decisions;
    let named = [
        (counts.allow, "allow"),
        (counts.block, "block"),
        (counts.approve, "approve"),
        (counts.refuse, "refuse"),
    ];
    let parts = named.iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}"));
    parts.collect::<Vec<_>>().join(", ")
}

/// The heading of [`exchange`]s.
pub(super) fn exchange_heading() -> Vec<String> {
    ["TIME", "REQUEST", "STATUS", "DECISION", "TOOK", "SENT", ""].map(str::to_owned).to_vec()
}

/// One exchange as a row.
pub(super) fn exchange(exchange: &Exchange) -> Vec<String> {
    let status = exchange.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
    let decision = match (&exchange.decision, &exchange.policy) {
        (Some(decision), Some(policy)) => format!("{decision} ({policy})"),
        (Some(decision), None) => decision.clone(),
        _ => "-".to_owned(),
    };
    let took = exchange.duration_us.map_or_else(|| "runs".to_owned(), duration);
    vec![
        clock(&exchange.started),
        exchange.id.clone(),
        status,
        inert::line(&decision),
        took,
        size(exchange.response_bytes),
        inert::line(&what(exchange)),
    ]
}

/// The heading of [`approvals`].
pub(super) fn approval_heading() -> Vec<String> {
    ["TIME", "REQUEST", "APPROVAL", "EVENT", "BY", "REASON"].map(str::to_owned).to_vec()
}

/// What people decided about one exchange, a row for each event.
pub(super) fn approvals(exchange: &Exchange) -> impl Iterator<Item = Vec<String>> + '_ {
    exchange.approvals.iter().map(|event| {
        vec![
            clock(&event.at),
            exchange.id.clone(),
            inert::line(&event.approval),
            event.event.clone(),
            shown(&event.by),
            shown(&event.reason),
        ]
    })
}

/// `POST /v1/messages`, with how it ended where that was not well.
pub(super) fn what(exchange: &Exchange) -> String {
    let method = exchange.method.as_deref().unwrap_or("?");
    let target = exchange.target.as_deref().filter(|target| !target.is_empty()).unwrap_or("-");
    let ended = match exchange.cause.as_deref() {
        None | Some("complete") => String::new(),
        Some(cause) => match exchange.reason.as_deref().filter(|reason| !reason.is_empty()) {
            Some(reason) => format!("  [{cause}: {reason}]"),
            None => format!("  [{cause}]"),
        },
    };
    format!("{method} {target}{ended}")
}

/// A text that may be absent, in one line.
pub(super) fn shown(text: &Option<String>) -> String {
    text.as_deref().map_or_else(|| "-".to_owned(), inert::line)
}

/// `2026-11-22 04:30:12` of a time in RFC 3339.
pub(in crate::cli) fn clock(time: &str) -> String {
    time.get(..19).unwrap_or(time).replace('T', " ")
}

/// Microseconds with three digits at most.
pub(super) fn duration(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} us"),
        1_000..1_000_000 => format!("{} ms", us / 1_000),
        _ => format!("{:.1} s", us as f64 / 1e6),
    }
}

/// A number of things: "1 record", "2 records".
pub(in crate::cli) fn counted(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

/// Bytes with their unit.
pub(in crate::cli) fn size(bytes: u64) -> String {
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1_024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stand_below_each_other_and_are_inert() {
        let exchange = Exchange {
            id: "req_1".into(),
            started: "2026-11-22T04:30:12.123000Z".into(),
            method: Some("GET".into()),
            target: Some("/\x1b[2Jx\u{202e}".into()),
            cause: Some("client_gone".into()),
            reason: Some("reset\n".into()),
            ..Exchange::default()
        };
        let text = table(&[exchange_heading(), super::exchange(&exchange)]);
        let expected = "TIME                 REQUEST  STATUS  DECISION  TOOK  SENT\n\
                        2026-11-22 04:30:12  req_1    -       -         runs  0 B   \
                        GET /\\x1b[2Jx\\u{202e}  [client_gone: reset\\x0a]\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn amounts_are_short() {
        let cases = [(7, "7 us"), (7_900, "7 ms"), (1_250_000, "1.2 s")];
        cases.iter().for_each(|(us, text)| assert_eq!(duration(*us), *text));
        let cases = [(7, "7 B"), (1_536, "1.5 KiB"), (3 << 20, "3.0 MiB")];
        cases.iter().for_each(|(bytes, text)| assert_eq!(size(*bytes), *text));
    }
}

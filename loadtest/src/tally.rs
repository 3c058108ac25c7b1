//! What a run counts: histograms and counters, never lists, so that a long run takes no more memory than a
//! short one.

use crate::{limits, wire};
use hdrhistogram::Histogram;
use std::collections::BTreeMap;

/// Why a request did not end as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No connection.
    Connect,
    /// No TLS session: certificate, protocol.
    Tls,
    /// No whole answer in time.
    Timeout,
    /// The connection ended or was reset before the answer did.
    Closed,
    /// The answer is not HTTP/1.1.
    Protocol,
    /// An answer with a status of 400 or more that `--expect` does not name.
    Status,
    /// A stream of events without its last event, or with an error in it.
    Stream,
    /// The run ended before the answer did.
    Unfinished,
}

impl Kind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Kind; 8] = [
        Kind::Connect,
        Kind::Tls,
        Kind::Timeout,
        Kind::Closed,
        Kind::Protocol,
        Kind::Status,
        Kind::Stream,
        Kind::Unfinished,
    ];

    /// The name in reports and files.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Connect => "connect",
            Kind::Tls => "tls",
            Kind::Timeout => "timeout",
            Kind::Closed => "closed",
            Kind::Protocol => "protocol",
            Kind::Status => "status",
            Kind::Stream => "stream",
            Kind::Unfinished => "unfinished",
        }
    }

    /// The kind of a malformed answer.
    pub fn of(error: wire::Error) -> Kind {
        if error == wire::Error::Truncated { Kind::Closed } else { Kind::Protocol }
    }
}

/// A histogram of nanoseconds: three digits from a microsecond to an hour, in at most 300 KiB.
pub fn histogram() -> Histogram<u64> {
    let most = u64::try_from(limits::TIME_MAX.as_nanos()).unwrap_or(u64::MAX);
    // The bounds are constants that the constructor takes.
    Histogram::new_with_bounds(1_000, most, 3).unwrap_or_else(|_| unreachable!("constant bounds"))
}

fn add(own: &mut Histogram<u64>, other: &Histogram<u64>) {
    // It only fails where bounds differ, and all histograms here have the same.
    let added = own.add(other);
    debug_assert!(added.is_ok());
}

/// One request of a mix, counted by itself.
#[derive(Clone, Debug)]
pub struct ByRequest {
    pub name: String,
    pub done: u64,
    pub errors: u64,
    pub response: Histogram<u64>,
}

/// One second of a run.
#[derive(Clone, Debug)]
pub struct Interval {
    /// Seconds since the beginning.
    pub second: u64,
    pub sent: u64,
    pub done: u64,
    pub errors: u64,
    pub response: Histogram<u64>,
}

impl Interval {
    /// One in which nothing has happened yet.
    pub fn new(second: u64) -> Interval {
        Interval { second, sent: 0, done: 0, errors: 0, response: histogram() }
    }

    /// Adds what another worker counted in the same second.
    pub fn add(&mut self, other: &Interval) {
        self.sent += other.sent;
        self.done += other.done;
        self.errors += other.errors;
        add(&mut self.response, &other.response);
    }
}

/// How one whole answer came.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answered {
    /// From the intended send to the last byte, nanoseconds.
    pub response_ns: u64,
    /// From the send itself to the last byte.
    pub service_ns: u64,
}

/// All that one worker counts of one target, or all workers together.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Requests that were sent, or would have been had there been a connection.
    pub sent: u64,
    /// Whole answers, whatever their status.
    pub done: u64,
    /// Requests that were due and never sent.
    pub dropped: u64,
    /// Requests that were sent again because a connection that was kept had been closed meanwhile.
    pub resent: u64,
    /// Connections that were opened.
    pub connections: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    /// Events of streams that were tokens.
    pub tokens: u64,
    pub errors: [u64; Kind::ALL.len()],
    pub statuses: BTreeMap<u16, u64>,
    pub decisions: BTreeMap<String, u64>,
    pub response: Histogram<u64>,
    pub service: Histogram<u64>,
    pub ttft: Histogram<u64>,
    pub inter_token: Histogram<u64>,
    pub stages: BTreeMap<String, Histogram<u64>>,
    pub requests: Vec<ByRequest>,
}

impl Tally {
    /// One that has counted nothing, for requests of these names (none: not told apart).
    pub fn new(names: &[String]) -> Tally {
        let by_name =
            |name: &String| ByRequest { name: name.clone(), done: 0, errors: 0, response: histogram() };
        Tally {
            sent: 0,
            done: 0,
            dropped: 0,
            resent: 0,
            connections: 0,
            bytes_sent: 0,
            bytes_received: 0,
            tokens: 0,
            errors: [0; Kind::ALL.len()],
            statuses: BTreeMap::new(),
            decisions: BTreeMap::new(),
            response: histogram(),
            service: histogram(),
            ttft: histogram(),
            inter_token: histogram(),
            stages: BTreeMap::new(),
            requests: names.iter().map(by_name).collect(),
        }
    }

    /// All errors.
    pub fn errors(&self) -> u64 {
        self.errors.iter().sum()
    }

    /// Counts a whole answer as it should be.
    pub fn answer(&mut self, request: usize, answered: Answered) {
        self.response.saturating_record(answered.response_ns);
        self.service.saturating_record(answered.service_ns);
        if let Some(request) = self.requests.get_mut(request) {
            request.done += 1;
            request.response.saturating_record(answered.response_ns);
        }
    }

    /// Counts an error.
    pub fn error(&mut self, request: usize, kind: Kind) {
        self.errors[kind as usize] += 1;
        if let Some(request) = self.requests.get_mut(request) {
            request.errors += 1;
        }
    }

    /// Counts a decision by name, so many names at most.
    pub fn decision(&mut self, name: &str) {
        if let Some(count) = self.decisions.get_mut(name) {
            *count += 1;
            return;
        }
        let name = if self.decisions.len() < limits::DECISIONS_MAX { name } else { "other" };
        *self.decisions.entry(name.to_owned()).or_default() += 1;
    }

    /// Counts one stage, so many stages at most.
    pub fn stage(&mut self, name: &str, ns: u64) {
        if !self.stages.contains_key(name) {
            if self.stages.len() == limits::STAGES_MAX {
                return;
            }
            self.stages.insert(name.to_owned(), histogram());
        }
        if let Some(stage) = self.stages.get_mut(name) {
            stage.saturating_record(ns);
        }
    }

    /// Adds what another worker counted.
    pub fn add(&mut self, other: &Tally) {
        self.sent += other.sent;
        self.done += other.done;
        self.dropped += other.dropped;
        self.resent += other.resent;
        self.connections += other.connections;
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
        self.tokens += other.tokens;
        for (own, other) in self.errors.iter_mut().zip(other.errors) {
            *own += other;
        }
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        for (decision, count) in &other.decisions {
            *self.decisions.entry(decision.clone()).or_default() += count;
        }
        for (own, other) in [
            (&mut self.response, &other.response),
            (&mut self.service, &other.service),
            (&mut self.ttft, &other.ttft),
            (&mut self.inter_token, &other.inter_token),
        ] {
            add(own, other);
        }
        for (name, stage) in &other.stages {
            add(self.stages.entry(name.clone()).or_insert_with(histogram), stage);
        }
        for (own, other) in self.requests.iter_mut().zip(&other.requests) {
            own.done += other.done;
            own.errors += other.errors;
            add(&mut own.response, &other.response);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_stand_at_their_numbers() {
        for (number, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, number, "{}", kind.name());
        }
    }

    #[test]
    fn sums_of_workers_hold_what_each_counted() {
        let names = ["a".to_owned(), "b".to_owned()];
        let (mut one, mut other) = (Tally::new(&names), Tally::new(&names));
        one.answer(0, Answered { response_ns: 2_000_000, service_ns: 1_000_000 });
        other.answer(1, Answered { response_ns: 4_000_000, service_ns: 3_000_000 });
        other.error(1, Kind::Timeout);
        other.decision("block");
        other.stage("body", 5_000);
        (0..40).for_each(|number| other.decision(&number.to_string()));
        one.add(&other);
        assert_eq!((one.response.len(), one.service.len(), one.errors()), (2, 2, 1));
        assert!(one.response.equivalent(one.response.max(), 4_000_000));
        assert_eq!((one.requests[0].done, one.requests[1].done, one.requests[1].errors), (1, 1, 1));
        assert_eq!(one.decisions.len(), limits::DECISIONS_MAX + 1);
        assert_eq!((one.decisions["block"], one.decisions["other"]), (1, 25));
        assert_eq!(one.stages["body"].len(), 1);
    }
}

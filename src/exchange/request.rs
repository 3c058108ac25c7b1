//! The request's body: gathered for the policy, or masked, recorded and forwarded as it comes.

use super::{
    Arrival, Ask, Exchange, Side, Stage, Step, Steps, Surroundings, Unavailable, flow, plan::Recording,
};
use crate::{
    audit::{Direction, Record},
    buffer::{Budget, Chunk, Held, Segments},
    metrics::Limit,
    protocol::Code,
    time::Now,
};

/// A body that the policy waits for, and its memory in the budget of the shard.
#[derive(Default)]
pub struct Gathered {
    bytes: Vec<u8>,
    held: Option<Held>,
}

impl Gathered {
    fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The body. Its memory stays counted until [`Gathered::release`].
    fn take(&mut self) -> Chunk {
        Chunk::from(std::mem::take(&mut self.bytes))
    }

    /// The body is gone, or on its way to be.
    pub fn release(&mut self) {
        *self = Gathered::default();
    }
}

impl Exchange {
    pub(super) fn request_body(
        &mut self,
        around: &mut Surroundings<'_>,
        data: Segments,
        end: bool,
        steps: &mut Steps,
    ) {
        match std::mem::replace(&mut self.stage, Stage::Ended) {
            Stage::Body(mut arrival) => {
                let (data, end) = match self.request.decode(data, end) {
                    Ok(decoded) => decoded,
                    Err(error) => return self.refuse(Code::BodyUnreadable, error.to_string(), steps),
                };
                arrival.end = end;
                if self.is_too_large((self.gathered.len() + data.len_bytes()) as u64) {
                    return self.refuse_too_large(steps);
                }
                if end && self.gathered.len() == 0 && data.count() <= 1 {
                    arrival.data = data;
                    return self.decide_body(around, arrival, self.needs, steps);
                }
                if !self.gather(around.memory, &data) {
                    return self.refuse_unmemorable(steps);
                }
                if end {
                    arrival.data = self.gathered.take().into();
                    return self.decide_body(around, arrival, self.needs, steps);
                }
                self.stage = Stage::Body(arrival);
                steps.push(Step::ReadBody);
            }
            Stage::Open => {
                self.stage = Stage::Open;
                if self.stop(around.now, steps) {
                    return;
                }
                self.stream_body(around.now, data, end, steps);
            }
            // The body of a request that was answered already is read by nobody.
            stage => self.stage = stage,
        }
    }

    /// Takes in what came of a body that the policy reads, into one buffer of our own: pieces would each hold
    /// on to the whole buffer they were received in, and the policy wants them joined anyway. False if the
    /// shard has no memory for it.
    pub(super) fn gather(&mut self, memory: &Budget, data: &Segments) -> bool {
        let held = self.gathered.held.get_or_insert_with(|| memory.hold(0));
        if !held.try_grow(data.len_bytes()) {
            return false;
        }
        for chunk in data.iter() {
            self.request.tally.copy_for_policy(&mut self.gathered.bytes, chunk);
        }
        self.request.gathered += data.len_bytes() as u64;
        true
    }

    pub(super) fn refuse_unmemorable(&mut self, steps: &mut Steps) {
        self.ending.limit = Some(Limit::MemoryBody);
        let detail = "The gateway has no memory for a body of this size now: memory_body.";
        self.refuse(Code::Overloaded, detail, steps);
    }

    fn stream_body(&mut self, now: Now, data: Segments, end: bool, steps: &mut Steps) {
        let received = self.request.received + data.len_bytes() as u64;
        let decoded = self.request.decode(data, end);
        if self.is_too_large(received.max(self.request.decoded_bytes())) {
            let detail = self.too_large();
            return self.cut_request(now, Code::BodyTooLarge, &detail, steps);
        }
        let passed = decoded.and_then(|(data, end)| Ok((self.request.push(data, end)?, end)));
        let (data, end) = match passed {
            Ok(passed) => passed,
            Err(error) => return self.cut_request(now, Code::BodyUnreadable, &error.to_string(), steps),
        };
        if data.is_empty() && !end {
            return;
        }
        match self.recording() {
            Recording::On { commit, .. } if !self.request.recorded_of(&data).is_empty() => {
                let record = self.content(now, Direction::Request, &data, None);
                self.unrecorded = Some((data, end));
                self.ask(Ask::Record(vec![record], commit), steps);
            }
            _ => {
                self.request.take_edits();
                steps.push(Step::ForwardBody { data, end });
            }
        }
    }

    /// The record of body bytes was acknowledged (or not): only now may they go upstream.
    pub(super) fn request_recorded(&mut self, now: Now, result: Result<u64, Unavailable>, steps: &mut Steps) {
        let Some((data, end)) = self.unrecorded.take() else { return };
        match result {
            Ok(_) => steps.push(Step::ForwardBody { data, end }),
            Err(_) => {
                let detail = "The audit journal takes no records, so the rest is not forwarded.";
                self.cut_request(now, Code::AuditUnavailable, detail, steps)
            }
        }
    }

    /// Keeps a request that a policy refused, if all of its body is there: what was refused is worth as much
    /// to an auditor as what was forwarded.
    pub(super) fn keep_refused(&mut self, arrival: Arrival) {
        let is_whole = self.request.ended && !arrival.data.is_empty();
        if is_whole && self.recording() != Recording::Off {
            self.refused = Some(Box::new(arrival));
        }
    }

    /// CONTENT of a refused body, masked as it would have gone upstream. A body that cannot be masked is
    /// committed to and not stored.
    pub(super) fn refused_body(&mut self, now: Now) -> Option<Record> {
        let Arrival { mut head, mut data, mut end } = *self.refused.take()?;
        let route = self.route.clone()?;
        // Nothing was forwarded: neither the log line nor a metric counts these bytes and masks.
        let counted = std::mem::take(&mut self.request);
        self.request.removed(counted.removals());
        let inspected = self.inspect_request(&mut head, &mut data, &mut end, &route).is_ok();
        let masked = if inspected { self.push_all(data.clone(), end).ok() } else { None };
        let is_masked = masked.is_some();
        let mut record = self.content(now, Direction::Request, &masked.unwrap_or(data), None);
        if let Record::Content(content) = &mut record {
            content.keep &= is_masked;
        }
        self.request = counted;
        Some(record)
    }

    /// All that comes of a whole request's body, of which `data` is the first.
    fn push_all(&mut self, data: Segments, end: bool) -> Result<Segments, flow::Error> {
        let mut all = self.request.push(data, end)?;
        while self.request.is_decoding() {
            let (data, end) = self.request.decode(Segments::new(), false)?;
            all.append(self.request.push(data, end)?);
        }
        Ok(all)
    }

    /// Ends a request whose first bytes went upstream: upstream is cut, the caller learns why if it still
    /// can.
    fn cut_request(&mut self, now: Now, code: Code, detail: &str, steps: &mut Steps) {
        steps.push(Step::Abort(Side::Upstream));
        if self.ending.responded {
            self.break_off(now, code, detail, steps);
        } else {
            self.refuse(code, detail, steps);
        }
    }

    pub(super) fn is_too_large(&self, bytes: u64) -> bool {
        self.route.as_ref().is_some_and(|route| bytes > route.body_bytes_max)
    }

    pub(super) fn refuse_too_large(&mut self, steps: &mut Steps) {
        self.refuse(Code::BodyTooLarge, self.too_large(), steps);
    }

    fn too_large(&self) -> String {
        let max = self.route.as_ref().map_or(0, |route| route.body_bytes_max);
        format!("The request body is larger than the {max} bytes that this route accepts.")
    }

    pub(super) fn recording(&self) -> Recording {
        self.route.as_ref().map_or(Recording::Off, |route| route.record)
    }
}

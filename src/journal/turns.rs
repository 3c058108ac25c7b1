//! Who is next: records that wait for the next batch, taken in turns from all that have some.

use super::producer::Submission;
use std::collections::{BTreeMap, VecDeque};

/// Bytes that one party may put into a batch before the next one has its turn.
const TURN_BYTES: isize = 64 << 10;
/// Empty queues that are kept.
const SPARES_MAX: usize = 16;
/// What a record counts beside its body.
const RECORD_BYTES: usize = 512;

/// A lane, and a share of it.
type Key = (usize, u32);

/// Records of all lanes, in a queue for each party. In one queue for all, a party that floods it would make
/// everybody else wait until its own records are written.
///
/// This is round robin by bytes: whoever took more than its turn pays with the turns that follow, as long as
/// it has something waiting.
#[derive(Debug, Default)]
pub(super) struct Turns {
    flows: BTreeMap<Key, Flow>,
    /// Memory of queues that are empty.
    spare: Vec<VecDeque<Submission>>,
    /// Those that have something waiting, the next one first.
    round: VecDeque<Key>,
}

#[derive(Debug)]
struct Flow {
    queue: VecDeque<Submission>,
    /// Bytes that it may still take; below zero, what it took too much.
    credit: isize,
}

impl Turns {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.round.is_empty()
    }

    /// Queues a record that came from `lane`. Those of one share stay in their order.
    pub(super) fn push(&mut self, lane: usize, submission: Submission) {
        let key = (lane, submission.share);
        let flow = self.flows.entry(key).or_insert_with(|| {
            self.round.push_back(key);
            Flow { queue: self.spare.pop().unwrap_or_default(), credit: TURN_BYTES }
        });
        flow.queue.push_back(submission);
    }

    /// The next record, and its lane.
    pub(super) fn next(&mut self) -> Option<(usize, Submission)> {
        loop {
            let key = *self.round.front()?;
            let Some(flow) = self.flows.get_mut(&key) else {
                self.round.pop_front();
                continue;
            };
            if flow.credit <= 0 {
                flow.credit += TURN_BYTES;
                self.round.rotate_left(1);
                continue;
            }
            let submission = flow.queue.pop_front();
            if let Some(submission) = &submission {
                flow.credit -= (submission.record.body_bytes() + RECORD_BYTES) as isize;
            }
            if flow.queue.is_empty() {
                let flow = self.flows.remove(&key);
                self.spare.extend(flow.map(|flow| flow.queue).filter(|_| self.spare.len() < SPARES_MAX));
                self.round.pop_front();
            }
            if let Some(submission) = submission {
                return Some((key.0, submission));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Commit, Record, samples};

    fn submission(share: u32, ticket: u64, bytes: usize) -> Submission {
        let record = match bytes {
            0 => samples::intent(1),
            _ => Record::Content(Box::new(samples::content(1, &vec![b'x'; bytes], true))),
        };
        Submission { share, ticket, commit: Commit::Written, record }
    }

    /// Lanes, shares and tickets, in the order in which they are taken.
    fn drain(turns: &mut Turns) -> Vec<(usize, u32, u64)> {
        std::iter::from_fn(|| turns.next()).map(|(lane, one)| (lane, one.share, one.ticket)).collect()
    }

    #[test]
    fn records_of_one_party_keep_their_order() {
        let mut turns = Turns::default();
        for ticket in 0..10 {
            turns.push(0, submission(1, ticket, if ticket % 3 == 0 { 100_000 } else { 0 }));
        }
        assert_eq!(drain(&mut turns), (0..10).map(|ticket| (0, 1, ticket)).collect::<Vec<_>>());
        assert!(turns.is_empty());
    }

    #[test]
    fn who_comes_last_waits_for_one_turn_of_each_and_not_for_all_that_they_have() {
        let mut turns = Turns::default();
        for ticket in 0..1_000 {
            turns.push(0, submission(1, ticket, 60_000));
            turns.push(1, submission(1, ticket, 60_000));
        }
        turns.push(0, submission(2, 0, 0));
        let place = drain(&mut turns).iter().position(|one| *one == (0, 2, 0)).unwrap();
        assert!(place <= 4, "two of each flood: {place}");
    }

    #[test]
    fn bytes_are_shared_out_evenly_and_not_records() {
        let mut turns = Turns::default();
        for ticket in 0..400 {
            turns.push(0, submission(1, ticket, 300_000));
            (0..8).for_each(|_| turns.push(0, submission(2, ticket, 30_000)));
        }
        let order = drain(&mut turns);
        let bytes = |share: u32| order[..1_000].iter().filter(|one| one.1 == share).count();
        let (large, small) = (bytes(1) * 300_000, bytes(2) * 30_000);
        let apart = large.abs_diff(small);
        assert!(apart <= 2 * 300_000 + 2 * TURN_BYTES as usize, "{large} and {small}");
    }

    #[test]
    fn a_debt_ends_with_the_queue() {
        let mut turns = Turns::default();
        turns.push(0, submission(1, 0, 32 << 20));
        assert_eq!(drain(&mut turns), [(0, 1, 0)]);
        turns.push(0, submission(1, 1, 0));
        turns.push(0, submission(2, 2, 0));
        assert_eq!(drain(&mut turns), [(0, 1, 1), (0, 2, 2)]);
    }
}

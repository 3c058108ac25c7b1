//! What an agent says again with every turn: it is judged once, and what a policy blocked is taken out of
//! later turns.

use super::{Arrival, Exchange, plan::Route};
use crate::{
    approval::{Setting, Turn},
    audit,
    buffer::Chunk,
    policy::{self, BodyFacts, Decision, HeadFacts, Needs, Removal, Ruling, Unreadable},
};
use std::{ops::Range, sync::Arc};

/// A body that was judged.
pub(super) struct Judged {
    pub(super) decision: Decision,
    /// What goes on in its place, where something was taken out of it.
    pub(super) replaced: Option<Replaced>,
}

/// A body without what was blocked in former turns.
pub(super) struct Replaced {
    body: Vec<u8>,
    removals: Vec<Removal>,
}

/// What was said in this request, and what is known of it.
pub(super) struct Said {
    /// What it is remembered by; nothing for a request from the record.
    turn: Option<Turn>,
    /// Blocks, from the first one, that were judged in former turns.
    pub(super) passed: usize,
    /// Blocks with what stands in their place, and the policies that blocked them.
    removed: Vec<(usize, String)>,
    /// How many blocks there are.
    count: usize,
    /// Those for which it was not allowed.
    pub(super) blamed: Vec<usize>,
    /// Whether all of these could be taken out.
    is_removable: bool,
    /// Stands for what is new.
    pub(super) asked: Option<[u8; 32]>,
}

/// What the record says was known when a request was decided.
#[derive(Clone, Debug, Default)]
pub(super) struct Then {
    passed: usize,
    removed: Vec<(usize, String)>,
}

impl Then {
    /// What a recorded decision says.
    pub(super) fn of(decision: Option<&audit::Decision>) -> Then {
        let removed = decision.iter().flat_map(|decision| &decision.removed);
        Then {
            passed: decision.map_or(0, |decision| usize::try_from(decision.passed).unwrap_or(usize::MAX)),
            removed: removed.map(|one| (one.block as usize, one.policy.to_string())).collect(),
        }
    }
}

impl Said {
    /// The blocks that were not judged before.
    pub(super) fn fresh(&self) -> Range<usize> {
        self.passed..self.count
    }

    /// As the log names them.
    pub(super) fn removed(&self) -> impl Iterator<Item = audit::Removed> + '_ {
        let record = |(block, policy): &(usize, String)| audit::Removed {
            block: *block as u64,
            policy: policy.as_str().into(),
        };
        self.removed.iter().map(record)
    }

    fn marks(&self) -> Vec<(usize, String)> {
        self.removed.iter().map(|(block, policy)| (*block, policy::mark(policy))).collect()
    }
}

impl Exchange {
    /// Decides on a request whose body is `body`.
    ///
    /// # Errors
    /// The caller's: the body cannot be read.
    pub(super) fn judge(
        &mut self,
        arrival: &Arrival,
        body: &[u8],
        needs: Needs,
        route: &Arc<Route>,
    ) -> Result<Judged, Unreadable> {
        let mut replaced = None;
        let headers = &arrival.head.headers;
        let mut facts = BodyFacts::from_request(headers, body, needs)?;
        let mut said = self.recognise(&mut facts, needs, route, &self.head_facts(arrival));
        if let Some(known) = &mut said {
            if self.then.is_none() && !known.removed.is_empty() {
                replaced = self.replace(&mut facts, body, known);
            }
            let bytes = replaced.as_ref().map_or(body, |replaced: &Replaced| &replaced.body);
            if replaced.is_some() {
                facts = BodyFacts::from_request(headers, bytes, needs)?;
                facts.read_blocks(needs);
            }
            facts.pass(known.passed, &known.marks());
        }
        let facts = facts.gather(needs, route.rules.searches_judged())?;
        let decision = route.rules.decide(&self.head_facts(arrival), &facts);
        if let Some(known) = &mut said {
            let bytes = replaced.as_ref().map_or(body, |replaced| &replaced.body);
            self.blame(known, &decision, &facts, bytes, route);
        }
        self.said = said.map(Box::new);
        Ok(Judged { decision, replaced })
    }

    /// What is known of the conversation in a body; `None` where nothing is to be remembered.
    fn recognise(
        &self,
        facts: &mut BodyFacts<'_>,
        needs: Needs,
        route: &Route,
        head: &HeadFacts<'_>,
    ) -> Option<Said> {
        let count = if route.remembers && needs.decides { facts.read_blocks(needs) } else { 0 };
        let principal = self.principal.as_deref().filter(|_| count > 0)?;
        let (turn, passed, removed) = match &self.then {
            Some(then) => (None, then.passed.min(count), then.removed.clone()),
            None => {
                let setting = Setting {
                    issuer: &principal.issuer,
                    subject: &principal.subject,
                    route: &route.digest,
                    rules: &route.rules_digest,
                    circumstances: &route.rules.circumstances(head, facts),
                };
                let tells = route.rules.tells_forms();
                let write = |index: usize, out: &mut dyn FnMut(&[u8])| facts.write_block(index, tells, out);
                let turn = self.plan.conversations.turn(setting, count, &write)?;
                let (passed, removed) = (turn.passed, turn.removed.clone());
                (Some(turn), passed, removed)
            }
        };
        let (blamed, asked) = Default::default();
        Some(Said { turn, passed, removed, count, blamed, is_removable: false, asked })
    }

    /// Takes out what was blocked. What cannot be taken out is judged again, with all that is beside it.
    fn replace(&self, facts: &mut BodyFacts<'_>, body: &[u8], known: &mut Said) -> Option<Replaced> {
        match policy::remove(facts, body, &known.marks()) {
            Some((body, removals)) => Some(Replaced { body, removals }),
            None => {
                (known.passed, known.removed) = (0, Vec::new());
                if let Some(turn) = &mut known.turn {
                    (turn.passed, turn.removed) = (0, Vec::new());
                }
                None
            }
        }
    }

    /// Finds out for which blocks a request is not allowed.
    fn blame(
        &self,
        known: &mut Said,
        decision: &Decision,
        facts: &BodyFacts<'_>,
        body: &[u8],
        route: &Route,
    ) {
        if decision.ruling == Ruling::Allow {
            return;
        }
        known.blamed = route.rules.blamed(&decision.policy, facts);
        let mark = policy::mark(&decision.policy);
        let is_new = known.blamed.iter().all(|block| known.removed.iter().all(|(gone, _)| gone != block));
        let blamed: Vec<_> = known.blamed.iter().map(|block| (*block, mark.clone())).collect();
        known.is_removable = is_new && !blamed.is_empty() && policy::remove(facts, body, &blamed).is_some();
        if let (Ruling::Approve { .. }, Some(turn)) = (&decision.ruling, &known.turn) {
            let tells = route.rules.tells_forms();
            let write = |index: usize, out: &mut dyn FnMut(&[u8])| facts.write_block(index, tells, out);
            known.asked = self.plan.conversations.asked(turn, &write);
        }
    }

    /// What is without what was blocked goes on in the place of what arrived.
    pub(super) fn put(&mut self, replaced: Replaced, arrival: &mut Arrival) {
        let kept = self.facts.headers.as_deref_mut();
        for headers in [&mut arrival.head.headers].into_iter().chain(kept) {
            ["content-md5", "digest", "content-digest", "repr-digest"].iter().for_each(|name| {
                headers.remove(name);
            });
        }
        self.request.removed(&replaced.removals);
        self.request.tally.copied += replaced.body.len() as u64;
        arrival.data = Chunk::from(replaced.body).into();
    }

    /// The request goes upstream: what it says has passed.
    pub(super) fn remember_passage(&self) {
        if let Some(turn) = self.said.as_ref().and_then(|said| said.turn.as_ref()) {
            self.plan.conversations.pass(turn);
        }
    }

    /// The request was refused for what it says.
    pub(super) fn remember_refusal(&self) {
        if let (Some(said), Some(decision)) = (&self.said, &self.decision)
            && let (Some(turn), true) = (&said.turn, said.is_removable)
        {
            self.plan.conversations.refuse(turn, &said.blamed, &decision.policy);
        }
    }
}

use super::body::{BodyFacts, View};
use super::compile::{self, RuleError};
use super::condition::{BodyCondition, HeadCondition};
use super::{
    Action, Decision, DryRun, Evaluated, HeadFacts, HeadVerdict, Needs, Outcome, Rule, Ruling, text,
};
use crate::protocol::Protocol;
use smallvec::SmallVec;
use std::sync::Arc;

/// The policies of one route, compiled. They are tried in order, the first whose conditions hold decides.
#[derive(Debug)]
pub struct RuleSet {
    policies: Vec<Policy>,
}

/// One compiled policy.
#[derive(Debug)]
pub(super) struct Policy {
    pub(super) name: Arc<str>,
    pub(super) place: Arc<str>,
    pub(super) ruling: Ruling,
    pub(super) dry_run: bool,
    pub(super) head: Vec<HeadCondition>,
    pub(super) body: Vec<BodyCondition>,
    /// What the body conditions need; nothing if there are none.
    pub(super) needs: Needs,
    /// What each condition is called in records, those of the head first.
    pub(super) labels: Vec<Arc<str>>,
}

/// What was found out on the way to a decision.
#[derive(Default)]
struct Trail {
    dry_runs: SmallVec<[DryRun; 1]>,
    evaluated: SmallVec<[Evaluated; 8]>,
}

impl RuleSet {
    /// Compiles a route's policies, in the order in which they are tried.
    ///
    /// # Errors
    /// [`RuleError`] names the policy by its index and what is wrong with it; the config is at fault. Also
    /// when the policies can fall through (there is no default allow), and when one can never be reached.
    pub fn compile(rules: &[Rule], protocol: Protocol) -> Result<RuleSet, RuleError> {
        Ok(RuleSet { policies: compile::policies(rules, protocol)? })
    }

    /// Decides on the head alone, as far as no body can change it. Allocates nothing while at most 24
    /// conditions are looked at and one policy is under trial.
    pub fn decide_head(&self, head: &HeadFacts<'_>) -> HeadVerdict {
        let mut trail = Trail::default();
        let mut needs = Needs::default();
        for (index, policy) in self.policies.iter().enumerate() {
            if !policy.holds_on_head(index, head, &mut trail) {
                continue;
            }
            if policy.needs.any() {
                needs = needs.and(policy.needs);
            } else if policy.dry_run {
                trail.dry_runs.push(policy.dry());
            } else if needs.any() {
                break;
            } else {
                return HeadVerdict::Decided(policy.decision(trail));
            }
        }
        HeadVerdict::NeedsBody(needs)
    }

    /// Decides on the whole request. `body` must have been read with the needs that
    /// [`RuleSet::decide_head`] gave for this head.
    pub fn decide(&self, head: &HeadFacts<'_>, body: &BodyFacts<'_>) -> Decision {
        let mut trail = Trail::default();
        let mut last = None;
        for (index, policy) in self.policies.iter().enumerate() {
            last = Some(policy);
            if !policy.holds_on_head(index, head, &mut trail)
                || !policy.holds_on_body(index, body, &mut trail)
            {
                continue;
            }
            if policy.dry_run {
                trail.dry_runs.push(policy.dry());
                continue;
            }
            return policy.decision(trail);
        }
        // `compile` refuses policies that can fall through: the last one has no condition and decides.
        let last = last.expect("a compiled rule set has a policy without conditions");
        last.decision(trail)
    }

    /// Whether a policy that blocks or asks looks at what is said in a conversation.
    pub fn judges_blocks(&self) -> bool {
        self.policies.iter().any(|policy| !policy.ruling.allows() && policy.reads_conversation())
    }

    /// Whether a policy searches texts that were judged before, too: one that allows, or that joins several
    /// conditions.
    pub fn searches_judged(&self) -> bool {
        let searches = |condition: &BodyCondition| matches!(condition, BodyCondition::Contains(_));
        let looks_back = |policy: &Policy| policy.ruling.allows() || policy.joins();
        self.policies.iter().any(|policy| looks_back(policy) && policy.body.iter().any(searches))
    }

    /// Whether a policy tells a text that stands by itself from one in a list or a block.
    pub fn tells_forms(&self) -> bool {
        self.policies.iter().flat_map(|policy| &policy.body).any(BodyCondition::tells_forms)
    }

    /// Which policies hold as far as no conversation is concerned. What was judged while others did was
    /// perhaps not looked at by those that do now.
    pub fn circumstances(&self, head: &HeadFacts<'_>, body: &BodyFacts<'_>) -> Vec<u8> {
        let holds = |policy: &Policy| {
            let around = policy.body.iter().filter(|condition| !condition.reads_conversation());
            let around = around.map(|condition| condition.outcome(body, View::Whole));
            let mut outcomes = policy.head.iter().map(|condition| condition.outcome(head)).chain(around);
            outcomes.all(|outcome| policy.ruling.is_met(outcome))
        };
        self.policies.iter().map(|policy| u8::from(holds(policy))).collect()
    }

    /// The blocks, of those that were not judged before, for which the policy `name` decided as it did: those
    /// of which each would have been enough, else all that had a part in it.
    pub fn blamed(&self, name: &str, body: &BodyFacts<'_>) -> Vec<usize> {
        let Some(policy) = self.policies.iter().find(|policy| *policy.name == *name) else {
            return Vec::new();
        };
        let conditions: Vec<&BodyCondition> =
            policy.body.iter().filter(|condition| condition.reads_conversation()).collect();
        if conditions.is_empty() {
            return Vec::new();
        }
        let mut met: Vec<(usize, usize)> = body.fresh().map(|index| (index, 0)).collect();
        for (index, count) in &mut met {
            let view = View::Only(&body.blocks[*index].ranges);
            let outcomes = conditions.iter().map(|condition| condition.outcome(body, view));
            *count = outcomes.filter(|outcome| *outcome != Outcome::Miss).count();
        }
        let is_enough = met.iter().any(|(_, count)| *count == conditions.len());
        let least = if is_enough { conditions.len() } else { 1 };
        met.into_iter().filter(|(_, count)| *count >= least).map(|(index, _)| index).collect()
    }

    /// Where the policy `name` finds in a part of a JSON body texts that it looks for, however they are
    /// written: in order, `most` places of each condition at most.
    pub fn positions(&self, name: &str, part: &str, most: usize) -> Vec<usize> {
        let Some(policy) = self.policies.iter().find(|policy| *policy.name == *name) else {
            return Vec::new();
        };
        let (folded, places) = text::folded_with_places(part);
        let mut found: Vec<usize> =
            policy.body.iter().flat_map(|condition| condition.positions(&folded, most)).collect();
        found.sort_unstable();
        found.dedup();
        found.into_iter().filter_map(|at| places.get(at).copied()).collect()
    }

    /// What the policies may need to know of a body, whatever the head.
    pub fn needs(&self) -> Needs {
        self.policies.iter().fold(Needs::default(), |needs, policy| needs.and(policy.needs))
    }

    /// Whether a policy looks at the query.
    pub fn reads_query(&self) -> bool {
        self.reads_head(|condition| matches!(condition, HeadCondition::Query(_)))
    }

    /// Whether a policy looks at the header field `name`.
    pub fn reads_header(&self, name: &str) -> bool {
        self.reads_head(|condition| {
            matches!(condition, HeadCondition::Header(test) if test.name.eq_ignore_ascii_case(name))
        })
    }

    fn reads_head(&self, wanted: impl Fn(&HeadCondition) -> bool) -> bool {
        self.policies.iter().flat_map(|policy| &policy.head).any(wanted)
    }

    /// Whether a policy may hold a request for a person.
    pub fn may_approve(&self) -> bool {
        self.policies.iter().any(|policy| matches!(policy.ruling, Ruling::Approve { .. }))
    }

    /// Number of policies.
    pub fn len(&self) -> usize {
        self.policies.len()
    }

    /// Whether there is no policy; never so after [`RuleSet::compile`].
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// Name of a policy and of one of its conditions, for an [`Evaluated`].
    pub fn condition(&self, evaluated: Evaluated) -> Option<(&Arc<str>, &Arc<str>)> {
        let policy = self.policies.get(usize::from(evaluated.policy))?;
        Some((&policy.name, policy.labels.get(usize::from(evaluated.condition))?))
    }
}

impl Policy {
    fn holds_on_head(&self, index: usize, head: &HeadFacts<'_>, trail: &mut Trail) -> bool {
        let outcomes = self.head.iter().map(|condition| condition.outcome(head));
        self.holds(index, 0, outcomes, trail)
    }

    fn holds_on_body(&self, index: usize, body: &BodyFacts<'_>, trail: &mut Trail) -> bool {
        let view = self.view(body);
        let outcomes = self.body.iter().map(|condition| condition.outcome(body, view));
        self.holds(index, self.head.len(), outcomes, trail)
    }

    /// What was judged before is not judged again. An allowance takes all that is said. Where several
    /// conditions must hold, something new may complete what was said before: then all of it counts.
    fn view(&self, body: &BodyFacts<'_>) -> View<'static> {
        let completes = |condition: &BodyCondition| {
            condition.reads_conversation()
                && condition.finds_fresh(body)
                && self.ruling.is_met(condition.outcome(body, View::Fresh))
        };
        let may_complete = || body.has_judged() && self.joins();
        match self.ruling.allows() || may_complete() && self.body.iter().any(completes) {
            true => View::Whole,
            false => View::Fresh,
        }
    }

    /// Whether several conditions look at what is said in a conversation.
    fn joins(&self) -> bool {
        self.body.iter().filter(|condition| condition.reads_conversation()).count() > 1
    }

    /// Looks at conditions until one does not hold.
    fn holds(
        &self,
        policy: usize,
        first: usize,
        outcomes: impl Iterator<Item = Outcome>,
        trail: &mut Trail,
    ) -> bool {
        for (offset, outcome) in outcomes.enumerate() {
            // `compile` bounds the number of policies and conditions well below u16.
            let condition = (first + offset) as u16;
            let held = self.ruling.is_met(outcome);
            trail.evaluated.push(Evaluated { policy: policy as u16, condition, outcome, held });
            if !held {
                return false;
            }
        }
        true
    }

    fn reads_conversation(&self) -> bool {
        self.body.iter().any(BodyCondition::reads_conversation)
    }

    fn dry(&self) -> DryRun {
        DryRun { policy: self.name.clone(), place: self.place.clone(), action: self.ruling.as_str() }
    }

    fn decision(&self, trail: Trail) -> Decision {
        Decision {
            ruling: self.ruling.clone(),
            policy: self.name.clone(),
            place: self.place.clone(),
            dry_runs: trail.dry_runs,
            evaluated: trail.evaluated,
        }
    }
}

impl From<&Action> for Ruling {
    fn from(action: &Action) -> Ruling {
        match action.clone() {
            Action::Allow => Ruling::Allow,
            Action::Block { reason, next } => Ruling::Block { reason, next },
            Action::Approve { reason, terms } => Ruling::Approve { reason, terms },
        }
    }
}

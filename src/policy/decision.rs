use super::ApprovalTerms;
use smallvec::SmallVec;
use std::sync::Arc;

/// What one condition says about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It does not hold.
    Miss,
    /// It cannot be told: holds for `block` and `approve`, does not hold for `allow`.
    Unsure,
    /// It holds.
    Match,
}

impl Outcome {
    /// Match or miss.
    pub(super) fn of(holds: bool) -> Outcome {
        if holds { Outcome::Match } else { Outcome::Miss }
    }

    /// Of several occurrences: match if all do, miss if none does, else unsure. Nothing is a miss.
    pub(super) fn of_occurrences(outcomes: impl Iterator<Item = Outcome>) -> Outcome {
        let (mut low, mut high) = (Outcome::Match, Outcome::Miss);
        for outcome in outcomes {
            low = low.min(outcome);
            high = high.max(outcome);
        }
        match (low, high) {
            (_, Outcome::Miss) => Outcome::Miss,
            (Outcome::Match, _) => Outcome::Match,
            _ => Outcome::Unsure,
        }
    }
}

/// A condition that was looked at, for the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evaluated {
    /// Index of the policy in its route.
    pub policy: u16,
    /// Index of the condition in its policy; [`super::RuleSet::condition`] names it.
    pub condition: u16,
    pub outcome: Outcome,
    /// Whether it counted as holding, which for [`Outcome::Unsure`] depends on the policy's action.
    pub held: bool,
}

/// A `dry_run` policy whose conditions held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DryRun {
    pub policy: Arc<str>,
    pub place: Arc<str>,
    /// What it would have done: `allow`, `block` or `approve`.
    pub action: &'static str,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    Allow,
    Block { reason: Arc<str>, next: Option<Arc<str>> },
    Approve { reason: Arc<str>, terms: Arc<ApprovalTerms> },
}

impl Ruling {
    /// Whether it lets the request through without more ado.
    pub(super) fn allows(&self) -> bool {
        matches!(self, Ruling::Allow)
    }

    /// Whether a condition with this outcome counts as holding.
    pub(super) fn is_met(&self, outcome: Outcome) -> bool {
        match self {
            Ruling::Allow => outcome == Outcome::Match,
            Ruling::Block { .. } | Ruling::Approve { .. } => outcome != Outcome::Miss,
        }
    }

    /// `allow`, `block` or `approve`: the word of records, logs and metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Ruling::Allow => "allow",
            Ruling::Block { .. } => "block",
            Ruling::Approve { .. } => "approve",
        }
    }
}

/// The first policy whose conditions held, and how it came to that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub ruling: Ruling,
    /// Name of the policy that decided.
    pub policy: Arc<str>,
    /// Where it stands, such as `ringward.toml:58`.
    pub place: Arc<str>,
    /// Policies under trial that would have decided before this one.
    pub dry_runs: SmallVec<[DryRun; 1]>,
    /// Every condition that was looked at, in order. Conditions behind the first miss of a policy were not.
    pub evaluated: SmallVec<[Evaluated; 8]>,
}

/// How a body must be read before a decision is possible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// A JSON document; a body of another type is unreadable.
    pub json: bool,
    /// Text to search.
    pub text: bool,
    /// The raw text of the body, of whatever readable type.
    pub raw: bool,
    /// Whether a policy that decides wants it. If only policies under trial do, an unreadable or too large
    /// body is no reason to refuse: [`super::RuleSet::decide`] then takes [`super::BodyFacts::none`].
    pub decides: bool,
}

impl Needs {
    /// Whether anything is needed.
    pub fn any(&self) -> bool {
        self.json || self.text || self.raw
    }

    /// Both needs.
    pub(super) fn and(self, other: Needs) -> Needs {
        Needs {
            json: self.json || other.json,
            text: self.text || other.text,
            raw: self.raw || other.raw,
            decides: self.decides || other.decides,
        }
    }
}

/// What the head alone says.
// A decision is moved once for each request; a box for it would be an allocation for each.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeadVerdict {
    /// No body can change this.
    Decided(Decision),
    /// A policy that may decide first looks at the body.
    NeedsBody(Needs),
}

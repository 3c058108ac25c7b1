//! Facts to a decision: which route a request takes, and what the route's policies say about it.
//!
//! Everything is compiled once, when a config is loaded; the step on a request's head allocates nothing. This
//! module decides only: `exchange` acts, `approval` asks people, `protocol` words the refusal. Start at
//! [`Router`] and [`RuleSet`]; what goes in are [`HeadFacts`] and [`BodyFacts`], what comes out is a
//! [`Decision`].
//!
//! A condition that cannot be decided for sure (a wrong JSON type, unparsable SQL, a query parameter that is
//! there twice with different values) is [`Outcome::Unsure`]: it counts against the caller, so it holds for
//! `block` and `approve` and does not hold for `allow`.

mod blocks;
mod body;
mod compile;
mod condition;
mod decision;
mod document;
mod facts;
mod pattern;
mod removal;
mod route;
mod rule;
mod ruleset;
mod sql;
mod sql_chain;
mod text;

#[cfg(test)]
mod tests;

pub use body::{BodyFacts, Unreadable};
pub use compile::{RuleError, RuleFault, reads_body};
pub use decision::{Decision, DryRun, Evaluated, HeadVerdict, Needs, Outcome, Ruling};
pub use facts::HeadFacts;
pub use pattern::{HostPattern, PathPattern, PatternError};
pub use removal::{Removal, mark, remove};
pub use route::{Overlap, RouteMatch, Router, Routing};
pub use rule::{
    Action, ApprovalTerms, BodyTest, FieldOp, FieldTest, JsonOp, JsonTest, Number, Rule, Scalar, SqlDialect,
    SqlKind, SqlTest, When,
};
pub use ruleset::RuleSet;

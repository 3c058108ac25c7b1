use super::blocks::MEMBERS;
use super::body::{BodyFacts, View};
use super::document::{Found, Pointer, Value};
use super::pattern::{Decoded, form_decoded, percent_decoded};
use super::sql::{Kinds, effects};
use super::{FieldOp, FieldTest, HeadFacts, JsonOp, Number, Outcome, PathPattern, Scalar, SqlDialect, text};
use crate::http::Method;
use aho_corasick::AhoCorasick;
use memchr::memmem;
use std::cmp::Ordering;

/// A compiled condition on the head.
#[derive(Debug)]
pub(super) enum HeadCondition {
    Methods(Vec<Method>),
    Paths(Vec<PathPattern>),
    Header(FieldTest),
    Query(FieldTest),
    GroupsAny(Vec<String>),
    GroupsAll(Vec<String>),
    Subjects(Vec<String>),
    Purposes(Vec<String>),
}

/// A compiled condition on the body.
#[derive(Debug)]
pub(super) enum BodyCondition {
    Contains(AhoCorasick),
    Json(Pointer, JsonOp),
    Sql(SqlCondition),
}

/// A compiled [`super::SqlTest`].
#[derive(Debug)]
pub(super) struct SqlCondition {
    pub(super) pointer: Option<Pointer>,
    pub(super) kinds: Kinds,
    /// Parts of each name in lower case.
    pub(super) tables: Vec<Vec<String>>,
    pub(super) dialect: SqlDialect,
}

impl HeadCondition {
    /// Allocates nothing.
    pub(super) fn outcome(&self, head: &HeadFacts<'_>) -> Outcome {
        match self {
            HeadCondition::Methods(methods) => {
                best(methods.iter().map(|method| same_method(method, head.method)))
            }
            HeadCondition::Paths(patterns) => best(patterns.iter().map(|pattern| pattern.outcome(head.path))),
            HeadCondition::Header(test) => {
                let values = head.headers.get_all(&test.name);
                field_outcome(&test.op, values.map(|value| value_outcome(&test.op, value)))
            }
            HeadCondition::Query(test) => query_outcome(test, head.query.unwrap_or_default()),
            HeadCondition::GroupsAny(groups) => Outcome::of(groups.iter().any(|g| head.groups.contains(g))),
            HeadCondition::GroupsAll(groups) => Outcome::of(groups.iter().all(|g| head.groups.contains(g))),
            HeadCondition::Subjects(subjects) => is_one_of(head.subject, subjects),
            HeadCondition::Purposes(purposes) => is_one_of(head.purpose, purposes),
        }
    }
}

impl BodyCondition {
    pub(super) fn outcome(&self, body: &BodyFacts<'_>, view: View<'_>) -> Outcome {
        match self {
            BodyCondition::Contains(patterns) => Outcome::of(body.holds(patterns, view)),
            BodyCondition::Json(pointer, op) => json_outcome(op, body.find(pointer, view), body, view),
            BodyCondition::Sql(condition) => condition.outcome(body, view),
        }
    }

    /// Where it finds in a folded text what it looks for: `most` places at most.
    pub(super) fn positions(&self, folded: &[u8], most: usize) -> Vec<usize> {
        match self {
            BodyCondition::Contains(patterns) => {
                patterns.find_iter(folded).take(most).map(|found| found.start()).collect()
            }
            BodyCondition::Json(_, JsonOp::Contains(wanted)) => {
                memmem::find_iter(folded, &text::folded(wanted)).take(most).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Whether it looks at what is said in a conversation; the others look at what stands around it, such as
    /// `/max_tokens`.
    pub(super) fn reads_conversation(&self) -> bool {
        let says = |pointer: &Pointer| pointer.first().is_none_or(|member| MEMBERS.contains(&member));
        matches!(self, BodyCondition::Contains(_)) || self.pointer().is_some_and(says)
    }

    /// Whether it leads into a member of a conversation, where the form of a text decides what it finds.
    pub(super) fn tells_forms(&self) -> bool {
        self.reads_conversation() && self.pointer().is_some_and(|pointer| pointer.len() > 1)
    }

    /// Whether there is something that was not judged before where it looks.
    pub(super) fn finds_fresh(&self, body: &BodyFacts<'_>) -> bool {
        let find = |pointer| body.find(pointer, View::Fresh);
        self.pointer().is_none_or(|pointer| !matches!(find(pointer), Found::Missing | Found::Judged))
    }

    fn pointer(&self) -> Option<&Pointer> {
        match self {
            BodyCondition::Contains(_) => None,
            BodyCondition::Json(pointer, _) => Some(pointer),
            BodyCondition::Sql(condition) => condition.pointer.as_ref(),
        }
    }
}

impl SqlCondition {
    fn outcome(&self, body: &BodyFacts<'_>, view: View<'_>) -> Outcome {
        let sql = match &self.pointer {
            None => body.whole(),
            Some(pointer) => match body.find(pointer, view) {
                Found::Value(Value::Text(sql)) => Some(sql),
                Found::Missing | Found::Judged => return Outcome::Miss,
                Found::Value(_) | Found::Lookalike => None,
            },
        };
        let Some(effects) = sql.and_then(|sql| effects(sql, self.dialect)) else { return Outcome::Unsure };
        Outcome::of_occurrences(effects.iter().map(|effect| effect.outcome(self.kinds, &self.tables)))
    }
}

/// The best of several alternatives.
fn best(outcomes: impl Iterator<Item = Outcome>) -> Outcome {
    outcomes.max().unwrap_or(Outcome::Miss)
}

/// Methods are case-sensitive (RFC 9110 section 9.1), but not to every server.
fn same_method(wanted: &Method, given: &Method) -> Outcome {
    match wanted == given {
        true => Outcome::Match,
        false if wanted.as_str().eq_ignore_ascii_case(given.as_str()) => Outcome::Unsure,
        false => Outcome::Miss,
    }
}

fn is_one_of(value: Option<&str>, wanted: &[String]) -> Outcome {
    Outcome::of(value.is_some_and(|value| wanted.iter().any(|name| name == value)))
}

/// `values` are the outcomes of the fields of this name.
fn field_outcome(op: &FieldOp, mut values: impl Iterator<Item = Outcome>) -> Outcome {
    match op {
        FieldOp::Absent => Outcome::of(values.next().is_none()),
        FieldOp::Present | FieldOp::Equals(_) | FieldOp::Contains(_) => Outcome::of_occurrences(values),
    }
}

fn value_outcome(op: &FieldOp, value: &[u8]) -> Outcome {
    match op {
        FieldOp::Present | FieldOp::Absent => Outcome::Match,
        FieldOp::Equals(wanted) => Outcome::of(wanted.as_bytes() == value),
        FieldOp::Contains(wanted) => Outcome::of(memmem::find(value, wanted.as_bytes()).is_some()),
    }
}

/// Every occurrence counts (SECURITY R14).
fn query_outcome(test: &FieldTest, query: &str) -> Outcome {
    let pairs =
        query.split('&').filter(|pair| !pair.is_empty()).map(|p| p.split_once('=').unwrap_or((p, "")));
    let values = pairs.filter_map(|(name, value)| {
        let exact = reads_as(name, |name| name.eq(test.name.bytes()));
        let lax = || reads_as(name, |name| name.map(lower).eq(test.name.bytes().map(lower)));
        let value = || match &test.op {
            FieldOp::Present | FieldOp::Absent => Outcome::Match,
            FieldOp::Equals(wanted) => reads_as(value, |value| value.eq(wanted.bytes())),
            FieldOp::Contains(wanted) => reads_as(value, |value| holds(value, wanted.as_bytes())),
        };
        match exact {
            Outcome::Miss if lax() == Outcome::Miss => None,
            Outcome::Miss | Outcome::Unsure => Some(value().min(Outcome::Unsure)),
            Outcome::Match => Some(value()),
        }
    });
    match &test.op {
        FieldOp::Absent => match Outcome::of_occurrences(values) {
            Outcome::Miss => Outcome::Match,
            Outcome::Unsure => Outcome::Unsure,
            Outcome::Match => Outcome::Miss,
        },
        _ => Outcome::of_occurrences(values),
    }
}

fn lower(byte: u8) -> u8 {
    byte.to_ascii_lowercase()
}

/// Tests a part of a query decoded, with `+` as itself and as a space: servers differ.
fn reads_as(part: &str, test: impl Fn(Decoded<'_>) -> bool) -> Outcome {
    let literal = test(percent_decoded(part.as_bytes()));
    let form = if part.contains('+') { test(form_decoded(part.as_bytes())) } else { literal };
    match (literal, form) {
        (true, true) => Outcome::Match,
        (false, false) => Outcome::Miss,
        _ => Outcome::Unsure,
    }
}

/// Whether `bytes` hold `wanted`. Both are short: a query is part of a request line.
fn holds(mut bytes: Decoded<'_>, wanted: &[u8]) -> bool {
    loop {
        let mut rest = bytes.clone();
        if wanted.iter().all(|byte| rest.next() == Some(*byte)) {
            return true;
        }
        if bytes.next().is_none() {
            return false;
        }
    }
}

fn json_outcome(op: &JsonOp, found: Found<'_>, body: &BodyFacts<'_>, view: View<'_>) -> Outcome {
    let value = match (found, op) {
        (Found::Judged, _) => return Outcome::Miss,
        (Found::Lookalike, _) => return Outcome::Unsure,
        (_, JsonOp::Exists(wanted)) => return Outcome::of(*wanted == (found != Found::Missing)),
        (Found::Missing, JsonOp::Ne(_)) => return Outcome::Unsure,
        (Found::Missing, _) => return Outcome::Miss,
        (Found::Value(value), _) => value,
    };
    let ordered = |bound: &Number, holds: fn(Ordering) -> bool| match number(value) {
        Some(number) => Outcome::of(compare(number, *bound).is_some_and(holds)),
        None => Outcome::Unsure,
    };
    match op {
        JsonOp::Gt(bound) => ordered(bound, Ordering::is_gt),
        JsonOp::Ge(bound) => ordered(bound, Ordering::is_ge),
        JsonOp::Lt(bound) => ordered(bound, Ordering::is_lt),
        JsonOp::Le(bound) => ordered(bound, Ordering::is_le),
        JsonOp::Eq(scalar) => equals(value, scalar).map_or(Outcome::Unsure, Outcome::of),
        JsonOp::Ne(scalar) => equals(value, scalar).map_or(Outcome::Unsure, |equal| Outcome::of(!equal)),
        JsonOp::In(scalars) => {
            // Of a type that is not in the list at all, nothing can be said.
            let known = scalars.iter().filter_map(|scalar| equals(value, scalar));
            known.max().map_or(Outcome::Unsure, Outcome::of)
        }
        JsonOp::Exists(_) => Outcome::Match,
        JsonOp::Contains(wanted) => contains_outcome(value, wanted, body, view),
    }
}

fn contains_outcome(value: Value<'_>, wanted: &str, body: &BodyFacts<'_>, view: View<'_>) -> Outcome {
    let wanted = text::folded(wanted);
    let holds = |string: &str| memmem::find(&text::folded(string), &wanted).is_some();
    match value {
        Value::Text(string) => Outcome::of(holds(string)),
        Value::Tree(tree) => Outcome::of(body.any_string_below(tree, view, holds)),
        _ => Outcome::Unsure,
    }
}

fn number(value: Value<'_>) -> Option<Number> {
    match value {
        Value::Signed(value) => Some(Number::Integer(value.into())),
        Value::Unsigned(value) => Some(Number::Integer(value.into())),
        Value::Float(value) => Some(Number::Float(value)),
        _ => None,
    }
}

/// Whole numbers exactly, others as `f64`.
fn compare(a: Number, b: Number) -> Option<Ordering> {
    let float = |number| match number {
        Number::Integer(value) => value as f64,
        Number::Float(value) => value,
    };
    match (a, b) {
        (Number::Integer(a), Number::Integer(b)) => Some(a.cmp(&b)),
        _ => float(a).partial_cmp(&float(b)),
    }
}

/// `None` when the types differ. `null` as a policy's value is compared with everything.
fn equals(value: Value<'_>, scalar: &Scalar) -> Option<bool> {
    match (value, scalar) {
        (value, Scalar::Null) => Some(value == Value::Null),
        (Value::Bool(a), Scalar::Bool(b)) => Some(a == *b),
        (Value::Text(a), Scalar::Text(b)) => Some(a == b),
        (value, Scalar::Number(b)) => number(value).map(|a| compare(a, *b) == Some(Ordering::Equal)),
        _ => None,
    }
}

//! Rules to policies, and what is wrong with rules.

use super::condition::{BodyCondition, HeadCondition, SqlCondition};
use super::document::Pointer;
use super::ruleset::Policy;
use super::sql::Kinds;
use super::{
    BodyTest, FieldOp, FieldTest, JsonOp, JsonTest, Needs, Number, PathPattern, PatternError, Rule, Ruling,
    Scalar, SqlTest, When, text,
};
use crate::limits::{POLICY_AUTOMATON_BYTES_MAX, POLICY_COUNT_MAX};
use crate::protocol::Protocol;
use aho_corasick::AhoCorasick;
use std::sync::Arc;

/// What is wrong with one of a route's policies; the config is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct RuleError {
    /// Index of the policy in the list given to [`super::RuleSet::compile`]; 0 when the list is empty.
    pub policy: usize,
    pub fault: RuleFault,
}

/// See [`RuleError`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleFault {
    #[error("requests can fall through: the last policy of a route must have no `when` and no `dry_run`")]
    FallsThrough,
    #[error("this policy is never reached: an earlier one decides on all its requests")]
    Unreachable {
        /// Index of that earlier policy.
        by: usize,
    },
    #[error("a route tries each policy once")]
    Repeated {
        /// Index of the first occurrence.
        first: usize,
    },
    #[error("a route has at most {POLICY_COUNT_MAX} policies, and a policy as many conditions")]
    TooMany,
    #[error("path pattern `{pattern}`: {error}")]
    Path { pattern: String, error: PatternError },
    #[error(
        "`{path}` is no JSON pointer: it is empty or begins with `/`, with `~0` for `~` and `~1` for `/`"
    )]
    Pointer { path: String },
    #[error("a text to look for must not be empty")]
    EmptyText,
    #[error("a list of a condition must not be empty")]
    EmptyList,
    #[error("a number of a condition must be finite")]
    NotFinite,
    #[error("a header or query parameter of a condition must have a name")]
    NoName,
    #[error("a `sql` condition names `any_of`, `tables` or both")]
    EmptySql,
    #[error("the texts of a `body` condition are too many to be looked for together")]
    TooManyTexts,
}

impl RuleFault {
    /// The key of the policy's table that is at fault; `None` when the policy as a whole is.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            RuleFault::FallsThrough
            | RuleFault::Unreachable { .. }
            | RuleFault::Repeated { .. }
            | RuleFault::TooMany => None,
            _ => Some("when"),
        }
    }
}

/// Compiles the rules of one route.
pub(super) fn policies(rules: &[Rule], protocol: Protocol) -> Result<Vec<Policy>, RuleError> {
    let at = |policy: usize| move |fault| RuleError { policy, fault };
    if rules.len() > POLICY_COUNT_MAX {
        return Err(at(POLICY_COUNT_MAX)(RuleFault::TooMany));
    }
    let mut policies = Vec::with_capacity(rules.len());
    for (index, rule) in rules.iter().enumerate() {
        policies.push(policy(rule, protocol).map_err(at(index))?);
        if let Some(first) = rules[..index].iter().position(|earlier| earlier.name == rule.name) {
            return Err(at(index)(RuleFault::Repeated { first }));
        }
        let covers = |earlier: &Rule| !earlier.dry_run && covers(&earlier.when, &rule.when);
        if let Some(by) = rules[..index].iter().position(covers) {
            return Err(at(index)(RuleFault::Unreachable { by }));
        }
    }
    let decides = |policy: &Policy| !policy.dry_run && policy.labels.is_empty();
    if !policies.last().is_some_and(decides) {
        return Err(at(rules.len().saturating_sub(1))(RuleFault::FallsThrough));
    }
    Ok(policies)
}

fn policy(rule: &Rule, protocol: Protocol) -> Result<Policy, RuleFault> {
    let (head, mut labels) = head_conditions(&rule.when)?;
    let (body, body_labels) = body_conditions(&rule.when)?;
    labels.extend(body_labels);
    if labels.len() > POLICY_COUNT_MAX {
        return Err(RuleFault::TooMany);
    }
    Ok(Policy {
        name: rule.name.clone(),
        place: rule.place.clone(),
        ruling: Ruling::from(&rule.action),
        dry_run: rule.dry_run,
        needs: needs(&body, protocol, !rule.dry_run),
        head,
        body,
        labels,
    })
}

/// Compiled conditions and what each is called.
type Labelled<T> = (Vec<T>, Vec<Arc<str>>);

fn head_conditions(when: &When) -> Result<Labelled<HeadCondition>, RuleFault> {
    let mut conditions = Vec::new();
    let mut labels: Vec<Arc<str>> = Vec::new();
    let mut add = |label: &str, condition| {
        labels.push(label.into());
        conditions.push(condition);
    };
    if !when.methods.is_empty() {
        add("method", HeadCondition::Methods(when.methods.clone()));
    }
    if !when.paths.is_empty() {
        add("path", HeadCondition::Paths(patterns(&when.paths)?));
    }
    if !when.subjects.is_empty() {
        add("subject", HeadCondition::Subjects(when.subjects.clone()));
    }
    if !when.groups_any.is_empty() {
        add("groups_any", HeadCondition::GroupsAny(when.groups_any.clone()));
    }
    if !when.groups_all.is_empty() {
        add("groups_all", HeadCondition::GroupsAll(when.groups_all.clone()));
    }
    if !when.purposes.is_empty() {
        add("purpose", HeadCondition::Purposes(when.purposes.clone()));
    }
    for test in &when.headers {
        add(&format!("header {}", test.name), HeadCondition::Header(checked(test)?));
    }
    for test in &when.query {
        add(&format!("query {}", test.name), HeadCondition::Query(checked(test)?));
    }
    Ok((conditions, labels))
}

/// Whether a condition of this name, as records write it, looks at the body.
pub fn reads_body(condition: &str) -> bool {
    condition.starts_with("json ") || matches!(condition, BODY_LABEL | SQL_LABEL)
}

const BODY_LABEL: &str = "body contains_any";
const SQL_LABEL: &str = "sql";

fn body_conditions(when: &When) -> Result<Labelled<BodyCondition>, RuleFault> {
    let mut conditions = Vec::new();
    let mut labels: Vec<Arc<str>> = Vec::new();
    let mut add = |label: &str, condition| {
        labels.push(label.into());
        conditions.push(condition);
    };
    for test in &when.json {
        add(&format!("json {}", test.path), json_condition(test)?);
    }
    if let Some(test) = &when.body {
        add(BODY_LABEL, BodyCondition::Contains(automaton(test)?));
    }
    if let Some(test) = &when.sql {
        add(SQL_LABEL, BodyCondition::Sql(sql_condition(test)?));
    }
    Ok((conditions, labels))
}

/// What the conditions need to know of a body. A language model gets a conversation: what its members are
/// called and how its strings are escaped is no content.
fn needs(conditions: &[BodyCondition], protocol: Protocol, decides: bool) -> Needs {
    let mut needs = Needs { decides: decides && !conditions.is_empty(), ..Needs::default() };
    for condition in conditions {
        match condition {
            BodyCondition::Json(..) => needs.json = true,
            BodyCondition::Sql(SqlCondition { pointer: Some(_), .. }) => needs.json = true,
            BodyCondition::Sql(SqlCondition { pointer: None, .. }) => needs.raw = true,
            BodyCondition::Contains(_) => {
                needs.text = true;
                needs.raw |= !protocol.is_llm();
                needs.json |= protocol.speaks_json();
            }
        }
    }
    needs
}

fn patterns(sources: &[String]) -> Result<Vec<PathPattern>, RuleFault> {
    let compile = |source: &String| {
        PathPattern::parse(source).map_err(|error| RuleFault::Path { pattern: source.clone(), error })
    };
    sources.iter().map(compile).collect()
}

fn checked(test: &FieldTest) -> Result<FieldTest, RuleFault> {
    match &test.op {
        _ if test.name.is_empty() => Err(RuleFault::NoName),
        FieldOp::Contains(text) if text.is_empty() => Err(RuleFault::EmptyText),
        _ => Ok(test.clone()),
    }
}

fn pointer(path: &str) -> Result<Pointer, RuleFault> {
    Pointer::parse(path).ok_or_else(|| RuleFault::Pointer { path: path.to_owned() })
}

fn json_condition(test: &JsonTest) -> Result<BodyCondition, RuleFault> {
    let finite = |number: &Number| !matches!(number, Number::Float(value) if !value.is_finite());
    let plain = |scalar: &Scalar| !matches!(scalar, Scalar::Number(number) if !finite(number));
    let valid = match &test.op {
        JsonOp::Gt(n) | JsonOp::Ge(n) | JsonOp::Lt(n) | JsonOp::Le(n) => finite(n),
        JsonOp::Eq(scalar) | JsonOp::Ne(scalar) => plain(scalar),
        JsonOp::In(scalars) if scalars.is_empty() => return Err(RuleFault::EmptyList),
        JsonOp::In(scalars) => scalars.iter().all(plain),
        JsonOp::Contains(text) if text.is_empty() => return Err(RuleFault::EmptyText),
        JsonOp::Exists(_) | JsonOp::Contains(_) => true,
    };
    if !valid {
        return Err(RuleFault::NotFinite);
    }
    Ok(BodyCondition::Json(pointer(&test.path)?, test.op.clone()))
}

fn automaton(test: &BodyTest) -> Result<AhoCorasick, RuleFault> {
    if test.contains_any.is_empty() {
        return Err(RuleFault::EmptyList);
    }
    let folded: Vec<Vec<u8>> = test.contains_any.iter().map(|text| text::folded(text)).collect();
    if folded.iter().any(|text| text.is_empty()) {
        return Err(RuleFault::EmptyText);
    }
    let automaton = AhoCorasick::builder()
        .ascii_case_insensitive(test.ignore_case)
        .build(folded)
        .map_err(|_| RuleFault::TooManyTexts)?;
    if automaton.memory_usage() > POLICY_AUTOMATON_BYTES_MAX {
        return Err(RuleFault::TooManyTexts);
    }
    Ok(automaton)
}

fn sql_condition(test: &SqlTest) -> Result<SqlCondition, RuleFault> {
    if test.any_of.is_empty() && test.tables.is_empty() {
        return Err(RuleFault::EmptySql);
    }
    let parts = |table: &String| table.split('.').map(str::to_lowercase).collect::<Vec<_>>();
    let tables: Vec<_> = test.tables.iter().map(parts).collect();
    if tables.iter().flatten().any(|part| part.is_empty()) {
        return Err(RuleFault::EmptyText);
    }
    let pointer = test.path.as_deref().map(pointer).transpose()?;
    Ok(SqlCondition { pointer, kinds: Kinds::of(&test.any_of), tables, dialect: test.dialect })
}

/// Whether every request on which `later` holds is one on which `earlier` holds.
fn covers(earlier: &When, later: &When) -> bool {
    let any_of = |earlier: &[String], later: &[String]| {
        earlier.is_empty() || !later.is_empty() && later.iter().all(|name| earlier.contains(name))
    };
    let methods = earlier.methods.is_empty()
        || !later.methods.is_empty() && later.methods.iter().all(|method| earlier.methods.contains(method));
    methods
        && covers_paths(&earlier.paths, &later.paths)
        && any_of(&earlier.groups_any, &later.groups_any)
        && earlier.groups_all.iter().all(|group| later.groups_all.contains(group))
        && any_of(&earlier.subjects, &later.subjects)
        && any_of(&earlier.purposes, &later.purposes)
        && earlier.headers.iter().all(|test| later.headers.contains(test))
        && earlier.query.iter().all(|test| later.query.contains(test))
        && earlier.json.iter().all(|test| later.json.contains(test))
        && (earlier.body.is_none() || earlier.body == later.body)
        && (earlier.sql.is_none() || earlier.sql == later.sql)
}

fn covers_paths(earlier: &[String], later: &[String]) -> bool {
    let (Ok(wide), Ok(narrow)) = (patterns(earlier), patterns(later)) else { return false };
    let covered = |pattern: &PathPattern| wide.iter().any(|wider| wider.covers(pattern));
    wide.is_empty() || !narrow.is_empty() && narrow.iter().all(covered)
}

//! Policies as `policy` takes them.

use super::Compiler;
use crate::config::lint::approvers;
use crate::config::tree::at;
use crate::config::{self, FieldCondition, JsonCondition, When as Written};
use crate::http::Method;
use crate::policy::{
    Action, ApprovalTerms, BodyTest, FieldOp, FieldTest, JsonOp, JsonTest, Number, Rule, RuleFault, RuleSet,
    Scalar, SqlDialect, SqlTest, When,
};
use crate::protocol::Protocol;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long an approval waits unless its policy says otherwise (UX section 4).
const APPROVAL_TIMEOUT: Duration = Duration::from_secs(13 * 60);

impl Compiler<'_> {
    /// The policies of a route, compiled for what its upstream speaks.
    pub(super) fn rules(&mut self, index: usize, protocol: Protocol) -> Option<RuleSet> {
        let document = self.document;
        let names = &document.route[index].policies;
        let find = |name: &String| document.policy.iter().position(|policy| policy.name == *name);
        let rules: Vec<Rule> =
            names.iter().filter_map(find).map(|at| self.rule(at, &document.policy[at])).collect();
        match RuleSet::compile(&rules, protocol) {
            Ok(rules) => Some(rules),
            Err(error) => {
                let name = names.get(error.policy).map_or("", String::as_str);
                let of_order = matches!(
                    error.fault,
                    RuleFault::FallsThrough
                        | RuleFault::Unreachable { .. }
                        | RuleFault::Repeated { .. }
                        | RuleFault::TooMany
                );
                let place = names.get(error.policy).and_then(find).filter(|_| !of_order);
                let path = match place {
                    Some(policy) => at!["policy", policy, "when"],
                    None => at!["route", index, "policies", error.policy],
                };
                self.error(&path, "policy", format!("the policy `{name}`: {error}"), "");
                None
            }
        }
    }

    fn rule(&self, index: usize, policy: &config::Policy) -> Rule {
        Rule {
            name: policy.name.as_str().into(),
            place: self.loaded.tree.place(&at!["policy", index, "name"]).into(),
            when: policy.when.as_ref().map(when).unwrap_or_default(),
            action: self.action(policy),
            dry_run: policy.dry_run,
        }
    }

    fn action(&self, policy: &config::Policy) -> Action {
        let reason: Arc<str> = policy.reason.as_deref().unwrap_or_default().into();
        match policy.action {
            config::Action::Allow => Action::Allow,
            config::Action::Block => {
                let next = policy.next.as_deref().or_else(|| last_sentence(policy.reason.as_deref()?));
                Action::Block { reason, next: next.map(Into::into) }
            }
            config::Action::Approve => Action::Approve { reason, terms: Arc::new(self.terms(policy)) },
        }
    }

    fn terms(&self, policy: &config::Policy) -> ApprovalTerms {
        let terms = policy.approval.as_ref();
        ApprovalTerms {
            by: approvers(self.document, policy),
            digest: super::routes::digest(policy),
            approvals_min: terms.map_or(1, |terms| u32::from(terms.min)),
            allow_self: terms.is_some_and(|terms| terms.own),
            timeout: terms.map_or(APPROVAL_TIMEOUT, |terms| terms.timeout.0),
        }
    }
}

/// What a reason says last, if it says several things: mostly what to do instead.
fn last_sentence(reason: &str) -> Option<&str> {
    let (_, last) = reason.trim().rsplit_once(". ")?;
    Some(last.trim()).filter(|last| !last.is_empty())
}

fn when(written: &Written) -> When {
    When {
        methods: written.method.iter().map(|method| Method::from_token(method)).collect(),
        paths: written.path.clone(),
        headers: fields(&written.headers),
        query: fields(&written.query),
        groups_any: written.groups_any.clone(),
        groups_all: written.groups_all.clone(),
        subjects: written.subject.clone(),
        purposes: written.purpose.clone(),
        body: written
            .body
            .as_ref()
            .map(|body| BodyTest { contains_any: body.contains_any.clone(), ignore_case: body.ignore_case }),
        json: written.json.iter().flat_map(json).collect(),
        sql: written.sql.as_ref().map(|sql| SqlTest {
            path: sql.path.clone(),
            any_of: sql.any_of.iter().filter_map(|kind| kind.parse().ok()).collect(),
            tables: sql.tables.clone(),
            dialect: sql.dialect.as_deref().and_then(|name| name.parse().ok()).unwrap_or(SqlDialect::Generic),
        }),
    }
}

fn fields(written: &BTreeMap<String, FieldCondition>) -> Vec<FieldTest> {
    let test = |(name, field): (&String, &FieldCondition)| {
        let op = match field {
            FieldCondition::Equals(text) => FieldOp::Equals(text.clone()),
            FieldCondition::Table(table) => match (&table.equals, &table.contains, table.exists) {
                (Some(text), ..) => FieldOp::Equals(text.clone()),
                (_, Some(text), _) => FieldOp::Contains(text.clone()),
                (.., Some(false)) => FieldOp::Absent,
                _ => FieldOp::Present,
            },
        };
        FieldTest { name: name.clone(), op }
    };
    written.iter().map(test).collect()
}

/// One test for each operator that is given.
fn json(written: &JsonCondition) -> Vec<JsonTest> {
    let mut ops = Vec::new();
    ops.extend(written.gt.map(|bound| JsonOp::Gt(number(bound))));
    ops.extend(written.ge.map(|bound| JsonOp::Ge(number(bound))));
    ops.extend(written.lt.map(|bound| JsonOp::Lt(number(bound))));
    ops.extend(written.le.map(|bound| JsonOp::Le(number(bound))));
    ops.extend(written.equals.as_ref().map(|value| JsonOp::Eq(scalar(value))));
    ops.extend(written.differs.as_ref().map(|value| JsonOp::Ne(scalar(value))));
    ops.extend(written.contains.as_ref().map(|text| JsonOp::Contains(text.clone())));
    ops.extend(written.exists.map(JsonOp::Exists));
    if !written.any_of.is_empty() {
        ops.push(JsonOp::In(written.any_of.iter().map(scalar).collect()));
    }
    ops.into_iter().map(|op| JsonTest { path: written.path.clone(), op }).collect()
}

fn scalar(written: &config::Scalar) -> Scalar {
    match written {
        config::Scalar::Boolean(value) => Scalar::Bool(*value),
        config::Scalar::Number(value) => Scalar::Number(number(*value)),
        config::Scalar::Text(text) => Scalar::Text(text.clone()),
    }
}

/// Whole numbers that a double holds exactly are compared exactly.
fn number(value: f64) -> Number {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() <= EXACT {
        Number::Integer(value as i128)
    } else {
        Number::Float(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_several_sentences_says_what_to_do() {
        assert_eq!(last_sentence("Blocked. Ask #db-oncall."), Some("Ask #db-oncall."));
        assert_eq!(last_sentence("Destructive SQL needs a runbook."), None);
        assert_eq!(last_sentence(""), None);
    }

    #[test]
    fn whole_numbers_are_exact() {
        assert_eq!(number(40_000.0), Number::Integer(40_000));
        assert_eq!(number(0.5), Number::Float(0.5));
        assert_eq!(number(1e300), Number::Float(1e300));
    }
}

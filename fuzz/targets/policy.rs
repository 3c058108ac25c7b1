use ringward::http::{Headers, Method};
use ringward::policy::{
    Action, BodyFacts, BodyTest, HeadFacts, JsonOp, JsonTest, Number, Rule, RuleSet, SqlDialect, SqlKind,
    SqlTest, When,
};
use ringward::protocol::Protocol;

/// Whatever is read as JSON is JSON to another parser, and every kind of condition can look at it. The first
/// byte chooses the type that the body is said to have.
pub fn body_facts(data: &[u8]) {
    let Some((first, body)) = data.split_first() else { return };
    let types =
        [Some("application/json"), Some("text/plain"), Some("application/x-www-form-urlencoded"), None];
    let content_type = types[usize::from(*first) % types.len()];
    let json = JsonTest { path: "/max_tokens".to_owned(), op: JsonOp::Gt(Number::Integer(1)) };
    let text = BodyTest { contains_any: vec!["DROP TABLE".to_owned()], ignore_case: true };
    let by_json = rules(When { json: vec![json], ..When::default() }, BLOCK);
    let by_text = rules(When { body: Some(text), ..When::default() }, BLOCK);
    for rules in [by_json, by_text] {
        let Ok(facts) = BodyFacts::parse(body, content_type, None, rules.needs()) else { continue };
        if content_type == types[0] && !body.is_empty() {
            serde_json::from_slice::<serde::de::IgnoredAny>(body).expect("what a policy reads is JSON");
        }
        decides(&rules, &facts);
    }
}

/// A text that an allow list lets through holds nothing that a block list forbids, in any dialect.
pub fn sql(data: &[u8]) {
    for name in SqlDialect::NAMES {
        let dialect = name.parse().expect("a name of the list");
        let test = |kind| SqlTest { path: None, any_of: vec![kind], tables: Vec::new(), dialect };
        let reads = rules(When { sql: Some(test(SqlKind::Select)), ..When::default() }, ALLOW);
        let drops = rules(When { sql: Some(test(SqlKind::Drop)), ..When::default() }, BLOCK);
        let Ok(facts) = BodyFacts::parse(data, Some("text/plain"), None, reads.needs()) else { return };
        assert!(!(decides(&reads, &facts) && decides(&drops, &facts)), "{name}");
    }
}

const ALLOW: fn() -> Action = || Action::Allow;
const BLOCK: fn() -> Action = || Action::Block { reason: "".into(), next: None };

/// One policy, and behind it the opposite for everything else.
fn rules(when: When, action: fn() -> Action) -> RuleSet {
    let otherwise = if matches!(action(), Action::Allow) { BLOCK() } else { ALLOW() };
    let rule = |name: &str, when, action| Rule {
        name: name.into(),
        place: "fuzz".into(),
        when,
        action,
        dry_run: false,
    };
    let rules = [rule("first", when, action()), rule("rest", When::default(), otherwise)];
    RuleSet::compile(&rules, Protocol::Http).expect("these rules are valid")
}

/// Whether the first policy decides.
fn decides(rules: &RuleSet, body: &BodyFacts<'_>) -> bool {
    let headers = Headers::new();
    let head = HeadFacts {
        method: &Method::Post,
        path: "/",
        query: None,
        headers: &headers,
        subject: None,
        groups: &[],
        purpose: None,
    };
    &*rules.decide(&head, body).policy == "first"
}

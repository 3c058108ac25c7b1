//! Which route, and what its rules say.

use super::{Cases, Operation};
use ringward::{
    http::{Headers, Method},
    policy::{
        Action, BodyFacts, BodyTest, FieldOp, FieldTest, HeadFacts, HostPattern, JsonOp, JsonTest, Number,
        PathPattern, RouteMatch, Router, Routing, Rule, RuleSet, When,
    },
    protocol::Protocol,
};
use std::hint::black_box;

pub const CASES: Cases = &[
    ("route_of_one", || route(1)),
    ("route_of_forty", || route(40)),
    ("policy_head", head),
    ("policy_body_1k", || body(1_000)),
    ("policy_body_100k", || body(100_000)),
];

/// The last of so many routes is found.
fn route(count: usize) -> Operation {
    let routes = (0..count).map(|index| RouteMatch {
        listen: Some("agents".into()),
        host: HostPattern::Any,
        path: PathPattern::parse(&format!("/service-{index:02}/**")).expect("a pattern"),
        methods: Vec::new(),
    });
    let router = Router::new(routes.collect()).expect("no two overlap");
    let path = format!("/service-{:02}/v1/messages", count - 1);
    Box::new(move || {
        let found = router.route("agents", "gateway.example.com", &Method::Post, black_box(&path));
        assert!(matches!(found, Routing::Route(_)));
    })
}

fn rule(name: &str, when: When, action: Action) -> Rule {
    Rule { name: name.into(), place: "ringward.toml:7".into(), when, action, dry_run: false }
}

fn block() -> Action {
    Action::Block { reason: "No.".into(), next: None }
}

fn headers() -> Headers {
    let mut headers = Headers::new();
    for (name, value) in [
        ("accept", "application/json"),
        ("content-type", "application/json"),
        ("user-agent", "an agent"),
        ("x-reason", "a ticket"),
        ("x-app", "cli"),
    ] {
        headers.append(name, value.as_bytes());
    }
    headers
}

/// Calls `with` with the facts of one request.
fn with_facts(headers: &Headers, groups: &[String], with: impl FnOnce(&HeadFacts<'_>)) {
    with(&HeadFacts {
        method: &Method::Post,
        path: "/customers/7/orders",
        query: Some("dry=1"),
        headers,
        subject: Some("agent-7"),
        groups,
        purpose: Some("support"),
    });
}

fn head() -> Operation {
    let reason = FieldTest { name: "x-reason".into(), op: FieldOp::Absent };
    let rules = [
        rule("admin", When { paths: vec!["/admin/**".into()], ..When::default() }, block()),
        rule("deletes", When { methods: vec![Method::Delete], ..When::default() }, block()),
        rule("reasons", When { headers: vec![reason], ..When::default() }, block()),
        rule("interns", When { groups_any: vec!["interns".into()], ..When::default() }, block()),
        rule("default", When::default(), Action::Allow),
    ];
    let rules = RuleSet::compile(&rules, Protocol::Http).expect("rules");
    let (headers, groups) = (headers(), ["agents".to_owned(), "support".to_owned()]);
    Box::new(move || {
        with_facts(&headers, &groups, |facts| {
            black_box(rules.decide_head(black_box(facts)));
        });
    })
}

/// A JSON body of about so many bytes under a rule on its text and one on a value.
fn body(bytes: usize) -> Operation {
    let drops = BodyTest { contains_any: vec!["DROP TABLE".into(), "TRUNCATE ".into()], ignore_case: true };
    let spend = JsonTest { path: "/max_tokens".into(), op: JsonOp::Gt(Number::Integer(40_000)) };
    let rules = [
        rule("drops", When { body: Some(drops), ..When::default() }, block()),
        rule("spend", When { json: vec![spend], ..When::default() }, block()),
        rule("default", When::default(), Action::Allow),
    ];
    let rules = RuleSet::compile(&rules, Protocol::Http).expect("rules");
    let (headers, groups) = (headers(), ["agents".to_owned()]);
    let turn = r#"{"role":"user","content":"Which customers wrote to us, and what did they want?"},"#;
    let turns = turn.repeat(bytes / turn.len());
    let body = format!(r#"{{"max_tokens":1024,"messages":[{turns}null]}}"#);
    Box::new(move || {
        let facts = BodyFacts::from_request(&headers, body.as_bytes(), rules.needs()).expect("readable");
        with_facts(&headers, &groups, |head| {
            black_box(rules.decide(head, black_box(&facts)));
        });
    })
}

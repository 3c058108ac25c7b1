//! Whole rule sets on whole requests, the way the exchange asks them.

use super::*;
use crate::http::{Headers, Method, target};
use crate::protocol::Protocol;
use std::sync::Arc;
use std::time::Duration;

fn rule(name: &str, action: Action, when: When) -> Rule {
    Rule { name: name.into(), place: format!("ringward.toml:{name}").into(), when, action, dry_run: false }
}

fn block(name: &str, when: When) -> Rule {
    rule(name, Action::Block { reason: "no".into(), next: None }, when)
}

fn allow(name: &str, when: When) -> Rule {
    rule(name, Action::Allow, when)
}

fn approve(name: &str, when: When) -> Rule {
    let terms = ApprovalTerms {
        by: vec!["group:sre".to_owned()],
        approvals_min: 1,
        allow_self: false,
        timeout: Duration::from_secs(780),
        digest: [0; 32],
    };
    rule(name, Action::Approve { reason: "ask".into(), terms: Arc::new(terms) }, when)
}

fn default_allow() -> Rule {
    allow("default", When::default())
}

fn json(path: &str, op: JsonOp) -> When {
    When { json: vec![JsonTest { path: path.to_owned(), op }], ..When::default() }
}

fn contains(texts: &[&str], ignore_case: bool) -> When {
    let contains_any = texts.iter().map(|text| (*text).to_owned()).collect();
    When { body: Some(BodyTest { contains_any, ignore_case }), ..When::default() }
}

fn sql(any_of: &[SqlKind]) -> When {
    let path = Some("/sql".to_owned());
    let test = SqlTest { path, any_of: any_of.to_vec(), tables: Vec::new(), dialect: SqlDialect::Generic };
    When { sql: Some(test), ..When::default() }
}

fn paths(paths: &[&str]) -> When {
    When { paths: paths.iter().map(|path| (*path).to_owned()).collect(), ..When::default() }
}

/// A request in a test.
struct Request {
    method: Method,
    path: String,
    query: Option<String>,
    headers: Headers,
    groups: Vec<String>,
    body: String,
}

impl Request {
    fn post(body: &str) -> Request {
        Request {
            method: Method::Post,
            path: "/v1/messages".to_owned(),
            query: None,
            headers: Headers::new(),
            groups: vec!["agents".to_owned()],
            body: body.to_owned(),
        }
    }

    fn to(target: &str) -> Request {
        let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q.to_owned())));
        Request { path: path.to_owned(), query, ..Request::post("") }
    }

    fn facts(&self) -> HeadFacts<'_> {
        HeadFacts {
            method: &self.method,
            path: &self.path,
            query: self.query.as_deref(),
            headers: &self.headers,
            subject: Some("spiffe://agent"),
            groups: &self.groups,
            purpose: Some("triage"),
        }
    }

    /// The trip of the exchange: head first, the body only if it is needed.
    fn decide(&self, rules: &RuleSet) -> Result<Decision, Unreadable> {
        let head = self.facts();
        let needs = match rules.decide_head(&head) {
            HeadVerdict::Decided(decision) => {
                assert_eq!(rules.decide(&head, &BodyFacts::none()), decision);
                return Ok(decision);
            }
            HeadVerdict::NeedsBody(needs) => needs,
        };
        let body = match BodyFacts::parse(self.body.as_bytes(), None, None, needs) {
            Err(unreadable) if needs.decides => return Err(unreadable),
            body => body.unwrap_or_default(),
        };
        Ok(rules.decide(&head, &body))
    }
}

fn compiled(rules: &[Rule]) -> RuleSet {
    RuleSet::compile(rules, Protocol::Http).unwrap()
}

/// Name of the policy that decides.
fn decider(rules: &RuleSet, request: &Request) -> String {
    request.decide(rules).map_or_else(|e| e.reason().to_owned(), |decision| decision.policy.to_string())
}

#[test]
fn the_first_policy_that_holds_decides_and_says_where_it_stands() {
    let rules = compiled(&[block("no-drop", contains(&["DROP TABLE"], true)), default_allow()]);
    let decision = Request::post(r#"{"m":"drop\u0020\ntable x"}"#).decide(&rules).unwrap();
    assert_eq!(decision.ruling, Ruling::Block { reason: "no".into(), next: None });
    assert_eq!((&*decision.policy, &*decision.place), ("no-drop", "ringward.toml:no-drop"));
    let evaluated = decision.evaluated.to_vec();
    assert_eq!(evaluated, [Evaluated { policy: 0, condition: 0, outcome: Outcome::Match, held: true }]);
    let named = rules.condition(evaluated[0]).map(|(policy, condition)| (&**policy, &**condition));
    assert_eq!(named, Some(("no-drop", "body contains_any")));
    assert_eq!(decider(&rules, &Request::post(r#"{"m":"SELECT"}"#)), "default");
    assert_eq!(decider(&rules, &Request::post("")), "default");
}

#[test]
fn a_body_is_asked_for_only_if_it_can_change_the_decision() {
    let admins = When { groups_any: vec!["admins".to_owned()], ..When::default() };
    let agents_drop = When { groups_any: vec!["agents".to_owned()], ..contains(&["DROP"], false) };
    let rules = compiled(&[allow("admins", admins), block("drop", agents_drop), default_allow()]);
    let needs = |group: &str| {
        let request = Request { groups: vec![group.to_owned()], ..Request::post("{}") };
        match rules.decide_head(&request.facts()) {
            HeadVerdict::Decided(decision) => Err(decision.policy.to_string()),
            HeadVerdict::NeedsBody(needs) => Ok(needs),
        }
    };
    assert_eq!(needs("admins"), Err("admins".to_owned()));
    assert_eq!(needs("others"), Err("default".to_owned()));
    assert_eq!(needs("agents"), Ok(Needs { json: false, text: true, raw: true, decides: true }));
}

#[test]
fn a_policy_under_trial_reports_and_does_not_decide() {
    let trial = |rule: Rule| Rule { dry_run: true, ..rule };
    let rules = compiled(&[
        trial(block("head", paths(&["/v1/**"]))),
        trial(block("body", json("/n", JsonOp::Gt(Number::Integer(1))))),
        default_allow(),
    ]);
    let dry = |body: &str| {
        let decision = Request::post(body).decide(&rules).unwrap();
        assert_eq!(&*decision.policy, "default");
        decision.dry_runs.iter().map(|dry| format!("{} {}", dry.action, dry.policy)).collect::<Vec<_>>()
    };
    assert_eq!(dry(r#"{"n":2}"#), ["block head", "block body"]);
    assert_eq!(dry(r#"{"n":1}"#), ["block head"]);
    assert_eq!(dry("unreadable"), ["block head"]);
}

#[test]
fn json_conditions_compare_values_and_count_wrong_types_against_the_caller() {
    let check = |op: JsonOp, value: &str, blocks, allows| {
        let body =
            Request::post(&if value.is_empty() { "{}".to_owned() } else { format!(r#"{{"v":{value}}}"#) });
        let blocking = compiled(&[block("it", json("/v", op.clone())), default_allow()]);
        assert_eq!(decider(&blocking, &body) == "it", blocks, "block {op:?} {value}");
        let allowing = compiled(&[allow("it", json("/v", op.clone())), block("rest", When::default())]);
        assert_eq!(decider(&allowing, &body) == "it", allows, "allow {op:?} {value}");
    };
    let number = |value| Number::Integer(value);
    let text = |value: &str| Scalar::Text(value.to_owned());
    check(JsonOp::Gt(number(40_000)), "40001", true, true);
    check(JsonOp::Gt(number(40_000)), "40000", false, false);
    check(JsonOp::Gt(number(40_000)), "40000.5", true, true);
    check(JsonOp::Gt(number(40_000)), "4e9", true, true);
    check(JsonOp::Gt(number(40_000)), "\"64000\"", true, false);
    check(JsonOp::Gt(number(40_000)), "null", true, false);
    check(JsonOp::Gt(number(40_000)), "[64000]", true, false);
    check(JsonOp::Gt(number(40_000)), "", false, false);
    check(JsonOp::Le(number(10)), "\"5\"", true, false);
    check(JsonOp::Ge(number(9_007_199_254_740_993)), "9007199254740992", false, false);
    check(JsonOp::Lt(Number::Float(0.5)), "0.25", true, true);
    check(JsonOp::Lt(Number::Float(0.5)), "-7", true, true);
    check(JsonOp::Eq(text("opus")), "\"opus\"", true, true);
    check(JsonOp::Eq(text("opus")), "\"haiku\"", false, false);
    check(JsonOp::Eq(text("opus")), "1", true, false);
    check(JsonOp::Eq(Scalar::Bool(true)), "true", true, true);
    check(JsonOp::Eq(Scalar::Bool(true)), "\"true\"", true, false);
    check(JsonOp::Eq(Scalar::Null), "1", false, false);
    check(JsonOp::Eq(Scalar::Number(number(1))), "1.0", true, true);
    check(JsonOp::Ne(text("haiku")), "\"opus\"", true, true);
    check(JsonOp::Ne(text("haiku")), "\"haiku\"", false, false);
    check(JsonOp::Ne(text("haiku")), "", true, false);
    check(JsonOp::In(vec![text("a"), text("b")]), "\"b\"", true, true);
    check(JsonOp::In(vec![text("a"), text("b")]), "\"c\"", false, false);
    check(JsonOp::In(vec![text("a"), text("b")]), "7", true, false);
    check(JsonOp::Exists(true), "null", true, true);
    check(JsonOp::Exists(true), "", false, false);
    check(JsonOp::Exists(false), "", true, true);
    check(JsonOp::Contains("DROP TABLE".to_owned()), r#""x DROP\n TABLE""#, true, true);
    check(JsonOp::Contains("DROP TABLE".to_owned()), r#"[{"k":["DROP TABLE"]}]"#, true, true);
    check(JsonOp::Contains("DROP TABLE".to_owned()), "\"DROP\"", false, false);
    check(JsonOp::Contains("1".to_owned()), "1", true, false);
}

#[test]
fn a_member_that_differs_in_case_counts_against_the_caller() {
    let rules =
        compiled(&[block("big", json("/max_tokens", JsonOp::Gt(Number::Integer(5)))), default_allow()]);
    assert_eq!(decider(&rules, &Request::post(r#"{"max_tokens":1}"#)), "default");
    assert_eq!(decider(&rules, &Request::post(r#"{"max_tokens":1,"Max_Tokens":9}"#)), "big");
    assert_eq!(decider(&rules, &Request::post(r#"{"max_tokens":1,"max_tokens":9}"#)), "body_duplicate_key");
}

#[test]
fn sql_is_parsed_and_what_is_none_is_blocked() {
    let kinds = [SqlKind::Drop, SqlKind::Truncate, SqlKind::DeleteWithoutWhere];
    let rules = compiled(&[block("sql", sql(&kinds)), default_allow()]);
    let reads = compiled(&[allow("reads", sql(&[SqlKind::Select])), block("rest", When::default())]);
    let check = |text: &str, decider_name, reads_name| {
        let body = Request::post(&serde_json::json!({ "sql": text }).to_string());
        assert_eq!(decider(&rules, &body), decider_name, "{text}");
        assert_eq!(decider(&reads, &body), reads_name, "{text}");
    };
    check("SELECT 'DROP TABLE x'", "default", "reads");
    check("drop/**/table x", "sql", "rest");
    check("SELECT 1; DELETE FROM x", "sql", "rest");
    check("DELETE FROM x WHERE id = 7", "default", "rest");
    check("no sql at all", "sql", "rest");
    check("", "default", "rest");
    assert_eq!(decider(&rules, &Request::post(r#"{"sql":["DROP TABLE x"]}"#)), "sql");
    assert_eq!(decider(&rules, &Request::post(r#"{"SQL":"SELECT 1"}"#)), "sql");
    assert_eq!(decider(&rules, &Request::post(r#"{"query":"x"}"#)), "default");
    assert_eq!(decider(&rules, &Request::post("DROP TABLE x")), "body_syntax");
}

#[test]
fn any_occurrence_of_a_parameter_counts() {
    let when = |name: &str, op: FieldOp| When {
        query: vec![FieldTest { name: name.to_owned(), op }],
        ..When::default()
    };
    let check = |op: FieldOp, query: &str, blocks, allows| {
        let request = Request::to(&format!("/x?{query}"));
        let blocking = compiled(&[block("it", when("a b", op.clone())), default_allow()]);
        assert_eq!(decider(&blocking, &request) == "it", blocks, "block {op:?} {query}");
        let allowing = compiled(&[allow("it", when("a b", op.clone())), block("rest", When::default())]);
        assert_eq!(decider(&allowing, &request) == "it", allows, "allow {op:?} {query}");
    };
    let equals = || FieldOp::Equals("x".to_owned());
    check(equals(), "a%20b=x", true, true);
    check(equals(), "%61%20b=%78", true, true);
    check(equals(), "a+b=x", true, false);
    check(equals(), "A%20B=x", true, false);
    check(equals(), "a%20b=y&a%20b=x", true, false);
    check(equals(), "a%20b=x&a%20b=x", true, true);
    check(equals(), "a%20b=y", false, false);
    check(equals(), "", false, false);
    check(equals(), "b=x", false, false);
    check(FieldOp::Present, "a%20b", true, true);
    check(FieldOp::Present, "c", false, false);
    check(FieldOp::Absent, "c", true, true);
    check(FieldOp::Absent, "a%20b=", false, false);
    check(FieldOp::Absent, "A%20b=", true, false);
    check(FieldOp::Contains("p q".to_owned()), "a%20b=op+qr", true, false);
    check(FieldOp::Contains("p q".to_owned()), "a%20b=op%20qr", true, true);
    check(FieldOp::Contains("p q".to_owned()), "a%20b=opq", false, false);
}

#[test]
fn heads_are_told_apart() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let header = |op| When { headers: vec![FieldTest { name: "X-Env".to_owned(), op }], ..When::default() };
    let mut request = Request::post("");
    request.headers.append("x-env", b"prod");
    request.headers.append("X-Env", b"test");
    let check = |when: When, blocks, allows| {
        let blocking = compiled(&[block("it", when.clone()), default_allow()]);
        assert_eq!(decider(&blocking, &request) == "it", blocks, "block {when:?}");
        let allowing = compiled(&[allow("it", when.clone()), block("rest", When::default())]);
        assert_eq!(decider(&allowing, &request) == "it", allows, "allow {when:?}");
    };
    check(header(FieldOp::Equals("prod".to_owned())), true, false);
    check(header(FieldOp::Contains("t".to_owned())), true, false);
    check(header(FieldOp::Present), true, true);
    check(header(FieldOp::Absent), false, false);
    check(When { methods: vec![Method::Post], ..When::default() }, true, true);
    check(When { methods: vec![Method::from_token("post")], ..When::default() }, true, false);
    check(When { methods: vec![Method::Get], ..When::default() }, false, false);
    check(When { groups_any: names(&["x", "agents"]), ..When::default() }, true, true);
    check(When { groups_all: names(&["x", "agents"]), ..When::default() }, false, false);
    check(When { subjects: names(&["spiffe://agent"]), ..When::default() }, true, true);
    check(When { purposes: names(&["other"]), ..When::default() }, false, false);
    check(paths(&["/v1/messages"]), true, true);
    check(paths(&["/V1/Messages/"]), true, false);
    check(When { purposes: names(&["triage"]), ..paths(&["/v2/**"]) }, false, false);
}

#[test]
fn rules_that_cannot_work_are_refused() {
    let check = |rules: &[Rule], policy, fault: RuleFault| {
        let error = RuleSet::compile(rules, Protocol::Http).err();
        assert_eq!(error, Some(RuleError { policy, fault }), "{rules:?}");
    };
    check(&[], 0, RuleFault::FallsThrough);
    check(&[block("a", paths(&["/a"]))], 0, RuleFault::FallsThrough);
    check(&[Rule { dry_run: true, ..default_allow() }], 0, RuleFault::FallsThrough);
    check(&[default_allow(), block("a", paths(&["/a"]))], 1, RuleFault::Unreachable { by: 0 });
    check(
        &[approve("a", paths(&["/v1/**"])), block("b", paths(&["/v1/x"])), default_allow()],
        1,
        RuleFault::Unreachable { by: 0 },
    );
    let narrow = When { paths: paths(&["/v1/x"]).paths, ..contains(&["x"], true) };
    check(
        &[allow("a", paths(&["/v1/**"])), block("b", narrow), default_allow()],
        1,
        RuleFault::Unreachable { by: 0 },
    );
    check(
        &[block("a", paths(&["/a"])), block("a", paths(&["/b"])), default_allow()],
        1,
        RuleFault::Repeated { first: 0 },
    );
    check(&[block("a", contains(&[], true)), default_allow()], 0, RuleFault::EmptyList);
    check(&[block("a", contains(&["\u{200b}"], true)), default_allow()], 0, RuleFault::EmptyText);
    check(
        &[block("a", json("x", JsonOp::Exists(true))), default_allow()],
        0,
        RuleFault::Pointer { path: "x".to_owned() },
    );
    check(
        &[block("a", json("/x", JsonOp::Gt(Number::Float(f64::NAN)))), default_allow()],
        0,
        RuleFault::NotFinite,
    );
    check(&[block("a", json("/x", JsonOp::In(Vec::new()))), default_allow()], 0, RuleFault::EmptyList);
    check(&[block("a", sql(&[])), default_allow()], 0, RuleFault::EmptySql);
    let pattern = || "x".to_owned();
    let fault = RuleFault::Path { pattern: pattern(), error: PatternError::NoSlash };
    check(&[block("a", paths(&["x"])), default_allow()], 0, fault);
}

#[test]
fn an_exception_before_a_block_is_no_shadow() {
    let admins = When { groups_any: vec!["admins".to_owned()], ..When::default() };
    compiled(&[allow("a", admins), block("b", contains(&["x"], false)), default_allow()]);
    let trial = Rule { dry_run: true, ..allow("a", When::default()) };
    assert!(compiled(&[trial, approve("b", paths(&["/a"])), default_allow()]).may_approve());
}

#[test]
fn a_language_model_is_searched_in_its_strings_only() {
    let rules = [block("a", contains(&["\":\""], false)), default_allow()];
    let body = Request::post(r#"{"role":"user"}"#);
    let check = |protocol, name| {
        let rules = RuleSet::compile(&rules, protocol).unwrap();
        assert_eq!(decider(&rules, &body), name, "{protocol}");
    };
    check(Protocol::Http, "a");
    check(Protocol::Anthropic, "default");
    check(Protocol::OpenAi, "default");
}

/// A rule set with every kind of condition.
fn everything() -> RuleSet {
    let query = vec![FieldTest { name: "q".to_owned(), op: FieldOp::Contains("x".to_owned()) }];
    compiled(&[
        block("path", paths(&["/admin/**", "/a/*/c"])),
        block("query", When { query, ..When::default() }),
        block("json", json("/a/0", JsonOp::Gt(Number::Integer(0)))),
        block("in", json("/b", JsonOp::In(vec![Scalar::Null, Scalar::Text("x".to_owned())]))),
        block("text", contains(&["DROP TABLE"], true)),
        block("sql", sql(&[SqlKind::Drop])),
        default_allow(),
    ])
}

proptest::proptest! {
    #[test]
    fn no_request_makes_it_panic(path in "/[ -~]{0,40}", query: Option<String>, body: Vec<u8>) {
        let rules = everything();
        let request = Request { path, query, ..Request::post("") };
        let head = request.facts();
        for content_type in [None, Some("application/json"), Some("text/plain")] {
            let body = BodyFacts::parse(&body, content_type, None, rules.needs()).unwrap_or_default();
            rules.decide(&head, &body);
        }
    }

    #[test]
    fn what_an_allow_list_lets_through_no_block_list_forbids(
        words in proptest::collection::vec(
            proptest::sample::select(vec![
                "SELECT", "DROP", "TABLE", "DELETE", "FROM", "WHERE", "WITH", "AS", "(", ")", ",", ";", "'",
                "a",
                "1", "*", "--", "/*", "*/", "$$", "=", "OR", "UPDATE", "SET", "\\", "\"", "`", "\n", "é",
                "CASE",
            ]),
            0..30,
        )
    ) {
        let body = Request::post(&serde_json::json!({ "sql": words.join(" ") }).to_string());
        let reads = compiled(&[allow("it", sql(&[SqlKind::Select])), block("rest", When::default())]);
        let kinds = [SqlKind::Drop, SqlKind::Delete, SqlKind::Update];
        let writes = compiled(&[block("it", sql(&kinds)), default_allow()]);
        let both = decider(&reads, &body) == "it" && decider(&writes, &body) == "it";
        proptest::prop_assert!(!both, "{}", words.join(" "));
    }

    /// SECURITY R13: a path in disguise is decided as the path that goes upstream.
    #[test]
    fn a_raw_path_is_decided_as_its_canonical_form(
        parts in proptest::collection::vec(
            proptest::sample::select(vec![
                "/admin", "/%61dmin", "/a", "/./", "//", "/../", "/b", "/c", "/%2e%2e", "/%7e", "/x;y",
                "/Admin", "/",
            ]),
            1..8,
        )
    ) {
        let raw = parts.concat();
        if let Ok((canonical, _)) = target::canonicalise(raw.as_bytes()) {
            let rules = everything();
            let again = target::canonicalise(canonical.as_bytes()).unwrap().0;
            proptest::prop_assert_eq!(&again, &canonical);
            let blocked = decider(&rules, &Request::to(&canonical)) == "path";
            let lower = canonical.to_lowercase();
            if lower == "/admin" || lower.starts_with("/admin/") {
                proptest::prop_assert!(blocked, "{} {}", raw, canonical);
            }
        }
    }
}

//! A recorded exchange decided again: by the same plan as it was live, by another one as that one would.

use super::*;
use crate::{
    approval::Verdict,
    exchange::replay::{Answer as Decided, Change, Recorded, Replayed, Replayer, Span, Unknown},
    policy::{FieldOp, FieldTest, JsonOp, JsonTest, Number},
};
use proptest::prelude::*;

/// One request of a property, and the answer of its upstream.
#[derive(Clone, Debug)]
struct Asked {
    method: Method,
    path: &'static str,
    query: Option<&'static str>,
    headers: Vec<(&'static str, &'static str)>,
    body: &'static str,
    /// Where the body is cut into what comes with the head and what comes later.
    cut: usize,
    response: &'static str,
}

impl Asked {
    fn post(body: &'static str) -> Asked {
        let headers = vec![("content-type", "application/json")];
        let (path, response) = ("/api/things", "{\"answer\":1}");
        Asked { method: Method::Post, path, query: None, headers, body, cut: 0, response }
    }

    /// Runs it on `plan` and gives what the journal would hold.
    fn live(&self, plan: &Arc<Plan>) -> Vec<Record> {
        let mut driven = World::default().exchange();
        let caller = driven.exchange.caller.clone();
        driven.exchange = Exchange::new(plan.clone(), caller, Now::default());
        let mut headers = Headers::new();
        self.headers.iter().for_each(|(name, value)| headers.append(name, value.as_bytes()));
        let cut = self.cut.min(self.body.len());
        let (first, rest) = self.body.as_bytes().split_at(cut);
        let framing =
            if self.body.is_empty() { Framing::None } else { Framing::Length(self.body.len() as u64) };
        let head = RequestHead {
            path: self.path.to_owned(),
            query: self.query.map(str::to_owned),
            headers,
            ..head(self.method.clone(), framing)
        };
        let data = Chunk::from_static(first).into();
        let mut records = Vec::new();
        let mut events = vec![Event::Request(Arrival { head: Box::new(head), data, end: rest.is_empty() })];
        let mut rest = Some(Chunk::from_static(rest)).filter(|rest| !rest.is_empty());
        while let Some(event) = events.pop() {
            for step in driven.on(event) {
                match step {
                    Step::Ask(ticket, Ask::Record(more, _)) => {
                        records.extend(more);
                        events.push(Event::Answer(ticket, Answer::Recorded(Ok(1))));
                    }
                    Step::Ask(ticket, Ask::Verdict(asked)) => {
                        let denied =
                            Verdict::Denied { approval: "apr_1".into(), reason: "Not today.".into() };
                        events.push(Event::Answer(ticket, Answer::Verdict(denied, asked.body)));
                    }
                    Step::Note(record) => records.push(record),
                    Step::Finish(record, _) => records.extend(record),
                    Step::Reply(_) | Step::Respond { end: true, .. } => events.push(Event::Delivered),
                    Step::ReadBody | Step::Forward(_) | Step::ForwardBody { .. } => {}
                    other => panic!("{other:?}"),
                }
            }
            if events.is_empty() && driven.exchange.wants_body() && rest.is_some() {
                let data = rest.take().expect("it is there").into();
                events.push(Event::RequestBody { data, end: true });
            } else if events.is_empty() && matches!(driven.exchange.stage, Stage::Open) {
                let head = Box::new(ResponseHead {
                    framing: Framing::Length(self.response.len() as u64),
                    ..response_head("application/json")
                });
                let data = Chunk::from_static(self.response.as_bytes()).into();
                events.push(Event::Response { head, data, end: true });
            }
        }
        assert!(driven.exchange.has_ended(), "{self:?}");
        records
    }
}

fn replay(records: &[Record], plan: &Arc<Plan>, then: &[inspect::Rule]) -> Replayed {
    let recorded = Recorded::new(records).expect("it began");
    Replayer::new(plan.clone(), vec![false]).replay(&recorded, Some(then))
}

fn block(name: &str, when: When) -> Rule {
    rule(name, when, Action::Block { reason: "No.".into(), next: None })
}

fn allow() -> Rule {
    rule("default", When::default(), Action::Allow)
}

fn mask(name: &str, kind: Kind) -> inspect::Rule {
    let (replace, direction) = (Replacement::default(), inspect::Direction::Both);
    inspect::Rule { name: name.into(), kind, replace, direction, dry_run: false }
}

fn masked(rules: Vec<inspect::Rule>) -> Option<Arc<MaskSet>> {
    Some(Arc::new(MaskSet::compile(rules).expect("masks")))
}

/// Rules of every kind, of which each world takes some.
fn rules() -> Vec<Rule> {
    let field = |name: &str, op| vec![FieldTest { name: name.to_owned(), op }];
    let tokens = JsonTest { path: "/n".to_owned(), op: JsonOp::Gt(Number::Integer(5)) };
    let terms = crate::policy::ApprovalTerms {
        by: vec!["group:sre".to_owned()],
        approvals_min: 1,
        allow_self: false,
        timeout: Duration::from_secs(1),
        digest: [0; 32],
    };
    let hello = BodyTest { contains_any: vec!["hello".to_owned()], ignore_case: false };
    let approve = Action::Approve { reason: "Many.".into(), terms: Arc::new(terms) };
    vec![
        no_drop(),
        block("delete", When { methods: vec![Method::Delete], ..When::default() }),
        block("path", When { paths: vec!["/api/secret/**".to_owned()], ..When::default() }),
        block("header", When { headers: field("x-mode", FieldOp::Equals("wild".into())), ..When::default() }),
        block(
            "via",
            When { headers: field("via", FieldOp::Contains("elsewhere".into())), ..When::default() },
        ),
        block("query", When { query: field("force", FieldOp::Present), ..When::default() }),
        rule("many", When { json: vec![tokens], ..When::default() }, approve),
        Rule { dry_run: true, ..block("trial", When { body: Some(hello), ..When::default() }) },
    ]
}

fn asked() -> impl Strategy<Value = Asked> {
    let methods = prop::sample::select(vec![Method::Get, Method::Post, Method::Delete]);
    let paths = prop::sample::select(vec!["/api/things", "/api/secret/x", "/elsewhere"]);
    let queries = prop::sample::select(vec![None, Some("a=1"), Some("force"), Some("access_token=abc")]);
    let headers = prop::sample::subsequence(
        vec![
            ("content-type", "application/json"),
            ("x-mode", "wild"),
            ("via", "1.1 elsewhere"),
            ("x-forwarded-for", "192.0.2.1"),
            ("authorization", "Bearer abc"),
        ],
        0..=5,
    );
    let bodies = prop::sample::select(vec![
        "",
        "{\"n\":3}",
        "{\"n\":9,\"text\":\"hello\"}",
        "{\"text\":\"drop table x\"}",
        "{\"text\":\"mail a@example.com\",\"n\":1}",
        "{\"n\":",
    ]);
    let responses = prop::sample::select(vec!["{\"a\":1}", "{\"mail\":\"b@example.com\"}", "plain"]);
    (methods, paths, queries, headers, bodies, 0..40usize, responses).prop_map(
        |(method, path, query, headers, body, cut, response)| Asked {
            method,
            path,
            query,
            headers,
            body,
            cut,
            response,
        },
    )
}

fn world(rules: &[Rule], masks: bool, kept: u64) -> Arc<Plan> {
    let masks = masks.then(|| masked(vec![mask("mails", Kind::Email)])).flatten();
    let record = Recording::On { commit: Commit::Durable, body_bytes_max: kept };
    World { rules: [rules, &[allow()]].concat(), masks, record, ..World::default() }.plan()
}

proptest! {
    /// What was decided live is decided again, or it is said why that is not known.
    #[test]
    fn the_same_plan_decides_as_it_did_live(
        asked in asked(),
        rules in prop::sample::subsequence(rules(), 0..=8),
        masks in any::<bool>(),
        kept in prop::sample::select(vec![0, 1 << 20]),
    ) {
        let plan = world(&rules, masks, kept);
        let records = asked.live(&plan);
        let then = if masks { vec![mask("mails", Kind::Email)] } else { vec![] };
        let again = replay(&records, &plan, &then);
        let recorded = Recorded::new(&records).expect("it began");
        prop_assert_eq!(&again.spans, &vec![]);
        prop_assert_eq!(again.spans_unknown, None);
        match (&again.verdict, &recorded.verdict) {
            (Ok(verdict), Some(then)) => prop_assert_eq!(verdict, then),
            (Err(Unknown::Undecided), None) => {}
            (Err(Unknown::Redacted), _) => {
                let reads = plan.routes[0].rules.reads_query();
                prop_assert!(reads && asked.query.is_some_and(|query| query.contains("token")));
            }
            (Err(Unknown::Masked), _) => prop_assert!(masks && asked.body.contains('@')),
            // No policy read the body of a request that its head had decided already.
            (Err(Unknown::BodyNotRecorded), _) => prop_assert!(kept == 0 || recorded.code.is_some()),
            (now, then) => prop_assert!(false, "{:?} was {:?}", now, then),
        }
    }

    /// Under another plan a recorded request gets the answer that it gets there live.
    #[test]
    fn another_plan_decides_as_it_would_live(
        asked in asked(),
        then in prop::sample::subsequence(rules(), 0..=8),
        now in prop::sample::subsequence(rules(), 0..=8),
    ) {
        let records = asked.live(&world(&then, false, 1 << 20));
        let other = world(&now, false, 1 << 20);
        let live = asked.live(&other);
        let live = Recorded::new(&live).expect("it began");
        if let (Ok(verdict), Some(live)) = (replay(&records, &other, &[]).verdict, &live.verdict) {
            prop_assert_eq!(&verdict, live);
        }
    }
}

#[test]
fn a_changed_policy_changes_decisions_both_ways() {
    let body = "{\"text\":\"DROP TABLE x\",\"n\":9}";
    let strict = world(&[no_drop()], false, 1 << 20);
    let lax = world(&[], false, 1 << 20);
    let asking = world(&rules()[6..7], false, 1 << 20);
    let check = |from: &Arc<Plan>, to: &Arc<Plan>, was: Decided, is: Decided, policy: &str| {
        let records = Asked::post(body).live(from);
        assert_eq!(Recorded::new(&records).unwrap().verdict.unwrap().answer, was);
        let verdict = replay(&records, to, &[]).verdict.expect("all of it was recorded");
        assert_eq!((verdict.answer, &*verdict.policy), (is, policy));
    };
    check(&lax, &strict, Decided::Allow, Decided::Deny, "no-drop");
    check(&strict, &lax, Decided::Deny, Decided::Allow, "default");
    check(&lax, &asking, Decided::Allow, Decided::Approve, "many");
    check(&strict, &asking, Decided::Deny, Decided::Approve, "many");
    let elsewhere = World { path: "/other/**", ..World::default() }.plan();
    check(&lax, &elsewhere, Decided::Allow, Decided::Refuse, "no_route");
    let small = World { body_bytes_max: 8, ..World::default() }.plan();
    check(&lax, &small, Decided::Allow, Decided::Refuse, "body_too_large");
}

#[test]
fn what_no_record_holds_is_unknown() {
    let strict = world(&[no_drop()], false, 1 << 20);
    let check = |asked: Asked, plan: &Arc<Plan>, unknown: Unknown| {
        let records = asked.live(plan);
        assert_eq!(replay(&records, &strict, &[]).verdict, Err(unknown), "{asked:?}");
    };
    let long = "{\"text\":\"0123456789\"}";
    check(Asked::post(long), &world(&[], false, 0), Unknown::BodyNotRecorded);
    check(Asked { cut: 10, ..Asked::post(long) }, &world(&[], false, 12), Unknown::BodyTruncated);
    check(Asked::post("{\"to\":\"a@example.com\"}"), &world(&[], true, 1 << 20), Unknown::Masked);
    let unreadable = world(&[no_drop()], false, 1 << 20);
    check(Asked::post("{"), &unreadable, Unknown::Undecided);
    // A policy on trial that reads the body decides nothing.
    let trial = world(&rules()[7..], false, 1 << 20);
    let records = Asked::post(long).live(&world(&[], false, 0));
    assert_eq!(replay(&records, &trial, &[]).verdict.unwrap().answer, Decided::Allow);
}

#[test]
fn masks_that_are_new_or_gone_show_their_spans() {
    let asked =
        Asked { response: "{\"mail\":\"b@example.com\"}", ..Asked::post("{\"to\":\"a@example.com\"}") };
    let mails = mask("mails", Kind::Email);
    let words = |word: &str| mask("words", Kind::Literals(vec![word.to_owned()]));
    let plan = |rules: Vec<inspect::Rule>| World { masks: masked(rules), ..World::default() }.plan();
    let span = |change, rule: &str, direction, offset, len| Span {
        change,
        rule: rule.into(),
        direction,
        offset,
        len,
    };
    let (to, back) = (inspect::Direction::Request, inspect::Direction::Response);
    let clear = asked.live(&world(&[], false, 1 << 20));
    let again = replay(&clear, &plan(vec![mails.clone()]), &[]);
    let added =
        |rule: &str| vec![span(Change::Added, rule, to, 7, 13), span(Change::Added, rule, back, 9, 13)];
    assert_eq!((again.spans, again.spans_unknown), (added("mails"), None));

    let masked = asked.live(&plan(vec![mails.clone()]));
    let removed =
        vec![span(Change::Removed, "mails", to, 7, 13), span(Change::Removed, "mails", back, 9, 13)];
    let again = replay(&masked, &world(&[], false, 1 << 20), std::slice::from_ref(&mails));
    assert_eq!((again.spans, again.spans_unknown), (removed, None));
    // Another name or another text in its place leaves the span masked.
    let renamed = inspect::Rule { replace: Replacement::Asterisks, ..mask("post", Kind::Email) };
    let again = replay(&masked, &plan(vec![renamed]), std::slice::from_ref(&mails));
    assert_eq!((again.spans, again.spans_unknown), (vec![], None));
    // A mask for other things may find what is not there any more.
    let again = replay(&masked, &plan(vec![words("example")]), std::slice::from_ref(&mails));
    assert_eq!((again.spans, again.spans_unknown), (vec![], Some(Unknown::Masked)));
    // Without the configuration of then, its masks have no names.
    let recorded = Recorded::new(&masked).unwrap();
    let unmasked = world(&[], false, 1 << 20);
    let again = Replayer::new(unmasked, vec![false]).replay(&recorded, None);
    assert_eq!((again.spans, again.spans_unknown), (vec![], Some(Unknown::MasksNotRecorded)));
    // A word that stands in the replacement was not let through; one beside it was.
    let again = replay(&masked, &plan(vec![mails.clone(), words("to")]), std::slice::from_ref(&mails));
    assert_eq!(again.spans, vec![span(Change::Added, "words", to, 2, 2)]);
}

#[test]
fn a_refused_body_is_recorded_as_it_would_have_gone_upstream() {
    let content = |records: &[Record]| match &records[0] {
        Record::Content(content) => (content.bytes.to_vec(), content.edits.len()),
        other => panic!("{other:?}"),
    };
    let records = Asked::post("{\"text\":\"drop table x\"}").live(&world(&[no_drop()], false, 1 << 20));
    assert_eq!(records.len(), 2);
    assert_eq!(content(&records), (b"{\"text\":\"drop table x\"}".to_vec(), 0));
    let records = Asked::post("{\"text\":\"drop table a@b.io\"}").live(&world(&[no_drop()], true, 1 << 20));
    assert_eq!(content(&records), (b"{\"text\":\"drop table [mails]\"}".to_vec(), 1));
    let odd = Asked { headers: vec![("content-type", "application/sql")], ..Asked::post("drop table x") };
    let records = odd.live(&world(&[no_drop()], true, 1 << 20));
    assert!(matches!(&records[0], Record::Content(content) if content.keep), "it is text");
    let form = ("content-type", "application/x-www-form-urlencoded");
    let form = Asked { headers: vec![form], ..Asked::post("q=drop+table&to=a%40b.io") };
    let records = form.live(&world(&[no_drop()], true, 1 << 20));
    assert_eq!(content(&records), (b"q=drop+table&to=%5Bmails%5D".to_vec(), 1));
    let off = World { rules: vec![no_drop(), allow()], record: Recording::Off, ..World::default() };
    assert!(Asked::post("drop table x").live(&off.plan()).is_empty());
}

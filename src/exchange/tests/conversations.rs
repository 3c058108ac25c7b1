//! Turns of conversations: what was judged in one is not judged again in the next.

use super::*;
use crate::{
    approval::{Conversations, Key, Question, Verdict},
    audit::Edit,
    buffer::Segments,
    limits::CONVERSATION_EXCERPT_BODY_MAX,
    policy::{ApprovalTerms, JsonOp, JsonTest, Number},
};

/// What became of a turn.
#[derive(Debug)]
enum Became {
    /// It went upstream with this body and these records.
    Sent(String, Vec<Record>),
    Held(Box<Question>),
    Refused(String),
}

/// Turns of one subject.
struct Talk {
    conversations: Arc<Conversations>,
    subject: &'static str,
    rules: fn() -> Vec<Rule>,
    masks: Option<Arc<MaskSet>>,
    protocol: Protocol,
}

impl Talk {
    fn new(rules: fn() -> Vec<Rule>) -> Talk {
        let conversations = Arc::<Conversations>::default();
        conversations.open(Key::new(&[7; 32]), Vec::new());
        Talk { conversations, subject: "agent", rules, masks: None, protocol: Protocol::Anthropic }
    }

    fn with(&self, change: impl FnOnce(&mut Talk)) -> Talk {
        let Talk { conversations, subject, rules, masks, protocol } = self;
        let (conversations, masks) = (conversations.clone(), masks.clone());
        let mut other = Talk { conversations, subject, rules: *rules, masks, protocol: *protocol };
        change(&mut other);
        other
    }

    fn start(&self) -> Driven {
        let mut driven = World {
            protocol: self.protocol,
            rules: (self.rules)(),
            conversations: self.conversations.clone(),
            masks: self.masks.clone(),
            body_bytes_max: 64 << 20,
            ..World::default()
        }
        .exchange();
        driven.memory = Budget::new(64 << 20);
        driven.exchange.principal = Some(principal(self.subject, 99));
        driven
    }

    fn say(&self, body: &str) -> Became {
        self.judged(body, |_| None)
    }

    /// Says something, and people say `verdict`.
    fn judged(&self, body: &str, verdict: impl Fn(&Question) -> Option<Verdict>) -> Became {
        let mut driven = self.start();
        let data: Segments = Chunk::from(body.as_bytes().to_vec()).into();
        let mut head = head(Method::Post, Framing::Length(body.len() as u64));
        head.headers.set("content-type", b"application/json");
        let mut steps = driven.on(Event::Request(Arrival { head: Box::new(head), data, end: true }));
        if let [Step::Ask(_, Ask::Verdict(_))] = &steps[..] {
            let Some(Step::Ask(ticket, Ask::Verdict(question))) = steps.pop() else { unreachable!() };
            let Some(verdict) = verdict(&question) else { return Became::Held(question) };
            steps = driven.on(Event::Answer(ticket, Answer::Verdict(verdict, question.body)));
        }
        match steps.pop() {
            Some(Step::Ask(ticket, Ask::Record(records, _))) => {
                let steps = driven.on(Event::Answer(ticket, Answer::Recorded(Ok(1))));
                let Some(Step::Forward(forward)) = steps.into_iter().next() else { panic!("not sent") };
                let sent = String::from_utf8(forward.data.to_vec()).unwrap();
                assert_eq!(forward.head.framing, Framing::Length(sent.len() as u64));
                Became::Sent(sent, records)
            }
            Some(Step::Reply(reply)) => Became::Refused(String::from_utf8(reply.body.to_vec()).unwrap()),
            other => panic!("{other:?}"),
        }
    }

    /// Says something that goes upstream, and gives what that gets.
    fn sent(&self, body: &str) -> String {
        match self.say(body) {
            Became::Sent(sent, _) => sent,
            other => panic!("{body}: {other:?}"),
        }
    }

    fn is_refused(&self, body: &str) -> bool {
        matches!(self.say(body), Became::Refused(_))
    }

    fn is_held(&self, body: &str) -> bool {
        matches!(self.say(body), Became::Held(_))
    }
}

fn blocking() -> Vec<Rule> {
    vec![no_drop(), rule("default", When::default(), Action::Allow)]
}

fn asks() -> Action {
    let terms = ApprovalTerms {
        by: vec!["local:0".to_owned()],
        approvals_min: 1,
        allow_self: false,
        timeout: Duration::from_secs(60),
        digest: [0; 32],
    };
    Action::Approve { reason: "Ask.".into(), terms: Arc::new(terms) }
}

fn asking() -> Vec<Rule> {
    vec![Rule { action: asks(), ..no_drop() }, rule("default", When::default(), Action::Allow)]
}

/// The same under other rules.
fn asking_more() -> Vec<Rule> {
    let never = When { subjects: vec!["nobody".to_owned()], ..When::default() };
    [vec![rule("never", never, Action::Allow)], asking()].concat()
}

/// Blocks drops where many tokens are asked for.
fn costly() -> Vec<Rule> {
    let many = JsonTest { path: "/max_tokens".into(), op: JsonOp::Gt(Number::Integer(9)) };
    let mut drop = no_drop();
    drop.when.json = vec![many];
    vec![drop, rule("default", When::default(), Action::Allow)]
}

fn turn(messages: &[&str]) -> String {
    let messages: Vec<String> =
        messages.iter().map(|text| format!("{{\"role\":\"user\",\"content\":\"{text}\"}}")).collect();
    format!("{{\"max_tokens\":5,\"messages\":[{}]}}", messages.join(","))
}

const MARK: &str = "[removed by policy no-drop]";

#[test]
fn a_blocked_prompt_is_refused_once_and_replaced_when_the_conversation_goes_on() {
    let talk = Talk::new(blocking);
    talk.sent(&turn(&["hi"]));
    assert!(talk.is_refused(&turn(&["hi", "drop table x"])));
    assert!(talk.is_refused(&turn(&["hi", "drop table x"])), "the same again is no later turn");
    let body = turn(&["hi", "drop table x", "sorry"]);
    let Became::Sent(sent, records) = talk.say(&body) else { panic!("refused") };
    assert_eq!(sent, turn(&["hi", MARK, "sorry"]));
    // The record says what was taken out, where, and by whom, and holds what upstream got.
    let [Record::Content(content), Record::Intent(intent)] = &records[..] else { panic!("{records:?}") };
    let offset = body.find("\"drop table").unwrap() as u64;
    assert_eq!(content.edits, [Edit { offset, len: 14, rule: Edit::REMOVED }]);
    assert_eq!(content.bytes.to_vec(), sent.as_bytes());
    let removed: Vec<_> = intent.decision.removed.iter().map(|one| (one.block, &*one.policy)).collect();
    assert_eq!((intent.decision.passed, &removed[..]), (1, &[(1, "no-drop")][..]));
    assert_eq!(talk.sent(&turn(&["hi", "drop table x", "sorry", "on"])), turn(&["hi", MARK, "sorry", "on"]));
    assert!(talk.is_refused(&turn(&["hi", "drop table x", "sorry", "on", "drop table y"])));
    let all = ["hi", "drop table x", "sorry", "on", "drop table y", "well"];
    assert_eq!(talk.sent(&turn(&all)), turn(&["hi", MARK, "sorry", "on", MARK, "well"]));
}

#[test]
fn another_subject_route_or_set_of_rules_gets_nothing_from_it() {
    let talk = Talk::new(blocking);
    assert!(talk.is_refused(&turn(&["drop table x"])));
    let later = turn(&["drop table x", "sorry"]);
    assert!(talk.with(|other| other.subject = "other").is_refused(&later));
    talk.sent(&later);
    assert!(talk.with(|other| other.conversations = Talk::new(blocking).conversations).is_refused(&later));
    let held = Talk::new(asking);
    let approve = |_: &Question| Some(Verdict::Approved { approval: "apr_1".into() });
    assert!(matches!(held.judged(&turn(&["drop table x"]), approve), Became::Sent(..)));
    assert!(!held.is_held(&later));
    assert!(held.with(|other| other.subject = "other").is_held(&later));
    assert!(held.with(|other| other.rules = asking_more).is_held(&later));
}

#[test]
fn what_people_approved_is_not_asked_again_and_what_they_denied_is_replaced() {
    let talk = Talk::new(asking);
    let Became::Held(first) = talk.say(&turn(&["hi", "drop table x"])) else { panic!("not held") };
    let Became::Held(again) = talk.say(&turn(&["hi", "drop table x"])) else { panic!("not held") };
    assert_eq!(first.asked, again.asked, "it finds its card");
    assert!(first.asked.is_some() && first.excerpt.is_new);
    assert!(first.excerpt.text.starts_with("\"drop table x\"\n"), "the match first: {:?}", first.excerpt);
    let approve = |_: &Question| Some(Verdict::Approved { approval: "apr_1".into() });
    assert!(matches!(talk.judged(&turn(&["hi", "drop table x"]), approve), Became::Sent(..)));
    assert_eq!(talk.sent(&turn(&["hi", "drop table x", "on"])), turn(&["hi", "drop table x", "on"]));
    let Became::Held(new) = talk.say(&turn(&["hi", "drop table x", "on", "drop table y"])) else { panic!() };
    assert_eq!(new.excerpt.text, "\"drop table y\"", "only what is new");
    let shown = new.excerpt.text.len() as u64;
    assert_eq!(new.excerpt.hidden_bytes, new.body.len_bytes() as u64 - shown);
    let deny = |_: &Question| Some(Verdict::Denied { approval: "apr_2".into(), reason: "No.".into() });
    let refused = talk.judged(&turn(&["hi", "drop table x", "on", "drop table y"]), deny);
    assert!(matches!(refused, Became::Refused(_)), "{refused:?}");
    let all = ["hi", "drop table x", "on", "drop table y", "then not"];
    assert_eq!(talk.sent(&turn(&all)), turn(&["hi", "drop table x", "on", MARK, "then not"]));
}

#[test]
fn what_passed_where_a_rule_did_not_look_is_judged_where_it_does() {
    let talk = Talk::new(costly);
    let costly = |body: String| body.replace("\"max_tokens\":5", "\"max_tokens\":50");
    talk.sent(&turn(&["drop table x"]));
    assert!(talk.is_refused(&costly(turn(&["drop table x", "on"]))));
    talk.sent(&turn(&["drop table x", "on"]));
    talk.sent(&costly(turn(&["hello"])));
}

/// Blocks drops where the system text says that it is about production.
fn joined() -> Vec<Rule> {
    let about = JsonTest { path: "/system".into(), op: JsonOp::Contains("production".into()) };
    let mut drop = no_drop();
    drop.when.json = vec![about];
    vec![drop, rule("default", When::default(), Action::Allow)]
}

fn joined_asking() -> Vec<Rule> {
    let mut rules = joined();
    rules[0].action = asks();
    rules
}

fn about(system: &str, messages: &[&str]) -> String {
    turn(messages).replace("{\"max_tokens\"", &format!("{{\"system\":\"{system}\",\"max_tokens\""))
}

#[test]
fn conditions_of_one_rule_are_not_met_turn_by_turn() {
    let talk = Talk::new(joined);
    talk.sent(&about("production", &["hi"]));
    assert!(talk.is_refused(&about("production", &["hi", "drop table x"])), "half of it was said before");
    let all = ["hi", "drop table x", "sorry"];
    assert_eq!(talk.sent(&about("production", &all)), about("production", &["hi", MARK, "sorry"]));
    talk.sent(&about("tests", &["hi"]));
    talk.sent(&about("tests", &["hi", "drop table x"]));
}

#[test]
fn what_people_approved_by_several_conditions_is_not_asked_again() {
    let talk = Talk::new(joined_asking);
    let approve = |_: &Question| Some(Verdict::Approved { approval: "apr_1".into() });
    let first = about("production", &["hi", "drop table x"]);
    assert!(matches!(talk.judged(&first, approve), Became::Sent(..)));
    talk.sent(&about("production", &["hi", "drop table x", "on"]));
    assert!(talk.is_held(&about("production", &["hi", "drop table x", "on", "drop table y"])));
}

/// Blocks a tool by its place.
fn no_shell() -> Vec<Rule> {
    let named = |path: &str| When {
        json: vec![JsonTest { path: path.into(), op: JsonOp::Contains("shell".into()) }],
        ..When::default()
    };
    let block = Action::Block { reason: "No shell.".into(), next: None };
    vec![
        rule("tool", named("/tools/0/name"), block.clone()),
        rule("system", named("/system/0/text"), block),
        rule("default", When::default(), Action::Allow),
    ]
}

#[test]
fn what_passed_where_no_pointer_led_is_judged_where_one_leads() {
    let talk = Talk::new(no_shell);
    for (passes, blocked) in [
        (r#"{"tools":{"name":"shell"}}"#, r#"{"tools":[{"name":"shell"}]}"#),
        (r#"{"system":"shell"}"#, r#"{"system":[{"type":"text","text":"shell"}]}"#),
    ] {
        talk.sent(passes);
        assert!(talk.is_refused(blocked), "{blocked}");
    }
}

#[test]
fn what_heads_leave_out_is_looked_at_every_turn() {
    let talk = Talk::new(blocking);
    let body = |hidden: &str, more: &str| {
        format!(
            "{{\"messages\":[{{\"role\":\"user\",\"content\":[{{\"type\":\"text\",\"text\":\"a\",\
             \"cache_control\":{{\"type\":\"{hidden}\"}}}}]}}{more}],\
             \"metadata\":{{\"user_id\":\"{hidden}\"}}}}"
        )
    };
    let more = ",{\"role\":\"user\",\"content\":\"b\"}";
    talk.sent(&body("ephemeral", ""));
    talk.sent(&body("other", more));
    assert!(talk.is_refused(&body("drop table x", more)));
    assert!(
        talk.is_refused(&body("drop table x", &format!("{more}{more}"))),
        "there is no block to take out"
    );
    // Members of other names, and the same name in another case, are part of no block.
    assert!(talk.is_refused(r#"{"Messages":[{"content":"drop table x"}],"messages":[]}"#));
}

#[test]
fn what_cannot_be_read_has_not_passed_and_masks_apply_always() {
    let talk = Talk::new(blocking);
    let twice = turn(&["hi"]).replace("{\"max_tokens\":5", "{\"max_tokens\":5,\"max_tokens\":5");
    let Became::Refused(why) = talk.say(&twice) else { panic!("read") };
    assert!(why.contains("same member twice"), "{why}");
    let replace = inspect::Replacement::parse("[mail]").unwrap();
    let direction = inspect::Direction::Both;
    let mails = inspect::Rule {
        name: "mails".into(),
        kind: inspect::Kind::Email,
        replace,
        direction,
        dry_run: false,
    };
    let masks = Arc::new(MaskSet::compile(vec![mails]).unwrap());
    let talk = talk.with(|talk| talk.masks = Some(masks));
    let masked = turn(&["to [mail]"]);
    assert_eq!(talk.sent(&turn(&["to ann@example.com"])), masked);
    assert!(talk.is_refused(&turn(&["to ann@example.com", "drop table x"])));
    let body = turn(&["to ann@example.com", "drop table x", "bob@example.com"]);
    let Became::Sent(sent, records) = talk.say(&body) else { panic!("refused") };
    assert_eq!(sent, turn(&["to [mail]", MARK, "[mail]"]));
    let Record::Content(content) = &records[0] else { panic!("{records:?}") };
    let at = |text: &str| body.find(text).unwrap() as u64;
    let edits: Vec<_> = content.edits.iter().map(|edit| (edit.offset, edit.len, edit.rule)).collect();
    let removed = (at("\"drop"), 14, Edit::REMOVED);
    assert_eq!(edits, [(at("ann@"), 15, 0), removed, (at("bob@"), 15, 0)], "offsets of what was received");
}

#[test]
fn a_blocked_block_that_cannot_be_replaced_is_refused_each_time() {
    let talk = Talk::new(blocking);
    let body = |more: &str| {
        format!(
            "{{\"messages\":[{{\"role\":\"assistant\",\"content\":[{{\"type\":\"thinking\",\
             \"thinking\":\"drop table x\",\"signature\":\"s\"}}]}}{more}]}}"
        )
    };
    for more in ["", ",{\"role\":\"user\",\"content\":\"b\"}", ",1", ",1,2"] {
        assert!(talk.is_refused(&body(more)), "{more}");
    }
}

#[test]
fn people_see_the_match_of_a_long_block_and_the_beginning_of_a_body_that_is_too_long() {
    let talk = Talk::new(asking);
    let long = "x".repeat(20_000);
    let Became::Held(asked) = talk.say(&turn(&["hi", &format!("{long} drop table x {long}")])) else {
        panic!("not held")
    };
    let excerpt = &asked.excerpt;
    let position = excerpt.text.find("drop table x").expect("the match");
    assert!(position < 300 && excerpt.text.starts_with('…') && excerpt.text.ends_with('…'), "{excerpt:?}");
    assert!(excerpt.hidden_bytes > 36_000, "{}", excerpt.hidden_bytes);
    let behind = turn(&["hi", &format!("drop table x {long}"), &format!("{long} drop table y")]);
    let Became::Held(asked) = talk.say(&behind) else { panic!("not held") };
    let text = &asked.excerpt.text;
    assert!(text.contains("drop table x") && text.contains("drop table y"), "a long block hides no match");
    for escaped in ["drop\\u0020table z", "drop\\n\\ttable z", "dr\\u006fp table z"] {
        let Became::Held(asked) = talk.say(&turn(&["hi", &format!("{long}{escaped}")])) else { panic!() };
        assert!(asked.excerpt.text.contains(escaped), "{escaped} hides nothing: {}", asked.excerpt.text);
    }
    let longer = "x".repeat(CONVERSATION_EXCERPT_BODY_MAX);
    let Became::Held(asked) = talk.say(&turn(&["drop table x", &longer])) else { panic!("not held") };
    assert!(!asked.excerpt.is_new && asked.excerpt.text.starts_with("{\"max_tokens\""));
}

/// People saw what a mask for a key takes out of the arguments of a call.
#[test]
fn what_people_see_of_arguments_is_masked_too() {
    let ssn = inspect::Rule {
        name: "ssn".into(),
        kind: inspect::Kind::Key(vec!["ssn".to_owned()]),
        replace: inspect::Replacement::parse("[{name}]").unwrap(),
        direction: inspect::Direction::Both,
        dry_run: false,
    };
    let masks = Arc::new(MaskSet::compile(vec![ssn]).unwrap());
    let open = |talk: &mut Talk| (talk.masks, talk.protocol) = (Some(masks.clone()), Protocol::OpenAi);
    let body = |ssn: &str| {
        format!(
            "{{\"messages\":[{{\"role\":\"user\",\"content\":\"drop table x\"}},{{\"role\":\"assistant\",\
             \"tool_calls\":[{{\"id\":\"c\",\"type\":\"function\",\"function\":{{\"name\":\"f\",\
             \"arguments\":\"{{\\\"ssn\\\":\\\"{ssn}\\\"}}\"}}}}]}}]}}"
        )
    };
    let Became::Held(asked) = Talk::new(asking).with(open).say(&body("07 private")) else {
        panic!("not held")
    };
    assert!(!asked.excerpt.text.contains("private"), "{:?}", asked.excerpt);
    let allowing = || vec![rule("default", When::default(), Action::Allow)];
    assert_eq!(Talk::new(allowing).with(open).sent(&body("07 private")), body("[ssn]"));
}

//! The machine: what each thing that happens makes of a card, and what never may happen.

mod voices;

use super::*;
use crate::{
    audit::{CardEvent, ExchangeId, Record, samples},
    buffer::Chunk,
    http::Headers,
    limits::{HOLD_REFUSAL_STICKY, HOLD_RETURN},
    policy::ApprovalTerms,
    protocol::Protocol,
    time::Timestamp,
};
use proptest::prelude::*;
use std::{collections::BTreeSet, sync::Arc, time::Duration};

const START: Timestamp = Timestamp(1_795_257_000_000_000);

fn terms(min: u32) -> ApprovalTerms {
    ApprovalTerms {
        by: vec!["local:1".into(), "local:2".into(), "token:ada".into()],
        approvals_min: min,
        allow_self: false,
        timeout: Duration::from_secs(780),
        digest: [3; 32],
    }
}

fn question(number: u8) -> Question {
    let mut headers = Headers::new();
    headers.append("anthropic-beta", b"one");
    headers.append("x-stainless-retry-count", number.to_string().as_bytes());
    Question {
        exchange: ExchangeId([number; 16]),
        generation: 1,
        subject: Some(samples::subject()),
        token_ends: None,
        peer: "192.0.2.1:4000".parse().unwrap(),
        local: None,
        address: "192.0.2.1".into(),
        session: "s-1".into(),
        is_session_claimed: true,
        route: "claude".into(),
        upstream: "anthropic".into(),
        protocol: Protocol::Http,
        method: "POST".into(),
        target: "/v1/x?api_key=canary".into(),
        headers,
        secrets: vec!["anthropic".into()],
        policy: "big".into(),
        place: "ringward.toml:5".into(),
        reason: "Big.".into(),
        terms: Arc::new(terms(1)),
        route_digest: [4; 32],
        slice: Duration::from_secs(90),
        asked: None,
        excerpt: Excerpt { text: "hello".into(), ..Excerpt::default() },
        body: Chunk::from_static(b"hello").into(),
    }
}

/// A book, its clock, and the ids that it gives.
struct Desk {
    book: Book,
    now: Timestamp,
    ids: u8,
}

impl Desk {
    fn new() -> Desk {
        let book = Book::new(Key::new(&[7; 32]), 1, vec![], vec![], vec![], START);
        Desk { book, now: START, ids: 0 }
    }

    fn after(&mut self, duration: Duration) -> Effects {
        self.now = Timestamp(self.now.0 + duration.as_micros() as u64);
        self.book.tick(self.now)
    }

    fn ask(&mut self, ticket: u64, question: &Question, body: &[u8]) -> Effects {
        self.ids += 1;
        let id = name("apr", [self.ids; 10]);
        self.book.ask(self.now, Seat { shard: 0, ticket }, question, body, id, Some(77))
    }

    fn say(&mut self, id: &str, who: &str, revision: u64, given: Given) -> Result<Effects, Fault> {
        let uid = who.strip_prefix("local:").and_then(|uid| uid.parse().ok());
        let approver = Approver { name: who.into(), uid, ..Approver::default() };
        self.ids += 1;
        let grant = name("gra", [self.ids; 10]);
        self.book.decide(self.now, id, Decision { approver, revision, given }, grant)
    }

    fn yes(&mut self, id: &str, who: &str) -> Result<Effects, Fault> {
        self.say(id, who, 1, Given::Yes { scope: Scope::Once, reason: None })
    }

    /// The one card.
    fn card(&self) -> Card {
        let cards: Vec<_> = self.book.cards().collect();
        let [card] = cards[..] else { panic!("{cards:#?}") };
        card.clone()
    }

    /// The same book in the next process.
    fn restart(&mut self) {
        let text = |cards: Vec<&Card>| serde_json::to_string(&cards).unwrap();
        let cards = serde_json::from_str(&text(self.book.cards().collect())).unwrap();
        let grants = self.book.grants().cloned().collect();
        self.book = Book::new(Key::new(&[7; 32]), 1, cards, grants, vec![], self.now);
    }
}

fn told(effects: &Effects) -> Vec<&'static str> {
    let word = |verdict: &Verdict| match verdict {
        Verdict::Approved { .. } => "approved",
        Verdict::Pending { .. } => "pending",
        Verdict::Denied { .. } => "denied",
        Verdict::Expired { .. } => "expired",
        Verdict::Consumed { .. } => "consumed",
        Verdict::Frozen { .. } => "frozen",
        Verdict::Overflow { .. } => "overflow",
        Verdict::TokenExpired => "token expired",
        Verdict::Unavailable { .. } => "unavailable",
    };
    effects.told.iter().map(|(_, verdict)| word(verdict)).collect()
}

fn recorded(effects: &Effects) -> Vec<&'static str> {
    let word = |record: &Record| match record {
        Record::Approval(approval) => approval.event.as_str(),
        Record::Consume(_) => "consume",
        Record::Grant(_) => "grant",
        _ => "other",
    };
    effects.records.iter().map(word).collect()
}

#[test]
fn one_yes_lets_one_request_through_once() {
    let mut desk = Desk::new();
    let asked = desk.ask(1, &question(1), b"hello");
    assert_eq!((told(&asked), recorded(&asked)), (vec![], vec!["asked"]));
    let card = desk.card();
    assert!(!card.view().target.contains("canary"), "{}", card.view().target);
    // The same request twice at once is one card; one of them goes through.
    assert!(told(&desk.ask(2, &question(2), b"hello")).is_empty());
    let approved = desk.yes(&card.id, "local:1").unwrap();
    assert_eq!(told(&approved), ["approved", "pending"]);
    assert_eq!(recorded(&approved), ["approved", "consume"]);
    assert_eq!(told(&desk.ask(3, &question(3), b"hello")), ["consumed"]);
    desk.book.settle(desk.now, ExchangeId([1; 16]), Settlement::Complete);
    // It is over: the next one is a new question.
    assert!(told(&desk.ask(4, &question(4), b"hello")).is_empty());
    assert_eq!(desk.book.cards().filter(|card| card.state == State::Pending).count(), 1);
}

#[test]
fn as_many_must_say_yes_as_the_policy_wants() {
    let mut desk = Desk::new();
    let two = Question { terms: Arc::new(terms(2)), ..question(1) };
    desk.ask(1, &two, b"hello");
    let id = desk.card().id;
    assert!(told(&desk.yes(&id, "local:1").unwrap()).is_empty());
    let again = desk.yes(&id, "local:1").unwrap_err();
    assert_eq!(again, Fault::Conflict("local:1 has approved it already".into()));
    let second = desk.yes(&id, "token:ada").unwrap();
    assert_eq!((told(&second), recorded(&second)), (vec!["approved"], vec!["approved", "consume"]));
    let Record::Consume(used) = &second.records[1] else { panic!("{second:?}") };
    assert_eq!(used.authors, ["local:1".into(), "token:ada".into()]);
}

#[test]
fn nobody_approves_what_is_their_own() {
    let mut desk = Desk::new();
    let mut own = question(1);
    let by = vec!["local:77".into(), "local:1".into(), "token:ada".into()];
    own.terms = Arc::new(ApprovalTerms { by, ..terms(1) });
    desk.ask(1, &own, b"hello");
    let id = desk.card().id;
    // The user whose process asks, and the human behind the caller.
    assert!(matches!(desk.yes(&id, "local:77"), Err(Fault::Forbidden(_))));
    let owner = Some("ada@example.com".into());
    let owner = Approver { name: "token:ada".into(), owner, ..Approver::default() };
    let yes = Given::Yes { scope: Scope::Once, reason: None };
    let decision = Decision { approver: owner, revision: 1, given: yes };
    let refused = desk.book.decide(desk.now, &id, decision, "gra_1".into()).unwrap_err();
    assert!(refused.to_string().contains("is the owner of the caller"), "{refused}");
    assert!(matches!(desk.yes(&id, "local:9"), Err(Fault::Forbidden(_))), "not named by the policy");
    assert_eq!(told(&desk.yes(&id, "local:1").unwrap()), ["approved"]);
}

#[test]
fn a_group_decides_within_its_routes_and_nobody_counts_twice() {
    let mut desk = Desk::new();
    let terms = ApprovalTerms { by: vec!["group:sre".into(), "token:ada".into()], ..terms(2) };
    desk.ask(1, &Question { terms: Arc::new(terms), ..question(1) }, b"hello");
    let id = desk.card().id;
    let person = |name: &str, owner: &str, group: &str, route: &str| Approver {
        name: format!("user:{name}").into(),
        owner: Some(owner.into()),
        subject: Some(("https://idp.example.com".into(), name.into())),
        groups: vec![group.into()],
        reach: Reach::Routes(vec![route.into()]),
        ..Approver::default()
    };
    let mut say = |approver: Approver| {
        let given = Given::Yes { scope: Scope::Once, reason: None };
        desk.book.decide(desk.now, &id, Decision { approver, revision: 1, given }, "gra_1".into())
    };
    assert!(matches!(say(person("sam", "sam@x", "sre", "gpt")), Err(Fault::NotFound(_))), "another's route");
    assert!(
        matches!(say(person("sam", "sam@x", "dev", "claude")), Err(Fault::Forbidden(_))),
        "another group"
    );
    let issuer = samples::subject();
    let own = Approver {
        subject: Some((issuer.issuer.clone(), issuer.subject.clone())),
        ..person("sam", "sam@x", "sre", "claude")
    };
    assert!(matches!(say(own), Err(Fault::Forbidden(_))), "they ask themselves");
    assert!(told(&say(person("sam", "sam@x", "sre", "claude")).unwrap()).is_empty());
    let again = say(person("sam-2", "sam@x", "sre", "claude")).unwrap_err();
    assert_eq!(
        again,
        Fault::Conflict("user:sam-2 and user:sam, who has approved it, are the same person".into())
    );
    assert_eq!(told(&say(person("kim", "kim@x", "sre", "claude")).unwrap()), ["approved"]);
}

#[test]
fn every_bound_bit_counts_and_nothing_else() {
    type Change = fn(&mut Question);
    let bound: [(&str, Change); 7] = [
        ("upstream", |q| q.upstream = "other".into()),
        ("credentials", |q| q.secrets.push("more".into())),
        ("route", |q| q.route_digest[31] ^= 1),
        ("policy", |q| {
            let mut digest = [3; 32];
            digest[0] ^= 1;
            q.terms = Arc::new(ApprovalTerms { digest, ..terms(1) });
        }),
        ("header anthropic-beta", |q| {
            q.headers.remove("anthropic-beta");
            q.headers.append("anthropic-beta", b"onf");
        }),
        ("header x-new", |q| q.headers.append("x-new", b"")),
        ("header anthropic-beta", |q| assert_eq!(q.headers.remove("anthropic-beta"), 1)),
    ];
    for (what, change) in bound {
        let mut desk = Desk::new();
        desk.ask(1, &question(1), b"hello");
        let mut changed = question(2);
        change(&mut changed);
        let revised = desk.ask(2, &changed, b"hello");
        assert_eq!(recorded(&revised), ["revised"], "{what}");
        let card = desk.card();
        assert_eq!(card.revision, 2);
        assert_eq!(card.changes.iter().map(|one| &*one.what).collect::<Vec<_>>(), [what]);
        // A verdict on the first revision is none on the second.
        assert!(matches!(desk.yes(&card.id, "local:1"), Err(Fault::Conflict(_))), "{what}");
    }
    let free: [Change; 4] = [
        |q| q.headers.append("user-agent", b"other"),
        |q| q.headers.append("traceparent", b"00-1"),
        |q| q.headers.append("x-claude-code-session-id", b"7"),
        |q| q.slice = Duration::from_secs(1),
    ];
    for change in free {
        let mut desk = Desk::new();
        desk.ask(1, &question(1), b"hello");
        let mut changed = question(2);
        change(&mut changed);
        assert!(recorded(&desk.ask(2, &changed, b"hello")).is_empty());
    }
    let asked: [Change; 4] = [
        |q| q.target = "/v1/y".into(),
        |q| q.method = "PUT".into(),
        |q| q.subject = None,
        |q| q.policy = "other".into(),
    ];
    for change in asked {
        let mut desk = Desk::new();
        desk.ask(1, &question(1), b"hello");
        let mut changed = question(2);
        change(&mut changed);
        assert_eq!(recorded(&desk.ask(2, &changed, b"hello")), ["asked"], "another question");
    }
}

#[test]
fn a_model_is_asked_the_same_with_and_without_a_stream() {
    let llm = |number| Question { protocol: Protocol::Anthropic, ..question(number) };
    let body = |stream: &str, tokens: u32, cache: &str| {
        format!("{{\"max_tokens\":{tokens},{stream}\"messages\":[{{\"content\":\"hi\"{cache}}}]}}")
            .into_bytes()
    };
    let mut desk = Desk::new();
    desk.ask(1, &llm(1), &body("\"stream\":true,", 50_000, ""));
    assert!(recorded(&desk.ask(2, &llm(2), &body("", 50_000, ""))).is_empty());
    assert_eq!(desk.card().revision, 1);
    let cache = ",\"cache_control\":{\"type\":\"ephemeral\"}";
    assert_eq!(recorded(&desk.ask(3, &llm(3), &body("", 50_000, cache))), ["revised"]);
    desk.ask(4, &llm(4), &body("", 60_000, cache));
    let changed = &desk.card().changes[0];
    let expected = ("member max_tokens", Some("50000"), Some("60000"));
    assert_eq!((&*changed.what, changed.before.as_deref(), changed.after.as_deref()), expected);
    let other = b"{\"max_tokens\":50000,\"messages\":[{\"content\":\"ho\"}]}";
    assert_eq!(recorded(&desk.ask(5, &llm(5), other)), ["asked"]);
}

#[test]
fn a_model_that_broke_off_is_asked_again_twice_and_a_server_never() {
    for (protocol, sendings) in [(Protocol::Anthropic, 3), (Protocol::Http, 1)] {
        let asking = |number| Question { protocol, ..question(number) };
        let mut desk = Desk::new();
        desk.ask(1, &asking(1), b"{}");
        let id = desk.card().id;
        assert_eq!(told(&desk.yes(&id, "local:1").unwrap()), ["approved"]);
        let mut sent = 1;
        for number in 2..9 {
            desk.book.settle(desk.now, ExchangeId([number - 1; 16]), Settlement::Incomplete);
            match told(&desk.ask(number.into(), &asking(number), b"{}"))[..] {
                ["approved"] => sent += 1,
                ["consumed"] => break,
                ref other => panic!("{other:?}"),
            }
        }
        assert_eq!(sent, sendings, "{protocol}");
    }
    // Not for ever.
    let asking = |number| Question { protocol: Protocol::Anthropic, ..question(number) };
    let mut desk = Desk::new();
    desk.ask(1, &asking(1), b"{}");
    let id = desk.card().id;
    desk.yes(&id, "local:1").unwrap();
    desk.book.settle(desk.now, ExchangeId([1; 16]), Settlement::Incomplete);
    desk.after(Duration::from_secs(121));
    assert_eq!(told(&desk.ask(2, &asking(2), b"{}")), ["consumed"]);
}

#[test]
fn nothing_is_sent_twice_after_a_crash_between_use_and_end() {
    for protocol in [Protocol::Http, Protocol::Anthropic, Protocol::Mcp] {
        let asking = |number| Question { protocol, ..question(number) };
        let mut desk = Desk::new();
        desk.ask(1, &asking(1), b"{}");
        let id = desk.card().id;
        desk.yes(&id, "local:1").unwrap();
        desk.restart();
        assert_eq!(told(&desk.ask(2, &asking(2), b"{}")), ["consumed"], "{protocol}");
    }
}

#[test]
fn what_waits_and_what_was_decided_outlives_the_process() {
    let mut desk = Desk::new();
    desk.ask(1, &question(1), b"hello");
    let id = desk.card().id;
    desk.restart();
    assert!(recorded(&desk.ask(1, &question(2), b"hello")).is_empty(), "the same card");
    desk.book.leave(desk.now, Seat { shard: 0, ticket: 1 });
    desk.yes(&id, "local:1").unwrap();
    desk.restart();
    assert_eq!(told(&desk.ask(2, &question(3), b"hello")), ["approved"]);
}

#[test]
fn time_ends_what_nobody_ends() {
    let mut desk = Desk::new();
    desk.ask(1, &question(1), b"hello");
    assert_eq!(told(&desk.after(Duration::from_secs(90))), ["pending"], "its slice is over");
    desk.ask(2, &Question { slice: Duration::from_secs(900), ..question(2) }, b"hello");
    let expired = desk.after(Duration::from_secs(690));
    assert_eq!((told(&expired), recorded(&expired)), (vec!["expired"], vec!["expired"]));
    assert_eq!(told(&desk.ask(3, &question(3), b"hello")), ["expired"], "told between two sendings, too");
    desk.after(HOLD_RETURN);
    assert_eq!(recorded(&desk.ask(4, &question(4), b"hello")), ["asked"]);
    // Nobody comes back.
    desk.book.leave(desk.now, Seat { shard: 0, ticket: 4 });
    assert!(recorded(&desk.after(HOLD_RETURN - Duration::from_secs(1))).is_empty());
    assert_eq!(recorded(&desk.after(Duration::from_secs(1))), ["abandoned"]);
    desk.after(HOLD_REFUSAL_STICKY);
    assert_eq!(desk.book.cards().count(), 0, "all of it is forgotten");
}

#[test]
fn only_so_many_wait_of_one_agent_until_one_of_them_is_decided() {
    let mut desk = Desk::new();
    let ask = |desk: &mut Desk, ticket: u64| told(&desk.ask(ticket, &question(1), &ticket.to_le_bytes()));
    assert!((0..100).all(|ticket| ask(&mut desk, ticket).is_empty()));
    assert_eq!(ask(&mut desk, 100), ["overflow"]);
    let id = desk.book.cards().next().unwrap().id.clone();
    desk.say(&id, "local:1", 1, Given::No { reason: "No.".into() }).unwrap();
    assert_eq!((ask(&mut desk, 101), ask(&mut desk, 102)), (vec![], vec!["overflow"]));
    assert_eq!((desk.book.pending(), desk.book.is_tallied()), (100, true));
}

#[test]
fn an_approval_waits_for_its_caller_until_it_expires() {
    let mut desk = Desk::new();
    desk.ask(1, &question(1), b"hello");
    desk.book.leave(desk.now, Seat { shard: 0, ticket: 1 });
    let id = desk.card().id;
    desk.yes(&id, "local:1").unwrap();
    desk.after(Duration::from_secs(779));
    assert_eq!(desk.card().state, State::Approved);
    assert_eq!(recorded(&desk.after(Duration::from_secs(1))), ["expired"]);
}

#[test]
fn a_token_that_ended_meanwhile_keeps_the_decision() {
    let mut desk = Desk::new();
    let ends = Some(Timestamp(START.0 + 1_000_000));
    desk.ask(1, &Question { token_ends: ends, ..question(1) }, b"hello");
    let id = desk.card().id;
    desk.now = Timestamp(START.0 + 2_000_000);
    assert_eq!(told(&desk.yes(&id, "local:1").unwrap()), ["token expired"]);
    assert_eq!(told(&desk.ask(2, &question(2), b"hello")), ["approved"]);
}

#[test]
fn a_grant_is_for_its_subject_route_and_policy_alone() {
    let mut desk = Desk::new();
    desk.ask(1, &question(1), b"1");
    let id = desk.card().id;
    let scope = Scope::Period(Duration::from_secs(60), None);
    desk.say(&id, "local:1", 1, Given::Yes { scope, reason: None }).unwrap();
    assert_eq!(told(&desk.ask(2, &question(2), b"2")), ["approved"]);
    let other = audit_subject("agent-8");
    assert!(told(&desk.ask(3, &Question { subject: Some(other), ..question(3) }, b"3")).is_empty());
    assert!(told(&desk.ask(4, &Question { route: "b".into(), ..question(4) }, b"4")).is_empty());
    let changed = Question { route_digest: [9; 32], ..question(5) };
    assert!(told(&desk.ask(5, &changed, b"5")).is_empty(), "what it was given for has changed");
    desk.after(Duration::from_secs(60));
    assert!(told(&desk.ask(6, &question(6), b"6")).is_empty());
    // Bounds.
    let id =
        desk.book.cards().find(|card| card.exchange == ExchangeId([6; 16]).to_string()).unwrap().id.clone();
    for seconds in [0, 8 * 3_600 + 1] {
        let scope = Scope::Period(Duration::from_secs(seconds), None);
        let refused = desk.say(&id, "local:1", 1, Given::Yes { scope, reason: None });
        assert!(matches!(refused, Err(Fault::Malformed(_))), "{refused:?}");
    }
}

#[test]
fn a_grant_lets_through_what_queues_behind_the_card_that_opened_it() {
    let mut desk = Desk::new();
    for number in 1..=3 {
        desk.ask(number.into(), &question(number), &[number]);
    }
    desk.ask(4, &Question { route: "b".into(), ..question(4) }, b"4");
    let first = |desk: &Desk| {
        let asked = ExchangeId([1; 16]).to_string();
        desk.book.cards().find(|card| card.exchange == asked).unwrap().id.clone()
    };
    let id = first(&desk);
    let scope = Scope::Period(Duration::from_secs(60), None);
    let effects = desk.say(&id, "local:1", 1, Given::Yes { scope, reason: None }).unwrap();
    let seat = |ticket| Seat { shard: 0, ticket };
    assert_eq!((told(&effects), &effects.again[..]), (vec!["approved"], &[seat(2), seat(3)][..]));
    for number in 2..=3 {
        let again = desk.ask(number.into(), &question(number), &[number]);
        assert_eq!(told(&again), ["approved"], "{number}");
        assert_eq!(recorded(&again), ["consume", "abandoned"], "its card is no question any more");
    }
    let open = desk.book.cards().filter(|card| card.state == State::Pending).count();
    assert_eq!(open, 1, "the one of the other route");
}

fn audit_subject(name: &str) -> Arc<crate::audit::Subject> {
    Arc::new(crate::audit::Subject { subject: name.into(), ..(*samples::subject()).clone() })
}

#[test]
fn a_freeze_refuses_what_waits_and_voids_what_was_granted() {
    let mut desk = Desk::new();
    desk.ask(1, &question(1), b"1");
    let id = desk.card().id;
    let scope = Scope::Period(Duration::from_secs(60), None);
    desk.say(&id, "local:1", 1, Given::Yes { scope, reason: None }).unwrap();
    desk.ask(2, &Question { policy: "other".into(), ..question(2) }, b"2");
    let freeze = Freeze {
        id: "frz_1".into(),
        whom: Whom::Subject("agent-7".into()),
        reason: "Stop.".into(),
        by: "local:0".into(),
        at: String::new(),
    };
    let other = Approver { reach: Reach::Routes(vec!["other".into()]), ..Approver::default() };
    let grant = desk.book.grants().next().map(|grant| grant.id.clone()).unwrap();
    let refused = desk.book.revoke(desk.now, &grant, &other);
    assert!(matches!(refused, Err(Fault::NotFound(_))), "a grant of another's route");
    let frozen = desk.book.freeze(desk.now, freeze);
    assert!(desk.book.thaw(START, "frz_1", &other).is_err(), "not theirs to take away");
    assert_eq!((told(&frozen), recorded(&frozen)), (vec!["frozen"], vec!["denied", "grant"]));
    assert_eq!(told(&desk.ask(3, &question(3), b"3")), ["frozen"]);
    desk.book.thaw(START, "frz_1", &Approver::default()).unwrap();
    assert!(told(&desk.ask(4, &question(4), b"4")).is_empty());
    assert!(desk.book.thaw(START, "frz_1", &Approver::default()).is_err());
}

/// One thing that happens, of a few requests, callers and people.
#[derive(Clone, Debug)]
enum Happening {
    Ask { body: u8, beta: u8 },
    Leave(u64),
    Yes(usize, u64),
    No(usize),
    Settle(u8, u8),
    Wait(u64),
    Restart,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (0..2u8, 0..2u8).prop_map(|(body, beta)| Happening::Ask { body, beta }),
        1 => (0..40u64).prop_map(Happening::Leave),
        3 => (0..3usize, 1..3u64).prop_map(|(card, revision)| Happening::Yes(card, revision)),
        1 => (0..3usize).prop_map(Happening::No),
        2 => (0..40u8, 0..3u8).prop_map(|(exchange, how)| Happening::Settle(exchange, how)),
        1 => (0..400u64).prop_map(Happening::Wait),
        1 => Just(Happening::Restart),
    ]
}

proptest! {
    /// Whatever happens: a request goes through only with a yes on its very bytes that was used for nothing
    /// else that was sent, and only after its use was recorded.
    #[test]
    fn each_yes_lets_at_most_one_request_be_sent(all in proptest::collection::vec(happening(), 1..40)) {
        let mut desk = Desk::new();
        let (mut yes, mut sent) = (0usize, BTreeSet::new());
        for (number, what) in all.into_iter().enumerate() {
            let number = number as u8;
            let effects = match what {
                Happening::Ask { body, beta } => {
                    let mut asking = question(number);
                    asking.headers.append("x-beta", &[b'0' + beta]);
                    desk.ask(number.into(), &asking, &[body])
                }
                Happening::Leave(ticket) => {
                    desk.book.leave(desk.now, Seat { shard: 0, ticket });
                    continue;
                }
                Happening::Yes(card, revision) => {
                    let Some(id) = desk.book.cards().nth(card).map(|card| card.id.clone()) else { continue };
                    let given = Given::Yes { scope: Scope::Once, reason: None };
                    let Ok(effects) = desk.say(&id, "local:1", revision, given) else { continue };
                    yes += 1;
                    effects
                }
                Happening::No(card) => {
                    let Some(id) = desk.book.cards().nth(card).map(|card| card.id.clone()) else { continue };
                    let given = Given::No { reason: "No.".into() };
                    let Ok(effects) = desk.say(&id, "local:1", 1, given) else { continue };
                    effects
                }
                Happening::Settle(exchange, how) => {
                    let all = [Settlement::Unsent, Settlement::Incomplete, Settlement::Complete];
                    let how = all[how as usize];
                    if how == Settlement::Unsent {
                        sent.remove(&exchange);
                    }
                    desk.book.settle(desk.now, ExchangeId([exchange; 16]), how)
                }
                Happening::Wait(seconds) => desk.after(Duration::from_secs(seconds)),
                Happening::Restart => {
                    desk.restart();
                    continue;
                }
            };
            for (seat, verdict) in &effects.told {
                if let Verdict::Approved { .. } = verdict {
                    let uses = |record: &Record| match record {
                        Record::Consume(used) => used.exchange == ExchangeId([seat.ticket as u8; 16]),
                        _ => false,
                    };
                    prop_assert!(effects.records.iter().any(uses));
                    prop_assert!(sent.insert(seat.ticket as u8));
                }
            }
            prop_assert!(desk.book.is_tallied());
            prop_assert!(sent.len() <= yes, "{} were sent, {} were approved", sent.len(), yes);
            let records = effects.records.iter();
            let kept = records.filter_map(|record| match record {
                Record::Approval(one) if one.event != CardEvent::Asked => Some(one.approval.to_string()),
                _ => None,
            });
            for id in kept {
                prop_assert!(effects.kept.contains(&id), "{id} is recorded and not kept");
            }
        }
    }
}

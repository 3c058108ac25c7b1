//! Requests that a policy holds: they ask with their whole body, and do what the verdict says.

use super::*;
use crate::{
    approval::{Question, Settlement, Verdict},
    policy::ApprovalTerms,
};

fn held() -> World {
    let terms = ApprovalTerms {
        by: vec!["local:0".to_owned()],
        approvals_min: 1,
        allow_self: false,
        timeout: Duration::from_secs(60),
        digest: [0; 32],
    };
    let action = Action::Approve { reason: "Costly.".into(), terms: Arc::new(terms) };
    World { rules: vec![rule("spend", When::default(), action)], ..World::default() }
}

fn question(steps: &mut Vec<Step>) -> (Ticket, Box<Question>) {
    match steps.pop() {
        Some(Step::Ask(ticket, Ask::Verdict(question))) => (ticket, question),
        other => panic!("people are not asked: {other:?}"),
    }
}

fn settlement(steps: &[Step]) -> Option<Settlement> {
    steps.iter().find_map(|step| match step {
        Step::Settle(settlement) => Some(*settlement),
        _ => None,
    })
}

/// Approves what is asked, with the body as it was asked.
fn approved(driven: &mut Driven) -> Vec<Step> {
    let (ticket, asked) = question(&mut driven.post(b"hello"));
    let verdict = Verdict::Approved { approval: "apr_1".into() };
    driven.on(Event::Answer(ticket, Answer::Verdict(verdict, asked.body)))
}

#[test]
fn people_see_the_whole_request_without_credentials() {
    let mut driven = held().exchange();
    assert_eq!(words(&driven.request(Method::Post, b"he", Framing::Chunked, false)), ["read body"]);
    let last = Event::RequestBody { data: Chunk::from_static(b"llo").into(), end: true };
    let (_, asked) = question(&mut driven.on(last));
    assert_eq!((asked.body.to_vec().as_slice(), &*asked.excerpt.text), (&b"hello"[..], "hello"));
    assert_eq!((&*asked.policy, &*asked.reason, &*asked.target), ("spend", "Costly.", "/api/things?a=1"));
    assert!(!asked.headers.contains("x-api-key"), "{:?}", asked.headers);
    assert_eq!(asked.slice, Duration::from_secs(90));
}

#[test]
fn a_yes_forwards_it_once_and_the_approval_learns_the_end() {
    let mut driven = held().exchange();
    let steps = approved(&mut driven);
    assert_eq!(words(&steps), ["ask record"]);
    let ticket = ticket(&steps);
    let steps = driven.on(Event::Answer(ticket, Answer::Recorded(Ok(2))));
    let Some(Step::Forward(forward)) = steps.first() else { panic!("{steps:?}") };
    assert!(forward.approved, "it is never sent twice");
    driven.response(&[], b"ok", true);
    let steps = driven.on(Event::Delivered);
    assert_eq!(settlement(&steps), Some(Settlement::Complete));
    assert_eq!(outcome(&steps).cause, audit::Cause::Complete);
}

#[test]
fn what_did_not_go_upstream_is_said() {
    let mut unrecorded = held().exchange();
    let ticket_of = ticket(&approved(&mut unrecorded));
    unrecorded.on(Event::Answer(ticket_of, Answer::Recorded(Err(Unavailable::TurnedAway))));
    assert_eq!(settlement(&unrecorded.on(Event::Delivered)), Some(Settlement::Unsent));

    for (cause, expected) in [
        (Cause::Unreachable(Reason::said("refused")), Settlement::Unsent),
        (Cause::Closed, Settlement::Incomplete),
    ] {
        let mut driven = held().exchange();
        let ticket_of = ticket(&approved(&mut driven));
        driven.on(Event::Answer(ticket_of, Answer::Recorded(Ok(2))));
        driven.on(Event::Gone(Side::Upstream, cause.clone()));
        assert_eq!(settlement(&driven.on(Event::Delivered)), Some(expected), "{cause:?}");
    }
}

#[test]
fn an_approval_that_comes_when_the_caller_is_gone_is_given_back() {
    let mut driven = held().exchange();
    let (ticket, asked) = question(&mut driven.post(b"hello"));
    let steps = driven.on(Event::Gone(Side::Client, Cause::Closed));
    assert_eq!((words(&steps), settlement(&steps)), (vec!["abort client", "finish"], None));
    let verdict = Verdict::Approved { approval: "apr_1".into() };
    let steps = driven.on(Event::Answer(ticket, Answer::Verdict(verdict, asked.body)));
    assert_eq!(settlement(&steps), Some(Settlement::Unsent));
}

#[test]
fn every_other_verdict_is_an_answer() {
    let id = || "apr_1".into();
    let cases = [
        (Verdict::Pending { approval: id() }, 429, "approval_pending"),
        (Verdict::Denied { approval: id(), reason: "No.".into() }, 403, "approval_denied"),
        (Verdict::Expired { approval: id() }, 403, "approval_expired"),
        (Verdict::Consumed { approval: id(), outcome: "sent".into() }, 409, "approval_consumed"),
        (Verdict::Frozen { reason: "Stop.".into() }, 403, "frozen"),
        (Verdict::Overflow { detail: "Many.".into() }, 403, "approval_denied"),
        (Verdict::TokenExpired, 401, "token_expired"),
        (Verdict::Unavailable { detail: "Full.".into() }, 503, "audit_unavailable"),
    ];
    for (verdict, status, code) in cases {
        let mut driven = held().exchange();
        let (ticket, asked) = question(&mut driven.post(b"hello"));
        let steps = driven.on(Event::Answer(ticket, Answer::Verdict(verdict, asked.body)));
        let reply = reply(&steps);
        let body: serde_json::Value = serde_json::from_slice(&reply.body).expect("JSON");
        assert_eq!((reply.status, &body["code"]), (status, &serde_json::json!(code)));
        let steps = driven.on(Event::Delivered);
        assert_eq!((refusal(&steps).status, settlement(&steps)), (status, None));
    }
}

//! What a head may carry, in which direction, and what the record keeps of it.

use super::*;
use crate::{
    buffer::Segments,
    policy::{FieldOp, FieldTest},
};

fn forwarded(steps: &[Step]) -> &Forward {
    match steps.last() {
        Some(Step::Forward(forward)) => forward,
        other => panic!("nothing is forwarded: {other:?}"),
    }
}

/// Lets a request go whose head `change` has changed.
fn sent(world: World, change: impl FnOnce(&mut RequestHead)) -> Vec<Step> {
    let mut driven = World { record: Recording::Off, ..world }.exchange();
    driven.changed(change)
}

// SECURITY R40.
#[test]
fn a_refusal_is_recorded_without_the_callers_credentials() {
    let block = Action::Block { reason: "No.".into(), next: None };
    for (rules, path) in
        [(vec![rule("block", When::default(), block)], "/api/things"), (World::default().rules, "/elsewhere")]
    {
        let mut driven = World { rules, ..World::default() }.exchange();
        driven.changed(|head| {
            head.path = path.to_owned();
            head.headers.append("Authorization", b"Bearer canary-token");
            head.headers.append("x_api_key", b"canary-key");
            head.headers.append("x-kept", b"1");
        });
        let steps = driven.on(Event::Delivered);
        let recorded = &refusal(&steps).head.headers;
        let names: Vec<_> = recorded.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["content-type", "x-kept"], "{path}");
    }
}

// SECURITY R40.
#[test]
fn credentials_in_a_query_are_in_no_record() {
    let block = Action::Block { reason: "No.".into(), next: None };
    for action in [Action::Allow, block] {
        let rules = vec![rule("default", When::default(), action)];
        let mut driven = World { rules, ..World::default() }.exchange();
        let steps = driven.changed(|head| {
            head.query = Some("a=1&access_token=CANARY&b=2".to_owned());
            head.headers.append("referer", b"https://a.test/?a=1");
            head.headers.append("Referer", b"https://a.test/?sig=CANARY");
        });
        let head = match steps.first() {
            Some(Step::Ask(_, Ask::Record(records, _))) => match records.last() {
                Some(Record::Intent(intent)) => intent.head.clone(),
                other => panic!("no INTENT: {other:?}"),
            },
            _ => refusal(&driven.on(Event::Delivered)).head.clone(),
        };
        assert_eq!(head.target, "/api/things?a=1&access_token=[redacted]&b=2");
        let referrers: Vec<_> = head.headers.get_all("referer").collect();
        assert_eq!(referrers, [&b"https://a.test/?a=1"[..], b"https://a.test/?sig=[redacted]"]);
    }
}

// SECURITY R13: an agent must not show the policy a field that upstream never gets.
#[test]
fn policy_sees_the_fields_that_are_forwarded_and_no_others() {
    let test = |name: &str| FieldTest { name: name.to_owned(), op: FieldOp::Present };
    let rules = |name| {
        let when = When { headers: vec![test(name)], ..When::default() };
        let block = Action::Block { reason: "Trial runs only.".into(), next: None };
        vec![rule("trial", when, Action::Allow), rule("block", When::default(), block)]
    };
    let world = |name| World { rules: rules(name), ..World::default() };
    let trial = |head: &mut RequestHead| head.headers.append("x-trial", b"1");
    assert_eq!(words(&sent(world("x-trial"), trial)), ["forward"]);
    let nominated = sent(world("x-trial"), |head| {
        trial(head);
        head.headers.append("connection", b"x-trial");
    });
    assert_eq!(reply(&nominated).status, 403);
    for name in ["x-real-ip", "cookie", "te"] {
        let steps = sent(world(name), |head| head.headers.append(name, b"1"));
        assert_eq!(reply(&steps).status, 403, "{name}");
    }
}

#[test]
fn a_request_that_would_be_echoed_with_its_credential_is_refused() {
    for method in ["TRACE", "TRACK", "track"] {
        let steps = sent(World::default(), |head| head.method = Method::from_token(method));
        assert_eq!(reply(&steps).status, 400, "{method}");
    }
}

// SECURITY R24.
#[test]
fn a_request_for_another_host_than_the_handshake_named_is_misdirected() {
    for (server_name, authority, status) in [
        ("gw.test", "gw.test", None),
        ("gw.test", "gw.test:8443", None),
        ("gw.test", "gw.test.", None),
        ("gw.test", "", None),
        ("gw.test", "other.test", Some(421)),
        ("gw.test", "gw.test.other.test", Some(421)),
        ("gw.test", "[::1]:8443", Some(421)),
    ] {
        let world = World { server_name: Some(server_name), ..World::default() };
        let steps = sent(world, |head| head.authority = authority.to_owned());
        let refused = steps.iter().any(|step| matches!(step, Step::Reply(_)));
        assert_eq!(refused.then(|| reply(&steps).status), status, "{authority}");
    }
}

#[test]
fn a_path_is_stripped_of_whole_segments_and_stays_below_its_prefix() {
    for (method, path, target) in [
        (Method::Post, "/api/things", "/base/things?a=1"),
        (Method::Post, "/api/", "/base/?a=1"),
        // RFC 9110 section 9.3.7: about the whole server, whatever the prefixes are.
        (Method::Options, "*", "*"),
    ] {
        let world = World { path: "/**", ..World::default() };
        let steps = sent(world, |head| {
            head.query = (path != "*").then(|| "a=1".to_owned());
            (head.method, head.path) = (method, path.to_owned());
        });
        assert_eq!(forwarded(&steps).head.target(), target);
    }
    let route = World::default().plan().routes[0].clone();
    assert_eq!((&*route.stripped("/api"), &*route.stripped("/apis/x")), ("/", "/apis/x"));
}

// SECURITY R23 and R24.
#[test]
fn what_two_readers_could_take_differently_is_not_masked() {
    let twice = [
        ("content-encoding", ["identity", "gzip"]),
        ("content-encoding", ["", "br"]),
        ("content-type", ["text/plain", "image/png"]),
    ];
    for (name, values) in twice {
        let steps = sent(World { masks: masks(), ..World::default() }, |head| {
            head.headers.remove(name);
            values.iter().for_each(|value| head.headers.append(name, value.as_bytes()));
        });
        assert_eq!(reply(&steps).status, 415, "{name}");
        let mut driven = World { masks: masks(), ..World::default() }.exchange();
        driven.open();
        let steps = driven.response(&values.map(|value| (name, value)), b"xyz", true);
        assert_eq!((reply(&steps).status, words(&steps)), (502, vec!["abort upstream", "reply"]), "{name}");
    }
}

// SECURITY R25.
#[test]
fn a_head_without_its_body_says_nothing_of_the_unmasked_one() {
    let fields = [("etag", "\"v1\""), ("digest", "sha-256=x"), ("content-type", "image/png"), ("x-a", "b")];
    for (masked, names, length) in [
        (None, vec!["etag", "digest", "content-type", "x-a"], Some(900)),
        (masks(), vec!["content-type", "x-a"], None),
    ] {
        let mut driven = World { masks: masked, ..World::default() }.exchange();
        let steps = driven.request(Method::Head, b"", Framing::None, true);
        driven.on(Event::Answer(ticket(&steps), Answer::Recorded(Ok(2))));
        let mut head = response_head("image/png");
        head.headers = Headers::new();
        fields.iter().for_each(|(name, value)| head.headers.append(name, value.as_bytes()));
        (head.framing, head.declared_length) = (Framing::None, Some(900));
        let steps = driven.on(Event::Response { head: Box::new(head), data: Segments::new(), end: true });
        let Some(Step::Respond { head, .. }) = steps.last() else { panic!("{steps:?}") };
        let own = |name: &&str| *name != "x-ringward-request-id";
        assert_eq!(head.headers.iter().map(|(name, _)| name).filter(own).collect::<Vec<_>>(), names);
        assert_eq!(head.declared_length, length);
    }
}

#[test]
fn an_upstream_cannot_speak_as_the_gateway() {
    let mut driven = World::default().exchange();
    driven.open();
    let forged = [("X-Ringward-Decision", "block"), ("x-ringward-response", "gateway"), ("request-id", "up")];
    let steps = driven.response(&forged, b"x", true);
    let Some(Step::Respond { head, .. }) = steps.last() else { panic!("{steps:?}") };
    let names: Vec<_> = head.headers.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["request-id", "x-ringward-request-id"]);
}

#[test]
fn an_event_is_only_put_into_a_stream_that_can_take_it() {
    let event_of = |inject, framing, coding: &str| {
        let mut driven = World { protocol: Protocol::Anthropic, inject, ..World::default() }.exchange();
        driven.open();
        let mut head = ResponseHead { framing, ..response_head("text/event-stream") };
        head.headers.append("content-encoding", coding.as_bytes());
        driven.on(Event::Response { head: Box::new(head), data: Segments::new(), end: false });
        words(&driven.on(Event::Gone(Side::Upstream, Cause::Closed)))
    };
    let cut = ["abort upstream", "abort client", "finish"];
    let told = ["abort upstream", "send", "abort client", "finish"];
    assert_eq!(event_of(false, Framing::Chunked, "identity"), told);
    assert_eq!(event_of(false, Framing::Length(100), "identity"), cut, "it would run over the length");
    assert_eq!(event_of(false, Framing::Chunked, "gzip"), cut, "it would not be compressed");
    assert_eq!(event_of(true, Framing::Length(100), "identity"), cut, "what is scrubbed keeps its length");
    for framing in [Framing::Length(100), Framing::Chunked] {
        assert_eq!(event_of(true, framing, "gzip"), told, "it is sent plain and without a length");
    }
}

/// The session is what a client says it is: a caller could have asked for the tokens of another's values.
#[test]
fn a_session_that_another_caller_claims_has_other_tokens() {
    let token_for = |caller: Option<&str>| {
        let mut driven = World::default().exchange();
        driven.exchange.principal = caller.map(|subject| principal(subject, 99));
        driven.changed(|head| head.headers.set("x-session-id", b"one"));
        assert_eq!(&*driven.exchange.facts.session, "one");
        let mut token = driven.exchange.tokens().begin();
        token.add(b"ann@example.com");
        token.finish().expect("one of few")
    };
    assert_eq!(token_for(Some("agent")), token_for(Some("agent")));
    assert_ne!(token_for(Some("agent")), token_for(Some("another")));
    assert_ne!(token_for(Some("agent")), token_for(None));
}

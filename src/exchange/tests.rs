//! One exchange after the other, driven by hand: the order of steps is the contract.

mod canonical;
mod conversations;
mod decoding;
mod holds;
mod hygiene;
mod owed;
mod replay;

use super::{
    plan::{Plan, Recording, Route, Upstream},
    *,
};
use crate::{
    approval::Conversations,
    audit::{self, Commit, ExchangeId, Record},
    buffer::{Budget, Chunk},
    http::{Framing, RequestHead, ResponseHead, Version, client_address::ClientAddress},
    identity::TokenId,
    inspect::{self, Kind, MaskSet, Replacement},
    metrics::Limit,
    policy::{Action, BodyTest, HostPattern, PathPattern, RouteMatch, Router, Rule, RuleSet, When},
    protocol::{DenyStatus, Protocol, Reply},
    secrets::{
        ClientAuth, Endpoint, Injection, LeaseKind, LeaseSource, Scrub, SecretSpec, SecretValue, Slots,
        Source, Template,
    },
    time::{Instant, Timestamp},
};
use std::time::Duration;

/// What a test wants to be different.
struct World {
    record: Recording,
    rules: Vec<Rule>,
    masks: Option<Arc<MaskSet>>,
    lease: Option<LeaseKind>,
    inject: bool,
    body_bytes_max: u64,
    protocol: Protocol,
    server_name: Option<&'static str>,
    /// Paths that the route takes.
    path: &'static str,
    /// Closed: nothing is remembered.
    conversations: Arc<Conversations>,
}

impl Default for World {
    fn default() -> Self {
        World {
            record: Recording::On { commit: Commit::Durable, body_bytes_max: 1 << 20 },
            rules: vec![rule("default", When::default(), Action::Allow)],
            masks: None,
            lease: None,
            inject: true,
            body_bytes_max: 1 << 20,
            protocol: Protocol::Http,
            server_name: None,
            path: "/api/**",
            conversations: Arc::default(),
        }
    }
}

fn rule(name: &str, when: When, action: Action) -> Rule {
    Rule { name: name.into(), place: "ringward.toml:7".into(), when, action, dry_run: false }
}

fn no_drop() -> Rule {
    let body = BodyTest { contains_any: vec!["DROP TABLE".to_owned()], ignore_case: true };
    let action = Action::Block { reason: "No drops.".into(), next: Some("Ask.".into()) };
    rule("no-drop", When { body: Some(body), ..When::default() }, action)
}

fn slots() -> Slots {
    let spec = |name: &str| {
        SecretSpec::new(name, Source::env("UNUSED").expect("a name"), None, Scrub::On).expect("a spec")
    };
    let slots = Slots::new([spec("key"), spec("client")]).expect("two names");
    for slot in slots.iter() {
        slot.publish(
            SecretValue::new(b"canary-secret-value".to_vec(), Scrub::On).expect("long"),
            Timestamp(1),
        );
    }
    slots
}

fn lease_source(kind: LeaseKind, slots: &Slots) -> Arc<LeaseSource> {
    Arc::new(LeaseSource {
        name: "lease".into(),
        kind,
        token_endpoint: Endpoint::parse("http://127.0.0.1:9/token").expect("loopback"),
        revoke_endpoint: None,
        client_id: "ringward".into(),
        client_secret: slots.find("client").expect("it is there").clone(),
        auth_method: ClientAuth::Basic,
        audience: None,
        resource: None,
        scope: None,
        lifetime_default: None,
        scrub: Scrub::On,
        roots: None,
    })
}

impl World {
    fn plan(self) -> Arc<Plan> {
        let slots = slots();
        let template = if self.lease.is_some() { "Bearer ${secret:lease}" } else { "Bearer ${secret:key}" };
        let template = Template::parse(template).expect("a template");
        let upstream = Upstream {
            protocol: self.protocol,
            path_prefix: "/base".to_owned(),
            server_name: "api.test".to_owned(),
            inject: Vec::from_iter(
                self.inject.then(|| Injection::new("authorization", template).expect("a header")),
            ),
            lease: self.lease.map(|kind| lease_source(kind, &slots)),
            ..Upstream::plain("up")
        };
        let route = Route {
            name: "all".into(),
            issuers: Vec::new(),
            upstream: 0,
            rules: RuleSet::compile(&self.rules, self.protocol).expect("rules"),
            request_masks: self.masks.clone(),
            response_masks: self.masks,
            thinking: crate::inspect::Thinking::Flag,
            record: self.record,
            body_bytes_max: self.body_bytes_max,
            strip_prefix: Some("/api".to_owned()),
            all_paths: true,
            digest: [0; 32],
            rules_digest: [self.rules.len() as u8; 32],
            remembers: true,
        };
        let path = PathPattern::parse(self.path).expect("a pattern");
        let found = RouteMatch { listen: None, host: HostPattern::Any, path, methods: Vec::new() };
        Arc::new(Plan {
            generation: 1,
            pseudonym: "ringward-test".into(),
            listeners: vec!["agents".into()],
            client_addresses: vec![ClientAddress::Peer],
            router: Router::new(vec![found]).expect("one route"),
            routes: vec![Arc::new(route)],
            upstreams: vec![Arc::new(upstream)],
            issuers: Vec::new(),
            secrets: slots,
            deny_status: DenyStatus::Auto,
            tokens: Arc::new(inspect::token::TokenBook::new([7; 32])),
            limits: Default::default(),
            freezer: Arc::default(),
            conversations: self.conversations,
            hold_slice: Duration::from_secs(90),
        })
    }

    fn exchange(self) -> Driven {
        let caller = Caller {
            address: "192.0.2.7".into(),
            id: ExchangeId([7; 16]),
            listener: 0,
            peer: "127.0.0.1:5000".parse().expect("an address"),
            via: None,
            local: "127.0.0.1:443".parse().expect("an address"),
            connection: "connection:1".into(),
            secure: self.server_name.is_some(),
            server_name: self.server_name.map(Into::into),
        };
        let exchange = Exchange::new(self.plan(), caller, Now::default());
        Driven {
            exchange,
            tokens: TokenCache::new(&[1; 32]),
            subjects: Subjects::default(),
            memory: Budget::new(1 << 20),
            steps: Steps::default(),
        }
    }
}

/// An exchange, and the steps that it gave.
struct Driven {
    exchange: Exchange,
    tokens: TokenCache,
    subjects: Subjects,
    memory: Budget,
    steps: Steps,
}

impl Driven {
    /// Feeds an event and takes all steps out.
    fn on(&mut self, event: Event) -> Vec<Step> {
        let now = Now { instant: Instant(5_000), wall: Timestamp(9) };
        let (tokens, subjects) = (&mut self.tokens, &mut self.subjects);
        let mut around = Surroundings { now, tokens, subjects, memory: &self.memory };
        self.exchange.on(&mut around, event, &mut self.steps);
        std::iter::from_fn(|| self.steps.next_step()).collect()
    }

    fn request(&mut self, method: Method, body: &'static [u8], framing: Framing, end: bool) -> Vec<Step> {
        let head = head(method, framing);
        self.on(Event::Request(Arrival { head: Box::new(head), data: Chunk::from_static(body).into(), end }))
    }

    /// A POST of a small body whose head `change` has changed.
    fn changed(&mut self, change: impl FnOnce(&mut RequestHead)) -> Vec<Step> {
        let mut head = head(Method::Post, Framing::Length(2));
        change(&mut head);
        let data = Chunk::from_static(b"hi").into();
        self.on(Event::Request(Arrival { head: Box::new(head), data, end: true }))
    }

    fn post(&mut self, body: &'static [u8]) -> Vec<Step> {
        self.request(Method::Post, body, Framing::Length(body.len() as u64), true)
    }

    /// Lets a request through to upstream.
    fn open(&mut self) -> Vec<Step> {
        let steps = self.post(b"hello");
        let ticket = ticket(&steps);
        self.on(Event::Answer(ticket, Answer::Recorded(Ok(2))))
    }

    fn response(&mut self, headers: &[(&str, &str)], body: &'static [u8], end: bool) -> Vec<Step> {
        let mut head = response_head("");
        head.headers = Headers::new();
        headers.iter().for_each(|(name, value)| head.headers.append(name, value.as_bytes()));
        let head = Box::new(ResponseHead { framing: Framing::Length(body.len() as u64), ..head });
        self.on(Event::Response { head, data: Chunk::from_static(body).into(), end })
    }
}

/// The head of a request with credentials of its own.
fn head(method: Method, framing: Framing) -> RequestHead {
    let mut headers = Headers::new();
    for (name, value) in [("content-type", "text/plain"), ("x-api-key", "the-callers"), ("cookie", "c=1")] {
        headers.append(name, value.as_bytes());
    }
    RequestHead {
        method,
        path: "/api/things".to_owned(),
        query: Some("a=1".to_owned()),
        authority: "gw.test".to_owned(),
        version: Version::Http11,
        headers,
        framing,
        keep_alive: true,
        expect_continue: false,
    }
}

fn response_head(content_type: &str) -> ResponseHead {
    let mut headers = Headers::new();
    headers.append("content-type", content_type.as_bytes());
    ResponseHead {
        status: 200,
        version: Version::Http11,
        headers,
        framing: Framing::None,
        declared_length: None,
        keep_alive: true,
    }
}

/// The lease that is asked for.
fn lease(steps: &[Step]) -> Lease {
    let source = steps.iter().find_map(|step| match step {
        Step::Ask(_, Ask::Lease { source, .. }) => Some(source.clone()),
        _ => None,
    });
    let value = SecretValue::new(b"short-lived-token".to_vec(), Scrub::On).expect("long");
    Lease {
        id: "lease-1".into(),
        source: source.expect("a question for a lease"),
        value: Arc::new(value),
        expires: Timestamp(99),
    }
}

/// Who calls, with a token that ends at `expires`.
fn principal(subject: &str, expires: u64) -> Arc<Principal> {
    Arc::new(Principal {
        identity: "idp".into(),
        issuer: "https://idp.test".into(),
        subject: subject.to_owned(),
        owner: None,
        groups: Vec::new(),
        purpose: None,
        jti: None,
        client: None,
        expires: Timestamp(expires),
        token_id: TokenId([0; 16]),
    })
}

/// The steps as one word each.
fn words(steps: &[Step]) -> Vec<&'static str> {
    let word = |step: &Step| match step {
        Step::Ask(_, Ask::Record(..)) => "ask record",
        Step::Ask(_, Ask::Lease { .. }) => "ask lease",
        Step::Ask(_, Ask::Keys(_)) => "ask keys",
        Step::Ask(_, Ask::Verdict(_)) => "ask people",
        Step::Continue => "continue",
        Step::ReadBody => "read body",
        Step::Forward(_) => "forward",
        Step::ForwardBody { .. } => "forward body",
        Step::Reply(_) => "reply",
        Step::Inform(_) => "inform",
        Step::Respond { .. } => "respond",
        Step::Send { .. } => "send",
        Step::Note(_) => "note",
        Step::Finish(Some(_), _) => "finish",
        Step::Finish(None, _) => "finish unrecorded",
        Step::Release(_) => "release",
        Step::Settle(_) => "settle",
        Step::Abort(Side::Client) => "abort client",
        Step::Abort(Side::Upstream) => "abort upstream",
    };
    steps.iter().map(word).collect()
}

fn ticket(steps: &[Step]) -> Ticket {
    let asked = steps.iter().find_map(|step| match step {
        Step::Ask(ticket, _) => Some(*ticket),
        _ => None,
    });
    asked.expect("a question")
}

fn reply(steps: &[Step]) -> &Reply {
    let found = steps.iter().find_map(|step| match step {
        Step::Reply(reply) => Some(reply),
        _ => None,
    });
    found.expect("a reply")
}

fn outcome(steps: &[Step]) -> &audit::Outcome {
    match steps.last() {
        Some(Step::Finish(Some(Record::Outcome(outcome)), _)) => outcome,
        other => panic!("no OUTCOME at the end: {other:?}"),
    }
}

fn refusal(steps: &[Step]) -> &audit::Refusal {
    match steps.last() {
        Some(Step::Finish(Some(Record::Refusal(refusal)), _)) => refusal,
        other => panic!("no REFUSAL at the end: {other:?}"),
    }
}

#[test]
fn nothing_goes_upstream_before_the_intent_is_recorded() {
    let mut driven = World::default().exchange();
    let steps = driven.post(b"hello");
    assert_eq!(words(&steps), ["ask record"]);
    let Step::Ask(ticket, Ask::Record(records, Commit::Durable)) = &steps[0] else { panic!("{steps:?}") };
    // A whole body comes before the INTENT that commits to it.
    let kinds: Vec<_> = records.iter().map(|record| record.kind().name()).collect();
    assert_eq!(kinds, ["CONTENT", "INTENT"]);
    let steps = driven.on(Event::Answer(*ticket, Answer::Recorded(Ok(2))));
    assert_eq!(words(&steps), ["forward"]);
    let Step::Forward(forward) = &steps[0] else { panic!("{steps:?}") };
    assert_eq!(forward.head.target(), "/base/things?a=1");
    assert_eq!(forward.head.authority, "up.test");
    assert_eq!((forward.data.to_vec(), forward.end), (b"hello".to_vec(), true));
    assert_eq!(forward.injected[0].1.expose(), b"Bearer canary-secret-value");
    for name in ["x-api-key", "cookie", "authorization"] {
        assert!(!forward.head.headers.contains(name), "{name} of the caller went upstream");
    }
}

#[test]
fn a_whole_exchange_ends_with_one_outcome() {
    let mut driven = World::default().exchange();
    driven.open();
    let steps = driven.response(&[("content-type", "text/plain")], b"answer", true);
    assert_eq!(words(&steps), ["note", "respond"]);
    let steps = driven.on(Event::Delivered);
    assert_eq!(words(&steps), ["finish"]);
    let outcome = outcome(&steps);
    assert_eq!((outcome.cause, outcome.status), (audit::Cause::Complete, Some(200)));
    assert_eq!((outcome.request.sent, outcome.response.received), (5, 6));
    assert!(driven.exchange.has_ended());
    assert!(driven.on(Event::Delivered).is_empty(), "an ended exchange does nothing more");
}

#[test]
fn a_blocked_request_is_refused_with_its_reason_and_recorded_once() {
    let rules = vec![no_drop(), rule("default", When::default(), Action::Allow)];
    let mut driven = World { rules, ..World::default() }.exchange();
    let steps = driven.post(b"please drop \t table x");
    assert_eq!(words(&steps), ["reply"]);
    assert_eq!(reply(&steps).status, 403);
    let body = String::from_utf8(reply(&steps).body.clone()).expect("text");
    assert!(body.contains("No drops.") && body.contains("ringward.toml:7"), "{body}");
    let steps = driven.on(Event::Delivered);
    assert_eq!(words(&steps), ["note", "finish"]);
    assert_eq!((refusal(&steps).code.as_ref(), refusal(&steps).status), ("policy_denied", 403));
    for name in ["x-api-key", "cookie"] {
        assert!(!refusal(&steps).head.headers.contains(name), "{name} of the caller was recorded");
    }
}

#[test]
fn a_body_that_the_policy_needs_is_gathered_first() {
    let rules = vec![no_drop(), rule("default", When::default(), Action::Allow)];
    let mut driven = World { rules, ..World::default() }.exchange();
    assert_eq!(words(&driven.request(Method::Post, b"DR", Framing::Chunked, false)), ["read body"]);
    let more = |data: &'static [u8], end| Event::RequestBody { data: Chunk::from_static(data).into(), end };
    assert_eq!(words(&driven.on(more(b"OP TA", false))), ["read body"]);
    assert_eq!(words(&driven.on(more(b"BLE", true))), ["reply"]);
}

#[test]
fn a_journal_that_takes_nothing_lets_nothing_through() {
    for (unavailable, ends_with_outcome) in [(Unavailable::TurnedAway, false), (Unavailable::Failed, true)] {
        let mut driven = World::default().exchange();
        let ticket = ticket(&driven.post(b"hello"));
        let steps = driven.on(Event::Answer(ticket, Answer::Recorded(Err(unavailable))));
        assert_eq!(words(&steps), ["reply"]);
        assert_eq!(reply(&steps).status, 503);
        let steps = driven.on(Event::Delivered);
        let is_outcome = matches!(steps.last(), Some(Step::Finish(Some(Record::Outcome(_)), _)));
        assert_eq!(is_outcome, ends_with_outcome, "{unavailable:?}");
    }
}

#[test]
fn recording_that_is_off_records_nothing() {
    let mut driven = World { record: Recording::Off, ..World::default() }.exchange();
    assert_eq!(words(&driven.post(b"hello")), ["forward"]);
    assert_eq!(words(&driven.response(&[], b"answer", true)), ["respond"]);
    assert_eq!(words(&driven.on(Event::Delivered)), ["finish unrecorded"]);
}

#[test]
fn streamed_body_bytes_are_recorded_before_they_go_upstream() {
    let mut driven = World::default().exchange();
    let steps = driven.request(Method::Post, b"one", Framing::Chunked, false);
    let steps = driven.on(Event::Answer(ticket(&steps), Answer::Recorded(Ok(1))));
    assert_eq!(words(&steps), ["forward"]);
    let data = Chunk::from_static(b"two").into();
    let steps = driven.on(Event::RequestBody { data, end: true });
    assert_eq!(words(&steps), ["ask record"]);
    let steps = driven.on(Event::Answer(ticket(&steps), Answer::Recorded(Ok(2))));
    assert!(matches!(&steps[..], [Step::ForwardBody { end: true, .. }]), "{steps:?}");
}

#[test]
fn a_body_that_grows_too_large_is_cut_and_refused() {
    let mut driven = World { body_bytes_max: 4, ..World::default() }.exchange();
    let steps = driven.request(Method::Post, b"one", Framing::Chunked, false);
    driven.on(Event::Answer(ticket(&steps), Answer::Recorded(Ok(1))));
    let steps = driven.on(Event::RequestBody { data: Chunk::from_static(b"two").into(), end: false });
    assert_eq!(words(&steps), ["abort upstream", "reply"]);
    assert_eq!(reply(&steps).status, 413);
    let mut declared = World { body_bytes_max: 4, ..World::default() }.exchange();
    assert_eq!(reply(&declared.request(Method::Post, b"", Framing::Length(5), false)).status, 413);
}

#[test]
fn a_caller_that_goes_away_cuts_upstream_at_once() {
    let mut driven = World::default().exchange();
    driven.open();
    let steps = driven.on(Event::Gone(Side::Client, Cause::Closed));
    assert_eq!(words(&steps), ["abort upstream", "abort client", "finish"]);
    assert_eq!(outcome(&steps).cause, audit::Cause::ClientGone);
}

#[test]
fn an_upstream_that_fails_is_answered_or_cut_but_never_ended_cleanly() {
    let cases = [
        (Cause::Unreachable(Reason::said("refused")), 502, audit::Cause::UpstreamGone),
        (Cause::Tls(Reason::said("expired")), 502, audit::Cause::UpstreamGone),
        (Cause::Timeout(Limit::FirstByte), 504, audit::Cause::Timeout),
        (Cause::Malformed { reason: "two_lengths", status: 502 }, 502, audit::Cause::UpstreamFault),
    ];
    for (cause, status, recorded) in cases {
        let mut driven = World::default().exchange();
        driven.open();
        let steps = driven.on(Event::Gone(Side::Upstream, cause.clone()));
        assert_eq!(words(&steps), ["abort upstream", "reply"], "{cause:?}");
        assert_eq!(reply(&steps).status, status, "{cause:?}");
        assert_eq!(outcome(&driven.on(Event::Delivered)).cause, recorded, "{cause:?}");

        let mut driven = World::default().exchange();
        driven.open();
        driven.response(&[], b"begun.", false);
        let steps = driven.on(Event::Gone(Side::Upstream, cause.clone()));
        assert_eq!(words(&steps), ["abort upstream", "abort client", "finish"], "{cause:?}");
        assert_eq!(outcome(&steps).cause, recorded, "{cause:?}");
    }
}

#[test]
fn a_stream_that_breaks_off_says_so_before_it_is_cut() {
    let mut driven = World { protocol: Protocol::Anthropic, ..World::default() }.exchange();
    driven.open();
    let head = Box::new(ResponseHead { framing: Framing::Chunked, ..response_head("text/event-stream") });
    let data = Chunk::from_static(b"event: ping\ndata: {}\n\n").into();
    driven.on(Event::Response { head, data, end: false });
    let steps = driven.on(Event::Gone(Side::Upstream, Cause::Closed));
    assert_eq!(words(&steps), ["abort upstream", "send", "abort client", "finish"]);
    let Step::Send { data, end: false } = &steps[1] else { panic!("{steps:?}") };
    let event = String::from_utf8(data.to_vec()).expect("text");
    assert!(event.contains("event: error"), "{event}");
}

#[test]
fn a_lease_is_fetched_after_the_record_and_given_back_at_the_end() {
    let mut driven = World { lease: Some(LeaseKind::ClientCredentials), ..World::default() }.exchange();
    let steps = driven.open();
    assert_eq!(words(&steps), ["ask lease"]);
    let lease = lease(&steps);
    let steps = driven.on(Event::Answer(ticket(&steps), Answer::Lease(Ok(lease))));
    let Step::Forward(forward) = &steps[0] else { panic!("{steps:?}") };
    assert_eq!(forward.injected[0].1.expose(), b"Bearer short-lived-token");
    driven.response(&[], b"", true);
    let steps = driven.on(Event::Delivered);
    assert_eq!(words(&steps), ["release", "finish"]);
    assert_eq!(outcome(&steps).lease.as_ref().map(|lease| &*lease.id), Some("lease-1"));
}

#[test]
fn a_lease_that_comes_too_late_is_given_back() {
    let mut driven = World { lease: Some(LeaseKind::ClientCredentials), ..World::default() }.exchange();
    let steps = driven.open();
    let (lease, ticket) = (lease(&steps), ticket(&steps));
    driven.on(Event::Gone(Side::Client, Cause::Closed));
    assert_eq!(words(&driven.on(Event::Answer(ticket, Answer::Lease(Ok(lease))))), ["release"]);
}

/// Masks of e-mail addresses, in both directions.
fn masks() -> Option<Arc<MaskSet>> {
    let mask = inspect::Rule {
        name: "emails".into(),
        kind: Kind::Email,
        replace: Replacement::parse("[email]").expect("a template"),
        direction: inspect::Direction::Both,
        dry_run: false,
    };
    Some(Arc::new(MaskSet::compile(vec![mask]).expect("one mask")))
}

#[test]
fn an_answer_that_cannot_be_masked_is_not_sent() {
    let masks = masks();
    for header in [("content-encoding", "gzip"), ("content-type", "image/png")] {
        let mut driven = World { masks: masks.clone(), ..World::default() }.exchange();
        let opened = driven.open();
        let Some(Step::Forward(forward)) = opened.last() else { panic!("{opened:?}") };
        assert_eq!(forward.head.headers.get("accept-encoding"), Some(&b"identity"[..]));
        let steps = driven.response(&[header], b"xyz", true);
        assert_eq!(words(&steps), ["abort upstream", "reply"], "{header:?}");
        assert_eq!(reply(&steps).status, 502);
    }
}

#[test]
fn the_gateways_own_continue_is_the_only_one() {
    let mut driven = World::default().exchange();
    driven.open();
    let inform = |status| Event::Inform(Box::new(ResponseHead { status, ..response_head("") }));
    assert!(driven.on(inform(100)).is_empty());
    assert_eq!(words(&driven.on(inform(103))), ["inform"]);
}

#[test]
fn no_step_shows_a_secret_when_printed() {
    let mut driven = World::default().exchange();
    let steps = driven.open();
    let printed = format!("{steps:?}");
    assert!(!printed.contains("canary") && !printed.contains("the-callers"), "{printed}");
}

#[test]
fn a_request_that_is_not_http_is_refused_and_recorded() {
    let mut driven = World::default().exchange();
    let cause = Cause::Malformed { reason: "bare_lf", status: 400 };
    let steps = driven.on(Event::Gone(Side::Client, cause));
    assert_eq!(reply(&steps).status, 400);
    let steps = driven.on(Event::Delivered);
    assert_eq!(refusal(&steps).code, "malformed_request");
    assert_eq!(refusal(&steps).session.as_deref(), Some("connection:1"));
}

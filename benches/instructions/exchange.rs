//! A plain exchange through the state machine, from the parsed head of the request to its last record.

use super::{Cases, Operation, h1};
use ringward::{
    audit::ExchangeId,
    buffer::{Budget, Chunk},
    config::{self, Host, Text},
    exchange::{Arrival, Caller, Event, Exchange, Step, Steps, Subjects, Surroundings, plan::Plan},
    http::{
        Method, RequestHead, ResponseHead,
        h1::{parse_request, parse_response},
    },
    identity::TokenCache,
    time::{Instant, Now, Timestamp},
};
use std::{hint::black_box, sync::Arc};

pub const CASES: Cases = &[("exchange_plain", plain)];

const CONFIG: &str = r#"version = 1
[[listen]]
name = "in"
addr = "127.0.0.1:0"
[upstreams.up]
url = "http://127.0.0.1:9"
[[route]]
name = "all"
match = { listen = "in" }
identity = []
upstream = "up"
policies = ["no-admin", "default"]
record = "off"
[[policy]]
name = "no-admin"
when = { path = "/admin/**" }
action = "block"
reason = "No."
[[policy]]
name = "default"
action = "allow"
"#;

fn plan() -> Arc<Plan> {
    let text = Text::new("ringward.toml", ".", CONFIG);
    let loaded = config::load(&text).expect("a document");
    config::compile(&loaded, &text, &Host::default(), None).expect("a sound configuration").plan
}

fn plain() -> Operation {
    let caller = Caller {
        id: ExchangeId([7; 16]),
        listener: 0,
        peer: "127.0.0.1:5000".parse().expect("an address"),
        via: None,
        local: "127.0.0.1:443".parse().expect("an address"),
        address: "127.0.0.1".into(),
        connection: "connection:1".into(),
        secure: false,
        server_name: None,
    };
    let (plan, mut tokens) = (plan(), TokenCache::new(&[1; 32]));
    let request = parse_request(Chunk::from_static(h1::SMALL.as_bytes())).expect("well-formed");
    let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 200\r\n\r\n";
    let response = parse_response(Chunk::from_static(answer), &Method::Post).expect("well-formed");
    let (data, memory) = (Chunk::from(vec![b'x'; 200]), Budget::new(1 << 20));
    Box::new(move || {
        let exchange = Exchange::new(plan.clone(), caller.clone(), Now::default());
        carry(exchange, &mut tokens, &memory, &request, &response, &data);
    })
}

fn carry(
    mut exchange: Exchange,
    tokens: &mut TokenCache,
    memory: &Budget,
    request: &RequestHead,
    response: &ResponseHead,
    data: &Chunk,
) {
    let mut steps = Steps::default();
    let mut now = Now { instant: Instant(5_000), wall: Timestamp(9) };
    let mut is_forwarded = false;
    let mut subjects = Subjects::default();
    let arrival = Arrival { head: Box::new(request.clone()), data: data.clone().into(), end: true };
    let answer = Event::Response { head: Box::new(response.clone()), data: data.clone().into(), end: true };
    for event in [Event::Request(arrival), answer, Event::Delivered] {
        now.instant.0 += 10_000;
        let mut around = Surroundings { now, tokens: &mut *tokens, subjects: &mut subjects, memory };
        exchange.on(&mut around, event, &mut steps);
        while let Some(step) = steps.next_step() {
            is_forwarded |= matches!(step, Step::Forward(_));
            black_box(step);
        }
    }
    assert!(is_forwarded && exchange.has_ended());
}

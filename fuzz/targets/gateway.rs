//! The whole gateway between two byte streams, without sockets: parser, route, exchange, encoder, in the
//! order in which a shard calls them. What leaves it on either side is judged by an oracle that shares no
//! code with it.
//!
//! Input: one byte of options, one that seeds the lengths of reads, then parts that are divided by the line
//! `--`: what the caller sends, then what upstream answers to the first request that reaches it, to the
//! second, and so on; a good answer where there is none.

#[allow(dead_code)]
#[path = "../../tests/oracle/mod.rs"]
mod oracle;

use oracle::Rest;
use ringward::{
    audit::{ExchangeId, Record},
    buffer::{Budget, Chunk, Segments},
    config::{self, Host, Text},
    exchange::{
        Answer, Arrival, Ask, Caller, Cause, Event, Exchange, Forward, Side, Step, Steps, Subjects,
        Surroundings, TokenCache, plan::Plan,
    },
    http::{
        Framing, Method, Rejection, RequestHead, ResponseHead, Version,
        h1::{
            BodyDecoder, ChunkEncoder, ReplyFraming, Role, encode_reply, encode_request, encode_response,
            find_head_end, parse_request, parse_response,
        },
    },
    limits::INFORMATIONAL_COUNT_MAX,
    protocol::Reply,
    secrets::{Scrub, SecretValue},
    time::{Now, Timestamp},
};
use std::sync::{Arc, LazyLock};

const SECRET: &str = "Bearer fuzz-secret-of-the-upstream";

/// A route of each kind: one whose policy reads bodies, one that masks, and others.
const CONFIG: &str = r#"
version = 1
[[listen]]
name = "in"
addr = "127.0.0.1:0"
[admin]
socket = "admin.sock"
[secrets.key]
source = { env = "UNUSED" }
[upstreams.up]
url = "http://127.0.0.1:9/up"
inject = { header = "authorization", value = "${secret:key}" }
[[route]]
name = "all"
match = { listen = "in" }
identity = []
upstream = "up"
policies = ["admin", "default"]
max_body = "64KiB"
[[route]]
name = "read"
match = { listen = "in", path = "/read/**" }
identity = []
upstream = "up"
policies = ["drop", "default"]
max_body = "64KiB"
[[route]]
name = "masked"
match = { listen = "in", path = "/masked/**", strip_prefix = "/masked" }
identity = []
upstream = "up"
policies = ["admin", "default"]
masks = ["emails"]
[[policy]]
name = "admin"
when = { path = ["/admin/**", "/masked/admin/**"] }
action = "block"
[[policy]]
name = "drop"
when = { body = { contains_any = ["DROP"] } }
action = "block"
[[policy]]
name = "default"
action = "allow"
[[mask]]
name = "emails"
kind = "email"
[log]
access = "off"
"#;

static PLAN: LazyLock<Arc<Plan>> = LazyLock::new(|| {
    let text = Text::new("fuzz.toml", ".", CONFIG);
    let loaded = config::load(&text).expect("a configuration");
    let snapshot = config::compile(&loaded, &text, &Host::default(), None).expect("a good configuration");
    let value = SecretValue::new(SECRET.as_bytes().to_vec(), Scrub::On).expect("long enough");
    snapshot.plan.secrets.find("key").expect("it is there").publish(value, Timestamp(1));
    snapshot.plan.clone()
});

/// However both sides' bytes are cut into reads, both get canonical messages, as many as were recorded, and
/// upstream gets the same ones.
pub fn gateway(data: &[u8]) {
    let [options, seed, bytes @ ..] = data else { return };
    let is_early = options & 1 == 1;
    let at_once = Gateway::new(bytes, 0, is_early).run();
    let split = Gateway::new(bytes, 1 + usize::from(*seed), is_early).run();
    // How much of it arrives together may decide when the gateway stops to listen, and nothing else.
    for (one, other) in at_once.into_iter().zip(split) {
        assert_eq!(unframed(one), unframed(other));
    }
}

/// A request without its length: that of a body is said where it was there when its head was written.
fn unframed(mut request: oracle::Request) -> oracle::Request {
    request.fields.0.retain(|(name, _)| name != "content-length" && name != "transfer-encoding");
    request
}

/// What one peer sends, in reads.
struct Stream<'a> {
    bytes: &'a [u8],
    at: usize,
    /// 0: everything at once.
    seed: usize,
}

impl Stream<'_> {
    fn read(&mut self) -> Option<Chunk> {
        let left = self.bytes.len() - self.at;
        let length = if self.seed == 0 { left } else { left.min(1 + (self.at * 7 + self.seed) % 13) };
        let read = Chunk::from(self.bytes[self.at..self.at + length].to_vec());
        self.at += length;
        (length > 0).then_some(read)
    }

    /// The next head and no byte more; `None` at the end, if nothing came before it.
    fn head(&mut self, role: Role) -> Result<Option<Chunk>, Cause> {
        let (start, mut searched) = (self.at, 0);
        while let Some(read) = self.read() {
            let known = &self.bytes[start..self.at];
            if let Some(length) = find_head_end(known, &mut searched, role).map_err(malformed)? {
                // The rest of this read belongs to what follows, and arrives together with the head.
                let rest = known.len() - length;
                assert!(rest < read.len());
                self.at -= rest;
                return Ok(Some(Chunk::from(known[..length].to_vec())));
            }
        }
        if self.at == start { Ok(None) } else { Err(Cause::Closed) }
    }

    /// The next piece of a body.
    fn piece(&mut self, decoder: &mut BodyDecoder) -> Result<(Segments, bool), Cause> {
        let read = self.read().ok_or(Cause::Closed)?;
        let (length, mut data) = (read.len(), Segments::new());
        let progress = decoder.push(read, &mut data).map_err(malformed)?;
        self.at -= length - progress.consumed;
        Ok((data, progress.done))
    }
}

fn malformed(rejection: Rejection) -> Cause {
    Cause::Malformed { reason: rejection.reason(), status: rejection.status() }
}

/// One connection of a caller, and those of the gateway to its upstream.
struct Gateway<'a> {
    caller: Stream<'a>,
    answers: Vec<&'a [u8]>,
    /// Whether upstream answers before it has the whole request.
    is_early: bool,
    tokens: TokenCache,
    memory: Budget,
    /// What left the gateway.
    sent: Vec<u8>,
    is_cut: bool,
    forwarded: Vec<Vec<u8>>,
    /// Whether the last of them may carry another request.
    is_reusable: bool,
    /// Methods of the requests, for who reads the answers; their number is that of the exchanges.
    methods: Vec<String>,
    /// Heads that were sent upstream, answers that left whole, and records.
    forwards: usize,
    delivered: usize,
    intents: usize,
    outcomes: usize,
    refusals: usize,
}

/// One exchange, and what a shard knows of it.
struct Current {
    exchange: Exchange,
    steps: Steps,
    decoder: BodyDecoder,
    version: Version,
    method: Method,
    keep_alive: bool,
    awaits_continue: bool,
    is_short: bool,
    to_caller: Option<ChunkEncoder>,
    to_upstream: Option<ChunkEncoder>,
    has_forwarded: bool,
    sent_whole: bool,
    upstream_cut: bool,
}

impl<'a> Gateway<'a> {
    fn new(bytes: &'a [u8], seed: usize, is_early: bool) -> Gateway<'a> {
        let mut parts = Vec::new();
        let mut rest = bytes;
        while let Some(at) = oracle::find(rest, b"\n--\n") {
            parts.push(&rest[..at]);
            rest = &rest[at + 4..];
        }
        parts.push(rest);
        Gateway {
            caller: Stream { bytes: parts.remove(0), at: 0, seed },
            answers: parts,
            is_early,
            tokens: TokenCache::new(&[1; 32]),
            memory: Budget::new(1 << 30),
            sent: Vec::new(),
            is_cut: false,
            forwarded: Vec::new(),
            is_reusable: false,
            methods: Vec::new(),
            forwards: 0,
            delivered: 0,
            intents: 0,
            outcomes: 0,
            refusals: 0,
        }
    }

    /// Serves the connection to its end; gives the whole requests that upstream received.
    fn run(mut self) -> Vec<oracle::Request> {
        while self.exchange() {}
        self.judge()
    }

    /// One request and its answer. Whether another one may follow.
    fn exchange(&mut self) -> bool {
        let received = match self.caller.head(Role::Request) {
            Ok(None) | Err(Cause::Closed) => return false,
            Ok(Some(head)) => parse_request(head).map_err(malformed),
            Err(cause) => Err(cause),
        };
        let mut current = Current::new(self.methods.len(), received.as_ref().ok());
        self.methods.push(current.method.to_string());
        let arrived = received.and_then(|head| {
            // What is left of the read that the head came with.
            let piece = match current.decoder.is_done() || self.caller.at == self.caller.bytes.len() {
                true => (Segments::new(), current.decoder.is_done()),
                false if self.caller.seed == 0 => self.caller.piece(&mut current.decoder)?,
                false => (Segments::new(), false),
            };
            Ok((head, piece))
        });
        match arrived {
            Ok((head, (data, end))) => {
                let head = Box::new(head);
                self.feed(&mut current, Event::Request(Arrival { head, data, end }))
            }
            Err(cause) => {
                current.keep_alive = false;
                self.feed(&mut current, Event::Gone(Side::Client, cause))
            }
        }
        assert!(current.exchange.has_ended(), "an exchange without further steps has ended");
        let is_over = self.is_cut || !current.keep_alive;
        while !is_over && !current.has_forwarded && !current.decoder.is_done() {
            if self.caller.piece(&mut current.decoder).is_err() {
                return false;
            }
        }
        !is_over && current.decoder.is_done()
    }

    /// Hands an event to the exchange and carries out what that gives.
    fn feed(&mut self, current: &mut Current, event: Event) {
        let (tokens, subjects) = (&mut self.tokens, &mut Subjects::default());
        let mut around = Surroundings { now: Now::default(), tokens, subjects, memory: &self.memory };
        current.exchange.on(&mut around, event, &mut current.steps);
        while let Some(step) = current.steps.next_step() {
            match step {
                Step::Ask(ticket, Ask::Record(records, _)) => {
                    let is_intent = |record: &&Record| matches!(record, Record::Intent(_));
                    self.intents += records.iter().filter(is_intent).count();
                    self.feed(current, Event::Answer(ticket, Answer::Recorded(Ok(1))));
                }
                Step::Continue => {
                    current.awaits_continue = false;
                    self.send(b"HTTP/1.1 100 Continue\r\n\r\n");
                }
                Step::ReadBody => self.feed_piece(current),
                Step::Forward(forward) => self.forward(current, *forward),
                Step::ForwardBody { data, end } => {
                    assert!(!current.sent_whole && current.has_forwarded);
                    current.sent_whole = end;
                    self.send_upstream(current, data, end);
                }
                Step::Reply(reply) => self.reply(current, &reply),
                Step::Inform(head) if current.version == Version::Http11 => {
                    let mut bytes = Vec::new();
                    encode_response(&head, true, &mut bytes);
                    self.send(&bytes);
                }
                Step::Inform(_) | Step::Note(_) => {}
                Step::Respond { head, data, end } => self.respond(current, *head, data, end),
                Step::Send { data, end } => self.send_body(current, data, end),
                Step::Finish(Some(Record::Outcome(_)), _) => self.outcomes += 1,
                Step::Finish(Some(Record::Refusal(_)), _) => self.refusals += 1,
                Step::Abort(Side::Client) => self.is_cut = true,
                Step::Abort(Side::Upstream) => current.upstream_cut = true,
                Step::Ask(..) | Step::Release(_) | Step::Settle(_) | Step::Finish(..) => {
                    panic!("not of this plan: {step:?}")
                }
            }
        }
    }

    /// Reads more of the request's body, or notices that none comes.
    fn feed_piece(&mut self, current: &mut Current) {
        let event = match self.caller.piece(&mut current.decoder) {
            Ok((data, end)) => Event::RequestBody { data, end },
            Err(cause) => Event::Gone(Side::Client, cause),
        };
        self.feed(current, event);
    }

    fn forward(&mut self, current: &mut Current, forward: Forward) {
        if !self.is_reusable {
            self.forwarded.push(Vec::new());
        }
        self.is_reusable = false;
        self.forwards += 1;
        (current.has_forwarded, current.sent_whole) = (true, forward.end);
        current.to_upstream = (forward.head.framing == Framing::Chunked).then(ChunkEncoder::new);
        let injected: Vec<(&str, &[u8])> =
            forward.injected.iter().map(|(name, value)| (&**name, value.expose())).collect();
        let out = self.forwarded.last_mut().expect("a connection");
        encode_request(&forward.head, &injected, out);
        self.send_upstream(current, forward.data, forward.end);
        if self.is_early {
            self.answer(current, &forward.head.method);
        }
        while !current.decoder.is_done() && !current.exchange.has_ended() {
            self.feed_piece(current);
        }
        if !self.is_early && !current.exchange.has_ended() {
            self.answer(current, &forward.head.method);
        }
        current.keep_alive &= current.sent_whole;
    }

    /// Upstream's answer to the request that was forwarded last.
    fn answer(&mut self, current: &mut Current, method: &Method) {
        let good: &[u8] = if *method == Method::Head {
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"
        } else {
            b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok"
        };
        let bytes = self.answers.get(self.forwards - 1).copied().unwrap_or(good);
        let mut upstream = Stream { bytes, at: 0, seed: self.caller.seed };
        let mut decoder = None;
        let mut is_kept = false;
        let mut informational = 0;
        while !current.exchange.has_ended() {
            let event = match &mut decoder {
                None => match response(&mut upstream, method) {
                    Err(cause) => Event::Gone(Side::Upstream, cause),
                    Ok(head) if head.status < 200 && informational == INFORMATIONAL_COUNT_MAX => {
                        let cause = Cause::Malformed { reason: "informational_flood", status: 502 };
                        Event::Gone(Side::Upstream, cause)
                    }
                    Ok(head) if head.status < 200 => {
                        informational += 1;
                        Event::Inform(Box::new(head))
                    }
                    Ok(head) => {
                        is_kept = head.keep_alive;
                        let body = decoder.insert(BodyDecoder::new(head.framing));
                        let end = body.is_done();
                        Event::Response { head: Box::new(head), data: Segments::new(), end }
                    }
                },
                Some(body) => match upstream.piece(body) {
                    Ok((data, end)) => Event::ResponseBody { data, end },
                    Err(Cause::Closed) if body.finish_on_eof().is_ok() => {
                        is_kept = false;
                        Event::ResponseBody { data: Segments::new(), end: true }
                    }
                    Err(cause) => Event::Gone(Side::Upstream, cause),
                },
            };
            self.feed(current, event);
        }
        let is_whole = decoder.is_some_and(|body| body.is_done()) && upstream.at == bytes.len();
        self.is_reusable = is_whole && is_kept && current.sent_whole && !current.upstream_cut && !self.is_cut;
    }

    fn respond(&mut self, current: &mut Current, mut head: ResponseHead, data: Segments, end: bool) {
        match (current.version, head.framing) {
            (Version::Http10, Framing::Chunked) => head.framing = Framing::Close,
            (Version::Http11, Framing::Close) => head.framing = Framing::Chunked,
            _ => {}
        }
        current.keep_alive &= head.framing != Framing::Close;
        current.to_caller = (head.framing == Framing::Chunked).then(ChunkEncoder::new);
        let mut bytes = Vec::new();
        encode_response(&head, current.keep_alive, &mut bytes);
        self.send(&bytes);
        self.send_body(current, data, end);
    }

    fn send_body(&mut self, current: &mut Current, data: Segments, end: bool) {
        let framed = frame(&mut current.to_caller, data, end);
        self.send(&framed.to_vec());
        if end {
            self.delivered += 1;
            self.feed(current, Event::Delivered);
        }
    }

    fn reply(&mut self, current: &mut Current, reply: &Reply) {
        current.keep_alive &= match current.has_forwarded {
            true => current.sent_whole,
            false => current.decoder.is_done() || (current.is_short && !current.awaits_continue),
        };
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        let head_only = current.exchange.is_head();
        let framing = ReplyFraming { date, keep_alive: current.keep_alive, head_only };
        let mut bytes = Vec::new();
        encode_reply(reply.status, &reply.headers, &reply.body, framing, &mut bytes);
        self.send(&bytes);
        self.delivered += 1;
        self.feed(current, Event::Delivered);
    }

    fn send(&mut self, bytes: &[u8]) {
        assert!(!self.is_cut, "bytes behind a cut");
        self.sent.extend_from_slice(bytes);
    }

    fn send_upstream(&mut self, current: &mut Current, data: Segments, end: bool) {
        assert!(!current.upstream_cut, "bytes behind a cut");
        let framed = frame(&mut current.to_upstream, data, end);
        self.forwarded.last_mut().expect("a connection").extend(framed.to_vec());
    }

    fn judge(self) -> Vec<oracle::Request> {
        let mut whole = Vec::new();
        let mut seen = 0;
        for bytes in &self.forwarded {
            let shown = String::from_utf8_lossy(bytes);
            let messages = oracle::requests(bytes).unwrap_or_else(|fault| panic!("{fault}: {shown}"));
            seen += messages.whole.len();
            messages.whole.iter().for_each(is_clean);
            match &messages.rest {
                Rest::Nothing => {}
                Rest::Head => panic!("part of a head: {shown}"),
                Rest::Body(request) => {
                    is_clean(request);
                    seen += 1;
                }
            }
            whole.extend(messages.whole);
        }
        assert_eq!((seen, self.forwards), (self.intents, self.intents), "requests, and those recorded");
        assert_eq!(self.outcomes, self.intents);
        assert_eq!(self.outcomes + self.refusals, self.methods.len(), "each exchange has its one end");
        let methods: Vec<&str> = self.methods.iter().map(String::as_str).collect();
        let shown = String::from_utf8_lossy(&self.sent);
        let messages = oracle::responses(&self.sent, &methods, !self.is_cut);
        let messages = messages.unwrap_or_else(|fault| panic!("{fault}: {shown}"));
        let finals = messages.whole.iter().filter(|response| response.status >= 200).count();
        assert_eq!(finals, self.delivered, "answers: {shown}");
        assert!(self.is_cut || messages.rest == Rest::Nothing, "a half answer that ends cleanly: {shown}");
        whole
    }
}

impl Current {
    /// `None`: what came is no request.
    fn new(index: usize, head: Option<&RequestHead>) -> Current {
        let caller = Caller {
            id: ExchangeId([index as u8; 16]),
            listener: 0,
            peer: "192.0.2.1:5000".parse().expect("an address"),
            via: None,
            local: ([127, 0, 0, 1], 443).into(),
            address: "192.0.2.1".into(),
            connection: "connection:1".into(),
            secure: false,
            server_name: None,
        };
        let framing = head.map_or(Framing::None, |head| head.framing);
        Current {
            exchange: Exchange::new(PLAN.clone(), caller, Now::default()),
            steps: Steps::default(),
            decoder: BodyDecoder::new(framing),
            version: head.map_or(Version::Http11, |head| head.version),
            method: head.map_or(Method::Get, |head| head.method.clone()),
            keep_alive: head.is_none_or(|head| head.keep_alive),
            awaits_continue: head.is_some_and(|head| head.expect_continue),
            is_short: matches!(framing, Framing::None | Framing::Length(..=1_048_576)),
            to_caller: None,
            to_upstream: None,
            has_forwarded: false,
            sent_whole: false,
            upstream_cut: false,
        }
    }
}

fn response(upstream: &mut Stream<'_>, method: &Method) -> Result<ResponseHead, Cause> {
    let head = upstream.head(Role::Response)?.ok_or(Cause::Closed)?;
    parse_response(head, method).map_err(malformed)
}

fn frame(encoder: &mut Option<ChunkEncoder>, data: Segments, end: bool) -> Segments {
    let Some(encoder) = encoder else { return data };
    let mut framed = Segments::new();
    encoder.wrap(data, &mut framed);
    if end {
        encoder.end(&mut framed);
    }
    framed
}

/// What holds for every request that reaches upstream, whatever the caller sent.
fn is_clean(request: &oracle::Request) {
    let all = |name| request.fields.all(name);
    assert_eq!(all("host"), [b"127.0.0.1:9"], "{request:?}");
    assert_eq!(all("authorization"), [SECRET.as_bytes()], "{request:?}");
    assert_eq!(all("x-forwarded-for"), [b"192.0.2.1"], "{request:?}");
    let pseudonym = PLAN.pseudonym.as_bytes();
    assert!(all("via").last().is_some_and(|via| via.ends_with(pseudonym)), "{request:?}");
    for gone in ["cookie", "x-api-key", "proxy-authorization", "x-real-ip", "x-http-method-override"] {
        assert!(all(gone).is_empty(), "{gone} in {request:?}");
    }
    let path = request.target.split('?').next().unwrap_or_default();
    assert!(path == "*" || path == "/up" || path.starts_with("/up/"), "{request:?}");
    assert!(!path.to_ascii_lowercase().starts_with("/up/admin/"), "{request:?}");
}

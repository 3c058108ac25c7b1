//! What an upstream was given never comes back to the caller, nor into a record (SECURITY R19).

use super::{
    harness::{Setup, Upstream, write_private},
    wire::{Message, Wire},
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use flate2::{Compression, write::GzEncoder};
use std::io::Write;

const SECRET: &str = "sk-live-0123\"56789/bcdef";
/// Twelve bytes of it at least.
const MASK: &str = "************";

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn inject(value: &str) -> String {
    format!("inject = {{ header = \"authorization\", {value} }}")
}

fn setup(upstream: &Upstream, value: &str) -> (Setup, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    write_private(&dir.path().join("key"), SECRET);
    let setup = Setup::to(upstream.address)
        .upstream(&inject(value))
        .tables("[secrets.key]\nsource = { file = \"key\" }");
    (setup, dir)
}

/// What of the secret is left in `seen`: any twelve bytes of it, in any of these spellings.
#[track_caller]
fn nothing_of_it_in(seen: &[u8]) {
    let hex: String = SECRET.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut needles: Vec<(String, usize)> =
        vec![(SECRET.to_owned(), 12), (hex.to_uppercase(), 24), (hex, 24)];
    for front in ["", "x", "xx"] {
        for plain in [format!("{front}{SECRET}"), format!("{front}user:{SECRET}")] {
            let encoded = STANDARD.encode(&plain);
            needles.push((encoded[8..encoded.len() - 4].to_owned(), 16));
            let again = STANDARD.encode(STANDARD.encode(plain));
            needles.push((again[16..again.len() - 8].to_owned(), 24));
        }
    }
    for (needle, piece) in needles {
        for part in needle.as_bytes().windows(piece) {
            let found = seen.windows(piece).any(|window| window == part);
            assert!(!found, "{} in {}", String::from_utf8_lossy(part), String::from_utf8_lossy(seen));
        }
    }
}

fn shown(message: &Message) -> Vec<u8> {
    let fields = message.head.fields.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
    [message.head.start.clone().into_bytes(), fields.collect::<String>().into_bytes(), message.body.clone()]
        .concat()
}

/// Answers one request with what `answer` makes of the credential that came with it.
fn exchange(upstream: &Upstream, client: &mut Wire, answer: impl FnOnce(&str, &mut Wire)) -> Message {
    client.send("GET / HTTP/1.1\r\nhost: a\r\naccept-encoding: gzip, br\r\n\r\n");
    let mut served = upstream.accept();
    let request = served.request();
    assert_eq!(request.head.get("accept-encoding"), Some("identity"));
    let credential = request.head.get("authorization").expect("it is injected").to_owned();
    answer(&credential, &mut served);
    client.response()
}

fn whole(head: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

#[test]
fn an_echo_is_masked_wherever_it_stands_and_however_it_is_spelled() {
    let upstream = Upstream::bind();
    let (setup, dir) = setup(&upstream, "value = \"Bearer ${secret:key}\"");
    let gateway = setup.start_in(dir);
    let mut client = gateway.connect();
    let json = serde_json::to_string(&format!("Bearer {SECRET}")).unwrap();
    let hex: String = SECRET.bytes().map(|byte| format!("{byte:02X}")).collect();
    let bodies = [
        format!("you sent Bearer {SECRET}!"),
        format!("{{\"headers\": {{\"authorization\": {json}}}}}"),
        format!("{{\"escaped\": {}}}", json.replace('/', "\\/")),
        STANDARD.encode(format!("authorization: Bearer {SECRET}\r\n")),
        STANDARD.encode(SECRET),
        URL_SAFE_NO_PAD.encode(format!("Bearer {SECRET}")),
        hex,
        format!("<p>{}</p>", SECRET.replace('"', "&quot;")),
        format!("a={}", SECRET.replace('"', "%22").replace('/', "%2F")),
        format!("only a part: {}", &SECRET[3..15]),
    ];
    for body in &bodies {
        let answer = exchange(&upstream, &mut client, |credential, served| {
            assert_eq!(credential, format!("Bearer {SECRET}"));
            served.send(whole("200 OK\r\ncontent-type: application/json", body));
        });
        assert!(answer.text().contains(MASK), "{}", answer.text());
        assert_eq!(answer.head.get("content-length"), Some(body.len().to_string().as_str()));
        nothing_of_it_in(&shown(&answer));
    }
    // In an error page, in fields, in informational answers, in encoded data, and byte by byte.
    let fields = format!(
        "302 Found\r\nlocation: /?key={SECRET}\r\nx-echo: {}\r\nset-cookie: session=of-the-gateway",
        STANDARD.encode(SECRET)
    );
    let early = format!("HTTP/1.1 103 Early Hints\r\nlink: <{SECRET}>\r\n\r\n");
    let page = format!("<html>bad key {SECRET}</html>");
    let answers: Vec<(u16, Vec<u8>)> = vec![
        (500, whole("500 Oops\r\ncontent-type: text/html", &page)),
        (302, whole(&fields, "")),
        (200, whole("200 OK\r\ncontent-type: text/html\r\ncontent-encoding: gzip", gzip(&page))),
    ];
    for (status, answer) in &answers {
        let answer = exchange(&upstream, &mut client, |_, served| {
            served.send(answer);
        });
        assert_eq!(answer.status(), *status);
        assert_eq!((answer.head.get("set-cookie"), answer.head.get("content-encoding")), (None, None));
        assert!(String::from_utf8_lossy(&shown(&answer)).contains(MASK));
        nothing_of_it_in(&shown(&answer));
    }
    let slow = exchange(&upstream, &mut client, |_, served| {
        served.slowly(whole("200 OK", format!("<{SECRET}>")));
    });
    assert_eq!(slow.text(), format!("<{}>", "*".repeat(SECRET.len())));
    let hinted = exchange(&upstream, &mut client, |_, served| {
        served.send(&early).send(whole("200 OK", "ok"));
    });
    nothing_of_it_in(&shown(&hinted));
    if hinted.status() == 103 {
        assert_eq!(client.response().text(), "ok");
    }
    drop(client);
    let log = gateway.stop(bodies.len() as u64 + 5, 0);
    nothing_of_it_in(&log.bytes());
    let counted: u64 = log.outcomes().flat_map(|outcome| &outcome.masks).map(|hits| hits.count).sum();
    assert_eq!(counted, bodies.len() as u64 + 3);
}

/// Of a Basic credential also what base64 made of it does not come back, not even in base64 again.
#[test]
fn a_basic_credential_is_masked_in_both_forms() {
    let upstream = Upstream::bind();
    let (setup, dir) = setup(&upstream, "basic_user = \"user\", value = \"${secret:key}\"");
    let gateway = setup.start_in(dir);
    let mut client = gateway.connect();
    let encoded = STANDARD.encode(format!("user:{SECRET}"));
    for body in [
        format!("authorization: Basic {encoded}"),
        format!("user:{SECRET}"),
        STANDARD.encode(format!("x: Basic {encoded}\r\n")),
    ] {
        let answer = exchange(&upstream, &mut client, |credential, served| {
            assert_eq!(credential, format!("Basic {encoded}"));
            served.send(whole("200 OK", &body));
        });
        assert!(answer.text().contains(MASK), "{}", answer.text());
        nothing_of_it_in(&shown(&answer));
    }
    drop(client);
    nothing_of_it_in(&gateway.stop(3, 0).bytes());
}

/// `scrub = false` says that the value may come back; what cannot be decoded is refused where it is not said.
#[test]
fn what_cannot_be_looked_through_is_refused_unless_nothing_is_looked_for() {
    for scrubbed in [true, false] {
        let upstream = Upstream::bind();
        let (setup, dir) = setup(&upstream, "value = \"${secret:key}\"");
        let setup = if scrubbed { setup } else { setup.tables("scrub = false") };
        let gateway = setup.start_in(dir);
        let mut client = gateway.ask("GET / HTTP/1.1\r\nhost: a\r\naccept-encoding: br\r\n\r\n");
        let mut served = upstream.accept();
        let asked = if scrubbed { "identity" } else { "br" };
        assert_eq!(served.request().head.get("accept-encoding"), Some(asked));
        served.send(whole("200 OK\r\ncontent-encoding: compress", SECRET));
        let answer = client.response();
        match scrubbed {
            true => answer.is_refusal(502, "response_unmaskable", "compress"),
            false => {
                assert_eq!(
                    (answer.text().as_str(), answer.head.get("content-encoding")),
                    (SECRET, Some("compress"))
                )
            }
        }
        drop(client);
        gateway.stop(1, 0);
    }
}

/// What is not an echo goes on from where it was received, and the events of a stream do not wait.
#[test]
fn nothing_is_copied_and_no_event_waits_where_nothing_is_found() {
    let upstream = Upstream::bind();
    let (setup, dir) = setup(&upstream, "value = \"${secret:key}\"");
    let gateway = setup.start_in(dir);
    let mut client = gateway.ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let mut served = upstream.accept();
    served.request();
    served.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
    client.head();
    for number in 0..5 {
        let event = format!("data: sk-live-012 {number}\n\n");
        served.send(format!("{:x}\r\n{event}\r\n", event.len()));
        assert_eq!(String::from_utf8(client.chunk().unwrap()).unwrap(), event);
    }
    served.send("0\r\n\r\n");
    assert_eq!(client.chunk().unwrap(), b"");
    gateway.until("ringward_body_bytes_total{path=\"copied\"}", 0.0);
    drop(client);
    gateway.stop(1, 0);
}

/// Twelve bytes of a secret are found, and fewer could be asked for, piece by piece (SECURITY R22).
#[test]
fn an_answer_that_is_scrubbed_is_not_asked_for_in_pieces() {
    let upstream = Upstream::bind();
    for scrubbed in [true, false] {
        let (setup, dir) = setup(&upstream, "value = \"${secret:key}\"");
        let setup = if scrubbed { setup } else { setup.tables("scrub = false") };
        let gateway = setup.start_in(dir);
        let mut client =
            gateway.ask("GET / HTTP/1.1\r\nhost: a\r\nrange: bytes=0-8\r\nif-range: \"1\"\r\n\r\n");
        let mut served = upstream.accept();
        let request = served.request();
        let asked = [request.head.get("range"), request.head.get("if-range")];
        assert_eq!(asked, if scrubbed { [None, None] } else { [Some("bytes=0-8"), Some("\"1\"")] });
        served.send(whole("206 Partial Content\r\ncontent-range: bytes 0-8/24", &SECRET[..9]));
        let answer = client.response();
        match scrubbed {
            true => answer.is_refusal(502, "response_unmaskable", "206"),
            false => assert_eq!((answer.status(), answer.text().as_str()), (206, &SECRET[..9])),
        }
        // The same of an answer to HEAD, of which the coding would be taken off.
        let mut client = gateway.ask("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n");
        let mut served = upstream.accept();
        served.request();
        served.send(
            "HTTP/1.1 200 OK\r\nconnection: close\r\netag: \"1\"\r\naccept-ranges: bytes\r\n\
             content-encoding: gzip\r\ncontent-length: 70\r\n\r\n",
        );
        let head = client.head();
        let said = ["etag", "accept-ranges", "content-encoding", "content-length"].map(|name| head.get(name));
        match scrubbed {
            true => assert_eq!(said, [Some("W/\"1\""), None, None, None]),
            false => assert_eq!(said, [Some("\"1\""), Some("bytes"), Some("gzip"), Some("70")]),
        }
        gateway.stop(2, 0);
    }
}

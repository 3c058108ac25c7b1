//! Thinking of models: it is signed, so that it passes as it is or not at all, and is masked in the record.

use super::{
    harness::{Gateway, Setup, Upstream},
    wire::{End, Message, Whole},
};
use ringward::audit::{Cause, Direction};

const MASKS: &str = "[[mask]]\nname = \"words\"\nkind = \"literals\"\nwords = [\"falcon\"]\nreplace = \"x\"";
const ASK: &str = "POST /v1/messages HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
                   content-length: 2\r\n\r\n{}";

fn gateway(upstream: &Upstream, route: &str) -> Gateway {
    let setup = Setup::to(upstream.address).upstream("protocol = \"anthropic\"");
    setup.route("masks = [\"words\"]").route(route).tables(MASKS).start()
}

fn delta(kind: &str, member: &str, piece: &str) -> String {
    format!(
        "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\
         \"type\":\"{kind}\",\"{member}\":\"{piece}\"}}}}\n\n"
    )
}

fn thinking(piece: &str) -> String {
    delta("thinking_delta", "thinking", piece)
}

fn signature() -> String {
    delta("signature_delta", "signature", "falcon==")
}

fn stream() -> String {
    const STOP: &str = "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n";
    thinking("the fal") + &thinking("con flies") + &signature() + STOP + &delta("text_delta", "text", "done.")
}

/// Answers a question with `body`, in one piece or byte by byte.
fn answer(upstream: &Upstream, gateway: &Gateway, kind: &str, body: &str, is_slow: bool) -> Message {
    let mut client = gateway.ask(ASK);
    let mut served = upstream.accept();
    served.request();
    let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: {kind}\r\n\r\n");
    let sent = head + body;
    // A gateway that has seen enough hangs up.
    let pieces = sent.as_bytes().chunks(if is_slow { 1 } else { sent.len() });
    let _ = pieces.map(|piece| served.try_send(piece)).find(Result::is_err);
    drop(served);
    client.response()
}

#[test]
fn streamed_thinking_passes_and_is_masked_in_the_record_alone() {
    let upstream = Upstream::bind();
    for is_slow in [false, true] {
        let gateway = gateway(&upstream, "");
        let answer = answer(&upstream, &gateway, "text/event-stream", &stream(), is_slow);
        assert_eq!((answer.text(), answer.whole), (stream(), Whole::Yes));
        let log = gateway.stop(1, 0);
        let masked = stream().replace("the fal", "the ").replace("con flies", "x flies");
        assert_eq!(log.kept(Direction::Response), masked);
        assert_eq!(log.masks(), [[("words", 1), ("ringward:thinking", 1)]]);
        let outcome = log.outcomes().next().unwrap();
        assert_eq!((outcome.cause, outcome.response.received), (Cause::Complete, stream().len() as u64));
        assert_eq!(outcome.response.sent, masked.len() as u64, "as it is recorded");
    }
}

#[test]
fn a_route_may_end_an_answer_whose_thinking_is_not_clean() {
    let upstream = Upstream::bind();
    let gateway = gateway(&upstream, "thinking = \"end\"");
    const KIND: &str = "text/event-stream";
    let refused = answer(&upstream, &gateway, KIND, &stream(), false);
    assert_eq!(refused.status(), 502);
    assert!(refused.text().contains("thinking_masked"), "{}", refused.text());
    let mut client = gateway.ask(ASK);
    let mut served = upstream.accept();
    served.request();
    let first = thinking("first. ");
    served.send(format!("HTTP/1.1 200 OK\r\ncontent-type: {KIND}\r\n\r\n{first}"));
    client.head();
    assert_eq!(client.chunk().unwrap(), first.as_bytes());
    // The gateway hangs up when it has seen enough.
    let _ = served.try_send(stream());
    let mut rest = Vec::new();
    let end = loop {
        match client.chunk() {
            Ok(chunk) => rest.extend(chunk),
            Err(end) => break end,
        }
    };
    let rest = String::from_utf8(rest).unwrap();
    let error = rest.split("\n\n").find(|event| event.contains("error")).expect("an error");
    assert!(error.starts_with("event: error\ndata: {") && error.contains("thinking_masked"), "{rest}");
    assert!(!rest.contains("con flies") && end == End::Cut, "{rest} {end:?}");
    // What is clean passes, up to the signature, which is not looked at.
    let clean = stream().replace("con flies", "se").replace("the fal", "fine and fal");
    let passed = answer(&upstream, &gateway, KIND, &clean, true);
    let read = |text: &str| -> String {
        let pieces = text.split("\"thinking\":\"").skip(1);
        pieces.map(|rest| rest.split('"').next().unwrap_or_default()).collect()
    };
    assert_eq!((read(&passed.text()), passed.whole), ("fine and false".to_owned(), Whole::Yes));
    assert!(passed.text().contains(&signature()));
    let log = gateway.stop(3, 0);
    let ends: Vec<_> = log.ends().into_iter().map(|(cause, _)| cause).collect();
    assert_eq!(ends, [Cause::Unmaskable, Cause::Unmaskable, Cause::Complete]);
    assert!(!log.kept(Direction::Response).contains("falcon flies"));
}

fn document(thinking: &str, text: &str) -> String {
    format!(
        "{{\"content\":[{{\"type\":\"thinking\",\"thinking\":\"the {thinking}\",\"signature\":\"falcon\"}},\
         {{\"type\":\"text\",\"text\":\"a {text}\"}}]}}"
    )
}

#[test]
fn thinking_in_a_whole_answer_passes_or_ends_it() {
    let upstream = Upstream::bind();
    let body = document("f\\u0061lcon", "falcon");
    for is_slow in [false, true] {
        let gateway = gateway(&upstream, "");
        let answer = answer(&upstream, &gateway, "application/json", &body, is_slow);
        assert_eq!(answer.text(), document("f\\u0061lcon", "x"));
        let log = gateway.stop(1, 0);
        assert_eq!(log.kept(Direction::Response), document("x", "x"));
        assert_eq!(log.masks(), [[("words", 2), ("ringward:thinking", 1)]]);
    }
    let gateway = gateway(&upstream, "thinking = \"end\"");
    let refused = answer(&upstream, &gateway, "application/json", &body, false);
    assert_eq!(refused.status(), 502);
    assert!(refused.text().contains("thinking_masked"), "{}", refused.text());
    let passed = answer(&upstream, &gateway, "application/json", &document("fly", "falcon"), false);
    assert_eq!(passed.text(), document("fly", "x"));
    gateway.stop(2, 0);
}

/// The API takes its own thinking back only as it was.
#[test]
fn thinking_of_earlier_turns_goes_upstream_as_it_is() {
    let upstream = Upstream::bind();
    let gateway = gateway(&upstream, "");
    let turn = |document: String| format!("{{\"messages\":[{document},{{\"content\":\"so?\"}}]}}");
    let body = turn(document("falcon", "falcon"));
    for is_slow in [false, true] {
        let length = body.len();
        let mut client =
            gateway.ask(ASK.replace("length: 2\r\n\r\n{}", &format!("length: {length}\r\n\r\n")));
        if is_slow {
            client.slowly(&body)
        } else {
            client.send(&body)
        };
        let mut served = upstream.accept();
        assert_eq!(served.request().text(), turn(document("falcon", "x")));
        served.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(client.response().status(), 200);
    }
    let log = gateway.stop(2, 0);
    assert_eq!(log.kept(Direction::Request), turn(document("x", "x")).repeat(2));
    assert_eq!(log.masks()[1], [("words", 2), ("ringward:thinking", 1)]);
}

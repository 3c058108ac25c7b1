use super::*;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Nothing here takes this long; it bounds tests that hang.
const DEADLINE: Duration = Duration::from_secs(20);

fn run<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(DEADLINE, future).await.expect("in time") })
}

/// An answer: its head and its body, without chunks.
struct Answer {
    head: String,
    body: String,
}

async fn ask(mock: SocketAddr, method: &str, path: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect(mock).await.unwrap();
    let length = body.len();
    let head =
        format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}");
    stream.write_all(format!("{head}\r\ncontent-type: text/x\r\n\r\n{body}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let head = head.to_ascii_lowercase();
    let body = if head.contains("transfer-encoding: chunked") { joined(body) } else { body.to_owned() };
    Answer { head, body }
}

/// RFC 9112 section 7.1, for bodies that are well formed.
fn joined(mut chunks: &str) -> String {
    let mut body = String::new();
    while let Some((size, rest)) = chunks.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return body;
        }
        body.push_str(&rest[..size]);
        chunks = rest[size..].strip_prefix("\r\n").unwrap();
    }
    panic!("the last chunk is missing");
}

fn data(stream: &str) -> Vec<Value> {
    let lines =
        stream.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    lines.map(|data| serde_json::from_str(data).unwrap()).collect()
}

#[test]
fn models_answer_whole_or_as_events() {
    run(async {
        let mock = start(&Options { tokens: 20, ..Options::default() }).await.unwrap();
        let (plain, streamed) =
            (r#"{"model":"m"}"#, r#"{"stream": true, "stream_options": {"include_usage": true}}"#);

        let whole: Value =
            serde_json::from_str(&ask(mock, "POST", "/v1/messages", plain).await.body).unwrap();
        assert_eq!(whole["usage"]["output_tokens"], 20);
        let answer = ask(mock, "POST", "/v1/messages?beta=true", streamed).await;
        assert!(answer.head.contains("content-type: text/event-stream"));
        let events = data(&answer.body);
        let types: Vec<&str> = answer.body.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
        assert_eq!(types, events.iter().map(|event| event["type"].as_str().unwrap()).collect::<Vec<_>>());
        assert_eq!(types.iter().filter(|name| **name == "content_block_delta").count(), 20);
        assert_eq!((types[0], types[types.len() - 1]), ("message_start", "message_stop"));
        let text: String = events.iter().filter_map(|event| event["delta"]["text"].as_str()).collect();
        assert_eq!(text, whole["content"][0]["text"].as_str().unwrap());

        let path = "/v1/chat/completions";
        let whole: Value = serde_json::from_str(&ask(mock, "POST", path, plain).await.body).unwrap();
        let answer = ask(mock, "POST", path, streamed).await;
        assert!(answer.body.ends_with("data: [DONE]\n\n"));
        let chunks = data(&answer.body);
        assert_eq!(chunks[chunks.len() - 1]["usage"], whole["usage"]);
        let text: String =
            chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
        assert_eq!(text, whole["choices"][0]["message"]["content"].as_str().unwrap());
        let without = ask(mock, "POST", path, r#"{"stream":true}"#).await;
        assert!(!without.body.contains("usage"));
        assert!(ask(mock, "POST", path, "no").await.head.starts_with("http/1.1 400"));
    });
}

#[test]
fn a_mock_may_always_stream_and_take_its_time() {
    run(async {
        let pause = Duration::from_millis(1);
        let options = Options { sse: true, tokens: 3, itl: pause, ttft: pause, ..Options::default() };
        let mock = start(&options).await.unwrap();
        let answer = ask(mock, "POST", "/v1/messages", "{}").await;
        assert_eq!(data(&answer.body).len(), 3 + 6);
    });
}

#[test]
fn bodies_have_the_size_that_is_asked_for() {
    run(async {
        let mock = start(&Options { body_bytes: 333, ..Options::default() }).await.unwrap();
        for count in [0, 1, 65_536, 65_537, 300_000] {
            let declared = ask(mock, "GET", &format!("/bytes/{count}"), "").await;
            assert!(declared.head.contains(&format!("content-length: {count}")), "{}", declared.head);
            assert_eq!(declared.body.len(), count);
            let chunked = ask(mock, "POST", &format!("/chunked/{count}"), "body").await;
            assert!(!chunked.head.contains("content-length"));
            assert_eq!(chunked.body, declared.body);
        }
        assert!(ask(mock, "GET", "/bytes/1073741825", "").await.head.starts_with("http/1.1 400"));
        let other = ask(mock, "PUT", "/anything?x=1", "body").await.body;
        assert_eq!(other.len(), 333);
        assert!(serde_json::from_str::<Value>(&other).is_ok_and(|value| value != json!(null)));
        let echo = ask(mock, "POST", "/echo", "as it came").await;
        assert_eq!(echo.body, "as it came");
        assert!(echo.head.contains("content-type: text/x"));
    });
}

#[test]
fn times_are_milliseconds_unless_they_say_seconds() {
    let check = |text: &str, ms: Option<u64>| {
        assert_eq!(milliseconds(text).ok(), ms.map(Duration::from_millis), "{text}");
    };
    check("5ms", Some(5));
    check("7", Some(7));
    check("2s", Some(2_000));
    for text in ["", "ms", "-1ms", "1.5s", "1m", "18446744073709551615s"] {
        check(text, None);
    }
}

#[test]
fn a_stall_has_a_place_and_a_time() {
    let stall = Stall { at: 500, time: Duration::from_millis(300) };
    assert_eq!(Stall::parse("500/300ms"), Ok(stall));
    for text in ["", "500", "0/1ms", "x/1ms", "5/x", "/"] {
        assert!(Stall::parse(text).is_err(), "{text}");
    }
}

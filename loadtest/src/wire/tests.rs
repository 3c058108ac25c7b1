use super::*;
use proptest::prelude::*;

/// What a decoder says of an answer that comes in pieces: status and body, bytes that are not its own, and
/// whether the connection ended at a place where it may.
#[derive(Debug, PartialEq)]
struct Read {
    heads: Vec<u16>,
    body: Vec<u8>,
    ended: bool,
    left: usize,
    finish: Result<(), Error>,
}

fn read(wire: &[u8], is_head: bool, mut cut: impl FnMut(usize) -> usize) -> Result<Read, Error> {
    let mut decoder = Decoder::new(is_head, Want::default());
    let mut read = Read { heads: vec![], body: vec![], ended: false, left: 0, finish: Ok(()) };
    let (mut start, mut end) = (0, 0);
    while !read.ended && end < wire.len() {
        end = (end + cut(end).max(1)).min(wire.len());
        let mut input = &wire[start..end];
        while let Some(event) = decoder.next(&mut input)? {
            match event {
                Event::Head(head) => read.heads.push(head.status),
                Event::Data(data) => read.body.extend_from_slice(data),
                Event::End => {
                    read.ended = true;
                    break;
                }
            }
        }
        start = end - input.len();
    }
    (read.left, read.finish) = (wire.len() - start, decoder.finish());
    Ok(read)
}

fn whole(wire: &str) -> Result<Read, Error> {
    read(wire.as_bytes(), false, |_| usize::MAX)
}

#[test]
fn bodies_end_where_their_framing_says() {
    let check = |wire: &str, body: &str, ended: bool, left: usize| {
        for step in [1, 2, 3, 7, usize::MAX >> 1] {
            let read = read(wire.as_bytes(), false, |_| step).expect(wire);
            assert_eq!((read.body.as_slice(), read.ended), (body.as_bytes(), ended), "{wire} by {step}");
            assert_eq!(read.finish, Ok(()), "{wire}");
            assert!(step < usize::MAX >> 1 || read.left == left, "{wire}: {} left", read.left);
        }
    };
    check("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", "hello", true, 0);
    check("HTTP/1.1 200 OK\r\nContent-Length:5\r\ncontent-length: 5\r\n\r\nhellomore", "hello", true, 4);
    check("HTTP/1.1 204 No\r\n\r\n", "", true, 0);
    check("HTTP/1.1 304\r\ncontent-length: 9\r\n\r\n", "", true, 0);
    check("HTTP/1.1 103 Early\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na", "a", true, 0);
    check("HTTP/1.0 200 OK\r\n\r\nto the end", "to the end", false, 0);
    let chunks = "5\r\nhello\r\n1;a=\"b\"\r\n,\r\n0006 \r\n world\r\n0\r\nx: y\r\nz: 1\r\n\r\n";
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    check(&format!("{head}{chunks}"), "hello, world", true, 0);
}

#[test]
fn answers_to_head_have_no_body() {
    let read = read(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", true, |_| 4).expect("an answer");
    assert!(read.ended && read.body.is_empty());
}

#[test]
fn what_is_no_answer_is_an_error() {
    let check = |wire: &str, error: Error| assert_eq!(whole(wire), Err(error), "{wire:?}");
    let head = "HTTP/1.1 200 OK\r\n";
    check("HTTP/2 200\r\n\r\n", Error::StatusLine);
    check("HTTP/1.1 20\r\n\r\n", Error::StatusLine);
    check("HTTP/1.1 200OK\r\n\r\n", Error::StatusLine);
    check("SSH-2.0-x\r\n\r\n", Error::StatusLine);
    check(&format!("{head}no colon\r\n\r\n"), Error::FieldLine);
    check(&format!("{head}a : b\r\n\r\n"), Error::FieldLine);
    check(&format!("{head}: b\r\n\r\n"), Error::FieldLine);
    check(&format!("{head}a: b\nc: d\r\n\r\n"), Error::FieldLine);
    check(&format!("{head}content-length: 1\r\ncontent-length: 2\r\n\r\n"), Error::Framing);
    check(&format!("{head}content-length: -1\r\n\r\n"), Error::Framing);
    check(&format!("{head}content-length: 18446744073709551616\r\n\r\n"), Error::Framing);
    check(&format!("{head}content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n"), Error::Framing);
    check(&format!("{head}transfer-encoding: chunked, chunked\r\n\r\n"), Error::Framing);
    check("HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\n", Error::Switched);
    let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n");
    for chunks in
        ["\r\n", "g\r\n", "5\n", ";a\r\n", "1\r\nab", "1\r\na\r\r", "11111111111111111\r\n", "-1\r\n"]
    {
        check(&format!("{chunked}{chunks}"), Error::Chunk);
    }
    check(&format!("{chunked}1;{}", "x".repeat(5_000)), Error::Chunk);
    check(&format!("{chunked}0\r\n{}", "x".repeat(5_000)), Error::Chunk);
    check(&format!("{head}{}", "a: b\r\n".repeat(20_000)), Error::HeadTooLong);
    check(&format!("{head}{}\r\n", "a:b\r\n".repeat(300)), Error::HeadTooLong);
    assert_eq!(whole("HTTP/1.1 200 OK\r\ncontent-le").map(|read| read.finish), Ok(Err(Error::Truncated)));
    assert_eq!(whole(&format!("{chunked}5\r\nab")).map(|read| read.finish), Ok(Err(Error::Truncated)));
}

#[test]
fn fields_that_matter_are_kept() {
    let head = |lines: &str| {
        let wire = format!("HTTP/1.1 403 No\r\n{lines}content-length: 0\r\n\r\n");
        let mut input = wire.as_bytes();
        match Decoder::new(false, Want { timing: true }).next(&mut input) {
            Ok(Some(Event::Head(head))) => head,
            other => panic!("{other:?}"),
        }
    };
    assert!(head("").keep_alive && !head("Connection: x, Close\r\n").keep_alive);
    assert!(head("content-type: Text/Event-Stream; charset=utf-8\r\n").is_stream);
    assert_eq!(head("X-Ringward-Decision: block\r\n").decision.as_deref(), Some("block"));
    let timing = head("server-timing: a;dur=1\r\nServer-Timing: b;dur=2\r\n").timing;
    assert_eq!(timing.as_deref(), Some("a;dur=1,b;dur=2"));
}

fn events(stream: &[u8], dialect: Dialect, step: usize) -> Vec<Sort> {
    let (mut events, mut found) = (Events::new(dialect), vec![]);
    stream.chunks(step).for_each(|piece| events.push(piece, |sort| found.push(sort)));
    found
}

#[test]
fn events_are_told_apart_for_every_split_and_line_end() {
    let anthropic = "event: message_start\ndata: {\"type\":\"message_start\"}\n\n: comment\n\nevent: \
                     content_block_delta\ndata: {\"type\":\"content_block_delta\"}\n\nevent: \
                     message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
    let openai = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\ndata: \
                  {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"choices\":[{\"delta\":{}}]}\n\n\
                  data: [DONE]\n\n";
    for step in 1..openai.len() {
        for end in ["\n", "\r\n", "\r"] {
            let stream = anthropic.replace('\n', end);
            let found = events(stream.as_bytes(), Dialect::Anthropic, step);
            assert_eq!(found, [Sort::Other, Sort::Token, Sort::Last], "{end:?} by {step}");
            let found = events(openai.replace('\n', end).as_bytes(), Dialect::OpenAi, step);
            assert_eq!(found, [Sort::Other, Sort::Token, Sort::Other, Sort::Last], "{end:?} by {step}");
        }
    }
    assert_eq!(events(b"data: a\ndata: b\n\ndata\n\nid: 1\n\n", Dialect::Any, 3), [Sort::Token; 2]);
    assert_eq!(events(b"event: error\ndata: {}\n\n", Dialect::Anthropic, 9), [Sort::Error]);
    let long = format!("data: {}\ndata: {}\n\ndata: x\n\n", "y".repeat(5_000), "z".repeat(5_000));
    assert_eq!(events(long.as_bytes(), Dialect::Any, 100), [Sort::Token; 2]);
}

prop_compose! {
    /// An answer with chunks of any size and its body.
    fn answer()(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
                informational in any::<bool>(), extension in any::<bool>(), trailer in any::<bool>())
        -> (Vec<u8>, Vec<u8>)
    {
        let mut wire = vec![];
        if informational {
            wire.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        wire.extend_from_slice(b"HTTP/1.1 200 OK\r\nserver: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        for chunk in &chunks {
            let extension = if extension { ";n=v" } else { "" };
            wire.extend_from_slice(format!("{:X}{extension}\r\n", chunk.len()).as_bytes());
            wire.extend_from_slice(chunk);
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(if trailer { b"0\r\nt: v\r\n\r\n" } else { b"0\r\n\r\n" });
        (wire, chunks.concat())
    }
}

proptest! {
    #[test]
    fn an_answer_is_the_same_cut_at_every_byte((wire, body) in answer()) {
        for cut in 1..wire.len() {
            let pieces = |at| if at == 0 { cut } else { usize::MAX >> 1 };
            let read = read(&wire, false, pieces).expect("an answer");
            prop_assert_eq!(&read.body, &body);
            prop_assert!(read.ended && read.left == 0);
        }
    }

    #[test]
    fn a_truncated_answer_is_never_whole((wire, _) in answer()) {
        for end in 0..wire.len() {
            let read = read(&wire[..end], false, |_| 3).expect("no error");
            prop_assert_eq!(read.finish, Err(Error::Truncated));
        }
    }

    #[test]
    fn any_bytes_mean_the_same_in_any_pieces(
        wire in prop::collection::vec(any::<u8>(), 0..200), step in 1usize..9, prefix in any::<bool>(),
    ) {
        let head: &[u8] = if prefix { b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" } else { b"" };
        let wire = [head, &wire].concat();
        let outcome = |read: Result<Read, Error>| read.map(|read| (read.heads, read.body, read.ended));
        let (one, many) = (read(&wire, false, |_| usize::MAX >> 1), read(&wire, false, |_| step));
        prop_assert_eq!(outcome(one), outcome(many));
    }
}

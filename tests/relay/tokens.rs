//! Masks that put a token in the place of a value: the same for the same value in a session, and in no other.

use super::harness::{Gateway, Setup, Upstream};
use ringward::audit::Direction;
use std::collections::BTreeSet;

const MASK: &str = "[[mask]]\nname = \"emails\"\nkind = \"email\"\nreplace = \"<{token}>\"";
/// Different tokens that a session gets in an hour.
const TOKENS_MAX: usize = ringward::limits::MASK_TOKENS_MAX;

fn gateway(upstream: &Upstream) -> Gateway {
    Setup::to(upstream.address).route("masks = [\"emails\"]").tables(MASK).start()
}

/// Sends `question` in a session and has it answered with `answer`; gives what came out of both.
fn exchange(
    upstream: &Upstream,
    gateway: &Gateway,
    session: &str,
    question: &str,
    answer: &str,
) -> [String; 2] {
    let length = question.len();
    let mut client = gateway.ask(format!(
        "POST / HTTP/1.1\r\nhost: a\r\nx-session-id: {session}\r\ncontent-type: text/plain\r\n\
         content-length: {length}\r\n\r\n{question}"
    ));
    let mut served = upstream.accept();
    let asked = served.request().text();
    let length = answer.len();
    served.send(format!(
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/plain\r\n\
         content-length: {length}\r\n\r\n{answer}"
    ));
    [asked, client.response().text()]
}

/// The 24 hexadecimal digits of a token between `<` and `>`.
fn token(text: &str) -> &str {
    let token = text.trim().strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).expect(text);
    assert!(token.len() == 24 && token.bytes().all(|byte| byte.is_ascii_hexdigit()), "{text}");
    token
}

#[test]
fn a_value_has_one_token_in_its_session_both_ways_and_another_in_the_next() {
    let upstream = Upstream::bind();
    let gateway = gateway(&upstream);
    let ask = |session: &str, question: &str, answer: &str| {
        exchange(&upstream, &gateway, session, question, answer)
    };
    let first = ask("one", "ann@example.com ", "ann@example.com ");
    let again = ask("one", "bob@example.com ", " ann@example.com");
    let other = ask("two", "ann@example.com ", "ann@example.com ");
    let ann = token(&first[0]);
    assert_eq!([token(&first[1]), token(&again[1])], [ann, ann], "in a question and in answers");
    assert_ne!(token(&again[0]), ann, "another value");
    assert_ne!(token(&other[0]), ann, "another session");
    assert_eq!(token(&other[0]), token(&other[1]));
    let log = gateway.stop(3, 0);
    assert_eq!(log.kept(Direction::Response), [&*first[1], &again[1], &other[1]].concat());
    assert!(!String::from_utf8_lossy(&log.bytes()).contains("@example.com"));
}

#[test]
fn a_session_gets_so_many_tokens_and_keeps_them() {
    let upstream = Upstream::bind();
    let gateway = gateway(&upstream);
    let many: String = (0..TOKENS_MAX + 50).map(|number| format!("u{number}@example.com ")).collect();
    let [asked, _] = exchange(&upstream, &gateway, "one", &many, "ok");
    let words: Vec<&str> = asked.split_whitespace().collect();
    assert_eq!(words.len(), TOKENS_MAX + 50);
    let tokens: BTreeSet<&str> = words[..TOKENS_MAX].iter().map(|word| token(word)).collect();
    assert_eq!(tokens.len(), TOKENS_MAX);
    assert!(words[TOKENS_MAX..].iter().all(|word| *word == "[emails]"), "{:?}", &words[TOKENS_MAX..]);
    let [again, answered] = exchange(&upstream, &gateway, "one", "u7@example.com ", "new@example.com ");
    assert_eq!((token(&again), answered.as_str()), (token(words[7]), "[emails] "));
    let [fresh, _] = exchange(&upstream, &gateway, "two", "new@example.com ", "ok");
    token(&fresh);
    gateway.stop(3, 0);
}

use super::*;
use crate::exit;
use clap::Parser;
use std::path::PathBuf;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    options: Options,
}

fn options(arguments: &[&str]) -> Options {
    Line::parse_from([&["run", "http://gw:81/base"], arguments].concat()).options
}

fn file(directory: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, text).expect("a file");
    path
}

fn wire(plan: &Plan, index: usize, url: &str, token: Option<&str>) -> String {
    let url = Url::parse(url).expect("a URL");
    let wire = plan.wires(&url, &[], token, false).swap_remove(index);
    String::from_utf8([&wire.head[..], wire.body.as_deref().unwrap_or_default()].concat()).expect("text")
}

#[test]
fn a_request_is_what_the_options_say() {
    let plan = Plan::load(&options(&["-H", "X-A: 1", "-H", "user-agent: me"])).expect("a plan");
    let expected = "GET /base HTTP/1.1\r\nhost: gw:81\r\nX-A: 1\r\nuser-agent: me\r\n\r\n";
    assert_eq!(wire(&plan, 0, "http://gw:81/base", None), expected);
    let plan = Plan::load(&options(&["--profile", "anthropic-sse"])).expect("a plan");
    let text = wire(&plan, 0, "http://gw", Some("t.o.k"));
    assert!(text.starts_with("POST /v1/messages HTTP/1.1\r\nhost: gw\r\n"), "{text}");
    assert!(text.contains("authorization: Bearer t.o.k\r\n") && text.contains("anthropic-version: "));
    let (head, body) = text.split_once("\r\n\r\n").expect("a body");
    assert!(head.contains(&format!("content-length: {}", body.len())) && body.contains("\"stream\":true"));
}

#[test]
fn a_profile_takes_the_base_address_of_its_api_or_the_whole_one() {
    let check =
        |profile: Profile, path: &str, target: &str| assert_eq!(profile.target(path), target, "{path}");
    check(Profile::Raw, "/", "/");
    check(Profile::AnthropicSse, "/", "/v1/messages");
    check(Profile::AnthropicJson, "/anthropic", "/anthropic/v1/messages");
    check(Profile::AnthropicSse, "/a/v1/messages?beta=true", "/a/v1/messages?beta=true");
    check(Profile::OpenaiSse, "/openai/v1/", "/openai/v1/chat/completions");
    check(Profile::OpenaiSse, "/", "/v1/chat/completions");
}

#[test]
fn fields_that_frame_a_message_or_break_a_line_are_refused() {
    for line in
        ["content-length: 1", "Connection: x", "no colon", ": x", "a b: c", "a: b\r\nc: d", "a: @/no/such"]
    {
        let failure = Plan::load(&options(&["-H", line])).expect_err(line);
        assert_eq!(failure.code, exit::USAGE, "{line}: {failure}");
    }
    for method in ["", "GE T", "CONNECT"] {
        assert!(Plan::load(&options(&["--method", method])).is_err(), "{method}");
    }
}

#[test]
fn a_mix_is_chosen_by_weight_and_seed() {
    let directory = tempfile::tempdir().expect("a folder");
    file(&directory, "big.json", &"x".repeat(limits::INLINE_BODY_BYTES_MAX + 1));
    let mix = file(
        &directory,
        "mix.toml",
        "[[request]]\nname = \"often\"\nweight = 9\npath = \"/a?b\"\nheaders = [\"x-b: 2\"]\n\
         [[request]]\nname = \"rarely\"\nmethod = \"PUT\"\npath = \"/c\"\nbody_file = \"big.json\"\n",
    );
    let mix = mix.display().to_string();
    let plan = Plan::load(&options(&["--mix", &mix, "-H", "x-b: 1"])).expect("a plan");
    assert_eq!(plan.names(), ["often", "rarely"]);
    assert!(wire(&plan, 0, "http://gw/base/", None).starts_with("GET /base/a?b HTTP/1.1\r\n"));
    assert!(wire(&plan, 0, "http://gw/base/", None).contains("x-b: 2\r\n\r\n"));
    assert!(wire(&plan, 1, "http://gw", None).starts_with("PUT /c HTTP/1.1\r\n"));
    let picks = |seed| {
        let mut random = Random::new(seed);
        (0..10_000).map(|turn| plan.pick(&mut random, turn)).collect::<Vec<_>>()
    };
    assert_eq!(picks(1), picks(1));
    let rare = picks(2).iter().filter(|pick| **pick == 1).count();
    assert!((880..1_120).contains(&rare), "{rare} of 10,000 at a weight of one in ten");
}

#[test]
fn what_is_wrong_with_a_mix_is_said_with_its_place() {
    let directory = tempfile::tempdir().expect("a folder");
    let check = |text: &str, part: &str| {
        let path = file(&directory, "mix.toml", text).display().to_string();
        let failure = Plan::load(&options(&["--mix", &path])).expect_err(text);
        assert!(failure.code == exit::USAGE && failure.message.contains(part), "{failure}");
        assert!(failure.message.contains("mix.toml"), "{failure}");
    };
    check("", "request");
    check("[[request]]\nname = \"a\"\nwieght = 1\n", "line 3");
    check("[[request]]\nname = \"a\"\nweight = 0\n", "`a`");
    check("[[request]]\nname = \"a\"\npath = \"x\"\n", "path");
    check("[[request]]\nname = \"a\"\nbody_file = \"none\"\n", "none");
    check("[[request]]\nname = \"a\"\nbody = \"b\"\nbody_file = \"c\"\n", "not both");
    check("[[request]]\nname = \"a\"\nprofile = \"soap\"\n", "anthropic-sse");
}

#[test]
fn recorded_requests_are_sent_again_without_what_belonged_to_their_connection() {
    let directory = tempfile::tempdir().expect("a folder");
    let line = |start: u64, target: &str, whole: bool, piece: &str| {
        let head = format!("\"id\":\"req_1\",\"started_us\":{start},\"method\":\"POST\"");
        let head = format!("{head},\"target\":\"{target}\"");
        let fields = "[[\"Host\",\"old\"],[\"Accept-Encoding\",\"br\"],[\"Via\",\"1.1 gw\"],\
                      [\"X-Forwarded-For\",\"::1\"],[\"x-kept\",\"1\"]]";
        let body = format!("{{\"bytes\":5,\"whole\":{whole},\"pieces\":[{piece}]}}");
        format!("{{{head},\"headers\":{fields},\"request\":{body},\"response\":{{}}}}\n")
    };
    let (text, coded) = (r#"{"at_us":0,"offset":0,"bytes":2,"text":"he"}"#, r#"{"base64":"bGxv"}"#);
    let lines = [
        line(5_000_000, "/v1/messages?beta=true", true, &format!("{text},{coded}")),
        line(4_000_000, "/v1/other", true, text),
        line(6_000_000, "/v1/messages", false, text),
    ];
    let path = file(&directory, "session.jsonl", &(lines.concat() + "\n")).display().to_string();
    let plan = Plan::load(&options(&["--replay", &path, "--timing", "recorded"])).expect("a plan");
    assert_eq!(plan.times, Some(vec![(0, 1), (1_000_000_000, 0)]));
    assert!(plan.notes[0].contains("1 recorded"), "{:?}", plan.notes);
    let sent = wire(&plan, 0, "http://gw", None);
    let expected =
        "POST /v1/messages?beta=true HTTP/1.1\r\nhost: gw\r\nx-kept: 1\r\ncontent-length: 5\r\n\r\nhello";
    assert_eq!(sent, expected);
    assert_eq!(
        (plan.requests[0].profile, plan.requests[1].profile),
        (Profile::RecordedAnthropic, Profile::Raw)
    );
    let path = file(&directory, "bad.jsonl", &(lines[0].clone() + "{}\n")).display().to_string();
    let failure = Plan::load(&options(&["--replay", &path])).expect_err("a line that is none");
    assert!(failure.code == exit::USAGE && failure.message.contains("bad.jsonl: line 2"), "{failure}");
}

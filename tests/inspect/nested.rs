//! Arguments of tool calls in whole bodies: documents in strings of a document.

use crate::bodies::{Masked, run_with};
use crate::generate::{self, chunks, escape};
use crate::oracle::{self, Reading};
use proptest::prelude::*;
use ringward::inspect::dialect::{Dialect, OPENAI_CHAT, OPENAI_RESPONSES};
use ringward::inspect::{Context, Direction, Kind, Replacement, Rule, Thinking};

fn run(rules: &[Rule], dialect: &'static Dialect, context: Context, body: &str, cuts: &[usize]) -> Masked {
    let pieces = chunks(body.as_bytes(), cuts);
    run_with(rules, context, &pieces, |one| one.with_thinking(dialect, Thinking::Flag)).expect("masked")
}

/// What stands in the place of the arguments while the oracle reads what is around them.
const PLACE: &str = "zzPLACEzz";

/// Bodies that carry arguments, with one text beside them.
const BODIES: [(&Dialect, &str); 5] = [
    (
        &OPENAI_CHAT,
        concat!(
            r#"{"messages":[{"role":"user","content":"TEXT"},"#,
            r#"{"tool_calls":[{"id":"c","function":{"name":"f","arguments":"zzPLACEzz"}}]}]}"#
        ),
    ),
    (
        &OPENAI_CHAT,
        concat!(
            r#"{"choices":[{"index":0,"message":{"content":"TEXT","tool_calls":[{"function": "#,
            r#"{"arguments" : "zzPLACEzz", "name":"TEXT"}}]}}],"usage":1}"#
        ),
    ),
    (&OPENAI_CHAT, r#"{"messages":[{"function_call":{"arguments":"zzPLACEzz"},"content":"TEXT"}]}"#),
    (&OPENAI_RESPONSES, r#"{"input":[{"content":"TEXT"},{"\u0061rguments":"zzPLACEzz","name":"TEXT"}]}"#),
    (&OPENAI_RESPONSES, r#"{"output":[{"arguments":"zzPLACEzz","name":"TEXT"},{"x":"TEXT"}]}"#),
];

/// Checks a body with `arguments`, which are spelled as the inside of a string; gives the masked body.
fn check(
    rules: &[Rule],
    (dialect, body): (&'static Dialect, &str),
    is_sniffed: bool,
    arguments: &str,
    cuts: &[usize],
) -> Option<String> {
    let context = if is_sniffed { Context::Text } else { Context::Json };
    let whole = body.replacen(PLACE, arguments, 1);
    let out = run(rules, dialect, context, &whole, cuts);
    let shown = String::from_utf8_lossy(&out.body).into_owned();
    let (around, count) = oracle::mask(rules, Direction::Response, Reading::Json, body.as_bytes());
    let around = String::from_utf8(around).expect("text");
    if !around.contains(PLACE) {
        // A rule has taken the arguments with all that is around them: what it shows of them is not known.
        let uncut = run(rules, dialect, context, &whole, &[]);
        assert_eq!(shown, String::from_utf8_lossy(&uncut.body), "of {whole}");
        return None;
    }
    let (inside, more) = oracle::mask_arguments(rules, Direction::Response, arguments.as_bytes());
    let inside = String::from_utf8(inside).expect("text");
    assert_eq!(shown, around.replacen(PLACE, &inside, 1), "of {whole}");
    assert_eq!(out.edits.len(), count + more, "of {whole}");
    assert!(out.held_max <= 4096, "held {}", out.held_max);
    Some(shown)
}

fn body_with(index: usize, text: &str, seed: u64) -> (&'static Dialect, String) {
    let (dialect, body) = BODIES[index];
    (dialect, body.replace("TEXT", &escape(text, 5, seed)))
}

/// Whether `text` is JSON; a nine may make a number larger than a double.
fn is_json(text: &str) -> Result<serde_json::Value, bool> {
    serde_json::from_str(text).map_err(|error| error.to_string().starts_with("number out of range"))
}

proptest! {
    #![proptest_config(generate::config())]

    #[test]
    fn arguments_stream_as_the_oracle_reads_them_and_stay_documents(
        rules in generate::rules_with_paths(), document in generate::document(), text in generate::text(0..3),
        index in 0..BODIES.len(), (inner, outer) in any::<(u64, u64)>(), percent in 0u64..20,
        is_sniffed in any::<bool>(), cuts in generate::cuts(),
    ) {
        let (dialect, body) = body_with(index, &text, outer);
        let arguments = escape(&document, percent, inner);
        if let Some(shown) = check(&rules, (dialect, &body), is_sniffed, &arguments, &cuts)
            && let Ok(masked) = is_json(&shown).map_err(|is_large| assert!(is_large, "{shown}"))
        {
            let arguments = find(&masked).expect("arguments");
            let inside = is_json(arguments);
            prop_assert!(inside.is_ok() || inside == Err(true), "{arguments}");
        }
    }

    #[test]
    fn arguments_that_are_no_document_stream_as_the_oracle_reads_them(
        rules in generate::rules(), text in generate::text(0..8), index in 0..BODIES.len(),
        (inner, outer) in any::<(u64, u64)>(), is_sniffed in any::<bool>(), cuts in generate::cuts(),
    ) {
        let (dialect, body) = body_with(index, "text", outer);
        check(&rules, (dialect, &body), is_sniffed, &escape(&text, 10, inner), &cuts);
    }

    #[test]
    fn a_document_that_is_cut_off_streams_the_same_for_all_cuts(
        rules in generate::rules_with_paths(), document in generate::document(), index in 0..BODIES.len(),
        seed in any::<u64>(), end in any::<prop::sample::Index>(), cuts in generate::cuts(),
    ) {
        let (dialect, body) = body_with(index, "text", seed);
        let short: String = document.chars().take(end.index(document.chars().count() + 1)).collect();
        let whole = body.replacen(PLACE, &escape(&short, 10, seed), 1);
        let out = run(&rules, dialect, Context::Json, &whole, &cuts);
        let uncut = run(&rules, dialect, Context::Json, &whole, &[]);
        prop_assert_eq!(String::from_utf8_lossy(&out.body), String::from_utf8_lossy(&uncut.body));
        prop_assert_eq!(out.edits, uncut.edits);
        let around = serde_json::from_slice::<serde::de::IgnoredAny>(&out.body);
        prop_assert!(around.is_ok(), "{whole}");
    }
}

/// The arguments of a body, wherever they are.
fn find(value: &serde_json::Value) -> Option<&str> {
    match value {
        serde_json::Value::Array(all) => all.iter().find_map(find),
        serde_json::Value::Object(all) => {
            let own = all.get("arguments").and_then(serde_json::Value::as_str);
            own.or_else(|| all.values().find_map(find))
        }
        _ => None,
    }
}

fn key(name: &str, keys: &[&str], replace: &str) -> Rule {
    generate::rule(name, Kind::Key(keys.iter().map(|key| (*key).to_owned()).collect()), replace)
}

fn path(name: &str, paths: &[&str], replace: &str) -> Rule {
    generate::rule(name, Kind::Path(paths.iter().map(|path| (*path).to_owned()).collect()), replace)
}

fn null(rule: Rule) -> Rule {
    Rule { replace: Replacement::Null, ..rule }
}

/// A chat body with `arguments`, as they are after their escapes are taken off.
fn chat(arguments: &str) -> String {
    let arguments = escape(arguments, 0, 0);
    format!(
        "{{\"messages\":[{{\"tool_calls\":[{{\"function\":{{\"arguments\":\"{arguments}\",\"ssn\":1}}}}]}}]}}"
    )
}

/// By any cut `rules` make `expected` of `arguments`, and `beside` of the member beside them.
fn check_chat(rules: &[Rule], arguments: &str, expected: &str, beside: &str) {
    let body = chat(arguments);
    let expected = chat(expected).replace("\"ssn\":1}", &format!("\"ssn\":{beside}}}"));
    for length in 1..=body.len() {
        let out = run(rules, &OPENAI_CHAT, Context::Json, &body, &[length]);
        assert_eq!(String::from_utf8_lossy(&out.body), expected, "by {length}");
    }
}

#[test]
fn keys_and_paths_lead_into_arguments() {
    let rules = [
        key("keys", &["ssn"], "[\"{last4}\"]"),
        path("paths", &["$.customers[*].name", "$.id"], "[{name}]"),
        null(path("gone", &["$.notes"], "x")),
    ];
    check_chat(
        &rules,
        concat!(
            r#"{"ssn":"abcdef1\"2","customers":[{"name":{"a":"}"}},{"name":"\u0062\n"}],"#,
            r#""id":7,"notes":["x"],"x":"\\"}"#
        ),
        concat!(
            r#"{"ssn":"[\"f1\"2\"]","customers":[{"name":"[paths]"},{"name":"[paths]"}],"#,
            r#""id":"[paths]","notes":null,"x":"\\"}"#
        ),
        "\"[\\\"\\\"]\"",
    );
}

#[test]
fn a_rule_that_names_the_arguments_takes_all_of_them() {
    let arguments = r#"{"ssn":"}]\"","a":"bcdef"}"#;
    let ssn = || key("ssn", &["ssn"], "[{name}]");
    check_chat(
        &[key("all", &["Arguments"], "[{name} {last4}]"), ssn()],
        arguments,
        "[all def}]",
        "\"[ssn]\"",
    );
    let names = ["$.messages[*].tool_calls[0].function.arguments"];
    check_chat(&[ssn(), path("all", &names, "[{name}]")], arguments, "[all]", "\"[ssn]\"");
    let body = chat(arguments);
    for rule in [null(key("all", &["arguments"], "x")), null(path("all", &names, "x"))] {
        for length in 1..=body.len() {
            let out = run(std::slice::from_ref(&rule), &OPENAI_CHAT, Context::Json, &body, &[length]);
            let expected = r#"{"messages":[{"tool_calls":[{"function":{"arguments":null,"ssn":1}}]}]}"#;
            assert_eq!(String::from_utf8_lossy(&out.body), expected, "by {length}");
        }
    }
}

/// Brackets and quotes in arguments are not those of the body.
#[test]
fn what_is_open_in_arguments_ends_with_them() {
    let rules = [key("keys", &["ssn", "id"], "[{name}]")];
    check_chat(&rules, r#"{"a":[{"b":""#, r#"{"a":[{"b":""#, "\"[keys]\"");
    check_chat(&rules, r#"{"id":[{"b":""#, r#"{"id":"[keys]""#, "\"[keys]\"");
    check_chat(&rules, r#"{"id":"abc"#, r#"{"id":"[keys]"#, "\"[keys]\"");
    check_chat(&rules, r#"{"id": 12"#, r#"{"id": "[keys]""#, "\"[keys]\"");
    check_chat(&rules, r#"{"id":"#, r#"{"id":"#, "\"[keys]\"");
    let function = [key("function", &["function"], "[{name}]")];
    for arguments in ["{\"a\":\"", "]}]}", "\\\"", ""] {
        for length in [1, 3, 1000] {
            let out = run(&function, &OPENAI_CHAT, Context::Json, &chat(arguments), &[length]);
            let expected = r#"{"messages":[{"tool_calls":[{"function":"[function]"}]}]}"#;
            assert_eq!(String::from_utf8_lossy(&out.body), expected, "{arguments} by {length}");
        }
    }
}

/// Counting changes nothing of what is masked.
#[test]
fn a_dry_run_over_arguments_leaves_other_rules_theirs() {
    let dry = Rule { dry_run: true, ..key("dry", &["arguments"], "x") };
    check_chat(
        &[dry, key("keys", &["ssn"], "[{name}]")],
        r#"{"ssn":1}"#,
        r#"{"ssn":"[keys]"}"#,
        "\"[keys]\"",
    );
}

#[test]
fn a_mask_of_the_same_length_keeps_that_of_arguments() {
    let rules = [key("keys", &["ssn"], "*")];
    check_chat(&rules, r#"{"ssn":"abc","x":{"ssn":-1}}"#, r#"{"ssn":"***","x":{"ssn":99}}"#, "9");
}

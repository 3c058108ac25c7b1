//! Broken configurations: each mistake is found, in its place, with its remedy.

use ringward::config::{self, Diagnostic, Format, Severity, Text, diagnostic};

/// A whole configuration that says nothing wrong, to be spoilt.
const GOOD: &str = r#"version = 1
[[listen]]
name = "agents"
addr = "127.0.0.1:8443"
[[identity]]
name = "corp"
issuer = "https://idp.example.com"
audience = "https://gw.example.com"
[secrets.anthropic]
source = { env = "ANTHROPIC_API_KEY" }
[upstreams.anthropic]
url = "https://api.anthropic.com"
protocol = "anthropic"
inject = { header = "x-api-key", value = "${secret:anthropic}" }
[[route]]
name = "claude"
match = { listen = "agents", path = "/v1/**" }
identity = ["corp"]
upstream = "anthropic"
policies = ["no-drop", "default"]
masks = ["cards"]
[[policy]]
name = "no-drop"
when = { body = { contains_any = "DROP TABLE" } }
action = "block"
reason = "No."
[[policy]]
name = "default"
action = "allow"
[[mask]]
name = "cards"
kind = "credit_card"
"#;

fn diagnostics(source: &str) -> Vec<Diagnostic> {
    let text = Text::new("ringward.toml", ".", source);
    match config::load(&text) {
        Ok(loaded) => loaded.diagnostics,
        Err(diagnostics) => diagnostics,
    }
}

/// `line:column severity code: message | help`, one a line.
fn summary(diagnostics: &[Diagnostic]) -> String {
    let line = |one: &Diagnostic| {
        let severity = if one.severity == Severity::Error { "error" } else { "warning" };
        let help = one.help.as_deref().unwrap_or("-");
        format!("{}:{} {severity} {}: {} | {help}\n", one.line, one.column, one.code, one.message)
    };
    diagnostics.iter().map(line).collect()
}

/// `GOOD` with the first `from` replaced.
fn spoilt(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replacen(from, to, 1)
}

#[test]
fn a_good_configuration_says_nothing() {
    assert_eq!(summary(&diagnostics(GOOD)), "");
}

#[test]
fn a_mistake_is_shown_as_people_read_it() {
    let found = diagnostics(&spoilt("upstream = \"anthropic\"", "upstrem = \"anthropic\""));
    let expected = "\
error: unknown key `upstrem` in `route[0]`
  --> ringward.toml:19:1
   |
19 | upstrem = \"anthropic\"
   | ^^^^^^^
   |
   = help: did you mean `upstream`? allowed keys: `all_paths`, `commit`, `identity`, `masks`, \
                    `match`, `max_body`, `name`, `policies`, `record`, `remember`, `thinking`, `upstream`

";
    assert_eq!(diagnostic::render_all(&found, Format::Text, false), expected);
}

#[test]
fn json_and_sarif_say_the_same() {
    let found = diagnostics(&spoilt("= [\"corp\"]", "= [\"crop\"]"));
    let parse = |format| serde_json::from_str(&diagnostic::render_all(&found, format, false));
    let json: serde_json::Value = parse(Format::Json).unwrap();
    let first = &json["diagnostics"][0];
    assert_eq!((first["line"].as_u64(), first["column"].as_u64()), (Some(18), Some(13)));
    assert_eq!(first["help"], "did you mean `corp`? defined: `corp`");
    let sarif: serde_json::Value = parse(Format::Sarif).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!(result["ruleId"], "unknown-name");
    assert_eq!(result["locations"][0]["physicalLocation"]["region"]["startLine"], 18);
}

#[test]
fn every_mistake_is_found_in_its_place_with_its_remedy() {
    let mut blocks = include_str!("data/broken_configs.txt").split("\n\n").skip(1).peekable();
    assert!(blocks.peek().is_some());
    for block in blocks {
        let (change, expected) = block.split_once('\n').unwrap_or((block, ""));
        let (from, to) = change.split_once(" -> ").unwrap();
        let [from, to] = [from, to].map(|text| serde_json::from_str::<String>(text).unwrap());
        let found = summary(&diagnostics(&spoilt(&from, &to)));
        assert_eq!(found.trim_end(), expected.trim_end(), "{change}");
    }
}

#[test]
fn whatever_is_left_of_a_file_is_answered_without_a_panic() {
    let source = include_str!("../ringward.example.toml");
    for (index, (at, _)) in source.char_indices().enumerate() {
        if index % 23 == 0 {
            let found = diagnostics(&source[..at]);
            assert!(found.iter().all(|one| one.line >= 1 && one.column >= 1), "{at}");
            diagnostic::render_all(&found, Format::Text, true);
        }
    }
}

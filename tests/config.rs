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
    let text = Text { name: "ringward.toml".into(), base: ".".into(), source: source.into() };
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
   = help: did you mean `upstream`? allowed keys: `commit`, `identity`, `masks`, `match`, `max_body`, \
                    `name`, `policies`, `record`, `upstream`

";
    assert_eq!(diagnostic::render_all(&found, Format::Text, false), expected);
}

#[test]
fn json_and_sarif_say_the_same() {
    let found = diagnostics(&spoilt("= [\"corp\"]", "= [\"crop\"]"));
    let json: serde_json::Value =
        serde_json::from_str(&diagnostic::render_all(&found, Format::Json, false)).unwrap();
    let first = &json["diagnostics"][0];
    assert_eq!((first["line"].as_u64(), first["column"].as_u64()), (Some(18), Some(13)));
    assert_eq!(first["help"], "did you mean `corp`? defined: `corp`");
    let sarif: serde_json::Value =
        serde_json::from_str(&diagnostic::render_all(&found, Format::Sarif, false)).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!(result["ruleId"], "unknown-name");
    assert_eq!(result["locations"][0]["physicalLocation"]["region"]["startLine"], 18);
}

#[test]
fn tmp_dump() {
    let cases: &[(&str, &str)] = &[
        // Syntax, keys and types.
        ("name = \"agents\"", "name = agents"),
        ("version = 1", "version = 2"),
        ("version = 1\n", ""),
        ("[[listen]]", "[[lisen]]"),
        ("[[listen]]", "[listen]"),
        ("addr = \"127.0.0.1:8443\"", "addr = 8443"),
        ("action = \"block\"", "action = \"deny\""),
        ("action = \"block\"", "action = \"blok\""),
        ("protocol = \"anthropic\"", "timeout = { connect = 5, idle = \"5 m\" }"),
        ("source = { env = \"ANTHROPIC_API_KEY\" }", "source = \"env:ANTHROPIC_API_KEY\""),
        ("source = { env = \"ANTHROPIC_API_KEY\" }", "source = { evn = \"ANTHROPIC_API_KEY\" }"),
        ("source = { env = \"ANTHROPIC_API_KEY\" }", "source = { env = \"A\", file = \"b\" }"),
        ("masks = [\"cards\"]", "masks = [\"cards\"]\nmax_body = \"32MB\"\nrecord = \"none\""),
        // Names.
        ("masks = [\"cards\"]", "masks = [\"card\", \"emails\"]"),
        ("upstream = \"anthropic\"", "upstream = \"openai\""),
        ("listen = \"agents\"", "listen = \"agent\""),
        ("${secret:anthropic}", "${secret:antropic}"),
        ("${secret:anthropic}", "sk-ant-api03-in-clear-text"),
        ("masks = [\"cards\"]\n", ""),
        ("name = \"cards\"", "name = \"default cards\""),
        ("[[mask]]", "[[mask]]\nname = \"cards\"\nkind = \"email\"\n[[mask]]"),
        // Policies.
        ("[\"no-drop\", \"default\"]", "[\"default\", \"no-drop\"]"),
        ("[\"no-drop\", \"default\"]", "[\"no-drop\"]"),
        ("[\"no-drop\", \"default\"]", "[]"),
        ("action = \"block\"\nreason = \"No.\"", "action = \"block\""),
        ("action = \"block\"", "action = \"approve\""),
        (
            "{ body = { contains_any = \"DROP TABLE\" } }",
            "{ json = { path = \"max_tokens\", gt = 1, equals = 2 } }",
        ),
        ("{ body = { contains_any = \"DROP TABLE\" } }", "{ sql = { any_of = [\"dorp\"] } }"),
        ("{ body = { contains_any = \"DROP TABLE\" } }", "{ path = \"v1/**\", headers = { a = {} } }"),
        // Routes.
        ("path = \"/v1/**\"", "path = \"/**/x\""),
        (
            "[[policy]]",
            "[[route]]\nname = \"again\"\nmatch = { listen = \"agents\", path = \"/v1/**\" }\nidentity = [\"corp\"]\nupstream = \"anthropic\"\npolicies = [\"default\"]\n[[policy]]",
        ),
        ("path = \"/v1/**\"", "path = \"/v1/**\", strip_prefix = \"/v2\""),
        ("identity = [\"corp\"]", "identity = []"),
        ("masks = [\"cards\"]", "masks = [\"cards\"]\nrecord = \"off\""),
        // Issuers and addresses.
        ("audience =", "algorithms = [\"HS256\", \"none\", \"ES257\"]\naudience ="),
        ("https://idp.example.com", "http://idp.example.com"),
        ("audience =", "clock_skew = \"2m\"\naudience ="),
        ("url = \"https://api.anthropic.com\"", "url = \"http://api.anthropic.com/v1\""),
        ("url = \"https://api.anthropic.com\"", "url = \"http://api.anthropic.com\""),
        ("127.0.0.1:8443", "0.0.0.0:8443"),
        ("127.0.0.1:8443", "localhost"),
        (
            "[[identity]]",
            "[[listen]]\nname = \"b\"\naddr = \"[::]:8443\"\n[admin]\naddr = \"0.0.0.0:8444\"\nmetrics = \"127.0.0.1:8443\"\n[[identity]]",
        ),
    ];
    for (from, to) in cases {
        println!("{from:?} -> {to:?}\n{}", summary(&diagnostics(&spoilt(from, to))));
    }
}

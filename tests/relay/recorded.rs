//! What the audit log says beside bodies: the fields of answers, and what operators did.

use super::harness::{Setup, Upstream};
use ringward::audit::{Access, Record, Scheme};
use std::os::unix::fs::MetadataExt;

#[test]
fn the_fields_of_an_answer_are_recorded_without_its_credentials() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    let mut client = gateway.ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let mut served = upstream.accept();
    served.request();
    let large = "x".repeat(9_000);
    served.send(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nset-cookie: sid=s3cret; Path=/\r\n\
         x-auth-token: s3cret\r\nlocation: /next?access_token=s3cret\r\nx-large: {large}\r\n\
         content-length: 2\r\nconnection: close\r\n\r\nok"
    ));
    let answer = client.response();
    assert_eq!(answer.head.get("set-cookie"), Some("sid=s3cret; Path=/"), "the caller gets all of it");
    drop((client, served));
    let log = gateway.stop(1, 0);
    let fields: Vec<_> = log.outcomes().next().unwrap().headers.iter().collect();
    let expected: [(&str, &[u8]); 5] = [
        ("content-type", b"text/plain"),
        ("set-cookie", b"sid=[redacted]; Path=/"),
        ("x-auth-token", b"[redacted]"),
        ("location", b"/next?access_token=[redacted]"),
        ("x-ringward-omitted", b"1"),
    ];
    assert_eq!(fields, expected);
    assert!(!log.bytes().windows(6).any(|part| part == b"s3cret"));
    let schemes: Vec<_> = log
        .records
        .iter()
        .filter_map(|record| match record {
            Record::Intent(intent) => intent.head.scheme,
            _ => None,
        })
        .collect();
    assert_eq!(schemes, [Scheme::Http]);
}

#[test]
fn what_operators_do_and_try_is_recorded() {
    let setup = Setup::to(Upstream::bind().address);
    let gateway = setup.clone().start();
    gateway.reload(&setup).unwrap();
    gateway.reload_text("version = 2").unwrap_err();
    // This process logs nothing, so that there is no level to change.
    gateway.order("PUT", "/api/v1/log-level", "{\"level\":\"debug\"}");
    gateway.until_recorded("log-level");
    gateway.order("POST", "/api/v1/drain", "");
    gateway.until_recorded("drain");
    let uid = std::fs::metadata(gateway.dir.path()).unwrap().uid();
    let log = gateway.stop(0, 0);
    let admin = log.records.iter().filter_map(|record| match record {
        Record::Admin(access) => Some(access),
        _ => None,
    });
    let said: Vec<_> =
        admin.map(|Access { author, action, object, .. }| (&**author, &**action, &**object)).collect();
    let local = format!("local:{}", uid);
    let find = |author: &str, action: &str, begins: &str| {
        let is = |one: &&(&str, &str, &str)| one.0 == author && one.1 == action && one.2.starts_with(begins);
        assert_eq!(said.iter().filter(is).count(), 1, "{author} {action} {begins}: {said:?}");
    };
    find("test", "reload", "generation 2");
    find("test", "reload", "refused: ");
    find(&local, "log-level", "refused: ");
    find(&local, "drain", "");
    assert_eq!(said.len(), 4, "{said:?}");
}

#[test]
fn each_change_of_a_file_is_recorded_with_its_digests() {
    let setup = Setup::to(Upstream::bind().address);
    let gateway = setup.start();
    let policy = "[[policy]]\\nname = \\\"tried\\\"\\naction = \\\"block\\\"\\nreason = \\\"No.\\\"\\n";
    gateway.order("PUT", "/api/v1/policies.d/tried", &format!("{{\"toml\":\"{policy}\"}}"));
    gateway.order("PUT", "/api/v1/policies.d/other?dry_run=true", "{\"toml\":\"[admin]\"}");
    gateway.order("PUT", "/api/v1/policies.d/other", "{\"toml\":\"[admin]\"}");
    gateway.until_recorded("refused: policies.d/other.toml");
    let written = std::fs::read_to_string(gateway.dir.path().join("policies.d/tried.toml")).unwrap();
    assert!(written.starts_with("[[policy]]\nname = \"tried\"\n"), "{written}");
    assert!(!gateway.dir.path().join("policies.d/other.toml").exists());
    let log = gateway.stop(0, 0);
    let edits = log.records.iter().filter_map(|record| match record {
        Record::Admin(access) if &*access.action == "edit" => Some(access),
        _ => None,
    });
    let edits: Vec<&Access> = edits.collect();
    let [made, refused] = &*edits else { panic!("{edits:?}") };
    assert!(made.author.starts_with("local:"), "{made:?}");
    let change = made.object.strip_prefix("policies.d/tried.toml: none -> sha256:").unwrap();
    assert!(change.len() > 64 && change.ends_with(", generation 2"), "{made:?}");
    assert!(refused.object.starts_with("refused: policies.d/other.toml: "), "{refused:?}");
    let mut texts = log.records.iter().filter_map(|record| match record {
        Record::Config(config) => Some(config.text.to_string()),
        _ => None,
    });
    let last = texts.next_back().unwrap();
    assert!(last.contains("# policies.d/tried.toml\n[[policy]]\nname = \"tried\""), "{last}");
}

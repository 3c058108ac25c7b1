//! Whose credential goes where.

use super::harness::{Setup, Upstream, write_private};

const SECRET: &str = "sk-live-0123456789abcdef";

#[test]
fn the_upstream_gets_the_real_credential_and_the_caller_never_sees_it() {
    let upstream = Upstream::bind();
    let dir = tempfile::tempdir().unwrap();
    write_private(&dir.path().join("key"), SECRET);
    let gateway = Setup::to(upstream.address)
        .upstream("inject = { header = \"x-api-key\", value = \"${secret:key}\" }")
        .tables("[secrets.key]\nsource = { file = \"key\" }")
        .start_in(dir);
    let mut client = gateway.ask(concat!(
        "POST / HTTP/1.1\r\nhost: a\r\nauthorization: Bearer callers-token\r\n",
        "x-api-key: callers-key\r\nX_API_KEY: callers-key\r\ncookie: a=b\r\n",
        "proxy-authorization: Basic x\r\nx-forwarded-for: 9.9.9.9\r\n",
        "forwarded: for=9.9.9.9\r\nx-http-method-override: DELETE\r\nconnection: x-gone\r\nx-gone: 1\r\n",
        "te: trailers\r\nupgrade: h2c\r\nx-kept: 1\r\ncontent-length: 2\r\n\r\nhi"
    ));
    let mut served = upstream.accept();
    let request = served.request();
    assert_eq!(request.head.get("x-api-key"), Some(SECRET));
    assert_eq!(request.head.get("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(request.head.get("x-kept"), Some("1"));
    let sent: Vec<_> = request.head.fields.iter().map(|(name, _)| name.as_str()).collect();
    for gone in ["authorization", "x_api_key", "cookie", "proxy-authorization", "forwarded", "x-gone", "te"] {
        assert!(!sent.contains(&gone), "{gone} in {sent:?}");
    }
    assert!(!sent.contains(&"x-http-method-override") && !sent.contains(&"upgrade"), "{sent:?}");
    served.send("HTTP/1.1 200 OK\r\nconnection: x-gone\r\nx-gone: 1\r\nkeep-alive: timeout=5\r\n");
    served.send("content-length: 2\r\n\r\nok");
    let response = client.response();
    assert_eq!((response.head.get("x-gone"), response.head.get("keep-alive")), (None, None));
    assert!(!format!("{response:?}").contains(SECRET));
    drop(client);
    let log = gateway.stop(1, 0);
    let bytes = String::from_utf8_lossy(&log.bytes()).into_owned();
    for secret in [SECRET, "callers-token", "callers-key", "Basic x"] {
        assert!(!bytes.contains(secret), "{secret} is in the log");
    }
    let named = log.records.iter().any(|record| match record {
        ringward::audit::Record::Intent(intent) => intent.secrets == ["key".into()],
        _ => false,
    });
    assert!(named, "the log names the secret");
}

/// What a refusal of the gateway says of an upstream holds no credential either.
#[test]
fn refusals_name_no_secret() {
    let upstream = Upstream::bind();
    let dir = tempfile::tempdir().unwrap();
    write_private(&dir.path().join("key"), SECRET);
    let gateway = Setup::to(upstream.address)
        .upstream("inject = { header = \"authorization\", value = \"Bearer ${secret:key}\" }")
        .tables("[secrets.key]\nsource = { file = \"key\" }")
        .start_in(dir);
    let mut client = gateway.ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let mut served = upstream.accept();
    assert_eq!(served.request().head.get("authorization"), Some(&*format!("Bearer {SECRET}")));
    served.send(format!("HTTP/1.1 200 OK\r\nauthorization: {SECRET}\r\n folded\r\n\r\n"));
    let response = client.response();
    response.is_refusal(502, "upstream_invalid", "field_folded");
    assert!(!format!("{response:?}").contains(SECRET));
    drop(client);
    let log = gateway.stop(1, 0);
    assert!(!String::from_utf8_lossy(&log.bytes()).contains(SECRET));
}

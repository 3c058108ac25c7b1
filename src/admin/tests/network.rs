//! TCP: alive or not, ready or not, metrics on their own port, and nothing more.

use super::*;

#[test]
fn without_a_login_tcp_tells_nothing() {
    let world = World::new();
    world.process.status.lock().unwrap().issuers[0].ready = false;
    for (line, status) in [
        ("GET /livez", 200),
        ("GET /readyz", 503),
        ("GET /readyz?verbose", 503),
        ("GET /readyz?verbose=1", 503),
        ("GET /", 404),
        ("GET /metrics", 404),
        ("GET /api/v1/status", 404),
        ("GET /api/v1/version", 404),
        ("GET /api/v1/shards", 404),
        ("GET /api/v1/openapi.json", 404),
        ("POST /api/v1/config:check", 404),
        ("POST /api/v1/config:reload", 404),
        ("POST /api/v1/drain", 404),
        ("PUT /api/v1/log-level", 404),
        ("POST /livez", 405),
        ("DELETE /readyz", 405),
    ] {
        let answer = world.network(world.tcp, line);
        assert_eq!(answer.status, status, "{line}");
        for secret in ["corp", "idp.example.com", "io_uring", "1.2.3", "ringward"] {
            assert!(!answer.body.contains(secret), "{line}: {}", answer.body);
            assert!(!answer.head.contains(secret), "{line}: {}", answer.head);
        }
        if status != 200 {
            answer.problem();
        }
    }
    assert!(world.process.calls.lock().unwrap().is_empty());
    world.process.status.lock().unwrap().issuers[0].ready = true;
    assert_eq!(world.network(world.tcp, "GET /readyz?verbose").body, "{\n  \"ready\": true\n}\n");
}

#[test]
fn metrics_have_their_own_port_and_it_has_nothing_else() {
    let world = World::new();
    let answer = world.network(world.metrics, "GET /metrics");
    assert_eq!(answer.status, 200);
    let kind = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n";
    assert!(answer.head.contains(kind), "{}", answer.head);
    assert!(answer.body.contains("\nringward_audit_sequence 9\n"), "{}", answer.body);
    assert!(answer.body.ends_with("# EOF\n"));
    for path in ["/", "/livez", "/readyz", "/api/v1/status", "/metrics/"] {
        assert_eq!(world.network(world.metrics, &format!("GET {path}")).problem(), "not_found", "{path}");
    }
}

#[test]
fn a_rebound_name_is_turned_away() {
    let world = World::new();
    for addr in [world.tcp, world.metrics] {
        let (path, port) = (if addr == world.tcp { "/livez" } else { "/metrics" }, addr.port());
        let other = port ^ 1;
        let cases = [
            (format!("Host: 127.0.0.1:{port}\r\n"), 200),
            (format!("Host: localhost:{port}\r\n"), 200),
            (format!("Host: [::1]:{port}\r\n"), 200),
            (format!("hOST:gw.example.com:{port}\r\n"), 200),
            (format!("Host: evil.example:{port}\r\n"), 421),
            (format!("Host: 127.0.0.1.evil.example:{port}\r\n"), 421),
            (format!("Host: 127.0.0.1:{other}\r\n"), 421),
            ("Host: 127.0.0.1\r\n".to_owned(), 421),
            ("Host: evil.example\r\n".to_owned(), 421),
            ("Host:\r\n".to_owned(), 421),
            (format!("Host: \u{e9}vil:{port}\r\n"), 421),
            (String::new(), 400),
            (format!("Host: 127.0.0.1:{port}\r\nHost: evil.example\r\n"), 400),
            (format!("X-Forwarded-Host: 127.0.0.1:{port}\r\nHost: evil.example\r\n"), 421),
        ];
        for (host, status) in cases {
            for path in [path, "/other"] {
                let text = format!("GET {path} HTTP/1.1\r\n{host}Connection: close\r\n\r\n");
                let answer = exchange(connect(addr), &text);
                let expected = if status == 200 && path == "/other" { 404 } else { status };
                assert_eq!(answer.status, expected, "{path} {host:?}");
            }
        }
        let text =
            format!("GET http://evil.example{path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
        assert_eq!(exchange(connect(addr), &text).problem(), "misdirected");
        let text = format!("GET http://{addr}{path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
        assert_eq!(exchange(connect(addr), &text).status, 200);
    }
}

#[test]
fn every_answer_carries_the_security_headers() {
    let world = World::new();
    let rebound = request("GET /livez", "evil.example", "\r\n");
    let answers = [
        world.local("GET /api/v1/status", "\r\n"),
        world.local("GET /nothing", "\r\n"),
        world.local("POST /livez", "\r\n"),
        world.local("PUT /api/v1/log-level", "\r\n"),
        world.network(world.tcp, "GET /livez"),
        world.network(world.tcp, "GET /nothing"),
        world.network(world.metrics, "GET /metrics"),
        exchange(connect(world.tcp), &rebound),
    ];
    for answer in answers {
        for line in [
            "content-security-policy: default-src 'none'; frame-ancestors 'none'",
            "x-content-type-options: nosniff\r\n",
            "x-frame-options: deny\r\n",
            "referrer-policy: no-referrer\r\n",
            "cache-control: no-store\r\n",
            "cross-origin-resource-policy: same-origin\r\n",
            "cross-origin-opener-policy: same-origin\r\n",
        ] {
            assert!(answer.head.contains(line), "no {line:?} in {}", answer.head);
        }
        assert!(
            !answer.head.contains("\r\nserver:") && !answer.head.contains("access-control-"),
            "{}",
            answer.head
        );
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

pub(super) fn certificate() -> (Arc<rustls::ServerConfig>, rustls::RootCertStore) {
    let made = rcgen::generate_simple_self_signed(["gw.example.com".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut server = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    // As the data plane has it.
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    (Arc::new(server), roots)
}

#[test]
fn tls_serves_the_same_and_speaks_http_1_only() {
    let (server, roots) = certificate();
    let world = World::with(Bounds::default(), Some(server));
    let mut client = rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let client = Arc::new(client);
    let ask = |path: &str, host: &str| {
        let name = "gw.example.com".try_into().unwrap();
        let session = rustls::ClientConnection::new(client.clone(), name).unwrap();
        let stream = rustls::StreamOwned::new(session, connect(world.tcp));
        exchange(stream, &request(&format!("GET {path}"), host, "\r\n")).status
    };
    let own = format!("gw.example.com:{}", world.tcp.port());
    assert_eq!(ask("/livez", &own), 200);
    assert_eq!(ask("/api/v1/status", &own), 404);
    assert_eq!(ask("/livez", "evil.example"), 421);
    // Clear text on that port ends without an HTTP answer, and the next client is served.
    let mut plain = connect(world.tcp);
    plain.write_all(b"GET /livez HTTP/1.1\r\nHost: gw.example.com\r\n\r\n").unwrap();
    assert!(!everything(plain).starts_with(b"HTTP"));
    assert_eq!(ask("/livez", &own), 200);
}

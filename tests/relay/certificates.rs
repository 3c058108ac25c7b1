//! The listeners' certificates: who gets which, and how they are exchanged while requests go on.

use super::{
    harness::{Gateway, Setup, Upstream, explain, write_private},
    tls::{Authority, Identity},
    wire::{PATIENCE, Wire},
};
use rustls::{
    ALL_VERSIONS, ClientConfig, ClientConnection, HandshakeKind, StreamOwned,
    version::{TLS12, TLS13},
};
use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
};

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const LISTEN: &str = "tls.cert = { file = \"own.pem\" }\ntls.key = { file = \"own-key.pem\" }";

/// A client's handshake for `name`; the connection, or why there is none.
fn connect(
    gateway: &Gateway,
    config: Arc<ClientConfig>,
    name: &str,
) -> Result<StreamOwned<ClientConnection, TcpStream>, String> {
    let session = ClientConnection::new(config, name.to_owned().try_into().unwrap()).unwrap();
    let socket = TcpStream::connect(gateway.address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut stream = StreamOwned::new(session, socket);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).map_err(|error| error.to_string())?;
    }
    Ok(stream)
}

/// The server's own certificate, in DER.
fn certificate(stream: &StreamOwned<ClientConnection, TcpStream>) -> Vec<u8> {
    stream.conn.peer_certificates().expect("a certificate")[0].to_vec()
}

fn der(identity: &Identity) -> Vec<u8> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    CertificateDer::from_pem_slice(identity.0.as_bytes()).unwrap().to_vec()
}

/// One request on `client`.
fn exchange(client: &mut Wire, upstream: &Upstream, served: &mut Option<Wire>) {
    client.send(GET.replace("host: a", "host: localhost"));
    let served = served.get_or_insert_with(|| upstream.accept());
    served.request();
    served.send(OK);
    assert_eq!(client.response().text(), "ok");
}

#[test]
fn each_name_gets_its_certificate() {
    let authority = Authority::new();
    let dir = tempfile::tempdir().unwrap();
    let identities =
        [("own", "localhost"), ("wild", "*.example.com"), ("api", "api.example.com")].map(|(file, name)| {
            let identity = authority.issue(name, 2080);
            identity.write(dir.path(), file);
            identity
        });
    let more = ["wild", "api"].map(|name| {
        format!("{{ cert = {{ file = \"{name}.pem\" }}, key = {{ file = \"{name}-key.pem\" }} }}")
    });
    let listen = format!("{LISTEN}\ntls.certs = [{}]\n", more.join(", "));
    let setup = Setup::to("127.0.0.1:9".parse().unwrap()).listen(&listen);
    let gateway = setup.clone().start_in(dir);
    let config = authority.client_config(ALL_VERSIONS);
    let cases = [("localhost", 0), ("a.example.com", 1), ("api.example.com", 2)];
    for (name, index) in cases {
        let stream = connect(&gateway, config.clone(), name).unwrap();
        assert!(certificate(&stream) == der(&identities[index]), "{name}");
    }
    // An unknown name gets the first one, and it is the client who refuses.
    let said = connect(&gateway, config.clone(), "a.b.example.com").unwrap_err();
    assert!(said.contains("not valid for name"), "{said}");
    gateway.until("ringward_handshakes_failed_total{reason=\"alert\"}", 1.0);
    // From now on it is the gateway.
    gateway.reload(&setup.listen("tls.unknown_sni = \"reject\"")).unwrap();
    let said = connect(&gateway, config.clone(), "a.b.example.com").unwrap_err();
    assert!(said.contains("AccessDenied"), "{said}");
    gateway.until("ringward_handshakes_failed_total{reason=\"unknown_name\"}", 1.0);
    connect(&gateway, config, "localhost").unwrap();
    let status = gateway.admin("/api/v1/status");
    for name in ["localhost", "*.example.com", "api.example.com"] {
        assert!(status.contains(&format!("\"{name}\"")), "{status}");
    }
    assert!(status.contains("\"not_after\": \"2080-01-01T00:00:00"), "{status}");
    gateway.stop(0, 0);
}

/// New connections get the new certificate, sessions go on, and what is open stays open. A broken one changes
/// nothing.
#[test]
fn certificates_are_exchanged_without_a_restart() {
    let (authority, upstream) = (Authority::new(), Upstream::bind());
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (authority.issue("localhost", 2080), authority.issue("localhost", 2081));
    first.write(dir.path(), "own");
    let setup = Setup::to(upstream.address).listen(LISTEN);
    let gateway = setup.clone().start_in(dir);
    let config = authority.client_config(ALL_VERSIONS);
    let mut client = authority.client(gateway.address);
    let mut served = None;
    exchange(&mut client, &upstream, &mut served);
    assert!(certificate(&connect(&gateway, config.clone(), "localhost").unwrap()) == der(&first));
    let expiry = || {
        let text = gateway.admin("/metrics");
        let line = text.lines().find(|line| line.starts_with("ringward_certificate_expiry_seconds{"));
        let (labels, seconds) = line.expect("the metric").rsplit_once(' ').unwrap();
        assert_eq!(text.matches("\nringward_certificate_expiry_seconds{").count(), 1, "{text}");
        assert!(labels.contains("listener=\"in\",name=\"localhost\",serial=\""), "{labels}");
        seconds.parse::<f64>().unwrap()
    };
    let before = expiry();

    second.write(gateway.dir.path(), "own");
    assert_eq!(gateway.reload(&setup).map_err(|error| explain(&error)), Ok(2));
    assert!(certificate(&connect(&gateway, config.clone(), "localhost").unwrap()) == der(&second));
    exchange(&mut client, &upstream, &mut served);
    assert!(expiry() - before > 300.0 * 86_400.0, "a year more");

    // The key of another one; then none at all.
    std::fs::write(gateway.dir.path().join("own.pem"), &first.0).unwrap();
    let said = explain(&gateway.reload(&setup).unwrap_err());
    assert!(said.contains("ringward.toml:") && said.contains("belong together"), "{said}");
    std::fs::write(gateway.dir.path().join("own.pem"), "nothing").unwrap();
    let said = explain(&gateway.reload(&setup).unwrap_err());
    assert!(said.contains("the PEM holds no certificate"), "{said}");
    assert!(gateway.admin("/api/v1/status").contains("the PEM holds no certificate"));
    assert!(certificate(&connect(&gateway, config, "localhost").unwrap()) == der(&second));
    exchange(&mut client, &upstream, &mut served);
    drop(client);
    gateway.stop(3, 0);
}

/// RFC 8446 section 2.2, RFC 5077: by tickets, on any shard, also after a reload.
#[test]
fn sessions_are_resumed_by_every_shard_and_over_reloads() {
    let authority = Authority::new();
    let dir = tempfile::tempdir().unwrap();
    authority.issue("localhost", 2080).write(dir.path(), "own");
    let mut setup = Setup::to("127.0.0.1:9".parse().unwrap()).listen(LISTEN);
    setup.cores = 2;
    let gateway = setup.clone().start_in(dir);
    for version in [&TLS12, &TLS13] {
        let config = authority.client_config(&[version]);
        for turn in 0..12 {
            let mut stream = connect(&gateway, config.clone(), "localhost").unwrap();
            let expected = if turn == 0 { HandshakeKind::Full } else { HandshakeKind::Resumed };
            assert_eq!(stream.conn.handshake_kind(), Some(expected), "{version:?} {turn}");
            // The tickets of TLS 1.3 come before the reply, which says that nobody may be asked.
            stream.write_all(b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n").unwrap();
            let mut reply = String::new();
            stream.read_to_string(&mut reply).unwrap();
            assert!(reply.starts_with("HTTP/1.1 400 "), "{reply}");
            if turn == 5 {
                authority.issue("localhost", 2080).write(gateway.dir.path(), "own");
                gateway.reload(&setup).unwrap();
            }
        }
    }
    gateway.until("ringward_handshakes_total{kind=\"full\"}", 2.0);
    gateway.until("ringward_handshakes_total{kind=\"resumed\"}", 22.0);
    gateway.stop(0, 24);
}

/// Early data can be replayed: no ticket invites to it.
#[test]
fn early_data_is_not_offered() {
    let authority = Authority::new();
    let dir = tempfile::tempdir().unwrap();
    authority.issue("localhost", 2080).write(dir.path(), "own");
    let gateway = Setup::to("127.0.0.1:9".parse().unwrap()).listen(LISTEN).start_in(dir);
    let mut config = (*authority.client_config(&[&TLS13])).clone();
    config.enable_early_data = true;
    let config = Arc::new(config);
    let mut stream = connect(&gateway, config.clone(), "localhost").unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n").unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
    let mut session = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
    assert!(session.early_data().is_none(), "it has a ticket, which allows none");
    gateway.stop(0, 1);
}

/// A token endpoint that a test plays, and a lease from it.
fn lease(url: &str) -> String {
    format!(
        "[secrets.client]\nsource = {{ file = \"client\" }}\n\
         [secrets.lease]\nsource = {{ exchange = \"client_credentials\", token_endpoint = \"{url}\", \
         client_id = \"gw\", client_secret = \"client\", tls.ca = {{ file = \"ca.pem\" }} }}"
    )
}

/// What a token endpoint answers.
fn token() -> String {
    let body = "{\"access_token\":\"a-token-of-some-length\",\"token_type\":\"Bearer\",\"expires_in\":60}";
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
}

/// A token endpoint trusts its own authority: not that of an issuer, which is configured beside it; and a
/// reload exchanges it.
#[test]
fn a_token_endpoint_is_trusted_by_its_own_authority_alone() {
    let (own, issuers, upstream) = (Authority::called("own"), Authority::called("issuers"), Upstream::bind());
    let endpoint = Upstream::with_tls(issuers.issue("localhost", 2080).server());
    let dir = tempfile::tempdir().unwrap();
    own.write(dir.path());
    std::fs::rename(dir.path().join("ca.pem"), dir.path().join("own.pem")).unwrap();
    issuers.write(dir.path());
    std::fs::rename(dir.path().join("ca.pem"), dir.path().join("issuers.pem")).unwrap();
    own.write(dir.path());
    write_private(&dir.path().join("client"), "a-secret-of-the-gateway");
    let port = endpoint.address.port();
    let issuer = "[[identity]]\nname = \"corp\"\nissuer = \"https://localhost:9\"\naudience = \"gw\"\n\
                  tls.ca = { file = \"issuers.pem\" }";
    let setup = Setup::to(upstream.address)
        .upstream("inject = { header = \"authorization\", value = \"Bearer ${secret:lease}\" }")
        .tables(&lease(&format!("https://localhost:{port}/token")))
        .tables(issuer);
    let gateway = setup.clone().start_in(dir);
    let mut client = gateway.ask(GET);
    assert!(endpoint.accept().try_head().is_err(), "no word to a stranger");
    client.response().is_refusal(503, "secret_unavailable", "cannot be reached");

    // Its authority changes, with nothing else.
    std::fs::copy(gateway.dir.path().join("issuers.pem"), gateway.dir.path().join("ca.pem")).unwrap();
    gateway.reload(&setup).unwrap();
    client.send(GET);
    let mut asked = endpoint.accept();
    asked.request();
    asked.send(token());
    let mut served = upstream.accept();
    assert_eq!(served.request().head.get("authorization"), Some("Bearer a-token-of-some-length"));
    served.send(OK);
    assert_eq!(client.response().text(), "ok");
    drop(client);
    gateway.stop(2, 0);
}

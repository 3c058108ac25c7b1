//! TLS on both sides of the gateway.

use super::{
    harness::{Setup, Upstream, write_private},
    wire::{End, Whole, Wire},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use ringward::audit::{Cause, Place};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{net::TcpStream, path::Path, sync::Arc};

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A certificate authority.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// Chain and key in PEM.
struct Identity(String, String);

impl Authority {
    fn new() -> Authority {
        Authority::called("test authority")
    }

    fn called(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self, name: &str, last_year: i32) -> Identity {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(last_year, 1, 1);
        let key = KeyPair::generate().unwrap();
        Identity(params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    /// Writes the authority's own certificate.
    fn write(&self, dir: &Path) {
        std::fs::write(dir.join("ca.pem"), self.0.pem()).unwrap();
    }

    /// A client that trusts this authority alone.
    fn client(&self, gateway: std::net::SocketAddr) -> Wire {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let session = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
        let socket = TcpStream::connect(gateway).unwrap();
        Wire::over(StreamOwned::new(session, socket.try_clone().unwrap()), socket)
    }
}

impl Identity {
    fn self_signed(name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        Identity(params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn server(&self) -> Arc<ServerConfig> {
        let chain = CertificateDer::pem_slice_iter(self.0.as_bytes()).map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(self.1.as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key);
        Arc::new(config.unwrap())
    }
}

/// A configuration for an upstream at `localhost` that the authority in `ca.pem` vouches for.
fn to_tls(upstream: &Upstream) -> Setup {
    let url = format!("https://localhost:{}", upstream.address.port());
    Setup::to_url(&url).upstream("tls.ca = { file = \"ca.pem\" }")
}

#[test]
fn requests_pass_encrypted_on_both_sides() {
    let authority = Authority::new();
    let upstream = Upstream::with_tls(authority.issue("localhost", 2080).server());
    let dir = tempfile::tempdir().unwrap();
    authority.write(dir.path());
    let own = authority.issue("localhost", 2080);
    write_private(&dir.path().join("cert.pem"), &own.0);
    write_private(&dir.path().join("key.pem"), &own.1);
    let listen = "tls.cert = { file = \"cert.pem\" }\ntls.key = { file = \"key.pem\" }";
    let gateway = to_tls(&upstream).listen(listen).start_in(dir);
    let mut client = authority.client(gateway.address);
    let body = "0123456789abcdef".repeat(16 * 1024);
    let mut served: Option<Wire> = None;
    for turn in 0..3 {
        client.send(format!("POST /{turn} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\nhi"));
        let served = served.get_or_insert_with(|| upstream.accept());
        let request = served.request();
        assert_eq!((&*request.text(), request.head.get("x-forwarded-proto")), ("hi", Some("https")));
        served.send(format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n", body.len()));
        served.send(&body).send("\r\n0\r\n\r\n");
        assert!(client.response().text() == body);
    }
    // SECURITY R24: the handshake was for another host.
    client.send(GET);
    client.response().is_refusal(421, "misdirected", "localhost");
    // The end of a connection that is asked for is a close_notify.
    client.send("GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let served = served.as_mut().unwrap();
    served.request();
    served.send(OK);
    assert_eq!((client.response().whole, client.end()), (Whole::Yes, End::Clean));
    upstream.is_left_alone();

    // A caller that speaks no TLS, and one that trusts another authority, get nowhere near a request.
    let mut plain = gateway.ask(GET);
    assert!(plain.rest().0.starts_with(b"HTTP/1.1 400 "));
    let mut stranger = Authority::new().client(gateway.address);
    assert!(stranger.try_send(GET).is_err());
    drop((plain, stranger));
    gateway.until("ringward_handshakes_failed_total{reason=\"clear_text\"}", 1.0);
    gateway.until("ringward_handshakes_failed_total{reason=\"alert\"}", 1.0);
    upstream.is_left_alone();
    gateway.stop(4, 1);
}

#[test]
fn upstreams_with_wrong_certificates_are_refused_with_the_reason() {
    let authority = Authority::new();
    let good = authority.issue("localhost", 2080);
    let cases = [
        (authority.issue("other.example", 2080), "wrong name"),
        (authority.issue("localhost", 2021), "expired"),
        (Identity::self_signed("localhost"), "unknown issuer"),
        (Authority::called("another").issue("localhost", 2080), "unknown issuer"),
        (Authority::new().issue("localhost", 2080), "not signed by the trusted authority of that name"),
    ];
    for (identity, reason) in cases {
        let upstream = Upstream::with_tls(identity.server());
        let dir = tempfile::tempdir().unwrap();
        authority.write(dir.path());
        let gateway = to_tls(&upstream).start_in(dir);
        let mut client = gateway.ask("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi");
        let mut served = upstream.accept();
        assert!(served.try_head().is_err(), "nothing is said to a stranger");
        client.response().is_refusal(502, "upstream_tls", reason);
        drop(client);
        let log = gateway.stop(1, 0);
        assert_eq!(log.ends(), [(Cause::UpstreamGone, Place::Connect)]);
    }
    // And the one that is right.
    let upstream = Upstream::with_tls(good.server());
    let dir = tempfile::tempdir().unwrap();
    authority.write(dir.path());
    let gateway = to_tls(&upstream).start_in(dir);
    let mut client = gateway.ask(GET);
    let mut served = upstream.accept();
    served.request();
    served.send(OK);
    assert_eq!(client.response().text(), "ok");
    drop(client);
    gateway.stop(1, 0);
}

#[test]
fn an_upstream_that_speaks_no_tls_is_refused() {
    let authority = Authority::new();
    let upstream = Upstream::bind();
    let dir = tempfile::tempdir().unwrap();
    authority.write(dir.path());
    let gateway = to_tls(&upstream).upstream("timeout = { connect = \"300ms\" }").start_in(dir);
    let mut client = gateway.ask(GET);
    let mut served = upstream.accept();
    served.exactly(5);
    served.send("HTTP/1.1 400 Bad Request\r\n\r\n");
    client.response().is_refusal(502, "upstream_tls", "TLS");
    // One that says nothing at all.
    client.send(GET);
    let silent = upstream.accept();
    client.response().is_refusal(502, "upstream_tls", "too long");
    drop((client, silent));
    gateway.stop(2, 0);
}

/// RFC 8446 section 6.1: without close_notify anybody may have cut the stream.
#[test]
fn an_answer_that_ends_without_close_notify_is_incomplete() {
    let authority = Authority::new();
    let upstream = Upstream::with_tls(authority.issue("localhost", 2080).server());
    let dir = tempfile::tempdir().unwrap();
    authority.write(dir.path());
    let gateway = to_tls(&upstream).start_in(dir);
    let mut client = gateway.ask(GET);
    let mut served = upstream.accept();
    served.request();
    served.send("HTTP/1.1 200 OK\r\n\r\nto the end");
    served.finish();
    let response = client.response();
    assert_eq!((&*response.text(), response.whole), ("to the end", Whole::No(End::Cut)));
    let log = gateway.stop(1, 0);
    assert_eq!(log.ends(), [(Cause::UpstreamGone, Place::ResponseBody)]);
}

#[test]
fn a_broken_answer_is_cut_on_encrypted_connections_too() {
    let authority = Authority::new();
    let upstream = Upstream::bind();
    let dir = tempfile::tempdir().unwrap();
    let own = authority.issue("localhost", 2080);
    write_private(&dir.path().join("cert.pem"), &own.0);
    write_private(&dir.path().join("key.pem"), &own.1);
    let listen = "tls.cert = { file = \"cert.pem\" }\ntls.key = { file = \"key.pem\" }";
    let gateway = Setup::to(upstream.address).listen(listen).start_in(dir);
    let mut client = authority.client(gateway.address);
    client.send("GET / HTTP/1.0\r\n\r\n");
    let mut served = upstream.accept();
    served.request();
    served.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
    let head = client.head();
    drop(served);
    assert_eq!(client.body(head, true).whole, Whole::No(End::Cut));

    // A caller that vanishes without close_notify cuts upstream.
    let mut client = authority.client(gateway.address);
    client.send("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let mut served = upstream.accept();
    served.request();
    drop(client);
    assert_eq!(served.end(), End::Cut);
    gateway.stop(2, 0);
}

/// An exchange keeps the configuration that it began with, also the part that belongs to sockets: the index
/// of its upstream means another one in the next configuration.
#[test]
fn an_exchange_keeps_the_trust_it_began_with() {
    let authority = Authority::new();
    let upstream = Upstream::with_tls(authority.issue("localhost", 2080).server());
    let dir = tempfile::tempdir().unwrap();
    authority.write(dir.path());
    let read =
        "[[policy]]\nname = \"read\"\nwhen = { body = { contains_any = [\"DROP\"] } }\naction = \"block\"";
    let setup = to_tls(&upstream).route("policies = [\"read\", \"default\"]").tables(read);
    let gateway = setup.clone().start_in(dir);
    let post = "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n";
    let mut client = gateway.ask(post);
    assert_eq!(client.response().status(), 100);
    // The policy waits for the body. Now another upstream comes before this one.
    let before = "[upstreams.before]\nurl = \"http://127.0.0.1:9\"
        [[route]]\nname = \"before\"\nmatch = { listen = \"in\", path = \"/before\" }\nidentity = []
        upstream = \"before\"\npolicies = [\"default\"]";
    gateway.reload(&setup.tables(before)).unwrap();
    client.send("hi");
    let mut served = upstream.accept();
    assert_eq!(served.request().text(), "hi");
    served.send(OK);
    assert_eq!(client.response().text(), "ok");
    drop(client);
    gateway.stop(1, 0);
}

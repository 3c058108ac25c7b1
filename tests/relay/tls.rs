//! TLS on both sides of the gateway.

use super::{
    harness::{Setup, Upstream, write_private},
    wire::{End, Whole, Wire},
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};
use ringward::audit::{Cause, Place};
use rustls::{
    ALL_VERSIONS, ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned,
    SupportedProtocolVersion,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{net::TcpStream, path::Path, sync::Arc};

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A certificate authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// Chain and key in PEM.
pub struct Identity(pub String, pub String);

impl Authority {
    pub fn new() -> Authority {
        Authority::called("test authority")
    }

    pub fn called(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn issue(&self, name: &str, last_year: i32) -> Identity {
        self.issue_with(name, |params| params.not_after = date_time_ymd(last_year, 1, 1))
    }

    fn issue_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2080, 1, 1);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Identity(params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    /// An authority that this one vouches for, and its certificate.
    fn intermediate(&self) -> (Authority, String) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "the one between");
        let issued = CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &self.0).unwrap();
        let pem = issued.pem();
        (Authority(issued), pem)
    }

    /// Writes the authority's own certificate.
    pub fn write(&self, dir: &Path) {
        std::fs::write(dir.join("ca.pem"), self.0.pem()).unwrap();
    }

    /// A client that trusts this authority alone.
    pub fn client(&self, gateway: std::net::SocketAddr) -> Wire {
        let config = self.client_config(ALL_VERSIONS);
        let session = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
        let socket = TcpStream::connect(gateway).unwrap();
        Wire::over(StreamOwned::new(session, socket.try_clone().unwrap()), socket)
    }
}

impl Authority {
    /// What a client offers that trusts this authority alone.
    pub fn client_config(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }
}

impl Identity {
    /// Writes chain and key to `NAME.pem` and `NAME-key.pem`.
    pub fn write(&self, dir: &Path, name: &str) {
        write_private(&dir.join(format!("{name}.pem")), &self.0);
        write_private(&dir.join(format!("{name}-key.pem")), &self.1);
    }

    fn self_signed(name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        Identity(params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    pub fn server(&self) -> Arc<ServerConfig> {
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

/// Callers speak TLS; the folder holds the certificate of this listener.
pub fn listen_with_tls(setup: Setup, authority: &Authority) -> (Setup, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let own = authority.issue("localhost", 2080);
    write_private(&dir.path().join("cert.pem"), &own.0);
    write_private(&dir.path().join("key.pem"), &own.1);
    (setup.listen("tls.cert = { file = \"cert.pem\" }\ntls.key = { file = \"key.pem\" }"), dir)
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
    let (between, between_pem) = authority.intermediate();
    let (other, other_pem) = Authority::called("another").intermediate();
    let complete = between.issue("localhost", 2080);
    let complete = Identity(complete.0 + &between_pem, complete.1);
    let unknown = other.issue("localhost", 2080);
    let unknown = Identity(unknown.0 + &other_pem, unknown.1);
    let later = |params: &mut CertificateParams| {
        (params.not_before, params.not_after) = (date_time_ymd(2079, 1, 1), date_time_ymd(2080, 1, 1));
    };
    let for_clients = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    };
    let not_anyone = |params: &mut CertificateParams| params.subject_alt_names.clear();
    let cases = [
        (authority.issue("other.example", 2080), "wrong name", "`tls.server_name`"),
        (authority.issue("127.0.0.1", 2080), "wrong name", "`tls.server_name`"),
        (authority.issue_with("localhost", not_anyone), "wrong name", "`tls.server_name`"),
        (authority.issue("localhost", 2021), "it has expired", "needs a new one"),
        (authority.issue_with("localhost", later), "it is not valid yet", "the clocks"),
        (authority.issue_with("localhost", for_clients), "wrong purpose", "`serverAuth`"),
        (Identity::self_signed("localhost"), "it is self-signed", "name it in `tls.ca`"),
        (between.issue("localhost", 2080), "an incomplete chain", "send the intermediate ones"),
        (unknown, "its chain leads to \"another\"", "name that authority in `tls.ca`"),
        (Authority::called("another").issue("localhost", 2080), "unknown issuer", "in `tls.ca`"),
        (Authority::new().issue("localhost", 2080), "not signed by the trusted authority", "renew `tls.ca`"),
    ];
    for (identity, reason, remedy) in cases {
        let upstream = Upstream::with_tls(identity.server());
        let dir = tempfile::tempdir().unwrap();
        authority.write(dir.path());
        let gateway = to_tls(&upstream).start_in(dir);
        let mut client = gateway.ask("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi");
        let mut served = upstream.accept();
        assert!(served.try_head().is_err(), "nothing is said to a stranger");
        let response = client.response();
        response.is_refusal(502, "upstream_tls", reason);
        response.is_refusal(502, "upstream_tls", remedy);
        drop(client);
        let log = gateway.stop(1, 0);
        assert_eq!(log.ends(), [(Cause::UpstreamGone, Place::Connect)]);
    }
    // And those that are right.
    let by_address = |upstream: &Upstream| {
        Setup::to_url(&format!("https://{}", upstream.address)).upstream("tls.ca = { file = \"ca.pem\" }")
    };
    let named = |upstream: &Upstream| to_tls(upstream).upstream("tls.server_name = \"api.corp.internal\"");
    is_trusted(&authority, good, to_tls);
    is_trusted(&authority, complete, to_tls);
    is_trusted(&authority, authority.issue("127.0.0.1", 2080), by_address);
    is_trusted(&authority, authority.issue("*.corp.internal", 2080), named);
}

/// An upstream with this certificate is believed.
#[track_caller]
fn is_trusted(authority: &Authority, identity: Identity, setup: impl Fn(&Upstream) -> Setup) {
    let upstream = Upstream::with_tls(identity.server());
    let dir = tempfile::tempdir().unwrap();
    authority.write(dir.path());
    let gateway = setup(&upstream).start_in(dir);
    let mut client = gateway.ask(GET);
    let mut served = upstream.accept();
    if served.try_head().is_err() {
        panic!("{}", client.response().text());
    }
    served.send(OK);
    assert_eq!(client.response().text(), "ok");
    drop(client);
    gateway.stop(1, 0);
}

/// RFC 8446 section 6.1: without close_notify anybody may have cut the stream, also where the length says
/// that there was to be more.
#[test]
fn a_truncated_answer_is_cut_whatever_its_framing() {
    let authority = Authority::new();
    let upstream = Upstream::with_tls(authority.issue("localhost", 2080).server());
    let dir = tempfile::tempdir().unwrap();
    authority.write(dir.path());
    let gateway = to_tls(&upstream).start_in(dir);
    for framing in ["content-length: 20\r\n\r\n", "transfer-encoding: chunked\r\n\r\n14\r\n"] {
        let mut client = gateway.ask(GET);
        let mut served = upstream.accept();
        served.request();
        served.send(format!("HTTP/1.1 200 OK\r\n{framing}the first"));
        served.finish();
        let response = client.response();
        assert_eq!((&*response.text(), response.whole), ("the first", Whole::No(End::Cut)));
    }
    gateway.stop(2, 0);
}

/// A mebibyte each way: two copies a byte and side, as the documentation says, and what heads, small slices
/// and records that reads have cut add to it.
#[test]
fn the_copies_of_tls_are_those_that_are_documented() {
    let authority = Authority::new();
    let upstream = Upstream::with_tls(authority.issue("localhost", 2080).server());
    let dir = tempfile::tempdir().unwrap();
    authority.write(dir.path());
    authority.issue("localhost", 2080).write(dir.path(), "own");
    let listen = "tls.cert = { file = \"own.pem\" }\ntls.key = { file = \"own-key.pem\" }";
    let gateway = to_tls(&upstream).listen(listen).start_in(dir);
    let body = vec![b'x'; 1 << 20];
    let length = body.len();
    let mut client = authority.client(gateway.address);
    let sent = body.clone();
    let asking = std::thread::spawn(move || {
        client.send(format!("POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n"));
        client.send(sent);
        (client.response(), client)
    });
    let mut served = upstream.accept();
    assert_eq!(served.request().body.len(), length);
    served.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n"));
    served.send(&body);
    let (response, client) = asking.join().unwrap();
    assert!(response.body == body);
    drop((client, served));
    let ways = 2.0 * length as f64;
    gateway.until("ringward_body_bytes_total{path=\"forwarded\"}", ways);
    let counted = |path: &str| gateway.metric(&format!("ringward_body_bytes_total{{path=\"{path}\"}}"));
    let twice = 2.0 * ways;
    let (read, written) = (counted("tls_read"), counted("tls_written"));
    assert!((twice..twice * 1.25).contains(&read), "{read} for {ways}");
    assert!((twice..twice * 1.01).contains(&written), "{written} for {ways}");
    assert_eq!(counted("copied"), 0.0);
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

//! Upstreams over TLS: whom the gateway believes, and what it says when it does not.

use super::support::{
    gateway::Gateway,
    http::ask,
    upstream::{Connection, Stream, Upstream},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::aws_lc_rs};
use std::{fs, net::TcpStream, sync::Arc};

/// How an upstream's certificate is wrong, if it is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flaw {
    None,
    Name,
    Expired,
    SelfSigned,
}

/// A certificate with its key, and the PEM of the authority that the gateway is told to trust.
fn certificate(flaw: Flaw) -> (ServerConfig, String) {
    let mut authority = CertificateParams::new(vec![]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let name = if flaw == Flaw::Name { "elsewhere.test" } else { "localhost" };
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    if flaw == Flaw::Expired {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    }
    let key = KeyPair::generate().unwrap();
    let certificate = if flaw == Flaw::SelfSigned {
        params.self_signed(&key).unwrap()
    } else {
        params.signed_by(&key, &authority).unwrap()
    };
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.serialize_der().try_into().unwrap())
        .unwrap();
    (config, authority.pem())
}

fn accept(config: &Arc<ServerConfig>, stream: TcpStream) -> Option<Box<dyn Stream>> {
    let session = ServerConnection::new(config.clone()).ok()?;
    Some(Box::new(StreamOwned::new(session, stream)))
}

fn serve(mut connection: Connection) {
    while connection.read_request() {
        connection.answer("over TLS");
    }
}

#[test]
fn an_upstream_is_believed_by_chain_name_and_date() {
    let check = |flaw: Flaw, status: u16, said: &str| {
        let (config, authority) = certificate(flaw);
        let config = Arc::new(config);
        let upstream = Upstream::start_with(move |stream| accept(&config, stream), serve);
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), authority).unwrap();
        let port = upstream.address.port();
        let routes = format!(
            "[upstreams.up]\nurl = \"https://localhost:{port}\"\ntls.ca = {{ file = \"ca.pem\" }}\n\
             [[route]]\nname = \"up\"\nmatch = {{ listen = \"main\", path = \"/**\" }}\nidentity = []\n\
             upstream = \"up\"\npolicies = [\"default\"]\n"
        );
        let gateway = Gateway::start_in(folder, &routes);
        let response = ask(&gateway.address(), "POST", "/a", &[], "a secret body");
        assert_eq!(response.status, status, "{flaw:?}: {}", response.text());
        assert!(response.text().contains(said), "{flaw:?}: {}", response.text());
        assert_eq!(upstream.received().contains("a secret body"), flaw == Flaw::None, "{flaw:?}");
    };
    check(Flaw::None, 200, "over TLS");
    check(Flaw::Name, 502, "upstream_tls");
    check(Flaw::Expired, 502, "upstream_tls");
    check(Flaw::SelfSigned, 502, "upstream_tls");
}

#[test]
fn an_upstream_without_tls_is_called_that() {
    let upstream = Upstream::start(|mut connection| {
        connection.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
    });
    let routes = format!(
        "[upstreams.up]\nurl = \"https://localhost:{}\"\n\
         [[route]]\nname = \"up\"\nmatch = {{ listen = \"main\", path = \"/**\" }}\nidentity = []\n\
         upstream = \"up\"\npolicies = [\"default\"]\n",
        upstream.address.port()
    );
    let gateway = Gateway::start(&routes);
    let response = ask(&gateway.address(), "GET", "/a", &[], "");
    assert_eq!(response.status, 502, "{}", response.text());
    assert!(
        response.text().contains("speaks no TLS") && response.text().contains("http://"),
        "{}",
        response.text()
    );
}

//! The least proxy that Pingora makes, to be measured: all requests go to one upstream, connections are kept.
//!
//! `compare-pingora LISTEN LISTEN_TLS UPSTREAM CERT KEY`: addresses `host:port`, paths of PEM files.

use async_trait::async_trait;
use pingora::{
    Result,
    proxy::{ProxyHttp, Session, http_proxy_service},
    server::{Server, configuration::ServerConf},
    upstreams::peer::HttpPeer,
};

struct Forward {
    upstream: String,
}

#[async_trait]
impl ProxyHttp for Forward {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream.as_str(), false, String::new())))
    }
}

fn main() {
    let given: Vec<_> = std::env::args().skip(1).collect();
    let [listen, secure, upstream, cert, key] = given.as_slice() else {
        eprintln!("usage: compare-pingora LISTEN LISTEN_TLS UPSTREAM CERT KEY");
        std::process::exit(2);
    };
    let conf = ServerConf { threads: 1, upstream_keepalive_pool_size: 256, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Forward { upstream: upstream.clone() });
    service.add_tcp(listen);
    if let Err(error) = service.add_tls(secure, cert, key) {
        eprintln!("error: {secure}: {error}");
        std::process::exit(1);
    }
    server.add_service(service);
    server.run_forever();
}

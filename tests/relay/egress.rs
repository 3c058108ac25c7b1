//! Upstreams behind an egress proxy (RFC 9110 section 9.3.6).

use super::{
    harness::{Setup, Upstream, write_private},
    tls::Authority,
    wire::{End, PATIENCE, Wire},
};
use ringward::audit::{Cause, Place};
use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Instant,
};

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn via(proxy: SocketAddr, url: &str) -> Setup {
    Setup::to_url(url).upstream(&format!("via = \"http://{proxy}\""))
}

/// A forward proxy that tunnels to wherever it is asked; tells the heads it got.
fn forward_proxy() -> (SocketAddr, mpsc::Receiver<String>) {
    let (sender, heads) = mpsc::channel();
    let address = Upstream::bind().serve(move |mut wire: Wire| {
        let Ok(head) = wire.try_head() else { return };
        let target = head.start.split(' ').nth(1).unwrap().replace("up.test", "127.0.0.1");
        let _ = sender.send(format!("{} {:?}", head.start, head.get("proxy-authorization")));
        let onward = TcpStream::connect(&target).expect("the target listens");
        wire.send("HTTP/1.1 200 Connection established\r\ncontent-length: 99\r\n\r\n");
        let inward = wire.socket().try_clone().unwrap();
        let (there, back) = (onward.try_clone().unwrap(), inward.try_clone().unwrap());
        thread::spawn(move || pump(back, there));
        pump(onward, inward);
    });
    (address, heads)
}

fn pump(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

#[test]
fn requests_go_through_the_tunnel_in_clear_text_and_in_tls() {
    let (proxy, heads) = forward_proxy();
    let upstream = Upstream::bind();
    let url = format!("http://up.test:{}", upstream.address.port());
    let gateway = via(proxy, &url).start();
    let mut client = gateway.ask(POST);
    let mut served = upstream.accept();
    let request = served.request();
    assert_eq!(request.head.get("host"), Some(url.trim_start_matches("http://")));
    assert_eq!((request.head.start.as_str(), request.text().as_str()), ("POST / HTTP/1.1", "hi"));
    served.send(OK);
    assert_eq!(client.response().text(), "ok");
    // The tunnel is kept like any other connection.
    client.send(GET);
    served.request();
    served.send(OK);
    client.response();
    drop(client);
    gateway.stop(2, 0);
    let asked = format!("CONNECT up.test:{} HTTP/1.1 None", upstream.address.port());
    assert_eq!(heads.try_iter().collect::<Vec<_>>(), [asked]);

    let authority = Authority::new();
    let upstream = Upstream::with_tls(authority.issue("up.test", 2099).server());
    let dir = tempfile::tempdir().unwrap();
    authority.write(dir.path());
    let url = format!("https://up.test:{}", upstream.address.port());
    let gateway = via(proxy, &url).upstream("tls.ca = { file = \"ca.pem\" }").start_in(dir);
    let mut client = gateway.ask(GET);
    let mut served = upstream.accept();
    served.request();
    served.send(OK);
    assert_eq!(client.response().text(), "ok");
    drop(client);
    gateway.stop(1, 0);
}

#[test]
fn the_proxy_is_told_its_credential_and_nobody_else_is() {
    let (proxy, heads) = forward_proxy();
    let upstream = Upstream::bind();
    let dir = tempfile::tempdir().unwrap();
    write_private(&dir.path().join("key"), "open-sesame-123");
    let gateway = via(proxy, &format!("http://{}", upstream.address))
        .upstream("via_authorization = { value = \"${secret:proxy}\", basic_user = \"gw\" }")
        .tables("[secrets.proxy]\nsource = { file = \"key\" }")
        .start_in(dir);
    let mut client = gateway.ask(GET);
    let mut served = upstream.accept();
    assert_eq!(served.request().head.get("proxy-authorization"), None);
    served.send(OK);
    client.response();
    drop(client);
    let log = gateway.stop(1, 0);
    // The base64 of `gw:open-sesame-123`.
    let credential = "Basic Z3c6b3Blbi1zZXNhbWUtMTIz";
    let asked = format!("CONNECT {} HTTP/1.1 Some(\"{credential}\")", upstream.address);
    assert_eq!(heads.try_iter().collect::<Vec<_>>(), [asked]);
    assert!(!String::from_utf8_lossy(&log.bytes()).contains("Z3c6b3Blbi1zZXNhbWUtMTIz"));
}

#[test]
fn a_proxy_that_refuses_is_named_with_its_status() {
    let proxy = Upstream::bind();
    let gateway = via(proxy.address, "http://up.test").start();
    let answers = [
        ("HTTP/1.1 403 Forbidden\r\ncontent-length: 4\r\n\r\nno!!", "the egress proxy answered 403"),
        ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "the egress proxy answered 407"),
        ("HTTP/1.1 302 Found\r\nlocation: http://evil.test\r\n\r\n", "the egress proxy answered 302"),
        ("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "sent bytes behind its answer"),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", "sent a malformed answer"),
        ("HTTP/1.1 200 OK", "closed the connection"),
        ("", "closed the connection"),
    ];
    for (answer, reason) in answers {
        let mut client = gateway.ask(GET);
        let mut served = proxy.accept();
        assert_eq!(served.head().start, "CONNECT up.test:80 HTTP/1.1");
        served.send(answer);
        served.finish();
        client.response().is_refusal(502, "upstream_unreachable", reason);
        assert!(matches!(served.end(), End::Clean | End::Cut), "nothing of the request went there");
    }
    let log = gateway.stop(answers.len() as u64, 0);
    assert!(log.ends().iter().all(|end| *end == (Cause::UpstreamGone, Place::Connect)));
}

/// A running tinyproxy; it ends with this.
struct Tinyproxy {
    process: Child,
    address: SocketAddr,
}

impl Drop for Tinyproxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `None` where it is not installed. It cannot choose a free port: the one that it is given may be taken by
/// somebody else meanwhile, so that it is tried several times.
fn tinyproxy(dir: &Path, lines: &str) -> Option<Tinyproxy> {
    for _ in 0..5 {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let file = dir.join("tinyproxy.conf");
        let text = format!("Port {}\nListen 127.0.0.1\nTimeout 60\nMaxClients 20\n{lines}", address.port());
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new("tinyproxy");
        command.arg("-d").arg("-c").arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
        let mut tinyproxy = match command.spawn() {
            Ok(process) => Tinyproxy { process, address },
            Err(error) => {
                println!("skipped: tinyproxy cannot be started: {error}");
                return None;
            }
        };
        let began = Instant::now();
        while tinyproxy.process.try_wait().unwrap().is_none() && began.elapsed() < PATIENCE {
            if TcpStream::connect(address).is_ok() {
                return Some(tinyproxy);
            }
            thread::yield_now();
        }
    }
    panic!("tinyproxy does not start");
}

#[test]
fn a_proxy_that_others_made_is_understood() {
    let dir = tempfile::tempdir().unwrap();
    let Some(proxy) = tinyproxy(dir.path(), "BasicAuth gw open-sesame-123\n") else { return };
    let upstream = Upstream::bind();
    write_private(&dir.path().join("key"), "open-sesame-123");
    let url = format!("http://{}", upstream.address);
    let refused = via(proxy.address, &url);
    let gateway = refused
        .clone()
        .upstream("via_authorization = { value = \"${secret:proxy}\", basic_user = \"gw\" }")
        .tables("[secrets.proxy]\nsource = { file = \"key\" }")
        .start_in(dir);
    let mut client = gateway.ask(POST);
    let mut served = upstream.accept();
    assert_eq!(served.request().text(), "hi");
    served.send(OK);
    assert_eq!(client.response().text(), "ok");
    client.send(GET);
    served.request();
    served.send(OK);
    client.response();
    // Without its credential.
    gateway.reload(&refused).unwrap();
    client.send(GET);
    client.response().is_refusal(502, "upstream_unreachable", "the egress proxy answered 40");
    drop(client);
    gateway.stop(3, 0);
}

#[test]
fn informational_answers_of_a_proxy_are_passed_over() {
    let proxy = Upstream::bind();
    let gateway = via(proxy.address, "http://up.test").start();
    let mut client = gateway.ask(GET);
    let mut served = proxy.accept();
    served.head();
    served.slowly("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n");
    assert_eq!(served.request().head.start, "GET / HTTP/1.1");
    served.send(OK);
    client.response();
    drop(client);
    gateway.stop(1, 0);
}

#[test]
fn a_proxy_that_says_nothing_is_given_up() {
    let proxy = Upstream::bind();
    let setup = via(proxy.address, "http://up.test").upstream("timeout = { connect = \"200ms\" }");
    let gateway = setup.start();
    let mut client = gateway.ask(GET);
    let mut served = proxy.accept();
    served.head();
    client.response().is_refusal(502, "upstream_unreachable", "the egress proxy did not answer in time");
    served.rest();
    drop(client);
    gateway.stop(1, 0);
}

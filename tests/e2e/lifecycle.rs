//! Reload, drain, and what a gateway says when it cannot start.

use super::support::{
    eventually,
    gateway::{Gateway, open_route, rewrite},
    http::{Client, ask},
    upstream::Upstream,
};
use std::{
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

/// Requests that a test makes before and after each reload, at least.
const ENOUGH: usize = 20;

#[test]
fn a_reload_under_load_drops_no_connection() {
    let before = Upstream::answering("before");
    let after = Upstream::answering("after");
    let gateway = Gateway::start(&open_route("up", before.address));
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (stop, asked, address) = (stop.clone(), asked.clone(), gateway.address());
            thread::spawn(move || {
                // One connection for all of it: a reload that closed it would fail the next request.
                let mut client = Client::connect(&address);
                let mut last = String::new();
                while !stop.load(Ordering::Relaxed) {
                    let response = client.ask("POST", "/work", &[], "some body");
                    assert_eq!((response.status, response.is_whole), (200, true), "{}", response.text());
                    last = response.text();
                    asked.fetch_add(1, Ordering::Relaxed);
                }
                last
            })
        })
        .collect();
    let some_more = || {
        let from = asked.load(Ordering::Relaxed);
        eventually("more answers", || (asked.load(Ordering::Relaxed) >= from + ENOUGH).then_some(()));
    };
    some_more();
    for round in 0..3 {
        let reload = gateway.command(&["reload"]);
        assert!(reload.status.success(), "{round}: {}", String::from_utf8_lossy(&reload.stderr));
        some_more();
        gateway.process.signal("HUP");
        some_more();
    }
    Gateway::prepare(gateway.folder.path(), &open_route("up", after.address));
    gateway.process.signal("HUP");
    eventually("a request at the new upstream", || after.received().contains("/work").then_some(()));
    some_more();
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        assert_eq!(client.join().expect("no request failed"), "after");
    }
}

#[test]
fn a_broken_file_changes_nothing_and_says_where() {
    let upstream = Upstream::answering("still here");
    let gateway = Gateway::start(&open_route("up", upstream.address));
    let file = gateway.folder.path().join("ringward.toml");
    rewrite(&file, |text| text.replace("policies = ", "polices = "));
    let reload = gateway.command(&["reload"]);
    assert_eq!(reload.status.code(), Some(3));
    let said =
        String::from_utf8_lossy(&reload.stderr).into_owned() + &String::from_utf8_lossy(&reload.stdout);
    assert!(said.contains("ringward.toml:") && said.contains("policies"), "{said}");
    assert_eq!(ask(&gateway.address(), "GET", "/", &[], "").text(), "still here");
}

#[test]
fn sigterm_drains_what_runs_and_takes_nothing_new() {
    let (begun, begin) = mpsc::channel();
    let (go_on, gate) = mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let upstream = Upstream::start(move |mut connection| {
        connection.read_request();
        connection.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 10\r\n\r\nfirst");
        begun.send(()).unwrap();
        let _ = gate.lock().unwrap().recv();
        connection.write(b" last");
    });
    let mut gateway = Gateway::start(&open_route("up", upstream.address));
    let address = gateway.address();
    let mut idle = Client::connect(&address);
    let mut client = Client::connect(&address);
    client.request("GET", "/slow", &[], "");
    begin.recv_timeout(super::support::DEADLINE).unwrap();
    gateway.process.signal("TERM");
    eventually("a listener that is closed", || TcpStream::connect(&address).is_err().then_some(()));
    assert!(idle.is_ended(), "an idle connection outlives the drain");
    go_on.send(()).unwrap();
    let response = client.response(false).expect("the answer goes on");
    assert_eq!((response.text().as_str(), response.is_whole), ("first last", true), "{}", gateway.log());
    assert_eq!(gateway.process.wait().code(), Some(0), "{}", gateway.log());
}

/// It was closed without a word: nobody had told the caller not to ask.
#[test]
fn a_connection_of_before_the_drain_may_ask_once() {
    let upstream = Upstream::answering("just in time");
    let mut gateway = Gateway::start(&open_route("up", upstream.address));
    let address = gateway.address();
    let mut early = Client::connect(&address);
    // Answered by the same shard, which therefore has accepted the other one, too.
    let mut other = Client::connect(&address);
    other.request("GET", "/first", &[], "");
    assert_eq!(other.response(false).expect("an answer").text(), "just in time");
    gateway.process.signal("TERM");
    eventually("a listener that is closed", || TcpStream::connect(&address).is_err().then_some(()));
    early.request("GET", "/second", &[], "");
    let response = early.response(false).expect("it is answered");
    assert_eq!((response.text().as_str(), response.header("connection")), ("just in time", Some("close")));
    assert!(other.is_ended(), "a connection that had its turn outlives the drain");
    assert_eq!(gateway.process.wait().code(), Some(0), "{}", gateway.log());
}

#[test]
fn a_drain_that_takes_too_long_ends_with_124() {
    let (begun, begin) = mpsc::channel();
    let upstream = Upstream::start(move |mut connection| {
        connection.read_request();
        begun.send(()).unwrap();
        // Until the gateway goes away.
        connection.read();
    });
    let folder = tempfile::tempdir().unwrap();
    Gateway::prepare(folder.path(), &open_route("up", upstream.address));
    let mut command = Gateway::run_in(folder.path());
    command.args(["--drain", "100ms"]);
    let mut gateway = Gateway::spawn(folder, command);
    let mut client = Client::connect(&gateway.address());
    client.request("GET", "/for-ever", &[], "");
    begin.recv_timeout(super::support::DEADLINE).unwrap();
    gateway.process.signal("TERM");
    assert_eq!(gateway.process.wait().code(), Some(124), "{}", gateway.log());
    assert!(client.response(false).is_none_or(|response| response.status >= 500 || !response.is_whole));
}

#[test]
fn what_keeps_a_gateway_from_starting_is_one_clear_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let upstream = open_route("up", "127.0.0.1:9");
    let check = |from: &str, to: &str, code: i32, said: &str| {
        let folder = tempfile::tempdir().unwrap();
        Gateway::prepare(folder.path(), &upstream);
        let file = folder.path().join("ringward.toml");
        rewrite(&file, |text| text.replacen(from, to, 1));
        let output = super::support::gateway::ringward(&["run", "-c", file.to_str().unwrap()], &[]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{to}: {stderr}");
        assert!(stderr.contains(said), "{to}: {stderr}");
    };
    check("addr = \"127.0.0.1:0\"", &format!("addr = \"127.0.0.1:{port}\""), 1, &port);
    let tls = "addr = \"127.0.0.1:0\"\ntls.cert = { file = \"no.pem\" }\ntls.key = { file = \"no.key\" }";
    check("addr = \"127.0.0.1:0\"", tls, 1, "no.pem");
    check("dir = \"audit\"", "dir = \"ringward.toml/audit\"", 3, "ringward.toml/audit");
    check("upstream = \"up\"", "upstream = \"upp\"", 3, "ringward.toml:");
}

#[test]
fn the_status_is_shown_again_and_again_until_it_is_interrupted() {
    let upstream = Upstream::answering("here");
    let gateway = Gateway::start(&open_route("up", upstream.address));
    let admin = format!("unix:{}", gateway.folder.path().join("admin.sock").display());
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_ringward"))
        .args(["status", "--watch", "--admin", &admin])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let (sender, lines) = mpsc::channel();
    let stdout = child.stdout.take().expect("piped");
    thread::spawn(move || {
        use std::io::BufRead;
        let lines = std::io::BufReader::new(stdout).lines().map_while(Result::ok);
        lines.for_each(|line| drop(sender.send(line)));
    });
    let next = || lines.recv_timeout(super::support::DEADLINE).expect("a line");
    assert!(next().contains("ready: 0 forwarded"), "plain lines where it is no terminal");
    assert_eq!(ask(&gateway.address(), "GET", "/", &[], "").status, 200);
    eventually("the request", || next().contains("ready: 1 forwarded").then_some(()));
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-s", "INT", &pid]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0), "Ctrl-C is its end");
}

#[test]
fn the_status_is_redrawn_in_place_on_a_terminal() {
    use std::{
        io::{Read, Write},
        process::{Command, Stdio},
    };
    let upstream = Upstream::answering("here");
    let gateway = Gateway::start(&open_route("up", upstream.address));
    let admin = gateway.folder.path().join("admin.sock");
    let binary = env!("CARGO_BIN_EXE_ringward");
    // script(1), of Debian's essential packages, gives it a terminal. No shell stays between the two: Ctrl-C
    // goes to all in front of the terminal, and a shell that dies of it ends with 130 in its child's place.
    let command = format!("exec {binary} status --watch --admin unix:{}", admin.display());
    let mut child = Command::new("script")
        .args(["-qefc", &command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (sender, pieces) = mpsc::channel();
    let mut stdout = child.stdout.take().expect("piped");
    thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(length @ 1..) = stdout.read(&mut piece) {
            let _ = sender.send(String::from_utf8_lossy(&piece[..length]).into_owned());
        }
    });
    let mut seen = String::new();
    let mut until = |what: &str| {
        while !seen.contains(what) {
            let piece = pieces.recv_timeout(super::support::DEADLINE);
            seen += &piece.unwrap_or_else(|_| panic!("never came: {what:?} in {seen:?}"));
        }
        seen = seen.split_once(what).expect("it is there").1.to_owned();
    };
    // From the upper left corner; what stood behind a line's end and below the last line is cleared.
    until("\x1b[Hgateway    ready");
    until("0 forwarded");
    until("\x1b[K\r\n\x1b[J");
    assert_eq!(ask(&gateway.address(), "GET", "/", &[], "").status, 200);
    until("\x1b[Hgateway    ready");
    until("1 forwarded");
    child.stdin.as_mut().expect("piped").write_all(b"\x03").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "Ctrl-C is its end");
}

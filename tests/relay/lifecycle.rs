//! Start, drain, and a journal that cannot record.

use super::{
    harness::{Gateway, Log, Setup, Upstream, is_refused},
    wire::{End, PATIENCE, Whole},
};
use ringward::{
    app::{self, Ended},
    audit::{Cause, Place},
};
use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[test]
fn a_drain_lets_exchanges_end_and_takes_no_new_ones() {
    let upstream = Upstream::bind();
    let mut setup = Setup::to(upstream.address);
    setup.cores = 2;
    let gateway = setup.start();
    let mut idle = gateway.ask(GET);
    let mut served = upstream.accept();
    served.request();
    served.send(OK);
    idle.response();
    let mut silent = gateway.connect();
    let mut busy = gateway.ask("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nhi");
    // Which shard took it decides which connection carries it.
    let mut carrier = upstream.accept_or(served);
    carrier.head();
    let mut begun = gateway.ask("GET /begun HTTP/1.1\r\n");
    // Accepted on one of the two shards.
    let connections = |shard| gateway.metric(&format!("ringward_connections{{shard=\"{shard}\"}}"));
    while connections(0) + connections(1) < 4.0 {
        thread::yield_now();
    }

    let Gateway { dir, running, address } = gateway;
    let audit = running.addresses.audit_dir.clone();
    let stop = thread::spawn(move || running.stop(PATIENCE));
    // Those that wait for a request are closed at once, and nobody listens any more.
    assert_eq!((idle.end(), silent.end()), (End::Clean, End::Clean));
    until_refused(address);
    // Those that are in the middle of something end it.
    busy.send("ho");
    assert_eq!(carrier.exactly(4), b"hiho");
    carrier.send(OK);
    let response = busy.response();
    assert_eq!((&*response.text(), response.head.get("connection")), ("ok", Some("close")));
    assert_eq!(busy.end(), End::Clean);
    begun.send("host: a\r\n\r\n");
    let mut carrier = upstream.accept_or(carrier);
    assert_eq!(carrier.request().head.start, "GET /begun HTTP/1.1");
    carrier.send(OK);
    assert_eq!((begun.response().whole, begun.end()), (Whole::Yes, End::Clean));
    drop((idle, silent, busy, begun));
    assert_eq!(stop.join().unwrap(), Ended::Drained);
    is_refused(address);
    Log::of(dir, audit, Some((3, 0)));
}

#[track_caller]
fn until_refused(address: std::net::SocketAddr) {
    let began = Instant::now();
    while std::net::TcpStream::connect(address).is_ok() {
        assert!(began.elapsed() < PATIENCE, "somebody still listens");
        thread::yield_now();
    }
}

#[test]
fn a_drain_without_time_cuts_what_still_runs_and_records_it() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    let mut waiting = gateway.ask(GET);
    let mut silent = upstream.accept();
    silent.request();
    let mut reading = gateway.ask(GET);
    let mut served = upstream.accept();
    served.request();
    served.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf");
    let head = reading.head();
    let Gateway { dir, running, .. } = gateway;
    let audit = running.addresses.audit_dir.clone();
    assert_eq!(running.stop(Duration::ZERO), Ended::TimedOut);
    assert_eq!((waiting.end(), silent.end()), (End::Cut, End::Cut));
    assert_eq!((reading.body(head, true).whole, served.end()), (Whole::No(End::Cut), End::Cut));
    let log = Log::of(dir, audit, Some((2, 0)));
    let mut ends = log.ends();
    ends.sort();
    assert_eq!(ends, [(Cause::Cut, Place::FirstByte), (Cause::Cut, Place::ResponseBody)]);
}

#[test]
fn the_log_lines_of_a_drain_are_written() {
    let upstream = Upstream::bind();
    let mut setup = Setup::to(upstream.address);
    setup.log = "access.log";
    let gateway = setup.start();
    let mut client = gateway.ask("GET /last HTTP/1.1\r\nhost: a\r\n\r\n");
    let mut served = upstream.accept();
    served.request();
    let file = gateway.dir.path().join("access.log");
    let Gateway { dir, running, address } = gateway;
    let audit = running.addresses.audit_dir.clone();
    let stop = thread::spawn(move || running.stop(PATIENCE));
    until_refused(address);
    served.send(OK);
    client.response();
    drop(client);
    assert_eq!(stop.join().unwrap(), Ended::Drained);
    let lines = fs::read_to_string(file).unwrap();
    assert!(lines.contains("\"/last\""), "{lines:?}");
    Log::of(dir, audit, Some((1, 0)));
}

#[test]
fn a_port_in_use_is_one_clear_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let text = Setup::to(address).text().replace("127.0.0.1:0", &address.to_string());
    let text = text.replace(&format!("http://{address}"), "http://127.0.0.1:9");
    fs::write(dir.path().join("ringward.toml"), text).unwrap();
    let options = app::Options { author: "test".to_owned(), allow_dev: true };
    let error = app::start(&dir.path().join("ringward.toml"), options).map(drop).unwrap_err();
    assert!(matches!(error, app::Error::Bind { .. }), "{error:?}");
    let said = error.to_string();
    let expected = format!("listener \"in\" cannot listen on {address}: ");
    assert!(said.starts_with(&expected) && said.ends_with("another process has this port"), "{said}");
    assert!(!dir.path().join("audit").exists(), "nothing was begun");
}

#[test]
fn a_folder_in_use_is_one_clear_line() {
    let upstream = Upstream::bind();
    let setup = Setup::to(upstream.address);
    let gateway = setup.clone().start();
    let error = setup.try_start_in(gateway.dir.path()).map(drop).unwrap_err();
    let expected = format!("audit is in use by another gateway, PID {}", std::process::id());
    assert!(error.to_string().ends_with(&expected), "{error}");
    // The one that runs was not disturbed.
    let mut client = gateway.ask(GET);
    let mut served = upstream.accept();
    served.request();
    served.send(OK);
    assert_eq!(client.response().status(), 200);
    drop(client);
    assert!(gateway.admin("/livez").contains("true"));
    gateway.stop(1, 0);
}

/// A small disk of its own; `None` where this may not be done.
struct Disk(PathBuf);

impl Disk {
    fn mount(path: &Path, options: &str) -> Option<Disk> {
        fs::create_dir(path).unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(path).output();
        match mount {
            Ok(output) if output.status.success() => Some(Disk(path.to_owned())),
            other => {
                eprintln!("skipped: no tmpfs can be mounted here: {other:?}");
                None
            }
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

/// One request; true if it was forwarded, false if it was refused because it cannot be recorded.
fn is_recorded(gateway: &Gateway) -> bool {
    let body = "x".repeat(16 * 1024);
    let mut client = gateway.ask(format!("PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 16384\r\n\r\n{body}"));
    let response = client.response();
    if response.status() != 200 {
        response.is_refusal(503, "audit_unavailable", "audit journal takes no records");
        assert_eq!(response.head.get("x-should-retry"), Some("true"));
        return false;
    }
    true
}

#[test]
fn a_full_disk_stops_forwarding_until_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::mount(&dir.path().join("disk"), "size=8m") else { return };
    let ballast = disk.0.join("ballast");
    let upstream = Upstream::bind();
    let (forwarded, seen) = std::sync::mpsc::channel();
    let address = upstream.serve(move |mut served| {
        while let Ok(head) = served.try_head() {
            // The disk may become full in the middle of a body.
            let request = served.body(head, false);
            forwarded.send(request.whole).unwrap();
            if request.whole != Whole::Yes {
                return;
            }
            assert_eq!(request.body.len(), 16 * 1024);
            served.send(OK);
        }
    });
    let mut setup = Setup::to(address);
    setup.commit = "durable";
    // What is compressed while the test runs does not fill it.
    setup.audit = "dir = \"disk/audit\"\nsegment_bytes = \"1MiB\"\ncompress = false";
    let gateway = setup.start_in(dir);
    fs::write(&ballast, vec![0; 3 << 20]).unwrap();
    let mut answered = 0;
    while is_recorded(&gateway) {
        answered += 1;
        assert!(answered < 1_000, "the disk does not fill up");
    }
    // From now on nothing reaches the upstream, and everything else goes on.
    let before = seen.try_iter().filter(|whole| *whole == Whole::Yes).count();
    for _ in 0..5 {
        assert!(!is_recorded(&gateway));
    }
    assert_eq!(seen.try_iter().count(), 0, "nothing is forwarded that cannot be recorded");
    assert!(gateway.admin("/api/v1/status").contains("the audit disk is full"));
    // There is room again: it goes on by itself.
    fs::remove_file(&ballast).unwrap();
    let began = Instant::now();
    while !is_recorded(&gateway) {
        assert!(began.elapsed() < PATIENCE, "the journal does not come back");
    }
    answered += 1;
    let Gateway { dir, running, .. } = gateway;
    let audit = running.addresses.audit_dir.clone();
    assert_eq!(running.stop(PATIENCE), Ended::Drained);
    let log = Log::of(dir, audit, None);
    let complete = log.ends().iter().filter(|end| end.0 == Cause::Complete).count();
    assert_eq!((complete, before + seen.try_iter().count()), (answered, answered));
    drop(disk);
}

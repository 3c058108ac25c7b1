//! One agent floods the audit log, the others go on (SECURITY R44).

use super::{
    bounds::hits,
    harness::{Gateway, Log, Setup, Upstream},
    wire::{PATIENCE, Wire},
};
use ringward::{
    app::Ended,
    audit::{Cause, Refusal},
    journal::{Disk, DiskFile, OsDisk, Room},
};
use socket2::{Domain, Socket, Type};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

/// The agent that floods, and another one.
const NOISY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
/// Exchanges that one agent may have open with a share of 1 percent.
const OPEN_MAX: usize = 80;

/// A connection of an agent: without tokens they are told apart by their addresses.
fn connect_as(agent: Ipv4Addr, gateway: SocketAddr) -> Wire {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((agent, 0)).into()).unwrap();
    socket.connect(&gateway.into()).unwrap();
    Wire::new(socket.into())
}

#[track_caller]
fn is_served(agent: Ipv4Addr, gateway: &Gateway) {
    let mut client = connect_as(agent, gateway.address);
    client.send(GET);
    assert_eq!(client.response().text(), "ok");
}

/// How many refusals of `agent` the log holds, those that have no record of their own included.
fn refused(log: &Log, agent: Ipv4Addr) -> u64 {
    let of = |refusal: &&Refusal| refusal.head.peer.map(|peer| peer.ip()) == Some(IpAddr::V4(agent));
    let all = log.refusals().filter(of);
    all.map(|refusal| 1 + refusal.folded.map_or(0, |folded| folded.more)).sum()
}

fn stop(gateway: Gateway) -> Log {
    let Gateway { dir, running, .. } = gateway;
    let audit = running.addresses.audit_dir.clone();
    assert_eq!(running.stop(PATIENCE), Ended::Drained);
    Log::of(dir, audit, None)
}

#[test]
fn an_agent_with_too_much_open_is_told_so_and_the_others_are_served() {
    let (arrived, arrivals) = mpsc::channel();
    let gate: Arc<(Mutex<bool>, Condvar)> = Arc::default();
    let held = Arc::clone(&gate);
    let upstream = Upstream::bind().serve(move |mut served: Wire| {
        while let Ok(head) = served.try_head() {
            let is_held = head.start.contains("/held");
            served.body(head, false);
            if is_held {
                arrived.send(()).unwrap();
                let (open, opened) = &*held;
                drop(opened.wait_while(open.lock().unwrap(), |open| !*open).unwrap());
            }
            served.send(OK);
        }
    });
    let mut setup = Setup::to(upstream);
    setup.audit = "segment_bytes = \"4MiB\"\nagent_share_percent = 1";
    let gateway = setup.start();
    let mut waiting = Vec::new();
    for _ in 0..OPEN_MAX {
        let mut client = connect_as(NOISY, gateway.address);
        client.send(GET.replace("/ ", "/held "));
        arrivals.recv_timeout(PATIENCE).unwrap();
        waiting.push(client);
    }
    let mut client = connect_as(NOISY, gateway.address);
    client.send(GET);
    let refused_with = client.response();
    refused_with.is_refusal(503, "audit_backpressure", "not recorded yet");
    assert_eq!(refused_with.head.get("retry-after"), Some("1"));
    is_served(OTHER, &gateway);
    assert_eq!(hits(&gateway, "audit_backpressure"), 1.0);
    let (open, opened) = &*gate;
    *open.lock().unwrap() = true;
    opened.notify_all();
    for mut client in waiting {
        assert_eq!(client.response().text(), "ok");
    }
    is_served(NOISY, &gateway);
    let log = gateway.stop(OPEN_MAX as u64 + 2, 1);
    assert_eq!(log.reasons()[0].0, "audit_backpressure");
}

#[test]
fn a_flood_of_refusals_is_counted_and_not_recorded_one_by_one() {
    let mut setup = Setup::to(Upstream::bind().address);
    setup.audit = "segment_bytes = \"4MiB\"\nrefusals_per_second = 1";
    let gateway = setup.start();
    let flood = |agent, count| {
        for _ in 0..count {
            let mut client = connect_as(agent, gateway.address);
            client.send("TRACE / HTTP/1.1\r\nhost: a\r\n\r\n");
            client.response().is_refusal(400, "malformed_request", "TRACE");
        }
    };
    flood(NOISY, 200);
    flood(OTHER, 3);
    let log = stop(gateway);
    assert_eq!((refused(&log, NOISY), refused(&log, OTHER)), (200, 3));
    let alone = |refusal: &&Refusal| refusal.folded.is_none();
    let records = log.refusals().filter(alone).count();
    assert!(records < 100, "{records} records of a flood");
    assert!(log.refusals().any(|refusal| refusal.folded.is_some_and(|folded| folded.more > 1)));
}

/// The real file system, but each write takes its time while it is told to.
#[derive(Clone, Debug, Default)]
struct SlowDisk(Arc<AtomicBool>);

#[derive(Debug)]
struct SlowFile(SlowDisk, Arc<dyn DiskFile>);

const WRITE_TIME: Duration = Duration::from_millis(100);

impl Disk for SlowDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(SlowFile(self.clone(), OsDisk.create(path)?)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        OsDisk.open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        OsDisk.remove(path)
    }

    fn room(&self, path: &Path) -> io::Result<Room> {
        OsDisk.room(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        OsDisk.sync_folder(path)
    }
}

impl DiskFile for SlowFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        // Nonces are few bytes.
        if self.0.0.load(Ordering::Relaxed) && bytes.len() >= 4_096 {
            thread::sleep(WRITE_TIME);
        }
        self.1.write_at(bytes, offset)
    }

    fn write_zeros(&self, offset: u64, len: u64) -> io::Result<()> {
        self.1.write_zeros(offset, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.1.sync()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.1.truncate(len)
    }
}

/// What the noisy agent was answered.
#[derive(Default)]
struct Flood {
    stop: AtomicBool,
    served: AtomicUsize,
    refused: AtomicUsize,
}

impl Flood {
    /// One caller of it: bodies, one after the other.
    fn run(&self, gateway: SocketAddr) {
        let body = vec![b'x'; 64 << 10];
        let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", body.len());
        let mut client = connect_as(NOISY, gateway);
        while !self.stop.load(Ordering::Relaxed) {
            // Who is refused while it sends may not learn more than that.
            let sent = client.try_send(&head).and_then(|()| client.try_send(&body));
            let answered = client.try_head();
            if let (Ok(()), Ok(head)) = (sent, answered)
                && head.status() == 200
            {
                client.body(head, true);
                self.served.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            self.refused.fetch_add(1, Ordering::Relaxed);
            client = connect_as(NOISY, gateway);
        }
    }
}

#[test]
fn a_flood_before_a_slow_disk_makes_nobody_else_wait_for_long() {
    let upstream = Upstream::bind().serve(|mut served: Wire| {
        while let Ok(head) = served.try_head() {
            served.body(head, false);
            served.send(OK);
        }
    });
    let mut setup = Setup::to(upstream);
    setup.audit = "segment_bytes = \"64MiB\"\nagent_share_percent = 1";
    let disk = SlowDisk::default();
    let gateway = setup.start_on(Arc::new(disk.clone()));
    is_served(NOISY, &gateway);
    disk.0.store(true, Ordering::Relaxed);
    let flood = Flood::default();
    let others = thread::scope(|scope| {
        for _ in 0..2 * OPEN_MAX {
            let (flood, address) = (&flood, gateway.address);
            scope.spawn(move || flood.run(address));
        }
        let began = Instant::now();
        while flood.refused.load(Ordering::Relaxed) == 0 {
            assert!(began.elapsed() < PATIENCE, "nobody was refused");
            thread::yield_now();
        }
        let others = 10;
        (0..others).for_each(|_| is_served(OTHER, &gateway));
        flood.stop.store(true, Ordering::Relaxed);
        others
    });
    disk.0.store(false, Ordering::Relaxed);
    is_served(NOISY, &gateway);
    let backpressure = hits(&gateway, "audit_backpressure") as u64;
    let log = stop(gateway);
    assert!(backpressure > 0 && log.reasons().iter().all(|(code, _)| *code == "audit_backpressure"));
    assert_eq!(refused(&log, NOISY), backpressure);
    // An INTENT that was taken and not acknowledged in time is a refusal too, with an OUTCOME.
    let complete = log.outcomes().filter(|outcome| outcome.cause == Cause::Complete).count();
    let late = log.outcomes().filter(|outcome| outcome.cause == Cause::Unrecorded).count();
    assert_eq!(complete, flood.served.into_inner() + others + 2);
    assert_eq!(log.outcomes().count(), complete + late);
    assert!(flood.refused.into_inner() as u64 >= backpressure + late as u64);
}

//! The vectors through a gateway that runs: sockets, shard, exchange, journal.
//!
//! Each worker has a listener, a route and an upstream of its own, so that what its origin receives belongs
//! to the one case that it is at. The origin keeps the raw bytes and answers what it takes for whole
//! requests; the oracle judges them. At the end the audit log must tell, connection by connection, as many
//! INTENTs as requests reached the origin, and as many REFUSALs as the caller was refused.

use super::{
    Case, cases, completed,
    harness::{Log, Setup},
    oracle::{self, Rest},
    receive,
    wire::PATIENCE,
};
use ringward::audit::Record;
use std::{
    collections::{BTreeMap, VecDeque},
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::Instant,
};

const WORKERS: usize = 12;

/// What one worker sees of the case that it is at.
#[derive(Default)]
struct Seen {
    /// What the caller received.
    answered: Vec<u8>,
    /// The caller's connection has ended.
    ended: bool,
    /// What the origin received, by connection.
    received: Vec<Received>,
}

/// One connection of the gateway to the origin.
#[derive(Default)]
struct Received {
    /// Since the case began.
    bytes: Vec<u8>,
    ended: bool,
    /// Whole requests, and one that is cut off if there is one.
    answered: usize,
    requests: usize,
    is_whole: bool,
}

#[derive(Default)]
struct Watch {
    seen: Mutex<Seen>,
    changed: Condvar,
}

impl Watch {
    fn change(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap());
        self.changed.notify_all();
    }

    /// Waits until something holds.
    #[track_caller]
    fn until(&self, what: &str, holds: impl Fn(&Seen) -> bool) -> MutexGuard<'_, Seen> {
        let began = Instant::now();
        let mut seen = self.seen.lock().unwrap();
        while !holds(&seen) {
            let left = PATIENCE.checked_sub(began.elapsed());
            let left = left.unwrap_or_else(|| panic!("in vain: {what}: {:?}", seen.shown()));
            seen = self.changed.wait_timeout(seen, left).unwrap().0;
        }
        seen
    }
}

impl Seen {
    fn shown(&self) -> (String, Vec<String>) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&self.answered), self.received.iter().map(|one| text(&one.bytes)).collect())
    }

    /// Requests that reached the origin, whole or not.
    fn forwarded(&self) -> usize {
        self.received.iter().map(|one| one.requests).sum()
    }

    fn answers(&self) -> usize {
        count(&self.answered, b"\r\nx-ringward-request-id: ")
    }

    fn refusals(&self) -> usize {
        count(&self.answered, b"\r\nx-ringward-response: gateway\r\n")
    }
}

fn count(bytes: &[u8], line: &[u8]) -> usize {
    bytes.windows(line.len()).filter(|window| *window == line).count()
}

/// An origin that records, for as long as the process lives.
fn origin(watch: Arc<Watch>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (index, socket) in listener.incoming().enumerate() {
            let (socket, watch) = (socket.unwrap(), watch.clone());
            watch.change(|seen| seen.received.push(Received { is_whole: true, ..Received::default() }));
            std::thread::spawn(move || record(socket, index, &watch));
        }
    });
    address
}

/// Serves one connection of the gateway: answers each request that is whole.
fn record(mut socket: TcpStream, index: usize, watch: &Watch) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(length @ 1..) = socket.read(&mut buffer) {
        let mut answer = Vec::new();
        let mut is_canonical = true;
        watch.change(|seen| {
            let own = &mut seen.received[index];
            own.bytes.extend_from_slice(&buffer[..length]);
            let Ok(messages) = oracle::requests(&own.bytes) else {
                // Kept for the verdict; nothing more is to be learnt on this connection.
                return is_canonical = false;
            };
            for request in &messages.whole[own.answered..] {
                let body = if request.method == "HEAD" { "" } else { "ok" };
                answer.extend(format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{body}").bytes());
            }
            own.answered = messages.whole.len();
            own.requests = own.answered + usize::from(matches!(messages.rest, Rest::Body(_)));
            own.is_whole = messages.rest == Rest::Nothing;
        });
        if !is_canonical || socket.write_all(&answer).is_err() {
            break;
        }
    }
    watch.change(|seen| seen.received[index].ended = true);
}

/// What became of one case.
#[derive(Debug, Default, PartialEq)]
struct Told {
    /// Requests at the origin, whole or not.
    forwarded: usize,
    /// Refusals that the caller was sent.
    refused: usize,
}

struct Worker {
    watch: Arc<Watch>,
    gateway: SocketAddr,
    /// What was found wrong.
    dirty: Vec<String>,
    /// Cases that left something to be recorded, in order.
    told: Vec<(String, Told)>,
}

impl Worker {
    /// Sends the bytes of one case and waits until they have had their effect.
    fn run(&mut self, case: &Case, bytes: &[u8]) {
        // How the parser reads them says what there is to wait for; it does not judge.
        let expected = receive(bytes, usize::MAX >> 1);
        self.watch.change(|seen| {
            (seen.answered, seen.ended) = (Vec::new(), false);
            for one in &mut seen.received {
                (one.bytes, one.answered, one.requests) = (Vec::new(), 0, 0);
            }
        });
        let socket = TcpStream::connect(self.gateway).unwrap();
        let reader = self.read(socket.try_clone().unwrap());
        // The gateway may have refused the first of them before it gets the rest.
        let _ = (&socket).write_all(bytes);
        let whole = expected.whole;
        let reached = whole + usize::from(expected.cut);
        drop(self.watch.until(&case.id, |seen| {
            let is_done = seen.answers() >= whole && seen.forwarded() + seen.refusals() >= reached;
            seen.ended || (expected.rejection.is_none() && is_done)
        }));
        let _ = socket.shutdown(Shutdown::Write);
        reader.join().unwrap();
        let settled = |seen: &Seen| seen.received.iter().all(|one| one.ended || one.is_whole);
        let seen = self.watch.until(&case.id, settled);
        let told = Told { forwarded: seen.forwarded(), refused: seen.refusals() };
        let mut dirty: Vec<String> = seen.received.iter().filter_map(|one| fault(&one.bytes)).collect();
        let methods: Vec<&str> = expected.methods.iter().map(String::as_str).collect();
        dirty.extend(oracle::responses(&seen.answered, &methods, true).err());
        // What the parser accepts the exchange may still refuse, but each request has its one end.
        let ends = whole + usize::from(expected.cut || expected.rejection.is_some());
        if told.forwarded + told.refused != ends {
            dirty.push(format!("{ends} requests, and {told:?}"));
        }
        if is_severe(case) && told != (Told { forwarded: 0, refused: 1 }) {
            dirty.push(format!("severe, and {told:?}"));
        }
        self.dirty.extend(dirty.iter().map(|what| format!("{}: {what} {:?}", case.id, seen.shown())));
        drop(seen);
        if told != Told::default() {
            self.told.push((case.id.clone(), told));
        }
    }

    fn read(&self, mut socket: TcpStream) -> std::thread::JoinHandle<()> {
        let watch = self.watch.clone();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 16 * 1024];
            while let Ok(length @ 1..) = socket.read(&mut buffer) {
                watch.change(|seen| seen.answered.extend_from_slice(&buffer[..length]));
            }
            watch.change(|seen| seen.ended = true);
        })
    }
}

/// What is wrong with the bytes that the origin received on one connection.
fn fault(bytes: &[u8]) -> Option<String> {
    match oracle::requests(bytes) {
        Ok(messages) => (messages.rest == Rest::Head).then(|| "part of a head".to_owned()),
        Err(fault) => Some(fault),
    }
}

fn is_severe(case: &Case) -> bool {
    case.id.contains("severe")
}

/// A listener, a route and an upstream for each worker; the first are those of the setup itself.
fn setup(origins: &[SocketAddr]) -> Setup {
    let mut setup = Setup::to(origins[0]);
    for (index, origin) in origins.iter().enumerate().skip(1) {
        setup = setup.tables(&format!(
            "[[listen]]\nname = \"in{index}\"\naddr = \"127.0.0.1:0\"\n\
             [upstreams.up{index}]\nurl = \"http://{origin}\"\n\
             [[route]]\nname = \"all{index}\"\nmatch = {{ listen = \"in{index}\" }}\nidentity = []\n\
             upstream = \"up{index}\"\npolicies = [\"default\"]"
        ));
    }
    setup
}

/// INTENTs and REFUSALs of one listener, by connection, in order.
fn audited(log: &Log, listener: &str) -> Vec<Told> {
    let mut order: Vec<Told> = Vec::new();
    let mut sessions: BTreeMap<String, usize> = BTreeMap::new();
    let mut told = |session: &str, of: &str, count: fn(&mut Told)| {
        if of == listener {
            let index = *sessions.entry(session.to_owned()).or_insert_with(|| {
                order.push(Told::default());
                order.len() - 1
            });
            count(&mut order[index]);
        }
    };
    for record in &log.records {
        match record {
            Record::Intent(intent) => told(&intent.session, &intent.head.listener, |one| one.forwarded += 1),
            Record::Refusal(refusal) => {
                let session = refusal.session.as_deref().unwrap_or_default();
                told(session, &refusal.head.listener, |one| one.refused += 1)
            }
            _ => {}
        }
    }
    order
}

// SECURITY R1.
#[test]
fn the_origin_sees_exactly_the_requests_that_are_audited() {
    let Some(cases) = cases() else { return };
    let began = Instant::now();
    let mut queue: VecDeque<(&Case, Vec<u8>)> = VecDeque::new();
    for (case, bytes) in &cases {
        let other = completed(bytes);
        queue.extend((other != *bytes).then_some((case, other)));
        queue.push_back((case, bytes.clone()));
    }
    let (connections, queue) = (queue.len(), Mutex::new(queue));
    let watches: Vec<Arc<Watch>> = (0..WORKERS).map(|_| Arc::default()).collect();
    let origins: Vec<SocketAddr> = watches.iter().map(|watch| origin(watch.clone())).collect();
    let gateway = setup(&origins).start();
    let listeners = gateway.running.addresses.listeners.clone();
    let workers: Vec<Worker> = std::thread::scope(|scope| {
        let threads: Vec<_> = listeners
            .iter()
            .zip(watches)
            .map(|((_, address), watch)| {
                let mut worker = Worker { watch, gateway: *address, dirty: Vec::new(), told: Vec::new() };
                let queue = &queue;
                scope.spawn(move || {
                    loop {
                        let next = queue.lock().unwrap().pop_front();
                        let Some((case, bytes)) = next else { return worker };
                        worker.run(case, &bytes);
                    }
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let all = || workers.iter().flat_map(|worker| &worker.told).map(|(_, told)| told);
    let forwarded: usize = all().map(|told| told.forwarded).sum();
    let refused: usize = all().map(|told| told.refused).sum();
    let log = gateway.stop(forwarded as u64, refused as u64);
    for ((listener, _), worker) in listeners.iter().zip(&workers) {
        let audited = audited(&log, listener);
        assert_eq!(audited.len(), worker.told.len(), "connections with a record on {listener}");
        for ((id, told), audited) in worker.told.iter().zip(&audited) {
            assert_eq!(told, audited, "seen, and recorded: {id}");
        }
    }
    let dirty: Vec<&String> = workers.iter().flat_map(|worker| &worker.dirty).collect();
    let severe = cases.iter().filter(|(case, _)| is_severe(case)).count();
    println!(
        "{} cases on {connections} connections in {:.1} s: {forwarded} requests at the origin and \
         INTENTs, {refused} refusals and REFUSALs, {severe} severe ones all refused, {} not canonical",
        cases.len(),
        began.elapsed().as_secs_f64(),
        dirty.len()
    );
    assert_eq!(severe, 27);
    assert!(dirty.is_empty(), "{dirty:#?}");
}

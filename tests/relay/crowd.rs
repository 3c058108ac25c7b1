//! Many callers that are slow on purpose, and heads that are as large as they may be: who behaves is served
//! all the while, memory stays within its budget, and nothing is left behind (SECURITY R42, R43).

use super::{
    bounds::hits,
    harness::{Gateway, Log, Setup, Upstream},
    wire::{PATIENCE, Wire},
};
use ringward::{app::Ended, audit::Cause};
use socket2::{Domain, Socket, Type};
use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

const MIB: usize = 1 << 20;
/// More than all buffers between the gateway and a caller that does not read take.
const ANSWER_BYTES: usize = 192 << 10;
/// How often a slow caller sends one more byte.
const PACE: Duration = Duration::from_millis(100);
/// What may be counted beyond the budget before those who hold it are ended: buffers that grow meanwhile.
const OVERSHOOT_BYTES: f64 = MIB as f64;
const CONNECTIONS: &str = "ringward_connections{shard=\"0\"}";
const MEMORY: &str = "ringward_memory_bytes{shard=\"0\"}";

/// Answers each request on a connection of its own: one for `/deaf` with a body that its caller will not
/// read, and says so. One small thread and one descriptor a connection are enough for thousands.
fn origin() -> (SocketAddr, mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (answered, seen) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let is_deaf = head(&mut stream).starts_with(b"GET /deaf ");
            if !is_deaf {
                let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
                let _ = stream.write_all(ok.as_bytes());
                continue;
            }
            let _ = answered.send(());
            let small = thread::Builder::new().stack_size(64 << 10);
            let answer = move || {
                let start = format!("HTTP/1.1 200 OK\r\ncontent-length: {ANSWER_BYTES}\r\n\r\n");
                // It is cut off as soon as the gateway gives its caller up.
                let _ = stream.write_all(start.as_bytes());
                let _ = stream.write_all(&vec![b'x'; ANSWER_BYTES]);
            };
            small.spawn(answer).unwrap();
        }
    });
    (address, seen)
}

/// The bytes up to the blank line.
fn head(stream: &mut TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut head, mut buffer) = (Vec::new(), [0; 4096]);
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => break,
            Ok(count) => head.extend_from_slice(&buffer[..count]),
        }
    }
    head
}

/// A caller that asks for a long answer and has room for next to nothing of it.
fn deaf(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    // The kernel sizes the gateway's send buffer by it; loopback's own 64 KiB would make that megabytes.
    socket.set_tcp_mss(536).unwrap();
    socket.connect(&address.into()).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.write_all(b"GET /deaf HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    stream
}

/// Whether the connection has ended; what comes before that is thrown away.
fn has_ended(mut stream: &TcpStream) -> bool {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}

/// Sends a head that never ends on each, a byte at a time, until the gateway has ended all of them.
fn trickle(mut streams: Vec<TcpStream>) {
    let began = Instant::now();
    let mut head = b"GET / HTTP/1.1\r\nhost: a\r\nx: ".iter().chain(std::iter::repeat(&b'y'));
    streams.iter().for_each(|stream| stream.set_nonblocking(true).unwrap());
    while !streams.is_empty() {
        assert!(began.elapsed() < 4 * PATIENCE, "{} are still there", streams.len());
        let byte = *head.next().unwrap();
        streams.retain_mut(|stream| stream.write_all(&[byte]).is_ok() && !has_ended(stream));
        thread::sleep(PACE);
    }
}

/// Requests of a good caller on one connection, while memory stays within its budget.
fn serve_well(gateway: &Gateway, client: &mut Wire, requests: usize, memory_max: f64) {
    for request in 0..requests {
        client.send("GET /good HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(client.response().text(), "ok");
        if request % 10 == 0 {
            let memory = gateway.metric(MEMORY);
            assert!(memory <= memory_max, "{memory} of {memory_max}");
        }
    }
}

/// `count` callers that send slowly and `count` that do not read: each is ended by its bound, and nothing of
/// them is left.
fn crowd(count: usize, memory: usize) {
    let (address, deaf_answered) = origin();
    let limits = format!(
        "[limits]\nheader_timeout = \"5s\"\nwrite_timeout = \"5s\"\nmemory = \"{}MiB\"",
        memory / MIB
    );
    let mut setup = Setup::to(address).tables(&limits);
    // All of the crowd have one address.
    setup.audit = "segment_bytes = \"4MiB\"\nrefusals_per_second = 1000000\nagent_share_percent = 100";
    let gateway = setup.start();
    let mut client = gateway.connect();
    serve_well(&gateway, &mut client, 1, memory as f64);
    let deaf: Vec<_> = (0..count).map(|_| deaf(gateway.address)).collect();
    for _ in 0..count {
        deaf_answered.recv_timeout(PATIENCE).expect("all are forwarded");
    }
    let slow: Vec<_> = (0..count).map(|_| TcpStream::connect(gateway.address).unwrap()).collect();
    let slow = thread::spawn(|| trickle(slow));
    gateway.until("ringward_connections_accepted_total", (2 * count + 1) as f64);
    serve_well(&gateway, &mut client, 200, memory as f64);

    let mut good = 201;
    let began = Instant::now();
    while gateway.metric(CONNECTIONS) > 1.0 {
        assert!(began.elapsed() < 4 * PATIENCE, "{} are left", gateway.metric(CONNECTIONS));
        serve_well(&gateway, &mut client, 10, memory as f64);
        good += 10;
    }
    slow.join().unwrap();
    assert_eq!(hits(&gateway, "header_timeout"), count as f64);
    assert_eq!(hits(&gateway, "write_timeout"), count as f64);
    drop((client, deaf));
    gateway.until(CONNECTIONS, 0.0);
    gateway.until(MEMORY, 0.0);
    let log = gateway.stop((count + good) as u64, count as u64);
    let late = log.ends().iter().filter(|(cause, _)| *cause == Cause::Timeout).count();
    assert_eq!(late, count, "each that did not read");
}

#[test]
fn a_good_caller_is_served_among_a_thousand_slow_ones() {
    crowd(500, 128 * MIB);
}

/// As many as the descriptors of this process allow, with both ends of everything in it: 5,000 and 5,000 take
/// 32,000 descriptors; under a hard limit of 20,000 it is 3,000 and 3,000. For at most a minute.
#[test]
#[ignore = "thousands of connections"]
fn a_good_caller_is_served_among_ten_thousand_slow_ones() {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let hard = line.split_whitespace().nth(4).unwrap().parse().unwrap_or(1 << 20);
    // A slow sender has two, one that does not read has four with its upstream.
    let count = 5_000.min((hard - 2_000) / 6);
    println!("{count} slow senders, {count} that do not read; {hard} descriptors");
    crowd(count, 1024 * MIB);
}

/// One field of 32 KiB, or a hundred that are as long together: forwarded as they came.
#[test]
fn heads_as_large_as_allowed_are_forwarded() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    let one = format!("x: {}\r\n", "y".repeat(32 << 10));
    let many = format!("x: {}\r\n", "y".repeat(320)).repeat(99);
    for fields in [one, many] {
        let mut client = gateway.ask(format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n"));
        let mut served = upstream.accept();
        let head = served.raw_head();
        let count = head.iter().filter(|&&byte| byte == b'y').count();
        assert_eq!(count, fields.bytes().filter(|&byte| byte == b'y').count());
        served.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
        assert_eq!(client.response().text(), "ok");
    }
    gateway.until(CONNECTIONS, 0.0);
    gateway.until(MEMORY, 0.0);
    gateway.stop(2, 0);
}

/// Heads of 39 KiB that do not end, more of them than there is memory for.
#[test]
fn large_heads_that_do_not_end_stay_within_the_memory() {
    let (address, _) = origin();
    let limits = "[limits]\nheader_timeout = \"2s\"\nmemory = \"16MiB\"";
    let gateway = Setup::to(address).tables(limits).start();
    let bomb = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}", "y".repeat(39 << 10));
    let mut bombs = Vec::new();
    let mut most: f64 = 0.0;
    for number in 0..600 {
        match TcpStream::connect(gateway.address) {
            Ok(mut stream) => {
                stream.set_nonblocking(true).unwrap();
                // One that is turned away may be gone before it has sent this,
                let _ = stream.write(bomb.as_bytes());
                bombs.push(stream);
            }
            // or even before it knows that it was there.
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
        if number % 20 == 0 {
            most = most.max(gateway.metric(MEMORY));
        }
    }
    let began = Instant::now();
    while !bombs.is_empty() {
        assert!(began.elapsed() < PATIENCE, "{} are still there", bombs.len());
        bombs.retain(|stream| !has_ended(stream));
        most = most.max(gateway.metric(MEMORY));
    }
    assert!(most <= (16 * MIB) as f64 + OVERSHOOT_BYTES, "{most}");
    gateway.until(CONNECTIONS, 0.0);
    gateway.until(MEMORY, 0.0);
    let refused = hits(&gateway, "header_timeout") + hits(&gateway, "memory_head");
    let turned_away = hits(&gateway, "memory_connection");
    assert_eq!(refused + turned_away, 600.0, "{refused} {turned_away}");
    let mut client = gateway.connect();
    serve_well(&gateway, &mut client, 1, (16 * MIB) as f64);
    drop(client);
    let Gateway { dir, running, .. } = gateway;
    let audit = running.addresses.audit_dir.clone();
    assert_eq!(running.stop(PATIENCE), Ended::Drained);
    Log::of(dir, audit, Some((1, refused as u64)));
}

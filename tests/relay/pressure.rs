//! A fast sender against a slow reader: what is between them stays small, in both directions.

use super::{
    harness::{Setup, Upstream},
    wire::{PATIENCE, Whole, Wire},
};
use std::{
    fs,
    io::Write,
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

const MIB: usize = 1 << 20;
const BODY_BYTES: usize = 1024 * MIB;
/// A chunked one takes this test longer to read.
const CHUNKED_BYTES: usize = 256 * MIB;
/// What the process may grow by, with what other tests do meanwhile.
const GROWTH_BYTES_MAX: usize = 32 * MIB;
/// What may be under way, nearly all of it in the four buffers of the kernel.
const IN_FLIGHT_BYTES_MAX: usize = 64 * MIB;
/// A sender that cannot write for this long waits for its reader.
const STALL: Duration = Duration::from_millis(500);

/// What is recorded of a body waits for the disk, up to a bound of its own: little of it, so that a slow disk
/// is not taken for a gateway that holds what it relays.
const RECORD: &str = "record = { bodies = \"full\", max_bytes = \"1MiB\" }";

/// One at a time: they look at the memory of the whole process.
static ALONE: Mutex<()> = Mutex::new(());

fn resident_bytes() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// How the end of the body is known (RFC 9112 section 6).
#[derive(Clone, Copy, PartialEq)]
enum Framing {
    Length,
    Chunked,
}

impl Framing {
    fn bytes(self) -> usize {
        match self {
            Framing::Length => BODY_BYTES,
            Framing::Chunked => CHUNKED_BYTES,
        }
    }

    fn field(self) -> String {
        match self {
            Framing::Length => format!("content-length: {BODY_BYTES}"),
            Framing::Chunked => "transfer-encoding: chunked".to_owned(),
        }
    }

    /// One MiB of the body as it is sent.
    fn piece(self) -> Vec<u8> {
        let data = vec![b'x'; MIB];
        match self {
            Framing::Length => data,
            Framing::Chunked => [format!("{MIB:x}\r\n").as_bytes(), &data, b"\r\n"].concat(),
        }
    }
}

/// What happened to the sender.
struct Flood {
    sender: thread::JoinHandle<Wire>,
    /// Bytes that it could send while nobody read.
    stalled: mpsc::Receiver<usize>,
}

/// Sends a body, and says once that it cannot go on.
fn flood(mut from: Wire, framing: Framing) -> Flood {
    let (stall, stalled) = mpsc::channel();
    let sender = thread::spawn(move || {
        let piece = framing.piece();
        let total = piece.len() * (framing.bytes() / MIB);
        let (mut sent, mut stall) = (0, Some(stall));
        from.socket().set_write_timeout(Some(STALL)).unwrap();
        while sent < total {
            match from.socket().write(&piece[sent % piece.len()..]) {
                Ok(count) => sent += count,
                Err(error) => {
                    let stall = stall.take().unwrap_or_else(|| panic!("stalled for good: {error}"));
                    stall.send(sent).unwrap();
                    from.socket().set_write_timeout(Some(PATIENCE)).unwrap();
                }
            }
        }
        if framing == Framing::Chunked {
            from.send("0\r\n\r\n");
        }
        from
    });
    Flood { sender, stalled }
}

/// Reads nothing until the sender cannot go on, then all of the body; gives the most that memory grew.
fn sip(to: &mut Wire, framing: Framing, flood: &Flood, before: usize) -> usize {
    let stalled = flood.stalled.recv().expect("the sender must wait for its reader");
    assert!(stalled < IN_FLIGHT_BYTES_MAX, "{stalled} bytes were taken from the sender");
    let mut most = resident_bytes().saturating_sub(before);
    let mut taken = 0;
    while taken < framing.bytes() {
        let data = match framing {
            Framing::Length => to.exactly(MIB),
            Framing::Chunked => to.chunk().unwrap(),
        };
        assert!(!data.is_empty(), "the body ended early");
        taken += data.len();
        most = most.max(resident_bytes().saturating_sub(before));
    }
    if framing == Framing::Chunked {
        assert_eq!(to.chunk().unwrap(), b"");
    }
    assert_eq!(taken, framing.bytes());
    most
}

#[test]
fn a_slow_caller_slows_upstream() {
    slow_caller(Framing::Length);
}

#[test]
fn a_slow_caller_slows_upstream_chunked() {
    slow_caller(Framing::Chunked);
}

#[test]
fn a_slow_upstream_slows_the_caller() {
    slow_upstream(Framing::Length);
}

#[test]
fn a_slow_upstream_slows_the_caller_chunked() {
    slow_upstream(Framing::Chunked);
}

fn slow_caller(framing: Framing) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).route(RECORD).start();
    let mut client = gateway.ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let mut served = upstream.accept();
    served.request();
    served.send(format!("HTTP/1.1 200 OK\r\n{}\r\n\r\n", framing.field()));
    assert_eq!(client.head().status(), 200);
    let before = resident_bytes();
    let flood = flood(served, framing);
    let most = sip(&mut client, framing, &flood, before);
    assert!(most < GROWTH_BYTES_MAX, "grew by {most} bytes");
    flood.sender.join().unwrap();
    drop(client);
    let log = gateway.stop(1, 0);
    assert_eq!(log.outcomes().next().unwrap().response.sent, framing.bytes() as u64);
}

fn slow_upstream(framing: Framing) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).route(&format!("max_body = \"1GiB\"\n{RECORD}")).start();
    let client = gateway.ask(format!("POST / HTTP/1.1\r\nhost: a\r\n{}\r\n\r\n", framing.field()));
    let mut served = upstream.accept();
    served.head();
    let before = resident_bytes();
    let flood = flood(client, framing);
    let most = sip(&mut served, framing, &flood, before);
    assert!(most < GROWTH_BYTES_MAX, "grew by {most} bytes");
    served.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let response = flood.sender.join().unwrap().response();
    assert_eq!((&*response.text(), response.whole), ("ok", Whole::Yes));
    let log = gateway.stop(1, 0);
    assert_eq!(log.outcomes().next().unwrap().request.sent, framing.bytes() as u64);
}

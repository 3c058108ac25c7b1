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
/// What the process may grow by, with what other tests do meanwhile.
const GROWTH_BYTES_MAX: usize = 32 * MIB;
/// What may be under way, nearly all of it in the four buffers of the kernel.
const IN_FLIGHT_BYTES_MAX: usize = 64 * MIB;
/// A sender that cannot write for this long waits for its reader.
const STALL: Duration = Duration::from_millis(500);

/// One at a time: they look at the memory of the whole process.
static ALONE: Mutex<()> = Mutex::new(());

fn resident_bytes() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// What happened to the sender.
struct Flood {
    sender: thread::JoinHandle<Wire>,
    /// Bytes that it could send while nobody read.
    stalled: mpsc::Receiver<usize>,
}

/// Sends `BODY_BYTES`, and says once that it cannot go on.
fn flood(from: Wire) -> Flood {
    let (stall, stalled) = mpsc::channel();
    let sender = thread::spawn(move || {
        let block = vec![b'x'; MIB];
        let (mut sent, mut stall) = (0, Some(stall));
        from.socket().set_write_timeout(Some(STALL)).unwrap();
        while sent < BODY_BYTES {
            let part = &block[..MIB.min(BODY_BYTES - sent)];
            match from.socket().write(part) {
                Ok(count) => sent += count,
                Err(error) => {
                    let stall = stall.take().unwrap_or_else(|| panic!("stalled for good: {error}"));
                    stall.send(sent).unwrap();
                    from.socket().set_write_timeout(Some(PATIENCE)).unwrap();
                }
            }
        }
        from
    });
    Flood { sender, stalled }
}

/// Reads nothing until the sender cannot go on, then all of the body; gives the most that memory grew.
fn sip(to: &mut Wire, flood: &Flood, before: usize) -> usize {
    let stalled = flood.stalled.recv().expect("the sender must wait for its reader");
    assert!(stalled < IN_FLIGHT_BYTES_MAX, "{stalled} bytes were taken from the sender");
    let mut most = resident_bytes().saturating_sub(before);
    for _ in 0..BODY_BYTES / MIB {
        assert_eq!(to.exactly(MIB).len(), MIB);
        most = most.max(resident_bytes().saturating_sub(before));
    }
    most
}

#[test]
fn a_slow_caller_slows_upstream() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    let mut client = gateway.ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let mut served = upstream.accept();
    served.request();
    served.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {BODY_BYTES}\r\n\r\n"));
    assert_eq!(client.head().status(), 200);
    let before = resident_bytes();
    let flood = flood(served);
    let most = sip(&mut client, &flood, before);
    assert!(most < GROWTH_BYTES_MAX, "grew by {most} bytes");
    flood.sender.join().unwrap();
    drop(client);
    let log = gateway.stop(1, 0);
    assert_eq!(log.outcomes().next().unwrap().response.sent, BODY_BYTES as u64);
}

#[test]
fn a_slow_upstream_slows_the_caller() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).route("max_body = \"1GiB\"").start();
    let client = gateway.ask(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {BODY_BYTES}\r\n\r\n"));
    let mut served = upstream.accept();
    served.head();
    let before = resident_bytes();
    let flood = flood(client);
    let most = sip(&mut served, &flood, before);
    assert!(most < GROWTH_BYTES_MAX, "grew by {most} bytes");
    served.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let response = flood.sender.join().unwrap().response();
    assert_eq!((&*response.text(), response.whole), ("ok", Whole::Yes));
    let log = gateway.stop(1, 0);
    assert_eq!(log.outcomes().next().unwrap().request.sent, BODY_BYTES as u64);
}

//! What a connection takes that waits for its next request.

use crate::{COUNTS, Gateway, PATIENCE, REQUEST, counting, read_through};
use std::{
    io::Write,
    net::TcpStream,
    sync::PoisonError,
    time::{Duration, Instant},
};

/// Bytes of an idle connection, without what the allocator adds. To be lowered, never raised.
const IDLE_BYTES_MAX: i64 = 3 << 10;
const CONNECTIONS: usize = 200;

#[test]
fn an_idle_connection_takes_little_memory() {
    let _counts = COUNTS.lock().unwrap_or_else(PoisonError::into_inner);
    let mut gateway = Gateway::start("\"off\"");
    let address = gateway.running.addresses.listeners[0].1;
    let mut connections = Vec::new();
    let mut least = i64::MAX;
    counting::count(|| {
        for _ in 0..CONNECTIONS {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(REQUEST).unwrap();
            let mut buffer = Vec::new();
            assert!(read_through(&mut stream, b"{\"say\":\"because\"}", &mut buffer), "an answer");
            connections.push(stream);
        }
        // Buffers are given back once the sweeper has looked some times. Memory that is freed tells nobody:
        // it is looked at again and again.
        let deadline = Instant::now() + PATIENCE;
        while least > IDLE_BYTES_MAX && Instant::now() < deadline {
            least = least.min(counting::live() / CONNECTIONS as i64);
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    assert!(least <= IDLE_BYTES_MAX, "{least} bytes an idle connection, more than {IDLE_BYTES_MAX}");
    // Each of them can still be used.
    let mut buffer = Vec::new();
    for stream in &mut connections {
        stream.write_all(REQUEST).unwrap();
        assert!(read_through(stream, b"{\"say\":\"because\"}", &mut buffer), "an answer");
    }
    drop(connections);
    gateway.ask();
    gateway.stop();
}

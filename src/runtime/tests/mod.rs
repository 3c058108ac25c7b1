//! The runtime against real sockets, on both drivers.

mod listener;
mod mailbox;
mod stream;
mod tasks;
mod tls;

use super::{Connection, Driver, Listener, StartOptions, start, timeout};
use std::{
    future::Future,
    net::{SocketAddr, TcpStream as StdTcpStream},
    time::Duration,
};

/// No test waits longer than this.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs the test on both drivers, each on a thread of its own.
fn on_both<F: Future<Output = ()>>(test: impl Fn() -> F + Send + Sync) {
    for driver in [Driver::IoUring, Driver::Epoll] {
        if driver == Driver::IoUring
            && let Err(reason) = super::probe().io_uring
        {
            eprintln!("skipped on io_uring: {reason}");
            continue;
        }
        run(driver, &test);
    }
}

fn run<F: Future<Output = ()>>(driver: Driver, test: &(impl Fn() -> F + Send + Sync)) {
    let options = StartOptions { driver, entries: 256, cpu: None };
    let result = std::thread::scope(|scope| {
        let thread = scope.spawn(|| start(options, || timeout(PATIENCE, test())).expect("the driver starts"));
        thread.join()
    });
    match result {
        Ok(Some(())) => {}
        Ok(None) => panic!("{driver:?}: the test hangs"),
        Err(payload) => {
            eprintln!("on {driver:?}");
            std::panic::resume_unwind(payload);
        }
    }
}

fn local_listener() -> (Listener, SocketAddr) {
    let listener = Listener::bind(([127, 0, 0, 1], 0).into(), false).expect("a free port");
    let address = listener.local_addr();
    (listener, address)
}

/// Our side and a blocking peer.
async fn pair() -> (Connection, StdTcpStream) {
    let (listener, address) = local_listener();
    let peer = StdTcpStream::connect(address).expect("it listens");
    peer.set_nodelay(true).expect("a TCP socket");
    peer.set_read_timeout(Some(PATIENCE)).expect("a TCP socket");
    let (connection, _) = listener.accept().await.expect("it listens").expect("it was not stopped");
    (connection, peer)
}

/// Reads until `count` bytes have come.
async fn read_exactly(connection: &mut Connection, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < count {
        let buffer = connection.reader.read().await.expect("a healthy stream").expect("more bytes");
        bytes.extend_from_slice(&buffer);
    }
    bytes
}

/// Waits until `condition` holds.
async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        super::sleep(Duration::from_millis(1)).await;
    }
}

/// Descriptors that this process has open.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("procfs").count()
}

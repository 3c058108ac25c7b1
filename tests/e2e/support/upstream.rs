//! An upstream that a test scripts: it keeps the bytes of each connection and answers as it is told.

use super::DEADLINE;
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// A stream of either kind.
pub trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// One accepted connection, in the hands of the script.
pub struct Connection {
    pub stream: Box<dyn Stream>,
    received: Arc<Mutex<Vec<u8>>>,
    at: usize,
}

/// A running upstream; it lives as long as the test's process.
#[derive(Clone)]
pub struct Upstream {
    pub address: SocketAddr,
    received: Arc<Mutex<Vec<u8>>>,
    connections: Arc<AtomicUsize>,
}

impl Upstream {
    /// Runs `script` for each connection, on a thread of its own.
    pub fn start(script: impl Fn(Connection) + Send + Sync + 'static) -> Upstream {
        Upstream::start_with(|stream| Some(Box::new(stream)), script)
    }

    /// As [`Upstream::start`], with something between socket and script, such as TLS.
    pub fn start_with(
        wrap: impl Fn(TcpStream) -> Option<Box<dyn Stream>> + Send + Sync + 'static,
        script: impl Fn(Connection) + Send + Sync + 'static,
    ) -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let upstream = Upstream { address, received: Arc::default(), connections: Arc::default() };
        let shared = upstream.clone();
        let act = Arc::new((wrap, script));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                stream.set_read_timeout(Some(DEADLINE)).unwrap();
                let (act, received) = (act.clone(), shared.received.clone());
                thread::spawn(move || {
                    if let Some(stream) = act.0(stream) {
                        act.1(Connection { stream, received, at: 0 });
                    }
                });
            }
        });
        upstream
    }

    /// Answers every request with 200 and `body`, keep-alive.
    pub fn answering(body: &'static str) -> Upstream {
        Upstream::start(move |mut connection| {
            while connection.read_request() {
                connection.answer(body);
            }
        })
    }

    /// All bytes that came, of all connections.
    pub fn received(&self) -> String {
        String::from_utf8_lossy(&self.received.lock().unwrap()).into_owned()
    }

    /// How many connections came.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Connection {
    /// Reads one request with its body (by Content-Length or chunked); false where the connection ends.
    pub fn read_request(&mut self) -> bool {
        let mut request = vec![];
        while !is_whole(&request) {
            match self.read() {
                Some(bytes) => request.extend(bytes),
                None => return false,
            }
        }
        true
    }

    /// Reads what comes next; none at the end or a reset.
    pub fn read(&mut self) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 65536];
        let count = self.stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        buffer.truncate(count);
        self.received.lock().unwrap().extend_from_slice(&buffer);
        self.at += count;
        Some(buffer)
    }

    /// Answers with 200, a text and its length.
    pub fn answer(&mut self, body: &str) {
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n", body.len());
        // The other side may be gone; the script then finds out by reading.
        self.write((head + body).as_bytes());
    }

    /// Writes; a peer that is gone is no fault here.
    pub fn write(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).and_then(|()| self.stream.flush()).is_ok()
    }
}

/// Whether the bytes are a head with the body that it announces.
fn is_whole(request: &[u8]) -> bool {
    let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
    let body = &request[end + 4..];
    if head.contains("transfer-encoding: chunked") {
        return body.ends_with(b"0\r\n\r\n");
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    body.len() >= length.map_or(0, |length| length.trim().parse().expect("a length"))
}

//! Callers of the gateway and the upstream behind it. Both keep what they saw: a request that was answered
//! with success, or that reached the upstream, is acknowledged.

use std::{
    collections::HashSet,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// A caller that was turned away asks again after this time.
const PAUSE: Duration = Duration::from_millis(3);

/// An upstream that answers everything and keeps the target of each request.
#[derive(Clone)]
pub struct Upstream {
    pub address: SocketAddr,
    seen: Arc<Mutex<HashSet<String>>>,
    count: Arc<AtomicU64>,
}

impl Upstream {
    pub fn start() -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let upstream = Upstream { address, seen: Arc::default(), count: Arc::default() };
        let served = upstream.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let served = served.clone();
                thread::spawn(move || served.serve(stream));
            }
        });
        upstream
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut read = Vec::new();
        while let Ok(Some((head, _))) = message(&mut stream, &mut read) {
            let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
            self.seen.lock().unwrap().insert(target);
            self.count.fetch_add(1, Ordering::SeqCst);
            let answer = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 6\r\n\r\nthanks";
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }

    /// How many requests came.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// The targets that came since the last time.
    pub fn take(&self) -> HashSet<String> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

/// One answer that a caller got.
#[derive(Clone, Debug)]
pub struct Answer {
    pub target: String,
    pub status: u16,
    pub at: Instant,
}

/// What callers ask for.
#[derive(Clone)]
pub struct Wanted {
    /// Routes that take turns.
    pub routes: &'static [&'static str],
    pub callers: u64,
    /// Bytes of each body; every 16th is ten times as long.
    pub body: usize,
    /// Makes the targets of this load differ from all others.
    pub tag: u64,
}

/// Callers that ask until they are told to stop.
pub struct Load {
    callers: Vec<JoinHandle<Vec<Answer>>>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// Answers with success and others.
    served: AtomicU64,
    refused: AtomicU64,
}

impl Load {
    pub fn start(address: &str, wanted: &Wanted) -> Load {
        let shared = Arc::<Shared>::default();
        let start = |caller| {
            let (address, wanted, shared) = (address.to_owned(), wanted.clone(), Arc::clone(&shared));
            thread::spawn(move || call_until_stopped(&address, &wanted, caller, &shared))
        };
        let callers = (0..wanted.callers).map(start).collect();
        Load { callers, shared }
    }

    /// Answers with success so far.
    pub fn served(&self) -> u64 {
        self.shared.served.load(Ordering::SeqCst)
    }

    /// Other answers so far.
    pub fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::SeqCst)
    }

    /// Ends it, and gives all answers. Callers whose gateway is gone have ended by themselves.
    pub fn stop(self) -> Vec<Answer> {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
    }
}

fn call_until_stopped(address: &str, wanted: &Wanted, caller: u64, shared: &Shared) -> Vec<Answer> {
    let (mut answers, mut connection) = (Vec::new(), None);
    for number in 0.. {
        if shared.stop.load(Ordering::SeqCst) {
            break;
        }
        let route = wanted.routes[number as usize % wanted.routes.len()];
        let target = format!("/{route}/{}/{caller}/{number}", wanted.tag);
        let body = if number % 16 == 15 { wanted.body * 10 } else { wanted.body };
        if connection.is_none() {
            let Ok(made) = Caller::connect(address) else { break };
            connection = Some(made);
        }
        let asked = connection.as_mut().map(|caller| caller.ask(&target, body));
        let Some(Ok(status)) = asked else {
            connection = None;
            continue;
        };
        answers.push(Answer { target, status, at: Instant::now() });
        if status == 200 {
            shared.served.fetch_add(1, Ordering::SeqCst);
        } else {
            shared.refused.fetch_add(1, Ordering::SeqCst);
            // The gateway may close behind a refusal.
            connection = None;
            thread::park_timeout(PAUSE);
        }
    }
    answers
}

/// One connection of a caller.
pub struct Caller {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Caller {
    /// # Errors
    /// Nobody listens there.
    pub fn connect(address: &str) -> io::Result<Caller> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Caller { stream, read: Vec::new() })
    }

    /// Sends a request with a body of so many bytes.
    ///
    /// # Errors
    /// The connection ended.
    pub fn send(&mut self, target: &str, body: usize) -> io::Result<()> {
        let mut request =
            format!("POST {target} HTTP/1.1\r\nhost: gateway.test\r\ncontent-length: {body}\r\n\r\n")
                .into_bytes();
        request.extend(target.bytes().cycle().take(body));
        self.stream.write_all(&request)
    }

    /// The status of the next answer, once all of it is there.
    ///
    /// # Errors
    /// The connection ended before.
    pub fn status(&mut self) -> io::Result<u16> {
        let (head, _) = message(&mut self.stream, &mut self.read)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        status.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// # Errors
    /// The connection ended before the answer was there.
    pub fn ask(&mut self, target: &str, body: usize) -> io::Result<u16> {
        // A refusal may come while the body is being sent.
        let sent = self.send(target, body);
        self.status().or_else(|error| sent.and(Err(error)))
    }
}

/// Reads one HTTP/1.1 message: its head and its body. `None` where the connection ends before it.
fn message(stream: &mut TcpStream, read: &mut Vec<u8>) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut fill = |read: &mut Vec<u8>| -> io::Result<bool> {
        let mut buffer = [0; 16 << 10];
        let count = stream.read(&mut buffer)?;
        read.extend_from_slice(&buffer[..count]);
        Ok(count > 0)
    };
    let end = loop {
        if let Some(found) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            break found + 4;
        }
        if !fill(read)? {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&read[..end]).into_owned();
    let lower = head.to_ascii_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.map_or(Ok(0), |text| text.trim().parse()).map_err(io::Error::other)?;
    assert!(!lower.contains("transfer-encoding"), "lengths are known here: {head}");
    while read.len() < end + length {
        if !fill(read)? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let body = read.drain(..end + length).skip(end).collect();
    Ok(Some((head, body)))
}

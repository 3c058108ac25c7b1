//! One side of a connection as the tests see it: plain blocking sockets, and HTTP/1.1 read by hand, so that
//! nothing of the gateway is used to judge it.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

/// Nothing takes longer than this, unless something is wrong.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// FIN, and close_notify with TLS.
    Clean,
    /// RST, or with TLS no close_notify.
    Cut,
}

/// Whether a message came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whole {
    Yes,
    No(End),
}

/// Start line and fields; names in lower case.
#[derive(Clone, Debug)]
pub struct Head {
    pub start: String,
    pub fields: Vec<(String, String)>,
}

/// A message with its body, without the framing.
#[derive(Clone, Debug)]
pub struct Message {
    pub head: Head,
    pub body: Vec<u8>,
    pub whole: Whole,
}

impl Head {
    /// The field's value; panics if it is there twice.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(own, _)| own == name).map(|(_, value)| &**value);
        let first = values.next();
        assert_eq!(values.next(), None, "{name} twice in {self:?}");
        first
    }

    pub fn status(&self) -> u16 {
        let status = self.start.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        status.and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("no status: {self:?}"))
    }
}

impl Message {
    pub fn status(&self) -> u16 {
        self.head.status()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Asserts a refusal of the gateway: status, code, a text in the detail.
    #[track_caller]
    pub fn is_refusal(&self, status: u16, code: &str, detail: &str) {
        assert_eq!(self.head.get("x-ringward-response"), Some("gateway"), "{self:?}");
        let json: serde_json::Value = serde_json::from_slice(&self.body).expect("a refusal is JSON");
        assert_eq!((self.status(), json["code"].as_str()), (status, Some(code)), "{json}");
        let said = json["detail"].as_str().unwrap_or_default();
        assert!(said.contains(detail), "{said:?} says nothing of {detail:?}");
        assert_eq!(self.whole, Whole::Yes);
    }
}

pub struct Wire {
    stream: Box<dyn Stream>,
    socket: TcpStream,
    read: Vec<u8>,
}

impl Wire {
    pub fn new(socket: TcpStream) -> Wire {
        let stream = socket.try_clone().unwrap();
        Wire::over(stream, socket)
    }

    /// `stream` goes over `socket`.
    pub fn over(stream: impl Stream + 'static, socket: TcpStream) -> Wire {
        socket.set_nonblocking(false).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Wire { stream: Box::new(stream), socket, read: Vec::new() }
    }

    pub fn connect(address: SocketAddr) -> Wire {
        Wire::new(TcpStream::connect(address).unwrap())
    }

    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Wire {
        self.try_send(bytes).expect("the peer takes it");
        self
    }

    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())?;
        self.stream.flush()
    }

    /// A byte at a time.
    pub fn slowly(&mut self, bytes: impl AsRef<[u8]>) -> &mut Wire {
        for byte in bytes.as_ref().chunks(1) {
            self.send(byte);
        }
        self
    }

    /// Whether bytes, or the end, have arrived. Not for TLS.
    pub fn is_readable(&self) -> bool {
        self.socket.set_nonblocking(true).unwrap();
        let peeked = self.socket.peek(&mut [0]);
        self.socket.set_nonblocking(false).unwrap();
        !self.read.is_empty() || peeked.is_ok()
    }

    /// Sends nothing more; the connection stays open for what comes.
    pub fn finish(&self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// Closes with RST.
    pub fn reset(self) {
        socket2::SockRef::from(&self.socket).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Reads more; `None` if bytes came, else how the connection ended.
    fn more(&mut self) -> Option<End> {
        let mut buffer = vec![0; 64 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => Some(End::Clean),
            Ok(count) => {
                self.read.extend_from_slice(&buffer[..count]);
                None
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!(
                    "nothing came within {PATIENCE:?}; before it: {:?}",
                    String::from_utf8_lossy(&self.read)
                )
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => None,
            Err(_) => Some(End::Cut),
        }
    }

    fn until(&mut self, is_enough: impl Fn(&[u8]) -> Option<usize>) -> Result<Vec<u8>, End> {
        loop {
            if let Some(length) = is_enough(&self.read) {
                return Ok(self.read.drain(..length).collect());
            }
            if let Some(end) = self.more() {
                return Err(end);
            }
        }
    }

    /// The bytes of the next head, with its blank line.
    #[track_caller]
    pub fn raw_head(&mut self) -> Vec<u8> {
        self.until(head_length).unwrap_or_else(|end| panic!("no head came: {end:?}"))
    }

    pub fn try_head(&mut self) -> Result<Head, End> {
        let head = self.until(head_length)?;
        let text = String::from_utf8(head).expect("a head is text");
        let mut lines = text.trim_end_matches("\r\n").split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let field = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("no field: {line:?}"));
            (name.to_ascii_lowercase(), value.to_owned())
        };
        Ok(Head { start, fields: lines.map(field).collect() })
    }

    #[track_caller]
    pub fn head(&mut self) -> Head {
        self.try_head().unwrap_or_else(|end| panic!("no head came: {end:?}"))
    }

    #[track_caller]
    pub fn exactly(&mut self, count: usize) -> Vec<u8> {
        let read = self.until(|read| (read.len() >= count).then_some(count));
        read.unwrap_or_else(|end| panic!("{end:?} after {} of {count} bytes", self.read.len()))
    }

    /// The data of the next chunk; empty for the last one, with its (empty) trailer section.
    pub fn chunk(&mut self) -> Result<Vec<u8>, End> {
        let line = self.until(|read| read.windows(2).position(|two| two == b"\r\n").map(|at| at + 2))?;
        let size = std::str::from_utf8(&line[..line.len() - 2]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap_or_else(|_| panic!("no chunk size: {size:?}"));
        let mut data = self.until(|read| (read.len() >= size + 2).then_some(size + 2))?;
        assert_eq!(data.split_off(size), b"\r\n");
        Ok(data)
    }

    /// The next request, whole.
    #[track_caller]
    pub fn request(&mut self) -> Message {
        let head = self.head();
        self.body(head, false)
    }

    /// The next response to anything but HEAD.
    #[track_caller]
    pub fn response(&mut self) -> Message {
        let head = self.head();
        self.body(head, true)
    }

    /// The next response to HEAD.
    #[track_caller]
    pub fn response_to_head(&mut self) -> Message {
        let head = self.head();
        Message { head, body: Vec::new(), whole: Whole::Yes }
    }

    /// The body behind `head`.
    pub fn body(&mut self, head: Head, is_response: bool) -> Message {
        let bodiless = is_response && (head.status() < 200 || matches!(head.status(), 204 | 304));
        let length = head.get("content-length").map(|length| length.parse::<usize>().unwrap());
        let is_chunked = head.get("transfer-encoding").is_some();
        assert!(length.is_none() || !is_chunked, "two lengths: {head:?}");
        let mut body = Vec::new();
        let whole = if bodiless {
            Whole::Yes
        } else if is_chunked {
            loop {
                match self.chunk() {
                    Ok(data) if data.is_empty() => break Whole::Yes,
                    Ok(data) => body.extend(data),
                    Err(end) => break Whole::No(end),
                }
            }
        } else if let Some(length) = length {
            match self.until(|read| (read.len() >= length).then_some(length)) {
                Ok(read) => {
                    body = read;
                    Whole::Yes
                }
                Err(end) => {
                    body = std::mem::take(&mut self.read);
                    Whole::No(end)
                }
            }
        } else if is_response {
            let (rest, end) = self.rest();
            body = rest;
            if end == End::Clean { Whole::Yes } else { Whole::No(end) }
        } else {
            Whole::Yes
        };
        Message { head, body, whole }
    }

    /// Everything up to the end of the connection.
    pub fn rest(&mut self) -> (Vec<u8>, End) {
        loop {
            if let Some(end) = self.more() {
                return (std::mem::take(&mut self.read), end);
            }
        }
    }

    /// Asserts that nothing more comes but the end, and gives that.
    #[track_caller]
    pub fn end(&mut self) -> End {
        let (rest, end) = self.rest();
        assert_eq!(String::from_utf8_lossy(&rest), "", "bytes before the end");
        end
    }
}

/// Length of the head at the start of what was read, once it is whole.
fn head_length(read: &[u8]) -> Option<usize> {
    read.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

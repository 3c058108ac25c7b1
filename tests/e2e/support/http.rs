//! A client that sends any bytes and reads HTTP/1.1 responses, noticing those that end too early.

use super::DEADLINE;
use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
};

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

/// A response as it came.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
    /// Whether the body ended as its framing said, and not because the connection did.
    pub is_whole: bool,
}

impl Response {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The first header of a name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (own, value) = line.split_once(':')?;
            own.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl Client {
    /// Connects to `http://HOST:PORT` or `HOST:PORT`.
    pub fn connect(address: &str) -> Client {
        let address = address.trim_start_matches("http://");
        let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, read: vec![] }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends a request with a body, keep-alive, to host `gateway.test`.
    pub fn request(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: gateway.test\r\n");
        headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        if !body.is_empty() {
            head += &format!("content-length: {}\r\n", body.len());
        }
        self.send(head + "\r\n" + body);
    }

    /// Sends a request and reads its response.
    pub fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        self.request(method, path, headers, body);
        self.response(method == "HEAD").expect("the connection ended before the response began")
    }

    /// Reads the next response; none where the connection ended or was reset before its head was there.
    pub fn response(&mut self, to_head: bool) -> Option<Response> {
        let end = loop {
            match self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(found) => break found + 4,
                None if self.fill() => {}
                None => return None,
            }
        };
        let head = String::from_utf8_lossy(&self.read[..end]).into_owned();
        self.read.drain(..end);
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let mut response = Response { status, head, body: vec![], is_whole: true };
        if status < 200 && status != 101 {
            return self.response(to_head);
        }
        if to_head || status == 204 || status == 304 {
            return Some(response);
        }
        let length = response.header("content-length").map(|text| text.parse().expect("a length"));
        if response.header("transfer-encoding").is_some_and(|coding| coding.ends_with("chunked")) {
            response.is_whole = self.chunks(&mut response.body).is_some();
        } else if let Some(length) = length {
            while self.read.len() < length && self.fill() {}
            response.is_whole = self.read.len() >= length;
            response.body = self.read.drain(..length.min(self.read.len())).collect();
        } else {
            while self.fill() {}
            response.body = std::mem::take(&mut self.read);
        }
        Some(response)
    }

    /// Reads chunks into `body`; none where the connection ended before the last one.
    fn chunks(&mut self, body: &mut Vec<u8>) -> Option<()> {
        loop {
            let line = self.line()?;
            let size = line.split(';').next().and_then(|size| usize::from_str_radix(size.trim(), 16).ok());
            let size = size.expect("a chunk's size");
            while self.read.len() < size + 2 {
                if !self.fill() {
                    body.append(&mut self.read);
                    return None;
                }
            }
            body.extend(self.read.drain(..size));
            assert_eq!(self.read.drain(..2).as_slice(), b"\r\n");
            if size == 0 {
                return Some(());
            }
        }
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.read.windows(2).position(|two| two == b"\r\n") {
                let line = self.read.drain(..end + 2).take(end).collect();
                return Some(String::from_utf8(line).expect("an ASCII line"));
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// Reads on until at least `count` bytes of the body wait here, without taking them.
    pub fn wait_for(&mut self, needle: &[u8]) {
        while !self.read.windows(needle.len()).any(|part| part == needle) {
            assert!(self.fill(), "ended before {:?}", String::from_utf8_lossy(needle));
        }
    }

    /// Whether the other side has ended the connection, cleanly or not, with nothing before it.
    pub fn is_ended(&mut self) -> bool {
        self.read.is_empty() && !self.fill()
    }

    /// Says that nothing more comes, and goes on reading.
    pub fn finish(&mut self) {
        self.stream.shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// Reads what is there; false at the end, be it a clean one or a reset. Panics at the deadline.
    fn fill(&mut self) -> bool {
        let mut buffer = [0; 16384];
        match self.stream.read(&mut buffer) {
            Ok(count) => {
                self.read.extend_from_slice(&buffer[..count]);
                count > 0
            }
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => false,
            Err(error) => panic!("nothing came: {error}"),
        }
    }
}

/// One request on a connection of its own.
pub fn ask(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
    Client::connect(address).ask(method, path, headers, body)
}

/// One request to the admin interface on a unix socket.
pub fn ask_admin(
    socket: &std::path::Path,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Response {
    let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
    headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
    if !body.is_empty() {
        head += &format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
    }
    stream.write_all((head + "\r\n" + body).as_bytes()).unwrap();
    let mut bytes = vec![];
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let body = bytes.split_off(end);
    let head = String::from_utf8(bytes).unwrap();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    Response { status, head, body, is_whole: true }
}

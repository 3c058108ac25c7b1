//! A small server whose answers a test decides; a thread a connection, in clear text or TLS.
#![allow(dead_code)]

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
};

/// What came.
pub struct Request {
    pub line: String,
    /// Names in lower case.
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// What is answered.
pub struct Answer {
    bytes: Vec<u8>,
    fields: String,
    status: u16,
    is_raw: bool,
    is_never: bool,
    closes: bool,
}

impl Answer {
    pub fn new(status: u16, body: &str) -> Answer {
        let (bytes, fields) = (body.as_bytes().to_vec(), String::new());
        Answer { bytes, fields, status, is_raw: false, is_never: false, closes: false }
    }

    pub fn raw(bytes: &str) -> Answer {
        Answer { is_raw: true, closes: true, ..Answer::new(0, bytes) }
    }

    /// Nothing, until the caller has gone.
    pub fn never() -> Answer {
        Answer { is_never: true, ..Answer::new(0, "") }
    }

    pub fn field(mut self, name: &str, value: &str) -> Answer {
        self.fields.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    /// The connection ends behind it, and nothing says so.
    pub fn close(mut self) -> Answer {
        self.closes = true;
        self
    }

    fn wire(&self) -> Vec<u8> {
        if self.is_raw {
            return self.bytes.clone();
        }
        let mut head = format!("HTTP/1.1 {} X\r\n{}", self.status, self.fields);
        if !self.fields.contains("content-length") {
            head.push_str(&format!("content-length: {}\r\n", self.bytes.len()));
        }
        [head.as_bytes(), b"\r\n", &self.bytes].concat()
    }
}

type Handler = Arc<dyn Fn(&Request) -> Answer + Send + Sync>;

/// Serves until the process ends.
pub struct Server {
    url: String,
}

impl Server {
    pub fn start(handler: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Server {
        Server::serve(Arc::new(handler), None)
    }

    pub fn start_tls(
        tls: ServerConfig,
        handler: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Server {
        Server::serve(Arc::new(handler), Some(Arc::new(tls)))
    }

    fn serve(handler: Handler, tls: Option<Arc<ServerConfig>>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let scheme = if tls.is_some() { "https" } else { "http" };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (handler, tls) = (handler.clone(), tls.clone());
                thread::spawn(move || connection(stream, &handler, tls));
            }
        });
        Server { url: format!("{scheme}://localhost:{}", address.port()) }
    }

    pub fn url(&self) -> &str {
        &self.url
    }
}

/// A caller that goes away in the middle ends its own connection only.
fn connection(stream: TcpStream, handler: &Handler, tls: Option<Arc<ServerConfig>>) {
    let _ = stream.set_nodelay(true);
    match tls {
        None => talk(&mut BufReader::new(stream), handler),
        Some(config) => {
            let Ok(session) = ServerConnection::new(config) else { return };
            talk(&mut BufReader::new(StreamOwned::new(session, stream)), handler);
        }
    }
}

fn talk<S: Read + Write>(stream: &mut BufReader<S>, handler: &Handler) {
    while let Some(request) = read(stream) {
        let answer = handler(&request);
        if answer.is_never {
            let _ = stream.read(&mut [0]);
            return;
        }
        if stream.get_mut().write_all(&answer.wire()).is_err() || answer.closes {
            return;
        }
        let _ = stream.get_mut().flush();
    }
}

fn read(stream: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    let mut next = || {
        line.clear();
        stream.read_line(&mut line).ok().filter(|count| *count > 0)?;
        Some(line.trim_end().to_owned())
    };
    let first = next()?;
    let mut fields = vec![];
    loop {
        let line = next()?;
        let Some((name, value)) = line.split_once(':') else { break };
        fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = fields.iter().find(|(name, _)| name == "content-length");
    let length = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(Request { line: first, fields, body })
}

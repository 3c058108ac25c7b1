use super::Recording;
use crate::limits::{HEAD_BYTES_MAX, RECEIVE_BYTES_MAX};
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Requests that are answered with the recording and are no part of it: method and path.
const CONTROLS: [(&[u8], Control); 2] =
    [(b"GET /recorded", Control::Show), (b"DELETE /recorded", Control::Forget)];
/// What every other request gets.
const BODY: &[u8] = b"recorded\n";

/// What a control request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Control {
    Show,
    Forget,
}

/// Why a connection is over.
enum End {
    /// The client closed it, or it broke.
    Gone,
    /// The client sent what is no HTTP/1.1; what follows is only recorded.
    Unreadable,
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> End {
        End::Gone
    }
}

/// Answers and records until the client closes the connection.
pub(super) async fn run(stream: TcpStream, number: u64, recording: Recording) {
    // A connection whose option cannot be set is gone already.
    drop(stream.set_nodelay(true));
    let mut connection = Connection { stream, number, recording, waiting: Vec::new(), silent: false };
    loop {
        match connection.exchange().await {
            Ok(true) => {}
            Ok(false) | Err(End::Gone) => return,
            Err(End::Unreadable) => break,
        }
    }
    let refusal = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    // The client may be gone; the rest is recorded all the same.
    drop(connection.stream.write_all(refusal).await);
    loop {
        let rest = std::mem::take(&mut connection.waiting);
        connection.record(&rest);
        if connection.fill().await.is_err() {
            return;
        }
    }
}

/// What matters of a request's head.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    no_body: bool,
    expects: bool,
    close: bool,
    framing: Framing,
}

#[derive(Debug, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
}

struct Connection {
    stream: TcpStream,
    number: u64,
    recording: Recording,
    /// Received, not yet looked at, and not yet recorded.
    waiting: Vec<u8>,
    /// Whether the request at hand is a control.
    silent: bool,
}

impl Connection {
    /// One request and its answer; whether another may follow.
    async fn exchange(&mut self) -> Result<bool, End> {
        let control = self.control().await?;
        self.silent = control.is_some();
        let head = self.head().await?;
        let head = parse(&head).ok_or(End::Unreadable)?;
        if head.expects {
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        match head.framing {
            Framing::Length(length) => self.skip(length).await?,
            Framing::Chunked => self.skip_chunks().await?,
        }
        let (status, kind, body) = self.reply(control);
        let close = if head.close { "Connection: close\r\n" } else { "" };
        let mut answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{close}\r\n",
            body.len()
        )
        .into_bytes();
        if !head.no_body {
            answer.extend_from_slice(&body);
        }
        self.stream.write_all(&answer).await?;
        Ok(!head.close)
    }

    fn reply(&self, control: Option<Control>) -> (&'static str, &'static str, Vec<u8>) {
        match control {
            None => ("200 OK", "text/plain", BODY.to_vec()),
            Some(Control::Forget) => {
                self.recording.forget();
                ("200 OK", "application/json", b"[]".to_vec())
            }
            Some(Control::Show) => match self.recording.json() {
                Some(list) => ("200 OK", "application/json", list.into_bytes()),
                None => ("507 Insufficient Storage", "text/plain", b"more came than is kept\n".to_vec()),
            },
        }
    }

    /// Whether the next request is a control: nothing of it is recorded before that is known.
    async fn control(&mut self) -> Result<Option<Control>, End> {
        self.silent = true;
        loop {
            let mut undecided = self.waiting.is_empty();
            for (start, control) in CONTROLS {
                let shared = self.waiting.len().min(start.len());
                if self.waiting[..shared] != start[..shared] {
                    continue;
                }
                match self.waiting.get(start.len()) {
                    Some(b' ' | b'?') => return Ok(Some(control)),
                    Some(_) => {}
                    None => undecided = true,
                }
            }
            if !undecided {
                return Ok(None);
            }
            if let Err(end) = self.fill().await {
                self.silent = false;
                let rest = std::mem::take(&mut self.waiting);
                self.record(&rest);
                return Err(end);
            }
        }
    }

    /// The head with its blank line.
    async fn head(&mut self) -> Result<Vec<u8>, End> {
        let mut head = Vec::new();
        loop {
            let line = self.line(HEAD_BYTES_MAX - head.len()).await?;
            head.extend_from_slice(&line);
            if matches!(line.as_slice(), b"\r\n" | b"\n") {
                return Ok(head);
            }
        }
    }

    async fn skip(&mut self, mut length: u64) -> Result<(), End> {
        while length > 0 {
            if self.waiting.is_empty() {
                self.fill().await?;
            }
            let here = self.waiting.len().min(usize::try_from(length).unwrap_or(usize::MAX));
            self.take(here);
            length -= here as u64;
        }
        Ok(())
    }

    /// RFC 9112 section 7.1.
    async fn skip_chunks(&mut self) -> Result<(), End> {
        loop {
            let line = self.line(HEAD_BYTES_MAX).await?;
            let digits = line.split(|byte| b";\r\n \t".contains(byte)).next().unwrap_or_default();
            let size = std::str::from_utf8(digits).ok().and_then(|text| u64::from_str_radix(text, 16).ok());
            match size.ok_or(End::Unreadable)? {
                0 => break,
                size => self.skip(size).await?,
            }
            if !matches!(self.line(2).await?.as_slice(), b"\r\n" | b"\n") {
                return Err(End::Unreadable);
            }
        }
        // The trailer section ends like a head.
        self.head_end().await
    }

    async fn head_end(&mut self) -> Result<(), End> {
        while !matches!(self.line(HEAD_BYTES_MAX).await?.as_slice(), b"\r\n" | b"\n") {}
        Ok(())
    }

    /// The next line with its end, of at most `bytes_max`. Recorded as it comes.
    async fn line(&mut self, bytes_max: usize) -> Result<Vec<u8>, End> {
        let mut line = Vec::new();
        loop {
            let end = memchr::memchr(b'\n', &self.waiting).map_or(self.waiting.len(), |at| at + 1);
            line.extend_from_slice(&self.take(end));
            if line.len() > bytes_max {
                return Err(End::Unreadable);
            }
            if line.ends_with(b"\n") {
                return Ok(line);
            }
            self.fill().await?;
        }
    }

    /// Takes the first `count` bytes of what waits, and records them.
    fn take(&mut self, count: usize) -> Vec<u8> {
        let rest = self.waiting.split_off(count);
        let taken = std::mem::replace(&mut self.waiting, rest);
        self.record(&taken);
        taken
    }

    fn record(&self, bytes: &[u8]) {
        if !self.silent {
            self.recording.append(self.number, bytes);
        }
    }

    /// Receives something.
    async fn fill(&mut self) -> Result<(), End> {
        self.waiting.reserve(RECEIVE_BYTES_MAX);
        match self.stream.read_buf(&mut self.waiting).await? {
            0 => Err(End::Gone),
            _ => Ok(()),
        }
    }
}

/// `None`: no HTTP/1 request, or one whose length nobody can tell.
fn parse(head: &[u8]) -> Option<Head> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.lines();
    let mut start = lines.next()?.split(' ');
    let (method, _, version) = (start.next()?, start.next()?, start.next()?);
    if start.next().is_some() || !version.starts_with("HTTP/1.") {
        return None;
    }
    let mut parsed = Head {
        no_body: method == "HEAD",
        expects: false,
        close: version == "HTTP/1.0",
        framing: Framing::Length(0),
    };
    for line in lines.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':')?;
        let value = value.trim().to_ascii_lowercase();
        match name.to_ascii_lowercase().as_str() {
            "content-length" if parsed.framing == Framing::Length(0) => {
                let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
                parsed.framing = Framing::Length(value.parse().ok().filter(|_| digits)?);
            }
            "transfer-encoding" if value == "chunked" => parsed.framing = Framing::Chunked,
            "transfer-encoding" => return None,
            "connection" => parsed.close |= value.split(',').any(|option| option.trim() == "close"),
            "expect" => parsed.expects = value == "100-continue",
            _ => {}
        }
    }
    Some(parsed)
}

//! Single requests outside of the load, one after the other: whether the target answers, tokens, metrics.

use crate::{
    exit::Failure,
    limits,
    target::{self, Url},
    wire::{Decoder, Event, Want},
};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    sync::Arc,
    time::Instant,
};

/// What was answered.
#[derive(Debug)]
pub struct Page {
    pub status: u16,
    pub body: Vec<u8>,
}

trait Connection: Read + Write {}
impl<T: Read + Write> Connection for T {}

/// The first address of the target that takes a connection, with TLS where the URL says so.
///
/// # Errors
/// None does: exit code 5, with what was tried.
pub fn reach(url: &Url, tls: &Arc<ClientConfig>) -> Result<SocketAddr, Failure> {
    let mut last = String::new();
    for address in url.resolve()? {
        match connect(address, url, tls) {
            Ok(_) => return Ok(address),
            Err(error) => last = format!("{address}: {error}"),
        }
    }
    let help = match (url.tls, last.contains("certificate")) {
        (true, true) => "give its authority with --ca FILE, or test with --insecure",
        _ => "is it running, and is this its address?",
    };
    Err(Failure::unreachable(format!("cannot reach {}: {last}: {help}", url.place())))
}

fn connect(address: SocketAddr, url: &Url, tls: &Arc<ClientConfig>) -> io::Result<Box<dyn Connection>> {
    let stream = TcpStream::connect_timeout(&address, limits::PAGE_TIMEOUT)?;
    stream.set_read_timeout(Some(limits::PAGE_TIMEOUT))?;
    stream.set_write_timeout(Some(limits::PAGE_TIMEOUT))?;
    stream.set_nodelay(true)?;
    if !url.tls {
        return Ok(Box::new(stream));
    }
    let name = target::server_name(url).map_err(|failure| io::Error::other(failure.message))?;
    let session = ClientConnection::new(tls.clone(), name).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(session, stream);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(Box::new(stream))
}

/// Sends one request and reads its answer.
///
/// # Errors
/// No connection, no answer in time, or none that is HTTP: what happened, without what was sent.
pub fn ask(
    url: &Url,
    tls: &Arc<ClientConfig>,
    method: &str,
    fields: &[(&str, &str)],
    body: &[u8],
) -> Result<Page, String> {
    let mut last = format!("{} has no address", url.place());
    for address in url.resolve().map_err(|failure| failure.message)? {
        match connect(address, url, tls) {
            Ok(mut stream) => return exchange(&mut *stream, url, method, fields, body),
            Err(error) => last = format!("{address}: {error}"),
        }
    }
    Err(last)
}

/// As [`ask`] with GET, over a Unix socket.
///
/// # Errors
/// As [`ask`].
pub fn ask_socket(socket: &Path, path: &str) -> Result<Page, String> {
    let stream = UnixStream::connect(socket).and_then(|stream| {
        stream.set_read_timeout(Some(limits::PAGE_TIMEOUT))?;
        stream.set_write_timeout(Some(limits::PAGE_TIMEOUT))?;
        Ok(stream)
    });
    let mut stream = stream.map_err(|error| format!("{}: {error}", socket.display()))?;
    let url = Url::parse(&format!("http://localhost{path}"))?;
    exchange(&mut stream, &url, "GET", &[], b"")
}

fn exchange(
    stream: &mut dyn Connection,
    url: &Url,
    method: &str,
    fields: &[(&str, &str)],
    body: &[u8],
) -> Result<Page, String> {
    let mut request = format!("{method} {} HTTP/1.1\r\nhost: {}\r\n", url.path, url.authority).into_bytes();
    for (name, value) in fields {
        request.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    let length = body.len();
    request.extend_from_slice(format!("connection: close\r\ncontent-length: {length}\r\n\r\n").as_bytes());
    request.extend_from_slice(body);
    stream.write_all(&request).map_err(|error| error.to_string())?;
    stream.flush().map_err(|error| error.to_string())?;
    read(stream).map_err(|error| format!("{}: {error}", url.place()))
}

fn read(stream: &mut dyn Connection) -> Result<Page, String> {
    let deadline = Instant::now() + limits::PAGE_TIMEOUT;
    let (mut decoder, mut page) = (Decoder::new(false, Want::default()), Page { status: 0, body: vec![] });
    let (mut buffer, mut filled) = (vec![0; limits::RECEIVE_BYTES_MAX], 0);
    loop {
        let count = match stream.read(&mut buffer[filled..]) {
            // TLS peers that end without saying so, and plain ones.
            Ok(0) => return decoder.finish().map(|()| page).map_err(|error| error.to_string()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return decoder.finish().map(|()| page).map_err(|error| error.to_string());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.to_string()),
            Ok(count) => count,
        };
        filled += count;
        let mut input = &buffer[..filled];
        while let Some(event) = decoder.next(&mut input).map_err(|error| error.to_string())? {
            match event {
                Event::Head(head) => page.status = head.status,
                Event::Data(data) if page.body.len() + data.len() > limits::PAGE_BYTES_MAX => {
                    return Err("the answer is too long".to_owned());
                }
                Event::Data(data) => page.body.extend_from_slice(data),
                Event::End => return Ok(page),
            }
        }
        let left = input.len();
        buffer.copy_within(filled - left..filled, 0);
        filled = left;
        if Instant::now() > deadline {
            return Err("no whole answer in time".to_owned());
        }
    }
}

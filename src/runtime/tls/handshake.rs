use super::{
    ClientTls, ServerTls, TlsError,
    client::explained,
    server::take_server_name,
    session::{Session, Side},
    stream,
};
use crate::{
    buffer::{ChunkMut, Segments},
    runtime::{
        Connection, Reader, Writer,
        receive::{Receive, Received},
        timeout,
        transmit::Transmit,
    },
};
use rustls::{
    HandshakeKind, ProtocolVersion, client::UnbufferedClientConnection, pki_types::ServerName,
    server::UnbufferedServerConnection,
};
use std::{future::poll_fn, io, time::Duration};

/// What a client's handshake has told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsInfo {
    /// The server name that the client asked for (RFC 6066 section 3), in lower case.
    pub sni: Option<String>,
    /// The agreed application protocol (RFC 7301).
    pub alpn: Option<Vec<u8>>,
    /// `1.2` or `1.3`.
    pub version: &'static str,
    /// Whether an earlier session goes on.
    pub resumed: bool,
}

impl Connection {
    /// Makes a clear-text connection that a client has opened a TLS one.
    ///
    /// # Errors
    /// See [`TlsError`]; the connection is closed, after the alert that says why.
    pub async fn accept_tls(
        self,
        tls: &ServerTls,
        limit: Duration,
    ) -> Result<(Connection, TlsInfo), TlsError> {
        let connection = UnbufferedServerConnection::new(tls.config())?;
        let (connection, session, sni) = establish(self, Side::Server(Box::new(connection)), limit).await?;
        let state: &rustls::CommonState = match session.side() {
            Side::Server(connection) => connection,
            Side::Client(connection) => connection,
        };
        let (alpn, version) = (state.alpn_protocol(), state.protocol_version());
        let resumed = state.handshake_kind() == Some(HandshakeKind::Resumed);
        let version = if version == Some(ProtocolVersion::TLSv1_2) { "1.2" } else { "1.3" };
        let info = TlsInfo { sni, alpn: alpn.map(<[u8]>::to_vec), version, resumed };
        Ok((connection.finish(session), info))
    }

    /// Makes a clear-text connection that we have opened a TLS one. `server_name` is a DNS name or an IP
    /// address; the server's certificate must be valid for it.
    ///
    /// # Errors
    /// See [`TlsError`]: [`TlsError::Certificate`] with the reason if we refuse the server's certificate.
    pub async fn connect_tls(
        self,
        tls: &ClientTls,
        server_name: &str,
        limit: Duration,
    ) -> Result<Connection, TlsError> {
        let name = ServerName::try_from(server_name.to_owned())
            .map_err(|_| TlsError::Configuration(format!("{server_name:?} is not a server name")))?;
        let connection = UnbufferedClientConnection::new(tls.config(), name)?;
        let (connection, session, _) = establish(self, Side::Client(Box::new(connection)), limit).await?;
        Ok(connection.finish(session))
    }
}

/// The halves while they are used for the handshake.
struct Halves {
    receive: Receive,
    transmit: Transmit,
    control: crate::runtime::Control,
}

impl Halves {
    fn finish(self, session: Session) -> Connection {
        let (receive, transmit) = stream::split(session, self.receive, self.transmit);
        Connection {
            reader: Box::new(Reader::tls(receive)),
            writer: Box::new(Writer::tls(transmit)),
            control: self.control,
        }
    }
}

async fn establish(
    connection: Connection,
    side: Side,
    limit: Duration,
) -> Result<(Halves, Session, Option<String>), TlsError> {
    let control = connection.control;
    let (Some((receive, unread)), Some(transmit)) =
        (connection.reader.into_receive(), connection.writer.into_transmit())
    else {
        return Err(TlsError::Configuration("TLS within TLS is not supported".to_owned()));
    };
    let mut halves = Halves { receive, transmit, control };
    let mut session = Session::new(side);
    // May be dropped: the halves own their operations.
    match timeout(limit, handshake(&mut halves, &mut session, unread)).await {
        None => Err(TlsError::TimedOut),
        Some(result) => result.map(|server_name| (halves, session, server_name)),
    }
}

/// Returns the server name that a client asked for.
async fn handshake(
    halves: &mut Halves,
    session: &mut Session,
    unread: ChunkMut,
) -> Result<Option<String>, TlsError> {
    let mut input = unread;
    let mut server_name = None;
    if matches!(session.side(), Side::Server(_)) {
        if input.is_empty() {
            input = receive(halves, session).await?;
        }
        if is_http(&input) {
            // What is not sent was not asked for either.
            let _ = halves.transmit.send(CLEAR_TEXT_REPLY.to_vec(), false, Segments::new()).await;
            return Err(TlsError::ClearText);
        }
    }
    loop {
        let result = session.receive(input);
        let seen = take_server_name();
        if result.is_err() && seen.as_ref().is_some_and(|seen| seen.refused) {
            flush(halves, session).await?;
            return Err(TlsError::UnknownName(seen.map(|seen| seen.name).unwrap_or_default()));
        }
        server_name = seen.map(|seen| seen.name).or(server_name);
        let sent = flush(halves, session).await;
        // The reason counts more than whether the alert could be sent.
        result.map_err(explained)?;
        sent?;
        if !session.is_handshaking() {
            return Ok(server_name);
        }
        input = receive(halves, session).await?;
    }
}

/// The next ciphertext of the peer.
async fn receive(halves: &mut Halves, session: &mut Session) -> Result<ChunkMut, TlsError> {
    if !halves.receive.is_pending() {
        halves.receive.start(session.next_buffer(halves.receive.size()));
    }
    match poll_fn(|cx| halves.receive.poll(cx)).await? {
        Received::Data(ciphertext) => Ok(ciphertext),
        Received::End(_) => Err(TlsError::Io(io::ErrorKind::UnexpectedEof.into())),
    }
}

/// Sends what the session wants to say.
async fn flush(halves: &mut Halves, session: &mut Session) -> io::Result<()> {
    if session.outgoing.is_empty() {
        return Ok(());
    }
    let (bytes, origin) = session.outgoing.take();
    let bytes = halves.transmit.send(bytes, false, Segments::new()).await?;
    session.outgoing.give_back(bytes, &origin);
    Ok(())
}

/// What a client gets that speaks HTTP where TLS is spoken; it is closed after it.
const CLEAR_TEXT_REPLY: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\n\
    content-length: 61\r\nconnection: close\r\n\r\n\
    This port speaks TLS. Write https:// instead of http:// here.";

/// Whether a connection begins with a method of HTTP instead of a TLS record (whose type is below 26).
fn is_http(input: &[u8]) -> bool {
    let method = input.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    // Pieces of one or two bytes are as good as none; the shortest method has three letters.
    method >= 3 && input.get(method).is_none_or(|byte| *byte == b' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_is_told_from_records() {
        for begin in [&b"GET / HTTP/1.1\r\n"[..], b"POST /", b"GET", b"OPTIONS * ", b"PRI * HTTP/2.0"] {
            assert!(is_http(begin), "{begin:?}");
        }
        for begin in [&b"\x16\x03\x01\x02\x00"[..], b"", b"GE", b"SSH-2.0-x", b"get / ", b"\x80\x2e\x01"] {
            assert!(!is_http(begin), "{begin:?}");
        }
        let text = std::str::from_utf8(CLEAR_TEXT_REPLY).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())));
    }
}

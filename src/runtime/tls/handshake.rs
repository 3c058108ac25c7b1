use super::{
    ClientTls, ServerTls, TlsError,
    configuration::take_server_name,
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
    ProtocolVersion, client::UnbufferedClientConnection, pki_types::ServerName,
    server::UnbufferedServerConnection,
};
use std::{future::poll_fn, io, mem, time::Duration};

/// What a client's handshake has told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsInfo {
    /// The server name that the client asked for (RFC 6066 section 3), in lower case.
    pub sni: Option<String>,
    /// The agreed application protocol (RFC 7301).
    pub alpn: Option<Vec<u8>>,
    /// `1.2` or `1.3`.
    pub version: &'static str,
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
        let (alpn, version) = match session.side() {
            Side::Server(connection) => (connection.alpn_protocol(), connection.protocol_version()),
            Side::Client(connection) => (connection.alpn_protocol(), connection.protocol_version()),
        };
        let version = if version == Some(ProtocolVersion::TLSv1_2) { "1.2" } else { "1.3" };
        let info = TlsInfo { sni, alpn: alpn.map(<[u8]>::to_vec), version };
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
        Connection { reader: Reader::tls(receive), writer: Writer::tls(transmit), control: self.control }
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
    loop {
        let result = session.receive(input);
        server_name = take_server_name().or(server_name);
        if !session.outgoing.is_empty() {
            let outgoing = mem::take(&mut session.outgoing);
            let sent = halves.transmit.send(outgoing, false, Segments::new()).await;
            // The reason counts more than whether the alert could be sent.
            result?;
            session.outgoing = sent?;
        } else {
            result?;
        }
        if !session.is_handshaking() {
            return Ok(server_name);
        }
        input = match poll_fn(|cx| halves.receive.poll(cx)).await? {
            Received::Data(ciphertext) => ciphertext,
            Received::End(_) => return Err(TlsError::Io(io::ErrorKind::UnexpectedEof.into())),
        };
    }
}

//! The other side: rustls' buffered API on blocking sockets.

use crate::runtime::tls::{ClientTls, Pem, ServerTls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::{
    ClientConfig, ClientConnection, Connection as Session, HandshakeKind, RootCertStore, ServerConfig,
    ServerConnection, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{
    io::{self, Read, Write},
    net::TcpStream,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

pub type Version = &'static SupportedProtocolVersion;
pub const V12: Version = &rustls::version::TLS12;
pub const V13: Version = &rustls::version::TLS13;

/// `length` bytes that do not repeat soon.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// A certificate and its key, in PEM.
pub struct Identity {
    pub chain: String,
    pub key: String,
}

impl Identity {
    pub fn pem(&self) -> Pem<'_> {
        Pem { chain: self.chain.as_bytes(), key: self.key.as_bytes() }
    }

    /// What a server with it offers.
    pub fn server(&self) -> Arc<ServerConfig> {
        let chain = CertificateDer::pem_slice_iter(self.chain.as_bytes()).map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key);
        Arc::new(config.unwrap())
    }
}

/// Authorities have different names, or the wrong one would only be noticed by its signatures.
static AUTHORITIES: AtomicUsize = AtomicUsize::new(0);

/// A certificate authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let number = AUTHORITIES.fetch_add(1, Ordering::Relaxed);
        params.distinguished_name.push(DnType::CommonName, format!("authority {number}"));
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn good(&self, name: &str) -> Identity {
        self.issue(name, 2020, 2040)
    }

    pub fn expired(&self, name: &str) -> Identity {
        self.issue(name, 2020, 2021)
    }

    pub fn not_yet(&self, name: &str) -> Identity {
        self.issue(name, 2090, 2091)
    }

    pub fn self_signed(&self, name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        Identity { chain: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
    }

    fn issue(&self, name: &str, from: i32, to: i32) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
        Identity { chain: params.signed_by(&key, &self.0).unwrap().pem(), key: key.serialize_pem() }
    }

    pub fn server_tls(&self, name: &str) -> ServerTls {
        let identity = self.good(name);
        ServerTls::from_pem(identity.chain.as_bytes(), identity.key.as_bytes()).unwrap()
    }

    pub fn client_tls(&self) -> ClientTls {
        ClientTls::with_pem_roots(self.0.pem().as_bytes(), Default::default()).unwrap()
    }

    pub fn client_config(&self, version: Version) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config)
    }

    pub fn client(&self, version: Version, socket: TcpStream) -> Handshaking {
        Peer::connect(self.client_config(version), socket)
    }
}

/// A handshake on a thread of its own.
pub struct Handshaking(JoinHandle<io::Result<Peer>>);

impl Handshaking {
    pub fn await_handshake(self) -> Peer {
        self.0.join().unwrap().unwrap()
    }

    pub fn expect_refusal(self) {
        assert!(self.0.join().unwrap().is_err());
    }
}

pub struct Peer {
    session: Arc<Mutex<Session>>,
    socket: TcpStream,
    /// Decrypted and not yet taken.
    plain: Vec<u8>,
}

impl Peer {
    pub fn connect(config: Arc<ClientConfig>, socket: TcpStream) -> Handshaking {
        Peer::connect_as("localhost", config, socket)
    }

    pub fn connect_as(name: &str, config: Arc<ClientConfig>, socket: TcpStream) -> Handshaking {
        let name = name.to_owned().try_into().unwrap();
        let session = ClientConnection::new(config, name).unwrap();
        Peer::begin(Session::Client(session), socket)
    }

    pub fn serve(identity: &Identity, socket: TcpStream) -> Handshaking {
        Peer::serve_with(identity.server(), socket)
    }

    pub fn serve_with(config: Arc<ServerConfig>, socket: TcpStream) -> Handshaking {
        Peer::begin(Session::Server(ServerConnection::new(config).unwrap()), socket)
    }

    fn begin(mut session: Session, mut socket: TcpStream) -> Handshaking {
        session.set_buffer_limit(None);
        Handshaking(std::thread::spawn(move || {
            while session.is_handshaking() {
                session.complete_io(&mut socket)?;
            }
            while session.wants_write() {
                session.write_tls(&mut socket)?;
            }
            Ok(Peer { session: Arc::new(Mutex::new(session)), socket, plain: Vec::new() })
        }))
    }

    pub fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap()
    }

    pub fn was_resumed(&self) -> bool {
        self.session().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// What the server has sent as its own.
    pub fn certificate(&self) -> Vec<u8> {
        self.session().peer_certificates().expect("a certificate")[0].to_vec()
    }

    /// Changes the keys and sends that at once.
    pub fn try_update_keys(&mut self) -> io::Result<()> {
        let mut ciphertext = Vec::new();
        {
            let mut session = self.session();
            session.refresh_traffic_keys().unwrap();
            while session.wants_write() {
                session.write_tls(&mut ciphertext)?;
            }
        }
        self.socket.write_all(&ciphertext)
    }

    pub fn write(&mut self, data: &[u8]) {
        self.session().writer().write_all(data).unwrap();
        self.flush();
    }

    pub fn close_notify(&mut self) {
        self.session().send_close_notify();
        self.flush();
    }

    pub fn update_keys(&mut self) {
        self.session().refresh_traffic_keys().unwrap();
    }

    fn flush(&mut self) {
        let mut ciphertext = Vec::new();
        {
            let mut session = self.session();
            while session.wants_write() {
                session.write_tls(&mut ciphertext).unwrap();
            }
        }
        self.socket.write_all(&ciphertext).unwrap();
    }

    /// Reads once and decrypts into `plain`; `false` at the clean end.
    fn receive(&mut self) -> Result<bool, String> {
        let mut ciphertext = [0; 4_000];
        let count = self.socket.read(&mut ciphertext).map_err(|error| error.to_string())?;
        let mut rest = &ciphertext[..count];
        let Peer { session, plain, .. } = self;
        let mut session = session.lock().unwrap();
        loop {
            session.read_tls(&mut rest).map_err(|error| error.to_string())?;
            session.process_new_packets().map_err(|error| error.to_string())?;
            match session.reader().read_to_end(plain) {
                Ok(_) => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.to_string()),
            }
            if rest.is_empty() {
                return Ok(true);
            }
        }
    }

    pub fn read_exactly(&mut self, count: usize) -> Vec<u8> {
        while self.plain.len() < count {
            let ended = !self.drained() && !self.receive().unwrap();
            assert!(!ended || self.plain.len() >= count, "the end after {}", self.plain.len());
        }
        let rest = self.plain.split_off(count);
        std::mem::replace(&mut self.plain, rest)
    }

    /// Takes what came with the handshake.
    fn drained(&mut self) -> bool {
        let before = self.plain.len();
        let Peer { session, plain, .. } = self;
        let _ = session.lock().unwrap().reader().read_to_end(plain);
        self.plain.len() > before
    }

    /// Whether the stream ends here, with close_notify.
    pub fn at_clean_end(&mut self) -> bool {
        loop {
            match self.session().reader().read(&mut [0; 1]) {
                Ok(0) => return true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ => return false,
            }
            match self.receive() {
                Ok(_) if !self.plain.is_empty() => return false,
                Ok(true) => {}
                Ok(false) => return true,
                Err(_) => return false,
            }
        }
    }

    /// Reads until something is wrong, and says what.
    pub fn read_failure(&mut self) -> String {
        loop {
            match self.receive() {
                Ok(true) => {}
                Ok(false) => return "end".to_owned(),
                Err(error) => return error,
            }
        }
    }

    /// The socket comes back: closing it with unread tickets would reset the connection.
    pub fn write_in_pieces(mut self, data: &[u8], piece: usize) -> Peer {
        data.chunks(piece).for_each(|piece| self.write(piece));
        self
    }

    /// Sends `data` in pieces and closes our direction, while another thread checks that it all comes back.
    pub fn exchange(self, data: Vec<u8>, piece: usize) {
        self.exchange_and(data, piece, |_| {});
    }

    /// The same, with new keys for every piece.
    pub fn exchange_with_key_updates(self, data: Vec<u8>, piece: usize) {
        self.exchange_and(data, piece, Peer::update_keys);
    }

    fn exchange_and(mut self, data: Vec<u8>, piece: usize, mut before: impl FnMut(&mut Peer)) {
        let (session, socket) = (Arc::clone(&self.session), self.socket.try_clone().unwrap());
        let mut reader = Peer { session, socket, plain: Vec::new() };
        let expected = data.clone();
        let reading = std::thread::spawn(move || {
            assert!(reader.read_exactly(expected.len()) == expected, "what comes back is what was sent");
            assert!(reader.at_clean_end());
        });
        for piece in data.chunks(piece) {
            before(&mut self);
            self.write(piece);
        }
        self.close_notify();
        reading.join().unwrap();
    }
}

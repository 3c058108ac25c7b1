//! A relay on loopback whose address stays while what is behind it ends and begins again. It can stall.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
};

/// It relays until the process ends.
pub struct Relay {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    target: Mutex<Option<String>>,
    /// Bytes of answers of one connection, after which no more are passed on.
    stall: Mutex<Option<usize>>,
    changed: Condvar,
}

impl Relay {
    pub fn start() -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::<Shared>::default();
        let relay = Relay { address, shared: shared.clone() };
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let shared = shared.clone();
                thread::spawn(move || shared.relay(client));
            }
        });
        relay
    }

    /// Where connections lead from now on; without a target they are closed.
    pub fn lead_to(&self, target: Option<String>) {
        *self.shared.target.lock().unwrap() = target;
    }

    /// After so many bytes of answers a connection stands still, until this is taken back.
    pub fn stall_after(&self, bytes: Option<usize>) {
        *self.shared.stall.lock().unwrap() = bytes;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn relay(&self, client: TcpStream) {
        let Some(target) = self.target.lock().unwrap().clone() else { return };
        let Ok(server) = TcpStream::connect(target) else { return };
        let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let upward = thread::spawn(move || {
            let _ = std::io::copy(&mut from_client, &mut to_server);
            let _ = to_server.shutdown(Shutdown::Write);
        });
        self.answers(server, client);
        let _ = upward.join();
    }

    fn answers(&self, mut server: TcpStream, mut client: TcpStream) {
        let (mut passed, mut buffer) = (0, vec![0; 16 * 1024]);
        while let Ok(count @ 1..) = server.read(&mut buffer) {
            let stalls = |stall: &mut Option<usize>| stall.is_some_and(|bytes| passed + count > bytes);
            drop(self.changed.wait_while(self.stall.lock().unwrap(), stalls).unwrap());
            if client.write_all(&buffer[..count]).is_err() {
                break;
            }
            passed += count;
        }
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
    }
}

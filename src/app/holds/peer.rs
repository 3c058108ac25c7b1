//! Which user's process is on the other end of a connection on this host.
//!
//! The kernel is asked for the one socket (sock_diag(7)), which takes as long with ten thousand connections
//! as with one. Where it does not answer, because it is built without or a filter forbids the call, its table
//! of all sockets is read (proc_net_tcp).

use socket2::{Domain, Protocol, Socket, Type};
use std::{
    fs, io,
    io::{Read, Write},
    net::{IpAddr, SocketAddr},
};

/// Whose process a caller is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    User(u32),
    /// It ran on this host and has closed its connection: nobody knows whose it was.
    Gone,
    /// It runs elsewhere, or the kernel does not say.
    Unknown,
}

/// Whose process calls from `peer`. `local` is our end of its connection, where it has connected itself.
pub fn owner(peer: SocketAddr, local: Option<SocketAddr>) -> Owner {
    let is_here = peer.ip().to_canonical().is_loopback()
        || local.is_some_and(|local| local.ip().to_canonical() == peer.ip().to_canonical());
    let asked = local.and_then(|local| match diagnosed(peer, local) {
        Ok(Some(user)) => Some(Owner::User(user)),
        Ok(None) if !is_here => Some(Owner::Unknown),
        // Without the kernel's module for TCP nothing is ever found, not even our own end.
        Ok(None) => diagnosed(local, peer).ok().flatten().map(|_| Owner::Gone),
        Err(_) => None,
    });
    asked.unwrap_or_else(|| if is_here { in_tables(peer, local) } else { Owner::Unknown })
}

// From linux/netlink.h, linux/sock_diag.h and linux/inet_diag.h.
const NETLINK_SOCK_DIAG: i32 = 4;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const REQUEST_BYTES: usize = 16 + 56;
const REPLY_BYTES: usize = 16 + 72;
/// Sockets of any cookie.
const NO_COOKIE: [u8; 8] = [0xff; 8];
/// The loopback device, over which all traffic within a host goes: it finds sockets bound to it, too.
const LOOPBACK_DEVICE: u32 = 1;

/// The user of the socket between these addresses; `None`: there is no such socket that a process has open.
///
/// # Errors
/// The kernel does not answer such questions.
fn diagnosed(from: SocketAddr, to: SocketAddr) -> io::Result<Option<u32>> {
    let kind = Type::RAW.cloexec().nonblocking();
    let mut socket =
        Socket::new_raw(Domain::from(libc::AF_NETLINK), kind, Some(Protocol::from(NETLINK_SOCK_DIAG)))?;
    // An unnamed destination is the kernel, which has answered when the call returns.
    socket.write_all(&request(from, to))?;
    let mut reply = [0; 512];
    let length = socket.read(&mut reply)?;
    answered(&reply[..length], from.port(), to.port())
}

/// ```text
/// nlmsghdr          length 4 | type 2 | flags 2 | sequence 4 | port 4
/// inet_diag_req_v2  family 1 | protocol 1 | extensions 1 | pad 1 | states 4
/// inet_diag_sockid  port 2 | other port 2 | address 16 | other address 16 | device 4 | cookie 8
/// ```
/// Ports and addresses are in network order, all else in the host's.
fn request(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let (one, other) = (from.ip().to_canonical(), to.ip().to_canonical());
    let family = if one.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let mut request = Vec::with_capacity(REQUEST_BYTES);
    request.extend((REQUEST_BYTES as u32).to_ne_bytes());
    request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend(NLM_F_REQUEST.to_ne_bytes());
    request.extend([0; 8]);
    request.extend([family as u8, libc::IPPROTO_TCP as u8, 0, 0]);
    request.extend(u32::MAX.to_ne_bytes());
    request.extend(from.port().to_be_bytes());
    request.extend(to.port().to_be_bytes());
    request.extend(address(one));
    request.extend(address(other));
    request.extend(LOOPBACK_DEVICE.to_ne_bytes());
    request.extend(NO_COOKIE);
    request
}

fn address(ip: IpAddr) -> [u8; 16] {
    let mut bytes = [0; 16];
    match ip {
        IpAddr::V4(ip) => bytes[..4].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => bytes = ip.octets(),
    }
    bytes
}

/// ```text
/// inet_diag_msg  family 1 | state 1 | timer 1 | retransmissions 1 | inet_diag_sockid 48
///                | expires 4 | read queue 4 | write queue 4 | user 4 | inode 4
/// ```
fn answered(reply: &[u8], from: u16, to: u16) -> io::Result<Option<u32>> {
    let short = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let word = |at: usize| -> io::Result<[u8; 4]> {
        reply.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).ok_or_else(short)
    };
    let [kind, kind_high, ..] = word(4)?;
    match u16::from_ne_bytes([kind, kind_high]) {
        NLMSG_ERROR => {
            let code = i32::from_ne_bytes(word(16)?).wrapping_neg();
            if code == libc::ENOENT { Ok(None) } else { Err(io::Error::from_raw_os_error(code)) }
        }
        SOCK_DIAG_BY_FAMILY if reply.len() >= REPLY_BYTES => {
            let [a, b, c, d] = word(20)?;
            let ports = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            let (user, inode) = (u32::from_ne_bytes(word(80)?), u32::from_ne_bytes(word(84)?));
            // A listener on the port is another socket, and one without an inode belongs to no process.
            Ok((ports == (from, to) && inode != 0).then_some(user))
        }
        _ => Err(io::Error::from(io::ErrorKind::InvalidData)),
    }
}

fn in_tables(peer: SocketAddr, local: Option<SocketAddr>) -> Owner {
    let tables = match peer.ip().to_canonical() {
        IpAddr::V4(_) => &["/proc/net/tcp", "/proc/net/tcp6"][..],
        IpAddr::V6(_) => &["/proc/net/tcp6"],
    };
    let tables: Vec<String> = tables.iter().filter_map(|path| fs::read_to_string(path).ok()).collect();
    let find = |one| tables.iter().find_map(|table| listed(table, one));
    match find(peer) {
        Some(user) => Owner::User(user),
        None if local.and_then(find).is_some() => Owner::Gone,
        None => Owner::Unknown,
    }
}

/// The user of the socket with this address in a table of the kernel's.
fn listed(table: &str, socket: SocketAddr) -> Option<u32> {
    let native = |bytes: &[u8]| -> String {
        let words = bytes.chunks_exact(4).map(|word| word.iter().rev());
        words.flatten().map(|byte| format!("{byte:02X}")).collect()
    };
    let spellings = match socket.ip().to_canonical() {
        IpAddr::V4(ip) => [native(&ip.octets()), native(&ip.to_ipv6_mapped().octets())],
        IpAddr::V6(ip) => [native(&ip.octets()), String::new()],
    };
    let wanted = spellings.map(|address| format!("{address}:{:04X}", socket.port()));
    let mut lines = table.lines().skip(1).map(|line| line.split_ascii_whitespace());
    lines.find_map(|mut fields| {
        let address = fields.nth(1)?;
        let user = fields.nth(5)?.parse().ok()?;
        // A socket that no process has open any more is listed as root's.
        let is_open = fields.nth(1)? != "0";
        (is_open && wanted.iter().any(|one| one == address)).then_some(user)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::sys::user_id;
    use std::net::{Shutdown, TcpListener, TcpStream};

    /// A connection from `via` to a listener on `on`: both of its ends.
    fn connected(on: &str, via: &str) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind(on).unwrap();
        let to: SocketAddr = format!("{via}:{}", listener.local_addr().unwrap().port()).parse().unwrap();
        let caller = TcpStream::connect(to).unwrap();
        (caller, listener.accept().unwrap().0)
    }

    /// The addresses as the gateway has them.
    fn ends(ours: &TcpStream) -> (SocketAddr, SocketAddr) {
        (ours.peer_addr().unwrap(), ours.local_addr().unwrap())
    }

    /// In each spelling; a kernel without IPv6 has the first only.
    fn each_family() -> Vec<(TcpStream, TcpStream)> {
        let mut all = vec![connected("127.0.0.1:0", "127.0.0.1"), connected("0.0.0.0:0", "127.0.0.9")];
        if TcpListener::bind("[::1]:0").is_ok() {
            all.push(connected("[::1]:0", "[::1]"));
            // A listener for both, which sees `::ffff:127.0.0.1`.
            all.push(connected("[::]:0", "127.0.0.1"));
        }
        all
    }

    #[test]
    fn the_user_of_a_connection_on_this_host_is_known() {
        for (caller, ours) in each_family() {
            let (peer, local) = ends(&ours);
            assert_eq!(owner(peer, Some(local)), Owner::User(user_id()), "{peer}");
            // Behind a proxy on this host, whose connection it is not.
            assert_eq!(owner(peer, None), Owner::User(user_id()), "{peer}");
            caller.shutdown(Shutdown::Write).unwrap();
            assert_eq!(owner(peer, Some(local)), Owner::User(user_id()), "{peer} still reads");
        }
        let elsewhere = "192.0.2.1:4711".parse().unwrap();
        assert_eq!(owner(elsewhere, Some("192.0.2.2:443".parse().unwrap())), Owner::Unknown);
        assert_eq!(owner(elsewhere, None), Owner::Unknown);
    }

    #[test]
    fn the_kernel_and_its_table_say_the_same() {
        for (caller, ours) in each_family() {
            let (peer, local) = ends(&ours);
            assert_eq!(in_tables(peer, Some(local)), Owner::User(user_id()), "{peer}");
            match diagnosed(peer, local) {
                Ok(user) => assert_eq!(user, Some(user_id()), "{peer}"),
                Err(error) => eprintln!("this kernel does not answer: {error}"),
            }
            drop(caller);
        }
    }

    #[test]
    fn a_caller_that_has_closed_is_nobodys_and_not_roots() {
        for (caller, ours) in each_family() {
            let (peer, local) = ends(&ours);
            drop(caller);
            assert_eq!(owner(peer, Some(local)), Owner::Gone, "{peer}");
            assert_eq!(in_tables(peer, Some(local)), Owner::Gone, "{peer}");
        }
    }

    #[test]
    fn a_listener_on_the_callers_port_is_not_the_caller() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, nobody) = (listener.local_addr().unwrap(), "127.0.0.1:1".parse().unwrap());
        // The kernel gives it where there is no connection.
        assert_eq!(diagnosed(port, nobody).ok().flatten(), None);
    }

    #[test]
    fn addresses_are_found_as_the_kernel_writes_them() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n \
                     0: 0100007F:1F90 0100007F:C001 01 0:0 00:0 00000000  1000        0 7\n   \
                     1: 0000000000000000FFFF00000100007F:1F91 0:0 01 0:0 00:0 0  1001        0 7\n   \
                     2: 0100007F:1F92 0100007F:C001 06 0:0 03:0 00000000     0        0 0\n";
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        assert_eq!(listed(table, at(8080)), Some(1000));
        assert_eq!(listed(table, at(8081)), Some(1001));
        assert_eq!(listed(table, at(8082)), None, "in TIME_WAIT");
        assert_eq!(listed(table, at(8083)), None);
    }

    #[test]
    fn replies_are_read_however_short() {
        let mut reply = vec![0; REPLY_BYTES];
        reply[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        reply[20..24].copy_from_slice(&[0, 7, 0, 9]);
        reply[80..84].copy_from_slice(&1000u32.to_ne_bytes());
        reply[84] = 1;
        assert_eq!(answered(&reply, 7, 9).unwrap(), Some(1000));
        assert_eq!(answered(&reply, 7, 8).unwrap(), None);
        for length in 0..REPLY_BYTES {
            assert!(answered(&reply[..length], 7, 9).is_err(), "{length}");
        }
        let error = |code: i32| {
            let mut reply = vec![0; 36];
            reply[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
            reply[16..20].copy_from_slice(&code.to_ne_bytes());
            answered(&reply, 7, 9)
        };
        assert_eq!(error(-libc::ENOENT).unwrap(), None);
        assert!(error(-libc::EPERM).is_err());
        assert!(error(i32::MIN).is_err());
    }
}

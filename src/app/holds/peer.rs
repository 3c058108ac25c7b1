//! Which user's process is on the other end of a connection on this host.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
};

/// The user whose socket has the address `peer`, if that is on loopback and known.
pub fn user_of(peer: SocketAddr) -> Option<u32> {
    let ip = peer.ip().to_canonical();
    if !ip.is_loopback() {
        return None;
    }
    let table = match ip {
        IpAddr::V4(_) => ["/proc/net/tcp", "/proc/net/tcp6"],
        IpAddr::V6(_) => ["/proc/net/tcp6", "/proc/net/tcp6"],
    };
    table.iter().find_map(|path| owner(&fs::read_to_string(path).ok()?, ip, peer.port()))
}

/// The user of the socket with this address in a table of the kernel's (proc_net_tcp).
fn owner(table: &str, ip: IpAddr, port: u16) -> Option<u32> {
    let native = |bytes: &[u8]| -> String {
        let words = bytes.chunks_exact(4).map(|word| word.iter().rev());
        words.flatten().map(|byte| format!("{byte:02X}")).collect()
    };
    let spellings = match ip {
        IpAddr::V4(ip) => [native(&ip.octets()), native(&ip.to_ipv6_mapped().octets())],
        IpAddr::V6(ip) => [native(&ip.octets()), String::new()],
    };
    let wanted = spellings.map(|address| format!("{address}:{port:04X}"));
    let mut lines = table.lines().skip(1).map(|line| line.split_ascii_whitespace());
    lines.find_map(|mut fields| {
        let local = fields.nth(1)?;
        wanted.iter().any(|one| one == local).then(|| fields.nth(5)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn the_user_of_a_connection_on_this_host_is_known() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(user_of(stream.local_addr().unwrap()), Some(crate::runtime::sys::user_id()));
        assert_eq!(user_of("192.0.2.1:4711".parse().unwrap()), None);
    }

    #[test]
    fn addresses_are_found_as_the_kernel_writes_them() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n \
                     0: 0100007F:1F90 0100007F:C001 01 0:0 00:0 00000000  1000        0 7\n   \
                     1: 0000000000000000FFFF00000100007F:1F91 0:0 01 0:0 00:0 0  1001        0 7\n";
        let ip = "127.0.0.1".parse().unwrap();
        assert_eq!(owner(table, ip, 8080), Some(1000));
        assert_eq!(owner(table, ip, 8081), Some(1001));
        assert_eq!(owner(table, ip, 8082), None);
    }
}

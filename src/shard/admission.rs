//! Who may open a connection: as many as all shards together, one address and the memory allow
//! (SECURITY R41).

use crate::{
    exchange::{plan::CallerLimits, share::network},
    limits::CONNECTIONS_PER_ADDRESS,
    metrics::Limit,
};
use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// What all callers together may take; shared by all shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Open connections of all shards.
    pub connections_max: usize,
    /// Memory for connections and bodies of one shard, in bytes.
    pub memory_bytes: usize,
    /// How much of a shard's queue into the journal one agent may fill, in percent.
    pub agent_share_percent: u8,
    /// REFUSALs of one unproven caller that are recorded one by one, a second.
    pub refusals_per_second: u32,
}

/// The open connections of all shards.
#[derive(Debug, Default)]
pub struct Census {
    open: AtomicUsize,
    addresses: Mutex<HashMap<IpAddr, usize>>,
}

/// An open connection; dropping it makes room for another one.
#[derive(Debug)]
pub struct Seat {
    census: Arc<Census>,
    /// The address that it is counted for, if it is.
    address: Option<IpAddr>,
}

impl Census {
    /// Lets one more connection in.
    ///
    /// # Errors
    /// The limit that it would break.
    pub fn admit(self: &Arc<Self>, connections_max: usize) -> Result<Seat, Limit> {
        if self.open.fetch_add(1, Ordering::Relaxed) >= connections_max {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return Err(Limit::Connections);
        }
        Ok(Seat { census: self.clone(), address: None })
    }

    /// Open connections of all shards.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

impl Seat {
    /// Counts the connection for the address of its caller, once that is known.
    ///
    /// # Errors
    /// The address has as many as it may have.
    pub fn take_for(&mut self, caller: IpAddr, limits: &CallerLimits) -> Result<(), Limit> {
        let caller = network(caller);
        let Some(most) = per_address(caller, limits) else { return Ok(()) };
        let mut addresses = self.census.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let count = addresses.entry(caller).or_default();
        if *count >= most {
            return Err(Limit::AddressConnections);
        }
        *count += 1;
        drop(addresses);
        self.address = Some(caller);
        Ok(())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.census.open.fetch_sub(1, Ordering::Relaxed);
        let Some(address) = self.address else { return };
        let mut addresses = self.census.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = addresses.entry(address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// Connections that one address may have; `None`: any number.
fn per_address(peer: IpAddr, limits: &CallerLimits) -> Option<usize> {
    match limits.connections_per_address {
        Some(0) => None,
        Some(most) => Some(most as usize),
        None if peer.is_loopback() => None,
        None => Some(CONNECTIONS_PER_ADDRESS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn admit(census: &Arc<Census>, peer: IpAddr, limits: &CallerLimits, most: usize) -> Result<Seat, Limit> {
        let mut seat = census.admit(most)?;
        seat.take_for(peer, limits)?;
        Ok(seat)
    }

    #[test]
    fn an_address_has_so_many_seats() {
        let census = Arc::new(Census::default());
        let limits = CallerLimits::default();
        let peer = address("192.0.2.1");
        let admit = |peer| admit(&census, peer, &limits, 1_000);
        let mut seats: Vec<_> = (0..CONNECTIONS_PER_ADDRESS).map(|_| admit(peer).unwrap()).collect();
        assert_eq!(admit(peer).unwrap_err(), Limit::AddressConnections);
        assert_eq!(admit(address("::ffff:192.0.2.1")).unwrap_err(), Limit::AddressConnections);
        assert_eq!(census.open(), CONNECTIONS_PER_ADDRESS, "who is turned away takes no seat");
        let other = admit(address("192.0.2.2")).unwrap();
        seats.pop();
        let again = admit(peer).unwrap();
        drop((seats, other, again));
        assert_eq!(census.open(), 0);
        assert!(census.addresses.lock().unwrap().is_empty(), "nothing is left of who was there");
    }

    #[test]
    fn an_ipv6_host_is_its_network() {
        let census = Arc::new(Census::default());
        let limits = CallerLimits { connections_per_address: Some(1), ..CallerLimits::default() };
        let _seat = admit(&census, address("2001:db8::1"), &limits, 10).unwrap();
        let found = admit(&census, address("2001:db8::ffff:1"), &limits, 10);
        assert_eq!(found.unwrap_err(), Limit::AddressConnections);
        admit(&census, address("2001:db8:0:1::1"), &limits, 10).unwrap();
    }

    #[test]
    fn loopback_has_a_limit_only_where_one_is_written() {
        let census = Arc::new(Census::default());
        let limits = |most| CallerLimits { connections_per_address: most, ..CallerLimits::default() };
        let admit = |most, peer| admit(&census, address(peer), &limits(most), 1_000);
        for peer in ["127.0.0.1", "::1"] {
            let _seats: Vec<_> = (0..300).map(|_| admit(None, peer).unwrap()).collect();
            let _seat = admit(Some(1), peer).unwrap();
            assert_eq!(admit(Some(1), peer).unwrap_err(), Limit::AddressConnections);
        }
        let _seats: Vec<_> = (0..300).map(|_| admit(Some(0), "192.0.2.1").unwrap()).collect();
    }

    #[test]
    fn all_together_have_so_many_seats() {
        let census = Arc::new(Census::default());
        let limits = CallerLimits::default();
        let seats: Vec<_> =
            ["192.0.2.1", "192.0.2.2"].map(|peer| admit(&census, address(peer), &limits, 2).unwrap()).into();
        assert_eq!(admit(&census, address("192.0.2.3"), &limits, 2).unwrap_err(), Limit::Connections);
        drop(seats);
        admit(&census, address("192.0.2.3"), &limits, 2).unwrap();
    }
}

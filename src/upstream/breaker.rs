use crate::{
    limits::{CONNECT_ADDRESSES_MAX, EJECT_BACKOFF_FIRST, EJECT_BACKOFF_MAX, EJECT_FAILURES},
    time::Instant,
};
use smallvec::SmallVec;
use std::{net::SocketAddr, time::Duration};

/// Addresses in the order in which they are to be tried.
pub type Order = SmallVec<[SocketAddr; 4]>;

/// Which addresses of one upstream are worth a connection, as one shard has seen it. Passive: it learns from
/// the connections that requests make.
///
/// ```text
///             EJECT_FAILURES in a row
///  in use ──────────────────────────────► set aside ◄────────────────────┐
///    ▲                                        │ after the backoff        │ fails: the backoff doubles
///    │ succeeds                               ▼                          │
///    └──────────────────────────── probe: one request tries it first ────┘
/// ```
///
/// Where all addresses are set aside they are all tried: it never refuses by itself.
#[derive(Debug, Default)]
pub struct Breaker {
    /// Only those that failed last.
    failing: Vec<Failing>,
    /// Where the next order begins.
    turn: usize,
}

#[derive(Debug)]
struct Failing {
    address: SocketAddr,
    failures: u32,
    /// Set aside until then; `None` below [`EJECT_FAILURES`].
    until: Option<Instant>,
}

impl Breaker {
    /// The addresses to try for one connection: one whose time to be probed has come, then those in use from
    /// a different one each time; only without any of these those that are set aside.
    pub fn order(&mut self, now: Instant, addresses: &[SocketAddr]) -> Order {
        if let [only] = addresses {
            return Order::from_slice(&[*only]);
        }
        self.failing.retain(|failing| addresses.contains(&failing.address));
        self.turn = self.turn.wrapping_add(1);
        let rotated = addresses.iter().cycle().skip(self.turn % addresses.len().max(1));
        let rotated: Order = rotated.take(addresses.len()).copied().collect();
        let (mut probe, mut in_use, mut aside) = (Order::new(), Order::new(), Order::new());
        for address in rotated {
            match self.failing.iter_mut().find(|failing| failing.address == address) {
                Some(Failing { until: Some(until), failures, .. }) if now >= *until && probe.is_empty() => {
                    // Nobody else probes it meanwhile.
                    *until = now + backoff(*failures);
                    probe.push(address);
                }
                Some(Failing { until: Some(_), .. }) => aside.push(address),
                _ => in_use.push(address),
            }
        }
        if probe.is_empty() && in_use.is_empty() {
            probe = aside;
        }
        probe.extend(in_use);
        probe.truncate(CONNECT_ADDRESSES_MAX);
        probe
    }

    /// No connection could be made to `address`. True if it is set aside from now on.
    pub fn failed(&mut self, now: Instant, address: SocketAddr) -> bool {
        let position = self.failing.iter().position(|failing| failing.address == address);
        let position = position.unwrap_or_else(|| {
            self.failing.push(Failing { address, failures: 0, until: None });
            self.failing.len() - 1
        });
        let failing = &mut self.failing[position];
        failing.failures = failing.failures.saturating_add(1);
        if failing.failures < EJECT_FAILURES {
            return false;
        }
        failing.until.replace(now + backoff(failing.failures)).is_none()
    }

    /// A connection to `address` was made. True if it was set aside before.
    pub fn succeeded(&mut self, address: SocketAddr) -> bool {
        let position = self.failing.iter().position(|failing| failing.address == address);
        position.is_some_and(|position| self.failing.swap_remove(position).until.is_some())
    }

    /// Number of addresses that are set aside.
    pub fn ejected(&self) -> usize {
        self.failing.iter().filter(|failing| failing.until.is_some()).count()
    }
}

/// How long an address is left alone after so many failures in a row.
fn backoff(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(EJECT_FAILURES).min(16);
    (EJECT_BACKOFF_FIRST * 2u32.pow(doublings)).min(EJECT_BACKOFF_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::new([192, 0, 2, last].into(), 443)
    }

    fn addresses() -> Vec<SocketAddr> {
        [1, 2, 3].map(address).into()
    }

    /// Sets an address aside.
    fn eject(breaker: &mut Breaker, now: Instant, last: u8) {
        for failure in 1..=EJECT_FAILURES {
            assert_eq!(breaker.failed(now, address(last)), failure == EJECT_FAILURES);
        }
    }

    #[test]
    fn connections_take_turns() {
        let mut breaker = Breaker::default();
        let firsts: Vec<_> = (0..6).map(|_| breaker.order(Instant(0), &addresses())[0]).collect();
        assert_eq!(firsts, [2, 3, 1, 2, 3, 1].map(address));
        let order = breaker.order(Instant(0), &addresses());
        assert_eq!(order[..], [2, 3, 1].map(address), "all of them, in a circle");
        assert_eq!(breaker.order(Instant(0), &[address(9)])[..], [address(9)]);
        assert!(breaker.order(Instant(0), &[]).is_empty());
    }

    #[test]
    fn an_address_that_fails_is_set_aside_and_probed_by_one() {
        let mut breaker = Breaker::default();
        eject(&mut breaker, Instant(0), 2);
        assert_eq!(breaker.ejected(), 1);
        for _ in 0..4 {
            let order = breaker.order(Instant(1), &addresses());
            assert_eq!(order.len(), 2);
            assert!(!order.contains(&address(2)));
        }
        let later = Instant(0) + EJECT_BACKOFF_FIRST;
        assert_eq!(breaker.order(later, &addresses())[0], address(2), "one probes");
        assert!(!breaker.order(later, &addresses()).contains(&address(2)), "the others do not");
        // The probe fails: twice as long.
        assert!(!breaker.failed(later, address(2)), "it was set aside before");
        let order = breaker.order(later + EJECT_BACKOFF_FIRST, &addresses());
        assert!(!order.contains(&address(2)));
        assert_eq!(breaker.order(later + 2 * EJECT_BACKOFF_FIRST, &addresses())[0], address(2));
        assert!(breaker.succeeded(address(2)));
        assert!(!breaker.succeeded(address(2)));
        assert_eq!(breaker.order(later, &addresses()).len(), 3);
    }

    #[test]
    fn a_success_in_between_counts() {
        let mut breaker = Breaker::default();
        for _ in 0..9 {
            assert!(!breaker.failed(Instant(0), address(1)));
            assert!(!breaker.succeeded(address(1)));
        }
        assert_eq!(breaker.ejected(), 0);
    }

    #[test]
    fn without_a_good_address_all_are_tried() {
        let mut breaker = Breaker::default();
        [1, 2, 3].into_iter().for_each(|last| eject(&mut breaker, Instant(0), last));
        assert_eq!(breaker.order(Instant(1), &addresses()).len(), 3);
        eject(&mut Breaker::default(), Instant(0), 1);
        assert_eq!(breaker.order(Instant(1), &[address(1)])[..], [address(1)]);
    }

    #[test]
    fn the_time_aside_is_bounded_and_forgotten_with_the_address() {
        let mut breaker = Breaker::default();
        for _ in 0..200 {
            breaker.failed(Instant(0), address(1));
        }
        let order = breaker.order(Instant(0) + EJECT_BACKOFF_MAX, &addresses());
        assert_eq!(order[0], address(1));
        assert_eq!(breaker.order(Instant(0), &[address(2), address(3)]).len(), 2);
        assert_eq!(breaker.ejected(), 0);
    }

    #[test]
    fn one_connection_tries_a_bounded_number() {
        let many: Vec<_> = (0..100).map(address).collect();
        assert_eq!(Breaker::default().order(Instant(0), &many).len(), CONNECT_ADDRESSES_MAX);
    }
}

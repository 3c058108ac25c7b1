use crate::{audit::ExchangeId, time::Timestamp};
use aws_lc_rs::rand;

/// Random bytes fetched at once: one call serves many ids.
const STOCK_BYTES: usize = 1024;
/// Random bytes in one id; the rest is time.
const RANDOM_BYTES: usize = 10;

/// Makes the names of exchanges: 48 bits of milliseconds, then 80 random bits.
pub struct Ids {
    stock: [u8; STOCK_BYTES],
    used: usize,
}

impl Default for Ids {
    fn default() -> Self {
        Ids { stock: [0; STOCK_BYTES], used: STOCK_BYTES }
    }
}

impl Ids {
    /// A fresh id for a request that arrived at `now`.
    pub fn next_id(&mut self, now: Timestamp) -> ExchangeId {
        if self.used + RANDOM_BYTES > STOCK_BYTES {
            // The system's generator does not fail once it is seeded; a process without randomness must not
            // hand out ids.
            rand::fill(&mut self.stock).expect("the system's random generator works");
            self.used = 0;
        }
        let mut random = [0; RANDOM_BYTES];
        random.copy_from_slice(&self.stock[self.used..self.used + RANDOM_BYTES]);
        self.used += RANDOM_BYTES;
        ExchangeId::new(now, random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ids_never_repeat() {
        let mut ids = Ids::default();
        let made: BTreeSet<_> = (0..5_000).map(|_| ids.next_id(Timestamp(1)).to_string()).collect();
        assert_eq!(made.len(), 5_000);
    }
}

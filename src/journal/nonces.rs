//! Random bytes for nonces, drawn for many at once: each call of the generator costs more than a nonce.

use super::producer::Failure;
use crate::{audit::Hash, segments};
use std::fmt;
use zeroize::Zeroizing;

/// Nonces that are drawn at once.
const NONCES: usize = 32;
const NONCE_BYTES: usize = size_of::<Hash>();

/// Gives nonces, each once, and wipes what it has given.
#[derive(Default)]
pub(super) struct Nonces(Zeroizing<Vec<u8>>);

impl fmt::Debug for Nonces {
    /// Without what is still to be given.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonces")
    }
}

impl Nonces {
    /// The next nonce.
    ///
    /// # Errors
    /// [`Failure::Disk`]: the system gives no random bytes, and without them there is no commitment.
    pub(super) fn next(&mut self) -> Result<Hash, Failure> {
        if self.0.is_empty() {
            let drawn =
                Zeroizing::new(segments::random::<{ NONCES * NONCE_BYTES }>().map_err(|_| Failure::Disk)?);
            self.0.extend_from_slice(&drawn[..]);
        }
        let rest = self.0.len() - NONCE_BYTES;
        let mut nonce = [0; NONCE_BYTES];
        nonce.copy_from_slice(&self.0[rest..]);
        self.0[rest..].fill(0);
        self.0.truncate(rest);
        Ok(nonce)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_nonce_is_given_once_and_wiped() {
        let mut nonces = Nonces::default();
        let given: BTreeSet<_> = (0..3 * NONCES).map(|_| nonces.next().unwrap()).collect();
        assert_eq!(given.len(), 3 * NONCES);
        assert!(nonces.next().is_ok() && !nonces.0.is_empty());
        assert!(nonces.0.spare_capacity_mut().len() >= NONCE_BYTES, "the vector keeps its memory");
    }
}

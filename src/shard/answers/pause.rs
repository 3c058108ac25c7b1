use crate::{
    limits::{RECORD_RETRY_MAX, RECORD_RETRY_MIN},
    runtime,
    time::Instant,
};
use std::time::Duration;

/// Pauses between looks for room. Many may wait, and each look costs the shard: they look less and less
/// often.
pub struct Pause {
    next: Duration,
    give_up: Instant,
}

impl Pause {
    /// Pauses until `give_up`.
    pub fn until(give_up: Instant) -> Pause {
        Pause { next: RECORD_RETRY_MIN, give_up }
    }

    /// Waits until the next look is due; false when there is to be none.
    pub async fn wait(&mut self) -> bool {
        let left = self.give_up.since(runtime::now().instant);
        if left.is_zero() {
            return false;
        }
        runtime::sleep(self.next.min(left)).await;
        self.next = (self.next * 2).min(RECORD_RETRY_MAX);
        true
    }
}

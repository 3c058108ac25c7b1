//! Which upstream connection to use, which address to connect to, and whether a failed request may be sent
//! again.
//!
//! Book-keeping without sockets: a shard stores its connections here as opaque values. It does not connect,
//! does not resolve names and holds no timers; `now` is an argument.

mod breaker;
mod pool;
mod retry;

pub use breaker::{Breaker, Order};
pub use pool::{Admission, Kept, Pool, PoolLimits, Retired};
pub use retry::{Attempt, may_retry};

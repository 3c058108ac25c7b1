//! Which upstream connection to use, and whether a failed request may be sent again.
//!
//! Book-keeping without sockets: a shard stores its connections here as opaque values. It does not connect,
//! does not resolve names and holds no timers; `now` is an argument.

mod pool;
mod retry;

pub use pool::Pool;
pub use retry::{Attempt, may_retry};

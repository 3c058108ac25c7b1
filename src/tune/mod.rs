//! What the machine under a gateway should be like: checks of its settings, the changes that would put them
//! right, and their way back; and a file of settings a core that fits its topology.
//!
//! It changes nothing but files below `/proc/sys` and `/sys` that a check names, and `sysctl.d` on request;
//! it never reboots, and never touches a boot loader. It knows nothing of a running gateway: what that takes
//! of the machine is said in its configuration (`[runtime] tuning`).
//!
//! Start at [`Definition`] (`tuning/checks.toml`) and [`look`].

mod change;
mod definition;
mod host;
mod state;
mod suggest;
#[cfg(test)]
mod tests;
mod topology;
mod verdict;

pub use change::{Applied, Change, Outcome, PERSISTED, Plan, apply, persist, plan, revert, unpersist};
pub use definition::{Definition, Severity, definitions};
pub use host::Host;
pub use state::{Saved, State, StateError};
pub use suggest::suggest;
pub use topology::Topology;
pub use verdict::{Finding, Mark, look};

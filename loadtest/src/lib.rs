//! Load for gateways: for now the upstreams that they are put in front of.
//!
//! It shares no code with ringward: a measure must not have the faults of what it measures. Start at
//! [`mock`].

pub mod mock;

//! Load for gateways, and the upstreams that they are put in front of.
//!
//! It shares no code with ringward: a measure must not have the faults of what it measures. Start at
//! [`run`], the whole of a run, and [`mock`], the upstreams. [`wire`] reads answers, [`schedule`] says when
//! requests are due, [`worker`] sends them, [`tally`] counts, [`report`] shows.

pub mod auth;
pub mod blocking;
pub mod compare;
pub mod exit;
pub mod expect;
pub mod host;
pub mod limits;
pub mod mock;
pub mod options;
pub mod plan;
pub mod report;
pub mod run;
pub mod schedule;
pub mod slo;
pub mod stages;
pub mod tally;
pub mod target;
pub mod ui;
pub mod units;
pub mod wire;
pub mod worker;

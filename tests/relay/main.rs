//! The data plane from socket to socket: a whole gateway in this process, upstreams that the tests write with
//! plain sockets, clients likewise. Every test ends with its audit log verified and counted.

mod answers;
mod bodies;
mod bounds;
mod certificates;
mod connections;
mod credentials;
mod crowd;
mod echo;
mod egress;
mod encodings;
mod failover;
mod fairness;
mod framing;
mod gone;
mod harness;
mod holds;
mod lifecycle;
mod limits;
mod masks;
#[path = "../oracle/mod.rs"]
mod oracle;
mod panics;
mod pool;
mod prefixes;
mod pressure;
mod proxied;
mod recorded;
mod reload;
mod retries;
mod room;
mod strictness;
mod thinking;
mod tls;
mod tokens;
mod upstreams;
mod wire;

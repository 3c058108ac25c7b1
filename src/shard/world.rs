use super::Capacity;
use crate::{
    exchange::plan::Plan,
    runtime::tls::{ClientTls, ServerTls},
};
use std::sync::Arc;

/// One configuration as a shard needs it: the plan and what belongs to sockets. Immutable; a reload swaps it.
pub struct World {
    pub plan: Arc<Plan>,
    /// By the index of the listener in the plan.
    pub endpoints: Vec<Endpoint>,
    /// By the index of the upstream in the plan; `None` where it speaks clear text.
    pub client_tls: Vec<Option<ClientTls>>,
    pub capacity: Capacity,
}

/// What a listener does with a new connection.
pub struct Endpoint {
    pub name: Arc<str>,
    /// `None`: clear text.
    pub tls: Option<ServerTls>,
}

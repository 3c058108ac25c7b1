//! Does what shards ask for, and brings the answers back.

use super::{
    lease::{LeaseClient, LeaseRequest},
    oidc::Oidc,
};
use crate::exchange::handover::{Delivery, Errand, Work};
use arc_swap::ArcSwap;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Brings a delivery to a shard, by its index.
pub type Deliver = Arc<dyn Fn(usize, Delivery) + Send + Sync>;

/// Serves errands until all shards are gone. `oidc` is swapped by a reload.
pub async fn serve(
    mut errands: mpsc::Receiver<Errand>,
    oidc: Arc<ArcSwap<Oidc>>,
    leases: LeaseClient,
    deliver: Deliver,
) {
    while let Some(Errand { shard, ticket, work }) = errands.recv().await {
        let deliver = deliver.clone();
        match work {
            Work::Keys(issuer) => {
                let refetch = oidc.load().refetch(&issuer);
                tokio::spawn(async move {
                    // Whatever came of it, the exchange looks at the token once more and says what is wrong.
                    let _ = refetch.await;
                    deliver(shard, Delivery::Keys(ticket));
                });
            }
            Work::Lease { source, subject_token } => {
                let leases = leases.clone();
                tokio::spawn(async move {
                    let lease = leases.acquire(LeaseRequest { source, subject_token }).await;
                    deliver(shard, Delivery::Lease(ticket, lease.map_err(|error| error.to_string())));
                });
            }
            Work::Release(lease) => leases.release(lease),
        }
    }
}

//! Does what shards ask for, and brings the answers back.

use super::{
    lease::{LeaseClient, LeaseRequest},
    oidc::Oidc,
};
use crate::exchange::handover::{Delivery, Errand, Work};
use crate::limits::{DELIVERY_RETRY, DELIVERY_TIMEOUT};
use arc_swap::ArcSwap;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Brings a delivery to a shard, by its index; gives it back when there is no room.
pub type Deliver = Arc<dyn Fn(usize, Delivery) -> Result<(), Delivery> + Send + Sync>;

/// Takes what has to do with held requests.
pub type Holds = Arc<dyn Fn(Errand) + Send + Sync>;

/// Serves errands until all shards are gone. `oidc` is swapped by a reload. A lease that cannot be brought to
/// its shard is revoked; `dropped` is told of each answer that was lost.
pub async fn serve(
    mut errands: mpsc::Receiver<Errand>,
    oidc: Arc<ArcSwap<Oidc>>,
    leases: LeaseClient,
    deliver: Deliver,
    holds: Holds,
    dropped: Arc<dyn Fn() + Send + Sync>,
) {
    while let Some(errand) = errands.recv().await {
        if matches!(errand.work, Work::Hold(_) | Work::Leave | Work::Settle(..)) {
            holds(errand);
            continue;
        }
        let Errand { shard, ticket, work } = errand;
        let (deliver, dropped) = (deliver.clone(), dropped.clone());
        match work {
            Work::Keys(issuer) => {
                let refetch = oidc.load().refetch(&issuer);
                tokio::spawn(async move {
                    // Whatever came of it, the exchange looks at the token once more and says what is wrong.
                    let _ = refetch.await;
                    if bring(&deliver, shard, Delivery::Keys(ticket)).await.is_err() {
                        dropped();
                    }
                });
            }
            Work::Lease { source, subject_token } => {
                let leases = leases.clone();
                tokio::spawn(async move {
                    let lease = leases.acquire(LeaseRequest { source, subject_token }).await;
                    let delivery = Delivery::Lease(ticket, lease.map_err(|error| error.to_string()));
                    if let Err(back) = bring(&deliver, shard, delivery).await {
                        dropped();
                        give_back(back, &leases);
                    }
                });
            }
            Work::Release(lease) => leases.release(lease),
            Work::Hold(_) | Work::Leave | Work::Settle(..) => {}
        }
    }
}

/// Revokes the lease of an answer that nobody takes.
fn give_back(delivery: Delivery, leases: &LeaseClient) {
    if let Delivery::Lease(_, Ok(lease)) = delivery {
        leases.release(lease);
    }
}

/// Brings an answer to its shard, which may be too busy to take it at once.
async fn bring(deliver: &Deliver, shard: usize, mut delivery: Delivery) -> Result<(), Delivery> {
    let until = tokio::time::Instant::now() + DELIVERY_TIMEOUT;
    let mut pause = DELIVERY_RETRY;
    loop {
        match deliver(shard, delivery) {
            Ok(()) => return Ok(()),
            Err(back) if tokio::time::Instant::now() >= until => return Err(back),
            Err(back) => delivery = back,
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::background::{client::Clients, lease::LeaseOutcome};
    use std::sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    };

    #[tokio::test]
    async fn a_busy_shard_gets_its_answer_a_little_later() {
        let tries = AtomicUsize::new(0);
        let deliver: Deliver = Arc::new(move |_, delivery| match tries.fetch_add(1, Ordering::Relaxed) {
            0..3 => Err(delivery),
            _ => Ok(()),
        });
        assert!(bring(&deliver, 0, Delivery::Keys(7)).await.is_ok());
    }

    #[tokio::test]
    async fn a_lease_that_no_shard_takes_is_revoked() {
        let ends = Arc::new(Mutex::new(Vec::new()));
        let seen = ends.clone();
        let (leases, _revoker) =
            LeaseClient::new(Clients::default(), move |end| seen.lock().unwrap().push(end.outcome.clone()));
        let deliver: Deliver = Arc::new(|_, delivery| Err(delivery));
        let lease = Delivery::Lease(7, Ok(crate::secrets::samples::lease()));
        let back = bring(&deliver, 0, lease).await.unwrap_err();
        give_back(back, &leases);
        assert_eq!(*ends.lock().unwrap(), [LeaseOutcome::NotRevocable]);
    }
}

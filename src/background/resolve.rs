//! Resolves the names of upstreams, so that no shard ever waits for DNS.

use crate::exchange::plan::Upstream;
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

/// Time between two look-ups of a name that resolves.
const REFRESH: Duration = Duration::from_secs(30);
/// Time until a name that did not resolve is looked up again.
const RETRY: Duration = Duration::from_secs(2);

/// Keeps the addresses of `upstreams` fresh for as long as the future runs.
pub async fn keep_fresh(upstreams: Vec<Arc<Upstream>>) {
    loop {
        let mut all = true;
        for upstream in &upstreams {
            all &= resolve(upstream).await;
        }
        tokio::time::sleep(if all { REFRESH } else { RETRY }).await;
    }
}

/// Looks one upstream's name up and publishes its addresses; the old ones stay when that fails.
pub async fn resolve(upstream: &Upstream) -> bool {
    if let Ok(address) = upstream.host.parse::<IpAddr>() {
        publish(upstream, vec![SocketAddr::new(address, upstream.port)]);
        return true;
    }
    let found = tokio::net::lookup_host((upstream.host.as_str(), upstream.port)).await;
    match found.map(|addresses| addresses.collect::<Vec<_>>()) {
        Ok(addresses) if !addresses.is_empty() => {
            publish(upstream, addresses);
            true
        }
        Ok(_) => false,
        Err(error) => {
            tracing::warn!(upstream = %upstream.name, host = %upstream.host, %error, "name not resolved");
            false
        }
    }
}

fn publish(upstream: &Upstream, addresses: Vec<SocketAddr>) {
    if **upstream.addresses.load() != addresses {
        upstream.addresses.store(Arc::new(addresses));
    }
}

//! Resolves the names of upstreams, so that no shard ever waits for DNS.

use crate::exchange::plan::Upstream;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

/// Time between two look-ups of a name that resolves.
const REFRESH: Duration = Duration::from_secs(30);
/// Time until a name that did not resolve is looked up again.
const RETRY: Duration = Duration::from_secs(2);

/// Which addresses a name may lead to (SECURITY R11): DNS is not trusted to name the gateway's own admin
/// port or the metadata service of a cloud. An address that stands in the configuration is what the operator
/// means.
#[derive(Clone, Debug, Default)]
pub struct Permitted {
    /// Sockets of the gateway that no caller may reach.
    pub own: Vec<SocketAddr>,
}

/// Metadata and agent services of clouds outside of the link-local ranges.
const METADATA: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

impl Permitted {
    fn allows(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        let is_local = match ip {
            IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        let is_own = |own: &SocketAddr| {
            let same = own.ip() == ip || (own.ip().is_unspecified() && ip.is_loopback());
            same && own.port() == address.port()
        };
        let is_refused = is_local || ip.is_unspecified() || ip.is_multicast() || METADATA.contains(&ip);
        !is_refused && !self.own.iter().any(is_own)
    }
}

/// Keeps the addresses of `upstreams` fresh for as long as the future runs.
pub async fn keep_fresh(upstreams: Vec<Arc<Upstream>>, permitted: Permitted) {
    loop {
        let mut all = true;
        for upstream in &upstreams {
            all &= resolve(upstream, &permitted).await;
        }
        tokio::time::sleep(if all { REFRESH } else { RETRY }).await;
    }
}

/// Looks one upstream's name up and publishes its addresses; the old ones stay when that fails.
pub async fn resolve(upstream: &Upstream, permitted: &Permitted) -> bool {
    if let Ok(address) = upstream.host.parse::<IpAddr>() {
        publish(upstream, vec![SocketAddr::new(address, upstream.port)]);
        return true;
    }
    let found = tokio::net::lookup_host((upstream.host.as_str(), upstream.port)).await;
    match found.map(|found| found.partition::<Vec<_>, _>(|address| permitted.allows(*address))) {
        Ok((addresses, _)) if !addresses.is_empty() => {
            publish(upstream, addresses);
            true
        }
        Ok((_, refused)) => {
            let (name, host) = (&upstream.name, &upstream.host);
            tracing::warn!(upstream = %name, %host, ?refused, "the name leads to no permitted address");
            false
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    // SECURITY R11.
    #[test]
    fn names_lead_neither_to_metadata_nor_to_the_admin_port() {
        let own = ["127.0.0.1:8444", "0.0.0.0:9464"].map(|own| own.parse().unwrap()).to_vec();
        let permitted = Permitted { own };
        for (address, is_allowed) in [
            ("192.0.2.1:443", true),
            ("10.0.0.1:443", true),
            ("127.0.0.1:8080", true),
            ("[2001:db8::1]:443", true),
            ("[fd00::1]:443", true),
            ("169.254.169.254:80", false),
            ("[::ffff:169.254.169.254]:80", false),
            ("[fe80::1]:80", false),
            ("[fd00:ec2::254]:80", false),
            ("100.100.100.200:80", false),
            ("168.63.129.16:80", false),
            ("0.0.0.0:80", false),
            ("[::]:80", false),
            ("224.0.0.1:80", false),
            ("255.255.255.255:80", false),
            ("127.0.0.1:8444", false),
            ("[::ffff:127.0.0.1]:8444", false),
            ("127.0.0.1:9464", false),
            ("192.0.2.1:8444", true),
        ] {
            assert_eq!(permitted.allows(address.parse().unwrap()), is_allowed, "{address}");
        }
    }
}

//! Resolves the names that connections to upstreams lead to, so that no shard ever waits for DNS.
//!
//! Every address is checked after it was resolved, and it is the checked address that shards connect to
//! (SECURITY R11). Names are looked up again every [`RESOLVE_INTERVAL`]: the system's resolver tells no TTL.
//! While a look-up fails the addresses that were known stay, for [`RESOLVE_STALE_MAX`].

use crate::{
    exchange::plan::{Destination, Upstream},
    http::client_address::Network,
    limits::{RESOLVE_INTERVAL, RESOLVE_RETRY, RESOLVE_STALE_MAX, RESOLVE_TIMEOUT, RESOLVED_ADDRESSES_MAX},
};
use std::{
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    pin::Pin,
    sync::Arc,
    time::Duration,
};
use tokio::{
    task::JoinSet,
    time::{self, Instant},
};

type Found = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Asks a resolver for the addresses of a host; the port is put in.
pub type LookUp = Arc<dyn Fn(Destination) -> Found + Send + Sync>;

/// The resolver of the system.
fn system() -> LookUp {
    Arc::new(|Destination { host, port }| {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    })
}

/// Resolves names and says which addresses they may lead to: DNS is not trusted to name the gateway's own
/// admin port or the metadata service of a cloud. An address that stands in the configuration is what the
/// operator means.
#[derive(Clone)]
pub struct Resolver {
    look_up: LookUp,
    /// Sockets of the gateway that no caller may reach.
    own: Arc<[SocketAddr]>,
    timing: Timing,
}

/// When names are looked up again.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// After a look-up that succeeded.
    pub interval: Duration,
    /// After one that failed.
    pub retry: Duration,
    /// How long addresses stay while look-ups fail.
    pub stale_max: Duration,
    /// One look-up.
    pub timeout: Duration,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            interval: RESOLVE_INTERVAL,
            retry: RESOLVE_RETRY,
            stale_max: RESOLVE_STALE_MAX,
            timeout: RESOLVE_TIMEOUT,
        }
    }
}

/// Metadata and agent services of clouds outside of the link-local ranges.
const METADATA: [IpAddr; 5] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];

impl Resolver {
    /// The system's resolver. Names may not lead to `own`.
    pub fn new(own: impl IntoIterator<Item = SocketAddr>) -> Resolver {
        Resolver::with(system(), own, Timing::default())
    }

    /// Another resolver.
    pub fn with(look_up: LookUp, own: impl IntoIterator<Item = SocketAddr>, timing: Timing) -> Resolver {
        Resolver { look_up, own: own.into_iter().collect(), timing }
    }

    /// Keeps the addresses of `upstreams` fresh for as long as the future runs. None of them waits for
    /// another.
    pub async fn keep_fresh(self, upstreams: Vec<Arc<Upstream>>) {
        let mut tasks = JoinSet::new();
        for upstream in upstreams {
            let resolver = self.clone();
            tasks.spawn(async move { resolver.keep_one_fresh(&upstream).await });
        }
        // They never end; dropped with this future, they do.
        while tasks.join_next().await.is_some() {}
    }

    /// Looks the names of `upstreams` up once, all at the same time.
    pub async fn resolve_all(&self, upstreams: &[Arc<Upstream>]) {
        let mut tasks = JoinSet::new();
        for upstream in upstreams {
            let (resolver, upstream) = (self.clone(), upstream.clone());
            tasks.spawn(async move { resolver.resolve(&upstream, true).await });
        }
        while tasks.join_next().await.is_some() {}
    }

    async fn keep_one_fresh(&self, upstream: &Upstream) {
        let mut failing_since = None;
        loop {
            let since = *failing_since.get_or_insert_with(Instant::now);
            let may_keep = since.elapsed() < self.timing.stale_max;
            let pause = if self.resolve(upstream, may_keep).await {
                failing_since = None;
                self.timing.interval
            } else {
                self.timing.retry
            };
            time::sleep(pause).await;
        }
    }

    /// Looks the names of one upstream up and publishes its addresses. If one of the names gives none, the
    /// addresses that were known stay behind those that were found, unless they are too old for that.
    async fn resolve(&self, upstream: &Upstream, may_keep: bool) -> bool {
        let mut addresses = Vec::new();
        let mut failures = Vec::new();
        for destination in &upstream.destinations {
            match self.addresses(&upstream.name, &upstream.allowed, destination).await {
                Ok(found) => addresses.extend(found),
                Err(why) => failures.push(why),
            }
        }
        if !failures.is_empty() && may_keep {
            addresses.extend(upstream.addresses.load().iter().copied());
        }
        publish(upstream, addresses, &failures);
        failures.is_empty()
    }

    /// The permitted addresses of one name, at least one; `name`: whose it is, `allowed`: where it may lead
    /// in any case.
    ///
    /// # Errors
    /// Why there is none: the resolver's, or the operator's of that name.
    pub(super) async fn addresses(
        &self,
        name: &str,
        allowed: &[Network],
        destination: &Destination,
    ) -> Result<Vec<SocketAddr>, String> {
        let Destination { host, port } = destination;
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, *port)]);
        }
        let found = match time::timeout(self.timing.timeout, (self.look_up)(destination.clone())).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => return Err(format!("{host}: {error}")),
            Err(_) => return Err(format!("{host}: no answer within {:?}", self.timing.timeout)),
        };
        let (permitted, refused): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|address| self.permits(allowed, *address));
        if !refused.is_empty() {
            let refused: Vec<String> = refused.iter().map(SocketAddr::to_string).collect();
            let refused = refused.join(" ");
            tracing::warn!(name, %host, %refused, "the name leads where it may not");
            if permitted.is_empty() {
                return Err(format!("{host} leads only to addresses that are not permitted: {refused}"));
            }
        }
        if permitted.is_empty() { Err(format!("{host} has no address")) } else { Ok(permitted) }
    }

    fn permits(&self, allowed: &[Network], address: SocketAddr) -> bool {
        if self.own.iter().any(|own| is_own(*own, address)) {
            return false;
        }
        let is_allowed = |ip| allowed.iter().any(|network| network.contains(ip));
        is_allowed(address.ip())
            || !std::iter::once(address.ip()).chain(embedded(address.ip())).any(is_refused)
    }
}

/// Whether nobody means this address when a name leads to it.
fn is_refused(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    let is_special = match ip {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast() || v4.octets()[0] == 0,
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    is_special || ip.is_unspecified() || ip.is_multicast() || METADATA.contains(&ip)
}

/// The IPv4 address that an IPv6 address leads to on the way: NAT64 (RFC 6052, RFC 8215), 6to4 (RFC 3056),
/// IPv4-compatible (RFC 4291 section 2.5.5.1), Teredo (RFC 4380).
fn embedded(ip: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(v6) = ip else { return None };
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let v4 = |high: u16, low: u16| Some(IpAddr::V4((u32::from(high) << 16 | u32::from(low)).into()));
    match (a, b, c) {
        (0x64, 0xff9b, 0 | 1) => v4(g, h),
        (0x2002, high, low) => v4(high, low),
        (0x2001, 0, _) => v4(!g, !h),
        // `::1` is no IPv4 address.
        (0, 0, 0) if (d, e, f) == (0, 0, 0) && (g, h) != (0, 1) => v4(g, h),
        _ => None,
    }
}

/// Whether `address` leads to `own`, a socket of this process.
fn is_own(own: SocketAddr, address: SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    if own.port() != address.port() {
        return false;
    }
    let bound = own.ip().to_canonical();
    bound == ip || ip.is_unspecified() || (bound.is_unspecified() && is_local(ip))
}

/// Whether this host has the address: only then may it be bound.
fn is_local(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

fn publish(upstream: &Upstream, addresses: Vec<SocketAddr>, failures: &[String]) {
    let mut unique = Vec::with_capacity(addresses.len());
    for address in addresses {
        if !unique.contains(&address) && unique.len() < RESOLVED_ADDRESSES_MAX {
            unique.push(address);
        }
    }
    if **upstream.addresses.load() != unique {
        upstream.addresses.store(Arc::new(unique));
    }
    let failure = (!failures.is_empty()).then(|| failures.join("; "));
    let before = upstream.resolve_failure.load();
    if before.as_deref() == failure.as_ref() {
        return;
    }
    match &failure {
        Some(why) => tracing::warn!(upstream = %upstream.name, %why, "name not resolved"),
        None => tracing::info!(upstream = %upstream.name, "name resolved again"),
    }
    upstream.resolve_failure.store(failure.map(Arc::new));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeMap, sync::Mutex};

    /// What names lead to; absent ones fail.
    #[derive(Clone, Default)]
    struct Zone(Arc<Mutex<BTreeMap<String, Vec<&'static str>>>>);

    impl Zone {
        fn set(&self, host: &str, addresses: &[&'static str]) -> &Zone {
            self.0.lock().unwrap().insert(host.to_owned(), addresses.to_vec());
            self
        }

        fn fail(&self, host: &str) -> &Zone {
            self.0.lock().unwrap().remove(host);
            self
        }

        fn resolver(&self, own: &[&str]) -> Resolver {
            let zone = self.clone();
            let look_up: LookUp =
                Arc::new(move |Destination { host, port }| {
                    let found =
                        zone.0.lock().unwrap().get(&host).map(|all| {
                            all.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), port)).collect()
                        });
                    Box::pin(async move { found.ok_or_else(|| io::Error::other("no such name")) })
                });
            Resolver::with(look_up, own.iter().map(|own| own.parse().unwrap()), Timing::default())
        }
    }

    fn upstream(hosts: &[&str]) -> Upstream {
        let destination = |host: &&str| Destination { host: (*host).to_owned(), port: 443 };
        Upstream { destinations: hosts.iter().map(destination).collect(), ..Upstream::plain("up") }
    }

    fn known(upstream: &Upstream) -> Vec<String> {
        upstream.addresses.load().iter().map(|address| address.ip().to_string()).collect()
    }

    fn failure(upstream: &Upstream) -> Option<String> {
        upstream.resolve_failure.load().as_deref().cloned()
    }

    // SECURITY R11.
    #[test]
    fn names_lead_neither_to_metadata_nor_to_the_admin_port() {
        let resolver = Zone::default().resolver(&["127.0.0.1:8444", "0.0.0.0:9464", "192.0.2.9:8444"]);
        let upstream = upstream(&["up.test"]);
        for (address, is_allowed) in [
            ("192.0.2.1:443", true),
            ("10.0.0.1:443", true),
            ("127.0.0.1:8080", true),
            ("[2001:db8::1]:443", true),
            ("[fd00::1]:443", true),
            ("[::1]:443", true),
            ("169.254.169.254:80", false),
            ("[::ffff:169.254.169.254]:80", false),
            ("[64:ff9b::169.254.169.254]:80", false),
            ("[64:ff9b:1::a9fe:a9fe]:80", false),
            ("[64:ff9b::192.0.2.1]:80", true),
            ("[2002:a9fe:a9fe::1]:80", false),
            ("[2002:c000:201::1]:80", true),
            ("[2001:0:c000:201:0:0:5601:5601]:80", false),
            ("[::169.254.169.254]:80", false),
            ("[fe80::1]:80", false),
            ("[fd00:ec2::254]:80", false),
            ("[fd20:ce::254]:80", false),
            ("100.100.100.200:80", false),
            ("168.63.129.16:80", false),
            ("192.0.0.192:80", false),
            ("0.0.0.0:80", false),
            ("0.1.2.3:80", false),
            ("[::]:80", false),
            ("224.0.0.1:80", false),
            ("[ff02::1]:80", false),
            ("255.255.255.255:80", false),
            ("127.0.0.1:8444", false),
            ("[::ffff:127.0.0.1]:8444", false),
            ("127.0.0.1:9464", false),
            ("127.1.2.3:9464", false),
            ("[::1]:9464", false),
            ("192.0.2.1:8444", true),
            ("192.0.2.9:8444", false),
        ] {
            assert_eq!(
                resolver.permits(&upstream.allowed, address.parse().unwrap()),
                is_allowed,
                "{address}"
            );
        }
    }

    #[test]
    fn what_the_operator_allows_is_permitted_but_for_the_admin_port() {
        let resolver = Zone::default().resolver(&["169.254.7.7:8444"]);
        let allowed = vec!["169.254.0.0/16".parse().unwrap()];
        let upstream = Upstream { allowed, ..upstream(&["up.test"]) };
        for (address, is_allowed) in [
            ("169.254.169.254:80", true),
            ("[::ffff:169.254.169.254]:80", true),
            ("169.254.7.7:8444", false),
            ("[fe80::1]:80", false),
        ] {
            assert_eq!(
                resolver.permits(&upstream.allowed, address.parse().unwrap()),
                is_allowed,
                "{address}"
            );
        }
    }

    #[tokio::test]
    async fn only_permitted_addresses_are_published() {
        let zone = Zone::default();
        zone.set("up.test", &["169.254.169.254", "192.0.2.1", "192.0.2.2", "192.0.2.1"]);
        let upstream = upstream(&["up.test"]);
        assert!(zone.resolver(&[]).resolve(&upstream, true).await);
        assert_eq!(
            (known(&upstream), failure(&upstream)),
            (vec!["192.0.2.1".into(), "192.0.2.2".into()], None)
        );
        // Rebound to the metadata service: what was known stays.
        zone.set("up.test", &["169.254.169.254"]);
        assert!(!zone.resolver(&[]).resolve(&upstream, true).await);
        assert_eq!(known(&upstream), ["192.0.2.1", "192.0.2.2"]);
        let why = failure(&upstream).unwrap();
        assert!(why.contains("not permitted: 169.254.169.254:443"), "{why}");
    }

    #[tokio::test]
    async fn an_address_that_is_written_is_not_looked_up() {
        let upstream = upstream(&["169.254.1.1", "::1"]);
        assert!(Zone::default().resolver(&[]).resolve(&upstream, true).await);
        assert_eq!(known(&upstream), ["169.254.1.1", "::1"]);
    }

    #[tokio::test]
    async fn several_names_give_their_addresses_in_order() {
        let zone = Zone::default();
        zone.set("a.test", &["192.0.2.1"]).set("b.test", &["192.0.2.2"]);
        let upstream = upstream(&["b.test", "a.test"]);
        assert!(zone.resolver(&[]).resolve(&upstream, true).await);
        assert_eq!(known(&upstream), ["192.0.2.2", "192.0.2.1"]);
        // One of them fails: its address stays, behind what is fresh.
        zone.fail("b.test").set("a.test", &["192.0.2.3"]);
        assert!(!zone.resolver(&[]).resolve(&upstream, true).await);
        assert_eq!(known(&upstream), ["192.0.2.3", "192.0.2.2", "192.0.2.1"]);
        zone.set("b.test", &["192.0.2.4"]);
        assert!(zone.resolver(&[]).resolve(&upstream, true).await);
        assert_eq!(
            (known(&upstream), failure(&upstream)),
            (vec!["192.0.2.4".into(), "192.0.2.3".into()], None)
        );
    }

    /// Waits until an upstream has these addresses.
    async fn until(upstream: &Upstream, addresses: &[&str]) {
        let began = Instant::now();
        while known(upstream) != addresses {
            assert!(began.elapsed() < Duration::from_secs(30), "{:?}, not {addresses:?}", known(upstream));
            time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn names_are_looked_up_again_and_forgotten_when_they_fail_for_long() {
        let zone = Zone::default();
        zone.set("up.test", &["192.0.2.1"]);
        let upstream = Arc::new(upstream(&["up.test"]));
        let brief = Duration::from_millis(2);
        let timing = Timing { interval: brief, retry: brief, stale_max: 50 * brief, ..Timing::default() };
        let resolver = Resolver { timing, ..zone.resolver(&[]) };
        let keeper = tokio::spawn(resolver.keep_fresh(vec![upstream.clone()]));
        until(&upstream, &["192.0.2.1"]).await;
        zone.set("up.test", &["192.0.2.2"]);
        until(&upstream, &["192.0.2.2"]).await;
        zone.fail("up.test");
        until(&upstream, &[]).await;
        assert!(failure(&upstream).unwrap().contains("no such name"));
        zone.set("up.test", &["192.0.2.3"]);
        until(&upstream, &["192.0.2.3"]).await;
        assert_eq!(failure(&upstream), None);
        keeper.abort();
    }

    #[tokio::test]
    async fn a_resolver_that_hangs_holds_up_no_other_name() {
        let look_up: LookUp = Arc::new(|Destination { host, port }| {
            Box::pin(async move {
                if host == "slow.test" {
                    std::future::pending::<()>().await;
                }
                Ok(vec![SocketAddr::new([192, 0, 2, 1].into(), port)])
            })
        });
        let upstreams = ["slow.test", "up.test"].map(|host| Arc::new(upstream(&[host])));
        let timing = Timing { timeout: Duration::from_millis(20), ..Timing::default() };
        Resolver::with(look_up, [], timing).resolve_all(&upstreams).await;
        assert_eq!(known(&upstreams[1]), ["192.0.2.1"]);
        assert!(failure(&upstreams[0]).unwrap().contains("no answer within 20ms"));
    }
}

//! Makes connections to upstreams: over several addresses, through an egress proxy, with TLS.
//!
//! `timeout.connect` bounds all of it together. The first address is tried at once; the next one when it has
//! failed, or when it has not stood within [`CONNECT_STAGGER`] (less where many addresses share the time).
//! What stands first is used, the other attempts are given up (after RFC 8305, section 5).

use super::{Shard, tunnel, upstreams::Server};
use crate::{
    exchange::{
        Cause, Reason,
        plan::{Plan, Upstream, Via},
    },
    limits::CONNECT_STAGGER,
    runtime::{
        self, Connection,
        tls::{ClientTls, TlsError},
    },
    secrets::SecretValue,
    time::Instant,
};
use smallvec::SmallVec;
use std::{
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    task::Poll,
    time::Duration,
};

/// What all attempts of one connection have in common.
struct Dial<'a> {
    shard: &'a Rc<Shard>,
    upstream: &'a Upstream,
    server: &'a Rc<Server>,
    tls: Option<&'a ClientTls>,
    /// What the egress proxy is told of who we are.
    authorization: Option<SecretValue>,
    deadline: Instant,
}

type Attempt<'a> = Pin<Box<dyn Future<Output = Result<Connection, Cause>> + 'a>>;

/// Connects to `upstream`, an entry of `plan`. May be dropped.
///
/// # Errors
/// No address gives a connection that can be used; the reason of the last one, and in its detail those of
/// all.
pub async fn connect(
    shard: &Rc<Shard>,
    plan: &Plan,
    upstream: &Upstream,
    server: &Rc<Server>,
    tls: Option<&ClientTls>,
) -> Result<Connection, Cause> {
    let authorization = upstream.via.as_ref().and_then(|via| via.authorization.as_ref());
    let authorization = authorization.map(|template| template.render(&plan.secrets, &[])).transpose();
    let authorization = authorization.map_err(|missing| {
        let detail = format!("the secret \"{}\" has no value", missing.name);
        Cause::Unreachable(Reason::new("the credential of the egress proxy is not available", detail))
    })?;
    let addresses = upstream.addresses.load_full();
    let order = server.order(&addresses);
    if order.is_empty() {
        let why = upstream.resolve_failure.load();
        let detail = why.as_deref().cloned().unwrap_or_else(|| "not resolved yet".to_owned());
        return Err(Cause::Unreachable(Reason::new("its name does not resolve", detail)));
    }
    let limit = upstream.timeouts.connect;
    let deadline = runtime::now().instant + limit;
    let dial = Dial { shard, upstream, server, tls, authorization, deadline };
    if let [only] = order[..] {
        return dial.attempt(only).await.map_err(|cause| at(cause, only));
    }
    let stagger = CONNECT_STAGGER.min(limit / order.len() as u32);
    dial.staggered(&order, stagger).await
}

impl Dial<'_> {
    /// Begins one attempt after the other until one stands.
    async fn staggered(&self, order: &[SocketAddr], stagger: Duration) -> Result<Connection, Cause> {
        let mut rest = order.iter().copied();
        let mut running = SmallVec::<[(SocketAddr, Attempt<'_>); 4]>::new();
        let mut failures: Vec<Cause> = Vec::new();
        loop {
            if let Some(address) = rest.next() {
                running.push((address, Box::pin(self.attempt(address))));
            }
            let is_last = rest.len() == 0;
            let mut pause = pin!(runtime::sleep(stagger));
            let ended = poll_fn(|cx| {
                for (index, (address, attempt)) in running.iter_mut().enumerate() {
                    if let Poll::Ready(result) = attempt.as_mut().poll(cx) {
                        return Poll::Ready(Some((index, *address, result)));
                    }
                }
                // Once all have begun there is nothing but them to wait for: each has its deadline.
                if is_last { Poll::Pending } else { pause.as_mut().poll(cx).map(|()| None) }
            })
            .await;
            match ended {
                None => {}
                Some((index, _, Ok(connection))) => {
                    // Those that had more time for it and did not use it.
                    running[..index].iter().for_each(|(slow, _)| self.server.tried(*slow, false));
                    return Ok(connection);
                }
                Some((index, address, Err(cause))) => {
                    drop(running.remove(index));
                    failures.push(at(cause, address));
                    if is_last && running.is_empty() {
                        return Err(together(failures));
                    }
                }
            }
        }
    }

    /// One address: TCP, the tunnel, TLS. Tells the breaker what came of it.
    async fn attempt(&self, address: SocketAddr) -> Result<Connection, Cause> {
        let result = self.stages(address).await;
        // An egress proxy that answers works, whatever it answers.
        let is_good = !matches!(&result, Err((_, false)));
        self.server.tried(address, is_good);
        result.map_err(|(cause, _)| cause)
    }

    /// The error says also whether the address itself works.
    async fn stages(&self, address: SocketAddr) -> Result<Connection, (Cause, bool)> {
        let mut connection = runtime::connect(address, self.left())
            .await
            .map_err(|error| (unreachable(&error, self.upstream.timeouts.connect), false))?;
        self.shard.sweeper.register(&connection.control);
        connection.reader.charge(self.shard.memory.hold(0));
        if let Some(Via { target, .. }) = &self.upstream.via {
            let opening = tunnel::open(connection, target, self.authorization.as_ref());
            let refused = |why: &str| Cause::Unreachable(Reason::said(format!("the egress proxy {why}")));
            connection = match runtime::timeout(self.left(), opening).await {
                Some(Ok(connection)) => connection,
                Some(Err(why)) => return Err((refused(&why), true)),
                None => return Err((refused("did not answer in time"), false)),
            };
        }
        if !self.upstream.tls {
            return Ok(connection);
        }
        let Some(tls) = self.tls else {
            return Err((Cause::Tls(Reason::said("no TLS settings for this upstream")), true));
        };
        let secured = connection.connect_tls(tls, &self.upstream.server_name, self.left()).await;
        // Behind an egress proxy it is not the proxy's address that fails.
        secured.map_err(|error| (refused_tls(error), self.upstream.via.is_some()))
    }

    fn left(&self) -> Duration {
        self.deadline.since(runtime::now().instant)
    }
}

/// The address belongs into records and logs, never into a reply.
fn at(cause: Cause, address: SocketAddr) -> Cause {
    let with = |reason: Reason| {
        let detail = if reason.detail.is_empty() { &reason.said } else { &reason.detail };
        Reason { detail: format!("{address}: {detail}"), said: reason.said }
    };
    match cause {
        Cause::Unreachable(reason) => Cause::Unreachable(with(reason)),
        Cause::Tls(reason) => Cause::Tls(with(reason)),
        other => other,
    }
}

/// A refused certificate tells more than an address that does not answer; else the last one counts.
fn together(mut failures: Vec<Cause>) -> Cause {
    let details = failures.iter().filter_map(|cause| match cause {
        Cause::Unreachable(reason) | Cause::Tls(reason) => Some(reason.detail.as_str()),
        _ => None,
    });
    let all = details.collect::<Vec<_>>().join("; ");
    let position = failures.iter().rposition(|cause| matches!(cause, Cause::Tls(_)));
    let telling = match position {
        Some(position) => Some(failures.swap_remove(position)),
        None => failures.pop(),
    };
    match telling {
        Some(Cause::Unreachable(reason)) => Cause::Unreachable(Reason { detail: all, ..reason }),
        Some(Cause::Tls(reason)) => Cause::Tls(Reason { detail: all, ..reason }),
        other => other.unwrap_or(Cause::Closed),
    }
}

fn unreachable(error: &io::Error, limit: Duration) -> Cause {
    if error.kind() == io::ErrorKind::TimedOut {
        let said = format!("it did not accept within {} ms", limit.as_millis());
        return Cause::Unreachable(Reason::said(said));
    }
    Cause::Unreachable(Reason::said(error.to_string()))
}

/// What stands in parentheses within a reason names hosts and times.
fn refused_tls(error: TlsError) -> Cause {
    let is_ours = matches!(error, TlsError::Configuration(_));
    let detail = match error {
        TlsError::Certificate(reason) => reason,
        other => other.to_string(),
    };
    let said = match (detail.split_once(" ("), detail.rsplit_once(')')) {
        _ if is_ours => "its TLS settings cannot be used".to_owned(),
        (Some((before, _)), Some((_, behind))) => format!("{before}{behind}"),
        _ => detail.clone(),
    };
    Cause::Tls(Reason { said, detail })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_certificate_counts_more_than_silence() {
        let address = |last: u8| SocketAddr::new([192, 0, 2, last].into(), 443);
        let timed_out = unreachable(&io::ErrorKind::TimedOut.into(), Duration::from_secs(1));
        let expired = "it has expired (of DnsName(\"a.test\"), 2024-01-01): the server needs a new one";
        let expired = refused_tls(TlsError::Certificate(expired.to_owned()));
        let all = vec![at(timed_out.clone(), address(1)), at(expired, address(2)), at(timed_out, address(3))];
        let detail = "192.0.2.1:443: it did not accept within 1000 ms; \
                      192.0.2.2:443: it has expired (of DnsName(\"a.test\"), 2024-01-01): \
                      the server needs a new one; \
                      192.0.2.3:443: it did not accept within 1000 ms";
        assert_eq!(
            together(all),
            Cause::Tls(Reason::new("it has expired: the server needs a new one", detail))
        );
    }
}

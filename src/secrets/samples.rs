//! A lease and its source, for tests.

use super::{
    ClientAuth, Endpoint, Lease, LeaseKind, LeaseSource, Scrub, SecretSlot, SecretSpec, SecretValue, Source,
};
use crate::time::Timestamp;
use std::sync::Arc;

/// A source without a revocation endpoint.
pub fn source() -> Arc<LeaseSource> {
    let secret = Source::env("UNUSED").and_then(|source| SecretSpec::new("client", source, None, Scrub::On));
    Arc::new(LeaseSource {
        name: "lease".into(),
        kind: LeaseKind::ClientCredentials,
        token_endpoint: Endpoint::parse("http://127.0.0.1:9/token").expect("loopback"),
        revoke_endpoint: None,
        client_id: "ringward".into(),
        client_secret: Arc::new(SecretSlot::new(secret.expect("a spec"))),
        auth_method: ClientAuth::Basic,
        audience: None,
        resource: None,
        scope: None,
        lifetime_default: None,
        scrub: Scrub::On,
        roots: None,
    })
}

/// A lease of that source.
pub fn lease() -> Lease {
    let value = SecretValue::new(b"a-short-lived-token".to_vec(), Scrub::On).expect("long enough");
    Lease { source: source(), id: "lease-1".into(), value: Arc::new(value), expires: Timestamp(1) }
}

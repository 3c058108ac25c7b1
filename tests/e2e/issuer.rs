//! Tokens of a real OpenID Connect issuer, with a change of its keys while everything runs.

use super::support::{clients::Issuer, eventually, gateway::Gateway, http::ask, upstream::Upstream};
use std::time::{Duration, Instant};

/// A new key works within this time after it was published.
const ROTATION: Duration = Duration::from_secs(60);

fn routes(issuer: &str, upstream: &Upstream) -> String {
    let identity = |name: &str, algorithm: &str, path: &str| {
        format!(
            "[[identity]]\nname = \"{name}\"\nissuer = \"{issuer}\"\n\
             audience = [\"urn:test:gateway:{name}\"]\n\
             algorithms = [\"{algorithm}\"]\ntypes = [\"at+jwt\"]\nrequire_purpose = true\n\
             [[route]]\nname = \"{name}\"\nmatch = {{ listen = \"main\", path = \"{path}\" }}\n\
             identity = [\"{name}\"]\nupstream = \"up\"\npolicies = [\"agents\", \"others\"]\n"
        )
    };
    format!(
        "[upstreams.up]\nurl = \"http://{}\"\n\
         [[policy]]\nname = \"agents\"\nwhen = {{ groups_any = [\"agents\"] }}\naction = \"allow\"\n\
         [[policy]]\nname = \"others\"\naction = \"block\"\nreason = \"Only for agents.\"\n{}{}",
        upstream.address,
        identity("es256", "ES256", "/es256/**"),
        identity("rs256", "RS256", "/rs256/**"),
    )
}

#[test]
fn tokens_of_a_real_issuer_open_the_gateway_also_after_a_key_rotation() {
    let Some(issuer) = Issuer::start(0) else { return };
    let upstream = Upstream::answering("welcome");
    let gateway = Gateway::start(&routes(&issuer.url, &upstream));
    let status = |path: &str, token: &str| {
        let bearer = format!("Bearer {token}");
        ask(&gateway.address(), "GET", path, &[("authorization", &bearer)], "").status
    };
    let tokens = ["es256", "rs256"].map(|name| issuer.token(&format!("urn:test:gateway:{name}")));
    // The first request may come before the keys.
    eventually("the issuer's keys", || (status("/es256/a", &tokens[0]) == 200).then_some(()));
    assert_eq!(status("/rs256/a", &tokens[1]), 200);
    // Audience and algorithm are those of the route.
    assert_eq!(status("/rs256/a", &tokens[0]), 401);
    assert_eq!(status("/es256/a", &tokens[1]), 401);
    let mut other = tokens[0].clone();
    other.pop();
    assert_eq!(status("/es256/a", &other), 401);

    issuer.rotate();
    let began = Instant::now();
    for name in ["es256", "rs256"] {
        let token = issuer.token(&format!("urn:test:gateway:{name}"));
        eventually("the new key", || (status(&format!("/{name}/b"), &token) == 200).then_some(()));
    }
    // A promise of the gateway, and no measure of its speed: the machine's load has no part in it.
    assert!(began.elapsed() < ROTATION + Duration::from_secs(10));
    assert!(!upstream.received().contains("authorization"), "the caller's token went upstream");
}

#[test]
fn an_issuer_that_is_away_at_the_start_is_named_and_found_later() {
    // Freed at once; the system hands out other ports before it comes back to this one.
    let reserved = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = reserved.local_addr().unwrap().port();
    drop(reserved);
    let url = format!("http://127.0.0.1:{port}");
    let upstream = Upstream::answering("welcome");
    let gateway = Gateway::start(&routes(&url, &upstream));
    let health = gateway.command(&["healthcheck"]);
    let said =
        String::from_utf8_lossy(&health.stderr).into_owned() + &String::from_utf8_lossy(&health.stdout);
    assert!(health.status.code() == Some(1) && said.contains("es256"), "{said}");
    let reply = ask(&gateway.address(), "GET", "/es256/a", &[], "");
    assert_eq!(reply.status, 401, "{}", reply.text());
    assert!(!reply.text().contains(".."), "{}", reply.text());
    let Some(issuer) = Issuer::start(port) else { return };
    let bearer = format!("Bearer {}", issuer.token("urn:test:gateway:es256"));
    let status = || ask(&gateway.address(), "GET", "/es256/a", &[("authorization", &bearer)], "").status;
    eventually("the issuer's keys", || {
        let status = status();
        assert!([200, 401, 503].contains(&status), "{status}");
        (status == 200).then_some(())
    });
    eventually("health", || gateway.command(&["healthcheck"]).status.success().then_some(()));
}

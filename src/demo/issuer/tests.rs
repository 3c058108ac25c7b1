use super::*;
use crate::background::client::client;
use crate::demo::serve::{bind, serve};

fn run<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future)
}

struct World {
    issuer: Arc<DevIssuer>,
    http: reqwest::Client,
}

async fn world() -> World {
    let listener = bind().await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let issuer = Arc::new(DevIssuer::new(url).unwrap());
    serve(listener, issuer.clone().router()).unwrap();
    World { issuer, http: client(None).unwrap() }
}

impl World {
    async fn get(&self, path: &str) -> Value {
        let answer = self.http.get(format!("{}{path}", self.issuer.url())).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.json().await.unwrap()
    }

    async fn post(&self, path: &str, client: &str, fields: &[(&str, &str)]) -> (u16, Value) {
        let url = format!("{}{path}", self.issuer.url());
        let secret = self.issuer.client_secret(client).unwrap_or("wrong");
        let answer = self.http.post(url).basic_auth(client, Some(secret)).form(fields).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default())
    }

    async fn agent_token(&self, fields: &[(&str, &str)]) -> String {
        let fields: Vec<_> = [("grant_type", "client_credentials")].iter().chain(fields).copied().collect();
        let (status, answer) = self.post("/token", AGENT_CLIENT, &fields).await;
        assert_eq!(status, 200, "{answer}");
        answer["access_token"].as_str().unwrap().to_owned()
    }

    async fn exchange(&self, subject_token: &str, change: &[(&str, &str)]) -> (u16, Value) {
        let mut fields = BTreeMap::from([
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", subject_token),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("audience", "customers"),
        ]);
        fields.extend(change.iter().copied());
        self.post("/token", GATEWAY_CLIENT, &fields.into_iter().collect::<Vec<_>>()).await
    }

    /// The gateway's own verifier, with the keys as they are published.
    async fn accepted(&self, token: &str, audience: &str) -> Result<Arc<Principal>, String> {
        let mut settings = identity::Settings::new("dev", self.issuer.url(), &[audience], &["ES256"]);
        settings.claims.owner = vec!["owner".to_owned()];
        settings.require_purpose = true;
        let rules = Arc::new(identity::Issuer::new(settings).unwrap());
        let keys = self.get("/jwks").await.to_string();
        rules.keys().publish(Arc::new(KeySet::parse(keys.as_bytes()).unwrap()));
        let mut headers = Headers::new();
        headers.append("x-api-key", token.as_bytes());
        let mut cache = TokenCache::new(&[1; 32]);
        let verified = identity::authenticate(now(), &headers, &[rules], &mut cache);
        verified.map_err(|failure| failure.into_refusal().to_string())
    }
}

// OpenID Connect Discovery 1.0 sections 3 and 4.3.
#[test]
fn discovery_names_what_there_is() {
    run(async {
        let world = world().await;
        let found = world.get("/.well-known/openid-configuration").await;
        assert_eq!(found["issuer"], world.issuer.url());
        for (member, path) in [("jwks_uri", "/jwks"), ("token_endpoint", "/token")] {
            assert_eq!(found[member], format!("{}{path}", world.issuer.url()));
        }
        let keys = world.get("/jwks").await;
        assert_eq!(keys["keys"][0]["alg"], "ES256");
        assert!(keys["keys"][0].get("d").is_none());
    });
}

#[test]
fn the_gateway_accepts_what_the_agent_gets() {
    run(async {
        let world = world().await;
        let token = world.agent_token(&[]).await;
        let principal = world.accepted(&token, GATEWAY_AUDIENCE).await.unwrap();
        assert_eq!(principal.subject, "agent-7");
        assert_eq!(principal.groups, ["agents"]);
        assert_eq!(principal.owner.as_deref(), Some("grace.hopper@example.com"));
        assert_eq!(principal.client.as_deref(), Some(AGENT_CLIENT));
        assert!(world.accepted(&token, "customers").await.is_err());
        assert!(world.issuer.verify_customers_token(&token).is_err());

        let changed = [("subject", "agent-8"), ("groups", "a b"), ("purpose", "billing"), ("owner", "x@y")];
        let principal = world.accepted(&world.agent_token(&changed).await, GATEWAY_AUDIENCE).await.unwrap();
        assert_eq!((principal.subject.as_str(), principal.groups.len()), ("agent-8", 2));
        assert_eq!(principal.purpose.as_deref(), Some("billing"));

        for (fields, wrong) in [
            ([("lifetime", "-60")], "expired"),
            ([("lifetime", "-3000")], "expired"),
            ([("purpose", "")], "purpose"),
        ] {
            let refused = world.accepted(&world.agent_token(&fields).await, GATEWAY_AUDIENCE).await;
            assert!(refused.as_ref().is_err_and(|why| why.contains(wrong)), "{refused:?}");
        }
    });
}

#[test]
fn keys_are_fresh_at_each_start() {
    run(async {
        let (first, second) = (world().await, world().await);
        assert_ne!(first.get("/jwks").await, second.get("/jwks").await);
        assert_ne!(first.issuer.client_secret(AGENT_CLIENT), second.issuer.client_secret(AGENT_CLIENT));
    });
}

// RFC 8693 section 2.2.1, RFC 7009.
#[test]
fn an_exchanged_token_lives_a_minute_or_until_it_is_revoked() {
    run(async {
        let world = world().await;
        let subject_token = world.agent_token(&[("subject", "agent-9")]).await;
        let (status, answer) = world.exchange(&subject_token, &[]).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["issued_token_type"], "urn:ietf:params:oauth:token-type:access_token");
        assert_eq!(
            (answer["token_type"].as_str(), answer["expires_in"].as_i64()),
            (Some("Bearer"), Some(60))
        );
        let token = answer["access_token"].as_str().unwrap();
        let principal = world.issuer.verify_customers_token(token).unwrap();
        assert_eq!(principal.subject, "agent-9");
        assert!(principal.expires.unix_seconds() <= now().wall.unix_seconds() + 60);
        assert!(world.accepted(token, GATEWAY_AUDIENCE).await.is_err());

        // Not by another client, and unknown tokens are no error.
        let revoke = async |client, token: &str| world.post("/revoke", client, &[("token", token)]).await.0;
        assert_eq!(revoke(AGENT_CLIENT, token).await, 200);
        assert!(world.issuer.verify_customers_token(token).is_ok());
        assert_eq!(revoke(GATEWAY_CLIENT, "unknown").await, 200);
        assert_eq!(revoke("nobody", token).await, 401);
        assert_eq!(revoke(GATEWAY_CLIENT, token).await, 200);
        let refused = world.issuer.verify_customers_token(token);
        assert_eq!(refused.unwrap_err(), "the token was revoked");
    });
}

// RFC 6749 section 5.2.
#[test]
fn clients_that_ask_wrongly_get_no_token() {
    run(async {
        let world = world().await;
        let check = |(status, answer): (u16, Value), code: &str| {
            assert_eq!(answer["error"], code, "{answer}");
            assert_eq!(status, if code == "invalid_client" { 401 } else { 400 });
        };
        let own = [("grant_type", "client_credentials")];
        check(world.post("/token", "nobody", &own).await, "invalid_client");
        check(world.post("/token", GATEWAY_CLIENT, &own).await, "unauthorized_client");
        check(world.post("/token", AGENT_CLIENT, &[]).await, "invalid_request");
        check(world.post("/token", AGENT_CLIENT, &[own[0], own[0]]).await, "invalid_request");
        let password = [("grant_type", "password")];
        check(world.post("/token", AGENT_CLIENT, &password).await, "unsupported_grant_type");
        for (name, value, code) in [
            ("audience", "customers", "invalid_target"),
            ("lifetime", "soon", "invalid_request"),
            ("lifetime", "86401", "invalid_request"),
        ] {
            check(world.post("/token", AGENT_CLIENT, &[own[0], (name, value)]).await, code);
        }
        let token = world.agent_token(&[]).await;
        let expired = world.agent_token(&[("lifetime", "-1")]).await;
        check(world.exchange(&token, &[("audience", "other")]).await, "invalid_target");
        check(world.exchange(&token, &[("subject_token_type", "saml")]).await, "invalid_request");
        check(world.exchange("x.y.z", &[]).await, "invalid_grant");
        check(world.exchange(&expired, &[]).await, "invalid_grant");
        let exchanged = world.exchange(&token, &[]).await.1;
        check(world.exchange(exchanged["access_token"].as_str().unwrap(), &[]).await, "invalid_grant");
    });
}

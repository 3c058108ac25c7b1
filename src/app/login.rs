//! Logins to the admin interface: what the configuration says of them, and what the issuer says.

use super::{Core, control};
use crate::{
    admin::{DeviceLogin, LoginRules, NotLoggedIn, Person, Redemption, Role, RoleRule, SignInPlace},
    approval::Reach,
    background::{
        lease::LeaseError,
        oidc::{LoginClient, LoginError, Proof},
    },
    config::{LoginPlan, LoginRole},
    identity::IdToken,
};
use std::{sync::Arc, time::Duration};

/// As the admin side takes them.
pub fn rules(plan: &LoginPlan) -> LoginRules {
    let role = |one: &LoginRole| RoleRule {
        role: one.role.map_or(Role::Admin, control::role),
        who: one.who.clone(),
        reach: one.routes.as_ref().map_or(Reach::All, |routes| Reach::Routes(routes.to_vec())),
    };
    LoginRules {
        issuer: plan.issuer.url().clone(),
        client_id: client_id(&plan.issuer),
        scope: plan.scope.clone(),
        url: plan.url.clone(),
        idle: plan.idle,
        lifetime: plan.lifetime,
        roles: plan.roles.iter().map(role).collect(),
    }
}

/// The only audience of its ID tokens.
fn client_id(issuer: &crate::identity::Issuer) -> Arc<str> {
    issuer.settings().audience.first().map_or("", String::as_str).into()
}

/// Where the issuer takes people.
pub async fn place(core: Arc<Core>) -> Result<SignInPlace, NotLoggedIn> {
    let endpoints = client(&core)?.endpoints().await.map_err(failed)?;
    Ok(SignInPlace { url: endpoints.authorization.clone(), names_issuer: endpoints.names_issuer })
}

/// Who comes back from there.
pub async fn redeem(core: Arc<Core>, redemption: Redemption) -> Result<Person, NotLoggedIn> {
    let client = client(&core)?;
    let Redemption { code, verifier, redirect_uri, nonce } = &redemption;
    let token = client.redeem(Proof { code, verifier, redirect_uri }).await.map_err(failed)?;
    person(&core, &client, &token, Some(nonce)).await
}

/// Begins a login on another device.
pub async fn begin_device(core: Arc<Core>) -> Result<DeviceLogin, NotLoggedIn> {
    let scope = core.snapshot.load().admin.login.as_ref().map(|plan| plan.scope.clone());
    let begun = client(&core)?.begin_device(&scope.unwrap_or_default()).await.map_err(failed)?;
    Ok(DeviceLogin {
        device_code: begun.device_code,
        user_code: begun.user_code,
        verification_uri: begun.verification_uri,
        verification_uri_complete: begun.verification_uri_complete,
        expires: Duration::from_secs(begun.expires_in),
        interval: Duration::from_secs(begun.interval),
    })
}

/// Who has logged in on it, if somebody has.
pub async fn ask_device(core: Arc<Core>, device_code: String) -> Result<Option<Person>, NotLoggedIn> {
    let client = client(&core)?;
    match client.ask_device(&device_code).await {
        Ok(token) => person(&core, &client, &token, None).await.map(Some),
        Err(LoginError::Request(LeaseError::Refused { code: "authorization_pending", .. })) => Ok(None),
        Err(LoginError::Request(LeaseError::Refused { code: "slow_down", .. })) => Err(NotLoggedIn::TooFast),
        Err(error) => Err(failed(error)),
    }
}

/// Whom a token of the issuer's own endpoint is about.
async fn person(
    core: &Core,
    client: &LoginClient,
    token: &str,
    nonce: Option<&str>,
) -> Result<Person, NotLoggedIn> {
    let mut verified = client.verify(token, nonce, true).map_err(failed)?;
    if verified.is_none() {
        let refetch = core.services.oidc.load().refetch(client.issuer());
        refetch.await;
        verified = client.verify(token, nonce, false).map_err(failed)?;
    }
    let refused = |why: &str| NotLoggedIn::Refused(why.to_owned());
    let IdToken { principal, name } = verified.ok_or_else(|| refused("the issuer's keys are not there"))?;
    let issuer = client.issuer();
    if principal.owner.is_none() && !issuer.settings().claims.owner.is_empty() {
        let claims = issuer.settings().claims.owner.join(" or ");
        return Err(refused(&format!("the ID token has no claim {claims}, which names the human")));
    }
    Ok(Person {
        issuer: issuer.url().clone(),
        client_id: client_id(issuer),
        name: name.unwrap_or_else(|| principal.subject.clone()).into(),
        subject: principal.subject.into(),
        owner: principal.owner.map(Into::into),
        groups: principal.groups.into_iter().map(Into::into).collect(),
    })
}

fn client(core: &Core) -> Result<Arc<LoginClient>, NotLoggedIn> {
    let nobody = || NotLoggedIn::Unavailable("the login was removed from the configuration".to_owned());
    core.services.login.load_full().ok_or_else(nobody)
}

/// What the issuer says no to is refused; what it does not answer is not available.
fn failed(error: LoginError) -> NotLoggedIn {
    let why = error.to_string();
    let is_refusal = match &error {
        LoginError::Token(error) => error.class() != crate::identity::TokenClass::Unavailable,
        LoginError::Request(error) => error.is_refusal(),
        _ => false,
    };
    if is_refusal { NotLoggedIn::Refused(why) } else { NotLoggedIn::Unavailable(why) }
}

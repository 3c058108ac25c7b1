//! Who is told of what waits for people.

use super::Compiler;
use crate::approval::{Address, Keys, Target, TargetKind};
use crate::config::notify::secret_name;
use crate::config::tree::at;
use crate::config::{Notify, NotifyKind};
use crate::secrets::{Endpoint, SecretSlot, Slots};
use std::sync::Arc;

impl Compiler<'_> {
    /// The targets in their order; `None` where something was noted on the way.
    pub(super) fn notify(&mut self, slots: Option<&Slots>) -> Option<Vec<Arc<Target>>> {
        let slots = slots?;
        let document = self.document;
        let mut targets = Vec::new();
        for (index, notify) in document.notify.iter().enumerate() {
            let path = at!["notify", index];
            let roots = match &notify.tls {
                Some(tls) => Some(self.authorities(&path, &tls.ca)?),
                None => None,
            };
            let Some(target) = target(notify, slots, roots) else {
                self.error(&path, "secret", "its address or its key cannot be used", "");
                return None;
            };
            targets.push(Arc::new(target));
        }
        Some(targets)
    }
}

/// The document was checked: what it names is there.
fn target(notify: &Notify, slots: &Slots, roots: Option<Arc<[u8]>>) -> Option<Target> {
    let slot = |text: &str| -> Option<Arc<SecretSlot>> { slots.find(secret_name(text)?).cloned() };
    let address = match slot(&notify.url) {
        Some(slot) => Address::Secret(slot),
        None => Address::Plain(Endpoint::parse(&notify.url).ok()?),
    };
    let kind = match notify.kind {
        NotifyKind::Slack => TargetKind::Slack,
        NotifyKind::Webhook => {
            TargetKind::Webhook(Keys(notify.secret.iter().map(|text| slot(text)).collect::<Option<_>>()?))
        }
    };
    let routes = notify.routes.iter().map(|route| route.as_str().into()).collect();
    Some(Target {
        name: notify.name.as_str().into(),
        kind,
        address,
        events: Some(notify.events.clone()).filter(|events| !events.is_empty()),
        routes: Some(routes).filter(|routes: &Vec<_>| !routes.is_empty()),
        roots,
    })
}

//! Who is told, as the admin side shows it.

use super::{Core, control::record_admin};
use crate::{
    admin::{NotifyTarget, NotifyTried},
    approval::{NoticeKind, Target, TargetKind},
    background::notify::Health,
};
use std::sync::Arc;

/// All targets, and how it stands with each.
pub fn targets(core: &Core) -> Vec<NotifyTarget> {
    core.services.notifier.status().iter().map(|(target, health)| shown(target, health)).collect()
}

fn shown(target: &Target, health: &Health) -> NotifyTarget {
    let names = |kinds: &Vec<NoticeKind>| kinds.iter().map(|kind| kind.as_str().to_owned()).collect();
    NotifyTarget {
        name: target.name.to_string(),
        kind: match target.kind {
            TargetKind::Webhook(_) => "webhook",
            TargetKind::Slack => "slack",
        }
        .to_owned(),
        place: target.place(),
        events: target.events.as_ref().map(names).unwrap_or_default(),
        routes: target.routes.iter().flatten().map(ToString::to_string).collect(),
        waiting: health.waiting as u64,
        delivered: health.delivered,
        failed: health.failed,
        delivered_at: health.delivered_at.map(|at| at.to_string()),
        last_error: health.last_failure.as_ref().map(|(at, failure)| format!("{at}: {failure}")),
        gone_since: health.gone_since.map(|at| at.to_string()),
    }
}

/// Sends a test to one target.
pub async fn test(core: Arc<Core>, author: String, name: String) -> Option<NotifyTried> {
    let tried = core.services.notifier.test(&name, &author).await?;
    let error = tried.err().map(|failure| failure.to_string());
    let object = match &error {
        None => format!("{name}: delivered"),
        Some(error) => format!("{name}: {error}"),
    };
    let journal = core.journal.clone();
    // It says itself when it fails.
    let _ =
        tokio::task::spawn_blocking(move || record_admin(&journal, &author, "notify test", &object)).await;
    Some(NotifyTried { delivered: error.is_none(), error })
}

//! A notice as a message of Slack's incoming webhooks.

use super::{Notice, NoticeKind};
use serde_json::{Value, json};

/// The JSON of the message. Everything but the link is plain text, in which Slack finds no markup; the
/// fallback, which has none of its own, is escaped.
pub fn message(notice: &Notice) -> Value {
    let text = lines(notice);
    let section =
        json!({ "type": "section", "text": { "type": "plain_text", "text": text, "emoji": false } });
    let mut blocks = vec![section];
    if let Some(link) = &notice.data.link {
        let text = format!("<{}|Open it in ringward>", escaped(link));
        blocks.push(json!({ "type": "section", "text": { "type": "mrkdwn", "text": text } }));
    }
    json!({ "text": escaped(&text), "blocks": blocks, "unfurl_links": false, "unfurl_media": false })
}

/// What it says, for people.
fn lines(notice: &Notice) -> String {
    let data = &notice.data;
    let of = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let (subject, by) = (of(&data.subject), of(&data.by));
    let whom = match data.scope.as_deref() {
        Some("subject") => subject.clone(),
        Some("route") => format!("route {}", of(&data.route)),
        Some("session") => "a session".to_owned(),
        _ => "everything".to_owned(),
    };
    let holder = data.group.as_ref().map_or(subject.clone(), |group| format!("group {group}"));
    let title = match notice.kind {
        NoticeKind::Test => format!("{by} tries whether messages arrive here"),
        NoticeKind::ApprovalRequested => format!("A request of {subject} waits for approval"),
        NoticeKind::ApprovalDecided => format!("A request of {subject} was {} by {by}", of(&data.state)),
        NoticeKind::ApprovalExpired => format!("A request of {subject} has {}", ended(&data.state)),
        NoticeKind::GrantCreated => format!("{by} has granted what follows to {holder}"),
        NoticeKind::GrantRevoked => format!("The grant of {holder} was revoked by {by}"),
        NoticeKind::FreezeCreated => format!("{by} has frozen {whom}"),
        NoticeKind::FreezeRemoved => format!("{by} has thawed {whom}"),
    };
    let rows = [
        ("Route", &data.route),
        ("Policy", &data.policy),
        ("Reason", &data.reason),
        ("Until", &data.expires),
    ];
    let rows = rows.iter().filter_map(|(name, value)| Some(format!("\n{name}: {}", value.as_ref()?)));
    title + &rows.collect::<String>()
}

fn ended(state: &Option<String>) -> &'static str {
    match state.as_deref() {
        Some("abandoned") => "ended: its caller went away",
        _ => "expired: nobody decided",
    }
}

/// Slack's three characters (docs.slack.dev, "Formatting message text").
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::{super::NoticeData, *};

    fn notice(kind: NoticeKind, data: NoticeData) -> Notice {
        Notice { kind, timestamp: "2026-11-22T00:00:00Z".into(), data }
    }

    #[test]
    fn a_message_has_a_link_and_no_other_markup() {
        let data = NoticeData {
            approval: Some("apr_1".into()),
            subject: Some("<!channel> & *co*".into()),
            route: Some("claude".into()),
            ..NoticeData::default()
        };
        let sent = message(&notice(NoticeKind::ApprovalRequested, data).linked("https://gw.example.com"));
        assert_eq!(sent["blocks"][0]["text"]["type"], "plain_text");
        assert_eq!(
            sent["text"],
            "A request of &lt;!channel&gt; &amp; *co* waits for approval\nRoute: claude"
        );
        assert_eq!(
            sent["blocks"][1]["text"]["text"],
            "<https://gw.example.com/ui/approvals/apr_1|Open it in ringward>"
        );
    }

    #[test]
    fn each_kind_says_what_happened() {
        let data = || NoticeData {
            subject: Some("agent-7".into()),
            by: Some("user:sam".into()),
            state: Some("denied".into()),
            scope: Some("subject".into()),
            ..NoticeData::default()
        };
        for (kind, said) in [
            (NoticeKind::ApprovalDecided, "A request of agent-7 was denied by user:sam"),
            (NoticeKind::ApprovalExpired, "A request of agent-7 has expired: nobody decided"),
            (NoticeKind::GrantCreated, "user:sam has granted what follows to agent-7"),
            (NoticeKind::GrantRevoked, "The grant of agent-7 was revoked by user:sam"),
            (NoticeKind::FreezeCreated, "user:sam has frozen agent-7"),
            (NoticeKind::FreezeRemoved, "user:sam has thawed agent-7"),
        ] {
            assert_eq!(lines(&notice(kind, data())), said);
        }
    }
}

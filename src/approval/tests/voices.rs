//! Cards that several people decide about, and several processes ask for.

use super::*;

fn for_seconds(seconds: u64, group: Option<&str>) -> Scope {
    Scope::Period(Duration::from_secs(seconds), group.map(str::to_owned))
}

#[test]
fn nobody_makes_last_alone_what_two_must_approve() {
    let group = samples::subject().groups[0].to_string();
    let minute = for_seconds(60, None);
    let cases = [
        (Scope::Once, minute.clone(), None),
        (minute.clone(), Scope::Once, None),
        (Scope::Session, minute.clone(), None),
        (for_seconds(600, Some(&group)), minute.clone(), Some((60, false))),
        (for_seconds(60, Some(&group)), for_seconds(600, Some(&group)), Some((60, true))),
        (Scope::Session, Scope::Session, Some((crate::limits::GRANT_MAX.as_secs(), false))),
    ];
    for (first, second, expected) in cases {
        let mut desk = Desk::new();
        desk.ask(1, &Question { terms: Arc::new(terms(2)), ..question(1) }, b"hello");
        let id = desk.card().id;
        desk.say(&id, "local:1", 1, Given::Yes { scope: first.clone(), reason: None }).unwrap();
        // What was said so far outlives the process, and a card of an older one says nothing of it.
        desk.restart();
        desk.ask(1, &Question { terms: Arc::new(terms(2)), ..question(1) }, b"hello");
        let scope = second.clone();
        let effects = desk.say(&id, "local:2", 1, Given::Yes { scope, reason: None }).unwrap();
        assert_eq!(told(&effects), ["approved"]);
        let opened = desk
            .book
            .grants()
            .next()
            .map(|grant| ((grant.expires_us - grant.opened_us) / 1_000_000, !grant.group.is_empty()));
        assert_eq!(opened, expected, "{first:?}, {second:?}");
    }
}

#[test]
fn no_user_approves_what_a_process_of_theirs_has_asked_again() {
    let mut desk = Desk::new();
    let ask = |desk: &mut Desk, ticket, uid| {
        let id = name("apr", [9; 10]);
        desk.book.ask(desk.now, Seat { shard: 0, ticket }, &question(1), b"hello", id, uid)
    };
    for (ticket, uid) in [(1, None), (2, Some(2)), (3, Some(77))] {
        let effects = ask(&mut desk, ticket, uid);
        assert_eq!(effects.kept.is_empty(), uid.is_none() && ticket > 1);
    }
    let id = desk.card().id;
    assert!(matches!(desk.yes(&id, "local:2"), Err(Fault::Forbidden(_))), "they have asked as well");
    assert_eq!(told(&desk.yes(&id, "local:1").unwrap())[0], "approved");
}

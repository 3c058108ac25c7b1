use super::*;
use proptest::prelude::*;

fn open() -> Conversations {
    let all = Conversations::default();
    all.open(Key::new(&[7; 32]), Vec::new());
    all
}

fn setting(subject: &str) -> Setting<'_> {
    Setting { issuer: "i", subject, route: &[1; 32], rules: &[2; 32], circumstances: &[1, 0] }
}

fn turn_of(all: &Conversations, setting: Setting<'_>, blocks: &[&str]) -> Turn {
    all.turn(setting, blocks.len(), &|index: usize, out: &mut dyn FnMut(&[u8])| out(blocks[index].as_bytes()))
        .expect("it is open")
}

fn turn(all: &Conversations, blocks: &[&str]) -> Turn {
    turn_of(all, setting("a"), blocks)
}

/// How many blocks passed, and which are replaced.
fn known(all: &Conversations, blocks: &[&str]) -> (usize, Vec<usize>) {
    let turn = turn(all, blocks);
    (turn.passed, turn.removed.iter().map(|(index, _)| *index).collect())
}

#[test]
fn what_passed_is_passed_behind_the_same_blocks_alone() {
    let all = open();
    assert_eq!(known(&all, &["s", "a"]), (0, vec![]));
    all.pass(&turn(&all, &["s", "a"]));
    assert_eq!(known(&all, &["s", "a"]), (2, vec![]));
    assert_eq!(known(&all, &["s", "a", "b", "c"]), (2, vec![]));
    for other in [&["s"][..], &["s", "b", "a"], &["a", "s"], &["sa"], &["a"]] {
        assert_eq!(known(&all, other), (0, vec![]), "{other:?}");
    }
    let (other_route, other_rules) = ([9; 32], [8; 32]);
    for other in [
        setting("b"),
        Setting { issuer: "j", ..setting("a") },
        Setting { route: &other_route, ..setting("a") },
        Setting { rules: &other_rules, ..setting("a") },
        Setting { circumstances: &[1, 1], ..setting("a") },
    ] {
        assert_eq!(turn_of(&all, other, &["s", "a"]).passed, 0, "{other:?}");
    }
}

#[test]
fn what_was_blocked_is_replaced_when_the_conversation_goes_on() {
    let all = open();
    all.refuse(&turn(&all, &["s", "bad", "t"]), &[1], "no");
    assert_eq!(known(&all, &["s", "bad", "t"]), (0, vec![]), "the same again is judged again");
    assert_eq!(known(&all, &["s", "bad"]), (0, vec![1]));
    let second = turn(&all, &["s", "bad", "t", "more"]);
    assert_eq!((second.passed, &second.removed[..]), (0, &[(1, "no".to_owned())][..]));
    all.pass(&second);
    assert_eq!(known(&all, &["s", "bad", "t", "more", "yet"]), (4, vec![1]), "named by the later turn");
    // The block behind others is not the same block.
    assert_eq!(known(&all, &["bad", "x"]), (0, vec![]));
    // Another one is blocked in the turn after that.
    all.refuse(&turn(&all, &["s", "bad", "t", "more", "worse"]), &[4], "no");
    assert_eq!(known(&all, &["s", "bad", "t", "more", "worse", "on"]), (4, vec![1, 4]));
}

#[test]
fn a_blocked_block_never_becomes_passed_by_being_forgotten() {
    let all = open();
    all.refuse(&turn(&all, &["bad"]), &[0], "no");
    all.pass(&turn(&all, &["bad", "on"]));
    for number in 0..CONVERSATION_TURNS_PER_SUBJECT {
        let name = number.to_string();
        all.pass(&turn(&all, &[&name]));
        if number % 7 == 0 {
            assert_eq!(known(&all, &["bad", "on", "x"]), (2, vec![0]), "it is met again and again");
        }
    }
    assert_eq!(known(&all, &["bad", "y"]), (0, vec![]), "forgotten, and so judged again");
    assert_eq!(known(&all, &["bad", "on", "x"]), (2, vec![0]));
}

#[test]
fn what_is_kept_is_bounded_and_the_oldest_is_forgotten() {
    let all = open();
    for number in 0..CONVERSATION_TURNS_PER_SUBJECT + 10 {
        all.pass(&turn(&all, &[&number.to_string()]));
    }
    assert_eq!(known(&all, &["9"]).0, 0);
    assert_eq!(known(&all, &["10"]).0, 1);
    let changes = all.take_changes();
    assert_eq!(changes.iter().filter(|change| matches!(change, Change::Forget(_))).count(), 10);
    for number in 0..CONVERSATION_TURNS_MAX + 5 {
        let subject = format!("other {}", number / CONVERSATION_TURNS_PER_SUBJECT);
        all.pass(&turn_of(&all, setting(&subject), &[&number.to_string()]));
    }
    let known = all.known();
    assert_eq!((known.heads.len(), known.order.len()), (CONVERSATION_TURNS_MAX, CONVERSATION_TURNS_MAX));
    assert!(known.changes.len() <= CONVERSATION_CHANGES_MAX);
    assert_eq!(known.owners.values().map(BTreeSet::len).sum::<usize>(), CONVERSATION_TURNS_MAX);
}

#[test]
fn too_many_replaced_blocks_are_judged_again() {
    let all = open();
    let mut blocks = vec!["0".to_owned()];
    for number in 1..=CONVERSATION_REMOVED_MAX {
        let list: Vec<&str> = blocks.iter().map(String::as_str).collect();
        let turn = turn(&all, &list);
        assert_eq!(turn.removed.len(), number - 1);
        all.refuse(&turn, &[number - 1], "no");
        blocks.push(number.to_string());
    }
    let list: Vec<&str> = blocks.iter().map(String::as_str).collect();
    all.refuse(&turn(&all, &list), &[list.len() - 1], "no");
    assert_eq!(turn(&all, &[&list[..], &["on"]].concat()).removed.len(), CONVERSATION_REMOVED_MAX);
}

#[test]
fn a_question_is_what_is_new() {
    let all = open();
    let asked = |blocks: &[&str]| {
        let write = |index: usize, out: &mut dyn FnMut(&[u8])| out(blocks[index].as_bytes());
        all.asked(&turn(&all, blocks), &write)
    };
    assert_eq!(asked(&["a", "b"]), asked(&["a", "b"]));
    assert_ne!(asked(&["a", "b"]), asked(&["ab"]));
    let before = asked(&["a", "b"]);
    all.pass(&turn(&all, &["a"]));
    assert_ne!(asked(&["a", "b"]), before);
    assert_ne!(asked(&["a", "b"]), asked(&["c", "b"]));
    let closed = Conversations::default();
    let write = |_: usize, _: &mut dyn FnMut(&[u8])| {};
    assert!(closed.turn(setting("a"), 1, &write).is_none() && !closed.is_open());
}

proptest! {
    /// Whatever is judged in whatever order, and forgotten by restarts: a block counts as passed only if that
    /// very beginning of a conversation was let through, and one that was blocked is never let through but
    /// replaced.
    #[test]
    fn only_what_was_judged_is_passed(
        turns in proptest::collection::vec((proptest::collection::vec(0..4u8, 1..5), any::<bool>()), 1..40),
        stored in 0..40usize,
    ) {
        let mut all = open();
        // The model: beginnings that were let through, with what was replaced in them.
        let mut passed: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
        let mut remembered = BTreeMap::new();
        for (number, (blocks, restarts)) in turns.into_iter().enumerate() {
            let texts: Vec<String> = blocks.iter().map(|block| block.to_string()).collect();
            let list: Vec<&str> = texts.iter().map(String::as_str).collect();
            let one = turn(&all, &list);
            if one.passed > 0 {
                prop_assert!(passed.contains_key(&blocks[..one.passed]), "{blocks:?}");
            }
            // Rule: nobody says 3.
            let removed: Vec<usize> = one.removed.iter().map(|(index, _)| *index).collect();
            let bad: Vec<usize> = (one.passed..blocks.len())
                .filter(|index| blocks[*index] == 3 && !removed.contains(index))
                .collect();
            for index in (0..blocks.len()).filter(|index| blocks[*index] == 3) {
                prop_assert!(bad.contains(&index) || removed.contains(&index), "{blocks:?}: {index} passes");
            }
            if bad.is_empty() {
                all.pass(&one);
                passed.insert(blocks.clone(), removed);
            } else {
                all.refuse(&one, &bad, "no");
            }
            for change in all.take_changes() {
                match change {
                    // Not everything is stored when a process dies.
                    Change::Keep(kept) if number != stored => drop(remembered.insert(kept.head, kept)),
                    Change::Keep(_) => {}
                    Change::Forget(head) => drop(remembered.remove(&head)),
                }
            }
            if restarts {
                all = Conversations::default();
                all.open(Key::new(&[7; 32]), remembered.values().cloned().collect());
            }
        }
    }
}

#[test]
fn what_is_met_after_a_restart_is_newer_than_all_before() {
    let all = Conversations::default();
    let old = Remembered { head: [1; 32], owner: [2; 32], tick: 1_000, judged: Judged::Refused };
    let older = Remembered { head: [3; 32], tick: 999, ..old.clone() };
    all.open(Key::new(&[7; 32]), vec![old, older]);
    all.pass(&turn(&all, &["a"]));
    let [Change::Keep(new)] = &all.take_changes()[..] else { panic!("one is new") };
    assert!(new.tick > 1_000, "{}", new.tick);
}

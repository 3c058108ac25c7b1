use super::*;
use crate::{
    audit::{Kind, samples},
    exchange::share::Held,
    limits::FOLD_INTERVAL,
    runtime::{StartOptions, join, probe, start},
    secrets::samples::{lease, source},
};

const NOBODY: ShareId = ShareId(0);

/// Takes so many records, and answers for each kind as it was told.
struct Told {
    room: usize,
    content: Result<u64, Unavailable>,
    intent: Result<u64, Unavailable>,
    answers: Rc<RefCell<Option<Answers>>>,
    intents_refused: Rc<Cell<usize>>,
}

impl Recorder for Told {
    fn submit(&mut self, _: ShareId, ticket: ShardTicket, _: Commit, record: Record) -> Result<(), Refused> {
        let Some(room) = self.room.checked_sub(1) else { return Err(Refused::Failed(Box::new(record))) };
        self.room = room;
        let result = if record.kind() == Kind::Content { self.content } else { self.intent };
        if let Some(answers) = &*self.answers.borrow() {
            answers.take(Delivery::Recorded(ticket, result));
        }
        Ok(())
    }

    fn held(&self, _: ShareId) -> Held {
        Held::default()
    }

    fn inflight_bytes(&self) -> usize {
        0
    }

    fn intent_refused(&mut self, _: ShareId) {
        self.intents_refused.set(self.intents_refused.get() + 1);
    }
}

/// What becomes of a body and its INTENT: the answer, and the INTENTs that are known not to be recorded.
fn recorded(
    room: usize,
    content: Result<u64, Unavailable>,
    intent: Result<u64, Unavailable>,
) -> (Result<u64, Unavailable>, usize) {
    let options = StartOptions { driver: probe().driver(), entries: 256, cpu: None };
    let run = move || async move {
        let (answers, intents_refused) = Default::default();
        let told = Told {
            room,
            content,
            intent,
            answers: Rc::clone(&answers),
            intents_refused: Rc::clone(&intents_refused),
        };
        let all = Answers::new(Box::new(told), Budget::new(1 << 20));
        *answers.borrow_mut() = Some(all.clone());
        let records = vec![Record::Content(Box::new(samples::content(1, b"body", true))), samples::intent(1)];
        let result = all.record(NOBODY, records, Commit::Written).await;
        assert!(all.is_empty(), "nobody waits any more");
        (result, intents_refused.get())
    };
    start(options, run).expect("an executor")
}

#[test]
fn a_body_that_is_not_recorded_is_a_failure_though_its_intent_is() {
    use Unavailable::{Failed, TurnedAway};
    let cases = [
        ((2, Ok(1), Ok(2)), (Ok(2), 0)),
        ((2, Err(TurnedAway), Ok(2)), (Err(Failed), 0)),
        ((2, Err(Failed), Ok(2)), (Err(Failed), 0)),
        ((2, Ok(1), Err(Failed)), (Err(Failed), 0)),
        ((2, Ok(1), Err(TurnedAway)), (Err(TurnedAway), 1)),
        ((1, Ok(1), Ok(2)), (Err(TurnedAway), 0)),
        ((0, Ok(1), Ok(2)), (Err(TurnedAway), 0)),
    ];
    for ((room, content, intent), expected) in cases {
        assert_eq!(recorded(room, content, intent), expected, "{room} {content:?} {intent:?}");
    }
}

fn on_shard<F: Future<Output = ()> + 'static>(test: impl FnOnce() -> F) {
    let options = StartOptions { driver: probe().driver(), entries: 256, cpu: None };
    start(options, test).expect("an executor");
}

/// A queue that is always full, and how often it was asked.
struct NoRoom(Rc<Cell<usize>>);

impl Recorder for NoRoom {
    fn submit(&mut self, _: ShareId, _: ShardTicket, _: Commit, record: Record) -> Result<(), Refused> {
        self.0.set(self.0.get() + 1);
        Err(Refused::Full(Box::new(record)))
    }

    fn held(&self, _: ShareId) -> Held {
        Held::default()
    }

    fn inflight_bytes(&self) -> usize {
        0
    }
}

#[test]
fn a_full_queue_is_asked_less_and_less_often() {
    on_shard(|| async {
        let asked = Rc::new(Cell::new(0));
        let answers = Answers::new(Box::new(NoRoom(asked.clone())), Budget::new(1 << 20));
        let result = answers.record(NOBODY, vec![samples::intent(1)], Commit::Written).await;
        assert_eq!(result, Err(Unavailable::TurnedAway));
        // 1, 2, 4 … 64 ms, then every 64 ms of one second, and once more at its end.
        assert!(asked.get() <= 23, "{}", asked.get());
        assert!(answers.is_empty());
    });
}

/// Takes errands and keeps them.
#[derive(Default)]
struct Kept(RefCell<Vec<Errand>>);

impl Errands for Kept {
    fn send(&self, errand: Errand) -> Result<(), Errand> {
        self.0.borrow_mut().push(errand);
        Ok(())
    }
}

fn answers() -> Answers {
    Answers::new(Box::new(NoRoom(Rc::default())), Budget::new(1 << 20))
}

fn work() -> Work {
    Work::Lease { source: source(), subject_token: None }
}

const SOON: Duration = Duration::from_millis(5);

#[test]
fn an_answer_that_is_lost_ends_the_wait_and_a_late_lease_is_given_back() {
    on_shard(|| async {
        let (answers, errands) = (answers(), Kept::default());
        let answer = answers.errand(0, &errands, work(), SOON).await;
        assert!(matches!(answer, Answer::Lease(Err(_))), "{answer:?}");
        assert!(answers.is_empty(), "nobody waits any more");
        let ticket = errands.0.borrow()[0].ticket;
        assert!(matches!(answers.take(Delivery::Lease(ticket, Ok(lease()))), Taken::Orphan(_)));
        assert!(matches!(answers.take(Delivery::Lease(ticket, Err("no".to_owned()))), Taken::Done));
    });
}

#[test]
fn a_lease_for_an_exchange_that_is_gone_is_given_back() {
    on_shard(|| async {
        let (answers, errands) = (answers(), Kept::default());
        {
            let mut waiting = Box::pin(answers.errand(0, &errands, work(), ERRAND_TIMEOUT));
            let asked = runtime::timeout(SOON, &mut waiting).await;
            assert!(asked.is_none());
            // It comes in the very moment in which the exchange goes.
            answers.take(Delivery::Lease(errands.0.borrow()[0].ticket, Ok(lease())));
        }
        assert_eq!((answers.take_orphans().len(), answers.is_empty()), (1, true));
    });
}

#[test]
fn a_lease_that_comes_in_time_is_the_exchanges_own() {
    on_shard(|| async {
        let (answers, errands) = (answers(), Kept::default());
        let deliver = async {
            while errands.0.borrow().is_empty() {
                runtime::sleep(SOON).await;
            }
            let ticket = errands.0.borrow()[0].ticket;
            answers.take(Delivery::Lease(ticket, Ok(lease())));
        };
        let (answer, ()) = join(answers.errand(0, &errands, work(), ERRAND_TIMEOUT), deliver).await;
        assert!(matches!(answer, Answer::Lease(Ok(_))));
        assert_eq!((answers.take_orphans().len(), answers.is_empty()), (0, true));
    });
}

/// Takes every record and never answers.
struct Silent;

impl Recorder for Silent {
    fn submit(&mut self, _: ShareId, _: ShardTicket, _: Commit, _: Record) -> Result<(), Refused> {
        Ok(())
    }

    fn held(&self, _: ShareId) -> Held {
        Held::default()
    }

    fn inflight_bytes(&self) -> usize {
        0
    }
}

fn summary(path: &str) -> Box<Summary> {
    Box::new(Summary {
        at: Default::default(),
        id: Default::default(),
        session: "".into(),
        principal: None,
        peer: ([127, 0, 0, 1], 1).into(),
        via: None,
        listener: "".into(),
        route: None,
        upstream: None,
        method: None,
        path: path.to_owned(),
        status: None,
        decision: "allow",
        code: None,
        upstream_error: None,
        policy: None,
        dry_runs: Vec::new(),
        token_failure: None,
        masks: Vec::new(),
        bytes_in: 0,
        bytes_out: 0,
        tally: Default::default(),
        duration: Duration::ZERO,
        times: Default::default(),
        client_closed: false,
        limit: None,
        audit_sequence: None,
        shard: 0,
    })
}

#[test]
fn a_record_that_nobody_acknowledges_has_failed_in_time() {
    on_shard(|| async {
        let answers = Answers::new(Box::new(Silent), Budget::new(1 << 20));
        let before = runtime::now().instant;
        let sweep = async {
            while answers.is_empty() {
                runtime::sleep(SOON).await;
            }
            answers.overdue(before + RECORD_TIMEOUT / 2, |_| unreachable!("there is no line"));
            assert!(!answers.is_empty(), "there is time yet");
            answers.overdue(runtime::now().instant + RECORD_TIMEOUT, |_| unreachable!("there is no line"));
        };
        let (result, ()) =
            join(answers.record(NOBODY, vec![samples::intent(1)], Commit::Written), sweep).await;
        assert_eq!((result, answers.is_empty()), (Err(Unavailable::Failed), true));
    });
}

#[test]
fn a_log_line_whose_acknowledgement_is_lost_is_written_all_the_same() {
    on_shard(|| async {
        let answers = Answers::new(Box::new(Silent), Budget::new(1 << 20));
        let before = runtime::now().instant;
        assert!(answers.finish(NOBODY, Some(samples::outcome(1)), summary("/lost")).await.is_none());
        assert!(answers.finish_now(NOBODY, Some(samples::outcome(2)), summary("/lost/too")).is_none());
        assert!(answers.finish(NOBODY, Some(samples::outcome(3)), summary("/known")).await.is_none());
        let after = runtime::now().instant;
        assert!(matches!(answers.take(Delivery::Recorded(3, Ok(7))), Taken::Log(_)));
        // A task that waits is no log line, and in nobody's way.
        let (_, slot) = answers.open();
        answers.overdue(before, |summary| panic!("there is time yet: {summary:?}"));
        let mut overdue = Vec::new();
        answers.overdue(after + RECORD_STALL_MAX, |summary| {
            overdue.push((summary.path, summary.audit_sequence));
        });
        assert_eq!(overdue, [("/lost".to_owned(), None), ("/lost/too".to_owned(), None)]);
        assert!(matches!(answers.take(Delivery::Recorded(1, Ok(5))), Taken::Done), "it came too late");
        assert!(!answers.is_empty() && slot.try_take().is_none());
    });
}

/// A queue of which every share holds the same; it takes what it is offered, and keeps it.
#[derive(Clone, Default)]
struct Shared {
    held: Rc<Cell<Held>>,
    taken: Rc<RefCell<Vec<(ShareId, Record)>>>,
    failed: Rc<Cell<bool>>,
    /// How many records were taken each time the journal was woken.
    rings: Rc<RefCell<Vec<usize>>>,
}

impl Recorder for Shared {
    fn submit(&mut self, share: ShareId, _: ShardTicket, _: Commit, record: Record) -> Result<(), Refused> {
        if self.failed.get() {
            return Err(Refused::Failed(Box::new(record)));
        }
        self.taken.borrow_mut().push((share, record));
        Ok(())
    }

    fn ring(&mut self) {
        self.rings.borrow_mut().push(self.taken.borrow().len());
    }

    fn held(&self, _: ShareId) -> Held {
        self.held.get()
    }

    fn inflight_bytes(&self) -> usize {
        0
    }
}

const FULL: Held = Held { queued: JOURNAL_QUEUE_RECORDS, open: 0, bytes: 0 };

#[test]
fn nothing_of_an_exchange_is_recorded_whose_intent_finds_no_room_in_the_share() {
    on_shard(|| async {
        let shared = Shared::default();
        let answers = Answers::new(Box::new(shared.clone()), Budget::new(1 << 20));
        // Room for the body alone.
        let most = Share::of(AGENT_SHARE_PERCENT, JOURNAL_QUEUE_RECORDS, 1);
        let room = (0..JOURNAL_QUEUE_RECORDS).map(|queued| Held { queued, ..Held::default() });
        let body = || Record::Content(Box::new(samples::content(1, b"body", true)));
        let tight = room.take_while(|held| most.takes(held, &Demand::of([&body()]))).last().unwrap();
        shared.held.set(tight);
        let result = answers.record(ShareId(1), vec![body(), samples::intent(1)], Commit::Written).await;
        assert_eq!(result, Err(Unavailable::Backpressure));
        assert!(shared.taken.borrow().is_empty() && answers.is_empty());
        // An OUTCOME has its room.
        shared.held.set(FULL);
        assert!(answers.finish(ShareId(1), Some(samples::outcome(1)), summary("/")).await.is_none());
        assert_eq!(shared.taken.borrow().len(), 1);
    });
}

#[test]
fn a_share_that_gets_room_in_time_goes_on() {
    on_shard(|| async {
        let shared = Shared::default();
        let answers = Answers::new(Box::new(shared.clone()), Budget::new(1 << 20));
        shared.held.set(FULL);
        // Runs once the record has found no room.
        let free = async {
            assert!(shared.taken.borrow().is_empty(), "it waits");
            shared.held.set(Held::default());
        };
        let (result, ()) = join(answers.note(ShareId(1), samples::intent(1)), free).await;
        assert_eq!((result, shared.taken.borrow().len()), (Ok(()), 1));
    });
}

#[test]
fn a_flood_of_refusals_becomes_few_records_that_count_all_of_them() {
    on_shard(|| async {
        let shared = Shared::default();
        let answers = Answers::new(Box::new(shared.clone()), Budget::new(1 << 20));
        answers.set_terms(Terms { share_percent: 25, refusals_per_second: 0 });
        let share = answers.enter(&Party::address([192, 0, 2, 1].into()));
        let now = runtime::now().instant;
        for _ in 0..500 {
            assert!(answers.finish(share, Some(samples::refusal(1)), summary("/")).await.is_some());
        }
        assert_eq!((shared.taken.borrow().len(), answers.unfold(now)), (0, 500));
        // While there is no room they wait, and what comes meanwhile is counted too.
        shared.failed.set(true);
        assert_eq!(answers.unfold(now + 2 * FOLD_INTERVAL), 500);
        assert!(answers.finish(share, Some(samples::refusal(1)), summary("/")).await.is_some());
        shared.failed.set(false);
        assert_eq!(answers.unfold(now + 9 * FOLD_INTERVAL), 0);
        let taken = shared.taken.take();
        let [(of, Record::Refusal(refusal))] = &taken[..] else { panic!("{taken:?}") };
        assert_eq!((*of, refusal.folded.unwrap().more, answers.take_folded()), (share, 500, 501));
    });
}

#[test]
fn a_refusal_that_the_journal_does_not_take_is_recorded_when_it_does() {
    on_shard(|| async {
        let shared = Shared::default();
        let answers = Answers::new(Box::new(shared.clone()), Budget::new(1 << 20));
        shared.failed.set(true);
        assert!(answers.finish(ShareId(1), Some(samples::refusal(1)), summary("/")).await.is_some());
        shared.failed.set(false);
        assert_eq!(answers.unfold(runtime::now().instant + 2 * FOLD_INTERVAL), 0);
        let taken = shared.taken.take();
        assert!(matches!(&taken[..], [(_, Record::Refusal(one))] if one.folded.is_none()), "{taken:?}");
    });
}

#[test]
fn records_of_one_turn_wake_the_journal_once() {
    on_shard(|| async {
        let shared = Shared::default();
        let answers = Answers::new(Box::new(shared.clone()), Budget::new(1 << 20));
        // Tasks that have their turn before the future that the executor runs is asked again.
        for share in 1..=20 {
            let answers = answers.clone();
            let note = async move { answers.note(ShareId(share), samples::intent(1)).await.unwrap() };
            runtime::spawn_guarded("caller", note, |_| {});
        }
        let rung = async {
            while shared.rings.borrow().is_empty() {
                runtime::sleep(SOON).await;
            }
        };
        runtime::race(answers.ring_each_turn(), rung).await;
        assert_eq!(*shared.rings.borrow(), [20]);
        answers.ring();
        assert_eq!(shared.rings.borrow().len(), 1, "nothing was handed over since");
    });
}

//! The load on one target: when requests are due, who sends them, and what is counted.

use super::{
    Driver,
    connection::{Address, Connection, backoff},
    deadline::Deadline,
    exchange::{Broken, Outcome, exchange},
    timer::Timer,
};
use crate::{
    auth::Credential,
    expect::Expectations,
    plan::{Plan, Wire},
    schedule::{Random, Schedule},
    stages,
    tally::{Answered, Interval, Kind, Tally},
    target::Url,
    wire::{Events, Want},
};
use monoio::{task::JoinHandle, time::sleep};
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::poll_fn,
    io,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

/// What one lane is to do.
#[derive(Clone, Debug)]
pub struct LaneOptions {
    pub url: Url,
    pub address: Address,
    pub plan: Arc<Plan>,
    /// Fields of this target alone.
    pub fields: Vec<(String, String)>,
    /// Whether the credential is sent.
    pub with_token: bool,
    /// A connection for each request.
    pub close: bool,
    pub connections: usize,
    pub schedule: Schedule,
    pub seed: u64,
    /// This worker's place, and how many there are: recorded requests are dealt out in turn.
    pub turn: (u64, u64),
    pub warmup: Duration,
    pub duration: Duration,
    pub timeout: Duration,
    pub want: Want,
    pub expect: Arc<Expectations>,
}

/// One request that is due.
#[derive(Clone, Copy, Debug)]
struct Due {
    /// When, and since when its response is measured.
    at: Instant,
    request: usize,
    measured: bool,
}

/// Where one connection waits.
#[derive(Default)]
struct Seat {
    assigned: Cell<Option<Due>>,
    is_idle: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    deadline: Deadline,
}

/// All of it for one worker.
pub struct Lane {
    options: LaneOptions,
    driver: Driver,
    credential: Arc<Credential>,
    /// The requests on the wire, with the token of this generation.
    wires: RefCell<(u64, Rc<[Wire]>)>,
    start: Cell<Option<Instant>>,
    end_ns: Cell<u64>,
    is_closed: Cell<bool>,
    is_given_up: Cell<bool>,
    schedule: RefCell<Schedule>,
    random: RefCell<Random>,
    turn: Cell<u64>,
    seats: Vec<Rc<Seat>>,
    /// Seats whose connections wait, the one that waits longest first.
    idle: RefCell<VecDeque<Rc<Seat>>>,
    timer: Timer,
    /// What deals out requests while seats are idle, where it waits for one.
    dealer: RefCell<Option<Waker>>,
    warm: Cell<usize>,
    busy: Cell<usize>,
    tally: RefCell<Tally>,
    interval: RefCell<Interval>,
}

impl Lane {
    /// A lane that has not begun.
    ///
    /// # Errors
    /// There is no timer: no descriptors are left.
    pub fn new(options: LaneOptions, driver: Driver, credential: Arc<Credential>) -> io::Result<Rc<Lane>> {
        let end = options.warmup + options.duration;
        let seats: Vec<Rc<Seat>> = (0..options.connections).map(|_| Rc::default()).collect();
        Ok(Rc::new(Lane {
            driver,
            credential,
            wires: RefCell::new((u64::MAX, Rc::from([]))),
            start: Cell::new(None),
            end_ns: Cell::new(nanoseconds(end)),
            is_closed: Cell::new(false),
            is_given_up: Cell::new(false),
            schedule: RefCell::new(options.schedule.clone()),
            random: RefCell::new(Random::new(options.seed ^ 0x6c61_6e65)),
            turn: Cell::new(options.turn.0),
            busy: Cell::new(seats.len()),
            seats,
            idle: RefCell::default(),
            timer: Timer::new()?,
            dealer: RefCell::new(None),
            warm: Cell::new(0),
            tally: RefCell::new(Tally::new(&options.plan.names())),
            interval: RefCell::new(Interval::new(0)),
            options,
        }))
    }

    /// What of an answer is read.
    pub fn want(&self) -> Want {
        self.options.want
    }

    /// Whether all connections have been tried.
    pub fn is_warm(&self) -> bool {
        self.warm.get() == self.seats.len()
    }

    /// Whether a connection is not done yet.
    pub fn is_busy(&self) -> bool {
        self.busy.get() > 0
    }

    /// Begins at `start`.
    pub fn start(&self, start: Instant) {
        self.start.set(Some(start));
        if self.schedule.borrow().is_used_up() {
            self.end_ns.set(0);
        }
        self.wake_all();
    }

    /// Ends at `now`: nothing more is sent.
    pub fn stop(&self, now: Instant) {
        let now_ns = self.elapsed_ns(now);
        self.end_ns.set(self.end_ns.get().min(now_ns));
        self.close();
    }

    /// Ends what is still under way.
    pub fn give_up(&self) {
        self.is_given_up.set(true);
        self.seats.iter().for_each(|seat| seat.deadline.give_up());
    }

    /// Ends what is overdue.
    pub fn sweep(&self, now: Instant) {
        self.seats.iter().for_each(|seat| seat.deadline.sweep(now));
        if self.start.get().is_some() && self.elapsed_ns(now) >= self.end_ns.get() {
            self.close();
        }
    }

    /// Hands the last second out once it is over; what is given back is kept for the next time.
    pub fn flush(&self, now: Instant, send: impl FnOnce(Interval) -> Option<Interval>) {
        let second = self.elapsed_ns(now) / 1_000_000_000;
        if second == self.interval.borrow().second {
            return;
        }
        let interval = self.interval.replace(Interval::new(second));
        if let Some(interval) = send(interval) {
            let newer = self.interval.replace(interval);
            self.interval.borrow_mut().add(&newer);
        }
    }

    /// What was counted in the second that is not over.
    pub fn take_interval(&self) -> Interval {
        self.interval.replace(Interval::new(0))
    }

    /// All that was counted.
    pub fn take_tally(&self) -> Tally {
        self.tally.replace(Tally::new(&[]))
    }

    /// Counts bytes that were sent.
    pub fn sent_bytes(&self, measured: bool, count: usize) {
        if measured {
            self.tally.borrow_mut().bytes_sent += count as u64;
        }
    }

    /// Counts bytes that were received.
    pub fn received(&self, measured: bool, count: usize) {
        if measured {
            self.tally.borrow_mut().bytes_received += count as u64;
        }
    }

    /// Counts a token, and the time since the one before.
    pub fn token(&self, measured: bool, since_last: Option<Duration>) {
        if measured {
            let mut tally = self.tally.borrow_mut();
            tally.tokens += 1;
            if let Some(time) = since_last {
                tally.inter_token.saturating_record(nanoseconds(time));
            }
        }
    }

    fn elapsed_ns(&self, now: Instant) -> u64 {
        self.start.get().map_or(0, |start| nanoseconds(now.saturating_duration_since(start)))
    }

    fn close(&self) {
        if self.is_closed.replace(true) {
            return;
        }
        let (warmup, end) = (nanoseconds(self.options.warmup), self.end_ns.get());
        let mut schedule = self.schedule.borrow_mut();
        schedule.drop_until(warmup.min(end));
        self.tally.borrow_mut().dropped += schedule.drop_until(end);
        drop(schedule);
        self.wake_all();
        // It only ever fails on a descriptor that is none.
        drop(self.timer.set(Duration::ZERO));
    }

    fn wake_all(&self) {
        let idle = std::mem::take(&mut *self.idle.borrow_mut());
        for seat in idle {
            seat.is_idle.set(false);
            seat.wake();
        }
        if let Some(dealer) = self.dealer.take() {
            dealer.wake();
        }
    }

    /// The next request, if one is due now.
    fn take(&self, now: Instant) -> Option<Due> {
        let (start, now_ns) = (self.start.get()?, self.elapsed_ns(now));
        // A run begins a little after it was said to.
        if self.is_closed.get() || now < start {
            return None;
        }
        let mut schedule = self.schedule.borrow_mut();
        let is_loop = matches!(*schedule, Schedule::Closed);
        let at_ns = if is_loop { now_ns } else { schedule.peek() };
        if at_ns > now_ns || at_ns >= self.end_ns.get() {
            return None;
        }
        let place = schedule.take();
        if schedule.is_used_up() {
            // The last one: the next look at the time ends it.
            self.end_ns.set(at_ns.saturating_add(1));
        }
        let request = place.unwrap_or_else(|| {
            let turn = self.turn.get();
            self.turn.set(turn + self.options.turn.1);
            self.options.plan.pick(&mut self.random.borrow_mut(), turn)
        });
        let measured = at_ns >= nanoseconds(self.options.warmup);
        Some(Due { at: start + Duration::from_nanos(at_ns), request, measured })
    }

    fn is_loop(&self) -> bool {
        matches!(*self.schedule.borrow(), Schedule::Closed)
    }

    /// Waits for the next request; none at the end.
    async fn next(&self, seat: &Rc<Seat>) -> Option<Due> {
        poll_fn(|cx| self.poll_next(seat, cx)).await
    }

    fn poll_next(&self, seat: &Rc<Seat>, cx: &mut Context<'_>) -> Poll<Option<Due>> {
        if let Some(due) = seat.assigned.take() {
            return Poll::Ready(Some(due));
        }
        if self.is_closed.get() {
            return Poll::Ready(None);
        }
        if !seat.is_idle.get() {
            let now = Instant::now();
            if let Some(due) = self.take(now) {
                return Poll::Ready(Some(due));
            }
            seat.is_idle.set(true);
            self.idle.borrow_mut().push_back(seat.clone());
            if let Some(dealer) = self.dealer.take() {
                dealer.wake();
            }
        }
        *seat.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Deals out requests that become due to connections that wait.
    async fn deal(&self) {
        while !self.is_closed.get() {
            let now = Instant::now();
            while !self.idle.borrow().is_empty() {
                let Some(due) = self.take(now) else { break };
                let Some(seat) = self.idle.borrow_mut().pop_front() else { break };
                seat.is_idle.set(false);
                seat.assigned.set(Some(due));
                seat.wake();
            }
            match self.start.get() {
                Some(start) if !self.idle.borrow().is_empty() => {
                    let next_ns = self.schedule.borrow().peek().min(self.end_ns.get());
                    if self.elapsed_ns(now) >= self.end_ns.get() {
                        self.close();
                        return;
                    }
                    self.timer.until(start + Duration::from_nanos(next_ns)).await;
                }
                _ => self.wait_for_seat().await,
            }
        }
    }

    /// Waits until a seat is idle, or the end.
    async fn wait_for_seat(&self) {
        let mut is_first = true;
        poll_fn(|cx| {
            if self.is_closed.get() || !std::mem::take(&mut is_first) {
                return Poll::Ready(());
            }
            *self.dealer.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// The request as it goes over the wire, with the token of now.
    fn wire(&self, request: usize) -> (Rc<[Wire]>, usize) {
        let generation = self.credential.generation();
        let mut wires = self.wires.borrow_mut();
        if wires.0 != generation {
            let token = self.credential.token().filter(|_| self.options.with_token);
            let options = &self.options;
            let made = options.plan.wires(&options.url, &options.fields, token.as_deref(), options.close);
            *wires = (generation, made.into());
        }
        (wires.1.clone(), request)
    }

    async fn open(&self, seat: &Seat) -> Result<Connection, Kind> {
        seat.deadline.set(Instant::now() + self.options.timeout);
        let opened = Connection::open(&self.options.address, self.driver, &seat.deadline).await;
        seat.deadline.clear();
        match opened {
            Ok(connection) => {
                self.tally.borrow_mut().connections += 1;
                Ok(connection)
            }
            Err(_) if seat.deadline.is_expired() => Err(self.overdue()),
            Err((kind, _)) => Err(kind),
        }
    }

    fn overdue(&self) -> Kind {
        if self.is_given_up.get() { Kind::Unfinished } else { Kind::Timeout }
    }

    fn record_sent(&self, due: &Due) {
        self.interval.borrow_mut().sent += 1;
        if due.measured {
            self.tally.borrow_mut().sent += 1;
        }
    }

    fn record_error(&self, due: &Due, kind: Kind) {
        self.interval.borrow_mut().errors += 1;
        if due.measured {
            self.tally.borrow_mut().error(due.request, kind);
        }
    }

    fn record(&self, due: &Due, sent: Instant, outcome: &Outcome) {
        let decision = outcome.head.decision.as_deref().unwrap_or("allow");
        let status = outcome.head.status;
        let is_expected = self.options.expect.names(status, decision);
        let error = match outcome.stream {
            _ if status >= 400 => (!is_expected).then_some(Kind::Status),
            Err(kind) => Some(kind),
            Ok(()) => None,
        };
        let answered = Answered {
            response_ns: nanoseconds(outcome.ended.saturating_duration_since(due.at)),
            service_ns: nanoseconds(outcome.ended.saturating_duration_since(sent)),
        };
        let mut interval = self.interval.borrow_mut();
        interval.done += 1;
        match error {
            Some(_) => interval.errors += 1,
            None => interval.response.saturating_record(answered.response_ns),
        }
        if !due.measured {
            return;
        }
        let mut tally = self.tally.borrow_mut();
        tally.done += 1;
        *tally.statuses.entry(status).or_default() += 1;
        tally.decision(decision);
        match error {
            Some(kind) => tally.error(due.request, kind),
            None => tally.answer(due.request, answered),
        }
        if let Some(first) = outcome.first_token {
            tally.ttft.saturating_record(nanoseconds(first.saturating_duration_since(due.at)));
        }
        if let Some(timing) = &outcome.head.timing {
            stages::of_timing(timing).for_each(|(name, ns)| tally.stage(name, ns));
        }
    }
}

impl Seat {
    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Starts a task a connection, and the one that deals out what is due.
pub fn spawn(lane: &Rc<Lane>) -> Vec<JoinHandle<()>> {
    let drive = |seat: &Rc<Seat>| monoio::spawn(drive(lane.clone(), seat.clone()));
    let mut tasks: Vec<_> = lane.seats.iter().map(drive).collect();
    let dealer = lane.clone();
    tasks.push(monoio::spawn(async move { dealer.deal().await }));
    tasks
}

/// One connection after the other, until the end.
async fn drive(lane: Rc<Lane>, seat: Rc<Seat>) {
    let (mut connection, mut failures, mut is_warm) = (None, 0, false);
    let mut scanner = None;
    loop {
        // What a connection costs is part of a response only where each request needs one of its own.
        if connection.is_none() && !lane.options.close && !lane.is_closed.get() {
            connection = lane.open(&seat).await.ok();
        }
        if !std::mem::replace(&mut is_warm, true) {
            lane.warm.set(lane.warm.get() + 1);
        }
        let Some(due) = lane.next(&seat).await else { break };
        lane.record_sent(&due);
        connection = match send(&lane, &seat, connection.take(), &due, &mut scanner).await {
            Ok(kept) => {
                failures = 0;
                kept
            }
            Err(kind) => {
                lane.record_error(&due, kind);
                // At a rate, what is due paces the attempts.
                if lane.is_loop() && matches!(kind, Kind::Connect | Kind::Tls) {
                    sleep(backoff(failures)).await;
                    failures += 1;
                }
                None
            }
        };
    }
    seat.deadline.watch(None);
    lane.busy.set(lane.busy.get() - 1);
}

/// Sends what is due, once more if the kept connection turns out to be closed; gives the connection back if
/// it can be used again.
async fn send(
    lane: &Lane,
    seat: &Seat,
    mut kept: Option<Connection>,
    due: &Due,
    scanner: &mut Option<Events>,
) -> Result<Option<Connection>, Kind> {
    let (wires, request) = lane.wire(due.request);
    let wire = &wires[request];
    if let Some(dialect) = wire.profile.dialect() {
        // A mix may hold several dialects.
        *scanner = Some(Events::new(dialect));
    }
    let sent = Instant::now();
    loop {
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => lane.open(seat).await?,
        };
        let scanner = scanner.as_mut().filter(|_| wire.profile.dialect().is_some());
        seat.deadline.set(sent + lane.options.timeout);
        let result = exchange(&mut connection, wire, lane, due.measured, scanner).await;
        seat.deadline.clear();
        match result {
            _ if seat.deadline.is_expired() => return Err(lane.overdue()),
            Ok(outcome) => {
                lane.record(due, sent, &outcome);
                connection.answers += 1;
                return Ok(Some(connection).filter(|_| outcome.keep && !lane.options.close));
            }
            Err(Broken { kind: Kind::Closed, has_begun: false }) if connection.answers > 0 => {
                lane.tally.borrow_mut().resent += u64::from(due.measured);
            }
            Err(broken) => return Err(broken.kind),
        }
    }
}

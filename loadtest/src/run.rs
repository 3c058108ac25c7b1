//! A whole run: from options to numbers. Start at [`run`].

use crate::{
    auth::{Auth, Credential},
    blocking,
    exit::{self, Failure},
    host,
    options::Options,
    plan::{self, Plan},
    report::{self, Collector, LaneRow, Run},
    schedule::{Arrival, Paced, Part, Rate, Schedule},
    stages::{self, Metrics, Source, Stage},
    tally::{Interval, Tally},
    target::{self, Url},
    ui::Display,
    wire::Want,
    worker::{self, Address, LaneOptions, Signals},
};
use rustls::ClientConfig;
use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// A load tester that is as busy as this may be what is measured.
const BUSY_MAX: f64 = 0.85;
/// Steal above which numbers count less.
const STEAL_MAX: f64 = 0.05;
/// How long after all workers are ready the run begins, so that each begins in time.
const BEGIN_IN: Duration = Duration::from_millis(5);

/// How late a recorded request may go out at the most: a busy machine loses none of them.
const LATE_MAX: Duration = Duration::from_secs(60);

/// One target, ready to be loaded.
struct Aim {
    url: Url,
    text: String,
    address: Address,
    fields: Vec<(String, String)>,
    with_token: bool,
    phase: f64,
}

/// The workers of a run, and what they tell of each second.
type Started = (Vec<JoinHandle<Worked>>, Receiver<(usize, Interval)>);

/// What a worker gives: its tallies, and how busy it was.
type Worked = io::Result<(Vec<Tally>, f64)>;

/// Runs it and writes what was asked for; gives the text for standard output and the exit code.
///
/// # Errors
/// Wrong options (2), a target that does not answer (5), files that cannot be written (1).
pub fn run(options: &Options) -> Result<(String, u8), Failure> {
    options.check()?;
    let plan = Arc::new(Plan::load(options)?);
    let tls = target::tls(options.ca.as_deref(), options.insecure)?;
    let aims = aims(options, &tls)?;
    let source = stage_source(options)?;
    let credential = Credential::start(&options.auth, options.oidc_config.as_deref(), &tls)?;
    let result = measure(options, &plan, &aims, &credential, source.as_ref(), &tls);
    credential.stop();
    let run = result?;
    let json = || serde_json::to_string(&run).map_err(|error| Failure::failed(error.to_string()));
    if let Some(path) = &options.out {
        report::write(path, &(json()? + "\n"))?;
    }
    if let Some(path) = &options.hdr {
        report::write(path, &report::hgrm(&run.target.response))?;
    }
    if let Some(path) = &options.plot {
        report::write(path, &report::page(&run))?;
    }
    let code = match () {
        () if run.target.done == 0 && run.target.errors.contains_key("connect") => exit::UNREACHABLE,
        () if run.has_missed() => exit::THRESHOLD,
        () => 0,
    };
    Ok((if options.json { json()? + "\n" } else { report::text(&run) }, code))
}

/// The targets, each of which answers.
fn aims(options: &Options, tls: &Arc<ClientConfig>) -> Result<Vec<Aim>, Failure> {
    let aim = |option: &str, text: &str, fields: &[String], with_token: bool, phase: f64| {
        let url = Url::parse(text).map_err(|what| Failure::usage(format!("{option} {text}: {what}")))?;
        let fields = fields.iter().map(|line| plan::field(line)).collect::<Result<Vec<_>, _>>()?;
        let name = if url.tls { Some((tls.clone(), target::server_name(&url)?)) } else { None };
        let address = Address { address: blocking::reach(&url, tls)?, tls: name };
        Ok(Aim { url, text: text.to_owned(), address, fields, with_token, phase })
    };
    let mut aims = vec![aim("URL", &options.url, &[], true, 0.0)?];
    if let Some(baseline) = &options.baseline {
        aims.push(aim("--baseline", baseline, &options.baseline_header, false, 0.5)?);
    }
    Ok(aims)
}

fn stage_source(options: &Options) -> Result<Option<Source>, Failure> {
    let Some(said) = &options.stages else { return Ok(None) };
    let from_environment = || std::env::var("RINGWARD_ADMIN").ok().filter(|admin| !admin.is_empty());
    let text = if said.is_empty() { from_environment() } else { Some(said.clone()) };
    text.map(|text| Source::parse(&text)).transpose()
}

/// Times of the run: the warm-up, and what is measured.
fn length(options: &Options, plan: &Plan) -> (Duration, Duration) {
    match plan.times.as_ref().and_then(|times| times.last()) {
        // A recording is sent once, and as a whole; the lane ends when nothing is left of it.
        Some((last, _)) => (Duration::ZERO, Duration::from_nanos(*last) + LATE_MAX),
        None => (options.warmup, options.duration()),
    }
}

fn lane(options: &Options, plan: &Arc<Plan>, aim: &Aim, index: usize) -> LaneOptions {
    let (warmup, duration) = length(options, plan);
    let of = options.cores;
    // Lanes are told apart by a fraction of a gap where arrivals are constant, and by their seed where not.
    let own = index as u64 * 2 + u64::from(aim.phase > 0.0);
    let seed = options.seed.wrapping_mul(0x1_0000).wrapping_add(own);
    let schedule = match &plan.times {
        Some(times) => {
            let own = times.iter().skip(index).step_by(of).copied().collect();
            Schedule::Recorded { times: own, next: 0 }
        }
        None if options.closed => Schedule::Closed,
        None => {
            let part = Part { index, of, phase: aim.phase };
            let rate = Rate { hold: warmup, ..options.rate };
            Schedule::Paced(Paced::new(rate, options.arrival, seed, part))
        }
    };
    let connections = options.connections() / of + usize::from(index < options.connections() % of);
    LaneOptions {
        url: aim.url.clone(),
        address: aim.address.clone(),
        plan: plan.clone(),
        fields: aim.fields.clone(),
        with_token: aim.with_token,
        close: options.no_keepalive,
        connections,
        schedule,
        seed,
        turn: (index as u64, of as u64),
        warmup,
        duration,
        timeout: options.timeout,
        want: Want { timing: options.stages.is_some() },
        expect: Arc::new(options.expect.clone()),
    }
}

/// Processors for the workers: the last ones, since what is measured beside them often takes the first.
fn processors(options: &Options) -> Result<Vec<usize>, Failure> {
    let mut cpus = worker::cpus();
    if options.cores > cpus.len().max(1) {
        let (cores, there) = (options.cores, cpus.len());
        return Err(Failure::usage(format!("--cores {cores}: this process may use {there} processors")));
    }
    cpus.reverse();
    cpus.truncate(options.cores);
    Ok(cpus)
}

fn start(
    options: &Options,
    plan: &Arc<Plan>,
    aims: &[Aim],
    credential: &Arc<Credential>,
    signals: &Arc<Signals>,
) -> Result<Started, Failure> {
    let (sender, receiver) = sync_channel(options.cores * crate::limits::INTERVALS_WAITING_MAX);
    let mut threads = vec![];
    for (index, cpu) in processors(options)?.into_iter().enumerate() {
        let worker = worker::Options {
            cpu: Some(cpu),
            lanes: aims.iter().map(|aim| lane(options, plan, aim, index)).collect(),
            credential: credential.clone(),
            signals: signals.clone(),
            intervals: sender.clone(),
        };
        let work = move || {
            let signals = worker.signals.clone();
            let tallies = worker::run(worker)?;
            let elapsed = signals.start.get().map_or(1.0, |start| start.elapsed().as_secs_f64());
            Ok((tallies, host::thread_cpu_seconds() / elapsed.max(1e-3)))
        };
        let thread = thread::Builder::new().name(format!("load-{index}")).spawn(work);
        threads.push(thread.map_err(|error| Failure::failed(format!("no thread: {error}")))?);
    }
    Ok((threads, receiver))
}

fn measure(
    options: &Options,
    plan: &Arc<Plan>,
    aims: &[Aim],
    credential: &Arc<Credential>,
    source: Option<&Source>,
    tls: &Arc<ClientConfig>,
) -> Result<Run, Failure> {
    raise_descriptor_limit(options, aims.len())?;
    let signals = Arc::new(Signals::default());
    on_interrupt(&signals)?;
    let (threads, intervals) = start(options, plan, aims, credential, &signals)?;
    while signals.ready.load(Ordering::Acquire) < threads.len() {
        if threads.iter().any(JoinHandle::is_finished) {
            break;
        }
        thread::sleep(Duration::from_millis(1));
    }
    let (warmup, duration) = length(options, plan);
    let begins = Instant::now() + BEGIN_IN;
    // Nobody else sets it.
    let _ = signals.start.set(begins);
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut watched = Watched::new(options, source, tls, begins + warmup, warmup + duration, aims.len());
    watched.until_done(&intervals, &threads);
    let stopped = signals.stop.load(Ordering::Acquire);
    let over = begins.elapsed().min(warmup + duration);
    let mut tallies: Vec<Tally> = aims.iter().map(|_| Tally::new(&plan.names())).collect();
    let mut busy = 0f64;
    for thread in threads {
        let worked = thread.join().map_err(|_| Failure::failed("a worker has ended in the middle"))?;
        let (own, share) = worked.map_err(|error| Failure::failed(format!("a worker: {error}")))?;
        tallies.iter_mut().zip(&own).for_each(|(all, own)| all.add(own));
        busy = busy.max(share);
    }
    watched.drain(&intervals);
    let seconds = over.saturating_sub(warmup).as_secs_f64().max(1e-3);
    let stages = watched.stages(&tallies[0]);
    let mut rows = aims
        .iter()
        .zip(&tallies)
        .zip(watched.collectors)
        .map(|((aim, tally), collector)| LaneRow::new(&aim.text, tally, seconds, collector.finish()));
    let mut run = Run {
        format: report::FORMAT.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started,
        options: said(options),
        host: host::Host {
            steal: watched.steal.share(),
            load_busy: busy,
            ..host::read(worker::cpus().len())
        },
        driver: if worker::driver() == worker::Driver::IoUring { "io_uring" } else { "epoll" }.to_owned(),
        seconds,
        warmup_seconds: warmup.as_secs_f64(),
        is_cut_short: stopped,
        target: rows.next().ok_or_else(|| Failure::failed("no target"))?,
        baseline: rows.next(),
        stages,
        expected: options.expect.judge(&tallies[0]),
        promises: vec![],
        notes: plan.notes.clone(),
    };
    run.promises = options.slo.judge(&run);
    let mut notes = watched.notes;
    run.notes.append(&mut notes);
    run.notes.extend(notes_on(&run));
    Ok(run)
}

/// What is followed while the workers run.
struct Watched<'a> {
    collectors: Vec<Collector>,
    display: Display,
    source: Option<&'a Source>,
    tls: &'a Arc<ClientConfig>,
    /// When measuring begins, after which the metrics are read first.
    measures_at: Instant,
    before: Option<Metrics>,
    after: Option<Metrics>,
    notes: Vec<String>,
    steal: Steal,
}

/// Processor time that the host took away.
struct Steal {
    before: (u64, u64),
}

impl Steal {
    fn share(&self) -> f64 {
        let now = host::ticks();
        (now.0 - self.before.0.min(now.0)) as f64 / now.1.saturating_sub(self.before.1).max(1) as f64
    }
}

impl<'a> Watched<'a> {
    fn new(
        options: &Options,
        source: Option<&'a Source>,
        tls: &'a Arc<ClientConfig>,
        measures_at: Instant,
        length: Duration,
        lanes: usize,
    ) -> Watched<'a> {
        Watched {
            collectors: (0..lanes).map(|_| Collector::default()).collect(),
            display: Display::new(options.ui, length),
            source,
            tls,
            measures_at,
            before: None,
            after: None,
            notes: vec![],
            steal: Steal { before: host::ticks() },
        }
    }

    /// Collects what the workers count, until they are done.
    fn until_done(&mut self, intervals: &Receiver<(usize, Interval)>, threads: &[JoinHandle<Worked>]) {
        while !threads.iter().all(JoinHandle::is_finished) {
            if self.before.is_none() && Instant::now() >= self.measures_at {
                self.before = Some(self.metrics());
            }
            match intervals.recv_timeout(Duration::from_millis(20)) {
                Ok((lane, interval)) => self.take(lane, interval),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => thread::sleep(Duration::from_millis(1)),
            }
        }
        self.display.finish();
        if self.before.is_some() {
            self.after = Some(self.metrics());
        }
    }

    fn take(&mut self, lane: usize, interval: Interval) {
        let Some(collector) = self.collectors.get_mut(lane) else { return };
        collector.add(interval);
        if lane == 0
            && let Some(point) = collector.latest().filter(|point| point.sent + point.done > 0)
        {
            self.display.second(&point, &collector.total);
        }
    }

    fn drain(&mut self, intervals: &Receiver<(usize, Interval)>) {
        while let Ok((lane, interval)) = intervals.try_recv() {
            if let Some(collector) = self.collectors.get_mut(lane) {
                collector.add(interval);
            }
        }
    }

    fn metrics(&mut self) -> Metrics {
        let Some(source) = self.source else { return Metrics::default() };
        source.read(self.tls).unwrap_or_else(|what| {
            self.notes.push(format!("stages were not read: {what}"));
            Metrics::default()
        })
    }

    /// What answers said themselves, else what the metrics say.
    fn stages(&self, tally: &Tally) -> Vec<Stage> {
        let said = tally.stages.iter().map(|(name, times)| Stage {
            name: name.clone(),
            count: times.len(),
            p50_ns: times.value_at_quantile(0.5) as f64,
            p99_ns: times.value_at_quantile(0.99) as f64,
            is_bound: false,
        });
        let said: Vec<stages::Stage> = said.collect();
        match (&self.before, &self.after) {
            _ if !said.is_empty() => said,
            (Some(before), Some(after)) => after.since(before),
            _ => said,
        }
    }
}

/// What makes the numbers count less.
fn notes_on(run: &Run) -> Vec<String> {
    let mut notes = vec![];
    let lane = &run.target;
    if lane.dropped > 0 {
        notes.push(format!(
            "{} requests were due and never sent: more connections, or a lower rate; the response is worse \
             than these percentiles say",
            lane.dropped
        ));
    }
    if lane.resent > 0 {
        notes.push(format!(
            "{} requests were sent again: the server had closed connections without saying so",
            lane.resent
        ));
    }
    if run.driver != "io_uring" && std::env::var_os("LOADTEST_DRIVER").is_none() {
        notes.push("io_uring is not allowed here: this was measured with epoll".to_owned());
    }
    // A short run is mostly its own beginning.
    if run.host.load_busy > BUSY_MAX && run.seconds >= 1.0 {
        notes.push(format!(
            "the load tester was busy {:.0}% of the time: raise --cores, else it is what was measured",
            run.host.load_busy * 100.0
        ));
    }
    if run.host.steal > STEAL_MAX {
        notes.push(format!("the host took {:.0}% of the processors away", run.host.steal * 100.0));
    }
    if run.options.contains_key("stages") && run.stages.is_empty() {
        notes.push(
            "no stage was measured: no answer had Server-Timing; --stages=URL names a gateway's metrics"
                .to_owned(),
        );
    }
    notes
}

/// The command line as it counts; fields and files of secrets are left out.
fn said(options: &Options) -> BTreeMap<String, String> {
    let mut said = BTreeMap::new();
    let mut say = |name: &str, value: String| drop(said.insert(name.to_owned(), value));
    let rate = &options.rate;
    let ramp = match rate.over {
        Duration::ZERO => format!("{}", rate.from),
        over => format!("{}..{}/{}s", rate.from, rate.to, over.as_secs_f64()),
    };
    say("url", options.url.clone());
    if options.closed {
        say("closed", "true".to_owned());
    } else {
        say("rate", ramp);
        say("arrival", if options.arrival == Arrival::Poisson { "poisson" } else { "constant" }.to_owned());
    }
    say("connections", options.connections().to_string());
    say("cores", options.cores.to_string());
    say("seed", options.seed.to_string());
    say("timeout", format!("{:?}", options.timeout));
    say("profile", options.profile.name().to_owned());
    say(
        "auth",
        match options.auth {
            Auth::None => "none",
            Auth::Token(_) => "token",
            Auth::Oidc(_) => "oidc",
        }
        .to_owned(),
    );
    if options.no_keepalive {
        say("no-keepalive", "true".to_owned());
    }
    if options.is_recorded() {
        say("timing", "recorded".to_owned());
    }
    for (name, path) in [("mix", &options.mix), ("replay", &options.replay), ("body", &options.body)] {
        if let Some(path) = path {
            say(name, path.display().to_string());
        }
    }
    if let Some(baseline) = &options.baseline {
        say("baseline", baseline.clone());
    }
    if let Some(stages) = &options.stages {
        say("stages", stages.clone());
    }
    said
}

/// Each connection takes two descriptors.
fn raise_descriptor_limit(options: &Options, lanes: usize) -> Result<(), Failure> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let needed = (options.connections() * lanes * 2 + options.cores * 16 + 64) as u64;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.maximum.is_some_and(|maximum| maximum < needed) || setrlimit(Resource::Nofile, raised).is_err() {
        return Err(Failure::usage(format!(
            "--connections {}: {needed} descriptors are needed: raise the limit with `ulimit -n {needed}`",
            options.connections()
        )));
    }
    Ok(())
}

/// The first SIGINT or SIGTERM ends the run, which still reports; the second ends the process.
fn on_interrupt(signals: &Arc<Signals>) -> Result<(), Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |error: io::Error| Failure::failed(format!("signals: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(failed)?;
    let signals = signals.clone();
    let _context = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    drop(_context);
    thread::spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if signals.stop.swap(true, Ordering::AcqRel) {
                    std::process::exit(130);
                }
                eprintln!("ending early: what is in flight gets a second");
            }
        });
    });
    Ok(())
}

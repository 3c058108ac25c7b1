//! What breaks beneath the audit log, done to the real gateway while real callers use it: death of the
//! process, power cuts, disks that fail, fill up or stand still, and bits that change. Nothing that was
//! acknowledged may be lost, and nothing may be forwarded that is not recorded.
//!
//! `tests/faults` runs the long form, `cargo test --test faults` the short one.

#[path = "../e2e/support/mod.rs"]
#[allow(dead_code, reason = "shared with the end-to-end tests, which use all of it")]
mod support;

mod arguments;
mod callers;
mod disks;
mod flips;
mod full;
mod kill;
mod log;
mod power;
mod stalled;
mod unreadable;
mod world;

use arguments::Arguments;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    time::{Duration, Instant},
};

/// One way of breaking.
pub struct Fault {
    pub name: &'static str,
    /// What is done, in a few words.
    about: &'static str,
    /// Cycles of the short and of the long form.
    short: u64,
    long: u64,
    run: fn(&mut Run) -> Outcome,
}

pub const FAULTS: &[Fault] = &[
    Fault { name: "kill", about: "SIGKILL under load", short: 10, long: 1_000, run: kill::run },
    Fault { name: "power", about: "the file system is shut down", short: 2, long: 120, run: power::run },
    Fault {
        name: "unreadable",
        about: "every access is an I/O error",
        short: 2,
        long: 80,
        run: unreadable::run,
    },
    Fault { name: "full", about: "no space is left", short: 2, long: 80, run: full::run },
    Fault { name: "stalled", about: "writes stand still", short: 1, long: 6, run: stalled::run },
    Fault { name: "flips", about: "single bits change", short: 3_000, long: 1_000_000, run: flips::run },
];

/// What a fault did, or why it cannot be done here.
type Outcome = Result<Tally, Skipped>;

/// Why this machine cannot do it.
pub struct Skipped(pub String);

/// What came of it. For bits that change, a record is a flip, and one that nobody finds is lost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub cycles: u64,
    /// Requests that were answered or that reached the upstream.
    pub acknowledged: u64,
    /// Those of them whose INTENT is in the log.
    pub found: u64,
    pub lost: u64,
}

/// One run of one fault.
pub struct Run {
    pub cycles: u64,
    pub random: Random,
    name: &'static str,
    told: Instant,
}

impl Run {
    /// Says how far it is, now and then.
    pub fn progress(&mut self, done: u64, what: impl std::fmt::Display) {
        if self.told.elapsed() >= Duration::from_secs(10) {
            println!("  {} {done} of {}: {what}", self.name, self.cycles);
            self.told = Instant::now();
        }
    }
}

/// Numbers that are the same for the same seed (xorshift64*).
pub struct Random(u64);

impl Random {
    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16) % bound
    }
}

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(wrong) => {
            eprintln!("{wrong}\n{}", arguments::HELP);
            return ExitCode::from(2);
        }
    };
    if arguments.list {
        FAULTS.iter().filter(|fault| arguments.has(fault)).for_each(|fault| println!("{}: test", fault.name));
        return ExitCode::SUCCESS;
    }
    disks::enter_own_namespace();
    println!("seed {}", arguments.seed);
    let mut all_well = true;
    let mut lines = vec![format!(
        "{:<12}{:>9}{:>14}{:>10}{:>6}{:>8}  {}",
        "fault", "cycles", "acknowledged", "found", "lost", "time", "what is done"
    )];
    for fault in FAULTS.iter().filter(|fault| arguments.has(fault)) {
        let cycles = arguments.cycles(fault);
        println!("{}: {}, {cycles} cycles", fault.name, fault.about);
        let began = Instant::now();
        let random = Random(arguments.seed | 1);
        let mut run = Run { cycles, random, name: fault.name, told: began };
        let result = catch_unwind(AssertUnwindSafe(|| (fault.run)(&mut run)));
        let seconds = began.elapsed().as_secs();
        lines.push(match result {
            Ok(Ok(Tally { cycles, acknowledged, found, lost })) => {
                all_well &= lost == 0 && acknowledged > 0;
                let name = fault.name;
                format!(
                    "{name:<12}{cycles:>9}{acknowledged:>14}{found:>10}{lost:>6}{seconds:>6} s  {}",
                    fault.about
                )
            }
            Ok(Err(Skipped(why))) => {
                println!("skipped: {}: {why}", fault.name);
                format!("{:<12}skipped: {why}", fault.name)
            }
            Err(_) => {
                all_well = false;
                format!("{:<12}FAILED after {seconds} s", fault.name)
            }
        });
    }
    println!("{}", lines.join("\n"));
    if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

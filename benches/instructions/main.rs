//! One operation of each hot module, done as often as is asked for: `tests/instructions` counts what the
//! processor executes for one of them, and compares with what it was. Nothing here takes the time.
//!
//! `instructions` does each once and prints their names; `instructions CASE N` warms one of them up and does
//! it N times, in [`counted`].
//! No case reaches a hash: valgrind hides the instructions that make it cheap.

mod encode;
mod exchange;
mod h1;
mod inspect;
mod policy;
mod target;

/// What a case prepares once; each call is one operation.
type Operation = Box<dyn FnMut()>;

/// Names of cases and what makes them ready.
type Cases = &'static [(&'static str, fn() -> Operation)];

const MODULES: &[Cases] =
    &[h1::CASES, target::CASES, policy::CASES, encode::CASES, inspect::CASES, exchange::CASES];

/// Operations before those that are counted: caches and pools are full then.
const WARM_UP: u32 = 20;

/// All that is counted: what makes a case ready hashes under random keys, and takes a random number of steps.
#[inline(never)]
fn counted(operation: &mut Operation, count: u32) {
    (0..count).for_each(|_| operation());
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|one| !one.starts_with('-')).collect();
    let chosen = arguments.first();
    let count: Option<u32> = arguments.get(1).map(|count| count.parse().expect("a number of operations"));
    let mut done = 0;
    for (name, make) in MODULES.iter().copied().flatten() {
        if chosen.is_some_and(|chosen| chosen != name) {
            continue;
        }
        let mut operation = make();
        if count.is_some() {
            (0..WARM_UP).for_each(|_| operation());
        }
        counted(&mut operation, count.unwrap_or(1));
        println!("{name}");
        done += 1;
    }
    assert!(done > 0, "no case is called {chosen:?}");
}

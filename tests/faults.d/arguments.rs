//! The command line: the options of `tests/faults`, and those that runners of tests pass.

use super::{FAULTS, Fault};
use std::{
    collections::HashMap,
    time::{SystemTime, UNIX_EPOCH},
};

pub const HELP: &str = "\
usage: tests/faults [--short] [FAULT…] [--cycles FAULT=N]… [--seed N]
  FAULT             kill power unreadable full stalled flips; without one, all of them
  --short           few cycles of each, as continuous integration runs them
  --cycles FAULT=N  so many cycles of one fault
  --seed N          the same random numbers again, as far as threads and disks allow it";

/// What is wanted.
pub struct Arguments {
    pub list: bool,
    pub seed: u64,
    is_long: bool,
    faults: Vec<String>,
    cycles: HashMap<String, u64>,
}

impl Arguments {
    /// # Errors
    /// What is wrong with them.
    pub fn parse(mut all: impl Iterator<Item = String>) -> Result<Arguments, String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let seed = now.as_micros() as u64;
        let (faults, cycles) = Default::default();
        let mut arguments = Arguments { list: false, seed, is_long: false, faults, cycles };
        let mut ignored = false;
        let number = |text: Option<String>| {
            text.and_then(|text| text.parse().ok()).ok_or_else(|| "a number is missing".to_owned())
        };
        while let Some(argument) = all.next() {
            match argument.as_str() {
                "--long" => arguments.is_long = true,
                "--short" => arguments.is_long = false,
                "--seed" => arguments.seed = number(all.next())?,
                "--cycles" => {
                    let text = all.next().unwrap_or_default();
                    let (name, count) = text.split_once('=').ok_or("--cycles takes FAULT=N")?;
                    known(name)?;
                    arguments.cycles.insert(name.to_owned(), number(Some(count.to_owned()))?);
                }
                "--list" => arguments.list = true,
                // No test is left out by default.
                "--ignored" => ignored = true,
                "--format" => drop(all.next()),
                "--exact" | "--nocapture" | "--no-capture" | "--show-output" | "--include-ignored" | "-q"
                | "--quiet" => {}
                name => {
                    known(name)?;
                    arguments.faults.push(name.to_owned());
                }
            }
        }
        if ignored {
            arguments.faults = vec!["none".to_owned()];
        }
        Ok(arguments)
    }

    /// Whether a fault is to be run.
    pub fn has(&self, fault: &Fault) -> bool {
        self.faults.is_empty() || self.faults.iter().any(|name| name == fault.name)
    }

    /// How often.
    pub fn cycles(&self, fault: &Fault) -> u64 {
        let usual = if self.is_long { fault.long } else { fault.short };
        self.cycles.get(fault.name).copied().unwrap_or(usual)
    }
}

fn known(name: &str) -> Result<(), String> {
    let is_known = FAULTS.iter().any(|fault| fault.name == name);
    is_known.then_some(()).ok_or_else(|| format!("{name} is no fault and no option"))
}

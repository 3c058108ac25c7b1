//! `[runtime]`, and the file that its `tuning` names.

use super::Compiler;
use crate::config::tree::at;
use crate::config::{Cores, RuntimePlan, Text, Tuning, UNREADABLE_FILE, load_tuning};

impl Compiler<'_> {
    /// Shards and their driver, and what they take.
    pub(super) fn runtime(&mut self) -> RuntimePlan {
        let tuning = self.tuning();
        let written = &self.document.runtime;
        RuntimePlan {
            cores: tuning.shards.clone().unwrap_or_else(|| written.cores.clone()),
            driver: written.driver,
            drain: written.drain.0,
            tuning,
        }
    }

    /// What it says; the defaults where there is none, or where something was noted.
    fn tuning(&mut self) -> Tuning {
        let Some(file) = &self.document.runtime.tuning else { return Tuning::default() };
        let path = at!["runtime", "tuning"];
        let file = self.base.join(file);
        let Some(bytes) = self.read(&path, &file, false) else { return Tuning::default() };
        let Ok(source) = std::str::from_utf8(&bytes) else {
            self.error(&path, UNREADABLE_FILE, format!("{} is not UTF-8", file.display()), "");
            return Tuning::default();
        };
        match load_tuning(&Text::new(file.display().to_string(), self.base, source)) {
            Ok(tuning) => {
                if tuning.shards.is_some() && self.document.runtime.cores != Cores::Auto {
                    let message = format!("{} says with `shards` where shards run, too", file.display());
                    self.error(&at!["runtime", "cores"], "cores", message, "leave one of them out");
                }
                tuning
            }
            Err(found) => {
                self.found.extend(found);
                Tuning::default()
            }
        }
    }
}

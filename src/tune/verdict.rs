use super::{
    Host,
    definition::{Definition, Severity},
};
use crate::tune::definition::Read;
use std::io;

/// What was found of one setting.
#[derive(Clone, Debug)]
pub struct Finding<'a> {
    pub definition: &'a Definition,
    pub mark: Mark,
    /// The value, or why there is none.
    pub current: String,
}

/// The verdict on one setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    Good,
    Warning,
    Failure,
    /// This machine has no such setting, or another one makes it irrelevant.
    Skipped,
}

impl Mark {
    /// As the table shows it.
    pub fn word(self) -> &'static str {
        match self {
            Mark::Good => "ok",
            Mark::Warning => "warn",
            Mark::Failure => "FAIL",
            Mark::Skipped => "-",
        }
    }
}

/// Looks at one setting.
pub fn look<'a>(host: &Host, definition: &'a Definition) -> Finding<'a> {
    let finding = |mark, current| Finding { definition, mark, current };
    let bad = match definition.severity {
        Severity::Warning => Mark::Warning,
        Severity::Failure => Mark::Failure,
    };
    match host.value(&definition.read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            finding(Mark::Skipped, "not here".to_owned())
        }
        Err(error) => finding(bad, format!("unreadable: {error}")),
        Ok(current) if definition.accepts(&current) => finding(Mark::Good, current),
        Ok(current) => {
            let other = definition.unless.as_ref();
            let holds = other.filter(|other| {
                let value = host.value(&Read::Sysctl(other.sysctl.clone()));
                value.is_ok_and(|value| value == other.equals)
            });
            match holds {
                Some(other) => finding(Mark::Skipped, format!("{current}, with {}", other.equals)),
                None => finding(bad, current),
            }
        }
    }
}

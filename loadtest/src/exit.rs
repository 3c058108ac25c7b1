//! How a command ends: one code a meaning, as `ringward` has them, and what is said then.

use std::fmt;

/// Failed for a reason without a code of its own.
pub const FAILED: u8 = 1;
/// The command line, or a file that it names, is wrong.
pub const USAGE: u8 = 2;
/// The target does not answer.
pub const UNREACHABLE: u8 = 5;
/// A threshold was missed.
pub const THRESHOLD: u8 = 7;

/// Why a command ends early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Where it is, what is wrong, and what helps; never a secret.
    pub message: String,
    pub code: u8,
}

impl Failure {
    /// The caller has to change an option or a file.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), code: USAGE }
    }

    /// Nobody answers.
    pub fn unreachable(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), code: UNREACHABLE }
    }

    /// Anything else.
    pub fn failed(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), code: FAILED }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

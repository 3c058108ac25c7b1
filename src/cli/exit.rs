//! Exit codes: one meaning each, for every command.

/// Done.
pub const OK: u8 = 0;
/// Failed for a reason without a code of its own.
pub const FAILED: u8 = 1;
/// The command line is wrong.
pub const USAGE: u8 = 2;
/// The configuration is invalid.
pub const CONFIG: u8 = 3;
/// There are warnings, under `--strict`.
pub const WARNINGS: u8 = 4;
/// No gateway answers.
pub const UNREACHABLE: u8 = 5;
/// The audit log does not verify.
pub const AUDIT: u8 = 6;
/// A threshold was missed.
pub const THRESHOLD: u8 = 7;
/// `tune check` found warnings, and no failures.
pub const TUNE_WARNINGS: u8 = 8;
/// `tune check` found failures.
pub const TUNE_FAILURES: u8 = 9;
/// A drain timed out.
pub const DRAIN: u8 = 124;

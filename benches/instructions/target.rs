//! Canonical paths.

use super::{Cases, Operation};
use ringward::http::target::canonicalise;
use std::hint::black_box;

pub const CASES: Cases = &[
    ("target_plain", || canonical(b"/v1/messages?beta=true")),
    ("target_encoded", || canonical(b"/v1/files/a%20report%2dfinal/./pages/../7?version=3")),
];

fn canonical(raw: &'static [u8]) -> Operation {
    Box::new(move || {
        black_box(canonicalise(black_box(raw)).expect("a target that is not ambiguous"));
    })
}

//! What each fuzz target does with its bytes. The fuzzer calls it with what it invents,
//! `tests/fuzz_corpus.rs` with the kept corpus in `fuzz/corpus/NAME/`.
//!
//! A target asserts properties that hold for any bytes; it never expects a certain answer.
//!
//! `cargo +nightly fuzz run NAME`, or without cargo-fuzz, from the root of the repository:
//!
//! ```text
//! RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
//!   -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
//!   -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Cdebug-assertions" \
//! cargo +nightly build --locked --manifest-path fuzz/Cargo.toml --target x86_64-unknown-linux-gnu --bin NAME
//! fuzz/target/x86_64-unknown-linux-gnu/debug/NAME -max_total_time=60 SCRATCH fuzz/corpus/NAME
//! ```

mod age;
mod audit;
mod certificate;
mod encoding;
mod gateway;
mod http;
mod inspect;
mod policy;
mod proxy;

/// Takes any bytes; panics if a property does not hold for them.
pub type Target = fn(&[u8]);

/// All targets by name. A new one needs a line here, a file in `fuzz_targets/`, and a `[[bin]]` in
/// `Cargo.toml`.
pub const TARGETS: &[(&str, Target)] = &[
    ("age_file", age::file),
    ("body_facts", policy::body_facts),
    ("audit_segment", audit::segment),
    ("audit_note", audit::note),
    ("audit_proof", audit::proof),
    ("certificate", certificate::facts),
    ("chunked", http::chunked),
    ("decode_br", encoding::brotli),
    ("decode_deflate", encoding::deflate),
    ("decode_gzip", encoding::gzip),
    ("decode_zstd", encoding::zstd),
    ("echo", encoding::echo),
    ("gateway", gateway::gateway),
    ("inspect_json", inspect::json),
    ("inspect_sse", inspect::sse),
    ("forwarded_for", proxy::hops),
    ("proxy_protocol", proxy::header),
    ("request_head", http::request_head),
    ("response_head", http::response_head),
    ("sql", policy::sql),
    ("target", http::target),
];

/// Runs the target called `name`.
///
/// # Panics
/// If there is no such target, or if a property does not hold.
#[allow(dead_code)]
pub fn run(name: &str, data: &[u8]) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).expect("a name of the table");
    target(data);
}

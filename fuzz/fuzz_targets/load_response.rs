#![no_main]

#[path = "../targets/load.rs"]
mod load;

libfuzzer_sys::fuzz_target!(|data: &[u8]| load::response(data));

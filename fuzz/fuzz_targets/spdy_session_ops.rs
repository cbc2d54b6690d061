#![no_main]

#[path = "../src/spdy_session_ops.rs"]
mod spdy_session_ops;

libfuzzer_sys::fuzz_target!(|data: &[u8]| spdy_session_ops::run(data));

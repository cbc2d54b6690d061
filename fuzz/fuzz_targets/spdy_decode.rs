#![no_main]

#[path = "../src/spdy_decode.rs"]
mod spdy_decode;

libfuzzer_sys::fuzz_target!(|data: &[u8]| spdy_decode::run(data));

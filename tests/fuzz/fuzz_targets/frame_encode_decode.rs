//! `frame_encode_decode` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| omsd_fuzz::frame_encode_decode::check(data));

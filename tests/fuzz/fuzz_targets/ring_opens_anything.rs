//! `ring_opens_anything` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| omsd_fuzz::ring_opens_anything::check(data));

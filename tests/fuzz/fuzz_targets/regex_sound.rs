//! `regex_sound` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| omsd_fuzz::regex_sound::check(data));

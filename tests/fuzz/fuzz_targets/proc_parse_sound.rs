//! `proc_parse_sound` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| omsd_fuzz::proc_parse_sound::check(data));

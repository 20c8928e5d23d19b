//! `framing_split_anywhere` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| omsd_fuzz::framing_split_anywhere::check(data));

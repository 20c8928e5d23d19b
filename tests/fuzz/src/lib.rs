//! Properties of omsd that must hold for any bytes, each a function `check(data)` that panics where one does not.
//!
//! ```text
//!  seeds ─> mutate ─> check ─┬─ returns: next                    cargo run --release -- all --seconds 5 --seed 1
//!                            └─ panics, hangs, grows: minimize ─> artifacts/TARGET-… , and how to replay it
//! ```
//!
//! | file | what |
//! |---|---|
//! | [`message_parse_sound`] and the other targets | a property each; how the bytes are read stands at its head |
//! | [`input`] | takes numbers off the front of the bytes |
//! | [`memory`] | counts the heap, so that a bound on memory is a property too |
//! | [`mutate`] | the generator of inputs: nothing but a seed goes in |
//! | [`drive`] | the loop, the watchdog, the minimizer |
//! | `seeds/TARGET/` | inputs to begin with; whatever once failed stays there |
//!
//! The driver runs on the stable toolchain and is blind. libFuzzer, which sees what it reaches (and needs a C++ compiler), takes
//! the same targets: `RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
//! -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table" cargo run --release
//! --features libfuzzer --target x86_64-unknown-linux-gnu --bin TARGET corpus/TARGET seeds/TARGET`.

pub mod answer_parse_sound;
pub mod config_parse_sound;
pub mod drive;
pub mod frame_encode_decode;
pub mod framing_split_anywhere;
pub mod input;
pub mod memory;
pub mod message_parse_sound;
pub mod mutate;
pub mod proc_parse_sound;
pub mod regex_sound;
pub mod ring_opens_anything;
pub mod sample_sound;

/// A property, and what helps to find bytes against it.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, and that of its directory of seeds.
    pub name: &'static str,
    /// Panics if the property does not hold for these bytes.
    pub check: fn(&[u8]),
    /// Words that inputs are made of.
    pub words: &'static [&'static [u8]],
    /// Longest input that is tried.
    pub bytes_max: usize,
}

/// All targets.
pub const TARGETS: [Target; 9] = [
    Target {
        name: "message_parse_sound",
        check: message_parse_sound::check,
        words: message_parse_sound::WORDS,
        bytes_max: 4096,
    },
    Target {
        name: "framing_split_anywhere",
        check: framing_split_anywhere::check,
        words: framing_split_anywhere::WORDS,
        bytes_max: 2048,
    },
    Target {
        name: "frame_encode_decode",
        check: frame_encode_decode::check,
        words: frame_encode_decode::WORDS,
        bytes_max: 4096,
    },
    Target {
        name: "ring_opens_anything",
        check: ring_opens_anything::check,
        words: ring_opens_anything::WORDS,
        bytes_max: 1024,
    },
    Target {
        name: "config_parse_sound",
        check: config_parse_sound::check,
        words: config_parse_sound::WORDS,
        bytes_max: 8192,
    },
    Target {
        name: "answer_parse_sound",
        check: answer_parse_sound::check,
        words: answer_parse_sound::WORDS,
        bytes_max: 4096,
    },
    Target {
        name: "proc_parse_sound",
        check: proc_parse_sound::check,
        words: proc_parse_sound::WORDS,
        bytes_max: 4096,
    },
    Target { name: "regex_sound", check: regex_sound::check, words: regex_sound::WORDS, bytes_max: 2048 },
    Target { name: "sample_sound", check: sample_sound::check, words: sample_sound::WORDS, bytes_max: 4096 },
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn every_seed_has_its_property_and_every_target_has_seeds() {
        for target in TARGETS {
            let seeds = drive::seeds(&Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target.name)).unwrap();
            assert!(!seeds.is_empty(), "{}", target.name);
            seeds.iter().for_each(|seed| (target.check)(seed));
        }
    }

    #[test]
    fn no_bytes_and_runs_of_one_byte_are_inputs_too() {
        for target in TARGETS {
            (target.check)(&[]);
            for byte in [0, b' ', b'<', 0x7f, 0xff] {
                for length in [1, 2, 9, 100, 1000] {
                    (target.check)(&vec![byte; length]);
                }
            }
        }
    }
}

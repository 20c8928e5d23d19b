//! The kernel's doors: the only `unsafe`, the only `libc`.
#![expect(unsafe_code, reason = "system calls live here and nowhere else")]

pub mod arguments;
pub mod clock;
pub mod command;
// Tested wherever the tests run, in use where the C library's is slow.
#[cfg(all(any(target_arch = "x86_64", target_arch = "x86"), any(target_env = "musl", test)))]
mod copy;
pub mod file;
pub mod filesystem;
pub mod host;
pub mod memory;
pub mod pipe;
pub mod poll;
pub mod process;
mod secret;
pub mod signal;
pub mod socket;

pub use secret::{wipe, wipe_string};

use std::io;

/// Random bytes from the kernel's generator. Fails where `/dev/urandom` cannot be read. Source: random(4).
pub fn random_bytes(bytes: &mut [u8]) -> io::Result<()> {
    use std::io::Read;
    std::fs::File::open("/dev/urandom")?.read_exact(bytes)
}

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
pub mod landlock;
pub mod memory;
pub mod pipe;
pub mod poll;
pub mod privilege;
pub mod process;
pub mod seccomp;
mod secret;
pub mod signal;
pub mod socket;

pub use secret::{wipe, wipe_string};

use std::io;

/// Whether this process or the host has no descriptor or no memory left for what was asked for: a limit, and no answer about the
/// thing itself.
pub fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM))
}

/// Random bytes from the kernel's generator; never waits. Without a /dev, what getrandom(2) gives at once. Fails where there is neither.
/// Source: random(4), getrandom(2).
pub fn random_bytes(bytes: &mut [u8]) -> io::Result<()> {
    use std::io::Read;
    std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(bytes)).or_else(|error| {
        // SAFETY: pointer and length describe one slice, borrowed mutably for the call.
        let filled =
            unsafe { libc::syscall(libc::SYS_getrandom, bytes.as_mut_ptr(), bytes.len(), libc::GRND_NONBLOCK) };
        if usize::try_from(filled) == Ok(bytes.len()) { Ok(()) } else { Err(error) }
    })
}

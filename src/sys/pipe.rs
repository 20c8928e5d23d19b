//! Pipes between the loop and its child, and between a signal handler and the loop.

use core::ffi::c_int;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// Two ends, both closed on exec.
#[derive(Debug)]
pub struct Pipe {
    /// What was written comes out here.
    pub reader: OwnedFd,
    /// Goes in here.
    pub writer: OwnedFd,
}

/// A new blocking pipe. Fails at the descriptor limit. Source: pipe(2); `pipe2` is younger than our oldest kernels.
pub fn new() -> io::Result<Pipe> {
    let mut ends: [c_int; 2] = [-1; 2];
    // SAFETY: the pointer is to two live ints, which the kernel fills.
    if unsafe { libc::pipe(ends.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just made both, and nobody else owns them.
    let (reader, writer) = unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) };
    for end in ends {
        // SAFETY: fcntl on a descriptor we own.
        unsafe { libc::fcntl(end, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(Pipe { reader, writer })
}

/// Makes reads and writes on the descriptor answer "would block" instead of waiting.
pub fn set_nonblocking(descriptor: RawFd) -> io::Result<()> {
    // SAFETY: fcntl only changes flags; a bad descriptor is an error it reports.
    let done = unsafe {
        let flags = libc::fcntl(descriptor, libc::F_GETFL);
        flags >= 0 && libc::fcntl(descriptor, libc::F_SETFL, flags | libc::O_NONBLOCK) >= 0
    };
    if done { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Asks for a larger pipe, in bytes, where the kernel knows how (2.6.35); otherwise it stays as it is.
pub fn try_grow(descriptor: RawFd, bytes: c_int) {
    // SAFETY: fcntl with an int argument; failure leaves the pipe as it was.
    unsafe { libc::fcntl(descriptor, libc::F_SETPIPE_SZ, bytes) };
}

//! The one sleep.

use core::ffi::c_int;
use std::io;

pub use libc::pollfd as PollFd;

/// Something can be read, or a connection accepted.
pub const READABLE: i16 = libc::POLLIN;
/// Something can be written without blocking.
pub const WRITABLE: i16 = libc::POLLOUT;
/// What a file of the kernel says changed since it was opened or this was last asked. Source: proc_pid_mounts(5).
pub const CHANGED: i16 = libc::POLLPRI;
/// The other side is gone, or the descriptor is in error; always reported, never asked for.
pub const GONE: i16 = libc::POLLHUP | libc::POLLERR | libc::POLLNVAL;

/// Sleeps until a descriptor is ready or `timeout_ms` passes (`None`: no limit); a signal ends it with `Ok(0)`.
/// Fails as poll(2) does, save `EINTR`. Source: POSIX.1-2024 poll(); Linux poll(2).
pub fn poll(fds: &mut [PollFd], timeout_ms: Option<u64>) -> io::Result<usize> {
    let timeout = timeout_ms.map_or(-1, |ms| c_int::try_from(ms).unwrap_or(c_int::MAX));
    // SAFETY: pointer and length describe one slice, borrowed mutably for the whole call;
    // the kernel writes only to `revents`.
    let ready = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout) };
    if let Ok(ready) = usize::try_from(ready) {
        return Ok(ready);
    }
    // What a failed call left in `revents` is not an answer.
    fds.iter_mut().for_each(|fd| fd.revents = 0);
    match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::Interrupted => Ok(0),
        error => Err(error),
    }
}

//! The system calls that the standard library has no door to. The only unsafe of this package.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

/// Datagrams handed to the kernel by one call.
pub const DATAGRAMS_AT_ONCE: usize = 64;

/// Sends datagrams on a connected socket in as few calls as possible; waits where the socket makes senders wait.
/// Fails as sendmmsg(2) does.
pub fn send_all(socket: &impl AsRawFd, datagrams: &[&[u8]]) -> io::Result<()> {
    for group in datagrams.chunks(DATAGRAMS_AT_ONCE) {
        let mut rest = group;
        while !rest.is_empty() {
            rest = &rest[send_some(socket, rest)?..];
        }
    }
    Ok(())
}

fn send_some(socket: &impl AsRawFd, datagrams: &[&[u8]]) -> io::Result<usize> {
    let mut parts: Vec<libc::iovec> = datagrams
        .iter()
        .map(|bytes| libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() })
        .collect();
    // SAFETY: all zeros is a valid mmsghdr: no name, no parts, no control data.
    let empty: libc::mmsghdr = unsafe { core::mem::zeroed() };
    let mut headers = vec![empty; parts.len()];
    for (header, part) in headers.iter_mut().zip(&mut parts) {
        header.msg_hdr.msg_iov = part;
        header.msg_hdr.msg_iovlen = 1;
    }
    let length = u32::try_from(headers.len()).expect("a group is small");
    loop {
        // SAFETY: `headers` has `length` entries; each points to one live part, which points to live bytes that are only read.
        let count = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), length, 0) };
        match usize::try_from(count) {
            Ok(count) => return Ok(count),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
}

/// Bytes written to a unix stream that the other side has not read. Fails as ioctl(2) does. Source: unix(7), `SIOCOUTQ`.
pub fn unread_bytes(stream: &UnixStream) -> io::Result<i32> {
    let mut bytes = 0;
    // SAFETY: the call writes one int, which `bytes` is.
    match unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) } {
        0 => Ok(bytes),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Asks a process to end.
pub fn terminate(pid: u32) {
    let pid = libc::pid_t::try_from(pid).expect("the kernel's own number");
    // SAFETY: no memory is involved; the process is a child of ours that was not waited for, so the number is its own.
    unsafe { libc::kill(pid, libc::SIGTERM) };
}

/// Clock ticks a second, the unit of times in /proc.
pub fn ticks_per_second() -> f64 {
    // SAFETY: no memory is involved.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    f64::from(i32::try_from(ticks).expect("a hundred or a thousand"))
}

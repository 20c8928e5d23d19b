//! Signals as a readable descriptor: the handler writes one byte to a pipe, the loop reads it. (signalfd(2) is younger than
//! the kernels we run on.)

use super::pipe::{self, Pipe};
use core::ffi::c_int;
use core::sync::atomic::{AtomicI32, Ordering};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// Where the handler writes; -1 before [`Signals::install`] and in the upload child.
static HANDLER_PIPE: AtomicI32 = AtomicI32::new(-1);

const HANDLED: [c_int; 5] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGUSR1, libc::SIGCHLD];
/// A closed peer and a full quota are errors of a call, not the end of the process.
const IGNORED: [c_int; 2] = [libc::SIGPIPE, libc::SIGXFSZ];

/// The signals that arrived since they were last taken.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Arrived {
    /// SIGTERM or SIGINT
    pub stop: bool,
    /// SIGHUP
    pub reload: bool,
    /// SIGUSR1
    pub flush: bool,
}

/// The reading end of the handler's pipe.
#[derive(Debug)]
pub struct Signals {
    reader: File,
    _writer: OwnedFd,
}

impl Signals {
    /// Installs the handlers. Fails if no pipe can be had.
    pub fn install() -> io::Result<Signals> {
        let Pipe { reader, writer } = pipe::new()?;
        pipe::set_nonblocking(reader.as_raw_fd())?;
        pipe::set_nonblocking(writer.as_raw_fd())?;
        HANDLER_PIPE.store(writer.as_raw_fd(), Ordering::SeqCst);
        for signal in HANDLED {
            set(signal, on_signal as *const () as libc::sighandler_t);
        }
        ignore_file_and_pipe_signals();
        Ok(Signals { reader: File::from(reader), _writer: writer })
    }

    /// What to poll for reading.
    pub fn descriptor(&self) -> RawFd {
        self.reader.as_raw_fd()
    }

    /// Takes what has arrived. SIGCHLD only wakes the loop.
    pub fn take(&mut self) -> Arrived {
        let mut arrived = Arrived::default();
        let mut bytes = [0; 64];
        while let Ok(count @ 1..) = self.reader.read(&mut bytes) {
            for &byte in &bytes[..count] {
                match c_int::from(byte) {
                    libc::SIGTERM | libc::SIGINT => arrived.stop = true,
                    libc::SIGHUP => arrived.reload = true,
                    libc::SIGUSR1 => arrived.flush = true,
                    _ => {}
                }
            }
        }
        arrived
    }
}

/// Makes a write to a closed pipe or over a size limit an error: for every command, the daemon or not.
pub fn ignore_file_and_pipe_signals() {
    for signal in IGNORED {
        set(signal, libc::SIG_IGN);
    }
}

/// Gives the handled signals their default meaning again: for the upload child, which must die of SIGTERM.
pub fn reset_in_child() {
    HANDLER_PIPE.store(-1, Ordering::SeqCst);
    for signal in HANDLED {
        set(signal, libc::SIG_DFL);
    }
}

/// Gives every signal that we ever touch its default meaning again: for another program, which inherits what is ignored.
pub fn reset_for_program() {
    reset_in_child();
    for signal in IGNORED {
        set(signal, libc::SIG_DFL);
    }
}

fn set(signal: c_int, handler: libc::sighandler_t) {
    // SAFETY: all zero is a valid sigaction: no flags, empty mask.
    let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
    action.sa_sigaction = handler;
    // A child that only stopped is no news; interrupted reads and writes go on.
    action.sa_flags = libc::SA_RESTART | libc::SA_NOCLDSTOP;
    // SAFETY: the action is a live value; the handler only does what a handler may.
    unsafe { libc::sigaction(signal, &action, core::ptr::null_mut()) };
}

extern "C" fn on_signal(signal: c_int) {
    let byte = u8::try_from(signal).unwrap_or(0);
    // SAFETY: write(2) is async-signal-safe; one live byte is passed. errno is restored because the interrupted code may
    // be about to read it. A full pipe already wakes the loop, so a failure is nothing.
    unsafe {
        let errno = *libc::__errno_location();
        libc::write(HANDLER_PIPE.load(Ordering::SeqCst), core::ptr::from_ref(&byte).cast(), 1);
        *libc::__errno_location() = errno;
    }
}

//! Other programs of the host, for the commands that an administrator types.

use super::pipe;
use super::process::{self, Ended, Side};
use crate::limits::{COMMAND_OUTPUT_BYTES_MAX, COMMAND_S_MAX};
use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::{CStr, c_char, c_int};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What such a program finds in its environment: nothing of the caller's.
const ENVIRONMENT: [&CStr; 2] = [c"PATH=/usr/sbin:/usr/bin:/sbin:/bin", c"LC_ALL=C"];
/// The exit code of a program that could not be started. Source: POSIX.1-2024, sh.
const NOT_STARTED: c_int = 127;

/// What becomes of what a program prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// It goes where ours goes.
    Show,
    /// It is given back, at most [`COMMAND_OUTPUT_BYTES_MAX`]. Not for what may start a daemon, which might hold the pipe for ever.
    Gather,
}

/// Runs a program with these arguments and, on its standard input, these bytes (fewer than a pipe holds), and waits for its end, which
/// SIGALRM brings after [`COMMAND_S_MAX`]. Its umask is 022, its working directory `/`. Fails at the process, memory or descriptor limit;
/// a program that cannot be started ends with 127.
pub fn run(program: &Path, arguments: &[&str], input: &[u8], output: Output) -> io::Result<(Ended, Vec<u8>)> {
    let text = |bytes: &[u8]| CString::new(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
    let path = text(program.as_os_str().as_bytes())?;
    let arguments: Vec<CString> = arguments.iter().map(|word| text(word.as_bytes())).collect::<io::Result<_>>()?;
    let pointers: Vec<*const c_char> =
        core::iter::once(&path).chain(&arguments).map(|word| word.as_ptr()).chain([core::ptr::null()]).collect();
    let (stdin, stdout) = (pipe::new()?, pipe::new()?);
    match process::fork()? {
        Side::Child => {
            let printed = (output == Output::Gather).then_some(&stdout.writer);
            become_program(&path, &pointers, &stdin.reader, printed)
        }
        Side::Parent(pid) => {
            drop((stdin.reader, stdout.writer));
            // One that does not read its input says why by its exit code.
            let _ = File::from(stdin.writer).write_all(input);
            let mut bytes = Vec::new();
            File::from(stdout.reader).take(COMMAND_OUTPUT_BYTES_MAX).read_to_end(&mut bytes)?;
            // One that somebody else reaped, which nobody does, would not be known.
            Ok((process::wait_for(pid).unwrap_or(Ended::Exited(NOT_STARTED)), bytes))
        }
    }
}

fn become_program(path: &CStr, arguments: &[*const c_char], stdin: &OwnedFd, stdout: Option<&OwnedFd>) -> ! {
    let environment = ENVIRONMENT.map(CStr::as_ptr);
    let environment = [environment[0], environment[1], core::ptr::null()];
    super::signal::reset_for_program();
    let _ = std::env::set_current_dir("/");
    // SAFETY: calls without memory effects but the last, whose three arrays of live strings end in a null pointer.
    unsafe {
        libc::umask(0o022);
        libc::alarm(COMMAND_S_MAX);
        libc::dup2(stdin.as_raw_fd(), 0);
        if let Some(stdout) = stdout {
            libc::dup2(stdout.as_raw_fd(), 1);
            libc::dup2(stdout.as_raw_fd(), 2);
        }
        libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr());
    }
    process::exit_now(NOT_STARTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(script: &str, input: &str, expected: (Ended, &str)) {
        let (ended, output) =
            run(Path::new("/bin/sh"), &["-c", script], input.as_bytes(), Output::Gather).expect("a process");
        assert_eq!((ended, core::str::from_utf8(&output).unwrap()), expected, "{script}");
    }

    #[test]
    fn a_program_gets_what_it_is_given_and_nothing_else() {
        check("cat; echo error >&2; exit 3", "in\n", (Ended::Exited(3), "in\nerror\n"));
        check("pwd; umask; echo $HOME$CARGO", "", (Ended::Exited(0), "/\n0022\n\n"));
        check("kill -PIPE $$", "", (Ended::Killed(libc::SIGPIPE), ""));
        assert_eq!(run(Path::new("/nowhere"), &[], b"", Output::Gather).unwrap().0, Ended::Exited(127));
    }
}

//! Fork and reap.

use alloc::vec::Vec;
use core::ffi::{CStr, c_int};
use core::fmt;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::pipe::{self, Pipe};
use super::signal;

/// A child process of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pid(libc::pid_t);

impl Pid {
    /// Its number, as others know it.
    pub fn number(self) -> u32 {
        u32::try_from(self.0).unwrap_or(0)
    }
}

/// Which side of a fork this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The process that forked, and its new child.
    Parent(Pid),
    /// The new process.
    Child,
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this exit code.
    Exited(c_int),
    /// By this signal.
    Killed(c_int),
}

/// `exit code 70`, `signal 9`.
impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Ended::Killed(libc::SIGSYS) {
            return f
                .write_str("signal 31: it made a system call that the sandbox forbids, which the kernel's log names");
        }
        let (word, number) = match self {
            Ended::Exited(code) => ("exit code", code),
            Ended::Killed(signal) => ("signal", signal),
        };
        write!(f, "{word} {number}")
    }
}

/// The signal by which abort(3) ends a process.
pub const SIGABRT: c_int = libc::SIGABRT;

/// Makes a copy of this process. Sound because the process never has a second thread, so the child may run anything.
/// Fails at the process or memory limit.
pub fn fork() -> io::Result<Side> {
    // SAFETY: one thread only (an invariant of the whole program, tested by tracing clone), so no lock can be held.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Side::Child),
        pid => Ok(Side::Parent(Pid(pid))),
    }
}

/// Forks a child that does one thing, tells of it by a pipe, and ends; with the pipe's other end, whose reads never wait. The child
/// ends with its parent and holds none of its descriptors: should it hang, it must not hold a lock, a port or the ring.
/// Fails at the process, memory or descriptor limit.
pub fn fork_to_tell(tell: impl FnOnce(&mut File)) -> io::Result<(Pid, File)> {
    let Pipe { reader, writer } = pipe::new()?;
    pipe::set_nonblocking(reader.as_raw_fd())?;
    let parent = std::process::id();
    match fork()? {
        Side::Parent(pid) => Ok((pid, File::from(reader))),
        Side::Child => {
            signal::reset_in_child();
            die_with_parent();
            if parent_id() == parent {
                close_all_but(&[writer.as_raw_fd()]);
                tell(&mut File::from(writer));
            }
            exit_now(0)
        }
    }
}

/// Takes the end of this child if it has ended; never waits.
pub fn reap(pid: Pid) -> Option<Ended> {
    wait(pid, libc::WNOHANG)
}

/// Waits for the end of this child, and takes it.
pub fn wait_for(pid: Pid) -> Option<Ended> {
    wait(pid, 0)
}

/// Ends this child now and takes its end: of one that was ending already, its own.
pub fn kill_and_reap(pid: Pid) -> Option<Ended> {
    kill(pid);
    wait(pid, 0).filter(|ended| *ended != Ended::Killed(libc::SIGKILL))
}

/// Ends this child, which was not reaped yet, as soon as the kernel lets it: one that waits for a server may not end before
/// that answers.
pub fn kill(pid: Pid) {
    // SAFETY: the child is not reaped yet, so the number is still its own.
    unsafe { libc::kill(pid.0, libc::SIGKILL) };
}

fn wait(pid: Pid, options: c_int) -> Option<Ended> {
    let mut status: c_int = 0;
    loop {
        // SAFETY: the pointer is to a live int.
        let ended = unsafe { libc::waitpid(pid.0, &mut status, options) };
        if ended == pid.0 {
            let killed = libc::WIFSIGNALED(status);
            return Some(if killed {
                Ended::Killed(libc::WTERMSIG(status))
            } else {
                Ended::Exited(libc::WEXITSTATUS(status))
            });
        }
        if ended != -1 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return None;
        }
    }
}

/// Ends this process at once: no destructors, no buffers flushed. For the child, whose buffers are copies of the parent's.
pub fn exit_now(code: c_int) -> ! {
    // SAFETY: _exit does not return and touches no memory of ours.
    unsafe { libc::_exit(code) }
}

/// Makes this process the first of a session of its own, without a terminal, in no directory that anyone might want to unmount.
pub fn begin_session() {
    // SAFETY: neither call touches memory; a forked process is never the first of a group, so the first cannot fail.
    unsafe {
        libc::setsid();
        libc::chdir(c"/".as_ptr());
    }
}

/// Has descriptors 0 to 2 lead nowhere. Without a /dev/null a pipe with no other end is as good: writes into it fail.
pub fn let_go_of_standard_streams() {
    let null = File::options().read(true).write(true).open("/dev/null").map(OwnedFd::from);
    let Ok(nowhere) = null.or_else(|_| pipe::new().map(|pipe| pipe.writer)) else { return };
    for standard in 0..=2 {
        // SAFETY: both are descriptors of ours; who writes to the standard ones does not mind where it goes.
        unsafe { libc::dup2(nowhere.as_raw_fd(), standard) };
    }
}

/// What another process is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// End in good order.
    Term,
    /// End at once.
    Kill,
    /// Read the configuration again.
    Reload,
}

/// Sends a signal to a process that need not be ours. Fails as kill(2) does.
pub fn send(pid: u32, signal: Signal) -> io::Result<()> {
    let number = match signal {
        Signal::Term => libc::SIGTERM,
        Signal::Kill => libc::SIGKILL,
        Signal::Reload => libc::SIGHUP,
    };
    // 0 and negative numbers would be groups of processes.
    let pid = libc::pid_t::try_from(pid).ok().filter(|&pid| pid > 0).ok_or(io::ErrorKind::InvalidInput)?;
    // SAFETY: kill has no memory effects.
    match unsafe { libc::kill(pid, number) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Ends this process by SIGALRM after so many seconds, whatever it does then; 0: not at all. Source: alarm(2).
pub fn end_in(seconds: u32) {
    // SAFETY: alarm has no memory effects.
    unsafe { libc::alarm(seconds) };
}

/// Closes every descriptor from 3 up save these: a child must hold neither the ring, nor the lock, nor a socket.
pub fn close_all_but(kept: &[RawFd]) {
    let open = open_descriptors().unwrap_or_else(|| (0..descriptor_limit()).collect());
    for descriptor in open.into_iter().filter(|descriptor| *descriptor >= 3 && !kept.contains(descriptor)) {
        // SAFETY: the owners of these numbers are the parent's values, which the child never uses again.
        unsafe { libc::close(descriptor) };
    }
}

/// `None` without /proc.
fn open_descriptors() -> Option<Vec<RawFd>> {
    let entries = std::fs::read_dir("/proc/self/fd").ok()?;
    Some(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
}

fn descriptor_limit() -> RawFd {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live rlimit, which the kernel fills.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    RawFd::try_from(limit.rlim_cur).unwrap_or(65_536).clamp(256, 65_536)
}

/// What every command does first: files are for the owner only.
pub fn restrict_file_modes() {
    // SAFETY: umask cannot fail.
    unsafe { libc::umask(0o077) };
}

/// The opposite, for a command that makes what others may read: what it makes has the mode that it says.
pub fn permit_file_modes() {
    // SAFETY: as above.
    unsafe { libc::umask(0o022) };
}

/// Makes a file that every account may read and write, whatever its name stands for by the time it could be given another mode.
pub fn for_everybody<T>(make: impl FnOnce() -> T) -> T {
    // SAFETY: as above.
    let old = unsafe { libc::umask(0o111) };
    let made = make();
    // SAFETY: as above.
    unsafe { libc::umask(old) };
    made
}

/// Lets others go first on a busy processor: intake before upload. `steps` of nice(2).
pub fn yield_priority(steps: c_int) {
    // SAFETY: nice has no memory effects.
    unsafe { libc::nice(steps) };
}

/// The file that this process runs. Without /proc, the path that it was started by. Source: proc_pid_exe(5), getauxval(3).
pub fn program() -> io::Result<PathBuf> {
    std::env::current_exe().or_else(|error| {
        // SAFETY: AT_EXECFN is null or points to a string on the initial stack, which lives as long as the process.
        let path = unsafe {
            (libc::getauxval(libc::AT_EXECFN) as *const core::ffi::c_char).as_ref().map(|path| CStr::from_ptr(path))
        };
        path.map(|path| PathBuf::from(OsStr::from_bytes(path.to_bytes()))).ok_or(error)
    })
}

/// Makes the kernel end this process when its parent dies, so that no orphan uploads beside a new agent. The parent may
/// already be gone by now: compare [`parent_id`] before and after.
pub fn die_with_parent() {
    // SAFETY: prctl with constant arguments.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

/// What the kernel says of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// When it started, in clock ticks since the boot: with its number, no other process of this boot.
    pub started: u64,
    /// It has ended, but nobody has taken its end.
    pub is_zombie: bool,
}

/// What the kernel says of this process; `None` if there is none, or no /proc. Source: proc_pid_stat(5), fields 3 and 22.
pub fn about(pid: u32) -> Option<Process> {
    about_text(&std::fs::read_to_string(alloc::format!("/proc/{pid}/stat")).ok()?)
}

/// The account that a process runs as; `None` if there is none, or no /proc.
pub fn owner(pid: u32) -> Option<u32> {
    let status = std::fs::read_to_string(alloc::format!("/proc/{pid}/status")).ok()?;
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    uids.split_whitespace().nth(1)?.parse().ok()
}

fn about_text(stat: &str) -> Option<Process> {
    // The second field is the program's name in parentheses, and may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let is_zombie = matches!(fields.next()?, "Z" | "X");
    Some(Process { started: fields.nth(22 - 4)?.parse().ok()?, is_zombie })
}

/// The process that would be told of our end.
pub fn parent_id() -> u32 {
    std::os::unix::process::parent_id()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_apart_by_its_start_whatever_its_name_is() {
        let rest = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18";
        let of = |name, state| about_text(&alloc::format!("7 ({name}) {state} {rest} 4711 0 0\n"));
        assert_eq!(of("omsd", "S"), Some(Process { started: 4711, is_zombie: false }));
        assert_eq!(of("a) Z 1 (b c", "Z"), Some(Process { started: 4711, is_zombie: true }));
        assert_eq!(about_text("7 (omsd) S 1 2"), None);
        let own = about(std::process::id()).expect("this process");
        assert!(own.started > 0 && !own.is_zombie);
        assert_eq!(about(u32::MAX), None);
    }
}

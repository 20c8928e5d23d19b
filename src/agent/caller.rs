//! Who started the agent, and waits to hear how that went: an agent that detaches tells it once, through a pipe.
//!
//! ```text
//!  caller ── fork ──> agent: a session of its own ── ready: descriptors 0 to 2 lead nowhere ── 0 ──> caller ends with 0
//!                                                 └─ not ready: its exit code, and why ────────────> caller says so, ends with it
//! ```
//!
//! Only descriptors decide when a program that started another is done with it: one that kept the pipe of a cron job would have cron wait
//! for ever, a process more at each start.

use crate::limits::{REASON_BYTES_MAX, START_MS_MAX};
use crate::sys::pipe::{self, Pipe};
use crate::sys::poll::{PollFd, READABLE, poll};
use crate::sys::process::{self, Ended, Pid, Side};
use crate::sys::{clock, signal};
use alloc::string::String;
use alloc::vec::Vec;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;

/// The agent's way to whoever started it.
#[derive(Debug, Default)]
pub struct Caller {
    /// `None`: an agent in the foreground, or one that has told.
    pipe: Option<File>,
}

/// What became of an agent that was to detach.
#[derive(Debug, PartialEq, Eq)]
pub enum Began {
    /// It runs.
    Ready,
    /// It ended with this code, and why.
    Failed(u8, String),
    /// It ended and said nothing.
    Lost(Option<Ended>),
    /// It has not said anything within [`START_MS_MAX`]; it goes on.
    Late,
}

impl Caller {
    /// Whether somebody waits to hear that the agent runs without them.
    pub fn waits(&self) -> bool {
        self.pipe.is_some()
    }

    /// The agent runs: lets go of everything that it has of its caller, and says so.
    pub fn ready(&mut self) {
        if let Some(mut pipe) = self.pipe.take() {
            process::let_go_of_standard_streams();
            // A caller that is gone needs no answer.
            let _ = pipe.write_all(&[0]);
        }
    }

    /// The agent ends with this code.
    pub fn failed(&mut self, code: u8, reason: &str) {
        if let Some(mut pipe) = self.pipe.take() {
            let mut told = Vec::from([code]);
            told.extend_from_slice(reason.as_bytes());
            let _ = pipe.write_all(&told);
        }
    }
}

/// Forks an agent into a session of its own and waits until it says how its start went; with its process. `run` is the agent's whole life, and gives its
/// exit code. Fails at the process, memory or descriptor limit.
pub fn detach(run: impl FnOnce(Caller) -> u8) -> io::Result<(u32, Began)> {
    let Pipe { reader, writer } = pipe::new()?;
    match process::fork()? {
        Side::Parent(pid) => {
            drop(writer);
            Ok((pid.number(), hear(pid, File::from(reader))?))
        }
        Side::Child => {
            // What the caller had open is not the agent's: a pipe of it would keep its reader waiting.
            process::close_all_but(&[writer.as_raw_fd()]);
            signal::reset_in_child();
            process::begin_session();
            process::exit_now(run(Caller { pipe: Some(File::from(writer)) }).into())
        }
    }
}

fn hear(pid: Pid, mut pipe: File) -> io::Result<Began> {
    let until_ms = clock::monotonic_ms() + START_MS_MAX;
    pipe::set_nonblocking(pipe.as_raw_fd())?;
    let (mut told, mut part) = (Vec::new(), [0; REASON_BYTES_MAX]);
    loop {
        match pipe.read(&mut part) {
            Ok(0) => break,
            Ok(count) => told.extend_from_slice(&part[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let left_ms = until_ms.saturating_sub(clock::monotonic_ms());
                let mut set = [PollFd { fd: pipe.as_raw_fd(), events: READABLE, revents: 0 }];
                if left_ms == 0 {
                    return Ok(Began::Late);
                }
                poll(&mut set, Some(left_ms))?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(match told.split_first() {
        None => Began::Lost(process::wait_for(pid)),
        Some((0, _)) => Began::Ready,
        Some((&code, reason)) => Began::Failed(code, String::from_utf8_lossy(reason).into_owned()),
    })
}

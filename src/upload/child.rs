//! The upload child: fork, feed, reap on one side; read, render, post, answer on the other.
//!
//! The child holds two pipes and nothing else of its parent's. It serves chunk after chunk over one connection and ends
//! when the parent closes its pipe. A child that dies, by whatever cause, leaves the chunk where it was: in the ring.

use super::wire::{self, Decoded, LENGTH_BYTES, ORDER_BYTES};
use super::{Destination, Outcome, Stream};
use crate::limits::APPEND_BUFFER_BYTES;
use crate::ring::frame;
use crate::sys::pipe::{self, Pipe};
use crate::sys::process::{self, Ended, Pid, Side};
use crate::sys::signal;
use alloc::vec::Vec;
use core::ffi::c_int;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};

/// Bytes of a pipe to a child: a good part of a chunk, so that feeding it takes few turns of the loop.
const PIPE_BYTES: c_int = 256 * 1024;
/// How far the child stands back when the processor is busy: intake goes first.
const NICE_STEPS: c_int = 5;
/// Exit code of a child whose pipe broke or brought nonsense. Source: EX_SOFTWARE of sysexits(3).
const EXIT_PROTOCOL: c_int = 70;

/// A running upload child, as its parent sees it.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    feed: File,
    answers: File,
    /// What is on its way into the pipe, and how much of it is in.
    outgoing: Vec<u8>,
    gone: usize,
    incoming: Vec<u8>,
    answered: bool,
}

/// What the child's pipe brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Nothing yet.
    Nothing,
    /// The answer about the chunk.
    Answer(Outcome),
    /// The child has ended, or talks nonsense.
    Lost,
}

impl Child {
    /// Forks. The child makes its destination by `make` and serves until its pipe ends. Fails at the process, memory or
    /// descriptor limit.
    pub fn start<D: Destination>(make: impl FnOnce() -> D) -> io::Result<Child> {
        let to_child = pipe::new()?;
        let from_child = pipe::new()?;
        pipe::try_grow(to_child.writer.as_raw_fd(), PIPE_BYTES);
        pipe::set_nonblocking(to_child.writer.as_raw_fd())?;
        pipe::set_nonblocking(from_child.reader.as_raw_fd())?;
        let parent = std::process::id();
        match process::fork()? {
            Side::Parent(pid) => Ok(Child {
                pid,
                feed: File::from(to_child.writer),
                answers: File::from(from_child.reader),
                outgoing: Vec::new(),
                gone: 0,
                incoming: Vec::new(),
                answered: false,
            }),
            Side::Child => process::exit_now(live(parent, to_child, from_child, make)),
        }
    }

    /// What to poll for writing while [`Child::is_feeding`].
    pub fn feed_descriptor(&self) -> RawFd {
        self.feed.as_raw_fd()
    }

    /// What to poll for reading.
    pub fn answer_descriptor(&self) -> RawFd {
        self.answers.as_raw_fd()
    }

    /// Something waits to go into the pipe.
    pub fn is_feeding(&self) -> bool {
        self.gone < self.outgoing.len()
    }

    /// Starts a chunk with its first piece: whole frames that `read` appends to a buffer. Nothing of an earlier one may be
    /// waiting.
    pub fn order(&mut self, stream: Stream, attempt: u32, read: impl FnOnce(&mut Vec<u8>)) {
        self.incoming.clear();
        self.clear();
        self.outgoing.extend_from_slice(&wire::order(stream, attempt));
        self.put_piece(read);
    }

    /// Puts the next piece on its way; one without frames ends the chunk.
    pub fn piece(&mut self, read: impl FnOnce(&mut Vec<u8>)) {
        self.clear();
        self.put_piece(read);
    }

    /// Takes an order back of which nothing was written yet.
    pub fn take_back(&mut self) {
        self.clear();
    }

    fn put_piece(&mut self, read: impl FnOnce(&mut Vec<u8>)) {
        let start = self.outgoing.len() + LENGTH_BYTES;
        self.outgoing.extend_from_slice(&[0; LENGTH_BYTES]);
        read(&mut self.outgoing);
        let length = u32::try_from(self.outgoing.len() - start).unwrap_or(0);
        self.outgoing[start - LENGTH_BYTES..start].copy_from_slice(&length.to_le_bytes());
    }

    fn clear(&mut self) {
        self.outgoing.clear();
        self.gone = 0;
    }

    /// Writes what the pipe takes now. Fails if the child is gone.
    pub fn feed(&mut self) -> io::Result<()> {
        while self.is_feeding() {
            match self.feed.write(&self.outgoing[self.gone..]) {
                Ok(count) => self.gone += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what the child says.
    pub fn hear(&mut self) -> Heard {
        let mut bytes = [0; LENGTH_BYTES + wire::ANSWER_BYTES_MAX];
        loop {
            match self.answers.read(&mut bytes) {
                Ok(0) => return Heard::Lost,
                Ok(count) => self.incoming.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Heard::Nothing,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Heard::Lost,
            }
            match wire::decode_answer(&self.incoming) {
                Decoded::Answer(outcome) => {
                    self.answered = true;
                    return Heard::Answer(outcome);
                }
                Decoded::NotYet => {}
                Decoded::Malformed => return Heard::Lost,
            }
        }
    }

    /// It has answered about a chunk, this one or an earlier one.
    pub fn has_answered(&self) -> bool {
        self.answered
    }

    /// Tells the child that there is no more: it ends by itself. What is left to do is [`process::reap`].
    pub fn dismiss(self) -> Pid {
        self.pid
    }

    /// Ends the child now and says how it had ended, if it had by itself. Its pipe is closed a moment before the kernel has its end.
    pub fn end(self) -> Option<Ended> {
        process::reap(self.pid).or_else(|| process::kill_and_reap(self.pid))
    }
}

/// The child's whole life, after the fork.
fn live<D: Destination>(parent: u32, to_child: Pipe, from_child: Pipe, make: impl FnOnce() -> D) -> c_int {
    signal::reset_in_child();
    process::die_with_parent();
    if process::parent_id() != parent {
        return EXIT_PROTOCOL;
    }
    process::close_all_but(&[to_child.reader.as_raw_fd(), from_child.writer.as_raw_fd()]);
    process::yield_priority(NICE_STEPS);
    let served = serve(&mut File::from(to_child.reader), &mut File::from(from_child.writer), &mut make());
    // The other ends were closed by number above: their owners must not close what has the numbers now.
    core::mem::forget((to_child.writer, from_child.reader));
    if served.is_ok() { 0 } else { EXIT_PROTOCOL }
}

/// Serves chunks from `input` until it ends. Fails if a pipe breaks or brings nonsense.
fn serve(input: &mut impl Read, output: &mut impl Write, destination: &mut impl Destination) -> io::Result<()> {
    let mut piece = Vec::new();
    let mut order = [0; ORDER_BYTES];
    while read_or_end(input, &mut order)? {
        let (stream, attempt) = wire::decode_order(order).ok_or(io::ErrorKind::InvalidData)?;
        destination.begin(stream, attempt);
        while next_piece(input, &mut piece)? {
            let mut rest = &piece[..];
            while let Some((header, payload, behind)) = frame::split(rest) {
                destination.add(header.received_us, payload);
                rest = behind;
            }
        }
        output.write_all(&wire::encode_answer(&destination.deliver()))?;
    }
    Ok(())
}

/// Fills the buffer; `false` if the input ends before its first byte.
fn read_or_end(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    loop {
        match input.read(buffer) {
            Ok(0) => return Ok(false),
            Ok(count) => return input.read_exact(&mut buffer[count..]).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn next_piece(input: &mut impl Read, piece: &mut Vec<u8>) -> io::Result<bool> {
    let mut length = [0; LENGTH_BYTES];
    input.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > APPEND_BUFFER_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    piece.resize(length, 0);
    input.read_exact(piece)?;
    Ok(length > 0)
}

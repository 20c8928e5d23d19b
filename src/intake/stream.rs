//! TCP and unix stream sockets: connections, each with its own framing.

use super::datagram::bind_path;
use super::framing::{self, Framing};
use super::{Received, Sink};
use crate::limits::{PARTIAL_IDLE_MS, TURN_BYTES_MAX};
use crate::record::Sender;
use crate::sys::socket;
use alloc::vec::Vec;
use core::net::IpAddr;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// Memory for partial messages that a connection keeps while it has none.
const PARTIAL_BYTES_KEPT: usize = 4096;

/// A socket that accepts connections.
#[derive(Debug)]
pub struct StreamSource {
    listener: Listener,
    limit: usize,
    /// How long reads of its connections may be gathered.
    pub gather_ms: u64,
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl StreamSource {
    /// A TCP listener.
    pub fn tcp(address: IpAddr, port: u16, limit: usize, gather_ms: u64) -> io::Result<StreamSource> {
        let listener = TcpListener::bind((address, port))?;
        listener.set_nonblocking(true)?;
        Ok(StreamSource { listener: Listener::Tcp(listener), limit, gather_ms })
    }

    /// A unix stream listener at a path, writable by every account. A socket file that nobody listens on is replaced.
    pub fn unix(path: &Path, limit: usize, gather_ms: u64) -> io::Result<StreamSource> {
        let listener = bind_path(path, |path| UnixListener::bind(path), |path| UnixStream::connect(path).map(drop))?;
        listener.set_nonblocking(true)?;
        Ok(StreamSource { listener: Listener::Unix(listener), limit, gather_ms })
    }

    /// What to poll for reading.
    pub fn descriptor(&self) -> RawFd {
        match &self.listener {
            Listener::Tcp(listener) => listener.as_raw_fd(),
            Listener::Unix(listener) => listener.as_raw_fd(),
        }
    }

    /// Takes one waiting connection. Fails with `WouldBlock` if none waits, and at the descriptor limit.
    pub fn accept(&self, now_ms: u64) -> io::Result<Connection> {
        let (socket, sender): (OwnedFd, Sender) = match &self.listener {
            Listener::Tcp(listener) => {
                let (socket, peer) = listener.accept()?;
                (socket.into(), Sender::Address(peer.ip().to_canonical()))
            }
            Listener::Unix(listener) => (listener.accept()?.0.into(), Sender::Local),
        };
        Ok(Connection {
            socket,
            sender,
            limit: self.limit,
            gather_ms: self.gather_ms,
            framing: Framing::default(),
            partial: Vec::new(),
            held_back: false,
            last_byte_ms: now_ms,
        })
    }
}

/// One accepted connection.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    sender: Sender,
    limit: usize,
    /// How long its reads may be gathered.
    pub gather_ms: u64,
    framing: Framing,
    /// The front of a message whose end has not arrived.
    partial: Vec<u8>,
    /// `partial` holds whole messages that there was no room for.
    held_back: bool,
    last_byte_ms: u64,
}

/// What a turn left of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// Nothing more for now.
    Drained,
    /// There may be more.
    More,
    /// The peer closed it, or it failed.
    Closed,
}

impl Connection {
    /// What to poll for reading.
    pub fn descriptor(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Whole messages wait here, read but held back: it needs a turn as soon as there is room, ready or not.
    pub fn is_held_back(&self) -> bool {
        self.held_back
    }

    /// Reads what waits, at most a turn's worth: how many bytes that was, and what it left. `buffer` is shared by all
    /// connections: its content means nothing between turns, and it holds more than [`framing::input_bytes_max`] of any
    /// limit.
    pub fn turn(&mut self, buffer: &mut [u8], now_ms: u64, sink: &mut impl Sink) -> (usize, After) {
        let mut bytes = 0;
        let mut held = self.partial.len();
        buffer[..held].copy_from_slice(&self.partial);
        if self.held_back {
            held = self.split(buffer, held, sink);
        }
        let after = loop {
            if self.held_back || !sink.has_room_for_stream() {
                break After::Drained;
            }
            if bytes >= TURN_BYTES_MAX {
                break After::More;
            }
            let count = match socket::receive(self.descriptor(), &mut buffer[held..]) {
                Ok(0) => break After::Closed,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break After::Drained,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => break After::Closed,
            };
            self.last_byte_ms = now_ms;
            bytes += count;
            let filled = held + count;
            held = self.split(buffer, filled, sink);
            if filled < buffer.len() {
                break After::Drained;
            }
        };
        self.partial.clear();
        if after == After::Closed {
            self.end(&buffer[..held], sink);
        } else {
            self.keep(&buffer[..held]);
        }
        (bytes, after)
    }

    /// Keeps what is not a message yet; memory that one long message needed is given back with it.
    fn keep(&mut self, rest: &[u8]) {
        if rest.is_empty() && self.partial.capacity() > PARTIAL_BYTES_KEPT {
            self.partial = Vec::new();
        }
        self.partial.extend_from_slice(rest);
    }

    /// Takes the messages off the front of the buffer's first `filled` bytes and moves the rest to its front: how much
    /// that is.
    fn split(&mut self, buffer: &mut [u8], filled: usize, sink: &mut impl Sink) -> usize {
        let mut used = 0;
        self.held_back = false;
        while let Some(step) = framing::next_message(&mut self.framing, &buffer[used..filled], self.limit) {
            used += step.used;
            if step.malformed {
                sink.malformed();
            }
            if let Some(message) = step.message {
                sink.receive(Received { sender: self.sender, message, cut: step.cut });
            }
            if !sink.has_room_for_stream() {
                self.held_back = used < filled;
                break;
            }
        }
        buffer.copy_within(used..filled, 0);
        filled - used
    }

    fn end(&mut self, rest: &[u8], sink: &mut impl Sink) {
        let last = framing::last_message(&self.framing, rest);
        if let Some((message, cut)) = last.and_then(|step| Some((step.message?, step.cut))) {
            let kept = &message[..message.len().min(self.limit)];
            sink.receive(Received { sender: self.sender, message: kept, cut });
        }
        self.framing = Framing::default();
    }

    /// When a partial message has waited long enough, in the loop's milliseconds; `None` without one.
    pub fn partial_deadline_ms(&self) -> Option<u64> {
        (!self.partial.is_empty() && !self.held_back).then_some(self.last_byte_ms + PARTIAL_IDLE_MS)
    }

    /// Takes what is here as it is, held back or partial. The connection must be closed then: what would follow has lost
    /// its front.
    pub fn give_up_partial(&mut self, sink: &mut impl Sink) {
        let mut rest = &core::mem::take(&mut self.partial)[..];
        while let Some(step) = framing::next_message(&mut self.framing, rest, self.limit) {
            rest = &rest[step.used..];
            if let Some(message) = step.message {
                sink.receive(Received { sender: self.sender, message, cut: step.cut });
            }
        }
        self.end(rest, sink);
    }
}

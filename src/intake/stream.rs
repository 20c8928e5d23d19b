//! TCP and unix stream sockets: connections, each with its own framing.

use super::datagram::{SocketFile, bind_path};
use super::framing::{self, Framing};
use super::{Received, Sink};
use crate::config::{Listen, SyslogSource};
use crate::limits::{MESSAGE_BYTES_MAX, PARTIAL_IDLE_MS};
use crate::record::Sender;
use crate::sys::socket;
use alloc::vec::Vec;
use core::net::IpAddr;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

/// Memory for partial messages that a connection keeps while it has none.
const PARTIAL_BYTES_KEPT: usize = 4096;

/// A socket that accepts connections.
#[derive(Debug)]
pub struct StreamSource {
    /// What it was opened for.
    pub listen: Listen,
    listener: Listener,
    limit: usize,
    /// How long reads of its connections may be gathered.
    pub gather_ms: u64,
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix(SocketFile, UnixListener),
}

impl StreamSource {
    /// A TCP listener.
    pub fn tcp(source: &SyslogSource, address: IpAddr, port: u16) -> io::Result<StreamSource> {
        let listener = TcpListener::bind((address, port))?;
        listener.set_nonblocking(true)?;
        Ok(StreamSource::new(source, Listener::Tcp(listener)))
    }

    /// A unix stream listener at a path, writable by every account. A socket file that nobody listens on is replaced.
    pub fn unix(source: &SyslogSource, path: &Path) -> io::Result<StreamSource> {
        let (listener, file) = bind_path(path, |path| UnixListener::bind(path))?;
        listener.set_nonblocking(true)?;
        Ok(StreamSource::new(source, Listener::Unix(file, listener)))
    }

    fn new(source: &SyslogSource, listener: Listener) -> StreamSource {
        let mut opened = StreamSource { listen: source.listen.clone(), listener, limit: 0, gather_ms: 0 };
        opened.configure(source);
        opened
    }

    /// Takes over what can change while the socket is open, for connections to come.
    pub fn configure(&mut self, source: &SyslogSource) {
        self.limit = source.message_bytes_max.clamp(1, MESSAGE_BYTES_MAX);
        self.gather_ms = source.gather_ms;
    }

    /// What to poll for reading.
    pub fn descriptor(&self) -> RawFd {
        match &self.listener {
            Listener::Tcp(listener) => listener.as_raw_fd(),
            Listener::Unix(_, listener) => listener.as_raw_fd(),
        }
    }

    /// Its file; `None`: it has none.
    pub fn file(&self) -> Option<&SocketFile> {
        match &self.listener {
            Listener::Tcp(_) => None,
            Listener::Unix(file, _) => Some(file),
        }
    }

    /// Takes one waiting connection. Fails with `WouldBlock` if none waits, and at the descriptor limit.
    pub fn accept(&self, now_ms: u64) -> io::Result<Connection> {
        let (socket, sender): (OwnedFd, Sender) = match &self.listener {
            Listener::Tcp(listener) => {
                let (socket, peer) = listener.accept()?;
                (socket.into(), Sender::Address(peer.ip().to_canonical()))
            }
            Listener::Unix(_, listener) => (listener.accept()?.0.into(), Sender::Local),
        };
        Ok(Connection {
            listener: self.descriptor(),
            socket,
            sender,
            limit: self.limit,
            gather_ms: self.gather_ms,
            framing: Framing::default(),
            partial: Vec::new(),
            peeked: 0,
            last_byte_ms: now_ms,
        })
    }
}

/// One accepted connection.
#[derive(Debug)]
pub struct Connection {
    /// The listener's descriptor: it is closed with the listener.
    pub listener: RawFd,
    socket: OwnedFd,
    sender: Sender,
    limit: usize,
    /// How long its reads may be gathered.
    pub gather_ms: u64,
    framing: Framing,
    /// The front of a message whose end has not arrived.
    partial: Vec<u8>,
    /// So many bytes were handed over and are still in the socket.
    peeked: usize,
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

    /// Hands over the messages that wait, at most what `buffer` holds: how many bytes were there, and what the turn left. `buffer` is
    /// shared by all connections: its content means nothing between turns, and it holds more than
    /// [`framing::input_bytes_max`] of any limit.
    pub fn turn(&mut self, buffer: &mut [u8], now_ms: u64, sink: &mut impl Sink) -> (usize, After) {
        if !sink.has_room_for_stream() {
            return (0, After::Drained);
        }
        let held = self.partial.len();
        buffer[..held].copy_from_slice(&self.partial);
        let count = match socket::peek(self.descriptor(), &mut buffer[held..]) {
            Ok(count @ 1..) => count,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return (0, After::Drained);
            }
            Ok(0) | Err(_) => {
                self.give_up_partial(sink);
                return (0, After::Closed);
            }
        };
        self.last_byte_ms = now_ms;
        let filled = held + count;
        let used = self.split(&buffer[..filled], sink);
        // Whole messages that there is no room for wait in the socket, so that their sender is held back.
        let taken = if sink.has_room_for_stream() { filled } else { used.max(held) };
        self.peeked = taken - held;
        self.partial.clear();
        self.keep(&buffer[used..taken]);
        (count, if filled < buffer.len() { After::Drained } else { After::More })
    }

    /// Lets go of what the last turn handed over: it is kept now.
    pub fn let_go(&mut self, buffer: &mut [u8]) {
        // Whatever error there is, the next read meets it as well.
        let _ = socket::discard(self.descriptor(), &mut buffer[..core::mem::take(&mut self.peeked)]);
    }

    /// Keeps what is not a message yet; memory that one long message needed is given back with it.
    fn keep(&mut self, rest: &[u8]) {
        if rest.is_empty() && self.partial.capacity() > PARTIAL_BYTES_KEPT {
            self.partial = Vec::new();
        }
        self.partial.extend_from_slice(rest);
    }

    /// Takes the messages off the front of the input: how many bytes that was.
    fn split(&mut self, input: &[u8], sink: &mut impl Sink) -> usize {
        let mut used = 0;
        while let Some(step) = framing::next_message(&mut self.framing, &input[used..], self.limit) {
            used += step.used;
            if step.malformed {
                sink.malformed();
            }
            if let Some(message) = step.message {
                sink.receive(Received { sender: self.sender, message, cut: step.cut });
            }
            if !sink.has_room_for_stream() {
                break;
            }
        }
        used
    }

    /// When a partial message has waited long enough, in the loop's milliseconds; `None` without one.
    pub fn partial_deadline_ms(&self) -> Option<u64> {
        (!self.partial.is_empty()).then_some(self.last_byte_ms + PARTIAL_IDLE_MS)
    }

    /// Takes the front of a message whose rest never came. The connection must be closed then: what would follow has lost its
    /// front.
    pub fn give_up_partial(&mut self, sink: &mut impl Sink) {
        let partial = core::mem::take(&mut self.partial);
        let last = framing::last_message(&self.framing, &partial);
        if let Some((message, cut)) = last.and_then(|step| Some((step.message?, step.cut))) {
            let kept = &message[..message.len().min(self.limit)];
            sink.receive(Received { sender: self.sender, message: kept, cut });
        }
        self.framing = Framing::default();
    }
}

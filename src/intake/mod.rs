//! Where syslog bytes arrive: datagram sockets and stream connections, on the loop's one poll(2).
//!
//! A source is opened from its configuration, joins the poll set, and hands each message to a [`Sink`], one read a turn.
//! What it read stays in the socket until the sink has kept it: an agent that is killed in between has taken nothing. Nothing here
//! allocates per message.

#[cfg(feature = "std")]
mod datagram;
pub mod framing;
#[cfg(feature = "std")]
mod sources;
#[cfg(feature = "std")]
mod stream;

#[cfg(feature = "std")]
pub use sources::{OpenError, Sources, Turn, Wanted};

use crate::record::Sender;

/// One message, as it came off the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received<'a> {
    /// Who sent it.
    pub sender: Sender,
    /// Its bytes, without framing; never empty.
    pub message: &'a [u8],
    /// It was longer than the source's limit, or broke off.
    pub cut: bool,
}

/// Which datagram sockets may be read now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Datagrams {
    /// All of them.
    All,
    /// Those that would soon drop what is sent to them: the others keep it for the moment.
    Filling,
    /// None: nothing that was taken may be lost.
    None,
}

/// What takes the messages.
pub trait Sink {
    /// One message. It must be kept or counted before this returns.
    fn receive(&mut self, received: Received<'_>);
    /// Whether one more message of any size may be taken from a stream; if not, its sender is held back.
    fn has_room_for_stream(&self) -> bool;
    /// Which datagram sockets may be read.
    fn datagrams(&self) -> Datagrams;
    /// How many datagrams of any size may be taken at once, as more of them can wait in their sockets.
    fn room_for_datagrams(&self) -> usize;
    /// Keeps for good what was received: the sockets let go of it next. What the disk does not take waits in memory.
    fn keep(&mut self);
    /// Something came that is no message: an empty datagram, or a stream out of step.
    fn malformed(&mut self);
}

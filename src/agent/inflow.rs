//! Messages into the ring: what happens to each when there is room, and when there is none.

use crate::config::FullAction;
use crate::intake::{Datagrams, Received, Sink};
use crate::limits::{FRAME_BYTES_MAX, HOLD_MS_MAX, RECORD_HEADER_BYTES_MAX};
use crate::record::encode;
use crate::ring::disk::DiskRing;
use crate::ring::{AppendError, Loss, frame};
use crate::sys::clock;
use crate::upload::Stream;

/// What the way into the ring depends on.
#[derive(Debug, Clone, Copy)]
pub struct State {
    /// Time since an upload succeeded.
    pub without_progress_ms: u64,
    /// Uploads succeed, or may soon.
    pub moving: bool,
    /// Places of the destinations for which a full ring holds senders back: bit n is place n.
    pub holders: u8,
    /// By stream: the flags that keep its records from destinations.
    pub except: [u8; Stream::ALL.len()],
}

/// One turn's way into the ring.
pub struct Inflow<'a> {
    ring: &'a mut DiskRing,
    action: FullAction,
    hold: bool,
    state: State,
    received_us: u64,
    fault: Option<AppendError>,
}

impl<'a> Inflow<'a> {
    /// A way in, for records received now.
    pub fn new(ring: &'a mut DiskRing, action: FullAction, state: State) -> Self {
        let hold = match action {
            FullAction::HoldStreams => state.without_progress_ms < HOLD_MS_MAX,
            FullAction::Block => true,
            FullAction::DropOldest | FullAction::DropNewest => false,
        };
        Inflow { ring, action, hold, state, received_us: clock::wall_us(), fault: None }
    }

    /// Whether stream senders may go on.
    pub fn room_for_streams(&self) -> bool {
        !self.hold || self.room() > 0
    }

    /// Which datagram sockets may be read.
    pub fn datagrams_wanted(&self) -> Datagrams {
        match self.action {
            _ if !self.datagrams_can_wait() || self.room() > 0 => Datagrams::All,
            FullAction::Block => Datagrams::None,
            // The same room that a stream needs: with more, streams would take it all before datagrams had a turn.
            _ => Datagrams::Filling,
        }
    }

    /// Datagrams stay in their sockets rather than overwrite what waits.
    fn datagrams_can_wait(&self) -> bool {
        self.action == FullAction::Block || (self.action == FullAction::HoldStreams && self.state.moving)
    }

    fn room(&self) -> usize {
        let free_bytes = self.ring.free_bytes_for(self.state.holders);
        usize::try_from(free_bytes / FRAME_BYTES_MAX as u64).unwrap_or(usize::MAX)
    }

    /// Appends a record that the agent made itself.
    pub fn append(&mut self, stream: Stream, payload: &[u8]) {
        self.put(stream, self.state.except[stream as usize], &[payload]);
    }

    /// The same for the destination at this place alone.
    pub fn append_for(&mut self, place: usize, stream: Stream, payload: &[u8]) {
        self.put(stream, except_all_but(self.ring, 1 << place), &[payload]);
    }

    /// Why a record was lost in this turn, if one was.
    pub fn fault(&self) -> Option<AppendError> {
        self.fault
    }

    fn put(&mut self, stream: Stream, flags: u8, parts: &[&[u8]]) {
        if self.action == FullAction::DropNewest && self.room() == 0 {
            self.ring.count(stream as u8, flags, Loss::Dropped, 1, self.received_us);
            return;
        }
        if let Err(error) = self.ring.append(stream as u8, flags, self.received_us, parts) {
            self.ring.count(stream as u8, flags, Loss::Dropped, 1, self.received_us);
            self.fault = Some(error);
        }
    }
}

/// The flags of a record that is for the destinations at these places alone. None, if there are no others.
pub fn except_all_but(ring: &DiskRing, places: u8) -> u8 {
    let accounts = ring.accounts().iter().enumerate().filter(|(_, account)| account.in_use);
    frame::except(
        accounts.map(|(place, _)| 1 << place).filter(|bit| places & bit == 0).fold(0, |all: u8, bit| all | bit),
    )
}

impl Sink for Inflow<'_> {
    fn receive(&mut self, received: Received<'_>) {
        let mut header = [0; RECORD_HEADER_BYTES_MAX];
        let header = encode::header(received.sender, &mut header);
        let except = self.state.except[Stream::Syslog as usize];
        let flags = if received.cut { frame::CUT } else { 0 };
        if received.cut {
            self.ring.count(Stream::Syslog as u8, except, Loss::Cut, 1, self.received_us);
        }
        self.put(Stream::Syslog, except | flags, &[header, received.message]);
    }

    fn has_room_for_stream(&self) -> bool {
        self.room_for_streams()
    }

    fn room_for_datagrams(&self) -> usize {
        if self.datagrams_can_wait() { self.room() } else { usize::MAX }
    }

    fn datagrams(&self) -> Datagrams {
        self.datagrams_wanted()
    }

    fn keep(&mut self) {
        // A fault shows again when the loop commits, and is reported there.
        let _ = self.ring.commit();
    }

    fn malformed(&mut self) {
        let except = self.state.except[Stream::Syslog as usize];
        self.ring.count(Stream::Syslog as u8, except, Loss::Malformed, 1, self.received_us);
    }
}

//! The ring itself, over any [`Storage`]: append, commit, sync, read, settle.

use super::cursor::{Account, Counters, Cursor, Loss, Mark, Retry, StreamState, flow, key_of, place_and_stream};
use super::frame::{Header, Seal, except, is_for};
use super::layout::{FileHeader, HEADER_OFFSETS, Layout, SLOT_OFFSETS};
use super::recover::{OpenError, Recovered, recover};
use super::storage::{Fault, Place, Storage};
use super::walk::{Found, Ground, Walk};
use crate::limits::{
    APPEND_BUFFER_BYTES, DESTINATIONS_MAX, FLOWS_MAX, FRAME_HEADER_BYTES, READ_WINDOW_BYTES, RECLAIM_BYTES, STREAMS_MAX,
};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

/// Records waiting, and what they take in the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pending {
    /// Records.
    pub records: u64,
    /// Bytes of their frames, padding included.
    pub bytes: u64,
}

impl Pending {
    /// One more frame of this many bytes.
    pub fn add(&mut self, bytes: u64) {
        self.records += 1;
        self.bytes += bytes;
    }

    fn remove(&mut self, other: Pending) {
        self.records = self.records.saturating_sub(other.records);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }
}

/// What opening found, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Opened {
    /// There was no ring; now there is an empty one.
    pub created: bool,
    /// The size it had before, if that was another; its pending frames were taken over.
    pub resized_from: Option<u64>,
    /// Frames found, pending or settled.
    pub frames: u64,
    /// Records that were known and are gone; they are in the counters.
    pub missing: u64,
    /// A copy of the header was damaged and has been repaired.
    pub header_repaired: bool,
}

/// What [`Ring::attach`] found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attached {
    /// The place of each destination, in the order in which they were named.
    pub places: Vec<usize>,
    /// Destinations that records were kept for, and what of them waited: it is given up.
    pub gone: Vec<(String, Pending)>,
}

/// Why a record was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendError {
    /// The append buffer is full and the disk does not take it. Count the record with [`Loss::Dropped`].
    Fault(Fault),
    /// Larger than any frame of this ring, or there is no room for such a stream: a mistake of the caller's.
    Unfit,
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AppendError::Fault(fault) => fault.fmt(f),
            AppendError::Unfit => f.write_str("the record fits no frame of this ring"),
        }
    }
}

/// What [`Ring::next_piece`] added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Piece {
    /// Records added by this call.
    pub records: u32,
    /// The chunk is complete: nothing more will come.
    pub done: bool,
}

/// A chunk that is being handed over or waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flight {
    /// Sequence of its first record; 0: none yet.
    pub first: u64,
    /// Sequence of its last record; 0: none yet.
    pub last: u64,
    /// Records handed over so far.
    pub records: u64,
    /// Bytes handed over so far: headers and payloads, no padding.
    pub bytes: u64,
    /// Records among them that were overwritten meanwhile.
    pub overwritten: u64,
    /// When the first of these had been received.
    overwritten_us: u64,
    overwritten_bytes: u64,
    padded_bytes: u64,
    again: u64,
    again_through: u64,
    bytes_max: u64,
    records_max: u64,
    at: Mark,
    done: bool,
}

impl Flight {
    fn add(&mut self, found: &Found) {
        if self.records == 0 {
            self.first = found.at.sequence;
        }
        self.last = found.at.sequence;
        self.records += 1;
        self.again += u64::from(found.at.sequence <= self.again_through);
        self.bytes += found.header.frame_bytes() as u64;
        self.padded_bytes += found.header.padded_bytes() as u64;
    }
}

/// What of one flow is on its way out.
#[derive(Debug, Clone, Copy, Default)]
struct Work {
    /// Committed frames that wait, in flight or not.
    pending: Pending,
    flight: Option<Flight>,
}

/// Frames of one stream that are in memory only.
#[derive(Debug, Clone, Copy, Default)]
struct Buffered {
    all: Pending,
    /// Of these, what is not for the destination at each place.
    except: [Pending; DESTINATIONS_MAX],
    /// The first of them.
    first: Mark,
}

impl Buffered {
    fn of(&self, place: usize) -> Pending {
        let mut pending = self.all;
        pending.remove(self.except.get(place).copied().unwrap_or_default());
        pending
    }
}

/// A ring file that is open for writing. One owner; see the room's first page for how it is used.
#[derive(Debug)]
pub struct Ring<S> {
    storage: S,
    ground: Ground,
    /// As committed: the frames in the buffer are not in it.
    cursor: Cursor,
    /// The slot that is written next. The other one is synced, or was never needed.
    target: usize,
    /// The slot says less than we know, in a way that recovery could not find out by itself.
    slot_stale: bool,
    /// And it must be written before data are written over: the tail has moved.
    slot_first: bool,
    /// An acknowledgement is in the slot but perhaps not on the disk.
    settled_unsynced: bool,
    /// Something was written since the last sync.
    unsynced: bool,
    buffer: Vec<u8>,
    buffered: [Buffered; STREAMS_MAX],
    /// Sequence that the next record gets.
    next_sequence: u64,
    /// By the number of the flow.
    work: Vec<Work>,
    window: Vec<u8>,
    latest_us: u64,
}

impl<S: Storage> Ring<S> {
    /// Opens the ring at `place`, makes one if there is none, and gives it the size `file_bytes` if it has another.
    /// `salt`: random, used only for a new file. `now_us`: wall clock, µs since 1970.
    pub fn open<P: Place<Storage = S>>(
        place: &mut P,
        file_bytes: u64,
        salt: u64,
        now_us: u64,
    ) -> Result<(Ring<S>, Opened), OpenError> {
        let layout = Layout::new(file_bytes).ok_or(OpenError::TooSmall(file_bytes))?;
        let old = match place.current()? {
            None => None,
            Some(storage) => match Ring::open_as_it_is(storage, layout, now_us) {
                Ok(ring) => Some(ring),
                Err(OpenError::Blank) => None,
                Err(error) => return Err(error),
            },
        };
        let header = FileHeader { file_bytes, salt, created_us: now_us };
        match old {
            Some((ring, opened)) if ring.ground.layout == layout => Ok((ring, opened)),
            Some((old, opened)) => {
                let resized_from = Some(old.ground.layout.file_bytes);
                let header = FileHeader { created_us: old.cursor.created_us, ..header };
                let ring = old.moved_into(place, layout, header)?;
                Ok((ring, Opened { resized_from, ..opened }))
            }
            None => {
                let mut ring = Ring::create(place.fresh()?, layout, header)?;
                ring.latest_us = now_us;
                place.adopt()?;
                Ok((ring, Opened { created: true, ..Opened::default() }))
            }
        }
    }

    /// Makes an empty ring in an empty storage: space claimed, everything synced.
    fn create(mut storage: S, layout: Layout, header: FileHeader) -> Result<Ring<S>, Fault> {
        storage.allocate(layout.file_bytes)?;
        for offset in HEADER_OFFSETS {
            storage.write_at(offset, &header.encode())?;
        }
        let recovered = Recovered {
            ground: Ground { layout, seal: Seal::new(header.salt) },
            cursor: Cursor::new(header.salt, header.file_bytes, header.created_us),
            slot: None,
            pending: Default::default(),
            changed: true,
            header_damaged: false,
            header_outdated: false,
            frames: 0,
            gaps: 0,
            gap_bytes: 0,
            missing: 0,
        };
        let mut ring = Ring::assemble(storage, recovered, header.created_us);
        ring.sync()?;
        Ok(ring)
    }

    /// Opens what is there. Space that the file lacks is claimed only if it has the `wanted` layout: what it says of its size may be
    /// damaged, and with another size it is only read.
    fn open_as_it_is(mut storage: S, wanted: Layout, now_us: u64) -> Result<(Ring<S>, Opened), OpenError> {
        let mut window = Vec::new();
        let recovered = recover(&storage, now_us, &mut window)?;
        let stays = recovered.ground.layout == wanted;
        if stays && storage.file_bytes()? < wanted.file_bytes {
            storage.allocate(wanted.file_bytes)?;
        }
        if stays && recovered.header_outdated {
            let Cursor { file_bytes, salt, created_us, .. } = recovered.cursor;
            for offset in HEADER_OFFSETS {
                storage.write_at(offset, &FileHeader { file_bytes, salt, created_us }.encode())?;
            }
        }
        // The newest slot may be in memory only: after this it is on the disk, and the other one may be written. A header of the
        // format before is on the disk as one of this format before the first slot of this format is written.
        storage.sync()?;
        let opened = Opened {
            frames: recovered.frames,
            missing: recovered.missing,
            header_repaired: recovered.header_damaged,
            ..Opened::default()
        };
        Ok((Ring::assemble(storage, recovered, now_us), opened))
    }

    fn assemble(storage: S, recovered: Recovered, now_us: u64) -> Ring<S> {
        let flows = recovered.cursor.accounts.len() * STREAMS_MAX;
        let work = recovered.pending.iter().take(flows).map(|&pending| Work { pending, flight: None });
        Ring {
            work: work.collect(),
            storage,
            next_sequence: recovered.cursor.head.sequence,
            cursor: recovered.cursor,
            target: recovered.slot.map_or(0, |slot| 1 - slot),
            slot_stale: recovered.changed,
            slot_first: recovered.changed,
            settled_unsynced: false,
            unsynced: false,
            buffer: Vec::new(),
            buffered: Default::default(),
            window: Vec::new(),
            latest_us: now_us,
            ground: recovered.ground,
        }
    }

    /// Builds a ring of another size beside this one, with this one's pending frames and accounts, and lets it take its
    /// place. What does not fit is overwritten and counted, oldest first.
    fn moved_into<P: Place<Storage = S>>(
        mut self,
        place: &mut P,
        layout: Layout,
        header: FileHeader,
    ) -> Result<Ring<S>, OpenError> {
        let mut new = Ring::create(place.fresh()?, layout, header)?;
        new.latest_us = self.latest_us;
        let start = Mark { position: 0, sequence: self.cursor.tail.sequence };
        (new.cursor.tail, new.cursor.head) = (start, start);
        new.cursor.lost_unattributed = self.cursor.lost_unattributed;
        new.cursor.accounts.clone_from(&self.cursor.accounts);
        new.work = vec![Work::default(); self.work.len()];
        for (state, work) in new.cursor.accounts.iter_mut().flat_map(|account| &mut account.streams).zip(&self.work) {
            // Appending counts them again.
            state.counters.received = state.counters.received.saturating_sub(work.pending.records);
        }
        let head = self.cursor.head;
        let mut walk = Walk::new(self.cursor.tail, head.position, core::mem::take(&mut self.window));
        while let Some(found) = walk.next(&self.storage, &self.ground)? {
            let Header { stream, flags, received_us, .. } = found.header;
            let waits: Vec<usize> = self.cursor.waiting_for(&found).collect();
            if waits.is_empty() {
                continue;
            }
            new.next_sequence = found.at.sequence;
            let payload = &walk.frame()[FRAME_HEADER_BYTES..];
            // Those that have it already do not get it again.
            let others =
                (0..DESTINATIONS_MAX).filter(|place| !waits.contains(place)).fold(0, |all, place| all | 1 << place);
            match new.append(stream, flags | except(others), received_us, &[payload]) {
                Ok(_) => {}
                Err(AppendError::Fault(fault)) => return Err(OpenError::Fault(fault)),
                Err(AppendError::Unfit) => waits.into_iter().for_each(|place| {
                    new.cursor.accounts[place].streams[usize::from(stream)].skip(Loss::Overwritten, received_us);
                }),
            }
        }
        new.next_sequence = head.sequence;
        new.commit()?;
        new.cursor.head.sequence = head.sequence;
        new.slot_stale = true;
        new.sync()?;
        place.adopt()?;
        Ok(new)
    }

    /// Adds a record to a stream, in memory: `parts` one after the other are its payload. Returns its sequence. Commits
    /// by itself when the append buffer is full. Nothing else happens on the disk, and nothing is allocated but, after
    /// [`Ring::release_memory`], the buffer.
    pub fn append(&mut self, stream: u8, flags: u8, received_us: u64, parts: &[&[u8]]) -> Result<u64, AppendError> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let index = usize::from(stream);
        let Some(length) = u32::try_from(length).ok().filter(|_| index < self.streams_max()) else {
            return Err(AppendError::Unfit);
        };
        let header = Header { stream, flags, length, sequence: self.next_sequence, received_us };
        if header.padded_bytes() > self.ground.layout.frame_bytes_max() {
            return Err(AppendError::Unfit);
        }
        let capacity = self.buffer_bytes_max();
        if self.buffer.len() + header.padded_bytes() > capacity {
            self.commit().map_err(AppendError::Fault)?;
        }
        if self.buffer.capacity() == 0 {
            // Pages of it that are never written to are never resident.
            self.buffer = Vec::with_capacity(capacity);
        }
        let at = Mark { position: self.appended_position(), sequence: self.next_sequence };
        self.ground.seal.encode(&mut self.buffer, self.ground.layout.offset(at.position), &header, parts);
        self.note_appended(index, at, &header);
        Ok(at.sequence)
    }

    /// Streams that there is room for: each destination may have all of them.
    fn streams_max(&self) -> usize {
        (FLOWS_MAX / self.cursor.accounts.len()).min(STREAMS_MAX)
    }

    fn note_appended(&mut self, index: usize, at: Mark, header: &Header) {
        self.next_sequence += 1;
        self.latest_us = self.latest_us.max(header.received_us);
        let (bytes, buffered) = (header.padded_bytes() as u64, &mut self.buffered[index]);
        if buffered.all.records == 0 {
            buffered.first = at;
        }
        buffered.all.add(bytes);
        if header.flags >= except(1) {
            let places = buffered.except.iter_mut().enumerate().filter(|(place, _)| !is_for(header.flags, *place));
            places.for_each(|(_, except)| except.add(bytes));
        }
    }

    fn buffer_bytes_max(&self) -> usize {
        usize::try_from(self.ground.layout.data_bytes / 2).unwrap_or(usize::MAX).min(APPEND_BUFFER_BYTES)
    }

    fn appended_position(&self) -> u64 {
        self.cursor.head.position + self.buffer.len() as u64
    }

    /// Takes what was appended to the file: one write, two at the end of the data area. Overwrites the oldest frames if
    /// it must. After a failure everything is still in memory; call again later.
    pub fn commit(&mut self) -> Result<(), Fault> {
        if !self.buffer.is_empty() {
            self.make_room(self.buffer.len() as u64)?;
            if self.slot_first {
                self.write_slot()?;
            }
            self.write_buffer()?;
        }
        if self.slot_stale { self.write_slot() } else { Ok(()) }
    }

    fn write_buffer(&mut self) -> Result<(), Fault> {
        self.unsynced = true;
        for (offset, range) in self.ground.layout.places(self.cursor.head.position, self.buffer.len()) {
            self.storage.write_at(offset, &self.buffer[range])?;
        }
        self.cursor.head = Mark { position: self.appended_position(), sequence: self.next_sequence };
        self.note_committed();
        self.buffer.clear();
        Ok(())
    }

    /// What was in memory only waits now, in every flow that it is for.
    fn note_committed(&mut self) {
        let flows = self.cursor.accounts.iter_mut().zip(self.work.chunks_mut(STREAMS_MAX)).enumerate();
        for (place, (account, work)) in flows.filter(|(_, (account, _))| account.in_use) {
            for ((state, work), buffered) in account.streams.iter_mut().zip(work).zip(&self.buffered) {
                let new = buffered.of(place);
                if work.pending.records == 0 && new.records > 0 {
                    state.next = buffered.first;
                }
                state.counters.received = state.counters.received.saturating_add(new.records);
                work.pending.records += new.records;
                work.pending.bytes += new.bytes;
            }
        }
        self.buffered = Default::default();
    }

    /// Commits, and returns when everything would survive a power cut. Does nothing if nothing changed. After a failure
    /// all is as before; call again later.
    pub fn sync(&mut self) -> Result<(), Fault> {
        self.commit()?;
        if !self.unsynced {
            return Ok(());
        }
        self.write_slot()?;
        self.storage.sync()?;
        self.unsynced = false;
        self.settled_unsynced = false;
        self.target = 1 - self.target;
        Ok(())
    }

    /// Whether [`Ring::sync`] would do anything.
    pub fn is_dirty(&self) -> bool {
        self.unsynced || self.slot_stale || !self.buffer.is_empty()
    }

    /// Writes the slot whose contents are older than the last sync.
    fn write_slot(&mut self) -> Result<(), Fault> {
        self.unsynced = true;
        self.slot_stale = true;
        let mut cursor = self.slot_cursor();
        cursor.generation += 1;
        self.storage.write_at(SLOT_OFFSETS[self.target], &cursor.encode())?;
        self.cursor.generation = cursor.generation;
        self.slot_stale = false;
        self.slot_first = false;
        Ok(())
    }

    /// The cursor as it is in the file: with those frames counted as overwritten that were, though the answer to their chunk may
    /// yet say that they had been delivered.
    fn slot_cursor(&self) -> Cursor {
        let mut cursor = self.cursor.clone();
        for (state, work) in cursor.accounts.iter_mut().flat_map(|account| &mut account.streams).zip(&self.work) {
            if let Some(flight) = &work.flight {
                state.lose(Loss::Overwritten, flight.overwritten, flight.overwritten_us);
            }
            // Nothing pending: the numbers of frames that never reach the file are given again.
            if work.pending.records == 0 {
                state.next = cursor.head;
            }
        }
        cursor
    }

    /// Moves the tail so far that `bytes` fit behind the head: over settled frames alone if that is enough, otherwise
    /// over the oldest pending ones, some more than needed, so that this is not done for each record.
    fn make_room(&mut self, bytes: u64) -> Result<(), Fault> {
        let Cursor { head, tail, .. } = self.cursor;
        let needed = (head.position + bytes).saturating_sub(self.ground.layout.data_bytes);
        if needed <= tail.position {
            return Ok(());
        }
        self.slot_first = true;
        self.slot_stale = true;
        let first_pending = self.first_pending();
        if first_pending.position >= needed {
            self.cursor.tail = first_pending;
            return Ok(());
        }
        let step = RECLAIM_BYTES.min(self.ground.layout.data_bytes / 8);
        self.overwrite_through((needed + step).min(head.position))
    }

    /// The oldest frame in the file that some flow still needs; the head if there is none.
    fn first_pending(&self) -> Mark {
        self.first_pending_of(u8::MAX)
    }

    /// The same, but only the destinations at these places count.
    fn first_pending_of(&self, places: u8) -> Mark {
        let flows = self.cursor.accounts.iter().zip(self.work.chunks(STREAMS_MAX)).enumerate();
        let flows = flows
            .filter(|(place, _)| places >> place & 1 == 1)
            .flat_map(|(_, (account, work))| account.streams.iter().zip(work));
        let nexts = flows.filter(|(_, work)| work.pending.records > 0).map(|(state, _)| state.next);
        nexts.min_by_key(|next| next.position).unwrap_or(self.cursor.head)
    }

    fn overwrite_through(&mut self, position: u64) -> Result<(), Fault> {
        let head = self.cursor.head;
        let mut walk = Walk::new(self.cursor.tail, head.position, core::mem::take(&mut self.window));
        let walked = loop {
            match walk.next(&self.storage, &self.ground) {
                Ok(Some(found)) if found.at.position >= position => break Ok(found.at),
                Ok(Some(found)) => {
                    self.overwrite(&found);
                    self.cursor.tail = found.end;
                }
                Ok(None) => break Ok(head),
                Err(fault) => break Err(fault),
            }
        };
        self.window = walk.into_window();
        self.cursor.tail = walked?;
        let tail = self.cursor.tail;
        for state in self.cursor.accounts.iter_mut().flat_map(|account| &mut account.streams) {
            if state.next.position < tail.position {
                state.next = tail;
            }
        }
        Ok(())
    }

    /// Counts a frame that is about to be overwritten, in each flow that still needs it.
    fn overwrite(&mut self, found: &Found) {
        let (index, received_us) = (usize::from(found.header.stream), found.header.received_us);
        for (place, account) in self.cursor.accounts.iter_mut().enumerate() {
            let (state, work) = (&mut account.streams[index], &mut self.work[place * STREAMS_MAX + index]);
            if !state.waits_for(found, place) || work.pending.records == 0 {
                continue;
            }
            match &mut work.flight {
                Some(flight) if found.at.sequence <= flight.last => {
                    flight.overwritten += 1;
                    flight.overwritten_bytes += found.header.padded_bytes() as u64;
                    flight.overwritten_us = if flight.overwritten == 1 { received_us } else { flight.overwritten_us };
                }
                _ => {
                    state.lose(Loss::Overwritten, 1, received_us);
                    work.pending.remove(Pending { records: 1, bytes: found.header.padded_bytes() as u64 });
                }
            }
        }
    }

    /// Starts a chunk of a flow at its oldest pending record: at most `bytes_max` bytes of headers and payloads and
    /// `records_max` records, but at least one record. `false`: nothing is pending, or a chunk of this flow is under
    /// way.
    pub fn begin_chunk(&mut self, flow: u8, bytes_max: u64, records_max: u64) -> bool {
        let (Some(state), Some(work)) = (self.cursor.flow(flow), self.work.get_mut(usize::from(flow))) else {
            return false;
        };
        if work.flight.is_some() || work.pending.records == 0 {
            return false;
        }
        let (at, again_through) = (state.next, state.handed_through);
        work.flight = Some(Flight { at, again_through, bytes_max, records_max, ..Flight::default() });
        true
    }

    /// Adds the next frames of the chunk to `piece`: header and payload of each, without padding, as
    /// [`super::frame::split`] takes them apart. Stops before `piece` would be longer than `bytes_max`, but adds at
    /// least one frame to an empty one. Ask for 64 KiB or so: each call reads the file anew. The chunk ends at its
    /// bounds, or where the stream has no further committed record. If what was pending turns out to be damaged, it is
    /// counted, and a chunk of no record ends by itself: `done`, and [`Ring::flight`] is `None`. On failure nothing was
    /// added; call again, or [`Ring::put_back`].
    pub fn next_piece(&mut self, flow: u8, piece: &mut Vec<u8>, bytes_max: usize) -> Result<Piece, Fault> {
        let Some(mut flight) = self.flight(flow).copied().filter(|flight| !flight.done) else {
            return Ok(Piece { records: 0, done: true });
        };
        let tail = self.cursor.tail;
        let from = if flight.at.position < tail.position { tail } else { flight.at };
        let begun = piece.len();
        let mut walk = Walk::new(from, self.cursor.head.position, core::mem::take(&mut self.window));
        let filled = fill_piece(&mut walk, &self.storage, &self.ground, flow, &mut flight, piece, bytes_max);
        flight.at = walk.at;
        self.window = walk.into_window();
        let end = match filled {
            Ok(end) => end,
            Err(fault) => {
                piece.truncate(begun);
                return Err(fault);
            }
        };
        flight.done = end != PieceEnd::Full;
        let (Some(state), Some(work)) = (self.cursor.flow_mut(flow), self.work.get_mut(usize::from(flow))) else {
            return Ok(Piece { records: 0, done: true });
        };
        let before = work.flight.replace(flight).unwrap_or_default();
        state.counters.sent_again = state.counters.sent_again.saturating_add(flight.again - before.again);
        if end == PieceEnd::Head {
            // The walk has come to the head: what is pending and was not found has been damaged.
            let found = Pending { records: flight.records, bytes: flight.padded_bytes };
            let damaged = work.pending.records.saturating_sub(found.records);
            work.pending = found;
            state.lose(Loss::Corrupt, damaged, self.latest_us);
            self.slot_stale |= damaged > 0;
        }
        if flight.done {
            state.handed_through = state.handed_through.max(flight.last);
            if flight.records == 0 {
                work.flight = None;
                state.next = flight.at;
            }
            self.window = Vec::new();
            // So that a restart knows what may have been delivered already. Not urgent: tried again with the next
            // commit.
            let _ = self.write_slot();
        }
        let records = u32::try_from(flight.records - before.records).unwrap_or(u32::MAX);
        Ok(Piece { records, done: flight.done })
    }

    /// The chunk of this flow that is under way.
    pub fn flight(&self, flow: u8) -> Option<&Flight> {
        self.work.get(usize::from(flow)).and_then(|work| work.flight.as_ref())
    }

    /// The service has the chunk: its records are settled, `retry` is reset. Of all acknowledgements at most one is not
    /// yet synced when this returns; the disk's failure to do so is reported, but the chunk is settled all the same.
    pub fn acknowledge(&mut self, flow: u8) -> Result<(), Fault> {
        self.settle(flow, None)
    }

    /// The service will never take the chunk's records: settled and counted as refused. As [`Ring::acknowledge`].
    pub fn refuse(&mut self, flow: u8) -> Result<(), Fault> {
        self.settle(flow, Some(Loss::Refused))
    }

    /// The chunk is given up: settled and counted as discarded. As [`Ring::acknowledge`].
    pub fn discard(&mut self, flow: u8) -> Result<(), Fault> {
        self.settle(flow, Some(Loss::Discarded))
    }

    fn settle(&mut self, flow: u8, loss: Option<Loss>) -> Result<(), Fault> {
        if self.flight(flow).is_none() {
            return Ok(());
        }
        // If the one before is not yet on the disk, it gets there first: a power cut takes back one chunk, not two. The
        // chunk is still in flight meanwhile, so that this slot, too, knows what of it was overwritten.
        let synced = if self.settled_unsynced { self.sync() } else { Ok(()) };
        let (Some(state), Some(work)) = (self.cursor.flow_mut(flow), self.work.get_mut(usize::from(flow))) else {
            return synced;
        };
        let flight = work.flight.take().unwrap_or_default();
        work.pending.remove(Pending { records: flight.records, bytes: flight.padded_bytes });
        match loss {
            None => {
                state.counters.sent = state.counters.sent.saturating_add(flight.records);
                state.acknowledged = state.acknowledged.max(flight.last);
            }
            Some(loss) => state.lose(loss, flight.records, self.latest_us),
        }
        state.retry = Retry::default();
        if flight.at.position > state.next.position {
            state.next = flight.at;
        }
        self.settled_unsynced = true;
        let written = self.write_slot();
        synced.and(written)
    }

    /// Cuts the chunk that is under way down to its first `records`, so that those are settled apart from the rest, which is pending
    /// again. They are not counted as handed out anew. Of a chunk whose oldest records were overwritten meanwhile, so many fewer are
    /// left. Returns the piece that was read last: of a chunk of one record, that record's frame, unless it was overwritten.
    pub fn cut_chunk(&mut self, flow: u8, records: u64) -> Result<Vec<u8>, Fault> {
        let mut piece = Vec::new();
        let Some(flight) = self.flight(flow).copied() else { return Ok(piece) };
        self.put_back(flow);
        let sent_again = self.cursor.flow(flow).map_or(0, |state| state.counters.sent_again);
        let left = records.saturating_sub(flight.overwritten);
        let mut done = left == 0 || !self.begin_chunk(flow, u64::MAX, left);
        while !done {
            piece.clear();
            done = self.next_piece(flow, &mut piece, READ_WINDOW_BYTES)?.done;
        }
        if let Some(state) = self.cursor.flow_mut(flow) {
            state.counters.sent_again = sent_again;
        }
        Ok(piece)
    }

    /// The chunk was not delivered, or nobody knows: its records are pending again, but for those that were overwritten
    /// meanwhile.
    pub fn put_back(&mut self, flow: u8) {
        let (Some(state), Some(work)) = (self.cursor.flow_mut(flow), self.work.get_mut(usize::from(flow))) else {
            return;
        };
        let Some(flight) = work.flight.take() else { return };
        state.handed_through = state.handed_through.max(flight.last);
        state.lose(Loss::Overwritten, flight.overwritten, flight.overwritten_us);
        work.pending.remove(Pending { records: flight.overwritten, bytes: flight.overwritten_bytes });
        self.window = Vec::new();
        self.slot_stale = true;
    }

    /// Keeps records for the destinations of these names from now on, and for no others. Each is recognised by its name, in whatever
    /// order; one that was not here before begins with the next record. But the first of them takes what nobody has yet
    /// (a new ring, or one of format 1), and if one is gone and one has come, that one takes its place and all that waits. No chunk
    /// may be under way to one that is gone. More names than there are places are left out. In the file with the next commit.
    pub fn attach(&mut self, names: &[&str], now_us: u64) -> Attached {
        let mut places: Vec<Option<usize>> = names.iter().map(|name| self.place_of(key_of(name))).collect();
        let unclaimed = |ring: &Ring<S>, places: &[Option<usize>]| -> Vec<usize> {
            let accounts = ring.cursor.accounts.iter().enumerate();
            accounts
                .filter(|(place, account)| account.in_use && !places.contains(&Some(*place)))
                .map(|(place, _)| place)
                .collect()
        };
        let old = unclaimed(self, &places);
        let nobodys = old.first().is_some_and(|&place| self.cursor.accounts[place].key == 0);
        let new = places.iter().filter(|place| place.is_none()).count();
        if let (&[heir], true) = (&old[..], nobodys || new == 1)
            && let Some(place) = places.iter_mut().find(|place| place.is_none())
        {
            *place = Some(heir);
        }
        let gone = unclaimed(self, &places).into_iter().map(|place| self.give_up(place, now_us)).collect();
        for index in 0..places.len() {
            places[index] = places[index].or_else(|| self.free_place(&places));
            if let Some(place) = places[index] {
                self.take_place(place, names[index]);
            }
        }
        self.settled_unsynced = true;
        self.slot_stale = true;
        self.slot_first = true; // frames are kept from places that the slot must know by then
        Attached { places: places.into_iter().flatten().collect(), gone }
    }

    fn place_of(&self, key: u64) -> Option<usize> {
        self.cursor.accounts.iter().position(|account| account.key == key)
    }

    /// What waits for the destination at this place is discarded.
    fn give_up(&mut self, place: usize, now_us: u64) -> (String, Pending) {
        let mut all = Pending::default();
        for stream in (0u8..).take(STREAMS_MAX) {
            let number = flow(place, stream);
            self.put_back(number);
            let pending = core::mem::take(&mut self.work[usize::from(number)].pending);
            self.cursor.accounts[place].streams[usize::from(stream)].lose(Loss::Discarded, pending.records, now_us);
            all.records += pending.records;
            all.bytes += pending.bytes;
        }
        let account = &mut self.cursor.accounts[place];
        account.in_use = false;
        (account.name.clone(), all)
    }

    /// A place that nobody has, or nobody any more.
    fn free_place(&mut self, taken: &[Option<usize>]) -> Option<usize> {
        let head = self.cursor.head;
        let unused = |ring: &Ring<S>| {
            ring.cursor
                .accounts
                .iter()
                .enumerate()
                .position(|(place, account)| !account.in_use && !taken.contains(&Some(place)))
        };
        if self.cursor.accounts.len() < DESTINATIONS_MAX {
            self.cursor.accounts.push(Account { in_use: false, ..Account::new(head) });
            self.work.extend([Work::default(); STREAMS_MAX]);
            return Some(self.cursor.accounts.len() - 1);
        }
        unused(self)
    }

    fn take_place(&mut self, place: usize, name: &str) {
        let head = self.cursor.head;
        let account = &mut self.cursor.accounts[place];
        if !account.in_use {
            let known = account.key == key_of(name);
            let fresh = if known { account.clone() } else { Account::new(head) };
            *account = fresh;
            account.streams.iter_mut().for_each(|state| (state.next, state.retry) = (head, Retry::default()));
        }
        account.give_to(name);
    }

    /// The destinations that records are or were kept for, by place.
    pub fn accounts(&self) -> &[Account] {
        &self.cursor.accounts
    }

    /// Counts what happened to records of a stream outside the ring, for every destination that records with these flags are for. A
    /// loss of [`Loss::Dropped`] counts as received, too.
    pub fn count(&mut self, stream: u8, flags: u8, loss: Loss, records: u64, now_us: u64) {
        for (place, account) in self.cursor.accounts.iter_mut().enumerate() {
            let Some(state) = account.streams.get_mut(usize::from(stream)) else { return };
            if !account.in_use || !is_for(flags, place) {
                continue;
            }
            if loss == Loss::Dropped {
                state.counters.received = state.counters.received.saturating_add(records);
            }
            state.lose(loss, records, now_us);
        }
        self.latest_us = self.latest_us.max(now_us);
        self.slot_stale = true;
    }

    /// Keeps a flow's retry schedule; in the file with the next commit.
    pub fn set_retry(&mut self, flow: u8, retry: Retry) {
        if let Some(state) = self.cursor.flow_mut(flow) {
            state.retry = retry;
            self.slot_stale = true;
        }
    }

    /// How a flow stands: counters, retry schedule. `None`: there is no such flow.
    pub fn stream(&self, flow: u8) -> Option<StreamState> {
        let mut state = *self.cursor.flow(flow)?;
        state.counters.received = state.counters.received.saturating_add(self.buffered_of(flow).records);
        Some(state)
    }

    /// Sequence of a flow's oldest pending record in the file, or a lower one.
    pub fn next_sequence(&self, flow: u8) -> u64 {
        self.cursor.flow(flow).map_or(0, |state| state.next.sequence)
    }

    fn buffered_of(&self, flow: u8) -> Pending {
        let (place, stream) = place_and_stream(flow);
        let in_use = self.cursor.accounts.get(place).is_some_and(|account| account.in_use);
        if in_use { self.buffered[stream].of(place) } else { Pending::default() }
    }

    /// What of a flow waits, in flight or not.
    pub fn pending(&self, flow: u8) -> Pending {
        let (committed, buffered) = (self.committed(flow), self.buffered_of(flow));
        Pending { records: committed.records + buffered.records, bytes: committed.bytes + buffered.bytes }
    }

    /// What of a flow waits and is in the file: the rest waits for the disk and cannot be handed over.
    pub fn committed(&self, flow: u8) -> Pending {
        self.work.get(usize::from(flow)).map(|work| work.pending).unwrap_or_default()
    }

    /// What of all streams waits for the destination that is furthest behind.
    pub fn pending_total(&self) -> Pending {
        let of_place = |place| {
            let flows = (0u8..).take(STREAMS_MAX).map(|stream| self.pending(flow(place, stream)));
            flows.fold(Pending::default(), |sum, pending| Pending {
                records: sum.records + pending.records,
                bytes: sum.bytes + pending.bytes,
            })
        };
        (0..self.cursor.accounts.len()).map(of_place).max_by_key(|pending| pending.bytes).unwrap_or_default()
    }

    /// What happened to a flow's records since losses were last reported. Ask [`Counters::lost`] whether there is
    /// anything to report; the span of time is in [`StreamState`].
    pub fn unreported(&self, flow: u8) -> Counters {
        self.cursor.flow(flow).map(|state| state.counters.since(&state.reported)).unwrap_or_default()
    }

    /// Losses up to now are reported: append the report first, then call this, then commit.
    pub fn mark_reported(&mut self, flow: u8) {
        if let Some(state) = self.cursor.flow_mut(flow) {
            state.reported = state.counters;
            (state.first_loss_us, state.last_loss_us) = (0, 0);
            self.slot_stale = true;
        }
    }

    /// Frames that crashes took and of which nothing is known but that their numbers are missing.
    pub fn lost_unattributed(&self) -> u64 {
        self.cursor.lost_unattributed
    }

    /// Bytes that can be appended, frames and padding, before a frame is overwritten that waits for a destination.
    pub fn free_bytes(&self) -> u64 {
        self.free_bytes_for(u8::MAX)
    }

    /// The same, but only what waits for the destinations at these places counts: bit n is place n.
    pub fn free_bytes_for(&self, places: u8) -> u64 {
        let used = self.appended_position() - self.first_pending_of(places).position;
        self.ground.layout.data_bytes.saturating_sub(used)
    }

    /// Bytes that a record with this payload takes.
    pub fn record_bytes(payload_bytes: usize) -> u64 {
        let length = u32::try_from(payload_bytes).unwrap_or(u32::MAX);
        Header { stream: 0, flags: 0, length, sequence: 0, received_us: 0 }.padded_bytes() as u64
    }

    /// What the ring stands on.
    pub fn storage(&self) -> &S {
        &self.storage
    }

    /// Bytes for frames, all in all.
    pub fn data_bytes(&self) -> u64 {
        self.ground.layout.data_bytes
    }

    /// Where the next frame goes and which sequence it gets.
    pub fn head(&self) -> Mark {
        Mark { position: self.appended_position(), sequence: self.next_sequence }
    }

    /// The oldest frame that is still in the file.
    pub fn tail(&self) -> Mark {
        self.cursor.tail
    }

    /// Gives memory back that is not needed while nothing happens. The next append takes it again.
    pub fn release_memory(&mut self) {
        self.window = Vec::new();
        if self.buffer.is_empty() {
            self.buffer = Vec::new();
        }
    }
}

impl StreamState {
    /// Whether a frame of this stream is for the destination at this place, which does not have it yet.
    fn waits_for(&self, found: &Found, place: usize) -> bool {
        is_for(found.header.flags, place) && found.at.sequence >= self.next.sequence
    }
}

impl Cursor {
    /// The places of the destinations that still need a frame.
    pub(super) fn waiting_for(&self, found: &Found) -> impl Iterator<Item = usize> {
        let index = usize::from(found.header.stream);
        let accounts = self.accounts.iter().enumerate().filter(|(_, account)| account.in_use);
        accounts.filter(move |(place, account)| account.streams[index].waits_for(found, *place)).map(|(place, _)| place)
    }
}

/// Where a piece ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PieceEnd {
    /// The piece is full; the chunk goes on.
    Full,
    /// The chunk has reached its bounds.
    Bounds,
    /// There is no further frame of the flow.
    Head,
}

/// Adds frames of one flow to a piece, and to the flight's sums, until one of the bounds is reached.
fn fill_piece<S: Storage>(
    walk: &mut Walk,
    storage: &S,
    ground: &Ground,
    flow: u8,
    flight: &mut Flight,
    piece: &mut Vec<u8>,
    piece_bytes_max: usize,
) -> Result<PieceEnd, Fault> {
    let (place, stream) = place_and_stream(flow);
    while let Some(found) = walk.next(storage, ground)? {
        if usize::from(found.header.stream) != stream || !is_for(found.header.flags, place) {
            continue;
        }
        let frame = walk.frame();
        let bytes = flight.bytes + frame.len() as u64;
        let end = if flight.records > 0 && (bytes > flight.bytes_max || flight.records >= flight.records_max) {
            PieceEnd::Bounds
        } else if !piece.is_empty() && piece.len() + frame.len() > piece_bytes_max {
            PieceEnd::Full
        } else {
            piece.extend_from_slice(frame);
            flight.add(&found);
            continue;
        };
        walk.step_back(&found);
        return Ok(end);
    }
    Ok(PieceEnd::Head)
}

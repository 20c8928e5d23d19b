//! From frame to frame, over damage: the one way in which frames are found, after a crash and in daily work.

use super::cursor::Mark;
use super::frame::{Header, Seal};
use super::layout::{ALIGN, Layout};
use super::storage::{Fault, Storage};
use crate::limits::{FRAME_ALIGN_BYTES, FRAME_HEADER_BYTES, READ_WINDOW_BYTES};
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

/// What a walk needs to know of the file.
#[derive(Debug, Clone)]
pub struct Ground {
    /// How the file is divided.
    pub layout: Layout,
    /// What makes its frames its own.
    pub seal: Seal,
}

/// A frame that was found: whole, at its place, newer than all that were found before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Where it stands, and its sequence.
    pub at: Mark,
    /// Where the next one begins at the earliest.
    pub end: Mark,
    /// What it says of itself.
    pub header: Header,
}

/// A walk along the ring. Memory: one window of at most [`READ_WINDOW_BYTES`].
#[derive(Debug)]
pub struct Walk {
    /// Where it stands: nothing before this is looked at again.
    pub at: Mark,
    end: u64,
    floor: u64,
    /// Frames below the floor: stale ones.
    pub stale: u64,
    /// Frames at or above the floor whose sequence fell behind one found before.
    pub fallen: u64,
    /// Places where no frame stands, each of any length.
    pub gaps: u64,
    /// Bytes in these places.
    pub gap_bytes: u64,
    /// Its first `filled` bytes are the ring's from `window_at` on.
    window: Vec<u8>,
    filled: usize,
    window_at: u64,
    frame: Range<usize>,
    /// Bytes from the window's beginning that the file is too short to have; walked over in one step.
    absent_bytes: u64,
    wasted_bytes: u64,
}

/// A walk checksums at most this many times the ring's bytes in vain. Damage never comes near; a file made to keep us
/// busy would.
const WASTE_MAX: u64 = 32;

impl Walk {
    /// A walk over the frames that begin at `from` or later and before the position `end`. Frames with a sequence below
    /// `from.sequence` are passed over. `window` is memory to use; [`Walk::into_window`] gives it back.
    pub fn new(from: Mark, end: u64, window: Vec<u8>) -> Walk {
        Walk {
            at: from,
            end,
            floor: from.sequence,
            stale: 0,
            fallen: 0,
            gaps: 0,
            gap_bytes: 0,
            window,
            filled: 0,
            window_at: from.position,
            frame: 0..0,
            absent_bytes: 0,
            wasted_bytes: 0,
        }
    }

    /// The memory that [`Walk::new`] was given.
    pub fn into_window(self) -> Vec<u8> {
        self.window
    }

    /// The next frame, `None` at the end. After a failure the walk stands where it stood and may be tried again.
    pub fn next<S: Storage>(&mut self, storage: &S, ground: &Ground) -> Result<Option<Found>, Fault> {
        let mut in_gap = false;
        while self.at.position < self.end {
            let Some(header) = self.whole_frame(storage, ground)? else {
                let step = self.absent_bytes.max(ALIGN * self.steps_to_mark(ground)).min(self.end - self.at.position);
                self.gaps += u64::from(!in_gap);
                self.gap_bytes += step;
                in_gap = true;
                self.at.position += step;
                continue;
            };
            in_gap = false;
            let at = Mark { position: self.at.position, sequence: header.sequence };
            self.at.position += header.padded_bytes() as u64;
            if header.sequence < self.at.sequence {
                let counter = if header.sequence < self.floor { &mut self.stale } else { &mut self.fallen };
                *counter += 1;
                continue;
            }
            self.at.sequence = header.sequence + 1;
            return Ok(Some(Found { at, end: self.at, header }));
        }
        Ok(None)
    }

    /// Header and payload of the frame found last.
    pub fn frame(&self) -> &[u8] {
        self.window.get(self.frame.clone()).unwrap_or_default()
    }

    /// Goes back to the beginning of the frame found last, so that it is found again.
    pub fn step_back(&mut self, found: &Found) {
        self.at = found.at;
    }

    fn whole_frame<S: Storage>(&mut self, storage: &S, ground: &Ground) -> Result<Option<Header>, Fault> {
        let start = self.have(FRAME_HEADER_BYTES, storage, ground)?;
        let Some(header) = ground.seal.peek(&self.window[start..self.filled]) else { return Ok(None) };
        let length = header.frame_bytes();
        if length > ground.layout.frame_bytes_max() {
            return Ok(None);
        }
        let start = self.have(length, storage, ground)?;
        self.frame = start..start + length;
        let whole = ground.seal.holds(ground.layout.offset(self.at.position), &self.window[self.frame.clone()]);
        if !whole {
            self.wasted_bytes += length as u64;
            if self.wasted_bytes > ground.layout.data_bytes * WASTE_MAX {
                self.end = self.at.position;
            }
        }
        Ok(whole.then_some(header))
    }

    /// How many steps ahead, at least one, a frame could stand: as far as the window tells.
    fn steps_to_mark(&self, ground: &Ground) -> u64 {
        let start = usize::try_from(self.at.position - self.window_at).unwrap_or(usize::MAX);
        let ahead = self.window.get(start.saturating_add(FRAME_ALIGN_BYTES)..self.filled).unwrap_or_default();
        1 + ahead.chunks_exact(FRAME_ALIGN_BYTES).take_while(|place| !ground.seal.marks(place)).count() as u64
    }

    /// Makes sure that the window holds `length` bytes from where the walk stands; returns where in it they begin.
    fn have<S: Storage>(&mut self, length: usize, storage: &S, ground: &Ground) -> Result<usize, Fault> {
        let start = usize::try_from(self.at.position - self.window_at).unwrap_or(usize::MAX);
        if start.saturating_add(length) <= self.filled {
            return Ok(start);
        }
        let left = usize::try_from(self.end - self.at.position).unwrap_or(usize::MAX);
        let ring = usize::try_from(ground.layout.data_bytes).unwrap_or(usize::MAX);
        let wanted = left.min(READ_WINDOW_BYTES).max(length).min(ring);
        if self.window.len() < wanted {
            self.window = vec![0; wanted];
        }
        self.filled = 0;
        self.window_at = self.at.position;
        let cut_short = ground.layout.offset(self.at.position) >= storage.file_bytes()?;
        self.absent_bytes =
            if cut_short { ground.layout.data_bytes - self.at.position % ground.layout.data_bytes } else { 0 };
        for (offset, range) in ground.layout.places(self.at.position, wanted) {
            read_around_damage(storage, offset, &mut self.window[range])?;
        }
        self.filled = wanted;
        Ok(0)
    }
}

/// Reads; where the device fails in some places only, these read as zeros, so that a bad sector costs the frames on it
/// and nothing else. A device that gives nothing at all is a failure: it may be back later.
fn read_around_damage<S: Storage>(storage: &S, offset: u64, bytes: &mut [u8]) -> Result<(), Fault> {
    const PIECE: usize = 4096;
    let Err(fault) = storage.read_at(offset, bytes) else { return Ok(()) };
    let mut good = 0;
    for (index, piece) in (0u64..).zip(bytes.chunks_mut(PIECE)) {
        match storage.read_at(offset + index * PIECE as u64, piece) {
            Ok(()) => good += 1,
            Err(_) => piece.fill(0),
        }
    }
    if good > 0 { Ok(()) } else { Err(fault) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::layout::DATA_OFFSET;
    use core::cell::Cell;

    /// A file of nothing but its beginning, all zeros, that counts how often it is read.
    struct Stump {
        bytes: u64,
        reads: Cell<u32>,
    }

    impl Storage for Stump {
        fn file_bytes(&self) -> Result<u64, Fault> {
            Ok(self.bytes)
        }

        fn read_at(&self, _: u64, bytes: &mut [u8]) -> Result<(), Fault> {
            self.reads.set(self.reads.get() + 1);
            bytes.fill(0);
            Ok(())
        }

        fn write_at(&mut self, _: u64, _: &[u8]) -> Result<(), Fault> {
            Err(Fault::DEVICE)
        }

        fn sync(&mut self) -> Result<(), Fault> {
            Err(Fault::DEVICE)
        }

        fn allocate(&mut self, _: u64) -> Result<(), Fault> {
            Err(Fault::DEVICE)
        }
    }

    #[track_caller]
    fn check(file_bytes: u64, start: u64) {
        let stump = Stump { bytes: file_bytes, reads: Cell::new(0) };
        let layout = Layout::new(DATA_OFFSET + (1 << 30)).unwrap();
        let ground = Ground { layout, seal: Seal::new(7) };
        let mut walk = Walk::new(Mark { position: start, sequence: 1 }, start + layout.data_bytes, Vec::new());
        assert_eq!(walk.next(&stump, &ground), Ok(None));
        assert_eq!((walk.gaps, walk.gap_bytes), (1, layout.data_bytes));
        assert!(stump.reads.get() <= 8, "{} reads", stump.reads.get());
    }

    #[test]
    fn what_a_file_is_too_short_to_have_is_passed_in_one_step() {
        check(DATA_OFFSET, 0);
        check(DATA_OFFSET + 1000, 0);
        check(DATA_OFFSET + 1000, 512);
        check(DATA_OFFSET + 1000, 1 << 29);
    }
}

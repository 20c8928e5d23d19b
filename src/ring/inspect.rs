//! Looking at a ring file without touching it: list, dump, verify. It may be in use meanwhile; what is written while
//! one looks may then show as a gap.

use super::cursor::{Cursor, Mark};
use super::frame::Header;
use super::recover::{OpenError, Recovered, read_slot, recover};
use super::storage::Storage;
use super::walk::Walk;
use crate::limits::FRAME_HEADER_BYTES;
use alloc::vec::Vec;
use core::fmt;

/// What a ring file holds.
#[derive(Debug, Clone)]
pub struct Look {
    /// What recovery makes of it.
    pub recovered: Recovered,
    /// The two slots as they stand; `None`: never written, or damaged.
    pub slots: [Option<Cursor>; 2],
    /// Bytes of the file as it is; less than the ring's own size if it was cut short.
    pub file_bytes: u64,
}

/// One frame, for [`dump`].
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// Where it stands.
    pub at: Mark,
    /// Where in the file it begins.
    pub offset: u64,
    /// Stream, flags, times.
    pub header: Header,
    /// The record.
    pub payload: &'a [u8],
    /// Whether it still waits to be delivered, to one destination at least.
    pub pending: bool,
}

/// Reads a ring file's header, slots and frames. Memory: one window. Errors as opening it would give.
pub fn look<S: Storage>(storage: &S) -> Result<Look, OpenError> {
    let recovered = recover(storage, 0, &mut Vec::new())?;
    let slots = [read_slot(storage, 0)?, read_slot(storage, 1)?];
    Ok(Look { recovered, slots, file_bytes: storage.file_bytes()? })
}

/// Shows every frame that is kept, oldest first, until `each` says `false`.
pub fn dump<S: Storage>(storage: &S, mut each: impl FnMut(&Shown<'_>) -> bool) -> Result<(), OpenError> {
    let Recovered { ground, cursor, .. } = recover(storage, 0, &mut Vec::new())?;
    let mut walk = Walk::new(cursor.tail, cursor.head.position, Vec::new());
    while let Some(found) = walk.next(storage, &ground)? {
        let shown = Shown {
            at: found.at,
            offset: ground.layout.offset(found.at.position),
            header: found.header,
            payload: walk.frame().get(FRAME_HEADER_BYTES..).unwrap_or_default(),
            pending: cursor.waiting_for(&found).next().is_some(),
        };
        if !each(&shown) {
            break;
        }
    }
    Ok(())
}

impl Look {
    /// What is wrong with the file, a sentence each; empty: nothing. A slot never written is not wrong.
    pub fn problems(&self) -> Vec<Problem> {
        let recovered = &self.recovered;
        let mut problems = Vec::new();
        if recovered.header_damaged {
            problems.push(Problem::HeaderDamaged);
        }
        if recovered.slot.is_none() {
            problems.push(Problem::NoSlot);
        }
        if self.file_bytes < recovered.ground.layout.file_bytes {
            problems.push(Problem::CutShort { file_bytes: self.file_bytes });
        }
        if recovered.gaps > 0 {
            problems.push(Problem::Gaps { places: recovered.gaps, bytes: recovered.gap_bytes });
        }
        if recovered.missing > 0 {
            problems.push(Problem::Missing { records: recovered.missing });
        }
        problems
    }

    /// Writes what `omsd ring list` shows. `name` tells the streams' names.
    pub fn write_to<W: fmt::Write>(&self, out: &mut W, name: impl Fn(u8) -> &'static str) -> fmt::Result {
        let Recovered { ground, cursor, frames, pending, .. } = &self.recovered;
        let used = cursor.head.position - cursor.tail.position;
        writeln!(out, "size       {} bytes, {} for frames", ground.layout.file_bytes, ground.layout.data_bytes)?;
        writeln!(out, "kept       {frames} frames, {used} bytes")?;
        writeln!(out, "sequences  {} to {}", cursor.tail.sequence, cursor.head.sequence - 1)?;
        let flows =
            cursor.accounts.iter().flat_map(|account| (0u8..).zip(&account.streams).map(move |it| (account, it)));
        let mut shown = "";
        for ((account, (number, state)), pending) in flows.zip(pending) {
            let counters = &state.counters;
            if counters.received == 0 && counters.lost() == 0 {
                continue;
            }
            if account.name != shown {
                let removed = if account.in_use { "" } else { " (removed)" };
                writeln!(out, "to {}{removed}", account.name)?;
                shown = &account.name;
            }
            writeln!(out, "{}", name(number))?;
            writeln!(out, "  pending {} records, {} bytes", pending.records, pending.bytes)?;
            writeln!(
                out,
                "  received {} sent {} sent_again {}",
                counters.received, counters.sent, counters.sent_again
            )?;
            writeln!(
                out,
                "  overwritten {} corrupt {} refused {} discarded {} dropped {} malformed {} cut {}",
                counters.overwritten,
                counters.corrupt,
                counters.refused,
                counters.discarded,
                counters.dropped,
                counters.malformed,
                counters.cut
            )?;
            if state.retry.attempts > 0 {
                let retry = &state.retry;
                writeln!(out, "  failed {} times, last reason {}", retry.attempts, retry.reason)?;
            }
        }
        Ok(())
    }
}

/// Something that is wrong with a ring file. Opening it mends all of these, or counts what is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// A copy of the header is damaged.
    HeaderDamaged,
    /// Neither slot can be read: what was delivered will be delivered again.
    NoSlot,
    /// The file is shorter than it was made.
    CutShort {
        /// Its size now.
        file_bytes: u64,
    },
    /// Between the oldest frame and the newest there are places without one.
    Gaps {
        /// How many places.
        places: u64,
        /// How many bytes they span.
        bytes: u64,
    },
    /// Records that are known to have been kept are not there.
    Missing {
        /// How many.
        records: u64,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::HeaderDamaged => f.write_str("one copy of the header is damaged"),
            Problem::NoSlot => f.write_str("no cursor slot can be read"),
            Problem::CutShort { file_bytes } => write!(f, "the file was cut short to {file_bytes} bytes"),
            Problem::Gaps { places, bytes } => write!(f, "{places} places without a frame, {bytes} bytes in all"),
            Problem::Missing { records } => write!(f, "{records} records are missing"),
        }
    }
}

//! What a ring file holds, found again from its bytes. Reads only; the story is told in [`super::frame`].

use super::cursor::{Cursor, FLOW_NUMBERS, Loss, Mark, SLOT_BYTES, StreamState, flow};
use super::file::Pending;
use super::frame::{NUMBER_MAX, Seal, is_for};
use super::layout::{FileHeader, HEADER_BYTES, HEADER_OFFSETS, Layout, Parsed, SLOT_OFFSETS, VERSION};
use super::storage::{Fault, Storage};
use super::walk::{Found, Ground, Walk};
use alloc::vec::Vec;
use core::fmt;

/// Why a file cannot be opened as a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenError {
    /// The disk's fault, and perhaps gone the next time.
    Fault(Fault),
    /// Empty, or nothing but zeros where header and slots stand: there was never a ring. [`super::Ring::open`] makes
    /// one.
    Blank,
    /// Something else's file.
    NotARing,
    /// A ring in a format of this number, which this program does not read.
    OtherVersion(u32),
    /// It was a ring, but neither header nor slot can be read.
    Damaged,
    /// The size asked for, in bytes, is too small for a ring.
    TooSmall(u64),
}

impl OpenError {
    /// The file is no ring that any program could open: it must make way for a new one. One of another format is not meant: who goes
    /// back to an older version wants the records of the newer one to be there when he changes his mind.
    pub fn is_foreign(&self) -> bool {
        matches!(self, OpenError::NotARing | OpenError::Damaged)
    }
}

impl From<Fault> for OpenError {
    fn from(fault: Fault) -> OpenError {
        OpenError::Fault(fault)
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Fault(fault) => fault.fmt(f),
            OpenError::Blank => f.write_str("the file is blank"),
            OpenError::NotARing => f.write_str("the file is not a ring"),
            OpenError::OtherVersion(version) => {
                write!(
                    f,
                    "the ring has format {version}, this program reads up to {VERSION}: start the version that made it, or move it away"
                )
            }
            OpenError::Damaged => f.write_str("header and cursor slots are damaged"),
            OpenError::TooSmall(bytes) => write!(f, "{bytes} bytes are too few for a ring"),
        }
    }
}

/// A ring as its bytes say it is.
#[derive(Debug, Clone)]
pub struct Recovered {
    /// How to find one's way in the file.
    pub ground: Ground,
    /// The newest slot, brought up to date with the frames found.
    pub cursor: Cursor,
    /// Which slot that was; `None`: neither was readable.
    pub slot: Option<usize>,
    /// Pending frames of each flow.
    pub pending: [Pending; FLOW_NUMBERS],
    /// True if the slot does not say all that was found out, and had better be written before anything is overwritten.
    pub changed: bool,
    /// True if a copy of the header is damaged.
    pub header_damaged: bool,
    /// True if the header has to be written again: damaged, or of the format before this.
    pub header_outdated: bool,
    /// Frames kept, pending or settled.
    pub frames: u64,
    /// Places between tail and head where no frame stands, each of any length.
    pub gaps: u64,
    /// Bytes in these places.
    pub gap_bytes: u64,
    /// Records that the slot knew and the walk did not find.
    pub missing: u64,
}

/// Finds out what the file holds. `now_us` is the time given to losses whose own is unknown. `window` is memory to use.
pub fn recover<S: Storage>(storage: &S, now_us: u64, window: &mut Vec<u8>) -> Result<Recovered, OpenError> {
    let slots = [read_slot(storage, 0)?, read_slot(storage, 1)?];
    let (header, state) = read_header(storage, &slots)?;
    let layout = Layout::new(header.file_bytes).ok_or(OpenError::Damaged)?;
    let ground = Ground { layout, seal: Seal::new(header.salt) };
    let ours = slots.map(|slot| slot.filter(|s| s.salt == header.salt && s.file_bytes == header.file_bytes));
    let slot = newest(&ours);
    let cursor = match slot {
        Some(index) => ours.into_iter().nth(index).flatten(),
        None => None,
    };
    let cursor = cursor.unwrap_or_else(|| Cursor::new(header.salt, header.file_bytes, header.created_us));
    let survey = Survey::take(storage, &ground, &cursor, window)?;
    let recovered = survey.into_recovered(ground, cursor, slot, state, now_us);
    // A file made by hand could leave no room to count on.
    let Cursor { generation, head, .. } = recovered.cursor;
    let absurd = [generation, head.position, head.sequence].into_iter().any(|number| number > NUMBER_MAX / 2);
    if absurd { Err(OpenError::Damaged) } else { Ok(recovered) }
}

fn newest(slots: &[Option<Cursor>; 2]) -> Option<usize> {
    let generation = |index: usize| slots[index].as_ref().map(|slot| slot.generation);
    (0..2).filter(|&index| slots[index].is_some()).max_by_key(|&index| generation(index))
}

/// What one slot says, if it says anything.
pub fn read_slot<S: Storage>(storage: &S, index: usize) -> Result<Option<Cursor>, Fault> {
    let mut bytes = [0; SLOT_BYTES];
    storage.read_at(SLOT_OFFSETS[index], &mut bytes)?;
    Ok(Cursor::decode(&bytes))
}

/// How the header's copies were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copies {
    Good,
    /// Whole, but not both of this format.
    Earlier,
    Damaged,
}

/// The header, from a good copy or else from a slot.
fn read_header<S: Storage>(storage: &S, slots: &[Option<Cursor>; 2]) -> Result<(FileHeader, Copies), OpenError> {
    let mut copies = [Parsed::Blank; 2];
    for (copy, offset) in copies.iter_mut().zip(HEADER_OFFSETS) {
        let mut bytes = [0; HEADER_BYTES];
        storage.read_at(offset, &mut bytes)?;
        *copy = FileHeader::parse(&bytes);
    }
    let headers = copies.map(|copy| match copy {
        Parsed::Good(header) | Parsed::Earlier(header) => Some(header),
        _ => None,
    });
    if let Some(header) = headers[0].or(headers[1]) {
        let state = match copies {
            _ if headers[0] != headers[1] => Copies::Damaged,
            [Parsed::Good(_), Parsed::Good(_)] => Copies::Good,
            _ => Copies::Earlier,
        };
        return Ok((header, state));
    }
    // A later format may well have slots that look like ours.
    if let [Parsed::OtherVersion(version), Parsed::OtherVersion(other)] = copies
        && version == other
    {
        return Err(OpenError::OtherVersion(version));
    }
    if let Some(slot) = newest(slots).and_then(|index| slots[index].as_ref()) {
        return Ok((
            FileHeader { file_bytes: slot.file_bytes, salt: slot.salt, created_us: slot.created_us },
            Copies::Damaged,
        ));
    }
    Err(match copies {
        [Parsed::Blank, Parsed::Blank] => OpenError::Blank,
        [Parsed::Foreign, Parsed::Foreign] | [Parsed::Foreign, Parsed::Blank] => OpenError::NotARing,
        _ => OpenError::Damaged,
    })
}

/// What a walk around the whole ring found.
#[derive(Default)]
struct Survey {
    first: Option<Mark>,
    end: Option<Mark>,
    fell: bool,
    frames: u64,
    gaps: u64,
    gap_bytes: u64,
    unattributed: u64,
    /// Frames that are for no destination that is known.
    orphans: u64,
    known: [u64; FLOW_NUMBERS],
    pending: [Pending; FLOW_NUMBERS],
    next: [Option<Mark>; FLOW_NUMBERS],
}

impl Survey {
    /// Walks from the slot's tail. If the sequence falls on the way, the frames after the fall are older than those
    /// before it: the newest ends where the head is, and the walk is taken again from there.
    fn take<S: Storage>(storage: &S, ground: &Ground, cursor: &Cursor, window: &mut Vec<u8>) -> Result<Survey, Fault> {
        let survey = Survey::once(storage, ground, cursor, cursor.tail.position, window)?;
        match survey.end {
            Some(end) if survey.fell => {
                let again = Survey::once(storage, ground, cursor, end.position, window)?;
                Ok(Survey { fell: true, ..again })
            }
            _ => Ok(survey),
        }
    }

    fn once<S: Storage>(
        storage: &S,
        ground: &Ground,
        cursor: &Cursor,
        start: u64,
        window: &mut Vec<u8>,
    ) -> Result<Survey, Fault> {
        let from = Mark { position: start, sequence: cursor.tail.sequence };
        let mut walk = Walk::new(from, start + ground.layout.data_bytes, core::mem::take(window));
        let mut survey = Survey::default();
        let mut walked = Ok(());
        loop {
            match walk.next(storage, ground) {
                Ok(Some(found)) => survey.note(cursor, &found, &walk),
                Ok(None) => break,
                Err(fault) => {
                    walked = Err(fault);
                    break;
                }
            }
        }
        survey.fell = walk.fallen > 0;
        *window = walk.into_window();
        walked.map(|()| survey)
    }

    fn note(&mut self, cursor: &Cursor, found: &Found, walk: &Walk) {
        self.frames += 1;
        self.gaps = walk.gaps;
        self.gap_bytes = walk.gap_bytes;
        let expected = self.end.map_or(cursor.head.sequence, |end| end.sequence).max(cursor.head.sequence);
        self.unattributed += found.at.sequence.saturating_sub(expected);
        self.first.get_or_insert(found.at);
        self.end = Some(found.end);
        let stream = found.header.stream;
        let mut wanted = false;
        for (place, account) in cursor.accounts.iter().enumerate() {
            let index = usize::from(flow(place, stream));
            let Some(state) = account.streams.get(usize::from(stream)) else { continue };
            if !account.in_use || !is_for(found.header.flags, place) {
                continue;
            }
            wanted = true;
            if found.at.sequence >= state.next.sequence {
                self.pending[index].add(found.header.padded_bytes() as u64);
                self.known[index] += u64::from(found.at.sequence < cursor.head.sequence);
                self.next[index].get_or_insert(found.at);
            }
        }
        self.orphans += u64::from(!wanted);
    }

    fn into_recovered(
        self,
        ground: Ground,
        mut cursor: Cursor,
        slot: Option<usize>,
        copies: Copies,
        now_us: u64,
    ) -> Recovered {
        let before = cursor.clone();
        if let (Some(first), Some(end)) = (self.first, self.end) {
            cursor.tail = first;
            cursor.head = Mark { position: end.position, sequence: end.sequence.max(cursor.head.sequence) };
        } else {
            cursor.tail = cursor.head;
        }
        let lost = if slot.is_some() { self.unattributed } else { self.orphans };
        cursor.lost_unattributed = cursor.lost_unattributed.saturating_add(lost);
        let loss = if self.fell { Loss::Overwritten } else { Loss::Corrupt };
        let mut missing = 0_u64;
        let streams = cursor.accounts.iter_mut().flat_map(|account| &mut account.streams);
        for (index, stream) in streams.enumerate() {
            let lost = account(stream, self.known[index], self.pending[index], loss, now_us);
            missing = missing.saturating_add(lost);
            stream.next = self.next[index].unwrap_or(cursor.head);
        }
        Recovered {
            ground,
            changed: slot.is_none() || missing > 0 || cursor.tail != before.tail || self.unattributed > 0,
            cursor,
            slot,
            pending: self.pending,
            header_damaged: copies == Copies::Damaged,
            header_outdated: copies != Copies::Good,
            frames: self.frames,
            gaps: self.gaps,
            gap_bytes: self.gap_bytes,
            missing,
        }
    }
}

/// Brings a flow's counters in line with its frames: what its slot knew (`known` of them were found) and what came
/// later. Returns how many are missing.
fn account(stream: &mut StreamState, known: u64, pending: Pending, loss: Loss, now_us: u64) -> u64 {
    let in_slot = stream.counters.received.saturating_sub(stream.counters.settled());
    let missing = in_slot.saturating_sub(known);
    stream.lose(loss, missing, now_us);
    stream.counters.received = stream.counters.settled().saturating_add(pending.records);
    missing
}

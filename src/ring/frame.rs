//! One frame's bytes, and the format of the whole ring file.
//!
//! # The file
//!
//! All numbers are little-endian. Nothing is left to a serializer; every byte is named here.
//!
//! ```text
//!      0  header, two copies            (at 0 and 2048, 48 bytes each; written once, when the file is made)
//!   4096  cursor slot A                 (384 to 4096 bytes used)
//!   8192  cursor slot B
//!  12288  data area                     (to the end of the file, rounded down to a multiple of 8)
//! ```
//!
//! The file has its full size from the start and never grows.
//!
//! **Header copy.** 0 magic `omsdring` · 8 version u32 (2) · 12 zero u32 · 16 file size u64 · 24 salt u64 · 32 time
//! made, µs u64 · 40 zero u32 · 44 CRC-32 of bytes 0..44. Magic and version are read before the checksum, so that a
//! later format can be named. One good copy is enough; the other is repaired. If both are bad, a good cursor slot
//! stands in: it repeats size and salt.
//!
//! **Cursor slot.** 0 magic `omsdflow` · 8 generation u64 · 16 salt u64 · 24 file size u64 · 32 tail position u64 · 40
//! tail sequence u64 · 48 head position u64 · 56 head sequence u64 · 64 lost, flow unknown u64 · 72 time made, µs u64
//! · 80 number of flows u8 · 81 number of destinations u8 · 82 zeros · 124 CRC-32 of bytes 0..124 and 128 to the end of the
//! flows · 128 four destinations of 64 bytes each · 384 the flows, 232 bytes each; both laid out in [`super::cursor`]. Flows to which
//! nothing ever happened are left out. The valid slot with the higher generation counts. Between two syncs only one of the slots is
//! written, and it is the one whose contents are older than the last sync: whatever a power cut makes of it, the other
//! is whole. A slot lies in one page, so that a kill leaves it as it was or whole.
//!
//! **Destinations.** A frame is stored once. Each destination has a place, 0 to 3, that stays the same as long as it is
//! configured, and for each stream a mark from which on frames wait for it. It is recognised by the hash of its name. A new one
//! begins at the head. One that is gone gives its frames up, and its place when another needs it.
//!
//! **Format 1** had one destination. Its header says 1 and its slots begin with `omsdslot`: the same up to byte 80, then zeros to
//! the CRC-32, then at 128 eight streams of 256 bytes each, the first 232 as a flow's (whose place is 0). Such a file is
//! opened as it is: the slot that is written next is a new one, then, once that is synced, the header. Both kinds of slots are read
//! whatever the header says, so a crash in between changes nothing.
//!
//! **Positions.** A position is a number of bytes ever appended; the byte at position `p` lies at file offset
//! 12288 + `p` mod size of the data area. A frame may run over the end of the area and continue at its beginning.
//! Frames from the tail to the head are kept; what lies between head and tail is stale and will be written over.
//!
//! # A frame
//!
//! ```text
//!      0  mark u16        the salt's lowest 16 bits: a cheap first look, which hostile payloads cannot fake in bulk
//!      2  stream u8       0 to 7
//!      3  flags u8        bit 0: the message was longer than the limit and was cut; bit 4 + n: not for the destination at place n
//!      4  length u32      of the payload, bytes
//!      8  sequence u64    all streams together, from 1, growing along the ring; numbers may be missing
//!     16  received u64    µs since 1970
//!     24  CRC-32 u32      of: salt u64 · file offset of this frame u64 · bytes 0..24 · payload
//!     28  payload, then zeros to a multiple of 8
//! ```
//!
//! Mark, stream, length and sequence are read before the checksum, only to see whether it is worth computing. Salt and
//! offset in the checksum make three kinds of bytes no frame: one forged inside a message, one copied from another
//! place, and one left by an earlier file. A stale frame of this file at its own place is told by its sequence.
//!
//! # Life of a frame
//!
//! 1. *Appended*: in memory.
//! 2. *Committed*: written; survives the death of the process.
//! 3. *Synced*: survives a power cut.
//! 4. *Handed* to an upload, perhaps several times.
//! 5. *Settled*: the `next` mark of each of its flows has passed it (sent, refused, discarded).
//! 6. *Overwritten*: the tail has passed it. The tail in the slot moves before the bytes are written over. A frame that
//!    reaches this without being settled is counted, in each flow that still waited for it.
//!
//! # After a crash
//!
//! Frames are found again by walking, from the slot's tail once around the area. Where no valid frame stands, the walk
//! goes on 8 bytes further; that covers torn, dropped and reordered writes and flipped bits alike. Of the frames it
//! finds:
//!
//! - sequence below the slot's tail: stale;
//! - growing from one to the next: kept; pending in those of its flows whose `next` mark has not passed it;
//! - a fall in the middle means that newer frames had already been written over the tail before the slot that said so
//!   reached the disk. The end of the newest frame is then the head, and a second walk starts there: physical order
//!   from the head is order of age.
//!
//! What the slot knew as pending and the walk did not find is counted: overwritten after a fall, otherwise corrupt.
//! Numbers missing among frames newer than the slot are counted without a flow. Frames after the last sync that left
//! no trace are not counted: nothing says that they were there. If neither slot can be read, nobody knows the destinations: all
//! frames are pending again for the first; those that are not for the place 0 are counted without a flow.

use super::layout::{read_u32, read_u64};
use crate::limits::{DESTINATIONS_MAX, FRAME_ALIGN_BYTES, FRAME_HEADER_BYTES, STREAMS_MAX};
use alloc::vec::Vec;
use crc32fast::Hasher;

/// Flag: the message was longer than the limit; what is here is its beginning.
pub const CUT: u8 = 1;
/// Shift of the flags that keep a frame from destinations.
const EXCEPT_SHIFT: u32 = 4;

const _: () = assert!(EXCEPT_SHIFT as usize + DESTINATIONS_MAX == 8);

/// The flags that keep a frame from the destinations at these places: bit n is place n.
pub fn except(places: u8) -> u8 {
    places << EXCEPT_SHIFT
}

/// Whether a frame with these flags is for the destination at this place.
pub fn is_for(flags: u8, place: usize) -> bool {
    flags >> EXCEPT_SHIFT >> place & 1 == 0
}

/// Sequences and positions at or above this are taken for damage: 146,000 years at a million a second.
pub const NUMBER_MAX: u64 = 1 << 62;

/// What stands in front of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Which stream, 0 to 7.
    pub stream: u8,
    /// See [`CUT`] and [`except`].
    pub flags: u8,
    /// Bytes of the payload.
    pub length: u32,
    /// Number of the frame, all streams together.
    pub sequence: u64,
    /// When the record was received, µs since 1970.
    pub received_us: u64,
}

impl Header {
    /// Header and payload, bytes.
    pub fn frame_bytes(&self) -> usize {
        FRAME_HEADER_BYTES.saturating_add(self.length as usize) // a hostile length, 32-bit addresses
    }

    /// Bytes in the ring: header, payload, padding.
    pub fn padded_bytes(&self) -> usize {
        self.frame_bytes().next_multiple_of(FRAME_ALIGN_BYTES)
    }
}

/// Takes the first frame off a piece of a chunk, as [`super::Ring::next_piece`] made it: header, payload, what follows.
/// Frames stand there without padding. `None`: not a whole frame yet.
pub fn split(piece: &[u8]) -> Option<(Header, &[u8], &[u8])> {
    let header = read(piece.first_chunk()?);
    let rest = &piece[FRAME_HEADER_BYTES..];
    let length = usize::try_from(header.length).ok().filter(|&length| length <= rest.len())?;
    let (payload, rest) = rest.split_at(length);
    Some((header, payload, rest))
}

fn read(bytes: &[u8; FRAME_HEADER_BYTES]) -> Header {
    Header {
        stream: bytes[2],
        flags: bytes[3],
        length: read_u32(bytes, 4),
        sequence: read_u64(bytes, 8),
        received_us: read_u64(bytes, 16),
    }
}

/// What makes frames of one file its own: made from the salt once, used for every frame.
#[derive(Debug, Clone)]
pub struct Seal {
    mark: [u8; 2],
    salted: Hasher,
}

impl Seal {
    /// The seal of a file with this salt.
    pub fn new(salt: u64) -> Seal {
        let bytes = salt.to_le_bytes();
        let mut salted = Hasher::new();
        salted.update(&bytes);
        Seal { mark: [bytes[0], bytes[1]], salted }
    }

    /// Adds a frame, padded, to the end of `buffer`. It will stand at file offset `offset`. `header.length` is the sum
    /// of the parts.
    pub fn encode(&self, buffer: &mut Vec<u8>, offset: u64, header: &Header, parts: &[&[u8]]) {
        let mut bytes = [0; 8 + FRAME_HEADER_BYTES];
        bytes[..8].copy_from_slice(&offset.to_le_bytes());
        bytes[8..10].copy_from_slice(&self.mark);
        bytes[10] = header.stream;
        bytes[11] = header.flags;
        bytes[12..16].copy_from_slice(&header.length.to_le_bytes());
        bytes[16..24].copy_from_slice(&header.sequence.to_le_bytes());
        bytes[24..32].copy_from_slice(&header.received_us.to_le_bytes());
        let mut crc = self.salted.clone();
        crc.update(&bytes[..32]);
        parts.iter().for_each(|part| crc.update(part));
        bytes[32..].copy_from_slice(&crc.finalize().to_le_bytes());
        buffer.extend_from_slice(&bytes[8..]);
        parts.iter().for_each(|part| buffer.extend_from_slice(part));
        let padding = header.padded_bytes() - header.frame_bytes();
        buffer.extend_from_slice(&[0; FRAME_ALIGN_BYTES][..padding]);
    }

    /// The header at the beginning of `bytes` if it could be one: right mark, stream and sequence in range. Not yet
    /// checked.
    pub fn peek(&self, bytes: &[u8]) -> Option<Header> {
        let bytes: &[u8; FRAME_HEADER_BYTES] = bytes.first_chunk()?;
        if !self.marks(bytes) {
            return None;
        }
        let header = read(bytes);
        let sane = usize::from(header.stream) < STREAMS_MAX && (1..NUMBER_MAX).contains(&header.sequence);
        sane.then_some(header)
    }

    /// Whether `bytes` begin with the mark.
    pub fn marks(&self, bytes: &[u8]) -> bool {
        bytes.starts_with(&self.mark)
    }

    /// Whether `frame` (header and payload) is whole and stands where it was written, at file offset `offset`.
    pub fn holds(&self, offset: u64, frame: &[u8]) -> bool {
        let Some((header, payload)) = frame.split_at_checked(FRAME_HEADER_BYTES) else { return false };
        let mut crc = self.salted.clone();
        crc.update(&offset.to_le_bytes());
        crc.update(&header[..24]);
        crc.update(payload);
        crc.finalize() == read_u32(header, 24)
    }
}

/// CRC-32 (IEEE) of all parts, one after the other.
pub fn checksum(parts: &[&[u8]]) -> u32 {
    let mut crc = Hasher::new();
    parts.iter().for_each(|part| crc.update(part));
    crc.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(seal: &Seal, offset: u64, parts: &[&[u8]]) -> (Header, Vec<u8>) {
        let length = u32::try_from(parts.iter().map(|part| part.len()).sum::<usize>()).unwrap();
        let header = Header { stream: 3, flags: CUT, length, sequence: 77, received_us: 1_700_000_000_000_000 };
        let mut buffer = Vec::new();
        seal.encode(&mut buffer, offset, &header, parts);
        (header, buffer)
    }

    #[track_caller]
    fn check(parts: &[&[u8]]) {
        let seal = Seal::new(0x1234_5678_9abc_def0);
        let (header, bytes) = frame(&seal, 4096, parts);
        assert_eq!(bytes.len(), header.padded_bytes());
        assert_eq!(bytes.len() % FRAME_ALIGN_BYTES, 0);
        assert_eq!(seal.peek(&bytes), Some(header));
        let whole = &bytes[..header.frame_bytes()];
        assert!(seal.holds(4096, whole));
        assert!(!seal.holds(4104, whole), "another place");
        assert!(!Seal::new(0xffff_5678_9abc_def0).holds(4096, whole), "another file");
        assert_eq!(split(whole), Some((header, &parts.concat()[..], &b""[..])));
        assert_eq!(split(&whole[..whole.len() - 1]), None);
    }

    #[test]
    fn what_is_encoded_is_found_again_only_at_its_place_and_in_its_file() {
        check(&[]);
        check(&[b"x"]);
        check(&[b"\x04\x7f\0\0\x01", b"<13>text"]);
        check(&[&[0xff; 70_000]]);
    }

    #[test]
    fn every_flipped_bit_of_a_frame_is_noticed() {
        let seal = Seal::new(99);
        let (header, good) = frame(&seal, 0, &[b"hello, world"]);
        for bit in 0..header.frame_bytes() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let intact = seal
                .peek(&bytes)
                .is_some_and(|seen| bytes.get(..seen.frame_bytes()).is_some_and(|frame| seal.holds(0, frame)));
            assert!(!intact, "bit {bit}");
        }
    }

    #[test]
    fn a_frame_forged_in_a_payload_does_not_hold() {
        let theirs = frame(&Seal::new(1), 28, &[b"<0>forged"]).1;
        let seal = Seal::new(2);
        let (_, bytes) = frame(&seal, 0, &[&theirs]);
        assert!(!seal.holds(28, &bytes[28..28 + 28 + 9]));
    }
}

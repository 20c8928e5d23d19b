//! The file's header, and where a position of the ring lies in the file. Source: the format document in
//! [`super::frame`].

use crate::limits::{FRAME_ALIGN_BYTES, FRAME_BYTES_MAX, RING_BYTES_MAX};
use core::ops::Range;

/// First bytes of every ring file.
pub const MAGIC: [u8; 8] = *b"omsdring";
/// The format this program writes.
pub const VERSION: u32 = 2;
/// The format before it, which knew one destination: its cursor slots are other, all else is the same.
pub const VERSION_1: u32 = 1;
/// Where the header's two copies begin.
pub const HEADER_OFFSETS: [u64; 2] = [0, 2048];
/// Bytes of one copy of the header.
pub const HEADER_BYTES: usize = 48;
/// Where the two cursor slots begin.
pub const SLOT_OFFSETS: [u64; 2] = [4096, 8192];
/// Where the data area begins.
pub const DATA_OFFSET: u64 = 12288;
/// Smallest data area that makes sense: some frames of a few bytes. Real rings are far larger.
pub const DATA_BYTES_MIN: u64 = 256;

/// Alignment of frames, as a length.
pub const ALIGN: u64 = FRAME_ALIGN_BYTES as u64;

/// How a ring file of one size is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Bytes of the whole file.
    pub file_bytes: u64,
    /// Bytes of the data area, a multiple of [`ALIGN`].
    pub data_bytes: u64,
}

impl Layout {
    /// The division of a file of `file_bytes`; `None` if that is too small to hold anything, or above [`RING_BYTES_MAX`].
    pub fn new(file_bytes: u64) -> Option<Layout> {
        let data_bytes = file_bytes.checked_sub(DATA_OFFSET)? / ALIGN * ALIGN;
        (data_bytes >= DATA_BYTES_MIN && file_bytes <= RING_BYTES_MAX).then_some(Layout { file_bytes, data_bytes })
    }

    /// Where in the file the byte at this position of the ring lies.
    pub fn offset(&self, position: u64) -> u64 {
        DATA_OFFSET + position % self.data_bytes
    }

    /// The largest frame, padding included: half of the data area, so that one append never takes a whole ring.
    pub fn frame_bytes_max(&self) -> usize {
        usize::try_from(self.data_bytes / 2 / ALIGN * ALIGN).unwrap_or(FRAME_BYTES_MAX).min(FRAME_BYTES_MAX)
    }

    /// The one or two places in the file of `length` bytes at `position`: offset, and which of the bytes lie there.
    /// `length` is at most the data area's.
    pub fn places(&self, position: u64, length: usize) -> impl Iterator<Item = (u64, Range<usize>)> {
        let to_end = self.data_bytes - position % self.data_bytes;
        let first = usize::try_from(to_end).unwrap_or(usize::MAX).min(length);
        let offset = self.offset(position);
        [(offset, 0..first), (DATA_OFFSET, first..length)].into_iter().filter(|(_, range)| !range.is_empty())
    }
}

/// What the header says: fixed when the file is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileHeader {
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Random; part of every frame's checksum, so that bytes from elsewhere never pass for a frame of this file.
    pub salt: u64,
    /// When the file was made, µs since 1970.
    pub created_us: u64,
}

/// What stands where a header should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// A header of this format.
    Good(FileHeader),
    /// A header of format 1, which is read and then written anew.
    Earlier(FileHeader),
    /// A ring file's header, in a format of this number.
    OtherVersion(u32),
    /// Begins like a ring file, but the checksum is wrong.
    Damaged,
    /// Nothing but zeros: never written.
    Blank,
    /// Something else.
    Foreign,
}

impl FileHeader {
    /// One copy's bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.file_bytes.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.salt.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.created_us.to_le_bytes());
        let crc = super::frame::checksum(&[&bytes[..44]]);
        bytes[44..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// What one copy says. Magic and version are read before the checksum: every version begins with these two.
    pub fn parse(bytes: &[u8; HEADER_BYTES]) -> Parsed {
        if bytes.iter().all(|&byte| byte == 0) {
            return Parsed::Blank;
        }
        if bytes[..8] != MAGIC {
            return Parsed::Foreign;
        }
        if super::frame::checksum(&[&bytes[..44]]) != read_u32(bytes, 44) {
            let version = read_u32(bytes, 8);
            let ours = version == VERSION || version == VERSION_1;
            return if ours { Parsed::Damaged } else { Parsed::OtherVersion(version) };
        }
        let header =
            FileHeader { file_bytes: read_u64(bytes, 16), salt: read_u64(bytes, 24), created_us: read_u64(bytes, 32) };
        match read_u32(bytes, 8) {
            VERSION => Parsed::Good(header),
            VERSION_1 => Parsed::Earlier(header),
            version => Parsed::OtherVersion(version),
        }
    }
}

/// The little-endian number at `at`; 0 beyond the end.
pub fn read_u64(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |&chunk| u64::from_le_bytes(chunk))
}

/// The little-endian number at `at`; 0 beyond the end.
pub fn read_u32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |&chunk| u32::from_le_bytes(chunk))
}

/// The little-endian number at `at`; 0 beyond the end.
pub fn read_u16(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |&chunk| u16::from_le_bytes(chunk))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[track_caller]
    fn check_places(position: u64, length: usize, expected: &[(u64, Range<usize>)]) {
        let layout = Layout::new(DATA_OFFSET + 256).unwrap();
        assert_eq!(layout.places(position, length).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn bytes_past_the_end_of_the_data_area_continue_at_its_beginning() {
        check_places(0, 256, &[(DATA_OFFSET, 0..256)]);
        check_places(248, 8, &[(DATA_OFFSET + 248, 0..8)]);
        check_places(248, 16, &[(DATA_OFFSET + 248, 0..8), (DATA_OFFSET, 8..16)]);
        check_places(256 * 7 + 8, 0, &[]);
        check_places(256 * 7 + 8, 256, &[(DATA_OFFSET + 8, 0..248), (DATA_OFFSET, 248..256)]);
    }

    #[test]
    fn a_file_too_small_for_frames_or_larger_than_any_ring_has_no_layout() {
        assert_eq!(Layout::new(0), None);
        assert_eq!(Layout::new(DATA_OFFSET + DATA_BYTES_MIN - 1), None);
        assert_eq!(Layout::new(RING_BYTES_MAX + 1), None);
        assert_eq!(Layout::new(DATA_OFFSET + 263).unwrap().data_bytes, 256);
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        let header = FileHeader { file_bytes: 10 << 20, salt: 7, created_us: 9 };
        let good = header.encode();
        assert_eq!(FileHeader::parse(&good), Parsed::Good(header));
        for bit in 0..HEADER_BYTES * 8 {
            let mut bytes = good;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(FileHeader::parse(&bytes), Parsed::Good(_)), "bit {bit}");
        }
        assert_eq!(FileHeader::parse(&[0; HEADER_BYTES]), Parsed::Blank);
        assert_eq!(FileHeader::parse(&[b'<'; HEADER_BYTES]), Parsed::Foreign);
    }

    #[test]
    fn numbers_beyond_the_end_are_zero() {
        assert_eq!(read_u64(&[1; 8], 1), 0);
        assert_eq!(read_u64(&[1; 8], 100), 0);
    }
}

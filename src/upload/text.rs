//! Bytes of JSON in the making: text goes in, escaped where it must be, whatever the bytes are.

use crate::limits::FIELD_BYTES_MAX;
use alloc::vec::Vec;

/// A buffer that grows, and that is filled by stores of eight bytes while they are looked at, not by calls to `memcpy`: an item
/// is made of some thirty short pieces, and for such musl's `memcpy` costs more than all the rest.
#[derive(Debug, Default)]
pub struct Text {
    /// Always filled to its length; the text is the first `used` bytes.
    bytes: Vec<u8>,
    used: usize,
}

const WORD: usize = size_of::<u64>();
/// Longest escape of one byte: `\u00XX`.
const ESCAPE_BYTES_MAX: usize = 6;

impl Text {
    /// What was put in.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.used]
    }

    /// Length of what was put in, in bytes.
    pub fn len(&self) -> usize {
        self.used
    }

    /// Whether nothing was put in.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Forgets what stands behind the first `bytes` bytes. The memory stays.
    pub fn truncate(&mut self, bytes: usize) {
        self.used = self.used.min(bytes);
    }

    /// Gives back memory above `bytes` and above what was put in.
    pub fn shrink_to(&mut self, bytes: usize) {
        self.bytes.truncate(self.used.max(bytes));
        self.bytes.shrink_to_fit();
    }

    /// Appends bytes as they are, of a length known when compiled.
    #[inline]
    pub fn put<const N: usize>(&mut self, piece: &[u8; N]) {
        self.make_room(N);
        if let Some(place) = self.bytes[self.used..].first_chunk_mut() {
            *place = *piece; // assigning an array is a store, where `copy_from_slice` would be a call
            self.used += N;
        }
    }

    /// Appends bytes as they are.
    pub fn put_slice(&mut self, piece: &[u8]) {
        self.make_room(piece.len());
        self.bytes[self.used..self.used + piece.len()].copy_from_slice(piece);
        self.used += piece.len();
    }

    /// Appends what stands between the quotes of a JSON string: valid UTF-8 and valid JSON whatever the bytes are.
    ///
    /// `"`, `\` and control characters are escaped, the rest is copied; each maximal part of an ill-formed sequence becomes
    /// one U+FFFD. Source: RFC 8259 section 7; Unicode 16 section 3.9.6.
    pub fn put_escaped(&mut self, bytes: &[u8]) {
        self.make_room(bytes.len() * ESCAPE_BYTES_MAX + WORD);
        let mut rest = bytes;
        while let Some(first) = self.put_plain(&mut rest) {
            if first < 0x80 {
                self.put_escape(first);
                rest = &rest[1..];
            } else {
                // An ASCII byte ends every sequence, also an ill-formed one: the run stands alone.
                let end = rest.iter().position(u8::is_ascii).unwrap_or(rest.len());
                self.put_beyond_ascii(&rest[..end]);
                rest = &rest[end..];
            }
        }
    }

    /// Appends a field of a row, as [`Text::put_escaped`] does: what would be longer than [`FIELD_BYTES_MAX`] where it arrives is
    /// cut between two characters, and says so at its end.
    pub fn put_field(&mut self, bytes: &[u8]) {
        const CUT: &[u8; 6] = b" [cut]";
        const REPLACEMENT_BYTES: usize = '\u{fffd}'.len_utf8();
        if bytes.len() * REPLACEMENT_BYTES <= FIELD_BYTES_MAX || arriving_bytes(bytes) <= FIELD_BYTES_MAX {
            return self.put_escaped(bytes);
        }
        self.put_escaped(&bytes[..front_bytes(bytes, FIELD_BYTES_MAX - CUT.len())]);
        self.put(CUT);
    }

    /// Copies bytes from the front of `rest` up to one that cannot stand as it is, which it gives back.
    fn put_plain(&mut self, rest: &mut &[u8]) -> Option<u8> {
        let (plain_bytes, special) = copy_plain(rest, &mut self.bytes[self.used..]);
        self.used += plain_bytes;
        *rest = &rest[plain_bytes..];
        if special { rest.first().copied() } else { None }
    }

    fn put_escape(&mut self, byte: u8) {
        const HEX: &[u8; 16] = b"0123456789ABCDEF";
        match byte {
            b'"' | b'\\' => self.put(&[b'\\', byte]),
            b'\n' => self.put(br"\n"),
            b'\t' => self.put(br"\t"),
            b'\r' => self.put(br"\r"),
            0x08 => self.put(br"\b"),
            0x0c => self.put(br"\f"),
            _ => self.put(&[b'\\', b'u', b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
        }
    }

    /// A run of bytes that are all above ASCII.
    fn put_beyond_ascii(&mut self, run: &[u8]) {
        for chunk in run.utf8_chunks() {
            self.put_slice(chunk.valid().as_bytes());
            if !chunk.invalid().is_empty() {
                self.put(b"\xef\xbf\xbd"); // U+FFFD
            }
        }
    }

    #[inline]
    fn make_room(&mut self, bytes: usize) {
        if self.bytes.len() - self.used < bytes {
            self.grow(bytes);
        }
    }

    #[cold]
    fn grow(&mut self, bytes: usize) {
        self.bytes.resize((self.used + bytes).next_power_of_two(), 0);
    }
}

/// Length of bytes once each ill-formed sequence is U+FFFD.
fn arriving_bytes(bytes: &[u8]) -> usize {
    bytes.utf8_chunks().map(|chunk| chunk.valid().len() + if chunk.invalid().is_empty() { 0 } else { 3 }).sum()
}

/// How many bytes of the front, whole characters only, are at most `bytes_max` long where they arrive.
fn front_bytes(bytes: &[u8], bytes_max: usize) -> usize {
    let (mut taken, mut room) = (0, bytes_max);
    for chunk in bytes.utf8_chunks() {
        let mut valid = chunk.valid().len().min(room);
        while !chunk.valid().is_char_boundary(valid) {
            valid -= 1;
        }
        taken += valid;
        room -= valid;
        if valid < chunk.valid().len() || room < 3 || chunk.invalid().is_empty() {
            break;
        }
        taken += chunk.invalid().len();
        room -= 3;
    }
    taken
}

/// Copies bytes up to one that cannot stand as it is: how many, and whether there is one. `to` is eight bytes longer than
/// `from`: words are stored whole, and what is too much will be overwritten.
fn copy_plain(from: &[u8], to: &mut [u8]) -> (usize, bool) {
    let (words, tail) = from.as_chunks::<WORD>();
    for (index, (word, place)) in words.iter().zip(to.as_chunks_mut().0).enumerate() {
        *place = *word;
        if let Some(at) = first_special(*word) {
            return (index * WORD + at, true);
        }
    }
    let word = padded(tail);
    let before_tail = from.len() - tail.len();
    if let Some(place) = to[before_tail..].first_chunk_mut() {
        *place = word;
    }
    first_special(word).map_or((from.len(), false), |at| (before_tail + at, true))
}

/// Fewer than eight bytes, with spaces behind them.
fn padded(tail: &[u8]) -> [u8; WORD] {
    let spaces = u64::from_le_bytes([b' '; WORD]);
    tail.iter().rev().fold(spaces, |word, &byte| word << 8 | u64::from(byte)).to_le_bytes()
}

/// Where among eight bytes the first stands that cannot stay as it is: only printable ASCII (and DEL) but `"` and `\` can.
///
/// Each test sets the high bit of the bytes it is about. Above the first of them a borrow may set more, never below.
fn first_special(word: [u8; WORD]) -> Option<usize> {
    const ONES: u64 = u64::from_le_bytes([1; WORD]);
    const HIGH: u64 = ONES << 7;
    let word = u64::from_le_bytes(word);
    let control = word.wrapping_sub(ONES * 0x20);
    let quote = (word ^ (ONES * b'"' as u64)).wrapping_sub(ONES);
    let backslash = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
    let special = (control | quote | backslash | word) & HIGH;
    (special != 0).then(|| special.trailing_zeros() as usize / 8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    fn escaped(bytes: &[u8]) -> String {
        let mut text = Text::default();
        text.put_escaped(bytes);
        String::from_utf8(Vec::from(text.as_bytes())).expect("valid UTF-8")
    }

    #[track_caller]
    fn check(bytes: &[u8], expected: &str) {
        assert_eq!(escaped(bytes), expected);
    }

    #[test]
    fn plain_text_is_copied_and_the_rest_escaped() {
        check(b"", "");
        check(b"plain text / with ~ and \x7f", "plain text / with ~ and \x7f");
        check(b"a \"b\" \\ c", r#"a \"b\" \\ c"#);
        check(b"\n\t\r\x08\x0c", r"\n\t\r\b\f");
        check(b"\0 \x01\x1b[31m \x1f", r"\u0000 \u0001\u001B[31m \u001F");
        check("ünï ✓ 漢字 🚀".as_bytes(), "ünï ✓ 漢字 🚀");
    }

    #[test]
    fn each_maximal_part_of_an_ill_formed_sequence_is_one_replacement() {
        check(b"\xff", "\u{fffd}");
        check(b"a\xe4b", "a\u{fffd}b"); // Latin-1
        check(b"\xf0\x9f\x9a", "\u{fffd}"); // cut
        check(b"\xf0\x9f\x9aA", "\u{fffd}A");
        check(b"\xc0\xaf", "\u{fffd}\u{fffd}"); // overlong
        check(b"\xed\xa0\x80", "\u{fffd}\u{fffd}\u{fffd}"); // surrogate
        check(b"\xe2\x9c\x93\x93", "✓\u{fffd}");
    }

    #[test]
    fn every_byte_at_every_offset_is_treated_as_alone() {
        for byte in 0..=255_u8 {
            let alone = escaped(&[byte]);
            for offset in 0..20 {
                let mut bytes = [b'x'; 20];
                bytes[offset] = byte;
                let expected = ["x".repeat(offset), alone.clone(), "x".repeat(19 - offset)].concat();
                assert_eq!(escaped(&bytes), expected, "byte {byte} at {offset}");
            }
        }
    }
}

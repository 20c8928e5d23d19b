//! JSON strings out of any bytes.

use alloc::vec::Vec;

/// Appends what stands between the quotes of a JSON string: valid UTF-8 and valid JSON whatever the bytes are.
///
/// `"`, `\` and control characters are escaped, the rest is copied; each maximal part of an ill-formed sequence becomes
/// one U+FFFD. Source: RFC 8259 section 7; Unicode 16 section 3.9.6.
pub fn write_escaped(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    loop {
        let (plain, special) = rest.split_at(plain_bytes(rest));
        out.extend_from_slice(plain);
        let Some(&first) = special.first() else { return };
        rest = if first < 0x80 {
            write_escape(first, out);
            &special[1..]
        } else {
            // An ASCII byte ends every sequence, also an ill-formed one: the run stands alone.
            let (run, rest) = special.split_at(special.iter().position(u8::is_ascii).unwrap_or(special.len()));
            write_beyond_ascii(run, out);
            rest
        };
    }
}

/// How many bytes at the start can be copied as they are: printable ASCII (and DEL) but `"` and `\`.
fn plain_bytes(bytes: &[u8]) -> usize {
    const WORD: usize = size_of::<u64>();
    let mut at = 0;
    while let Some(word) = bytes[at..].first_chunk::<WORD>() {
        let special = special_bytes(u64::from_le_bytes(*word));
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += WORD;
    }
    bytes[at..].iter().position(|&byte| !is_plain(byte)).map_or(bytes.len(), |more| at + more)
}

fn is_plain(byte: u8) -> bool {
    (0x20..0x80).contains(&byte) && byte != b'"' && byte != b'\\'
}

/// The high bit of each of eight bytes that is not plain. Bits above the lowest one set may be wrong (a borrow runs
/// upwards from a special byte), the lowest never is.
fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    let control = word.wrapping_sub(ONES * 0x20);
    let quote = (word ^ (ONES * b'"' as u64)).wrapping_sub(ONES);
    let backslash = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
    (control | quote | backslash | word) & HIGH
}

fn write_escape(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\t' => b't',
        b'\r' => b'r',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// A run of bytes that are all above ASCII.
fn write_beyond_ascii(run: &[u8], out: &mut Vec<u8>) {
    for chunk in run.utf8_chunks() {
        out.extend_from_slice(chunk.valid().as_bytes());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    fn escaped(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        write_escaped(bytes, &mut out);
        String::from_utf8(out).expect("valid UTF-8")
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

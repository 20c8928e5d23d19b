//! A writer of DER, as much of it as a certificate and a key need. Source: ITU-T X.690.

use alloc::vec::Vec;

/// `SEQUENCE` of finished parts.
pub fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tagged(0x30, parts)
}

/// `SET` of one finished part.
pub fn set(part: &[u8]) -> Vec<u8> {
    tagged(0x31, &[part])
}

/// `INTEGER` from big-endian bytes of an unsigned number of any length.
pub fn integer(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    let number = &number[zeros..];
    // A number whose first bit is set would read as negative, and zero still needs a byte.
    let sign: &[u8] = if number.first().is_none_or(|&first| first >= 0x80) { &[0] } else { &[] };
    tagged(0x02, &[sign, number])
}

/// `OBJECT IDENTIFIER` from its encoded arcs.
pub fn oid(encoded: &[u8]) -> Vec<u8> {
    tagged(0x06, &[encoded])
}

/// `UTF8String`
pub fn utf8(text: &str) -> Vec<u8> {
    tagged(0x0c, &[text.as_bytes()])
}

/// `OCTET STRING`
pub fn octets(bytes: &[u8]) -> Vec<u8> {
    tagged(0x04, &[bytes])
}

/// `BIT STRING` of whole bytes.
pub fn bits(bytes: &[u8]) -> Vec<u8> {
    tagged(0x03, &[&[0], bytes])
}

/// `BOOLEAN TRUE`
pub const TRUE: [u8; 3] = [0x01, 0x01, 0xff];

/// `NULL`
pub const NULL: [u8; 2] = [0x05, 0x00];

/// Any tag of one byte in front of the parts put together.
pub fn tagged(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut der = Vec::with_capacity(length + 6);
    der.push(tag);
    if length < 0x80 {
        der.extend_from_slice(&length.to_be_bytes()[size_of::<usize>() - 1..]);
    } else {
        let bytes = length.to_be_bytes();
        let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
        let bytes = &bytes[zeros..];
        der.push(0x80 + u8::try_from(bytes.len()).unwrap_or(8));
        der.extend_from_slice(bytes);
    }
    parts.iter().for_each(|part| der.extend_from_slice(part));
    der
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_as_few_bytes_as_they_can() {
        assert_eq!(tagged(0x04, &[])[..], [0x04, 0x00]);
        assert_eq!(octets(&[7; 0x7f])[..3], [0x04, 0x7f, 7]);
        assert_eq!(octets(&[7; 0x80])[..4], [0x04, 0x81, 0x80, 7]);
        assert_eq!(octets(&[7; 0x100])[..5], [0x04, 0x82, 0x01, 0x00, 7]);
    }

    #[test]
    fn integers_are_short_and_never_negative() {
        assert_eq!(integer(&[])[..], [0x02, 0x01, 0x00]);
        assert_eq!(integer(&[0, 0])[..], [0x02, 0x01, 0x00]);
        assert_eq!(integer(&[0, 0x7f])[..], [0x02, 0x01, 0x7f]);
        assert_eq!(integer(&[0x80])[..], [0x02, 0x02, 0x00, 0x80]);
    }
}

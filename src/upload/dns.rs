//! DNS questions and answers as bytes. Source: RFC 1035 section 4; RFC 6891 for the extension.
//!
//! What asks, and whom, is `https/names.rs`.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Largest answer over UDP that we say we take: below the path MTU of any network, so that it is never fragmented.
pub const UDP_BYTES_MAX: usize = 1232;
const _: () = assert!(UDP_BYTES_MAX <= u16::MAX as usize); // as it stands in a question
/// Identification, flags, four counts.
const HEADER_BYTES: usize = 12;
const INTERNET: u16 = 1;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// `A`
    V4 = 1,
    /// `AAAA`
    V6 = 28,
}

/// What a name server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Every address of the kind in the answer, aliases followed by the server. None: the name has none of this kind.
    Addresses(Vec<IpAddr>),
    /// There is more than fits: ask again over TCP. Holds what did fit.
    Truncated(Vec<IpAddr>),
    /// There is no such name.
    NoSuchName,
    /// The server cannot say. Holds its code: 1 it does not understand the question, 2 it has a problem, 5 it refuses.
    Failed(u8),
}

/// The question; recursion is asked for. `extended`: answers may have [`UDP_BYTES_MAX`] bytes, which some old servers do not
/// understand. `None` for what is no name: an empty part, one above 63 bytes, more than 253 in all.
pub fn question(id: [u8; 2], name: &str, kind: Kind, extended: bool) -> Option<Vec<u8>> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.len() > 253 {
        return None;
    }
    let mut bytes = Vec::with_capacity(HEADER_BYTES + name.len() + 17);
    bytes.extend_from_slice(&id);
    bytes.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(extended)]);
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
        bytes.push(length);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend_from_slice(&(kind as u16).to_be_bytes());
    bytes.extend_from_slice(&INTERNET.to_be_bytes());
    if extended {
        let [.., high, low] = UDP_BYTES_MAX.to_be_bytes();
        bytes.extend_from_slice(&[0, 0, 41, high, low, 0, 0, 0, 0, 0, 0]);
    }
    Some(bytes)
}

/// Reads the answer to a question. `None`: it answers something else, or is cut in the middle.
pub fn answer(message: &[u8], question: &[u8]) -> Option<Answer> {
    let header = message.get(..HEADER_BYTES)?;
    let (is_answer, truncated, code) = (header[2] & 0xf8 == 0x80, header[2] & 2 != 0, header[3] & 15);
    if header[..2] != question[..2] || !is_answer {
        return None;
    }
    let asked = &question[HEADER_BYTES..];
    let asked = &asked[..asked.iter().position(|&byte| byte == 0)? + 5];
    match message.get(HEADER_BYTES..HEADER_BYTES + asked.len()) {
        Some(repeated) if header[4..6] == [0, 1] && repeated.eq_ignore_ascii_case(asked) => {}
        // A server that does not understand a question need not repeat it.
        _ if code == 1 => return Some(Answer::Failed(code)),
        _ => return None,
    }
    let kind = u16::from_be_bytes([asked[asked.len() - 4], asked[asked.len() - 3]]);
    let count = u16::from_be_bytes([header[6], header[7]]);
    let found = addresses(&message[HEADER_BYTES + asked.len()..], count, kind);
    match (code, found) {
        (0, Some(found)) if truncated => Some(Answer::Truncated(found)),
        (0, None) if truncated => Some(Answer::Truncated(Vec::new())),
        (0, Some(found)) => Some(Answer::Addresses(found)),
        (0, None) => None,
        (3, _) => Some(Answer::NoSuchName),
        (code, _) => Some(Answer::Failed(code)),
    }
}

/// The addresses among `count` resource records. `None` if they are cut off.
fn addresses(mut rest: &[u8], count: u16, kind: u16) -> Option<Vec<IpAddr>> {
    let mut found = Vec::new();
    for _ in 0..count {
        rest = after_name(rest)?;
        let (fixed, behind) = rest.split_at_checked(10)?;
        let number = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
        let (data, behind) = behind.split_at_checked(usize::from(number(8)))?;
        rest = behind;
        if number(0) == kind && number(2) == INTERNET {
            found.extend(address(data).filter(|address| address.is_ipv4() == (kind == Kind::V4 as u16)));
        }
    }
    Some(found)
}

/// What is behind a name: labels to an empty one, or to a pointer to where the name goes on.
fn after_name(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        let (&length, behind) = rest.split_first()?;
        match length {
            0 => return Some(behind),
            0xc0.. => return behind.get(1..),
            length => rest = behind.get(usize::from(length)..)?,
        }
    }
}

fn address(data: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(data).map(|bytes| IpAddr::V4(Ipv4Addr::from(bytes)));
    let v6 = <[u8; 16]>::try_from(data).map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes)));
    v4.or(v6).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Vec<u8> {
        question([7, 9], "a.example", Kind::V4, false).unwrap()
    }

    /// An answer to [`asked`] with these flags, and an alias in front of an address.
    fn answered(flags: [u8; 2]) -> Vec<u8> {
        let mut bytes = asked();
        bytes[2..4].copy_from_slice(&flags);
        bytes[7] = 2;
        bytes.extend_from_slice(b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x04\x01b\xc0\x0e");
        bytes.extend_from_slice(b"\x01b\xc0\x0e\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\0\0\x07");
        bytes
    }

    #[test]
    fn a_question_has_the_bytes_of_the_standard() {
        assert_eq!(asked(), b"\x07\x09\x01\0\0\x01\0\0\0\0\0\0\x01a\x07example\0\0\x01\0\x01");
        let extended = question([7, 9], "a.example.", Kind::V6, true).unwrap();
        assert_eq!(
            extended,
            b"\x07\x09\x01\0\0\x01\0\0\0\0\0\x01\x01a\x07example\0\0\x1c\0\x01\0\0\x29\x04\xd0\0\0\0\0\0\0"
        );
        for no_name in ["", ".", "a..b", &"a".repeat(64), &"a.".repeat(130)] {
            assert_eq!(question([0, 0], no_name, Kind::V4, false), None, "{no_name}");
        }
    }

    #[track_caller]
    fn check(message: &[u8], expected: Option<Answer>) {
        assert_eq!(answer(message, &asked()), expected);
    }

    #[test]
    fn an_answer_is_believed_only_if_it_is_one_to_the_question() {
        let found = Vec::from([IpAddr::from([10, 0, 0, 7])]);
        let good = answered([0x81, 0x80]);
        check(&good, Some(Answer::Addresses(found.clone())));
        check(&good.to_ascii_uppercase(), Some(Answer::Addresses(found.clone())));
        check(&answered([0x83, 0x80]), Some(Answer::Truncated(found)));
        check(&answered([0x81, 0x83]), Some(Answer::NoSuchName));
        check(&answered([0x81, 0x82]), Some(Answer::Failed(2)));
        check(&answered([0x01, 0x80]), None);
        for (at, byte) in [(0, 8), (5, 0), (13, b'x'), (24, 28)] {
            let mut other = good.clone();
            other[at] = byte;
            check(&other, None);
        }
        check(b"\x07\x09\x81\x81\0\0\0\0\0\0\0\0", Some(Answer::Failed(1)));
    }

    #[test]
    fn an_answer_cut_anywhere_or_damaged_anyhow_is_read_without_harm() {
        let good = answered([0x81, 0x80]);
        for length in 0..good.len() {
            check(&good[..length], None);
        }
        let truncated = answered([0x83, 0x80]);
        check(&truncated[..truncated.len() - 1], Some(Answer::Truncated(Vec::new())));
        for at in 0..good.len() {
            for byte in 0..=255 {
                let mut damaged = good.clone();
                damaged[at] = byte;
                let _ = answer(&damaged, &asked());
            }
        }
    }
}

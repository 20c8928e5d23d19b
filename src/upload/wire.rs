//! What the loop and its upload child say to each other over two pipes. Little-endian; both ends are this program.
//!
//! ```text
//! to the child, per chunk:  ORDER   stream u8, 3 bytes zero, attempt u32
//!                           PIECE   length u32, so many bytes of whole frames; any number of them
//!                           END     a PIECE of length 0
//! from the child:           ANSWER  length u32, then verdict u8, flags u8 (1 retry_after, 2 clock_skew, 4 broke, 8 ambiguous),
//!                                   status u16, retry_after u32, clock_skew i32, delivered u32, concerned u32, records u32,
//!                                   body_bytes u64, wire_bytes u64, reason
//! ```

use super::{Outcome, Stream, Verdict};
use crate::limits::REASON_BYTES_MAX;
use alloc::string::String;
use alloc::vec::Vec;

/// Bytes of an order.
pub const ORDER_BYTES: usize = 8;
/// Bytes of a length.
pub const LENGTH_BYTES: usize = 4;
/// Bytes of an answer in front of its reason, the length not counted.
const ANSWER_BYTES: usize = 40;
/// Longest answer, the length not counted.
pub const ANSWER_BYTES_MAX: usize = ANSWER_BYTES + REASON_BYTES_MAX;

/// The start of a chunk.
pub fn order(stream: Stream, attempt: u32) -> [u8; ORDER_BYTES] {
    let mut bytes = [stream as u8, 0, 0, 0, 0, 0, 0, 0];
    bytes[4..].copy_from_slice(&attempt.to_le_bytes());
    bytes
}

/// The order in these bytes; `None` if they are none.
pub fn decode_order(bytes: [u8; ORDER_BYTES]) -> Option<(Stream, u32)> {
    let [stream, 0, 0, 0, attempt @ ..] = bytes else { return None };
    Some((Stream::from_number(stream)?, u32::from_le_bytes(attempt)))
}

/// An answer with its length in front. A reason that is too long is cut at a character.
pub fn encode_answer(outcome: &Outcome) -> Vec<u8> {
    let mut end = outcome.reason.len().min(REASON_BYTES_MAX);
    while !outcome.reason.is_char_boundary(end) {
        end -= 1;
    }
    let reason = &outcome.reason.as_bytes()[..end];
    let flags = u8::from(outcome.retry_after_s.is_some())
        | u8::from(outcome.clock_skew_s.is_some()) << 1
        | u8::from(outcome.broke) << 2
        | u8::from(outcome.ambiguous) << 3;
    let mut bytes = Vec::with_capacity(LENGTH_BYTES + ANSWER_BYTES_MAX);
    bytes.extend_from_slice(&u32::try_from(ANSWER_BYTES + end).unwrap_or(0).to_le_bytes());
    bytes.extend_from_slice(&[outcome.verdict as u8, flags]);
    bytes.extend_from_slice(&outcome.status.to_le_bytes());
    bytes.extend_from_slice(&outcome.retry_after_s.unwrap_or(0).to_le_bytes());
    bytes.extend_from_slice(&outcome.clock_skew_s.unwrap_or(0).to_le_bytes());
    for count in [outcome.delivered, outcome.concerned, outcome.records] {
        bytes.extend_from_slice(&count.to_le_bytes());
    }
    bytes.extend_from_slice(&outcome.body_bytes.to_le_bytes());
    bytes.extend_from_slice(&outcome.wire_bytes.to_le_bytes());
    bytes.extend_from_slice(reason);
    bytes
}

/// What is in the bytes that have come from the child so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// The answer, whole.
    Answer(Outcome),
    /// Its front.
    NotYet,
    /// No answer of ours.
    Malformed,
}

/// Reads an answer, its length included.
pub fn decode_answer(bytes: &[u8]) -> Decoded {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else { return Decoded::NotYet };
    let length = u32::from_le_bytes(*length) as usize;
    if !(ANSWER_BYTES..=ANSWER_BYTES_MAX).contains(&length) {
        return Decoded::Malformed;
    }
    match rest.get(..length).map(answer) {
        Some(Some(outcome)) => Decoded::Answer(outcome),
        Some(None) => Decoded::Malformed,
        None => Decoded::NotYet,
    }
}

fn answer(bytes: &[u8]) -> Option<Outcome> {
    let (&[verdict, flags], rest) = bytes.split_first_chunk::<2>()?;
    let (status, rest) = rest.split_first_chunk::<2>()?;
    let (retry_after, rest) = rest.split_first_chunk::<4>()?;
    let (clock_skew, rest) = rest.split_first_chunk::<4>()?;
    let (delivered, rest) = rest.split_first_chunk::<4>()?;
    let (concerned, rest) = rest.split_first_chunk::<4>()?;
    let (records, rest) = rest.split_first_chunk::<4>()?;
    let (body_bytes, rest) = rest.split_first_chunk::<8>()?;
    let (wire_bytes, reason) = rest.split_first_chunk::<8>()?;
    let verdict = [Verdict::Sent, Verdict::Later, Verdict::Refused].into_iter().find(|v| *v as u8 == verdict)?;
    Some(Outcome {
        verdict,
        status: u16::from_le_bytes(*status),
        retry_after_s: (flags & 1 != 0).then_some(u32::from_le_bytes(*retry_after)),
        clock_skew_s: (flags & 2 != 0).then_some(i32::from_le_bytes(*clock_skew)),
        broke: flags & 4 != 0,
        ambiguous: flags & 8 != 0,
        delivered: u32::from_le_bytes(*delivered),
        concerned: u32::from_le_bytes(*concerned),
        records: u32::from_le_bytes(*records),
        body_bytes: u64::from_le_bytes(*body_bytes),
        wire_bytes: u64::from_le_bytes(*wire_bytes),
        reason: String::from_utf8_lossy(reason).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_comes_back() {
        for stream in Stream::ALL {
            assert_eq!(decode_order(order(stream, 70_000)), Some((stream, 70_000)));
        }
        assert_eq!(decode_order([0, 1, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(decode_order([9, 0, 0, 0, 0, 0, 0, 0]), None);
    }

    fn outcome(reason: &str) -> Outcome {
        Outcome {
            status: 503,
            retry_after_s: Some(7),
            clock_skew_s: Some(-900),
            broke: true,
            ambiguous: true,
            delivered: 70_000,
            concerned: 2,
            records: 1000,
            body_bytes: 1 << 40,
            wire_bytes: 5,
            ..Outcome::new(Verdict::Later, reason.into())
        }
    }

    #[test]
    fn an_answer_comes_back_however_it_is_torn() {
        let bytes = encode_answer(&outcome("busy"));
        for end in 0..bytes.len() {
            assert_eq!(decode_answer(&bytes[..end]), Decoded::NotYet);
        }
        assert_eq!(decode_answer(&bytes), Decoded::Answer(outcome("busy")));
    }

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        let long = "ü".repeat(REASON_BYTES_MAX);
        let Decoded::Answer(decoded) = decode_answer(&encode_answer(&outcome(&long))) else { panic!("no answer") };
        assert_eq!(decoded.reason, "ü".repeat(REASON_BYTES_MAX / 2));
    }

    #[test]
    fn a_foreign_answer_is_malformed() {
        assert_eq!(decode_answer(&[0, 0, 0, 0]), Decoded::Malformed);
        assert_eq!(decode_answer(&[255; 300]), Decoded::Malformed);
        let mut bytes = encode_answer(&outcome(""));
        bytes[4] = 77;
        assert_eq!(decode_answer(&bytes), Decoded::Malformed);
    }
}

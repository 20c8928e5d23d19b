//! Bytes of one syslog message to its parts, without allocation and without a clock.
//!
//! Three shapes are told apart: RFC 5424 (`<PRI>1 …`), RFC 3164 and what calls itself that (`<PRI>Mmm dd hh:mm:ss …`, also
//! with a year, with an ISO 8601 time, without a host), and everything else, which is text. No byte of a text is ever lost,
//! and no input is an error.

mod civil;
pub mod iso8601;
mod pri;
mod rfc3164;
mod rfc5424;

pub use civil::{CivilTime, date_from_days, month_named, with_nearest_year};
pub use pri::{FACILITIES, Pri, SEVERITIES};

/// One message; every part borrows from the bytes it was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// Facility and severity; [`Pri::DEFAULT`] if the message has none.
    pub pri: Pri,
    /// When it was written, as far as it says.
    pub timestamp: Timestamp,
    /// Who wrote it; `None` if it does not say.
    pub hostname: Option<&'a [u8]>,
    /// The program, in RFC 3164 the tag up to `[` or `:`; empty if there is none.
    pub app_name: &'a [u8],
    /// The process, in RFC 3164 what stands in brackets behind the tag; not always a number.
    pub procid: Option<&'a [u8]>,
    /// RFC 5424 only.
    pub msgid: Option<&'a [u8]>,
    /// RFC 5424 only: the elements, brackets included.
    pub structured_data: Option<&'a [u8]>,
    /// The text.
    pub msg: &'a [u8],
}

/// The time in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timestamp {
    /// There is none.
    Absent,
    /// RFC 3164: in the sender's zone, without a year.
    Yearless(CivilTime),
    /// In the sender's zone, with a year.
    Local(CivilTime),
    /// Microseconds since 1970, negative before: the message names its offset from UTC.
    Unix(i64),
}

/// Takes a message apart. Line ends and NULs at the end are framing, not text.
pub fn parse(bytes: &[u8]) -> Message<'_> {
    let bytes = without_line_end(bytes);
    let Some((pri, rest)) = pri::split(bytes) else {
        return rfc3164::parse(Pri::DEFAULT, bytes);
    };
    rfc5424::parse(pri, rest).unwrap_or_else(|| rfc3164::parse(pri, rest))
}

/// The bytes without the CR, LF or NUL that senders put behind a message.
pub fn without_line_end(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., b'\n' | b'\r' | 0] = bytes {
        bytes = rest;
    }
    bytes
}

/// Splits at the first space: what is before it, and what is behind it (`None` if there is no space).
fn token(bytes: &[u8]) -> (&[u8], Option<&[u8]>) {
    match bytes.iter().position(|&byte| byte == b' ') {
        Some(at) => (&bytes[..at], Some(&bytes[at + 1..])),
        None => (bytes, None),
    }
}

/// What is behind a byte that must come first.
fn after(first: u8, bytes: &[u8]) -> Option<&[u8]> {
    match bytes {
        [byte, rest @ ..] if *byte == first => Some(rest),
        _ => None,
    }
}

fn without_leading_spaces(mut bytes: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

/// Takes `least` to `most` decimal digits from the front; no more may follow. `most` is at most 9.
fn digits(bytes: &[u8], least: usize, most: usize) -> Option<(u32, &[u8])> {
    let count = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count < least || count > most {
        return None;
    }
    let (digits, rest) = bytes.split_at(count);
    Some((digits.iter().fold(0, |value, &digit| value * 10 + u32::from(digit - b'0')), rest))
}

//! ISO 8601 times as RFC 3339 and RFC 5424 write them, and as others nearly do.

use super::{CivilTime, Timestamp, after, digits};

/// Microseconds since 1970 of a whole text such as `2026-07-02T12:00:00.25+02:00`; `None` if it is anything else.
/// Source: RFC 3339 section 5.6.
pub fn unix_us(text: &str) -> Option<i64> {
    match parse(text.as_bytes()) {
        Some((Timestamp::Unix(us), [])) => Some(us),
        _ => None,
    }
}

/// Takes a time from the front: `YYYY-MM-DD`, `T` or a space, `hh:mm:ss`, perhaps a fraction (of which microseconds are
/// kept), perhaps `Z` or an offset. Without an offset it is [`Timestamp::Local`].
pub(super) fn parse(bytes: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (year, rest) = digits(bytes, 4, 4)?;
    let (month, rest) = digits(after(b'-', rest)?, 2, 2)?;
    let (day, rest) = digits(after(b'-', rest)?, 2, 2)?;
    let [b'T' | b't' | b' ', rest @ ..] = rest else { return None };
    let (clock, rest) = clock(rest)?;
    let time = CivilTime { year: i32::try_from(year).ok()?, ..date(month, day, clock)? };
    match offset_s(rest)? {
        (Some(offset), rest) => {
            let us = (time.unix_s_as_utc() - i64::from(offset)) * 1_000_000 + i64::from(time.us);
            Some((Timestamp::Unix(us), rest))
        }
        (None, rest) => Some((Timestamp::Local(time), rest)),
    }
}

/// Puts a month and a day into a time; `None` if they are out of range.
pub(super) fn date(month: u32, day: u32, clock: CivilTime) -> Option<CivilTime> {
    let in_range = (1..=12).contains(&month) && (1..=31).contains(&day);
    let (month, day) = (u8::try_from(month).ok()?, u8::try_from(day).ok()?);
    in_range.then_some(CivilTime { month, day, ..clock })
}

/// Takes `hh:mm:ss` and perhaps a fraction from the front. The date in the answer is not yet one.
pub(super) fn clock(bytes: &[u8]) -> Option<(CivilTime, &[u8])> {
    let (hour, rest) = digits(bytes, 1, 2)?;
    let (minute, rest) = digits(after(b':', rest)?, 2, 2)?;
    let (second, rest) = digits(after(b':', rest)?, 2, 2)?;
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (us, rest) = fraction_us(rest);
    let (hour, minute, second) = (u8::try_from(hour).ok()?, u8::try_from(minute).ok()?, u8::try_from(second).ok()?);
    Some((CivilTime { year: 0, month: 0, day: 0, hour, minute, second, us }, rest))
}

/// Takes a fraction of a second from the front, in microseconds, cut; 0 if there is none.
fn fraction_us(bytes: &[u8]) -> (u32, &[u8]) {
    let [b'.' | b',', digits @ ..] = bytes else { return (0, bytes) };
    let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 {
        return (0, bytes);
    }
    let (digits, rest) = digits.split_at(count);
    let padded = digits.iter().copied().chain(core::iter::repeat(b'0')).take(6);
    (padded.fold(0, |us, digit| us * 10 + u32::from(digit - b'0')), rest)
}

/// Takes `Z`, `+hh:mm` or `+hhmm` from the front: seconds ahead of UTC, `None` within if there is nothing of the kind.
fn offset_s(bytes: &[u8]) -> Option<(Option<i32>, &[u8])> {
    let (sign, rest) = match bytes {
        [b'Z' | b'z', rest @ ..] => return Some((Some(0), rest)),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return Some((None, bytes)),
    };
    let (hours, minutes, rest) = match digits(rest, 4, 4) {
        Some((both, rest)) => (both / 100, both % 100, rest),
        None => {
            let (hours, rest) = digits(rest, 2, 2)?;
            let (minutes, rest) = digits(after(b':', rest)?, 2, 2)?;
            (hours, minutes, rest)
        }
    };
    let seconds = i32::try_from(hours * 3600 + minutes * 60).ok()?;
    (hours <= 23 && minutes <= 59).then_some((Some(sign * seconds), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<i64>) {
        assert_eq!(unix_us(text), expected, "{text}");
    }

    #[test]
    fn times_with_an_offset_are_moments() {
        check("1970-01-01T00:00:00Z", Some(0));
        check("2026-07-02T12:00:00Z", Some(1_782_993_600_000_000));
        check("2026-07-02T14:00:00.25+02:00", Some(1_782_993_600_250_000));
        check("2026-07-02t04:30:00.123456789-0730", Some(1_782_993_600_123_456));
        check("2026-07-02 12:00:00,5z", Some(1_782_993_600_500_000));
        check("1969-12-31T23:59:59.999999Z", Some(-1));
        check("2016-12-31T23:59:60Z", Some(1_483_228_800_000_000));
    }

    #[test]
    fn anything_else_is_no_moment() {
        for text in [
            "",
            "2026",
            "2026-07-02",
            "2026-07-02T12:00Z",
            "2026-7-2T12:00:00Z",
            "2026-13-02T12:00:00Z",
            "2026-07-32T12:00:00Z",
            "2026-07-00T12:00:00Z",
            "2026-07-02T24:00:00Z",
            "2026-07-02T12:60:00Z",
            "2026-07-02T12:00:61Z",
            "2026-07-02T12:00:00",
            "2026-07-02T12:00:00Zx",
            "2026-07-02T12:00:00+2",
            "2026-07-02T12:00:00+24:00",
            "2026-07-02T12:00:00.Z",
            "20260-07-02T12:00:00Z",
            "2026-07-02_12:00:00Z",
        ] {
            check(text, None);
        }
    }
}

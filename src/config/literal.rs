//! How the original writes times, sizes and yes or no, and how we do where the key is ours. Source: ods.md of the notes,
//! section 8.1, restated at each function.

use alloc::format;
use alloc::string::String;

/// A literal that was understood. `exact` is false where the text says something else to a human than to the original's
/// reader (`1m30s` is 30 s, `1.5m` is 5 MiB): the value is the original's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Milliseconds or bytes; too large a number is `u64::MAX`.
    pub value: u64,
    /// Whether the whole text was used.
    pub exact: bool,
}

/// Units of time of the original, in the order in which it looks for them, in milliseconds.
const TIME_UNITS: [(u8, u64); 4] = [(b's', 1000), (b'm', 60_000), (b'h', 3_600_000), (b'd', 86_400_000)];
/// Units of size, likewise, in bytes.
const SIZE_UNITS: [(u8, u64); 4] = [(b'k', 1 << 10), (b'm', 1 << 20), (b'g', 1 << 30), (b't', 1 << 40)];

/// A time as the original reads it, in milliseconds: digits before an `s` anywhere in the text, else before `m`, `h`, `d`;
/// else seconds with an optional fraction at the start. `None` if there is no number at all.
pub fn time_ms(text: &str) -> Option<Reading> {
    first_unit(text, &TIME_UNITS).or_else(|| seconds(text))
}

/// A time for the keys that are ours, in milliseconds: one number (`20ms`, `1.5s`, `2m`, `1h`, `1d`, or seconds without a
/// unit) and nothing else.
pub fn short_time_ms(text: &str) -> Option<u64> {
    if let Some(number) = text.strip_suffix("ms") {
        return whole(number);
    }
    if let Some(Reading { value, exact: true }) = time_ms(text) {
        return Some(value);
    }
    seconds(text.strip_suffix('s')?).filter(|reading| reading.exact).map(|reading| reading.value)
}

/// A size as the original reads it, in bytes: digits before a `k`, else `m`, `g`, `t` (either case) anywhere in the text;
/// else a number at the start. `None` if there is no number at all.
pub fn size_bytes(text: &str) -> Option<Reading> {
    first_unit(&text.to_ascii_lowercase(), &SIZE_UNITS).or_else(|| {
        let digits = leading_digits(text);
        (!digits.is_empty()).then(|| Reading { value: saturating(digits), exact: digits.len() == text.len() })
    })
}

/// A number of decimal digits and nothing else; too large a one is `u64::MAX`.
pub fn whole(text: &str) -> Option<u64> {
    let digits = leading_digits(text);
    (!digits.is_empty() && digits.len() == text.len()).then(|| saturating(digits))
}

/// `true`, `yes` and the empty text; `false` and `no`. `None` for anything else, which the original takes as unset.
pub fn flag(text: &str) -> Option<bool> {
    match text {
        "true" | "yes" | "" => Some(true),
        "false" | "no" => Some(false),
        _ => None,
    }
}

/// Milliseconds in the largest unit that divides them, as they may stand in a file.
pub fn time_text(milliseconds: u64) -> String {
    match TIME_UNITS.iter().rev().find(|(_, unit)| milliseconds >= *unit && milliseconds.is_multiple_of(*unit)) {
        Some((letter, unit)) => format!("{}{}", milliseconds / unit, char::from(*letter)),
        None if milliseconds == 0 => String::from("0"),
        None => format!("{milliseconds}ms"),
    }
}

/// Bytes in the largest unit that divides them, as they may stand in a file.
pub fn size_text(bytes: u64) -> String {
    match SIZE_UNITS.iter().rev().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit)) {
        Some((letter, unit)) => format!("{}{}", bytes / unit, char::from(*letter)),
        None => format!("{bytes}"),
    }
}

/// The first run of digits that a unit's letter follows, for the first unit that has one.
fn first_unit(text: &str, units: &[(u8, u64)]) -> Option<Reading> {
    units.iter().find_map(|(letter, unit)| {
        let digits = digits_before(text, *letter)?;
        let exact = text.len() == digits.len() + 1 && text.starts_with(digits);
        Some(Reading { value: saturating(digits).saturating_mul(*unit), exact })
    })
}

fn digits_before(text: &str, letter: u8) -> Option<&str> {
    let bytes = text.as_bytes();
    let end = (1..bytes.len()).find(|&at| bytes[at] == letter && bytes[at - 1].is_ascii_digit())?;
    let start = bytes[..end].iter().rposition(|byte| !byte.is_ascii_digit()).map_or(0, |before| before + 1);
    text.get(start..end)
}

/// Seconds with an optional fraction, of which milliseconds count.
fn seconds(text: &str) -> Option<Reading> {
    let digits = leading_digits(text);
    if digits.is_empty() {
        return None;
    }
    let fraction = text[digits.len()..].strip_prefix('.').map_or("", leading_digits);
    let used = digits.len() + if fraction.is_empty() { 0 } else { 1 + fraction.len() };
    let thousandths = fraction.bytes().chain(*b"000").take(3).fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    let value = saturating(digits).saturating_mul(1000).saturating_add(thousandths);
    Some(Reading { value, exact: used == text.len() })
}

fn leading_digits(text: &str) -> &str {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    &text[..end]
}

fn saturating(digits: &str) -> u64 {
    digits.parse().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_time(text: &str, expected: Option<(u64, bool)>) {
        assert_eq!(time_ms(text), expected.map(|(value, exact)| Reading { value, exact }), "{text}");
    }

    #[test]
    fn a_time_is_what_the_original_makes_of_it() {
        check_time("20s", Some((20_000, true)));
        check_time("30m", Some((1_800_000, true)));
        check_time("2h", Some((7_200_000, true)));
        check_time("1d", Some((86_400_000, true)));
        check_time("45", Some((45_000, true)));
        check_time("0.25", Some((250, true)));
        check_time("1m30s", Some((30_000, false)));
        check_time("1h30m", Some((1_800_000, false)));
        check_time("20sec", Some((20_000, false)));
        check_time("500ms", Some((30_000_000, false)));
        check_time("5 seconds", Some((5_000, false)));
        check_time("1.5m", Some((300_000, false)));
        check_time("20S", Some((20_000, false)));
        check_time("99999999999999999999s", Some((u64::MAX, true)));
        check_time("", None);
        check_time("soon", None);
        check_time("-5", None);
    }

    #[track_caller]
    fn check_size(text: &str, expected: Option<(u64, bool)>) {
        assert_eq!(size_bytes(text), expected.map(|(value, exact)| Reading { value, exact }), "{text}");
    }

    #[test]
    fn a_size_is_what_the_original_makes_of_it() {
        check_size("15m", Some((15 << 20, true)));
        check_size("15M", Some((15 << 20, true)));
        check_size("64k", Some((64 << 10, true)));
        check_size("1g", Some((1 << 30, true)));
        check_size("2t", Some((2 << 40, true)));
        check_size("4096", Some((4096, true)));
        check_size("1.5m", Some((5 << 20, false)));
        check_size("10MB", Some((10 << 20, false)));
        check_size("1g512m", Some((512 << 20, false)));
        check_size("12 bytes", Some((12, false)));
        check_size("much", None);
        check_size("", None);
    }

    #[track_caller]
    fn check_short(text: &str, expected: Option<u64>) {
        assert_eq!(short_time_ms(text), expected, "{text}");
    }

    #[test]
    fn a_time_of_our_own_is_one_number_and_one_unit() {
        check_short("20ms", Some(20));
        check_short("0", Some(0));
        check_short("1s", Some(1000));
        check_short("1.5s", Some(1500));
        check_short("0.02", Some(20));
        check_short("2m", Some(120_000));
        check_short("1m30s", None);
        check_short("1.5m", None);
        check_short("20 ms", None);
        check_short("ms", None);
        check_short("", None);
    }

    #[test]
    fn what_is_printed_reads_back_the_same() {
        for milliseconds in [0, 1, 20, 999, 1000, 1500, 20_000, 60_000, 90_000, 960_000, 3_600_000, 86_400_000] {
            assert_eq!(short_time_ms(&time_text(milliseconds)), Some(milliseconds));
        }
        for bytes in [0, 1, 1023, 1024, 65536, 1 << 20, 10 << 20, 1 << 30, 64 << 30, 1 << 40] {
            assert_eq!(size_bytes(&size_text(bytes)), Some(Reading { value: bytes, exact: true }));
        }
    }

    #[test]
    fn a_flag_is_one_of_five_texts() {
        for (text, expected) in
            [("true", Some(true)), ("yes", Some(true)), ("", Some(true)), ("false", Some(false)), ("no", Some(false))]
        {
            assert_eq!(flag(text), expected, "{text}");
        }
        assert_eq!(flag("on"), None);
        assert_eq!(flag("TRUE"), None);
    }
}

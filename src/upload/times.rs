//! Times to text, and local times to moments. Consecutive messages are of the same minute and of the same hour nearly
//! always, so the calendar is asked once a minute and the zone once an hour.

use crate::syslog::{CivilTime, date_from_days, with_nearest_year};

/// Milliseconds since 1970 as `YYYY-MM-DDThh:mm:ss.mmmZ`; times outside the years 0 to 9999 as the nearest within.
pub fn time_text(unix_ms: i64) -> [u8; TIME_BYTES] {
    *TimeText::new().text(unix_ms)
}

/// Length of a time as text.
pub const TIME_BYTES: usize = 24;

const MINUTE_MS: u32 = 60_000;

/// Times as text, with the minute last written.
pub(super) struct TimeText {
    minute_start_ms: i64,
    text: [u8; TIME_BYTES],
}

impl TimeText {
    pub(super) fn new() -> Self {
        TimeText { minute_start_ms: 0, text: *b"1970-01-01T00:00:00.000Z" }
    }

    pub(super) fn text(&mut self, unix_ms: i64) -> &[u8; TIME_BYTES] {
        const FIRST_MS: i64 = -62_167_219_200_000;
        const LAST_MS: i64 = 253_402_300_799_999;
        let unix_ms = unix_ms.clamp(FIRST_MS, LAST_MS);
        let ms = match u32::try_from(unix_ms - self.minute_start_ms) {
            Ok(ms) if ms < MINUTE_MS => ms,
            _ => self.start_minute(unix_ms),
        };
        put_digits(&mut self.text[17..19], ms / 1000);
        put_digits(&mut self.text[20..23], ms % 1000);
        &self.text
    }

    /// Writes the date and the minute of a time; what is left are milliseconds of that minute.
    fn start_minute(&mut self, unix_ms: i64) -> u32 {
        const DAY_MS: i64 = 86_400_000;
        let (year, month, day) = date_from_days(unix_ms.div_euclid(DAY_MS));
        let day_ms = u32::try_from(unix_ms.rem_euclid(DAY_MS)).unwrap_or(0);
        put_digits(&mut self.text[0..4], u32::try_from(year).unwrap_or(0));
        put_digits(&mut self.text[5..7], u32::from(month));
        put_digits(&mut self.text[8..10], u32::from(day));
        put_digits(&mut self.text[11..13], day_ms / (60 * MINUTE_MS));
        put_digits(&mut self.text[14..16], day_ms / MINUTE_MS % 60);
        self.minute_start_ms = unix_ms - i64::from(day_ms % MINUTE_MS);
        day_ms % MINUTE_MS
    }
}

/// Fills a field with the decimal digits of a number below 10,000.
fn put_digits(field: &mut [u8], value: u32) {
    let mut value = value;
    for digit in field.iter_mut().rev() {
        let tenth = (value * 52_429) >> 19; // a tenth, cut: where code is small, a division would be slow
        *digit = u8::try_from(value - tenth * 10).map_or(b'0', |digit| b'0' + digit);
        value = tenth;
    }
}

/// Local times to moments. Zones change their offset at the start of an hour, so minutes and seconds can be added to what the
/// hour is.
pub(super) struct LocalTimes {
    unix_from_local: fn(CivilTime) -> i64,
    with_year: Hour,
    without_year: Hour,
}

/// The hour last asked for, and seconds since 1970 at its start.
struct Hour {
    hour: CivilTime,
    unix_s: i64,
}

impl LocalTimes {
    pub(super) fn new(unix_from_local: fn(CivilTime) -> i64) -> Self {
        const NONE: CivilTime = CivilTime { year: 0, month: 0, day: 0, hour: 0, minute: 0, second: 0, us: 0 };
        let none = || Hour { hour: NONE, unix_s: 0 };
        LocalTimes { unix_from_local, with_year: none(), without_year: none() }
    }

    /// Milliseconds since 1970 of a local time.
    pub(super) fn unix_ms(&mut self, time: CivilTime) -> i64 {
        let hour = CivilTime { minute: 0, second: 0, us: 0, ..time };
        if hour != self.with_year.hour {
            self.with_year = Hour { hour, unix_s: (self.unix_from_local)(hour) };
        }
        ms_from(self.with_year.unix_s, time)
    }

    /// Milliseconds since 1970 of a local time without a year, in the year that brings it nearest to its receipt.
    pub(super) fn yearless_unix_ms(&mut self, time: CivilTime, received_s: i64) -> i64 {
        const SURELY_NEAREST_S: u64 = 100 * 86_400;
        let hour = CivilTime { minute: 0, second: 0, us: 0, ..time };
        let known = &self.without_year;
        if hour != known.hour || known.unix_s.abs_diff(received_s) > SURELY_NEAREST_S {
            let unix_s = (self.unix_from_local)(with_nearest_year(hour, received_s));
            self.without_year = Hour { hour, unix_s };
        }
        ms_from(self.without_year.unix_s, time)
    }
}

fn ms_from(hour_unix_s: i64, time: CivilTime) -> i64 {
    let s = u32::from(time.minute) * 60 + u32::from(time.second);
    hour_unix_s.saturating_mul(1000).saturating_add(i64::from(s * 1000 + time.us / 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &mut TimeText, unix_ms: i64, expected: &str) {
        assert_eq!(core::str::from_utf8(text.text(unix_ms)), Ok(expected));
        assert_eq!(core::str::from_utf8(&time_text(unix_ms)), Ok(expected), "without a minute before");
    }

    #[test]
    fn times_are_the_same_whatever_was_written_before() {
        let mut text = TimeText::new();
        check(&mut text, 0, "1970-01-01T00:00:00.000Z");
        check(&mut text, 59_999, "1970-01-01T00:00:59.999Z");
        check(&mut text, 60_000, "1970-01-01T00:01:00.000Z");
        check(&mut text, -1, "1969-12-31T23:59:59.999Z");
        check(&mut text, 1_447_984_563_078, "2015-11-20T01:56:03.078Z");
        check(&mut text, 951_782_399_999, "2000-02-28T23:59:59.999Z");
        check(&mut text, 951_782_400_000, "2000-02-29T00:00:00.000Z");
        check(&mut text, i64::MAX, "9999-12-31T23:59:59.999Z");
        check(&mut text, i64::MIN, "0000-01-01T00:00:00.000Z");
    }

    #[test]
    fn every_number_below_ten_thousand_has_its_digits() {
        for value in 0..10_000 {
            let mut field = [0; 4];
            put_digits(&mut field, value);
            assert_eq!(core::str::from_utf8(&field), Ok(std::format!("{value:04}").as_str()));
        }
    }

    #[test]
    fn the_year_is_looked_for_again_when_the_clock_has_moved_on() {
        let mut times = LocalTimes::new(|time| time.unix_s_as_utc());
        let time = CivilTime { year: 0, month: 12, day: 31, hour: 23, minute: 59, second: 59, us: 500_000 };
        assert_eq!(times.yearless_unix_ms(time, 1_798_761_600), 1_798_761_599_500); // received at the start of 2027
        assert_eq!(times.yearless_unix_ms(time, 1_814_659_200), 1_830_297_599_500); // on July 4, 2027
    }
}

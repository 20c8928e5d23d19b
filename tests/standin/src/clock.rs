//! Civil time without a library: just enough to write a `Date` header and to judge the two time formats of the wire.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970, now.
pub fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock stands after 1970");
    i64::try_from(since.as_secs()).expect("the clock stands before the year 292277026596")
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`. Source: RFC 9110, 5.6.7.
pub fn http_date(at_s: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let days = at_s.div_euclid(86_400);
    let second = at_s.rem_euclid(86_400);
    let (year, month, day) = civil_from_days(days);
    format!(
        "{}, {day:02} {} {year:04} {:02}:{:02}:{:02} GMT",
        DAYS[usize::try_from(days.rem_euclid(7)).expect("0 to 6")],
        MONTHS[usize::try_from(month - 1).expect("0 to 11")],
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// Seconds since 1970 of `YYYY-MM-DDTHH:MM:SS.nnnnnnnnn+hh:mm`, the `x-ms-Date` of onboarding; `None` if it is not that.
pub fn parse_offset_time(text: &str) -> Option<i64> {
    let (local, offset) = text.split_at_checked(29)?;
    let local_s = parse_with_fraction(local, 9)?;
    let [sign @ (b'+' | b'-'), h1, h0, b':', m1, m0] = offset.as_bytes() else { return None };
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| i64::from(byte - b'0'));
    let offset_s = (digit(h1)? * 10 + digit(h0)?) * 3600 + (digit(m1)? * 10 + digit(m0)?) * 60;
    Some(if *sign == b'+' { local_s - offset_s } else { local_s + offset_s })
}

/// Seconds since 1970 of `YYYY-MM-DDTHH:MM:SS.mmmZ`, the time of every record; `None` if it is not that.
pub fn parse_record_time(text: &str) -> Option<i64> {
    parse_with_fraction(text.strip_suffix('Z')?, 3)
}

fn parse_with_fraction(text: &str, fraction_digits: usize) -> Option<i64> {
    const SHAPE: &[u8] = b"dddd-dd-ddTdd:dd:dd.";
    let bytes = text.as_bytes();
    if bytes.len() != SHAPE.len() + fraction_digits {
        return None;
    }
    let fits = |(&byte, &shape): (&u8, &u8)| if shape == b'd' { byte.is_ascii_digit() } else { byte == shape };
    if !bytes.iter().zip(SHAPE).all(fits) || !bytes[SHAPE.len()..].iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |range: std::ops::Range<usize>| text[range].parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let days = days_from_civil(year, month, day);
    let real = (1..=12).contains(&month) && civil_from_days(days) == (year, month, day);
    (real && hour < 24 && minute < 60 && second <= 60).then_some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Days since 1970-01-01 of a date in the Gregorian calendar, counted in eras of 400 years that start in March.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_header_reads_as_the_rfc_writes_it() {
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(951_825_600), "Tue, 29 Feb 2000 12:00:00 GMT");
    }

    #[track_caller]
    fn check(text: &str, expected: Option<i64>) {
        assert_eq!(parse_record_time(text), expected, "{text}");
    }

    #[test]
    fn only_real_times_in_the_one_format_are_record_times() {
        check("2015-11-05T00:12:33.000Z", Some(1_446_682_353));
        check("1970-01-01T00:00:00.999Z", Some(0));
        check("2015-11-05T00:12:33Z", None);
        check("2015-11-05T00:12:33.000000Z", None);
        check("2015-11-05 00:12:33.000Z", None);
        check("2015-02-29T00:12:33.000Z", None);
        check("2015-13-01T00:12:33.000Z", None);
        check("2015-11-05T24:12:33.000Z", None);
        check("2015-11-05T00:12:33.000+00:00", None);
    }

    #[test]
    fn an_offset_is_taken_off() {
        assert_eq!(parse_offset_time("2015-11-05T02:12:33.123456789+02:00"), Some(1_446_682_353));
        assert_eq!(parse_offset_time("2015-11-04T17:12:33.123456789-07:00"), Some(1_446_682_353));
        assert_eq!(parse_offset_time("2015-11-05T02:12:33.123+02:00"), None);
        assert_eq!(parse_offset_time("2015-11-05T02:12:33.123456789Z"), None);
    }
}

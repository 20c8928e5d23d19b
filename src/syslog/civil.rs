//! Calendar arithmetic in the proleptic Gregorian calendar, without a zone and without a clock.

/// A time on a calendar and a wall clock; whose zone it is, the context says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CivilTime {
    /// 0 to 9999; 0 where the source names none.
    pub year: i32,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31, also in shorter months: such a day rolls over into the next.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 60.
    pub second: u8,
    /// Microseconds of the second, 0 to 999,999.
    pub us: u32,
}

impl CivilTime {
    /// Seconds since 1970 if the time is UTC.
    pub fn unix_s_as_utc(&self) -> i64 {
        let seconds = u32::from(self.hour) * 3600 + u32::from(self.minute) * 60 + u32::from(self.second);
        days_from_1970(self.year, self.month, self.day) * 86_400 + i64::from(seconds)
    }

    /// Whether its month has its day.
    pub fn exists(&self) -> bool {
        let days = match self.month {
            2 if is_leap(self.year) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        self.day <= days
    }
}

/// Gives a time without a year the year that brings it nearest to a moment (seconds since 1970). February 29 keeps to a leap
/// year if one has it within 366 days of the moment. The zone does not matter: it moves all candidates alike.
pub fn with_nearest_year(time: CivilTime, near_unix_s: i64) -> CivilTime {
    const NEAR_S: u64 = 150 * 86_400;
    const YEAR_S: u64 = 366 * 86_400;
    let this_year = i32::try_from(date_from_days(near_unix_s.div_euclid(86_400)).0).unwrap_or(9999).clamp(1, 9998);
    let in_year = |year| CivilTime { year, ..time };
    let distance_s = |time: &CivilTime| time.unix_s_as_utc().abs_diff(near_unix_s);
    let first = in_year(this_year);
    if first.exists() && distance_s(&first) < NEAR_S {
        return first; // no other year can be nearer
    }
    let candidates = [first, in_year(this_year - 1), in_year(this_year + 1)];
    candidates
        .into_iter()
        .min_by_key(|time| (!time.exists() || distance_s(time) > YEAR_S, distance_s(time)))
        .unwrap_or(first)
}

/// The month, 1 to 12, by the first three letters of its English name, in either case.
pub fn month_named(name: [u8; 3]) -> Option<u8> {
    Some(match &name.map(|byte| byte.to_ascii_lowercase()) {
        b"jan" => 1,
        b"feb" => 2,
        b"mar" => 3,
        b"apr" => 4,
        b"may" => 5,
        b"jun" => 6,
        b"jul" => 7,
        b"aug" => 8,
        b"sep" => 9,
        b"oct" => 10,
        b"nov" => 11,
        b"dec" => 12,
        _ => return None,
    })
}

/// Days from 1970-01-01 to a date; negative before it.
///
/// Years are counted from March, so that a leap day is the last of its year: the months from March on then start
/// 0, 31, 61, 92, ... days into it, which is (153 m + 2) / 5.
fn days_from_1970(year: i32, month: u8, day: u8) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let year = i64::from(year);
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let day_of_year = (153 * i64::from(month) + 2) / 5 + i64::from(day) - 1;
    year * 365 + leap_days + day_of_year - DAYS_TO_1970
}

/// Days from 0000-03-01 to 1970-01-01.
const DAYS_TO_1970: i64 = 719_468;

/// The date (year, month, day) that many days after 1970-01-01.
pub fn date_from_days(days: i64) -> (i64, u8, u8) {
    const DAYS_PER_400_YEARS: i64 = 146_097;
    let days = days + DAYS_TO_1970;
    let (era, day) = (days.div_euclid(DAYS_PER_400_YEARS), days.rem_euclid(DAYS_PER_400_YEARS));
    // Take out the leap days before this day: one in 1,461 days, but none in 36,525, but one at the very end.
    let year = (day - day / 1460 + day / 36_524 - day / (DAYS_PER_400_YEARS - 1)) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    (era * 400 + year, u8::try_from(month).unwrap_or(1), u8::try_from(day).unwrap_or(1))
}

/// Whether the year has a February 29.
fn is_leap(year: i32) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_ten_thousand_years_goes_there_and_back_in_order() {
        let mut expected = days_from_1970(0, 1, 1);
        for year in 0..10_000 {
            for month in 1..=12 {
                for day in 1..=31 {
                    let time = CivilTime { year, month, day, hour: 0, minute: 0, second: 0, us: 0 };
                    if time.exists() {
                        assert_eq!(days_from_1970(year, month, day), expected);
                        assert_eq!(date_from_days(expected), (i64::from(year), month, day));
                        expected += 1;
                    }
                }
            }
        }
    }

    #[test]
    fn known_moments_have_their_known_numbers() {
        let time = |year, month, day| CivilTime { year, month, day, hour: 0, minute: 0, second: 0, us: 0 };
        assert_eq!(time(1970, 1, 1).unix_s_as_utc(), 0);
        assert_eq!(time(2000, 2, 29).unix_s_as_utc(), 951_782_400);
        assert_eq!(CivilTime { hour: 12, ..time(2026, 7, 2) }.unix_s_as_utc(), 1_782_993_600);
        assert_eq!(time(2026, 2, 30).unix_s_as_utc(), time(2026, 3, 2).unix_s_as_utc());
    }

    #[track_caller]
    fn check_year(time: &str, near: &str, expected: i32) {
        let time: alloc::vec::Vec<u8> = time.split('-').map(|field| field.parse().unwrap()).collect();
        let time = CivilTime { year: 0, month: time[0], day: time[1], hour: 12, minute: 0, second: 0, us: 0 };
        let near_s = crate::syslog::iso8601::unix_us(near).unwrap() / 1_000_000;
        assert_eq!(with_nearest_year(time, near_s).year, expected);
    }

    #[test]
    fn a_missing_year_is_the_one_that_brings_the_time_nearest() {
        check_year("07-02", "2026-07-02T12:00:00Z", 2026);
        check_year("12-31", "2026-07-02T12:00:00Z", 2026);
        check_year("01-01", "2026-07-02T12:00:00Z", 2026);
        check_year("12-31", "2027-01-01T00:00:10Z", 2026);
        check_year("01-01", "2026-12-31T23:59:50Z", 2027);
        check_year("03-01", "2027-01-01T00:00:10Z", 2027);
        check_year("07-10", "2027-01-01T00:00:10Z", 2026);
    }

    #[test]
    fn february_29_keeps_to_leap_years_if_one_is_near() {
        check_year("02-29", "2028-03-01T00:00:00Z", 2028);
        check_year("02-29", "2028-12-31T00:00:00Z", 2028);
        check_year("02-29", "2027-12-31T00:00:00Z", 2028);
        check_year("02-29", "2029-02-01T00:00:00Z", 2028);
        check_year("02-29", "2026-03-01T00:00:00Z", 2026); // none near: rolls over to March 1
        check_year("02-29", "2027-01-01T00:00:00Z", 2027);
        check_year("02-30", "2026-03-01T00:00:00Z", 2026);
    }
}

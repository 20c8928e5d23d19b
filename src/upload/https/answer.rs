//! What a server answered, and the two headers of it that we look at.

use alloc::vec::Vec;
use core::str::FromStr;
use std::io::Read;

use ureq::Body;
use ureq::http::{Response, header};

use crate::limits::{ANSWER_BODY_BYTES_MAX, RETRY_MS_MAX};
use crate::sys::clock;
use crate::syslog::{CivilTime, month_named};

/// An answer, bounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status, 100 to 999.
    pub status: u16,
    /// `Retry-After` in seconds from now, 1 to `RETRY_MS_MAX`; `None` if absent, nonsense, zero or past.
    pub retry_after_s: Option<u32>,
    /// The server's clock (`Date`) in seconds since 1970, if it sent one that can be read.
    pub date_unix_s: Option<i64>,
    /// The first [`ANSWER_BODY_BYTES_MAX`] bytes of the body, fewer if the connection broke.
    pub body: Vec<u8>,
}

impl Answer {
    /// Takes status and headers as they are, and as much of the body as we look at. A body that is longer, never ends or
    /// breaks off costs the connection, not the answer: the server has said its status.
    pub(super) fn read(mut response: Response<Body>) -> Answer {
        let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let date_unix_s = text(header::DATE).and_then(unix_from_http_date);
        let now_unix_s = date_unix_s.unwrap_or_else(clock::wall_s);
        let retry_after_s = text(header::RETRY_AFTER).and_then(|value| retry_after_s(value, now_unix_s));
        let status = response.status().as_u16();
        Answer { status, retry_after_s, date_unix_s, body: read_body(response.body_mut()) }
    }
}

/// Reads to the end if that is near, so that the connection can be used again.
fn read_body(body: &mut Body) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut reader = body.as_reader();
    let mut part = [0; 1024];
    while let Ok(count @ 1..) = reader.read(&mut part) {
        let room = ANSWER_BODY_BYTES_MAX - kept.len();
        kept.extend_from_slice(&part[..count.min(room)]);
        if count > room {
            break;
        }
    }
    kept
}

/// Seconds to wait, 1 to `RETRY_MS_MAX`, from seconds or an HTTP date; longer waits are cut to that.
/// Source: RFC 9110 section 10.2.3.
pub fn retry_after_s(value: &str, now_unix_s: i64) -> Option<u32> {
    let value = value.trim();
    let seconds = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        value.parse().unwrap_or(i64::MAX)
    } else {
        unix_from_http_date(value)?.saturating_sub(now_unix_s)
    };
    let seconds = u64::try_from(seconds).ok().filter(|&seconds| seconds > 0)?;
    u32::try_from(seconds.min(RETRY_MS_MAX / 1000)).ok()
}

/// Seconds since 1970 of a date as every server of today writes it (`Sun, 06 Nov 1994 08:49:37 GMT`); the two obsolete forms
/// are not read. Source: RFC 9110 section 5.6.7.
pub fn unix_from_http_date(text: &str) -> Option<i64> {
    let (_, text) = text.trim().split_once(", ")?;
    let mut fields = text.split([' ', ':']);
    let mut next = || fields.next();
    let time = CivilTime {
        day: number(next()?, 1, 31)?,
        month: month_named(next()?.as_bytes().try_into().ok()?)?,
        year: number(next()?, 1970, 9999)?,
        hour: number(next()?, 0, 23)?,
        minute: number(next()?, 0, 59)?,
        second: number(next()?, 0, 60)?,
        us: 0,
    };
    (next()? == "GMT" && next().is_none()).then(|| time.unix_s_as_utc())
}

fn number<N: FromStr + PartialOrd>(text: &str, least: N, most: N) -> Option<N> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|value| digits && (least..=most).contains(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_date(text: &str, expected: Option<i64>) {
        assert_eq!(unix_from_http_date(text), expected, "{text:?}");
    }

    #[test]
    fn the_date_header_is_seconds_since_1970_or_nothing() {
        check_date("Thu, 01 Jan 1970 00:00:00 GMT", Some(0));
        check_date("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777));
        check_date("Thu, 29 Feb 2024 12:00:00 GMT", Some(1_709_208_000));
        check_date("Tue, 19 Jan 2038 03:14:08 GMT", Some(2_147_483_648));
        check_date("Fri, 31 Dec 9999 23:59:60 GMT", Some(253_402_300_800));
        for nonsense in [
            "",
            "now",
            ", ",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 +0100",
            "Sun, 06 Nov 1994 08:49:37 GMT GMT",
            "Sun, 06 Nov 1994 8:49:37:00 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 06 November 1994 08:49:37 GMT",
            "Sun, 06 Nov 99999999999999999999 08:49:37 GMT",
            "Sun, 06 Nov -994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
        ] {
            check_date(nonsense, None);
        }
    }

    #[track_caller]
    fn check_retry(value: &str, expected: Option<u32>) {
        assert_eq!(retry_after_s(value, 784_111_777), expected, "{value:?}");
    }

    #[test]
    fn retry_after_is_one_second_to_sixteen_minutes_or_nothing() {
        check_retry("1", Some(1));
        check_retry(" 120 ", Some(120));
        check_retry("961", Some(960));
        check_retry("99999999999999999999999", Some(960));
        check_retry("0", None);
        check_retry("-5", None);
        check_retry("+5", None);
        check_retry("5.5", None);
        check_retry("soon", None);
        check_retry("", None);
        check_retry("Sun, 06 Nov 1994 08:50:37 GMT", Some(60));
        check_retry("Sun, 06 Nov 1994 08:49:37 GMT", None);
        check_retry("Sun, 06 Nov 1994 08:48:37 GMT", None);
        check_retry("Fri, 31 Dec 9999 23:59:59 GMT", Some(960));
    }
}

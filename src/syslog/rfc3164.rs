//! RFC 3164 ("BSD syslog") and what is sent under its name: `Mmm dd hh:mm:ss HOST TAG[PID]: text`, in many variants.
//!
//! The RFC describes practice and forbids nothing, so shape decides. In front of the text everything is optional; what does
//! not look like a part belongs to the text.

use super::{CivilTime, Message, Pri, Timestamp, after, digits, iso8601, month_named, token, without_leading_spaces};
use core::net::Ipv6Addr;

/// Takes apart what follows the PRI. Without a time at its start all of it is text (RFC 3164 section 4.3.2).
pub(super) fn parse(pri: Pri, bytes: &[u8]) -> Message<'_> {
    let nothing = Message {
        pri,
        timestamp: Timestamp::Absent,
        hostname: None,
        app_name: b"",
        procid: None,
        msgid: None,
        structured_data: None,
        msg: bytes,
    };
    let Some((timestamp, rest)) = timestamp(bytes) else { return nothing };
    let rest = without_leading_spaces(rest);
    let (hostname, rest) = match token(rest) {
        (word, _) if is_tag(word) => (None, rest), // as in messages from syslog(3) and `logger -u`
        (word, Some(behind)) => (Some(word), behind),
        (_, None) => return Message { timestamp, msg: rest, ..nothing }, // one word is text
    };
    let (app_name, procid, msg) = tag(rest);
    Message { timestamp, hostname, app_name, procid, msg, ..nothing }
}

/// Takes the time from the front, with the space behind it. A colon may end it (Cisco).
fn timestamp(bytes: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (timestamp, rest) = if bytes.first()?.is_ascii_digit() { iso8601::parse(bytes) } else { month_first(bytes) }?;
    let rest = after(b':', rest).unwrap_or(rest);
    match rest {
        [] => Some((timestamp, rest)),
        [b' ', rest @ ..] => Some((timestamp, rest)),
        _ => None,
    }
}

/// `Mmm dd hh:mm:ss`, `Mmm dd yyyy hh:mm:ss`, `Mmm dd hh:mm:ss yyyy` and `Mmm dd hh:mm:ss ZONE yyyy`.
fn month_first(bytes: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (name, rest) = bytes.split_first_chunk()?;
    let month = month_named(*name)?.into();
    let (day, rest) = digits(without_leading_spaces(after(b' ', rest)?), 1, 2)?;
    let rest = without_leading_spaces(after(b' ', rest)?);
    let (year, rest) = match year(rest) {
        Some((year, rest)) => (Some(year), after(b' ', rest)?),
        None => (None, rest),
    };
    let (clock, rest) = iso8601::clock(rest)?;
    let time = iso8601::date(month, day, clock)?;
    Some(match year {
        Some(year) => (Timestamp::Local(CivilTime { year, ..time }), rest),
        None => year_behind(time, rest).unwrap_or((Timestamp::Yearless(time), rest)),
    })
}

/// ` yyyy` or ` ZONE yyyy` behind the clock. Of the zones only UTC is known; the letters of others are no offset.
fn year_behind(time: CivilTime, rest: &[u8]) -> Option<(Timestamp, &[u8])> {
    let [b' ', rest @ ..] = rest else { return None };
    let (zone, rest) = rest.split_at(rest.iter().take_while(|byte| byte.is_ascii_uppercase()).count());
    let rest = match (zone.len(), rest) {
        (0, rest) | (3..=5, [b' ', rest @ ..]) => rest,
        _ => return None,
    };
    let (year, rest) = year(rest)?;
    let time = CivilTime { year, ..time };
    Some(match zone {
        b"UTC" | b"GMT" => (Timestamp::Unix(time.unix_s_as_utc() * 1_000_000 + i64::from(time.us)), rest),
        _ => (Timestamp::Local(time), rest),
    })
}

/// Takes a year from the front: a token of four digits, 1970 to 2199.
fn year(bytes: &[u8]) -> Option<(i32, &[u8])> {
    let (year, rest) = digits(bytes, 4, 4)?;
    let is_year = (1970..=2199).contains(&year) && matches!(rest, [] | [b' ', ..]);
    is_year.then_some((i32::try_from(year).ok()?, rest))
}

/// Whether a first word is a tag and not a host: `word:`, `word[pid]` or `word[pid]:…`.
fn is_tag(word: &[u8]) -> bool {
    let bracketed = || word.iter().skip(1).any(|&byte| byte == b'[') && word.contains(&b']');
    word.last() == Some(&b':') && !is_ipv6(word) || bracketed()
}

fn is_ipv6(word: &[u8]) -> bool {
    core::str::from_utf8(word).is_ok_and(|word| word.parse::<Ipv6Addr>().is_ok())
}

/// Takes `TAG[PID]:` from the front, every part of it optional, and gives the text behind it without leading spaces.
fn tag(bytes: &[u8]) -> (&[u8], Option<&[u8]>, &[u8]) {
    let end = bytes.iter().position(|byte| matches!(byte, b' ' | b':' | b'[')).unwrap_or(bytes.len());
    let (app_name, rest) = bytes.split_at(end);
    let (procid, rest) = match bracket(rest) {
        Some((procid, behind)) => (Some(procid).filter(|procid| !procid.is_empty()), behind),
        None => (None, rest),
    };
    let rest = without_leading_spaces(rest);
    (app_name, procid, without_leading_spaces(after(b':', rest).unwrap_or(rest)))
}

/// Takes `[PID]` from the front. What is not a number is a PID only in front of a colon.
fn bracket(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let bytes = after(b'[', bytes)?;
    let (procid, rest) = bytes.split_at(bytes.iter().position(|byte| matches!(byte, b']' | b' '))?);
    let rest = after(b']', rest)?;
    let is_number = !procid.is_empty() && procid.iter().all(u8::is_ascii_digit);
    (is_number || without_leading_spaces(rest).first() == Some(&b':')).then_some((procid, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows without a time in front of them are about what follows `Nov 22 07:00:00 `.
    #[track_caller]
    fn check(rest: &str, expected: (Option<&str>, &str, Option<&str>, &str)) {
        let line = std::format!("Nov 22 07:00:00 {rest}");
        let message = parse(Pri::DEFAULT, line.as_bytes());
        let text = |bytes| core::str::from_utf8(bytes).unwrap();
        let found = (message.hostname.map(text), text(message.app_name), message.procid.map(text), text(message.msg));
        assert_eq!(found, expected, "{rest}");
        assert_ne!(message.timestamp, Timestamp::Absent);
    }

    #[test]
    fn host_tag_and_text_are_told_apart() {
        check("h su[123]: 'su root' failed", (Some("h"), "su", Some("123"), "'su root' failed"));
        check("h kernel: [ 12.5] eth0: up", (Some("h"), "kernel", None, "[ 12.5] eth0: up"));
        check("h prog:no space", (Some("h"), "prog", None, "no space"));
        check("h CEF: 0|a|b", (Some("h"), "CEF", None, "0|a|b"));
        check("h (cron)[12]: p", (Some("h"), "(cron)", Some("12"), "p"));
        check("h : empty", (Some("h"), "", None, "empty"));
        check("h last message repeated 3 times", (Some("h"), "last", None, "message repeated 3 times"));
        check("h a[1] text", (Some("h"), "a", Some("1"), "text"));
        check("h a[1] : text", (Some("h"), "a", Some("1"), "text"));
        check("h a : text", (Some("h"), "a", None, "text"));
        check("h  two spaces: after", (Some("h"), "", None, "two spaces: after"));
        check(" h a: two before", (Some("h"), "a", None, "two before"));
        check("fe80::1 a: b", (Some("fe80::1"), "a", None, "b"));
        check("fe80:: a: b", (Some("fe80::"), "a", None, "b"));
        check("[fe80::1] a: b", (Some("[fe80::1]"), "a", None, "b"));
        check("h ", (Some("h"), "", None, ""));
    }

    #[test]
    fn text_up_to_a_later_colon_is_text() {
        check("h prog some text: more", (Some("h"), "prog", None, "some text: more"));
        check("h a [1]: x", (Some("h"), "a", None, "[1]: x"));
        check("h a[1 2]: x", (Some("h"), "a", None, "[1 2]: x"));
        check("h a[x] y: z", (Some("h"), "a", None, "[x] y: z"));
        check("h a[12", (Some("h"), "a", None, "[12"));
    }

    #[test]
    fn a_pid_that_is_not_a_number_is_kept() {
        check("h prog[ab]: x", (Some("h"), "prog", Some("ab"), "x"));
        check("h prog[ab] : x", (Some("h"), "prog", Some("ab"), "x"));
        check("h prog[7-1]:x", (Some("h"), "prog", Some("7-1"), "x"));
        check("h prog[]: x", (Some("h"), "prog", None, "x"));
    }

    #[test]
    fn a_tag_in_the_first_place_means_no_host() {
        check("root: from logger -u", (None, "root", None, "from logger -u"));
        check("app[12]: from syslog(3)", (None, "app", Some("12"), "from syslog(3)"));
        check("app[12] no colon", (None, "app", Some("12"), "no colon"));
        check("app[12]:no space", (None, "app", Some("12"), "no space"));
        check("app: ", (None, "app", None, ""));
        check("app:", (None, "app", None, ""));
        check(": text", (None, "", None, "text"));
    }

    #[test]
    fn a_single_word_is_text() {
        check("word", (None, "", None, "word"));
        check("", (None, "", None, ""));
        check("h word", (Some("h"), "word", None, "")); // as the original
    }

    #[track_caller]
    fn check_time(line: &str, expected: Option<(Option<i32>, u8, u8, &str)>) {
        let message = parse(Pri::DEFAULT, line.as_bytes());
        let rest = core::str::from_utf8(message.msg).unwrap();
        let found = match message.timestamp {
            Timestamp::Absent => None,
            Timestamp::Yearless(time) => Some((None, time.month, time.day, rest)),
            Timestamp::Local(time) => Some((Some(time.year), time.month, time.day, rest)),
            Timestamp::Unix(_) => Some((Some(0), 0, 0, rest)),
        };
        assert_eq!(found, expected, "{line}");
        if expected.is_none() {
            assert_eq!(rest, line, "a line without a time is text");
        }
    }

    #[test]
    fn times_with_and_without_a_year_are_known() {
        check_time("Nov  2 07:00:00 h a: x", Some((None, 11, 2, "x")));
        check_time("Nov 2 7:00:00 h a: x", Some((None, 11, 2, "x")));
        check_time("NOV 02 07:00:00.125 h a: x", Some((None, 11, 2, "x")));
        check_time("Feb 30 07:00:60: h a: x", Some((None, 2, 30, "x")));
        check_time("Nov 22 2026 07:00:00 h a: x", Some((Some(2026), 11, 22, "x")));
        check_time("Nov 22 07:00:00 2026 h a: x", Some((Some(2026), 11, 22, "x")));
        check_time("Aug 24 05:34:00 CST 1987 h a: x", Some((Some(1987), 8, 24, "x")));
        check_time("Aug 24 05:34:00 UTC 1987 h a: x", Some((Some(0), 0, 0, "x")));
        check_time("Aug 24 05:34:00 HOST a: 1987", Some((None, 8, 24, "1987")));
        check_time("2026-11-22T07:00:00Z h a: x", Some((Some(0), 0, 0, "x")));
        check_time("2026-11-22 07:00:00 h a: x", Some((Some(2026), 11, 22, "x")));
    }

    #[test]
    fn what_is_no_time_is_text() {
        for line in [
            "",
            " ",
            "text",
            "Nov",
            "Nov ",
            "Nov 22",
            "Nov 22 07:00",
            "Nov 22 07:00:00x h a: b",
            "Nov 00 07:00:00 h a: b",
            "Nov 32 07:00:00 h a: b",
            "Non 22 07:00:00 h a: b",
            "Nov 22 24:00:00 h a: b",
            "Nov 22 07:60:00 h a: b",
            "Nov 22 07:00:61 h a: b",
            "Nov 123 07:00:00 h a: b",
            "2026-11-22T07:00:00Q h a: b",
            "[  1.5] eth0: link up",
            "  Nov 22 07:00:00 h a: b",
            "-1>Nov 22 07:00:00 h a: b",
            "99999999999999999999",
        ] {
            check_time(line, None);
        }
    }
}

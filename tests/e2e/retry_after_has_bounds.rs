//! The service says 503 and when to come back: as a date by its own clock, in a hundred years, in the past, or in words that mean nothing. omsd comes
//! back at that time where it makes sense, after `max_retry_wait` where it is longer than that, and by its own schedule where it is nonsense.

use crate::harness::{Numbered, Site, Source, at_the_same_time, send_over_tcp, wait_until};
use omsd_standin::{Answer, Options, Route, clock};
use std::time::Duration;

/// What a busy machine may add to a wait.
const LATE: Duration = Duration::from_secs(4);
const OWN: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(3);

/// `Retry-After`, and the least time from the refused request to the next.
struct Row {
    value: &'static str,
    least: Duration,
}

#[test]
fn what_makes_no_sense_is_bounded_or_passed_over() {
    let row = |value: &'static str, least| (if value.is_empty() { "nothing" } else { value }, Row { value, least });
    let own = OWN * 7 / 8;
    let rows = vec![
        row("3153600000", LONGEST),
        row("99999999999999999999999999", LONGEST),
        row("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST),
        row("-5", own),
        row("0", own),
        row("", own),
        row("soon", own),
        row("1e3", own),
        row("Sun, 06 Nov 1994 08:49:37 GMT", own),
        row("Sun, 99 Nov 2094 08:49:37 GMT", own),
    ];
    at_the_same_time(rows, check);
}

fn check(row: Row) {
    let (site, source) = (Site::new(), Source::tcp());
    site.configure(&[source], "retry_wait 1s\nmax_retry_wait 3s");
    site.standin.answer_next(Route::Data, [Answer::status(503).retry_after(row.value)]);
    let _omsd = site.start();
    let messages = Numbered::new(10);
    let _stream = send_over_tcp(source, &messages.lines());
    messages.expect_once_each(&site, |_, _| {});
    let seen = site.standin.seen();
    let waited = seen.requests[1].at - seen.requests[0].at;
    assert!(waited >= row.least && waited <= row.least + LATE, "{:?}: came back after {waited:?}", row.value);
}

#[test]
fn a_date_is_by_the_clock_of_the_service() {
    const AHEAD_S: i64 = 3600;
    const WAIT_S: i64 = 8;
    let site = Site::with(Options { clock_offset_s: AHEAD_S, ..Options::default() });
    let source = Source::tcp();
    site.configure(&[source], "retry_wait 1s\nmax_retry_wait 60s");
    let due_s = clock::now_s() + WAIT_S;
    let answer = Answer::status(503).retry_after(clock::http_date(due_s + AHEAD_S));
    site.standin.answer_next(Route::Data, [answer]);
    let _omsd = site.start();
    let messages = Numbered::new(10);
    let _stream = send_over_tcp(source, &messages.lines());
    messages.expect_once_each(&site, |_, _| {});
    // Both clocks are read in whole seconds.
    let late_s = clock::now_s() - due_s;
    assert!((-1..=4).contains(&late_s), "{late_s} s late");
}

#[test]
fn by_default_sixteen_minutes_are_the_most() {
    let (site, source) = (Site::new(), Source::tcp());
    site.configure(&[source], "max_retry_wait 16m");
    site.standin.answer_next(Route::Data, [Answer::status(429).retry_after(86_400)]);
    let omsd = site.start();
    let messages = Numbered::new(10);
    let _stream = send_over_tcp(source, &messages.lines());
    wait_until("it says when", || {
        site.stream("syslog")["next_attempt_in_s"].as_u64().is_some_and(|left_s| (930..=960).contains(&left_s))
    });
    omsd.signal("USR1"); // the administrator knows better
    messages.expect_once_each(&site, |_, _| {});
}

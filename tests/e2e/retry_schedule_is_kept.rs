//! The service is down for long. omsd waits `retry_wait`, then twice that, up to `max_retry_wait`, whatever arrives meanwhile. It is killed or stopped and
//! started again in the middle of a wait: the new one goes on where the old one was, neither at once nor from the beginning.

use crate::harness::{Numbered, Site, Source, at_the_same_time, send_over_tcp, wait_until};
use omsd_standin::{Answer, Request, Route};
use std::io::Write;
use std::time::{Duration, Instant};

/// What a busy machine may add to a wait.
const LATE: Duration = Duration::from_secs(4);

#[test]
fn waits_double_up_to_the_longest_whatever_arrives() {
    let (site, source) = (Site::new(), Source::tcp());
    site.configure(&[source], "retry_wait 0.5\nmax_retry_wait 2s\nflush_interval 0.5");
    site.standin.answer_always(Route::Data, Answer::status(503));
    let _omsd = site.start();
    let mut stream = send_over_tcp(source, "");
    wait_until("six requests", || {
        // A message a moment: none of them is a reason to ask earlier.
        stream.write_all(b"<13>Nov 22 20:00:00 web01 app: another\n").expect("omsd reads");
        site.standin.wait(Duration::from_millis(100), |seen| seen.requests.len() >= 6)
    });
    let requests = site.standin.seen().requests.clone();
    let counts: Vec<u32> = requests.iter().map(|request| request.retry_count).collect();
    assert_eq!(counts[..6], [0, 1, 2, 3, 4, 5]);
    for (pair, wait_ms) in requests.windows(2).zip([500, 1000, 2000, 2000, 2000]) {
        expect_wait(pair[0].at, pair[1].at, wait_ms);
    }
}

#[test]
fn a_restart_goes_on_with_the_schedule() {
    at_the_same_time(vec![("killed", "KILL"), ("stopped", "TERM")], check_restart);
}

fn check_restart(signal: &str) {
    let (site, source) = (Site::new(), Source::tcp());
    site.configure(&[source], "retry_wait 1.5\nmax_retry_wait 60s");
    site.standin.answer_always(Route::Data, Answer::status(503));
    let mut omsd = site.start();
    let messages = Numbered::new(100);
    let _stream = send_over_tcp(source, &messages.lines());
    wait_until("three failures", || site.stream("syslog")["attempts"] == 3);
    omsd.signal(signal);
    omsd.wait_for_end();
    let before: Vec<Request> = site.standin.seen().requests.clone();
    assert_eq!(before.len(), 3);

    let _omsd = site.start();
    site.wait("the fourth attempt", |seen| seen.requests.len() == 4);
    let fourth = site.standin.seen().requests[3].clone();
    expect_wait(before[2].at, fourth.at, 6000);
    assert_eq!(fourth.retry_count, 3, "it counts on");
    wait_until("four failures", || site.stream("syslog")["attempts"] == 4);
    assert!(site.stream("syslog")["next_attempt_in_s"].as_u64() > Some(6), "the next wait is longer");
}

/// The time between two requests is this wait, an eighth more or less, and what a busy machine adds.
#[track_caller]
fn expect_wait(first: Instant, second: Instant, wait_ms: u64) {
    let (waited, wait) = (second - first, Duration::from_millis(wait_ms));
    assert!(waited >= wait * 7 / 8 && waited <= wait * 9 / 8 + LATE, "{waited:?} is not {wait:?}");
}

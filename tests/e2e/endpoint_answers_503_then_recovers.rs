//! The service is overloaded: it answers 503 to the first requests, then takes them. Messages keep coming meanwhile. Nothing is lost, nothing arrives
//! twice, the order stays, the retry count in the header grows and starts again at 0.

use crate::harness::{Numbered, Site, Source};
use omsd_standin::{Answer, Manner, Route};
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

#[track_caller]
fn check(answers: Vec<Answer>) {
    let site = Site::new();
    let source = Source::tcp();
    site.configure(&[source], "retry_wait 1s\nmax_retry_wait 1s");
    // A connection that is reset leaves no request to look at.
    let bad = answers.iter().filter(|answer| answer.manner != Manner::Reset).count();
    site.standin.answer_next(Route::Data, answers);
    let _omsd = site.start();
    let messages = Numbered::new(2000);
    let lines = messages.lines();
    let (before, after) = lines.split_at(lines.len() / 2);
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, source.port())).expect("omsd listens");
    stream.write_all(before.as_bytes()).expect("omsd reads");
    site.wait("the first refused request", |seen| !seen.requests.is_empty());
    stream.write_all(after.as_bytes()).expect("omsd reads");
    messages.expect_once_each(&site, |number, item| messages.rfc3164_fields(number, item));

    let seen = site.standin.seen();
    assert!(seen.requests[..bad].iter().all(|request| !request.taken), "{:?}", seen.requests);
    assert_eq!(seen.requests[0].retry_count, 0);
    assert!(seen.requests[1].retry_count > 0, "the second try of a chunk counts itself: {:?}", seen.requests[1]);
    assert_eq!(seen.requests.last().map(|request| request.retry_count), Some(0), "success starts the count again");
}

#[test]
fn answers_503() {
    check(vec![Answer::status(503), Answer::status(503)]);
}

#[test]
fn answers_503_with_retry_after() {
    check(vec![Answer::status(503).retry_after(2)]);
}

#[test]
fn answers_500_408_and_429() {
    check(vec![Answer::status(500), Answer::status(408), Answer::status(429).retry_after(1)]);
}

#[test]
fn closes_without_answer() {
    check(vec![Answer::manner(Manner::Close { taken: false }), Answer::manner(Manner::Reset)]);
}

#[test]
fn retry_after_is_obeyed() {
    let site = Site::new();
    let source = Source::tcp();
    site.configure(&[source], "retry_wait 1s\nmax_retry_wait 60s");
    site.standin.answer_next(Route::Data, [Answer::status(503).retry_after(4)]);
    let _omsd = site.start();
    let messages = Numbered::new(10);
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, source.port())).expect("omsd listens");
    stream.write_all(messages.lines().as_bytes()).expect("omsd reads");
    messages.expect_once_each(&site, |_, _| {});
    let seen = site.standin.seen();
    let waited = seen.requests[1].at - seen.requests[0].at;
    assert!(waited >= Duration::from_secs(4), "asked for 4 s, came back after {waited:?}");
}

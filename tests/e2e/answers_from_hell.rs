//! The service, or what stands in front of it, answers as one has answered somebody before: not at all, a byte a second, with a header without end, with
//! a redirect, with a page of ten megabytes. Whatever it is, omsd stays up and small, says what it was, and once the service is well again delivers
//! everything; twice only what the service took without an answer that could be read. An answer that is odd but good is taken as good.

use crate::harness::{Numbered, Site, Source, Watch, at_the_same_time, send_over_tcp, wait_for, wait_until};
use omsd_standin::serde_json::Value;
use omsd_standin::{Answer, Manner, Options, Refusal, RefuseWhen, Route, Standin};
use std::io::Write;
use std::time::Duration;

const COUNT: usize = 300;
const PAGE_BYTES: usize = 10_000_000;
/// Resident memory of the daemon and of its child, each: less than the largest page.
const MEMORY_KB_MAX: u64 = PAGE_BYTES as u64 / 1024 * 3 / 4;
/// An answer that does not come is waited for a minute; the rest is told at once.
const TOLD_WITHIN: Duration = Duration::from_secs(90);

/// A bad answer, and what omsd says of it.
struct Bad {
    answer: Answer,
    /// The HTTP status told; 0: none arrived.
    status: u16,
    reason: &'static str,
}

/// The rows wait at the same time: some of them wait for a minute.
#[test]
fn bad_answers_are_told_and_cost_nothing() {
    let elsewhere = Standin::start(Options::default()).expect("a second service");
    let location = format!("{}/OperationalData.svc/PostJsonDataItems", elsewhere.url());
    let redirect = |status| Answer { status, ..Answer::manner(Manner::Redirect(location.clone())) };
    let with = |status, manner| Answer { status, manner, ..Answer::default() };
    let bad = |name, answer, status, reason| (name, Bad { answer, status, reason });
    let (waited, closed) = ("waited too long for an answer", "closed before the answer");
    let (own, unreadable) = ("an error of its own", "not an answer we can read");
    let rows = vec![
        bad("silence", Answer::manner(Manner::Silence { taken: false }), 0, waited),
        bad("silence once the records were kept", Answer::manner(Manner::Silence { taken: true }), 0, waited),
        bad("a byte a second", with(503, Manner::Trickle), 0, waited),
        bad("a good answer, a byte a second", Answer::manner(Manner::Trickle), 0, waited),
        bad("endless header", Answer::manner(Manner::EndlessHeader), 0, "too many headers"),
        bad("garbage", Answer::manner(Manner::Garbage), 0, unreadable),
        bad("closed", Answer::manner(Manner::Close { taken: false }), 0, closed),
        bad("closed once the records were kept", Answer::manner(Manner::Close { taken: true }), 0, closed),
        bad("reset", Answer::manner(Manner::Reset), 0, closed),
        bad("continue, then busy", with(503, Manner::ContinueFirst), 503, "busy"),
        bad("error in chunks", with(500, Manner::Chunked), 500, own),
        bad("error in HTTP/1.0", with(504, Manner::Http10), 504, own),
        bad("gzip'd page", Answer::manner(Manner::Gzip), 502, own),
        bad("page of ten megabytes", with(500, Manner::Large(PAGE_BYTES)), 500, own),
        bad("redirect", redirect(302), 302, "redirect, which is not followed"),
        bad("redirect that keeps the method", redirect(307), 307, "redirect, which is not followed"),
    ];
    at_the_same_time(rows, check_bad);
    assert_eq!(elsewhere.seen().counts.connections, 0, "a redirect was followed");
}

fn check_bad(row: Bad) {
    let site = Site::new();
    let source = Source::tcp();
    site.configure(&[source], "");
    site.standin.answer_next(Route::Data, [row.answer.clone()]);
    let omsd = site.start();
    let watch = Watch::start(omsd.pid());
    let messages = Numbered::new(COUNT);
    let _stream = send_over_tcp(source, &messages.lines());

    wait_for(TOLD_WITHIN, "omsd says what it was", || omsd.stderr().contains("upload of syslog put off"));
    assert!(omsd.stderr().contains(row.reason), "{}", omsd.stderr());
    let twice = if row.answer.takes() { site.standin.seen().requests[0].records } else { 0 };
    let all = COUNT + 1;
    let status = settled(&site, all);
    assert_eq!(status["upload"]["last_status"], row.status, "{status}");
    assert!(status["upload"]["last_reason"].as_str().is_some_and(|told| told.contains(row.reason)), "{status}");
    assert_eq!(status["streams"][0]["received"], all, "{status}");
    assert!(omsd.runs());
    check_small(watch);

    let seen = site.standin.seen();
    let once: Vec<&str> = seen.messages().skip(twice).collect();
    assert_eq!(once.len(), all, "each message once, and again the {twice} whose answer was lost");
    let repeated = seen.messages().take(twice).zip(&once).all(|(first, second)| first == *second);
    let in_order = once.iter().enumerate().take(COUNT).all(|(number, text)| *text == messages.text(number));
    assert!(repeated && in_order, "{once:?}");
    assert_eq!(seen.complaints, [""; 0]);
}

#[test]
fn no_content_is_a_good_answer() {
    check_good(Answer::status(204));
}

#[test]
fn accepted_is_a_good_answer() {
    check_good(Answer::status(202));
}

#[test]
fn a_good_answer_in_chunks_is_taken() {
    check_good(Answer::manner(Manner::Chunked));
}

#[test]
fn a_good_answer_in_http_1_0_is_taken() {
    check_good(Answer::manner(Manner::Http10));
}

#[test]
fn a_good_answer_behind_a_continue_is_taken() {
    check_good(Answer::manner(Manner::ContinueFirst));
}

#[test]
fn a_good_answer_with_a_page_of_ten_megabytes_is_taken() {
    check_good(Answer::manner(Manner::Large(PAGE_BYTES)));
}

#[track_caller]
fn check_good(answer: Answer) {
    let site = Site::new();
    let source = Source::tcp();
    site.configure(&[source], "");
    site.standin.answer_always(Route::Data, answer);
    let omsd = site.start();
    let watch = Watch::start(omsd.pid());
    let messages = Numbered::new(COUNT);
    let lines = messages.lines();
    let (before, after) = lines.split_at(lines.len() / 2);
    let mut stream = send_over_tcp(source, before);
    site.wait("the first request", |seen| seen.counts.taken > 0);
    stream.write_all(after.as_bytes()).expect("omsd reads"); // another request, on the same connection or a new one
    messages.expect_once_each(&site, |_, _| {});
    let status = settled(&site, COUNT + 1);
    assert_eq!(status["upload"]["last_failure"], "", "{status}");
    assert_eq!(status["streams"][0]["sent_again"], 0, "{status}");
    assert!(omsd.runs() && !omsd.stderr().contains("put off"), "{}", omsd.stderr());
    check_small(watch);
}

#[test]
fn a_refusal_with_a_page_of_ten_megabytes_is_a_refusal() {
    check_refused(Answer { status: 400, ..Answer::manner(Manner::Large(PAGE_BYTES)) });
}

#[test]
fn a_refusal_with_a_gzipd_page_is_a_refusal() {
    check_refused(Answer { status: 413, ..Answer::manner(Manner::Gzip) });
}

#[track_caller]
fn check_refused(answer: Answer) {
    let site = Site::new();
    let source = Source::tcp();
    site.configure(&[source], "");
    let status = answer.status;
    site.standin.refuse(Refusal { when: RefuseWhen::Contains(b"seq=7 ".to_vec()), answer });
    let omsd = site.start();
    let watch = Watch::start(omsd.pid());
    let messages = Numbered::new(20);
    let _stream = send_over_tcp(source, &messages.lines());
    wait_until("one record is refused, the others are sent", || {
        let stream = &site.status()["streams"][0];
        stream["refused"] == 1 && stream["sent"] == 20
    });
    let rejected = std::fs::read_to_string(site.var("rejected")).expect("the rejected file");
    assert!(rejected.contains(&format!("\"status\":{status}")) && rejected.lines().count() == 1, "{rejected}");
    assert!(rejected.len() < 2000, "the page is in it: {rejected}");
    assert!(omsd.runs());
    check_small(watch);
}

/// What a large request meets at a proxy with a smaller bound.
#[test]
fn a_refusal_before_the_body_was_read_halves_the_request() {
    let site = Site::new();
    let source = Source::tcp();
    site.configure(&[source], "");
    site.standin.answer_next(Route::Data, [Answer { status: 413, ..Answer::manner(Manner::Early) }]);
    let omsd = site.start();
    // Some 400 KB even when compressed: more than a connection takes before its other end reads.
    let noise = |number: u64| format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let texts: Vec<String> = (0..900).map(|number| (60 * number..60 * number + 60).map(noise).collect()).collect();
    let lines: String = texts.iter().map(|text| format!("<13>Nov 22 20:00:00 web01 app: {text}\n")).collect();
    let _stream = send_over_tcp(source, &lines);
    let status = settled(&site, texts.len());
    assert_eq!(status["streams"][0]["refused"], 0, "{status}");
    assert!(!omsd.stderr().contains("put off"), "the answer was not seen: {}", omsd.stderr());
    let seen = site.standin.seen();
    assert_eq!((seen.requests[0].status, seen.requests[1].records), (413, 450), "half of it went next");
    assert!(seen.messages().eq(texts.iter().map(String::as_str)), "each once and in order");
}

/// The status once so many syslog records are sent and none waits.
#[track_caller]
fn settled(site: &Site, sent: usize) -> Value {
    let mut status = Value::Null;
    wait_until("all is sent, nothing waits", || {
        status = site.status();
        status["streams"][0]["sent"] == sent && status["streams"][0]["pending"] == 0
    });
    status
}

#[track_caller]
fn check_small(watch: Watch) {
    let peak = watch.end();
    assert!(peak.parent_kb.max(peak.child_kb) <= MEMORY_KB_MAX, "{peak:?}");
}

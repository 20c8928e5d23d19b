//! `flush_interval` and `buffer_chunk_limit` of an existing omsagent.conf. Messages wait for each other for as long as the interval says; a full chunk goes
//! at once, and none is larger than the limit.

use crate::harness::{Numbered, Site, Source, send_over_tcp, wait_until};
use std::io::Write;
use std::time::{Duration, Instant};

#[test]
fn messages_of_one_interval_share_a_request() {
    const INTERVAL: Duration = Duration::from_secs(3);
    let (site, source) = (Site::new(), Source::tcp());
    site.configure(&[source], "flush_interval 3s");
    let _omsd = site.start();
    let messages = Numbered::new(100);
    let lines = messages.lines();
    let (before, after) = lines.split_at(lines.len() / 2);
    let start = Instant::now();
    let mut stream = send_over_tcp(source, before);
    std::thread::sleep(INTERVAL / 3);
    stream.write_all(after.as_bytes()).expect("omsd reads");
    messages.expect_once_each(&site, |_, _| {});
    let seen = site.standin.seen();
    assert_eq!(seen.requests.iter().map(|request| request.records).collect::<Vec<_>>(), [101]);
    let waited = seen.requests[0].at - start;
    assert!(waited >= INTERVAL, "they were sent after {waited:?}");
}

/// 600 messages of some 1,000 bytes.
const COUNT: usize = 600;

#[test]
fn a_full_chunk_is_sent_before_its_interval() {
    const LIMIT: usize = 128 * 1024;
    let requests = records_of_requests("128k", |site| {
        wait_until("whole chunks are sent", || site.stream("syslog")["sent"].as_u64().is_some_and(|sent| sent > 100));
    });
    let largest = requests.iter().max().copied().unwrap_or(0) * text(0).len();
    assert!(largest <= LIMIT && largest > LIMIT / 2, "{requests:?}");
}

#[test]
fn a_larger_chunk_waits_for_its_interval() {
    let requests = records_of_requests("1m", |site| {
        wait_until("all are received", || site.stream("syslog")["received"] == COUNT);
        assert_eq!(site.standin.seen().requests.len(), 0, "nothing is sent before its time");
    });
    assert_eq!(requests, [COUNT]);
}

/// Sends all, does `meanwhile`, flushes: how many records each request had. All arrive once and in order.
#[track_caller]
fn records_of_requests(limit: &str, meanwhile: impl FnOnce(&Site)) -> Vec<usize> {
    let (site, source) = (Site::new(), Source::tcp());
    site.configure(&[source], &format!("flush_interval 10m\nbuffer_chunk_limit {limit}"));
    let omsd = site.start();
    let lines: String = (0..COUNT).map(|number| format!("<13>Nov 22 20:00:00 web01 app: {}\n", text(number))).collect();
    let _stream = send_over_tcp(source, &lines);
    meanwhile(&site);
    wait_until("all are read and sent", || {
        omsd.signal("USR1");
        site.standin.wait(Duration::from_millis(200), |seen| seen.counts.records == COUNT as u64)
    });
    let seen = site.standin.seen();
    assert!(seen.messages().eq((0..COUNT).map(text)), "each once and in order");
    assert_eq!(seen.complaints, [""; 0]);
    seen.requests.iter().map(|request| request.records).collect()
}

fn text(number: usize) -> String {
    format!("number {number:05} {}", "x".repeat(987))
}

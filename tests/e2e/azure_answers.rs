//! The Logs Ingestion API, or what stands in front of it, answers as it has answered others. Nothing is lost: what is put off arrives later, what is
//! too large arrives in parts, of what is refused only the one record stays behind, and the operator is told what to do.

use crate::harness::{Numbered, Omsd, Site, Source, at_the_same_time, send_over_tcp, wait_for, wait_until};
use omsd::limits::RING_BYTES_DEFAULT;
use omsd::ring::disk;
use omsd::sys::clock;
use omsd::upload::Stream;
use omsd_standin::{Answer, Azure, Manner, Options, Refusal, RefuseWhen, Route};
use std::time::{Duration, Instant};

const COUNT: usize = 2000;
const PATIENCE: Duration = Duration::from_secs(90);

struct Row {
    options: Options,
    /// Makes trouble.
    before: fn(&Site),
    /// What omsd says of it.
    told: &'static str,
    /// Ends it.
    after: fn(&Site),
    /// What else must hold once all has arrived.
    check: fn(&Site, &Omsd, Duration),
}

fn nothing(_: &Site) {}

fn nothing_else(_: &Site, _: &Omsd, _: Duration) {}

fn next(site: &Site, answer: Answer) {
    site.standin.answer_next(Route::Rows, [answer]);
}

fn azure(site: &Site, change: fn(&mut Azure)) {
    site.standin.azure(change);
}

fn error(status: u16, code: &str) -> Answer {
    Answer::status(status).saying(format!(r#"{{"error":{{"code":"{code}","message":"x"}}}}"#))
}

#[test]
fn whatever_the_answer_everything_arrives() {
    let row = |before, told, after, check| Row { options: Options::default(), before, told, after, check };
    let ahead = Options { clock_offset_s: 3600, ..Options::default() };
    let rows = vec![
        (
            "429 with Retry-After",
            row(
                |site| next(site, Answer::status(429).retry_after(3)),
                "slow down (429)",
                nothing,
                |_, _, took| {
                    assert!(took >= Duration::from_secs(3), "it came back after {took:?}");
                },
            ),
        ),
        ("429 without", row(|site| next(site, Answer::status(429)), "slow down (429)", nothing, nothing_else)),
        ("500", row(|site| next(site, Answer::status(500)), "an error of its own", nothing, nothing_else)),
        ("408", row(|site| next(site, Answer::status(408)), "(408)", nothing, nothing_else)),
        (
            "403, the role is not there yet",
            row(
                |site| azure(site, |it| it.role = false),
                "Monitoring Metrics Publisher",
                |site| azure(site, |it| it.role = true),
                nothing_else,
            ),
        ),
        (
            "404, the rule was deleted",
            row(
                |site| azure(site, |it| it.rule_id.insert(0, 'x')),
                "no such rule or stream",
                |site| azure(site, |it| _ = it.rule_id.remove(0)),
                nothing_else,
            ),
        ),
        (
            "404, another stream",
            row(
                |site| azure(site, |it| _ = it.streams.remove("Custom-HostSyslog")),
                "no such rule or stream",
                |site| azure(site, |it| it.streams = Azure::default().streams),
                nothing_else,
            ),
        ),
        (
            "another version of the API",
            row(
                |site| azure(site, |it| it.api_versions.clear()),
                "so was each record before",
                |site| azure(site, |it| it.api_versions = Azure::default().api_versions),
                nothing_else,
            ),
        ),
        (
            "403 and a wrong clock",
            Row {
                options: ahead,
                ..row(
                    |site| azure(site, |it| it.role = false),
                    "clock is 60 min behind",
                    |site| azure(site, |it| it.role = true),
                    nothing_else,
                )
            },
        ),
        (
            "taken, and no answer",
            row(
                |site| next(site, Answer::manner(Manner::Close { taken: true })),
                "may arrive twice",
                nothing,
                |site, _, _| {
                    assert_eq!(site.status()["upload"]["ambiguous"], 1);
                },
            ),
        ),
        (
            "a token for another audience",
            row(
                |site| azure(site, |it| it.audience.push('x')),
                "the token is not accepted (401)",
                |site| azure(site, |it| _ = it.audience.pop()),
                nothing_else,
            ),
        ),
    ];
    at_the_same_time(rows, check);
}

fn check(row: Row) {
    let site = Site::bare(Options { marker: "seq=".to_owned(), ..row.options });
    let source = Source::tcp();
    site.configure_rows(&[source], "");
    (row.before)(&site);
    let omsd = site.start();
    let begun = Instant::now();
    let messages = Numbered::new(COUNT);
    let _stream = send_over_tcp(source, &messages.lines());
    wait_for(PATIENCE, row.told, || omsd.stderr().contains(row.told));
    (row.after)(&site);
    wait_for(PATIENCE, "everything is sent or set aside", || {
        let account = site.stream("syslog");
        let number = |key: &str| account[key].as_u64().unwrap_or(0);
        number("received") >= COUNT as u64 && number("sent") + number("refused") == number("received")
    });
    (row.check)(&site, &omsd, begun.elapsed());
    let refused = site.stream("syslog")["refused"].as_u64().unwrap_or(0);
    assert!(refused <= 3 * 12, "{refused} records were set aside for a fault that was not theirs");
    assert!(site.standin.seen().numbers.unique() + refused >= COUNT as u64);
    assert!(omsd.runs());
}

/// Of ten thousand records one is refused, with 400 or with 413: it is found in a logarithmic number of requests, the others arrive once and in order.
#[test]
fn one_bad_record_among_ten_thousand() {
    at_the_same_time(
        vec![("400", error(400, "InvalidRecord")), ("413", error(413, "ContentLengthLimitExceeded"))],
        |answer| {
            const COUNT: usize = 10_000;
            let site = Site::bare(Options { marker: "seq=".to_owned(), ..Options::default() });
            let source = Source::tcp();
            site.configure_rows(&[source], "");
            site.standin.refuse(Refusal { when: RefuseWhen::Contains(b"seq=6170 ".to_vec()), answer });
            let _omsd = site.start();
            let messages = Numbered::new(COUNT);
            let _stream = send_over_tcp(source, &messages.lines());
            site.wait("all but one", |seen| seen.numbers.unique() == COUNT as u64 - 1);
            wait_until("one is refused", || {
                site.stream("syslog")["refused"] == 1 && site.stream("syslog")["pending"] == 0
            });
            let seen = site.standin.seen();
            let texts: Vec<&str> = seen.rows_of("Custom-HostSyslog").map(|row| row.text("SyslogMessage")).collect();
            let expected = (0..COUNT).filter(|number| *number != 6170).map(|number| messages.text(number));
            assert!(
                expected.eq(texts.iter().take(COUNT - 1).map(|text| (*text).to_owned())),
                "not each once and in order"
            );
            let refused = seen.requests_of(Route::Rows).filter(|request| request.status >= 400).count();
            assert!(refused <= 15, "{refused} requests were refused to find one record");
        },
    );
}

/// A bound below what omsd keeps to, of a proxy for one: the requests become smaller.
#[test]
fn a_smaller_bound_halves_requests() {
    let site = Site::bare(Options { marker: "seq=".to_owned(), ..Options::default() });
    let source = Source::tcp();
    site.configure_rows(&[source], "");
    site.standin
        .refuse(Refusal { when: RefuseWhen::LargerThan(200_000), answer: error(413, "ContentLengthLimitExceeded") });
    let _omsd = site.start();
    let messages = Numbered::new(COUNT);
    let _stream = send_over_tcp(source, &messages.lines());
    site.wait("all messages", |seen| seen.numbers.unique() == COUNT as u64);
    assert_eq!(site.stream("syslog")["refused"], 0);
    assert_eq!(site.standin.seen().numbers.duplicates(), 0);
}

/// The host could not upload for five hours. An auxiliary table takes no request whose rows span half an hour: what waited goes in shorter ones, and
/// none is refused.
#[test]
fn hours_that_waited_go_in_requests_of_less_than_half_an_hour() {
    const MESSAGES: u64 = 60;
    const APART_US: u64 = 5 * 60 * 1_000_000;
    let site = Site::bare(Options { marker: "seq=".to_owned(), ..Options::default() });
    let source = Source::tcp();
    site.configure_rows(&[source], "");
    azure(&site, |azure| azure.auxiliary = true);
    std::fs::create_dir_all(site.var("")).expect("a directory");
    let now_us = clock::wall_us();
    let (mut ring, _) = disk::open(&site.var("ring"), RING_BYTES_DEFAULT, now_us).expect("a ring");
    for number in 0..MESSAGES {
        let received_us = now_us - (MESSAGES - number) * APART_US;
        let message = format!("\0<13>Nov 22 20:00:00 web01 app: seq={number:08}");
        ring.append(Stream::Syslog as u8, 0, received_us, &[message.as_bytes()]).expect("room");
    }
    ring.sync().expect("they are on the disk");
    drop(ring);

    let _omsd = site.start();
    site.wait("all messages", |seen| seen.numbers.unique() == MESSAGES);
    let seen = site.standin.seen();
    assert_eq!((seen.numbers.duplicates(), &seen.complaints[..]), (0, &[][..]));
    assert!(seen.requests_of(Route::Rows).all(|request| request.status < 300));
    assert!(seen.requests_of(Route::Rows).count() >= 10);
}

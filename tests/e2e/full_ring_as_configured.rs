//! The service takes nothing while more arrives than the ring holds, and the configuration has a `buffer_queue_full_action`, as existing ones have.
//! `drop_oldest_chunk`: nobody waits, the newest are left. `exception`: nobody waits, the oldest are left. `block`: what does not fit stays in the sockets,
//! and nothing is lost. Each lost record is counted.

use crate::harness::{Numbered, Site, Source, send_over_tcp, wait_until};
use omsd_standin::serde_json::Value;
use omsd_standin::{Answer, Route};
use std::net::{Ipv4Addr, UdpSocket};

const COUNT: usize = 6000; // some 800 KB of frames for a ring of 256 KB

#[test]
fn drop_oldest_chunk_keeps_the_newest_of_a_stream() {
    let (site, account) = overflow("drop_oldest_chunk");
    let (sent, lost) = (number(&account, "sent"), number(&account, "overwritten"));
    assert!(lost > 0 && sent + lost == COUNT, "{account}");
    expect_messages(&site, lost..COUNT);
}

#[test]
fn exception_keeps_the_oldest_of_a_stream() {
    let (site, account) = overflow("exception");
    let (sent, lost) = (number(&account, "sent"), number(&account, "dropped"));
    assert!(lost > 0 && sent + lost == COUNT, "{account}");
    expect_messages(&site, 0..sent);
}

/// Sends all while the service takes nothing, then lets it take what is left: the account after that.
#[track_caller]
fn overflow(action: &str) -> (Site, Value) {
    let (site, source) = site_with(Source::tcp(), action);
    let omsd = site.start();
    let lines: String = (0..COUNT).map(|number| line(number) + "\n").collect();
    let _stream = send_over_tcp(source, &lines); // nobody holds it back
    wait_until("all are received", || number(&site.stream("syslog"), "received") == COUNT);
    site.standin.behave();
    omsd.signal("USR1");
    wait_until("all that is left is sent", || site.stream("syslog")["pending"] == 0);
    let account = site.stream("syslog");
    (site, account)
}

#[test]
fn block_leaves_datagrams_in_their_socket() {
    const COUNT: usize = 160; // some 160 KB: what the ring does not take fits into any socket's buffer
    let (site, source) = site_with(Source::udp(), "block");
    let omsd = site.start();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    for number in 0..COUNT {
        let message = line(number) + &"x".repeat(950);
        socket.send_to(message.as_bytes(), (Ipv4Addr::LOCALHOST, source.port())).expect("it is sent");
    }
    wait_until("half of the ring is full", || number(&site.stream("syslog"), "received") >= 90);
    let requests = site.standin.seen().requests.len();
    site.wait("two more attempts", |seen| seen.requests.len() >= requests + 2);
    let waiting = number(&site.stream("syslog"), "received");
    assert!(waiting < COUNT, "all were read: {waiting}");

    site.standin.behave();
    omsd.signal("USR1");
    wait_until("all are sent", || number(&site.stream("syslog"), "sent") == COUNT);
    let account = site.stream("syslog");
    assert_eq!(number(&account, "received"), COUNT, "{account}");
    let seen = site.standin.seen();
    assert!(seen.messages().enumerate().all(|(number, text)| text.starts_with(&Numbered::new(COUNT).text(number))));
}

fn site_with(source: Source, action: &str) -> (Site, Source) {
    let site = Site::new();
    site.configure(&[source], &format!("buffer_size 256k\nbuffer_queue_full_action {action}"));
    site.standin.answer_always(Route::Data, Answer::status(503));
    (site, source)
}

fn line(number: usize) -> String {
    Numbered::new(COUNT).rfc3164(number)
}

fn number(account: &Value, key: &str) -> usize {
    account[key].as_u64().and_then(|number| usize::try_from(number).ok()).unwrap_or(0)
}

#[track_caller]
fn expect_messages(site: &Site, numbers: std::ops::Range<usize>) {
    let seen = site.standin.seen();
    let expected = numbers.map(|number| Numbered::new(COUNT).text(number));
    assert!(seen.messages().eq(expected), "{:?}, {:?}", seen.counts, seen.messages().next());
}

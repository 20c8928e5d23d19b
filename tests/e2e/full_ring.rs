//! The service does not take anything while more arrives than the ring holds. A sender over TCP is held back and loses nothing. Datagrams overwrite the
//! oldest, and each overwritten one is counted: what was received is what was sent and what was lost.

use crate::harness::{Numbered, Site, Source, wait_until};
use omsd_standin::{Answer, Route};
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream, UdpSocket};

const COUNT: usize = 6000; // some 800 KB of frames for a ring of 256 KB

#[test]
fn a_stream_is_held_back_and_loses_nothing() {
    let site = Site::new();
    let source = Source::tcp();
    site.configure(&[source], "buffer_size 256k");
    site.standin.answer_next(Route::Data, [Answer::status(503), Answer::status(503)]);
    let _omsd = site.start();
    let messages = Numbered::new(COUNT);
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, source.port())).expect("omsd listens");
    stream.set_write_timeout(Some(crate::harness::PATIENCE)).expect("a timeout");
    stream.write_all(messages.lines().as_bytes()).expect("omsd reads it all in the end");
    messages.expect_once_each(&site, |number, item| messages.rfc3164_fields(number, item));
    wait_until("nothing was lost", || {
        let stream = &site.status()["streams"][0];
        stream["sent"] == COUNT + 1 && stream["overwritten"] == 0 && stream["dropped"] == 0
    });
}

#[test]
fn datagrams_overwrite_the_oldest_and_the_account_is_right() {
    let site = Site::new();
    let source = Source::udp();
    site.configure(&[source], "buffer_size 256k");
    site.standin.answer_always(Route::Data, Answer::status(503));
    let omsd = site.start();
    let messages = Numbered::new(COUNT);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    for line in messages.lines().lines() {
        socket.send_to(line.as_bytes(), (Ipv4Addr::LOCALHOST, source.port())).expect("it is sent");
    }
    wait_until("all received", || site.status()["streams"][0]["received"] == COUNT + 1);
    site.standin.behave();
    omsd.signal("USR1");
    wait_until("all that is left is sent", || {
        let stream = &site.status()["streams"][0];
        stream["pending"] == 0 && stream["sent"].as_u64().is_some_and(|sent| sent > 0)
    });

    let account = site.status()["streams"][0].clone();
    let (sent, overwritten) = (account["sent"].as_u64().unwrap_or(0), account["overwritten"].as_u64().unwrap_or(0));
    assert_eq!(sent + overwritten, COUNT as u64 + 1, "{account}");
    let seen = site.standin.seen();
    assert_eq!(seen.syslog().count() as u64, sent, "{account}");
    let newest = seen.messages().collect::<Vec<_>>();
    assert_eq!(newest[0], messages.text(usize::try_from(overwritten).expect("small")), "the newest are what is left");
    assert_eq!(seen.complaints, [""; 0]);
}

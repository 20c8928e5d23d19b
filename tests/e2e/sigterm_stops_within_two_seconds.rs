//! The administrator stops omsd with SIGTERM or SIGINT, while it is idle, while senders are at it, and while the service does not answer. It ends with
//! status 0 within two seconds, has closed its sockets, and everything it took is in the ring: the next start delivers it.

use crate::harness::{Numbered, Omsd, Site, Source};
use omsd_standin::{Answer, Manner, Route};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_millis(2000);

#[test]
fn when_idle() {
    for signal in ["TERM", "INT"] {
        let site = Site::new();
        site.configure(&[Source::udp(), Source::tcp()], "");
        let mut omsd = site.start();
        let start = Instant::now();
        omsd.signal(signal);
        let status = omsd.wait_for_end();
        assert!(status.success() && start.elapsed() <= LIMIT, "{signal}: {status:?} after {:?}", start.elapsed());
    }
}

#[test]
fn while_the_service_is_silent() {
    let site = Site::new();
    let source = Source::tcp();
    site.configure(&[source], "");
    site.standin.answer_always(Route::Data, Answer::manner(Manner::Silence { taken: false }));
    let mut omsd = site.start();
    let messages = Numbered::new(2000);
    send_and_wait_until_read(source, &messages.lines());
    omsd.signal("USR1");
    site.wait("a request that gets no answer", |seen| !seen.requests.is_empty());
    expect_clean_end(&mut omsd);

    site.standin.behave();
    let _omsd = site.start();
    messages.expect_once_each(&site, |number, item| messages.rfc3164_fields(number, item));
}

#[test]
fn while_a_sender_is_at_it() {
    let site = Site::new();
    let source = Source::tcp();
    site.configure(&[source], "");
    let mut omsd = site.start();
    let port = source.port();
    let sender = std::thread::spawn(move || {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("omsd listens");
        let line = "<13>Nov 22 20:00:00 web01 app: one of a great many\n".repeat(1000);
        while stream.write_all(line.as_bytes()).is_ok() {} // until omsd is gone
    });
    site.wait("the first records", |seen| seen.counts.records > 0);
    expect_clean_end(&mut omsd);
    sender.join().expect("the sender sees the end");
}

/// What had already arrived when the signal came is not thrown away with the sockets.
#[test]
fn what_waits_in_a_udp_socket_is_taken() {
    check_waiting(Source::udp(), |port, text| {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        for line in text.lines() {
            socket.send_to(line.as_bytes(), (Ipv4Addr::LOCALHOST, port)).expect("it is sent");
        }
    });
}

#[test]
fn what_waits_in_a_tcp_connection_is_taken() {
    check_waiting(Source::tcp(), |port, text| {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the kernel accepts");
        stream.write_all(text.as_bytes()).expect("the kernel takes it");
    });
}

#[track_caller]
fn check_waiting(source: Source, send: impl FnOnce(u16, &str)) {
    let site = Site::new();
    site.configure(&[source], "");
    let mut omsd = site.start();
    let messages = Numbered::new(300);
    omsd.signal("STOP"); // so that everything is there before the signal to end is seen
    send(source.port(), &messages.lines());
    omsd.signal("TERM");
    omsd.signal("CONT");
    expect_clean_end(&mut omsd);

    let _omsd = site.start();
    messages.expect_once_each(&site, |number, item| messages.rfc3164_fields(number, item));
}

#[track_caller]
fn expect_clean_end(omsd: &mut Omsd) {
    let (status, took) = omsd.terminate();
    assert!(status.success(), "{status:?}: {}", omsd.stderr());
    assert!(took <= LIMIT, "it took {took:?}");
}

fn send_and_wait_until_read(source: Source, lines: &str) {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, source.port())).expect("omsd listens");
    stream.write_all(lines.as_bytes()).expect("omsd reads");
    stream.shutdown(Shutdown::Write).expect("the end is told");
    assert_eq!(stream.read(&mut [0]).expect("omsd closes its end"), 0);
}

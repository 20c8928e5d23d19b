//! The service is down, omsd has read messages from its sockets, and the daemon is killed with SIGKILL; a new one starts and the service is back.
//! All that the first daemon had read is delivered by the second, once.

use crate::harness::{Numbered, Site, Source};
use omsd_standin::{Answer, Route};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream, UdpSocket};

#[test]
fn what_came_over_tcp_is_delivered_after_the_restart() {
    let site = Site::new();
    let source = Source::tcp();
    site.configure(&[source], "");
    site.standin.answer_always(Route::Data, Answer::status(503));
    let mut omsd = site.start();
    let messages = Numbered::new(5000);
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, source.port())).expect("omsd listens");
    stream.write_all(messages.lines().as_bytes()).expect("omsd reads");
    // When omsd closes its end it has read all of ours.
    stream.shutdown(Shutdown::Write).expect("the end is told");
    assert_eq!(stream.read(&mut [0]).expect("omsd closes its end"), 0);
    omsd.kill();

    site.standin.behave();
    let _omsd = site.start();
    messages.expect_once_each(&site, |number, item| messages.rfc3164_fields(number, item));
}

#[test]
fn what_came_over_udp_is_delivered_after_the_restart() {
    let site = Site::new();
    let source = Source::udp();
    site.configure(&[source], "");
    site.standin.answer_always(Route::Data, Answer::status(503));
    let mut omsd = site.start();
    let messages = Numbered::new(500);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    for line in messages.lines().lines() {
        socket.send_to(line.as_bytes(), (Ipv4Addr::LOCALHOST, source.port())).expect("it is sent");
    }
    site.wait("a request that holds the first messages", |seen| {
        seen.requests.iter().any(|request| request.records > 0)
    });
    crate::harness::wait_until("the socket is empty", || receive_queue(source.port()) == 0);
    omsd.signal("USR1"); // the loop has appended what it read before it handles this
    let requests = site.standin.seen().requests.len();
    site.wait("another request", |seen| seen.requests.len() > requests);
    omsd.kill();

    site.standin.behave();
    let _omsd = site.start();
    messages.expect_once_each(&site, |number, item| messages.rfc3164_fields(number, item));
}

#[test]
fn what_waits_is_sent_at_once_by_the_next_start() {
    let site = Site::new();
    let source = Source::tcp();
    site.configure(&[source], "flush_interval 10m");
    let mut omsd = site.start();
    let messages = Numbered::new(100);
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, source.port())).expect("omsd listens");
    stream.write_all(messages.lines().as_bytes()).expect("omsd reads");
    stream.shutdown(Shutdown::Write).expect("the end is told");
    assert_eq!(stream.read(&mut [0]).expect("omsd closes its end"), 0);
    omsd.kill();
    assert_eq!(site.standin.seen().counts.requests, 0, "nothing was sent before its time");
    let _omsd = site.start();
    messages.expect_once_each(&site, |_, _| {});
}

#[test]
fn delivered_messages_are_not_sent_again() {
    let site = Site::new();
    let source = Source::tcp();
    site.configure(&[source], "");
    let mut omsd = site.start();
    let messages = Numbered::new(1000);
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, source.port())).expect("omsd listens");
    stream.write_all(messages.lines().as_bytes()).expect("omsd reads");
    messages.expect_once_each(&site, |_, _| {});
    assert!(omsd.terminate().0.success());

    let _omsd = site.start();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, source.port())).expect("omsd listens");
    stream.write_all(b"<13>Nov 22 20:00:00 web01 app: after the restart\n").expect("omsd reads");
    site.wait("the message after the restart", |seen| seen.messages().any(|message| message == "after the restart"));
    assert_eq!(site.standin.seen().syslog().count(), 1000 + 1 + 1, "the numbered, the last and the one after");
}

/// Bytes in the receive queue of a UDP socket. Source: proc_pid_net(5), fifth column of udp.
fn receive_queue(port: u16) -> u64 {
    let text = std::fs::read_to_string("/proc/self/net/udp").expect("the table");
    let hex_port = format!(":{port:04X}");
    let line = text.lines().find(|line| line.split_whitespace().nth(1).is_some_and(|local| local.ends_with(&hex_port)));
    let queues = line.and_then(|line| line.split_whitespace().nth(4)).expect("the socket is bound");
    u64::from_str_radix(queues.split_once(':').expect("two queues").1, 16).expect("hexadecimal")
}

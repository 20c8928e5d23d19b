//! A sender is broken or hostile: bytes that are not UTF-8, control bytes, NULs, no PRI, a PRI above 191, empty messages, messages over 64 KiB, frames cut
//! off in the middle. Over every transport each body stays valid (the service checks it), neighbours arrive whole, and what was cut is counted.

use crate::harness::{Site, Source, wait_until};
use std::io::Write;
use std::net::{Ipv4Addr, Shutdown, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};

/// Messages of which none may spoil a body. None contains a line feed.
fn hostile() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = [
        &b"<13>Nov 22 20:00:00 web01 p: \xff\xfe\xfd not utf-8"[..],
        b"<13>Nov 22 20:00:00 web01 p: \xc3 cut \xe2\x82 letters \xf0\x9f\x92",
        b"<13>Nov 22 20:00:00 web01 p: \xed\xa0\x80 surrogate \xc0\xaf overlong \xf4\x90\x80\x80 too large",
        b"<13>Nov 22 20:00:00 \xff\xff \xfe[\xff]: names that are not utf-8",
        b"<13>Nov 22 20:00:00 web01 p: \x01\x02\x1b[31m\x7f\"\\\x08\x0c control",
        b"<13>Nov 22 20:00:00 web01 p: a\x00NUL",
        b"<999>Nov 22 20:00:00 web01 p: pri too large",
        b"<191999999999999999999>x",
        b"<>Nov 22 20:00:00 web01 p: no pri",
        b"<13",
        b"<",
        b"no header at all",
        b"<13>",
        b"<13>1 - - - - - -",
        b"<13>1 2026-11-22T20:00:00Z h a p m [x y=\"unclosed",
        b"<13>1 9999-99-99T99:99:99.999999999999Z h a p m - bad time",
        b"<13>Foo 99 99:99:99 web01 p: bad time",
        b"{\"looks\":\"like json\"}",
        b"\"]}]}",
        b"\x80",
    ]
    .map(<[u8]>::to_vec)
    .into();
    all.extend(
        (0..=255_u8)
            .filter(|byte| *byte != b'\n')
            .map(|byte| [b"<13>Nov 22 20:00:00 web01 p: one ", &[byte][..]].concat()),
    );
    all
}

const GOOD: &[u8] = b"<13>Nov 22 20:00:00 web01 good: a neighbour";

fn long(bytes: usize) -> Vec<u8> {
    let mut message = b"<13>Nov 22 20:00:00 web01 long: ".to_vec();
    message.resize(bytes, b'x');
    message
}

/// `send` puts each message on its transport. Every hostile one has a good one behind it.
#[track_caller]
fn check(source: Source, longest: usize, send: impl FnOnce(&Site, &[Vec<u8>])) {
    let site = Site::new();
    site.configure(&[source], "");
    let _omsd = site.start();
    let mut messages: Vec<Vec<u8>> = hostile().into_iter().flat_map(|message| [message, GOOD.to_vec()]).collect();
    messages.extend([long(longest), GOOD.to_vec()]);
    let good = messages.iter().filter(|message| *message == GOOD).count();
    send(&site, &messages);
    site.wait("every good neighbour", |seen| {
        seen.syslog().filter(|item| item.text("ident") == "good" && item.text("Message") == "a neighbour").count()
            == good
    });
    let seen = site.standin.seen();
    assert_eq!(seen.complaints, [""; 0], "every body is valid");
    let longest_seen = seen.messages().map(str::len).max().expect("messages");
    assert!(longest_seen > 60_000 && longest_seen <= 64 * 1024, "the long message arrived with {longest_seen} bytes");
    let texts: Vec<&str> = seen.messages().collect();
    for part in [
        "not utf-8",
        "control",
        "NUL",
        "pri too large",
        "no pri",
        "no header at all",
        "like json",
        "bad time",
        "unclosed",
    ] {
        assert!(texts.iter().any(|text| text.contains(part)), "{part:?} is nowhere");
    }
    drop(seen);
    let cut = u64::from(longest > 64 * 1024);
    wait_until("the cut message in the status", || {
        let status = site.status();
        status["streams"][0]["name"] == "syslog" && status["streams"][0]["cut"] == cut
    });
}

#[test]
fn over_udp() {
    let source = Source::udp();
    check(source, 65_507, |_, messages| {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        for message in messages {
            socket.send_to(message, (Ipv4Addr::LOCALHOST, source.port())).expect("it is sent");
        }
    });
}

#[test]
fn over_tcp_with_newlines() {
    let source = Source::tcp();
    check(source, 100_000, |_, messages| {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, source.port())).expect("omsd listens");
        // A digit at the start of a connection would mean octet counting; these all start otherwise.
        stream.write_all(GOOD_START).expect("omsd reads");
        for message in messages {
            stream.write_all(&[message, &b"\n"[..]].concat()).expect("omsd reads");
        }
    });
}

const GOOD_START: &[u8] = b"<13>Nov 22 20:00:00 web01 start: of the stream\n";

#[test]
fn over_tcp_with_octet_counts() {
    let source = Source::tcp();
    check(source, 100_000, |_, messages| {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, source.port())).expect("omsd listens");
        for message in messages {
            let count = format!("{} ", message.len());
            stream.write_all(&[count.as_bytes(), message].concat()).expect("omsd reads");
        }
    });
}

#[test]
fn over_a_unix_datagram_socket() {
    check(Source::UnixDatagram, 100_000, |site, messages| {
        let socket = UnixDatagram::unbound().expect("a socket");
        for message in messages {
            socket.send_to(message, site.socket()).expect("omsd takes it");
        }
    });
}

#[test]
fn over_a_unix_stream_socket() {
    check(Source::UnixStream, 100_000, |site, messages| {
        let mut stream = UnixStream::connect(site.socket()).expect("omsd listens");
        stream.write_all(GOOD_START).expect("omsd reads");
        for message in messages {
            stream.write_all(&[message, &b"\n"[..]].concat()).expect("omsd reads");
        }
    });
}

#[test]
fn a_frame_cut_off_by_the_end_of_the_connection_is_kept() {
    let site = Site::new();
    let source = Source::tcp();
    site.configure(&[source], "");
    let _omsd = site.start();
    for bytes in [
        &b"<13>Nov 22 20:00:00 web01 p: without line feed"[..],
        b"500 <13>Nov 22 20:00:00 web01 p: shorter than counted",
    ] {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, source.port())).expect("omsd listens");
        stream.write_all(bytes).expect("omsd reads");
        stream.shutdown(Shutdown::Both).expect("the end");
    }
    site.wait("both messages", |seen| {
        ["without line feed", "shorter than counted"].iter().all(|text| seen.messages().any(|message| message == *text))
    });
}

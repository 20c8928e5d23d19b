//! Any bytes are a message: taking it apart loses nothing of its text, and its item is valid JSON in valid UTF-8 that says the
//! same. Input: the message itself; sender and time come from its digest.

use crate::input::digest;
use miniserde::json::{self, Object, Value};
use omsd::limits::RECORD_HEADER_BYTES_MAX;
use omsd::record::{Sender, encode};
use omsd::syslog::{self, Message};
use omsd::upload::Stream;
use omsd::upload::items::{Renderer, ThisHost};
use std::net::IpAddr;

/// What messages are made of.
pub const WORDS: &[&[u8]] = &[
    b"<13>",
    b"<191>",
    b"<192>",
    b"<0>",
    b"<999>",
    b"<>",
    b"<34>1 ",
    b"<165>1 2026-02-28T23:59:60.999999999+23:59 ",
    b"- ",
    b"- - - - - ",
    b"Feb 29 23:59:59 ",
    b"Dec 31 23:59:59 ",
    b"Jan  1 00:00:00 ",
    b"2026 ",
    b"2026-07-02T12:00:00.5Z ",
    b"0000-01-01T00:00:00Z",
    b"9999-12-31T23:59:59.999999-23:59",
    b"host ",
    b"192.0.2.7 ",
    b"::1 ",
    b"::ffff:127.0.0.1 ",
    b"sshd[812]: ",
    b"kernel: ",
    b"[",
    b"]",
    b":",
    b"[id@32473 k=\"v\"]",
    b"\\\"",
    b"\\]",
    b"\"",
    b"\\",
    b"\xef\xbb\xbf",
    b"\xe2\x9c\x93",
    b"\xf0\x9f\x9a\x80",
    b"\xf0\x9f\x9a",
    b"\xed\xa0\x80",
    b"\xc0\xaf",
    b"\xff",
    b"\0",
    b"\r\n",
    b"\x1b[31m",
    b"\x7f",
    b"\xc2\x85",
    b"\xe2\x80\xa8",
    b"{}",
    b"{\"a\":1}",
    b"+00:00",
    b"-00:00",
    b"last message repeated 2 times",
];

const KEYS: [&str; 9] =
    ["ident", "Timestamp", "EventTime", "Host", "HostIP", "Message", "ProcessId", "Facility", "Severity"];

/// See the head of this file.
pub fn check(data: &[u8]) {
    let message = syslog::parse(data);
    check_parts(data, &message);
    let choice = digest(data);
    let sender = match choice % 5 {
        0 => Sender::Local,
        1 => Sender::Address(IpAddr::from([127, 0, 0, 1])),
        2 => Sender::Address(IpAddr::from([192, 0, 2, 7])),
        3 => Sender::Address(IpAddr::from([0, 0, 0, 0, 0, 0xffff, 0xc000, 0x207])),
        _ => Sender::Address(IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 7])),
    };
    let received_us = match choice / 5 % 6 {
        0 => 0,
        1 => 1_782_993_600_123_456, // 2026-07-02
        2 => 1_798_761_599_999_999, // the last of 2026
        3 => 951_782_400_000_000,   // 2000-02-29
        4 => u64::MAX,
        _ => choice,
    };
    check_item(data, &message, sender, received_us);
    check_ready_item(data);
}

/// Every part is a piece of the input, in the order in which it stands there; the text goes to the end of the line.
fn check_parts(data: &[u8], message: &Message<'_>) {
    let line_bytes = data.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r' | 0)).map_or(0, |last| last + 1);
    let parts = [message.hostname, Some(message.app_name), message.procid, message.msgid, message.structured_data];
    let mut from = 0;
    for part in parts.into_iter().flatten().chain([message.msg]).filter(|part| !part.is_empty()) {
        let at = (part.as_ptr() as usize).checked_sub(data.as_ptr() as usize).expect("a piece of the input");
        assert!(at >= from, "parts in order, none twice");
        from = at + part.len();
        assert!(from <= line_bytes, "a piece of the line");
    }
    if !message.msg.is_empty() {
        assert_eq!(from, line_bytes, "the text goes to the end");
    }
}

fn check_item(data: &[u8], message: &Message<'_>, sender: Sender, received_us: u64) {
    let host = ThisHost { name: String::from("web01.example.com"), address: Some(IpAddr::from([10, 0, 0, 4])) };
    let mut renderer = Renderer::new(host, |time| time.unix_s_as_utc() - 3600);
    let mut payload = encode::header(sender, &mut [0; RECORD_HEADER_BYTES_MAX]).to_vec();
    payload.extend_from_slice(data);
    let mut out = b"before".to_vec();
    assert!(renderer.item(Stream::Syslog, received_us, &payload, &mut out));
    let item = String::from_utf8(out.split_off(b"before".len())).expect("valid UTF-8");
    assert_eq!(out, b"before");
    let object: Object = json::from_str(&item).expect("valid JSON");
    let text = |key| match object.get(key) {
        Some(Value::String(text)) => Some(text.as_str()),
        Some(other) => panic!("{key} is {other:?}"),
        None => None,
    };
    assert!(object.keys().all(|key| KEYS.contains(&key.as_str())), "{item}");
    assert_eq!(object.len(), KEYS.len() - usize::from(message.procid.is_none()), "{item}");
    assert_eq!(text("ident"), Some(&*String::from_utf8_lossy(message.app_name)));
    assert_eq!(text("ProcessId"), message.procid.map(String::from_utf8_lossy).as_deref());
    assert!(text("Message").is_some_and(|text| text.ends_with(&*String::from_utf8_lossy(message.msg))), "{item}");
    assert_eq!(text("Facility"), Some(message.pri.facility()));
    assert_eq!(text("Severity"), Some(message.pri.severity()));
    [text("Timestamp"), text("EventTime")].into_iter().for_each(check_time);
    // What the renderer remembers of one message must not show in the next.
    renderer.item(Stream::Syslog, received_us, &payload, &mut out);
    assert_eq!(&out[b"before".len()..], item.as_bytes());
}

fn check_time(text: Option<&str>) {
    let shape = text.unwrap_or_default().bytes().map(|byte| if byte.is_ascii_digit() { b'0' } else { byte });
    assert_eq!(shape.collect::<Vec<u8>>(), b"0000-00-00T00:00:00.000Z", "{text:?}");
}

/// A payload of a stream whose items are ready is passed on as it is or not at all.
fn check_ready_item(data: &[u8]) {
    let host = ThisHost { name: String::new(), address: None };
    let mut out = Vec::new();
    if Renderer::new(host, |_| 0).item(Stream::Heartbeat, 0, data, &mut out) {
        assert_eq!(out, data);
        assert!(core::str::from_utf8(data).is_ok());
    } else {
        assert!(out.is_empty());
    }
}

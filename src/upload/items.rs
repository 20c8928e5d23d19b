//! One record as the JSON item, or items, that the service knows. Keys, their order and their words are the original's.

pub mod rows;

use super::Stream;
use super::number::put_number;
use super::text::Text;
use super::times::{LocalTimes, TimeText};
use crate::record::{Sender, encode, perf};
use crate::syslog::{self, CivilTime, Message, Timestamp};
use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use core::net::{IpAddr, Ipv4Addr};

/// What the host that omsd runs on is called and where it is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThisHost {
    /// Its name, with or without a domain; empty if it has none.
    pub name: String,
    /// The address it sends from; `None` if it has no route.
    pub address: Option<IpAddr>,
}

/// What a person is shown of a payload that was kept: a message as it came, a sample as its items, anything else as it is.
pub fn shown<'a>(stream: Stream, received_us: u64, payload: &'a [u8], host: &str) -> Cow<'a, [u8]> {
    let shown = match stream {
        Stream::Syslog => encode::decode(payload).map(|record| Cow::Borrowed(record.message)),
        Stream::Perf => perf::decode(payload).map(|sample| {
            let mut items = Text::default();
            let host = ThisHost { name: String::from(host), address: None };
            Renderer::new(host, |_| 0).perf(received_us, &sample, &mut items);
            Cow::Owned(Vec::from(items.as_bytes()))
        }),
        Stream::Operation | Stream::Heartbeat => None,
    };
    shown.unwrap_or(Cow::Borrowed(payload))
}

/// Makes items. Keeps what consecutive messages have in common: the hour in the local zone, the sender.
pub struct Renderer {
    host: ThisHost,
    /// Bytes of the host's name up to its first dot.
    short_name_bytes: usize,
    local_times: LocalTimes,
    received_text: TimeText,
    event_text: TimeText,
    /// The address last written, as text.
    address: IpAddr,
    address_text: String,
}

/// `HostIP` where nobody knows an address.
const UNKNOWN_IP: &[u8; 10] = b"Unknown IP";

impl Renderer {
    /// A renderer for this host; `unix_from_local` gives seconds since 1970 of a time in its zone (microseconds play no part).
    pub fn new(host: ThisHost, unix_from_local: fn(CivilTime) -> i64) -> Self {
        let short_name_bytes = host.name.find('.').unwrap_or(host.name.len());
        let address = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        Renderer {
            host,
            short_name_bytes,
            local_times: LocalTimes::new(unix_from_local),
            received_text: TimeText::new(),
            event_text: TimeText::new(),
            address,
            address_text: text_of(address),
        }
    }

    /// Appends the item of one frame (of a sample: its items, with commas between them): its payload, and when it was received (µs
    /// since 1970). `false`: the payload is no record of the stream, and nothing that was appended should be kept.
    pub fn item(&mut self, stream: Stream, received_us: u64, payload: &[u8], out: &mut Text) -> bool {
        match stream {
            Stream::Syslog => match encode::decode(payload) {
                Some(record) => self.syslog(received_us, Some(record.sender), record.message, out),
                None => return false,
            },
            Stream::Perf => match perf::decode(payload) {
                Some(sample) => self.perf(received_us, &sample, out),
                None => return false,
            },
            Stream::Operation | Stream::Heartbeat => return ready_item(payload, out),
        }
        true
    }

    /// Appends the `LINUX_PERF_BLOB` items of a sample, one for each instance.
    pub fn perf(&mut self, sampled_us: u64, sample: &perf::Sample<'_>, out: &mut Text) {
        let sampled_ms = i64::try_from(sampled_us / 1000).unwrap_or(i64::MAX);
        for (index, instance) in sample.instances().enumerate() {
            if index > 0 {
                out.put(b",");
            }
            out.put(br#"{"Timestamp":""#);
            out.put(self.received_text.text(sampled_ms));
            out.put(br#"","Host":""#);
            match self.short_name() {
                b"" => out.put(b"Unknown host"),
                name => out.put_escaped(name),
            }
            out.put(br#"","ObjectName":""#);
            out.put_slice(sample.object.name().as_bytes());
            out.put(br#"","InstanceName":""#);
            out.put_escaped(instance.name);
            out.put(br#"","Collections":["#);
            write_values(&instance, out);
            out.put(b"]}");
        }
    }

    /// Appends a `LINUX_SYSLOGS_BLOB` item. Without a sender, `HostIP` is unknown.
    pub fn syslog(&mut self, received_us: u64, sender: Option<Sender>, message: &[u8], out: &mut Text) {
        let message = syslog::parse(message);
        let received_ms = i64::try_from(received_us / 1000).unwrap_or(i64::MAX);
        out.put(br#"{"ident":""#);
        out.put_escaped(message.app_name);
        out.put(br#"","Timestamp":""#);
        out.put(self.received_text.text(received_ms));
        out.put(br#"","EventTime":""#);
        let event_ms = self.event_ms(message.timestamp, received_ms);
        out.put(self.event_text.text(event_ms));
        out.put(br#"","Host":""#);
        self.write_host(&message, sender, out);
        out.put(br#"","HostIP":""#);
        self.write_host_ip(&message, sender, out);
        out.put(br#"","Message":""#);
        write_text(&message, out);
        if let Some(procid) = message.procid {
            out.put(br#"","ProcessId":""#);
            out.put_escaped(procid);
        }
        out.put(br#"","Facility":""#);
        out.put_escaped(message.pri.facility().as_bytes());
        out.put(br#"","Severity":""#);
        out.put_escaped(message.pri.severity().as_bytes());
        out.put(br#""}"#);
    }

    fn event_ms(&mut self, timestamp: Timestamp, received_ms: i64) -> i64 {
        match timestamp {
            Timestamp::Absent => received_ms,
            Timestamp::Unix(us) => us.div_euclid(1000),
            Timestamp::Local(time) => self.local_times.unix_ms(time),
            Timestamp::Yearless(time) => self.local_times.yearless_unix_ms(time, received_ms / 1000),
        }
    }

    /// The host as the message says; without one, whoever sent it.
    fn write_host(&mut self, message: &Message<'_>, sender: Option<Sender>, out: &mut Text) {
        match (message.hostname, remote(sender)) {
            (Some(name), _) => out.put_escaped(name),
            (None, Some(address)) => self.write_address(address, out),
            (None, None) => out.put_escaped(self.short_name()),
        }
    }

    /// The address of that host, as far as it is known without asking anyone: the host is an address itself; or it is the
    /// sender; or the sender is this host, and so is the host by its name.
    fn write_host_ip(&mut self, message: &Message<'_>, sender: Option<Sender>, out: &mut Text) {
        if sender.is_none() {
            return out.put(UNKNOWN_IP);
        }
        match (message.hostname, remote(sender), self.host.address) {
            (Some(name), ..) if is_address(name) => out.put_escaped(name),
            (_, Some(address), _) => self.write_address(address, out),
            (name, None, Some(address)) if name.is_none_or(|name| self.is_this_host(name)) => {
                self.write_address(address, out);
            }
            _ => out.put(UNKNOWN_IP),
        }
    }

    fn short_name(&self) -> &[u8] {
        &self.host.name.as_bytes()[..self.short_name_bytes]
    }

    fn is_this_host(&self, name: &[u8]) -> bool {
        let own = self.host.name.as_bytes();
        name.eq_ignore_ascii_case(own) || name.eq_ignore_ascii_case(self.short_name())
    }

    fn write_address(&mut self, address: IpAddr, out: &mut Text) {
        if address != self.address {
            self.address = address;
            self.address_text = text_of(address);
        }
        out.put_escaped(self.address_text.as_bytes());
    }
}

/// The sender's address if it is another host's.
fn remote(sender: Option<Sender>) -> Option<IpAddr> {
    match sender {
        Some(Sender::Address(address)) => Some(address.to_canonical()).filter(|address| !address.is_loopback()),
        Some(Sender::Local) | None => None,
    }
}

fn text_of(address: IpAddr) -> String {
    let mut text = String::new();
    let _ = write!(text, "{address}"); // writing to a String cannot fail
    text
}

/// Whether a host's name is an IP address. Most names are not even made of its characters.
fn is_address(name: &[u8]) -> bool {
    let possible = name.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F' | b':' | b'.'));
    possible && core::str::from_utf8(name).is_ok_and(|name| name.parse::<IpAddr>().is_ok())
}

/// MSGID, structured data and text, as far as there are any, with a space between.
fn write_text(message: &Message<'_>, out: &mut Text) {
    let in_front = [message.msgid, message.structured_data];
    for (index, part) in in_front.into_iter().flatten().enumerate() {
        if index > 0 {
            out.put(b" ");
        }
        out.put_escaped(part);
    }
    if in_front != [None, None] && !message.msg.is_empty() {
        out.put(b" ");
    }
    out.put_escaped(message.msg);
}

fn write_values(instance: &perf::Instance<'_>, out: &mut Text) {
    for (index, (counter, value)) in instance.values().enumerate() {
        if index > 0 {
            out.put(b",");
        }
        out.put(br#"{"CounterName":""#);
        out.put_slice(counter.as_bytes());
        out.put(br#"","Value":""#);
        put_number(value, out);
        out.put(br#""}"#);
    }
}

/// Copies an item that the agent made itself, after a look at its ends and at its encoding.
fn ready_item(payload: &[u8], out: &mut Text) -> bool {
    let is_item = payload.starts_with(b"{") && payload.ends_with(b"}") && core::str::from_utf8(payload).is_ok();
    if is_item {
        out.put_slice(payload);
    }
    is_item
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::Object;

    fn renderer() -> Renderer {
        let host = ThisHost { name: String::from("web01.example.com"), address: Some(IpAddr::from([10, 0, 0, 4])) };
        Renderer::new(host, |time| time.unix_s_as_utc() - 3600) // a zone an hour ahead of UTC
    }

    fn item(sender: Option<Sender>, message: &[u8]) -> String {
        let mut out = Text::default();
        renderer().syslog(NOW_US, sender, message, &mut out);
        String::from_utf8(Vec::from(out.as_bytes())).expect("valid UTF-8")
    }

    /// 2026-07-02T12:00:00.123456Z
    const NOW_US: u64 = 1_782_993_600_123_456;

    #[test]
    fn keys_are_the_originals_in_their_order() {
        let expected = concat!(
            r#"{"ident":"su","Timestamp":"2026-07-02T12:00:00.123Z","EventTime":"2026-07-02T10:59:58.000Z","Host":"h","#,
            r#""HostIP":"192.0.2.7","Message":"x \"y\"","ProcessId":"12","Facility":"auth","Severity":"crit"}"#
        );
        let sender = Some(Sender::Address(IpAddr::from([192, 0, 2, 7])));
        assert_eq!(item(sender, b"<34>Jul  2 11:59:58 h su[12]: x \"y\""), expected);
    }

    #[track_caller]
    fn check(sender: Option<Sender>, message: &str, key: &str, expected: Option<&str>) {
        let item = item(sender, message.as_bytes());
        let value: miniserde::json::Object = miniserde::json::from_str(&item).unwrap();
        let found = match value.get(key) {
            Some(miniserde::json::Value::String(text)) => Some(text.as_str()),
            _ => None,
        };
        assert_eq!(found, expected, "{key} of {message}");
    }

    #[test]
    fn host_and_its_address_come_from_the_message_the_sender_or_this_host() {
        let local = Some(Sender::Local);
        let address = |text: &str| Some(Sender::Address(text.parse().unwrap()));
        let check = |sender, rest: &str, host: &str, host_ip: &str| {
            let message = std::format!("<13>Jul  2 12:00:00 {rest}");
            check(sender, &message, "Host", Some(host));
            check(sender, &message, "HostIP", Some(host_ip));
        };
        check(address("192.0.2.7"), "web02 a: b", "web02", "192.0.2.7");
        check(address("::ffff:192.0.2.7"), "web02 a: b", "web02", "192.0.2.7");
        check(address("2001:db8::7"), "a: b", "2001:db8::7", "2001:db8::7");
        check(address("192.0.2.7"), "10.1.2.3 a: b", "10.1.2.3", "10.1.2.3");
        check(local, "fe80::1 a: b", "fe80::1", "fe80::1");
        check(local, "web01 a: b", "web01", "10.0.0.4");
        check(address("127.0.0.1"), "WEB01.example.com a: b", "WEB01.example.com", "10.0.0.4");
        check(address("::1"), "web02 a: b", "web02", "Unknown IP");
        check(local, "a: b", "web01", "10.0.0.4");
        check(None, "a: b", "web01", "Unknown IP");
        check(None, "web01 a: b", "web01", "Unknown IP");
        check(None, "10.1.2.3 a: b", "10.1.2.3", "Unknown IP");
        check(local, "beef a: b", "beef", "Unknown IP");
    }

    #[test]
    fn times_are_kept_to_the_millisecond_and_local_ones_are_of_the_zone() {
        let check = |message, expected| check(None, message, "EventTime", Some(expected));
        check("<13>Jul  2 12:00:00.250 h a: b", "2026-07-02T11:00:00.250Z");
        check("<13>Dec 31 00:30:00 h a: b", "2026-12-30T23:30:00.000Z");
        check("<13>Feb 30 07:00:00 h a: b", "2026-03-02T06:00:00.000Z");
        check("<13>Nov 22 2024 07:00:00 h a: b", "2024-11-22T06:00:00.000Z");
        check("<13>2024-11-22T07:00:00.9999+02:00 h a: b", "2024-11-22T05:00:00.999Z");
        check("<13>1 2024-11-22T07:00:00Z h a - - - b", "2024-11-22T07:00:00.000Z");
        check("<13>1 - h a - - - b", "2026-07-02T12:00:00.123Z");
        check("no time", "2026-07-02T12:00:00.123Z");
        check("<13>0000-01-01T00:00:00+14:00 h a: b", "0000-01-01T00:00:00.000Z");
        check("<13>9999-12-31T23:59:59-14:00 h a: b", "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn one_renderer_gives_each_message_its_own_hour_and_sender() {
        let mut renderer = renderer();
        for (time, expected) in [("07:59:59", "06:59:59"), ("08:00:00", "07:00:00"), ("07:59:58", "06:59:58")] {
            for sender in ["192.0.2.7", "192.0.2.8"] {
                let mut out = Text::default();
                let address = Some(Sender::Address(sender.parse().unwrap()));
                renderer.syslog(NOW_US, address, std::format!("<13>Jul  2 {time} h a: b").as_bytes(), &mut out);
                let item = String::from_utf8(Vec::from(out.as_bytes())).unwrap();
                assert!(item.contains(&std::format!(r#""EventTime":"2026-07-02T{expected}.000Z""#)), "{item}");
                assert!(item.contains(&std::format!(r#""HostIP":"{sender}""#)), "{item}");
            }
        }
    }

    #[test]
    fn rfc_5424_parts_that_have_no_key_stand_in_front_of_the_text() {
        let check = |rest: &str, expected| {
            check(None, &std::format!("<13>1 - h a {rest}"), "Message", Some(expected));
        };
        check("p ID [x y=\"z\"] text", "ID [x y=\"z\"] text");
        check("p ID - text", "ID text");
        check("p - [x] text", "[x] text");
        check("p ID [x]", "ID [x]");
        check("p - - ", "");
        self::check(None, "<13>1 - h a p-1 - - text", "ProcessId", Some("p-1"));
        self::check(None, "<13>1 - h a - - - text", "ProcessId", None);
        self::check(None, "<13>1 - h - - - - text", "ident", Some(""));
    }

    fn items(host: &str, payload: &[u8]) -> String {
        let host = ThisHost { name: String::from(host), address: None };
        let mut out = Text::default();
        assert!(Renderer::new(host, |_| 0).item(Stream::Perf, NOW_US, payload, &mut out));
        String::from_utf8(Vec::from(out.as_bytes())).expect("valid UTF-8")
    }

    #[test]
    fn a_sample_is_an_item_for_each_instance_in_the_originals_form() {
        let mut writer = perf::Writer::default();
        writer.begin(Object::PhysicalDisk, 0b1011);
        writer.add(b"sda", &[Some(81920.0), Some(1.234e-5), Some(7.0), Some(0.5)]);
        writer.add(b"a\xff\"\n", &[None; 4]);
        let expected = concat!(
            r#"{"Timestamp":"2026-07-02T12:00:00.123Z","Host":"vm7","ObjectName":"Physical Disk","InstanceName":"sda","#,
            r#""Collections":[{"CounterName":"Physical Disk Bytes/sec","Value":"81920"},"#,
            r#"{"CounterName":"Avg. Disk sec/Read","Value":"1.234e-05"},{"CounterName":"Avg. Disk sec/Transfer","Value":"0.5"}]},"#,
            r#"{"Timestamp":"2026-07-02T12:00:00.123Z","Host":"vm7","ObjectName":"Physical Disk","InstanceName":"a�\"\n","#,
            r#""Collections":[]}"#
        );
        assert_eq!(items("vm7.example.com", writer.payload().unwrap()), expected);
        assert!(items("", writer.payload().unwrap()).contains(r#""Host":"Unknown host""#));
    }

    #[test]
    fn what_is_no_sample_gives_no_item() {
        let mut out = Text::default();
        for payload in [&b""[..], b"{}", &[9, 0, 0, 0], &[0, 0, 0]] {
            assert!(!renderer().item(Stream::Perf, NOW_US, payload, &mut out), "{payload:?}");
        }
    }

    /// Property: whatever the bytes, the item is valid UTF-8 and a JSON object with all its keys.
    #[test]
    fn random_bytes_always_give_a_whole_item() {
        let pieces: [&[u8]; 24] = [
            b"<13>",
            b"<999>",
            b"<",
            b"1 ",
            b"- ",
            b"Nov 22 ",
            b"Feb 30 ",
            b"07:00:00 ",
            b"2026-11-22T07:00:00",
            b".5+02:00 ",
            b" ",
            b"host ",
            b"a[1]: ",
            b"[x y=\"",
            b"\"] ",
            b":",
            b"fe80::",
            b"\xef\xbb\xbf",
            b"\xf0\x9f",
            b"\xff",
            b"\0",
            b"\n",
            b"\\",
            "✓".as_bytes(),
        ];
        let mut state = 2_u64;
        let mut random = |bound: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % bound
        };
        let (mut renderer, mut out, mut message) = (renderer(), Text::default(), Vec::new());
        for round in 0..50_000_u64 {
            message.clear();
            for _ in 0..random(12) {
                match random(4) {
                    0 => message.push(u8::try_from(random(256)).unwrap()),
                    _ => message.extend_from_slice(pieces[random(pieces.len())]),
                }
            }
            out.truncate(0);
            renderer.syslog(round << 44, None, &message, &mut out);
            let text = core::str::from_utf8(out.as_bytes()).unwrap_or_else(|_| panic!("UTF-8 of {message:?}"));
            let item: miniserde::json::Object =
                miniserde::json::from_str(text).unwrap_or_else(|_| panic!("JSON of {message:?}: {text}"));
            assert!((8..=9).contains(&item.len()), "{text}");
        }
    }
}

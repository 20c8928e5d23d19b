//! One request body: `{"DataType":…,"IPName":…,"DataItems":[…]}`, plain or compressed while it is made.
//!
//! Items are gathered in a small buffer and compressed from there: the text of a whole body exists only when it is to be
//! sent as it is.

use super::Stream;
use super::deflate::{Compressor, Wrapper};
use super::items::{Renderer, ThisHost};
use super::text::Text;
use crate::limits::{BODY_BYTES_MAX, BODY_GATHER_BYTES, BODY_WIRE_BYTES_MAX};
use crate::sys;

/// The body being made, and the buffers that serve one body after another.
pub struct Body {
    renderer: Renderer,
    packer: Packer,
    stream: Stream,
    records: u32,
    malformed: u32,
}

impl Body {
    /// Bodies of this host in its zone; `compress`: as zlib streams (`Content-Encoding: deflate`).
    pub fn new(compress: bool) -> Self {
        Self::with_renderer(compress, this_hosts_renderer())
    }

    /// As [`Body::new`], for a host and a zone that the caller chose.
    pub fn with_renderer(compress: bool, renderer: Renderer) -> Self {
        let compressor = compress.then(|| Compressor::new(Wrapper::Zlib, BODY_WIRE_BYTES_MAX));
        let packer = Packer::new(compressor, BODY_WIRE_BYTES_MAX);
        Body { renderer, packer, stream: Stream::Syslog, records: 0, malformed: 0 }
    }

    /// Starts a body, forgetting the one before.
    pub fn begin(&mut self, stream: Stream) {
        self.packer.begin(opening(stream));
        (self.stream, self.records, self.malformed) = (stream, 0, 0);
    }

    /// Adds the item of one frame: its payload, and when it was received (µs since 1970). A payload that is no record of the
    /// stream is left out and counted in [`Body::malformed`].
    pub fn add(&mut self, received_us: u64, payload: &[u8]) {
        if self.packer.overflowed {
            return;
        }
        let text = self.packer.text();
        let before = text.len();
        if self.records > 0 {
            text.put(b",");
        }
        if self.renderer.item(self.stream, received_us, payload, text) {
            self.records += 1;
        } else {
            text.truncate(before);
            self.malformed += 1;
        }
        self.packer.gathered();
    }

    /// Ends the body and gives its bytes as they go on the wire. `None`: it is above [`BODY_BYTES_MAX`], or on the wire above
    /// [`BODY_WIRE_BYTES_MAX`]; fewer records have to be tried. A body of one record always fits.
    pub fn finish(&mut self) -> Option<&[u8]> {
        self.packer.finish(b"]}")
    }

    /// Records in the body.
    pub fn records(&self) -> u32 {
        self.records
    }

    /// Payloads left out because they were no record of the stream.
    pub fn malformed(&self) -> u32 {
        self.malformed
    }

    /// Bytes of the finished body before compression.
    pub fn body_bytes(&self) -> u64 {
        self.packer.body_bytes
    }
}

/// A renderer for this host and its zone.
pub fn this_hosts_renderer() -> Renderer {
    let host = ThisHost { name: sys::host::computer(), address: sys::host::primary_address() };
    Renderer::new(host, sys::clock::unix_from_local)
}

/// Text that becomes a body, gathered in a small buffer and compressed from there.
pub struct Packer {
    compressor: Option<Compressor>,
    /// What is not yet compressed; without a compressor, the whole body.
    text: Text,
    body_bytes: u64,
    wire_bytes_max: usize,
    overflowed: bool,
}

impl Packer {
    /// A packer of bodies of at most so many bytes on the wire.
    pub fn new(compressor: Option<Compressor>, wire_bytes_max: usize) -> Self {
        Packer { compressor, text: Text::default(), body_bytes: 0, wire_bytes_max, overflowed: false }
    }

    /// Whether bodies are compressed.
    pub fn compresses(&self) -> bool {
        self.compressor.is_some()
    }

    /// Starts a body, forgetting the one before.
    pub fn begin(&mut self, opening: &[u8]) {
        self.text.truncate(0);
        if let Some(compressor) = &mut self.compressor {
            compressor.reset();
        }
        (self.body_bytes, self.overflowed) = (0, false);
        self.text.put_slice(opening);
    }

    /// Where text is put; what is put is the body's once [`Packer::gathered`] was called.
    pub fn text(&mut self) -> &mut Text {
        &mut self.text
    }

    /// Bytes of the body so far, before compression.
    pub fn bytes(&self) -> u64 {
        match self.compressor {
            Some(_) => self.body_bytes + self.text.len() as u64,
            None => self.text.len() as u64,
        }
    }

    /// Bytes of the finished body before compression.
    pub fn packed_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// Compresses what was put, if it is worth a step.
    pub fn gathered(&mut self) {
        if self.text.len() >= BODY_GATHER_BYTES {
            self.pass_on();
        }
    }

    /// Ends the body and gives its bytes as they go on the wire; `None`: they are too many.
    pub fn finish(&mut self, closing: &[u8]) -> Option<&[u8]> {
        self.text.put_slice(closing);
        self.pass_on();
        if self.overflowed {
            return None;
        }
        match &mut self.compressor {
            Some(compressor) => compressor.finish().ok(),
            None => Some(self.text.as_bytes()),
        }
    }

    /// Takes what was gathered: into the compressor, or, where there is none, leaves it as the body so far.
    fn pass_on(&mut self) {
        let wire_ok;
        match &mut self.compressor {
            Some(compressor) => {
                self.body_bytes += self.text.len() as u64;
                wire_ok = compressor.feed(self.text.as_bytes()).is_ok();
                self.text.truncate(0);
                self.text.shrink_to(2 * BODY_GATHER_BYTES); // after an item far larger than the rest
            }
            None => {
                self.body_bytes = self.text.len() as u64;
                wire_ok = self.text.len() <= self.wire_bytes_max;
            }
        }
        self.overflowed |= !wire_ok || self.body_bytes > BODY_BYTES_MAX;
    }
}

/// Everything in front of the first item. Names and case as the service knows them.
fn opening(stream: Stream) -> &'static [u8] {
    match stream {
        Stream::Syslog => br#"{"DataType":"LINUX_SYSLOGS_BLOB","IPName":"LOGMANAGEMENT","DataItems":["#,
        Stream::Operation => br#"{"DataType":"OPERATION_BLOB","IPName":"LogManagement","DataItems":["#,
        Stream::Heartbeat => br#"{"DataType":"HEALTH_ASSESSMENT_BLOB","IPName":"LogManagement","DataItems":["#,
        Stream::Perf => br#"{"DataType":"LINUX_PERF_BLOB","IPName":"LogManagement","DataItems":["#,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{MESSAGE_BYTES_MAX, RECORD_HEADER_BYTES_MAX};
    use crate::record::{Sender, encode};
    use alloc::string::String;
    use alloc::vec::Vec;
    use alloc::{format, vec};

    fn body(compress: bool) -> Body {
        let host = ThisHost { name: String::from("web01"), address: None };
        Body::with_renderer(compress, Renderer::new(host, |time| time.unix_s_as_utc()))
    }

    fn payload(message: &[u8]) -> Vec<u8> {
        let mut header = [0; RECORD_HEADER_BYTES_MAX];
        [encode::header(Sender::Local, &mut header), message].concat()
    }

    fn inflated(wire: &[u8], body_bytes: u64) -> Vec<u8> {
        let mut text = vec![0; usize::try_from(body_bytes).unwrap() + 1];
        let mut state = zlib_rs::Inflate::new(true, 15);
        let status = state.decompress(wire, &mut text, zlib_rs::InflateFlush::Finish);
        assert_eq!(status, Ok(zlib_rs::Status::StreamEnd));
        assert_eq!(state.total_out(), body_bytes);
        text.pop();
        text
    }

    #[test]
    fn compressed_and_plain_bodies_say_the_same() {
        let (mut plain, mut compressed) = (body(false), body(true));
        for records in [0, 1, 2, 1000] {
            for body in [&mut plain, &mut compressed] {
                body.begin(Stream::Syslog);
                for number in 0..records {
                    body.add(number, &payload(format!("<13>Nov 22 07:00:00 h app: message {number}").as_bytes()));
                }
            }
            let text = Vec::from(plain.finish().unwrap());
            let wire = Vec::from(compressed.finish().unwrap());
            assert_eq!(plain.body_bytes(), text.len() as u64);
            assert_eq!(inflated(&wire, compressed.body_bytes()), text);
            assert_eq!((u64::from(plain.records()), u64::from(compressed.records())), (records, records));
            let value: miniserde::json::Value =
                miniserde::json::from_str(core::str::from_utf8(&text).unwrap()).unwrap();
            let miniserde::json::Value::Object(wrapper) = value else { panic!("an object") };
            let Some(miniserde::json::Value::Array(items)) = wrapper.get("DataItems") else { panic!("an array") };
            assert_eq!(items.len() as u64, records);
        }
    }

    #[test]
    fn each_stream_has_its_wrapper_and_what_is_no_item_is_left_out_and_counted() {
        let mut body = body(false);
        let mut check = |stream, payloads: &[&[u8]], expected: &str, malformed| {
            body.begin(stream);
            payloads.iter().for_each(|payload| body.add(0, payload));
            assert_eq!(core::str::from_utf8(body.finish().unwrap()), Ok(expected));
            assert_eq!(body.malformed(), malformed);
        };
        check(
            Stream::Syslog,
            &[b"", b"\x09foreign"],
            r#"{"DataType":"LINUX_SYSLOGS_BLOB","IPName":"LOGMANAGEMENT","DataItems":[]}"#,
            2,
        );
        check(
            Stream::Perf,
            &[b"\xff", br#"{"a":1}"#, b""],
            r#"{"DataType":"LINUX_PERF_BLOB","IPName":"LogManagement","DataItems":[]}"#,
            3,
        );
        check(
            Stream::Heartbeat,
            &[b"{\xff}"],
            r#"{"DataType":"HEALTH_ASSESSMENT_BLOB","IPName":"LogManagement","DataItems":[]}"#,
            1,
        );
        check(
            Stream::Operation,
            &[b"\xff", br#"{"a":1}"#, b"", br#"{"b":2}"#],
            r#"{"DataType":"OPERATION_BLOB","IPName":"LogManagement","DataItems":[{"a":1},{"b":2}]}"#,
            2,
        );
    }

    #[test]
    fn one_record_always_fits_and_too_many_are_an_overflow_not_a_cut() {
        let worst = payload(&vec![1; MESSAGE_BYTES_MAX]);
        let mut body = body(false);
        body.begin(Stream::Syslog);
        body.add(0, &worst);
        assert!(body.finish().is_some());
        body.begin(Stream::Syslog);
        (0..100).for_each(|_| body.add(0, &worst));
        assert!(body.finish().is_none());
        body.begin(Stream::Syslog);
        assert!(body.finish().is_some(), "the next body starts afresh");
    }

    /// Lines as servers write them: a dozen programs, and in each line what differs in reality (addresses, numbers, keys).
    struct Lines(u64);

    impl Lines {
        fn number(&mut self, bound: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % bound
        }

        fn index(&mut self, bound: u64) -> usize {
            usize::try_from(self.number(bound)).unwrap()
        }

        fn hex(&mut self, digits: usize) -> String {
            (0..digits).map(|_| format!("{:x}", self.number(16))).collect()
        }

        fn address(&mut self) -> String {
            format!("{}.{}.{}.{}", 1 + self.number(223), self.number(256), self.number(256), self.number(256))
        }

        fn line(&mut self, index: u64) -> String {
            let host = ["web01", "web02", "db-2.example.com", "mail", "lb1"][self.index(5)];
            let user = ["root", "deploy", "alice", "postgres", "www-data", "backup"][self.index(6)];
            let (pid, port, ip) = (self.number(60_000), self.number(65_536), self.address());
            let (minute, second) = (index / 3000 % 60, index / 50 % 60);
            let (pri, tagged) = match self.number(10) {
                0 => (
                    38,
                    format!(
                        "sshd[{pid}]: Accepted publickey for {user} from {ip} port {port} ssh2: RSA SHA256:{}",
                        self.hex(40)
                    ),
                ),
                1 => (86, format!("sshd[{pid}]: pam_unix(sshd:session): session opened for user {user} by (uid=0)")),
                2 => (
                    78,
                    format!(
                        "CRON[{pid}]: ({user}) CMD (test -x /usr/sbin/anacron || {{ cd / && run-parts /etc/cron.daily; }})"
                    ),
                ),
                3..=5 => (
                    190,
                    format!(
                        "nginx: {ip} - - [22/Nov/2026:07:{minute:02}:{second:02} +0000] \"GET /api/{}/detail HTTP/1.1\" 200 {} \
                     \"https://www.example.org/\" \"Mozilla/5.0 (X11; Linux x86_64; rv:1{}.0) Gecko/20100101 Firefox/100.0\"",
                        self.hex(8),
                        self.number(90_000),
                        self.number(40)
                    ),
                ),
                6 => (
                    22,
                    format!(
                        "postfix/smtpd[{pid}]: {}: client=mx{}.example.net[{ip}], sasl_username={user}",
                        self.hex(10),
                        self.number(20)
                    ),
                ),
                7 => (
                    4,
                    format!(
                        "kernel: [{pid}.{:06}] [UFW BLOCK] IN=eth0 OUT= MAC={} SRC={ip} DST=10.0.0.4 LEN=40 TOS=0x00 TTL={} ID={} \
                     PROTO=TCP SPT={port} DPT={} WINDOW=1024 RES=0x00 SYN URGP=0",
                        self.number(1_000_000),
                        self.hex(28),
                        self.number(255),
                        self.number(65_536),
                        self.number(10_000)
                    ),
                ),
                8 => (
                    13,
                    format!(
                        "app[{pid}]: level=info caller=handler.go:{} msg=\"request done\" trace_id={} path=/v1/orders/{} duration={}ms",
                        self.number(900),
                        self.hex(32),
                        self.number(1_000_000),
                        self.number(900)
                    ),
                ),
                _ => (
                    85,
                    format!(
                        "sudo: {user} : TTY=pts/{} ; PWD=/home/{user} ; USER=root ; COMMAND=/usr/bin/systemctl restart app",
                        self.number(9)
                    ),
                ),
            };
            format!("<{pri}>Nov 22 07:{minute:02}:{second:02} {host} {tagged}")
        }
    }

    /// A body of as many records as a chunk of the default size holds.
    fn fill(body: &mut Body, payloads: &[Vec<u8>]) -> usize {
        body.begin(Stream::Syslog);
        for (index, payload) in (0..).zip(payloads) {
            body.add(1_795_330_800_000_000 + index * 20_000, payload);
        }
        body.finish().unwrap().len()
    }

    fn varied_payloads() -> Vec<Vec<u8>> {
        let mut lines = Lines(7);
        (0..4400).map(|index| payload(lines.line(index).as_bytes())).collect()
    }

    #[test]
    fn a_message_costs_at_most_50_bytes_on_the_wire() {
        let payloads = varied_payloads();
        let wire_bytes = fill(&mut body(true), &payloads);
        assert!(wire_bytes <= 50 * payloads.len(), "{wire_bytes} bytes for {} messages", payloads.len());
    }

    #[test]
    #[ignore = "a measurement: cargo test --release --lib cost_of_a_message -- --ignored --nocapture"]
    fn cost_of_a_message() {
        let payloads = varied_payloads();
        for compress in [false, true] {
            let mut body = body(compress);
            let nanoseconds = (0..100).map(|_| {
                let start = std::time::Instant::now();
                fill(&mut body, &payloads);
                start.elapsed().as_nanos()
            });
            let best = nanoseconds.min().unwrap() / payloads.len() as u128;
            std::println!("compress {compress}: {best} ns a message");
        }
    }
}

//! What is sent: syslog lines as real programs write them, about 200 bytes each, every one with a number of its own.
//!
//! The texts are made once; a message that goes out again differs only in the nine digits of its number.

use omsd_standin::clock;
use std::ops::Range;

/// Stands in front of the number.
pub const MARKER: &str = "seq=";
/// Different texts.
const TEXTS: usize = 1 << 15;
const DIGITS: usize = 9;

/// The texts one behind the other, a line feed behind each.
#[derive(Clone)]
pub struct Messages {
    bytes: Vec<u8>,
    /// Where each text starts, and the end of the last.
    starts: Vec<usize>,
    /// Where the digits of each start.
    digits: Vec<usize>,
}

impl Messages {
    /// Makes the texts, the same ones in every run but for the time in their header.
    pub fn make() -> Self {
        let mut messages = Self { bytes: Vec::new(), starts: vec![0], digits: Vec::new() };
        let stamp = rfc3164_now();
        let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
        for _ in 0..TEXTS {
            let line = line(&stamp, &mut chance);
            let at = line.find(MARKER).expect("each text has the marker") + MARKER.len();
            messages.digits.push(messages.bytes.len() + at);
            messages.bytes.extend_from_slice(line.as_bytes());
            messages.bytes.push(b'\n');
            messages.starts.push(messages.bytes.len());
        }
        messages
    }

    /// Bytes of a message without its line feed, on average.
    pub fn bytes_mean(&self) -> f64 {
        self.bytes.len() as f64 / TEXTS as f64 - 1.0
    }

    /// The next messages from `numbers`, at most `at_most` and as many as lie one behind the other; they carry their numbers.
    pub fn take(&mut self, numbers: Range<usize>, at_most: usize) -> Taken<'_> {
        let first = numbers.start % TEXTS;
        let count = numbers.len().min(at_most).min(TEXTS - first);
        for (step, at) in self.digits[first..first + count].iter().enumerate() {
            write_number(&mut self.bytes[*at..*at + DIGITS], numbers.start + step);
        }
        Taken { bytes: &self.bytes, starts: &self.starts[first..=first + count] }
    }
}

/// Some messages, ready to be sent.
pub struct Taken<'a> {
    bytes: &'a [u8],
    starts: &'a [usize],
}

impl<'a> Taken<'a> {
    /// How many.
    pub fn count(&self) -> usize {
        self.starts.len() - 1
    }

    /// All of them with their line feeds.
    pub fn lines(&self) -> &'a [u8] {
        &self.bytes[self.starts[0]..self.starts[self.count()]]
    }

    /// One by one, without line feeds.
    pub fn datagrams(&self) -> Vec<&'a [u8]> {
        self.starts.windows(2).map(|pair| &self.bytes[pair[0]..pair[1] - 1]).collect()
    }
}

fn write_number(digits: &mut [u8], mut number: usize) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).expect("one digit");
        number /= 10;
    }
}

/// One line of one of the programs that fill the logs of a server.
fn line(stamp: &str, chance: &mut Chance) -> String {
    let host = ["web01", "web02", "db-primary", "bastion"][chance.below(4)];
    let (pid, port, id) = (300 + chance.below(32_000), 1_024 + chance.below(60_000), chance.next());
    let user = ["root", "admin", "deploy", "oracle", "postgres", "ubuntu", "backup"][chance.below(7)];
    let (a, b) = (chance.address(), chance.address());
    let ms = chance.below(90_000);
    let seq = format!("{MARKER}{:09}", 0);
    let (pri, ident, text) = match chance.below(10) {
        0 | 1 => (
            38,
            format!("sshd[{pid}]"),
            format!(
                "{seq} Failed password for invalid user {user} from {a} port {port} ssh2: publickey SHA256:{id:016x} not accepted, {} attempts left, session {}",
                chance.below(6),
                chance.below(100_000)
            ),
        ),
        2..=4 => (
            190,
            "nginx".to_owned(),
            format!(
                "{seq} {a} - {user} \"GET /api/v1/{}/{:x}?page={} HTTP/1.1\" {} {} \"-\" \"curl/7.88.1\" rt=0.{:03} upstream={b}:8080",
                ["orders", "customers", "invoices", "search", "health"][chance.below(5)],
                id >> 32,
                chance.below(400),
                [200, 200, 200, 304, 404, 502][chance.below(6)],
                chance.below(80_000),
                ms % 1000
            ),
        ),
        5 => (
            4,
            "kernel".to_owned(),
            format!(
                "{seq} [{}.{:06}] [UFW BLOCK] IN=eth0 OUT= MAC=52:54:00:12:34:56 SRC={a} DST={b} LEN=60 TOS=0x00 PREC=0x00 TTL={} ID={} DF PROTO=TCP SPT={port} DPT={} WINDOW=64240 SYN",
                chance.below(900_000),
                ms,
                chance.below(255),
                chance.below(65_536),
                [22, 23, 445, 3389, 8080][chance.below(5)]
            ),
        ),
        6 => (
            86,
            format!("sudo[{pid}]"),
            format!(
                "{seq} {user} : TTY=pts/{} ; PWD=/home/{user} ; USER=root ; COMMAND=/usr/bin/systemctl restart app-{}.service ; TSID={:06X}",
                chance.below(20),
                chance.below(300),
                id >> 40
            ),
        ),
        7 => (
            22,
            format!("postfix/smtp[{pid}]"),
            format!(
                "{seq} {:010X}: to=<{user}.{}@example.com>, relay=mx{}.example.com[{a}]:25, delay={}.{}, delays=0.1/0/0.4/{}, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as {:08X})",
                id >> 24,
                chance.below(5_000),
                chance.below(9),
                chance.below(30),
                chance.below(10),
                chance.below(10),
                chance.next() >> 32
            ),
        ),
        8 => (
            78,
            format!("CRON[{pid}]"),
            format!(
                "{seq} ({user}) CMD (/usr/local/bin/collect --shard {} --since {} --lock /run/collect-{}.lock >/dev/null 2>&1 || logger -t collect failed)",
                chance.below(64),
                id % 1_700_000_000,
                chance.below(64)
            ),
        ),
        _ => (
            134,
            format!("orders[{pid}]"),
            format!(
                "{seq} {{\"level\":\"info\",\"trace\":\"{id:016x}{:016x}\",\"event\":\"order placed\",\"customer\":{},\"items\":{},\"ms\":{}.{:02}}}",
                chance.next(),
                chance.below(200_000),
                chance.below(12),
                ms / 100,
                ms % 100
            ),
        ),
    };
    format!("<{pri}>{stamp} {host} {ident}: {text}")
}

/// Numbers that look like chance and are the same in every run (xorshift64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).expect("31 bits") % bound
    }

    /// One of a few hundred: a server hears the same clients again and again.
    fn address(&mut self) -> String {
        let client = self.below(400) * 7919;
        format!("{}.{}.{}.{}", 11 + client % 200, client / 3 % 256, client / 5 % 256, 1 + client % 254)
    }
}

/// `Nov  6 08:49:37`, in UTC, which is the local time of every program measured.
fn rfc3164_now() -> String {
    let date = clock::http_date(clock::now_s()); // Sun, 06 Nov 1994 08:49:37 GMT
    let day = date[5..7].trim_start_matches('0');
    format!("{} {day:>2} {}", &date[8..11], &date[17..25])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_200_bytes_on_average_and_carry_their_numbers_across_the_end_of_the_texts() {
        let mut messages = Messages::make();
        let mean = messages.bytes_mean();
        assert!((190.0..210.0).contains(&mean), "{mean}");
        let start = 3 * TEXTS - 2;
        let taken = messages.take(start..start + 10, 100);
        assert_eq!(taken.count(), 2, "the rest lies at the front again");
        for (step, datagram) in taken.datagrams().into_iter().enumerate() {
            let text = String::from_utf8_lossy(datagram);
            assert!(text.contains(&format!("seq={:09} ", start + step)), "{text}");
        }
        assert_eq!(taken.lines().iter().filter(|byte| **byte == b'\n').count(), 2);
    }
}

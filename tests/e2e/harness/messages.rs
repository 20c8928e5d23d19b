//! Numbered messages: what is sent, and the proof that each arrived once, whole and with the right fields.

use super::{PATIENCE, Site};
use omsd_standin::{Item, clock};
use std::collections::HashMap;

/// Names by number, as records spell them.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "at", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];
/// Names by number, as records spell them.
const SEVERITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warn", "notice", "info", "debug"];

/// The text of the message behind the numbered ones: when it arrives, all that will arrive has.
const LAST: &str = "the last of them";

/// `Nov  6 08:49:37`, in UTC, which is the local time of every program a scenario starts.
fn rfc3164_now() -> String {
    let date = clock::http_date(clock::now_s()); // Sun, 06 Nov 1994 08:49:37 GMT
    let day = date[5..7].trim_start_matches('0');
    format!("{} {day:>2} {}", &date[8..11], &date[17..25])
}

/// A run of messages numbered from 0.
#[derive(Clone, Copy)]
pub struct Numbered {
    /// How many.
    pub count: usize,
    /// The one facility and severity, or, where `None`, all of them in turn.
    pub pri: Option<u8>,
}

impl Numbered {
    /// So many, over all facilities and severities.
    pub fn new(count: usize) -> Self {
        Self { count, pri: None }
    }

    /// The text of one message: quotes, a backslash, a colon and letters of two bytes, as texts have them.
    pub fn text(&self, number: usize) -> String {
        format!("seq={number} user \"root\" opened C:\\temp: größer als {}", number * 7)
    }

    fn pri(&self, number: usize) -> u8 {
        let all = u8::try_from(number % 192).expect("below 192");
        self.pri.unwrap_or(all)
    }

    /// One message as a program writes it to /dev/log, with host name.
    pub fn rfc3164(&self, number: usize) -> String {
        let (pri, text) = (self.pri(number), self.text(number));
        format!("<{pri}>{} web01 app[{}]: {text}", rfc3164_now(), 100 + number % 900)
    }

    /// All of them and [`LAST`] behind them, a line feed behind each.
    pub fn lines(&self) -> String {
        let numbered: String = (0..self.count).map(|number| self.rfc3164(number) + "\n").collect();
        numbered + &format!("<14>{} web01 app: {LAST}\n", rfc3164_now())
    }

    /// Only the texts, a line each, for a program that makes the header itself.
    pub fn texts(&self) -> String {
        let numbered: String = (0..self.count).map(|number| self.text(number) + "\n").collect();
        numbered + LAST + "\n"
    }

    /// Waits until [`LAST`] has arrived. Then each number is there exactly once, in the order sent, with its text, and with what `fields` says.
    #[track_caller]
    pub fn expect_once_each(&self, site: &Site, fields: impl Fn(usize, &Item)) {
        let arrived = site.standin.wait(PATIENCE, |seen| {
            seen.counts.records > self.count as u64 && seen.messages().last().is_some_and(|message| message == LAST)
        });
        let seen = site.standin.seen();
        let items: Vec<&Item> = seen.syslog().filter(|item| number_in(item.text("Message")).is_some()).collect();
        let numbers: Vec<usize> = items.iter().filter_map(|item| number_in(item.text("Message"))).collect();
        let expected: Vec<usize> = (0..self.count).collect();
        if numbers != expected || !arrived {
            panic!("{}; {:?}; {:?}", self.what_is_wrong(&numbers), seen.counts, seen.complaints);
        }
        for (number, item) in items.into_iter().enumerate() {
            assert_eq!(item.text("Message"), self.text(number));
            fields(number, item);
        }
        assert_eq!(seen.complaints, [""; 0], "the service had complaints");
    }

    /// The fields of a message that was sent as [`Numbered::rfc3164`].
    pub fn rfc3164_fields(&self, number: usize, item: &Item) {
        let pri = usize::from(self.pri(number));
        assert_eq!(item.text("ident"), "app", "{item:?}");
        assert_eq!(item.text("ProcessId"), (100 + number % 900).to_string(), "{item:?}");
        assert_eq!(item.text("Host"), "web01", "{item:?}");
        // The sender on the loopback address is a forwarder: it says nothing about where web01 is.
        assert_eq!(item.text("HostIP"), "Unknown IP", "{item:?}");
        assert_eq!(item.text("Facility"), FACILITIES[pri / 8], "{item:?}");
        assert_eq!(item.text("Severity"), SEVERITIES[pri % 8], "{item:?}");
        let event_s = clock::parse_record_time(item.text("EventTime")).expect("the service checked it");
        assert!((clock::now_s() - event_s).abs() < 300, "EventTime is not now: {item:?}");
    }

    fn what_is_wrong(&self, numbers: &[usize]) -> String {
        let mut times: HashMap<usize, usize> = HashMap::new();
        numbers.iter().for_each(|number| *times.entry(*number).or_default() += 1);
        let mut twice: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
        twice.sort();
        let missing: Vec<_> = (0..self.count).filter(|number| !times.contains_key(number)).collect();
        let disorder = numbers.windows(2).position(|pair| pair[0] > pair[1]).map(|at| &numbers[at..at + 2]);
        format!(
            "{} arrived of {}; missing {}: {:?}; more than once {}: {:?}; first out of order: {disorder:?}",
            numbers.len(),
            self.count,
            missing.len(),
            &missing[..missing.len().min(9)],
            twice.len(),
            &twice[..twice.len().min(9)]
        )
    }
}

/// The number in a numbered message.
fn number_in(message: &str) -> Option<usize> {
    message.strip_prefix("seq=")?.split(' ').next()?.parse().ok()
}

//! Rows as a destination: what a chunk holds goes out in as many requests as the bounds on one ask for, one behind another, while
//! the chunk still comes in. A request that fails ends it: what is in front of it is delivered and said to be.

use super::body::{Packer, this_hosts_renderer};
use super::deflate::{Compressor, Wrapper};
use super::items::Renderer;
use super::items::rows::{BETWEEN, RowForm};
use super::oms::one_line;
use super::{Destination, Outcome, Stream, Verdict};
use crate::config::RowSettings;
use crate::limits::{REASON_BYTES_MAX, ROWS_BYTES_MAX, ROWS_NEXT_MS_MAX, ROWS_RANGE_MS_MAX, ROWS_WIRE_BYTES_MAX};
use crate::sys::clock;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Who takes rows.
pub trait Door {
    /// Whether bodies are compressed (gzip).
    fn compresses(&self) -> bool;
    /// The column that holds the time of receipt.
    fn time_column(&self) -> &'static str;
    /// Posts the finished body of one request, and says what came of it.
    fn post(&mut self, stream: Stream, body: &[u8]) -> Outcome;
}

/// Rows of this host on their way to a door.
pub struct Rows {
    door: Box<dyn Door>,
    form: RowForm,
    renderer: Renderer,
    packer: Packer,
    stream: Stream,
    body: Pending,
    sent: Sums,
    /// How the chunk ended, once a request has failed.
    failed: Option<Outcome>,
    begun_ms: u64,
    /// Requests of one record that were refused, since one was taken.
    refused_alone: u32,
}

/// What is in the body at hand.
#[derive(Default)]
struct Pending {
    rows: u32,
    /// Records whose last row is in it.
    records: u32,
    /// When its first and its last record were received, µs since 1970.
    first_us: u64,
    last_us: u64,
}

/// What of the chunk was taken.
#[derive(Default)]
struct Sums {
    requests: u32,
    records: u32,
    body_bytes: u64,
    wire_bytes: u64,
}

/// Where every record is refused, it is not the records: then they are kept.
const REFUSED_ALONE_MAX: u32 = 3;

impl Rows {
    /// Rows of this host in its zone, for `door`.
    pub fn new(door: Box<dyn Door>, settings: &RowSettings) -> Rows {
        Rows::with_renderer(door, settings, this_hosts_renderer())
    }

    /// As [`Rows::new`], for a host and a zone that the caller chose.
    pub fn with_renderer(door: Box<dyn Door>, settings: &RowSettings, renderer: Renderer) -> Rows {
        let compressor = door.compresses().then(|| Compressor::new(Wrapper::Gzip, ROWS_WIRE_BYTES_MAX));
        let form = RowForm { time_column: door.time_column(), table: settings.syslog_table, warning: settings.warning };
        Rows {
            door,
            form,
            renderer,
            packer: Packer::new(compressor, ROWS_WIRE_BYTES_MAX),
            stream: Stream::Syslog,
            body: Pending::default(),
            sent: Sums::default(),
            failed: None,
            begun_ms: 0,
            refused_alone: 0,
        }
    }
}

impl Destination for Rows {
    fn begin(&mut self, stream: Stream, _attempt: u32) {
        self.stream = stream;
        (self.sent, self.failed, self.begun_ms) = (Sums::default(), None, clock::monotonic_ms());
        self.begin_body();
    }

    fn add(&mut self, received_us: u64, payload: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        if self.body.rows > 0 && self.is_too_far(received_us) && !self.post() {
            return;
        }
        let text = self.packer.text();
        let start = text.len();
        if self.body.rows > 0 {
            text.put(BETWEEN);
        }
        let first_row = text.len();
        if !self.renderer.rows(&self.form, self.stream, received_us, payload, text) {
            text.truncate(start);
            if self.post() {
                self.fail(Outcome::new(Verdict::Refused, String::from("the record cannot be rendered")), 1);
            }
            return;
        }
        if text.len() == first_row {
            text.truncate(start);
            self.body.records += 1;
        } else if self.packer.bytes() < ROWS_BYTES_MAX as u64 {
            self.note_rows(received_us);
            self.body.records += 1;
            self.packer.gathered();
        } else {
            let rows = Vec::from(&self.packer.text().as_bytes()[first_row..]);
            self.packer.text().truncate(start);
            self.add_apart(received_us, &rows);
        }
    }

    fn deliver(&mut self) -> Outcome {
        if self.failed.is_none() {
            self.post();
        }
        let mut outcome = self.failed.take().unwrap_or_else(|| Outcome::new(Verdict::Sent, String::new()));
        if outcome.verdict != Verdict::Sent {
            outcome.delivered = self.sent.records;
        }
        outcome.records = self.sent.records;
        (outcome.body_bytes, outcome.wire_bytes) = (self.sent.body_bytes, self.sent.wire_bytes);
        outcome.reason = one_line(&outcome.reason, REASON_BYTES_MAX);
        outcome
    }
}

impl Rows {
    fn begin_body(&mut self) {
        self.body = Pending::default();
        self.packer.begin(b"[");
    }

    fn note_rows(&mut self, received_us: u64) {
        if self.body.rows == 0 {
            (self.body.first_us, self.body.last_us) = (received_us, received_us);
        }
        self.body.rows += 1;
        self.body.first_us = self.body.first_us.min(received_us);
        self.body.last_us = self.body.last_us.max(received_us);
    }

    fn is_too_far(&self, received_us: u64) -> bool {
        let (first_us, last_us) = (self.body.first_us.min(received_us), self.body.last_us.max(received_us));
        (last_us - first_us) / 1000 > ROWS_RANGE_MS_MAX
    }

    /// The rows of a record that do not fit the body at hand: in the next one, or, if a sample is that large, in several.
    fn add_apart(&mut self, received_us: u64, rows: &[u8]) {
        for row in rows.split(|&byte| byte == b'\n') {
            let row = row.strip_suffix(b",").unwrap_or(row);
            if self.packer.bytes() + row.len() as u64 + BETWEEN.len() as u64 >= ROWS_BYTES_MAX as u64 && !self.post() {
                return;
            }
            if self.body.rows > 0 {
                self.packer.text().put(BETWEEN);
            }
            self.packer.text().put_slice(row);
            self.packer.gathered();
            self.note_rows(received_us);
        }
        self.body.records += 1;
    }

    /// Ends the body at hand, posts it and begins the next. `false`: the chunk has failed, or its time is up.
    fn post(&mut self) -> bool {
        if self.body.rows == 0 {
            self.sent.records += self.body.records;
            self.begin_body();
            return true;
        }
        if self.sent.requests > 0 && clock::monotonic_ms().saturating_sub(self.begun_ms) > ROWS_NEXT_MS_MAX {
            // Without a reason: nothing failed, but a further request might outlive the child's time for a chunk.
            self.fail(Outcome::new(Verdict::Later, String::new()), 0);
            return false;
        }
        let Some(wire) = self.packer.finish(b"]") else {
            let reason = String::from("the rows cannot be compressed to what one request may hold");
            self.fail(Outcome::new(Verdict::Refused, reason), self.body.records.max(1));
            return false;
        };
        let wire_bytes = wire.len() as u64;
        let outcome = self.door.post(self.stream, wire);
        self.sent.requests += 1;
        if outcome.verdict != Verdict::Sent {
            let outcome = self.without_despair(outcome);
            self.fail(outcome, self.body.records.max(1));
            return false;
        }
        self.refused_alone = 0;
        self.sent.records += self.body.records;
        self.sent.body_bytes += self.packer.packed_bytes();
        self.sent.wire_bytes += wire_bytes;
        self.begin_body();
        true
    }

    /// A refusal of one record is that record's fault; of every record it is not.
    fn without_despair(&mut self, outcome: Outcome) -> Outcome {
        if outcome.verdict != Verdict::Refused || self.body.records > 1 {
            return outcome;
        }
        self.refused_alone += 1;
        if self.refused_alone <= REFUSED_ALONE_MAX {
            return outcome;
        }
        let reason =
            format!("{}; so was each record before: check the rule, the stream and its columns", outcome.reason);
        Outcome { verdict: Verdict::Later, reason, ..outcome }
    }

    fn fail(&mut self, outcome: Outcome, concerned: u32) {
        self.failed = Some(Outcome { concerned, ..outcome });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::Object;
    use crate::limits::{MESSAGE_BYTES_MAX, RECORD_HEADER_BYTES_MAX};
    use crate::record::{Sender, encode, perf};
    use crate::upload::items::ThisHost;
    use alloc::rc::Rc;
    use core::cell::RefCell;

    /// What was posted, and what is to be answered: the first answers in order, then "sent".
    #[derive(Default)]
    struct Desk {
        bodies: Vec<String>,
        answers: Vec<Outcome>,
    }

    struct TestDoor(Rc<RefCell<Desk>>);

    impl Door for TestDoor {
        fn compresses(&self) -> bool {
            false
        }

        fn time_column(&self) -> &'static str {
            "TimeGenerated"
        }

        fn post(&mut self, _: Stream, body: &[u8]) -> Outcome {
            let mut desk = self.0.borrow_mut();
            let text = String::from_utf8(Vec::from(body)).expect("valid UTF-8");
            // Large ones take longer to parse than a chunk has time.
            let whole = text.len() > 50_000 || miniserde::json::from_str::<miniserde::json::Array>(&text).is_ok();
            assert!(whole && text.starts_with("[{") && text.ends_with("}]"), "{text}");
            desk.bodies.push(text);
            if desk.answers.is_empty() { Outcome::new(Verdict::Sent, String::new()) } else { desk.answers.remove(0) }
        }
    }

    fn rows() -> (Rows, Rc<RefCell<Desk>>) {
        let desk = Rc::new(RefCell::new(Desk::default()));
        let host = ThisHost { name: String::from("web01"), address: None };
        let renderer = Renderer::new(host, |time| time.unix_s_as_utc());
        (Rows::with_renderer(Box::new(TestDoor(desk.clone())), &RowSettings::default(), renderer), desk)
    }

    fn message(text: &[u8]) -> Vec<u8> {
        [encode::header(Sender::Local, &mut [0; RECORD_HEADER_BYTES_MAX]), text].concat()
    }

    const MINUTE_US: u64 = 60_000_000;

    #[test]
    fn a_chunk_goes_in_as_many_requests_as_its_size_asks_for() {
        let (mut rows, desk) = rows();
        rows.begin(Stream::Syslog, 0);
        let worst = message(&[1; MESSAGE_BYTES_MAX]);
        (0..7).for_each(|_| rows.add(0, &worst));
        (0..5000).for_each(|number| rows.add(0, &message(format!("message {number}").as_bytes())));
        let outcome = rows.deliver();
        assert_eq!((outcome.verdict, outcome.records, outcome.delivered), (Verdict::Sent, 5007, 0));
        let bodies = &desk.borrow().bodies;
        assert!(bodies.iter().all(|body| body.len() <= ROWS_BYTES_MAX) && bodies.len() == 5, "{}", bodies.len());
        assert_eq!(outcome.body_bytes, bodies.iter().map(|body| body.len() as u64).sum::<u64>());
        assert_eq!(bodies.iter().map(|body| body.matches(",\n{").count() + 1).sum::<usize>(), 5007);
    }

    #[test]
    fn one_request_spans_less_than_half_an_hour() {
        let (mut rows, desk) = rows();
        rows.begin(Stream::Syslog, 0);
        for minute in [60, 61, 80, 50, 89, 90, 200, 215, 230, 60] {
            rows.add(minute * MINUTE_US, &message(b"x"));
        }
        assert_eq!(rows.deliver().records, 10);
        let counts: Vec<usize> = desk.borrow().bodies.iter().map(|body| body.matches("EventTime").count()).collect();
        assert_eq!(counts, [3, 1, 2, 2, 1, 1], "the clock may jump");
    }

    #[test]
    fn a_sample_above_the_bound_goes_in_parts_of_whole_rows() {
        let (mut rows, desk) = rows();
        let mut writer = perf::Writer::default();
        writer.begin(Object::LogicalDisk, 0x7ff);
        (0..6).for_each(|_| writer.add(&[1; 3000], &[Some(0.5); 11]));
        rows.begin(Stream::Perf, 0);
        rows.add(0, writer.payload().unwrap());
        rows.add(0, writer.payload().unwrap());
        assert_eq!(rows.deliver().records, 2);
        let bodies = &desk.borrow().bodies;
        assert!(bodies.len() > 2 && bodies.iter().all(|body| body.len() <= ROWS_BYTES_MAX), "{}", bodies.len());
        assert_eq!(bodies.iter().map(|body| body.matches("CounterValue").count()).sum::<usize>(), 2 * 6 * 11);
    }

    #[test]
    fn what_is_in_front_of_a_failed_request_is_delivered() {
        for (verdict, expected) in [(Verdict::Later, "busy"), (Verdict::Refused, "bad")] {
            let (mut rows, desk) = rows();
            let answers = [Outcome::new(Verdict::Sent, String::new()), Outcome::new(verdict, expected.into())];
            desk.borrow_mut().answers.extend(answers);
            rows.begin(Stream::Syslog, 0);
            [0, 0, 0, 60, 60, 120].into_iter().for_each(|minute| rows.add(minute * MINUTE_US, &message(b"x")));
            let outcome = rows.deliver();
            assert_eq!((outcome.verdict, outcome.delivered, outcome.concerned), (verdict, 3, 2), "{outcome:?}");
            assert_eq!((outcome.reason.as_str(), desk.borrow().bodies.len()), (expected, 2), "the rest is not tried");
            rows.begin(Stream::Syslog, 1);
            rows.add(0, &message(b"x"));
            assert_eq!(rows.deliver().verdict, Verdict::Sent, "the next chunk starts afresh");
        }
    }

    #[test]
    fn a_payload_that_is_no_record_is_refused_alone() {
        let (mut rows, desk) = rows();
        rows.begin(Stream::Syslog, 0);
        rows.add(0, &message(b"x"));
        rows.add(0, b"\x09");
        rows.add(0, &message(b"y"));
        let outcome = rows.deliver();
        assert_eq!((outcome.verdict, outcome.delivered, outcome.concerned), (Verdict::Refused, 1, 1), "{outcome:?}");
        assert_eq!(desk.borrow().bodies.len(), 1);
    }

    #[test]
    fn a_chunk_without_rows_posts_nothing() {
        let (mut rows, desk) = rows();
        let mut writer = perf::Writer::default();
        writer.begin(Object::Memory, 0);
        writer.add(b"Memory", &[]);
        rows.begin(Stream::Perf, 0);
        rows.add(0, writer.payload().unwrap());
        let outcome = rows.deliver();
        assert_eq!((outcome.verdict, outcome.records, desk.borrow().bodies.len()), (Verdict::Sent, 1, 0));
    }

    #[test]
    fn where_every_record_is_refused_none_is_lost_for_it() {
        let (mut rows, desk) = rows();
        let mut deliver = || {
            desk.borrow_mut().answers.push(Outcome::new(Verdict::Refused, "no".into()));
            rows.begin(Stream::Syslog, 0);
            rows.add(0, &message(b"x"));
            rows.deliver()
        };
        (0..REFUSED_ALONE_MAX).for_each(|_| assert_eq!(deliver().verdict, Verdict::Refused));
        let despair = deliver();
        assert!(
            despair.verdict == Verdict::Later && despair.reason.contains("so was each record before"),
            "{despair:?}"
        );
    }
}

//! From frames to answers: which frames go next, the child that renders and posts them, and what its answer means.
//!
//! [`schedule`], with [`chunk`] and [`backoff`], decides, without I/O; [`child`] forks, feeds and reaps; the rest runs only
//! inside the child: [`items`] renders (its values: [`number`]), [`deflate`] compresses, [`https`] posts, one file per
//! destination joins them: [`stdout`], [`oms`], and [`rows`] with its two doors, [`azure_ingestion`] and [`data_collector`].
//! [`probe`] is what `omsd check` sends.

pub mod admin_conf;
#[cfg(feature = "std")]
pub mod azure_ingestion;
pub mod backoff;
#[cfg(feature = "std")]
pub mod body;
pub mod cef;
#[cfg(feature = "std")]
pub mod child;
pub mod chunk;
#[cfg(feature = "std")]
pub mod data_collector;
#[cfg(feature = "std")]
pub mod deflate;
pub mod dns;
#[cfg(feature = "std")]
pub mod fips;
pub mod guid;
#[cfg(feature = "std")]
pub mod https;
pub mod items;
pub mod members;
pub mod number;
#[cfg(feature = "std")]
pub mod oms;
#[cfg(feature = "std")]
pub mod probe;
pub mod proxy;
#[cfg(feature = "std")]
pub mod render;
#[cfg(feature = "std")]
pub mod rows;
pub mod schedule;
#[cfg(feature = "std")]
pub mod stdout;
pub mod text;
pub mod times;
pub mod wire;

use alloc::string::String;

/// One stream of the ring: the data type of its records. The number is what stands in the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stream {
    /// `LINUX_SYSLOGS_BLOB`: the payload is a [`crate::record::Record`].
    Syslog = 0,
    /// `OPERATION_BLOB`: what the agent says about itself, losses above all.
    Operation = 1,
    /// `HEALTH_ASSESSMENT_BLOB`: "I am here".
    Heartbeat = 2,
    /// `LINUX_PERF_BLOB`: the payload is a [`crate::record::perf::Sample`].
    Perf = 3,
}

/// What became of one chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The service has it.
    Sent,
    /// Try the same chunk again.
    Later,
    /// The service will never take it as it is: halve, or set the one record aside.
    Refused,
}

/// The child's answer about one chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What to do with the chunk.
    pub verdict: Verdict,
    /// HTTP status, 0 if none arrived.
    pub status: u16,
    /// `Retry-After` in seconds from now, if the service sent one that makes sense.
    pub retry_after_s: Option<u32>,
    /// Seconds that the service's clock (its `Date` header) is ahead of ours, if it sent one.
    pub clock_skew_s: Option<i32>,
    /// The connection broke before an answer came: perhaps an answer to the size of the body.
    pub broke: bool,
    /// No answer came, but the service may have taken the records.
    pub ambiguous: bool,
    /// Unless sent: so many records at the front of the chunk were delivered all the same, by requests of their own.
    pub delivered: u32,
    /// So many records behind those are what the verdict is about; 0: all.
    pub concerned: u32,
    /// Records in the body, or in the bodies that were taken.
    pub records: u32,
    /// Bytes of the body before compression.
    pub body_bytes: u64,
    /// Bytes of the body on the wire.
    pub wire_bytes: u64,
    /// A sentence for the operator, at most [`crate::limits::REASON_BYTES_MAX`] bytes; empty when sent.
    pub reason: String,
}

impl Stream {
    /// Every stream, in the order of their numbers.
    pub const ALL: [Stream; 4] = [Stream::Syslog, Stream::Operation, Stream::Heartbeat, Stream::Perf];

    /// The stream of this number.
    pub fn from_number(number: u8) -> Option<Stream> {
        Stream::ALL.get(usize::from(number)).copied()
    }

    /// What an operator calls it.
    pub fn name(self) -> &'static str {
        match self {
            Stream::Syslog => "syslog",
            Stream::Operation => "operation",
            Stream::Heartbeat => "heartbeat",
            Stream::Perf => "perf",
        }
    }
}

impl Outcome {
    /// An answer with nothing but a verdict and, unless it is "sent", the reason.
    pub fn new(verdict: Verdict, reason: String) -> Outcome {
        Outcome {
            verdict,
            status: 0,
            retry_after_s: None,
            clock_skew_s: None,
            broke: false,
            ambiguous: false,
            delivered: 0,
            concerned: 0,
            records: 0,
            body_bytes: 0,
            wire_bytes: 0,
            reason,
        }
    }
}

/// Where bodies go. One chunk at a time: `begin`, `add` for each frame, `deliver`.
pub trait Destination {
    /// Starts the body of one request. `attempt` is 0 for the first try.
    fn begin(&mut self, stream: Stream, attempt: u32);
    /// Adds the record of one frame: its payload, and when it was received (µs since 1970).
    fn add(&mut self, received_us: u64, payload: &[u8]);
    /// Ends the body, delivers it and says what came of it. A failure is an [`Outcome`], never a panic.
    fn deliver(&mut self) -> Outcome;
}

impl Destination for alloc::boxed::Box<dyn Destination> {
    fn begin(&mut self, stream: Stream, attempt: u32) {
        self.as_mut().begin(stream, attempt);
    }

    fn add(&mut self, received_us: u64, payload: &[u8]) {
        self.as_mut().add(received_us, payload);
    }

    fn deliver(&mut self) -> Outcome {
        self.as_mut().deliver()
    }
}

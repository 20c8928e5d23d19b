//! The status file: what the running agent does, written for `omsd status` and for anyone who reads JSON.

use super::keeper::Keeper;
use super::lock;
use super::paths::Paths;
use super::report;
use super::sampler::Account;
use super::uploader::Uploader;
use crate::limits::STATUS_FRESH_MS;
use crate::ring::disk::DiskRing;
use crate::ring::{Counters, flow};
use crate::sys::{clock, file};
use crate::upload::Stream;
use crate::upload::fips::Standing;
use crate::upload::times;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write;
use miniserde::{Deserialize, Serialize, json};
use std::io;
use std::path::{Path, PathBuf};

/// The file is not written more often than this, however many uploads there are.
const PAUSE_MS: u64 = 1_000;
/// Who may read it: it holds no secret, but it is nobody else's business.
const MODE: u32 = 0o640;

/// The state of an agent that ended as it was told to.
pub const STOPPED: &str = "stopped";

/// The whole file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the agent that wrote it.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// The boot it ran in; its monotonic times mean nothing in another.
    pub boot_id: String,
    /// Monotonic clock when this was written.
    pub monotonic_ms: u64,
    /// Wall clock, when the agent started and when this was written.
    pub started: String,
    /// See `started`.
    pub written: String,
    /// `running`, `stopped` as it was told to, or `failed`.
    pub state: String,
    /// The first destination: `out_oms` and its workspace, `out_stdout`, or the `@id` of the `<match>`.
    pub destination: String,
    /// Which build this is, and whether the host is in FIPS mode.
    pub fips: String,
    /// The ring file.
    pub ring: RingStatus,
    /// Open stream connections, and those that had to wait for one to close.
    pub connections: u64,
    /// See `connections`.
    pub turned_away: u64,
    /// Samples of counters since the start.
    pub samples: SamplesStatus,
    /// Deliveries.
    pub upload: UploadStatus,
    /// The identity that records are sent with, one at most.
    pub identities: Vec<IdentityStatus>,
    /// One for each stream that ever held a record.
    pub streams: Vec<StreamStatus>,
    /// The other destinations, where there are several.
    pub others: Vec<DestinationStatus>,
}

/// Deliveries to one destination, and its account: `destination`, `upload` and `streams` as in [`Status`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DestinationStatus {
    /// Its name.
    pub destination: String,
    /// Deliveries.
    pub upload: UploadStatus,
    /// One for each stream that ever held a record for it.
    pub streams: Vec<StreamStatus>,
}

/// What the ring holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RingStatus {
    /// Its path.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Bytes of frames not yet delivered.
    pub pending_bytes: u64,
    /// Frames not yet delivered.
    pub pending_records: u64,
}

/// What became of samples that were due.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SamplesStatus {
    /// Became records.
    pub taken: u64,
    /// Could not be taken: a file of the kernel's could not be read.
    pub failed: u64,
    /// Had no instance, or none that their source wants.
    pub empty: u64,
}

/// How deliveries go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UploadStatus {
    /// Wall clock of the last success; empty: none since the start.
    pub last_success: String,
    /// Wall clock of the last failure; empty: none since the start.
    pub last_failure: String,
    /// HTTP status of the last failure; 0: none arrived.
    pub last_status: u64,
    /// What the last failure was.
    pub last_reason: String,
    /// Requests answered since the start.
    pub requests: u64,
    /// Of the others, those that the service may have taken all the same: their records may be there twice.
    pub ambiguous: u64,
    /// Bytes of delivered bodies before compression.
    pub body_bytes: u64,
    /// Bytes of delivered bodies on the wire.
    pub wire_bytes: u64,
}

/// An identity, and how it is kept alive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IdentityStatus {
    /// The certificate's file.
    pub certificate: String,
    /// When the certificate ends; empty: not known.
    pub certificate_end: String,
    /// Wall clock of the last topology heartbeat that the service took; empty: none since the start.
    pub last_heartbeat: String,
    /// What is wrong with it; empty: nothing.
    pub reason: String,
}

/// The account of one stream, kept across restarts: received = sent + pending + every kind of loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamStatus {
    /// `syslog`, `heartbeat`, ...
    pub name: String,
    /// Records taken.
    pub received: u64,
    /// Records delivered.
    pub sent: u64,
    /// Records in the ring, not yet delivered.
    pub pending: u64,
    /// Records that a full ring overwrote.
    pub overwritten: u64,
    /// Records that the disk gave back damaged.
    pub corrupt: u64,
    /// Records that the service refused for good; they are in the `rejected` file.
    pub refused: u64,
    /// Records given up at `retry_limit`.
    pub discarded: u64,
    /// Records that could not be kept: disk failed, or `buffer_queue_full_action exception`.
    pub dropped: u64,
    /// Records in chunks that were sent more than once.
    pub sent_again: u64,
    /// Records that were longer than the limit.
    pub cut: u64,
    /// What came and was no message.
    pub malformed: u64,
    /// Failures in a row.
    pub attempts: u64,
    /// Seconds until the next attempt; 0: no wait.
    pub next_attempt_in_s: u64,
}

/// What the loop knows of its sources.
#[derive(Debug, Clone, Copy)]
pub struct Intake {
    /// Open stream connections.
    pub connections: usize,
    /// Connections that had to wait.
    pub turned_away: u64,
    /// Samples of counters.
    pub samples: Account,
}

/// Writes the file, and remembers what does not change.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    ring_path: String,
    fips: String,
    boot_id: String,
    started_us: u64,
    written_ms: u64,
}

impl Writer {
    /// A writer for the agent that starts now.
    pub fn new(paths: &Paths, ring_path: &Path, standing: &Standing) -> Writer {
        Writer {
            path: paths.status(),
            ring_path: ring_path.to_string_lossy().into_owned(),
            fips: standing.to_string(),
            boot_id: lock::boot_id(),
            started_us: clock::wall_us(),
            written_ms: 0,
        }
    }

    /// The file need not be written again before this moment of the loop's clock.
    pub fn not_before_ms(&self) -> u64 {
        self.written_ms + PAUSE_MS
    }

    /// Writes the file anew. Fails as the file system does.
    pub fn write(
        &mut self,
        now_ms: u64,
        state: &str,
        ring: &DiskRing,
        uploaders: &[Uploader],
        keepers: &[Keeper],
        intake: Intake,
    ) -> io::Result<()> {
        self.written_ms = now_ms;
        let pending = ring.pending_total();
        let mut destinations = uploaders.iter().map(|uploader| of_destination(uploader, ring, now_ms));
        let first = destinations.next().ok_or(io::ErrorKind::NotFound)?;
        let status = Status {
            version: env!("CARGO_PKG_VERSION").to_string(),
            pid: std::process::id(),
            boot_id: self.boot_id.clone(),
            monotonic_ms: now_ms,
            started: time(self.started_us),
            written: time(clock::wall_us()),
            state: state.to_string(),
            destination: first.destination,
            fips: self.fips.clone(),
            ring: RingStatus {
                path: self.ring_path.clone(),
                bytes: ring.data_bytes(),
                pending_bytes: pending.bytes,
                pending_records: pending.records,
            },
            connections: intake.connections as u64,
            turned_away: intake.turned_away,
            samples: SamplesStatus {
                taken: intake.samples.taken,
                failed: intake.samples.failed,
                empty: intake.samples.empty,
            },
            identities: keepers.iter().map(of_identity).collect(),
            upload: first.upload,
            streams: first.streams,
            others: destinations.collect(),
        };
        file::write_often(&self.path, json::to_string(&status).as_bytes(), MODE)
    }
}

fn of_identity(keeper: &Keeper) -> IdentityStatus {
    let story = &keeper.story;
    IdentityStatus {
        certificate: story.certificate.clone(),
        certificate_end: time(u64::try_from(story.end_unix_s).unwrap_or(0) * 1_000_000),
        last_heartbeat: time(story.last_heartbeat_us),
        reason: story.reason.clone(),
    }
}

fn of_destination(uploader: &Uploader, ring: &DiskRing, now_ms: u64) -> DestinationStatus {
    let story = &uploader.story;
    DestinationStatus {
        destination: uploader.name.clone(),
        upload: UploadStatus {
            last_success: time(story.last_success_us),
            last_failure: time(story.last_failure_us),
            last_status: u64::from(story.last_status),
            last_reason: story.last_reason.clone(),
            requests: story.requests,
            ambiguous: story.ambiguous,
            body_bytes: story.body_bytes,
            wire_bytes: story.wire_bytes,
        },
        streams: Stream::ALL.iter().filter_map(|&stream| of_stream(stream, ring, uploader, now_ms)).collect(),
    }
}

fn of_stream(stream: Stream, ring: &DiskRing, uploader: &Uploader, now_ms: u64) -> Option<StreamStatus> {
    let flow = flow(uploader.place, stream as u8);
    let counters = ring.stream(flow)?.counters;
    if counters == Counters::default() {
        return None;
    }
    let (next_attempt_in_s, attempts) = uploader.retry_of(stream, now_ms);
    Some(StreamStatus {
        name: stream.name().to_string(),
        received: counters.received,
        sent: counters.sent,
        pending: ring.pending(flow).records,
        overwritten: counters.overwritten,
        corrupt: counters.corrupt,
        refused: counters.refused,
        discarded: counters.discarded,
        dropped: counters.dropped,
        sent_again: counters.sent_again,
        cut: counters.cut,
        malformed: counters.malformed,
        attempts: u64::from(attempts),
        next_attempt_in_s: if attempts > 0 { next_attempt_in_s } else { 0 },
    })
}

/// RFC 3339, UTC; empty for 0.
fn time(unix_us: u64) -> String {
    match i64::try_from(unix_us / 1000) {
        Ok(ms @ 1..) => String::from_utf8_lossy(&times::time_text(ms)).into_owned(),
        _ => String::new(),
    }
}

/// The status file's text and what is in it. Fails as the file system does, and with `InvalidData` for a file that is none.
pub fn read(paths: &Paths) -> io::Result<(String, Status)> {
    let text = std::fs::read_to_string(paths.status())?;
    let status = json::from_str(&text).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok((text, status))
}

impl Status {
    /// Whether the agent that wrote this still runs, as far as the file tells: same boot, young enough.
    pub fn is_alive(&self) -> bool {
        let age_ms = clock::monotonic_ms().saturating_sub(self.monotonic_ms);
        self.state != STOPPED && lock::boot_id() == self.boot_id && age_ms < STATUS_FRESH_MS
    }

    /// For a person.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.describe_into(&mut text);
        text
    }

    fn describe_into(&self, text: &mut String) -> core::fmt::Result {
        let state = match (self.is_alive(), self.state.as_str()) {
            (true, _) => format!("running, process {}", self.pid),
            (false, STOPPED) => format!("stopped at {}", self.written),
            (false, _) => format!("not running: last heard of at {} as process {}", self.written, self.pid),
        };
        writeln!(text, "omsd {}: {state}, started {}", self.version, self.started)?;
        writeln!(text, "{}", self.fips)?;
        let ring = &self.ring;
        let pct = ring.pending_bytes * 100 / ring.bytes.max(1);
        writeln!(
            text,
            "ring: {}, {} records waiting, {pct} % of {} bytes",
            ring.path, ring.pending_records, ring.bytes
        )?;
        writeln!(text, "connections: {} open, {} had to wait", self.connections, self.turned_away)?;
        let SamplesStatus { taken, failed, empty } = self.samples;
        if taken + failed + empty > 0 {
            writeln!(text, "samples: {taken} taken, {failed} failed, {empty} without an instance that is wanted")?;
        }
        for identity in &self.identities {
            let known =
                |moment: &str, otherwise: &str| String::from(if moment.is_empty() { otherwise } else { moment });
            let end = known(&identity.certificate_end, "at a time that is not known");
            let heartbeat = known(&identity.last_heartbeat, "none since the start");
            writeln!(text, "certificate: {} ends {end}; last topology heartbeat: {heartbeat}", identity.certificate)?;
            if !identity.reason.is_empty() {
                writeln!(text, "  {}", identity.reason)?;
            }
        }
        describe_destination(&self.destination, &self.upload, &self.streams, text)?;
        for other in &self.others {
            describe_destination(&other.destination, &other.upload, &other.streams, text)?;
        }
        Ok(())
    }
}

fn describe_destination(
    name: &str,
    upload: &UploadStatus,
    streams: &[StreamStatus],
    text: &mut String,
) -> core::fmt::Result {
    match upload.last_success.as_str() {
        "" => writeln!(text, "upload ({name}): nothing delivered since the start")?,
        moment => writeln!(
            text,
            "upload ({name}): last success {moment}, {} requests, {} bytes sent for {} bytes of records",
            upload.requests, upload.wire_bytes, upload.body_bytes
        )?,
    }
    if upload.ambiguous > 0 {
        let count = upload.ambiguous;
        writeln!(
            text,
            "  {count} requests without an answer that may have been taken: their records may be there twice"
        )?;
    }
    if upload.last_failure > upload.last_success {
        writeln!(text, "  failing: {} at {}", upload.last_reason, upload.last_failure)?;
    }
    for stream in streams {
        writeln!(
            text,
            "{}: {} received = {} sent + {} waiting + {} lost",
            stream.name,
            stream.received,
            stream.sent,
            stream.pending,
            stream.lost()
        )?;
        stream.describe_losses(text)?;
    }
    Ok(())
}

impl StreamStatus {
    /// Records that will never be delivered.
    pub fn lost(&self) -> u64 {
        self.overwritten + self.corrupt + self.refused + self.discarded + self.dropped
    }

    fn describe_losses(&self, text: &mut String) -> core::fmt::Result {
        let counters = Counters {
            overwritten: self.overwritten,
            corrupt: self.corrupt,
            refused: self.refused,
            discarded: self.discarded,
            dropped: self.dropped,
            cut: self.cut,
            malformed: self.malformed,
            ..Counters::default()
        };
        for (count, cause) in report::causes(&counters) {
            writeln!(text, "  {count} {cause}")?;
        }
        if self.sent_again > 0 {
            writeln!(text, "  {} sent more than once", self.sent_again)?;
        }
        if self.attempts > 0 {
            writeln!(text, "  {} failures in a row, next attempt in {} s", self.attempts, self.next_attempt_in_s)?;
        }
        Ok(())
    }
}

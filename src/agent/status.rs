//! The status file: what the running agent does, written for `omsd status` and for anyone who reads JSON.

use super::keeper::Keeper;
use super::lock;
use super::paths::Paths;
use super::report;
use super::sampler::Account;
use super::sandbox::Sandbox;
use super::uploader::Uploader;
use crate::limits::{STATUS_BYTES_MAX, STATUS_FRESH_MS};
use crate::ring::disk::DiskRing;
use crate::ring::{Counters, flow};
use crate::sys::{clock, file};
use crate::syslog::iso8601;
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
    /// When the agent started and when this was written. This and every other moment is told by the wall clock of the writing: one that
    /// was set since the moment makes nothing look older or younger.
    pub started: String,
    /// See `started`.
    pub written: String,
    /// `running`, `stopped` as it was told to, or `failed`.
    pub state: String,
    /// The first destination: `out_oms` and its workspace, `out_stdout`, or the `@id` of the `<match>`.
    pub destination: String,
    /// Which build this is, and whether the host is in FIPS mode.
    pub fips: String,
    /// What holds the agent to what it needs.
    pub sandbox: SandboxStatus,
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
    /// Wall clock when a loss was last noticed, to [`crate::limits::STATUS_MS`]; none since the start, if there is none.
    pub last_loss: Option<String>,
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

/// The agent's account, and each layer: `on`, `log`, `off`, `unsupported` by this kernel, or `failed: ` and why. Behind the first and
/// the fourth there may be more in brackets: which version, or why not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SandboxStatus {
    /// `root`, or `user` and a number.
    pub account: String,
    /// No program can give privileges.
    pub no_new_privs: String,
    /// System calls.
    pub seccomp: String,
    /// Files.
    pub landlock: String,
}

impl From<&Sandbox> for SandboxStatus {
    fn from(sandbox: &Sandbox) -> SandboxStatus {
        SandboxStatus {
            account: sandbox.account.clone(),
            no_new_privs: sandbox.no_new_privs.to_string(),
            seccomp: sandbox.seccomp.to_string(),
            landlock: sandbox.landlock.to_string(),
        }
    }
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
    sandbox: SandboxStatus,
    boot_id: String,
    started: Moment,
    written_ms: u64,
    /// Records lost when the file was last written; `None`: it was not.
    lost: Option<u64>,
    last_loss: Moment,
}

/// A moment by [`clock::boot_ms`]; 0: there was none.
type Moment = u64;

/// What the clocks say at once.
#[derive(Debug, Clone, Copy)]
struct Clocks {
    wall_us: u64,
    boot_ms: u64,
}

impl Clocks {
    fn read() -> Clocks {
        Clocks { wall_us: clock::wall_us(), boot_ms: clock::boot_ms() }
    }

    /// A moment in RFC 3339, UTC; empty for none.
    fn tell(self, moment: Moment) -> String {
        let ago_us = self.boot_ms.saturating_sub(moment) * 1000;
        if moment == 0 { String::new() } else { time(self.wall_us.saturating_sub(ago_us)) }
    }
}

impl Writer {
    /// A writer for the agent that starts now.
    pub fn new(paths: &Paths, ring_path: &Path, standing: &Standing, sandbox: SandboxStatus) -> Writer {
        Writer {
            path: paths.status(),
            ring_path: ring_path.to_string_lossy().into_owned(),
            fips: standing.to_string(),
            sandbox,
            boot_id: lock::boot_id(),
            started: clock::boot_ms(),
            written_ms: 0,
            lost: None,
            last_loss: 0,
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
        let (clocks, pending) = (Clocks::read(), ring.pending_total());
        let mut destinations: Vec<DestinationStatus> =
            uploaders.iter().map(|uploader| of_destination(uploader, ring, now_ms, clocks)).collect();
        self.note_losses(
            destinations.iter().flat_map(|destination| &destination.streams).map(StreamStatus::lost).sum(),
        );
        let others = destinations.split_off(destinations.len().min(1));
        let first = destinations.pop().ok_or(io::ErrorKind::NotFound)?;
        let status = Status {
            version: env!("CARGO_PKG_VERSION").to_string(),
            pid: std::process::id(),
            boot_id: self.boot_id.clone(),
            monotonic_ms: now_ms,
            started: clocks.tell(self.started),
            written: time(clocks.wall_us),
            state: state.to_string(),
            destination: first.destination,
            fips: self.fips.clone(),
            sandbox: self.sandbox.clone(),
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
            identities: keepers.iter().map(|keeper| of_identity(keeper, clocks)).collect(),
            upload: first.upload,
            streams: first.streams,
            others,
            last_loss: Some(clocks.tell(self.last_loss)).filter(|moment| !moment.is_empty()),
        };
        file::write_often(&self.path, json::to_string(&status).as_bytes(), MODE)
    }
}

impl Writer {
    /// What was lost before the start is in the ring's account, but has no time.
    fn note_losses(&mut self, lost: u64) {
        if self.lost.is_some_and(|before| lost > before) {
            self.last_loss = clock::boot_ms();
        }
        self.lost = Some(lost);
    }
}

fn of_identity(keeper: &Keeper, clocks: Clocks) -> IdentityStatus {
    let story = &keeper.story;
    IdentityStatus {
        certificate: story.certificate.clone(),
        certificate_end: time(u64::try_from(story.end_unix_s).unwrap_or(0) * 1_000_000),
        last_heartbeat: clocks.tell(story.last_heartbeat_ms),
        reason: story.reason.clone(),
    }
}

fn of_destination(uploader: &Uploader, ring: &DiskRing, now_ms: u64, clocks: Clocks) -> DestinationStatus {
    let story = &uploader.story;
    DestinationStatus {
        destination: uploader.name.clone(),
        upload: UploadStatus {
            last_success: clocks.tell(story.last_success_ms),
            last_failure: clocks.tell(story.last_failure_ms),
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
    let text = file::text_to_look(&paths.status(), STATUS_BYTES_MAX)?;
    let status = json::from_str(&text).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok((text, status))
}

impl Status {
    /// Whether the agent that wrote this still runs, as far as the file tells: same boot, young enough.
    pub fn is_alive(&self) -> bool {
        self.state != STOPPED && self.is_of_this_boot() && self.age_ms() < STATUS_FRESH_MS
    }

    /// Whether the host was not started again since this was written.
    pub fn is_of_this_boot(&self) -> bool {
        lock::boot_id() == self.boot_id
    }

    /// Milliseconds since this was written, in the same boot.
    pub fn age_ms(&self) -> u64 {
        clock::monotonic_ms().saturating_sub(self.monotonic_ms)
    }

    /// What the wall clock of the writing would say now, whoever has set it since. After another boot: what it says.
    pub fn now_us(&self) -> u64 {
        let written_us = iso8601::unix_us(&self.written).and_then(|us| u64::try_from(us).ok());
        let of_this_boot = written_us.filter(|_| self.is_of_this_boot());
        of_this_boot.map_or_else(clock::wall_us, |written_us| written_us + self.age_ms() * 1000)
    }

    /// Every destination: its name, its deliveries, its streams.
    pub fn destinations(&self) -> impl Iterator<Item = (&str, &UploadStatus, &[StreamStatus])> {
        let others =
            self.others.iter().map(|other| (other.destination.as_str(), &other.upload, other.streams.as_slice()));
        core::iter::once((self.destination.as_str(), &self.upload, self.streams.as_slice())).chain(others)
    }

    /// For a person: is it alive, when did it last upload, what did it lose; then the rest. `now_us`: see [`Status::now_us`].
    pub fn describe(&self, now_us: u64) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.describe_into(&mut text, now_us);
        text
    }

    fn describe_into(&self, text: &mut String, now_us: u64) -> core::fmt::Result {
        let pid = self.pid;
        let state = match (self.is_alive(), self.state.as_str()) {
            (true, _) => format!("running for {}, process {pid}", since(&self.started, now_us)),
            (false, STOPPED) => format!("stopped {} ago", since(&self.written, now_us)),
            (false, _) => format!("not running: last heard of {} ago, as process {pid}", since(&self.written, now_us)),
        };
        writeln!(text, "omsd {}: {state}", self.version)?;
        for (name, upload, _) in self.destinations() {
            upload.describe_into(name, now_us, text)?;
        }
        let lost: u64 = self.destinations().flat_map(|(.., streams)| streams).map(StreamStatus::lost).sum();
        match (lost, &self.last_loss) {
            (0, _) => writeln!(text, "lost: nothing")?,
            (lost, None) => writeln!(text, "lost: {lost} records, none since the start")?,
            (lost, Some(last)) => writeln!(text, "lost: {lost} records, the last {} ago", since(last, now_us))?,
        }
        let ring = &self.ring;
        let pct = ring.pending_bytes * 100 / ring.bytes.max(1);
        writeln!(text, "ring: {} records wait, {pct} % of {} ({})", ring.pending_records, size(ring.bytes), ring.path)?;
        for (name, _, streams) in self.destinations() {
            if !self.others.is_empty() {
                writeln!(text, "{name}:")?;
            }
            streams.iter().try_for_each(|stream| stream.describe_into(text))?;
        }
        if self.connections + self.turned_away > 0 {
            writeln!(text, "connections: {} open, {} had to wait", self.connections, self.turned_away)?;
        }
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
        let SandboxStatus { account, no_new_privs, seccomp, landlock } = &self.sandbox;
        // An agent that cannot give up its capabilities does not run.
        writeln!(
            text,
            "sandbox: runs as {account} without capabilities; no_new_privs {no_new_privs}, seccomp {seccomp}, landlock {landlock}"
        )?;
        writeln!(text, "fips: {}", self.fips)
    }
}

/// The time from a moment of the file to now.
fn since(moment: &str, now_us: u64) -> String {
    let moment_us = iso8601::unix_us(moment).and_then(|us| u64::try_from(us).ok());
    moment_us.map_or_else(|| String::from("an unknown time"), |us| span(now_us.saturating_sub(us) / 1_000_000))
}

/// Seconds for a person: the two largest units.
pub fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// Bytes for a person: one digit behind the point.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let (mut tenths, mut unit) = (u128::from(bytes) * 10 / 1024, 0);
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        (tenths, unit) = (tenths / 1024, unit + 1);
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

impl UploadStatus {
    fn describe_into(&self, name: &str, now_us: u64, text: &mut String) -> core::fmt::Result {
        match self.last_success.as_str() {
            "" => writeln!(text, "upload ({name}): none since the start")?,
            moment => writeln!(
                text,
                "upload ({name}): the last {} ago; {} requests, {} sent for {} of records",
                since(moment, now_us),
                self.requests,
                size(self.wire_bytes),
                size(self.body_bytes)
            )?,
        }
        if self.ambiguous > 0 {
            let count = self.ambiguous;
            writeln!(
                text,
                "  {count} requests without an answer that may have been taken: their records may be there twice"
            )?;
        }
        if self.last_failure > self.last_success {
            writeln!(text, "  failed {} ago: {}", since(&self.last_failure, now_us), self.last_reason)?;
        }
        Ok(())
    }
}

impl StreamStatus {
    /// Records that will never be delivered.
    pub fn lost(&self) -> u64 {
        self.overwritten + self.corrupt + self.refused + self.discarded + self.dropped
    }

    fn describe_into(&self, text: &mut String) -> core::fmt::Result {
        writeln!(
            text,
            "{}: {} received = {} sent + {} waiting + {} lost",
            self.name,
            self.received,
            self.sent,
            self.pending,
            self.lost()
        )?;
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
            writeln!(text, "  at most {} sent more than once", self.sent_again)?;
        }
        if self.attempts > 0 {
            writeln!(text, "  {} failures in a row, next attempt in {} s", self.attempts, self.next_attempt_in_s)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_sizes_are_for_people() {
        for (seconds, expected) in [(0, "0 s"), (61, "1 min 1 s"), (7260, "2 h 1 min"), (93_600, "1 d 2 h")] {
            assert_eq!(span(seconds), expected);
        }
        for (bytes, expected) in
            [(1023, "1023 bytes"), (1536, "1.5 KiB"), (10 << 20, "10.0 MiB"), (u64::MAX, "16777215.9 TiB")]
        {
            assert_eq!(size(bytes), expected);
        }
    }

    /// What an agent of another boot wrote at midnight.
    fn status(change: impl FnOnce(&mut Status)) -> Status {
        let text = r#"{"version":"0.1.0","pid":7,"boot_id":"x","monotonic_ms":0,"started":"2026-11-23T00:00:00.000Z",
            "written":"2026-11-23T00:01:00.000Z","state":"running","destination":"out_oms","fips":"standard build",
            "ring":{"path":"/ring","bytes":1048576,"pending_bytes":104858,"pending_records":3},"connections":0,"turned_away":0,
            "samples":{"taken":0,"failed":0,"empty":0},
            "upload":{"last_success":"2026-11-23T00:00:30.000Z","last_failure":"","last_status":0,"last_reason":"","requests":2,
            "ambiguous":0,"body_bytes":2048,"wire_bytes":100},"identities":[],
            "streams":[{"name":"syslog","received":9,"sent":6,"pending":3,"overwritten":0,"corrupt":0,"refused":0,"discarded":0,
            "dropped":0,"sent_again":0,"cut":0,"malformed":0,"attempts":0,"next_attempt_in_s":0}],"others":[],
            "sandbox":{"account":"user 7","no_new_privs":"on","seccomp":"on","landlock":"unsupported"}}"#;
        let mut status = json::from_str(text).expect("a status file");
        change(&mut status);
        status
    }

    #[test]
    fn the_first_lines_say_whether_it_lives_when_it_sent_and_what_it_lost() {
        let now_us = u64::try_from(iso8601::unix_us("2026-11-23T00:02:00Z").unwrap()).unwrap();
        let lines = |status: Status| status.describe(now_us).lines().take(3).map(String::from).collect::<Vec<_>>();
        let sent = "upload (out_oms): the last 1 min 30 s ago; 2 requests, 100 bytes sent for 2.0 KiB of records";
        let gone = "omsd 0.1.0: not running: last heard of 1 min 0 s ago, as process 7";
        assert_eq!(lines(status(|_| ())), [gone, sent, "lost: nothing"]);
        let stopped = lines(status(|it| it.state = "stopped".into()));
        assert_eq!(stopped[0], "omsd 0.1.0: stopped 1 min 0 s ago");
        let lost = lines(status(|it| {
            it.streams[0].overwritten = 4;
            it.last_loss = Some("2026-11-23T00:00:59Z".into());
        }));
        assert_eq!(lost[2], "lost: 4 records, the last 1 min 1 s ago");
        let failing = lines(status(|it| {
            it.upload.last_failure = "2026-11-23T00:00:50.000Z".into();
            it.upload.last_reason = "the service is busy (503)".into();
        }));
        assert_eq!(failing[2], "  failed 1 min 10 s ago: the service is busy (503)");
        let silent = lines(status(|it| it.upload.last_success.clear()));
        assert_eq!(silent[1], "upload (out_oms): none since the start");
    }

    #[test]
    fn a_moment_is_told_by_the_clock_as_it_is_now() {
        const DAY_US: u64 = 86_400_000_000;
        // A clock that stood at 1970 when the agent started, and was set since.
        let clocks = Clocks { wall_us: 20_000 * DAY_US, boot_ms: 90_000 };
        for (moment, expected) in [
            (0, ""),
            (30_000, "2024-10-03T23:59:00.000Z"),
            (90_000, "2024-10-04T00:00:00.000Z"),
            (90_001, "2024-10-04T00:00:00.000Z"),
        ] {
            assert_eq!(clocks.tell(moment), expected);
        }
        assert_eq!(Clocks { wall_us: 0, ..clocks }.tell(30_000), "");
    }

    #[test]
    fn how_long_ago_something_was_does_not_depend_on_who_set_the_clock() {
        for written in ["1970-01-02T00:00:00.000Z", "2099-01-01T00:00:00.000Z"] {
            let status = status(|it| {
                it.written = written.into();
                (it.boot_id, it.monotonic_ms) = (lock::boot_id(), clock::monotonic_ms().saturating_sub(61_000));
            });
            let now_us = status.now_us();
            assert!((61..70).map(span).any(|ago| since(written, now_us) == ago), "{}", since(written, now_us));
        }
        assert!(status(|_| {}).now_us().abs_diff(clock::wall_us()) < 10_000_000, "of another boot");
    }

    #[test]
    fn a_loss_has_a_time_only_if_it_came_after_the_start() {
        let mut writer =
            Writer::new(&Paths::below(Path::new("/x")), Path::new("/ring"), &Standing::ask(), status(|_| {}).sandbox);
        writer.note_losses(5);
        assert_eq!(writer.last_loss, 0);
        writer.note_losses(5);
        assert_eq!(writer.last_loss, 0);
        writer.note_losses(6);
        assert!(writer.last_loss > 0);
    }
}

//! Which stream's turn it is, one chunk at a time: `Idle → Started → Waiting → Settled`, each a state that can be tried
//! again.

use super::log::Log;
use super::rejected;
use crate::config::{Buffer, LogLevel};
use crate::limits::{CHUNK_BYTES_MIN, UPLOAD_MS_MAX};
use crate::ring::disk::DiskRing;
use crate::ring::{Fault, Retry, StreamState, frame};
use crate::sys::poll::{GONE, PollFd, READABLE, WRITABLE};
use crate::sys::process::{self, Pid};
use crate::sys::{clock, random_bytes};
use crate::upload::backoff::{self, Policy};
use crate::upload::child::{Child, Heard};
use crate::upload::chunk::{Settled, Sizing};
use crate::upload::{Destination, Outcome, Stream, Verdict};
use alloc::string::String;
use alloc::vec::Vec;
use std::path::PathBuf;

/// Frames that go into the child's pipe at once: what fits it, and never less than the largest frame.
const PIECE_BYTES: usize = CHUNK_BYTES_MIN;
/// A clock that the service says is this far off is worth a line: signatures and certificates depend on it.
const CLOCK_SKEW_S: u32 = 300;

/// What is known of one stream's delivery.
#[derive(Debug, Default, Clone, Copy)]
struct Delivery {
    sizing: Sizing,
    /// Failures in a row.
    attempts: u32,
    /// Not before this moment of the loop's clock.
    not_before_ms: u64,
    /// Frames below this sequence are wanted upstream now.
    flush_below: u64,
}

/// The chunk that is on its way.
#[derive(Debug, Clone, Copy)]
struct InFlight {
    stream: Stream,
    records: u32,
    fed: Fed,
    deadline_ms: u64,
}

/// How much of a chunk is on its way into the child's pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fed {
    Partly,
    AllFrames,
    End,
}

impl Fed {
    fn of(all_frames: bool) -> Fed {
        if all_frames { Fed::AllFrames } else { Fed::Partly }
    }
}

/// What an operator is told about uploads.
#[derive(Debug, Default, Clone)]
pub struct Story {
    /// Wall-clock µs of the last success and the last failure; 0: none yet.
    pub last_success_us: u64,
    /// See `last_success_us`.
    pub last_failure_us: u64,
    /// HTTP status and reason of the last failure.
    pub last_status: u16,
    /// See `last_status`.
    pub last_reason: String,
    /// Requests answered, bodies before compression, bodies on the wire.
    pub requests: u64,
    /// See `requests`.
    pub body_bytes: u64,
    /// See `requests`.
    pub wire_bytes: u64,
}

/// The upload side of the loop.
#[derive(Debug)]
pub struct Uploader {
    buffer: Buffer,
    rejected: Option<PathBuf>,
    deliveries: [Delivery; Stream::ALL.len()],
    /// Where the search for a stream to serve starts, so that none waits for ever behind another.
    next_stream: usize,
    child: Option<Child>,
    leaving: Vec<Pid>,
    in_flight: Option<InFlight>,
    flush_at_ms: Option<u64>,
    /// Moment of the last success in the loop's clock, or of the start.
    pub progress_ms: u64,
    /// For the status file.
    pub story: Story,
}

impl Uploader {
    /// An uploader that goes on with the schedules that the ring remembers.
    /// `rejected`: where refused records are kept.
    pub fn new(buffer: &Buffer, rejected: Option<PathBuf>, ring: &DiskRing, now_ms: u64) -> Uploader {
        let now_wall_ms = clock::wall_us() / 1000;
        let deliveries = Stream::ALL.map(|stream| {
            let retry = state_of(ring, stream).retry;
            let left = backoff::remaining_ms(retry.next_attempt_us / 1000, retry.wait_ms, now_wall_ms);
            Delivery { attempts: retry.attempts, not_before_ms: now_ms + left, ..Delivery::default() }
        });
        Uploader {
            buffer: buffer.clone(),
            rejected,
            deliveries,
            next_stream: 0,
            child: None,
            leaving: Vec::new(),
            in_flight: None,
            // What an earlier run left is due at once; nothing else would wake the loop for it.
            flush_at_ms: Stream::ALL.iter().any(|&stream| ring.pending(stream as u8).records > 0).then_some(now_ms),
            progress_ms: now_ms,
            story: Story::default(),
        }
    }

    /// Makes everything that waits wanted now, whatever the schedule says.
    pub fn flush(&mut self, ring: &DiskRing) {
        self.flush_at_ms = None;
        for delivery in &mut self.deliveries {
            delivery.flush_below = ring.head().sequence;
            delivery.not_before_ms = 0;
        }
    }

    /// The moments at which there is something to do without a descriptor being ready.
    pub fn deadline_ms(&self, ring: &DiskRing) -> Option<u64> {
        let retry = Stream::ALL
            .iter()
            .filter(|&&stream| self.in_flight.is_none() && self.is_wanted(ring, stream))
            .map(|&stream| self.deliveries[stream as usize].not_before_ms);
        let in_flight = self.in_flight.map(|chunk| chunk.deadline_ms);
        [self.flush_at_ms, in_flight].into_iter().flatten().chain(retry).min()
    }

    /// Adds what to poll for.
    pub fn poll_set(&self, set: &mut Vec<PollFd>) {
        let Some(child) = &self.child else { return };
        set.push(PollFd { fd: child.answer_descriptor(), events: READABLE, revents: 0 });
        if child.is_feeding() {
            set.push(PollFd { fd: child.feed_descriptor(), events: WRITABLE, revents: 0 });
        }
    }

    /// Takes what the child said, feeds it, starts what is due, gives up what is late. `true`: something changed that the
    /// status file should say.
    pub fn turn<D: Destination>(
        &mut self,
        ring: &mut DiskRing,
        set: &[PollFd],
        now_ms: u64,
        log: &mut Log,
        make: impl FnOnce() -> D,
    ) -> bool {
        self.leaving.retain(|&pid| process::reap(pid).is_none());
        let mut settled = false;
        if is_ready(set) && self.in_flight.is_some() {
            settled = self.listen(ring, now_ms, log);
        }
        if self.in_flight.is_some_and(|chunk| now_ms >= chunk.deadline_ms) {
            self.lose_child();
            let reason = alloc::format!("no answer within {} s; the upload child was ended", UPLOAD_MS_MAX / 1000);
            self.settle(ring, now_ms, &Outcome::new(Verdict::Later, reason), log);
            settled = true;
        }
        self.set_flush_time(ring, now_ms);
        if self.in_flight.is_none() {
            match self.due(ring, now_ms) {
                Some(stream) => self.start(ring, stream, now_ms, log, make),
                None => self.dismiss(),
            }
        }
        self.feed(ring);
        settled
    }

    /// One flush interval after the first record that waits, or as soon as a chunk is full, everything that waits is wanted.
    fn set_flush_time(&mut self, ring: &DiskRing, now_ms: u64) {
        let waits = |&stream: &Stream| ring.committed(stream as u8).records > 0 && !self.is_wanted(ring, stream);
        let fills =
            |stream: &Stream| waits(stream) && ring.committed(*stream as u8).bytes >= self.buffer.chunk_bytes as u64;
        if self.flush_at_ms.is_some_and(|moment| now_ms >= moment) || Stream::ALL.iter().any(fills) {
            self.flush_at_ms = None;
            self.deliveries.iter_mut().for_each(|delivery| delivery.flush_below = ring.head().sequence);
        } else if self.flush_at_ms.is_none() && Stream::ALL.iter().any(waits) {
            self.flush_at_ms = Some(now_ms + self.buffer.flush_ms);
        }
    }

    fn is_wanted(&self, ring: &DiskRing, stream: Stream) -> bool {
        ring.committed(stream as u8).records > 0
            && state_of(ring, stream).next.sequence < self.deliveries[stream as usize].flush_below
    }

    fn due(&mut self, ring: &DiskRing, now_ms: u64) -> Option<Stream> {
        let streams = Stream::ALL.len();
        let found = (0..streams)
            .map(|step| Stream::ALL[(self.next_stream + step) % streams])
            .find(|&stream| now_ms >= self.deliveries[stream as usize].not_before_ms && self.is_wanted(ring, stream))?;
        self.next_stream = (found as usize + 1) % streams;
        Some(found)
    }

    fn start<D: Destination>(
        &mut self,
        ring: &mut DiskRing,
        stream: Stream,
        now_ms: u64,
        log: &mut Log,
        make: impl FnOnce() -> D,
    ) {
        let delivery = self.deliveries[stream as usize];
        ring.begin_chunk(stream as u8, self.buffer.chunk_bytes as u64, u64::from(delivery.sizing.records_max()));
        if self.child.is_none() {
            match Child::start(make) {
                Ok(child) => self.child = Some(child),
                Err(error) => {
                    let reason = alloc::format!("no upload child could be started: {error}");
                    self.put_off(ring, stream, now_ms, &Outcome::new(Verdict::Later, reason), log);
                    return;
                }
            }
        }
        let Some(child) = &mut self.child else { return };
        let mut records = 0;
        let mut read = Ok(true);
        child.order(stream, delivery.attempts, |outgoing| read = next_piece(ring, stream, outgoing, &mut records));
        match read {
            Ok(done) if records > 0 => {
                self.in_flight =
                    Some(InFlight { stream, records, fed: Fed::of(done), deadline_ms: now_ms + UPLOAD_MS_MAX });
            }
            // Everything that waited turned out to be damaged: the ring has counted it.
            Ok(_) => child.take_back(),
            Err(fault) => {
                child.take_back();
                let reason = alloc::format!("the ring file cannot be read: {fault}");
                self.put_off(ring, stream, now_ms, &Outcome::new(Verdict::Later, reason), log);
            }
        }
    }

    fn feed(&mut self, ring: &mut DiskRing) {
        let (Some(child), Some(chunk)) = (&mut self.child, &mut self.in_flight) else { return };
        loop {
            // A child that is gone says so on its other pipe.
            let _ = child.feed();
            if child.is_feeding() {
                return;
            }
            match chunk.fed {
                Fed::Partly => {
                    let mut read = Ok(true);
                    child.piece(|outgoing| read = next_piece(ring, chunk.stream, outgoing, &mut chunk.records));
                    // A chunk that could not be read to its end is as long as what was read: the rest is the next one's.
                    chunk.fed = Fed::of(read.unwrap_or(true));
                }
                Fed::AllFrames => {
                    child.piece(|_| ());
                    chunk.fed = Fed::End;
                }
                Fed::End => return,
            }
        }
    }

    fn listen(&mut self, ring: &mut DiskRing, now_ms: u64, log: &mut Log) -> bool {
        let Some(child) = &mut self.child else { return false };
        let outcome = match child.hear() {
            Heard::Nothing => return false,
            Heard::Answer(outcome) => outcome,
            Heard::Lost => {
                let ended = self.lose_child();
                Outcome::new(Verdict::Later, alloc::format!("the upload child ended before its answer ({ended})"))
            }
        };
        self.settle(ring, now_ms, &outcome, log);
        true
    }

    fn settle(&mut self, ring: &mut DiskRing, now_ms: u64, outcome: &Outcome, log: &mut Log) {
        let Some(InFlight { stream, records, .. }) = self.in_flight.take() else { return };
        self.note(outcome, stream, now_ms, log);
        let delivery = &mut self.deliveries[stream as usize];
        match delivery.sizing.settle(outcome.verdict, records) {
            Settled::Acknowledge => {
                note_fault(ring.acknowledge(stream as u8), now_ms, log);
                self.succeed(ring, stream, now_ms, log);
            }
            Settled::Halve => ring.put_back(stream as u8),
            Settled::SetAside => {
                self.set_aside(ring, stream, outcome, now_ms, log);
                note_fault(ring.refuse(stream as u8), now_ms, log);
                self.succeed(ring, stream, now_ms, log);
            }
            Settled::Wait => self.put_off(ring, stream, now_ms, outcome, log),
        }
    }

    /// Keeps the one record of the chunk in the file of refused ones, with the reason.
    fn set_aside(&mut self, ring: &mut DiskRing, stream: Stream, outcome: &Outcome, now_ms: u64, log: &mut Log) {
        let text = format_args!("a record of {} was refused and set aside: {}", stream.name(), outcome.reason);
        log.limited(now_ms, LogLevel::Error, "refused", text);
        let Some(path) = &self.rejected else { return };
        // The chunk is read again: nobody keeps a copy of what is on its way.
        ring.put_back(stream as u8);
        ring.begin_chunk(stream as u8, self.buffer.chunk_bytes as u64, 1);
        let mut piece = Vec::new();
        let _ = ring.next_piece(stream as u8, &mut piece, PIECE_BYTES);
        let Some((header, payload, _)) = frame::split(&piece) else { return };
        if let Err(error) = rejected::keep(path, stream, &header, payload, outcome) {
            log.limited(now_ms, LogLevel::Error, "rejected", format_args!("{}: {error}", path.display()));
        }
    }

    fn succeed(&mut self, ring: &mut DiskRing, stream: Stream, now_ms: u64, log: &mut Log) {
        let delivery = &mut self.deliveries[stream as usize];
        if delivery.attempts > 0 {
            log.over("upload");
            log.line(
                LogLevel::Info,
                format_args!("uploads of {} go on after {} failures", stream.name(), delivery.attempts),
            );
            delivery.attempts = 0;
            ring.set_retry(stream as u8, Retry::default());
        }
        delivery.not_before_ms = now_ms;
        self.progress_ms = now_ms;
    }

    /// Leaves the chunk where it is until its schedule says so, or discards it at the limit that the configuration set.
    fn put_off(&mut self, ring: &mut DiskRing, stream: Stream, now_ms: u64, outcome: &Outcome, log: &mut Log) {
        let policy = Policy { first_ms: self.buffer.retry_wait_ms, max_ms: self.buffer.retry_wait_max_ms };
        let delivery = &mut self.deliveries[stream as usize];
        delivery.attempts = delivery.attempts.saturating_add(1);
        let mut chance = [0; 4];
        // Without chance the schedule is still a schedule.
        let _ = random_bytes(&mut chance);
        let wait_ms = backoff::wait_ms(policy, delivery.attempts, outcome, u32::from_le_bytes(chance));
        delivery.not_before_ms = now_ms + wait_ms;
        if self.buffer.retry_limit.is_some_and(|limit| delivery.attempts >= limit) {
            let text = format_args!(
                "{} attempts at one chunk of {}: discarded, as retry_limit says",
                delivery.attempts,
                stream.name()
            );
            log.line(LogLevel::Error, text);
            delivery.attempts = 0;
            note_fault(ring.discard(stream as u8), now_ms, log);
        } else {
            ring.put_back(stream as u8);
        }
        let next_attempt_us = clock::wall_us() + wait_ms * 1000;
        ring.set_retry(
            stream as u8,
            Retry { attempts: delivery.attempts, reason: outcome.status, next_attempt_us, wait_ms },
        );
        let text =
            format_args!("upload of {} put off for {} s: {}", stream.name(), wait_ms.div_ceil(1000), outcome.reason);
        log.limited(now_ms, LogLevel::Warn, "upload", text);
    }

    /// Keeps the story, and says what an operator should hear of an answer.
    fn note(&mut self, outcome: &Outcome, stream: Stream, now_ms: u64, log: &mut Log) {
        let story = &mut self.story;
        story.requests += 1;
        if outcome.verdict == Verdict::Sent {
            story.last_success_us = clock::wall_us();
            story.body_bytes += outcome.body_bytes;
            story.wire_bytes += outcome.wire_bytes;
            let (records, bytes) = (outcome.records, outcome.wire_bytes);
            log.line(LogLevel::Debug, format_args!("sent {records} records of {} in {bytes} bytes", stream.name()));
        } else {
            story.last_failure_us = clock::wall_us();
            story.last_status = outcome.status;
            story.last_reason.clone_from(&outcome.reason);
        }
        if let Some(skew) = outcome.clock_skew_s.filter(|skew| skew.unsigned_abs() > CLOCK_SKEW_S) {
            let (seconds, side) = (skew.unsigned_abs(), if skew > 0 { "behind" } else { "ahead of" });
            let text = format_args!("this host's clock is {seconds} s {side} the service's: set it right");
            log.limited(now_ms, LogLevel::Warn, "clock", text);
        }
    }

    /// A child without a chunk goes: a new configuration may mean another destination.
    fn dismiss_idle(&mut self) {
        if self.in_flight.is_none() {
            self.dismiss();
        }
    }

    fn dismiss(&mut self) {
        self.leaving.extend(self.child.take().map(Child::dismiss));
    }

    fn lose_child(&mut self) -> String {
        match self.child.take().and_then(Child::end) {
            Some(process::Ended::Exited(code)) => alloc::format!("exit code {code}"),
            Some(process::Ended::Killed(signal)) => alloc::format!("signal {signal}"),
            None => String::from("no answer"),
        }
    }

    /// Takes an answer, but starts nothing: the agent stops.
    pub fn finish(&mut self, ring: &mut DiskRing, set: &[PollFd], now_ms: u64, log: &mut Log) {
        if is_ready(set) && self.in_flight.is_some() {
            self.listen(ring, now_ms, log);
        }
        self.feed(ring);
    }

    /// Goes by other bounds from now on.
    pub fn configure(&mut self, buffer: &Buffer) {
        self.buffer = buffer.clone();
        self.dismiss_idle();
    }

    /// A chunk is on its way.
    pub fn is_busy(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Ends the child; a chunk on its way stays in the ring.
    pub fn stop(&mut self, ring: &mut DiskRing) {
        if let Some(chunk) = self.in_flight.take() {
            ring.put_back(chunk.stream as u8);
            self.lose_child();
        }
        self.dismiss();
    }

    /// Seconds until a stream is tried again, if it waits for that, and how often it failed.
    pub fn retry_of(&self, stream: Stream, now_ms: u64) -> (u64, u32) {
        let delivery = &self.deliveries[stream as usize];
        (delivery.not_before_ms.saturating_sub(now_ms).div_ceil(1000), delivery.attempts)
    }
}

/// Appends the next frames of the stream's chunk, and adds how many; `true`: there are no more.
fn next_piece(ring: &mut DiskRing, stream: Stream, outgoing: &mut Vec<u8>, records: &mut u32) -> Result<bool, Fault> {
    let piece = ring.next_piece(stream as u8, outgoing, outgoing.len() + PIECE_BYTES)?;
    *records += piece.records;
    Ok(piece.done)
}

/// An acknowledgement that the disk did not take is only in memory: after a crash its chunk is sent again.
fn note_fault(settled: Result<(), Fault>, now_ms: u64, log: &mut Log) {
    if let Err(fault) = settled {
        log.limited(now_ms, LogLevel::Error, "disk", format_args!("the ring file cannot be written: {fault}"));
    }
}

fn is_ready(set: &[PollFd]) -> bool {
    set.iter().any(|entry| entry.revents & (READABLE | WRITABLE | GONE) != 0)
}

fn state_of(ring: &DiskRing, stream: Stream) -> StreamState {
    ring.stream(stream as u8).copied().unwrap_or_default()
}

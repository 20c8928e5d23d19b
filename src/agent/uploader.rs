//! One destination's side of the loop: which stream's turn it is, one chunk at a time: `Idle → Started → Waiting → Settled`, each a
//! state that can be tried again. Another destination has an uploader and a child of its own, and waits for none of this.

use super::log::Log;
use super::rejected;
use crate::config::{LogLevel, Sending, Target};
use crate::limits::{CHUNK_BYTES_MIN, DESTINATIONS_MAX, UPLOAD_MS_MAX};
use crate::ring::disk::DiskRing;
use crate::ring::{Fault, Retry, StreamState, flow, frame};
use crate::sys::poll::{GONE, PollFd, READABLE, WRITABLE};
use crate::sys::process::{self, Ended, Pid};
use crate::sys::{clock, random_bytes};
use crate::upload::backoff;
use crate::upload::child::{Child, Heard};
use crate::upload::fips;
use crate::upload::schedule::{Backlog, Next, Schedule, Waiting};
use crate::upload::{Destination, Outcome, Stream, Verdict};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use std::path::PathBuf;

/// Frames that go into the child's pipe at once: what fits it, and never less than the largest frame.
const PIECE_BYTES: usize = CHUNK_BYTES_MIN;
/// A clock that the service says is this far off is worth a line: signatures and certificates depend on it.
const CLOCK_SKEW_S: u32 = 300;

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
    /// When the last success and the last failure were, by [`clock::boot_ms`]; 0: none yet.
    pub last_success_ms: u64,
    /// See `last_success_ms`.
    pub last_failure_ms: u64,
    /// HTTP status and reason of the last failure.
    pub last_status: u16,
    /// See `last_status`.
    pub last_reason: String,
    /// Requests without an answer that the service may have taken all the same.
    pub ambiguous: u64,
    /// Requests answered, bodies before compression, bodies on the wire.
    pub requests: u64,
    /// See `requests`.
    pub body_bytes: u64,
    /// See `requests`.
    pub wire_bytes: u64,
}

impl Story {
    fn note_failure(&mut self, outcome: &Outcome) {
        self.ambiguous += u64::from(outcome.ambiguous);
        self.last_failure_ms = clock::boot_ms();
        self.last_status = outcome.status;
        self.last_reason.clone_from(&outcome.reason);
    }
}

/// What our log calls the failures of the destination at each place, so that one does not hide another's.
const LOG_KEYS: [&str; DESTINATIONS_MAX] = ["upload", "upload 1", "upload 2", "upload 3"];

/// The upload side of the loop, for one destination.
#[derive(Debug)]
pub struct Uploader {
    /// Its name.
    pub name: String,
    /// Its place in the ring.
    pub place: usize,
    /// ` to NAME` where there are others; what a line of our log about its uploads has.
    label: String,
    sending: Sending,
    rejected: Option<PathBuf>,
    schedule: Schedule,
    child: Option<Child>,
    leaving: Vec<Pid>,
    in_flight: Option<InFlight>,
    /// Moment of the last success in the loop's clock, or of the start.
    pub progress_ms: u64,
    /// For the status file.
    pub story: Story,
    module_broken: bool,
    /// The kernel gave no process or pipe for the last child that was wanted.
    without_child: bool,
}

impl Uploader {
    /// An uploader that goes on with the schedules that the ring remembers.
    /// `rejected`: where refused records are kept.
    pub fn new(target: &Target, place: usize, rejected: Option<PathBuf>, ring: &DiskRing, now_ms: u64) -> Uploader {
        let now_wall_ms = clock::wall_us() / 1000;
        let mut schedule = Schedule::new(&backlog(ring, place), now_ms);
        for stream in Stream::ALL {
            let retry = state_of(ring, flow(place, stream as u8)).retry;
            let left_ms = backoff::remaining_ms(retry.next_attempt_us / 1000, retry.wait_ms, now_wall_ms);
            schedule.resume(stream, retry.attempts, left_ms, now_ms);
        }
        Uploader {
            name: target.name.clone(),
            place,
            label: String::new(),
            sending: target.sending.clone(),
            rejected,
            schedule,
            child: None,
            leaving: Vec::new(),
            in_flight: None,
            progress_ms: now_ms,
            story: Story::default(),
            module_broken: false,
            without_child: false,
        }
    }

    fn flow(&self, stream: Stream) -> u8 {
        flow(self.place, stream as u8)
    }

    fn backlog(&self, ring: &DiskRing) -> Backlog {
        backlog(ring, self.place)
    }

    /// Makes everything that waits wanted now, whatever the schedule says.
    pub fn flush(&mut self, ring: &DiskRing) {
        let backlog = self.backlog(ring);
        self.schedule.flush(&backlog);
    }

    /// The moments at which there is something to do without a descriptor being ready.
    pub fn deadline_ms(&self, ring: &DiskRing) -> Option<u64> {
        let in_flight = self.in_flight.map(|chunk| chunk.deadline_ms);
        let idle = (self.child.is_some() && in_flight.is_none()).then_some(self.schedule.flows_until_ms());
        let scheduled = self.schedule.deadline_ms(&self.backlog(ring), in_flight.is_some());
        [scheduled, in_flight, idle].into_iter().flatten().min()
    }

    /// When the next chunk is due; `None` with nothing waiting.
    pub fn attempt_ms(&self, ring: &DiskRing) -> Option<u64> {
        self.schedule.deadline_ms(&self.backlog(ring), false)
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
        if is_ready(set) {
            settled = self.listen(ring, now_ms, log);
        }
        if self.in_flight.is_some_and(|chunk| now_ms >= chunk.deadline_ms) {
            self.give_up(ring, now_ms, log);
            settled = true;
        }
        let backlog = self.backlog(ring);
        self.schedule.advance(&backlog, &self.sending, now_ms);
        if self.in_flight.is_none() {
            match self.schedule.due(&backlog, now_ms) {
                Some(stream) => self.start(ring, stream, now_ms, log, make),
                None if now_ms < self.schedule.flows_until_ms() => {}
                None => self.dismiss(),
            }
        }
        self.feed(ring);
        settled
    }

    /// Ends a child that has not answered; its chunk is tried again.
    pub fn give_up(&mut self, ring: &mut DiskRing, now_ms: u64, log: &mut Log) {
        if let Some(chunk) = self.in_flight {
            self.lose_child();
            let waited_ms = (now_ms + UPLOAD_MS_MAX).saturating_sub(chunk.deadline_ms);
            let reason = alloc::format!("no answer within {} s; the upload child was ended", waited_ms / 1000);
            self.settle(ring, now_ms, &Outcome::new(Verdict::Later, reason), log);
        }
    }

    /// Makes everything that waits wanted now; what failed waits for its next attempt.
    pub fn want(&mut self, ring: &DiskRing) {
        let backlog = self.backlog(ring);
        self.schedule.want_all(&backlog);
    }

    /// Ends the wait of a stream that failed.
    pub fn hurry(&mut self, stream: Stream, now_ms: u64) {
        self.schedule.resume(stream, self.schedule.attempts(stream), 0, now_ms);
    }

    fn start<D: Destination>(
        &mut self,
        ring: &mut DiskRing,
        stream: Stream,
        now_ms: u64,
        log: &mut Log,
        make: impl FnOnce() -> D,
    ) {
        let flow = self.flow(stream);
        ring.begin_chunk(flow, self.sending.chunk_bytes as u64, u64::from(self.schedule.records_max(stream)));
        if self.child.is_none() {
            let started = Child::start(make);
            self.without_child = started.is_err();
            match started {
                Ok(child) => self.child = Some(child),
                Err(error) => {
                    let reason = alloc::format!("no upload child could be started: {error}");
                    return self.fail(ring, stream, reason, now_ms, log);
                }
            }
        }
        let Some(child) = &mut self.child else { return };
        let mut records = 0;
        let mut read = Ok(true);
        child.order(stream, self.schedule.attempts(stream), |outgoing| {
            read = next_piece(ring, flow, outgoing, &mut records)
        });
        match read {
            Ok(done) if records > 0 => {
                self.in_flight =
                    Some(InFlight { stream, records, fed: Fed::of(done), deadline_ms: now_ms + UPLOAD_MS_MAX });
            }
            // Everything that waited turned out to be damaged: the ring has counted it.
            Ok(_) => child.take_back(),
            Err(fault) => {
                child.take_back();
                self.fail(ring, stream, alloc::format!("the ring file cannot be read: {fault}"), now_ms, log);
            }
        }
    }

    /// Has the stream's chunk, of which nothing has left this process, tried again later.
    fn fail(&mut self, ring: &mut DiskRing, stream: Stream, reason: String, now_ms: u64, log: &mut Log) {
        let outcome = Outcome::new(Verdict::Later, reason);
        self.story.note_failure(&outcome);
        self.conclude(ring, stream, (0, &outcome), now_ms, log);
    }

    fn feed(&mut self, ring: &mut DiskRing) {
        let place = self.place;
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
                    child.piece(|outgoing| {
                        read = next_piece(ring, flow(place, chunk.stream as u8), outgoing, &mut chunk.records)
                    });
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
                let answered = child.has_answered();
                let ended = self.lose_child();
                let reason = if !answered && fips::is_broken_module(ended) {
                    self.module_broken = true;
                    String::from("the FIPS module failed in the upload child (SIGABRT): the program or host is damaged")
                } else {
                    let how = ended.map_or_else(|| String::from("no answer"), |ended| ended.to_string());
                    alloc::format!("the upload child ended before its answer ({how})")
                };
                Outcome::new(Verdict::Later, reason)
            }
        };
        self.settle(ring, now_ms, &outcome, log);
        true
    }

    fn settle(&mut self, ring: &mut DiskRing, now_ms: u64, outcome: &Outcome, log: &mut Log) {
        let Some(InFlight { stream, records, .. }) = self.in_flight.take() else { return };
        self.note(outcome, stream, now_ms, log);
        let flow = self.flow(stream);
        let rest = records.saturating_sub(outcome.delivered);
        let concerned = if outcome.concerned == 0 { rest } else { rest.min(outcome.concerned) };
        if outcome.delivered > 0 {
            let overwritten = ring.flight(flow).map_or(0, |flight| flight.overwritten);
            self.settle_front(ring, stream, outcome.delivered.min(records), now_ms, log);
            if outcome.reason.is_empty() || rest == 0 {
                return; // nothing failed: what is left makes the next chunk
            }
            // Of those behind, the oldest may have been overwritten, too: what is there in their place is not concerned.
            let gone = overwritten.saturating_sub(outcome.delivered.into());
            let left = u64::from(concerned).saturating_sub(gone);
            if left > 0 && ring.begin_chunk(flow, self.sending.chunk_bytes as u64, left) {
                note_fault(ring.cut_chunk(flow, left).map(drop), now_ms, log);
            }
        } else if concerned < records {
            note_fault(ring.cut_chunk(flow, u64::from(concerned)).map(drop), now_ms, log);
        }
        self.conclude(ring, stream, (concerned, outcome), now_ms, log);
    }

    /// Settles what of a chunk was delivered in front of a request that failed.
    fn settle_front(&mut self, ring: &mut DiskRing, stream: Stream, records: u32, now_ms: u64, log: &mut Log) {
        note_fault(ring.cut_chunk(self.flow(stream), u64::from(records)).map(drop), now_ms, log);
        self.conclude(ring, stream, (records, &Outcome::new(Verdict::Sent, String::new())), now_ms, log);
    }

    /// Does with the stream's chunk what the schedule makes of its answer.
    fn conclude(
        &mut self,
        ring: &mut DiskRing,
        stream: Stream,
        (records, outcome): (u32, &Outcome),
        now_ms: u64,
        log: &mut Log,
    ) {
        let mut chance = [0; 4];
        // Without chance the schedule is still a schedule.
        let _ = random_bytes(&mut chance);
        let (failures, flow) = (self.schedule.attempts(stream), self.flow(stream));
        let next = self.schedule.settle(stream, (records, outcome), &self.sending, now_ms, u32::from_le_bytes(chance));
        match next {
            Next::Acknowledge => {
                note_fault(ring.acknowledge(flow), now_ms, log);
                self.succeed(ring, stream, failures, now_ms, log);
            }
            Next::Halve => ring.put_back(flow),
            Next::SetAside => {
                self.set_aside(ring, stream, outcome, now_ms, log);
                note_fault(ring.refuse(flow), now_ms, log);
                self.succeed(ring, stream, failures, now_ms, log);
            }
            Next::Wait { wait_ms } => {
                ring.put_back(flow);
                self.put_off(ring, stream, outcome, (now_ms, wait_ms), log);
            }
            Next::Discard { wait_ms } => {
                let (failures, name, label) = (failures + 1, stream.name(), &self.label);
                let text =
                    format_args!("{failures} attempts at one chunk of {name}{label}: discarded, as retry_limit says");
                log.line(LogLevel::Error, text);
                note_fault(ring.discard(flow), now_ms, log);
                self.put_off(ring, stream, outcome, (now_ms, wait_ms), log);
            }
        }
    }

    /// Keeps the one record of the chunk in the file of refused ones, with the reason.
    fn set_aside(&mut self, ring: &mut DiskRing, stream: Stream, outcome: &Outcome, now_ms: u64, log: &mut Log) {
        let text =
            format_args!("a record of {}{} was refused and set aside: {}", stream.name(), self.label, outcome.reason);
        log.limited(now_ms, LogLevel::Error, "refused", text);
        let Some(path) = &self.rejected else { return };
        // The chunk is read again: nobody keeps a copy of what is on its way.
        let piece = ring.cut_chunk(self.flow(stream), 1).unwrap_or_default();
        let Some((header, payload, _)) = frame::split(&piece) else { return };
        if let Err(error) = rejected::keep(path, stream, &header, payload, outcome) {
            log.limited(now_ms, LogLevel::Error, "rejected", format_args!("{}: {error}", path.display()));
        }
    }

    fn succeed(&mut self, ring: &mut DiskRing, stream: Stream, failures: u32, now_ms: u64, log: &mut Log) {
        self.progress_ms = now_ms;
        if failures > 0 {
            log.over(LOG_KEYS[self.place]);
            let text = format_args!("uploads of {}{} go on after {failures} failures", stream.name(), self.label);
            log.line(LogLevel::Info, text);
            ring.set_retry(self.flow(stream), Retry::default());
        }
    }

    /// Writes down when the stream is tried again, for the next run and for the operator.
    fn put_off(
        &self,
        ring: &mut DiskRing,
        stream: Stream,
        outcome: &Outcome,
        (now_ms, wait_ms): (u64, u64),
        log: &mut Log,
    ) {
        let next_attempt_us = clock::wall_us() + wait_ms * 1000;
        let attempts = self.schedule.attempts(stream);
        ring.set_retry(self.flow(stream), Retry { attempts, reason: outcome.status, next_attempt_us, wait_ms });
        // At once: who is killed now must go on with this schedule, which the status file is about to tell.
        note_fault(ring.commit(), now_ms, log);
        let (name, label, wait_s) = (stream.name(), &self.label, wait_ms.div_ceil(1000));
        let text = format_args!("upload of {name}{label} put off for {wait_s} s: {}", outcome.reason);
        log.limited(now_ms, LogLevel::Warn, LOG_KEYS[self.place], text);
    }

    /// Keeps the story, and says what an operator should hear of an answer.
    fn note(&mut self, outcome: &Outcome, stream: Stream, now_ms: u64, log: &mut Log) {
        let story = &mut self.story;
        story.requests += 1;
        if outcome.verdict == Verdict::Sent {
            story.last_success_ms = clock::boot_ms();
            story.body_bytes += outcome.body_bytes;
            story.wire_bytes += outcome.wire_bytes;
            let (records, bytes) = (outcome.records, outcome.wire_bytes);
            log.line(
                LogLevel::Debug,
                format_args!("sent {records} records of {}{} in {bytes} bytes", stream.name(), self.label),
            );
        } else if !outcome.reason.is_empty() {
            story.note_failure(outcome);
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

    fn lose_child(&mut self) -> Option<Ended> {
        self.child.take().and_then(Child::end)
    }

    /// No upload will ever succeed: the agent should end and say so.
    pub fn module_is_broken(&self) -> bool {
        self.module_broken
    }

    /// Nothing could be sent, for want of a process to do it.
    pub fn is_without_child(&self) -> bool {
        self.without_child
    }

    /// Takes an answer, but starts nothing: the agent stops.
    pub fn finish(&mut self, ring: &mut DiskRing, set: &[PollFd], now_ms: u64, log: &mut Log) {
        if is_ready(set) && self.in_flight.is_some() {
            self.listen(ring, now_ms, log);
        }
        self.feed(ring);
    }

    /// Goes by other bounds and times from now on.
    pub fn configure(&mut self, sending: &Sending) {
        self.sending = sending.clone();
        self.dismiss_idle();
    }

    /// Names the destination in our log from now on, or, if it is the only one, does not.
    pub fn show_name(&mut self, shown: bool) {
        self.label = if shown { alloc::format!(" to {}", self.name) } else { String::new() };
    }

    /// Leaves the children that are still to end to another.
    pub fn leave_children_to(self, other: &mut Uploader) {
        other.leaving.extend(self.leaving);
    }

    /// Some stream's last upload failed.
    pub fn is_failing(&self) -> bool {
        Stream::ALL.iter().any(|&stream| self.schedule.attempts(stream) > 0)
    }

    /// The service says no: the last answer to some stream, in this life or an earlier one.
    pub fn is_refused(&self, ring: &DiskRing) -> bool {
        let retries = Stream::ALL.map(|stream| state_of(ring, self.flow(stream)).retry);
        retries.iter().any(|retry| retry.attempts > 0 && backoff::is_refusal(retry.reason))
    }

    /// Uploads succeed, or one is under way that may: none of its stream has failed since the last success, and it began within
    /// this time.
    pub fn is_moving(&self, now_ms: u64, within_ms: u64) -> bool {
        let started = self.in_flight.filter(|chunk| self.schedule.attempts(chunk.stream) == 0);
        let latest_ms = started.map_or(0, |chunk| chunk.deadline_ms - UPLOAD_MS_MAX).max(self.progress_ms);
        now_ms.saturating_sub(latest_ms) < within_ms
    }

    /// A chunk is on its way.
    pub fn is_busy(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Ends the child; a chunk on its way stays in the ring.
    pub fn stop(&mut self, ring: &mut DiskRing) {
        if let Some(chunk) = self.in_flight.take() {
            ring.put_back(self.flow(chunk.stream));
            self.lose_child();
        }
        self.dismiss();
    }

    /// Seconds until a stream is tried again, if it waits for that, and how often it failed.
    pub fn retry_of(&self, stream: Stream, now_ms: u64) -> (u64, u32) {
        let left_ms = self.schedule.not_before_ms(stream).saturating_sub(now_ms);
        (left_ms.div_ceil(1000), self.schedule.attempts(stream))
    }
}

/// Appends the next frames of the flow's chunk, and adds how many; `true`: there are no more.
fn next_piece(ring: &mut DiskRing, flow: u8, outgoing: &mut Vec<u8>, records: &mut u32) -> Result<bool, Fault> {
    let piece = ring.next_piece(flow, outgoing, outgoing.len() + PIECE_BYTES)?;
    *records += piece.records;
    Ok(piece.done)
}

/// An acknowledgement that the disk did not take is only in memory: after a crash its chunk is sent again.
fn note_fault(settled: Result<(), Fault>, now_ms: u64, log: &mut Log) {
    if let Err(fault) = settled {
        log.limited(now_ms, LogLevel::Error, "disk", format_args!("the ring file cannot be written: {fault}"));
    }
}

/// What the file has and the schedule decides about.
fn backlog(ring: &DiskRing, place: usize) -> Backlog {
    let streams = Stream::ALL.map(|stream| {
        let flow = flow(place, stream as u8);
        let committed = ring.committed(flow);
        let first = ring.next_sequence(flow);
        Waiting { records: committed.records, bytes: committed.bytes, first }
    });
    Backlog { streams, head: ring.head().sequence }
}

fn is_ready(set: &[PollFd]) -> bool {
    set.iter().any(|entry| entry.revents & (READABLE | WRITABLE | GONE) != 0)
}

fn state_of(ring: &DiskRing, flow: u8) -> StreamState {
    ring.stream(flow).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::disk;
    use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
    use std::fs;

    /// Answers a chunk of so many records, behind which so many more arrived, in a ring that has room for nine. Expected: how many of
    /// them were then sent, refused and overwritten; the rest waits.
    #[track_caller]
    fn check(records: u32, more: u32, outcome: Outcome, expected: [u64; 3]) {
        static DIRECTORIES: AtomicU32 = AtomicU32::new(0);
        let name = alloc::format!("omsd-uploader-{}-{}", std::process::id(), DIRECTORIES.fetch_add(1, Relaxed));
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).unwrap();
        let rejected = directory.join("rejected");
        let (mut ring, _) = disk::open(&directory.join("ring"), 100_000, 1).unwrap();
        let target = Target::new(crate::config::Destination::Stdout, Sending::default());
        let mut uploader = Uploader::new(&target, 0, Some(rejected.clone()), &ring, 0);
        let append = |ring: &mut DiskRing, count: u32| {
            for _ in 0..count {
                ring.append(Stream::Syslog as u8, 0, 1, &[&[0; 9_000]]).unwrap();
                ring.commit().unwrap();
            }
        };
        append(&mut ring, records);
        ring.begin_chunk(0, u64::MAX, records.into());
        while !ring.next_piece(0, &mut Vec::new(), usize::MAX).unwrap().done {}
        append(&mut ring, more);
        uploader.in_flight = Some(InFlight { stream: Stream::Syslog, records, fed: Fed::End, deadline_ms: 0 });
        uploader.settle(&mut ring, 0, &outcome, &mut Log::new(LogLevel::Fatal));
        let kept = fs::read_to_string(&rejected).map_or(0, |text| text.lines().count());
        fs::remove_dir_all(&directory).unwrap();
        let counters = ring.stream(0).unwrap().counters;
        assert_eq!([counters.sent, counters.refused, counters.overwritten], expected);
        assert_eq!((kept as u64, counters.sent_again), (counters.refused, 0));
        assert_eq!(counters.settled() + ring.pending(0).records, u64::from(records + more));
    }

    #[test]
    fn a_refused_record_that_was_overwritten_meanwhile_takes_no_other_with_it() {
        let refused = || Outcome::new(Verdict::Refused, String::from("no"));
        check(1, 0, refused(), [0, 1, 0]);
        check(1, 3, refused(), [0, 1, 0]);
        check(1, 9, refused(), [0, 0, 2]);
        // The first three were delivered, the fourth is refused.
        let fourth = || Outcome { delivered: 3, concerned: 1, ..refused() };
        check(6, 0, fourth(), [3, 1, 0]);
        check(6, 5, fourth(), [1, 1, 2]);
        check(6, 6, fourth(), [0, 0, 4]);
    }
}

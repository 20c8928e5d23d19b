//! When which stream's oldest records go upstream, and what an answer means for them. Pure: the time, the chance and what waits come
//! in as parameters, so that a day of outage is tested in milliseconds.
//!
//! Moments are the loop's own clock, which never jumps. The wall clock matters once: a run that goes on with the schedule of
//! an earlier one ([`Schedule::resume`]).

use super::backoff::{self, Policy};
use super::chunk::{Settled, Sizing};
use super::{Outcome, Stream};
use crate::config::Sending;
use crate::limits::LINGER_MS;

/// What of one stream waits and may be sent.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Records.
    pub records: u64,
    /// Bytes of their frames.
    pub bytes: u64,
    /// Sequence of the oldest, or a lower one.
    pub first: u64,
}

/// What waits.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// By stream.
    pub streams: [Waiting; Stream::ALL.len()],
    /// Sequence that the next record of any stream will have.
    pub head: u64,
}

/// What is to be done about an answered chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Acknowledge it.
    Acknowledge,
    /// Put it back; a smaller one is due at once.
    Halve,
    /// Set its one record aside.
    SetAside,
    /// Put it back; its stream is due again after so long.
    Wait {
        /// Milliseconds.
        wait_ms: u64,
    },
    /// Discard it, as `retry_limit` says; its stream is due again after so long.
    Discard {
        /// Milliseconds.
        wait_ms: u64,
    },
}

/// What is known of one stream's delivery.
#[derive(Debug, Default, Clone, Copy)]
struct Delivery {
    sizing: Sizing,
    /// Failures in a row.
    attempts: u32,
    not_before_ms: u64,
    /// Records below this sequence are wanted upstream now.
    flush_below: u64,
}

/// All streams' schedules.
#[derive(Debug)]
pub struct Schedule {
    deliveries: [Delivery; Stream::ALL.len()],
    /// Where the search for a stream to serve starts, so that none waits for ever behind another.
    next_stream: usize,
    flush_at_ms: Option<u64>,
    /// Until then a chunk that filled before its flush interval promises another.
    flows_until_ms: u64,
}

impl Schedule {
    /// A schedule that begins now. What an earlier run left is due at once: nothing else would wake the loop for it.
    pub fn new(backlog: &Backlog, now_ms: u64) -> Schedule {
        let left = backlog.streams.iter().any(|waiting| waiting.records > 0);
        let flush_at_ms = left.then_some(now_ms);
        Schedule { deliveries: Default::default(), next_stream: 0, flush_at_ms, flows_until_ms: 0 }
    }

    /// Goes on with the failures of an earlier run: so many, the next attempt due in so many milliseconds.
    pub fn resume(&mut self, stream: Stream, attempts: u32, left_ms: u64, now_ms: u64) {
        let delivery = &mut self.deliveries[stream as usize];
        (delivery.attempts, delivery.not_before_ms) = (attempts, now_ms + left_ms);
    }

    /// Makes everything that waits due now, whatever failed before.
    pub fn flush(&mut self, backlog: &Backlog) {
        self.want_all(backlog);
        self.deliveries.iter_mut().for_each(|delivery| delivery.not_before_ms = 0);
    }

    /// One flush interval after the first record that waits, or as soon as a chunk is full, everything that waits is wanted.
    pub fn advance(&mut self, backlog: &Backlog, sending: &Sending, now_ms: u64) {
        let mut unwanted = Stream::ALL.iter().filter(|&&stream| self.has_unwanted(backlog, stream)).peekable();
        let waits = unwanted.peek().is_some();
        let fills = unwanted.any(|&stream| backlog.streams[stream as usize].bytes >= sending.chunk_bytes as u64);
        if fills {
            self.flows_until_ms = now_ms + LINGER_MS;
        }
        if fills || self.flush_at_ms.is_some_and(|moment| now_ms >= moment) {
            self.want_all(backlog);
        } else if waits && self.flush_at_ms.is_none() {
            self.flush_at_ms = Some(now_ms + sending.flush_ms);
        }
    }

    /// Makes everything that waits wanted now; what failed waits for its next attempt.
    pub fn want_all(&mut self, backlog: &Backlog) {
        self.flush_at_ms = None;
        self.deliveries.iter_mut().for_each(|delivery| delivery.flush_below = backlog.head);
    }

    fn is_wanted(&self, backlog: &Backlog, stream: Stream) -> bool {
        let waiting = &backlog.streams[stream as usize];
        waiting.records > 0 && waiting.first < self.deliveries[stream as usize].flush_below
    }

    fn has_unwanted(&self, backlog: &Backlog, stream: Stream) -> bool {
        backlog.streams[stream as usize].records > 0 && !self.is_wanted(backlog, stream)
    }

    /// The stream whose turn it is, if any is due.
    pub fn due(&mut self, backlog: &Backlog, now_ms: u64) -> Option<Stream> {
        let streams = Stream::ALL.len();
        let found = (0..streams).map(|step| Stream::ALL[(self.next_stream + step) % streams]).find(|&stream| {
            now_ms >= self.deliveries[stream as usize].not_before_ms && self.is_wanted(backlog, stream)
        })?;
        self.next_stream = (found as usize + 1) % streams;
        Some(found)
    }

    /// The next moment at which [`Schedule::advance`] or, unless `busy` with a chunk, [`Schedule::due`] has something to do.
    pub fn deadline_ms(&self, backlog: &Backlog, busy: bool) -> Option<u64> {
        let retry = Stream::ALL
            .iter()
            .filter(|&&stream| !busy && self.is_wanted(backlog, stream))
            .map(|&stream| self.deliveries[stream as usize].not_before_ms);
        self.flush_at_ms.into_iter().chain(retry).min()
    }

    /// Until when another chunk is expected soon, so that the connection is worth keeping.
    pub fn flows_until_ms(&self) -> u64 {
        self.flows_until_ms
    }

    /// Records in the stream's next chunk at most.
    pub fn records_max(&self, stream: Stream) -> u32 {
        self.deliveries[stream as usize].sizing.records_max()
    }

    /// Failures in a row.
    pub fn attempts(&self, stream: Stream) -> u32 {
        self.deliveries[stream as usize].attempts
    }

    /// Until when a stream that failed is left alone.
    pub fn not_before_ms(&self, stream: Stream) -> u64 {
        self.deliveries[stream as usize].not_before_ms
    }

    /// Takes the answer about a chunk of so many records. `chance` is any number, evenly spread.
    pub fn settle(
        &mut self,
        stream: Stream,
        (records, outcome): (u32, &Outcome),
        sending: &Sending,
        now_ms: u64,
        chance: u32,
    ) -> Next {
        let delivery = &mut self.deliveries[stream as usize];
        let next = match delivery.sizing.settle(outcome.verdict, records) {
            Settled::Acknowledge => Next::Acknowledge,
            Settled::SetAside => Next::SetAside,
            Settled::Halve => return Next::Halve,
            Settled::Wait => {
                if outcome.broke && delivery.attempts > 0 {
                    delivery.sizing.shrink(records);
                }
                return delivery.put_off(outcome, sending, now_ms, chance);
            }
        };
        (delivery.attempts, delivery.not_before_ms) = (0, now_ms);
        next
    }
}

impl Delivery {
    fn put_off(&mut self, outcome: &Outcome, sending: &Sending, now_ms: u64, chance: u32) -> Next {
        let policy = Policy { first_ms: sending.retry_wait_ms, max_ms: sending.retry_wait_max_ms };
        self.attempts = self.attempts.saturating_add(1);
        let wait_ms = backoff::wait_ms(policy, self.attempts, outcome, chance);
        self.not_before_ms = now_ms + wait_ms;
        if sending.retry_limit.is_some_and(|limit| self.attempts >= limit) {
            self.attempts = 0;
            return Next::Discard { wait_ms };
        }
        Next::Wait { wait_ms }
    }
}

#[cfg(test)]
mod tests;

//! Days of service and outage in milliseconds: a model of ring, service and clocks around the schedule.

use super::super::Verdict;
use super::*;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const YEAR: u64 = 365 * DAY;
/// The longest wait with its jitter.
const LONGEST: u64 = 18 * MINUTE;
/// From a request to its answer.
const ROUND_TRIP: u64 = 100;
const FRAME_BYTES: u64 = 256;
/// 2026-01-01, in ms since 1970.
const NEW_YEAR: u64 = 1_767_225_600 * SECOND;
/// A record of each stream comes after so long: syslog, operation, heartbeat, perf.
const EVERY: [u64; Stream::ALL.len()] = [2 * SECOND, 10 * MINUTE, MINUTE, 10 * SECOND];

/// What an agent writes beside its cursor for the next run.
#[derive(Default, Clone, Copy)]
struct Kept {
    attempts: u32,
    next_attempt_wall_ms: u64,
    wait_ms: u64,
}

struct Request {
    at_ms: u64,
    stream: Stream,
    verdict: Verdict,
}

/// An agent's upload side, with everything around it as simple as can be.
struct Model<S> {
    sending: Sending,
    schedule: Schedule,
    service: S,
    now_ms: u64,
    /// What the wall clock shows at moment 0.
    wall_ms: u64,
    random: u32,
    head: u64,
    /// By stream: sequences and when they came.
    waiting: [VecDeque<(u64, u64)>; Stream::ALL.len()],
    kept: [Kept; Stream::ALL.len()],
    made: [u64; Stream::ALL.len()],
    sent: [u64; Stream::ALL.len()],
    discarded: [u64; Stream::ALL.len()],
    requests: Vec<Request>,
    /// The longest that a record of each stream waited until it was sent.
    latest_ms: [u64; Stream::ALL.len()],
}

impl<S: Fn(Stream, u64, u64) -> Outcome> Model<S> {
    fn new(sending: Sending, service: S) -> Self {
        Model {
            sending,
            schedule: Schedule::new(&Backlog::default(), 0),
            service,
            now_ms: 0,
            wall_ms: NEW_YEAR,
            random: 1,
            head: 1,
            waiting: Default::default(),
            kept: Default::default(),
            made: Default::default(),
            sent: Default::default(),
            discarded: Default::default(),
            requests: Vec::new(),
            latest_ms: Default::default(),
        }
    }

    fn backlog(&self) -> Backlog {
        let streams = Stream::ALL.map(|stream| {
            let waiting = &self.waiting[stream as usize];
            let records = waiting.len() as u64;
            let first = waiting.front().map_or(self.head, |&(sequence, _)| sequence);
            Waiting { records, bytes: records * FRAME_BYTES, first }
        });
        Backlog { streams, head: self.head }
    }

    /// Lives until this moment, sleeping as the loop does.
    fn run(&mut self, until_ms: u64) {
        while self.now_ms < until_ms {
            let backlog = self.backlog();
            self.schedule.advance(&backlog, &self.sending, self.now_ms);
            if let Some(stream) = self.schedule.due(&backlog, self.now_ms) {
                self.send(stream);
                continue;
            }
            let next_record = EVERY.iter().map(|every| (self.now_ms / every + 1) * every).min();
            let deadline = self.schedule.deadline_ms(&self.backlog(), false);
            assert!(deadline.is_none_or(|moment| moment > self.now_ms), "the loop would spin at {}", self.now_ms);
            self.pass_to(deadline.into_iter().chain(next_record).min().unwrap_or(until_ms));
        }
    }

    /// Time passes, and records come.
    fn pass_to(&mut self, moment_ms: u64) {
        for (index, every) in EVERY.iter().enumerate() {
            for number in self.now_ms / every..moment_ms / every {
                self.waiting[index].push_back((self.head, (number + 1) * every));
                self.made[index] += 1;
                self.head += 1;
            }
        }
        self.now_ms = moment_ms;
    }

    fn send(&mut self, stream: Stream) {
        let index = stream as usize;
        let bytes_bound = self.sending.chunk_bytes as u64 / FRAME_BYTES;
        let records =
            bytes_bound.min(u64::from(self.schedule.records_max(stream))).min(self.waiting[index].len() as u64);
        let outcome = (self.service)(stream, self.now_ms, records);
        self.requests.push(Request { at_ms: self.now_ms, stream, verdict: outcome.verdict });
        self.pass_to(self.now_ms + ROUND_TRIP);
        self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let answer = (u32::try_from(records).unwrap(), &outcome);
        let count = usize::try_from(records).unwrap();
        let wait_ms = match self.schedule.settle(stream, answer, &self.sending, self.now_ms, self.random) {
            Next::Acknowledge => {
                let oldest = self.waiting[index].front().unwrap().1;
                self.latest_ms[index] = self.latest_ms[index].max(self.now_ms - oldest);
                self.waiting[index].drain(..count);
                self.sent[index] += records;
                0
            }
            Next::Wait { wait_ms } => wait_ms,
            Next::Discard { wait_ms } => {
                self.waiting[index].drain(..count);
                self.discarded[index] += records;
                wait_ms
            }
            Next::Halve | Next::SetAside => unreachable!("no service here refuses a record"),
        };
        let next_attempt_wall_ms = self.wall_ms.saturating_add(self.now_ms + wait_ms);
        self.kept[index] = Kept { attempts: self.schedule.attempts(stream), next_attempt_wall_ms, wait_ms };
    }

    /// The agent ends and begins anew while the wall clock shows something else.
    fn restart(&mut self, wall_ms: u64) {
        self.wall_ms = wall_ms;
        self.schedule = Schedule::new(&self.backlog(), self.now_ms);
        for stream in Stream::ALL {
            let Kept { attempts, next_attempt_wall_ms, wait_ms } = self.kept[stream as usize];
            let left_ms =
                backoff::remaining_ms(next_attempt_wall_ms, wait_ms, self.wall_ms.saturating_add(self.now_ms));
            self.schedule.resume(stream, attempts, left_ms, self.now_ms);
        }
    }

    fn requests_between(&self, stream: Stream, from_ms: u64, until_ms: u64) -> usize {
        let of_stream = self.requests.iter().filter(|request| request.stream == stream);
        of_stream.filter(|request| (from_ms..until_ms).contains(&request.at_ms)).count()
    }

    /// Everything that came is sent, but for what came within the last flush interval.
    #[track_caller]
    fn check_caught_up(&self) {
        for (stream, waiting) in Stream::ALL.iter().zip(&self.waiting) {
            let oldest = waiting.front().map_or(self.now_ms, |&(_, came_ms)| came_ms);
            assert!(self.now_ms - oldest <= self.sending.flush_ms + SECOND, "{stream:?} waits since {oldest}");
            let index = *stream as usize;
            assert_eq!(self.made[index], self.sent[index] + self.discarded[index] + waiting.len() as u64);
        }
    }
}

fn sent() -> Outcome {
    Outcome::new(Verdict::Sent, String::new())
}

fn later(status: u16, retry_after_s: Option<u32>) -> Outcome {
    Outcome { status, retry_after_s, ..Outcome::new(Verdict::Later, String::new()) }
}

#[test]
fn a_well_service_gets_each_record_within_a_flush_interval() {
    let mut model = Model::new(Sending::default(), |_, _, _| sent());
    model.run(DAY);
    model.check_caught_up();
    for stream in Stream::ALL {
        assert!(model.latest_ms[stream as usize] <= 20 * SECOND + 4 * ROUND_TRIP, "{stream:?}");
    }
    let requests = model.requests_between(Stream::Syslog, 0, DAY);
    assert!((3900..=4320).contains(&requests), "{requests} in a day, which has 4,320 times 20 s");
}

#[test]
fn a_day_of_outage_costs_a_hundred_requests_and_ends_within_one_wait() {
    let down = HOUR..HOUR + DAY;
    let mut model =
        Model::new(Sending::default(), |_, now_ms, _| if down.contains(&now_ms) { later(503, None) } else { sent() });
    model.run(down.end);
    for stream in Stream::ALL {
        let requests = model.requests_between(stream, down.start, down.end);
        assert!((80..=110).contains(&requests), "{requests} of {stream:?}");
    }
    let moments: Vec<_> = model.requests.iter().filter(|request| request.stream == Stream::Syslog).collect();
    let gaps =
        moments.windows(2).filter(|pair| pair[0].verdict == Verdict::Later).map(|pair| pair[1].at_ms - pair[0].at_ms);
    assert!(gaps.clone().min() >= Some(26 * SECOND) && gaps.max() <= Some(LONGEST + SECOND));

    model.run(down.end + LONGEST + MINUTE);
    model.check_caught_up();
    assert!(model.requests_between(Stream::Syslog, down.end, down.end + LONGEST) <= 100, "a backlog in large chunks");
}

#[test]
fn a_clock_that_jumps_between_runs_neither_stalls_nor_bursts() {
    // Back an hour, forward a year, before 2020, at the epoch, beyond what 64 bits of microseconds hold.
    for wall_ms in [NEW_YEAR - HOUR, NEW_YEAR + YEAR, NEW_YEAR - 20 * YEAR, 0, u64::MAX / 1000] {
        let down = HOUR..HOUR + DAY;
        let mut model =
            Model::new(Sending::default(), |_, now_ms, _| if down.contains(&now_ms) { later(0, None) } else { sent() });
        let mut restarts = 0;
        while model.now_ms < down.end {
            model.run(model.now_ms + 37 * MINUTE);
            model.restart(if restarts % 2 == 0 { wall_ms } else { NEW_YEAR });
            restarts += 1;
        }
        let requests = model.requests_between(Stream::Syslog, down.start, down.end);
        assert!((70..=120 + restarts).contains(&requests), "{requests} with {restarts} restarts and {wall_ms}");
        model.run(model.now_ms + LONGEST + MINUTE);
        model.check_caught_up();
    }
}

#[test]
fn a_service_may_say_when_but_neither_never_nor_at_once() {
    for (told_s, at_most_per_hour) in [(Some(u32::MAX), 4), (Some(7), 515), (Some(0), 3601)] {
        let down = HOUR..2 * HOUR;
        let mut model =
            Model::new(
                Sending::default(),
                |_, now_ms, _| if down.contains(&now_ms) { later(429, told_s) } else { sent() },
            );
        model.run(down.end);
        let requests = model.requests_between(Stream::Syslog, down.start, down.end);
        assert!((3..=at_most_per_hour).contains(&requests), "{requests} for {told_s:?}");
        model.run(down.end + LONGEST + MINUTE);
        model.check_caught_up();
    }
}

#[test]
fn a_role_that_takes_half_an_hour_to_spread_costs_patience_and_no_record() {
    let spread = 30 * MINUTE;
    let service = |_, now_ms, _| if now_ms < spread { later(403, None) } else { sent() };
    let mut model = Model::new(Sending::default(), service);
    model.run(spread + LONGEST + MINUTE);
    model.check_caught_up();
    let refused = model.requests_between(Stream::Syslog, 0, spread);
    assert!((3..=8).contains(&refused), "{refused} requests in vain");
}

#[test]
fn a_stream_that_is_refused_never_holds_another() {
    for status in [401, 403, 404, 429, 500] {
        let refused = move |stream, _, _| if stream == Stream::Syslog { later(status, None) } else { sent() };
        let mut model = Model::new(Sending::default(), refused);
        model.run(DAY);
        for stream in [Stream::Operation, Stream::Heartbeat, Stream::Perf] {
            assert!(model.latest_ms[stream as usize] <= 20 * SECOND + 4 * ROUND_TRIP, "{stream:?} beside {status}");
        }
        assert_eq!((model.sent[0], model.discarded[0]), (0, 0));
        let requests = model.requests_between(Stream::Syslog, 0, DAY);
        assert!((75..=110).contains(&requests), "{requests} in vain");
    }
}

#[test]
fn a_retry_limit_discards_one_chunk_after_so_many_attempts_and_counts_it() {
    let sending = Sending { retry_limit: Some(6), ..Sending::default() };
    let down = HOUR..HOUR + DAY;
    let mut model = Model::new(sending, |_, now_ms, _| if down.contains(&now_ms) { later(503, None) } else { sent() });
    model.run(down.end);
    let failed = model.requests_between(Stream::Heartbeat, down.start, down.end);
    assert!(model.discarded[Stream::Heartbeat as usize] > 0 && failed / 6 >= 24, "{failed} attempts");
    model.run(down.end + LONGEST + MINUTE);
    model.check_caught_up();
}

#[test]
fn a_bound_between_here_and_the_service_that_shows_as_a_reset_is_found() {
    let down = HOUR..2 * HOUR;
    let service = |_, now_ms, records| match records {
        _ if down.contains(&now_ms) => later(503, None),
        301.. => Outcome { broke: true, ..later(0, None) },
        _ => sent(),
    };
    let mut model = Model::new(Sending::default(), service);
    model.run(down.end + 4 * LONGEST); // the third attempt succeeds
    model.check_caught_up();
    assert!(model.requests.iter().filter(|request| request.at_ms > down.end).count() < 400);
}

#[test]
fn a_flush_by_hand_tries_everything_at_once() {
    let mut model = Model::new(Sending::default(), |_, _, _| later(503, None));
    model.run(5 * HOUR);
    let before = model.requests.len();
    model.schedule.flush(&model.backlog());
    model.run(5 * HOUR + SECOND);
    assert_eq!(model.requests.len() - before, Stream::ALL.len());
}

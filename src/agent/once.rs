//! `omsd run --once`: one run of bounded time, for hosts where nothing may stay resident.
//!
//! ```text
//!  0 ──────────── 0.4 of N - 3 s ─────────────────────────────────── N - 3 s ────────── N ···· N + 5 s
//!  │ sample, listen │ ring, sync,   │ the host's own offset, heartbeat, │ status,       │ SIGALRM, whatever
//!  │                │ then memory   │ upload, oldest first              │ exit code     │ it hangs in
//! ```
//!
//! The order in the middle matters: what was sampled is in the ring before the run remembers that it was, so a run that is killed may
//! repeat something, but loses nothing. What waits in the ring is the next run's.

use super::lock::{self, value};
use super::uploader::Uploader;
use super::{Agent, Ended, deadline, status};
use crate::config::files::Digest;
use crate::config::{Destination, LogLevel};
use crate::limits::{
    CONFIG_TIME_MS_MAX, FLOWS_MAX, MEMORY_BYTES_MAX, ONCE_BUDGET_S_MIN, ONCE_RUN_MS, ONCE_SPREAD_MS_MAX,
    ONCE_STUCK_RUNS, PROC_FILE_BYTES_MAX, SAMPLE_GAP_MS_MAX,
};
use crate::onboard::renewal::Errand;
use crate::ring::flow;
use crate::sys::poll::{PollFd, READABLE, poll};
use crate::sys::signal::Signals;
use crate::sys::{clock, file, host};
use crate::upload::Stream;
use crate::upload::admin_conf::AdminConf;
use crate::upload::oms::clock_is_set;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use std::io::Read;
use std::path::Path;

/// Who may read what is remembered.
const MODE: u32 = 0o600;

/// The time that a run has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// When it began, by the monotonic clock.
    pub began_ms: u64,
    /// `--budget`
    pub seconds: u32,
}

impl Budget {
    /// What is left for work when the run is to close in good order and in time.
    fn work_ms(self) -> u64 {
        u64::from(self.seconds) * 1000 - CLOSE_MS
    }

    /// The end of sampling and listening: at 0.4 of it, so that much is left for uploads.
    fn collect_until_ms(self) -> u64 {
        self.began_ms + self.work_ms() * 4 / 10
    }

    /// The end of uploads.
    fn upload_until_ms(self) -> u64 {
        self.began_ms + self.work_ms()
    }

    /// How long an agent of this id waits before it uploads: hosts whose crons agree do not all come at once, and each always comes
    /// at the same second.
    fn spread_ms(self, agent_id: &str) -> u64 {
        let mut digest = Digest::default();
        digest.add(agent_id.as_bytes());
        // The upper half of this digest is its better one.
        (digest.0 >> 32) % ((self.work_ms() / 3).min(ONCE_SPREAD_MS_MAX) + 1)
    }
}

/// Time that a run has to close: a child is ended, the ring synced, the status written.
const CLOSE_MS: u64 = 3000;
const _: () = assert!(CLOSE_MS < ONCE_BUDGET_S_MIN as u64 * 1000);

/// How a run ended that could not do all that is asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hindrance {
    /// This host's clock is not set, so nothing was uploaded.
    ClockNotSet,
    /// The kernel gave no process to upload with.
    NoChild,
    /// The service refuses this host, or does not know it.
    Refused,
    /// What waits has not become less for [`ONCE_STUCK_RUNS`] runs.
    Stuck,
}

/// What runs remember from one to the next.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Memory {
    /// Wall clock of the last sample, in milliseconds; `None`: there was none.
    sampled_ms: Option<u64>,
    /// Records that waited at the end of the last run, and runs in a row that left as many or more than the one before.
    waiting: u64,
    stuck: u32,
    /// Wall clock from which the service is visited again, and from which a new certificate may be asked for, in milliseconds.
    visit_ms: u64,
    renew_ms: u64,
    /// Of each flow that was put off: until when, by the wall clock in microseconds, and how many runs have left it alone since.
    skipped: Vec<Skipped>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Skipped {
    flow: u8,
    until_us: u64,
    runs: u32,
}

impl Memory {
    fn read(text: &str) -> Memory {
        let number = |name| value(text, name)?.parse().ok();
        let three = |line: &str| {
            let mut words = line.split(' ');
            let (flow, until_us) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            Some(Skipped { flow, until_us, runs: words.next()?.parse().ok()? })
        };
        let skipped = text.lines().filter_map(|line| three(line.strip_prefix("skipped ")?));
        Memory {
            sampled_ms: number("sampled"),
            waiting: number("waiting").unwrap_or(0),
            stuck: number("stuck").and_then(|runs: u64| runs.try_into().ok()).unwrap_or(0),
            visit_ms: number("visit").unwrap_or(0),
            renew_ms: number("renew").unwrap_or(0),
            skipped: skipped.take(FLOWS_MAX).collect(),
        }
    }

    fn text(&self) -> String {
        let Memory { waiting, stuck, visit_ms, renew_ms, .. } = self;
        let mut text = alloc::format!("waiting {waiting}\nstuck {stuck}\nvisit {visit_ms}\nrenew {renew_ms}\n");
        // Writing to a String cannot fail.
        if let Some(sampled_ms) = self.sampled_ms {
            let _ = writeln!(text, "sampled {sampled_ms}");
        }
        for Skipped { flow, until_us, runs } in &self.skipped {
            let _ = writeln!(text, "skipped {flow} {until_us} {runs}");
        }
        text
    }

    /// Whether a flow that was put off for `wait_ms` until `until_us` is tried by this run although the wall clock is not there yet: a
    /// clock that was set back must not silence it, so runs count as time, too.
    fn is_enough(&mut self, flow: u8, until_us: u64, wait_ms: u64) -> bool {
        let known = self.skipped.iter().find(|known| known.flow == flow && known.until_us == until_us);
        let runs = known.map_or(0, |known| known.runs) + 1;
        self.skipped.retain(|known| known.flow != flow);
        self.skipped.push(Skipped { flow, until_us, runs });
        u64::from(runs) * ONCE_RUN_MS >= wait_ms
    }

    /// Counts a run that leaves so many records.
    fn note_waiting(&mut self, waiting: u64) -> bool {
        let is_less = waiting == 0 || self.waiting == 0 || waiting < self.waiting;
        self.stuck = if is_less { 0 } else { self.stuck.saturating_add(1) };
        self.waiting = waiting;
        self.stuck >= ONCE_STUCK_RUNS
    }
}

/// What an earlier run wrote down; empty if it cannot be read.
fn remembered(path: &Path, bytes_max: u64) -> String {
    let mut text = Vec::new();
    let _ = file::open_to_look(path).and_then(|file| file.take(bytes_max).read_to_end(&mut text));
    String::from_utf8_lossy(&text).into_owned()
}

/// Whether a moment that an earlier run wrote down has come; one further ahead than it can have been is one of a clock set back.
fn has_come(moment_ms: u64, now_ms: u64) -> bool {
    now_ms >= moment_ms || moment_ms - now_ms > CONFIG_TIME_MS_MAX
}

impl Agent {
    /// Runs once, within the budget.
    pub fn run_once(mut self: Box<Self>, mut signals: Signals, budget: Budget) -> Ended {
        let mut memory = Memory::read(&remembered(&self.paths.once(), MEMORY_BYTES_MAX));
        self.sample_once(&mut memory);
        let mut go_on = self.listen_until(budget.collect_until_ms(), &mut signals);
        self.close_sources();
        let kept = self.ring.commit().and_then(|()| self.ring.sync());
        if kept.is_ok() {
            self.remember(&self.paths.once(), &memory.text());
        }
        let is_set = clock_is_set(clock::wall_s());
        if go_on && is_set {
            go_on = self.sleep_until(clock::monotonic_ms() + budget.spread_ms(&self.agent_id()), &mut signals);
        }
        if go_on && is_set {
            self.upload_until(budget.upload_until_ms(), &mut memory, &mut signals);
        }
        let waiting = self.ring.pending_total().records;
        let is_stuck = memory.note_waiting(waiting);
        self.remember(&self.paths.once(), &memory.text());
        let no_child = self.uploaders.iter().any(Uploader::is_without_child);
        let is_refused = self.uploaders.iter().any(|uploader| uploader.is_refused(&self.ring));
        match self.stop(clock::monotonic_ms(), status::STOPPED) {
            Ended::Stopped if !is_set => Ended::Hindered(Hindrance::ClockNotSet),
            Ended::Stopped if no_child => Ended::Hindered(Hindrance::NoChild),
            Ended::Stopped if is_refused => Ended::Hindered(Hindrance::Refused),
            Ended::Stopped if is_stuck => Ended::Hindered(Hindrance::Stuck),
            ended => ended,
        }
    }

    /// What cannot be written down is done again by the next run.
    fn remember(&self, path: &Path, text: &str) {
        if let Err(error) = file::write_often(path, text.as_bytes(), MODE) {
            self.log.line(LogLevel::Warn, format_args!("{}: {error}", path.display()));
        }
    }

    /// Takes the samples that are due, with rates since the last run, and leaves what the next one makes rates of.
    fn sample_once(&mut self, memory: &mut Memory) {
        if self.config.perf.is_empty() {
            return;
        }
        let (now_ms, wall_ms) = (clock::monotonic_ms(), clock::wall_us() / 1000);
        let saved = remembered(&self.paths.sample(), SAVED_BYTES_MAX);
        let boot_id = lock::boot_id();
        let began = |line: &str| {
            let (boot, began_ms) = line.split_once(' ')?;
            let began_ms: u64 = began_ms.parse().ok()?;
            let is_usable = boot == boot_id && now_ms.saturating_sub(began_ms) <= SAMPLE_GAP_MS_MAX;
            is_usable.then_some(began_ms)
        };
        let saved = saved.split_once('\n').and_then(|(line, saved)| Some((saved.as_bytes(), began(line)?)));
        self.sampler.once(now_ms, wall_ms, memory.sampled_ms, saved);
        self.sample(now_ms);
        let next = self.sampler.save();
        self.remember(&self.paths.sample(), &alloc::format!("{boot_id} {now_ms}\n{}", String::from_utf8_lossy(&next)));
        memory.sampled_ms = Some(wall_ms);
    }

    /// Takes what the sources bring until then; not at all where there are none. `false`: a signal says stop.
    fn listen_until(&mut self, until_ms: u64, signals: &mut Signals) -> bool {
        if self.config.sources.is_empty() {
            return true;
        }
        let mut set: Vec<PollFd> = Vec::new();
        loop {
            let now_ms = clock::monotonic_ms();
            if now_ms >= until_ms {
                return true;
            }
            let wanted = self.wanted(now_ms);
            set.clear();
            set.push(PollFd { fd: signals.descriptor(), events: READABLE, revents: 0 });
            self.sources.poll_set(wanted, now_ms, &mut set);
            let moments = self.intake_moments(wanted, now_ms).into_iter().chain([Some(until_ms)]);
            let _ = poll(&mut set, deadline::sleep_ms(now_ms, moments));
            let now_ms = clock::monotonic_ms();
            if set[0].revents != 0 && signals.take().stop {
                return false;
            }
            self.take_in(&set[1..], now_ms);
            self.keep(now_ms);
            self.rest(now_ms);
        }
    }

    /// `false`: a signal says stop.
    fn sleep_until(&mut self, until_ms: u64, signals: &mut Signals) -> bool {
        loop {
            let now_ms = clock::monotonic_ms();
            if now_ms >= until_ms {
                return true;
            }
            let mut set = [PollFd { fd: signals.descriptor(), events: READABLE, revents: 0 }];
            let _ = poll(&mut set, Some(until_ms - now_ms));
            if set[0].revents != 0 && signals.take().stop {
                return false;
            }
        }
    }

    /// What this host is known by to the service, or else by name.
    fn agent_id(&self) -> String {
        let files = self.config.targets.iter().find_map(|target| match &target.destination {
            Destination::Oms(files) => Some(files),
            _ => None,
        });
        let text = files.and_then(|files| std::fs::read_to_string(self.paths.place(&files.omsadmin_conf)).ok());
        let conf = text.and_then(|text| AdminConf::parse(&text).ok());
        conf.map_or_else(host::computer, |conf| conf.agent_guid)
    }

    /// Uploads what waits and is due, and looks after the identity, until there is no more to do or the time is up.
    fn upload_until(&mut self, until_ms: u64, memory: &mut Memory, signals: &mut Signals) {
        let now_ms = clock::monotonic_ms();
        self.beat(now_ms);
        self.report(now_ms);
        self.keep(now_ms);
        self.end_waits(memory, now_ms);
        let visits = self.prepare_visits(memory);
        for uploader in &mut self.uploaders {
            uploader.want(&self.ring);
        }
        let mut set: Vec<PollFd> = Vec::new();
        loop {
            let now_ms = clock::monotonic_ms();
            set.clear();
            set.push(PollFd { fd: signals.descriptor(), events: READABLE, revents: 0 });
            let ends = self.poll_uploaders(&mut set);
            let _ = poll(&mut set, Some(self.next_step_ms(visits, until_ms).saturating_sub(now_ms)));
            let now_ms = clock::monotonic_ms();
            if now_ms >= until_ms || (set[0].revents != 0 && signals.take().stop) {
                break;
            }
            self.upload(&set, &ends, now_ms);
            if visits {
                self.keep_identity(now_ms);
            }
            self.keep(now_ms);
            self.rest(now_ms);
            let is_more_to_come = self.is_busy() || self.attempt_is_due_before(until_ms);
            if !is_more_to_come || self.module_is_broken() {
                break;
            }
        }
        let now_ms = clock::monotonic_ms();
        let (ring, log) = (&mut self.ring, &mut self.log);
        self.uploaders.iter_mut().for_each(|uploader| uploader.give_up(ring, now_ms, log));
        if visits && let Some(keeper) = self.keepers.first().filter(|keeper| !keeper.is_busy()) {
            let wall_ms = clock::wall_us() / 1000;
            let (visit_ms, renew_ms) = keeper.next();
            memory.visit_ms = wall_ms + visit_ms.saturating_sub(now_ms);
            memory.renew_ms = wall_ms + renew_ms.saturating_sub(now_ms);
        }
    }

    fn is_busy(&self) -> bool {
        self.uploaders.iter().any(|uploader| uploader.is_busy()) || self.keepers.iter().any(|keeper| keeper.is_busy())
    }

    fn attempt_is_due_before(&self, until_ms: u64) -> bool {
        self.uploaders.iter().any(|uploader| uploader.attempt_ms(&self.ring).is_some_and(|moment| moment < until_ms))
    }

    fn next_step_ms(&self, visits: bool, until_ms: u64) -> u64 {
        let uploads = self.uploaders.iter().filter_map(|uploader| uploader.deadline_ms(&self.ring)).min();
        let visit = self.keepers.iter().filter(|_| visits).filter_map(|keeper| keeper.deadline_ms()).min();
        uploads.into_iter().chain(visit).min().unwrap_or(until_ms).min(until_ms)
    }

    /// Has flows that were put off tried by this run if enough runs have left them alone.
    fn end_waits(&mut self, memory: &mut Memory, now_ms: u64) {
        let mut left = Vec::new();
        for uploader in &mut self.uploaders {
            for stream in Stream::ALL {
                let number = flow(uploader.place, stream as u8);
                let retry = self.ring.stream(number).unwrap_or_default().retry;
                if uploader.retry_of(stream, now_ms).0 == 0 {
                    continue;
                }
                left.push(number);
                if memory.is_enough(number, retry.next_attempt_us, retry.wait_ms) {
                    uploader.hurry(stream, now_ms);
                }
            }
        }
        memory.skipped.retain(|known| left.contains(&known.flow));
    }

    /// Whether the service is to be visited by this run: as often as a resident agent does.
    fn prepare_visits(&mut self, memory: &Memory) -> bool {
        let wall_ms = clock::wall_us() / 1000;
        let errand = if has_come(memory.renew_ms, wall_ms) { Errand::BeatAndRenew } else { Errand::Beat };
        self.keepers.iter_mut().for_each(|keeper| keeper.have(errand));
        !self.keepers.is_empty() && has_come(memory.visit_ms, wall_ms)
    }
}

/// Bytes of what a sample is saved in: four files of the kernel's.
const SAVED_BYTES_MAX: u64 = 4 * PROC_FILE_BYTES_MAX as u64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_phases_of_a_run_end_as_documented() {
        let budget = Budget { began_ms: 1000, seconds: 50 };
        assert_eq!((budget.collect_until_ms(), budget.upload_until_ms()), (19_800, 48_000));
        let shortest = Budget { began_ms: 0, seconds: ONCE_BUDGET_S_MIN };
        assert_eq!((shortest.collect_until_ms(), shortest.upload_until_ms()), (800, 2000));
    }

    #[test]
    fn hosts_are_spread_and_each_stays_where_it_is() {
        let mut counts = [0_u32; 20];
        for host in 0..2000 {
            let id = alloc::format!("0c9f6c9e-3a52-4f0b-8a8e-{host:012}");
            let spread_ms = Budget { began_ms: 0, seconds: 63 }.spread_ms(&id);
            assert_eq!(spread_ms, Budget { began_ms: 77, seconds: 3600 }.spread_ms(&id));
            counts[usize::try_from(spread_ms / 1000).unwrap().min(19)] += 1;
            assert!(Budget { began_ms: 0, seconds: 9 }.spread_ms(&id) <= 2000);
        }
        assert!(counts.iter().all(|count| (60..=140).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_backlog_that_does_not_shrink_in_three_runs_is_told() {
        let told = |waiting: &[u64]| {
            let mut memory = Memory::default();
            waiting.iter().map(|&waiting| memory.note_waiting(waiting)).collect::<Vec<_>>()
        };
        assert_eq!(told(&[5, 5, 6, 6, 6]), [false, false, false, true, true]);
        assert_eq!(told(&[5, 6, 5, 6, 7, 8]), [false, false, false, false, false, true]);
        assert_eq!(told(&[5, 5, 5, 0, 5, 5, 5, 5]), [false, false, false, false, false, false, false, true]);
        assert_eq!(told(&[0, 0, 0, 0]), [false; 4]);
    }

    #[test]
    fn runs_count_as_time_for_what_was_put_off() {
        let mut memory = Memory::default();
        let tries: Vec<bool> = (0..4).map(|_| memory.is_enough(3, 77, 180_000)).collect();
        assert_eq!(tries, [false, false, true, true]);
        assert!(!memory.is_enough(3, 78, 180_000), "another wait counts anew");
        assert!(memory.is_enough(4, 78, 60_000));
        assert!(!memory.is_enough(4, 79, 60_001));
    }

    #[test]
    fn what_is_remembered_comes_back() {
        let skipped = Vec::from([Skipped { flow: 3, until_us: u64::MAX, runs: 2 }]);
        let memory = Memory { sampled_ms: Some(1), waiting: 2, stuck: 3, visit_ms: 4, renew_ms: 5, skipped };
        assert_eq!(Memory::read(&memory.text()), memory);
        assert_eq!(Memory::read(&Memory::default().text()), Memory::default());
        assert_eq!(Memory::read("waiting x\nskipped 1 2\nstuck 99999999999\n"), Memory::default());
    }

    #[test]
    fn a_moment_beyond_any_interval_is_one_of_a_clock_that_was_set_back() {
        let day_ms = 24 * 60 * 60 * 1000;
        assert!(has_come(5, 5) && has_come(0, 5));
        assert!(!has_come(6, 5) && !has_come(day_ms, 0));
        assert!(has_come(day_ms + 1, 0));
    }
}

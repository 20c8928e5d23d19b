//! What `omsd run --ensure` does when cron calls it: one decision, from what the lock, the status file and its own memory say.
//!
//! ```text
//!  lock free ────────────────────────────────> start, unless it crashed five times in a row and it is not time yet
//!  lock held ─ status < 90 s ─ same program and configuration ──> nothing
//!            │               └ another ─────────────────────────> SIGTERM, wait, start
//!            ├ 90 to 300 s ─────────────────────────────────────> nothing, say so
//!            └ more ─ found the first time ─────────────────────> remember it
//!                   └ found again ──────────────────────────────> SIGTERM, SIGKILL, start
//! ```
//!
//! Moments are the monotonic clock's, which stands still while the host sleeps and is nobody's to set; of another boot they mean nothing,
//! and so does what was remembered then.

use super::lock::{self, Holder, Record, value};
use super::paths::Paths;
use super::status::Status;
use crate::limits::{
    CRASHES_MAX, LIFE_MS_LONG, LIFE_MS_SHORT, MEMORY_BYTES_MAX, RESTART_MS_SELDOM, RESTART_MS_SLOW, STALE_AGAIN_MS,
    STATUS_FRESH_MS, STATUS_STALE_MS, TELL_MS, TOLD_MAX,
};
use crate::sys::file;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write;
use std::io::{self, Read};

/// Who may read what is remembered.
const MODE: u32 = 0o600;

/// What there is to decide by.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Now, by the monotonic clock.
    pub now_ms: u64,
    /// This boot.
    pub boot_id: String,
    /// This program's file.
    pub program: (u64, u64),
    /// Digest of the configuration as it is now.
    pub configuration: u64,
    /// The lock.
    pub lock: Holder,
    /// The status file, if it is one of this boot.
    pub status: Option<Sign>,
    /// What earlier calls remembered.
    pub memory: Memory,
}

/// What the status file says of its writer's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sign {
    /// Who wrote it.
    pub pid: u32,
    /// When.
    pub written_ms: u64,
    /// It ended as it was told to.
    pub stopped: bool,
}

impl Sign {
    /// What this status says in this boot.
    pub fn of(status: &Status, boot_id: &str) -> Option<Sign> {
        let sign =
            Sign { pid: status.pid, written_ms: status.monotonic_ms, stopped: status.state == super::status::STOPPED };
        (status.boot_id == boot_id).then_some(sign)
    }
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Become the agent.
    Start {
        /// Crashes in a row so far.
        crashes: u32,
    },
    /// It crashed too often to be started already.
    Brake {
        /// Crashes in a row so far.
        crashes: u32,
    },
    /// Nothing: it is well.
    Leave,
    /// Nothing, but say that it is slow to show that it is well.
    Note,
    /// Remember that it hangs.
    Suspect,
    /// End it, it hangs.
    Replace,
    /// Ask it to end: a newer program or configuration is here.
    HandOver,
}

/// The decision.
pub fn decide(facts: &Facts) -> Action {
    match &facts.lock {
        Holder::Free => when_free(facts),
        Holder::Held(record) => when_held(facts, record),
    }
}

fn when_free(facts: &Facts) -> Action {
    let Some(start) = facts.memory.start else { return Action::Start { crashes: 0 } };
    let crashes = crashes(start, facts.status);
    let wait_ms = match crashes {
        0..CRASHES_MAX => 0,
        _ if crashes < 2 * CRASHES_MAX => RESTART_MS_SLOW,
        _ => RESTART_MS_SELDOM,
    };
    if facts.now_ms >= start.at_ms + wait_ms { Action::Start { crashes } } else { Action::Brake { crashes } }
}

/// Crashes in a row, with the end of the last start among them. How long it lived, its last status tells.
fn crashes(start: Start, status: Option<Sign>) -> u32 {
    let life_ms = match status {
        // It, or one that was started by hand since, ended as it was told to.
        Some(sign) if sign.stopped && sign.written_ms >= start.at_ms => return 0,
        Some(sign) if sign.pid == start.pid => sign.written_ms.saturating_sub(start.at_ms),
        _ => 0,
    };
    match life_ms {
        LIFE_MS_LONG.. => 0,
        LIFE_MS_SHORT.. => start.crashes,
        _ => start.crashes.saturating_add(1),
    }
}

fn when_held(facts: &Facts, record: &Record) -> Action {
    let suspicion = facts.memory.suspicion.filter(|suspicion| suspicion.pid == record.pid);
    let status = facts.status.filter(|status| status.pid == record.pid);
    // A holder that has not written a status yet has as long as one that wrote it when it took the lock.
    let shown_ms =
        (record.boot_id == facts.boot_id).then(|| status.map_or(0, |sign| sign.written_ms).max(record.taken_ms));
    let Some(shown_ms) = shown_ms else {
        // Nothing of what it says can be believed, so its silence counts from when it was first noticed.
        return match suspicion {
            Some(suspicion) if facts.now_ms.saturating_sub(suspicion.since_ms) > STATUS_STALE_MS => Action::Replace,
            _ => Action::Suspect,
        };
    };
    match facts.now_ms.saturating_sub(shown_ms) {
        0..STATUS_FRESH_MS if facts.is_outdated(record) => Action::HandOver,
        0..STATUS_FRESH_MS => Action::Leave,
        STATUS_FRESH_MS..=STATUS_STALE_MS => Action::Note,
        _ => match suspicion {
            Some(Suspicion { since_ms, shown_ms: then_ms, .. })
                if then_ms == shown_ms && facts.now_ms.saturating_sub(since_ms) >= STALE_AGAIN_MS =>
            {
                Action::Replace
            }
            _ => Action::Suspect,
        },
    }
}

impl Facts {
    /// The holder runs another program file than this one, or goes by another configuration.
    fn is_outdated(&self, record: &Record) -> bool {
        let is_known = self.program != (0, 0) && record.program != (0, 0);
        (is_known && self.program != record.program) || self.configuration != record.configuration
    }

    /// What to remember of a holder that hangs: since when this was known, if it was.
    pub fn suspicion(&self) -> Option<Suspicion> {
        let Holder::Held(record) = &self.lock else { return None };
        let status = self.status.filter(|status| status.pid == record.pid);
        let shown_ms = status.map_or(0, |sign| sign.written_ms).max(record.taken_ms);
        let known = self.memory.suspicion.filter(|known| known.pid == record.pid && known.shown_ms == shown_ms);
        Some(known.unwrap_or(Suspicion { pid: record.pid, since_ms: self.now_ms, shown_ms }))
    }
}

/// What calls remember from one to the next, of this boot.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Memory {
    boot_id: String,
    /// The last start.
    pub start: Option<Start>,
    /// That a holder hangs.
    pub suspicion: Option<Suspicion>,
    /// When failures were told last, by their causes.
    told: Vec<(String, u64)>,
}

/// A start of the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// Its process.
    pub pid: u32,
    /// When.
    pub at_ms: u64,
    /// Crashes in a row before it.
    pub crashes: u32,
}

/// A holder that was found to hang.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suspicion {
    /// Its process as the lock file says.
    pub pid: u32,
    /// When that was noticed first.
    pub since_ms: u64,
    /// The last sign of its life then.
    pub shown_ms: u64,
}

impl Memory {
    /// What was remembered in this boot; nothing if nothing can be read.
    pub fn load(paths: &Paths) -> Memory {
        let mut text = String::new();
        let opened = file::open_to_look(&paths.ensure());
        let _ = opened.and_then(|file| file.take(MEMORY_BYTES_MAX).read_to_string(&mut text));
        Memory::read(&text, lock::boot_id())
    }

    fn read(text: &str, boot_id: String) -> Memory {
        let mut memory = Memory { boot_id, ..Memory::default() };
        if value(text, "boot_id") != Some(&memory.boot_id) {
            return memory;
        }
        let three = |name| {
            let mut numbers = value(text, name)?.split(' ').map(str::parse);
            Some((numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?))
        };
        let narrow = |number: u64| u32::try_from(number).unwrap_or(0);
        memory.start =
            three("start").map(|(pid, at_ms, crashes)| Start { pid: narrow(pid), at_ms, crashes: narrow(crashes) });
        memory.suspicion =
            three("suspicion").map(|(pid, since_ms, shown_ms)| Suspicion { pid: narrow(pid), since_ms, shown_ms });
        let told = text.lines().filter_map(|line| line.strip_prefix("told ")?.rsplit_once(' '));
        memory.told =
            told.filter_map(|(cause, at_ms)| Some((cause.into(), at_ms.parse().ok()?))).take(TOLD_MAX).collect();
        memory
    }

    fn text(&self) -> String {
        let mut text = alloc::format!("boot_id {}\n", self.boot_id);
        // Writing to a String cannot fail.
        if let Some(Start { pid, at_ms, crashes }) = self.start {
            let _ = writeln!(text, "start {pid} {at_ms} {crashes}");
        }
        if let Some(Suspicion { pid, since_ms, shown_ms }) = self.suspicion {
            let _ = writeln!(text, "suspicion {pid} {since_ms} {shown_ms}");
        }
        for (cause, at_ms) in &self.told {
            let _ = writeln!(text, "told {cause} {at_ms}");
        }
        text
    }

    /// Remembers this for the next call. Fails as the file system does.
    pub fn save(&self, paths: &Paths) -> io::Result<()> {
        let path = paths.ensure();
        std::fs::create_dir_all(path.parent().unwrap_or(&path))?;
        file::write_often(&path, self.text().as_bytes(), MODE)
    }

    /// Whether a failure of this cause is to be told now; remembers that it was.
    pub fn is_news(&mut self, cause: &str, now_ms: u64) -> bool {
        match self.told.iter().position(|(told, _)| told == cause) {
            Some(place) if now_ms < self.told[place].1 + TELL_MS => return false,
            Some(place) => drop(self.told.remove(place)),
            None => {}
        }
        if self.told.len() == TOLD_MAX {
            self.told.remove(0);
        }
        self.told.push((cause.to_string(), now_ms));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 10_000_000;

    fn held(taken_ago_ms: u64) -> Holder {
        Holder::Held(Record {
            pid: 7,
            started: 1,
            taken_ms: NOW_MS - taken_ago_ms,
            boot_id: String::from("boot"),
            program: (1, 2),
            configuration: 3,
            ..Record::default()
        })
    }

    /// A holder since ever, which wrote its status so long ago.
    fn shown(ago_ms: u64) -> Facts {
        Facts {
            now_ms: NOW_MS,
            boot_id: String::from("boot"),
            program: (1, 2),
            configuration: 3,
            lock: held(NOW_MS),
            status: Some(Sign { pid: 7, written_ms: NOW_MS - ago_ms, stopped: false }),
            memory: Memory::default(),
        }
    }

    fn suspected(facts: Facts, pid: u32, ago_ms: u64, shown_ago_ms: u64) -> Facts {
        let suspicion = Suspicion { pid, since_ms: NOW_MS - ago_ms, shown_ms: NOW_MS - shown_ago_ms };
        Facts { memory: Memory { suspicion: Some(suspicion), ..Memory::default() }, ..facts }
    }

    #[track_caller]
    fn check(facts: &Facts, expected: Action) {
        assert_eq!(decide(facts), expected, "{facts:?}");
    }

    #[test]
    fn a_holder_is_judged_by_the_age_of_its_last_sign_of_life() {
        check(&shown(0), Action::Leave);
        check(&shown(89_999), Action::Leave);
        check(&shown(90_000), Action::Note);
        check(&shown(300_000), Action::Note);
        check(&shown(300_001), Action::Suspect);
        // One that took the lock a moment ago has written nothing yet.
        check(&Facts { lock: held(10), ..shown(400_000) }, Action::Leave);
        check(&Facts { lock: held(10), status: None, ..shown(0) }, Action::Leave);
        check(&Facts { lock: held(100_000), status: None, ..shown(0) }, Action::Note);
        check(&Facts { lock: held(400_000), status: None, ..shown(0) }, Action::Suspect);
        // A status that another process wrote is no sign of this one.
        let other = Sign { pid: 8, written_ms: NOW_MS, stopped: false };
        check(&Facts { status: Some(other), ..shown(0) }, Action::Suspect);
    }

    #[test]
    fn one_that_hangs_is_replaced_when_it_was_found_so_twice() {
        check(&suspected(shown(400_000), 7, 60_000, 400_000), Action::Replace);
        check(&suspected(shown(400_000), 7, 29_999, 400_000), Action::Suspect);
        check(&suspected(shown(400_000), 8, 60_000, 400_000), Action::Suspect);
        // It came to life in between, and hangs again.
        check(&suspected(shown(400_000), 7, 60_000, 800_000), Action::Suspect);
        check(&suspected(shown(10), 7, 60_000, 400_000), Action::Leave);
    }

    #[test]
    fn a_holder_that_says_nothing_that_can_be_believed_is_given_five_minutes() {
        for record in [Record::default(), Record { pid: 7, boot_id: String::from("old"), ..Record::default() }] {
            let pid = record.pid;
            let facts = Facts { lock: Holder::Held(record), status: None, ..shown(0) };
            check(&facts, Action::Suspect);
            check(&suspected(facts.clone(), pid, 300_000, NOW_MS), Action::Suspect);
            check(&suspected(facts.clone(), pid, 300_001, NOW_MS), Action::Replace);
            check(&suspected(facts, pid + 1, 300_001, NOW_MS), Action::Suspect);
        }
    }

    #[test]
    fn only_a_healthy_holder_is_asked_to_hand_over() {
        let other = [
            Facts { program: (1, 3), ..shown(0) },
            Facts { program: (2, 2), ..shown(0) },
            Facts { configuration: 4, ..shown(0) },
        ];
        other.iter().for_each(|facts| check(facts, Action::HandOver));
        check(&Facts { program: (0, 0), ..shown(0) }, Action::Leave);
        check(&Facts { configuration: 4, ..shown(100_000) }, Action::Note);
    }

    #[test]
    fn what_is_remembered_of_one_that_hangs_is_since_when() {
        let facts = shown(400_000);
        let first = facts.suspicion().expect("it is held");
        assert_eq!(first, Suspicion { pid: 7, since_ms: NOW_MS, shown_ms: NOW_MS - 400_000 });
        let again = suspected(facts, 7, 60_000, 400_000);
        assert_eq!(again.suspicion(), again.memory.suspicion, "the first time counts");
        let moved = suspected(shown(400_000), 7, 60_000, 900_000);
        assert_eq!(moved.suspicion(), Some(first));
    }

    fn free(start: Option<Start>, status: Option<Sign>) -> Facts {
        Facts { lock: Holder::Free, status, memory: Memory { start, ..Memory::default() }, ..shown(0) }
    }

    /// The lock is free; the last start was so long ago, after so many crashes, and lived so long.
    #[track_caller]
    fn check_restart(ago_ms: u64, crashes: u32, life_ms: Option<u64>, expected: Action) {
        let start = Start { pid: 9, at_ms: NOW_MS - ago_ms, crashes };
        let status = life_ms.map(|life_ms| Sign { pid: 9, written_ms: start.at_ms + life_ms, stopped: false });
        check(&free(Some(start), status), expected);
    }

    #[test]
    fn what_crashes_five_times_is_started_every_fifth_minute_then_every_fifteenth() {
        check(&free(None, None), Action::Start { crashes: 0 });
        check_restart(60_000, 0, None, Action::Start { crashes: 1 });
        check_restart(60_000, 3, Some(31_000), Action::Start { crashes: 4 });
        check_restart(60_000, 4, None, Action::Brake { crashes: 5 });
        check_restart(240_000, 4, None, Action::Brake { crashes: 5 });
        check_restart(299_500, 4, Some(59_999), Action::Start { crashes: 5 });
        check_restart(299_500, 8, None, Action::Start { crashes: 9 });
        check_restart(299_500, 9, None, Action::Brake { crashes: 10 });
        check_restart(899_500, 9, None, Action::Start { crashes: 10 });
        check_restart(899_500, u32::MAX, None, Action::Start { crashes: u32::MAX });
    }

    #[test]
    fn a_life_of_a_minute_is_no_crash_and_one_of_ten_forgives_all() {
        check_restart(3_600_000, 9, Some(60_000), Action::Start { crashes: 9 });
        check_restart(61_000, 9, Some(60_000), Action::Brake { crashes: 9 });
        check_restart(3_600_000, 9, Some(599_999), Action::Start { crashes: 9 });
        check_restart(700_000, 9, Some(600_000), Action::Start { crashes: 0 });
        let start = Some(Start { pid: 9, at_ms: NOW_MS - 1000, crashes: 9 });
        for pid in [9, 10] {
            let stopped = Sign { pid, written_ms: NOW_MS, stopped: true };
            check(&free(start, Some(stopped)), Action::Start { crashes: 0 });
            let earlier = Sign { written_ms: NOW_MS - 1001, ..stopped };
            check(&free(start, Some(earlier)), Action::Brake { crashes: 10 });
        }
    }

    #[test]
    fn minute_by_minute_a_program_that_aborts_is_started_as_documented() {
        let (mut memory, mut started) = (Memory::default(), Vec::new());
        for minute in 1..=90 {
            // Cron is late by up to a second, never early.
            let now_ms = minute * 60_000 + minute * 613 % 1000;
            let facts = Facts { now_ms, memory: memory.clone(), ..free(None, None) };
            if let Action::Start { crashes } = decide(&facts) {
                memory.start = Some(Start { pid: 9, at_ms: now_ms, crashes });
                started.push(minute);
            }
        }
        assert_eq!(started, [1, 2, 3, 4, 5, 10, 15, 20, 25, 30, 45, 60, 75, 90]);
    }

    #[test]
    fn the_same_cause_is_told_once_an_hour() {
        let mut memory = Memory::default();
        assert!(memory.is_news("start 73", 5));
        assert!(!memory.is_news("start 73", TELL_MS + 4));
        assert!(memory.is_news("brake", 6));
        assert!(memory.is_news("start 73", TELL_MS + 5));
        assert!(!memory.is_news("start 73", TELL_MS + 6));
        for number in 0..100 {
            assert!(memory.is_news(&number.to_string(), 7));
        }
        assert_eq!(memory.told.len(), TOLD_MAX);
    }

    #[test]
    fn what_is_remembered_comes_back_in_this_boot_and_in_no_other() {
        let start = Some(Start { pid: u32::MAX, at_ms: u64::MAX, crashes: 5 });
        let suspicion = Some(Suspicion { pid: 7, since_ms: 8, shown_ms: 9 });
        let mut memory = Memory { boot_id: String::from("boot"), start, suspicion, told: Vec::new() };
        memory.is_news("start 73", 5);
        memory.is_news("brake", 6);
        assert_eq!(Memory::read(&memory.text(), String::from("boot")), memory);
        let empty = |boot_id: &str| Memory { boot_id: String::from(boot_id), ..Memory::default() };
        assert_eq!(Memory::read(&memory.text(), String::from("next")), empty("next"));
        for text in ["", "boot_id boot\nstart 1 2\nsuspicion x 1 2\ntold\ntold x\ntold a b\n"] {
            assert_eq!(Memory::read(text, String::from("boot")), empty("boot"), "{text}");
        }
    }
}

//! When an identity is looked after: a forked child does it (`onboard/renewal.rs`), for it takes keys, TLS and bytes from outside.
//!
//! ```text
//!  Idle ── due ──> Visiting ── the child ends, or its deadline passes: kill ──> Ending ── reaped ──> Idle
//! ```
//!
//! At the start the child only looks; the first heartbeat comes an interval later, then one after each interval, ±12.5 % so that
//! hosts started together do not stay together. The end of a child is a signal, so nothing is polled.

use super::log::Log;
use crate::config::{LogLevel, OmsFiles};
use crate::limits::{RENEWAL_MS_MIN, VISIT_MS_MAX};
use crate::onboard::renewal::{self, Errand, REPORT_BYTES_MAX, Report};
use crate::sys::process::{self, Ended, Pid};
use crate::sys::seccomp::{self, Role};
use crate::sys::{clock, random_bytes};
use crate::upload::fips;
use crate::upload::oms;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ffi::c_int;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

/// How far the child stands back: making a key takes seconds of a small processor.
const NICE_STEPS: c_int = 5;

/// Looks after one identity.
#[derive(Debug)]
pub struct Keeper {
    /// Below the root.
    files: OmsFiles,
    /// `run_interval`, until the service says another.
    interval_ms: u64,
    next_ms: u64,
    errand: Errand,
    /// There is no attempt at a new certificate before then.
    renew_ms: u64,
    /// The last attempt failed.
    in_vain: bool,
    state: State,
    /// For the status file.
    pub story: Story,
    module_broken: bool,
}

#[derive(Debug)]
enum State {
    Idle,
    Visiting { pid: Pid, report: File, deadline_ms: u64 },
    Ending(Pid),
}

/// What an operator is told about an identity.
#[derive(Debug, Default, Clone)]
pub struct Story {
    /// The certificate's file.
    pub certificate: String,
    /// When the certificate ends, in seconds since 1970; 0: not known.
    pub end_unix_s: i64,
    /// When the service last took a heartbeat, by [`clock::boot_ms`]; 0: not since the start.
    pub last_heartbeat_ms: u64,
    /// What is wrong; empty: nothing.
    pub reason: String,
}

impl Keeper {
    /// A keeper of the identity in these files, which are below `root`. `interval_ms`: from one heartbeat to the next.
    pub fn new(root: &Path, files: &OmsFiles, interval_ms: u64, now_ms: u64) -> Keeper {
        let story = Story { certificate: files.certificate.clone(), ..Story::default() };
        Keeper {
            files: oms::below(root, files),
            interval_ms,
            next_ms: now_ms,
            errand: Errand::Look,
            renew_ms: now_ms,
            in_vain: false,
            state: State::Idle,
            story,
            module_broken: false,
        }
    }

    /// The moment at which there is something to do without a signal.
    pub fn deadline_ms(&self) -> Option<u64> {
        match self.state {
            State::Idle => Some(self.next_ms),
            State::Visiting { deadline_ms, .. } => Some(deadline_ms),
            State::Ending(_) => None,
        }
    }

    /// The next visit has this errand.
    pub fn have(&mut self, errand: Errand) {
        self.errand = errand;
    }

    /// When the next visit is due, and from when on a new certificate may be asked for.
    pub fn next(&self) -> (u64, u64) {
        (self.next_ms, self.renew_ms)
    }

    /// A visit is under way.
    pub fn is_busy(&self) -> bool {
        !matches!(self.state, State::Idle)
    }

    /// Takes what a child reported, ends one that is late, starts one that is due. `true`: the status file should say so.
    pub fn turn(&mut self, now_ms: u64, log: &mut Log) -> bool {
        match &mut self.state {
            State::Idle if now_ms >= self.next_ms => {
                self.start(now_ms, log);
                false
            }
            State::Visiting { pid, report, deadline_ms } => {
                let (pid, late) = (*pid, now_ms >= *deadline_ms);
                let ended = process::reap(pid);
                if ended.is_none() && !late {
                    return false;
                }
                let report = read(report).unwrap_or_else(|| {
                    self.module_broken = fips::is_broken_module(ended);
                    Report { reason: lost(ended), ..Report::default() }
                });
                if ended.is_none() {
                    process::kill(pid);
                }
                self.state = if ended.is_some() { State::Idle } else { State::Ending(pid) };
                self.conclude(&report, now_ms, log);
                true
            }
            State::Ending(pid) if process::reap(*pid).is_some() => {
                self.state = State::Idle;
                false
            }
            _ => false,
        }
    }

    /// No request will ever succeed: the agent should end and say so.
    pub fn module_is_broken(&self) -> bool {
        self.module_broken
    }

    fn start(&mut self, now_ms: u64, log: &mut Log) {
        match fork(&self.files, self.errand) {
            Ok((pid, report)) => self.state = State::Visiting { pid, report, deadline_ms: now_ms + VISIT_MS_MAX },
            Err(error) => {
                self.wait(now_ms);
                log.limited(
                    now_ms,
                    LogLevel::Warn,
                    "keeper",
                    format_args!("no child for the topology heartbeat: {error}"),
                );
            }
        }
    }

    fn conclude(&mut self, report: &Report, now_ms: u64, log: &mut Log) {
        if report.interval_s > 0 {
            self.interval_ms = u64::from(report.interval_s) * 1000;
        }
        if report.tried {
            self.renew_ms = now_ms + RENEWAL_MS_MIN;
        }
        let story = &mut self.story;
        if report.end_unix_s > 0 {
            story.end_unix_s = report.end_unix_s;
        }
        if report.taken {
            story.last_heartbeat_ms = clock::boot_ms();
            log.line(LogLevel::Debug, format_args!("the service took a topology heartbeat"));
        }
        if report.renewed {
            let end = renewal::day_text(report.end_unix_s);
            log.line(LogLevel::Info, format_args!("{} was renewed; it ends on {end}", story.certificate));
        }
        // That the last attempt failed stays true until the next.
        let stays = self.in_vain && report.reason.is_empty() && self.errand == Errand::Beat;
        self.in_vain = stays || (report.tried && !report.reason.is_empty());
        // What lasts is said once.
        if report.reason != story.reason && !stays {
            match report.reason.as_str() {
                "" => log.line(
                    LogLevel::Info,
                    format_args!("the certificate and its topology heartbeat are in order again"),
                ),
                reason => log.line(LogLevel::Warn, format_args!("topology heartbeat: {reason}")),
            }
            story.reason.clone_from(&report.reason);
        }
        self.wait(now_ms);
    }

    /// Until the next visit, 7/8 to 9/8 of the interval from now.
    fn wait(&mut self, now_ms: u64) {
        let mut chance = [0; 4];
        // Without chance the schedule is still a schedule.
        let _ = random_bytes(&mut chance);
        let interval_ms = self.interval_ms;
        let spread = u64::from(u32::from_le_bytes(chance)) * (interval_ms / 4) / u64::from(u32::MAX);
        self.next_ms = now_ms + interval_ms - interval_ms / 8 + spread;
        self.errand = if self.next_ms < self.renew_ms { Errand::Beat } else { Errand::BeatAndRenew };
    }
}

/// A child on its way is ended: a new configuration may mean other files. Whatever it was doing can be done again.
impl Drop for Keeper {
    fn drop(&mut self) {
        if let State::Visiting { pid, .. } | State::Ending(pid) = self.state {
            process::kill_and_reap(pid);
        }
    }
}

fn fork(files: &OmsFiles, errand: Errand) -> io::Result<(Pid, File)> {
    process::fork_to_tell(|report| {
        process::yield_priority(NICE_STEPS);
        if seccomp::narrow(Role::Identity).is_err() {
            return;
        }
        // A report fits the pipe: this never waits.
        let _ = report.write_all(&renewal::visit(files, errand).encode());
    })
}

/// What became of a child that wrote no report; `None`: it is late.
fn lost(ended: Option<Ended>) -> String {
    if fips::is_broken_module(ended) {
        return String::from("the FIPS module failed in the child (SIGABRT): the program or host is damaged");
    }
    let cause = ended.map_or_else(|| String::from("it took too long"), |ended| ended.to_string());
    format!("the child that looks after the certificate was lost: {cause}")
}

/// The report of a child, if it wrote one.
fn read(report: &mut File) -> Option<Report> {
    let mut bytes = Vec::new();
    let mut part = [0; REPORT_BYTES_MAX];
    while let Ok(count @ 1..) = report.read(&mut part) {
        bytes.extend_from_slice(&part[..count]);
        if bytes.len() > REPORT_BYTES_MAX {
            return None;
        }
    }
    Report::decode(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LogLevel;

    fn keeper(interval_ms: u64) -> (Keeper, Log) {
        (Keeper::new(Path::new("/nonexistent"), &OmsFiles::default(), interval_ms, 0), Log::new(LogLevel::Fatal))
    }

    #[test]
    fn visits_come_an_eighth_around_the_interval() {
        let (mut keeper, mut log) = keeper(800);
        assert_eq!(keeper.deadline_ms(), Some(0), "the first look is at once");
        let mut found = Vec::new();
        for _ in 0..1000 {
            keeper.conclude(&Report::default(), 10_000, &mut log);
            found.push(keeper.next_ms);
        }
        assert!(found.iter().all(|next| (10_700..=10_900).contains(next)), "{found:?}");
        assert!(found.iter().any(|next| *next < 10_750) && found.iter().any(|next| *next > 10_850));
        keeper.conclude(&Report { interval_s: 60, ..Report::default() }, 0, &mut log);
        assert!((52_500..=67_500).contains(&keeper.next_ms), "as the service wants it");
    }

    #[test]
    fn a_new_certificate_is_tried_for_once_an_hour() {
        let (mut keeper, mut log) = keeper(1000);
        assert_eq!(keeper.errand, Errand::Look);
        keeper.conclude(&Report::default(), 0, &mut log);
        assert_eq!(keeper.errand, Errand::BeatAndRenew);
        keeper.conclude(&Report { tried: true, ..Report::default() }, 0, &mut log);
        assert_eq!(keeper.errand, Errand::Beat);
        keeper.conclude(&Report::default(), RENEWAL_MS_MIN - 2000, &mut log);
        assert_eq!(keeper.errand, Errand::Beat);
        keeper.conclude(&Report::default(), RENEWAL_MS_MIN, &mut log);
        assert_eq!(keeper.errand, Errand::BeatAndRenew);
    }

    #[test]
    fn how_a_lost_child_ended_is_told() {
        let told = |ended, words| assert!(lost(ended).ends_with(words), "{}", lost(ended));
        told(None, "was lost: it took too long");
        told(Some(Ended::Exited(1)), "was lost: exit code 1");
        told(Some(Ended::Killed(9)), "was lost: signal 9");
        let aborted = if cfg!(feature = "fips") { "damaged" } else { "was lost: signal 6" };
        told(Some(Ended::Killed(process::SIGABRT)), aborted);
    }

    #[test]
    fn a_failed_attempt_is_told_until_the_next() {
        let (mut keeper, mut log) = keeper(1000);
        let failed = Report { tried: true, reason: String::from("no"), ..Report::default() };
        keeper.conclude(&failed, 0, &mut log);
        keeper.conclude(&Report { taken: true, ..Report::default() }, 1000, &mut log);
        assert_eq!(keeper.story.reason, "no");
        keeper.conclude(&Report { reason: String::from("no network"), ..Report::default() }, 2000, &mut log);
        assert_eq!(keeper.story.reason, "no network");
        keeper.errand = Errand::BeatAndRenew;
        keeper.conclude(&Report { taken: true, ..Report::default() }, RENEWAL_MS_MIN, &mut log);
        assert_eq!(keeper.story.reason, "");
    }
}

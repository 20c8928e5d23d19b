//! `run.alive`, `run.supervised`, `run.errors`, `net.last`: the agent that runs, who starts it, and what it says of itself.

use super::{Finding, Scene, Tell, proc};
use crate::agent::lock::Holder;
use crate::agent::status::{STOPPED, Status, StreamStatus, span};
use crate::host::init;
use crate::host::manifest::Manifest;
use crate::host::service::UNITS;
use crate::limits::{STATUS_FRESH_MS, STATUS_STALE_MS};
use crate::syslog::iso8601;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// What to do if nothing runs.
const START: &str = "start it: omsd service start, or omsd run";

/// Who has the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Held {
    Free,
    By(u32),
    Hidden(String),
}

/// What the status file says.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    /// It was written so many milliseconds ago, in this boot, by this process.
    Ago(u64, u32),
    /// By an agent that stopped then.
    Stopped,
    /// In another boot.
    Before,
    /// It cannot be read.
    Nothing(String),
}

pub(super) fn alive(scene: &Scene, tell: Tell) {
    let held = match &scene.holder {
        Ok(Holder::Free) => Held::Free,
        Ok(Holder::Held(record)) => Held::By(record.pid),
        Err(error) => Held::Hidden(error.to_string()),
    };
    let told = match &scene.status {
        Err(error) => Told::Nothing(error.to_string()),
        Ok(status) if !status.is_of_this_boot() => Told::Before,
        Ok(status) if status.state == STOPPED => Told::Stopped,
        Ok(status) => Told::Ago(status.age_ms(), status.pid),
    };
    let written_s = scene.status.as_ref().map_or(u64::MAX, |status| status.age_ms() / 1000);
    tell(judge_alive(&held, &told, is_one_shot(scene).then_some(written_s)));
}

/// Whether cron starts one run after the other.
fn is_one_shot(scene: &Scene) -> bool {
    CRON_FILES.iter().any(|path| proc::text(&scene.paths.place(path)).is_ok_and(|text| text.contains("run --once")))
}

/// `one_shot_s`: cron starts runs that end, the last status is so old.
fn judge_alive(held: &Held, told: &Told, one_shot_s: Option<u64>) -> Finding {
    const ID: &str = "run.alive";
    const REPLACE: &str = "omsd run --ensure replaces it; by hand: end that process and start omsd";
    match (held, told) {
        (Held::Free, Told::Stopped) if one_shot_s.is_some_and(|s| s * 1000 <= STATUS_STALE_MS) => {
            Finding::pass(ID, format!("the last run ended {} ago", span(one_shot_s.unwrap_or(0))))
        }
        (Held::Free, Told::Nothing(_)) => Finding::fail(ID, "no agent runs", START),
        (Held::Free, _) => Finding::fail(ID, "no agent runs; omsd status has the last one's", START),
        (Held::Hidden(_), Told::Ago(age_ms, pid)) if *age_ms <= STATUS_FRESH_MS => {
            Finding::pass(ID, format!("process {pid}, by its status {} old", span(age_ms / 1000)))
        }
        (Held::Hidden(_), Told::Stopped) => Finding::fail(ID, "it has stopped", START),
        (Held::Hidden(why), _) => Finding::skip(ID, format!("the lock cannot be read: {why}")),
        (Held::By(pid), Told::Ago(age_ms, _)) => {
            let text = format!(
                "process {pid}, last heard of {} ago (limit {} s)",
                span(age_ms / 1000),
                STATUS_FRESH_MS / 1000
            );
            match *age_ms {
                ..=STATUS_FRESH_MS => Finding::pass(ID, text),
                age_ms if age_ms <= STATUS_STALE_MS => {
                    Finding::warn(ID, text, "wait a minute; if it stays: omsd status")
                }
                _ => Finding::fail(ID, text, REPLACE),
            }
        }
        (Held::By(pid), Told::Stopped) => {
            Finding::warn(ID, format!("process {pid} is about to stop or to start"), "wait a moment")
        }
        (Held::By(pid), Told::Before) => {
            Finding::fail(ID, format!("process {pid} has the lock, but never wrote a status in this boot"), REPLACE)
        }
        (Held::By(pid), Told::Nothing(why)) => {
            Finding::warn(ID, format!("process {pid} has the lock; its status cannot be read: {why}"), "wait a moment")
        }
    }
}

/// Who could start the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Supervisor {
    /// The file that says so.
    path: String,
    /// What is wrong with it; empty: nothing.
    problem: String,
    /// Who reads it, if that does not run.
    absent: &'static str,
}

/// Cron's files of ours.
const CRON_FILES: [&str; 4] =
    ["/etc/cron.d/omsd", "/var/spool/cron/crontabs/root", "/var/spool/cron/root", "/etc/crontabs/root"];

pub(super) fn supervised(scene: &Scene, tell: Tell) {
    let parent = scene.agent().and_then(|pid| match pid {
        1 => Some("a container, as its first process".to_string()),
        pid => proc::name_of(proc::parent_of(pid)?).filter(|name| SUPERVISORS.contains(&name.as_str())),
    });
    let all = supervisors(scene);
    let is_meant = Manifest::load(&scene.root).is_ok_and(|manifest| manifest.mode() == Some("none"));
    tell(match all.is_empty() && parent.is_none() && is_meant {
        true => Finding::skip("run.supervised", "installed with --mode none: something else starts it"),
        false => judge_supervised(&all, parent.as_deref()),
    });
}

/// Programs that start others again and need no file of ours.
const SUPERVISORS: [&str; 10] = [
    "runsv",
    "s6-supervise",
    "supervise",
    "supervisord",
    "monit",
    "tini",
    "dumb-init",
    "docker-init",
    "containerd-shim",
    "perpd",
];

fn supervisors(scene: &Scene) -> Vec<Supervisor> {
    let place = |path: &str| scene.paths.place(path);
    let is_there = |path: &str| place(path).symlink_metadata().is_ok();
    let links = |directory: &str, wanted: &str| {
        let entries = fs::read_dir(place(directory)).into_iter().flatten().flatten();
        entries.into_iter().any(|entry| entry.file_name().to_string_lossy().ends_with(wanted))
    };
    let mut all = Vec::new();
    let mut add = |path: &str, problem: &str, absent| {
        all.push(Supervisor { path: path.to_string(), problem: problem.to_string(), absent });
    };
    let unless = |is_well: bool, text: &'static str| if is_well { "" } else { text };
    if let Some(unit) = UNITS.iter().find(|unit| is_there(unit)) {
        let is_enabled = links("/etc/systemd/system/multi-user.target.wants", "omsd.service");
        add(unit, unless(is_enabled, "it is not enabled"), unless(is_there("/run/systemd/system"), "systemd"));
    }
    let script = "/etc/init.d/omsd";
    if is_there(script) {
        let levels = init::runlevels(&scene.root).unwrap_or("/etc");
        let in_levels = ["2", "3", "4", "5"].iter().any(|level| links(&format!("{levels}/rc{level}.d"), "omsd"));
        let in_runlevel = ["default", "boot"].iter().any(|level| links(&format!("/etc/runlevels/{level}"), "omsd"));
        add(script, unless(in_levels || in_runlevel, "it is in no runlevel"), "");
    }
    let job = "/etc/init/omsd.conf";
    if is_there(job) {
        add(job, "", "");
    }
    for path in CRON_FILES {
        let Ok(text) = proc::text(&place(path)) else { continue };
        if text.contains("omsd run --") {
            let is_ours = path == CRON_FILES[0];
            add(path, if is_ours { cron_problem(scene, path, &text) } else { "" }, unless(cron_runs(), "cron"));
        }
    }
    all
}

/// Why cron passes over a file in `/etc/cron.d`, in silence.
fn cron_problem(scene: &Scene, path: &str, text: &str) -> &'static str {
    match fs::metadata(scene.paths.place(path)) {
        Ok(found) if found.mode() & 0o022 != 0 => "others may write to it, so cron ignores it",
        Ok(found) if found.uid() != 0 => "it is not root's, so cron ignores it",
        _ if !text.ends_with('\n') => "its last line has no end, so cron may ignore it",
        _ => "",
    }
}

fn cron_runs() -> bool {
    proc::processes()
        .iter()
        .any(|process| ["cron", "crond", "fcron", "dcron", "bcron-sched"].contains(&process.name.as_str()))
}

fn judge_supervised(all: &[Supervisor], parent: Option<&str>) -> Finding {
    const ID: &str = "run.supervised";
    const INSTALL: &str = "omsd install";
    match (all, parent) {
        ([], Some(parent)) => Finding::pass(ID, format!("started by {parent}")),
        ([], None) => Finding::fail(
            ID,
            "nothing starts omsd again: no unit, init script or cron line of ours",
            "omsd install, or omsd install --mode cron",
        ),
        ([one], _) if !one.problem.is_empty() => Finding::fail(
            ID,
            format!("{}: {}", one.path, one.problem),
            format!("omsd service enable, or once more: {INSTALL}"),
        ),
        ([one], _) if !one.absent.is_empty() => Finding::fail(
            ID,
            format!("{} is there, but {} does not run", one.path, one.absent),
            format!("start {}", one.absent),
        ),
        ([one], _) => Finding::pass(ID, one.path.as_str()),
        ([one, other, ..], _) => Finding::warn(
            ID,
            format!("two would start it: {} and {}", one.path, other.path),
            format!("remove one; {INSTALL} makes no more than one"),
        ),
    }
}

pub(super) fn errors(scene: &Scene, tell: Tell) {
    tell(match &scene.status {
        Ok(status) => judge_errors(status, status.now_us()),
        Err(error) => Finding::skip("run.errors", format!("no status: {error}")),
    });
}

fn judge_errors(status: &Status, now_us: u64) -> Finding {
    const ID: &str = "run.errors";
    const DAY_US: u64 = 24 * 60 * 60 * 1_000_000;
    let mut lines: Vec<String> = Vec::new();
    let is_recent = |moment: &str| unix_us(moment).is_some_and(|us| now_us.saturating_sub(us) <= DAY_US);
    if let Some(last) = status.last_loss.as_deref().filter(|last| is_recent(last)) {
        lines.push(format!("records were lost, last seen at {last}: omsd status has how many and why"));
    }
    for identity in status.identities.iter().filter(|identity| !identity.reason.is_empty()) {
        lines.push(format!("{}: {}", identity.certificate, identity.reason));
    }
    match lines.as_slice() {
        [] => Finding::pass(ID, "nothing was lost in the last 24 hours"),
        [first, more @ ..] => Finding::warn(ID, first, "read omsd's own log").with(more.to_vec()),
    }
}

/// A moment as the status file writes it; `None` for an empty one.
fn unix_us(moment: &str) -> Option<u64> {
    iso8601::unix_us(moment).and_then(|us| u64::try_from(us).ok())
}

/// How one destination does.
struct Delivery<'a> {
    name: &'a str,
    /// Since the last success; `None`: none since the start.
    success_s: Option<u64>,
    /// Why the last attempt failed, if it came after the last success.
    failure: Option<&'a str>,
    waiting: u64,
    /// Streams that are put off.
    late: Vec<String>,
    /// Since the agent started.
    up_s: u64,
    /// Something is due at least this often; `None`: nothing need ever be sent.
    interval_s: Option<u64>,
}

pub(super) fn last_upload(scene: &Scene, tell: Tell) {
    const ID: &str = "net.last";
    let status = match &scene.status {
        Ok(status) if status.is_of_this_boot() && status.state != STOPPED => status,
        _ => return tell(Finding::skip(ID, "needs run.alive")),
    };
    scene.configured(&[ID], tell, |config, tell| {
        // The file is up to 30 s old: what counts is how things stood when it was written.
        let written_us = unix_us(&status.written).unwrap_or(0);
        let since = |moment: &str| unix_us(moment).map(|us| written_us.saturating_sub(us) / 1_000_000);
        let flush_ms = config.targets.iter().map(|target| target.sending.flush_ms).max().unwrap_or(0);
        let late = |stream: &StreamStatus| {
            let StreamStatus { name, attempts, next_attempt_in_s, .. } = stream;
            format!("{name}: {attempts} failures in a row, next attempt in {next_attempt_in_s} s")
        };
        for (name, upload, streams) in status.destinations() {
            tell(judge_delivery(&Delivery {
                name,
                success_s: since(&upload.last_success),
                failure: Some(upload.last_reason.as_str()).filter(|_| upload.last_failure > upload.last_success),
                waiting: streams.iter().map(|stream| stream.pending).sum(),
                late: streams.iter().filter(|stream| stream.attempts > 0).map(late).collect(),
                up_s: since(&status.started).unwrap_or(0),
                interval_s: config.heartbeat_ms.map(|ms| ms.max(flush_ms).div_ceil(1000)),
            }));
        }
    });
}

fn judge_delivery(delivery: &Delivery) -> Finding {
    const ID: &str = "net.last";
    const LOOK: &str = "the checks net.* say where the way ends; kill -USR1 the process to try at once";
    let Delivery { name, success_s, failure, waiting, late, up_s, interval_s } = delivery;
    let last = success_s.map_or_else(|| "none since the start".to_string(), |s| format!("{} ago", span(s)));
    let text = format!("{name}: last upload {last}, {waiting} records wait");
    // Until then nothing is late.
    let due_s = 3 * interval_s.unwrap_or(20);
    let quiet_s = success_s.unwrap_or(*up_s);
    match failure {
        Some(reason) if quiet_s > due_s => Finding::fail(ID, format!("{text}: {reason}"), LOOK),
        Some(reason) => Finding::warn(ID, format!("{text}: {reason}"), LOOK),
        None if !late.is_empty() => Finding::warn(ID, text, LOOK),
        None if quiet_s > due_s && (interval_s.is_some() || *waiting > 0) => Finding::fail(ID, text, LOOK),
        None if success_s.is_none() => Finding::skip(ID, format!("{text}; it runs for {}", span(*up_s))),
        None => Finding::pass(ID, text),
    }
    .with(late.clone())
}

#[cfg(test)]
mod tests {
    use super::super::Grade;
    use super::*;

    #[test]
    fn lock_and_status_together_say_whether_it_lives() {
        let hidden = || Held::Hidden("denied".into());
        let nothing = || Told::Nothing("not found".into());
        for (held, told, one_shot, expected, part) in [
            (Held::Free, nothing(), None, Grade::Fail, "no agent runs"),
            (Held::Free, Told::Stopped, None, Grade::Fail, "no agent runs"),
            (Held::Free, Told::Stopped, Some(60), Grade::Pass, "1 min 0 s ago"),
            (Held::Free, Told::Stopped, Some(3600), Grade::Fail, "no agent runs"),
            (Held::By(7), Told::Ago(90_000, 7), None, Grade::Pass, "process 7"),
            (Held::By(7), Told::Ago(95_000, 7), None, Grade::Warn, "1 min 35 s ago (limit 90 s)"),
            (Held::By(7), Told::Ago(300_001, 7), None, Grade::Fail, "process 7"),
            (Held::By(7), Told::Before, None, Grade::Fail, "this boot"),
            (Held::By(7), Told::Stopped, None, Grade::Warn, "about to"),
            (Held::By(7), nothing(), None, Grade::Warn, "not found"),
            (hidden(), Told::Ago(10, 8), None, Grade::Pass, "process 8"),
            (hidden(), Told::Stopped, None, Grade::Fail, "stopped"),
            (hidden(), nothing(), None, Grade::Skip, "denied"),
        ] {
            let found = judge_alive(&held, &told, one_shot);
            assert!(found.result == expected && found.text.contains(part), "{held:?} {told:?}: {found:?}");
            assert_eq!(found.fix.is_empty(), matches!(expected, Grade::Pass | Grade::Skip), "{found:?}");
        }
    }

    #[test]
    fn one_supervisor_that_works_is_enough_and_two_are_too_many() {
        let by = |path: &str, problem: &str, absent| Supervisor { path: path.into(), problem: problem.into(), absent };
        let unit = || by("/u", "", "");
        for (all, parent, expected, part) in [
            (Vec::new(), None, Grade::Fail, "nothing starts"),
            (Vec::new(), Some("runsv"), Grade::Pass, "runsv"),
            (Vec::from([unit()]), None, Grade::Pass, "/u"),
            (Vec::from([by("/u", "it is not enabled", "")]), None, Grade::Fail, "not enabled"),
            (Vec::from([by("/c", "", "cron")]), None, Grade::Fail, "cron does not run"),
            (Vec::from([unit(), by("/c", "", "")]), None, Grade::Warn, "/u and /c"),
        ] {
            let found = judge_supervised(&all, parent);
            assert!(found.result == expected && found.text.contains(part), "{found:?}");
            assert_eq!(found.fix.is_empty(), expected == Grade::Pass, "{found:?}");
        }
    }

    #[test]
    fn an_upload_is_late_after_three_intervals() {
        let delivery = |success_s, failure, waiting, interval_s| Delivery {
            name: "out_oms",
            success_s,
            failure,
            waiting,
            late: Vec::new(),
            up_s: 100,
            interval_s,
        };
        for (delivery, expected) in [
            (delivery(Some(180), None, 0, Some(60)), Grade::Pass),
            (delivery(Some(181), None, 0, Some(60)), Grade::Fail),
            (delivery(Some(1_000), None, 0, None), Grade::Pass),
            (delivery(Some(1_000), None, 5, None), Grade::Fail),
            (delivery(Some(10), Some("503"), 5, Some(60)), Grade::Warn),
            (delivery(Some(190), Some("503"), 5, Some(60)), Grade::Fail),
            (delivery(None, None, 0, Some(60)), Grade::Skip),
            (delivery(None, None, 0, Some(20)), Grade::Fail),
            (delivery(None, None, 0, None), Grade::Skip),
            (Delivery { late: Vec::from(["syslog".into()]), ..delivery(Some(1), None, 1, None) }, Grade::Warn),
        ] {
            let found = judge_delivery(&delivery);
            assert_eq!(found.result, expected, "{found:?}");
        }
    }
}

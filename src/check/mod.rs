//! `omsd check`: what is right, wrong or not to be seen on this host, a finding for each check.
//!
//! ```text
//!  Scene: configuration, status, lock ──> a forked child for each look: gather facts ─> judge ──> pipe ──> findings, in order
//! ```
//!
//! Each file has looks of one kind. A look gathers facts and leaves the verdict to a function that sees only these. It changes
//! nothing, except that `syslog.loop` sends one message. It runs in a child with a deadline: a file system that hangs, a name
//! server that is silent or a library that aborts costs its own finding and no other.

pub mod archive;
mod configuration;
mod identity;
mod network;
mod proc;
mod program;
mod running;
mod state;
mod syslog;
mod system;

use crate::agent::lock::{self, Holder};
use crate::agent::log::Log;
use crate::agent::paths::{self, Paths};
use crate::agent::{self, Settings, status};
use crate::config::files::HostFiles;
use crate::config::{self, Config, Diagnostic, LogLevel};
use crate::limits::{CHECK_LOOK_MS_MAX, CHECK_LOOP_MS_MAX, CHECK_MS_MAX, CHECK_WAY_MS_MAX};
use crate::sys::poll::{PollFd, READABLE, poll};
use crate::sys::{clock, process};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use miniserde::{Deserialize, Serialize, json};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// How a check went; the worst of all is the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Grade {
    /// As it should be.
    #[serde(rename = "pass")]
    Pass,
    /// Worth a ticket.
    #[serde(rename = "warn")]
    Warn,
    /// Does not work.
    #[serde(rename = "fail")]
    Fail,
    /// Could not be seen, does not apply, or needs another check to pass first.
    #[serde(rename = "skip")]
    Skip,
}

/// What a check found. The members are those of a line of `--json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Which check; never changes its meaning.
    pub id: String,
    /// How it went.
    pub result: Grade,
    /// One line for a person.
    pub text: String,
    /// More lines, where one does not say it all.
    pub details: Vec<String>,
    /// What to do; empty if there is nothing to do.
    pub fix: String,
}

impl Finding {
    fn new(id: &str, result: Grade, text: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding { id: id.to_string(), result, text: text.into(), details: Vec::new(), fix: fix.into() }
    }

    fn pass(id: &str, text: impl Into<String>) -> Finding {
        Finding::new(id, Grade::Pass, text, "")
    }

    fn warn(id: &str, text: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding::new(id, Grade::Warn, text, fix)
    }

    fn fail(id: &str, text: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding::new(id, Grade::Fail, text, fix)
    }

    fn skip(id: &str, reason: impl Into<String>) -> Finding {
        Finding::new(id, Grade::Skip, reason, "")
    }

    fn with(self, details: Vec<String>) -> Finding {
        Finding { details, ..self }
    }

    /// `PASS id  text`, its details, and what to do.
    pub fn describe(&self) -> String {
        let mark = match self.result {
            Grade::Pass => "PASS",
            Grade::Warn => "WARN",
            Grade::Fail => "FAIL",
            Grade::Skip => "SKIP",
        };
        let mut text = format!("{mark} {:14} {}\n", self.id, self.text);
        self.details.iter().for_each(|line| text.push_str(&format!("     {line}\n")));
        if !self.fix.is_empty() {
            text.push_str(&format!("     fix: {}\n", self.fix));
        }
        text
    }
}

/// Takes what a look finds.
type Tell<'a> = &'a mut dyn FnMut(Finding);

/// Looks that are one piece of work: the checks it answers, the time it has, and how it is done.
struct Look {
    ids: &'static [&'static str],
    kind: Kind,
    limit_ms: u64,
    look: fn(&Scene, Tell),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Sees nothing but this host.
    Quiet,
    /// Talks to the service.
    Online,
    /// Sends a message through the syslog daemon.
    Active,
}

/// Every check, in the order in which one needs the other: the first failure from the top is the cause.
const LOOKS: [Look; 16] = [
    quiet(&["bin.self"], program::look),
    quiet(&["cfg.parse"], configuration::look),
    quiet(&["id.files"], identity::files),
    quiet(&["id.key"], identity::keys),
    quiet(&["id.ids"], identity::ids),
    quiet(&["state.dir"], state::directory),
    quiet(&["state.ring"], state::ring),
    quiet(&["run.alive"], running::alive),
    quiet(&["run.supervised"], running::supervised),
    quiet(&["run.errors"], running::errors),
    Look { ids: &network::IDS, kind: Kind::Online, limit_ms: CHECK_WAY_MS_MAX, look: network::look },
    quiet(&["net.last"], running::last_upload),
    quiet(&["syslog.listen"], syslog::listen),
    quiet(&["syslog.rule"], syslog::rule),
    Look { ids: &["syslog.loop"], kind: Kind::Active, limit_ms: CHECK_LOOP_MS_MAX + 1000, look: syslog::round_trip },
    quiet(&["sys.limits", "sys.mac", "sys.sandbox", "sys.fips", "sys.old"], system::look),
];

const fn quiet(ids: &'static [&'static str], look: fn(&Scene, Tell)) -> Look {
    Look { ids, kind: Kind::Quiet, limit_ms: CHECK_LOOK_MS_MAX, look }
}

/// All ids, in order.
pub fn ids() -> impl Iterator<Item = &'static str> {
    LOOKS.iter().flat_map(|look| look.ids.iter().copied())
}

/// What the command line asks for.
#[derive(Debug, Default)]
pub struct Wanted {
    /// These checks, or all whose id begins with one and a dot; empty: all that the other two let through.
    pub ids: Vec<String>,
    /// Nothing that talks to the service.
    pub offline: bool,
    /// `syslog.loop`, too.
    pub active: bool,
}

impl Wanted {
    fn has(&self, id: &str, kind: Kind) -> bool {
        match self.ids.as_slice() {
            [] => {
                kind == Kind::Quiet || (kind == Kind::Online && !self.offline) || (kind == Kind::Active && self.active)
            }
            ids => ids.iter().any(|wanted| is_meant(wanted, id)) && !(kind == Kind::Online && self.offline),
        }
    }
}

/// Whether a word of the command line means this check: its id, or what is in front of the dot.
pub fn is_meant(wanted: &str, id: &str) -> bool {
    id.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// What every look begins with.
#[derive(Debug)]
pub struct Scene {
    root: PathBuf,
    paths: Paths,
    /// The configuration's file; `None`: there is none, what is built in counts.
    file: Option<PathBuf>,
    /// `None`: it has errors.
    config: Option<Config>,
    diagnostics: Vec<Diagnostic>,
    holder: io::Result<Holder>,
    status: io::Result<status::Status>,
    now_us: u64,
}

impl Scene {
    /// Reads configuration, lock and status of the installation below `root`. `file`: a configuration in place of the installed one.
    pub fn new(root: &Path, file: Option<PathBuf>) -> Scene {
        let paths = Paths::below(root);
        let file = file.or_else(|| Some(paths.place(paths::CONFIG)).filter(|installed| installed.exists()));
        let (diagnostics, is_good) = match &file {
            None => (Vec::new(), true),
            Some(path) => match config::parse(&mut HostFiles::new(root), &path.to_string_lossy()) {
                Ok((_, warnings)) => (warnings, true),
                Err(errors) => (errors, false),
            },
        };
        let settings = Settings { root: root.into(), config: file.clone(), demo: false, verbose: false, once: None };
        // With the names that the running agent gives its destinations.
        let loaded = if is_good { agent::load(&settings, &paths, &Log::new(LogLevel::Fatal)) } else { None };
        let config = loaded.map(|(config, _)| config);
        let holder = lock::holder(&paths);
        let status = status::read(&paths).map(|(_, status)| status);
        Scene { root: root.into(), paths, file, config, diagnostics, holder, status, now_us: clock::wall_us() }
    }

    /// Hands the configuration to a judgement that needs one.
    fn configured(&self, ids: &[&str], tell: Tell, judge: impl FnOnce(&Config, Tell)) {
        match &self.config {
            Some(config) => judge(config, tell),
            None => ids.iter().for_each(|id| tell(Finding::skip(id, "needs cfg.parse"))),
        }
    }

    /// The configuration that is in force; `None`: it has errors.
    pub fn config(&self) -> Option<&Config> {
        self.config.as_ref()
    }

    /// Its file; `None`: there is none, what is built in counts.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The running agent's process, if it can be known.
    pub fn agent(&self) -> Option<u32> {
        match (&self.holder, &self.status) {
            (Ok(Holder::Held(record)), _) if record.pid > 0 => Some(record.pid),
            (Ok(Holder::Free), _) => None,
            (_, Ok(status)) if status.is_alive() => Some(status.pid),
            _ => None,
        }
    }

    fn now_unix_s(&self) -> i64 {
        i64::try_from(self.now_us / 1_000_000).unwrap_or(0)
    }
}

/// Runs what is wanted and hands on each finding as it comes.
pub fn run(scene: &Scene, wanted: &Wanted, mut tell: impl FnMut(&Finding)) {
    let deadline_ms = clock::monotonic_ms() + CHECK_MS_MAX;
    for look in &LOOKS {
        let ids: Vec<&str> = look.ids.iter().copied().filter(|id| wanted.has(id, look.kind)).collect();
        if ids.is_empty() {
            continue;
        }
        let limit_ms = look.limit_ms.min(deadline_ms.saturating_sub(clock::monotonic_ms()));
        let (mut found, trouble) = in_child(scene, look, limit_ms);
        found.retain(|finding| ids.contains(&finding.id.as_str()));
        let mut missing: Vec<&str> = ids;
        missing.retain(|id| found.iter().all(|finding| finding.id != *id));
        found.iter().for_each(&mut tell);
        for id in &missing {
            let (text, fix) = trouble.describe(limit_ms);
            tell(&match missing[0] == *id {
                true => Finding::fail(id, text, fix),
                false => Finding::skip(id, format!("needs {}", missing[0])),
            });
        }
    }
}

/// Why a look did not find all it should.
#[derive(Debug)]
enum Trouble {
    /// It was not done in its time.
    Late,
    /// It ended before.
    Lost,
    /// It could not begin.
    NoProcess(io::Error),
}

impl Trouble {
    /// What it was, and what to do.
    fn describe(&self, limit_ms: u64) -> (String, &'static str) {
        match self {
            Trouble::Late => (
                format!("no answer within {} s", limit_ms.div_ceil(1000)),
                "a file system, name server or network hangs; see dmesg, then run this check alone",
            ),
            Trouble::Lost => (
                "it broke off".to_string(),
                "a defect of omsd or of this host: please report it, with what omsd collect-logs makes",
            ),
            Trouble::NoProcess(error) => {
                (format!("no process for it: {error}"), "raise the limit of processes, or free memory")
            }
        }
    }
}

/// Does a look in a child: what it told until its end or its limit, and why it may lack something.
fn in_child(scene: &Scene, look: &Look, limit_ms: u64) -> (Vec<Finding>, Trouble) {
    let until_ms = clock::monotonic_ms() + limit_ms;
    let started = process::fork_to_tell(|pipe| {
        (look.look)(scene, &mut |finding| {
            let _ = pipe.write_all((json::to_string(&finding) + "\n").as_bytes());
        });
    });
    let (pid, mut pipe) = match started {
        Ok(started) => started,
        Err(error) => return (Vec::new(), Trouble::NoProcess(error)),
    };
    let text = read_until(&mut pipe, until_ms);
    let trouble = if clock::monotonic_ms() >= until_ms { Trouble::Late } else { Trouble::Lost };
    // One that hangs in the kernel ends when that lets it; nobody waits for it.
    process::kill(pid);
    process::reap(pid);
    (String::from_utf8_lossy(&text).lines().filter_map(|line| json::from_str(line).ok()).collect(), trouble)
}

/// What comes out of a pipe until its end or this moment.
fn read_until(pipe: &mut File, until_ms: u64) -> Vec<u8> {
    let mut text = Vec::new();
    let mut part = [0; 4096];
    loop {
        match pipe.read(&mut part) {
            Ok(0) => return text,
            Ok(count) => text.extend_from_slice(&part[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let left_ms = until_ms.saturating_sub(clock::monotonic_ms());
                let mut set = [PollFd { fd: pipe.as_raw_fd(), events: READABLE, revents: 0 }];
                if left_ms == 0 || poll(&mut set, Some(left_ms)).is_err() {
                    return text;
                }
            }
            Err(_) => return text,
        }
    }
}

/// How many went how.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Sum {
    passed: usize,
    warned: usize,
    failed: usize,
    skipped: usize,
}

impl Sum {
    /// Counts one more.
    pub fn add(&mut self, grade: Grade) {
        match grade {
            Grade::Pass => self.passed += 1,
            Grade::Warn => self.warned += 1,
            Grade::Fail => self.failed += 1,
            Grade::Skip => self.skipped += 1,
        }
    }

    /// Exit code as of a monitoring plug-in: 0 all passed, 1 a warning, 2 a failure, 3 nothing could be checked.
    pub fn exit_code(&self) -> u8 {
        match self {
            Sum { failed: 1.., .. } => 2,
            Sum { warned: 1.., .. } => 1,
            Sum { passed: 1.., .. } => 0,
            _ => 3,
        }
    }

    /// One line.
    pub fn describe(&self) -> String {
        let not_passed = self.warned + self.failed;
        format!("{not_passed} not passed, {} skipped, {} passed\n", self.skipped, self.passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn the_worst_finding_is_the_exit_code() {
        use Grade::{Fail, Pass, Skip, Warn};
        for (grades, expected) in
            [(&[Pass, Skip][..], 0), (&[Pass, Warn, Skip], 1), (&[Warn, Fail, Pass], 2), (&[Skip, Skip], 3), (&[], 3)]
        {
            let mut sum = Sum::default();
            grades.iter().for_each(|&grade| sum.add(grade));
            assert_eq!(sum.exit_code(), expected, "{grades:?}");
        }
    }

    #[test]
    fn ids_are_unique_short_enough_for_their_column_and_in_the_manual_in_this_order() {
        const MANUAL: &str = include_str!("../../conf/man/omsd.8");
        let all: Vec<&str> = ids().collect();
        let rows = MANUAL.lines().skip_while(|line| *line != "lb l.").skip(1).take_while(|line| *line != ".TE");
        assert_eq!(rows.filter_map(|row| Some(row.split_once('\t')?.0)).collect::<Vec<_>>(), all);
        for (index, id) in all.iter().enumerate() {
            assert!(id.len() <= 14 && id.contains('.') && !all[..index].contains(id), "{id}");
        }
    }

    #[test]
    fn a_choice_of_ids_means_these_and_offline_nothing_that_talks() {
        let wanted = |ids: &[&str], offline, active| Wanted {
            ids: ids.iter().map(|id| id.to_string()).collect(),
            offline,
            active,
        };
        for (wanted, id, kind, expected) in [
            (wanted(&[], false, false), "net.dns", Kind::Online, true),
            (wanted(&[], true, false), "net.dns", Kind::Online, false),
            (wanted(&["net.dns"], true, false), "net.dns", Kind::Online, false),
            (wanted(&[], false, false), "syslog.loop", Kind::Active, false),
            (wanted(&[], true, true), "syslog.loop", Kind::Active, true),
            (wanted(&["syslog.loop"], false, false), "syslog.loop", Kind::Active, true),
            (wanted(&["cfg.parse"], false, false), "bin.self", Kind::Quiet, false),
            (wanted(&["bin"], false, false), "bin.self", Kind::Quiet, true),
            (wanted(&["bin.s"], false, false), "bin.self", Kind::Quiet, false),
        ] {
            assert_eq!(wanted.has(id, kind), expected, "{wanted:?} {id}");
        }
    }

    #[test]
    fn a_look_that_hangs_or_dies_costs_its_own_finding() {
        let scene = Scene::new(Path::new("/nonexistent"), None);
        let hang = |_: &Scene, tell: Tell| {
            tell(Finding::pass("bin.self", "there\nand \"there\""));
            loop {
                clock::sleep_ms(1000);
            }
        };
        let look = Look { ids: &["bin.self"], kind: Kind::Quiet, limit_ms: 0, look: hang };
        let begun = Instant::now();
        let (found, trouble) = in_child(&scene, &look, 200);
        assert_eq!(found, [Finding::pass("bin.self", "there\nand \"there\"")]);
        assert!(matches!(trouble, Trouble::Late) && begun.elapsed().as_secs() < 10);
        let look = Look { look: |_, _| std::process::abort(), ..look };
        let (found, trouble) = in_child(&scene, &look, 10_000);
        assert!(found.is_empty() && matches!(trouble, Trouble::Lost), "{found:?} {trouble:?}");
    }
}

//! `omsd service`, and what installing and removing want of those that supervise.

use super::forward;
use super::init::{self, Mode};
use super::manifest::{Entry, Manifest};
use super::work::Work;
use super::{HostError, ask, at, installed_program, program, run};
use crate::agent::lock::{self, Holder};
use crate::agent::paths::Paths;
use crate::limits::{COMMAND_OUTPUT_BYTES_MAX, SERVICE_MS_MAX};
use crate::sys::clock;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use std::fs;
use std::path::Path;

/// What is to be done with the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Start it; one that runs is left alone.
    Start,
    /// Stop it, and wait for its end.
    Stop,
    /// Both.
    Restart,
    /// Say whether it runs.
    Status,
    /// Start it with the host.
    Enable,
    /// Do not.
    Disable,
}

/// The verbs by their names.
pub const VERBS: [(Verb, &str); 6] = [
    (Verb::Start, "start"),
    (Verb::Stop, "stop"),
    (Verb::Restart, "restart"),
    (Verb::Status, "status"),
    (Verb::Enable, "enable"),
    (Verb::Disable, "disable"),
];

/// Does it, over whoever supervises on this host. `Ok(false)`: [`Verb::Status`], and it does not run.
pub fn service(verb: Verb) -> Result<bool, HostError> {
    let work = Work::new(Path::new("/"), false)?;
    let mode = work.manifest().mode().and_then(Mode::from_name);
    let service = Service {
        mode: mode.unwrap_or_else(|| init::detect(work.root()).0),
        program: installed_program(work.manifest()),
    };
    match verb {
        Verb::Start => service.start(),
        Verb::Stop => service.stop(),
        Verb::Restart => service.restart(),
        Verb::Status => return is_running(),
        Verb::Enable => service.enable(true),
        Verb::Disable => service.enable(false),
    }?;
    Ok(true)
}

/// Where the unit may be: as [`super::install`] puts it, and as packages do.
pub const UNITS: [&str; 3] =
    ["/etc/systemd/system/omsd.service", "/usr/lib/systemd/system/omsd.service", "/lib/systemd/system/omsd.service"];

/// Whether [`service`] has anybody here who starts and stops an agent.
pub fn is_supervised() -> bool {
    let installed = Manifest::load(Path::new("/")).ok().and_then(|manifest| manifest.mode().and_then(Mode::from_name));
    installed.map_or_else(|| UNITS.iter().any(|unit| Path::new(unit).exists()), |mode| mode != Mode::None)
}

/// Whether an agent has the lock of this host's installation.
fn is_running() -> Result<bool, HostError> {
    let paths = Paths::below(Path::new("/"));
    lock::holder(&paths).map(|holder| holder != Holder::Free).map_err(at(&paths.lock()))
}

/// Waits until an agent runs, or none does.
fn wait_until_running(wanted: bool) -> Result<(), HostError> {
    let deadline_ms = clock::monotonic_ms() + SERVICE_MS_MAX;
    while is_running()? != wanted {
        if clock::monotonic_ms() > deadline_ms {
            let text = if wanted {
                "omsd did not come up: omsd check says whether its configuration is wrong, its log the rest"
            } else {
                "omsd still runs: see omsd status"
            };
            return Err(HostError::Command(text.to_owned()));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

struct Service {
    mode: Mode,
    program: String,
}

impl Service {
    fn start(&self) -> Result<(), HostError> {
        if is_running()? {
            return Ok(());
        }
        self.supervisor("start")?;
        wait_until_running(true)
    }

    /// Also one that was started by hand, which the supervisor does not know.
    fn stop(&self) -> Result<(), HostError> {
        let stopped = self.supervisor("stop");
        if is_running()? {
            run(&self.program, &["stop"])?;
        } else {
            stopped?;
        }
        wait_until_running(false)?;
        forward::remove_dead_log(Path::new("/"));
        Ok(())
    }

    fn restart(&self) -> Result<(), HostError> {
        match self.mode {
            Mode::Systemd | Mode::Openrc => self.supervisor("restart")?,
            _ => {
                if is_running()? {
                    self.stop()?;
                }
                self.supervisor("start")?;
            }
        }
        wait_until_running(true)
    }

    fn supervisor(&self, verb: &str) -> Result<(), HostError> {
        match self.mode {
            Mode::Systemd => run("systemctl", &[verb, "omsd.service"]),
            Mode::Openrc => run("rc-service", &["omsd", verb]),
            Mode::Upstart => run("initctl", &[verb, "omsd"]),
            Mode::Sysv => run("/etc/init.d/omsd", &[verb]),
            Mode::Cron | Mode::None if verb == "stop" => run(&self.program, &["stop"]),
            Mode::Cron | Mode::None => run(&self.program, &["run", "--ensure"]),
        }
    }

    fn enable(&self, wanted: bool) -> Result<(), HostError> {
        let mut work = Work::new(Path::new("/"), false)?;
        match (self.mode, wanted) {
            (Mode::Systemd, _) => run("systemctl", &[if wanted { "enable" } else { "disable" }, "omsd.service"]),
            (Mode::Openrc, true) => run("rc-update", &["add", "omsd", "default"]),
            (Mode::Openrc, false) => run("rc-update", &["del", "omsd", "default"]),
            (Mode::Sysv, true) => enter_runlevels(&mut work),
            (Mode::Sysv, false) => leave_runlevels(work.manifest()),
            (Mode::Cron, _) => Err(HostError::Refused(format!(
                "cron starts it: {} the line in /etc/cron.d/omsd or root's crontab",
                if wanted { "take the # off" } else { "put a # in front of" }
            ))),
            (Mode::Upstart | Mode::None, _) => {
                Err(HostError::Refused(format!("mode {} has nothing to enable or disable", self.mode)))
            }
        }
    }
}

/// After an installation: lets the supervisor see what was written, and starts the agent, or starts it anew after an upgrade.
pub fn begin(work: &mut Work, mode: Mode, path: &str, defined: bool, replaced: bool) -> Result<(), HostError> {
    if mode == Mode::None {
        return Ok(());
    }
    if mode == Mode::Systemd && defined {
        work.run("systemctl", &["daemon-reload"])?;
    }
    let service = Service { mode, program: path.to_owned() };
    let runs = is_running()?;
    if runs && !defined && !replaced {
        return Ok(());
    }
    work.tell(if runs { "restart omsd" } else { "start omsd" });
    match (work.is_dry(), runs) {
        (true, _) => Ok(()),
        (false, true) => service.restart(),
        (false, false) => service.start(),
    }
}

/// Before a removal: stops what runs, by its supervisor and by its lock.
pub fn end(manifest: &Manifest, path: &str) -> Result<(), HostError> {
    let mode = manifest.mode().and_then(Mode::from_name).unwrap_or(Mode::None);
    if is_running()? { Service { mode, program: path.to_owned() }.stop() } else { Ok(()) }
}

/// The tools that make and remove the links of runlevels, with their words for it.
const TOOLS: [(&str, &[&str], &[&str]); 3] = [
    ("update-rc.d", &["omsd", "defaults"], &["-f", "omsd", "remove"]),
    ("chkconfig", &["--add", "omsd"], &["--del", "omsd"]),
    ("insserv", &["omsd"], &["-r", "omsd"]),
];

/// Has the script started with the host: by the system's tool, else by links of our own.
pub fn enter_runlevels(work: &mut Work) -> Result<(), HostError> {
    let tool = TOOLS.iter().find(|(name, ..)| program(work.root(), name).is_some());
    if let Some((name, add, _)) = tool.filter(|_| work.is_live()) {
        if is_in_runlevels(work) {
            return Ok(());
        }
        work.note(Entry::Runlevels((*name).to_owned()))?;
        return work.run(name, add);
    }
    let Some(base) = init::runlevels(work.root()) else {
        return Err(HostError::Refused("there are no directories of runlevels: use another --mode".to_owned()));
    };
    for (levels, name) in [("2345", "S95omsd"), ("016", "K05omsd")] {
        for level in levels.chars() {
            let directory = format!("{base}/rc{level}.d");
            if work.place(&directory).is_dir() {
                work.link(&format!("{directory}/{name}"), "/etc/init.d/omsd")?;
            }
        }
    }
    Ok(())
}

/// Whether any runlevel has a link: what was disabled since stays so.
fn is_in_runlevels(work: &Work) -> bool {
    let Some(base) = init::runlevels(work.root()) else { return false };
    let links = "0123456".chars().filter_map(|level| fs::read_dir(work.place(&format!("{base}/rc{level}.d"))).ok());
    links.flatten().flatten().any(|link| link.file_name().to_string_lossy().get(3..) == Some("omsd"))
}

/// Takes back what a tool made of [`enter_runlevels`].
pub fn leave_runlevels(manifest: &Manifest) -> Result<(), HostError> {
    for entry in manifest.entries() {
        let Entry::Runlevels(noted) = entry else { continue };
        if let Some((name, _, remove)) = TOOLS.iter().find(|(name, ..)| name == noted) {
            run(name, remove)?;
        }
    }
    Ok(())
}

/// Where there is no /etc/cron.d, the line goes into root's crontab, through the program that owns it. `true`: it was not there.
pub fn add_to_crontab(work: &mut Work, path: &str) -> Result<bool, HostError> {
    let line = format!("* * * * * test -x {path} && exec {path} run --ensure </dev/null");
    if !work.is_live() {
        work.tell(&format!("There is no /etc/cron.d. Put this into root's crontab:\n{line}"));
        return Ok(false);
    }
    let mut lines = crontab()?;
    if lines.contains(&line) {
        return Ok(false);
    }
    work.note(Entry::Crontab(line.clone()))?;
    if !work.is_dry() {
        lines.push(line);
        set_crontab(&lines)?;
    }
    Ok(true)
}

/// Takes a line out of root's crontab.
pub fn remove_from_crontab(line: &str) -> Result<(), HostError> {
    let mut lines = crontab()?;
    let count = lines.len();
    lines.retain(|other| other != line);
    if lines.len() == count { Ok(()) } else { set_crontab(&lines) }
}

fn crontab_program() -> Result<std::path::PathBuf, HostError> {
    program(Path::new("/"), "crontab").ok_or_else(|| {
        HostError::Refused("there is neither /etc/cron.d nor the program crontab: use another --mode".to_owned())
    })
}

/// The lines that are there. Whatever cannot be put back as it was is refused.
fn crontab() -> Result<Vec<String>, HostError> {
    match ask(&crontab_program()?, &["-l"], "") {
        Ok(text) if (text.len() as u64) < COMMAND_OUTPUT_BYTES_MAX && !text.contains(char::REPLACEMENT_CHARACTER) => {
            Ok(text.lines().map(ToOwned::to_owned).collect())
        }
        Ok(_) => Err(HostError::Refused("root's crontab is no text of a usual length: change it yourself".to_owned())),
        Err(output) if output.contains("no crontab") || output.contains("No such file") => Ok(Vec::new()),
        Err(output) => Err(HostError::Command(format!("crontab -l: {output}"))),
    }
}

fn set_crontab(lines: &[String]) -> Result<(), HostError> {
    let path = crontab_program()?;
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let option = if lines.is_empty() { "-r" } else { "-" };
    ask(&path, &[option], &text).map(drop).map_err(|output| HostError::Command(format!("crontab {option}: {output}")))
}

/// Starts the system's syslog daemon anew, if it runs, as whoever supervises here does it. `Ok(false)`: nobody known does.
pub fn restart_other(name: &str) -> Result<bool, HostError> {
    let script = ["/etc/init.d/", "/etc/rc.d/"].map(|place| format!("{place}{name}"));
    let script = script.iter().find(|path| fs::metadata(path).is_ok_and(|found| found.is_file()));
    match (init::detect(Path::new("/")).0, script) {
        (Mode::Systemd, _) => run("systemctl", &["try-restart", name])?,
        (Mode::Openrc, _) => run("rc-service", &["--ifstarted", name, "restart"])?,
        (Mode::Upstart, _) => run("initctl", &["restart", name])?,
        (_, Some(script)) => run(script, &["restart"])?,
        _ => return Ok(false),
    }
    Ok(true)
}

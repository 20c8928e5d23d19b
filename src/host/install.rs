//! `omsd install`: the program, its directories, an account, a service, and the syslog daemon's part. Done again, it is an upgrade.

use super::account::{self, Account};
use super::forward;
use super::init::{self, Mode};
use super::manifest::Entry;
use super::service;
use super::work::{Work, Wrote, read_file};
use super::{CONFIGURATION, HostError, PREFIX, PROGRAM, STATE, at, is_live};
use crate::agent::paths;
use crate::sys::{filesystem, privilege, process};
use crate::upload::guid::is_guid;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use std::fs;
use std::path::{Path, PathBuf};

/// What the command line asks for.
#[derive(Debug, Clone)]
pub struct Wish {
    /// `--root`
    pub root: PathBuf,
    /// `--prefix`
    pub prefix: Option<String>,
    /// `--user`
    pub user: Option<String>,
    /// `--mode`
    pub mode: Option<Mode>,
    /// `--dry-run`: say what would be done.
    pub is_dry: bool,
    /// Not `--no-syslog`.
    pub forwards: bool,
}

/// The sample configuration.
const SAMPLE: &str = include_str!("../../conf/omsd.conf");

/// Installs, or upgrades what is installed.
pub fn install(wish: &Wish) -> Result<(), HostError> {
    let is_live = is_live(&wish.root);
    if is_live && !privilege::is_root() {
        return Err(HostError::NotRoot);
    }
    if !wish.root.is_dir() {
        return Err(HostError::Refused(format!("{} is no directory", wish.root.display())));
    }
    let mut work = Work::new(&wish.root, wish.is_dry)?;
    let mode = choose_mode(&mut work, wish.mode)?;
    let prefix = choose_prefix(&work, wish.prefix.as_deref())?;
    work.note(Entry::Mode(format!("{mode}")))?;
    let account = account::provide(&mut work, wish.user.as_deref())?;
    let program = format!("{prefix}{PROGRAM}");
    let replaced = put_program(&mut work, &program)?;
    let has_log = wish.forwards && forward::is_wanted_at_log(&work, mode);
    directories(&mut work, &account)?;
    let configured = configure(&mut work, &account, has_log)?;
    let defined = define(&mut work, mode, &prefix, &account)?;
    work.forget_older_versions()?;
    if is_live {
        service::begin(&mut work, mode, &program, defined, replaced || configured)?;
    }
    let forwarding = if wish.forwards { forward::add(&mut work) } else { Ok(()) };
    work.forget_older_versions()?;
    what_next(&work, mode, &program);
    forwarding
}

fn choose_mode(work: &mut Work, wanted: Option<Mode>) -> Result<Mode, HostError> {
    let installed = work.manifest().mode().and_then(Mode::from_name);
    match (wanted, installed) {
        (Some(wanted), Some(installed)) if wanted != installed => Err(HostError::Refused(format!(
            "installed with --mode {installed}: for another, omsd uninstall first; it keeps configuration, identity and state"
        ))),
        (Some(mode), _) | (None, Some(mode)) => Ok(mode),
        (None, None) => {
            let (mode, reason) = init::detect(work.root());
            work.tell(&format!("mode {mode}: {reason}"));
            Ok(mode)
        }
    }
}

/// Where the program is, as far as the manifest says.
fn installed_prefix(work: &Work) -> Option<String> {
    let files = work.manifest().entries().iter().filter(|entry| matches!(entry, Entry::File { .. }));
    files.filter_map(|entry| entry.path()?.strip_suffix(PROGRAM)).next().map(ToOwned::to_owned)
}

fn choose_prefix(work: &Work, wanted: Option<&str>) -> Result<String, HostError> {
    let wanted = wanted.map(|prefix| prefix.trim_end_matches('/'));
    match (wanted, installed_prefix(work)) {
        (Some(wanted), Some(installed)) if wanted != installed => Err(HostError::Refused(format!(
            "installed with --prefix {installed}: for another, omsd uninstall first; it keeps configuration, identity and state"
        ))),
        // It stands in scripts and service definitions, where blanks and quotes mean something.
        (Some(prefix), _) if !is_plain_path(prefix) => Err(HostError::Refused(format!(
            "--prefix takes an absolute path of letters, digits and ._-/ ; not {prefix}"
        ))),
        (Some(prefix), _) => Ok(prefix.to_owned()),
        (None, installed) => Ok(installed.unwrap_or_else(|| PREFIX.to_owned())),
    }
}

fn is_plain_path(path: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
    path.starts_with('/') && path.bytes().all(is_plain) && !path.split('/').any(|part| part == "..")
}

/// Copies the program that runs. `true`: another one was there, or none.
fn put_program(work: &mut Work, path: &str) -> Result<bool, HostError> {
    let own = process::program().map_err(at(Path::new("/proc/self/exe")))?;
    let bytes = fs::read(&own).map_err(at(&own))?;
    let directory = &path[..path.rfind('/').unwrap_or(0)];
    work.directory(directory, 0o755, &Account::root())?;
    if filesystem::is_noexec(&work.place(directory)) {
        return Err(HostError::Refused(format!(
            "{directory} is on a file system where no program may be started (noexec): use another --prefix, or mount it with exec"
        )));
    }
    match work.file(path, &bytes, 0o755, &Account::root())? {
        Wrote::Now => Ok(true),
        Wrote::Already => Ok(false),
        Wrote::Kept => Err(HostError::Refused(format!(
            "{path} was replaced by hand since it was installed: start that one for install or uninstall, or move it away"
        ))),
    }
}

fn directories(work: &mut Work, account: &Account) -> Result<(), HostError> {
    work.directory(
        CONFIGURATION,
        0o755,
        &Account { group: account.group.clone(), gid: account.gid, ..Account::root() },
    )?;
    work.let_group(CONFIGURATION, account)?;
    work.directory(STATE, 0o700, account)?;
    work.hand_over(&work.place(STATE), account)?;
    for entry in fs::read_dir(work.place(CONFIGURATION)).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(is_guid) {
            work.hand_over(&entry.path(), account)?;
        }
    }
    let proxy = format!("{CONFIGURATION}/proxy.conf");
    work.let_group(&proxy, account)
}

/// The sample configuration, where there is none. One that has omsd listen on `/dev/log` gives that up where a syslog daemon was
/// installed since. `true`: it is new, or not as it was.
fn configure(work: &mut Work, account: &Account, has_log: bool) -> Result<bool, HostError> {
    let sample = match read_file(&work.place(paths::CONFIG)) {
        Ok(None) if has_log => forward::with_log(work, SAMPLE)?,
        Ok(None) => SAMPLE.to_owned(),
        Ok(Some(text)) if forward::is_superseded(work, &text) => {
            work.tell("a syslog daemon is here now: omsd need not listen on /dev/log any more");
            SAMPLE.to_owned()
        }
        _ => return work.let_group(paths::CONFIG, account).map(|()| false),
    };
    let owner = Account { group: account.group.clone(), gid: account.gid, ..Account::root() };
    let wrote = work.file(paths::CONFIG, sample.as_bytes(), 0o640, &owner)?;
    work.let_group(paths::CONFIG, account)?;
    Ok(wrote == Wrote::Now)
}

/// Writes what the supervisor reads. `true`: it is new, or not as it was.
fn define(work: &mut Work, mode: Mode, prefix: &str, account: &Account) -> Result<bool, HostError> {
    let Some(definition) = init::definition(mode) else { return Ok(false) };
    if mode == Mode::Cron && !work.place("/etc/cron.d").is_dir() {
        return service::add_to_crontab(work, &format!("{prefix}{PROGRAM}"));
    }
    let text = definition.text(prefix, account);
    let wrote = work.file(definition.path, text.as_bytes(), definition.mode, &Account::root())?;
    match mode {
        Mode::Systemd => {
            // As `systemctl enable` makes it: one link, whoever made it last.
            work.link("/etc/systemd/system/multi-user.target.wants/omsd.service", definition.path)?;
        }
        Mode::Openrc => work.link("/etc/runlevels/default/omsd", definition.path)?,
        Mode::Sysv => service::enter_runlevels(work)?,
        Mode::Upstart | Mode::Cron | Mode::None => {}
    }
    Ok(wrote == Wrote::Now)
}

fn what_next(work: &Work, mode: Mode, program: &str) {
    let is_onboarded = work.place("/etc/opt/omsd/conf/omsadmin.conf").exists();
    if work.is_dry() {
        return;
    }
    if mode == Mode::None {
        work.tell(&format!(
            "Nothing starts it with the host: run {program} run, from an inittab (::respawn:{program} run), or as the container's \
             program. {program} service start has it in the background until then."
        ));
    }
    let (command, root) = match work.is_live() {
        true => (program, String::new()),
        false => ("omsd", format!(" --root {}", work.root().display())),
    };
    if !is_onboarded {
        work.tell(&format!("Next: {command} onboard{root} -w WORKSPACE-ID --key-file FILE"));
    }
    work.tell(&format!("To remove: {command} uninstall{root}; with --purge, without trace."));
}

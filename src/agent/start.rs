//! From a command line to a running loop: what must be there before the first message is taken.

use super::caller::Caller;
use super::heartbeat::Beat;
use super::keeper::Keeper;
use super::lock::{Lock, Reloaded};
use super::log::Log;
use super::once::Budget;
use super::paths::{self, Paths};
use super::sampler::Sampler;
use super::{Agent, Ended, Timers, machine, sandbox, status};
use crate::collect::Object;
use crate::config::files::{Digest, HostFiles};
use crate::config::regex::Regex;
use crate::config::{self, Config, Destination, Listen, LogLevel, OmsFiles, PerfSource, Target};
use crate::intake::{OpenError, Sources};
use crate::limits::{FLUSH_MS_DEMO, LOCK_STEP_MS, LOCK_TRY_MS, PERF_MS_DEMO, RING_BYTES_MIN};
use crate::record::perf;
use crate::ring::disk::{self, DiskRing};
use crate::ring::{Fault, OpenError as OpenRingError};
use crate::sys::privilege::{self, Account};
use crate::sys::signal::Signals;
use crate::sys::{clock, filesystem, memory};
use crate::upload::fips::{Refused, Standing};
use crate::upload::guid::is_guid;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What the command line asks for.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `--root`
    pub root: PathBuf,
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--demo`: no configuration, no privilege, nothing left behind.
    pub demo: bool,
    /// `--once`: run within this time.
    pub once: Option<Budget>,
    /// `-v`: one step more than the configuration's log level.
    pub verbose: bool,
}

impl Settings {
    /// What our own log shows.
    pub fn log_level(&self, config: &Config) -> LogLevel {
        // What each run would say again each minute is left out.
        let quiet = self.once.is_some() && !self.verbose;
        if quiet {
            return config.log_level.min(LogLevel::Warn);
        }
        if self.verbose { config.log_level.max(LogLevel::Debug) } else { config.log_level }
    }
}

/// Why the agent did not start. Each says what to do.
#[derive(Debug)]
pub enum StartError {
    /// The configuration has errors, which the log has shown.
    Configuration,
    /// This build may not upload on this host.
    Fips(Refused),
    /// A directory or file cannot be made or opened.
    Create(PathBuf, io::Error),
    /// Another agent has this root's lock.
    Locked(PathBuf),
    /// The ring cannot be opened.
    Ring(PathBuf, crate::ring::OpenError),
    /// A source cannot be opened.
    Source(OpenError),
    /// No pipe for signals.
    Signals(io::Error),
    /// Records would go to a standard output that a detached agent has not.
    NoOutput,
    /// The state directory is on a file system of a network.
    OfNetwork(PathBuf),
    /// The kernel refuses what holds the agent to what it needs.
    Sandbox(sandbox::Refused),
}

impl fmt::Display for StartError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Configuration => out.write_str("the configuration has errors: mend them and start again"),
            StartError::Fips(refused) => refused.fmt(out),
            StartError::Create(path, error) => {
                write!(
                    out,
                    "{}: {error}; run as an account that may write there, or choose another place with --root",
                    path.display()
                )
            }
            StartError::Locked(path) => {
                write!(
                    out,
                    "another omsd runs with this root ({} is locked): stop it, or choose another --root",
                    path.display()
                )
            }
            StartError::Ring(path, error) => write!(out, "ring file {}: {error}", path.display()),
            StartError::Source(error) => write!(out, "{error}"),
            StartError::Signals(error) => write!(out, "no pipe for signals: {error}"),
            StartError::NoOutput => out.write_str(
                "records would go to standard output, which an agent in the background has not: register this host with \
                 `omsd onboard`, or name a destination in the configuration",
            ),
            StartError::OfNetwork(path) => write!(
                out,
                "{} is on a file system of a network, where two hosts might use it at once: choose another --root, or set \
                 allow_network_state in <system> if no other host mounts it",
                path.display()
            ),
            StartError::Sandbox(refused) => refused.fmt(out),
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "cannot listen on {}", describe(&self.listen))?;
        if self.line > 0 {
            write!(out, " (source at line {})", self.line)?;
        }
        write!(out, ": {}", self.cause)?;
        match self.cause.kind() {
            io::ErrorKind::AddrInUse if self.listen == Listen::UnixDatagram(String::from("/dev/log")) => out.write_str(
                "; a syslog daemon has it: take this source out, and `omsd install` has that daemon forward",
            ),
            io::ErrorKind::AddrInUse => {
                out.write_str("; another program has it: stop that, or choose another port or path")
            }
            io::ErrorKind::AddrNotAvailable => out.write_str("; this host does not have that address, or not yet"),
            io::ErrorKind::PermissionDenied => out.write_str("; ports below 1024 and system directories want root"),
            _ => Ok(()),
        }
    }
}

/// Starts the agent, tells who waits for that, and runs until a signal says stop.
pub fn start(settings: Settings, caller: &mut Caller) -> Result<Ended, StartError> {
    let (agent, signals) = prepare(settings, caller)?;
    memory::slice_program();
    memory::let_go();
    caller.ready();
    Ok(match agent.settings.once {
        Some(budget) => agent.run_once(signals, budget),
        None => agent.run(signals),
    })
}

/// All that comes before the loop; apart from it, so that the stack it takes is given back.
#[inline(never)]
fn prepare(settings: Settings, caller: &mut Caller) -> Result<(Box<Agent>, Signals), StartError> {
    let is_by_cron = settings.once.is_some() && !settings.verbose;
    let mut log = Log::new(if is_by_cron { LogLevel::Warn } else { LogLevel::Info });
    let paths = Paths::below(&settings.root);
    // Root opens the sources and nothing else: what is in the state directory belongs to the account that it is about to become.
    let account = if settings.demo { None } else { sandbox::account(&paths) };
    if caller.waits() || is_by_cron {
        acting_as(account, || {
            make_parent(&paths.log())?;
            log.write_to(&paths.log()).map_err(|error| StartError::Create(paths.log(), error))
        })?;
    }
    let loaded = if caller.waits() {
        load_for_background(&settings, &paths, &log)
    } else {
        load(&settings, &paths, &log).ok_or(StartError::Configuration)
    };
    let (mut config, digest) = loaded?;
    let standing = Standing::ask();
    if config.uploads() {
        standing.permit(config.allow_non_fips).map_err(StartError::Fips)?;
        let level = if standing.is_worth_a_warning() { LogLevel::Warn } else { LogLevel::Info };
        if !standing.is_ordinary() {
            log.line(level, format_args!("{standing}"));
        }
    }
    let (home, ring) = acting_as(account, || {
        let home = if settings.demo { Home::demo()? } else { Home::of(&paths, &config, digest)? };
        let ring = open_ring(&home.ring, &config, &log)?;
        Ok((home, ring))
    })?;
    if !settings.demo && machine::is_a_copy(&paths, account) {
        let text = "this host seems to be a copy of another: its boot, name and product UUID are others than at the last start. Two hosts \
                    with one identity are one in every table; if it is a copy, register it anew: omsd onboard remove, omsd onboard";
        log.line(LogLevel::Warn, format_args!("{text}"));
    }
    let signals = Signals::install().map_err(StartError::Signals)?;
    let sources = if settings.demo { open_demo(&mut config, &paths) } else { open_sources(&config, &paths) };
    let sources = sources.map_err(StartError::Source)?;
    let sandbox = sandbox::enter(account, &config, &settings, &paths, &home.ring).map_err(StartError::Sandbox)?;

    let now_ms = clock::monotonic_ms();
    let status = (!settings.demo).then(|| status::Writer::new(&paths, &home.ring, &standing, (&sandbox).into()));
    let mut agent = Box::new(Agent {
        uploaders: Vec::new(),
        except: Default::default(),
        beat: Beat::new(config.heartbeat_ms, now_ms),
        // `--root` is about our own files, not the kernel's.
        sampler: Sampler::new(&config.perf, Path::new("/"), now_ms, clock::wall_us() / 1000),
        keepers: keepers(&config, &paths, now_ms),
        timers: Timers::new(now_ms),
        log,
        settings,
        paths,
        config: Config { targets: Vec::new(), ..config.clone() },
        ring,
        sources,
        sandbox,
        status,
        standing,
        held: home.held,
    });
    agent.send_to(&config, now_ms);
    agent.config = config;
    agent.write_status("running", now_ms);
    greet(&agent.settings, &agent.config, &agent.log);
    agent.log.set_level(agent.settings.log_level(&agent.config));
    Ok((agent, signals))
}

fn acting_as<T>(account: Option<Account>, work: impl FnOnce() -> Result<T, StartError>) -> Result<T, StartError> {
    let refused = |error| StartError::Sandbox(sandbox::Refused("change of account", error));
    privilege::acting_as(account, work).map_err(refused)?
}

/// The same as [`load`] for an agent in the background, which cannot print records.
pub fn load_for_background(settings: &Settings, paths: &Paths, log: &Log) -> Result<(Config, Digest), StartError> {
    let (config, digest) = load(settings, paths, log).ok_or(StartError::Configuration)?;
    let prints = config.targets.iter().any(|target| target.destination == Destination::Stdout);
    if prints { Err(StartError::NoOutput) } else { Ok((config, digest)) }
}

/// The configuration that is in force: `--config`, else the installed one, else what is built in; and the digest of what it was made of.
/// Its warnings and errors go to the log; `None` with errors.
pub fn load(settings: &Settings, paths: &Paths, log: &Log) -> Option<(Config, Digest)> {
    if settings.demo {
        return Some((demo_config(), Digest::default()));
    }
    let installed = paths.place(paths::CONFIG);
    let path = match &settings.config {
        Some(path) => path.clone(),
        None if installed.exists() => installed,
        None => {
            let identity = OmsFiles::default().omsadmin_conf;
            let mut config = config::embedded_default(paths.place(&identity).exists());
            let (ids, mut digest) = (workspaces(paths), Digest::default());
            ids.iter().for_each(|id| digest.add(id.as_bytes()));
            config.send_to_workspaces(&ids);
            return Some((named(config, paths), digest));
        }
    };
    let show = |diagnostics: &[config::Diagnostic]| {
        for diagnostic in diagnostics {
            let level = if diagnostic.severity == config::Severity::Error { LogLevel::Error } else { LogLevel::Warn };
            log.line(level, format_args!("{diagnostic}"));
        }
    };
    let mut files = HostFiles::new(&settings.root);
    match config::parse(&mut files, &path.to_string_lossy()) {
        Ok((config, warnings)) => {
            show(&warnings);
            Some((named(config, paths), files.digest()))
        }
        Err(errors) => {
            show(&errors);
            None
        }
    }
}

/// The workspaces that this host was onboarded to, the primary one first.
fn workspaces(paths: &Paths) -> Vec<String> {
    let entries = fs::read_dir(paths.place(paths::HOME)).into_iter().flatten().flatten();
    let names = entries.filter(|entry| entry.path().join("conf/omsadmin.conf").exists());
    let mut ids: Vec<String> =
        names.filter_map(|entry| entry.file_name().into_string().ok()).filter(|id| is_guid(id)).collect();
    let primary = primary(paths);
    ids.sort_unstable_by_key(|id| (primary.as_ref() != Some(id), id.clone()));
    ids
}

/// Where the link to the primary workspace leads.
fn primary(paths: &Paths) -> Option<String> {
    let link = fs::read_link(paths.place(paths::HOME).join("conf")).ok()?;
    link.iter().next()?.to_str().filter(|id| is_guid(id)).map(String::from)
}

/// Gives the primary workspace's destination the name that it has when it is spoken of by its id: what waits for it is still its own
/// when it is primary no more.
fn named(mut config: Config, paths: &Paths) -> Config {
    let Some(id) = primary(paths) else { return config };
    let name = Destination::Oms(OmsFiles::of_workspace(&id)).name();
    let plain = OmsFiles::default();
    let is_taken = config.targets.iter().any(|target| target.name == name);
    let is_primary = |target: &&mut Target| match &target.destination {
        Destination::Oms(files) => files.omsadmin_conf == plain.omsadmin_conf && target.name == "out_oms",
        _ => false,
    };
    if let Some(target) = config.targets.iter_mut().find(is_primary).filter(|_| !is_taken) {
        target.name = name;
    }
    config
}

/// The built-in configuration, in a hurry and with the smallest ring.
fn demo_config() -> Config {
    let mut config = config::embedded_default(false);
    config.targets.iter_mut().for_each(|target| target.sending.flush_ms = FLUSH_MS_DEMO);
    config.ring.bytes = RING_BYTES_MIN;
    let source = |object: Object| PerfSource {
        object,
        instances: Regex::any(),
        counters: perf::all(object),
        interval_ms: Some(PERF_MS_DEMO),
        compat: false,
        line: 0,
    };
    config.perf = Vec::from([Object::Processor, Object::Memory].map(source));
    config
}

/// Who look after the identities that records are sent with, one each.
pub fn keepers(config: &Config, paths: &Paths, now_ms: u64) -> Vec<Keeper> {
    let identities = config.targets.iter().filter_map(|target| match &target.destination {
        Destination::Oms(files) => Some(files),
        _ => None,
    });
    identities.map(|files| Keeper::new(paths.root(), files, config.topology_ms, now_ms)).collect()
}

/// Opens the sources of a configuration.
pub fn open_sources(config: &Config, paths: &Paths) -> Result<Sources, OpenError> {
    Sources::open(&config.sources, |path| paths.place(path))
}

/// Opens the demo's source, on another port if its own is taken.
fn open_demo(config: &mut Config, paths: &Paths) -> Result<Sources, OpenError> {
    open_sources(config, paths).or_else(|_| {
        for source in &mut config.sources {
            let free = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
            source.listen = Listen::Udp(IpAddr::V4(Ipv4Addr::LOCALHOST), free.map_or(0, |address| address.port()));
        }
        open_sources(config, paths)
    })
}

/// Where the ring is, and what must be held while it is open.
struct Home {
    ring: PathBuf,
    held: Held,
}

/// What an agent has for itself alone.
pub enum Held {
    /// The lock of its state directory.
    Lock(Lock),
    /// In a demo, the directory that goes away.
    Demo(PathBuf),
}

impl Held {
    /// Says in the lock file what became of another configuration.
    pub fn note_reload(&mut self, reloaded: Reloaded) {
        if let Held::Lock(lock) = self {
            lock.note_reload(reloaded);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Held::Demo(directory) = self {
            let _ = fs::remove_dir_all(directory);
        }
    }
}

impl Home {
    fn of(paths: &Paths, config: &Config, digest: Digest) -> Result<Home, StartError> {
        let ring = paths.place(&config.ring.path);
        let lock = paths.lock();
        for path in [&ring, &lock] {
            make_parent(path)?;
        }
        let is_taken = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
        let held = insist(is_taken, || Lock::take(&lock, digest.0)).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => StartError::Locked(lock.clone()),
            _ => StartError::Create(lock.clone(), error),
        })?;
        let is_refused = |path: &PathBuf| !config.allow_network_state && is_of_network(path);
        if let Some(path) = [&lock, &ring].into_iter().find(|path| is_refused(path)) {
            return Err(StartError::OfNetwork(path.clone()));
        }
        Ok(Home { ring, held: Held::Lock(held) })
    }

    fn demo() -> Result<Home, StartError> {
        let directory = std::env::temp_dir().join(alloc::format!("omsd-demo-{}", std::process::id()));
        fs::create_dir(&directory).map_err(|error| StartError::Create(directory.clone(), error))?;
        Ok(Home { ring: directory.join("ring"), held: Held::Demo(directory) })
    }
}

/// Whether a lock on this file may hold on this host alone.
fn is_of_network(path: &Path) -> bool {
    let directory = path.parent().and_then(|parent| fs::File::open(parent).ok());
    directory.is_some_and(|directory| filesystem::is_of_network(&directory))
}

/// Does something again for a moment while another process is in the way: one that only looks, or a killed agent's child that has not
/// let go of what it inherited yet.
fn insist<T, E>(is_taken: impl Fn(&E) -> bool, mut attempt: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let until_ms = clock::monotonic_ms() + LOCK_TRY_MS;
    loop {
        match attempt() {
            Err(error) if is_taken(&error) && clock::monotonic_ms() < until_ms => clock::sleep_ms(LOCK_STEP_MS),
            done => return done,
        }
    }
}

fn make_parent(path: &Path) -> Result<(), StartError> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).map_err(|error| StartError::Create(parent.to_path_buf(), error))
}

/// Opens the ring. A file that is no ring is set aside, never overwritten; one of another format is an error.
fn open_ring(path: &Path, config: &Config, log: &Log) -> Result<DiskRing, StartError> {
    let is_taken = |error: &OpenRingError| *error == OpenRingError::Fault(Fault::TAKEN);
    let open = || insist(is_taken, || disk::open(path, config.ring.bytes, clock::wall_us()));
    let opened = open().or_else(|error| {
        if !error.is_foreign() {
            return Err(StartError::Ring(path.to_path_buf(), error));
        }
        let aside = disk::set_aside(path).map_err(|cause| StartError::Create(path.to_path_buf(), cause))?;
        let text =
            format_args!("{}: {error}; it was set aside as {}, and a new one is made", path.display(), aside.display());
        log.line(LogLevel::Warn, text);
        open().map_err(|error| StartError::Ring(path.to_path_buf(), error))
    });
    let (ring, found) = opened?;
    if let Some(bytes) = found.resized_from {
        let text = format_args!("ring file resized from {bytes} to {} bytes", config.ring.bytes);
        log.line(LogLevel::Info, text);
    }
    if found.missing > 0 {
        log.line(LogLevel::Warn, format_args!("{} records of the ring file were damaged and are lost", found.missing));
    }
    Ok(ring)
}

/// Says what is listened on and where records go; the demo says how to send it a message.
fn greet(settings: &Settings, config: &Config, log: &Log) {
    let version = env!("CARGO_PKG_VERSION");
    if settings.demo {
        let hint = config.sources.first().map_or_else(String::new, |source| match &source.listen {
            Listen::Udp(address, port) => alloc::format!("logger -n {address} -P {port} -d hello"),
            other => describe(other),
        });
        log.line(LogLevel::Info, format_args!("omsd {version} demo: send it a message with: {hint}"));
        return;
    }
    let mut does: Vec<String> =
        config.sources.iter().map(|source| alloc::format!("listens on {}", describe(&source.listen))).collect();
    let objects: Vec<&str> = config.perf.iter().map(|source| source.object.name()).collect();
    if !objects.is_empty() {
        does.push(alloc::format!("samples {}", objects.join(", ")));
    }
    let alone = config.targets.len() == 1;
    let of_target = |target: &Target| match &target.destination {
        Destination::Stdout => String::from("standard output"),
        Destination::Oms(_) if alone => String::from("Log Analytics"),
        Destination::AzureIngestion(_) if alone => String::from("a data collection rule"),
        Destination::DataCollector(_) if alone => String::from("custom tables"),
        _ => target.name.clone(),
    };
    let to = config.targets.iter().map(of_target).collect::<Vec<_>>().join(" and ");
    log.line(LogLevel::Info, format_args!("omsd {version} {}; records go to {to}", does.join(", ")));
}

/// What a source listens on, for a person.
pub fn describe(listen: &Listen) -> String {
    match listen {
        Listen::Udp(address, port) => alloc::format!("udp {}", SocketAddr::new(*address, *port)),
        Listen::Tcp(address, port) => alloc::format!("tcp {}", SocketAddr::new(*address, *port)),
        Listen::UnixDatagram(path) => alloc::format!("unix datagram socket {path}"),
        Listen::UnixStream(path) => alloc::format!("unix stream socket {path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const FIRST: &str = "0c9f6c9e-3a52-4f0b-8a8e-6a1b4b7d5e21";
    const SECOND: &str = "5f3a1c0e-7b64-4d0e-9c1f-2a6b8d9e4f10";

    fn names(settings: &Settings) -> Vec<String> {
        let config =
            load(settings, &Paths::below(&settings.root), &Log::new(LogLevel::Fatal)).expect("a configuration");
        config.0.targets.into_iter().map(|target| target.name).collect()
    }

    #[test]
    fn each_workspace_that_was_onboarded_is_a_destination_with_a_name_that_stays() {
        let root = std::env::temp_dir().join(alloc::format!("omsd-start-{}", std::process::id()));
        let base = root.join("etc/opt/omsd");
        let settings = Settings { root: root.clone(), config: None, demo: false, once: None, verbose: false };
        assert_eq!(names(&settings), ["out_stdout"]);
        for (id, expected) in [(FIRST, &[FIRST][..]), (SECOND, &[SECOND, FIRST])] {
            fs::create_dir_all(base.join(id).join("conf")).unwrap();
            fs::write(base.join(id).join("conf/omsadmin.conf"), "").unwrap();
            let _ = fs::remove_file(base.join("conf"));
            symlink(Path::new(id).join("conf"), base.join("conf")).unwrap();
            let expected: Vec<_> = expected.iter().map(|id| alloc::format!("out_oms {id}")).collect();
            assert_eq!(names(&settings), expected);
        }
        let _ = fs::remove_dir_all(root);
    }
}

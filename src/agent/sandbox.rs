//! What holds the running agent to what it needs: its account, no privileges, system calls (seccomp) and files (landlock). Each is
//! told in the status file.
//!
//! All of it is for good and children inherit it. Ports are not restricted: a new configuration may name others, and a server or
//! proxy may have any; a child can neither listen nor accept.

use super::paths::{self, Paths};
use super::start::{self, Settings};
use crate::config::{Config, Destination, Identity, Listen, Sandbox as Wanted};
use crate::sys::is_shortage;
use crate::sys::landlock::{self, Absent, Grant};
use crate::sys::privilege::{self, Account};
use crate::sys::seccomp::{self, Manner, Role};
use crate::upload::azure_ingestion::identity::CHALLENGES;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::c_int;
use core::fmt;
use std::io;
use std::path::Path;

/// Directories and files of the host that are read: counters, name servers, time zones, trusted certificates, random numbers.
/// Links lead to some from `/etc`.
const HOST: [&str; 11] = [
    "/proc",
    "/sys",
    "/etc",
    "/dev/urandom",
    "/usr/lib/os-release",
    "/usr/share/zoneinfo",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/usr/share/ssl",
    "/var/lib/ca-certificates",
    "/var/opt/microsoft/docker-cimprov/state",
];
/// Files that are often links, to directories of other services.
const LINKS: [&str; 4] = ["/etc/resolv.conf", "/etc/hosts", "/etc/localtime", "/etc/ssl/certs/ca-certificates.crt"];
/// Where a name server's settings come to be, if there are none yet.
const SETTINGS_TO_COME: &str = "/run";

/// Exit code of a child that would do more than it needs: the kernel refuses what it gave the daemon. Source: EX_NOPERM of sysexits(3).
pub const EXIT_NOT_NARROWED: c_int = 77;

/// How one layer is.
#[derive(Debug)]
pub enum Layer {
    /// In force.
    On,
    /// In force, as this version of the kernel's.
    Version(u32),
    /// This kernel does not have it.
    Unsupported,
    /// The same, and why.
    Absent(Absent),
    /// It only notes what it would stop.
    Logs,
    /// Not wanted.
    Off,
    /// The kernel has it and refuses it.
    Failed(io::Error),
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Layer::On => f.write_str("on"),
            Layer::Version(version) => write!(f, "on (ABI {version})"),
            Layer::Unsupported => f.write_str("unsupported"),
            Layer::Absent(why) => write!(f, "unsupported ({why})"),
            Layer::Logs => f.write_str("log"),
            Layer::Off => f.write_str("off"),
            Layer::Failed(error) => write!(f, "failed: {error}"),
        }
    }
}

/// What is in force.
#[derive(Debug)]
pub struct Sandbox {
    /// `root`, or `user` and a number.
    pub account: String,
    /// No program can give privileges.
    pub no_new_privs: Layer,
    /// System calls.
    pub seccomp: Layer,
    /// Files.
    pub landlock: Layer,
    granted: Vec<Grant>,
    /// The ring is in there: nothing for children that have no file of their own there.
    state: Vec<Grant>,
}

/// Why the agent may not run with less than was asked for: the layer, and what the kernel said.
#[derive(Debug)]
pub struct Refused(pub &'static str, pub io::Error);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Refused(what, error) = self;
        if is_shortage(error) {
            return write!(f, "too little is left for the {what}: {error}; raise that limit (ulimit -a shows all)");
        }
        write!(
            f,
            "the kernel refuses the {what}: {error}; `sandbox best_effort` in <system> does without seccomp and landlock"
        )
    }
}

/// The account that root becomes: that of the state directory, if there is one and it is not root's own.
pub fn account(paths: &Paths) -> Option<Account> {
    let owner = Account::owner_of(&paths.state()).ok()?;
    (privilege::is_root() && !owner.is_root()).then_some(owner)
}

/// Enters the sandbox that the configuration asks for, as `account`, if there is one. `ring`: the ring file.
pub fn enter(
    account: Option<Account>,
    config: &Config,
    settings: &Settings,
    paths: &Paths,
    ring: &Path,
) -> Result<Sandbox, Refused> {
    if let Some(account) = account {
        privilege::become_account(account).map_err(|error| Refused("change of account", error))?;
    }
    let account = match privilege::user() {
        0 => String::from("root"),
        user => format!("user {user}"),
    };
    let no_new_privs = privilege::renounce().map_err(|error| Refused("renunciation of capabilities", error))?;
    let (granted, state) = (grants(config, settings, paths), state(settings, paths, ring));
    let demanded = |name, entered: io::Result<Layer>| match entered {
        Err(error) if config.sandbox == Wanted::BestEffort => Ok(Layer::Failed(error)),
        entered => entered.map_err(|error| Refused(name, error)),
    };
    // In this order: whoever has the filter can still make a child's rules, but nothing else is gained by another.
    let landlock = match (config.sandbox, landlock::version()) {
        (Wanted::Log | Wanted::Off, _) => Layer::Off,
        (_, Err(why)) => Layer::Absent(why),
        (_, Ok(version)) => {
            let entered = landlock::restrict(version, &[&granted[..], &state].concat(), false);
            demanded("landlock", entered.map(|()| Layer::Version(version)))?
        }
    };
    let filter = |manner, layer| {
        let entered = seccomp::enter(manner);
        demanded("seccomp", entered.map(|is_there| if is_there { layer } else { Layer::Unsupported }))
    };
    let seccomp = match config.sandbox {
        Wanted::On | Wanted::BestEffort => filter(Manner::Kill, Layer::On)?,
        Wanted::Log => filter(Manner::Log, Layer::Logs)?,
        Wanted::Off => Layer::Off,
    };
    Ok(Sandbox {
        account,
        no_new_privs: if no_new_privs { Layer::On } else { Layer::Unsupported },
        seccomp,
        landlock,
        granted,
        state,
    })
}

impl Sandbox {
    /// Takes from an upload child what it does not need, before it reads a byte from the network. Only called in the child.
    /// Fails if the kernel refuses what it gave the daemon.
    pub fn narrow(&self, destination: &Destination) -> io::Result<()> {
        let keeps_token = matches!(destination, Destination::AzureIngestion(_));
        if let Layer::Version(version) = self.landlock {
            let mut grants: Vec<Grant> = self.granted.iter().map(|grant| grant.cut_to(landlock::READ)).collect();
            if keeps_token {
                grants.extend_from_slice(&self.state);
            }
            landlock::restrict(version, &grants, true)?;
        }
        seccomp::narrow(if keeps_token { Role::Token } else { Role::Upload })
    }

    /// Why this process may not do any more what a new configuration asks for in place of the old; `None`: it may.
    pub fn refusal(&self, new: &Config, old: &Config, settings: &Settings, paths: &Paths) -> Option<String> {
        let stays = |listen: &Listen| old.sources.iter().any(|source| source.listen == *listen);
        let mut opened = new.sources.iter().map(|source| &source.listen).filter(|listen| !stays(listen));
        let beyond = opened.find(|listen| !may_open(listen, paths));
        if let Some(listen) = beyond {
            let what = start::describe(listen);
            return Some(format!("opening {what} wants root or a privilege, and the agent has given up both"));
        }
        let wanted = if matches!(self.landlock, Layer::Version(_)) { grants(new, settings, paths) } else { Vec::new() };
        let missing = landlock::missing(&wanted, &self.granted);
        let path = missing.first()?.path().display();
        Some(format!("it needs {path}, which the sandbox keeps from an agent that runs"))
    }
}

/// Whether what is listened on can be opened without privilege.
fn may_open(listen: &Listen, paths: &Paths) -> bool {
    match listen {
        Listen::Udp(_, port) | Listen::Tcp(_, port) => *port >= first_open_port(),
        Listen::UnixDatagram(path) | Listen::UnixStream(path) => {
            paths.place(path).parent().is_none_or(|parent| !parent.exists() || privilege::may_write(parent))
        }
    }
}

/// Ports from this one on are for everybody. Source: ip_unprivileged_port_start in the kernel's documentation of ip-sysctl (4.11).
fn first_open_port() -> u16 {
    let told = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").ok();
    told.and_then(|text| text.trim().parse().ok()).unwrap_or(1024)
}

/// Every file that this configuration needs. Rules name directories, not files: what is replaced by another file must still be there.
fn grants(config: &Config, settings: &Settings, paths: &Paths) -> Vec<Grant> {
    let mut grants = Grants(Vec::new());
    HOST.iter().for_each(|path| grants.add(Path::new(path), landlock::READ));
    // What an agent in the background has for its standard streams.
    grants.add(Path::new("/dev/null"), landlock::WRITE);
    LINKS.iter().for_each(|link| grants.add_parents(Path::new(link), landlock::READ));
    if !Path::new(LINKS[0]).exists() {
        grants.add(Path::new(SETTINGS_TO_COME), landlock::READ);
    }
    if let Some(bundle) = std::env::var_os("SSL_CERT_FILE") {
        grants.add_parents(Path::new(&bundle), landlock::READ);
    }
    grants.add(&paths.place(paths::HOME), landlock::READ);
    if let Some(file) = &settings.config {
        grants.add_parents(file, landlock::READ);
    }
    grants.add(&paths.place(CHALLENGES), landlock::READ);
    for source in &config.sources {
        if let Listen::UnixDatagram(path) | Listen::UnixStream(path) = &source.listen {
            grants.add_parents(&paths.place(path), landlock::SOCKET);
        }
    }
    for target in &config.targets {
        let (replaced, read) = files_of(&target.destination);
        replaced.iter().for_each(|path| grants.add_parents(&paths.place(path), landlock::WRITE));
        read.iter()
            .filter(|path| !path.is_empty())
            .for_each(|path| grants.add_parents(&paths.place(path), landlock::READ));
    }
    grants.0
}

/// Where the ring and all other files of our own are.
fn state(settings: &Settings, paths: &Paths, ring: &Path) -> Vec<Grant> {
    let mut grants = Grants(Vec::new());
    grants.add_parents(ring, landlock::WRITE);
    match ring.parent().and_then(Path::parent) {
        // A demo's directory goes away with it.
        Some(parent) if settings.demo => grants.add(parent, landlock::REMOVE_DIRECTORY),
        _ => grants.add(&paths.state(), landlock::WRITE),
    }
    grants.0
}

/// The files of a destination that the agent replaces, and those that it only reads.
fn files_of(destination: &Destination) -> (Vec<&str>, Vec<&str>) {
    match destination {
        Destination::Stdout => (Vec::new(), Vec::new()),
        Destination::Oms(files) => (
            Vec::from([&*files.omsadmin_conf, &files.certificate, &files.key]),
            Vec::from([&*files.proxy_conf, &files.ca_file]),
        ),
        Destination::AzureIngestion(settings) => {
            let mut read = Vec::from([&*settings.rows.proxy_conf, &settings.rows.ca_file]);
            match &settings.identity {
                Identity::Secret { secret, .. } => read.push(secret),
                Identity::Certificate { certificate, key, .. } => read.extend([&**certificate, key]),
                Identity::Managed { .. } | Identity::Arc { .. } => {}
            }
            (Vec::new(), read)
        }
        Destination::DataCollector(settings) => {
            (Vec::new(), Vec::from([&*settings.shared_key, &settings.rows.proxy_conf, &settings.rows.ca_file]))
        }
    }
}

struct Grants(Vec<Grant>);

impl Grants {
    /// What is not there cannot be granted.
    fn add(&mut self, path: &Path, access: u64) {
        let Some(grant) = Grant::new(path, access) else { return };
        if !self.0.iter().any(|known| known.covers(&grant)) {
            self.0.push(grant);
        }
    }

    /// The directory of a file and, if it is a link, of what it leads to.
    fn add_parents(&mut self, file: &Path, access: u64) {
        let target = std::fs::canonicalize(file).ok();
        let parents = [Some(file), target.as_deref()].into_iter().flatten().filter_map(Path::parent);
        parents.for_each(|parent| self.add(parent, access));
    }
}

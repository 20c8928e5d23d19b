//! Takes over what Microsoft's agent for Linux (the original) knows on this host, and gives it back.
//!
//! ```text
//!  etc/opt/microsoft/omsagent/              read only; each file as a plain one, never through a link of its own
//!    WORKSPACE/conf/omsadmin.conf           agent id and endpoints ─> etc/opt/omsd/WORKSPACE/conf/omsadmin.conf
//!    WORKSPACE/certs/oms.crt, oms.key       ─> etc/opt/omsd/WORKSPACE/certs/, if they fit each other
//!    conf                                   link to the primary workspace ─> etc/opt/omsd/conf, certs
//!    proxy.conf, or conf/proxy.conf         ─> etc/opt/omsd/proxy.conf
//!    WORKSPACE/conf/omsagent.conf           of the primary, or sysconf/omsagent.conf ─> etc/opt/omsd/omsd.conf
//! ```
//!
//! Everything is read and checked before anything is written. `etc/opt/omsd/imported` says what was written, before it is; a failure
//! takes all of it back, and so does [`give_back`], but for what was changed since.

use crate::agent::paths::Paths;
use crate::config::files::HostFiles;
use crate::config::takeover::{Takeover, take_over};
use crate::config::{self, Config, Diagnostic, Files, Severity};
use crate::crypto::sha256_hex;
use crate::limits::{CONFIG_NAMES_MAX, DESTINATIONS_MAX, IDENTITY_BYTES_MAX};
use crate::onboard::certificate::{Certificate, expiry_unix_s};
use crate::onboard::identity::{self, Directory, FileError};
use crate::onboard::renewal::day_text;
use crate::sys::{self, clock, file};
use crate::upload::admin_conf::{AdminConf, AdminConfError};
use crate::upload::guid::is_guid;
use crate::upload::https;
use crate::upload::proxy::Proxy;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where the original keeps its configuration, below the root.
pub const ORIGINAL: &str = "/etc/opt/microsoft/omsagent";
/// Where it keeps the numbers of its processes.
const ORIGINAL_STATE: &str = "/var/opt/microsoft/omsagent";
/// The command that starts and stops it.
pub const SERVICE_CONTROL: &str = "/opt/microsoft/omsagent/bin/service_control";
/// What we wrote, below the root.
const RECORD: &str = "/etc/opt/omsd/imported";
const CONFIG: &str = crate::agent::paths::CONFIG;
/// Where a configuration goes that was here before.
const CONFIG_BEFORE: &str = "/etc/opt/omsd/omsd.conf.before-import";
const PROXY: &str = "/etc/opt/omsd/proxy.conf";
const CONFIG_MODE: u32 = 0o644;

/// What `omsd import` was asked.
#[derive(Debug)]
pub struct Request<'a> {
    /// `--root`
    pub root: &'a Path,
    /// `--from`: the original's configuration; `None`: [`ORIGINAL`] below the root.
    pub from: Option<&'a Path>,
    /// `-w`: only these workspaces; empty: all that were onboarded.
    pub workspaces: &'a [String],
    /// `--no-config`: the identity and the proxy only.
    pub no_config: bool,
}

/// What can be taken over.
pub struct Found {
    root: PathBuf,
    from: PathBuf,
    /// The primary one first.
    workspaces: Vec<Workspace>,
    proxy: Option<String>,
    configuration: Option<Configuration>,
    /// What the administrator should know, a sentence each.
    pub notes: Vec<String>,
}

struct Workspace {
    id: String,
    conf: AdminConf,
    pair: Certificate,
}

struct Configuration {
    /// The original's file.
    path: PathBuf,
    /// Ours.
    text: String,
    diagnostics: Vec<Diagnostic>,
    parsed: Config,
}

/// Why nothing is taken over, or not given back. Each displays as a sentence or, of a configuration, as several lines.
#[derive(Debug)]
pub enum ImportError {
    /// There is nothing of the original, or nothing that was onboarded.
    Nothing(PathBuf),
    /// A file of the original cannot be used. Holds why.
    Unusable(PathBuf, String),
    /// An option names what is not there, or there are more workspaces than omsd serves.
    Choose(String),
    /// Its configuration comes to none that omsd can use.
    Configuration(Vec<Diagnostic>),
    /// Something of ours is in the way. Holds what, and what to do.
    InTheWay(String),
    /// A file cannot be read or written.
    File(FileError),
}

type Result<T> = core::result::Result<T, ImportError>;

impl ImportError {
    /// The program's exit code: 64 a wrong choice, 73, 74 and 77 files, 75 something of ours is in the way, 78 nothing there, or what is there
    /// cannot be used.
    pub fn exit_code(&self) -> u8 {
        match self {
            ImportError::Choose(_) => 64,
            ImportError::InTheWay(_) => 75,
            ImportError::Nothing(_) | ImportError::Unusable(..) | ImportError::Configuration(_) => 78,
            ImportError::File(failed) => match failed.error.kind() {
                ErrorKind::PermissionDenied => 77,
                ErrorKind::ReadOnlyFilesystem | ErrorKind::StorageFull => 73,
                _ => 74,
            },
        }
    }
}

/// Reads and checks everything; writes nothing.
pub fn look(request: &Request) -> Result<Found> {
    let paths = Paths::below(request.root);
    let from = request.from.map_or_else(|| paths.place(ORIGINAL), Path::to_owned);
    check_room(&paths)?;
    let mut found = Found {
        root: request.root.to_owned(),
        workspaces: workspaces(&from, request.workspaces)?,
        proxy: proxy(&from)?,
        configuration: None,
        notes: Vec::new(),
        from,
    };
    found.note_identities();
    if !request.no_config {
        found.configuration = configuration(&found)?;
    }
    if paths.place(PROXY).exists() && found.proxy.take().is_some() {
        found.notes.push(format!("{} is there and stays as it is", paths.place(PROXY).display()));
    }
    found.notes.extend(running(request.root));
    found.note_forwarding();
    Ok(found)
}

/// There must be no agent here yet, of whose identity this would make a second one.
fn check_room(paths: &Paths) -> Result<()> {
    let root = paths.root();
    if paths.place(RECORD).exists() {
        let reason = "the original was taken over already: `omsd import --undo` gives it back";
        return Err(ImportError::InTheWay(reason.to_owned()));
    }
    match identity::list(root).first() {
        None => Ok(()),
        Some(known) => Err(ImportError::InTheWay(format!(
            "omsd is onboarded to workspace {0} already: `omsd onboard remove {0}` ends that",
            known.workspace_id
        ))),
    }
}

/// The workspaces that are wanted, the primary one first.
fn workspaces(from: &Path, wanted: &[String]) -> Result<Vec<Workspace>> {
    let nothing = || ImportError::Nothing(from.to_owned());
    let entries = match fs::read_dir(from) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(nothing()),
        entries => entries.map_err(|error| ImportError::File(FileError { path: from.to_owned(), error }))?,
    };
    let names = entries.take(CONFIG_NAMES_MAX).flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut ids: Vec<String> = names.filter(|id| is_guid(id)).collect();
    match wanted.iter().find(|id| !ids.contains(id)) {
        Some(id) => return Err(ImportError::Choose(format!("{} has no workspace {id}", from.display()))),
        // A directory without this file is what removing a workspace leaves behind.
        None if wanted.is_empty() => ids.retain(|id| is_there(&from.join(id).join("conf/omsadmin.conf"))),
        None => ids.retain(|id| wanted.contains(id)),
    }
    if ids.len() > DESTINATIONS_MAX {
        let reason = format!("{} workspaces are more than {DESTINATIONS_MAX}: name those to take with -w", ids.len());
        return Err(ImportError::Choose(reason));
    }
    let primary = fs::read_link(from.join("conf")).unwrap_or_default();
    ids.sort_by_key(|id| (!primary.iter().any(|part| part == id.as_str()), id.clone()));
    if ids.is_empty() {
        return Err(nothing());
    }
    ids.into_iter().map(|id| Workspace::read(from, id)).collect()
}

impl Workspace {
    fn read(from: &Path, id: String) -> Result<Workspace> {
        let directory = from.join(&id);
        let conf_path = directory.join("conf/omsadmin.conf");
        let conf = AdminConf::parse(&read(&conf_path)?).map_err(|AdminConfError::Missing(key)| {
            ImportError::Unusable(conf_path.clone(), format!("{key} is missing: this agent was never onboarded"))
        })?;
        let unusable = |reason: &str| Err(ImportError::Unusable(conf_path.clone(), reason.to_owned()));
        if !is_guid(&conf.agent_guid) {
            return unusable("AGENT_GUID is not a GUID");
        }
        if !conf.workspace_id.eq_ignore_ascii_case(&id) {
            return unusable("WORKSPACE_ID is not the name of its directory");
        }
        if !conf.oms_endpoint.starts_with("https://") {
            return unusable("OMS_ENDPOINT is no https address");
        }
        let key_path = directory.join("certs/oms.key");
        let mut pair =
            Certificate { certificate_pem: read(&directory.join("certs/oms.crt"))?, key_pem: read(&key_path)? };
        match https::fitting_key(&pair.certificate_pem, &pair.key_pem).map(ToOwned::to_owned) {
            Some(fitting) => sys::wipe_string(&mut core::mem::replace(&mut pair.key_pem, fitting)),
            None => {
                let reason = "this is not the key of the certificate oms.crt beside it";
                return Err(ImportError::Unusable(key_path, reason.to_owned()));
            }
        }
        Ok(Workspace { id, conf, pair })
    }
}

/// A small file of the original's.
fn read(path: &Path) -> Result<String> {
    let unusable = |reason: &str| ImportError::Unusable(path.to_owned(), reason.to_owned());
    let file = match open(path) {
        Err(error) if error.kind() == ErrorKind::InvalidInput => {
            return Err(unusable("a link, a pipe or a device: not a file"));
        }
        file => file.map_err(|error| ImportError::File(FileError { path: path.to_owned(), error }))?,
    };
    if file.metadata().is_ok_and(|file| file.len() > IDENTITY_BYTES_MAX) {
        return Err(unusable("too long"));
    }
    let text = identity::text_of(file).ok_or_else(|| unusable("not a text"))?;
    if text.trim().is_empty() { Err(unusable("empty")) } else { Ok(text) }
}

/// Opens a plain file; `InvalidInput` if it is anything else. A link is not followed: the account that owns these files may not have root
/// read for it what only root may read.
fn open(path: &Path) -> io::Result<File> {
    let is_plain =
        |metadata: Metadata| metadata.is_file().then_some(()).ok_or(io::Error::from(ErrorKind::InvalidInput));
    is_plain(fs::symlink_metadata(path)?)?;
    let file = file::open_to_look(path)?;
    is_plain(file.metadata()?)?;
    Ok(file)
}

/// What cannot be looked at is there, too: that is for whoever opens it to say.
fn is_there(path: &Path) -> bool {
    !fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

fn proxy(from: &Path) -> Result<Option<String>> {
    let Some(path) = ["proxy.conf", "conf/proxy.conf"].map(|name| from.join(name)).into_iter().find(|it| is_there(it))
    else {
        return Ok(None);
    };
    let setting = match read(&path) {
        Err(ImportError::Unusable(_, reason)) if reason == "empty" => return Ok(None),
        setting => setting?.trim().to_owned(),
    };
    match Proxy::parse(&setting) {
        Ok(proxy) => Ok(proxy.map(|_| setting)),
        Err(error) => Err(ImportError::Unusable(path, error.to_string())),
    }
}

/// What the primary workspace's configuration comes to here; `None`: it has none.
fn configuration(found: &Found) -> Result<Option<Configuration>> {
    let own = found.from.join(&found.workspaces[0].id).join("conf/omsagent.conf");
    let candidates = [own, found.from.join("sysconf/omsagent.conf")];
    let Some(path) = candidates.into_iter().find(|path| is_there(path)) else { return Ok(None) };
    let ids: Vec<&str> = found.workspaces.iter().map(|workspace| workspace.id.as_str()).collect();
    let mut files = OriginalFiles { host: HostFiles::new(&found.root), found };
    let Takeover { text, diagnostics } = take_over(&mut files, &path.to_string_lossy(), &ids);
    let head = format!(
        "# Made by `omsd import` of {}.\n# omsd.conf(5) has every key; `omsd check` says what is wrong with this file.\n",
        path.display()
    );
    let text = head + &text;
    match config::parse(&mut OneFile(&text), CONFIG) {
        Ok((parsed, _)) => Ok(Some(Configuration { path, text, diagnostics, parsed })),
        Err(left) => {
            let mut all = diagnostics;
            if !all.iter().any(|finding| finding.severity == Severity::Error) {
                all.extend(left);
            }
            Err(ImportError::Configuration(all))
        }
    }
}

/// The original's files, wherever they are: a copy of its directory names the place that it was copied from.
struct OriginalFiles<'a> {
    host: HostFiles,
    found: &'a Found,
}

impl OriginalFiles<'_> {
    fn place(&self, path: &str) -> String {
        let installed = Paths::below(&self.found.root).place(ORIGINAL);
        let moved = Path::new(path).strip_prefix(installed).map(|rest| self.found.from.join(rest));
        moved.map_or_else(|_| path.to_owned(), |moved| moved.to_string_lossy().into_owned())
    }
}

impl Files for OriginalFiles<'_> {
    fn read(&mut self, path: &str, bytes_max: usize) -> core::result::Result<Option<Vec<u8>>, String> {
        match open(Path::new(&self.place(path))) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == ErrorKind::InvalidInput => Err("a link or no file at all".to_owned()),
            file => read_bytes(file, bytes_max).map(Some).map_err(|error| error.to_string()),
        }
    }

    fn list(&mut self, directory: &str, names_max: usize) -> core::result::Result<Vec<String>, String> {
        let place = self.place(directory);
        self.host.list(&place, names_max)
    }

    fn root(&self) -> String {
        self.host.root()
    }
}

/// No more than one byte beyond the bound, by which a file that is too long is known.
fn read_bytes(file: io::Result<File>, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file?.take(u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A text that includes nothing.
struct OneFile<'a>(&'a str);

impl Files for OneFile<'_> {
    fn read(&mut self, _: &str, _: usize) -> core::result::Result<Option<Vec<u8>>, String> {
        Ok(Some(self.0.as_bytes().to_vec()))
    }

    fn list(&mut self, _: &str, _: usize) -> core::result::Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}

impl Found {
    /// What is odd about certificates and keys, but no reason to leave them.
    fn note_identities(&mut self) {
        let now_unix_s = clock::wall_s();
        for workspace in &self.workspaces {
            let Workspace { id, pair, .. } = workspace;
            match expiry_unix_s(&pair.certificate_pem) {
                Some(end) if end <= now_unix_s => self.notes.push(format!(
                    "the certificate of workspace {id} ended on {}: `omsd onboard -w {id}` gets a new one for the same agent",
                    day_text(end)
                )),
                _ => {}
            }
            let key = self.from.join(id).join("certs/oms.key");
            if fs::metadata(&key).is_ok_and(|key| key.mode() & 0o007 != 0) {
                self.notes
                    .push(format!("anybody may read {}: `omsd onboard --renew -w {id}` gets a new key", key.display()));
            }
        }
        for other in &self.workspaces[1..] {
            self.notes.push(format!(
                "workspace {} gets what the primary one gets; its own configuration and port are not taken over",
                other.id
            ));
        }
    }

    /// Two snippets for one port would bring every message twice.
    fn note_forwarding(&mut self) {
        let paths = Paths::below(&self.root);
        let [theirs, ours] = ["95-omsagent.conf", "95-omsd.conf"].map(|it| paths.place("/etc/rsyslog.d").join(it));
        if theirs.exists() && ours.exists() {
            self.notes.push(format!(
                "{} and {} both forward: remove one of them, or messages arrive twice",
                theirs.display(),
                ours.display()
            ));
        }
    }

    /// Writes it all, or nothing.
    pub fn take(&self) -> Result<()> {
        let paths = Paths::below(&self.root);
        let written = self.write(&paths);
        if written.is_err() {
            let _ = give_back(&self.root);
        }
        written
    }

    fn write(&self, paths: &Paths) -> Result<()> {
        let record = paths.place(RECORD);
        identity::make_parents(record.parent().unwrap_or(&record)).map_err(ImportError::File)?;
        store(&record, &self.record(paths), CONFIG_MODE)?;
        // The primary one last: the links lead to the last.
        for workspace in self.workspaces.iter().rev() {
            let directory = Directory::new(&self.root, &workspace.id);
            directory.prepare().map_err(ImportError::File)?;
            directory.store_pair(&workspace.pair, None).map_err(ImportError::File)?;
            directory.store_conf(&workspace.conf).map_err(ImportError::File)?;
            if let Some(proxy) = &self.proxy {
                directory.store_proxy(proxy).map_err(ImportError::File)?;
            }
        }
        let Some(configuration) = &self.configuration else { return Ok(()) };
        let (ours, before) = (paths.place(CONFIG), paths.place(CONFIG_BEFORE));
        if ours.exists() {
            fs::rename(&ours, &before).map_err(|error| ImportError::File(FileError { path: before, error }))?;
        }
        store(&ours, &configuration.text, CONFIG_MODE)
    }

    /// The text of [`RECORD`].
    fn record(&self, paths: &Paths) -> String {
        let mut text = format!(
            "# `omsd import` took this over; `omsd import --undo` gives it back.\nfrom {}\n",
            self.from.display()
        );
        for Workspace { id, conf, pair } in &self.workspaces {
            text.push_str(&format!(
                "workspace {id} {} {}\n",
                conf.agent_guid,
                sha256_hex(pair.certificate_pem.as_bytes())
            ));
        }
        if let Some(proxy) = &self.proxy {
            text.push_str(&format!("proxy {}\n", sha256_hex(proxy.as_bytes())));
        }
        if let Some(configuration) = &self.configuration {
            let before = if paths.place(CONFIG).exists() { " before" } else { "" };
            text.push_str(&format!("configuration {}{before}\n", sha256_hex(configuration.text.as_bytes())));
        }
        text
    }
}

/// Takes away what [`Found::take`] wrote, the original's files being where they were. Returns what there is to know, a sentence each: what
/// was changed since is kept.
pub fn give_back(root: &Path) -> Result<Vec<String>> {
    let paths = Paths::below(root);
    let record = paths.place(RECORD);
    if !record.exists() {
        return Err(ImportError::InTheWay("nothing was taken over: there is nothing to give back".to_owned()));
    }
    let mut notes = Vec::new();
    for line in read(&record)?.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["workspace", id, agent_guid, certificate] if is_guid(id) => {
                notes.extend(take_identity_away(root, id, agent_guid, certificate)?);
            }
            ["proxy", written] => notes.extend(take_away(&paths.place(PROXY), written)?),
            ["configuration", written, ref before @ ..] => {
                let kept = take_away(&paths.place(CONFIG), written)?;
                let (path, earlier) = (paths.place(CONFIG), paths.place(CONFIG_BEFORE));
                if !before.is_empty() && kept.is_none() && earlier.exists() {
                    fs::rename(&earlier, &path).map_err(|error| ImportError::File(FileError { path, error }))?;
                }
                notes.extend(kept);
            }
            _ => {}
        }
    }
    fs::remove_file(&record).map_err(|error| ImportError::File(FileError { path: record.clone(), error }))?;
    let _ = record.parent().map(fs::remove_dir); // stays if it holds anything
    Ok(notes)
}

fn take_identity_away(root: &Path, id: &str, agent_guid: &str, certificate: &str) -> Result<Option<String>> {
    let known = Directory::new(root, id).load();
    let (is_same_agent, is_renewed) = match &known {
        Some(known) => {
            (known.conf.agent_guid == agent_guid, sha256_hex(known.pair.certificate_pem.as_bytes()) != certificate)
        }
        None => (true, false),
    };
    if !is_same_agent {
        return Ok(Some(format!("workspace {id} was onboarded anew since: its identity stays here")));
    }
    identity::remove(root, id).map_err(ImportError::File)?;
    Ok(is_renewed.then(|| {
        format!("omsd renewed the certificate of workspace {id}: if the original's is refused now, onboard it again")
    }))
}

/// Removes a file that has what we wrote; a sentence if it is another by now.
fn take_away(path: &Path, written: &str) -> Result<Option<String>> {
    if !path.exists() {
        return Ok(None);
    }
    let failed = |error| ImportError::File(FileError { path: path.to_owned(), error });
    if sha256_hex(&fs::read(path).map_err(failed)?) != written {
        return Ok(Some(format!("{} was changed since and stays", path.display())));
    }
    fs::remove_file(path).map_err(failed)?;
    Ok(None)
}

/// What to do about the original, if it runs: a sentence without its end.
pub fn running(root: &Path) -> Option<String> {
    let entries = fs::read_dir(Paths::below(root).place(ORIGINAL_STATE)).ok()?.take(CONFIG_NAMES_MAX).flatten();
    let pid = entries.filter_map(|entry| process(&entry.path().join("run/omsagent.pid"))).next()?;
    Some(format!(
        "Microsoft's agent runs (process {pid}), and omsd cannot listen on its port: `{SERVICE_CONTROL} stop` stops it, \
         `{SERVICE_CONTROL} disable` keeps it from starting again"
    ))
}

/// The process of the original that this file names, if it lives.
fn process(file: &Path) -> Option<u32> {
    let mut text = String::new();
    open(file).ok()?.take(16).read_to_string(&mut text).ok()?;
    let pid: u32 = text.trim().parse().ok()?;
    let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    memchr::memmem::find(&command, b"omsagent").is_some().then_some(pid)
}

fn store(path: &Path, text: &str, mode: u32) -> Result<()> {
    let written = file::write_atomically(path, text.as_bytes(), mode);
    written.map_err(|error| ImportError::File(FileError { path: path.to_owned(), error }))
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Workspace { id, conf, .. }) in self.workspaces.iter().enumerate() {
            let kind = if index == 0 { "primary workspace" } else { "workspace" };
            writeln!(f, "{kind} {id}, agent {}, {}", conf.agent_guid, conf.oms_endpoint)?;
        }
        if self.proxy.is_some() {
            writeln!(f, "proxy.conf")?;
        }
        let Some(configuration) = &self.configuration else { return Ok(()) };
        writeln!(f, "configuration {}:", configuration.path.display())?;
        configuration.diagnostics.iter().try_for_each(|finding| writeln!(f, "  {finding}"))?;
        let Config { sources, perf, targets, .. } = &configuration.parsed;
        writeln!(f, "  comes to {} for syslog, {} for counters", sources.len(), perf.len())?;
        match targets.iter().find_map(|target| target.sending.retry_limit) {
            Some(limit) => writeln!(
                f,
                "  retry_limit {limit}, as it was: what fails so often is discarded. Without this line omsd keeps it until there is no room"
            ),
            None => Ok(()),
        }
    }
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImportError::Nothing(path) => {
                write!(f, "{}: no agent was onboarded there; --from names another place", path.display())
            }
            ImportError::Unusable(path, reason) => write!(f, "{}: {reason}", path.display()),
            ImportError::Choose(reason) | ImportError::InTheWay(reason) => f.write_str(reason),
            ImportError::Configuration(findings) => {
                findings.iter().try_for_each(|finding| writeln!(f, "{finding}"))?;
                f.write_str(
                    "its configuration cannot be used: with --no-config, identity and proxy are taken over without it",
                )
            }
            ImportError::File(failed) => failed.fmt(f),
        }
    }
}

impl core::error::Error for ImportError {}

#[cfg(test)]
mod tests;

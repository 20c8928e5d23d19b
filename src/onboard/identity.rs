//! The files an agent is known by, below `etc/opt/omsd`:
//!
//! ```text
//!  <workspace id>/conf/omsadmin.conf        0640 in 0750    who and where
//!  <workspace id>/certs/oms.crt, oms.key    0640, 0600 in 0700    the client certificate and its key
//!  conf, certs                              links to the directories of the primary workspace
//!  proxy.conf                               0600; root's: 0640, for the agent's group, which its directory has
//! ```
//!
//! Each is written whole or not at all, `omsadmin.conf` after the pair that it speaks of, the links last. The workspace's directory and
//! what is in it belong to whom the state belongs to: root onboards, the agent renews.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::certificate::Certificate;
use crate::config::OmsFiles;
use crate::limits::IDENTITY_BYTES_MAX;
use crate::sys;
use crate::sys::file::{self, write_atomically};
use crate::upload::admin_conf::AdminConf;
use crate::upload::guid::is_guid;

pub(super) const FILE_MODE: u32 = 0o640;
const KEY_MODE: u32 = 0o600;
const CONF_MODE: u32 = 0o750;
const CERTS_MODE: u32 = 0o700;
const PROXY_MODE: u32 = 0o600;
const PROXY_MODE_OF_ROOT: u32 = 0o640;
const PARENT_MODE: u32 = 0o755;

/// A file or directory that could not be made, and why.
#[derive(Debug)]
pub struct FileError {
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub error: io::Error,
}

type Result<T> = core::result::Result<T, FileError>;

/// Where the files of one workspace are.
#[derive(Debug, Clone)]
pub struct Directory {
    base: PathBuf,
    state: PathBuf,
    workspace_id: String,
}

/// An agent's identity as found in its files. The key is wiped when it is dropped.
pub struct Known {
    /// What `omsadmin.conf` says.
    pub conf: AdminConf,
    /// Certificate and key.
    pub pair: Certificate,
}

impl Directory {
    /// Of a workspace (a GUID) in the installation below `root`.
    pub fn new(root: &Path, workspace_id: &str) -> Directory {
        Directory { base: base(root), state: root.join("var/opt/omsd"), workspace_id: workspace_id.to_owned() }
    }

    fn workspace(&self) -> PathBuf {
        self.base.join(&self.workspace_id)
    }

    fn conf(&self) -> PathBuf {
        self.workspace().join("conf")
    }

    fn certs(&self) -> PathBuf {
        self.workspace().join("certs")
    }

    /// `omsadmin.conf`
    pub fn admin_conf(&self) -> PathBuf {
        self.conf().join("omsadmin.conf")
    }

    /// `oms.crt`
    pub fn certificate(&self) -> PathBuf {
        self.certs().join("oms.crt")
    }

    /// `oms.key`
    pub fn key(&self) -> PathBuf {
        self.certs().join("oms.key")
    }

    /// `proxy.conf`, which all workspaces share.
    pub fn proxy_conf(&self) -> PathBuf {
        self.base.join("proxy.conf")
    }

    /// The identity that is here, if all three files are, and can be read.
    pub fn load(&self) -> Option<Known> {
        let conf = AdminConf::parse(&read_text(&self.admin_conf())?).ok()?;
        let pair = Certificate { certificate_pem: read_text(&self.certificate())?, key_pem: read_text(&self.key())? };
        let whole = is_guid(&conf.agent_guid) && !pair.certificate_pem.is_empty() && !pair.key_pem.is_empty();
        whole.then_some(Known { conf, pair })
    }

    /// The proxy setting that is here.
    pub fn proxy(&self) -> Option<String> {
        read_text(&self.proxy_conf())
    }

    /// Makes the directories that are missing.
    pub fn prepare(&self) -> Result<()> {
        make_parents(&self.workspace())?;
        make_directory(&self.conf(), CONF_MODE)?;
        make_directory(&self.certs(), CERTS_MODE)?;
        self.directories().iter().for_each(|path| file::own_like(path, &self.state));
        Ok(())
    }

    /// Those directories, the outermost first.
    fn directories(&self) -> [PathBuf; 3] {
        [self.workspace(), self.conf(), self.certs()]
    }

    /// Takes back [`Directory::prepare`] where nothing was written.
    pub fn discard(&self) {
        for directory in self.directories().iter().rev() {
            let _ = fs::remove_dir(directory); // stays if it holds anything
        }
    }

    /// Writes a new pair in place of the one that is here.
    pub fn store_pair(&self, pair: &Certificate, old: Option<&Known>) -> Result<()> {
        swap(&self.certificate(), &self.key(), old.map(|old| old.pair.key_pem.as_str()), pair)
    }

    /// Writes `omsadmin.conf`, and makes this the primary workspace.
    pub fn store_conf(&self, conf: &AdminConf) -> Result<()> {
        write(&self.admin_conf(), &conf.to_text(), FILE_MODE)?;
        for name in ["certs", "conf"] {
            let link = self.base.join(name);
            point(&link, &Path::new(&self.workspace_id).join(name)).map_err(|error| FileError { path: link, error })?;
        }
        Ok(())
    }

    /// Writes the proxy setting; an empty one removes the file.
    pub fn store_proxy(&self, setting: &str) -> Result<()> {
        let path = self.proxy_conf();
        if !setting.is_empty() {
            let mode = if sys::privilege::is_root() { PROXY_MODE_OF_ROOT } else { PROXY_MODE };
            return write(&path, setting, mode);
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FileError { path, error }),
            _ => Ok(()),
        }
    }
}

/// Puts a pair in an old one's place. For a while the key's file holds both keys, so that at each moment one in it fits the
/// certificate; if the new certificate cannot be written, the old key stays.
pub(super) fn swap(certificate: &Path, key: &Path, old_key: Option<&str>, new: &Certificate) -> Result<()> {
    if let Some(old_key) = old_key {
        let mut both = String::with_capacity(old_key.len() + new.key_pem.len() + 1);
        both.push_str(old_key.trim_end());
        both.push('\n');
        both.push_str(&new.key_pem);
        let written = write(key, &both, KEY_MODE);
        sys::wipe_string(&mut both);
        written?;
    }
    let written = write(certificate, &new.certificate_pem, FILE_MODE);
    let last = if written.is_ok() { Some(new.key_pem.as_str()) } else { old_key };
    written.and(last.map_or(Ok(()), |key_pem| write(key, key_pem, KEY_MODE)))
}

fn base(root: &Path) -> PathBuf {
    root.join("etc/opt/omsd")
}

/// The text of a small file; `None` if it cannot be read, is too large or no text. What was read of it is wiped then.
pub(super) fn read_text(path: &Path) -> Option<String> {
    text_of(File::open(path).ok()?)
}

/// The same of an open file.
pub(crate) fn text_of(file: File) -> Option<String> {
    let size = file.metadata().ok()?.len();
    if size > IDENTITY_BYTES_MAX {
        return None;
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).ok()? + 1); // so that no copy of a key is left by growing
    let read = file.take(IDENTITY_BYTES_MAX).read_to_end(&mut bytes);
    match (read, String::from_utf8(bytes)) {
        (Ok(_), Ok(text)) => Some(text),
        (_, Ok(mut text)) => {
            sys::wipe_string(&mut text);
            None
        }
        (_, Err(error)) => {
            sys::wipe(&mut error.into_bytes());
            None
        }
    }
}

pub(super) fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    write_atomically(path, text.as_bytes(), mode).map_err(|error| FileError { path: path.to_owned(), error })
}

/// Makes a directory and those above it, with their modes whatever the umask; existing ones stay as they are.
pub(crate) fn make_parents(path: &Path) -> Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() && !parent.exists() => make_parents(parent)?,
        _ => {}
    }
    make_directory(path, PARENT_MODE)
}

fn make_directory(path: &Path, mode: u32) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let made = DirBuilder::new().mode(mode).create(path).and_then(|()| file::open_directory(path));
    made.and_then(|made| made.set_permissions(fs::Permissions::from_mode(mode)))
        .map_err(|error| FileError { path: path.to_owned(), error })
}

/// Makes or moves a symbolic link in one step. A directory that stands in its place is an error.
fn point(link: &Path, target: &Path) -> io::Result<()> {
    if fs::read_link(link).is_ok_and(|current| current == target) {
        return Ok(());
    }
    let name = link.file_name().and_then(|name| name.to_str()).unwrap_or("link");
    let temporary = link.with_file_name(format!(".{name}.new"));
    let _ = fs::remove_file(&temporary);
    symlink(target, &temporary)?;
    fs::rename(&temporary, link).inspect_err(|_| drop(fs::remove_file(&temporary)))
}

/// The files of one workspace, or of the primary one for an empty id, with what else a request needs.
pub fn files(root: &Path, workspace_id: &str, ca_file: Option<String>, no_proxy: Option<String>) -> OmsFiles {
    let directory = Directory::new(root, workspace_id);
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    OmsFiles {
        omsadmin_conf: text(directory.admin_conf()),
        certificate: text(directory.certificate()),
        key: text(directory.key()),
        proxy_conf: text(directory.proxy_conf()),
        no_proxy: no_proxy.unwrap_or_default(),
        ca_file: ca_file.unwrap_or_default(),
        compress: true,
    }
}

/// Takes the identity of a workspace (a GUID) away, with everything in its directory, and the links to it first.
pub fn remove(root: &Path, workspace_id: &str) -> Result<()> {
    let directory = Directory::new(root, workspace_id);
    let failed = |path: &Path, error| FileError { path: path.to_owned(), error };
    for name in ["conf", "certs"] {
        let link = directory.base.join(name);
        if fs::read_link(&link).is_ok_and(|target| target == Path::new(workspace_id).join(name)) {
            fs::remove_file(&link).map_err(|error| failed(&link, error))?;
        }
    }
    match fs::remove_dir_all(directory.workspace()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&directory.workspace(), error)),
        _ => Ok(()),
    }
}

/// One line of `omsd onboard list`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    /// Its id; for a primary link that leads nowhere, what the link names.
    pub workspace_id: String,
    /// Whether the links without an id lead here.
    pub is_primary: bool,
    /// Whether all three files are there.
    pub is_onboarded: bool,
}

/// The workspaces that have a directory, the primary first, the others in the order of their ids.
pub fn list(root: &Path) -> Vec<Workspace> {
    let base = base(root);
    let primary = fs::read_link(base.join("conf")).ok();
    let primary = primary.and_then(|target| Some(target.iter().next()?.to_str()?.to_owned()));
    let entries = fs::read_dir(&base).map_or_else(|_| Vec::new(), |entries| entries.flatten().collect());
    let names = entries.iter().filter_map(|entry| entry.file_name().into_string().ok());
    let mut ids: Vec<String> = names.filter(|name| is_guid(name)).chain(primary.clone()).collect();
    ids.sort_by_key(|id| (Some(id) != primary.as_ref(), id.clone()));
    ids.dedup();
    let describe = |workspace_id: String| Workspace {
        is_primary: Some(&workspace_id) == primary.as_ref(),
        is_onboarded: Directory::new(root, &workspace_id).load().is_some(),
        workspace_id,
    };
    ids.into_iter().map(describe).collect()
}

/// The text of `omsd onboard list`: the original's lines. `is_running`: an agent runs on this installation.
pub fn list_text(workspaces: &[Workspace], is_running: bool) -> String {
    let mut text = String::new();
    for workspace in workspaces {
        let status = match (workspace.is_onboarded, workspace.is_primary && is_running) {
            (true, true) => "Onboarded(omsd Running)",
            (true, false) => "Saved(omsd Not Running, Workspace Configuration Saved)",
            (false, _) => "Failure(Agent Not Onboarded, No Workspace Configuration Present)",
        };
        text.push_str(&format!("{workspace}    Status: {status}\n"));
    }
    if text.is_empty() { "No Workspace\n".to_owned() } else { text }
}

impl fmt::Display for Workspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}Workspace: {}", if self.is_primary { "Primary " } else { "" }, self.workspace_id)
    }
}

/// The machine's UUID in lower case; empty where the firmware gives none or only root may read it and we are not.
/// Source: `/sys/class/dmi/id/product_uuid`.
pub fn machine_uuid() -> String {
    let uuid = read_line("/sys/class/dmi/id/product_uuid").to_ascii_lowercase();
    if is_guid(&uuid) { uuid } else { String::new() }
}

/// What identifies an Azure machine: the asset tag if it starts with 77, else nothing.
/// Source: `/sys/class/dmi/id/chassis_asset_tag`.
pub fn cloud_id() -> String {
    let tag = read_line("/sys/class/dmi/id/chassis_asset_tag");
    if tag.starts_with("77") && tag.bytes().all(|byte| byte.is_ascii_graphic()) { tag } else { String::new() }
}

/// The first line of a file of the kernel's without its spaces; empty if it cannot be read.
fn read_line(path: &str) -> String {
    let text = read_small(path).unwrap_or_default();
    text.lines().next().unwrap_or("").replace(' ', "")
}

/// A file of the system's, at most 64 KiB of it; sysfs says 4096 bytes of every file, so sizes are not asked for.
pub(super) fn read_small(path: &str) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(IDENTITY_BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.error)
    }
}

impl core::error::Error for FileError {}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use core::sync::atomic::{AtomicU32, Ordering};

    /// An empty installation of its own, removed afterwards.
    pub(crate) struct Root(pub(crate) PathBuf);

    impl Root {
        pub(crate) fn new() -> Root {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let number = COUNT.fetch_add(1, Ordering::SeqCst);
            let root = std::env::temp_dir().join(format!("omsd-onboard-{}-{number}", std::process::id()));
            fs::create_dir_all(&root).unwrap();
            Root(root)
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const FIRST: &str = "11111111-1111-1111-1111-111111111111";
    const SECOND: &str = "22222222-2222-2222-2222-222222222222";

    fn conf(agent_guid: &str) -> AdminConf {
        AdminConf {
            agent_guid: agent_guid.into(),
            oms_endpoint: "https://e/".into(),
            uuid: Some(String::new()),
            ..AdminConf::default()
        }
    }

    fn pair(key: &str) -> Certificate {
        Certificate { certificate_pem: "crt".into(), key_pem: key.into() }
    }

    fn store(root: &Path, workspace_id: &str) -> Directory {
        let directory = Directory::new(root, workspace_id);
        directory.prepare().unwrap();
        directory.store_pair(&pair("key"), None).unwrap();
        directory.store_conf(&conf(FIRST)).unwrap();
        directory
    }

    #[test]
    fn the_files_stand_where_they_should_with_their_modes() {
        let root = Root::new();
        let directory = store(&root.0, FIRST);
        directory.store_proxy("proxy:3128").unwrap();
        let base = root.0.join("etc/opt/omsd");
        let mode = |path: &str| fs::metadata(base.join(path)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(""), 0o755);
        assert_eq!(mode("conf/"), 0o750);
        assert_eq!(mode("certs/"), 0o700);
        for (file, expected) in [("conf/omsadmin.conf", 0o640), ("certs/oms.crt", 0o640), ("certs/oms.key", 0o600)] {
            assert_eq!(mode(file), expected, "{file}");
            assert_eq!(mode(&format!("{FIRST}/{file}")), expected, "{file}");
        }
        assert_eq!(mode("proxy.conf"), if sys::privilege::is_root() { 0o640 } else { 0o600 });
        assert_eq!(fs::read_link(base.join("conf")).unwrap(), Path::new(FIRST).join("conf"));
        assert_eq!(fs::read_link(base.join("certs")).unwrap(), Path::new(FIRST).join("certs"));
        assert_eq!(fs::read_dir(&base).unwrap().count(), 4, "something was left behind");
        let known = directory.load().unwrap();
        assert_eq!((known.conf, known.pair.key_pem.as_str()), (conf(FIRST), "key"));
        directory.store_proxy("").unwrap();
        directory.store_proxy("").unwrap();
        assert_eq!(directory.proxy(), None);
    }

    #[test]
    fn an_identity_with_a_missing_or_empty_file_is_none() {
        for file in ["conf/omsadmin.conf", "certs/oms.crt", "certs/oms.key"] {
            let root = Root::new();
            let directory = store(&root.0, FIRST);
            let path = directory.workspace().join(file);
            fs::write(&path, "").unwrap();
            assert!(directory.load().is_none(), "{file}");
            fs::remove_file(&path).unwrap();
            assert!(directory.load().is_none(), "{file}");
        }
    }

    #[test]
    fn a_workspace_that_is_removed_leaves_the_others() {
        let root = Root::new();
        store(&root.0, FIRST);
        store(&root.0, SECOND);
        remove(&root.0, FIRST).unwrap();
        assert!(Directory::new(&root.0, FIRST).load().is_none() && Directory::new(&root.0, SECOND).load().is_some());
        assert!(root.0.join("etc/opt/omsd/certs/oms.crt").exists(), "the primary one is another");
        remove(&root.0, SECOND).unwrap();
        remove(&root.0, SECOND).unwrap();
        assert_eq!(fs::read_dir(root.0.join("etc/opt/omsd")).unwrap().count(), 0, "something was left behind");
    }

    #[test]
    fn half_a_pair_is_taken_back() {
        let root = Root::new();
        let directory = store(&root.0, FIRST);
        let old = directory.load().unwrap();
        fs::remove_file(directory.certificate()).unwrap();
        fs::create_dir(directory.certificate()).unwrap();
        let failed = directory.store_pair(&pair("new"), Some(&old)).unwrap_err();
        assert_eq!(failed.path, directory.certificate());
        assert_eq!(fs::read_to_string(directory.key()).unwrap(), "key");
    }

    #[test]
    fn the_last_workspace_onboarded_is_the_primary_and_listed_first() {
        let root = Root::new();
        assert_eq!(list_text(&list(&root.0), true), "No Workspace\n");
        store(&root.0, SECOND);
        store(&root.0, FIRST);
        fs::remove_file(store(&root.0, SECOND).key()).unwrap();
        let expected = format!(
            "Primary Workspace: {SECOND}    Status: Failure(Agent Not Onboarded, No Workspace Configuration Present)\n\
             Workspace: {FIRST}    Status: Saved(omsd Not Running, Workspace Configuration Saved)\n"
        );
        assert_eq!(list_text(&list(&root.0), true), expected);
        store(&root.0, FIRST);
        let text = list_text(&list(&root.0), true);
        assert!(
            text.starts_with(&format!("Primary Workspace: {FIRST}    Status: Onboarded(omsd Running)\n")),
            "{text}"
        );
        assert!(list_text(&list(&root.0), false).contains("Status: Saved("));
    }

    #[test]
    fn directories_of_a_failed_onboarding_are_removed_but_never_ones_with_files() {
        let root = Root::new();
        let directory = Directory::new(&root.0, FIRST);
        directory.prepare().unwrap();
        directory.discard();
        assert!(!directory.workspace().exists());
        let directory = store(&root.0, FIRST);
        directory.discard();
        assert!(directory.load().is_some());
    }

    #[test]
    fn a_place_that_cannot_hold_files_is_named() {
        let root = Root::new();
        fs::write(root.0.join("etc"), "").unwrap();
        let failed = Directory::new(&root.0, FIRST).prepare().unwrap_err();
        assert!(failed.path.starts_with(root.0.join("etc")), "{failed}");
        let root = Root::new();
        fs::create_dir_all(root.0.join("etc/opt/omsd/certs/x")).unwrap();
        let directory = Directory::new(&root.0, FIRST);
        directory.prepare().unwrap();
        assert_eq!(directory.store_conf(&conf(FIRST)).unwrap_err().path, root.0.join("etc/opt/omsd/certs"));
    }
}

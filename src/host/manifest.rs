//! What an installation consists of, in `etc/opt/omsd/manifest`: text, one line a thing, in the order it was made.
//!
//! ```text
//!  mode MODE                           who supervises: systemd, sysv, upstart, openrc, cron or none
//!  group NAME                          a group that we made
//!  account NAME                        an account that we made
//!  directory MODE OWNER PATH           a directory that was not there before
//!  file MODE OWNER SHA256 PATH         a file, and its bytes; one line for each version that was written
//!  link TARGET PATH                    a symbolic link; no blank in the target
//!  runlevels TOOL                      links of /etc/rcN.d, made by update-rc.d, chkconfig or insserv
//!  leftover PATH                       what the tools that make accounts leave behind, or an agent at /dev/log, and was not there before
//!  crontab LINE                        a line of root's crontab, where there is no /etc/cron.d
//! ```
//!
//! `MODE` is octal, `OWNER` is `USER:GROUP`, by name where there is one; paths are as they are seen below `--root`. A line is on the disk before
//! what it names is begun, so whatever an interrupted command leaves behind has its line, and a line may name what is not there. A
//! last line without its end was never acted on. While a file is written it is called `.NAME.new`; so is the topmost of the
//! directories that the manifest is in, if they have to be made.

use crate::limits::MANIFEST_BYTES_MAX;
use crate::sys::file;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Where it is, below the root.
pub const PATH: &str = "/etc/opt/omsd/manifest";
/// Who may read it: it holds no secret.
const MODE: u32 = 0o644;
/// Directories above it, if they are not there.
const DIRECTORY_MODE: u32 = 0o755;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// Who supervises: the name of a [`super::init::Mode`].
    Mode(String),
    /// A group that we made.
    Group(String),
    /// An account that we made.
    Account(String),
    /// A directory that was not there before.
    Directory {
        /// Its permissions.
        mode: u32,
        /// `USER:GROUP`
        owner: String,
        /// Where.
        path: String,
    },
    /// A file that we wrote.
    File {
        /// Its permissions.
        mode: u32,
        /// `USER:GROUP`
        owner: String,
        /// SHA-256 of its bytes, in hex.
        digest: String,
        /// Where.
        path: String,
    },
    /// A symbolic link that we made.
    Link {
        /// What it says.
        target: String,
        /// Where.
        path: String,
    },
    /// Links into runlevels, made by this tool.
    Runlevels(String),
    /// A line of root's crontab.
    Crontab(String),
    /// A file that another program makes when it does what we ask for.
    Leftover(String),
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Entry::Mode(mode) => write!(f, "mode {mode}"),
            Entry::Group(name) => write!(f, "group {name}"),
            Entry::Account(name) => write!(f, "account {name}"),
            Entry::Directory { mode, owner, path } => write!(f, "directory {mode:04o} {owner} {path}"),
            Entry::File { mode, owner, digest, path } => write!(f, "file {mode:04o} {owner} {digest} {path}"),
            Entry::Link { target, path } => write!(f, "link {target} {path}"),
            Entry::Runlevels(tool) => write!(f, "runlevels {tool}"),
            Entry::Crontab(line) => write!(f, "crontab {line}"),
            Entry::Leftover(path) => write!(f, "leftover {path}"),
        }
    }
}

impl Entry {
    /// `None`: not a line that this version knows.
    fn parse(line: &str) -> Option<Entry> {
        let (kind, rest) = line.split_once(' ')?;
        let text = rest.to_owned();
        Some(match kind {
            "mode" => Entry::Mode(text),
            "group" => Entry::Group(text),
            "account" => Entry::Account(text),
            "runlevels" => Entry::Runlevels(text),
            "crontab" => Entry::Crontab(text),
            "leftover" => Entry::Leftover(text),
            "link" => {
                let (target, path) = rest.split_once(' ')?;
                Entry::Link { target: target.to_owned(), path: path.to_owned() }
            }
            "directory" | "file" => {
                let (mode, rest) = rest.split_once(' ')?;
                let mode = u32::from_str_radix(mode, 8).ok()?;
                let (owner, rest) = rest.split_once(' ')?;
                let owner = owner.to_owned();
                if kind == "directory" {
                    return Some(Entry::Directory { mode, owner, path: rest.to_owned() });
                }
                let (digest, path) = rest.split_once(' ')?;
                Entry::File { mode, owner, digest: digest.to_owned(), path: path.to_owned() }
            }
            _ => return None,
        })
    }

    /// The path that it names, if it names one.
    pub fn path(&self) -> Option<&str> {
        match self {
            Entry::Directory { path, .. } | Entry::File { path, .. } | Entry::Link { path, .. } => Some(path),
            _ => None,
        }
    }
}

/// The manifest of an installation.
#[derive(Debug)]
pub struct Manifest {
    root: PathBuf,
    entries: Vec<Entry>,
    is_dry: bool,
}

impl Manifest {
    /// That of the installation below `root`, empty if there is none. `InvalidData`: it has a line that this version does not know, so a
    /// newer omsd must take the installation back.
    pub fn load(root: &Path) -> io::Result<Manifest> {
        let mut manifest = Manifest { root: root.to_owned(), entries: Vec::new(), is_dry: false };
        let mut text = String::new();
        match File::open(manifest.file()) {
            Ok(file) => file.take(MANIFEST_BYTES_MAX).read_to_string(&mut text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(manifest),
            Err(error) => return Err(error),
        };
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        for line in text[..whole].lines() {
            let entry = Entry::parse(line)
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("not understood: {line}")))?;
            manifest.entries.push(entry);
        }
        Ok(manifest)
    }

    /// From now on nothing is written: what is noted is only remembered.
    pub fn pretend(&mut self) {
        self.is_dry = true;
    }

    /// The root that its paths are below.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What it names, oldest first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether there is an installation.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Where this path of the installation is.
    pub fn place(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn file(&self) -> PathBuf {
        self.place(PATH)
    }

    /// Who supervises, as the last line about it says.
    pub fn mode(&self) -> Option<&str> {
        self.entries.iter().rev().find_map(|entry| match entry {
            Entry::Mode(mode) => Some(mode.as_str()),
            _ => None,
        })
    }

    /// Whether we once wrote these bytes there.
    pub fn wrote(&self, wanted: &str, bytes_digest: &str) -> bool {
        self.entries
            .iter()
            .any(|entry| matches!(entry, Entry::File { path, digest, .. } if path == wanted && digest == bytes_digest))
    }

    /// Notes what is about to be made; returns once that is on the disk. What is noted already is not noted again.
    pub fn add(&mut self, entry: Entry) -> io::Result<()> {
        if self.entries.contains(&entry) {
            return Ok(());
        }
        let line = format!("{entry}\n");
        if line.bytes().filter(|byte| byte.is_ascii_control()).count() > 1 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a path with a control character"));
        }
        let is_first = self.entries.is_empty();
        let missing = if is_first { self.missing_directories() } else { Vec::new() };
        self.entries.extend(missing.iter().map(|path| our_directory(path)));
        let above = self.entries.len();
        self.entries.push(entry);
        if self.is_dry {
            return Ok(());
        }
        if is_first && !self.file().exists() {
            self.create(&missing, above)?;
        }
        let mut file = OpenOptions::new().append(true).open(self.file())?;
        // A line that was torn is not to become the beginning of this one.
        if !fs::read(self.file())?.ends_with(b"\n") {
            return self.store();
        }
        file.write_all(line.as_bytes())?;
        file.sync_data()
    }

    /// Makes the manifest with its first `count` lines, which name the directories above it that are made with it, in one step.
    fn create(&self, missing: &[&str], count: usize) -> io::Result<()> {
        let lines = text_of(&self.entries[..count]);
        let Some(top) = missing.first() else { return file::write_atomically(&self.file(), lines.as_bytes(), MODE) };
        let staged = temporary(&self.place(top));
        let _ = fs::remove_dir_all(&staged);
        let within = |path: &str| staged.join(path[top.len()..].trim_start_matches('/'));
        for path in missing {
            let directory = within(path);
            DirBuilder::new().mode(DIRECTORY_MODE).create(&directory)?;
            fs::set_permissions(&directory, fs::Permissions::from_mode(DIRECTORY_MODE))?;
        }
        file::write_atomically(&within(PATH), lines.as_bytes(), MODE)?;
        fs::rename(&staged, self.place(top))?;
        file::sync_directory_of(&self.place(top))
    }

    /// The directories above the manifest that are not there, the topmost first.
    fn missing_directories(&self) -> Vec<&'static str> {
        above().filter(|path| !self.place(path).is_dir()).collect()
    }

    /// Keeps of the entries those that `keep` says.
    pub fn retain(&mut self, keep: impl FnMut(&Entry) -> bool) {
        self.entries.retain(keep);
    }

    /// Writes all lines anew, in one step.
    pub fn store(&self) -> io::Result<()> {
        if self.is_dry { Ok(()) } else { file::write_atomically(&self.file(), text_of(&self.entries).as_bytes(), MODE) }
    }

    /// Removes the file, and with it, in one step, the directories above it that we made and that hold nothing else.
    pub fn remove(&self) -> io::Result<()> {
        let is_ours = |path: &&str| self.entries.contains(&our_directory(path));
        let holds_one = |path: &&str| fs::read_dir(self.place(path)).is_ok_and(|names| names.count() == 1);
        let mut paths: Vec<&str> = above().collect();
        paths.reverse();
        let Some(top) = paths.into_iter().take_while(|path| is_ours(path) && holds_one(path)).last() else {
            return fs::remove_file(self.file());
        };
        let staged = temporary(&self.place(top));
        fs::rename(self.place(top), &staged)?;
        fs::remove_dir_all(&staged)
    }

    /// What an interrupted command may have left beside the manifest, that no line of it tells.
    pub fn leftovers(&self) -> Vec<PathBuf> {
        above().chain([PATH]).map(|path| temporary(&self.place(path))).filter(|path| path.exists()).collect()
    }
}

fn text_of(entries: &[Entry]) -> String {
    entries.iter().map(|entry| format!("{entry}\n")).collect()
}

/// The line of a directory that is made for the manifest.
fn our_directory(path: &str) -> Entry {
    Entry::Directory { mode: DIRECTORY_MODE, owner: "root:root".to_owned(), path: path.to_owned() }
}

/// The directories that the manifest is in, the topmost first.
fn above() -> impl Iterator<Item = &'static str> {
    PATH.match_indices('/').skip(1).map(|(end, _)| &PATH[..end])
}

/// What a file or directory is called until it is whole.
pub fn temporary(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An empty directory, removed at the end.
    struct Root(PathBuf);

    impl Root {
        fn new(name: &str) -> Root {
            let path = std::env::temp_dir().join(format!("omsd-manifest-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Root(path)
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn some_entries() -> Vec<Entry> {
        let lines = [
            "mode systemd",
            "group omsd",
            "account omsd",
            "directory 0700 omsd:omsd /var/opt/omsd",
            "file 0755 root:root 00ff /opt/a directory/omsd",
            "link ../omsd.service /etc/systemd/system/multi-user.target.wants/omsd.service",
            "runlevels update-rc.d",
            "leftover /etc/passwd-",
            "crontab * * * * * test -x /opt/omsd/bin/omsd",
        ];
        lines.map(|line| Entry::parse(line).expect(line)).to_vec()
    }

    #[test]
    fn what_was_noted_is_read_again_in_its_order() {
        let root = Root::new("order");
        let mut manifest = Manifest::load(&root.0).unwrap();
        assert!(manifest.is_empty());
        for entry in some_entries() {
            manifest.add(entry.clone()).unwrap();
            manifest.add(entry).unwrap(); // again: nothing more
        }
        let read = Manifest::load(&root.0).unwrap();
        let made = ["/etc", "/etc/opt", "/etc/opt/omsd"];
        let paths: Vec<_> = read.entries()[..3].iter().map(|entry| entry.path().unwrap()).collect();
        assert_eq!(paths, made);
        assert_eq!(read.entries()[3..], some_entries());
        assert_eq!(read.mode(), Some("systemd"));
        assert!(read.wrote("/opt/a directory/omsd", "00ff") && !read.wrote("/opt/a directory/omsd", "00fe"));
        assert!(read.leftovers().is_empty());
    }

    #[test]
    fn a_torn_line_counts_for_nothing_and_spoils_no_other() {
        let root = Root::new("torn");
        let mut manifest = Manifest::load(&root.0).unwrap();
        manifest.add(Entry::Group("omsd".to_owned())).unwrap();
        let path = root.0.join("etc/opt/omsd/manifest");
        let whole = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{whole}account om")).unwrap();
        let mut manifest = Manifest::load(&root.0).unwrap();
        assert_eq!(manifest.entries().last(), Some(&Entry::Group("omsd".to_owned())));
        manifest.add(Entry::Account("omsd".to_owned())).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{whole}account omsd\n"));
    }

    #[test]
    fn a_line_of_a_newer_version_is_refused_and_kept() {
        let root = Root::new("newer");
        fs::create_dir_all(root.0.join("etc/opt/omsd")).unwrap();
        fs::write(root.0.join("etc/opt/omsd/manifest"), "group omsd\nquantum 7\n").unwrap();
        assert_eq!(Manifest::load(&root.0).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_path_that_would_make_two_lines_is_refused() {
        let root = Root::new("lines");
        let mut manifest = Manifest::load(&root.0).unwrap();
        let entry = Entry::Link { target: "a".to_owned(), path: "/b\naccount root".to_owned() };
        assert!(manifest.add(entry).is_err());
        assert!(!root.0.join("etc").exists());
    }
}

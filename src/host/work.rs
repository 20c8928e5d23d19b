//! What is made, step by step: said, noted, done. A dry run only says.

use super::account::Account;
use super::manifest::{Entry, Manifest};
use super::{HostError, at, is_live, run};
use crate::crypto::sha256_hex;
use crate::sys::file::write_atomically;
use crate::sys::{privilege, process};
use alloc::borrow::ToOwned;
use alloc::format;
use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};

/// What became of a file that was to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrote {
    /// It is new, or replaced the one that we had written.
    Now,
    /// It was there with these bytes.
    Already,
    /// The administrator changed it, so it stays.
    Kept,
}

/// The steps of one command.
#[derive(Debug)]
pub struct Work {
    manifest: Manifest,
    is_dry: bool,
}

impl Work {
    /// Below this root; `is_dry`: nothing is done.
    pub fn new(root: &Path, is_dry: bool) -> Result<Work, HostError> {
        let mut manifest =
            Manifest::load(root).map_err(|error| HostError::File(root.join("etc/opt/omsd/manifest"), error))?;
        if is_dry {
            manifest.pretend();
        }
        process::permit_file_modes();
        Ok(Work { manifest, is_dry })
    }

    /// What was noted up to now.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The root of all paths.
    pub fn root(&self) -> &Path {
        self.manifest.root()
    }

    /// Where this path of the installation is.
    pub fn place(&self, path: &str) -> PathBuf {
        self.manifest.place(path)
    }

    /// Whether nothing is done.
    pub fn is_dry(&self) -> bool {
        self.is_dry
    }

    /// Whether programs of this host may be run.
    pub fn is_live(&self) -> bool {
        is_live(self.root())
    }

    /// Says something to the administrator.
    pub fn tell(&self, text: &str) {
        let _ = writeln!(io::stdout(), "{text}");
    }

    /// Says what is about to be made, and notes it.
    pub fn note(&mut self, entry: Entry) -> Result<(), HostError> {
        let known = self.manifest.entries().len();
        let noted = self.manifest.add(entry);
        for entry in &self.manifest.entries()[known..] {
            match entry {
                // The digest is for the manifest.
                Entry::File { mode, owner, path, .. } => self.tell(&format!("+ file {mode:04o} {owner} {path}")),
                entry => self.tell(&format!("+ {entry}")),
            }
        }
        noted.map_err(at(&self.place(super::manifest::PATH)))
    }

    /// Takes a note back: what it named is gone again.
    pub fn forget(&mut self, path: &str) -> Result<(), HostError> {
        self.manifest.retain(|entry| entry.path() != Some(path));
        self.manifest.store().map_err(at(&self.place(super::manifest::PATH)))
    }

    /// Of what was written to a path, only the last version is ours from now on.
    pub fn forget_older_versions(&mut self) -> Result<(), HostError> {
        let entries = self.manifest.entries().to_owned();
        let is_last = |entry: &Entry| {
            let same = |other: &&Entry| matches!(other, Entry::File { .. }) && other.path() == entry.path();
            !matches!(entry, Entry::File { .. }) || entries.iter().rfind(same) == Some(entry)
        };
        if entries.iter().all(is_last) {
            return Ok(());
        }
        self.manifest.retain(is_last);
        self.manifest.store().map_err(at(&self.place(super::manifest::PATH)))
    }

    /// Runs a program of the host.
    pub fn run(&mut self, name: &str, arguments: &[&str]) -> Result<(), HostError> {
        self.tell(&format!("run {name} {}", arguments.join(" ")));
        if self.is_dry { Ok(()) } else { run(name, arguments) }
    }

    /// Makes a directory that is not there, and those above it as root's.
    pub fn directory(&mut self, path: &str, mode: u32, owner: &Account) -> Result<(), HostError> {
        let place = self.place(path);
        let is_noted = |entry: &Entry| matches!(entry, Entry::Directory { path: noted, .. } if noted == path);
        if place.is_dir() || (self.is_dry && self.manifest.entries().iter().any(is_noted)) {
            return Ok(());
        }
        self.directory_of(path)?;
        self.note(Entry::Directory { mode, owner: owner.owner(), path: path.to_owned() })?;
        if self.is_dry {
            return Ok(());
        }
        DirBuilder::new().mode(mode).create(&place).map_err(at(&place))?;
        if privilege::is_root() { chown(&place, owner.uid, owner.gid).map_err(at(&place)) } else { Ok(()) }
    }

    fn directory_of(&mut self, path: &str) -> Result<(), HostError> {
        match path.rfind('/') {
            Some(end @ 1..) => self.directory(&path[..end], 0o755, &Account::root()),
            _ => Ok(()),
        }
    }

    /// Writes a file as `write_atomically` does, unless it has these bytes or the administrator changed it. Fails if there is a file that
    /// is not of this installation.
    pub fn file(&mut self, path: &str, bytes: &[u8], mode: u32, owner: &Account) -> Result<Wrote, HostError> {
        let place = self.place(path);
        let is_ours = self.manifest.entries().iter().any(|entry| entry.path() == Some(path));
        match read_file(&place) {
            Ok(Some(old)) if old == bytes => return Ok(Wrote::Already),
            Ok(Some(old)) if self.manifest.wrote(path, &sha256_hex(&old)) => {}
            Ok(Some(_)) | Err(_) if is_ours => {
                self.tell(&format!("kept {path}: it was changed since it was installed"));
                return Ok(Wrote::Kept);
            }
            Ok(Some(_)) | Err(_) => {
                return Err(HostError::Refused(format!(
                    "{} is there and not of this installation: move it away",
                    place.display()
                )));
            }
            Ok(None) => {}
        }
        self.directory_of(path)?;
        self.note(Entry::File { mode, owner: owner.owner(), digest: sha256_hex(bytes), path: path.to_owned() })?;
        if !self.is_dry {
            write_atomically(&place, bytes, mode).map_err(at(&place))?;
        }
        Ok(Wrote::Now)
    }

    /// Makes a symbolic link that is not there. Fails if something else is.
    pub fn link(&mut self, path: &str, target: &str) -> Result<(), HostError> {
        let place = self.place(path);
        match fs::read_link(&place) {
            Ok(found) if found == Path::new(target) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            _ => {
                return Err(HostError::Refused(format!(
                    "{} is there and not of this installation: move it away",
                    place.display()
                )));
            }
        }
        self.directory_of(path)?;
        self.note(Entry::Link { target: target.to_owned(), path: path.to_owned() })?;
        if self.is_dry { Ok(()) } else { symlink(target, &place).map_err(at(&place)) }
    }

    /// Gives what is root's to the account: this directory and what is in it, the directory last. One that is the account's already stays
    /// as it is, since the account could have put there what is not its own.
    pub fn hand_over(&self, path: &Path, owner: &Account) -> Result<(), HostError> {
        let (Some(uid), Some(gid), false) = (owner.uid, owner.gid, self.is_dry || !privilege::is_root()) else {
            return Ok(());
        };
        let found = fs::symlink_metadata(path).map_err(at(path))?;
        if found.uid() != 0 || uid == 0 {
            return Ok(());
        }
        if found.is_dir() {
            for entry in fs::read_dir(path).map_err(at(path))? {
                self.hand_over(&entry.map_err(at(path))?.path(), owner)?;
            }
        } else if found.nlink() != 1 {
            return Ok(());
        }
        lchown(path, Some(uid), Some(gid)).map_err(at(path))
    }

    /// Lets the account's group have what is root's and root's group's.
    pub fn let_group(&self, path: &str, owner: &Account) -> Result<(), HostError> {
        let place = self.place(path);
        let is_roots = fs::symlink_metadata(&place).is_ok_and(|found| (found.uid(), found.gid()) == (0, 0));
        if self.is_dry || !privilege::is_root() || !is_roots {
            return Ok(());
        }
        lchown(&place, None, owner.gid).map_err(at(&place))
    }
}

/// The bytes of a plain file; `None` if nothing is there. What is no plain file is an error.
pub fn read_file(path: &Path) -> io::Result<Option<alloc::vec::Vec<u8>>> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => fs::read(path).map(Some),
        Ok(_) => Err(io::ErrorKind::InvalidInput.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

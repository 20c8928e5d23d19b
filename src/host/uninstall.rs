//! `omsd uninstall`: takes back what the manifest names, in reverse.

use super::manifest::{Entry, Manifest};
use super::work::read_file;
use super::{CONFIGURATION, HostError, STATE, account, at, forward, init, installed_program, is_live, run, service};
use crate::agent::paths;
use crate::crypto::sha256_hex;
use crate::sys::privilege;
use crate::sys::socket::is_abandoned;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What the command line asks for.
#[derive(Debug, Clone)]
pub struct Wish {
    /// `--root`
    pub root: PathBuf,
    /// `--purge`: configuration, identities, state and an account of ours, too.
    pub purges: bool,
    /// `--dry-run`: say what would be done.
    pub is_dry: bool,
}

/// A removal under way.
struct Removal {
    manifest: Manifest,
    wish: Wish,
    /// Paths of files that are gone.
    removed: Vec<PathBuf>,
    /// What could not be removed, and why.
    failed: Vec<String>,
}

/// Removes the installation. `Ok(false)`: something is left that should not be; it was named.
pub fn uninstall(wish: &Wish) -> Result<bool, HostError> {
    let is_live = is_live(&wish.root);
    if is_live && !privilege::is_root() {
        return Err(HostError::NotRoot);
    }
    let manifest = Manifest::load(&wish.root).map_err(at(&wish.root.join("etc/opt/omsd/manifest")))?;
    let mut removal = Removal { manifest, wish: wish.clone(), removed: Vec::new(), failed: Vec::new() };
    if removal.manifest.is_empty() {
        say("nothing is installed here: there is no manifest");
    }
    removal.cron();
    if is_live && !wish.is_dry {
        service::end(&removal.manifest, &installed_program(&removal.manifest))?;
    }
    removal.entries();
    if wish.purges {
        removal.trees();
    }
    if is_live && !wish.is_dry {
        removal.tell_others();
    }
    removal.directories();
    removal.finish()
}

fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

impl Removal {
    fn place(&self, path: &str) -> PathBuf {
        self.manifest.place(path)
    }

    /// The way back of what nothing else does: removes, or says what would be.
    fn remove(&mut self, path: &str, remove: impl FnOnce(&Path) -> io::Result<()>) {
        let place = self.place(path);
        if self.removed.iter().any(|gone| gone == Path::new(path)) {
            return;
        }
        let removed = match fs::symlink_metadata(&place) {
            Ok(_) if self.wish.is_dry => Ok(()),
            Ok(_) => remove(&place),
            Err(error) => Err(error),
        };
        match removed {
            Ok(()) => {
                say(&format!("- {path}"));
                self.removed.push(PathBuf::from(path));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.failed.push(format!("{}", HostError::File(place, error))),
        }
    }

    /// First of all, so that nobody starts again what is stopped.
    fn cron(&mut self) {
        for entry in self.manifest.entries().to_owned() {
            match &entry {
                Entry::File { path, .. } if path.starts_with("/etc/cron.d/") => self.file(path),
                Entry::Crontab(line) if is_live(&self.wish.root) => {
                    say(&format!("- {entry}"));
                    if !self.wish.is_dry
                        && let Err(error) = service::remove_from_crontab(line)
                    {
                        self.failed.push(format!("{error}"));
                    }
                }
                _ => {}
            }
        }
    }

    fn entries(&mut self) {
        let entries = self.manifest.entries().to_owned();
        if is_live(&self.wish.root)
            && !self.wish.is_dry
            && let Err(error) = service::leave_runlevels(&self.manifest)
        {
            self.failed.push(format!("{error}"));
        }
        for entry in entries.iter().rev() {
            match entry {
                Entry::File { path, .. } => self.file(path),
                Entry::Link { path, target }
                    if fs::read_link(self.place(path)).is_ok_and(|found| found == Path::new(target)) =>
                {
                    self.remove(path, |place| fs::remove_file(place));
                }
                // The agent that made it has ended.
                Entry::Leftover(path) if is_abandoned(&self.place(path)) => {
                    self.remove(path, |place| fs::remove_file(place));
                }
                _ => {}
            }
        }
    }

    /// Removes a file if we wrote it as it is. What an interrupted installation left beside it was never its own.
    fn file(&mut self, path: &str) {
        let place = self.place(path);
        if !self.wish.is_dry {
            let _ = fs::remove_file(super::manifest::temporary(&place));
        }
        let is_ours = match read_file(&place) {
            Ok(None) => return,
            Ok(Some(bytes)) => self.manifest.wrote(path, &sha256_hex(&bytes)),
            Err(_) => false,
        };
        if is_ours {
            self.remove(path, |place| fs::remove_file(place));
        } else if path != paths::CONFIG {
            say(&format!("kept {path}: it was changed since it was installed"));
        }
    }

    /// State, configuration and identities. Links in there are removed, not followed.
    fn trees(&mut self) {
        self.remove(STATE, |place| fs::remove_dir_all(place));
        let entries = fs::read_dir(self.place(CONFIGURATION)).into_iter().flatten().flatten();
        let names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        for name in names.iter().filter(|name| *name != "manifest") {
            self.remove(&format!("{CONFIGURATION}/{name}"), |place| match fs::symlink_metadata(place)?.is_dir() {
                true => fs::remove_dir_all(place),
                false => fs::remove_file(place),
            });
        }
    }

    /// The supervisor and the syslog daemon forget us, the system our account.
    fn tell_others(&mut self) {
        if self.manifest.mode().and_then(init::Mode::from_name) == Some(init::Mode::Systemd)
            && let Err(error) = run("systemctl", &["daemon-reload"])
        {
            self.failed.push(format!("{error}"));
        }
        self.failed.extend(forward::after_removal(&self.removed));
        if self.wish.purges {
            self.failed.extend(account::remove(&self.manifest));
        }
    }

    /// Those that we made and that are empty now; those above the manifest go with it.
    fn directories(&mut self) {
        for entry in self.manifest.entries().to_owned().iter().rev() {
            let Entry::Directory { path, .. } = entry else { continue };
            let place = self.place(path);
            let holds_more = |name: fs::DirEntry| !self.removed.contains(&Path::new(path).join(name.file_name()));
            if fs::read_dir(&place).is_ok_and(|names| !names.flatten().any(holds_more)) {
                self.remove(path, |place| fs::remove_dir(place));
            }
        }
    }

    /// The manifest goes on naming what is left, if anything is; else it goes, too.
    fn finish(&mut self) -> Result<bool, HostError> {
        if self.wish.is_dry {
            return Ok(true);
        }
        for path in self.manifest.leftovers() {
            let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
        }
        let left = self.left();
        if left.is_empty() && self.failed.is_empty() {
            self.forget()?;
        } else if !self.manifest.is_empty() {
            let path = self.place(super::manifest::PATH);
            let root = self.wish.root.clone();
            self.manifest.retain(|entry| is_left(&root, entry));
            self.manifest.store().map_err(at(&path))?;
        }
        left.iter().for_each(|text| say(&format!("left: {text}")));
        if !left.is_empty() && !self.wish.purges {
            say("uninstall --purge, of another copy of the program, removes these, too");
        }
        self.failed.iter().for_each(|text| eprintln!("omsd: {text}"));
        Ok(self.failed.is_empty() && (left.is_empty() || !self.wish.purges))
    }

    /// What is still there, in words.
    fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        for entry in self.manifest.entries() {
            match entry {
                Entry::File { path, .. }
                    if path != paths::CONFIG
                        && !left.contains(path)
                        && fs::symlink_metadata(self.place(path)).is_ok() =>
                {
                    left.push(path.clone());
                }
                Entry::Account(name) if !self.wish.purges => left.push(format!("account {name}")),
                _ => {}
            }
        }
        let holds_more = |path: &str, own: &[&str]| {
            let entries = fs::read_dir(self.place(path)).into_iter().flatten().flatten();
            entries.into_iter().any(|entry| !own.iter().any(|name| entry.file_name() == *name))
        };
        for (path, what) in [(STATE, "state"), (CONFIGURATION, "configuration and identities")] {
            if holds_more(path, &["manifest"]) {
                left.push(format!("{path}: {what}"));
            }
        }
        left
    }

    fn forget(&self) -> Result<(), HostError> {
        let path = self.place(super::manifest::PATH);
        if self.manifest.is_empty() && !path.exists() {
            return Ok(());
        }
        self.manifest.remove().map_err(at(&path))?;
        if self.wish.purges {
            // One that was there before us holds nothing any more but what was ours.
            let _ = fs::remove_dir(self.place(CONFIGURATION));
        }
        Ok(())
    }
}

/// Whether what the entry names is still there.
fn is_left(root: &Path, entry: &Entry) -> bool {
    match entry.path() {
        Some(path) => fs::symlink_metadata(root.join(path.trim_start_matches('/'))).is_ok(),
        None => matches!(entry, Entry::Mode(_) | Entry::Account(_) | Entry::Group(_) | Entry::Leftover(_)),
    }
}

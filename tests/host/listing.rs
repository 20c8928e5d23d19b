//! What a tree consists of: every path with its kind, mode, owner, and content.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What the system's tools write anew each time: backups of the accounts, and insserv's orders, which follow that of a directory.
const NOTES: [&str; 7] = [
    "etc/passwd-",
    "etc/group-",
    "etc/shadow-",
    "etc/gshadow-",
    "etc/init.d/.depend.boot",
    "etc/init.d/.depend.start",
    "etc/init.d/.depend.stop",
];

/// What runs meanwhile writes here: the syslog daemon, systemd, the package manager, the kernel's file systems.
const IN_USE: [&str; 13] = [
    "run",
    "proc",
    "tmp",
    "dev/log",
    "etc/machine-id",
    "var/cache/apt",
    "var/lib/apt",
    "var/lib/dbus",
    "var/lib/dpkg",
    "var/lib/systemd",
    "var/log",
    "var/spool/rsyslog",
    "var/tmp",
];

/// A tree, by path.
#[derive(Debug, PartialEq, Eq)]
pub struct Listing(BTreeMap<String, String>);

impl Listing {
    /// Of the tree below `root`. Content is compared below /etc and /var, elsewhere size and time stand for it.
    pub fn of(root: &Path) -> Listing {
        let mut listing = Listing(BTreeMap::new());
        listing.add(root, root);
        listing
    }

    fn add(&mut self, root: &Path, directory: &Path) {
        for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
            let path = entry.path();
            if IN_USE.iter().any(|place| path == root.join(place)) {
                continue;
            }
            let found = path.symlink_metadata().expect("it is there");
            let name = path.strip_prefix(root).expect("below").to_string_lossy().into_owned();
            let content = match () {
                () if found.is_symlink() => format!("-> {}", path.read_link().expect("a link").display()),
                () if !found.is_file() => String::new(),
                () if name.starts_with("etc/") || name.starts_with("var/") => {
                    let mut hasher = DefaultHasher::new();
                    std::fs::read(&path).expect("readable").hash(&mut hasher);
                    format!("{:x}", hasher.finish())
                }
                () => format!("{} {}", found.len(), found.mtime_nsec()),
            };
            let about = if NOTES.contains(&name.as_str()) {
                "a note".to_owned()
            } else {
                format!("{:o} {}:{} {content}", found.mode(), found.uid(), found.gid())
            };
            self.0.insert(name, about);
            if found.is_dir() {
                self.add(root, &path);
            }
        }
    }

    /// What is another in a later one.
    pub fn differences(&self, later: &Listing) -> Vec<String> {
        let gone = self.0.iter().filter(|(path, about)| later.0.get(*path) != Some(about));
        let come = later.0.iter().filter(|(path, about)| self.0.get(*path) != Some(about));
        gone.map(|(path, about)| format!("was {path} {about}"))
            .chain(come.map(|(path, about)| format!("is  {path} {about}")))
            .collect()
    }

    /// Fails if the tree is not now what it was.
    #[track_caller]
    pub fn check(&self, root: &Path, when: &str) {
        let differences = self.differences(&Listing::of(root));
        assert!(differences.is_empty(), "{when}, {} is another:\n{}", root.display(), differences.join("\n"));
    }
}

//! Where everything is, below `--root`.

use std::path::{Path, PathBuf};

/// The configuration that is read when the command line names none.
pub const CONFIG: &str = "/etc/opt/omsd/omsd.conf";

/// The directory of configuration and identities.
pub const HOME: &str = "/etc/opt/omsd";

/// The files of one installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    root: PathBuf,
}

impl Paths {
    /// All paths below this directory; `/` for a host's own.
    pub fn below(root: &Path) -> Paths {
        Paths { root: root.to_path_buf() }
    }

    /// The root itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// An absolute path of the configuration, below the root.
    pub fn place(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The directory of all that the agent writes but identities; its owner is the account that the agent runs as.
    pub fn state(&self) -> PathBuf {
        self.place("/var/opt/omsd")
    }

    /// The status file.
    pub fn status(&self) -> PathBuf {
        self.place("/var/opt/omsd/status")
    }

    /// The lock that keeps a second agent out.
    pub fn lock(&self) -> PathBuf {
        self.place("/var/opt/omsd/lock")
    }

    /// What `run --ensure` remembers.
    pub fn ensure(&self) -> PathBuf {
        self.place("/var/opt/omsd/ensure")
    }

    /// The kernel's counters at the last `run --once`.
    pub fn sample(&self) -> PathBuf {
        self.place("/var/opt/omsd/sample")
    }

    /// What `run --once` remembers.
    pub fn once(&self) -> PathBuf {
        self.place("/var/opt/omsd/once")
    }

    /// Which host this was when an agent last started.
    pub fn machine(&self) -> PathBuf {
        self.place("/var/opt/omsd/machine")
    }

    /// The log of a detached agent.
    pub fn log(&self) -> PathBuf {
        self.place("/var/opt/omsd/log")
    }

    /// Records that the service refused for good.
    pub fn rejected(&self) -> PathBuf {
        self.place("/var/opt/omsd/rejected")
    }
}

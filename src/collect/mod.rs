//! The host's counters: what the kernel's files say, and what the original would have called it.
//!
//! ```text
//!  /proc, /sys ──> host (reads, keeps descriptors) ──> one parser a file ──> one formula an object ──> Sink
//!                                                             window: what the last sample of this source saw ─┘
//! ```
//!
//! A file per object holds its formulas, as functions of the readings alone; [`mounts`] and [`diskstats`] hold what two objects
//! share. Only [`host`] and what it alone uses touch the host: `files` reads, `volumes` finds out what is mounted on which disk,
//! `remote` asks file systems that may hang. Nothing here knows where records go.

pub mod arithmetic;
pub mod diskstats;
#[cfg(feature = "std")]
mod files;
#[cfg(feature = "std")]
pub mod host;
pub mod logical_disk;
pub mod memory;
pub mod mounts;
pub mod network;
pub mod physical_disk;
pub mod process;
pub mod processor;
#[cfg(feature = "std")]
mod remote;
pub mod system;
pub mod text;
#[cfg(feature = "std")]
mod volumes;

/// A kind of thing that is measured. Its number is written into the ring and never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Object {
    /// The processors, each by its number, and all.
    Processor = 0,
    /// Main memory, swap space, and what block devices read and write.
    Memory = 1,
    /// Mounted file systems, each by its mount point, and all.
    LogicalDisk = 2,
    /// Disks that carry a mounted file system, and all.
    PhysicalDisk = 3,
    /// Network interfaces.
    Network = 4,
    /// The operating system as a whole.
    System = 5,
    /// Processes, each by its command's name.
    Process = 6,
}

/// Counters that the largest object has.
pub const COUNTERS_MAX: usize = 11;

impl Object {
    /// All of them, by number.
    pub const ALL: [Object; 7] = [
        Object::Processor,
        Object::Memory,
        Object::LogicalDisk,
        Object::PhysicalDisk,
        Object::Network,
        Object::System,
        Object::Process,
    ];

    /// The object with this number.
    pub fn from_id(id: u8) -> Option<Object> {
        Self::ALL.get(usize::from(id)).copied()
    }

    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Object::Processor => "Processor",
            Object::Memory => "Memory",
            Object::LogicalDisk => "Logical Disk",
            Object::PhysicalDisk => "Physical Disk",
            Object::Network => "Network",
            Object::System => "System",
            Object::Process => "Process",
        }
    }

    /// The names of its counters on the wire, in the order in which the original sends them.
    pub fn counters(self) -> &'static [&'static str] {
        match self {
            Object::Processor => &[
                "% Idle Time",
                "% User Time",
                "% Nice Time",
                "% Privileged Time",
                "% Interrupt Time",
                "% DPC Time",
                "% Processor Time",
                "% IO Wait Time",
            ],
            Object::Memory => &[
                "Available MBytes Memory",
                "% Available Memory",
                "Used Memory MBytes",
                "% Used Memory",
                "Pages/sec",
                "Page Reads/sec",
                "Page Writes/sec",
                "Available MBytes Swap",
                "% Available Swap Space",
                "Used MBytes Swap Space",
                "% Used Swap Space",
            ],
            Object::LogicalDisk => &[
                "Free Megabytes",
                "% Free Space",
                "% Used Space",
                "% Free Inodes",
                "% Used Inodes",
                "Logical Disk Bytes/sec",
                "Disk Read Bytes/sec",
                "Disk Write Bytes/sec",
                "Disk Transfers/sec",
                "Disk Reads/sec",
                "Disk Writes/sec",
            ],
            Object::PhysicalDisk => {
                &["Physical Disk Bytes/sec", "Avg. Disk sec/Read", "Avg. Disk sec/Write", "Avg. Disk sec/Transfer"]
            }
            Object::Network => &[
                "Total Bytes Transmitted",
                "Total Bytes Received",
                "Total Packets Transmitted",
                "Total Packets Received",
                "Total Bytes",
                "Total Rx Errors",
                "Total Tx Errors",
                "Total Collisions",
            ],
            Object::System => &[
                "Users",
                "Processes",
                "Free Virtual Memory",
                "Free Physical Memory",
                "Size Stored In Paging Files",
                "Free Space in Paging Files",
                "Uptime",
            ],
            Object::Process => &["Virtual Shared Memory", "Pct User Time", "Pct Privileged Time", "Used Memory kBytes"],
        }
    }
}

/// Takes what one sample of one object found.
pub trait Sink {
    /// One instance, in the order of the wire; `values` in the order of [`Object::counters`], at least one of them known.
    /// `None`: not known now, and no part of the record. A value is finite and not negative; from 100,000 up it is whole, so that
    /// six significant digits say all of a fraction. A name may hold any bytes, and two instances may have the same.
    fn instance(&mut self, name: &[u8], values: &[Option<f64>]);
}

/// How an object is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Values as whole and as coarse as the original's, for dashboards that compare them. What was only wrong stays right:
    /// `tests/compliance/DIFFERENCES.md` says which is which.
    pub compat: bool,
}

/// Hands an instance on, unless nothing is known about it.
fn report(sink: &mut dyn Sink, name: &[u8], values: &[Option<f64>]) {
    if values.iter().any(Option::is_some) {
        sink.instance(name, values);
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::diskstats::Disks;
    use super::{Options, Sink};
    use alloc::string::String;
    use alloc::vec::Vec;

    pub const PLAIN: Options = Options { compat: false };
    pub const COMPAT: Options = Options { compat: true };

    /// The reading that these lines are.
    pub fn disks(diskstats: &str) -> Disks {
        let mut disks = Disks::default();
        disks.parse(diskstats.as_bytes());
        disks
    }

    /// What a sample found.
    #[derive(Debug, Default, PartialEq)]
    pub struct Found(pub Vec<(String, Vec<Option<f64>>)>);

    impl Sink for Found {
        fn instance(&mut self, name: &[u8], values: &[Option<f64>]) {
            assert!(values.iter().flatten().all(|value| value.is_finite() && *value >= 0.0), "{values:?}");
            assert!(values.iter().flatten().all(|value| *value < 1e5 || value.fract() == 0.0), "{values:?}");
            self.0.push((String::from_utf8_lossy(name).into_owned(), values.to_vec()));
        }
    }

    /// A directory to be a host's root, removed at the end.
    #[cfg(feature = "std")]
    pub struct Tree(std::path::PathBuf);

    #[cfg(feature = "std")]
    impl Tree {
        pub fn new() -> Tree {
            use core::sync::atomic::{AtomicU32, Ordering};
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let root = std::env::temp_dir().join(alloc::format!("omsd-tree-{}-{count}", std::process::id()));
            std::fs::create_dir_all(&root).unwrap();
            Tree(root.canonicalize().unwrap())
        }

        pub fn root(&self) -> std::path::PathBuf {
            self.0.clone()
        }

        /// A file of this text, in the place of an earlier one's, in its directory.
        pub fn write(&self, path: &str, text: impl AsRef<[u8]>) {
            let path = self.0.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }

        pub fn link(&self, target: &str, path: &str) {
            let path = self.0.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::os::unix::fs::symlink(target, path).unwrap();
        }

        pub fn remove(&self, path: &str) {
            let path = self.0.join(path);
            if path.is_dir() { std::fs::remove_dir_all(path).unwrap() } else { std::fs::remove_file(path).unwrap() }
        }
    }

    #[cfg(feature = "std")]
    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    impl Found {
        pub fn names(&self) -> Vec<&str> {
            self.0.iter().map(|(name, _)| name.as_str()).collect()
        }

        #[track_caller]
        pub fn values(&self, name: &str) -> &[Option<f64>] {
            let found = self.0.iter().find(|(found, _)| found == name);
            &found.unwrap_or_else(|| panic!("no {name} in {self:?}")).1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_has_its_number_its_name_and_its_counters() {
        for (id, object) in (0..).zip(Object::ALL) {
            assert_eq!((Object::from_id(id), object as u8), (Some(object), id));
        }
        assert_eq!(Object::from_id(7), None);
        assert_eq!(Object::ALL.map(|object| object.counters().len()), [8, 11, 11, 4, 8, 7, 4]);
        assert!(Object::ALL.iter().all(|object| object.counters().len() <= COUNTERS_MAX));
    }
}

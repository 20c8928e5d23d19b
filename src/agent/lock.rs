//! The lock file: what keeps a second agent out of one state directory, and what tells others about the first.
//!
//! The lock is flock(2)'s and is the only thing that decides. The file is made once, never removed, and the kernel lets go of the lock
//! when its holder dies, however it dies. What the file says is information for `omsd status`, `run --ensure`, `stop` and `reload`: lines
//! of a name and a value, written anew as a whole of constant length, so that a reader never finds half of it.
//!
//! ```text
//! pid 4711
//! started 8675309                               clock ticks from the boot to the process's start
//! taken 86753095                                monotonic milliseconds when it took the lock
//! boot_id 1b4e28ba-2fa1-11d2-883f-0016d3cca427
//! program 64769:2621442                         device and inode of the program's file
//! configuration 9ae16a3b2f90404f                digest of the configuration in force
//! reloads 2 1                                   how often another was taken, and how often it was refused
//! beyond 0                                      of these, how often because only an agent that starts could take it
//! ```

use super::paths::Paths;
use crate::limits::LOCK_BYTES;
use crate::sys::{clock, file, process};
use alloc::format;
use alloc::string::String;
use core::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

/// Whether an agent runs in this state directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// None does.
    Free,
    /// One does, and says this of itself. All zero and empty where it says nothing that can be read.
    Held(Record),
}

/// What the holder says of itself. A process that only looks may say less.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its process; 0: not known.
    pub pid: u32,
    /// When the process started, in clock ticks since the boot; 0: not known. Source: proc_pid_stat(5), field 22.
    pub started: u64,
    /// When it took the lock, by the monotonic clock of its boot, in milliseconds.
    pub taken_ms: u64,
    /// The boot that it runs in; empty: not known.
    pub boot_id: String,
    /// Device and inode of its program's file; 0, 0: not known.
    pub program: (u64, u64),
    /// Digest of the configuration in force; 0: not known.
    pub configuration: u64,
    /// How often it took another configuration since it started.
    pub reloads: u32,
    /// How often it refused one and went on with the old one.
    pub refused: u32,
    /// Of these, how often because it needs what an agent that runs has given up.
    pub beyond: u32,
}

/// What became of a configuration that an agent was to take while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reloaded {
    /// It is in force; its digest.
    Taken(u64),
    /// It is wrong, or this host does not let us.
    Refused,
    /// It needs what an agent that runs has given up.
    Beyond,
}

impl Record {
    /// What this process says of itself, with a configuration of this digest.
    pub fn of_this_process(configuration: u64) -> Record {
        let (pid, program) = (std::process::id(), program());
        let started = process::about(pid).map_or(0, |process| process.started);
        let taken_ms = clock::monotonic_ms();
        Record { pid, started, taken_ms, boot_id: boot_id(), program, configuration, ..Record::default() }
    }

    /// Whether the process that this was written by runs, or might: without /proc nobody knows.
    pub fn is_alive(&self) -> bool {
        let found = process::about(self.pid);
        self.started == 0 || found.is_some_and(|found| found.started == self.started && !found.is_zombie)
    }

    fn read(text: &str) -> Option<Record> {
        let program = value(text, "program")?.split_once(':')?;
        let (reloads, refused) = value(text, "reloads")?.split_once(' ')?;
        Some(Record {
            pid: value(text, "pid")?.parse().ok()?,
            started: value(text, "started")?.parse().ok()?,
            taken_ms: value(text, "taken")?.parse().ok()?,
            boot_id: value(text, "boot_id")?.into(),
            program: (program.0.parse().ok()?, program.1.parse().ok()?),
            configuration: u64::from_str_radix(value(text, "configuration")?, 16).ok()?,
            reloads: reloads.parse().ok()?,
            refused: refused.parse().ok()?,
            // One of an earlier version does not say.
            beyond: value(text, "beyond").and_then(|count| count.parse().ok()).unwrap_or(0),
        })
    }
}

impl fmt::Display for Record {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Record { pid, started, taken_ms, boot_id, program, configuration, reloads, refused, beyond } = self;
        let (device, inode) = program;
        write!(
            out,
            "pid {pid}\nstarted {started}\ntaken {taken_ms}\nboot_id {boot_id}\nprogram {device}:{inode}\nconfiguration {configuration:016x}\nreloads {reloads} {refused}\nbeyond {beyond}\n"
        )
    }
}

/// The value behind a name at the start of a line; `None` without such a line.
pub fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
}

/// Device and inode of this program's file; 0, 0 without /proc.
pub fn program() -> (u64, u64) {
    fs::metadata("/proc/self/exe").map_or((0, 0), |found| (found.dev(), found.ino()))
}

/// The boot that this is; empty if the kernel does not say. Source: random(4), `boot_id`.
pub fn boot_id() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    String::from(text.trim())
}

/// The lock, held for as long as this lives.
#[derive(Debug)]
pub struct Lock {
    file: File,
    record: Record,
}

impl Lock {
    /// Takes the lock, or says `WouldBlock` if an agent has it. Fails as the file system does, and with `InvalidInput` for what is no
    /// plain file of one name.
    pub fn take(path: &Path, configuration: u64) -> io::Result<Lock> {
        let file = file::open_to_lock(path)?;
        let found = file.metadata()?;
        if !found.is_file() || found.nlink() != 1 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        file::lock(&file)?;
        let lock = Lock { file, record: Record::of_this_process(configuration) };
        lock.write()?;
        Ok(lock)
    }

    /// Says what became of another configuration. What is written informs others: the agent goes on without.
    pub fn note_reload(&mut self, reloaded: Reloaded) {
        match reloaded {
            Reloaded::Taken(digest) => {
                self.record.configuration = digest;
                self.record.reloads += 1;
            }
            Reloaded::Refused => self.record.refused += 1,
            Reloaded::Beyond => {
                self.record.refused += 1;
                self.record.beyond += 1;
            }
        }
        let _ = self.write();
    }

    fn write(&self) -> io::Result<()> {
        let text = format!("{:LOCK_BYTES$}", format!("{}", self.record));
        self.file.write_all_at(text.as_bytes(), 0)
    }
}

/// Whether the lock of this installation is free, and what its holder says. Takes nothing and writes nothing. Fails with
/// `PermissionDenied` where the file may not be read.
pub fn holder(paths: &Paths) -> io::Result<Holder> {
    let path = paths.lock();
    let mut file = match file::open_to_look(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Holder::Free),
        Err(error) => return Err(error),
    };
    // Shared, for this moment: others who look are not in the way. An agent that starts just now tries more than once.
    match file::lock_shared(&file) {
        Ok(()) => return Ok(Holder::Free),
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
        Err(_) => {}
    }
    let mut bytes = alloc::vec::Vec::new();
    (&mut file).take(LOCK_BYTES as u64).read_to_end(&mut bytes)?;
    let record = core::str::from_utf8(&bytes).ok().and_then(Record::read);
    Ok(Holder::Held(record.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::PathBuf;

    /// A root of its own with a state directory.
    struct Root(PathBuf);

    impl Root {
        fn new(name: &str) -> (Root, Paths) {
            let root = std::env::temp_dir().join(format!("omsd-lock-{name}-{}", std::process::id()));
            let paths = Paths::below(&root);
            fs::create_dir_all(paths.lock().parent().unwrap()).unwrap();
            (Root(root), paths)
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn one_holds_it_and_says_who_it_is_until_it_is_dropped() {
        let (_root, paths) = Root::new("held");
        assert_eq!(holder(&paths).unwrap(), Holder::Free);
        let mut lock = Lock::take(&paths.lock(), 0xabc).unwrap();
        let mut expected = Record { taken_ms: lock.record.taken_ms, ..Record::of_this_process(0xabc) };
        assert!(expected.started > 0 && expected.program.1 > 0 && !expected.boot_id.is_empty(), "{expected:?}");
        assert_eq!(holder(&paths).unwrap(), Holder::Held(expected.clone()));
        assert!(expected.is_alive() && !Record { started: expected.started + 1, ..expected.clone() }.is_alive());
        assert_eq!(Lock::take(&paths.lock(), 1).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        lock.note_reload(Reloaded::Refused);
        lock.note_reload(Reloaded::Beyond);
        lock.note_reload(Reloaded::Taken(u64::MAX));
        expected = Record { configuration: u64::MAX, reloads: 1, refused: 2, beyond: 1, ..expected };
        assert_eq!(holder(&paths).unwrap(), Holder::Held(expected));
        let metadata = fs::metadata(paths.lock()).unwrap();
        assert_eq!((metadata.len(), metadata.permissions().mode() & 0o777), (LOCK_BYTES as u64, 0o600));
        drop(lock);
        assert_eq!(holder(&paths).unwrap(), Holder::Free);
        assert!(paths.lock().exists(), "it is never removed");
    }

    #[test]
    fn the_longest_record_fits_and_another_text_is_no_record() {
        let longest = Record {
            pid: u32::MAX,
            started: u64::MAX,
            taken_ms: u64::MAX,
            boot_id: "x".repeat(36),
            program: (u64::MAX, u64::MAX),
            configuration: u64::MAX,
            reloads: u32::MAX,
            refused: u32::MAX,
            beyond: u32::MAX,
        };
        let text = format!("{longest}");
        assert!(text.len() <= LOCK_BYTES, "{}", text.len());
        let earlier = text.replace(&format!("beyond {}\n", u32::MAX), "");
        assert_eq!(Record::read(&earlier), Some(Record { beyond: 0, ..longest.clone() }));
        assert_eq!(Record::read(&text), Some(longest));
        for text in [
            "",
            "4711\n",
            "pid 4711\n",
            "pid x\nstarted 1\ntaken 1\nboot_id a\nprogram 1:2\nconfiguration 0\nreloads 0 0\n",
        ] {
            assert_eq!(Record::read(text), None, "{text}");
        }
    }

    #[test]
    fn a_lock_with_nothing_readable_in_it_is_still_held() {
        let (_root, paths) = Root::new("unread");
        let _lock = Lock::take(&paths.lock(), 1).unwrap();
        fs::write(paths.lock(), [0xff; 20]).unwrap();
        assert_eq!(holder(&paths).unwrap(), Holder::Held(Record::default()));
    }

    #[test]
    fn what_leads_elsewhere_is_neither_locked_nor_written() {
        let (root, paths) = Root::new("links");
        let other = root.0.join("other");
        fs::write(&other, "mine").unwrap();
        symlink(&other, paths.lock()).unwrap();
        assert!(Lock::take(&paths.lock(), 1).is_err());
        assert!(holder(&paths).is_err());
        fs::remove_file(paths.lock()).unwrap();
        fs::hard_link(&other, paths.lock()).unwrap();
        assert!(Lock::take(&paths.lock(), 1).is_err());
        assert_eq!(fs::read(&other).unwrap(), b"mine");
    }
}

//! Which files this process may still reach: rules about directories, kept by the kernel for good, where it has them.
//! Source: landlock(7).

use super::is_shortage;
use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::{c_int, c_long};
use core::fmt;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Open files and directories for reading.
pub const READ: u64 = READ_FILE | READ_DIRECTORY;
/// And make, replace, write and remove files.
pub const WRITE: u64 = READ | WRITE_FILE | MAKE_FILE | REMOVE_FILE | TRUNCATE;
/// Make and remove sockets.
pub const SOCKET: u64 = MAKE_SOCKET | REMOVE_FILE;
/// Remove empty directories.
pub const REMOVE_DIRECTORY: u64 = 1 << 4;

const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIRECTORY: u64 = 1 << 3;
const REMOVE_FILE: u64 = 1 << 5;
const MAKE_FILE: u64 = 1 << 8;
const MAKE_SOCKET: u64 = 1 << 9;
const TRUNCATE: u64 = 1 << 14;
const DEVICE_IOCTL: u64 = 1 << 15;
/// What a rule about a file that is no directory may say.
const OF_FILES: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | DEVICE_IOCTL;

// The same numbers on every processor.
const CREATE_RULESET: c_long = 444;
const ADD_RULE: c_long = 445;
const RESTRICT_SELF: c_long = 446;
const ASK_VERSION: c_int = 1;
const PATH_BENEATH: c_int = 1;
/// The newest version whose rules are used here.
const NEWEST: u32 = 6;

/// What may be done with a file, or with all below a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// As the kernel sees it, without links.
    path: PathBuf,
    access: u64,
}

impl Grant {
    /// Of [`READ`], [`WRITE`], [`SOCKET`] and [`REMOVE_DIRECTORY`]; `None` for what is not there.
    pub fn new(path: &Path, access: u64) -> Option<Grant> {
        Some(Grant { path: fs::canonicalize(path).ok()?, access })
    }

    /// Whether this allows all of the other.
    pub fn covers(&self, other: &Grant) -> bool {
        other.path.starts_with(&self.path) && self.allows(other.access)
    }

    /// Whether it allows all of this access.
    pub fn allows(&self, access: u64) -> bool {
        access & !self.access == 0
    }

    /// The same path with no more than this access.
    pub fn cut_to(&self, access: u64) -> Grant {
        Grant { path: self.path.clone(), access: self.access & access }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// What a ruleset decides about. Source: linux/landlock.h. Older kernels take the longer form as long as its end is zero.
#[repr(C)]
struct Handled {
    files: u64,
    network: u64,
    scoped: u64,
}

#[repr(C, packed)]
struct PathRule {
    access: u64,
    directory: c_int,
}

/// Why this process gets no rules.
#[derive(Debug)]
pub enum Absent {
    /// The kernel is older than 5.13, or was built without.
    NotInKernel,
    /// The kernel was started without: `lsm=` on its command line names others.
    SwitchedOff,
    /// Who started this process keeps the question from the kernel.
    Refused(io::Error),
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Absent::NotInKernel => f.write_str("not in this kernel"),
            Absent::SwitchedOff => f.write_str("switched off at boot"),
            Absent::Refused(error) => error.fmt(f),
        }
    }
}

/// The version of the kernel's rules as far as they are used here: 1 (5.13) to 6 (6.12).
pub fn version() -> Result<u32, Absent> {
    // SAFETY: asks for a number; no memory is passed.
    let answer =
        unsafe { libc::syscall(CREATE_RULESET, core::ptr::null::<Handled>(), 0_usize, c_long::from(ASK_VERSION)) };
    match check(answer) {
        Ok(version) => Ok(u32::try_from(version).unwrap_or(NEWEST).min(NEWEST)),
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => Err(Absent::NotInKernel),
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Err(Absent::SwitchedOff),
        Err(error) => Err(Absent::Refused(error)),
    }
}

/// Takes from this process, and from its future children, every access to files but these, every TCP port that is not bound
/// yet if `without_ports`, and signals and abstract sockets of processes outside, as far as `version` can. It must have renounced
/// new privileges. Fails if the kernel does not what it can.
pub fn restrict(version: u32, grants: &[Grant], without_ports: bool) -> io::Result<()> {
    let known = known(version);
    let network = u64::from(without_ports && version >= 4);
    let scoped = if version >= 6 { 0b11 } else { 0 };
    let rules = create(&Handled { files: known, network, scoped })?;
    for grant in grants {
        add(&rules, grant, known)?;
    }
    // SAFETY: the descriptor is open.
    check(unsafe { libc::syscall(RESTRICT_SELF, rules.as_raw_fd(), 0) }).map(drop)
}

/// Everything about files that this version decides about.
fn known(version: u32) -> u64 {
    let bits = match version {
        1 => 13,
        2 => 14,
        3 | 4 => 15,
        _ => 16,
    };
    (1 << bits) - 1
}

fn create(handled: &Handled) -> io::Result<OwnedFd> {
    // SAFETY: pointer and size describe one live value, which the kernel reads.
    let made = check(unsafe { libc::syscall(CREATE_RULESET, &raw const *handled, size_of::<Handled>(), 0) })?;
    let descriptor = c_int::try_from(made).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: the kernel just made it, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Adds a rule; one about what cannot be found allows nothing anyway.
fn add(rules: &OwnedFd, grant: &Grant, known: u64) -> io::Result<()> {
    let place = match place_of(&grant.path) {
        Ok(place) => place,
        Err(error) if is_shortage(&error) => return Err(error),
        Err(_) => return Ok(()),
    };
    let is_directory = place.metadata().is_ok_and(|found| found.is_dir());
    let access = grant.access & known & if is_directory { u64::MAX } else { OF_FILES };
    if access == 0 {
        return Ok(());
    }
    let rule = PathRule { access, directory: place.as_raw_fd() };
    // SAFETY: the pointer is to a live rule, which the kernel reads; both descriptors are open.
    check(unsafe { libc::syscall(ADD_RULE, rules.as_raw_fd(), PATH_BENEATH, &raw const rule, 0) }).map(drop)
}

/// A name for a file or directory, which need not be readable. std opens none such: it takes `O_PATH` for a way to read or write.
fn place_of(path: &Path) -> io::Result<File> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the path ends in a NUL.
    let descriptor = unsafe { libc::open(path.as_ptr(), libc::O_PATH | libc::O_CLOEXEC) };
    check(descriptor.into())?;
    // SAFETY: the kernel just made it, and nobody else owns it.
    Ok(unsafe { File::from_raw_fd(descriptor) })
}

fn check(answer: c_long) -> io::Result<c_long> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

/// Those of `wanted` that `granted` does not allow.
pub fn missing<'a>(wanted: &'a [Grant], granted: &[Grant]) -> Vec<&'a Grant> {
    wanted.iter().filter(|wanted| !granted.iter().any(|grant| grant.covers(wanted))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_covers_what_is_below_it_with_no_more_access() {
        let grant = |path: &str, access| Grant { path: PathBuf::from(path), access };
        let granted = [grant("/etc", READ), grant("/var/opt/omsd", WRITE)];
        for (path, access, expected) in [
            ("/etc", READ, true),
            ("/etc/opt/omsd", READ, true),
            ("/etc/opt/omsd", WRITE, false),
            ("/etcetera", READ, false),
            ("/var/opt/omsd", READ, true),
            ("/var/opt", READ, false),
        ] {
            assert_eq!(missing(&[grant(path, access)], &granted).is_empty(), expected, "{path} {access:x}");
        }
    }

    #[test]
    fn older_kernels_are_asked_for_what_they_know() {
        for (version, last) in [(1, 12), (2, 13), (3, 14), (4, 14), (5, 15), (99, 15)] {
            assert_eq!(known(version), u64::MAX >> (63 - last), "version {version}");
        }
    }
}

//! Who this process is, and what it may do. Both only ever become less.

use alloc::ffi::CString;
use core::ffi::{c_int, c_ulong};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// An account, by its numbers: a static program asks no name service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    user: u32,
    group: u32,
}

impl Account {
    /// The account that a file or directory belongs to.
    pub fn owner_of(path: &Path) -> io::Result<Account> {
        std::fs::metadata(path).map(|found| Account { user: found.uid(), group: found.gid() })
    }

    /// Its user.
    pub fn user(self) -> u32 {
        self.user
    }

    /// Whether it is root's.
    pub fn is_root(self) -> bool {
        self.user == 0
    }
}

/// The user that this process acts as.
pub fn user() -> u32 {
    // SAFETY: geteuid has no memory effects and cannot fail.
    unsafe { libc::geteuid() }
}

/// Whether this process may do what only root may.
pub fn is_root() -> bool {
    user() == 0
}

/// Whether this process may make and remove files in a directory.
pub fn may_write(directory: &Path) -> bool {
    let Ok(path) = CString::new(directory.as_os_str().as_bytes()) else { return false };
    // SAFETY: the path ends in a NUL.
    unsafe { libc::access(path.as_ptr(), libc::W_OK | libc::X_OK) == 0 }
}

/// Does something as another account, so that what is made belongs to it and no link of its leads further than it may go itself;
/// then is root again. With `None`, just does it. Fails as changing the ids does.
pub fn acting_as<T>(account: Option<Account>, work: impl FnOnce() -> T) -> io::Result<T> {
    let Some(Account { user, group }) = account else { return Ok(work()) };
    // The group first: the user may not change it, neither there nor back.
    set_effective(|| set_group(group))?;
    set_effective(|| set_user(user))?;
    let worked = work();
    set_effective(|| set_user(0))?;
    set_effective(|| set_group(0))?;
    Ok(worked)
}

fn set_user(user: u32) -> c_int {
    // SAFETY: changes ids only.
    unsafe { libc::seteuid(user) }
}

fn set_group(group: u32) -> c_int {
    // SAFETY: changes ids only.
    unsafe { libc::setegid(group) }
}

fn set_effective(set: impl FnOnce() -> c_int) -> io::Result<()> {
    if set() == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes root this account for good, without other groups. Fails if it cannot, or could go back.
pub fn become_account(account: Account) -> io::Result<()> {
    let Account { user, group } = account;
    drop_bounding_set();
    // SAFETY: these change ids only; no groups are read from the null pointer.
    unsafe {
        if libc::setgroups(0, core::ptr::null()) != 0
            || libc::setresgid(group, group, group) != 0
            || libc::setresuid(user, user, user) != 0
        {
            return Err(io::Error::last_os_error());
        }
        if user != 0 && libc::setuid(0) == 0 {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
    }
    Ok(())
}

/// Gives up, for good: capabilities, new privileges through programs (3.5 and later), and core dumps or debuggers of the same
/// account reading this memory. `Ok(false)`: the kernel does not know how to do without new privileges. Fails if a capability stays.
pub fn renounce() -> io::Result<bool> {
    drop_bounding_set();
    drop_capabilities()?;
    // SAFETY: prctl with constant arguments; where the kernel does not know them nothing happens.
    unsafe {
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
        Ok(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
    }
}

/// What no program started from here could get back. Only root may, and only from 2.6.25 on; others keep a set that is of no use
/// without new privileges.
fn drop_bounding_set() {
    // SAFETY: prctl with numbers; the first capability that the kernel does not have, or may not be dropped, ends it.
    let drop = |capability: c_ulong| unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) } == 0;
    (0..c_ulong::from(u8::MAX)).take_while(|&capability| drop(capability)).for_each(|_| ());
}

/// Source: capset(2) and capget(2), with 64 bits from 2.6.26 on, and 32 before. Where a supervisor's filter refuses capset(2), having
/// none to drop is as good.
fn drop_capabilities() -> io::Result<()> {
    const VERSIONS: [u32; 2] = [0x2008_0522, 0x1998_0330];
    let mut found = [0_u32; 6];
    let mut failure = io::ErrorKind::Unsupported.into();
    for version in VERSIONS {
        let (none, mut header) = ([0_u32; 6], [version, 0]);
        // SAFETY: the header has a version and our own process; the data are as long as the longer version wants. The kernel
        // writes nothing but the version that it likes better.
        if unsafe { libc::syscall(libc::SYS_capset, header.as_mut_ptr(), none.as_ptr()) } == 0 {
            return Ok(());
        }
        failure = io::Error::last_os_error();
        header = [version, 0];
        // SAFETY: the same, but the kernel fills the data, too.
        if unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), found.as_mut_ptr()) } == 0 && found == [0; 6] {
            return Ok(());
        }
    }
    Err(failure)
}

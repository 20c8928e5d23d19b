//! Files written whole or not at all.

use alloc::string::String;
use alloc::vec::Vec;
use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

/// Replaces `path` by a file of these bytes and this mode, whatever the umask: a reader sees the old file or the new
/// one, also after a power cut. The temporary file stands beside it (`.NAME.new`) and is removed on failure.
/// The owner is that of the old file or, for a new one, of the directory, as far as we may: root renews what the agent's
/// account must read.
pub fn write_atomically(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    replace(path, bytes, mode, true)?;
    sync_directory_of(path)
}

/// The same without waiting for the disk: for what is written again soon. After a power cut the file may be empty.
pub fn write_often(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    replace(path, bytes, mode, false)
}

fn replace(path: &Path, bytes: &[u8], mode: u32, sync: bool) -> io::Result<()> {
    let mut name = OsString::from(".");
    name.push(path.file_name().ok_or(io::ErrorKind::InvalidInput)?);
    name.push(".new");
    let temporary = path.with_file_name(name);
    let owner = || fs::metadata(path).or_else(|_| fs::metadata(path.parent().unwrap_or(path))).ok();
    let owner = if sync { owner() } else { None };
    let written = write(&temporary, bytes, mode, owner, sync).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn write(path: &Path, bytes: &[u8], mode: u32, owner: Option<Metadata>, sync: bool) -> io::Result<()> {
    let _ = fs::remove_file(path);
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(mode).custom_flags(libc::O_NOFOLLOW).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    if let Some(owner) = owner {
        let _ = fchown(&file, Some(owner.uid()), Some(owner.gid()));
    }
    file.write_all(bytes)?;
    if sync { file.sync_all() } else { Ok(()) }
}

/// Makes the name of `path`, not its contents, survive a power cut.
pub fn sync_directory_of(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

/// Opens a directory to change what it is. A symbolic link in the last part of the path is an error, as is anything else.
pub fn open_directory(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW).open(path)
}

/// Gives a directory the owner of another, as far as we may. What is put in its place meanwhile stays whose it is.
pub fn own_like(path: &Path, other: &Path) {
    if let (Ok(directory), Ok(owner)) = (open_directory(path), fs::metadata(other)) {
        let _ = fchown(directory, Some(owner.uid()), Some(owner.gid()));
    }
}

/// For `OpenOptionsExt::custom_flags`: a symbolic link in the last part of the path is an error. Source: open(2).
pub const NO_FOLLOW: i32 = libc::O_NOFOLLOW;

/// Makes the file at least this long and claims the space, so that writing into it later does not fail for want of
/// room. Where the file system cannot claim it, zeros are written instead. Source: posix_fallocate(3).
pub fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    let length = libc::off_t::try_from(bytes).map_err(|_| io::ErrorKind::InvalidInput)?;
    loop {
        // SAFETY: the descriptor is open for as long as the borrow of `file` lasts.
        match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, length) } {
            0 => return Ok(()),
            libc::EINTR => {}
            libc::ENOSYS | libc::EOPNOTSUPP | libc::EINVAL => return write_zeros(file, bytes),
            errno => return Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

fn write_zeros(file: &File, bytes: u64) -> io::Result<()> {
    let zeros = [0; 16 * 1024];
    let mut length = file.metadata()?.len();
    while length < bytes {
        let step = usize::try_from(bytes - length).unwrap_or(usize::MAX).min(zeros.len());
        file.write_all_at(&zeros[..step], length)?;
        length += step as u64;
    }
    Ok(())
}

/// Opens a file that is to be locked, makes it if it is not there. A symbolic link is an error. Its descriptor is closed on exec, also by
/// kernels that know no flag for that at open(2).
pub fn open_to_lock(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = options.open(path)?;
    // SAFETY: fcntl on a descriptor that lives as long as the borrow; it only sets a flag.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(file)
}

/// Opens a file to add to its end, makes it if it is not there, for its owner alone.
pub fn open_to_append(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    options.open(path)
}

/// Opens a file to read it. A symbolic link is an error, and a pipe is not waited for.
pub fn open_to_look(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)
}

/// The text of a file that another account may have put there, at most so many bytes of it; what is no UTF-8 is replaced. Fails
/// as [`open_to_look`] does and for what is no plain file, or has other names: who reads may be root, and must not read for that
/// account what only root may.
pub fn text_to_look(path: &Path, bytes_max: u64) -> io::Result<String> {
    let file = open_to_look(path)?;
    let found = file.metadata()?;
    // One that was just replaced has none.
    if !found.is_file() || found.nlink() > 1 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Locks an open file for as long as it stays open, or says `WouldBlock` if somebody has it locked.
/// Source: flock(2): the lock belongs to the open file, not to the process, and survives a fork.
pub fn lock(file: &File) -> io::Result<()> {
    flock(file, libc::LOCK_EX)
}

/// The same beside others who do so, but not beside one who has it by [`lock`].
pub fn lock_shared(file: &File) -> io::Result<()> {
    flock(file, libc::LOCK_SH)
}

/// Opens and locks a directory as [`lock`] does a file, for as long as what it gives lives. Nothing is written, so reading it is enough.
pub fn lock_directory(path: &Path) -> io::Result<File> {
    let directory = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(path)?;
    lock(&directory)?;
    Ok(directory)
}

fn flock(file: &File, operation: i32) -> io::Result<()> {
    // SAFETY: flock on a descriptor that lives as long as the borrow.
    match unsafe { libc::flock(file.as_raw_fd(), operation | libc::LOCK_NB) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{chown, symlink};

    #[test]
    fn the_new_file_has_the_mode_and_leaves_nothing_beside_it() {
        let directory = std::env::temp_dir().join(std::format!("omsd-file-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("a");
        fs::write(&path, b"old").unwrap();
        write_atomically(&path, b"new", 0o640).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
        fs::remove_dir_all(&directory).unwrap();
    }

    /// As root, that is; others may give nothing away.
    #[test]
    fn nothing_but_a_directory_is_given_away() {
        const OTHER: u32 = 65_534;
        let directory = std::env::temp_dir().join(std::format!("omsd-own-{}", std::process::id()));
        let [given, file, link] = ["given", "file", "link"].map(|name| directory.join(name));
        fs::create_dir_all(&given).unwrap();
        fs::write(&file, "").unwrap();
        symlink(&file, &link).unwrap();
        let is_root = fs::metadata(&directory).unwrap().uid() == 0;
        if is_root {
            chown(&directory, Some(OTHER), Some(OTHER)).unwrap();
        }
        [&given, &file, &link].into_iter().for_each(|path| own_like(path, &directory));
        let owners = [&given, &file, &link].map(|path| fs::symlink_metadata(path).unwrap().uid());
        fs::remove_dir_all(&directory).unwrap();
        if is_root {
            assert_eq!(owners, [OTHER, 0, 0]);
        }
    }
}

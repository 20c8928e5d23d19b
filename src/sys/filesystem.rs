//! What file systems and directories say about themselves.

use crate::collect::logical_disk::Space;
use alloc::ffi::CString;
use alloc::string::String;
use core::ffi::CStr;
use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The room in the file system at this path; `None` if it does not say. May hang for as long as a file system of a network does.
/// Source: statvfs(3).
pub fn space(path: &CStr) -> Option<Space> {
    // SAFETY: all zero is a valid statvfs.
    let mut found: libc::statvfs = unsafe { core::mem::zeroed() };
    // SAFETY: the path ends in a NUL; the other pointer is to a live statvfs of ours, which the kernel fills.
    let is_filled = unsafe { libc::statvfs(path.as_ptr(), &mut found) } == 0;
    is_filled.then(|| Space {
        block_bytes: widened(found.f_frsize),
        blocks: widened(found.f_blocks),
        free: widened(found.f_bfree),
        available: widened(found.f_bavail),
        inodes: widened(found.f_files),
        inodes_free: widened(found.f_ffree),
    })
}

/// A file's device as proc_locks(5) has it: `08:01`.
pub fn device_text(device: u64) -> String {
    alloc::format!("{:02x}:{:02x}", libc::major(device), libc::minor(device))
}

/// Whether this open file is on a file system of a network, where a lock may hold on one host alone. What FUSE and 9P carry is not known,
/// and taken for local. Source: statfs(2), `f_type`.
pub fn is_of_network(file: &File) -> bool {
    /// NFS, SMB, CIFS, SMB2, NCP, Coda, AFS of two kinds, Ceph, Lustre, GPFS, OCFS2, GFS2.
    const NETWORKS: [u32; 13] = [
        0x6969,
        0x517b,
        0xff53_4d42,
        0xfe53_4d42,
        0x564c,
        0x7375_7245,
        0x5346_414f,
        0x6b41_4653,
        0x00c3_6400,
        0x0bd0_0bd0,
        0x4750_4653,
        0x7461_636f,
        0x0116_1970,
    ];
    // SAFETY: all zero is a valid statfs.
    let mut found: libc::statfs = unsafe { core::mem::zeroed() };
    // SAFETY: the descriptor is open for as long as the borrow; the pointer is to a live statfs of ours, which the kernel fills.
    let is_filled = unsafe { libc::fstatfs(file.as_raw_fd(), &mut found) } == 0;
    is_filled && NETWORKS.iter().any(|&network| signed(found.f_type) & 0xffff_ffff == i64::from(network))
}

/// A number of whatever width and sign this C library gives it.
fn signed(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(0)
}

/// Whether programs on the file system at this path must not be started; `false` if it does not say. Source: statvfs(3).
pub fn is_noexec(path: &Path) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return false };
    // SAFETY: as above.
    let mut found: libc::statvfs = unsafe { core::mem::zeroed() };
    // SAFETY: as above.
    let is_filled = unsafe { libc::statvfs(path.as_ptr(), &mut found) } == 0;
    is_filled && found.f_flag & libc::ST_NOEXEC != 0
}

/// A number of whatever width this C library gives it.
fn widened(number: impl Into<u64>) -> u64 {
    number.into()
}

/// Hands on the names in an open directory, `.` and `..` with them, and whether each is a directory as far as the file system
/// tells without a look at it; from its start, without memory for them. Fails as reading it does. Source: getdents64(2).
pub fn each_entry(mut directory: &File, mut take: impl FnMut(&[u8], bool)) -> io::Result<()> {
    const TYPE_OFFSET: usize = 18;
    const NAME_OFFSET: usize = 19;
    let mut buffer = [0u8; 8 * 1024];
    directory.rewind()?;
    loop {
        // SAFETY: pointer and length describe one buffer of ours; the kernel writes only there.
        let bytes =
            unsafe { libc::syscall(libc::SYS_getdents64, directory.as_raw_fd(), buffer.as_mut_ptr(), buffer.len()) };
        let bytes = usize::try_from(bytes).map_err(|_| io::Error::last_os_error())?;
        let mut rest = &buffer[..bytes];
        if rest.is_empty() {
            return Ok(());
        }
        while let Some(length) = rest.get(16..18) {
            let length = usize::from(u16::from_ne_bytes([length[0], length[1]])).clamp(NAME_OFFSET, rest.len());
            let (entry, behind) = rest.split_at(length);
            let is_directory = entry.get(TYPE_OFFSET) == Some(&libc::DT_DIR);
            let name = entry.get(NAME_OFFSET..).unwrap_or_default();
            take(name.split(|&byte| byte == 0).next().unwrap_or_default(), is_directory);
            rest = behind;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::vec::Vec;
    use std::fs;

    #[test]
    fn every_name_of_a_large_directory_is_handed_on_each_time() {
        let directory = std::env::temp_dir().join(format!("omsd-names-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let mut expected: Vec<String> = (0..500).map(|n| format!("{n}{}", "x".repeat(n % 200))).collect();
        expected.iter().for_each(|name| fs::write(directory.join(name), "").unwrap());
        expected.extend([".", ".."].map(String::from));
        expected.sort();
        let open = File::open(&directory).unwrap();
        for _ in 0..2 {
            let mut names = Vec::new();
            each_entry(&open, |name, is_directory| {
                assert_eq!(is_directory, name.starts_with(b"."));
                names.push(String::from_utf8(name.to_vec()).unwrap());
            })
            .unwrap();
            names.sort();
            assert_eq!(names, expected);
        }
        assert!(each_entry(&File::open(directory.join(&expected[5])).unwrap(), |_, _| {}).is_err());
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_path_that_leads_nowhere_has_no_room() {
        assert_eq!(space(c"/nowhere/at/all"), None);
        let root = space(c"/").expect("the root says");
        assert!(root.block_bytes > 0 && root.free <= root.blocks && root.available <= root.free, "{root:?}");
    }
}

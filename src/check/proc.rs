//! What the kernel says of processes, sockets and mounts, in `/proc`; each parser takes the text.

use crate::limits::{CHECK_FILE_BYTES_MAX, CHECK_NAMES_MAX};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// The text of a file, as much of it as we look at.
pub fn text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(CHECK_FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its program's name, 15 bytes of it.
    pub name: String,
}

/// Every process that can be seen.
pub fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten().take(CHECK_NAMES_MAX);
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter_map(|pid| Some(Process { pid, name: name_of(pid)? })).collect()
}

/// The name of a process; `None` if there is none, or no `/proc`.
pub fn name_of(pid: u32) -> Option<String> {
    text(Path::new(&format!("/proc/{pid}/comm"))).ok().map(|name| name.trim_end().to_string())
}

/// The process that started this one. Source: proc_pid_stat(5), field 4.
pub fn parent_of(pid: u32) -> Option<u32> {
    let stat = text(Path::new(&format!("/proc/{pid}/stat"))).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Inodes of the sockets that a process has open. Fails with `PermissionDenied` for those of others.
pub fn sockets_of(pid: u32) -> io::Result<Vec<u64>> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd"))?.flatten().take(CHECK_NAMES_MAX);
    let links = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    Ok(links.filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()).collect())
}

/// Who has this socket open, if it can be seen.
pub fn owner_of(inode: u64) -> Option<Process> {
    processes().into_iter().find(|process| sockets_of(process.pid).is_ok_and(|sockets| sockets.contains(&inode)))
}

/// Inode of the socket that listens on a port, in the text of `/proc/net/udp`, `udp6`, `tcp` or `tcp6`. Source: proc_pid_net(5).
pub fn listener(table: &str, port: u16) -> Option<u64> {
    const LISTENS: &str = "0A"; // of TCP
    const UNCONNECTED: &str = "07"; // of UDP
    table.lines().skip(1).find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (words.get(1)?, words.get(3)?, words.get(9)?);
        let found = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
        (found == port && [LISTENS, UNCONNECTED].contains(state)).then(|| inode.parse().ok())?
    })
}

/// Inode of the socket that is bound to a path, in the text of `/proc/net/unix`.
pub fn unix_listener(table: &str, path: &str) -> Option<u64> {
    table.lines().find_map(|line| {
        let (words, bound) = line.split_once(" /")?;
        (bound == path.trim_start_matches('/')).then(|| words.split_whitespace().nth(6)?.parse().ok())?
    })
}

/// What a path is mounted on.
#[derive(Debug, PartialEq, Eq)]
pub struct Mount {
    /// Type of the file system.
    pub kind: String,
    /// Nothing can be written.
    pub is_read_only: bool,
    /// No program can be started.
    pub is_noexec: bool,
}

/// The mount that a path without links is on, in the text of `/proc/self/mountinfo`. Source: proc_pid_mountinfo(5).
pub fn mount_of(mountinfo: &str, path: &Path) -> Option<Mount> {
    let found = mountinfo.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let words: Vec<&str> = left.split(' ').collect();
        let point = Path::new(words.get(4)?);
        let mut of_file_system = right.split(' ');
        let kind = of_file_system.next()?.to_string();
        let (options, more) = (words.get(5)?, of_file_system.nth(1)?);
        let has = |wanted| options.split(',').chain(more.split(',')).any(|option| option == wanted);
        let mount = Mount { kind, is_read_only: has("ro"), is_noexec: has("noexec") };
        path.starts_with(point).then(|| (point.components().count(), mount))
    });
    // Of several at one place the last one counts.
    found.max_by_key(|(depth, _)| *depth).map(|(_, mount)| mount)
}

/// A limit in the text of `/proc/PID/limits`; `None`: there is none. Source: proc_pid_limits(5).
pub fn limit(limits: &str, name: &str) -> Option<u64> {
    limits.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UDP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
        \x20 123: 0100007F:6288 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0000000000000000 0\n";
    const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
        \x20  0: 0100007F:6288 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 11 1 0\n\
        \x20  1: 0100007F:6288 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1 0\n";

    #[test]
    fn who_listens_is_told_from_who_is_connected() {
        assert_eq!(listener(UDP, 25224), Some(4711));
        assert_eq!(listener(UDP, 25225), None);
        assert_eq!(listener(TCP, 25224), Some(12));
        assert_eq!(listener("", 1), None);
        let unix = "Num       RefCount Protocol Flags    Type St Inode Path\n\
                    0000000000000000: 00000002 00000000 00000000 0002 01 4713 /run/omsd.sock\n\
                    0000000000000000: 00000002 00000000 00000000 0002 01 4714\n";
        assert_eq!(unix_listener(unix, "/run/omsd.sock"), Some(4713));
        assert_eq!(unix_listener(unix, "/run/omsd"), None);
    }

    #[test]
    fn the_deepest_mount_counts_and_of_equals_the_last() {
        let table = "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n23 22 0:21 / /var rw - tmpfs none rw\n\
                     24 22 0:22 / /var rw,noexec - nfs4 server:/x ro,vers=4\n25 22 0:23 / /variety rw - xfs /dev/sdb rw\n";
        let mount =
            |kind: &str, is_read_only, is_noexec| Some(Mount { kind: kind.to_string(), is_read_only, is_noexec });
        assert_eq!(mount_of(table, Path::new("/var/opt/omsd")), mount("nfs4", true, true));
        assert_eq!(mount_of(table, Path::new("/etc")), mount("ext4", false, false));
        assert_eq!(mount_of("", Path::new("/etc")), None);
    }

    #[test]
    fn limits_are_numbers_or_none() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max file size             unlimited            unlimited            bytes     \n\
                    Max processes             31339                31339                processes \n";
        assert_eq!(
            (limit(text, "Max processes"), limit(text, "Max file size"), limit(text, "Max open files")),
            (Some(31339), None, None)
        );
    }
}

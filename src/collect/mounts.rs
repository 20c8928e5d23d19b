//! `/proc/self/mountinfo`: which file systems are mounted where, on what, and which of them the original looks at.

use super::text::{lines, number};
use crate::limits::MOUNTS_MAX;
use alloc::vec::Vec;

/// What the kernel calls a device: its major and minor number. Those of file systems that are on none have major 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Device {
    /// Of its driver.
    pub major: u64,
    /// Among those of its driver.
    pub minor: u64,
}

/// A mounted file system that is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where.
    pub point: Vec<u8>,
    /// On what, by number.
    pub device: Device,
    /// On what, as who mounted it said: `/dev/sda1`.
    pub source: Vec<u8>,
    /// Index of the first mount of the same file system: a total counts it once.
    pub first: usize,
    /// Nothing on the way to it, and not it itself, needs more than this kernel to answer: asking it may not hang.
    pub is_local: bool,
    /// It makes its device a physical disk.
    pub is_on_disk: bool,
}

/// A line of the file. Source: proc_pid_mountinfo(5), fields 3, 4, 5, 7, 9 and 10.
struct Line<'a> {
    device: Device,
    /// What of the file system is mounted.
    root: &'a [u8],
    point: &'a [u8],
    /// It follows a mount of another namespace: this process does not see the mounts of the host, but a copy.
    is_copy: bool,
    kind: &'a [u8],
    source: &'a [u8],
}

/// The file systems that are measured, in the order of the file. What another file system hides at the same place is not there.
pub fn parse(mountinfo: &[u8]) -> Vec<Mount> {
    let all: Vec<Line<'_>> = lines(mountinfo).filter_map(parse_line).take(MOUNTS_MAX).collect();
    let may_hang: Vec<&Line<'_>> = all.iter().filter(|line| !is_harmless(line.kind)).collect();
    let is_hidden = |index: usize, point| all[index + 1..].iter().any(|later| later.point == point);
    let mut mounts: Vec<Mount> = Vec::new();
    for (index, line) in all.iter().enumerate() {
        let source = unescaped(line.source);
        if !is_measured(line.kind, &source) || is_hidden(index, line.point) || shows_nothing_new(line, &all) {
            continue;
        }
        mounts.push(Mount {
            first: mounts.iter().position(|earlier| earlier.device == line.device).unwrap_or(mounts.len()),
            is_local: !may_hang.iter().any(|remote| is_within(line.point, remote.point)),
            is_on_disk: line.kind != b"vxfs" && source != line.point,
            point: unescaped(line.point),
            device: line.device,
            source,
        });
    }
    mounts
}

/// Fields are split at each single blank: the kernel writes an empty source as nothing.
fn parse_line(line: &[u8]) -> Option<Line<'_>> {
    let mut fields = line.split(|&byte| byte == b' ');
    let mut numbers = fields.nth(2)?.split(|&byte| byte == b':');
    let device = Device { major: number(numbers.next()?)?, minor: number(numbers.next()?)? };
    let (root, point) = (fields.next()?, fields.next()?);
    let mut is_copy = false;
    fields.find(|field| {
        is_copy |= field.starts_with(b"master:");
        *field == b"-"
    })?;
    Some(Line { device, root, point, is_copy, kind: fields.next()?, source: fields.next()? })
}

/// A directory that is mounted on itself in a sandbox, which has it read-only, or writable, that way (systemd.exec(5), `ReadWritePaths=`).
/// One that the host has mounted so counts, as it does for the original.
fn shows_nothing_new(line: &Line<'_>, all: &[Line<'_>]) -> bool {
    let around = all.iter().filter(|other| other.point != line.point && is_within(line.point, other.point));
    line.is_copy
        && around.max_by_key(|other| other.point.len()).is_some_and(|around| {
            around.device == line.device && below(line.root, around.root) == below(line.point, around.point)
        })
}

/// File systems that the original leaves out, whatever they are on. Source: its list.
const IGNORED: &str = "autofs bdev binfmt_misc cachefs cdfs cdrfs cifs cgroup configfs ctfs debugfs devfs devpts devtmpfs \
    efivarfs fuse.lxcfs eventpollfs fd ffs fifofs fusectl futexfs hugetlbfs hsfs inotifyfs iso9660 lofs mntfs mqueue mvfs \
    namefs none objfs pipefs proc procfs pstore ramfs rootfs rpc_pipefs securityfs selinuxfs sharefs sockfs specfs subfs sysfs \
    tmpfs udfs usbfs udev tracefs vmblock vmhgfs vmware-hgfs zfs";

/// On something with a path, which is no loop device, and of a type that is not left out.
fn is_measured(kind: &[u8], source: &[u8]) -> bool {
    let contains = |text: &[u8], part: &[u8]| text.windows(part.len()).any(|window| window == part);
    let is_left_out = |ignored: &str| kind.eq_ignore_ascii_case(ignored.as_bytes());
    source.contains(&b'/')
        && !source.contains(&b'#')
        && !contains(source, b"/dev/loop")
        && !IGNORED.split(' ').any(is_left_out)
        && !kind.starts_with(b"nfs")
        && !contains(kind, b"gvfs")
}

/// Types that answer from this kernel's own memory. All others (network, cluster, user space, automounter) may hang.
fn is_harmless(kind: &[u8]) -> bool {
    const ON_A_DEVICE: &str = "ext2 ext3 ext4 xfs btrfs vfat msdos exfat ntfs3 f2fs jfs reiserfs squashfs erofs iso9660 udf \
                               hfsplus nilfs2 bcachefs zfs";
    const ON_NONE: &str = "rootfs tmpfs ramfs devtmpfs overlay aufs proc sysfs devpts cgroup cgroup2 debugfs tracefs securityfs \
                           selinuxfs pstore efivarfs bpf configfs hugetlbfs mqueue nsfs binfmt_misc fusectl rpc_pipefs";
    is_one_of(kind, ON_A_DEVICE) || is_one_of(kind, ON_NONE)
}

fn is_one_of(kind: &[u8], kinds: &str) -> bool {
    kinds.split(' ').any(|one| one.as_bytes() == kind)
}

/// What of the path is below another; `None` if it is not.
fn below<'a>(path: &'a [u8], top: &[u8]) -> Option<&'a [u8]> {
    path.strip_prefix(top.strip_suffix(b"/").unwrap_or(top))
}

/// `path` is `point`, or below it.
fn is_within(path: &[u8], point: &[u8]) -> bool {
    below(path, point).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

/// With `\040` and the like turned back into the bytes that they stand for. A backslash in front of anything else is one.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, behind @ ..] = rest {
        let octal = behind.first_chunk::<3>().filter(|_| *first == b'\\').and_then(octal);
        bytes.push(octal.unwrap_or(*first));
        rest = if octal.is_some() { &behind[3..] } else { behind };
    }
    bytes
}

fn octal(digits: &[u8; 3]) -> Option<u8> {
    let value = digits
        .iter()
        .try_fold(0u16, |sum, digit| matches!(digit, b'0'..=b'7').then(|| sum * 8 + u16::from(digit - b'0')))?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;

    const TABLE: &str = "\
        15 20 0:3 / /proc rw,relatime - proc proc rw\n\
        19 1 8:1 / / rw,relatime shared:1 master:2 - ext4 /dev/sda1 rw,data=ordered\n\
        25 19 8:2 / /mnt/two\\040words\\134x rw - xfs /dev/sda2 rw\n\
        26 19 0:44 / /home rw - nfs4 server:/home rw\n\
        27 26 8:3 / /home/local rw - ext4 /dev/sda3 rw\n\
        28 19 8:2 /sub /srv rw - xfs /dev/sda2 rw\n";

    fn points(table: &str) -> Vec<String> {
        parse(table.as_bytes()).iter().map(|mount| String::from_utf8_lossy(&mount.point).into_owned()).collect()
    }

    #[test]
    fn file_systems_come_in_the_order_of_the_table_with_escapes_decoded() {
        assert_eq!(points(TABLE), ["/", "/mnt/two words\\x", "/home/local", "/srv"]);
        let mounts = parse(TABLE.as_bytes());
        assert_eq!((mounts[1].device, &mounts[1].source[..]), (Device { major: 8, minor: 2 }, &b"/dev/sda2"[..]));
        assert_eq!([0, 1, 2, 3].map(|index| mounts[index].first), [0, 1, 2, 1]);
    }

    #[test]
    fn what_is_below_a_mount_that_may_hang_may_hang() {
        let mounts = parse(TABLE.as_bytes());
        assert_eq!([0, 1, 2, 3].map(|index| mounts[index].is_local), [true, true, false, true]);
        let root_on_nfs = TABLE.replace("ext4 /dev/sda1", "nfs server:/");
        assert!(parse(root_on_nfs.as_bytes()).iter().all(|mount| !mount.is_local));
        assert!(is_within(b"/a/b", b"/a") && is_within(b"/a", b"/a") && is_within(b"/a", b"/"));
        assert!(!is_within(b"/ab", b"/a") && !is_within(b"/", b"/a"));
    }

    #[test]
    fn what_another_file_system_hides_is_not_there() {
        let covered = format!("{TABLE}30 25 0:9 / /mnt/two\\040words\\134x rw - tmpfs tmpfs rw\n");
        assert_eq!(points(&covered), ["/", "/home/local", "/srv"]);
        let twice = format!("{TABLE}30 28 8:9 / /srv rw - ext4 /dev/sda9 rw\n");
        assert_eq!(parse(twice.as_bytes()).last().map(|mount| mount.device.minor), Some(9));
    }

    #[test]
    fn a_directory_that_is_mounted_on_itself_is_no_file_system_of_its_own() {
        // As in a service with ProtectHome=read-only and ReadWritePaths=/var/opt/omsd, /srv/state.
        let sandboxed = format!(
            "{TABLE}30 19 8:1 /root /root ro shared:7 master:2 - ext4 /dev/sda1 rw\n\
             31 19 8:1 /var/opt/omsd /var/opt/omsd rw shared:7 master:2 - ext4 /dev/sda1 rw\n\
             32 28 8:2 /sub/state /srv/state rw shared:7 master:2 - xfs /dev/sda2 rw\n\
             33 27 8:3 / /home/local ro shared:7 master:2 - ext4 /dev/sda3 rw\n"
        );
        assert_eq!(points(&sandboxed), ["/", "/mnt/two words\\x", "/srv", "/home/local"]);
        let of_the_host = sandboxed.replace(" master:2", "");
        assert_eq!(points(&of_the_host).len(), 7);
        let elsewhere = format!("{TABLE}30 19 8:1 /var/a /var/b rw master:2 - ext4 /dev/sda1 rw\n");
        assert_eq!(points(&elsewhere).last().map(String::as_str), Some("/var/b"));
    }

    #[track_caller]
    fn check(kind: &str, source: &str, expected: bool) {
        let line = format!("30 1 0:9 / /x rw - {kind} {source} rw\n");
        assert_eq!(points(&line).len(), usize::from(expected), "{line}");
    }

    #[test]
    fn the_original_measures_these_and_no_others() {
        for kind in ["ext2", "ext3", "ext4", "xfs", "btrfs", "vfat", "fuseblk", "squashfs", "9p", "fuse.sshfs", "vxfs"]
        {
            check(kind, "/dev/x", true);
        }
        for kind in IGNORED.split(' ').chain(["nfs", "nfs4", "nfsd", "fuse.gvfsd-fuse", "TMPFS", "ISO9660"]) {
            check(kind, "/dev/x", false);
        }
        check("overlay", "overlay", false);
        check("ext4", "/dev/loop7", false);
        check("ext4", "/dev/disk/x#y", false);
        check("ext4", "/dev/disk/x\\043y", false);
        check("ext4", "", false);
        check("fuse.sshfs", "user@server:/home", true);
    }

    #[test]
    fn only_a_source_that_is_not_its_mount_point_makes_a_physical_disk() {
        let is_on_disk = |line: &str| parse(line.as_bytes())[0].is_on_disk;
        assert!(is_on_disk("30 1 8:9 / /x rw - ext4 /dev/sda9 rw"));
        assert!(!is_on_disk("30 1 0:9 / /x rw - fuse.odd /x rw"));
        assert!(!is_on_disk("30 1 8:9 / /x rw - vxfs /dev/sda9 rw"));
    }

    #[test]
    fn lines_that_end_too_early_are_left_out() {
        for line in
            ["30 1 8:9 / /x rw", "30 1 8:9 / /x rw - ext4", "30 1 8 / /x rw - ext4 /dev/sda9 rw", "", "- - - - -"]
        {
            assert_eq!(points(line), [""; 0], "{line}");
        }
    }

    #[test]
    fn only_three_octal_digits_of_a_byte_are_an_escape() {
        assert_eq!(unescaped(b"a\\040b\\011\\012\\134"), b"a b\t\n\\");
        assert_eq!(unescaped(b"\\04 \\048 \\777 \\"), b"\\04 \\048 \\777 \\");
        assert_eq!(unescaped(b"\\377\xfe"), b"\xff\xfe");
    }

    #[test]
    fn there_may_be_a_thousand_and_no_more_than_the_bound() {
        let table: String =
            (0..MOUNTS_MAX + 9).map(|n| format!("{n} 1 8:{n} / /m{n} rw - ext4 /dev/d{n} rw\n")).collect();
        assert_eq!(points(&table).len(), MOUNTS_MAX);
    }
}

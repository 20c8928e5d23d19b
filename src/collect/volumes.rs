//! The mounted file systems, their space, and the disks that they are on.

use super::diskstats::Disks;
use super::logical_disk::Space;
use super::mounts::{self, Device, Mount};
use super::physical_disk::disk_of;
use super::remote::Remote;
use crate::limits::{DISKS_DEPTH_MAX, DISKS_MS};
use crate::sys::filesystem;
use alloc::ffi::CString;
use alloc::vec::Vec;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// What is mounted, and what was found out about it.
#[derive(Debug)]
pub struct Volumes {
    /// The bytes of the table: nothing is found out anew while they stay the same.
    table: Vec<u8>,
    /// The file systems, in the table's order.
    pub mounts: Vec<Mount>,
    /// Where to ask each of them.
    paths: Vec<CString>,
    /// The disks that they are on, in that order.
    pub disks: Vec<Device>,
    /// When it was last found out which; `None`: the table changed since.
    disks_ms: Option<u64>,
    remote: Remote,
}

impl Default for Volumes {
    fn default() -> Self {
        Volumes {
            table: Vec::new(),
            mounts: Vec::new(),
            paths: Vec::new(),
            disks: Vec::new(),
            disks_ms: None,
            remote: Remote::new(filesystem::space),
        }
    }
}

impl Volumes {
    /// Takes a table's bytes. What it says counts once it is [settled](Volumes::settle).
    pub fn parse(&mut self, mountinfo: &[u8]) {
        if mountinfo != self.table {
            self.table.clear();
            self.table.extend_from_slice(mountinfo);
            self.mounts = mounts::parse(mountinfo);
            self.disks_ms = None;
        }
    }

    /// Finds out what the table and the block devices do not say: at once for a new table, then now and again.
    pub fn settle(&mut self, now_ms: u64, root: &Path, disks: &Disks) {
        if self.disks_ms.is_some_and(|disks_ms| now_ms.saturating_sub(disks_ms) < DISKS_MS) {
            return;
        }
        self.mounts.iter_mut().for_each(|mount| mount.device = device_of(mount, root, disks));
        self.paths = self.mounts.iter().map(|mount| path_below(root, &mount.point)).collect();
        let remote = self.mounts.iter().zip(&self.paths).filter(|(mount, _)| !mount.is_local);
        self.remote.set(remote.map(|(_, path)| path.clone()));
        self.disks.clear();
        for mount in self.mounts.iter().filter(|mount| mount.is_on_disk) {
            add_disks(mount.device, root, disks, 0, &mut self.disks);
        }
        self.disks_ms = Some(now_ms);
    }

    /// Lets go of a child that asked: for when no sample does.
    pub fn tidy(&mut self, now_ms: u64) {
        self.remote.tidy(now_ms);
    }

    /// Each file system and the room in it now; of one that may hang, what it said when it was last asked, which this does too.
    pub fn spaces(&mut self, now_ms: u64) -> impl Iterator<Item = (&Mount, Option<Space>)> {
        self.remote.turn(now_ms);
        let remote = &self.remote;
        self.mounts.iter().zip(&self.paths).map(move |(mount, path)| match mount.is_local {
            true => (mount, filesystem::space(path)),
            false => (mount, remote.space(path)),
        })
    }
}

fn path_below(root: &Path, absolute: &[u8]) -> CString {
    let relative = absolute.strip_prefix(b"/").unwrap_or(absolute);
    let path = root.join(OsStr::from_bytes(relative));
    CString::new(path.into_os_string().into_vec()).unwrap_or_default() // a name has no NUL
}

/// The block device below a mount. That of a file system with numbers of its own, such as btrfs, is told by its source's name,
/// or by that of what the source links to.
fn device_of(mount: &Mount, root: &Path, disks: &Disks) -> Device {
    let by_name = || {
        let source = mount.source.strip_prefix(b"/")?;
        let target = fs::canonicalize(root.join(OsStr::from_bytes(source))).ok()?;
        let name = target.strip_prefix(root.join("dev")).ok()?;
        Some(disks.named(name.as_os_str().as_bytes())?.device)
    };
    let is_numbered = mount.device.major != 0;
    (!is_numbered).then(by_name).flatten().unwrap_or(mount.device)
}

/// The disks that a block device is on: those of the devices that a logical volume is on, else the one that it is or is a
/// partition of. A logical volume of which nothing is known counts as a disk.
fn add_disks(device: Device, root: &Path, disks: &Disks, depth: u32, found: &mut Vec<Device>) {
    let Some(disk) = disks.find(device) else { return };
    let name = disk.name.as_bytes();
    let below = if name.starts_with(b"dm-") && depth < DISKS_DEPTH_MAX { below(name, root, disks) } else { Vec::new() };
    if below.is_empty() {
        let name = disk_of(name, |name| disks.named(name).is_some());
        let device = disks.named(name).map_or(device, |disk| disk.device);
        if !found.contains(&device) {
            found.push(device);
        }
    }
    below.into_iter().for_each(|device| add_disks(device, root, disks, depth + 1, found));
}

/// The devices that a device is made of. In these names a `!` stands for a `/`. Source: `/sys/block/NAME/slaves`.
fn below(name: &[u8], root: &Path, disks: &Disks) -> Vec<Device> {
    let path = root.join("sys/block").join(OsStr::from_bytes(name)).join("slaves");
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let mut devices: Vec<Device> = entries
        .filter_map(|entry| {
            let mut name = entry.file_name().into_vec();
            name.iter_mut().filter(|byte| **byte == b'!').for_each(|byte| *byte = b'/');
            Some(disks.named(&name)?.device)
        })
        .collect();
    devices.sort_unstable();
    devices
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{Tree, disks};
    use alloc::format;
    use alloc::string::String;

    fn all() -> Disks {
        let names =
            [(8, 0, "sda"), (8, 1, "sda1"), (8, 3, "sda3"), (8, 16, "sdb"), (8, 17, "sdb1"), (104, 0, "cciss/c0d0")];
        let volumes = [(104, 2, "cciss/c0d0p2"), (253, 0, "dm-0"), (253, 1, "dm-1"), (253, 2, "dm-2")];
        let line = |(major, minor, name)| format!("{major} {minor} {name} 1 1 1 1 1 1 1 1 1 1 1\n");
        disks(&names.into_iter().chain(volumes).map(line).collect::<String>())
    }

    /// Disks below what is mounted, by name.
    #[track_caller]
    fn check(tree: &Tree, sources: &[(&str, &str)], expected: &[&str]) {
        let line = |(device, source): &(&str, &str)| {
            format!("1 1 {device} / /{} rw - ext4 {source} rw\n", device.replace(':', "_"))
        };
        let mut volumes = Volumes::default();
        volumes.parse(sources.iter().map(line).collect::<String>().as_bytes());
        let all = all();
        volumes.settle(0, &tree.root(), &all);
        let names: Vec<&[u8]> = volumes.disks.iter().map(|device| all.find(*device).unwrap().name.as_bytes()).collect();
        assert_eq!(names, expected.iter().map(|name| name.as_bytes()).collect::<Vec<_>>());
    }

    #[test]
    fn a_logical_volume_is_on_the_disks_of_what_it_is_made_of() {
        let tree = Tree::new();
        for slave in ["dm-0/slaves/sda3", "dm-1/slaves/dm-0", "dm-1/slaves/sdb1", "dm-1/slaves/cciss!c0d0p2"] {
            tree.write(&format!("sys/block/{slave}/dev"), "");
        }
        check(&tree, &[("253:0", "/dev/mapper/vg-root")], &["sda"]);
        check(&tree, &[("8:1", "/dev/sda1"), ("253:1", "/dev/mapper/vg-all")], &["sda", "sdb", "cciss/c0d0"]);
        check(&tree, &[("253:2", "/dev/mapper/vg-unknown"), ("9:9", "/dev/sdx")], &["dm-2"]);
    }

    #[test]
    fn volumes_that_are_made_of_each_other_come_to_an_end() {
        let tree = Tree::new();
        tree.write("sys/block/dm-0/slaves/dm-1/dev", "");
        tree.write("sys/block/dm-1/slaves/dm-0/dev", "");
        check(&tree, &[("253:0", "/dev/mapper/vg-odd")], &["dm-0"]);
    }

    #[test]
    fn a_file_system_with_numbers_of_its_own_is_known_by_its_source() {
        let tree = Tree::new();
        tree.write("dev/sdb1", "");
        tree.write("dev/dm-0", "");
        tree.link("../dm-0", "dev/mapper/vg-data");
        check(
            &tree,
            &[("0:31", "/dev/sdb1"), ("0:32", "/dev/mapper/vg-data"), ("0:33", "/dev/gone")],
            &["sdb", "dm-0"],
        );
    }

    #[test]
    fn the_table_is_looked_through_when_it_changes_and_disks_now_and_again() {
        let tree = Tree::new();
        tree.write("sys/block/dm-0/slaves/sda3/dev", "");
        let mut volumes = Volumes::default();
        let line = "1 1 253:0 / / rw - ext4 /dev/mapper/vg-root rw\n";
        let mut disks_at = |now_ms, table: &str| {
            volumes.parse(table.as_bytes());
            volumes.settle(now_ms, &tree.root(), &all());
            volumes.disks.iter().map(|device| device.minor).collect::<Vec<_>>()
        };
        assert_eq!(disks_at(0, line), [0]); // sda
        tree.write("sys/block/dm-0/slaves/sdb1/dev", "");
        assert_eq!(disks_at(DISKS_MS - 1, line), [0]);
        assert_eq!(disks_at(DISKS_MS, line), [0, 16]); // and sdb
        assert_eq!(disks_at(DISKS_MS, ""), []);
    }
}

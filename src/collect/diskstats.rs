//! `/proc/diskstats`: what each block device did since boot.

use super::arithmetic::advance;
use super::mounts::Device;
use super::text::{Name, fields, lines, number, numbers};
use crate::limits::DISKS_MAX;
use alloc::vec::Vec;

/// A block device, and what it did since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// Its number.
    pub device: Device,
    /// `sda1`
    pub name: Name,
    counts: Counts,
}

/// What block devices did. Sectors are of 512 bytes, whatever the disk's are; times are summed over what was under way
/// together. Source: the kernel's `iostats.rst`, fields 1, 3, 4, 5, 7 and 8 behind the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Reads completed.
    pub reads: u64,
    /// What they brought.
    pub sectors_read: u64,
    /// How long they took.
    pub read_ms: u64,
    /// Writes completed.
    pub writes: u64,
    /// What they took.
    pub sectors_written: u64,
    /// How long they took.
    pub write_ms: u64,
}

impl Counts {
    /// What happened since `before`; `None` if any count ran backwards.
    fn since(&self, before: &Counts) -> Option<Counts> {
        Some(Counts {
            reads: advance(before.reads, self.reads)?,
            sectors_read: advance(before.sectors_read, self.sectors_read)?,
            read_ms: advance(before.read_ms, self.read_ms)?,
            writes: advance(before.writes, self.writes)?,
            sectors_written: advance(before.sectors_written, self.sectors_written)?,
            write_ms: advance(before.write_ms, self.write_ms)?,
        })
    }

    /// Both together.
    #[must_use]
    pub fn plus(&self, other: &Counts) -> Counts {
        Counts {
            reads: self.reads.saturating_add(other.reads),
            sectors_read: self.sectors_read.saturating_add(other.sectors_read),
            read_ms: self.read_ms.saturating_add(other.read_ms),
            writes: self.writes.saturating_add(other.writes),
            sectors_written: self.sectors_written.saturating_add(other.sectors_written),
            write_ms: self.write_ms.saturating_add(other.write_ms),
        }
    }
}

/// All block devices, by number.
#[derive(Debug, Default)]
pub struct Disks {
    disks: Vec<Disk>,
}

impl Disks {
    /// Takes the place of an earlier reading, in its memory.
    pub fn parse(&mut self, diskstats: &[u8]) {
        self.disks.clear();
        self.disks.extend(lines(diskstats).filter_map(parse_line).take(DISKS_MAX));
        self.disks.sort_unstable_by_key(|disk| disk.device);
    }

    /// Takes the place of an earlier reading by another's.
    pub fn copy(&mut self, other: &Disks) {
        self.disks.clone_from(&other.disks);
    }

    /// The device of this number.
    pub fn find(&self, device: Device) -> Option<&Disk> {
        self.disks.binary_search_by_key(&device, |disk| disk.device).ok().map(|index| &self.disks[index])
    }

    /// The device of this name.
    pub fn named(&self, name: &[u8]) -> Option<&Disk> {
        self.disks.iter().find(|disk| disk.name.as_bytes() == name)
    }

    /// What this device did since an earlier reading. `None` if it was not there, was another, or its counts ran backwards.
    pub fn since(&self, earlier: &Disks, device: Device) -> Option<Counts> {
        let (before, now) = (earlier.find(device)?, self.find(device)?);
        (before.name == now.name).then(|| now.counts.since(&before.counts)).flatten()
    }
}

/// At least 11 numbers behind the name; 4.18 and 5.5 have more.
fn parse_line(line: &[u8]) -> Option<Disk> {
    let mut fields = fields(line);
    let device = Device { major: number(fields.next()?)?, minor: number(fields.next()?)? };
    let name = fields.next()?;
    let behind = (name.as_ptr() as usize - line.as_ptr() as usize) + name.len();
    let [reads, _, sectors_read, read_ms, writes, _, sectors_written, write_ms, ..] = numbers::<11>(&line[behind..])?;
    let counts = Counts { reads, sectors_read, read_ms, writes, sectors_written, write_ms };
    Some(Disk { device, name: Name::new(name), counts })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::disks;
    use alloc::format;
    use alloc::string::String;

    const SDA: Device = Device { major: 8, minor: 0 };

    #[test]
    fn columns_are_found_whatever_follows_them() {
        let counts = Counts { reads: 1, sectors_read: 3, read_ms: 4, writes: 5, sectors_written: 7, write_ms: 8 };
        for more in ["", " 12 13 14 15", " 12 13 14 15 16 17", " x"] {
            let disks = disks(&format!("   8       0 sda 1 2 3 4 5 6 7 8 9 10 11{more}\n"));
            assert_eq!(disks.find(SDA).map(|disk| disk.counts), Some(counts), "{more}");
        }
        assert!(disks("8 0 sda 1 2 3 4 5 6 7 8 9 10\n8 sda 0\n8 1 sda1 1 2 3 4\n").disks.is_empty());
    }

    #[test]
    fn devices_are_found_in_any_order() {
        let all =
            disks("253 0 dm-0 1 1 1 1 1 1 1 1 1 1 1\n8 16 sdb 2 2 2 2 2 2 2 2 2 2 2\n8 0 sda 3 3 3 3 3 3 3 3 3 3 3\n");
        assert_eq!(all.find(SDA).map(|disk| disk.counts.reads), Some(3));
        assert_eq!(all.named(b"dm-0").map(|disk| disk.device.major), Some(253));
        assert_eq!(all.find(Device { major: 8, minor: 1 }), None);
    }

    #[test]
    fn a_device_that_is_new_or_another_or_ran_backwards_did_nothing_that_is_known() {
        let line = |name: &str, count: u64| format!("8 0 {name} {count} 0 0 0 0 0 0 0 0 0 0\n");
        let now = disks(&line("sda", 10));
        assert_eq!(now.since(&disks(&line("sda", 7)), SDA).map(|counts| counts.reads), Some(3));
        assert_eq!(now.since(&disks(&line("sda", 4_294_967_290)), SDA).map(|counts| counts.reads), Some(16));
        assert_eq!(now.since(&disks(&line("sda", 11)), SDA), None);
        assert_eq!(now.since(&disks(&line("sdb", 7)), SDA), None);
        assert_eq!(now.since(&disks(""), SDA), None);
        assert_eq!(disks("").since(&now, SDA), None);
    }

    #[test]
    fn there_may_be_thousands_and_no_more_than_the_bound() {
        let all: String = (0..DISKS_MAX + 9).map(|n| format!("8 {n} sd{n} 1 1 1 1 1 1 1 1 1 1 1\n")).collect();
        assert_eq!(disks(&all).disks.len(), DISKS_MAX);
    }
}

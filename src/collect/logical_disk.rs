//! Logical Disk: the space of each mounted file system, and what the device below it does.

use super::arithmetic::{percent, rate, value};
use super::diskstats::Counts;
use super::{Options, Sink, report};
use alloc::vec::Vec;

/// Room in a file system. Source: statvfs(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Space {
    /// Bytes of a block: `f_frsize`.
    pub block_bytes: u64,
    /// All blocks: `f_blocks`.
    pub blocks: u64,
    /// Those not in use: `f_bfree`.
    pub free: u64,
    /// Those that anyone may use, `f_bavail`: without what is kept for root.
    pub available: u64,
    /// All inodes, `f_files`; 0 where there is no such bound.
    pub inodes: u64,
    /// Those not in use: `f_ffree`.
    pub inodes_free: u64,
}

/// A file system at the moment of a sample.
#[derive(Debug, Clone, Copy)]
pub struct Volume<'a> {
    /// Where it is mounted.
    pub point: &'a [u8],
    /// Index of the first volume that is the same file system: its own, if there is none before it.
    pub first: usize,
    /// `None`: it does not say.
    pub space: Option<Space>,
    /// What its device did in the window. `None`: not known.
    pub done: Option<Counts>,
}

/// Each volume, then `_Total`. What is kept for root is neither free nor used, as df(1) has it. A file system that is mounted several
/// times is one part of the total: its first mount that says what room it has.
pub fn sample<'a>(volumes: impl Iterator<Item = Volume<'a>>, elapsed_ms: u64, options: Options, sink: &mut dyn Sink) {
    let mut total_room: Option<Room> = None;
    let mut total_rates = [None; 6];
    // File systems that were there, but did not say.
    let mut silent: Vec<usize> = Vec::new();
    for (index, volume) in volumes.enumerate() {
        let room = volume.space.map(|space| Room::of(&space, options));
        let rates = volume.done.map_or([None; 6], |done| rates(&done, elapsed_ms, options));
        report(sink, volume.point, &values(room, rates, options));
        let is_first = volume.first == index;
        if is_first {
            for (total, rate) in total_rates.iter_mut().zip(rates) {
                *total = rate.map(|rate| rate + total.unwrap_or(0.0)).or(*total);
            }
        }
        match room {
            Some(room) if is_first || silent.contains(&volume.first) => {
                total_room = Some(room.plus(total_room.unwrap_or_default()));
                silent.retain(|&first| first != volume.first);
            }
            None if is_first => silent.push(index),
            _ => {}
        }
    }
    let total_room = total_room.map(|room| if options.compat { room.without_inodes() } else { room });
    let total_rates = total_rates.map(|rate| rate.map(value));
    report(sink, b"_Total", &values(total_room, total_rates, options));
}

const MEGABYTE: u64 = 1 << 20;

/// Bytes; of the original megabytes, begun ones counted whole.
#[derive(Debug, Clone, Copy, Default)]
struct Room {
    free: u64,
    used: u64,
    inodes: u64,
    inodes_free: u64,
}

impl Room {
    fn of(space: &Space, options: Options) -> Room {
        let amount = |blocks: u64| blocks.saturating_mul(space.block_bytes).div_ceil(unit(options));
        Room {
            free: amount(space.available),
            used: amount(space.blocks.saturating_sub(space.free)),
            inodes: space.inodes,
            inodes_free: space.inodes_free,
        }
    }

    fn plus(self, other: Room) -> Room {
        Room {
            free: self.free.saturating_add(other.free),
            used: self.used.saturating_add(other.used),
            inodes: self.inodes.saturating_add(other.inodes),
            inodes_free: self.inodes_free.saturating_add(other.inodes_free),
        }
    }

    /// The original's total has none.
    fn without_inodes(self) -> Room {
        Room { inodes: 0, inodes_free: 0, ..self }
    }
}

/// Bytes in which room is counted.
fn unit(options: Options) -> u64 {
    if options.compat { MEGABYTE } else { 1 }
}

fn values(room: Option<Room>, rates: [Option<f64>; 6], options: Options) -> [Option<f64>; 11] {
    let mut values = [None; 11];
    if let Some(Room { free, used, inodes, inodes_free }) = room {
        let megabytes = free.div_ceil(MEGABYTE / unit(options));
        let [free_pct, used_pct] = shares(free, used, options);
        let [inodes_free_pct, inodes_used_pct] = shares(inodes_free, inodes.saturating_sub(inodes_free), options);
        values[..5]
            .copy_from_slice(&[megabytes as f64, free_pct, used_pct, inodes_free_pct, inodes_used_pct].map(Some));
    }
    values[5..].copy_from_slice(&rates);
    values
}

/// Both in percent of their sum. What has no bound is all free.
fn shares(free: u64, used: u64, options: Options) -> [f64; 2] {
    match free.saturating_add(used) {
        0 => [100.0, 0.0],
        all => [free, used].map(|part| percent(part, all, options)),
    }
}

/// In the order of the wire. The original cuts each by itself: no reads and no writes may be one transfer.
fn rates(done: &Counts, elapsed_ms: u64, options: Options) -> [Option<f64>; 6] {
    let bytes = |sectors: u64| sectors.saturating_mul(512);
    let counts = [
        bytes(done.sectors_read.saturating_add(done.sectors_written)),
        bytes(done.sectors_read),
        bytes(done.sectors_written),
        done.reads.saturating_add(done.writes),
        done.reads,
        done.writes,
    ];
    counts.map(|count| rate(count, elapsed_ms, options))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{COMPAT, Found, PLAIN};

    const ROOT: [u64; 6] = [4096, 5_127_603, 3_018_461, 2_752_221, 1_310_720, 1_196_032];
    const BOOT: [u64; 6] = [1024, 487_634, 312_005, 282_213, 124_928, 124_610];
    const EFI: [u64; 6] = [4096, 130_812, 129_300, 129_300, 0, 0];

    fn volume(
        point: &'static str,
        [block_bytes, blocks, free, available, inodes, inodes_free]: [u64; 6],
    ) -> Volume<'static> {
        let space = Space { block_bytes, blocks, free, available, inodes, inodes_free };
        Volume { point: point.as_bytes(), first: 0, space: Some(space), done: None }
    }

    /// Each a file system of its own.
    fn found(volumes: &[Volume<'_>], options: Options) -> Found {
        let own = volumes.iter().enumerate().map(|(index, volume)| Volume { first: index, ..*volume });
        found_of(own, options)
    }

    fn found_of<'a>(volumes: impl Iterator<Item = Volume<'a>>, options: Options) -> Found {
        let mut found = Found::default();
        sample(volumes, 60_000, options, &mut found);
        found
    }

    #[track_caller]
    fn check(found: &Found, name: &str, expected: [f64; 5]) {
        let values: Vec<f64> = found.values(name)[..5].iter().map(|value| value.expect("known")).collect();
        assert_eq!(values, expected, "{name}");
    }

    #[test]
    fn compat_counts_in_whole_megabytes_rounded_up() {
        let volumes = [volume("/", ROOT), volume("/boot", BOOT), volume("/boot/efi", EFI)];
        let found = found(&volumes, COMPAT);
        check(&found, "/", [10751.0, 57.0, 43.0, 91.0, 9.0]);
        check(&found, "/boot", [276.0, 62.0, 38.0, 100.0, 0.0]);
        check(&found, "/boot/efi", [506.0, 99.0, 1.0, 100.0, 0.0]);
        check(&found, "_Total", [11533.0, 58.0, 42.0, 100.0, 0.0]);
        let small = super::tests::found(&[volume("/s", [4096, 100, 50, 50, 200, 199])], COMPAT);
        check(&small, "/s", [1.0, 50.0, 50.0, 100.0, 1.0]);
        // Free 85293 and used 13097, free 70 and used 166, as the original's own tests have them.
        let recorded =
            [volume("/", [1 << 20, 98_390, 85_293, 85_293, 0, 0]), volume("/boot", [1 << 20, 236, 70, 70, 0, 0])];
        let found = super::tests::found(&recorded, COMPAT);
        check(&found, "/", [85293.0, 87.0, 13.0, 100.0, 0.0]);
        check(&found, "/boot", [70.0, 30.0, 70.0, 100.0, 0.0]);
        check(&found, "_Total", [85363.0, 87.0, 13.0, 100.0, 0.0]);
    }

    #[test]
    fn percentages_are_exact_and_the_total_has_inodes() {
        let found = found(&[volume("/", ROOT), volume("/boot", BOOT), volume("/boot/efi", EFI)], PLAIN);
        let [free, used] = [2_752_221.0, 5_127_603.0 - 3_018_461.0];
        let percent = |part: f64, all: f64| part / all * 100.0;
        let (inodes, inodes_used) = (1_310_720.0, 1_310_720.0 - 1_196_032.0);
        let pcts = [
            percent(free, free + used),
            percent(used, free + used),
            percent(inodes - inodes_used, inodes),
            percent(inodes_used, inodes),
        ];
        check(&found, "/", [[10751.0].as_slice(), &pcts].concat().try_into().unwrap());
        let bytes = (2_752_221.0 + 129_300.0) * 4096.0 + 282_213.0 * 1024.0;
        let used_bytes = (2_109_142.0 + 1512.0) * 4096.0 + 175_629.0 * 1024.0;
        let (inodes, inodes_free) = (1_310_720.0 + 124_928.0, 1_196_032.0 + 124_610.0);
        let pcts = [
            percent(bytes, bytes + used_bytes),
            percent(used_bytes, bytes + used_bytes),
            percent(inodes_free, inodes),
            percent(inodes - inodes_free, inodes),
        ];
        check(&found, "_Total", [[11532.0].as_slice(), &pcts].concat().try_into().unwrap());
    }

    #[test]
    fn a_file_system_that_does_not_say_has_no_space_and_no_part_in_the_total() {
        let silent = Volume { space: None, ..volume("/x", EFI) };
        let both = found(&[silent, volume("/", ROOT)], PLAIN);
        assert_eq!(both.names(), ["/", "_Total"]);
        assert_eq!(both.values("/"), both.values("_Total"));
        assert_eq!(found(&[silent], PLAIN).names(), [""; 0]);
    }

    #[test]
    fn a_second_mount_of_a_device_is_no_second_part_of_the_total() {
        let done = Some(Counts { reads: 60, ..Counts::default() });
        let first = Volume { done, ..volume("/", ROOT) };
        let again = Volume { point: b"/again", ..first };
        let found = found_of([first, again].into_iter(), PLAIN);
        assert_eq!(found.values("/again"), found.values("/"));
        assert_eq!(found.values("_Total"), found.values("/"));
    }

    /// As behind a mount that hangs, or in a directory that we may not look into.
    #[test]
    fn a_silent_first_mount_does_not_hide_its_device_from_the_total() {
        let done = Some(Counts { reads: 60, ..Counts::default() });
        let root = Volume { done, ..volume("/", ROOT) };
        let silent = Volume { first: 1, point: b"/silent", space: None, done };
        let boot = Volume { first: 1, done, ..volume("/boot", BOOT) };
        let again = Volume { point: b"/again", ..boot };
        let alone = found(&[root, Volume { done, ..boot }], PLAIN);
        let found = found_of([root, silent, boot, silent, again].into_iter(), PLAIN);
        assert_eq!(found.names(), ["/", "/silent", "/boot", "/silent", "/again", "_Total"]);
        assert_eq!(found.values("_Total"), alone.values("_Total"));
    }

    /// Reads, sectors read, writes, sectors written after each minute.
    const COUNTS: [[u64; 4]; 7] = [
        [100_000, 8_000_000, 200_000, 16_000_000],
        [100_030, 8_000_240, 200_059, 16_001_000],
        [100_090, 8_000_720, 200_118, 16_002_000],
        [100_150, 8_001_200, 200_177, 16_003_000],
        [100_900, 8_007_200, 200_236, 16_004_000],
        [101_800, 8_014_400, 200_295, 16_005_000],
        [101_800, 8_014_400, 200_354, 16_006_000],
    ];

    fn done(from: usize, to: usize) -> Counts {
        let count = |column: usize| COUNTS[to][column] - COUNTS[from][column];
        Counts {
            reads: count(0),
            sectors_read: count(1),
            writes: count(2),
            sectors_written: count(3),
            ..Counts::default()
        }
    }

    /// Reads, writes, transfers, read bytes, written bytes, bytes, each a second. The original's window holds six samples.
    #[track_caller]
    fn check_rates(from: usize, to: usize, expected: [f64; 6]) {
        let rates = rates(&done(from, to), (to - from) as u64 * 60_000, COMPAT);
        assert_eq!([4, 5, 3, 1, 2, 0].map(|index| rates[index].expect("known")), expected, "{from} to {to}");
    }

    #[test]
    fn compat_cuts_each_rate_by_itself() {
        check_rates(0, 1, [0.0, 0.0, 1.0, 2048.0, 8533.0, 10581.0]);
        check_rates(0, 2, [0.0, 0.0, 1.0, 3072.0, 8533.0, 11605.0]);
        check_rates(0, 3, [0.0, 0.0, 1.0, 3413.0, 8533.0, 11946.0]);
        check_rates(0, 4, [3.0, 0.0, 4.0, 15360.0, 8533.0, 23893.0]);
        check_rates(0, 5, [6.0, 0.0, 6.0, 24576.0, 8533.0, 33109.0]);
        check_rates(1, 6, [5.0, 0.0, 6.0, 24166.0, 8533.0, 32699.0]);
    }

    #[test]
    fn a_total_is_as_whole_as_its_largest_part() {
        let done = |sectors_read| Some(Counts { sectors_read, ..Counts::default() });
        let large = Volume { done: done(1 << 20), ..volume("/large", EFI) };
        let small = Volume { done: done(1), ..volume("/small", EFI) };
        let found = found(&[large, small], PLAIN);
        let bytes = ["/large", "/small", "_Total"].map(|name| found.values(name)[6].expect("known"));
        assert_eq!(bytes, [8_947_849.0, 512.0 / 60.0, 8_947_858.0]);
    }

    #[test]
    fn rates_below_one_a_second_are_told() {
        let exact = [1240.0 * 512.0, 240.0 * 512.0, 1000.0 * 512.0, 89.0, 30.0, 59.0].map(|count| Some(count / 60.0));
        assert_eq!(rates(&done(0, 1), 60_000, PLAIN), exact);
    }
}

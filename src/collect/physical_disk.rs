//! Physical Disk: what the disks below the mounted file systems do.

use super::arithmetic::{rate, value};
use super::diskstats::Counts;
use super::text::Name;
use super::{Options, Sink, report};

/// Each disk with what it did in the window, then `_Total`, whose times are means over all transfers.
pub fn sample(disks: impl Iterator<Item = (Name, Counts)>, elapsed_ms: u64, options: Options, sink: &mut dyn Sink) {
    let mut total: Option<(Counts, f64)> = None;
    for (name, done) in disks {
        let Some(bytes) = bytes_per_second(&done, elapsed_ms, options) else { return };
        report(sink, name.as_bytes(), &values(&done, bytes));
        let (all, all_bytes) = total.unwrap_or_default();
        total = Some((all.plus(&done), all_bytes + bytes));
    }
    if let Some((done, bytes)) = total {
        report(sink, b"_Total", &values(&done, value(bytes)));
    }
}

fn bytes_per_second(done: &Counts, elapsed_ms: u64, options: Options) -> Option<f64> {
    rate(done.sectors_read.saturating_add(done.sectors_written).saturating_mul(512), elapsed_ms, options)
}

fn values(done: &Counts, bytes_per_second: f64) -> [Option<f64>; 4] {
    let all_ms = done.read_ms.saturating_add(done.write_ms);
    let all = done.reads.saturating_add(done.writes);
    [bytes_per_second, mean_s(done.read_ms, done.reads), mean_s(done.write_ms, done.writes), mean_s(all_ms, all)]
        .map(Some)
}

/// Seconds that one of `count` took; 0 of none.
fn mean_s(all_ms: u64, count: u64) -> f64 {
    if count == 0 { 0.0 } else { value(all_ms as f64 / count as f64 / 1000.0) }
}

/// The disk that a block device is a partition of, by its name: digits behind a letter, or `p` and digits behind a digit, if
/// there `is` a disk of such a name. Anything else is a disk itself.
pub fn disk_of(device: &[u8], is: impl Fn(&[u8]) -> bool) -> &[u8] {
    let digits = device.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let stem = &device[..device.len() - digits];
    let disk = match stem {
        [disk @ .., b'p'] if disk.last().is_some_and(u8::is_ascii_digit) => disk,
        _ => stem,
    };
    if digits > 0 && is(disk) { disk } else { device }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{COMPAT, Found, PLAIN};
    use alloc::format;
    use alloc::string::String;

    /// As the wire has them: six significant digits.
    #[track_caller]
    fn check(found: &Found, name: &str, expected: [f64; 3]) {
        let digits = |value: f64| format!("{value:.5e}");
        let values = found.values(name);
        let times = [1, 2, 3].map(|index| digits(values[index].expect("known")));
        assert_eq!(times, expected.map(digits), "{name}");
    }

    #[test]
    fn times_are_means_over_transfers() {
        let rows: [(&[u8], [u64; 4], [f64; 3]); 5] = [
            (b"a", [1800, 295, 22_222, 590], [0.0123456, 0.002, 0.0108888]),
            (b"b", [350, 0, 4321, 0], [0.0123457, 0.0, 0.0123457]),
            (b"c", [100_000, 3, 1234, 1], [1.234e-05, 0.000333333, 1.23496e-05]),
            (b"d", [1000, 1000, 2_500_000, 10], [2.5, 1e-05, 1.25001]),
            (b"e", [0, 0, 0, 0], [0.0, 0.0, 0.0]),
        ];
        for (name, [reads, writes, read_ms, write_ms], expected) in rows {
            let done = Counts { reads, writes, read_ms, write_ms, ..Counts::default() };
            let mut found = Found::default();
            sample([(Name::new(name), done)].into_iter(), 10_000, COMPAT, &mut found);
            check(&found, core::str::from_utf8(name).unwrap(), expected);
            check(&found, "_Total", expected);
        }
    }

    #[test]
    fn the_total_is_a_mean_over_all_transfers_and_the_sum_of_bytes() {
        let a =
            Counts { reads: 1800, writes: 295, read_ms: 22_222, write_ms: 590, sectors_read: 1, sectors_written: 2 };
        let b = Counts { reads: 350, read_ms: 4321, sectors_read: 4, ..Counts::default() };
        for (options, expected) in [(COMPAT, [153.0, 204.0, 357.0]), (PLAIN, [153.6, 204.8, 358.4])] {
            let mut found = Found::default();
            sample([(Name::new(b"a"), a), (Name::new(b"b"), b)].into_iter(), 10_000, options, &mut found);
            assert_eq!(found.names(), ["a", "b", "_Total"]);
            check(&found, "_Total", [0.0123456, 0.002, 0.0110973]);
            assert_eq!(["a", "b", "_Total"].map(|name| found.values(name)[0].unwrap()), expected);
        }
    }

    #[test]
    fn a_total_is_as_whole_as_its_largest_part() {
        let done = |sectors_read| Counts { sectors_read, ..Counts::default() };
        let mut found = Found::default();
        let disks = [(Name::new(b"a"), done(1 << 20)), (Name::new(b"b"), done(1))];
        sample(disks.into_iter(), 60_000, PLAIN, &mut found);
        let bytes = ["a", "b", "_Total"].map(|name| found.values(name)[0].expect("known"));
        assert_eq!(bytes, [8_947_849.0, 512.0 / 60.0, 8_947_858.0]);
    }

    #[track_caller]
    fn check_disk(device: &str, disks: &str, expected: &str) {
        let disk = disk_of(device.as_bytes(), |name| disks.split(' ').any(|disk| disk.as_bytes() == name));
        assert_eq!(String::from_utf8_lossy(disk), expected);
    }

    #[test]
    fn partitions_belong_to_their_disk_and_disks_to_themselves() {
        check_disk("sda1", "sda sda1", "sda");
        check_disk("sda", "sda", "sda");
        check_disk("sdp12", "sdp sdp12", "sdp");
        check_disk("vdb2", "vda vdb vdb2", "vdb");
        check_disk("xvda1", "xvda1", "xvda1");
        check_disk("nvme0n1p1", "nvme0n1 nvme0n1p1", "nvme0n1");
        check_disk("nvme0n1", "nvme0n1 nvme0n1p1", "nvme0n1");
        check_disk("mmcblk0p2", "mmcblk0 mmcblk0p2", "mmcblk0");
        check_disk("mmcblk0", "mmcblk0", "mmcblk0");
        check_disk("md127", "sda md127", "md127");
        check_disk("md127p1", "md127 md127p1", "md127");
        check_disk("cciss/c0d0p2", "cciss/c0d0 cciss/c0d0p2", "cciss/c0d0");
        check_disk("dm-3", "dm-3", "dm-3");
        check_disk("7", "7", "7");
        check_disk("", "", "");
    }
}

//! Memory: `/proc/meminfo` and `/proc/vmstat`.

use super::arithmetic::{advance, percent, rate, value};
use super::text::{self, fields, number};
use super::{Options, Sink, report};

/// What `/proc/meminfo` says, in kB. Source: proc_meminfo(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Meminfo {
    total_kb: u64,
    /// What programs can have without swapping.
    pub available_kb: u64,
    /// Size of the swap space.
    pub swap_total_kb: u64,
    /// What is free of it.
    pub swap_free_kb: u64,
}

impl Meminfo {
    /// `None` without a total. Kernels before 3.14 do not say what is available: free memory, buffers and page cache, though
    /// shared memory, which is not available, is part of the cache.
    pub fn parse(meminfo: &[u8]) -> Option<Meminfo> {
        let kb = |key: &[u8]| number(fields(text::value(meminfo, key)?).next()?);
        let cached = || {
            [&b"MemFree:"[..], b"Buffers:", b"Cached:"].iter().filter_map(|key| kb(key)).fold(0, u64::saturating_add)
        };
        Some(Meminfo {
            total_kb: kb(b"MemTotal:")?,
            available_kb: kb(b"MemAvailable:").filter(|&kb| kb > 0).unwrap_or_else(cached),
            swap_total_kb: kb(b"SwapTotal:").unwrap_or(0),
            swap_free_kb: kb(b"SwapFree:").unwrap_or(0),
        })
    }
}

/// What block devices read and wrote since boot, in KiB: the original takes that for paging. Source: `pgpgin` and `pgpgout` of
/// `/proc/vmstat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paging {
    read_kb: u64,
    written_kb: u64,
}

impl Paging {
    /// `None` if either is missing.
    pub fn parse(vmstat: &[u8]) -> Option<Paging> {
        let kb = |key| number(text::value(vmstat, key)?);
        Some(Paging { read_kb: kb(b"pgpgin ")?, written_kb: kb(b"pgpgout ")? })
    }
}

/// The one instance. `paging`: two readings and the time between them.
pub fn sample(memory: &Meminfo, paging: Option<(Paging, Paging, u64)>, options: Options, sink: &mut dyn Sink) {
    let [free, free_pct, used, used_pct] = parts(memory.available_kb, memory.total_kb, options).map(Some);
    let [swap, swap_pct, swap_used, swap_used_pct] =
        parts(memory.swap_free_kb, memory.swap_total_kb, options).map(Some);
    let (read, written) = paging.and_then(|paging| rates(paging, options)).unzip();
    let pages = read.zip(written).map(|(read, written)| value(read + written));
    let values = [free, free_pct, used, used_pct, pages, read, written, swap, swap_pct, swap_used, swap_used_pct];
    report(sink, b"Memory", &values);
}

fn rates((before, now, elapsed_ms): (Paging, Paging, u64), options: Options) -> Option<(f64, f64)> {
    let read = advance(before.read_kb, now.read_kb)?;
    let written = advance(before.written_kb, now.written_kb)?;
    Some((rate(read, elapsed_ms, options)?, rate(written, elapsed_ms, options)?))
}

/// What is free of a total, and what is not: each in whole MiB, then in percent. The original takes its percentages of those MiB.
fn parts(free_kb: u64, total_kb: u64, options: Options) -> [f64; 4] {
    let used_kb = total_kb.saturating_sub(free_kb);
    let mb = |kb: u64| kb / 1024;
    let pct = |kb: u64| match options.compat {
        true => percent(mb(kb), mb(total_kb), options),
        false => percent(kb, total_kb, options),
    };
    [mb(free_kb) as f64, pct(free_kb), mb(used_kb) as f64, pct(used_kb)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{COMPAT, Found, PLAIN};

    const MEMINFO_A: &str = "MemTotal:        8167848 kB\nMemFree:          513244 kB\nMemAvailable:    6021312 kB\n\
        Buffers:          204800 kB\nCached:          5120000 kB\nSwapCached:            7 kB\n\
        SwapTotal:       2097148 kB\nSwapFree:        1998844 kB\n";

    #[track_caller]
    fn check(options: Options, meminfo: &str, expected: [f64; 8]) {
        let mut found = Found::default();
        sample(&Meminfo::parse(meminfo.as_bytes()).expect("a total"), None, options, &mut found);
        let values = found.values("Memory");
        let in_order = [0, 1, 2, 3, 7, 8, 9, 10].map(|index| values[index].expect("known"));
        assert_eq!(in_order, expected, "{meminfo}");
        assert_eq!(values[4..7], [None; 3], "nothing to compare with yet");
    }

    #[test]
    fn compat_takes_percentages_of_whole_megabytes() {
        check(COMPAT, MEMINFO_A, [5880.0, 74.0, 2096.0, 26.0, 1951.0, 95.0, 96.0, 5.0]);
        let before_3_14 = MEMINFO_A.replace("MemAvailable:    6021312 kB\n", "");
        check(COMPAT, &before_3_14, [5701.0, 71.0, 2275.0, 29.0, 1951.0, 95.0, 96.0, 5.0]);
        let no_swap = "MemTotal: 1012108 kB\nMemAvailable: 523456 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n";
        check(COMPAT, no_swap, [511.0, 52.0, 477.0, 48.0, 0.0, 0.0, 0.0, 0.0]);
        let mostly_free = "MemTotal: 3522864 kB\nMemFree: 175844 kB\nMemAvailable: 2813432 kB\n\
            SwapTotal: 6655996 kB\nSwapFree: 6638924 kB\n";
        check(COMPAT, mostly_free, [2747.0, 80.0, 692.0, 20.0, 6483.0, 100.0, 16.0, 0.0]);
        let recorded = "MemTotal: 1201152 kB\nMemAvailable: 275456 kB\nSwapTotal: 2092032 kB\nSwapFree: 2034688 kB\n";
        check(COMPAT, recorded, [269.0, 23.0, 904.0, 77.0, 1987.0, 97.0, 56.0, 3.0]);
        let few_lines = "MemTotal: 524288 kB\nMemFree: 131072 kB\nSwapTotal: 262144 kB\nSwapFree: 65536 kB\n";
        check(COMPAT, few_lines, [128.0, 25.0, 384.0, 75.0, 64.0, 25.0, 192.0, 75.0]);
        let cached = "MemTotal: 524288 kB\nMemFree: 26624 kB\nBuffers: 219136 kB\nCached: 193536 kB\n";
        check(COMPAT, cached, [429.0, 84.0, 83.0, 16.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn percentages_are_exact() {
        let percent = |part: f64, all: f64| part / all * 100.0;
        let memory = [5880.0, percent(6021312.0, 8167848.0), 2096.0, percent(2146536.0, 8167848.0)];
        let swap = [1951.0, percent(1998844.0, 2097148.0), 96.0, percent(98304.0, 2097148.0)];
        check(PLAIN, MEMINFO_A, [memory, swap].concat().try_into().unwrap());
    }

    #[test]
    fn more_free_than_there_is_leaves_nothing_used() {
        check(PLAIN, "MemTotal: 2048 kB\nMemFree: 4096 kB\n", [4.0, 100.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(Meminfo::parse(b"MemFree: 5 kB\n"), None);
        assert_eq!(Meminfo::parse(b"MemTotal: many kB\n"), None);
    }

    const READ_KB: [u64; 6] = [1_000_000, 1_006_000, 1_013_199, 1_013_199, 1_100_000, 1_106_059];
    const WRITTEN_KB: [u64; 6] = [2_000_000, 2_000_059, 2_000_118, 2_000_177, 2_000_236, 2_000_295];

    /// The original looks at its newest sample and its oldest, a minute apart each.
    #[test]
    fn compat_gives_whole_kib_of_block_io_a_second() {
        for (index, expected) in [(1, 100.0), (2, 109.0), (3, 73.0), (4, 416.0), (5, 353.0)] {
            let at = |index: usize| Paging { read_kb: READ_KB[index], written_kb: WRITTEN_KB[index] };
            let window = (at(0), at(index), index as u64 * 60_000);
            let mut found = Found::default();
            sample(&Meminfo::default(), Some(window), COMPAT, &mut found);
            assert_eq!(found.values("Memory")[4..7], [Some(expected), Some(expected), Some(0.0)], "sample {index}");
        }
    }

    #[test]
    fn block_io_is_exact_and_unknown_when_it_ran_backwards() {
        let paging = |text: &str| Paging::parse(text.as_bytes()).expect("both");
        let before = paging("nr_free_pages 1\npgpgin 1000\npgpgout 4294967290\npgpgoutside 3\n");
        let now = paging("pgpgin 1030\npgpgout 9\n");
        assert_eq!(rates((before, now, 60_000), PLAIN), Some((0.5, 0.25)));
        assert_eq!(rates((now, before, 60_000), PLAIN), None);
        assert_eq!(Paging::parse(b"pgpgin 7\n"), None);
    }
}

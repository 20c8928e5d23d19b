//! Process: `/proc/PID/stat` and `/proc/PID/statm`.

use super::arithmetic::{rate, value};
use super::text::{fields, number, numbers};
use super::{Options, Sink, report};

/// Ticks per second in what the kernel tells programs, on all architectures that this program is built for. Source: the
/// kernel's `USER_HZ`.
const TICKS_PER_SECOND: u64 = 100;

/// What tells a process from one that had its number before, and the time that it used, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// Its number.
    pub pid: u32,
    start: u64,
    user: u64,
    system: u64,
}

impl Spent {
    /// Its numbers, for [`Spent::from_numbers`] in a later process of ours.
    pub fn numbers(&self) -> [u64; 4] {
        [u64::from(self.pid), self.start, self.user, self.system]
    }

    /// The other way; `None` for what has no such process number.
    pub fn from_numbers([pid, start, user, system]: [u64; 4]) -> Option<Spent> {
        Some(Spent { pid: u32::try_from(pid).ok()?, start, user, system })
    }
}

/// A process as its two files show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process<'a> {
    /// Its command's name, at most 15 bytes, any but NUL.
    pub name: &'a [u8],
    is_zombie: bool,
    /// For the next sample.
    pub spent: Spent,
    resident_pages: u64,
    shared_pages: u64,
}

impl<'a> Process<'a> {
    /// `None` for what is no process with memory of its own: kernel threads, and what has just ended. The name ends at the last
    /// parenthesis: it may hold some itself. Source: proc_pid_stat(5), fields 2, 3, 14, 15, 22 and 24; proc_pid_statm(5), 3.
    pub fn parse(pid: u32, stat: &'a [u8], statm: &[u8]) -> Option<Process<'a>> {
        let open = stat.iter().position(|&byte| byte == b'(')?;
        let close = stat.iter().rposition(|&byte| byte == b')').filter(|&close| close > open)?;
        let mut behind = fields(&stat[close + 1..]);
        let is_zombie = behind.next()? == b"Z";
        let mut field_at = |count| number(behind.nth(count)?);
        let (user, system) = (field_at(14 - 4)?, field_at(0)?);
        let (start, resident_pages) = (field_at(22 - 16)?, field_at(24 - 23)?);
        let memory: [u64; 3] = numbers(statm)?;
        let spent = Spent { pid, start, user, system };
        let process =
            Process { name: &stat[open + 1..close], is_zombie, spent, resident_pages, shared_pages: memory[2] };
        (memory != [0; 3]).then_some(process)
    }
}

/// One process. `previous`: what it, or one with its number, had spent `elapsed_ms` ago.
pub fn sample(
    process: &Process<'_>,
    previous: Option<(&Spent, u64)>,
    page_bytes: u64,
    options: Options,
    sink: &mut dyn Sink,
) {
    let spent = &process.spent;
    let previous = previous.filter(|(before, _)| (before.pid, before.start) == (spent.pid, spent.start));
    let pct = |field: fn(&Spent) -> u64| {
        let (before, elapsed_ms) = previous?;
        percent(field(spent).saturating_sub(field(before)), elapsed_ms, options)
    };
    let kb = |pages: u64| Some(value(pages as f64 * (page_bytes as f64 / 1024.0)));
    let values =
        [kb(process.shared_pages), pct(|spent| spent.user), pct(|spent| spent.system), kb(process.resident_pages)];
    if process.is_zombie {
        report(sink, &[b"[", process.name, b"] <defunct>"].concat(), &values);
    } else {
        report(sink, process.name, &values);
    }
}

/// Percent of one processor, above 100 with threads on several. The original's are whole, cut.
fn percent(ticks: u64, elapsed_ms: u64, options: Options) -> Option<f64> {
    rate(ticks.saturating_mul(100 / TICKS_PER_SECOND), elapsed_ms, options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{COMPAT, Found, PLAIN};
    use alloc::format;
    use alloc::string::String;

    fn stat(name: &str, state: char, user: u64, system: u64, start: u64) -> String {
        format!(
            "1234 ({name}) {state} 1 1234 1234 0 -1 4194560 9 0 0 0 {user} {system} 7 8 20 0 1 0 {start} 55000000 25000 \
             18446744073709551615 1 1 0 0 0 0 0 4096 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
        )
    }

    fn spent(user: u64, system: u64, start: u64) -> Spent {
        Spent { pid: 1234, start, user, system }
    }

    #[track_caller]
    fn check_name(stat: &str, expected: &str) {
        let mut found = Found::default();
        let process = Process::parse(1234, stat.as_bytes(), b"13000 25000 3200 5 0 90 0\n").expect("a process");
        sample(&process, None, 4096, PLAIN, &mut found);
        assert_eq!(found.names(), [expected]);
        assert_eq!(found.values(expected), [Some(12800.0), None, None, Some(100_000.0)]);
    }

    #[test]
    fn a_name_may_hold_parentheses_and_a_zombie_is_called_one() {
        check_name(&stat("my (odd) app", 'S', 1, 1, 5), "my (odd) app");
        check_name(&stat("my (odd) app", 'Z', 1, 1, 5), "[my (odd) app] <defunct>");
        check_name(&stat(") S 1 (", 'S', 1, 1, 5), ") S 1 (");
    }

    #[test]
    fn what_has_no_memory_of_its_own_is_left_out() {
        let parse = |stat: &str, statm: &str| Process::parse(1234, stat.as_bytes(), statm.as_bytes()).is_some();
        assert!(parse(&stat("a", 'S', 1, 1, 5), "1 1 0 0 0 0 0"));
        assert!(!parse(&stat("a", 'S', 1, 1, 5), "0 0 0 0 0 0 0"));
        assert!(!parse(&stat("a", 'S', 1, 1, 5), ""));
        assert!(!parse("1234 (a) S 1 2 3", "1 1 0"));
        assert!(!parse("1234 )a( S 1 2 3", "1 1 0"));
        assert!(!parse("", "1 1 0"));
    }

    /// Percentages of user time, compat and not.
    #[track_caller]
    fn check_pct(ticks: u64, elapsed_ms: u64, compat: f64, plain: f64) {
        let stat = stat("a", 'S', 700 + ticks, 10, 5);
        let process = Process::parse(1234, stat.as_bytes(), b"1 1 1").expect("a process");
        for (options, expected) in [(COMPAT, compat), (PLAIN, plain)] {
            let mut found = Found::default();
            sample(&process, Some((&spent(700, 9, 5), elapsed_ms)), 4096, options, &mut found);
            assert_eq!(found.values("a")[1], Some(expected), "{ticks} in {elapsed_ms}, {options:?}");
        }
    }

    #[test]
    fn time_is_in_percent_of_one_processor_and_may_be_of_several() {
        check_pct(4500, 300_000, 15.0, 15.0);
        check_pct(105_000, 300_000, 350.0, 350.0);
        check_pct(76_800, 300_000, 256.0, 256.0);
        check_pct(299, 300_000, 0.0, 299.0 / 300.0);
        check_pct(300, 300_000, 1.0, 1.0);
        check_pct(599, 60_010, 9.0, 599_000.0 / 60_010.0);
        check_pct(6000, 60_010, 99.0, 6_000_000.0 / 60_010.0);
    }

    #[test]
    fn a_number_that_another_process_has_now_starts_anew() {
        let stat = stat("a", 'S', 700, 10, 6);
        let process = Process::parse(1234, stat.as_bytes(), b"1 1 1").expect("a process");
        for (before, expected) in [(spent(1, 1, 5), None), (spent(800, 1, 6), Some(0.0)), (spent(690, 1, 6), Some(1.0))]
        {
            let mut found = Found::default();
            sample(&process, Some((&before, 10_000)), 4096, PLAIN, &mut found);
            assert_eq!(found.values("a")[1], expected, "{before:?}");
        }
    }

    #[test]
    fn pages_are_as_large_as_the_kernel_says() {
        let stat = stat("a", 'S', 1, 1, 5);
        let process = Process::parse(1234, stat.as_bytes(), b"13000 25000 3200 5 0 90 0").expect("a process");
        let mut found = Found::default();
        sample(&process, None, 65_536, PLAIN, &mut found);
        assert_eq!(found.values("a"), [Some(204_800.0), None, None, Some(1_600_000.0)]);
    }
}

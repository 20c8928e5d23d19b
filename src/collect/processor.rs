//! Processor: `/proc/stat`, how the time of each processor was spent.

use super::arithmetic::percent;
use super::text::{Name, fields, lines, number, numbers};
use super::{Options, Sink, report};
use crate::limits::PROCESSORS_MAX;
use alloc::vec::Vec;
use core::fmt::Write;

/// Time since boot in ticks, by what it was spent on. Source: proc_stat(5), fields 1 to 8 of `cpu`; the time of guests is
/// part of `user` and `nice`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ticks {
    /// In programs.
    pub user: u64,
    /// In programs that stand back.
    pub nice: u64,
    /// In the kernel.
    pub system: u64,
    /// In nothing.
    pub idle: u64,
    /// In nothing, while a disk was waited for.
    pub iowait: u64,
    /// In interrupts.
    pub irq: u64,
    /// In what interrupts put off.
    pub softirq: u64,
    /// Given to other guests of the hypervisor while something was ready to run here.
    pub steal: u64,
}

/// What `/proc/stat` says about processors.
#[derive(Debug, PartialEq, Eq, Default)]
pub struct Processors {
    /// Those that are online, by their number.
    pub each: Vec<(u64, Ticks)>,
    /// All together, with those that went offline.
    pub all: Option<Ticks>,
}

impl Processors {
    /// Takes the place of an earlier reading, in its memory.
    pub fn parse(&mut self, stat: &[u8]) {
        self.each.clear();
        self.all = None;
        for line in lines(stat).map_while(|line| line.strip_prefix(b"cpu")).take(1 + PROCESSORS_MAX) {
            let name_bytes = line.iter().position(|&byte| byte == b' ').unwrap_or(line.len());
            let (name, times) = line.split_at(name_bytes);
            match (number(name), ticks(times)) {
                (Some(id), Some(ticks)) => self.each.push((id, ticks)),
                (None, Some(ticks)) if name.is_empty() => self.all = Some(ticks),
                _ => {}
            }
        }
    }

    /// Takes the place of an earlier reading by another's.
    pub fn copy(&mut self, other: &Processors) {
        self.each.clone_from(&other.each);
        self.all = other.all;
    }

    fn find(&self, id: u64) -> Option<&Ticks> {
        self.each.binary_search_by_key(&id, |(id, _)| *id).ok().map(|index| &self.each[index].1)
    }
}

/// `None` with fewer than four numbers. The next three come together or not at all (2.6.0), then steal (2.6.11).
fn ticks(times: &[u8]) -> Option<Ticks> {
    let [user, nice, system, idle] = numbers(times)?;
    let mut more = fields(times).skip(4).map(|field| number(field).unwrap_or(0));
    let mut next = || more.next();
    let [iowait, irq, softirq] = (|| Some([next()?, next()?, next()?]))().unwrap_or_default();
    Some(Ticks { user, nice, system, idle, iowait, irq, softirq, steal: next().unwrap_or(0) })
}

/// The processors that both readings have, then `_Total`.
pub fn sample(previous: &Processors, current: &Processors, options: Options, sink: &mut dyn Sink) {
    for (id, now) in &current.each {
        if let Some(before) = previous.find(*id) {
            let mut name = Name::new(b"");
            let _ = write!(name, "{id}"); // never fails
            report(sink, name.as_bytes(), &values(before, now, options));
        }
    }
    if let (Some(before), Some(now)) = (&previous.all, &current.all) {
        report(sink, b"_Total", &values(before, now, options));
    }
}

/// All in percent of the time between the readings. What ran backwards, as idle and iowait do on some kernels, took no time.
/// Nothing is known if no tick passed, save to the original, which then says 0.
///
/// A processor that the hypervisor gave to others was not free for us: steal is part of `% Processor Time`, and of the whole. The
/// original leaves it out of both.
fn values(before: &Ticks, now: &Ticks, options: Options) -> [Option<f64>; 8] {
    let spent = |field: fn(&Ticks) -> u64| field(now).saturating_sub(field(before));
    let (user, nice, system) = (spent(|t| t.user), spent(|t| t.nice), spent(|t| t.system));
    let (idle, iowait) = (spent(|t| t.idle), spent(|t| t.iowait));
    let (irq, softirq) = (spent(|t| t.irq), spent(|t| t.softirq));
    let steal = if options.compat { 0 } else { spent(|t| t.steal) };
    let sum = |parts: &[u64]| parts.iter().fold(0, |sum: u64, part| sum.saturating_add(*part));
    let busy = sum(&[user, nice, system, irq, softirq, steal]);
    let all = sum(&[busy, idle, iowait]);
    let known = all > 0 || options.compat;
    [idle, user, nice, system, irq, softirq, busy, iowait].map(|part| known.then(|| percent(part, all, options)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{COMPAT, Found, PLAIN};
    use alloc::format;
    use alloc::string::String;

    fn parse(stat: &str) -> Processors {
        let mut processors = Processors::default();
        processors.parse(stat.as_bytes());
        processors
    }

    /// `_Total` between two lines, in the order of the table that the rows come from:
    /// Processor, Idle, User, Nice, Privileged, IO Wait, Interrupt, DPC.
    #[track_caller]
    fn check(options: Options, first: &str, second: &str, expected: [f64; 8]) {
        let mut found = Found::default();
        sample(&parse(&format!("cpu  {first}\n")), &parse(&format!("cpu  {second}\n")), options, &mut found);
        let in_order = [6, 0, 1, 2, 3, 7, 4, 5].map(|index| found.values("_Total")[index].expect("known"));
        assert_eq!(in_order, expected, "{first} to {second}");
    }

    #[test]
    fn compat_gives_the_originals_whole_percentages() {
        check(
            COMPAT,
            "866380 8090 2276265 352845757 285749 74027 509292",
            "866489 8090 2276621 352847702 285754 74027 509312",
            [20.0, 80.0, 4.0, 0.0, 15.0, 0.0, 0.0, 1.0],
        );
        let [first, second] = ["600 10 300 4000 200 5 30 40 0 0", "1100 25 450 4200 220 11 54 140 0 0"];
        check(COMPAT, first, second, [76.0, 22.0, 55.0, 2.0, 16.0, 2.0, 1.0, 3.0]);
        let [first, second] = ["400 10 200 4000 100 5 10 20 0 0", "600 15 300 4400 130 9 26 60 0 0"];
        check(COMPAT, first, second, [43.0, 53.0, 26.0, 1.0, 13.0, 4.0, 1.0, 2.0]);
        let [first, second] = ["1000 20 500 8000 300 10 40 60 0 0", "1700 40 750 8600 350 20 80 200 0 0"];
        check(COMPAT, first, second, [61.0, 36.0, 42.0, 1.0, 15.0, 3.0, 1.0, 2.0]);
        check(COMPAT, "9 8 7 6 5 4 3", "9 8 7 6 5 4 3", [0.0; 8]);
        check(COMPAT, "0 0 0 0 0 0 0", "1 0 0 199 0 0 0", [1.0, 100.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        check(COMPAT, "0 0 0 0 0 0 0", "57 0 0 143 0 0 0", [28.0, 72.0, 28.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        check(COMPAT, "10 20 30 40", "20 20 40 120", [20.0, 80.0, 10.0, 0.0, 10.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn percentages_are_exact_and_count_what_the_hypervisor_took() {
        check(
            PLAIN,
            "1000 20 500 8000 300 10 40 60 0 0",
            "1700 40 750 8600 350 20 80 200 0 0",
            [1160.0, 600.0, 700.0, 20.0, 250.0, 50.0, 10.0, 40.0].map(|ticks| ticks / 1810.0 * 100.0),
        );
        check(
            PLAIN,
            "0 0 0 0",
            "57 0 0 143",
            [28.499_999_999_999_996, 71.5, 28.499_999_999_999_996, 0.0, 0.0, 0.0, 0.0, 0.0],
        );
    }

    #[test]
    fn idle_time_beyond_32_bits_is_whole() {
        check(PLAIN, "0 0 0 7259234600", "100 0 0 7259234900", [25.0, 75.0, 25.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn time_that_ran_backwards_counts_as_none() {
        check(PLAIN, "0 0 0 500 90 0 0", "100 0 0 600 80 0 0", [50.0, 50.0, 50.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn nothing_is_known_when_no_tick_passed() {
        let mut found = Found::default();
        sample(&parse("cpu 1 2 3 4"), &parse("cpu 1 2 3 4"), PLAIN, &mut found);
        assert_eq!(found.names(), [""; 0]);
    }

    /// Processor 1 goes offline, 3 comes: the original would renumber.
    #[test]
    fn processors_keep_their_numbers_when_others_come_and_go() {
        let mut found = Found::default();
        let first = "cpu 9 0 0 9\ncpu0 1 0 0 1\ncpu1 1 0 0 1\ncpu2 1 0 0 1\nintr 5\ncpu7 1 1 1 1\n";
        let second = "cpu 18 0 0 18\ncpu0 2 0 0 2\ncpu2 2 0 0 4\ncpu3 1 0 0 1\nintr 5\n";
        sample(&parse(first), &parse(second), PLAIN, &mut found);
        assert_eq!(found.names(), ["0", "2", "_Total"]);
        assert_eq!(found.values("2")[0], Some(75.0));
    }

    #[test]
    fn lines_that_are_too_short_or_no_numbers_are_left_out() {
        assert_eq!(parse("cpu 1 2 3\ncpu0 1 2 3 x\ncpux 1 2 3 4\ncpu1 1 2 3 4 5 6\n").all, None);
        let odd = parse("cpu1 1 2 3 4 5 6\n"); // iowait, irq, softirq: all or none
        assert_eq!(odd.each, [(1, Ticks { user: 1, nice: 2, system: 3, idle: 4, ..Ticks::default() })]);
    }

    #[test]
    fn there_may_be_thousands_and_no_more_than_the_bound() {
        let stat: String = (0..PROCESSORS_MAX + 9).map(|id| format!("cpu{id} {id} 0 0 1\n")).collect();
        assert_eq!(parse(&format!("cpu 1 1 1 1\n{stat}")).each.len(), PROCESSORS_MAX);
    }
}

//! Performance counters: which source is due, and from its samples to payloads.
//!
//! Samples are taken when the wall clock is at a multiple of the interval, so that those of several sources and hosts fall
//! together and sources due at once share what is read. The wait is measured by the monotonic clock: after a suspend or a
//! clock that was set there is one sample, and then the next at a multiple of the clock as it is now.

use crate::collect::host::{Host, Unreadable, Window};
use crate::collect::{Object, Options, Sink};
use crate::config::PerfSource;
use crate::limits::PERF_TOGETHER_MS;
use crate::record::perf::Writer;
use alloc::vec::Vec;
use core::fmt;
use std::path::Path;

/// What is kept of the buffer of payloads between samples.
const BUFFER_BYTES: usize = 4096;

/// The sources, and what they read.
pub struct Sampler {
    host: Host,
    sources: Vec<Source>,
    writer: Writer,
    /// What became of samples since the start.
    pub account: Account,
}

/// Samples that were due, by what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Account {
    /// Sent, or on their way.
    pub taken: u64,
    /// Nothing could be read.
    pub failed: u64,
    /// There was no instance, or none that the source wants.
    pub empty: u64,
}

struct Source {
    wanted: PerfSource,
    window: Window,
    /// `None`: it had its one sample.
    next_ms: Option<u64>,
    /// It was told already that a sample of it was empty: that of a process which seldom runs often is.
    is_told_empty: bool,
}

/// One source's sample does not become a record.
#[derive(Debug, Clone, Copy)]
pub struct Missed {
    /// Of which object.
    pub object: &'static str,
    /// Line of the source in the configuration.
    pub line: u32,
    /// Why.
    pub cause: Cause,
}

/// Why a sample does not become a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Nothing could be read.
    Unreadable(Unreadable),
    /// The host has none of these, or knows nothing of them yet.
    NoInstance,
    /// The host has some, but none that the source wants.
    NoneWanted,
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Missed { object, line, cause } = self;
        match cause {
            Cause::Unreadable(unreadable) => write!(f, "no sample of {object}: {unreadable}"),
            Cause::NoInstance => write!(f, "no sample of {object}: this host has none that is known of"),
            Cause::NoneWanted => {
                write!(
                    f,
                    "no sample of {object}: `instance_regex` of the source in line {line} is in no instance's name"
                )
            }
        }
    }
}

impl Sampler {
    /// A sampler of the host whose file systems are below `root`. Sources with an interval look at once, so that their
    /// first sample has rates; one without is due at once, and only then. `wall_ms`: milliseconds since 1970.
    pub fn new(sources: &[PerfSource], root: &Path, now_ms: u64, wall_ms: u64) -> Sampler {
        let mut sampler = Sampler {
            host: Host::new(root),
            sources: Vec::new(),
            writer: Writer::default(),
            account: Account::default(),
        };
        sampler.configure(sources, now_ms, wall_ms);
        sampler
    }

    /// Takes other sources, which begin anew. The host stays: a child of it that hangs is not joined by another.
    pub fn configure(&mut self, sources: &[PerfSource], now_ms: u64, wall_ms: u64) {
        let mut start = |wanted: &PerfSource| {
            let mut window = Window::new(wanted.object, Options { compat: wanted.compat });
            let next_ms = match wanted.interval_ms {
                None => now_ms,
                Some(interval_ms) => {
                    // What cannot be read now is told when the sample is due.
                    let _ = self.host.sample(now_ms, &mut window, &mut Unwanted);
                    next_multiple_ms(now_ms, wall_ms, interval_ms)
                }
            };
            Source { wanted: wanted.clone(), window, next_ms: Some(next_ms), is_told_empty: false }
        };
        self.sources = sources.iter().map(&mut start).collect();
    }

    /// Has the one sample that a short run takes due now, from each source whose interval has had a multiple of the wall clock since
    /// `last_wall_ms`. Rates go on from what an earlier run of this boot [saved](Sampler::save) at `began_ms`.
    pub fn once(&mut self, now_ms: u64, wall_ms: u64, last_wall_ms: Option<u64>, saved: Option<(&[u8], u64)>) {
        for source in &mut self.sources {
            let is_due = match (source.wanted.interval_ms, last_wall_ms) {
                (Some(interval_ms), Some(last_ms)) => last_ms / interval_ms != wall_ms / interval_ms,
                _ => true,
            };
            source.next_ms = is_due.then_some(now_ms);
            // A rate over the moment since the start would be worth nothing.
            source.window = Window::new(source.wanted.object, Options { compat: source.wanted.compat });
            if let Some((saved, began_ms)) = saved {
                source.window.recall(saved, began_ms);
            }
        }
    }

    /// What a later run makes rates of.
    pub fn save(&mut self) -> Vec<u8> {
        let mut saved = Vec::new();
        self.host.save(&mut saved);
        if let Some(source) = self.sources.iter().find(|source| source.wanted.object == Object::Process) {
            source.window.save(&mut saved);
        }
        saved
    }

    /// Lets go of what the host holds without need; for now and again, whether samples are taken or not.
    pub fn tidy(&mut self, now_ms: u64) {
        self.host.tidy(now_ms);
    }

    /// Gives back the memory that only a sample needs.
    pub fn give_back(&mut self) {
        self.host.give_back();
    }

    /// When the next sample is due.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.sources.iter().filter_map(|source| source.next_ms).min()
    }

    /// Takes the samples that are due, and hands out their payloads. Missed ones are not made up for. Those that become no record are
    /// told; empty ones of a source only once.
    pub fn take(&mut self, now_ms: u64, wall_ms: u64, append: &mut dyn FnMut(&[u8]), tell: &mut dyn FnMut(Missed)) {
        for source in &mut self.sources {
            if source.next_ms.is_none_or(|due_ms| now_ms + PERF_TOGETHER_MS < due_ms) {
                continue;
            }
            source.next_ms = source.wanted.interval_ms.map(|interval| next_multiple_ms(now_ms, wall_ms, interval));
            let mut chosen = Chosen::new(&source.wanted, &mut self.writer, &mut *append);
            let sampled = self.host.sample(now_ms, &mut source.window, &mut chosen);
            chosen.hand_out();
            let cause = match sampled {
                Err(unreadable) => Cause::Unreadable(unreadable),
                Ok(()) if chosen.is_any_wanted => {
                    self.account.taken += 1;
                    continue;
                }
                Ok(()) if chosen.is_any_there => Cause::NoneWanted,
                Ok(()) => Cause::NoInstance,
            };
            let missed = Missed { object: source.wanted.object.name(), line: source.wanted.line, cause };
            if matches!(cause, Cause::Unreadable(_)) {
                self.account.failed += 1;
                tell(missed);
            } else {
                self.account.empty += 1;
                if !core::mem::replace(&mut source.is_told_empty, true) {
                    tell(missed);
                }
            }
        }
        self.writer.shrink_to(BUFFER_BYTES);
    }
}

/// When the wall clock will be at a multiple of the interval again, in the loop's clock; never sooner than after half an
/// interval. A clock that ran a little slow would have two samples at one multiple otherwise.
fn next_multiple_ms(now_ms: u64, wall_ms: u64, interval_ms: u64) -> u64 {
    let half_ms = interval_ms / 2;
    let over_ms = wall_ms.saturating_add(half_ms) % interval_ms;
    now_ms + half_ms + if over_ms == 0 { 0 } else { interval_ms - over_ms }
}

/// For a look that only the window remembers.
struct Unwanted;

impl Sink for Unwanted {
    fn instance(&mut self, _: &[u8], _: &[Option<f64>]) {}
}

/// The instances and counters that a source wants, on their way into payloads.
struct Chosen<'a> {
    wanted: &'a PerfSource,
    writer: &'a mut Writer,
    append: &'a mut dyn FnMut(&[u8]),
    is_any_there: bool,
    is_any_wanted: bool,
}

impl<'a> Chosen<'a> {
    fn new(wanted: &'a PerfSource, writer: &'a mut Writer, append: &'a mut dyn FnMut(&[u8])) -> Chosen<'a> {
        let mut chosen = Chosen { wanted, writer, append, is_any_there: false, is_any_wanted: false };
        chosen.begin();
        chosen
    }

    fn begin(&mut self) {
        self.writer.begin(self.wanted.object, self.wanted.counters);
    }

    fn hand_out(&mut self) {
        if let Some(payload) = self.writer.payload() {
            (self.append)(payload);
        }
    }
}

impl Sink for Chosen<'_> {
    fn instance(&mut self, name: &[u8], values: &[Option<f64>]) {
        self.is_any_there = true;
        if !self.wanted.instances.is_found_in(name) {
            return;
        }
        self.is_any_wanted = true;
        if !self.writer.has_room() {
            self.hand_out();
            self.begin();
        }
        self.writer.add(name, values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::Tree;
    use crate::config::regex::Regex;
    use crate::limits::PERF_INSTANCES_MAX;
    use crate::record::perf;
    use alloc::format;
    use alloc::string::String;

    /// 2026-11-22T07:00:00Z
    const WALL_MS: u64 = 1_795_330_800_000;

    fn source(object: Object, expression: &str, interval_ms: Option<u64>) -> PerfSource {
        let instances = Regex::new(expression).unwrap();
        PerfSource { object, instances, counters: 1, interval_ms, compat: false, line: 1 }
    }

    fn sampler(intervals_ms: &[Option<u64>], now_ms: u64, wall_ms: u64) -> Sampler {
        let sources: Vec<_> = intervals_ms.iter().map(|&interval| source(Object::System, ".*", interval)).collect();
        Sampler::new(&sources, Path::new("/nowhere"), now_ms, wall_ms)
    }

    /// The clocks of a host: what the wall clock is ahead of the monotonic one changes when it is set, or after a suspend.
    struct Clocks {
        now_ms: u64,
        ahead_ms: u64,
    }

    impl Clocks {
        fn wall_ms(&self) -> u64 {
            self.now_ms + self.ahead_ms
        }

        /// Sleeps until the next sample is due, and `late_ms` longer; gives the wall clock then.
        fn sample(&mut self, sampler: &mut Sampler, late_ms: u64) -> u64 {
            self.now_ms = self.now_ms.max(sampler.deadline_ms().expect("a sample is due")) + late_ms;
            sampler.take(self.now_ms, self.wall_ms(), &mut |_| {}, &mut |_| {});
            self.wall_ms()
        }
    }

    #[test]
    fn samples_fall_on_multiples_of_the_interval_and_lateness_does_not_add_up() {
        let mut clocks = Clocks { now_ms: 5000, ahead_ms: WALL_MS + 12_345 };
        let mut sampler = sampler(&[Some(10_000)], clocks.now_ms, clocks.wall_ms());
        let start_ms = clocks.wall_ms();
        assert!(clocks.sample(&mut sampler, 3) - start_ms >= 5000);
        for _ in 0..100 {
            assert_eq!(clocks.sample(&mut sampler, 3) % 10_000, 3);
        }
        assert_eq!(clocks.wall_ms() - start_ms, 1_012_658);
    }

    #[test]
    fn sources_of_several_intervals_are_due_together_where_multiples_fall_together() {
        let mut clocks = Clocks { now_ms: 0, ahead_ms: WALL_MS + 1 };
        let mut sampler = sampler(&[Some(10_000), Some(30_000), Some(60_000)], 0, clocks.wall_ms());
        let mut wakes = 0;
        while clocks.sample(&mut sampler, 0) < WALL_MS + 600_000 {
            wakes += 1;
        }
        assert_eq!(wakes, 59);
        assert!(sampler.sources.iter().all(|source| source.next_ms > Some(clocks.now_ms + 5000)));
    }

    #[test]
    fn after_a_suspend_or_a_jump_of_the_clock_samples_are_never_bunched() {
        for jump_ms in [-86_400_000, -60_000, -5_001, -100, -1, 1, 100, 4_999, 9_999, 3_600_000, 86_400_000_i64] {
            let mut clocks = Clocks { now_ms: 1000, ahead_ms: WALL_MS };
            let mut sampler = sampler(&[Some(10_000)], clocks.now_ms, clocks.wall_ms());
            clocks.sample(&mut sampler, 0);
            clocks.now_ms += 4000;
            clocks.ahead_ms = clocks.ahead_ms.checked_add_signed(jump_ms).unwrap();
            let mut last_ms = clocks.now_ms - 4000;
            for round in 0..5 {
                clocks.sample(&mut sampler, 0);
                let apart_ms = clocks.now_ms - last_ms;
                assert!((5000..=15_000).contains(&apart_ms), "{apart_ms} ms apart after a jump of {jump_ms}");
                assert!(
                    round < 2 || (apart_ms == 10_000 && clocks.wall_ms().is_multiple_of(10_000)),
                    "{jump_ms}: {apart_ms}"
                );
                last_ms = clocks.now_ms;
            }
        }
    }

    #[test]
    fn a_loop_that_was_held_up_takes_one_sample_for_all_it_missed() {
        let mut clocks = Clocks { now_ms: 0, ahead_ms: WALL_MS };
        let mut sampler = sampler(&[Some(1000)], 0, WALL_MS);
        clocks.sample(&mut sampler, 60_400);
        assert_eq!(sampler.deadline_ms(), Some(62_000));
    }

    #[test]
    fn a_short_run_samples_what_had_a_multiple_since_the_last_one() {
        let due = |last_wall_ms, wall_ms| {
            let mut sampler = sampler(&[Some(10_000), Some(60_000), Some(300_000), None], 5, wall_ms);
            sampler.once(5, wall_ms, last_wall_ms, None);
            sampler.sources.iter().map(|source| source.next_ms == Some(5)).collect::<Vec<_>>()
        };
        assert_eq!(due(None, WALL_MS), [true; 4]);
        assert_eq!(due(Some(WALL_MS + 700), WALL_MS + 60_300), [true, true, false, true]);
        assert_eq!(due(Some(WALL_MS + 240_900), WALL_MS + 300_100), [true, true, true, true]);
        assert_eq!(due(Some(WALL_MS + 60_100), WALL_MS + 69_900), [false, false, false, true]);
        assert_eq!(due(Some(WALL_MS + 3_600_000), WALL_MS), [true; 4], "a clock that was set back silences none");
    }

    #[test]
    fn a_short_run_has_the_rates_since_the_run_before_it() {
        let tree = Tree::new();
        tree.write("proc/stat", "cpu 100 0 0 100\ncpu0 100 0 0 100\n");
        tree.write("proc/meminfo", "MemTotal: 1024 kB\n");
        tree.write("proc/vmstat", "pgpgin 0\npgpgout 1000\n");
        tree.write("proc/7/stat", format!("7 (a) S {} 100 50 0 0 20 0 1 0 555 1 1 1\n", "0 ".repeat(10).trim()));
        tree.write("proc/7/statm", "9 8 7 6 5 4 3\n");
        let all = |object| PerfSource { counters: perf::all(object), ..source(object, ".*", Some(1000)) };
        let sources = [Object::Processor, Object::Memory, Object::Process].map(all);
        let values = |sampler: &mut Sampler, now_ms| {
            let mut values = Vec::new();
            let mut append = |payload: &[u8]| {
                let sample = perf::decode(payload).expect("a sample");
                let known = |instance: perf::Instance<'_>| instance.values().count();
                values.push(sample.instances().map(known).sum::<usize>());
            };
            sampler.take(now_ms, WALL_MS, &mut append, &mut |_| {});
            values
        };
        let mut first = Sampler::new(&sources, &tree.root(), 1000, WALL_MS);
        first.once(1000, WALL_MS, None, None);
        let without_rates = values(&mut first, 1000);
        let saved = first.save();
        tree.write("proc/stat", "cpu 150 0 0 150\ncpu0 150 0 0 150\n");
        tree.write("proc/vmstat", "pgpgin 500\npgpgout 1000\n");
        tree.write("proc/7/stat", format!("7 (a) S {} 200 50 0 0 20 0 1 0 555 1 1 1\n", "0 ".repeat(10).trim()));
        let mut second = Sampler::new(&sources, &tree.root(), 61_000, WALL_MS + 60_000);
        second.once(61_000, WALL_MS + 60_000, Some(WALL_MS), Some((&saved, 1000)));
        let with_rates = values(&mut second, 61_000);
        assert!(
            without_rates.iter().zip(&with_rates).all(|(without, with)| without < with),
            "{without_rates:?} {with_rates:?}"
        );
    }

    #[test]
    fn without_an_interval_there_is_one_sample_at_the_start() {
        let mut sampler = sampler(&[None], 7, WALL_MS);
        assert_eq!(sampler.deadline_ms(), Some(7));
        sampler.take(7, WALL_MS, &mut |_| {}, &mut |_| {});
        assert_eq!(sampler.deadline_ms(), None);
        sampler.take(8, WALL_MS, &mut |_| panic!("nothing is due"), &mut |_| panic!("nothing is due"));
    }

    /// What is told of these sources by samples a second apart.
    fn told(sampler: &mut Sampler, now_ms: u64) -> Vec<String> {
        let mut told = Vec::new();
        sampler.take(now_ms, WALL_MS + now_ms, &mut |_| {}, &mut |missed| told.push(format!("{missed}")));
        told
    }

    #[test]
    fn a_sample_without_an_instance_that_is_wanted_is_counted_each_time_and_told_once() {
        let tree = Tree::new();
        tree.write("proc/meminfo", "MemTotal: 1024 kB\n");
        tree.write("proc/net/dev", "");
        let sources = [
            source(Object::Memory, "Memory", Some(1000)),
            source(Object::Memory, "memory", Some(1000)),
            source(Object::Network, ".*", Some(1000)),
            source(Object::Processor, ".*", Some(1000)),
        ];
        let mut sampler = Sampler::new(&sources, &tree.root(), 0, WALL_MS);
        let unreadable = "no sample of Processor: cannot read /proc/stat";
        assert_eq!(
            told(&mut sampler, 1000),
            [
                "no sample of Memory: `instance_regex` of the source in line 1 is in no instance's name",
                "no sample of Network: this host has none that is known of",
                unreadable,
            ]
        );
        assert_eq!(told(&mut sampler, 2000), [unreadable]);
        assert_eq!(sampler.account, Account { taken: 2, failed: 2, empty: 4 });
        sampler.configure(&sources, 3000, WALL_MS + 3000);
        assert_eq!(told(&mut sampler, 4000).len(), 3, "it is told of other sources");
        assert_eq!(sampler.account, Account { taken: 3, failed: 3, empty: 6 }, "which change no account");
    }

    #[test]
    fn of_many_instances_those_wanted_are_kept_in_as_many_payloads_as_they_take() {
        let wanted = source(Object::Process, "^a", None);
        let (mut writer, mut payloads) = (Writer::default(), Vec::new());
        let mut append = |payload: &[u8]| payloads.push(Vec::from(payload));
        let mut chosen = Chosen::new(&wanted, &mut writer, &mut append);
        let count = 3 * PERF_INSTANCES_MAX + 1;
        for index in 0..count {
            chosen.instance(format!("a{index}").as_bytes(), &[Some(0.0); 4]);
            chosen.instance(format!("b{index}").as_bytes(), &[Some(0.0); 4]);
        }
        chosen.hand_out();
        assert_eq!(payloads.len(), 4);
        let samples = payloads.iter().map(|payload| perf::decode(payload).expect("a sample"));
        let names = samples.flat_map(|sample| sample.instances().collect::<Vec<_>>());
        let names: Vec<_> = names.map(|instance| String::from_utf8_lossy(instance.name).into_owned()).collect();
        assert_eq!(names, (0..count).map(|index| format!("a{index}")).collect::<Vec<_>>());
    }

    #[test]
    fn where_no_instance_is_wanted_nothing_is_handed_out() {
        let wanted = source(Object::Process, "^a", None);
        let mut append = |_: &[u8]| panic!("handed out");
        let mut writer = Writer::default();
        let mut chosen = Chosen::new(&wanted, &mut writer, &mut append);
        chosen.instance(b"b", &[Some(0.0); 4]);
        chosen.hand_out();
    }
}

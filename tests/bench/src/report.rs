//! The table: one row a figure, one column a program, each peer beside what it has of omsd's.

use crate::program::Program;
use std::collections::HashMap;
use std::fmt::Write;

/// One row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Row {
    ProgramBytes,
    TlsStart,
    TlsUpload,
    TlsChild,
    IdleRss,
    IdlePrivate,
    IdleAnonymous,
    IdleWakeups,
    SteadyCpu,
    SteadyWakeups,
    SteadyDisk,
    SteadyUploaded,
    SteadyPeak,
    SteadyLost,
    FloodCpu,
    FloodAccepted,
    FloodDelivered,
    FloodLost,
    FloodTwice,
    FloodPeak,
    FloodPeakPss,
    FloodAfter,
    FloodDisk,
    FloodUploaded,
    UnixAccepted,
    UnixLost,
    UdpRate,
    UdpLost,
    CountersSix,
    CountersReads,
    CountersProcess,
    CountersGrowth,
    CountersRss,
    CountersAnonymous,
    OverloadAccepted,
    OverloadAcceptedRate,
    OverloadHeldBack,
    OverloadFlatDelivered,
    OverloadFlatAccepted,
    OverloadSteadyDelivered,
    OverloadSteadyAccepted,
    OverloadTimesIntake,
    OverloadFlatFresh,
    OverloadSteadyFresh,
    OverloadDrain,
    OverloadLost,
    OverloadTwice,
    OverloadPeak,
    OverloadDatagrams,
    OverloadDatagramsRate,
    OverloadDatagramsOverwritten,
    OverloadDatagramsUncounted,
    OverloadDatagramsOlder,
    OverloadDatagramsDelivered,
    OverloadDatagramsPeak,
}

/// How a figure is written.
#[derive(Debug, Clone, Copy)]
enum Unit {
    Megabytes,
    Kilobytes,
    Seconds,
    Count,
    PerSecond,
    Bytes,
    Milliseconds,
    Microseconds,
    Tenths,
    Times,
}

/// What omsd must keep to.
#[derive(Debug, Clone, Copy)]
enum Budget {
    None,
    AtMost(f64),
    AtLeast(f64),
}

use Budget::{AtLeast, AtMost};

/// One line of a table.
type Line = (Row, &'static str, Unit, Budget);

const TABLE: [Line; 28] = [
    (Row::ProgramBytes, "program and its libraries, MB", Unit::Megabytes, AtMost(1.4e6)),
    (Row::TlsStart, "start to end of omsd version, ms", Unit::Tenths, Budget::None),
    (Row::TlsUpload, "one upload, a fork and a handshake in it: CPU ms", Unit::Tenths, Budget::None),
    (Row::TlsChild, "upload child's peak, requests of 1 MiB, MB", Unit::Megabytes, AtMost(4e6)),
    (Row::IdleRss, "idle: resident, KB", Unit::Kilobytes, AtMost(600e3)),
    (Row::IdlePrivate, "idle: of it private, KB", Unit::Kilobytes, Budget::None),
    // The rest of the private pages are the program file's, which the kernel drops when it wants.
    (Row::IdleAnonymous, "idle: of it private and in no file, KB", Unit::Kilobytes, AtMost(150e3)),
    // Its own timers: the status file, twice a minute.
    (Row::IdleWakeups, "idle: wake-ups a second", Unit::PerSecond, AtMost(0.1)),
    (Row::SteadyCpu, "1,000 a second: CPU s per million, upload included", Unit::Seconds, AtMost(10.0)),
    (Row::SteadyWakeups, "1,000 a second: wake-ups a second", Unit::PerSecond, Budget::None),
    (Row::SteadyDisk, "1,000 a second: disk bytes per message", Unit::Bytes, AtMost(250.0)),
    (Row::SteadyUploaded, "1,000 a second: bytes uploaded per message", Unit::Bytes, Budget::None),
    (Row::SteadyPeak, "1,000 a second: peak memory, MB", Unit::Megabytes, Budget::None),
    (Row::SteadyLost, "1,000 a second: lost", Unit::Count, AtMost(0.0)),
    (Row::FloodCpu, "flat out, TCP: CPU s per million", Unit::Seconds, AtMost(4.0)),
    (Row::FloodAccepted, "flat out, TCP: accepted a second", Unit::Count, AtLeast(300e3)),
    (Row::FloodDelivered, "flat out, TCP: delivered a second", Unit::Count, AtLeast(300e3)),
    (Row::FloodLost, "flat out, TCP: lost", Unit::Count, AtMost(0.0)),
    (Row::FloodTwice, "flat out, TCP: delivered twice", Unit::Count, Budget::None),
    (Row::FloodPeak, "flat out, TCP: peak memory, all processes, MB", Unit::Megabytes, AtMost(6e6)),
    (Row::FloodPeakPss, "the same, shared pages counted once, MB", Unit::Megabytes, Budget::None),
    (Row::FloodAfter, "resident when quiet again, MB", Unit::Megabytes, Budget::None),
    (Row::FloodDisk, "flat out, TCP: disk bytes per message", Unit::Bytes, AtMost(250.0)),
    (Row::FloodUploaded, "flat out, TCP: bytes uploaded per message", Unit::Bytes, AtMost(50.0)),
    (Row::UnixAccepted, "unix datagrams accepted a second", Unit::Count, AtLeast(250e3)),
    (Row::UnixLost, "unix datagrams: lost", Unit::Count, AtMost(0.0)),
    (Row::UdpRate, "UDP burst of 100,000: sent a second", Unit::Count, Budget::None),
    (Row::UdpLost, "UDP burst of 100,000: lost", Unit::Count, AtMost(0.0)),
];

/// What counters cost. A table of its own.
const COUNTERS: [Line; 6] = [
    (Row::CountersSix, "six objects: CPU of a sample, µs", Unit::Microseconds, AtMost(150e-6)),
    (Row::CountersReads, "of it reading the files, measured alone, µs", Unit::Microseconds, Budget::None),
    (Row::CountersProcess, "Process: CPU of a sample for each process running, µs", Unit::Microseconds, AtMost(15e-6)),
    (Row::CountersGrowth, "seven objects: growth in 10,000 samples, KB", Unit::Kilobytes, AtMost(0.0)),
    (Row::CountersRss, "six objects every 10 s: resident, KB", Unit::Kilobytes, AtMost(600e3)),
    (Row::CountersAnonymous, "of it private and in no file, KB", Unit::Kilobytes, AtMost(150e3)),
];

/// What omsd does under overload. A table of its own.
const OVERLOAD: [Line; 21] = [
    (Row::OverloadAccepted, "streams, service down: accepted until the ring is full", Unit::Count, Budget::None),
    (Row::OverloadAcceptedRate, "of them a second", Unit::Count, Budget::None),
    (Row::OverloadHeldBack, "then held back in their senders", Unit::Count, Budget::None),
    (Row::OverloadFlatDelivered, "service back, senders flat out: delivered a second", Unit::Count, Budget::None),
    (Row::OverloadFlatAccepted, "and accepted a second", Unit::Count, Budget::None),
    (Row::OverloadFlatFresh, "nine of ten new messages are accepted within, ms", Unit::Milliseconds, Budget::None),
    (Row::OverloadSteadyDelivered, "10,000 a second come in: delivered a second", Unit::Count, Budget::None),
    (Row::OverloadSteadyAccepted, "and accepted a second", Unit::Count, AtLeast(9_900.0)),
    (Row::OverloadTimesIntake, "delivered / accepted", Unit::Times, AtLeast(1.0)),
    (Row::OverloadSteadyFresh, "nine of ten new messages are accepted within, ms", Unit::Milliseconds, Budget::None),
    (Row::OverloadDrain, "from the service's return to the end of the backlog, s", Unit::Seconds, Budget::None),
    (Row::OverloadLost, "streams: lost", Unit::Count, AtMost(0.0)),
    (Row::OverloadTwice, "streams: delivered twice", Unit::Count, Budget::None),
    (Row::OverloadPeak, "streams: peak memory throughout, all processes, MB", Unit::Megabytes, AtMost(6e6)),
    (Row::OverloadDatagrams, "unix datagrams, service down: accepted", Unit::Count, Budget::None),
    (Row::OverloadDatagramsRate, "of them a second", Unit::Count, Budget::None),
    (Row::OverloadDatagramsOverwritten, "overwritten, as omsd counts", Unit::Count, Budget::None),
    (Row::OverloadDatagramsUncounted, "overwritten and not counted", Unit::Count, AtMost(0.0)),
    (Row::OverloadDatagramsOlder, "delivered, though older than an overwritten one", Unit::Count, AtMost(0.0)),
    (Row::OverloadDatagramsDelivered, "10,000 a second come in: delivered a second", Unit::Count, AtLeast(10_000.0)),
    (Row::OverloadDatagramsPeak, "unix datagrams: peak memory throughout, MB", Unit::Megabytes, AtMost(6e6)),
];

/// What the FIPS module may cost in place of a row's budget. Idle it holds about 60 KB more: 44 KB of tables with pointers, which a
/// position-independent program's start writes, so that such pages can never be given back and read from the file again; the rest
/// are its variables.
const FIPS_BUDGETS: [(Row, Budget); 3] =
    [(Row::ProgramBytes, AtMost(3.3e6)), (Row::TlsChild, AtMost(6e6)), (Row::IdleAnonymous, AtMost(190e3))];

/// What was measured of one program.
#[derive(Debug, Default)]
pub struct Figures(HashMap<Row, f64>);

impl Figures {
    /// Notes one.
    pub fn set(&mut self, row: Row, value: f64) {
        self.0.insert(row, value);
    }

    fn get(&self, row: Row) -> Option<f64> {
        self.0.get(&row).copied()
    }
}

/// The table of messages as Markdown: rows that were measured, a column a program, a column for how many times omsd's figure a peer's is.
pub fn markdown(results: &[(Program, Figures)], is_fips: bool) -> String {
    rows("", &TABLE, results, is_fips)
}

/// The table of counters, if they were measured.
pub fn counters(results: &[(Program, Figures)]) -> String {
    rows("counters", &COUNTERS, results, false)
}

/// The table of overload, if that was measured.
pub fn overload(results: &[(Program, Figures)]) -> String {
    rows("overload", &OVERLOAD, results, false)
}

/// Of the programs that have any of these figures.
fn rows(title: &str, lines: &[Line], results: &[(Program, Figures)], is_fips: bool) -> String {
    let has_any = |figures: &Figures| lines.iter().any(|(row, ..)| figures.get(*row).is_some());
    let results: Vec<&(Program, Figures)> = results.iter().filter(|(_, figures)| has_any(figures)).collect();
    let measured = |row| results.iter().any(|(_, figures)| figures.get(row).is_some());
    if results.is_empty() {
        return String::new();
    }
    let mut text = String::from("|");
    let (ours, peers): (Vec<_>, Vec<_>) = results.iter().copied().partition(|(program, _)| *program == Program::Omsd);
    let ours = ours.first().map(|(_, figures)| figures);
    let mut heads = vec![title.to_owned()];
    heads.extend(results.iter().map(|(program, _)| program.name().to_owned()));
    heads.push("budget".to_owned());
    if ours.is_some() {
        heads.extend(peers.iter().map(|(program, _)| format!("{} / omsd", program.name())));
    }
    heads.iter().for_each(|head| _ = write!(text, " {head} |"));
    text.push_str("\n|---|");
    text.push_str(&"---:|".repeat(heads.len() - 1));
    text.push('\n');
    for &(row, label, unit, budget) in lines {
        if !measured(row) {
            continue;
        }
        let _ = write!(text, "| {label} |");
        for (_, figures) in &results {
            let _ = write!(text, " {} |", figures.get(row).map_or("-".to_owned(), |value| unit.write(value)));
        }
        let _ = write!(text, " {} |", budget_of(row, budget, is_fips).write(unit));
        if let Some(ours) = ours {
            for (_, figures) in &peers {
                let _ = write!(text, " {} |", ratio(figures.get(row), ours.get(row)));
            }
        }
        text.push('\n');
    }
    text
}

fn budget_of(row: Row, budget: Budget, is_fips: bool) -> Budget {
    FIPS_BUDGETS.iter().find(|(of, _)| is_fips && *of == row).map_or(budget, |(_, fips)| *fips)
}

/// The budgets that omsd does not keep to, a sentence each.
pub fn over_budget(figures: &Figures, is_fips: bool) -> Vec<String> {
    let over = |&(row, label, unit, budget): &Line| {
        let value = figures.get(row)?;
        let budget = budget_of(row, budget, is_fips);
        let kept = match budget {
            Budget::None => true,
            AtMost(bound) => value <= bound,
            AtLeast(bound) => value >= bound,
        };
        (!kept).then(|| format!("{label}: {}, budget {}", unit.write(value), budget.write(unit)))
    };
    TABLE.iter().chain(&COUNTERS).chain(&OVERLOAD).filter_map(over).collect()
}

fn ratio(peer: Option<f64>, ours: Option<f64>) -> String {
    match (peer, ours) {
        (Some(peer), Some(ours)) if ours > 0.0 => {
            let ratio = peer / ours;
            if ratio >= 10.0 { format!("{ratio:.0}") } else { format!("{ratio:.2}") }
        }
        _ => "-".to_owned(),
    }
}

impl Unit {
    fn write(self, value: f64) -> String {
        match self {
            Unit::Megabytes => format!("{:.2}", value / 1e6),
            Unit::Kilobytes => thousands(value / 1e3),
            Unit::Seconds | Unit::PerSecond | Unit::Times => format!("{value:.2}"),
            Unit::Milliseconds => format!("{:.0}", value * 1e3),
            Unit::Microseconds => format!("{:.1}", value * 1e6),
            Unit::Tenths => format!("{:.1}", value * 1e3),
            Unit::Count | Unit::Bytes => thousands(value),
        }
    }
}

impl Budget {
    fn write(self, unit: Unit) -> String {
        match self {
            Budget::None => String::new(),
            AtMost(0.0) => "0".to_owned(),
            AtMost(bound) => format!("≤ {}", unit.write(bound)),
            AtLeast(bound) => format!("≥ {}", unit.write(bound)),
        }
    }
}

/// `1,234,567`
fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_shows_figures_budget_and_how_many_times_ours_a_peers_is() {
        let (mut ours, mut theirs) = (Figures::default(), Figures::default());
        ours.set(Row::FloodDelivered, 250_000.0);
        theirs.set(Row::FloodDelivered, 50_000.0);
        assert_eq!(over_budget(&ours, false).len(), 1);
        let table = markdown(&[(Program::Omsd, ours), (Program::Rsyslog, theirs)], false);
        let last = table.lines().last();
        assert_eq!(last, Some("| flat out, TCP: delivered a second | 250,000 | 50,000 | ≥ 300,000 | 0.20 |"));
    }

    #[test]
    fn the_fips_build_has_budgets_of_its_own() {
        let mut ours = Figures::default();
        ours.set(Row::ProgramBytes, 3.2e6);
        assert_eq!([false, true].map(|is_fips| over_budget(&ours, is_fips).len()), [1, 0]);
        assert!(markdown(&[(Program::Omsd, ours)], true).contains("| 3.20 | ≤ 3.30 |"));
    }

    #[test]
    fn thousands_are_set_apart() {
        for (value, text) in [(0.0, "0"), (999.0, "999"), (1000.0, "1,000"), (-123456.0, "-123,456")] {
            assert_eq!(thousands(value), text);
        }
    }
}

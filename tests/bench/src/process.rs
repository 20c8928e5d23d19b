//! What the kernel says of a program: of its process and all that descend from it.

use crate::sys;
use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often memory is looked at while a load runs.
const SAMPLE: Duration = Duration::from_millis(20);
/// smaps_rollup walks all pages and holds the process up meanwhile: above this the cheaper statm must do, in bytes.
const ROLLUP_BYTES_MAX: u64 = 16 << 20;
const PAGE_BYTES: u64 = 4096;

/// Sums over all processes of a program, children that have ended included.
#[derive(Debug, Clone, Copy, Default)]
pub struct Used {
    /// Processor time in seconds.
    pub cpu_s: f64,
    /// Bytes that went or will go to a disk.
    pub write_bytes: u64,
    /// Times that a process began to run, threads counted apart; not of those that have ended.
    pub switches: u64,
}

/// Memory of all processes of a program, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    /// Resident; what two processes share counts twice.
    pub rss: u64,
    /// Resident; what two processes share counts half for each.
    pub pss: u64,
    /// Of it in no other process, pages of the program file that nobody else has mapped included.
    pub private: u64,
    /// Of it not in any file: the memory that the kernel cannot take back.
    pub anonymous: u64,
    /// The most that any process but the first ever had resident; only in a [`Sampler::peak`].
    pub child_high: u64,
}

/// What a program has used since it started.
pub fn used(root: u32) -> Used {
    let mut sum = Used::default();
    for pid in Tree::new(root).pids {
        let (cpu_s, switches) = (cpu_s(pid).unwrap_or(0.0), switches(pid));
        sum.cpu_s += cpu_s;
        sum.switches += switches;
        sum.write_bytes += number(&read(pid, "io"), "write_bytes:").unwrap_or(0);
    }
    sum
}

/// Processor time of one process in seconds, to the nanosecond: of its threads that live, without those whose names begin so.
pub fn own_cpu_s(pid: u32, without: &str) -> f64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let ns = |entry: fs::DirEntry| -> Option<f64> {
        let read = |file| fs::read_to_string(entry.path().join(file)).ok();
        let counts = !read("comm")?.starts_with(without);
        read("schedstat")?.split(' ').next()?.parse().ok().filter(|_| counts)
    };
    threads.filter_map(ns).sum::<f64>() / 1e9
}

/// Processes that there are, those of the kernel included.
pub fn count() -> usize {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok())).count()
}

/// The memory of a program now.
pub fn memory(root: u32) -> Memory {
    sum_memory(&Tree::new(root))
}

/// Bytes of the program file and of all libraries it has mapped.
pub fn program_bytes(root: u32) -> u64 {
    let maps = read(root, "maps");
    let file = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let executable = fields.nth(1)?.contains('x');
        fields.nth(3).filter(|path| executable && path.starts_with('/')).map(PathBuf::from)
    };
    let files: HashSet<PathBuf> = maps.lines().filter_map(file).collect();
    files.iter().filter_map(|file| fs::metadata(file).ok()).map(|metadata| metadata.len()).sum()
}

/// Looks at the memory of a program until told to stop.
pub struct Sampler {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Memory>,
}

impl Sampler {
    /// Starts looking.
    pub fn start(root: u32) -> Self {
        let stop: Arc<AtomicBool> = Arc::default();
        let told = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut tree = Tree::new(root);
            let mut peak = Memory::default();
            while !told.load(Ordering::Relaxed) {
                tree.refresh();
                let now = sum_memory(&tree);
                peak.rss = peak.rss.max(now.rss);
                peak.pss = peak.pss.max(now.pss);
                peak.child_high = tree.pids[1..].iter().map(|pid| high(*pid)).fold(peak.child_high, u64::max);
                std::thread::sleep(SAMPLE);
            }
            // What the root alone had between two looks, the kernel knows exactly.
            Memory { rss: peak.rss.max(high(root)), ..peak }
        });
        Self { stop, thread }
    }

    /// The most there was at any look.
    pub fn peak(self) -> Memory {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the sampler does not panic")
    }
}

/// A process and all that descend from it.
struct Tree {
    pids: Vec<u32>,
    newest: u32,
}

impl Tree {
    fn new(root: u32) -> Self {
        let mut tree = Self { pids: vec![root], newest: newest_pid() };
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let mut all: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        all.sort_unstable();
        tree.add(all.into_iter());
        tree
    }

    /// Adds who came since the last look. Numbers are given in order, so only new ones are looked at: reading all of /proc
    /// fifty times a second would be a load of its own.
    fn refresh(&mut self) {
        const LATE: u32 = 32; // has a number, was not to be seen yet
        let newest = newest_pid();
        let root = self.pids[0];
        self.pids.retain(|pid| *pid == root || parent(*pid).is_some());
        if newest < self.newest {
            *self = Self::new(root);
        } else {
            self.add(self.newest.saturating_sub(LATE)..=newest);
            self.newest = newest;
        }
    }

    fn add(&mut self, candidates: impl Iterator<Item = u32>) {
        for pid in candidates {
            if !self.pids.contains(&pid) && parent(pid).is_some_and(|parent| self.pids.contains(&parent)) {
                self.pids.push(pid);
            }
        }
    }
}

/// The parent of a process; `None` if it has gone, or is a thread.
fn parent(pid: u32) -> Option<u32> {
    let status = read(pid, "status");
    let is_process = number(&status, "Tgid:")? == u64::from(pid);
    let parent = u32::try_from(number(&status, "PPid:")?).ok()?;
    is_process.then_some(parent)
}

/// The number that was given last. Source: proc_loadavg(5), last field.
fn newest_pid() -> u32 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_ascii_whitespace().last().and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn sum_memory(tree: &Tree) -> Memory {
    let mut sum = Memory::default();
    for &pid in &tree.pids {
        let resident =
            read(pid, "statm").split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0) * PAGE_BYTES;
        if resident > ROLLUP_BYTES_MAX {
            let anonymous = number(&read(pid, "status"), "RssAnon:").unwrap_or(0) * 1024;
            sum.rss += resident;
            sum.pss += resident;
            sum.private += anonymous;
            sum.anonymous += anonymous;
            continue;
        }
        let rollup = read(pid, "smaps_rollup");
        let bytes = |name| number(&rollup, name).unwrap_or(0) * 1024;
        sum.rss += bytes("Rss:");
        sum.pss += bytes("Pss:");
        sum.private += bytes("Private_Clean:") + bytes("Private_Dirty:");
        sum.anonymous += bytes("Anonymous:");
    }
    sum
}

/// The most that a process ever had resident.
fn high(pid: u32) -> u64 {
    number(&read(pid, "status"), "VmHWM:").unwrap_or(0) * 1024
}

/// Processor time of a process and of its children that have ended. /proc/PID/stat counts in hundredths, too coarse for a process
/// that needs a third of a second in a minute; schedstat has nanoseconds, but for one thread only.
fn cpu_s(pid: u32) -> Option<f64> {
    let stat = read(pid, "stat");
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split_ascii_whitespace().collect();
    let ticks = |field: usize| fields.get(field - 3)?.parse::<f64>().ok(); // numbered as in proc_pid_stat(5)
    let in_ticks = |ticks: f64| ticks / sys::ticks_per_second();
    let ended = in_ticks(ticks(16)? + ticks(17)?);
    let schedstat = read(pid, "schedstat");
    let own_ns = schedstat.split(' ').next().and_then(|ns| ns.parse::<f64>().ok());
    match own_ns {
        Some(ns) if ticks(20)? == 1.0 => Some(ended + ns / 1e9),
        _ => Some(ended + in_ticks(ticks(14)? + ticks(15)?)),
    }
}

fn switches(pid: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let of_thread = |entry: fs::DirEntry| {
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let of = |name| number(&status, name).unwrap_or(0);
        of("voluntary_ctxt_switches:") + of("nonvoluntary_ctxt_switches:")
    };
    threads.map(of_thread).sum()
}

fn read(pid: u32, file: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default()
}

/// The number behind a name at the start of a line.
fn number(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn work_of_children_counts_while_they_live_and_after_they_ended() {
        let script = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done; cat";
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("sh -c '{script}'; cat")]);
        let mut shell = shell.stdin(Stdio::piped()).spawn().expect("a shell");
        let pid = shell.id();
        let mut tree = Tree::new(pid);
        let mut most = 1;
        while used(pid).cpu_s < 0.02 {
            tree.refresh();
            most = most.max(tree.pids.len());
        }
        assert!(most >= 2, "the inner shell is seen");
        assert!(memory(pid).rss >= memory(pid).private);
        drop(shell.stdin.take());
        assert!(shell.wait().expect("it ends").success());
        assert_eq!(used(pid).cpu_s, 0.0, "gone is gone");
    }
}

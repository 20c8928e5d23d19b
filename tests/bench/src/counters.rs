//! What it costs to look at counters: omsd's six objects beside the same of collectd, each every second, then Process alone; memory that grows
//! with time; memory of an agent that samples every ten seconds and does nothing else.
//!
//! What is sent or stored is not counted: of omsd the agent's own process, with the ring, which is not synced meanwhile; of collectd
//! all threads but the one that writes values to files (plugin csv).

use crate::measure::{Bench, FLUSH_S, free_tcp_port};
use crate::process::{self, Memory};
use crate::program::{Input, Program, Running, Settings};
use crate::report::{Figures, Row};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A set of objects, by what each program calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Objects {
    /// Processor, Memory, Logical Disk, Physical Disk, Network and System.
    Six,
    /// Process.
    Process,
}

/// Which counters are sampled, and how often.
#[derive(Debug, Clone, Copy)]
pub struct Sampled {
    /// Of what.
    pub objects: Objects,
    /// How often.
    pub interval_s: u32,
}

/// Processes that do nothing, beside those that the machine runs: what one costs does not drown in what a look costs.
const IDLE_PROCESSES: usize = 300;
/// Looks at all seven objects, one after the other, after which memory may no longer grow.
const LOOKS_FIRST: usize = 500;
const LOOKS: usize = 10_000;
/// What the six objects are read from each time.
const SIX_FILES: [&str; 6] =
    ["/proc/stat", "/proc/meminfo", "/proc/vmstat", "/proc/diskstats", "/proc/net/dev", "/proc/uptime"];
/// How collectd calls the thread that stores.
const WRITER: &str = "writer#";

impl Bench<'_> {
    pub(crate) fn counters(&mut self, figures: &mut Figures) -> io::Result<()> {
        let six = self.cpu_us(Sampled { objects: Objects::Six, interval_s: 1 })?;
        figures.set(Row::CountersSix, six * 1e-6);
        let idle = (0..IDLE_PROCESSES).map(|_| Idle::start()).collect::<io::Result<Vec<_>>>()?;
        let of_processes = self.cpu_us(Sampled { objects: Objects::Process, interval_s: 1 })?;
        figures.set(Row::CountersProcess, of_processes * 1e-6 / process::count() as f64);
        if self.program == Program::Omsd {
            figures.set(Row::CountersReads, reads_us(self.scale.idle)? * 1e-6);
            figures.set(Row::CountersGrowth, growth_bytes()?);
        }
        drop(idle);
        let running = self.start_sampling(Sampled { objects: Objects::Six, interval_s: 10 }, FLUSH_S)?;
        std::thread::sleep(self.scale.idle);
        let memory = most_of_the_time(running.pid(), 10);
        figures.set(Row::CountersRss, memory.rss as f64);
        figures.set(Row::CountersAnonymous, memory.anonymous as f64);
        Ok(())
    }

    /// Processor time of a sample, in microseconds.
    fn cpu_us(&self, sampled: Sampled) -> io::Result<f64> {
        // Samples wait: no upload child is forked meanwhile.
        let mut running = self.start_sampling(sampled, 3600)?;
        let before_s = process::own_cpu_s(running.pid(), WRITER);
        std::thread::sleep(self.scale.idle);
        running.check()?;
        let samples = self.scale.idle.as_secs_f64() / f64::from(sampled.interval_s);
        Ok((process::own_cpu_s(running.pid(), WRITER) - before_s) * 1e6 / samples)
    }

    fn start_sampling(&self, sampled: Sampled, flush_s: u32) -> io::Result<Running> {
        let settings = Settings { flush_s, queue_mib: self.queue_mib, probed: None, sampled: Some(sampled) };
        self.start_with(&Input::Tcp(free_tcp_port()?), settings)
    }
}

/// Processor time of reading the files of the six objects once a second, kept open, and doing nothing with them: what the kernel takes
/// to make them, on a machine whose caches others had meanwhile.
fn reads_us(duration: Duration) -> io::Result<f64> {
    let files: Vec<File> = SIX_FILES.iter().map(File::open).collect::<io::Result<_>>()?;
    let mut buffer = [0; 8192];
    let me = std::process::id();
    let before_s = process::own_cpu_s(me, WRITER);
    let seconds = duration.as_secs();
    for _ in 0..seconds {
        std::thread::sleep(Duration::from_secs(1));
        for file in &files {
            let mut length = 0;
            while let count @ 1.. = file.read_at(&mut buffer, length)? {
                length += count as u64;
            }
        }
    }
    Ok((process::own_cpu_s(me, WRITER) - before_s) * 1e6 / seconds as f64)
}

/// The median of looks a second apart: the memory that a sample needs comes and goes.
fn most_of_the_time(root: u32, looks: usize) -> Memory {
    let look = |_| {
        std::thread::sleep(Duration::from_secs(1));
        process::memory(root)
    };
    let mut memory: Vec<Memory> = (0..looks).map(look).collect();
    memory.sort_by_key(|memory| memory.rss);
    memory[looks / 2]
}

/// Anonymous memory of `omsd sample` after so many looks, less than what it had after the first of them. A command that goes on: what it
/// keeps between looks is what the agent does.
fn growth_bytes() -> io::Result<f64> {
    let mut command = Program::Omsd.command();
    command.args(["sample", "--json", "--interval", "0", "--count", &(LOOKS_FIRST + 2 * LOOKS).to_string()]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let output = BufReader::new(child.stdout.take().expect("piped"));
    let (mut looks, mut first) = (0, 0);
    for line in output.lines() {
        looks += usize::from(line?.contains(r#""ObjectName":"Memory""#));
        if looks == LOOKS_FIRST && first == 0 {
            first = process::memory(child.id()).anonymous;
        }
        if looks == LOOKS_FIRST + LOOKS {
            break;
        }
    }
    let last = process::memory(child.id()).anonymous;
    child.kill()?;
    child.wait()?;
    match looks == LOOKS_FIRST + LOOKS {
        true => Ok(last as f64 - first as f64),
        false => Err(io::Error::other("omsd sample ended early")),
    }
}

struct Idle(Child);

impl Idle {
    fn start() -> io::Result<Idle> {
        Command::new("sleep").arg("100000").stdin(Stdio::null()).spawn().map(Idle)
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// As the portal writes them.
pub fn omsd_sources(sampled: Sampled) -> String {
    let objects: &[&str] = match sampled.objects {
        Objects::Six => &["Processor", "Memory", "Logical Disk", "Physical Disk", "Network", "System"],
        Objects::Process => &["Process"],
    };
    let section = |object: &&str| {
        format!(
            "<source>\n  type oms_omi\n  object_name \"{object}\"\n  instance_regex \".*\"\n  counter_name_regex \".*\"\n  \
             interval {}s\n</source>\n",
            sampled.interval_s
        )
    };
    objects.iter().map(section).collect()
}

/// The plugins that read the same, one thread that reads, one that writes.
pub fn collectd_conf(dir: &str, unpacked: &str, sampled: Sampled) -> String {
    let plugins: &[&str] = match sampled.objects {
        Objects::Six => &["cpu", "memory", "swap", "vmem", "df", "disk", "interface", "uptime", "users", "processes"],
        Objects::Process => &["processes"],
    };
    let load: String = plugins.iter().map(|plugin| format!("LoadPlugin {plugin}\n")).collect();
    let more = match sampled.objects {
        Objects::Six => "<Plugin df>\n  ReportInodes true\n  ValuesPercentage true\n</Plugin>\n",
        Objects::Process => "<Plugin processes>\n  ProcessMatch \"all\" \".*\"\n</Plugin>\n",
    };
    format!(
        "BaseDir \"{dir}\"\nPluginDir \"{unpacked}/usr/lib/collectd\"\nTypesDB \"{unpacked}/usr/share/collectd/types.db\"\n\
         Hostname \"bench\"\nInterval {}\nReadThreads 1\nWriteThreads 1\nLoadPlugin csv\n{load}\
         <Plugin csv>\n  DataDir \"{dir}/csv\"\n</Plugin>\n{more}",
        sampled.interval_s
    )
}

//! Another process: signals, its children, what it costs, strace on it.

use crate::harness::{PATIENCE, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A process id as the system calls take it.
pub fn pid_of(number: u32) -> Pid {
    i32::try_from(number).ok().and_then(Pid::from_raw).expect("a process id")
}

/// Sends SIGKILL; a process that has ended is no error.
pub fn kill_now(pid: u32) {
    let _ = kill_process(pid_of(pid), Signal::KILL);
}

/// Processes whose parent this is, zombies left out. Source: proc_pid_stat(5), fields 3 and 4.
pub fn children_of(parent: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_child = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let mut fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ');
        fields.next() != Some("Z") && fields.next() == Some(&parent.to_string())
    };
    pids.filter(is_child).collect()
}

/// Whether it exists and is no zombie.
pub fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// What a process has used so far.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    cpu: Duration,
    switches: u64,
}

impl Usage {
    /// Of this process, children left out. Source: proc_pid_stat(5), fields 14 and 15 in ticks of 10 ms; proc_pid_status(5).
    pub fn of(pid: u32) -> Usage {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process lives");
        let fields: Vec<&str> = stat.rsplit_once(") ").expect("a name").1.split(' ').collect();
        let ticks: u64 = fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
        let switches =
            status.lines().filter_map(|line| line.split_once("voluntary_ctxt_switches:")?.1.trim().parse::<u64>().ok());
        Usage { cpu: Duration::from_millis(ticks * 10), switches: switches.sum() }
    }

    /// Fails if more was used since then than this.
    #[track_caller]
    pub fn check_since(self, pid: u32, cpu_max: Duration, switches_max: u64) {
        let now = Usage::of(pid);
        let (cpu, switches) = (now.cpu - self.cpu, now.switches - self.switches);
        assert!(
            cpu <= cpu_max && switches <= switches_max,
            "{cpu:?} of processor time and {switches} context switches"
        );
    }
}

/// strace, attached to a running process to spoil its system calls. Detaches when dropped.
pub struct Strace(Child);

impl Strace {
    /// Spoils them as `inject` says from now on. Source: strace(1), `-e inject=`.
    #[track_caller]
    pub fn attach(pid: u32, inject: &str) -> Strace {
        let mut command = Command::new("strace");
        command.args(["-p", &pid.to_string(), "-o", "/dev/null", "-e", &format!("inject={inject}")]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("this test needs strace: install the package strace");
        let mut said = String::new();
        BufReader::new(child.stderr.take().expect("piped")).read_line(&mut said).expect("a line");
        assert!(said.contains("attached"), "strace cannot attach to the agent: {said}");
        Strace(child)
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        let _ = kill_process(pid_of(self.0.id()), Signal::TERM);
        let _ = self.0.wait();
    }
}

/// The one child of strace that it started.
#[track_caller]
pub fn traced_by(strace: u32) -> Option<u32> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline && lives(strace) {
        if let [pid] = children_of(strace)[..] {
            return Some(pid);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    None
}

/// Waits until none of these is left.
#[track_caller]
pub fn wait_for_end_of(pids: &[u32]) {
    wait_until("all processes of the killed agent are gone", || !pids.iter().any(|pid| lives(*pid)));
}

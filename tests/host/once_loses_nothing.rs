//! `omsd run --once` is killed at a system call, then at the next, and so on through a whole run; runs that follow are left alone. Whatever a run had read
//! from a sender is delivered, at most one request's worth of it twice. The full-length run tries each call, others some of them.

use crate::harness::{Site, Source, run, temp_dir};
use crate::is_full_length;
use std::collections::HashMap;
use std::process::Command;

/// The calls that change what others see: files, the ring, the network, processes.
const CALLS: &str =
    "openat,write,pwrite64,fdatasync,fsync,rename,renameat,flock,fork,clone,recvmsg,recvmmsg,unlink,close";

#[test]
fn killed_at_any_call_it_leaves_what_it_read() {
    let site = Site::new();
    site.configure(&[Source::UnixDatagram], "");
    site.add_heartbeat();
    let count = calls_of_a_run(&site);
    assert!(count > 50, "{count} calls in a run");
    let steps = if is_full_length() { count } else { 12 };
    for step in 0..steps {
        let call = 1 + step * count / steps;
        let output = killed_at(&site, call);
        assert!(output, "call {call} of {count}");
    }
    // Every wait that a killed run wrote down is over by then.
    for _ in 0..3 {
        let last = run(site.command("run").args(["--once", "--budget", "5"]));
        assert_eq!(last.code(), 0, "{last:?}");
    }
    let (stream, seen) = (site.stream("heartbeat"), site.standin.seen());
    let mut times: HashMap<String, usize> = HashMap::new();
    let beats = seen.items.iter().filter(|item| item.text("Category") == "Agent");
    beats.for_each(|item| *times.entry(item.text("Timestamp").to_owned()).or_default() += 1);
    assert_eq!(stream["pending"], 0, "{stream}");
    let received = stream["received"].as_u64().expect("a number");
    assert_eq!(times.len() as u64, received, "each that was kept is there: {times:?} {stream}");
    // A request that was taken and whose answer nobody remembers is sent again, once for each kill at most.
    let twice: usize = times.values().map(|times| times - 1).sum();
    assert!(twice <= steps, "{twice} of {received} more than once");
    assert_eq!(seen.complaints, [""; 0]);
}

/// How many of these calls a run makes.
fn calls_of_a_run(site: &Site) -> usize {
    let dir = temp_dir();
    let trace = dir.join("trace");
    let output = run(&mut traced(site, &["-o", trace.to_str().expect("a path")]));
    assert_eq!(output.code(), 0, "{output:?}");
    let count = std::fs::read_to_string(&trace).expect("the trace").lines().count();
    let _ = std::fs::remove_dir_all(dir);
    count
}

/// Whether it was killed there or had come to its end before.
fn killed_at(site: &Site, call: usize) -> bool {
    let inject = format!("inject={CALLS}:signal=KILL:when={call}");
    let output = run(&mut traced(site, &["-e", &inject, "-o", "/dev/null"]));
    // 75: what waits has not become less, as little is sent by runs that are killed.
    [0, 75].contains(&output.code()) || std::os::unix::process::ExitStatusExt::signal(&output.status) == Some(9)
}

fn traced(site: &Site, options: &[&str]) -> Command {
    let plain = site.command("run");
    let mut command = Command::new("strace");
    command.args(["-qq", "-e", &format!("trace={CALLS}")]).args(options).arg(plain.get_program());
    command.args(plain.get_args()).args(["--once", "--budget", "5"]).env("TZ", "UTC");
    command
}

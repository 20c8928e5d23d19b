//! What the scenarios beside this look at: an agent in the background, found by its lock file.

use crate::harness::{Output, Site, run, wait_until};
use std::path::Path;
use std::process::Command;

/// The value of a line of the lock file, or of what `--ensure` remembers.
pub fn noted(site: &Site, file: &str, name: &str) -> String {
    let text = std::fs::read_to_string(site.var(file)).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map(str::to_owned).unwrap_or_default()
}

/// Writes another value of the same length or a shorter one over a line of such a file, where it stands.
pub fn forge(path: &Path, name: &str, value: &str) {
    let text = std::fs::read_to_string(path).expect("the file is there");
    let forged = |line: &str| match line.split_once(' ') {
        Some((found, _)) if found == name => format!("{name} {value}\n"),
        _ => format!("{line}\n"),
    };
    let lines: String = text.lines().map(forged).collect();
    let padded = format!("{lines:0$}", text.len());
    let file = std::fs::OpenOptions::new().write(true).open(path).expect("it can be written");
    std::os::unix::fs::FileExt::write_all_at(&file, padded.as_bytes(), 0).expect("it is written");
}

/// The process that has the lock as the lock file says.
pub fn holder(site: &Site) -> u32 {
    noted(site, "lock", "pid").parse().unwrap_or(0)
}

/// Every agent with this root, in the background or one that forgot to end; not their children.
pub fn agents(site: &Site) -> Vec<u32> {
    let root = site.root.to_string_lossy().into_owned();
    let is_ours = |pid: &u32| {
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let has = |wanted: &str| arguments.split(|&byte| byte == 0).any(|argument| argument == wanted.as_bytes());
        has("run") && has(&root)
    };
    let numbers = std::fs::read_dir("/proc").expect("/proc").flatten();
    let ours: Vec<u32> = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_ours).collect();
    ours.iter().copied().filter(|&pid| parent(pid).is_some_and(|parent| !ours.contains(&parent))).collect()
}

/// `None` for a process that has ended.
fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// Sends a signal by its name without SIG.
pub fn signal(pid: u32, name: &str) {
    let sent = Command::new("sh").args(["-c", &format!("kill -s {name} {pid}")]).status();
    assert!(sent.expect("sh runs").success(), "{name} to {pid}");
}

/// Whether a process has not ended.
pub fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// KILLs a process and waits until it is gone.
pub fn kill(pid: u32) {
    signal(pid, "KILL");
    wait_until("a killed process is gone", || !runs(pid));
}

/// `omsd run WAY` with this root.
pub fn run_as(site: &Site, way: &str) -> Output {
    run(site.command("run").arg(way))
}

/// The same, which must succeed without a word.
#[track_caller]
pub fn ensure(site: &Site) {
    let output = run_as(site, "--ensure");
    assert!(output.code() == 0 && output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
}

/// Ends the agent in the background, whatever state a scenario left it in.
pub struct Background<'a>(pub &'a Site);

impl Drop for Background<'_> {
    fn drop(&mut self) {
        for pid in agents(self.0) {
            let _ = Command::new("sh").args(["-c", &format!("kill -s KILL {pid} 2>/dev/null")]).status();
        }
        if std::thread::panicking() {
            eprintln!("{}", std::fs::read_to_string(self.0.var("log")).unwrap_or_default());
        }
    }
}

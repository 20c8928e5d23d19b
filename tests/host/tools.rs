//! Directories that go away, and commands to their end.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub use crate::harness::{copy_program, omsd_bin};

/// A directory of its own, removed when dropped, unless the scenario failed.
pub struct Directory(PathBuf);

impl Directory {
    /// An empty one.
    pub fn new() -> Directory {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        let path = std::env::temp_dir().join(format!("omsd-host-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory for the scenario");
        Directory(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes a file in it, or, if the name ends with a slash, a directory.
    pub fn put(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        if name.ends_with('/') {
            return std::fs::create_dir_all(path).expect("a directory");
        }
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(path, text).expect("a file");
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// What a command printed, standard error behind standard output, and its exit code.
#[derive(Debug)]
pub struct Ran {
    /// The exit code; -1 for a signal.
    pub code: i32,
    /// What it printed.
    pub text: String,
}

/// Runs a command to its end.
#[track_caller]
pub fn run(command: &mut Command) -> Ran {
    let output: Output =
        command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let text = [output.stdout, output.stderr].concat();
    Ran { code: output.status.code().unwrap_or(-1), text: String::from_utf8_lossy(&text).into_owned() }
}

/// The same, and it must succeed.
#[track_caller]
pub fn run_well(command: &mut Command) -> String {
    let ran = run(command);
    assert_eq!(ran.code, 0, "{command:?}:\n{}", ran.text);
    ran.text
}

/// For scripts: a command that must not succeed (`! COMMAND` ends no script), and a process that must end.
const WORDS: &str = "no() { if \"$@\"; then exit 9; fi; }
gone() { n=0; while grep -sqx \"$1\" /proc/[0-9]*/comm; do n=$((n + 1)); test $n -lt 100 || exit 9; sleep 0.1; done; }
";

/// Runs `script` by sh as root of the tree, with processes, mounts and a network of its own: what it starts ends with it.
#[track_caller]
pub fn run_in(tree: &Path, script: &str) -> Ran {
    let enter = "ip link set lo up && mount -t proc proc \"$1/proc\" && exec chroot \"$1\" /bin/sh -euxc \"$2\"";
    run(apart(None, &[], enter).arg(tree).arg(format!("{WORDS}{script}")))
}

/// `enter` by sh, with processes and mounts of its own, and spaces of these kinds; in the network of another process, or one of its own.
/// What it starts ends with it. What is added to the command is `$1` and so on.
pub fn apart(network: Option<u32>, kinds: &[&str], enter: &str) -> Command {
    let mut command = Command::new(if network.is_some() { "nsenter" } else { "unshare" });
    match network {
        Some(process) => command.arg(format!("--net=/proc/{process}/ns/net")).arg("unshare"),
        None => command.arg("--net"),
    };
    command.args(["--mount", "--pid", "--fork", "--kill-child"]).args(kinds).args(["sh", "-c", enter, "sh"]);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

/// Puts a script at `/root/script`, for the host to run once it is up; its last word is `well` if it went well.
pub fn put_script(root: &Path, script: &str) {
    let script = format!("exec >/tmp/said 2>&1\nset -eux\n{WORDS}{script}echo well\n");
    std::fs::write(root.join("root/script"), script).expect("a script");
}

/// Starts a host, until it has made the file `tmp/ended` below its root; what its script said.
#[track_caller]
pub fn boot(host: &mut Command, root: &Path) -> String {
    let mut host =
        host.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a host starts");
    let deadline = Instant::now() + Duration::from_secs(90);
    while !root.join("tmp/ended").exists() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    host.kill().expect("it runs");
    host.wait().expect("it ends");
    std::fs::read_to_string(root.join("tmp/said")).unwrap_or_default()
}

/// `omsd VERB --root ROOT OPTION...`
pub fn omsd(verb: &str, root: &Path, options: &[&str]) -> Command {
    let mut command = Command::new(omsd_bin());
    command.arg(verb).arg("--root").arg(root).args(options);
    command
}

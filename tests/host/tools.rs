//! Directories that go away, and commands to their end.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

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
pub const WORDS: &str = "no() { if \"$@\"; then exit 9; fi; }
gone() { n=0; while grep -sqx \"$1\" /proc/[0-9]*/comm; do n=$((n + 1)); test $n -lt 100 || exit 9; sleep 0.1; done; }
";

/// Runs `script` by sh as root of the tree, with processes, mounts and a network of its own: what it starts ends with it.
#[track_caller]
pub fn run_in(tree: &Path, script: &str) -> Ran {
    let enter = "ip link set lo up && mount -t proc proc \"$1/proc\" && exec chroot \"$1\" /bin/sh -euxc \"$2\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--net", "--fork", "--kill-child", "sh", "-c", enter, "sh"]);
    run(command.arg(tree).arg(format!("{WORDS}{script}")).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"))
}

/// `omsd VERB --root ROOT OPTION...`
pub fn omsd(verb: &str, root: &Path, options: &[&str]) -> Command {
    let mut command = Command::new(omsd_bin());
    command.arg(verb).arg("--root").arg(root).args(options);
    command
}

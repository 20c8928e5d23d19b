//! The program is the only thing in a root directory: no `/proc`, no `/etc`, no library. `omsd check --offline` still has a line for each check, as root and
//! as a user without a name, makes nothing, and `omsd collect-logs` writes its archive and nothing else. Needs root and a static program (`OMSD_BIN`).

use crate::harness::{copy_program, omsd_bin};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A root directory that goes away.
struct Root(PathBuf);

impl Root {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("omsd-alone-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a root directory");
        copy_program(&omsd_bin(), &path.join("omsd"));
        fs::set_permissions(path.join("omsd"), fs::Permissions::from_mode(0o755)).expect("its mode");
        Self(path)
    }

    fn names(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(&self.0).expect("the root");
        entries.map(|entry| entry.expect("a name").file_name().to_string_lossy().into_owned()).collect()
    }

    fn run(&self, user: &str, words: &[&str]) -> Output {
        let mut command = Command::new("chroot");
        command.arg(format!("--userspec={user}")).arg(&self.0).arg("/omsd").args(words);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.output().expect("chroot runs")
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(Path::new(&self.0));
    }
}

#[test]
fn check_has_a_line_for_each_check_in_an_empty_root() {
    let root = Root::new("check");
    for user in ["0:0", "64321:64321"] {
        let output = root.run(user, &["check", "--offline"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.code() == Some(2) && output.stderr.is_empty(), "{output:?}");
        let failed: Vec<&str> =
            text.lines().filter(|line| line.starts_with("FAIL ") || line.starts_with("WARN ")).collect();
        assert!(failed.len() == 2 && failed[0].contains("run.alive") && failed[1].contains("run.supervised"), "{text}");
        let results = text.lines().filter(|line| ["PASS ", "SKIP ", "FAIL "].iter().any(|mark| line.starts_with(mark)));
        assert_eq!(results.count(), 18, "{text}");
        assert_eq!(root.names().len(), 1, "{:?}", root.names());
    }
}

#[test]
fn collect_logs_writes_one_file() {
    let root = Root::new("logs");
    let output = root.run("0:0", &["collect-logs", "-o", "/logs.tar.gz"]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert_eq!(root.names().into_iter().collect::<Vec<_>>(), ["logs.tar.gz", "omsd"]);
    let listed = Command::new("tar").arg("-tzf").arg(root.0.join("logs.tar.gz")).output().expect("tar runs");
    assert!(
        listed.status.success() && String::from_utf8_lossy(&listed.stdout).contains("omsd-logs/check.json\n"),
        "{listed:?}"
    );
    let refused = root.run("64321:64321", &["collect-logs", "-o", "/more.tar.gz"]);
    assert_eq!(refused.status.code(), Some(77), "{refused:?}");
}

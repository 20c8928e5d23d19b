//! What the init systems read: each checked by its own tool, as it is in `conf` and as it is installed.

use crate::tools::{Directory, omsd, run, run_well};
use std::path::Path;
use std::process::Command;

fn conf(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conf").join(name)
}

#[test]
fn the_unit_exposes_little_and_every_line_is_understood() {
    let exposed = run(Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=20"])
        .arg(conf("omsd.service")));
    assert_eq!(exposed.code, 0, "{}", exposed.text);
    // As installed, with a program that is there.
    let tree = Directory::new();
    tree.put("run/systemd/system/", "");
    tree.put("etc/passwd", "root:x:0:0::/:/bin/sh\n");
    run_well(&mut omsd(
        "install",
        tree.path(),
        &["--prefix", tree.path().join("p").to_str().expect("UTF-8"), "--user", "1:1"],
    ));
    let unit = tree.path().join("etc/systemd/system/omsd.service");
    let text = std::fs::read_to_string(&unit).expect("the unit");
    let program = tree.path().join(tree.path().strip_prefix("/").expect("absolute")).join("p/bin/omsd");
    let text = text.replace(&format!("{}/p/bin/omsd", tree.path().display()), &program.display().to_string());
    std::fs::write(&unit, text).expect("the unit");
    let verified = run(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit));
    assert!(verified.code == 0 && !verified.text.contains("omsd.service"), "{}", verified.text);
}

#[test]
fn the_scripts_are_scripts() {
    for (name, shell) in [("omsd.sysv", "sh"), ("omsd.openrc", "sh")] {
        // OpenRC's variables are read by its runner.
        let checked = run(Command::new("shellcheck").args(["-s", shell, "-e", "SC2034,SC1008"]).arg(conf(name)));
        assert_eq!(checked.code, 0, "{}", checked.text);
    }
}

#[test]
fn the_cron_file_is_what_every_cron_reads() {
    let text = std::fs::read_to_string(conf("omsd.cron")).expect("the file");
    assert!(text.ends_with("</dev/null\n"), "the last line ends");
    let jobs: Vec<&str> = text.lines().filter(|line| line.starts_with(['*', '@'])).collect();
    assert_eq!(jobs.len(), 2);
    for job in jobs {
        let command = job.split_once(" root ").expect("who runs it").1;
        assert_eq!(command, "test -x /opt/omsd/bin/omsd && exec /opt/omsd/bin/omsd run --ensure </dev/null");
        assert!(!job.contains('%'), "cron makes a new line of it");
    }
}

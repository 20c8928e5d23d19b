//! On a kernel that has no sandbox, or half of one, the agent runs, delivers, and its status says what is missing. tests/oldkernel/launcher.c makes this
//! kernel one of those; the stage oldkernel of tests/run has more scenarios run so.

use crate::harness::{Omsd, Site, Source, send_over_tcp, temp_dir, wait_until};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

fn launcher() -> &'static PathBuf {
    static LAUNCHER: OnceLock<PathBuf> = OnceLock::new();
    LAUNCHER.get_or_init(|| {
        let (source, program) =
            (concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oldkernel/launcher.c"), temp_dir().join("launcher"));
        let status =
            Command::new("gcc").args(["-O1", "-Wall", "-Wextra", "-Werror", source, "-o"]).arg(&program).status();
        assert!(status.expect("gcc runs: install gcc").success(), "the launcher is compiled");
        program
    })
}

#[track_caller]
fn check(level: &str, privileges: &str, seccomp: &str) {
    let site = Site::new();
    let source = Source::tcp();
    site.configure(&[source], "");
    let plain = site.command("run");
    let mut command = Command::new(launcher());
    command.arg(level).arg(plain.get_program()).args(plain.get_args()).env("TZ", "UTC");
    let omsd = Omsd::spawn(command);
    omsd.wait_for_sources(&[source], &site.socket());
    let _stream = send_over_tcp(source, "<13>Nov 22 20:00:00 web01 app: old but well\n");
    site.wait("the message", |seen| seen.messages().any(|message| message == "old but well"));
    wait_until("the status", || site.var("status").exists());
    let told = &site.status()["sandbox"];
    let landlock = "unsupported (not in this kernel)";
    for (layer, expected) in [("no_new_privs", privileges), ("seccomp", seccomp), ("landlock", landlock)] {
        assert_eq!(told[layer], expected, "{layer} on {level}");
    }
    assert!(omsd.runs());
}

#[test]
fn of_all_layers_before_3_5() {
    check("2.6.32", "unsupported", "unsupported");
    check("3.2", "unsupported", "unsupported");
}

#[test]
fn of_rules_for_files_before_5_13() {
    check("3.10", "on", "on");
    check("4.4", "on", "on");
}

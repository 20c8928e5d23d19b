//! The workspace key is worth hiding. omsd reads it from its argument, a file or standard input, and it is in nothing omsd prints or writes; while omsd
//! runs, its command line (what `ps` shows) does not have it.

use crate::harness::{Omsd, Site, run, wait_until};
use omsd_standin::{Answer, Options, Route};
use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

#[test]
fn the_command_line_is_wiped_while_the_service_thinks() {
    let site = Site::bare(Options::default());
    site.standin.answer_next(Route::Topology, [Answer::default().delayed(Duration::from_secs(1))]);
    let key = &site.standin.options().shared_key;
    let mut omsd = Omsd::spawn(site.onboard_command());
    wait_until("it connects", || site.standin.seen().counts.connections > 0 || !omsd.runs());
    let shown = std::fs::read(format!("/proc/{}/cmdline", omsd.pid())).expect("it still runs");
    let shown = String::from_utf8_lossy(&shown).into_owned();
    assert!(shown.contains("onboard"), "this is its command line: {shown:?}");
    assert!(!shown.contains(key.as_str()), "ps shows the key");
    assert!(omsd.wait_for_end().success(), "{}", omsd.stderr());
    assert!(!(omsd.stdout() + &omsd.stderr()).contains(key.as_str()), "the key is printed");
    expect_key_nowhere(&site, key);
}

#[test]
fn a_key_file_and_standard_input_work_too() {
    let site = Site::bare(Options::default());
    let options = site.standin.options();
    let ca = site.root.join("ca.pem");
    std::fs::write(&ca, site.standin.ca_pem()).expect("the authority");
    let command = |key_file: &str| {
        let mut command = site.command("onboard");
        command.args(["-w", &options.workspace_id, "--endpoint", &site.standin.url(), "--key-file", key_file]);
        command.arg("--ca-file").arg(&ca);
        command
    };
    let file = site.root.join("key");
    std::fs::write(&file, format!("{}\n", options.shared_key)).expect("the key");
    let output = run(&mut command(&file.display().to_string()));
    assert_eq!(output.code(), 0, "{output:?}");
    assert!(!(output.stdout + &output.stderr).contains(&options.shared_key), "the key is printed");
    std::fs::remove_file(file).expect("it was there");

    let mut command = command("-");
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("omsd starts");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(format!("{}\n", options.shared_key).as_bytes()).expect("omsd reads");
    drop(stdin);
    let output = child.wait_with_output().expect("omsd ends");
    assert!(output.status.success(), "{output:?}");
    expect_key_nowhere(&site, &options.shared_key);
    assert_eq!(site.standin.seen().agents.len(), 1);
}

/// No file below the root has the key.
#[track_caller]
fn expect_key_nowhere(site: &Site, key: &str) {
    let output = std::process::Command::new("grep").args(["-rlF", key]).arg(&site.root).output().expect("grep runs");
    assert_eq!(output.status.code(), Some(1), "the key is in {}", String::from_utf8_lossy(&output.stdout));
}

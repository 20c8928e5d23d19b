//! Onboarding that cannot work: a wrong key, a clock that is off, a server of another authority, nobody listening, an unknown name. The exit status and the
//! sentence on stderr tell which; on a fresh host nothing is left behind, and on an onboarded one the working identity stays to the byte.

use crate::harness::{Output, Site, free_port, run};
use omsd_standin::{Answer, Options, Route, Standin};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs the attempt on a fresh root and on an onboarded one.
#[track_caller]
fn check(options: Options, code: i32, says: &str, attempt: impl Fn(&Site) -> Command) {
    let fresh = Site::bare(options.clone());
    expect(&run(&mut attempt(&fresh)), code, says);
    assert_eq!(files(&fresh.etc("")), [], "nothing is left behind on a fresh host");

    let onboarded = Site::with(options);
    let before = files(&onboarded.etc(""));
    assert!(before.len() >= 3, "the identity is there: {before:?}");
    expect(&run(&mut attempt(&onboarded)), code, says);
    assert_eq!(files(&onboarded.etc("")), before, "the working identity is untouched");
}

#[track_caller]
fn expect(output: &Output, code: i32, says: &str) {
    assert_eq!(output.code(), code, "{output:?}");
    assert!(output.stderr.to_lowercase().contains(says), "{says:?} is not in {output:?}");
}

/// Every file below a directory and its bytes.
fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.symlink_metadata() {
            Ok(metadata) if metadata.is_dir() => found.extend(files(&path)),
            Ok(metadata) if metadata.is_file() => {
                found.push((path.clone(), std::fs::read(&path).expect("it can be read")))
            }
            _ => {}
        }
    }
    found.sort();
    found
}

#[test]
fn a_wrong_key_is_refused() {
    check(Options::default(), 69, "shared key", |site| site.onboard_command_with("d3Jvbmc="));
}

#[test]
fn a_clock_that_is_off_is_named() {
    check(Options { clock_offset_s: 3600, ..Options::default() }, 69, "clock", Site::onboard_command);
}

#[test]
fn a_service_in_trouble_is_tried_again_later() {
    let site = Site::bare(Options::default());
    site.standin.answer_always(Route::Topology, Answer::status(503));
    expect(&run(&mut site.onboard_command()), 75, "503");
    assert_eq!(files(&site.etc("")), []);
}

#[test]
fn a_server_of_another_authority_is_refused() {
    let other = Standin::start(Options::default()).expect("a second authority");
    check(Options::default(), 69, "certificate", |site| {
        let command = site.onboard_command();
        std::fs::write(site.root.join("standin-ca.pem"), other.ca_pem()).expect("the wrong authority");
        command
    });
}

#[test]
fn nobody_listening_and_an_unknown_name_are_told_apart() {
    let nobody = format!("https://127.0.0.1:{}", free_port());
    let cases = [(nobody.as_str(), "refused"), ("https://no-such-host.invalid:443", "no-such-host.invalid")];
    for (endpoint, says) in cases {
        check(Options::default(), 75, says, |site| site.onboard_command_at(endpoint));
    }
}

#[test]
fn a_malformed_workspace_or_key_is_a_usage_error() {
    for (workspace, key) in [("not-a-guid", "d3Jvbmc="), ("5f3a1c0e-7b64-4d0e-9c1f-2a6b8d9e4f10", "")] {
        let site = Site::bare(Options::default());
        let output = run(site.command("onboard").args(["-w", workspace, "-s", key]));
        assert_eq!(output.code(), 64, "{output:?}");
        assert_eq!(site.standin.seen().counts.connections, 0);
    }
}

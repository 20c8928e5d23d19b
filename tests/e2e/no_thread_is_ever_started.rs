//! strace watches omsd from its start to its end in all that it does: onboarding, receiving, uploading, failing, telling the service that it is there,
//! in the background, once, checking. It forks its children and nothing else. No clone with CLONE_THREAD, no clone3, no execve after its own.

use crate::harness::{
    Numbered, Omsd, Site, Source, is_old_kernel, run, send_over_tcp, tcp_listens, temp_dir, wait_until,
};
use omsd_standin::{Answer, Options, Route};
use std::process::Command;

/// `meanwhile` is done while it runs, and has it end if it does not do so by itself.
#[track_caller]
fn check(command: &Command, expected_code: i32, forks_min: usize, meanwhile: impl FnOnce()) {
    let dir = temp_dir();
    let trace = dir.join("trace");
    let mut omsd = Omsd::spawn_traced(command, "clone,clone3,fork,vfork,execve", &trace);
    meanwhile();
    assert_eq!(omsd.wait_for_end().code(), Some(expected_code), "{command:?}: {}{}", omsd.stdout(), omsd.stderr());

    let text = std::fs::read_to_string(&trace).expect("the trace");
    let lines_with = |call: &str| text.lines().filter(|line| line.contains(call)).count();
    for of_thread in ["CLONE_THREAD", "CLONE_VM", "clone3(", "vfork("] {
        assert_eq!(lines_with(of_thread), 0, "{command:?}:\n{text}");
    }
    assert!(lines_with("fork(") + lines_with("clone(") >= forks_min, "{command:?}: children were not seen:\n{text}");
    // The launcher and the shell that starts it come before.
    let expected = if is_old_kernel() { 3 } else { 1 };
    assert_eq!(lines_with("execve("), expected, "{command:?}: a program was started:\n{text}");
    let _ = std::fs::remove_dir_all(dir);
}

#[test]
fn only_forks_are_seen() {
    let site = Site::bare(Options::default());
    // By its name, for which a library might want a thread.
    let endpoint = format!("https://localhost:{}", site.standin.address().port());
    check(&site.onboard_command_at(&endpoint), 0, 0, || ());

    let source = Source::tcp();
    site.write_ca(site.standin.ca_pem());
    site.configure(&[source], "");
    site.add_topology_heartbeat();
    site.standin.answer_next(Route::Data, [Answer::status(503)]);
    let stop = || assert_eq!(run(&mut site.command("stop")).code(), 0);
    check(&site.command("run"), 0, 2, || {
        wait_until("it listens", || tcp_listens(source.port()));
        let messages = Numbered::new(1000);
        let _stream = send_over_tcp(source, &messages.lines());
        messages.expect_once_each(&site, |_, _| {});
        site.wait("a topology heartbeat", |seen| seen.requests.iter().any(|request| request.route == Route::Heartbeat));
        stop();
    });
    check(site.command("run").arg("--daemon"), 0, 2, || {
        wait_until("it listens", || tcp_listens(source.port()));
        let _stream = send_over_tcp(source, "<13>Nov 22 20:00:00 web01 app: in the background\n");
        site.wait("the message", |seen| seen.messages().any(|message| message == "in the background"));
        stop();
    });
    site.add_heartbeat();
    check(site.command("run").args(["--once", "--budget", "20"]), 0, 1, || ());
    check(site.command("check").arg("net"), 0, 0, || ());
}

//! A machine that has just booted may not have collected enough for random numbers yet, and whoever asks the kernel for good ones waits. strace watches
//! omsd from its start to a delivery: the process that receives never asks so. Only the upload child may have to wait, and that has a deadline.

use crate::harness::{Numbered, Omsd, Site, Source, send_over_tcp, temp_dir};

#[test]
fn the_process_that_receives_never_waits() {
    let site = Site::new();
    let source = Source::tcp();
    site.configure(&[source], "");
    let dir = temp_dir();
    let trace = dir.join("trace");
    let omsd = Omsd::spawn_traced(&site.command("run"), "getrandom,open,openat", &trace);
    omsd.wait_for_sources(&[source], &site.socket());
    let messages = Numbered::new(10);
    let _stream = send_over_tcp(source, &messages.lines());
    messages.expect_once_each(&site, |_, _| {});
    drop(omsd);

    let text = std::fs::read_to_string(&trace).expect("the trace");
    let process_of = |line: &str| line.split_whitespace().next().map(str::to_owned);
    let receiver = text.lines().next().and_then(process_of);
    let (of_receiver, of_child): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| process_of(line) == receiver);
    // GRND_INSECURE is for tables, and never waits; nor do the eight bytes that glibc's malloc takes. GRND_NONBLOCK otherwise is how AWS-LC finds out
    // whether it would have to.
    let may_wait = |line: &&&str| {
        let asks =
            line.contains("getrandom(") && !line.contains("GRND_INSECURE") && !line.contains(" 8, GRND_NONBLOCK");
        asks || line.contains("\"/dev/random\"")
    };
    assert_eq!(of_receiver.iter().find(may_wait), None);
    assert!(of_child.iter().any(|line| may_wait(&line)), "the upload child asked for no random numbers:\n{text}");
    let _ = std::fs::remove_dir_all(dir);
}

//! strace watches omsd from its start through receiving, uploading, failing and stopping: it forks its upload child and nothing else. No clone with
//! CLONE_THREAD, no clone3, no execve after its own.

use crate::harness::{Numbered, Omsd, Site, Source, temp_dir};
use omsd_standin::{Answer, Route};
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};

#[test]
fn only_forks_are_seen() {
    let site = Site::new();
    let source = Source::tcp();
    site.configure(&[source], "");
    let dir = temp_dir();
    let trace = dir.join("trace");
    let omsd = Omsd::spawn_traced(&site.command("run"), "clone,clone3,fork,vfork,execve", &trace);
    omsd.wait_for_sources(&[source], &site.socket());

    site.standin.answer_next(Route::Data, [Answer::status(503)]);
    let messages = Numbered::new(1000);
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, source.port())).expect("omsd listens");
    stream.write_all(messages.lines().as_bytes()).expect("omsd reads");
    messages.expect_once_each(&site, |_, _| {});
    drop(omsd);

    let text = std::fs::read_to_string(&trace).expect("the trace");
    let (mut forks, mut programs) = (0, 0);
    for line in text.lines() {
        assert!(!line.contains("CLONE_THREAD") && !line.contains("CLONE_VM") && !line.contains("clone3("), "{line}");
        forks += usize::from(line.contains("clone(") || line.contains("fork("));
        programs += usize::from(line.contains("execve("));
    }
    assert!(forks > 0, "the upload child was not seen:\n{text}");
    assert_eq!(programs, 1, "a program was started:\n{text}");
    let _ = std::fs::remove_dir_all(dir);
}

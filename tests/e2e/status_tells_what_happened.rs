//! `omsd status --json` while the daemon runs: what was received and delivered is there as numbers, and what failed, with the reason. Without a daemon
//! it says so. The status file is JSON and is replaced atomically.

use crate::harness::{Numbered, Site, Source, run, wait_until};
use omsd_standin::{Answer, Route};
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};

#[test]
fn received_and_sent_are_counted() {
    let site = Site::new();
    let source = Source::tcp();
    site.configure(&[source], "");
    let _omsd = site.start();
    let messages = Numbered::new(1234);
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, source.port())).expect("omsd listens");
    stream.write_all(messages.lines().as_bytes()).expect("omsd reads");
    messages.expect_once_each(&site, |_, _| {});
    wait_until("all of them in the status", || {
        let stream = &site.status()["streams"][0];
        stream["name"] == "syslog" && stream["received"] == 1235 && stream["sent"] == 1235 && stream["pending"] == 0
    });
    let plain = run(&mut site.command("status"));
    assert!(plain.status.success() && plain.stdout.contains("1235"), "{plain:?}");
}

#[test]
fn a_failing_upload_and_its_reason_are_shown() {
    let site = Site::new();
    let source = Source::tcp();
    site.configure(&[source], "");
    site.standin.answer_always(Route::Data, Answer::status(503));
    let _omsd = site.start();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, source.port())).expect("omsd listens");
    stream.write_all(b"<13>Nov 22 20:00:00 web01 p: x\n").expect("omsd reads");
    wait_until("503 in the status", || {
        let status = site.status();
        let upload = &status["upload"];
        upload["last_status"] == 503
            && !upload["last_reason"].as_str().unwrap_or("").is_empty()
            && status["streams"][0]["pending"] == 1
    });
}

#[test]
fn without_an_agent_that_runs_it_says_so() {
    let site = Site::new();
    let never = run(&mut site.command("status"));
    assert_eq!(never.code(), 75, "{never:?}");
    site.configure(&[Source::tcp()], "");
    let mut omsd = site.start();
    wait_until("it runs", || site.status()["state"] == "running");
    assert!(omsd.terminate().0.success());
    assert_eq!(site.status()["state"], "stopped");
}

//! The upload child dies in the middle of a request: killed from outside, as by the kernel when memory runs out. The daemon lives, says so, forks another,
//! and everything arrives once.

use crate::harness::{Numbered, Site, Source, children_of, wait_until};
use omsd_standin::{Answer, Manner, Route};
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;

#[test]
fn another_child_delivers() {
    let site = Site::new();
    let source = Source::tcp();
    site.configure(&[source], "");
    site.standin.answer_next(Route::Data, [Answer::manner(Manner::Silence { taken: false })]);
    let omsd = site.start();
    let messages = Numbered::new(2000);
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, source.port())).expect("omsd listens");
    stream.write_all(messages.lines().as_bytes()).expect("omsd reads");
    site.wait("a request that hangs", |seen| !seen.requests.is_empty());

    let child = *children_of(omsd.pid()).first().expect("the upload child runs");
    let killed = Command::new("sh").args(["-c", &format!("kill -s KILL {child}")]).status().expect("a shell");
    assert!(killed.success());
    wait_until("the child is reaped", || !std::path::Path::new(&format!("/proc/{child}")).exists());
    messages.expect_once_each(&site, |number, item| messages.rfc3164_fields(number, item));
    assert!(omsd.runs() && omsd.stderr().contains("put off"), "{}", omsd.stderr());
}

//! The service puts off or refuses the records of one kind and takes those of the others: a table that is full, a solution that was removed. The others go
//! on arriving meanwhile, syslog beside a heartbeat that is refused and the other way round; what was put off arrives when it is taken again.

use crate::harness::{Numbered, Site, Source, send_over_tcp, wait_until};
use omsd_standin::{Answer, Refusal, RefuseWhen, Seen};
use std::io::Write;

const POISON: &str = "<13>Nov 22 20:00:00 web01 app: poison\n";
const SYSLOG: &str = "LINUX_SYSLOGS_BLOB";
const HEARTBEAT: &str = "HEALTH_ASSESSMENT_BLOB";
const OPERATION: &str = "OPERATION_BLOB";

#[test]
fn syslog_is_put_off_with_503() {
    check_syslog_put_off(503);
}

#[test]
fn syslog_is_put_off_with_403() {
    check_syslog_put_off(403);
}

#[track_caller]
fn check_syslog_put_off(status: u16) {
    let (site, source) = site_with_heartbeat();
    refuse(&site, SYSLOG, status);
    let omsd = site.start();
    let mut stream = send_over_tcp(source, POISON);
    wait_until("the record that is refused for good", || site.stream("syslog")["refused"] == 1);
    let messages = Numbered::new(500);
    stream.write_all(messages.lines().as_bytes()).expect("omsd reads");
    wait_until("syslog is put off", || site.stream("syslog")["attempts"] == 1);

    let before = count(&site.standin.seen(), HEARTBEAT);
    site.wait("the record of the loss", |seen| count(seen, OPERATION) == 1);
    site.wait("three more heartbeats", |seen| count(seen, HEARTBEAT) >= before + 3);
    assert_eq!(count(&site.standin.seen(), SYSLOG), 0, "it was to be put off");
    assert_eq!(site.stream("syslog")["attempts"], 1, "its wait is not over");

    site.standin.behave();
    omsd.signal("USR1");
    messages.expect_once_each(&site, |_, _| {});
}

#[test]
fn everything_but_syslog_is_put_off() {
    let (site, source) = site_with_heartbeat();
    refuse(&site, HEARTBEAT, 503);
    refuse(&site, OPERATION, 403);
    let omsd = site.start();
    let mut stream = send_over_tcp(source, POISON);
    wait_until("a loss that cannot be told", || site.stream("operation")["attempts"] == 1);
    wait_until("a heartbeat that is put off", || site.stream("heartbeat")["attempts"] == 1);
    let messages = Numbered::new(500);
    stream.write_all(messages.lines().as_bytes()).expect("omsd reads");
    messages.expect_once_each(&site, |_, _| {});
    assert!(site.standin.seen().items.iter().all(|item| item.data_type == SYSLOG), "the rest was to be put off");
    let waiting = site.stream("heartbeat")["pending"].as_u64().unwrap_or(0);
    assert!(waiting >= 1, "they are kept");

    site.standin.behave();
    omsd.signal("USR1");
    site.wait("what waited", |seen| count(seen, OPERATION) == 1 && count(seen, HEARTBEAT) as u64 >= waiting);
}

/// An installation with a heartbeat, where what is put off waits for longer than a scenario lasts, and whose service refuses [`POISON`] for good.
fn site_with_heartbeat() -> (Site, Source) {
    let (site, source) = (Site::new(), Source::tcp());
    site.configure(&[source], "retry_wait 60s\nmax_retry_wait 16m");
    site.add_heartbeat();
    let when = RefuseWhen::Contains(b"poison".to_vec());
    site.standin.refuse(Refusal { when, answer: Answer::status(400) });
    (site, source)
}

fn refuse(site: &Site, data_type: &str, status: u16) {
    let when = RefuseWhen::Contains(format!("{{\"DataType\":\"{data_type}\"").into_bytes());
    site.standin.refuse(Refusal { when, answer: Answer::status(status) });
}

fn count(seen: &Seen, data_type: &str) -> usize {
    seen.items.iter().filter(|item| item.data_type == data_type).count()
}

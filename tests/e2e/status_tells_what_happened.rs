//! `omsd status --json` while the daemon runs: what was received and delivered is there as numbers, and what failed, with the reason. Without a daemon
//! it says so. The status file is JSON and is replaced atomically.

use crate::harness::{Numbered, Site, Source, run, wait_until};
use omsd_standin::serde_json::{self, Value};
use omsd_standin::{Answer, Route};
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};

fn status(site: &Site) -> Value {
    let output = run(site.command("status").arg("--json"));
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// Whether a number stands anywhere in the value.
fn holds(value: &Value, number: u64) -> bool {
    match value {
        Value::Number(found) => found.as_u64() == Some(number),
        Value::Array(values) => values.iter().any(|value| holds(value, number)),
        Value::Object(fields) => fields.values().any(|value| holds(value, number)),
        _ => false,
    }
}

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
    wait_until("1235 received and sent", || holds(&status(&site), 1235));
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
    wait_until("503 in the status", || status(&site).to_string().contains("503"));
}

//! The endpoint is a name, not an address: omsd resolves it itself, for onboarding and for uploads, and the server certificate must be for that name.
//! With `compress false` bodies go as they are.

use crate::harness::{Numbered, Site, Source, run};
use omsd_standin::Options;
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};

#[track_caller]
fn check(site: &Site, keys: &str) {
    let source = Source::tcp();
    site.write_ca(site.standin.ca_pem());
    site.configure(&[source], keys);
    let _omsd = site.start();
    let messages = Numbered::new(1000);
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, source.port())).expect("omsd listens");
    stream.write_all(messages.lines().as_bytes()).expect("omsd reads");
    messages.expect_once_each(site, |number, item| messages.rfc3164_fields(number, item));
}

#[test]
fn a_name_is_resolved() {
    let site = Site::bare(Options::default());
    let endpoint = format!("https://localhost:{}", site.standin.address().port());
    let output = run(&mut site.onboard_command_at(&endpoint));
    assert_eq!(output.code(), 0, "{output:?}");
    check(&site, "");
}

#[test]
fn bodies_go_as_they_are_when_told_so() {
    let site = Site::new();
    check(&site, "compress false");
    let counts = site.standin.seen().counts;
    assert_eq!(counts.wire_bytes, counts.body_bytes);
}

#[test]
fn bodies_are_compressed_unless_told_otherwise() {
    let site = Site::new();
    check(&site, "");
    let counts = site.standin.seen().counts;
    assert!(counts.wire_bytes < counts.body_bytes / 4, "{counts:?}");
}

//! By mistake omsd is started twice with the same root. The second says so and ends with "try again later"; the first goes on unharmed.

use crate::harness::{Numbered, Site, Source, run};
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};

#[test]
fn the_second_ends_and_the_first_goes_on() {
    let site = Site::new();
    let source = Source::tcp();
    site.configure(&[source], "");
    let omsd = site.start();
    let second = run(&mut site.command("run"));
    assert_eq!(second.code(), 75, "{second:?}");
    assert!(second.stderr.contains("another omsd"), "{second:?}");
    assert!(omsd.runs());
    let messages = Numbered::new(100);
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, source.port())).expect("omsd listens");
    stream.write_all(messages.lines().as_bytes()).expect("omsd reads");
    messages.expect_once_each(&site, |number, item| messages.rfc3164_fields(number, item));
}

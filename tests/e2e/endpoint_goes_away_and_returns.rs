//! The service's port is closed for a while, and its connections are cut, in the middle of a stream of messages. When it is back everything
//! arrives once and in order.

use crate::harness::{Numbered, Site, Source};
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};

#[test]
fn nothing_is_lost_while_the_port_is_closed() {
    let site = Site::new();
    let source = Source::tcp();
    site.configure(&[source], "");
    let omsd = site.start();
    let messages = Numbered::new(3000);
    let lines = messages.lines();
    let (before, after) = lines.split_at(lines.len() / 3);
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, source.port())).expect("omsd listens");
    stream.write_all(before.as_bytes()).expect("omsd reads");
    site.wait("the first part", |seen| seen.counts.records > 900);
    site.standin.close();
    stream.write_all(after.as_bytes()).expect("omsd reads");
    omsd.wait_for_stderr("put off"); // it says that it could not deliver
    site.standin.open().expect("the port is still ours");
    messages.expect_once_each(&site, |number, item| messages.rfc3164_fields(number, item));
}

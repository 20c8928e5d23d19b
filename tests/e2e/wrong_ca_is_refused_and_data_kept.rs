//! Somebody stands between omsd and the service with a certificate of another authority. omsd does not send a single request there, says so, and keeps
//! everything; once the right authority is configured all is delivered.

use crate::harness::{Numbered, Site, Source};
use omsd_standin::{Options, Standin};
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};

#[test]
fn no_request_reaches_a_server_of_another_authority() {
    let site = Site::new();
    let other = Standin::start(Options::default()).expect("a second authority");
    site.write_ca(other.ca_pem());
    let source = Source::tcp();
    site.configure(&[source], "");
    let mut omsd = site.start();
    let messages = Numbered::new(500);
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, source.port())).expect("omsd listens");
    stream.write_all(messages.lines().as_bytes()).expect("omsd reads");
    site.wait("two handshakes that omsd broke off", |seen| seen.counts.handshakes_failed >= 2);
    assert_eq!(site.standin.seen().counts.requests, 0);
    omsd.wait_for_stderr("certificate");
    assert!(omsd.terminate().0.success());

    site.write_ca(site.standin.ca_pem());
    let _omsd = site.start();
    messages.expect_once_each(&site, |number, item| messages.rfc3164_fields(number, item));
}

#[test]
fn an_agent_that_the_service_does_not_know_keeps_its_data() {
    let site = Site::new();
    let agent = site.standin.seen().agents.remove(0);
    let source = Source::tcp();
    site.configure(&[source], "");
    let _omsd = site.start();
    let messages = Numbered::new(500);
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, source.port())).expect("omsd listens");
    stream.write_all(messages.lines().as_bytes()).expect("omsd reads");
    site.wait("a request answered 403", |seen| seen.requests.iter().any(|request| request.status == 403));
    site.standin.adopt(agent);
    site.standin.seen().complaints.clear();
    site.wait("a request that is taken", |seen| seen.requests.iter().any(|request| request.taken));
    site.standin.seen().complaints.clear(); // those between the two
    messages.expect_once_each(&site, |number, item| messages.rfc3164_fields(number, item));
}

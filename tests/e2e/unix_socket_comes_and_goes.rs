//! The file of a unix socket goes when omsd stops. One that a kill left is replaced by the next start. When another program puts its own there, as syslog daemons do with
//! /dev/log, omsd says so once, and leaves that alone.

use crate::harness::{Numbered, Omsd, Site, Source, send_over_tcp};
use std::os::unix::net::UnixDatagram;

/// omsd, once it knows which file is its own.
fn started(site: &Site) -> Omsd {
    let omsd = site.start();
    omsd.wait_for_stderr("listens on");
    omsd
}

#[test]
fn a_sockets_file_goes_with_omsd_and_is_replaced_after_a_kill() {
    for source in [Source::UnixDatagram, Source::UnixStream] {
        let site = Site::new();
        site.configure(&[source], "");
        let mut omsd = started(&site);
        assert!(omsd.terminate().0.success() && !site.socket().exists(), "{}", omsd.stderr());
        started(&site).kill();
        assert!(site.socket().exists(), "nobody was there to remove it");
        let mut omsd = started(&site);
        assert!(omsd.terminate().0.success() && !site.socket().exists(), "{}", omsd.stderr());
    }
}

#[test]
fn a_socket_that_another_program_took_is_told_once_and_stays() {
    let site = Site::new();
    let tcp = Source::tcp();
    site.configure(&[Source::UnixDatagram, tcp], "");
    let mut omsd = started(&site);
    std::fs::remove_file(site.socket()).expect("it is there");
    let other = UnixDatagram::bind(site.socket()).expect("in its place");
    let messages = Numbered::new(10);
    drop(send_over_tcp(tcp, &messages.lines()));
    // After an upload the status is written, and the socket looked at.
    omsd.wait_for_stderr("log.sock any more: another program");
    messages.expect_once_each(&site, |_, _| {});
    assert!(omsd.terminate().0.success());
    assert_eq!(omsd.stderr().matches("any more").count(), 1, "{}", omsd.stderr());
    UnixDatagram::unbound().expect("a socket").send_to(b"x", site.socket()).expect("the other's is there");
    assert_eq!(other.recv(&mut [0; 9]).expect("it arrived"), 1);
}

#[test]
fn a_socket_that_was_removed_is_there_again_after_a_reload() {
    let site = Site::new();
    site.configure(&[Source::UnixDatagram], "");
    let omsd = started(&site);
    std::fs::remove_file(site.socket()).expect("it is there");
    omsd.signal("HUP");
    omsd.wait_for_stderr("configuration reloaded");
    let sender = UnixDatagram::unbound().expect("a socket");
    sender.send_to(b"<13>Nov 22 20:00:00 web01 app: after", site.socket()).expect("omsd has it");
    site.wait("the message", |seen| seen.messages().any(|message| message == "after"));
}

//! The administrator edits the configuration and sends SIGHUP. A good one is taken over without a restart, or omsd says on stderr why it cannot; a broken
//! one is named with its line, and the daemon goes on with the old one. Whichever: it keeps running and keeps receiving.

use crate::harness::{Omsd, Site, Source, wait_until};
use std::net::{Ipv4Addr, UdpSocket};

fn send(source: Source, text: &str) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let line = format!("<13>Nov 22 20:00:00 web01 app: {text}");
    socket.send_to(line.as_bytes(), (Ipv4Addr::LOCALHOST, source.port())).expect("it is sent");
}

#[track_caller]
fn expect_alive(site: &Site, omsd: &Omsd, source: Source, text: &str) {
    assert!(omsd.runs(), "omsd ended: {}", omsd.stderr());
    send(source, text);
    site.wait(text, |seen| seen.messages().any(|message| message == text));
}

#[test]
fn a_broken_configuration_is_named_and_not_taken() {
    let site = Site::new();
    let source = Source::udp();
    site.configure(&[source], "");
    let omsd = site.start();
    expect_alive(&site, &omsd, source, "before");
    let good = std::fs::read_to_string(site.conf()).expect("the configuration");
    std::fs::write(site.conf(), good + "\n<source>\n  type no_such_thing\n</source>\n").expect("it is written");
    let said = omsd.stderr().len();
    omsd.signal("HUP");
    wait_until("the fault is named", || omsd.stderr()[said..].contains("no_such_thing"));
    expect_alive(&site, &omsd, source, "after");
}

#[test]
fn a_good_configuration_is_taken_or_the_reason_told() {
    let site = Site::new();
    let source = Source::udp();
    site.configure(&[source], "");
    let omsd = site.start();
    expect_alive(&site, &omsd, source, "before");
    let said = omsd.stderr().len();
    site.configure(&[source], "flush_interval 2s");
    omsd.signal("HUP");
    wait_until("omsd says what it did", || omsd.stderr().len() > said);
    expect_alive(&site, &omsd, source, "after");
}

//! The administrator edits the configuration and sends SIGHUP. A good one is taken over without a restart and without cutting connections that are still
//! wanted; what needs a restart is said. A broken one, or one whose port is taken, is named and the daemon goes on with the old one.

use crate::harness::{Omsd, Site, Source, udp_bound, udp_inode, wait_until};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;

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
    omsd.signal("HUP");
    omsd.wait_for_stderr("no_such_thing");
    omsd.wait_for_stderr("the old one stays in force");
    expect_alive(&site, &omsd, source, "after");
}

#[test]
fn another_source_is_taken_over() {
    let site = Site::new();
    let (old, new) = (Source::udp(), Source::udp());
    site.configure(&[old], "");
    let omsd = site.start();
    expect_alive(&site, &omsd, old, "before");
    site.configure(&[new], "");
    omsd.signal("HUP");
    wait_until("the new port is open and the old one closed", || udp_bound(new.port()) && !udp_bound(old.port()));
    expect_alive(&site, &omsd, new, "after");
}

#[test]
fn a_socket_of_another_kind_takes_the_path_of_the_old_one() {
    let site = Site::new();
    site.configure(&[Source::UnixDatagram], "");
    let omsd = site.start();
    site.configure(&[Source::UnixStream], "");
    omsd.signal("HUP");
    omsd.wait_for_sources(&[Source::UnixStream], &site.socket());
    let mut sender = UnixStream::connect(site.socket()).expect("omsd listens");
    sender.write_all(b"<13>Nov 22 20:00:00 web01 app: after\n").expect("omsd reads");
    site.wait("the message", |seen| seen.messages().any(|message| message == "after"));
}

#[test]
fn a_port_that_is_taken_leaves_the_old_configuration() {
    let site = Site::new();
    let old = Source::udp();
    site.configure(&[old], "");
    let omsd = site.start();
    let socket = udp_inode(old.port());
    let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    site.configure(&[Source::Udp(taken.local_addr().expect("its address").port())], "");
    omsd.signal("HUP");
    omsd.wait_for_stderr("cannot listen");
    expect_alive(&site, &omsd, old, "after");
    assert_eq!(udp_inode(old.port()), socket, "it was never closed");
}

#[test]
fn a_source_that_stays_is_not_closed_while_others_come_and_go() {
    let site = Site::new();
    let (stays, stays_too, goes) = (Source::udp(), Source::tcp(), Source::tcp());
    site.configure(&[goes, stays, stays_too], "");
    let omsd = site.start();
    let connect = |source: Source| TcpStream::connect((Ipv4Addr::LOCALHOST, source.port())).expect("omsd listens");
    let (mut kept, mut closed) = (connect(stays_too), connect(goes));
    for stream in [&mut kept, &mut closed] {
        stream.write_all(b"<13>Nov 22 20:00:00 web01 app: half ").expect("omsd reads");
    }
    expect_alive(&site, &omsd, stays, "before");
    let socket = udp_inode(stays.port());
    let comes = Source::udp();
    site.configure(&[stays_too, comes, stays], "");
    omsd.signal("HUP");
    omsd.wait_for_stderr("configuration reloaded");
    assert_eq!(closed.read(&mut [0]).expect("the end of the connection"), 0);
    kept.write_all(b"and half\n").expect("the connection is still there");
    site.wait("both messages", |seen| {
        ["half and half", "half "].iter().all(|text| seen.messages().any(|message| message == *text))
    });
    expect_alive(&site, &omsd, comes, "after");
    assert_eq!(udp_inode(stays.port()), socket);
}

#[test]
fn a_port_that_is_kept_may_change_its_address() {
    let site = Site::new();
    let source = Source::udp();
    site.configure(&[source], "");
    let omsd = site.start();
    let text = std::fs::read_to_string(site.conf()).expect("the configuration");
    std::fs::write(site.conf(), text.replace("bind 127.0.0.1", "bind 0.0.0.0")).expect("it is written");
    omsd.signal("HUP");
    omsd.wait_for_stderr("configuration reloaded");
    expect_alive(&site, &omsd, source, "after");
}

#[test]
fn what_stood_in_the_way_of_a_new_source_is_open_again_if_another_cannot_be_opened() {
    let site = Site::new();
    let old = Source::udp();
    site.configure(&[old], "");
    let omsd = site.start();
    let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    site.configure(&[old, Source::Udp(taken.local_addr().expect("its address").port())], "");
    let text = std::fs::read_to_string(site.conf()).expect("the configuration");
    let wider = text.replacen("bind 127.0.0.1", "bind 0.0.0.0", 1);
    std::fs::write(site.conf(), wider).expect("it is written");
    omsd.signal("HUP");
    omsd.wait_for_stderr("the old configuration stays in force");
    wait_until("the old port is open again", || udp_bound(old.port()));
    expect_alive(&site, &omsd, old, "after");
}

#[test]
fn connections_stay_and_what_needs_a_restart_is_said() {
    let site = Site::new();
    let source = Source::tcp();
    site.configure(&[source], "");
    let omsd = site.start();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, source.port())).expect("omsd listens");
    stream
        .write_all(b"<13>Nov 22 20:00:00 web01 app: before\n<13>Nov 22 20:00:00 web01 app: half ")
        .expect("omsd reads");
    site.wait("the first message", |seen| seen.messages().any(|message| message == "before"));
    site.configure(&[source], "flush_interval 2s\nbuffer_size 1m");
    omsd.signal("HUP");
    omsd.wait_for_stderr("configuration reloaded");
    assert!(omsd.stderr().contains("restarted"), "buffer_size needs a restart: {}", omsd.stderr());
    stream.write_all(b"and half\n").expect("the connection is still there");
    site.wait("the message begun before", |seen| seen.messages().any(|message| message == "half and half"));
}

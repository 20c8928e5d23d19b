//! The flush interval is ten minutes. A message waits; the administrator sends SIGUSR1; the message is at the service within seconds.

use crate::harness::{Site, Source, wait_until};
use std::net::{Ipv4Addr, UdpSocket};

#[test]
fn a_waiting_message_is_sent() {
    let site = Site::new();
    let source = Source::udp();
    site.configure(&[source], "flush_interval 10m");
    let omsd = site.start();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let to = (Ipv4Addr::LOCALHOST, source.port());
    socket.send_to(b"<13>Nov 22 20:00:00 web01 app: waiting", to).expect("it is sent");
    let ring = site.var("ring");
    wait_until("the message is in the ring", || {
        std::fs::read(&ring).is_ok_and(|bytes| bytes.windows(7).any(|window| window == b"waiting"))
    });
    assert_eq!(site.standin.seen().counts.requests, 0, "nothing is sent before its time");
    omsd.signal("USR1");
    site.wait("the message", |seen| seen.messages().any(|message| message == "waiting"));
}

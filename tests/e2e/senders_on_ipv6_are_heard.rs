//! omsd listens on the IPv6 loopback address, over UDP and TCP at once with IPv4. Every sender is heard.

use crate::harness::{Site, Source, free_port, wait_until};
use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr, TcpStream, UdpSocket};

#[test]
fn over_udp_and_tcp_beside_ipv4() {
    let loopback = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    if !loopback.contains("00000000000000000000000000000001") {
        eprintln!("SKIPPED: this machine has no IPv6");
        return;
    }
    let site = Site::new();
    let (ipv4, udp, tcp) = (Source::udp(), free_port(), free_port());
    site.configure(&[ipv4], "");
    let mut text = std::fs::read_to_string(site.conf()).expect("the configuration");
    for (protocol, port) in [("udp", udp), ("tcp", tcp)] {
        text += &format!(
            "<source>\n  type syslog\n  protocol_type {protocol}\n  bind ::1\n  port {port}\n  tag oms.syslog\n</source>\n"
        );
    }
    std::fs::write(site.conf(), text).expect("it is written");
    let _omsd = site.start();
    wait_until("the other two are open", || crate::harness::udp_bound(udp) && crate::harness::tcp_listens(tcp));

    let line = |text: &str| format!("<13>Nov 22 20:00:00 web01 app: {text}\n");
    let socket = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).expect("a socket");
    socket.send_to(line("udp6").as_bytes(), (Ipv6Addr::LOCALHOST, udp)).expect("it is sent");
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    socket.send_to(line("udp4").as_bytes(), (Ipv4Addr::LOCALHOST, ipv4.port())).expect("it is sent");
    let mut stream = TcpStream::connect((Ipv6Addr::LOCALHOST, tcp)).expect("omsd listens");
    stream.write_all(line("tcp6").as_bytes()).expect("omsd reads");

    site.wait("all three", |seen| {
        ["udp6", "udp4", "tcp6"].iter().all(|text| seen.messages().any(|message| message == *text))
    });
    assert_eq!(site.standin.seen().complaints, [""; 0]);
}

//! The certificate's directory is on a file system that is read-only for the agent. A certificate cannot be renewed there: it says so once, with what to
//! do, and goes on with the old one. When the directory can be written, `omsd onboard --renew` gets a new one, which the running agent uses at once.

use crate::harness::{Omsd, Site, Source, run};
use omsd_standin::{Route, Told};
use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;

#[test]
fn a_read_only_directory_is_said_once_and_data_goes_on() {
    let site = Site::new();
    let source = Source::udp();
    site.configure(&[source], "");
    site.add_topology_heartbeat();
    site.standin.tell(Told { update_certificate: true, query_interval: String::new(), ..Told::default() });
    let before = site.standin.seen().agents[0].certificate.clone();
    let certs = std::fs::canonicalize(site.etc("certs")).expect("certs");
    let plain = site.command("run");
    let script = "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\" && shift && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]).arg(certs);
    let omsd = Omsd::spawn({
        command.arg(plain.get_program()).args(plain.get_args());
        command
    });
    omsd.wait_for_sources(&[source], &site.socket());
    omsd.wait_for_stderr("Read-only file system");
    assert!(omsd.stderr().contains("run omsd onboard --renew as root"), "{}", omsd.stderr());
    expect_delivery(&site, source, "with the old one");
    let beats =
        |seen: &omsd_standin::Seen| seen.requests.iter().filter(|request| request.route == Route::Heartbeat).count();
    site.wait("more heartbeats", |seen| beats(seen) >= 4);
    assert_eq!(omsd.stderr().matches("Read-only").count(), 1, "{}", omsd.stderr());
    assert_eq!(site.standin.seen().agents[0].certificate, before);

    // By hand, where it is not read-only.
    let output = run(site.command("onboard").arg("--renew").arg("--ca-file").arg(site.etc("ca.pem")));
    assert_eq!(output.code(), 0, "{output:?}");
    assert_ne!(site.standin.seen().agents[0].certificate, before);
    expect_delivery(&site, source, "with the new one");
    assert_eq!(site.standin.seen().complaints, [""; 0]);
}

fn expect_delivery(site: &Site, source: Source, text: &str) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let line = format!("<13>Nov 22 20:00:00 web01 app: {text}");
    socket.send_to(line.as_bytes(), (Ipv4Addr::LOCALHOST, source.port())).expect("it is sent");
    site.wait(text, |seen| seen.messages().any(|message| message == text));
}

//! The host reaches the service only through a proxy that wants a name and a password. `omsd onboard` is told which, uses it and keeps it in proxy.conf, for its
//! owner's eyes; the daemon uploads through it. A wrong password is told as the proxy's refusal.

use crate::harness::{Proxy, Site, Source, mode, run};
use omsd_standin::Options;
use std::net::{Ipv4Addr, UdpSocket};

#[test]
fn onboarding_and_uploads() {
    let proxy = Proxy::start("Basic dXNlcjpwYXNz"); // user:pass
    let site = Site::bare(Options::default());
    // Not by `-p`: ps would show that until omsd has wiped it.
    let setting = format!("http://user:pass@127.0.0.1:{}", proxy.port);
    let output = run(site.onboard_command().env("OMSD_PROXY", &setting));
    assert_eq!(output.code(), 0, "{output:?}");
    let connect = format!("CONNECT {} HTTP/1.1", site.standin.address());
    assert_eq!(proxy.asked(), [connect.as_str()]);
    // Of root's, the directory's group may read: it is that of the agent's account.
    let expected = if rustix::process::geteuid().is_root() { 0o640 } else { 0o600 };
    assert_eq!(mode(&site.etc("proxy.conf")), expected);
    assert!(!(output.stdout + &output.stderr).contains("pass"), "the password is printed");

    let source = Source::udp();
    site.write_ca(site.standin.ca_pem());
    site.configure(&[source], "");
    let omsd = site.start();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let to = (Ipv4Addr::LOCALHOST, source.port());
    socket.send_to(b"<13>Nov 22 20:00:00 web01 app: through", to).expect("it is sent");
    site.wait("the message", |seen| seen.messages().any(|message| message == "through"));
    assert_eq!(proxy.asked().len() as u64, site.standin.seen().counts.connections, "no connection went past the proxy");
    assert!(!omsd.stderr().contains("pass"), "the password is in the log");
}

#[test]
fn a_wrong_password_is_the_proxys_refusal() {
    let proxy = Proxy::start("Basic dXNlcjpwYXNz");
    let site = Site::bare(Options::default());
    let setting = format!("http://user:wrong@127.0.0.1:{}", proxy.port);
    let output = run(site.onboard_command().args(["-p", &setting]));
    assert_eq!(output.code(), 75, "{output:?}");
    assert!(output.stderr.contains("proxy") && output.stderr.contains("407"), "{output:?}");
    assert!(!output.stderr.contains("wrong"), "the password is printed");
    assert_eq!(site.standin.seen().counts.connections, 0);
}

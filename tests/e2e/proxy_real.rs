//! The host reaches the service only through a proxy: squid or tinyproxy, with and without a password, with and without TLS to the proxy itself. Data
//! arrives by it alone. A proxy that refuses, is dead, slow, lying or of the other scheme is told with what to do, nothing goes past it, and the password
//! is in no log, status or command line.

use crate::harness::authority::{AUTHORITY, Certificates, Kind, SERVER};
use crate::harness::{Omsd, Server, Site, at_the_same_time, children_of, free_port, run, wait_for, wait_until};
use omsd_standin::{Answer, Options, Route};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

const USER: &str = "web\\01";
const PASSWORD: &str = "s3cr@t:/%";
/// Both as they are written into a setting, and as they travel.
const WRITTEN: &str = "web%5C01:s3cr%40t:%2F%25";
const BASIC: &str = "d2ViXDAxOnMzY3JAdDovJQ==";
/// A proxy may take as long as a connection.
const TOLD_WITHIN: Duration = Duration::from_secs(50);

/// A proxy, the setting with `PORT` in place of its port, more keys, and what comes of it.
struct Row {
    proxy: Proxy,
    setting: String,
    keys: &'static str,
    expected: Expected,
}

enum Proxy {
    Squid {
        tls: Option<&'static str>,
        password: bool,
        rules: &'static str,
    },
    Tinyproxy(&'static str),
    /// One that says this, and no more, to whoever asks.
    Liar(&'static [u8]),
    Silent,
    Dead,
}

enum Expected {
    /// Data arrives by the proxy.
    Through,
    /// Data arrives without it.
    Past,
    /// Nothing arrives, for this reason.
    Refused(&'static str),
}

#[test]
fn each_way_through_a_proxy_or_why_there_is_none() {
    use Expected::{Past, Refused, Through};
    let made = Certificates::new();
    made.make("root", "root", &Kind { extensions: AUTHORITY, ..SERVER });
    made.make("proxy", "root", &SERVER);
    made.make("elsewhere", "root", &Kind { extensions: "subjectAltName=DNS:elsewhere.example", ..SERVER });
    made.make("stranger", "stranger", &SERVER);
    let made = Arc::new(made);
    let squid = |tls, password| Proxy::Squid { tls, password, rules: "" };
    let row = |name, proxy, setting: &str, expected| {
        (name, (made.clone(), Row { proxy, setting: setting.replace("KNOWN", WRITTEN), keys: "", expected }))
    };
    let tiny = || Proxy::Tinyproxy("BasicAuth user tinysecret");
    let (plain, tls) = (|| squid(None, false), |name| squid(Some(name), false));
    let not_tls = "does not speak TLS";
    let mut rows = vec![
        row("squid", plain(), "http://127.0.0.1:PORT", Through),
        row("squid, as people write it", plain(), "  localhost:PORT/\r\n", Through),
        row("squid wants a password", squid(None, true), "http://KNOWN@127.0.0.1:PORT", Through),
        row("squid wants a password, none is set", squid(None, true), "127.0.0.1:PORT", Refused("(407)")),
        row(
            "squid wants another password",
            squid(None, true),
            "http://web%5C01:wrong@127.0.0.1:PORT",
            Refused("(407): write them as user:password@"),
        ),
        row("squid with TLS", tls("proxy"), "https://localhost:PORT", Through),
        row("squid with TLS and a password", squid(Some("proxy"), true), "https://KNOWN@localhost:PORT/", Through),
        row(
            "squid with TLS of another name",
            tls("elsewhere"),
            "https://KNOWN@localhost:PORT",
            Refused("is for another name"),
        ),
        row(
            "squid with TLS of a stranger",
            tls("stranger"),
            "https://KNOWN@localhost:PORT",
            Refused("signed the certificate of the proxy localhost:"),
        ),
        row("https for squid without TLS", plain(), "https://KNOWN@localhost:PORT", Refused(not_tls)),
        row(
            "http for squid with TLS",
            tls("proxy"),
            "http://localhost:PORT",
            Refused("and write https:// if it wants TLS"),
        ),
        row(
            "squid forbids it",
            Proxy::Squid {
                tls: None,
                password: false,
                rules: "acl all_ports port 1-65535\nhttp_access deny CONNECT all_ports\n",
            },
            "127.0.0.1:PORT",
            Refused("refuses to connect to the server (403): have it allowed there"),
        ),
        row("tinyproxy", Proxy::Tinyproxy(""), "http://127.0.0.1:PORT", Through),
        row("tinyproxy by IPv6", Proxy::Tinyproxy("Listen ::1"), "http://[::1]:PORT/", Through),
        row("tinyproxy wants a password", tiny(), "user:tinysecret@127.0.0.1:PORT", Through),
        row("tinyproxy wants a password, none is set", tiny(), "127.0.0.1:PORT", Refused("(407)")),
        row("tinyproxy allows another port", Proxy::Tinyproxy("ConnectPort 443"), "127.0.0.1:PORT", Refused("(403)")),
        row("https for tinyproxy", Proxy::Tinyproxy(""), "https://localhost:PORT", Through),
        row(
            "https for tinyproxy, with a password",
            tiny(),
            "https://user:tinysecret@localhost:PORT",
            Refused("one without TLS is written http://"),
        ),
        row(
            "dead",
            Proxy::Dead,
            "http://KNOWN@127.0.0.1:PORT",
            Refused("was not reached (127.0.0.1: Connection refused): check the proxy setting"),
        ),
        row("silent", Proxy::Silent, "http://KNOWN@127.0.0.1:PORT", Refused("waited too long for the proxy")),
        row(
            "silent, https",
            Proxy::Silent,
            "https://KNOWN@127.0.0.1:PORT",
            Refused("one without TLS is written http://"),
        ),
        row(
            "greets by another protocol",
            Proxy::Liar(b"220 mail.example ESMTP\r\n\r\n"),
            "127.0.0.1:PORT",
            Refused("is no HTTP proxy"),
        ),
        row("says nothing and closes", Proxy::Liar(b""), "127.0.0.1:PORT", Refused("is no HTTP proxy")),
        row(
            "connects to nothing",
            Proxy::Liar(b"HTTP/1.1 200 OK\r\n\r\n"),
            "127.0.0.1:PORT",
            Refused("the connection was closed before the answer"),
        ),
        row(
            "cannot reach the server",
            Proxy::Liar(b"HTTP/1.1 503 Unavailable\r\n\r\n<html>"),
            "127.0.0.1:PORT",
            Refused("could not reach the server (503)"),
        ),
        row(
            "sends us elsewhere",
            Proxy::Liar(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/login\r\n\r\n"),
            "127.0.0.1:PORT",
            Refused("(302)"),
        ),
        row(
            "a setting that is none",
            Proxy::Dead,
            "http://web%5C01@127.0.0.1:PORT",
            Refused("credentials are not user:password"),
        ),
        row("no_proxy has the server", Proxy::Dead, "http://KNOWN@127.0.0.1:PORT", Past),
        row("no_proxy has another", plain(), "http://127.0.0.1:PORT", Through),
    ];
    let count = rows.len();
    rows[count - 2].1.1.keys = "no_proxy example.com, 127.0.0.0/8";
    rows[count - 1].1.1.keys = "no_proxy example.com 10.0.0.0/8";
    at_the_same_time(rows, check);
}

fn check((made, row): (Arc<Certificates>, Row)) {
    let server = match row.proxy {
        Proxy::Squid { tls, password, rules } => {
            let files = tls.map(|name| (made.certificate(name), made.key(name)));
            let tls = files.as_ref().map(|(certificate, key)| (certificate.as_path(), key.as_path()));
            Ok(Server::squid(tls, password.then_some((USER, PASSWORD)), rules))
        }
        Proxy::Tinyproxy(lines) => Ok(Server::tinyproxy(lines)),
        Proxy::Liar(says) => Err(liar(Some(says))),
        Proxy::Silent => Err(liar(None)),
        Proxy::Dead => Err(free_port()),
    };
    let port = server.as_ref().map_or_else(|port| *port, |server| server.port);
    let site = Site::new();
    site.write_ca(&(made.bundle(&["root"]) + site.standin.ca_pem()));
    std::fs::write(site.etc("proxy.conf"), row.setting.replace("PORT", &port.to_string())).expect("proxy.conf");
    site.configure(&[], row.keys);
    site.add_heartbeat();
    let omsd = site.start();
    let connections = || site.standin.seen().counts.connections;
    match row.expected {
        Expected::Refused(reason) => {
            wait_for(TOLD_WITHIN, "it is said why", || omsd.stderr().contains("put off"));
            assert!(omsd.stderr().contains(reason), "{reason:?} is not in {}", omsd.stderr());
            wait_until("the status says so, too", || {
                site.status()["upload"]["last_reason"].as_str().is_some_and(|told| told.contains(reason))
            });
            assert_eq!(connections(), 0, "something went past the proxy");
        }
        Expected::Through | Expected::Past => {
            wait_until("data arrives", || site.standin.seen().counts.taken > 0 || omsd.stderr().contains("put off"));
            assert!(!omsd.stderr().contains("put off"), "{}", omsd.stderr());
            if let Ok(server) = &server {
                let asked = || {
                    server.file("access").matches("CONNECT 127.0.0.1:").count()
                        + server.output().matches("Request (file descriptor").count()
                };
                wait_until("the proxy has noted it", || asked() as u64 >= connections());
            }
        }
    }
    expect_no_password(&site, &omsd);
}

#[track_caller]
fn expect_no_password(site: &Site, omsd: &Omsd) {
    let status = run(&mut site.command("status"));
    let json = run(site.command("status").arg("--json"));
    let mut shown = vec![omsd.stdout(), omsd.stderr(), status.stdout, status.stderr, json.stdout];
    for pid in children_of(omsd.pid()).into_iter().chain([omsd.pid()]) {
        for file in ["cmdline", "environ"] {
            shown.push(
                String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default()).into_owned(),
            );
        }
    }
    for secret in [PASSWORD, WRITTEN, BASIC, "s3cr", "tinysecret", "web%5C01", USER] {
        assert!(shown.iter().all(|text| !text.contains(secret)), "{secret} is shown in {shown:?}");
    }
}

/// Says this to everybody; nothing if there is nothing to say, and then it does not end either.
fn liar(says: Option<&'static [u8]>) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("it has one").port();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let _ = client.read(&mut [0; 4096]);
                match says {
                    Some(says) => drop(client.write_all(says)),
                    None => while matches!(client.read(&mut [0; 4096]), Ok(1..)) {},
                }
            });
        }
    });
    port
}

#[test]
fn onboarding_speaks_tls_to_the_proxy_and_hides_its_password_from_ps() {
    let made = Certificates::new();
    made.make("root", "root", &Kind { extensions: AUTHORITY, ..SERVER });
    made.make("proxy", "root", &SERVER);
    let squid = Server::squid(Some((&made.certificate("proxy"), &made.key("proxy"))), Some((USER, PASSWORD)), "");
    let site = Site::bare(Options::default());
    let bundle = site.root.join("both.pem");
    std::fs::write(&bundle, made.bundle(&["root"])).expect("the authority");
    site.standin.answer_next(Route::Topology, [Answer::default().delayed(Duration::from_secs(1))]);
    let setting = format!("https://{WRITTEN}@localhost:{}", squid.port);
    let mut command = site.onboard_command();
    command.args(["-p", &setting]).env("SSL_CERT_FILE", &bundle);
    let mut omsd = Omsd::spawn(command);
    wait_until("it connects", || site.standin.seen().counts.connections > 0 || !omsd.runs());
    let shown = std::fs::read(format!("/proc/{}/cmdline", omsd.pid())).expect("it still runs");
    let shown = String::from_utf8_lossy(&shown).into_owned();
    assert!(shown.contains("onboard") && !shown.contains("s3cr"), "ps shows the password: {shown}");
    assert!(omsd.wait_for_end().success(), "{}", omsd.stderr());
    assert!(!(omsd.stdout() + &omsd.stderr()).contains("s3cr"), "the password is printed");
    assert_eq!(std::fs::read_to_string(site.etc("proxy.conf")).expect("it is kept"), setting);
    wait_until("squid has noted it", || squid.file("access").contains("CONNECT 127.0.0.1:"));

    let dead = format!("http://127.0.0.1:{}", free_port());
    let mut command = site.onboard_command();
    let output = run(command.args(["-p", &dead, "--no-proxy", "127.0.0.1"]));
    assert_eq!(output.code(), 0, "{output:?}");
    let mut command = site.onboard_command();
    let output = run(command.args(["--no-proxy", "10.0.0.0/99"]));
    assert_eq!(output.code(), 64, "{output:?}");
}

#[test]
fn the_environments_proxies_are_not_looked_at() {
    let site = Site::new();
    site.configure(&[], "");
    site.add_heartbeat();
    let mut command = site.command("run");
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env(name, format!("http://127.0.0.1:{}", free_port()));
    }
    let omsd = Omsd::spawn(command);
    wait_until("data arrives", || site.standin.seen().counts.taken > 0 || omsd.stderr().contains("put off"));
    assert!(!omsd.stderr().contains("put off"), "{}", omsd.stderr());
}

//! Shell scripts log with logger(1): to a UDP port, to a TCP port with and without octet counts, and to a unix socket of either kind, in the old
//! format and in RFC 5424. Every line reaches the service once, in order, with its tag, facility and severity.

use crate::harness::{Numbered, Site, Source, logger};

#[track_caller]
fn check(source: Source, count: usize, options: &[&str]) {
    let site = Site::new();
    site.configure(&[source], "");
    let _omsd = site.start();
    let socket = site.socket().display().to_string();
    let (target, value) = match source {
        Source::Udp(port) | Source::Tcp(port) => ("-P", port.to_string()),
        Source::UnixDatagram | Source::UnixStream => ("-u", socket),
    };
    let server: &[&str] = if target == "-P" { &["-n", "127.0.0.1"] } else { &[] };
    let messages = Numbered::new(count);
    let arguments = [server, &[target, &value, "-t", "backup", "-p", "local3.warning"], options].concat();
    logger(&arguments, &messages.texts());
    messages.expect_once_each(&site, |_, item| {
        assert_eq!(item.text("ident"), "backup", "{item:?}");
        assert_eq!(item.text("Facility"), "local3", "{item:?}");
        assert_eq!(item.text("Severity"), "warn", "{item:?}");
        assert!(!item.text("Host").is_empty(), "{item:?}");
    });
}

#[test]
fn to_udp_in_rfc5424() {
    check(Source::udp(), 3000, &["-d", "--rfc5424=notq"]);
}

#[test]
fn to_udp_in_rfc3164() {
    check(Source::udp(), 3000, &["-d", "--rfc3164"]);
}

#[test]
fn to_tcp_with_newlines() {
    check(Source::tcp(), 3000, &["-T", "--rfc3164"]);
}

#[test]
fn to_tcp_with_newlines_in_rfc5424() {
    check(Source::tcp(), 3000, &["-T", "--rfc5424=notq"]);
}

#[test]
fn to_tcp_with_octet_counts() {
    check(Source::tcp(), 3000, &["-T", "--octet-count", "--rfc5424=notq"]);
}

#[test]
fn to_a_unix_datagram_socket() {
    check(Source::UnixDatagram, 3000, &["-d"]);
}

#[test]
fn to_a_unix_datagram_socket_in_rfc5424() {
    check(Source::UnixDatagram, 3000, &["-d", "--rfc5424=notq"]);
}

#[test]
fn to_a_unix_stream_socket() {
    check(Source::UnixStream, 3000, &["-T"]);
}

#[test]
fn with_its_own_process_id() {
    let site = Site::new();
    site.configure(&[Source::UnixDatagram], "");
    let _omsd = site.start();
    let socket = site.socket().display().to_string();
    let messages = Numbered::new(10);
    logger(&["-d", "-u", &socket, "-t", "cron", "--id=4711"], &messages.texts());
    messages.expect_once_each(&site, |_, item| {
        assert_eq!(item.text("ProcessId"), "4711", "{item:?}");
        assert_eq!(item.text("ident"), "cron", "{item:?}");
        assert_eq!(item.text("Facility"), "user", "{item:?}");
        assert_eq!(item.text("Severity"), "notice", "{item:?}");
    });
}

#[test]
fn structured_data_and_msgid_are_kept_in_front_of_the_text() {
    let site = Site::new();
    let source = Source::udp();
    site.configure(&[source], "");
    let _omsd = site.start();
    let port = source.port().to_string();
    let data = ["--rfc5424=notq", "--msgid", "TCPIN", "--sd-id", "zoo@123", "--sd-param", "tiger=\"hungry\""];
    logger(&[&["-n", "127.0.0.1", "-P", &port, "-d", "-t", "keeper"][..], &data].concat(), "feed them\n");
    site.wait("the message", |seen| {
        seen.messages().any(|message| message == "TCPIN [zoo@123 tiger=\"hungry\"] feed them")
    });
}

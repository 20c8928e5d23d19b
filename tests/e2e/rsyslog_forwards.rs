//! A program logs to rsyslog; rsyslog forwards to omsd over UDP, over TCP with both framings of RFC 6587, and with its RFC 5424 template.
//! Every message reaches the service once, in order, with host, ident, process id, facility, severity and text.

use crate::harness::{Numbered, Rsyslog, Site, Source};

#[track_caller]
fn check(source: Source, count: usize, options: &str) {
    let site = Site::new();
    site.configure(&[source], "");
    let _omsd = site.start();
    let protocol = if matches!(source, Source::Udp(_)) { "udp" } else { "tcp" };
    let action = format!(
        "action(type=\"omfwd\" target=\"127.0.0.1\" port=\"{}\" protocol=\"{protocol}\" {options})",
        source.port()
    );
    let rsyslog = Rsyslog::start(&action);
    let messages = Numbered::new(count);
    rsyslog.send(&messages.lines());
    messages.expect_once_each(&site, |number, item| messages.rfc3164_fields(number, item));
}

#[test]
fn over_udp() {
    check(Source::udp(), 3000, "");
}

#[test]
fn over_tcp_with_newlines() {
    check(Source::tcp(), 5000, "TCP_Framing=\"traditional\"");
}

#[test]
fn over_tcp_with_octet_counts() {
    check(Source::tcp(), 5000, "TCP_Framing=\"octet-counted\"");
}

#[test]
fn in_rfc5424_over_tcp() {
    check(Source::tcp(), 5000, "template=\"RSYSLOG_SyslogProtocol23Format\" TCP_Framing=\"octet-counted\"");
}

#[test]
fn in_rfc5424_over_udp() {
    check(Source::udp(), 3000, "template=\"RSYSLOG_SyslogProtocol23Format\"");
}

#[test]
fn with_iso_timestamps() {
    check(Source::tcp(), 3000, "template=\"RSYSLOG_ForwardFormat\"");
}

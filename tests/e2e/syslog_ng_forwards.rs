//! A program logs to syslog-ng; syslog-ng forwards to omsd with its network() driver (RFC 3164) and its syslog() driver (RFC 5424, octet counts over TCP).
//! Every message reaches the service once, in order, with host, ident, process id, facility, severity and text.

use crate::harness::{Numbered, Site, Source, SyslogNg};

#[track_caller]
fn check(source: Source, count: usize, driver: &str) {
    let site = Site::new();
    site.configure(&[source], "");
    let _omsd = site.start();
    let transport = if matches!(source, Source::Udp(_)) { "udp" } else { "tcp" };
    let destination = format!("{driver}(\"127.0.0.1\" port({}) transport(\"{transport}\"))", source.port());
    let syslog_ng = SyslogNg::start(&destination);
    let messages = Numbered::new(count);
    syslog_ng.send(&messages.lines());
    messages.expect_once_each(&site, |number, item| messages.rfc3164_fields(number, item));
}

#[test]
fn network_driver_over_tcp() {
    check(Source::tcp(), 5000, "network");
}

#[test]
fn network_driver_over_udp() {
    check(Source::udp(), 3000, "network");
}

#[test]
fn syslog_driver_over_tcp() {
    check(Source::tcp(), 5000, "syslog");
}

#[test]
fn syslog_driver_over_udp() {
    check(Source::udp(), 3000, "syslog");
}

//! omsd sends rows by the Logs Ingestion API to a service that knows the rule's stream declarations from `conf/azure`, and takes no row with a
//! column that is not declared there, or of another type. Every kind of record arrives in its stream, each message once and in order, gzip'd, in
//! requests of at most a million bytes before that.

use crate::harness::{Numbered, Site, Source, run, send_over_tcp, wait_until};
use omsd_standin::azure::streams_of;
use omsd_standin::{Options, Route};
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::process::Stdio;

#[test]
fn every_kind_of_record_arrives_in_its_stream() {
    let site = Site::bare(Options::default());
    let source = Source::tcp();
    site.configure_rows(&[source], "");
    site.add_heartbeat();
    let conf = std::fs::read_to_string(site.conf()).expect("omsd.conf");
    let perf = "<source>\n  type oms_omi\n  object_name Processor\n  interval 1s\n</source>\n";
    std::fs::write(site.conf(), perf.to_owned() + &conf).expect("omsd.conf is written");
    let omsd = site.start();
    let _stream = send_over_tcp(source, "<86>Nov 22 20:00:00 web01 sshd[812]: Accepted \"key\"\n");
    site.wait("a row of each kind", |seen| {
        ["Custom-HostSyslog", "Custom-HostPerf", "Custom-HostHeartbeat"]
            .iter()
            .all(|name| seen.rows_of(name).next().is_some())
    });
    let seen = site.standin.seen();
    let row = seen.rows_of("Custom-HostSyslog").next().expect("a row");
    for (column, expected) in [
        ("Computer", "web01"),
        ("HostName", "web01"),
        ("Facility", "authpriv"),
        ("SeverityLevel", "info"),
        ("ProcessName", "sshd"),
        ("SyslogMessage", "Accepted \"key\""),
        ("SourceSystem", "Linux"),
    ] {
        assert_eq!(row.text(column), expected, "{column}");
    }
    assert_eq!(row.fields["ProcessID"], 812);
    assert!(row.text("EventTime").ends_with("-11-22T20:00:00.000Z"), "{row:?}");
    let value = seen.rows_of("Custom-HostPerf").next().expect("a value");
    assert_eq!((value.text("ObjectName"), value.fields["CounterValue"].is_number()), ("Processor", true));
    assert_eq!(seen.rows_of("Custom-HostHeartbeat").next().expect("a heartbeat").text("OSType"), "Linux");
    assert_eq!(seen.complaints, [""; 0]);
    assert_eq!(seen.requests_of(Route::Token).count(), 1, "one token serves all");
    drop(seen);
    assert!(!omsd.stderr().contains("warn"), "{}", omsd.stderr());
}

#[test]
fn many_messages_arrive_once_in_order_and_in_bounded_requests() {
    const COUNT: usize = 20_000;
    let site = Site::bare(Options { marker: "seq=".to_owned(), ..Options::default() });
    let source = Source::tcp();
    site.configure_rows(&[source], "");
    let omsd = site.start();
    let messages = Numbered::new(COUNT);
    let _stream = send_over_tcp(source, &messages.lines());
    site.wait("all messages", |seen| seen.numbers.unique() == COUNT as u64);
    wait_until("all is acknowledged", || site.stream("syslog")["pending"] == 0);
    let seen = site.standin.seen();
    let texts = seen.rows_of("Custom-HostSyslog").map(|row| row.text("SyslogMessage"));
    assert!(texts.enumerate().take(COUNT).all(|(number, text)| text == messages.text(number)), "out of order");
    assert_eq!((seen.numbers.duplicates(), seen.complaints.len()), (0, 0), "{:?}", seen.complaints);
    for request in seen.requests_of(Route::Rows) {
        assert!(request.body_bytes <= 1_000_000 && request.wire_bytes * 4 < request.body_bytes, "{request:?}");
    }
    assert!(seen.requests_of(Route::Rows).any(|request| request.body_bytes > 900_000), "no request was full");
    assert!(omsd.runs());
}

#[test]
fn cef_events_have_the_columns_of_the_security_table() {
    let site = Site::bare(Options::default());
    site.standin.azure(|azure| azure.streams = streams_of(include_str!("../../conf/azure/security.json")));
    let source = Source::tcp();
    site.configure_rows(&[source], "syslog_stream Custom-HostCef\nsyslog_table CommonSecurityLog");
    let _omsd = site.start();
    let event = "CEF:0|Vendor|Pro\\|duct|1.0|100|a name|7|src=10.0.0.1 spt=1232 msg=two words act=blocked \\= no own=x";
    let _stream =
        send_over_tcp(source, &format!("<13>Nov 22 20:00:00 fw1 {event}\n<13>Nov 22 20:00:00 fw1 app: text\n"));
    site.wait("both rows", |seen| seen.rows.len() == 2);
    let seen = site.standin.seen();
    let row = &seen.rows[0];
    for (column, expected) in [
        ("Computer", "fw1"),
        ("DeviceVendor", "Vendor"),
        ("DeviceProduct", "Pro|duct"),
        ("Activity", "a name"),
        ("LogSeverity", "7"),
        ("SourceIP", "10.0.0.1"),
        ("Message", "two words"),
        ("DeviceAction", "blocked = no"),
        ("AdditionalExtensions", "own=x"),
    ] {
        assert_eq!(row.text(column), expected, "{column}");
    }
    assert_eq!(row.fields["SourcePort"], 1232);
    assert_eq!(seen.rows[1].text("Message"), "app: text");
    assert_eq!(seen.complaints, [""; 0]);
}

/// `omsd render --as ingestion` prints the row that is sent.
#[test]
fn render_prints_the_row() {
    let mut child = crate::harness::command();
    child
        .args(["render", "--as", "ingestion", "--now", "2026-11-22T20:00:01Z"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = child.spawn().expect("omsd runs");
    child.stdin.take().expect("piped").write_all(b"<12>Nov 22 20:00:00 web01 app[7]: text\n").expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.starts_with(
            r#"{"TimeGenerated":"2026-11-22T20:00:01.000Z","EventTime":"2026-11-22T20:00:00.000Z","Computer":"web01","#
        ) && text.contains(r#""SeverityLevel":"warning","ProcessName":"app","ProcessID":7,"SyslogMessage":"text""#),
        "{text}"
    );
}

/// The same rows by the older API, for whoever has only a workspace's key: off unless named, and it says that it is out of support.
#[test]
fn the_data_collector_takes_signed_rows() {
    let site = Site::bare(Options::default());
    let source = Source::tcp();
    let workspace = site.standin.options().workspace_id.clone();
    let keys = format!(
        "type out_data_collector\nworkspace_id {workspace}\nendpoint {}\nca_file /etc/opt/omsd/ca.pem\nflush_interval 1s\nretry_wait 1s",
        site.standin.url()
    );
    site.configure_rows(&[source], "");
    let sections: String =
        std::fs::read_to_string(site.conf()).expect("omsd.conf").split("<match").next().unwrap_or("").to_owned();
    std::fs::write(site.conf(), format!("{sections}<match oms.**>\n{keys}\n</match>\n")).expect("omsd.conf is written");
    let key = site.etc("shared.key");
    std::fs::write(&key, &site.standin.options().shared_key).expect("the key is written");
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("and private");
    let checked = run(site.command("check").args(["cfg", "net.auth"]));
    assert!(checked.code() == 1 && checked.stdout.contains("out of support"), "{checked:?}");
    assert!(checked.stdout.contains("PASS net.auth       known; that no records came"), "{checked:?}");
    site.standin.seen().complaints.clear(); // that one
    let _omsd = site.start();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, source.port())).expect("omsd listens");
    stream.write_all(b"<13>Nov 22 20:00:00 web01 app: hello\n").expect("omsd reads");
    site.wait("the row", |seen| seen.rows_of("HostSyslog").any(|row| row.text("SyslogMessage") == "hello"));
    let seen = site.standin.seen();
    assert_eq!(seen.complaints, [""; 0]);
    assert!(seen.rows[0].fields.contains_key("Timestamp") && !seen.rows[0].fields.contains_key("TimeGenerated"));
}

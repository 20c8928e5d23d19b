//! An administrator asks what would be sent of this host's counters: a table, or the items themselves. There is no configuration.

use crate::harness::{Site, Source, command, omsd_bin, run, wait_until};
use omsd_standin::serde_json::{self, Value};
use std::fs::File;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::{Command, Stdio};

#[test]
fn a_table_has_each_counter_with_its_value_and_instance() {
    let output = run(command().args(["sample", "--object", "memory"]));
    assert!(output.status.success(), "{output:?}");
    let rows: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(rows.len(), 11, "{output:?}");
    assert!(rows.iter().all(|row| row.starts_with("Memory ") && row.ends_with(" Memory")), "{output:?}");
    assert!(rows.iter().any(|row| row.contains(" % Used Memory ")), "{output:?}");
}

#[test]
fn items_are_those_that_would_be_sent_as_often_as_asked_for() {
    let output = run(command().args(["sample", "--object", "System", "--json", "--count", "2"]));
    assert!(output.status.success(), "{output:?}");
    let items: Vec<Value> = output.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(items.len(), 2, "{output:?}");
    assert!(items.iter().all(|item| item["ObjectName"] == "System" && !item["InstanceName"].is_null()), "{output:?}");
    assert_ne!(items[0]["Timestamp"], items[1]["Timestamp"]);
}

#[test]
fn an_object_that_is_none_is_a_usage_error() {
    let output = run(command().args(["sample", "--object", "Disk"]));
    assert_eq!(output.code(), 64, "{output:?}");
    assert!(output.stderr.contains("Logical Disk"), "{output:?}");
}

#[test]
fn nobody_who_reads_is_the_end_and_a_full_disk_is_a_failure() {
    let (site, source) = (Site::new(), Source::udp());
    site.configure(&[source], "");
    let mut omsd = site.start();
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    sender.send_to(b"<13>Nov 22 20:00:00 web01 app: kept", (Ipv4Addr::LOCALHOST, source.port())).expect("it is sent");
    wait_until("the message is in the ring", || site.stream("syslog")["received"] == 1);
    omsd.terminate();
    let ring = site.var("ring").into_os_string().into_string().expect("a path of ASCII");
    let sample = ["sample", "--object", "System", "--interval", "0", "--count", "1000000000"];
    for words in [&sample[..], &["ring", "dump", &ring], &["ring", "list", &ring]] {
        // What goes on for nobody is ended, with another code.
        let mut in_time = Command::new("timeout");
        let mut running =
            in_time.arg("20").arg(omsd_bin()).args(words).stdout(Stdio::piped()).spawn().expect("it starts");
        drop(running.stdout.take());
        assert_eq!(running.wait().expect("it is ours").code(), Some(0), "{words:?}");
        let full = File::options().write(true).open("/dev/full").expect("a full disk");
        let status = command().args(words).stdout(full).stderr(Stdio::null()).status().expect("it starts");
        assert_eq!(status.code(), Some(74), "{words:?}");
    }
}

//! An omsagent.conf as the portal's script leaves it behind: a source of type oms_omi for each of the seven objects, between the
//! heartbeat's and the outputs. omsd samples this host; records of every object are at the service, those of sources due together with one
//! moment, with just the counters that were asked for, in the original's order.

use crate::harness::{Site, Source, run, wait_until};
use omsd_standin::Item;
use std::collections::{BTreeMap, BTreeSet};

/// Object, instance pattern, counter pattern, and the counters that this chooses, in the order of the wire.
const SOURCES: [(&str, &str, &str, &[&str]); 7] = [
    ("Processor", "_Total", "(% Processor Time|% Idle Time)", &["% Idle Time", "% Processor Time"]),
    ("Memory", ".*", "(% Used Memory|Available MBytes Memory)", &["Available MBytes Memory", "% Used Memory"]),
    ("Logical Disk", ".*", "(% Used Space|Free Megabytes)", &["Free Megabytes", "% Used Space"]),
    (
        "Physical Disk",
        ".*",
        "(Avg. Disk sec/Read|Physical Disk Bytes/sec)",
        &["Physical Disk Bytes/sec", "Avg. Disk sec/Read"],
    ),
    ("Network", ".*", "(Total Bytes)", &["Total Bytes Transmitted", "Total Bytes Received", "Total Bytes"]),
    ("System", ".*", "(Uptime|Processes)", &["Processes", "Uptime"]),
    ("Process", "omsd", "(Used Memory kBytes)", &["Used Memory kBytes"]),
];

/// As the portal's script writes them, apart from the interval: it writes 10s or more.
fn portal_sources() -> String {
    let section = |(object, instances, counters, _): &(&str, &str, &str, &[&str])| {
        format!(
            "<source>\n  type oms_omi\n  object_name \"{object}\"\n  instance_regex \"{instances}\"\n  counter_name_regex \
             \"{counters}\"\n  interval 1s\n  omi_mapping_path \
             /etc/opt/microsoft/omsagent/ID/conf/omsagent.d/omi_mapping.json\n</source>\n"
        )
    };
    SOURCES.iter().map(section).collect()
}

fn counters_of(item: &Item) -> Vec<&str> {
    let pairs = item.fields["Collections"].as_array().expect("an array");
    pairs.iter().map(|pair| pair["CounterName"].as_str().expect("a name")).collect()
}

fn value_of(item: &Item, counter: &str) -> f64 {
    let pairs = item.fields["Collections"].as_array().expect("an array");
    let pair = pairs.iter().find(|pair| pair["CounterName"] == counter).expect("the counter");
    pair["Value"].as_str().expect("a text").parse().expect("a number")
}

/// What this host has none of, no record tells of: a container has no disk with a file system, and no network card.
fn objects_of_this_host() -> BTreeSet<&'static str> {
    let devices = std::fs::read_to_string("/proc/net/dev").unwrap_or_default();
    let names = devices.lines().filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()));
    let hardware =
        names.filter(|name| std::path::Path::new("/sys/class/net").join(name).join("device").exists()).count() > 0;
    SOURCES.iter().map(|(object, ..)| *object).filter(|object| *object != "Network" || hardware).collect()
}

#[test]
fn an_existing_perf_section_sends_what_it_names() {
    let site = Site::new();
    site.configure(&[], "");
    let outputs = std::fs::read_to_string(site.conf()).expect("the outputs");
    let heartbeat = "<source>\n  type exec\n  tag heartbeat.output\n  command /bin/true\n</source>\n";
    std::fs::write(site.conf(), format!("{heartbeat}{}{outputs}", portal_sources())).expect("omsd.conf is written");
    let check = run(site.command("check").arg("cfg"));
    assert_eq!(check.code(), 1, "warnings only: {check:?}");
    let mut omsd = site.start();

    let expected = objects_of_this_host();
    site.wait("two samples of each object", |seen| {
        let mut moments: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for item in seen.perf() {
            moments.entry(item.text("ObjectName")).or_default().insert(item.text("Timestamp"));
        }
        expected.iter().all(|object| moments.get(object).is_some_and(|moments| moments.len() >= 2))
    });
    let seen = site.standin.seen();
    assert_eq!(seen.complaints, Vec::<String>::new());
    for item in seen.perf() {
        let object = item.text("ObjectName");
        let (.., counters) = SOURCES.iter().find(|(name, ..)| *name == object).expect("an object that was asked for");
        let sent = counters_of(item);
        // A value that is not known now is left out: a rate at the first look, the space of a file system that does not answer.
        let mut left = counters.iter();
        assert!(sent.iter().all(|counter| left.any(|wanted| wanted == counter)), "{object}: {sent:?}");
    }
    let moments = |object: &'static str| -> BTreeSet<&str> {
        seen.perf().filter(|item| item.text("ObjectName") == object).map(|item| item.text("Timestamp")).collect()
    };
    for object in &expected {
        assert!(!moments(object).is_disjoint(&moments("Memory")), "{object} is sampled at moments of its own");
    }
    check_values(&seen.perf().collect::<Vec<_>>());
    drop(seen);

    wait_until("the status counts them", || {
        let status = site.status();
        let streams = status["streams"].as_array().cloned().unwrap_or_default();
        streams.iter().any(|stream| stream["name"] == "perf" && stream["sent"].as_u64() >= Some(14))
    });
    assert!(omsd.terminate().0.success());
}

/// Values that can be known from outside.
fn check_values(items: &[&Item]) {
    let of = |object: &'static str| items.iter().filter(move |item| item.text("ObjectName") == object);
    for item in of("Processor") {
        assert_eq!(item.text("InstanceName"), "_Total");
        let sum = value_of(item, "% Idle Time") + value_of(item, "% Processor Time");
        assert!((0.0..=101.0).contains(&sum), "{item:?}");
    }
    let meminfo = std::fs::read_to_string("/proc/meminfo").expect("meminfo");
    let total_kb: f64 = meminfo.split_whitespace().nth(1).expect("MemTotal").parse().expect("a number");
    for item in of("Memory") {
        assert_eq!(item.text("InstanceName"), "Memory");
        assert!((1.0..=total_kb / 1024.0).contains(&value_of(item, "Available MBytes Memory")), "{item:?}");
    }
    let uptime = std::fs::read_to_string("/proc/uptime").expect("uptime");
    let now_s: f64 = uptime.split_whitespace().next().expect("seconds").parse().expect("a number");
    for item in of("System") {
        let told_s = value_of(item, "Uptime");
        assert!(told_s <= now_s && now_s - told_s < 120.0 && value_of(item, "Processes") > 1.0, "{item:?}");
    }
    assert!(of("Logical Disk").any(|item| item.text("InstanceName") == "_Total"));
    assert!(of("Process").any(|item| value_of(item, "Used Memory kBytes") > 100.0));
}

/// A mount point with a slip of the pen: the log says it once, the status counts on.
#[test]
fn a_pattern_that_is_in_no_name_is_told() {
    let site = Site::new();
    site.configure(&[], "");
    let outputs = std::fs::read_to_string(site.conf()).expect("the outputs");
    let source = "<source>\n  type oms_omi\n  object_name Memory\n  instance_regex /hmoe\n  interval 1s\n</source>\n";
    std::fs::write(site.conf(), format!("{source}{outputs}")).expect("omsd.conf is written");
    let omsd = site.start();
    let told = "no sample of Memory: `instance_regex` of the source in line 1 is in no instance's name";
    omsd.wait_for_stderr(told);
    wait_until("the status counts it", || site.status()["samples"]["empty"].as_u64() >= Some(2));
    assert_eq!(omsd.stderr().matches(told).count(), 1, "{}", omsd.stderr());
}

/// The administrator adds a source and sends SIGHUP.
#[test]
fn a_reload_starts_sampling() {
    let site = Site::new();
    site.configure(&[Source::udp()], "");
    let omsd = site.start();
    let without = std::fs::read_to_string(site.conf()).expect("the configuration");
    let source = "<source>\n  type oms_omi\n  object_name System\n  interval 1s\n</source>\n";
    std::fs::write(site.conf(), format!("{source}{without}")).expect("omsd.conf is written");
    omsd.signal("HUP");
    site.wait("a sample", |seen| seen.perf().any(|item| item.text("ObjectName") == "System"));
}

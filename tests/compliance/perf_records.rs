//! Performance records: what a `<source>` of the original chooses, and the bytes that are sent for it.

use omsd::collect::Object;
use omsd::config::{self, Config, Files, PerfSource};
use omsd::record::perf::Writer;
use omsd::upload::Stream;
use omsd::upload::body::Body;
use omsd::upload::items::{Renderer, ThisHost};

struct OneFile(String);

impl Files for OneFile {
    fn read(&mut self, _: &str, _: usize) -> Result<Option<Vec<u8>>, String> {
        Ok(Some(self.0.clone().into_bytes()))
    }

    fn list(&mut self, _: &str, _: usize) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}

/// The source that the portal's script writes for an object, an instance pattern and a counter pattern.
fn source(object: &str, instances: &str, counters: &str) -> Result<PerfSource, String> {
    let text = format!(
        "<source>\n  type oms_omi\n  object_name \"{object}\"\n  instance_regex \"{instances}\"\n  counter_name_regex \
         \"{counters}\"\n  interval 10s\n  omi_mapping_path /etc/opt/microsoft/omsagent/conf/omi_mapping.json\n</source>\n\
         <match **>\n  type stdout\n</match>\n"
    );
    match config::parse(&mut OneFile(text), "omsagent.conf") {
        Ok((Config { mut perf, .. }, _)) => Ok(perf.remove(0)),
        Err(findings) => Err(findings[0].to_string()),
    }
}

/// The request body for these instances at this moment.
fn body(source: &PerfSource, sampled_us: u64, instances: &[(&str, &[Option<f64>])]) -> String {
    let mut writer = Writer::default();
    writer.begin(source.object, source.counters);
    for (name, values) in instances.iter().filter(|(name, _)| source.instances.is_found_in(name.as_bytes())) {
        writer.add(name.as_bytes(), values);
    }
    let host = ThisHost { name: String::from("vm7.example.com"), address: None };
    let mut body = Body::with_renderer(false, Renderer::new(host, |_| 0));
    body.begin(Stream::Perf);
    writer.payload().into_iter().for_each(|payload| body.add(sampled_us, payload));
    String::from_utf8(body.finish().expect("it fits").to_vec()).expect("UTF-8")
}

fn some(values: &[f64]) -> Vec<Option<f64>> {
    values.iter().copied().map(Some).collect()
}

/// Names of the counters that a pattern chooses.
fn counters(object: &str, pattern: &str) -> Vec<&'static str> {
    let source = source(object, ".*", pattern).expect("a source");
    let names = source.object.counters().iter().enumerate();
    names.filter(|(index, _)| source.counters >> index & 1 == 1).map(|(_, name)| *name).collect()
}

#[test]
fn the_worked_record_is_sent_byte_for_byte() {
    let source = source("Processor", ".*", "(% Processor Time|% Idle Time)").expect("a source");
    // Idle, user, nice, privileged, interrupt, DPC, processor, I/O wait.
    let cpu0 = some(&[22.0, 55.0, 2.0, 16.0, 1.0, 3.0, 76.0, 2.0]);
    let cpu1 = some(&[53.0, 26.0, 1.0, 13.0, 1.0, 2.0, 43.0, 4.0]);
    let total = some(&[36.0, 42.0, 1.0, 15.0, 1.0, 2.0, 61.0, 3.0]);
    // 2026-01-02T03:04:05.678999Z: what is below a millisecond is cut off.
    let found = body(&source, 1_767_323_045_678_999, &[("0", &cpu0), ("1", &cpu1), ("_Total", &total)]);
    let expected = concat!(
        r#"{"DataType":"LINUX_PERF_BLOB","IPName":"LogManagement","DataItems":["#,
        r#"{"Timestamp":"2026-01-02T03:04:05.678Z","Host":"vm7","ObjectName":"Processor","InstanceName":"0","Collections":[{"CounterName":"% Idle Time","Value":"22"},{"CounterName":"% Processor Time","Value":"76"}]},"#,
        r#"{"Timestamp":"2026-01-02T03:04:05.678Z","Host":"vm7","ObjectName":"Processor","InstanceName":"1","Collections":[{"CounterName":"% Idle Time","Value":"53"},{"CounterName":"% Processor Time","Value":"43"}]},"#,
        r#"{"Timestamp":"2026-01-02T03:04:05.678Z","Host":"vm7","ObjectName":"Processor","InstanceName":"_Total","Collections":[{"CounterName":"% Idle Time","Value":"36"},{"CounterName":"% Processor Time","Value":"61"}]}]}"#
    );
    assert_eq!(found, expected);
}

#[test]
fn instances_are_chosen_as_the_original_chooses_them() {
    let check = |pattern: &str, expected: &[&str]| {
        let source = source("Logical Disk", pattern, ".*").expect("a source");
        let chosen = ["/", "/boot", "_Total"].into_iter().filter(|name| source.instances.is_found_in(name.as_bytes()));
        assert_eq!(chosen.collect::<Vec<_>>(), expected, "{pattern}");
    };
    check("/", &["/", "/boot"]);
    check("_Total", &["_Total"]);
    check("(/|/var)", &["/", "/boot"]);
    check(".*", &["/", "/boot", "_Total"]);
    check("^/$", &["/"]);
}

#[test]
fn counters_are_chosen_as_the_original_chooses_them() {
    assert_eq!(counters("Logical Disk", "%"), ["% Free Space", "% Used Space", "% Free Inodes", "% Used Inodes"]);
    let with_rates = counters("Logical Disk", "%|Disk");
    assert_eq!((with_rates.len(), with_rates.contains(&"Free Megabytes")), (10, false));
    assert_eq!(
        counters("Network", "(Total Bytes)"),
        ["Total Bytes Transmitted", "Total Bytes Received", "Total Bytes"]
    );
    assert_eq!(counters("Process", "(Used Memory)"), ["Used Memory kBytes"]);
}

#[test]
fn the_name_that_is_sent_for_used_memory_may_be_asked_for() {
    assert_eq!(counters("Process", "(Used Memory kBytes)"), ["Used Memory kBytes"]);
}

#[test]
fn a_pattern_that_is_none_stops_the_start() {
    let error = source("Logical Disk", "*", ".*").expect_err("a lone star");
    assert_eq!(error, "omsagent.conf:4:19: error: `instance_regex`: nothing for `*` to repeat");
}

#[test]
fn no_instance_no_record_and_no_counter_an_empty_collection() {
    let processor = source("Processor", "7", ".*").expect("a source");
    let empty = r#"{"DataType":"LINUX_PERF_BLOB","IPName":"LogManagement","DataItems":[]}"#;
    assert_eq!(body(&processor, 0, &[("0", &[None; 8])]), empty);
    let none = source("Memory", ".*", "no such counter").expect("a source");
    assert!(body(&none, 0, &[("Memory", &[Some(1.0); 11])]).contains(r#""InstanceName":"Memory","Collections":[]}"#));
}

/// Milliseconds and operations as in the original's formula for `Avg. Disk sec/Read`; the text of its stream.
#[test]
fn averages_have_the_six_digits_that_the_original_writes() {
    let source = source("Physical Disk", ".*", "sec/Read").expect("a source");
    for (milliseconds, operations, expected) in [
        (22222.0, 1800.0, "0.0123456"),
        (590.0, 295.0, "0.002"),
        (22812.0, 2095.0, "0.0108888"),
        (4321.0, 350.0, "0.0123457"),
        (1234.0, 100_000.0, "1.234e-05"),
        (1.0, 3.0, "0.000333333"),
        (1235.0, 100_003.0, "1.23496e-05"),
        (2_500_000.0, 1000.0, "2.5"),
        (10.0, 1000.0, "1e-05"),
        (2_500_010.0, 2000.0, "1.25001"),
        (0.0, 1.0, "0"),
    ] {
        let values = [None, Some(milliseconds / operations / 1000.0), None, None];
        let expected = format!(r#"[{{"CounterName":"Avg. Disk sec/Read","Value":"{expected}"}}]"#);
        let found = body(&source, 0, &[("sda", &values)]);
        assert!(found.contains(&expected), "{expected} in {found}");
    }
}

#[test]
fn every_object_of_the_original_is_known_by_its_name() {
    for object in Object::ALL {
        assert_eq!(source(object.name(), ".*", ".*").map(|source| source.object), Ok(object));
        assert_eq!(counters(object.name(), ".*"), object.counters());
    }
}

//! An administrator asks what would be sent of this host's counters: a table, or the items themselves. There is no configuration.

use crate::harness::{command, run};
use omsd_standin::serde_json::{self, Value};

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

//! The account that the agent keeps: received = sent + pending + every kind of loss, always.

use crate::harness::{Omsd, Site, wait_until};
use omsd_standin::serde_json::Value;

const LOSSES: [&str; 5] = ["overwritten", "corrupt", "refused", "discarded", "dropped"];

/// A number of the syslog stream in a status; 0 before its first message.
pub fn syslog(status: &Value, key: &str) -> u64 {
    let streams = status["streams"].as_array();
    let stream = streams.and_then(|streams| streams.iter().find(|stream| stream["name"] == "syslog"));
    stream.map_or(0, |stream| number(stream, key))
}

fn number(stream: &Value, key: &str) -> u64 {
    stream[key].as_u64().unwrap_or_else(|| panic!("{key} is no number: {stream}"))
}

/// Everything of the syslog stream that was received and is lost.
pub fn lost(status: &Value) -> u64 {
    LOSSES.iter().map(|key| syslog(status, key)).sum()
}

/// Fails unless every stream's sum holds.
#[track_caller]
pub fn check_sums(status: &Value) {
    for stream in status["streams"].as_array().expect("a status has streams") {
        let known: u64 = ["sent", "pending"].iter().chain(&LOSSES).map(|key| number(stream, key)).sum();
        assert_eq!(number(stream, "received"), known, "received is not sent, pending and lost together: {stream}");
    }
}

/// The status that this agent has written, as soon as `condition` holds for it; its sums are checked each time.
#[track_caller]
pub fn wait_for_status(site: &Site, pid: u32, what: &str, mut condition: impl FnMut(&Value) -> bool) -> Value {
    let mut status = Value::Null;
    wait_until(what, || {
        status = site.status();
        if status["pid"] != pid {
            return false;
        }
        check_sums(&status);
        condition(&status)
    });
    status
}

/// The same for an agent that was started by the harness.
#[track_caller]
pub fn wait_for_status_of(site: &Site, omsd: &Omsd, what: &str, condition: impl FnMut(&Value) -> bool) -> Value {
    wait_for_status(site, omsd.pid(), what, condition)
}

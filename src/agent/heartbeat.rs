//! The record that says "I am here".

use crate::onboard;
use crate::sys::{clock, host};
use crate::upload::oms;
use crate::upload::text::Text;
use crate::upload::times;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

/// The heartbeat's timer and the part of its item that does not change.
#[derive(Debug)]
pub struct Beat {
    interval_ms: Option<u64>,
    next_ms: u64,
    /// Everything behind the time stamp.
    facts: Vec<u8>,
}

impl Beat {
    /// The first beat comes at once: it shows within a minute that a new agent works. `None`: never.
    pub fn new(interval_ms: Option<u64>, now_ms: u64) -> Beat {
        Beat { interval_ms, next_ms: now_ms, facts: facts() }
    }

    /// When the next one is due.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.interval_ms.map(|_| self.next_ms)
    }

    /// The item, if one is due. Missed beats are not made up for.
    pub fn take(&mut self, now_ms: u64) -> Option<Vec<u8>> {
        let interval_ms = self.interval_ms.filter(|_| now_ms >= self.next_ms)?;
        self.next_ms = now_ms + interval_ms;
        let mut item = Vec::from(&b"{\"Timestamp\":\""[..]);
        item.extend_from_slice(&times::time_text(i64::try_from(clock::wall_us() / 1000).unwrap_or(0)));
        item.push(b'"');
        item.extend_from_slice(&self.facts);
        Some(item)
    }
}

/// Source: the original's heartbeat item; its keys in its order. A version without a dot has neither major nor minor, as there.
fn facts() -> Vec<u8> {
    let name = host::hostname();
    let mut facts = Text::default();
    add(&mut facts, "Computer", name.split('.').next().unwrap_or(&name));
    add(&mut facts, "OSType", "Linux");
    let system = onboard::this_system();
    add(&mut facts, "OSName", &system.name);
    if let Some((major, minor)) = system.version.split_once('.') {
        add(&mut facts, "OSMajorVersion", major);
        add(&mut facts, "OSMinorVersion", minor.split('.').next().unwrap_or(minor));
    }
    add(&mut facts, "Category", "Agent");
    add(&mut facts, "SCAgentChannel", "Direct");
    add(&mut facts, "ComputerPrivateIps", &private_addresses(&host::interface_addresses()));
    add(&mut facts, "Version", oms::VERSION);
    facts.put(b"}");
    Vec::from(facts.as_bytes())
}

/// Adds a member to an object that has one already.
pub fn add(item: &mut Text, key: &str, value: &str) {
    item.put_slice(format!(",\"{key}\":\"").as_bytes());
    item.put_escaped(value.as_bytes());
    item.put(b"\"");
}

/// A JSON array as text: private IPv4 addresses, then unique local IPv6 ones. Source: RFC 1918, RFC 4193.
fn private_addresses(addresses: &[IpAddr]) -> String {
    let private_v4 = |address: &&IpAddr| matches!(address, IpAddr::V4(v4) if v4.is_private());
    let private_v6 = |address: &&IpAddr| matches!(address, IpAddr::V6(v6) if v6.is_unique_local());
    let both = addresses.iter().filter(private_v4).chain(addresses.iter().filter(private_v6));
    let quoted: Vec<String> = both.map(|address| format!("\"{address}\"")).collect();
    format!("[{}]", quoted.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_private_addresses_are_told_ipv4_first() {
        let addresses =
            ["fd00::2", "10.0.0.4", "127.0.0.1", "203.0.113.9", "fe80::1"].map(|text| text.parse().unwrap());
        assert_eq!(private_addresses(&addresses), r#"["10.0.0.4","fd00::2"]"#);
        assert_eq!(private_addresses(&[]), "[]");
    }
}

//! The record that says "I am here".

use crate::onboard::{self, topology::System};
use crate::sys::{clock, host};
use crate::upload::oms;
use crate::upload::text::Text;
use crate::upload::times;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;
use std::os::unix::fs::MetadataExt;

/// The heartbeat's timer.
#[derive(Debug)]
pub struct Beat {
    interval_ms: Option<u64>,
    next_ms: u64,
}

impl Beat {
    /// The first beat comes at once: it shows within a minute that a new agent works. `None`: never.
    pub fn new(interval_ms: Option<u64>, now_ms: u64) -> Beat {
        Beat { interval_ms, next_ms: now_ms }
    }

    /// When the next one is due.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.interval_ms.map(|_| self.next_ms)
    }

    /// The item, if one is due. Missed beats are not made up for.
    pub fn take(&mut self, now_ms: u64) -> Option<Vec<u8>> {
        let interval_ms = self.interval_ms.filter(|_| now_ms >= self.next_ms)?;
        self.next_ms = now_ms + interval_ms;
        let wall_ms = i64::try_from(clock::wall_us() / 1000).unwrap_or(0);
        Some(item(wall_ms, &host::computer(), installed_s(), &onboard::this_system(), &host::interface_addresses()))
    }
}

/// The item, made anew each time: addresses come and go, and a host may be renamed or upgraded. Its keys and their order are the
/// original's. A version without a dot has neither major nor minor, as there.
fn item(wall_ms: i64, hostname: &str, installed_s: Option<i64>, system: &System, addresses: &[IpAddr]) -> Vec<u8> {
    let mut item = Text::default();
    item.put(b"{\"Timestamp\":\"");
    item.put(&times::time_text(wall_ms));
    item.put(b"\"");
    add(&mut item, "Computer", hostname.split('.').next().unwrap_or(hostname));
    add(&mut item, "OSType", "Linux");
    add(&mut item, "OSName", &system.name);
    if let Some((major, minor)) = system.version.split_once('.') {
        add(&mut item, "OSMajorVersion", major);
        add(&mut item, "OSMinorVersion", minor.split('.').next().unwrap_or(minor));
    }
    add(&mut item, "Category", "Agent");
    add(&mut item, "SCAgentChannel", "Direct");
    add(&mut item, "ComputerPrivateIps", &private_addresses(addresses));
    if let Some(installed_s) = installed_s {
        let time = times::time_text(installed_s * 1000);
        add(&mut item, "InstalledDate", &format!("{}.0Z", String::from_utf8_lossy(&time[..19])));
    }
    add(&mut item, "Version", oms::VERSION);
    item.put(b"}");
    Vec::from(item.as_bytes())
}

/// When the program's file came to where it is, in seconds since 1970: however it was installed or upgraded, its inode changed then.
fn installed_s() -> Option<i64> {
    std::fs::metadata("/proc/self/exe").ok().map(|metadata| metadata.ctime())
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
    fn the_item_has_the_originals_keys_in_their_order() {
        let system =
            System { name: String::from("Ubuntu"), version: String::from("22.04.1"), manufacturer: String::new() };
        let item =
            item(1_704_164_645_678, "web01.example.com", Some(1_704_067_200), &system, &[IpAddr::from([10, 0, 0, 4])]);
        let expected = format!(
            r#"{{"Timestamp":"2024-01-02T03:04:05.678Z","Computer":"web01","OSType":"Linux","OSName":"Ubuntu","OSMajorVersion":"22","OSMinorVersion":"04","Category":"Agent","SCAgentChannel":"Direct","ComputerPrivateIps":"[\"10.0.0.4\"]","InstalledDate":"2024-01-01T00:00:00.0Z","Version":"{}"}}"#,
            oms::VERSION
        );
        assert_eq!(String::from_utf8(item).unwrap(), expected);
    }

    #[test]
    fn only_private_addresses_are_told_ipv4_first() {
        let addresses =
            ["fd00::2", "10.0.0.4", "127.0.0.1", "203.0.113.9", "fe80::1"].map(|text| text.parse().unwrap());
        assert_eq!(private_addresses(&addresses), r#"["10.0.0.4","fd00::2"]"#);
        assert_eq!(private_addresses(&[]), "[]");
    }
}

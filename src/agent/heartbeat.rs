//! The record that says "I am here".

use super::paths::Paths;
use crate::sys::{clock, host};
use crate::upload::json;
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
    pub fn new(interval_ms: Option<u64>, now_ms: u64, paths: &Paths) -> Beat {
        Beat { interval_ms, next_ms: now_ms, facts: facts(paths) }
    }

    /// When the next one is due.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.interval_ms.map(|_| self.next_ms)
    }

    /// The item, if one is due. Missed beats are not made up for.
    pub fn take(&mut self, now_ms: u64) -> Option<Vec<u8>> {
        let interval_ms = self.interval_ms.filter(|_| now_ms >= self.next_ms)?;
        self.next_ms = now_ms + interval_ms;
        let mut item = Vec::from(&b"{\"Timestamp\":"[..]);
        json::timestamp(&mut item, clock::wall_us());
        item.extend_from_slice(&self.facts);
        Some(item)
    }
}
